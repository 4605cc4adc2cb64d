//! Reads a regex: the syntax is that of Rust's `regex` crate, on bytes, without the tables of Unicode.
//!
//! The crate `regex-syntax` reads the syntax tree. Its next step isn't used, because that one is large and would add
//! the code for tables that the module doesn't contain.

use regex_syntax::ast::{self, AssertionKind, Ast, ClassAsciiKind, ClassPerlKind, ClassSet, ClassSetItem};

use super::class::{Alphabet, Set};
use super::piece::{Look, Piece, Times};

/// Why a regex that the syntax permits is refused.
type Unsupported = &'static str;

const NOT_A_BYTE: Unsupported =
    "a class matches one byte, so it can't contain é and the like: write (?u:…) around the class";
const PROPERTY: Unsupported =
    r"Unicode properties like \p{L} are not supported: write a class of the characters, as in (?u:[a-zß-ÿ])";
const PERL_CLASS: Unsupported =
    r"the classes \d, \s and \w of Unicode are not supported: write (?-u:…) around the class";
const CASES: Unsupported =
    "the letter case of Unicode can't be ignored: write both cases of letters outside ASCII, as in (?i:a)(?u-i:[éÉ])";
const WORD_BOUNDARY: Unsupported =
    r"Unicode word boundaries like \b are not supported: write (?-u:…) around the boundary";

/// Reads a regex. The error says what is wrong with it.
pub(super) fn read(regex: &str) -> Result<Piece, String> {
    let tree = ast::parse::Parser::new().parse(regex);
    let tree = tree.map_err(|error| format!("{regex:?} is not a valid regular expression: {}", error.kind()))?;
    Translator::default().piece(&tree).map_err(|fault| format!("{regex:?} can't be used: {fault}"))
}

/// The flags in force.
#[derive(Clone, Copy, Default)]
struct Flags {
    ignores_case: bool,
    is_multi_line: bool,
    dot_matches_all: bool,
    is_unicode: bool,
    is_crlf: bool,
}

#[derive(Default)]
struct Translator {
    flags: Flags,
}

impl Translator {
    fn alphabet(&self) -> Alphabet {
        if self.flags.is_unicode { Alphabet::Chars } else { Alphabet::Bytes }
    }

    fn piece(&mut self, tree: &Ast) -> Result<Piece, Unsupported> {
        Ok(match tree {
            Ast::Empty(_) => Piece::Empty,
            Ast::Flags(set) => {
                self.set(&set.flags);
                Piece::Empty
            }
            Ast::Literal(literal) => self.literal(literal)?,
            Ast::Dot(_) => Piece::class(self.alphabet(), self.dot()),
            Ast::Assertion(assertion) => Piece::Look(self.look(&assertion.kind)?),
            Ast::ClassUnicode(_) => return Err(PROPERTY),
            Ast::ClassPerl(class) => Piece::class(self.alphabet(), self.perl_class(class)?),
            Ast::ClassBracketed(class) => Piece::class(self.alphabet(), self.class(class)?),
            Ast::Repetition(repetition) => self.repetition(repetition)?,
            Ast::Group(group) => self.group(group)?,
            Ast::Alternation(alternation) => {
                let mut pieces = Vec::new();
                for tree in &alternation.asts {
                    self.piece(tree)?.add_to(&mut pieces);
                }
                Piece::alternation(pieces)
            }
            Ast::Concat(concat) => {
                let mut pieces = Vec::new();
                for tree in &concat.asts {
                    self.piece(tree)?.append_to(&mut pieces);
                }
                Piece::concat(pieces)
            }
        })
    }

    fn set(&mut self, flags: &ast::Flags) {
        let mut value = true;
        for item in &flags.items {
            let ast::FlagsItemKind::Flag(flag) = item.kind else {
                value = false;
                continue;
            };
            let own = match flag {
                ast::Flag::CaseInsensitive => &mut self.flags.ignores_case,
                ast::Flag::MultiLine => &mut self.flags.is_multi_line,
                ast::Flag::DotMatchesNewLine => &mut self.flags.dot_matches_all,
                ast::Flag::Unicode => &mut self.flags.is_unicode,
                ast::Flag::CRLF => &mut self.flags.is_crlf,
                // The syntax tree is already without the spaces.
                ast::Flag::IgnoreWhitespace | ast::Flag::SwapGreed => continue,
            };
            *own = value;
        }
    }

