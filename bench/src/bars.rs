//! The bars of the project, one by one: what each asks for, what was measured, and whether that is
//! enough, in one table.
//!
//! ```text
//! bars asked for ─► instruments, one after the other ─► lines ─► rows of a document, values of a file
//! ```
//!
//! An instrument starts the servers that it needs, loads them in turn, and says all its bars. One that
//! fails takes nothing of the others along, nor does one that cannot run here: the rows that its bars had stay as they
//! were.

mod cells;
mod children;
mod crowds;
mod disk;
mod embedded;
mod ensembles;
mod etcd;
mod expiry;
mod far;
mod farewell;
mod footprint;
mod grid;
mod page;
mod records;
mod sync_probe;
mod syscalls;
mod table;
mod trees;

pub(crate) use self::far::observer_bars;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use self::table::{Line, MARKS, Taken};
use crate::ceiling::Ceiling;
use crate::load::cells::{Cell, VALUE_BYTES};
use crate::load::process::{QUIET_MAX, busy_share};
use crate::load::record::{cell_json, day, described, machine, machine_and_others};
use crate::load::referee::{self, CellResult, Contestant, Pace, Spread};
use crate::load::report::{self, CEILING, ZOOKEEPER};
use crate::load::servers::{Servers, warm_up_java};
use crate::observers::Findings;
use crate::subject::{Ensemble, Options, Subject};

/// Measures the bars, all by default, and writes the table of them.
#[derive(Args, Clone, Debug)]
pub struct Bars {
    #[command(flatten)]
    servers: Servers,
    /// Bars to measure, such as P10, or a part of one, such as P20-disk; all of them by default.
    #[arg(long = "bar", value_name = "BAR")]
    bars: Vec<String>,
    /// Prints what there is to measure and how long it takes, and measures nothing.
    #[arg(long)]
    list: bool,
    /// Rounds that must count, where there are rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each server in each round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Nodes of a large tree: a million by default, and ten million in rows of their own, where there is memory for
    /// them. Said to be ten million or more, only those rows are measured of P14 and P20.
    #[arg(long)]
    nodes: Option<usize>,
    /// Connections of a crowd; this process and each server need a file for each.
    #[arg(long, default_value_t = 15_000)]
    connections: usize,
    /// A document whose rows of these bars are replaced.
    #[arg(long)]
    document: Option<PathBuf>,
    /// A file that all figures are written into, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes a page with the bars and plots of their rounds: rates, latencies, memory.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes one page of Markdown: the machine, what others took of it, and each bar with its verdict.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
}

/// Nodes of a large tree, and of a very large one.
const NODES: usize = 1_000_000;
const MANY_NODES: usize = 10_000_000;

/// What an instrument is told.
#[derive(Debug)]
struct Setup {
    servers: Servers,
    /// The bars asked for; none means all.
    bars: Vec<String>,
    pace: Pace,
    nodes: usize,
    /// What `nodes` is where somebody said it.
    nodes_said: Option<usize>,
    connections: usize,
    /// Cells that were measured since they were last taken, for the page.
    cells: RefCell<Vec<CellResult>>,
    /// The same of what observers cost.
    findings: RefCell<Vec<Findings>>,
}

impl Setup {
    /// A bar is wanted with all its parts, and a part by its own name, too.
    fn wants(&self, bar: &str) -> bool {
        let whole = bar.split('-').next().unwrap_or(bar);
        let is_it = |asked: &String| [bar, whole].iter().any(|it| asked.eq_ignore_ascii_case(it));
        self.bars.is_empty() || self.bars.iter().any(is_it)
    }

    /// Whether somebody said the name of this part of a bar.
    fn names(&self, part: &str) -> bool {
        self.bars.iter().any(|asked| asked.eq_ignore_ascii_case(part))
    }

    /// Measures a cell, and keeps it for the page.
    fn cell(&self, cell: Cell, contestants: &[Contestant]) -> Result<CellResult> {
        let result = referee::measure(cell, contestants, self.pace)?;
        self.cells.borrow_mut().push(result.clone());
        Ok(result)
    }

    #[cfg(test)]
    fn of_trial(nodes: usize) -> Self {
        let slice = Duration::from_millis(10);
        Self {
            servers: Servers {
                farwatch: "farwatch".into(),
                zookeeper: None,
                without_zookeeper: true,
            },
            bars: Vec::new(),
            pace: Pace { rounds: 1, slice, warm_up: slice },
            nodes,
            nodes_said: Some(nodes),
            connections: 1,
            cells: RefCell::default(),
            findings: RefCell::default(),
        }
    }
}

