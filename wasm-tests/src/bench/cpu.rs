//! What a request costs: the CPU time of Envoy's worker thread, as the kernel accounts for it, or the instructions that
//! it executes.
//!
//! All contenders are listeners of one process with one worker, and take turns in rounds, so that other load on the
//! machine affects all of them alike. The same requests without a filter are a contender too; what the others take
//! beyond that is what their filter adds.

use std::{collections::BTreeMap, fmt};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::{
    load::{Load, Mode, Summary},
    meter::{Emulator, Meter},
    stats::Spread,
    tokens::Tokens,
};
use crate::envoy::Envoy;

/// Enough to keep the worker busy.
const CONNECTIONS: u32 = 8;
/// The number of new credentials in a round.
pub(crate) const NEW: usize = 1500;

/// What the requests carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Traffic {
    /// No credential, on a public path.
    Public,
    /// One JWT.
    Jwt,
    /// One JWT of 7 KB.
    LargeJwt,
    /// JWTs that are all different.
    NewJwts,
    /// One API token.
    ApiToken,
    /// API tokens that are all different.
    NewApiTokens,
}

impl Traffic {
    /// The traffic without a filter that this is compared with.
    fn baseline(self) -> Self {
        match self {
            Self::NewJwts => Self::Jwt,
            Self::NewApiTokens => Self::ApiToken,
            other => other,
        }
    }

    /// Its name in reports.
    fn name(self) -> &'static str {
        match self {
            Self::Public => "no credential, on a public path",
            Self::Jwt => "one JWT",
            Self::LargeJwt => "one JWT of 7 KB",
            Self::NewJwts => "a new JWT each",
            Self::ApiToken => "one API token",
            Self::NewApiTokens => "a new API token each",
        }
    }

    fn path(self) -> &'static str {
        if self == Self::Public { "/public" } else { "/" }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Traffic to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Contender {
    /// Its name in reports.
    pub(crate) name: &'static str,
    pub(crate) listener: &'static str,
    pub(crate) traffic: Traffic,
}

/// The listener without a filter.
pub(crate) const NO_FILTER: &str = "no_filter";

/// What was measured of a contender.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) name: String,
    pub(crate) traffic: Traffic,
    /// What the worker takes per request beyond that without a filter, in microseconds or thousands of instructions.
    #[serde(rename = "added_us")]
    pub(crate) added: Spread,
    /// Percentiles of the latency, of the round with the lowest median.
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    /// All that the worker takes per request.
    #[serde(rename = "total_us")]
    pub(crate) total: Spread,
}

#[derive(Clone, Default)]
struct Samples {
    costs: Vec<f64>,
    latencies: Vec<[f64; 3]>,
}

/// An Envoy whose listeners are loaded in turns.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) envoy: Envoy,
    meter: Meter,
}

/// The result of one turn.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// Microseconds of the workers per request. Where instructions are counted, thousands of these.
    pub(crate) cost: f64,
    pub(crate) summary: Summary,
}

impl Gateway {
    /// A gateway in this running Envoy. If an emulator runs it, instructions are counted.
    ///
    /// # Errors
    /// When it has no worker.
    pub(crate) fn new(envoy: Envoy, emulator: Option<&Emulator>) -> Result<Self> {
        let meter = match emulator {
            None => Meter::of_time(&envoy)?,
            Some(emulator) => Meter::of_instructions(&envoy, emulator)?,
        };
        Ok(Self { envoy, meter })
    }

    /// Loads a listener.
    ///
    /// # Errors
    /// When the run fails, or no request is answered.
    pub(crate) async fn turn(&self, listener: &str, load: &Load<'_>) -> Result<Turn> {
        let at = self.envoy.named_listener(listener).await?;
        let before = self.meter.read()?;
        let summary = load.run(at)?;
        let used = self.meter.read()?.saturating_sub(before);
        ensure!(summary.requests > 0, "{listener}: no answer: {summary:?}");
        Ok(Turn { cost: used as f64 / 1e3 / summary.requests as f64, summary })
    }

