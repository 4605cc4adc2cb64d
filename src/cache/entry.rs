//! A verdict that let a credential in, and what it takes in memory.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::claims::Claims;
use crate::config::Config;
use crate::policy::Identity;
use crate::time::UnixTime;

/// A verdict that let a credential in.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Whose credential it is.
    pub identity: Rc<Identity>,
    /// When the verification began that found this.
    pub verified: UnixTime,
    /// When this worker last tried to verify it again.
    pub(super) refreshed: Cell<Option<UnixTime>>,
}

impl Entry {
    pub(super) const fn new(identity: Rc<Identity>, verified: UnixTime) -> Self {
        Self { identity, verified, refreshed: Cell::new(None) }
    }

    pub(super) fn claims(&self) -> &Claims {
        self.identity.claims()
    }

    /// Whether it was verified no longer than `life` ago.
    pub(super) fn is_within(&self, life: Duration, now: UnixTime) -> bool {
        !now.has_passed(life, self.verified)
    }
}

/// How much memory an entry takes without its headers, in bytes: an estimate.
pub(super) fn weight(entry: &Entry) -> usize {
    const ALLOCATIONS: usize = 3 * 8;
    let claims = entry.claims();
    let text = entry.identity.jwt().map_or(0, <[u8]>::len);
    let own = size_of::<Entry>() + size_of::<Identity>() + size_of::<Claims>() + ALLOCATIONS;
    own + claims.heap_bytes() + text
}

/// How much memory an entry's headers take, in bytes: an estimate, since they are rendered at its first use. One value
/// may be as long as an email address.
pub(super) fn header_bytes(config: &Config) -> usize {
    const ALLOCATION: usize = 3 * 8;
    config.identity_headers.iter().map(|header| header.name.len() + 8).sum::<usize>() + 32 + ALLOCATION
}
