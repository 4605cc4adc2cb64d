//! Slow hashes of passwords and API tokens, as PHC strings.

use std::num::NonZero;
use std::sync::Arc;

use argon2::password_hash::{Error as HashError, PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use pbkdf2::Pbkdf2;
use rand::rngs::OsRng;
use tokio::sync::Semaphore;

use crate::error::Error;
use crate::options::TokenHash;

const ARGON2_KIB: u32 = 64 * 1024;
const ARGON2_PASSES: u32 = 3;
const ARGON2_LANES: u32 = 4;
const PBKDF2_ROUNDS: u32 = 100_000;
const HASH_BYTES: usize = 32;

/// Runs hashes off the async threads, at most one per core at a time.
#[derive(Debug)]
pub(crate) struct Hasher {
    permits: Arc<Semaphore>,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { permits: Arc::new(Semaphore::new(cores)) }
    }

    /// The hash of a secret, with a salt of its own.
    pub(crate) async fn hash(&self, kind: TokenHash, secret: String) -> Result<String, Error> {
        self.run(move || hash(kind, &secret)).await
    }

    /// Whether a secret has this hash, of either kind. Compares in constant time.
    pub(crate) async fn verify(&self, hash: String, secret: String) -> Result<bool, Error> {
        self.run(move || verify(&hash, &secret)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|error| Error::Task(error.to_string()))?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit; // held until the work is done, even if nobody waits for it
            work()
        });
        Ok(done.await.map_err(|error| Error::Task(error.to_string()))??)
    }
}

fn hash(kind: TokenHash, secret: &str) -> Result<String, HashError> {
    let salt = SaltString::generate(&mut OsRng);
    let hash = match kind {
        TokenHash::Argon2id => {
            let params = Params::new(ARGON2_KIB, ARGON2_PASSES, ARGON2_LANES, Some(HASH_BYTES))?;
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password(secret.as_bytes(), &salt)?
        }
        TokenHash::Pbkdf2 => {
            let params = pbkdf2::Params { rounds: PBKDF2_ROUNDS, output_length: HASH_BYTES };
            Pbkdf2.hash_password_customized(secret.as_bytes(), None, None, params, &salt)?
        }
    };
    Ok(hash.to_string())
}

fn verify(hash: &str, secret: &str) -> Result<bool, HashError> {
    let hash = PasswordHash::new(hash)?;
    match hash.verify_password(&[&Argon2::default() as &dyn PasswordVerifier, &Pbkdf2], secret) {
        Ok(()) => Ok(true),
        Err(HashError::Password) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hashes_contain_their_parameters_and_a_salt() {
        for (kind, prefix) in [
            (TokenHash::Argon2id, "$argon2id$v=19$m=65536,t=3,p=4$"),
            (TokenHash::Pbkdf2, "$pbkdf2-sha256$i=100000,l=32$"),
        ] {
            let (first, second) = (hash(kind, "secret").unwrap(), hash(kind, "secret").unwrap());
            assert!(first.starts_with(prefix), "{first}");
            assert_ne!(first, second);
            assert!(verify(&first, "secret").unwrap());
            assert!(!verify(&first, "Secret").unwrap());
        }
        assert!(verify("not a hash", "secret").is_err());
    }
}
