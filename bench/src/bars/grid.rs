//! P30, the twin of all bars: in no cell of the grid of clients and reads is Farwatch slower than ZooKeeper.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::table::{Line, Verdict, shown};
use super::{Alone, Setup, Voters};
use crate::load::cells::{Cell, VALUE_BYTES};
use crate::load::referee::{self, Contestant, Pace, Spread};
use crate::load::report::{FARWATCH, ZOOKEEPER};
use crate::load::{Kind, Workload};
use crate::subject::Options;

/// Sessions, each with one request under way.
const CLIENTS: [usize; 7] = [1, 2, 4, 8, 16, 64, 256];

/// Of a hundred requests so many read, the others set.
const READS: [u8; 6] = [0, 25, 50, 75, 90, 100];

/// A slice of a cell is this part of what other bars take: there are many cells.
pub const SLICE_PART: u32 = 4;

/// Few, as every cell makes them for itself.
const KEYS: usize = 1_000;

/// One cell: Farwatch's rate, times ZooKeeper's.
struct Found {
    clients: usize,
    reads: u8,
    ratio: Spread,
    /// Rounds in which the ceiling strayed, and whether they count, as too few others were calm.
    void: usize,
    unsteady: bool,
}

pub fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let alone = Alone::start(setup, &Options::new())?;
    let mut lines = vec![line("one server", &cells(setup, &alone.contestants())?)];
    drop(alone);
    let voters = Voters::start(setup, &Options::new())?;
    lines.push(line("three voters", &cells(setup, &voters.contestants())?));
    Ok(lines)
}

fn cells(setup: &Setup, contestants: &[Contestant]) -> Result<Vec<Found>> {
    let slice = setup.pace.slice / SLICE_PART;
    let pace = Pace { slice, warm_up: slice.min(Duration::from_millis(250)), ..setup.pace };
    let mut all = Vec::new();
    for clients in CLIENTS {
        for reads in READS {
            let kind = Kind::Mix { read_percent: reads };
            let workload = Workload {
                kind,
                connections: clients,
                value_bytes: VALUE_BYTES,
                keys: KEYS,
                ..Workload::default()
            };
            let cell = Cell { name: "grid", workload, expected: None };
            let result = referee::measure(cell, contestants, pace)?;
            let places = result.place(FARWATCH).zip(result.place(ZOOKEEPER));
            if let Some((ours, theirs)) = places {
                let ratio = result.ratio(ours, theirs, |it| it.slice.rate());
                let (void, unsteady) = (result.void, result.unsteady);
                all.push(Found { clients, reads, ratio, void, unsteady });
            }
        }
    }
    Ok(all)
}

fn line(servers: &str, cells: &[Found]) -> Line {
    let least = cells.iter().min_by(|a, b| a.ratio.median.total_cmp(&b.ratio.median));
    let below: Vec<String> = cells.iter().filter(|it| it.ratio.median < 1.0).map(told).collect();
    let measured = least.map_or("nothing to compare with".to_owned(), |least| {
        let reached = cells.len() - below.len();
        format!("{reached} of {} cells; the least {}{}", cells.len(), told(least), calm(cells))
    });
    Line {
        bar: "P30",
        what: format!("no cell of the grid below ZooKeeper, {servers}"),
        wanted: "≥ 1x in every cell".to_owned(),
        measured,
        beside: if below.is_empty() { by_clients(cells) } else { below.join(", ") },
        verdict: Verdict::all(&[least.map(|it| 1.0 <= it.ratio.median)]),
        rounds: cells.iter().map(json_of).collect(),
    }
}

/// How often the ceiling strayed; nothing where it never did.
fn calm(cells: &[Found]) -> String {
    let void: usize = cells.iter().map(|it| it.void).sum();
    let unsteady = cells.iter().filter(|it| it.unsteady).count();
    match (void, unsteady) {
        (0, _) => String::new(),
        (_, 0) => format!("; {void} rounds void"),
        _ => format!("; {void} rounds void, {unsteady} cells unsteady"),
    }
}

fn told(it: &Found) -> String {
    format!("{}x at {} clients, {} % reads", shown(it.ratio, 2), it.clients, it.reads)
}

/// The least of each number of clients.
fn by_clients(cells: &[Found]) -> String {
    let least = CLIENTS.iter().filter_map(|&clients| {
        let of = cells.iter().filter(|it| it.clients == clients);
        let least = of.map(|it| it.ratio.median).min_by(f64::total_cmp)?;
        Some(format!("{clients}: {least:.2}x"))
    });
    least.collect::<Vec<_>>().join(", ")
}

fn json_of(it: &Found) -> Value {
    let Spread { median, min, max } = it.ratio;
    json!({
        "clients": it.clients, "reads": it.reads, "median": median, "min": min, "max": max,
        "void": it.void, "unsteady": it.unsteady,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(clients: usize, median: f64) -> Found {
        let ratio = Spread { median, min: median, max: median };
        Found { clients, reads: 50, ratio, void: 0, unsteady: false }
    }

    #[test]
    fn rounds_in_which_the_ceiling_strayed_are_told() {
        let void = Found { void: 2, ..found(1, 2.0) };
        let measured = |cells: &[Found]| line("one server", cells).measured;
        assert!(measured(&[void, found(64, 3.0)]).ends_with("50 % reads; 2 rounds void"));
        let unsteady = Found { void: 5, unsteady: true, ..found(1, 2.0) };
        assert!(measured(&[unsteady]).ends_with("; 5 rounds void, 1 cells unsteady"));
    }

    #[test]
    fn one_cell_below_is_a_miss_and_is_named() {
        let line = line("one server", &[found(1, 0.9), found(64, 2.0)]);
        assert_eq!(line.verdict, Verdict::Missed);
        assert_eq!(line.beside, "0.90 (0.90-0.90)x at 1 clients, 50 % reads");
        assert!(line.measured.starts_with("1 of 2 cells; the least 0.90"), "{}", line.measured);
    }

    #[test]
    fn all_above_are_met_and_nothing_to_compare_with_is_open() {
        let met = line("one server", &[found(1, 1.5), found(1, 1.2), found(64, 2.0)]);
        assert_eq!((met.verdict, &met.beside[..]), (Verdict::Met, "1: 1.20x, 64: 2.00x"));
        assert_eq!(line("one server", &[]).verdict, Verdict::Open);
    }
}
