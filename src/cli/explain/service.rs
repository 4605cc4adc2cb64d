//! The service, as far as the options say what it answers.

use serde_json::{Value, json};

use super::{Options, split};
use crate::cli::check;
use crate::cli::machine::Answer;
use crate::config::{Config, ResponseFormat};
use crate::introspection::{self, AuthVerify, CalloutRequest, CalloutResponse, Destination, Verdict, Verifier as _};
use crate::public_key::PublicKey;
use crate::revocation::feed;
use crate::time::UnixTime;

/// The service's answers, as far as they were given.
pub struct Service {
    key: Option<CalloutResponse>,
    verdict: Option<CalloutResponse>,
    list: CalloutResponse,
}

impl Service {
    /// The answers in the options.
    ///
    /// # Errors
    /// A sentence: a file can't be read or used.
    pub fn new(options: &Options) -> Result<Self, String> {
        let answer = |status, headers, body: String| CalloutResponse { status, headers, body: Some(body.into_bytes()) };
        let key = match &options.key {
            None => None,
            Some(file) => {
                let pem = pem(check::read(file)?);
                PublicKey::from_pem(&pem).map_err(|error| format!("{}: {error}", file.display()))?;
                Some(answer(200, Vec::new(), json!({"public_key": pem}).to_string()))
            }
        };
        let is_answered = options.answer_body.is_some() || !options.answer_headers.is_empty();
        let verdict = match options.answer.or(is_answered.then_some(200)) {
            None => None,
            Some(status) => {
                let headers = options.answer_headers.iter().map(|header| split(header));
                let headers = headers.map(|header| header.map(|(name, value)| (name, value.into_bytes())));
                let body = options.answer_body.as_deref().map(check::read).transpose()?.unwrap_or_default();
                Some(answer(status, headers.collect::<Result<_, _>>()?, body))
            }
        };
        let list = match &options.revoked {
            None => r#"{"cursor": "0", "revoked": []}"#.to_owned(),
            Some(file) => check::read(file)?,
        };
        let list = answer(200, Vec::new(), list);
        if let (Some(file), Some(problem)) = (&options.revoked, problem_of_list(&list)) {
            return Err(format!("{}: {problem}", file.display()));
        }
        Ok(Self { key, verdict, list })
    }

    /// The answer; `None` if it wasn't given.
    pub fn answer(&self, request: &CalloutRequest) -> Option<Answer> {
        let answer = match request.to {
            Destination::PublicKey => self.key.clone(),
            Destination::Revocation => Some(self.list.clone()),
            Destination::AuthService => self.verdict.clone(),
        };
        answer.map(Ok)
    }

    /// Whether an answer about the credential was given.
    pub fn has_verdict(&self) -> bool {
        self.verdict.is_some()
    }

    /// The body of that answer.
    pub fn verdict_body(&self) -> Option<&[u8]> {
        self.verdict.as_ref()?.body.as_deref()
    }

    /// Why that answer is no verdict.
    pub fn problem(&self, config: &Config, now: UnixTime) -> Option<String> {
        let answer = self.verdict.clone()?;
        let (is_empty, has_no_headers) = (answer.body.as_ref().is_none_or(Vec::is_empty), answer.headers.is_empty());
        let status = answer.status;
        let verdict = match AuthVerify::new(config).verdict(answer) {
            Ok(Verdict::Jwt(token)) => introspection::read_jwt(&token, config, now).map(|_| ()),
            verdict => verdict.map(|_| ()),
        };
        let problem = verdict.err()?;
        let hint = match config.api_token.response_format {
            ResponseFormat::JsonBody | ResponseFormat::JwtBody if status == 200 && is_empty => {
                "; give its body with --answer-body"
            }
            ResponseFormat::JsonHeader | ResponseFormat::JwtHeader if status == 200 && has_no_headers => {
                "; give its headers with --answer-header"
            }
            _ => "",
        };
        Some(format!("no verdict: {problem}{hint}"))
    }
}

/// The key in the service's answer, or the text itself if it is none.
fn pem(text: String) -> String {
    let answer = serde_json::from_str::<Value>(&text).ok();
    let key = answer.as_ref().and_then(|answer| answer.get("public_key")?.as_str());
    key.map(str::to_owned).unwrap_or(text)
}

/// Why the filter can't use all of a revocation list.
fn problem_of_list(list: &CalloutResponse) -> Option<String> {
    match feed::read(Ok(list.clone())) {
        Ok(changes) => changes.unreadable.map(|unreadable| unreadable.to_string()),
        Err(error) => Some(error.to_string()),
    }
}
