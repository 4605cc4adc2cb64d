//! The host that a request names, and the `hosts` of a rule (contract section 2).

use std::net::Ipv6Addr;

/// The longest authority that is read: a name of DNS with its final dot, a colon and a port.
const MAX_BYTES: usize = 261;

/// Every way in which Envoy or a server behind it might read `:authority`, in lower case: as sent, without its port,
/// without a final dot, without both, and an IPv6 address in its usual form. `None` if it is neither `name[:digits]`
/// nor an IP literal.
pub(super) fn readings(authority: &[u8]) -> Option<Vec<String>> {
    let text = str::from_utf8(authority).ok().filter(|text| text.len() <= MAX_BYTES)?.to_ascii_lowercase();
    let (host, port) = split(&text)?;
    let other = match host.strip_prefix('[') {
        Some(literal) => Some(format!("[{}]", address(literal)?)).filter(|usual| usual != host),
        None => host.strip_suffix('.').map(str::to_owned),
    };
    let mut readings = Vec::new();
    for host in [Some(host.to_owned()), other].into_iter().flatten() {
        if !port.is_empty() {
            readings.push(format!("{host}{port}"));
        }
        readings.push(host);
    }
    Some(readings)
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

/// What stands between the brackets, the first of which is cut off.
fn address(literal: &str) -> Option<Ipv6Addr> {
    literal.strip_suffix(']')?.parse().ok()
}

/// Labels of letters, digits, `-` and `_`, perhaps with a final dot.
fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    host.strip_suffix('.').unwrap_or(host).split('.').all(is_label)
}

fn without_port(reading: &str) -> &str {
    match reading.rsplit_once(':') {
        // In `[::1]` the last colon belongs to the address.
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => reading,
    }
}

/// One entry of `hosts`: a name, or `*.` and a name for everything below it; with `:*` also where a port is named.
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
            Some(_) => return Err(format!("{entry:?}: * stands for whole labels, as in \"*.example.com\"")),
            None => (host, false),
        };
        let name = name.to_ascii_lowercase();
        let bare = if is_wildcard { name.strip_prefix('.').unwrap_or_default() } else { &name };
        match readings(bare.as_bytes()).as_deref() {
            Some([_]) if !(is_wildcard && bare.starts_with('[')) => Ok(Self { name, is_wildcard, has_any_port }),
            Some([_, without_port]) if without_port == self::without_port(bare) => {
                Err(format!("{entry:?} names a port; \"{without_port}:*\" covers any port and none"))
            }
            Some([_, usual]) => Err(format!("{entry:?} has several spellings; write \"{usual}\"")),
            _ => Err(format!("{entry:?} is no host name; write it without scheme, port and final dot")),
        }
    }

    pub(super) fn matches(&self, reading: &str) -> bool {
        let host = if self.has_any_port { without_port(reading) } else { reading };
        if self.is_wildcard {
            host.strip_suffix(self.name.as_str()).is_some_and(|label| !label.is_empty())
        } else {
            host == self.name
        }
    }
}
