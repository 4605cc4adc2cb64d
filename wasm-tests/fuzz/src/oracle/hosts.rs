//! What `:authority` may mean, and what an entry of `hosts` covers.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use regex::Regex;

/// The most bytes of an authority.
const MAX_BYTES: usize = 261;

/// All readings of an authority in lower case, beginning with what was sent; `None` if it is neither `name[:digits]`
/// nor an IP literal.
pub fn readings(authority: &[u8]) -> Option<Vec<String>> {
    static FORM: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\A(?:((?:[0-9a-z_-]+\.)*[0-9a-z_-]+)(\.?)|\[([0-9a-f:.]+)\])(:[0-9]+)?\z").expect("a regex")
    });
    let sent = str::from_utf8(authority).ok()?.to_ascii_lowercase();
    let parts = FORM.captures(&sent).filter(|_| sent.len() <= MAX_BYTES)?;
    let port = parts.get(4).map_or("", |port| port.as_str());
    let mut hosts = vec![sent[..sent.len() - port.len()].to_owned()];
    match (parts.get(1), parts.get(3)) {
        (Some(name), _) => {
            let last = name.as_str().rsplit('.').next()?;
            let is_number = Regex::new(r"\A(?:[0-9]*|0x[0-9a-f]*)\z").expect("a regex").is_match(last);
            if is_number && name.as_str().parse::<Ipv4Addr>().is_err() {
                return None;
            }
            hosts.push(name.as_str().to_owned());
        }
        (None, address) => match address?.as_str().parse() {
            Ok(IpAddr::V6(address)) => hosts.push(format!("[{address}]")),
            _ => return None,
        },
    }
    let mut readings = vec![sent.clone()];
    for host in hosts {
        for reading in [format!("{host}{port}"), host] {
            if !readings.contains(&reading) {
                readings.push(reading);
            }
        }
    }
    Some(readings)
}

/// Whether a valid entry of `hosts` covers a reading.
pub fn covers(entry: &str, reading: &str) -> bool {
    let entry = entry.to_lowercase();
    let mut pattern = regex::escape(&entry);
    if let Some(rest) = pattern.strip_prefix(r"\*") {
        pattern = format!(".+{rest}");
    }
    if let Some(rest) = pattern.strip_suffix(r":\*") {
        pattern = format!("{rest}(?::[0-9]+)?");
    }
    Regex::new(&format!(r"\A(?:{pattern})\z")).expect("a regex").is_match(reading)
}
