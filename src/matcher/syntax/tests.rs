//! Compares what is read with what `regex-syntax` itself makes of a regex, and what matches with another engine.

mod generated;

use regex_automata::nfa::thompson::{NFA, pikevm::PikeVM};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind, Look as HirLook, translate::TranslatorBuilder};

use super::*;
use crate::matcher::regex::{Regex, Threads};
use crate::path::Budget;

/// What `regex-syntax` makes of a regex without its captures and without its preferences among matches, or its fault.
fn hir(regex: &str) -> Result<Hir, String> {
    let last = |error: String| error.rsplit("error: ").next().unwrap_or_default().to_owned();
    let mut tree = ast::parse::Parser::new().parse(regex).map_err(|error| last(error.to_string()))?;
    simplify(&mut tree);
    let mut translator = TranslatorBuilder::new().unicode(false).utf8(false).build();
    let hir = translator.translate(regex, &tree).map_err(|error| last(error.to_string()))?;
    if hir.properties().look_set().contains_word_unicode() { Err(WORD_BOUNDARY.to_owned()) } else { Ok(hir) }
}

/// Takes away what makes no difference because the whole path has to match.
fn simplify(tree: &mut Ast) {
    let greedy_as_before = |flags: &mut ast::Flags| {
        let swaps_greed = |item: &ast::FlagsItem| item.kind == ast::FlagsItemKind::Flag(ast::Flag::SwapGreed);
        flags.items.retain(|item| !swaps_greed(item));
    };
    match tree {
        Ast::Flags(set) => greedy_as_before(&mut set.flags),
        Ast::Repetition(repetition) => {
            repetition.greedy = true;
            simplify(&mut repetition.ast);
        }
        Ast::Group(group) => {
            match &mut group.kind {
                ast::GroupKind::NonCapturing(flags) => greedy_as_before(flags),
                kind => *kind = ast::GroupKind::NonCapturing(ast::Flags { span: group.span, items: Vec::new() }),
            }
            simplify(&mut group.ast);
        }
        Ast::Alternation(alternation) => alternation.asts.iter_mut().for_each(simplify),
        Ast::Concat(concat) => concat.asts.iter_mut().for_each(simplify),
        _ => {}
    }
}

/// The same pieces, one for one.
fn piece(hir: &Hir) -> Piece {
    let all = |parts: &[Hir]| parts.iter().map(piece).collect();
    match hir.kind() {
        HirKind::Empty => Piece::Empty,
        HirKind::Literal(literal) => Piece::Literal(literal.0.to_vec()),
        HirKind::Class(Class::Bytes(class)) => {
            let ranges = class.iter().map(|range| Set::range(range.start().into(), range.end().into()));
            Piece::Class(Alphabet::Bytes, Set::union(&ranges.collect::<Vec<_>>()))
        }
        HirKind::Class(Class::Unicode(class)) => {
            let range = |first, last| Set::range(Alphabet::number(first), Alphabet::number(last));
            let ranges = class.iter().map(|both| range(both.start(), both.end()));
            Piece::Class(Alphabet::Chars, Set::union(&ranges.collect::<Vec<_>>()))
        }
        HirKind::Look(condition) => Piece::Look(look(*condition)),
        HirKind::Repetition(repetition) => {
            let times = Times { min: repetition.min, max: repetition.max };
            Piece::Repeat(times, Box::new(piece(&repetition.sub)))
        }
        HirKind::Capture(_) => panic!("{hir:?} has captures"),
        HirKind::Concat(parts) => Piece::Concat(all(parts)),
        HirKind::Alternation(parts) => Piece::Alternation(all(parts)),
    }
}

fn look(look: HirLook) -> Look {
    match look {
        HirLook::Start => Look::Start,
        HirLook::End => Look::End,
        HirLook::StartLF => Look::LineStart,
        HirLook::EndLF => Look::LineEnd,
        HirLook::StartCRLF => Look::CrlfLineStart,
        HirLook::EndCRLF => Look::CrlfLineEnd,
        HirLook::WordAscii => Look::WordBoundary,
        HirLook::WordAsciiNegate => Look::NotWordBoundary,
        HirLook::WordStartAscii => Look::WordStart,
        HirLook::WordEndAscii => Look::WordEnd,
        HirLook::WordStartHalfAscii => Look::NotAfterWord,
        HirLook::WordEndHalfAscii => Look::NotBeforeWord,
        other => panic!("{other:?} is refused"),
    }
}

