//! Answers of the service: what they mean for the question, and for each request that waits for it.

use std::rc::Rc;
use std::time::Duration;

use super::asking;
use super::fallback::StandIn;
use super::key_wait::KeyWait;
use super::parts::Parts;
use super::request::{Facts, Next, Stage};
use crate::cache::{Digest, Kind, Lookup};
use crate::claims::Claims;
use crate::code::Code;
use crate::credential::Redacted;
use crate::decision::Denial;
use crate::host::Cx;
use crate::introspection::{self, CalloutError, CalloutResponse, Destination, Outage, Scope, Verdict};
use crate::jwt::UntrustedJwt;
use crate::keys::Reason;
use crate::policy::Identity;
use crate::questions::{Answered, Asking, Call, Conclusion, Elsewhere, LOOKS, Open, Unavailable};
use crate::time::{Instant, UnixTime};

/// The content of an answer of the service.
enum Answer {
    Identity(Identity),
    /// A JWT that fits no known key.
    Jwt(Vec<u8>),
    Refused(Code),
}

/// The service has answered a question, or can't. Returns the result, unless the question is asked again.
// Compiled apart: docs/performance.md#start.
#[inline(never)]
pub(super) fn on_answer(
    call: Call,
    answer: Result<CalloutResponse, CalloutError>,
    parts: &mut Parts,
    cx: &Cx<'_>,
) -> Option<Rc<Answered>> {
    let answer = answer.map_err(|error| late(error, &call, parts, cx));
    let answer = judge(answer, parts, cx);
    parts.questions.report(&call, answer.as_ref().err().map(Outage::scope), cx);
    let digest = call.digest;
    let conclusion = match answer {
        Ok(answer) => conclusion(&digest, answer, parts, cx),
        Err(outage) => {
            if parts.questions.take_retry(&call, outage.scope(), cx) {
                log::debug!("auth service (cluster {}), trying again: {outage}", parts.config.auth_service.cluster);
                parts.put(call, cx);
                return None;
            }
            parts.questions.get(&digest)?;
            parts.log_outage(&outage, cx);
            Some(Conclusion::Unavailable(match outage.scope() {
                Scope::Service => Unavailable::Down { retry_after: None },
                Scope::Credential => {
                    let retry_after = if outage.is_broken() {
                        parts.questions.remember_broken(&digest, cx)
                    } else {
                        parts.questions.remember_unanswered(&digest, cx)
                    };
                    Unavailable::NoVerdict { retry_after }
                }
                Scope::Gateway => Unavailable::Overload,
            }))
        }
    };
    finish(&digest, conclusion?, parts, cx)
}

/// An answer that breaks off at the timeout counts as timed out.
fn late(error: CalloutError, call: &Call, parts: &Parts, cx: &Cx<'_>) -> CalloutError {
    let timeout = parts.config.auth_service.timeout;
    // The host's timers count from when its event loop woke, which was before the question was put.
    let slack = (timeout / 10).max(Duration::from_millis(50));
    let is_late = |open: &Open| cx.now.since(open.sent) + slack >= timeout;
    match error {
        CalloutError::Broken if parts.questions.get(&call.digest).is_some_and(is_late) => CalloutError::TimedOut,
        error => error,
    }
}

/// Reads an answer of the service, and verifies the JWT that it may be.
#[inline(never)]
fn judge(answer: Result<CalloutResponse, CalloutError>, parts: &Parts, cx: &Cx<'_>) -> Result<Answer, Outage> {
    let verdict = answer.map_err(Outage::from).and_then(|answer| parts.verifier.verdict(answer));
    let token = match verdict {
        // Envoy doesn't say why it refuses a callout at once. If others are under way, there are hosts, but no room.
        Err(Outage::Callout(CalloutError::NotSent)) if is_service_asked(parts, cx) => {
            return Err(CalloutError::Overflow.into());
        }
        Err(outage) => return Err(outage),
        Ok(Verdict::Identity(confirmed)) => return Ok(Answer::Identity(confirmed.into())),
        Ok(Verdict::Rejected) => return Ok(Answer::Refused(Code::TokenRejected)),
        Ok(Verdict::Forbidden) => return Ok(Answer::Refused(Code::ForbiddenByService)),
        Ok(Verdict::Jwt(token)) => token,
    };
    let jwt = introspection::read_jwt(&token, &parts.config, cx.wall)?;
    Ok(match parts.verify(jwt, cx) {
        Ok(identity) => Answer::Identity(identity),
        Err(_) => Answer::Jwt(token.0),
    })
}

