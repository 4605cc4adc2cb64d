//! Counters, which this VM adds up for all its filters before it tells the host. If it told the host of each at once,
//! that would be a twentieth of what a request with a cached verdict costs.
//!
//! It tells the host at the end of an event, at most once in [`BETWEEN`]; ticks are such events, and come at least once
//! a second. It also does when a filter ends, and at a panic.

use std::cell::RefCell;
use std::time::Duration;

use proxy_wasm::hostcalls;

use crate::time::Instant;

/// The least time between two occasions on which the host is told at the end of an event.
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
    /// Places of filters that have ended.
    free: Vec<Place>,
    /// When the host was last told.
    told: Instant,
}

thread_local! {
    static COUNTS: RefCell<Counts> = RefCell::default();
}

/// A place for a counter to which the host has given this number.
pub(super) fn take_place(id: u32) -> Place {
    COUNTS.with_borrow_mut(|counts| {
        let count = Count { id, untold: 0 };
        match counts.free.pop().and_then(|place| Some((place, counts.all.get_mut(place.0)?))) {
            Some((place, freed)) => {
                *freed = count;
                place
            }
            None => {
                counts.all.push(count);
                Place(counts.all.len() - 1)
            }
        }
    })
}

/// A filter has ended, and the host was told: other counters may take these places.
pub(super) fn free(places: impl Iterator<Item = Place>) {
    COUNTS.with_borrow_mut(|counts| counts.free.extend(places));
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

/// Tells the host after a panic, unless that was in here.
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
                    log::error!("the host could not change a counter");
                }
            }
        }
    }
}
