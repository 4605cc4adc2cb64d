//! The configuration (docs/reference.md#configuration): from Envoy's bytes to a [`Config`] in which every value is
//! usable.
//!
//! Parsing happens once. Bytes become a tree of values (`document`, `protobuf`); `check` compares it with the table of
//! fields (`fields`), and `compile` reads the values by the same table. Whatever is unknown, of a wrong type, empty or
//! contradictory is an error that names the field's path, and no part of such a configuration is used.

mod check;
mod compile;
mod credentials;
mod document;
mod error;
mod field;
mod fields;
mod headers;
#[cfg(any(test, all(feature = "testing", not(target_arch = "wasm32"))))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "for tests alone")]
#[doc(hidden)]
pub mod mistakes;
mod node;
mod pages;
mod profile;
mod protobuf;
mod rules;
mod service;
mod value;

/// The table of fields, for code that documents the configuration and checks it.
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
pub mod table {
    pub use super::check::is_near;
    pub use super::field::{Field, Given, HeaderUse, Kind, Text};
    pub use super::fields::CONFIGURATION;
    pub use super::headers::refused::{Refused, defaults, names};
}

use std::time::Duration;

pub use credentials::Credentials;
pub use error::{ConfigError, ConfigErrors};
pub use headers::{IdentityHeader, IdentityHeaders, StrippedHeaders, is_token};
pub use pages::{ResourceMetadata, StatusPaths};
pub use profile::Profile;
pub use service::{AnswerHeaders, ServiceHost};

use crate::claims::{ClaimName, KeptClaims, TokenType};
pub use crate::matcher::Rule;
use crate::matcher::Rules;
use crate::public_key::PublicKey;
use crate::report::Audit;
pub use crate::rule::{Access, ForwardCredential, Mode, Terms, Verification};

/// The largest configuration that is read, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the authentication service is.
    pub auth_service: AuthService,
    /// How a JWT is verified.
    pub jwt: Jwt,
    /// How an API token is verified.
    pub api_token: ApiToken,
    /// Where a credential may stand, besides `Authorization`.
    pub credentials: Credentials,
    /// How long the service's verdicts are kept.
    pub cache: Cache,
    /// When the service isn't asked, because it is down.
    pub circuit_breaker: CircuitBreaker,
    /// The list of revoked tokens; `None` where the service has none.
    pub revocation: Option<Revocation>,
    /// When clients that fail too often are locked out; `None`: never.
    pub failed_auth_throttle: Option<FailedAuthThrottle>,
    /// `audit`.
    pub audit: Audit,
    /// The rules in order: the first that matches decides.
    pub rules: Rules,
    /// Which claims go upstream under which names.
    pub identity_headers: IdentityHeaders,
    /// What clients may not send.
    pub stripped_headers: StrippedHeaders,
    /// The claims that a verdict keeps: those that headers, rules and the checks at each use need.
    pub kept_claims: KeptClaims,
    /// The paths at which the filter answers for its health and readiness.
    pub status_paths: StatusPaths,
    /// What is served as metadata of the protected resource (RFC 9728).
    pub resource_metadata: Option<ResourceMetadata>,
    /// Where a denied browser is told to sign in: an https URL.
    pub sign_in_url: Option<String>,
    /// The `realm` of `WWW-Authenticate` (RFC 9110 section 11.5), ready to stand between quotes.
    pub realm: String,
    /// The origins whose pages may read denials, as browsers write them (RFC 6454 section 6.2).
    pub cors_origins: Vec<String>,
}

/// `auth_service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthService {
    /// The Envoy cluster that callouts go to.
    pub cluster: String,
    /// `:authority` of callouts.
    pub authority: String,
    /// `:scheme` of callouts.
    pub scheme: Scheme,
    /// The path that verifies a credential.
    pub verify_path: String,
    /// The path of the public key.
    pub public_key_path: String,
    /// The longest that one attempt may take, 1 ms to 60 s.
    pub timeout: Duration,
    /// Further attempts after one that failed, 0 to 3.
    pub retries: u32,
    /// The request's headers that are copied to a question about its credential, names in lower case.
    pub forward_headers: Vec<String>,
}

