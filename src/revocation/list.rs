//! The revocation list: which tokens are revoked, and which cached verdicts have to be forgotten.
//!
//! All of it is in shared data, so that what one worker applies takes effect in all of them at once. The list only
//! grows: what the [feed](super::feed) said stays as long as it matters, even if later answers leave it out.

mod record;

use std::cell::Cell;
use std::time::Duration;

use super::feed::Changes;
use crate::claims::Claims;
use crate::host::{Cx, SharedData, Write};
use crate::order;
use crate::table::{Busy, Table};
use crate::time::Instant;
use record::{Listed, Mark};
pub use record::{RevokedToken, Subject, token_digest};

/// The most records in one row. If there are more, those that expire first are dropped.
pub const MAX_ROW: usize = 512;

const TOKEN_ROWS: u32 = 1024;
const MARK_ROWS: u32 = 256;

/// What [`List::apply`] has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Tokens that are revoked by their `jti` now, and weren't before.
    pub revoked: usize,
    /// Users with more tokens revoked than before.
    pub users: usize,
    /// Subjects whose cached verdicts have to be forgotten, signed-out users among them.
    pub purged: usize,
    /// Records that no longer fitted in their row, so that tokens may be accepted again: an error for the log.
    pub dropped: usize,
}

/// A version of the list: each change that adds something makes a new one, in whichever worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(u32);

/// The list, as one worker sees it: it holds nothing itself.
#[derive(Debug)]
pub struct List {
    tokens: Table<RevokedToken>,
    marks: Table<Mark>,
    /// The one row of [`Subject::All`], which nothing can displace.
    all: Table<Mark>,
    /// A key whose version counts the changes.
    version: String,
}

impl List {
    /// The list under keys that begin with `prefix`.
    pub fn new(prefix: &str) -> Self {
        Self {
            tokens: Table::new(format!("{prefix}revoked."), TOKEN_ROWS),
            marks: Table::new(format!("{prefix}mark."), MARK_ROWS),
            all: Table::new(format!("{prefix}mark.all."), 1),
            version: format!("{prefix}version"),
        }
    }

    /// Adds what the feed says, for all workers. Each row is written once, and only if it changes. What has expired
    /// stays until a sweep, in case the wall clock is fast. `life` is the longest time for which any filter may use a
    /// cached verdict.
    ///
    /// # Errors
    /// [`Busy`] if some row couldn't be written; the others were. The poll then fails, so that the next one brings the
    /// changes again.
    pub fn apply(&self, changes: &Changes, life: Duration, cx: &Cx<'_>) -> Result<Applied, Busy> {
        let tokens = changes.revoked.iter().map(|token| (self.tokens.row(&token.token, cx.shared), *token)).collect();
        let purge = |subject| Mark { subject, exp_before: 0, purged_at: cx.now };
        let users = changes.users.iter().map(|&(id, exp_before)| Mark { exp_before, ..purge(Subject::User(id)) });
        let marks = users.chain(changes.purge.iter().copied().map(purge));
        let (mut all, marks): (Vec<_>, Vec<_>) = marks.partition(|mark| mark.subject == Subject::All);
        let marks = marks.into_iter().map(|mark| (self.marks.row(&mark.subject.name(), cx.shared), mark)).collect();

        let mut applied = Applied::default();
        let has_changed = Cell::new(false);
        let tokens = add(&self.tokens, tokens, life, cx, |before, _| {
            has_changed.set(true);
            applied.revoked += usize::from(before.is_none());
        });
        let mut count_mark = |before: Option<&Mark>, after: &Mark| {
            has_changed.set(true);
            applied.users += usize::from(before.map_or(0, |before| before.exp_before) < after.exp_before);
            applied.purged += usize::from(before.is_none_or(|before| before.purged_at < after.purged_at));
        };
        let marks = add(&self.marks, marks, life, cx, &mut count_mark);
        if marks.is_ok_and(|dropped| dropped > 0) {
            // It is no longer known whose verdicts the dropped records were about.
            all.push(purge(Subject::All));
        }
        let all = all.into_iter().map(|mark| (0, mark)).collect();
        let all = add(&self.all, all, life, cx, &mut count_mark);
        if has_changed.get() {
            self.change_version(cx.shared);
        }
        applied.dropped = tokens? + marks? + all?;
        Ok(applied)
    }

    /// The version of the list.
    pub fn version(&self, shared: &dyn SharedData) -> Version {
        Version(shared.version(&self.version))
    }

    /// To be called after every change that adds something. The host counts the versions of all keys together: a
    /// version recurs after 2^32 writes, when no worker has it any more.
    fn change_version(&self, shared: &dyn SharedData) {
        let written = shared.set_shared_data(&self.version, &[], Write::Always);
        debug_assert_eq!(written, Ok(()), "an unconditional write has nothing to conflict with");
    }

