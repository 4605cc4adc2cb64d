//! A verdict that let a credential in, and its size in memory.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::claims::Claims;
use crate::config::{Config, MAX_CLOCK_SKEW};
use crate::host::Cx;
use crate::policy::Identity;
use crate::revocation::Version;
use crate::time::{Instant, UnixTime};

/// A verdict that let a credential in.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Whose credential it is.
    pub identity: Rc<Identity>,
    /// When the verification that gave this verdict began.
    pub verified: Instant,
    /// When this worker last tried to verify it again.
    pub(super) refreshed: Cell<Option<Instant>>,
    /// The latest version of the revocation list that was found neither to revoke nor to purge it.
    cleared: Cell<Option<Version>>,
}

impl Entry {
    pub(super) const fn new(identity: Rc<Identity>, verified: Instant) -> Self {
        Self { identity, verified, refreshed: Cell::new(None), cleared: Cell::new(None) }
    }

    /// Whether this version of the revocation list is known neither to revoke nor to purge it.
    pub fn is_cleared_by(&self, version: Version) -> bool {
        self.cleared.get() == Some(version)
    }

    /// Notes that this version of the revocation list neither revokes the identity nor purges the entry.
    pub fn clear_by(&self, version: Version) {
        self.cleared.set(Some(version));
    }

    pub(super) fn claims(&self) -> &Claims {
        self.identity.claims()
    }

    /// Whether it was verified no longer than `life` ago.
    pub(super) fn is_within(&self, life: Duration, now: Instant) -> bool {
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

/// Whether a verdict may still be used, now or later, given that verdicts live for `life`.
pub(super) fn is_of_use(claims: Option<&Claims>, verified: Instant, life: Duration, cx: &Cx<'_>) -> bool {
    let exp = claims.and_then(Claims::exp);
    let has_expired = exp.is_some_and(|exp| cx.wall >= UnixTime::from_secs(exp).after(MAX_CLOCK_SKEW));
    !has_expired && !cx.now.has_passed(life, verified)
}
