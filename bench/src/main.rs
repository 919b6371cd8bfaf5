//! Measures Farwatch against Apache ZooKeeper and against what the machine allows.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use farwatch_bench::ceiling::{self, Ceiling};
use farwatch_bench::load::barriers::Company;
use farwatch_bench::load::cells::{CELLS, Cell, VALUE_BYTES};
use farwatch_bench::load::failover::{self, Kill};
use farwatch_bench::load::record;
use farwatch_bench::load::referee::{self, Contestant, Pace, Spread};
use farwatch_bench::load::report::{self, CEILING, FARWATCH, ZOOKEEPER};
use farwatch_bench::load::{Kind, Load, Nodes, ROOT, Workload, startup};
use farwatch_bench::observers::Observers;
use farwatch_bench::subject::{Ensemble, Options, Subject};

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
    /// Kills the leaders of two ensembles in turn, and tells what clients of the others saw.
    Failover(Failover),
    /// Sends many clients through double barriers, as the ZooKeeper paper did, and compares the
    /// times.
    Barriers(Barriers),
    /// Measures what observers cost, and what a cut costs them, beside ZooKeeper's.
    Observers(Observers),
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
    /// Servers of each subject: an ensemble of so many voters, its connections spread over all.
    #[arg(long, default_value_t = 1)]
    voters: u32,
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
    /// Writes every round, and what machine it was.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes a page with the table and plots of rates and latencies.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Args)]
struct Failover {
    /// The release binary of Farwatch.
    #[arg(long, default_value = "target/release/farwatch")]
    farwatch: PathBuf,
    /// A ZooKeeper release such as 3.9.4, fetched with Maven; Debian's package by default.
    #[arg(long)]
    zookeeper: Option<String>,
    /// Leaves ZooKeeper out, for quick looks.
    #[arg(long, conflicts_with = "zookeeper")]
    without_zookeeper: bool,
    /// Leaders killed in each ensemble.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// Voters of each ensemble.
    #[arg(long, default_value_t = 3)]
    voters: u32,
}

#[derive(Args)]
struct Barriers {
    /// The release binary of Farwatch.
    #[arg(long, default_value = "target/release/farwatch")]
    farwatch: PathBuf,
    /// A ZooKeeper release such as 3.9.4, fetched with Maven; Debian's package by default.
    #[arg(long)]
    zookeeper: Option<String>,
    /// Leaves ZooKeeper out, for quick looks.
    #[arg(long, conflicts_with = "zookeeper")]
    without_zookeeper: bool,
    /// Voters of each ensemble.
    #[arg(long, default_value_t = 3)]
    voters: u32,
    /// Clients.
    #[arg(long, default_value_t = 200)]
    clients: usize,
    /// Barriers that all of them pass, over all rounds.
    #[arg(long, default_value_t = 200)]
    barriers: usize,
    /// Rounds, in each of which every ensemble has its turn. Servers end sessions that are silent for
    /// longer than a turn of the others may take: rather more rounds than long ones.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
}

/// What one name of the table stands for.
enum Started {
    Alone(Box<Subject>),
    Ensemble(Ensemble),
}

impl Started {
    fn addresses(&self) -> Vec<std::net::SocketAddr> {
        match self {
            Self::Alone(subject) => vec![subject.address()],
            Self::Ensemble(ensemble) => ensemble.addresses(),
        }
    }

    fn pids(&self) -> Vec<u32> {
        match self {
            Self::Alone(subject) => subject.pid().into_iter().collect(),
            Self::Ensemble(ensemble) => ensemble.pids(),
        }
    }
}

/// Java's just-in-time compiler needs this before the first figure means something.
const JVM_WARM_UP: Duration = Duration::from_secs(8);

/// Starts of each server with a filled tree.
const START_ROUNDS: usize = 3;

fn main() -> Result<()> {
    match Command::parse().action {
        Action::Compare(compare) => compare.run(),
        Action::Failover(failover) => failover.run(),
        Action::Barriers(barriers) => barriers.run(),
        Action::Observers(observers) => observers.run(),
        Action::Ceiling { value_bytes } => ceiling::run(value_bytes),
    }
}

