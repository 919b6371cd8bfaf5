//! Plots of a run of the referee, as SVG: a line for each contestant.

use std::ops::Range;

use anyhow::Result;
use hdrhistogram::Histogram;
use plotters::prelude::{
    BLACK, ChartBuilder, Circle, IntoDrawingArea, IntoLogRange, LineSeries, PathElement,
    SVGBackend, WHITE,
};
use plotters::style::{Color, Palette, Palette99};

use super::new_histogram;
use super::referee::CellResult;

/// Of each plot, in pixels.
const SIZE: (u32, u32) = (640, 360);

/// What a plot shows of latencies: from the middle to one in a hundred thousand, by how many of so
/// many are slower.
const ONE_IN: [f64; 11] =
    [2.0, 4.0, 10.0, 20.0, 50.0, 100.0, 200.0, 1_000.0, 2_000.0, 10_000.0, 100_000.0];

/// Cells `curve-000` to `curve-100`, by how many of a hundred requests are reads.
const CURVE: &str = "curve";

type Line = Vec<(f64, f64)>;

/// What only several cells together show, each with its title: throughput against latency of the cells that ask the same
/// with more or less under way, the curve of read ratios, and memory after each cell.
pub(super) fn over_cells(results: &[CellResult]) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let Some(first) = results.first() else { return Ok(found) };
    let names = &first.names;
    let lines = |cells: &[&CellResult], point: &dyn Fn(&CellResult, usize) -> (f64, f64)| {
        let line = |at| {
            let mut line: Line = cells.iter().map(|cell| point(cell, at)).collect();
            line.sort_by(|one, other| one.0.total_cmp(&other.0));
            line
        };
        (0..names.len()).map(line).collect::<Vec<Line>>()
    };
    let rate = |cell: &CellResult, at: usize| cell.figure(at, |it| it.slice.rate()).median;
    let mut families: Vec<&str> = results.iter().map(|it| family(it)).collect();
    families.dedup();
    for name in families {
        let cells: Vec<&CellResult> = results.iter().filter(|it| family(it) == name).collect();
        if cells.len() < 2 {
            continue;
        }
        let (title, caption, lines, across) = if name == CURVE {
            let percent = |cell: &CellResult| {
                let part = cell.cell.name.rsplit('-').next().and_then(|it| it.parse().ok());
                part.unwrap_or(0.0)
            };
            let lines = lines(&cells, &|cell, at| (percent(cell), rate(cell, at)));
            let title = "Operations a second by share of reads";
            (title.to_owned(), "operations a second, by percent of reads", lines, 0.0..100.0)
        } else {
            let p99 =
                |cell: &CellResult, at| cell.figure(at, |it| it.slice.quantile_us(0.99)).median;
            let lines = lines(&cells, &|cell, at| (rate(cell, at).max(1.0).log10(), p99(cell, at)));
            let across = across(&lines);
            let caption = "p99 in \u{b5}s at 10^x operations a second";
            (format!("{name}: throughput and latency"), caption, lines, across)
        };
        found.push((title, plot(caption, names, &lines, across)?));
    }
    let memory = |at: usize| {
        let megabytes =
            |cell: &CellResult| cell.figure(at, |it| it.resident_bytes as f64 / 1e6).max;
        let numbered = results.iter().zip(1..);
        numbered.map(|(cell, number)| (f64::from(number), megabytes(cell))).collect()
    };
    let lines: Vec<Line> = (0..names.len()).map(memory).collect();
    let across = 0.0..(results.len() + 1) as f64;
    let plot = plot("MB resident, by cell in the order of the table", names, &lines, across)?;
    found.push(("Memory that is resident after each cell".to_owned(), plot));
    Ok(found)
}

/// What a cell asks, without how much is under way.
fn family(result: &CellResult) -> &'static str {
    result.cell.name.split('-').next().unwrap_or_default()
}

/// All points of the lines, with some room.
fn across(lines: &[Line]) -> Range<f64> {
    let values = || lines.iter().flatten().map(|&(value, _)| value);
    values().fold(f64::MAX, f64::min) - 0.2..values().fold(f64::MIN, f64::max) + 0.2
}

/// Operations a second, round by round.
pub(super) fn rates(result: &CellResult) -> Result<String> {
    let lines: Vec<Line> = (0..result.names.len())
        .map(|at| {
            let rates = result.rounds.iter().map(|round| round[at].slice.rate());
            rates.enumerate().map(|(round, rate)| ((round + 1) as f64, rate)).collect()
        })
        .collect();
    let across = 0.0..(result.rounds.len() + 1) as f64;
    plot("operations a second, by round", &result.names, &lines, across)
}

/// How slow one in so many is, in microseconds, over all rounds.
pub(super) fn latencies(result: &CellResult) -> Result<String> {
    let line = |at: usize| {
        let mut all: Histogram<u64> = new_histogram();
        for round in &result.rounds {
            all.add(&round[at].slice.reads).expect("all have the same bounds");
            all.add(&round[at].slice.writes).expect("all have the same bounds");
        }
        let seen = ONE_IN.iter().filter(|&&one_in| one_in <= all.len() as f64);
        let point = |one_in: &f64| {
            let us = all.value_at_quantile(1.0 - 1.0 / one_in) as f64 / 1e3;
            (one_in.log10(), us)
        };
        seen.map(point).collect()
    };
    let lines: Vec<Line> = (0..result.names.len()).map(line).collect();
    plot("\u{b5}s that one in 10^x takes longer than", &result.names, &lines, 0.0..5.0)
}

/// One line for each contestant; upwards is logarithmic.
fn plot(caption: &str, names: &[String], lines: &[Line], across: Range<f64>) -> Result<String> {
    let values = || lines.iter().flatten().map(|&(_, value)| value.max(f64::MIN_POSITIVE));
    let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(caption, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(72)
            .build_cartesian_2d(across, (least / 1.5..most * 1.5).log_scale())?;
        chart.configure_mesh().light_line_style(WHITE).draw()?;
        for (at, (name, line)) in names.iter().zip(lines).enumerate() {
            let color = Palette99::pick(at).to_rgba();
            chart
                .draw_series(LineSeries::new(line.iter().copied(), color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
            let points = line.iter().map(|&point| Circle::new(point, 3, color.filled()));
            chart.draw_series(points)?;
        }
        chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
        area.present()?;
    }
    Ok(svg)
}
