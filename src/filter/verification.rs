//! What this worker decides by itself: known verdicts, signatures of JWTs, and the last checks.

use std::rc::Rc;

use super::key_wait::KeyWait;
use super::parts::Parts;
use super::request::{Facts, Next, Stage};
use super::{asking, fallback, throttling};
use crate::cache::{Entry, Kind, Lookup};
use crate::claims::TimeError;
use crate::code::Code;
use crate::credential::Credential;
use crate::decision::Denial;
use crate::extractor::RequestHead;
use crate::host::Cx;
use crate::jwt::UntrustedJwt;
use crate::metrics::{BlacklistCheck, CacheEvent, Counter, Source};
use crate::policy::{self, Identity, Presenter};
use crate::revocation::Version;
use crate::rule::Mode;
use crate::time::Instant;

/// Looks the credential up. If it isn't known, it is verified here or by the service.
pub(super) fn recall<'r>(
    credential: Credential<'r>,
    head: &RequestHead<'_>,
    facts: &mut Facts,
    parts: &mut Parts,
    cx: &Cx<'_>,
) -> Result<Next<'r>, Denial> {
    if facts.kind == Kind::LocalJwt {
        facts.source = Source::Jwt;
    }
    // Until the first list has come, a JWT waits for it.
    let may_be_known = facts.kind != Kind::LocalJwt || !parts.awaits_list(cx);
    if may_be_known && let Some(digest) = facts.digest {
        let (cache, mut validity) = parts.cache(cx);
        let version = validity.version();
        match cache.look_up(&digest, facts.kind, &mut validity, cx) {
            Lookup::Fresh(entry) => {
                cx.host.count(Counter::Cache(CacheEvent::Hit));
                facts.source = Source::Cache;
                let admitted = admit_entry(&entry, version, facts, parts, cx)?;
                if facts.kind != Kind::LocalJwt
                    && parts.cache.wants_refresh(&digest, &entry, cx)
                    && let Ok(question) = asking::question(credential, head, &digest, facts.kind, &parts.config)
                {
                    asking::refresh(&question, parts.questions.breaker().peek(cx), parts, cx);
                }
                return Ok(admitted);
            }
            Lookup::Refused(code) => {
                facts.source = Source::Cache;
                return Err(code.into());
            }
            Lookup::Miss => {}
        }
    }
    if facts.digest.is_some() && !parts.cache.is_off() {
        cx.host.count(Counter::Cache(CacheEvent::Miss));
    }
    if facts.kind == Kind::LocalJwt {
        return verify(parse(&credential.token, parts, cx)?, false, facts, parts, cx);
    }
    if facts.kind == Kind::RemoteJwt {
        // The service needn't be asked about a JWT that can't be valid.
        let jwt = parse(&credential.token, parts, cx)?;
        policy::precheck(jwt.claims(), &parts.config)?;
    }
    asking::prepare(credential, head, facts, parts, cx)
}

/// Parses a client's JWT, and checks its times.
fn parse<'t>(token: &'t [u8], parts: &mut Parts, cx: &Cx<'_>) -> Result<UntrustedJwt<'t>, Denial> {
    let jwt = UntrustedJwt::parse(token).map_err(|error| {
        parts.log_malformed(&format_args!("JWT: {error}"), cx);
        Code::TokenMalformed
    })?;
    if let Some(name) = jwt.missing(&parts.config.jwt.required_claims) {
        let name = name.clone();
        parts.log_malformed(&format_args!("JWT: claims: missing field `{name}`"), cx);
        return Err(Code::TokenMalformed.into());
    }
    jwt.claims().check_time(cx.wall, parts.config.jwt.clock_skew).map_err(time_code)?;
    Ok(jwt)
}

/// Verifies a client's JWT with the known keys. If none fits, the JWT has to wait. `stands_in`: the service can't be
/// asked, and the signature stands in for it.
pub(super) fn verify<'r>(
    jwt: UntrustedJwt<'_>,
    stands_in: bool,
    facts: &mut Facts,
    parts: &mut Parts,
    cx: &Cx<'_>,
) -> Result<Next<'r>, Denial> {
    let (jwt, tried) = if parts.awaits_list(cx) {
        (jwt, None)
    } else {
        match parts.verify(jwt, cx) {
            Ok(identity) => {
                cx.host.count(Counter::PublicKeyHit);
                return Ok(Stage::Keep { identity: Box::new(identity), since: cx.now, stands_in }.into());
            }
            Err(jwt) => (jwt, Some(parts.keys.store().generation())),
        }
    };
    facts.connection = facts.connection.or_else(|| cx.host.connection());
    Ok(Stage::AwaitKey(Box::new(KeyWait::of_client(jwt, tried, stands_in, cx.now))).into())
}