/// Whether any worker has callouts under way to the service's cluster, whose limits all workers share. Unsent callouts
/// don't count, nor do a fetch and a poll at other clusters, of which there may be one each.
fn is_service_asked(parts: &Parts, cx: &Cx<'_>) -> bool {
    let cluster_of = |destination| parts.config.host(destination).0;
    let service = cluster_of(Destination::AuthService);
    let others = [Destination::PublicKey, Destination::Revocation];
    let elsewhere = others.into_iter().filter(|destination| cluster_of(*destination) != service).count();
    let known = parts.callouts.unsent() + elsewhere;
    cx.host.callouts_in_flight() > u64::try_from(known).unwrap_or(u64::MAX)
}

/// Whether the signature of a JWT is good; true while no key is known.
fn is_signed(token: &[u8], parts: &Parts, cx: &Cx<'_>) -> bool {
    let has_key = parts.keys.store().keys(cx.now).next().is_some();
    !has_key || UntrustedJwt::parse(token).is_ok_and(|jwt| parts.verify(jwt, cx).is_ok())
}

/// Stores an answer's verdict in the cache. `None`: the question isn't open.
#[inline(never)]
fn conclusion(digest: &Digest, answer: Answer, parts: &mut Parts, cx: &Cx<'_>) -> Option<Conclusion> {
    let open = parts.questions.get(digest)?;
    let question = &open.question;
    Some(match answer {
        Answer::Identity(identity) => {
            let identity = identity.by_service(&question.own);
            if question.kind == Kind::RemoteJwt {
                parts.cache.confirm_jwt(&question.credential.token, open.sent, cx);
            }
            let kept = parts.cache.store(digest, question.kind, identity, open.sent, cx);
            kept.map_or_else(Conclusion::Refused, Conclusion::Identity)
        }
        Answer::Jwt(token) => {
            let counted = parts.questions.bytes().add(token.len());
            Conclusion::Jwt { token: Redacted(token.into()), _counted: counted }
        }
        Answer::Refused(code) => {
            let expires = question.own.exp.map(UnixTime::from_secs);
            parts.cache.refuse(digest, code, expires, open.sent, cx);
            if question.kind == Kind::RemoteJwt {
                let token = &question.credential.token;
                let is_signed = is_signed(token, parts, cx);
                parts.cache.refuse_jwt(token, is_signed, code, expires, open.sent, cx);
            }
            Conclusion::Refused(code)
        }
    })
}

/// Ends a question that this worker has asked.
#[inline(never)]
fn finish(digest: &Digest, conclusion: Conclusion, parts: &mut Parts, cx: &Cx<'_>) -> Option<Rc<Answered>> {
    let is_down = matches!(conclusion, Conclusion::Unavailable(Unavailable::Down { .. }));
    let open = parts.questions.close(digest, is_down, &mut parts.shares, cx)?;
    if open.waiters.is_empty() && matches!(conclusion, Conclusion::Jwt { .. }) {
        // No request waits for the key, but the next request will need it.
        parts.fetch_key(Reason::SignatureFailed, cx);
    }
    if matches!(conclusion, Conclusion::Identity(_)) && !open.waiters.is_empty() {
        parts.shares.earn(open.asker.connection);
    }
    let sent = open.sent;
    let answered = announce(open, conclusion, sent, parts, cx);
    answered.mark_as_news();
    Some(answered)
}

/// Ends the guess of a question, and queues the requests that wait for its answer.
fn announce(open: Open, conclusion: Conclusion, sent: Instant, parts: &mut Parts, cx: &Cx<'_>) -> Rc<Answered> {
    let is_failure = conclusion.is_failure();
    asking::end_guess(open.asker.guess, is_failure, parts, cx);
    let counted = open.asker.guess.filter(|_| is_failure).map(|guess| guess.suspect());
    let answered = Rc::new(Answered::new(open.question, sent, conclusion, counted));
    parts.room.answer(&open.waiters, &answered);
    answered
}

