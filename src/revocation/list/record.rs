//! What is on the list: tokens, and marks on users, clients and API tokens.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::config::MAX_CLOCK_SKEW;
use crate::host::Cx;
use crate::table::{Bytes, Record, write_time, write_u64};
use crate::time::{Instant, UnixTime};

/// The first half of a `jti`'s SHA-256: a `jti` may be of any length.
pub type TokenDigest = [u8; 16];

/// The digest that stands for a `jti` in the list.
pub fn token_digest(jti: &str) -> TokenDigest {
    Sha256::digest(jti.as_bytes()).first_chunk().copied().unwrap_or_default()
}

/// A token that was revoked by its `jti`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokedToken {
    /// Its `jti`.
    pub token: TokenDigest,
    /// When it expires, in seconds since the epoch.
    pub exp: u64,
}

/// Whose cached verdicts a purge is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Everybody's.
    All,
    /// Those on a user.
    User(i64),
    /// Those on a client's users.
    Client(i64),
    /// Those on an API token.
    Token(i64),
}

impl Subject {
    fn encode(self) -> (u8, i64) {
        match self {
            Self::All => (0, 0),
            Self::User(id) => (1, id),
            Self::Client(id) => (2, id),
            Self::Token(id) => (3, id),
        }
    }

    fn decode(kind: u8, id: i64) -> Option<Self> {
        match kind {
            0 => Some(Self::All),
            1 => Some(Self::User(id)),
            2 => Some(Self::Client(id)),
            3 => Some(Self::Token(id)),
            _ => None,
        }
    }

    pub(super) fn name(self) -> [u8; 9] {
        let (kind, id) = self.encode();
        let [a, b, c, d, e, f, g, h] = id.to_le_bytes();
        [kind, a, b, c, d, e, f, g, h]
    }
}

/// What is known about a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) subject: Subject,
    /// Tokens that expire before this are revoked, in seconds since the epoch; 0 revokes none.
    pub(super) exp_before: u64,
    /// Verdicts up to this time have to be forgotten.
    pub(super) purged_at: Instant,
}

impl Record for RevokedToken {
    const BYTES: usize = 24;

    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.token);
        write_u64(to, self.exp);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        Some(Self { token: reader.bytes()?, exp: reader.u64()? })
    }
}

impl Record for Mark {
    const BYTES: usize = 25;

    fn encode(&self, to: &mut Vec<u8>) {
        let (kind, id) = self.subject.encode();
        to.push(kind);
        write_u64(to, id.cast_unsigned());
        write_u64(to, self.exp_before);
        write_time(to, self.purged_at);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        let [kind] = reader.bytes()?;
        let subject = Subject::decode(kind, reader.u64()?.cast_signed())?;
        Some(Self { subject, exp_before: reader.u64()?, purged_at: reader.time()? })
    }
}

/// A record about one subject. Two records about the same subject merge.
pub(super) trait Listed: Record + Copy + PartialEq {
    type Key: Ord;

    fn key(&self) -> Self::Key;

    /// A record that says what both say.
    #[must_use]
    fn merge(self, other: Self) -> Self;

    /// When it may be dropped, by the wall clock.
    fn end(&self, life: Duration, cx: &Cx<'_>) -> UnixTime;
}

impl Listed for RevokedToken {
    type Key = TokenDigest;

    fn key(&self) -> TokenDigest {
        self.token
    }

    fn merge(self, other: Self) -> Self {
        Self { exp: self.exp.max(other.exp), ..self }
    }

    fn end(&self, _: Duration, _: &Cx<'_>) -> UnixTime {
        UnixTime::from_secs(self.exp).after(MAX_CLOCK_SKEW)
    }
}

impl Listed for Mark {
    type Key = Subject;

    fn key(&self) -> Subject {
        self.subject
    }

    fn merge(self, other: Self) -> Self {
        Self {
            exp_before: self.exp_before.max(other.exp_before),
            purged_at: self.purged_at.max(other.purged_at),
            ..self
        }
    }

    fn end(&self, life: Duration, cx: &Cx<'_>) -> UnixTime {
        let signed_out = match self.exp_before {
            0 => UnixTime::default(),
            exp_before => UnixTime::from_secs(exp_before).after(MAX_CLOCK_SKEW),
        };
        // The purge may be later than `now`: this worker may have stood still since it read the clock.
        signed_out.max(cx.wall.after(self.purged_at.after(life).since(cx.now)))
    }
}
