//! How a credential is sent, and what is sent beside it.

mod bytes;

use serde_json::{Value, json};

pub use bytes::raw;

use super::{Case, Verdict};

/// Headers of a request, with the [`Credentials`] of a stack to be rendered into them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: &'static str,
    /// Names and values; `{jwt}`, `{other}` and `{api}` stand for credentials.
    pub headers: Vec<(&'static str, &'static [u8])>,
    /// Whether HTTP/2 can carry it: RFC 9113 section 8.2.1 allows no spaces around a value.
    pub http2: bool,
}

/// What the placeholders stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// A good JWT.
    pub jwt: String,
    /// Another good JWT.
    pub other: String,
    /// A good API token.
    pub api: String,
}

impl Credentials {
    /// The value with the credentials in it.
    #[must_use]
    pub fn render(&self, value: &[u8]) -> Vec<u8> {
        let mut rendered = value.to_vec();
        for (name, credential) in [("{jwt}", &self.jwt), ("{other}", &self.other), ("{api}", &self.api)] {
            while let Some(at) = rendered.windows(name.len()).position(|window| window == name.as_bytes()) {
                rendered.splice(at..at + name.len(), credential.bytes());
            }
        }
        rendered
    }
}

/// The filter's configuration for [`all`] and [`raw`], beyond what is shipped.
#[must_use]
pub fn rules() -> Value {
    json!([
        {"match": {"path": "/health", "methods": ["GET"]}, "public": true},
        {"match": {"prefix": "/public"}, "public": true},
        {"match": {"prefix": "/status", "hosts": ["status.example.com"]}, "public": true},
    ])
}

const MISSING: Verdict = Verdict::Deny("missing_credentials");
const MALFORMED: Verdict = Verdict::Deny("malformed_credentials");
const UNSUPPORTED: Verdict = Verdict::Deny("unsupported_scheme");
const NO_TOKEN: Verdict = Verdict::Deny("token_malformed");
const CASE: &str = "RFC 9110 section 11.1: schemes have no case";
const ONE_SPACE: &str = "docs/reference.md#credentials: one space";
const ONE: &str = "docs/reference.md#credentials: one credential, and no comma-joined pair";
/// The filter and the upstream see only the good line, so neither can tell.
const LEFT_OUT: &str = "Envoy 1.40 joins the lines before any filter runs, and leaves out an empty one";
const NOT_MISSING: &str = "CVE-2021-21378: an invalid credential is not a missing one";
const SCHEME: &str = "docs/reference.md#credentials: none of the known shapes";
const API_TOKEN: &str = "docs/reference.md#credentials: ^(0|[1-9][0-9]{0,18})\\$[0-9a-z]{128}$";
const ELSEWHERE: &str = "docs/reference.md#credentials: credentials are read from Authorization alone";
const TARGET: &str = "CVE-2026-40575: only :path, :method and :authority decide";

