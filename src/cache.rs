//! The verification cache: what is known of a credential, so that it need not be verified again.
//!
//! Two levels: a store of this worker ([`local`]), and slots in the process's shared data, by which all
//! workers know what one has verified. Refusals are kept apart ([`refusals`]), so that a flood of credentials that the
//! service refuses displaces no verdict.
//!
//! An entry holds an identity and when its verification began, never a route's decision. It is good for
//! `min(ttl, exp)`, counted from then and never prolonged by its use; for `stale_ttl` more it may stand in while the
//! service is down. A clock that is set back ends entries that seem to come from the future. Credentials are kept as
//! their SHA-256 alone.

mod key;
pub mod leases;
pub mod lives;
pub mod local;
pub mod refusals;
mod shared;
mod unanswered;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::claims::Claims;
use crate::config::{self, Config, Eviction, ForwardCredential};
use crate::decision::Code;
use crate::host::Host;
use crate::metrics::{CacheEvent, Counter, Gauge};
use crate::policy::Identity;
use crate::time::UnixTime;
pub use key::{Digest, Kind, prefix};
use leases::Leases;
use lives::Lives;
use local::{LocalCache, Policy};
use refusals::{Refusal, Refusals};
use shared::Slots;
use unanswered::UnansweredKeys;

/// What the local store may take for each of `cache.max_entries`, in bytes.
const BYTES_PER_ENTRY: usize = 1024;

/// What it may take however few those are, so that one large identity finds room.
const LEAST_BYTES: usize = 256 * 1024;

/// An entry is verified again in the background once this part of its `ttl` is left.
const REFRESH_AHEAD: u32 = 10;

/// A credential that the service gave no verdict on isn't asked about again for so long at least, however short
/// `negative_ttl` is.
const LEAST_UNANSWERED: Duration = Duration::from_secs(1);

/// At least this long before its end, in case of a short `ttl`, and after a refresh that failed.
const LEAST_AHEAD: Duration = Duration::from_secs(1);

/// A verdict that let a credential in.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Whose credential it is.
    pub identity: Rc<Identity>,
    /// When the verification began that found this.
    pub verified: UnixTime,
    /// When it was last tried to verify it again.
    refreshed: Cell<Option<UnixTime>>,
}

impl Entry {
    const fn new(identity: Rc<Identity>, verified: UnixTime) -> Self {
        Self { identity, verified, refreshed: Cell::new(None) }
    }

    fn claims(&self) -> &Claims {
        self.identity.claims()
    }

    /// Whether it was verified no longer than `life` ago.
    fn is_within(&self, life: Duration, now: UnixTime) -> bool {
        !now.has_passed(life, self.verified)
    }
}

/// What is known of a credential.
#[derive(Debug)]
pub enum Lookup {
    /// It was verified not longer than `ttl` ago and has not expired. Its revocation is the caller's to check.
    Fresh(Rc<Entry>),
    /// The service refused it not longer than `negative_ttl` ago, and this is what it is denied with.
    Refused(Code),
    /// Nothing.
    Miss,
}

/// The cache as one worker sees it.
#[derive(Debug)]
pub struct VerificationCache {
    settings: config::Cache,
    clock_skew: Duration,
    keeps_text: bool,
    header_bytes: usize,
    scope: Sha256,
    local: LocalCache<Rc<Entry>>,
    slots: Slots,
    /// Of this filter's verdicts and its neighbours'.
    pub lives: Lives,
    refusals: Refusals,
    unanswered: UnansweredKeys,
    /// Which credentials some worker of the process is asking about.
    pub leases: Leases,
    /// Entries and bytes as the gauges know them.
    reported: (usize, usize),
}