    /// The same with requests that all have to be let in.
    ///
    /// # Errors
    /// As `turn`, and when a request isn't let in.
    pub(crate) async fn turn_of_good_requests(&self, listener: &str, load: &Load<'_>) -> Result<Turn> {
        let turn = self.turn(listener, load).await?;
        ensure!(turn.summary.refused == 0 && turn.summary.broken == 0, "{listener}: requests failed: {turn:?}");
        Ok(turn)
    }
}

/// Measures all contenders in this many rounds, after a warm-up round, which counts only if it is the only one.
///
/// # Errors
/// When a run fails, or a request of it is answered with an error.
pub(crate) async fn measure(
    gateway: &Gateway,
    tokens: &Tokens,
    contenders: &[Contender],
    rounds: usize,
) -> Result<Vec<Cost>> {
    let mut baselines: Vec<Traffic> = contenders.iter().map(|one| one.traffic.baseline()).collect();
    baselines.sort();
    baselines.dedup();
    let baselines: Vec<Contender> =
        baselines.into_iter().map(|traffic| Contender { name: NO_FILTER, listener: NO_FILTER, traffic }).collect();
    // Every difference is to a baseline, so baselines are measured twice as often, except where nothing is repeated.
    let mut order = Vec::new();
    for half in contenders.chunks(contenders.len().div_ceil(if rounds == 0 { 1 } else { 2 }).max(1)) {
        order.extend_from_slice(&baselines);
        order.extend_from_slice(half);
    }
    let mut samples: BTreeMap<Contender, Samples> = BTreeMap::new();
    for round in 0..=rounds {
        eprintln!("  round {round} of {rounds}");
        for contender in &order {
            let Turn { cost, summary } = run(gateway, tokens, *contender, round).await?;
            if round > 0 || rounds == 0 {
                let samples = samples.entry(*contender).or_default();
                samples.costs.push(cost);
                samples.latencies.push([summary.p50_ms, summary.p95_ms, summary.p99_ms]);
            }
        }
        // Each round begins with another contender.
        order.rotate_left(1);
    }
    let of = |contender: &Contender| samples.get(contender).cloned().unwrap_or_default();
    let baseline = |traffic: Traffic| {
        let found = baselines.iter().find(|one| one.traffic == traffic.baseline());
        Spread::of(&found.map(of).unwrap_or_default().costs)
    };
    Ok(baselines.iter().chain(contenders).map(|one| cost(*one, &of(one), baseline(one.traffic))).collect())
}

fn cost(contender: Contender, samples: &Samples, baseline: Spread) -> Cost {
    let total = Spread::of(&samples.costs);
    let best = samples.latencies.iter().copied().min_by(|a, b| a[0].total_cmp(&b[0]));
    let [p50_ms, p95_ms, p99_ms] = best.unwrap_or_default();
    Cost {
        name: contender.name.to_owned(),
        traffic: contender.traffic,
        added: total.with(baseline, |total, without| total - without),
        total,
        p50_ms,
        p95_ms,
        p99_ms,
    }
}

async fn run(gateway: &Gateway, tokens: &Tokens, contender: Contender, round: usize) -> Result<Turn> {
    let (credentials, mode) = match contender.traffic {
        Traffic::Public => (tokens.none()?, Mode::Cycle),
        Traffic::Jwt => (tokens.jwt()?, Mode::Cycle),
        Traffic::LargeJwt => (tokens.large_jwt()?, Mode::Cycle),
        Traffic::NewJwts => (tokens.new_jwts(round, NEW)?, Mode::Once),
        Traffic::ApiToken => (tokens.api_token()?, Mode::Cycle),
        Traffic::NewApiTokens => (tokens.new_api_tokens(round, NEW)?, Mode::Once),
    };
    let load = Load {
        path: contender.traffic.path(),
        credentials: &credentials,
        mode,
        connections: CONNECTIONS,
        seconds: gateway.meter.seconds(),
    };
    gateway.turn_of_good_requests(contender.listener, &load).await
}
