//! Readings of a path, and the rule that decides.
//!
//! An input is a byte, which selects a set of rules, a line with `:path`, one with `:method`, one with `:authority`,
//! and then lines `name: value` with further headers, which must make no difference.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use authgate::config::Config;
use authgate::extractor::RequestHead;
use authgate::filter::world::Process;
use authgate::filter::{Filter, Resolution, Step};
use authgate::matcher::{self, Target, Undecided};
use authgate::path::{Ambiguous, MAX_BYTES, MAX_READINGS, is_plain, readings};
use authgate::time::UnixTime;
use regex::bytes::Regex;
use serde_json::{Value, json};

use crate::oracle::paths::{Flaw, closure, has_control};

/// How many readings are found out in the other way, at most.
const LIMIT: usize = 512;

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

/// The readings, where they can be told: exactly those that any number of steps leads to.
fn check_readings(path: &[u8]) -> Result<BTreeSet<Vec<u8>>, Ambiguous> {
    let found = readings(path);
    let (_, flaws) = closure(path, 0, 1);
    assert_eq!(flaws, []);
    let first: Vec<u8> = path.iter().copied().take_while(|byte| !matches!(byte, b'?' | b'#')).collect();
    if is_plain(path) {
        assert_eq!(found.as_deref(), Ok(&[std::borrow::Cow::Borrowed(path)][..]), "a plain path is its own reading");
    }
    if first.len() > MAX_BYTES {
        assert!(found.is_err() || is_plain(&first), "a long path that is looked into");
        return found.map(|_| BTreeSet::from([first]));
    }
    let (expected, flaws) = closure(path, usize::MAX, LIMIT);
    match &found {
        Ok(readings) => {
            assert_eq!(flaws, [], "a reading is overlooked that can't be told");
            let found: BTreeSet<Vec<u8>> = readings.iter().map(|reading| reading.to_vec()).collect();
            // Every composition of three steps is among them.
            let (near, _) = closure(path, 3, LIMIT);
            for (reading, _) in near {
                assert!(found.contains(&reading), "{:?} is overlooked", String::from_utf8_lossy(&reading));
            }
            assert_eq!(found, expected.into_iter().map(|(reading, _)| reading).collect());
            assert!(found.iter().all(|reading| !has_control(reading)));
            assert!(readings.len() <= MAX_READINGS);
        }
        Err(Ambiguous::Control) => assert!(has_control(&first) || flaws.contains(&Flaw::Control)),
        Err(Ambiguous::BrokenEscape) => assert!(flaws.contains(&Flaw::BrokenEscape)),
        Err(Ambiguous::TooMany) => assert!(expected.len() > MAX_READINGS, "{} are not too many", expected.len()),
    }
    found.map(|readings| readings.iter().map(|reading| reading.to_vec()).collect())
}

/// The rule is the one that every reading leads to, and nothing but the target decides.
fn check_decision(
    config: &Config,
    rules: &Value,
    target: Target<'_>,
    readings: Result<&BTreeSet<Vec<u8>>, &Ambiguous>,
    others: &[&[u8]],
) {
    let rules = rules.as_array().expect("a list of rules");
    let found = matcher::find(&config.rules, target).map(|found| found.map(|(index, _)| index));
    let expected = readings.map_err(|ambiguous| Undecided::Path(*ambiguous)).and_then(|readings| {
        let led_to = |reading: &Vec<u8>| rules.iter().position(|rule| matches(&rule["match"], reading, target));
        let decided: BTreeSet<Option<usize>> = readings.iter().map(led_to).collect();
        if decided.len() == 1 { Ok(decided.into_iter().next().flatten()) } else { Err(Undecided::DifferentRules) }
    });
    assert_eq!(found, expected, "which rule decides");

    let pseudo = [(":path", target.path), (":method", target.method), (":authority", target.authority)];
    let mut headers: Vec<(String, Vec<u8>)> =
        pseudo.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    let alone = decide(config, &headers);
    let is_public = matches!(expected, Ok(Some(index)) if rules[index]["public"] == true);
    assert_eq!(alone.is_none(), is_public, "{alone:?} without a credential");
    if expected.is_err() {
        assert_eq!(alone, Some("ambiguous_path"));
    }
    for line in others {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).to_ascii_lowercase();
        headers.push((name, parts.next().unwrap_or_default().to_vec()));
    }
    let together = decide(config, &headers);
    let has_credential = headers.iter().any(|(name, _)| name == "authorization");
    if is_public || expected.is_err() || !has_credential {
        assert_eq!(together, alone, "other headers decide");
    } else {
        assert!(together.is_some(), "let in without verification");
    }
}

/// The code with which a request is denied at once, `waits`, or `None` if it goes on.
fn decide(config: &Config, headers: &[(String, Vec<u8>)]) -> Option<&'static str> {
    let host = Process::default();
    let head = RequestHead { headers, has_body: false };
    let reception = Filter::new(config.clone()).on_request(1, &head, UnixTime::from_secs(1_800_000_000), &host);
    match reception.step {
        Step::Wait => Some("waits"),
        Step::Resolve(Resolution::Deny(response)) => Some(response.code.name()),
        Step::Resolve(Resolution::Forward(forward)) => {
            assert!(forward.set.is_empty(), "a public request carries no identity");
            None
        }
    }
}

/// Contract section 3, `match`, of one path.
fn matches(condition: &Value, path: &[u8], target: Target<'_>) -> bool {
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
    let host = host(target.authority);
    fits_path
        && listed(&condition["methods"], &|method| method.as_bytes() == target.method)
        && listed(&condition["hosts"], &|known| match known.strip_prefix('*') {
            Some(domain) => host.len() > domain.len() && host.ends_with(domain),
            None => host == known,
        })
}

/// Whether the regex matches all of the path: none of ours has an alternative that is shorter than another.
fn is_whole(regex: &Regex, path: &[u8]) -> bool {
    regex.find_iter(path).any(|found| found.range() == (0..path.len()))
}

/// RFC 3986 section 3.2: what is left of an authority without port, and without the root's dot.
fn host(authority: &[u8]) -> String {
    static PORT: LazyLock<regex::Regex> =
        LazyLock::new(|| regex::Regex::new(r"(?s)\A(\[.*\]|[^\[].*|):[0-9]*\z").expect("a regex"));
    let authority = String::from_utf8_lossy(authority).to_ascii_lowercase();
    let host = PORT.captures(&authority).map_or(authority.clone(), |parts| parts[1].to_owned());
    host.strip_suffix('.').map_or(host.clone(), str::to_owned)
}
