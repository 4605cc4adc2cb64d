//! Reading a regex recurses over its syntax tree, on the stack of the module in real Envoy.

use serde_json::{Value, json};
use wasm_tests::{Stack, corpus};

/// Regexes with the deepest syntax trees that are accepted, each with a path that it matches. A tree has at most 250
/// levels of what has parts: one more group or class in each of these, and it is refused.
fn deepest() -> Vec<(String, String)> {
    let nested = |open: &str, depth: usize, middle: &str, close: &str| {
        format!("{}{middle}{}", open.repeat(depth), close.repeat(depth))
    };
    vec![
        (format!("/a{}", nested("(", 249, "a", ")")), "/aa".to_owned()),
        (format!("/b{}", nested("(a", 125, "", ")")), format!("/b{}", "a".repeat(125))),
        (format!("/c{}", nested("(a", 123, "(b)", "[xy])")), format!("/c{}b{}", "a".repeat(123), "x".repeat(123))),
        (format!("/d{}", nested("(", 124, "a", ")?")), "/d".to_owned()),
        (format!("/e{}", nested("(?:/a", 83, "", ")?b")), format!("/e{}{}", "/a".repeat(83), "b".repeat(83))),
        (format!("/f{}", nested("(?:bb|cc", 83, "", ")")), format!("/f{}", "cc".repeat(83))),
        (format!("/g{}", nested("[", 249, "a", "]")), "/ga".to_owned()),
        (format!("/h{}", nested("[^a", 124, "b", "]")), "/hb".to_owned()),
        (format!("/i{}", nested("[a&&", 124, "a", "]")), "/ia".to_owned()),
        (format!("/j[a{}]", "&&a".repeat(248)), "/ja".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deepest_regexes_are_read_and_match() {
    let regexes = deepest();
    let rules: Vec<Value> =
        regexes.iter().map(|(regex, _)| json!({"match": {"regex": regex}, "public": true})).collect();
    let builder = Stack::builder().config(corpus::config()).config(json!({"rules": rules}));
    let stack = builder.fault(corpus::trusted_key()).start().await.unwrap();
    for (regex, path) in &regexes {
        assert_eq!(stack.get(path).send().await.unwrap().status, 200, "{regex}");
        let other = stack.get(&format!("{path}-")).send().await.unwrap();
        assert_eq!(other.code().unwrap(), "missing_credentials", "{regex}");
    }
}
