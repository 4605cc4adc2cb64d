//! What may follow `Bearer`.
//!
//! The gateway is as shipped: `jwt.token_types` are `access` and `api_token`, there is no clock skew, and
//! `X-User-Id`, `X-Client-Id`, `X-User-Email`, `X-User-Type` and `X-Is-Admin` carry claims.

mod claims;
mod form;
mod header;
mod signature;

use serde_json::{Value, json};

use crate::credentials;

use super::{
    Case, Verdict,
    keys::{Signer, USUAL_HEADER, encode},
};

/// A token, as it follows `Bearer `.
pub type Token = Case<Vec<u8>>;

/// The largest token that is read, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// 2100-01-01.
const FUTURE: u64 = 4_102_444_800;
/// 2020-09-13.
const PAST: u64 = 1_600_000_000;

const MALFORMED: Verdict = Verdict::Deny("token_malformed");
const FORGED: Verdict = Verdict::Deny("signature_invalid");

/// All tokens.
#[must_use]
pub fn all() -> Vec<Token> {
    let signer = Signer::trusted();
    [form::cases(&signer), header::cases(&signer), claims::cases(&signer), signature::cases(&signer)].concat()
}

/// A token that the gateway lets pass.
#[must_use]
pub fn good() -> String {
    Signer::trusted().claims(base().to_string())
}

/// All claims of docs/reference.md#claims, in a token that is good until 2100.
#[must_use]
pub fn base() -> Value {
    let mut claims = credentials::claims();
    claims["exp"] = json!(FUTURE);
    claims
}

/// The base with one claim set to this value.
fn with(name: &str, value: &Value) -> Value {
    let mut claims = base();
    claims[name] = value.clone();
    claims
}

/// The base without a claim.
fn without(name: &str) -> Value {
    let mut claims = base();
    if let Some(claims) = claims.as_object_mut() {
        claims.remove(name);
    }
    claims
}

/// The base as text, with more members in front, which may say what JSON values can't.
fn text_with(members: &str, left_out: &str) -> String {
    format!("{{{members},{}", &without(left_out).to_string()[1..])
}

fn case(name: impl Into<String>, token: impl Into<Vec<u8>>, expected: Verdict, reason: &'static str) -> Token {
    Case::new(name, token.into(), expected, reason)
}
