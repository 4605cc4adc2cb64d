//! What the built module logs about bad configurations is what `authgate check` prints.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use authgate::config::mistakes;
use serde_json::Value;

use crate::{host::Program, module};

/// The errors that `authgate check` prints about a configuration, in their order.
fn printed(file: &Path, configuration: &str) -> Result<Vec<String>> {
    fs::write(file, configuration)?;
    let name = file.to_str().context("a name that is no text")?;
    let mut out = Vec::new();
    authgate::cli::run(["authgate", "check", name, "--format", "json"], &mut out, false);
    let report: Value = serde_json::from_slice(&out)?;
    let problems = report["problems"].as_array().context("no problems")?;
    let errors = problems.iter().filter(|problem| problem["level"] == "error");
    let text = |error: &Value, name: &str| error[name].as_str().unwrap_or_default().to_owned();
    Ok(errors.map(|error| format!("{}: {}", text(error, "field"), text(error, "problem"))).collect())
}

#[test]
fn the_module_and_the_command_agree_on_bad_configurations() -> Result<()> {
    let program = Program::new(&fs::read(module())?)?;
    let file = tempfile::Builder::new().suffix(".json").tempfile()?;
    let (mut bad, mut several) = (0, 0);
    // Not all of those with one mistake: the interpreter is slow.
    let configurations = mistakes::configurations().into_iter().step_by(7).chain(mistakes::combinations());
    for config in configurations.map(|config| config.to_string()) {
        let printed = printed(file.path(), &config)?;
        let logged = program.refusal(&config)?.unwrap_or_default();
        let expected: Vec<_> = printed.iter().map(|error| format!("configuration refused: {error}")).collect();
        ensure!(logged == expected, "{config}:\nthe module: {logged:#?}\nthe command: {expected:#?}");
        bad += usize::from(!logged.is_empty());
        several += usize::from(logged.len() > 1);
    }
    ensure!(bad >= 300 && several >= 10, "{bad} bad, {several} with several errors");
    Ok(())
}
