//! The bytes that Envoy hands over, before they are read as fields.

use super::*;

#[test]
fn a_repeated_json_field_is_refused() {
    for (text, path) in [
        (r#"{"auth_service": {"cluster": "a"}, "auth_service": {"cluster": "b"}}"#, "auth_service"),
        (r#"{"auth_service": {"cluster": "a", "cluster": "b"}}"#, "auth_service.cluster"),
        (r#"{"auth_service": {"cluster": "a", "clust\u0065r": "b"}}"#, "auth_service.cluster"),
        (
            r#"{"auth_service": {"cluster": "a"}, "rules": [{"match": {"path": "/a", "path": "/b"}}]}"#,
            "rules[0].match.path",
        ),
        (
            r#"{"auth_service": {"cluster": "a"}, "identity_headers": {"X-A": "jti", "X-A": "jti"}}"#,
            "identity_headers.X-A",
        ),
    ] {
        let error = only(Config::from_bytes(text.as_bytes()));
        assert_eq!(error.path, path, "{text}: {error}");
        assert!(error.problem.contains("twice"), "{text}: {error}");
    }
}

#[test]
fn bytes_that_are_neither_json_nor_a_struct_are_refused() {
    let good = r#"{"auth_service": {"cluster": "c"}}"#;
    assert!(Config::from_bytes(format!("\n {good} \n").as_bytes()).is_ok());
    for bytes in [
        format!("{good}x").into_bytes(),
        format!("{good}{good}").into_bytes(),
        format!("[{good}]").into_bytes(),
        format!("\u{feff}{good}").into_bytes(),
        good.replace('"', "'").into_bytes(),
        b"auth_service:\n  cluster: c\n".to_vec(),
        b"auth_service.cluster".to_vec(),
        b"null".to_vec(),
        b"1".to_vec(),
        b"[]".to_vec(),
        br#"[{"cluster": "c"}]"#.to_vec(),
        b"\0".to_vec(),
        vec![0xff; 64],
        good.replace("\"c\"", "\"\u{1}\"").into_bytes(),
        good.as_bytes()[..good.len() - 1].to_vec(),
        [good.as_bytes(), b"\0"].concat(),
    ] {
        assert!(Config::from_bytes(&bytes).is_err(), "{:?}", String::from_utf8_lossy(&bytes));
    }
    let whole = proto_struct(&example()).encode_to_vec();
    assert!(Config::from_bytes(&whole).is_ok());
    assert!(Config::from_bytes(&whole[..whole.len() - 1]).is_err(), "cut short");
}

/// Envoy writes the fields of a Struct in an order that differs from run to run.
#[test]
fn errors_in_a_struct_have_an_order_that_does_not_depend_on_its_bytes() {
    let fields = [json!({"auth_service": {"cluster": "c", "retries": 9}}), json!({"jwt": {"issuer": 1}})];
    let more: Vec<Value> = (0..200).map(|number| json!({format!("x{number:03}"): 1})).collect();
    let parts: Vec<Vec<u8>> = fields.iter().chain(&more).map(|field| proto_struct(field).encode_to_vec()).collect();
    let paths = |bytes: Vec<u8>| {
        let errors = Config::from_bytes(&bytes).unwrap_err();
        errors.iter().map(|error| error.path.clone()).collect::<Vec<_>>()
    };
    let forwards = paths(parts.concat());
    assert_eq!(forwards[..4], ["auth_service.retries", "jwt.issuer", "x000", "x001"]);
    assert_eq!(forwards, paths(parts.into_iter().rev().collect::<Vec<_>>().concat()));
}

#[test]
fn the_size_is_bounded() {
    let good = r#"{"auth_service": {"cluster": "c"}}"#;
    let padded = |bytes: usize| format!("{good}{}", " ".repeat(bytes - good.len()));
    assert!(Config::from_bytes(padded(1024 * 1024).as_bytes()).is_ok());
    assert_eq!(only(Config::from_bytes(padded(1024 * 1024 + 1).as_bytes())).path, "configuration");
    let deep = format!(r#"{{"rules": {}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(Config::from_bytes(deep.as_bytes()).is_err());
}
