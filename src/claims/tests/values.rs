//! Claims as the values of headers.

use std::borrow::Cow;

use super::*;

#[test]
fn every_claim_path_has_its_value() {
    let claims = parse(&everything()).unwrap();
    let expected = [
        ("exp", "1800003600"),
        ("nbf", "1800000000"),
        ("iat", "1799999990"),
        ("jti", "5f0c"),
        ("iss", "auth"),
        ("sub", "17"),
        ("aud", "a,b"),
        ("user_id", "17"),
        ("client_id", "23"),
        ("token_id", "5"),
        ("issued_by.user_id", "7"),
        ("issued_by.user_type", "system_admin"),
        ("token_type", "access"),
        ("user_type", "common"),
        ("user_groups", "dev,ops"),
        ("role_params.role", "manager"),
        ("role_params.read_only", "true"),
        ("role_params.federations", "1,-2"),
        ("role_params.alias", "m"),
        ("role_params.resellers_wl", "3"),
        ("role_params.resellers_bl", ""),
        ("email", "user@example.com"),
        ("username", "user"),
        ("sso_entity", "https://idp.example/saml"),
        ("is_admin", "true"),
        ("client_name", "Client, Inc."),
        ("federation_id", "-9"),
    ];
    assert_eq!(expected.len(), ClaimPath::NAMES.len());
    for (name, value) in expected {
        let path: ClaimPath = name.parse().unwrap();
        assert_eq!(path.to_string(), name);
        assert_eq!(claims.header_value(path), Ok(Some(Cow::Borrowed(value))), "{name}");
    }
}

#[test]
fn an_absent_claim_has_no_value() {
    let claims = parse(&json!({"exp": 1, "user_id": 1, "client_id": 2, "token_type": "access"})).unwrap();
    for (path, name) in ClaimPath::NAMES {
        let is_there = ["exp", "user_id", "client_id", "token_type"].contains(&name);
        assert_eq!(claims.header_value(path).unwrap().is_some(), is_there, "{name}");
    }
}

#[test]
fn a_claim_with_a_control_character_is_refused_as_a_header() {
    for (name, path) in [
        ("jti", ClaimPath::Jti),
        ("iss", ClaimPath::Iss),
        ("user_type", ClaimPath::UserType),
        ("email", ClaimPath::Email),
        ("username", ClaimPath::Username),
        ("sso_entity", ClaimPath::SsoEntity),
        ("client_name", ClaimPath::ClientName),
    ] {
        for value in ["a\r\nx-is-admin: true", "a\n", "\r", "\0", "a\tb", "\u{1b}[0m", "\u{7f}"] {
            let claims = parse(&claims(json!({name: value}))).unwrap();
            assert_eq!(claims.header_value(path), Err(NotAHeaderValue(path)), "{name} {value:?}");
        }
        let claims = parse(&claims(json!({name: "\u{e9} \u{1f600}"}))).unwrap();
        assert_eq!(claims.header_value(path), Ok(Some(Cow::Borrowed("\u{e9} \u{1f600}"))));
    }
    let nested = parse(&claims(json!({
        "issued_by": {"user_type": "a\nb"}, "role_params": {"role": "a\nb", "alias": "a\nb"}, "user_groups": ["a\nb"],
    })))
    .unwrap();
    for path in [ClaimPath::IssuedByUserType, ClaimPath::Role, ClaimPath::RoleAlias, ClaimPath::UserGroups] {
        assert_eq!(nested.header_value(path), Err(NotAHeaderValue(path)));
    }
}

#[test]
fn a_group_with_a_comma_is_refused_as_a_header() {
    let value = |groups: Value| {
        let claims = parse(&claims(json!({"user_groups": groups}))).unwrap();
        claims.header_value(ClaimPath::UserGroups).map(|value| value.map(Cow::into_owned))
    };
    assert_eq!(value(json!(["a,admin"])), Err(NotAHeaderValue(ClaimPath::UserGroups)));
    assert_eq!(value(json!(["a", ","])), Err(NotAHeaderValue(ClaimPath::UserGroups)));
    assert_eq!(value(json!(["a", " admin"])), Err(NotAHeaderValue(ClaimPath::UserGroups)));
    assert_eq!(value(json!(["a b"])), Ok(Some("a b".into())));
    assert_eq!(value(json!(["a", "b c"])), Ok(Some("a,b c".to_owned())));
    assert_eq!(value(json!([])), Ok(Some(String::new())));
    assert_eq!(value(Value::Null), Ok(None));
}

#[test]
fn an_unknown_claim_path_is_refused() {
    for path in
        ["", "user", "User_Id", "user_id ", "issued_by", "role_params", "role_params.", "role", "audience", "a.b.c"]
    {
        assert_eq!(path.parse::<ClaimPath>(), Err(UnknownClaim), "{path:?}");
    }
    assert!(UnknownClaim.to_string().contains("issued_by.user_id"), "{UnknownClaim}");
}
