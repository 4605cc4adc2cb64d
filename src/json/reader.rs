//! Reads JSON in one pass, with the claims of a new JWT in mind: what is usual there is read by few instructions, and
//! the rest by functions apart ([`super::unusual`]).

use super::value::Number;
use super::{MAX_DEPTH, MAX_KEYS};
use crate::ascii;

/// How many digits a number may have to be read the short way: any number with so many digits fits in 63 bits.
const MAX_DIGITS: usize = 18;

/// How many keys of one object are held without memory on the heap.
const FEW_KEYS: usize = 32;

pub(super) const WRONG_TYPE: &str = "a value has the wrong type";
pub(super) const MISSING: &str = "missing field";
const TOO_DEEP: &str = "nested deeper than 8";
const TWICE: &str = "a key is given twice";
const TOO_MANY: &str = "more than 128 keys in one object";
const _: () = assert!(MAX_DEPTH == 8 && MAX_KEYS == 128, "as the messages say");

/// Why a text wasn't read.
pub(super) struct Problem {
    pub what: &'static str,
    /// The field that it is about, if it is about one.
    pub field: Option<&'static str>,
    /// How many bytes come before it.
    pub at: usize,
}

/// A position in a JSON text. Each method moves past what it reads; after `None`, the text is refused.
pub struct Reader<'j> {
    /// `bytes`, but with a backslash for each byte that isn't UTF-8: no JSON has it there.
    pub(super) text: &'j str,
    pub(super) bytes: &'j [u8],
    pub(super) at: usize,
    depth: usize,
    pub(super) problem: Option<Problem>,
}

impl<'j> Reader<'j> {
    pub(super) const fn new(text: &'j str, bytes: &'j [u8]) -> Self {
        Self { text, bytes, at: 0, depth: 0, problem: None }
    }

    /// Refuses the text, for what is wrong after `at` bytes.
    #[cold]
    pub(super) fn fail<T>(&mut self, what: &'static str, at: usize) -> Option<T> {
        self.problem = Some(Problem { what, field: None, at });
        None
    }

    /// The value; if there is none, refuses the text because the object that has just been read lacks the field.
    pub fn required<T>(&mut self, value: Option<T>, field: &'static str) -> Option<T> {
        if value.is_none() {
            self.problem = Some(Problem { what: MISSING, field: Some(field), at: self.at });
        }
        value
    }

    pub(super) fn rest(&self) -> &'j [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    pub(super) fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that isn't a blank.
    pub fn next(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.text.as_bytes().get(self.at).copied()
    }

