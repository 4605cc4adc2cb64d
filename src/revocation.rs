//! What is revoked: the list, and what keeps it up to date.
//!
//! ```text
//! Poller::begin ──► GET path(…) ──► feed::read ──► List::apply ──► Poller::succeed
//!                                       └─ error ────────────────► Poller::fail
//! ```

pub mod feed;
mod list;
mod poller;

use std::time::Duration;

use crate::claims::Claims;
use crate::config::{self, AuthService};
use crate::host::{Cx, SharedData};
use crate::introspection::{CalloutError, CalloutRequest, CalloutResponse, Destination};
use crate::metrics::{BlacklistCheck, BlacklistPoll, Counter, Gauge};
use crate::public_key::short_digest;
use crate::table::Busy;
use crate::time::Instant;
use feed::{Changes, FeedError};
use list::{Applied, List};
pub use list::{RevokedToken, Subject, Version, token_digest};
use poller::Poller;

/// A poll of the feed that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// When it began; this identifies it.
    began: Instant,
    retries: u32,
    /// The cursor that it continues from; `None`: it asks for everything.
    since: Option<String>,
}

/// The state of the revocation list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListStatus {
    /// Whether there is a list.
    pub is_there: bool,
    /// How long ago the last poll that was read in full began; `None`: there was none.
    pub age: Option<Duration>,
    /// How many tokens and users are on it.
    pub size: usize,
    /// Whether it may lack recent revocations.
    pub is_stale: bool,
    /// Whether the last poll failed.
    pub has_failed: bool,
}

/// The revocation list of all workers, as one of them sees it.
#[derive(Debug)]
pub struct Revocation {
    list: List,
    /// Whether the list may lack recent revocations, as of the last tick.
    is_stale: bool,
    /// Whether the first poll of the process has ended.
    has_begun: bool,
    first_tick: Option<Instant>,
    poller: Poller,
    settings: config::Revocation,
    retries: u32,
}

impl Revocation {
    /// The list under names of shared data that begin with `prefix`. Filters that read the list from one host share it.
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    pub fn new(settings: config::Revocation, service: &AuthService, prefix: &str) -> Self {
        let name = format!("{prefix}feed.{}", short_digest(settings.path.as_bytes()));
        Self {
            list: List::new(&format!("{prefix}r.")),
            is_stale: true,
            has_begun: false,
            first_tick: None,
            poller: Poller::new(name, settings.poll_interval, service.longest_callout()),
            settings,
            retries: service.retries,
        }
    }

    /// Whether the workers still wait for the first list.
    pub fn is_awaited(&mut self, shared: &dyn SharedData) -> bool {
        self.has_begun = self.has_begun || !self.poller.awaits_first(shared);
        !self.has_begun
    }

    /// The state of the list.
    pub fn status(&self, cx: &Cx<'_>) -> ListStatus {
        ListStatus {
            is_there: self.poller.has_list(cx.shared),
            age: self.poller.age(cx),
            size: self.poller.size(cx.shared),
            is_stale: self.poller.is_stale(cx),
            has_failed: self.poller.has_failed(cx.shared),
        }
    }

    /// Whether these claims are those of a revoked token.
    pub fn check(&self, claims: &Claims, shared: &dyn SharedData) -> BlacklistCheck {
        if self.list.is_revoked(claims, shared) { BlacklistCheck::Revoked } else { self.cleared() }
    }

    /// The result for a token that isn't on the list.
    pub const fn cleared(&self) -> BlacklistCheck {
        if self.is_stale { BlacklistCheck::Stale } else { BlacklistCheck::Clear }
    }

    /// The version of the list, to be read before the list itself. An identity that isn't on the list stays off it
    /// while the version is the same.
    pub fn version(&self, shared: &dyn SharedData) -> Version {
        self.list.version(shared)
    }

    /// Whether a cached verdict on these claims, by a verification that began at `verified`, has to be forgotten.
    pub fn is_purged(&self, claims: &Claims, verified: Instant, shared: &dyn SharedData) -> bool {
        self.list.is_purged(claims, verified, shared)
    }

    /// How often to call [`Self::poll`], so that no interval passes without a poll.
    pub fn tick_period(&self) -> Duration {
        (self.settings.poll_interval / 4).min(Duration::from_secs(1))
    }

    /// Begins a poll, if one is due. `Some`: the caller sends its [`Self::request`].
    pub fn poll(&mut self, cx: &Cx<'_>) -> Option<Poll> {
        self.is_stale = self.poller.is_stale(cx);
        cx.host.set(Gauge::BlacklistSize, u64::try_from(self.poller.size(cx.shared)).unwrap_or(u64::MAX));
        let first_tick = *self.first_tick.get_or_insert(cx.now);
        let age = self.poller.age(cx).unwrap_or_else(|| cx.now.since(first_tick));
        cx.host.set(Gauge::BlacklistAge, age.as_secs());
        let poll = self.poller.begin_poll(cx)?;
        Some(Poll { began: poll.began, retries: self.retries, since: poll.since })
    }

