//! Keys of the corpus, and signatures of every kind.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rsa::{
    Pkcs1v15Sign, Pss, RsaPrivateKey, RsaPublicKey,
    pkcs8::{DecodePrivateKey as _, EncodePublicKey as _, LineEnding},
    rand_core::{CryptoRng, Error, RngCore},
    traits::{PublicKeyParts as _, SignatureScheme},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// The header of every JWT that the service signs.
pub const USUAL_HEADER: &str = r#"{"typ":"JWT","alg":"RS256"}"#;

/// A private RSA key.
#[derive(Clone, Debug)]
pub struct Signer {
    key: RsaPrivateKey,
    public: RsaPublicKey,
}

impl Signer {
    /// The key that the gateway is told to trust.
    #[must_use]
    pub fn trusted() -> Self {
        Self::new(include_str!("../../testdata/corpus_key.pem"))
    }

    /// A key that the gateway doesn't trust.
    #[must_use]
    pub fn foreign() -> Self {
        Self::new(include_str!("../../testdata/foreign_key.pem"))
    }

    fn new(pem: &str) -> Self {
        let key = RsaPrivateKey::from_pkcs8_pem(pem).unwrap_or_else(|error| panic!("a key in testdata: {error}"));
        Self { public: key.to_public_key(), key }
    }

    /// The public key as the service serves it.
    #[must_use]
    pub fn public_pem(&self) -> String {
        self.public.to_public_key_pem(LineEnding::LF).unwrap_or_default()
    }

    /// The public key as SubjectPublicKeyInfo.
    #[must_use]
    pub fn public_der(&self) -> Vec<u8> {
        self.public.to_public_key_der().map(|der| der.to_vec()).unwrap_or_default()
    }

    /// The public key as a JWK (RFC 7517).
    #[must_use]
    pub fn jwk(&self) -> Value {
        let (n, e) = (self.public.n().to_bytes_be(), self.public.e().to_bytes_be());
        json!({"kty": "RSA", "alg": "RS256", "use": "sig", "n": encode(n), "e": encode(e)})
    }

    /// The modulus, most significant byte first.
    #[must_use]
    pub fn modulus(&self) -> Vec<u8> {
        self.public.n().to_bytes_be()
    }

    /// Signs with RS256.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.sign_digest(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message))
    }

    /// Signs with RS384.
    #[must_use]
    pub fn sign_sha384(&self, message: &[u8]) -> Vec<u8> {
        self.sign_digest(Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(message))
    }

    /// Signs with RS512.
    #[must_use]
    pub fn sign_sha512(&self, message: &[u8]) -> Vec<u8> {
        self.sign_digest(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(message))
    }

    /// Signs with PS256.
    #[must_use]
    pub fn sign_pss(&self, message: &[u8]) -> Vec<u8> {
        let salted = self.key.sign_with_rng(&mut Counter(0), Pss::new::<Sha256>(), &Sha256::digest(message));
        salted.unwrap_or_else(|error| panic!("a PSS signature: {error}"))
    }

    /// PKCS #1 v1.5 over a SHA-256 digest with any bytes instead of its `DigestInfo`.
    #[must_use]
    pub fn sign_prefixed(&self, prefix: &[u8], message: &[u8]) -> Vec<u8> {
        let scheme = Pkcs1v15Sign { hash_len: None, prefix: prefix.into() };
        self.sign_digest(scheme, &Sha256::digest(message))
    }

    /// Any two texts as a JWT signed with this key.
    #[must_use]
    pub fn jwt(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        self.segments(&encode(header), &encode(claims))
    }

    /// Any two segments as a JWT signed with this key.
    #[must_use]
    pub fn segments(&self, header: &str, claims: &str) -> String {
        let text = format!("{header}.{claims}");
        let signature = self.sign(text.as_bytes());
        format!("{text}.{}", encode(signature))
    }

    /// Claims as a JWT with the usual header.
    #[must_use]
    pub fn claims(&self, claims: impl AsRef<[u8]>) -> String {
        self.jwt(USUAL_HEADER, claims)
    }

    fn sign_digest(&self, scheme: impl SignatureScheme, digest: &[u8]) -> Vec<u8> {
        self.key.sign(scheme, digest).unwrap_or_else(|error| panic!("a signature: {error}"))
    }
}

/// HMAC (RFC 2104) with SHA-256: HS256.
#[must_use]
pub fn hmac_sha256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    let hashed = Sha256::digest(secret);
    let secret = if secret.len() > block.len() { hashed.as_slice() } else { secret };
    block[..secret.len()].copy_from_slice(secret);
    let padded = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

/// base64url without padding.
#[must_use]
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A generator of numbers that look random and are the same in every run (SplitMix64). No secret depends
/// on it: the keys here are in the repository.
#[derive(Clone, Copy, Debug)]
pub struct Counter(pub u64);

impl RngCore for Counter {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let next = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Counter {}

impl Counter {
    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next_u64() % end.max(1) as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_agrees_with_rfc_4231() {
        let hex: String =
            hmac_sha256(b"Jefe", b"what do ya want for nothing?").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