    /// What begins at the next byte that isn't a blank.
    fn trimmed(&mut self) -> &'j [u8] {
        self.skip_blanks();
        self.rest()
    }

    pub(super) fn takes(&mut self, byte: u8) -> bool {
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

    /// Whether null is next, and was read.
    pub fn null(&mut self) -> bool {
        self.takes_word(b"null")
    }

    /// Null, or what `read` reads.
    pub fn or_null<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.null() { Some(None) } else { read(self).map(Some) }
    }

    /// `true` or `false`.
    pub fn flag(&mut self) -> Option<bool> {
        if self.takes_word(b"true") {
            Some(true)
        } else if self.takes_word(b"false") {
            Some(false)
        } else {
            self.other_type()
        }
    }

    /// An integer of 64 bits. JSON forbids leading zeros, and `-0` isn't an integer.
    pub fn integer(&mut self) -> Option<i64> {
        match self.short_integer() {
            None => self.unusual_integer(),
            number => number,
        }
    }

    /// An integer that is written with at most [`MAX_DIGITS`]. If it isn't, nothing is read but blanks.
    pub(super) fn short_integer(&mut self) -> Option<i64> {
        let is_negative = self.next() == Some(b'-');
        let begin = self.at + usize::from(is_negative);
        let digits = self.text.as_bytes().get(begin..).unwrap_or_default();
        let (mut number, mut count, mut end) = (0_i64, 0, 0);
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                end = *byte;
                break;
            }
            number = number.wrapping_mul(10).wrapping_add(i64::from(digit));
            count += 1;
        }
        if matches!(end, b'.' | b'e' | b'E') {
            return None;
        }
        let is_canonical = if digits.first() == Some(&b'0') { count == 1 && !is_negative } else { count > 0 };
        (is_canonical && count <= MAX_DIGITS).then(|| {
            self.at = begin + count;
            if is_negative { number.wrapping_neg() } else { number }
        })
    }

    /// A time in seconds.
    pub fn time(&mut self) -> Option<u64> {
        match self.short_integer().map(u64::try_from) {
            Some(Ok(time)) => Some(time),
            Some(Err(_)) => self.fail(WRONG_TYPE, self.at),
            None => self.unusual_time(),
        }
    }

    /// A string without escapes. If it isn't one, nothing is read but blanks.
    pub fn plain(&mut self) -> Option<&'j str> {
        let [b'"', rest @ ..] = self.trimmed() else { return None };
        let length = ascii::count_plain(rest);
        if rest.get(length) != Some(&b'"') {
            return None;
        }
        let begin = self.at + 1;
        self.at = begin + length + 1;
        self.text.get(begin..begin + length)
    }

    /// A string.
    pub fn string(&mut self) -> Option<Box<str>> {
        match self.plain() {
            Some(text) => Some(text.into()),
            None => self.unusual_string(),
        }
    }

    /// An array of strings.
    pub fn strings(&mut self) -> Option<Box<[Box<str>]>> {
        let mut strings = Vec::new();
        self.list(&mut |reader| {
            strings.push(reader.string()?);
            Some(())
        })?;
        Some(strings.into())
    }

    /// An array of integers.
    pub fn integers(&mut self) -> Option<Box<[i64]>> {
        let mut integers = Vec::new();
        self.list(&mut |reader| {
            integers.push(reader.integer()?);
            Some(())
        })?;
        Some(integers.into())
    }

    /// An array: `element` reads each element.
    pub fn list(&mut self, element: &mut dyn FnMut(&mut Self) -> Option<()>) -> Option<()> {
        if !self.takes(b'[') {
            return self.other_type();
        }
        self.enter()?;
        if !self.takes(b']') {
            if self.at == self.text.len() {
                return self.fail("EOF while parsing a list", self.at);
            }
            loop {
                element(self)?;
                if !self.takes(b',') {
                    if self.takes(b']') {
                        break;
                    }
                    return self.unended("EOF while parsing a list", "expected `,` or `]`");
                }
            }
        }
        self.depth -= 1;
        Some(())
    }

    /// An object: `member` reads the value of each key. No key may be repeated.
    pub fn object(&mut self, member: &mut dyn FnMut(&mut Self, &str) -> Option<()>) -> Option<()> {
        if !self.takes(b'{') {
            return self.other_type();
        }
        self.enter()?;
        if !self.takes(b'}') {
            let mut keys = Keys::NONE;
            loop {
                if let Some(key) = self.plain() {
                    let is_new = keys.add(key);
                    if !is_new || !self.takes(b':') {
                        return self.no_member(is_new, keys.has(key));
                    }
                    member(self, key)?;
                } else {
                    let key = self.unusual_key()?;
                    let is_new = keys.add_apart(&key);
                    if !is_new || !self.takes(b':') {
                        return self.no_member(is_new, keys.has(&key));
                    }
                    member(self, &key)?;
                }
                if !self.takes(b',') {
                    if self.takes(b'}') {
                        break;
                    }
                    return self.unended("EOF while parsing an object", "expected `,` or `}`");
                }
            }
            if keys.count + keys.more.len() > MAX_KEYS {
                return self.fail(TOO_MANY, self.at);
            }
        }
        self.depth -= 1;
        Some(())
    }

    fn enter(&mut self) -> Option<()> {
        if self.depth >= MAX_DEPTH {
            return self.fail(TOO_DEEP, self.at);
        }
        self.depth += 1;
        Some(())
    }

    /// Refuses a key: it wasn't added, being there already or one too many, or no colon follows.
    #[cold]
    fn no_member<T>(&mut self, is_new: bool, is_there: bool) -> Option<T> {
        self.skip_blanks();
        match (is_new, is_there) {
            (true, _) => self.unended("EOF while parsing an object", "expected `:`"),
            (false, true) => self.fail(TWICE, self.at),
            (false, false) => self.fail(TOO_MANY, self.at),
        }
    }

    /// Any value.
    pub fn skip(&mut self) -> Option<()> {
        match self.next() {
            Some(b'"') => self.plain().map(drop).or_else(|| self.unusual_string().map(drop)),
            Some(b'{') => self.object(&mut |reader, _| reader.skip()),
            Some(b'[') => self.list(&mut Self::skip),
            Some(b'n') if self.null() => Some(()),
            Some(b't') if self.takes_word(b"true") => Some(()),
            Some(b'f') if self.takes_word(b"false") => Some(()),
            _ => self.short_integer().map(drop).or_else(|| self.number().map(|_: Number| ())),
        }
    }
}

/// The keys of one object.
struct Keys<'j> {
    keys: [&'j str; FEW_KEYS],
    count: usize,
    /// Those that aren't in the text as they are, or that are too many.
    more: Vec<Box<str>>,
    /// A bit for each key. Several keys may share a bit: only then are they compared.
    bits: u64,
}

impl<'j> Keys<'j> {
    const NONE: Self = Self { keys: [""; FEW_KEYS], count: 0, more: Vec::new(), bits: 0 };

    /// `false`: the key is repeated, or there are too many.
    fn add(&mut self, key: &'j str) -> bool {
        let bit = bit_of(key);
        if self.bits & bit != 0 && self.has(key) {
            return false;
        }
        self.bits |= bit;
        let Some(place) = self.keys.get_mut(self.count) else { return self.add_more(key) };
        *place = key;
        self.count += 1;
        true
    }

    #[cold]
    fn add_apart(&mut self, key: &str) -> bool {
        if self.has(key) {
            return false;
        }
        self.bits |= bit_of(key);
        self.add_more(key)
    }

    #[cold]
    fn add_more(&mut self, key: &str) -> bool {
        let has_room = self.count + self.more.len() < MAX_KEYS;
        if has_room {
            self.more.push(key.into());
        }
        has_room
    }

    fn has(&self, key: &str) -> bool {
        self.keys.iter().take(self.count).any(|known| *known == key) || self.more.iter().any(|known| **known == *key)
    }
}

fn bit_of(key: &str) -> u64 {
    let byte = |byte: Option<&u8>| usize::from(byte.copied().unwrap_or_default());
    let (first, last) = (byte(key.as_bytes().first()), byte(key.as_bytes().last()));
    1 << ((key.len() + 5 * first + 11 * last) % 64)
}
