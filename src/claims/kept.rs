//! Claims under names that the filter doesn't know. It keeps those that the configuration names, and no others.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::values::Scalar;
use super::{ClaimPath, Claims};
use crate::json::MAX_DEPTH;
use crate::order;

/// The longest name, in bytes.
const MAX_NAME: usize = 256;

/// The dotted path of any claim, as in `address.country`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimName(Box<str>);

impl ClaimName {
    /// As the configuration writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands there in a claim set.
    fn find<'v>(&self, claims: &'v Value) -> Option<&'v Value> {
        self.0.split('.').try_fold(claims, |value, name| value.as_object()?.get(name))
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
            Err("is no claim: write its name, or the names on the way to it with a dot between".to_owned())
        } else if path.split('.').count() > MAX_DEPTH || path.len() > MAX_NAME {
            Err(format!("is no claim: a path has at most {MAX_DEPTH} names and {MAX_NAME} bytes"))
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

/// The claims that are kept beside those that the filter knows: sorted, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptClaims(Vec<ClaimName>);

impl KeptClaims {
    /// Those of these names that the filter doesn't know anyway.
    pub fn new(names: impl IntoIterator<Item = ClaimName>) -> Self {
        let is_known = |name: &ClaimName| name.as_str().parse::<ClaimPath>().is_ok();
        let mut names: Vec<_> = names.into_iter().filter(|name| !is_known(name)).collect();
        order::sort(&mut names);
        names.dedup();
        Self(names)
    }

    /// The claim of this name, if the filter knows or keeps it.
    pub fn claim(&self, name: &ClaimName) -> Option<Claim> {
        let known = name.as_str().parse().ok().map(Claim::Known);
        known.or_else(|| self.0.binary_search(name).ok().map(Claim::Kept))
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(ClaimName::as_str)
    }

    /// The values of these claims in a claim set; `None` for one that isn't there, is null, a list, an object or a number
    /// that is no integer.
    fn pick(&self, claims: &Value) -> Box<[Option<Scalar>]> {
        let scalar = |value: &Value| match value {
            Value::Bool(flag) => Some(Scalar::Flag(*flag)),
            Value::Number(number) => number.as_i64().map(Scalar::Number),
            Value::String(text) => Some(Scalar::Text(text.as_str().into())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        self.0.iter().map(|name| name.find(claims).and_then(scalar)).collect()
    }
}

/// The first of these claims that isn't there, or is null. `json` has been parsed as [`Claims`].
pub fn missing<'n>(required: &'n [ClaimName], json: &[u8]) -> Option<&'n ClaimName> {
    if required.is_empty() {
        return None;
    }
    let claims: Value = serde_json::from_slice(json).unwrap_or_default();
    required.iter().find(|name| name.find(&claims).is_none_or(Value::is_null))
}

impl Claims {
    /// The same with the claims that are to be kept, out of the JSON that these were parsed from.
    pub(crate) fn keep(&mut self, kept: &KeptClaims, json: &[u8]) {
        if !kept.0.is_empty() {
            self.kept = kept.pick(&serde_json::from_slice(json).unwrap_or_default());
        }
    }
}
