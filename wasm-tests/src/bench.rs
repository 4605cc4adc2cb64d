//! Benchmarks in real Envoy: what `make bench` runs. docs/performance.md says what is measured, and how.

mod config;
mod cpu;
mod growth;
mod load;
mod machine;
mod meter;
mod mix;
mod plot;
mod publish;
mod results;
mod start;
mod stats;
mod tables;
mod tokens;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use self::{
    config::{Listener, Services},
    cpu::{Contender, Cost, Gateway, NO_FILTER, Traffic},
    growth::Sizes,
    machine::Machine,
    meter::Emulator,
    mix::{Chain, Mix},
    results::{Measured, Results},
    start::Start,
    stats::Spread,
    tokens::Tokens,
};
use crate::{
    LogLevel, bootstrap,
    envoy::{self, Envoy},
    workspace,
};

/// The unit of what a request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// CPU time, as the kernel accounts for it.
    Time,
    /// Instructions, as an emulator counts them.
    Instructions,
}

/// How long a run takes, and how much its figures are worth. With no rounds, the warm-up round counts.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    rounds: usize,
    starts: usize,
    mix_rounds: usize,
    /// The length of a turn under the mix.
    mix_seconds: u32,
    growth_rounds: usize,
    sizes: Sizes,
}

impl Effort {
    /// A run of a minute, which shows that everything works, and large differences.
    pub const QUICK: Self =
        Self { rounds: 0, starts: 1, mix_rounds: 0, mix_seconds: 1, growth_rounds: 0, sizes: Sizes::QUICK };
    /// A run for figures, of fifteen minutes.
    pub const FULL: Self =
        Self { rounds: 12, starts: 7, mix_rounds: 3, mix_seconds: 3, growth_rounds: 3, sizes: Sizes::FULL };
}

/// Measures everything, prints the results, and writes them to `target/bench/`.
///
/// # Errors
/// When Envoy or a run fails.
pub async fn run(effort: Effort) -> Result<()> {
    let bench = Bench::new(Unit::Time)?;
    let module = bootstrap::module(None)?;
    let machine = Machine::of(&bench.services(&[]).await?).await?;
    let begin = Instant::now();
    let step = |what| eprintln!("==> {what} ({} s so far)", begin.elapsed().as_secs());
    step("1 of 4: CPU per request");
    let costs = bench.costs(&module, effort.rounds).await?;
    step("2 of 4: start");
    let starts = bench.starts(&module, effort.starts).await?;
    step("3 of 4: mix");
    let mix = bench.mix(&module, effort.mix_rounds, effort.mix_seconds).await?;
    step("4 of 4: cost as the work grows");
    let (growth, memory) = growth::measure(&bench, &module, effort.sizes, effort.growth_rounds).await?;
    step("done");
    let module_bytes = fs::metadata(&module)?.len();
    let results = Results::of(Measured { machine, costs, starts, mix, growth, memory, module_bytes });
    results.write(&bench.output)?;
    println!("{}\nwritten to {}", tables::all(&results), bench.output.display());
    Ok(())
}

/// Counts the instructions that a request takes, prints them, and writes them to `target/bench/instructions.md`.
///
/// # Errors
/// When Envoy or a run fails.
pub async fn count(rounds: usize) -> Result<()> {
    let bench = Bench::new(Unit::Instructions)?;
    let module = bootstrap::module(None)?;
    let Machine { envoy, .. } = Machine::of(&bench.services(&[]).await?).await?;
    let costs = bench.costs(&module, rounds).await?;
    let module_bytes = fs::metadata(&module)?.len();
    let tables = format!(
        "In Envoy {envoy}; the module had {module_bytes} bytes.\n\n{}\n{}",
        tables::instructions(&costs),
        tables::ratios(&costs)
    );
    let table = tables::marked(publish::INSTRUCTIONS, &tables);
    fs::create_dir_all(&bench.output)?;
    let path = bench.output.join("instructions.md");
    fs::write(&path, &table).with_context(|| format!("writing {}", path.display()))?;
    println!("{table}\nwritten to {}", path.display());
    Ok(())
}

