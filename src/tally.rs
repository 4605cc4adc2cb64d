//! Gauges that every VM moves: each keeps its own tally in shared data, and the gauge is the sum.
//!
//! Envoy keeps a gauge as long as it runs, even after the VMs that moved it are gone. A VM that was replaced while
//! callouts were under way never gets their answers, and a VM that trapped takes nothing back. So a VM writes its count
//! to shared data before the gauge moves, and its ticks, at most once per [`LOOK_INTERVAL`], set the gauge to the sum
//! of all tallies. Between ticks it writes only its first callout and the end of its last. The first is written at
//! once: a gauge of 0 would hide it, and another VM would take the service for down because nobody seems to be asking
//! it. The end is written at most once per [`LOOK_INTERVAL`]: a tick that sends a callout itself would never see it. A
//! VM that ends removes its tally. The tally of a VM that has been silent for a few ticks no longer counts, and its
//! place is free.

use std::time::Duration;

use crate::host::{SharedData, SharedValue, Write};
use crate::metrics::Gauge;
use crate::table::{self, Bytes, RECORDS, write_time, write_u64};
use crate::time::Instant;

/// The gauges that all VMs move.
pub const GAUGES: [Gauge; 3] = [Gauge::CalloutsInFlight, Gauge::CacheEntries, Gauge::CacheBytes];

/// One number for each of [`GAUGES`].
pub type Levels = [i64; GAUGES.len()];

/// The most VMs of one filter that count at once.
const MAX_VMS: u32 = 256;

/// A VM ticks at least once a second. After this long without a tick it counts as gone.
const LIFE: Duration = Duration::from_secs(3);

/// The least time between two looks at all tallies: ticks may be much closer.
const LOOK_INTERVAL: Duration = Duration::from_millis(400);

/// What one VM has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    /// When the VM took this place: by this it recognises its own record.
    claimed: Instant,
    /// When it last wrote the record.
    seen: Instant,
    levels: Levels,
}

impl Counted {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + 8 * GAUGES.len());
        write_time(&mut bytes, self.claimed);
        write_time(&mut bytes, self.seen);
        self.levels.iter().for_each(|level| write_u64(&mut bytes, level.cast_unsigned()));
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        let (claimed, seen) = (reader.time()?, reader.time()?);
        let mut levels = Levels::default();
        for level in &mut levels {
            *level = reader.u64()?.cast_signed();
        }
        Some(Self { claimed, seen, levels })
    }

    fn is_alive(&self, now: Instant) -> bool {
        !now.has_passed(LIFE, self.seen)
    }
}

/// The tally of this VM.
#[derive(Debug)]
pub struct Tally {
    prefix: String,
    levels: Levels,
    /// What was counted and isn't written yet.
    pending: Levels,
    /// This VM's place, and when it was taken.
    place: Option<(u32, Instant)>,
    looked: Option<Instant>,
    /// When [`Self::flush`] last wrote that no callout is under way.
    rested: Option<Instant>,
    has_ended: bool,
}

impl Tally {
    /// A VM of this filter that has counted nothing yet.
    pub fn new(filter: &str) -> Self {
        Self {
            prefix: format!("{RECORDS}gauges.{filter}."),
            levels: Levels::default(),
            pending: Levels::default(),
            place: None,
            looked: None,
            rested: None,
            has_ended: false,
        }
    }

    /// Counts up or down. The gauge moves with the next [`Self::tick`], or [`Self::flush`].
    pub fn count(&mut self, gauge: Gauge, by: i64) {
        if let Some(index) = GAUGES.iter().position(|tallied| *tallied == gauge)
            && let Some(level) = self.pending.get_mut(index)
        {
            *level = level.saturating_add(by);
        }
    }

    /// The value of a gauge over all VMs, with what this one has counted but not written yet.
    pub fn level(&self, gauge: Gauge, now: Instant, shared: &dyn SharedData) -> u64 {
        let mut levels = GAUGES.into_iter().zip(self.sum(now, shared)).zip(self.pending);
        let level = levels.find(|((tallied, _), _)| *tallied == gauge).map(|((_, sum), by)| sum.saturating_add(by));
        level.and_then(|level| u64::try_from(level).ok()).unwrap_or_default()
    }

    /// Whether [`Self::flush`] would write nothing, as no callout began or ended.
    pub const fn is_settled(&self) -> bool {
        let [callouts, ..] = self.pending;
        callouts == 0
    }

