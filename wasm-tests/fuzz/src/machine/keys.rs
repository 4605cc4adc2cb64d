//! The keys that the workers must know: the newest that was fetched, and those that a fetch replaced no longer ago than
//! `jwt.public_key.grace` (docs/reference.md#key-rotation).

use std::time::Duration;

use authgate::Instant;
use authgate::internals::BETWEEN_SEARCHES;

use super::state::{Moment, has_passed};

/// The most keys that are kept.
const MOST: usize = 4;

/// A key that was fetched.
#[derive(Debug, Clone, Copy)]
struct Fetched {
    number: usize,
    /// For the newest key, when its fetch began; for any other, when it was replaced.
    at: Instant,
}

/// What the workers share.
#[derive(Debug)]
pub(super) struct Keys {
    grace: Duration,
    /// The known keys from each step on, newest first.
    states: Vec<(u64, Vec<Fetched>)>,
    /// When the last search began. A search is a fetch with the most questions, each answered with a key.
    searched: Option<Instant>,
    /// When the last fetch began.
    asked: Option<Instant>,
}

impl Keys {
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, states: vec![(0, Vec::new())], searched: None, asked: None }
    }

    /// A fetch that began at `began` has brought a key.
    pub(super) fn fetched(&mut self, number: usize, began: Instant, is_search: bool, now: Moment) {
        self.asked = self.asked.max(Some(began));
        if is_search {
            self.searched = self.searched.max(Some(began));
        }
        let mut known = self.states.last().map(|(_, known)| known.clone()).unwrap_or_default();
        match known.first_mut() {
            // Another worker's fetch, which began later, ended first.
            Some(newest) if newest.at > began => return,
            Some(newest) if newest.number == number => newest.at = began,
            newest => {
                if let Some(replaced) = newest {
                    replaced.at = now.at;
                }
                known.retain(|fetched| fetched.number != number);
                known.insert(0, Fetched { number, at: began });
                known.truncate(MOST);
            }
        }
        self.states.push((now.step, known));
    }

    /// Whether a signature by this key is valid for a worker that knows every fetch.
    pub(super) fn is_good(&self, number: usize, now: Instant) -> bool {
        self.states.last().is_some_and(|(_, known)| self.holds(known, number, now))
    }

    /// Whether a search began since the request arrived, or a recent one did and a fetch began since.
    pub(super) fn is_searched_since(&self, arrived: Instant, now: Instant) -> bool {
        let is_since = |began: Instant| began >= arrived;
        let is_late = |began: Instant| !has_passed(now, BETWEEN_SEARCHES, began);
        self.searched.is_some_and(|began| is_since(began) || is_late(began) && self.asked.is_some_and(is_since))
    }

    /// When the service was last asked.
    pub(super) const fn asked(&self) -> Option<Instant> {
        self.asked
    }

    /// Whether the last fetch began less than this long ago.
    pub(super) fn is_just_asked(&self, interval: Duration, now: Instant) -> bool {
        self.asked.is_some_and(|began| !has_passed(now, interval, began))
    }

    /// Whether it may be valid for a worker that knows every fetch until this step, and perhaps later ones.
    pub(super) fn may_be_good(&self, number: usize, heard: u64, now: Instant) -> bool {
        let first = self.states.iter().rposition(|(step, _)| *step <= heard).unwrap_or(0);
        self.states[first..].iter().any(|(_, known)| self.holds(known, number, now))
    }

    fn holds(&self, known: &[Fetched], number: usize, now: Instant) -> bool {
        known.iter().enumerate().any(|(index, fetched)| {
            fetched.number == number && (index == 0 || !has_passed(now, self.grace, fetched.at))
        })
    }
}
