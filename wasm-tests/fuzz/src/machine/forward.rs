//! Whether a request may go on: with the identity that its own credential stands for, or to a public place.

use std::time::Duration;

use authgate::config::ForwardCredential;
use authgate::decision::{Authorization, Forward};
use authgate::metrics::Outcome;

use super::credentials::{FIRST_ANSWER, Kind, OF_ITSELF, Vouched};
use super::script::Place;
use super::state::{Stream, Vouching, has_passed};
use super::world::Machine;

/// Checks a request that goes on.
pub(super) fn check(machine: &Machine, stream: &Stream, forward: &Forward) -> Outcome {
    assert_ne!(stream.place, Place::Ambiguous, "an ambiguous path is let through");
    if stream.place == Place::Public || stream.is_preflight {
        assert!(forward.set.is_empty(), "an identity where none was looked for");
        authorization(machine, stream, forward, None);
        return Outcome::Public;
    }
    for (index, (name, value)) in forward.set.iter().enumerate() {
        assert!(forward.set.iter().take(index).all(|(earlier, _)| earlier != name), "{name} is set twice");
        assert!(value.bytes().all(|byte| byte >= b' ' && byte != 0x7f), "{name} would end early");
    }
    let number = |wanted: &str| {
        let header = forward.set.iter().find(|(name, _)| *name == wanted);
        header.and_then(|(_, value)| value.parse::<usize>().ok()).expect("a number in the identity")
    };
    let (user, client) = (number("x-user-id"), number("x-client-id"));
    let credential = stream.credential.expect("let in without a credential");
    assert_eq!(user, Machine::user(credential), "let in as somebody else");
    let what = if client == OF_ITSELF {
        let own = machine.credentials[credential].own.as_ref().expect("let in by its own word");
        by_signature(machine, stream, credential, own);
        own
    } else {
        let vouching = client.checked_sub(FIRST_ANSWER).and_then(|index| machine.vouchings.get(index));
        let vouching = vouching.expect("an answer of the service");
        assert_eq!(vouching.credential, credential, "let in by an answer about another");
        by_service(machine, stream, client, vouching);
        &vouching.what
    };
    assert!(!what.is_void, "let in with {what:?}");
    assert!(!what.has_expired(machine.now, machine.setup), "let in after the expiry: {what:?}");
    let own = machine.credentials[credential].own.as_ref();
    assert!(
        !own.is_some_and(|own| own.has_expired(machine.now, machine.setup)),
        "let in after its own expiry: {own:?}"
    );
    assert!(!what.is_early(machine.now, machine.setup), "let in too early: {what:?}");
    assert!(is_accepted(what.kind, stream.place), "let in with a token of the type {}", what.kind);
    assert!(!machine.feed.is_revoked(what, false), "let in although revoked: {what:?}");
    if let Some(key) = what.key {
        let is_known = if machine.setup.is_pinned() { key == 0 } else { machine.delivered.contains(&key) };
        assert!(is_known, "verified with a key that the service never served");
        let signed = what.jwt.as_deref().and_then(|jwt| jwt.rsplit_once('.')).map_or("", |(signed, _)| signed);
        assert!(machine.signed.contains(&(key, signed.as_bytes().to_vec())), "let in without a signature");
    }
    authorization(machine, stream, forward, Some(what));
    Outcome::Allow
}

/// By what the JWT says of itself: where that is asked for, or where the service is no help.
fn by_signature(machine: &Machine, stream: &Stream, credential: usize, own: &Vouched) {
    if !machine.setup.is_remote(stream.place) {
        return;
    }
    assert!(is_down(machine, stream), "the service was to verify {own:?}");
    let refused = machine.refusals.iter().filter(|refusal| {
        refusal.credential == credential
            && machine.is_steady_since(&refusal.asked)
            // While it waits for the key others may ask again.
            && (machine.setup.is_pinned() || refusal.delivered.step < stream.arrived.step)
    });
    for refusal in refused {
        let since =
            |vouching: &&Vouching| vouching.credential == credential && vouching.asked.step > refusal.asked.step;
        assert!(machine.vouchings.iter().any(|it| since(&it)), "let in by its signature after {refusal:?}");
    }
}

/// By an answer of the service: one that came while the request waited, or one that is known and stands.
fn by_service(machine: &Machine, stream: &Stream, client: usize, vouching: &Vouching) {
    let Vouching { credential, what, asked, delivered, .. } = vouching;
    let credential = &machine.credentials[*credential];
    assert!(credential.kind != Kind::Jwt || machine.setup.is_remote(stream.place), "a signature was to be verified");
    let is_own = delivered.step >= stream.arrived.step;
    if !is_own {
        assert!(!machine.setup.is_cache_off(), "nothing is to be kept");
        let (ttl, _, stale) = machine.setup.cache();
        assert!(!has_passed(machine.now, ttl + stale, asked.wall), "let in by a verdict that has ended: {vouching:?}");
        if has_passed(machine.now, ttl, asked.wall) {
            assert!(is_without_service(machine, stream), "let in by a stale verdict: {vouching:?}");
        }
    }
    if !machine.is_steady_since(asked) {
        return;
    }
    let setup = machine.setup;
    for refusal in machine.refusals.iter().filter(|refusal| refusal.credential == vouching.credential) {
        let is_later = refusal.asked.step >= asked.step;
        // Without a cache nobody remembers it, and what comes while an answer is being verified may be too late.
        let is_heard = refusal.delivered.step < delivered.step || !setup.answers_in_jwts();
        // By a clock that was set forward it was so long ago that no older verdict could be left.
        let (ttl, negative, stale) = setup.cache();
        let is_over = has_passed(machine.now, negative.max(ttl + stale), refusal.delivered.wall);
        let is_known = !is_own || (is_heard && !setup.is_cache_off() && !is_over);
        let is_withdrawn = machine.vouchings.iter().any(|other| {
            other.credential == vouching.credential
                && other.asked.step > refusal.asked.step
                && other.delivered.step > refusal.delivered.step
        });
        assert!(!is_later || !is_known || is_withdrawn, "let in by {vouching:?} after {refusal:?}");
    }
    for purge in machine.feed.purges(what.user, client, credential.token_id) {
        let is_later = purge.step >= asked.step;
        // Without a cache there is nothing to forget, and after a purge of a time to come nobody asks again.
        let is_exempt = is_own && (setup.answers_in_jwts() || setup.is_cache_off() || machine.setbacks > 0);
        assert!(!is_later || is_exempt, "let in by {vouching:?} after a purge at {purge:?}");
    }
}

