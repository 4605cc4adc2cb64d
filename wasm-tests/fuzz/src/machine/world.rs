//! The workers, their clients and the service, and what has to become of every request.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use authgate::config::Config;
use authgate::extractor::RequestHead;
use authgate::filter::world::{BEGIN, key};
use authgate::filter::{CallId, Filter, Resolution, Step, StreamId};
use authgate::host::{Host as _, Write};
use authgate::metrics::{Counter, Gauge, Outcome};
use authgate::time::UnixTime;

use super::breaker::Breaker;
use super::credentials::{Credential, Kind, jti};
use super::feed::{Feed, Item};
use super::script::{Flaw, KEYS, Place, Presented};
use super::setup::{ORIGIN, Setup};
use super::state::{Cause, Errand, Moment, Pending, Refusal, State, Stream, Vouching, has_passed};
use super::{Counted, Outcomes, denial, forward};
use crate::oracle::host::Recorder;

/// How many requests are ended in one go.
const AT_ONCE: usize = 32;

/// How many JWTs there are at a time.
const JWTS: usize = 6;

/// Everything.
pub(super) struct Machine {
    pub(super) setup: Setup,
    pub(super) config: Config,
    pub(super) host: Recorder,
    pub(super) now: UnixTime,
    pub(super) workers: Vec<Filter>,
    /// When each of them began.
    pub(super) born: Vec<Moment>,
    pub(super) streams: Vec<Stream>,
    pub(super) credentials: Vec<Credential>,
    jwts: [usize; JWTS],
    pub(super) pending: Vec<Pending>,
    pub(super) answered: Vec<(usize, CallId)>,
    pub(super) breaker: Breaker,
    /// The last step at which the breaker wasn't closed before the present.
    pub(super) unclosed: u64,
    pub(super) feed: Feed,
    /// The keys that the service has handed out.
    pub(super) delivered: BTreeSet<usize>,
    /// Which messages turned out to be signed with which key.
    pub(super) signed: HashSet<(usize, Vec<u8>)>,
    pub(super) vouchings: Vec<Vouching>,
    pub(super) refusals: Vec<Refusal>,
    /// Whether the last answer about a credential was one.
    pub(super) is_verdict: bool,
    /// The last step at which the service was no help with a credential.
    pub(super) outages: HashMap<usize, u64>,
    /// Those of them in which the service was down.
    pub(super) downs: HashMap<usize, u64>,
    /// When the service last answered without a verdict, by credential.
    pub(super) unanswered: HashMap<usize, Moment>,
    /// Failed authentications, by address and by the number of the API token.
    pub(super) failures: HashMap<(Option<&'static str>, Option<usize>), usize>,
    /// Questions of workers that died over them.
    lost_leases: Vec<(usize, Moment)>,
    pub(super) elapsed: Duration,
    pub(super) jumps: u32,
    pub(super) setbacks: u32,
    pub(super) step: u64,
    pub(super) last_fetch: Option<Duration>,
    pub(super) last_poll: Option<Duration>,
    pub(super) serves: usize,
    lost_calls: i64,
    counted: Counted,
    /// Whether what happens is printed.
    pub(super) is_traced: bool,
}

impl Machine {
    pub(super) fn new(setup: Setup) -> Self {
        thread_local! {
            static CONFIGS: RefCell<HashMap<Setup, Config>> = RefCell::default();
        }
        let config = CONFIGS.with_borrow_mut(|configs| {
            if configs.len() > 256 {
                configs.clear();
            }
            configs.entry(setup).or_insert_with(|| setup.config()).clone()
        });
        let mut machine = Self {
            setup,
            host: Recorder::default(),
            now: UnixTime::from_secs(BEGIN),
            workers: (0..setup.workers()).map(|_| Filter::new(config.clone())).collect(),
            born: Vec::new(),
            config,
            streams: Vec::new(),
            credentials: Vec::new(),
            jwts: [0; JWTS],
            pending: Vec::new(),
            answered: Vec::new(),
            breaker: Breaker::new(setup),
            unclosed: 0,
            feed: Feed::default(),
            delivered: BTreeSet::new(),
            signed: HashSet::new(),
            vouchings: Vec::new(),
            refusals: Vec::new(),
            is_verdict: false,
            outages: HashMap::new(),
            downs: HashMap::new(),
            unanswered: HashMap::new(),
            failures: HashMap::new(),
            lost_leases: Vec::new(),
            elapsed: Duration::ZERO,
            jumps: 0,
            setbacks: 0,
            step: 0,
            last_fetch: None,
            last_poll: None,
            serves: 0,
            lost_calls: 0,
            counted: HashMap::new(),
            is_traced: false,
        };
        // Nothing is swept at the beginning: that takes longer than all the rest.
        let swept = format!("{}sweep", authgate::cache::prefix(&machine.config));
        let written = machine.host.set_shared_data(&swept, &machine.now.as_nanos().to_le_bytes(), Write::Always);
        written.expect("an unconditional write");
        machine.born = (0..setup.workers()).map(|_| machine.moment()).collect();
        for slot in 0..JWTS {
            machine.issue(slot, usize::from(slot == 4), if slot == 3 { Flaw::Short } else { Flaw::None });
        }
        machine
    }

