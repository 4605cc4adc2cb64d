//! The service's answers, good and bad.

mod formats;

use serde_json::{Value, json};

use super::*;
use crate::claims::{ClaimPath, TokenType};
use crate::config::{AnswerHeaders, ResponseFormat};
use crate::credential::Form;
use crate::testing::{claims, config};

const FORMATS: [ResponseFormat; 4] =
    [ResponseFormat::JsonBody, ResponseFormat::JsonHeader, ResponseFormat::JwtBody, ResponseFormat::JwtHeader];

fn answer(status: u16, headers: &[(&str, &[u8])], body: &[u8]) -> CalloutResponse {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    CalloutResponse { status, headers, body: Some(body.to_vec()) }
}

fn read_body(body: &[u8], format: ResponseFormat) -> Result<Verdict, Outage> {
    read(&answer(200, &[("content-type", b"application/json")], body), format, &AnswerHeaders::default())
}

fn read_headers(headers: &[(&str, &[u8])], format: ResponseFormat) -> Result<Verdict, Outage> {
    read(&answer(200, headers, b""), format, &AnswerHeaders::default())
}

fn identity(verdict: Result<Verdict, Outage>) -> Box<Claims> {
    match verdict.unwrap() {
        Verdict::Identity(confirmed) => confirmed.into_claims(),
        other => panic!("{other:?}"),
    }
}

fn value(claims: &Claims, path: ClaimPath) -> Option<String> {
    claims.header_value(path).unwrap().map(|value| value.into_owned())
}

/// An answer in which every format finds an identity.
fn complete() -> CalloutResponse {
    let headers: [(&str, &[u8]); 6] = [
        ("x-user-id", b"17"),
        ("x-client-id", b"23"),
        ("x-user-email", b"user@example.com"),
        ("x-user-type", b"common"),
        ("x-is-admin", b"true"),
        ("authorization", b"Bearer a.b.c"),
    ];
    answer(200, &headers, claims(json!({})).to_string().as_bytes())
}

#[test]
fn the_callout_names_the_token_types_and_the_format() {
    for (changes, path) in [
        (json!({}), "/auth/verify?header_types=apikey&response_format=json_body"),
        (
            json!({"api_token": {"header_types": ["apikey", "jwt", "other"], "response_format": "jwt_header"}}),
            "/auth/verify?header_types=apikey,jwt,other&response_format=jwt_header",
        ),
        (
            json!({"api_token": {"header_types": ["other"], "response_format": "jwt_body"}}),
            "/auth/verify?header_types=other&response_format=jwt_body",
        ),
        (
            json!({"api_token": {"response_format": "json_header"}, "auth_service": {"cluster": "c", "verify_path": "/v"}}),
            "/v?header_types=apikey&response_format=json_header",
        ),
        (
            json!({"auth_service": {"cluster": "c", "verify_path": "/v?tenant=a"}}),
            "/v?tenant=a&header_types=apikey&response_format=json_body",
        ),
    ] {
        assert_eq!(
            AuthVerify::new(&config(changes)).question(&Credential::in_authorization(Form::ApiToken, b"1$a")).path,
            path
        );
    }
}

#[test]
fn the_callout_carries_the_credential_in_its_own_scheme() {
    for (form, text, authorization) in [
        (Form::Jwt, "a.b.c", "Bearer a.b.c"),
        (Form::ApiToken, "17$abc", "APIKey 17$abc"),
        (Form::Other, "Basic dXNlcjpwYXNz", "Basic dXNlcjpwYXNz"),
        (Form::Other, "bearer opaque", "bearer opaque"),
    ] {
        let credential = Credential::in_authorization(form, text.as_bytes());
        let question = AuthVerify::new(&config(json!({}))).question(&credential);
        assert_eq!(question.authorization(), Some(authorization));
        assert!(!question.path.contains("17$abc"), "no credential in a path");
    }
}

#[test]
fn only_200_401_and_403_are_verdicts() {
    for format in FORMATS {
        for status in [
            0, 100, 101, 201, 202, 204, 206, 299, 301, 302, 304, 307, 400, 402, 404, 405, 407, 408, 409, 418, 429, 431,
            499, 500, 501, 502, 503, 504, 599, 999,
        ] {
            let answer = CalloutResponse { status, ..complete() };
            assert_eq!(read(&answer, format, &AnswerHeaders::default()), Err(Outage::Status(status)), "{format:?}");
        }
        assert_eq!(
            read(&CalloutResponse { status: 401, ..complete() }, format, &AnswerHeaders::default()),
            Ok(Verdict::Rejected)
        );
        assert_eq!(
            read(&CalloutResponse { status: 403, ..complete() }, format, &AnswerHeaders::default()),
            Ok(Verdict::Forbidden)
        );
        assert!(matches!(
            read(&complete(), format, &AnswerHeaders::default()),
            Ok(Verdict::Identity(_) | Verdict::Jwt(_))
        ));
    }
}

#[test]
fn a_401_or_403_is_a_refusal_with_any_body() {
    for (status, verdict) in [(401, Verdict::Rejected), (403, Verdict::Forbidden)] {
        let unreadable = CalloutResponse { status, headers: vec![], body: None };
        assert_eq!(read(&unreadable, ResponseFormat::JsonBody, &AnswerHeaders::default()), Ok(verdict));
    }
}

#[test]
fn no_answer_is_an_outage() {
    for error in [CalloutError::NotSent, CalloutError::Reset] {
        assert_eq!(Outage::from(error), Outage::Callout(error));
    }
}

