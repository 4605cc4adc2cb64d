//! Requests that wait for a public key, or for the first revocation list: held in a bounded room, looked at again whenever
//! a key comes.

use std::rc::Rc;
use std::time::Duration;

use super::flights::Finished;
use super::{AT_ONCE, Call, Filter, Progress, StreamId, Ticket, Wait, Waiting, time_code};
use crate::decision::{Code, Denial};
use crate::host::Host;
use crate::introspection::{self, CalloutError, CalloutRequest, CalloutResponse};
use crate::jwt::UntrustedJwt;
use crate::metrics::Counter;
use crate::policy::{Identity, Presenter};
use crate::public_key::PublicKey;
use crate::public_key::store::{Attempt, QUESTIONS, Reason};
use crate::time::UnixTime;

/// The most requests that wait for a key at once, in one worker.
pub const MAX_WAITING_FOR_KEY: usize = 4096;

/// How often every request is looked at although nothing has changed, for those whose time is over.
const ROUND: Duration = Duration::from_secs(1);

/// What is kept of a request whose JWT fits no key that is known.
#[derive(Debug)]
pub(super) struct KeyWait {
    /// Taken apart again for each try: what it was parsed into may be many times larger.
    pub(super) token: Rc<[u8]>,
    /// Where it is what the service answered: who asked, and what. A client's own JWT otherwise.
    pub(super) answer: Option<(StreamId, Rc<Finished>)>,
    /// A search for keys that began since then settles it.
    pub(super) since: UnixTime,
    /// With which generation of keys the signature was tried last.
    pub(super) tried: u64,
}

impl KeyWait {
    /// No generation of keys.
    pub(super) const UNTRIED: u64 = u64::MAX;

    const fn presenter(&self) -> Presenter {
        if self.answer.is_some() { Presenter::Service } else { Presenter::Client }
    }

    /// What it takes up: but for an answer, which all share who wait for it.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + if self.answer.is_none() { self.token.len() } else { 0 }
    }
}

/// What a look at a waiting JWT has found.
enum Looked {
    /// A key fits.
    Fits(Identity),
    /// None does yet.
    Waits,
    /// None will.
    InVain(Denial),
}

/// What waiting requests are looked at again for: the key's fetch and its attempt, and whether the list is there.
type Known = (Option<UnixTime>, Attempt, bool);

/// The requests that wait for a key, but for what all waiting requests have in common.
#[derive(Debug, Default)]
pub(super) struct KeyRoom {
    count: usize,
    /// Those that are to be looked at next, in order.
    round: std::collections::VecDeque<StreamId>,
    /// When the round was last begun, and what was known of the key then.
    begun: Option<(UnixTime, Known)>,
}

impl KeyRoom {
    /// How soon it wants to be looked at again; `None`: not before something happens.
    pub(super) fn tick_period(&self) -> Option<Duration> {
        if self.round.is_empty() {
            (self.count > 0).then_some(Duration::from_millis(20))
        } else {
            Some(Duration::from_millis(1))
        }
    }

    pub(super) const fn enter(&mut self) {
        self.count += 1;
    }

    pub(super) const fn leave(&mut self) {
        self.count -= 1;
    }
}

impl Filter {
    /// Lets a JWT wait whose signature fits no known key, or says at once why that is of no use.
    pub(super) fn wait_for_key(
        &mut self,
        wait: Box<KeyWait>,
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        // Another worker may have fetched the key since the last tick.
        self.keys.synchronise(now, host);
        let attempt = self.keys.attempt(now, host);
        let progress = self.try_key_wait(wait, ticket, attempt, now, host)?;
        if let Progress::Waits(Wait::Key(wait)) = &progress {
            if self.key_room.count >= MAX_WAITING_FOR_KEY
                || !self.shares.may_wait(ticket.connection, size_of::<Waiting>() + wait.bytes())
            {
                let stands_in = wait.answer.as_ref().and_then(|_| self.stand_in(ticket, now, host));
                return stands_in.unwrap_or(Err(Code::PublicKeyUnavailable.into()));
            }
            self.fetch_key(Reason::SignatureFailed, now, host);
        }
        Ok(progress)
    }

