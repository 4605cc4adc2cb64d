//! `identity_headers` and `strip_headers`: which claim goes upstream under which name, and which headers of a client
//! never do.

#[cfg(not(target_arch = "wasm32"))]
pub(super) mod refused;

use super::Credentials;
use super::check::is_near;
use super::document::Value;
use super::node::Node;
use crate::claims::ClaimPath;
use crate::credential::{AUTHORIZATION, PROTOCOLS};

const DEFAULTS: [(&str, &str); 5] = [
    ("X-User-Id", "user_id"),
    ("X-Client-Id", "client_id"),
    ("X-User-Email", "email"),
    ("X-User-Type", "user_type"),
    ("X-Is-Admin", "is_admin"),
];

/// Headers that mean something to Envoy or to HTTP itself, or that the filter handles in another way. Envoy's tracers
/// read theirs before the filters run, and write them after the filters, some with what the client sent.
const RESERVED: [&str; 22] = [
    "authorization",
    "b3",
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
    "sw8",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-amzn-trace-id",
];

/// Prefixes of further names of such headers.
const RESERVED_PREFIXES: [&str; 5] = ["x-b3-", "x-datadog-", "x-envoy-", "x-forwarded-client-cert", "x-forwarded-tls-"];

/// What proxies write after `X-Forwarded-`: about the connection, not about the user.
const RESERVED_FORWARDED: [&str; 16] = [
    "by", "for", "host", "method", "path", "port", "prefix", "proto", "protocol", "scheme", "server", "ssl", "uri",
    "url", "address", "ip",
];

/// Headers that change the request's meaning when they are removed, or that the filter handles in another way.
const NEVER_STRIPPED: [&str; 12] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

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
    /// The defaults, changed by `identity_headers`: a claim's path, or null to remove a default.
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    pub(super) fn new(node: &Node<'_>, credentials: &Credentials) -> Self {
        let mut headers: Vec<(&str, Option<&str>)> = DEFAULTS.map(|(name, claim)| (name, Some(claim))).to_vec();
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in node.members() {
            let claim = match value {
                Value::Null => None,
                Value::Text(claim) => Some(claim.as_str()),
                _ => node.or_refuse(None),
            };
            let folded = fold(name);
            if seen.contains(&folded) {
                node.refuse(name, TWICE);
                continue;
            }
            if credentials.headers().any(|credential| fold(credential) == folded) {
                node.refuse(name, HOLDS_CREDENTIAL);
                continue;
            }
            match headers.iter_mut().find(|(known, _)| fold(known) == folded) {
                Some(known) => *known = (name, claim),
                None if claim.is_none() => node.refuse(name, "null removes a default header, and this is not one"),
                None => headers.push((name, claim)),
            }
            seen.push(folded);
        }
        let mut all = Vec::new();
        for (name, claim) in headers {
            match claim.map(|claim| header(name, claim)) {
                None => {}
                Some(Ok(header)) => all.push(header),
                Some(Err(problem)) => node.refuse(name, &problem),
            }
        }
        Self(all)
    }

    /// In the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &IdentityHeader> {
        self.0.iter()
    }
}

/// The names of headers that never go from a client to the upstream: those that the filter sets, the defaults even if
/// the configuration removes them, `strip_headers`, and other spellings of the headers with credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrippedHeaders {
    /// Folded.
    names: Vec<String>,
    /// The headers with credentials, except `Authorization`, in lower case.
    credentials: Vec<String>,
    /// The lengths of all these, a bit for each.
    lengths: u64,
}

/// The bit of this length, or of all that are too long for one of their own.
const fn length_bit(length: usize) -> u64 {
    if length < 63 { 1 << length } else { 1 << 63 }
}

impl StrippedHeaders {
    /// The names that the filter sets, and those that `strip_headers` of `root` lists.
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    pub(super) fn new(identity_headers: &IdentityHeaders, root: &Node<'_>, credentials: &Credentials) -> Self {
        const NAME: &str = "strip_headers";
        let names = root.texts(NAME);
        let listed: Vec<String> = names.iter().map(|name| fold(name)).collect();
        for (index, (name, folded)) in names.iter().zip(&listed).enumerate() {
            let problem = if !is_name(name) {
                NO_NAME
            } else if NEVER_STRIPPED.contains(&folded.as_str()) {
                "is a header that the filter must not remove"
            } else if credentials.headers().any(|credential| fold(credential) == *folded) {
                HOLDS_CREDENTIAL
            } else if listed.iter().take(index).any(|earlier| earlier == folded) {
                TWICE
            } else {
                continue;
            };
            root.refuse_entry(NAME, index, &named(name, problem));
        }
        let mut all: Vec<String> = Vec::new();
        let set = identity_headers.iter().map(|header| fold(&header.name));
        for name in DEFAULTS.iter().map(|(name, _)| fold(name)).chain(set).chain(listed) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        let credentials: Vec<String> = credentials.headers().map(str::to_owned).collect();
        let lengths = all.iter().chain(&credentials).fold(0, |bits, name| bits | length_bit(name.len()));
        Self { names: all, credentials, lengths }
    }

