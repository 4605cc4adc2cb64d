//! The folder with the files of a stack.

use std::path::Path;

use anyhow::Result;
use tempfile::TempDir;

use crate::envoy;

/// A temporary folder, which stays when the test that made it panics.
#[derive(Debug)]
pub(crate) struct Folder(TempDir);

impl Folder {
    /// Makes a new one.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(tempfile::Builder::new().prefix("authgate-").tempdir()?))
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.disable_cleanup(true);
            let log = envoy::log_tail(self.path());
            eprintln!("Envoy's files stay in {}; the end of its log:\n{log}", self.path().display());
        }
    }
}
