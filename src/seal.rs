//! Values in Envoy's shared data, sealed: another plugin under the same `vm_id` can neither read nor forge them.
//!
//! It can still delete them, and put an older value back under the name that it was sealed for. So what is stored must
//! carry its own expiry.

use std::cell::Cell;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{Key, KeyInit as _, XChaCha20Poly1305, XNonce};
use sha2::{Digest as _, Sha256};

use crate::host::{Conflict, SharedData, SharedValue, Write};
use crate::secret::Secret;

const NONCE_BYTES: usize = 24;

/// Why a text isn't a key for [`Seal`]. The messages never repeat the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealKeyError {
    /// It isn't base64.
    #[error("the seal key must be 32 bytes in standard base64, with padding, without whitespace: it is not in base64")]
    NotBase64,
    /// It is base64, but not of 32 bytes.
    #[error("the seal key must be 32 bytes in standard base64, with padding, without whitespace: its length is wrong")]
    Length,
}

/// Seals and opens values with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03). All workers share the key.
///
/// A sealed value is the nonce (24 bytes), the ciphertext, and its tag (16 bytes). It is bound to a name.
pub struct Seal {
    cipher: XChaCha20Poly1305,
    /// Derived from the key, so that it isn't in the shared data.
    secret: Secret,
    nonce_prefix: [u8; 16],
    /// How many values were sealed.
    sealed: Cell<u64>,
}

impl Seal {
    /// A seal with a key in the form of `AUTHGATE_SEAL_KEY` (docs/reference.md#seal): 32 bytes, in standard base64 with
    /// padding.
    ///
    /// Under one key a nonce must never be used twice, so `nonce_prefix` has to be a new random value for each seal.
    ///
    /// # Errors
    /// [`SealKeyError`] for any other text, including one with whitespace around it.
    pub fn new(key: &str, nonce_prefix: [u8; 16]) -> Result<Self, SealKeyError> {
        let bytes = STANDARD.decode(key).map_err(|_| SealKeyError::NotBase64)?;
        let key: [u8; 32] = bytes.try_into().map_err(|_| SealKeyError::Length)?;
        let secret = Sha256::new().chain_update("authgate rows").chain_update(key).finalize();
        let secret = Secret::new(secret.first_chunk().copied().unwrap_or_default());
        Ok(Self { cipher: XChaCha20Poly1305::new(&Key::from(key)), secret, nonce_prefix, sealed: Cell::new(0) })
    }

    /// Seals a value for this name.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Vec<u8> {
        let count = self.sealed.get();
        self.sealed.set(count.wrapping_add(1));
        let mut sealed = [&self.nonce_prefix[..], &count.to_be_bytes()].concat();
        let nonce = XNonce::clone_from_slice(&sealed);
        // Encryption fails only beyond 256 GiB; then the nonce alone is written, which can't be opened.
        let ciphertext = self.cipher.encrypt(&nonce, Payload { msg: plain, aad: name.as_bytes() }).unwrap_or_default();
        sealed.extend(ciphertext);
        sealed
    }

    /// Opens what was sealed for this name with the same key. `None`: it wasn't, or it was changed.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        self.cipher.decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad: name.as_bytes() }).ok()
    }
}

/// The mark that the warning about unsealed shared data was written in this process. Empty: they are sealed again.
const UNSEALED: &str = "authgate.unsealed";

/// Notes whether the shared data are sealed. True: they aren't, and the caller has to write a warning: once in a
/// process, however many workers there are, and again if they were sealed in between.
pub fn is_newly_unsealed(is_sealed: bool, shared: &dyn SharedData) -> bool {
    let mark = shared.shared_data(UNSEALED);
    let was_said = mark.as_ref().is_some_and(|mark| !mark.bytes.is_empty());
    if was_said != is_sealed {
        return false;
    }
    let write = mark.map_or(Write::IfAbsent, |mark| Write::IfVersion(mark.cas));
    let text: &[u8] = if is_sealed { b"" } else { b"said" };
    // One of several workers writes the warning.
    shared.set_shared_data(UNSEALED, text, write).is_ok() && !is_sealed
}

impl fmt::Debug for Seal {
    /// Without the key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Seal").finish_non_exhaustive()
    }
}

/// Shared data whose values are all sealed.
#[derive(Debug)]
pub struct Sealed<D> {
    data: D,
    seal: Option<Seal>,
}

impl<D> Sealed<D> {
    /// Seals the values of these data. Without a seal they are stored as they are.
    pub fn new(data: D, seal: Option<Seal>) -> Self {
        Self { data, seal }
    }

    /// The data themselves.
    pub fn inner(&self) -> &D {
        &self.data
    }
}

impl<D: SharedData> SharedData for Sealed<D> {
    /// A value that can't be opened is empty, which no decoder accepts. It exists, so that it can be replaced by
    /// [`Write::IfVersion`].
    fn shared_data(&self, key: &str) -> Option<SharedValue> {
        let value = self.data.shared_data(key)?;
        let Some(seal) = &self.seal else { return Some(value) };
        Some(SharedValue { bytes: seal.open(key, &value.bytes).unwrap_or_default(), cas: value.cas })
    }

    fn version(&self, key: &str) -> u32 {
        self.data.version(key)
    }

    fn set_shared_data(&self, key: &str, value: &[u8], write: Write) -> Result<(), Conflict> {
        match &self.seal {
            Some(seal) => self.data.set_shared_data(key, &seal.seal(key, value), write),
            None => self.data.set_shared_data(key, value, write),
        }
    }

    fn keyed_hash(&self, bytes: &[u8]) -> u64 {
        match &self.seal {
            Some(seal) => seal.secret.hash(bytes),
            None => self.data.keyed_hash(bytes),
        }
    }
}

#[cfg(test)]
mod tests;
