//! How a stack starts.

use std::sync::OnceLock;

use anyhow::{Context, Result};
use auth_service::{Options, UserSpec};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Stack;
use crate::{
    LogLevel, Protocol,
    bootstrap::{self, Bootstrap, merge},
    client::Client,
    envoy::{Envoy, binary},
    folder::Folder,
    service::{self, Service, local},
    upstream::Upstream,
    workspace,
};

/// The bootstrap that a stack has unless it asks for another.
const SHIPPED: &str = "envoy/envoy.yaml";

/// A change to Envoy's bootstrap.
type Patch = Box<dyn FnOnce(&mut Value) + Send>;

/// The port of each part on localhost; 0, the default, lets the system pick a free one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Envoy's listener.
    pub gateway: u16,
    /// Envoy's admin interface.
    pub admin: u16,
    /// The auth service.
    pub service: u16,
    /// The upstream.
    pub upstream: u16,
}

/// How a [`Stack`] starts.
#[must_use = "nothing starts until `start`"]
pub struct Builder {
    concurrency: u32,
    protocol: Protocol,
    level: LogLevel,
    components: Option<&'static str>,
    drain_time: u32,
    ports: Ports,
    bootstrap: &'static str,
    filter: bool,
    module: Option<&'static str>,
    configs: Vec<Value>,
    replaced: Option<Value>,
    as_text: bool,
    patches: Vec<Patch>,
    service: Option<Options>,
    second: bool,
    environment: Vec<(String, String)>,
    fault: Option<Value>,
}

impl Default for Builder {
    /// As [`Stack::builder`] says.
    fn default() -> Self {
        let user = UserSpec {
            user_type: "system_admin".to_owned(),
            admin: true,
            ..UserSpec::new("admin@example.com", "correct horse battery staple")
        };
        let service = Options {
            // `start` sets it to a file in the stack's folder.
            db: String::new(),
            users: vec![user],
            faults: true,
            ..Options::default()
        };
        Self {
            concurrency: 1,
            protocol: Protocol::default(),
            level: LogLevel::default(),
            components: None,
            drain_time: 600,
            ports: Ports::default(),
            bootstrap: SHIPPED,
            filter: true,
            module: None,
            configs: vec![json!({
                "auth_service": {"timeout": "5s"},
                "jwt": {"public_key": {"min_refetch_interval": "1s"}},
            })],
            replaced: None,
            as_text: false,
            patches: Vec::new(),
            service: Some(service),
            second: false,
            environment: Vec::new(),
            fault: None,
        }
    }
}

