//! The work that no filter can leave out that keeps verdicts in the worker and in shared data, with the same libraries
//! as authgate: it recognises a credential that it knows, reads a new JWT, or asks the service about a new API token.
//! It checks nothing, and knows no rules, errors or outages.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    hash::Hasher as _,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use proxy_wasm::hostcalls;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::host;

/// As many as authgate keeps by default.
const MOST: usize = 10_000;

/// What an identity header needs of the claims.
struct Identity {
    headers: [(&'static str, String); 5],
    exp: u64,
}

/// The identities that this worker knows. The oldest makes room for a new one.
#[derive(Default)]
struct Known {
    identities: HashMap<u128, Identity>,
    order: VecDeque<u128>,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
}

/// A request's credential isn't known yet.
pub(crate) struct Unknown {
    key: u128,
    pub(crate) credential: Vec<u8>,
}

/// Sets the identity headers, if the credential of a request with these headers is known.
pub(crate) fn recognise(encoded: &[u8], now: u64) -> Result<(), Unknown> {
    let credential = host::value_of(encoded, b"authorization").unwrap_or_default();
    let mut hasher = SipHasher24::new_with_keys(1, 2);
    hasher.write(credential);
    let key = hasher.finish128().as_u128();
    KNOWN.with_borrow(|known| match known.identities.get(&key) {
        Some(identity) if now < identity.exp => {
            identity.tell();
            Ok(())
        }
        _ => Err(Unknown { key, credential: credential.to_vec() }),
    })
}

impl Unknown {
    /// Verifies and reads a JWT, and keeps its identity.
    pub(crate) fn verify(self) -> Option<()> {
        let jwt = self.credential.strip_prefix(b"Bearer ")?;
        let end_of_header = jwt.iter().position(|byte| *byte == b'.')?;
        let end_of_text = jwt.iter().rposition(|byte| *byte == b'.')?;
        let decode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        let header: Value = serde_json::from_slice(&decode(jwt.get(..end_of_header)?)?).ok()?;
        if header.get("alg")?.as_str()? != "RS256" {
            return None;
        }
        host::verify_signature(&decode(jwt.get(end_of_text + 1..)?)?, jwt.get(..end_of_text)?);
        let claims = serde_json::from_slice(&decode(jwt.get(end_of_header + 1..end_of_text)?)?).ok()?;
        keep(self.key, &claims);
        Some(())
    }

    /// What is known of the credential in shared data, and that it is asked about: one worker asks, and all know its
    /// answer. Returns the names of the verdict and the lease.
    pub(crate) fn begin(&self) -> [String; 2] {
        let digest = Sha256::digest(&self.credential);
        let row = u32::from_le_bytes([digest[0], digest[1], digest[2], 0]) % 4096;
        let [refusals, verdict, lease] = ["n", "v", "l"].map(|table| format!("floor.{table}.{row:x}"));
        for name in [&refusals, &verdict, "floor.breaker", &lease] {
            let _ = hostcalls::get_shared_data(name);
        }
        let _ = hostcalls::set_shared_data(&lease, Some(&[1; 33]), None);
        [verdict, lease]
    }

    /// The service has answered: keeps the identity, here and for all workers.
    pub(crate) fn end(&self, [verdict, lease]: &[String; 2], body: &[u8]) -> Option<()> {
        let claims: Value = serde_json::from_slice(body).ok()?;
        for name in ["floor.breaker", verdict, lease] {
            let _ = hostcalls::get_shared_data(name);
        }
        let _ = hostcalls::set_shared_data(verdict, Some(body), None);
        let _ = hostcalls::set_shared_data(lease, None, None);
        keep(self.key, &claims);
        Some(())
    }
}

fn keep(key: u128, claims: &Value) {
    let text = |claim: &str| match claims.get(claim) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let headers = [
        ("x-user-id", text("user_id")),
        ("x-client-id", text("client_id")),
        ("x-user-type", text("user_type")),
        ("x-user-email", text("email")),
        ("x-is-admin", text("is_admin")),
    ];
    let identity = Identity { headers, exp: claims.get("exp").and_then(Value::as_u64).unwrap_or(u64::MAX) };
    identity.tell();
    KNOWN.with_borrow_mut(|known| {
        if known.order.len() >= MOST
            && let Some(oldest) = known.order.pop_front()
        {
            known.identities.remove(&oldest);
        }
        known.identities.insert(key, identity);
        known.order.push_back(key);
    });
}

impl Identity {
    fn tell(&self) {
        for (name, value) in &self.headers {
            host::set_header(name, value);
        }
    }
}
