//! Prometheus as a child process, which scrapes a gateway.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{client::Client, process::Process, service::local, workspace};

/// Where the Makefile unpacks Debian's package.
const UNPACKED: &str = ".tools/prometheus/usr/bin";
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running Prometheus. Dropping it kills the process.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
    folder: TempDir,
}

impl Prometheus {
    /// Starts Prometheus, which scrapes `/stats/prometheus` of this address every second, and evaluates the rules that
    /// `prometheus.yaml` in `folder` names.
    ///
    /// # Errors
    /// When Prometheus isn't installed, refuses its configuration, or isn't ready within half a minute.
    pub async fn start(target: SocketAddr, folder: &Path) -> Result<Self> {
        let text = fs::read_to_string(folder.join("prometheus.yaml"))?;
        let mut config: Value = serde_norway::from_str(&text)?;
        config["global"] = json!({"scrape_interval": "1s", "evaluation_interval": "1s"});
        config["scrape_configs"][0]["static_configs"] = json!([{"targets": [target.to_string()]}]);
        for file in config["rule_files"].as_array_mut().context("no rule_files")? {
            *file = folder.join(file.as_str().context("a rule file without a name")?).to_string_lossy().into();
        }
        let directory = tempfile::tempdir()?;
        let written = directory.path().join("prometheus.json");
        fs::write(&written, config.to_string())?;
        // Nobody else on this machine is likely to take the port meanwhile.
        let address = local(TcpListener::bind(local(0))?.local_addr()?.port());
        let (data, log) = (directory.path().join("data"), fs::File::create(directory.path().join("log"))?);
        let process = Process::start(&binary("prometheus")?, move |command| {
            command
                .arg(format!("--config.file={}", written.display()))
                .arg(format!("--storage.tsdb.path={}", data.display()))
                .arg(format!("--web.listen-address={address}"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log);
        })?;
        let started = Self { process, address, folder: directory };
        started.wait_until_ready().await?;
        Ok(started)
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Ok(answer) = Client::default().get(self.address, "/-/ready").send().await
                && answer.status == 200
            {
                return Ok(());
            }
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            if let Some(exit) = self.process.exit() {
                bail!("Prometheus ended ({exit}):\n{}", log());
            }
            ensure!(Instant::now() < deadline, "Prometheus isn't ready:\n{}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The series that a query finds now.
    ///
    /// # Errors
    /// When Prometheus refuses the query or doesn't answer.
    pub async fn query(&self, query: &str) -> Result<Vec<Value>> {
        let answer = Client::default()
            .request(self.address, Method::POST, "/api/v1/query")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("query={}", escaped(query)))
            .send()
            .await?
            .json()?;
        let result = answer["data"]["result"].as_array().cloned();
        result.with_context(|| format!("{query}: {answer}"))
    }

    /// The names of the alerts that are pending or fire.
    ///
    /// # Errors
    /// When Prometheus doesn't answer.
    pub async fn alerts(&self) -> Result<Vec<String>> {
        let answer = Client::default().get(self.address, "/api/v1/alerts").send().await?.json()?;
        let alerts = answer["data"]["alerts"].as_array().with_context(|| format!("no alerts in {answer}"))?;
        Ok(alerts.iter().filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned)).collect())
    }
}

/// Runs the tests of rules in a file, with `promtool test rules`.
///
/// # Errors
/// When promtool isn't installed, or a case fails: with what it says.
pub fn test_rules(file: &Path) -> Result<()> {
    let folder = file.parent().context("a file without a folder")?;
    let output = Command::new(binary("promtool")?).args(["test", "rules"]).arg(file).current_dir(folder).output()?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    Ok(())
}

/// A program in the folder `PROMETHEUS`, else in that of the Makefile.
fn binary(name: &str) -> Result<PathBuf> {
    let folder = std::env::var_os("PROMETHEUS").map_or_else(|| workspace().join(UNPACKED), PathBuf::from);
    let path = folder.join(name);
    ensure!(
        path.is_file(),
        "no {name} at {}: `make prometheus` fetches it, PROMETHEUS=/folder names another",
        path.display()
    );
    Ok(path)
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
