//! The feed: `GET /auth/blacklist` (docs/reference.md#revocation-feed).

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{RevokedToken, Subject, token_digest};
use crate::claims::MAX_TIME;
use crate::introspection::{CalloutError, CalloutResponse};
use crate::json::{self, JsonError};

/// The largest answer that is read, in bytes: about 100,000 tokens.
pub const MAX_FEED_BODY: usize = 8 * 1024 * 1024;

/// The longest cursor, in bytes.
pub const MAX_CURSOR: usize = 256;

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Where the next poll continues from.
    pub cursor: String,
    /// Tokens that are revoked by their `jti`.
    pub revoked: Vec<RevokedToken>,
    /// Users, each with a time, in seconds since the epoch: the user's tokens that expire earlier are revoked.
    pub users: Vec<(i64, u64)>,
    /// Whose cached verdicts have to be forgotten.
    pub purge: Vec<Subject>,
    /// The entries that couldn't be read, if there are any. The others take effect.
    pub unreadable: Option<Unreadable>,
}

/// Entries that couldn't be read. Only the service knows whom they concern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the first of {count} unreadable entries is {list}[{index}]: {oddity}")]
pub struct Unreadable {
    /// How many there are.
    pub count: usize,
    /// The list that contains the first one.
    pub list: &'static str,
    /// Its index there, counted from 0.
    pub index: usize,
    /// What is wrong with it.
    pub oddity: Oddity,
}

/// What is wrong with an entry. It quotes nothing from the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Oddity {
    /// It is a string, a number or another value.
    #[error("not an object")]
    NoObject,
    /// A field is absent.
    #[error("missing field `{0}`")]
    Missing(&'static str),
    /// A field has another type than it should.
    #[error("field `{0}` has the wrong type")]
    Type(&'static str),
    /// A purge has none of its fields.
    #[error("it names none of `user_id`, `client_id` and `token_id`")]
    NamesNobody,
}

/// Why there are no changes to apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// 400: the service doesn't know the cursor, so polling has to begin again without one.
    #[error("it refused the cursor")]
    BadCursor,
    /// There was no answer.
    #[error(transparent)]
    Callout(#[from] CalloutError),
    /// Any other status except 200.
    #[error("it answered with status {0}")]
    Status(u16),
    /// More than [`MAX_FEED_BODY`].
    #[error("its answer is larger than {MAX_FEED_BODY} bytes")]
    TooLarge,
    /// Not strict JSON, or something is missing or has the wrong type.
    #[error("its answer is unreadable: {0}")]
    Json(#[from] JsonError),
    /// There is no list. One under another name must not look like "nothing was revoked".
    #[error("its answer has none of the lists revoked, users and purge")]
    NoList,
    /// No entry can be read: that must not look like "nothing was revoked" either.
    #[error("none of its entries can be read: {0}")]
    Unreadable(Unreadable),
    /// The cursor isn't 1 to [`MAX_CURSOR`] visible ASCII characters.
    #[error("its cursor is unreadable")]
    Cursor,
}

/// Reads an answer, of which the caller has read at most [`MAX_FEED_BODY`].
///
/// # Errors
/// [`FeedError`]; then no part of the answer takes effect.
pub fn read(answer: Result<CalloutResponse, CalloutError>) -> Result<Changes, FeedError> {
    let answer = answer?;
    match answer.status {
        200 => {}
        400 => return Err(FeedError::BadCursor),
        status => return Err(FeedError::Status(status)),
    }
    let body: Body = json::parse(&answer.body.ok_or(FeedError::TooLarge)?)?;
    if body.cursor.is_empty() || body.cursor.len() > MAX_CURSOR || !body.cursor.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(FeedError::Cursor);
    }

    if body.revoked.is_none() && body.users.is_none() && body.purge.is_none() {
        return Err(FeedError::NoList);
    }

    let mut changes = Changes { cursor: body.cursor, ..Changes::default() };
    changes.revoked = readable("revoked", body.revoked, &mut changes.unreadable);
    changes.users = readable("users", body.users, &mut changes.unreadable);
    let purges: Vec<Purge> = readable("purge", body.purge, &mut changes.unreadable);
    changes.purge.extend(purges.into_iter().flat_map(|Purge(subjects)| subjects).flatten());
    match changes {
        Changes { unreadable: Some(unreadable), revoked, users, purge, .. }
            if revoked.is_empty() && users.is_empty() && purge.is_empty() =>
        {
            Err(FeedError::Unreadable(unreadable))
        }
        changes => Ok(changes),
    }
}

/// The entries of a list that can be read. The others are counted.
fn readable<T>(list: &'static str, items: Option<Vec<Item<T>>>, unreadable: &mut Option<Unreadable>) -> Vec<T> {
    let items = items.unwrap_or_default().into_iter().enumerate();
    let known = items.filter_map(|(index, item)| match item {
        Item(Ok(known)) => Some(known),
        Item(Err(oddity)) => {
            unreadable.get_or_insert(Unreadable { count: 0, list, index, oddity }).count += 1;
            None
        }
    });
    known.collect()
}

/// The path to ask: with the cursor, if there is one.
pub fn path(base: &str, since: Option<&str>) -> String {
    let mut path = base.to_owned();
    if let Some(since) = since {
        path.push(if base.contains('?') { '&' } else { '?' });
        path.push_str("since=");
        for byte in since.bytes() {
            // RFC 3986 section 2.3: these need no escapes.
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                path.push(char::from(byte));
            } else {
                path.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    path
}

#[derive(Deserialize)]
struct Body {
    cursor: String,
    #[serde(default, deserialize_with = "list")]
    revoked: Option<Vec<Item<RevokedToken>>>,
    #[serde(default, deserialize_with = "list")]
    users: Option<Vec<Item<SignedOut>>>,
    #[serde(default, deserialize_with = "list")]
    purge: Option<Vec<Item<Purge>>>,
}

/// A list that is present; null is an empty one.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    Option::deserialize(deserializer).map(|list| Some(list.unwrap_or_default()))
}

/// One unreadable entry must not keep the others from taking effect.
struct Item<T>(Result<T, Oddity>);

impl<'de, T: FromFields> Deserialize<'de> for Item<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let item = Value::deserialize(deserializer)?;
        Ok(Self(item.as_object().ok_or(Oddity::NoObject).and_then(|item| T::from_fields(&Fields(item)))))
    }
}

