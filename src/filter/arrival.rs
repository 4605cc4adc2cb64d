//! From a request's head to its first stage: its rule, and its credential.

use super::parts::Parts;
use super::request::{Facts, Next, Stage};
use crate::cache::Kind;
use crate::code::Code;
use crate::config::ForwardCredential;
use crate::credential::{AUTHORIZATION, Credential, Form, Place, Redacted};
use crate::decision::{Client, Denial};
use crate::extractor::{self, RequestHead};
use crate::host::{Cx, StreamId};
use crate::jwt::MAX_TOKEN_BYTES;
use crate::matcher::{Target, Undecided};
use crate::metrics::{Presented, Source};
use crate::policy::Permit;
use crate::rule::{Access, Verification};
use crate::throttle::Suspect;
use crate::time::Instant;

/// The facts of a request before its rule and its credential are known.
pub(super) fn facts(stream: StreamId, parts: &Parts, now: Instant) -> Facts {
    Facts {
        stream,
        arrived: now,
        has_waited: false,
        client: Client::default(),
        rule: None,
        mode: parts.config.rules.terms(None).mode,
        presented: Presented::None,
        scheme: None,
        who: None,
        origin: None,
        asked: None,
        accepted: None,
        kind: Kind::Other,
        digest: None,
        source: Source::None,
        suspicion: None,
        suspect: None,
        is_counted: false,
        own_jwt: None,
        connection: None,
    }
}

/// Finds the rule and the credential of a request. One that needs no credential is done; any other without one is
/// denied.
// Compiled apart: docs/performance.md#start.
#[inline(never)]
pub(super) fn arrive<'r>(
    head: &RequestHead<'r>,
    facts: &mut Facts,
    parts: &mut Parts,
    cx: &Cx<'_>,
) -> Result<Next<'r>, Denial> {
    let target =
        Target { path: head.value(":path"), method: head.value(":method"), authority: head.value(":authority") };
    let rules = &parts.config.rules;
    let rule = rules.find(target).map_err(|undecided| {
        facts.mode = rules.mode_of_undecided(target);
        match undecided {
            Undecided::Path(_) | Undecided::DifferentPaths => Code::AmbiguousPath,
            Undecided::Host | Undecided::DifferentHosts => Code::AmbiguousHost,
        }
    })?;
    facts.rule = rule.map(|(index, _)| index);
    let terms = rules.terms(facts.rule);
    facts.mode = terms.mode;
    if terms.access == Access::Deny {
        return Err(Code::DeniedByRule.into());
    }
    if terms.access == Access::Public || Client::is_preflight(head, &parts.config) {
        return Ok(Next::Done(Permit::without_identity()));
    }
    let (verification, is_moved) = (terms.verification, terms.forward_credential == ForwardCredential::VerifiedJwt);
    let mut digest = None;
    let credential = extractor::extract_with(head, &parts.config.api_token, &parts.config.credentials, |token| {
        let is_kept = verification == Verification::Local && keeps_jwt(token, parts);
        // Its form is that of a JWT, or it wouldn't be known by this digest.
        is_kept && parts.cache.has_entry(digest.insert(parts.cache.digest(Kind::LocalJwt, token)))
    });
    facts.presented = presented(&credential);
    if terms.access == Access::Optional && matches!(credential, Err(Code::MissingCredentials)) {
        return Ok(Next::Done(Permit::without_identity()));
    }
    if parts.throttle.is_some() {
        let token_id = credential.as_ref().ok().and_then(Credential::token_id);
        facts.suspect = cx.host.client_address().and_then(|address| Suspect::new(&address, token_id, cx.shared));
    }
    if credential.as_ref().is_err_and(|code| *code == Code::TokenMalformed) {
        parts.log_malformed(&"neither a JWT (three segments separated by dots) nor an API token (number$secret)", cx);
    }
    let credential = credential?;
    facts.scheme = credential.scheme();
    facts.kind = match (credential.form, verification) {
        (Form::Jwt, Verification::Local) => Kind::LocalJwt,
        (Form::Jwt, Verification::Remote) => Kind::RemoteJwt,
        (Form::ApiToken, _) => Kind::ApiToken,
        (Form::Other, _) => Kind::Other,
    };
    let is_bearer = || credential.place == Place::Authorization && head.value(AUTHORIZATION).starts_with(b"Bearer ");
    if is_moved && facts.kind.is_jwt() && !is_bearer() {
        facts.own_jwt = Some(Redacted(credential.token.as_ref().into()));
    }
    let is_kept = match facts.kind {
        Kind::LocalJwt => keeps_jwt(&credential.token, parts),
        // All requests with one credential share a question, even if no verdict is kept.
        Kind::RemoteJwt | Kind::ApiToken | Kind::Other => true,
    };
    let digest = digest.filter(|_| facts.kind == Kind::LocalJwt);
    facts.digest = is_kept.then(|| digest.unwrap_or_else(|| parts.cache.digest(facts.kind, &credential.token)));
    Ok(Stage::Recall(credential, *head).into())
}

/// Whether this worker keeps its verdict on a JWT that it verifies itself.
const fn keeps_jwt(token: &[u8], parts: &Parts) -> bool {
    !parts.cache.is_off() && token.len() <= MAX_TOKEN_BYTES
}

const fn presented(credential: &Result<Credential<'_>, Code>) -> Presented {
    match credential {
        Ok(Credential { form: Form::Jwt, .. }) => Presented::Jwt,
        Ok(Credential { form: Form::ApiToken, .. }) => Presented::Apikey,
        Err(Code::MissingCredentials) => Presented::None,
        Ok(Credential { form: Form::Other, .. }) | Err(_) => Presented::Other,
    }
}
