//! RS256 (RFC 7518 section 3.3): one [`Algorithm`] over the host's verifier and the one that is compiled in.

use std::borrow::Cow;
use std::convert::Infallible;

use jwt_compact::alg::{Rsa, RsaSignature};
use jwt_compact::{Algorithm, AlgorithmSignature};

use crate::host::Signatures;
use crate::public_key::PublicKey;

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

impl AlgorithmSignature for Rs256Signature {
    fn try_from_slice(slice: &[u8]) -> anyhow::Result<Self> {
        Ok(Self(slice.to_vec()))
    }

    fn as_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0)
    }
}

/// RS256 for verification only: natively in the host where it can (25 µs for RSA-2048 in Envoy), else by
/// jwt-compact's RSA inside the module (690 µs). Both give the same verdict on every input.
#[derive(Debug)]
pub struct Rs256<'h, H: ?Sized> {
    host: &'h H,
}

impl<'h, H: Signatures + ?Sized> Rs256<'h, H> {
    /// The algorithm as `host` can carry it out.
    pub const fn new(host: &'h H) -> Self {
        Self { host }
    }
}

impl<H: Signatures + ?Sized> Algorithm for Rs256<'_, H> {
    type SigningKey = Infallible;
    type VerifyingKey = PublicKey;
    type Signature = Rs256Signature;

    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed("RS256")
    }

    fn sign(&self, signing_key: &Infallible, _message: &[u8]) -> Rs256Signature {
        match *signing_key {}
    }

    fn verify_signature(&self, signature: &Rs256Signature, key: &PublicKey, message: &[u8]) -> bool {
        // RFC 8017 section 8.2.2 step 1, checked here so that no verifier's leniency can matter.
        if signature.0.len() != key.modulus_bytes() {
            return false;
        }
        self.host
            .verify_signature(key, &signature.0, message)
            .unwrap_or_else(|| verify_in_module(key, &signature.0, message))
    }
}

/// RSASSA-PKCS1-v1_5 with SHA-256 by the verifier that is compiled in.
pub fn verify_in_module(key: &PublicKey, signature: &[u8], message: &[u8]) -> bool {
    RsaSignature::try_from_slice(signature)
        .is_ok_and(|signature| Rsa::rs256().verify_signature(&signature, key.rsa(), message))
}

#[cfg(test)]
mod tests;
