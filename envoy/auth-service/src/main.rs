//! The binary: the service with its options from the command line.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use auth_service::{Command, Options};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// The command line: the options of the service, or a command in the place of serving.
#[derive(Parser)]
#[command(
    name = "auth-service",
    version,
    about = "An authentication service for authgate on SQLite, for local use and tests"
)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { options, command } = Arguments::parse();
    let done = match command {
        Some(command) => command.run(&options.db, options.token_hash).await,
        None => run(options).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("auth-service: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), auth_service::Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = auth_service::start(options).await?;
    writeln!(std::io::stdout(), "listening on {}", server.url())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    server.stop().await;
    Ok(())
}
