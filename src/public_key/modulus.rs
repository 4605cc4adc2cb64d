//! The arithmetic of RSA with a public key, and no more: the code is small, and nothing here is secret.

use std::cmp::Ordering;

/// An odd modulus, prepared for products in Montgomery's form (P. L. Montgomery, Modular Multiplication Without Trial
/// Division, 1985). Numbers are limbs of 32 bits, the least significant first, as many as the modulus has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Modulus {
    limbs: Box<[u32]>,
    /// `-1 / modulus`, modulo 2^32.
    inverse: u32,
    /// `R^2` modulo the modulus, where `R` is 2^32 to the number of limbs.
    square: Box<[u32]>,
}

impl Modulus {
    /// From its bytes, the most significant first and not zero. `None` if it is even or less than 3.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let limbs = limbs(bytes, bytes.len().div_ceil(4));
        let least = limbs.first().copied().filter(|least| least % 2 == 1)?;
        if limbs.len() == 1 && least < 3 {
            return None;
        }
        // Newton's iteration doubles the number of correct bits. An odd number begins with three.
        let inverse =
            (0..4).fold(least, |inverse: u32, _| inverse.wrapping_mul(2_u32.wrapping_sub(least.wrapping_mul(inverse))));
        let mut modulus = Self { limbs: limbs.into(), inverse: inverse.wrapping_neg(), square: Box::default() };
        // 2^count in Montgomery's form, squared five times: 2^(32 * count), which is R.
        let count = modulus.limbs.len();
        let start = modulus.power_of_two(count * 33);
        modulus.square = (0..5).fold(start, |power, _| modulus.product(&power, &power)).into();
        Some(modulus)
    }

    /// `2^exponent` modulo the modulus, for a power not below it: the highest bit, doubled as often as needed.
    fn power_of_two(&self, exponent: usize) -> Vec<u32> {
        let mut power = vec![0; self.limbs.len()];
        let mut bits = 0;
        for (index, (limb, of_modulus)) in power.iter_mut().zip(&self.limbs).enumerate().rev() {
            if *of_modulus != 0 {
                *limb = 1 << of_modulus.ilog2();
                bits = index * 32 + of_modulus.ilog2() as usize;
                break;
            }
        }
        for _ in bits..exponent {
            let mut carry = 0;
            for limb in &mut power {
                (*limb, carry) = (*limb << 1 | carry, *limb >> 31);
            }
            self.reduce(&mut power, carry.into());
        }
        power
    }

    /// `base^exponent`, in as many limbs as the modulus has; `None` unless `base` is less than the modulus.
    pub(super) fn power(&self, base: &[u8], exponent: u64) -> Option<Vec<u32>> {
        let base = limbs(base, self.limbs.len());
        if base.len() != self.limbs.len() || !self.is_more_than(&base) {
            return None;
        }
        let one = limbs(&[1], self.limbs.len());
        let base = self.product(&base, &self.square);
        let mut power = self.product(&one, &self.square);
        for bit in (0..u64::BITS - exponent.leading_zeros()).rev() {
            power = self.product(&power, &power);
            if exponent >> bit & 1 == 1 {
                power = self.product(&power, &base);
            }
        }
        Some(self.product(&power, &one))
    }

    /// `one * other / R`, of numbers below the modulus.
    fn product(&self, one: &[u32], other: &[u32]) -> Vec<u32> {
        let mut sum = vec![0; self.limbs.len()];
        let mut top = 0_u64;
        for limb in one {
            top += add_multiple(&mut sum, other, *limb);
            let factor = sum.first().copied().unwrap_or_default().wrapping_mul(self.inverse);
            top += add_multiple(&mut sum, &self.limbs, factor);
            // The least limb is zero now, so dividing by 2^32 drops it.
            sum.rotate_left(1);
            if let Some(last) = sum.last_mut() {
                *last = low(top);
            }
            top >>= 32;
        }
        self.reduce(&mut sum, top);
        sum
    }

    /// Subtracts the modulus once, if `top` and the number together are not below it.
    fn reduce(&self, number: &mut [u32], top: u64) {
        if top == 0 && self.is_more_than(number) {
            return;
        }
        let mut borrow = false;
        for (limb, of_modulus) in number.iter_mut().zip(&self.limbs) {
            let (difference, below) = limb.overflowing_sub(*of_modulus);
            let (difference, below_again) = difference.overflowing_sub(borrow.into());
            (*limb, borrow) = (difference, below || below_again);
        }
    }

    fn is_more_than(&self, number: &[u32]) -> bool {
        self.limbs.iter().rev().cmp(number.iter().rev()) == Ordering::Greater
    }
}

