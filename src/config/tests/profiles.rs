//! `profile`: the sets of defaults, and fields that override them.

use super::*;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The values that profiles differ in, and those of the same groups.
fn values(config: &Config) -> (Duration, Duration, Duration, Cache, CircuitBreaker, Duration) {
    let revocation = config.revocation.as_ref().unwrap();
    let key = &config.jwt.public_key;
    let timeout = config.auth_service.timeout;
    (timeout, key.ttl, key.min_refetch_interval, config.cache, config.circuit_breaker, revocation.poll_interval)
}

fn cache(ttl: u64, negative_ttl: u64, stale_ttl: u64) -> Cache {
    Cache {
        max_entries: 10_000,
        ttl: secs(ttl),
        negative_ttl: secs(negative_ttl),
        stale_ttl: secs(stale_ttl),
        eviction: Eviction::Lru,
    }
}

fn breaker(failures: u32, open_for: u64) -> CircuitBreaker {
    CircuitBreaker { failures, open_for: secs(open_for), fallback: true }
}

#[test]
fn each_profile_is_a_set_of_defaults() {
    let production = (secs(1), secs(3600), secs(5), cache(300, 10, 3600), breaker(5, 60), secs(30));
    let development = (secs(5), secs(60), secs(1), cache(10, 1, 60), breaker(5, 5), secs(2));
    let test = (secs(5), secs(60), secs(1), cache(0, 0, 0), breaker(1000, 1), secs(1));
    for (profile, expected) in [
        (None, &production),
        (Some("production"), &production),
        (Some("development"), &development),
        (Some("test"), &test),
    ] {
        let mut whole = json!({"auth_service": {"cluster": "c"}, "revocation": {"path": "/r"}});
        if let Some(profile) = profile {
            whole["profile"] = json!(profile);
        }
        for config in [Config::from_bytes(whole.to_string().as_bytes()), from_struct(&whole)] {
            assert_eq!(&values(&config.unwrap()), expected, "{profile:?}");
        }
    }
}

/// A new default that differs between profiles has to be listed above.
#[test]
fn profiles_differ_in_these_defaults_only() {
    let pinned = |profile| {
        config(json!({
            "profile": profile,
            "auth_service": {"cluster": "c", "timeout": "1s"},
            "jwt": {"public_key": {"ttl": "1h", "min_refetch_interval": "5s"}},
            "cache": {"ttl": "300s", "negative_ttl": "10s", "stale_ttl": "1h"},
            "circuit_breaker": {"failures": 5, "open_for": "60s"},
            "revocation": {"path": "/r", "poll_interval": "30s"},
            "failed_auth_throttle": {"attempts": 5},
        }))
    };
    let production = format!("{:?}", pinned("production"));
    assert_eq!(format!("{:?}", pinned("development")), production);
    assert_eq!(format!("{:?}", pinned("test")), production);
}

#[test]
fn a_field_overrides_the_profile_in_any_order() {
    let fields = r#""auth_service": {"cluster": "c", "timeout": "2s"}, "jwt": {"public_key": {"ttl": "2h"}},
        "cache": {"ttl": "3s"}, "circuit_breaker": {"open_for": "4s"}, "revocation": {"path": "/r"}"#;
    for text in [format!(r#"{{"profile": "test", {fields}}}"#), format!(r#"{{{fields}, "profile": "test"}}"#)] {
        let config = Config::from_bytes(text.as_bytes()).unwrap();
        let expected = (secs(2), secs(7200), secs(1), cache(3, 0, 0), breaker(1000, 4), secs(1));
        assert_eq!(values(&config), expected, "{text}");
    }
}

#[test]
fn a_field_overrides_its_profile_with_the_default_of_another() {
    let config = config(json!({
        "profile": "test",
        "cache": {"max_entries": 7, "ttl": "300s", "negative_ttl": "10s", "stale_ttl": "1h", "eviction": "lfu"},
        "circuit_breaker": {"failures": 5},
        "revocation": {"path": "/r", "poll_interval": "30s"},
        "jwt": {"public_key": {"min_refetch_interval": "5s"}},
    }));
    let cache = Cache { max_entries: 7, eviction: Eviction::Lfu, ..cache(300, 10, 3600) };
    assert_eq!(values(&config), (secs(5), secs(60), secs(5), cache, breaker(5, 1), secs(30)));
}
