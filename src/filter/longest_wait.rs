//! How long a request can wait, for `authgate check`.

use std::time::Duration;

use super::Filter;
use super::parts::Parts;
use crate::rule::Verification;

impl Filter {
    /// The longest that a request can wait, by the limits of each `Wait`: for a key or list alone, or for an answer and
    /// then for a key.
    pub(crate) fn longest_wait(&self) -> Duration {
        let Parts { config, keys, questions, .. } = &self.parts;
        let callout = config.auth_service.longest_callout();
        // With pinned keys, only the first revocation list is waited for.
        let of_key = if keys.store().is_pinned() { Duration::ZERO } else { keys.store().longest_wait() };
        let of_list = config.revocation.as_ref().map_or(Duration::ZERO, |_| callout);
        let of_client_jwt = of_key.max(of_list);
        // A request beyond its connection's share waits for another question's answer first, then for its own.
        let of_question = callout + questions.longest_wait(callout);
        let is_remote = config.rules.all_terms().any(|terms| terms.verification == Verification::Remote);
        let after = if is_remote && config.circuit_breaker.fallback {
            of_client_jwt
        } else if config.api_token.response_format.is_jwt() {
            of_key
        } else {
            Duration::ZERO
        };
        of_client_jwt.max(of_question + after)
    }
}
