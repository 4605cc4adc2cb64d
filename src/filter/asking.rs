//! Asking the service about a credential: alone or with others, at once or when the client's share allows.

use std::rc::Rc;
use std::time::Duration;

use super::fallback::{self, StandIn};
use super::parts::Parts;
use super::request::{Facts, Next, Stage, Wait};
use super::room;
use super::throttling::too_many_failures;
use crate::breaker::{Snapshot, State};
use crate::cache::{Digest, Kind, Lookup};
use crate::claims::OwnClaims;
use crate::code::Code;
use crate::config::Config;
use crate::credential::{Credential, Form};
use crate::decision::Denial;
use crate::extractor::{self, RequestHead};
use crate::host::Cx;
use crate::jwt::UntrustedJwt;
use crate::metrics::{CacheEvent, Counter, Source};
use crate::questions::{Asker, Asking, Question, Unavailable};
use crate::throttle::{Guess, Throttled};
use crate::time::Instant;

/// A request that waits until its question may be put.
#[derive(Debug)]
pub(super) struct ShareWait {
    question: Rc<Question>,
    since: Instant,
    /// Whether its connection may ask one more question, as of the last look.
    pub(super) has_share: bool,
    /// Whether its client has as many guesses under way as it may, as of the last look.
    pub(super) is_busy: bool,
}

impl ShareWait {
    /// The size of its question, in bytes.
    pub(super) fn question_bytes(&self) -> usize {
        self.question.bytes()
    }

    /// Its question.
    pub(super) fn question(&self) -> Rc<Question> {
        Rc::clone(&self.question)
    }

    fn new(question: Rc<Question>, since: Instant) -> Self {
        Self { question, since, has_share: true, is_busy: false }
    }
}

/// The question about the credential of the request with this head.
///
/// # Errors
/// [`Code::TokenMalformed`] if it is no JWT, although it has the form of one.
pub(super) fn question(
    credential: Credential<'_>,
    head: &RequestHead<'_>,
    digest: &Digest,
    kind: Kind,
    config: &Config,
) -> Result<Rc<Question>, Code> {
    let own = own_claims(&credential)?;
    let forwarded = extractor::forwarded(head, &config.auth_service.forward_headers);
    Ok(Question::new(*digest, kind, credential.into_owned(), own, forwarded))
}

fn own_claims(credential: &Credential<'_>) -> Result<OwnClaims, Code> {
    Ok(match credential.form {
        Form::Jwt => {
            let jwt = UntrustedJwt::parse(&credential.token).map_err(|_| Code::TokenMalformed)?;
            let claims = jwt.claims();
            let jti = claims.jti().map(Box::from);
            OwnClaims { exp: claims.exp(), nbf: claims.nbf(), jti, token_id: None }
        }
        Form::ApiToken => {
            let token_id = credential.token_id().and_then(|id| id.parse().ok());
            OwnClaims { token_id, ..OwnClaims::default() }
        }
        Form::Other => OwnClaims::default(),
    })
}

/// Prepares a question about a credential, unless its client has failed too often.
pub(super) fn prepare<'r>(
    credential: Credential<'_>,
    head: &RequestHead<'_>,
    facts: &mut Facts,
    parts: &mut Parts,
    cx: &Cx<'_>,
) -> Result<Next<'r>, Denial> {
    // `arrive` leaves the digest out only for local JWTs, about which the service isn't asked.
    let digest = facts.digest.unwrap_or_else(|| parts.cache.digest(facts.kind, &credential.token));
    let lockout = parts.throttle.as_ref().zip(facts.suspect.as_ref());
    if let Some(remaining) = lockout.and_then(|(throttle, suspect)| throttle.check(suspect, cx))
        // A credential that was recently good is no guess.
        && !parts.cache.was_good(&digest, facts.kind, cx)
    {
        return Err(too_many_failures(remaining));
    }
    facts.source = Source::Callout;
    facts.connection = cx.host.connection();
    Ok(Stage::Ask(question(credential, head, &digest, facts.kind, &parts.config)?).into())
}

/// Decides how a request comes to a verdict: it waits for the answer to a question, which is open already or begins
/// here; it waits until its question may be put; or something stands in for the answer.
pub(super) fn ask<'r>(
    question: Rc<Question>,
    facts: &mut Facts,
    parts: &mut Parts,
    cx: &Cx<'_>,
) -> Result<Next<'r>, Denial> {
    if let Some(retry_after) = parts.questions.unanswered_for(&question.digest, cx) {
        cx.host.count(Counter::Cache(CacheEvent::Negative));
        facts.source = Source::Cache;
        return Ok(Stage::StandIn(StandIn::new(question, Unavailable::NoVerdict { retry_after })).into());
    }
    if !room::may_hold(facts.connection, 0, &parts.shares) {
        return Ok(Stage::StandIn(StandIn::new(question, Unavailable::Overload)).into());
    }
    // The probe runs in the background: a request with a stale verdict needn't wait for it.
    let breaker = parts.questions.breaker().peek(cx);
    if breaker.state != State::Closed
        && let Some(identity) = fallback::stale(facts, parts, cx)
    {
        if breaker.is_probe_due {
            refresh(&question, breaker, parts, cx);
        }
        return Ok(Stage::Admit(identity).into());
    }
    if parts.questions.join(&question.digest, facts.stream, &mut parts.shares) {
        cx.host.count(Counter::Cache(CacheEvent::Coalesced));
        return Ok(Next::Hold(Wait::Answer(question.digest)));
    }
    if !parts.shares.may_ask(facts.connection, question.bytes()) {
        return Ok(wait_for_share(question, facts, parts, cx));
    }
    match begin_guess(&question, facts, parts, cx) {
        Ok(guess) => open(question, guess, breaker, facts, parts, cx),
        Err(Throttled::Busy) => Ok(wait_for_share(question, facts, parts, cx)),
        Err(Throttled::Locked(remaining)) => Err(too_many_failures(remaining)),
    }
}

