//! The shared level: a fixed number of slots in the process's shared data, each with one entry.
//!
//! An entry's two slots are picked by a keyed hash of its key, which is named in full within; where neither is free, the entry that was
//! verified earlier is overwritten.

use std::rc::Rc;

use super::{Digest, Entry};
use crate::claims::Claims;
use crate::host::{Host, Write};
use crate::policy::{Identity, Verifier};
use crate::public_key::KeyId;
use crate::table::{Reader, write_time};
use crate::time::UnixTime;

/// How many slots there are: a power of two.
pub(super) const SLOTS: u32 = 32_768;

/// The longest record that is written, in bytes. A larger identity is known to one worker alone.
const MAX_BYTES: usize = 4096;

/// Of the form of the records, so that another version of the filter takes none for what it isn't.
const VERSION: u8 = 2;

/// The length of version, key and time.
const HEAD: usize = 1 + 32 + 8;

/// The slots.
#[derive(Debug)]
pub(super) struct Slots {
    prefix: String,
}

impl Slots {
    pub(super) const fn new(prefix: String) -> Self {
        Self { prefix }
    }

    /// The entry of this key: the newer one, should two workers have written it at once.
    pub(super) fn read(&self, key: &Digest, host: &impl Host) -> Option<Entry> {
        let values = slots(key, host).into_iter().filter_map(|slot| host.shared_data(&self.name(slot)));
        let its = values.filter(|value| head(&value.bytes).is_some_and(|(found, _)| found == *key));
        its.filter_map(|value| decode(&value.bytes)).map(|(_, entry)| entry).max_by_key(|entry| entry.verified)
    }

    /// Whether some worker knows this key, or may.
    pub(super) fn knows(&self, key: &Digest, host: &impl Host) -> bool {
        let mut values = slots(key, host).into_iter().filter_map(|slot| host.shared_data(&self.name(slot)));
        values.any(|value| head(&value.bytes).is_some_and(|(found, _)| found == *key))
    }

    /// Writes an entry's record where its key has one already, else where there is room, else over the older of two
    /// others.
    pub(super) fn write(&self, key: &Digest, record: &[u8], host: &impl Host) {
        // That somebody knows it is told all the same: a refusal of it must not be displaced.
        let record = if record.len() > MAX_BYTES { record.get(..HEAD).unwrap_or_default() } else { record };
        let worth = |slot: &u32| match host.shared_data(&self.name(*slot)).and_then(|value| head(&value.bytes)) {
            Some((found, _)) if found == *key => (0, UnixTime::default()),
            None => (1, UnixTime::default()),
            Some((_, verified)) => (2, verified),
        };
        let slot = slots(key, host).into_iter().min_by_key(worth).unwrap_or_default();
        if host.set_shared_data(&self.name(slot), record, Write::Always).is_err() {
            log::debug!("a verdict could not be shared");
        }
    }

    /// Empties the slots that hold this key's entry, of a time to which `ends` applies.
    pub(super) fn clear_if(&self, key: &Digest, ends: impl Fn(UnixTime) -> bool, host: &impl Host) {
        for slot in slots(key, host) {
            let name = self.name(slot);
            // A slot that another worker writes meanwhile is looked at again: it may be an entry as old as this.
            while let Some(value) = host.shared_data(&name) {
                let is_its = head(&value.bytes).is_some_and(|(found, verified)| found == *key && ends(verified));
                if !is_its || host.set_shared_data(&name, &[], Write::IfVersion(value.cas)).is_ok() {
                    break;
                }
            }
        }
    }

    /// Empties the slot unless `keep` applies to its entry, or to the time of one that is too large to be in it.
    pub(super) fn sweep(&self, slot: u32, keep: impl Fn(Option<&Claims>, UnixTime) -> bool, host: &impl Host) {
        let name = self.name(slot);
        let Some(value) = host.shared_data(&name).filter(|value| !value.bytes.is_empty()) else { return };
        let stays = if value.bytes.len() == HEAD {
            head(&value.bytes).is_some_and(|(_, verified)| keep(None, verified))
        } else {
            decode(&value.bytes).is_some_and(|(_, entry)| keep(Some(entry.claims()), entry.verified))
        };
        if !stays && host.set_shared_data(&name, &[], Write::IfVersion(value.cas)).is_err() {
            log::debug!("a slot was written while it was swept");
        }
    }

    fn name(&self, slot: u32) -> String {
        format!("{}{slot:x}", self.prefix)
    }
}

/// The two slots that a key's entry may be in: with one, a quarter of 10,000 entries would overwrite others.
fn slots(key: &Digest, host: &impl Host) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = host.keyed_hash(&key.0).to_le_bytes();
    let [first, second] = [[a, b, c, d], [e, f, g, h]].map(|bytes| u32::from_le_bytes(bytes) & (SLOTS - 1));
    [first, if second == first { first ^ 1 } else { second }]
}

/// Version, key, time, verifier, whether it came in a JWT, that JWT's length and text, claims.
pub(super) fn encode(key: &Digest, entry: &Entry) -> Vec<u8> {
    let (claims, verifier, is_jwt, jwt) = entry.identity.parts();
    let jwt = jwt.unwrap_or_default();
    let claims = claims.record();
    let mut record = Vec::with_capacity(64 + jwt.len() + claims.len());
    record.push(VERSION);
    record.extend_from_slice(&key.0);
    write_time(&mut record, entry.verified);
    let (tag, id) = match verifier {
        Verifier::Service => (0, [0; 8]),
        Verifier::Key(KeyId(id)) => (1, id),
    };
    record.push(tag | u8::from(is_jwt) << 1);
    record.extend_from_slice(&id);
    record.extend_from_slice(&u32::try_from(jwt.len()).unwrap_or(u32::MAX).to_le_bytes());
    record.extend_from_slice(jwt);
    record.extend_from_slice(&claims);
    record
}

fn head(record: &[u8]) -> Option<(Digest, UnixTime)> {
    let mut reader = Reader(record);
    let [version] = reader.bytes()?;
    let key = Digest(reader.bytes()?);
    let verified = reader.time()?;
    (version == VERSION).then_some((key, verified))
}

fn decode(record: &[u8]) -> Option<(Digest, Entry)> {
    let (key, verified) = head(record)?;
    let mut reader = Reader(record.get(1 + 32 + 8..)?);
    let [tag] = reader.bytes()?;
    let id = reader.bytes()?;
    let verifier = match tag & 1 {
        0 => Verifier::Service,
        _ => Verifier::Key(KeyId(id)),
    };
    let length = usize::try_from(u32::from_le_bytes(reader.bytes()?)).ok()?;
    let (jwt, claims) = reader.0.split_at_checked(length)?;
    let jwt = (!jwt.is_empty()).then(|| jwt.to_vec());
    let identity = Identity::recall(Claims::recall(claims)?, verifier, tag & 2 != 0, jwt);
    Some((key, Entry::new(Rc::new(identity), verified)))
}
