//! What deciding on a path may cost.

use super::*;

/// The decision on a path, and the steps that it took.
fn steps(rules: &Rules, path: &str) -> (Result<Option<usize>, Undecided>, usize) {
    let mut budget = Budget::default();
    let target = Target { path: path.as_bytes(), method: b"GET", authority: b"" };
    let found = rules.find_within(target, &mut budget);
    (found.map(|found| found.map(|(index, _)| index)), budget.spent())
}

fn rules(conditions: impl Iterator<Item = Value>) -> Rules {
    let rules: Vec<Value> = conditions.map(|condition| json!({"match": condition})).collect();
    config(json!({"rules": rules})).rules
}

const TOO_MUCH: Result<Option<usize>, Undecided> = Err(Undecided::Path(Ambiguous::TooMuchWork));

#[test]
fn the_work_on_a_long_path_and_many_regexes_is_bounded() {
    let rules = rules((0..20).map(|index| json!({"regex": format!("/api/.*/item{index}")})));
    assert_eq!(steps(&rules, &format!("/api/{}", "a/".repeat(25_000))).0, TOO_MUCH);
    assert_eq!(steps(&rules, &format!("/api/{}", "a/".repeat(2_000))).0, Ok(None));
    // A path that no regex can begin with costs no more, and neither does the query.
    let elsewhere = format!("/web/{}", "a/".repeat(25_000));
    assert_eq!(steps(&rules, &elsewhere).0, Ok(None));
    assert_eq!(steps(&rules, &format!("/api/x/item19?{}", "a".repeat(50_000))).0, Ok(Some(19)));
}

#[test]
fn simultaneous_regex_states_count_as_work() {
    for regex in ["/(a|a|a|a|aa)*b", "/(.*.*.*.*.*)*b", "/(a?){200}a{200}", r"/\b([a-z]+/)*([a-z/]+)*x", "/.*a.{300}"] {
        let rules = rules(std::iter::repeat_n(json!({"regex": regex}), 50));
        assert_eq!(steps(&rules, &format!("/{}", "a".repeat(20_000))).0, TOO_MUCH, "{regex}");
    }
}

#[test]
fn readings_and_comparisons_count_as_work() {
    let prefixes = rules((0..2_000).map(|index| json!({"prefix": format!("/{}{index}", "a".repeat(200))})));
    let twisted = format!("/{}", r"a;x/..;y\b%5c%2e%2e%3bz%2f//c%252f%252e%252e%253b/%255c..%3fd".repeat(40));
    assert_eq!(steps(&prefixes, &twisted).0, TOO_MUCH);
    for piece in ["%2f", "%252f", "a/../", "a;b/", r"a\", "//", "/./", "%2e%2e/", "%253b", r"\/", "//a", "%25"] {
        for length in [10, 100, 1_000, 10_000] {
            let (_, spent) = steps(&prefixes, &format!("/{}", piece.repeat(length)));
            assert!(spent <= Budget::STEPS);
        }
    }
}

#[test]
fn an_ordinary_path_is_decided_with_any_number_of_rules() {
    let path = "/api/v1/customers/4711/orders/2024-05-17/positions/12/attachments/invoice.pdf";
    let escaped = "/api/v1/files/caf%C3%A9%20au%20lait%2Fp%25.pdf;v=1";
    let regexes = rules((0..1_000).map(|index| json!({"regex": format!("/api/.*/item{index}")})));
    let prefixes = rules((0..1_000).map(|index| json!({"prefix": format!("/api/v1/customers/{index}/orders")})));
    let exact = rules((0..10_000).map(|index| json!({"path": format!("/api/v1/customers/{index}")})));
    assert_eq!(steps(&regexes, path).0, Ok(None));
    assert_eq!(steps(&prefixes, path).0, Ok(None));
    assert_eq!(steps(&exact, path).0, Ok(None));
    assert_eq!(steps(&prefixes, escaped).0, Ok(None));
    let fifty = rules((0..50).map(|index| json!({"regex": format!("/api/.*/item{index}")})));
    let (decided, spent) = steps(&fifty, escaped);
    assert_eq!(decided, Ok(None));
    assert!(spent < Budget::STEPS / 2, "{spent}");
    // Nothing to interpret, so its length alone costs little.
    assert_eq!(steps(&prefixes, &format!("/{}", "a".repeat(60_000))).0, Ok(None));
    assert_eq!(steps(&prefixes, &format!("/{}", "%e4%bd%a0".repeat(500))).0, Ok(None));
}