/// Requests that an ordinary client can send, over HTTP/1 and HTTP/2.
#[must_use]
pub fn all() -> Vec<Case<Sent>> {
    let mut cases = Vec::new();
    let authorization = [spellings(), spaces(), schemes(), joined(), api_tokens()].concat();
    cases.extend(authorization.into_iter().map(|(value, expected, reason)| {
        // RFC 9110 section 5.5: spaces around a value are no part of it, and HTTP/2 doesn't carry them.
        let http2 = value.trim_ascii() == value;
        let name = format!("Authorization: {}", value.escape_ascii());
        let sent = Sent { method: "GET", path: "/orders", headers: vec![("authorization", value)], http2 };
        Case::new(name, sent, expected, reason)
    }));
    for (values, expected, reason) in pairs() {
        let headers: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
        let shown: Vec<_> = values.iter().map(|value| value.escape_ascii().to_string()).collect();
        let sent = Sent { method: "GET", path: "/orders", headers, http2: true };
        cases.push(Case::new(format!("Authorization, each its own line: {shown:?}"), sent, expected, reason));
    }
    for (name, value) in ELSEWHERE_HEADERS {
        let sent = Sent { method: "GET", path: "/orders", headers: vec![(name, value)], http2: true };
        cases.push(Case::new(format!("{name} alone"), sent, MISSING, ELSEWHERE));
        let headers = vec![(name, value), ("authorization", b"Bearer {jwt}")];
        let sent = Sent { method: "GET", path: "/orders", headers, http2: true };
        cases.push(Case::new(format!("{name} beside a good Authorization"), sent, Verdict::Allow, ELSEWHERE));
    }
    for (method, path, name, value, expected) in TARGETS {
        let sent = Sent { method, path, headers: vec![(name, value)], http2: true };
        cases.push(Case::new(format!("{method} {path} with {name}: {}", value.escape_ascii()), sent, expected, TARGET));
    }
    for path in ["/orders?access_token=eyJ.eyJ.c2ln", "/orders?authorization=Bearer%20x", "/orders?jwt=x&token=x"] {
        let sent = Sent { method: "GET", path, headers: Vec::new(), http2: true };
        cases.push(Case::new(
            format!("GET {path}"),
            sent,
            MISSING,
            "RFC 6750 section 2.3 is not offered; docs/reference.md#credentials",
        ));
    }
    cases
}

type Value3 = (&'static [u8], Verdict, &'static str);

fn spellings() -> Vec<Value3> {
    let good: [&[u8]; 8] = [
        b"Bearer {jwt}",
        b"bearer {jwt}",
        b"BEARER {jwt}",
        b"bEaReR {jwt}",
        b"APIKey {api}",
        b"apikey {api}",
        b"APIKEY {api}",
        b"ApiKey {api}",
    ];
    good.into_iter().map(|value| (value, Verdict::Allow, CASE)).collect()
}

fn spaces() -> Vec<Value3> {
    let refused: [&[u8]; 31] = [
        b"Bearer  {jwt}",
        b"Bearer   {jwt}",
        b"Bearer\t{jwt}",
        b"Bearer \t{jwt}",
        b"Bearer\xa0{jwt}",
        b"Bearer\xc2\xa0{jwt}",
        b"Bearer\xe3\x80\x80{jwt}",
        b"Bearer \xe2\x80\x8b{jwt}",
        b"Bearer \xef\xbb\xbf{jwt}",
        b"Bearer{jwt}",
        b"Bearer+{jwt}",
        b"Bearer%20{jwt}",
        b"Bearer:{jwt}",
        b"Bearer: {jwt}",
        b"Bearer={jwt}",
        b"Bearer={jwt} x",
        b"Bearer {jwt} x",
        b"Bearer {jwt} Bearer {jwt}",
        b"Bearer {jwt}\tx",
        b"Bearer Bearer {jwt}",
        b"Bearer",
        b"bearer",
        b"APIKey",
        b"{jwt}",
        b"{api}",
        b"Bearer \xff\xfe",
        b"\xffBearer {jwt}",
        b"Bearer {jwt}\xff",
        b"Be arer {jwt}",
        b"APIKey  {api}",
        b"APIKey\t{api}",
    ];
    let mut values: Vec<Value3> = refused.into_iter().map(|value| (value, MALFORMED, ONE_SPACE)).collect();
    values.extend([
        (&b" Bearer {jwt}"[..], Verdict::Allow, "RFC 9110 section 5.5: spaces around a value are no part of it"),
        (b"\tBearer {jwt}", Verdict::Allow, "RFC 9110 section 5.5: spaces around a value are no part of it"),
        (b"Bearer {jwt} ", Verdict::Allow, "RFC 9110 section 5.5: spaces around a value are no part of it"),
        (b"Bearer {jwt}\t \t", Verdict::Allow, "RFC 9110 section 5.5: spaces around a value are no part of it"),
        (b"Bearer ", MALFORMED, NOT_MISSING),
        (b"", MALFORMED, NOT_MISSING),
        (b"  ", MALFORMED, NOT_MISSING),
        (b".", MALFORMED, NOT_MISSING),
        (b"null", MALFORMED, NOT_MISSING),
        (b"Bearer null", NO_TOKEN, NOT_MISSING),
        (b"Bearer undefined", NO_TOKEN, NOT_MISSING),
        (b"Bearer [object Object]", MALFORMED, NOT_MISSING),
        (b"Bearer \"{jwt}\"", NO_TOKEN, "RFC 6750 section 2.1: no quotes"),
        (b"Bearer token={jwt}", NO_TOKEN, "RFC 6750 section 2.1: no parameters"),
        (b"Bearer {jwt};", NO_TOKEN, "RFC 6750 section 2.1: no parameters"),
    ]);
    values
}

