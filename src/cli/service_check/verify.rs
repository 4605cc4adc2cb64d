//! `GET /auth/verify`, in each of its formats.

use std::time::Duration;

use serde_json::{Value, json};

use super::findings::Findings;
use super::{Context, now};
use crate::claims::Claims;
use crate::cli::machine::{Answer, Machine, NoHost};
use crate::config::{AnswerHeaders, Config, ResponseFormat};
use crate::credential::{Credential, Form};
use crate::extractor::{Header, RequestHead};
use crate::filter::Resolution;
use crate::introspection::{
    AuthVerify, CalloutError, CalloutRequest, CalloutResponse, Destination, MAX_BODY, Outage, Scope, Verdict,
    Verifier as _,
};
use crate::jwt::UntrustedJwt;
use crate::public_key::PublicKey;
use crate::signature::Rs256;

/// A credential, as a client sends it.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'c> {
    /// Its form.
    pub form: Form,
    /// The token.
    pub text: &'c str,
    /// Its description: `a valid API token`.
    pub name: &'c str,
}

impl Sent<'_> {
    fn credential(&self) -> Credential<'_> {
        Credential::in_authorization(self.form, self.text.as_bytes())
    }

    fn authorization(&self) -> String {
        let scheme = if self.form == Form::ApiToken { "APIKey" } else { "Bearer" };
        format!("{scheme} {}", self.text)
    }
}

/// Questions to the service, in one format.
pub struct Asking<'c> {
    context: &'c Context<'c>,
    config: Config,
    format: ResponseFormat,
    key: Option<&'c PublicKey>,
}

impl<'c> Asking<'c> {
    /// # Errors
    /// What is wrong with the paths that were given.
    pub fn new(
        context: &'c Context<'c>,
        format: ResponseFormat,
        form: Form,
        key: Option<&'c PublicKey>,
    ) -> Result<Self, String> {
        let verification = if form == Form::Jwt { "remote" } else { "local" };
        let config = json!({
            "auth_service": {"cluster": "auth_service", "verify_path": context.options.verify_path},
            "jwt": {"verification": verification},
            "api_token": {"response_format": format.name(), "answer_headers": context.options.answer_headers()?},
            "circuit_breaker": {"fallback": false},
        });
        let config = Config::from_bytes(config.to_string().as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self { context, config, format, key })
    }

    /// The format that it asks for.
    pub const fn format(&self) -> ResponseFormat {
        self.format
    }

    /// The headers in which `json_header` answers.
    pub const fn answer_headers(&self) -> &AnswerHeaders {
        &self.config.api_token.answer_headers
    }

    /// How all of its questions are named in a finding.
    pub fn name(&self) -> String {
        format!("GET {}, {}", self.context.options.verify_path, self.format.name())
    }

    /// How a question is named in a finding.
    fn case(&self, name: &str) -> String {
        format!("{}: {name}", self.name())
    }

    fn ask(&self, sent: &Sent<'_>) -> Answer {
        let question = AuthVerify::new(&self.config).question(&sent.credential());
        self.context.service.send(&question, MAX_BODY)
    }

    /// The verdict that the filter reads in an answer.
    fn verdict(&self, answer: &Answer) -> Result<Verdict, Outage> {
        AuthVerify::new(&self.config).verdict(answer.clone()?)
    }

    /// Asks about a good credential. Returns its claims if the filter lets it in.
    pub fn good(&self, sent: &Sent<'_>, findings: &mut Findings) -> Option<Claims> {
        let case = self.case(sent.name);
        let answer = self.ask(sent);
        match self.claims(&answer) {
            Ok(claims) => match self.resolution(sent, &answer) {
                Some(Resolution::Forward(_)) => {
                    findings.ok(case, format!("user {} of client {}", claims.user_id(), claims.client_id()));
                    return Some(claims);
                }
                denied => findings.differs(case, self.complaint(&claims, &answer), outcome(denied)),
            },
            Err(problem) => findings.differs(case, problem, self.outcome(sent, &answer)),
        }
        None
    }

