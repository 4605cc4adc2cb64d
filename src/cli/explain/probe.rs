//! Asks the filter about a request.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::NO_ANSWER;
use super::service::Service;
use super::story::{Bearer, Claims, Condition, Credential, Decision, Ended, RuleStory, Story, Upstream};
use crate::cli::machine::{Decided, Machine};
use crate::code::Code;
use crate::config::{Config, IdentityHeader};
use crate::credential::{Credential as ClientCredential, Form, Place};
use crate::decision::{Authorization, Forward};
use crate::extractor::{self, RequestHead};
use crate::filter::Resolution;
use crate::introspection::{CalloutRequest, Destination};
use crate::jwt::UntrustedJwt;
use crate::matcher::{Target, Undecided, host_readings};
use crate::path::{self, Budget};
use crate::time::UnixTime;

/// A request, and everything that decides on it.
pub struct Probe<'p> {
    /// The configuration as it is written.
    pub written: &'p Value,
    /// The same, as the filter uses it.
    pub config: &'p Config,
    /// The request.
    pub head: RequestHead<'p>,
    /// What the service answers.
    pub service: &'p Service,
    /// The time.
    pub now: UnixTime,
}

/// The result of one try.
struct Tried {
    /// `None`: the request never ended.
    decided: Option<Decided>,
    /// How it was counted.
    counted: Vec<String>,
    /// What the filter asked the service about the credential.
    question: Option<CalloutRequest>,
    /// The destination whose answer is missing for the decision.
    missing: Option<Destination>,
}

