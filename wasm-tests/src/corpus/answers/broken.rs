//! Connections that break, and invalid messages.

use super::{Answer, Case, DOWN, Input, UNREADABLE, Verdict, case, identity};

/// Connections that break, and invalid messages.
pub(super) fn cases() -> Vec<Case<Input>> {
    let table = [connections_that_break(), bad_messages()].concat();
    table.into_iter().map(|(name, answer, expected)| case("json_body", name, answer, expected, UNREADABLE)).collect()
}

/// A name, the answer, and the verdict.
type Row = (&'static str, Answer, Verdict);

fn raw(text: impl Into<Vec<u8>>) -> Answer {
    Answer(text.into())
}

fn connections_that_break() -> Vec<Row> {
    let body = identity().to_string();
    let length = body.len();
    vec![
        ("closed at once", Answer(Vec::new()), DOWN),
        ("garbage", Answer(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc".to_vec()), DOWN),
        ("a status line alone", raw("HTTP/1.1 200 OK\r\n"), DOWN),
        ("half a head", raw("HTTP/1.1 200 OK\r\nContent-Le"), DOWN),
        (
            "a body that breaks off",
            raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", length + 1)),
            DOWN,
        ),
        (
            "a whole identity in a body that breaks off",
            raw(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n")),
            DOWN,
        ),
        (
            "a chunk whose length is none",
            raw(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{body}\r\n0\r\n\r\n")),
            DOWN,
        ),
        (
            "chunks",
            raw(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n")),
            Verdict::Allow,
        ),
    ]
}

fn bad_messages() -> Vec<Row> {
    let body = identity().to_string();
    let length = body.len();
    vec![
        (
            "two lengths",
            raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nContent-Length: 1\r\n\r\n{body}")),
            DOWN,
        ),
        ("a length that is negative", raw(format!("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{body}")), DOWN),
        (
            "a length that is too short",
            raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", length - 1)),
            DOWN,
        ),
        ("no length, until the connection ends", raw(format!("HTTP/1.1 200 OK\r\n\r\n{body}")), Verdict::Allow),
        ("a NUL in a header", raw(format!("HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: {length}\r\n\r\n{body}")), DOWN),
        (
            "a line without a colon",
            raw(format!("HTTP/1.1 200 OK\r\nX\r\nContent-Length: {length}\r\n\r\n{body}")),
            DOWN,
        ),
        ("a status that is none", raw(format!("HTTP/1.1 2x0 OK\r\nContent-Length: {length}\r\n\r\n{body}")), DOWN),
        ("a status of two digits", raw(format!("HTTP/1.1 20 OK\r\nContent-Length: {length}\r\n\r\n{body}")), DOWN),
        ("a status of four digits", raw(format!("HTTP/1.1 2000 OK\r\nContent-Length: {length}\r\n\r\n{body}")), DOWN),
        (
            "an informational answer before",
            raw(format!(
                "HTTP/1.1 103 Early Hints\r\nX-User-Id: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
            )),
            Verdict::Allow,
        ),
        ("204", raw("HTTP/1.1 204 No Content\r\n\r\n"), DOWN),
        ("304", raw("HTTP/1.1 304 Not Modified\r\n\r\n"), DOWN),
        ("101", raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), DOWN),
        ("a redirect", raw("HTTP/1.1 302 Found\r\nLocation: /auth/verify\r\nContent-Length: 0\r\n\r\n"), DOWN),
    ]
}
