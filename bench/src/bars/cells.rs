//! P1 to P8 and P24: cells of the grid, of one server and of three voters.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::sync_probe::sync_p50;
use super::table::{Line, Verdict, beside, shown};
use super::{Alone, Setup, Voters};
use crate::load::cells::named;
use crate::load::referee::{CellResult, Contestant, Measured, Spread};
use crate::load::report::{CEILING, FARWATCH, ZOOKEEPER};
use crate::subject::Options;

/// The cells of one server, and which bars need them.
const ALONE: [(&str, &[&str]); 5] = [
    ("read-1", &["P3", "P6"]),
    ("read-64", &["P1", "P24"]),
    ("read-16x64", &["P2", "P24"]),
    ("set-1", &["P6"]),
    ("set-16x64", &["P5"]),
];

/// Of three voters.
const THREE: [(&str, &[&str]); 8] = [
    ("set-64x32", &["P4", "P8", "P24"]),
    ("read-1", &["P6"]),
    ("set-1", &["P6"]),
    ("set-64", &["P7"]),
    ("read-64x32", &["P8"]),
    ("mix90-64", &["P8"]),
    ("mix90-64x32", &["P8"]),
    ("mix70-64", &["P8"]),
];

/// The last of them.
const LAST: (&str, &[&str]) = ("mix70-64x32", &["P8"]);

/// A write of one client alone.
const RECORD_BYTES: usize = 4096;

/// A batch of 1,024 writes of 100 bytes, with what else their records hold.
const BATCH_BYTES: usize = 192 << 10;
const BATCH_WRITES: f64 = 1024.0;

fn rate(it: &Measured) -> f64 {
    it.slice.rate()
}

fn cpu(it: &Measured) -> f64 {
    it.cpu_us
}

fn p50(it: &Measured) -> f64 {
    it.slice.quantile_us(0.5)
}

fn p99(it: &Measured) -> f64 {
    it.slice.quantile_us(0.99)
}

fn p999(it: &Measured) -> f64 {
    it.slice.quantile_us(0.999)
}

/// What was measured of one kind of servers.
struct Results(Vec<CellResult>);

impl Results {
    fn measure(
        setup: &Setup,
        cells: &[(&'static str, &'static [&'static str])],
        contestants: &[Contestant],
    ) -> Result<Self> {
        let mut results = Vec::new();
        for (name, bars) in cells {
            if bars.iter().any(|bar| setup.wants(bar)) {
                let cell = named(name).with_context(|| format!("no cell {name}"))?;
                results.push(setup.cell(cell, contestants)?);
            }
        }
        Ok(Self(results))
    }

    fn get(&self, cell: &str) -> Result<View<'_>> {
        let found = self.0.iter().find(|it| it.cell.name == cell);
        Ok(View(found.with_context(|| format!("{cell} was not measured"))?))
    }
}

/// One cell, seen from Farwatch.
#[derive(Clone, Copy)]
struct View<'a>(&'a CellResult);

impl View<'_> {
    fn ours(self, of: fn(&Measured) -> f64) -> Spread {
        self.0.figure(self.0.place(FARWATCH).expect("it contends"), of)
    }

    fn of(self, name: &str, of: fn(&Measured) -> f64) -> Option<Spread> {
        Some(self.0.figure(self.0.place(name)?, of))
    }

    /// Farwatch's figure against another's, round by round.
    fn against(self, name: &str, of: fn(&Measured) -> f64) -> Option<Spread> {
        let ours = self.0.place(FARWATCH)?;
        Some(self.0.ratio(ours, self.0.place(name)?, of))
    }

    fn line(self, bar: &'static str, what: &str, wanted: &str) -> Line {
        let note = if self.0.unsteady { ", unsteady" } else { "" };
        Line {
            bar,
            what: format!("{what} (`{}`{note})", self.0.cell.name),
            wanted: wanted.to_owned(),
            measured: format!(
                "{} k/s, p50 {:.0} µs, p99 {:.0} µs, CPU {:.2} µs",
                shown(scaled(self.ours(rate), 1e-3), 1),
                self.ours(p50).median,
                self.ours(p99).median,
                self.ours(cpu).median
            ),
            beside: String::new(),
            verdict: Verdict::Open,
            rounds: super::rounds_json(self.0),
        }
    }
}

fn scaled(spread: Spread, by: f64) -> Spread {
    Spread { median: spread.median * by, min: spread.min * by, max: spread.max * by }
}

fn median(spread: Option<Spread>) -> Option<f64> {
    spread.map(|it| it.median)
}