/// Puts the tables of the last run into docs/performance.md and docs/operating.md, and those of the last count into the
/// former.
///
/// # Errors
/// When there was no run, or a document has no place for them.
pub fn publish() -> Result<()> {
    let [performance, operating] = ["docs/performance.md", "docs/operating.md"].map(|path| workspace().join(path));
    publish::publish(&output(), &[&performance, &operating])
}

/// Compares what two builds of the module add to a request, and prints it.
///
/// # Errors
/// When Envoy or a run fails.
pub async fn compare(before: &Path, after: &Path, rounds: usize, unit: Unit) -> Result<()> {
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
    let costs = Bench::new(unit)?.costs_of(listeners, &contenders, rounds).await?;
    let table = if unit == Unit::Time { tables::costs(&costs) } else { tables::instructions(&costs) };
    println!("{table}");
    for traffic in traffics {
        let added = |name| results::added(&costs, name, traffic).context("a contender without a result");
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
    /// Runs the gateway, if instructions are counted.
    emulator: Option<Emulator>,
}

impl Bench {
    fn new(unit: Unit) -> Result<Self> {
        let (output, folder) = (output(), tempfile::tempdir()?);
        let emulator = match unit {
            Unit::Time => None,
            Unit::Instructions => Some(Emulator::of(&envoy::binary()?, folder.path())?),
        };
        Ok(Self { tokens: Tokens::in_folder(output.join("credentials"))?, output, folder, emulator })
    }

    async fn costs(&self, module: &Path, rounds: usize) -> Result<Vec<Cost>> {
        let listeners = vec![
            Listener::new(NO_FILTER, vec![]),
            other("noop", "noop.wasm", "")?,
            other("noop_pruned", "noop_pruned.wasm", "")?,
            other("floor_public", "floor_pruned.wasm", "public")?,
            other("floor_identity", "floor_pruned.wasm", "identity")?,
            other("floor_silent", "floor_pruned.wasm", "silent")?,
            other("floor_verifying", "floor_pruned.wasm", "verifying")?,
            other("floor_asking", "floor_pruned.wasm", "asking")?,
            other("floor_alone", "floor_pruned.wasm", "alone")?,
            other("floor_least", "floor_pruned.wasm", "least")?,
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
            ("least", "floor_least", Traffic::Jwt),
            ("authgate", "authgate", Traffic::Jwt),
            ("jwt_authn_cached", "jwt_authn_cached", Traffic::Jwt),
            ("jwt_authn", "jwt_authn", Traffic::Jwt),
            ("least", "floor_least", Traffic::LargeJwt),
            ("authgate", "authgate", Traffic::LargeJwt),
            ("floor", "floor_verifying", Traffic::NewJwts),
            ("least", "floor_least", Traffic::NewJwts),
            ("authgate", "authgate", Traffic::NewJwts),
            ("jwt_authn", "jwt_authn", Traffic::NewJwts),
            ("floor_silent", "floor_silent", Traffic::ApiToken),
            ("floor", "floor_identity", Traffic::ApiToken),
            ("least", "floor_least", Traffic::ApiToken),
            ("authgate", "authgate", Traffic::ApiToken),
            ("ext_authz", "ext_authz", Traffic::ApiToken),
            ("callout", "floor_callout", Traffic::NewApiTokens),
            ("floor_alone", "floor_alone", Traffic::NewApiTokens),
            ("floor", "floor_asking", Traffic::NewApiTokens),
            ("least", "floor_least", Traffic::NewApiTokens),
            ("authgate", "authgate", Traffic::NewApiTokens),
        ];
        let is_measured = |name, traffic| results::is_in_a_figure(name, traffic) || rounds > 0;
        let contenders: Vec<Contender> = contenders
            .into_iter()
            .filter(|(name, _, traffic)| is_measured(name, *traffic))
            .map(|(name, listener, traffic)| Contender { name, listener, traffic })
            .collect();
        self.costs_of(listeners, &contenders, rounds).await
    }

    async fn costs_of(&self, listeners: Vec<Listener>, contenders: &[Contender], rounds: usize) -> Result<Vec<Cost>> {
        let behind = self.services(&[]).await?;
        let gateway = self.gateway(&behind, listeners, 1).await?;
        cpu::measure(&gateway, &self.tokens, contenders, rounds).await
    }

    async fn starts(&self, module: &Path, times: usize) -> Result<Vec<Start>> {
        let behind = self.services(&[]).await?;
        let listeners = [
            Listener::new(NO_FILTER, vec![]),
            other("noop", "noop.wasm", "")?,
            other("noop_pruned", "noop_pruned.wasm", "")?,
            Listener::new("authgate", vec![config::authgate("authgate", module, &json!({}))?]),
        ];
        start::measure(self, &listeners, &behind, times).await
    }

    async fn mix(&self, module: &Path, rounds: usize, seconds: u32) -> Result<Vec<Mix>> {
        let behind = self.services(&[]).await?;
        let settings: Value = json!({"revocation": {"path": "/auth/blacklist"}});
        let native = || vec![config::jwt_authn(&config::a_jwt_or_none(), false), config::ext_authz()];
        let listeners = vec![
            Listener::new(NO_FILTER, vec![]),
            Listener::new("authgate", vec![config::authgate("authgate", module, &settings)?]),
            Listener::new("native", native()),
            Listener::new("native_without_revoked_jwts", native()).without_ext_authz_for_jwts(),
        ];
        let chain = |name| Chain { name, listener: name, forged: true, warm_up: false };
        let chains = [
            chain(NO_FILTER),
            Chain { warm_up: true, ..chain("authgate") },
            chain("native"),
            chain("native_without_revoked_jwts"),
            Chain { listener: "authgate", forged: false, ..chain("authgate_without_forged_jwts") },
            Chain { listener: "native", forged: false, ..chain("native_without_forged_jwts") },
        ];
        let services = services_of(&behind, "slow_auth").await?;
        let gateway = self.start(&config::gateway(listeners, services), 2).await?;
        mix::measure(&Gateway::new(gateway, None)?, &self.tokens, &chains, rounds, seconds).await
    }

    /// Starts the upstream and the auth services, which have revocation lists of these lengths.
    async fn services(&self, lists: &[usize]) -> Result<Envoy> {
        self.start(&config::services(lists), 1).await
    }

    /// Starts a gateway with these listeners in front of those services.
    async fn gateway(&self, behind: &Envoy, listeners: Vec<Listener>, workers: u32) -> Result<Gateway> {
        let services = services_of(behind, "auth").await?;
        let bootstrap = config::gateway(listeners, services);
        let envoy = match &self.emulator {
            None => self.start(&bootstrap, workers).await?,
            Some(emulator) => self.start_program(&emulator.program, &bootstrap, workers).await?,
        };
        Gateway::new(envoy, self.emulator.as_ref())
    }

    async fn start(&self, bootstrap: &crate::Bootstrap, workers: u32) -> Result<Envoy> {
        self.start_program(&envoy::binary()?, bootstrap, workers).await
    }

    async fn start_program(&self, program: &Path, bootstrap: &crate::Bootstrap, workers: u32) -> Result<Envoy> {
        // A folder of its own, so that no other Envoy's address is taken for this one's.
        let folder = tempfile::tempdir_in(&self.folder)?.keep();
        Envoy::start(program, &folder, bootstrap, workers, 1, LogLevel::Warning, None).await
    }
}

/// The folder of the results.
fn output() -> PathBuf {
    workspace().join("target/bench")
}

/// A filter that authgate is compared with: a module that `make bench` builds.
fn other(name: &str, module: &str, configuration: &str) -> Result<Listener> {
    Ok(Listener::new(name, vec![config::wasm(name, &bootstrap::module(Some(module))?, configuration)]))
}

async fn services_of(envoy: &Envoy, auth: &str) -> Result<Services> {
    let at = async |name| -> Result<SocketAddr> { envoy.named_listener(name).await };
    Ok(Services { upstream: at("upstream").await?, auth: at(auth).await? })
}