/// Whether the service turned out to be no help while the request waited, or isn't asked.
pub(super) fn is_without_service(machine: &Machine, stream: &Stream) -> bool {
    stream.credential.is_some_and(|credential| {
        is_failing(machine, stream, machine.outages.get(&credential).copied())
            || machine.is_unanswered(credential)
            || (machine.setup.answers_in_jwts() && machine.vouchings.iter().any(|it| it.credential == credential))
    })
}

/// Whether the service turned out to be down while the request waited, or isn't asked.
fn is_down(machine: &Machine, stream: &Stream) -> bool {
    let down = stream.credential.and_then(|credential| machine.downs.get(&credential));
    is_failing(machine, stream, down.copied())
}

/// Whether an outage at that step may have been heard of by the request, or the breaker isn't closed.
fn is_failing(machine: &Machine, stream: &Stream, outage: Option<u64>) -> bool {
    let outage = outage.unwrap_or(0);
    // It may have joined one that was waiting for another worker's answer.
    let mut others = machine.streams.iter().filter(|other| {
        (other.worker, other.credential) == (stream.worker, stream.credential)
            && other.ended.is_none_or(|ended| ended > stream.arrived.step)
    });
    outage >= stream.arrived.step
        || others.any(|other| outage >= other.arrived.step)
        // By a clock that was set, an outage of before looks like one of since.
        || !machine.breaker.is_closed()
        || machine.unclosed >= stream.arrived.step
        || (outage > 0 && machine.jumps > 0)
}

/// Whether the request's worker surely knows a verdict on its credential that is not older than `life`.
pub(super) fn is_known(machine: &Machine, stream: &Stream, life: Duration) -> bool {
    let setup = machine.setup;
    let is_simple = machine.jumps == 0 && setup.is_cache_large() && !setup.is_cache_off() && !setup.answers_in_jwts();
    let Some(number) = stream.credential.filter(|_| is_simple) else { return false };
    let credential = &machine.credentials[number];
    if credential.kind == Kind::Jwt && !setup.is_remote(stream.place) {
        return false;
    }
    let own = machine.vouchings.iter().filter(|vouching| vouching.credential == number);
    let Some(Vouching { worker, what, asked, delivered, .. }) = own.max_by_key(|vouching| vouching.asked.step) else {
        return false;
    };
    let client = FIRST_ANSWER + machine.vouchings.iter().position(|it| it.asked.step == asked.step).unwrap_or(0);
    *worker == stream.worker
        && delivered.step > machine.born[*worker].step
        && delivered.step < stream.arrived.step
        && !what.is_void
        && !what.has_expired(machine.now, setup)
        && !credential.own.as_ref().is_some_and(|own| own.has_expired(machine.now, setup))
        && !what.is_early(machine.now, setup)
        && !has_passed(machine.now, life, asked.wall)
        && !machine.feed.is_revoked(what, true)
        && machine.feed.purges(what.user, client, credential.token_id).next().is_none()
        && !machine.refusals.iter().any(|refusal| {
            let is_later = refusal.delivered.step > asked.step || refusal.asked.wall >= asked.wall;
            refusal.credential == number && is_later
        })
}

pub(super) fn is_accepted(kind: &str, place: Place) -> bool {
    kind == "api_token" || (kind == "access" && place != Place::Machines)
}

fn authorization(machine: &Machine, stream: &Stream, forward: &Forward, vouched: Option<&Vouched>) {
    match (machine.config.forward_credential, &forward.authorization) {
        (ForwardCredential::Keep, Authorization::Keep) | (ForwardCredential::Remove, Authorization::Remove) => {}
        // The client's own is what it came with.
        (ForwardCredential::VerifiedJwt, Authorization::Keep) => {
            let jwt = vouched.and_then(|vouched| vouched.jwt.as_deref());
            assert_eq!(stream.authorization.as_deref().and_then(|value| value.strip_prefix("Bearer ")), jwt);
        }
        (ForwardCredential::VerifiedJwt, Authorization::Remove) => assert!(vouched.is_none(), "{stream:?}"),
        (ForwardCredential::VerifiedJwt, Authorization::Replace(value)) => {
            let jwt = vouched.and_then(|vouched| vouched.jwt.as_deref());
            assert_eq!(value.strip_prefix("Bearer "), jwt, "another's JWT");
        }
        other => panic!("what becomes of the credential: {other:?}"),
    }
}