    /// The worker ends: the gauges show no list.
    pub fn retire(&self, cx: &Cx<'_>) {
        [Gauge::BlacklistAge, Gauge::BlacklistSize].into_iter().for_each(|gauge| cx.host.set(gauge, 0));
    }

    /// The callout of a poll.
    pub fn request(&self, poll: &Poll) -> CalloutRequest {
        CalloutRequest::get(Destination::Revocation, feed::path(&self.settings.path, poll.since.as_deref()))
    }

    /// Handles the answer to a poll, or its failure. `Some`: the caller sends the [`Self::request`] of this poll.
    ///
    /// - `life`: how long any filter of the process may use a verdict.
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    pub fn on_answer(
        &self,
        poll: Poll,
        answer: Result<CalloutResponse, CalloutError>,
        life: Duration,
        cx: &Cx<'_>,
    ) -> Option<Poll> {
        let (problem, is_unreadable) = match feed::read(answer) {
            Ok(changes) => {
                let outcome =
                    if changes.unreadable.is_none() { BlacklistPoll::Success } else { BlacklistPoll::Partial };
                match self.take(changes, &poll, life, cx) {
                    Ok(()) => {
                        cx.host.count(Counter::BlacklistPoll(outcome));
                        return None;
                    }
                    Err(busy) => (busy.to_string(), false),
                }
            }
            Err(FeedError::BadCursor) if poll.since.is_some() => {
                log::info!("revocation feed: the service refused the cursor; reading the whole list");
                return Some(Poll { since: None, ..poll });
            }
            Err(error) if poll.retries > 0 => {
                log::debug!("revocation feed not read, trying again: {error}");
                return Some(Poll { retries: poll.retries - 1, ..poll });
            }
            Err(error) => (error.to_string(), matches!(error, FeedError::Unreadable(_))),
        };
        let known = if self.poller.has_list(cx.shared) { "keeping the list" } else { "no list yet" };
        log::error!("revocation feed not read (cluster {}), {known}: {problem}", self.settings.host.cluster);
        self.give_up(&poll, is_unreadable, life, cx);
        cx.host.count(Counter::BlacklistPoll(BlacklistPoll::Failure));
        None
    }

    /// A poll will not end, as this worker ends first.
    pub fn give_back(&self, poll: &Poll, cx: &Cx<'_>) {
        self.poller.give_back(poll.began, cx.shared);
    }

    /// How many rows [`Self::sweep_row`] has to be called for.
    pub const fn rows(&self) -> u32 {
        self.list.rows()
    }

    /// Drops what is no longer of use from one row. After the last one, the list is counted anew.
    pub fn sweep_row(&self, row: u32, life: Duration, cx: &Cx<'_>) {
        self.list.sweep_row(row, life, cx);
        if row + 1 == self.rows() {
            self.poller.set_size(self.list.size(cx.shared), cx.shared);
        }
    }

    /// Applies the answer to a poll. An unreadable entry may be about anybody, so every verdict is voided, now or when
    /// [`poller::BETWEEN_VOIDS`] has passed.
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    fn take(&self, mut changes: Changes, poll: &Poll, life: Duration, cx: &Cx<'_>) -> Result<(), Busy> {
        let voided = self.poller.voids(changes.unreadable.is_some(), cx).then_some(cx.now);
        if voided.is_some() {
            changes.purge.push(Subject::All);
        }
        let applied = self.list.apply(&changes, life, cx)?;
        if let Some(unreadable) = &changes.unreadable {
            log::error!(
                "revocation feed: {unreadable}; the readable entries take effect, and {}",
                verified_anew(voided)
            );
        }
        if applied.dropped > 0 {
            log::error!("revocation list: there is no room for {} entries", applied.dropped);
        }
        let size = if applied != Applied::default() || poll.since.is_none() {
            let size = self.list.size(cx.shared);
            cx.host.set(Gauge::BlacklistSize, u64::try_from(size).unwrap_or(u64::MAX));
            size
        } else {
            self.poller.size(cx.shared)
        };
        self.poller.succeed(poll.began, &changes, size, voided, cx.shared);
        Ok(())
    }

    /// Ends a poll that failed. `is_unreadable`: it brought entries, and all are unreadable.
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    fn give_up(&self, poll: &Poll, is_unreadable: bool, life: Duration, cx: &Cx<'_>) {
        let everything = Changes { purge: vec![Subject::All], ..Changes::default() };
        let is_voided = self.poller.voids(is_unreadable, cx)
            && self.list.apply(&everything, life, cx).inspect_err(|busy| log::error!("{busy}")).is_ok();
        let voided = is_voided.then_some(cx.now);
        if is_voided || is_unreadable {
            log::error!("revocation feed: {}", verified_anew(voided));
        }
        self.poller.fail(poll.began, is_unreadable, voided, cx.shared);
    }
}

const fn verified_anew(voided: Option<Instant>) -> &'static str {
    if voided.is_some() {
        "all cached verdicts will be verified again now"
    } else {
        "all cached verdicts will be verified again within about a minute"
    }
}
