//! The shared level: a fixed number of slots in the process's shared data, each with one entry.
//!
//! A keyed hash of the credential's digest picks two slots, and the record in a slot holds the whole digest. An entry
//! goes into the first slot that is free. If neither is, it overwrites an entry that has expired, else the one that was
//! verified earlier. The host forgets no key, so the second slot holds nothing as long as the first has never been
//! written.

use std::rc::Rc;

use super::{Digest, Entry};
use crate::claims::Claims;
use crate::host::{SharedData, Write};
use crate::policy::{Identity, VerifiedBy};
use crate::public_key::KeyId;
use crate::table::{self, Bytes, write_time};
use crate::time::Instant;

/// How many slots there are: a power of two.
pub const SLOTS: u32 = 32_768;

/// The longest record that is written, in bytes. A larger identity stays in one worker.
const MAX_BYTES: usize = 4096;

/// The version of the record format, so that other versions of the filter don't misread records.
const VERSION: u8 = 5;

/// The length of version, digest and time.
const HEAD: usize = 1 + 32 + 8;

/// What follows the head of an entry that has expired: its identity is gone, but it still ends older entries, which
/// other workers may have.
const EXPIRED: u8 = 0xff;

/// What is known about a credential.
#[derive(Debug)]
pub(super) struct Shared {
    /// When the verification began.
    pub(super) verified: Instant,
    /// `None`: it has expired.
    pub(super) entry: Option<Entry>,
}

/// The slots.
#[derive(Debug)]
pub(super) struct Slots {
    prefix: String,
}

impl Slots {
    pub(super) const fn new(prefix: String) -> Self {
        Self { prefix }
    }

    /// What is known about this credential: the newer entry, if two workers have written it at once. One that is too
    /// large to be shared isn't known, and ends no other.
    pub(super) fn read(&self, digest: &Digest, shared: &dyn SharedData) -> Option<Shared> {
        let values = slots(digest, shared).into_iter().map_while(|slot| shared.shared_data(&self.name(slot)));
        let its = values.filter_map(|value| {
            let verified = head(&value.bytes).filter(|(found, _)| found == digest)?.1;
            let entry = if is_expired(&value.bytes) { None } else { Some(decode(&value.bytes)?.1) };
            Some(Shared { verified, entry })
        });
        its.max_by_key(|known| known.verified)
    }

    /// Whether any worker has, or may have, an entry of this credential.
    pub(super) fn knows(&self, digest: &Digest, shared: &dyn SharedData) -> bool {
        let mut values = slots(digest, shared).into_iter().map_while(|slot| shared.shared_data(&self.name(slot)));
        values.any(|value| head(&value.bytes).is_some_and(|(found, _)| found == *digest))
    }

    /// Writes an entry's record into the first slot that is free or holds an entry of its credential, else over the
    /// older of two others. If the second slot also holds an entry of the credential, that one is older.
    pub(super) fn write(&self, digest: &Digest, record: &[u8], shared: &dyn SharedData) {
        // The head alone still shows that a worker has an entry, so that a refusal that ends it isn't displaced.
        let record = if record.len() > MAX_BYTES { record.get(..HEAD).unwrap_or_default() } else { record };
        // Whether another credential's entry in a slot is of use, and when it was verified.
        let taken = |slot: u32| {
            let value = shared.shared_data(&self.name(slot))?;
            let (_, verified) = head(&value.bytes).filter(|(found, _)| found != digest)?;
            Some((!is_expired(&value.bytes), verified))
        };
        let [first, second] = slots(digest, shared);
        let is_second = taken(first).is_some_and(|other| taken(second).is_none_or(|older| older < other));
        let slot = if is_second { second } else { first };
        if shared.set_shared_data(&self.name(slot), record, Write::Always).is_err() {
            log::debug!("a verdict could not be shared");
        }
    }

    /// Empties the slots that hold an entry of this credential, if `ends` returns true for its time.
    pub(super) fn clear_if(&self, digest: &Digest, ends: impl Fn(Instant) -> bool, shared: &dyn SharedData) {
        for slot in slots(digest, shared) {
            let name = self.name(slot);
            // If another worker writes the slot in between, look again: its entry may be as old.
            while let Some(value) = shared.shared_data(&name) {
                let is_its = head(&value.bytes).is_some_and(|(found, verified)| found == *digest && ends(verified));
                if !is_its || shared.set_shared_data(&name, &[], Write::IfVersion(value.cas)).is_ok() {
                    break;
                }
            }
        }
    }

