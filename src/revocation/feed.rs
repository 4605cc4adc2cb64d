//! The feed: `GET /auth/blacklist` (contract section 1).

use std::hash::{Hash as _, Hasher};

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{RevokedToken, Subject, token_digest};
use crate::claims::MAX_TIME;
use crate::introspection::{CalloutError, CalloutResponse};
use crate::json::{self, JsonError, Object};

/// The largest answer that is read, in bytes: about 100,000 tokens.
pub const MAX_FEED_BODY: usize = 8 * 1024 * 1024;

/// The longest cursor, in bytes.
pub const MAX_CURSOR: usize = 256;

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Where the next poll goes on from.
    pub cursor: String,
    /// Tokens that are revoked one by one.
    pub revoked: Vec<RevokedToken>,
    /// Users whose tokens are revoked that expire before a time, in seconds since the epoch.
    pub users: Vec<(i64, u64)>,
    /// Whose cached verdicts have to be forgotten.
    pub purge: Vec<Subject>,
    /// Entries that couldn't be understood: an error for the log. The others hold. Only the service knows what is
    /// meant, so the caller adds a purge of [`Subject::All`] for each that is new.
    pub unreadable: Vec<EntryDigest>,
}

/// Tells an unreadable entry from others: the beginning of a SHA-256 of its list's name and its value.
pub type EntryDigest = u64;

/// Why there are no changes to apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// 400: the service doesn't know the cursor, so that polling has to begin anew, without one.
    #[error("it refused the cursor")]
    BadCursor,
    /// There was no answer.
    #[error(transparent)]
    Callout(#[from] CalloutError),
    /// Any other status but 200.
    #[error("it answered with status {0}")]
    Status(u16),
    /// More than [`MAX_FEED_BODY`].
    #[error("its answer is larger than {MAX_FEED_BODY} bytes")]
    TooLarge,
    /// Not strict JSON, or something is missing or has the wrong type.
    #[error("its answer is unreadable: {0}")]
    Json(#[from] JsonError),
    /// A list under another name must not look like "nothing was revoked".
    #[error("its answer has none of the lists revoked, users and purge")]
    NoList,
    /// The cursor isn't 1 to [`MAX_CURSOR`] visible ASCII characters.
    #[error("its cursor is unreadable")]
    Cursor,
}

/// Reads an answer, of which the caller has read at most [`MAX_FEED_BODY`].
///
/// # Errors
/// [`FeedError`]; nothing of the answer holds then.
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

    let mut changes =
        Changes { cursor: body.cursor, revoked: Vec::new(), users: Vec::new(), purge: Vec::new(), unreadable: vec![] };
    for entry in body.revoked.unwrap_or_default() {
        match entry {
            Entry::Known(Object(token)) => changes.revoked.push(token.into()),
            Entry::Odd(value) => changes.unreadable.push(entry_digest("revoked", &value)),
        }
    }
    for entry in body.users.unwrap_or_default() {
        match entry {
            Entry::Known(Object(SignedOut { user_id, exp_before })) => changes.users.push((user_id, exp_before)),
            Entry::Odd(value) => changes.unreadable.push(entry_digest("users", &value)),
        }
    }
    for entry in body.purge.unwrap_or_default() {
        match entry {
            Entry::Known(Object(Purge(subjects))) => changes.purge.extend(subjects.into_iter().flatten()),
            Entry::Odd(value) => changes.unreadable.push(entry_digest("purge", &value)),
        }
    }
    Ok(changes)
}

fn entry_digest(list: &str, entry: &Value) -> EntryDigest {
    struct Sha(Sha256);

    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        fn finish(&self) -> u64 {
            self.0.clone().finalize().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
        }
    }

    let mut sha = Sha(Sha256::new());
    (list, entry).hash(&mut sha);
    sha.finish()
}

/// The path to ask: with the cursor, if there is one.
pub fn path(base: &str, since: Option<&str>) -> String {
    let mut path = base.to_owned();
    if let Some(since) = since {
        path.push(if base.contains('?') { '&' } else { '?' });
        path.push_str("since=");
        for byte in since.bytes() {
            // RFC 3986 section 2.3: these mean themselves.
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
    revoked: Option<Vec<Entry<Revoked>>>,
    #[serde(default, deserialize_with = "list")]
    users: Option<Vec<Entry<SignedOut>>>,
    #[serde(default, deserialize_with = "list")]
    purge: Option<Vec<Entry<Purge>>>,
}

/// A list that is there; null is an empty one.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    Option::deserialize(deserializer).map(|list| Some(list.unwrap_or_default()))
}

/// One entry that nobody understands must not keep the others from being revoked.
#[derive(Deserialize)]
#[serde(untagged, bound = "T: Deserialize<'de>")]
enum Entry<T> {
    Known(Object<T>),
    Odd(Value),
}

#[derive(Deserialize)]
struct Revoked {
    jti: String,
    #[serde(deserialize_with = "seconds")]
    exp: u64,
}

impl From<Revoked> for RevokedToken {
    fn from(revoked: Revoked) -> Self {
        Self { token: token_digest(&revoked.jti), exp: revoked.exp }
    }
}

#[derive(Deserialize)]
struct SignedOut {
    user_id: i64,
    #[serde(deserialize_with = "seconds")]
    exp_before: u64,
}

/// More than one may mean either or both: forgetting too much only costs questions.
#[derive(Deserialize)]
#[serde(try_from = "Ids")]
struct Purge([Option<Subject>; 3]);

#[derive(Deserialize)]
struct Ids {
    user_id: Option<i64>,
    client_id: Option<i64>,
    token_id: Option<i64>,
}

impl TryFrom<Ids> for Purge {
    type Error = &'static str;

    fn try_from(Ids { user_id, client_id, token_id }: Ids) -> Result<Self, Self::Error> {
        let subjects = [user_id.map(Subject::User), client_id.map(Subject::Client), token_id.map(Subject::Token)];
        if subjects.iter().all(Option::is_none) { Err("names nobody") } else { Ok(Self(subjects)) }
    }
}

/// Any number as seconds since the epoch, rounded up. None is too large to hold: a token with a later `exp` is refused
/// anyway, so that the first second after [`MAX_TIME`] stands for all the others.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    // The conversion saturates, so that what is negative becomes 0.
    let rounded = || number.as_f64().map_or(u64::MAX, |seconds| seconds.ceil() as u64);
    Ok(number.as_u64().unwrap_or_else(rounded).min(MAX_TIME + 1))
}

#[cfg(test)]
mod tests;
