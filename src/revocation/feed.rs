//! The feed: `GET /auth/blacklist` (docs/reference.md#revocation-feed).

use super::{RevokedToken, Subject, token_digest};
use crate::claims::MAX_TIME;
use crate::introspection::{CalloutError, CalloutResponse};
use crate::json::{self, JsonError, Number, Reader, Value};

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
    let body = json::parse(&answer.body.ok_or(FeedError::TooLarge)?, Body::read)?;
    let Body { mut changes, has_list, unreadable } = body;
    let cursor = &changes.cursor;
    if cursor.is_empty() || cursor.len() > MAX_CURSOR || !cursor.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(FeedError::Cursor);
    }
    if !has_list {
        return Err(FeedError::NoList);
    }
    changes.unreadable = unreadable
        .into_iter()
        .flatten()
        .reduce(|first, other| Unreadable { count: first.count + other.count, ..first });
    match changes {
        Changes { unreadable: Some(unreadable), revoked, users, purge, .. }
            if revoked.is_empty() && users.is_empty() && purge.is_empty() =>
        {
            Err(FeedError::Unreadable(unreadable))
        }
        changes => Ok(changes),
    }
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

#[derive(Default)]
struct Body {
    changes: Changes,
    has_list: bool,
    /// For each list, in the order in which messages name them.
    unreadable: [Option<Unreadable>; 3],
}

impl Body {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (mut body, mut cursor) = (Self::default(), None);
        reader.object(&mut |reader, name| {
            let Changes { revoked, users, purge, .. } = &mut body.changes;
            let [of_revoked, of_users, of_purge] = &mut body.unreadable;
            match name {
                "cursor" => {
                    cursor = Some(reader.string()?);
                    return Some(());
                }
                "revoked" => entries(reader, "revoked", of_revoked, &mut |entry| {
                    let token = token_digest(get(entry, "jti", Value::as_str)?);
                    revoked.push(RevokedToken { token, exp: get(entry, "exp", seconds)? });
                    Ok(())
                })?,
                "users" => entries(reader, "users", of_users, &mut |entry| {
                    users.push((get(entry, "user_id", Value::as_i64)?, get(entry, "exp_before", seconds)?));
                    Ok(())
                })?,
                "purge" => entries(reader, "purge", of_purge, &mut |entry| purged(entry, purge))?,
                _ => return reader.skip(),
            }
            body.has_list = true;
            Some(())
        })?;
        body.changes.cursor = reader.required(cursor, "missing field `cursor`")?.into();
        Some(body)
    }
}

/// Reads the entries of a list; null is an empty one. One unreadable entry must not keep the others from taking effect.
fn entries(
    reader: &mut Reader<'_>,
    list: &'static str,
    unreadable: &mut Option<Unreadable>,
    take: &mut dyn FnMut(&Value) -> Result<(), Oddity>,
) -> Option<()> {
    if reader.null() {
        return Some(());
    }
    let mut index = 0;
    reader.list(&mut |reader| {
        let entry = reader.value()?;
        let taken = if let Value::Object(_) = entry { take(&entry) } else { Err(Oddity::NoObject) };
        if let Err(oddity) = taken {
            unreadable.get_or_insert(Unreadable { count: 0, list, index, oddity }).count += 1;
        }
        index += 1;
        Some(())
    })
}

/// A field of an entry.
fn get<'v, T>(entry: &'v Value, name: &'static str, read: impl FnOnce(&'v Value) -> Option<T>) -> Result<T, Oddity> {
    read(entry.get(name).ok_or(Oddity::Missing(name))?).ok_or(Oddity::Type(name))
}

/// Null is an absent field. If there are several, it is unclear whether any or all must match. So each is purged: that
/// only costs questions.
fn purged(entry: &Value, purge: &mut Vec<Subject>) -> Result<(), Oddity> {
    let id = |name| match entry.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(id) => id.as_i64().map(Some).ok_or(Oddity::Type(name)),
    };
    let subjects =
        [id("user_id")?.map(Subject::User), id("client_id")?.map(Subject::Client), id("token_id")?.map(Subject::Token)];
    if subjects.iter().all(Option::is_none) {
        return Err(Oddity::NamesNobody);
    }
    purge.extend(subjects.into_iter().flatten());
    Ok(())
}

/// Any number as seconds since the epoch, rounded up. A number beyond [`MAX_TIME`] becomes the first second after it: a
/// token with a later `exp` is refused anyway.
fn seconds(number: &Value) -> Option<u64> {
    let Value::Number(number) = number else { return None };
    let seconds = match *number {
        Number::Integer(seconds) => u64::try_from(seconds).unwrap_or_default(),
        Number::Large(seconds) => seconds,
        // The conversion saturates, so a negative number becomes 0.
        Number::Fraction(seconds) => seconds.ceil() as u64,
    };
    Some(seconds.min(MAX_TIME + 1))
}

#[cfg(test)]
mod tests;