impl VerificationCache {
    /// An empty local store over whatever the shared data hold.
    pub fn new(config: &Config, prefix: &str) -> Self {
        let settings = config.cache;
        let policy = match settings.eviction {
            Eviction::Lru => Policy::Lru,
            Eviction::Lfu => Policy::Lfu,
        };
        let lease = config.auth_service.longest_callout();
        let negative_ttl = if settings.is_off() { Duration::ZERO } else { settings.negative_ttl };
        Self {
            settings,
            clock_skew: config.jwt.clock_skew,
            keeps_text: config.forward_credential == ForwardCredential::VerifiedJwt,
            header_bytes: header_bytes(config),
            scope: key::scope(config),
            local: LocalCache::new(
                policy,
                settings.max_entries,
                settings.max_entries.saturating_mul(BYTES_PER_ENTRY).max(LEAST_BYTES),
            ),
            slots: Slots::new(format!("{prefix}v.")),
            lives: Lives::new(format!("{prefix}life."), settings.longest_life().max(negative_ttl)),
            refusals: Refusals::new(format!("{prefix}n."), negative_ttl),
            unanswered: UnansweredKeys::new(format!("{prefix}u."), settings.negative_ttl.max(LEAST_UNANSWERED)),
            leases: Leases::new(format!("{prefix}l."), lease),
            reported: (0, 0),
        }
    }

    /// Whether nothing is kept: `cache.ttl` is 0.
    pub const fn is_off(&self) -> bool {
        self.settings.is_off()
    }

    /// The key of a credential.
    pub fn digest(&self, kind: Kind, credential: &[u8]) -> Digest {
        let hash = self.scope.clone().chain_update([kind.tag()]).chain_update(credential);
        Digest(hash.finalize().into())
    }

    /// Looks a credential up. A miss is the caller's to count: others may be of help yet.
    pub fn look_up(&mut self, key: &Digest, kind: Kind, now: UnixTime, host: &impl Host) -> Lookup {
        if self.is_off() {
            return Lookup::Miss;
        }
        let refusal = self.refusal(key, kind, host);
        // Where this worker's entry was refused in the meantime, another worker may have brought a newer one.
        for _ in 0..2 {
            match self.newest(key, self.settings.ttl, now, host) {
                Some(entry) if refusal.as_ref().is_none_or(|refusal| refusal.at < entry.verified) => {
                    return Lookup::Fresh(entry);
                }
                Some(_) => {
                    self.local.remove(key);
                    self.report(host);
                }
                None => break,
            }
        }
        if let Some(refusal) = refusal.filter(|refusal| self.refusals.answers(refusal, now)) {
            host.count(Counter::Cache(CacheEvent::Negative));
            return Lookup::Refused(refusal.code());
        }
        Lookup::Miss
    }

    /// For how long the service isn't asked about the credential, since it lately gave no verdict on it.
    pub fn unanswered_for(&self, key: &Digest, now: UnixTime, host: &impl Host) -> Option<Duration> {
        self.unanswered.remaining(key, now, host)
    }

    /// The service answered a question about the credential, but not with a verdict. Returns for how long it isn't asked
    /// again.
    pub fn remember_unanswered(&self, key: &Digest, now: UnixTime, host: &impl Host) -> Duration {
        self.unanswered.add(key, now, host)
    }

    /// What may stand in while the service is down: verified within `ttl` and `stale_ttl`, and not refused since.
    pub fn stale(&mut self, key: &Digest, kind: Kind, now: UnixTime, host: &impl Host) -> Option<Rc<Entry>> {
        if self.is_off() {
            return None;
        }
        let refusal = self.refusal(key, kind, host);
        let entry = self.newest(key, self.settings.longest_life(), now, host)?;
        refusal.is_none_or(|refusal| refusal.at < entry.verified).then_some(entry)
    }

    /// Whether the service's last word on the credential, as far as it is known, was no.
    pub fn is_refused(&self, key: &Digest, kind: Kind, host: &impl Host) -> bool {
        self.refusal(key, kind, host).is_some()
    }

    /// Whether the service said no in a verification that began at `began` or later.
    pub fn is_refused_since(&self, key: &Digest, kind: Kind, began: UnixTime, now: UnixTime, host: &impl Host) -> bool {
        self.refusal(key, kind, host).is_some_and(|refusal| refusal.at >= began && !refusal.at.is_to_come(now))
    }

