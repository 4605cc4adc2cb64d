//! Which keys are accepted now, and when to fetch again.
//!
//! Workers share the **keys**: the newest, with the time at which its fetch began, and earlier ones, each with the time
//! at which it was replaced. However many workers want the key, only one of them asks the service (a [`Turn`]).
//!
//! While the service's replicas change their key one by one, an answer with a known key proves nothing: another replica
//! may already sign with a new key. So a fetch for waiting requests asks up to [`QUESTIONS`] times, until an answer
//! brings a key that isn't accepted yet. A fetch of which every answer brings an accepted key is a **search**: after
//! it, a signature that fits none of the keys is forged. So that forged tokens don't multiply the questions, a search
//! is made at most once in [`BETWEEN_SEARCHES`], unless a new key has come since.

use std::time::Duration;

use crate::config::Config;
use crate::host::{Cx, SharedData, SharedValue, Write};
use crate::key_set::KeySet;
use crate::public_key::{KeyId, PublicKey, short_digest};
use crate::table::{Bytes, RECORDS, write_time};
use crate::time::Instant;
use crate::turn::{LastTurn, Turn};

/// Without any key no JWT can be verified, so a failed first fetch is repeated after at most this time, even if
/// `min_refetch_interval` is longer.
const RETRY_WITHOUT_KEY: Duration = Duration::from_secs(1);

/// No request waits longer than this for a key, so that it gets its answer from the filter and not from Envoy's
/// `stream_idle_timeout`, 30 s in the shipped configuration.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The most fetched keys that are kept: the newest and those that it replaced.
const MAX_KEYS: usize = 4;

/// How many times one fetch asks for the key at most, without retries: once for each of three replicas, which Envoy
/// asks in turn.
pub const QUESTIONS: u32 = 3;

/// The least time between two searches. In between, a fetch asks once, and the result of the last search holds. A new
/// key ends this time.
pub const BETWEEN_SEARCHES: Duration = Duration::from_secs(60);

/// How many times a worker tries to write the keys when others write them first.
const TRIES: usize = 4;

/// A key that the service served.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fetched {
    key: PublicKey,
    /// For the newest key: when its fetch began; the service served it then or later. For others: when it was replaced.
    at: Instant,
}

fn encode(keys: &[Fetched], searched: Instant) -> Vec<u8> {
    let mut record = Vec::new();
    write_time(&mut record, searched);
    for Fetched { key, at } in keys {
        write_time(&mut record, *at);
        record.extend_from_slice(&u16::try_from(key.der().len()).unwrap_or(0).to_le_bytes());
        record.extend_from_slice(key.der());
    }
    record
}

/// Reads what [`encode`] wrote. Keys among `known` are not parsed again. `None`: these bytes are something else.
fn decode(record: &[u8], known: &[Fetched]) -> Option<(Vec<Fetched>, Instant)> {
    let mut reader = Bytes(record);
    let searched = reader.time()?;
    let mut keys = Vec::new();
    while !reader.0.is_empty() && keys.len() < MAX_KEYS {
        let (at, length) = (reader.time()?, u16::from_le_bytes(reader.bytes()?));
        let (der, rest) = reader.0.split_at_checked(length.into())?;
        reader.0 = rest;
        let same = known.iter().find(|fetched| fetched.key.der() == der);
        let key = same.map(|fetched| fetched.key.clone()).or_else(|| PublicKey::from_der(der).ok())?;
        keys.push(Fetched { key, at });
    }
    Some((keys, searched))
}

/// When the fetch of the newest key in a record began.
fn newest_at(record: &[u8]) -> Option<Instant> {
    let mut reader = Bytes(record);
    reader.time()?;
    reader.time()
}

/// Why a fetch is wanted. This decides how soon after the last fetch it may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is no key, or it is older than `jwt.public_key.ttl`.
    Due,
    /// A signature didn't fit the key.
    SignatureFailed,
}

/// The keys that are accepted at a time. The service's keys have no ids.
#[derive(Debug, Clone, Copy)]
pub struct KeysAt<'s> {
    store: &'s KeyStore,
    now: Instant,
}

impl KeySet for KeysAt<'_> {
    fn candidates<'s>(&'s self, _kid: Option<&str>) -> Box<dyn Iterator<Item = &'s PublicKey> + 's> {
        Box::new(self.store.keys(self.now))
    }
}

/// The keys that the service served before, and that are no longer accepted. It may serve them again.
#[derive(Debug, Clone, Copy)]
pub struct OutdatedKeys<'s>(KeysAt<'s>);

impl OutdatedKeys<'_> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.candidates(None).next().is_none()
    }
}

impl KeySet for OutdatedKeys<'_> {
    fn candidates<'s>(&'s self, _kid: Option<&str>) -> Box<dyn Iterator<Item = &'s PublicKey> + 's> {
        let KeysAt { store, now } = self.0;
        let is_outdated = move |key: &&PublicKey| !store.accepts(key.id(), now);
        Box::new(store.fetched.iter().map(|fetched| &fetched.key).filter(is_outdated))
    }
}

