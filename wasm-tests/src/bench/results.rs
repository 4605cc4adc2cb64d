//! The results of a run: the figures that are compared from run to run, and with the project's goals.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

use super::{
    cpu::{Cost, NO_FILTER, Traffic},
    growth::{Growth, Memory},
    machine::Machine,
    mix::Mix,
    plot,
    start::Start,
    stats::Spread,
    tables,
};

/// All that a run measured.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    /// The figures by their names.
    pub(crate) ratios: BTreeMap<&'static str, f64>,
    /// The same for the filter that does the least, if it has such a figure.
    pub(crate) least: BTreeMap<&'static str, f64>,
    pub(crate) costs: Vec<Cost>,
    pub(crate) starts: Vec<Start>,
    pub(crate) mix: Vec<Mix>,
    pub(crate) growth: Vec<Growth>,
    pub(crate) memory: Memory,
}

/// What was measured, before it is compared.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) machine: Machine,
    pub(crate) costs: Vec<Cost>,
    pub(crate) starts: Vec<Start>,
    pub(crate) mix: Vec<Mix>,
    pub(crate) growth: Vec<Growth>,
    pub(crate) memory: Memory,
    pub(crate) module_bytes: u64,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// No goal: it is only shown.
    None,
}

/// A figure's name, what it says, and its goal.
pub(crate) const FIGURES: [(&str, &str, Goal); 17] = [
    ("public_vs_noop", "public rule / no-op filter", Goal::AtMost(1.3)),
    ("jwt_repeat_vs_jwt_authn", "repeated JWT / `jwt_authn`", Goal::AtMost(0.25)),
    ("jwt_repeat_vs_jwt_authn_cached", "repeated JWT / `jwt_authn` with its cache", Goal::AtMost(1.5)),
    ("jwt_first_vs_jwt_authn", "new JWT / `jwt_authn`", Goal::AtMost(0.8)),
    ("api_warm_vs_ext_authz", "cached API token / `ext_authz`", Goal::AtMost(0.2)),
    ("api_cold_vs_ext_authz", "new API token / `ext_authz`", Goal::AtMost(1.4)),
    ("telling_vs_api_warm", "filter state / the rest of a cached request", Goal::AtMost(0.15)),
    ("jwt_large_extra_us", "7 KB JWT over a small one, both repeated, µs", Goal::AtMost(10.0)),
    ("start_vs_noop", "start over no filter / no-op filter, wall", Goal::AtMost(4.0)),
    ("start_cpu_vs_noop", "the same, CPU", Goal::AtMost(4.0)),
    ("memory_over_noop_mib", "memory over the no-op filter, MiB", Goal::AtMost(12.0)),
    ("bytes_per_cached_token", "memory per cached API token, bytes", Goal::AtMost(700.0)),
    ("bytes_per_cached_jwt", "memory per cached JWT, bytes", Goal::None),
    ("module_bytes", "module, bytes", Goal::AtMost(400_000.0)),
    ("mix_throughput_vs_native", "mix, throughput / native chain", Goal::AtLeast(4.0)),
    ("mix_throughput_vs_native_without_forged_jwts", "the same, without forged JWTs", Goal::None),
    ("mix_cpu_vs_native", "mix, CPU over no filter / native chain", Goal::None),
];

impl Results {
    /// Ratios and differences of what was measured. They use lower quartiles, on which noise has less effect than on a
    /// minimum.
    pub(crate) fn of(measured: Measured) -> Self {
        let Measured { machine, costs, starts, mix, growth, memory, module_bytes } = measured;
        let mut figures = cost_figures(&costs, |_| "authgate");
        figures.push(("telling_vs_api_warm", telling(&costs)));
        figures.extend(start_figures(&starts));
        figures.extend(mix_figures(&mix));
        figures.push(("bytes_per_cached_token", Some(memory.api_tokens.bytes_each())));
        figures.push(("bytes_per_cached_jwt", Some(memory.jwts.bytes_each())));
        figures.push(("module_bytes", Some(module_bytes as f64)));
        let known = |figures: Vec<(&'static str, Option<f64>)>| {
            figures.into_iter().filter_map(|(name, figure)| Some((name, figure?))).collect()
        };
        let least = known(cost_figures(&costs, least));
        Self { machine, ratios: known(figures), least, costs, starts, mix, growth, memory }
    }