    /// Looks again at requests that wait for a key, at [`AT_ONCE`] of them at the most, and sees to it that a key is
    /// on its way.
    pub(super) fn settle_key_waits(&mut self, now: UnixTime, host: &impl Host) {
        if self.key_room.count == 0 {
            self.key_room.round.clear();
            return;
        }
        self.keys.synchronise(now, host);
        let attempt = self.keys.attempt(now, host);
        let known = (self.keys.fetched_at(), attempt, self.awaits_list(host));
        let is_new = self.key_room.begun.is_none_or(|(at, before)| now.has_passed(ROUND, at) || before != known);
        if is_new {
            let waits = |waiting: &Waiting| matches!(waiting.wait, Wait::Key(_));
            let round = self.waiting.iter().filter(|(_, waiting)| waits(waiting)).map(|(stream, _)| *stream);
            self.key_room.round = round.collect();
            self.key_room.begun = Some((now, known));
        }
        let chunk = self.key_room.round.len().min(AT_ONCE);
        let streams: Vec<StreamId> = self.key_room.round.drain(..chunk).collect();
        for stream in streams {
            let (mut ticket, wait) = match self.take_waiting(stream) {
                Some(Waiting { ticket, wait: Wait::Key(wait) }) => (ticket, wait),
                // Its client left, and the host gave its number to another.
                Some(other) => {
                    self.hold(stream, other);
                    continue;
                }
                None => continue,
            };
            let progress = self.try_key_wait(wait, &mut ticket, attempt, now, host);
            if let Some(resolution) = self.proceed(stream, ticket, progress, now, host) {
                self.resolve(stream, resolution);
            }
        }
        if self.key_room.count > 0 {
            self.fetch_key(Reason::SignatureFailed, now, host);
        }
    }

    fn try_key_wait(
        &mut self,
        mut wait: Box<KeyWait>,
        ticket: &mut Ticket,
        attempt: Attempt,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        match (self.look_at(&mut wait, attempt, now, host), &wait.answer) {
            (Looked::Waits, _) => Ok(Progress::Waits(Wait::Key(wait))),
            (Looked::Fits(identity), None) => self.let_in(identity, ticket, wait.since, now, host),
            (Looked::Fits(identity), Some((stream, finished))) => {
                self.settle_service_jwt(*stream, identity, finished, ticket, now, host)
            }
            (Looked::InVain(denial), None) => Err(denial),
            // The answer is of no use.
            (Looked::InVain(denial), Some(_)) => {
                let denial = self.unusable_answer(denial, ticket, now, host);
                self.stand_in(ticket, now, host).unwrap_or(Err(denial))
            }
        }
    }

    fn look_at(&mut self, wait: &mut KeyWait, attempt: Attempt, now: UnixTime, host: &impl Host) -> Looked {
        let presenter = wait.presenter();
        if wait.since.is_to_come(now) {
            // The clock was set back: the wait begins anew.
            wait.since = now;
        }
        let has_time = !now.has_passed(self.config.auth_service.longest_callout(), wait.since);
        if presenter == Presenter::Client && has_time && self.awaits_list(host) {
            return Looked::Waits;
        }
        if wait.tried != self.keys.generation() {
            wait.tried = self.keys.generation();
            let Ok(jwt) = UntrustedJwt::parse(&wait.token) else {
                return Looked::InVain(presenter.denied(Code::TokenMalformed));
            };
            if let Err(error) = jwt.claims().check_time(now, self.config.jwt.clock_skew) {
                return Looked::InVain(presenter.denied(time_code(error)));
            }
            if let Ok(identity) = self.verify(jwt, now, host) {
                return Looked::Fits(identity);
            }
        }
        if self.keys.can_judge(wait.since, now) {
            return Looked::InVain(presenter.denied(Code::SignatureInvalid));
        }
        let began_since = |since: UnixTime| since >= wait.since && since <= now;
        let has_failed = matches!(attempt, Attempt::Failed { since } if began_since(since));
        if has_failed || now.has_passed(self.keys.longest_wait(), wait.since) {
            return Looked::InVain(self.no_key(attempt, now));
        }
        Looked::Waits
    }

