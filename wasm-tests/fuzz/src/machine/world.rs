//! The workers, their clients and the service, and how every request must end.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use authgate::config::Config;
use authgate::internals::world::{BEGIN, key};
use authgate::metrics::Gauge;
use authgate::{CallId, Filter, Instant, UnixTime};

use super::Counted;
use super::breaker::Breaker;
use super::credentials::{Credential, jti};
use super::feed::{Feed, Item};
use super::keys::Keys;
use super::polls::Polls;
use super::script::{Flaw, KEYS};
use super::setup::Setup;
use super::state::{Cause, Moment, Pending, Refusal, State, Stream, Vouching};
use super::sweep::Sweep;
use super::throttle::Throttle;
use crate::oracle::host::Recorder;

/// The most requests that end in one go.
pub(super) const AT_ONCE: usize = 32;

/// When every script begins, by the monotonic clock. The wall clock shows another number then.
const START: Instant = Instant::from_reading(0);

/// The number of current JWTs.
pub(super) const JWTS: usize = 6;

/// The whole process, and what is known of it.
pub(super) struct Machine {
    /// The setup that all workers have in common.
    pub(super) setup: Setup,
    /// The setup of each worker: the cache's settings may differ.
    pub(super) setups: Vec<Setup>,
    /// The shortest [`Setup::memory`] that any worker has been configured with.
    pub(super) shortest_memory: Duration,
    pub(super) config: Config,
    pub(super) host: Recorder,
    /// The monotonic clock.
    pub(super) now: Instant,
    /// By how many seconds the wall clock was set forward, all in all.
    pub(super) set_by: i64,
    pub(super) workers: Vec<Filter>,
    /// Whether more than [`AT_ONCE`] requests have waited at each worker since its last tick.
    pub(super) crowded: Vec<bool>,
    /// The last tick of each worker at which requests that others delayed may have had their turn.
    pub(super) settled: Vec<Option<Moment>>,
    /// What each worker has seen of the wall clock.
    pub(super) sweeps: Vec<Sweep>,
    /// When each worker began.
    pub(super) born: Vec<Moment>,
    pub(super) streams: Vec<Stream>,
    pub(super) credentials: Vec<Credential>,
    pub(super) jwts: [usize; JWTS],
    pub(super) pending: Vec<Pending>,
    pub(super) answered: Vec<(usize, CallId)>,
    pub(super) breaker: Breaker,
    /// The last past step at which the breaker wasn't closed.
    pub(super) unclosed: u64,
    pub(super) feed: Feed,
    pub(super) polls: Polls,
    /// The keys that the workers must know.
    pub(super) keys: Keys,
    /// The step at which each worker last took over what the others know.
    pub(super) heard: Vec<u64>,
    /// The keys that the service has handed out.
    pub(super) delivered: BTreeSet<usize>,
    /// The keys and messages of signatures that turned out to be valid.
    pub(super) signed: HashSet<(usize, Vec<u8>)>,
    pub(super) vouchings: Vec<Vouching>,
    pub(super) refusals: Vec<Refusal>,
    /// Whether the last answer about a credential was a verdict.
    pub(super) is_verdict: bool,
    /// The last step at which the service gave no verdict, by credential.
    pub(super) outages: HashMap<usize, u64>,
    /// The last step at which the service was down, by credential.
    pub(super) downs: HashMap<usize, u64>,
    /// When the service last answered without a verdict, by credential.
    pub(super) unanswered: HashMap<usize, Moment>,
    /// The previous such moment, for the credential of the last answer.
    pub(super) unanswered_before: Option<Moment>,
    /// The credentials with an answer that broke off, and when the last one did.
    pub(super) broken: HashSet<usize>,
    pub(super) broken_last: Option<Moment>,
    /// Whether a worker's configuration has changed.
    pub(super) is_updated: bool,
    /// Which JWTs each worker has found forged, and when the service was last asked for its key then.
    pub(super) forged: Vec<(usize, usize, Option<Instant>)>,
    pub(super) throttle: Option<Throttle>,
    /// Questions lost with their worker.
    pub(super) lost_leases: Vec<(usize, Moment)>,
    pub(super) step: u64,
    pub(super) last_fetch: Option<Instant>,
    pub(super) serves: usize,
    pub(super) lost_calls: i64,
    pub(super) counted: Counted,
    /// Whether the current events belong to a tick.
    pub(super) is_ticking: bool,
    /// Whether events are printed.
    pub(super) is_traced: bool,
}

fn config_of(setup: Setup) -> Config {
    thread_local! {
        static CONFIGS: RefCell<HashMap<Setup, Config>> = RefCell::default();
    }
    CONFIGS.with_borrow_mut(|configs| {
        if configs.len() > 256 {
            configs.clear();
        }
        configs.entry(setup).or_insert_with(|| setup.config()).clone()
    })
}

