//! Requests that wait for a public key, or for the first revocation list.

use std::rc::Rc;

use super::answered;
use super::fallback::StandIn;
use super::parts::Parts;
use super::request::{Facts, Next, Stage, Wait};
use super::verification::time_code;
use crate::cache::Kind;
use crate::code::Code;
use crate::credential::Redacted;
use crate::decision::Denial;
use crate::host::Cx;
use crate::jwt::UntrustedJwt;
use crate::keys::Reason;
use crate::policy::{Identity, Presenter};
use crate::questions::Answered;
use crate::signature::Rs256;
use crate::time::Instant;
use crate::turn::LastTurn;

/// The state of a request whose JWT fits no known key.
#[derive(Debug)]
pub(super) struct KeyWait {
    /// Parsed again for each try: the parsed form may be many times larger.
    token: Redacted<Rc<[u8]>>,
    /// The service's answer, if the JWT comes from there; `None`: the JWT is the client's.
    answer: Option<Rc<Answered>>,
    /// When the wait began. After a later search for keys, a signature that fits no key counts as forged.
    since: Instant,
    /// The generation of keys that its signature was last tried with.
    tried: Option<u64>,
    /// Whether its signature stands in for the service.
    stands_in: bool,
    /// Whether the request is held already.
    pub(super) is_held: bool,
}

impl KeyWait {
    /// A client's own JWT.
    pub(super) fn of_client(jwt: UntrustedJwt<'_>, tried: Option<u64>, stands_in: bool, now: Instant) -> Self {
        Self { tried, stands_in, ..Self::new(jwt.into_token().into(), None, now) }
    }

    /// A JWT that the service has answered with.
    pub(super) fn of_service(token: Rc<[u8]>, answer: Rc<Answered>, now: Instant) -> Self {
        Self::new(token, Some(answer), now)
    }

    fn new(token: Rc<[u8]>, answer: Option<Rc<Answered>>, since: Instant) -> Self {
        Self { token: Redacted(token), answer, since, tried: None, stands_in: false, is_held: false }
    }

    /// Its size, in bytes, without an answer, which all requests that wait for it share.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + if self.answer.is_none() { self.token.len() } else { 0 }
    }

    /// Whether its signature fits a key that is no longer accepted, but that the service may serve again.
    fn fits_an_outdated_key(&self, parts: &Parts, cx: &Cx<'_>) -> bool {
        let keys = parts.keys.store().outdated(cx.now);
        let fits = |jwt: UntrustedJwt<'_>| jwt.verify(&Rs256::new(cx.host), &keys).is_ok();
        !keys.is_empty() && UntrustedJwt::parse(&self.token).is_ok_and(fits)
    }

    const fn presenter(&self) -> Presenter {
        if self.answer.is_some() { Presenter::Service } else { Presenter::Client }
    }
}

/// The result of a look at a waiting JWT.
enum Looked {
    /// A key fits.
    Fits(Box<Identity>),
    /// No key fits yet.
    Waits,
    /// The JWT is denied.
    Denied(Denial),
}

/// Looks for a key that fits; without one, the JWT waits for the next key or is denied.
// Compiled apart: docs/performance.md#start.
#[inline(never)]
pub(super) fn await_key<'r>(
    mut wait: Box<KeyWait>,
    facts: &mut Facts,
    parts: &mut Parts,
    cx: &Cx<'_>,
) -> Result<Next<'r>, Denial> {
    if !wait.is_held {
        // Another worker may have fetched the key since the last tick.
        parts.keys.synchronise(cx);
    }
    match (look_at(&mut wait, facts, parts, cx), wait.answer.take()) {
        (Looked::Fits(identity), None) => {
            Ok(Stage::Keep { identity, since: wait.since, stands_in: wait.stands_in }.into())
        }
        (Looked::Fits(identity), Some(answer)) => Ok(answered::settle_jwt(*identity, &answer, facts, parts, cx)),
        (Looked::Denied(denial), None) => Err(denial),
        (Looked::Denied(denial), Some(_)) => {
            let denial = unusable_answer(denial, facts, parts, cx);
            Ok(Stage::StandIn(StandIn::Unusable(denial)).into())
        }
        (Looked::Waits, answer) => {
            wait.answer = answer;
            hold(wait, facts, parts, cx)
        }
    }
}

