//! The throttle of failed authentications (docs/reference.md#throttle, `failed_auth_throttle`; its denial is
//! `too_many_failures`).
//!
//! An **address** that fails `attempts` times within `window`, which its first failure begins, is locked out for
//! `lockout`. So is the **number** of an API token, from whatever addresses its failures came. But that lock holds only
//! for addresses which have failed themselves: an attacker who guesses a token's secret from many addresses gets one
//! try from each, and the token's owner is not locked out. A client without an address is never locked out, and its
//! failures don't count.
//!
//! A question to the service may turn out to be a failure, so those under way count against `attempts` too
//! ([`Throttle::begin_guess`]). Further questions are not refused at once: their requests wait for the answers.
//!
//! Workers share the records, which displace one another in rows of a fixed size. So a flood of addresses takes a
//! megabyte at most; at worst, failures are forgotten and locks end early. Which records share a row is secret,
//! addresses displace no numbers, and the records with the fewest failures are displaced first. Records hold their
//! subjects as hashes.

mod history;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::host::{Cx, SharedData};
use crate::metrics::{Counter, Locked};
use crate::order;
use crate::table::Table;
use crate::time::Instant;
use history::{History, UnderWay};

const ROWS: u32 = 1024;

const RECORDS_PER_ROW: usize = 8;

/// A hash of a subject's kind and value under the secret of the process.
pub type Hash = [u8; 16];

/// The client that a failure counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    address: Hash,
    number: Option<Hash>,
}

impl Suspect {
    /// - `address`: Envoy's `source.address`, `1.2.3.4:567` or `[2001:db8::1]:567`. The port doesn't count, an IPv6
    ///   address counts by its /64, which is what one host gets (RFC 4291 section 2.5.4), and an IPv4-mapped one as
    ///   IPv4. Anything else gives no suspect.
    /// - `number`: what stands before the `$` of an API token; leading zeros don't count. Anything else is no number.
    // Compiled apart: docs/performance.md#start.
    #[inline(never)]
    pub fn new(address: &str, number: Option<&str>, shared: &dyn SharedData) -> Option<Self> {
        let address = match address.parse::<SocketAddr>().ok()?.ip().to_canonical() {
            IpAddr::V4(ip) => hash("ipv4", &ip.octets(), shared),
            IpAddr::V6(ip) => hash("ipv6", &(ip.to_bits() >> 64).to_be_bytes(), shared),
        };
        let number = number
            .filter(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
            .map(|number| hash("token", number.trim_start_matches('0').as_bytes(), shared));
        Some(Self { address, number })
    }

    /// Its address.
    pub const fn address(&self) -> Hash {
        self.address
    }

    /// Whether both have the same address.
    pub fn is_of_one_address(&self, other: &Self) -> bool {
        self.address == other.address
    }
}

fn hash(kind: &str, value: &[u8], shared: &dyn SharedData) -> Hash {
    let mut text = [kind.as_bytes(), &[0], value].concat();
    let low = shared.keyed_hash(&text);
    text.push(1);
    (u128::from(shared.keyed_hash(&text)) << 64 | u128::from(low)).to_le_bytes()
}

/// Why a question may not be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttled {
    /// The suspect is locked out, for this long.
    Locked(Duration),
    /// If all of its questions under way fail, it has no attempt left.
    Busy,
}

/// A question under way, to be returned when it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guess {
    suspect: Suspect,
    began: Instant,
}

impl Guess {
    /// The client that asks.
    pub const fn suspect(&self) -> Suspect {
        self.suspect
    }
}

/// The state of a token's number when somebody asks about the token.
#[derive(Debug, Clone, Copy)]
enum Number {
    /// It has an attempt left, or there is no number.
    Free,
    /// If all questions about it that are under way fail, it has no attempt left.
    Full,
    /// It is still locked, for this long.
    Locked(Duration),
}

/// The throttle, as one worker sees it.
#[derive(Debug)]
pub struct Throttle {
    addresses: Table<History>,
    numbers: Table<History>,
    attempts: u64,
    window: Duration,
    lockout: Duration,
    longest: Duration,
}

impl Throttle {
    /// - `prefix`: how the keys of the shared data begin; nothing else may use such keys.
    /// - `attempts`: how many failures lock a suspect out; more than 0.
    /// - `window`: the time within which they have to come, from the first one on.
    /// - `lockout`: how long a lock lasts, from the last of them on.
    /// - `longest`: how long a question can be under way. After that, and at the latest after twice as long, it no
    ///   longer counts: its worker has died.
    pub fn new(prefix: &str, attempts: u32, window: Duration, lockout: Duration, longest: Duration) -> Self {
        // A record means something else under other settings, so each set of settings has its own records.
        let settings = format!("{attempts}.{}.{}", window.as_millis(), lockout.as_millis());
        let table = |subjects: &str| Table::new(format!("{prefix}{settings}.{subjects}."), ROWS);
        let (addresses, numbers) = (table("address"), table("number"));
        Self { addresses, numbers, attempts: attempts.into(), window, lockout, longest }
    }

