//! The parts of the configuration that make a difference.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use authgate::config::Config;
use authgate::internals::QUESTIONS;
use serde_json::json;

use super::script::Place;

/// The only listed origin.
pub const ORIGIN: &str = "https://app.example";

/// The number of settings of the cache.
const CACHES: u8 = 6;

/// A choice for each part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Setup {
    format: Choice<4>,
    retries: Choice<3>,
    interval: Choice<4>,
    grace: Choice<4>,
    forward: Choice<3>,
    workers: Choice<3>,
    has_skew: bool,
    is_pinned: bool,
    is_remote: bool,
    cache: Choice<CACHES>,
    breaker: Choice<4>,
    falls_back: bool,
    feed: Choice<4>,
    has_throttle: Choice<4>,
    is_shadow: bool,
}

impl<'a> Arbitrary<'a> for Setup {
    /// Later parts share a byte with earlier ones, so that older scripts keep their meaning.
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let (format, retries, interval): (_, _, u8) = (bytes.arbitrary()?, bytes.arbitrary()?, bytes.arbitrary()?);
        let (forward, workers, has_skew) = (bytes.arbitrary()?, bytes.arbitrary()?, bytes.arbitrary()?);
        let (is_pinned, is_remote, cache) = (bytes.arbitrary()?, bytes.arbitrary()?, bytes.arbitrary()?);
        let breaker: u8 = bytes.arbitrary()?;
        let (feed, throttle): (_, u8) = (bytes.arbitrary()?, bytes.arbitrary()?);
        Ok(Self {
            format,
            retries,
            interval: Choice(interval % 4),
            grace: Choice(interval / 4 % 4),
            forward,
            workers,
            has_skew,
            is_pinned,
            is_remote,
            cache,
            breaker: Choice(breaker % 4),
            falls_back: breaker / 4 % 4 != 3,
            feed,
            has_throttle: Choice(throttle % 4),
            is_shadow: throttle / 4 % 4 == 3,
        })
    }
}

/// A number below `N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Choice<const N: u8>(u8);

impl<'a, const N: u8> Arbitrary<'a> for Choice<N> {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(bytes.arbitrary::<u8>()? % N))
    }
}

impl<const N: u8> Choice<N> {
    fn of<T: Copy>(self, choices: &[T]) -> T {
        choices[usize::from(self.0)]
    }
}

impl Setup {
    /// The number of workers.
    pub fn workers(self) -> usize {
        self.workers.of(&[2, 1, 3])
    }

