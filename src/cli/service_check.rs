//! `authgate service-check`: whether an authentication service answers as docs/reference.md#authentication-service
//! says, and what the filter does where it doesn't.

mod feed;
mod findings;
mod key;
mod same;
mod service;
mod session;
mod verify;

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::{FINE, Format, WRONG};
use crate::config::ResponseFormat;
use crate::credential::Form;
use crate::extractor;
use crate::jwt::UntrustedJwt;
use crate::public_key::PublicKey;
use crate::time::UnixTime;
use findings::{Findings, Level};
use service::Service;
use session::Credentials;
use verify::{Asking, Sent};

/// Test each endpoint of an authentication service, and report differences from what authgate expects
///
/// Tested are the public key, GET /health, /auth/verify in each format, the revocation list, and, with a user, what
/// clients call. A finding is `ok` (as expected), `note` (different, but the filter behaves the same), `differs`
/// (different, and the filter behaves differently or the check can't continue: the exit status is 1) or `skipped` (a
/// credential is missing).
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The service's URL: http://host:port, with its path if it has one
    url: String,
    /// A user who may log in; the check creates an API token and deletes it at the end
    #[arg(long, env = "AUTHGATE_USERNAME", requires = "password")]
    username: Option<String>,
    /// The user's password
    #[arg(long, env = "AUTHGATE_PASSWORD", hide_env_values = true, requires = "username")]
    password: Option<String>,
    /// A valid access token; the check does not revoke it
    #[arg(long, env = "AUTHGATE_JWT", hide_env_values = true)]
    jwt: Option<String>,
    /// A valid API token; the check does not delete it
    #[arg(long, env = "AUTHGATE_API_TOKEN", hide_env_values = true)]
    api_token: Option<String>,
    /// Like auth_service.verify_path
    #[arg(long, default_value = "/auth/verify")]
    verify_path: String,
    /// Like auth_service.public_key_path
    #[arg(long, default_value = "/iam/public-key")]
    public_key_path: String,
    /// Like revocation.path
    #[arg(long, default_value = "/auth/blacklist")]
    revocation_path: String,
    /// The service has no revocation list
    #[arg(long)]
    no_revocation: bool,
    /// Like api_token.answer_headers: a field and its header, as in user_id=X-Platform-User-ID
    #[arg(long = "answer-header", value_name = "NAME=HEADER")]
    answer_headers: Vec<String>,
    /// Test only this format of /auth/verify, like api_token.response_format; may be repeated
    #[arg(long = "response-format", value_name = "FORMAT", value_parser = response_format)]
    response_formats: Vec<ResponseFormat>,
    /// The timeout for each answer, in seconds
    #[arg(long, default_value_t = 5, value_parser = seconds)]
    timeout: u64,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Options {
    /// The options as a value of `api_token.answer_headers`.
    fn answer_headers(&self) -> Result<Value, String> {
        let pairs = self.answer_headers.iter().map(|pair| {
            let (name, header) = pair.split_once('=').ok_or_else(|| format!("{pair:?}: write NAME=HEADER"))?;
            Ok((name.to_owned(), Value::from(header)))
        });
        pairs.collect::<Result<Map<_, _>, String>>().map(Value::Object)
    }

    /// The formats to test.
    fn formats(&self) -> impl Iterator<Item = ResponseFormat> {
        let is_wanted = |format: &ResponseFormat| self.response_formats.contains(format);
        ResponseFormat::ALL.into_iter().filter(move |format| self.response_formats.is_empty() || is_wanted(format))
    }
}

fn response_format(text: &str) -> Result<ResponseFormat, String> {
    let format = ResponseFormat::ALL.into_iter().find(|format| format.name() == text);
    format.ok_or_else(|| format!("the formats are {}", ResponseFormat::ALL.map(ResponseFormat::name).join(", ")))
}

