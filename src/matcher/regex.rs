//! Regexes whose work is counted.
//!
//! A client chooses the path, so the work of a rule's regex has to be bounded. Most regexes become a table when the
//! configuration is read ([`Dfa`]). For the others, all states of the NFA are stepped through at once, and each visit
//! to a state is a step of the budget.

use regex_automata::nfa::thompson::{NFA, State, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::util::syntax;

use super::dfa::Dfa;
use crate::path::{Ambiguous, Budget};

/// The largest compiled form of a rule's regex, in bytes.
const MAX_BYTES: usize = 512 * 1024;

/// A regex on bytes that has to match the whole path.
#[derive(Debug, Clone)]
pub enum Regex {
    /// One look at each byte.
    Table(Box<Dfa>),
    /// Several visits to states at each byte.
    Automaton(NFA),
}

/// The states that the search on one path is in. Kept between searches, to reuse the memory.
#[derive(Debug, Default)]
pub(super) struct Threads {
    /// In which round each state was last visited.
    visited: Vec<usize>,
    round: usize,
    /// States that look at the byte that is next.
    now: Vec<StateID>,
    next: Vec<StateID>,
    pending: Vec<StateID>,
}

impl Regex {
    pub(super) fn new(regex: &str) -> Result<Self, String> {
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let parsed = syntax::parse_with(regex, &syntax).map_err(|error| {
            // Behind several lines with the regex and a mark below its fault.
            let error = error.to_string();
            let fault = error.rsplit("error: ").next().unwrap_or_default();
            format!("{regex:?} is no regular expression: {fault}")
        })?;
        if parsed.properties().look_set().contains_word_unicode() {
            // The tables for it aren't in the module, and without them it would panic.
            return Err(r"a word boundary of Unicode is not supported: write (?-u:\b) in place of (?u:\b)".to_owned());
        }
        let config = NFA::config().utf8(false).which_captures(WhichCaptures::None).nfa_size_limit(Some(MAX_BYTES));
        let nfa = NFA::compiler().configure(config).build_from_hir(&parsed).map_err(|error| error.to_string())?;
        Ok(Dfa::new(&nfa).map_or(Self::Automaton(nfa), |table| Self::Table(Box::new(table))))
    }

    /// Whether it matches all of the path.
    pub(super) fn matches(&self, path: &[u8], threads: &mut Threads, budget: &mut Budget) -> Result<bool, Ambiguous> {
        match self {
            Self::Table(table) => table.matches(path, budget),
            Self::Automaton(nfa) => threads.search(nfa, path, budget),
        }
    }
}

/// Where a state leads with a byte.
pub(super) fn step(state: &State, byte: u8) -> Option<StateID> {
    match state {
        State::ByteRange { trans } => trans.matches_byte(byte).then_some(trans.next),
        State::Sparse(transitions) => transitions.matches_byte(byte),
        State::Dense(transitions) => transitions.matches_byte(byte),
        _ => None,
    }
}

impl Threads {
    fn search(&mut self, nfa: &NFA, path: &[u8], budget: &mut Budget) -> Result<bool, Ambiguous> {
        let states = nfa.states().len();
        if let Some(more) = states.checked_sub(self.visited.len()) {
            budget.spend(more / 16)?;
            self.visited.resize(states, 0);
        }
        self.next.clear();
        self.round += 1;
        let mut is_match = self.enter(nfa, nfa.start_anchored(), Position { path, at: 0 }, budget)?;
        for (at, byte) in path.iter().enumerate() {
            std::mem::swap(&mut self.now, &mut self.next);
            if self.now.is_empty() {
                return Ok(false);
            }
            self.next.clear();
            self.round += 1;
            is_match = false;
            for index in 0..self.now.len() {
                let Some(state) = self.now.get(index).map(|state| nfa.state(*state)) else { break };
                if let State::Sparse(transitions) = state {
                    budget.spend(transitions.transitions.len())?;
                }
                if let Some(next) = step(state, *byte) {
                    is_match |= self.enter(nfa, next, Position { path, at: at + 1 }, budget)?;
                }
            }
        }
        Ok(is_match)
    }

    /// Enters a state and all that it leads to without a byte; says whether the end is among them.
    fn enter(
        &mut self,
        nfa: &NFA,
        state: StateID,
        position: Position<'_>,
        budget: &mut Budget,
    ) -> Result<bool, Ambiguous> {
        let mut is_match = false;
        self.pending.push(state);
        while let Some(state) = self.pending.pop() {
            budget.spend(1)?;
            match self.visited.get_mut(state.as_usize()) {
                Some(round) if *round != self.round => *round = self.round,
                _ => continue,
            }
            match nfa.state(state) {
                State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) => self.next.push(state),
                State::Look { look, next } => {
                    if nfa.look_matcher().matches(*look, position.path, position.at) {
                        self.pending.push(*next);
                    }
                }
                State::Union { alternates } => self.pending.extend_from_slice(alternates),
                State::BinaryUnion { alt1, alt2 } => self.pending.extend([*alt1, *alt2]),
                State::Capture { next, .. } => self.pending.push(*next),
                State::Fail => {}
                State::Match { .. } => is_match = true,
            }
        }
        Ok(is_match)
    }
}