/// Adds `factor * number` to the sum, and returns the carry.
fn add_multiple(sum: &mut [u32], number: &[u32], factor: u32) -> u64 {
    let mut carry = 0;
    for (limb, of_number) in sum.iter_mut().zip(number) {
        // At most 2^64 - 1.
        let new = u64::from(*limb) + u64::from(factor) * u64::from(*of_number) + carry;
        (*limb, carry) = (low(new), new >> 32);
    }
    carry
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
const fn low(number: u64) -> u32 {
    number as u32
}

/// The limbs of a number whose bytes come most significant first; at least `count` limbs.
pub(super) fn limbs(bytes: &[u8], count: usize) -> Vec<u32> {
    let limb = |bytes: &[u8]| bytes.iter().fold(0, |limb, byte| limb << 8 | u32::from(*byte));
    let mut limbs: Vec<u32> = bytes.rchunks(4).map(limb).collect();
    limbs.resize(limbs.len().max(count), 0);
    limbs
}

#[cfg(test)]
mod tests {
    use rsa::BigUint;

    use super::*;

    /// Bytes that look random and are the same every time.
    fn bytes(seed: u64, count: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..count).map(|_| next()).collect()
    }

    fn check(modulus: &[u8], base: &[u8], exponent: u64) {
        let ours = Modulus::new(modulus).unwrap();
        let (big_modulus, big_base) = (BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(base));
        let found = ours.power(base, exponent);
        if big_base >= big_modulus {
            assert_eq!(found, None);
            return;
        }
        let expected = big_base.modpow(&BigUint::from(exponent), &big_modulus);
        assert_eq!(
            found,
            Some(limbs(&expected.to_bytes_be(), modulus.len().div_ceil(4))),
            "{modulus:02x?} {base:02x?}"
        );
    }

    #[test]
    fn powers_agree_with_another_implementation() {
        for seed in 1..135 {
            let length = usize::try_from(seed).unwrap() % 67 + 1;
            let mut modulus = bytes(seed, length);
            modulus[0] |= 1 << (seed % 8);
            *modulus.last_mut().unwrap() |= 3;
            for (number, exponent) in [(1, 3), (2, 65537), (3, 1), (4, (1 << 33) - 1), (5, 2), (6, 17)] {
                check(&modulus, &bytes(seed * 7 + number, length), exponent);
            }
        }
        for length in [256, 257, 384, 511, 512] {
            let mut modulus = bytes(9, length);
            modulus[0] |= 0x80;
            *modulus.last_mut().unwrap() |= 1;
            for number in 0..4 {
                check(&modulus, &bytes(number, length), 65537);
            }
        }
    }

    #[test]
    fn edge_cases_are_computed_correctly() {
        for length in [1, 3, 4, 5, 8, 12, 256] {
            let full = vec![0xff; length];
            let mut least_of_top = vec![0; length];
            least_of_top[0] = 0x80;
            *least_of_top.last_mut().unwrap() |= 1;
            for modulus in [full, least_of_top] {
                let mut less = modulus.clone();
                *less.last_mut().unwrap() -= 1;
                let zero = vec![0; length];
                let mut one = zero.clone();
                *one.last_mut().unwrap() = 1;
                for base in [zero, one, less, modulus.clone(), vec![0xfe; length], vec![0xff; length]] {
                    for exponent in [0, 1, 2, 3, 65537, u64::MAX] {
                        check(&modulus, &base, exponent);
                    }
                }
            }
        }
        for none in [&[][..], &[0], &[1], &[2], &[0xff, 0xfe]] {
            assert_eq!(Modulus::new(none), None, "{none:02x?}");
        }
    }
}
