//! What the service answers: verdicts in all four formats, and its public key.
//!
//! An input is a byte, a line with the status, lines `name: value`, an empty line and the body. Two bits of the byte
//! select the format; one each says that the key was asked for, that the body was too large, and that the body is a key
//! in DER.

use authgate::config::{AnswerHeaders, ResponseFormat};
use authgate::internals::{read, read_public_key};
use authgate::{CalloutResponse, Outage, PublicKey, Scope, Verdict};
use rsa::RsaPublicKey;
use rsa::pkcs8::{DecodePublicKey as _, EncodePublicKey as _};
use rsa::traits::PublicKeyParts as _;

use crate::oracle::claims;
use crate::oracle::json::{self, Json};

const FORMATS: [ResponseFormat; 4] =
    [ResponseFormat::JsonBody, ResponseFormat::JsonHeader, ResponseFormat::JwtBody, ResponseFormat::JwtHeader];

/// Checks one input.
///
/// # Panics
/// If a promise is broken.
pub fn run(data: &[u8]) {
    let Some((selector, rest)) = data.split_first() else { return };
    if selector & 16 != 0 {
        der(rest);
        return;
    }
    let answer = answer(rest, selector & 8 == 0);
    if selector & 4 != 0 {
        public_key(&answer);
    } else {
        verdict(&answer, FORMATS[usize::from(selector & 3)]);
    }
}

fn answer(text: &[u8], has_body: bool) -> CalloutResponse {
    let mut lines = text.splitn(2, |byte| *byte == b'\n');
    let status = lines.next().and_then(|line| str::from_utf8(line).ok()?.parse().ok()).unwrap_or(200);
    let mut rest = lines.next().unwrap_or_default();
    let mut headers = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let value = line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..]);
        headers.push((String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase(), value.to_vec()));
    }
    CalloutResponse { status, headers, body: has_body.then(|| rest.to_vec()) }
}

fn verdict(answer: &CalloutResponse, format: ResponseFormat) {
    let found = read(answer, format, &AnswerHeaders::default());
    match answer.status {
        200 => {}
        401 => return assert_eq!(found, Ok(Verdict::Rejected)),
        403 => return assert_eq!(found, Ok(Verdict::Forbidden)),
        status => {
            let outage = found.expect_err("no other status is a verdict");
            return assert_eq!(outage.scope(), scope(status), "whose outage it is");
        }
    }
    match format {
        ResponseFormat::JsonBody => {
            let expected = answer.body.as_deref().and_then(json::strict).and_then(|json| claims::values(&json));
            assert_eq!(identity(found), expected, "what the claims say");
        }
        ResponseFormat::JsonHeader => assert_eq!(identity(found), from_headers(answer), "what the headers say"),
        ResponseFormat::JwtBody => {
            let jwt = answer.body.as_deref().map(<[u8]>::trim_ascii).filter(|jwt| !jwt.is_empty());
            assert_eq!(jwt_of(found), jwt.map(<[u8]>::to_vec));
        }
        ResponseFormat::JwtHeader => {
            let jwt = one(answer, "authorization").and_then(|value| {
                let (scheme, jwt) = value?.split_once(' ')?;
                (scheme.eq_ignore_ascii_case("bearer") && !jwt.is_empty()).then(|| jwt.as_bytes().to_vec())
            });
            assert_eq!(jwt_of(found), jwt);
        }
    }
}

/// The scope of the outage that an answer with this status means, whatever its text.
const fn scope(status: u16) -> Scope {
    match status {
        502..=504 => Scope::Service,
        _ => Scope::Credential,
    }
}

fn identity(found: Result<Verdict, Outage>) -> Option<claims::Values> {
    match found {
        Ok(Verdict::Identity(confirmed)) => Some(claims::read(&confirmed.into_claims())),
        Ok(other) => panic!("{other:?} in a format of claims"),
        Err(_) => None,
    }
}

fn jwt_of(found: Result<Verdict, Outage>) -> Option<Vec<u8>> {
    match found {
        Ok(Verdict::Jwt(jwt)) => Some(jwt.0),
        Ok(other) => panic!("{other:?} in a format of JWTs"),
        Err(_) => None,
    }
}

/// A header's value: `None` if it can't be read, `Some(None)` if it is absent.
#[expect(clippy::option_option, reason = "three cases, as everywhere in here")]
fn one<'a>(answer: &'a CalloutResponse, name: &str) -> Option<Option<&'a str>> {
    let values: Vec<_> = answer.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value).collect();
    match values[..] {
        [] => Some(None),
        [value] => str::from_utf8(value).ok().map(Some),
        _ => None,
    }
}

fn from_headers(answer: &CalloutResponse) -> Option<claims::Values> {
    let text = |name| one(answer, name).map(|value| value.map(|value| Json::Text(value.to_owned())));
    let integer = |name| {
        let value = one(answer, name)??;
        let digits = value.strip_prefix('-').unwrap_or(value);
        let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let value = value.parse::<i64>().ok().filter(|_| is_integer)?;
        Some(Json::Number(value.to_string()))
    };
    let flag = match one(answer, "x-is-admin")?.map(str::to_ascii_lowercase).as_deref() {
        None => Json::Null,
        Some("true") => Json::Bool(true),
        Some("false") => Json::Bool(false),
        Some(_) => return None,
    };
    let members = [
        // A claim set needs an expiry, but this answer has none. It is removed below.
        ("exp", Json::Number("0".to_owned())),
        ("token_type", Json::Text("api_token".to_owned())),
        ("user_id", integer("x-user-id")?),
        ("client_id", integer("x-client-id")?),
        ("email", text("x-user-email")?.unwrap_or(Json::Null)),
        ("user_type", text("x-user-type")?.unwrap_or(Json::Null)),
        ("is_admin", flag),
    ];
    let json = Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    let mut values = claims::values(&json)?;
    values[0].1 = Some(None);
    Some(values)
}

fn public_key(answer: &CalloutResponse) {
    let found = read_public_key(answer);
    let expected = match (answer.status, answer.body.as_deref().and_then(json::strict)) {
        (200, Some(json)) => match json.get("public_key") {
            Some(Json::Text(pem)) => Some(pem.clone()),
            _ => None,
        },
        _ => None,
    };
    assert_eq!(found.as_ref().ok(), expected.as_ref(), "what the service serves as its key");
    let Ok(pem) = found else { return };
    if let Ok(key) = PublicKey::from_pem(&pem) {
        let body = pem.trim();
        assert!(body.starts_with("-----BEGIN PUBLIC KEY-----") && body.ends_with("-----END PUBLIC KEY-----"));
        usable(&key);
    }
}

fn der(bytes: &[u8]) {
    let another = RsaPublicKey::from_public_key_der(bytes).is_ok_and(|key| key.n().bits() >= 2048);
    assert_eq!(PublicKey::from_der(bytes).is_ok(), another, "two readers take the same keys");
    if let Ok(key) = PublicKey::from_der(bytes) {
        assert_eq!(key.der(), bytes, "a key keeps its bytes");
        usable(&key);
    }
}

/// Checks that a key is RSA of 2048 to 4096 bits, in the only DER encoding of that key.
fn usable(key: &PublicKey) {
    let another =
        RsaPublicKey::from_public_key_der(key.der()).expect("what one reader takes for a key, the other does");
    assert!((2048..=4096).contains(&another.n().bits()), "{key:?}");
    let again = another.to_public_key_der().expect("DER of a key");
    assert_eq!(again.as_bytes(), key.der(), "one key has one DER");
}
