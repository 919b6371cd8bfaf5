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

fn p99(measured: &Measured) -> f64 {
    measured.slice.quantile_us(0.99)
}

fn p50(measured: &Measured) -> f64 {
    measured.slice.quantile_us(0.50)
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
        let (p50s, p99s) = (result.figure(at, p50), result.figure(at, p99));
        writeln!(
            text,
            "  {name:<12} {:>9.0}/s ({:.0}-{:.0})  p50 {:>7.0} us  p99 {:>8.0} us  cpu {:>7.2} us/op",
            rates.median, rates.min, rates.max, p50s.median, p99s.median, cpus.median
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

fn row(result: &CellResult) -> Option<String> {
    let [ceiling, theirs, ours] =
        [result.place(CEILING)?, result.place(ZOOKEEPER)?, result.place(FARWATCH)?];
    let thousands = |at| result.figure(at, rate).median / 1e3;
    let expected = result.cell.expected.map_or_else(|| "-".to_owned(), |it| format!("≥ {it}x"));
    let [cpu_ceiling, cpu_theirs, cpu_ours] =
        [ceiling, theirs, ours].map(|at| result.figure(at, cpu).median);
    let rounds = match (result.unsteady, result.void) {
        (true, void) => format!("{}, unsteady in {void}", result.rounds.len()),
        (false, void) => format!("{} + {void} void", result.rounds.len()),
    };
    Some(format!(
        "| {} | {:.1} | {:.1} | {:.1} | **{}x** | {expected} | {:.2} | {:.2} → {:.2} | \
         {cpu_ceiling:.2}, {cpu_theirs:.2} → {cpu_ours:.2} | {:.3} | {rounds} |\n",
        result.cell.name,
        thousands(ceiling),
        thousands(theirs),
        thousands(ours),
        spread(result.ratio(ours, theirs, rate)),
        result.ratio(ours, ceiling, rate).median,
        result.figure(theirs, p99).median / 1e3,
        result.figure(ours, p99).median / 1e3,
        result.ratio(ours, theirs, cpu).median,
    ))
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
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = format!("head\n{}\nold\n{}\ntail\n", MARKS[0], MARKS[1]);
        let new = replaced(MARKS, &text, "new\n").expect("marks");
        assert_eq!(new, format!("head\n{}\n\nnew\n\n{}\ntail\n", MARKS[0], MARKS[1]));
        assert_eq!(replaced(MARKS, &new, "new\n").expect("marks"), new);
        assert_eq!(replaced(MARKS, "no marks", "new"), None);
    }
}
