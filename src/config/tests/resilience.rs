//! `cache`, `circuit_breaker`, `revocation` and `failed_auth_throttle`: values, ranges and what turns them off.

use super::*;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const HOUR: u64 = 3600;

/// The same configuration from both forms.
fn both(changes: Value) -> [Config; 2] {
    let mut whole = json!({"auth_service": {"cluster": "auth_service"}});
    whole.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    [Config::from_bytes(whole.to_string().as_bytes()).unwrap(), from_struct(&whole).unwrap()]
}

#[test]
fn cache_settings_within_their_ranges_are_accepted() {
    for (cache, expected) in [
        (
            json!({"max_entries": 1, "ttl": "1ms", "negative_ttl": "0s", "stale_ttl": "0s", "eviction": "lfu"}),
            Cache {
                max_entries: 1,
                ttl: Duration::from_millis(1),
                negative_ttl: Duration::ZERO,
                stale_ttl: Duration::ZERO,
                eviction: Eviction::Lfu,
            },
        ),
        (
            json!({
                "max_entries": 1_000_000, "ttl": "24h", "negative_ttl": "1h", "stale_ttl": "168h", "eviction": "lru",
            }),
            Cache {
                max_entries: 1_000_000,
                ttl: secs(24 * HOUR),
                negative_ttl: secs(HOUR),
                stale_ttl: secs(168 * HOUR),
                eviction: Eviction::Lru,
            },
        ),
    ] {
        for config in both(json!({"cache": cache})) {
            assert_eq!(config.cache, expected);
            assert!(!config.cache.is_off());
        }
    }
}

#[test]
fn a_ttl_of_zero_turns_the_cache_off() {
    for ttl in ["0s", "0ms", "0h", "0.0s"] {
        for config in both(json!({"cache": {"ttl": ttl, "negative_ttl": "10s", "stale_ttl": "1h"}})) {
            assert!(config.cache.is_off(), "{ttl}");
        }
    }
}

#[test]
fn breaker_settings_within_their_ranges_are_accepted() {
    for (breaker, failures, open_for) in [
        (json!({"failures": 1, "open_for": "100ms"}), 1, Duration::from_millis(100)),
        (json!({"failures": 1000, "open_for": "1h"}), 1000, secs(HOUR)),
        (json!({"failures": 7.0}), 7, secs(60)),
        (json!({"open_for": "1s"}), 5, secs(1)),
    ] {
        for config in both(json!({"circuit_breaker": breaker})) {
            assert_eq!(config.circuit_breaker, CircuitBreaker { failures, open_for, fallback: true });
        }
    }
}

#[test]
fn a_revocation_path_turns_revocation_on() {
    for (revocation, poll_interval) in [
        (json!({"path": "/auth/blacklist"}), secs(30)),
        (json!({"path": "/auth/blacklist", "poll_interval": "1s"}), secs(1)),
        (json!({"path": "/auth/blacklist", "poll_interval": "1h"}), secs(HOUR)),
    ] {
        for config in both(json!({"revocation": revocation})) {
            let path = "/auth/blacklist".to_owned();
            let host = ServiceHost { cluster: config.auth_service.cluster, authority: config.auth_service.authority };
            assert_eq!(config.revocation, Some(Revocation { path, poll_interval, host }));
        }
    }
    for off in
        [json!({}), json!({"path": null}), json!({"poll_interval": "5s"}), json!({"path": null, "poll_interval": "5s"})]
    {
        for config in both(json!({"revocation": off})) {
            assert_eq!(config.revocation, None, "{off}");
        }
    }
}

