//! What the referee found, as text for a terminal and as a table for `docs/performance.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::referee::{CellResult, Measured, Spread};
use super::startup::StartUp;

/// The lines between which a document's table is replaced.
pub const MARKS: [&str; 2] = ["<!-- bench: begin -->", "<!-- bench: end -->"];

/// The same for ensembles: their table stands in a place of its own.
pub const ENSEMBLE_MARKS: [&str; 2] =
    ["<!-- bench of an ensemble: begin -->", "<!-- bench of an ensemble: end -->"];

/// The name under which the canned server contends.
pub const CEILING: &str = "ceiling";
/// The name under which ZooKeeper contends.
pub const ZOOKEEPER: &str = "zookeeper";
/// The name under which Farwatch contends.
pub const FARWATCH: &str = "farwatch";

fn rate(measured: &Measured) -> f64 {
    measured.slice.rate()
}

fn cpu(measured: &Measured) -> f64 {
    measured.cpu_us
}

fn p50(measured: &Measured) -> f64 {
    measured.slice.quantile_us(0.50)
}

fn p99(measured: &Measured) -> f64 {
    measured.slice.quantile_us(0.99)
}

fn p999(measured: &Measured) -> f64 {
    measured.slice.quantile_us(0.999)
}

/// One contestant of one cell in a line.
#[must_use]
pub fn terminal(result: &CellResult) -> String {
    let mut text = String::new();
    let note = match (result.unsteady, result.void) {
        (true, void) => format!(", unsteady: the ceiling strayed in {void} and they are counted"),
        (false, 0) => String::new(),
        (false, void) => format!(", {void} void"),
    };
    let rounds = result.rounds.len();
    writeln!(text, "{} ({rounds} rounds{note})", result.cell.name).expect("a String");
    for (at, name) in result.names.iter().enumerate() {
        let (rates, cpus) = (result.figure(at, rate), result.figure(at, cpu));
        let [p50, p99, p999] = [p50, p99, p999].map(|of| result.figure(at, of).median);
        writeln!(
            text,
            "  {name:<12} {:>9.0}/s ({:.0}-{:.0})  p50 {p50:>7.0} us  p99 {p99:>8.0} us  p99.9 {p999:>8.0} us  \
             cpu {:>7.2} us/op",
            rates.median, rates.min, rates.max, cpus.median
        )
        .expect("a String");
    }
    let Some(ours) = result.place(FARWATCH) else { return text };
    for (at, name) in result.names.iter().enumerate().filter(|(at, _)| *at != ours) {
        let (faster, cheaper) = (result.ratio(ours, at, rate), result.ratio(ours, at, cpu));
        writeln!(text, "  {FARWATCH} / {name}: rate {} cpu {}", spread(faster), spread(cheaper))
            .expect("a String");
    }
    text
}

fn spread(spread: Spread) -> String {
    format!("{:.2} ({:.2}-{:.2})", spread.median, spread.min, spread.max)
}

/// The table of all cells.
#[must_use]
pub fn markdown(results: &[CellResult], starts: &[StartUp]) -> String {
    let mut text = String::from(
        "| load | ceiling, k/s | ZooKeeper, k/s | Farwatch, k/s | Farwatch / ZooKeeper | expected | \
         of ceiling | p99 ms ZooKeeper → Farwatch | CPU µs/op ceiling, ZooKeeper → Farwatch | \
         CPU / ZooKeeper's | rounds |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for result in results {
        if let Some(row) = row(result) {
            text.push_str(&row);
        }
    }
    text.push_str(&other_binaries(results));
    for start in starts {
        let seconds = start.seconds();
        writeln!(
            text,
            "\nStart with {} nodes of {} bytes to the first answer, {}: median {:.2} s \
             ({:.2}-{:.2}), {:.0} MB resident.",
            start.nodes,
            start.value_bytes,
            start.name,
            seconds.median,
            seconds.min,
            seconds.max,
            start.resident_bytes as f64 / 1e6
        )
        .expect("a String");
    }
    text
}