    /// Asks about a credential that can't be good.
    pub fn bad(&self, sent: &Sent<'_>, findings: &mut Findings) {
        let case = self.case(sent.name);
        let answer = self.ask(sent);
        match self.verdict(&answer) {
            Ok(Verdict::Rejected) => report_body(&case, &answer, findings),
            Ok(Verdict::Forbidden) => {
                findings.differs(case, "403 instead of 401", self.outcome(sent, &answer));
            }
            Ok(Verdict::Identity(_) | Verdict::Jwt(_)) => {
                findings.differs(case, "200 instead of 401", self.outcome(sent, &answer));
            }
            Err(outage) => {
                let found = format!("{outage}, instead of 401");
                findings.differs(case, found, self.outcome(sent, &answer));
            }
        }
    }

    /// Asks about a valid API token where only JWTs are to be verified.
    pub fn unwanted(&self, sent: &Sent<'_>, findings: &mut Findings) {
        const NEVER: &str = "asks only about the kinds that it lists";
        let case = self.case(sent.name);
        let path = &self.context.options.verify_path;
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}header_types=jwt&response_format={}", self.format.name());
        let headers = vec![("authorization", sent.authorization())];
        let answer = self
            .context
            .service
            .send(&CalloutRequest { headers, ..CalloutRequest::get(Destination::AuthService, path) }, MAX_BODY);
        match self.verdict(&answer) {
            Ok(Verdict::Rejected) => report_body(&case, &answer, findings),
            Ok(_) => findings.note(case, "it ignores header_types", NEVER),
            Err(outage) => findings.note(case, format!("{outage}, instead of 401"), NEVER),
        }
    }

    /// Asks about a valid API token whose number is spelled in another way: a token has one spelling.
    pub fn misspelled(&self, sent: &Sent<'_>, findings: &mut Findings) {
        const REFUSED: &str = "answers 401 token_malformed, and doesn't ask";
        let case = self.case(sent.name);
        let answer = self.ask(sent);
        match self.verdict(&answer) {
            Ok(Verdict::Rejected) => report_body(&case, &answer, findings),
            Ok(_) => findings.note(case, "it accepts another spelling of the token's number", REFUSED),
            Err(outage) => findings.note(case, format!("{outage}, instead of 401"), REFUSED),
        }
    }

    /// Asks without a credential, which the filter never does.
    pub fn none(&self, findings: &mut Findings) {
        const NEVER: &str = "never asks without a credential";
        let case = self.case("no credential");
        let sent = Sent { form: Form::ApiToken, text: "", name: "" };
        let mut question = AuthVerify::new(&self.config).question(&sent.credential());
        question.headers.clear();
        let answer = self.context.service.send(&question, MAX_BODY);
        match self.verdict(&answer) {
            Ok(Verdict::Rejected) => report_body(&case, &answer, findings),
            Ok(Verdict::Identity(_) | Verdict::Jwt(_)) => {
                findings.differs(case, "200 instead of 401: it vouches for nobody", NEVER);
            }
            Ok(Verdict::Forbidden) => findings.note(case, "403 instead of 401", NEVER),
            Err(outage) => findings.note(case, format!("{outage}, instead of 401"), NEVER),
        }
    }

    /// Why the filter would refuse these claims, which it can read.
    fn complaint(&self, claims: &Claims, answer: &Answer) -> String {
        if let Err(error) = claims.check_time(now(), Duration::ZERO) {
            return format!("its claims say that it is {error}");
        }
        if let (Ok(Verdict::Jwt(jwt)), Some(key)) = (self.verdict(answer), self.key)
            && !is_signed(&jwt, key)
        {
            return "its JWT isn't signed with the public key that it serves".to_owned();
        }
        format!("its claims, with the token type {:?}, let nobody in", claims.token_type().name())
    }

    /// What the filter does with an answer that it can't use, or shouldn't get.
    fn outcome(&self, sent: &Sent<'_>, answer: &Answer) -> String {
        let outcome = outcome(self.resolution(sent, answer));
        match self.verdict(answer) {
            Err(outage) if outage.scope() == Scope::Service => {
                format!("treats it as an outage of the service, which opens the breaker: {outcome}")
            }
            Err(_) => format!("treats it as no verdict on this credential: {outcome}"),
            Ok(_) => outcome,
        }
    }

    /// The claims in an answer, or why there are none.
    fn claims(&self, answer: &Answer) -> Result<Claims, String> {
        match self.verdict(answer) {
            Ok(Verdict::Identity(confirmed)) => Ok(*confirmed.into_claims()),
            Ok(Verdict::Jwt(jwt)) => {
                let jwt = UntrustedJwt::parse(&jwt).map_err(|error| format!("its JWT is unusable: {error}"))?;
                Ok(jwt.claims().clone())
            }
            Ok(Verdict::Rejected) => Err("401".to_owned()),
            Ok(Verdict::Forbidden) => Err("403".to_owned()),
            Err(outage) => Err(format!("{outage}{}", hint(&outage, answer, self.format))),
        }
    }

    /// What the filter does with a request that has the credential, if the service answers this.
    fn resolution(&self, sent: &Sent<'_>, answer: &Answer) -> Option<Resolution> {
        let authorization = sent.authorization();
        let headers: [Header<'_>; 4] = [
            (":method", b"GET"),
            (":path", b"/"),
            (":authority", b"gateway"),
            ("authorization", authorization.as_bytes()),
        ];
        let head = RequestHead { headers: &headers, has_body: false };
        let key = self.key.map(key_answer);
        let mut respond = |request: &CalloutRequest, _: usize| {
            if request.to == Destination::PublicKey {
                key.clone().unwrap_or(Err(CalloutError::NotConnected))
            } else {
                answer.clone()
            }
        };
        let decided = Machine::new(self.config.clone(), now()).decide(&head, &mut respond);
        decided.map(|decided| decided.resolution)
    }
}