    /// Whether a server might take a header of this name for one of these: the names are the same except for letter
    /// case, and for bytes that are neither letters nor digits, which CGI and the like turn into one. Pseudo-headers
    /// are never covered.
    #[inline]
    pub fn covers(&self, name: &[u8]) -> bool {
        self.lengths & length_bit(name.len()) != 0 && self.covers_one_of_a_length(name)
    }

    #[inline(never)]
    fn covers_one_of_a_length(&self, name: &[u8]) -> bool {
        let is_same = |ours: &String| ours.bytes().eq(name.iter().map(|byte| fold_byte(*byte)));
        !name.starts_with(b":")
            && (self.names.iter().any(|ours| ours.len() == name.len() && is_same(ours)) || self.is_twin(name))
    }

    /// Whether a server might take a header of this name for one with a credential, although the filter doesn't.
    fn is_twin(&self, name: &[u8]) -> bool {
        let is_twin = |ours: &String| {
            let folded = ours.bytes().map(fold_byte);
            ours.len() == name.len()
                && folded.eq(name.iter().map(|byte| fold_byte(*byte)))
                && !ours.as_bytes().eq_ignore_ascii_case(name)
        };
        self.credentials.iter().any(is_twin)
    }

    /// Whether a header of this name, in any letter case, may hold a credential.
    pub fn has_credential(&self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(AUTHORIZATION.as_bytes())
            || self.credentials.iter().any(|ours| ours.as_bytes().eq_ignore_ascii_case(name))
    }
}

pub(super) const TWICE: &str =
    "is listed twice: letter case and the bytes between letters and digits make no difference";

pub(super) const NO_NAME: &str = "is not a header's name (RFC 9110 section 5.6.2)";

/// The problem of the header with this name.
pub(super) fn named(name: &str, problem: &str) -> String {
    format!("{name:?} {problem}")
}

const HOLDS_CREDENTIAL: &str = "is a header that holds credentials";

/// Why a header of this name can't hold credentials.
pub(super) fn problem_of_credential_header(name: &str) -> Option<&'static str> {
    let folded = fold(name);
    if !is_name(name) {
        Some(NO_NAME)
    } else if is_reserved(&folded) || NEVER_STRIPPED.contains(&folded.as_str()) || folded == PROTOCOLS {
        Some("is a standard header, or Envoy's")
    } else if DEFAULTS.iter().any(|(default, _)| fold(default) == folded) {
        Some("is an identity header, which no client may send")
    } else {
        None
    }
}

/// Headers that the callout sets itself, or that are only about the client's request or connection.
const NEVER_FORWARDED: [&str; 7] =
    ["accept", "accept-encoding", "content-type", "http2-settings", "proxy-authorization", "set-cookie", "user-agent"];

/// Prefixes of further names of such headers.
const NEVER_FORWARDED_PREFIXES: [&str; 2] = ["x-envoy-", "sec-websocket-"];

/// Why a header of this name can't be copied to callouts.
pub(super) fn problem_of_forwarded_header(name: &str, credentials: &Credentials) -> Option<&'static str> {
    let folded = fold(name);
    let is_never = NEVER_STRIPPED.contains(&folded.as_str()) || NEVER_FORWARDED.contains(&folded.as_str());
    if !is_name(name) {
        Some(NO_NAME)
    } else if is_never || NEVER_FORWARDED_PREFIXES.iter().any(|prefix| folded.starts_with(prefix)) {
        Some("is a header whose value would be wrong in a callout")
    } else if credentials.headers().any(|credential| fold(credential) == folded) {
        Some(HOLDS_CREDENTIAL)
    } else {
        None
    }
}

fn header(name: &str, claim: &str) -> Result<IdentityHeader, String> {
    if !is_name(name) {
        return Err(NO_NAME.to_owned());
    }
    if is_reserved(&fold(name)) {
        return Err("is a header that the filter must not overwrite".to_owned());
    }
    let claim = claim.parse().map_err(|error| match claim_near(claim) {
        Some(near) => format!("{claim:?} is not a claim that a header can hold; did you mean {near}?"),
        None => format!("{claim:?} {error}"),
    })?;
    Ok(IdentityHeader { name: name.to_ascii_lowercase(), claim })
}

/// The claim that was probably meant: its path is nearly the same, or only the end of its path is.
fn claim_near(written: &str) -> Option<&'static str> {
    let near = |whole: bool| {
        let mut names = ClaimPath::NAMES.iter().map(|(_, name)| *name);
        names.find(|name| is_near(written, if whole { name } else { name.rsplit('.').next().unwrap_or_default() }))
    };
    near(true).or_else(|| near(false))
}

fn is_reserved(folded: &str) -> bool {
    RESERVED.contains(&folded)
        || RESERVED_PREFIXES.iter().any(|prefix| folded.starts_with(prefix))
        || folded.strip_prefix("x-forwarded-").is_some_and(|rest| RESERVED_FORWARDED.contains(&rest))
}

fn fold(name: &str) -> String {
    name.bytes().map(|byte| char::from(fold_byte(byte))).collect()
}

const fn fold_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// Whether this is a token of RFC 9110 section 5.6.2, as every header's name is.
pub fn is_token(bytes: &[u8]) -> bool {
    let is_token_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_token_byte)
}

fn is_name(name: &str) -> bool {
    is_token(name.as_bytes())
}
