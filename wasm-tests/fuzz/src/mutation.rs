//! Inputs made at random from others. The same seed makes the same inputs.

/// The seed of tests, so that a commit has the same result everywhere.
pub const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// The longest input that is made, in bytes.
const MAX_BYTES: usize = 4096;

/// Bytes that mean something to one of the parsers.
const TELLING: &[u8] = b"\0\n\r\t \"#$%,./0:;?\\_-{}[]Aa\x7f\x80\xff";

/// A source of inputs.
#[derive(Debug)]
pub struct Mutator<'c> {
    corpus: &'c [Vec<u8>],
    state: u64,
}

impl<'c> Mutator<'c> {
    /// A mutator of these inputs.
    pub const fn new(corpus: &'c [Vec<u8>], seed: u64) -> Self {
        // xorshift never leaves 0.
        Self { corpus, state: if seed == 0 { SEED } else { seed } }
    }

    /// A number below `end`, 0 if there is none.
    fn below(&mut self, end: usize) -> usize {
        // xorshift64* (Vigna 2016).
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap_or(0) % end.max(1)
    }

    fn byte(&mut self) -> u8 {
        if self.below(2) == 0 { TELLING[self.below(TELLING.len())] } else { u8::try_from(self.below(256)).unwrap_or(0) }
    }

    fn some(&mut self) -> Vec<u8> {
        self.corpus.get(self.below(self.corpus.len())).cloned().unwrap_or_default()
    }

    /// The next input: one of the corpus with a few changes, or now and then random bytes.
    pub fn next_input(&mut self) -> Vec<u8> {
        if self.below(16) == 0 {
            let length = self.below(512);
            return (0..length).map(|_| self.byte()).collect();
        }
        let mut input = self.some();
        for _ in 0..=self.below(6) {
            let at = self.below(input.len() + 1);
            let end = at + self.below((input.len() - at).min(32) + 1);
            match self.below(6) {
                0 if at < input.len() => input[at] ^= 1 << self.below(8),
                1 if at < input.len() => input[at] = self.byte(),
                2 => input.insert(at, self.byte()),
                3 => drop(input.drain(at..end)),
                4 => {
                    let copy = input[at..end].to_vec();
                    let to = self.below(input.len() + 1);
                    input.splice(to..to, copy);
                }
                _ => {
                    let other = self.some();
                    let from = self.below(other.len() + 1);
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
            }
        }
        input.truncate(MAX_BYTES);
        input
    }
}
