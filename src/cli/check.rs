//! `authgate check`: whether the filter accepts a configuration, and what in it is probably a mistake.

pub(super) mod find;
mod hints;
mod overlap;
mod rules;
mod surroundings;
mod warnings;

use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::report::Colour;
use super::tree::{self, Node, SyntaxError};
use super::{FINE, Format, WRONG};
use crate::config::{Config, ConfigError};
use find::Plugin;

/// Check a configuration in its own file, in an Envoy bootstrap or in a Kubernetes resource
#[derive(Debug, clap::Args)]
pub struct Options {
    /// YAML or JSON; - reads standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Exit with status 1 on warnings too
    #[arg(long)]
    strict: bool,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// An error or a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    file: String,
    /// Counted from 1.
    line: usize,
    level: &'static str,
    /// Of a warning only.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
    problem: String,
    /// What to write instead. Of an error only.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Problem {
    /// A file that can't be read as YAML or JSON.
    pub(super) fn of_syntax(file: &str, SyntaxError { line, problem }: SyntaxError) -> Self {
        Self { file: file.to_owned(), line, level: "error", name: None, field: String::new(), problem, hint: None }
    }

    /// What the filter refuses in a configuration.
    pub(super) fn of_field(file: &str, plugin: &Plugin<'_>, ConfigError { path, problem }: ConfigError) -> Self {
        let (line, hint) = (plugin.tree.line_of(&path), hints::hint(&plugin.tree, &path));
        Self { file: file.to_owned(), line, level: "error", name: None, field: path, problem, hint }
    }
}

/// The findings in all files.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) configurations: usize,
    pub(super) problems: Vec<Problem>,
}

impl Report {
    /// Prints the report.
    ///
    /// # Errors
    /// A sentence: the output can't be written to.
    pub(super) fn print(&self, format: Format, out: &mut impl Write, has_colour: bool) -> Result<(), String> {
        let printed = match format {
            Format::Text => print(self, out, has_colour),
            Format::Json => {
                serde_json::to_writer_pretty(&mut *out, self).map_err(Into::into).and_then(|()| writeln!(out))
            }
        };
        printed.map_err(|error| error.to_string())
    }
}

/// Checks the files, and returns the exit status.
///
/// # Errors
/// A sentence: a file can't be read, or holds no configuration.
pub fn run(options: &Options, out: &mut impl Write, has_colour: bool) -> Result<u8, String> {
    let mut report = Report::default();
    let unusable: Vec<_> = options.files.iter().filter_map(|file| check_file(file, &mut report).err()).collect();
    if unusable.len() < options.files.len() {
        report.print(options.format, out, has_colour)?;
    }
    if !unusable.is_empty() {
        return Err(unusable.join("\nauthgate: "));
    }
    let is_wrong = |problem: &Problem| problem.level == "error" || options.strict;
    Ok(if report.problems.iter().any(is_wrong) { WRONG } else { FINE })
}

/// Reads a file.
///
/// # Errors
/// A sentence: the file can't be read.
pub(super) fn read(file: &Path) -> Result<String, String> {
    if file.is_dir() {
        return Err(format!("{}: it is a folder: name its files", file.display()));
    }
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).map(|_| ())
    } else {
        std::fs::read(file).map(|read| bytes = read)
    };
    read.map_err(|error| format!("{}: {error}", file.display()))?;
    String::from_utf8(bytes).map_err(|_| format!("{}: it isn't UTF-8", file.display()))
}

/// The documents in a text, with those in its ConfigMaps.
///
/// # Errors
/// Where the text can't be read, and why.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let mut documents = tree::parse(text, 1)?;
    let embedded = find::embedded(&documents)?;
    documents.extend(embedded);
    Ok(documents)
}

fn check_file(file: &Path, report: &mut Report) -> Result<(), String> {
    let text = read(file)?;
    let name = file.display().to_string();
    let documents = match documents(&text) {
        Ok(documents) => documents,
        Err(error) => {
            report.problems.push(Problem::of_syntax(&name, error));
            return Ok(());
        }
    };
    let plugins = find::find(&documents);
    if plugins.is_empty() {
        return Err(format!("{name}: {}", find::NOTHING));
    }
    for plugin in &plugins {
        report.configurations += 1;
        check_plugin(plugin, &documents, &name, &mut report.problems);
    }
    Ok(())
}

fn check_plugin(plugin: &Plugin<'_>, documents: &[Node], file: &str, problems: &mut Vec<Problem>) {
    let mut found = Vec::new();
    let config = parse(plugin);
    let errors = config.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    found.extend(errors.iter().map(|error| Problem::of_field(file, plugin, error.clone())));
    for warning in warnings::check(plugin, documents, config.as_ref().map_err(|_| errors)) {
        let warnings::Found { warning, line, field, problem } = warning;
        let name = Some(warning.name());
        found.push(Problem { file: file.to_owned(), line, level: "warning", name, field, problem, hint: None });
    }
    found.sort_by_key(|problem| problem.line);
    // What is written once for filters of one name is one finding.
    found.retain(|problem| !problems.contains(problem));
    problems.extend(found);
}

/// The configuration, as the filter reads it.
///
/// # Errors
/// All errors in it.
pub(super) fn parse(plugin: &Plugin<'_>) -> Result<Config, Vec<ConfigError>> {
    Config::from_bytes(plugin.bytes.as_bytes()).map_err(|errors| errors.iter().cloned().collect())
}

fn print(report: &Report, out: &mut impl Write, has_colour: bool) -> std::io::Result<()> {
    for Problem { file, line, level, name, field, problem, hint } in &report.problems {
        let colour = if *level == "error" { Colour::Red } else { Colour::Yellow };
        let level = name.map_or_else(|| (*level).to_owned(), |name| format!("{level}[{name}]"));
        let level = colour.paint(&level, has_colour);
        let separator = if field.is_empty() { "" } else { ": " };
        writeln!(out, "{file}:{line}: {level}: {field}{separator}{problem}")?;
        if let Some(hint) = hint {
            writeln!(out, "  hint: {hint}")?;
        }
    }
    let count = |level| report.problems.iter().filter(|problem| problem.level == level).count();
    let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (configurations, errors, warnings) = (report.configurations, count("error"), count("warning"));
    writeln!(
        out,
        "{}: {}, {}",
        plural(configurations, "configuration"),
        plural(errors, "error"),
        plural(warnings, "warning")
    )
}

#[cfg(test)]
mod tests;
