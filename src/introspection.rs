//! What the service is asked, and what its answer means. The module `auth_verify` asks `/auth/verify`.
//!
//! Only 200 with a readable identity, 401 and 403 are verdicts. Everything else is an outage. [`Outage::scope`] says
//! whether it is of the service (no connection, a timeout, 503), of one credential (500, an unreadable body), or of the
//! gateway. If no host answers, Envoy answers in its place; [`CalloutError::of`] recognises that.

mod auth_verify;

use std::fmt;

use crate::claims::{ClaimName, Claims, ClaimsError};
use crate::config::Config;
use crate::credential::{Credential, Redacted};
use crate::json::{self, JsonError};
use crate::jwt::UntrustedJwt;
use crate::time::UnixTime;
pub use auth_verify::AuthVerify;
#[cfg(any(test, feature = "testing"))]
pub use auth_verify::read;

/// The largest answer that is read, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// The beginning of Envoy's text if an answer broke off or never came.
const BROKEN: &str = "upstream connect error or disconnect/reset before headers. ";

/// A request to the service, at the configured cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct CalloutRequest {
    /// Who is asked.
    pub to: Destination,
    /// `:method`.
    pub method: &'static str,
    /// `:path`.
    pub path: String,
    /// Further headers, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// What was copied from the client's request, names in lower case.
    pub forwarded: Vec<(String, String)>,
    /// The body.
    pub body: Option<Vec<u8>>,
}

/// Who a callout goes to. [`Config::host`] knows the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The host that verifies credentials.
    AuthService,
    /// The host that serves the public key.
    PublicKey,
    /// The host that serves the revocation list.
    Revocation,
}

impl Config {
    /// Cluster and `:authority` of a callout.
    pub fn host(&self, to: Destination) -> (&str, &str) {
        let service = (self.auth_service.cluster.as_str(), self.auth_service.authority.as_str());
        let host = match to {
            Destination::AuthService => None,
            Destination::PublicKey => Some(&self.jwt.public_key.host),
            Destination::Revocation => self.revocation.as_ref().map(|revocation| &revocation.host),
        };
        host.map_or(service, |host| (&host.cluster, &host.authority))
    }
}

impl CalloutRequest {
    /// A GET without a credential.
    pub const fn get(to: Destination, path: String) -> Self {
        Self { to, method: "GET", path, headers: Vec::new(), forwarded: Vec::new(), body: None }
    }

