//! The decision machine: no network, no clock, no Envoy.
//!
//! One [`Filter`] serves all requests of one worker. Events go in with the time; verdicts and callouts come out.
//! Every event may produce [`Action`]s, which the shell takes one by one from [`Filter::next_action`] and carries
//! out, until there are none.
//!
//! ```text
//! on_request ──┬─► Step::Forward                                   (a permit: public rule, or verified identity)
//!              ├─► Step::Deny
//!              └─► Step::Wait ─┬─ Wait::Answer   an API token is with the service
//!                              │      │ on_answer: 200 with claims ──► policy ──► Resolve
//!                              │      │            401, 403 ─────────► Resolve(Deny)
//!                              │      │            outage ───────────► once more, then Resolve(Deny 503)
//!                              │      ▼            200 with a JWT
//!                              └─ Wait::Key      the signature fits no key that is known yet
//!                                     │ a key came: it fits ─────────► policy ──► Resolve
//!                                     │ a key fetched since: doesn't ► Resolve(Deny 401)
//!                                     └ none to be had in time ──────► Resolve(Deny 503)
//! on_disconnect: whatever the stream waited for is forgotten.
//! ```
//!
//! A waiting stream is an entry of one map, taken out by the verdict, so that a second verdict has nothing to apply
//! to. A callout is an entry of another, taken out by its answer, so that a second answer, or one that nobody asked
//! for, falls on the floor. Callouts belong to the worker, not to a stream: they come to their end whoever leaves.

mod key_wait;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::claims::TimeError;
use crate::config::Config;
use crate::decision::{self, Code, Denial, Forward, Response};
use crate::extractor::{self, Credential, RequestHead};
use crate::host::Host;
use crate::introspection::{self, CalloutError, CalloutRequest, CalloutResponse, Outage, Verdict};
use crate::jwt::UntrustedJwt;
use crate::matcher::{self, Require, Target};
use crate::policy::{self, Identity, Permit, Presenter};
use crate::public_key::store::{KeyStore, Reason};
use crate::signature::Rs256;
use crate::time::UnixTime;
use key_wait::KeyWait;

/// The most requests that wait for a key at once, in one worker.
pub const MAX_WAITING_FOR_KEY: usize = 4096;

/// The most bytes of tokens that wait for a key at once, in one worker.
pub const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;

/// A request, by the number that the host gave its stream.
pub type StreamId = u32;

/// A callout, by a number that is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(u64);

/// What the filter makes of a request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reception<'r> {
    /// Headers to remove from the request at once, whatever the step is.
    pub strip: Vec<&'r str>,
    /// What to do with the request.
    pub step: Step,
}

/// The one thing that happens to a request now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It goes on, changed like this.
    Forward(Forward),
    /// It ends with this response.
    Deny(Response),
    /// It is held until an [`Action::Resolve`] names it.
    Wait,
}

/// How a request that waited ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// It goes on, changed like this.
    Forward(Forward),
    /// It ends with this response.
    Deny(Response),
}

impl From<Resolution> for Step {
    fn from(resolution: Resolution) -> Self {
        match resolution {
            Resolution::Forward(forward) => Self::Forward(forward),
            Resolution::Deny(response) => Self::Deny(response),
        }
    }
}

/// Something for the shell to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this request to the service, and hand its outcome to [`Filter::on_answer`], a failure to send it too.
    Callout {
        /// To be handed back with the answer.
        call: CallId,
        /// What to send.
        request: CalloutRequest,
    },
    /// End the wait of this stream.
    Resolve {
        /// The stream; it has not been named in an earlier `Resolve`.
        stream: StreamId,
        /// How it ends.
        resolution: Resolution,
    },
}

/// A held request.
#[derive(Debug)]
struct Waiting {
    is_grpc: bool,
    rule: Option<usize>,
    wait: Wait,
}

#[derive(Debug)]
enum Wait {
    /// For the answer to the call that names this stream.
    Answer,
    /// For a key that fits.
    Key(Box<KeyWait>),
}

/// A callout that is under way.
#[derive(Debug)]
enum Call {
    Verify { stream: StreamId, request: CalloutRequest, retries: u32 },
    PublicKey { began: UnixTime, retries: u32 },
}

/// The state of one worker.
#[derive(Debug)]
pub struct Filter {
    config: Config,
    keys: KeyStore,
    waiting: BTreeMap<StreamId, Waiting>,
    waiting_for_key: usize,
    waiting_bytes: usize,
    calls: BTreeMap<CallId, Call>,
    next_call: u64,
    actions: VecDeque<Action>,
}