/// Caches the identity of a JWT whose signature fits. `since`: when the verification began.
pub(super) fn keep<'r>(
    identity: Identity,
    since: Instant,
    facts: &mut Facts,
    parts: &mut Parts,
    cx: &Cx<'_>,
) -> Result<Next<'r>, Denial> {
    let identity = match &facts.digest {
        Some(digest) => parts.cache.store(digest, facts.kind, identity, since, cx)?,
        None => Rc::new(identity),
    };
    Ok(Stage::Admit(identity).into())
}

/// Admits by the signature alone, unless the service has refused the JWT while the request waited for a key. This is no
/// verdict of the service, so the cache doesn't keep it.
pub(super) fn stand_in<'r>(identity: Identity, facts: &Facts, parts: &Parts, cx: &Cx<'_>) -> Result<Next<'r>, Denial> {
    if !fallback::may_stand_for_itself(identity.jwt().unwrap_or_default(), facts, parts, cx) {
        return Err(Code::AuthServiceUnavailable.into());
    }
    Ok(Stage::Admit(Rc::new(identity)).into())
}

/// The last checks, whichever way the identity was found: not expired, not revoked, and good for the rule.
pub(super) fn admit<'r>(
    identity: Rc<Identity>,
    facts: &mut Facts,
    parts: &mut Parts,
    cx: &Cx<'_>,
) -> Result<Next<'r>, Denial> {
    let check = parts.revocation.as_ref().map(|revocation| revocation.check(identity.claims(), cx.shared));
    let is_new = facts.source != Source::Stale;
    admit_checked(identity, check, is_new, facts, parts, cx)
}

/// Like `admit`, for an entry of the cache that is valid as of this version of the revocation list. An entry that this
/// version has cleared isn't looked up in the list again.
fn admit_entry<'r>(
    entry: &Entry,
    version: Option<Version>,
    facts: &mut Facts,
    parts: &Parts,
    cx: &Cx<'_>,
) -> Result<Next<'r>, Denial> {
    let check = parts.revocation.as_ref().zip(version).map(|(revocation, version)| {
        if entry.is_cleared_by(version) {
            return revocation.cleared();
        }
        let check = revocation.check(entry.identity.claims(), cx.shared);
        if check != BlacklistCheck::Revoked {
            entry.clear_by(version);
        }
        check
    });
    admit_checked(Rc::clone(&entry.identity), check, false, facts, parts, cx)
}

/// `is_new`: the verdict isn't from the cache.
fn admit_checked<'r>(
    identity: Rc<Identity>,
    check: Option<BlacklistCheck>,
    is_new: bool,
    facts: &mut Facts,
    parts: &Parts,
    cx: &Cx<'_>,
) -> Result<Next<'r>, Denial> {
    facts.who = Some(identity.claims().into());
    identity.claims().check_time(cx.wall, parts.config.jwt.clock_skew).map_err(time_code)?;
    if let Some(result) = check {
        cx.host.count(Counter::BlacklistCheck(result));
        if result == BlacklistCheck::Revoked {
            return Err(Code::TokenRevoked.into());
        }
    }
    if is_new {
        throttling::after_verification(identity.claims().user_id(), facts, parts, cx);
    }
    let presenter = if facts.kind.is_jwt() { Presenter::Client } else { Presenter::Service };
    let accepted = policy::accept(identity, presenter, &parts.config)?;
    if facts.mode == Mode::Shadow {
        facts.accepted = Some(accepted.clone());
    }
    let require = parts.config.rules.terms(facts.rule).access.require();
    Ok(Next::Done(policy::authorise(accepted, presenter, facts.scheme, require)?))
}

pub(super) const fn time_code(error: TimeError) -> Code {
    match error {
        TimeError::Expired => Code::TokenExpired,
        TimeError::NotYetValid => Code::TokenNotYetValid,
    }
}
