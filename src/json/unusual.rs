//! What claims rarely hold: escapes, fractions, large numbers; and what is wrong with a text.

use super::Reader;
use super::value::Number;
use crate::ascii;

impl Reader<'_> {
    fn peek_byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Refuses the next byte, or the end of the text.
    #[cold]
    pub(super) fn unexpected<T>(&mut self, problem: &'static str) -> Option<T> {
        self.fail(if self.at < self.text.len() { problem } else { "it ends too early" })
    }

    /// Refuses the value after `before` bytes because it has another type, or because it is none.
    #[cold]
    pub(super) fn other_type<T>(&mut self, before: usize) -> Option<T> {
        self.at = before;
        self.skip_blanks();
        let begin = self.at;
        self.skip()?;
        self.at = begin;
        self.fail("a value has the wrong type")
    }

    #[cold]
    pub(super) fn unusual_integer(&mut self) -> Option<i64> {
        let begin = self.at;
        match self.number_of_type()? {
            Number::Integer(number) => Some(number),
            Number::Large(_) | Number::Fraction(_) => self.other_type(begin),
        }
    }

    #[cold]
    pub(super) fn unusual_time(&mut self) -> Option<u64> {
        let begin = self.at;
        match self.number_of_type()? {
            Number::Integer(time @ 0..) => Some(time.cast_unsigned()),
            Number::Large(time) => Some(time),
            Number::Integer(_) | Number::Fraction(_) => self.other_type(begin),
        }
    }

    fn number_of_type(&mut self) -> Option<Number> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.other_type(self.at),
        }
    }

    #[cold]
    pub(super) fn unusual_string(&mut self) -> Option<Box<str>> {
        if self.peek() == Some(b'"') { self.escaped() } else { self.other_type(self.at) }
    }

    #[cold]
    pub(super) fn unusual_key(&mut self) -> Option<Box<str>> {
        if self.peek() == Some(b'"') {
            self.escaped()
        } else {
            self.unexpected("expected a field's name in double quotes")
        }
    }

    /// A string of any form, at its quotation mark.
    fn escaped(&mut self) -> Option<Box<str>> {
        let mut text = String::new();
        self.at += 1;
        loop {
            let end = self.at + ascii::count_plain(self.rest());
            text.push_str(self.text.get(self.at..end).unwrap_or_default());
            self.at = end;
            match self.rest() {
                [b'"', ..] => {
                    self.at += 1;
                    return Some(text.into());
                }
                [b'\\', ..] => {
                    let Some((letter, length)) = escape(self.rest()) else {
                        return self.fail("this is not a JSON escape");
                    };
                    text.push(letter);
                    self.at += length;
                }
                _ => return self.unexpected("control characters in a string must be escaped, as in \\n"),
            }
        }
    }

    /// A number of any form.
    #[cold]
    pub fn number(&mut self) -> Option<Number> {
        let is_negative = match self.peek() {
            Some(b'-') => true,
            Some(b'0'..=b'9') => false,
            Some(b'\'') => return self.fail("strings must be in double quotes"),
            _ => return self.unexpected("expected {, [, a string in double quotes, a number, true, false or null"),
        };
        self.at += usize::from(is_negative);
        let (begin, has_leading_zero) = (self.at, self.peek_byte() == Some(b'0'));
        let (mut digits, mut exponent) = (0, 0);
        self.digits(&mut digits, &mut exponent, 0)?;
        if has_leading_zero && self.at > begin + 1 {
            self.at = begin;
            return self.fail("a number can't begin with 0");
        }
        if exponent == 0 && !matches!(self.peek_byte(), Some(b'.' | b'e' | b'E')) {
            return Some(whole(digits, is_negative));
        }
        if self.peek_byte() == Some(b'.') {
            self.at += 1;
            self.digits(&mut digits, &mut exponent, -1)?;
        }
        if let Some(b'e' | b'E') = self.peek_byte() {
            self.at += 1;
            exponent = exponent.saturating_add(self.exponent()?);
        }
        let number = scaled(digits, exponent);
        if number.is_infinite() {
            return self.fail("this number is too large");
        }
        Some(Number::Fraction(if is_negative { -number } else { number }))
    }

    /// Adds the digits that come next, at least one. `step` is what each adds to the exponent; a digit that no longer
    /// fits counts as 0.
    fn digits(&mut self, digits: &mut u64, exponent: &mut i32, step: i32) -> Option<()> {
        let (begin, mut is_full) = (self.at, false);
        while let Some(byte @ b'0'..=b'9') = self.peek_byte() {
            let more = digits.checked_mul(10).and_then(|digits| digits.checked_add(u64::from(byte - b'0')));
            match more.filter(|_| !is_full) {
                Some(more) => {
                    *digits = more;
                    *exponent = exponent.saturating_add(step);
                }
                None => {
                    is_full = true;
                    *exponent = exponent.saturating_add(step + 1);
                }
            }
            self.at += 1;
        }
        if self.at == begin { self.unexpected("a digit is missing") } else { Some(()) }
    }

    /// What comes after `e`. Beyond 32 bits, the number is 0 or too large all the same.
    fn exponent(&mut self) -> Option<i32> {
        let sign = self.peek_byte();
        self.at += usize::from(matches!(sign, Some(b'+' | b'-')));
        let mut digits = 0;
        self.digits(&mut digits, &mut 0, 0)?;
        let exponent = i32::try_from(digits).unwrap_or(i32::MAX);
        Some(if sign == Some(b'-') { -exponent } else { exponent })
    }
}

