//! The auth service, in this process.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use auth_service::{Options, Server};

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

    /// The name and password of its first user.
    pub(crate) fn user(&self) -> (&str, &str) {
        self.options.users.first().map_or(("", ""), |user| (&user.name, &user.password))
    }
}

/// An address on localhost.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
