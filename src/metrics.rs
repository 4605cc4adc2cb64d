//! What is counted (contract section 5): names and labels from closed sets, so that no client can make a new series.

pub mod tally;

use std::fmt;

use crate::decision::Code;
use crate::host::{Host, SharedValue, Write};

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// With a verified identity.
    Allow,
    /// With a denial that is the request's own fault.
    Deny,
    /// With a denial that is not: 5xx.
    Error,
    /// By a public rule, or as a preflight request.
    Public,
    /// Its client left before there was a verdict.
    Cancelled,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Error => "error",
            Self::Public => "public",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What the verdict on a request rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A JWT of the client's, verified locally.
    Jwt,
    /// The verification cache.
    Cache,
    /// A cached verdict that stood in while the service was down.
    Stale,
    /// The service's answer.
    Callout,
    /// A JWT that the service was to verify, verified locally while it was down.
    Fallback,
    /// None of these.
    None,
}

impl Source {
    const fn name(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Cache => "cache",
            Self::Stale => "stale",
            Self::Callout => "callout",
            Self::Fallback => "fallback",
            Self::None => "none",
        }
    }
}

/// What happened in the verification cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheEvent {
    /// A verdict was there.
    Hit,
    /// None was.
    Miss,
    /// One stood in while the service was down.
    Stale,
    /// A refusal was there.
    Negative,
    /// An entry had to make room for another.
    Evict,
    /// A request joined others that wait for the same answer.
    Coalesced,
}

impl CacheEvent {
    const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Negative => "negative",
            Self::Evict => "evict",
            Self::Coalesced => "coalesced",
        }
    }
}

/// What the revocation list said of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlacklistCheck {
    /// It isn't on the list.
    Clear,
    /// It is.
    Revoked,
    /// It isn't, but the list is old: the feed has not been read for twice its interval, or not at all yet.
    Stale,
}

impl BlacklistCheck {
    const fn name(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Revoked => "revoked",
            Self::Stale => "stale",
        }
    }
}

/// How a poll of the revocation feed ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlacklistPoll {
    /// All of the answer holds.
    Success,
    /// Some entries of the answer couldn't be read. The others hold.
    Partial,
    /// Nothing came, or nothing that could be read.
    Failure,
}

impl BlacklistPoll {
    const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Failure => "failure",
        }
    }
}

/// Something to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counter {
    /// A request that the filter saw; each is counted exactly once.
    Request {
        /// How it ended.
        outcome: Outcome,
        /// What that rests on.
        source: Source,
        /// The code of a denial.
        reason: Option<Code>,
    },
    /// An attempt to fetch the public key that came to its end.
    PublicKeyRefresh {
        /// Whether it brought one.
        success: bool,
    },
    /// Something in the verification cache.
    Cache(CacheEvent),
    /// A look at the revocation list.
    BlacklistCheck(BlacklistCheck),
    /// A poll of the revocation feed that came to its end.
    BlacklistPoll(BlacklistPoll),
}

/// The name as Envoy is told it. `stats_config.stats_tags` of the bootstrap make labels of the `.label=value` parts.
impl fmt::Display for Counter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { outcome, source, reason } => write!(
                formatter,
                "auth_validation_requests_total.outcome={}.source={}.reason={}",
                outcome.name(),
                source.name(),
                reason.map_or("none", Code::name)
            ),
            Self::PublicKeyRefresh { success } => write!(
                formatter,
                "auth_public_key_refresh_total.outcome={}",
                if *success { "success" } else { "failure" }
            ),
            Self::Cache(event) => write!(formatter, "auth_cache_events_total.event={}", event.name()),
            Self::BlacklistCheck(result) => {
                write!(formatter, "auth_blacklist_checks_total.result={}", result.name())
            }
            Self::BlacklistPoll(outcome) => {
                write!(formatter, "auth_blacklist_polls_total.outcome={}", outcome.name())
            }
        }
    }
}

/// A level that goes up and down, over all workers of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gauge {
    /// Callouts that the service has yet to answer.
    CalloutsInFlight,
    /// Entries of the workers' own stores of the verification cache.
    CacheEntries,
    /// What they take in memory, in bytes.
    CacheBytes,
    /// 0: closed, 1: half-open, 2: open.
    BreakerState,
    /// Tokens and users on the revocation list.
    BlacklistSize,
}

impl fmt::Display for Gauge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::CalloutsInFlight => "auth_callouts_in_flight",
            Self::CacheEntries => "auth_cache_entries",
            Self::CacheBytes => "auth_cache_bytes",
            Self::BreakerState => "auth_breaker_state",
            Self::BlacklistSize => "auth_blacklist_size",
        })
    }
}

/// What the host names its filter, as a label's value: Envoy makes labels of what is between dots.
pub fn label_value(name: &[u8]) -> String {
    let label = |byte: &u8| if byte.is_ascii_alphanumeric() || b"_-".contains(byte) { char::from(*byte) } else { '_' };
    if name.is_empty() { "unnamed".to_owned() } else { name.iter().map(label).collect() }
}

/// The most names that are noted for one label.
const MAX_NAMES: usize = 8;

/// Notes that a filter of this name has this label. Returns the name of another one that has it too, once for each name,
/// however many workers there are. Filters of different `vm_id`s don't see one another.
pub fn newly_mixed_with(name: &[u8], label: &str, host: &impl Host) -> Option<String> {
    let key = format!("authgate.names.{label}");
    // Other workers note names at the same time; who has no luck finds theirs there.
    for _ in 0..16 {
        let (noted, write) = match host.shared_data(&key) {
            None => (Vec::new(), Write::IfAbsent),
            Some(SharedValue { bytes, cas }) => (bytes, Write::IfVersion(cas)),
        };
        let mut names: Vec<&[u8]> = noted.split(|byte| *byte == 0).filter(|known| !known.is_empty()).collect();
        if names.contains(&name) || names.len() >= MAX_NAMES {
            return None;
        }
        let other = names.first().map(|other| String::from_utf8_lossy(other).into_owned());
        names.push(name);
        if host.set_shared_data(&key, &names.join(&0), write).is_ok() {
            return other;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::world::Process;

    #[test]
    fn a_labels_value_holds_letters_digits_and_two_signs() {
        for (name, label) in [
            ("authgate", "authgate"),
            ("Gate-1_a", "Gate-1_a"),
            ("istio-system.authgate", "istio-system_authgate"),
            ("a b/c=\"d\"\n", "a_b_c__d__"),
            ("é", "__"),
            ("", "unnamed"),
        ] {
            assert_eq!(label_value(name.as_bytes()), label, "{name}");
        }
        assert_eq!(label_value(b"\xff."), "__");
    }

    #[test]
    fn filters_whose_names_give_one_label_are_told_so_once() {
        let process = Process::default();
        let mixed = |name: &str| newly_mixed_with(name.as_bytes(), &label_value(name.as_bytes()), &process);
        for name in ["authgate", "a.b", "a-b", "authgate", "a.b"] {
            assert_eq!(mixed(name), None, "{name}");
        }
        for (name, other) in [("a_b", Some("a.b")), ("a_b", None), ("a b", Some("a.b")), ("a.b", None)] {
            assert_eq!(mixed(name).as_deref(), other, "{name}");
        }
    }
}
