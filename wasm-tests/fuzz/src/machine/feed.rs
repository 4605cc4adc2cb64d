//! The service's revocation list, and what the workers have been told of it.

use std::time::Duration;

use authgate::time::UnixTime;
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
    /// Nobody understands it: every verdict is to be forgotten.
    Odd,
}

#[derive(Debug)]
struct Entry {
    item: Item,
    told: Option<Moment>,
    /// Whether the wall clock has been beyond the time at which it could be forgotten.
    is_over: bool,
}

/// The list.
#[derive(Debug, Default)]
pub(super) struct Feed {
    entries: Vec<Entry>,
}

impl Feed {
    pub(super) fn push(&mut self, item: Item) {
        self.entries.push(Entry { item, told: None, is_over: false });
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
                // One that the last answer had as well would be no news.
                Item::Odd => purge.push(json!({"session_id": number})),
            }
        }
        let cursor = format!("c{}", self.entries.len());
        let body = json!({"cursor": cursor, "revoked": revoked, "users": users, "purge": purge}).to_string();
        match reply {
            Reply::Good { .. } => (credentials::response(200, Vec::new(), body), true),
            Reply::Status(status) => (credentials::response(*status, Vec::new(), body), *status == 200),
            Reply::Crossed => (credentials::response(200, Vec::new(), json!({"user_id": 1}).to_string()), false),
            other => (credentials::fault(other), false),
        }
    }

    /// A good answer is handed over: whatever its cursor, all of the list is known now.
    pub(super) fn told(&mut self, now: Moment) {
        for entry in &mut self.entries {
            entry.told.get_or_insert(now);
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
        self.entries.iter().any(|entry| entry.told.is_some() && !matches!(entry.item, Item::Token(..)))
    }

    /// When the workers were told to forget such a verdict.
    pub(super) fn purges(&self, user: usize, client: usize, token: Option<usize>) -> impl Iterator<Item = Moment> {
        self.entries.iter().filter_map(move |entry| {
            let is_meant = match &entry.item {
                Item::Token(..) => false,
                Item::User(purged, _) | Item::PurgeUser(purged) => *purged == user,
                Item::PurgeClient(purged) => *purged == client,
                Item::PurgeToken(purged) => Some(*purged) == token,
                Item::Odd => true,
            };
            entry.told.filter(|_| is_meant)
        })
    }
}
