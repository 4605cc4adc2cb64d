//! Possible answers of the auth service about an API token (docs/reference.md#verify).
//!
//! Only 200 with a readable identity, 401 and 403 are verdicts; everything else is an outage
//! (docs/reference.md#verify), which ends in 503 after a retry.

mod broken;
mod headers;
mod json;
mod jwts;

use serde_json::{Value, json};

use super::{Case, Verdict, keys::Signer, tokens::base};

/// The bytes of an answer, after which the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer(pub Vec<u8>);

impl Answer {
    /// An HTTP/1 response.
    #[must_use]
    pub fn new(status: u16, headers: &[(&str, &[u8])], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut bytes =
            format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n", body.len()).into_bytes();
        for (name, value) in headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        Self(bytes)
    }
}

/// The format that the service was asked for, and its answer.
pub type Input = (&'static str, Answer);

/// The values of `api_token.response_format`.
pub const FORMATS: [&str; 4] = ["json_body", "json_header", "jwt_body", "jwt_header"];

/// The largest answer that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;
const DOWN: Verdict = Verdict::Deny("auth_service_unavailable");
const NO_VERDICT: &str = "docs/reference.md#verify: neither 200, 401 nor 403 is never a verdict";
const UNREADABLE: &str = "docs/reference.md#verify: an unreadable answer is never a verdict";
const EXPLICIT: &str = "docs/reference.md#verify: an explicit refusal, whatever else it says";
const VERIFIED: &str = "docs/reference.md#verify: a JWT of the service's is verified like any other";

/// All answers.
#[must_use]
pub fn all() -> Vec<Case<Input>> {
    let mut cases = Vec::new();
    for format in FORMATS {
        cases.push(case(format, "a good answer", good(format), Verdict::Allow, "docs/reference.md#verify"));
        cases.extend(statuses(format));
    }
    cases.extend([broken::cases(), json::cases(), headers::cases(), jwts::cases()].concat());
    cases
}

/// An answer in this format that names user 7 of client 70.
#[must_use]
pub fn good(format: &str) -> Answer {
    with_status(format, 200)
}

fn identity() -> Value {
    let mut claims = base();
    claims["token_type"] = json!("api_token");
    claims["token_id"] = json!(9);
    claims
}

/// The values of claims as a list, the registered ones first, in the order of docs/reference.md#claims: a careless
/// reader takes it for the claims.
pub(super) fn values_alone(claims: &Value) -> String {
    let names = [
        "exp",
        "nbf",
        "jti",
        "iss",
        "aud",
        "user_id",
        "client_id",
        "token_id",
        "issued_by",
        "token_type",
        "user_type",
        "user_groups",
        "role_params",
        "email",
        "username",
        "sso_entity",
        "is_admin",
        "client_name",
        "federation_id",
    ];
    Value::from(names.map(|name| claims[name].clone()).to_vec()).to_string()
}

fn jwt() -> String {
    Signer::trusted().claims(identity().to_string())
}

const IDENTITY: [(&str, &[u8]); 5] = [
    ("X-User-Id", b"7"),
    ("X-Client-Id", b"70"),
    ("X-User-Email", b"seven@example.com"),
    ("X-User-Type", b"common"),
    ("X-Is-Admin", b"false"),
];

fn with_status(format: &str, status: u16) -> Answer {
    match format {
        "json_body" => Answer::new(status, &[("Content-Type", b"application/json")], identity().to_string()),
        "json_header" => Answer::new(status, &IDENTITY, ""),
        "jwt_body" => Answer::new(status, &[("Content-Type", b"text/plain")], jwt()),
        _ => Answer::new(status, &[("Authorization", format!("Bearer {}", jwt()).as_bytes())], ""),
    }
}

fn case(
    format: &'static str,
    name: impl AsRef<str>,
    answer: Answer,
    expected: Verdict,
    reason: &'static str,
) -> Case<Input> {
    Case::new(format!("{format}: {}", name.as_ref()), (format, answer), expected, reason)
}

/// Every status with an otherwise good identity.
fn statuses(format: &'static str) -> Vec<Case<Input>> {
    let mut cases = Vec::new();
    for status in [
        201, 202, 203, 205, 206, 226, 299, 300, 301, 302, 303, 307, 308, 400, 402, 404, 405, 406, 407, 408, 409, 410,
        418, 421, 422, 425, 429, 431, 451, 499, 500, 501, 502, 503, 504, 507, 511, 599,
    ] {
        cases.push(case(format, format!("{status} with an identity"), with_status(format, status), DOWN, NO_VERDICT));
    }
    for (status, code) in [(401, "token_rejected"), (403, "forbidden_by_service")] {
        let verdict = Verdict::Deny(code);
        cases.push(case(format, format!("{status} with an identity"), with_status(format, status), verdict, EXPLICIT));
        let error = r#"{"error": "x", "details": "y"}"#;
        cases.push(case(format, format!("{status} with an error"), Answer::new(status, &[], error), verdict, EXPLICIT));
        cases.push(case(format, format!("{status} without a body"), Answer::new(status, &[], ""), verdict, EXPLICIT));
        cases.push(case(
            format,
            format!("{status} with garbage"),
            Answer::new(status, &[], b"\xff\x00{"),
            verdict,
            EXPLICIT,
        ));
        cases.push(case(
            format,
            format!("{status} with a long body"),
            Answer::new(status, &[], vec![b'x'; 2 * MAX_BODY]),
            verdict,
            EXPLICIT,
        ));
    }
    cases
}
