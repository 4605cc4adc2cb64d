//! What happens with time alone: the revocation feed is polled, and what has expired is swept.

use std::time::Duration;

use super::{Call, Filter};
use crate::config::{self, Config};
use crate::host::{Host, SharedValue, Write};
use crate::introspection::{CalloutError, CalloutRequest, CalloutResponse};
use crate::metrics::{BlacklistPoll, Counter, Gauge};
use crate::public_key::short_digest;
use crate::revocation::feed::{self, Changes, FeedError};
use crate::revocation::poller::Poller;
use crate::revocation::{Applied, Revocations, Subject};
use crate::table::Busy;
use crate::time::UnixTime;

/// How often what has expired is dropped.
const SWEEP_INTERVAL: Duration = Duration::from_secs(300);

/// How many rows of the shared data are swept in one tick.
const ROWS_AT_ONCE: u32 = 256;

/// The revocation list, and what keeps it up to date.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) list: Revocations,
    /// Whether it may lack what was revoked lately, as of the last tick.
    pub(super) is_stale: bool,
    /// Whether the first poll of the process has ended.
    has_begun: bool,
    poller: Poller,
    settings: config::Revocation,
}

impl Feed {
    pub(super) fn new(settings: &config::Revocation, config: &Config, prefix: &str) -> Self {
        let lease = config.auth_service.longest_callout();
        Self {
            list: Revocations::new(&format!("{prefix}r.")),
            is_stale: true,
            has_begun: false,
            poller: Poller::new(
                format!("{prefix}feed.{}", short_digest(settings.path.as_bytes())),
                settings.poll_interval,
                lease,
            ),
            settings: settings.clone(),
        }
    }

    /// Whether the first list is still to come: what is on it must not pass meanwhile.
    pub(super) fn is_awaited(&mut self, host: &impl Host) -> bool {
        self.has_begun = self.has_begun || !self.poller.awaits_first(host);
        !self.has_begun
    }

    /// Applies the answer to the poll that began at `began`; `is_whole`: it was asked for everything.
    ///
    /// An entry that can't be read may be about anybody, so that every verdict is forgotten for it, soon.
    fn take(
        &self,
        mut changes: Changes,
        is_whole: bool,
        life: Duration,
        (began, now): (UnixTime, UnixTime),
        host: &impl Host,
    ) -> Result<(), Busy> {
        let voided = self.poller.voids(changes.unreadable.is_some(), now, host).then_some(now);
        if voided.is_some() {
            changes.purge.push(Subject::All);
        }
        let applied = self.list.apply(&changes, life, now, host)?;
        if let Some(unreadable) = &changes.unreadable {
            log::error!("revocation feed: {unreadable}; the others hold, and {}", verified_anew(voided));
        }
        if applied.dropped > 0 {
            log::error!("revocation list: {} entries found no room", applied.dropped);
        }
        let size = if applied != Applied::default() || is_whole {
            let size = self.list.size(host);
            host.set(Gauge::BlacklistSize, u64::try_from(size).unwrap_or(u64::MAX));
            size
        } else {
            self.poller.size(host)
        };
        self.poller.succeed(began, &changes, size, voided, host);
        Ok(())
    }

    /// The poll that began at `began` has failed. `is_unreadable`: it brought entries, and none that can be read.
    fn give_up(&self, began: UnixTime, is_unreadable: bool, life: Duration, now: UnixTime, host: &impl Host) {
        let everything = Changes { purge: vec![Subject::All], ..Changes::default() };
        let is_voided = self.poller.voids(is_unreadable, now, host)
            && self.list.apply(&everything, life, now, host).inspect_err(|busy| log::error!("{busy}")).is_ok();
        if is_voided || is_unreadable {
            log::error!("revocation feed: {}", verified_anew(is_voided.then_some(now)));
        }
        self.poller.fail(began, is_unreadable, is_voided.then_some(now), host);
    }

    /// Often enough that no interval passes without a poll.
    pub(super) fn tick_period(&self) -> Duration {
        (self.settings.poll_interval / 4).min(Duration::from_secs(1))
    }
}

const fn verified_anew(voided: Option<UnixTime>) -> &'static str {
    if voided.is_some() {
        "all cached verdicts are verified anew"
    } else {
        "all cached verdicts will be verified anew within a minute or so"
    }
}

/// How far this worker's sweeps have got.
#[derive(Debug)]
pub(super) struct Sweep {
    name: String,
    swept: Option<UnixTime>,
    ticked: Option<UnixTime>,
    next_row: Option<u32>,
}

impl Sweep {
    pub(super) const fn new(name: String) -> Self {
        Self { name, swept: None, ticked: None, next_row: None }
    }

    pub(super) fn tick_period(&self) -> Option<Duration> {
        self.next_row.map(|_| Duration::from_millis(10))
    }

