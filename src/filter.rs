//! The decision machine: no network, no clock, no Envoy.
//!
//! One [`Filter`] serves all requests of one worker. The shell reports each event with a [`Cx`]; the end of a stream
//! with the host alone. The filter answers a request's head with a [`Reception`], which contains the resolution if it
//! is known already. All other work is an [`Action`]: the shell takes actions from [`Filter::next_action`] one by one
//! and carries them out, until none is left.
//!
//! This file routes events to the parts, takes each request through its stages (`request`), and turns the result of the
//! last stage into a [`Resolution`]. The stages decide; this file decides only which of the requests that wait for
//! their share have it now.
//!
//! `room` holds each waiting request, `callouts` each callout under way. Each is removed when it ends, so a request is
//! resolved once and a callout is answered once. Callouts belong to the worker, not to a stream: when a client leaves,
//! its callout goes on.

mod answered;
mod arrival;
mod asking;
mod callouts;
mod ending;
mod fallback;
mod journal;
mod key_wait;
mod log_limit;
#[cfg(all(feature = "cli", not(target_arch = "wasm32")))]
mod longest_wait;
mod pages;
mod parts;
mod request;
mod room;
mod sweep;
mod throttling;
mod verification;

use std::time::Duration;

use crate::config::Config;
use crate::decision::{Denial, Forward, Page, Response};
use crate::extractor::{self, Change, RequestHead};
use crate::host::{Cx, Host, StreamId};
use crate::introspection::{AuthVerify, CalloutError, CalloutRequest, CalloutResponse, Verifier};
use crate::keys::Reason;
use crate::limits::AT_ONCE;
use crate::metrics::{Gauge, Outcome};
use crate::questions::LOOKS;
use crate::report::Report;
use crate::revocation::Revocation;
use callouts::Purpose;
use parts::Parts;
use request::{Facts, Next, Stage, Wait};
use room::{Held, KeyNews};
use sweep::Sweep;
use throttling::BusySuspects;

/// The number of a callout, which is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(u64);

/// The filter's answer to a request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reception<'r> {
    /// Headers to remove from the request at once, however it ends.
    pub strip: Vec<&'r str>,
    /// Headers of the request to change at once, however it ends.
    pub changes: Vec<Change<'static>>,
    /// What to do with the request.
    pub step: Step,
    /// The report for the access log, until an [`Action::Resolve`] replaces it.
    pub report: Report,
}

/// What the shell does with a request now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Resolve it at once.
    Resolve(Resolution),
    /// Hold it until an [`Action::Resolve`] names its stream.
    Wait,
}

/// How a request ends, as far as the filter is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// It goes on, with these changes.
    Forward(Forward),
    /// It ends with this response.
    Deny(Response),
    /// The filter answers it with this page.
    Serve(Page),
}

/// Something for the shell to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this request to the service, and pass its outcome to [`Filter::on_answer`], even if it can't be sent.
    Callout {
        /// Passed back with the answer.
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
        /// The report for the access log.
        report: Report,
    },
}

/// The state of one worker.
#[derive(Debug)]
pub struct Filter {
    parts: Parts,
    sweep: Sweep,
}

impl Filter {
    /// A new worker, which knows only what others have written into the shared data.
    pub fn new(config: Config) -> Self {
        let verifier = AuthVerify::new(&config);
        Self::with_verifier(config, Box::new(verifier))
    }

    /// Like [`Self::new`], but asks about credentials by this verifier.
    pub fn with_verifier(config: Config, verifier: Box<dyn Verifier>) -> Self {
        let sweep = Sweep::new(&config);
        Self { parts: Parts::new(config, verifier), sweep }
    }

    /// The worker's configuration.
    pub const fn config(&self) -> &Config {
        &self.parts.config
    }

    /// A request has arrived on `stream`.
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    pub fn on_request<'r>(&mut self, stream: StreamId, head: &RequestHead<'r>, cx: &Cx<'_>) -> Reception<'r> {
        let Config { stripped_headers, credentials, .. } = &self.parts.config;
        let strip = extractor::headers_to_strip(head, stripped_headers);
        let changes = extractor::headers_to_change(head, stripped_headers, credentials);
        if let Some(page) = pages::serve(head, &mut self.parts, cx) {
            let facts = arrival::facts(stream, &self.parts, cx.now);
            let report = ending::conclude(&facts, Outcome::Public, None, Some(head), &mut self.parts, cx);
            return Reception { strip, changes, step: Step::Resolve(Resolution::Serve(page)), report };
        }
        let mut facts = arrival::facts(stream, &self.parts, cx.now);
        let arrived = arrival::arrive(head, &mut facts, &mut self.parts, cx);
        let (resolution, report) = self.advance(facts, arrived, Some(head), cx);
        Reception { strip, changes, step: resolution.map_or(Step::Wait, Step::Resolve), report }
    }

