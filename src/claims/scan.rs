//! Reads the usual claim set in one pass, because every new JWT needs it.
//!
//! [`read`] is as strict as [`crate::json`]. It leaves whatever it doesn't recognise to [`crate::json::parse`], which
//! reports errors and understands unusual texts: escapes, fractions, many keys, large numbers. When [`read`] reads a
//! claim set, [`crate::json::parse`] reads the same one.

use super::{Audience, Claims, IssuedBy, RoleParams, TokenType};
use crate::ascii;
use crate::json::MAX_DEPTH;

/// How many keys an object may have.
const MAX_KEYS: usize = 32;

/// How many digits a number may have: any number with so many digits fits in 63 bits.
const MAX_DIGITS: usize = 18;

/// Reads a claim set without checking the range of its times. `None`: only the parser can tell.
pub(super) fn read(json: &[u8]) -> Option<Claims> {
    let mut scanner = Scanner { text: str::from_utf8(json).ok()?, at: 0 };
    let mut found = Found::default();
    scanner.object(0, &mut |scanner, name| found.member(scanner, name))?;
    scanner.skip_blanks();
    if scanner.at < json.len() {
        return None;
    }
    let Found { user_id, client_id, token_type, mut claims } = found;
    (claims.user_id, claims.client_id, claims.token_type) = (user_id?, client_id?, token_type?);
    Some(claims)
}

/// What was found so far; for each claim that every token must have, `None` until it is found.
struct Found {
    user_id: Option<i64>,
    client_id: Option<i64>,
    token_type: Option<TokenType>,
    claims: Claims,
}

impl Default for Found {
    fn default() -> Self {
        let claims = Claims::from_answer_headers(TokenType::Unknown, 0, 0, None, None, None);
        Self { user_id: None, client_id: None, token_type: None, claims }
    }
}

impl Found {
    /// Reads the value of one claim.
    fn member(&mut self, scanner: &mut Scanner<'_>, name: &str) -> Option<()> {
        let claims = &mut self.claims;
        match name {
            "exp" => claims.exp = Some(scanner.time()?),
            "nbf" => claims.nbf = Some(scanner.time()?),
            "iat" => claims.iat = Some(scanner.time()?),
            "jti" => claims.jti = Some(scanner.string()?),
            "iss" => claims.iss = Some(scanner.string()?),
            "sub" => claims.sub = Some(scanner.string()?),
            "aud" if scanner.next() == Some(b'[') => claims.aud = Some(Audience::Many(scanner.strings(1)?)),
            "aud" => claims.aud = Some(Audience::One(scanner.string()?)),
            "user_id" => self.user_id = Some(scanner.integer()?),
            "client_id" => self.client_id = Some(scanner.integer()?),
            "token_id" => claims.token_id = scanner.or_null(Scanner::integer)?,
            "issued_by" => claims.issued_by = scanner.or_null(issued_by)?,
            "token_type" => {
                self.token_type = Some(TokenType::from_name(scanner.text()?).unwrap_or(TokenType::Unknown));
            }
            "user_type" => claims.user_type = scanner.or_null(Scanner::string)?,
            "user_groups" => claims.user_groups = scanner.or_null(|scanner| scanner.strings(1))?,
            "role_params" => claims.role_params = scanner.or_null(role_params)?,
            "email" => claims.email = scanner.or_null(Scanner::string)?,
            "username" => claims.username = scanner.or_null(Scanner::string)?,
            "sso_entity" => claims.sso_entity = Some(scanner.or_null(Scanner::string)?),
            "is_admin" => claims.is_admin = scanner.or_null(Scanner::flag)?,
            "client_name" => claims.client_name = scanner.or_null(Scanner::string)?,
            "federation_id" => claims.federation_id = scanner.or_null(Scanner::integer)?,
            _ => scanner.skip(1)?,
        }
        Some(())
    }
}

fn issued_by(scanner: &mut Scanner<'_>) -> Option<IssuedBy> {
    let mut found = IssuedBy::default();
    scanner.object(1, &mut |scanner, name| {
        match name {
            "user_id" => found.user_id = scanner.or_null(Scanner::integer)?,
            "user_type" => found.user_type = scanner.or_null(Scanner::string)?,
            _ => scanner.skip(2)?,
        }
        Some(())
    })?;
    Some(found)
}

