//! Values that several fields have in common.

use std::time::Duration;

use crate::matcher::NO_RULE;

/// Parses a duration: a number and one of `ms`, `s`, `m`, `h`.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || whole.len() > 12 || fraction.is_empty() || fraction.len() > 3 || fraction.contains('.') {
        return None;
    }
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = fraction.parse().ok()?;
    let ms = whole.checked_mul(unit_ms)?.checked_add(fraction * unit_ms / scale)?;
    Some(Duration::from_millis(ms))
}

/// Whether the text isn't empty, and may stand in a header or a path.
pub(super) fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether the text can be the name of an Envoy cluster. A URL in its place is a mistake.
pub(super) fn is_cluster(text: &str) -> bool {
    is_visible(text) && !text.contains("://")
}

/// The `:authority` of callouts to `cluster`, if none is written: the host that the cluster's name is or holds.
pub(super) fn host_of_cluster(cluster: &str) -> Option<&str> {
    Some(istio_host(cluster).unwrap_or(cluster)).filter(|host| is_authority(host))
}

/// An https URL of RFC 3986 without user and fragment, in bytes that may stand between quotes.
pub(super) fn is_https_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else { return false };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    is_authority(authority) && is_visible(rest) && !rest.contains(['"', '\\', '<', '>', '#', '^', '`', '{', '|', '}'])
}

/// The host in one of Istio's names of clusters: `outbound|<port>|<subset>|<host>`.
fn istio_host(cluster: &str) -> Option<&str> {
    let mut parts = cluster.split('|');
    let (direction, port, _subset, host) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    (direction == "outbound" && port.parse::<u16>().is_ok() && parts.next().is_none()).then_some(host)
}

/// `host[:port]` of RFC 3986 section 3.2, without forms that no service's host has. `_` is allowed in a host.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let is_address =
                address.contains(':') && address.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b));
            (is_address, rest.strip_prefix(':').or(rest.is_empty().then_some("0")))
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, "0"));
            let is_host = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
            (is_host && host.bytes().any(|b| b.is_ascii_alphanumeric()), Some(port))
        }
    };
    host && port.is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

/// A path of the service: visible, beginning with `/`, without a fragment.
pub(super) fn is_service_path(text: &str) -> bool {
    is_visible(text) && text.starts_with('/') && !text.contains('#')
}

/// What may stand between quotes (RFC 9110 section 5.6.4) without being escaped.
pub(super) fn is_realm(text: &str) -> bool {
    text.bytes().all(|byte| (byte == b' ' || byte.is_ascii_graphic()) && byte != b'"' && byte != b'\\')
}

/// RFC 6454 section 6.2: scheme, host and, if it isn't the scheme's default, port. `*` isn't allowed, because the
/// headers of denials allow credentials.
pub(super) fn is_origin(text: &str) -> bool {
    let is_host = |host: &str| {
        let byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte);
        !host.is_empty() && host.bytes().all(byte)
    };
    let has_default_port = |scheme, host: &str| match scheme {
        "https" => host.ends_with(":443"),
        "http" => host.ends_with(":80"),
        _ => false,
    };
    text.split_once("://")
        .is_some_and(|(scheme, host)| is_host(scheme) && is_host(host) && !has_default_port(scheme, host))
}

/// An integer that a double holds exactly and tells from its neighbours: Envoy's `Struct` keeps numbers as doubles.
pub(super) fn whole(number: f64) -> Option<i64> {
    const MOST: f64 = 9_007_199_254_740_991.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
    let whole = (number.fract() == 0.0 && number.abs() <= MOST).then_some(number as i64);
    whole
}

/// A rule's name: it is a label's value, and a word in logs.
pub(super) fn is_rule_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(is_inner)
        && text != NO_RULE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, ms) in [("1s", 1_000), ("0s", 0), ("500ms", 500), ("1h", 3_600_000), ("2m", 120_000), ("0.5s", 500)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "1", "s", "-1s", "1 s", "1d", "1.s", ".5s", "1.2.3s", "1s1s", "9999999999999h", "1e3s", "∞s"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
