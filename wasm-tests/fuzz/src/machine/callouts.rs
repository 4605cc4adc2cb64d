//! The workers' questions to the service, and its answers.

use std::time::Duration;

use authgate::host::Metrics as _;
use authgate::internals::QUESTIONS;
use authgate::metrics::Counter;
use authgate::{Action, CallId, CalloutRequest, CalloutResponse, Instant, Scope};

use super::credentials::{self, Answer, FIRST_ANSWER, Meaning};
use super::script::Reply;
use super::state::{Cause, Errand, Moment, Pending, Question, Refusal, State, Stream, Vouching, has_passed};
use super::world::{AT_ONCE, Machine};

/// An answer that breaks off within this time before its timeout counts as late.
const SLACK: Duration = Duration::from_millis(100);

/// The least time for which a credential without a verdict isn't asked about again.
const LEAST_UNANSWERED: Duration = Duration::from_secs(1);

impl Machine {
    pub(super) fn answer(&mut self, which: usize, reply: &Reply) {
        if !self.pending.is_empty() {
            let pending = self.pending.remove(which % self.pending.len());
            self.reply(pending, reply);
        }
    }

    /// Ends a callout with this reply.
    fn reply(&mut self, pending: Pending, reply: &Reply) {
        let mut key = None;
        let (answer, mut again) = match pending.errand {
            Errand::Verify(question) => (self.verdict(pending.worker, question, reply), None),
            Errand::Key { began, retries, question } => {
                let (answer, is_key) = credentials::key_answer(reply, self.serves);
                let retries = retries.checked_sub(1).filter(|_| !is_key);
                key = is_key.then_some((began, question));
                (answer, retries.map(|retries| Errand::Key { began, retries, question }))
            }
            Errand::Feed(poll) => {
                let (answer, again) = self.answer_poll(poll, reply);
                (answer, again.map(Errand::Feed))
            }
        };
        let Pending { worker, call, errand, .. } = pending;
        self.trace(format_args!("    worker {worker} is answered {call:?}: {reply:?}"));
        let fetches = self.fetches();
        self.crowded[worker] |= self.workers[worker].waiting() > AT_ONCE;
        let wall = self.wall();
        self.workers[worker].on_answer(call, answer, &self.host.at(self.now, wall));
        self.answered.push((worker, call));
        if let Some((began, question)) = key {
            self.delivered.insert(self.serves);
            if self.fetches() > fetches {
                let now = self.moment();
                self.keys.fetched(self.serves, began, question == QUESTIONS, now);
            } else if let Errand::Key { retries, .. } = errand {
                assert!(question < QUESTIONS, "asked too often in one fetch");
                again = Some(Errand::Key { began, retries, question: question + 1 });
            }
        }
        self.carry_out(worker, Cause::Answer(errand), again);
    }

    /// How many fetches have brought a key.
    fn fetches(&self) -> u64 {
        self.host.process.count_of(Counter::PublicKeyRefresh { success: true })
    }

