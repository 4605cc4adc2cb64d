//! The verification cache: what is known about a credential, so that it need not be verified for each request.
//!
//! It has two levels: this worker's own store ([`local`]), and slots in the process's shared data, through which all
//! workers learn what the service told one of them. A verdict on a JWT that is verified locally stays in its worker.
//! Refusals ([`refusals`]) and forged JWTs (`forged`) are kept apart, so that a flood of them displaces no verdict.
//!
//! An entry holds an identity, with the claims that are needed ([`KeptClaims`]), and the time at which its verification
//! began; never a rule's decision. It is valid for `ttl` from that time, but not beyond `exp`; use doesn't prolong it.
//! For another `stale_ttl` it may stand in while the service is down. Credentials are kept only as digests
//! ([`Digest`]).

mod digest;
mod entry;
mod forged;
pub mod lives;
pub mod local;
pub mod refusals;
pub mod shared;
mod validity;

use std::rc::Rc;
use std::time::Duration;

use crate::claims::KeptClaims;
use crate::code::Code;
use crate::config::{self, Config};
use crate::host::{Cx, SharedData};
use crate::metrics::{CacheEvent, Counter, Gauge};
use crate::policy::Identity;
use crate::time::{Instant, UnixTime};
use digest::Digests;
pub use digest::{Digest, Kind, prefix, prefix_at};
pub use entry::Entry;
use entry::{header_bytes, is_of_use, weight};
pub use forged::Forged;
use lives::Lives;
use local::LocalCache;
use refusals::{Refusal, Refusals};
use shared::{Shared, Slots};
pub use validity::Validity;

/// How much memory the local store may take for each of `cache.max_entries`, in bytes.
const BYTES_PER_ENTRY: usize = 1024;

/// The least memory that the local store may take, in bytes: one large identity has to fit.
const LEAST_BYTES: usize = 256 * 1024;

/// An entry is verified again in the background once one part in this many of its `ttl` is left.
const REFRESH_AHEAD: u32 = 10;

/// The least time before an entry's end at which that happens, for a short `ttl`; also the time between two tries.
const LEAST_AHEAD: Duration = Duration::from_secs(1);

/// What is known about a credential.
#[derive(Debug)]
pub enum Lookup {
    /// It was verified no longer than `ttl` ago, and the verdict still stands.
    Fresh(Rc<Entry>),
    /// The service refused it no longer than `negative_ttl` ago. This is the code of the denial.
    Refused(Code),
    /// Nothing is known.
    Miss,
}

/// The cache as one worker sees it.
#[derive(Debug)]
pub struct VerificationCache {
    settings: config::Cache,
    clock_skew: Duration,
    keeps_text: bool,
    kept_claims: KeptClaims,
    header_bytes: usize,
    digests: Digests,
    local: LocalCache<Rc<Entry>>,
    slots: Slots,
    /// How long this filter and those that share its data keep verdicts.
    pub lives: Lives,
    refusals: Refusals,
    /// Refusals of remote JWTs, which could stand in by their own signature. In a table of their own, they displace no
    /// refusal that ended a verdict.
    jwt_refusals: Refusals,
    /// JWTs that were found forged.
    pub forged: Forged,
    /// Entries and bytes, as the gauges count them.
    reported: (usize, usize),
}

impl VerificationCache {
    /// A cache with an empty local store; the shared data may already hold entries.
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    pub fn new(config: &Config, prefix: &str) -> Self {
        let settings = config.cache;
        let max_bytes = settings.max_entries.saturating_mul(BYTES_PER_ENTRY).max(LEAST_BYTES);
        let negative_ttl = if settings.is_off() { Duration::ZERO } else { settings.negative_ttl };
        Self {
            settings,
            clock_skew: config.jwt.clock_skew,
            keeps_text: config.forwards_jwt(),
            kept_claims: config.kept_claims.clone(),
            header_bytes: header_bytes(config),
            digests: Digests::new(config),
            local: LocalCache::new(settings.eviction, settings.max_entries, max_bytes),
            slots: Slots::new(format!("{prefix}v.")),
            lives: Lives::new(format!("{prefix}life."), settings.longest_life().max(negative_ttl)),
            refusals: Refusals::new(format!("{prefix}n."), negative_ttl),
            jwt_refusals: Refusals::new(format!("{prefix}j."), Duration::ZERO),
            forged: Forged::new(negative_ttl),
            reported: (0, 0),
        }
    }

