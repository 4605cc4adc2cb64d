//! How long a request can wait for an answer.

use std::time::Duration;

use super::Questions;

impl Questions {
    /// The longest that a request can wait for an answer: for those of other workers, and then for its own, which comes
    /// within `callout`.
    pub fn longest_wait(&self, callout: Duration) -> Duration {
        if self.shares_verdicts { self.longest_elsewhere + callout } else { callout }
    }
}
