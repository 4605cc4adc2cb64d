//! The workers, their clients and the service, and what has to become of every request.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use authgate::config::Config;
use authgate::extractor::RequestHead;
use authgate::filter::world::BEGIN;
use authgate::filter::{Action, CallId, Filter, Resolution, Step, StreamId};
use authgate::introspection::CalloutResponse;
use authgate::metrics::{Counter, Gauge, Outcome};
use authgate::time::UnixTime;

use super::script::{ORIGIN, Place, Presented, Reply, Setup};
use super::state::{Cause, Errand, Pending, State, Stream};
use super::tokens::{self, Answer, Vouched};
use super::{Outcomes, check};
use crate::oracle::host::Recorder;

/// How many requests are ended in one go, and how long it takes at the most until each is looked at.
const AT_ONCE: usize = 32;
const ROUND: Duration = Duration::from_secs(1);

/// Everything.
pub(super) struct Machine {
    pub(super) setup: Setup,
    pub(super) config: Config,
    pub(super) host: Recorder,
    pub(super) now: UnixTime,
    /// The keys that the service has handed out.
    pub(super) delivered: BTreeSet<usize>,
    workers: Vec<Filter>,
    streams: Vec<Stream>,
    pending: Vec<Pending>,
    answered: Vec<(usize, CallId)>,
    /// Time that no jump of the clock changes.
    elapsed: Duration,
    last_fetch: Option<Duration>,
    serves: usize,
    next_id: u64,
    lost_calls: i64,
    counted: Outcomes,
}