/// Measures some bars together.
struct Instrument {
    bars: &'static [&'static str],
    what: &'static str,
    /// About how long it takes on two quiet cores, unless told otherwise.
    minutes: f64,
    run: fn(&Setup) -> Result<Vec<Line>>,
    turns: Turns,
    /// Why it does not run here, if so.
    idle: fn(&Setup) -> Option<String>,
}

/// What the pace means for an instrument, as its rows say it.
#[derive(Clone, Copy)]
enum Turns {
    /// So many rounds of slices, each shorter by this.
    Slices(u32),
    /// So many rounds, which take as long as they take.
    Rounds,
    /// What each line says itself.
    Own,
}

impl Turns {
    fn said(self, pace: Pace) -> Option<String> {
        match self {
            Self::Slices(shorter) => Some(Pace { slice: pace.slice / shorter, ..pace }.said()),
            Self::Rounds => Some(format!("{} rounds", pace.rounds)),
            Self::Own => None,
        }
    }
}

/// How long a look at what others do takes.
const LOOK: Duration = Duration::from_secs(2);

/// In the order in which they run: what is quick comes first.
const INSTRUMENTS: [Instrument; 22] = [
    Instrument::new(&["P26"], 0.5, "binary, idle memory, time to listen", footprint::measure),
    Instrument::new(&["P25"], 2.5, "system calls of an operation", syscalls::measure)
        .turns(Turns::Slices(1)),
    Instrument::new(
        &["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P24"],
        19.5,
        "cells of the grid, one server and three voters",
        cells::measure,
    )
    .turns(Turns::Slices(1)),
    Instrument::new(&["P9"], 3.0, "tail of an open loop, three voters", ensembles::tail),
    Instrument::new(&["P10"], 2.0, "one change told to a crowd", crowds::fan_out)
        .turns(Turns::Rounds),
    Instrument::new(&["P11"], 3.0, "a hundred thousand watches", watches),
    Instrument::new(&["P12"], 3.5, "memory of sessions, heartbeats", records::sessions),
    Instrument::new(&["P13"], 2.0, "a storm of sessions", crowds::storm).turns(Turns::Rounds),
    Instrument::new(&["P22"], 4.5, "ten thousand sessions end at once", ends),
    Instrument::new(&["P23"], 2.5, "a directory of 100,000 nodes", children::measure)
        .turns(Turns::Slices(1)),
    Instrument::new(&["P14", "P20"], 3.0, "a large tree, and its start", trees::memory_and_starts)
        .unless(trees::only_many),
    Instrument::new(
        &["P14-10M", "P20-10M"],
        3.0,
        "ten million nodes, and their start",
        trees::many,
    )
    .unless(trees::too_few_or_too_large),
    Instrument::new(&["P20-disk"], 1.0, "a snapshot's load, a log's replay", disk::measure),
    Instrument::new(&["P21"], 5.0, "writes through snapshots", trees::snapshots),
    Instrument::new(&["P15", "P16"], 7.0, "the leader killed, frozen", ensembles::leaders),
    Instrument::new(&["P17", "P18"], 8.0, "an observer at a way that is cut", far::over_a_way),
    Instrument::new(&["P19"], 5.0, "many that learn beside writers", far::beside_writers)
        .turns(Turns::Slices(1)),
    Instrument::new(&["P27"], 2.5, "reads of an embedded observer, in Rust", embedded::in_rust),
    Instrument::new(&["P28"], 4.0, "reads of an embedded observer, in C", embedded::through_c),
    Instrument::new(&["P29"], 1.5, "double barriers", ensembles::double_barriers),
    Instrument::new(&["P30"], 18.0, "the grid of clients and reads", grid::measure)
        .turns(Turns::Slices(grid::SLICE_PART)),
    Instrument::new(&["P31"], 1.0, "durable puts beside etcd", etcd::measure)
        .turns(Turns::Slices(1)),
];