    /// Writes `results.json`, `results.md` and the plots.
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
        write("results.md", tables::all(self))?;
        plot::all(self, folder)
    }
}

/// The filter that does the least for such requests.
fn least(traffic: Traffic) -> &'static str {
    if traffic == Traffic::Public { "floor" } else { "least" }
}

/// Whether a ratio or a difference needs the cost of this contender.
pub(crate) fn is_in_a_figure(name: &str, traffic: Traffic) -> bool {
    match name {
        "floor" => least(traffic) == name || traffic == Traffic::ApiToken,
        "noop_pruned" | "floor_alone" | "callout" => false,
        _ => true,
    }
}

/// The ratios of what a request costs: what each says, that of authgate, and that of the filter that does the least.
pub(crate) fn cost_ratios(costs: &[Cost]) -> Vec<(&'static str, f64, f64)> {
    let own = cost_figures(costs, |_| "authgate");
    let pairs = own.into_iter().zip(cost_figures(costs, least)).filter(|((name, _), _)| name.contains("_vs_"));
    let about = |name: &str| FIGURES.iter().find(|(known, ..)| *known == name).map(|(_, about, _)| *about);
    pairs.filter_map(|((name, own), (_, least))| Some((about(name)?, own?, least?))).collect()
}

/// Figures of CPU per request for the filter that `name` names.
fn cost_figures(costs: &[Cost], name: fn(Traffic) -> &'static str) -> Vec<(&'static str, Option<f64>)> {
    let cost = |name: &str, traffic| added(costs, name, traffic).map(|spread| spread.quartile);
    let own = |traffic| cost(name(traffic), traffic);
    let ext_authz = cost("ext_authz", Traffic::ApiToken);
    vec![
        ("public_vs_noop", ratio(own(Traffic::Public), cost("noop", Traffic::Public))),
        ("jwt_repeat_vs_jwt_authn", ratio(own(Traffic::Jwt), cost("jwt_authn", Traffic::Jwt))),
        ("jwt_repeat_vs_jwt_authn_cached", ratio(own(Traffic::Jwt), cost("jwt_authn_cached", Traffic::Jwt))),
        ("jwt_first_vs_jwt_authn", ratio(own(Traffic::NewJwts), cost("jwt_authn", Traffic::NewJwts))),
        ("api_warm_vs_ext_authz", ratio(own(Traffic::ApiToken), ext_authz)),
        ("api_cold_vs_ext_authz", ratio(own(Traffic::NewApiTokens), ext_authz)),
        ("jwt_large_extra_us", difference(own(Traffic::LargeJwt), own(Traffic::Jwt))),
    ]
}

/// What a request with a cached API token takes for its filter state, by all else that it takes, without a
/// filter too.
fn telling(costs: &[Cost]) -> Option<f64> {
    let all = |name| {
        let found = costs.iter().find(|cost| cost.name == name && cost.traffic == Traffic::ApiToken);
        found.map(|cost| cost.total.quartile)
    };
    let telling = difference(all("floor"), all("floor_silent"));
    ratio(telling, difference(all("authgate"), telling))
}

fn start_figures(starts: &[Start]) -> Vec<(&'static str, Option<f64>)> {
    let start = |name| starts.iter().find(|one| one.name == name);
    let over = |of: fn(&Start) -> Spread, name| Some(of(start(name)?).quartile - of(start(NO_FILTER)?).quartile);
    vec![
        ("start_vs_noop", ratio(over(|one| one.wall_s, "authgate"), over(|one| one.wall_s, "noop"))),
        ("start_cpu_vs_noop", ratio(over(|one| one.cpu_s, "authgate"), over(|one| one.cpu_s, "noop"))),
        (
            "memory_over_noop_mib",
            difference(over(|one| one.memory_mib, "authgate"), over(|one| one.memory_mib, "noop")),
        ),
    ]
}

