//! Credentials and answers, each with an identity that occurs once.

use authgate::filter::world::{KEYS, jwt_of};
use authgate::introspection::{CalloutError, CalloutResponse};
use authgate::time::UnixTime;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::script::{Flaw, Place, Reply, Setup, status};

/// What one signer or the service vouches for.
#[derive(Debug, Clone, Copy)]
pub struct Vouched {
    /// `user_id`.
    pub id: u64,
    /// With which of the service's keys it is signed; `None` for one that came as claims.
    pub key: Option<usize>,
    /// In seconds since the epoch; `None` if the service has checked it itself.
    pub exp: Option<u64>,
    /// In seconds since the epoch.
    pub nbf: Option<u64>,
    /// `token_type`.
    pub kind: &'static str,
    /// Whether it is worth nothing, whatever the time and the place.
    pub is_void: bool,
}

/// A JWT that identifies `id`, and what it is worth.
pub fn jwt(id: u64, key: usize, flaw: Flaw, kind: &'static str, now: UnixTime) -> (String, Vouched) {
    let (claims, vouched) = claims(id, Some(key), flaw, kind, now);
    let token = jwt_of(key, &claims);
    let token = match flaw {
        Flaw::Forged => {
            let mut segments: Vec<String> = token.split('.').map(str::to_owned).collect();
            let mut other = claims;
            other["is_admin"] = json!(true);
            segments[1] = URL_SAFE_NO_PAD.encode(other.to_string());
            segments.join(".")
        }
        Flaw::Foreign => {
            let signed = token.rsplit_once('.').map_or("", |(signed, _)| signed);
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode([7; 256]))
        }
        _ => token,
    };
    (token, vouched)
}

fn claims(id: u64, key: Option<usize>, flaw: Flaw, kind: &'static str, now: UnixTime) -> (Value, Vouched) {
    let now = now.as_secs();
    let exp = match flaw {
        Flaw::Short => now + 2,
        Flaw::Expired => now.saturating_sub(1_000),
        _ => now + 3_600,
    };
    let nbf = (flaw == Flaw::Early).then_some(now + 10);
    let kind = match flaw {
        Flaw::Refresh => "refresh",
        Flaw::OtherType if kind == "access" => "api_token",
        Flaw::OtherType => "access",
        _ => kind,
    };
    let mut claims = json!({
        "exp": exp, "user_id": id, "client_id": 2, "token_type": kind, "email": SECRET, "is_admin": false,
    });
    if let Some(nbf) = nbf {
        claims["nbf"] = json!(nbf);
    }
    match flaw {
        Flaw::Unspeakable => claims["email"] = json!("a@b\r\nx-user-id: 1"),
        Flaw::Incomplete => drop(claims.as_object_mut().map(|claims| claims.remove("client_id"))),
        _ => {}
    }
    let is_void = matches!(flaw, Flaw::Refresh | Flaw::Unspeakable | Flaw::Incomplete | Flaw::Forged | Flaw::Foreign);
    (claims, Vouched { id, key, exp: Some(exp), nbf, kind, is_void })
}

/// What stands in claims and must not stand in a denial.
pub const SECRET: &str = "secret@example.com";

/// The token type that gets to a place.
pub const fn kind_for(place: Place) -> &'static str {
    match place {
        Place::Machines => "api_token",
        _ => "access",
    }
}

/// An answer as the host hands it over.
pub type Answer = Result<CalloutResponse, CalloutError>;

fn response(status: u16, headers: Vec<(&str, String)>, body: impl Into<Vec<u8>>) -> Answer {
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
    Ok(CalloutResponse { status, headers, body: Some(body.into()) })
}

/// The answer to a question for the key: whether it brings one.
pub fn key_answer(reply: &Reply, serves: usize) -> (Answer, bool) {
    let body = json!({"public_key": KEYS[serves]}).to_string();
    match reply {
        Reply::Good { .. } => (response(200, Vec::new(), body), true),
        Reply::Status(number) => (response(status(*number), Vec::new(), body), status(*number) == 200),
        Reply::Crossed => (response(200, Vec::new(), json!({"user_id": 1}).to_string()), false),
        other => (fault(other), false),
    }
}

/// The answer to a question about a credential, and whom it vouches for.
pub fn verify_answer(
    reply: &Reply,
    setup: Setup,
    (id, place): (u64, Place),
    serves: usize,
    now: UnixTime,
) -> (Answer, Option<Vouched>) {
    let (key, flaw) = match reply {
        Reply::Good { key, flaw } => (usize::from(*key) % KEYS.len(), *flaw),
        _ => (serves, Flaw::None),
    };
    let status = match reply {
        Reply::Good { .. } => 200,
        Reply::Status(number) => status(*number),
        Reply::Crossed => return (response(200, Vec::new(), json!({"public_key": KEYS[0]}).to_string()), None),
        other => return (fault(other), None),
    };
    let kind = kind_for(place);
    let (answer, vouched) = match setup.format() {
        "json_body" => {
            let (claims, vouched) = claims(id, None, flaw, kind, now);
            // There is no signature that could be wrong.
            let is_void = vouched.is_void && !matches!(flaw, Flaw::Forged | Flaw::Foreign);
            (response(status, Vec::new(), claims.to_string()), Vouched { is_void, ..vouched })
        }
        "json_header" => {
            let is_void = flaw == Flaw::Incomplete;
            let mut headers = vec![("x-user-id", id.to_string()), ("x-user-email", SECRET.to_owned())];
            if !is_void {
                headers.push(("x-client-id", "2".to_owned()));
            }
            let vouched = Vouched { id, key: None, exp: None, nbf: None, kind: "api_token", is_void };
            (response(status, headers, ""), vouched)
        }
        format => {
            let (token, vouched) = jwt(id, key, flaw, kind, now);
            if format == "jwt_body" {
                (response(status, Vec::new(), token), vouched)
            } else {
                (response(status, vec![("authorization", format!("Bearer {token}"))], ""), vouched)
            }
        }
    };
    (answer, (status == 200).then_some(vouched))
}

fn fault(reply: &Reply) -> Answer {
    match reply {
        // What they begin with keeps them from being an answer after all.
        Reply::Bytes(bytes) => response(200, Vec::new(), [b"!", bytes.as_slice()].concat()),
        Reply::TooLarge => Ok(CalloutResponse { status: 200, headers: Vec::new(), body: None }),
        Reply::NotSent => Err(CalloutError::NotSent),
        _ => Err(CalloutError::Reset),
    }
}
