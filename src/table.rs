//! A table in the host's shared data: a fixed set of keys, each with a short list of records.
//!
//! The host never frees a key, so keys must not depend on what clients send. A keyed hash of a record's subject picks
//! the key, and the record names its subject in full. The caller decides what a full row drops.

use std::marker::PhantomData;

use crate::host::{SharedData, Write};
use crate::time::Instant;

/// How the names of all records with times begin. The number changes with their form, so that two versions of the
/// filter in one process don't misread each other's records.
pub const RECORDS: &str = "authgate.2.";

/// How often an update is tried when other workers write in between.
const TRIES: usize = 16;

/// One record, of a fixed length.
pub trait Record: Sized {
    /// The length, in bytes.
    const BYTES: usize;

    /// Appends exactly [`Self::BYTES`] bytes.
    fn encode(&self, to: &mut Vec<u8>);

    /// Reads what [`Self::encode`] wrote. `None`: these bytes are something else.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// At every try another worker had written in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shared value is too busy")]
pub struct Busy;

/// The table, as one worker sees it: it holds nothing itself.
#[derive(Debug)]
pub struct Table<R> {
    prefix: String,
    rows: u32,
    record: PhantomData<R>,
}

impl<R: Record> Table<R> {
    /// A table of `rows` keys (a power of two, at most 65,536) whose names begin with `prefix`.
    pub const fn new(prefix: String, rows: u32) -> Self {
        Self { prefix, rows, record: PhantomData }
    }

    /// How many keys there are.
    pub const fn rows(&self) -> u32 {
        self.rows
    }

    /// The row of a subject. Which subjects share a row is secret, so that no client can choose subjects that displace
    /// another client's record.
    pub fn row(&self, subject: &[u8], shared: &dyn SharedData) -> u32 {
        let row = shared.keyed_hash(subject) & u64::from(self.rows - 1);
        u32::try_from(row).unwrap_or_default()
    }

    /// The records of a row; none if the key doesn't exist yet, or its value is unreadable.
    pub fn read(&self, row: u32, shared: &dyn SharedData) -> Vec<R> {
        shared.shared_data(&self.name(row)).map_or_else(Vec::new, |value| decode(&value.bytes))
    }

    /// Changes the records of a row in one step. If another worker was faster, `change` is called again. It returns
    /// whether there is anything to write, and a result for the caller.
    ///
    /// # Errors
    /// [`Busy`] after many tries; nothing was written.
    pub fn update<T>(
        &self,
        row: u32,
        shared: &dyn SharedData,
        mut change: impl FnMut(&mut Vec<R>) -> (bool, T),
    ) -> Result<T, Busy> {
        update(&self.name(row), shared, |stored| {
            let mut records = stored.map_or_else(Vec::new, decode);
            let (has_changed, result) = change(&mut records);
            let encoded = has_changed.then(|| {
                let mut bytes = Vec::with_capacity(records.len() * R::BYTES);
                records.iter().for_each(|record| record.encode(&mut bytes));
                bytes
            });
            (encoded, result)
        })
    }

    fn name(&self, row: u32) -> String {
        key(&self.prefix, row)
    }
}

/// Changes the value of one key in one step. `change` gets the value, if the key exists, and returns what to write, if
/// anything, and a result for the caller. If another worker was faster, it is called again with the new value.
///
/// # Errors
/// [`Busy`] after many tries; nothing was written.
pub fn update<T>(
    name: &str,
    shared: &dyn SharedData,
    mut change: impl FnMut(Option<&[u8]>) -> (Option<Vec<u8>>, T),
) -> Result<T, Busy> {
    for _ in 0..TRIES {
        let stored = shared.shared_data(name);
        let (changed, result) = change(stored.as_ref().map(|stored| stored.bytes.as_slice()));
        let Some(bytes) = changed else { return Ok(result) };
        let write = stored.map_or(Write::IfAbsent, |stored| Write::IfVersion(stored.cas));
        if shared.set_shared_data(name, &bytes, write).is_ok() {
            return Ok(result);
        }
    }
    Err(Busy)
}

fn decode<R: Record>(bytes: &[u8]) -> Vec<R> {
    bytes.chunks_exact(R::BYTES.max(1)).filter_map(R::decode).collect()
}

/// The key of a row: the prefix and the row's number in hexadecimal. `format!` takes ten times as long, and a question
/// needs twenty keys.
pub fn key(prefix: &str, row: u32) -> String {
    const MOST_DIGITS: u32 = 8;
    let mut key = String::with_capacity(prefix.len() + 8);
    key.push_str(prefix);
    let digits = (MOST_DIGITS - row.leading_zeros() / 4).max(1);
    key.extend((0..digits).rev().filter_map(|place| char::from_digit(row >> (4 * place) & 0xf, 16)));
    key
}

/// Takes values off the front of bytes. `None`: the bytes end before the value does.
#[derive(Debug)]
pub struct Bytes<'b>(pub &'b [u8]);

