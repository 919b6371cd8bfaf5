//! The bars of the project, one by one: what each asks for, what was measured, and whether that is
//! enough, in one table.
//!
//! ```text
//! bars asked for ─► instruments, one after the other ─► lines ─► rows of a document, values of a file
//! ```
//!
//! An instrument starts the servers that it needs, loads them in turn, and says all its bars. One that
//! fails takes nothing of the others along: the rows that its bars had stay as they were.

mod cells;
mod children;
mod crowds;
mod ensembles;
mod etcd;
mod expiry;
mod far;
mod farewell;
mod footprint;
mod grid;
mod records;
mod sync_probe;
mod syscalls;
mod table;
mod trees;

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use self::table::{Line, MARKS, Taken};
use crate::ceiling::Ceiling;
use crate::load::cells::VALUE_BYTES;
use crate::load::process::{QUIET_MAX, busy_share};
use crate::load::record::{cell_json, machine};
use crate::load::referee::{CellResult, Contestant, Pace, Spread};
use crate::load::report::{self, CEILING, ZOOKEEPER};
use crate::load::servers::{Servers, warm_up_java};
use crate::subject::{Ensemble, Options, Subject};

/// Measures the bars, all by default, and writes the table of them.
#[derive(Args, Clone, Debug)]
pub struct Bars {
    #[command(flatten)]
    servers: Servers,
    /// Bars to measure, such as P10; all of them by default.
    #[arg(long = "bar", value_name = "BAR")]
    bars: Vec<String>,
    /// Prints what there is to measure and how long it takes, and measures nothing.
    #[arg(long)]
    list: bool,
    /// Rounds that must count, where there are rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each server in each round.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Nodes of a large tree.
    #[arg(long, default_value_t = 1_000_000)]
    nodes: usize,
    /// Connections of a crowd; this process and each server need a file for each.
    #[arg(long, default_value_t = 15_000)]
    connections: usize,
    /// A document whose rows of these bars are replaced.
    #[arg(long)]
    document: Option<PathBuf>,
    /// A file that all figures are written into, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What an instrument is told.
#[derive(Clone, Debug)]
struct Setup {
    servers: Servers,
    /// The bars asked for; none means all.
    bars: Vec<String>,
    pace: Pace,
    nodes: usize,
    connections: usize,
}

impl Setup {
    fn wants(&self, bar: &str) -> bool {
        self.bars.is_empty() || self.bars.iter().any(|it| it.eq_ignore_ascii_case(bar))
    }
}

/// Measures some bars together.
struct Instrument {
    bars: &'static [&'static str],
    what: &'static str,
    /// About how long it takes on two quiet cores, unless told otherwise.
    minutes: f64,
    run: fn(&Setup) -> Result<Vec<Line>>,
}

/// How long a look at what others do takes.
const LOOK: Duration = Duration::from_secs(2);

/// In the order in which they run: what is quick comes first.
const INSTRUMENTS: [Instrument; 17] = [
    Instrument::new(&["P26"], 0.5, "binary, idle memory, time to listen", footprint::measure),
    Instrument::new(&["P25"], 1.5, "system calls of an operation", syscalls::measure),
    Instrument::new(
        &["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P24"],
        16.0,
        "cells of the grid, one server and three voters",
        cells::measure,
    ),
    Instrument::new(&["P9"], 3.0, "tail of an open loop, three voters", ensembles::tail),
    Instrument::new(&["P10"], 2.0, "one change told to a crowd", crowds::fan_out),
    Instrument::new(&["P11"], 3.0, "a hundred thousand watches", watches),
    Instrument::new(&["P12"], 3.0, "memory of sessions, heartbeats", records::sessions),
    Instrument::new(&["P13"], 2.0, "a storm of sessions", crowds::storm),
    Instrument::new(&["P22"], 4.5, "ten thousand sessions end at once", ends),
    Instrument::new(&["P23"], 2.0, "a directory of 100,000 nodes", children::measure),
    Instrument::new(&["P14", "P20"], 3.0, "a large tree, and its start", trees::memory_and_starts),
    Instrument::new(&["P21"], 5.0, "writes through snapshots", trees::snapshots),
    Instrument::new(&["P15", "P16"], 7.0, "the leader killed, frozen", ensembles::leaders),
    Instrument::new(&["P17", "P18", "P19"], 14.0, "observers, and a way that is cut", far::measure),
    Instrument::new(&["P29"], 1.5, "double barriers", ensembles::double_barriers),
    Instrument::new(&["P30"], 13.0, "the grid of clients and reads", grid::measure),
    Instrument::new(&["P31"], 0.5, "durable puts beside etcd", etcd::measure),
];

