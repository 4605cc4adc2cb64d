//! JSON, parsed strictly enough for signed claims.
//!
//! RFC 8259 leaves the meaning of a repeated key open, so two readers of one token may see two identities. [`parse`]
//! refuses repeated keys at every depth, compared after unescaping, and bounds depth and width. The configuration is
//! read by the same [`Reader`], but its repeated keys are refused later, each with its path.

mod reader;
mod unusual;
mod value;

pub use reader::Reader;
pub use value::{Number, Value};

/// How deep objects and arrays may be nested.
pub const MAX_DEPTH: usize = 8;
/// How many keys one object may have.
pub const MAX_KEYS: usize = 128;

/// Not JSON, or JSON that readers could interpret in different ways.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

/// The first thing that is wrong with a text. It quotes nothing from the text.
pub struct Fault {
    /// What is wrong.
    pub problem: &'static str,
    /// Where it is, counted from 1.
    pub line: usize,
    /// Where it is in that line, in characters, counted from 1.
    pub column: usize,
}

impl Fault {
    /// What is wrong after `at` bytes.
    #[cold]
    fn new(problem: &'static str, text: &[u8], at: usize) -> Self {
        let before = text.get(..at).unwrap_or_default();
        let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let is_first_of_letter = |byte: &&u8| **byte & 0xc0 != 0x80;
        Self {
            problem,
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: before.iter().skip(begin).filter(is_first_of_letter).count() + 1,
        }
    }
}

/// Reads `json`, which has to be an object, with `read`.
///
/// # Errors
/// [`JsonError`], which quotes nothing from `json`: it may come from a token.
pub fn parse<T>(json: &[u8], read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Result<T, JsonError> {
    begins_an_object(json)?;
    match str::from_utf8(json) {
        Ok(text) => Reader::strict(text).whole(read).map_err(|fault| at_fault(&fault)),
        Err(error) => Err(at_fault(&Fault::new("it isn't UTF-8", json, error.valid_up_to()))),
    }
}

#[cold]
fn at_fault(Fault { problem, line, column }: &Fault) -> JsonError {
    JsonError(format!("{problem} at line {line}, column {column}"))
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

#[cfg(test)]
mod tests;