pub fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let wants = |cells: &[(&str, &[&str])]| {
        cells.iter().any(|(_, bars)| bars.iter().any(|bar| setup.wants(bar)))
    };
    if wants(&ALONE) {
        let alone = Alone::start(setup, &Options::new())?;
        let results = Results::measure(setup, &ALONE, &alone.contestants())?;
        lines.extend(of_one(setup, &results)?);
    }
    let mut cells = THREE.to_vec();
    cells.push(LAST);
    if wants(&cells) {
        let voters = Voters::start(setup, &Options::new())?;
        let results = Results::measure(setup, &cells, &voters.contestants())?;
        lines.extend(of_three(setup, &results)?);
    }
    lines.sort_by_key(|line| line.bar[1..].parse::<u32>().unwrap_or_default());
    Ok(lines)
}

fn of_one(setup: &Setup, results: &Results) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    if setup.wants("P1") {
        lines.push(reads_closed(results.get("read-64")?));
    }
    if setup.wants("P2") {
        lines.push(reads_pipelined(results.get("read-16x64")?));
    }
    if setup.wants("P3") {
        lines.push(read_latency(results.get("read-1")?));
    }
    if setup.wants("P5") {
        lines.push(writes_of_one(results.get("set-16x64")?)?);
    }
    if setup.wants("P6") {
        lines.push(write_latency(results, "one server", 1.3, 3.0)?);
    }
    if setup.wants("P24") {
        lines.push(cpu_line(results.get("read-64")?, "a read, closed loop", 10.0));
        lines.push(cpu_line(results.get("read-16x64")?, "a read, pipelined", 1.5));
    }
    Ok(lines)
}

fn of_three(setup: &Setup, results: &Results) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    if setup.wants("P4") {
        let view = results.get("set-64x32")?;
        let ratio = view.against(ZOOKEEPER, rate);
        lines.push(Line {
            beside: beside(&[("ZooKeeper", ratio)]),
            verdict: Verdict::all(&[median(ratio).map(|it| 6.0 <= it)]),
            ..view.line("P4", "durable writes, three voters, pipelined", "≥ 6x ZooKeeper")
        });
    }
    if setup.wants("P6") {
        lines.push(write_latency(results, "three voters", 1.5, 5.0)?);
    }
    if setup.wants("P7") {
        let view = results.get("set-64")?;
        let (ratio, tail) = (view.against(ZOOKEEPER, rate), view.against(ZOOKEEPER, p99));
        lines.push(Line {
            beside: beside(&[("ZooKeeper", ratio), ("its p99", tail)]),
            verdict: Verdict::all(&[
                median(ratio).map(|it| 4.0 <= it),
                median(tail).map(|it| it <= 0.25),
            ]),
            ..view.line("P7", "64 writers, three voters", "≥ 4x ZooKeeper, p99 ≤ 0.25x")
        });
    }
    if setup.wants("P8") {
        lines.extend(mixes(results)?);
    }
    if setup.wants("P24") {
        lines.push(cpu_line(results.get("set-64x32")?, "a durable write over three voters", 12.0));
    }
    Ok(lines)
}

fn reads_closed(view: View<'_>) -> Line {
    let theirs = view.against(ZOOKEEPER, rate);
    let ceiling = view.against(CEILING, rate);
    let cheaper = view.against(ZOOKEEPER, cpu);
    let fast = match (median(theirs), median(ceiling)) {
        (Some(theirs), Some(ceiling)) => Some(2.2 <= theirs || 0.85 <= ceiling),
        _ => None,
    };
    Line {
        beside: beside(&[
            ("ZooKeeper", theirs),
            ("ceiling", ceiling),
            ("CPU of ZooKeeper's", cheaper),
        ]),
        verdict: Verdict::all(&[fast, median(cheaper).map(|it| it <= 0.4)]),
        ..view.line(
            "P1",
            "reads, 64 connections",
            "≥ 2.2x ZooKeeper or 0.85 of the ceiling; CPU ≤ 0.4x",
        )
    }
}

fn reads_pipelined(view: View<'_>) -> Line {
    let (theirs, ceiling) = (view.against(ZOOKEEPER, rate), view.against(CEILING, rate));
    Line {
        beside: beside(&[("ZooKeeper", theirs), ("ceiling", ceiling)]),
        verdict: Verdict::all(&[
            median(theirs).map(|it| 12.0 <= it),
            median(ceiling).map(|it| 0.4 <= it),
        ]),
        ..view.line("P2", "reads, pipelined", "≥ 12x ZooKeeper, ≥ 0.40 of the ceiling")
    }
}

fn read_latency(view: View<'_>) -> Line {
    let ceiling = view.against(CEILING, p50);
    let (theirs, tail) = (view.against(ZOOKEEPER, p50), view.against(ZOOKEEPER, p999));
    Line {
        beside: beside(&[
            ("p50 of the ceiling's", ceiling),
            ("of ZooKeeper's", theirs),
            ("p99.9 of ZooKeeper's", tail),
        ]),
        verdict: Verdict::all(&[
            median(ceiling).map(|it| it <= 1.5),
            median(theirs).map(|it| it <= 0.25),
            median(tail).map(|it| it <= 0.33),
        ]),
        ..view.line(
            "P3",
            "reads, one connection",
            "p50 ≤ 1.5x the ceiling's, ≤ 0.25x ZooKeeper's; p99.9 ≤ 0.33x",
        )
    }
}

