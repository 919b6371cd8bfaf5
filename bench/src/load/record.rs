//! One run of the referee as JSON, with the machine that it ran on, and as a page with plots.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::plots;
use super::referee::{CellResult, DRIFT_MAX, Measured};

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
        "command": std::env::args().collect::<Vec<_>>().join(" "),
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
        "resident_bytes": measured.resident_bytes,
        "reads": quantiles(&measured.slice.reads),
        "writes": quantiles(&measured.slice.writes),
    })
}

/// Writes a page that needs nothing else: the table, what is seen over all cells, and for each cell the
/// rates round by round and the latencies of all rounds.
pub fn write_page(file: &Path, run: &Value, table: &str, results: &[CellResult]) -> Result<()> {
    let mut page = String::from(
        "<!doctype html><meta charset=\"utf-8\"><title>farwatch-bench</title>\n\
         <style>body{font:15px sans-serif;max-width:84em;margin:2em auto}\
         pre{overflow-x:auto;background:#f4f4f4;padding:1em}</style>\n<h1>farwatch-bench compare</h1>\n",
    );
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
    let facts = serde_json::to_string_pretty(&run["machine"])?;
    writeln!(page, "<pre>{}</pre>\n<pre>{}</pre>", escaped(table), escaped(&facts))?;
    for (title, plot) in plots::over_cells(results).context("plotting what is seen over cells")? {
        writeln!(page, "<h2>{title}</h2>\n{plot}")?;
    }
    for result in results {
        let name = result.cell.name;
        let rates =
            plots::rates(result).with_context(|| format!("plotting the rates of {name}"))?;
        let latencies = plots::latencies(result).with_context(|| format!("plotting {name}"))?;
        writeln!(page, "<h2>{name}</h2>\n{rates}\n{latencies}")?;
    }
    fs::write(file, page).with_context(|| format!("{} cannot be written", file.display()))
}

/// Writes one page of Markdown: what ran where, the table, and how to read it.
pub fn write_summary(file: &Path, run: &Value, table: &str) -> Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let before = &run["machine"]["before"];
    let load = |at: &str| run["machine"][at]["load_average"][0].as_str().unwrap_or("?").to_owned();
    let others = before["in_use_by_others"].as_f64();
    let others = others.map_or_else(String::new, |share| {
        format!(" Before it began others used {:.0} % of the processors.", share * 100.0)
    });
    let summary = format!(
        "# farwatch-bench compare\n\n\
         `{}`\n\n\
         Servers of each subject: {}. {} processors, {}, {}, Linux {}; load average {} before and {} after.{others}\n\n\
         {table}\n\
         Rates, latencies and CPU are medians of the rounds that count; a ratio is the median of what it is in each \
         round, with the least and the greatest. A round in which the canned server (ceiling), which only \
         answers, strayed by more than {:.0} % from its median is void and was repeated; where the table says \
         *unsteady* too few rounds were calm, and void ones are counted. In `NxM`, N connections have M requests under \
         way each.\n",
        text(&before["command"]),
        run["voters"],
        before["processors"],
        text(&before["processor"]),
        text(&before["memory"]),
        text(&before["kernel"]),
        load("before"),
        load("after"),
        DRIFT_MAX * 100.0,
    );
    fs::write(file, summary).with_context(|| format!("{} cannot be written", file.display()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Slice;
    use super::super::cells;
    use super::*;

    fn measured(nanos: u64) -> Measured {
        let mut slice = Slice::empty();
        (slice.operations, slice.elapsed) = (4, Duration::from_secs(2));
        slice.reads.record_n(nanos, 4).expect("within bounds");
        Measured { slice, cpu_us: 1.5, resident_bytes: 2_000_000 }
    }

    #[test]
    fn a_run_is_written_with_its_machine_its_rounds_and_its_plots() {
        let names = vec!["ceiling".to_owned(), "<us>".to_owned()];
        let rounds = vec![vec![measured(1_000), measured(64_000)]; 3];
        let result = |cell: &str| CellResult {
            cell: cells::named(cell).expect("a cell"),
            names: names.clone(),
            rounds: rounds.clone(),
            void: 1,
            unsteady: false,
        };
        // Two of a family, two of the curve of read ratios.
        let results = ["read-1", "read-64", "curve-000", "curve-100"].map(result);
        let run = json(3, &machine(), &results);
        let round = &run["cells"][0]["rounds"][2]["<us>"];
        assert_eq!((&round["per_second"], &round["reads"]["count"]), (&json!(2.0), &json!(4)));
        assert_eq!(round["resident_bytes"], json!(2_000_000));
        assert!(run["machine"]["after"]["processors"].as_u64() > Some(0));
        let file = tempfile::NamedTempFile::new().expect("a file");
        write_page(file.path(), &run, "| a < b |", &results).expect("a page");
        let page = fs::read_to_string(file.path()).expect("it was written");
        assert_eq!(page.matches("<svg").count(), 2 * results.len() + 3);
        assert!(page.contains("a &lt; b") && page.contains("one in 10^x"), "{page}");
        for seen in ["read: throughput and latency", "by share of reads", "resident"] {
            assert!(page.contains(seen), "{seen}: {page}");
        }
        assert!(page.contains("&lt;us&gt;"), "a name is no markup: {page}");
        write_summary(file.path(), &run, "| a | b |").expect("a summary");
        let summary = fs::read_to_string(file.path()).expect("it was written");
        assert!(
            summary.contains("Servers of each subject: 3.") && summary.contains("| a | b |"),
            "{summary}"
        );
    }
}
