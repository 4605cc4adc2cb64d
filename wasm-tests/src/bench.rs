//! Benchmarks in real Envoy: what `make bench` runs. docs/performance.md says what is measured, and how.

mod config;
mod cpu;
mod load;
mod mix;
mod report;
mod start;
mod stats;
mod tokens;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use self::{
    config::{Listener, Services},
    cpu::{Contender, Cost, NO_FILTER, Traffic},
    mix::{Chain, Mix},
    report::Results,
    start::Start,
    stats::Spread,
    tokens::Tokens,
};
use crate::{LogLevel, bootstrap, envoy::Envoy, workspace};

/// How long a run takes, and how much its figures are worth.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Turns of each contender for its CPU per request.
    pub rounds: usize,
    /// Starts of Envoy with each module.
    pub starts: usize,
    /// Turns of each chain of filters under the mix.
    pub mix_rounds: usize,
    /// The length of such a turn.
    pub mix_seconds: u32,
}

impl Effort {
    /// A run of a minute: shows that all of it works, and large differences.
    pub const QUICK: Self = Self { rounds: 1, starts: 1, mix_rounds: 1, mix_seconds: 1 };
    /// A run for figures, of twelve minutes.
    pub const FULL: Self = Self { rounds: 20, starts: 7, mix_rounds: 3, mix_seconds: 10 };
}

/// Measures all there is, prints it, and writes it to `target/bench/`.
///
/// # Errors
/// When Envoy or a run fails.
pub async fn run(effort: Effort) -> Result<()> {
    let bench = Bench::new()?;
    let module = bootstrap::module(None)?;
    eprintln!("==> CPU per request");
    let costs = bench.costs(&module, effort.rounds).await?;
    eprintln!("==> start");
    let starts = bench.starts(&module, effort.starts).await?;
    eprintln!("==> mix");
    let mix = bench.mix(&module, effort.mix_rounds, effort.mix_seconds).await?;
    let results = Results::new(costs, starts, mix, fs::metadata(&module)?.len());
    results.write(&bench.output)?;
    println!("{}\nwritten to {}", results.markdown(), bench.output.display());
    Ok(())
}

/// Compares what two builds of the module add to a request, and prints it.
///
/// # Errors
/// When Envoy or a run fails.
pub async fn compare(before: &Path, after: &Path, rounds: usize) -> Result<()> {
    let traffics =
        [Traffic::Public, Traffic::Jwt, Traffic::LargeJwt, Traffic::NewJwts, Traffic::ApiToken, Traffic::NewApiTokens];
    let modules = [("before", before), ("after", after)];
    let mut contenders = vec![Contender { name: "noop", listener: "noop", traffic: Traffic::Public }];
    contenders.extend(
        traffics
            .iter()
            .flat_map(|traffic| modules.map(|(name, _)| Contender { name, listener: name, traffic: *traffic })),
    );
    let mut listeners = vec![Listener::new(NO_FILTER, vec![]), other("noop", "noop.wasm", "")?];
    for (name, module) in modules {
        let module = module.canonicalize().with_context(|| format!("no module at {}", module.display()))?;
        listeners.push(Listener::new(name, vec![config::authgate(name, &module, &json!({}))?]));
    }
    let costs = Bench::new()?.costs_of(listeners, &contenders, rounds).await?;
    println!("{}", report::costs(&costs));
    for traffic in traffics {
        let added = |name| report::added(&costs, name, traffic).context("a contender without a result");
        let ratio = added("after")?.with(added("before")?, |after, before| after / before);
        let Spread { min, quartile, median } = ratio;
        println!("{traffic}: added after / before: {quartile:.2} (of minima {min:.2}, of medians {median:.2})");
    }
    Ok(())
}

struct Bench {
    tokens: Tokens,
    output: PathBuf,
    /// Where Envoy's files are while it runs.
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Result<Self> {
        let output = workspace().join("target/bench");
        Ok(Self { tokens: Tokens::in_folder(output.join("credentials"))?, output, folder: tempfile::tempdir()? })
    }