#[test]
fn the_same_path_costs_the_same_each_time() {
    let rules = rules((0..20).map(|index| json!({"regex": format!("/api/.*/item{index}")})));
    let first = steps(&rules, "/api//a/%2e/item20");
    assert_eq!(first, steps(&rules, "/api//a/%2e/item20"));
    assert_eq!(first.0, Ok(None));
}

/// The first rule that fits, found by trying each in turn.
fn in_turn(rules: &Rules, path: &str, method: &str) -> Option<usize> {
    let (mut threads, mut budget) = (Threads::default(), Budget::default());
    let fits = |rule: &Rule| {
        let matcher = &rule.matcher;
        matcher.covers_method(method.as_bytes())
            && matcher.path.matches(path.as_bytes(), &mut threads, &mut budget).unwrap()
    };
    rules.iter().position(fits)
}

#[test]
fn the_first_rule_wins_with_and_without_the_index() {
    let pieces = ["", "/", "/a", "/b", "/a/", "/a/b", "/a/b/", "/ab", "/a/b/c", "/b/a", "/a/c", "/c"];
    let conditions = (0..400_usize).map(|number| {
        let path = pieces[number * 7 % pieces.len()];
        let written = if path.is_empty() { "/" } else { path };
        let mut condition = match number % 5 {
            0 | 1 => json!({"path": written}),
            2 | 3 => json!({"prefix": written}),
            // None of these paths holds a metacharacter of regular expressions.
            _ => json!({"regex": format!("{written}.*x?")}),
        };
        // Without methods, the first few rules would decide on everything.
        let method = ["GET", "POST", "PUT", "PATCH", "DELETE"][number * 3 % 11 % 5];
        condition["methods"] = json!([method]);
        condition
    });
    let all: Vec<Value> = conditions.collect();
    for skip in 0..all.len() {
        let rules = rules(all.iter().skip(skip).take(12).cloned());
        for path in pieces.iter().chain(&["/a/b/c/d", "/abc", "/a/bc", "*", "a", "//a"]) {
            for method in ["GET", "POST", "PUT", "DELETE", "HEAD"] {
                let host = host::Reading::default();
                for has_many in [false, true] {
                    let mut fitting = Fitting::new(&rules, method.as_bytes(), &host, has_many);
                    for _ in 0..2 {
                        let found = fitting.first(path.as_bytes(), &mut Threads::default(), &mut Budget::default());
                        let found = found.unwrap().map(|(index, _)| index);
                        assert_eq!(found, in_turn(&rules, path, method), "{method} {path:?} after {skip}");
                    }
                }
            }
        }
    }
}

/// Steps don't depend on the machine, as times do.
#[test]
fn a_thousand_rules_take_no_more_steps_than_one() {
    let of = |count: usize| {
        let path = |number: usize| format!("/api/v1/resource-{number}");
        let exact = rules((0..count).map(|number| json!({"path": path(number)})));
        let prefixes = rules((0..count).map(|number| json!({"prefix": path(number)})));
        ["/api/v1/resource-0", "/api/v1/resource-0/items/1", "/other", "/api/v1/caf%C3%A9"]
            .map(|path| [&exact, &prefixes].map(|rules| steps(rules, path).1))
    };
    assert_eq!(of(1), of(1_000));
}