    /// `api_token.response_format`.
    pub fn format(self) -> &'static str {
        self.format.of(&["json_body", "json_header", "jwt_body", "jwt_header"])
    }

    /// Whether the service answers with JWTs.
    pub fn answers_in_jwts(self) -> bool {
        self.format.0 >= 2
    }

    /// Whether an answer about a credential is in its headers alone.
    pub fn answers_in_headers(self) -> bool {
        self.format().ends_with("_header")
    }

    /// `auth_service.retries`.
    pub fn retries(self) -> u32 {
        self.retries.of(&[1, 0, 2])
    }

    /// `auth_service.timeout`.
    pub const fn timeout(self) -> Duration {
        Duration::from_secs(1)
    }

    /// `jwt.public_key.min_refetch_interval`.
    pub fn interval(self) -> Duration {
        Duration::from_millis(self.interval.of(&[100, 500, 5_000, 60_000]))
    }

    /// `jwt.public_key.grace`.
    pub fn grace(self) -> Duration {
        Duration::from_millis(self.grace.of(&[5_000, 0, 1_000, 60_000]))
    }

    /// `jwt.clock_skew`.
    pub fn skew(self) -> Duration {
        Duration::from_secs(if self.has_skew { 30 } else { 0 })
    }

    /// Whether the service's first key is pinned.
    pub const fn is_pinned(self) -> bool {
        self.is_pinned
    }

    /// Whether the service verifies JWTs.
    pub fn is_remote(self, place: Place) -> bool {
        self.format() != "json_header"
            && match place {
                Place::Remote => true,
                Place::Local => false,
                _ => self.is_remote,
            }
    }

    /// Whether denials in a place are in shadow mode.
    pub const fn is_shadow(self, place: Place) -> bool {
        match place {
            Place::Trial | Place::DeniedTrial | Place::AmbiguousTrial => true,
            Place::Strict => false,
            _ => self.is_shadow,
        }
    }

    /// `cache.ttl`, `negative_ttl` and `stale_ttl`.
    pub fn cache(self) -> (Duration, Duration, Duration) {
        let (ttl, negative, stale) = self.cache.of(&[
            (300_000, 10_000, 3_600_000),
            (1_500, 1_000, 4_000),
            (10_000, 2_000, 60_000),
            (300_000, 0, 0),
            (0, 0, 0),
            (500, 60_000, 300),
        ]);
        (Duration::from_millis(ttl), Duration::from_millis(negative), Duration::from_millis(stale))
    }

    /// How long a verdict can be used.
    pub fn longest_life(self) -> Duration {
        let (ttl, _, stale) = self.cache();
        ttl + stale
    }

    /// How long a worker must remember what has ended a verdict or refused a credential.
    pub fn memory(self) -> Duration {
        let (_, negative, _) = self.cache();
        self.longest_life().max(negative)
    }

    /// The same setup with other settings of the cache.
    #[must_use]
    pub const fn with_cache(self, cache: u8) -> Self {
        Self { cache: Choice(cache % CACHES), ..self }
    }

    /// Whether the cache is off.
    pub fn is_cache_off(self) -> bool {
        self.cache().0.is_zero()
    }

    /// Whether a worker's own cache has room for everything that a script can put there.
    pub const fn is_cache_large(self) -> bool {
        !matches!(self.cache.0, 2)
    }

    /// `circuit_breaker`.
    pub fn breaker(self) -> (u64, Duration) {
        let (failures, millis) = self.breaker.of(&[(3, 5_000), (1, 500), (2, 60_000), (1_000, 100)]);
        (failures, Duration::from_millis(millis))
    }

    /// `circuit_breaker.fallback`.
    pub const fn falls_back(self) -> bool {
        self.falls_back
    }

    /// `revocation.poll_interval`; `None`: there is no list.
    pub fn poll_interval(self) -> Option<Duration> {
        self.feed.of(&[Some(1), None, Some(3_600), Some(10)]).map(Duration::from_secs)
    }

    /// `failed_auth_throttle.attempts`; `None`: there is no throttle.
    pub const fn attempts(self) -> Option<usize> {
        if self.has_throttle.0 == 3 { Some(2) } else { None }
    }

    /// `failed_auth_throttle.window`.
    pub const WINDOW: Duration = Duration::from_secs(10);

    /// `failed_auth_throttle.lockout`.
    pub const fn lockout(self) -> Duration {
        Duration::from_secs(20)
    }

    /// `forward_credential`.
    fn forward(self) -> serde_json::Value {
        match self.forward.0 {
            0 => json!(true),
            1 => json!(false),
            _ if self.answers_in_jwts() => json!("jwt"),
            _ => json!(true),
        }
    }

    /// How long a question and its retries may take, after which another worker may ask.
    pub fn lease(self) -> Duration {
        self.timeout() * (self.retries() + 1) + Duration::from_secs(1)
    }

    /// How long a fetch of the key may take, after which another worker may ask.
    pub fn key_lease(self) -> Duration {
        self.lease() + self.timeout() * (QUESTIONS - 1)
    }

    /// How long a request may wait for a key.
    pub fn longest_wait(self) -> Duration {
        (self.key_lease() * 2 + self.interval()).min(Duration::from_secs(20))
    }

    /// The configuration itself.
    ///
    /// # Panics
    /// Never: every setup is a valid configuration.
    pub fn config(self) -> Config {
        // An answer in headers has no token type.
        let types = if self.format() == "json_header" { vec!["apikey"] } else { vec!["apikey", "other"] };
        let pem: Vec<&str> = authgate::internals::world::KEYS.into_iter().take(usize::from(self.is_pinned)).collect();
        let word = |is_remote: bool| if is_remote { "remote" } else { "local" };
        let (ttl, negative_ttl, stale_ttl) = self.cache();
        let (failures, open_for) = self.breaker();
        let millis = |time: Duration| format!("{}ms", time.as_millis());
        let mut json = json!({
            "auth_service": {"cluster": "auth", "retries": self.retries(), "timeout": "1s"},
            "jwt": {
                "verification": word(self.is_remote(Place::Private)),
                "clock_skew": millis(self.skew()),
                "public_key": {"ttl": "600s", "min_refetch_interval": millis(self.interval()), "grace": millis(self.grace()), "pem": pem},
            },
            "api_token": {"response_format": self.format(), "header_types": types},
            "cache": {
                "max_entries": if self.is_cache_large() { 1_000 } else { 2 },
                "ttl": millis(ttl),
                "negative_ttl": millis(negative_ttl),
                "stale_ttl": millis(stale_ttl),
                "eviction": if self.cache.0.is_multiple_of(2) { "lru" } else { "lfu" },
            },
            "circuit_breaker": {"failures": failures, "open_for": millis(open_for), "fallback": self.falls_back},
            "mode": if self.is_shadow { "shadow" } else { "enforce" },
            "rules": rules(word(self.is_remote(Place::Remote))),
            "forward_credential": self.forward(),
            "responses": {"cors_origins": [ORIGIN]},
        });
        if let Some(interval) = self.poll_interval() {
            json["revocation"] = json!({"path": "/auth/blacklist", "poll_interval": millis(interval)});
        }
        if let Some(attempts) = self.attempts() {
            let lockout = millis(self.lockout());
            json["failed_auth_throttle"] =
                json!({"attempts": attempts, "window": millis(Self::WINDOW), "lockout": lockout});
        }
        Config::from_bytes(json.to_string().as_bytes()).expect("a configuration")
    }
}

/// The rules of the places. `remote`: who verifies the JWTs of [`Place::Remote`].
fn rules(remote: &str) -> serde_json::Value {
    let machines = json!({"token_types": ["api_token"]});
    json!([
        {"name": "public", "match": {"prefix": "/public"}, "public": true},
        {"name": "machines", "match": {"prefix": "/machines"}, "require": machines},
        {"name": "remote", "match": {"prefix": "/remote"}, "verification": remote},
        {"name": "local", "match": {"prefix": "/local"}, "verification": "local"},
        {"name": "optional", "match": {"prefix": "/optional"}, "optional": true},
        {"name": "denied", "match": {"prefix": "/denied"}, "deny": true},
        {"name": "trial", "match": {"prefix": "/trial"}, "require": machines, "mode": "shadow"},
        {"name": "denied_trial", "match": {"prefix": "/denied-trial"}, "deny": true, "mode": "shadow"},
        {"name": "strict", "match": {"prefix": "/strict"}, "require": machines, "mode": "enforce"},
    ])
}