    /// Prints what happens, with the time and the step.
    pub(super) fn trace(&self, what: std::fmt::Arguments<'_>) {
        if self.is_traced {
            let elapsed = i128::from(self.now.as_nanos()) - i128::from(BEGIN) * 1_000_000_000;
            println!("{:>10} ms, step {:>3}: {what}", elapsed / 1_000_000, self.step);
        }
    }

    /// A moment that comes after all others.
    pub(super) fn moment(&mut self) -> Moment {
        self.step += 1;
        let Self { step, now, jumps, setbacks, .. } = *self;
        Moment { step, wall: now, jumps, setbacks }
    }

    /// Whether the clock has not been set back since.
    pub(super) const fn is_steady_since(&self, moment: &Moment) -> bool {
        self.setbacks == moment.setbacks
    }

    /// The `user_id` of a credential.
    pub(super) const fn user(credential: usize) -> usize {
        10 + credential
    }

    pub(super) fn issue(&mut self, slot: usize, key: usize, flaw: Flaw) {
        let credential = Credential::jwt(Self::user(self.credentials.len()), key % KEYS, flaw, self.now);
        self.jwts[slot % JWTS] = self.credentials.len();
        self.credentials.push(credential);
    }

    /// The number of a credential, which may be a new one.
    fn number(&mut self, credential: Credential) -> usize {
        let known = self.credentials.iter().position(|known| known.authorization == credential.authorization);
        known.unwrap_or_else(|| {
            self.credentials.push(credential);
            self.credentials.len() - 1
        })
    }

    fn present(&mut self, presented: &Presented) -> (Vec<Vec<u8>>, Option<usize>) {
        let credential = match presented {
            Presented::Nothing => return (Vec::new(), None),
            Presented::Two => return (vec![b"Basic 1".to_vec(), b"Basic 1".to_vec()], None),
            Presented::Bytes(bytes) => match String::from_utf8(bytes.clone()) {
                Ok(authorization) => {
                    self.number(Credential { authorization, kind: Kind::Other, token_id: None, own: None })
                }
                Err(_) => return (vec![bytes.clone()], None),
            },
            Presented::Jwt(slot) => self.jwts[usize::from(*slot) % JWTS],
            Presented::ApiToken(number) => self.number(Credential::api_token(1 + usize::from(*number))),
            Presented::Other(number) => self.number(Credential::other(usize::from(*number))),
        };
        (vec![self.credentials[credential].authorization.clone().into_bytes()], Some(credential))
    }