impl Instrument {
    const fn new(
        bars: &'static [&'static str],
        minutes: f64,
        what: &'static str,
        run: fn(&Setup) -> Result<Vec<Line>>,
    ) -> Self {
        Self { bars, what, minutes, run }
    }
}

/// P11: how soon all are told, and what each takes.
fn watches(setup: &Setup) -> Result<Vec<Line>> {
    let mut lines = crowds::watches(setup)?;
    lines.push(records::watches(setup)?);
    Ok(lines)
}

/// P22: of many sessions with few nodes, and of one with many.
fn ends(setup: &Setup) -> Result<Vec<Line>> {
    let mut lines = expiry::measure(setup)?;
    lines.push(farewell::measure(setup)?);
    Ok(lines)
}

impl Bars {
    /// Measures, prints, and writes after each instrument what is there by then.
    pub fn run(&self) -> Result<()> {
        self.check_names()?;
        let setup = self.setup();
        let chosen = INSTRUMENTS.iter().filter(|it| it.bars.iter().any(|bar| setup.wants(bar)));
        if self.list {
            for it in chosen {
                println!("{:<20} {:>5.1} min  {}", it.bars.join(" "), it.minutes, it.what);
            }
            return Ok(());
        }
        let (before, mut figures, mut failed) = (machine(), Vec::new(), Vec::new());
        for instrument in chosen {
            let names = instrument.bars.join(" ");
            println!("{names}: {} (about {:.1} min)", instrument.what, instrument.minutes);
            let taken = taken(instrument)?;
            match (instrument.run)(&setup) {
                Ok(mut lines) => {
                    lines.retain(|line| setup.wants(line.bar));
                    self.write(&before, &lines, &taken, &mut figures)?;
                }
                Err(error) => {
                    eprintln!("{names} cannot be measured: {error:#}");
                    failed.push(names);
                }
            }
        }
        ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
        Ok(())
    }

    fn check_names(&self) -> Result<()> {
        let known: Vec<&str> = INSTRUMENTS.iter().flat_map(|it| it.bars).copied().collect();
        for asked in &self.bars {
            let is_known = known.iter().any(|bar| bar.eq_ignore_ascii_case(asked));
            ensure!(is_known, "there is no bar {asked}; there are: {}", known.join(" "));
        }
        Ok(())
    }

    fn setup(&self) -> Setup {
        let slice = Duration::from_secs_f64(self.seconds);
        Setup {
            servers: self.servers.clone(),
            bars: self.bars.clone(),
            pace: Pace { rounds: self.rounds, slice, warm_up: slice.min(Duration::from_secs(1)) },
            nodes: self.nodes,
            connections: self.connections,
        }
    }

    fn write(
        &self,
        before: &Value,
        lines: &[Line],
        taken: &Taken,
        figures: &mut Vec<Value>,
    ) -> Result<()> {
        let rows: Vec<String> = lines.iter().map(|line| line.row(taken)).collect();
        rows.iter().for_each(|row| println!("{row}"));
        figures.extend(lines.iter().map(|line| line.json(taken)));
        if let Some(document) = &self.document {
            self.write_rows(document, &rows)?;
        }
        if let Some(file) = &self.json {
            let machine = json!({ "before": before, "after": machine() });
            let all = json!({ "machine": machine, "lines": figures });
            std::fs::write(file, format!("{all:#}\n"))
                .with_context(|| format!("{} cannot be written", file.display()))?;
        }
        Ok(())
    }

