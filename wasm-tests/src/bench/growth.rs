//! How the cost of a request grows with what the filter holds, and how much memory a cached token takes.

mod groups;
mod memory;

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use super::{
    cpu::Gateway,
    load::{Load, Mode},
    stats::Spread,
};
pub(crate) use groups::{Sizes, measure};
#[cfg(test)]
pub(crate) use memory::Grown;
pub(crate) use memory::Memory;

/// A quantity that grows, and the cost of a request at each size.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Growth {
    /// Its name in files.
    pub(crate) group: &'static str,
    pub(crate) title: &'static str,
    /// What `size` counts.
    pub(crate) unit: &'static str,
    pub(crate) points: Vec<Point>,
}

/// What a request costs at one size.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) series: &'static str,
    pub(crate) size: f64,
    /// CPU of the workers per request over that of the same request without a filter, in microseconds.
    pub(crate) added_us: Spread,
    /// Requests per second, the median.
    pub(crate) requests_per_s: f64,
}

/// The same requests to a listener with a filter, and to one without.
struct Case<'g> {
    series: &'static str,
    size: f64,
    gateway: &'g Gateway,
    listener: String,
    path: String,
    credentials: PathBuf,
    connections: u32,
}

/// Loads all cases in turns, each with and without a filter. The first round counts only if it is the only one.
async fn cost(cases: &[Case<'_>], rounds: usize) -> Result<Vec<Point>> {
    let mut samples = vec![[const { Vec::new() }; 3]; cases.len()];
    for round in 0..=rounds {
        eprintln!("    round {round} of {rounds}");
        for (case, samples) in cases.iter().zip(&mut samples) {
            let load = Load {
                path: &case.path,
                credentials: &case.credentials,
                mode: Mode::Cycle,
                connections: case.connections,
                seconds: 1,
            };
            let without = case.gateway.turn_of_good_requests(super::NO_FILTER, &load).await?;
            let with = case.gateway.turn_of_good_requests(&case.listener, &load).await?;
            if round > 0 || rounds == 0 {
                samples[0].push(with.cost);
                samples[1].push(without.cost);
                samples[2].push(with.summary.requests as f64 / with.summary.seconds);
            }
        }
    }
    let point = |(case, [with, without, rate]): (&Case<'_>, &[Vec<f64>; 3])| Point {
        series: case.series,
        size: case.size,
        added_us: Spread::of(with).with(Spread::of(without), |with, without| with - without),
        requests_per_s: Spread::of(rate).median,
    };
    Ok(cases.iter().zip(&samples).map(point).collect())
}