    /// Whether the token is revoked: by its `jti`, or with all tokens of its user that expire before a time.
    ///
    /// This doesn't read the clock: what is on the list holds until it is swept, so that a clock that is fast for a
    /// moment doesn't make a token valid again.
    pub fn is_revoked(&self, claims: &Claims, shared: &dyn SharedData) -> bool {
        let by_jti = claims.jti().is_some_and(|jti| {
            let digest = token_digest(jti);
            self.tokens.read(self.tokens.row(&digest, shared), shared).iter().any(|revoked| revoked.token == digest)
        });
        by_jti
            || claims.exp().is_some_and(|exp| {
                self.mark(Subject::User(claims.user_id()), shared).is_some_and(|mark| exp < mark.exp_before)
            })
    }

    /// Whether a verdict has to be forgotten: its user, client or API token was purged, or its user signed out, at
    /// `verified` or later. `verified` is when the service was **asked**: it may have answered before the purge.
    pub fn is_purged(&self, claims: &Claims, verified: Instant, shared: &dyn SharedData) -> bool {
        let subjects = [Subject::All, Subject::User(claims.user_id()), Subject::Client(claims.client_id())];
        let subjects = subjects.into_iter().chain(claims.token_id().map(Subject::Token));
        subjects.filter_map(|subject| self.mark(subject, shared)).any(|mark| verified <= mark.purged_at)
    }

    /// How many tokens are revoked by their `jti`, and users signed out. Reads every row, so call it only after a poll
    /// or a sweep.
    pub fn size(&self, shared: &dyn SharedData) -> usize {
        let tokens = (0..TOKEN_ROWS).map(|row| self.tokens.read(row, shared).len());
        let users =
            (0..MARK_ROWS).map(|row| self.marks.read(row, shared).iter().filter(|mark| mark.exp_before > 0).count());
        tokens.chain(users).sum()
    }

    /// How many rows there are to sweep.
    pub const fn rows(&self) -> u32 {
        TOKEN_ROWS
    }

    /// Drops what has expired from a row, below [`Self::rows`], with a `life` as in [`Self::apply`]. A row that is too
    /// busy is left for the next time.
    pub fn sweep_row(&self, row: u32, life: Duration, cx: &Cx<'_>) {
        sweep(&self.tokens, row, life, cx);
        sweep(&self.marks, row, life, cx);
    }

    fn mark(&self, subject: Subject, shared: &dyn SharedData) -> Option<Mark> {
        let (table, row) = match subject {
            Subject::All => (&self.all, 0),
            subject => (&self.marks, self.marks.row(&subject.name(), shared)),
        };
        table.read(row, shared).into_iter().find(|mark| mark.subject == subject)
    }
}

fn sweep<E: Listed>(table: &Table<E>, row: u32, life: Duration, cx: &Cx<'_>) {
    if row < table.rows() {
        let swept = table.update(row, cx.shared, |records| {
            let before = records.len();
            records.retain(|record| cx.wall < record.end(life, cx));
            (records.len() < before, ())
        });
        if swept.is_err() {
            log::debug!("a row of the revocation list is busy");
        }
    }
}

/// Adds entries, each with its row. For each that changed, calls `count` with the record before and after. Returns how
/// many no longer fitted.
fn add<E: Listed>(
    table: &Table<E>,
    mut entries: Vec<(u32, E)>,
    life: Duration,
    cx: &Cx<'_>,
    mut count: impl FnMut(Option<&E>, &E),
) -> Result<usize, Busy> {
    order::sort_by_key(&mut entries, |(row, _)| *row);
    let (mut dropped, mut busy) = (0, false);
    for group in entries.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((row, _)) = group.first() else { continue };
        let outcome = table.update(*row, cx.shared, |records| {
            let before = sorted(records.iter().copied());
            let new = group.iter().map(|(_, entry)| *entry);
            let after = sorted(before.iter().copied().chain(new));
            let (kept, dropped) = fit(after, life, cx);
            *records = kept;
            (*records != before, (before, records.clone(), dropped))
        });
        match outcome {
            Ok((before, after, more)) => {
                dropped += more;
                for entry in &after {
                    let known = before.binary_search_by_key(&entry.key(), E::key).ok();
                    let known = known.and_then(|index| before.get(index));
                    if known != Some(entry) {
                        count(known, entry);
                    }
                }
            }
            Err(Busy) => busy = true,
        }
    }
    if busy { Err(Busy) } else { Ok(dropped) }
}

/// The entries; if too many, those that expire last. Then the number of the others that haven't expired.
fn fit<E: Listed>(mut entries: Vec<E>, life: Duration, cx: &Cx<'_>) -> (Vec<E>, usize) {
    let mut dropped = 0;
    if entries.len() > MAX_ROW {
        order::sort_by_key(&mut entries, |entry| std::cmp::Reverse(entry.end(life, cx)));
        dropped = entries.iter().skip(MAX_ROW).filter(|entry| cx.wall < entry.end(life, cx)).count();
        entries.truncate(MAX_ROW);
        order::sort_by_key(&mut entries, E::key);
    }
    (entries, dropped)
}

/// The entries by key, each key once.
fn sorted<E: Listed>(entries: impl Iterator<Item = E>) -> Vec<E> {
    let mut sorted: Vec<E> = entries.collect();
    order::sort_by_key(&mut sorted, E::key);
    sorted.dedup_by(|later, kept| {
        let is_same = later.key() == kept.key();
        if is_same {
            *kept = kept.merge(*later);
        }
        is_same
    });
    sorted
}

#[cfg(test)]
mod tests;