trait FromFields: Sized {
    fn from_fields(fields: &Fields<'_>) -> Result<Self, Oddity>;
}

/// The fields of an entry.
struct Fields<'e>(&'e serde_json::Map<String, Value>);

impl Fields<'_> {
    fn get<'v, T>(&'v self, name: &'static str, read: impl FnOnce(&'v Value) -> Option<T>) -> Result<T, Oddity> {
        read(self.0.get(name).ok_or(Oddity::Missing(name))?).ok_or(Oddity::Type(name))
    }

    /// Null is an absent field.
    fn optional_id(&self, name: &'static str) -> Result<Option<i64>, Oddity> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(id) => id.as_i64().map(Some).ok_or(Oddity::Type(name)),
        }
    }
}

impl FromFields for RevokedToken {
    fn from_fields(fields: &Fields<'_>) -> Result<Self, Oddity> {
        let token = token_digest(fields.get("jti", Value::as_str)?);
        Ok(Self { token, exp: fields.get("exp", seconds)? })
    }
}

/// A user, and a time: the user's tokens that expire earlier are revoked.
type SignedOut = (i64, u64);

impl FromFields for SignedOut {
    fn from_fields(fields: &Fields<'_>) -> Result<Self, Oddity> {
        Ok((fields.get("user_id", Value::as_i64)?, fields.get("exp_before", seconds)?))
    }
}

/// If there are several, it is unclear whether any or all must match. So each is purged: that only costs questions.
struct Purge([Option<Subject>; 3]);

impl FromFields for Purge {
    fn from_fields(fields: &Fields<'_>) -> Result<Self, Oddity> {
        let subjects = [
            fields.optional_id("user_id")?.map(Subject::User),
            fields.optional_id("client_id")?.map(Subject::Client),
            fields.optional_id("token_id")?.map(Subject::Token),
        ];
        if subjects.iter().all(Option::is_none) { Err(Oddity::NamesNobody) } else { Ok(Self(subjects)) }
    }
}

/// Any number as seconds since the epoch, rounded up. A number beyond [`MAX_TIME`] becomes the first second after it: a
/// token with a later `exp` is refused anyway.
fn seconds(number: &Value) -> Option<u64> {
    let Value::Number(number) = number else { return None };
    // The conversion saturates, so a negative number becomes 0.
    let rounded = || number.as_f64().map_or(u64::MAX, |seconds| seconds.ceil() as u64);
    Some(number.as_u64().unwrap_or_else(rounded).min(MAX_TIME + 1))
}

#[cfg(test)]
mod tests;
