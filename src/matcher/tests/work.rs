//! What deciding on a path may cost.

use super::*;

/// What becomes of a path, and the steps that it took.
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
fn a_long_path_is_not_tried_against_regexes_without_end() {
    let rules = rules((0..20).map(|index| json!({"regex": format!("/api/.*/item{index}")})));
    assert_eq!(steps(&rules, &format!("/api/{}", "a/".repeat(25_000))).0, TOO_MUCH);
    assert_eq!(steps(&rules, &format!("/api/{}", "a/".repeat(2_000))).0, Ok(None));
    // What a regex can't begin with costs nothing more, and neither does the query.
    let elsewhere = format!("/web/{}", "a/".repeat(25_000));
    assert_eq!(steps(&rules, &elsewhere).0, Ok(None));
    assert_eq!(steps(&rules, &format!("/api/x/item19?{}", "a".repeat(50_000))).0, Ok(Some(19)));
}

#[test]
fn many_states_at_once_are_counted() {
    for regex in ["/(a|a|a|a|aa)*b", "/(.*.*.*.*.*)*b", "/(a?){200}a{200}", r"/\b([a-z]+/)*([a-z/]+)*x", "/.*a.{300}"] {
        let rules = rules(std::iter::repeat_n(json!({"regex": regex}), 50));
        assert_eq!(steps(&rules, &format!("/{}", "a".repeat(20_000))).0, TOO_MUCH, "{regex}");
    }
}

#[test]
fn readings_and_what_they_are_compared_with_are_counted() {
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
fn an_ordinary_path_is_decided_on_whatever_number_of_rules() {
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
