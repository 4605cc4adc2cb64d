//! How a request ends: its verdict becomes its resolution, and it is counted, reported and audited.

use std::rc::Rc;
use std::sync::Arc;

use super::parts::Parts;
use super::request::{Facts, Wait};
use super::{Resolution, throttling};
use crate::audit::{self, Origin};
use crate::claims::TokenType;
use crate::code::Code;
use crate::config::ForwardCredential;
use crate::decision::{self, Client, Denial};
use crate::extractor::{self, RequestHead};
use crate::host::{Cx, Host};
use crate::metrics::{Counter, Histogram, Outcome, Suspicion};
use crate::policy::{Identity, Permit};
use crate::report::{Audit, Report};
use crate::rule::Mode;
use crate::throttle::Suspect;
use crate::time::Instant;

/// A request has ended, and is counted. `head`: the request's, while it arrives.
// Compiled once: inlined into its callers it costs every request a hundred steps more.
#[inline(never)]
pub(super) fn end(
    mut facts: Facts,
    verdict: Result<Permit, Denial>,
    head: Option<&RequestHead<'_>>,
    parts: &mut Parts,
    cx: &Cx<'_>,
) -> (Resolution, Report) {
    if facts.has_waited {
        let waited = cx.now.since(facts.arrived).as_millis();
        cx.host.record(Histogram::Duration { source: facts.source }, u64::try_from(waited).unwrap_or(u64::MAX));
    }
    let (config, accepted) = (&parts.config, facts.accepted.take());
    let terms = config.rules.terms(facts.rule);
    let verdict = verdict.and_then(|permit| {
        let forward =
            decision::forward(&permit, facts.own_jwt.as_deref().map(AsRef::as_ref), terms.forward_credential, config);
        Ok((permit, forward?))
    });
    match verdict {
        Ok((permit, forward)) => {
            let outcome = if permit.identity().is_some() { Outcome::Allow } else { Outcome::Public };
            if let Some(claims) = permit.identity().map(Identity::claims)
                && claims.token_type() == TokenType::Technical
            {
                cx.host.count(Counter::DeprecatedToken);
                parts.log_deprecated(claims, cx);
            }
            (Resolution::Forward(forward), conclude(&facts, outcome, None, head, parts, cx))
        }
        Err(denial) => {
            let denial = throttling::after_denial(denial, &mut facts, parts, cx);
            let code = denial.code;
            if facts.mode == Mode::Shadow {
                let permit = Permit::in_shadow(accepted);
                // The denial may be for a claim that can't be a header.
                let forward = decision::forward(&permit, None, ForwardCredential::Keep, config).unwrap_or_default();
                let report = conclude(&facts, Outcome::ShadowDeny, Some(code), head, parts, cx);
                if parts.config.audit == Audit::Off {
                    parts.log_shadow(facts.rule, code, cx);
                }
                return (Resolution::Forward(forward), report);
            }
            let outcome = if code.status() < 500 { Outcome::Deny } else { Outcome::Error };
            cx.host.count(Counter::Error(code));
            let report = conclude(&facts, outcome, Some(code), head, parts, cx);
            let client = head.map_or(facts.client, |head| Client::of(head, &parts.config));
            (Resolution::Deny(denial.response(&client, (&parts.config).into())), report)
        }
    }
}

/// Counts a request that has ended, and writes it into the audit if that wants it.
pub(super) fn conclude(
    facts: &Facts,
    outcome: Outcome,
    reason: Option<Code>,
    head: Option<&RequestHead<'_>>,
    parts: &mut Parts,
    cx: &Cx<'_>,
) -> Report {
    let report = report(facts, outcome, reason, parts);
    count(facts, &report, cx.host);
    if parts.config.audit.wants(outcome) {
        write_down(facts, |origin| audit::line(&report, origin), head, Some(cx.now), parts, cx.host);
    }
    if let Some(suspicion) = facts.suspicion {
        tell(suspicion, facts, &report, head, parts, cx);
    }
    report
}