    /// The value of `authorization`, if there is one.
    pub fn authorization(&self) -> Option<&str> {
        self.headers.iter().find(|(name, _)| *name == "authorization").map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for CalloutRequest {
    /// Without the headers' values and the body, which may be credentials.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, .. } = self;
        formatter.debug_struct("CalloutRequest").field("method", method).field("path", path).finish_non_exhaustive()
    }
}

/// A service that verifies credentials: how it is asked, and what its answers mean.
pub trait Verifier: fmt::Debug {
    /// The callout that asks about a credential.
    fn question(&self, credential: &Credential<'_>) -> CalloutRequest;

    /// What an answer says.
    ///
    /// # Errors
    /// [`Outage`] if it isn't a verdict.
    fn verdict(&self, answer: CalloutResponse) -> Result<Verdict, Outage>;
}

/// The part of the service's answer that was read.
#[derive(Clone, PartialEq, Eq)]
pub struct CalloutResponse {
    /// The status; 0 if it was missing or unreadable.
    pub status: u16,
    /// Names in lower case; pseudo-headers may be among them.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, or `None` if it is larger than [`Filter::body_limit`](crate::Filter::body_limit).
    pub body: Option<Vec<u8>>,
}

impl fmt::Debug for CalloutResponse {
    /// Without headers and body, which may hold a token.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CalloutResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why a callout brought no answer at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CalloutError {
    /// Envoy knows no cluster of that name.
    #[error("Envoy has no such cluster")]
    NoCluster,
    /// Envoy refused to send it without saying why.
    #[error("the cluster has no healthy host, or has reached its limits")]
    NotSent,
    /// Envoy found no host to send it to.
    #[error("the cluster has no healthy host")]
    NoHost,
    /// No connection was made.
    #[error("no connection: it was refused, or the TLS handshake failed")]
    NotConnected,
    /// No connection was made within the cluster's `connect_timeout`.
    #[error("no connection within the cluster's connect_timeout")]
    ConnectTimeout,
    /// `auth_service.timeout` has passed.
    #[error("no answer within auth_service.timeout")]
    TimedOut,
    /// The connection broke before the answer was whole.
    #[error("the connection broke before the answer was complete")]
    Reset,
    /// The answer broke off after its head.
    #[error("its answer broke off")]
    Broken,
    /// The answer's stream was reset while its connection lives on (HTTP/2): by the service, or by Envoy because the
    /// head exceeds its limits.
    #[error("its answer was reset, or its head exceeds Envoy's limits")]
    StreamReset,
    /// Envoy couldn't parse the answer.
    #[error("its answer is not HTTP, or its head exceeds Envoy's limits")]
    NotHttp,
    /// Envoy has as many callouts under way as the cluster's `circuit_breakers` allow.
    #[error("the cluster has reached its limits")]
    Overflow,
    /// Envoy answered in the service's place, for another reason.
    #[error("no host answered, so Envoy did, with status {0}")]
    ByEnvoy(u16),
}

impl CalloutError {
    /// What went wrong if Envoy answered in the service's place, with status 502, 503 or 504 and a text. `None`: it is
    /// the service's own answer, whatever it says.
    ///
    /// Envoy adds `x-envoy-upstream-service-time` to the answers of hosts, over whatever the service or its proxy have
    /// written there, and never to its own. If the header were ever missing, a text about the gateway's limits could
    /// come from the service's own Envoy. It would then count as the gateway's outage, which is safe: the breaker stays
    /// closed, no signature stands in, and the request is denied.
    ///
    /// What breaks only one answer is an outage of the credential, even if a proxy beside the service reports it, which
    /// uses the same words. A service that dies closes its connections or refuses new streams, and that counts as an
    /// outage of the service.
    pub fn of(answer: &CalloutResponse) -> Option<Self> {
        if !matches!(answer.status, 502..=504) {
            return None;
        }
        let text = answer.body.as_deref().and_then(|body| str::from_utf8(body).ok()).unwrap_or_default();
        let reason = text.strip_prefix(BROKEN).and_then(|rest| {
            let once = rest.strip_prefix("reset reason: ");
            once.or_else(|| rest.strip_prefix("retried and the latest reset reason: "))
        });
        let is_about = |causes: &[&str]| reason.is_some_and(|reason| causes.iter().any(|it| reason.starts_with(it)));
        if is_about(&["protocol error"]) {
            return Some(Self::NotHttp);
        }
        if is_about(&["remote reset", "local reset"]) {
            return Some(Self::StreamReset);
        }
        if answer.headers.iter().any(|(name, _)| name == "x-envoy-upstream-service-time") {
            return None;
        }
        Some(match answer.status {
            504 if text == "upstream request timeout" => Self::TimedOut,
            503 if text == "no healthy upstream" => Self::NoHost,
            503 if is_about(&["overflow"]) => Self::Overflow,
            503 if is_about(&["remote connection failure", "local connection failure"]) => Self::NotConnected,
            503 if is_about(&["connection timeout"]) => Self::ConnectTimeout,
            503 if is_about(&["connection termination", "remote refused", "local refused"]) => Self::Reset,
            status => Self::ByEnvoy(status),
        })
    }

