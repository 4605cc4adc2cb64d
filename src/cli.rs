//! `authgate`: checks a configuration or a service before an operator trusts it (docs/commands.md).
//!
//! Each command uses the core's own parsers, so that it can't disagree with the filter.

mod check;
mod explain;
mod machine;
mod report;
mod schema;
mod service_check;
mod tree;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write, stdout};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Nothing is wrong.
const FINE: u8 = 0;
/// Something is wrong.
const WRONG: u8 = 1;
/// The command can't be carried out as it was given.
const USAGE: u8 = 2;

#[derive(Debug, Parser)]
#[command(name = "authgate", version, about = "Checks configurations and authentication services for authgate")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Options),
    Explain(Box<explain::Options>),
    /// Print the JSON Schema of the configuration
    Schema,
    ServiceCheck(Box<service_check::Options>),
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Runs the command in the process's arguments.
pub fn main() -> ExitCode {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let has_colour = stdout().is_terminal() && !is_plain;
    ExitCode::from(run(std::env::args_os(), &mut stdout().lock(), has_colour))
}

/// Carries out a command, and returns the exit status: 0 fine, 1 something is wrong, 2 usage.
///
/// - `arguments`: the name of the program first.
pub fn run<A: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = A>,
    out: &mut impl Write,
    has_colour: bool,
) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // clap prints help and version to standard output, and errors to standard error.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(USAGE);
        }
    };
    let out = &mut report::WhileRead(out);
    let result = match arguments.command {
        Command::Check(options) => check::run(&options, out, has_colour),
        Command::Explain(options) => explain::run(&options, out, has_colour),
        Command::Schema => schema::run(out),
        Command::ServiceCheck(options) => service_check::run(&options, out, has_colour),
    };
    result.unwrap_or_else(|problem| {
        eprintln!("authgate: {problem}");
        USAGE
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind, Result};

    use super::*;

    /// A pipe whose reader has closed it.
    struct Closed(ErrorKind);

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> Result<usize> {
            Err(Error::from(self.0))
        }

        fn flush(&mut self) -> Result<()> {
            Err(Error::from(self.0))
        }
    }

    #[test]
    fn a_closed_pipe_ends_no_command_with_an_error() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/envoy/envoy.yaml");
        for arguments in [&["authgate", "check", file][..], &["authgate", "explain", file], &["authgate", "schema"]] {
            assert_eq!(run(arguments, &mut Closed(ErrorKind::BrokenPipe), false), FINE, "{arguments:?}");
            assert_eq!(run(arguments, &mut Closed(ErrorKind::StorageFull), false), USAGE, "{arguments:?}");
        }
    }
}
