//! The load: `wrk`, which the Makefile fetches, with a script that says which credential each request carries.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::workspace;

/// Where the Makefile puts wrk, and the library that it needs, on a machine that has none.
const FETCHED: &str = ".tools/wrk/usr";

/// When a request counts as unanswered. authgate holds a JWT of an unknown key for up to nine seconds.
const TIMEOUT: &str = "10s";

/// How the lines of a file of credentials are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Again and again.
    Cycle,
    /// Each once, and then the run ends.
    Once,
    /// Again and again, and the answers are counted by their status.
    Count,
}

/// One run of wrk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    /// The path of every request.
    pub(crate) path: &'a str,
    /// Values of `Authorization`, one a line.
    pub(crate) credentials: &'a Path,
    pub(crate) mode: Mode,
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
}

/// wrk's summary of a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Summary {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    /// Answers with a status from 400 on.
    pub(crate) refused: u64,
    /// Connections that failed, and requests without an answer.
    pub(crate) broken: u64,
    /// Answers by status; only with [`Mode::Count`].
    pub(crate) statuses: BTreeMap<String, u64>,
}

impl Load<'_> {
    /// Loads a listener, and waits until the run is over.
    ///
    /// # Errors
    /// When wrk isn't there, fails, or its output can't be read.
    pub(crate) fn run(&self, listener: SocketAddr) -> Result<Summary> {
        let mode = match self.mode {
            Mode::Cycle => "cycle",
            Mode::Once => "once",
            Mode::Count => "count",
        };
        let output = wrk()
            .args(["--threads", "1", "--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", self.seconds)])
            .args(["--timeout", TIMEOUT])
            .arg("--script")
            .arg(workspace().join("wasm-tests/src/bench/load.lua"))
            .arg(format!("http://{listener}{}", self.path))
            .arg("--")
            .arg(self.credentials)
            .arg(mode)
            .output()
            .context("wrk is missing: `make wrk` fetches it")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(result) = text.lines().find_map(|line| line.strip_prefix("RESULT ")) else {
            bail!("wrk ended without a result: {text}{}", String::from_utf8_lossy(&output.stderr));
        };
        serde_json::from_str(result).with_context(|| format!("wrk said {result}"))
    }
}

/// wrk with the library that was fetched along with it, else the machine's own.
fn wrk() -> Command {
    let fetched = workspace().join(FETCHED);
    let program = fetched.join("bin/wrk");
    if !program.is_file() {
        return Command::new("wrk");
    }
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", fetched.join(format!("lib/{}-linux-gnu", std::env::consts::ARCH)));
    command
}
