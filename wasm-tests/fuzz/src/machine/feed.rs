//! The service's revocation list, and what the workers know of it.

use std::time::Duration;

use authgate::{Instant, UnixTime};
use serde_json::{Value, json};

use super::credentials::{self, Answer, Vouched};
use super::script::Reply;
use super::state::{Moment, has_passed};
use super::sweep::LEEWAY;

/// The content of an entry.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// A token by its `jti`, and its expiry.
    Token(String, u64),
    /// All tokens of a user that expire before a time.
    User(usize, u64),
    PurgeUser(usize),
    PurgeClient(usize),
    PurgeToken(usize),
    /// Unreadable: every verdict is voided, within about a minute.
    Odd,
}

impl Item {
    /// Whether the wall clock has passed the time from which it may be forgotten.
    const fn is_over(&self, wall: UnixTime) -> bool {
        match self {
            Self::Token(_, end) | Self::User(_, end) => wall.as_secs() >= *end + LEEWAY,
            _ => true,
        }
    }

    /// Whether it purges verdicts.
    const fn purges(&self) -> bool {
        !matches!(self, Self::Token(..))
    }

    /// Whether it purges such a verdict.
    fn ends(&self, user: usize, client: usize, token: Option<usize>) -> bool {
        match self {
            Self::Token(..) => false,
            Self::User(purged, _) | Self::PurgeUser(purged) => *purged == user,
            Self::PurgeClient(purged) => *purged == client,
            Self::PurgeToken(purged) => Some(*purged) == token,
            // These void all verdicts: see [`Feed::voided`].
            Self::Odd => false,
        }
    }
}

#[derive(Debug)]
struct Entry {
    item: Item,
    /// When the workers first got it, and when they last got it as news.
    told: Option<Moment>,
    told_again: Option<Moment>,
    /// Whether the workers must know what it revokes: they were told before it was over, and haven't forgotten it.
    is_known: bool,
}

/// The list.
#[derive(Debug, Default)]
pub(super) struct Feed {
    entries: Vec<Entry>,
    /// When unreadable entries first voided all verdicts, and when they may last have done so.
    voided: Option<(Moment, Moment)>,
}

impl Feed {
    pub(super) fn push(&mut self, item: Item) {
        self.entries.push(Entry { item, told: None, told_again: None, is_known: false });
    }

    /// How many entries there are.
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The answer to a poll for the entries after the first `since`, and whether it is readable.
    pub(super) fn answer(&self, reply: &Reply, since: Option<usize>) -> (Answer, bool) {
        let (mut revoked, mut users, mut purge): (Vec<Value>, Vec<Value>, Vec<Value>) = Default::default();
        for (number, Entry { item, .. }) in self.entries.iter().enumerate().skip(since.unwrap_or(0)) {
            match item {
                Item::Token(jti, exp) => revoked.push(json!({"jti": jti, "exp": exp})),
                Item::User(user, before) => users.push(json!({"user_id": user, "exp_before": before})),
                Item::PurgeUser(user) => purge.push(json!({"user_id": user})),
                Item::PurgeClient(client) => purge.push(json!({"client_id": client})),
                Item::PurgeToken(token) => purge.push(json!({"token_id": token})),
                Item::Odd => purge.push(json!({"session_id": number})),
            }
        }
        let cursor = format!("c{}", self.entries.len());
        let mut body = json!({"cursor": cursor, "revoked": revoked});
        // Empty lists may be absent.
        for (name, list) in [("users", users), ("purge", purge)] {
            if !list.is_empty() {
                body[name] = json!(list);
            }
        }
        let body = body.to_string();
        let is_readable = !self.is_odd(since, true);
        match reply {
            Reply::Good { .. } => (credentials::response(200, Vec::new(), body), is_readable),
            Reply::Status(status) => (credentials::response(*status, Vec::new(), body), *status == 200 && is_readable),
            Reply::Crossed => {
                // A list by another name is ignored.
                let body = json!({"cursor": cursor, "tokens": revoked}).to_string();
                (credentials::response(200, Vec::new(), body), false)
            }
            other => (credentials::fault(other), false),
        }
    }

    /// Whether the entries after the first `since` are unreadable: some of them, or `all`.
    fn is_odd(&self, since: Option<usize>, all: bool) -> bool {
        let mut told = self.entries.iter().skip(since.unwrap_or(0)).map(|entry| matches!(entry.item, Item::Odd));
        if all { told.len() > 0 && told.all(|is_odd| is_odd) } else { told.any(|is_odd| is_odd) }
    }

    /// A good answer with the entries after the first `since` is delivered: the workers have the whole list. `earlier`:
    /// the wall clock, when they asked or now. `life`: how long they certainly remember a purge.
    pub(super) fn told(&mut self, now: Moment, since: usize, earlier: UnixTime, life: Duration) {
        for (number, entry) in self.entries.iter_mut().enumerate() {
            entry.told.get_or_insert(now);
            if number >= since {
                entry.told_again = Some(now);
                entry.is_known |= !entry.item.is_over(earlier) || (entry.item.purges() && !life.is_zero());
            }
        }
    }

    /// A poll ends with the entries after the first `since`, or without news. Unreadable entries void all verdicts at
    /// once unless others did recently; otherwise they do at the end of a later poll.
    pub(super) fn poll_ends(&mut self, now: Moment, since: Option<usize>, is_heard: bool) {
        let is_odd = is_heard && self.is_odd(since, false);
        match &mut self.voided {
            Some((_, last)) => *last = now,
            none if is_odd => *none = Some((now, now)),
            _ => {}
        }
    }

    /// A worker may forget what is over by the wall clock, and purges that are as old as `life`.
    pub(super) fn sweep(&mut self, now: Instant, wall: UnixTime, life: Duration) {
        for entry in &mut self.entries {
            let is_fresh = |told: Moment| entry.item.purges() && !has_passed(now, life, told.at);
            entry.is_known &= !entry.item.is_over(wall) || entry.told_again.is_some_and(is_fresh);
        }
    }

    /// Whether this is revoked, as far as the workers know. `or_ever`: also by entries that may be forgotten.
    pub(super) fn is_revoked(&self, what: &Vouched, or_ever: bool) -> bool {
        self.entries.iter().any(|entry| {
            (entry.is_known || (or_ever && entry.told.is_some()))
                && match &entry.item {
                    Item::Token(jti, _) => what.jti.as_ref() == Some(jti),
                    Item::User(user, before) => *user == what.user && what.exp.is_some_and(|exp| exp < *before),
                    _ => false,
                }
        })
    }

    /// Whether the workers were told to purge any verdict.
    pub(super) fn has_purged(&self) -> bool {
        let purges = |entry: &Entry| entry.told.is_some() && entry.item.purges();
        self.voided.is_some() || self.entries.iter().any(purges)
    }

    /// When the workers were first told to purge such a verdict, for each entry.
    pub(super) fn purges(&self, user: usize, client: usize, token: Option<usize>) -> impl Iterator<Item = Moment> {
        let entries = self.entries.iter().filter(move |entry| entry.item.ends(user, client, token));
        entries.filter_map(|entry| entry.told).chain(self.voided.map(|(first, _)| first))
    }

    /// When they were last told to, or may have been.
    pub(super) fn purges_again(
        &self,
        user: usize,
        client: usize,
        token: Option<usize>,
    ) -> impl Iterator<Item = Moment> {
        let entries = self.entries.iter().filter(move |entry| entry.item.ends(user, client, token));
        entries.filter_map(|entry| entry.told_again).chain(self.voided.map(|(_, last)| last))
    }
}