    /// The service has answered `call`, or can't.
    pub fn on_answer(&mut self, call: CallId, answer: Result<CalloutResponse, CalloutError>, cx: &Cx<'_>) {
        match self.parts.callouts.end(call, cx) {
            None => log::warn!("got an answer to an unknown callout"),
            Some(Purpose::Verify(call)) => {
                let answered = answered::on_answer(call, answer, &mut self.parts, cx);
                self.resume_answered(cx);
                answered.inspect(|answered| answered.end_news());
            }
            Some(Purpose::Key(fetch)) => {
                match self.parts.keys.on_answer(fetch, answer, self.parts.room.waits_for_key(), cx) {
                    Some(fetch) => self.parts.callouts.send(self.parts.keys.request(), Purpose::Key(fetch), cx),
                    None => self.resume_for_key(cx),
                }
            }
            Some(Purpose::Feed(poll)) => {
                let Some(revocation) = &self.parts.revocation else { return };
                let life = self.parts.cache.lives.longest(cx);
                match revocation.on_answer(poll, answer, life, cx) {
                    Some(poll) => self.parts.callouts.send(revocation.request(&poll), Purpose::Feed(poll), cx),
                    None => self.resume_for_key(cx),
                }
            }
        }
    }

    /// The most bytes of the answer to `call` that are read. A longer answer is passed without its body.
    pub fn body_limit(&self, call: CallId) -> usize {
        self.parts.callouts.body_limit(call)
    }

    /// A tick. The shell calls this every [`Self::tick_period`].
    pub fn on_tick(&mut self, cx: &Cx<'_>) {
        let parts = &mut self.parts;
        cx.host.set(Gauge::BuildInfo, 1);
        parts.journal.on_tick(cx.now, cx.host);
        if let Some(fetch) = parts.keys.keep_fresh(cx) {
            parts.callouts.send(parts.keys.request(), Purpose::Key(fetch), cx);
        }
        if let Some(revocation) = &mut parts.revocation
            && let Some(poll) = revocation.poll(cx)
        {
            parts.callouts.send(revocation.request(&poll), Purpose::Feed(poll), cx);
        }
        self.sweep.on_tick(parts, cx);
        parts.questions.forget_broken();
        parts.questions.report_breaker(cx);
        answered::settle_elsewhere(parts, cx);
        self.resume_answered(cx);
        self.resume_for_key(cx);
        self.resume_for_share(cx);
    }

    /// The stream has ended, whether its client left or its response is complete.
    pub fn on_end(&mut self, stream: StreamId, host: &dyn Host) {
        let Parts { callouts, room, questions, shares, .. } = &mut self.parts;
        callouts.forget(stream);
        if let Some(Held { facts, wait }) = room.take(stream, shares) {
            if let Wait::Answer(digest) = wait {
                questions.leave(&digest, stream, shares);
            }
            ending::cancel(&facts, &mut self.parts, host);
        }
    }

    /// The worker ends: lets others ask what it has asked, and takes back what its gauges show.
    pub fn on_retirement(&mut self, cx: &Cx<'_>) {
        self.parts.questions.guesses().for_each(|guess| asking::end_guess(Some(guess), false, &self.parts, cx));
        let Parts { callouts, questions, shares, keys, revocation, .. } = &mut self.parts;
        for purpose in callouts.end_all(cx) {
            match purpose {
                Purpose::Verify(call) => questions.give_back(&call, shares, cx),
                Purpose::Key(fetch) => keys.give_back(fetch, cx),
                Purpose::Feed(poll) => revocation.iter().for_each(|list| list.give_back(&poll, cx)),
            }
        }
        self.parts.cache.retire(cx);
        self.parts.journal.tell_left_out(cx.host);
        // Envoy keeps a gauge that nobody sets any more. A worker that stays sets these again at its next tick.
        self.parts.keys.retire(cx);
        self.parts.revocation.iter().for_each(|list| list.retire(cx));
        [Gauge::BuildInfo, Gauge::BreakerState].into_iter().for_each(|gauge| cx.host.set(gauge, 0));
    }

    /// Whether [`Self::next_action`] returns one.
    pub fn has_actions(&self) -> bool {
        self.parts.callouts.has_actions()
    }

    /// The next action to carry out.
    pub fn next_action(&mut self) -> Option<Action> {
        self.parts.callouts.next_action()
    }

    /// The next resolution, for where no callout can be sent. Callouts stay for [`Self::next_action`].
    pub fn next_resolution(&mut self) -> Option<Action> {
        self.parts.callouts.next_resolution()
    }

    /// The next callout, or the resolution of this stream. Other resolutions stay for [`Self::next_action`].
    pub fn next_action_within(&mut self, stream: StreamId) -> Option<Action> {
        self.parts.callouts.next_action_within(stream)
    }