/// Begins a question, which counts against this request's connection and client.
fn open<'r>(
    question: Rc<Question>,
    guess: Option<Guess>,
    breaker: Snapshot,
    facts: &Facts,
    parts: &mut Parts,
    cx: &Cx<'_>,
) -> Result<Next<'r>, Denial> {
    let asker = Asker { connection: facts.connection, guess };
    let waiters = vec![facts.stream];
    let asking = Asking { question: Rc::clone(&question), asker, waiters, is_alone: false, breaker };
    match parts.open_question(asking, cx) {
        Ok(()) => Ok(Next::Hold(Wait::Answer(question.digest))),
        Err(reason) => {
            end_guess(asker.guess, false, parts, cx);
            Ok(Stage::StandIn(StandIn::new(question, reason)).into())
        }
    }
}

/// Counts the question as one that may turn out to be a failure.
fn begin_guess(question: &Question, facts: &Facts, parts: &mut Parts, cx: &Cx<'_>) -> Result<Option<Guess>, Throttled> {
    let (Some(throttle), Some(suspect)) = (&parts.throttle, &facts.suspect) else { return Ok(None) };
    // If another worker is already asking, that question counts instead.
    if parts.questions.is_asked_elsewhere(&question.digest, cx) {
        return Ok(None);
    }
    match throttle.begin_guess(suspect, cx) {
        // A credential that was recently good is no guess.
        Err(_) if parts.cache.was_good(&question.digest, question.kind, cx) => Ok(None),
        guess => guess,
    }
}

/// A guess is no longer under way.
pub(super) fn end_guess(guess: Option<Guess>, is_failure: bool, parts: &Parts, cx: &Cx<'_>) {
    if let (Some(throttle), Some(guess)) = (&parts.throttle, guess) {
        throttle.end_guess(guess, is_failure, cx);
    }
}

fn wait_for_share<'r>(question: Rc<Question>, facts: &Facts, parts: &Parts, cx: &Cx<'_>) -> Next<'r> {
    if room::may_hold(facts.connection, question.bytes(), &parts.shares) {
        Next::Hold(Wait::Share(ShareWait::new(question, cx.now)))
    } else {
        Stage::StandIn(StandIn::new(question, Unavailable::Overload)).into()
    }
}

/// Looks again at a request that waits for its share.
pub(super) fn reconsider<'r>(
    wait: ShareWait,
    facts: &mut Facts,
    parts: &mut Parts,
    cx: &Cx<'_>,
) -> Result<Next<'r>, Denial> {
    let ShareWait { question, since, has_share, is_busy } = wait;
    let is_late = cx.now.has_passed(parts.config.auth_service.longest_callout(), since);
    if !is_late && (!has_share || is_busy) {
        return Ok(Next::Hold(Wait::Share(ShareWait::new(question, since))));
    }
    // Another request may have asked meanwhile.
    let (cache, mut validity) = parts.cache(cx);
    match cache.look_up(&question.digest, question.kind, &mut validity, cx) {
        Lookup::Fresh(entry) => {
            cx.host.count(Counter::Cache(CacheEvent::Hit));
            facts.source = Source::Cache;
            return Ok(Stage::Admit(Rc::clone(&entry.identity)).into());
        }
        Lookup::Refused(code) => {
            facts.source = Source::Cache;
            return Err(code.into());
        }
        Lookup::Miss => {}
    }
    if !has_share {
        return Ok(Stage::StandIn(StandIn::new(question, Unavailable::Overload)).into());
    }
    if is_busy {
        return Err(too_many_failures(Duration::from_secs(1)));
    }
    match ask(question, facts, parts, cx)? {
        Next::Hold(Wait::Share(_)) if is_late => Err(too_many_failures(Duration::from_secs(1))),
        Next::Hold(Wait::Share(wait)) => Ok(Next::Hold(Wait::Share(ShareWait { since, ..wait }))),
        next => Ok(next),
    }
}

/// Asks again about a credential whose verdict ends soon. No request waits for it.
pub(super) fn refresh(question: &Rc<Question>, breaker: Snapshot, parts: &mut Parts, cx: &Cx<'_>) {
    if parts.callouts.has_room_to_refresh() && parts.questions.may_refresh(&question.digest, cx) {
        let question = Rc::clone(question);
        let asking = Asking { question, asker: Asker::default(), waiters: Vec::new(), is_alone: false, breaker };
        // If the service can't be asked, the known verdict stays.
        let _ = parts.open_question(asking, cx);
    }
}
