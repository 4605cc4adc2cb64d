//! A SubjectPublicKeyInfo of RSA (RFC 5280 section 4.1.2.7, RFC 3279 section 2.3.1), only in DER, so that each key has
//! one encoding.

/// `rsaEncryption` with its parameter, null.
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// Modulus and public exponent, the most significant byte first and not zero.
pub(super) fn read(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (algorithm, rest) = element(all(der, SEQUENCE)?, SEQUENCE)?;
    let key = all(rest, BIT_STRING)?.strip_prefix(&[0])?;
    let (modulus, rest) = element(all(key, SEQUENCE)?, INTEGER)?;
    let exponent = all(rest, INTEGER)?;
    (algorithm == RSA).then_some((positive(modulus)?, positive(exponent)?))
}

/// The content of these bytes, which have to be one element.
fn all(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    element(bytes, tag).filter(|(_, rest)| rest.is_empty()).map(|(content, _)| content)
}

/// The content of the first element, and what follows the element.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match bytes.strip_prefix(&[tag])? {
        [length @ ..=0x7f, rest @ ..] | [0x81, length @ 0x80..=0xff, rest @ ..] => (usize::from(*length), rest),
        [0x82, high @ 1..=0xff, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// A positive integer, without the zero that keeps it from being negative.
fn positive(content: &[u8]) -> Option<&[u8]> {
    match content {
        [1..=0x7f, ..] => Some(content),
        [0, rest @ ..] if rest.first().is_some_and(|first| *first >= 0x80) => Some(rest),
        _ => None,
    }
}
