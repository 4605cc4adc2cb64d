//! The RSA key that JWTs are signed with.

use rsa::pkcs1v15::{Signature, SigningKey, VerifyingKey};
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::sha2::Sha256;
use rsa::signature::{Keypair, RandomizedSigner, SignatureEncoding, Verifier};
use rsa::{RsaPrivateKey, RsaPublicKey};

use crate::error::Error;

const BITS: usize = 2048;

/// A key pair, with its PEM forms.
pub(crate) struct Key {
    signing: SigningKey<Sha256>,
    verifying: VerifyingKey<Sha256>,
    /// PKCS#8.
    pub(crate) private_pem: String,
    /// SPKI.
    pub(crate) public_pem: String,
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::Key(error.to_string())
}

impl Key {
    /// Generates a key, which takes a while.
    pub(crate) fn generate() -> Result<Self, Error> {
        Self::new(RsaPrivateKey::new(&mut rand::thread_rng(), BITS).map_err(broken)?)
    }

    /// Reads a key from its PEM.
    pub(crate) fn from_pem(private_pem: &str) -> Result<Self, Error> {
        Self::new(RsaPrivateKey::from_pkcs8_pem(private_pem).map_err(broken)?)
    }

    fn new(key: RsaPrivateKey) -> Result<Self, Error> {
        let private_pem = key.to_pkcs8_pem(LineEnding::LF).map_err(broken)?.as_str().to_owned();
        let public_pem = RsaPublicKey::from(&key).to_public_key_pem(LineEnding::LF).map_err(broken)?;
        let signing = SigningKey::new(key);
        Ok(Self { verifying: signing.verifying_key(), signing, private_pem, public_pem })
    }

    /// Signs a message with RS256.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.signing.try_sign_with_rng(&mut rand::thread_rng(), message).map_err(broken)?.to_vec())
    }

    /// Whether this key signed the message.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::try_from(signature).is_ok_and(|signature| self.verifying.verify(message, &signature).is_ok())
    }
}
