//! What leaves the filter: the headers of a request that goes on, or the response of a denial. Only this module knows
//! what a denial looks like (docs/reference.md#denials).

use std::time::Duration;

use crate::claims::Claims;
use crate::code::{Code, GrpcStatus};
use crate::config::{Config, Credentials, ForwardCredential};
use crate::credential::Redacted;
use crate::extractor::{self, Change, Header, RequestHead};
use crate::policy::{Headers, Identity, Permit, VerifiedBy};

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

/// A denial as the host gets it. The host sends the status of the client's protocol: a filter in front may have
/// translated the request, and only the host knows from which protocol.
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

/// What the form of a denial depends on, besides its code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Client {
    /// Whether the request, as it reaches the filter, is gRPC: then the host copies the body into `grpc-message`.
    pub is_grpc: bool,
    /// The origin of the page that sent the request, where `responses.cors_origins` lists it.
    pub origin: Option<String>,
    /// Whether a browser is to show the response as a page.
    pub navigates: bool,
}

/// What the configuration says about responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look<'c> {
    /// `responses.realm`.
    pub realm: &'c str,
    /// The URL of the resource's metadata.
    pub resource_metadata: Option<&'c str>,
    /// `responses.sign_in_url`.
    pub sign_in_url: Option<&'c str>,
}

impl<'c> From<&'c Config> for Look<'c> {
    fn from(config: &'c Config) -> Self {
        Self {
            realm: &config.realm,
            resource_metadata: config.resource_metadata.as_ref().map(|metadata| metadata.url.as_str()),
            sign_in_url: config.sign_in_url.as_deref(),
        }
    }
}

impl<'c> Look<'c> {
    /// With nothing but a realm, for a request that has no filter.
    #[cfg(any(target_arch = "wasm32", test))]
    pub const fn plain(realm: &'c str) -> Self {
        Self { realm, resource_metadata: None, sign_in_url: None }
    }
}

impl Client {
    /// The client that sent this request.
    pub fn of(head: &RequestHead<'_>, config: &Config) -> Self {
        Self { is_grpc: head.is_grpc(), origin: listed_origin(head, config).cloned(), navigates: navigates(head) }
    }

    /// Without these headers a page's script can't tell a denial from a network failure.
    pub fn cors_headers(&self) -> Vec<(&'static str, String)> {
        let Some(origin) = &self.origin else { return Vec::new() };
        vec![
            ("access-control-allow-origin", origin.clone()),
            ("access-control-allow-credentials", "true".to_owned()),
            ("access-control-expose-headers", "www-authenticate, retry-after".to_owned()),
            ("vary", "origin".to_owned()),
        ]
    }

    /// Whether this is a CORS preflight request of a listed origin (Fetch standard, "CORS-preflight request"). It
    /// carries no credential by definition, and Envoy's own cors filter answers it.
    ///
    /// The method's letter case matters here, as in Envoy's cors filter. A request that brings a body or asks for a
    /// tunnel isn't a preflight request: if no cors filter answered it, the upstream would act on it.
    pub fn is_preflight(head: &RequestHead<'_>, config: &Config) -> bool {
        let announces_more = || {
            ["upgrade", ":protocol", "transfer-encoding"].iter().any(|name| head.values(name).next().is_some())
                || head.values("content-length").any(|length| length != b"0")
        };
        head.value(":method") == b"OPTIONS"
            && listed_origin(head, config).is_some()
            && !head.value("access-control-request-method").is_empty()
            && !head.has_body
            && !announces_more()
    }
}

