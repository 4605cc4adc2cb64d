//! Readings of a host, and the entries of `hosts` that cover them.
//!
//! An input is a line with `:authority`, and a line for each entry of `hosts`. The accepted entries make three lists of
//! rules: a public rule; a strict one before a public one; two public ones.

use authgate::config::Config;
use authgate::internals::{Target, Undecided};
use serde_json::{Value, json};

use crate::oracle::hosts::{covers, readings};

/// The most entries of one input.
const MAX_ENTRIES: usize = 6;

/// Checks one input.
///
/// # Panics
/// If a promise is broken.
pub fn run(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let authority = lines.next().unwrap_or_default();
    let entries: Vec<&str> = lines.take(MAX_ENTRIES).filter_map(|line| str::from_utf8(line).ok()).collect();
    let entries: Vec<&str> = entries.into_iter().filter(|entry| check_entry(entry)).collect();
    let Some(first) = entries.first() else {
        return check(authority, &json!([{"match": {"prefix": "/"}, "public": true}]));
    };
    let mut distinct = entries.clone();
    distinct.sort_unstable();
    distinct.dedup();
    for rules in [
        json!([{"match": {"hosts": distinct}, "public": true}]),
        json!([{"match": {"hosts": distinct}}, {"match": {"prefix": "/"}, "public": true}]),
        json!([{"match": {"hosts": [first]}, "public": true}, {"match": {"hosts": distinct}, "public": true}]),
    ] {
        check(authority, &rules);
    }
}

fn config(rules: &Value) -> Result<Config, String> {
    let json = json!({"auth_service": {"cluster": "auth"}, "rules": rules});
    Config::from_bytes(json.to_string().as_bytes()).map_err(|error| error.to_string())
}

/// Whether an entry is accepted. It must cover only the host that it names, with a port only if it says so.
fn check_entry(entry: &str) -> bool {
    let taken = config(&json!([{"match": {"hosts": [entry]}}])).is_ok();
    let host = entry.strip_suffix(":*").unwrap_or(entry);
    let name = host.strip_prefix("*.").unwrap_or(host);
    let has_one_reading = readings(name.as_bytes()).is_some_and(|readings| readings.len() == 1);
    let is_name = name.len() == host.len() || !name.starts_with('[');
    assert_eq!(taken, has_one_reading && is_name, "{entry:?}");
    taken
}

/// Checks that the first reading's rule decides, unless another reading leads to a rule that differs.
fn check(authority: &[u8], rules: &Value) {
    let config = config(rules).expect("a configuration");
    let rules = rules.as_array().expect("a list of rules");
    let target = Target { path: b"/", method: b"GET", authority };
    let found = config.rules.find(target).map(|found| found.map(|(index, _)| index));
    if rules.iter().all(|rule| rule["match"]["hosts"].is_null()) {
        assert_eq!(found, Ok(Some(0)), "no rule looks at hosts");
        return;
    }
    let Some(readings) = readings(authority) else {
        assert_eq!(found, Err(Undecided::Host), "{}", authority.escape_ascii());
        return;
    };
    let fits = |rule: &Value, reading: &str| {
        let entries = rule["match"]["hosts"].as_array();
        entries.is_none_or(|entries| entries.iter().filter_map(Value::as_str).any(|entry| covers(entry, reading)))
    };
    let led_to = |reading: &String| rules.iter().position(|rule| fits(rule, reading));
    let is_public = |index: Option<usize>| index.is_some_and(|index| rules[index]["public"] == true);
    let first = led_to(&readings[0]);
    let is_sure = readings.iter().all(|reading| is_public(led_to(reading)) == is_public(first));
    let expected = if is_sure { Ok(first) } else { Err(Undecided::DifferentHosts) };
    assert_eq!(found, expected, "{} by {rules:?}", authority.escape_ascii());
}
