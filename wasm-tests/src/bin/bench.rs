//! The command behind `make bench`.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use wasm_tests::bench::{self, Effort, Unit};

/// What authgate costs in Envoy, beside Envoy's own filters
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
struct Arguments {
    /// Only show that everything works, in a minute
    #[arg(long, conflicts_with = "count")]
    quick: bool,
    /// Count the instructions of a request in an emulator, in place of its CPU time
    #[arg(long)]
    count: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare two builds of the module
    Compare {
        /// The module before a change
        before: PathBuf,
        /// The module after it
        after: PathBuf,
        /// How many rounds; by default 12, or 3 if instructions are counted
        #[arg(long)]
        rounds: Option<usize>,
        /// Count instructions in an emulator, in place of CPU time
        #[arg(long)]
        count: bool,
    },
    /// Put the tables of the last run into docs/performance.md and docs/operating.md
    Publish,
}

/// Instructions differ little from round to round.
const COUNTED_ROUNDS: usize = 3;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Command::Compare { before, after, rounds, count }) => {
            let (unit, usual) = if count { (Unit::Instructions, COUNTED_ROUNDS) } else { (Unit::Time, 12) };
            bench::compare(&before, &after, rounds.unwrap_or(usual), unit).await
        }
        Some(Command::Publish) => bench::publish(),
        None if arguments.count => bench::count(COUNTED_ROUNDS).await,
        None => bench::run(if arguments.quick { Effort::QUICK } else { Effort::FULL }).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
