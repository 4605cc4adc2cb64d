//! JSON, parsed strictly enough for signed claims.
//!
//! RFC 8259 leaves the meaning of a repeated key open, so two readers of one token may see two identities. The [`Reader`]
//! refuses repeated keys at every depth, compared after unescaping, and bounds depth and width.

mod reader;
mod unusual;
mod value;

pub use reader::Reader;
use reader::{Problem, WRONG_TYPE};
pub use value::{Number, Value};

/// How deep objects and arrays may be nested.
pub const MAX_DEPTH: usize = 8;
/// How many keys one object may have.
pub const MAX_KEYS: usize = 128;

/// Not JSON, or JSON that readers could interpret in different ways.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

/// Reads `json`, which has to be an object, with `read`.
///
/// # Errors
/// [`JsonError`], which quotes nothing from `json`: it may come from a token.
pub fn parse<T>(json: &[u8], read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Result<T, JsonError> {
    let masked;
    let text = if let Ok(text) = str::from_utf8(json) {
        text
    } else {
        masked = mask(json);
        &masked
    };
    let mut reader = Reader::new(text, json);
    match read(&mut reader) {
        Some(value) if reader.next().is_none() => Ok(value),
        _ => Err(refusal(reader)),
    }
}

/// The text with a backslash for each byte that isn't UTF-8.
#[cold]
fn mask(json: &[u8]) -> String {
    let mut text = String::with_capacity(json.len());
    for chunk in json.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\\'));
    }
    text
}

/// What is wrong with a text that wasn't read. That it isn't JSON, even further down, comes before a wrong type.
#[cold]
fn refusal(mut reader: Reader<'_>) -> JsonError {
    let json = reader.bytes;
    if let Err(error) = begins_an_object(json) {
        return error;
    }
    if reader.problem.is_none() {
        let _: Option<()> = reader.fail("trailing characters", reader.at + 1);
    }
    let Some(Problem { what, field, at }) = reader.problem else { return JsonError(String::new()) };
    if (field.is_some() || what == WRONG_TYPE)
        && let Err(error) = parse(json, |reader| reader.skip())
    {
        return error;
    }
    let before = json.get(..at).unwrap_or_default();
    let lines = before.iter().filter(|byte| **byte == b'\n').count();
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
    let what = field.map_or_else(|| what.to_owned(), |field| format!("{what} `{field}`"));
    JsonError(format!("{what} at line {} column {column}", lines + 1))
}

/// Refuses a text that can't be an object, and says what its beginning looks like.
fn begins_an_object(json: &[u8]) -> Result<(), JsonError> {
    let begin = match json.trim_ascii_start() {
        [b'{', ..] => return Ok(()),
        [] => return Err(JsonError("it is empty".to_owned())),
        [0x1f, 0x8b, ..] => return Err(JsonError("it is compressed (gzip)".to_owned())),
        [b'<', ..] => "`<`",
        [b'[', ..] => "`[`",
        [b'"', ..] => "a quotation mark",
        [byte, ..] if byte.is_ascii_alphanumeric() => "a letter or a digit",
        [byte, ..] if byte.is_ascii_graphic() => "a punctuation mark",
        _ => "a byte that isn't visible ASCII",
    };
    Err(JsonError(format!("it must be a JSON object; it begins with {begin}")))
}

/// `digits * 10^exponent`, exact if the power is at most 10^22.
#[expect(clippy::cast_precision_loss, reason = "a double is what was asked for")]
pub fn scaled(digits: u64, exponent: i32) -> f64 {
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

#[cfg(test)]
mod tests;
