//! The service's keys, as the workers have to know them: the newest that was fetched, and those that a fetch replaced
//! not longer ago than `jwt.public_key.grace` (docs/reference.md#key-rotation).

use std::time::Duration;

use authgate::UnixTime;
use authgate::internals::BETWEEN_SEARCHES;

use super::state::{Moment, has_passed};

/// The most that are kept.
const MOST: usize = 4;

/// A key that was fetched.
#[derive(Debug, Clone, Copy)]
struct Fetched {
    number: usize,
    /// The newest: when its fetch began. Another: when it was replaced.
    at: UnixTime,
}

/// What the workers share.
#[derive(Debug)]
pub(super) struct Keys {
    grace: Duration,
    /// What was known from which step on, each time with the newest key first.
    states: Vec<(u64, Vec<Fetched>)>,
    /// When the last search began, a fetch that asked as often as it may: each answer brought a key that was good.
    searched: Option<UnixTime>,
    /// When the last fetch began.
    asked: Option<UnixTime>,
}

impl Keys {
    pub(super) fn new(grace: Duration) -> Self {
        Self { grace, states: vec![(0, Vec::new())], searched: None, asked: None }
    }

    /// A fetch that began at `began` has brought a key in the end.
    pub(super) fn fetched(&mut self, number: usize, began: UnixTime, is_search: bool, now: Moment) {
        self.asked = self.asked.max(Some(began));
        if is_search {
            self.searched = self.searched.max(Some(began));
        }
        let mut known = self.states.last().map(|(_, known)| known.clone()).unwrap_or_default();
        match known.first_mut() {
            // Another worker's fetch has overtaken it.
            Some(newest) if newest.at > began => return,
            Some(newest) if newest.number == number => newest.at = began,
            newest => {
                if let Some(replaced) = newest {
                    replaced.at = now.wall;
                }
                known.retain(|fetched| fetched.number != number);
                known.insert(0, Fetched { number, at: began });
                known.truncate(MOST);
            }
        }
        self.states.push((now.step, known));
    }

    /// Whether a signature by this key is good for whoever has heard of every fetch.
    pub(super) fn is_good(&self, number: usize, now: UnixTime) -> bool {
        self.states.last().is_some_and(|(_, known)| self.holds(known, number, now))
    }

    /// Whether the service was searched for further keys since a request arrived, or lately, and asked since.
    pub(super) fn is_searched_since(&self, arrived: UnixTime, now: UnixTime) -> bool {
        let is_since = |began: UnixTime| began >= arrived;
        let is_late = |began: UnixTime| !has_passed(now, BETWEEN_SEARCHES, began);
        self.searched.is_some_and(|began| is_since(began) || is_late(began) && self.asked.is_some_and(is_since))
    }

    /// Whether one may be good for whoever has heard of every fetch until this step, and perhaps of later ones.
    pub(super) fn may_be_good(&self, number: usize, heard: u64, now: UnixTime) -> bool {
        let first = self.states.iter().rposition(|(step, _)| *step <= heard).unwrap_or(0);
        self.states[first..].iter().any(|(_, known)| self.holds(known, number, now))
    }

    fn holds(&self, known: &[Fetched], number: usize, now: UnixTime) -> bool {
        known.iter().enumerate().any(|(index, fetched)| {
            fetched.number == number && (index == 0 || !has_passed(now, self.grace, fetched.at))
        })
    }
}
