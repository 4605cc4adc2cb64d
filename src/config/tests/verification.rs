//! Who verifies a JWT: `jwt.verification` and `rules[].verification`.

use super::*;

#[test]
fn jwts_are_verified_locally_by_default() {
    let config = config(json!({"rules": [{"match": {"prefix": "/"}}]}));
    assert_eq!(config.jwt.verification, Verification::Local);
    assert_eq!(config.rules[0].terms.verification, Verification::Local);
}

#[test]
fn a_rule_overrides_local_or_remote() {
    for (word, verification) in [("local", Verification::Local), ("remote", Verification::Remote)] {
        let config = config(json!({
            "jwt": {"verification": word},
            "rules": [
                {"match": {"path": "/a"}, "verification": "local"},
                {"match": {"path": "/b"}, "verification": "remote", "require": {"token_types": ["access"]}},
                {"match": {"path": "/c"}, "public": false, "verification": "remote"},
                {"match": {"path": "/d"}, "public": true},
            ],
        }));
        assert_eq!(config.jwt.verification, verification);
        let of_rules: Vec<_> = config.rules.iter().map(|rule| rule.terms.verification).collect();
        assert_eq!(of_rules, [Verification::Local, Verification::Remote, Verification::Remote, verification]);
    }
}

#[test]
fn a_public_rule_verifies_nothing() {
    assert_paths(&[
        (
            r#""rules": [{"match": {"path": "/a"}}, {"match": {"path": "/b"}, "public": true, "verification": "local"}]"#,
            "rules[1].verification",
        ),
        (r#""rules": [{"match": {"path": "/a"}, "public": true, "verification": "remote"}]"#, "rules[0].verification"),
    ]);
}

#[test]
fn remote_verification_of_jwts_refuses_the_json_header_format() {
    assert_paths(&[
        (r#""jwt": {"verification": "remote"}, "api_token": {"response_format": "json_header"}"#, "jwt.verification"),
        (
            r#""api_token": {"response_format": "json_header"}, "jwt": {"verification": "remote"},
               "rules": [{"match": {"prefix": "/"}, "verification": "local"}]"#,
            "jwt.verification",
        ),
        (
            r#""api_token": {"response_format": "json_header"},
               "rules": [{"match": {"path": "/a"}, "verification": "local"},
                         {"match": {"path": "/b"}, "verification": "remote"}]"#,
            "rules[1].verification",
        ),
    ]);
}

#[test]
fn remote_verification_of_jwts_accepts_the_other_formats() {
    for format in ["json_body", "jwt_body", "jwt_header"] {
        config(json!({"jwt": {"verification": "remote"}, "api_token": {"response_format": format}}));
    }
    config(json!({
        "jwt": {"verification": "local"},
        "api_token": {"response_format": "json_header"},
        "rules": [{"match": {"path": "/a"}, "verification": "local"}],
    }));
}
