//! Denials of clients that have failed too often, and suspicious activity of clients.

use std::time::Duration;

use super::parts::Parts;
use super::request::Facts;
use crate::code::Code;
use crate::decision::Denial;
use crate::host::Cx;
use crate::throttle::Suspect;

/// Counts a denial as a failure of its client, if it is one that counts. A client that is locked out gets
/// `too_many_failures` instead of the denial.
pub(super) fn after_denial(denial: Denial, facts: &mut Facts, parts: &Parts, cx: &Cx<'_>) -> Denial {
    // A client without a credential isn't guessing, nor is one whose credential is good, or was.
    let is_refused = facts.who.is_none()
        && matches!(
            denial.code,
            Code::MalformedCredentials
                | Code::UnsupportedScheme
                | Code::TokenMalformed
                | Code::SignatureInvalid
                | Code::TokenRejected
        );
    if is_refused || denial.code == Code::TooManyFailures {
        facts.suspicion = suspect(facts, cx).and_then(|suspect| parts.watch.refused(&suspect.address(), cx));
    }
    let (true, Some(throttle), Some(suspect)) = (is_refused && !facts.is_counted, &parts.throttle, &facts.suspect)
    else {
        return denial;
    };
    match throttle.check(suspect, cx) {
        Some(remaining) => too_many_failures(remaining),
        None => {
            throttle.fail(suspect, cx);
            denial
        }
    }
}

/// A credential has just been found good: notes the address that this user's credential came from.
#[inline(never)]
pub(super) fn after_verification(user_id: i64, facts: &mut Facts, parts: &Parts, cx: &Cx<'_>) {
    facts.suspicion = suspect(facts, cx).and_then(|suspect| parts.watch.good(user_id, &suspect.address(), cx));
}

/// The client of a request. If the request has waited, its client was determined at arrival or not at all.
fn suspect(facts: &Facts, cx: &Cx<'_>) -> Option<Suspect> {
    if facts.suspect.is_some() || facts.has_waited {
        return facts.suspect;
    }
    Suspect::new(&cx.host.client_address()?, None, cx.shared)
}

pub(super) const fn too_many_failures(retry_after: Duration) -> Denial {
    Denial { code: Code::TooManyFailures, retry_after: Some(retry_after) }
}

/// Suspects that may not ask now, since too many of their guesses are under way. With these, a look at many requests
/// asks the throttle once for each suspect, not for each request.
#[derive(Debug, Default)]
pub(super) struct BusySuspects(Vec<BusySuspect>);

#[derive(Debug)]
struct BusySuspect {
    suspect: Suspect,
    /// Whether no client of its address may ask; otherwise only this suspect may not.
    is_address_full: bool,
}

impl BusySuspects {
    pub(super) fn contains(&self, suspect: &Suspect) -> bool {
        let holds = |known: &BusySuspect| {
            known.suspect == *suspect || known.is_address_full && known.suspect.is_of_one_address(suspect)
        };
        self.0.iter().any(holds)
    }

    pub(super) fn add(&mut self, suspect: Suspect, parts: &Parts, cx: &Cx<'_>) {
        if let Some(throttle) = &parts.throttle {
            self.0.push(BusySuspect { suspect, is_address_full: throttle.is_address_full(&suspect, cx) });
        }
    }
}
