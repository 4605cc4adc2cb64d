//! Denials: each has a reason in the request, takes the form of docs/reference.md#denials, and reveals nothing.

use std::collections::BTreeSet;

use authgate::{Code, Response};

use super::credentials::{Kind, SECRET};
use super::forward::{is_known, is_without_service};
use super::script::Place;
use super::state::{Refusal, Stream, has_passed};
use super::world::Machine;

/// Checks the denial of a request.
pub(super) fn check(machine: &Machine, stream: &Stream, response: &Response) {
    let code = response.code.name();
    assert!(!machine.setup.is_shadow(stream.place), "denied in shadow mode: {code}");
    let status = match code {
        "missing_credentials"
        | "malformed_credentials"
        | "unsupported_scheme"
        | "token_malformed"
        | "signature_invalid"
        | "token_expired"
        | "token_not_yet_valid"
        | "token_type_not_accepted"
        | "token_revoked"
        | "token_rejected" => 401,
        "claims_not_sufficient" | "forbidden_by_service" | "denied_by_rule" | "ambiguous_path" => 403,
        "too_many_failures" => 429,
        "auth_service_unavailable" | "public_key_unavailable" => 503,
        other => panic!("denied for {other}"),
    };
    let has = |wanted: &str| response.headers.iter().filter(|(name, _)| *name == wanted).count();
    let wants_retry = matches!(status, 429 | 503);
    assert_eq!((has("www-authenticate"), has("retry-after")), (usize::from(status == 401), usize::from(wants_retry)));
    let grpc = match status {
        401 => 16,
        403 => 7,
        429 => 8,
        _ => 14,
    };
    assert_eq!((response.status, response.grpc as u8), (status, grpc));
    assert_eq!((response.body == code, has("content-type")), (stream.is_grpc, usize::from(!stream.is_grpc)));
    assert_eq!(has("cache-control"), 1);
    let texts = response.headers.iter().map(|(_, value)| value).chain([&response.body]);
    let token = stream.authorization.as_deref().and_then(|value| value.split_once(' ')).map(|(_, token)| token);
    for text in texts {
        assert!(
            !text.contains(SECRET) && !token.is_some_and(|token| token.len() > 40 && text.contains(token)),
            "{text}"
        );
    }
    check_code(machine, stream, code);
}

/// Checks the reason of a denial, enforced or not.
pub(super) fn check_code(machine: &Machine, stream: &Stream, code: &str) {
    if let Some(expected) = stream.place.closed_for() {
        assert_eq!(code, expected);
        return;
    }
    assert!(stream.is_looked_at(), "a public request is denied: {code}");
    assert!(is_justified(machine, stream, code), "{code} for {stream:?} at {:?}", machine.wall());
}

/// Whether a credential that may be valid was denied for a claim that can't be a header.
pub(super) fn is_for_header(machine: &Machine, stream: &Stream, code: Code) -> bool {
    let Some(credential) = stream.credential.filter(|_| code == Code::TokenMalformed) else { return false };
    is_unspeakable(machine, credential)
}

/// Whether any claims about a credential include one that can't be a header.
pub(super) fn is_unspeakable(machine: &Machine, credential: usize) -> bool {
    let answers = machine.vouchings.iter().filter(|vouching| vouching.credential == credential);
    let own = machine.credentials[credential].own.as_ref();
    own.into_iter().chain(answers.map(|vouching| &vouching.what)).any(|what| what.is_unspeakable)
}

fn is_justified(machine: &Machine, stream: &Stream, code: &str) -> bool {
    let setup = machine.setup;
    let credential = stream.credential.map(|credential| &machine.credentials[credential]);
    let own = credential.and_then(|credential| credential.own.as_ref());
    // All claims about the credential.
    let answers = machine.vouchings.iter().filter(|vouching| Some(vouching.credential) == stream.credential);
    let mut told = own.into_iter().chain(answers.map(|vouching| &vouching.what));
    let mut refusals = machine.refusals.iter().filter(|refusal| Some(refusal.credential) == stream.credential);
    match code {
        "missing_credentials" => stream.is_bare && stream.place != Place::Optional,
        "malformed_credentials" | "unsupported_scheme" => {
            !stream.is_bare && credential.is_none_or(|credential| credential.kind == Kind::Other)
        }
        "token_malformed" => own.is_none() || told.any(|what| what.is_void),
        "signature_invalid" => {
            let is_it = |known: &&(usize, usize, _)| known.0 == stream.worker && Some(known.1) == stream.credential;
            let asked: BTreeSet<_> = machine.forged.iter().filter(is_it).map(|known| known.2).collect();
            let is_remembered = asked.len() > 1 && machine.keys.is_just_asked(setup.interval(), machine.now);
            let is_searched =
                setup.is_pinned() || is_remembered || machine.keys.is_searched_since(stream.arrived.at, machine.now);
            is_searched && own.is_some_and(|own| own.is_void || own.key.is_none_or(|key| !is_key_good(machine, key)))
        }
        "token_expired" => told.any(|what| what.has_expired(machine.wall(), setup)),
        "token_not_yet_valid" => told.any(|what| what.is_early(machine.wall(), setup)),
        // The identity is checked first: a rule is only about tokens whose type is accepted.
        "token_type_not_accepted" => told.any(|what| !Place::Private.accepts(what.kind)),
        "claims_not_sufficient" => {
            told.any(|what| Place::Private.accepts(what.kind) && !stream.place.accepts(what.kind))
        }
        "token_revoked" => told.any(|what| machine.feed.is_revoked(what, true)),
        "token_rejected" | "forbidden_by_service" => refusals.any(|refusal| {
            // Another worker may have got it while the request waited for that worker's answer or for its turn.
            let setup = machine.setups[stream.worker];
            let (_, negative, _) = setup.cache();
            let is_kept = !setup.is_cache_off()
                && (!has_passed(machine.now, negative, refusal.delivered.at)
                    || refusal.delivered.step >= stream.arrived.step);
            let is_told = is_kept || is_answer(stream, refusal) || overtakes(machine, stream, refusal);
            is_told && refusal.is_401 == (code == "token_rejected")
        }),
        "too_many_failures" => machine.may_be_locked(stream),
        "auth_service_unavailable" => {
            let (ttl, _, stale) = machine.setups[stream.worker].cache();
            assert!(!is_known(machine, stream, ttl + stale), "a known client is refused: {stream:?}");
            is_without_service(machine, stream) || machine.has_waited_for_its_share(stream)
        }
        "public_key_unavailable" => !setup.is_pinned() && told.any(|what| what.key.is_some()),
        _ => false,
    }
}

/// Whether a signature by this key must be accepted.
fn is_key_good(machine: &Machine, key: usize) -> bool {
    if machine.setup.is_pinned() { key == 0 } else { machine.keys.is_good(key, machine.now) }
}

/// Whether the request waited for this answer.
fn is_answer(stream: &Stream, refusal: &Refusal) -> bool {
    refusal.worker == stream.worker && refusal.delivered.step >= stream.arrived.step
}

/// Whether the request waited for a 200 whose callout was sent no later than this refusal's.
fn overtakes(machine: &Machine, stream: &Stream, refusal: &Refusal) -> bool {
    machine.vouchings.iter().any(|vouching| {
        vouching.credential == refusal.credential
            && vouching.delivered.step >= stream.arrived.step
            && vouching.asked.at <= refusal.asked.at
    })
}