/// The bound is the slower of two: the disk with as many writes in a batch as are under way, and a
/// pipeline of which nothing is left but its sockets.
fn writes_of_one(view: View<'_>) -> Result<Line> {
    let theirs = view.against(ZOOKEEPER, rate);
    let disk = BATCH_WRITES / sync_p50(BATCH_BYTES)?.as_secs_f64();
    let empty = view.of(CEILING, rate).map_or(f64::INFINITY, |it| it.median);
    let part = view.ours(rate).median / disk.min(empty);
    let told = beside(&[("ZooKeeper", theirs)]);
    Ok(Line {
        beside: format!(
            "{told}; {part:.2} of min(disk {:.0} k/s, empty pipeline {:.0} k/s)",
            disk / 1e3,
            empty / 1e3
        ),
        verdict: Verdict::all(&[median(theirs).map(|it| 5.0 <= it), Some(0.5 <= part)]),
        ..view.line(
            "P5",
            "durable writes, one server, pipelined",
            "≥ 5x ZooKeeper, ≥ 0.5 of the bound",
        )
    })
}

/// `factor` times a sync and so many round trips.
fn write_latency(results: &Results, who: &str, factor: f64, trips: f64) -> Result<Line> {
    let view = results.get("set-1")?;
    let theirs = view.against(ZOOKEEPER, p50);
    let sync = sync_p50(RECORD_BYTES)?;
    let trip = results.get("read-1")?.of(CEILING, p50).map_or(0.0, |it| it.median);
    let bound = factor * (us(sync) + trips * trip);
    let told = beside(&[("p50 of ZooKeeper's", theirs)]);
    Ok(Line {
        beside: format!(
            "{told}; bound {bound:.0} µs: {factor} x (sync {:.0} + {trips} x {trip:.0})",
            us(sync)
        ),
        verdict: Verdict::all(&[
            Some(view.ours(p50).median <= bound),
            median(theirs).map(|it| it <= 0.45),
        ]),
        ..view.line(
            "P6",
            &format!("durable write of one client, {who}"),
            &format!(
                "p50 ≤ {factor} x (fdatasync + {trips} round trips of the ceiling), ≤ 0.45x ZooKeeper's"
            ),
        )
    })
}

fn us(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn mixes(results: &Results) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let (reads, writes) = (results.get("read-64x32")?, results.get("set-64x32")?);
    for (cell, read_part, pipelined) in [
        ("mix90-64", 0.9, false),
        ("mix90-64x32", 0.9, true),
        ("mix70-64", 0.7, false),
        ("mix70-64x32", 0.7, true),
    ] {
        let view = results.get(cell)?;
        let theirs = view.against(ZOOKEEPER, rate);
        let mut conditions = vec![median(theirs).map(|it| 3.0 <= it)];
        let mut told = beside(&[("ZooKeeper", theirs)]);
        if pipelined {
            let parts =
                read_part * reads.ours(cpu).median + (1.0 - read_part) * writes.ours(cpu).median;
            let of_parts = parts / view.ours(cpu).median;
            let slower =
                read_part / reads.ours(rate).median + (1.0 - read_part) / writes.ours(rate).median;
            let of_rates = view.ours(rate).median * slower;
            told = format!(
                "{told}; {of_parts:.2} of what the CPU of its parts predicts, {of_rates:.2} of what \
                 their rates do"
            );
            conditions.push(Some(0.8 <= of_parts));
        }
        let what = format!("{:.0} % reads, three voters", read_part * 100.0);
        let wanted =
            if pipelined { "≥ 3x ZooKeeper, ≥ 0.8 of its parts" } else { "≥ 3x ZooKeeper" };
        let verdict = Verdict::all(&conditions);
        lines.push(Line { beside: told, verdict, ..view.line("P8", &what, wanted) });
    }
    Ok(lines)
}

fn cpu_line(view: View<'_>, what: &str, bar: f64) -> Line {
    let ours = view.ours(cpu);
    let of = |name| view.of(name, cpu).map(|it| format!("{name} {:.2} µs", it.median));
    let others: Vec<String> = [CEILING, ZOOKEEPER].into_iter().filter_map(of).collect();
    Line {
        measured: format!("{} µs", shown(ours, 2)),
        beside: others.join(", "),
        verdict: Verdict::of(ours.median <= bar),
        rounds: json!(null),
        ..view.line("P24", &format!("CPU of {what}"), &format!("≤ {bar} µs"))
    }
}
