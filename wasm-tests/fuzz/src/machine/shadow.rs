//! Denials in shadow mode, and what the access log gets for every request.

use authgate::metrics::Outcome;
use authgate::{Authorization, Code, Forward, Report};

use super::denial;
use super::forward;
use super::state::Stream;
use super::world::Machine;

/// Checks a request that goes on although it would be denied for `code`.
pub(super) fn check(machine: &Machine, stream: &Stream, code: Code, forward: &Forward) -> Outcome {
    assert!(machine.setup.is_shadow(stream.place), "goes on in spite of {code:?}: {stream:?}");
    denial::check_code(machine, stream, code.name());
    assert_eq!(forward.authorization, Authorization::Keep, "its credential goes on untouched: {stream:?}");
    if code != Code::ClaimsNotSufficient {
        assert!(forward.set.is_empty(), "an identity in spite of {code:?}: {stream:?}");
    } else if forward.set.is_empty() {
        let credential = stream.credential.expect("denied for its claims");
        assert!(denial::is_unspeakable(machine, credential), "its identity is beyond doubt: {stream:?}");
    } else {
        let what = forward::identity(machine, stream, forward);
        assert!(!stream.place.accepts(what.kind), "would be denied with a token of the type {}", what.kind);
    }
    Outcome::ShadowDeny
}

/// Checks what the access log gets for a request that has ended like this.
pub(super) fn check_report(stream: &Stream, report: &Report, ended: (Outcome, Option<Code>)) {
    assert_eq!((report.outcome, report.reason), ended, "what the access log is told of {stream:?}");
    assert_eq!(&*report.rule, stream.place.rule(), "the rule of {stream:?}");
    assert!(report.outcome != Outcome::Allow || report.who.is_some(), "nobody is let in");
    if let Some(who) = report.who {
        let credential = stream.credential.expect("somebody without a credential");
        assert_eq!(who.user_id, Machine::user(credential) as i64, "somebody else");
    }
}