impl Instrument {
    const fn new(
        bars: &'static [&'static str],
        minutes: f64,
        what: &'static str,
        run: fn(&Setup) -> Result<Vec<Line>>,
    ) -> Self {
        Self { bars, what, minutes, run, turns: Turns::Own, idle: |_| None }
    }

    const fn turns(mut self, turns: Turns) -> Self {
        self.turns = turns;
        self
    }

    const fn unless(mut self, idle: fn(&Setup) -> Option<String>) -> Self {
        self.idle = idle;
        self
    }

    fn names(&self) -> String {
        self.bars.join(" ")
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

/// What a run of many instruments has come to so far.
#[derive(Default)]
struct Report {
    /// Rows of the table, in the order in which they were measured.
    measured: Vec<Row>,
    /// Cells by the instrument that measured them.
    cells: Vec<(String, Vec<CellResult>)>,
    /// What observers cost.
    findings: Vec<Findings>,
    /// Bars that did not come to a row, and why.
    left_out: Vec<(String, String)>,
}

/// A line, and when and how it was measured.
struct Row {
    line: Line,
    taken: Taken,
}

impl Bars {
    /// Measures, prints, and writes after each instrument what is there by then.
    pub fn run(&self) -> Result<()> {
        self.check_names()?;
        let setup = self.setup();
        let chosen = INSTRUMENTS.iter().filter(|it| it.bars.iter().any(|bar| setup.wants(bar)));
        if self.list {
            for it in chosen {
                println!("{:<20} {:>5.1} min  {}", it.names(), it.minutes, it.what);
            }
            return Ok(());
        }
        let mut failed = Vec::new();
        let (before, mut report) = (machine_and_others()?, Report::default());
        for instrument in chosen {
            let names = instrument.names();
            if let Some(why) = (instrument.idle)(&setup) {
                println!("{names}: not run: {why}");
                report.left_out.push((names, format!("not run: {why}")));
                continue;
            }
            println!("{names}: {} (about {:.1} min)", instrument.what, instrument.minutes);
            let taken = taken(instrument, &setup)?;
            let from = report.measured.len();
            match (instrument.run)(&setup) {
                Ok(mut lines) => {
                    lines.retain(|line| setup.wants(line.bar));
                    let taken = |line| Row { line, taken: taken.clone() };
                    report.measured.extend(lines.into_iter().map(taken));
                }
                Err(error) => {
                    eprintln!("{names} cannot be measured: {error:#}");
                    report.left_out.push((names.clone(), format!("failed: {error:#}")));
                    failed.push(names.clone());
                }
            }
            report.cells.push((format!("{names}: {}", instrument.what), setup.cells.take()));
            report.findings.extend(setup.findings.take());
            self.write(&before, &report, from)?;
        }
        // What did not run after the last one is told, too.
        self.write(&before, &report, report.measured.len())?;
        ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
        Ok(())
    }

    fn check_names(&self) -> Result<()> {
        let known: Vec<&str> = INSTRUMENTS.iter().flat_map(|it| it.bars).copied().collect();
        for asked in &self.bars {
            let whole =
                |bar: &str| bar.split('-').next().is_some_and(|it| it.eq_ignore_ascii_case(asked));
            let is_known = known.iter().any(|bar| bar.eq_ignore_ascii_case(asked) || whole(bar));
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
            nodes: self.nodes.unwrap_or(NODES),
            nodes_said: self.nodes,
            connections: self.connections,
            cells: RefCell::default(),
            findings: RefCell::default(),
        }
    }

    /// What is there by now; the rows from `from` on are new.
    fn write(&self, before: &Value, report: &Report, from: usize) -> Result<()> {
        let rows: Vec<String> =
            report.measured[from..].iter().map(|row| row.line.row(&row.taken)).collect();
        rows.iter().for_each(|row| println!("{row}"));
        if let Some(document) = &self.document
            && !rows.is_empty()
        {
            self.write_rows(document, &rows)?;
        }
        let machine = json!({ "before": before, "after": machine() });
        if let Some(file) = &self.json {
            let lines = report.measured.iter().map(|row| row.line.json(&row.taken));
            let left_out =
                report.left_out.iter().map(|(bars, why)| json!({ "bars": bars, "why": why }));
            let all = json!({
                "machine": machine,
                "lines": lines.collect::<Vec<_>>(),
                "left_out": left_out.collect::<Vec<_>>(),
            });
            std::fs::write(file, format!("{all:#}\n"))
                .with_context(|| format!("{} cannot be written", file.display()))?;
        }
        if let Some(file) = &self.summary {
            page::write_summary(file, &machine, report)?;
        }
        if let Some(file) = &self.html {
            page::write_page(file, &machine, report)?;
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

/// Looks at the machine while nothing of this program runs: a load average would hold the part before.
fn taken(instrument: &Instrument, setup: &Setup) -> Result<Taken> {
    let day = day(UNIX_EPOCH.elapsed().unwrap_or_default().as_secs());
    let others = busy_share(LOOK)?;
    let busy = if QUIET_MAX < others { ", busy" } else { "" };
    let turns = instrument.turns.said(setup.pace);
    let turns = turns.map_or_else(String::new, |turns| format!("{turns}, "));
    Ok(Taken { when: format!("{day}, {turns}{:.0} %{busy}", others * 100.0), others })
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