fn role_params(scanner: &mut Scanner<'_>) -> Option<RoleParams> {
    let mut found = RoleParams::default();
    scanner.object(1, &mut |scanner, name| {
        match name {
            "role" => found.role = scanner.or_null(Scanner::string)?,
            "read_only" => found.read_only = scanner.or_null(Scanner::flag)?,
            "federations" => found.federations = scanner.or_null(Scanner::integers)?,
            "alias" => found.alias = scanner.or_null(Scanner::string)?,
            "resellers_wl" => found.resellers_wl = scanner.or_null(Scanner::integers)?,
            "resellers_bl" => found.resellers_bl = scanner.or_null(Scanner::integers)?,
            _ => scanner.skip(2)?,
        }
        Some(())
    })?;
    Some(found)
}

/// A position in a JSON text. Each method moves past what it reads; `None` means that it doesn't recognise it.
struct Scanner<'j> {
    text: &'j str,
    at: usize,
}

impl<'j> Scanner<'j> {
    fn rest(&self) -> &'j [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that isn't a blank.
    fn next(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.takes(byte).then_some(())
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.next() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn takes_word(&mut self, word: &[u8]) -> bool {
        self.skip_blanks();
        let is_next = self.rest().starts_with(word);
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    /// Null, or what `read` reads.
    fn or_null<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.takes_word(b"null") { Some(None) } else { read(self).map(Some) }
    }

    fn flag(&mut self) -> Option<bool> {
        if self.takes_word(b"true") { Some(true) } else { self.takes_word(b"false").then_some(false) }
    }

    /// An integer. JSON forbids leading zeros, and `-0` isn't an integer.
    fn integer(&mut self) -> Option<i64> {
        let is_negative = self.takes(b'-');
        let digits = self.rest().iter().take(MAX_DIGITS + 1).take_while(|byte| byte.is_ascii_digit());
        let (mut number, mut count) = (0_i64, 0);
        for digit in digits {
            number = number.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
            count += 1;
        }
        let is_canonical = if self.rest().first() == Some(&b'0') { count == 1 && !is_negative } else { count > 0 };
        self.at += count;
        (is_canonical && count <= MAX_DIGITS).then_some(if is_negative { number.wrapping_neg() } else { number })
    }

    fn time(&mut self) -> Option<u64> {
        u64::try_from(self.integer()?).ok()
    }

    /// A string without escapes.
    fn text(&mut self) -> Option<&'j str> {
        self.take(b'"')?;
        let length = ascii::count_plain(self.rest());
        let text = self.text.get(self.at..self.at + length)?;
        self.at += length;
        (self.rest().first() == Some(&b'"')).then(|| {
            self.at += 1;
            text
        })
    }

    fn string(&mut self) -> Option<Box<str>> {
        self.text().map(Into::into)
    }

    fn strings(&mut self, depth: usize) -> Option<Box<[Box<str>]>> {
        let mut strings = Vec::new();
        self.array(depth, &mut |scanner| {
            strings.push(scanner.string()?);
            Some(())
        })?;
        Some(strings.into())
    }

    fn integers(&mut self) -> Option<Box<[i64]>> {
        let mut integers = Vec::new();
        self.array(2, &mut |scanner| {
            integers.push(scanner.integer()?);
            Some(())
        })?;
        Some(integers.into())
    }

    /// An array at this depth: `element` reads each element.
    fn array(&mut self, depth: usize, element: &mut dyn FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        if depth >= MAX_DEPTH {
            return None;
        }
        if self.takes(b']') {
            return Some(());
        }
        loop {
            element(self)?;
            if !self.takes(b',') {
                return self.take(b']');
            }
        }
    }

    /// An object at this depth: `member` reads the value of each key. No key may be repeated.
    fn object(&mut self, depth: usize, member: &mut dyn FnMut(&mut Self, &'j str) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if depth >= MAX_DEPTH {
            return None;
        }
        if self.takes(b'}') {
            return Some(());
        }
        let mut keys = Keys::default();
        loop {
            self.skip_blanks();
            let key = self.text()?;
            keys.add(key)?;
            self.take(b':')?;
            member(self, key)?;
            if !self.takes(b',') {
                return self.take(b'}');
            }
        }
    }

    /// Any value.
    fn skip(&mut self, depth: usize) -> Option<()> {
        match self.next()? {
            b'"' => self.text().map(drop),
            b'{' => self.object(depth, &mut |scanner, _| scanner.skip(depth + 1)),
            b'[' => self.array(depth, &mut |scanner| scanner.skip(depth + 1)),
            b'n' => self.takes_word(b"null").then_some(()),
            b't' | b'f' => self.flag().map(drop),
            _ => self.integer().map(drop),
        }
    }
}