fn seconds(text: &str) -> Result<u64, &'static str> {
    let seconds = text.parse().ok().filter(|seconds| (1..=60).contains(seconds));
    seconds.ok_or("a timeout is a number of seconds from 1 to 60")
}

/// What all checks share.
struct Context<'o> {
    options: &'o Options,
    service: Service,
}

/// Checks the service, and returns the exit status.
///
/// # Errors
/// A sentence: an option can't be used.
pub fn run(options: &Options, out: &mut impl Write, has_colour: bool) -> Result<u8, String> {
    let service = Service::new(&options.url, Duration::from_secs(options.timeout))?;
    let context = Context { options, service };
    let mut findings = Findings::default();
    check(&context, &mut findings)?;
    let printed = match options.format {
        Format::Text => findings.print(out, has_colour),
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &findings).map_err(Into::into).and_then(|()| writeln!(out))
        }
    };
    printed.map_err(|error| error.to_string())?;
    Ok(if findings.count(Level::Differs) == 0 { FINE } else { WRONG })
}

fn check(context: &Context<'_>, findings: &mut Findings) -> Result<(), String> {
    if !key::is_there(context, findings) {
        return Ok(());
    }
    let key = key::check(context, findings);
    key::check_health(context, findings);
    let credentials = Credentials::collect(context, findings);
    check_api_tokens(context, &credentials, key.as_ref(), findings)?;
    check_jwts(context, &credentials, key.as_ref(), findings)?;
    check_revocation(context, &credentials, findings)
}

fn check_api_tokens(
    context: &Context<'_>,
    credentials: &Credentials,
    key: Option<&PublicKey>,
    findings: &mut Findings,
) -> Result<(), String> {
    let stranger = format!("{}${}", i64::MAX, "0".repeat(extractor::SECRET));
    let other_secret = credentials.api_token.as_deref().and_then(with_other_secret);
    match &credentials.api_token {
        None => findings.skipped("the API token", "none was given (--api-token, or --username)"),
        Some(token) if extractor::is_api_token(token) => {}
        Some(_) => {
            let expected = "<number>$<128 lower-case letters and digits>";
            findings.differs("the API token", format!("it isn't {expected}"), "answers 401 token_malformed");
        }
    }
    let mut known = Vec::new();
    for (index, format) in context.options.formats().enumerate() {
        let asking = Asking::new(context, format, Form::ApiToken, key)?;
        let sent = |text, name| Sent { form: Form::ApiToken, text, name };
        if let Some(token) = &credentials.api_token
            && let Some(claims) = asking.good(&sent(token, "a valid API token"), findings)
        {
            same::check(&asking, &known, &claims, findings);
            known.push(claims);
        }
        asking.bad(&sent(&stranger, "an unknown API token"), findings);
        // The format doesn't matter here.
        if index == 0 {
            if let Some(token) = &other_secret {
                asking.bad(&sent(token, "an API token with another's secret"), findings);
            }
            asking.none(findings);
            if let Some(token) = &credentials.api_token {
                asking.unwanted(&sent(token, "a valid API token with header_types=jwt"), findings);
                asking
                    .misspelled(&sent(&format!("0{token}"), "a valid API token with a 0 before its number"), findings);
            }
        }
    }
    Ok(())
}

fn check_jwts(
    context: &Context<'_>,
    credentials: &Credentials,
    key: Option<&PublicKey>,
    findings: &mut Findings,
) -> Result<(), String> {
    match &credentials.jwt {
        Some(jwt) => check_own_jwt(jwt, key, findings),
        None => findings.skipped("the access token", "none was given (--jwt, or --username)"),
    }
    let forged = credentials.jwt.as_deref().map_or_else(unsigned, with_other_signature);
    // A remote JWT can't be verified in `json_header`.
    let formats = context.options.formats().filter(|format| *format != ResponseFormat::JsonHeader);
    for (index, format) in formats.enumerate() {
        let asking = Asking::new(context, format, Form::Jwt, key)?;
        let sent = |text, name| Sent { form: Form::Jwt, text, name };
        if let Some(jwt) = &credentials.jwt {
            asking.good(&sent(jwt, "a valid JWT"), findings);
        }
        asking.bad(&sent(&forged, "a JWT with a forged signature"), findings);
        if let (Some(refresh), 0) = (&credentials.refresh, index) {
            asking.bad(&sent(refresh, "a refresh token"), findings);
        }
    }
    Ok(())
}