    /// The answer about a credential.
    fn verdict(&mut self, worker: usize, question: Question, reply: &Reply) -> Answer {
        let Question { credential, asked, epoch, asker, .. } = question;
        let client = FIRST_ANSWER + self.vouchings.len();
        let (about, user) = (&self.credentials[credential], Self::user(credential));
        let (answer, meaning) =
            credentials::verify_answer(reply, self.setup, about, user, client, self.serves, self.wall());
        let delivered = self.moment();
        let outage = self.outage(reply, &meaning, &asked);
        self.is_verdict = outage.is_none();
        match meaning {
            Meaning::Identity(what) => {
                // A refusal that was asked for no earlier turns the identity into a refusal, for all that wait.
                let is_overtaken = |refusal: &Refusal| {
                    refusal.credential == credential && refusal.is_401 && refusal.asked.at >= asked.at
                };
                if self.refusals.iter().any(is_overtaken)
                    && let Some(throttle) = &mut self.throttle
                {
                    throttle.blur();
                }
                let is_kept = !self.setups[worker].is_cache_off();
                let is_forgotten = false;
                self.vouchings.push(Vouching { credential, worker, what, asked, delivered, is_kept, is_forgotten });
            }
            Meaning::Refused { is_401 } => {
                if is_401 {
                    self.refuse(worker, credential, asker, delivered.step);
                }
                let is_forgotten = false;
                self.refusals.push(Refusal { credential, worker, is_401, asked, delivered, is_forgotten });
            }
            Meaning::Nothing(_) => drop(self.outages.insert(credential, delivered.step)),
        }
        if matches!(reply, Reply::BreaksOff | Reply::NotHttp) && outage == Some(Scope::Credential) {
            self.broken.insert(credential);
            self.broken_last = Some(delivered);
        }
        self.unanswered_before = self.unanswered.get(&credential).copied();
        match outage {
            Some(Scope::Service) => drop(self.downs.insert(credential, delivered.step)),
            Some(Scope::Credential) => drop(self.unanswered.insert(credential, delivered)),
            Some(Scope::Gateway) | None => {}
        }
        if !self.breaker.is_closed() {
            self.unclosed = self.step;
        }
        self.breaker.report(epoch, outage, self.now);
        answer
    }

    /// The scope of the outage that an answer means, to a question that was sent at `asked`.
    fn outage(&self, reply: &Reply, meaning: &Meaning, asked: &Moment) -> Option<Scope> {
        let Meaning::Nothing(scope) = meaning else { return None };
        Some(match reply {
            // A callout that can't be sent while others are under way is one too many. The service may be up.
            Reply::NotSent if self.host.callouts_in_flight() > 1 => Scope::Gateway,
            // An answer that breaks off at its timeout is late.
            Reply::BreaksOff if self.now.since(asked.at) + SLACK >= self.setup.timeout() => Scope::Service,
            _ => *scope,
        })
    }

    pub(super) fn answer_again(&mut self, worker: usize, which: usize) {
        let worker = worker % self.workers.len();
        let calls: Vec<CallId> =
            self.answered.iter().filter(|(answered, _)| *answered == worker).map(|(_, call)| *call).collect();
        if calls.is_empty() {
            return;
        }
        let claims = br#"{"exp":9999999999,"user_id":1,"client_id":1,"token_type":"api_token"}"#;
        let answer = CalloutResponse { status: 200, headers: Vec::new(), body: Some(claims.to_vec()) };
        let wall = self.wall();
        self.workers[worker].on_answer(calls[which % calls.len()], Ok(answer), &self.host.at(self.now, wall));
        assert_eq!(self.workers[worker].next_action(), None, "an answer counts once");
    }

    /// The worker of a callout has ended in good order: another may do the same at once.
    pub(super) fn give_back(&mut self, errand: Errand) {
        match errand {
            Errand::Verify(question) if question.is_probe => self.breaker.give_back(question.epoch),
            Errand::Verify(_) => {}
            Errand::Key { began, .. } => self.last_fetch = self.last_fetch.filter(|last| *last != began),
            Errand::Feed(poll) => self.polls.give_back(&poll),
        }
    }

    /// Lets time pass. The host ends callouts at their timeout.
    pub(super) fn pass(&mut self, millis: u64) {
        let end = self.now.after(Duration::from_millis(millis));
        loop {
            let due = self.pending.iter().map(|pending| pending.deadline).min().filter(|due| *due <= end);
            self.now = due.unwrap_or(end);
            if due.is_none() {
                return;
            }
            while let Some(late) = self.pending.iter().position(|pending| pending.deadline <= self.now) {
                let pending = self.pending.remove(late);
                self.reply(pending, &Reply::Status(504));
            }
        }
    }

