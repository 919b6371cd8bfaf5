//! One run of the referee as JSON, with the machine that it ran on, and as a page with plots.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::page::{Page, machine_sentence};
use super::process::{QUIET_MAX, busy_share};
use super::referee::{CellResult, DRIFT_MAX, Measured};

/// How long a look at what others do takes, before anything of this run does.
const LOOK: Duration = Duration::from_secs(2);

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

/// The machine before the run, and how much of its processors others use, which is told at once.
pub(crate) fn machine_and_others() -> Result<Value> {
    let (mut machine, others) = (machine(), busy_share(LOOK)?);
    machine["in_use_by_others"] = json!(others);
    let told = match QUIET_MAX < others {
        true => ": ratios and CPU stand, rates and latencies are those of a busy machine",
        false => "",
    };
    println!("others use {:.0} % of the processors{told}", others * 100.0);
    Ok(machine)
}

/// The machine of what was measured last, in a sentence.
pub(crate) fn described(machine: &Value) -> String {
    let text = |name: &str| machine[name].as_str().unwrap_or("unknown").to_owned();
    format!(
        "Latest on: {}, {} processors, {} of memory, Linux {}.\n",
        text("processor"),
        machine["processors"],
        text("memory"),
        // Behind the dash is whose build it is.
        text("kernel").split('-').next().unwrap_or_default()
    )
}

/// The day of a Unix time, as 2026-11-28.
#[must_use]
pub(crate) fn day(unix_seconds: u64) -> String {
    // Days are counted from 1 March of the year 0, so that leap days end a year.
    let days = unix_seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year_of_era + next)
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
    let mut page = Page::new("farwatch-bench compare");
    page.text(table);
    page.text(&serde_json::to_string_pretty(&run["machine"])?);
    page.cells(results)?;
    page.write(file)
}

/// Writes one page of Markdown: what ran where, the table, and how to read it.
pub fn write_summary(file: &Path, run: &Value, table: &str) -> Result<()> {
    let summary = format!(
        "# farwatch-bench compare\n\n{}\n\
         Servers of each subject: {}.\n\n\
         {table}\n\
         Rates, latencies and CPU are medians of the rounds that count; a ratio is the median of what it is in each \
         round, with the least and the greatest. A round in which the canned server (ceiling), which only \
         answers, strayed by more than {:.0} % from its median is void and was repeated; where the table says \
         *unsteady* too few rounds were calm, and void ones are counted. In `NxM`, N connections have M requests under \
         way each.\n",
        machine_sentence(&run["machine"]),
        run["voters"],
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
    fn days_are_told_around_leap_days_and_ends_of_years() {
        let days = [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_798_761_599, "2026-12-31")];
        for (seconds, expected) in days {
            assert_eq!(day(seconds), expected);
        }
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
