//! The results of a run as tables in Markdown. Each stands between two marks with its name, and `publish` puts it between
//! the same marks of a document.

use std::fmt::Write as _;

use super::{
    cpu::{Cost, NO_FILTER},
    growth::{Growth, Memory, Point},
    machine::Machine,
    mix::Mix,
    results::{FIGURES, Goal, Results, cost_ratios},
    start::Start,
};

/// All tables, by their names.
pub(crate) fn all(results: &Results) -> String {
    let tables = [
        ("run", run(results)),
        ("cpu", costs(&results.costs)),
        ("start", starts(&results.starts)),
        ("mix", mix(&results.mix)),
        ("targets", targets(&results.mix)),
        ("growth", growth(&results.growth)),
        ("goals", goals(results)),
        ("sizing", sizing(results)),
    ];
    tables.map(|(name, table)| marked(name, &table)).join("\n")
}

/// A text between the marks of its name.
pub(crate) fn marked(name: &str, text: &str) -> String {
    format!("{}\n{text}{}\n", begin(name), end(name))
}

/// The mark before a table.
pub(crate) fn begin(name: &str) -> String {
    format!("<!-- bench: {name} -->")
}

/// The mark after a table.
pub(crate) fn end(name: &str) -> String {
    format!("<!-- end of bench: {name} -->")
}

/// Where the figures are from.
fn run(results: &Results) -> String {
    let Machine { envoy, cpu, cores, load_average } = &results.machine;
    let module = results.ratios.get("module_bytes").copied().unwrap_or_default();
    format!(
        "All tables of times are of one run, in Envoy {envoy} on {cores} cores of {cpu}, with a load average of {load_average} before \
         it; the module had {module} bytes.\n"
    )
}

/// The table of CPU per request.
pub(crate) fn costs(costs: &[Cost]) -> String {
    let mut text =
        "| filter | requests with | added µs: min | quartile | median | all µs: quartile | p50 ms | p95 | p99 |\n\
                    |---|---|--:|--:|--:|--:|--:|--:|--:|\n"
            .to_owned();
    for Cost { name, traffic, added, total, p50_ms, p95_ms, p99_ms } in costs {
        let _ = writeln!(
            text,
            "| {name} | {traffic} | {:.1} | {:.1} | {:.1} | {:.1} | {p50_ms:.2} | {p95_ms:.2} | {p99_ms:.2} |",
            added.min, added.quartile, added.median, total.quartile,
        );
    }
    text
}

/// The table of instructions per request.
pub(crate) fn instructions(costs: &[Cost]) -> String {
    let mut text = "| filter | requests with | added, thousands: min | median | all, thousands: median |\n\
                    |---|---|--:|--:|--:|\n"
        .to_owned();
    for Cost { name, traffic, added, total, .. } in costs {
        let _ = writeln!(text, "| {name} | {traffic} | {:.1} | {:.1} | {:.1} |", added.min, added.median, total.median);
    }
    text
}

/// The ratios of what a request costs.
pub(crate) fn ratios(costs: &[Cost]) -> String {
    let mut text = "| ratio | authgate | of the least |\n|---|--:|--:|\n".to_owned();
    for (about, own, least) in cost_ratios(costs) {
        let _ = writeln!(text, "| {about} | {} | {} |", number(own), number(least));
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

/// What a gateway should reach under the mix.
fn targets(mix: &[Mix]) -> String {
    let mut text = "| mix | p50 under 50 ms | p95 under 200 ms | p99 under 500 ms | over 1,000 requests/s | errors under 0.1 % |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    for one in mix {
        let reached = [
            one.p50_ms < 50.0,
            one.p95_ms < 200.0,
            one.p99_ms < 500.0,
            one.requests_per_s > 1000.0,
            one.errors < 0.001,
        ]
        .map(|reached| if reached { "yes" } else { "no" });
        let _ = writeln!(text, "| {} | {} |", one.name, reached.join(" | "));
    }
    text
}

fn growth(groups: &[Growth]) -> String {
    let mut text =
        "| what grows | how many | requests | added µs: min | quartile | median | requests/s |\n|---|--:|---|--:|--:|--:|--:|\n"
            .to_owned();
    for Growth { title, points, .. } in groups {
        for Point { series, size, added_us: added, requests_per_s } in points {
            let _ = writeln!(
                text,
                "| {title} | {size} | {series} | {:.1} | {:.1} | {:.1} | {requests_per_s:.0} |",
                added.min, added.quartile, added.median,
            );
        }
    }
    text
}

fn goals(results: &Results) -> String {
    let mut text = "| figure | name in `results.json` | measured | of the least | goal | reached |\n\
                    |---|---|--:|--:|--:|---|\n"
        .to_owned();
    for (name, about, goal) in FIGURES {
        let Some(value) = results.ratios.get(name) else { continue };
        let least = results.least.get(name).map_or_else(|| "–".to_owned(), |least| number(*least));
        let (goal, reached) = match goal {
            Goal::AtMost(most) => (format!("at most {}", number(most)), reached(*value, *value <= most)),
            Goal::AtLeast(least) => (format!("at least {}", number(least)), reached(*value, *value >= least)),
            Goal::None => ("–".to_owned(), "–"),
        };
        let _ = writeln!(text, "| {about} | `{name}` | {} | {least} | {goal} | {reached} |", number(*value));
    }
    text
}

/// Whether a goal is reached. A negative figure says nothing: a filter has seemed to cost less than none.
const fn reached(figure: f64, is_within: bool) -> &'static str {
    match (figure < 0.0, is_within) {
        (true, _) => "noise",
        (false, true) => "yes",
        (false, false) => "no",
    }
}

/// What an operator has to plan for.
fn sizing(results: &Results) -> String {
    let mut text = "| what | takes |\n|---|--:|\n".to_owned();
    for cost in results.costs.iter().filter(|cost| cost.name == "authgate") {
        // A microsecond per request is a thousandth of a core at 1,000 requests/s.
        let percent = cost.added.quartile / 10.0;
        let _ = writeln!(
            text,
            "| 1,000 requests/s with {}: CPU of authgate | {percent:.1} % of a core |\n\
             | …, of Envoy's worker with authgate | {:.1} % of a core |",
            cost.traffic,
            cost.total.quartile / 10.0
        );
    }
    let memory = |name| results.starts.iter().find(|start| start.name == name).map(|start| start.memory_mib.quartile);
    if let (Some(with), Some(without)) = (memory("authgate"), memory(NO_FILTER)) {
        let _ = writeln!(text, "| authgate at start, one worker: memory | {:.0} MiB |", with - without);
    }
    let Memory { api_tokens, jwts } = results.memory;
    let _ = writeln!(
        text,
        "| each cached API token, with its shared verdict, one worker: memory | {:.0} bytes |\n\
         | each cached JWT, one worker: memory | {:.0} bytes |",
        api_tokens.bytes_each(),
        jwts.bytes_each()
    );
    text
}

/// A number with as many digits as matter.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_figure_reaches_no_goal_and_misses_none() {
        assert_eq!([reached(1.2, true), reached(1.4, false), reached(-3.7, true)], ["yes", "no", "noise"]);
    }
}
