//! Requests that go on: each has the identity of its own credential, or goes to a public place.

use std::time::Duration;

use authgate::config::ForwardCredential;
use authgate::metrics::Outcome;
use authgate::{Authorization, Forward};

use super::credentials::{FIRST_ANSWER, Kind, OF_ITSELF, Vouched};
use super::script::Place;
use super::state::{Refusal, Stream, Vouching, has_passed};
use super::world::Machine;

/// Checks a request that goes on.
pub(super) fn check(machine: &Machine, stream: &Stream, forward: &Forward) -> Outcome {
    assert_eq!(stream.place.closed_for(), None, "let in where nobody is");
    if !stream.is_looked_at() || (stream.place == Place::Optional && stream.is_bare) {
        assert!(forward.set.is_empty(), "an identity where none was looked for");
        authorization(machine, stream, forward, None);
        return Outcome::Public;
    }
    let what = identity(machine, stream, forward);
    assert!(stream.place.accepts(what.kind), "let in with a token of the type {}", what.kind);
    authorization(machine, stream, forward, Some(what));
    Outcome::Allow
}

/// Checks that a request carries its credential's identity. Returns what vouches for it.
pub(super) fn identity<'m>(machine: &'m Machine, stream: &Stream, forward: &Forward) -> &'m Vouched {
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
    assert!(!what.has_expired(machine.wall(), machine.setup), "let in after the expiry: {what:?}");
    let own = machine.credentials[credential].own.as_ref();
    assert!(
        !own.is_some_and(|own| own.has_expired(machine.wall(), machine.setup)),
        "let in after its own expiry: {own:?}"
    );
    assert!(!what.is_early(machine.wall(), machine.setup), "let in too early: {what:?}");
    assert!(Place::Private.accepts(what.kind), "let in with a token of the type {}", what.kind);
    assert!(!machine.feed.is_revoked(what, false), "let in although revoked: {what:?}");
    if let Some(key) = what.key {
        let is_known = if machine.setup.is_pinned() { key == 0 } else { machine.delivered.contains(&key) };
        assert!(is_known, "verified with a key that the service never served");
        if !machine.setup.is_pinned() && client == OF_ITSELF {
            let heard = machine.heard[stream.worker];
            assert!(machine.keys.may_be_good(key, heard, machine.now), "let in by a key that was replaced: {what:?}");
        }
        let signed = what.jwt.as_deref().and_then(|jwt| jwt.rsplit_once('.')).map_or("", |(signed, _)| signed);
        assert!(machine.signed.contains(&(key, signed.as_bytes().to_vec())), "let in without a signature");
    }
    what
}

/// An identity by the JWT's signature: the filter verifies it, or the service is down.
fn by_signature(machine: &Machine, stream: &Stream, credential: usize, own: &Vouched) {
    if !machine.setup.is_remote(stream.place) {
        return;
    }
    assert!(machine.setup.falls_back(), "let in by its signature alone: {own:?}");
    assert!(is_down(machine, stream), "the service was to verify {own:?}");
    let refused = machine.refusals.iter().filter(|refusal| {
        refusal.credential == credential
            && !refusal.is_forgotten
            // While the request waits for the key, others may ask again.
            && (machine.setup.is_pinned() || refusal.delivered.step < stream.arrived.step)
    });
    for refusal in refused {
        assert!(is_withdrawn(machine, refusal), "let in by its signature after {refusal:?}");
    }
}

/// An identity by the service's answer: one that came while the request waited, or a verdict that stands.
fn by_service(machine: &Machine, stream: &Stream, client: usize, vouching: &Vouching) {
    let Vouching { credential, asked, delivered, .. } = vouching;
    let kind = machine.credentials[*credential].kind;
    assert!(kind != Kind::Jwt || machine.setup.is_remote(stream.place), "a signature was to be verified");
    let is_own = delivered.step >= stream.arrived.step;
    if !is_own {
        let setup = machine.setups[stream.worker];
        assert!(!setup.is_cache_off(), "nothing is to be kept");
        let life = setup.longest_life();
        assert!(!has_passed(machine.now, life, asked.at), "let in by a verdict that has ended: {vouching:?}");
        if has_passed(machine.now, setup.cache().0, asked.at) {
            assert!(is_without_service(machine, stream), "let in by a stale verdict: {vouching:?}");
        }
    }
    not_refused_since(machine, stream, vouching, is_own);
    not_purged_since(machine, stream, vouching, client, is_own);
}

/// Checks that the service hasn't refused the credential since, or has accepted it again. `is_own`: the request waited
/// for this answer.
fn not_refused_since(machine: &Machine, stream: &Stream, vouching: &Vouching, is_own: bool) {
    let Vouching { credential, asked, delivered, .. } = vouching;
    let ends = |refusal: &&Refusal| refusal.credential == *credential && !refusal.is_before(asked);
    for refusal in machine.refusals.iter().filter(ends) {
        // Without a cache no refusal is remembered, and one that comes while an answer is verified may be late.
        let is_heard = refusal.delivered.step < delivered.step || !machine.setup.answers_in_jwts();
        let is_off = machine.setups[stream.worker].is_cache_off();
        let is_known = !is_own || (is_heard && !is_off && !refusal.is_forgotten);
        assert!(!is_known || is_withdrawn(machine, refusal), "let in by {vouching:?} after {refusal:?}");
    }
}

/// Whether the service has accepted the credential since, in answer to a callout that was sent later.
fn is_withdrawn(machine: &Machine, refusal: &Refusal) -> bool {
    machine.vouchings.iter().any(|vouching| {
        vouching.credential == refusal.credential
            && refusal.is_before(&vouching.asked)
            && vouching.delivered.step > refusal.delivered.step
    })
}

