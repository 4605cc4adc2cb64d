//! Requests byte for byte.

use super::{LEFT_OUT, MALFORMED, MISSING, ONE};
use crate::corpus::{Case, Verdict};

/// Requests that no client library writes, byte for byte: each ends its connection. `{jwt}` stands for
/// a good JWT.
#[must_use]
pub fn raw() -> Vec<Case<Vec<u8>>> {
    let lines = LINES.iter().map(|(name, start, lines, expected, reason)| {
        let lines: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\r\n"[..]].concat()).collect();
        let bytes = [start, &b" HTTP/1.1\r\nHost: x\r\n"[..], &lines, b"Connection: close\r\n\r\n"].concat();
        Case::new(*name, bytes, *expected, reason)
    });
    let whole = WHOLE
        .iter()
        .map(|(name, head, rest, expected, reason)| Case::new(*name, [*head, *rest].concat(), *expected, reason));
    lines.chain(whole).collect()
}

const GOOD: Verdict = Verdict::Allow;
const BAD: Verdict = Verdict::Unacceptable;
const FOLD: &str = "RFC 9112 section 5.2: a folded line is joined by spaces, or refused";
const FIELD: &str = "RFC 9112 section 5: a field line has no such bytes";
const FRAMING: &str = "RFC 9112 section 6: a message whose end is in doubt isn't forwarded";
const START: &str = "RFC 9112 section 3.2";

type Lines = (&'static str, &'static [u8], &'static [&'static [u8]], Verdict, &'static str);

/// Name, method and target, header lines beside `Host` and `Connection`.
const LINES: &[Lines] = &[
    ("plain", b"GET /orders", &[b"Authorization: Bearer {jwt}"], GOOD, "as a client writes it"),
    (
        "names of two cases",
        b"GET /orders",
        &[b"Authorization: Bearer {jwt}", b"authorization: Bearer {jwt}"],
        MALFORMED,
        ONE,
    ),
    (
        "a good one, then an empty one",
        b"GET /orders",
        &[b"Authorization: Bearer {jwt}", b"Authorization:"],
        GOOD,
        LEFT_OUT,
    ),
    (
        "an empty one, then a good one",
        b"GET /orders",
        &[b"Authorization:", b"Authorization: Bearer {jwt}"],
        GOOD,
        LEFT_OUT,
    ),
    ("folded in the token", b"GET /orders", &[b"Authorization: Bearer {jwt}\r\n x"], MALFORMED, FOLD),
    (
        "a space before the colon",
        b"GET /orders",
        &[b"Authorization : Bearer {jwt}"],
        BAD,
        "RFC 9112 section 5.1: CVE-2019-16276",
    ),
    ("a NUL in the value", b"GET /orders", &[b"Authorization: Bearer {jwt}\0"], BAD, "CVE-2019-9900"),
    ("a NUL in a name", b"GET /orders", &[b"Authoriz\0ation: Bearer {jwt}"], BAD, FIELD),
    ("a name with a space", b"GET /orders", &[b"X Y: z", b"Authorization: Bearer {jwt}"], BAD, FIELD),
    ("an empty name", b"GET /orders", &[b": z", b"Authorization: Bearer {jwt}"], BAD, FIELD),
    ("a line without a colon", b"GET /orders", &[b"Authorization Bearer {jwt}"], BAD, FIELD),
    (
        "a pseudo-header in HTTP/1",
        b"GET /orders",
        &[b":path: /public/page"],
        BAD,
        "RFC 9113 section 8.3: in HTTP/2 alone",
    ),
    ("a name of bytes beyond ASCII", b"GET /orders", &[b"Author\xc4\xb1zation: Bearer {jwt}"], BAD, FIELD),
    ("a space in the target", b"GET /public/a b", &[], BAD, START),
    ("a NUL in the target", b"GET /public/\0", &[], BAD, START),
    (
        "an absolute target, private",
        b"GET http://x/orders",
        &[],
        MISSING,
        "RFC 9112 section 3.2.2: its path is the path",
    ),
    (
        "an absolute target, public",
        b"GET http://x/public/page",
        &[],
        GOOD,
        "RFC 9112 section 3.2.2: its path is the path",
    ),
    (
        "a public host within the target",
        b"GET http://status.example.com/status",
        &[],
        GOOD,
        "RFC 9112 section 3.2.2: the target's host counts, not Host",
    ),
    ("a method in lower case", b"get /health", &[], BAD, "RFC 9110 section 9.1: methods have a case, and get is none"),
    (
        "a public path with a Bearer that is not UTF-8",
        b"GET /public/page",
        &[b"Authorization: Bearer \xff"],
        GOOD,
        "docs/reference.md#rules: no credential is looked at on a public rule",
    ),
    (
        "a public path with two credentials",
        b"GET /public/page",
        &[b"Authorization: a", b"Authorization: b"],
        GOOD,
        "docs/reference.md#rules: no credential is looked at on a public rule",
    ),
];

