//! Whether a verdict is void: ended before its time by a refusal, a key that is no longer accepted, or a purge.
//!
//! Age, `exp`, `nbf` and the horizon are checked in `newest` of the cache.

use super::Entry;
use super::refusals::Refusal;
use crate::host::{Cx, SharedData};
use crate::keys::Keys;
use crate::policy::VerifiedBy;
use crate::revocation::{Revocation, Version};

/// What may have ended a verdict before its time.
#[derive(Debug)]
pub struct Validity<'p> {
    /// The keys that are accepted now.
    keys: &'p mut Keys,
    /// The purges, and their version; `None`: there is no feed.
    revocation: Option<(&'p Revocation, Version)>,
}

impl<'p> Validity<'p> {
    /// What is known now.
    pub fn new(keys: &'p mut Keys, revocation: Option<&'p Revocation>, shared: &dyn SharedData) -> Self {
        Self { keys, revocation: revocation.map(|revocation| (revocation, revocation.version(shared))) }
    }

    /// The version of the revocation list that it uses.
    pub fn version(&self) -> Option<Version> {
        self.revocation.map(|(_, version)| version)
    }

    /// Whether an entry stands: the service hasn't refused the credential since, the key of its signature is still
    /// accepted, and it isn't purged.
    pub(super) fn stands(&mut self, entry: &Entry, refusal: Option<&Refusal>, cx: &Cx<'_>) -> bool {
        let is_refused = refusal.is_some_and(|refusal| refusal.at >= entry.verified);
        !is_refused && self.has_key(entry, cx) && !self.is_purged(entry, cx)
    }

    fn has_key(&mut self, entry: &Entry, cx: &Cx<'_>) -> bool {
        match entry.identity.verified_by() {
            VerifiedBy::Service => true,
            VerifiedBy::Key(key) => self.keys.accepts(key, cx),
        }
    }

    fn is_purged(&self, entry: &Entry, cx: &Cx<'_>) -> bool {
        self.revocation.is_some_and(|(revocation, version)| {
            !entry.is_cleared_by(version) && revocation.is_purged(entry.identity.claims(), entry.verified, cx.shared)
        })
    }
}
