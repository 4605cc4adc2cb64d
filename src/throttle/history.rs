//! What is remembered about a subject.

use std::time::Duration;

use super::Hash;
use crate::table::{self, Bytes, write_time, write_u64};
use crate::time::Instant;

/// The failures of one subject, and its questions under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct History {
    pub(super) subject: Hash,
    /// At `attempts`, the subject is locked and no more are counted.
    pub(super) failures: u64,
    /// When the window began, or the lock.
    pub(super) since: Instant,
    pub(super) under_way: UnderWay,
}

impl table::Record for History {
    const BYTES: usize = 16 + 8 + 8 + 8 + 8 + 4 + 4;

    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.subject);
        write_u64(to, self.failures);
        write_time(to, self.since);
        write_u64(to, self.under_way.length);
        write_u64(to, self.under_way.span);
        to.extend_from_slice(&self.under_way.begun.to_le_bytes());
        to.extend_from_slice(&self.under_way.before.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        let (subject, failures, since) = (reader.bytes()?, reader.u64()?, reader.time()?);
        let (length, span) = (reader.u64()?, reader.u64()?);
        let mut count = || reader.bytes().map(u32::from_le_bytes);
        Some(Self { subject, failures, since, under_way: UnderWay { length, span, begun: count()?, before: count()? } })
    }
}

/// How many questions are under way, counted by the span of time in which they began. So questions of a worker that has
/// died expire, however many others begin. A span is as long as a question can be under way. Filters whose settings
/// differ in that may share the record; the filter that began the first question decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct UnderWay {
    /// How long a span is, in nanoseconds; 0: no question has begun yet.
    length: u64,
    /// The latest span, by its number since the epoch.
    span: u64,
    /// How many began in it.
    begun: u32,
    /// How many began in the one before.
    before: u32,
}

impl UnderWay {
    /// How many are under way.
    pub(super) fn count(&self, now: Instant) -> u64 {
        let current = self.at(now);
        u64::from(current.begun) + u64::from(current.before)
    }

    /// One more begins.
    pub(super) fn begin(&mut self, now: Instant, longest: Duration) {
        if self.count(now) == 0 {
            self.length = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX).max(1);
            // Expired questions must not count again in the new span.
            *self = Self { length: self.length, span: self.span_of(now), begun: 0, before: 0 };
        }
        *self = self.at(now);
        self.begun = self.begun.saturating_add(1);
    }

    /// A question that began at `began` ends. False: it had expired.
    pub(super) fn end(&mut self, began: Instant, now: Instant) -> bool {
        *self = self.at(now);
        let span = self.span_of(began);
        let has_begun_lately = span.abs_diff(self.span) <= 1;
        // A question of a worker whose clock was a moment behind was counted in the span after its own.
        let counts =
            if span == self.span { [&mut self.begun, &mut self.before] } else { [&mut self.before, &mut self.begun] };
        match counts.into_iter().find(|count| **count > 0) {
            Some(count) if has_begun_lately => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }

    /// The counts at a time. A time in the span before comes from a worker that read the clock a moment earlier.
    fn at(self, now: Instant) -> Self {
        let span = self.span_of(now);
        match span.checked_sub(self.span) {
            Some(0) => self,
            Some(1) => Self { span, begun: 0, before: self.begun, ..self },
            None if span.checked_add(1) == Some(self.span) => self,
            _ => Self { span, begun: 0, before: 0, ..self },
        }
    }

    /// The number of the span that a time lies in.
    fn span_of(self, time: Instant) -> u64 {
        time.as_nanos().checked_div(self.length).unwrap_or_default()
    }
}
