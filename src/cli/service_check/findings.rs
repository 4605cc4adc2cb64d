//! The findings about the service.

use std::io::Write;

use serde::Serialize;

use crate::cli::report::Colour;

/// The level of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As docs/reference.md#authentication-service says.
    Ok,
    /// Different, but the filter acts the same.
    Note,
    /// Different, and the filter acts differently.
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

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its level.
    pub level: Level,
    /// What was asked, without a credential: `GET /auth/verify, json_body: a valid API token`.
    pub case: String,
    /// What was answered.
    pub found: String,
    /// What the filter does with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

/// All findings, in the order of the checks.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    /// Whether this was already found.
    pub fn has(&self, found: &str) -> bool {
        self.findings.iter().any(|finding| finding.found == found)
    }

    /// Adds what is as it should be.
    pub fn ok(&mut self, case: impl Into<String>, found: impl Into<String>) {
        self.push(Level::Ok, case, found, None);
    }

    /// Adds a difference that doesn't affect the filter.
    pub fn note(&mut self, case: impl Into<String>, found: impl Into<String>, filter: impl Into<String>) {
        self.push(Level::Note, case, found, Some(filter.into()));
    }

    /// Adds a difference that affects the filter.
    pub fn differs(&mut self, case: impl Into<String>, found: impl Into<String>, filter: impl Into<String>) {
        self.push(Level::Differs, case, found, Some(filter.into()));
    }

    /// Adds a skipped check.
    pub fn skipped(&mut self, case: impl Into<String>, why: impl Into<String>) {
        self.push(Level::Skipped, case, why, None);
    }

    fn push(&mut self, level: Level, case: impl Into<String>, found: impl Into<String>, filter: Option<String>) {
        self.findings.push(Finding { level, case: case.into(), found: found.into(), filter });
    }

    /// The number of findings of a level.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// Prints the findings as text.
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