/// Checks that both read the same, or refuse it for the same reason. Returns what was read.
fn compare(regex: &str) -> Option<Piece> {
    let fault = match (read(regex), hir(regex)) {
        (Ok(own), Ok(hir)) => {
            assert_eq!(own, piece(&hir), "{regex}");
            return Some(own);
        }
        (Err(fault), other) => {
            let other = other.map(|hir| piece(&hir));
            let needs_tables = [PROPERTY, PERL_CLASS, CASES, WORD_BOUNDARY, NOT_A_BYTE]
                .into_iter()
                .find(|needs| fault.ends_with(needs));
            // Another crate of the same build can ask for the tables.
            let tables = needs_tables.filter(|_| hir(r"(?u)\w").is_ok());
            match (needs_tables, other) {
                (Some(_), Err(other)) => assert!(other.contains("Unicode"), "{regex}: {fault}, not {other}"),
                (None, Err(other)) => assert!(fault.ends_with(&other), "{regex}: {fault}, not {other}"),
                // What repeats no time is no longer in the regex of `regex-syntax`.
                (Some(WORD_BOUNDARY), Ok(_)) if regex.contains("{0") => {}
                (_, Ok(other)) => assert!(tables.is_some(), "{regex}: {fault}, not {other:?}"),
            }
            fault
        }
        (Ok(own), Err(fault)) => panic!("{regex}: {own:?}, not {fault}"),
    };
    assert!(Regex::new(regex).is_err_and(|error| error == fault));
    None
}

/// Checks that both match the same of these paths. Returns how many matched.
fn compare_matches(regex: &str, paths: &[Vec<u8>]) -> usize {
    let hir = ParserBuilder::new().unicode(false).utf8(false).build().parse(regex).unwrap();
    let whole = Hir::concat(vec![Hir::look(HirLook::Start), hir, Hir::look(HirLook::End)]);
    let nfa = NFA::compiler().configure(NFA::config().utf8(false)).build_from_hir(&whole).unwrap();
    let other = PikeVM::new_from_nfa(nfa).unwrap();
    let mut cache = other.create_cache();
    let (own, mut threads) = (Regex::new(regex).unwrap(), Threads::default());
    let matches = |path: &&Vec<u8>| {
        let found = own.matches(path, &mut threads, &mut Budget::default()).unwrap();
        assert_eq!(found, other.is_match(&mut cache, path.as_slice()), "{regex} {}", path.escape_ascii());
        found
    };
    paths.iter().filter(matches).count()
}