/// Looks for the verdicts of questions that other workers ask.
#[inline(never)]
pub(super) fn settle_elsewhere(parts: &mut Parts, cx: &Cx<'_>) {
    for _ in 0..parts.questions.count_elsewhere().min(LOOKS) {
        let Some(digest) = parts.questions.next_elsewhere() else { return };
        let Some((kind, began)) = parts.questions.get(&digest).map(|open| (open.question.kind, open.began)) else {
            continue;
        };
        let mut sent = began;
        let mut is_alone = false;
        let (cache, mut validity) = parts.cache(cx);
        let conclusion = match cache.look_up(&digest, kind, &mut validity, cx) {
            Lookup::Fresh(entry) => {
                sent = entry.verified;
                Some(Conclusion::Identity(Rc::clone(&entry.identity)))
            }
            Lookup::Refused(code) => Some(Conclusion::Refused(code)),
            Lookup::Miss => match parts.questions.look_elsewhere(&digest, began, cx) {
                Elsewhere::Asking => {
                    parts.questions.keep_elsewhere(digest);
                    continue;
                }
                Elsewhere::Failed => Some(Conclusion::Unavailable(Unavailable::Down { retry_after: None })),
                // Ask here now, whatever others do, unless the service gave one of them no verdict.
                look @ (Elsewhere::Stuck | Elsewhere::Over) => {
                    is_alone = look == Elsewhere::Stuck;
                    let unanswered = parts.questions.unanswered_for(&digest, cx);
                    unanswered.map(|retry_after| Conclusion::Unavailable(Unavailable::NoVerdict { retry_after }))
                }
            },
        };
        let Some(open) = parts.questions.take_elsewhere(&digest, &mut parts.shares) else { continue };
        match conclusion {
            Some(conclusion) => drop(announce(open, conclusion, sent, parts, cx)),
            None => ask_here(open, is_alone, parts, cx),
        }
    }
}

/// Asks a question that another worker left without an answer, if a request still waits for it.
fn ask_here(open: Open, is_alone: bool, parts: &mut Parts, cx: &Cx<'_>) {
    if open.waiters.is_empty() {
        asking::end_guess(open.asker.guess, false, parts, cx);
        return;
    }
    let (question, waiters) = (Rc::clone(&open.question), open.waiters.clone());
    let breaker = parts.questions.breaker().peek(cx);
    let asking = Asking { question, asker: open.asker, waiters, is_alone, breaker };
    if let Err(reason) = parts.open_question(asking, cx) {
        let sent = open.began;
        announce(open, Conclusion::Unavailable(reason), sent, parts, cx);
    }
}

/// Continues a request whose question is answered.
// Compiled apart: docs/performance.md#start.
#[inline(never)]
pub(super) fn settle<'r>(
    answered: &Rc<Answered>,
    facts: &mut Facts,
    parts: &mut Parts,
    cx: &Cx<'_>,
) -> Result<Next<'r>, Denial> {
    match &answered.conclusion {
        // In the event that brought the identity, the cache has just stored it and found no refusal.
        Conclusion::Identity(identity) => Ok(
            if is_purged(identity.claims(), answered, parts, cx)
                || !answered.is_news() && is_refused(answered, facts, parts, cx)
            {
                Stage::Ask(Rc::clone(&answered.question)).into()
            } else {
                Stage::Admit(Rc::clone(identity)).into()
            },
        ),
        Conclusion::Jwt { token, .. } => {
            let wait = KeyWait::of_service(Rc::clone(token), Rc::clone(answered), cx.now);
            Ok(Stage::AwaitKey(Box::new(wait)).into())
        }
        Conclusion::Refused(code) => {
            facts.is_counted = facts.suspect.is_some_and(|suspect| answered.is_counted_for(suspect));
            Err((*code).into())
        }
        Conclusion::Unavailable(reason) => {
            Ok(Stage::StandIn(StandIn::new(Rc::clone(&answered.question), *reason)).into())
        }
    }
}

/// Continues with the identity of a JWT that the service answered with, now that a key fits.
pub(super) fn settle_jwt<'r>(
    identity: Identity,
    answered: &Answered,
    facts: &Facts,
    parts: &Parts,
    cx: &Cx<'_>,
) -> Next<'r> {
    let identity = identity.by_service(&answered.question.own);
    if answered.question.kind == Kind::RemoteJwt {
        parts.cache.confirm_jwt(&answered.question.credential.token, answered.sent, cx);
    }
    if is_purged(identity.claims(), answered, parts, cx) || is_refused(answered, facts, parts, cx) {
        return Stage::Ask(Rc::clone(&answered.question)).into();
    }
    Stage::Keep { identity: Box::new(identity), since: answered.sent, stands_in: false }.into()
}

/// Whether the answer was purged while the request waited for its turn or for a key: then the service is asked again.
fn is_purged(claims: &Claims, answered: &Answered, parts: &Parts, cx: &Cx<'_>) -> bool {
    parts.revocation.as_ref().is_some_and(|revocation| revocation.is_purged(claims, answered.sent, cx.shared))
}

/// Whether the credential was refused meanwhile: then, too, the service is asked again.
fn is_refused(answered: &Answered, facts: &Facts, parts: &Parts, cx: &Cx<'_>) -> bool {
    parts.cache.is_refused_since(&answered.question.digest, facts.kind, answered.sent, cx)
}