    /// How soon to call [`Self::on_tick`]: sooner while requests wait for their turn, their share, a key, or another
    /// worker's verdict, and while a sweep is under way.
    pub fn tick_period(&self) -> Duration {
        let idle = self.parts.revocation.as_ref().map_or(Duration::from_secs(1), Revocation::tick_period);
        let wishes = [self.parts.room.tick_period(), self.parts.questions.tick_period(), self.sweep.tick_period()];
        wishes.into_iter().flatten().min().unwrap_or(idle).min(idle)
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.parts.room.len()
    }

    /// How many callouts are under way.
    pub fn callouts_in_flight(&self) -> usize {
        self.parts.callouts.len()
    }

    #[cfg(test)]
    fn holds_nothing(&self) -> bool {
        self.parts.shares.are_empty() && self.parts.questions.is_empty() && self.parts.room.len() == 0
    }

    /// Takes a request through its stages, until it has to wait or ends. Every request comes through here. `head`: the
    /// request's, while it arrives.
    // See `ending::end`.
    #[inline(never)]
    fn advance<'r>(
        &mut self,
        mut facts: Facts,
        mut next: Result<Next<'r>, Denial>,
        head: Option<&RequestHead<'r>>,
        cx: &Cx<'_>,
    ) -> (Option<Resolution>, Report) {
        let verdict = loop {
            match next {
                Ok(Next::Stage(stage)) => next = stage.advance(&mut facts, &mut self.parts, cx),
                Ok(Next::Hold(wait)) => {
                    if let Some(head) = head {
                        ending::keep_for_later(&mut facts, head, &wait, &self.parts, cx);
                    }
                    facts.has_waited = true;
                    let report = ending::report(&facts, Outcome::Cancelled, None, &self.parts);
                    self.parts.room.hold(Held { facts, wait }, &mut self.parts.shares);
                    return (None, report);
                }
                Ok(Next::Done(permit)) => break Ok(permit),
                Err(denial) => break Err(denial),
            }
        };
        let (resolution, report) = ending::end(facts, verdict, head, &mut self.parts, cx);
        (Some(resolution), report)
    }

    /// Continues a request that has waited, at this stage.
    fn resume(&mut self, facts: Facts, stage: Stage<'_>, cx: &Cx<'_>) {
        let stream = facts.stream;
        if let (Some(resolution), report) = self.advance(facts, Ok(stage.into()), None, cx) {
            self.parts.callouts.resolve(stream, resolution, report);
        }
    }

    /// Resumes up to [`AT_ONCE`] requests whose answers have come.
    fn resume_answered(&mut self, cx: &Cx<'_>) {
        for _ in 0..AT_ONCE {
            let Some((facts, answered)) = self.parts.room.next_answered(&mut self.parts.shares) else { return };
            self.resume(facts, Stage::Answered(answered), cx);
        }
    }

    /// Looks again at up to [`AT_ONCE`] requests that wait for a key, and has a key fetched while any still waits.
    fn resume_for_key(&mut self, cx: &Cx<'_>) {
        if !self.parts.room.waits_for_key() {
            self.parts.room.end_round();
            return;
        }
        self.parts.keys.synchronise(cx);
        let awaits_list = self.parts.awaits_list(cx);
        let Parts { keys, room, .. } = &mut self.parts;
        let news = KeyNews { fetched_at: keys.store().fetched_at(), last_fetch: keys.last_fetch(), awaits_list };
        for stream in room.next_for_key(news, cx.now) {
            if let Some((facts, wait)) = self.parts.room.take_for_key(stream, &mut self.parts.shares) {
                self.resume(facts, Stage::AwaitKey(wait), cx);
            }
        }
        if self.parts.room.waits_for_key() {
            self.parts.fetch_key(Reason::SignatureFailed, cx);
        }
    }

    /// Looks again at up to [`LOOKS`] requests that wait for their share, and resumes up to [`AT_ONCE`] of them.
    fn resume_for_share(&mut self, cx: &Cx<'_>) {
        let mut gone_on = 0;
        let mut busy = BusySuspects::default();
        for _ in 0..self.parts.room.count_for_share().min(LOOKS) {
            let Parts { room, shares, .. } = &mut self.parts;
            let Some((facts, mut wait)) = room.next_for_share(shares) else { return };
            let (stream, suspect) = (facts.stream, facts.suspect);
            wait.is_busy = suspect.is_some_and(|suspect| busy.contains(&suspect));
            wait.has_share = shares.may_ask(facts.connection, wait.question_bytes());
            let may_ask = wait.has_share && !wait.is_busy;
            self.resume(facts, Stage::Reconsider(wait), cx);
            if !self.parts.room.waits_for_share(stream) {
                gone_on += 1;
            } else if may_ask && let Some(suspect) = suspect {
                busy.add(suspect, &self.parts, cx);
            }
            if gone_on >= AT_ONCE {
                return;
            }
        }
    }
}

#[cfg(any(test, all(feature = "testing", not(target_arch = "wasm32"))))]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "for tests alone")]
pub mod world;

#[cfg(test)]
mod tests;