    /// Whether this worker is the one of the process that sweeps the shared data now.
    fn wins(&self, now: UnixTime, host: &impl Host) -> bool {
        let write = match host.shared_data(&self.name) {
            None => Write::IfAbsent,
            Some(SharedValue { bytes, cas }) => {
                let last = bytes.first_chunk().map(|nanos| UnixTime::from_nanos(u64::from_le_bytes(*nanos)));
                if last.is_some_and(|last| !now.has_passed(SWEEP_INTERVAL, last)) {
                    return false;
                }
                Write::IfVersion(cas)
            }
        };
        host.set_shared_data(&self.name, &now.as_nanos().to_le_bytes(), write).is_ok()
    }
}

impl Filter {
    pub(super) fn poll_feed(&mut self, now: UnixTime, host: &impl Host) {
        let Some(feed) = &mut self.feed else { return };
        feed.is_stale = feed.poller.is_stale(now, host);
        host.set(Gauge::BlacklistSize, u64::try_from(feed.poller.size(host)).unwrap_or(u64::MAX));
        if let Some(poll) = feed.poller.begin(now, host) {
            let retries = self.config.auth_service.retries;
            self.call_for_feed(Call::Feed { began: poll.began, retries, since: poll.since }, host);
        }
    }

    fn call_for_feed(&mut self, call: Call, host: &impl Host) {
        let (Some(feed), Call::Feed { since, .. }) = (&self.feed, &call) else { return };
        let path = feed::path(&feed.settings.path, since.as_deref());
        self.call(CalloutRequest { path, authorization: None }, call, host);
    }

    pub(super) fn on_feed_answer(
        &mut self,
        began: UnixTime,
        retries: u32,
        since: Option<String>,
        answer: Result<CalloutResponse, CalloutError>,
        now: UnixTime,
        host: &impl Host,
    ) {
        let Some(feed) = &self.feed else { return };
        let life = self.cache.lives.longest(now, host);
        let mut is_unreadable = false;
        let problem = match feed::read(answer) {
            Ok(changes) => {
                let is_whole = changes.unreadable.is_none();
                match feed.take(changes, since.is_none(), life, (began, now), host) {
                    Ok(()) => {
                        let outcome = if is_whole { BlacklistPoll::Success } else { BlacklistPoll::Partial };
                        host.count(Counter::BlacklistPoll(outcome));
                        self.settle_key_waits(now, host);
                        return;
                    }
                    Err(busy) => busy.to_string(),
                }
            }
            Err(FeedError::BadCursor) if since.is_some() => {
                log::info!("revocation feed: the cursor is refused; reading the list from its beginning");
                self.call_for_feed(Call::Feed { began, retries, since: None }, host);
                return;
            }
            Err(error) if retries > 0 => {
                log::debug!("revocation feed not read, trying again: {error}");
                self.call_for_feed(Call::Feed { began, retries: retries - 1, since }, host);
                return;
            }
            Err(error) => {
                is_unreadable = matches!(error, FeedError::Unreadable(_));
                error.to_string()
            }
        };
        let known = if feed.poller.has_list(host) { "the list stays as it is" } else { "there is no list yet" };
        let cluster = &self.config.auth_service.cluster;
        log::error!("revocation feed not read (cluster {cluster}), {known}: {problem}");
        feed.give_up(began, is_unreadable, life, now, host);
        host.count(Counter::BlacklistPoll(BlacklistPoll::Failure));
        self.settle_key_waits(now, host);
    }

    pub(super) fn sweep(&mut self, now: UnixTime, host: &impl Host) {
        if self.sweep.ticked.replace(now).is_some_and(|last| last.is_to_come(now)) {
            // The clock was set back: what seems to come from the future must not seem the newest when that is there.
            self.cache.sweep_local(now, host);
            self.sweep.next_row = Some(0);
        }
        let Some(row) = self.sweep.next_row else {
            // A worker that has just begun has nothing to sweep yet.
            let last = *self.sweep.swept.get_or_insert(now);
            if now.has_passed(SWEEP_INTERVAL, last) {
                self.sweep.swept = Some(now);
                self.cache.sweep_local(now, host);
                self.sweep.next_row = self.sweep.wins(now, host).then_some(0);
            }
            return;
        };
        let life = self.cache.lives.longest(now, host);
        let rows = self.cache.rows();
        let all = rows + self.feed.as_ref().map_or(0, |feed| feed.list.rows());
        let end = (row + ROWS_AT_ONCE).min(all);
        for row in row..end {
            match (row.checked_sub(rows), &self.feed) {
                (Some(row), Some(feed)) => feed.list.sweep_row(row, life, now, host),
                _ => self.cache.sweep_row(row, life, now, host),
            }
        }
        self.sweep.next_row = (end < all).then_some(end);
    }
}
