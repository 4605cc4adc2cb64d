//! What a module costs when Envoy starts: Envoy compiles it on the main thread, then and at each update.

use std::{fs, time::Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use super::{Bench, config::Listener, cpu::Gateway, meter, stats::Spread};
use crate::envoy::Envoy;

/// What starting Envoy with one worker took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Start {
    pub(crate) name: String,
    /// Seconds until it was ready.
    pub(crate) wall_s: Spread,
    /// Seconds of CPU of all its threads until then.
    pub(crate) cpu_s: Spread,
    /// MiB of memory that it had then.
    pub(crate) memory_mib: Spread,
}

/// Starts Envoy this many times with each of these listeners, in turns.
///
/// # Errors
/// When it doesn't start.
pub(crate) async fn measure(bench: &Bench, listeners: &[Listener], behind: &Envoy, times: usize) -> Result<Vec<Start>> {
    let mut samples = vec![[const { Vec::new() }; 3]; listeners.len()];
    for time in 1..=times {
        eprintln!("  start {time} of {times}");
        for (listener, samples) in listeners.iter().zip(&mut samples) {
            let begin = Instant::now();
            let Gateway { envoy, .. } = bench.gateway(behind, vec![listener.clone()], 1).await?;
            samples[0].push(begin.elapsed().as_secs_f64());
            samples[1].push(meter::cpu_ns(&meter::threads(envoy.id(), "")?)? as f64 / 1e9);
            samples[2].push(memory_mib(envoy.id())?);
        }
    }
    let start = |(listener, [wall, cpu, memory]): (&Listener, &[Vec<f64>; 3])| Start {
        name: listener.name.clone(),
        wall_s: Spread::of(wall),
        cpu_s: Spread::of(cpu),
        memory_mib: Spread::of(memory),
    };
    Ok(listeners.iter().zip(&samples).map(start).collect())
}

/// MiB of memory that the process has.
///
/// # Errors
/// When it has ended, or the system isn't Linux.
pub(crate) fn memory_mib(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = resident.trim().trim_end_matches(" kB").parse().context("a VmRSS that can't be read")?;
    Ok(kib / 1024.0)
}