impl AuthService {
    /// The longest that a question and its retries can take, plus one second. No answer comes later.
    pub fn longest_callout(&self) -> Duration {
        self.timeout * (self.retries + 1) + Duration::from_secs(1)
    }
}

/// `auth_service.scheme`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    #[default]
    Http,
    /// With TLS, by the cluster.
    Https,
}

impl Scheme {
    const ALL: [Self; 2] = [Self::Http, Self::Https];

    /// As in `:scheme` (RFC 9113 section 8.3.1).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The largest `jwt.clock_skew`.
pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(300);

/// `jwt`.
#[derive(Debug, Clone)]
pub struct Jwt {
    /// Who verifies a JWT if the rule doesn't say.
    pub verification: Verification,
    /// The types that a client may present as an access token. Never empty.
    pub token_types: Vec<TokenType>,
    /// The claims that are required besides the four that always are.
    pub required_claims: Vec<ClaimName>,
    /// Accepted `iss`; not checked when empty.
    pub issuers: Vec<String>,
    /// Accepted `aud`; not checked when empty.
    pub audiences: Vec<String>,
    /// Leeway for `exp` and `nbf`, 0 s to 5 min.
    pub clock_skew: Duration,
    /// The service's key.
    pub public_key: PublicKeySource,
}

/// `jwt.public_key`.
#[derive(Debug, Clone)]
pub struct PublicKeySource {
    /// Age at which the key is fetched again in the background, at least 1 s.
    pub ttl: Duration,
    /// The least time between two fetches, 100 ms to 5 min.
    pub min_refetch_interval: Duration,
    /// How long a key is accepted after a fetch has replaced it, 0 s to 24 h.
    pub grace: Duration,
    /// Who serves it.
    pub host: ServiceHost,
    /// Pinned keys. If there are any, no key is fetched.
    pub pem: Vec<PublicKey>,
}

/// `api_token`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// The form of the service's answer.
    pub response_format: ResponseFormat,
    /// The headers from which `json_header` reads the identity.
    pub answer_headers: AnswerHeaders,
    /// The kinds of credential that the service is asked to verify. Never empty.
    pub header_types: Vec<HeaderType>,
    /// Whether technical tokens, which are deprecated, are let in if the service vouches for them.
    pub accept_technical: bool,
}

impl ApiToken {
    /// Whether credentials of this kind are sent to the service.
    pub fn accepts(&self, kind: HeaderType) -> bool {
        self.header_types.contains(&kind)
    }
}

/// The form in which the service answers whose credential it is (docs/reference.md#verify).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFormat {
    /// Claims as a JSON body.
    JsonBody,
    /// Identity in response headers.
    JsonHeader,
    /// A signed JWT as the body.
    JwtBody,
    /// A signed JWT in the response's `Authorization`.
    JwtHeader,
}

impl ResponseFormat {
    pub(crate) const ALL: [Self; 4] = [Self::JsonBody, Self::JsonHeader, Self::JwtBody, Self::JwtHeader];

    /// The name in the query of `/auth/verify`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JsonBody => "json_body",
            Self::JsonHeader => "json_header",
            Self::JwtBody => "jwt_body",
            Self::JwtHeader => "jwt_header",
        }
    }

    /// Whether the answer is a signed JWT.
    pub const fn is_jwt(self) -> bool {
        matches!(self, Self::JwtBody | Self::JwtHeader)
    }
}

/// A kind of credential that `/auth/verify` is asked to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderType {
    /// `Authorization: APIKey <token>`.
    Apikey,
    /// `Authorization: Bearer <JWT>`.
    Jwt,
    /// Any other credential that the service may know.
    Other,
}

