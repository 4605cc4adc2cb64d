//! Credentials on which the service answered without a verdict: no worker asks about them again for a while.
//!
//! They have a table of their own, so that they displace no refusal. A row keeps the latest; each of the others costs
//! one more callout.

use std::time::Duration;

use crate::cache::Digest;
use crate::host::Cx;
use crate::order;
use crate::table::{Bytes, Record, Table, write_time, write_u64};
use crate::time::Instant;

const ROWS: u32 = 1024;
const PER_ROW: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
struct NoVerdict {
    /// The first half of the credential's digest.
    digest: [u8; 16],
    /// When the answer came.
    at: Instant,
    /// How long the filter that asked doesn't ask again. Another filter may have a shorter time.
    length: Duration,
}

impl Record for NoVerdict {
    const BYTES: usize = 16 + 8 + 8;

    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.digest);
        write_time(to, self.at);
        write_u64(to, u64::try_from(self.length.as_nanos()).unwrap_or(u64::MAX));
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Bytes(bytes);
        Some(Self { digest: reader.bytes()?, at: reader.time()?, length: Duration::from_nanos(reader.u64()?) })
    }
}

/// The credentials of all workers.
#[derive(Debug)]
pub(super) struct Unanswered {
    table: Table<NoVerdict>,
    /// How long the service isn't asked about a credential again.
    length: Duration,
}

impl Unanswered {
    pub(super) const fn new(prefix: String, length: Duration) -> Self {
        Self { table: Table::new(prefix, ROWS), length }
    }

    /// The service answered a question about this credential, but not with a verdict. Returns how long it isn't asked
    /// again.
    pub(super) fn add(&self, digest: &Digest, cx: &Cx<'_>) -> Duration {
        self.add_for(digest, self.length, cx)
    }

    /// Like [`Self::add`], for this length.
    pub(super) fn add_for(&self, digest: &Digest, length: Duration, cx: &Cx<'_>) -> Duration {
        let half = digest.half();
        let added = self.table.update(self.table.row(&digest.0, cx.shared), cx.shared, |row| {
            row.retain(|known| known.digest != half && !cx.now.has_passed(known.length, known.at));
            order::sort_by_key(row, |known| known.at);
            row.drain(..(row.len() + 1).saturating_sub(PER_ROW));
            (true, row.push(NoVerdict { digest: half, at: cx.now, length }))
        });
        if added.is_err() {
            log::debug!("a credential without a verdict could not be shared");
        }
        length
    }

    /// How long the service isn't asked about this credential; `None`: it may be asked.
    pub(super) fn remaining(&self, digest: &Digest, cx: &Cx<'_>) -> Option<Duration> {
        let row = self.table.read(self.table.row(&digest.0, cx.shared), cx.shared);
        let known = row.iter().find(|known| known.digest == digest.half())?;
        cx.now.remaining(known.length.min(self.length), known.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::world::{BEGIN, Process};
    use crate::host::SharedData as _;

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(BEGIN + seconds)
    }

    /// A filter that doesn't ask again for so long.
    fn filter(seconds: u64) -> Unanswered {
        Unanswered::new("u.".to_owned(), Duration::from_secs(seconds))
    }

    /// Digests whose credentials share a row.
    fn of_one_row(count: usize, host: &Process) -> Vec<Digest> {
        let digest = |number: u32| Digest(std::array::from_fn(|index| number.to_le_bytes()[index % 4]));
        let in_one_row = |digest: &Digest| host.keyed_hash(&digest.0) % u64::from(ROWS) == 3;
        (0..).map(digest).filter(in_one_row).take(count).collect()
    }

    #[test]
    fn a_full_row_of_credentials_without_a_verdict_forgets_the_oldest() {
        let host = Process::default();
        let unanswered = filter(10);
        let digests = of_one_row(9, &host);
        for (second, digest) in (0..).zip(&digests) {
            unanswered.add(digest, &Cx::new(at(second), &host));
        }
        let left: Vec<_> = digests.iter().map(|digest| unanswered.remaining(digest, &Cx::new(at(9), &host))).collect();
        let expected: Vec<_> = (1..9).map(|second| Some(Duration::from_secs(1 + second))).collect();
        assert_eq!((left[0], &left[1..]), (None, &expected[..]));
    }

    #[test]
    fn of_two_filters_the_shorter_time_counts() {
        let host = Process::default();
        for (writer, length, reader, left) in [(10, 1, 3600, 1), (10, 10, 3600, 10), (3600, 3600, 10, 10)] {
            let digest = &of_one_row(1, &host)[0];
            filter(writer).add_for(digest, Duration::from_secs(length), &Cx::new(at(0), &host));
            let remaining = |seconds| filter(reader).remaining(digest, &Cx::new(at(seconds), &host));
            let context = format!("{writer} {length} {reader}");
            assert_eq!((remaining(0), remaining(left)), (Some(Duration::from_secs(left)), None), "{context}");
        }
    }

    #[test]
    fn a_filter_keeps_what_another_remembers_for_longer() {
        let host = Process::default();
        let digests = of_one_row(2, &host);
        filter(3600).add(&digests[0], &Cx::new(at(0), &host));
        filter(10).add(&digests[1], &Cx::new(at(60), &host));
        let remaining = filter(3600).remaining(&digests[0], &Cx::new(at(60), &host));
        assert_eq!(remaining, Some(Duration::from_secs(3540)));
    }
}
