//! The dotted paths by which a configuration names claims.

use std::fmt;
use std::str::FromStr;

use super::values::ScalarType;

/// A claim that can't be written as the value of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be a header's value")]
pub struct NotAHeaderValue(pub(super) ClaimPath);

/// One claim, by its dotted path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the claim of its name in docs/reference.md#claims")]
pub enum ClaimPath {
    Exp,
    Nbf,
    Iat,
    Jti,
    Iss,
    Sub,
    Aud,
    UserId,
    ClientId,
    TokenId,
    IssuedByUserId,
    IssuedByUserType,
    TokenType,
    UserType,
    UserGroups,
    Role,
    RoleReadOnly,
    RoleFederations,
    RoleAlias,
    RoleResellersWl,
    RoleResellersBl,
    Email,
    Username,
    SsoEntity,
    IsAdmin,
    ClientName,
    FederationId,
}

impl ClaimPath {
    pub(crate) const NAMES: [(Self, &'static str); 27] = [
        (Self::Exp, "exp"),
        (Self::Nbf, "nbf"),
        (Self::Iat, "iat"),
        (Self::Jti, "jti"),
        (Self::Iss, "iss"),
        (Self::Sub, "sub"),
        (Self::Aud, "aud"),
        (Self::UserId, "user_id"),
        (Self::ClientId, "client_id"),
        (Self::TokenId, "token_id"),
        (Self::IssuedByUserId, "issued_by.user_id"),
        (Self::IssuedByUserType, "issued_by.user_type"),
        (Self::TokenType, "token_type"),
        (Self::UserType, "user_type"),
        (Self::UserGroups, "user_groups"),
        (Self::Role, "role_params.role"),
        (Self::RoleReadOnly, "role_params.read_only"),
        (Self::RoleFederations, "role_params.federations"),
        (Self::RoleAlias, "role_params.alias"),
        (Self::RoleResellersWl, "role_params.resellers_wl"),
        (Self::RoleResellersBl, "role_params.resellers_bl"),
        (Self::Email, "email"),
        (Self::Username, "username"),
        (Self::SsoEntity, "sso_entity"),
        (Self::IsAdmin, "is_admin"),
        (Self::ClientName, "client_name"),
        (Self::FederationId, "federation_id"),
    ];
}

impl ClaimPath {
    /// The type of its value, or of the entries of its list.
    pub const fn scalar_type(self) -> ScalarType {
        match self {
            Self::Exp
            | Self::Nbf
            | Self::Iat
            | Self::UserId
            | Self::ClientId
            | Self::TokenId
            | Self::IssuedByUserId
            | Self::RoleFederations
            | Self::RoleResellersWl
            | Self::RoleResellersBl
            | Self::FederationId => ScalarType::Number,
            Self::RoleReadOnly | Self::IsAdmin => ScalarType::Flag,
            Self::Jti
            | Self::Iss
            | Self::Sub
            | Self::Aud
            | Self::IssuedByUserType
            | Self::TokenType
            | Self::UserType
            | Self::UserGroups
            | Self::Role
            | Self::RoleAlias
            | Self::Email
            | Self::Username
            | Self::SsoEntity
            | Self::ClientName => ScalarType::Text,
        }
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(path, _)| path == self).map_or("", |(_, name)| name);
        formatter.write_str(name)
    }
}

/// The filter knows no claim with this path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a claim that a header can hold; these are: {}", known_paths())]
pub struct UnknownClaim;

fn known_paths() -> String {
    ClaimPath::NAMES.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

impl FromStr for ClaimPath {
    type Err = UnknownClaim;

    fn from_str(path: &str) -> Result<Self, UnknownClaim> {
        Self::NAMES.iter().find(|(_, name)| *name == path).map(|(path, _)| *path).ok_or(UnknownClaim)
    }
}
