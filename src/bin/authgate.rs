//! `authgate`: see docs/commands.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    authgate::cli::main()
}