/// Every construct, with each flag that it depends on.
#[rustfmt::skip]
const ACCEPTED: &[&str] = &[
    // Literals and their escapes.
    "", "a", "/api/v1", "é", "/é/ü", r"\.", r"\/\-\~", r"\x41", r"\xE9", r"\xff", r"\x{41}", r"\x{e9}", r"\u0041",
    r"\u00E9", r"\U000000E9", r"\u{1F600}", r"\a\f\t\n\r\v", r"\ ", r"(?u)é", r"(?u)\xE9", r"(?u:\x{D7FF}\x{E000})",
    // Without regard to case.
    "(?i)a", "(?i)/Ab1", "(?i)é", r"(?i)\xE9", r"(?i)\x41", "(?i)k", "a(?i)b", "(?i:a)b", "(?i)a(?-i)b", "(?i)a(?-i:b)c",
    // Flags that last to the end of their group, over alternatives.
    "a(?i)b|c", "(a(?i)b|c)d", "(?:a|(?i)b)c|b", "((?i))a", "(?i-s)a.", "(?s-i)a.", "(?imsUxR)a", "(?-imsUxuR)a", "(?imsUx-uR:a)",
    "(?isU)a.", "(?x) a b # comment\n c", "(?x)[ a b ]", r"(?x)a\ b", "(?x: a )b ", "(?u)(?-u)\\d",
    // Any byte, any character.
    ".", "(?s).", "(?R).", "(?sR).", "(?u).", "(?su).", "(?uR).", "(?suR).", "a.b", "(?-s).",
    // Classes.
    "[a]", "[ab]", "[a-c]", "[^a]", "[^a-c]", "[a-cb-e]", "[]a]", "[^]a]", "[-a]", "[a-]", "[a-a]", r"[\]\-\\]",
    r"[\x00-\xff]", r"[^\x00-\xff]", r"[^\x00-\xff]|a", r"[\x80-\xff]", r"[\n-\r]", "[a&]", "[a~]", "[^^]", "[/-9]",
    "(?i)[a]", "(?i)[^a]", "(?i)[a-c]", "(?i)[^a-c]", "(?i)[Z-a]", r"(?i)[\xE0-\xFF]", "(?u)[é]", "(?u)[^é]", "(?u)[a-é]",
    r"(?u)[\x{D7FF}-\x{E000}]", r"(?u)[^\x00-\x{10FFFF}]", r"(?u)[\x00-\x{10FFFF}]", "(?u)[é-ü&&[^ö]]", "(?u)[a-c]",
    r"(?u)[\x{0}-\x{D7FF}]", r"(?u)[^\x{0}-\x{D7FF}]", r"(?u)[\x{0}-\x{D7FF}\x{E000}-\x{10FFFF}]", "(?u)[^/]+",
    // Classes of ASCII and of Perl.
    "[[:alnum:]]", "[[:alpha:]]", "[[:ascii:]]", "[[:blank:]]", "[[:cntrl:]]", "[[:digit:]]", "[[:graph:]]", "[[:lower:]]",
    "[[:print:]]", "[[:punct:]]", "[[:space:]]", "[[:upper:]]", "[[:word:]]", "[[:xdigit:]]", "[[:^alnum:]]", "[^[:alpha:]]",
    "[^[:^alpha:]]", "(?i)[[:lower:]]", "(?i)[[:^lower:]]", "(?i)[^[:upper:]]", "(?u)[[:alpha:]]", "(?u)[[:^alpha:]]",
    "[[:foo:]]", "[:alpha:]", r"\d", r"\D", r"\s", r"\S", r"\w", r"\W", r"[\d]", r"[^\d]", r"[\D]", r"[^\W]", r"[\w-]",
    r"[a\d/]", r"(?i)\w", r"(?i)[^\W]", r"(?i)[^\d]", r"[\s\S]",
    // Operations on classes.
    "[a-z&&[^b]]", "[a-z&&b-d]", "[a-z--[b-d]]", "[a-g~~c-k]", "[a-z&&[a-m]&&[^c]]", "[a-z--b--d]", "[a&&b]", "[^a&&b]",
    "[a-z&&]", "[&&a]", "[&&]", "[^&&]", "[--]", "[a[b[c]]]", "[a[^b]]", "[^a[b]]", "[[a-z]--[aeiou]]x", "(?i)[a-z&&K]",
    "(?i)[a-z--[Bb]]", "(?i)[a--B]", "(?i)[a-c~~B]", "(?i)[^a-z&&[^K]]", r"[\w--\d]", r"[\w&&[^\d_]]", "(?iu)[&&]",
    "(?iu)[^&&]", "(?u)[a-z--é]", "[a~~a]", "[0-9--4]", "(?i)[^[^a]]", "[[^a]&&[^b]]",
    // Repetitions.
    "a?", "a*", "a+", "a??", "a*?", "a+?", "a{2}", "a{2}?", "a{0}", "a{0}b", "a{1}", "a{0,0}", "a{0,1}", "a{1,1}", "a{2,}",
    "a{0,}", "a{1,}", "a{2,4}", "a{2,4}?", "a{ 2 , 3 }", "(?U)a*", "(?U)a*?", "(?U)a{2,3}", "(?:a|b)*", "(ab)+", "(a*)*",
    "a**", "(?:a{2}){3}", "a{2}{3}", "(){5}", "(?:){1000000}", "^{1000000}", "(?:^|$){3,}", "(?:^*a)+", "(?:(?:^)?){7}", "x{0}*",
    r"\b{3}", "(?:a?){3}", "[ab]{2}", ".{3}", "[^\\x00-\\xff]{0}", "[^\\x00-\\xff]*", "(){0}", "(?u:é){2}", "(?x)a {2}",
    // Groups.
    "()", "(a)", "(?:a)", "(?:)", "(?P<n>a)", "(?<n>a)b", "((a)(b))", "(?:(?:a)b)c", "(a)(?:b)", "a(?:)b", "(?i:(a)b)",
    // Alternatives.
    "a|b", "a|b|c", "a|bc", "ab|cd", "|", "a|", "|a", "a||b", "(?:a|b)|c", "(?:ab|cd)|ef", "(a|b)|c", "a|[b-d]", "[a-c]|[x-z]",
    "é|ü", "é|a", r"\xE9|a", r"\xE9|é", "(?u)é|[ü-ÿ]", "(?u:[é-ü])|[a-c]", r"(?u:[a-c])|[\x80-\xff]", r"(?u:[é-ü])|[\x80-\xff]",
    r"[^\x00-\xff]|[ab]", "aa|aa", "a|a", "(?i)a|b", "(?i:a|b)|c", r"a\d|a\w", r"ab\d|ab\w|ab\s", r"ab\d|ac\d", r"\da|\db",
    r"\da|\dbc|\d", r"\dab|\dac|\dad", r"\d(?:a|b)|\dc", r"a\dc|a\d[de]|a\d", r"\da*x|\da*y", r"\da*x|\da*?y", r"\d(a)x|\d(a)y",
    r"x\dy|(?:x\dy)", r"\d^a|\d^b", r"\d\d|\d\d", r"(?:\da|\db)|\dc", r"\dab|\da", "/foo/.*|/foo/bar/.*", "/a/.+|/b/.+",
    // Conditions.
    "^", "$", "^a$", r"\A", r"\z", r"\Aa\z", "(?m)^", "(?m)$", "(?mR)^", "(?mR)$", "(?R)^a$", r"(?m)\Aa\z", r"\b", r"\B",
    r"\b{start}", r"\b{end}", r"\b{start-half}", r"\b{end-half}", r"\<", r"\>", r"a\b/", r"(?i)\ba", r"(?u)(?-u:\b)a", "(?u)^é$",
    "(?m:^)a(?-m:$)", "(?ms)^.*$.^b$",
];

