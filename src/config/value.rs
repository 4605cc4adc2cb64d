//! Values that several fields have in common.

use std::time::Duration;

use super::ConfigError;

/// Parses a duration as a configuration has it: a number and one of `ms`, `s`, `m`, `h`.
pub(super) fn duration(
    path: &str,
    text: &str,
    range: std::ops::RangeInclusive<Duration>,
) -> Result<Duration, ConfigError> {
    let parsed = parse_duration(text).ok_or_else(|| {
        ConfigError::new(path, format!("{text:?} is not a duration: write a number and ms, s, m or h, as in \"1s\""))
    })?;
    if range.contains(&parsed) {
        Ok(parsed)
    } else {
        Err(ConfigError::new(
            path,
            format!("{text:?} is out of range: {:?} to {:?} are possible", range.start(), range.end()),
        ))
    }
}

/// The number, if it is within its range.
pub(super) fn number(path: &str, number: u32, range: std::ops::RangeInclusive<u32>) -> Result<u32, ConfigError> {
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(ConfigError::new(
            path,
            format!("{number} is out of range: {} to {} are possible", range.start(), range.end()),
        ))
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
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

/// Refuses an empty string and bytes that can't stand in a header or a path.
pub(super) fn visible(path: &str, text: String) -> Result<String, ConfigError> {
    if text.is_empty() {
        Err(ConfigError::new(path, "must not be empty"))
    } else if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text)
    } else {
        Err(ConfigError::new(path, "may only hold visible ASCII characters"))
    }
}

/// The `:authority` of callouts to `cluster`: what is written, else the host that the cluster's name is or holds.
pub(super) fn authority(path: &str, written: Option<String>, cluster: &str) -> Result<String, ConfigError> {
    match written {
        Some(written) => {
            let written = visible(path, written)?;
            let problem = || format!("{written:?} must be a host's name or address, with or without a port");
            if is_authority(&written) { Ok(written) } else { Err(ConfigError::new(path, problem())) }
        }
        None => match Some(istio_host(cluster).unwrap_or(cluster)).filter(|host| is_authority(host)) {
            Some(host) => Ok(host.to_owned()),
            None => Err(ConfigError::new(path, format!("is required: the cluster's name {cluster:?} is no host"))),
        },
    }
}

/// The host in one of Istio's names of clusters: `outbound|<port>|<subset>|<host>`.
fn istio_host(cluster: &str) -> Option<&str> {
    let mut parts = cluster.split('|');
    let (direction, port, _subset, host) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    (direction == "outbound" && port.parse::<u16>().is_ok() && parts.next().is_none()).then_some(host)
}

/// `host[:port]` of RFC 3986 section 3.2, without what no host of a service has. `_` counts as a host's character.
fn is_authority(text: &str) -> bool {
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
pub(super) fn service_path(path: &str, text: String) -> Result<String, ConfigError> {
    let text = visible(path, text)?;
    if text.starts_with('/') && !text.contains('#') {
        Ok(text)
    } else {
        Err(ConfigError::new(path, format!("{text:?} must begin with / and hold no #")))
    }
}

/// Refuses a list that is there but empty, and entries that stand in it twice.
pub(super) fn distinct<T: PartialEq + std::fmt::Debug>(path: &str, list: Vec<T>) -> Result<Vec<T>, ConfigError> {
    if list.is_empty() {
        return Err(ConfigError::new(path, "must not be empty"));
    }
    for (index, entry) in list.iter().enumerate() {
        if list.iter().take(index).any(|earlier| earlier == entry) {
            return Err(ConfigError::new(format!("{path}[{index}]"), format!("{entry:?} stands there twice")));
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, ms) in [("1s", 1_000), ("0s", 0), ("500ms", 500), ("1h", 3_600_000), ("2m", 120_000), ("0.5s", 500)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "1", "s", "-1s", "1 s", "1d", "1.s", ".5s", "1.2.3s", "1s1s", "9999999999999h", "1e3s", "∞s"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_duration_out_of_range_names_the_range() {
        let range = Duration::from_millis(1)..=Duration::from_secs(60);
        let error = duration("auth_service.timeout", "0s", range).unwrap_err();
        assert_eq!(error.to_string(), "auth_service.timeout: \"0s\" is out of range: 1ms to 60s are possible");
    }
}