    /// Whether the entry ends soon, and it is time to verify it again in the background: another worker hasn't. True
    /// once a second at most.
    pub fn wants_refresh(&mut self, key: &Digest, entry: &Entry, now: UnixTime, host: &impl Host) -> bool {
        let ttl = self.settings.ttl;
        let ahead = (ttl / REFRESH_AHEAD).max(LEAST_AHEAD).min(ttl / 2);
        let is_soon = now.has_passed(ttl.saturating_sub(ahead), entry.verified);
        // One that ends by its expiry is not prolonged by any verification.
        let expires = entry.claims().exp().is_some_and(|exp| UnixTime::from_secs(exp) <= entry.verified.after(ttl));
        let was_tried = entry.refreshed.get().is_some_and(|at| !now.has_passed(LEAST_AHEAD, at));
        if !is_soon || expires || was_tried {
            return false;
        }
        entry.refreshed.set(Some(now));
        let is_newer = |shared: &Entry| shared.verified > entry.verified && !shared.verified.is_to_come(now);
        match self.slots.read(key, host).filter(is_newer) {
            Some(shared) => {
                self.keep(key, Rc::new(shared), host);
                false
            }
            None => true,
        }
    }

    /// Keeps a verdict whose verification began at `verified`, on both levels. Returns the identity as it is kept.
    ///
    /// # Errors
    /// What the credential is denied with: the service has refused it in a verification that began later.
    pub fn store(
        &mut self,
        key: &Digest,
        kind: Kind,
        identity: Identity,
        verified: UnixTime,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Rc<Identity>, Code> {
        // The clock was set back meanwhile: nobody could tell when the entry ends.
        let is_to_come = verified.is_to_come(now);
        if kind != Kind::LocalJwt && !is_to_come {
            self.refusals.withdraw(key, verified, now, host)?;
        }
        // A client's own token isn't kept.
        let keeps_text = self.keeps_text && kind != Kind::LocalJwt;
        let identity = Rc::new(if keeps_text { identity } else { identity.without_text() });
        let is_newer = |known: &Rc<Entry>| known.verified > verified && !known.verified.is_to_come(now);
        if self.is_off() || is_to_come || self.local.peek(key).as_ref().is_some_and(is_newer) {
            return Ok(identity);
        }
        let entry = Rc::new(Entry::new(Rc::clone(&identity), verified));
        // What ends it has to be remembered for as long as it lives here.
        self.lives.horizon(now, host);
        let record = shared::encode(key, &entry);
        self.slots.write(key, &record, host);
        self.keep(key, entry, host);
        Ok(identity)
    }

    /// The service has refused the credential in a verification that began at `began`, with 401 or 403. That ends a
    /// verdict at once, in every worker, and is the answer for `negative_ttl`.
    pub fn refuse(
        &mut self,
        key: &Digest,
        code: Code,
        expires: Option<UnixTime>,
        (began, now): (UnixTime, UnixTime),
        host: &impl Host,
    ) {
        let is_superseded = |entry: &Rc<Entry>| entry.verified <= began || entry.verified.is_to_come(now);
        let is_local = self.local.peek(key).as_ref().is_some_and(is_superseded);
        if is_local {
            self.local.remove(key);
            self.report(host);
        }
        let ends_verdict = is_local || self.slots.knows(key, host);
        self.slots.clear_if(key, |verified| verified <= began || verified.is_to_come(now), host);
        let expires = expires.map_or(now, |expires| expires.after(config::MAX_CLOCK_SKEW));
        let is_forbidden = code == Code::ForbiddenByService;
        let refusal = Refusal { key: *key, at: began, answered: now, expires, ends_verdict, is_forbidden };
        self.refusals.add(refusal, self.lives.longest(now, host), now, host);
    }

    /// Drops the entry of this worker and that of the slots, unless that is newer than `verified`: it was purged, or its
    /// key is not accepted any more.
    pub fn forget(&mut self, key: &Digest, verified: UnixTime, host: &impl Host) {
        self.local.remove(key);
        self.slots.clear_if(key, |known| known <= verified, host);
        self.report(host);
    }

    /// Drops from the local store what can't be of use any more.
    pub fn sweep_local(&mut self, now: UnixTime, host: &impl Host) {
        let life = self.settings.longest_life();
        self.local.retain(|_, entry| is_of_use(Some(entry.claims()), entry.verified, life, now));
        self.report(host);
    }

    /// The worker ends: the gauges, which are those of all workers, forget what it has kept.
    pub fn retire(&mut self, host: &impl Host) {
        self.local.retain(|_, _| false);
        self.report(host);
    }

    /// How many rows [`Self::sweep_row`] has to be called for.
    pub const fn rows(&self) -> u32 {
        shared::SLOTS + refusals::ROWS
    }

    /// Drops from one row of the shared data what can't be of use any more, where that is [`Lives::longest`].
    pub fn sweep_row(&self, row: u32, life: Duration, now: UnixTime, host: &impl Host) {
        match row.checked_sub(shared::SLOTS) {
            None => self.slots.sweep(row, |claims, verified| is_of_use(claims, verified, life, now), host),
            Some(row) => self.refusals.sweep(row, life, now, host),
        }
    }

    fn refusal(&self, key: &Digest, kind: Kind, host: &impl Host) -> Option<Refusal> {
        // Only the service refuses.
        if kind == Kind::LocalJwt { None } else { self.refusals.find(key, host) }
    }

    /// The entry that was verified last, if that was within `life`, from whichever level.
    fn newest(&mut self, key: &Digest, life: Duration, now: UnixTime, host: &impl Host) -> Option<Rc<Entry>> {
        let clock_skew = self.clock_skew;
        // One that has expired may be better known by now.
        let is_good =
            |entry: &Entry, life| entry.is_within(life, now) && entry.claims().check_time(now, clock_skew).is_ok();
        let local = self.local.get(key);
        if let Some(entry) = local.as_ref().filter(|entry| is_good(entry, self.settings.ttl)) {
            return Some(Rc::clone(entry));
        }
        let horizon = self.lives.horizon(now, host);
        let shared = self.slots.read(key, host).filter(|entry| is_good(entry, life) && entry.verified >= horizon);
        match (local.filter(|entry| is_good(entry, life)), shared) {
            (Some(local), Some(shared)) if shared.verified <= local.verified => Some(local),
            (_, Some(shared)) => {
                let entry = Rc::new(shared);
                self.keep(key, Rc::clone(&entry), host);
                Some(entry)
            }
            (local, None) => local,
        }
    }

    fn keep(&mut self, key: &Digest, entry: Rc<Entry>, host: &impl Host) {
        let bytes = weight(&entry) + self.header_bytes;
        for _ in 0..self.local.insert(*key, entry, bytes) {
            host.count(Counter::Cache(CacheEvent::Evict));
        }
        self.report(host);
    }

    /// Moves the gauges to where the local store is.
    fn report(&mut self, host: &impl Host) {
        let current = (self.local.len(), self.local.bytes());
        let difference = |new: usize, old: usize| {
            i64::try_from(new).unwrap_or(i64::MAX).saturating_sub(i64::try_from(old).unwrap_or(i64::MAX))
        };
        for (gauge, by) in [
            (Gauge::CacheEntries, difference(current.0, self.reported.0)),
            (Gauge::CacheBytes, difference(current.1, self.reported.1)),
        ] {
            if by != 0 {
                host.shift(gauge, by);
            }
        }
        self.reported = current;
    }
}

fn is_of_use(claims: Option<&Claims>, verified: UnixTime, life: Duration, now: UnixTime) -> bool {
    let exp = claims.and_then(Claims::exp);
    let has_expired = exp.is_some_and(|exp| now >= UnixTime::from_secs(exp).after(config::MAX_CLOCK_SKEW));
    !has_expired && !now.has_passed(life, verified)
}

/// What an entry takes in memory, nearly, but for its headers.
fn weight(entry: &Entry) -> usize {
    const ALLOCATIONS: usize = 3 * 8;
    let claims = entry.claims();
    let text = entry.identity.jwt().map_or(0, <[u8]>::len);
    let own = size_of::<Entry>() + size_of::<Identity>() + size_of::<Claims>() + ALLOCATIONS;
    own + claims.heap_bytes() + text
}

/// What an entry's headers take, nearly: they are rendered at its first use. One value may be as long as an address.
fn header_bytes(config: &Config) -> usize {
    const ALLOCATION: usize = 3 * 8;
    config.identity_headers.iter().map(|header| header.name.len() + 8).sum::<usize>() + 32 + ALLOCATION
}

#[cfg(test)]
mod tests;
