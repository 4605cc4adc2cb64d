//! The decision machine: no network, no clock, no Envoy.
//!
//! One [`Filter`] serves all requests of one worker. Events go in with the time; verdicts and callouts come out.
//! Every event may produce [`Action`]s, which the shell takes one by one from [`Filter::next_action`] and carries
//! out, until there are none.
//!
//! ```text
//! on_request ──┬─► Step::Resolve   forward with a permit: public rule, or verified identity; or deny
//!              └─► Step::Wait ─┬─ Wait::Answer   an API token is with the service
//!                              │      │ on_answer: 200 with claims ──► policy ──► Resolve
//!                              │      │            401, 403 ─────────► Resolve(Deny)
//!                              │      │            outage ───────────► once more, then Resolve(Deny 503)
//!                              │      ▼            200 with a JWT
//!                              └─ Wait::Key      the signature fits no key that is known yet
//!                                     │ a key came: it fits ─────────► policy ──► Resolve
//!                                     │ a key fetched since: doesn't ► Resolve(Deny 401)
//!                                     └ none to be had in time ──────► Resolve(Deny 503)
//! on_end: whatever the stream waited for is forgotten.
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
use crate::decision::{self, Client, Code, Denial, Forward, Response};
use crate::extractor::{self, Credential, RequestHead};
use crate::host::Host;
use crate::introspection::{self, CalloutError, CalloutRequest, CalloutResponse, Outage, Verdict};
use crate::jwt::UntrustedJwt;
use crate::matcher::{self, Require, Target};
use crate::metrics::{Counter, Gauge, Outcome, Source};
use crate::policy::{self, Identity, Permit, Presenter};
use crate::public_key::store::{KeyStore, Reason};
use crate::signature::Rs256;
use crate::time::UnixTime;
use key_wait::{KeyRoom, KeyWait};
pub use key_wait::{MAX_WAITING_BYTES, MAX_WAITING_FOR_KEY};

/// The most callouts that are under way at once, in one worker: those too whose client has left.
pub const MAX_CALLOUTS: usize = 4096;

/// The most bytes of credentials in callouts that are under way, in one worker.
pub const MAX_CALLOUT_BYTES: usize = 16 * 1024 * 1024;

/// The least time between two lines about the service in the log, so that clients can't fill it.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// A request, by the number that the host gave its stream.
pub type StreamId = u32;

/// A callout, by a number that is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(u64);

/// What the filter makes of a request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reception<'r> {
    /// Headers to remove from the request at once, whatever becomes of it.
    pub strip: Vec<&'r str>,
    /// What to do with the request.
    pub step: Step,
}

/// The one thing that happens to a request now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// There is a verdict already.
    Resolve(Resolution),
    /// It is held until an [`Action::Resolve`] names it.
    Wait,
}

/// How a request ends, as far as the filter is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// It goes on, changed like this.
    Forward(Forward),
    /// It ends with this response.
    Deny(Response),
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
    ticket: Ticket,
    wait: Wait,
}

/// What has to be known of a request to end it.
#[derive(Debug)]
struct Ticket {
    client: Client,
    rule: Option<usize>,
    source: Source,
}

#[derive(Debug)]
enum Wait {
    /// For the answer to the call that names this stream.
    Answer,
    /// For a key that fits.
    Key(Box<KeyWait>),
}

/// How far a request got.
enum Progress {
    /// It may go on.
    Done(Permit),
    /// It has to wait.
    Waits(Wait),
}

/// A callout that is under way.
#[derive(Debug)]
enum Call {
    Verify { stream: StreamId, request: CalloutRequest, retries: u32 },
    PublicKey { began: UnixTime, retries: u32 },
}

impl Call {
    /// The bytes of the credential that it keeps.
    fn bytes(&self) -> usize {
        match self {
            Self::Verify { request, .. } => request.authorization.as_ref().map_or(0, String::len),
            Self::PublicKey { .. } => 0,
        }
    }
}

