//! Which keys are valid now, and when to fetch again.
//!
//! Workers share the **keys**: the newest with the time at which its fetch began, and those before it with the time at
//! which each was replaced. However many workers want the key, one of them asks the service (a [`Turn`]).
//!
//! While the service's replicas change their key one by one, an answer with a key that is known already proves nothing:
//! another replica may sign with a new one. So a fetch for requests that wait asks up to [`QUESTIONS`] times, until an
//! answer brings a key that isn't good yet. One of which all answers brought good keys is a **search**, after which a
//! signature that fits none of them is a forged one. Forged tokens must not multiply the questions: a search is made
//! once in [`BETWEEN_SEARCHES`], and whenever a new key has come since.

use std::time::Duration;

use crate::config::Config;
use crate::host::{Cx, SharedData, SharedValue, Write};
use crate::key_set::KeySet;
use crate::public_key::{KeyId, PublicKey, short_digest};
use crate::table::{Reader, write_time};
use crate::time::UnixTime;
use crate::turn::{LastTurn, Turn};

/// Without any key no JWT can be verified, so a failed first fetch is repeated sooner than
/// `min_refetch_interval`: after at most this long.
const RETRY_WITHOUT_KEY: Duration = Duration::from_secs(1);

/// No request waits longer than this for a key, so that it gets its answer from the filter and not from Envoy's
/// `stream_idle_timeout`, 30 s in the shipped configuration.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The most fetched keys that are kept: the newest and those that it replaced.
const MAX_KEYS: usize = 4;

/// How often one fetch asks for the key at the most, its retries apart: once each of three replicas that Envoy asks in
/// turn.
pub const QUESTIONS: u32 = 3;

/// The least time between two searches: in between a fetch asks once, and what the last search found holds. A new key ends
/// it.
pub const BETWEEN_SEARCHES: Duration = Duration::from_secs(60);

/// How often the keys are written again that another worker was faster with.
const TRIES: usize = 4;

/// A key that the service served.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fetched {
    key: PublicKey,
    /// The newest: when its fetch began, so that the service served it then or later. Another: when it was replaced.
    at: UnixTime,
}

fn encode(keys: &[Fetched], searched: UnixTime) -> Vec<u8> {
    let mut record = Vec::new();
    write_time(&mut record, searched);
    for Fetched { key, at } in keys {
        write_time(&mut record, *at);
        record.extend_from_slice(&u16::try_from(key.der().len()).unwrap_or(0).to_le_bytes());
        record.extend_from_slice(key.der());
    }
    record
}

/// Reads what [`encode`] wrote. Keys among `known` are not parsed again. Nothing: these bytes are something else.
fn decode(record: &[u8], known: &[Fetched]) -> Option<(Vec<Fetched>, UnixTime)> {
    let mut reader = Reader(record);
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
fn newest_at(record: &[u8]) -> Option<UnixTime> {
    let mut reader = Reader(record);
    reader.time()?;
    reader.time()
}

/// Why a fetch is wanted, which decides how soon after the last one it may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is no key, or it is older than `jwt.public_key.ttl`.
    Due,
    /// A signature didn't fit the key.
    SignatureFailed,
}

/// The keys that are good at a time. The service's keys have no ids.
#[derive(Debug, Clone, Copy)]
pub struct KeysAt<'s> {
    store: &'s KeyStore,
    now: UnixTime,
}

impl KeySet for KeysAt<'_> {
    fn candidates<'s>(&'s self, _kid: Option<&str>) -> Box<dyn Iterator<Item = &'s PublicKey> + 's> {
        Box::new(self.store.keys(self.now))
    }
}