/// What is refused, by what it depends on.
#[rustfmt::skip]
const REFUSED: &[&str] = &[
    // The syntax.
    "(", ")", "(a", "a)", "[", "[a", "[]", "[^]", "[a-", "[b-a]", r"[\d-a]", r"[a-\d]", "*", "+a", "?", "a|*", "(*)", "{2}", "^(?i)*",
    "a{", "a{2", "a{,3}", "a{3,2}", "a{x}", "a{99999999999}", "(?", "(?i", "(?z)", "(?ii)", "(?-)", "(?i-)", "(?i-i)", "(?i--s)",
    "(?P<", "(?P<>a)", "(?P<1>a)", "(?P<n>a)(?P<n>b)", "(?<n", "(?=a)", "(?!a)", "(?<=a)", "(?<!a)", r"\", r"\1", r"\0", r"\8", r"\e", r"\y",
    r"\x", r"\xg1", r"\x4", r"\x{}", r"\x{110000}", r"\x{D800}", r"\x{zz}", r"\u12", r"\U1234", r"\b{", r"\b{foo}", r"\b{sta", r"[\b]", r"[\A]",
    r"\p", r"\p{", r"\p{L", r"\Z", r"\h", "[[:alpha:]", "[a&&", "[a--", "(?x) ( # a\n", "a\n(", "a\n[b\n", "error: (",
    // Unicode where it is off.
    "[é]", "[a-é]", r"[\x{e9}]", r"[\u00E9]", r"(?i)[é]", r"\pL", r"\p{L}", r"\p{any}", r"\PL", r"[\pL]", r"[^\p{Greek}]", r"\p{sc=Greek}", r"(?u)(?-u:[é])",
    // The tables of Unicode.
    r"(?u)\d", r"(?u)\D", r"(?u)\s", r"(?u)\w", r"(?u)[\w]", r"(?u)[^\W]", r"(?u)\pL", r"(?u)\p{L}", r"(?u)\p{Greek}", r"(?u)\p{sc=Greek}",
    r"(?u)\p{gc!=L}", r"(?u)\p{cf}", r"(?u)\p{sc}", r"(?u)\p{lc}", r"(?u)\P{any}", r"(?u)[\p{L}a]", r"(?u)\p{foo}", "(?iu)a", "(?iu)é", "(?iu)/",
    "(?iu)[a]", "(?iu)[^a]", "(?iu)[a-é]", "(?iu)[[:alpha:]]", "(?iu)[a&&b]", "(?iu)[é--ü]", "(?i)a(?u)b", r"(?iu)[\d]", "(?iu:a){0}", r"(?u:\d){0}",
    r"(?u)\b", r"(?u)\B", r"(?u)\b{start}", r"(?u)\b{end}", r"(?u)\b{start-half}", r"(?u)\b{end-half}", r"(?u)\<", r"(?u)\>", r"(?u:\b)?", r"(?u:\b{0}\B)a",
    r"a|(?u:\b)", r"(?u:\b(?:\b){0})", r"(?u:\b){0}a", r"(?u:a\b|b){0,0}", r"(?u)\ba\d", r"(?u)\b[a",
];

