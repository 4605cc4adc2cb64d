//! What is counted (contract section 5): names and labels from closed sets, so that no client can make a new series.

use std::fmt;

use crate::decision::Code;

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
    /// The service's answer.
    Callout,
    /// Neither was needed.
    None,
}

impl Source {
    const fn name(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Callout => "callout",
            Self::None => "none",
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
        }
    }
}

/// A level that goes up and down, over all workers of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gauge {
    /// Callouts that the service has yet to answer.
    CalloutsInFlight,
}

impl fmt::Display for Gauge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CalloutsInFlight => formatter.write_str("auth_callouts_in_flight"),
        }
    }
}
