//! A regex as states that lead to one another, built from its pieces.

use regex_syntax::utf8::{Utf8Range, Utf8Sequences};

use super::class::Alphabet;
use super::piece::{Look, Piece, Times};

/// The largest compiled form of a rule's regex, in bytes.
const MAX_BYTES: usize = 512 * 1024;

/// The index of a state.
pub(super) type StateId = u32;

/// Bytes from the first to the second, both included.
type Range = (u8, u8);

/// One state.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// The end: the whole regex has matched.
    Match,
    /// A byte in one of the ranges leads on; if there are no ranges, none does.
    Bytes(Box<[Range]>, StateId),
    /// Leads on if the bytes around this position are as required.
    Look(Look, StateId),
    /// Leads to each of them.
    Union(Vec<StateId>),
}

/// The states of one regex.
#[derive(Debug, Clone)]
pub struct Nfa {
    states: Vec<State>,
    start: StateId,
    bytes: usize,
    /// How many pieces were compiled. A piece without a state counts too, so that all work is bounded.
    pieces: usize,
}

impl State {
    /// The state that this byte leads to.
    pub(super) fn step(&self, byte: u8) -> Option<StateId> {
        let Self::Bytes(ranges, next) = self else { return None };
        ranges.iter().any(|(from, to)| (*from..=*to).contains(&byte)).then_some(*next)
    }
}

impl Nfa {
    /// `None`, if it is larger than [`MAX_BYTES`].
    pub(super) fn new(regex: &Piece) -> Option<Self> {
        let mut nfa = Self { states: Vec::new(), start: 0, bytes: 0, pieces: 0 };
        let end = nfa.push(State::Match)?;
        nfa.start = nfa.compile(regex, end)?;
        Some(nfa)
    }

    pub(super) fn start(&self) -> StateId {
        self.start
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    pub(super) fn state(&self, id: StateId) -> Option<&State> {
        self.states.get(id as usize)
    }

    /// Every range of bytes that a state looks for.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range> {
        let states = self.states.iter();
        states.flat_map(|state| if let State::Bytes(ranges, _) = state { &ranges[..] } else { &[] }).copied()
    }

    fn push(&mut self, state: State) -> Option<StateId> {
        self.bytes += size_of::<State>()
            + match &state {
                State::Bytes(ranges, _) => size_of_val(&**ranges),
                State::Union(states) => size_of_val(&**states),
                State::Match | State::Look(..) => 0,
            };
        let id = u32::try_from(self.states.len()).ok()?;
        self.states.push(state);
        (self.bytes <= MAX_BYTES).then_some(id)
    }

    /// Compiles a piece that leads to `next`, and returns where it begins.
    fn compile(&mut self, piece: &Piece, next: StateId) -> Option<StateId> {
        self.pieces += 1;
        if self.pieces > MAX_BYTES {
            return None;
        }
        match piece {
            Piece::Empty => Some(next),
            Piece::Literal(bytes) => bytes.iter().rev().try_fold(next, |next, byte| self.bytes([(*byte, *byte)], next)),
            Piece::Class(Alphabet::Bytes, set) => {
                let byte = |number| u8::try_from(number).unwrap_or(u8::MAX);
                self.bytes(set.ranges().map(|(first, last)| (byte(first), byte(last))), next)
            }
            Piece::Class(Alphabet::Chars, set) => {
                let mut forms = Vec::new();
                let ranges = set.ranges().map(|(first, last)| (Alphabet::char(first), Alphabet::char(last)));
                for form in ranges.flat_map(|(first, last)| Utf8Sequences::new(first, last)) {
                    let byte = |next, range: &Utf8Range| self.bytes([(range.start, range.end)], next);
                    forms.push(form.as_slice().iter().rev().try_fold(next, byte)?);
                }
                self.push(State::Union(forms))
            }
            Piece::Look(look) => self.push(State::Look(*look, next)),
            Piece::Repeat(times, piece) => self.repeat(*times, piece, next),
            Piece::Concat(parts) => parts.iter().rev().try_fold(next, |next, part| self.compile(part, next)),
            Piece::Alternation(parts) => {
                let parts = parts.iter().map(|part| self.compile(part, next)).collect::<Option<_>>()?;
                self.push(State::Union(parts))
            }
        }
    }

    fn bytes(&mut self, ranges: impl IntoIterator<Item = Range>, next: StateId) -> Option<StateId> {
        self.push(State::Bytes(ranges.into_iter().collect(), next))
    }

    fn repeat(&mut self, times: Times, piece: &Piece, next: StateId) -> Option<StateId> {
        let mut min = times.min;
        let mut begin = next;
        if let Some(max) = times.max {
            for _ in min..max {
                let once_more = self.compile(piece, begin)?;
                begin = self.push(State::Union(vec![once_more, next]))?;
            }
        } else {
            let end = self.push(State::Union(vec![next]))?;
            let again = self.compile(piece, end)?;
            if let Some(State::Union(states)) = self.states.get_mut(end as usize) {
                states.push(again);
            }
            begin = if min > 0 { again } else { end };
            min = min.saturating_sub(1);
        }
        (0..min).try_fold(begin, |next, _| self.compile(piece, next))
    }
}

/// Whether the bytes around a position in the path are as `look` requires.
pub(super) fn looks(look: Look, path: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| path.get(before).copied());
    let after = path.get(at).copied();
    let is_word = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let (word_before, word_after) = (is_word(before), is_word(after));
    match look {
        Look::Start => before.is_none(),
        Look::End => after.is_none(),
        Look::LineStart => matches!(before, None | Some(b'\n')),
        Look::LineEnd => matches!(after, None | Some(b'\n')),
        // Between CR and LF, no line begins or ends.
        Look::CrlfLineStart => matches!(before, None | Some(b'\n')) || before == Some(b'\r') && after != Some(b'\n'),
        Look::CrlfLineEnd => matches!(after, None | Some(b'\r')) || after == Some(b'\n') && before != Some(b'\r'),
        Look::WordBoundary => word_before != word_after,
        Look::NotWordBoundary => word_before == word_after,
        Look::WordStart => !word_before && word_after,
        Look::WordEnd => word_before && !word_after,
        Look::NotAfterWord => !word_before,
        Look::NotBeforeWord => !word_after,
    }
}
