//! JWTs, in the body and in `Authorization`.

use serde_json::{Value, json};

use super::{Answer, Case, DOWN, Input, Signer, UNREADABLE, VERIFIED, Verdict, case, identity, jwt};
use crate::corpus::keys::encode;

/// JWTs, in the body and in `Authorization`.
pub(super) fn cases() -> Vec<Case<Input>> {
    let mut cases = Vec::new();
    for (name, jwt, expected) in tokens() {
        cases.push(case("jwt_body", name, Answer::new(200, &[], &jwt), expected, VERIFIED));
        let header = format!("Bearer {jwt}");
        cases.push(case(
            "jwt_header",
            name,
            Answer::new(200, &[("Authorization", header.as_bytes())], ""),
            expected,
            VERIFIED,
        ));
    }
    [cases, bodies(), headers()].concat()
}

/// Tokens that an answer may carry, in either place.
fn tokens() -> Vec<(&'static str, String, Verdict)> {
    let (signer, foreign) = (Signer::trusted(), Signer::foreign());
    let with = |claim: &str, value: Value| {
        let mut claims = identity();
        claims[claim] = value;
        claims.to_string()
    };
    let token = jwt();
    let text = token.rsplit_once('.').map_or("", |(text, _)| text).to_owned();
    let of = |header: &str| signer.jwt(header, identity().to_string());
    vec![
        ("signed by another key", foreign.claims(identity().to_string()), DOWN),
        ("without a signature", format!("{text}."), DOWN),
        ("with a signature of zeros", format!("{text}.{}", encode(vec![0; 256])), DOWN),
        ("alg none", format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(identity().to_string())), DOWN),
        ("alg none with a good signature", of(r#"{"typ":"JWT","alg":"none"}"#), DOWN),
        ("alg HS256", of(r#"{"typ":"JWT","alg":"HS256"}"#), DOWN),
        ("crit", of(r#"{"typ":"JWT","alg":"RS256","crit":["exp"]}"#), DOWN),
        (
            "a key of its own",
            foreign
                .jwt(json!({"typ": "JWT", "alg": "RS256", "jwk": foreign.jwk()}).to_string(), identity().to_string()),
            DOWN,
        ),
        ("expired", signer.claims(with("exp", json!(1_600_000_000))), DOWN),
        ("not yet valid", signer.claims(with("nbf", json!(4_102_444_799_u64))), DOWN),
        ("no exp", signer.claims(with("exp", Value::Null)), DOWN),
        ("no user_id", signer.claims(with("user_id", Value::Null)), DOWN),
        ("a leading dot", format!(".{token}"), DOWN),
        ("padded", format!("{token}=="), DOWN),
        ("two tokens", format!("{token},{token}"), DOWN),
        ("quoted", format!("\"{token}\""), DOWN),
        ("longer than the documented size", signer.claims(with("client_name", json!("x".repeat(13_000)))), DOWN),
        ("no JWT", "x".to_owned(), DOWN),
        (
            "a refresh token",
            signer.claims(with("token_type", json!("refresh"))),
            Verdict::Deny("token_type_not_accepted"),
        ),
        ("an email with CR LF", signer.claims(with("email", json!("a\r\nb"))), Verdict::Deny("token_malformed")),
        ("a user's access token", signer.claims(with("token_type", json!("access"))), Verdict::Allow),
    ]
}

/// Bodies that aren't a JWT alone.
fn bodies() -> Vec<Case<Input>> {
    let token = jwt();
    let bodies = [
        ("an empty body", Vec::new()),
        ("a space", b" ".to_vec()),
        ("JSON", identity().to_string().into()),
        ("a JWT in JSON", format!(r#"{{"token":"{token}"}}"#).into()),
        ("a scheme before it", format!("Bearer {token}").into()),
        ("bytes that are not UTF-8", b"\xff.\xff.\xff".to_vec()),
        ("a megabyte", vec![b'A'; 1 << 20]),
    ];
    bodies.map(|(name, body)| case("jwt_body", name, Answer::new(200, &[], body), DOWN, UNREADABLE)).into()
}

/// `Authorization` that isn't one JWT.
fn headers() -> Vec<Case<Input>> {
    let token = jwt();
    let bearer = format!("Bearer {token}");
    let mut cases = Vec::new();
    let values: [(&str, Vec<Vec<u8>>); 9] = [
        ("no Authorization", vec![]),
        ("an empty Authorization", vec![Vec::new()]),
        ("two of them", vec![bearer.clone().into(), bearer.clone().into()]),
        ("two of them, one empty", vec![bearer.clone().into(), Vec::new()]),
        ("no scheme", vec![token.clone().into()]),
        ("another scheme", vec![format!("Basic {token}").into()]),
        ("two spaces", vec![format!("Bearer  {token}").into()]),
        ("a comma-joined pair", vec![format!("{bearer}, {bearer}").into()]),
        ("bytes that are not UTF-8", vec![b"Bearer \xff".to_vec()]),
    ];
    for (name, values) in values {
        let headers: Vec<_> = values.iter().map(|value| ("Authorization", value.as_slice())).collect();
        cases.push(case("jwt_header", name, Answer::new(200, &headers, ""), DOWN, UNREADABLE));
    }
    let lower = format!("bearer {token}");
    cases.push(case(
        "jwt_header",
        "a scheme in lower case",
        Answer::new(200, &[("authorization", lower.as_bytes())], ""),
        Verdict::Allow,
        "RFC 9110 section 11.1: schemes have no case",
    ));
    cases
}