    pub(super) fn request(
        &mut self,
        worker: u8,
        presented: &Presented,
        place: Place,
        (is_grpc, is_preflight): (bool, bool),
        address: u8,
    ) {
        let worker = usize::from(worker) % self.workers.len();
        let (values, credential) = self.present(presented);
        let path = match place {
            Place::Private => "/private",
            Place::Machines => "/machines/x",
            Place::Public => "/public/x",
            Place::Ambiguous => "/public/..%2fprivate",
            Place::Remote => "/remote/x",
            Place::Local => "/local/x",
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
        let address = [Some("192.0.2.1:1"), Some("192.0.2.2:2"), None][usize::from(address) % 3];
        *self.host.process.address.borrow_mut() = address.map(str::to_owned);
        let (state, arrived) = (State::Waiting, self.moment());
        let arrival = Stream {
            worker,
            place,
            is_preflight,
            is_grpc,
            credential,
            authorization,
            address,
            state,
            arrived,
            ended: None,
        };
        let is_known = forward::is_known(self, &arrival, self.setup.cache().0);
        self.streams.push(arrival);
        let head = RequestHead { headers: &headers, has_body: false };
        let reception = self.workers[worker].on_request(stream, &head, self.now, &self.host);
        assert_eq!(reception.strip, ["x-user-id"], "what the client may not say of itself");
        self.note_signatures();
        if let Step::Resolve(resolution) = reception.step {
            self.resolved(worker, stream, &resolution);
        }
        self.carry_out(worker, Cause::Request(stream), None);
        assert!(!is_known || self.streams[stream as usize].state != State::Waiting, "a hit has to wait");
    }

    pub(super) fn tick(&mut self, worker: usize) {
        let worker = worker % self.workers.len();
        let is_crowd = self.workers[worker].waiting() > AT_ONCE;
        self.workers[worker].on_tick(self.now, &self.host);
        self.carry_out(worker, Cause::Tick, None);
        let gauge = self.host.process.gauges.borrow().get(&Gauge::BreakerState).copied();
        assert_eq!(gauge, Some(self.breaker.number()), "the breaker's state");
        // Of a crowd not everybody's turn comes at once.
        if !is_crowd && !self.setup.answers_in_jwts() {
            self.check_waits(worker);
        }
    }

    /// Whether the throttle may let a request wait before anything is asked about it.
    pub(super) fn may_wait_for_guesses(&self, stream: &Stream) -> bool {
        self.setup.attempts().is_some() && stream.address.is_some()
    }

    /// After a tick somebody is asking about every credential that requests wait for, or has died over it lately.
    fn check_waits(&self, worker: usize) {
        let is_waiting = |stream: &&Stream| stream.worker == worker && stream.state == State::Waiting;
        for stream in self.streams.iter().filter(is_waiting) {
            let Some(credential) = stream.credential.filter(|it| self.credentials[*it].kind != Kind::Jwt) else {
                continue;
            };
            if self.may_wait_for_guesses(stream)
                && !(self.is_steady_since(&stream.arrived)
                    && has_passed(self.now, self.setup.lease(), stream.arrived.wall))
            {
                continue;
            }
            let mut questions = self.pending.iter().filter_map(Pending::question);
            let is_lost = |(lost, began): &(usize, Moment)| {
                *lost == credential && !has_passed(self.now, self.setup.lease(), began.wall)
            };
            assert!(
                questions.any(|question| question.credential == credential) || self.lost_leases.iter().any(is_lost),
                "waits for nothing: {stream:?}"
            );
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

    pub(super) fn jump(&mut self, seconds: i64) {
        let by = Duration::from_secs(seconds.unsigned_abs());
        self.now = if seconds < 0 {
            self.setbacks += 1;
            UnixTime::from_nanos(self.now.as_nanos().saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(0)))
        } else {
            self.now.after(by)
        };
        self.jumps += 1;
        (self.last_fetch, self.last_poll) = (None, None);
        for pending in &mut self.pending {
            if let Errand::Key { is_cut, .. } = &mut pending.errand {
                *is_cut = true;
            }
        }
    }

    pub(super) fn restart(&mut self, worker: usize) {
        let worker = worker % self.workers.len();
        self.workers[worker] = Filter::new(self.config.clone());
        self.born[worker] = self.moment();
        for stream in self.streams.iter_mut().filter(|stream| stream.worker == worker) {
            if stream.state == State::Waiting {
                stream.state = State::Lost;
            }
        }
        let (lost, kept): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(|pending| pending.worker == worker);
        self.pending = kept;
        self.lost_leases.extend(lost.iter().filter_map(Pending::question).map(|it| (it.credential, it.began)));
        // Nobody is left to count them down.
        self.lost_calls += i64::try_from(lost.len()).expect("few calls");
        self.answered.retain(|(answered, _)| *answered != worker);
    }

    /// The service lists something.
    pub(super) fn list(&mut self, what: u8, which: usize) {
        let credential = which % self.credentials.len();
        let user = Self::user(credential);
        let exp = self.credentials[credential].own.as_ref().and_then(|own| own.exp);
        let now = self.now.as_secs();
        self.feed.push(match what {
            0..=2 => Item::Token(jti(user), exp.unwrap_or(now + 3_600)),
            3 => Item::User(user, now + 3_601),
            4 => Item::PurgeUser(user),
            5 => Item::PurgeClient(super::credentials::FIRST_ANSWER + self.vouchings.len().saturating_sub(1)),
            6 => Item::PurgeToken(self.credentials[credential].token_id.unwrap_or(0)),
            _ => Item::Odd,
        });
    }

    pub(super) fn note_signatures(&mut self) {
        for asked in self.host.asked.borrow_mut().drain(..).filter(|asked| asked.said) {
            let number = (0..KEYS).find(|number| key(*number) == asked.key).expect("a key of the service");
            self.signed.insert((number, asked.message));
        }
    }

    pub(super) fn resolved(&mut self, worker: usize, number: StreamId, resolution: &Resolution) {
        self.trace(format_args!("    stream {number} at {worker}: {resolution:?}"));
        let stream = &self.streams[number as usize];
        assert_eq!((stream.worker, stream.state), (worker, State::Waiting), "{number} is resolved: {resolution:?}");
        let counted = match resolution {
            Resolution::Forward(forwarded) => (forward::check(self, stream, forwarded), None),
            Resolution::Deny(response) => {
                denial::check(self, stream, response);
                let outcome = if response.code.status() < 500 { Outcome::Deny } else { Outcome::Error };
                (outcome, Some(response.code))
            }
        };
        if let Resolution::Deny(response) = resolution
            && denial::is_guess(response.code)
        {
            let token = stream.credential.and_then(|credential| self.credentials[credential].token_id);
            *self.failures.entry((stream.address, token)).or_default() += 1;
        }
        *self.counted.entry(counted).or_default() += 1;
        let ended = Some(self.moment().step);
        let stream = &mut self.streams[number as usize];
        (stream.state, stream.ended) = (State::Resolved, ended);
    }

    /// What has to be true between two events.
    pub(super) fn check(&mut self) {
        let (ttl, _, stale) = self.setup.cache();
        self.feed.pass(self.now, ttl + stale);
        for (worker, filter) in self.workers.iter().enumerate() {
            let is_waiting = |stream: &&Stream| stream.worker == worker && stream.state == State::Waiting;
            assert_eq!(filter.waiting(), self.streams.iter().filter(is_waiting).count(), "who waits at {worker}");
            let calls = self.pending.iter().filter(|pending| pending.worker == worker).count();
            assert_eq!(filter.callouts_in_flight(), calls, "what worker {worker} has asked");
        }
        let gauge = self.host.process.gauges.borrow().get(&Gauge::CalloutsInFlight).copied().unwrap_or(0);
        assert_eq!(gauge, i64::try_from(self.pending.len()).expect("few") + self.lost_calls, "callouts in flight");
    }

    /// Everybody leaves or gets an answer, and nothing is left over.
    pub(super) fn finish(mut self, leave: bool) -> Outcomes {
        let is_waiting = |machine: &Self| machine.streams.iter().any(|stream| stream.state == State::Waiting);
        // For guesses of others, for a worker that died, for the answer, and for a key.
        let end = self.elapsed + self.setup.lease() * 3 + self.setup.longest_wait() + Duration::from_secs(5);
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
        let counters = self.host.process.counted.take();
        let mut counted = Counted::new();
        for (counter, times) in &counters {
            if let Counter::Request { outcome, reason, .. } = counter {
                *counted.entry((*outcome, *reason)).or_default() += times;
            }
        }
        assert_eq!(counted, self.counted, "every request is counted once, as what it was");
        counters
    }
}