/// The state of one worker.
#[derive(Debug)]
pub struct Filter {
    config: Config,
    keys: KeyStore,
    waiting: BTreeMap<StreamId, Waiting>,
    key_room: KeyRoom,
    calls: BTreeMap<CallId, Call>,
    call_bytes: usize,
    logged: Option<UnixTime>,
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
            key_room: KeyRoom::default(),
            calls: BTreeMap::new(),
            call_bytes: 0,
            logged: None,
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
        let mut ticket = Ticket { client: Client::of(head, &self.config), rule: None, source: Source::None };
        let progress = self.decide(stream, head, &mut ticket, now, host);
        let step = self.proceed(stream, ticket, progress, host).map_or(Step::Wait, Step::Resolve);
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
        let call = self.calls.remove(&call);
        if let Some(call) = &call {
            self.call_bytes -= call.bytes();
            host.shift(Gauge::CalloutsInFlight, -1);
        }
        match call {
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
    pub fn on_end(&mut self, stream: StreamId, host: &impl Host) {
        // Its verdict may be there and not carried out yet.
        self.actions.retain(|action| !matches!(action, Action::Resolve { stream: ended, .. } if *ended == stream));
        if let Some(Waiting { ticket, .. }) = self.take_waiting(stream) {
            host.count(Counter::Request { outcome: Outcome::Cancelled, source: ticket.source, reason: None });
        }
    }

    /// The next thing to carry out.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// How soon [`Self::on_tick`] wants to be called: soon while requests wait for what another worker may bring.
    pub fn tick_period(&self) -> Duration {
        self.key_room.tick_period().unwrap_or(Duration::from_secs(1))
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How many callouts are under way.
    pub fn callouts_in_flight(&self) -> usize {
        self.calls.len()
    }

    /// From the head to a permit, a denial, or something to wait for.
    fn decide(
        &mut self,
        stream: StreamId,
        head: &RequestHead<'_>,
        ticket: &mut Ticket,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        let target =
            Target { path: head.value(":path"), method: head.value(":method"), authority: head.value(":authority") };
        let rule = matcher::find(&self.config.rules, target).map_err(|_| Code::AmbiguousPath)?;
        ticket.rule = rule.map(|(index, _)| index);
        if rule.is_some_and(|(_, rule)| rule.public) || ticket.client.is_preflight(head) {
            return Ok(Progress::Done(Permit::public()));
        }
        match extractor::extract(head, &self.config.api_token)? {
            Credential::Jwt(token) => {
                ticket.source = Source::Jwt;
                let jwt = UntrustedJwt::parse(token).map_err(|_| Code::TokenMalformed)?;
                jwt.claims().check_time(now, self.config.jwt.clock_skew).map_err(time_code)?;
                self.progress(jwt, Presenter::Client, ticket.rule, now, host)
            }
            credential @ (Credential::ApiToken(_) | Credential::Other(_)) => {
                ticket.source = Source::Callout;
                let request = introspection::question(credential, &self.config);
                let bytes = request.authorization.as_ref().map_or(0, String::len);
                if self.calls.len() >= MAX_CALLOUTS || self.call_bytes + bytes > MAX_CALLOUT_BYTES {
                    return Err(Code::AuthServiceUnavailable.into());
                }
                let retries = self.config.auth_service.retries;
                self.call(request.clone(), Call::Verify { stream, request, retries }, host);
                Ok(Progress::Waits(Wait::Answer))
            }
        }
    }

    /// Verifies a JWT with the keys that are known, or finds that it has to wait for another.
    fn progress(
        &mut self,
        jwt: UntrustedJwt<'_>,
        presenter: Presenter,
        rule: Option<usize>,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        match self.verify(jwt, now, host) {
            Ok(identity) => Ok(Progress::Done(self.authorise(identity, presenter, rule)?)),
            Err(jwt) => {
                let tried = self.keys.generation();
                let wait = Box::new(KeyWait { token: jwt.into_token(), presenter, since: now, tried });
                self.wait_for_key(wait, rule, now, host)
            }
        }
    }

    fn verify<'t>(&self, jwt: UntrustedJwt<'t>, now: UnixTime, host: &impl Host) -> Result<Identity, UntrustedJwt<'t>> {
        jwt.verify(&Rs256::new(host), self.keys.keys(now)).map(Identity::from)
    }

    fn authorise(&self, identity: Identity, presenter: Presenter, rule: Option<usize>) -> Result<Permit, Code> {
        let none = Require::default();
        let require = rule.and_then(|index| self.config.rules.get(index)).map_or(&none, |rule| &rule.require);
        policy::authorise(identity, presenter, require, &self.config)
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
        let Some(Waiting { ticket, .. }) = self.take_waiting(stream) else {
            return;
        };
        let verdict = introspection::read(answer, self.config.api_token.response_format);
        let progress = match verdict {
            Err(outage) if retries > 0 => {
                log::debug!("auth service, trying again: {outage}");
                self.call(request.clone(), Call::Verify { stream, request, retries: retries - 1 }, host);
                Ok(Progress::Waits(Wait::Answer))
            }
            verdict => self.judge(verdict, ticket.rule, now, host),
        };
        if let Some(resolution) = self.proceed(stream, ticket, progress, host) {
            self.resolve(stream, resolution);
        }
    }

