//! All parts together.

mod builder;

use std::{net::SocketAddr, path::Path, sync::OnceLock, time::Duration};

use anyhow::{Context, Result};
use http::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{Request, Response, client::Client, envoy::Envoy, folder::Folder, service::Service, upstream::Upstream};
pub use builder::{Builder, Ports};

/// How long [`Stack::raw`] waits for the connection's end.
const RAW_LIMIT: Duration = Duration::from_secs(5);

/// A running gateway with all that it needs. Dropping it stops every part.
#[derive(Debug)]
pub struct Stack {
    // Dropped in this order: the gateway first, the folder with its files last.
    envoy: Envoy,
    upstream: Upstream,
    pub(crate) service: Option<Service>,
    pub(crate) second: Option<Service>,
    client: Client,
    pub(crate) private_key: OnceLock<String>,
    folder: Folder,
}

impl Stack {
    /// A stack as `envoy/envoy.yaml` says, but for three things that tests need: free ports, five
    /// seconds instead of one for the auth service's answers (Argon2 on a busy machine), and a
    /// second instead of five between two fetches of the public key. The auth service has
    /// `/faults`, and one user, who is a system administrator.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Begins a `GET` through the gateway. The path goes out as it is written here.
    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    /// Begins a `POST` through the gateway.
    pub fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    /// Begins a request through the gateway.
    pub fn request(&self, method: Method, path: &str) -> Request {
        self.client.request(self.gateway(), method, path)
    }

    /// Begins a `GET` to another listener of the gateway, by its name.
    ///
    /// # Errors
    /// When Envoy has no such listener.
    pub async fn get_at(&self, listener: &str, path: &str) -> Result<Request> {
        Ok(self.client.request(self.envoy.named_listener(listener).await?, Method::GET, path))
    }

    /// Sends bytes to the gateway over TCP and reads until it closes the connection, for five
    /// seconds at most. `Connection: close` in the bytes spares the wait.
    ///
    /// # Errors
    /// When the connection cannot be made or breaks.
    pub async fn raw(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.gateway()).await?;
        stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        match tokio::time::timeout(RAW_LIMIT, stream.read_to_end(&mut answer)).await {
            Ok(read) => read.map(drop).context("the connection broke")?,
            // On a connection that stays open, what has come so far is the answer.
            Err(_elapsed) => {}
        }
        Ok(answer)
    }

    /// Where the gateway listens.
    #[must_use]
    pub fn gateway(&self) -> SocketAddr {
        self.envoy.listener()
    }

    /// Where Envoy's admin interface listens.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.envoy.admin_address()
    }

    /// Where the upstream listens.
    #[must_use]
    pub fn upstream_address(&self) -> SocketAddr {
        self.upstream.address()
    }

    /// How many requests the upstream got.
    #[must_use]
    pub fn upstream_hits(&self) -> u64 {
        self.upstream.hits()
    }

    /// How many requests reached the upstream without an `Authorization`, which the filter leaves by default.
    #[must_use]
    pub fn anonymous_upstream_hits(&self) -> u64 {
        self.upstream.anonymous_hits()
    }

    /// All that Envoy and the module have logged so far.
    #[must_use]
    pub fn envoy_log(&self) -> String {
        self.envoy.log()
    }

    /// What Envoy's access log on its standard output holds so far. Lines come a moment after their requests.
    #[must_use]
    pub fn access_log(&self) -> String {
        self.envoy.access_log()
    }

    /// How Envoy ended; `None` while it runs.
    #[must_use]
    pub fn envoy_exit(&self) -> Option<&str> {
        self.envoy.exit()
    }

    /// The id of Envoy's process.
    #[must_use]
    pub fn envoy_id(&self) -> u32 {
        self.envoy.id()
    }

    /// The folder with Envoy's log and bootstrap.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Reads a page of Envoy's admin interface.
    ///
    /// # Errors
    /// When Envoy doesn't answer.
    pub async fn admin(&self, path: &str) -> Result<Response> {
        self.envoy.admin(path).await
    }

    /// Changes something through Envoy's admin interface.
    ///
    /// # Errors
    /// When Envoy doesn't answer.
    pub async fn admin_post(&self, path: &str) -> Result<Response> {
        self.envoy.admin_post(path).await
    }
}
