//! `/auth/jwt/*` and `/iam/tokens`, which issue the credentials for the checks. The filter calls none of these.

use serde_json::{Value, json};

use super::findings::Findings;
use super::{Context, now};
use crate::introspection::{CalloutRequest, CalloutResponse, Destination, MAX_BODY};
use crate::jwt::UntrustedJwt;

const NEEDED_HERE: &str = "doesn't call it; this check needs it";

const CLIENTS_DO: &str = "doesn't call it: clients do";

/// The credentials for the checks.
#[derive(Default)]
pub struct Credentials {
    /// An access token.
    pub jwt: Option<String>,
    /// Whether it was issued to the check, which may revoke it.
    pub is_own_jwt: bool,
    /// A refresh token.
    pub refresh: Option<String>,
    /// An API token.
    pub api_token: Option<String>,
    /// The number of an API token that the check created and has to delete.
    pub created: Option<i64>,
}

impl Credentials {
    /// The credentials in the options, and those that the service issues to the user in the options.
    pub fn collect(context: &Context<'_>, findings: &mut Findings) -> Self {
        let options = context.options;
        let mut known = Self { jwt: options.jwt.clone(), api_token: options.api_token.clone(), ..Self::default() };
        let (Some(username), Some(password)) = (&options.username, &options.password) else { return known };
        let Some((access, refresh)) = log_in(context, username, password, findings) else { return known };
        if known.api_token.is_none()
            && let Some((id, token)) = create_token(context, &access, findings)
        {
            (known.created, known.api_token) = (id, Some(token));
        }
        check_list(context, &access, known.created, findings);
        if let Some(id) = known.created {
            check_read(context, &access, id, findings);
        }
        if let Some(refresh) = &refresh {
            check_refresh(context, refresh, findings);
        }
        known.refresh = refresh;
        if known.jwt.is_none() {
            known.is_own_jwt = true;
            known.jwt = Some(access);
        }
        known
    }
}

fn log_in(
    context: &Context<'_>,
    username: &str,
    password: &str,
    findings: &mut Findings,
) -> Option<(String, Option<String>)> {
    let case = "POST /auth/jwt/login";
    let body = json!({"username": username, "password": password});
    let answer = match exchange(context, "POST", "/auth/jwt/login", None, Some(&body)) {
        Ok(answer) => answer,
        Err(problem) => {
            let hint = if problem == refusal(401) { "; check --username and --password" } else { "" };
            findings.differs(case, format!("{problem}{hint}"), NEEDED_HERE);
            return None;
        }
    };
    let Some(access) = text(&answer, "access") else {
        findings.differs(case, "its answer has no text under `access`", NEEDED_HERE);
        return None;
    };
    let refresh = text(&answer, "refresh");
    match (&refresh, life(&answer, &access)) {
        (Some(_), Ok(seconds)) => findings.ok(case, format!("tokens, valid for {seconds} s")),
        (None, _) => findings.note(case, "its answer has no text under `refresh`", NEEDED_HERE),
        (_, Err(problem)) => findings.note(case, problem, CLIENTS_DO),
    }
    Some((access, refresh))
}

/// How long the answer says that an access token is valid, in seconds.
fn life(answer: &Value, access: &str) -> Result<u64, String> {
    const TOLERANCE: u64 = 60;
    let said = answer.get("expires_in").and_then(Value::as_u64).ok_or("its answer has no number under `expires_in`")?;
    let exp = UntrustedJwt::parse(access.as_bytes()).ok().and_then(|jwt| jwt.claims().exp());
    match exp.map(|exp| exp.saturating_sub(now().as_secs())) {
        Some(left) if left.abs_diff(said) > TOLERANCE => {
            Err(format!("`expires_in` is {said}, but the access token expires in {left} s"))
        }
        _ => Ok(said),
    }
}

fn check_refresh(context: &Context<'_>, refresh: &str, findings: &mut Findings) {
    let case = "POST /auth/jwt/refresh";
    let refreshed = || exchange(context, "POST", "/auth/jwt/refresh", Some(refresh), None);
    let seconds = refreshed().and_then(|answer| {
        let access = text(&answer, "access").ok_or("its answer has no text under `access`")?;
        life(&answer, &access)
    });
    match (seconds, refreshed()) {
        (Err(problem), _) => findings.note(case, problem, CLIENTS_DO),
        (_, Err(problem)) => findings.note(case, format!("the refresh token works only once: {problem}"), CLIENTS_DO),
        (Ok(seconds), Ok(_)) => findings.ok(case, format!("an access token, valid for {seconds} s")),
    }
}

