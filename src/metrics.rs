//! What is counted (docs/reference.md#metrics): names and labels from closed sets, so that no client can make a new
//! series.

#[cfg(any(target_arch = "wasm32", test))]
pub mod metric;

use std::fmt;
use std::sync::Arc;

use crate::code::Code;

/// An enum whose variants have names in metrics.
macro_rules! named {
    ($(#[$about:meta])* pub enum $Named:ident { $($(#[$doc:meta])* $Variant:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $Named {
            $($(#[$doc])* $Variant,)+
        }

        impl $Named {
            #[cfg(any(target_arch = "wasm32", test))]
            pub(crate) const ALL: &[Self] = &[$(Self::$Variant),+];

            /// The name in metrics and logs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$Variant => $name,)+
                }
            }
        }
    };
}

named! {
    /// How a request ended.
    pub enum Outcome {
        /// With a verified identity.
        Allow = "allow",
        /// With a denial that is the request's own fault.
        Deny = "deny",
        /// With a denial that isn't the request's fault: 5xx.
        Error = "error",
        /// Without a credential: by a public or an optional rule, or as a preflight request.
        Public = "public",
        /// Its client left before there was a verdict.
        Cancelled = "cancelled",
        /// It went on, and would have ended with a denial if shadow mode were off.
        ShadowDeny = "shadow_deny",
    }
}

named! {
    /// What the verdict on a request rests on.
    pub enum Source {
        /// A JWT of the client's, verified locally.
        Jwt = "jwt",
        /// The verification cache.
        Cache = "cache",
        /// A cached verdict that stood in while the service was down.
        Stale = "stale",
        /// The service's answer.
        Callout = "callout",
        /// A JWT that the service should have verified, verified locally while the service was down.
        Fallback = "fallback",
        /// None of these.
        None = "none",
    }
}

named! {
    /// What a request presents as its credential.
    pub enum Presented {
        /// What may be a JWT.
        Jwt = "jwt",
        /// An API token of the right form.
        Apikey = "apikey",
        /// Any other credential, well-formed or not.
        Other = "other",
        /// Nothing, or a credential that isn't looked at.
        None = "none",
    }
}

named! {
    /// Whom the throttle locks out.
    pub enum Locked {
        /// A client's address.
        Address = "address",
        /// The number of an API token.
        Token = "token",
    }
}

named! {
    /// What is suspicious about a user or an address.
    pub enum Suspicion {
        /// A user's credentials come from many addresses.
        ManyAddresses = "many_addresses",
        /// Many credentials of an address are refused.
        RepeatedFailures = "repeated_failures",
    }
}

named! {
    /// What happened in the verification cache.
    pub enum CacheEvent {
        /// A verdict was there.
        Hit = "hit",
        /// No verdict was there.
        Miss = "miss",
        /// A verdict stood in while the service was down.
        Stale = "stale",
        /// A refusal was there.
        Negative = "negative",
        /// An entry had to make room for another.
        Evict = "evict",
        /// A request joined others that wait for the same answer.
        Coalesced = "coalesced",
    }
}

named! {
    /// What the revocation list said about an identity.
    pub enum BlacklistCheck {
        /// It isn't on the list.
        Clear = "clear",
        /// It is on the list.
        Revoked = "revoked",
        /// It isn't on the list, but the list is old: no poll of the last two intervals was read in full.
        Stale = "stale",
    }
}

named! {
    /// How a poll of the revocation feed ended.
    pub enum BlacklistPoll {
        /// The whole answer took effect.
        Success = "success",
        /// Some entries of the answer couldn't be read. The others took effect.
        Partial = "partial",
        /// No answer came, or none that could be read.
        Failure = "failure",
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

named! {
    /// A level that goes up and down, over all workers of the process.
    pub enum Gauge {
        /// Callouts that the service has yet to answer.
        CalloutsInFlight = "auth_callouts_in_flight",
        /// Entries of the workers' own stores of the verification cache.
        CacheEntries = "auth_cache_entries",
        /// The memory that these entries take, in bytes.
        CacheBytes = "auth_cache_bytes",
        /// 0: closed, 1: half-open, 2: open.
        BreakerState = "auth_breaker_state",
        /// Tokens and users on the revocation list.
        BlacklistSize = "auth_blacklist_size",
        /// How long ago the last poll that was read in full began, in seconds.
        BlacklistAge = "auth_blacklist_age_seconds",
        /// How long ago the fetch of the newest public key began, in seconds.
        PublicKeyAge = "auth_public_key_age_seconds",
        /// 1 while this version runs.
        BuildInfo = "auth_build_info",
    }
}

impl fmt::Display for Gauge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())?;
        if *self == Self::BuildInfo {
            // A dot would end the label.
            let version = env!("CARGO_PKG_VERSION").replace(['.', '+'], "_");
            write!(formatter, ".version={version}")?;
        }
        Ok(())
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
