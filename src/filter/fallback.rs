//! What may stand in for a verdict of the service. [`stand_in`] takes the first available:
//!
//! 1. a verdict of the cache within `cache.stale_ttl`,
//! 2. a remote JWT's own signature, while the service is down and `circuit_breaker.fallback` allows it,
//! 3. nothing: 503.
//!
//! While the breaker isn't closed, `asking::ask` takes a verdict of the cache before it asks.

use std::rc::Rc;
use std::time::Duration;

use super::parts::Parts;
use super::request::{Facts, Next, Stage};
use super::verification::{time_code, verify};
use crate::cache::Kind;
use crate::code::Code;
use crate::decision::Denial;
use crate::host::Cx;
use crate::jwt::UntrustedJwt;
use crate::metrics::{CacheEvent, Counter, Source};
use crate::policy::Identity;
use crate::questions::{Question, Unavailable};

/// A request whose credential the service gives no verdict on.
#[derive(Debug)]
pub(super) enum StandIn {
    /// There is no answer, or one without a verdict.
    Unavailable {
        /// What was asked.
        question: Rc<Question>,
        /// Why there is no verdict.
        reason: Unavailable,
    },
    /// The answer is a JWT of the service that no key fits, or too many requests wait for a key.
    Unusable(Denial),
}

impl StandIn {
    pub(super) const fn new(question: Rc<Question>, reason: Unavailable) -> Self {
        Self::Unavailable { question, reason }
    }
}

/// Takes the first available; denies the request if there is none.
// Compiled apart: docs/performance.md#start.
#[inline(never)]
pub(super) fn stand_in<'r>(
    stand_in: StandIn,
    facts: &mut Facts,
    parts: &mut Parts,
    cx: &Cx<'_>,
) -> Result<Next<'r>, Denial> {
    if let Some(identity) = stale(facts, parts, cx) {
        return Ok(Stage::Admit(identity).into());
    }
    match stand_in {
        StandIn::Unusable(denial) => Err(denial),
        StandIn::Unavailable { question, reason } => match reason {
            Unavailable::Down { retry_after } => {
                if may_fall_back(&question, facts, parts, cx)
                    && let Some(token) = question.jwt()
                {
                    return by_signature(token, facts, parts, cx);
                }
                Err(unavailable(retry_after.or_else(|| parts.questions.breaker().retry_after(cx))))
            }
            Unavailable::NoVerdict { retry_after } => Err(unavailable(Some(retry_after))),
            Unavailable::Overload => Err(unavailable(None)),
        },
    }
}

/// A verdict of the cache that may stand in.
pub(super) fn stale(facts: &mut Facts, parts: &mut Parts, cx: &Cx<'_>) -> Option<Rc<Identity>> {
    let digest = facts.digest?;
    let (cache, mut validity) = parts.cache(cx);
    let entry = cache.stale(&digest, facts.kind, &mut validity, cx)?;
    facts.source = Source::Stale;
    cx.host.count(Counter::Cache(CacheEvent::Stale));
    Some(Rc::clone(&entry.identity))
}

/// Whether a remote JWT's own signature may stand in: not if the service has refused the JWT.
fn may_fall_back(question: &Question, facts: &Facts, parts: &Parts, cx: &Cx<'_>) -> bool {
    parts.config.circuit_breaker.fallback
        && question.kind == Kind::RemoteJwt
        && may_stand_for_itself(&question.credential.token, facts, parts, cx)
}

/// Whether no filter of the process knows of a refusal of the JWT.
pub(super) fn may_stand_for_itself(token: &[u8], facts: &Facts, parts: &Parts, cx: &Cx<'_>) -> bool {
    !facts.digest.is_some_and(|digest| parts.cache.is_refused(&digest, Kind::RemoteJwt, cx.shared))
        && parts.cache.may_stand_for_itself(token, cx.shared)
}

fn by_signature<'r>(token: &[u8], facts: &mut Facts, parts: &mut Parts, cx: &Cx<'_>) -> Result<Next<'r>, Denial> {
    facts.source = Source::Fallback;
    let jwt = UntrustedJwt::parse(token).map_err(|_| Code::TokenMalformed)?;
    jwt.claims().check_time(cx.wall, parts.config.jwt.clock_skew).map_err(time_code)?;
    verify(jwt, true, facts, parts, cx)
}

fn unavailable(retry_after: Option<Duration>) -> Denial {
    let denial = Denial::from(Code::AuthServiceUnavailable);
    Denial { retry_after: retry_after.or(denial.retry_after), ..denial }
}
