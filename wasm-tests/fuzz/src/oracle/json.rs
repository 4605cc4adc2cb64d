//! JSON (RFC 8259) as a tree that keeps what other readers drop: repeated keys and the spelling of numbers.

use std::fmt::Write as _;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` and `false`.
    Bool(bool),
    /// As it is written.
    Number(String),
    /// Unescaped.
    Text(String),
    /// `[…]`.
    Array(Vec<Json>),
    /// `{…}`, in order.
    Object(Vec<(String, Json)>),
}

/// The JSON value in `bytes`, nested at most `depth` deep.
pub fn parse(bytes: &[u8], depth: usize) -> Option<Json> {
    let text = str::from_utf8(bytes).ok()?;
    let mut reader = Reader { rest: text };
    let value = reader.value(depth)?;
    reader.space();
    reader.rest.is_empty().then_some(value)
}

/// JSON that authgate accepts: no repeated keys, a depth of 8, 128 keys in an object.
pub fn strict(bytes: &[u8]) -> Option<Json> {
    parse(bytes, 8).filter(|json| json.is_unambiguous() && json.is_narrow())
}

impl Json {
    /// The value of a key that isn't repeated.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(known, _)| known == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Whether no object repeats a key.
    pub fn is_unambiguous(&self) -> bool {
        match self {
            Self::Object(members) => members.iter().enumerate().all(|(index, (key, value))| {
                members[..index].iter().all(|(earlier, _)| earlier != key) && value.is_unambiguous()
            }),
            Self::Array(entries) => entries.iter().all(Self::is_unambiguous),
            _ => true,
        }
    }

    fn is_narrow(&self) -> bool {
        match self {
            Self::Object(members) => members.len() <= 128 && members.iter().all(|(_, value)| value.is_narrow()),
            Self::Array(entries) => entries.iter().all(Self::is_narrow),
            _ => true,
        }
    }

    /// The number of values in it, including itself.
    pub fn nodes(&self) -> usize {
        1 + match self {
            Self::Object(members) => members.iter().map(|(_, value)| value.nodes()).sum(),
            Self::Array(entries) => entries.iter().map(Self::nodes).sum(),
            _ => 0,
        }
    }

    /// The value with this number in it; 0 is the value itself.
    pub fn node(&mut self, number: usize) -> Option<&mut Self> {
        let Some(mut left) = number.checked_sub(1) else { return Some(self) };
        let inner: Box<dyn Iterator<Item = &mut Self>> = match self {
            Self::Object(members) => Box::new(members.iter_mut().map(|(_, value)| value)),
            Self::Array(entries) => Box::new(entries.iter_mut()),
            _ => return None,
        };
        for value in inner {
            let nodes = value.nodes();
            if left < nodes {
                return value.node(left);
            }
            left -= nodes;
        }
        None
    }

    /// The JSON text, without whitespace.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
            Self::Number(number) => text.push_str(number),
            Self::Text(value) => write_text(value, text),
            Self::Array(entries) => {
                text.push('[');
                for (index, entry) in entries.iter().enumerate() {
                    text.push_str(if index > 0 { "," } else { "" });
                    entry.write(text);
                }
                text.push(']');
            }
            Self::Object(members) => {
                text.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    text.push_str(if index > 0 { "," } else { "" });
                    write_text(key, text);
                    text.push(':');
                    value.write(text);
                }
                text.push('}');
            }
        }
    }
}

fn write_text(value: &str, text: &mut String) {
    text.push('"');
    for character in value.chars() {
        if character < ' ' || matches!(character, '"' | '\\') {
            let _ = write!(text, "\\u{:04x}", u32::from(character));
        } else {
            text.push(character);
        }
    }
    text.push('"');
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Consumes `token` if it comes next.
    fn takes(&mut self, token: &str) -> bool {
        self.space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.space();
        match self.rest.bytes().next()? {
            b'{' => self.object(depth.checked_sub(1)?),
            b'[' => self.array(depth.checked_sub(1)?),
            b'"' => self.string().map(Json::Text),
            b'-' | b'0'..=b'9' => self.number(),
            _ if self.takes("null") => Some(Json::Null),
            _ if self.takes("true") => Some(Json::Bool(true)),
            _ if self.takes("false") => Some(Json::Bool(false)),
            _ => None,
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        let mut members = Vec::new();
        self.takes("{");
        if self.takes("}") {
            return Some(Json::Object(members));
        }
        loop {
            self.space();
            let key = self.string()?;
            if !self.takes(":") {
                return None;
            }
            members.push((key, self.value(depth)?));
            if self.takes("}") {
                return Some(Json::Object(members));
            }
            if !self.takes(",") {
                return None;
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        let mut entries = Vec::new();
        self.takes("[");
        if self.takes("]") {
            return Some(Json::Array(entries));
        }
        loop {
            entries.push(self.value(depth)?);
            if self.takes("]") {
                return Some(Json::Array(entries));
            }
            if !self.takes(",") {
                return None;
            }
        }
    }

    fn digits(&mut self) -> Option<&str> {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        (length > 0).then_some(digits)
    }

    fn number(&mut self) -> Option<Json> {
        let whole = self.rest;
        self.rest = self.rest.strip_prefix('-').unwrap_or(self.rest);
        let digits = self.digits()?;
        if digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        if let Some(rest) = self.rest.strip_prefix('.') {
            self.rest = rest;
            self.digits()?;
        }
        if let Some(rest) = self.rest.strip_prefix(['e', 'E']) {
            self.rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
            self.digits()?;
        }
        let number = &whole[..whole.len() - self.rest.len()];
        // A number beyond the range of doubles is refused: readers would take it for infinity.
        number.parse::<f64>().ok()?.is_finite().then(|| Json::Number(number.to_owned()))
    }

    fn string(&mut self) -> Option<String> {
        self.rest = self.rest.strip_prefix('"')?;
        let mut text = String::new();
        loop {
            let character = self.rest.chars().next()?;
            self.rest = &self.rest[character.len_utf8()..];
            match character {
                '"' => return Some(text),
                '\\' => text.push(self.escape()?),
                '\0'..='\x1f' => return None,
                character => text.push(character),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let kind = self.rest.chars().next()?;
        self.rest = &self.rest[kind.len_utf8()..];
        Some(match kind {
            '"' | '\\' | '/' => kind,
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.hex()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first);
                }
                self.rest = self.rest.strip_prefix("\\u")?;
                let second = self.hex()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)?
            }
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.rest.get(..4)?;
        self.rest = &self.rest[4..];
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    }
}