fn hold<'r>(mut wait: Box<KeyWait>, facts: &Facts, parts: &mut Parts, cx: &Cx<'_>) -> Result<Next<'r>, Denial> {
    if !wait.is_held {
        if !parts.room.may_hold_for_key(facts.connection, wait.bytes(), &parts.shares) {
            let denial = Code::PublicKeyUnavailable.into();
            return if wait.answer.is_some() {
                Ok(Stage::StandIn(StandIn::Unusable(denial)).into())
            } else {
                Err(denial)
            };
        }
        parts.fetch_key(Reason::SignatureFailed, cx);
        wait.is_held = true;
    }
    Ok(Next::Hold(Wait::Key(wait)))
}

fn look_at(wait: &mut KeyWait, facts: &Facts, parts: &mut Parts, cx: &Cx<'_>) -> Looked {
    let presenter = wait.presenter();
    let has_time = !cx.now.has_passed(parts.config.auth_service.longest_callout(), wait.since);
    if presenter == Presenter::Client && has_time && parts.awaits_list(cx) {
        return Looked::Waits;
    }
    let generation = parts.keys.store().generation();
    if wait.tried != Some(generation) {
        wait.tried = Some(generation);
        let Ok(jwt) = UntrustedJwt::parse(&wait.token) else {
            return Looked::Denied(presenter.denied(Code::TokenMalformed));
        };
        if let Err(error) = jwt.claims().check_time(cx.wall, parts.config.jwt.clock_skew) {
            return Looked::Denied(presenter.denied(time_code(error)));
        }
        if let Ok(identity) = parts.verify(jwt, cx) {
            return Looked::Fits(Box::new(identity));
        }
    }
    let store = parts.keys.store();
    // Only a client's own JWT is of this kind here: the service isn't asked about it.
    let digest = facts.digest.filter(|_| facts.kind == Kind::LocalJwt);
    if store.can_judge(wait.since, cx.now) {
        if let (Some(fetched), Some(digest)) = (store.fetched_at(), digest)
            && !wait.fits_an_outdated_key(parts, cx)
        {
            parts.cache.forged.remember(&digest, generation, fetched);
        }
        return Looked::Denied(presenter.denied(Code::SignatureInvalid));
    }
    if let (Some(fetched), Some(digest)) = (store.just_fetched(cx.now), digest)
        && parts.cache.forged.contains(&digest, generation, fetched, cx.now)
    {
        return Looked::Denied(Code::SignatureInvalid.into());
    }
    let last = parts.keys.last_fetch();
    let has_failed = matches!(last, LastTurn::Failed { since } if wait.since <= since);
    if has_failed || cx.now.has_passed(store.longest_wait(), wait.since) {
        let next = store.next_fetch(Reason::Due, last, cx.now).map(|next| next.since(cx.now));
        return Looked::Denied(Denial {
            code: Code::PublicKeyUnavailable,
            retry_after: Some(next.unwrap_or_default()),
        });
    }
    Looked::Waits
}

/// Remembers that the service answered with a JWT that no key fits, and adds to the denial when the service is asked
/// again. If the key couldn't be fetched, the answer isn't at fault, and nothing is remembered.
fn unusable_answer(denial: Denial, facts: &Facts, parts: &Parts, cx: &Cx<'_>) -> Denial {
    match &facts.digest {
        Some(digest) if denial.code == Code::AuthServiceUnavailable => {
            Denial { retry_after: Some(parts.questions.remember_unanswered(digest, cx)), ..denial }
        }
        _ => denial,
    }
}

impl Presenter {
    /// The denial of a JWT: with `code` if it is a client's. A bad JWT in an answer is the service's fault, which is an
    /// outage and no verdict.
    fn denied(self, code: Code) -> Denial {
        let code = match self {
            Self::Client => code,
            Self::Service => Code::AuthServiceUnavailable,
        };
        code.into()
    }
}