    /// Empties the slot unless `keep` returns true for the time of its entry, and drops the identity unless `keep` does
    /// for its claims too. Of an entry that is too large or has expired, only the time is known.
    pub(super) fn sweep(&self, slot: u32, keep: impl Fn(Option<&Claims>, Instant) -> bool, shared: &dyn SharedData) {
        let name = self.name(slot);
        let Some(value) = shared.shared_data(&name).filter(|value| !value.bytes.is_empty()) else { return };
        let left = swept(&value.bytes, keep);
        if left != value.bytes && shared.set_shared_data(&name, &left, Write::IfVersion(value.cas)).is_err() {
            log::debug!("a slot was written while it was swept");
        }
    }

    fn name(&self, slot: u32) -> String {
        table::key(&self.prefix, slot)
    }
}

/// The two slots that an entry may be in. With one slot, one in seven of 10,000 entries would be overwritten.
fn slots(digest: &Digest, shared: &dyn SharedData) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = shared.keyed_hash(&digest.0).to_le_bytes();
    let [first, second] = [[a, b, c, d], [e, f, g, h]].map(|bytes| u32::from_le_bytes(bytes) & (SLOTS - 1));
    [first, if second == first { first ^ 1 } else { second }]
}

/// A record: version, digest, time; then verifier, whether the identity came in a JWT, that JWT's length and text,
/// claims; or nothing, or [`EXPIRED`].
pub(super) fn encode(digest: &Digest, entry: &Entry) -> Vec<u8> {
    let (claims, verifier, is_jwt, jwt) = entry.identity.parts();
    let jwt = jwt.unwrap_or_default();
    let claims = claims.record();
    let mut record = Vec::with_capacity(64 + jwt.len() + claims.len());
    record.push(VERSION);
    record.extend_from_slice(&digest.0);
    write_time(&mut record, entry.verified);
    let (tag, id) = match verifier {
        VerifiedBy::Service => (0, [0; 8]),
        VerifiedBy::Key(KeyId(id)) => (1, id),
    };
    record.push(tag | u8::from(is_jwt) << 1);
    record.extend_from_slice(&id);
    record.extend_from_slice(&u32::try_from(jwt.len()).unwrap_or(u32::MAX).to_le_bytes());
    record.extend_from_slice(jwt);
    record.extend_from_slice(&claims);
    record
}

fn head(record: &[u8]) -> Option<(Digest, Instant)> {
    let mut reader = Bytes(record);
    let [version] = reader.bytes()?;
    let digest = Digest(reader.bytes()?);
    let verified = reader.time()?;
    (version == VERSION).then_some((digest, verified))
}

/// What a sweep leaves of a record.
fn swept(record: &[u8], keep: impl Fn(Option<&Claims>, Instant) -> bool) -> Vec<u8> {
    let is_kept = head(record).is_some_and(|(_, verified)| keep(None, verified));
    match decode(record) {
        Some((_, entry)) if is_kept && !keep(Some(entry.claims()), entry.verified) => {
            [record.get(..HEAD).unwrap_or_default(), &[EXPIRED]].concat()
        }
        None if record.len() != HEAD && !is_expired(record) => Vec::new(),
        _ if is_kept => record.to_vec(),
        _ => Vec::new(),
    }
}

fn is_expired(record: &[u8]) -> bool {
    record.get(HEAD..) == Some(&[EXPIRED])
}

fn decode(record: &[u8]) -> Option<(Digest, Entry)> {
    let (digest, verified) = head(record)?;
    let mut reader = Bytes(record.get(HEAD..)?);
    let [tag] = reader.bytes()?;
    let id = reader.bytes()?;
    let verifier = match tag & 1 {
        0 => VerifiedBy::Service,
        _ => VerifiedBy::Key(KeyId(id)),
    };
    let length = usize::try_from(u32::from_le_bytes(reader.bytes()?)).ok()?;
    let jwt = reader.take(length)?;
    let jwt = (!jwt.is_empty()).then(|| jwt.to_vec());
    let identity = Identity::recall(Claims::recall(reader.0)?, verifier, tag & 2 != 0, jwt);
    Some((digest, Entry::new(Rc::new(identity), verified)))
}