/// `None` where Farwatch did not contend. What is measured of nobody else has a dash.
fn row(result: &CellResult) -> Option<String> {
    let ours = result.place(FARWATCH)?;
    let (ceiling, theirs) = (result.place(CEILING), result.place(ZOOKEEPER));
    let dash = || "-".to_owned();
    let figure = |at: Option<usize>, of: fn(&Measured) -> f64, unit: f64, decimals: usize| {
        at.map_or_else(dash, |at| format!("{:.decimals$}", result.figure(at, of).median / unit))
    };
    let thousands = |at| figure(at, rate, 1e3, 1);
    let expected = result.cell.expected.map_or_else(dash, |it| format!("≥ {it}x"));
    let times =
        theirs.map_or_else(dash, |at| format!("**{}x**", spread(result.ratio(ours, at, rate))));
    let of_ceiling = ceiling.map_or_else(dash, |at| spread(result.ratio(ours, at, rate)));
    let cheaper =
        theirs.map_or_else(dash, |at| format!("{:.3}", result.ratio(ours, at, cpu).median));
    let rounds = rounds(result);
    Some(format!(
        "| {} | {} | {} | {} | {times} | {expected} | {of_ceiling} | {} → {} | {}, {} → {} | {cheaper} | \
         {rounds} |\n",
        result.cell.name,
        thousands(ceiling),
        thousands(theirs),
        thousands(Some(ours)),
        figure(theirs, p99, 1e3, 2),
        figure(Some(ours), p99, 1e3, 2),
        figure(ceiling, cpu, 1.0, 2),
        figure(theirs, cpu, 1.0, 2),
        figure(Some(ours), cpu, 1.0, 2),
    ))
}

/// How many rounds of which length count, and how many did not.
pub(super) fn rounds(result: &CellResult) -> String {
    let turns = result.turns();
    match (result.unsteady, result.void) {
        (true, void) => format!("{turns}, unsteady in {void}"),
        (false, void) => format!("{turns} + {void} void"),
    }
}

/// Farwatch beside each other binary of the same run, such as that of the commit before; nothing where there was
/// none.
fn other_binaries(results: &[CellResult]) -> String {
    let mut text = String::new();
    for result in results {
        let Some(ours) = result.place(FARWATCH) else { continue };
        for (at, name) in result.names.iter().enumerate() {
            if [CEILING, ZOOKEEPER, FARWATCH].contains(&name.as_str()) {
                continue;
            }
            let median = |at, of: fn(&Measured) -> f64| result.figure(at, of).median;
            writeln!(
                text,
                "| {} | {name} | {:.1} → {:.1} | **{}x** | {:.2} → {:.2} | {}x | {:.2} → {:.2} | {}x | {} |",
                result.cell.name,
                median(at, rate) / 1e3,
                median(ours, rate) / 1e3,
                spread(result.ratio(ours, at, rate)),
                median(at, p99) / 1e3,
                median(ours, p99) / 1e3,
                spread(result.ratio(ours, at, p99)),
                median(at, cpu),
                median(ours, cpu),
                spread(result.ratio(ours, at, cpu)),
                rounds(result)
            )
            .expect("a String");
        }
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "\n| load | beside | k/s, it → Farwatch | Farwatch / it | p99 ms | Farwatch's / its | CPU µs/op | \
         Farwatch's / its | rounds |\n|---|---|---|---|---|---|---|---|---|\n{text}"
    )
}