    /// Carries out the actions of a worker. `again`: the errand that it must repeat.
    pub(super) fn carry_out(&mut self, worker: usize, cause: Cause, mut again: Option<Errand>) {
        self.note_signatures();
        while let Some(action) = self.workers[worker].next_action() {
            match action {
                Action::Resolve { stream, resolution, report } => self.resolved(worker, stream, &resolution, &report),
                Action::Callout { call, request } => {
                    self.trace(format_args!("    worker {worker} asks {call:?}: {request:?}"));
                    let errand = self.errand(worker, &request, cause, &mut again);
                    let deadline = self.now.after(self.setup.timeout());
                    self.pending.push(Pending { worker, call, errand, deadline });
                }
            }
        }
        assert!(again.is_none(), "what failed is tried again: {again:?}");
    }

    fn errand(&mut self, worker: usize, request: &CalloutRequest, cause: Cause, again: &mut Option<Errand>) -> Errand {
        let Some(authorization) = request.authorization() else {
            if request.path == "/iam/public-key" {
                assert!(!self.setup.is_pinned(), "a pinned key is not fetched");
                return match again.take() {
                    Some(errand @ Errand::Key { .. }) => errand,
                    None => self.fetch_begins(),
                    other => panic!("the key is asked for instead of {other:?}"),
                };
            }
            let rest = request.path.strip_prefix("/auth/blacklist").expect("a path of the service");
            let since = rest.strip_prefix("?since=c").map(|since| since.parse().expect("the service's cursor"));
            assert!(since.is_some() || rest.is_empty(), "{}", request.path);
            return match again.take() {
                Some(Errand::Feed(poll)) if poll.since == since => Errand::Feed(poll),
                None if matches!(cause, Cause::Tick) => Errand::Feed(self.poll_begins(since)),
                other => panic!("the list is asked for since {since:?}, not {other:?}"),
            };
        };
        assert!(request.path.starts_with("/auth/verify?"), "{}", request.path);
        let known = self.credentials.iter().position(|known| known.authorization == authorization);
        Errand::Verify(self.question(worker, known.expect("a client's credential"), cause))
    }

    /// Whether a request has waited for other workers so long by `now` that its worker asks regardless.
    fn asks_alone(&self, worker: usize, credential: usize, now: Instant) -> bool {
        let limit = self.setup.timeout() * (self.setup.retries() + 1) + self.setup.lease();
        self.streams.iter().any(|stream| {
            (stream.worker, stream.credential) == (worker, Some(credential))
                && has_passed(now, limit, stream.arrived.at)
        })
    }

    /// Checks that no other worker asks the same, unless workers can't know of each other.
    fn check_alone(&self, worker: usize, credential: usize, cause: Cause) {
        for other in &self.pending {
            let Some(question) = other.question().filter(|question| question.credential == credential) else {
                continue;
            };
            assert_ne!(other.worker, worker, "asked twice at a time: {question:?}");
            let is_alone = self.asks_alone(other.worker, credential, question.began.at)
                || (!matches!(cause, Cause::Request(_)) && self.asks_alone(worker, credential, self.now));
            assert!(
                self.setups[worker].is_cache_off() || self.setups[other.worker].is_cache_off() || is_alone,
                "worker {} is asking: {question:?}",
                other.worker
            );
        }
    }