fn schemes() -> Vec<Value3> {
    let unknown: [&[u8]; 22] = [
        b"Basic dXNlcjpwYXNzd29yZA==",
        b"Basic {jwt}",
        b"Digest x",
        b"Negotiate YII=",
        b"NTLM TlRMTVNTUAAB",
        b"Token {jwt}",
        b"Token {api}",
        b"JWT {jwt}",
        b"DPoP {jwt}",
        b"OAuth {jwt}",
        b"MAC {jwt}",
        b"Hawk {jwt}",
        b"GNAP {jwt}",
        b"SAML {jwt}",
        b"AWS4-HMAC-SHA256 x",
        b"HOBA x",
        b"Mutual x",
        b"vapid x",
        b"X-Bearer {jwt}",
        b"Bearer- {jwt}",
        b"BearerBearer {jwt}",
        b"0 {jwt}",
    ];
    let broken: [&[u8]; 10] = [
        b"Bearer, {jwt}",
        b"Bear\xe9r {jwt}",
        b"Bearer\" {jwt}",
        b"Bearer; {jwt}",
        b"/ {jwt}",
        b"\"Bearer\" {jwt}",
        b"Digest username=\"x\", realm=\"y\"",
        b"AWS4-HMAC-SHA256 Credential=x, Signature=y",
        b"(Bearer) {jwt}",
        b"B\xc4\x93arer {jwt}",
    ];
    let unknown = unknown.into_iter().map(|value| (value, UNSUPPORTED, SCHEME));
    unknown.chain(broken.into_iter().map(|value| (value, MALFORMED, SCHEME))).collect()
}

fn joined() -> Vec<Value3> {
    let values: [&[u8]; 14] = [
        b"Bearer {jwt},",
        b"Bearer {jwt}, ",
        b",Bearer {jwt}",
        b", Bearer {jwt}",
        b"Bearer {jwt},Bearer {jwt}",
        b"Bearer {jwt}, Bearer {jwt}",
        b"Bearer {jwt}, Bearer {other}",
        b"Bearer {jwt},{jwt}",
        b"Bearer {jwt}, {jwt}",
        b"Bearer {jwt},Basic eDp5",
        b"Basic eDp5,Bearer {jwt}",
        b"Bearer {jwt},APIKey {api}",
        b"APIKey {api},Bearer {jwt}",
        b"APIKey {api},",
    ];
    values.into_iter().map(|value| (value, MALFORMED, ONE)).collect()
}

/// Several `Authorization` lines.
fn pairs() -> Vec<(Vec<&'static [u8]>, Verdict, &'static str)> {
    let pairs: [&[&[u8]]; 10] = [
        &[b"Bearer {jwt}", b"Bearer {jwt}"],
        &[b"Bearer {jwt}", b"Bearer {other}"],
        &[b"Bearer {jwt}", b"Basic eDp5"],
        &[b"Basic eDp5", b"Bearer {jwt}"],
        &[b"Bearer {jwt}", b"APIKey {api}"],
        &[b"APIKey {api}", b"Bearer {jwt}"],
        &[b"", b""],
        &[b"Bearer {jwt}", b"x"],
        &[b"Bearer {jwt}", b"Bearer {jwt}", b"Bearer {jwt}"],
        &[b"Bearer", b"{jwt}"],
    ];
    let joined: [&[&[u8]]; 3] = [&[b"Bearer {jwt}", b""], &[b"", b"Bearer {jwt}"], &[b"", b"Bearer {jwt}", b""]];
    let joined = joined.into_iter().map(|values| (values.to_vec(), Verdict::Allow, LEFT_OUT));
    pairs.into_iter().map(|values| (values.to_vec(), MALFORMED, ONE)).chain(joined).collect()
}

