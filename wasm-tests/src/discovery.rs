//! A gateway whose configuration changes while it serves.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Builder, Stack};

/// A listener that Envoy reads from a file, and reads again whenever the file is replaced.
#[derive(Debug)]
pub struct Discovery {
    folder: TempDir,
    /// The listener, for a test to change before it publishes it.
    pub listener: Value,
}

impl Discovery {
    /// Starts a gateway whose listener is in a file.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn start(builder: Builder) -> Result<(Stack, Self)> {
        let folder = tempfile::tempdir()?;
        let file = file(&folder);
        // A port that stays the same over updates; nobody else on this machine is likely to take it meanwhile.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let discovery = Arc::new(Mutex::new(None));
        let builder = builder.envoy({
            let discovery = Arc::clone(&discovery);
            move |bootstrap| {
                let mut listener = bootstrap["static_resources"]["listeners"][0].take();
                listener["address"]["socket_address"]["port_value"] = json!(port);
                bootstrap["static_resources"]["listeners"] = json!([]);
                bootstrap["node"] = json!({"id": "gateway", "cluster": "gateway"});
                bootstrap["dynamic_resources"] = json!({"lds_config": {"path_config_source": {"path": file}}});
                let first = Self { folder, listener };
                let published = first.publish("1");
                *discovery.lock().unwrap_or_else(PoisonError::into_inner) = Some(published.map(|()| first));
            }
        });
        let stack = builder.start().await?;
        let first = discovery.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok((stack, first.context("the bootstrap was not patched")??))
    }

    /// Publishes the listener atomically.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn publish(&self, version: &str) -> Result<()> {
        self.publish_all(version, &[&self.listener])
    }

    /// Replaces the published listeners with these, so that the others drain and end.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn publish_all(&self, version: &str, listeners: &[&Value]) -> Result<()> {
        let part = self.folder.path().join("part");
        let resources = listeners.iter().map(|listener| {
            let mut resource = Value::clone(listener);
            resource["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
            resource
        });
        let resources: Vec<_> = resources.collect();
        fs::write(&part, json!({"version_info": version, "resources": resources}).to_string())?;
        Ok(fs::rename(part, file(&self.folder))?)
    }
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("lds.json")
}
