//! What is wrong with a configuration: everything at once, each with its field.

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