    /// How long the suspect is still locked out, more than 0. `None`: it isn't.
    pub fn check(&self, suspect: &Suspect, cx: &Cx<'_>) -> Option<Duration> {
        let address = find(&self.addresses, suspect.address, cx.shared);
        let by_address = address.and_then(|record| self.lock(&record, cx.now));
        let failed = address.and_then(|record| self.memory_of(&record, cx.now));
        let by_number = failed.and_then(|memory| self.lock_of_number(suspect, cx).map(|lock| lock.min(memory)));
        by_address.max(by_number)
    }

    /// Asks whether a question about a credential of the suspect may be put, and counts it as under way. `None`: it
    /// may, and nothing has to be returned.
    ///
    /// # Errors
    /// [`Throttled`] if it may not, or not yet.
    pub fn begin_guess(&self, suspect: &Suspect, cx: &Cx<'_>) -> Result<Option<Guess>, Throttled> {
        let number = self.number(suspect, cx);
        let refused = self.addresses.update(self.addresses.row(&suspect.address, cx.shared), cx.shared, |row| {
            let mut record = self.take(suspect.address, row, cx.now);
            let refused = self.admits(&record, number, cx.now).err();
            if refused.is_none() {
                record.under_way.begin(cx.now, self.longest);
                row.push(record);
            }
            (refused.is_none(), refused)
        });
        match refused {
            Ok(None) => {}
            Ok(Some(throttled)) => return Err(throttled),
            Err(busy) => {
                log::debug!("a question was not counted: {busy}");
                return Ok(None);
            }
        }
        let guess = Guess { suspect: *suspect, began: cx.now };
        if self.begin_number(suspect, number, cx) {
            return Ok(Some(guess));
        }
        self.end_address(guess, false, cx);
        Err(Throttled::Busy)
    }

    /// Whether the suspect's address has no attempt left if all of its questions under way fail.
    pub fn is_address_full(&self, suspect: &Suspect, cx: &Cx<'_>) -> bool {
        find(&self.addresses, suspect.address, cx.shared).is_some_and(|record| self.is_full(&record, cx.now))
    }

    /// The state of the number of a suspect's token.
    fn number(&self, suspect: &Suspect, cx: &Cx<'_>) -> Number {
        let record = suspect.number.and_then(|number| find(&self.numbers, number, cx.shared));
        match record {
            Some(record) if let Some(lock) = self.lock(&record, cx.now) => Number::Locked(lock),
            Some(record) if self.is_full(&record, cx.now) => Number::Full,
            Some(_) | None => Number::Free,
        }
    }

    /// Counts a question about a token's number as under way. False: another worker has taken the last attempt.
    fn begin_number(&self, suspect: &Suspect, number: Number, cx: &Cx<'_>) -> bool {
        let mut is_counted = true;
        self.change_number(suspect, cx, |record| {
            is_counted = !matches!(number, Number::Free) || !self.is_full(record, cx.now);
            if is_counted {
                record.under_way.begin(cx.now, self.longest);
            }
            is_counted
        });
        is_counted
    }

    /// Changes the record of a token's number; `change` says whether it did.
    fn change_number(&self, suspect: &Suspect, cx: &Cx<'_>, mut change: impl FnMut(&mut History) -> bool) {
        let Some(number) = suspect.number else { return };
        let changed = self.numbers.update(self.numbers.row(&number, cx.shared), cx.shared, |row| {
            let mut record = self.take(number, row, cx.now);
            let was_locked = self.lock(&record, cx.now).is_some();
            let has_changed = change(&mut record);
            let has_locked = !was_locked && self.lock(&record, cx.now).is_some();
            if self.matters(&record, cx.now) {
                row.push(record);
            }
            (has_changed, has_locked)
        });
        match changed {
            Ok(has_locked) => count_lock(has_locked, Locked::Token, cx),
            Err(busy) => log::debug!("a question about a number was not counted: {busy}"),
        }
    }

    /// Whether the questions under way would lock the subject of a record if all of them fail.
    fn is_full(&self, record: &History, now: Instant) -> bool {
        self.current_failures(record, now).saturating_add(record.under_way.count(now)) >= self.attempts
    }

    fn admits(&self, address: &History, number: Number, now: Instant) -> Result<(), Throttled> {
        if let Some(lock) = self.lock(address, now) {
            return Err(Throttled::Locked(lock));
        }
        let under_way = address.under_way.count(now);
        let memory = self.memory_of(address, now);
        match number {
            Number::Free => {}
            Number::Locked(lock) if memory.is_some() => {
                return Err(Throttled::Locked(memory.map_or(lock, |memory| lock.min(memory))));
            }
            // An address that has neither failed nor asked gets one try.
            Number::Full | Number::Locked(_) if memory.is_none() && under_way == 0 => {}
            Number::Full | Number::Locked(_) => return Err(Throttled::Busy),
        }
        if self.is_full(address, now) { Err(Throttled::Busy) } else { Ok(()) }
    }

