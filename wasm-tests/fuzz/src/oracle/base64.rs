//! base64url without padding (RFC 4648 section 5, RFC 7515 section 2), bit by bit.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The bytes that `text` encodes. `None` if no encoder would write it.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (mut bits, mut held) = (0_u32, 0);
    let mut bytes = Vec::new();
    for byte in text {
        let digit = ALPHABET.iter().position(|known| known == byte)?;
        bits = (bits << 6) | u32::try_from(digit).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    // Six bits left over are a digit too many, and bits left over that aren't zero are another spelling.
    (held < 6 && bits == 0).then_some(bytes)
}

/// The only encoding of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let value =
            chunk.iter().fold(0_usize, |value, byte| (value << 8) | usize::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(value >> (18 - 6 * digit)) & 63]));
        }
    }
    text
}