impl Builder {
    /// Envoy's number of workers, each with a VM of its own. The default is 1.
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// The version of HTTP that requests are sent with. The default is HTTP/1.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// The lowest level that Envoy and the module log. The default is info.
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.level = level;
        self
    }

    /// Sets other levels for parts of Envoy, in the form of `--component-log-level`: `wasm:trace`.
    pub fn component_log_level(mut self, components: &'static str) -> Self {
        self.components = Some(components);
        self
    }

    /// How long a replaced listener serves the connections that it has, in seconds. The default is 600, as in Envoy.
    pub fn drain_time(mut self, seconds: u32) -> Self {
        self.drain_time = seconds;
        self
    }

    /// The ports of the parts.
    pub fn ports(mut self, ports: Ports) -> Self {
        self.ports = ports;
        self
    }

    /// Takes this bootstrap of the workspace instead of `envoy/envoy.yaml`. Its first listener is the gateway, and its
    /// clusters have the names that those of `envoy/envoy.yaml` have.
    pub fn bootstrap(mut self, file: &'static str) -> Self {
        self.bootstrap = file;
        self
    }

    /// Merges this into the filter's configuration in `envoy/envoy.yaml`, as RFC 7396 says: objects
    /// field by field, null removes a field, all else replaces. May be called again.
    pub fn config(mut self, patch: Value) -> Self {
        self.configs.push(patch);
        self
    }

    /// Takes the configuration in `envoy/envoy.yaml` as it is, without what [`Stack::builder`] and
    /// earlier calls of [`Builder::config`] change.
    pub fn shipped_config(mut self) -> Self {
        self.configs.clear();
        self
    }

    /// Replaces the filter's configuration.
    pub fn replace_config(mut self, config: Value) -> Self {
        self.replaced = Some(config);
        self
    }

    /// Hands the filter its configuration as JSON in a `StringValue`, not as a `Struct`.
    pub fn config_as_text(mut self) -> Self {
        self.as_text = true;
        self
    }

    /// Changes Envoy's bootstrap in any way, after all other changes.
    pub fn envoy(mut self, patch: impl FnOnce(&mut Value) + Send + 'static) -> Self {
        self.patches.push(Box::new(patch));
        self
    }

    /// Loads this file of `target/` instead of authgate's module: one that only tests load.
    pub fn module(mut self, name: &'static str) -> Self {
        self.module = Some(name);
        self
    }

    /// Leaves authgate out, so that Envoy forwards every request as it is.
    pub fn without_filter(mut self) -> Self {
        self.filter = false;
        self
    }

    /// Changes the options of the auth service.
    pub fn service(mut self, patch: impl FnOnce(&mut Options)) -> Self {
        if let Some(options) = &mut self.service {
            patch(options);
        }
        self
    }

    /// Starts no auth service: nothing listens where the gateway looks for it.
    pub fn without_auth_service(mut self) -> Self {
        self.service = None;
        self
    }

    /// Starts a second auth service for the gateway to fail over to, on the first one's database: with its users, tokens
    /// and key. Without this, nothing listens where the gateway looks for it.
    pub fn second_auth_service(mut self) -> Self {
        self.second = true;
        self
    }

    /// Sets a variable of the environment that the filter's VM sees. May be called again.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Breaks the auth service in this way before Envoy starts, as [`Stack::fault`] does later.
    pub fn fault(mut self, fault: Value) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Starts the auth service, the upstream and Envoy, and waits until Envoy serves.
    ///
    /// # Errors
    /// When a part cannot start. When Envoy refuses its bootstrap, the error holds the end of its log.
    pub async fn start(self) -> Result<Stack> {
        let folder = Folder::new()?;
        // Envoy shares its port with any other Envoy (SO_REUSEPORT) and wouldn't complain.
        let taken = || format!("the gateway cannot listen on {}", local(self.ports.gateway));
        drop(TcpListener::bind(local(self.ports.gateway)).await.with_context(taken)?);
        let service = match self.service {
            Some(mut options) => {
                options.listen = local(self.ports.service);
                if options.db.is_empty() {
                    options.db = folder.path().join("auth.db").to_string_lossy().into_owned();
                    service::prepare(&options).await?;
                }
                Some(Service::start(options).await?)
            }
            None => None,
        };
        let second = match &service {
            Some(first) if self.second => Some(first.another().await?),
            _ => None,
        };
        let upstream = Upstream::start(self.ports.upstream).await?;
        let port =
            |service: &Option<Service>| service.as_ref().map_or(bootstrap::NOBODY, |service| service.address().port());

        let mut bootstrap = Bootstrap::read(&workspace().join(self.bootstrap))?;
        bootstrap.set_listener_port(self.ports.gateway)?;
        bootstrap.set_admin_port(self.ports.admin)?;
        bootstrap.set_cluster_port("upstream", upstream.address().port())?;
        bootstrap.set_cluster_port("auth_service", port(&service))?;
        if self.bootstrap == SHIPPED || second.is_some() {
            bootstrap.set_second_port("auth_service", port(&second))?;
        }
        if self.filter {
            bootstrap.set_module(&bootstrap::module(self.module)?);
            let config = bootstrap.filter_config()?;
            match self.replaced {
                Some(replaced) => *config = replaced,
                None => self.configs.iter().for_each(|patch| merge(config, patch)),
            }
            bootstrap.set_environment(&self.environment);
            if self.as_text {
                bootstrap.config_as_text()?;
            }
        } else {
            bootstrap.remove_filter()?;
        }
        self.patches.into_iter().for_each(|patch| patch(bootstrap.value()));

        let client = Client { protocol: self.protocol };
        if let (Some(fault), Some(service)) = (&self.fault, &service) {
            service.fault(fault).await?;
        }
        let envoy = Envoy::start(
            &binary()?,
            folder.path(),
            &bootstrap,
            self.concurrency,
            self.drain_time,
            self.level,
            self.components,
        )
        .await?;
        Ok(Stack { envoy, upstream, service, second, client, private_key: OnceLock::new(), folder })
    }
}
