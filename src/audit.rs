//! The audit: one line with a JSON object per request (docs/reference.md#access-log-and-audit). A line holds no token,
//! and of the claims only who sent the request and the token's type.

use std::fmt::Write as _;
use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};

use crate::claims::TokenType;
use crate::code::Code;
use crate::extractor::RequestHead;
use crate::metrics::{Presented, Suspicion};
use crate::report::Report;

/// The longest text of a line, in bytes, escapes included.
const MAX_TEXT: usize = 256;

/// What a line says about a request's head. Texts are escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    address: Option<String>,
    method: String,
    path: String,
    request_id: Option<String>,
    credential: Option<String>,
}

impl Origin {
    /// From a request's head, without the credential.
    ///
    /// - `address`: the client's address and port; the port is left out.
    pub fn new(head: &RequestHead<'_>, address: Option<&str>) -> Self {
        let path = head.value(":path");
        let end = path.iter().position(|byte| b"?#".contains(byte)).unwrap_or(path.len());
        let address = address.map(|address| {
            let ip = address.parse().map(|address: SocketAddr| address.ip().to_canonical().to_string());
            escape(ip.as_deref().unwrap_or(address).as_bytes())
        });
        Self {
            address,
            method: escape(head.value(":method")),
            path: escape(path.get(..end).unwrap_or_default()),
            request_id: head.values("x-request-id").next().map(escape),
            credential: None,
        }
    }

    /// Adds the first 8 hex digits of the credential's SHA-256, if it has the form of a JWT or an API token.
    #[must_use]
    pub fn naming(self, credential: &[u8], presented: Presented) -> Self {
        if !matches!(presented, Presented::Jwt | Presented::Apikey) {
            return self;
        }
        let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(credential));
        Self { credential: Some(format!("{a:02x}{b:02x}{c:02x}{d:02x}")), ..self }
    }

    /// Its memory on the heap, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let optional = [&self.address, &self.request_id, &self.credential];
        let optional = optional.iter().map(|text| text.as_ref().map_or(0, String::capacity));
        self.method.capacity() + self.path.capacity() + optional.sum::<usize>()
    }
}

/// The line about a request.
pub fn line(report: &Report, origin: Option<&Origin>) -> String {
    let Report { outcome, reason, source, rule, who } = report;
    let token_type = who.map(|who| who.token_type).filter(|kind| *kind != TokenType::Unknown).map(TokenType::name);
    let of_origin = |text: fn(&Origin) -> Option<&str>| quoted(origin.and_then(text));
    format!(
        r#"{{"authgate": "audit", "outcome": "{}", "reason": {}, "source": "{}", "rule": "{rule}", "user_id": {}, "client_id": {}, "token_type": {}, "address": {}, "method": {}, "path": {}, "request_id": {}, "credential": {}}}"#,
        outcome.name(),
        quoted(reason.map(Code::name)),
        source.name(),
        number(who.map(|who| who.user_id)),
        number(who.map(|who| who.client_id)),
        quoted(token_type),
        of_origin(|origin| origin.address.as_deref()),
        of_origin(|origin| Some(&origin.method)),
        of_origin(|origin| Some(&origin.path)),
        of_origin(|origin| origin.request_id.as_deref()),
        of_origin(|origin| origin.credential.as_deref()),
    )
}

/// The line about suspicious activity that this request revealed.
pub fn suspicious(suspicion: Suspicion, report: &Report, origin: Option<&Origin>) -> String {
    let Report { rule, who, .. } = report;
    let of_origin = |text: fn(&Origin) -> Option<&str>| quoted(origin.and_then(text));
    format!(
        r#"{{"authgate": "audit", "suspicious": "{}", "rule": "{rule}", "user_id": {}, "client_id": {}, "address": {}, "request_id": {}}}"#,
        suspicion.name(),
        number(who.map(|who| who.user_id)),
        number(who.map(|who| who.client_id)),
        of_origin(|origin| origin.address.as_deref()),
        of_origin(|origin| origin.request_id.as_deref()),
    )
}

/// The line that says how many lines were left out.
pub fn left_out(lines: u64) -> String {
    format!(r#"{{"authgate": "audit", "left_out": {lines}}}"#)
}

fn quoted(text: Option<&str>) -> String {
    text.map_or("null".to_owned(), |text| format!("\"{text}\""))
}

fn number(number: Option<i64>) -> String {
    number.map_or("null".to_owned(), |number| number.to_string())
}

/// The content of a JSON string: visible ASCII and spaces as they are, all else escaped, cut at [`MAX_TEXT`].
fn escape(text: &[u8]) -> String {
    let mut escaped = String::new();
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if let Ok(plain) = str::from_utf8(text)
        && text.len() <= MAX_TEXT
        && text.iter().all(is_plain)
    {
        return plain.to_owned();
    }
    // Escaping never shortens a text.
    let text = text.get(..MAX_TEXT).unwrap_or(text);
    for chunk in text.utf8_chunks() {
        let broken = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        for character in chunk.valid().chars().chain(broken) {
            let before = escaped.len();
            match character {
                '"' | '\\' => escaped.extend(['\\', character]),
                ' '..='~' => escaped.push(character),
                _ => character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                    // Writing to a `String` can't fail.
                    let _ = write!(escaped, "\\u{unit:04x}");
                }),
            }
            if escaped.len() > MAX_TEXT {
                escaped.truncate(before);
                return escaped;
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_text_is_ascii_and_reads_back_as_json() {
        for text in ["/orders", "/a b", "/\"quoted\"\\", "/line\r\nbreak\u{7f}", "/żółć", "/\u{1f600}", ""] {
            let escaped = escape(text.as_bytes());
            assert!(escaped.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{escaped}");
            assert_eq!(serde_json::from_str::<String>(&format!("\"{escaped}\"")).unwrap(), text);
        }
        assert_eq!(escape(b"/\xff\xfe/"), r"/\ufffd\ufffd/");
    }

    #[test]
    fn truncation_never_splits_an_escape() {
        assert_eq!(escape(&[b'a'; 1000]).len(), 256);
        for (text, length) in [("\"", 256), ("\n", 252), ("\u{1f600}", 252), ("ż", 252)] {
            let escaped = escape(text.repeat(300).as_bytes());
            assert_eq!(escaped.len(), length, "{text:?}");
            assert!(serde_json::from_str::<String>(&format!("\"{escaped}\"")).is_ok(), "{escaped}");
        }
    }
}
