//! The least work of a filter that keeps verdicts in the worker and in shared data: it recognises a credential that it
//! knows, verifies a new JWT, or asks the service about a new API token.
//!
//! It knows no rules, denies nobody, and checks neither claims nor the form of a token.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher as _},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rustc_hash::FxHasher;
use sha2::{Digest as _, Sha256};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::{host, shared};

/// How many identities a worker keeps: as many as authgate by default.
const MOST: usize = 10_000;

/// The claims that become headers.
const CLAIMS: [&[u8]; 5] = [b"user_id", b"client_id", b"user_type", b"email", b"is_admin"];

/// The values of the identity headers, one after the other in one allocation.
struct Identity {
    values: Box<[u8]>,
    /// Where each value ends.
    ends: [usize; 5],
    exp: u64,
}

/// The identities that this worker knows. The oldest makes room for a new one.
struct Known {
    identities: HashMap<u128, Identity, BuildHasherDefault<FxHasher>>,
    order: VecDeque<u128>,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::new(Known {
        identities: HashMap::with_capacity_and_hasher(2 * MOST, BuildHasherDefault::new()),
        order: VecDeque::with_capacity(MOST),
    });
}

/// A credential that this worker doesn't know.
pub(crate) struct NewCredential<'c> {
    key: u128,
    credential: &'c [u8],
}

/// A question that the service hasn't answered.
pub(crate) struct Question {
    key: u128,
    verdict: String,
    lease: String,
}

/// Sets the identity headers, if the credential among these headers is known and hasn't expired.
pub(crate) fn recognise(encoded: &[u8], now: u64) -> Result<(), NewCredential<'_>> {
    let credential = host::value_of(encoded, b"authorization").unwrap_or_default();
    let mut hasher = SipHasher13::new_with_keys(1, 2);
    hasher.write(credential);
    let key = hasher.finish128().as_u128();
    KNOWN.with_borrow(|known| match known.identities.get(&key) {
        Some(identity) if now < identity.exp => {
            identity.tell();
            Ok(())
        }
        _ => Err(NewCredential { key, credential }),
    })
}

impl<'c> NewCredential<'c> {
    /// The token of a JWT.
    pub(crate) fn jwt(&self) -> Option<&'c [u8]> {
        self.credential.strip_prefix(b"Bearer ")
    }

    /// The value of `Authorization`.
    pub(crate) fn text(&self) -> &'c str {
        str::from_utf8(self.credential).unwrap_or_default()
    }

    /// Verifies and reads a JWT, and keeps its identity.
    pub(crate) fn verify(&self, jwt: &[u8]) -> Option<()> {
        let end_of_header = jwt.iter().position(|byte| *byte == b'.')?;
        let end_of_text = jwt.iter().rposition(|byte| *byte == b'.')?;
        let decode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        host::verify_signature(&decode(jwt.get(end_of_text + 1..)?)?, jwt.get(..end_of_text)?);
        let claims = decode(jwt.get(end_of_header + 1..end_of_text)?)?;
        keep(self.key, Identity::of(&claims)?);
        Some(())
    }

    /// Looks the credential up in shared data, and records there that this worker asks, so that no other does.
    pub(crate) fn begin(&self) -> Question {
        let digest = Sha256::digest(self.credential);
        let row = u32::from_le_bytes([digest[0], digest[1], digest[2], 0]) % 4096;
        let [refusals, verdict, lease] = ["floor.n.", "floor.v.", "floor.l."].map(|table| name(table, row));
        shared::begin(&refusals, &verdict, &lease);
        Question { key: self.key, verdict, lease }
    }
}

impl Question {
    /// The service has answered: keeps the identity, here and for all workers.
    pub(crate) fn end(self, body: &[u8]) -> Option<()> {
        let identity = Identity::of(body)?;
        shared::end(&self.verdict, &self.lease, &identity.values);
        keep(self.key, identity);
        Some(())
    }
}

/// A key of shared data.
fn name(table: &str, row: u32) -> String {
    let mut name = String::with_capacity(table.len() + 3);
    name.push_str(table);
    name.extend([8, 4, 0].map(|shift| char::from_digit(row >> shift & 0xf, 16).unwrap_or('0')));
    name
}

fn keep(key: u128, identity: Identity) {
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
    fn of(json: &[u8]) -> Option<Self> {
        let mut found: [&[u8]; 5] = [b""; 5];
        let mut exp = None;
        for (name, value) in (Members { json, at: 0, depth: 0 }) {
            if name == b"exp" {
                exp = str::from_utf8(value).ok()?.parse().ok();
            } else if let Some(place) = CLAIMS.iter().position(|claim| *claim == name) {
                found[place] = value;
            }
        }
        let mut end = 0;
        let ends = found.map(|value| {
            end += value.len();
            end
        });
        Some(Self { values: found.concat().into(), ends, exp: exp? })
    }

    /// Sets the headers.
    fn tell(&self) {
        const NAMES: [&str; 5] = ["x-user-id", "x-client-id", "x-user-type", "x-user-email", "x-is-admin"];
        let mut start = 0;
        for (name, end) in NAMES.iter().zip(self.ends) {
            host::add_header(name, self.values.get(start..end).unwrap_or_default());
            start = end;
        }
    }
}

/// The members of an object in JSON, except those whose value is an object or an array. Assumes JSON as the bench writes
/// it: no spaces, no escapes.
struct Members<'j> {
    json: &'j [u8],
    at: usize,
    /// In how many objects and arrays `at` is.
    depth: u32,
}

impl<'j> Members<'j> {
    /// What comes before one of these bytes, which is passed too.
    fn until(&mut self, ends: &[u8]) -> Option<&'j [u8]> {
        let rest = self.json.get(self.at..)?;
        let length = rest.iter().position(|byte| ends.contains(byte))?;
        self.at += length + 1;
        rest.get(..length)
    }
}

impl<'j> Iterator for Members<'j> {
    type Item = (&'j [u8], &'j [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let byte = self.json.get(self.at)?;
            self.at += 1;
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth -= 1,
                b'"' => {
                    let name = self.until(b"\"")?;
                    if self.depth != 1 || self.json.get(self.at) != Some(&b':') {
                        continue;
                    }
                    self.at += 1;
                    match self.json.get(self.at)? {
                        b'{' | b'[' => {}
                        b'"' => {
                            self.at += 1;
                            return Some((name, self.until(b"\"")?));
                        }
                        _ => {
                            let value = self.until(b",}")?;
                            self.at -= 1;
                            return Some((name, value));
                        }
                    }
                }
                _ => {}
            }
        }
    }
}