impl Machine {
    pub(super) fn new(setup: Setup) -> Self {
        thread_local! {
            static CONFIGS: RefCell<HashMap<Setup, Config>> = RefCell::default();
        }
        let config = CONFIGS.with_borrow_mut(|configs| configs.entry(setup).or_insert_with(|| setup.config()).clone());
        Self {
            setup,
            host: Recorder::default(),
            now: UnixTime::from_secs(BEGIN),
            delivered: BTreeSet::new(),
            workers: (0..setup.workers()).map(|_| Filter::new(config.clone())).collect(),
            config,
            streams: Vec::new(),
            pending: Vec::new(),
            answered: Vec::new(),
            elapsed: Duration::ZERO,
            last_fetch: None,
            serves: 0,
            next_id: 1,
            lost_calls: 0,
            counted: HashMap::new(),
        }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn request(
        &mut self,
        worker: usize,
        presented: &Presented,
        place: Place,
        is_grpc: bool,
        is_preflight: bool,
    ) {
        let worker = worker % self.workers.len();
        let id = self.id();
        let (values, jwt) = self.credential(id, presented, place);
        let path = match place {
            Place::Private => "/private",
            Place::Machines => "/machines/x",
            Place::Public => "/public/x",
            Place::Ambiguous => "/public/..%2fprivate",
        };
        let method = if is_preflight { "OPTIONS" } else { "GET" };
        let mut headers = vec![
            (":path".to_owned(), path.as_bytes().to_vec()),
            (":method".to_owned(), method.as_bytes().to_vec()),
            (":authority".to_owned(), b"gateway.example".to_vec()),
            // What a client would like to be.
            ("x-user-id".to_owned(), b"1".to_vec()),
        ];
        if is_preflight {
            headers.push(("origin".to_owned(), ORIGIN.as_bytes().to_vec()));
            headers.push(("access-control-request-method".to_owned(), b"PUT".to_vec()));
        }
        if is_grpc {
            headers.push(("content-type".to_owned(), b"application/grpc".to_vec()));
        }
        let authorization = match &values[..] {
            [value] => String::from_utf8(value.clone()).ok(),
            _ => None,
        };
        headers.extend(values.into_iter().map(|value| ("authorization".to_owned(), value)));
        let stream = StreamId::try_from(self.streams.len()).expect("few streams");
        self.streams.push(Stream {
            worker,
            place,
            is_preflight,
            is_grpc,
            jwt,
            authorization,
            vouched: None,
            statuses: BTreeSet::new(),
            calls: 0,
            state: State::Waiting,
            since: self.now,
            overdue: None,
        });
        let head = RequestHead { headers: &headers };
        let reception = self.workers[worker].on_request(stream, &head, self.now, &self.host);
        assert_eq!(reception.strip, ["x-user-id"], "what the client may not say of itself");
        if let Step::Resolve(resolution) = reception.step {
            self.resolved(worker, stream, &resolution);
        }
        self.carry_out(worker, Cause::Stream(stream));
    }

    fn credential(&self, id: u64, presented: &Presented, place: Place) -> (Vec<Vec<u8>>, Option<Vouched>) {
        let value = |text: String| vec![text.into_bytes()];
        match presented {
            Presented::Nothing => (Vec::new(), None),
            Presented::Jwt { key, flaw } => {
                let (token, vouched) =
                    tokens::jwt(id, usize::from(*key % super::script::KEYS), *flaw, tokens::kind_for(place), self.now);
                (value(format!("Bearer {token}")), Some(vouched))
            }
            Presented::ApiToken => (value(format!("APIKey {id}${}", "a1".repeat(64))), None),
            Presented::Other => (value(format!("Basic {id}")), None),
            Presented::Two => (vec![format!("Basic {id}").into_bytes(), format!("Basic {id}").into_bytes()], None),
            Presented::Bytes(bytes) => (vec![bytes.clone()], None),
        }
    }

    pub(super) fn answer(&mut self, which: usize, reply: &Reply) {
        if self.pending.is_empty() {
            return;
        }
        let pending = self.pending.remove(which % self.pending.len());
        let answer = match pending.errand {
            Errand::Key { .. } => {
                let (answer, is_key) = tokens::key_answer(reply, self.serves);
                self.deliver(pending, answer, is_key.then_some(self.serves));
                return;
            }
            Errand::Verify(stream) => {
                let id = self.id();
                let place = self.streams[stream as usize].place;
                let (answer, vouched) = tokens::verify_answer(reply, self.setup, (id, place), self.serves, self.now);
                self.streams[stream as usize].vouched = vouched;
                answer
            }
        };
        self.deliver(pending, answer, None);
    }

    /// Hands an answer over.
    fn deliver(&mut self, pending: Pending, answer: Answer, key: Option<usize>) {
        let Pending { worker, call, errand, .. } = pending;
        let cause = match errand {
            Errand::Verify(stream) => {
                let now = self.now;
                let waiting = &mut self.streams[stream as usize];
                waiting.since = now;
                waiting.statuses.extend(answer.as_ref().ok().map(|answer| answer.status));
                Cause::Stream(stream)
            }
            Errand::Key { retries, is_cut } => Cause::Key { again: if key.is_some() { 0 } else { retries }, is_cut },
        };
        self.delivered.extend(key);
        self.workers[worker].on_answer(call, answer, self.now, &self.host);
        self.answered.push((worker, call));
        self.carry_out(worker, cause);
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
        self.workers[worker].on_answer(calls[which % calls.len()], Ok(answer), self.now, &self.host);
        assert_eq!(self.workers[worker].next_action(), None, "an answer counts once");
    }

    pub(super) fn tick(&mut self, worker: usize) {
        let worker = worker % self.workers.len();
        self.workers[worker].on_tick(self.now, &self.host);
        self.carry_out(worker, Cause::Other);
        self.check_waits(worker);
    }

    /// Nobody waits for a key longer than the bound: who is found over it is refused within a round, and who is under
    /// it stays. Of a crowd, only so many are refused at a time.
    fn check_waits(&mut self, worker: usize) {
        let asked: BTreeSet<StreamId> = self.pending.iter().filter_map(|pending| pending.errand.stream()).collect();
        let (now, elapsed, bound) = (self.now, self.elapsed, self.setup.longest_wait());
        let mut waiting: Vec<&mut Stream> = (0..)
            .zip(&mut self.streams)
            .filter(|(number, stream)| {
                stream.worker == worker && stream.state == State::Waiting && !asked.contains(number)
            })
            .map(|(_, stream)| stream)
            .collect();
        if waiting.len() > AT_ONCE {
            return;
        }
        for stream in &mut waiting {
            if now.since(stream.since).is_some_and(|waited| waited < bound) {
                stream.overdue = None;
            } else {
                let overdue = elapsed - *stream.overdue.get_or_insert(elapsed);
                assert!(overdue < ROUND, "waits {overdue:?} too long: {stream:?}");
            }
        }
    }

    pub(super) fn end(&mut self, which: usize) {
        if self.streams.is_empty() {
            return;
        }
        let number = which % self.streams.len();
        let stream = &mut self.streams[number];
        if stream.state == State::Lost {
            return;
        }
        if stream.state == State::Waiting {
            stream.state = State::Gone;
            *self.counted.entry((Outcome::Cancelled, None)).or_default() += 1;
        }
        let worker = stream.worker;
        self.workers[worker].on_end(number as StreamId, &self.host);
        assert_eq!(self.workers[worker].next_action(), None, "an end asks for nothing");
    }

    /// Time passes. The host answers a callout itself whose time is up.
    pub(super) fn pass(&mut self, millis: u64) {
        let end = self.elapsed + Duration::from_millis(millis);
        loop {
            let due = self.pending.iter().map(|pending| pending.deadline).min().filter(|due| *due <= end);
            let to = due.unwrap_or(end);
            self.now = self.now.after(to.saturating_sub(self.elapsed));
            self.elapsed = to;
            if due.is_none() {
                return;
            }
            while let Some(late) = self.pending.iter().position(|pending| pending.deadline <= to) {
                let pending = self.pending.remove(late);
                let timeout = CalloutResponse { status: 504, headers: Vec::new(), body: Some(Vec::new()) };
                self.deliver(pending, Ok(timeout), None);
            }
        }
    }

    pub(super) fn jump(&mut self, seconds: i64) {
        let by = Duration::from_secs(seconds.unsigned_abs());
        self.now = if seconds < 0 {
            UnixTime::from_nanos(self.now.as_nanos().saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(0)))
        } else {
            self.now.after(by)
        };
        self.last_fetch = None;
        self.streams.iter_mut().for_each(|stream| stream.overdue = None);
        for pending in &mut self.pending {
            if let Errand::Key { is_cut, .. } = &mut pending.errand {
                *is_cut = true;
            }
        }
    }

