//! A regex as pieces, in a form that leads to few states: each rule that makes it smaller stands at a constructor.

use super::class::{Alphabet, Set};

/// A condition on the bytes around a position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Look {
    Start,
    End,
    /// A line ends at LF.
    LineStart,
    LineEnd,
    /// A line ends at LF, CR, or both.
    CrlfLineStart,
    CrlfLineEnd,
    /// ASCII letters, digits and `_` make words.
    WordBoundary,
    NotWordBoundary,
    WordStart,
    WordEnd,
    NotAfterWord,
    NotBeforeWord,
}

/// How often a piece repeats. Greedy or not makes no difference, because the whole path has to match.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Times {
    pub(super) min: u32,
    /// `None`: any number.
    pub(super) max: Option<u32>,
}

/// A part of a regex.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Empty,
    /// At least one byte.
    Literal(Vec<u8>),
    /// Not of a single number. No bytes: nothing matches.
    Class(Alphabet, Set),
    Look(Look),
    Repeat(Times, Box<Piece>),
    /// At least two, none of them empty or a concatenation, and no two literals side by side.
    Concat(Vec<Piece>),
    /// At least two, none of them an alternation.
    Alternation(Vec<Piece>),
}

impl Look {
    /// Whether it depends on which characters make words.
    pub(super) fn is_of_words(self) -> bool {
        !matches!(
            self,
            Self::Start | Self::End | Self::LineStart | Self::LineEnd | Self::CrlfLineStart | Self::CrlfLineEnd
        )
    }
}

impl Piece {
    pub(super) fn char(char: char) -> Self {
        Self::Literal(char.encode_utf8(&mut [0; 4]).as_bytes().to_vec())
    }

    pub(super) fn class(alphabet: Alphabet, set: Set) -> Self {
        match (alphabet, set.single()) {
            (Alphabet::Bytes, Some(byte)) => Self::Literal(vec![u8::try_from(byte).unwrap_or_default()]),
            (Alphabet::Chars, Some(number)) => Self::char(Alphabet::char(number)),
            (_, None) if set.is_empty() => Self::Class(Alphabet::Bytes, set),
            (_, None) => Self::Class(alphabet, set),
        }
    }

    pub(super) fn repeat(mut times: Times, piece: Self) -> Self {
        if piece.consumes_nothing() {
            times.min = times.min.min(1);
            times.max = Some(times.max.map_or(1, |max| max.min(1)));
        }
        match (times.min, times.max) {
            (0, Some(0)) => Self::Empty,
            (1, Some(1)) => piece,
            _ => Self::Repeat(times, Box::new(piece)),
        }
    }

    fn consumes_nothing(&self) -> bool {
        match self {
            Self::Empty | Self::Look(_) => true,
            Self::Literal(_) | Self::Class(..) => false,
            Self::Repeat(_, piece) => piece.consumes_nothing(),
            Self::Concat(pieces) | Self::Alternation(pieces) => pieces.iter().all(Self::consumes_nothing),
        }
    }

    pub(super) fn concat(mut pieces: Vec<Self>) -> Self {
        match pieces.pop() {
            None => Self::Empty,
            Some(piece) if pieces.is_empty() => piece,
            Some(piece) => {
                pieces.push(piece);
                Self::Concat(pieces)
            }
        }
    }

    /// Appends it to the pieces of a concatenation.
    pub(super) fn append_to(self, pieces: &mut Vec<Self>) {
        match (self, pieces.last_mut()) {
            (Self::Empty, _) => {}
            (Self::Literal(bytes), Some(Self::Literal(before))) => before.extend_from_slice(&bytes),
            (Self::Concat(more), _) => more.into_iter().for_each(|piece| piece.append_to(pieces)),
            (piece, _) => pieces.push(piece),
        }
    }

    /// Appends it to the pieces of an alternation.
    pub(super) fn add_to(self, pieces: &mut Vec<Self>) {
        match self {
            Self::Alternation(mut more) => pieces.append(&mut more),
            piece => pieces.push(piece),
        }
    }

    /// At least two pieces, none of them an alternation.
    pub(super) fn alternation(pieces: Vec<Self>) -> Self {
        let are_literals = matches!(pieces.first(), Some(Self::Literal(_)));
        for alphabet in [Alphabet::Chars, Alphabet::Bytes] {
            let sets: Option<Vec<Set>> = pieces.iter().map(|piece| piece.as_set(alphabet, are_literals)).collect();
            if let Some(sets) = sets {
                return Self::class(alphabet, Set::union(&sets));
            }
        }
        Self::without_common_beginning(pieces)
    }

    /// The literal of one byte or character, or else the class, as a set of this alphabet.
    fn as_set(&self, alphabet: Alphabet, is_literal: bool) -> Option<Set> {
        match self {
            Self::Literal(bytes) if is_literal => match (alphabet, &**bytes) {
                (Alphabet::Bytes, [byte]) => Some(Set::one(u32::from(*byte))),
                (Alphabet::Bytes, _) => None,
                (Alphabet::Chars, bytes) => {
                    let mut chars = std::str::from_utf8(bytes).ok()?.chars();
                    chars.next().filter(|_| chars.next().is_none()).map(|char| Set::one(Alphabet::number(char)))
                }
            },
            Self::Class(own, set) if !is_literal => (*own == alphabet || set.is_ascii()).then(|| set.clone()),
            _ => None,
        }
    }

    fn part(&self, index: usize) -> Option<&Self> {
        if let Self::Concat(parts) = self { parts.get(index) } else { None }
    }

    /// What all pieces begin with comes before the alternation. Looks at whole parts of concatenations.
    fn without_common_beginning(pieces: Vec<Self>) -> Self {
        let is_common = |index: &usize| {
            let mut parts = pieces.iter().map(|piece| piece.part(*index));
            parts.next().flatten().is_some_and(|first| parts.all(|part| part == Some(first)))
        };
        let common = (0..).take_while(is_common).count();
        if common == 0 {
            return Self::Alternation(pieces);
        }
        let mut beginning = Vec::new();
        let mut ends = Vec::new();
        for piece in pieces {
            if let Self::Concat(mut parts) = piece {
                Self::concat(parts.split_off(common)).add_to(&mut ends);
                beginning = parts;
            }
        }
        Self::alternation(ends).append_to(&mut beginning);
        Self::concat(beginning)
    }
}