/// Whether this is a JWT, signed with this key.
pub fn is_signed(jwt: &[u8], key: &PublicKey) -> bool {
    let verified = |jwt: UntrustedJwt<'_>| jwt.verify(&Rs256::new(&NoHost), [key.clone()].as_slice()).is_ok();
    UntrustedJwt::parse(jwt).is_ok_and(verified)
}

/// The key, as the service's answer.
fn key_answer(key: &PublicKey) -> Answer {
    let body = json!({"public_key": key.to_pem()}).to_string().into_bytes();
    Ok(CalloutResponse { status: 200, headers: Vec::new(), body: Some(body) })
}

/// Reports the body of the service's 401: a difference only once.
fn report_body(case: &str, answer: &Answer, findings: &mut Findings) {
    let body = answer.as_ref().ok().and_then(|answer| answer.body.as_deref()).unwrap_or_default();
    let body: Option<Value> = serde_json::from_slice(body).ok();
    let has = |name| body.as_ref().and_then(|body| body.get(name)).is_some_and(Value::is_string);
    let difference = "401, but its body isn't {\"error\", \"details\"} with two texts";
    if has("error") && has("details") || findings.has(difference) {
        findings.ok(case, "401");
    } else {
        findings.note(case, difference, "doesn't look at it");
    }
}

/// A hint for an answer that can't be read.
fn hint(outage: &Outage, answer: &Answer, format: ResponseFormat) -> &'static str {
    let Ok(answer) = answer else { return "" };
    let has_other = || answer.headers.iter().any(|(name, _)| name.ends_with("-user-id") && name != "x-user-id");
    if format == ResponseFormat::JsonHeader && answer.status == 200 && has_other() {
        return "; it has a header X-…-User-ID, which api_token.answer_headers can name (here --answer-header)";
    }
    match outage {
        Outage::Status(300..=399) => "; redirects are not followed",
        Outage::Status(404) => "; is this the path?",
        _ => "",
    }
}

/// What a client gets.
fn outcome(resolution: Option<Resolution>) -> String {
    match resolution {
        Some(Resolution::Forward(_)) => "lets the request pass".to_owned(),
        Some(Resolution::Deny(response)) => {
            format!("answers {} {}", response.status, response.code.name())
        }
        Some(Resolution::Serve(_)) | None => "holds the request".to_owned(),
    }
}
