//! Where an operation's time goes: what servers count of their stages, and which threads work for how long.
//!
//! ```text
//! mntr, /proc/PID/task ─► a slice of load ─► mntr, /proc/PID/task     differences, by operation
//! ```
//!
//! The stages are averages over all records of the slice; what a client waits for is a median of its own. With
//! `--profile` each cell has a second slice, in which perf samples the servers: what it takes is in no figure.

mod profile;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use self::profile::{Profile, Recording};
use crate::load::cells::{Cell, named};
use crate::load::record::machine;
use crate::load::report::replace_between;
use crate::load::{Load, Nodes, ROOT, Slice};
use crate::raw::four_letter_word;
use crate::subject::{Ensemble, Options, Subject};

/// The lines between which a document's table is replaced.
const MARKS: [&str; 2] =
    ["<!-- bench of the stages: begin -->", "<!-- bench of the stages: end -->"];

/// What is shown of `mntr`, and what a table calls it.
const STAGES: [(&str, &str); 5] = [
    ("prep_process_time", "prepare"),
    ("fsynctime", "a write of the log, with its sync"),
    ("sync_processor_queue_and_flush_time_ms", "a record until it is durable"),
    ("quorum_ack_latency", "a record until a quorum has it"),
    ("updatelatency", "a write until it is answered"),
];

/// Cells of one server, and of three.
const ALONE: [&str; 5] = ["read-1", "read-64", "read-16x64", "set-1", "set-16x64"];
const THREE: [&str; 5] = ["set-1", "set-64", "set-64x32", "mix90-64", "mix90-64x32"];

/// Before what counts: code and trees are warm then.
const WARM_UP: Duration = Duration::from_secs(1);

/// Tells where the time of an operation goes, cell by cell.
#[derive(Args, Clone, Debug)]
pub struct Stages {
    /// The release binary of Farwatch.
    #[arg(long, default_value = "target/release/farwatch")]
    farwatch: PathBuf,
    /// Cells to measure, by whole names, of one server and of three; all of them by default.
    #[arg(long = "cell", value_name = "NAME")]
    cells: Vec<String>,
    /// Seconds of each cell.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Loads each cell once more while perf samples the servers, and tells which functions took the time.
    #[arg(long)]
    profile: bool,
    /// A document whose table is replaced, and with `--profile` that of the profiles.
    #[arg(long, conflicts_with = "cells")]
    document: Option<PathBuf>,
    /// A file that all figures are written into, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A server's counters at one moment.
#[derive(Debug)]
struct Look {
    /// Count and sum of each stage, microseconds.
    stages: BTreeMap<&'static str, [f64; 2]>,
    /// User and system time of its threads by name, clock ticks, and how often one of them gave up its processor.
    threads: BTreeMap<String, [u64; 3]>,
}

/// What one cell came to.
#[derive(Debug)]
struct Found {
    cell: Cell,
    voters: usize,
    slice: Slice,
    /// Of the leader, and of the followers together: averages of stages, microseconds.
    stages: [BTreeMap<&'static str, f64>; 2],
    /// Of all servers: user and system time by thread, microseconds an operation.
    threads: BTreeMap<String, [f64; 2]>,
    /// How often a thread gave up its processor, an operation.
    waits: f64,
    /// Where samples of a slice of its own fell, or why there are none; nothing where nobody asked.
    profile: Option<Result<Profile, String>>,
}

impl Stages {
    /// Measures, prints, and writes what was asked for.
    pub fn run(&self) -> Result<()> {
        let binary = &self.farwatch;
        ensure!(binary.exists(), "{} is missing: cargo build --release", binary.display());
        for asked in &self.cells {
            let is_known = ALONE.iter().chain(&THREE).any(|name| name == asked);
            ensure!(is_known, "there is no cell {asked}; there are: {ALONE:?} and {THREE:?}");
        }
        let mut all = Vec::new();
        {
            let alone = Subject::farwatch(binary, Options::new())?;
            for name in ALONE.into_iter().filter(|name| self.wants(name)) {
                all.push(self.measure(name, 1, &[&alone], vec![alone.address()])?);
            }
        }
        let ensemble = Ensemble::farwatch(binary, 3, &Options::new())?;
        let leader = ensemble.leader()?;
        let mut servers = vec![ensemble.server(leader)];
        servers.extend(ensemble.numbers().filter(|&it| it != leader).map(|it| ensemble.server(it)));
        for name in THREE.into_iter().filter(|name| self.wants(name)) {
            all.push(self.measure(name, 3, &servers, ensemble.addresses())?);
        }
        let text = table(&all);
        print!("{text}");
        if let Some(document) = &self.document {
            replace_between(MARKS, document, &text)?;
        }
        if self.profile {
            let text = profiles(&all);
            print!("\n{text}");
            if let Some(document) = &self.document {
                replace_between(profile::MARKS, document, &text)?;
            }
        }
        if let Some(file) = &self.json {
            let cells: Vec<Value> = all.iter().map(Found::json).collect();
            let text = json!({ "machine": machine(), "cells": cells });
            fs::write(file, format!("{text:#}\n"))?;
        }
        Ok(())
    }