impl HeaderType {
    pub(crate) const ALL: [Self; 3] = [Self::Apikey, Self::Jwt, Self::Other];

    /// The name in the query of `/auth/verify`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apikey => "apikey",
            Self::Jwt => "jwt",
            Self::Other => "other",
        }
    }
}

/// `cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// The most verdicts that are kept, 1 to 1,000,000.
    pub max_entries: usize,
    /// How long a verdict that lets a credential in is valid, 0 s to 24 h; 0 s turns the whole cache off.
    pub ttl: Duration,
    /// How long a refusal is valid, 0 s to 1 h; 0 s: refusals aren't kept.
    pub negative_ttl: Duration,
    /// How long a verdict may stand in while the service gives none, 0 s to 168 h; 0 s: never.
    pub stale_ttl: Duration,
    /// What is evicted when it is full.
    pub eviction: Eviction,
}

impl Cache {
    /// Whether nothing is kept at all, neither refusals nor verdicts that may stand in.
    pub const fn is_off(&self) -> bool {
        self.ttl.is_zero()
    }

    /// The longest time for which a verdict can be of use.
    pub fn longest_life(&self) -> Duration {
        if self.is_off() { Duration::ZERO } else { self.ttl + self.stale_ttl }
    }
}

/// Which verdict is evicted when the cache is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// The least recently used; those that weren't used since they were stored go first.
    Lru,
    /// One that is seldom used (CLOCK-Pro with counters, as in S3-FIFO).
    Lfu,
}

impl Eviction {
    const ALL: [Self; 2] = [Self::Lru, Self::Lfu];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::Lfu => "lfu",
        }
    }
}

/// `circuit_breaker`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// Failures in a row that open it, 1 to 1000.
    pub failures: u32,
    /// How long it stays open before a probe, 100 ms to 1 h.
    pub open_for: Duration,
    /// Whether a remote JWT may be let in by its own signature while the service is down.
    pub fallback: bool,
}

/// `revocation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The path of the list.
    pub path: String,
    /// The time between two polls, 1 s to 1 h.
    pub poll_interval: Duration,
    /// Who serves it.
    pub host: ServiceHost,
}

/// `failed_auth_throttle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedAuthThrottle {
    /// Failures within `window` after which a client is locked out, 1 to 1,000,000.
    pub attempts: u32,
    /// The time in which they are counted, 1 s to 24 h.
    pub window: Duration,
    /// How long a client stays locked out, 1 s to 24 h.
    pub lockout: Duration,
}

impl Config {
    /// Parses the bytes of Envoy's `configuration`: JSON text, or a serialised `google.protobuf.Struct`.
    ///
    /// # Errors
    /// Everything that is wrong. No part of the configuration may be used then.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ConfigErrors> {
        let document = read(bytes)?;
        let mut errors = ConfigErrors::none();
        check::check(&document, fields::CONFIGURATION, &mut errors);
        compile::compile(&document, errors)
    }

    /// Whether a request may go upstream with a verified JWT in place of its credential.
    pub fn forwards_jwt(&self) -> bool {
        self.rules.all_terms().any(|terms| terms.forward_credential == ForwardCredential::VerifiedJwt)
    }
}

/// The values as written. A serialised Struct holds control bytes, so it is never JSON. JSON is tried first, because
/// its errors are better.
fn read(bytes: &[u8]) -> Result<document::Value, ConfigErrors> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ConfigErrors::one("auth_service.cluster", "is required, but the configuration is empty"));
    }
    if bytes.len() > MAX_BYTES {
        return Err(ConfigErrors::one("configuration", format!("is larger than {MAX_BYTES} bytes")));
    }
    document::parse(bytes)
        .or_else(|problem| protobuf::decode(bytes).ok_or_else(|| ConfigErrors::one("configuration", problem)))
}

#[cfg(test)]
mod tests;
