//! Envoy as a child process.

use std::{
    fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use http::Method;
use serde_json::Value;

use crate::{
    bootstrap::Bootstrap,
    client::{Client, Response},
    process::Process,
    workspace,
};

/// Where the Makefile puts Envoy.
const FETCHED: &str = ".tools/envoy-1.40.0/envoy";
/// How long Envoy may take until it serves; it compiles the module first.
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);
/// Lines of Envoy's log that an error shows.
const TAIL: usize = 40;

/// What Envoy writes to its log, from this level on. The module's own lines follow it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// All there is, several lines per request.
    Trace,
    /// What each request went through.
    Debug,
    /// Starts, stops and changes.
    #[default]
    Info,
    /// Only what calls for attention.
    Warning,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
        })
    }
}

/// A running Envoy. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Envoy {
    process: Process,
    folder: PathBuf,
    client: Client,
    admin: SocketAddr,
    listener: SocketAddr,
}

impl Envoy {
    /// Starts this Envoy with its files in `folder`, and waits until its listener is up.
    ///
    /// # Errors
    /// When Envoy exits, or isn't ready within a minute; with the end of its log.
    pub(crate) async fn start(
        binary: &Path,
        folder: &Path,
        bootstrap: &Bootstrap,
        concurrency: u32,
        drain_time: u32,
        level: LogLevel,
        components: Option<&'static str>,
    ) -> Result<Self> {
        let config = folder.join("bootstrap.json");
        bootstrap.clone().fit(version(binary)?).write(&config)?;
        let (log, access_log) = (fs::File::create(log_in(folder))?, fs::File::create(access_log_in(folder))?);
        // Without this, info starts with a hundred lines about what is compiled in.
        let components = components.unwrap_or(if level == LogLevel::Info { "main:warn" } else { "" });
        let process = Process::start(binary, {
            let folder = folder.to_owned();
            move |command| {
                command
                    .arg("--config-path")
                    .arg(config)
                    .arg("--admin-address-path")
                    .arg(folder.join("admin"))
                    .args(["--log-level", &level.to_string()])
                    .args(["--component-log-level", components])
                    .args(["--concurrency", &concurrency.to_string()])
                    .args(["--drain-time-s", &drain_time.to_string()])
                    .arg("--disable-hot-restart")
                    // Writes the access log soon, not after ten seconds.
                    .args(["--file-flush-interval-msec", "50"])
                    .stdin(Stdio::null())
                    .stdout(access_log)
                    // Not `--log-path`, which Envoy writes with a delay and not at all when it crashes.
                    .stderr(log);
            }
        })?;
        let mut starting = Self {
            process,
            folder: folder.to_owned(),
            client: Client::default(),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            listener: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        starting.wait_until_ready().await?;
        Ok(starting)
    }

    /// Where requests go.
    pub(crate) fn listener(&self) -> SocketAddr {
        self.listener
    }

    /// Where the listener of this name listens.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn named_listener(&self, name: &str) -> Result<SocketAddr> {
        let listeners = self.admin("/listeners?format=json").await?.json()?;
        let statuses = listeners["listener_statuses"].as_array().context("no listeners")?;
        let status = statuses.iter().find(|status| status["name"] == name);
        status.and_then(address).with_context(|| format!("no listener {name} in {listeners}"))
    }

    /// Where the admin interface listens.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// How Envoy ended, when it has.
    pub(crate) fn exit(&self) -> Option<&str> {
        self.process.exit()
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// All that Envoy has logged so far.
    pub(crate) fn log(&self) -> String {
        read_log(&self.folder)
    }

    /// What Envoy's access log on its standard output holds so far.
    pub(crate) fn access_log(&self) -> String {
        fs::read_to_string(access_log_in(&self.folder)).unwrap_or_default()
    }

    /// Reads a page of the admin interface.
    pub(crate) async fn admin(&self, path: &str) -> Result<Response> {
        self.client.get(self.admin, path).send().await
    }

    /// Changes something through the admin interface.
    pub(crate) async fn admin_post(&self, path: &str) -> Result<Response> {
        self.client.request(self.admin, Method::POST, path).send().await
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(exit) = self.process.exit() {
                bail!("Envoy ended ({exit}):\n{}", log_tail(&self.folder));
            }
            let last = match self.look().await {
                Ok(listener) => {
                    self.listener = listener;
                    return Ok(());
                }
                Err(error) => error,
            };
            if Instant::now() > deadline {
                return Err(last.context(format!("Envoy isn't ready:\n{}", log_tail(&self.folder))));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The address of the listener, once everything is up.
    async fn look(&mut self) -> Result<SocketAddr> {
        let admin = fs::read_to_string(self.folder.join("admin")).context("no admin address yet")?;
        self.admin = admin.trim().parse().context("an admin address that is none")?;
        let ready = self.admin("/ready").await?;
        if ready.status != 200 {
            bail!("/ready answers {}", ready.status);
        }
        let listeners = self.admin("/listeners?format=json").await?.json()?;
        listener(&listeners).ok_or_else(|| anyhow!("no listener in {listeners}"))
    }
}

/// The end of what Envoy has logged, when its files are in `folder`.
pub(crate) fn log_tail(folder: &Path) -> String {
    let log = read_log(folder);
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// What Envoy has logged, when its files are in `folder`.
fn read_log(folder: &Path) -> String {
    fs::read(log_in(folder)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn access_log_in(folder: &Path) -> PathBuf {
    folder.join("access.log")
}

fn log_in(folder: &Path) -> PathBuf {
    folder.join("envoy.log")
}

fn listener(listeners: &Value) -> Option<SocketAddr> {
    address(listeners.pointer("/listener_statuses/0")?)
}

fn address(status: &Value) -> Option<SocketAddr> {
    let address = status.pointer("/local_address/socket_address")?;
    let host = address["address"].as_str()?.parse().ok()?;
    let port = u16::try_from(address["port_value"].as_u64()?).ok()?;
    Some(SocketAddr::new(host, port))
}

/// The Envoy to run: the file that `ENVOY` names, else the one that the Makefile fetched.
///
/// # Errors
/// When the file isn't there, with the command that fetches it.
pub(crate) fn binary() -> Result<PathBuf> {
    let path = std::env::var_os("ENVOY").map_or_else(|| workspace().join(FETCHED), PathBuf::from);
    if path.is_file() {
        return Ok(path);
    }
    bail!("no Envoy at {}: `make envoy` fetches it, ENVOY=/path names another", path.display())
}

/// The major and minor version of Envoy. A process runs only one.
///
/// # Errors
/// When Envoy doesn't report it.
fn version(binary: &Path) -> Result<(u32, u32)> {
    static KNOWN: OnceLock<(u32, u32)> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(*known);
    }
    let output = Command::new(binary).arg("--version").output().context("asking Envoy for its version")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = parse_version(&text).with_context(|| format!("no version in {text:?}"))?;
    Ok(*KNOWN.get_or_init(|| found))
}

/// Parses `<path>  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (_, said) = text.rsplit_once(" version: ")?;
    let mut numbers = said.split('/').nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read() {
        assert_eq!(
            parse_version("\n/a/1.2.3/envoy  version: bad8280d/1.36.4/Clean/RELEASE/BoringSSL\n"),
            Some((1, 36))
        );
        assert_eq!(parse_version("envoy"), None);
    }
}
