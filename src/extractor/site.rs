//! Whether a request comes from the site that it goes to (docs/reference.md#cross-site-requests). A browser sends
//! cookies with the requests of any page, so a cookie alone doesn't show that the user wants the request.

use super::RequestHead;

/// Whether a credential in a cookie is accepted from this request.
pub(super) fn may_use_cookie(head: &RequestHead<'_>) -> bool {
    is_safe(head) || is_same_site(head)
}

/// Whether the method is safe (RFC 9110 section 9.2.1). An upgrade isn't: what follows it may change anything.
fn is_safe(head: &RequestHead<'_>) -> bool {
    let method = head.value(":method");
    let is_upgrade = ["upgrade", ":protocol"].iter().any(|name| head.values(name).next().is_some());
    !is_upgrade && [&b"GET"[..], b"HEAD", b"OPTIONS"].iter().any(|safe| method.eq_ignore_ascii_case(safe))
}

/// Decides by `Sec-Fetch-Site` (Fetch Metadata, section 2.3), or else by `Origin` (RFC 6454 section 7).
fn is_same_site(head: &RequestHead<'_>) -> bool {
    let mut sites = head.values("sec-fetch-site");
    if let Some(site) = sites.next() {
        return matches!(site, b"same-origin" | b"none") && sites.next().is_none();
    }
    let mut origins = head.values("origin");
    match (origins.next(), origins.next()) {
        (Some(origin), None) => is_own_origin(origin, head),
        _ => false,
    }
}

/// Whether scheme and host are the request's. The port has to be too if `:authority` has one: Envoy may have removed
/// it.
fn is_own_origin(origin: &[u8], head: &RequestHead<'_>) -> bool {
    let Some((scheme, rest)) = split_scheme(origin) else { return false };
    let ((host, port), (own_host, own_port)) = (split_port(rest), split_port(head.value(":authority")));
    let default: &[u8] = match scheme {
        b"http" => b"80",
        b"https" => b"443",
        _ => return false,
    };
    let is_port = own_port.is_none_or(|own| own == port.unwrap_or(default));
    scheme.eq_ignore_ascii_case(head.value(":scheme"))
        && !host.is_empty()
        && host.eq_ignore_ascii_case(own_host)
        && is_port
}

fn split_scheme(origin: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = origin.iter().position(|byte| *byte == b':')?;
    Some((origin.get(..colon)?, origin.get(colon..)?.strip_prefix(b"://")?))
}

/// Host and port. A colon within the brackets of an IPv6 address doesn't begin a port.
pub fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let colon = authority.iter().rposition(|byte| *byte == b':');
    let bracket = authority.iter().rposition(|byte| *byte == b']');
    match colon.filter(|colon| bracket.is_none_or(|bracket| *colon > bracket)) {
        Some(colon) => (authority.get(..colon).unwrap_or_default(), authority.get(colon + 1..)),
        None => (authority, None),
    }
}
