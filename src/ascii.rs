//! Searches eight bytes at a time: every request brings a credential of up to a few kilobytes.

const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES << 7;

/// Counts the dots. `None` unless all bytes are visible ASCII and none is a comma.
pub fn dots_without_comma(bytes: &[u8]) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let (mut good, mut dots) = (HIGH, 0_u32);
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        let other_than = |byte: u8| (word ^ (ONES * u64::from(byte))).wrapping_add(HIGH - ONES);
        // The high bit of each byte is set if the byte is at least `!`, below DEL, or not a comma. That holds while no
        // high bit of `word` is set.
        let (visible, not_delete) = ((word | HIGH) - ONES * u64::from(b'!'), !(word.wrapping_add(ONES)));
        good &= visible & not_delete & other_than(b',') & !word;
        dots += (!other_than(b'.') & HIGH).count_ones();
    }
    let is_good = good == HIGH && rest.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',');
    is_good.then(|| dots as usize + rest.iter().filter(|byte| **byte == b'.').count())
}

/// Splits at the first dot, which belongs to neither part.
pub fn split_at_dot(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (chunks, _) = bytes.as_chunks::<8>();
    let has_dot = |chunk: &[u8; 8]| has(u64::from_le_bytes(*chunk), b'.');
    let begin = 8 * chunks.iter().take_while(|chunk| !has_dot(chunk)).count();
    let rest = bytes.get(begin..).unwrap_or_default();
    let dot = begin + rest.iter().position(|byte| *byte == b'.')?;
    Some((bytes.get(..dot)?, bytes.get(dot + 1..)?))
}

/// Whether one of the eight bytes equals `byte`.
const fn has(word: u64, byte: u8) -> bool {
    has_below(word ^ (ONES * byte as u64), 1)
}

/// Whether one of the eight bytes is below `limit`, which is ASCII. A borrow can falsify only the bits above the first
/// such byte.
const fn has_below(word: u64, limit: u8) -> bool {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGH != 0
}

/// How many bytes at the beginning need no escape in a JSON string: those before the first quote, backslash or control
/// character.
pub fn count_plain(bytes: &[u8]) -> usize {
    let (chunks, _) = bytes.as_chunks::<8>();
    let is_plain = |chunk: &&[u8; 8]| {
        let word = u64::from_le_bytes(**chunk);
        !has_below(word, b' ') && !has(word, b'"') && !has(word, b'\\')
    };
    let whole = 8 * chunks.iter().take_while(is_plain).count();
    let rest = bytes.get(whole..).unwrap_or_default();
    whole + rest.iter().take_while(|byte| **byte >= b' ' && !matches!(**byte, b'"' | b'\\')).count()
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
                    let is_good = byte.is_ascii_graphic() && byte != b',';
                    let dots = is_good.then_some(usize::from(byte == b'.'));
                    assert_eq!(dots_without_comma(&text), dots, "{byte} at {place} of {length}");
                    let split = (byte == b'.').then(|| (&text[..place], text.get(place + 1..).unwrap_or_default()));
                    assert_eq!(split_at_dot(&text), split, "{byte} at {place} of {length}");
                    let is_plain = byte >= b' ' && byte != b'"' && byte != b'\\';
                    let plain = if is_plain { length } else { place };
                    assert_eq!(count_plain(&text), plain, "{byte} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn a_bytes_neighbours_do_not_change_the_result() {
        let bad = [0, 0x1f, b' ', b',', 0x7f, 0x80, 0xac, 0xae, 0xff];
        let good = [b'!', b'+', b'-', b'.', b'/', b'~', b'a', b'"', b'\\'];
        for one in bad.into_iter().chain(good) {
            for other in bad.into_iter().chain(good) {
                let text = [one, other, one, other, other, one, one, other, one];
                let dots = text.iter().filter(|byte| **byte == b'.').count();
                let is_good = good.contains(&one) && good.contains(&other);
                assert_eq!(dots_without_comma(&text), is_good.then_some(dots), "{one} {other}");
                let split = text.iter().position(|byte| *byte == b'.').map(|dot| (&text[..dot], &text[dot + 1..]));
                assert_eq!(split_at_dot(&text), split, "{one} {other}");
                let plain = text.iter().take_while(|byte| **byte >= b' ' && !b"\"\\".contains(byte)).count();
                assert_eq!(count_plain(&text), plain, "{one} {other}");
            }
        }
    }
}