    fn write_rows(&self, document: &Path, rows: &[String]) -> Result<()> {
        let text = std::fs::read_to_string(document)?;
        let old = text.split_once(MARKS[0]).and_then(|(_, rest)| rest.split_once(MARKS[1]));
        let table = table::merged(old.map_or("", |(old, _)| old), rows);
        report::replace_between(MARKS, document, &format!("{table}\n{}", described(&machine())))
    }
}

/// The machine of the latest rows, in a sentence.
fn described(machine: &Value) -> String {
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

/// Looks at the machine while nothing of this program runs: a load average would hold the part before.
fn taken(instrument: &Instrument) -> Result<Taken> {
    let here = instrument.minutes > 0.0;
    let day = table::day(UNIX_EPOCH.elapsed().unwrap_or_default().as_secs());
    if !here {
        return Ok(Taken { here, when: day });
    }
    let others = busy_share(LOOK)?;
    let busy = if QUIET_MAX < others { ", busy" } else { "" };
    Ok(Taken { here, when: format!("{day}, {:.0} %{busy}", others * 100.0) })
}

/// One server of each kind, warmed, and the canned one, in the order of the tables.
struct Alone {
    ceiling: Ceiling,
    subjects: Vec<(&'static str, Subject)>,
}

impl Alone {
    fn start(setup: &Setup, options: &Options) -> Result<Self> {
        let options = options.clone().java_flag("-Xmx2g");
        let ceiling = Ceiling::start(VALUE_BYTES)?;
        let subjects = setup.servers.alone(&options)?;
        for (_, java) in subjects.iter().filter(|(name, _)| *name == ZOOKEEPER) {
            warm_up_java(&[java.address()])?;
        }
        Ok(Self { ceiling, subjects })
    }

    fn contestants(&self) -> Vec<Contestant> {
        let mut all = vec![canned(&self.ceiling)];
        all.extend(self.subjects.iter().map(|(name, subject)| Contestant {
            name: (*name).to_owned(),
            addresses: vec![subject.address()],
            pids: subject.pid().into_iter().collect(),
            canned: false,
        }));
        all
    }
}

/// Three voters of each kind, and the canned server.
struct Voters {
    ceiling: Ceiling,
    ensembles: Vec<(&'static str, Ensemble)>,
}

impl Voters {
    fn start(setup: &Setup, options: &Options) -> Result<Self> {
        let options = options.clone().java_flag("-Xmx2g");
        let ceiling = Ceiling::start(VALUE_BYTES)?;
        let ensembles = setup.servers.ensembles(3, &options)?;
        for (_, java) in ensembles.iter().filter(|(name, _)| *name == ZOOKEEPER) {
            warm_up_java(&java.addresses())?;
        }
        Ok(Self { ceiling, ensembles })
    }

    fn contestants(&self) -> Vec<Contestant> {
        let mut all = vec![canned(&self.ceiling)];
        all.extend(self.ensembles.iter().map(|(name, ensemble)| Contestant {
            name: (*name).to_owned(),
            addresses: ensemble.addresses(),
            pids: ensemble.pids(),
            canned: false,
        }));
        all
    }
}

/// Round by round; `None` where either was not measured.
fn ratio_of(above: Option<Vec<f64>>, below: Option<Vec<f64>>) -> Option<Spread> {
    let (above, below) = above.zip(below)?;
    Some(Spread::of(above.iter().zip(&below).map(|(above, below)| above / below)))
}

fn rounds_json(result: &CellResult) -> Value {
    cell_json(result)["rounds"].take()
}

fn canned(ceiling: &Ceiling) -> Contestant {
    Contestant {
        name: CEILING.to_owned(),
        addresses: vec![ceiling.address()],
        pids: vec![ceiling.pid()],
        canned: true,
    }
}