/// The keys of one object.
#[derive(Default)]
struct Keys<'j> {
    keys: [&'j str; MAX_KEYS],
    count: usize,
    /// A bit for each key. Several keys may share a bit: only then are they compared.
    bits: u64,
}

impl<'j> Keys<'j> {
    /// `None`: the key is repeated, or there are too many.
    fn add(&mut self, key: &'j str) -> Option<()> {
        let byte = |byte: Option<&u8>| usize::from(byte.copied().unwrap_or_default());
        let (first, last) = (byte(key.as_bytes().first()), byte(key.as_bytes().last()));
        let bit = 1 << ((key.len() + 5 * first + 11 * last) % 64);
        if self.bits & bit != 0 && self.keys.iter().take(self.count).any(|known| *known == key) {
            return None;
        }
        self.bits |= bit;
        *self.keys.get_mut(self.count)? = key;
        self.count += 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::everything;
    use super::*;
    use crate::json;

    /// Whether the scanner reads the text; if it does, the parser has to read the same.
    fn agrees(text: &[u8]) -> bool {
        let (read, parsed) = (read(text), json::parse::<Claims>(text));
        let is_read = read.is_some();
        if let Some(read) = read {
            assert_eq!(Ok(read), parsed, "{}", String::from_utf8_lossy(text));
        }
        is_read
    }

    #[test]
    fn the_usual_claim_sets_are_read() {
        let least = json!({"user_id": -1, "client_id": 0, "token_type": "other"});
        let mut more = everything();
        more["aud"] = json!("one");
        more["x"] = json!({"a": [1, {"b": [null, true, false, "c"]}], "d": {}, "żółć": "\u{1f600}\u{7f}"});
        for claims in [everything(), least, more] {
            assert!(agrees(claims.to_string().as_bytes()), "{claims}");
            assert!(agrees(serde_json::to_string_pretty(&claims).unwrap().as_bytes()), "{claims}");
        }
        let nulls = everything().as_object().unwrap().clone().into_iter().map(|(name, value)| {
            let never_null = ["exp", "nbf", "iat", "jti", "iss", "sub", "aud", "user_id", "client_id", "token_type"];
            (name.clone(), if never_null.contains(&&*name) { value } else { Value::Null })
        });
        assert!(agrees(Value::Object(nulls.collect()).to_string().as_bytes()));
    }

    #[test]
    fn reads_every_changed_byte_as_the_parser_does() {
        let text = everything().to_string().replacen(',', " ,\n\t", 1).into_bytes();
        for at in 0..text.len() {
            let (before, after) = text.split_at(at);
            agrees(&[before, &after[1..]].concat());
            for byte in *b"\"\\{}[]:, -0.e\x1f\xff" {
                agrees(&[before, &[byte], after].concat());
                agrees(&[before, &[byte], &after[1..]].concat());
            }
        }
    }

    #[test]
    fn leaves_unusual_claim_sets_to_the_parser() {
        let with = |extra: &str| everything().to_string().replacen('{', &format!("{{{extra},"), 1);
        for extra in [
            r#""a":1,"a":2"#,
            r#""exp":1"#,
            r#""x":{"a":1,"b":2,"a":3}"#,
            r#""a\u0062":1"#,
            r#""x":"\n""#,
            r#""x":1.0"#,
            r#""x":1e3"#,
            r#""x":-0"#,
            r#""x":-"#,
            r#""x":01"#,
            r#""x":1234567890123456789"#,
            r#""x":[1,]"#,
            r#""x":{"a":1,}"#,
            r#""x":nul"#,
            r#""x":[[[[[[[[1]]]]]]]]"#,
            r#""":1,"":1"#,
            r"x:1",
            r#""x" 1"#,
        ] {
            assert!(!agrees(with(extra).as_bytes()), "{extra}");
        }
        assert!(agrees(with(r#""x":[[[[[[[1]]]]]]]"#).as_bytes()), "as deep as may be");
        for text in ["", "{}", "[]", "null", "{", "\u{feff}{}", "{}}"] {
            assert!(!agrees(text.as_bytes()), "{text}");
        }
        assert!(!agrees(format!("{} x", everything()).as_bytes()));
        let many: Vec<_> = (0..40).map(|number| format!("\"k{number}\":1")).collect();
        assert!(!agrees(with(&many.join(",")).as_bytes()));
    }
}