    /// An event has ended. If the VM's tally is wrong about whether callouts are under way, writes what was counted
    /// since, and returns by how much to move the gauges.
    pub fn flush(&mut self, now: Instant, shared: &dyn SharedData) -> Option<Levels> {
        let ([known, ..], [more, ..]) = (self.levels, self.pending);
        let is_busy = known.saturating_add(more) > 0;
        let is_early = || !is_busy && self.rested.is_some_and(|rested| !now.has_passed(LOOK_INTERVAL, rested));
        if self.has_ended || self.is_settled() || is_busy == (known > 0) || is_early() {
            return None;
        }
        if !is_busy {
            self.rested = Some(now);
        }
        let pending = self.settle();
        self.write(now, shared);
        Some(pending)
    }

    /// Adds what was counted to the levels that are written.
    fn settle(&mut self) -> Levels {
        let pending = std::mem::take(&mut self.pending);
        self.levels.iter_mut().zip(pending).for_each(|(level, by)| *level = level.saturating_add(by));
        pending
    }

    /// A tick. Returns the values of the gauges, if it is time to look.
    pub fn tick(&mut self, now: Instant, shared: &dyn SharedData) -> Option<Levels> {
        if self.has_ended || self.looked.is_some_and(|looked| !now.has_passed(LOOK_INTERVAL, looked)) {
            return None;
        }
        self.looked = Some(now);
        self.settle();
        if let Some((place, claimed)) = self.place {
            let own = shared.shared_data(&self.name(place)).and_then(|value| Counted::decode(&value.bytes));
            // Another VM found this one silent, and took its place.
            if own.is_some_and(|own| own.claimed != claimed) {
                self.place = None;
            }
        }
        if self.place.is_some() || self.levels != Levels::default() {
            self.write(now, shared);
        }
        Some(self.sum(now, shared))
    }

    /// This VM ends. Returns the values of the gauges without it.
    pub fn end(&mut self, now: Instant, shared: &dyn SharedData) -> Levels {
        self.has_ended = true;
        if let Some((place, _)) = self.place.take() {
            let written = shared.set_shared_data(&self.name(place), &[], Write::Always);
            debug_assert_eq!(written, Ok(()), "an unconditional write has nothing to conflict with");
        }
        self.sum(now, shared)
    }

    /// The key of this VM's place. An empty value there removes the tally.
    pub fn place_name(&self) -> Option<String> {
        self.place.map(|(place, _)| self.name(place))
    }

    fn write(&mut self, now: Instant, shared: &dyn SharedData) {
        match self.place {
            None => self.claim(now, shared),
            Some((place, claimed)) => {
                let record = Counted { claimed, seen: now, levels: self.levels }.encode();
                // If another VM took the place in between, it takes another one at its next tick.
                let written = shared.set_shared_data(&self.name(place), &record, Write::Always);
                debug_assert_eq!(written, Ok(()), "an unconditional write has nothing to conflict with");
            }
        }
    }

    /// Takes the first place that is free.
    fn claim(&mut self, now: Instant, shared: &dyn SharedData) {
        let record = Counted { claimed: now, seen: now, levels: self.levels }.encode();
        for place in 0..MAX_VMS {
            let name = self.name(place);
            let write = match shared.shared_data(&name) {
                None => Write::IfAbsent,
                Some(SharedValue { bytes, .. }) if Counted::decode(&bytes).is_some_and(|taken| taken.is_alive(now)) => {
                    continue;
                }
                Some(SharedValue { cas, .. }) => Write::IfVersion(cas),
            };
            if shared.set_shared_data(&name, &record, write).is_ok() {
                self.place = Some((place, now));
                return;
            }
        }
    }

    fn sum(&self, now: Instant, shared: &dyn SharedData) -> Levels {
        let mut sum = Levels::default();
        // Places are taken in order, so there is none after a key that doesn't exist.
        for SharedValue { bytes, .. } in (0..MAX_VMS).map_while(|place| shared.shared_data(&self.name(place))) {
            if let Some(record) = Counted::decode(&bytes).filter(|record| record.is_alive(now)) {
                sum.iter_mut().zip(record.levels).for_each(|(sum, level)| *sum = sum.saturating_add(level));
            }
        }
        sum.map(|level| level.max(0))
    }

    fn name(&self, place: u32) -> String {
        table::key(&self.prefix, place)
    }
}

#[cfg(test)]
mod tests;
