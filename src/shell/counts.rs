//! Counters, which this VM adds up before it tells the host: a call for each would be a twentieth of what a request with a
//! cached verdict costs.
//!
//! The host is told when an event ends, at most once in [`BETWEEN`]; with each tick, of which there is at least one a
//! second; when a filter ends; and at a panic. All filters of the VM are told of together.

use std::cell::RefCell;
use std::time::Duration;

use proxy_wasm::hostcalls;

use crate::time::Instant;

/// The least time between two times that the host is told at the end of an event.
const BETWEEN: Duration = Duration::from_millis(100);

/// A counter, by its place among those of this VM.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(usize);

#[derive(Debug, Clone, Copy)]
struct Count {
    /// The host's number of the counter.
    id: u32,
    /// What the host hasn't been told.
    untold: i64,
}

#[derive(Debug, Default)]
struct Counts {
    all: Vec<Count>,
    /// Those with something untold.
    changed: Vec<Place>,
    /// When the host was last told.
    told: Instant,
}

thread_local! {
    static COUNTS: RefCell<Counts> = RefCell::default();
}

/// A counter to which the host has given this number.
pub(super) fn place_of(id: u32) -> Place {
    COUNTS.with_borrow_mut(|counts| {
        let known = counts.all.iter().position(|count| count.id == id);
        Place(known.unwrap_or_else(|| {
            counts.all.push(Count { id, untold: 0 });
            counts.all.len() - 1
        }))
    })
}

/// Counts one.
pub(super) fn add(place: Place) {
    COUNTS.with_borrow_mut(|counts| {
        if let Some(count) = counts.all.get_mut(place.0) {
            if count.untold == 0 {
                counts.changed.push(place);
            }
            count.untold += 1;
        }
    });
}

/// An event has ended: tells the host, unless it was told just now.
#[inline]
pub(super) fn tell_now_and_then(now: Instant) {
    let is_due = |counts: &Counts| !counts.changed.is_empty() && now.has_passed(BETWEEN, counts.told);
    if COUNTS.with_borrow(is_due) {
        tell(now);
    }
}

/// Tells the host.
#[inline(never)]
pub(super) fn tell(now: Instant) {
    COUNTS.with_borrow_mut(|counts| {
        counts.told = now;
        counts.tell();
    });
}

/// Tells the host after a panic, wherever that was.
pub(super) fn tell_at_panic() {
    COUNTS.with(|counts| {
        if let Ok(mut counts) = counts.try_borrow_mut() {
            counts.tell();
        }
    });
}

impl Counts {
    fn tell(&mut self) {
        for Place(place) in self.changed.drain(..) {
            if let Some(count) = self.all.get_mut(place) {
                let untold = std::mem::take(&mut count.untold);
                if hostcalls::increment_metric(count.id, untold).is_err() {
                    log::error!("a counter could not be changed");
                }
            }
        }
    }
}