    fn literal(&self, literal: &ast::Literal) -> Result<Piece, Unsupported> {
        let char = literal.c;
        if self.flags.is_unicode {
            return if self.flags.ignores_case { Err(CASES) } else { Ok(Piece::char(char)) };
        }
        Ok(match literal.byte() {
            Some(byte) if !byte.is_ascii() => Piece::Literal(vec![byte]),
            _ if self.flags.ignores_case && char.is_ascii_alphabetic() => {
                Piece::class(Alphabet::Bytes, Set::one(u32::from(char)).folded())
            }
            _ => Piece::char(char),
        })
    }

    fn dot(&self) -> Set {
        let none = match self.flags {
            Flags { dot_matches_all: true, .. } => Set::default(),
            Flags { is_crlf: true, .. } => Set::from_edges(b"\n\x0b\r\x0e"),
            _ => Set::from_edges(b"\n\x0b"),
        };
        none.negated(self.alphabet())
    }

    fn look(&self, kind: &AssertionKind) -> Result<Look, Unsupported> {
        let Flags { is_multi_line, is_crlf, .. } = self.flags;
        let look = match kind {
            AssertionKind::StartLine if is_multi_line && is_crlf => Look::CrlfLineStart,
            AssertionKind::StartLine if is_multi_line => Look::LineStart,
            AssertionKind::StartLine | AssertionKind::StartText => Look::Start,
            AssertionKind::EndLine if is_multi_line && is_crlf => Look::CrlfLineEnd,
            AssertionKind::EndLine if is_multi_line => Look::LineEnd,
            AssertionKind::EndLine | AssertionKind::EndText => Look::End,
            AssertionKind::WordBoundary => Look::WordBoundary,
            AssertionKind::NotWordBoundary => Look::NotWordBoundary,
            AssertionKind::WordBoundaryStart | AssertionKind::WordBoundaryStartAngle => Look::WordStart,
            AssertionKind::WordBoundaryEnd | AssertionKind::WordBoundaryEndAngle => Look::WordEnd,
            AssertionKind::WordBoundaryStartHalf => Look::NotAfterWord,
            AssertionKind::WordBoundaryEndHalf => Look::NotBeforeWord,
        };
        if self.flags.is_unicode && look.is_of_words() { Err(WORD_BOUNDARY) } else { Ok(look) }
    }

    fn repetition(&mut self, repetition: &ast::Repetition) -> Result<Piece, Unsupported> {
        let (min, max) = match repetition.op.kind {
            ast::RepetitionKind::ZeroOrOne => (0, Some(1)),
            ast::RepetitionKind::ZeroOrMore => (0, None),
            ast::RepetitionKind::OneOrMore => (1, None),
            ast::RepetitionKind::Range(ast::RepetitionRange::Exactly(times)) => (times, Some(times)),
            ast::RepetitionKind::Range(ast::RepetitionRange::AtLeast(min)) => (min, None),
            ast::RepetitionKind::Range(ast::RepetitionRange::Bounded(min, max)) => (min, Some(max)),
        };
        Ok(Piece::repeat(Times { min, max }, self.piece(&repetition.ast)?))
    }

    fn group(&mut self, group: &ast::Group) -> Result<Piece, Unsupported> {
        let outside = self.flags;
        group.flags().into_iter().for_each(|flags| self.set(flags));
        let piece = self.piece(&group.ast);
        self.flags = outside;
        piece
    }

    fn perl_class(&self, class: &ast::ClassPerl) -> Result<Set, Unsupported> {
        if self.flags.is_unicode {
            return Err(PERL_CLASS);
        }
        let set = ascii(match class.kind {
            ClassPerlKind::Digit => &ClassAsciiKind::Digit,
            ClassPerlKind::Space => &ClassAsciiKind::Space,
            ClassPerlKind::Word => &ClassAsciiKind::Word,
        });
        Ok(self.negated_if(class.negated, set))
    }