fn mix_figures(mix: &[Mix]) -> Vec<(&'static str, Option<f64>)> {
    let of = |name, what: fn(&Mix) -> f64| mix.iter().find(|one| one.name == name).map(what);
    let throughput = |name| of(name, |one| one.requests_per_s);
    let added_cpu = |name| difference(of(name, |one| one.cpu_us), of(NO_FILTER, |one| one.cpu_us));
    vec![
        ("mix_throughput_vs_native", ratio(throughput("authgate"), throughput("native"))),
        (
            "mix_throughput_vs_native_without_forged_jwts",
            ratio(throughput("authgate_without_forged_jwts"), throughput("native_without_forged_jwts")),
        ),
        ("mix_cpu_vs_native", ratio(added_cpu("authgate"), added_cpu("native"))),
    ]
}

fn ratio(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a? / b?)
}

fn difference(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a? - b?)
}

/// What a contender adds to a request.
pub(crate) fn added(costs: &[Cost], name: &str, traffic: Traffic) -> Option<Spread> {
    costs.iter().find(|cost| cost.name == name && cost.traffic == traffic).map(|cost| cost.added)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::growth::Grown;

    fn cost(name: &str, traffic: Traffic, us: f64) -> Cost {
        let added = Spread { min: us, quartile: us, median: us };
        Cost { name: name.to_owned(), traffic, added, p50_ms: 1.0, p95_ms: 2.0, p99_ms: 3.0, total: added }
    }

    #[test]
    fn figures_are_by_their_names_and_each_has_a_goal_or_is_only_shown() {
        let costs = vec![
            cost("noop", Traffic::Public, 10.0),
            cost("floor", Traffic::Public, 12.0),
            cost("authgate", Traffic::Public, 15.0),
            cost("ext_authz", Traffic::ApiToken, 50.0),
            cost("floor_silent", Traffic::ApiToken, 4.0),
            cost("floor", Traffic::ApiToken, 6.0),
            cost("authgate", Traffic::ApiToken, 22.0),
            cost("least", Traffic::NewApiTokens, 60.0),
            cost("authgate", Traffic::NewApiTokens, 100.0),
        ];
        let machine = Machine { envoy: String::new(), cpu: String::new(), cores: 2, load_average: 0.0 };
        let grown = |mib| Grown { count: [1000, 2000], mib: [10.0, mib] };
        let memory = Memory { api_tokens: grown(11.0), jwts: grown(10.5) };
        let results = Results::of(Measured {
            machine,
            costs: costs.clone(),
            starts: vec![],
            mix: vec![],
            growth: vec![],
            memory,
            module_bytes: 7,
        });
        let expected = [
            ("api_cold_vs_ext_authz", 2.0),
            ("api_warm_vs_ext_authz", 0.44),
            ("bytes_per_cached_jwt", 524.288),
            ("bytes_per_cached_token", 1048.576),
            ("module_bytes", 7.0),
            ("public_vs_noop", 1.5),
            ("telling_vs_api_warm", 0.1),
        ];
        assert_eq!(results.ratios, BTreeMap::from(expected));
        assert_eq!(results.least, BTreeMap::from([("api_cold_vs_ext_authz", 1.2), ("public_vs_noop", 1.2)]));
        assert_eq!(
            cost_ratios(&costs),
            [("public rule / no-op filter", 1.5, 1.2), ("new API token / `ext_authz`", 2.0, 1.2)]
        );
        let has_goal = |name| FIGURES.iter().any(|(known, ..)| known == name);
        assert!(results.ratios.keys().all(has_goal));
    }
}
