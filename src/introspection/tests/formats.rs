//! Each `response_format`.

use super::*;
use crate::credential::Redacted;

#[test]
fn json_body_holds_the_claims() {
    let body = claims(json!({"token_type": "api_token", "token_id": 5, "unknown": [1]}));
    let claims = identity(read_body(body.to_string().as_bytes(), ResponseFormat::JsonBody));
    assert_eq!(claims.token_type(), TokenType::ApiToken);
    assert_eq!(value(&claims, ClaimPath::TokenId).as_deref(), Some("5"));
}

#[test]
fn a_json_body_without_the_claims_is_an_outage() {
    let usual = claims(json!({})).to_string();
    for body in [
        String::new(),
        "null".to_owned(),
        "{}".to_owned(),
        "<html>It works!</html>".to_owned(),
        format!("[{usual}]"),
        format!("{usual}x"),
        usual.get(..usual.len() - 1).unwrap().to_owned(),
        usual.replacen('{', r#"{"user_id": 1, "#, 1),
        claims(json!({"exp": null})).to_string(),
        claims(json!({"user_id": null})).to_string(),
        claims(json!({"client_id": null})).to_string(),
        claims(json!({"token_type": null})).to_string(),
        claims(json!({"user_id": "17"})).to_string(),
        claims(json!({"is_admin": 1})).to_string(),
        json!({"error": "x", "details": "y"}).to_string(),
    ] {
        let verdict = read_body(body.as_bytes(), ResponseFormat::JsonBody);
        assert!(matches!(verdict, Err(Outage::Claims(_))), "{body}: {verdict:?}");
    }
    assert!(matches!(read_body(b"\xff", ResponseFormat::JsonBody), Err(Outage::Claims(_))));
}

#[test]
fn a_body_that_is_too_large_is_an_outage_where_it_is_needed() {
    for (format, expected) in [
        (ResponseFormat::JsonBody, Some(Outage::TooLarge)),
        (ResponseFormat::JwtBody, Some(Outage::TooLarge)),
        (ResponseFormat::JsonHeader, None),
        (ResponseFormat::JwtHeader, None),
    ] {
        assert_eq!(
            read(&CalloutResponse { body: None, ..complete() }, format, &AnswerHeaders::default()).err(),
            expected,
            "{format:?}"
        );
    }
}

const IDS: [(&str, &[u8]); 2] = [("x-user-id", b"17"), ("x-client-id", b"-23")];

#[test]
fn json_header_holds_the_identity() {
    let claims = identity(read_headers(&IDS, ResponseFormat::JsonHeader));
    assert_eq!((claims.exp(), claims.token_type()), (None, TokenType::ApiToken));
    assert_eq!(value(&claims, ClaimPath::UserId).as_deref(), Some("17"));
    assert_eq!(value(&claims, ClaimPath::ClientId).as_deref(), Some("-23"));
    for path in [ClaimPath::Email, ClaimPath::UserType, ClaimPath::IsAdmin] {
        assert_eq!(value(&claims, path), None, "{path}");
    }

    let claims = identity(read(&complete(), ResponseFormat::JsonHeader, &AnswerHeaders::default()));
    assert_eq!(value(&claims, ClaimPath::Email).as_deref(), Some("user@example.com"));
    assert_eq!(value(&claims, ClaimPath::UserType).as_deref(), Some("common"));
    for (written, read) in
        [("true", "true"), ("True", "true"), ("TRUE", "true"), ("false", "false"), ("False", "false")]
    {
        let headers = [&IDS[..], &[("x-is-admin", written.as_bytes())]].concat();
        let claims = identity(read_headers(&headers, ResponseFormat::JsonHeader));
        assert_eq!(value(&claims, ClaimPath::IsAdmin).as_deref(), Some(read), "{written}");
    }
}

#[test]
fn json_header_reads_the_headers_that_are_configured() {
    let names = json!({"user_id": "X-Platform-User-ID", "client_id": "X-Platform-Client-ID", "email": "X-Mail"});
    let config = config(json!({"api_token": {"response_format": "json_header", "answer_headers": names}}));
    let verifier = AuthVerify::new(&config);
    let headers: [(&str, &[u8]); 5] = [
        ("x-platform-user-id", b"17"),
        ("x-platform-client-id", b"23"),
        ("x-mail", b"a@b.c"),
        ("x-user-id", b"1"),
        ("x-is-admin", b"true"),
    ];
    let claims = identity(verifier.verdict(answer(200, &headers, b"")));
    assert_eq!(value(&claims, ClaimPath::UserId).as_deref(), Some("17"));
    assert_eq!(value(&claims, ClaimPath::ClientId).as_deref(), Some("23"));
    assert_eq!(value(&claims, ClaimPath::Email).as_deref(), Some("a@b.c"));
    assert_eq!(value(&claims, ClaimPath::IsAdmin).as_deref(), Some("true"), "those that aren't named stay");
    let missing = Err(Outage::MissingHeader("X-Platform-User-ID".into()));
    assert_eq!(verifier.verdict(answer(200, &IDS, b"")), missing, "the usual names");
}

#[test]
fn json_header_without_readable_identifiers_is_an_outage() {
    for (name, what) in [("x-user-id", "X-User-Id"), ("x-client-id", "X-Client-Id")] {
        let others: Vec<(&str, &[u8])> = IDS.into_iter().filter(|(known, _)| *known != name).collect();
        for bad in [
            &b""[..],
            b" ",
            b"17a",
            b"1.0",
            b"1e3",
            b"0x11",
            b"17,18",
            b"17, 17",
            b" 17",
            b"17 ",
            b"null",
            b"\xff",
            b"--1",
            b"+17",
            b"9223372036854775808",
            b"\xd9\xa1",
        ] {
            let headers = [&others[..], &[(name, bad)]].concat();
            let verdict = read_headers(&headers, ResponseFormat::JsonHeader);
            assert_eq!(verdict, Err(Outage::MissingHeader(what.into())), "{name}: {bad:?}");
        }
        assert_eq!(read_headers(&others, ResponseFormat::JsonHeader), Err(Outage::MissingHeader(what.into())), "none");
        let twice = [&others[..], &[(name, b"17"), (name, b"17")]].concat();
        assert_eq!(read_headers(&twice, ResponseFormat::JsonHeader), Err(Outage::MissingHeader(what.into())), "twice");
    }
}

#[test]
fn json_header_with_unreadable_details_is_an_outage() {
    for (name, what, bad) in [
        ("x-user-email", "X-User-Email", &b"\xff"[..]),
        ("x-user-type", "X-User-Type", b"\xc3"),
        ("x-is-admin", "X-Is-Admin", b"\xff"),
        ("x-is-admin", "X-Is-Admin", b"1"),
        ("x-is-admin", "X-Is-Admin", b"yes"),
        ("x-is-admin", "X-Is-Admin", b""),
        ("x-is-admin", "X-Is-Admin", b"true,false"),
        ("x-is-admin", "X-Is-Admin", b" true"),
    ] {
        let headers = [&IDS[..], &[(name, bad)]].concat();
        let verdict = read_headers(&headers, ResponseFormat::JsonHeader);
        assert_eq!(verdict, Err(Outage::MissingHeader(what.into())), "{name}: {bad:?}");
    }
    for (name, what, good) in [
        ("x-user-email", "X-User-Email", &b"a@b.c"[..]),
        ("x-user-type", "X-User-Type", b"common"),
        ("x-is-admin", "X-Is-Admin", b"false"),
    ] {
        let headers = [&IDS[..], &[(name, good), (name, good)]].concat();
        assert_eq!(
            read_headers(&headers, ResponseFormat::JsonHeader),
            Err(Outage::MissingHeader(what.into())),
            "{name} twice"
        );
    }
}

#[test]
fn jwt_body_holds_a_token_that_has_yet_to_be_verified() {
    for body in [&b"a.b.c"[..], b"a.b.c\n", b"\r\n a.b.c \t"] {
        assert_eq!(read_body(body, ResponseFormat::JwtBody), Ok(Verdict::Jwt(Redacted(b"a.b.c".to_vec()))));
    }
    // Garbage is passed on too, and fails as a JWT.
    assert_eq!(read_body(b"\xff <html>", ResponseFormat::JwtBody), Ok(Verdict::Jwt(Redacted(b"\xff <html>".to_vec()))));
    for body in [&b""[..], b" ", b"\r\n"] {
        assert_eq!(read_body(body, ResponseFormat::JwtBody), Err(Outage::Missing("JWT in the body")), "{body:?}");
    }
}

#[test]
fn jwt_header_holds_a_token_that_has_yet_to_be_verified() {
    for good in ["Bearer a.b.c", "bearer a.b.c", "BEARER a.b.c"] {
        let verdict = read_headers(&[("authorization", good.as_bytes())], ResponseFormat::JwtHeader);
        assert_eq!(verdict, Ok(Verdict::Jwt(Redacted(b"a.b.c".to_vec()))), "{good}");
    }
    let missing = Err(Outage::Missing("JWT in Authorization"));
    for bad in [
        &b""[..],
        b"a.b.c",
        b"Bearer",
        b"Bearer ",
        b"Bearer\ta.b.c",
        b" Bearer a.b.c",
        b"APIKey a.b.c",
        b"BearerX a.b.c",
        b"Bearer a.b.\xff",
    ] {
        assert_eq!(read_headers(&[("authorization", bad)], ResponseFormat::JwtHeader), missing, "{bad:?}");
    }
    assert_eq!(read_headers(&[], ResponseFormat::JwtHeader), missing);
    let twice: [(&str, &[u8]); 2] = [("authorization", b"Bearer a.b.c"), ("authorization", b"Bearer a.b.c")];
    assert_eq!(read_headers(&twice, ResponseFormat::JwtHeader), missing);
    assert_eq!(read_body(b"a.b.c", ResponseFormat::JwtHeader), missing, "a token elsewhere is none");
}