    /// Whether nothing is kept: `cache.ttl` is 0.
    pub const fn is_off(&self) -> bool {
        self.settings.is_off()
    }

    /// The digest that identifies a credential in the caches.
    pub fn digest(&self, kind: Kind, credential: &[u8]) -> Digest {
        self.digests.of(kind, credential)
    }

    /// Whether this worker has an entry of the credential, which may have ended.
    pub fn has_entry(&self, digest: &Digest) -> bool {
        self.local.peek(digest).is_some()
    }

    /// Looks a credential up. The caller counts a miss.
    pub fn look_up(&mut self, digest: &Digest, kind: Kind, validity: &mut Validity<'_>, cx: &Cx<'_>) -> Lookup {
        if self.is_off() {
            return Lookup::Miss;
        }
        let refusal = self.refusal(digest, kind, cx.shared);
        if let Some(entry) = self.newest_that_stands(digest, kind, refusal.as_ref(), self.settings.ttl, validity, cx) {
            return Lookup::Fresh(entry);
        }
        if let Some(refusal) = refusal.filter(|refusal| self.refusals.answers(refusal, cx.now)) {
            cx.host.count(Counter::Cache(CacheEvent::Negative));
            return Lookup::Refused(refusal.code());
        }
        Lookup::Miss
    }

    /// The entry that may stand in while the service gives no verdict: verified within the last `ttl + stale_ttl`.
    pub fn stale(
        &mut self,
        digest: &Digest,
        kind: Kind,
        validity: &mut Validity<'_>,
        cx: &Cx<'_>,
    ) -> Option<Rc<Entry>> {
        if self.is_off() {
            return None;
        }
        let refusal = self.refusal(digest, kind, cx.shared);
        self.newest_that_stands(digest, kind, refusal.as_ref(), self.settings.longest_life(), validity, cx)
    }

    /// Whether the credential was valid within the last `ttl + stale_ttl`, and hasn't been refused since.
    pub fn was_good(&mut self, digest: &Digest, kind: Kind, cx: &Cx<'_>) -> bool {
        if self.is_off() {
            return false;
        }
        let refusal = self.refusal(digest, kind, cx.shared);
        let entry = self.newest(digest, kind, self.settings.longest_life(), cx);
        entry.is_some_and(|entry| refusal.is_none_or(|refusal| refusal.at < entry.verified))
    }

    /// The newest entry, unless something has ended it. Where this worker's own entry is void, another worker may have
    /// shared a newer one.
    fn newest_that_stands(
        &mut self,
        digest: &Digest,
        kind: Kind,
        refusal: Option<&Refusal>,
        life: Duration,
        validity: &mut Validity<'_>,
        cx: &Cx<'_>,
    ) -> Option<Rc<Entry>> {
        for _ in 0..2 {
            let entry = self.newest(digest, kind, life, cx)?;
            if validity.stands(&entry, refusal, cx) {
                return Some(entry);
            }
            self.forget(digest, kind, entry.verified, cx);
        }
        None
    }

    /// Whether the last known verdict of the service on the credential was a refusal.
    pub fn is_refused(&self, digest: &Digest, kind: Kind, shared: &dyn SharedData) -> bool {
        self.refusal(digest, kind, shared).is_some()
    }

    /// Whether a remote JWT may stand in by its own signature: no filter knows of a refusal by the service.
    pub fn may_stand_for_itself(&self, token: &[u8], shared: &dyn SharedData) -> bool {
        self.jwt_refusals.find(&digest::of_refusal(token), shared).is_none()
    }

    /// Records that the service refused a remote JWT in a verification that began at `began`. If the signature fits no
    /// known key, a new key may fit it; such a refusal displaces none of a JWT that `is_signed`.
    pub fn refuse_jwt(
        &self,
        token: &[u8],
        is_signed: bool,
        code: Code,
        expires: Option<UnixTime>,
        began: Instant,
        cx: &Cx<'_>,
    ) {
        let refusal = Refusal::new(digest::of_refusal(token), code, expires, began, is_signed, cx.now);
        self.jwt_refusals.add(refusal, self.lives.longest(cx), cx);
    }

