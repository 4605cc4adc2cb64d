//! What was found of the service.

use std::io::Write;

use serde::Serialize;

use crate::cli::report::Colour;

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As docs/reference.md#authentication-service has it.
    Ok,
    /// Otherwise, but the filter does the same.
    Note,
    /// Otherwise, and the filter does something else.
    Differs,
    /// Not tried.
    Skipped,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Differs => "differs",
            Self::Skipped => "skipped",
        }
    }

    const fn colour(self) -> Colour {
        match self {
            Self::Ok => Colour::Green,
            Self::Note => Colour::Yellow,
            Self::Differs => Colour::Red,
            Self::Skipped => Colour::Grey,
        }
    }
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is to be taken.
    pub level: Level,
    /// What was asked, without a credential: `GET /auth/verify, json_body: a valid API token`.
    pub case: String,
    /// What came.
    pub found: String,
    /// What the filter makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

/// All of them, in the order of the checks.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    /// As it should be.
    pub fn ok(&mut self, case: impl Into<String>, found: impl Into<String>) {
        self.push(Level::Ok, case, found, None);
    }

    /// Not as it should be, but it makes no difference to the filter.
    pub fn note(&mut self, case: impl Into<String>, found: impl Into<String>, filter: impl Into<String>) {
        self.push(Level::Note, case, found, Some(filter.into()));
    }

    /// Not as it should be.
    pub fn differs(&mut self, case: impl Into<String>, found: impl Into<String>, filter: impl Into<String>) {
        self.push(Level::Differs, case, found, Some(filter.into()));
    }

    /// Not tried.
    pub fn skipped(&mut self, case: impl Into<String>, why: impl Into<String>) {
        self.push(Level::Skipped, case, why, None);
    }

    fn push(&mut self, level: Level, case: impl Into<String>, found: impl Into<String>, filter: Option<String>) {
        self.findings.push(Finding { level, case: case.into(), found: found.into(), filter });
    }

    /// How many there are of a level.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// Prints them for people.
    ///
    /// # Errors
    /// When the output can't be written to.
    pub fn print(&self, out: &mut impl Write, has_colour: bool) -> std::io::Result<()> {
        for Finding { level, case, found, filter } in &self.findings {
            let name = level.colour().paint(&format!("{:8}", level.name()), has_colour);
            writeln!(out, "{name} {case}: {found}")?;
            if let Some(filter) = filter {
                writeln!(out, "         The filter: {filter}")?;
            }
        }
        let counts = [Level::Ok, Level::Note, Level::Differs, Level::Skipped];
        let counts: Vec<_> = counts.iter().map(|level| format!("{} {}", self.count(*level), level.name())).collect();
        writeln!(out, "{}", counts.join(", "))
    }
}
