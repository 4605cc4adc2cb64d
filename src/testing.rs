//! What the tests of several modules share: real keys, tokens signed with them, and a host that does nothing.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rsa::pkcs8::{DecodePrivateKey as _, EncodePublicKey as _};
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::host::{Conflict, Host, Metrics, Peer, SharedData, SharedValue, Signatures, Write};
use crate::metrics::{Counter, Gauge};
use crate::public_key::PublicKey;
use crate::signature::SHA256_PREFIX;

/// The header that the service writes.
pub const HEADER: &str = r#"{"typ":"JWT","alg":"RS256"}"#;

/// A time at which [`claims`] are valid.
pub const NOW: u64 = 1_800_000_000;

/// A private key, as the service might have one.
pub struct Signer(RsaPrivateKey);

impl Signer {
    /// One key.
    pub fn a() -> Self {
        Self::from_pem(include_str!("signature/testdata/signing_key_a.pem"))
    }

    /// Another key.
    pub fn b() -> Self {
        Self::from_pem(include_str!("signature/testdata/signing_key_b.pem"))
    }

    fn from_pem(pem: &str) -> Self {
        let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        Self(RsaPrivateKey::from_pkcs8_der(&STANDARD.decode(base64).unwrap()).unwrap())
    }

    /// The key that verifies.
    pub fn public(&self) -> PublicKey {
        PublicKey::from_der(self.0.to_public_key().to_public_key_der().unwrap().as_bytes()).unwrap()
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let padding = Pkcs1v15Sign { hash_len: Some(32), prefix: SHA256_PREFIX.into() };
        self.0.sign(padding, &Sha256::digest(message)).unwrap()
    }

    /// A compact JWS over exactly these bytes.
    pub fn token(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64url(header), base64url(claims));
        let signature = base64url(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// A JWT of the service with these claims.
    pub fn jwt(&self, claims: &Value) -> String {
        self.token(HEADER, &claims.to_string())
    }
}

/// base64url without padding.
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The claims of an access token, changed by `changes`: null removes a claim.
pub fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "exp": NOW + 3600, "jti": "5f0c", "user_id": 17, "client_id": 23, "token_type": "access",
        "user_type": "common", "email": "user@example.com", "is_admin": false,
    });
    merge(&mut claims, changes);
    claims
}

/// The least configuration, changed by `changes`.
pub fn config(changes: Value) -> Config {
    let mut config = json!({"auth_service": {"cluster": "auth_service"}});
    merge(&mut config, changes);
    Config::from_bytes(config.to_string().as_bytes()).unwrap()
}

fn merge(base: &mut Value, changes: Value) {
    let Value::Object(changes) = changes else { panic!("{changes} is no object") };
    let base = base.as_object_mut().unwrap();
    for (name, value) in changes {
        if value.is_null() {
            base.remove(&name);
        } else {
            base.insert(name, value);
        }
    }
}

/// A host without shared data, and by default without a verifier, so that the one that is compiled in is used.
#[derive(Default)]
pub struct BareHost {
    /// What its own verifier says, if it has one.
    pub verdict: Option<bool>,
    /// What the verifier was asked: key, signature and message.
    pub asked: RefCell<Vec<[Vec<u8>; 3]>>,
}

impl SharedData for BareHost {
    fn shared_data(&self, _: &str) -> Option<SharedValue> {
        None
    }

    fn set_shared_data(&self, _: &str, _: &[u8], _: Write) -> Result<(), Conflict> {
        Err(Conflict)
    }

    fn keyed_hash(&self, _: &[u8]) -> u64 {
        0
    }
}

impl Signatures for BareHost {
    fn verify_signature(&self, key: &PublicKey, signature: &[u8], message: &[u8]) -> Option<bool> {
        self.asked.borrow_mut().push([key.der().to_vec(), signature.to_vec(), message.to_vec()]);
        self.verdict
    }
}

impl Metrics for BareHost {
    fn count(&self, _: Counter) {}

    fn shift(&self, _: Gauge, _: i64) {}

    fn set(&self, _: Gauge, _: u64) {}

    fn callouts_in_flight(&self) -> u64 {
        0
    }
}

impl Peer for BareHost {
    fn client_address(&self) -> Option<String> {
        None
    }

    fn connection(&self) -> Option<u64> {
        None
    }
}

/// A host on which another worker acts between a worker's read and its write. Before each of the next writes comes one
/// action, the last action first.
pub fn overtaking<H: SharedData + Host, F: FnOnce()>(
    host: &H,
    actions: impl IntoIterator<Item = F>,
) -> impl SharedData + Host {
    let actions: RefCell<Vec<F>> = RefCell::new(actions.into_iter().collect());
    let heard = move |_: &str| {
        let action = actions.borrow_mut().pop();
        action.into_iter().for_each(|action| action());
        Ok(())
    };
    Overheard { host, heard }
}

/// A host with a hook that is called before each write: it may write first, or report a conflict.
pub struct Overheard<'h, H, F> {
    pub host: &'h H,
    pub heard: F,
}

impl<H: SharedData, F: Fn(&str) -> Result<(), Conflict>> SharedData for Overheard<'_, H, F> {
    fn shared_data(&self, key: &str) -> Option<SharedValue> {
        self.host.shared_data(key)
    }

    fn set_shared_data(&self, key: &str, value: &[u8], write: Write) -> Result<(), Conflict> {
        (self.heard)(key)?;
        self.host.set_shared_data(key, value, write)
    }

    fn keyed_hash(&self, bytes: &[u8]) -> u64 {
        self.host.keyed_hash(bytes)
    }
}

impl<H: Signatures, F> Signatures for Overheard<'_, H, F> {
    fn verify_signature(&self, key: &PublicKey, signature: &[u8], message: &[u8]) -> Option<bool> {
        self.host.verify_signature(key, signature, message)
    }
}

impl<H: Metrics, F> Metrics for Overheard<'_, H, F> {
    fn count(&self, counter: Counter) {
        self.host.count(counter);
    }

    fn shift(&self, gauge: Gauge, by: i64) {
        self.host.shift(gauge, by);
    }

    fn set(&self, gauge: Gauge, to: u64) {
        self.host.set(gauge, to);
    }

    fn callouts_in_flight(&self) -> u64 {
        self.host.callouts_in_flight()
    }
}

impl<H: Peer, F> Peer for Overheard<'_, H, F> {
    fn client_address(&self) -> Option<String> {
        self.host.client_address()
    }

    fn connection(&self) -> Option<u64> {
        self.host.connection()
    }
}
