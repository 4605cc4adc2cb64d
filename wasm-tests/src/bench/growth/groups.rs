//! The quantities that grow. Each has an Envoy, with a listener for each size.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Case, Growth, cost,
    memory::{self, Memory},
};
use crate::bench::{
    Bench, NO_FILTER,
    config::{self, Listener},
};

/// Which sizes are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) cached: &'static [usize],
    pub(crate) rules: &'static [usize],
    pub(crate) revoked: &'static [usize],
    pub(crate) jwt_kb: &'static [f64],
    /// The smaller number of cached API tokens in the comparison of memory; the other is the largest of `cached`.
    pub(crate) memory_from: usize,
    /// After how many rounds of new JWTs the memory is compared. Between the two, the cache's table doubles once.
    pub(crate) memory_rounds: [usize; 2],
    pub(crate) workers: &'static [u32],
}

impl Sizes {
    pub(crate) const QUICK: Self = Self {
        cached: &[3000],
        rules: &[1000],
        revoked: &[1000],
        jwt_kb: &[14.0],
        memory_from: 1000,
        memory_rounds: [1, 2],
        workers: &[2],
    };
    pub(crate) const FULL: Self = Self {
        cached: &[100, 1000, 10_000, 100_000],
        rules: &[1, 10, 100, 1000],
        revoked: &[0, 100, 1000, 10_000, 100_000],
        jwt_kb: &[0.5, 1.0, 2.0, 4.0, 8.0, 14.0],
        memory_from: 20_000,
        memory_rounds: [4, 9],
        workers: &[1, 2],
    };
}

/// Few connections are enough for one worker.
const CONNECTIONS: u32 = 8;
/// The kernel spreads connections over workers unevenly, so several workers need more.
pub(super) const CONNECTIONS_OF_SEVERAL: u32 = 64;
/// The listener that caches JWTs.
const JWTS: &str = "authgate_jwts";
/// Long enough that nothing expires, or is asked about again, during a measurement.
const LONG: &str = "2h";

/// Measures each group in this many rounds, after a warm-up round.
///
/// # Errors
/// When Envoy or a run fails.
pub(crate) async fn measure(
    bench: &Bench,
    module: &Path,
    sizes: Sizes,
    rounds: usize,
) -> Result<(Vec<Growth>, Memory)> {
    let (cached, memory) = cached_tokens(bench, module, sizes, rounds).await?;
    let groups = vec![
        cached,
        rules(bench, module, sizes.rules, rounds).await?,
        revoked_ids(bench, module, sizes.revoked, rounds).await?,
        token_size(bench, module, sizes.jwt_kb, rounds).await?,
        workers(bench, module, sizes.workers, rounds).await?,
    ];
    Ok((groups, memory))
}

async fn cached_tokens(bench: &Bench, module: &Path, sizes: Sizes, rounds: usize) -> Result<(Growth, Memory)> {
    eprintln!("  cached tokens");
    let settings = json!({"cache": {"max_entries": 200_000, "ttl": LONG}});
    let behind = bench.services(&[]).await?;
    let mut filters = listeners(module, sizes.cached, |_| settings.clone())?;
    filters.push(Listener::new(JWTS, vec![config::authgate(JWTS, module, &settings)?]));
    let gateway = bench.gateway(&behind, filters, 1).await?;
    let many = sizes.cached.iter().copied().max().unwrap_or_default();
    let memory = Memory {
        api_tokens: memory::of_api_tokens(bench, &gateway, &name(&many), [sizes.memory_from, many]).await?,
        jwts: memory::of_jwts(bench, &gateway, JWTS, sizes.memory_rounds).await?,
    };
    let mut cases = Vec::new();
    for size in sizes.cached {
        if *size < many {
            memory::fill(bench, &gateway, &name(size), 0..*size).await?;
        }
        cases.push(Case {
            series: "one of so many API tokens",
            size: *size as f64,
            gateway: &gateway,
            listener: name(size),
            path: "/".to_owned(),
            credentials: bench.tokens.some_api_tokens(0, *size)?,
            connections: CONNECTIONS,
        });
    }
    let points = cost(&cases, rounds).await?;
    Ok((Growth { group: "cached_tokens", title: "Cached tokens", unit: "tokens in the cache", points }, memory))
}

