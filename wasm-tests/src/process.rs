//! A child process that never outlives its parent.

use std::{
    path::Path,
    process::{Child, Command},
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};

/// How often the keeper looks whether the process has ended.
const POLL: Duration = Duration::from_millis(20);

/// A running child. Dropping it kills the process and waits for its end.
///
/// One thread starts the process and stays until it ends: Linux binds the parent-death signal to
/// the thread that spawned, not to its process, so that thread has to live as long. With
/// `setpriv` (util-linux) the child dies even when this process is killed outright.
#[derive(Debug)]
pub(crate) struct Process {
    id: u32,
    exit: Arc<OnceLock<String>>,
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<thread::JoinHandle<()>>,
}

impl Process {
    /// Starts `program` with the arguments that `configure` adds.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(crate) fn start(program: &Path, configure: impl FnOnce(&mut Command) + Send + 'static) -> Result<Self> {
        let mut command = dying_with_its_parent(program);
        let exit = Arc::new(OnceLock::new());
        let (stop, stopped) = mpsc::channel();
        let (started, start) = mpsc::channel();
        let keeper = thread::Builder::new().name("process-keeper".to_owned()).spawn({
            let exit = Arc::clone(&exit);
            move || {
                configure(&mut command);
                match command.spawn() {
                    Ok(child) => {
                        let _ = started.send(Ok(child.id()));
                        let _ = exit.set(keep(child, &stopped));
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                }
            }
        })?;
        let id = start
            .recv()
            .map_err(|_| anyhow!("the thread that starts processes died"))?
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { id, exit, stop: Some(stop), keeper: Some(keeper) })
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// How the process ended, when it has.
    pub(crate) fn exit(&self) -> Option<&str> {
        self.exit.get().map(String::as_str)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

fn keep(mut child: Child, stopped: &mpsc::Receiver<()>) -> String {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.to_string(),
            Err(error) => return error.to_string(),
            Ok(None) => {}
        }
        if stopped.recv_timeout(POLL) == Err(mpsc::RecvTimeoutError::Disconnected) {
            let _ = child.kill();
            return child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        }
    }
}

fn dying_with_its_parent(program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    if cfg!(target_os = "linux") && setpriv.exists() {
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn dropping_a_process_ends_it() -> Result<()> {
        let sleep = Process::start(Path::new("/bin/sleep"), |command| {
            command.arg("600");
        })?;
        let exit = Arc::clone(&sleep.exit);
        assert_eq!(exit.get(), None);
        drop(sleep);
        assert!(exit.get().is_some_and(|status| status.contains("signal: 9")), "{exit:?}");
        Ok(())
    }

    #[test]
    fn an_exit_is_noticed_and_reported() -> Result<()> {
        let process = Process::start(Path::new("/bin/sh"), |command| {
            command.args(["-c", "exit 3"]);
        })?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while process.exit().is_none() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        assert!(process.exit().is_some_and(|status| status.contains('3')), "{process:?}");
        Ok(())
    }
}
