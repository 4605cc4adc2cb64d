//! Credentials, and the service's answers about them. The `user_id` of an identity tells its credential, and the
//! `client_id` the answer that it came with.

use authgate::internals::world::{KEYS, jwt_of};
use authgate::{CalloutError, CalloutResponse, Scope, UnixTime};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::script::{Flaw, Reply};
use super::setup::Setup;

/// A text in claims that must not be in a denial.
pub(super) const SECRET: &str = "secret@example.com";

/// The `client_id` of a JWT's own claims, which are in no answer of the service.
pub(super) const OF_ITSELF: usize = 2;

/// The `client_id` in the service's first answer.
pub(super) const FIRST_ANSWER: usize = 1_000;

/// What a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Jwt,
    ApiToken,
    Other,
}

/// A credential that clients present repeatedly.
#[derive(Debug)]
pub(super) struct Credential {
    pub(super) authorization: String,
    pub(super) kind: Kind,
    /// The number of an API token.
    pub(super) token_id: Option<usize>,
    /// A JWT's own claims.
    pub(super) own: Option<Vouched>,
}

/// What a signature or the service vouches for.
#[derive(Debug, Clone)]
pub(super) struct Vouched {
    /// `user_id`.
    pub(super) user: usize,
    /// `jti`, if there is one.
    pub(super) jti: Option<String>,
    /// The number of the service's key that signed it; `None` for plain claims.
    pub(super) key: Option<usize>,
    /// In seconds since the epoch; `None` if the service has checked it.
    pub(super) exp: Option<u64>,
    /// In seconds since the epoch.
    pub(super) nbf: Option<u64>,
    /// `token_type`.
    pub(super) kind: &'static str,
    /// Whether it is invalid at any time and in any place.
    pub(super) is_void: bool,
    /// Whether a claim that can't be a header is the only reason.
    pub(super) is_unspeakable: bool,
    /// The JWT itself.
    pub(super) jwt: Option<String>,
}

impl Vouched {
    /// What an answer in headers vouches for.
    fn in_headers(user: usize, kind: &'static str) -> Self {
        Self {
            user,
            jti: None,
            key: None,
            exp: None,
            nbf: None,
            kind,
            is_void: false,
            is_unspeakable: false,
            jwt: None,
        }
    }

    pub(super) fn has_expired(&self, now: UnixTime, setup: Setup) -> bool {
        self.exp.is_some_and(|exp| now.as_secs() >= exp + setup.skew().as_secs())
    }

    pub(super) fn is_early(&self, now: UnixTime, setup: Setup) -> bool {
        self.nbf.is_some_and(|nbf| now.as_secs() + setup.skew().as_secs() < nbf)
    }
}

impl Credential {
    /// A JWT that identifies `user`.
    pub(super) fn jwt(user: usize, key: usize, flaw: Flaw, now: UnixTime) -> Self {
        let kind = if user.is_multiple_of(2) { "access" } else { "api_token" };
        let own = sign(Claims::new(user, OF_ITSELF, flaw, kind, None, now), key, flaw);
        let authorization = format!("Bearer {}", own.jwt.as_deref().unwrap_or_default());
        Self { authorization, kind: Kind::Jwt, token_id: None, own: Some(own) }
    }

    pub(super) fn api_token(number: usize) -> Self {
        let authorization = format!("APIKey {number}${}", "a1".repeat(64));
        Self { authorization, kind: Kind::ApiToken, token_id: Some(number), own: None }
    }

    pub(super) fn other(number: usize) -> Self {
        Self { authorization: format!("Basic {number}"), kind: Kind::Other, token_id: None, own: None }
    }
}

struct Claims {
    json: Value,
    vouched: Vouched,
}

impl Claims {
    fn new(user: usize, client: usize, flaw: Flaw, kind: &'static str, exp: Option<u64>, now: UnixTime) -> Self {
        let now = now.as_secs();
        let exp = match flaw {
            Flaw::Short => now + 2,
            Flaw::Expired => now.saturating_sub(1_000),
            _ => exp.unwrap_or(now + 3_600),
        };
        let nbf = (flaw == Flaw::Early).then_some(now + 10);
        let kind = match flaw {
            Flaw::Refresh => "refresh",
            Flaw::OtherType if kind == "access" => "api_token",
            Flaw::OtherType => "access",
            _ => kind,
        };
        let jti = jti(user);
        let mut json = json!({
            "exp": exp, "jti": jti, "user_id": user, "client_id": client, "token_type": kind, "email": SECRET,
            "is_admin": false,
        });
        if let Some(nbf) = nbf {
            json["nbf"] = json!(nbf);
        }
        match flaw {
            Flaw::Unspeakable => json["email"] = json!("a@b\r\nx-user-id: 1"),
            Flaw::Incomplete => drop(json.as_object_mut().map(|claims| claims.remove("client_id"))),
            _ => {}
        }
        let is_void = matches!(flaw, Flaw::Refresh | Flaw::Unspeakable | Flaw::Incomplete);
        let is_unspeakable = matches!(flaw, Flaw::Unspeakable);
        let (jti, exp) = (Some(jti), Some(exp));
        Self { json, vouched: Vouched { user, jti, key: None, exp, nbf, kind, is_void, is_unspeakable, jwt: None } }
    }
}

/// The `jti` of every identity of `user`.
pub(super) fn jti(user: usize) -> String {
    format!("of {user}")
}

