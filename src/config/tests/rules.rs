//! `rules`: what each says about its requests.

use super::*;

#[test]
fn a_mistake_in_a_rule_is_named() {
    let rule = |fields: &str| format!(r#""rules": [{{"match": {{"path": "/a"}}, {fields}}}]"#);
    for (fields, path) in [
        (r#""name": """#, "rules[0].name"),
        (r#""name": "none""#, "rules[0].name"),
        (r#""name": "1a""#, "rules[0].name"),
        (r#""name": "a.b""#, "rules[0].name"),
        (r#""name": "a b""#, "rules[0].name"),
        (r#""name": "é""#, "rules[0].name"),
        (r#""name": 1"#, "rules[0].name"),
        (r#""public": true, "optional": true"#, "rules[0]"),
        (r#""public": true, "deny": true"#, "rules[0]"),
        (r#""optional": true, "deny": true"#, "rules[0]"),
        (r#""optional": true, "require": {"sso": true}"#, "rules[0]"),
        (r#""deny": true, "require": {"sso": true}"#, "rules[0]"),
        (r#""deny": true, "verification": "local""#, "rules[0].verification"),
        (r#""deny": true, "forward_credential": true"#, "rules[0].forward_credential"),
        (r#""forward_credential": "jwt""#, "rules[0].forward_credential"),
        (r#""forward_credential": "yes""#, "rules[0].forward_credential"),
        (r#""mode": "off""#, "rules[0].mode"),
        (r#""mode": true"#, "rules[0].mode"),
        (r#""deny": "true""#, "rules[0].deny"),
        (r#""optional": 1"#, "rules[0].optional"),
    ] {
        assert_paths(&[(&rule(fields), path)]);
    }
    let names = r#""rules": [{"match": {"path": "/a"}, "name": "a"}, {"match": {"path": "/b"}, "name": "a"}]"#;
    assert_paths(&[(names, "rules[1].name")]);
    let default = r#""rules": [{"match": {"path": "/a"}, "name": "rule_1"}, {"match": {"path": "/b"}}]"#;
    assert_paths(&[(default, "rules[1].name")]);
    assert_paths(&[
        (r#""mode": "observe""#, "mode"),
        (r#""jwt": {"required_claims": ["a..b"]}"#, "jwt.required_claims[0]"),
    ]);
}

#[test]
fn the_name_of_a_rule_has_at_most_64_characters() {
    let rules = |length: usize| {
        let name: String = "aZ0_-".chars().cycle().take(length).collect();
        format!(r#""rules": [{{"match": {{"path": "/a"}}, "name": "{name}"}}]"#)
    };
    let accepted =
        Config::from_bytes(format!(r#"{{"auth_service": {{"cluster": "auth"}}, {}}}"#, rules(64)).as_bytes());
    assert_eq!(accepted.unwrap().rules.name(Some(0)).len(), 64);
    assert_paths(&[(&rules(65), "rules[0].name")]);
}

#[test]
fn a_mistake_in_what_a_rule_requires_is_named() {
    let require = |json: &str| format!(r#""rules": [{{"match": {{"path": "/a"}}, "require": {json}}}]"#);
    for (json, path) in [
        ("[]", ""),
        ("[{}]", "[0]"),
        (r#"[{"sso": true}, {}]"#, "[1]"),
        (r#"[{"sso": true}, [{"sso": true}]]"#, "[1]"),
        (r#""sso""#, ""),
        (r#"{"schemes": []}"#, ".schemes"),
        (r#"{"schemes": ["Bearer"]}"#, ".schemes[0]"),
        (r#"{"schemes": ["bearer", "bearer"]}"#, ".schemes[1]"),
        (r#"{"token_types": ["password_reset"]}"#, ".token_types[0]"),
        (r#"{"user_types": []}"#, ".user_types"),
        (r#"{"user_types": [""]}"#, ".user_types[0]"),
        (r#"{"user_types": [1]}"#, ".user_types[0]"),
        (r#"{"client_ids": ["1"]}"#, ".client_ids[0]"),
        (r#"{"client_ids": [1.5]}"#, ".client_ids[0]"),
        (r#"{"client_ids": [9007199254740992]}"#, ".client_ids[0]"),
        (r#"{"client_ids": [1, 1.0]}"#, ".client_ids[1]"),
        (r#"{"sso": "true"}"#, ".sso"),
        (r#"{"sso": 1}"#, ".sso"),
        (r#"{"is_admin": null}"#, ".is_admin"),
        (r#"{"groups": "admins"}"#, ".groups"),
        (r#"{"roles": {}}"#, ".roles"),
        (r#"{"read_only": []}"#, ".read_only"),
        (r#"{"federation_ids": [true]}"#, ".federation_ids[0]"),
        (r#"{"claims": {}}"#, ".claims"),
        (r#"{"claims": []}"#, ".claims"),
        (r#"{"claims": {"x": []}}"#, ".claims.x"),
        (r#"{"claims": {"x": "a"}}"#, ".claims.x"),
        (r#"{"claims": {"x": [null]}}"#, ".claims.x[0]"),
        (r#"{"claims": {"x": [["a"]]}}"#, ".claims.x[0]"),
        (r#"{"claims": {"x": [1.5]}}"#, ".claims.x[0]"),
        (r#"{"claims": {"x": [1e300]}}"#, ".claims.x[0]"),
        (r#"{"claims": {"x": ["a", "a"]}}"#, ".claims.x[1]"),
        (r#"{"claims": {"user_id": ["1"]}}"#, ".claims.user_id[0]"),
        (r#"{"claims": {"email": [1]}}"#, ".claims.email[0]"),
        (r#"{"claims": {"is_admin": ["true"]}}"#, ".claims.is_admin[0]"),
        (r#"{"claims": {".x": ["a"]}}"#, ".claims..x"),
        (r#"{"claims": {"": ["a"]}}"#, ".claims."),
        (r#"{"claims": {"a.b.c.d.e.f.g.h.i": ["a"]}}"#, ".claims.a.b.c.d.e.f.g.h.i"),
        (r#"{"user_type": ["sales"]}"#, ".user_type"),
    ] {
        assert_paths(&[(&require(json), &format!("rules[0].require{path}"))]);
    }
}

#[test]
fn a_rule_inherits_the_filters_settings() {
    let config = config(json!({
        "mode": "shadow", "forward_credential": false, "jwt": {"verification": "remote"},
        "rules": [
            {"match": {"path": "/a"}},
            {"match": {"path": "/b"}, "mode": "enforce", "forward_credential": true, "verification": "local"},
        ],
    }));
    assert_eq!(&config.rules[0].terms, config.rules.terms(None));
    let Terms { verification, forward_credential, mode, .. } = &config.rules[1].terms;
    let expected = (Verification::Local, ForwardCredential::Keep, Mode::Enforce);
    assert_eq!((*verification, *forward_credential, *mode), expected);
}

#[test]
fn a_number_in_a_struct_is_read_as_an_integer() {
    let of = |ids: Value| config(json!({"rules": [{"match": {"path": "/a"}, "require": {"client_ids": ids}}]}));
    let access = |ids: Value| of(ids).rules[0].terms.access.clone();
    assert_eq!(access(json!([1.0, -2])), access(json!([-2, 1])));
    assert_ne!(access(json!([1])), access(json!([2])));
    assert_ne!(access(json!([9007199254740991_i64])), access(json!([9007199254740990_i64])));
}
