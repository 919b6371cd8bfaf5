//! The curve of ZooKeeper's paper: operations a second by the share of reads, from writes alone to reads alone.

use std::fmt::Write as _;

use serde_json::Value;

use super::record::{day, described};
use super::referee::{CellResult, Measured, Spread};
use super::report::{CEILING, FARWATCH, ZOOKEEPER, rounds};

/// The lines between which a document's table is replaced, of one server.
pub const MARKS: [&str; 2] =
    ["<!-- bench of the curve: begin -->", "<!-- bench of the curve: end -->"];

/// The same of ensembles.
pub const ENSEMBLE_MARKS: [&str; 2] = [
    "<!-- bench of the curve of an ensemble: begin -->",
    "<!-- bench of the curve of an ensemble: end -->",
];

/// The table of those of `results` that are of the curve, and how they were measured; `None` where none is.
#[must_use]
pub fn markdown(voters: u32, machine: &Value, results: &[CellResult]) -> Option<String> {
    let rows: Vec<String> = results.iter().filter_map(row).collect();
    if rows.is_empty() {
        return None;
    }
    let mut text = String::from(
        "| reads | ceiling, k/s | ZooKeeper, k/s | Farwatch, k/s | Farwatch / ZooKeeper | \
         p99 ms ZooKeeper → Farwatch | CPU µs/op ZooKeeper → Farwatch | rounds |\n|---|---|---|---|---|---|---|---|\n",
    );
    rows.iter().for_each(|row| text.push_str(row));
    let others = machine["in_use_by_others"].as_f64().unwrap_or_default();
    writeln!(
        text,
        "\n{}, servers of each: {voters}; others used {:.0} % of the processors before it. {}",
        day(machine["unix_seconds"].as_u64().unwrap_or_default()),
        others * 100.0,
        described(machine).trim_end()
    )
    .expect("a String takes it");
    Some(text)
}

/// `None` of a cell that is not of the curve.
fn row(result: &CellResult) -> Option<String> {
    let percent = result.cell.percent_of_curve()?;
    let figure =
        |name: &str, of: fn(&Measured) -> f64| Some(result.figure(result.place(name)?, of));
    let rate = |it: &Measured| it.slice.rate() / 1e3;
    let rates = |name: &str| shown(figure(name, rate), 1);
    let ratio = result.place(FARWATCH).zip(result.place(ZOOKEEPER));
    let ratio = ratio.map(|(ours, theirs)| result.ratio(ours, theirs, rate));
    let median = |name: &str, of: fn(&Measured) -> f64| {
        figure(name, of).map_or_else(|| "-".to_owned(), |it| format!("{:.2}", it.median))
    };
    let p99 = |name: &str| median(name, |it| it.slice.quantile_us(0.99) / 1e3);
    let cpu = |name: &str| median(name, |it| it.cpu_us);
    Some(format!(
        "| {percent} % | {} | {} | {} | **{}** | {} → {} | {} → {} | {} |\n",
        rates(CEILING),
        rates(ZOOKEEPER),
        rates(FARWATCH),
        shown(ratio, 2),
        p99(ZOOKEEPER),
        p99(FARWATCH),
        cpu(ZOOKEEPER),
        cpu(FARWATCH),
        rounds(result),
    ))
}

/// A dash where it was not measured.
fn shown(spread: Option<Spread>, decimals: usize) -> String {
    spread.map_or_else(
        || "-".to_owned(),
        |Spread { median, min, max }| {
            format!("{median:.decimals$} ({min:.decimals$}-{max:.decimals$})")
        },
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::super::{Slice, cells};
    use super::*;

    fn result(cell: &str) -> CellResult {
        let measured = |operations| {
            let mut slice = Slice::empty();
            (slice.operations, slice.elapsed) = (operations, Duration::from_secs(1));
            slice.writes.record_n(2_000_000, operations).expect("within bounds");
            Measured { slice, cpu_us: 3.0, resident_bytes: 0 }
        };
        CellResult {
            cell: cells::named(cell).expect("a cell"),
            names: [CEILING, ZOOKEEPER, FARWATCH].map(str::to_owned).to_vec(),
            rounds: vec![[9_000, 1_000, 4_000].map(measured).to_vec()],
            void: 0,
            unsteady: false,
        }
    }

    #[test]
    fn the_curve_is_a_table_by_shares_of_reads_and_other_cells_are_none_of_it() {
        let machine = json!({ "unix_seconds": 0, "in_use_by_others": 0.031, "processor": "P", "processors": 2 });
        let text = markdown(3, &machine, &["read-1", "curve-070"].map(result)).expect("a curve");
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(
            rows[2],
            "| 70 % | 9.0 (9.0-9.0) | 1.0 (1.0-1.0) | 4.0 (4.0-4.0) | **4.00 (4.00-4.00)** | 2.00 → 2.00 | \
             3.00 → 3.00 | 1 × 1 s + 0 void |"
        );
        assert!(rows[4].starts_with("1970-01-01, servers of each: 3; others used 3 %"), "{text}");
        assert_eq!(rows.len(), 5, "{text}");
        assert_eq!(markdown(3, &machine, &[result("read-1")]), None);
    }
}
