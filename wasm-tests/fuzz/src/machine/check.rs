//! Whether a verdict is the one that its request has earned.

use authgate::config::ForwardCredential;
use authgate::decision::{Authorization, Forward, Response};
use authgate::metrics::Outcome;

use super::script::Place;
use super::state::Stream;
use super::tokens::{SECRET, Vouched};
use super::world::Machine;

/// A request goes on: with the identity that its own credential stands for, or to a public place.
pub(super) fn forward(machine: &Machine, stream: &Stream, forward: &Forward) -> Outcome {
    assert_ne!(stream.place, Place::Ambiguous, "an ambiguous path is let through");
    let id = forward.set.iter().find(|(name, _)| &**name == "x-user-id").map(|(_, value)| value.as_str());
    if stream.place == Place::Public || stream.is_preflight {
        assert!(forward.set.is_empty(), "an identity where none was looked for");
        authorization(machine, stream, forward, None);
        return Outcome::Public;
    }
    let vouched = match (&stream.jwt, &stream.vouched) {
        (Some(vouched), None) | (None, Some(vouched)) => vouched,
        found => panic!("let in without an identity of this request: {found:?}"),
    };
    assert_eq!(id, Some(vouched.id.to_string().as_str()), "let in as somebody else");
    assert!(!vouched.is_void, "let in with {vouched:?}");
    let skew = machine.setup.skew().as_secs();
    let now = machine.now.as_secs();
    assert!(vouched.exp.is_none_or(|exp| now < exp + skew), "let in after the expiry, at {now}: {vouched:?}");
    assert!(vouched.nbf.is_none_or(|nbf| nbf <= now + skew), "let in too early, at {now}: {vouched:?}");
    assert!(is_accepted(vouched.kind, stream.place), "let in with a token of the type {}", vouched.kind);
    if let Some(key) = vouched.key {
        let is_known = machine.delivered.contains(&key) || (machine.setup.is_pinned() && key == 0);
        assert!(is_known, "verified with a key that the service never served");
        let pem = authgate::filter::world::key(key);
        let said_yes = machine.host.asked.borrow().iter().any(|asked| asked.said && asked.key == pem);
        assert!(said_yes, "let in without a signature");
    }
    for (index, (name, value)) in forward.set.iter().enumerate() {
        assert!(forward.set[..index].iter().all(|(earlier, _)| earlier != name), "{name} is set twice");
        assert!(value.bytes().all(|byte| byte >= b' ' && byte != 0x7f), "{name} would end early");
    }
    authorization(machine, stream, forward, Some(vouched));
    Outcome::Allow
}

fn is_accepted(kind: &str, place: Place) -> bool {
    kind == "api_token" || (kind == "access" && place != Place::Machines)
}

fn authorization(machine: &Machine, stream: &Stream, forward: &Forward, vouched: Option<&Vouched>) {
    match (machine.config.forward_credential, &forward.authorization) {
        (ForwardCredential::Keep, Authorization::Keep) | (ForwardCredential::Remove, Authorization::Remove) => {}
        (ForwardCredential::VerifiedJwt, Authorization::Remove) => assert!(vouched.is_none()),
        (ForwardCredential::VerifiedJwt, Authorization::Replace(value)) => {
            assert!(vouched.is_some_and(|vouched| vouched.key.is_some()), "a JWT of nobody");
            if stream.jwt.is_some() {
                assert_eq!(Some(value), stream.authorization.as_ref(), "another's JWT");
            }
        }
        other => panic!("what becomes of the credential: {other:?}"),
    }
}

/// A request is refused: for a reason that it gave, in the form of contract section 4, telling nothing.
pub(super) fn denial(machine: &Machine, stream: &Stream, response: &Response) {
    let code = response.code.name();
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
        "claims_not_sufficient" | "forbidden_by_service" | "ambiguous_path" => 403,
        "auth_service_unavailable" | "public_key_unavailable" => 503,
        other => panic!("denied for {other}"),
    };
    let has = |wanted: &str| response.headers.iter().filter(|(name, _)| *name == wanted).count();
    assert_eq!((has("www-authenticate"), has("retry-after")), (usize::from(status == 401), usize::from(status == 503)));
    assert_eq!(response.status, if stream.is_grpc { 200 } else { status });
    assert_eq!((response.grpc.is_some(), has("content-type")), (stream.is_grpc, usize::from(!stream.is_grpc)));
    assert_eq!(has("cache-control"), 1);
    let texts = response.headers.iter().map(|(_, value)| value).chain([&response.body]);
    let token = stream.authorization.as_deref().and_then(|value| value.split_once(' ')).map(|(_, token)| token);
    for text in texts {
        assert!(
            !text.contains(SECRET) && !token.is_some_and(|token| token.len() > 40 && text.contains(token)),
            "{text}"
        );
    }
    reason(machine, stream, code);
}

fn reason(machine: &Machine, stream: &Stream, code: &str) {
    if stream.place == Place::Ambiguous {
        assert_eq!(code, "ambiguous_path");
        return;
    }
    assert!(stream.place != Place::Public && !stream.is_preflight, "a public request is denied: {code}");
    let skew = machine.setup.skew().as_secs();
    let now = machine.now.as_secs();
    let vouched = stream.jwt.as_ref().or(stream.vouched.as_ref());
    let is_justified = match code {
        "missing_credentials" => stream.authorization.is_none() && stream.calls == 0,
        "malformed_credentials" | "unsupported_scheme" => stream.jwt.is_none() && stream.calls == 0,
        "token_malformed" => vouched.is_none_or(|vouched| vouched.is_void),
        // A good token is refused only if the service has had more than the key that it is signed with.
        "signature_invalid" => stream.jwt.is_some_and(|jwt| {
            let mut others = machine.delivered.iter().filter(|key| jwt.key != Some(**key));
            jwt.is_void || machine.setup.is_pinned() || others.next().is_some()
        }),
        "token_expired" => vouched.is_some_and(|vouched| vouched.exp.is_some_and(|exp| now >= exp + skew)),
        "token_not_yet_valid" => vouched.is_some_and(|vouched| vouched.nbf.is_some_and(|nbf| nbf > now + skew)),
        "token_type_not_accepted" => vouched.is_some_and(|vouched| !is_accepted(vouched.kind, stream.place)),
        "token_rejected" => stream.statuses.contains(&401),
        "forbidden_by_service" => stream.statuses.contains(&403),
        "auth_service_unavailable" => stream.calls > 0,
        "public_key_unavailable" => !machine.setup.is_pinned() && vouched.is_some_and(|vouched| vouched.key.is_some()),
        _ => false,
    };
    assert!(is_justified, "{code} for {stream:?} at {now}");
}
