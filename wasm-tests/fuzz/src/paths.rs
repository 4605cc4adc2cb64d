//! Readings of a path, and the rule that applies.
//!
//! An input is a byte, which selects a set of rules, a line with `:path`, one with `:method`, one with `:authority`,
//! and then lines `name: value` with further headers, which must make no difference.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use authgate::config::Config;
use authgate::host::Cx;
use authgate::internals::{Ambiguous, Budget, Target, Undecided, is_plain, readings, world::Process};
use authgate::{Filter, Instant, RequestHead, Resolution, Step, lend};
use regex::bytes::Regex;
use serde_json::{Value, json};

use crate::oracle::hosts;
use crate::oracle::paths::{Flaw, closure, flaw_as_sent, has_control};

/// The most readings that the oracle computes.
const LIMIT: usize = 512;

/// A path with no more bytes and readings than this is always read.
const ORDINARY: (usize, usize) = (100, 16);

static RULES: LazyLock<[Value; 3]> = LazyLock::new(|| {
    [
        json!([
            {"match": {"path": "/health", "methods": ["GET", "HEAD"]}, "public": true},
            {"match": {"prefix": "/public/"}, "public": true},
            {"match": {"prefix": "/admin"}, "require": {"token_types": ["access"]}},
            {"match": {"regex": "/files/[^/]+\\.(css|js)"}, "public": true},
        ]),
        json!([
            {"match": {"prefix": "/private", "hosts": ["a.example", "*.b.example"]}},
            {"match": {"prefix": "/", "hosts": ["*.b.example", "[::1]"]}, "public": true},
            {"match": {"regex": "(?i)/login(/.*)?", "methods": ["POST"]}, "public": true},
        ]),
        json!([{"match": {"path": "/"}, "public": true}, {"match": {"prefix": "/a/b"}}, {"match": {"prefix": "/a"}, "public": true}]),
    ]
});

thread_local! {
    static CONFIGS: [Config; 3] = RULES.each_ref().map(|rules| {
        let json = json!({"auth_service": {"cluster": "auth"}, "rules": rules});
        Config::from_bytes(json.to_string().as_bytes()).expect("a configuration")
    });
}

/// Checks one input.
///
/// # Panics
/// If a promise is broken.
pub fn run(data: &[u8]) {
    let Some((selector, rest)) = data.split_first() else { return };
    let mut lines = rest.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let target = Target { path: line(), method: line(), authority: line() };
    let others: Vec<&[u8]> = lines.take(32).collect();

    let readings = check_readings(target.path);
    let set = usize::from(selector % 3);
    CONFIGS.with(|configs| check_decision(&configs[set], &RULES[set], target, readings.as_ref(), &others));
}

/// Checks the readings, if there are any: exactly those that any number of steps leads to.
fn check_readings(path: &[u8]) -> Result<BTreeSet<Vec<u8>>, Ambiguous> {
    let mut budget = Budget::default();
    let found = readings(path, &mut budget);
    assert!(budget.spent() <= Budget::STEPS);
    let first: Vec<u8> = path.iter().copied().take_while(|byte| !matches!(byte, b'?' | b'#')).collect();
    if is_plain(path) && path.len() <= Budget::STEPS {
        assert_eq!(found.as_deref(), Ok(&[std::borrow::Cow::Borrowed(path)][..]), "a plain path is its own reading");
    }
    match (flaw_as_sent(&first), &found) {
        (None, _) | (_, Err(Ambiguous::TooMuchWork)) => {}
        (Some(Flaw::Control), found) => assert_eq!(found, &Err(Ambiguous::Control)),
        (Some(Flaw::BrokenEscape), found) => assert_eq!(found, &Err(Ambiguous::BrokenEscape)),
    }
    match &found {
        Ok(readings) => {
            let (expected, flaws) = closure(path, usize::MAX, readings.len().max(LIMIT) * 4);
            assert_eq!(flaws, [], "a reading is overlooked that can't be told");
            let expected: BTreeSet<Vec<u8>> = expected.into_iter().map(|(reading, ..)| reading).collect();
            let found: BTreeSet<Vec<u8>> = readings.iter().map(|reading| reading.to_vec()).collect();
            assert_eq!(found, expected);
            assert!(found.iter().all(|reading| !has_control(reading)));
        }
        Err(Ambiguous::Control) => {
            let (_, flaws) = closure(path, usize::MAX, LIMIT);
            assert!(has_control(&first) || flaws.contains(&Flaw::Control));
        }
        Err(Ambiguous::BrokenEscape) => assert_eq!(flaw_as_sent(&first), Some(Flaw::BrokenEscape)),
        Err(Ambiguous::TooMuchWork) => {
            let (expected, _) = closure(path, usize::MAX, LIMIT);
            assert!(first.len() > ORDINARY.0 || expected.len() > ORDINARY.1, "{} are not too many", expected.len());
        }
    }
    found.map(|readings| readings.iter().map(|reading| reading.to_vec()).collect())
}