/// Latencies of all cells and contestants, medians of the rounds, each of which has a histogram of its own.
#[must_use]
pub fn latencies(results: &[CellResult]) -> String {
    let mut text = String::from(
        "| load | server | p50 µs | p99 µs | p99.9 µs | the longest, µs |\n|---|---|---|---|---|---|\n",
    );
    let longest = |it: &Measured| it.slice.quantile_us(1.0);
    for result in results {
        for (at, name) in result.names.iter().enumerate() {
            let [p50, p99, p999] = [p50, p99, p999].map(|of| result.figure(at, of).median);
            let (load, longest) = (result.cell.name, result.figure(at, longest).max);
            writeln!(text, "| {load} | {name} | {p50:.0} | {p99:.0} | {p999:.0} | {longest:.0} |")
                .expect("a String");
        }
    }
    text
}

/// Puts `table` between these marks of a document.
pub fn replace_between(marks: [&str; 2], document: &Path, table: &str) -> Result<()> {
    let name = document.display();
    let text = fs::read_to_string(document).with_context(|| format!("{name} cannot be read"))?;
    let replaced = replaced(marks, &text, table)
        .with_context(|| format!("{name} lacks the lines {} and {}", marks[0], marks[1]))?;
    fs::write(document, replaced).with_context(|| format!("{name} cannot be written"))
}

fn replaced(marks: [&str; 2], text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(marks[0])?;
    let (_, behind) = rest.split_once(marks[1])?;
    Some(format!("{before}{}\n\n{table}\n{}{behind}", marks[0], marks[1]))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Slice, cells};
    use super::*;

    fn measured(operations: u64, nanos: u64) -> Measured {
        let mut slice = Slice::empty();
        (slice.operations, slice.elapsed) = (operations, Duration::from_secs(1));
        slice.reads.record_n(nanos, operations).expect("within bounds");
        Measured { slice, cpu_us: 2.0, resident_bytes: 0 }
    }

    fn result(names: &[&str], rounds: Vec<Vec<Measured>>) -> CellResult {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let cell = cells::named("read-1").expect("a cell");
        CellResult { cell, names, rounds, void: 0, unsteady: false }
    }

    #[test]
    fn where_zookeeper_is_left_out_the_ratio_to_the_ceiling_is_told() {
        let rounds = [500, 900].map(|ours| vec![measured(1_000, 1_000), measured(ours, 4_000)]);
        let results = [result(&[CEILING, FARWATCH], rounds.to_vec())];
        let table = markdown(&results, &[]);
        let row = table.lines().last().expect("a row");
        assert!(row.starts_with("| read-1 | 1.0 | - | 0.7 | - | - | 0.70 (0.50-0.90) |"), "{row}");
        let latencies = latencies(&results);
        let row = latencies.lines().last().expect("a row");
        assert_eq!(row, "| read-1 | farwatch | 4 | 4 | 4 | 4 |");
        assert!(terminal(&results[0]).contains("farwatch / ceiling: rate 0.70 (0.50-0.90)"));
    }

    #[test]
    fn another_binary_of_the_run_has_a_row_with_the_ratio_of_the_two() {
        let rounds = [1_000, 3_000].map(|ours| {
            [1_000, 2_000, ours].map(|operations| measured(operations, 8_000)).to_vec()
        });
        let results = [result(&[CEILING, "before", FARWATCH], rounds.to_vec())];
        let table = markdown(&results, &[]);
        let row = table.lines().last().expect("a row");
        let expected = "| read-1 | before | 2.0 → 2.0 | **1.00 (0.50-1.50)x** | 0.01 → 0.01 | \
                        1.00 (1.00-1.00)x | 2.00 → 2.00 | 1.00 (1.00-1.00)x | 2 × 1 s + 0 void |";
        assert_eq!(row, expected, "{table}");
    }

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = format!("head\n{}\nold\n{}\ntail\n", MARKS[0], MARKS[1]);
        let new = replaced(MARKS, &text, "new\n").expect("marks");
        assert_eq!(new, format!("head\n{}\n\nnew\n\n{}\ntail\n", MARKS[0], MARKS[1]));
        assert_eq!(replaced(MARKS, &new, "new\n").expect("marks"), new);
        assert_eq!(replaced(MARKS, "no marks", "new"), None);
    }
}
