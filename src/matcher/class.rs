//! Sets of bytes and of characters: the classes of a regex.

use crate::order;

/// What the numbers of a set stand for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Alphabet {
    Bytes,
    /// The characters of Unicode, numbered without a gap: those after the surrogates follow those before.
    Chars,
}

/// The first surrogate, and how many there are.
const SURROGATES: (u32, u32) = (0xd800, 0x800);

/// A set of numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Set {
    /// In ascending order: the first number of each range, and the first after it.
    edges: Vec<u32>,
}

impl Alphabet {
    /// The number of a character.
    pub(super) fn number(char: char) -> u32 {
        let code = u32::from(char);
        if code < SURROGATES.0 { code } else { code - SURROGATES.1 }
    }

    /// The character of a number.
    pub(super) fn char(number: u32) -> char {
        let code = if number < SURROGATES.0 { number } else { number + SURROGATES.1 };
        char::from_u32(code).unwrap_or_default()
    }

    /// The first number that stands for nothing.
    fn end(self) -> u32 {
        match self {
            Self::Bytes => 0x100,
            Self::Chars => Self::number(char::MAX) + 1,
        }
    }
}

impl Set {
    pub(super) fn one(number: u32) -> Self {
        Self::range(number, number)
    }

    /// From the first to the last, both included.
    pub(super) fn range(first: u32, last: u32) -> Self {
        Self { edges: vec![first, last + 1] }
    }

    /// The edges have to ascend.
    pub(super) fn from_edges(edges: &[u8]) -> Self {
        Self { edges: edges.iter().copied().map(u32::from).collect() }
    }

    /// The ranges, by their first and last number.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u32, u32)> {
        self.edges.chunks(2).filter_map(|range| if let [first, end] = range { Some((*first, end - 1)) } else { None })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// The number, if it is the only one.
    pub(super) fn single(&self) -> Option<u32> {
        if let [first, end] = *self.edges { (first + 1 == end).then_some(first) } else { None }
    }

    pub(super) fn is_ascii(&self) -> bool {
        self.edges.last().is_none_or(|end| *end <= 0x80)
    }

    /// The numbers for which `is_in` holds, given whether this set contains the number and whether the other does. It
    /// must not hold for what neither contains.
    pub(super) fn combine(&self, other: &Self, is_in: fn(bool, bool) -> bool) -> Self {
        let mut edges = Vec::new();
        let (mut ones, mut others) = (self.edges.iter().peekable(), other.edges.iter().peekable());
        let (mut in_one, mut in_other, mut in_result) = (false, false, false);
        while let Some(edge) = ones.peek().into_iter().chain(others.peek()).min().map(|edge| **edge) {
            in_one ^= ones.next_if_eq(&&edge).is_some();
            in_other ^= others.next_if_eq(&&edge).is_some();
            if in_result != is_in(in_one, in_other) {
                in_result = !in_result;
                edges.push(edge);
            }
        }
        Self { edges }
    }

    /// The numbers of all these sets, in `n log n` steps: a class may list any number of characters.
    pub(super) fn union(sets: &[Self]) -> Self {
        let mut ranges: Vec<(u32, u32)> = sets.iter().flat_map(Self::ranges).collect();
        order::sort(&mut ranges);
        let mut edges: Vec<u32> = Vec::new();
        for (first, last) in ranges {
            match edges.last_mut() {
                Some(end) if first <= *end => *end = (*end).max(last + 1),
                _ => edges.extend([first, last + 1]),
            }
        }
        Self { edges }
    }

    /// All of the alphabet that isn't in the set.
    pub(super) fn negated(&self, alphabet: Alphabet) -> Self {
        self.combine(&Self { edges: vec![0, alphabet.end()] }, |one, all| all && !one)
    }

    /// With both cases of each ASCII letter in it.
    pub(super) fn folded(&self) -> Self {
        let mut folded = self.clone();
        for (letters, other_case) in [(b"A[", 0x20_u32), (b"a{", 0_u32.wrapping_sub(0x20))] {
            let mut letters = self.combine(&Self::from_edges(letters), |one, letter| one && letter);
            letters.edges.iter_mut().for_each(|edge| *edge = edge.wrapping_add(other_case));
            folded = Self::union(&[folded, letters]);
        }
        folded
    }
}