fn api_tokens() -> Vec<Value3> {
    macro_rules! secret {
        ($before:literal, $letters:literal, $after:literal) => {
            concat!($before, $letters, $letters, $letters, $letters, $letters, $letters, $letters, $letters, $after)
                .as_bytes()
        };
    }
    let refused: [&[u8]; 29] = [
        b"APIKey 1",
        b"APIKey 1$",
        b"APIKey $",
        b"APIKey x",
        b"APIKey 1$abc",
        b"APIKey {jwt}",
        secret!("APIKey 1$", "abcdefghijklmnop", "q"),
        secret!("APIKey 1$", "abcdefghijklmno", ""),
        secret!("APIKey 1$", "ABCDEFGHIJKLMNOP", ""),
        secret!("APIKey 1$", "abcdefghijklmno-", ""),
        secret!("APIKey 1$", "abcdefghijklmno$", ""),
        secret!("APIKey 1$", "abcdefg\u{e4}ijklmno", ""),
        secret!("APIKey $", "abcdefghijklmnop", ""),
        secret!("APIKey -1$", "abcdefghijklmnop", ""),
        secret!("APIKey +1$", "abcdefghijklmnop", ""),
        secret!("APIKey x$", "abcdefghijklmnop", ""),
        secret!("APIKey 1.0$", "abcdefghijklmnop", ""),
        secret!("APIKey 0x1$", "abcdefghijklmnop", ""),
        secret!("APIKey 1$$", "abcdefghijklmnop", ""),
        secret!("APIKey 1$", "abcdefghijklmnop", "$"),
        secret!("APIKey 1:", "abcdefghijklmnop", ""),
        secret!("APIKey 1", "abcdefghijklmnop", ""),
        secret!("APIKey '1'$", "abcdefghijklmnop", ""),
        secret!("Bearer 1$", "abcdefghijklmnop", ""),
        secret!("APIKey 1%24", "abcdefghijklmnop", ""),
        secret!("APIKey 00$", "0123456789012345", ""),
        secret!("APIKey 00999999$", "abcdefghijklmnop", ""),
        secret!("APIKey 9223372036854775808$", "abcdefghijklmnop", ""),
        secret!("APIKey 10000000000000000001$", "abcdefghijklmnop", ""),
    ];
    let not_ascii = |value: &[u8]| if value.is_ascii() { NO_TOKEN } else { MALFORMED };
    let mut values: Vec<Value3> = refused.into_iter().map(|value| (value, not_ascii(value), API_TOKEN)).collect();
    let unknown: [&[u8]; 3] = [
        secret!("APIKey 999999$", "abcdefghijklmnop", ""),
        secret!("APIKey 0$", "0123456789012345", ""),
        secret!("APIKey 9223372036854775807$", "abcdefghijklmnop", ""),
    ];
    values.extend(
        unknown.into_iter().map(|value| (value, Verdict::Deny("token_rejected"), "the service doesn't know it")),
    );
    values
}

/// Other headers in which a server might look for a credential.
const ELSEWHERE_HEADERS: [(&str, &[u8]); 17] = [
    ("proxy-authorization", b"Bearer {jwt}"),
    ("x-authorization", b"Bearer {jwt}"),
    ("x-forwarded-authorization", b"Bearer {jwt}"),
    ("x-original-authorization", b"Bearer {jwt}"),
    ("http-authorization", b"Bearer {jwt}"),
    ("authorization_", b"Bearer {jwt}"),
    ("x-access-token", b"{jwt}"),
    ("x-auth-token", b"{jwt}"),
    ("x-jwt-assertion", b"{jwt}"),
    ("x-api-key", b"{api}"),
    ("apikey", b"{api}"),
    ("access_token", b"{jwt}"),
    ("cookie", b"authorization=Bearer {jwt}; access_token={jwt}; jwt={jwt}"),
    ("sec-websocket-protocol", b"authorization.bearer.{jwt}, chat"),
    ("x-user-id", b"1"),
    ("x-authenticated-userid", b"1"),
    ("x-envoy-peer-metadata", b"eyJ1c2VyX2lkIjoxfQ"),
];

