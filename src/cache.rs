//! The verification cache: what a credential was found to be, kept so that it isn't found out again.
//!
//! [`local`] is the part of one worker.

use std::hash::{Hash, Hasher};

pub mod local;

/// The SHA-256 of a credential, under which everything about it is kept: the credential itself isn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Hash for Digest {
    /// Eight bytes of a SHA-256 spread as well as all of them. Two credentials that share them cost 2^32 hashes, many
    /// that do are out of reach. The hasher must be seeded all the same: it takes but 2^14 hashes to find a credential
    /// for a given bucket of a table of 10,000, so clients could fill one.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}