fn whole(digits: u64, is_negative: bool) -> Number {
    match (i64::try_from(digits), is_negative) {
        (Ok(0), true) => Number::Fraction(-0.0),
        (Ok(number), false) => Number::Integer(number),
        (Ok(number), true) => Number::Integer(-number),
        (Err(_), false) => Number::Large(digits),
        (Err(_), true) if digits == i64::MIN.unsigned_abs() => Number::Integer(i64::MIN),
        #[expect(clippy::cast_precision_loss, reason = "no integer of 64 bits")]
        (Err(_), true) => Number::Fraction(-(digits as f64)),
    }
}

/// The escape at the beginning of `text`: its letter, and its length in bytes.
fn escape(text: &[u8]) -> Option<(char, usize)> {
    let letter = match *text.get(1)? {
        byte @ (b'"' | b'\\' | b'/') => char::from(byte),
        b'b' => '\x08',
        b'f' => '\x0c',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        _ => return unicode(text),
    };
    Some((letter, 2))
}

/// `\uXXXX`, or two of them for a surrogate pair.
fn unicode(text: &[u8]) -> Option<(char, usize)> {
    fn unit(text: &[u8]) -> Option<u32> {
        let digits = text.strip_prefix(b"\\u")?.first_chunk::<4>()?;
        digits.iter().try_fold(0, |unit, byte| Some(unit << 4 | char::from(*byte).to_digit(16)?))
    }
    let high = unit(text)?;
    if let Some(letter) = char::from_u32(high) {
        return Some((letter, 6));
    }
    let low = unit(text.get(6..)?)?;
    if high >= 0xdc00 || !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    Some((char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?, 12))
}

/// `digits * 10^exponent`, correctly rounded if `digits` is below 2^53 and the power at most 10^22.
#[expect(clippy::cast_precision_loss, reason = "a double is what was asked for")]
fn scaled(digits: u64, exponent: i32) -> f64 {
    /// A double has no larger power of ten.
    const MOST: u32 = 308;
    if digits == 0 {
        return 0.0;
    }
    let most = exponent.unsigned_abs().min(2 * MOST);
    let (one, other) = (power(most.min(MOST)), power(most.saturating_sub(MOST)));
    if exponent < 0 { digits as f64 / one / other } else { digits as f64 * one * other }
}

fn power(exponent: u32) -> f64 {
    const POWERS: [f64; 9] = [1e1, 1e2, 1e4, 1e8, 1e16, 1e32, 1e64, 1e128, 1e256];
    let used = POWERS.iter().enumerate().filter(|(bit, _)| exponent >> bit & 1 == 1);
    used.fold(1.0, |power, (_, factor)| power * factor)
}