#[test]
fn a_number_of_attempts_turns_the_throttle_on() {
    let (window, lockout) = (secs(60), secs(300));
    for (throttle, expected) in [
        (json!({"attempts": 5}), FailedAuthThrottle { attempts: 5, window, lockout }),
        (
            json!({"attempts": 1, "window": "1s", "lockout": "1s"}),
            FailedAuthThrottle { attempts: 1, window: secs(1), lockout: secs(1) },
        ),
        (
            json!({"attempts": 1_000_000, "window": "24h", "lockout": "24h"}),
            FailedAuthThrottle { attempts: 1_000_000, window: secs(24 * HOUR), lockout: secs(24 * HOUR) },
        ),
    ] {
        for config in both(json!({"failed_auth_throttle": throttle})) {
            assert_eq!(config.failed_auth_throttle, Some(expected));
        }
    }
    for off in [json!({}), json!({"attempts": 0}), json!({"attempts": 0, "window": "1s"}), json!({"lockout": "1s"})] {
        for config in both(json!({"failed_auth_throttle": off})) {
            assert_eq!(config.failed_auth_throttle, None, "{off}");
        }
    }
}

#[test]
fn a_value_out_of_range_is_named() {
    assert_paths(&[
        (r#""cache": {"max_entries": 0}"#, "cache.max_entries"),
        (r#""cache": {"max_entries": 1000001}"#, "cache.max_entries"),
        (r#""cache": {"max_entries": 0.5}"#, "cache.max_entries"),
        (r#""cache": {"max_entries": -1}"#, "cache.max_entries"),
        (r#""cache": {"max_entries": 4294967297}"#, "cache.max_entries"),
        (r#""cache": {"ttl": "86400001ms"}"#, "cache.ttl"),
        (r#""cache": {"ttl": "-1s"}"#, "cache.ttl"),
        (r#""cache": {"ttl": "300"}"#, "cache.ttl"),
        (r#""cache": {"negative_ttl": "3600001ms"}"#, "cache.negative_ttl"),
        (r#""cache": {"stale_ttl": "604800001ms"}"#, "cache.stale_ttl"),
        (r#""circuit_breaker": {"failures": 0}"#, "circuit_breaker.failures"),
        (r#""circuit_breaker": {"failures": 1001}"#, "circuit_breaker.failures"),
        (r#""circuit_breaker": {"failures": 1.5}"#, "circuit_breaker.failures"),
        (r#""circuit_breaker": {"open_for": "99ms"}"#, "circuit_breaker.open_for"),
        (r#""circuit_breaker": {"open_for": "3600001ms"}"#, "circuit_breaker.open_for"),
        (r#""revocation": {"poll_interval": "999ms"}"#, "revocation.poll_interval"),
        (r#""revocation": {"path": "/r", "poll_interval": "3600001ms"}"#, "revocation.poll_interval"),
        (r#""failed_auth_throttle": {"attempts": 1000001}"#, "failed_auth_throttle.attempts"),
        (r#""failed_auth_throttle": {"attempts": -1}"#, "failed_auth_throttle.attempts"),
        (r#""failed_auth_throttle": {"attempts": 0.1}"#, "failed_auth_throttle.attempts"),
        (r#""failed_auth_throttle": {"window": "999ms"}"#, "failed_auth_throttle.window"),
        (r#""failed_auth_throttle": {"attempts": 5, "window": "86400001ms"}"#, "failed_auth_throttle.window"),
        (r#""failed_auth_throttle": {"lockout": "999ms"}"#, "failed_auth_throttle.lockout"),
        (r#""failed_auth_throttle": {"attempts": 5, "lockout": "86400001ms"}"#, "failed_auth_throttle.lockout"),
    ]);
}

#[test]
fn the_revocation_path_is_a_valid_path() {
    assert_paths(&[
        (r#""revocation": {"path": ""}"#, "revocation.path"),
        (r#""revocation": {"path": "auth/blacklist"}"#, "revocation.path"),
        (r#""revocation": {"path": "/auth blacklist"}"#, "revocation.path"),
        (r#""revocation": {"path": "/auth/blacklist#all"}"#, "revocation.path"),
        (r#""revocation": {"path": "/auth\r\nblacklist"}"#, "revocation.path"),
    ]);
}
