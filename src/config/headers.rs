//! `identity_headers`: which claim goes upstream under which name.

use super::ConfigError;
use crate::claims::ClaimPath;

const DEFAULTS: [(&str, &str); 5] = [
    ("X-User-Id", "user_id"),
    ("X-Client-Id", "client_id"),
    ("X-User-Email", "email"),
    ("X-User-Type", "user_type"),
    ("X-Is-Admin", "is_admin"),
];

/// Headers that mean something to Envoy or to HTTP itself, or that the filter handles in another way.
const RESERVED: [&str; 17] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Beginnings of such headers.
const RESERVED_PREFIXES: [&str; 2] = ["x-envoy-", "x-forwarded-"];

/// One header that the filter sets from a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityHeader {
    /// The name in lower case, as Envoy keeps it.
    pub name: String,
    /// Where its value comes from.
    pub claim: ClaimPath,
}

/// All headers that the filter sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityHeaders(Vec<IdentityHeader>);

impl IdentityHeaders {
    /// The defaults, with `overrides` laid over them: a claim's path, or `None` to remove a default.
    pub(super) fn new(overrides: Vec<(String, Option<String>)>) -> Result<Self, ConfigError> {
        let mut headers: Vec<(String, Option<String>)> =
            DEFAULTS.iter().map(|(name, claim)| ((*name).to_owned(), Some((*claim).to_owned()))).collect();
        let mut seen: Vec<String> = Vec::new();
        for (name, claim) in overrides {
            let path = path_of(&name);
            let twin = fold(&name);
            if seen.contains(&twin) {
                return Err(ConfigError::new(path, "stands there twice: case, and _ for -, make no difference"));
            }
            match headers.iter_mut().find(|(known, _)| fold(known) == twin) {
                Some(known) => *known = (name, claim),
                None if claim.is_none() => {
                    return Err(ConfigError::new(path, "null removes a default, and this header is none"));
                }
                None => headers.push((name, claim)),
            }
            seen.push(twin);
        }
        headers
            .into_iter()
            .filter_map(|(name, claim)| claim.map(|claim| header(&name, &claim)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// In the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &IdentityHeader> {
        self.0.iter()
    }

    /// Whether a server might take a header of the request for one that the filter sets: the names are the same
    /// but for case and for `_` in place of `-`, as CGI and WSGI fold them.
    pub fn covers(&self, name: &[u8]) -> bool {
        self.0.iter().any(|header| {
            header.name.len() == name.len()
                && header.name.bytes().zip(name).all(|(ours, theirs)| fold_byte(ours) == fold_byte(*theirs))
        })
    }
}

fn header(name: &str, claim: &str) -> Result<IdentityHeader, ConfigError> {
    let path = path_of(name);
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        return Err(ConfigError::new(path, "is not a header's name (RFC 9110 section 5.6.2)"));
    }
    let lower = name.to_ascii_lowercase();
    let folded = fold(&lower);
    if RESERVED.contains(&folded.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| folded.starts_with(prefix)) {
        return Err(ConfigError::new(path, "is a header that the filter must not overwrite"));
    }
    let claim = claim.parse().map_err(|error| ConfigError::new(path, format!("{claim:?}: {error}")))?;
    Ok(IdentityHeader { name: lower, claim })
}

fn path_of(name: &str) -> String {
    format!("identity_headers.{name}")
}

fn fold(name: &str) -> String {
    name.bytes().map(|byte| char::from(fold_byte(byte))).collect()
}

const fn fold_byte(byte: u8) -> u8 {
    match byte {
        b'_' => b'-',
        _ => byte.to_ascii_lowercase(),
    }
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}
