//! What a run found, as JSON and as Markdown.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

use super::{
    cpu::{Cost, NO_FILTER, Traffic},
    mix::Mix,
    start::Start,
    stats::Spread,
};

/// All that a run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// The figures that are compared from run to run.
    pub(crate) ratios: BTreeMap<&'static str, f64>,
    pub(crate) costs: Vec<Cost>,
    pub(crate) starts: Vec<Start>,
    pub(crate) mix: Vec<Mix>,
}

impl Results {
    /// Ratios and differences of what was measured. They are made of lower quartiles, which noise moves less than it moves
    /// a minimum.
    pub(crate) fn new(costs: Vec<Cost>, starts: Vec<Start>, mix: Vec<Mix>, module_bytes: u64) -> Self {
        let cost = |name, traffic| added(&costs, name, traffic).map(|spread| spread.quartile);
        let start = |name| starts.iter().find(|one| one.name == name);
        let over = |of: fn(&Start) -> Spread, name| Some(of(start(name)?).quartile - of(start(NO_FILTER)?).quartile);
        let throughput = |name| mix.iter().find(|one| one.name == name).map(|one| one.requests_per_s);
        let ratio = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
        let difference = |a: Option<f64>, b: Option<f64>| Some(a? - b?);
        let jwt = cost("authgate", Traffic::Jwt);
        let jwt_authn = cost("jwt_authn", Traffic::Jwt);
        let ext_authz = cost("ext_authz", Traffic::ApiToken);
        let memory = |one: &Start| one.memory_mib;
        let figures = [
            ("public_vs_noop", ratio(cost("authgate", Traffic::Public), cost("noop", Traffic::Public))),
            ("jwt_repeat_vs_jwt_authn", ratio(jwt, jwt_authn)),
            ("jwt_repeat_vs_jwt_authn_cached", ratio(jwt, cost("jwt_authn_cached", Traffic::Jwt))),
            ("jwt_first_vs_jwt_authn", ratio(cost("authgate", Traffic::NewJwts), cost("jwt_authn", Traffic::NewJwts))),
            ("api_warm_vs_ext_authz", ratio(cost("authgate", Traffic::ApiToken), ext_authz)),
            ("api_cold_vs_ext_authz", ratio(cost("authgate", Traffic::NewApiTokens), ext_authz)),
            ("jwt_large_extra_us", difference(cost("authgate", Traffic::LargeJwt), jwt)),
            ("start_vs_noop", ratio(over(|one| one.wall_s, "authgate"), over(|one| one.wall_s, "noop"))),
            ("start_cpu_vs_noop", ratio(over(|one| one.cpu_s, "authgate"), over(|one| one.cpu_s, "noop"))),
            ("memory_over_noop_mib", difference(over(memory, "authgate"), over(memory, "noop"))),
            ("mix_throughput_vs_native", ratio(throughput("authgate"), throughput("native"))),
            ("module_bytes", Some(module_bytes as f64)),
        ];
        let ratios = figures.into_iter().filter_map(|(name, figure)| Some((name, figure?))).collect();
        Self { ratios, costs, starts, mix }
    }

    /// Writes `results.json` and `results.md`.
    ///
    /// # Errors
    /// When they can't be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
        };
        write("results.json", serde_json::to_string_pretty(self)? + "\n")?;
        write("results.md", self.markdown())
    }

    /// The tables.
    pub(crate) fn markdown(&self) -> String {
        let sections = [costs(&self.costs), starts(&self.starts), mix(&self.mix), ratios(&self.ratios)];
        sections.join("\n")
    }
}

/// What a contender adds to a request.
pub(crate) fn added(costs: &[Cost], name: &str, traffic: Traffic) -> Option<Spread> {
    costs.iter().find(|cost| cost.name == name && cost.traffic == traffic).map(|cost| cost.added_us)
}

/// The table of CPU per request.
pub(crate) fn costs(costs: &[Cost]) -> String {
    let mut text =
        "| filter | requests with | added µs: min | quartile | median | all µs: quartile | p50 ms | p95 | p99 |\n\
                    |---|---|--:|--:|--:|--:|--:|--:|--:|\n"
            .to_owned();
    for Cost { name, traffic, added_us: added, total_us, p50_ms, p95_ms, p99_ms } in costs {
        let _ = writeln!(
            text,
            "| {name} | {traffic} | {:.1} | {:.1} | {:.1} | {:.1} | {p50_ms:.2} | {p95_ms:.2} | {p99_ms:.2} |",
            added.min, added.quartile, added.median, total_us.quartile,
        );
    }
    text
}

fn starts(starts: &[Start]) -> String {
    let mut text = "| start | wall s: min | quartile | median | CPU s: min | quartile | median | memory MiB |\n\
                    |---|--:|--:|--:|--:|--:|--:|--:|\n"
        .to_owned();
    for Start { name, wall_s: wall, cpu_s: cpu, memory_mib } in starts {
        let _ = writeln!(
            text,
            "| {name} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.1} |",
            wall.min, wall.quartile, wall.median, cpu.min, cpu.quartile, cpu.median, memory_mib.quartile,
        );
    }
    text
}

fn mix(mix: &[Mix]) -> String {
    let mut text =
        "| mix | requests/s | p50 ms | p95 | p99 | CPU µs per request | refused | errors | callouts per request |\n\
                    |---|--:|--:|--:|--:|--:|--:|--:|--:|\n"
            .to_owned();
    for one in mix {
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.1} | {:.1} | {:.1} | {:.0} | {:.2} % | {:.3} % | {:.3} |",
            one.name,
            one.requests_per_s,
            one.p50_ms,
            one.p95_ms,
            one.p99_ms,
            one.cpu_us,
            one.refused * 100.0,
            one.errors * 100.0,
            one.callouts,
        );
    }
    text
}

fn ratios(ratios: &BTreeMap<&str, f64>) -> String {
    let mut text = "| figure | value |\n|---|--:|\n".to_owned();
    for (name, value) in ratios {
        let digits = if value.abs() < 1000.0 { 2 } else { 0 };
        let _ = writeln!(text, "| `{name}` | {value:.digits$} |");
    }
    text
}
