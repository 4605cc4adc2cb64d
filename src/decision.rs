//! What leaves the filter: the headers of a request that goes on, or the one response of a denial. Only this module
//! knows what a denial looks like (docs/reference.md#denials).

use std::time::Duration;

use crate::claims::Claims;
use crate::code::{Code, GrpcStatus};
use crate::config::{Config, Credentials, ForwardCredential};
use crate::extractor::{self, Change, RequestHead};
use crate::policy::{Headers, Permit, VerifiedBy};

/// A denied request: why, and when the client may try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub code: Code,
    /// For `Retry-After`, rounded up to whole seconds.
    pub retry_after: Option<Duration>,
}

impl From<Code> for Denial {
    fn from(code: Code) -> Self {
        let retry_after = matches!(code.status(), 429 | 503).then_some(Duration::from_secs(1));
        Self { code, retry_after }
    }
}

/// A denial as the host gets it. Of the two statuses the host sends the one of the client's protocol: a filter in front
/// may have translated the request, and only the host knows from what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Why, for the response code details.
    pub code: Code,
    /// For a client that speaks HTTP.
    pub status: u16,
    /// For a client that speaks gRPC.
    pub grpc: GrpcStatus,
    /// Names and values.
    pub headers: Vec<(&'static str, String)>,
    /// JSON, or what becomes the `grpc-message`.
    pub body: String,
}

impl Response {
    /// Envoy's response code details, for access logs and `local_reply_config`.
    pub fn response_code_details(&self) -> String {
        format!("authgate_{}", self.code.name())
    }
}

/// What the form of a denial depends on, beside its code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Client {
    /// Whether the request, as it reaches the filter, is gRPC: then the host copies the body into `grpc-message`.
    pub is_grpc: bool,
    /// The origin of the page that sent the request, where `responses.cors_origins` lists it.
    pub origin: Option<String>,
}

impl Client {
    /// The client that sent this request.
    pub fn of(head: &RequestHead<'_>, config: &Config) -> Self {
        let origin = head.value("origin");
        let origin = config.cors_origins.iter().find(|known| known.as_bytes() == origin);
        Self { is_grpc: head.is_grpc(), origin: origin.cloned() }
    }

    /// Whether this is a CORS preflight request of an origin that is listed (Fetch standard, "CORS-preflight request"):
    /// it carries no credential by definition, and Envoy's own cors filter answers it.
    ///
    /// The method's letter case counts here, since it does in Envoy's cors filter. A request that brings a body or asks
    /// for a tunnel is no preflight: where no cors filter answers it, the upstream would act on it.
    pub fn is_preflight(&self, head: &RequestHead<'_>) -> bool {
        let announces_more = || {
            ["upgrade", ":protocol", "transfer-encoding"].iter().any(|name| head.values(name).next().is_some())
                || head.values("content-length").any(|length| length != b"0")
        };
        self.origin.is_some()
            && head.value(":method") == b"OPTIONS"
            && !head.value("access-control-request-method").is_empty()
            && !head.has_body
            && !announces_more()
    }
}

impl Denial {
    /// Renders the response.
    pub fn response(self, client: &Client, realm: &str) -> Response {
        let Self { code, retry_after } = self;
        let mut headers = vec![("cache-control", "no-store".to_owned())];
        if let Some(origin) = &client.origin {
            // Without these headers a page's script can't tell a denial from a network failure.
            headers.push(("access-control-allow-origin", origin.clone()));
            headers.push(("access-control-allow-credentials", "true".to_owned()));
            headers.push(("access-control-expose-headers", "www-authenticate, retry-after".to_owned()));
            headers.push(("vary", "origin".to_owned()));
        }
        if code.status() == 401 {
            headers.push(("www-authenticate", challenge(code, realm)));
        }
        if let Some(wait) = retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.push(("retry-after", seconds.max(1).to_string()));
        }
        let body = if client.is_grpc {
            code.name().to_owned()
        } else {
            headers.push(("content-type", "application/json".to_owned()));
            // None of the three texts holds anything that JSON has to escape.
            format!(r#"{{"error": "{}", "details": "{}", "code": "{}"}}"#, title(code), code.details(), code.name())
        };
        Response { code, status: code.status(), grpc: code.grpc_status(), headers, body }
    }
}

