//! How much memory a cached token takes.

use std::{ops::Range, path::Path};

use anyhow::{Result, bail};
use serde::Serialize;

use super::groups::CONNECTIONS_OF_SEVERAL;
use crate::bench::{
    Bench,
    cpu::{Gateway, NEW},
    load::{Load, Mode},
    start,
};

/// The shortest run of wrk.
const SECONDS: u32 = 1;

/// The longest, in seconds.
const LONGEST: u32 = 20;

/// Memory of Envoy, with one worker.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Memory {
    pub(crate) api_tokens: Grown,
    pub(crate) jwts: Grown,
}

/// The memory with two numbers of cached tokens.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Grown {
    pub(crate) count: [usize; 2],
    pub(crate) mib: [f64; 2],
}

impl Grown {
    /// The memory that a token takes, in bytes.
    pub(crate) fn bytes_each(&self) -> f64 {
        let ([few, many], [before, after]) = (self.count, self.mib);
        (after - before) * 1024.0 * 1024.0 / (many - few) as f64
    }
}

/// Caches API tokens: the first number of them, then the second.
pub(super) async fn of_api_tokens(
    bench: &Bench,
    gateway: &Gateway,
    listener: &str,
    count: [usize; 2],
) -> Result<Grown> {
    let [few, many] = count;
    fill(bench, gateway, listener, 0..few).await?;
    let before = start::memory_mib(gateway.envoy.id())?;
    fill(bench, gateway, listener, few..many).await?;
    Ok(Grown { count, mib: [before, start::memory_mib(gateway.envoy.id())?] })
}

/// Caches the new JWTs of so many rounds: the first number of them, then the second.
pub(super) async fn of_jwts(bench: &Bench, gateway: &Gateway, listener: &str, rounds: [usize; 2]) -> Result<Grown> {
    let mut mib = [0.0; 2];
    let mut from = 0;
    for (to, mib) in rounds.into_iter().zip(&mut mib) {
        eprintln!("    {listener}: {} JWTs", to * NEW);
        for round in from..to {
            send_all(gateway, listener, &bench.tokens.new_jwts(round, NEW)?, NEW).await?;
        }
        *mib = start::memory_mib(gateway.envoy.id())?;
        from = to;
    }
    Ok(Grown { count: rounds.map(|round| round * NEW), mib })
}

/// Fills a filter's cache with the API tokens of these numbers.
pub(super) async fn fill(bench: &Bench, gateway: &Gateway, listener: &str, numbers: Range<usize>) -> Result<()> {
    /// As many as a run can send. wrk runs for the whole time that it is given, even if the file ends earlier.
    const AT_ONCE: usize = 5000;
    let mut from = numbers.start;
    while from < numbers.end {
        let to = numbers.end.min(from + AT_ONCE);
        eprintln!("    {listener}: {to} API tokens");
        send_all(gateway, listener, &bench.tokens.some_api_tokens(from, to)?, to - from).await?;
        from = to;
    }
    Ok(())
}

/// Sends requests with all these credentials. A run that was too short is repeated, and each time it gets a second more.
async fn send_all(gateway: &Gateway, listener: &str, credentials: &Path, count: usize) -> Result<()> {
    for seconds in SECONDS..=LONGEST {
        let load = Load { path: "/", credentials, mode: Mode::Once, connections: CONNECTIONS_OF_SEVERAL, seconds };
        if gateway.turn_of_good_requests(listener, &load).await?.summary.requests >= count as u64 {
            return Ok(());
        }
    }
    bail!("{listener}: {count} requests take more than {LONGEST} s")
}