    fn wants(&self, name: &str) -> bool {
        self.cells.is_empty() || self.cells.iter().any(|asked| asked == name)
    }

    /// The leader comes first.
    fn measure(
        &self,
        name: &'static str,
        voters: usize,
        servers: &[&Subject],
        addresses: Vec<SocketAddr>,
    ) -> Result<Found> {
        let cell = named(name).with_context(|| format!("no cell {name}"))?;
        let mut load = Load::open(&addresses, &cell.workload, Nodes::Below(ROOT))?;
        load.run(WARM_UP)?;
        let looks = || servers.iter().map(|server| look(server)).collect::<Result<Vec<Look>>>();
        let before = looks()?;
        let slice = load.run(Duration::from_secs_f64(self.seconds))?;
        let after = looks()?;
        let operations = slice.operations.max(1) as f64;
        let of = |from: usize, to: usize| {
            let mut averages = BTreeMap::new();
            for (stage, _) in STAGES {
                let (mut count, mut sum) = (0.0, 0.0);
                for at in from..to {
                    let difference = |which: usize| {
                        after[at].stages[stage][which] - before[at].stages[stage][which]
                    };
                    count += difference(0);
                    sum += difference(1);
                }
                if 0.0 < count {
                    averages.insert(stage, sum / count);
                }
            }
            averages
        };
        let us_per_tick = 1e6 / rustix::param::clock_ticks_per_second() as f64;
        let (mut threads, mut waits) = (BTreeMap::<String, [f64; 2]>::new(), 0.0);
        for (before, after) in before.iter().zip(&after) {
            for (name, now) in &after.threads {
                let then = before.threads.get(name).copied().unwrap_or_default();
                let grown = |which: usize| now[which].saturating_sub(then[which]) as f64;
                let of = threads.entry(name.clone()).or_default();
                of[0] += grown(0) * us_per_tick / operations;
                of[1] += grown(1) * us_per_tick / operations;
                waits += grown(2) / operations;
            }
        }
        let stages = [of(0, 1), of(1, servers.len())];
        let mut found = Found { cell, voters, slice, stages, threads, waits, profile: None };
        eprintln!("{}", found.row());
        if self.profile {
            let profile = self.sample(servers, &mut load);
            found.profile = Some(profile.map_err(|error| format!("{error:#}")));
        }
        Ok(found)
    }