    /// The denial, which tells when the service is asked again about a credential that it answered with a JWT which no
    /// key fits. Where there is no key at all, that isn't the answer's fault, and nothing is remembered.
    fn unusable_answer(&self, denial: Denial, ticket: &Ticket, now: UnixTime, host: &impl Host) -> Denial {
        match &ticket.key {
            Some(key) if denial.code == Code::AuthServiceUnavailable => {
                Denial { retry_after: Some(self.cache.remember_unanswered(key, now, host)), ..denial }
            }
            _ => denial,
        }
    }

    /// Whether the first revocation list is still to come.
    pub(super) fn awaits_list(&mut self, host: &impl Host) -> bool {
        self.feed.as_mut().is_some_and(|feed| feed.is_awaited(host))
    }

    fn no_key(&self, attempt: Attempt, now: UnixTime) -> Denial {
        let next = self.keys.next_fetch(Reason::Due, attempt, now).and_then(|next| next.since(now));
        Denial { code: Code::PublicKeyUnavailable, retry_after: Some(next.unwrap_or_default()) }
    }

    pub(super) fn fetch_key(&mut self, reason: Reason, now: UnixTime, host: &impl Host) {
        let reason = if self.keys.fetched_at().is_none() { Reason::Due } else { reason };
        if self.keys.begin(reason, now, host) {
            self.call_for_key(now, self.config.auth_service.retries, 1, host);
        }
    }

    /// Takes over what another worker has fetched, and fetches the key when its time has come.
    pub(super) fn keep_key(&mut self, now: UnixTime, host: &impl Host) {
        self.keys.synchronise(now, host);
        if self.keys.is_due(now) {
            self.fetch_key(Reason::Due, now, host);
        }
    }

    fn call_for_key(&mut self, began: UnixTime, retries: u32, question: u32, host: &impl Host) {
        let request = CalloutRequest { path: self.config.auth_service.public_key_path.clone(), authorization: None };
        self.call(request, Call::PublicKey { began, retries, question }, host);
    }

    pub(super) fn on_key_answer(
        &mut self,
        began: UnixTime,
        (retries, question): (u32, u32),
        answer: Result<CalloutResponse, CalloutError>,
        now: UnixTime,
        host: &impl Host,
    ) {
        let key = introspection::read_public_key(answer)
            .map_err(|outage| outage.to_string())
            .and_then(|pem| PublicKey::from_pem(&pem).map_err(|error| format!("its key is refused: {error}")));
        match key {
            Ok(key) => {
                log::debug!("public key {} fetched", key.fingerprint());
                let is_known = self.keys.accepts(key.id(), now);
                if is_known && question < QUESTIONS && self.key_room.count > 0 {
                    // Another replica may serve the key that they wait for.
                    self.call_for_key(began, retries, question + 1, host);
                    return;
                }
                host.count(Counter::PublicKeyRefresh { success: true });
                self.keys.succeed(&key, began, is_known && question == QUESTIONS, now, host);
            }
            Err(problem) if retries > 0 => {
                log::debug!("public key not fetched, trying again: {problem}");
                self.call_for_key(began, retries - 1, question, host);
                return;
            }
            Err(problem) => {
                host.count(Counter::PublicKeyRefresh { success: false });
                let known = if self.keys.fetched_at().is_some() { "the old one stays" } else { "there is none yet" };
                let cluster = &self.config.auth_service.cluster;
                log::error!("public key not fetched (cluster {cluster}), {known}: {problem}");
                self.keys.fail(began, host);
            }
        }
        self.settle_key_waits(now, host);
    }
}

impl Presenter {
    /// A client's JWT is denied for what it is. One that the service answered with can only be the service's
    /// fault, which is an outage and no verdict.
    fn denied(self, code: Code) -> Denial {
        let code = match self {
            Self::Client => code,
            Self::Service => Code::AuthServiceUnavailable,
        };
        code.into()
    }
}
