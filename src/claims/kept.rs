//! Which claims a verdict keeps: only those that are used after the credential is verified. They may include claims
//! that the filter doesn't know.

use std::fmt;
use std::str::FromStr;

use super::values::Scalar;
use super::{ClaimPath, Claims, IssuedBy, RoleParams};
use crate::json::{self, MAX_DEPTH, Number, Value};
use crate::order;

/// The dotted path of any claim, as in `address.country`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimName(Box<str>);

impl ClaimName {
    /// The longest path, in bytes.
    pub const MAX_BYTES: usize = 256;
    /// The most names in a path.
    pub const MAX_NAMES: usize = MAX_DEPTH;

    /// As the configuration writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value at this path in a claim set.
    fn find<'v>(&self, claims: &'v Value) -> Option<&'v Value> {
        self.0.split('.').try_fold(claims, |value, name| value.get(name))
    }
}

impl fmt::Display for ClaimName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for ClaimName {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, String> {
        if path.split('.').any(str::is_empty) {
            Err("is not a claim's path: write its name, or the names that lead to it, separated by dots".to_owned())
        } else if path.split('.').count() > Self::MAX_NAMES || path.len() > Self::MAX_BYTES {
            let (names, bytes) = (Self::MAX_NAMES, Self::MAX_BYTES);
            Err(format!("is not a claim's path: at most {names} names and {bytes} bytes are allowed"))
        } else {
            Ok(Self(path.into()))
        }
    }
}

/// A claim that the configuration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// One that the filter knows.
    Known(ClaimPath),
    /// One of [`KeptClaims`], by its place there.
    Kept(usize),
}

/// The claims that a verdict keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptClaims {
    /// Those that the filter knows: a bit for each.
    known: u32,
    /// The others: sorted, each once.
    others: Vec<ClaimName>,
}

impl KeptClaims {
    /// The claims that are used whatever the configuration says: by the checks of time and of the token's type, the
    /// revocation list, the cache and the logs.
    const ALWAYS: [ClaimPath; 7] = [
        ClaimPath::Exp,
        ClaimPath::Nbf,
        ClaimPath::Jti,
        ClaimPath::UserId,
        ClaimPath::ClientId,
        ClaimPath::TokenId,
        ClaimPath::TokenType,
    ];

    /// The claims that are always kept, and those of `names` that the filter doesn't know.
    pub fn new(names: impl IntoIterator<Item = ClaimName>) -> Self {
        let is_known = |name: &ClaimName| name.as_str().parse::<ClaimPath>().is_ok();
        let mut others: Vec<_> = names.into_iter().filter(|name| !is_known(name)).collect();
        order::sort(&mut others);
        others.dedup();
        Self { known: 0, others }.with(Self::ALWAYS)
    }

    /// Keeps these claims too.
    #[must_use]
    pub fn with(self, known: impl IntoIterator<Item = ClaimPath>) -> Self {
        Self { known: known.into_iter().fold(self.known, |all, path| all | bit(path)), ..self }
    }

    /// The claim of this name, if the filter knows it or it is kept.
    pub fn claim(&self, name: &ClaimName) -> Option<Claim> {
        let known = name.as_str().parse().ok().map(Claim::Known);
        known.or_else(|| self.others.binary_search(name).ok().map(Claim::Kept))
    }

    /// Whether any kept claim is one that the filter doesn't know.
    pub const fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// The names of all kept claims, in a fixed order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let known = ClaimPath::NAMES.iter().filter(|(path, _)| self.keeps(*path)).map(|(_, name)| *name);
        known.chain(self.others.iter().map(ClaimName::as_str))
    }

    const fn keeps(&self, path: ClaimPath) -> bool {
        self.known & bit(path) != 0
    }

    /// The values in `claims` of the kept claims that the filter doesn't know. `None` for a claim that is absent, null,
    /// a list, an object, or a number that isn't an integer.
    fn pick(&self, claims: &Value) -> Box<[Option<Scalar>]> {
        let scalar = |value: &Value| match value {
            Value::Flag(flag) => Some(Scalar::Flag(*flag)),
            Value::Number(Number::Integer(number)) => Some(Scalar::Number(*number)),
            Value::Text(text) => Some(Scalar::Text(text.clone())),
            Value::Null | Value::Number(_) | Value::List | Value::Object(_) => None,
        };
        self.others.iter().map(|name| name.find(claims).and_then(scalar)).collect()
    }
}