/// A place in a path, between two bytes.
#[derive(Clone, Copy)]
struct Position<'p> {
    path: &'p [u8],
    at: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_boundary_of_unicode_is_refused() {
        let refused = [r"(?u)/a\b.*", r"(?u:/a\B).*", r"/a(?u:\b{start}).*", r"(?u)/a\b{end-half}.*", r"/(?u)\b{end}"];
        for regex in refused {
            let error = Regex::new(regex).expect_err(regex);
            assert!(error.contains("word boundary"), "{regex}: {error}");
        }
        for regex in [r"/a\b.*", r"(?u)(?-u:/a\b).*", "(?u)/é.*"] {
            assert!(Regex::new(regex).is_ok(), "{regex}");
        }
    }

    /// Each byte of a path out of a small alphabet, so that every path of up to four bytes is tried.
    fn paths() -> Vec<Vec<u8>> {
        let alphabet = b"/ab1.\n\xff";
        let mut paths = vec![Vec::new()];
        let mut from = 0;
        for _ in 0..4 {
            let to = paths.len();
            for index in from..to {
                let start = paths[index].clone();
                paths.extend(alphabet.iter().map(|byte| [start.as_slice(), &[*byte]].concat()));
            }
            from = to;
        }
        paths
    }

    #[test]
    fn the_table_agrees_with_the_automaton() {
        let paths = paths();
        for regex in [
            "/a",
            "/.*",
            "(?s)/.*",
            "/a*b",
            "/(a|ab)(b1|1)?",
            "^/a.*$",
            "(^|a)/$",
            "/(^a|b)",
            "/(a$|b).?",
            "$",
            "^$",
            "",
            "/[^/]+",
            "(?i)/A",
            "/a{2,3}",
            "/(a?){3}b",
            ".*a.",
            "/.*b.*1",
            "[a-b/]*",
            r"/\d\w",
            "a^",
            "$a",
            "(a|b)*?1",
        ] {
            let Regex::Table(_) = Regex::new(regex).unwrap() else { panic!("{regex} has no table") };
            let syntax = syntax::Config::new().unicode(false).utf8(false);
            let nfa = NFA::compiler()
                .configure(NFA::config().utf8(false).which_captures(WhichCaptures::None))
                .build_from_hir(&syntax::parse_with(regex, &syntax).unwrap())
                .unwrap();
            let (table, automaton) = (Regex::new(regex).unwrap(), Regex::Automaton(nfa));
            for path in &paths {
                let by = |regex: &Regex| regex.matches(path, &mut Threads::default(), &mut Budget::default()).unwrap();
                assert_eq!(by(&table), by(&automaton), "{regex} {}", path.escape_ascii());
            }
        }
    }

    #[test]
    fn a_regex_with_too_large_a_table_has_none() {
        for regex in ["/.*a.{20}", r"/a\b.*", "(?m)/a$", "/(a?){300}a{300}"] {
            assert!(matches!(Regex::new(regex).unwrap(), Regex::Automaton(_)), "{regex}");
        }
        for regex in ["/api/.*/item49", "/v[0-9]+/(users|orders)/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{12}(/.*)?"] {
            assert!(matches!(Regex::new(regex).unwrap(), Regex::Table(_)), "{regex}");
        }
    }
}