    /// What the service's answer makes of the request.
    fn judge(
        &mut self,
        verdict: Result<Verdict, Outage>,
        rule: Option<usize>,
        now: UnixTime,
        host: &impl Host,
    ) -> Result<Progress, Denial> {
        let skew = self.config.jwt.clock_skew;
        match verdict {
            Ok(Verdict::Identity(confirmed)) => {
                let identity = Identity::from(confirmed);
                identity.claims().check_time(now, skew).map_err(time_code)?;
                Ok(Progress::Done(self.authorise(identity, Presenter::Service, rule)?))
            }
            Ok(Verdict::Jwt(token)) => {
                let jwt = match UntrustedJwt::parse(&token) {
                    Ok(jwt) => jwt,
                    Err(error) => return Err(self.outage(format_args!("its JWT is unusable: {error}"), now)),
                };
                if let Err(error) = jwt.claims().check_time(now, skew) {
                    return Err(self.outage(format_args!("its JWT is unusable: {error}"), now));
                }
                self.progress(jwt, Presenter::Service, rule, now, host)
            }
            Ok(Verdict::Rejected) => Err(Code::TokenRejected.into()),
            Ok(Verdict::Forbidden) => Err(Code::ForbiddenByService.into()),
            Err(outage) => Err(self.outage(format_args!("{outage}"), now)),
        }
    }

    /// The denial for want of a verdict, and a line in the log unless there was one just now.
    fn outage(&mut self, problem: std::fmt::Arguments<'_>, now: UnixTime) -> Denial {
        if self.logged.is_none_or(|last| now.has_passed(LOG_INTERVAL, last)) {
            self.logged = Some(now);
            log::error!("auth service: {problem}");
        }
        Code::AuthServiceUnavailable.into()
    }

    fn call(&mut self, request: CalloutRequest, call: Call, host: &impl Host) {
        let id = CallId(self.next_call);
        self.next_call += 1;
        self.call_bytes += call.bytes();
        self.calls.insert(id, call);
        self.actions.push_back(Action::Callout { call: id, request });
        host.shift(Gauge::CalloutsInFlight, 1);
    }

    /// Holds the request, or ends it: every request comes through here, and is counted when it ends.
    fn proceed(
        &mut self,
        stream: StreamId,
        ticket: Ticket,
        progress: Result<Progress, Denial>,
        host: &impl Host,
    ) -> Option<Resolution> {
        let permit = match progress {
            Ok(Progress::Waits(wait)) => {
                self.hold(stream, Waiting { ticket, wait });
                return None;
            }
            Ok(Progress::Done(permit)) => Ok(permit),
            Err(denial) => Err(denial),
        };
        let Ticket { client, source, .. } = ticket;
        let verdict = permit.and_then(|permit| {
            let outcome = if permit.identity().is_some() { Outcome::Allow } else { Outcome::Public };
            Ok((outcome, decision::forward(&permit, &self.config)?))
        });
        Some(match verdict {
            Ok((outcome, forward)) => {
                host.count(Counter::Request { outcome, source, reason: None });
                Resolution::Forward(forward)
            }
            Err(denial) => {
                let outcome = if denial.code.status() < 500 { Outcome::Deny } else { Outcome::Error };
                host.count(Counter::Request { outcome, source, reason: Some(denial.code) });
                Resolution::Deny(denial.response(&client, &self.config.realm))
            }
        })
    }

    fn hold(&mut self, stream: StreamId, waiting: Waiting) {
        if let Wait::Key(wait) = &waiting.wait {
            self.key_room.enter(wait);
        }
        self.waiting.insert(stream, waiting);
    }

    fn take_waiting(&mut self, stream: StreamId) -> Option<Waiting> {
        let waiting = self.waiting.remove(&stream)?;
        if let Wait::Key(wait) = &waiting.wait {
            self.key_room.leave(wait);
        }
        Some(waiting)
    }

    fn resolve(&mut self, stream: StreamId, resolution: Resolution) {
        self.actions.push_back(Action::Resolve { stream, resolution });
    }
}

const fn time_code(error: TimeError) -> Code {
    match error {
        TimeError::Expired => Code::TokenExpired,
        TimeError::NotYetValid => Code::TokenNotYetValid,
    }
}

#[cfg(any(test, feature = "testing"))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "for tests alone")]
pub mod world;

#[cfg(test)]
mod tests;