/// A worker's view of the keys.
#[derive(Debug)]
pub struct KeyStore {
    pinned: Vec<PublicKey>,
    /// The newest first, [`MAX_KEYS`] at the most.
    fetched: Vec<Fetched>,
    /// When the last search began; the epoch: there was none.
    searched: UnixTime,
    /// Counts the changes of the keys, so that nobody tries the same ones twice.
    generation: u64,
    grace: Duration,
    ttl: Duration,
    min_refetch_interval: Duration,
    lease: Duration,
    key_name: String,
    /// The fetch, which one worker makes at a time.
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
            searched: UnixTime::default(),
            generation: 0,
            grace: config.jwt.public_key.grace,
            ttl: config.jwt.public_key.ttl,
            min_refetch_interval: config.jwt.public_key.min_refetch_interval,
            lease,
            key_name: format!("authgate.{origin}.key"),
            turn: Turn::new(format!("authgate.{origin}.attempt"), lease),
        }
    }

    /// The keys to try, the likeliest first: a key that was replaced stays good for its grace, so that requests under
    /// way aren't refused, nor those whose key another replica of the service still signs with.
    pub fn keys(&self, now: UnixTime) -> impl Iterator<Item = &PublicKey> {
        let replaced = self.fetched.iter().skip(1).filter(move |replaced| !now.has_passed(self.grace, replaced.at));
        self.pinned.iter().chain(self.fetched.first().into_iter().chain(replaced).map(|fetched| &fetched.key))
    }

    /// The same as a set.
    pub const fn at(&self, now: UnixTime) -> KeysAt<'_> {
        KeysAt { store: self, now }
    }

    /// Whether a signature by this key would be accepted now.
    pub fn accepts(&self, key: KeyId, now: UnixTime) -> bool {
        self.keys(now).any(|known| known.id() == key)
    }

    /// Whether the keys come from the configuration.
    pub const fn is_pinned(&self) -> bool {
        !self.pinned.is_empty()
    }

    /// When the fetch of the newest key began.
    pub fn fetched_at(&self) -> Option<UnixTime> {
        self.fetched.first().map(|fetched| fetched.at)
    }

    /// A number that changes when the keys do; one that was fetched again unchanged doesn't count.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether a signature that fits no key is forged, of a request that arrived at `arrived`: the service was searched for
    /// keys since, or it was lately, and a fetch since brought nothing new.
    pub fn can_judge(&self, arrived: UnixTime, now: UnixTime) -> bool {
        let since = |at: UnixTime| arrived <= at && at <= now;
        self.is_pinned() || since(self.searched) || (self.fetched_at().is_some_and(since) && !self.may_search(now))
    }

    /// Whether the next fetch may be a search.
    pub fn may_search(&self, now: UnixTime) -> bool {
        now.has_passed(BETWEEN_SEARCHES, self.searched)
    }

    /// Takes over what another worker has fetched.
    pub fn synchronise(&mut self, cx: &Cx<'_>) {
        if !self.is_pinned()
            && let Some(SharedValue { bytes, .. }) = cx.shared.shared_data(&self.key_name)
        {
            self.take_over(&bytes, cx.now);
        }
    }

    fn take_over(&mut self, record: &[u8], now: UnixTime) {
        let Some(at) = newest_at(record) else { return };
        // An older one comes of a worker whose answer was late; but a time to come is that of a clock since set back.
        if self.fetched_at().is_some_and(|known| at == known || at < known && !known.is_to_come(now)) {
            return;
        }
        if let Some((keys, searched)) = decode(record, &self.fetched) {
            self.install(keys, searched);
        }
    }

    /// How the last fetch of any worker stands.
    pub fn last_fetch(&self, cx: &Cx<'_>) -> LastTurn {
        self.turn.last(cx)
    }

    /// Whether the key is missing or older than its `ttl`.
    pub fn is_due(&self, now: UnixTime) -> bool {
        !self.is_pinned() && self.fetched_at().is_none_or(|at| now.has_passed(self.ttl, at))
    }

    /// Tries to become the one worker that fetches the key. True: the caller sends the request now, and calls
    /// [`Self::succeed`] or [`Self::fail`] with `now` as `began` in the end.
    pub fn begin_fetch(&self, reason: Reason, cx: &Cx<'_>) -> bool {
        let may_begin = |last| {
            let next = self.next_fetch(reason, self.turn.within_lease(last, cx.now), cx.now);
            next.is_some_and(|next| next <= cx.now)
        };
        !self.is_pinned() && self.turn.begin(|last, ()| may_begin(last).then_some(()), cx)
    }

    /// The service answered a fetch that began at `began` with `key`. `is_search`: it asked as often as it may, and
    /// every answer brought a key that was good before.
    pub fn succeed(&mut self, key: &PublicKey, began: UnixTime, is_search: bool, cx: &Cx<'_>) {
        for attempt in 1..=TRIES {
            let shared = cx.shared.shared_data(&self.key_name);
            if let Some(SharedValue { bytes, .. }) = &shared {
                self.take_over(bytes, cx.now);
            }
            // A fetch that outlived its lease may have been overtaken by another worker's.
            if self.fetched_at().is_some_and(|known| known > began && !known.is_to_come(cx.now)) {
                break;
            }
            let keys = self.with_newest(key, began, cx.now);
            let is_new = !self.accepts(key.id(), cx.now);
            let searched = match (is_search, is_new) {
                (true, _) => began,
                (false, true) => UnixTime::default(),
                (false, false) => self.searched,
            };
            let write = match shared {
                _ if attempt == TRIES => Write::Always,
                None => Write::IfAbsent,
                Some(SharedValue { cas, .. }) => Write::IfVersion(cas),
            };
            // The keys first: whoever sees that the fetch succeeded finds them.
            if cx.shared.set_shared_data(&self.key_name, &encode(&keys, searched), write).is_ok() {
                self.install(keys, searched);
                break;
            }
        }
        self.turn.end(began, true, |()| (), cx.shared);
    }

    /// The fetch that began at `began` brought no key; those that are known stay.
    pub fn fail(&self, began: UnixTime, shared: &dyn SharedData) {
        self.turn.end(began, false, |()| (), shared);
    }

    /// The longest that a request can have to wait for a fetch that begins after it arrived, and its end.
    pub fn longest_wait(&self) -> Duration {
        (self.lease + self.min_refetch_interval + self.lease).min(LONGEST_WAIT)
    }

    /// What is known once the fetch that began at `began` has brought `key`.
    fn with_newest(&self, key: &PublicKey, began: UnixTime, now: UnixTime) -> Vec<Fetched> {
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

    fn install(&mut self, keys: Vec<Fetched>, searched: UnixTime) {
        let newest = |keys: &[Fetched]| keys.first().map(|fetched| fetched.key.clone());
        let is_new = |fetched: &Fetched| !self.fetched.iter().any(|known| known.key == fetched.key);
        if newest(&keys) != newest(&self.fetched) || keys.iter().any(is_new) {
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
    pub fn next_fetch(&self, reason: Reason, last: LastTurn, now: UnixTime) -> Option<UnixTime> {
        let gap = match reason {
            Reason::Due if self.fetched.is_empty() => self.min_refetch_interval.min(RETRY_WITHOUT_KEY),
            Reason::Due | Reason::SignatureFailed => self.min_refetch_interval,
        };
        match last {
            LastTurn::UnderWay { .. } => None,
            LastTurn::Free => Some(now),
            // A clock that stepped back behind the fetch must not make the wait longer than the gap.
            LastTurn::Succeeded { since } | LastTurn::Failed { since } if since.is_to_come(now) => Some(now),
            LastTurn::Succeeded { since } | LastTurn::Failed { since } => Some(since.after(gap)),
        }
    }
}

#[cfg(test)]
mod tests;
