//! From the request's headers to its one credential (docs/reference.md#credentials).

mod places;
pub mod site;

use std::borrow::Cow;

use crate::ascii;
use crate::code::Code;
use crate::config::{ApiToken, Credentials, HeaderType, StrippedHeaders, is_token};
use crate::credential::{COOKIE, Credential, Form, PROTOCOLS, Place};
pub use places::taken_off;

/// The length of what follows the `$` of an API token.
pub const SECRET: usize = 128;

/// How many dots there are in a JWT, between its three segments.
const DOTS_OF_JWT: usize = 2;

/// A header's name, in lower case, and its value.
pub type Header<'r> = (&'r str, &'r [u8]);

/// Headers that are lent to a [`RequestHead`].
pub fn lend<N: AsRef<str>, V: AsRef<[u8]>>(headers: &[(N, V)]) -> Vec<Header<'_>> {
    headers.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect()
}

/// The head of a request, as the host handed it over: names in lower case, values as bytes.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'r> {
    /// All headers in order, pseudo-headers among them.
    pub headers: &'r [Header<'r>],
    /// Whether anything follows the head: a body, trailers, or what is sent through a tunnel.
    pub has_body: bool,
}

impl<'r> RequestHead<'r> {
    /// All values of a header.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'r [u8]> {
        self.headers.iter().filter(move |(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The first value of a header; empty if the header is absent.
    pub fn value(&self, name: &str) -> &'r [u8] {
        self.values(name).next().unwrap_or_default()
    }

    /// Whether the client speaks gRPC: by its `content-type`, as in Envoy.
    pub fn is_grpc(&self) -> bool {
        self.value("content-type")
            .strip_prefix(b"application/grpc")
            .is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'+'))
    }
}

/// The names of headers that must not reach the upstream, on any route.
pub fn headers_to_strip<'r>(head: &RequestHead<'r>, stripped: &StrippedHeaders) -> Vec<&'r str> {
    let names = head.headers.iter().map(|(name, _)| *name);
    names.filter(|name| stripped.covers(name.as_bytes())).collect()
}

/// The names of trailers that must not reach the upstream: servers may take trailers for headers.
pub fn trailers_to_strip<'r>(trailers: &[Header<'r>], stripped: &StrippedHeaders) -> Vec<&'r str> {
    let is_stripped = |name: &&str| stripped.covers(name.as_bytes()) || stripped.has_credential(name.as_bytes());
    trailers.iter().map(|(name, _)| *name).filter(is_stripped).collect()
}

/// What becomes of a header: its name, and its new value; `None`: it is removed.
pub type Change<'n> = (&'n str, Option<Vec<u8>>);

/// How headers change on arrival, apart from those that are stripped.
pub fn headers_to_change(
    head: &RequestHead<'_>,
    stripped: &StrippedHeaders,
    credentials: &Credentials,
) -> Vec<Change<'static>> {
    let protocols = if credentials.websocket_protocol { places::protocols(head) } else { None };
    let cookies = credentials.cookie.as_ref().and_then(|_| places::joined_cookies(head));
    let connection = connection(head, stripped).map(|value| ("connection", Some(value)));
    let protocols = protocols.map(|value| (PROTOCOLS, Some(value).filter(|value| !value.is_empty())));
    connection.into_iter().chain(protocols).chain(cookies.map(|value| (COOKIE, Some(value)))).collect()
}

/// The new value of the `Connection` header, which Envoy leaves only on upgrades. The next server drops every header
/// that it names, and must not drop the identity. `None`: the header stays as it is.
fn connection(head: &RequestHead<'_>, stripped: &StrippedHeaders) -> Option<Vec<u8>> {
    let options =
        || head.values("connection").flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let is_harmless = |option: &&[u8]| is_token(option) && !stripped.covers(option) && !stripped.has_credential(option);
    if options().all(|option| is_harmless(&option)) {
        return None;
    }
    Some(options().filter(is_harmless).collect::<Vec<_>>().join(&b", "[..]))
}

/// Finds the request's one credential.
///
/// # Errors
/// The code of the denial: the credential is missing, malformed, of an unknown scheme, of a form that can't be valid,
/// or in a cookie sent by a page of another site.
pub fn extract<'r>(
    head: &RequestHead<'r>,
    accepted: &ApiToken,
    credentials: &Credentials,
) -> Result<Credential<'r>, Code> {
    extract_with(head, accepted, credentials, |_| false)
}