impl Probe<'_> {
    /// Explains the request.
    pub fn tell(&self) -> Story {
        let tried = self.try_with(self.config.clone());
        let (rule, undecided) = match self.config.rules.find(self.target()) {
            Ok(found) => (found.map(|(index, _)| index), None),
            Err(undecided) => (None, Some(undecided)),
        };
        let readings = path::readings(self.head.value(":path"), &mut Budget::default());
        let readings = readings.map(|readings| readings.iter().map(|reading| lossy(reading)).collect());
        let is_decided = tried.missing.is_none();
        let says = |name: &str| rule.is_some_and(|index| self.rule(index).get(name) == Some(&Value::Bool(true)));
        let is_served = matches!(&tried.decided, Some(Decided { resolution: Resolution::Serve(_), .. }));
        let is_looked_at = !says("public") && !says("deny") && undecided.is_none() && !is_served;
        Story {
            request: format!("{} {}{}", self.text(":method"), self.text(":authority"), self.text(":path")),
            note: None,
            path_readings: readings.unwrap_or_default(),
            host_readings: host_readings(self.head.value(":authority")).unwrap_or_default(),
            rules: if is_served { Vec::new() } else { self.rules(rule) },
            rule: match undecided {
                _ if is_served => "none: the filter answers this path itself".to_owned(),
                Some(undecided) => describe(undecided).to_owned(),
                None => self.rule_name(rule),
            },
            credential: if is_looked_at { self.credential() } else { Credential { found: "not looked at".to_owned() } },
            claims: self.claims(&tried).filter(|_| is_looked_at),
            question: tried.question.as_ref().map(question),
            answer: tried.question.as_ref().and_then(|_| self.service.problem(self.config, self.now)),
            require: if is_decided { self.require(rule) } else { Vec::new() },
            decision: self.decision(tried),
        }
    }

    fn target(&self) -> Target<'_> {
        let value = |name| self.head.value(name);
        Target { path: value(":path"), method: value(":method"), authority: value(":authority") }
    }

    fn text(&self, name: &str) -> String {
        lossy(self.head.value(name))
    }

    /// Lets the filter decide with this configuration.
    fn try_with(&self, config: Config) -> Tried {
        let (mut asked, mut lacks_key) = (None, false);
        let mut answer = |request: &CalloutRequest, _: usize| {
            let answer = self.service.answer(request);
            match request.to {
                Destination::AuthService => asked = Some(request.clone()),
                Destination::PublicKey => lacks_key |= answer.is_none(),
                Destination::Revocation => {}
            }
            answer.unwrap_or(NO_ANSWER)
        };
        let mut machine = Machine::new(config, self.now);
        let decided = machine.decide(&self.head, &mut answer);
        // The filter fetches a key at the start, whether or not the request needs it.
        let denial = decided.as_ref().and_then(|decided| match &decided.resolution {
            Resolution::Deny(response) => Some(response.code),
            Resolution::Forward(_) | Resolution::Serve(_) => None,
        });
        let needs_key = match denial {
            Some(Code::PublicKeyUnavailable) => true,
            Some(Code::AuthServiceUnavailable) => self.may_bring_jwt(),
            _ => false,
        };
        let missing = if asked.is_some() && !self.service.has_verdict() {
            Some(Destination::AuthService)
        } else {
            (lacks_key && needs_key).then_some(Destination::PublicKey)
        };
        Tried { decided, counted: machine.counted(), question: asked, missing }
    }

    /// Whether a signature may decide, of the client's JWT or of a JWT in the service's answer.
    fn may_bring_jwt(&self) -> bool {
        let credential = self.extract();
        self.config.api_token.response_format.is_jwt() || credential.is_ok_and(|one| one.form == Form::Jwt)
    }

    fn rule_name(&self, index: Option<usize>) -> String {
        let Some(index) = index else { return "no rule: a credential is required".to_owned() };
        match self.rule(index).get("name").and_then(Value::as_str) {
            Some(name) => format!("rules[{index}] ({name})"),
            None => format!("rules[{index}]"),
        }
    }

    fn rule(&self, index: usize) -> &Value {
        self.written.pointer(&format!("/rules/{index}")).unwrap_or(&Value::Null)
    }

    /// Each rule up to the one that decides, with its conditions.
    fn rules(&self, decides: Option<usize>) -> Vec<RuleStory> {
        let rules = self.written.get("rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let most = decides.map_or(rules.len(), |index| index + 1);
        let rules = rules.iter().take(most).enumerate();
        rules
            .map(|(index, rule)| {
                let fields = rule.get("match").and_then(Value::as_object).into_iter().flatten();
                let conditions = fields.map(|(name, value)| self.condition(name, value)).collect();
                RuleStory { rule: self.rule_name(Some(index)), decides: decides == Some(index), conditions }
            })
            .collect()
    }

    /// Whether a rule with this condition alone would match.
    fn condition(&self, name: &str, value: &Value) -> Condition {
        let config = json!({
            "auth_service": {"cluster": "auth_service"},
            "rules": [{"match": {name: value}, "public": true}],
        });
        let holds = Config::from_bytes(config.to_string().as_bytes()).ok().map(|config| {
            match config.rules.find(self.target()) {
                Ok(Some(_)) => "yes",
                Ok(None) => "no",
                Err(Undecided::DifferentPaths | Undecided::DifferentHosts) => "by some readings",
                Err(undecided) => describe(undecided),
            }
        });
        Condition { field: format!("{name}: {}", brief(value)), holds: holds.unwrap_or("unknown").to_owned() }
    }

    /// The credential, as the filter finds it.
    fn extract(&self) -> Result<ClientCredential<'_>, Code> {
        extractor::extract(&self.head, &self.config.api_token, &self.config.credentials)
    }

    fn credential(&self) -> Credential {
        let found = match self.extract() {
            Ok(credential) => {
                let form = match credential.form {
                    Form::Jwt => "a JWT",
                    Form::ApiToken => "an API token",
                    Form::Other => "a credential of another kind",
                };
                let place = match credential.place {
                    Place::Authorization => "Authorization",
                    Place::ApiKeyHeader => self.config.credentials.api_key_header.as_deref().unwrap_or_default(),
                    Place::Cookie => "a cookie",
                    Place::WebSocketProtocol => "a WebSocket protocol",
                };
                format!("{form} in {place}")
            }
            Err(code) => format!("not usable ({})", code.name()),
        };
        Credential { found }
    }

    /// Why the client's credential is malformed. It quotes nothing of it.
    fn problem(&self) -> Option<String> {
        let Ok(credential) = self.extract() else {
            return Some(
                "neither a JWT (three segments separated by dots) nor an API token (number$secret)".to_owned(),
            );
        };
        if credential.form != Form::Jwt {
            return None;
        }
        let jwt = match UntrustedJwt::parse(&credential.token) {
            Ok(jwt) => jwt,
            Err(error) => return Some(error.to_string()),
        };
        if let Some(name) = jwt.missing(&self.config.jwt.required_claims) {
            return Some(format!("claims: missing field `{name}`"));
        }
        let no_header = |header: &IdentityHeader| jwt.claims().header_value(header.claim).err();
        self.config.identity_headers.iter().find_map(no_header).map(|error| format!("claims: {error}"))
    }

    /// The claims in the service's answer or in the JWT.
    fn claims(&self, tried: &Tried) -> Option<Claims> {
        if let (Some(_), Some(body)) = (&tried.question, self.service.verdict_body()) {
            let claims = serde_json::from_slice(body).ok().or_else(|| payload(body))?;
            return Some(Claims { claims_of: Bearer::Answer, claims });
        }
        Some(Claims { claims_of: Bearer::Credential, claims: payload(&self.extract().ok()?.token)? })
    }

    /// Each field of `require`, and whether the identity satisfies it alone.
    fn require(&self, rule: Option<usize>) -> Vec<Condition> {
        let Some(index) = rule else { return Vec::new() };
        let require = self.rule(index).get("require").unwrap_or(&Value::Null);
        let alternatives = match require {
            Value::Array(alternatives) => alternatives.iter().collect(),
            Value::Object(_) => vec![require],
            _ => return Vec::new(),
        };
        if !self.is_let_in(index, None) {
            return Vec::new();
        }
        let several = alternatives.len() > 1;
        let mut conditions = Vec::new();
        for (number, alternative) in alternatives.into_iter().enumerate() {
            for (name, value) in alternative.as_object().into_iter().flatten() {
                let holds = if self.is_let_in(index, Some(json!({name: value}))) { "yes" } else { "no" };
                let prefix = if several { format!("[{number}].") } else { String::new() };
                conditions
                    .push(Condition { field: format!("{prefix}{name}: {}", brief(value)), holds: holds.to_owned() });
            }
        }
        conditions
    }

    /// Whether the request goes on if its rule has this `require`. Readings of path and host may lead to several rules
    /// with equal terms, so all of these rules have it.
    fn is_let_in(&self, index: usize, require: Option<Value>) -> bool {
        let mut written = self.written.clone();
        if let Some(written) = written.as_object_mut() {
            written.remove("mode");
        }
        let terms = self.config.rules.terms(Some(index));
        let rules = written.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten();
        let alike = rules.enumerate().filter(|(other, _)| self.config.rules.terms(Some(*other)) == terms);
        for rule in alike.filter_map(|(_, rule)| rule.as_object_mut()) {
            rule.remove("mode");
            match &require {
                Some(require) => rule.insert("require".to_owned(), require.clone()),
                None => rule.remove("require"),
            };
        }
        let Ok(config) = Config::from_bytes(written.to_string().as_bytes()) else { return false };
        let resolution = self.try_with(config).decided.map(|decided| decided.resolution);
        matches!(resolution, Some(Resolution::Forward(_)))
    }

    fn decision(&self, tried: Tried) -> Decision {
        let request = tried.counted.iter().find(|counter| counter.starts_with("auth_validation_requests_total"));
        let label = |name: &str| {
            let labels = request.map(String::as_str).unwrap_or_default().split('.');
            labels
                .filter_map(|label| label.split_once('='))
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.to_owned())
        };
        let ended = match (tried.missing, tried.decided) {
            (Some(Destination::AuthService), _) => Ended::Asks(
                "the service decides (401: token_rejected, 403: forbidden_by_service); give --answer to continue"
                    .to_owned(),
            ),
            (Some(_), _) => Ended::Asks("the service's public key decides; give --key to continue".to_owned()),
            (None, None) => Ended::Asks("the request waits".to_owned()),
            (None, Some(Decided { strip, changes, resolution })) => match resolution {
                Resolution::Forward(forward) => Ended::Forward(self.upstream(strip, changes, &forward)),
                Resolution::Deny(response) => Ended::Deny {
                    status: response.status,
                    code: response.code.name(),
                    details: response.code.details(),
                    why: self.problem().filter(|_| response.code == Code::TokenMalformed),
                    headers: response.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
                },
                Resolution::Serve(page) => Ended::Serve { status: page.status, body: page.body },
            },
        };
        let is_known = !matches!(ended, Ended::Asks(_));
        let shown = |name| label(name).filter(|_| is_known);
        Decision { ended, outcome: shown("outcome"), source: shown("source"), reason: shown("reason") }
    }

    fn upstream(
        &self,
        stripped: Vec<String>,
        mut changes: Vec<(String, Option<Vec<u8>>)>,
        forward: &Forward,
    ) -> Upstream {
        let set = forward.set.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let taken_off = forward.taken_off(self.head.headers, &self.config.credentials);
        let is_there = |name: &str| self.head.values(name).next().is_some();
        changes.extend(
            taken_off.into_iter().filter(|(name, _)| is_there(name)).map(|(name, value)| (name.to_owned(), value)),
        );
        let changed = changes.into_iter().map(|(name, value)| {
            let value = value.map_or_else(|| "removed".to_owned(), |value| lossy(&value));
            (name, value)
        });
        let authorization = match &forward.authorization {
            Authorization::Keep if self.head.value("authorization").is_empty() => "none",
            Authorization::Keep => "unchanged",
            Authorization::Remove => "removed",
            Authorization::Replace(_) => "the verified JWT",
        };
        Upstream { stripped, changed: changed.collect(), set, authorization }
    }
}

/// What the filter asks, without the credential.
fn question(request: &CalloutRequest) -> String {
    let scheme = request.authorization().and_then(|value| value.split_once(' ')).map_or("…", |(scheme, _)| scheme);
    format!("{} {} with Authorization: {scheme} …", request.method, request.path)
}

/// The claims in a JWT, unverified.
fn payload(jwt: &[u8]) -> Option<Value> {
    let claims = jwt.trim_ascii().split(|byte| *byte == b'.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

fn describe(undecided: Undecided) -> &'static str {
    match undecided {
        Undecided::Path(_) => "the path can't be read unambiguously",
        Undecided::DifferentPaths => "readings of the path lead to different rules",
        Undecided::Host => "the host is not valid",
        Undecided::DifferentHosts => "readings of the host lead to different rules",
    }
}

fn brief(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn lossy(bytes: &[u8]) -> String {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text,
    }
}
