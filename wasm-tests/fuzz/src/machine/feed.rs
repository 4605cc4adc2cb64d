//! The service's revocation list, and what the workers have been told of it.

use std::time::Duration;

use authgate::UnixTime;
use serde_json::{Value, json};

use super::credentials::{self, Answer, Vouched};
use super::script::Reply;
use super::state::Moment;

/// How long after its expiry a token may have to be refused for being revoked.
const LEEWAY: u64 = 300;

/// What the list says.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// A token, and its expiry.
    Token(String, u64),
    /// All tokens of a user that expire before a time.
    User(usize, u64),
    PurgeUser(usize),
    PurgeClient(usize),
    PurgeToken(usize),
    /// Nobody can read it: every verdict is to be forgotten, within a minute or so.
    Odd,
}

impl Item {
    /// Whether such a verdict is to be forgotten.
    fn ends(&self, user: usize, client: usize, token: Option<usize>) -> bool {
        match self {
            Self::Token(..) => false,
            Self::User(purged, _) | Self::PurgeUser(purged) => *purged == user,
            Self::PurgeClient(purged) => *purged == client,
            Self::PurgeToken(purged) => Some(*purged) == token,
            // Those void verdicts together: see [`Feed::voided`].
            Self::Odd => false,
        }
    }
}

#[derive(Debug)]
struct Entry {
    item: Item,
    /// When the workers were told first, and when last as news.
    told: Option<Moment>,
    told_again: Option<Moment>,
    /// Whether the wall clock has been beyond the time at which it could be forgotten.
    is_over: bool,
}

/// The list.
#[derive(Debug, Default)]
pub(super) struct Feed {
    entries: Vec<Entry>,
    /// When unreadable entries voided all verdicts for the first time, and when they may have done so for the last.
    voided: Option<(Moment, Moment)>,
}

impl Feed {
    pub(super) fn push(&mut self, item: Item) {
        self.entries.push(Entry { item, told: None, told_again: None, is_over: false });
    }

    /// The answer to a question for what came after the first `since` entries, and whether it is one.
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
        // Lists that are empty needn't be there.
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
                // A list by another name is none.
                let body = json!({"cursor": cursor, "tokens": revoked}).to_string();
                (credentials::response(200, Vec::new(), body), false)
            }
            other => (credentials::fault(other), false),
        }
    }

    /// Whether what came after the first `since` entries can't be read: some of it, or `all`.
    fn is_odd(&self, since: Option<usize>, all: bool) -> bool {
        let mut told = self.entries.iter().skip(since.unwrap_or(0)).map(|entry| matches!(entry.item, Item::Odd));
        if all { told.len() > 0 && told.all(|is_odd| is_odd) } else { told.any(|is_odd| is_odd) }
    }

    /// A good answer is handed over, which holds what came after the first `since` entries: all of the list is known.
    pub(super) fn told(&mut self, now: Moment, since: usize) {
        for (number, entry) in self.entries.iter_mut().enumerate() {
            entry.told.get_or_insert(now);
            if number >= since {
                entry.told_again = Some(now);
            }
        }
    }

    /// A poll ends with what came after the first `since` entries, or with nothing that is news. Unreadable ones void
    /// all verdicts at once where none did lately, or else at the end of a later poll.
    pub(super) fn poll_ends(&mut self, now: Moment, since: Option<usize>, is_heard: bool) {
        let is_odd = is_heard && self.is_odd(since, false);
        match &mut self.voided {
            Some((_, last)) => *last = now,
            none if is_odd => *none = Some((now, now)),
            _ => {}
        }
    }

    /// The wall clock shows this.
    pub(super) fn pass(&mut self, now: UnixTime, longest_life: Duration) {
        for entry in &mut self.entries {
            entry.is_over |= match entry.item {
                Item::Token(_, exp) => now.as_secs() >= exp + LEEWAY,
                Item::User(_, before) => {
                    let purge = entry.told.is_some_and(|told| now >= told.wall.after(longest_life));
                    now.as_secs() >= before + LEEWAY && purge
                }
                _ => false,
            };
        }
    }

    /// Whether this was revoked, as far as the workers were told. `or_ever`: whether it may be refused for it.
    pub(super) fn is_revoked(&self, what: &Vouched, or_ever: bool) -> bool {
        self.entries.iter().any(|entry| {
            let holds = entry.told.is_some() && (or_ever || !entry.is_over);
            holds
                && match &entry.item {
                    Item::Token(jti, _) => what.jti.as_ref() == Some(jti),
                    Item::User(user, before) => *user == what.user && what.exp.is_some_and(|exp| exp < *before),
                    _ => false,
                }
        })
    }

    /// Whether the workers were told to forget any.
    pub(super) fn has_purged(&self) -> bool {
        let purges = |entry: &Entry| entry.told.is_some() && !matches!(entry.item, Item::Token(..));
        self.voided.is_some() || self.entries.iter().any(purges)
    }

    /// When the workers were told to forget such a verdict, each time for the first time.
    pub(super) fn purges(&self, user: usize, client: usize, token: Option<usize>) -> impl Iterator<Item = Moment> {
        let entries = self.entries.iter().filter(move |entry| entry.item.ends(user, client, token));
        entries.filter_map(|entry| entry.told).chain(self.voided.map(|(first, _)| first))
    }

    /// When they were told for the last time, or may have been.
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
