//! What to write in place of what the filter refuses.

use super::{found, printed};
use crate::config::Config;
use crate::matcher::Target;

/// The hints for a text, each with its field.
fn hints(text: &str) -> Vec<(String, String)> {
    let (_, problems) = found(text);
    let hints = problems
        .iter()
        .filter_map(|problem| Some((problem["field"].as_str()?.to_owned(), problem["hint"].as_str()?.to_owned())));
    hints.collect()
}

/// The only hint for what follows the least configuration.
#[track_caller]
fn hint(text: &str) -> String {
    let hints = hints(&format!("auth_service: {{cluster: c}}\n{text}"));
    let [(_, hint)] = hints.as_slice() else { panic!("{text}: {hints:?}") };
    hint.clone()
}

#[test]
fn a_hint_stands_below_its_error() {
    let text = "auth_service:\n  cluster: c\n  jwt: {}\n";
    let (_, printed_text) = printed(text, &[], false);
    assert_eq!(
        printed_text,
        "FILE:3: error: auth_service.jwt: is not a field; the fields here are cluster, authority, scheme, verify_path, \
         public_key_path, timeout, retries, forward_headers\n  hint: `jwt` is a field at the top: indent it less\n\
         1 configuration: 1 error, 0 warnings\n"
    );
}

#[test]
fn a_field_in_the_wrong_place_gets_the_right_one() {
    for (text, expected) in [
        (
            "rules:\n- match: {prefix: /}\n  is_admin: true\n",
            "`is_admin` is a field of `require`: write it there, indented further",
        ),
        (
            "rules:\n- prefix: /\n  match: {path: /a}\n",
            "`prefix` is a field of `match`: write it there, indented further",
        ),
        ("cookie: session\n", "`cookie` is a field of `credentials`: write it there, indented further"),
        ("pem: []\n", "`pem` is a field of `jwt.public_key`: write it there, indented further"),
        (
            "cluster: c\n",
            "`cluster` is a field of `auth_service`, `jwt.public_key` or `revocation`: write it there, indented further",
        ),
        (
            "rules:\n- match: {prefix: /, public: true}\n",
            "`public` is a field of the entries in `rules`: indent it less",
        ),
        (
            "rules:\n- match: {prefix: /}\n  require: [{match: {}, sso: true}]\n",
            "`match` is a field of the entries in `rules`: indent it less",
        ),
        ("rules:\n- match: {prefix: /}\n  cache: {}\n", "`cache` is a field at the top: indent it less"),
        ("cache: {issuers: [a]}\n", "`issuers` is a field of `jwt`"),
    ] {
        assert_eq!(hint(text), expected, "{text}");
    }
}

#[test]
fn a_value_of_the_wrong_type_gets_an_example() {
    for (text, expected) in [
        (
            "rules:\n- match: {path: [/health, /ready.txt]}\n",
            r"write a rule for each, or one with regex: '(/health|/ready\.txt)'",
        ),
        (
            "rules:\n- match: {prefix: [/a, /b/]}\n  public: true\n",
            "write a rule for each, or one with regex: '(/a|/b)(/.*)?'",
        ),
        ("rules:\n- match: /admin\n", r#"write {prefix: "/admin"}, or path or regex in place of prefix"#),
        ("rules:\n- match: admin\n", "its fields are path, prefix, regex, methods, hosts"),
        ("rules:\n- match: {prefix: /}\n  require: is_admin\n", "write {is_admin: true}"),
        ("rules:\n- match: {prefix: /}\n  require: [roles]\n", r#"write {roles: ["support"]}"#),
        ("rules:\n  match: {prefix: /}\n", "put `- ` before the first field of each entry"),
        ("rules:\n- match: {path: [/health/, /a]}\n", "write a rule for each, or one with regex: '(/health/|/a)'"),
        ("rules:\n- match: /users/*\n", "its fields are path, prefix, regex, methods, hosts"),
        ("cache: 300s\n", "its fields are max_entries, ttl, negative_ttl, stale_ttl, eviction"),
    ] {
        assert_eq!(hint(text), expected, "{text}");
    }
    for (written, name) in [("c", "c"), ("http://localhost:9000", "auth_service")] {
        let hint = format!("write {{cluster: {name:?}}}");
        assert_eq!(hints(&format!("auth_service: {written}\n")), [("auth_service".to_owned(), hint)]);
    }
}

#[test]
fn a_path_with_escapes_gets_a_regex_that_matches_them() {
    for (condition, regex, sent, others) in [
        ("path: /my%20static", "/my( |%20)static", &["/my%20static"][..], &["/my%20static/a", "/my+static"][..]),
        ("prefix: /my static/", "/my( |%20)static(/.*)?", &["/my%20static", "/my%20static/a.js"], &["/my%20staticx"]),
        (
            "prefix: /gr\u{f6}\u{df}e.d",
            "/gr(\u{f6}|%[cC]3%[bB]6)(\u{df}|%[cC]3%9[fF])e\\.d(/.*)?",
            &["/gr%C3%B6%C3%9Fe.d/x", "/gr%c3%b6%c3%9fe.d", "/gr\u{f6}\u{df}e.d"],
            &["/gr%C3%B6%C3%9Fexd"],
        ),
    ] {
        let hint = hint(&format!("rules:\n- match: {{'{}'}}\n", condition.replace(": ", "': '")));
        assert_eq!(hint, format!("write regex: '{regex}'"));
        let text = serde_json::json!({"auth_service": {"cluster": "c"}, "rules": [{"match": {"regex": regex}}]});
        let config = Config::from_bytes(text.to_string().as_bytes()).unwrap();
        let decides = |path: &&str| {
            let target = Target { path: path.as_bytes(), method: b"GET", authority: b"a" };
            config.rules.find(target).is_ok_and(|found| found.is_some())
        };
        assert!(sent.iter().all(decides), "{regex}");
        assert!(!others.iter().any(decides), "{regex}");
    }
}

#[test]
fn errors_that_say_enough_get_no_hint() {
    for text in [
        "cahce: {}\n",
        "zzz: 1\n",
        "cache: {ttl: 300}\n",
        "rules:\n- match: {}\n",
        "rules: []\nrules: []\n",
        "rules:\n- match: {path: /a%2fb}\n",
        "rules:\n- match: {path: '/%ff'}\n",
        "rules:\n- {}\n",
        "rules:\n- match: {regex: ')'}\n",
        "rules:\n- match: {path: []}\n",
        "rules:\n  admin: {match: {prefix: /}}\n",
        "rules:\n- match: {prefix: /}\n  require: {claims: {user_type: admin}}\n",
        "identity_headers: {cache: 5}\n",
    ] {
        let (status, problems) = found(&format!("auth_service: {{cluster: c}}\n{text}"));
        assert_eq!(status, 1, "{text}");
        assert!(problems.iter().all(|problem| problem.get("hint").is_none()), "{text}: {problems:?}");
    }
}
