//! Measures Farwatch against Apache ZooKeeper and against what the machine allows.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use farwatch_bench::ceiling::{self, Ceiling};
use farwatch_bench::load::cells::{CELLS, Cell, VALUE_BYTES};
use farwatch_bench::load::referee::{self, Contestant, Pace};
use farwatch_bench::load::report::{self, CEILING, FARWATCH, ZOOKEEPER};
use farwatch_bench::load::{Kind, Load, Workload, startup};
use farwatch_bench::subject::{Options, Subject};

/// Measures servers that speak the ZooKeeper protocol.
#[derive(Parser)]
#[command(name = "farwatch-bench", version)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Compares Farwatch with ZooKeeper and the ceiling in one run.
    Compare(Compare),
    /// Loads one running server and prints what it reaches.
    Load(LoadOne),
    /// Serves canned replies: what sockets alone cost.
    Ceiling {
        /// Bytes of the value that every read is answered with.
        value_bytes: usize,
    },
}

#[derive(Args)]
struct Compare {
    /// The release binary of Farwatch.
    #[arg(long, default_value = "target/release/farwatch")]
    farwatch: PathBuf,
    /// Another binary to compare with in the same run, such as that of the commit before.
    #[arg(long, value_name = "NAME=PATH")]
    also: Vec<String>,
    /// A ZooKeeper release such as 3.9.4, fetched with Maven; Debian's package by default.
    #[arg(long)]
    zookeeper: Option<String>,
    /// Leaves ZooKeeper out, for quick looks.
    #[arg(long, conflicts_with = "zookeeper")]
    without_zookeeper: bool,
    /// Cells to measure, all by default; a name or the beginning of names.
    #[arg(long = "cell", value_name = "NAME")]
    cells: Vec<String>,
    /// Rounds that must count.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each server in each round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds of each server before the first round of a cell.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Also measures starts with so many nodes on disk; 0 does not.
    #[arg(long, default_value_t = 0)]
    start_nodes: usize,
    /// A document whose table is replaced by what was found.
    #[arg(long)]
    document: Option<PathBuf>,
}

#[derive(Args)]
struct LoadOne {
    /// Where the server listens.
    address: std::net::SocketAddr,
    /// get, set, create, or the percentage of reads in a mix.
    #[arg(long, default_value = "get", value_parser = kind)]
    kind: Kind,
    /// Sessions.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests of each session under way.
    #[arg(long, default_value_t = 1)]
    outstanding: usize,
    /// Bytes of a value.
    #[arg(long, default_value_t = VALUE_BYTES)]
    value_bytes: usize,
    /// Nodes to read and set.
    #[arg(long, default_value_t = 10_000)]
    keys: usize,
    /// Threads of the load.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// How long.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

/// Java's just-in-time compiler needs this before the first figure means something.
const JVM_WARM_UP: Duration = Duration::from_secs(8);

/// Starts of each server with a filled tree.
const START_ROUNDS: usize = 3;

fn main() -> Result<()> {
    match Command::parse().action {
        Action::Compare(compare) => compare.run(),
        Action::Load(load) => load.run(),
        Action::Ceiling { value_bytes } => ceiling::run(value_bytes),
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "get" => Ok(Kind::Get),
        "set" => Ok(Kind::Set),
        "create" => Ok(Kind::Create),
        percent => match percent.parse() {
            Ok(read_percent @ 0..=100) => Ok(Kind::Mix { read_percent }),
            _other => Err("expected get, set, create, or a percentage of reads".to_owned()),
        },
    }
}

impl Compare {
    fn run(&self) -> Result<()> {
        let cells = self.chosen()?;
        let ceiling = Ceiling::start(VALUE_BYTES)?;
        let mut subjects = self.subjects()?;
        let mut contestants = vec![Contestant {
            name: CEILING.to_owned(),
            address: ceiling.address(),
            pid: ceiling.pid(),
            canned: true,
        }];
        for (name, subject) in &subjects {
            let (name, address) = (name.clone(), subject.address());
            let pid = subject.pid().expect("it was started");
            contestants.push(Contestant { name, address, pid, canned: false });
        }
        self.warm_up_java(&contestants)?;
        let pace = Pace {
            rounds: self.rounds,
            slice: Duration::from_secs_f64(self.seconds),
            warm_up: Duration::from_secs_f64(self.warm_up),
        };
        let mut results = Vec::new();
        for cell in cells {
            let result = referee::measure(cell, &contestants, pace)?;
            print!("{}", report::terminal(&result));
            results.push(result);
        }
        drop(ceiling);
        let mut starts = Vec::new();
        if self.start_nodes > 0 {
            // On fresh directories: what the cells left behind differs between the servers.
            subjects.clear();
            subjects = self.subjects()?;
            starts = startup::measure(&mut subjects, self.start_nodes, VALUE_BYTES, START_ROUNDS)?;
        }
        let table = report::markdown(&results, &starts);
        println!("\n{table}");
        if let Some(document) = &self.document {
            report::replace_between_marks(document, &table)?;
        }
        Ok(())
    }