fn sign(claims: Claims, key: usize, flaw: Flaw) -> Vouched {
    let token = jwt_of(key, &claims.json);
    let token = match flaw {
        Flaw::Forged => {
            let mut segments: Vec<String> = token.split('.').map(str::to_owned).collect();
            let mut other = claims.json;
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
    let is_void = claims.vouched.is_void || matches!(flaw, Flaw::Forged | Flaw::Foreign);
    Vouched { key: Some(key), is_void, jwt: Some(token), ..claims.vouched }
}

/// An answer as the host hands it over.
pub(super) type Answer = Result<CalloutResponse, CalloutError>;

/// What an answer about a credential means.
#[derive(Debug)]
pub(super) enum Meaning {
    Identity(Vouched),
    Refused {
        is_401: bool,
    },
    /// No verdict: the scope of the outage.
    Nothing(Scope),
}

const UNREADABLE: Meaning = Meaning::Nothing(Scope::Credential);

pub(super) fn response(status: u16, headers: Vec<(&str, String)>, body: impl Into<Vec<u8>>) -> Answer {
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect();
    Ok(CalloutResponse { status, headers, body: Some(body.into()) })
}

/// The answer to a question for the key, and whether it contains one.
pub(super) fn key_answer(reply: &Reply, serves: usize) -> (Answer, bool) {
    let body = json!({"public_key": KEYS[serves]}).to_string();
    match reply {
        Reply::Good { .. } => (response(200, Vec::new(), body), true),
        Reply::Status(status) => (response(*status, Vec::new(), body), *status == 200),
        Reply::Crossed => (response(200, Vec::new(), json!({"user_id": 1}).to_string()), false),
        other => (fault(other), false),
    }
}

/// The answer to a question about a `user`'s `credential`, with this `client_id`.
pub(super) fn verify_answer(
    reply: &Reply,
    setup: Setup,
    credential: &Credential,
    user: usize,
    client: usize,
    serves: usize,
    now: UnixTime,
) -> (Answer, Meaning) {
    let (key, flaw) = match reply {
        Reply::Good { key, flaw } => (key.map_or(serves, |key| usize::from(key) % KEYS.len()), *flaw),
        _ => (serves, Flaw::None),
    };
    let status = match reply {
        Reply::Good { .. } | Reply::Unread | Reply::Part => 200,
        Reply::Status(status) => *status,
        Reply::Crossed => return (response(200, Vec::new(), json!({"public_key": KEYS[0]}).to_string()), UNREADABLE),
        Reply::NotSent | Reply::Reset => return (fault(reply), Meaning::Nothing(Scope::Service)),
        other => return (fault(other), UNREADABLE),
    };
    let kind = credential.own.as_ref().map_or("api_token", |own| own.kind);
    let exp = credential.own.as_ref().and_then(|own| own.exp);
    let mut claims = Claims::new(user, client, flaw, kind, exp, now);
    if let Some(number) = credential.token_id {
        claims.json["token_id"] = json!(number);
    }
    let (mut answer, vouched, mut is_readable) = match setup.format() {
        "json_body" => {
            (response(status, Vec::new(), claims.json.to_string()), claims.vouched, flaw != Flaw::Incomplete)
        }
        "json_header" => {
            let mut headers = vec![("x-user-id", user.to_string()), ("x-user-email", SECRET.to_owned())];
            if flaw != Flaw::Incomplete {
                headers.push(("x-client-id", client.to_string()));
            }
            (response(status, headers, ""), Vouched::in_headers(user, kind), flaw != Flaw::Incomplete)
        }
        format => {
            let vouched = sign(claims, key, flaw);
            let is_in_time = !vouched.has_expired(now, setup) && !vouched.is_early(now, setup);
            let jwt = vouched.jwt.clone().unwrap_or_default();
            let answer = match format {
                "jwt_body" => response(status, Vec::new(), jwt),
                _ => response(status, vec![("authorization", format!("Bearer {jwt}"))], ""),
            };
            (answer, vouched, is_in_time && flaw != Flaw::Incomplete)
        }
    };
    // The body of an answer in headers isn't read.
    is_readable &= !cut(reply, &mut answer) || setup.answers_in_headers();
    let meaning = match status {
        200 if is_readable => Meaning::Identity(vouched),
        401 | 403 => Meaning::Refused { is_401: status == 401 },
        502..=504 => Meaning::Nothing(Scope::Service),
        _ => UNREADABLE,
    };
    (answer, meaning)
}

/// Removes or truncates the body if the reply says so. Returns whether it does.
fn cut(reply: &Reply, answer: &mut Answer) -> bool {
    match (reply, answer) {
        (Reply::Unread, Ok(answer)) => answer.body = None,
        (Reply::Part, Ok(answer)) => answer.body.iter_mut().for_each(|body| body.truncate(body.len() / 3)),
        _ => return false,
    }
    true
}

/// An answer with no usable content.
pub(super) fn fault(reply: &Reply) -> Answer {
    match reply {
        // The first byte keeps the answer from being valid by chance.
        Reply::Bytes(bytes) => response(200, Vec::new(), [b"!", bytes.as_slice()].concat()),
        Reply::TooLarge | Reply::Unread => Ok(CalloutResponse { status: 200, headers: Vec::new(), body: None }),
        Reply::Part => response(200, Vec::new(), "{\"public_key\": \"-----BEGIN"),
        Reply::BreaksOff => Err(CalloutError::Broken),
        Reply::NotHttp => Err(CalloutError::NotHttp),
        Reply::StreamReset => Err(CalloutError::StreamReset),
        Reply::NotSent => Err(CalloutError::NotSent),
        _ => Err(CalloutError::Reset),
    }
}
