//! The auth services, in this process: how tests break, stop and question them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::OnceLock,
};

use anyhow::{Context, Result};
use auth_service::{Options, Server, UserSpec};
use http::Method;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{Request, Stack, client::Client, credentials::success};

/// The databases of services that have started and stopped, by the users in them.
static DATABASES: Mutex<Vec<(Vec<UserSpec>, Vec<u8>)>> = Mutex::const_new(Vec::new());

/// Writes a database with these users and a key where the options say. An RSA key and a password's hash take most of a
/// second of a CPU, so services of one process with the same users share both.
pub(crate) async fn prepare(options: &Options) -> Result<()> {
    let mut databases = DATABASES.lock().await;
    if let Some((_, database)) = databases.iter().find(|(users, _)| *users == options.users) {
        return fs::write(&options.db, database).context("writing the auth service's database");
    }
    let options = Options { listen: local(0), ..options.clone() };
    auth_service::start(options.clone()).await.context("starting the auth service")?.stop().await;
    // With a write-ahead log beside it, the file is incomplete.
    if !Path::new(&format!("{}-wal", options.db)).exists() {
        databases.push((options.users, fs::read(&options.db).context("reading the auth service's database")?));
    }
    Ok(())
}

/// The auth service, running or stopped; a restart keeps its port, its database and its key.
#[derive(Debug)]
pub(crate) struct Service {
    options: Options,
    server: Option<Server>,
}

impl Service {
    /// Starts the service.
    ///
    /// # Errors
    /// When its port is taken or its database cannot be used.
    pub(crate) async fn start(options: Options) -> Result<Self> {
        let mut service = Self { options, server: None };
        service.restart().await?;
        Ok(service)
    }

    /// Starts another service on the same database, at a free port.
    pub(crate) async fn another(&self) -> Result<Self> {
        Self::start(Options { listen: local(0), ..self.options.clone() }).await
    }

    /// Starts the service again, at the address it had.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        let server = auth_service::start(self.options.clone()).await.context("starting the auth service")?;
        self.options.listen = server.addr();
        self.server = Some(server);
        Ok(())
    }

    /// Stops the service: its port refuses connections from now on.
    pub(crate) async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    /// Where it listens, or listened.
    pub(crate) fn address(&self) -> SocketAddr {
        self.options.listen
    }

    /// Begins a request to the service.
    fn request(&self, method: Method, path: &str) -> Request {
        Client::default().request(self.address(), method, path)
    }

    /// Breaks its answers as `PUT /faults` describes.
    pub(crate) async fn fault(&self, fault: &Value) -> Result<()> {
        success(&self.request(Method::PUT, "/faults").json(fault).send().await?).map(drop)
    }

    /// The service's counters.
    async fn counters(&self) -> Result<Value> {
        success(&self.request(Method::GET, "/faults/counters").send().await?)?.json()
    }

    /// The name and password of its first user.
    pub(crate) fn user(&self) -> (&str, &str) {
        self.options.users.first().map_or(("", ""), |user| (&user.name, &user.password))
    }
}

/// An address on localhost.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

const NO_SERVICE: &str = "this stack has no auth service";
const NO_SECOND: &str = "this stack has no second auth service";

/// The auth services: the first one, and a second where [`crate::Builder::second_auth_service`] asked for it.
impl Stack {
    /// Where the auth service listens, or listened while it is stopped.
    ///
    /// # Errors
    /// When the stack has none.
    pub fn service_address(&self) -> Result<SocketAddr> {
        Ok(self.first()?.address())
    }

    /// Begins a request that goes to the auth service itself, past the gateway.
    ///
    /// # Errors
    /// When the stack has no auth service.
    pub fn service_request(&self, method: Method, path: &str) -> Result<Request> {
        Ok(self.first()?.request(method, path))
    }

    /// What the auth service counted, as `GET /faults/counters` says it.
    ///
    /// # Errors
    /// When the service doesn't answer.
    pub async fn counters(&self) -> Result<Value> {
        self.first()?.counters().await
    }

    /// What the second auth service counted.
    ///
    /// # Errors
    /// When the stack has none, or it doesn't answer.
    pub async fn counters_of_second(&self) -> Result<Value> {
        self.second()?.counters().await
    }

    /// Counts from zero again.
    ///
    /// # Errors
    /// When the service doesn't answer.
    pub async fn reset_counters(&self) -> Result<()> {
        let answer = self.service_request(Method::POST, "/faults/counters/reset")?.send().await?;
        success(&answer).map(drop)
    }

    /// Breaks the auth service's answers, as `PUT /faults` describes it.
    ///
    /// # Errors
    /// When the service refuses the description or doesn't answer.
    pub async fn fault(&self, fault: Value) -> Result<()> {
        self.first()?.fault(&fault).await
    }

    /// Gives the auth service a new key. The old key doesn't verify what it signs from now on.
    ///
    /// # Errors
    /// When the service doesn't answer.
    pub async fn rotate(&mut self) -> Result<()> {
        let answer = self.service_request(Method::POST, "/faults/rotate")?.send().await?;
        success(&answer)?;
        self.private_key = OnceLock::new();
        Ok(())
    }

    /// Stops the auth service: its port refuses connections.
    pub async fn stop_auth(&mut self) {
        if let Some(service) = &mut self.service {
            service.stop().await;
        }
    }

    /// Starts the auth service again, on the same port, with the same database and key.
    ///
    /// # Errors
    /// When the stack has no auth service, or its port was taken meanwhile.
    pub async fn start_auth(&mut self) -> Result<()> {
        self.service.as_mut().context(NO_SERVICE)?.restart().await
    }

    /// Where the second auth service listens, or listened while it is stopped.
    ///
    /// # Errors
    /// When the stack has none.
    pub fn second_address(&self) -> Result<SocketAddr> {
        Ok(self.second()?.address())
    }

    /// Stops the second auth service: its port refuses connections.
    pub async fn stop_second_auth(&mut self) {
        if let Some(service) = &mut self.second {
            service.stop().await;
        }
    }

    /// Starts the second auth service again, on the same port, with the same database and key.
    ///
    /// # Errors
    /// When the stack has none, or its port was taken meanwhile.
    pub async fn start_second_auth(&mut self) -> Result<()> {
        self.second.as_mut().context(NO_SECOND)?.restart().await
    }

    /// The name and password of the auth service's first user.
    #[must_use]
    pub fn user(&self) -> (&str, &str) {
        self.service.as_ref().map_or(("", ""), Service::user)
    }

    /// The service's private key in PEM, asked for once per key.
    pub(crate) async fn private_key(&self) -> Result<String> {
        if let Some(key) = self.private_key.get() {
            return Ok(key.clone());
        }
        let answer = self.service_request(Method::GET, "/faults/private-key")?.send().await?;
        let key = success(&answer)?.text();
        Ok(self.private_key.get_or_init(|| key).clone())
    }

    fn first(&self) -> Result<&Service> {
        self.service.as_ref().context(NO_SERVICE)
    }

    fn second(&self) -> Result<&Service> {
        self.second.as_ref().context(NO_SECOND)
    }
}