    pub(super) fn rotate(&mut self, key: usize) {
        self.serves = key;
    }

    pub(super) fn restart(&mut self, worker: usize) {
        let worker = worker % self.workers.len();
        self.workers[worker] = Filter::new(self.config.clone());
        for stream in self.streams.iter_mut().filter(|stream| stream.worker == worker) {
            if stream.state == State::Waiting {
                stream.state = State::Lost;
            }
        }
        let before = self.pending.len();
        self.pending.retain(|pending| pending.worker != worker);
        // Nobody is left to count them down.
        self.lost_calls += i64::try_from(before - self.pending.len()).expect("few calls");
        self.answered.retain(|(answered, _)| *answered != worker);
    }

    fn carry_out(&mut self, worker: usize, cause: Cause) {
        let (mut again, is_cut) = match cause {
            Cause::Key { again, is_cut } => (again, is_cut),
            _ => (0, false),
        };
        while let Some(action) = self.workers[worker].next_action() {
            match action {
                Action::Resolve { stream, resolution } => self.resolved(worker, stream, &resolution),
                Action::Callout { call, request } => {
                    let errand = match (request.authorization, cause) {
                        (None, _) => {
                            assert!(!self.setup.is_pinned(), "a pinned key is not fetched");
                            assert_eq!(request.path, "/iam/public-key");
                            let errand = match again.checked_sub(1) {
                                Some(retries) => Errand::Key { retries, is_cut },
                                None => self.fetch_begins(is_cut),
                            };
                            again = 0;
                            errand
                        }
                        (Some(authorization), Cause::Stream(number)) => {
                            let stream = &mut self.streams[number as usize];
                            assert_eq!(Some(&authorization), stream.authorization.as_ref(), "another's credential");
                            assert!(stream.jwt.is_none(), "a JWT is verified here");
                            stream.calls += 1;
                            assert!(stream.calls <= 1 + self.setup.retries(), "{number} is asked about too often");
                            Errand::Verify(number)
                        }
                        (Some(_), _) => panic!("a callout for nobody"),
                    };
                    let deadline = self.elapsed + self.setup.timeout();
                    self.pending.push(Pending { worker, call, errand, deadline });
                }
            }
        }
        assert_eq!(again, 0, "a fetch that failed is tried again");
        self.host.asked.borrow_mut().clear();
    }

