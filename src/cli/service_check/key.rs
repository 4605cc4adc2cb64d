//! `GET /iam/public-key`, and `GET /health`.

use super::Context;
use super::findings::Findings;
use crate::introspection::{CalloutError, CalloutRequest, Destination, MAX_BODY, Outage, read_public_key};
use crate::public_key::PublicKey;

/// Whether anything answers at all.
pub fn is_there(context: &Context<'_>, findings: &mut Findings) -> bool {
    let path = &context.options.public_key_path;
    match context.service.send(&CalloutRequest::get(Destination::PublicKey, path.clone()), MAX_BODY) {
        Err(error @ (CalloutError::NoHost | CalloutError::NotConnected | CalloutError::ConnectTimeout)) => {
            let filter = "answers 503 to whatever isn't cached";
            findings.differs(format!("GET {path}"), format!("{error}; nothing else was tried"), filter);
            false
        }
        _ => true,
    }
}

/// The service's key, if it serves a usable one.
pub fn check(context: &Context<'_>, findings: &mut Findings) -> Option<PublicKey> {
    let path = &context.options.public_key_path;
    let case = format!("GET {path}");
    let answer = context.service.send(&CalloutRequest::get(Destination::PublicKey, path.clone()), MAX_BODY);
    let key = answer.map_err(Outage::from).and_then(|answer| read_public_key(&answer));
    let key = key.map_err(|outage| outage.to_string());
    let key = key.and_then(|pem| PublicKey::from_pem(&pem).map_err(|error| format!("its key is {error}")));
    match key {
        Ok(key) => {
            findings.ok(case, format!("an RSA key of {} bits, {}", key.bits(), key.fingerprint()));
            Some(key)
        }
        Err(problem) => {
            let filter = "has no key: a JWT that is verified locally gets 503 public_key_unavailable";
            findings.differs(case, problem, filter);
            None
        }
    }
}

/// Checks `/health`, which the filter doesn't call.
pub fn check_health(context: &Context<'_>, findings: &mut Findings) {
    let case = "GET /health";
    let found =
        match context.service.send(&CalloutRequest::get(Destination::AuthService, "/health".to_owned()), MAX_BODY) {
            Ok(answer) if answer.status == 200 => return findings.ok(case, "200"),
            Ok(answer) => format!("it answered with status {}", answer.status),
            Err(error) => error.to_string(),
        };
    let filter =
        "doesn't ask for it, but the health check in Envoy's shipped bootstraps does, and counts this as a failure";
    findings.note(case, found, filter);
}
