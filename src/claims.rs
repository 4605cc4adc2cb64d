//! The claims of docs/reference.md#claims, as a JWT carries them and as the service answers them.

mod header;
mod kept;
mod path;
mod record;
mod scan;
pub mod values;

use std::time::Duration;

use crate::json::{self, JsonError, Reader};
use crate::time::UnixTime;
pub use kept::{Claim, ClaimName, KeptClaims, missing};
pub use path::{ClaimPath, NotAHeaderValue};
pub use values::Scalar;

/// The largest `exp` and `nbf` that is accepted: the end of the year 9999, in seconds since the epoch.
pub const MAX_TIME: u64 = 253_402_300_799;

/// `token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenType {
    /// A user's access token, valid for 1 h.
    Access,
    /// Only obtains a new access token; valid for 24 h.
    Refresh,
    /// Only allows one change of password.
    PasswordReset,
    /// A machine's token.
    ApiToken,
    /// The older kind of machine's token.
    Technical,
    /// Any other type, which no configuration can accept.
    Unknown,
}

impl TokenType {
    /// The types that a configuration can name.
    pub(crate) const ALL: [Self; 5] =
        [Self::Access, Self::Refresh, Self::PasswordReset, Self::ApiToken, Self::Technical];

    const NAMES: [(Self, &'static str); 5] = [
        (Self::Access, "access"),
        (Self::Refresh, "refresh"),
        (Self::PasswordReset, "password_reset"),
        (Self::ApiToken, "api_token"),
        (Self::Technical, "technical"),
    ];

    /// The claim's value; empty for [`Self::Unknown`].
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }
}

/// `issued_by`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IssuedBy {
    user_id: Option<i64>,
    user_type: Option<Box<str>>,
}

/// `role_params`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoleParams {
    role: Option<Box<str>>,
    read_only: Option<bool>,
    federations: Option<Box<[i64]>>,
    alias: Option<Box<str>>,
    resellers_wl: Option<Box<[i64]>>,
    resellers_bl: Option<Box<[i64]>>,
}

/// `aud` (RFC 7519 section 4.1.3): one string or several.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Audience {
    One(Box<str>),
    Many(Box<[Box<str>]>),
}

/// A claim set of the right form: types are checked, required claims are present. It may be unsigned.
///
/// The registered claims (RFC 7519 section 4.1) are type-checked even if the filter doesn't use them, so that it
/// accepts no token that a stricter reader would call malformed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    exp: Option<u64>,
    nbf: Option<u64>,
    iat: Option<u64>,
    jti: Option<Box<str>>,
    iss: Option<Box<str>>,
    sub: Option<Box<str>>,
    aud: Option<Audience>,
    user_id: i64,
    client_id: i64,
    token_id: Option<i64>,
    issued_by: Option<IssuedBy>,
    token_type: TokenType,
    user_type: Option<Box<str>>,
    user_groups: Option<Box<[Box<str>]>>,
    role_params: Option<RoleParams>,
    email: Option<Box<str>>,
    username: Option<Box<str>>,
    /// Null: the user didn't sign in by SSO. Absent: unknown.
    sso_entity: Option<Option<Box<str>>>,
    is_admin: Option<bool>,
    client_name: Option<Box<str>>,
    federation_id: Option<i64>,
    /// The claims of [`KeptClaims`] that the filter doesn't know, in the same order.
    kept: Box<[Option<Scalar>]>,
}

/// What a credential says about itself. It applies in addition to the service's answer, which may leave it out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnClaims {
    /// The `exp` of a JWT, in seconds since the epoch.
    pub exp: Option<u64>,
    /// The `nbf` of a JWT, in seconds since the epoch.
    pub nbf: Option<u64>,
    /// The `jti` of a JWT.
    pub jti: Option<Box<str>>,
    /// The number before the `$` of an API token.
    pub token_id: Option<i64>,
}

/// Why a text isn't a claim set of docs/reference.md#claims.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Not strict JSON, a required claim is missing, or one has the wrong type.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// `exp` is absent.
    #[error("missing field `exp`")]
    NoExpiry,
    /// A time beyond the year 9999.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
}

/// Why claims are not valid now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// `exp` has come (RFC 7519 section 4.1.4).
    #[error("expired")]
    Expired,
    /// `nbf` has not come yet (RFC 7519 section 4.1.5).
    #[error("not yet valid")]
    NotYetValid,
}

impl Claims {
    /// Parses a claim set.
    ///
    /// # Errors
    /// [`ClaimsError`] says what is wrong with it.
    pub fn from_json(json: &[u8]) -> Result<Self, ClaimsError> {
        json::parse(json, Self::read)?.in_range()
    }

