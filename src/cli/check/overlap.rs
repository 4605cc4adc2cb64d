//! What a rule's regex matches of the paths that a prefix covers.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use regex_automata::Anchored;
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::{primitives::StateID, start, syntax};
use serde_json::json;

use crate::config::Config;
use crate::matcher::Target;

/// A rule's regex, compiled once for all comparisons.
pub struct Pattern<'t> {
    text: &'t str,
    /// A configuration with this regex alone; `None`: the filter refuses it.
    config: Option<Config>,
    machine: OnceCell<Option<Machine>>,
}

impl<'t> Pattern<'t> {
    pub fn new(text: &'t str) -> Self {
        let config = json!({"auth_service": {"cluster": "c"}, "rules": [{"match": {"regex": text}}]});
        Self { text, config: Config::from_bytes(config.to_string().as_bytes()).ok(), machine: OnceCell::new() }
    }

    /// Whether the filter takes it to match this path.
    pub fn matches(&self, path: &str) -> bool {
        let target = Target { path: path.as_bytes(), method: b"GET", authority: b"" };
        self.config.as_ref().is_some_and(|config| config.rules.find(target).is_ok_and(|found| found.is_some()))
    }

    /// Whether all paths that it matches are this prefix or below it. `false` if it is too large to tell.
    pub fn is_within(&self, prefix: &str) -> bool {
        self.machine().is_some_and(|machine| !machine.accepts_outside(prefix.trim_end_matches('/').as_bytes()))
    }

    /// Whether it matches what a prefix was written for, and not only an exception from it. It does if it matches the
    /// name `x` below the prefix. It also does if it matches paths elsewhere, and the prefix itself or names of any
    /// length below it. If it is too large to tell, only `x` is tried.
    pub fn intrudes_on(&self, prefix: &str) -> bool {
        let prefix = prefix.trim_end_matches('/');
        self.matches(&format!("{prefix}/x")) || self.machine().is_some_and(|machine| machine.intrudes_on(prefix))
    }

    fn machine(&self) -> Option<&Machine> {
        self.machine.get_or_init(|| Machine::new(self.text)).as_ref()
    }
}

/// A regex that has to match a whole path.
struct Machine {
    dfa: dense::DFA<Vec<u32>>,
    start: StateID,
    /// The states from which some path still matches.
    useful: BTreeSet<StateID>,
}

/// The bytes of a path.
fn bytes() -> impl Iterator<Item = u8> {
    b'!'..=b'~'
}

impl Machine {
    fn new(regex: &str) -> Option<Self> {
        /// In bytes.
        const MOST: usize = 512 << 10;
        let build = |end: &str| {
            dense::Builder::new()
                .configure(
                    dense::Config::new()
                        .start_kind(StartKind::Anchored)
                        .dfa_size_limit(Some(MOST))
                        .determinize_size_limit(Some(MOST)),
                )
                .syntax(syntax::Config::new().unicode(false).utf8(false))
                .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(MOST)))
                .build(&format!("(?:{regex}{end})$"))
                .ok()
        };
        // With `x` among its flags, a regex may end with a comment.
        let dfa = build("").or_else(|| build("\n"))?;
        let start = dfa.start_state(&start::Config::new().anchored(Anchored::Yes)).ok()?;
        let mut machine = Self { dfa, start, useful: BTreeSet::new() };
        machine.find_useful();
        Some(machine)
    }

    fn find_useful(&mut self) {
        let mut before: BTreeMap<StateID, Vec<StateID>> = BTreeMap::new();
        let mut known = BTreeSet::from([self.start]);
        let mut rest = vec![self.start];
        while let Some(state) = rest.pop() {
            for next in bytes().map(|byte| self.dfa.next_state(state, byte)) {
                before.entry(next).or_default().push(state);
                if known.insert(next) {
                    rest.push(next);
                }
            }
        }
        rest.extend(known.into_iter().filter(|state| self.accepts(*state)));
        while let Some(state) = rest.pop() {
            if self.useful.insert(state) {
                rest.extend(before.get(&state).into_iter().flatten());
            }
        }
    }

    /// The state after a byte; `None`: no path that begins so matches.
    fn next(&self, state: StateID, byte: u8) -> Option<StateID> {
        Some(self.dfa.next_state(state, byte)).filter(|next| self.useful.contains(next))
    }

    fn accepts(&self, state: StateID) -> bool {
        self.dfa.is_match_state(self.dfa.next_eoi_state(state))
    }

    /// Whether it matches the prefix itself or names of any length below it, and also paths elsewhere.
    fn intrudes_on(&self, prefix: &str) -> bool {
        let Some(at) = prefix.bytes().try_fold(self.start, |state, byte| self.next(state, byte)) else { return false };
        let has_any_name = || self.next(at, b'/').is_some_and(|below| self.has_any_name(below));
        (self.accepts(at) || has_any_name()) && self.accepts_outside(prefix.as_bytes())
    }

    /// Whether names of any length, up to a slash or the end, lead on from this state.
    fn has_any_name(&self, from: StateID) -> bool {
        // Each state is entered once, and left once all that follows it is known. A cycle leads back to a state that
        // was entered and not left.
        let mut known = BTreeMap::new();
        let mut rest = vec![(from, false)];
        while let Some((state, is_done)) = rest.pop() {
            if is_done {
                known.insert(state, true);
                continue;
            }
            match known.get(&state) {
                Some(true) => continue,
                Some(false) => return true,
                None => {}
            }
            known.insert(state, false);
            rest.push((state, true));
            let following: BTreeSet<_> =
                bytes().filter(|byte| *byte != b'/').filter_map(|byte| self.next(state, byte)).collect();
            if following.iter().any(|next| known.get(next) == Some(&false)) {
                return true;
            }
            rest.extend(following.into_iter().map(|next| (next, false)));
        }
        false
    }

    /// Whether a path matches that is neither this prefix nor below it.
    fn accepts_outside(&self, prefix: &[u8]) -> bool {
        let mut state = self.start;
        for (read, expected) in prefix.iter().copied().chain([b'/']).enumerate() {
            // Every path begins with a slash, so none differs before it.
            let has_begun = read > 0;
            if has_begun && read < prefix.len() && self.accepts(state) {
                return true;
            }
            if has_begun && bytes().any(|byte| byte != expected && self.next(state, byte).is_some()) {
                return true;
            }
            match self.next(state, expected) {
                Some(next) => state = next,
                None => return false,
            }
        }
        false
    }
}
