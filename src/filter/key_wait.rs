//! Requests that wait for a public key: held in a bounded room, looked at again whenever a key comes.

use super::{Call, Filter, MAX_WAITING_BYTES, MAX_WAITING_FOR_KEY, Progress, StreamId, Wait, Waiting, time_code};
use crate::decision::{Code, Denial};
use crate::host::Host;
use crate::introspection::{self, CalloutError, CalloutRequest, CalloutResponse};
use crate::jwt::UntrustedJwt;
use crate::metrics::Counter;
use crate::policy::Presenter;
use crate::public_key::PublicKey;
use crate::public_key::store::{Attempt, Reason};
use crate::time::UnixTime;

/// What is kept of a request whose JWT fits no key that is known.
#[derive(Debug)]
pub(super) struct KeyWait {
    pub(super) jwt: UntrustedJwt<'static>,
    pub(super) presenter: Presenter,
    /// A key that was fetched since then settles it.
    pub(super) since: UnixTime,
    /// With which key the signature was tried last.
    pub(super) tried: Option<UnixTime>,
}

impl Filter {
    /// Lets a JWT wait whose signature fits no known key, or says at once why that is of no use.
    pub(super) fn wait_for_key(
        &mut self,
        mut wait: Box<KeyWait>,
        rule: Option<usize>,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        // Another worker may have fetched the key since the last tick.
        if self.keys.synchronise(now, host) {
            wait.tried = None;
        }
        let progress = self.try_key_wait(wait, rule, now, host)?;
        if let Progress::Waits(Wait::Key(wait)) = &progress {
            if self.waiting_for_key >= MAX_WAITING_FOR_KEY || self.waiting_bytes + wait.jwt.len() > MAX_WAITING_BYTES {
                return Err(Code::PublicKeyUnavailable.into());
            }
            self.fetch_key(Reason::SignatureFailed, now, host);
        }
        Ok(progress)
    }

    pub(super) fn hold(&mut self, stream: StreamId, waiting: Waiting) {
        if let Wait::Key(wait) = &waiting.wait {
            self.waiting_for_key += 1;
            self.waiting_bytes += wait.jwt.len();
        }
        self.waiting.insert(stream, waiting);
    }

    pub(super) fn take_waiting(&mut self, stream: StreamId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&stream)?;
        if let Wait::Key(wait) = &waiting.wait {
            self.waiting_for_key -= 1;
            self.waiting_bytes -= wait.jwt.len();
        }
        Some(waiting)
    }

    /// Looks again at every request that waits for a key, and sees to it that a key is on its way.
    pub(super) fn settle_key_waits(&mut self, now: UnixTime, host: &impl Host) {
        if self.waiting_for_key == 0 {
            return;
        }
        let streams: Vec<StreamId> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| matches!(waiting.wait, Wait::Key(_)))
            .map(|(stream, _)| *stream)
            .collect();
        for stream in streams {
            let Some(Waiting { ticket, wait: Wait::Key(wait) }) = self.take_waiting(stream) else {
                continue;
            };
            let progress = self.try_key_wait(wait, ticket.rule, now, host);
            if let Some(resolution) = self.proceed(stream, ticket, progress, host) {
                self.resolve(stream, resolution);
            }
        }
        if self.waiting_for_key > 0 {
            self.fetch_key(Reason::SignatureFailed, now, host);
        }
    }

    fn try_key_wait(
        &self,
        mut wait: Box<KeyWait>,
        rule: Option<usize>,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        let key = self.keys.fetched_at();
        if wait.tried != key {
            wait.tried = key;
            wait.jwt
                .claims()
                .check_time(now, self.config.jwt.clock_skew)
                .map_err(|error| wait.presenter.denied(time_code(error)))?;
            match self.verify(wait.jwt, now, host) {
                Ok(identity) => return Ok(Progress::Done(self.authorise(identity, wait.presenter, rule)?)),
                Err(jwt) => wait.jwt = jwt,
            }
        }
        if self.keys.can_judge(wait.since, now) {
            return Err(wait.presenter.denied(Code::SignatureInvalid));
        }
        let began_since = |since: UnixTime| since >= wait.since && since <= now;
        let has_failed = matches!(self.keys.attempt(now, host), Attempt::Failed { since } if began_since(since));
        if has_failed || now.has_passed(self.keys.longest_wait(), wait.since) {
            return Err(self.no_key(now, host));
        }
        Ok(Progress::Waits(Wait::Key(wait)))
    }

    fn no_key(&self, now: UnixTime, host: &impl Host) -> Denial {
        let next = self.keys.next_fetch(Reason::Due, now, host).and_then(|next| next.since(now));
        Denial { code: Code::PublicKeyUnavailable, retry_after: Some(next.unwrap_or_default()) }
    }

    pub(super) fn fetch_key(&mut self, reason: Reason, now: UnixTime, host: &impl Host) {
        let reason = if self.keys.fetched_at().is_none() { Reason::Due } else { reason };
        if self.keys.begin(reason, now, host) {
            self.call_for_key(now, self.config.auth_service.retries, host);
        }
    }

    fn call_for_key(&mut self, began: UnixTime, retries: u32, host: &impl Host) {
        let request = CalloutRequest { path: self.config.auth_service.public_key_path.clone(), authorization: None };
        self.call(request, Call::PublicKey { began, retries }, host);
    }

    pub(super) fn on_key_answer(
        &mut self,
        began: UnixTime,
        retries: u32,
        answer: Result<CalloutResponse, CalloutError>,
        now: UnixTime,
        host: &impl Host,
    ) {
        let key = introspection::read_public_key(answer)
            .map_err(|outage| outage.to_string())
            .and_then(|pem| PublicKey::from_pem(&pem).map_err(|error| format!("its key is refused: {error}")));
        match key {
            Ok(key) => {
                host.count(Counter::PublicKeyRefresh { success: true });
                log::debug!("public key {} fetched", key.fingerprint());
                self.keys.succeed(key, began, now, host);
            }
            Err(problem) if retries > 0 => {
                log::warn!("public key not fetched, trying again: {problem}");
                self.call_for_key(began, retries - 1, host);
                return;
            }
            Err(problem) => {
                host.count(Counter::PublicKeyRefresh { success: false });
                log::error!("public key not fetched, the old one stays: {problem}");
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