    async fn costs(&self, module: &Path, rounds: usize) -> Result<Vec<Cost>> {
        let listeners = vec![
            Listener::new(NO_FILTER, vec![]),
            other("noop", "noop.wasm", "")?,
            other("noop_pruned", "noop_pruned.wasm", "")?,
            other("floor_public", "floor_pruned.wasm", "public")?,
            other("floor_identity", "floor_pruned.wasm", "identity")?,
            other("floor_callout", "floor_pruned.wasm", "callout")?,
            Listener::new("authgate", vec![config::authgate("authgate", module, &json!({}))?]),
            Listener::new("jwt_authn", vec![config::jwt_authn(&config::a_jwt(), false)]),
            Listener::new("jwt_authn_cached", vec![config::jwt_authn(&config::a_jwt(), true)]),
            Listener::new("ext_authz", vec![config::ext_authz()]),
        ];
        let contenders = [
            ("noop", "noop", Traffic::Public),
            ("noop_pruned", "noop_pruned", Traffic::Public),
            ("floor", "floor_public", Traffic::Public),
            ("authgate", "authgate", Traffic::Public),
            ("floor", "floor_identity", Traffic::Jwt),
            ("authgate", "authgate", Traffic::Jwt),
            ("jwt_authn_cached", "jwt_authn_cached", Traffic::Jwt),
            ("jwt_authn", "jwt_authn", Traffic::Jwt),
            ("floor", "floor_identity", Traffic::LargeJwt),
            ("authgate", "authgate", Traffic::LargeJwt),
            ("authgate", "authgate", Traffic::NewJwts),
            ("jwt_authn", "jwt_authn", Traffic::NewJwts),
            ("floor", "floor_identity", Traffic::ApiToken),
            ("authgate", "authgate", Traffic::ApiToken),
            ("ext_authz", "ext_authz", Traffic::ApiToken),
            ("callout", "floor_callout", Traffic::NewApiTokens),
            ("authgate", "authgate", Traffic::NewApiTokens),
        ];
        let contenders = contenders.map(|(name, listener, traffic)| Contender { name, listener, traffic });
        self.costs_of(listeners, &contenders, rounds).await
    }

    async fn costs_of(&self, listeners: Vec<Listener>, contenders: &[Contender], rounds: usize) -> Result<Vec<Cost>> {
        let behind = self.services().await?;
        let services = services_of(&behind, "auth").await?;
        let gateway = gateway(self.folder.path(), listeners, services, 1).await?;
        cpu::measure(&gateway, &self.tokens, contenders, rounds).await
    }

    async fn starts(&self, module: &Path, times: usize) -> Result<Vec<Start>> {
        let behind = self.services().await?;
        let services = services_of(&behind, "auth").await?;
        let listeners = [
            Listener::new(NO_FILTER, vec![]),
            other("noop", "noop.wasm", "")?,
            other("noop_pruned", "noop_pruned.wasm", "")?,
            Listener::new("authgate", vec![config::authgate("authgate", module, &json!({}))?]),
        ];
        start::measure(self.folder.path(), &listeners, services, times).await
    }

    async fn mix(&self, module: &Path, rounds: usize, seconds: u32) -> Result<Vec<Mix>> {
        let behind = self.services().await?;
        let services = services_of(&behind, "slow_auth").await?;
        let settings: Value = json!({"revocation": {"path": "/auth/blacklist"}});
        let native = || vec![config::jwt_authn(&config::a_jwt_or_none(), false), config::ext_authz()];
        let listeners = vec![
            Listener::new(NO_FILTER, vec![]),
            Listener::new("authgate", vec![config::authgate("authgate", module, &settings)?]),
            Listener::new("native", native()),
            Listener::new("native_without_revoked_jwts", native()).without_ext_authz_for_jwts(),
        ];
        let chain = |name| Chain { name, listener: name, forged: true };
        let chains = [
            chain(NO_FILTER),
            chain("authgate"),
            Chain { name: "authgate_without_forged_jwts", listener: "authgate", forged: false },
            chain("native"),
            chain("native_without_revoked_jwts"),
        ];
        let gateway = gateway(self.folder.path(), listeners, services, 2).await?;
        mix::measure(&gateway, &self.tokens, &chains, rounds, seconds).await
    }

    /// Starts the upstream and the auth services.
    async fn services(&self) -> Result<Envoy> {
        start_envoy(&self.folder.path().join("services"), &config::services(), 1).await
    }
}

/// A filter that authgate is compared with: a module that `make bench` builds.
fn other(name: &str, module: &str, configuration: &str) -> Result<Listener> {
    Ok(Listener::new(name, vec![config::wasm(name, &bootstrap::module(Some(module))?, configuration)]))
}

async fn services_of(envoy: &Envoy, auth: &str) -> Result<Services> {
    let at = async |name| -> Result<SocketAddr> { envoy.named_listener(name).await };
    Ok(Services { upstream: at("upstream").await?, auth: at(auth).await? })
}

/// Starts a gateway with these listeners.
async fn gateway(folder: &Path, listeners: Vec<Listener>, services: Services, workers: u32) -> Result<Envoy> {
    start_envoy(&folder.join("gateway"), &config::gateway(listeners, services), workers).await
}

async fn start_envoy(folder: &Path, bootstrap: &crate::Bootstrap, workers: u32) -> Result<Envoy> {
    // Envoy's address must not be that of the last one here.
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)?;
    Envoy::start(folder, bootstrap, (workers, 1), LogLevel::Warning, None).await
}