/// The client of a request that waits has left.
pub(super) fn cancel(facts: &Facts, parts: &mut Parts, host: &dyn Host) {
    let report = report(facts, Outcome::Cancelled, None, parts);
    count(facts, &report, host);
    if parts.config.audit.wants(Outcome::Cancelled) {
        write_down(facts, |origin| audit::line(&report, origin), None, None, parts, host);
    }
}

/// The report of a request that ends with this outcome.
pub(super) fn report(facts: &Facts, outcome: Outcome, reason: Option<Code>, parts: &Parts) -> Report {
    let rule = Arc::clone(parts.config.rules.name(facts.rule));
    Report { outcome, reason, source: facts.source, rule, who: facts.who }
}

/// A request has to wait: keeps what may be needed later from its head and the host.
#[inline(never)]
pub(super) fn keep_for_later(facts: &mut Facts, head: &RequestHead<'_>, wait: &Wait, parts: &Parts, cx: &Cx<'_>) {
    facts.client = Client::of(head, &parts.config);
    let address = cx.host.client_address();
    facts.suspect = facts.suspect.or_else(|| Suspect::new(address.as_deref()?, None, cx.shared));
    if parts.config.audit != Audit::Off {
        facts.asked = match wait {
            Wait::Share(wait) => Some(wait.question()),
            Wait::Answer(digest) => parts.questions.get(digest).map(|open| Rc::clone(&open.question)),
            Wait::Answered(answered) => Some(Rc::clone(&answered.question)),
            Wait::Key(_) => None,
        };
        let address = address.as_deref();
        // Hashing a credential is slow, and the question has the credential if it is needed.
        let origin =
            if facts.asked.is_some() { Origin::new(head, address) } else { origin(head, address, facts, parts) };
        facts.origin = Some(Box::new(origin));
    }
}

/// What the audit says about a request's head.
fn origin(head: &RequestHead<'_>, address: Option<&str>, facts: &Facts, parts: &Parts) -> Origin {
    let origin = Origin::new(head, address);
    match extractor::extract(head, &parts.config.api_token, &parts.config.credentials) {
        Ok(credential) => origin.naming(&credential.token, facts.presented),
        Err(_) => origin,
    }
}

/// Counts a request: in all, for its credential, and for its rule.
fn count(facts: &Facts, report: &Report, host: &dyn Host) {
    let Report { outcome, reason, source, ref rule, .. } = *report;
    host.count(Counter::Request { outcome, source, reason });
    host.count(Counter::TokenType(facts.presented));
    host.count(Counter::Rule { index: facts.rule, rule: Arc::clone(rule), outcome });
}

/// Counts the suspicious activity that a request reveals, and writes it into the audit unless that is off.
#[inline(never)]
fn tell(
    suspicion: Suspicion,
    facts: &Facts,
    report: &Report,
    head: Option<&RequestHead<'_>>,
    parts: &mut Parts,
    cx: &Cx<'_>,
) {
    cx.host.count(Counter::Suspicious(suspicion));
    if parts.config.audit != Audit::Off {
        let line = |origin: Option<&Origin>| audit::suspicious(suspicion, report, origin);
        write_down(facts, line, head, Some(cx.now), parts, cx.host);
    }
}

#[inline(never)]
fn write_down(
    facts: &Facts,
    line: impl Fn(Option<&Origin>) -> String,
    head: Option<&RequestHead<'_>>,
    now: Option<Instant>,
    parts: &mut Parts,
    host: &dyn Host,
) {
    let mut journal = std::mem::take(&mut parts.journal);
    let line = || match (&facts.origin, &facts.asked, head) {
        (None, _, Some(head)) => {
            let address = host.client_address();
            line(Some(&origin(head, address.as_deref(), facts, parts)))
        }
        (Some(known), Some(asked), _) => {
            line(Some(&Origin::clone(known).naming(&asked.credential.token, facts.presented)))
        }
        (known, ..) => line(known.as_deref()),
    };
    journal.write(now, line, host);
    parts.journal = journal;
}
