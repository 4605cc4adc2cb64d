//! The commands behind `make run`, `make demo` and `make lint`: a whole gateway on this machine.

use std::{
    io::IsTerminal as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use wasm_tests::{Bootstrap, Ports, Stack, certificates, demo};

/// authgate in Envoy, with the auth service and an upstream, on this machine
#[derive(Debug, Parser)]
#[command(name = "gateway", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a gateway, print requests to paste, and stay up until Ctrl-C
    Run(Run),
    /// Start a gateway on free ports, send it requests, and print what came back
    Demo(Demo),
    /// Start the upstream alone, which answers with what it got, and stay up until it is ended
    Upstream {
        /// Address and port to listen on
        #[arg(long, default_value_t = SocketAddr::from(([127, 0, 0, 1], 9001)))]
        listen: SocketAddr,
    },
    /// Write a bootstrap as Envoy on this machine can check it: with the module's real path, and certificates
    Render {
        /// The bootstrap, in YAML
        bootstrap: PathBuf,
        /// The file to write, in JSON
        output: PathBuf,
        /// The module
        #[arg(long, default_value = "target/authgate.wasm")]
        module: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Port of the gateway (of this and every port: 0 picks a free one)
    #[arg(long, default_value_t = 10000)]
    port: u16,
    /// Port of Envoy's admin interface
    #[arg(long, default_value_t = 9901)]
    admin_port: u16,
    /// Port of the auth service
    #[arg(long, default_value_t = 9000)]
    auth_port: u16,
    /// Port of the upstream
    #[arg(long, default_value_t = 9001)]
    upstream_port: u16,
    /// Envoy's number of workers
    #[arg(long, default_value_t = 2)]
    concurrency: u32,
    /// SQLite file that keeps users, tokens and the key; without it they are gone at the end
    #[arg(long)]
    db: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Demo {
    /// Envoy's number of workers
    #[arg(long, default_value_t = 1)]
    concurrency: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(arguments) => run(arguments).await,
        Command::Demo(arguments) => show(arguments).await,
        Command::Upstream { listen } => wasm_tests::serve_upstream(listen).await,
        Command::Render { bootstrap, output, module } => render(&bootstrap, &output, &module),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Run) -> Result<()> {
    // Before anything starts, so that a signal always stops everything.
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    let serving = async {
        println!("==> starting the auth service, an upstream and Envoy");
        let stack = started(&arguments).await?;
        introduce(&stack).await?;
        loop {
            if let Some(exit) = stack.envoy_exit() {
                bail!("Envoy ended ({exit}):\n{}", stack.envoy_log());
            }
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        ended = serving => ended,
        _ = terminated.recv() => stopped(),
        _ = interrupted.recv() => stopped(),
        _ = hung_up.recv() => stopped(),
    }
}

fn stopped() -> Result<()> {
    println!("\n==> stopped");
    Ok(())
}

async fn started(arguments: &Run) -> Result<Stack> {
    Stack::builder()
        .ports(Ports {
            gateway: arguments.port,
            admin: arguments.admin_port,
            service: arguments.auth_port,
            upstream: arguments.upstream_port,
        })
        .concurrency(arguments.concurrency)
        .shipped_config()
        .service(|options| {
            // Only tests may break the service or read its key.
            options.faults = false;
            if let Some(db) = &arguments.db {
                options.db = db.to_string_lossy().into_owned();
            }
        })
        .start()
        .await
        .map_err(with_advice)
}

/// Says how to change ports where one is the problem. The cause may be in Envoy's log, which is part of the error.
fn with_advice(error: anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    let is_port = ["Address already in use", "cannot listen on"].iter().any(|problem| text.contains(problem));
    let advice = if is_port { " (`make run ARGS='--help'` shows how to change ports)" } else { "" };
    error.context(format!("the gateway doesn't start{advice}"))
}

async fn introduce(stack: &Stack) -> Result<()> {
    let gateway = stack.gateway();
    let service = stack.service_address()?;
    let (username, password) = stack.user();
    let jwt = stack.login().await?.access;
    let (id, token) = stack.api_token("make run").await?;
    let login = serde_json::json!({"username": username, "password": password});
    println!(
        "\
==> gateway       http://{gateway}
    Envoy's admin http://{}
    auth service  http://{service}  ({username} / {password})
    upstream      http://{}  (answers with what it got)
    Envoy's log   {folder}/envoy.log
    access log    {folder}/access.log

Requests to paste:

# public: nobody is asked
curl -i 'http://{gateway}/public/page'

# no credential: 401
curl -i 'http://{gateway}/orders'

# a JWT, good for an hour, verified in Envoy
curl -i 'http://{gateway}/orders' -H 'Authorization: Bearer {jwt}'

# an API token (id {id}), verified by the auth service
curl -i 'http://{gateway}/webhooks/new' -H 'Authorization: APIKey {token}'

# a new JWT
curl 'http://{service}/auth/jwt/login' -H 'Content-Type: application/json' -d '{login}'
",
        stack.admin_address(),
        stack.upstream_address(),
        folder = stack.folder().display(),
    );
    println!("==> up; Ctrl-C stops everything");
    Ok(())
}

async fn show(arguments: Demo) -> Result<()> {
    println!("==> starting the auth service, an upstream and Envoy");
    let mut stack = Stack::builder().concurrency(arguments.concurrency).start().await?;
    println!("\n{}", demo::heading());
    let colour = std::io::stdout().is_terminal();
    let rows = demo::run(&mut stack, |row| match (colour, row.is_right()) {
        (true, false) => println!("\x1b[31m{row}\x1b[0m"),
        _ => println!("{row}"),
    })
    .await?;
    let wrong = rows.iter().filter(|row| !row.is_right()).count();
    println!();
    if wrong > 0 {
        bail!("{wrong} of {} requests were answered otherwise than expected", rows.len());
    }
    println!("==> all {} requests were answered as expected", rows.len());
    Ok(())
}

fn render(bootstrap: &Path, output: &Path, module: &Path) -> Result<()> {
    let module =
        module.canonicalize().with_context(|| format!("no module at {}: `make build` makes it", module.display()))?;
    let mut rendered = Bootstrap::read(bootstrap)?;
    rendered.set_module(&module);
    // Envoy reads every certificate that the bootstrap names, so all of them have to exist.
    let folder = output
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
        .canonicalize()?
        .join("tls");
    certificates::write(&folder, &[("gateway", "gateway.example.com")])?;
    rendered.set_certificates(&folder);
    rendered.write(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_port_that_is_taken_leads_to_the_advice_on_ports() {
        let taken = std::io::Error::new(std::io::ErrorKind::AddrInUse, "Address already in use");
        for (error, is_port) in [
            (anyhow::Error::new(taken), true),
            (
                anyhow::anyhow!("Envoy ended (exit status: 1):\ncannot bind '127.0.0.1:9901': Address already in use"),
                true,
            ),
            (anyhow::anyhow!("denied").context("the gateway cannot listen on 127.0.0.1:80"), true),
            (anyhow::anyhow!("Envoy ended (exit status: 1):\nconfiguration refused: cache.ttl: is 1"), false),
        ] {
            let text = with_advice(error).to_string();
            assert_eq!(text.contains("change ports"), is_port, "{text}");
        }
    }
}
