//! What is counted (docs/reference.md#metrics): names and labels from closed sets, so that no client can make a new
//! series.

#[cfg(any(target_arch = "wasm32", test))]
pub mod metric;

use std::fmt;
use std::sync::Arc;

use crate::code::Code;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// With a verified identity.
    Allow,
    /// With a denial that is the request's own fault.
    Deny,
    /// With a denial that isn't the request's fault: 5xx.
    Error,
    /// Without a credential: by a public or an optional rule, or as a preflight request.
    Public,
    /// Its client left before there was a verdict.
    Cancelled,
    /// It went on, and would have ended with a denial if shadow mode were off.
    ShadowDeny,
}

impl Outcome {
    /// The name in labels and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Error => "error",
            Self::Public => "public",
            Self::Cancelled => "cancelled",
            Self::ShadowDeny => "shadow_deny",
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
    /// A JWT that the service should have verified, verified locally while the service was down.
    Fallback,
    /// None of these.
    None,
}

impl Source {
    /// The name in labels and logs.
    pub const fn name(self) -> &'static str {
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

/// What a request presents as its credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presented {
    /// What may be a JWT.
    Jwt,
    /// An API token of the right form.
    Apikey,
    /// Any other credential, well-formed or not.
    Other,
    /// Nothing, or a credential that isn't looked at.
    None,
}

impl Presented {
    const fn name(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Apikey => "apikey",
            Self::Other => "other",
            Self::None => "none",
        }
    }
}

/// Whom the throttle locks out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Locked {
    /// A client's address.
    Address,
    /// The number of an API token.
    Token,
}

impl Locked {
    const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Token => "token",
        }
    }
}

/// What is suspicious about a user or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suspicion {
    /// A user's credentials come from many addresses.
    ManyAddresses,
    /// Many credentials of an address are refused.
    RepeatedFailures,
}

impl Suspicion {
    /// The name in labels and the audit.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ManyAddresses => "many_addresses",
            Self::RepeatedFailures => "repeated_failures",
        }
    }
}

/// What happened in the verification cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheEvent {
    /// A verdict was there.
    Hit,
    /// No verdict was there.
    Miss,
    /// A verdict stood in while the service was down.
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

/// What the revocation list said about an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlacklistCheck {
    /// It isn't on the list.
    Clear,
    /// It is on the list.
    Revoked,
    /// It isn't on the list, but the list is old: no poll of the last two intervals was read in full.
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
    /// The whole answer took effect.
    Success,
    /// Some entries of the answer couldn't be read. The others took effect.
    Partial,
    /// No answer came, or none that could be read.
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

/// An event to count.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Counter {
    /// A request that the filter saw; each is counted exactly once.
    Request {
        /// How it ended.
        outcome: Outcome,
        /// What the verdict rests on.
        source: Source,
        /// The code of a denial.
        reason: Option<Code>,
    },
    /// A request that was denied, whoever is at fault.
    Error(Code),
    /// A request that the filter saw, by its rule.
    Rule {
        /// The rule's index in the configuration. `None`: no rule matched.
        index: Option<usize>,
        /// The rule's name, or `none`.
        rule: Arc<str>,
        /// How it ended.
        outcome: Outcome,
    },
    /// A request that the filter saw, by its credential.
    TokenType(Presented),
    /// A request that was let in with a technical token.
    DeprecatedToken,
    /// A client's JWT whose signature fits a key that was known.
    PublicKeyHit,
    /// A lockout that began.
    Lockout(Locked),
    /// Suspicious activity that began.
    Suspicious(Suspicion),
    /// A fetch of the public key that ended.
    PublicKeyRefresh {
        /// Whether it brought a key.
        success: bool,
    },
    /// An event in the verification cache.
    Cache(CacheEvent),
    /// A check against the revocation list.
    BlacklistCheck(BlacklistCheck),
    /// A poll of the revocation feed that ended.
    BlacklistPoll(BlacklistPoll),
}

/// The name in Envoy. `stats_config.stats_tags` of the bootstrap turn the `.label=value` parts into labels.
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
            Self::Error(reason) => write!(formatter, "auth_validation_errors_total.reason={}", reason.name()),
            Self::Rule { rule, outcome, .. } => {
                write!(formatter, "auth_rule_requests_total.rule={rule}.outcome={}", outcome.name())
            }
            Self::TokenType(presented) => {
                write!(formatter, "auth_token_type_requests.type={}", presented.name())
            }
            Self::PublicKeyHit => formatter.write_str("auth_public_key_cache_hits"),
            Self::Lockout(locked) => write!(formatter, "auth_throttle_lockouts_total.kind={}", locked.name()),
            Self::Suspicious(suspicion) => {
                write!(formatter, "auth_suspicious_activity_total.kind={}", suspicion.name())
            }
            Self::DeprecatedToken => formatter.write_str("auth_deprecated_tokens_total"),
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
    /// The memory that these entries take, in bytes.
    CacheBytes,
    /// 0: closed, 1: half-open, 2: open.
    BreakerState,
    /// Tokens and users on the revocation list.
    BlacklistSize,
    /// How long ago the last poll that was read in full began, in seconds.
    BlacklistAge,
    /// How long ago the fetch of the newest public key began, in seconds.
    PublicKeyAge,
    /// 1 while this version runs.
    BuildInfo,
}

impl fmt::Display for Gauge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::BuildInfo => {
                // A dot would end the label.
                let version = env!("CARGO_PKG_VERSION").replace(['.', '+'], "_");
                return write!(formatter, "auth_build_info.version={version}");
            }
            Self::CalloutsInFlight => "auth_callouts_in_flight",
            Self::CacheEntries => "auth_cache_entries",
            Self::CacheBytes => "auth_cache_bytes",
            Self::BreakerState => "auth_breaker_state",
            Self::BlacklistSize => "auth_blacklist_size",
            Self::BlacklistAge => "auth_blacklist_age_seconds",
            Self::PublicKeyAge => "auth_public_key_age_seconds",
        };
        formatter.write_str(name)
    }
}

/// Durations, of which the host keeps the distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Histogram {
    /// From a request's head to its verdict, in milliseconds, for a request that had to wait.
    Duration {
        /// What the verdict rests on.
        source: Source,
    },
}

impl fmt::Display for Histogram {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Duration { source } = self;
        write!(formatter, "auth_validation_duration_ms.source={}", source.name())
    }
}
