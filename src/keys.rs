//! The service's keys: which are accepted now, and how they are fetched.

mod store;

use crate::config::{AuthService, Config};
use crate::host::Cx;
use crate::introspection::{self, CalloutError, CalloutRequest, CalloutResponse, Destination, Outage};
use crate::metrics::{Counter, Gauge};
use crate::public_key::{KeyId, PublicKey};
use crate::time::Instant;
use crate::turn::LastTurn;
#[cfg(feature = "testing")]
pub use store::BETWEEN_SEARCHES;
use store::KeyStore;
pub use store::{QUESTIONS, Reason};

/// A fetch of the key that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetch {
    /// When it began; this identifies it.
    began: Instant,
    retries: u32,
    /// How many questions it has asked, without retries.
    question: u32,
    /// The most questions that it may ask.
    most: u32,
}

/// The keys of one worker, and the state of their fetch in the process.
#[derive(Debug)]
pub struct Keys {
    store: KeyStore,
    /// The state of the last fetch at the last [`Self::synchronise`].
    last_fetch: LastTurn,
    first_tick: Option<Instant>,
    service: AuthService,
    cluster: String,
}

impl Keys {
    /// With the pinned keys, or with none yet.
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    pub fn new(config: &Config) -> Self {
        Self {
            store: KeyStore::new(config),
            last_fetch: LastTurn::Free,
            first_tick: None,
            service: config.auth_service.clone(),
            cluster: config.jwt.public_key.host.cluster.clone(),
        }
    }

    /// The keys that this worker knows.
    pub const fn store(&self) -> &KeyStore {
        &self.store
    }

    /// The state of any worker's last fetch at the last [`Self::synchronise`].
    pub const fn last_fetch(&self) -> LastTurn {
        self.last_fetch
    }

    /// Takes over the keys that other workers have fetched.
    pub fn synchronise(&mut self, cx: &Cx<'_>) {
        self.store.synchronise(cx);
        self.last_fetch = self.store.last_fetch(cx);
    }

    /// Whether a signature by this key would be accepted now. A new worker may not yet know what other workers have
    /// fetched, so it looks.
    pub fn accepts(&mut self, key: KeyId, cx: &Cx<'_>) -> bool {
        self.store.accepts(key, cx.now) || {
            self.store.synchronise(cx);
            self.store.accepts(key, cx.now)
        }
    }

    /// Begins a fetch when the key is missing or old. `Some`: the caller sends [`Self::request`].
    pub fn keep_fresh(&mut self, cx: &Cx<'_>) -> Option<Fetch> {
        self.store.synchronise(cx);
        if !self.store.is_pinned() {
            let first_tick = *self.first_tick.get_or_insert(cx.now);
            let at = self.store.fetched_at().unwrap_or(first_tick);
            cx.host.set(Gauge::PublicKeyAge, cx.now.since(at).as_secs());
        }
        if self.store.is_due(cx.now) { self.fetch(Reason::Due, cx) } else { None }
    }

    /// The worker ends: the gauge shows no age.
    pub fn retire(&self, cx: &Cx<'_>) {
        if !self.store.is_pinned() {
            cx.host.set(Gauge::PublicKeyAge, 0);
        }
    }

    /// Begins a fetch, unless another one began too recently. `Some`: the caller sends [`Self::request`].
    pub fn fetch(&mut self, reason: Reason, cx: &Cx<'_>) -> Option<Fetch> {
        if self.store.fetched_at().is_none() {
            // A new worker may not yet know what other workers have fetched.
            self.store.synchronise(cx);
        }
        let reason = if self.store.fetched_at().is_none() { Reason::Due } else { reason };
        let has_begun = self.store.begin_fetch(reason, cx);
        let most = if self.store.may_search(cx.now) { QUESTIONS } else { 1 };
        has_begun.then_some(Fetch { began: cx.now, retries: self.service.retries, question: 1, most })
    }

    /// The callout of a fetch.
    pub fn request(&self) -> CalloutRequest {
        CalloutRequest::get(Destination::PublicKey, self.service.public_key_path.clone())
    }

    /// A fetch will not end, as this worker ends first.
    pub fn give_back(&self, fetch: Fetch, cx: &Cx<'_>) {
        self.store.give_back(fetch.began, cx.shared);
    }

    /// Handles the answer to a fetch, or its failure. `Some`: the caller sends [`Self::request`] again.
    ///
    /// - `is_awaited`: a request waits for a key, which another replica of the service may serve.
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    pub fn on_answer(
        &mut self,
        fetch: Fetch,
        answer: Result<CalloutResponse, CalloutError>,
        is_awaited: bool,
        cx: &Cx<'_>,
    ) -> Option<Fetch> {
        let key = answer
            .map_err(Outage::from)
            .and_then(|answer| introspection::read_public_key(&answer))
            .map_err(|outage| outage.to_string())
            .and_then(|pem| PublicKey::from_pem(&pem).map_err(|error| format!("its key is invalid: {error}")));
        match key {
            Ok(key) => {
                log::debug!("public key {} fetched", key.fingerprint());
                let is_known = self.store.accepts(key.id(), cx.now);
                if is_known && is_awaited && fetch.question < fetch.most {
                    return Some(Fetch { question: fetch.question + 1, ..fetch });
                }
                cx.host.count(Counter::PublicKeyRefresh { success: true });
                self.store.succeed(&key, fetch.began, is_known && fetch.question == QUESTIONS, cx);
                None
            }
            Err(problem) if fetch.retries > 0 => {
                log::debug!("public key not fetched, trying again: {problem}");
                Some(Fetch { retries: fetch.retries - 1, ..fetch })
            }
            Err(problem) => {
                cx.host.count(Counter::PublicKeyRefresh { success: false });
                let known = if self.store.fetched_at().is_some() { "keeping the previous key" } else { "no key yet" };
                let cluster = &self.cluster;
                log::error!("public key not fetched (cluster {cluster}), {known}: {problem}");
                self.store.fail(fetch.began, cx.shared);
                None
            }
        }
    }
}