impl Machine {
    pub(super) fn new(setup: Setup) -> Self {
        let config = config_of(setup);
        let mut machine = Self {
            setup,
            setups: vec![setup; setup.workers()],
            shortest_memory: setup.memory(),
            host: Recorder::default(),
            now: START,
            set_by: 0,
            workers: (0..setup.workers()).map(|_| Filter::new(config.clone())).collect(),
            crowded: vec![false; setup.workers()],
            settled: vec![None; setup.workers()],
            sweeps: vec![Sweep::default(); setup.workers()],
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
            polls: Polls::default(),
            keys: Keys::new(setup.grace()),
            heard: vec![0; setup.workers()],
            delivered: BTreeSet::new(),
            signed: HashSet::new(),
            vouchings: Vec::new(),
            refusals: Vec::new(),
            is_verdict: false,
            outages: HashMap::new(),
            downs: HashMap::new(),
            unanswered: HashMap::new(),
            unanswered_before: None,
            broken: HashSet::new(),
            broken_last: None,
            is_updated: false,
            forged: Vec::new(),
            throttle: Throttle::new(setup),
            lost_leases: Vec::new(),
            step: 0,
            last_fetch: None,
            serves: 0,
            lost_calls: 0,
            counted: HashMap::new(),
            is_ticking: false,
            is_traced: false,
        };
        machine.born = (0..setup.workers()).map(|_| machine.moment()).collect();
        for slot in 0..JWTS {
            machine.issue(slot, usize::from(slot == 4), if slot == 3 { Flaw::Short } else { Flaw::None });
        }
        machine
    }

    /// Prints an event, with the time and the step.
    pub(super) fn trace(&self, what: std::fmt::Arguments<'_>) {
        if self.is_traced {
            let elapsed = self.now.since(START).as_millis();
            println!("{elapsed:>10} ms, wall clock {:+} s, step {:>3}: {what}", self.set_by, self.step);
        }
    }

    /// The wall clock.
    pub(super) fn wall(&self) -> UnixTime {
        let unset = UnixTime::from_secs(BEGIN).after(self.now.since(START));
        UnixTime::from_nanos(unset.as_nanos().saturating_add_signed(self.set_by * 1_000_000_000))
    }

    /// A moment that comes after all others.
    pub(super) const fn moment(&mut self) -> Moment {
        self.step += 1;
        Moment { step: self.step, at: self.now }
    }

    /// The `user_id` of a credential.
    pub(super) const fn user(credential: usize) -> usize {
        10 + credential
    }

    pub(super) fn issue(&mut self, slot: usize, key: usize, flaw: Flaw) {
        let credential = Credential::jwt(Self::user(self.credentials.len()), key % KEYS, flaw, self.wall());
        self.jwts[slot % JWTS] = self.credentials.len();
        self.credentials.push(credential);
    }

    pub(super) fn tick(&mut self, worker: usize) {
        let worker = worker % self.workers.len();
        let is_crowd = self.workers[worker].waiting() > AT_ONCE;
        let now = self.moment();
        self.heard[worker] = now.step;
        if std::mem::replace(&mut self.crowded[worker], is_crowd) || is_crowd {
            self.settled[worker] = Some(now);
        }
        self.is_ticking = true;
        self.sweep(worker);
        let wall = self.wall();
        self.workers[worker].on_tick(&self.host.at(self.now, wall));
        self.carry_out(worker, Cause::Tick, None);
        self.is_ticking = false;
        let gauge = self.host.process.gauges.borrow().get(&Gauge::BreakerState).copied();
        assert_eq!(gauge, Some(self.breaker.number()), "the breaker's state");
        assert!(!self.is_poll_due(), "no poll although one is due");
        let needs_key = !self.setup.is_pinned() && self.delivered.is_empty();
        assert!(!needs_key || self.last_fetch.is_some(), "nobody fetches a key");
        // In a crowd, not every request gets its turn at once.
        if !is_crowd && !self.setup.answers_in_jwts() {
            self.check_waits(worker);
        }
    }

    pub(super) fn update(&mut self, worker: usize, cache: u8, dies: bool) {
        let worker = worker % self.workers.len();
        let setup = self.setups[worker].with_cache(cache);
        self.is_updated = true;
        self.setups[worker] = setup;
        self.shortest_memory = self.shortest_memory.min(setup.memory());
        self.restart(worker, dies);
    }

    /// Restarts a worker. Its requests and callouts are lost. If it dies, so are its turns and leases, until they are
    /// over.
    pub(super) fn restart(&mut self, worker: usize, dies: bool) {
        let worker = worker % self.workers.len();
        if !dies {
            let wall = self.wall();
            self.workers[worker].on_retirement(&self.host.at(self.now, wall));
        }
        self.forged.retain(|(of, ..)| *of != worker);
        self.workers[worker] = Filter::new(config_of(self.setups[worker]));
        self.sweeps[worker] = Sweep::default();
        self.born[worker] = self.moment();
        for stream in self.streams.iter_mut().filter(|stream| stream.worker == worker) {
            if stream.state == State::Waiting {
                stream.state = State::Lost;
            }
        }
        let (lost, kept): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(|pending| pending.worker == worker);
        self.pending = kept;
        if dies {
            self.lost_leases.extend(lost.iter().filter_map(Pending::question).map(|it| (it.credential, it.began)));
            // No worker is left that counts them down.
            self.lost_calls += i64::try_from(lost.len()).expect("few calls");
        } else {
            lost.into_iter().for_each(|pending| self.give_back(pending.errand));
        }
        self.answered.retain(|(answered, _)| *answered != worker);
    }

    /// The service adds an entry to its list.
    pub(super) fn list(&mut self, what: u8, which: usize) {
        let credential = which % self.credentials.len();
        let user = Self::user(credential);
        let exp = self.credentials[credential].own.as_ref().and_then(|own| own.exp);
        let now = self.wall().as_secs();
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
}
