//! What is wrong with a configuration: everything at once, each with its field.

use std::cell::Cell;
use std::fmt;

/// Why a configuration was refused: the field's path and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ConfigError {
    /// The field, as in `rules[2].match.regex`; `configuration` for the whole.
    pub path: String,
    /// One sentence, with what can be written instead.
    pub problem: String,
}

/// All that is wrong with a configuration: at least one error, and at most one per field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The most errors that are reported: a file of another kind is wrong in every line.
    const MAX: usize = 100;

    pub(super) fn one(path: impl Into<String>, problem: impl Into<String>) -> Self {
        let mut errors = Self::none();
        errors.push(path, problem);
        errors
    }

    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) fn push(&mut self, path: impl Into<String>, problem: impl Into<String>) {
        let path = path.into();
        if !self.is_full() && !self.0.iter().any(|known| known.path == path) {
            self.0.push(ConfigError { path, problem: problem.into() });
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= Self::MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The errors.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

/// One line per error.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(formatter, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// What is found wrong while fields are read.
pub(super) struct Found {
    errors: Cell<ConfigErrors>,
    /// Whether something couldn't be read, whether or not an error says so.
    is_unreadable: Cell<bool>,
}

impl Found {
    /// With the errors that the check has found.
    pub(super) const fn new(errors: ConfigErrors) -> Self {
        Self { errors: Cell::new(errors), is_unreadable: Cell::new(false) }
    }

    pub(super) fn refuse(&self, path: String, problem: &str) {
        let mut errors = self.errors.replace(ConfigErrors::none());
        errors.push(path, problem);
        self.errors.set(errors);
    }

    /// Refuses the configuration. It adds no error, since the check has one: for this field, or for one above it.
    pub(super) fn refuse_unreadable(&self) {
        self.is_unreadable.set(true);
    }

    /// All of it; empty if the configuration can be used.
    pub(super) fn into_errors(self) -> ConfigErrors {
        let mut errors = self.errors.into_inner();
        if errors.is_empty() && self.is_unreadable.get() {
            errors.push("configuration", "can't be used");
        }
        errors
    }
}
