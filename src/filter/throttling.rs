//! Denials of clients that have failed too often.

use std::time::Duration;

use super::parts::Parts;
use crate::code::Code;
use crate::decision::Denial;
use crate::host::Cx;
use crate::throttle::Suspect;

/// Counts a denial as a failure of its client, if it is one that counts. A client that is locked out gets
/// `too_many_failures` instead of the denial.
pub(super) fn after_denial(denial: Denial, suspect: Option<&Suspect>, parts: &Parts, cx: &Cx<'_>) -> Denial {
    let (Some(throttle), Some(suspect)) = (&parts.throttle, suspect) else {
        return denial;
    };
    // A client without a credential isn't guessing, nor is one whose credential is good, or was.
    let is_guess = matches!(
        denial.code,
        Code::MalformedCredentials
            | Code::UnsupportedScheme
            | Code::TokenMalformed
            | Code::SignatureInvalid
            | Code::TokenRejected
    );
    if !is_guess {
        return denial;
    }
    match throttle.check(suspect, cx) {
        Some(remaining) => too_many_failures(remaining),
        None => {
            throttle.fail(suspect, cx);
            denial
        }
    }
}

pub(super) const fn too_many_failures(retry_after: Duration) -> Denial {
    Denial { code: Code::TooManyFailures, retry_after: Some(retry_after) }
}
