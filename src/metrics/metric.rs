//! The metrics of the host. It gives each a number, and the shell keeps these in a table. Each metric has its own place
//! there, so that counting needs no map.

use std::fmt;

use super::{
    BlacklistCheck, BlacklistPoll, CacheEvent, Counter, Gauge, Histogram, Locked, Outcome, Presented, Source, Suspicion,
};
use crate::code::Code;

const OUTCOMES: usize = Outcome::ALL.len();
const SOURCES: usize = Source::ALL.len();
/// Every code, and none.
const REASONS: usize = Code::ALL.len() + 1;

// Where the places of each kind begin.
const REQUESTS: usize = 0;
const ERRORS: usize = REQUESTS + OUTCOMES * SOURCES * REASONS;
const TOKEN_TYPES: usize = ERRORS + Code::ALL.len();
const DEPRECATED_TOKENS: usize = TOKEN_TYPES + Presented::ALL.len();
const PUBLIC_KEY_HITS: usize = DEPRECATED_TOKENS + 1;
const LOCKOUTS: usize = PUBLIC_KEY_HITS + 1;
const SUSPICIONS: usize = LOCKOUTS + Locked::ALL.len();
const PUBLIC_KEY_REFRESHES: usize = SUSPICIONS + Suspicion::ALL.len();
const CACHE_EVENTS: usize = PUBLIC_KEY_REFRESHES + 2;
const BLACKLIST_CHECKS: usize = CACHE_EVENTS + CacheEvent::ALL.len();
const BLACKLIST_POLLS: usize = BLACKLIST_CHECKS + BlacklistCheck::ALL.len();
const GAUGES: usize = BLACKLIST_POLLS + BlacklistPoll::ALL.len();
const DURATIONS: usize = GAUGES + Gauge::ALL.len();
/// Last, as there is no limit to rules.
const RULES: usize = DURATIONS + SOURCES;

/// A metric of the host.
#[derive(Debug, Clone, Copy)]
pub enum Metric<'m> {
    /// It counts up.
    Counter(&'m Counter),
    /// It goes up and down.
    Gauge(Gauge),
    /// It collects values.
    Histogram(Histogram),
}

impl Metric<'_> {
    /// Its place in the table.
    pub fn place(self) -> usize {
        match self {
            Self::Counter(counter) => place_of(counter),
            Self::Gauge(gauge) => GAUGES + gauge as usize,
            Self::Histogram(Histogram::Duration { source }) => DURATIONS + source as usize,
        }
    }
}

fn place_of(counter: &Counter) -> usize {
    match *counter {
        Counter::Request { outcome, source, reason } => {
            let outcome_and_source = outcome as usize * SOURCES + source as usize;
            REQUESTS + outcome_and_source * REASONS + reason.map_or(0, |code| code as usize + 1)
        }
        Counter::Error(code) => ERRORS + code as usize,
        Counter::Rule { index, outcome, .. } => {
            RULES + index.map_or(0, |index| index + 1) * OUTCOMES + outcome as usize
        }
        Counter::TokenType(presented) => TOKEN_TYPES + presented as usize,
        Counter::DeprecatedToken => DEPRECATED_TOKENS,
        Counter::PublicKeyHit => PUBLIC_KEY_HITS,
        Counter::Lockout(locked) => LOCKOUTS + locked as usize,
        Counter::Suspicious(suspicion) => SUSPICIONS + suspicion as usize,
        Counter::PublicKeyRefresh { success } => PUBLIC_KEY_REFRESHES + usize::from(success),
        Counter::Cache(event) => CACHE_EVENTS + event as usize,
        Counter::BlacklistCheck(result) => BLACKLIST_CHECKS + result as usize,
        Counter::BlacklistPoll(outcome) => BLACKLIST_POLLS + outcome as usize,
    }
}

/// The name in Envoy.
impl fmt::Display for Metric<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter(counter) => counter.fmt(formatter),
            Self::Gauge(gauge) => gauge.fmt(formatter),
            Self::Histogram(histogram) => histogram.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;

    fn counters() -> Vec<Counter> {
        let mut all = vec![
            Counter::DeprecatedToken,
            Counter::PublicKeyHit,
            Counter::PublicKeyRefresh { success: false },
            Counter::PublicKeyRefresh { success: true },
        ];
        for outcome in Outcome::ALL.iter().copied() {
            for source in Source::ALL.iter().copied() {
                let reasons = Code::ALL.into_iter().map(Some).chain([None]);
                all.extend(reasons.map(|reason| Counter::Request { outcome, source, reason }));
            }
            all.extend((0..20).map(|number| {
                let (index, rule) = (Some(number), Arc::from(format!("rule_{number}")));
                Counter::Rule { index, rule, outcome }
            }));
            all.push(Counter::Rule { index: None, rule: Arc::from("none"), outcome });
        }
        all.extend(Code::ALL.map(Counter::Error));
        all.extend(Presented::ALL.iter().copied().map(Counter::TokenType));
        all.extend(Locked::ALL.iter().copied().map(Counter::Lockout));
        all.extend(Suspicion::ALL.iter().copied().map(Counter::Suspicious));
        all.extend(CacheEvent::ALL.iter().copied().map(Counter::Cache));
        all.extend(BlacklistCheck::ALL.iter().copied().map(Counter::BlacklistCheck));
        all.extend(BlacklistPoll::ALL.iter().copied().map(Counter::BlacklistPoll));
        all
    }

    #[test]
    fn each_metric_has_a_place_of_its_own() {
        let counters = counters();
        let gauges = Gauge::ALL.iter().copied().map(Metric::Gauge);
        let histograms = Source::ALL.iter().map(|source| Metric::Histogram(Histogram::Duration { source: *source }));
        let metrics: Vec<Metric<'_>> = counters.iter().map(Metric::Counter).chain(gauges).chain(histograms).collect();
        let names: HashMap<usize, String> = metrics.iter().map(|one| (one.place(), one.to_string())).collect();
        assert_eq!(names.len(), metrics.len());
        // No place is left out.
        assert!((0..metrics.len()).all(|place| names.contains_key(&place)), "{names:?}");
    }
}
