//! Regexes and paths from a generator that makes the same ones in each run.

use super::*;

struct Random(fastrand::Rng);

impl Random {
    fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0.usize(..limit)
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn joined(&mut self, separator: &str, most: usize, part: impl Fn(&mut Self) -> String) -> String {
        let parts: Vec<String> = (0..1 + self.below(most)).map(|_| part(self)).collect();
        parts.join(separator)
    }

    fn regex(&mut self, depth: usize) -> String {
        let most = [1, 1, 1, 2, 3][self.below(5)];
        self.joined("|", most, |random| random.concat(depth))
    }

    fn concat(&mut self, depth: usize) -> String {
        match self.below(12) {
            0 => String::new(),
            // The same beginning makes alternatives that can share it.
            1..=3 => format!("a[b1]{}", self.repeated(depth)),
            _ => self.joined("", 4, |random| random.repeated(depth)),
        }
    }

    fn repeated(&mut self, depth: usize) -> String {
        const TIMES: [&str; 13] =
            ["?", "*", "+", "??", "*?", "{2}", "{0}", "{1}", "{0,2}", "{1,3}", "{2,}", "{1,2}?", "{2}{2}"];
        let atom = self.atom(depth);
        if self.below(4) == 0 { atom + self.of(&TIMES) } else { atom }
    }

    fn atom(&mut self, depth: usize) -> String {
        const LOOKS: [&str; 10] = ["^", "$", r"\A", r"\z", r"\b", r"\B", r"\b{start}", r"\<", r"\>", r"\b{end-half}"];
        const FAULTS: [&str; 9] = ["(", ")", "[", "*", r"\pL", r"\p{sc}", r"\1", "{2", "(?=a)"];
        let inner = depth.saturating_sub(1);
        match self.below(if depth == 0 { 24 } else { 32 }) {
            0..=11 => self.literal(),
            12 | 13 => ".".to_owned(),
            14 => self.of(&[r"\d", r"\D", r"\s", r"\S", r"\w", r"\W"]).to_owned(),
            15 => self.of(&LOOKS).to_owned(),
            16 => format!("(?{})", self.flags()),
            17..=22 => format!("[{}]", self.class(2)),
            23 if self.below(4) == 0 => self.of(&FAULTS).to_owned(),
            23 => String::new(),
            24 | 25 => format!("({})", self.regex(inner)),
            26..=28 => format!("(?:{})", self.regex(inner)),
            29 | 30 => format!("(?{}:{})", self.flags(), self.regex(inner)),
            _ => format!("(?<n{}>{})", self.below(1000), self.regex(inner)),
        }
    }

    fn literal(&mut self) -> String {
        const OTHERS: [&str; 15] =
            ["é", "ü", r"\xE9", r"\x{e9}", r"\u00E9", r"\x41", r"\.", r"\n", "\n", " ", "#", "&", "-", "k", "ſ"];
        if self.below(4) == 0 { self.of(&OTHERS) } else { self.of(&["a", "b", "B", "1", "_", "/"]) }.to_owned()
    }

    fn flags(&mut self) -> &'static str {
        self.of(&[
            "i", "i", "-i", "s", "m", "R", "mR", "sR", "U", "x", "-x", "u", "-u", "u-i", "su", "i-u", "iu", "is-m",
        ])
    }

    fn class(&mut self, depth: usize) -> String {
        let negation = self.of(&["", "", "^"]);
        let most = if self.below(3) == 0 { 2 } else { 1 };
        let operation = self.of(&["&&", "--", "~~"]);
        let items = self.joined(operation, most, |random| random.joined("", 3, |random| random.item(depth)));
        format!("{negation}{items}")
    }

    fn item(&mut self, depth: usize) -> String {
        const RANGES: [&str; 11] = [
            "a-c",
            "A-z",
            "0-9",
            "/-9",
            r"\x00-\x7f",
            r"\x80-\xff",
            r"\n-\r",
            "a-a",
            "b-a",
            "a-é",
            r"\x{d7ff}-\x{e000}",
        ];
        const ASCII: [&str; 6] = ["[:alpha:]", "[:^lower:]", "[:upper:]", "[:punct:]", "[:space:]", "[:^xdigit:]"];
        match self.below(if depth == 0 { 10 } else { 13 }) {
            0..=4 => self.literal(),
            5..=7 => self.of(&RANGES).to_owned(),
            8 => self.of(&[r"\d", r"\W", r"\s", r"\w", r"\pL"]).to_owned(),
            9 => self.of(&ASCII).to_owned(),
            _ => format!("[{}]", self.class(depth - 1)),
        }
    }

    /// Adds bytes that the piece matches, if the bytes around them permit it.
    fn path(&mut self, piece: &Piece, path: &mut Vec<u8>) {
        match piece {
            Piece::Empty | Piece::Look(_) => {}
            Piece::Literal(bytes) => path.extend_from_slice(bytes),
            Piece::Class(alphabet, set) => {
                let ranges: Vec<_> = set.ranges().collect();
                let Some((first, last)) = ranges.get(self.below(ranges.len().max(1))) else { return };
                let number = first + u32::try_from(self.below((last - first + 1) as usize)).unwrap();
                match alphabet {
                    Alphabet::Bytes => path.push(u8::try_from(number).unwrap()),
                    Alphabet::Chars => path.extend_from_slice(Alphabet::char(number).to_string().as_bytes()),
                }
            }
            Piece::Repeat(times, piece) => {
                let more = times.max.map_or(3, |max| max - times.min + 1);
                for _ in 0..times.min as usize + self.below(more as usize) {
                    self.path(piece, path);
                }
            }
            Piece::Concat(pieces) => pieces.iter().for_each(|piece| self.path(piece, path)),
            Piece::Alternation(pieces) => {
                let index = self.below(pieces.len());
                self.path(&pieces[index], path);
            }
        }
    }
}

#[test]
fn generated_regexes_are_read_as_the_regex_crate_reads_them() {
    let mut random = Random::new(1);
    let mut accepted = 0;
    for _ in 0..20_000 {
        accepted += usize::from(compare(&random.regex(3)).is_some());
    }
    assert!((8_000..16_000).contains(&accepted), "{accepted}");
}

#[test]
fn generated_regexes_match_what_they_match_in_another_engine() {
    let mut random = Random::new(2);
    let (mut regexes, mut found, mut missed) = (0, 0, 0);
    while regexes < 1_000 {
        let regex = random.regex(2);
        let Some(piece) = compare(&regex).filter(|_| regex.len() > 3) else { continue };
        let mut paths = vec![Vec::new(), b"a".to_vec(), b"/a\n".to_vec()];
        for _ in 0..12 {
            let mut path = Vec::new();
            random.path(&piece, &mut path);
            if !path.is_empty() {
                // The same with one byte replaced.
                let mut other = path.clone();
                let index = random.below(other.len());
                other[index] = b"aB1_/ \r\n\xe9\xff"[random.below(10)];
                paths.push(other);
            }
            paths.push(path);
        }
        let matches = compare_matches(&regex, &paths);
        (found, missed, regexes) = (found + matches, missed + paths.len() - matches, regexes + 1);
    }
    assert!(found > 5_000 && missed > 5_000, "{found} found, {missed} missed");
}