    /// One more slice of the same load.
    fn sample(&self, servers: &[&Subject], load: &mut Load) -> Result<Profile> {
        let pids: Vec<u32> = servers.iter().filter_map(|it| it.pid()).collect();
        let recording = Recording::start(&pids)?;
        load.run(Duration::from_secs_f64(self.seconds))?;
        recording.end()
    }
}

fn look(server: &Subject) -> Result<Look> {
    let words = four_letter_word(server.address(), "mntr")?;
    let value = |name: String| -> f64 {
        let line = words.lines().find_map(|line| line.strip_prefix(name.as_str()));
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or_default()
    };
    let mut stages = BTreeMap::new();
    for (stage, _) in STAGES {
        // What is named after milliseconds is shown in them, and all others, too.
        let sum = value(format!("zk_sum_{stage}\t")) * 1e3;
        stages.insert(stage, [value(format!("zk_cnt_{stage}\t")), sum]);
    }
    let pid = server.pid().context("a server that runs")?;
    let mut threads = BTreeMap::<String, [u64; 3]>::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = entry?.path();
        // One that ends between the two looks has done nothing that counts.
        let Ok(name) = fs::read_to_string(task.join("comm")) else { continue };
        let Ok(stat) = fs::read_to_string(task.join("stat")) else { continue };
        let Ok(status) = fs::read_to_string(task.join("status")) else { continue };
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let mut fields = rest.split_ascii_whitespace().skip(11).map(|it| it.parse().unwrap_or(0));
        let (user, system) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
        let waits = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        let waits = waits.and_then(|it| it.trim().parse().ok()).unwrap_or(0);
        // The kernel's own, whose names have a number.
        let name = if name.starts_with("iou-wrk") { "the ring" } else { name.trim() };
        let known = threads.entry(name.to_owned()).or_default();
        for (known, more) in known.iter_mut().zip([user, system, waits]) {
            *known += more;
        }
    }
    Ok(Look { stages, threads })
}

impl Found {
    fn name(&self) -> String {
        format!("{}, {}", self.cell.name, if self.voters == 1 { "alone" } else { "three" })
    }

    fn row(&self) -> String {
        let stage = |name: &str| {
            let of = |which: usize| self.stages[which].get(name);
            match (of(0), of(1)) {
                (Some(leader), Some(others)) => format!("{leader:.0}, {others:.0}"),
                (Some(only), None) | (None, Some(only)) => format!("{only:.0}"),
                (None, None) => "-".to_owned(),
            }
        };
        let stages: Vec<String> = STAGES.iter().map(|(name, _)| stage(name)).collect();
        let threads: Vec<String> = self
            .threads
            .iter()
            .filter(|(_, [user, system])| 0.005 < user + system)
            .map(|(name, [user, system])| format!("{name} {user:.2} + {system:.2}"))
            .collect();
        format!(
            "| {} | {:.1} | {:.0} | {} | {} | {:.2} |",
            self.name(),
            self.slice.rate() / 1e3,
            self.slice.quantile_us(0.5),
            stages.join(" | "),
            threads.join(", "),
            self.waits,
        )
    }

    fn json(&self) -> Value {
        json!({
            "cell": self.cell.name,
            "voters": self.voters,
            "operations_per_second": self.slice.rate(),
            "p50_us": self.slice.quantile_us(0.5),
            "leaders_stages_us": self.stages[0],
            "followers_stages_us": self.stages[1],
            "threads_user_and_system_us": self.threads,
            "waits": self.waits,
            "profile": self.profile.as_ref().map(|it| match it {
                Ok(profile) => profile.json(),
                Err(why) => json!({ "not_run": why }),
            }),
        })
    }
}

fn profiles(all: &[Found]) -> String {
    let mut text = String::from("| cell | of all samples | and by function |\n|---|---|---|\n");
    for found in all {
        let cells = match &found.profile {
            Some(Ok(profile)) => profile.cells(),
            Some(Err(why)) => format!("not run: {} | ", why.replace('|', "/")),
            None => continue,
        };
        writeln!(text, "| {} | {cells} |", found.name()).expect("a String takes every write");
    }
    text
}

fn table(all: &[Found]) -> String {
    let mut text = String::from("| cell | k/s | p50 of a client, µs |");
    for (_, name) in STAGES {
        write!(text, " {name}, µs |").expect("a String takes every write");
    }
    text.push_str(" processor of all servers by thread, own + kernel, µs an operation | waits of threads an operation |\n|");
    (0..STAGES.len() + 5).for_each(|_| text.push_str("---|"));
    text.push('\n');
    for found in all {
        writeln!(text, "{}", found.row()).expect("a String takes every write");
    }
    text
}
