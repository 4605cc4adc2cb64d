//! Whether something has ended a verdict before its time: a refusal, a key that is no longer good, or a purge.
//!
//! Its age, `exp`, `nbf` and the horizon are looked at in `newest` of the cache.

use super::Entry;
use super::refusals::Refusal;
use crate::host::Cx;
use crate::keys::Keys;
use crate::policy::VerifiedBy;
use crate::revocation::Revocation;

/// What may have ended a verdict before its time.
#[derive(Debug)]
pub struct Validity<'p> {
    /// The keys that are good now.
    pub keys: &'p mut Keys,
    /// The purges; `None`: there is no feed.
    pub revocation: Option<&'p Revocation>,
}

impl Validity<'_> {
    /// Whether an entry stands: the service hasn't refused the credential since, the key of its signature is still
    /// good, and it isn't purged.
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
        self.revocation
            .is_some_and(|revocation| revocation.is_purged(entry.identity.claims(), entry.verified, cx.shared))
    }
}