    fn class(&self, class: &ast::ClassBracketed) -> Result<Set, Unsupported> {
        Ok(self.negated_if(class.negated, self.folded(self.class_set(&class.kind)?)))
    }

    fn negated_if(&self, is_negated: bool, set: Set) -> Set {
        if is_negated { set.negated(self.alphabet()) } else { set }
    }

    /// A class of Unicode that contains anything has already been refused if the case makes no difference.
    fn folded(&self, set: Set) -> Set {
        if self.flags.ignores_case && !self.flags.is_unicode { set.folded() } else { set }
    }

    fn class_set(&self, set: &ClassSet) -> Result<Set, Unsupported> {
        let operation = match set {
            ClassSet::Item(item) => return self.class_item(item),
            ClassSet::BinaryOp(operation) => operation,
        };
        let first = self.folded(self.class_set(&operation.lhs)?);
        let second = self.folded(self.class_set(&operation.rhs)?);
        let is_in: fn(bool, bool) -> bool = match operation.kind {
            ast::ClassSetBinaryOpKind::Intersection => |first, second| first && second,
            ast::ClassSetBinaryOpKind::Difference => |first, second| first && !second,
            ast::ClassSetBinaryOpKind::SymmetricDifference => |first, second| first != second,
        };
        Ok(first.combine(&second, is_in))
    }

    fn class_item(&self, item: &ClassSetItem) -> Result<Set, Unsupported> {
        Ok(match item {
            ClassSetItem::Empty(_) => Set::default(),
            ClassSetItem::Literal(literal) => Set::one(self.class_literal(literal)?),
            ClassSetItem::Range(range) => {
                Set::range(self.class_literal(&range.start)?, self.class_literal(&range.end)?)
            }
            ClassSetItem::Ascii(_) if self.ignores_unicode_case() => return Err(CASES),
            ClassSetItem::Ascii(class) => self.negated_if(class.negated, self.folded(ascii(&class.kind))),
            ClassSetItem::Unicode(_) => return Err(PROPERTY),
            ClassSetItem::Perl(class) => self.perl_class(class)?,
            ClassSetItem::Bracketed(class) => self.class(class)?,
            ClassSetItem::Union(union) => {
                let sets: Result<Vec<Set>, Unsupported> =
                    union.items.iter().map(|item| self.class_item(item)).collect();
                Set::union(&sets?)
            }
        })
    }

    fn ignores_unicode_case(&self) -> bool {
        self.flags.ignores_case && self.flags.is_unicode
    }

    fn class_literal(&self, literal: &ast::Literal) -> Result<u32, Unsupported> {
        match literal.byte() {
            _ if self.ignores_unicode_case() => Err(CASES),
            _ if self.flags.is_unicode => Ok(Alphabet::number(literal.c)),
            Some(byte) => Ok(u32::from(byte)),
            None if literal.c.is_ascii() => Ok(u32::from(literal.c)),
            None => Err(NOT_A_BYTE),
        }
    }
}

/// The first byte of each range, and the first after it.
fn ascii(class: &ClassAsciiKind) -> Set {
    Set::from_edges(match class {
        ClassAsciiKind::Alnum => b"0:A[a{",
        ClassAsciiKind::Alpha => b"A[a{",
        ClassAsciiKind::Ascii => b"\0\x80",
        ClassAsciiKind::Blank => b"\t\n !",
        ClassAsciiKind::Cntrl => b"\0 \x7f\x80",
        ClassAsciiKind::Digit => b"0:",
        ClassAsciiKind::Graph => b"!\x7f",
        ClassAsciiKind::Lower => b"a{",
        ClassAsciiKind::Print => b" \x7f",
        ClassAsciiKind::Punct => b"!0:A[a{\x7f",
        ClassAsciiKind::Space => b"\t\x0e !",
        ClassAsciiKind::Upper => b"A[",
        ClassAsciiKind::Word => b"0:A[_`a{",
        ClassAsciiKind::Xdigit => b"0:AGag",
    })
}

#[cfg(test)]
mod tests;