#[test]
fn each_construct_means_what_it_means_in_the_regex_crate() {
    let alphabet: Vec<&[u8]> =
        [b"a", b"B", b"c", b"1", b"_", b"/", b" ", b"\r", b"\n", b"\xe9", b"\xff"].map(|byte| &byte[..]).to_vec();
    let alphabet: Vec<&[u8]> = alphabet.into_iter().chain(["é", "ü", "\u{d7ff}", "ab"].map(str::as_bytes)).collect();
    let mut paths = vec![Vec::new()];
    for one in &alphabet {
        paths.push(one.to_vec());
        paths.extend(alphabet.iter().map(|other| [*one, *other].concat()));
        paths.extend(alphabet.iter().map(|other| [*one, b"a", *other, b"c"].concat()));
    }
    let matches = |regex: &&str| {
        assert!(compare(regex).is_some(), "{regex}");
        compare_matches(regex, &paths) > 0
    };
    // Some match none of these paths, or nothing at all.
    let matching = ACCEPTED.iter().filter(|regex| matches(regex)).count();
    assert!(matching * 4 > ACCEPTED.len() * 3, "{matching} of {}", ACCEPTED.len());
}

#[test]
fn what_the_regex_crate_refuses_is_refused_for_the_same_reason() {
    for regex in REFUSED {
        assert!(compare(regex).is_none(), "{regex}");
    }
    for (open, close, most) in
        [("(", ")", 250), ("(?:b", ")", 125), ("[", "]", 250), ("[^", "]", 250), ("[a&&[", "]]", 83)]
    {
        let nested = |depth| format!("{}a{}", open.repeat(depth), close.repeat(depth));
        assert!(compare(&nested(most)).is_some(), "{open}");
        assert!(compare(&nested(most + 1)).is_none(), "{open}");
    }
}

/// Here `regex-syntax` excludes neither: it takes the gap between them for the range from the one to the other.
#[test]
fn the_characters_next_to_the_surrogates_can_be_excluded() {
    let none = Piece::Class(Alphabet::Bytes, Set::default());
    assert_eq!(read(r"(?u)[^\x{0}-\x{D7FF}\x{E000}-\x{10FFFF}]"), Ok(none));
    let others = Set::range(0xd7ff, 0xd800).negated(Alphabet::Chars);
    assert_eq!(read(r"(?u)[^\x{D7FF}\x{E000}]"), Ok(Piece::Class(Alphabet::Chars, others)));
}

#[test]
fn what_is_not_supported_has_advice() {
    for (regex, fault) in [
        (r"/(?u)\d", format!("can't be used: {PERL_CLASS}")),
        (r"/(?u)\p{L}", format!("can't be used: {PROPERTY}")),
        ("(?iu)/a", format!("can't be used: {CASES}")),
        (r"/a(?u)\b", format!("can't be used: {WORD_BOUNDARY}")),
        ("/[é]", format!("can't be used: {NOT_A_BYTE}")),
        (r"/\p{L}", format!("can't be used: {PROPERTY}")),
        ("/a(b", "is not a valid regular expression: unclosed group".to_owned()),
    ] {
        assert_eq!(read(regex), Err(format!("{regex:?} {fault}")));
    }
}

/// Steps that grow with the square of their number would take minutes.
#[test]
fn many_characters_are_read_in_few_steps() {
    let characters = || (0..50_000).filter_map(|number| char::from_u32(0x1_0000 + 2 * number));
    let class = format!("(?u)/[{}&&\u{10002}a]", characters().rev().collect::<String>());
    let alternation = characters().map(String::from).collect::<Vec<_>>().join("|");
    let Piece::Literal(bytes) = read(&class).unwrap() else { panic!("one character is left") };
    assert_eq!(bytes, "/\u{10002}".as_bytes());
    let Piece::Class(Alphabet::Chars, set) = read(&alternation).unwrap() else { panic!("a class") };
    assert_eq!(set.ranges().count(), 50_000);
}