    /// What it is an outage of.
    const fn scope(self) -> Scope {
        match self {
            Self::NoCluster
            | Self::NotSent
            | Self::NoHost
            | Self::NotConnected
            | Self::ConnectTimeout
            | Self::TimedOut
            | Self::Reset
            | Self::ByEnvoy(_) => Scope::Service,
            Self::Broken | Self::StreamReset | Self::NotHttp => Scope::Credential,
            Self::Overflow => Scope::Gateway,
        }
    }
}

/// Why there is no verdict of the service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// There was no answer from the service.
    #[error(transparent)]
    Callout(#[from] CalloutError),
    /// An answer that isn't a verdict.
    #[error("it answered with status {0}")]
    Status(u16),
    /// More than [`Filter::body_limit`](crate::Filter::body_limit).
    #[error("its answer is larger than {MAX_BODY} bytes")]
    TooLarge,
    /// A body that isn't JSON, or lacks a field.
    #[error("its answer is unreadable: {0}")]
    Json(#[from] JsonError),
    /// Claims that aren't those of docs/reference.md#claims.
    #[error("its claims are unreadable: {0}")]
    Claims(#[from] ClaimsError),
    /// A JWT that can't come from the service.
    #[error("its JWT is unusable: {0}")]
    Jwt(String),
    /// A header or body that isn't what `response_format` asks for.
    #[error("its answer lacks a readable {0}")]
    Missing(&'static str),
    /// A claim that `jwt.required_claims` lists is absent.
    #[error("its claims lack `{0}`")]
    Lacking(ClaimName),
    /// A header of `api_token.answer_headers` that is absent or unreadable.
    #[error("its answer lacks a readable {0}")]
    MissingHeader(Box<str>),
}

/// What an outage affects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The service: no credential gets an answer.
    Service,
    /// One credential: the service answered, but gave no verdict on it. A client can choose such a credential, so this
    /// outage must neither open the breaker nor let a JWT in by its signature alone.
    Credential,
    /// The gateway: Envoy sends no more callouts for now.
    Gateway,
}

impl Outage {
    /// Whether Envoy could not read the answer, or its end. Over HTTP/2, that may break other answers too.
    pub const fn is_broken(&self) -> bool {
        matches!(self, Self::Callout(CalloutError::NotHttp | CalloutError::Broken))
    }

    /// What it is an outage of.
    pub const fn scope(&self) -> Scope {
        match self {
            Self::Callout(error) => error.scope(),
            Self::Status(502..=504) => Scope::Service,
            Self::Status(_)
            | Self::TooLarge
            | Self::Json(_)
            | Self::Claims(_)
            | Self::Jwt(_)
            | Self::Missing(_)
            | Self::Lacking(_)
            | Self::MissingHeader(_) => Scope::Credential,
        }
    }
}

/// An identity that the service has vouched for in its answer. Only a [`Verifier`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed(Box<Claims>);

impl Confirmed {
    /// The claims that a verifier has read in an answer.
    pub fn new(claims: Claims) -> Self {
        Self(Box::new(claims))
    }

    /// The identity's claims.
    pub fn into_claims(self) -> Box<Claims> {
        self.0
    }
}

/// What the service says about a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is valid, and this is its identity.
    Identity(Confirmed),
    /// It is valid, and the identity is in this JWT, which has yet to be verified.
    Jwt(Redacted<Vec<u8>>),
    /// 401.
    Rejected,
    /// 403.
    Forbidden,
}

/// Reads the JWT in an answer. Its signature has yet to be verified.
///
/// # Errors
/// [`Outage`] if the service can't have meant it.
pub fn read_jwt<'t>(token: &'t [u8], config: &Config, now: UnixTime) -> Result<UntrustedJwt<'t>, Outage> {
    let jwt = UntrustedJwt::parse(token).map_err(|error| Outage::Jwt(error.to_string()))?;
    if let Some(name) = jwt.missing(&config.jwt.required_claims) {
        return Err(Outage::Lacking(name.clone()));
    }
    let time = jwt.claims().check_time(now, config.jwt.clock_skew);
    time.map_err(|error| Outage::Jwt(error.to_string()))?;
    Ok(jwt)
}

/// Reads the answer of `/iam/public-key`.
///
/// # Errors
/// [`Outage`] if it holds no text under `public_key`.
pub fn read_public_key(answer: &CalloutResponse) -> Result<String, Outage> {
    if answer.status != 200 {
        return Err(Outage::Status(answer.status));
    }
    let body = answer.body.as_deref().ok_or(Outage::TooLarge)?;
    let key = json::parse(body, |reader| {
        let mut key = None;
        reader.object(&mut |reader, name| {
            if name == "public_key" {
                key = Some(reader.string()?);
                Some(())
            } else {
                reader.skip()
            }
        })?;
        reader.required(key, "missing field `public_key`")
    })?;
    Ok(key.into())
}

#[cfg(test)]
mod tests;