/// A worker's view of the keys.
#[derive(Debug)]
pub struct KeyStore {
    pinned: Vec<PublicKey>,
    /// The newest first, at most [`MAX_KEYS`].
    fetched: Vec<Fetched>,
    /// When the last search began; the epoch if there was none.
    searched: Instant,
    /// Counts the changes of the keys, so that the same keys aren't tried twice.
    generation: u64,
    grace: Duration,
    ttl: Duration,
    min_refetch_interval: Duration,
    lease: Duration,
    key_name: String,
    /// Lets one worker fetch at a time.
    turn: Turn,
}

impl KeyStore {
    /// An empty store, or one with the pinned keys, which are never fetched.
    pub fn new(config: &Config) -> Self {
        let service = &config.auth_service;
        // Filters that ask different services may share a `vm_id`; their keys must not mix.
        let host = &config.jwt.public_key.host;
        let origin =
            short_digest(format!("{}\0{}\0{}", host.cluster, host.authority, service.public_key_path).as_bytes());
        let lease = service.longest_callout() + service.timeout * (QUESTIONS - 1);
        Self {
            pinned: config.jwt.public_key.pem.clone(),
            fetched: Vec::new(),
            searched: Instant::default(),
            generation: 0,
            grace: config.jwt.public_key.grace,
            ttl: config.jwt.public_key.ttl,
            min_refetch_interval: config.jwt.public_key.min_refetch_interval,
            lease,
            key_name: format!("{RECORDS}{origin}.key"),
            turn: Turn::new(format!("{RECORDS}{origin}.attempt"), lease),
        }
    }

    /// The keys to try, the likeliest first. A key that was replaced is accepted for its grace, so that its JWTs under
    /// way aren't refused, nor those of a replica of the service that still signs with it.
    pub fn keys(&self, now: Instant) -> impl Iterator<Item = &PublicKey> {
        let replaced = self.fetched.iter().skip(1).filter(move |replaced| !now.has_passed(self.grace, replaced.at));
        self.pinned.iter().chain(self.fetched.first().into_iter().chain(replaced).map(|fetched| &fetched.key))
    }