/// The `error` in a denial's body.
const fn title(code: Code) -> &'static str {
    match code.status() {
        401 => "Unauthorized",
        403 => "Forbidden",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

/// RFC 6750 section 3: no error where the client didn't try to use a bearer token.
fn challenge(code: Code, realm: &str) -> String {
    let error = match code {
        Code::MissingCredentials | Code::UnsupportedScheme => return format!("Bearer realm=\"{realm}\""),
        Code::MalformedCredentials => "invalid_request",
        // RFC 9470 section 3.
        Code::InsufficientUserAuthentication => "insufficient_user_authentication",
        _ => "invalid_token",
    };
    format!("Bearer realm=\"{realm}\", error=\"{error}\", error_description=\"{}\"", code.details())
}

/// What changes on a request that goes on; what was stripped at its arrival stays stripped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forward {
    /// Headers to set, names in lower case. None of them is in the request any more.
    pub set: Headers,
    /// What becomes of `Authorization`.
    pub authorization: Authorization,
}

impl Forward {
    /// What becomes of the headers with credentials but `Authorization`.
    pub fn taken_off<'c>(&self, headers: &[(String, Vec<u8>)], credentials: &'c Credentials) -> Vec<Change<'c>> {
        match self.authorization {
            // With the client's JWT in `Authorization` there is nothing in the other places.
            Authorization::Keep => Vec::new(),
            Authorization::Remove | Authorization::Replace(_) => extractor::taken_off(headers, credentials),
        }
    }
}

/// What becomes of the client's `Authorization`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Authorization {
    /// It goes on.
    #[default]
    Keep,
    /// It is removed.
    Remove,
    /// It becomes this.
    Replace(String),
}

/// The headers with which a permitted request goes on, under a rule that says this of the client's credential.
///
/// - `own_jwt`: the client's own JWT, where it stood elsewhere than in `Authorization`.
///
/// # Errors
/// [`Code::TokenMalformed`] if a claim can't be a header's value.
pub fn forward(
    permit: &Permit,
    own_jwt: Option<&str>,
    forward_credential: ForwardCredential,
    config: &Config,
) -> Result<Forward, Code> {
    let set = match permit.identity() {
        None => Headers::default(),
        Some(identity) => identity.headers(|claims| render(claims, config))?,
    };
    let authorization = match forward_credential {
        ForwardCredential::Keep => Authorization::Keep,
        ForwardCredential::Remove => Authorization::Remove,
        ForwardCredential::VerifiedJwt => match permit.identity() {
            // The client sent the JWT itself: it goes on, and isn't kept with its verdict.
            Some(identity) if identity.jwt().is_none() && matches!(identity.verified_by(), VerifiedBy::Key(_)) => {
                own_jwt.map_or(Authorization::Keep, |jwt| Authorization::Replace(format!("Bearer {jwt}")))
            }
            identity => identity
                .and_then(|identity| str::from_utf8(identity.jwt()?).ok())
                .map_or(Authorization::Remove, |jwt| Authorization::Replace(format!("Bearer {jwt}"))),
        },
    };
    Ok(Forward { set, authorization })
}

fn render(claims: &Claims, config: &Config) -> Result<Headers, Code> {
    let values = config.identity_headers.iter().filter_map(|header| match claims.header_value(header.claim) {
        Ok(value) => value.map(|value| Ok((&header.name, value))),
        Err(_) => Some(Err(Code::TokenMalformed)),
    });
    values.collect()
}

#[cfg(test)]
mod tests;
