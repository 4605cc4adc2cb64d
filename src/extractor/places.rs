//! The places in a request where its one credential may stand, and what is left there after it is removed.

use std::borrow::Cow;
use std::iter;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Change, Header, RequestHead};
use crate::code::Code;
use crate::config::Credentials;
use crate::credential::{AUTHORIZATION, COOKIE, PROTOCOLS, Place};

/// The prefix of a protocol that holds a token: the token follows in base64url without padding, as in Kubernetes.
const TOKEN_PROTOCOL: &[u8] = b"base64url.bearer.authorization.k8s.io.";

/// The one value that stands in a place for credentials.
///
/// # Errors
/// [`Code::MissingCredentials`] if there is none, [`Code::MalformedCredentials`] if there are several, in whatever
/// places, or if a WebSocket client offers its token alone.
pub(super) fn only_value<'r>(
    head: &RequestHead<'r>,
    credentials: &Credentials,
) -> Result<(Place, Cow<'r, [u8]>), Code> {
    let mut found = Found::default();
    let mut others = 0;
    let mut tokens = Vec::new();
    for &(name, value) in head.headers {
        match name {
            AUTHORIZATION => found.add(Place::Authorization, value),
            COOKIE => {
                if let Some(wanted) = &credentials.cookie {
                    // A cookie without a value holds no credential.
                    let values = cookies(value).filter_map(|cookie| cookie.value_of(wanted));
                    values.filter(|value| !value.is_empty()).for_each(|value| found.add(Place::Cookie, value));
                }
            }
            PROTOCOLS if credentials.websocket_protocol => {
                for protocol in list(value) {
                    match token_in(protocol) {
                        Some(token) => tokens.push(token),
                        None => others += 1,
                    }
                }
            }
            name if credentials.api_key_header.as_deref() == Some(name) => found.add(Place::ApiKeyHeader, value),
            _ => {}
        }
    }
    if !tokens.is_empty() && is_websocket(head) {
        if others == 0 {
            // The server would have no protocol to choose, and browsers would close the connection.
            return Err(Code::MalformedCredentials);
        }
        tokens.into_iter().for_each(|token| found.add(Place::WebSocketProtocol, token));
    }
    match found {
        Found { count: 0, .. } => Err(Code::MissingCredentials),
        Found { count: 1, first: Some((Place::WebSocketProtocol, token)) } => {
            let token = URL_SAFE_NO_PAD.decode(token).map_err(|_| Code::TokenMalformed)?;
            Ok((Place::WebSocketProtocol, Cow::Owned(token)))
        }
        Found { count: 1, first: Some((place, value)) } => Ok((place, Cow::Borrowed(value))),
        Found { .. } => Err(Code::MalformedCredentials),
    }
}

/// What was found in the places for credentials.
#[derive(Default)]
struct Found<'r> {
    count: usize,
    first: Option<(Place, &'r [u8])>,
}

impl<'r> Found<'r> {
    fn add(&mut self, place: Place, value: &'r [u8]) {
        self.count += 1;
        self.first.get_or_insert((place, value));
    }
}

/// How the headers with credentials, except `Authorization`, change so that no credential goes on.
pub fn taken_off<'c>(headers: &[Header<'_>], credentials: &'c Credentials) -> Vec<Change<'c>> {
    let mut changes: Vec<Change<'_>> = Vec::new();
    if let Some(name) = &credentials.api_key_header {
        changes.push((name, None));
    }
    if let Some(name) = &credentials.cookie {
        let head = RequestHead { headers, has_body: false };
        let is_there = || head.values(COOKIE).flat_map(cookies).any(|cookie| cookie.value_of(name).is_some());
        if is_there() {
            let left: Vec<Vec<u8>> = head.values(COOKIE).filter_map(|value| without(value, name)).collect();
            changes.push((COOKIE, (!left.is_empty()).then(|| left.join(COOKIES_JOINED_BY))));
        }
    }
    changes
}

/// What joins the lines of a `Cookie` header (RFC 9113 section 8.2.3).
const COOKIES_JOINED_BY: &[u8] = b"; ";

/// All cookies in one header, if they came in several. Some servers, PHP's and Ruby's for example, join these with a
/// comma, so a value would end elsewhere than here.
pub(super) fn joined_cookies(head: &RequestHead<'_>) -> Option<Vec<u8>> {
    let lines = || head.values(COOKIE);
    (lines().count() > 1).then(|| lines().collect::<Vec<_>>().join(COOKIES_JOINED_BY))
}