    fn question(&mut self, worker: usize, credential: usize, cause: Cause) -> Question {
        self.check_alone(worker, credential, cause);
        // Requests that wait for their turn may find that an answer has been purged or refused meanwhile.
        let is_void = self.feed.has_purged() || self.refusals.iter().any(|refusal| refusal.credential == credential);
        let may_retry = |question: &Question| {
            question.attempt <= self.setup.retries() && !question.is_probe && self.breaker.is_closed()
        };
        match cause {
            Cause::Answer(Errand::Verify(question))
                if question.credential == credential && !self.is_verdict && (may_retry(&question) || !is_void) =>
            {
                assert!(question.attempt <= self.setup.retries(), "asked too often: {question:?}");
                assert!(!question.is_probe && self.breaker.is_closed(), "the service is down: {question:?}");
                // Only the answer to the last callout is remembered.
                match self.unanswered_before {
                    Some(before) => self.unanswered.insert(credential, before),
                    None => self.unanswered.remove(&credential),
                };
                return Question { attempt: question.attempt + 1, asked: self.moment(), ..question };
            }
            Cause::Request(stream) => {
                let stream = &self.streams[stream as usize];
                assert_eq!(stream.credential, Some(credential));
                assert!(stream.is_looked_at(), "a question about what isn't looked at: {stream:?}");
                if stream.state == State::Waiting {
                    self.check_guess(stream);
                }
            }
            // An answer was purged before it came, or another worker's question had no result.
            Cause::Answer(_) | Cause::Tick => {
                assert!(matches!(cause, Cause::Tick) || is_void, "a question after {cause:?}");
                let waits = |stream: &Stream| {
                    (stream.worker, stream.state, stream.credential) == (worker, State::Waiting, Some(credential))
                };
                assert!(self.streams.iter().any(waits), "nobody wants to know about {credential}");
            }
        }
        // A request whose answer a purge or a refusal has overtaken asks at once.
        assert!(
            is_void || !self.is_surely_unanswered(worker, credential),
            "asked again about what has no verdict: {credential}"
        );
        let (epoch, is_probe) = self.breaker.admit(self.now);
        let (asker, began) = (self.asker(cause), self.moment());
        let is_good = self.vouchings.iter().any(|vouching| vouching.credential == credential);
        Question { credential, began, asked: began, attempt: 1, is_probe, epoch, asker, is_good }
    }

    /// The request that a question is asked for, if known. A refresh is asked for none.
    fn asker(&mut self, cause: Cause) -> Option<usize> {
        match cause {
            Cause::Request(stream) => Some(stream as usize).filter(|it| self.streams[*it].state == State::Waiting),
            Cause::Answer(_) | Cause::Tick => {
                if let Some(throttle) = &mut self.throttle {
                    throttle.is_vague = true;
                }
                None
            }
        }
    }

    /// Whether the service may have answered about a credential without a verdict, recently enough for this worker.
    pub(super) fn is_unanswered(&self, worker: usize, credential: usize) -> bool {
        // Answers of one moment may have broken each other. All are remembered from the last one on.
        let broken = self.broken_last.filter(|_| self.broken.contains(&credential));
        let length = self.unanswered_length(worker);
        self.has_been_unanswered(credential, length) || broken.is_some_and(|at| self.is_within(length, &at))
    }

    /// Like `is_unanswered`, but certainly.
    fn is_surely_unanswered(&self, worker: usize, credential: usize) -> bool {
        // Workers with different settings disagree on when this ends, and drop each other's records.
        let is_broken = self.broken.contains(&credential);
        let is_short = is_broken || self.is_updated;
        let length = if is_short { LEAST_UNANSWERED } else { self.unanswered_length(worker) };
        !(is_broken && self.is_updated) && self.has_been_unanswered(credential, length)
    }

    fn unanswered_length(&self, worker: usize) -> Duration {
        let (_, negative, _) = self.setups[worker].cache();
        negative.max(LEAST_UNANSWERED)
    }

    fn has_been_unanswered(&self, credential: usize, length: Duration) -> bool {
        self.unanswered.get(&credential).is_some_and(|at| self.is_within(length, at))
    }

    fn is_within(&self, length: Duration, at: &Moment) -> bool {
        !has_passed(self.now, length, at.at)
    }

    /// Checks that fetches begin at least the configured interval apart, whichever workers begin them.
    fn fetch_begins(&mut self) -> Errand {
        if let Some(last) = self.last_fetch {
            let without_key = if self.delivered.is_empty() { Duration::from_secs(1) } else { Duration::MAX };
            let least = self.setup.interval().min(self.setup.key_lease()).min(without_key);
            let gap = self.now.since(last);
            assert!(gap >= least, "fetched again after {gap:?}");
        }
        self.last_fetch = Some(self.now);
        Errand::Key { began: self.now, retries: self.setup.retries(), question: 1 }
    }
}