    fn chosen(&self) -> Result<Vec<Cell>> {
        let is_chosen =
            |cell: &&Cell| self.cells.is_empty() || self.cells.iter().any(|it| matches(cell, it));
        let chosen: Vec<Cell> = CELLS.iter().filter(is_chosen).copied().collect();
        let names: Vec<&str> = CELLS.iter().map(|cell| cell.name).collect();
        for asked in &self.cells {
            ensure!(
                CELLS.iter().any(|cell| matches(cell, asked)),
                "there is no cell {asked}; there are: {}",
                names.join(" ")
            );
        }
        Ok(chosen)
    }

    fn subjects(&self) -> Result<Vec<(String, Subject)>> {
        let mut subjects = Vec::new();
        if !self.without_zookeeper {
            let options = Options::new().java_flag("-Xmx2g");
            let subject = match &self.zookeeper {
                Some(version) => Subject::zookeeper_jar(version, options)?,
                None => Subject::zookeeper(options)?,
            };
            subjects.push((ZOOKEEPER.to_owned(), subject));
        }
        for also in &self.also {
            let Some((name, path)) = also.split_once('=') else {
                bail!("--also {also}: expected NAME=PATH");
            };
            let path = PathBuf::from(path).canonicalize()?;
            subjects.push((name.to_owned(), Subject::farwatch(path, Options::new())?));
        }
        let ours = self.farwatch.canonicalize();
        let Ok(ours) = ours else {
            bail!("{} is missing: cargo build --release", self.farwatch.display());
        };
        subjects.push((FARWATCH.to_owned(), Subject::farwatch(ours, Options::new())?));
        Ok(subjects)
    }

    fn warm_up_java(&self, contestants: &[Contestant]) -> Result<()> {
        let Some(java) = contestants.iter().find(|it| it.name == ZOOKEEPER) else {
            return Ok(());
        };
        for kind in [Kind::Get, Kind::Set] {
            let workload =
                Workload { kind, connections: 16, outstanding: 64, ..Workload::default() };
            Load::open(java.address, &workload, false)?.run(JVM_WARM_UP)?;
        }
        Ok(())
    }
}

fn matches(cell: &Cell, asked: &str) -> bool {
    cell.name.starts_with(asked)
}

impl LoadOne {
    fn run(&self) -> Result<()> {
        let workload = Workload {
            kind: self.kind,
            connections: self.connections,
            outstanding: self.outstanding,
            value_bytes: self.value_bytes,
            keys: self.keys,
            threads: self.threads,
        };
        let mut load = Load::open(self.address, &workload, false)?;
        let slice = load.run(Duration::from_secs_f64(self.seconds))?;
        println!("{:.0} operations/s in {:.2?}", slice.rate(), slice.elapsed);
        for (name, histogram) in [("reads", &slice.reads), ("writes", &slice.writes)] {
            if !histogram.is_empty() {
                let us = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
                println!(
                    "{name}: p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us, longest {:.0} us",
                    us(0.5),
                    us(0.99),
                    us(0.999),
                    histogram.max() as f64 / 1e3
                );
            }
        }
        Ok(())
    }
}
