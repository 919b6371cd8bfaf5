//! P11 and P12: what watches, session records and idle connections take, and what a heartbeat costs.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::table::{Line, Verdict, shown};
use super::{Alone, Setup};
use crate::load::cells::Cell;
use crate::load::report::{FARWATCH, ZOOKEEPER};
use crate::load::{Kind, Workload, referee};
use crate::memory::{self, Grown};
use crate::subject::Options;

const WATCHES: usize = 1_000_000;
const SESSIONS: usize = 100_000;
const CONNECTIONS: usize = 10_000;

type Part = fn(&Path, usize) -> Result<Grown>;

/// Of the memory of one thing.
pub fn watches(setup: &Setup) -> Result<Line> {
    let binary = setup.servers.ours()?;
    line("P11", &binary, (memory::shared_watches, WATCHES), 64.0)
}

/// P12.
pub fn sessions(setup: &Setup) -> Result<Vec<Line>> {
    let binary = setup.servers.ours()?;
    let connections = setup.connections.min(CONNECTIONS);
    Ok(vec![
        line("P12", &binary, (memory::sessions, SESSIONS), 120.0)?,
        line("P12", &binary, (memory::connections, connections), 1_536.0)?,
        heartbeat(setup)?,
    ])
}

fn line(
    bar: &'static str,
    binary: &Path,
    (part, count): (Part, usize),
    bound: f64,
) -> Result<Line> {
    let Grown { what, count, bytes_each, .. } = part(binary, count)?;
    Ok(Line {
        bar,
        what: format!("{count} {what}"),
        wanted: format!("≤ {bound:.0} bytes each"),
        measured: format!("{bytes_each:.0} bytes each"),
        beside: String::new(),
        verdict: Verdict::of(bytes_each <= bound),
        rounds: json!({ "bytes_each": bytes_each, "count": count }),
    })
}

/// A ping as clients send it: one at a time on each connection.
fn heartbeat(setup: &Setup) -> Result<Line> {
    let alone = Alone::start(setup, &Options::new())?;
    let workload = Workload { kind: Kind::Ping, connections: 64, ..Workload::default() };
    let cell = Cell { name: "ping-64", workload, expected: None };
    // Heartbeats have one number for all; a canned server that knows nothing answers with it.
    let found = referee::measure(cell, &alone.contestants(), setup.pace)?;
    let cpu = |name: &str| Some(found.figure(found.place(name)?, |it| it.cpu_us));
    let ours = cpu(FARWATCH).context("Farwatch is measured")?;
    let ceiling = found.figure(0, |it| it.cpu_us);
    let theirs =
        cpu(ZOOKEEPER).map_or_else(String::new, |it| format!(", ZooKeeper {:.1} µs", it.median));
    Ok(Line {
        bar: "P12",
        what: "CPU of a heartbeat, 64 connections".to_owned(),
        wanted: "≤ 1.5 µs".to_owned(),
        measured: format!("{} µs", shown(ours, 2)),
        beside: format!("ceiling {:.1} µs{theirs}", ceiling.median),
        verdict: Verdict::of(ours.median <= 1.5),
        rounds: super::rounds_json(&found),
    })
}
