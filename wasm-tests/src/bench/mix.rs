//! A load like that of a gateway in use: many clients, some far more often than others, and some that are refused. Two
//! workers, and an auth service that takes 20 ms.

use anyhow::Result;
use serde::Serialize;

use super::{
    cpu::{Gateway, Turn},
    load::{Load, Mode},
    stats::Spread,
    tokens::Tokens,
};
use crate::envoy::Envoy;

/// Each sends its next request after the answer to the last one.
const CONNECTIONS: u32 = 256;

/// authgate refuses a JWT at once after two fetches of the key have found it forged, and fetches the key every five
/// seconds at most. After this time and the turn that doesn't count, all of the mix have come up often enough.
const WARM_UP_SECONDS: u32 = 20;

/// A listener, and the mix that it gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    /// Names it in reports.
    pub(crate) name: &'static str,
    pub(crate) listener: &'static str,
    /// Whether the invalid JWTs are forged, so that their key may be an unknown one, or malformed.
    pub(crate) forged: bool,
    /// Whether it is loaded for a while before the first round.
    pub(crate) warm_up: bool,
}

/// The figures of a chain of filters under the mix.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Mix {
    pub(crate) name: String,
    pub(crate) requests_per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU of the gateway's workers per request, in microseconds.
    pub(crate) cpu_us: f64,
    /// Share of requests that were refused with 401.
    pub(crate) refused: f64,
    /// Share of requests with an answer other than 200 and 401, or with none.
    pub(crate) errors: f64,
    /// Requests of the gateway to the auth service, per request of a client.
    pub(crate) callouts: f64,
}

/// Loads the chains in turns, after a warm-up and a turn that counts only if it is the only one.
///
/// # Errors
/// When a run fails.
pub(crate) async fn measure(
    gateway: &Gateway,
    tokens: &Tokens,
    chains: &[Chain],
    rounds: usize,
    seconds: u32,
) -> Result<Vec<Mix>> {
    for chain in chains.iter().filter(|chain| chain.warm_up && rounds > 0) {
        eprintln!("  warm-up");
        turn(gateway, tokens, *chain, WARM_UP_SECONDS).await?;
    }
    let mut runs: Vec<Vec<Mix>> = chains.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        eprintln!("  round {round} of {rounds}");
        for (chain, runs) in chains.iter().zip(&mut runs) {
            let asked_before = callouts(&gateway.envoy).await?;
            let turn = turn(gateway, tokens, *chain, seconds).await?;
            let asked = callouts(&gateway.envoy).await? - asked_before;
            if round > 0 || rounds == 0 {
                runs.push(mix(chain.name, &turn, asked));
            }
        }
    }
    Ok(runs.iter().map(|runs| middle(runs)).collect())
}

async fn turn(gateway: &Gateway, tokens: &Tokens, chain: Chain, seconds: u32) -> Result<Turn> {
    let credentials = tokens.mix(chain.forged)?;
    let load = Load { path: "/", credentials: &credentials, mode: Mode::Count, connections: CONNECTIONS, seconds };
    gateway.turn(chain.listener, &load).await
}

fn mix(name: &str, Turn { cost, summary }: &Turn, callouts: u64) -> Mix {
    let all = summary.requests as f64;
    let with = |status: &str| summary.statuses.get(status).copied().unwrap_or_default() as f64;
    let unexpected: u64 =
        summary.statuses.iter().filter(|(status, _)| !["200", "401"].contains(&status.as_str())).map(|(_, n)| n).sum();
    Mix {
        name: name.to_owned(),
        requests_per_s: all / summary.seconds,
        p50_ms: summary.p50_ms,
        p95_ms: summary.p95_ms,
        p99_ms: summary.p99_ms,
        cpu_us: *cost,
        refused: with("401") / all,
        errors: (unexpected + summary.broken) as f64 / all,
        callouts: callouts as f64 / all,
    }
}

/// The median of each figure.
fn middle(runs: &[Mix]) -> Mix {
    let median = |of: fn(&Mix) -> f64| Spread::of(&runs.iter().map(of).collect::<Vec<_>>()).median;
    Mix {
        name: runs.first().map(|run| run.name.clone()).unwrap_or_default(),
        requests_per_s: median(|run| run.requests_per_s),
        p50_ms: median(|run| run.p50_ms),
        p95_ms: median(|run| run.p95_ms),
        p99_ms: median(|run| run.p99_ms),
        cpu_us: median(|run| run.cpu_us),
        refused: median(|run| run.refused),
        errors: median(|run| run.errors),
        callouts: median(|run| run.callouts),
    }
}

/// How many requests the gateway has sent to the auth service.
async fn callouts(envoy: &Envoy) -> Result<u64> {
    let name = "cluster.auth_service.upstream_rq_total";
    let answer = envoy.admin(&format!("/stats?filter=^{name}$")).await?;
    let text = answer.text();
    Ok(text.trim().rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or_default())
}
