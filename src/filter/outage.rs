//! When the service gives no verdict: what may stand in, the breaker, and the log.

use super::flights::Question;
use super::{Filter, Progress, Ticket, time_code};
use crate::breaker;
use crate::cache::Kind;
use crate::decision::{Code, Denial};
use crate::host::Host;
use crate::introspection::Scope;
use crate::jwt::UntrustedJwt;
use crate::metrics::{CacheEvent, Counter, Gauge, Source};
use crate::time::UnixTime;
use std::rc::Rc;
use std::time::Duration;

/// Why there is no verdict of the service. Clients can bring about all but the first, so that only that is a reason to
/// take a JWT at its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    /// It is down, or the breaker says so: for so long yet.
    Service { retry_after: Option<Duration> },
    /// It answers, but gives no verdict on this credential, and isn't asked again for so long.
    Answer { retry_after: Duration },
    /// Too much is asked.
    Room,
}

impl Filter {
    /// In this order: a verdict of the cache within `stale_ttl`, a JWT's own signature, 503 (contract section 2).
    pub(super) fn without_service(
        &mut self,
        ticket: &mut Ticket,
        question: &Question,
        lack: Lack,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        if let Some(progress) = self.stand_in(ticket, now, host) {
            return progress;
        }
        let unavailable = Denial::from(Code::AuthServiceUnavailable);
        let retry_after = match lack {
            Lack::Service { retry_after } => retry_after,
            Lack::Answer { retry_after } => return Err(Denial { retry_after: Some(retry_after), ..unavailable }),
            Lack::Room => return Err(unavailable),
        };
        if let Some(progress) = self.by_own_signature(ticket, question, now, host) {
            return progress;
        }
        let retry_after = retry_after.or_else(|| self.breaker.rejects(now, host));
        Err(Denial { retry_after: retry_after.or(unavailable.retry_after), ..unavailable })
    }

    /// A remote JWT's own signature, where the configuration lets that stand in, unless the service has refused it.
    fn by_own_signature(
        &mut self,
        ticket: &mut Ticket,
        question: &Question,
        now: UnixTime,
        host: &impl Host,
    ) -> Option<Result<Progress, Denial>> {
        let token = question.jwt().filter(|_| self.config.circuit_breaker.fallback)?;
        if ticket.key.is_some_and(|key| self.cache.is_refused(&key, Kind::RemoteJwt, host)) {
            return None;
        }
        ticket.source = Source::Fallback;
        let Ok(jwt) = UntrustedJwt::parse(token.as_bytes()) else {
            return Some(Err(Code::TokenMalformed.into()));
        };
        if let Err(error) = jwt.claims().check_time(now, self.config.jwt.clock_skew) {
            return Some(Err(time_code(error).into()));
        }
        Some(self.progress(jwt, ticket, now, host))
    }

    /// A verdict of the cache, if there is one that may stand in.
    pub(super) fn stand_in(
        &mut self,
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Option<Result<Progress, Denial>> {
        let entry = self.cache.stale(&ticket.key?, ticket.kind, now, host)?;
        if !self.still_stands(&entry, ticket, now, host) {
            return None;
        }
        if !ticket.kind.is_jwt() {
            // Whether it was prolonged only the service knows.
            entry.identity.claims().check_time(now, self.config.jwt.clock_skew).ok()?;
        }
        ticket.source = Source::Stale;
        host.count(Counter::Cache(CacheEvent::Stale));
        Some(self.admit(Rc::clone(&entry.identity), ticket, now, host).map(Progress::Done))
    }

    /// Tells the breaker how a callout ended: with a verdict, or with an outage of this scope. Only failures of the
    /// service count. Whatever it answers, it is up.
    pub(super) fn report_outcome(
        &mut self,
        outage: Option<Scope>,
        admitted: breaker::Ticket,
        now: UnixTime,
        host: &impl Host,
    ) {
        let changed = match outage {
            Some(Scope::Service) => self.breaker.fail(admitted, now, host),
            Some(Scope::Credential) | None => self.breaker.succeed(admitted, now, host),
            Some(Scope::Gateway) => None,
        };
        if let Some(state) = changed {
            let cluster = &self.config.auth_service.cluster;
            log::warn!("auth service (cluster {cluster}): the circuit breaker is {}", state.name());
            host.set(Gauge::BreakerState, state.number().into());
        }
    }

    pub(super) fn report_breaker(&self, now: UnixTime, host: &impl Host) {
        host.set(Gauge::BreakerState, self.breaker.peek(now, host).state.number().into());
    }
}
