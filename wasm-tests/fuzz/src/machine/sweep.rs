//! What workers may forget once it has expired by the wall clock. After the wall clock was set, no worker forgets
//! anything for five minutes (docs/operating.md, the clock).

use std::time::Duration;

use authgate::{Instant, UnixTime};

use super::world::Machine;

/// How long a worker must have seen a steady clock.
const STEADY: Duration = Duration::from_secs(300);

/// How long after its expiry a token may still have to be refused, in seconds.
pub(super) const LEEWAY: u64 = 300;

/// What a worker has seen of the wall clock at its ticks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sweep {
    /// Since when the clock has been steady, or the last sweep; and by how many seconds it had been set forward then.
    since: Option<(Instant, i64)>,
    /// Whether the worker has begun a sweep since the clock was last set. It takes several ticks.
    is_on: bool,
}

impl Sweep {
    /// A tick of the worker. Returns whether it may sweep. A clock that is a second off wasn't set.
    fn tick(&mut self, now: Instant, set_by: i64) -> bool {
        let (since, before) = *self.since.get_or_insert((now, set_by));
        let is_set = set_by.abs_diff(before) > 1;
        let is_due = now.since(since) >= STEADY;
        if is_set || is_due {
            *self = Self { since: Some((now, set_by)), is_on: !is_set };
        }
        self.is_on
    }
}

/// Whether a token with this `exp` has certainly expired.
fn is_over(exp: Option<u64>, wall: UnixTime) -> bool {
    exp.is_some_and(|exp| wall.as_secs() >= exp + LEEWAY)
}

/// How often a worker ticks while it sweeps.
const SWEEPING: Duration = Duration::from_millis(10);

/// How many ticks a sweep takes at most.
const MOST_TICKS: usize = 200;

impl Machine {
    /// The workers tick until nothing is left to sweep.
    pub(super) fn sweep_all(&mut self) {
        for worker in 0..self.workers.len() {
            self.tick(worker);
            for _ in 0..MOST_TICKS {
                if self.workers[worker].tick_period() > SWEEPING {
                    break;
                }
                self.tick(worker);
            }
        }
    }

    /// A worker ticks, and may forget what is over.
    pub(super) fn sweep(&mut self, worker: usize) {
        if !self.sweeps[worker].tick(self.now, self.set_by) {
            return;
        }
        let (now, wall, life) = (self.now, self.wall(), self.shortest_memory);
        self.feed.sweep(now, wall, life);
        let exp = |credential: usize| self.credentials[credential].own.as_ref().and_then(|own| own.exp);
        for vouching in &mut self.vouchings {
            vouching.is_forgotten |= is_over(vouching.what.exp, wall) || is_over(exp(vouching.credential), wall);
        }
        for refusal in &mut self.refusals {
            let is_valid = exp(refusal.credential).is_some_and(|exp| !is_over(Some(exp), wall));
            refusal.is_forgotten |= !is_valid && now.since(refusal.delivered.at) >= life;
        }
    }
}
