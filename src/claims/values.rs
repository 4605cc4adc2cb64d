//! The values of claims, with their types, to be compared with those in a configuration.

use std::fmt;

use super::kept::Claim;
use super::{Audience, ClaimPath, Claims};

/// One value with its type. A string never equals a number or a boolean.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scalar {
    /// `true` or `false`.
    Flag(bool),
    /// A signed integer of 64 bits.
    Number(i64),
    /// A string.
    Text(Box<str>),
}

/// The type of a [`Scalar`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalarType {
    /// [`Scalar::Flag`].
    Flag,
    /// [`Scalar::Number`].
    Number,
    /// [`Scalar::Text`].
    Text,
}

impl fmt::Display for ScalarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "a boolean",
            Self::Number => "an integer",
            Self::Text => "a string",
        })
    }
}

impl Scalar {
    /// Its type.
    pub const fn scalar_type(&self) -> ScalarType {
        match self {
            Self::Flag(_) => ScalarType::Flag,
            Self::Number(_) => ScalarType::Number,
            Self::Text(_) => ScalarType::Text,
        }
    }
}

/// The value of a claim, or of the entries of its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values<'c> {
    /// Absent, null, or a value that can't be compared.
    Absent,
    /// A string.
    Text(&'c str),
    /// An integer.
    Number(i64),
    /// A boolean.
    Flag(bool),
    /// The strings of a claim whose type is a list.
    Texts(&'c [Box<str>]),
    /// The integers of a claim whose type is a list.
    Numbers(&'c [i64]),
}

impl Values<'_> {
    /// Whether it is this value, or a list that holds it.
    pub fn has(&self, value: &Scalar) -> bool {
        match (self, value) {
            (Self::Text(ours), Scalar::Text(theirs)) => **ours == **theirs,
            (Self::Number(ours), Scalar::Number(theirs)) => ours == theirs,
            (Self::Flag(ours), Scalar::Flag(theirs)) => ours == theirs,
            (Self::Texts(ours), Scalar::Text(theirs)) => ours.contains(theirs),
            (Self::Numbers(ours), Scalar::Number(theirs)) => ours.contains(theirs),
            _ => false,
        }
    }
}

impl Claims {
    /// The values of a claim that the filter knows.
    pub fn values(&self, path: ClaimPath) -> Values<'_> {
        let role = self.role_params.as_ref();
        let issued_by = self.issued_by.as_ref();
        match path {
            ClaimPath::Exp => time(self.exp),
            ClaimPath::Nbf => time(self.nbf),
            ClaimPath::Iat => time(self.iat),
            ClaimPath::Jti => text(self.jti.as_deref()),
            ClaimPath::Iss => text(self.iss.as_deref()),
            ClaimPath::Sub => text(self.sub.as_deref()),
            ClaimPath::Aud => match &self.aud {
                None => Values::Absent,
                Some(Audience::One(audience)) => Values::Text(audience),
                Some(Audience::Many(audiences)) => Values::Texts(audiences),
            },
            ClaimPath::UserId => Values::Number(self.user_id),
            ClaimPath::ClientId => Values::Number(self.client_id),
            ClaimPath::TokenId => number(self.token_id),
            ClaimPath::IssuedByUserId => number(issued_by.and_then(|issuer| issuer.user_id)),
            ClaimPath::IssuedByUserType => text(issued_by.and_then(|issuer| issuer.user_type.as_deref())),
            ClaimPath::TokenType => Values::Text(self.token_type.name()),
            ClaimPath::UserType => text(self.user_type.as_deref()),
            ClaimPath::UserGroups => self.user_groups.as_deref().map_or(Values::Absent, Values::Texts),
            ClaimPath::Role => text(role.and_then(|role| role.role.as_deref())),
            ClaimPath::RoleReadOnly => flag(role.and_then(|role| role.read_only)),
            ClaimPath::RoleFederations => numbers(role.and_then(|role| role.federations.as_deref())),
            ClaimPath::RoleAlias => text(role.and_then(|role| role.alias.as_deref())),
            ClaimPath::RoleResellersWl => numbers(role.and_then(|role| role.resellers_wl.as_deref())),
            ClaimPath::RoleResellersBl => numbers(role.and_then(|role| role.resellers_bl.as_deref())),
            ClaimPath::Email => text(self.email.as_deref()),
            ClaimPath::Username => text(self.username.as_deref()),
            ClaimPath::SsoEntity => text(self.sso_entity.as_ref().and_then(|entity| entity.as_deref())),
            ClaimPath::IsAdmin => flag(self.is_admin),
            ClaimPath::ClientName => text(self.client_name.as_deref()),
            ClaimPath::FederationId => number(self.federation_id),
        }
    }

    /// The values of any claim that the configuration names.
    pub fn values_of(&self, claim: Claim) -> Values<'_> {
        match claim {
            Claim::Known(path) => self.values(path),
            Claim::Kept(index) => match self.kept.get(index) {
                Some(Some(Scalar::Flag(flag))) => Values::Flag(*flag),
                Some(Some(Scalar::Number(number))) => Values::Number(*number),
                Some(Some(Scalar::Text(text))) => Values::Text(text),
                Some(None) | None => Values::Absent,
            },
        }
    }

    /// Whether the user signed in by SSO: yes if `sso_entity` is a string, no if it is null. `None`: absent, or empty.
    pub fn is_sso(&self) -> Option<bool> {
        match self.sso_entity.as_ref()?.as_deref() {
            None => Some(false),
            Some("") => None,
            Some(_) => Some(true),
        }
    }
}

fn time(seconds: Option<u64>) -> Values<'static> {
    number(seconds.and_then(|seconds| i64::try_from(seconds).ok()))
}

fn text(value: Option<&str>) -> Values<'_> {
    value.map_or(Values::Absent, Values::Text)
}

fn number(value: Option<i64>) -> Values<'static> {
    value.map_or(Values::Absent, Values::Number)
}

fn flag(value: Option<bool>) -> Values<'static> {
    value.map_or(Values::Absent, Values::Flag)
}

fn numbers(values: Option<&[i64]>) -> Values<'_> {
    values.map_or(Values::Absent, Values::Numbers)
}