/// Checks the access token as the filter verifies it locally.
fn check_own_jwt(jwt: &str, key: Option<&PublicKey>, findings: &mut Findings) {
    let case = "the access token";
    let claims = match UntrustedJwt::parse(jwt.as_bytes()) {
        Ok(jwt) => jwt.claims().clone(),
        Err(error) => return findings.differs(case, error.to_string(), "answers 401 token_malformed"),
    };
    if let Err(error) = claims.check_time(now(), Duration::ZERO) {
        return findings.differs(case, format!("it is {error}"), "answers 401");
    }
    if let Some(key) = key
        && !verify::is_signed(jwt.as_bytes(), key)
    {
        let found = "it isn't signed with the public key that the service serves";
        return findings.differs(case, found, "answers 401 signature_invalid");
    }
    match claims.jti() {
        Some(_) => findings.ok(case, format!("user {} of client {}", claims.user_id(), claims.client_id())),
        None => findings.differs(case, "it has no `jti`", "can't find it on a revocation list"),
    }
}

fn check_revocation(context: &Context<'_>, credentials: &Credentials, findings: &mut Findings) -> Result<(), String> {
    let path = context.options.revocation_path.as_str();
    let cursor = if context.options.no_revocation { None } else { feed::check(context, path, findings) };
    let Some(jwt) = credentials.jwt.as_deref().filter(|_| credentials.is_own_jwt) else { return Ok(()) };
    if let (Some(id), Some(token)) = (credentials.created, &credentials.api_token)
        && session::delete_token(context, jwt, id, findings)
    {
        let asking = Asking::new(context, ResponseFormat::JsonBody, Form::ApiToken, None)?;
        asking.bad(&Sent { form: Form::ApiToken, text: token, name: "a deleted API token" }, findings);
        if let Some(cursor) = &cursor {
            feed::check_purged(context, path, cursor, id, findings);
        }
    }
    if session::log_out(context, jwt, findings) {
        let asking = Asking::new(context, ResponseFormat::JsonBody, Form::Jwt, None)?;
        asking.bad(&Sent { form: Form::Jwt, text: jwt, name: "a JWT that was logged out" }, findings);
        let claims = UntrustedJwt::parse(jwt.as_bytes()).ok().map(|jwt| jwt.claims().clone());
        if let (Some(cursor), Some(claims)) = (&cursor, &claims)
            && let (Some(jti), Some(exp)) = (claims.jti(), claims.exp())
        {
            feed::check_revoked(context, path, cursor, (jti, exp), findings);
        }
    }
    Ok(())
}

/// The token with another secret after its number.
fn with_other_secret(token: &str) -> Option<String> {
    let (number, secret) = token.split_once('$')?;
    let other = if secret.starts_with('0') { '1' } else { '0' };
    Some(format!("{number}${other}{}", secret.get(1..)?))
}

/// The token with an invalid signature.
fn with_other_signature(jwt: &str) -> String {
    let signed = jwt.rsplit_once('.').map_or(jwt, |(signed, _)| signed);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 256]))
}

/// A JWT with an invalid signature.
fn unsigned() -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"RS256"}"#);
    let claims = json!({
        "exp": now().as_secs() + 3600, "jti": "authgate-service-check", "user_id": 1, "client_id": 1,
        "token_type": "access",
    });
    with_other_signature(&format!("{header}.{}.", URL_SAFE_NO_PAD.encode(claims.to_string())))
}

fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
