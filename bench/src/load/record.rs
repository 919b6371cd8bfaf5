//! One run of the referee as JSON, with the machine that it ran on, and as a page with plots.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use plotters::prelude::{
    BLACK, ChartBuilder, Circle, IntoDrawingArea, IntoLogRange, LineSeries, PathElement,
    SVGBackend, WHITE,
};
use plotters::style::{Color, Palette, Palette99};
use serde_json::{Value, json};

use super::new_histogram;
use super::referee::{CellResult, Measured};

/// Of each plot, in pixels.
const SIZE: (u32, u32) = (640, 360);

/// What a plot shows of latencies: from the middle to one in a hundred thousand, by how many of so
/// many are slower.
const ONE_IN: [f64; 11] =
    [2.0, 4.0, 10.0, 20.0, 50.0, 100.0, 200.0, 1_000.0, 2_000.0, 10_000.0, 100_000.0];

/// What figures of this machine depend on.
#[must_use]
pub fn machine() -> Value {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "processor": field(&read("/proc/cpuinfo"), "model name"),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_average": read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>(),
        "unix_seconds": since.as_secs(),
    })
}

/// The run: the machine before and after it, and each round of each cell.
#[must_use]
pub fn json(voters: u32, before: &Value, results: &[CellResult]) -> Value {
    json!({
        "voters": voters,
        "machine": { "before": before, "after": machine() },
        "cells": results.iter().map(cell_json).collect::<Vec<_>>(),
    })
}

/// Each round of one cell.
pub(crate) fn cell_json(result: &CellResult) -> Value {
    let rounds = result.rounds.iter().map(|round| {
        let measured = result.names.iter().zip(round).map(|(name, it)| (name.clone(), one(it)));
        Value::Object(measured.collect())
    });
    json!({
        "cell": result.cell.name,
        "void": result.void,
        "unsteady": result.unsteady,
        "rounds": rounds.collect::<Vec<_>>(),
    })
}

fn one(measured: &Measured) -> Value {
    let quantiles = |histogram: &Histogram<u64>| {
        let us = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
        json!({
            "count": histogram.len(),
            "p50_us": us(0.5), "p90_us": us(0.9), "p99_us": us(0.99), "p99.9_us": us(0.999),
            "longest_us": us(1.0),
        })
    };
    json!({
        "per_second": measured.slice.rate(),
        "cpu_us": measured.cpu_us,
        "reads": quantiles(&measured.slice.reads),
        "writes": quantiles(&measured.slice.writes),
    })
}

/// Writes a page that needs nothing else: the table, and for each cell the rates round by round and
/// the latencies of all rounds.
pub fn write_page(file: &Path, run: &Value, table: &str, results: &[CellResult]) -> Result<()> {
    let mut page = String::from(
        "<!doctype html><meta charset=\"utf-8\"><title>farwatch-bench</title>\n\
         <style>body{font:15px sans-serif;max-width:84em;margin:2em auto}\
         pre{overflow-x:auto;background:#f4f4f4;padding:1em}</style>\n<h1>farwatch-bench compare</h1>\n",
    );
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    let facts = serde_json::to_string_pretty(&run["machine"])?;
    writeln!(page, "<pre>{}</pre>\n<pre>{}</pre>", escaped(table), escaped(&facts))?;
    for result in results {
        let name = result.cell.name;
        let rates = rates(result).with_context(|| format!("plotting the rates of {name}"))?;
        let latencies = latencies(result).with_context(|| format!("plotting {name}"))?;
        writeln!(page, "<h2>{name}</h2>\n{rates}\n{latencies}")?;
    }
    fs::write(file, page).with_context(|| format!("{} cannot be written", file.display()))
}

/// Operations a second, round by round.
fn rates(result: &CellResult) -> Result<String> {
    let lines: Vec<Vec<(f64, f64)>> = (0..result.names.len())
        .map(|at| {
            let rates = result.rounds.iter().map(|round| round[at].slice.rate());
            rates.enumerate().map(|(round, rate)| ((round + 1) as f64, rate)).collect()
        })
        .collect();
    plot("operations a second, by round", result, &lines, 0.0..(result.rounds.len() + 1) as f64)
}

/// How slow one in so many is, in microseconds, over all rounds.
fn latencies(result: &CellResult) -> Result<String> {
    let line = |at: usize| {
        let mut all = new_histogram();
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
    let lines: Vec<Vec<(f64, f64)>> = (0..result.names.len()).map(line).collect();
    plot("µs that one in 10^x takes longer than", result, &lines, 0.0..5.0)
}

/// One line for each contestant; upwards is logarithmic.
fn plot(
    caption: &str,
    result: &CellResult,
    lines: &[Vec<(f64, f64)>],
    across: std::ops::Range<f64>,
) -> Result<String> {
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
        for (at, (name, line)) in result.names.iter().zip(lines).enumerate() {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Slice;
    use super::super::cells::CELLS;
    use super::*;

    fn measured(nanos: u64) -> Measured {
        let mut slice = Slice::empty();
        (slice.operations, slice.elapsed) = (4, Duration::from_secs(2));
        slice.reads.record_n(nanos, 4).expect("within bounds");
        Measured { slice, cpu_us: 1.5 }
    }

    #[test]
    fn a_run_is_written_with_its_machine_its_rounds_and_its_plots() {
        let names = vec!["ceiling".to_owned(), "<us>".to_owned()];
        let rounds = vec![vec![measured(1_000), measured(64_000)]; 3];
        let result = CellResult { cell: CELLS[0], names, rounds, void: 1, unsteady: false };
        let run = json(3, &machine(), std::slice::from_ref(&result));
        let round = &run["cells"][0]["rounds"][2]["<us>"];
        assert_eq!((&round["per_second"], &round["reads"]["count"]), (&json!(2.0), &json!(4)));
        assert!(run["machine"]["after"]["processors"].as_u64() > Some(0));
        let file = tempfile::NamedTempFile::new().expect("a file");
        write_page(file.path(), &run, "| a < b |", &[result]).expect("a page");
        let page = fs::read_to_string(file.path()).expect("it was written");
        assert_eq!(page.matches("<svg").count(), 2);
        assert!(page.contains("a &lt; b") && page.contains("one in 10^x"), "{page}");
        assert!(page.contains("&lt;us&gt;"), "a name is no markup: {page}");
    }
}