/// Checks that the rule is the one in [`check_rule`], and that only the target decides.
fn check_decision(
    config: &Config,
    rules: &Value,
    target: Target<'_>,
    readings: Result<&BTreeSet<Vec<u8>>, &Ambiguous>,
    others: &[&[u8]],
) {
    let rules = rules.as_array().expect("a list of rules");
    let found = config.rules.find(target).map(|found| found.map(|(index, _)| index));
    let expected = check_rule(rules, target, readings);
    match (found, &expected) {
        // The rules used up what the readings had left of the budget.
        (Err(Undecided::Path(Ambiguous::TooMuchWork)), Ok(_) | Err(Undecided::DifferentPaths)) => {
            let are_many = readings.is_ok_and(|readings| readings.len() > ORDINARY.1);
            assert!(target.path.len() > ORDINARY.0 || are_many);
        }
        (found, expected) => assert_eq!(&found, expected, "which rule decides"),
    }

    let pseudo = [(":path", target.path), (":method", target.method), (":authority", target.authority)];
    let mut headers: Vec<(String, Vec<u8>)> =
        pseudo.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    let alone = decide(config, &headers);
    let is_public = matches!(found, Ok(Some(index)) if rules[index]["public"] == true);
    assert_eq!(alone.is_none(), is_public, "{alone:?} without a credential");
    match found {
        Ok(_) => {}
        Err(Undecided::Host | Undecided::DifferentHosts) => assert_eq!(alone, Some("ambiguous_host")),
        Err(Undecided::Path(_) | Undecided::DifferentPaths) => assert_eq!(alone, Some("ambiguous_path")),
    }
    for line in others {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).to_ascii_lowercase();
        headers.push((name, parts.next().unwrap_or_default().to_vec()));
    }
    let together = decide(config, &headers);
    let has_credential = headers.iter().any(|(name, _)| name == "authorization");
    if is_public || found.is_err() || !has_credential {
        assert_eq!(together, alone, "other headers decide");
    } else {
        assert!(together.is_some(), "let in without verification");
    }
}

/// The rule of the target as sent, if all readings lead to rules of the same effect; otherwise why there is none.
fn check_rule(
    rules: &[Value],
    target: Target<'_>,
    readings: Result<&BTreeSet<Vec<u8>>, &Ambiguous>,
) -> Result<Option<usize>, Undecided> {
    let looks_at_hosts = rules.iter().any(|rule| rule["match"]["hosts"].is_array());
    let hosts = if looks_at_hosts { hosts::readings(target.authority).ok_or(Undecided::Host)? } else { vec![] };
    let readings = readings.map_err(|ambiguous| Undecided::Path(*ambiguous))?;
    let sent: Vec<u8> = target.path.iter().copied().take_while(|byte| !matches!(byte, b'?' | b'#')).collect();
    let led_to =
        |path: &[u8], host: &str| rules.iter().position(|rule| matches(&rule["match"], path, target.method, host));
    // The effect of a rule. No rule in `RULES` sets anything else.
    let effect = |index: Option<usize>| {
        let rule = index.map_or(&Value::Null, |index| &rules[index]);
        (rule["public"] == true, rule["require"].to_string())
    };
    let first_host = hosts.first().map_or("", String::as_str);
    let decided = led_to(&sent, first_host);
    let hosts: Vec<&str> = if looks_at_hosts { hosts.iter().map(String::as_str).collect() } else { vec![""] };
    for host in hosts {
        let of_host = effect(led_to(&sent, host));
        if readings.iter().any(|reading| effect(led_to(reading, host)) != of_host) {
            return Err(Undecided::DifferentPaths);
        }
        if of_host != effect(decided) {
            return Err(Undecided::DifferentHosts);
        }
    }
    Ok(decided)
}

/// The code with which a request is denied at once, `waits`, or `None` if it goes on.
fn decide(config: &Config, headers: &[(String, Vec<u8>)]) -> Option<&'static str> {
    let host = Process::default();
    let head = RequestHead { headers: &lend(headers), has_body: false };
    let reception =
        Filter::new(config.clone()).on_request(1, &head, &Cx::new(Instant::from_secs(1_800_000_000), &host));
    match reception.step {
        Step::Wait => Some("waits"),
        Step::Resolve(Resolution::Deny(response)) => Some(response.code.name()),
        Step::Resolve(Resolution::Serve(page)) => panic!("{page:?} although nothing is served"),
        Step::Resolve(Resolution::Forward(forward)) => {
            assert!(forward.set.is_empty(), "a public request carries no identity");
            None
        }
    }
}

/// Whether one path satisfies a `match` (docs/reference.md#rules).
fn matches(condition: &Value, path: &[u8], method: &[u8], host: &str) -> bool {
    let listed = |list: &Value, fits: &dyn Fn(&str) -> bool| {
        list.as_array().is_none_or(|list| list.iter().filter_map(Value::as_str).any(fits))
    };
    let fits_path = if let Some(exact) = condition["path"].as_str() {
        path == exact.as_bytes()
    } else if let Some(prefix) = condition["prefix"].as_str() {
        let prefix = prefix.trim_end_matches('/').as_bytes();
        path.starts_with(b"/") && path.starts_with(prefix) && matches!(path.get(prefix.len()), None | Some(b'/'))
    } else {
        let regex = condition["regex"].as_str().expect("one of the three");
        let regex = regex::bytes::RegexBuilder::new(regex).unicode(false).build().expect("a regex");
        is_whole(&regex, path)
    };
    fits_path
        && listed(&condition["methods"], &|known| {
            let sent = String::from_utf8_lossy(method).to_ascii_uppercase();
            known == sent || (known == "GET" && sent == "HEAD")
        })
        && listed(&condition["hosts"], &|known| hosts::covers(known, host))
}

/// Whether the regex matches the whole path. No regex here has an alternative that is shorter than another.
fn is_whole(regex: &Regex, path: &[u8]) -> bool {
    regex.find_iter(path).any(|found| found.range() == (0..path.len()))
}