impl Denial {
    /// Renders the response.
    pub fn response(self, client: &Client, look: Look<'_>) -> Response {
        let Self { code, retry_after } = self;
        let mut headers = vec![("cache-control", "no-store".to_owned())];
        headers.extend(client.cors_headers());
        if code.status() == 401 {
            headers.push(("www-authenticate", challenge(code, look)));
        }
        if let Some(wait) = retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.push(("retry-after", seconds.max(1).to_string()));
        }
        let body = if client.is_grpc {
            code.name().to_owned()
        } else if client.navigates {
            headers.push(("content-type", "text/html; charset=utf-8".to_owned()));
            headers.push(("content-security-policy", "default-src 'none'; frame-ancestors 'none'".to_owned()));
            headers.push(("x-content-type-options", "nosniff".to_owned()));
            page(code, look.sign_in_url)
        } else {
            headers.push(("content-type", "application/json".to_owned()));
            // None of the three texts needs escapes in JSON.
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

/// RFC 6750 section 3: no error if the client didn't try to use a bearer token. RFC 9728 section 5.1: the URL of the
/// resource's metadata.
fn challenge(code: Code, look: Look<'_>) -> String {
    let error = match code {
        Code::MissingCredentials | Code::UnsupportedScheme => None,
        Code::MalformedCredentials => Some("invalid_request"),
        // RFC 9470 section 3.
        Code::InsufficientUserAuthentication => Some("insufficient_user_authentication"),
        _ => Some("invalid_token"),
    };
    let error = error.map(|error| format!(", error=\"{error}\", error_description=\"{}\"", code.details()));
    let metadata = look.resource_metadata.map(|url| format!(", resource_metadata=\"{url}\""));
    format!("Bearer realm=\"{}\"{}{}", look.realm, error.unwrap_or_default(), metadata.unwrap_or_default())
}

/// The request's origin, if it is one of `responses.cors_origins`.
fn listed_origin<'c>(head: &RequestHead<'_>, config: &'c Config) -> Option<&'c String> {
    let origin = head.value("origin");
    config.cors_origins.iter().find(|known| known.as_bytes() == origin)
}

/// Whether a browser is to show the response as a page: it asks for HTML, and not for a WebSocket.
fn navigates(head: &RequestHead<'_>) -> bool {
    let is_html = |range: &[u8]| {
        range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().eq_ignore_ascii_case(b"text/html")
    };
    head.values("accept").any(|value| value.split(|byte| *byte == b',').any(is_html))
        && head.values("upgrade").next().is_none()
}

/// A denial as a page, with a link for users whom signing in may help.
fn page(code: Code, sign_in_url: Option<&str>) -> String {
    let link = sign_in_url.filter(|_| code.status() < 500).map(|url| {
        let url = url.replace('&', "&amp;").replace('\'', "&#39;");
        format!("<p><a href=\"{url}\">Sign in</a></p>\n")
    });
    // None of the texts needs escapes in HTML; in the URL, only quotes and `&` do.
    let (title, details, name) = (title(code), code.details(), code.name());
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<h1>{title}</h1>\n\
         <p>{details}</p>\n{}<p>{name}</p>\n</html>\n",
        link.unwrap_or_default()
    )
}

/// What the filter serves itself, in place of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Envoy's response code details.
    pub details: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
}

/// What changes in a request that goes on. Headers that were stripped at its arrival stay stripped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forward {
    /// Headers to set, names in lower case. The request no longer has any of them.
    pub set: Headers,
    /// What becomes of `Authorization`.
    pub authorization: Authorization,
}

impl Forward {
    /// What becomes of the headers with credentials, except `Authorization`.
    pub fn taken_off<'c>(&self, headers: &[Header<'_>], credentials: &'c Credentials) -> Vec<Change<'c>> {
        match self.authorization {
            // If the client's JWT is in `Authorization`, the other places are empty.
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
    Replace(Redacted<String>),
}

impl Authorization {
    /// Replaces it by this JWT; removes it if the bytes aren't text.
    fn bearer(jwt: &[u8]) -> Self {
        str::from_utf8(jwt).map_or(Self::Remove, |jwt| Self::Replace(Redacted(format!("Bearer {jwt}"))))
    }
}

/// The headers with which a permitted request goes on, if its rule has this `forward_credential`.
///
/// - `own_jwt`: the client's own JWT, unless it stood in `Authorization` as `Bearer`, in that letter case.
///
/// # Errors
/// [`Code::TokenMalformed`] if a claim can't be a header's value.
pub fn forward(
    permit: &Permit,
    own_jwt: Option<&[u8]>,
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
            // The client sent the JWT itself. It isn't kept with its verdict, so it is taken from the request.
            Some(identity) if identity.jwt().is_none() && matches!(identity.verified_by(), VerifiedBy::Key(_)) => {
                own_jwt.map_or(Authorization::Keep, Authorization::bearer)
            }
            identity => identity.and_then(Identity::jwt).map_or(Authorization::Remove, Authorization::bearer),
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