    /// Records that the service confirmed a remote JWT in a verification that began at `began`.
    pub fn confirm_jwt(&self, token: &[u8], began: Instant, cx: &Cx<'_>) {
        // A later refusal, by another filter, stays.
        let _ = self.jwt_refusals.withdraw(&digest::of_refusal(token), began, cx);
    }

    /// Whether the service refused the credential in a verification that began at `began` or later.
    pub fn is_refused_since(&self, digest: &Digest, kind: Kind, began: Instant, cx: &Cx<'_>) -> bool {
        self.refusal(digest, kind, cx.shared).is_some_and(|refusal| refusal.at >= began)
    }

    /// Whether the entry ends soon and has to be verified again in the background, unless another worker has done so.
    /// True at most once a second.
    pub fn wants_refresh(&mut self, digest: &Digest, entry: &Entry, cx: &Cx<'_>) -> bool {
        let ttl = self.settings.ttl;
        let ahead = (ttl / REFRESH_AHEAD).max(LEAST_AHEAD).min(ttl / 2);
        let is_soon = cx.now.has_passed(ttl.saturating_sub(ahead), entry.verified);
        // Verifying again can't prolong an entry that ends by its `exp`.
        let end = cx.wall.after(ttl.saturating_sub(cx.now.since(entry.verified)));
        let expires = entry.claims().exp().is_some_and(|exp| UnixTime::from_secs(exp) <= end);
        let was_tried = entry.refreshed.get().is_some_and(|at| !cx.now.has_passed(LEAST_AHEAD, at));
        if !is_soon || expires || was_tried {
            return false;
        }
        entry.refreshed.set(Some(cx.now));
        match self.slots.read(digest, cx.shared).and_then(|known| known.entry) {
            Some(shared) if shared.verified > entry.verified => {
                self.keep(digest, Rc::new(shared), cx);
                false
            }
            _ => true,
        }
    }

    /// Keeps a verdict whose verification began at `verified`: in this worker alone for a JWT that is verified locally,
    /// on both levels for any other credential. Returns the identity as it is kept.
    ///
    /// # Errors
    /// The code of the denial: the service refused the credential in a verification that began then or later.
    pub fn store(
        &mut self,
        digest: &Digest,
        kind: Kind,
        identity: Identity,
        verified: Instant,
        cx: &Cx<'_>,
    ) -> Result<Rc<Identity>, Code> {
        if kind != Kind::LocalJwt {
            self.refusals.withdraw(digest, verified, cx)?;
        }
        // A client's own token isn't kept.
        let keeps_text = self.keeps_text && kind != Kind::LocalJwt;
        let identity = Rc::new(identity.reduced_to(&self.kept_claims, keeps_text));
        let is_newer = |known: &Rc<Entry>| known.verified > verified;
        if self.is_off() || self.local.peek(digest).as_ref().is_some_and(is_newer) {
            return Ok(identity);
        }
        let entry = Rc::new(Entry::new(Rc::clone(&identity), verified));
        // Makes this filter's life known: whatever may end the entry has to be remembered for as long.
        self.lives.horizon(cx);
        if kind.is_shared() {
            self.slots.write(digest, &shared::encode(digest, &entry), cx.shared);
        }
        self.keep(digest, entry, cx);
        Ok(identity)
    }

    /// Records that the service refused the credential in a verification that began at `began`. The refusal ends a
    /// verdict at once, in every worker, and is the answer for `negative_ttl`.
    pub fn refuse(&mut self, digest: &Digest, code: Code, expires: Option<UnixTime>, began: Instant, cx: &Cx<'_>) {
        let is_superseded = |entry: &Rc<Entry>| entry.verified <= began;
        let is_local = self.local.peek(digest).as_ref().is_some_and(is_superseded);
        if is_local {
            self.local.remove(digest);
            self.report(cx);
        }
        let ends_verdict = is_local || self.slots.knows(digest, cx.shared);
        self.slots.clear_if(digest, |verified| verified <= began, cx.shared);
        let refusal = Refusal::new(*digest, code, expires, began, ends_verdict, cx.now);
        self.refusals.add(refusal, self.lives.longest(cx), cx);
    }

    /// Drops this worker's entry, and those in the slots that aren't newer than `verified`.
    fn forget(&mut self, digest: &Digest, kind: Kind, verified: Instant, cx: &Cx<'_>) {
        self.local.remove(digest);
        if kind.is_shared() {
            self.slots.clear_if(digest, |known| known <= verified, cx.shared);
        }
        self.report(cx);
    }