    /// A question is answered, or won't be. `is_failure`: its credential was refused.
    pub fn end_guess(&self, guess: Guess, is_failure: bool, cx: &Cx<'_>) {
        self.end_address(guess, is_failure, cx);
        self.change_number(&guess.suspect, cx, |record| {
            let has_ended = record.under_way.end(guess.began, cx.now);
            is_failure && self.count(record, cx.now) || has_ended
        });
    }

    fn end_address(&self, Guess { suspect, began }: Guess, is_failure: bool, cx: &Cx<'_>) {
        let row = self.addresses.row(&suspect.address, cx.shared);
        let ended = self.addresses.update(row, cx.shared, |row| {
            let mut record = self.take(suspect.address, row, cx.now);
            let mut has_changed = record.under_way.end(began, cx.now);
            let is_counted = is_failure && self.count(&mut record, cx.now);
            has_changed |= is_counted;
            let has_locked = is_counted && self.is_lock(&record);
            if self.matters(&record, cx.now) {
                row.push(record);
            }
            (has_changed, has_locked)
        });
        match ended {
            Ok(has_locked) => count_lock(has_locked, Locked::Address, cx),
            Err(busy) => log::debug!("the end of a question was not counted: {busy}"),
        }
    }

    /// An authentication of the suspect failed without a question: its credential was refused. Failures with causes
    /// other than the credential don't count, nor do requests that [`Self::check`] refused.
    pub fn fail(&self, suspect: &Suspect, cx: &Cx<'_>) {
        self.fail_in(&self.addresses, suspect.address, Locked::Address, cx);
        if let Some(number) = suspect.number {
            self.fail_in(&self.numbers, number, Locked::Token, cx);
        }
    }

    fn fail_in(&self, table: &Table<History>, subject: Hash, locked: Locked, cx: &Cx<'_>) {
        let counted = table.update(table.row(&subject, cx.shared), cx.shared, |row| {
            let mut record = self.take(subject, row, cx.now);
            let has_changed = self.count(&mut record, cx.now);
            let has_locked = has_changed && self.is_lock(&record);
            row.push(record);
            (has_changed, has_locked)
        });
        match counted {
            Ok(has_locked) => count_lock(has_locked, locked, cx),
            Err(busy) => log::debug!("a failed authentication was not counted: {busy}"),
        }
    }

    /// Takes a subject's record out of its row, or makes a new one and room for it.
    fn take(&self, subject: Hash, row: &mut Vec<History>, now: Instant) -> History {
        row.retain(|record| self.matters(record, now));
        if let Some(index) = row.iter().position(|record| record.subject == subject) {
            return row.swap_remove(index);
        }
        let excess = (row.len() + 1).saturating_sub(RECORDS_PER_ROW);
        if excess > 0 {
            order::sort_by_key(row, |record| {
                let under_way = record.under_way.count(now);
                let weight = self.current_failures(record, now).saturating_add(under_way);
                (self.lock(record, now).is_some(), weight, record.since.after(self.period(record)))
            });
            row.drain(..excess);
        }
        History { subject, failures: 0, since: Instant::default(), under_way: UnderWay::default() }
    }

    /// Counts a failure. False: it is locked, and nothing has changed.
    fn count(&self, record: &mut History, now: Instant) -> bool {
        if self.current_failures(record, now) == 0 {
            (record.failures, record.since) = (1, now);
            return true;
        }
        if self.is_lock(record) {
            return false;
        }
        record.failures += 1;
        if self.is_lock(record) {
            record.since = now;
        }
        true
    }

    /// Whether a record still holds anything.
    fn matters(&self, record: &History, now: Instant) -> bool {
        self.memory_of(record, now).is_some() || record.under_way.count(now) > 0
    }

    /// The failures in the present window or lock.
    fn current_failures(&self, record: &History, now: Instant) -> u64 {
        if now.has_passed(self.period(record), record.since) { 0 } else { record.failures }
    }

    fn lock_of_number(&self, suspect: &Suspect, cx: &Cx<'_>) -> Option<Duration> {
        let record = find(&self.numbers, suspect.number?, cx.shared)?;
        self.lock(&record, cx.now)
    }

    /// How long a record is still locked.
    fn lock(&self, record: &History, now: Instant) -> Option<Duration> {
        if self.is_lock(record) { now.remaining(self.lockout, record.since) } else { None }
    }

    /// How long a subject still counts as one that has failed, from the beginning of its window or lock.
    fn memory_of(&self, record: &History, now: Instant) -> Option<Duration> {
        if record.failures == 0 { None } else { now.remaining(self.window.max(self.lockout), record.since) }
    }

    const fn is_lock(&self, record: &History) -> bool {
        record.failures >= self.attempts
    }

    const fn period(&self, record: &History) -> Duration {
        if self.is_lock(record) { self.lockout } else { self.window }
    }
}

fn count_lock(has_locked: bool, locked: Locked, cx: &Cx<'_>) {
    if has_locked {
        cx.host.count(Counter::Lockout(locked));
    }
}

fn find(table: &Table<History>, subject: Hash, shared: &dyn SharedData) -> Option<History> {
    let row = table.read(table.row(&subject, shared), shared);
    row.into_iter().find(|record| record.subject == subject)
}

#[cfg(test)]
mod tests;
