//! The index finds what trying every rule in turn would find.

use super::*;
use crate::matcher::host::Reading;

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }
}

const SEGMENTS: [&str; 4] = ["a", "b", "ab", "c"];

fn plain_path(numbers: &mut Numbers) -> String {
    let length = numbers.below(4);
    let path: String = (0..length).map(|_| format!("/{}", numbers.one_of(&SEGMENTS))).collect();
    let end = if path.is_empty() || numbers.below(5) == 0 { "/" } else { "" };
    format!("{path}{end}")
}

fn rule(numbers: &mut Numbers) -> Value {
    let mut condition = match numbers.below(6) {
        0 | 1 => json!({"path": plain_path(numbers)}),
        2 | 3 => json!({"prefix": plain_path(numbers)}),
        4 => json!({"regex": numbers.one_of(&["/a/.*", "/[ab]+", ".*b", "/a(/b)?", "/"])}),
        _ => json!({"methods": [numbers.one_of(&["GET", "POST"])]}),
    };
    if numbers.below(3) == 0 {
        condition["methods"] = json!([numbers.one_of(&["GET", "POST", "DELETE"])]);
    }
    if numbers.below(4) == 0 {
        condition["hosts"] = json!([numbers.one_of(&["x.example", "x.example:*", "*.example", "*.example:*"])]);
    }
    let terms = [
        json!({"public": true}),
        json!({"optional": true}),
        json!({"deny": true}),
        json!({"require": {"is_admin": true}}),
        json!({"require": {"is_admin": true}, "mode": "shadow"}),
        json!({"forward_credential": false}),
        json!({}),
    ];
    let mut rule = terms[numbers.below(terms.len())].clone();
    rule["match"] = condition;
    rule
}

/// The first rule for one reading of path and host, found by trying each in turn.
fn first(rules: &Rules, path: &[u8], method: &[u8], host: &Reading) -> Option<usize> {
    rules.iter().position(|rule| {
        let Matcher { path: wanted, .. } = &rule.matcher;
        rule.matcher.covers_method(method)
            && rule.matcher.covers_host(host)
            && wanted.matches(path, &mut Threads::default(), &mut Budget::default()).unwrap()
    })
}

/// What all readings lead to.
fn in_turn(rules: &Rules, target: Target<'_>) -> Result<Option<usize>, Undecided> {
    let (hosts, paths) = rules.readings(target, &mut Budget::default())?;
    let mut decided = None;
    for host in &hosts {
        let found: Vec<_> = paths.iter().map(|path| first(rules, path, target.method, host)).collect();
        if found.iter().any(|one| rules.terms(*one) != rules.terms(found[0])) {
            return Err(Undecided::DifferentPaths);
        }
        let decided = *decided.get_or_insert(found[0]);
        if rules.terms(decided) != rules.terms(found[0]) {
            return Err(Undecided::DifferentHosts);
        }
    }
    Ok(decided.flatten())
}

fn strictest(rules: &Rules, target: Target<'_>) -> Mode {
    let all = rules.all_terms().map(|terms| terms.mode).min().unwrap();
    let Ok((hosts, paths)) = rules.readings(target, &mut Budget::default()) else { return all };
    let reached = hosts.iter().flat_map(|host| paths.iter().map(move |path| (host, path)));
    reached.map(|(host, path)| rules.terms(first(rules, path, target.method, host)).mode).min().unwrap()
}

#[test]
fn the_index_agrees_with_a_linear_search() {
    let mut numbers = Numbers(4711);
    let mut seen = [0; 4];
    for _ in 0..300 {
        let count = 1 + numbers.below(12);
        let rules: Vec<Value> = (0..count).map(|_| rule(&mut numbers)).collect();
        let mode = numbers.one_of(&["enforce", "shadow"]);
        let compiled = config(json!({"rules": rules, "mode": mode})).rules;
        for _ in 0..30 {
            let mut path = plain_path(&mut numbers);
            if numbers.below(3) == 0 {
                path +=
                    numbers.one_of(&["/..", "/../b", "%2Fb", "//a", ";x/b", "/%61", "?/a", "%00", r"\b", "%2e%2e/b"]);
            }
            let method = numbers.one_of(&["GET", "HEAD", "POST", "delete", "PUT"]);
            let authority =
                numbers.one_of(&["x.example", "x.example:80", "X.example.", "y.example", "y.example:1", "z", "?"]);
            let target = Target { path: path.as_bytes(), method: method.as_bytes(), authority: authority.as_bytes() };
            let found = compiled.find(target).map(|found| found.map(|(index, _)| index));
            let about = format!("{method} {authority}{path} of {}", json!(rules));
            assert_eq!(found, in_turn(&compiled, target), "{about}");
            seen[match found {
                Ok(Some(_)) => 0,
                Ok(None) => 1,
                Err(Undecided::DifferentPaths | Undecided::Path(_)) => 2,
                Err(Undecided::DifferentHosts | Undecided::Host) => 3,
            }] += 1;
            if found.is_err() {
                assert_eq!(compiled.mode_of_undecided(target), strictest(&compiled, target), "{about}");
            }
        }
    }
    assert!(seen.iter().all(|times| *times > 100), "{seen:?}");
}
