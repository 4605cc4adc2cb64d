//! Whether a regex matches what a prefix was written for.

use std::collections::{BTreeMap, BTreeSet};

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::{primitives::StateID, start, syntax};

/// The bytes of a path.
fn bytes() -> impl Iterator<Item = u8> {
    b'!'..=b'~'
}

/// Whether a regex matches the prefix itself or paths of any length below it, and also paths elsewhere: then it wasn't
/// written for an exception. Or it matches everything below the prefix that it matches at all.
///
/// `false` if the regex is too large to be compared.
pub fn intrudes(regex: &str, prefix: &str) -> bool {
    let Some(machine) = Machine::new(regex) else { return false };
    let prefix = prefix.trim_end_matches('/');
    let Some(at) = prefix.bytes().try_fold(machine.start, |state, byte| machine.next(state, byte)) else {
        return false;
    };
    let below = machine.next(at, b'/');
    let is_all_below = || below.is_some_and(|below| machine.accepts_all(below));
    is_all_below()
        || (machine.accepts(at) || below.is_some_and(|below| machine.is_unbounded(below)))
            && machine.accepts_outside(prefix.as_bytes())
}

/// A regex that has to match a whole path.
struct Machine {
    dfa: dense::DFA<Vec<u32>>,
    start: StateID,
}

impl Machine {
    fn new(regex: &str) -> Option<Self> {
        /// In bytes.
        const MOST: usize = 4 << 20;
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Anchored)
                    .minimize(false)
                    .dfa_size_limit(Some(MOST))
                    .determinize_size_limit(Some(MOST)),
            )
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(MOST)))
            .build(&format!("(?:{regex})$"))
            .ok()?;
        let start = dfa.start_state(&start::Config::new().anchored(regex_automata::Anchored::Yes)).ok()?;
        Some(Self { dfa, start })
    }

    /// The state after a byte; `None`: no path that begins so matches.
    fn next(&self, state: StateID, byte: u8) -> Option<StateID> {
        Some(self.dfa.next_state(state, byte)).filter(|next| !self.dfa.is_dead_state(*next))
    }

    fn accepts(&self, state: StateID) -> bool {
        self.dfa.is_match_state(self.dfa.next_eoi_state(state))
    }

    /// All states from this one on, each with those that follow it.
    fn graph(&self, from: StateID) -> BTreeMap<StateID, BTreeSet<StateID>> {
        let mut graph = BTreeMap::new();
        let mut rest = vec![from];
        while let Some(state) = rest.pop() {
            graph.entry(state).or_insert_with(|| {
                let following: BTreeSet<_> = bytes().filter_map(|byte| self.next(state, byte)).collect();
                rest.extend(&following);
                following
            });
        }
        graph
    }

    /// Whether every path that continues from this state matches.
    fn accepts_all(&self, from: StateID) -> bool {
        let graph = self.graph(from);
        graph.keys().all(|state| self.accepts(*state) && bytes().all(|byte| self.next(*state, byte).is_some()))
    }

    /// Whether paths of any length continue from this state and match.
    fn is_unbounded(&self, from: StateID) -> bool {
        let mut graph = self.graph(from);
        let mut useful: BTreeSet<_> = graph.keys().copied().filter(|state| self.accepts(*state)).collect();
        loop {
            let leads = |following: &BTreeSet<_>| !following.is_disjoint(&useful);
            let more: Vec<_> = graph.iter().filter(|(_, next)| leads(next)).map(|(state, _)| *state).collect();
            let before = useful.len();
            useful.extend(more);
            if useful.len() == before {
                break;
            }
        }
        graph.retain(|state, _| useful.contains(state));
        // Takes away what leads nowhere. Only circles stay.
        loop {
            let known: BTreeSet<_> = graph.keys().copied().collect();
            graph.retain(|_, following| !following.is_disjoint(&known));
            if graph.len() == known.len() {
                return !graph.is_empty();
            }
        }
    }

    /// Whether a path matches that is neither this prefix nor below it.
    fn accepts_outside(&self, prefix: &[u8]) -> bool {
        // Every path begins with a slash.
        let Some(first) = self.next(self.start, b'/').filter(|_| !prefix.is_empty()) else { return false };
        // With each state, how much of the prefix has been read; `None`: the path is already another.
        let mut known = BTreeSet::new();
        let mut rest = vec![(first, Some(1))];
        while let Some((state, read)) = rest.pop() {
            if !known.insert((state, read)) {
                continue;
            }
            if read.is_none_or(|read| read < prefix.len()) && self.accepts(state) {
                return true;
            }
            for byte in bytes() {
                let Some(next) = self.next(state, byte) else { continue };
                match read {
                    Some(read) if read == prefix.len() && byte == b'/' => {}
                    Some(read) if prefix.get(read) == Some(&byte) => rest.push((next, Some(read + 1))),
                    _ => rest.push((next, None)),
                }
            }
        }
        false
    }
}