/// Headers that claim a target other than the request's own.
const TARGETS: [(&str, &str, &str, &[u8], Verdict); 39] = [
    ("GET", "/orders", "x-original-url", b"/public/page", MISSING),
    ("GET", "/orders", "x-original-url", b"https://gateway.example/public/page", MISSING),
    ("GET", "/orders", "x-original-uri", b"/public/page", MISSING),
    ("GET", "/orders", "x-rewrite-url", b"/public/page", MISSING),
    ("GET", "/orders", "x-forwarded-uri", b"/public/page", MISSING),
    ("GET", "/orders", "x-forwarded-uri", b"/health", MISSING),
    ("GET", "/orders", "x-forwarded-path", b"/public/page", MISSING),
    ("GET", "/orders", "x-forwarded-prefix", b"/public", MISSING),
    ("GET", "/orders", "x-forwarded-url", b"/public/page", MISSING),
    ("GET", "/orders", "x-forwarded-request-uri", b"/public/page", MISSING),
    ("GET", "/orders", "x-envoy-original-path", b"/public/page", MISSING),
    ("GET", "/orders", "x-envoy-original-dst-host", b"127.0.0.1:1", MISSING),
    ("GET", "/orders", "x-auth-request-redirect", b"/public/page", MISSING),
    ("GET", "/orders", "request-uri", b"/public/page", MISSING),
    ("GET", "/orders", "x-http-path-override", b"/public/page", MISSING),
    ("GET", "/orders", "x-path", b"/public/page", MISSING),
    ("GET", "/orders", "x-forwarded-for", b"127.0.0.1", MISSING),
    ("GET", "/orders", "x-real-ip", b"127.0.0.1", MISSING),
    ("GET", "/orders", "x-envoy-internal", b"true", MISSING),
    ("GET", "/orders", "x-forwarded-proto", b"https", MISSING),
    ("GET", "/orders", "x-forwarded-client-cert", b"Subject=\"CN=admin\"", MISSING),
    ("GET", "/status", "x-forwarded-host", b"status.example.com", MISSING),
    ("GET", "/status", "x-host", b"status.example.com", MISSING),
    ("GET", "/status", "x-original-host", b"status.example.com", MISSING),
    ("GET", "/status", "x-http-host-override", b"status.example.com", MISSING),
    ("GET", "/status", "forwarded", b"host=status.example.com;proto=https", MISSING),
    ("POST", "/health", "x-http-method-override", b"GET", MISSING),
    ("POST", "/health", "x-http-method", b"GET", MISSING),
    ("POST", "/health", "x-method-override", b"GET", MISSING),
    ("POST", "/health", "x-forwarded-method", b"GET", MISSING),
    ("POST", "/health?_method=GET", "x-anything", b"1", MISSING),
    ("DELETE", "/health", "x-http-method-override", b"GET", MISSING),
    ("HEAD", "/orders", "x-http-method-override", b"GET", Verdict::Unacceptable),
    ("OPTIONS", "/orders", "access-control-request-method", b"GET", MISSING),
    ("GET", "/public/page", "x-original-url", b"/orders", Verdict::Allow),
    ("GET", "/public/page", "x-forwarded-uri", b"/orders", Verdict::Allow),
    ("GET", "/public/page", "x-rewrite-url", b"/orders", Verdict::Allow),
    ("GET", "/public/page", "x-http-method-override", b"DELETE", Verdict::Allow),
    ("GET", "/health", "x-http-method-override", b"POST", Verdict::Allow),
];