/// The protocols that a client offers, without those that hold a token. `None`: none of them holds one.
pub(super) fn protocols(head: &RequestHead<'_>) -> Option<Vec<u8>> {
    let offered = || head.values(PROTOCOLS).flat_map(list);
    if !offered().any(|protocol| token_in(protocol).is_some()) {
        return None;
    }
    Some(offered().filter(|protocol| token_in(protocol).is_none()).collect::<Vec<_>>().join(&b", "[..]))
}

/// Whether this is the handshake of a WebSocket (RFC 6455 section 4.1). Over HTTP/2 it looks the same here, because
/// Envoy rewrites it.
pub(super) fn is_websocket(head: &RequestHead<'_>) -> bool {
    let mut values = head.values("upgrade");
    values.next().is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) && values.next().is_none()
}

/// The non-empty entries of a comma-separated list (RFC 9110 section 5.6.1).
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty())
}

/// The token that a protocol holds.
fn token_in(protocol: &[u8]) -> Option<&[u8]> {
    visible_part(protocol).strip_prefix(TOKEN_PROTOCOL)
}

/// Without what servers may trim at both ends. Python's, for one, trim the blanks of Latin-1 and Unicode. Every byte
/// that isn't visible ASCII goes, so that no list of such blanks is needed.
fn visible_part(text: &[u8]) -> &[u8] {
    let Some(first) = text.iter().position(u8::is_ascii_graphic) else { return b"" };
    let last = text.iter().rposition(u8::is_ascii_graphic);
    text.get(first..=last.unwrap_or(first)).unwrap_or_default()
}

/// A piece of a `Cookie` header between two `;`.
struct Cookie<'v>(&'v [u8]);

impl<'v> Cookie<'v> {
    /// The cookie's value, if it has this name. If only some servers see a cookie of this name in the piece: the whole
    /// piece. It contains `=`, so it is never a JWT.
    fn value_of(&self, name: &str) -> Option<&'v [u8]> {
        let equals = self.0.iter().position(|byte| *byte == b'=')?;
        let (known, value) = (self.0.get(..equals)?, self.0.get(equals + 1..)?);
        if visible_part(known) == name.as_bytes() {
            return Some(value.trim_ascii());
        }
        let ends = self.0.iter().enumerate().filter(|(at, byte)| ends_a_cookie(byte) || self.ends_a_date(*at));
        let begins = iter::once(0).chain(ends.map(|(at, _)| at + 1));
        let is_inner = begins.map(|at| self.0.get(at..)).any(|rest| rest.is_some_and(|it| begins_with(it, name)));
        is_inner.then(|| self.0.trim_ascii())
    }

    /// Whether a date may end at this byte. WebOb takes a date for a whole value.
    fn ends_a_date(&self, at: usize) -> bool {
        self.0.get(..=at).is_some_and(|before| before.ends_with(b"GMT"))
    }
}

/// Whether some server takes what follows this byte for another cookie: Python's `http.cookies` and aiohttp do after a
/// blank, Perl's `CGI::Cookie` after a comma, WebOb after bytes that it takes for no part of a value.
const fn ends_a_cookie(byte: &u8) -> bool {
    !byte.is_ascii_graphic() || matches!(byte, b',' | b'"' | b'\\' | b'[' | b']')
}

/// Whether a cookie of this name begins here.
fn begins_with(text: &[u8], name: &str) -> bool {
    let begin = text.iter().position(|byte| !is_skipped(byte)).unwrap_or_default();
    let rest = text.get(begin..).and_then(|text| text.strip_prefix(name.as_bytes()));
    rest.is_some_and(|rest| visible_part(rest).starts_with(b"="))
}

/// Whether some server skips this byte before a cookie's name, as Tomcat's `LegacyCookieProcessor` does.
const fn is_skipped(byte: &u8) -> bool {
    matches!(byte, b'(' | b')' | b':' | b'<' | b'=' | b'>' | b'?' | b'@' | b'{' | b'}')
}

fn cookies(value: &[u8]) -> impl Iterator<Item = Cookie<'_>> {
    value.split(|byte| *byte == b';').map(Cookie)
}

/// A `Cookie` header without the cookies of this name, the others byte for byte; `None`: there are no others.
fn without(value: &[u8], name: &str) -> Option<Vec<u8>> {
    let others = cookies(value).filter(|cookie| cookie.value_of(name).is_none()).map(|cookie| cookie.0);
    let joined = others.collect::<Vec<_>>().join(&b";"[..]);
    let left = joined.trim_ascii_start();
    (!left.is_empty()).then(|| left.to_vec())
}