type Whole = (&'static str, &'static [u8], &'static [u8], Verdict, &'static str);

/// Name, and all bytes in two parts.
const WHOLE: &[Whole] = &[
    (
        "upper case names",
        b"GET /orders HTTP/1.1\r\nHOST: x\r\n",
        b"AUTHORIZATION: Bearer {jwt}\r\nCONNECTION: close\r\n\r\n",
        GOOD,
        "RFC 9110 section 5.1: names have no case",
    ),
    (
        "no space behind the colon",
        b"GET /orders HTTP/1.1\r\nHost:x\r\n",
        b"Authorization:Bearer {jwt}\r\nConnection:close\r\n\r\n",
        GOOD,
        "RFC 9112 section 5",
    ),
    (
        "length and chunks",
        b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n",
        b"Transfer-Encoding: chunked\r\nAuthorization: Bearer {jwt}\r\nConnection: close\r\n\r\n0\r\n\r\n",
        BAD,
        FRAMING,
    ),
    (
        "two lengths",
        b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n",
        b"Content-Length: 2\r\nAuthorization: Bearer {jwt}\r\nConnection: close\r\n\r\nxy",
        BAD,
        FRAMING,
    ),
    (
        "a length that is none",
        b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n",
        b"Authorization: Bearer {jwt}\r\nConnection: close\r\n\r\nx",
        BAD,
        FRAMING,
    ),
    (
        "a coding that is unknown",
        b"POST /orders HTTP/1.1\r\nHost: x\r\n",
        b"Transfer-Encoding: xchunked\r\nAuthorization: Bearer {jwt}\r\nConnection: close\r\n\r\n0\r\n\r\n",
        BAD,
        FRAMING,
    ),
    ("HTTP/0.9", b"GET /public/page\r\n", b"", BAD, START),
    ("HTTP/2.0 in HTTP/1", b"GET /public/page HTTP/2.0\r\nHost: x\r\nConnection: close\r\n", b"\r\n", BAD, START),
    (
        "no host",
        b"GET /public/page HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"",
        BAD,
        "RFC 9112 section 3.2: a request without Host is answered 400",
    ),
    (
        "an absolute target whose host is public",
        b"GET http://x/orders?http://x/public/page HTTP/1.1\r\n",
        b"Host: /public\r\nConnection: close\r\n\r\n",
        MISSING,
        "RFC 9112 section 3.2.2",
    ),
    (
        "another host within the target",
        b"GET http://x/status HTTP/1.1\r\nHost: status.example.com\r\n",
        b"Connection: close\r\n\r\n",
        MISSING,
        "RFC 9112 section 3.2.2: the target's host counts, not Host",
    ),
    (
        "a public host",
        b"GET /status HTTP/1.1\r\nHost: status.example.com\r\n",
        b"Connection: close\r\n\r\n",
        GOOD,
        "docs/reference.md#hosts",
    ),
    (
        "a public host with a port",
        b"GET /status HTTP/1.1\r\nHost: Status.Example.com:8443\r\n",
        b"Connection: close\r\n\r\n",
        GOOD,
        "RFC 3986 section 3.2: host without port, and without case",
    ),
    (
        "a host that begins like a public one",
        b"GET /status HTTP/1.1\r\n",
        b"Host: status.example.com.evil.example\r\nConnection: close\r\n\r\n",
        MISSING,
        "docs/reference.md#hosts",
    ),
    (
        "a host behind user information",
        b"GET /status HTTP/1.1\r\n",
        b"Host: status.example.com@evil.example\r\nConnection: close\r\n\r\n",
        Verdict::Deny("ambiguous_host"),
        "RFC 9110 section 4.2.4: no user information",
    ),
];
