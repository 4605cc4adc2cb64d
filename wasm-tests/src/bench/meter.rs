//! What a request costs the workers of an Envoy: their CPU time, or in an emulator the instructions that they execute.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{envoy::Envoy, workspace};

/// How the names of Envoy's worker threads begin.
const WORKER: &str = "wrk:worker_";

/// Where the Makefile puts QEMU, and the libraries that it needs, on a machine that has none.
const FETCHED: &str = ".tools/qemu-user/usr";

/// Reads what the workers of an Envoy have taken so far.
#[derive(Debug)]
pub(crate) struct Meter {
    /// The workers' folders in /proc.
    workers: Vec<PathBuf>,
    /// Where the emulator counts instructions.
    counts: Option<PathBuf>,
}

impl Meter {
    /// Of the CPU time.
    ///
    /// # Errors
    /// When Envoy has no worker.
    pub(crate) fn of_time(envoy: &Envoy) -> Result<Self> {
        Ok(Self { workers: threads(envoy.id(), WORKER)?, counts: None })
    }

    /// Of the instructions. This emulator runs Envoy.
    ///
    /// # Errors
    /// When Envoy has no worker.
    pub(crate) fn of_instructions(envoy: &Envoy, emulator: &Emulator) -> Result<Self> {
        Ok(Self { counts: Some(emulator.counts(envoy.id())), ..Self::of_time(envoy)? })
    }

    /// The length of a run of wrk. An emulated Envoy answers a tenth as many requests.
    pub(crate) fn seconds(&self) -> u32 {
        if self.counts.is_some() { 3 } else { 1 }
    }

    /// Nanoseconds, or instructions.
    ///
    /// # Errors
    /// When they can't be read.
    pub(crate) fn read(&self) -> Result<u64> {
        match &self.counts {
            None => cpu_ns(&self.workers),
            Some(counts) => instructions(&fs::read(counts).context("the emulator's counts")?, &self.workers),
        }
    }
}

/// The folders in /proc of the process's threads whose names begin with `name`.
pub(super) fn threads(process: u32, name: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.starts_with(name)) {
            found.push(task);
        }
    }
    ensure!(!found.is_empty(), "Envoy has no thread {name}");
    Ok(found)
}

/// Nanoseconds that these threads have been on a CPU so far.
pub(super) fn cpu_ns(threads: &[PathBuf]) -> Result<u64> {
    let of = |thread: &PathBuf| -> Result<u64> {
        let schedstat = fs::read_to_string(thread.join("schedstat"))?;
        schedstat.split(' ').next().and_then(|first| first.parse().ok()).context("a schedstat that can't be read")
    };
    threads.iter().map(of).sum()
}

/// Instructions that these threads have executed so far, in the file of `wasm-tests/counter`.
fn instructions(counts: &[u8], threads: &[PathBuf]) -> Result<u64> {
    let number = |place: &[u8], at| Some(u64::from_le_bytes(*place.get(at..)?.first_chunk()?));
    let of = |thread: &PathBuf| -> Result<u64> {
        let id: u64 = thread.file_name().and_then(|name| name.to_str()?.parse().ok()).context("a thread's id")?;
        let place = counts.chunks(16).find(|place| number(place, 0) == Some(id));
        place.and_then(|place| number(place, 8)).with_context(|| format!("the emulator has no thread {id}"))
    };
    threads.iter().map(of).sum()
}

/// QEMU's user mode with the counter as its plugin. The instructions of an emulated program can be counted on any
/// machine, and other programs don't change them.
#[derive(Debug)]
pub(crate) struct Emulator {
    folder: PathBuf,
    /// Takes the arguments of Envoy.
    pub(crate) program: PathBuf,
}

impl Emulator {
    /// Runs this Envoy. Its files are in `folder`.
    ///
    /// # Errors
    /// When QEMU or the counter is missing, or the emulator's script can't be written.
    pub(crate) fn of(envoy: &Path, folder: &Path) -> Result<Self> {
        let counter = workspace().join("target/libcounter.so");
        ensure!(counter.is_file(), "no counter at {}: `make counter` builds it", counter.display());
        let name = format!("qemu-{}", std::env::consts::ARCH);
        let (libraries, fetched) = (workspace().join(FETCHED).join("lib"), workspace().join(FETCHED).join("bin"));
        let qemu = Some(fetched.join(&name)).filter(|qemu| qemu.is_file()).unwrap_or_else(|| PathBuf::from(&name));
        let libraries = libraries.join(format!("{}-linux-gnu", std::env::consts::ARCH));
        let program = folder.join("emulated-envoy");
        let script = format!(
            "#!/bin/sh\n\
             LD_LIBRARY_PATH='{}' exec '{}' -U LD_LIBRARY_PATH -cpu max -plugin '{},counts={}/'$$ '{}' \"$@\"\n",
            libraries.display(),
            qemu.display(),
            counter.display(),
            folder.display(),
            envoy.display(),
        );
        fs::write(&program, script)?;
        let done = Command::new("chmod").arg("+x").arg(&program).status()?;
        ensure!(done.success(), "{} can't be made executable", program.display());
        Ok(Self { folder: folder.to_owned(), program })
    }

    /// The file with the counts of this process.
    fn counts(&self, process: u32) -> PathBuf {
        self.folder.join(process.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_the_named_threads_are_added_up() -> Result<()> {
        let counts: Vec<u8> = [7_u64, 100, 8, 20, 9, 3, 0, 0].into_iter().flat_map(u64::to_le_bytes).collect();
        let thread = |id: &str| PathBuf::from("/proc/7/task").join(id);
        assert_eq!(instructions(&counts, &[thread("8")])?, 20);
        assert_eq!(instructions(&counts, &[thread("7"), thread("9")])?, 103);
        assert!(instructions(&counts, &[thread("10")]).is_err());
        Ok(())
    }
}
