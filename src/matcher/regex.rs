//! Regexes whose work is counted.
//!
//! A client chooses the path, so the work of a rule's regex has to be bounded. Most regexes become a table when the
//! configuration is read ([`Dfa`]). The others step through all states of the NFA at once, and each visit to a state
//! is a step of the budget.

use super::dfa::Dfa;
use super::nfa::{Nfa, State, StateId, looks};
use super::syntax;
use crate::path::{Ambiguous, Budget};

/// A regex on bytes that has to match the whole path.
#[derive(Debug, Clone)]
pub enum Regex {
    /// One lookup for each byte.
    Table(Box<Dfa>),
    /// Several visits to states for each byte.
    Automaton(Nfa),
}

/// The states of the search on one path, kept between searches to reuse the memory.
#[derive(Debug, Default)]
pub(super) struct Threads {
    /// The round in which each state was last visited.
    visited: Vec<usize>,
    round: usize,
    /// States that look at the next byte.
    now: Vec<StateId>,
    next: Vec<StateId>,
    pending: Vec<StateId>,
}

impl Regex {
    pub(super) fn new(regex: &str) -> Result<Self, String> {
        let nfa = Nfa::new(&syntax::read(regex)?).ok_or("its compiled form is larger than 512 KiB")?;
        Ok(Dfa::new(&nfa).map_or(Self::Automaton(nfa), |table| Self::Table(Box::new(table))))
    }

    /// Whether it matches the whole path.
    pub(super) fn matches(&self, path: &[u8], threads: &mut Threads, budget: &mut Budget) -> Result<bool, Ambiguous> {
        match self {
            Self::Table(table) => table.matches(path, budget),
            Self::Automaton(nfa) => threads.search(nfa, path, budget),
        }
    }
}

impl Threads {
    fn search(&mut self, nfa: &Nfa, path: &[u8], budget: &mut Budget) -> Result<bool, Ambiguous> {
        let states = nfa.len();
        if let Some(more) = states.checked_sub(self.visited.len()) {
            budget.spend(more / 16)?;
            self.visited.resize(states, 0);
        }
        self.next.clear();
        self.round += 1;
        let mut is_match = self.enter(nfa, nfa.start(), Position { path, at: 0 }, budget)?;
        for (at, byte) in path.iter().enumerate() {
            std::mem::swap(&mut self.now, &mut self.next);
            if self.now.is_empty() {
                return Ok(false);
            }
            self.next.clear();
            self.round += 1;
            is_match = false;
            for index in 0..self.now.len() {
                let Some(state) = self.now.get(index).and_then(|state| nfa.state(*state)) else { break };
                if let State::Bytes(ranges, _) = state
                    && ranges.len() > 1
                {
                    budget.spend(ranges.len())?;
                }
                if let Some(next) = state.step(*byte) {
                    is_match |= self.enter(nfa, next, Position { path, at: at + 1 }, budget)?;
                }
            }
        }
        Ok(is_match)
    }

    /// Enters a state and all that it leads to without a byte. Returns whether the end is among them.
    fn enter(
        &mut self,
        nfa: &Nfa,
        state: StateId,
        position: Position<'_>,
        budget: &mut Budget,
    ) -> Result<bool, Ambiguous> {
        let mut is_match = false;
        self.pending.push(state);
        while let Some(state) = self.pending.pop() {
            budget.spend(1)?;
            match self.visited.get_mut(state as usize) {
                Some(round) if *round != self.round => *round = self.round,
                _ => continue,
            }
            match nfa.state(state) {
                Some(State::Bytes(..)) => self.next.push(state),
                Some(State::Look(look, next)) if looks(*look, position.path, position.at) => self.pending.push(*next),
                Some(State::Look(..)) | None => {}
                Some(State::Union(states)) => self.pending.extend_from_slice(states),
                Some(State::Match) => is_match = true,
            }
        }
        Ok(is_match)
    }
}

/// A position in a path, between two bytes.
#[derive(Clone, Copy)]
struct Position<'p> {
    path: &'p [u8],
    at: usize,
}

#[cfg(test)]
mod tests {
    use regex_automata::nfa::thompson::{NFA, pikevm::PikeVM};