impl Compare {
    fn run(&self) -> Result<()> {
        let cells = self.chosen()?;
        let machine = record::machine();
        let ceiling = Ceiling::start(VALUE_BYTES)?;
        let mut subjects = self.subjects()?;
        let mut contestants = vec![Contestant {
            name: CEILING.to_owned(),
            addresses: vec![ceiling.address()],
            pids: vec![ceiling.pid()],
            canned: true,
        }];
        for (name, subject) in &subjects {
            let (addresses, pids) = (subject.addresses(), subject.pids());
            contestants.push(Contestant { name: name.clone(), addresses, pids, canned: false });
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
            ensure!(self.voters == 1, "starts are measured of one server: leave --voters out");
            subjects.clear();
            let mut subjects: Vec<(String, Subject)> = Vec::new();
            for (name, started) in self.subjects()? {
                let Started::Alone(subject) = started else { continue };
                subjects.push((name, *subject));
            }
            starts = startup::measure(&mut subjects, self.start_nodes, VALUE_BYTES, START_ROUNDS)?;
        }
        let table = report::markdown(&results, &starts);
        println!("\n{table}");
        let run = record::json(self.voters, &machine, &results);
        if let Some(file) = &self.json {
            std::fs::write(file, serde_json::to_string_pretty(&run)?)?;
        }
        if let Some(file) = &self.html {
            record::write_page(file, &run, &table, &results)?;
        }
        if let Some(document) = &self.document {
            let marks = if self.voters == 1 { report::MARKS } else { report::ENSEMBLE_MARKS };
            report::replace_between(marks, document, &table)?;
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

    fn subjects(&self) -> Result<Vec<(String, Started)>> {
        let mut subjects = Vec::new();
        if !self.without_zookeeper {
            let options = Options::new().java_flag("-Xmx2g");
            let version = self.zookeeper.as_deref();
            let started = match (self.voters, version) {
                (1, Some(version)) => {
                    Started::Alone(Box::new(Subject::zookeeper_jar(version, options)?))
                }
                (1, None) => Started::Alone(Box::new(Subject::zookeeper(options)?)),
                (voters, version) => Started::Ensemble(zookeepers(version, voters, &options)?),
            };
            subjects.push((ZOOKEEPER.to_owned(), started));
        }
        for also in &self.also {
            let Some((name, path)) = also.split_once('=') else {
                bail!("--also {also}: expected NAME=PATH");
            };
            subjects.push((name.to_owned(), self.ours(PathBuf::from(path))?));
        }
        subjects.push((FARWATCH.to_owned(), self.ours(self.farwatch.clone())?));
        Ok(subjects)
    }

    fn ours(&self, binary: PathBuf) -> Result<Started> {
        ensure!(binary.exists(), "{} is missing: cargo build --release", binary.display());
        let options = Options::new();
        Ok(match self.voters {
            1 => Started::Alone(Box::new(Subject::farwatch(binary, options)?)),
            voters => Started::Ensemble(Ensemble::farwatch(binary, voters, &options)?),
        })
    }

    fn warm_up_java(&self, contestants: &[Contestant]) -> Result<()> {
        let Some(java) = contestants.iter().find(|it| it.name == ZOOKEEPER) else {
            return Ok(());
        };
        for kind in [Kind::Get, Kind::Set] {
            let workload =
                Workload { kind, connections: 16, outstanding: 64, ..Workload::default() };
            Load::open(&java.addresses, &workload, Nodes::Below(ROOT))?.run(JVM_WARM_UP)?;
        }
        Ok(())
    }
}

fn zookeepers(version: Option<&str>, voters: u32, options: &Options) -> Result<Ensemble> {
    match version {
        Some(version) => Ensemble::zookeeper_jar(version, voters, options),
        None => Ensemble::zookeeper(voters, options),
    }
}

impl Failover {
    /// The ensembles take turns, so that a neighbour on the machine disturbs both alike.
    fn run(&self) -> Result<()> {
        let options = Options::new();
        let mut ensembles = Vec::new();
        if !self.without_zookeeper {
            let version = self.zookeeper.as_deref();
            ensembles.push((ZOOKEEPER, zookeepers(version, self.voters, &options)?));
        }
        let ours = Ensemble::farwatch(&self.farwatch, self.voters, &options)?;
        ensembles.push((FARWATCH, ours));
        let mut kills: Vec<Vec<Kill>> = vec![Vec::new(); ensembles.len()];
        for _ in 0..self.kills {
            for ((_, ensemble), kills) in ensembles.iter_mut().zip(&mut kills) {
                kills.extend(failover::measure(ensemble, 1)?);
            }
        }
        for ((name, _), kills) in ensembles.iter().zip(&kills) {
            let spread = |of: fn(&Kill) -> Duration| {
                let Spread { median, min, max } =
                    Spread::of(kills.iter().map(|kill| of(kill).as_secs_f64() * 1e3));
                format!("median {median:.0} ms ({min:.0}-{max:.0})")
            };
            let dropped: u32 = kills.iter().map(|kill| kill.readers_dropped).sum();
            println!("{name}, {} kills of the leader:", kills.len());
            println!("  no acknowledged write for: {}", spread(|kill| kill.write_gap));
            println!("  no answered read for: {}", spread(|kill| kill.read_gap));
            println!("  connections of readers lost: {dropped}");
        }
        Ok(())
    }
}

impl Barriers {
    fn run(&self) -> Result<()> {
        ensure!(0 < self.rounds && self.rounds <= self.barriers, "a round needs a barrier");
        let options = Options::new();
        let mut ensembles = Vec::new();
        if !self.without_zookeeper {
            let version = self.zookeeper.as_deref();
            ensembles.push((ZOOKEEPER, zookeepers(version, self.voters, &options)?));
        }
        let ours = Ensemble::farwatch(&self.farwatch, self.voters, &options)?;
        ensembles.push((FARWATCH, ours));
        let each = self.barriers / self.rounds;
        let mut companies = Vec::new();
        for (_, ensemble) in &ensembles {
            let mut company = Company::gather(&ensemble.addresses(), self.clients)?;
            company.pass(each)?; // Java warms up; both do the same
            companies.push(company);
        }
        let mut took: Vec<Vec<f64>> = vec![Vec::new(); ensembles.len()];
        for _round in 0..self.rounds {
            for (company, took) in companies.iter_mut().zip(&mut took) {
                took.push(company.pass(each)?.as_secs_f64());
            }
        }
        for ((name, _), took) in ensembles.iter().zip(&took) {
            let Spread { median, min, max } =
                Spread::of(took.iter().map(|seconds| seconds / each as f64 * 1e3));
            println!(
                "{name}: {:.1} s for {} barriers of {} clients, {median:.1} ms each ({min:.1}-{max:.1})",
                took.iter().sum::<f64>(),
                each * self.rounds,
                self.clients
            );
        }
        if let [theirs, ours] = &took[..] {
            let Spread { median, min, max } =
                Spread::of(theirs.iter().zip(ours).map(|(theirs, ours)| theirs / ours));
            println!("{ZOOKEEPER} / {FARWATCH}: {median:.2} ({min:.2}-{max:.2})");
        }
        Ok(())
    }
}

fn matches(cell: &Cell, asked: &str) -> bool {
    cell.name.starts_with(asked)
}
