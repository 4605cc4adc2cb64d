//! The host that a request names, and the `hosts` of a rule (docs/reference.md#hosts).
//!
//! [`readings`] says how an authority may be read. [`HostMatch::matches`] compares one reading with one entry of
//! `hosts`.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest authority that is read, in bytes: a DNS name with its final dot, a colon and a port.
pub const MAX_BYTES: usize = 261;

/// The usual ways in which Envoy and servers behind it read `:authority`, in lower case: as sent, without its port,
/// without a final dot, without both, and an IPv6 address in its usual form. `None` if it is neither `name[:digits]`
/// nor an IP literal.
pub(super) fn readings(authority: &[u8]) -> Option<Vec<Reading>> {
    let text = str::from_utf8(authority).ok().filter(|text| text.len() <= MAX_BYTES)?.to_ascii_lowercase();
    let (host, port) = split(&text)?;
    let other = match host.strip_prefix('[') {
        Some(literal) => Some(format!("[{}]", address(literal)?)).filter(|usual| usual != host),
        None => host.strip_suffix('.').map(str::to_owned),
    };
    let mut readings = Vec::new();
    for host in [Some(host.to_owned()), other].into_iter().flatten() {
        if !port.is_empty() {
            readings.push(Reading { text: format!("{host}{port}"), host_bytes: host.len() });
        }
        readings.push(Reading { host_bytes: host.len(), text: host });
    }
    Some(readings)
}

/// The readings of an authority, for people. `None`: it isn't a host.
#[cfg(all(feature = "cli", not(target_arch = "wasm32")))]
pub fn for_people(authority: &[u8]) -> Option<Vec<String>> {
    readings(authority).map(|readings| readings.into_iter().map(|reading| reading.text).collect())
}

/// A host in lower case, perhaps with a port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading {
    text: String,
    host_bytes: usize,
}

impl Reading {
    fn without_port(&self) -> &str {
        self.text.get(..self.host_bytes).unwrap_or_default()
    }
}

/// Host and port; the port with its colon, or empty.
fn split(authority: &str) -> Option<(&str, &str)> {
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at_checked(end)?;
    let is_host = if host.starts_with('[') { address(host.strip_prefix('[')?).is_some() } else { is_name(host) };
    let is_port = |port: &str| {
        port.strip_prefix(':').is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    (is_host && (port.is_empty() || is_port(port))).then_some((host, port))
}

/// The address in an IP literal without its opening bracket.
fn address(literal: &str) -> Option<Ipv6Addr> {
    literal.strip_suffix(']')?.parse().ok()
}

/// Labels of letters, digits, `-` and `_`, perhaps with a final dot. If the last label is a number, the name must be an
/// IPv4 address in its usual form: many clients and servers read `127.1` and `0x7f000001` as `127.0.0.1`.
fn is_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let is_number = |label: &str| {
        let is_hex = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        label.bytes().all(|byte| byte.is_ascii_digit()) || label.strip_prefix("0x").is_some_and(is_hex)
    };
    host.split('.').all(is_label)
        && (!host.rsplit('.').next().is_some_and(is_number) || host.parse::<Ipv4Addr>().is_ok())
}

/// One entry of `hosts`: a name, or `*.` and a name for everything below it; with `:*`, any port too.
#[derive(Debug, Clone)]
pub(super) struct HostMatch {
    /// In lower case; with its leading dot for a wildcard.
    name: String,
    is_wildcard: bool,
    has_any_port: bool,
}

impl HostMatch {
    pub(super) fn new(entry: &str) -> Result<Self, String> {
        let (host, has_any_port) = entry.strip_suffix(":*").map_or((entry, false), |host| (host, true));
        let (name, is_wildcard) = match host.strip_prefix('*') {
            Some(rest) if rest.starts_with('.') => (rest, true),
            Some("") => return Err(format!("{entry:?}: leave hosts out to match every host")),
            _ => (host, false),
        };
        let name = name.to_ascii_lowercase();
        let bare = if is_wildcard { name.strip_prefix('.').unwrap_or_default() } else { &name };
        match readings(bare.as_bytes()).as_deref() {
            Some([_]) if !(is_wildcard && bare.starts_with('[')) => Ok(Self { name, is_wildcard, has_any_port }),
            Some([named, bare]) if named.without_port() == bare.text => {
                Err(format!("{entry:?} has a port: write \"{}:*\" for any port or none", bare.text))
            }
            Some([_, usual]) => Err(format!("{entry:?} has several spellings; write \"{}\"", usual.text)),
            _ if bare.bytes().all(|byte| byte != b':' && byte != b'/') && bare.contains('*') => {
                Err(format!("{entry:?}: * stands only for whole labels at the beginning, as in \"*.example.com\""))
            }
            _ => Err(format!("{entry:?} is not a host name: write it without scheme, port and final dot")),
        }
    }

    pub(super) fn matches(&self, reading: &Reading) -> bool {
        let host = if self.has_any_port { reading.without_port() } else { &reading.text };
        if self.is_wildcard {
            host.strip_suffix(self.name.as_str()).is_some_and(|label| !label.is_empty())
        } else {
            host == self.name
        }
    }
}