/// Like [`extract`]. `is_known`: whether these bytes are known to have the form of a JWT, so that they needn't be read.
pub fn extract_with<'r>(
    head: &RequestHead<'r>,
    accepted: &ApiToken,
    credentials: &Credentials,
    is_known: impl FnOnce(&[u8]) -> bool,
) -> Result<Credential<'r>, Code> {
    let (place, value) = places::only_value(head, credentials)?;
    match (place, value) {
        (Place::Authorization, Cow::Borrowed(value)) => match bearer(value).filter(|token| is_known(token)) {
            Some(token) => Ok(Credential::in_authorization(Form::Jwt, token)),
            None => in_authorization(value, accepted),
        },
        (Place::ApiKeyHeader, value) => {
            dots_of_token(&value).ok_or(Code::MalformedCredentials)?;
            match token_id(&value) {
                Some(number) if is_canonical(number) => Ok(Credential { form: Form::ApiToken, place, token: value }),
                _ => Err(Code::TokenMalformed),
            }
        }
        (Place::Cookie, _) if !site::may_use_cookie(head) => Err(Code::CrossSiteRequest),
        (_, value) => {
            let dots = dots_of_token(&value).ok_or(Code::MalformedCredentials)?;
            if dots == DOTS_OF_JWT {
                Ok(Credential { form: Form::Jwt, place, token: value })
            } else {
                Err(Code::TokenMalformed)
            }
        }
    }
}

/// The number of dots, if this may be a token: visible ASCII without commas, because Envoy joins repeated headers with
/// a comma.
fn dots_of_token(bytes: &[u8]) -> Option<usize> {
    if bytes.is_empty() { None } else { ascii::dots_without_comma(bytes) }
}

/// What follows `Bearer` and a space.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(token)
}

fn in_authorization<'r>(value: &'r [u8], accepted: &ApiToken) -> Result<Credential<'r>, Code> {
    let (scheme, token, dots) = split(value).ok_or(Code::MalformedCredentials)?;
    let other = |code| {
        if accepted.accepts(HeaderType::Other) {
            Ok(Credential::in_authorization(Form::Other, value))
        } else {
            Err(code)
        }
    };
    if scheme.eq_ignore_ascii_case(b"bearer") {
        if dots == DOTS_OF_JWT {
            Ok(Credential::in_authorization(Form::Jwt, token))
        } else {
            other(Code::TokenMalformed)
        }
    } else if scheme.eq_ignore_ascii_case(b"apikey") && accepted.accepts(HeaderType::Apikey) {
        match token_id(token) {
            Some(number) if is_canonical(number) => Ok(Credential::in_authorization(Form::ApiToken, token)),
            // Another spelling of a number: the service might take both for the same token.
            Some(_) => Err(Code::TokenMalformed),
            None => other(Code::TokenMalformed),
        }
    } else {
        other(Code::UnsupportedScheme)
    }
}

/// The longest header value that is copied to a callout, in bytes.
const MAX_FORWARDED: usize = 256;

/// The headers to copy to the callout: of these, those that the request has once, in visible ASCII.
pub fn forwarded(head: &RequestHead<'_>, names: &[String]) -> Vec<(String, String)> {
    let value = |name: &String| {
        let mut values = head.values(name);
        let (value, another) = (str::from_utf8(values.next()?).ok()?, values.next());
        let is_good = another.is_none() && !value.is_empty() && value.len() <= MAX_FORWARDED;
        (is_good && value.bytes().all(|byte| byte.is_ascii_graphic())).then(|| (name.clone(), value.to_owned()))
    };
    names.iter().filter_map(value).collect()
}

/// Splits `scheme SP token`: a scheme of letters, digits and `-`, one space, and visible ASCII without commas, because
/// Envoy joins repeated headers with a comma. The last item is the number of dots in the token.
fn split(value: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, token) = (value.get(..space)?, value.get(space + 1..)?);
    let is_scheme = !scheme.is_empty() && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    is_scheme.then(|| Some((scheme, token, dots_of_token(token)?))).flatten()
}

/// The number in `^[0-9]+\$[0-9a-z]{128}$` (docs/reference.md#credentials).
fn token_id(token: &[u8]) -> Option<&str> {
    let token = str::from_utf8(token).ok()?;
    let (number, secret) = token.split_once('$')?;
    let is_token = !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && secret.len() == SECRET
        && secret.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    is_token.then_some(number)
}

/// Whether the filter takes this text, after `APIKey`, for an API token.
#[cfg(all(feature = "cli", not(target_arch = "wasm32")))]
pub fn is_api_token(text: &str) -> bool {
    token_id(text.as_bytes()).is_some_and(is_canonical)
}

/// Whether digits are the only spelling of a number that fits in 63 bits.
fn is_canonical(number: &str) -> bool {
    (number == "0" || !number.starts_with('0')) && number.parse::<i64>().is_ok()
}

#[cfg(test)]
mod tests;
