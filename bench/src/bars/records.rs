//! P11 and P12: what watches, session records and idle connections take, what a heartbeat costs, and a tick of
//! the queue in which sessions wait for their end.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use farwatch_core::session::Expiry;
use farwatch_core::zxid::SessionId;
use serde_json::json;

use super::table::{Line, Verdict, shown};
use super::{Alone, Setup};
use crate::load::cells::Cell;
use crate::load::referee::Spread;
use crate::load::report::{FARWATCH, ZOOKEEPER};
use crate::load::{Kind, Workload};
use crate::memory::{self, Grown};
use crate::subject::Options;

const WATCHES: usize = 1_000_000;
const SESSIONS: usize = 100_000;
const CONNECTIONS: usize = 10_000;

/// A server's tick, and what clients ask for: a session is looked at once in so many of them.
const TICK_MILLIS: i32 = 2_000;
const TIMEOUT_MILLIS: i32 = 30_000;

/// Ticks that are timed: three timeouts.
const TICKS: i64 = 45;

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
        tick(SESSIONS),
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
    let found = setup.cell(cell, &alone.contestants())?;
    let cpu = |name: &str| Some(found.figure(found.place(name)?, |it| it.cpu_us));
    let ours = cpu(FARWATCH).context("Farwatch is measured")?;
    let ceiling = found.figure(0, |it| it.cpu_us);
    let theirs =
        cpu(ZOOKEEPER).map_or_else(String::new, |it| format!(", ZooKeeper {:.1} µs", it.median));
    Ok(Line {
        bar: "P12",
        what: format!("CPU of a heartbeat, 64 connections, {}", found.turns()),
        wanted: "≤ 1.5 µs".to_owned(),
        measured: format!("{} µs", shown(ours, 2)),
        beside: format!("ceiling {:.1} µs{theirs}", ceiling.median),
        verdict: Verdict::of(ours.median <= 1.5),
        rounds: super::rounds_json(&found),
    })
}

/// One tick of the queue that sessions wait in for their end, all of them being heard: by the queue itself, in
/// this process. They came evenly, and, which is the worst, all in one moment.
fn tick(sessions: usize) -> Line {
    let [even, at_once] = [true, false].map(|evenly| ticks(sessions, evenly));
    let (spread, worst) = (Spread::of(even.iter().copied()), Spread::of(at_once.iter().copied()));
    Line {
        bar: "P12",
        what: format!("a tick of the expiry queue, {sessions} sessions that are heard"),
        wanted: "≤ 1 ms".to_owned(),
        measured: format!("{} ms", shown(spread, 2)),
        beside: format!(
            "the one of all sessions, where they came in one moment: {:.1} ms",
            worst.max
        ),
        verdict: Verdict::of(spread.max <= 1.0),
        rounds: json!({ "came_evenly_ms": even, "came_at_once_ms": at_once }),
    }
}

/// Of each tick, milliseconds.
fn ticks(sessions: usize, evenly: bool) -> Vec<f64> {
    let mut queue = Expiry::new(TICK_MILLIS);
    let ids = || (0..sessions).map(|at| SessionId(at as u64 + 1));
    for (at, id) in ids().enumerate() {
        let came = if evenly { at as i64 * i64::from(TIMEOUT_MILLIS) / sessions as i64 } else { 0 };
        queue.add(id, TIMEOUT_MILLIS, came);
    }
    let begin = i64::from(TIMEOUT_MILLIS);
    let tick = |number: i64| {
        let now = begin + number * i64::from(TICK_MILLIS);
        ids().for_each(|id| _ = queue.touch(id, TIMEOUT_MILLIS, now));
        let since = Instant::now();
        let due = queue.take_due(now);
        let took = since.elapsed();
        assert!(due.is_none(), "all were heard");
        took.as_secs_f64() * 1e3
    };
    (0..TICKS).map(tick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_timed_while_every_session_stays_watched() {
        let found = tick(1_000);
        let count = |name: &str| found.rounds[name].as_array().map(Vec::len);
        let all = Some(TICKS as usize);
        assert_eq!([count("came_evenly_ms"), count("came_at_once_ms")], [all, all]);
        assert!(found.what.contains("1000 sessions"), "{}", found.what);
    }
}
