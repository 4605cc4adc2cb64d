//! Where a run took place.

use std::{fs, thread};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::envoy::Envoy;

/// What figures depend on besides the filters.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// The version of Envoy.
    pub(crate) envoy: String,
    /// The processor's name, as Linux has it.
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    /// The load average of the last minute before the run.
    pub(crate) load_average: f64,
}

impl Machine {
    /// This machine, which runs that Envoy.
    ///
    /// # Errors
    /// When Envoy doesn't answer, or the system isn't Linux.
    pub(crate) async fn of(envoy: &Envoy) -> Result<Self> {
        let info = envoy.admin("/server_info").await?.json()?;
        // Commit, version, and how it was built.
        let version = info["version"].as_str().and_then(|version| version.split('/').nth(1)).context("no version")?;
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let name = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let load = fs::read_to_string("/proc/loadavg")?;
        Ok(Self {
            envoy: version.to_owned(),
            cpu: name.map_or(std::env::consts::ARCH, |(_, name)| name.trim()).to_owned(),
            cores: thread::available_parallelism()?.get(),
            load_average: load.split(' ').next().and_then(|first| first.parse().ok()).context("no load average")?,
        })
    }
}
