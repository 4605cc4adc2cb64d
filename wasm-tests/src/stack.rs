//! All parts together.

use std::{net::SocketAddr, path::Path, sync::OnceLock, time::Duration};

use anyhow::{Context, Result};
use auth_service::{Options, UserSpec};
use http::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::{
    LogLevel, Protocol, Request, Response,
    bootstrap::{self, Bootstrap, merge},
    client::Client,
    envoy::Envoy,
    folder::Folder,
    service::{self, Service, local},
    upstream::Upstream,
    workspace,
};

/// How long [`Stack::raw`] waits for the connection's end.
const RAW_LIMIT: Duration = Duration::from_secs(5);

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

    /// From which level on Envoy and the module log. The default is info.
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.level = level;
        self
    }

    /// Lets parts of Envoy log from other levels on, as `--component-log-level` says it: `wasm:trace`.
    pub fn component_log_level(mut self, components: &'static str) -> Self {
        self.components = Some(components);
        self
    }

    /// For how long a listener that was replaced serves the connections that it has, in seconds. The default is 600, as
    /// Envoy's.
    pub fn drain_time(mut self, seconds: u32) -> Self {
        self.drain_time = seconds;
        self
    }

    /// The ports of the parts.
    pub fn ports(mut self, ports: Ports) -> Self {
        self.ports = ports;
        self
    }

    /// Takes this bootstrap of the workspace in the place of `envoy/envoy.yaml`. Its first listener is the gateway, and its
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

    /// Puts this in the place of the filter's configuration.
    pub fn replace_config(mut self, config: Value) -> Self {
        self.replaced = Some(config);
        self
    }

    /// Hands the filter its configuration as JSON in a `StringValue`, not as a `Struct`.
    pub fn config_as_text(mut self) -> Self {
        self.as_text = true;
        self
    }

    /// Changes Envoy's bootstrap in any way, after all else was put into it.
    pub fn envoy(mut self, patch: impl FnOnce(&mut Value) + Send + 'static) -> Self {
        self.patches.push(Box::new(patch));
        self
    }

    /// Loads this file of `target/` in the place of authgate's module: one that only tests load.
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
        // Port 1 is reserved, and nothing listens there.
        let port = |service: &Option<Service>| service.as_ref().map_or(1, |service| service.address().port());

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
            bootstrap.set_environment(&self.environment)?;
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
        let envoy =
            Envoy::start(folder.path(), &bootstrap, (self.concurrency, self.drain_time), self.level, self.components)
                .await?;
        Ok(Stack { envoy, upstream, service, second, client, private_key: OnceLock::new(), folder })
    }
}

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
        let user = UserSpec {
            user_type: "system_admin".to_owned(),
            admin: true,
            ..UserSpec::new("admin@example.com", "correct horse battery staple")
        };
        let service = Options {
            // A file in the stack's folder.
            db: String::new(),
            users: vec![user],
            faults: true,
            ..Options::default()
        };
        Builder {
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
            // What came until now is the answer on a connection that stays open.
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

    /// How many of them came without an `Authorization`, which the filter leaves on what it lets through.
    #[must_use]
    pub fn anonymous_upstream_hits(&self) -> u64 {
        self.upstream.anonymous_hits()
    }

    /// All that Envoy and the module have logged so far.
    #[must_use]
    pub fn envoy_log(&self) -> String {
        self.envoy.log()
    }

    /// How Envoy ended; nothing while it runs.
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
