//! The service's public key.

mod modulus;
mod spki;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use modulus::Modulus;

pub(crate) const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
pub(crate) const END: &str = "-----END PUBLIC KEY-----";

/// The longest PEM text that is parsed, in bytes: a 4096-bit key takes about 800.
const MAX_PEM_BYTES: usize = 8 * 1024;

/// Why a key is refused (docs/reference.md#public-key).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not one `PUBLIC KEY` block of PEM (RFC 7468 section 13).
    #[error("not a PEM block of the type PUBLIC KEY")]
    NotPem,
    /// The block doesn't hold an RSA SubjectPublicKeyInfo, or one with impossible numbers.
    #[error("not an RSA public key")]
    NotRsa,
    /// The modulus has this many bits.
    #[error("the RSA modulus has {0} bits, not 2048 to 4096")]
    Size(usize),
}

/// How a signature is made. It is bound to the key: a JWT's header only chooses among the keys, never how a key is
/// used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 section 3.3).
    Rs256,
}

impl SigningAlgorithm {
    /// The algorithm of this name (RFC 7518 section 3.1); `None`: the filter doesn't know it.
    pub fn from_name(name: &str) -> Option<Self> {
        (name == "RS256").then_some(Self::Rs256)
    }
}

/// Identifies a key: the beginning of the SHA-256 of its SubjectPublicKeyInfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId(pub [u8; 8]);

/// An RSA public key of 2048 to 4096 bits, in the forms that both verifiers need: parsed once, used for every token.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    der: Box<[u8]>,
    bits: usize,
    modulus: Modulus,
    exponent: u64,
}

impl PublicKey {
    /// The smallest modulus that is accepted, in bits.
    pub const MIN_BITS: usize = 2048;
    /// The largest modulus that is accepted, in bits.
    pub const MAX_BITS: usize = 4096;

    const MAX_EXPONENT: u64 = (1 << 33) - 1;

    /// Parses the PEM text of `/iam/public-key` or of `jwt.public_key.pem`. Lines may have any length and any line end.
    ///
    /// # Errors
    /// [`KeyError`] says which of the steps failed.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.len() > MAX_PEM_BYTES {
            return Err(KeyError::NotPem);
        }
        let body = pem.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or(KeyError::NotPem)?;
        let base64: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let der = STANDARD.decode(base64).map_err(|_| KeyError::NotPem)?;
        Self::from_der(&der)
    }

    /// Parses a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
    ///
    /// # Errors
    /// [`KeyError::NotRsa`] or [`KeyError::Size`].
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let (modulus, exponent) = spki::read(der).ok_or(KeyError::NotRsa)?;
        let unused = modulus.first().map_or(0, |first| first.leading_zeros());
        let bits = modulus.len() * 8 - unused as usize;
        if !(Self::MIN_BITS..=Self::MAX_BITS).contains(&bits) {
            return Err(KeyError::Size(bits));
        }
        let exponent = match exponent.len() {
            ..=5 => exponent.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
            _ => return Err(KeyError::NotRsa),
        };
        if exponent.is_multiple_of(2) || !(3..=Self::MAX_EXPONENT).contains(&exponent) {
            return Err(KeyError::NotRsa);
        }
        let modulus = Modulus::new(modulus).ok_or(KeyError::NotRsa)?;
        Ok(Self { id: KeyId::of(der), der: der.into(), bits, modulus, exponent })
    }

    /// The algorithm of signatures by this key.
    pub const fn algorithm(&self) -> SigningAlgorithm {
        SigningAlgorithm::Rs256
    }

    /// The key's id.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The SubjectPublicKeyInfo, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// As `/iam/public-key` serves it.
    #[cfg(all(feature = "cli", not(target_arch = "wasm32")))]
    pub fn to_pem(&self) -> String {
        format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(&self.der))
    }

    /// The modulus' length in bits.
    #[cfg(all(feature = "cli", not(target_arch = "wasm32")))]
    pub const fn bits(&self) -> usize {
        self.bits
    }

    /// The modulus' length in bytes, which is also that of every valid signature.
    pub const fn modulus_bytes(&self) -> usize {
        self.bits.div_ceil(8)
    }

    /// Whether `RSAVP1` (RFC 8017 section 5.2.2) recovers `encoded` from the signature. Both are as long as the
    /// modulus.
    pub(crate) fn recovers(&self, encoded: &[u8], signature: &[u8]) -> bool {
        encoded.len() == self.modulus_bytes()
            && signature.len() == self.modulus_bytes()
            && self.modulus.power(signature, self.exponent) == Some(modulus::limbs(encoded, 0))
    }

    /// The first 8 hex digits of the key's SHA-256, to tell keys apart in logs.
    pub fn fingerprint(&self) -> String {
        short_digest(&self.der)
    }
}

impl KeyId {
    fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({}, {} bits)", self.fingerprint(), self.bits)
    }
}

/// The first 8 hex digits of the SHA-256 of `bytes`.
pub(crate) fn short_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