const fn bit(path: ClaimPath) -> u32 {
    1 << path as u32
}

/// Claims that have been parsed before.
fn tree(json: &[u8]) -> Value {
    json::parse(json, |reader| reader.value()).unwrap_or(Value::Null)
}

/// The first of these claims that is absent or null. `json` has been parsed as [`Claims`].
pub fn missing<'n>(required: &'n [ClaimName], json: &[u8]) -> Option<&'n ClaimName> {
    if required.is_empty() {
        return None;
    }
    let claims = tree(json);
    required.iter().find(|name| name.find(&claims).is_none_or(|claim| *claim == Value::Null))
}

impl Claims {
    /// Adds the kept claims that the filter doesn't know. `json` is what these claims were parsed from.
    pub(crate) fn keep(&mut self, kept: &KeptClaims, json: &[u8]) {
        if kept.has_others() {
            self.kept = kept.pick(&tree(json));
        }
    }

    /// Drops the claims that aren't kept.
    pub(crate) fn retain(&mut self, kept: &KeptClaims) {
        fn drop_unless<T>(is_kept: bool, value: &mut Option<T>) {
            if !is_kept {
                *value = None;
            }
        }
        let Self {
            iat,
            iss,
            sub,
            aud,
            issued_by,
            user_type,
            user_groups,
            role_params,
            email,
            username,
            sso_entity,
            is_admin,
            client_name,
            federation_id,
            // Always kept.
            exp: _,
            nbf: _,
            jti: _,
            user_id: _,
            client_id: _,
            token_id: _,
            token_type: _,
            kept: _,
        } = self;
        drop_unless(kept.keeps(ClaimPath::Iat), iat);
        drop_unless(kept.keeps(ClaimPath::Aud), aud);
        drop_unless(kept.keeps(ClaimPath::IsAdmin), is_admin);
        drop_unless(kept.keeps(ClaimPath::FederationId), federation_id);
        drop_unless(kept.keeps(ClaimPath::UserGroups), user_groups);
        drop_unless(kept.keeps(ClaimPath::SsoEntity), sso_entity);
        for (path, text) in [
            (ClaimPath::Iss, iss),
            (ClaimPath::Sub, sub),
            (ClaimPath::UserType, user_type),
            (ClaimPath::Email, email),
            (ClaimPath::Username, username),
            (ClaimPath::ClientName, client_name),
        ] {
            drop_unless(kept.keeps(path), text);
        }
        *issued_by = issued_by.take().and_then(|issuer| issuer.retain(kept));
        *role_params = role_params.take().and_then(|role| role.retain(kept));
    }
}

impl IssuedBy {
    /// Drops the claims that aren't kept; `None` if none is left.
    fn retain(self, kept: &KeptClaims) -> Option<Self> {
        let issuer = Self {
            user_id: self.user_id.filter(|_| kept.keeps(ClaimPath::IssuedByUserId)),
            user_type: self.user_type.filter(|_| kept.keeps(ClaimPath::IssuedByUserType)),
        };
        (issuer != Self::default()).then_some(issuer)
    }
}

impl RoleParams {
    /// Drops the claims that aren't kept; `None` if none is left.
    fn retain(self, kept: &KeptClaims) -> Option<Self> {
        let role = Self {
            role: self.role.filter(|_| kept.keeps(ClaimPath::Role)),
            read_only: self.read_only.filter(|_| kept.keeps(ClaimPath::RoleReadOnly)),
            federations: self.federations.filter(|_| kept.keeps(ClaimPath::RoleFederations)),
            alias: self.alias.filter(|_| kept.keeps(ClaimPath::RoleAlias)),
            resellers_wl: self.resellers_wl.filter(|_| kept.keeps(ClaimPath::RoleResellersWl)),
            resellers_bl: self.resellers_bl.filter(|_| kept.keeps(ClaimPath::RoleResellersBl)),
        };
        (role != Self::default()).then_some(role)
    }
}