impl<'b> Bytes<'b> {
    /// The next bytes, so many of them.
    pub fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next bytes.
    pub fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next number in base 128: the lowest digits come first; the high bit says that more follow.
    pub fn varint(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let [byte] = self.bytes()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
            shift += 7;
        }
    }

    /// The next number of 64 bits.
    pub fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    /// The next time.
    pub fn time(&mut self) -> Option<Instant> {
        self.u64().map(Instant::from_nanos)
    }
}

/// Appends a number as [`Bytes::varint`] reads it.
pub fn write_varint(to: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        to.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    to.push((number & 0x7f) as u8);
}

/// Appends a number as [`Bytes::u64`] reads it.
pub fn write_u64(to: &mut Vec<u8>, number: u64) {
    to.extend_from_slice(&number.to_le_bytes());
}

/// Appends a time as [`Bytes::time`] reads it.
pub fn write_time(to: &mut Vec<u8>, time: Instant) {
    write_u64(to, time.as_nanos());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::filter::world::Process;

    #[derive(Debug, PartialEq, Eq)]
    struct Number(u64);

    impl Record for Number {
        const BYTES: usize = 8;

        fn encode(&self, to: &mut Vec<u8>) {
            write_u64(to, self.0);
        }

        fn decode(bytes: &[u8]) -> Option<Self> {
            Bytes(bytes).u64().map(Self)
        }
    }

    fn table() -> Table<Number> {
        Table::new("t.".to_owned(), 16)
    }

    #[test]
    fn numbers_of_any_length_are_read_as_they_were_written() {
        for (number, length) in [(0, 1), (0x7f, 1), (0x80, 2), (0x3fff, 2), (0x4000, 3), (u64::MAX, 10)] {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, number);
            assert_eq!(bytes.len(), length, "{number}");
            assert_eq!(Bytes(&bytes).varint(), Some(number));
            assert_eq!(Bytes(&bytes[1..]).varint().is_none(), length == 1, "{number}");
            assert_eq!(Bytes(&bytes[..length - 1]).varint(), None, "{number}");
        }
        assert_eq!(Bytes(&[0x80; 11]).varint(), None);
    }

    #[test]
    fn keys_end_with_the_number_in_hexadecimal() {
        for row in [0, 1, 9, 10, 15, 16, 255, 256, 0x0fff_ffff, 0x1000_0000, u32::MAX] {
            assert_eq!(key("a.b.", row), format!("a.b.{row:x}"));
        }
    }

    #[test]
    fn rows_keep_their_records_apart() {
        let (table, host) = (table(), Process::default());
        for row in [0, 15] {
            table.update(row, &host, |records| (true, records.push(Number(row.into())))).unwrap();
        }
        assert_eq!(table.read(0, &host), [Number(0)]);
        assert_eq!(table.read(15, &host), [Number(15)]);
        assert_eq!(table.read(7, &host), []);
    }

    #[test]
    fn subjects_use_every_row_and_no_other() {
        let (table, host) = (table(), Process::default());
        let rows: BTreeSet<u32> = (0_u8..=255).map(|subject| table.row(&[subject], &host)).collect();
        assert!(rows.into_iter().eq(0..16));
    }

    #[test]
    fn an_overtaken_update_is_repeated_on_the_new_value() {
        let (table, host) = (table(), Process::default());
        let mut calls = 0;
        table
            .update(3, &host, |records| {
                calls += 1;
                if calls == 1 {
                    table.update(3, &host, |records| (true, records.push(Number(1)))).unwrap();
                }
                (true, records.push(Number(2)))
            })
            .unwrap();
        assert_eq!((calls, table.read(3, &host)), (2, vec![Number(1), Number(2)]));
    }

    #[test]
    fn an_update_that_is_always_overtaken_is_an_error() {
        let (table, host) = (table(), Process::default());
        let outcome = table.update(3, &host, |records| {
            host.set_shared_data("t.3", &[], Write::Always).unwrap();
            (true, records.push(Number(2)))
        });
        assert_eq!((outcome, table.read(3, &host)), (Err(Busy), vec![]));
    }

    #[test]
    fn an_update_without_a_change_writes_nothing_and_foreign_bytes_are_no_records() {
        let (table, host) = (table(), Process::default());
        assert_eq!(table.update(1, &host, |records| (false, records.len())), Ok(0));
        assert_eq!(host.shared_data("t.1"), None);
        host.set_shared_data("t.1", b"1234567", Write::Always).unwrap();
        assert_eq!(table.read(1, &host), []);
    }
}