async fn rules(bench: &Bench, module: &Path, sizes: &[usize], rounds: usize) -> Result<Growth> {
    eprintln!("  rules");
    let behind = bench.services(&[]).await?;
    let gateway = bench.gateway(&behind, listeners(module, sizes, |size| json!({"rules": rules_of(size)}))?, 1).await?;
    let mut cases = Vec::new();
    for size in sizes {
        for (series, end) in [("plain path", "items"), ("escaped path", "it%65ms")] {
            cases.push(Case {
                series,
                size: *size as f64,
                gateway: &gateway,
                listener: name(size),
                path: format!("/area-{:04}/{end}", size - 1),
                credentials: bench.tokens.none()?,
                connections: CONNECTIONS,
            });
        }
    }
    let points = cost(&cases, rounds).await?;
    Ok(Growth { group: "rules", title: "Rules, of which the last one matches", unit: "rules", points })
}

/// This many rules. Requests match the last one, which is public, so that only the search for it is measured.
fn rules_of(count: usize) -> Value {
    let rule = |number: usize| {
        let mut rule = json!({"match": {"prefix": format!("/area-{number:04}")}});
        if number + 1 == count {
            rule["public"] = json!(true);
        }
        rule
    };
    (0..count).map(rule).collect()
}

async fn revoked_ids(bench: &Bench, module: &Path, sizes: &[usize], rounds: usize) -> Result<Growth> {
    eprintln!("  revoked ids");
    let behind = bench.services(sizes).await?;
    let settings = |size| json!({"revocation": {"path": config::list_path(size)}});
    let gateway = bench.gateway(&behind, listeners(module, sizes, settings)?, 1).await?;
    let mut cases = Vec::new();
    for size in sizes {
        cases.push(Case {
            series: "one JWT",
            size: *size as f64,
            gateway: &gateway,
            listener: name(size),
            path: "/".to_owned(),
            credentials: bench.tokens.jwt()?,
            connections: CONNECTIONS,
        });
    }
    let points = cost(&cases, rounds).await?;
    Ok(Growth { group: "revoked_ids", title: "Revoked ids", unit: "ids on the list", points })
}

async fn token_size(bench: &Bench, module: &Path, sizes: &[f64], rounds: usize) -> Result<Growth> {
    eprintln!("  size of the token");
    let behind = bench.services(&[]).await?;
    let gateway = bench.gateway(&behind, listeners(module, &[0], |_| json!({}))?, 1).await?;
    let mut cases = Vec::new();
    for kb in sizes {
        cases.push(Case {
            series: "one JWT",
            size: *kb,
            gateway: &gateway,
            listener: name(&0),
            path: "/".to_owned(),
            credentials: bench.tokens.sized_jwt((kb * 1000.0) as usize)?,
            connections: CONNECTIONS,
        });
    }
    let points = cost(&cases, rounds).await?;
    Ok(Growth { group: "token_size", title: "Size of a repeated JWT, KB", unit: "KB", points })
}

async fn workers(bench: &Bench, module: &Path, counts: &[u32], rounds: usize) -> Result<Growth> {
    eprintln!("  workers");
    let behind = bench.services(&[]).await?;
    let mut gateways = Vec::new();
    for count in counts {
        gateways.push((*count, bench.gateway(&behind, listeners(module, &[0], |_| json!({}))?, *count).await?));
    }
    let mut cases = Vec::new();
    for (count, gateway) in &gateways {
        for (series, credentials) in [("one JWT", bench.tokens.jwt()?), ("one API token", bench.tokens.api_token()?)] {
            cases.push(Case {
                series,
                size: f64::from(*count),
                gateway,
                listener: name(&0),
                path: "/".to_owned(),
                credentials,
                connections: CONNECTIONS_OF_SEVERAL,
            });
        }
    }
    let points = cost(&cases, rounds).await?;
    Ok(Growth { group: "workers", title: "Workers", unit: "workers", points })
}

/// The listener without a filter, and one with authgate for each size.
fn listeners(module: &Path, sizes: &[usize], settings: impl Fn(usize) -> Value) -> Result<Vec<Listener>> {
    let mut listeners = vec![Listener::new(NO_FILTER, vec![])];
    for size in sizes {
        let name = name(size);
        listeners.push(Listener::new(&name, vec![config::authgate(&name, module, &settings(*size))?]));
    }
    Ok(listeners)
}

fn name(size: &usize) -> String {
    format!("authgate_{size}")
}
