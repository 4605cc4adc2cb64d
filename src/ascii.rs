//! Looks at eight bytes at once: every request brings a credential of up to some kilobytes.

const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES << 7;

/// Whether all bytes are visible ASCII, and none is a comma.
pub fn is_visible_without_comma(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let is_good = |chunk: &[u8; 8]| {
        let word = u64::from_le_bytes(*chunk);
        let comma = word ^ (ONES * u64::from(b','));
        // The high bit of each byte says, as long as none of `word` is set: it is `!` or more; it is below DEL; it is no
        // comma.
        let (visible, not_delete, no_comma) =
            ((word | HIGH) - ONES * u64::from(b'!'), !(word.wrapping_add(ONES)), comma.wrapping_add(HIGH - ONES));
        word & HIGH == 0 && visible & not_delete & no_comma & HIGH == HIGH
    };
    chunks.iter().all(is_good) && rest.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',')
}

/// How often a byte stands in ASCII text.
pub fn count(text: &[u8], byte: u8) -> usize {
    let (chunks, rest) = text.as_chunks::<8>();
    let of_chunk = |chunk: &[u8; 8]| {
        let other = u64::from_le_bytes(*chunk) ^ (ONES * u64::from(byte));
        // The high bit of each byte that is equal. A byte beyond ASCII is equal to none.
        let equal = !((other & !HIGH).wrapping_add(HIGH - ONES) | other) & HIGH;
        equal.count_ones() as usize
    };
    chunks.iter().map(of_chunk).sum::<usize>() + rest.iter().filter(|known| **known == byte).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_judged_the_same_at_any_position() {
        for length in 1..20 {
            for place in 0..length {
                for byte in 0..=255_u8 {
                    let mut text = vec![b'a'; length];
                    text[place] = byte;
                    let expected = byte.is_ascii_graphic() && byte != b',';
                    assert_eq!(is_visible_without_comma(&text), expected, "{byte} at {place} of {length}");
                    for wanted in [b'.', b',', b'!', b'~'] {
                        assert_eq!(count(&text, wanted), usize::from(byte == wanted), "{byte} at {place} of {length}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_bytes_neighbours_do_not_change_the_result() {
        let bad = [0, 0x1f, b' ', b',', 0x7f, 0x80, 0xac, 0xff];
        let good = [b'!', b'+', b'-', b'.', b'~', b'a'];
        for one in bad.into_iter().chain(good) {
            for other in bad.into_iter().chain(good) {
                let text = [one, other, one, other, other, one, one, other, one];
                let expected = good.contains(&one) && good.contains(&other);
                assert_eq!(is_visible_without_comma(&text), expected, "{one} {other}");
                let dots = text.iter().filter(|byte| **byte == b'.').count();
                assert_eq!(count(&text, b'.'), dots, "{one} {other}");
            }
        }
    }
}
