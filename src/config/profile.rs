//! `profile`: which values stand in for fields that aren't written.

use std::time::Duration;

use super::{Cache, CircuitBreaker, Eviction};

/// `profile` (docs/reference.md#profiles): the set of defaults. Each field still overrides its own, wherever it is
/// written.
///
/// | field | `production` | `development` | `test` |
/// |---|---|---|---|
/// | `auth_service.timeout` | 1s | 5s | 5s |
/// | `jwt.public_key.ttl` | 1h | 1m | 1m |
/// | `jwt.public_key.min_refetch_interval` | 5s | 1s | 1s |
/// | `cache.ttl` | 300s | 10s | 0s |
/// | `cache.negative_ttl` | 10s | 1s | 0s |
/// | `cache.stale_ttl` | 1h | 1m | 0s |
/// | `circuit_breaker.failures` | 5 | 5 | 1000 |
/// | `circuit_breaker.open_for` | 60s | 5s | 1s |
/// | `revocation.poll_interval` | 30s | 2s | 1s |
///
/// All other defaults are the same in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// The defaults of docs/reference.md#configuration.
    #[default]
    Production,
    /// Changes show at once, and a laptop's slow service is no outage.
    Development,
    /// Every verdict is the service's own: nothing is remembered.
    Test,
}

/// The defaults that differ from profile to profile, and those of the same groups.
pub(super) struct Defaults {
    pub(super) timeout: Duration,
    pub(super) public_key_ttl: Duration,
    pub(super) min_refetch_interval: Duration,
    pub(super) cache: Cache,
    pub(super) circuit_breaker: CircuitBreaker,
    pub(super) poll_interval: Duration,
}

impl Profile {
    pub(super) const fn defaults(self) -> Defaults {
        let production = Defaults {
            timeout: Duration::from_secs(1),
            public_key_ttl: Duration::from_secs(3600),
            min_refetch_interval: Duration::from_secs(5),
            cache: Cache {
                max_entries: 10_000,
                ttl: Duration::from_secs(300),
                negative_ttl: Duration::from_secs(10),
                stale_ttl: Duration::from_secs(3600),
                eviction: Eviction::Lru,
            },
            circuit_breaker: CircuitBreaker { failures: 5, open_for: Duration::from_secs(60), fallback: true },
            poll_interval: Duration::from_secs(30),
        };
        match self {
            Self::Production => production,
            Self::Development => Defaults {
                timeout: Duration::from_secs(5),
                public_key_ttl: Duration::from_secs(60),
                min_refetch_interval: Duration::from_secs(1),
                cache: Cache {
                    ttl: Duration::from_secs(10),
                    negative_ttl: Duration::from_secs(1),
                    stale_ttl: Duration::from_secs(60),
                    ..production.cache
                },
                circuit_breaker: CircuitBreaker { failures: 5, open_for: Duration::from_secs(5), fallback: true },
                poll_interval: Duration::from_secs(2),
            },
            Self::Test => Defaults {
                timeout: Duration::from_secs(5),
                public_key_ttl: Duration::from_secs(60),
                min_refetch_interval: Duration::from_secs(1),
                cache: Cache {
                    ttl: Duration::ZERO,
                    negative_ttl: Duration::ZERO,
                    stale_ttl: Duration::ZERO,
                    ..production.cache
                },
                circuit_breaker: CircuitBreaker { failures: 1000, open_for: Duration::from_secs(1), fallback: true },
                poll_interval: Duration::from_secs(1),
            },
        }
    }
}