#[test]
fn the_public_key_is_read_from_its_field() {
    let body = json!({"public_key": "-----BEGIN\n-----END", "kid": 1}).to_string();
    assert_eq!(read_public_key(&answer(200, &[], body.as_bytes())), Ok("-----BEGIN\n-----END".to_owned()));
}

#[test]
fn an_answer_without_a_public_key_is_an_outage() {
    for body in [
        json!({}),
        json!({"public_key": null}),
        json!({"public_key": 1}),
        json!({"public_key": ["x"]}),
        json!({"Public_Key": "x"}),
        json!(["x"]),
        json!("x"),
        Value::Null,
    ] {
        let read = read_public_key(&answer(200, &[], body.to_string().as_bytes()));
        assert!(matches!(read, Err(Outage::Json(_))), "{body}: {read:?}");
    }
    for body in [&b""[..], b"<html>", b"-----BEGIN PUBLIC KEY-----", br#"{"public_key":"a","public_key":"b"}"#, b"\xff"]
    {
        let read = read_public_key(&answer(200, &[], body));
        assert!(matches!(read, Err(Outage::Json(_))), "{body:?}: {read:?}");
    }
    let body = br#"{"public_key":"x"}"#;
    for status in [0, 201, 204, 301, 401, 403, 404, 429, 500, 503, 504] {
        assert_eq!(read_public_key(&answer(status, &[], body)), Err(Outage::Status(status)));
    }
    let too_large = CalloutResponse { body: None, ..answer(200, &[], b"") };
    assert_eq!(read_public_key(&too_large), Err(Outage::TooLarge));
}

fn broken(reason: &str) -> String {
    format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}")
}

/// Envoy's own answer, and a host's: the same except for what Envoy adds.
fn by_envoy_and_by_a_host(status: u16, text: &str) -> [CalloutResponse; 2] {
    [
        answer(status, &[("content-type", b"text/plain")], text.as_bytes()),
        answer(status, &[("x-envoy-upstream-service-time", b"1")], text.as_bytes()),
    ]
}

#[test]
fn local_replies_of_envoy_are_told_from_the_services_answers() {
    let refused =
        broken("remote connection failure, transport failure reason: delayed connect error: Connection refused");
    for (status, text, expected) in [
        (504, "upstream request timeout".to_owned(), CalloutError::TimedOut),
        (503, "no healthy upstream".to_owned(), CalloutError::NoHost),
        (503, broken("remote connection failure"), CalloutError::NotConnected),
        (503, refused, CalloutError::NotConnected),
        (
            503,
            broken("remote connection failure").replace("reset reason", "retried and the latest reset reason"),
            CalloutError::NotConnected,
        ),
        (503, broken("local connection failure"), CalloutError::NotConnected),
        (503, broken("connection timeout"), CalloutError::ConnectTimeout),
        (503, broken("connection termination"), CalloutError::Reset),
        (503, broken("remote refused stream reset"), CalloutError::Reset),
        (503, broken("overflow"), CalloutError::Overflow),
        (502, "a text of another version".to_owned(), CalloutError::ByEnvoy(502)),
        (503, String::new(), CalloutError::ByEnvoy(503)),
        (504, String::new(), CalloutError::ByEnvoy(504)),
    ] {
        let [by_envoy, by_a_host] = by_envoy_and_by_a_host(status, &text);
        assert_eq!(CalloutError::of(&by_envoy), Some(expected), "{status}: {text}");
        assert_eq!(CalloutError::of(&by_a_host), None, "{status} of the service's own proxy: {text}");
        let read = read(&by_a_host, ResponseFormat::JsonBody, &AnswerHeaders::default());
        assert_eq!(read, Err(Outage::Status(status)), "{text}");
    }
    for status in [200, 401, 403, 500] {
        assert_eq!(CalloutError::of(&by_envoy_and_by_a_host(status, &broken("overflow"))[0]), None, "{status}");
    }
    let too_large = CalloutResponse { status: 503, headers: Vec::new(), body: None };
    assert_eq!(CalloutError::of(&too_large), Some(CalloutError::ByEnvoy(503)));
}

#[test]
fn a_broken_answer_is_the_credentials_outage_at_either_envoy() {
    for (status, reason, expected) in [
        (502, "protocol error", CalloutError::NotHttp),
        (503, "protocol error", CalloutError::NotHttp),
        (503, "remote reset", CalloutError::StreamReset),
        (503, "local reset", CalloutError::StreamReset),
    ] {
        for answer in by_envoy_and_by_a_host(status, &broken(reason)) {
            assert_eq!(CalloutError::of(&answer), Some(expected), "{status}: {reason}");
        }
        assert_eq!(Outage::from(expected).scope(), Scope::Credential);
    }
}

#[test]
fn the_service_is_down_only_without_any_answer() {
    use CalloutError as Error;
    for (error, scope) in [
        (Error::NoCluster, Scope::Service),
        (Error::NotSent, Scope::Service),
        (Error::NoHost, Scope::Service),
        (Error::NotConnected, Scope::Service),
        (Error::ConnectTimeout, Scope::Service),
        (Error::TimedOut, Scope::Service),
        (Error::Reset, Scope::Service),
        (Error::ByEnvoy(503), Scope::Service),
        (Error::StreamReset, Scope::Credential),
        (Error::NotHttp, Scope::Credential),
        (Error::Overflow, Scope::Gateway),
    ] {
        assert_eq!(Outage::from(error).scope(), scope, "{error}");
    }
    for (status, scope) in [
        (502, Scope::Service),
        (503, Scope::Service),
        (504, Scope::Service),
        (500, Scope::Credential),
        (501, Scope::Credential),
        (429, Scope::Credential),
        (404, Scope::Credential),
    ] {
        assert_eq!(Outage::Status(status).scope(), scope, "{status}");
    }
}
