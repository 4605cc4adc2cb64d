//! Which rule decides on a request. Only `:path`, `:method` and `:authority` are looked at.

use regex::bytes::{Regex, RegexBuilder};

use crate::claims::TokenType;
use crate::config::Verification;
use crate::path::{self, Ambiguous};

/// The largest compiled form of a rule's regex, in bytes.
const MAX_REGEX_BYTES: usize = 512 * 1024;

/// One entry of `rules`.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The requests that it decides on.
    pub matcher: Matcher,
    /// Whether no credential is needed, or looked at.
    pub public: bool,
    /// What the identity has to be like.
    pub require: Require,
    /// Who verifies a JWT; what `jwt.verification` says if `None`.
    pub verification: Option<Verification>,
}

/// `require`: what an identity needs beyond being verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Require {
    /// One of these types; any if `None`.
    pub token_types: Option<Vec<TokenType>>,
}

/// What the rules are matched on.
#[derive(Debug, Clone, Copy)]
pub struct Target<'r> {
    /// `:path` with its query.
    pub path: &'r [u8],
    /// `:method`.
    pub method: &'r [u8],
    /// `:authority` with its port.
    pub authority: &'r [u8],
}

/// Finds the first rule that matches every reading of the path. `Ok(None)`: no rule does.
///
/// # Errors
/// [`Undecided`] if the readings lead to different rules, or can't be told.
pub fn find<'c>(rules: &'c [Rule], target: Target<'_>) -> Result<Option<(usize, &'c Rule)>, Undecided> {
    let needs_host = rules.iter().any(|rule| !rule.matcher.hosts.is_empty());
    let host = if needs_host { host_of(target.authority) } else { String::new() };
    let mut readings = path::readings(target.path)?
        .into_iter()
        .map(|reading| rules.iter().enumerate().find(|(_, rule)| rule.matcher.matches(&reading, target.method, &host)));
    let first = readings.next().flatten();
    if readings.all(|other| other.map(|(index, _)| index) == first.map(|(index, _)| index)) {
        Ok(first)
    } else {
        Err(Undecided::DifferentRules)
    }
}

/// Why no rule can be said to decide (contract section 4, `ambiguous_path`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// The path itself is unclear.
    #[error("the path {0}")]
    Path(#[from] Ambiguous),
    /// One reading leads to one rule, another to another.
    #[error("readings of the path lead to different rules")]
    DifferentRules,
}

/// `match`.
#[derive(Debug, Clone)]
pub struct Matcher {
    path: PathMatch,
    methods: Vec<String>,
    hosts: Vec<HostMatch>,
}

impl Matcher {
    /// Empty lists match everything.
    ///
    /// # Errors
    /// The field and what is wrong with it.
    pub fn new(path: PathMatch, methods: Vec<String>, hosts: Vec<String>) -> Result<Self, (String, String)> {
        for (index, method) in methods.iter().enumerate() {
            if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
                return Err((format!("methods[{index}]"), format!("{method:?} is no method: they are in upper case")));
            }
        }
        let hosts = hosts
            .iter()
            .enumerate()
            .map(|(index, host)| HostMatch::new(host).map_err(|problem| (format!("hosts[{index}]"), problem)))
            .collect::<Result<_, _>>()?;
        Ok(Self { path, methods, hosts })
    }

    fn matches(&self, path: &[u8], method: &[u8], host: &str) -> bool {
        self.path.matches(path)
            && (self.methods.is_empty() || self.methods.iter().any(|known| known.as_bytes() == method))
            && (self.hosts.is_empty() || self.hosts.iter().any(|known| known.matches(host)))
    }
}

/// `path`, `prefix` or `regex`.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// No condition.
    Any,
    /// This path and no other.
    Exact(Vec<u8>),
    /// This path and what lies below it, segment by segment: `/a` covers `/a` and `/a/b`, not `/ab`.
    Prefix(Vec<u8>),
    /// The whole path matches.
    Regex(Regex),
}

impl PathMatch {
    /// `match.path`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn exact(path: &str) -> Result<Self, String> {
        plain(path).map(Self::Exact)
    }

    /// `match.prefix`. A slash at its end makes no difference.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn prefix(prefix: &str) -> Result<Self, String> {
        let mut prefix = plain(prefix)?;
        prefix.pop_if(|byte| *byte == b'/');
        Ok(Self::Prefix(prefix))
    }

    /// `match.regex`, in the syntax of the regex crate, on bytes; it has to match the whole path.
    ///
    /// # Errors
    /// Why it doesn't compile.
    pub fn regex(regex: &str) -> Result<Self, String> {
        if regex.is_empty() {
            return Err("must not be empty".to_owned());
        }
        // On its own first, so that a stray parenthesis can't close the group below.
        let build = |regex: &str| {
            RegexBuilder::new(regex)
                .unicode(false)
                .size_limit(MAX_REGEX_BYTES)
                .build()
                .map_err(|error| error.to_string())
        };
        build(regex)?;
        build(&format!(r"\A(?:{regex})\z")).map(Self::Regex)
    }

    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => {
                path.strip_prefix(prefix.as_slice()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
                    && path.starts_with(b"/")
            }
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

/// A path that the rules name must be one that every server reads alike, or it could never match.
fn plain(path: &str) -> Result<Vec<u8>, String> {
    if !path.starts_with('/') {
        Err(format!("{path:?} must begin with /"))
    } else if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        // A client has to escape these, and then the path as sent and the decoded one lead to different rules.
        Err(format!("{path:?} holds a space or a character beyond ASCII; a regex can cover its escaped forms"))
    } else if path::is_plain(path.as_bytes()) {
        Ok(path.as_bytes().to_vec())
    } else {
        Err(format!("{path:?} can be read in several ways: write it decoded, without //, /., \\, ;, ? and #"))
    }
}

/// One entry of `hosts`: a name, or `*.` and a name for everything below it.
#[derive(Debug, Clone)]
struct HostMatch {
    /// In lower case; with its leading dot for a wildcard.
    name: String,
    wildcard: bool,
}

impl HostMatch {
    fn new(host: &str) -> Result<Self, String> {
        let (name, wildcard) = match host.strip_prefix('*') {
            Some(rest) if rest.starts_with('.') => (rest, true),
            Some(_) => return Err(format!("{host:?}: * stands for whole labels, as in \"*.example.com\"")),
            None => (host, false),
        };
        let is_name =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        let lower = name.to_ascii_lowercase();
        if lower.trim_matches('.').is_empty() || !lower.bytes().all(is_name) || host_of(lower.as_bytes()) != lower {
            return Err(format!("{host:?} is no host name; write it without scheme, port and final dot"));
        }
        Ok(Self { name: lower, wildcard })
    }

    fn matches(&self, host: &str) -> bool {
        if self.wildcard {
            host.strip_suffix(self.name.as_str()).is_some_and(|label| !label.is_empty())
        } else {
            host == self.name
        }
    }
}

/// The host of an authority: in lower case, without port and final dot.
fn host_of(authority: &[u8]) -> String {
    let authority = String::from_utf8_lossy(authority).to_ascii_lowercase();
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = match authority.rsplit_once(':') {
        // In `[::1]` the colons belong to the address.
        Some((host, port)) if is_port(port) && (host.ends_with(']') || !host.starts_with('[')) => host,
        _ => authority.as_str(),
    };
    host.strip_suffix('.').unwrap_or(host).to_owned()
}

#[cfg(test)]
mod tests;
