//! The results of a run as plots: `target/bench/*.svg`.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::{
    coord::Shift,
    prelude::{
        ChartBuilder, Circle, DrawingArea, EmptyElement, IntoDrawingArea as _, IntoFont as _, IntoLogRange as _,
        LineSeries, RGBColor, Rectangle, SVGBackend, SeriesLabelPosition, Text, WHITE,
    },
    style::{
        Color as _,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{
    growth::{Growth, Point},
    results::Results,
};

const WIDTH: u32 = 900;
const BAR_HEIGHT: u32 = 26;
/// Above and below the bars.
const FRAME: u32 = 130;
const LABELS: u32 = 330;
const FONT: &str = "sans-serif";
const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const OTHERS: RGBColor = RGBColor(0xa9, 0xb4, 0xbf);
const SERIES: [RGBColor; 2] = [OURS, RGBColor(0xd9, 0x5f, 0x02)];
const TEXT: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xe3, 0xe6, 0xe9);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws each group of figures into this folder.
///
/// # Errors
/// When a file can't be written.
pub(crate) fn all(results: &Results, folder: &Path) -> Result<()> {
    let bars = |name: &str, title, unit, rows: Vec<(String, f64)>| {
        draw_bars(&folder.join(format!("{name}.svg")), title, unit, &rows)
            .map_err(|error| anyhow!("drawing {name}.svg: {error}"))
    };
    let costs = results.costs.iter().filter(|cost| cost.name != super::NO_FILTER);
    let costs = costs.map(|cost| (format!("{}: {}", cost.name, cost.traffic), cost.added.quartile));
    bars("cpu", "CPU that a filter adds to a request", "µs, lower quartile", costs.collect())?;
    let starts = |of: fn(&super::Start) -> f64| results.starts.iter().map(|one| (one.name.clone(), of(one))).collect();
    bars("start", "Start of Envoy until it is ready", "s, lower quartile", starts(|one| one.wall_s.quartile))?;
    bars("start_memory", "Memory of Envoy at start", "MiB, lower quartile", starts(|one| one.memory_mib.quartile))?;
    let mix = |of: fn(&super::Mix) -> f64| results.mix.iter().map(|one| (one.name.clone(), of(one))).collect();
    bars("mix", "Throughput under the mix", "requests/s", mix(|one| one.requests_per_s))?;
    bars("mix_cpu", "CPU of the gateway's workers under the mix", "µs per request", mix(|one| one.cpu_us))?;
    let latencies = results.mix.iter().flat_map(|one| {
        [("p50", one.p50_ms), ("p95", one.p95_ms), ("p99", one.p99_ms)]
            .map(|(percentile, ms)| (format!("{}: {percentile}", one.name), ms))
    });
    bars("mix_latency", "Latency under the mix", "ms", latencies.collect())?;
    for growth in &results.growth {
        let name = format!("growth_{}.svg", growth.group);
        draw_growth(&folder.join(&name), growth).map_err(|error| anyhow!("drawing {name}: {error}"))?;
    }
    Ok(())
}

/// The library's error type.
type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw_bars(path: &Path, title: &str, unit: &str, rows: &[(String, f64)]) -> Drawn {
    let count = u32::try_from(rows.len())?;
    let area = blank(path, FRAME + BAR_HEIGHT * count)?;
    let most = rows.iter().map(|(_, value)| *value).fold(1e-9, f64::max) * 1.12;
    let least = rows.iter().map(|(_, value)| *value).fold(0.0, f64::min);
    // The first row is at the top.
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 20).into_font().color(&TEXT))
        .margin(16)
        .x_label_area_size(50)
        .y_label_area_size(LABELS)
        .build_cartesian_2d(least..most, f64::from(count)..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .x_desc(unit)
        .x_label_formatter(&|value| short(*value))
        .axis_desc_style((FONT, 14).into_font().color(&TEXT))
        .label_style((FONT, 13).into_font().color(&TEXT))
        .draw()?;
    for ((label, value), at) in rows.iter().zip(0..) {
        let top = f64::from(at);
        let color = if label.starts_with("authgate") { OURS } else { OTHERS };
        chart.draw_series([Rectangle::new([(0.0, top + 0.15), (*value, top + 0.85)], color.filled())])?;
        let (left, y) = chart.backend_coord(&(least, top + 0.5));
        let (right, _) = chart.backend_coord(&(value.max(0.0), top + 0.5));
        text(&area, label, (left - 8, y), HPos::Right)?;
        text(&area, &short(*value), (right + 6, y), HPos::Left)?;
    }
    area.present()?;
    Ok(())
}

fn draw_growth(path: &Path, growth: &Growth) -> Drawn {
    let area = blank(path, 420)?;
    // A logarithmic axis has no zero, so zero is drawn at 1.
    let x = |point: &Point| if point.size > 0.0 { point.size } else { 1.0 };
    let sizes = || growth.points.iter().map(x);
    let (least, most) = (sizes().fold(f64::MAX, f64::min), sizes().fold(f64::MIN, f64::max));
    let highest = growth.points.iter().map(|point| point.added_us.median).fold(1e-9, f64::max) * 1.2;
    let lowest = growth.points.iter().map(|point| point.added_us.min).fold(0.0, f64::min);
    let mut chart = ChartBuilder::on(&area)
        .caption(growth.title, (FONT, 20).into_font().color(&TEXT))
        .margin(16)
        .margin_right(40)
        .x_label_area_size(50)
        .y_label_area_size(70)
        .build_cartesian_2d((least * 0.9..most * 1.1).log_scale(), lowest..highest)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .x_desc(growth.unit)
        .y_desc("µs that authgate adds to a request")
        .x_label_formatter(&|size| short(*size))
        .y_label_formatter(&|added| short(*added))
        .axis_desc_style((FONT, 14).into_font().color(&TEXT))
        .label_style((FONT, 13).into_font().color(&TEXT))
        .draw()?;
    let mut names: Vec<&str> = growth.points.iter().map(|point| point.series).collect();
    names.sort_unstable();
    names.dedup();
    for (name, color) in names.iter().zip(SERIES) {
        let points = || growth.points.iter().filter(|point| point.series == *name);
        let places = points().map(|point| (x(point), point.added_us.quartile));
        let series = chart.draw_series(LineSeries::new(places.clone(), color.stroke_width(2)))?;
        series.label(*name).legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 16, y + 4)], color.filled()));
        chart.draw_series(points().map(|point| {
            let style = (FONT, 12).into_font().color(&TEXT);
            EmptyElement::at((x(point), point.added_us.quartile))
                + Circle::new((0, 0), 4, color.filled())
                + Text::new(short(point.added_us.quartile), (-8, -18), style)
        }))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .border_style(GRID)
        .background_style(WHITE.filled())
        .label_font((FONT, 13).into_font().color(&TEXT))
        .draw()?;
    area.present()?;
    Ok(())
}

fn blank(path: &Path, height: u32) -> Result<Area<'_>, Box<dyn std::error::Error>> {
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    Ok(area)
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), side: HPos) -> Drawn {
    let style = (FONT, 13).into_font().color(&TEXT).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}

/// A number with no more digits than a picture needs.
fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        // Whole numbers and halves of an axis.
        _ if (value - value.round()).abs() < 1e-9 => format!("{value:.0}"),
        1.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