impl Filter {
    /// A worker that knows no key yet.
    pub fn new(config: Config) -> Self {
        Self {
            keys: KeyStore::new(&config),
            config,
            waiting: BTreeMap::new(),
            waiting_for_key: 0,
            waiting_bytes: 0,
            calls: BTreeMap::new(),
            next_call: 0,
            actions: VecDeque::new(),
        }
    }

    /// The configuration that it works by.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// A request has arrived on `stream`.
    pub fn on_request<'r>(
        &mut self,
        stream: StreamId,
        head: &RequestHead<'r>,
        now: UnixTime,
        host: &impl Host,
    ) -> Reception<'r> {
        let strip = extractor::headers_to_strip(head, &self.config.identity_headers);
        let is_grpc = head.is_grpc();
        let step = match self.decide(stream, head, is_grpc, now, host) {
            Ok(step) => step,
            Err(denial) => Step::Deny(denial.response(is_grpc, &self.config.realm)),
        };
        Reception { strip, step }
    }

    /// The service has answered `call`, or can't.
    pub fn on_answer(
        &mut self,
        call: CallId,
        answer: Result<CalloutResponse, CalloutError>,
        now: UnixTime,
        host: &impl Host,
    ) {
        match self.calls.remove(&call) {
            None => log::warn!("an answer came to a callout that is not under way"),
            Some(Call::PublicKey { began, retries }) => self.on_key_answer(began, retries, answer, now, host),
            Some(Call::Verify { stream, request, retries }) => {
                self.on_verify_answer(stream, request, retries, answer, now, host);
            }
        }
    }

    /// Time has passed: to be called every [`Self::tick_period`].
    pub fn on_tick(&mut self, now: UnixTime, host: &impl Host) {
        self.keys.synchronise(now, host);
        if self.keys.is_due(now) {
            self.fetch_key(Reason::Due, now, host);
        }
        self.settle_key_waits(now, host);
    }

    /// The stream has ended, whether its client left or its response is complete.
    pub fn on_end(&mut self, stream: StreamId) {
        self.take_waiting(stream);
    }

    /// The next thing to carry out.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// How soon [`Self::on_tick`] wants to be called: soon while requests wait for what another worker may bring.
    pub const fn tick_period(&self) -> Duration {
        if self.waiting_for_key > 0 { Duration::from_millis(20) } else { Duration::from_secs(1) }
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many callouts are under way.
    pub fn callouts_in_flight(&self) -> usize {
        self.calls.len()
    }

    fn decide(
        &mut self,
        stream: StreamId,
        head: &RequestHead<'_>,
        is_grpc: bool,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Step, Denial> {
        let target =
            Target { path: head.value(":path"), method: head.value(":method"), authority: head.value(":authority") };
        let (rule, is_public) = match matcher::find(&self.config.rules, target) {
            Ok(found) => (found.map(|(index, _)| index), found.is_some_and(|(_, rule)| rule.public)),
            Err(_) => return Err(Code::AmbiguousPath.into()),
        };
        if is_public {
            return Ok(Step::Forward(decision::forward(&Permit::public(), &self.config)?));
        }
        let waiting = Waiting { is_grpc, rule, wait: Wait::Answer };
        match extractor::extract(head, &self.config.api_token)? {
            Credential::Jwt(token) => {
                let jwt = UntrustedJwt::parse(token).map_err(|_| Code::TokenMalformed)?;
                jwt.claims().check_time(now, self.config.jwt.clock_skew).map_err(time_code)?;
                match self.verify(jwt, now, host) {
                    Ok(identity) => self.permit(identity, Presenter::Client, rule).map(Step::Forward),
                    Err(jwt) => {
                        let wait = Box::new(KeyWait {
                            jwt: jwt.into_owned(),
                            presenter: Presenter::Client,
                            since: now,
                            tried: self.keys.fetched_at(),
                        });
                        self.wait_for_key(stream, waiting, wait, now, host)
                    }
                }
            }
            credential @ (Credential::ApiToken(_) | Credential::Other(_)) => {
                let request = introspection::question(credential, &self.config);
                let retries = self.config.auth_service.retries;
                self.waiting.insert(stream, waiting);
                self.call(request.clone(), Call::Verify { stream, request, retries });
                Ok(Step::Wait)
            }
        }
    }

    fn verify<'t>(&self, jwt: UntrustedJwt<'t>, now: UnixTime, host: &impl Host) -> Result<Identity, UntrustedJwt<'t>> {
        jwt.verify(&Rs256::new(host), self.keys.keys(now)).map(Identity::from)
    }

    fn permit(&self, identity: Identity, presenter: Presenter, rule: Option<usize>) -> Result<Forward, Denial> {
        let public_by_default = Require::default();
        let require =
            rule.and_then(|index| self.config.rules.get(index)).map_or(&public_by_default, |rule| &rule.require);
        let permit = policy::authorise(identity, presenter, require, &self.config)?;
        Ok(decision::forward(&permit, &self.config)?)
    }

    fn on_verify_answer(
        &mut self,
        stream: StreamId,
        request: CalloutRequest,
        retries: u32,
        answer: Result<CalloutResponse, CalloutError>,
        now: UnixTime,
        host: &impl Host,
    ) {
        let Some(Waiting { is_grpc, rule, .. }) = self.take_waiting(stream) else {
            return;
        };
        match introspection::read(answer, self.config.api_token.response_format) {
            Err(outage) if retries > 0 => {
                log::warn!("auth service, trying again: {outage}");
                self.waiting.insert(stream, Waiting { is_grpc, rule, wait: Wait::Answer });
                self.call(request.clone(), Call::Verify { stream, request, retries: retries - 1 });
            }
            verdict => match self.judge(stream, verdict, is_grpc, rule, now, host) {
                Ok(Step::Wait) => {}
                Ok(Step::Forward(forward)) => self.resolve(stream, Resolution::Forward(forward)),
                Ok(Step::Deny(response)) => self.resolve(stream, Resolution::Deny(response)),
                Err(denial) => self.deny(stream, denial, is_grpc),
            },
        }
    }

    fn judge(
        &mut self,
        stream: StreamId,
        verdict: Result<Verdict, Outage>,
        is_grpc: bool,
        rule: Option<usize>,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Step, Denial> {
        match verdict {
            Ok(Verdict::Identity(confirmed)) => {
                let identity = Identity::from(confirmed);
                identity.claims().check_time(now, self.config.jwt.clock_skew).map_err(time_code)?;
                self.permit(identity, Presenter::Service, rule).map(Step::Forward)
            }
            Ok(Verdict::Jwt(token)) => {
                let unavailable = |problem: String| {
                    log::error!("auth service: its JWT is unusable: {problem}");
                    Denial::from(Code::AuthServiceUnavailable)
                };
                let jwt = UntrustedJwt::parse(&token).map_err(|error| unavailable(error.to_string()))?;
                jwt.claims()
                    .check_time(now, self.config.jwt.clock_skew)
                    .map_err(|error| unavailable(error.to_string()))?;
                let presenter = Presenter::Service;
                match self.verify(jwt, now, host) {
                    Ok(identity) => self.permit(identity, presenter, rule).map(Step::Forward),
                    Err(jwt) => {
                        let tried = self.keys.fetched_at();
                        let wait = Box::new(KeyWait { jwt: jwt.into_owned(), presenter, since: now, tried });
                        self.wait_for_key(stream, Waiting { is_grpc, rule, wait: Wait::Answer }, wait, now, host)
                    }
                }
            }
            Ok(Verdict::Rejected) => Err(Code::TokenRejected.into()),
            Ok(Verdict::Forbidden) => Err(Code::ForbiddenByService.into()),
            Err(outage) => {
                log::error!("auth service: {outage}");
                Err(Code::AuthServiceUnavailable.into())
            }
        }
    }

    fn call(&mut self, request: CalloutRequest, call: Call) {
        let id = CallId(self.next_call);
        self.next_call += 1;
        self.calls.insert(id, call);
        self.actions.push_back(Action::Callout { call: id, request });
    }

    fn resolve(&mut self, stream: StreamId, resolution: Resolution) {
        self.actions.push_back(Action::Resolve { stream, resolution });
    }

    fn deny(&mut self, stream: StreamId, denial: Denial, is_grpc: bool) {
        let response = denial.response(is_grpc, &self.config.realm);
        self.resolve(stream, Resolution::Deny(response));
    }
}

const fn time_code(error: TimeError) -> Code {
    match error {
        TimeError::Expired => Code::TokenExpired,
        TimeError::NotYetValid => Code::TokenNotYetValid,
    }
}

#[cfg(test)]
mod tests;
