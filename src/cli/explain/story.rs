//! The explanation of a request.

use std::io::Write;

use serde::Serialize;
use serde_json::Value;

use crate::cli::report::Colour;

/// All of it, in the order of the steps.
#[derive(Debug, Serialize)]
pub struct Story {
    /// Method, host and path.
    pub request: String,
    /// What may happen to it before the filter sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The readings of the path.
    pub path_readings: Vec<String>,
    /// The readings of the host.
    pub host_readings: Vec<String>,
    /// The rules up to the one that decides.
    pub rules: Vec<RuleStory>,
    /// The rule that decides.
    pub rule: String,
    /// The request's credential.
    pub credential: Credential,
    /// The claims in the credential or in the service's answer.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub claims: Option<Claims>,
    /// The question to the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// Why the service's answer is no verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Each field of the rule's `require`.
    pub require: Vec<Condition>,
    /// How the request ends.
    pub decision: Decision,
}

/// One rule.
#[derive(Debug, Serialize)]
pub struct RuleStory {
    /// Its index and name.
    pub rule: String,
    /// Whether it decides.
    pub decides: bool,
    /// The conditions in its `match`.
    pub conditions: Vec<Condition>,
}

/// One field, and whether it holds.
#[derive(Debug, Serialize)]
pub struct Condition {
    /// As it is written.
    pub field: String,
    /// `yes`, `no`, or another phrase.
    pub holds: String,
}

/// The request's credential.
#[derive(Debug, Serialize)]
pub struct Credential {
    /// One phrase.
    pub found: String,
}

/// Claims, which may not be verified.
#[derive(Debug, Serialize)]
pub struct Claims {
    /// Where they stand.
    pub claims_of: Bearer,
    /// An object.
    pub claims: Value,
}

/// What has claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bearer {
    /// The client's JWT.
    Credential,
    /// The service's answer.
    Answer,
}

/// How the request ends.
#[derive(Debug, Serialize)]
pub struct Decision {
    #[serde(flatten)]
    pub ended: Ended,
    /// A label of `auth_validation_requests_total`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// A label of the same metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A label of the same metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The ways in which a request ends.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The request goes on.
    Forward(Upstream),
    /// The request is denied.
    Deny {
        /// The HTTP status.
        status: u16,
        /// The code of the denial.
        code: &'static str,
        /// The sentence for that code.
        details: &'static str,
        /// Why the credential is malformed.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        /// The response's headers.
        headers: Vec<(String, String)>,
    },
    /// The filter serves a page.
    Serve {
        /// The HTTP status.
        status: u16,
        /// The page, in JSON.
        body: String,
    },
    /// Not known yet: what is missing.
    Asks(String),
}

/// What goes upstream.
#[derive(Debug, Serialize)]
pub struct Upstream {
    /// The names of stripped headers.
    pub stripped: Vec<String>,
    /// The headers that change: names, and new values or `removed`.
    pub changed: Vec<(String, String)>,
    /// The headers that are set.
    pub set: Vec<(String, String)>,
    /// What happens to `Authorization`.
    pub authorization: &'static str,
}

impl Story {
    /// Prints the explanation as text.
    ///
    /// # Errors
    /// When the output can't be written to.
    pub fn print(&self, out: &mut impl Write, has_colour: bool) -> std::io::Result<()> {
        line(out, "request", &self.request)?;
        if let Some(note) = &self.note {
            line(out, "note", note)?;
        }
        for (name, readings) in [("paths", &self.path_readings), ("hosts", &self.host_readings)] {
            if readings.len() > 1 {
                line(out, name, &readings.join("  "))?;
            }
        }
        for rule in &self.rules {
            let conditions =
                rule.conditions.iter().map(|condition| format!("{} ({})", condition.field, condition.holds));
            let mark = if rule.decides { "decides" } else { "doesn't decide" };
            line(out, "", &format!("{}: {mark}: {}", rule.rule, conditions.collect::<Vec<_>>().join(", ")))?;
        }
        line(out, "rule", &self.rule)?;
        line(out, "credential", &self.credential.found)?;
        for claim in self.claims_of(Bearer::Credential) {
            line(out, "claim", &claim)?;
        }
        if let Some(question) = &self.question {
            line(out, "asks", question)?;
        }
        if let Some(answer) = &self.answer {
            line(out, "answer", answer)?;
        }
        for claim in self.claims_of(Bearer::Answer) {
            line(out, "answer", &format!("claim {claim}"))?;
        }
        for condition in &self.require {
            line(out, "require", &format!("{} ({})", condition.field, condition.holds))?;
        }
        self.decision.print(out, has_colour)
    }

    fn claims_of(&self, bearer: Bearer) -> Vec<String> {
        let claims = self.claims.as_ref().filter(|claims| claims.claims_of == bearer);
        let members = claims.and_then(|claims| claims.claims.as_object()).into_iter().flatten();
        members.map(|(name, value)| format!("{name}: {value}")).collect()
    }
}

impl Decision {
    fn print(&self, out: &mut impl Write, has_colour: bool) -> std::io::Result<()> {
        match &self.ended {
            Ended::Forward(upstream) => {
                let text = match (self.outcome.as_deref(), &self.reason) {
                    (Some("shadow_deny"), Some(code)) => Colour::Yellow
                        .paint(&format!("the request passes only because of shadow mode: {code}"), has_colour),
                    _ => Colour::Green.paint("the request passes", has_colour),
                };
                line(out, "decision", &text)?;
                for name in &upstream.stripped {
                    line(out, "stripped", name)?;
                }
                for (name, value) in &upstream.changed {
                    line(out, "changed", &format!("{name}: {value}"))?;
                }
                for (name, value) in &upstream.set {
                    line(out, "set", &format!("{name}: {value}"))?;
                }
                line(out, "Authorization", upstream.authorization)?;
            }
            Ended::Deny { status, code, details, why, headers } => {
                line(out, "decision", &Colour::Red.paint(&format!("{status} {code}"), has_colour))?;
                line(out, "", details)?;
                if let Some(why) = why {
                    line(out, "", why)?;
                }
                for (name, value) in headers {
                    line(out, "header", &format!("{name}: {value}"))?;
                }
            }
            Ended::Serve { status, body } => {
                line(out, "decision", &Colour::Green.paint(&format!("{status} from the filter itself"), has_colour))?;
                line(out, "", body)?;
            }
            Ended::Asks(what) => line(out, "decision", &Colour::Yellow.paint(what, has_colour))?,
        }
        if let (Some(outcome), Some(source), Some(reason)) = (&self.outcome, &self.source, &self.reason) {
            line(out, "counted as", &format!("outcome {outcome}, source {source}, reason {reason}"))?;
        }
        Ok(())
    }
}

fn line(out: &mut impl Write, name: &str, text: &str) -> std::io::Result<()> {
    writeln!(out, "{name:14}{text}")
}
