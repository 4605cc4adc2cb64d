//! Reads JSON in one pass, with the claims of a new JWT in mind: what is usual there is read by few instructions, and
//! the rest by functions apart ([`super::unusual`]).

use super::value::Number;
use super::{Fault, MAX_DEPTH, MAX_KEYS};
use crate::ascii;

/// How many digits a number may have to be read the short way: any number with so many digits fits in 63 bits.
const MAX_DIGITS: usize = 18;

/// How many keys of one object are held without memory on the heap.
const FEW_KEYS: usize = 32;

const TOO_MANY: &str = "more than 128 keys in one object";
const _: () = assert!(MAX_KEYS == 128, "as the message says");

/// A position in a JSON text. Each method moves past what it reads; after `None`, the text is refused, unless the
/// method says otherwise.
pub struct Reader<'j> {
    pub(super) text: &'j str,
    /// How many bytes come before what is read next; once the text is refused, before where the message points to.
    pub(super) at: usize,
    depth: usize,
    max_depth: usize,
    checks_keys: bool,
    /// What is wrong with the text, once it is refused.
    problem: &'static str,
}

impl<'j> Reader<'j> {
    /// For a text that has one meaning for every reader.
    pub(super) const fn strict(text: &'j str) -> Self {
        Self { text, at: 0, depth: 0, max_depth: MAX_DEPTH, checks_keys: true, problem: "it is not JSON" }
    }

    /// For a text in which an object may have any number of keys, and the caller judges those that are repeated.
    pub const fn lenient(text: &'j str, max_depth: usize) -> Self {
        Self { max_depth, checks_keys: false, ..Self::strict(text) }
    }

    /// Reads the whole text with `read`.
    ///
    /// # Errors
    /// The first fault of a text that `read` doesn't take, or that goes on after it.
    pub fn whole<T>(mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Result<T, Fault> {
        let problem = match read(&mut self) {
            Some(value) if self.peek().is_none() => return Ok(value),
            Some(_) => "it should end here",
            None => self.problem,
        };
        Err(Fault::new(problem, self.text.as_bytes(), self.at))
    }

    /// Refuses the text, for what is wrong at this position.
    #[cold]
    pub(super) fn fail<T>(&mut self, problem: &'static str) -> Option<T> {
        self.problem = problem;
        None
    }

    /// The value; if there is none, refuses the text because the object that has just been read lacks it.
    pub fn required<T>(&mut self, value: Option<T>, problem: &'static str) -> Option<T> {
        if value.is_none() { self.fail(problem) } else { value }
    }

    pub(super) fn rest(&self) -> &'j [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    pub(super) fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that isn't a blank. It isn't read yet, but blanks are.
    pub fn peek(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.text.as_bytes().get(self.at).copied()
    }

    /// What begins at the next byte that isn't a blank.
    fn trimmed(&mut self) -> &'j [u8] {
        self.skip_blanks();
        self.rest()
    }

    pub(super) fn takes(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let is_next = self.text.as_bytes().get(self.at) == Some(&byte);
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
        self.skip_blanks();
        self.text.as_bytes().get(self.at) == Some(&b'n') && self.takes_word(b"null")
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
            self.other_type(self.at)
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
        let is_negative = self.peek() == Some(b'-');
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
        let begin = self.at;
        match self.short_integer() {
            Some(time @ 0..) => Some(time.cast_unsigned()),
            Some(_) => self.other_type(begin),
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
            return self.other_type(self.at);
        }
        self.enter()?;
        if !self.takes(b']') {
            loop {
                element(self)?;
                if !self.takes(b',') {
                    if self.takes(b']') {
                        break;
                    }
                    return self.unexpected("a comma or ] is missing");
                }
            }
        }
        self.depth -= 1;
        Some(())
    }

    /// An object: `member` reads the value of each key.
    pub fn object(&mut self, member: &mut dyn FnMut(&mut Self, &str) -> Option<()>) -> Option<()> {
        if !self.takes(b'{') {
            return self.other_type(self.at);
        }
        self.enter()?;
        if !self.takes(b'}') {
            let mut keys = Keys::NONE;
            loop {
                let unescaped;
                let (key, plain) = match self.plain() {
                    Some(key) => (key, Some(key)),
                    None => {
                        unescaped = self.unusual_key()?;
                        (&*unescaped, None)
                    }
                };
                if self.checks_keys
                    && let Err(problem) = keys.add(key, plain)
                {
                    return self.fail(problem);
                }
                if !self.takes(b':') {
                    return self.unexpected("a colon is missing");
                }
                member(self, key)?;
                if !self.takes(b',') {
                    if self.takes(b'}') {
                        break;
                    }
                    return self.unexpected("a comma or } is missing");
                }
            }
        }
        self.depth -= 1;
        Some(())
    }

    fn enter(&mut self) -> Option<()> {
        if self.depth >= self.max_depth {
            return self.fail("this is nested too deep");
        }
        self.depth += 1;
        Some(())
    }

    /// Any value.
    pub fn skip(&mut self) -> Option<()> {
        match self.peek() {
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
    /// The first that isn't in the text as it is, or for which `keys` has no room; and all after it.
    more: Vec<Box<str>>,
    /// A bit for each key. Several keys may share a bit: only then are they compared.
    bits: u64,
}

impl<'j> Keys<'j> {
    const NONE: Self = Self { keys: [""; FEW_KEYS], count: 0, more: Vec::new(), bits: 0 };

    /// Refuses a key that is repeated, or one too many. `plain` is the key if it is in the text as it is.
    fn add(&mut self, key: &str, plain: Option<&'j str>) -> Result<(), &'static str> {
        let bit = bit_of(key);
        if self.bits & bit != 0 && self.has(key) {
            return Err("a key is given twice");
        }
        self.bits |= bit;
        match (plain, self.keys.get_mut(self.count)) {
            (Some(key), Some(place)) if self.more.is_empty() => {
                *place = key;
                self.count += 1;
                Ok(())
            }
            _ => self.add_more(key),
        }
    }

    #[cold]
    fn add_more(&mut self, key: &str) -> Result<(), &'static str> {
        if self.count + self.more.len() == MAX_KEYS {
            return Err(TOO_MANY);
        }
        self.more.push(key.into());
        Ok(())
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
