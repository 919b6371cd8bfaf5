//! P25: system calls of an operation, as the kernel counts them.
//!
//! `perf stat` on the tracepoint at which all system calls enter costs a process a few dozen
//! nanoseconds each. A tracer that stops the process would slow it down, and a slow server finds more
//! to do at each of its calls.

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::table::{Line, Verdict, shown};
use super::{Alone, Setup};
use crate::load::referee::Spread;
use crate::load::report::{CEILING, FARWATCH, ZOOKEEPER};
use crate::load::{Kind, Load, Workload, referee};
use crate::subject::Options;

/// Until perf has attached itself.
const ATTACHED: Duration = Duration::from_millis(400);

/// What, connections, outstanding on each, and the bar.
const CELLS: [(&str, Kind, usize, usize, f64); 3] = [
    ("reads, 64 connections with 32 each", Kind::Get, 64, 32, 0.05),
    ("reads, 64 connections with one each", Kind::Get, 64, 1, 0.7),
    ("durable writes, 64 connections with 32 each", Kind::Set, 64, 32, 0.05),
];

pub fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let alone = Alone::start(setup, &Options::new())?;
    let contestants = alone.contestants();
    let mut lines = Vec::new();
    for (what, kind, connections, outstanding, bar) in CELLS {
        let workload = Workload { kind, connections, outstanding, ..Workload::default() };
        let mut loads = contestants
            .iter()
            .map(|it| Load::open(&it.addresses, &workload, it.nodes()))
            .collect::<Result<Vec<Load>>>()?;
        let mut found = vec![Vec::new(); contestants.len()];
        for _round in 0..setup.pace.rounds {
            for ((it, load), found) in contestants.iter().zip(&mut loads).zip(&mut found) {
                found.push(count(it, load, setup.pace.slice)?);
            }
        }
        let of = |name: &str| {
            let at = contestants.iter().position(|it| it.name == name)?;
            Some(Spread::of(found[at].iter().copied()))
        };
        let ours = of(FARWATCH).context("Farwatch is measured")?;
        let beside: Vec<String> = [CEILING, ZOOKEEPER]
            .into_iter()
            .filter_map(|name| Some(format!("{name} {}", shown(of(name)?, 2))))
            .collect();
        let names = contestants.iter().map(|it| it.name.as_str());
        lines.push(Line {
            bar: "P25",
            what: format!("system calls of one of {what}"),
            wanted: format!("≤ {bar}"),
            measured: shown(ours, 3),
            beside: beside.join(", "),
            verdict: Verdict::of(ours.median <= bar),
            rounds: json!(names.zip(&found).collect::<Vec<_>>()),
        });
    }
    Ok(lines)
}

/// System calls of an operation, over one slice.
fn count(it: &referee::Contestant, load: &mut Load, slice: Duration) -> Result<f64> {
    let perf = Perf::attach(&it.pids)?;
    sleep(ATTACHED);
    let slice = load.run(slice)?;
    Ok(perf.calls()? / slice.operations.max(1) as f64)
}

/// perf, while it counts.
struct Perf(Child);

impl Perf {
    fn attach(pids: &[u32]) -> Result<Self> {
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let perf = Command::new("perf")
            .args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &pids.join(",")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("perf does not start: it counts system calls")?;
        Ok(Self(perf))
    }

    /// Ends it. Returns how many calls it saw.
    fn calls(self) -> Result<f64> {
        kill_process(Pid::from_child(&self.0), Signal::INT)?;
        let output = self.0.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        match counted(&said) {
            Some(calls) => Ok(calls),
            None => bail!("perf could not count system calls: {said}"),
        }
    }
}

/// The first field of its only line of figures.
fn counted(said: &str) -> Option<f64> {
    let line = said.lines().find(|line| line.contains("raw_syscalls:sys_enter"))?;
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn a_count_is_the_first_field_and_one_that_was_not_counted_is_none() {
        let said = "\n5006,,raw_syscalls:sys_enter,214000,100.00,,\n";
        assert_eq!(counted(said), Some(5006.0));
        assert_eq!(counted("<not supported>,,raw_syscalls:sys_enter,0,100.00,,"), None);
    }
}