/// Checks that the user's API tokens are listed, with the one that was `created`.
fn check_list(context: &Context<'_>, access: &str, created: Option<i64>, findings: &mut Findings) {
    let case = "GET /iam/tokens";
    let answer = match exchange(context, "GET", "/iam/tokens?limit=10&ordering=-id", Some(access), None) {
        Ok(answer) => answer,
        Err(problem) => return findings.note(case, problem, CLIENTS_DO),
    };
    let Some(tokens) = answer.get("results").and_then(Value::as_array) else {
        return findings.note(case, "its answer has no list under `results`", CLIENTS_DO);
    };
    let is_listed = |id| tokens.iter().any(|token| token.get("id").and_then(Value::as_i64) == Some(id));
    if created.is_some_and(|id| !is_listed(id)) {
        findings.note(case, "the API token that was just created isn't listed", CLIENTS_DO);
    } else {
        findings.ok(case, format!("a list of {} API tokens", tokens.len()));
    }
}

/// Checks that an API token can be read.
fn check_read(context: &Context<'_>, access: &str, id: i64, findings: &mut Findings) {
    let case = "GET /iam/tokens/{id}";
    match exchange(context, "GET", &format!("/iam/tokens/{id}"), Some(access), None) {
        Ok(answer) if answer.get("token").is_some_and(|token| !token.is_null()) => {
            findings.note(
                case,
                "its answer contains the token itself, which only the answer to its creation may contain",
                CLIENTS_DO,
            );
        }
        Ok(answer) if answer.get("id").and_then(Value::as_i64) == Some(id) => findings.ok(case, "the API token"),
        Ok(_) => findings.note(case, "its answer doesn't have the API token's number under `id`", CLIENTS_DO),
        Err(problem) => findings.note(case, problem, CLIENTS_DO),
    }
}

fn create_token(context: &Context<'_>, access: &str, findings: &mut Findings) -> Option<(Option<i64>, String)> {
    let case = "POST /iam/tokens";
    let body = json!({"name": "authgate service-check"});
    let answer = match exchange(context, "POST", "/iam/tokens", Some(access), Some(&body)) {
        Ok(answer) => answer,
        Err(problem) => {
            findings.differs(case, problem, NEEDED_HERE);
            return None;
        }
    };
    let Some(token) = text(&answer, "token") else {
        findings.differs(case, "its answer has no text under `token`", NEEDED_HERE);
        return None;
    };
    findings.ok(case, "an API token");
    Some((answer.get("id").and_then(Value::as_i64), token))
}

/// Revokes the access token, and returns whether the service did.
pub fn log_out(context: &Context<'_>, access: &str, findings: &mut Findings) -> bool {
    let case = "POST /auth/jwt/logout";
    match exchange(context, "POST", "/auth/jwt/logout", Some(access), None) {
        Ok(_) => {
            findings.ok(case, "done");
            true
        }
        Err(problem) => {
            findings.note(case, problem, CLIENTS_DO);
            false
        }
    }
}

/// Deletes the API token that was created, and returns whether the service did.
pub fn delete_token(context: &Context<'_>, access: &str, id: i64, findings: &mut Findings) -> bool {
    match exchange(context, "DELETE", &format!("/iam/tokens/{id}"), Some(access), None) {
        Ok(_) => {
            findings.ok("DELETE /iam/tokens/{id}", "done");
            true
        }
        Err(problem) => {
            let filter = format!("doesn't call it; the API token {id}, which was made for this check, is still there");
            findings.note("DELETE /iam/tokens/{id}", problem, filter);
            false
        }
    }
}

fn text(answer: &Value, name: &str) -> Option<String> {
    answer.get(name)?.as_str().map(str::to_owned)
}

/// Sends a request, and returns the JSON of an answer with 2xx; null for an empty body.
fn exchange(
    context: &Context<'_>,
    method: &'static str,
    path: &str,
    bearer: Option<&str>,
    body: Option<&Value>,
) -> Result<Value, String> {
    let mut request = CalloutRequest { method, ..CalloutRequest::get(Destination::AuthService, path.to_owned()) };
    if let Some(bearer) = bearer {
        request.headers.push(("authorization", format!("Bearer {bearer}")));
    }
    if let Some(body) = body {
        request.headers.push(("content-type", "application/json".to_owned()));
        request.body = Some(body.to_string().into_bytes());
    }
    let answer = context.service.send(&request, MAX_BODY).map_err(|error| error.to_string())?;
    match answer {
        CalloutResponse { status: 200..=299, body: Some(body), .. } if body.is_empty() => Ok(Value::Null),
        CalloutResponse { status: 200..=299, body: Some(body), .. } => {
            serde_json::from_slice(&body).map_err(|_| "its answer is not JSON".to_owned())
        }
        CalloutResponse { status: 200..=299, body: None, .. } => Err("its answer is too large".to_owned()),
        CalloutResponse { status, .. } => Err(refusal(status)),
    }
}

fn refusal(status: u16) -> String {
    format!("it answered with status {status}")
}
