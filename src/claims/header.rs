//! Claims as the values of headers.

use std::borrow::Cow;

use super::values::Values;
use super::{ClaimPath, Claims, NotAHeaderValue};

impl Claims {
    /// The claim as a header carries it: integers in decimal, booleans as `true` and `false`, lists joined by
    /// commas. `Ok(None)`: the claim is absent or null.
    ///
    /// # Errors
    /// [`NotAHeaderValue`] if the claim holds a control character or outer blanks, or if a list's entry holds a comma.
    pub fn header_value(&self, path: ClaimPath) -> Result<Option<Cow<'_, str>>, NotAHeaderValue> {
        let value = match self.values(path) {
            Values::Absent => return Ok(None),
            Values::Text(text) => Cow::Borrowed(text),
            Values::Number(number) => Cow::Owned(number.to_string()),
            Values::Flag(flag) => Cow::Borrowed(if flag { "true" } else { "false" }),
            // A group named "a,admin" must not become two, and one named " admin" must not become "admin".
            Values::Texts(texts)
                if texts.iter().any(|text| text.contains(',') || text.trim_matches(' ') != &**text) =>
            {
                return Err(NotAHeaderValue(path));
            }
            Values::Texts(texts) => Cow::Owned(texts.join(",")),
            Values::Numbers(numbers) => Cow::Owned(numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(",")),
        };
        // Outer blanks aren't part of a header's value (RFC 9110 section 5.5), so the upstream would lose them.
        if value.bytes().any(|byte| byte.is_ascii_control()) || value.trim_matches(' ') != value {
            return Err(NotAHeaderValue(path));
        }
        Ok(Some(value))
    }
}