    /// The keys that are accepted at `now`, as a set.
    pub const fn at(&self, now: Instant) -> KeysAt<'_> {
        KeysAt { store: self, now }
    }

    /// The keys that were accepted before `now`, and no longer are.
    pub const fn outdated(&self, now: Instant) -> OutdatedKeys<'_> {
        OutdatedKeys(self.at(now))
    }

    /// Whether a signature by this key would be accepted now.
    pub fn accepts(&self, key: KeyId, now: Instant) -> bool {
        self.keys(now).any(|known| known.id() == key)
    }

    /// Whether the keys come from the configuration.
    pub const fn is_pinned(&self) -> bool {
        !self.pinned.is_empty()
    }

    /// When the fetch of the newest key began.
    pub fn fetched_at(&self) -> Option<Instant> {
        self.fetched.first().map(|fetched| fetched.at)
    }

    /// A number that changes when the keys do, but not when the same key is fetched again.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether a signature that fits no key is forged, in a request that arrived at `arrived`: a search began since, or
    /// one began recently and a fetch since then brought nothing new.
    pub fn can_judge(&self, arrived: Instant, now: Instant) -> bool {
        let since = |at: Instant| arrived <= at;
        self.is_pinned() || since(self.searched) || (self.fetched_at().is_some_and(since) && !self.may_search(now))
    }

    /// When the newest key was fetched, if no signature can have it fetched again yet, and no search is due.
    pub fn just_fetched(&self, now: Instant) -> Option<Instant> {
        self.fetched_at().filter(|at| !now.has_passed(self.min_refetch_interval, *at) && !self.may_search(now))
    }

    /// Whether the next fetch may be a search.
    pub fn may_search(&self, now: Instant) -> bool {
        now.has_passed(BETWEEN_SEARCHES, self.searched)
    }

    /// Takes over what another worker has fetched.
    pub fn synchronise(&mut self, cx: &Cx<'_>) {
        if !self.is_pinned()
            && let Some(SharedValue { bytes, .. }) = cx.shared.shared_data(&self.key_name)
        {
            self.take_over(&bytes);
        }
    }

    fn take_over(&mut self, record: &[u8]) {
        let Some(at) = newest_at(record) else { return };
        // An older record comes from a worker whose answer was late.
        if self.fetched_at().is_some_and(|known| at <= known) {
            return;
        }
        if let Some((keys, searched)) = decode(record, &self.fetched) {
            self.install(keys, searched);
        }
    }

    /// The state of any worker's last fetch.
    pub fn last_fetch(&self, cx: &Cx<'_>) -> LastTurn {
        self.turn.last(cx)
    }

    /// Whether the key is missing or older than its `ttl`.
    pub fn is_due(&self, now: Instant) -> bool {
        !self.is_pinned() && self.fetched_at().is_none_or(|at| now.has_passed(self.ttl, at))
    }

    /// Tries to become the one worker that fetches the key. True: the caller sends the request now, and at the end
    /// calls [`Self::succeed`] or [`Self::fail`] with `now` as `began`.
    pub fn begin_fetch(&self, reason: Reason, cx: &Cx<'_>) -> bool {
        let may_begin = |last| {
            let next = self.next_fetch(reason, self.turn.within_lease(last, cx.now), cx.now);
            next.is_some_and(|next| next <= cx.now)
        };
        !self.is_pinned() && self.turn.begin(|last, ()| may_begin(last).then_some(()), cx)
    }

    /// Ends a fetch that began at `began` and brought `key`. `is_search`: it asked [`QUESTIONS`] times, and every
    /// answer brought a key that was accepted before.
    pub fn succeed(&mut self, key: &PublicKey, began: Instant, is_search: bool, cx: &Cx<'_>) {
        for attempt in 1..=TRIES {
            let shared = cx.shared.shared_data(&self.key_name);
            if let Some(SharedValue { bytes, .. }) = &shared {
                self.take_over(bytes);
            }
            // If this fetch outlived its lease, another worker's may have overtaken it.
            if self.fetched_at().is_some_and(|known| known > began) {
                break;
            }
            let keys = self.with_newest(key, began, cx.now);
            let is_new = !self.accepts(key.id(), cx.now);
            let searched = match (is_search, is_new) {
                (true, _) => began,
                (false, true) => Instant::default(),
                (false, false) => self.searched,
            };
            let write = match shared {
                _ if attempt == TRIES => Write::Always,
                None => Write::IfAbsent,
                Some(SharedValue { cas, .. }) => Write::IfVersion(cas),
            };
            // The keys come first, so that a worker that sees the success finds them.
            if cx.shared.set_shared_data(&self.key_name, &encode(&keys, searched), write).is_ok() {
                self.install(keys, searched);
                break;
            }
        }
        self.turn.end(began, true, |()| (), cx.shared);
    }

    /// Ends a fetch that began at `began` and brought no key. The known keys stay.
    pub fn fail(&self, began: Instant, shared: &dyn SharedData) {
        self.turn.end(began, false, |()| (), shared);
    }

    /// The fetch that began at `began` will not end, as its worker ends first.
    pub fn give_back(&self, began: Instant, shared: &dyn SharedData) {
        self.turn.give_back(began, shared);
    }

    /// The longest that a request may have to wait for a fetch to begin after its arrival, and to end.
    pub fn longest_wait(&self) -> Duration {
        (self.lease + self.min_refetch_interval + self.lease).min(LONGEST_WAIT)
    }

    /// The keys, now that the fetch that began at `began` has brought `key`.
    fn with_newest(&self, key: &PublicKey, began: Instant, now: Instant) -> Vec<Fetched> {
        let mut keys = self.fetched.clone();
        match keys.first_mut() {
            Some(newest) if newest.key == *key => newest.at = began,
            newest => {
                if let Some(replaced) = newest {
                    replaced.at = now;
                }
                keys.retain(|fetched| fetched.key != *key);
                keys.insert(0, Fetched { key: key.clone(), at: began });
                keys.truncate(MAX_KEYS);
            }
        }
        keys
    }

    fn install(&mut self, keys: Vec<Fetched>, searched: Instant) {
        let newest = |keys: &[Fetched]| keys.first().map(|fetched| fetched.key.clone());
        let is_known = |fetched: &Fetched| self.fetched.iter().any(|known| known.key == fetched.key);
        // A replaced key was the newest again in between, so it is accepted again.
        let was_newest = |fetched: &Fetched| {
            self.fetched.iter().skip(1).any(|known| known.key == fetched.key && known.at < fetched.at)
        };
        if newest(&keys) != newest(&self.fetched) || keys.iter().any(|key| !is_known(key) || was_newest(key)) {
            self.generation += 1;
        }
        if let (Some(before), Some(after)) = (newest(&self.fetched), newest(&keys))
            && before != after
        {
            log::info!("public key changed from {} to {}", before.fingerprint(), after.fingerprint());
        }
        self.fetched = keys;
        self.searched = searched;
    }

    /// When the next fetch for `reason` may begin; `None` while one is under way.
    pub fn next_fetch(&self, reason: Reason, last: LastTurn, now: Instant) -> Option<Instant> {
        let gap = match reason {
            Reason::Due if self.fetched.is_empty() => self.min_refetch_interval.min(RETRY_WITHOUT_KEY),
            Reason::Due | Reason::SignatureFailed => self.min_refetch_interval,
        };
        match last {
            LastTurn::UnderWay { .. } => None,
            LastTurn::Free => Some(now),
            LastTurn::Succeeded { since } | LastTurn::Failed { since } => Some(since.after(gap)),
        }
    }
}

#[cfg(test)]
mod tests;