/// Checks that no purge has ended such a verdict since.
fn not_purged_since(machine: &Machine, stream: &Stream, vouching: &Vouching, client: usize, is_own: bool) {
    let Vouching { credential, what, asked, .. } = vouching;
    let setup = machine.setups[stream.worker];
    // Without a cache nothing is purged.
    let is_exempt = is_own && (setup.answers_in_jwts() || setup.is_cache_off());
    for purge in machine.feed.purges(what.user, client, machine.credentials[*credential].token_id) {
        assert!(purge.step < asked.step || is_exempt, "let in by {vouching:?} after a purge at {purge:?}");
    }
}

/// Whether the service gave no verdict while the request waited, or isn't asked.
pub(super) fn is_without_service(machine: &Machine, stream: &Stream) -> bool {
    stream.credential.is_some_and(|credential| {
        is_failing(machine, stream, machine.outages.get(&credential).copied())
            || machine.is_unanswered(stream.worker, credential)
            || (machine.setup.answers_in_jwts() && machine.vouchings.iter().any(|it| it.credential == credential))
    })
}

/// Whether the service was down while the request waited, or isn't asked.
fn is_down(machine: &Machine, stream: &Stream) -> bool {
    let down = stream.credential.and_then(|credential| machine.downs.get(&credential));
    is_failing(machine, stream, down.copied())
}

/// Whether the request may know of an outage at this step, or the breaker isn't closed.
fn is_failing(machine: &Machine, stream: &Stream, outage: Option<u64>) -> bool {
    let outage = outage.unwrap_or(0);
    // The request may have joined one that waited for another worker's answer.
    let mut others = machine.streams.iter().filter(|other| {
        (other.worker, other.credential) == (stream.worker, stream.credential)
            && other.ended.is_none_or(|ended| ended > stream.arrived.step)
    });
    outage >= stream.arrived.step
        || others.any(|other| outage >= other.arrived.step)
        || !machine.breaker.is_closed()
        || machine.unclosed >= stream.arrived.step
}

/// Whether the request's worker certainly knows a verdict on its credential that is no older than `life`: its own, or
/// the last one that any worker has shared.
pub(super) fn is_known(machine: &Machine, stream: &Stream, life: Duration) -> bool {
    let setup = machine.setups[stream.worker];
    let is_simple = setup.is_cache_large() && !setup.is_cache_off() && !setup.answers_in_jwts();
    let Some(number) = stream.credential.filter(|_| is_simple) else { return false };
    let kept = || machine.vouchings.iter().filter(|vouching| vouching.credential == number && vouching.is_kept);
    let is_local = |vouching: &&Vouching| {
        vouching.worker == stream.worker && vouching.delivered.step > machine.born[stream.worker].step
    };
    let own = kept().filter(is_local).max_by_key(|vouching| vouching.asked.step);
    let stands = |vouching: &Vouching| is_standing(machine, stream, vouching, life);
    // If two were asked for at the same moment, what ends one may end both.
    let shared = kept().next_back().filter(|last| {
        let asked = |vouching: &Vouching| (vouching.asked.at, vouching.asked.step);
        kept().all(|other| asked(other) == asked(last) || other.asked.at < last.asked.at)
    });
    // A newer verdict that another worker has shared replaces this worker's own, so the end of one is the end of both.
    let is_newest = |own: &Vouching| kept().filter(|other| other.asked.at >= own.asked.at).all(stands);
    own.map_or_else(|| shared.is_some_and(stands), is_newest)
}

/// Whether a verdict on the request's credential still stands.
fn is_standing(machine: &Machine, stream: &Stream, vouching: &Vouching, life: Duration) -> bool {
    let Vouching { credential: number, what, asked, delivered, .. } = vouching;
    let credential = &machine.credentials[*number];
    let client = FIRST_ANSWER + machine.vouchings.iter().position(|it| it.asked.step == asked.step).unwrap_or(0);
    (credential.kind != Kind::Jwt || machine.setup.is_remote(stream.place))
        && delivered.step < stream.arrived.step
        && !vouching.is_forgotten
        && !what.is_void
        && !what.has_expired(machine.wall(), machine.setup)
        && !credential.own.as_ref().is_some_and(|own| own.has_expired(machine.wall(), machine.setup))
        && !what.is_early(machine.wall(), machine.setup)
        && !has_passed(machine.now, life, asked.at)
        && !may_be_too_old(machine, vouching)
        && !machine.feed.is_revoked(what, true)
        && !machine.feed.purges_again(what.user, client, credential.token_id).any(|purge| purge.at >= asked.at)
        && !machine.refusals.iter().any(|refusal| {
            let is_later = refusal.delivered.step > asked.step || refusal.asked.at >= asked.at;
            refusal.credential == *number && is_later
        })
}

/// Whether a verdict may be too old to be used although it is kept longer. A worker announces its memory when it first
/// uses the cache. Until then, others may have forgotten what has ended a verdict, so it uses no older one.
fn may_be_too_old(machine: &Machine, vouching: &Vouching) -> bool {
    let memory = machine.shortest_memory.saturating_sub(Duration::from_secs(1));
    machine.is_updated && has_passed(machine.now, memory, vouching.asked.at)
}

fn authorization(machine: &Machine, stream: &Stream, forward: &Forward, vouched: Option<&Vouched>) {
    match (machine.config.rules.terms(None).forward_credential, &forward.authorization) {
        (ForwardCredential::Keep, Authorization::Keep) | (ForwardCredential::Remove, Authorization::Remove) => {}
        // The client's own credential is the verified JWT.
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