    /// Between two fetches lies the configured interval, whichever workers begin them.
    fn fetch_begins(&mut self, mut is_cut: bool) -> Errand {
        is_cut |= self.pending.iter().any(|pending| matches!(pending.errand, Errand::Key { is_cut: true, .. }));
        if let (Some(last), false) = (self.last_fetch, is_cut) {
            let without_key = if self.delivered.is_empty() { Duration::from_secs(1) } else { Duration::MAX };
            let least = self.setup.interval().min(self.setup.lease()).min(without_key);
            assert!(self.elapsed - last >= least, "fetched again after {:?}", self.elapsed - last);
        }
        self.last_fetch = (!is_cut).then_some(self.elapsed);
        Errand::Key { retries: self.setup.retries(), is_cut }
    }

    fn resolved(&mut self, worker: usize, number: StreamId, resolution: &Resolution) {
        let stream = &self.streams[number as usize];
        assert_eq!((stream.worker, stream.state), (worker, State::Waiting), "{number} is resolved: {resolution:?}");
        let counted = match resolution {
            Resolution::Forward(forward) => (check::forward(self, stream, forward), None),
            Resolution::Deny(response) => {
                check::denial(self, stream, response);
                let outcome = if response.code.status() < 500 { Outcome::Deny } else { Outcome::Error };
                (outcome, Some(response.code))
            }
        };
        *self.counted.entry(counted).or_default() += 1;
        self.streams[number as usize].state = State::Resolved;
    }

    /// What has to be true between two events.
    pub(super) fn check(&self) {
        for (worker, filter) in self.workers.iter().enumerate() {
            let waiting: Vec<usize> = (0..self.streams.len())
                .filter(|number| {
                    self.streams[*number].worker == worker && self.streams[*number].state == State::Waiting
                })
                .collect();
            assert_eq!(filter.waiting(), waiting.len(), "who waits at worker {worker}");
            let calls = self.pending.iter().filter(|pending| pending.worker == worker).count();
            assert_eq!(filter.callouts_in_flight(), calls, "what worker {worker} has asked");
            if self.setup.is_pinned() && !self.setup.answers_in_jwts() {
                let asked =
                    |number: &usize| self.pending.iter().any(|call| call.errand == Errand::Verify(*number as StreamId));
                assert!(waiting.iter().all(asked), "with a pinned key there is nothing else to wait for");
            }
        }
        let gauge = self.host.process.gauges.borrow().get(&Gauge::CalloutsInFlight).copied().unwrap_or(0);
        assert_eq!(gauge, i64::try_from(self.pending.len()).expect("few") + self.lost_calls, "callouts in flight");
    }

    /// Everybody leaves or gets an answer, and nothing is left over.
    pub(super) fn finish(mut self, leave: bool) -> Outcomes {
        let is_waiting = |machine: &Self| machine.streams.iter().any(|stream| stream.state == State::Waiting);
        let end = self.elapsed + self.setup.lease() + self.setup.longest_wait() + Duration::from_secs(15);
        while !leave && is_waiting(&self) {
            assert!(self.elapsed < end, "somebody waits for ever");
            self.pass(500);
            (0..self.workers.len()).for_each(|worker| self.tick(worker));
            self.check();
        }
        (0..self.streams.len()).for_each(|stream| self.end(stream));
        for _ in 0..=self.setup.retries() {
            self.pass(1_000);
        }
        self.check();
        assert!(self.pending.is_empty(), "callouts without end");
        assert!(self.workers.iter().all(|worker| worker.waiting() == 0), "a request is kept");
        let mut counted = Outcomes::new();
        for (counter, times) in self.host.process.counted.borrow().iter() {
            if let Counter::Request { outcome, reason, .. } = counter {
                *counted.entry((*outcome, *reason)).or_default() += times;
            }
        }
        assert_eq!(counted, self.counted, "every request is counted once, as what it was");
        counted
    }
}
