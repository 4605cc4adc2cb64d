//! A regex as a table, if the table isn't too large: each byte of a path costs one lookup.

use super::nfa::{Nfa, State, StateId};
use super::piece::Look;
use crate::order;
use crate::path::{Ambiguous, Budget};

/// The most entries of a table, of two bytes each.
const MAX_ENTRIES: usize = 8 * 1024;

/// The most visits to states of the NFA while a table is made.
const MAX_VISITS: usize = 200_000;

/// How many bytes of a path cost a step: a lookup is cheaper than a visit to a state of an NFA.
const BYTES_A_STEP: usize = 4;

/// The table of one regex.
#[derive(Debug, Clone)]
pub struct Dfa {
    /// The column of each byte.
    columns: [u8; 256],
    width: usize,
    /// The beginning of the next state's row, by this state's row and the byte's column.
    table: Box<[u16]>,
    /// Whether the path may end in each state.
    ends: Box<[bool]>,
    start: u16,
}

impl Dfa {
    /// `None` if the table would be too large, or if a step depends on more than the byte itself.
    pub(super) fn new(nfa: &Nfa) -> Option<Self> {
        // Bytes between which no range begins or ends share a column. `samples` holds one byte of each column.
        let mut columns = [0; 256];
        let mut samples: Vec<u8> = Vec::new();
        let mut begins = [false; 256];
        for begin in nfa.ranges().flat_map(|(from, to)| [Some(from), to.checked_add(1)]).flatten() {
            begins.get_mut(usize::from(begin)).into_iter().for_each(|begins| *begins = true);
        }
        for ((byte, begins), column) in (0..=u8::MAX).zip(begins).zip(&mut columns) {
            if byte == 0 || begins {
                samples.push(byte);
            }
            *column = u8::try_from(samples.len() - 1).unwrap_or_default();
        }
        let width = samples.len();
        let mut builder = Builder { nfa, width, states: Vec::new(), sorted: Vec::new(), visits: 0 };
        // The first row leads nowhere.
        builder.number(Vec::new(), false)?;
        let mut table = vec![0; width];
        let start = builder.enter(vec![nfa.start()], true)?;
        let mut index = 1;
        while let Some((state, _)) = builder.states.get(index).cloned() {
            for sample in &samples {
                table.push(builder.step(&state, *sample)?);
            }
            index += 1;
        }
        let ends = builder.states.iter().map(|(_, ends)| *ends).collect();
        Some(Self { columns, width, table: table.into(), ends, start })
    }

    /// Whether it matches the whole path.
    pub(super) fn matches(&self, path: &[u8], budget: &mut Budget) -> Result<bool, Ambiguous> {
        let mut row = usize::from(self.start);
        for bytes in path.chunks(BYTES_A_STEP) {
            budget.spend(1)?;
            for byte in bytes {
                let column = self.columns.get(usize::from(*byte)).copied().unwrap_or_default();
                row = self.table.get(row + usize::from(column)).copied().unwrap_or_default().into();
            }
            if row == 0 {
                return Ok(false);
            }
        }
        Ok(self.ends.get(row / self.width).copied().unwrap_or_default())
    }
}

/// Turns sets of the NFA's states into states of a table.
struct Builder<'n> {
    nfa: &'n Nfa,
    width: usize,
    /// The states that look at the next byte, and whether the path may end there.
    states: Vec<(Vec<StateId>, bool)>,
    /// Their indices, sorted by the states that they name.
    sorted: Vec<usize>,
    visits: usize,
}

impl Builder<'_> {
    /// The row of a state.
    fn number(&mut self, state: Vec<StateId>, ends: bool) -> Option<u16> {
        let wanted = (state, ends);
        let found = self.sorted.binary_search_by(|index| self.states.get(*index).cmp(&Some(&wanted)));
        let index = match found {
            Ok(place) => *self.sorted.get(place)?,
            Err(place) => {
                let index = self.states.len();
                if (index + 1) * self.width > MAX_ENTRIES {
                    return None;
                }
                self.states.push(wanted);
                self.sorted.insert(place, index);
                index
            }
        };
        u16::try_from(index * self.width).ok()
    }

    fn step(&mut self, state: &[StateId], byte: u8) -> Option<u16> {
        self.visits += state.len();
        let next = state.iter().filter_map(|state| self.nfa.state(*state)?.step(byte)).collect();
        self.enter(next, false)
    }

    /// The row of all states that these lead to without a byte.
    fn enter(&mut self, states: Vec<StateId>, is_start: bool) -> Option<u16> {
        let (reached, ends) = self.reach(states.clone(), is_start, false)?;
        // States that are reached only at the end of the path look at no byte.
        let ends = ends || self.reach(states, is_start, true)?.1;
        self.number(reached, ends)
    }

    fn reach(&mut self, mut pending: Vec<StateId>, is_start: bool, is_end: bool) -> Option<(Vec<StateId>, bool)> {
        let mut seen: Vec<StateId> = Vec::new();
        let mut ends = false;
        while let Some(id) = pending.pop() {
            self.visits += 1 + seen.len() / 8;
            if self.visits > MAX_VISITS {
                return None;
            }
            if seen.contains(&id) {
                continue;
            }
            seen.push(id);
            match self.nfa.state(id)? {
                State::Bytes(..) => {}
                State::Look(Look::Start, next) => pending.extend(is_start.then_some(*next)),
                State::Look(Look::End, next) => pending.extend(is_end.then_some(*next)),
                State::Look(..) => return None,
                State::Union(states) => pending.extend_from_slice(states),
                State::Match => ends = true,
            }
        }
        seen.retain(|id| matches!(self.nfa.state(*id), Some(State::Bytes(..))));
        order::sort_by_key(&mut seen, |id| *id);
        Some((seen, ends))
    }
}