    /// Drops entries that are no longer of use from the local store.
    pub fn sweep_local(&mut self, cx: &Cx<'_>) {
        let life = self.settings.longest_life();
        self.local.retain(|_, entry| is_of_use(Some(entry.claims()), entry.verified, life, cx));
        self.report(cx);
    }

    /// Drops all entries when the worker ends, so that the gauges, which count all workers, no longer count them.
    pub fn retire(&mut self, cx: &Cx<'_>) {
        self.local.retain(|_, _| false);
        self.report(cx);
    }

    /// How many rows [`Self::sweep_row`] can sweep. Verdicts are in the first [`shared::SLOTS`].
    pub const fn rows(&self) -> u32 {
        shared::SLOTS + 2 * refusals::ROWS
    }

    /// Drops what is no longer of use from one row of the shared data. `life` is [`Lives::longest`].
    pub fn sweep_row(&self, row: u32, life: Duration, cx: &Cx<'_>) {
        match row.checked_sub(shared::SLOTS) {
            None => self.slots.sweep(row, |claims, verified| is_of_use(claims, verified, life, cx), cx.shared),
            Some(row) if row < refusals::ROWS => self.refusals.sweep(row, life, cx),
            Some(row) => self.jwt_refusals.sweep(row - refusals::ROWS, life, cx),
        }
    }

    fn refusal(&self, digest: &Digest, kind: Kind, shared: &dyn SharedData) -> Option<Refusal> {
        // Only the service refuses.
        if kind == Kind::LocalJwt { None } else { self.refusals.find(digest, shared) }
    }

    /// The entry that was verified last, on either level, if that was within the last `life`.
    fn newest(&mut self, digest: &Digest, kind: Kind, life: Duration, cx: &Cx<'_>) -> Option<Rc<Entry>> {
        let clock_skew = self.clock_skew;
        // Where this worker's entry has expired, another worker may know a later `exp`.
        let is_good = |entry: &Entry, life| {
            entry.is_within(life, cx.now) && entry.claims().check_time(cx.wall, clock_skew).is_ok()
        };
        let local = self.local.get(digest);
        if let Some(entry) = local.as_ref().filter(|entry| is_good(entry, self.settings.ttl)) {
            return Some(Rc::clone(entry));
        }
        if !kind.is_shared() {
            return local.filter(|entry| is_good(entry, life));
        }
        let horizon = self.lives.horizon(cx);
        let is_newer = |shared: &Shared| local.as_ref().is_none_or(|local| local.verified < shared.verified);
        match self.slots.read(digest, cx.shared).filter(|shared| shared.verified >= horizon && is_newer(shared)) {
            // It takes the older entry's place, also if it has expired: the service may have brought `exp` forward.
            Some(Shared { entry: Some(entry), .. }) => {
                let entry = Rc::new(entry);
                let may_be_used = is_good(&entry, life);
                if may_be_used || local.is_some() {
                    self.keep(digest, Rc::clone(&entry), cx);
                }
                may_be_used.then_some(entry)
            }
            Some(Shared { entry: None, .. }) => {
                self.local.remove(digest);
                self.report(cx);
                None
            }
            None => local.filter(|entry| is_good(entry, life)),
        }
    }

    fn keep(&mut self, digest: &Digest, entry: Rc<Entry>, cx: &Cx<'_>) {
        let bytes = weight(&entry) + self.header_bytes;
        for _ in 0..self.local.insert(*digest, entry, bytes) {
            cx.host.count(Counter::Cache(CacheEvent::Evict));
        }
        self.report(cx);
    }

    /// Sets the gauges to the size of the local store.
    fn report(&mut self, cx: &Cx<'_>) {
        let current = (self.local.len(), self.local.bytes());
        let difference = |new: usize, old: usize| {
            i64::try_from(new).unwrap_or(i64::MAX).saturating_sub(i64::try_from(old).unwrap_or(i64::MAX))
        };
        for (gauge, by) in [
            (Gauge::CacheEntries, difference(current.0, self.reported.0)),
            (Gauge::CacheBytes, difference(current.1, self.reported.1)),
        ] {
            if by != 0 {
                cx.host.shift(gauge, by);
            }
        }
        self.reported = current;
    }
}

#[cfg(test)]
mod tests;