    /// Reads a claim set whose times are not checked yet: [`Self::in_range`].
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        scan::read(reader)
    }

    /// The claims, if they have an `exp` and no time is beyond [`MAX_TIME`].
    ///
    /// # Errors
    /// [`ClaimsError`] names the claim.
    pub(crate) fn in_range(self) -> Result<Self, ClaimsError> {
        if self.exp.ok_or(ClaimsError::NoExpiry)? > MAX_TIME {
            return Err(ClaimsError::OutOfRange("exp"));
        }
        if self.nbf.is_some_and(|nbf| nbf > MAX_TIME) {
            return Err(ClaimsError::OutOfRange("nbf"));
        }
        if self.iat.is_some_and(|iat| iat > MAX_TIME) {
            return Err(ClaimsError::OutOfRange("iat"));
        }
        Ok(self)
    }

    /// The claims' memory on the heap, in bytes: an estimate, with what an allocator adds to each string and list.
    pub(crate) fn heap_bytes(&self) -> usize {
        const ALLOCATION: usize = 8;
        let string = |value: Option<&str>| value.map_or(0, |value| value.len() + ALLOCATION);
        let strings = |list: Option<&[Box<str>]>| {
            list.map_or(0, |list| {
                ALLOCATION + list.iter().map(|entry| size_of::<Box<str>>() + entry.len() + ALLOCATION).sum::<usize>()
            })
        };
        let integers = |list: Option<&[i64]>| list.map_or(0, |list| ALLOCATION + size_of_val(list));
        let (role, issuer) = (self.role_params.as_ref(), self.issued_by.as_ref());
        let audience = match &self.aud {
            None => 0,
            Some(Audience::One(audience)) => string(Some(audience)),
            Some(Audience::Many(audiences)) => strings(Some(audiences)),
        };
        let texts = [&self.jti, &self.iss, &self.sub, &self.user_type, &self.email, &self.username, &self.client_name];
        let kept = self.kept.iter().map(|value| match value {
            Some(Scalar::Text(text)) => string(Some(text)),
            _ => 0,
        });
        texts.into_iter().map(|text| string(text.as_deref())).sum::<usize>()
            + kept.sum::<usize>()
            + size_of_val(&*self.kept)
            + string(self.sso_entity.as_ref().and_then(|entity| entity.as_deref()))
            + string(issuer.and_then(|issuer| issuer.user_type.as_deref()))
            + string(role.and_then(|role| role.role.as_deref()))
            + string(role.and_then(|role| role.alias.as_deref()))
            + strings(self.user_groups.as_deref())
            + audience
            + integers(role.and_then(|role| role.federations.as_deref()))
            + integers(role.and_then(|role| role.resellers_wl.as_deref()))
            + integers(role.and_then(|role| role.resellers_bl.as_deref()))
    }

    /// Adds what the credential says about itself. The earlier `exp` and the later `nbf` count.
    pub(crate) fn narrow(&mut self, own: &OwnClaims) {
        self.exp = self.exp.into_iter().chain(own.exp).min();
        self.nbf = self.nbf.max(own.nbf);
        self.jti = own.jti.clone().or_else(|| self.jti.take());
        self.token_id = self.token_id.or(own.token_id);
    }

    /// Expiry, in seconds since the epoch. Only an answer in headers has none.
    pub const fn exp(&self) -> Option<u64> {
        self.exp
    }

    /// Start of validity, in seconds since the epoch.
    pub const fn nbf(&self) -> Option<u64> {
        self.nbf
    }

    /// The token's id, by which it can be revoked (RFC 7519 section 4.1.7).
    pub fn jti(&self) -> Option<&str> {
        self.jti.as_deref()
    }

    /// The user whose token it is.
    pub const fn user_id(&self) -> i64 {
        self.user_id
    }

    /// The client that the user belongs to.
    pub const fn client_id(&self) -> i64 {
        self.client_id
    }

    /// The number of the API token that the credential is, or stands for.
    pub const fn token_id(&self) -> Option<i64> {
        self.token_id
    }

    /// The type that the token claims to be.
    pub const fn token_type(&self) -> TokenType {
        self.token_type
    }

    /// `iss`.
    pub fn issuer(&self) -> Option<&str> {
        self.iss.as_deref()
    }

    /// Checks `exp` and `nbf`, both with a leeway of `skew`.
    ///
    /// # Errors
    /// [`TimeError`].
    pub fn check_time(&self, now: UnixTime, skew: Duration) -> Result<(), TimeError> {
        if self.exp.is_some_and(|exp| now >= UnixTime::from_secs(exp).after(skew)) {
            Err(TimeError::Expired)
        } else if self.nbf.is_some_and(|nbf| now.after(skew) < UnixTime::from_secs(nbf)) {
            Err(TimeError::NotYetValid)
        } else {
            Ok(())
        }
    }

    /// Whether `aud` names one of `accepted`.
    pub fn is_for_any(&self, accepted: &[String]) -> bool {
        match &self.aud {
            None => false,
            Some(Audience::One(audience)) => accepted.iter().any(|known| **known == **audience),
            Some(Audience::Many(audiences)) => {
                audiences.iter().any(|audience| accepted.iter().any(|known| **known == **audience))
            }
        }
    }

    /// The claims that an answer in headers carries (docs/reference.md#verify, `json_header`).
    pub(crate) fn from_answer_headers(
        token_type: TokenType,
        user_id: i64,
        client_id: i64,
        email: Option<Box<str>>,
        user_type: Option<Box<str>>,
        is_admin: Option<bool>,
    ) -> Self {
        Self { token_type, user_id, client_id, email, user_type, is_admin, ..Self::empty() }
    }

    /// No claims.
    fn empty() -> Self {
        Self {
            exp: None,
            nbf: None,
            iat: None,
            jti: None,
            iss: None,
            sub: None,
            aud: None,
            user_id: 0,
            client_id: 0,
            token_id: None,
            issued_by: None,
            token_type: TokenType::Unknown,
            user_type: None,
            user_groups: None,
            role_params: None,
            email: None,
            username: None,
            sso_entity: None,
            is_admin: None,
            client_name: None,
            federation_id: None,
            kept: Box::default(),
        }
    }
}

#[cfg(test)]
mod tests;