    use super::*;

    fn is_match(regex: &str, path: &[u8]) -> bool {
        Regex::new(regex).unwrap().matches(path, &mut Threads::default(), &mut Budget::default()).unwrap()
    }

    /// docs/reference.md, *Rules*.
    #[test]
    fn a_regex_knows_unicode_as_far_as_it_needs_no_tables() {
        for (regex, path, matches) in [
            ("/.", "/é", false),
            ("/..", "/é", true),
            ("(?u)/.", "/é", true),
            ("/[^a]", "/é", false),
            ("(?u)/[^a]", "/é", true),
            ("(?u)/[é]", "/é", true),
            ("(?u)/[à-ý]", "/é", true),
            ("/é", "/é", true),
            ("(?i)/éA", "/éa", true),
            ("(?i)/É", "/é", false),
            (r"/\w+", "/é", false),
            (r"/\d", "/٣", false),
            (r"(?s)/\s.*", "/\u{2003}", false),
            (r"/\bé.*", "/é", false),
            (r"(?u)/é(?-u:\d\s\w\b)", "/é1 a", true),
            ("(?iu)(?-u:/a)", "/A", true),
        ] {
            assert_eq!(is_match(regex, path.as_bytes()), matches, "{regex} {path}");
        }
        let of_tables =
            [r"\d", r"\D", r"\s", r"\w", r"[\w]", r"\b", r"\B", r"\b{start}", r"\b{end-half}", "(?i)é", "(?i)a"];
        for part in of_tables {
            assert!(Regex::new(&format!("(?u)/{part}")).is_err(), "{part}");
            assert!(Regex::new(&format!("(?u)/(?-u:{part})")).is_ok(), "{part}");
        }
        for regex in [r"/\p{L}", r"(?u)/\p{L}", r"(?u)/(?-u:\p{L})", "/[é]", "(?u)/(?-u:[é])"] {
            assert!(Regex::new(regex).is_err(), "{regex}");
        }
    }

    /// Every path of up to four bytes out of a small alphabet.
    fn paths() -> Vec<Vec<u8>> {
        let alphabet = b"/ab1.\r\n\xff";
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
            let nfa = Nfa::new(&syntax::read(regex).unwrap()).unwrap();
            let (table, automaton) = (Regex::new(regex).unwrap(), Regex::Automaton(nfa));
            for path in &paths {
                let by = |regex: &Regex| regex.matches(path, &mut Threads::default(), &mut Budget::default()).unwrap();
                assert_eq!(by(&table), by(&automaton), "{regex} {}", path.escape_ascii());
            }
        }
    }

    #[test]
    fn matches_are_those_of_another_engine() {
        let paths = paths();
        for regex in [
            "/[^ab]*",
            "(?i)/A[^B]?",
            "(/a|/b|1){2,}",
            "(a+)+b?",
            "(/|ab){1,2}?",
            "(a?)*",
            "((a*)+){2}",
            "a{0}b",
            "[[:alpha:]&&[^a]]+",
            r"(?-u)/[\x80-\xff]",
            "(?u)./.",
            "(?u)[^/]+",
            r"/\ba\B.",
            r".\b/.*",
            r"\b{start}a.*",
            r".*a\b{end}",
            r"\b{start-half}.*",
            r"\b{end-half}.a",
            "(?m)^a$.*",
            "(?ms)^.*$.^b$",
            "(?mR)a$.*",
            "(?s).*(?mR:^)/",
            r"\A/.*\z",
            r"[^\x00-\xff]|a",
            "|a",
        ] {
            let whole = format!(r"\A(?:{regex})\z");
            let syntax = regex_automata::util::syntax::Config::new().unicode(false).utf8(false);
            let config = NFA::config().utf8(false);
            let other = PikeVM::builder().syntax(syntax).thompson(config).build(&whole).unwrap();
            let regex = Regex::new(regex).unwrap();
            for path in &paths {
                let found = regex.matches(path, &mut Threads::default(), &mut Budget::default()).unwrap();
                let expected = other.is_match(&mut other.create_cache(), path.as_slice());
                assert_eq!(found, expected, "{whole} {}", path.escape_ascii());
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
