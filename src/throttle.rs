//! The throttle of failed authentications (contract sections 2 and 3, `failed_auth_throttle`; its denial is
//! `too_many_failures`, section 4).
//!
//! An **address** that fails `attempts` times within `window`, which its first failure begins, is locked out for
//! `lockout`. So is a **token id**, from whatever addresses its failures came; but that lock holds only for addresses
//! which have failed themselves: who guesses a token's secret from many addresses gets one try from each, and the
//! token's owner is not locked out. Where the address is unknown, the id alone counts.
//!
//! Workers share the records, which displace one another in rows of a fixed size: a flood of addresses costs no more
//! than some 300 kB, and at the worst failures are forgotten and locks end early. Records name their subjects by hash
//! alone.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::host::Host;
use crate::table::{self, Reader, Table, write_time, write_u64};
use crate::time::UnixTime;

const ROWS: u32 = 1024;

const RECORDS_PER_ROW: usize = 8;

/// The first 16 bytes of the SHA-256 of a subject's kind and value.
type Hash = [u8; 16];

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    address: Option<Hash>,
    token: Option<Hash>,
}

impl Subject {
    /// - `address`: Envoy's `source.address`, `1.2.3.4:567` or `[2001:db8::1]:567`. The port doesn't count, an IPv6
    ///   address is taken by its /64, which is what one host gets (RFC 4291 section 2.5.4), and an IPv4-mapped one is
    ///   IPv4. Anything else is no address.
    /// - `token_id`: the number before the `$` of an API token; leading zeros don't count. Anything else is no id.
    pub fn new(address: Option<&str>, token_id: Option<&str>) -> Self {
        let address =
            address.and_then(|text| text.parse::<SocketAddr>().ok()).map(|socket| match socket.ip().to_canonical() {
                IpAddr::V4(ip) => hash("ipv4", &ip.octets()),
                IpAddr::V6(ip) => hash("ipv6", &(ip.to_bits() >> 64).to_be_bytes()),
            });
        let token = token_id
            .filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
            .map(|id| hash("token", id.trim_start_matches('0').as_bytes()));
        Self { address, token }
    }
}

fn hash(kind: &str, value: &[u8]) -> Hash {
    let digest = Sha256::new().chain_update(kind).chain_update([0]).chain_update(value).finalize();
    digest.first_chunk().copied().unwrap_or_default()
}

/// The failures of one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    subject: Hash,
    /// As many as `attempts`: it is locked, and no more are counted.
    failures: u64,
    /// When the window began, or the lock.
    since: UnixTime,
}

impl table::Record for Record {
    const BYTES: usize = 32;

    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.subject);
        write_u64(to, self.failures);
        write_time(to, self.since);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        Some(Self { subject: reader.bytes()?, failures: reader.u64()?, since: reader.time()? })
    }
}

/// The throttle, as one worker sees it.
#[derive(Debug)]
pub struct Throttle {
    table: Table<Record>,
    attempts: u64,
    window: Duration,
    lockout: Duration,
}

impl Throttle {
    /// - `prefix`: how the keys of the shared data begin; nothing else may use such keys.
    /// - `attempts`: how many failures lock a subject out; 0 turns the throttle off.
    /// - `window`: the time in which they have to come, from the first on.
    /// - `lockout`: how long a lock lasts, from the last of them on.
    pub fn new(prefix: String, attempts: u32, window: Duration, lockout: Duration) -> Self {
        Self { table: Table::new(prefix, ROWS), attempts: attempts.into(), window, lockout }
    }

    /// How long the subject is still locked out, more than 0. `None`: it isn't.
    pub fn check(&self, subject: &Subject, now: UnixTime, host: &impl Host) -> Option<Duration> {
        if self.attempts == 0 {
            return None;
        }
        let find = |hash: Hash| {
            let row = self.table.read(self.table.row(&hash, host), host);
            row.into_iter().find(|record| record.subject == hash)
        };
        let address = subject.address.and_then(find);
        let by_address = address.and_then(|record| self.lock(record, now));
        let by_token = subject.token.and_then(find).and_then(|record| self.lock(record, now)).and_then(|lock| {
            match subject.address {
                None => Some(lock),
                Some(_) => address.and_then(|record| now.remaining(self.memory(), record.since)).map(|it| it.min(lock)),
            }
        });
        by_address.max(by_token)
    }

    /// An authentication of the subject failed: its credential was verified and refused. Failures for which the
    /// credential isn't to blame don't belong here, nor do requests that [`Self::check`] refused.
    pub fn fail(&self, subject: &Subject, now: UnixTime, host: &impl Host) {
        if self.attempts == 0 {
            return;
        }
        for hash in [subject.address, subject.token].into_iter().flatten() {
            let counted = self.table.update(self.table.row(&hash, host), host, |row| (self.count(hash, row, now), ()));
            if let Err(busy) = counted {
                log::debug!("a failed authentication isn't counted: {busy}");
            }
        }
    }

    /// Counts a failure in a row. False: nothing has changed.
    fn count(&self, subject: Hash, row: &mut Vec<Record>, now: UnixTime) -> bool {
        row.retain(|record| now.remaining(self.memory(), record.since).is_some());
        match row.iter_mut().find(|record| record.subject == subject) {
            Some(record) if now.remaining(self.period(*record), record.since).is_some() => {
                if self.is_lock(*record) {
                    return false;
                }
                record.failures += 1;
                if self.is_lock(*record) {
                    record.since = now;
                }
            }
            Some(record) => *record = Record { subject, failures: 1, since: now },
            None => {
                row.sort_by_key(|record| (self.lock(*record, now).is_some(), record.since.after(self.period(*record))));
                let excess = (row.len() + 1).saturating_sub(RECORDS_PER_ROW);
                row.drain(..excess);
                row.push(Record { subject, failures: 1, since: now });
            }
        }
        true
    }

    /// How long a record is still locked.
    fn lock(&self, record: Record, now: UnixTime) -> Option<Duration> {
        if self.is_lock(record) { now.remaining(self.lockout, record.since) } else { None }
    }

    const fn is_lock(&self, record: Record) -> bool {
        record.failures >= self.attempts
    }

    const fn period(&self, record: Record) -> Duration {
        if self.is_lock(record) { self.lockout } else { self.window }
    }

    /// How long an address counts as one that has failed, from the begin of its window or lock on.
    fn memory(&self) -> Duration {
        self.window.max(self.lockout)
    }
}

#[cfg(test)]
mod tests;
