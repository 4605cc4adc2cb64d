//! RS256 (RFC 7518 section 3.3): the host's verifier, and the one that is compiled in.

use sha2::{Digest as _, Sha256};

use crate::host::Signatures;
use crate::public_key::PublicKey;

/// The DigestInfo of SHA-256 up to the digest (RFC 8017 section 9.2, note 1).
pub(crate) const SHA256_PREFIX: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];

/// The bytes of a signature as they stood in the token, of any length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rs256Signature(Vec<u8>);

impl Rs256Signature {
    /// Wraps decoded signature bytes.
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Whether a key of 2048 to 4096 bits can have made a signature of this length.
    pub const fn has_possible_length(&self) -> bool {
        self.0.len() >= PublicKey::MIN_BITS / 8 && self.0.len() <= PublicKey::MAX_BITS / 8
    }
}

/// RS256 for verification only: natively in the host where it can (25 µs for RSA-2048 in Envoy), else by
/// the arithmetic that is compiled in. Both give the same verdict on every input.
#[derive(Debug)]
pub struct Rs256<'h, H: ?Sized> {
    host: &'h H,
}

impl<'h, H: Signatures + ?Sized> Rs256<'h, H> {
    /// The algorithm as `host` can carry it out.
    pub const fn new(host: &'h H) -> Self {
        Self { host }
    }

    /// Whether the key's owner has signed the message.
    pub fn verify(&self, key: &PublicKey, signature: &Rs256Signature, message: &[u8]) -> bool {
        // RFC 8017 section 8.2.2 step 1, checked here so that a lenient verifier makes no difference.
        if signature.0.len() != key.modulus_bytes() {
            return false;
        }
        self.host
            .verify_signature(key, &signature.0, message)
            .unwrap_or_else(|| verify_in_module(key, &signature.0, message))
    }
}

/// RSASSA-PKCS1-v1_5 with SHA-256 by the verifier that is compiled in (RFC 8017 section 8.2.2). It encodes the message
/// again and compares the result as a whole, so that it need not parse any encoding.
pub fn verify_in_module(key: &PublicKey, signature: &[u8], message: &[u8]) -> bool {
    let digest = Sha256::digest(message);
    let Some(padding) = key.modulus_bytes().checked_sub(3 + SHA256_PREFIX.len() + digest.len()) else { return false };
    let encoded = [&[0, 1], vec![0xff; padding].as_slice(), &[0], &SHA256_PREFIX, &digest].concat();
    key.recovers(&encoded, signature)
}

#[cfg(test)]
mod tests;
