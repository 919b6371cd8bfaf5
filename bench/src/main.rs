//! Measures Farwatch against Apache ZooKeeper and against what the machine allows.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use farwatch_bench::bars::Bars;
use farwatch_bench::ceiling::{self, Ceiling};
use farwatch_bench::load::cells::{CELLS, Cell, MORE, VALUE_BYTES};
use farwatch_bench::load::failover::{self, Blow, Kill};
use farwatch_bench::load::record;
use farwatch_bench::load::referee::{self, Contestant, Pace, Spread};
use farwatch_bench::load::report::{self, CEILING, FARWATCH, ZOOKEEPER};
use farwatch_bench::load::servers::{self, Servers};
use farwatch_bench::load::{barriers, startup};
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
    /// Measures the bars of docs/performance.md one by one and writes the table of them.
    Bars(Bars),
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
    #[command(flatten)]
    servers: Servers,
    /// Another binary to compare with in the same run, such as that of the commit before.
    #[arg(long, value_name = "NAME=PATH")]
    also: Vec<String>,
    /// Servers of each subject: an ensemble of so many voters, its connections spread over all.
    #[arg(long, default_value_t = 1)]
    voters: u32,
    /// Cells to measure, a name or the beginning of names. By default all but `mix70` and `curve`, the
    /// curve of ZooKeeper's paper from writes alone to reads alone.
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
    /// Writes a page with the table and plots of rates, latencies, memory, and throughput against latency.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes one page of Markdown: the machine, the table, and how to read it.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
}

#[derive(Args)]
struct Failover {
    #[command(flatten)]
    servers: Servers,
    /// Leaders killed in each ensemble.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// What happens to the leader.
    #[arg(long, value_enum, default_value_t = Blow::Kill)]
    blow: Blow,
    /// Voters of each ensemble.
    #[arg(long, default_value_t = 3)]
    voters: u32,
}

#[derive(Args)]
struct Barriers {
    #[command(flatten)]
    servers: Servers,
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

/// Starts of each server with a filled tree.
const START_ROUNDS: usize = 3;

fn main() -> Result<()> {
    match Command::parse().action {
        Action::Compare(compare) => compare.run(),
        Action::Failover(failover) => failover.run(),
        Action::Barriers(barriers) => barriers.run(),
        Action::Bars(bars) => bars.run(),
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
        if let Some(java) = contestants.iter().find(|it| it.name == ZOOKEEPER) {
            servers::warm_up_java(&java.addresses)?;
        }
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
        if let Some(file) = &self.summary {
            record::write_summary(file, &run, &table)?;
        }
        if let Some(document) = &self.document {
            let marks = if self.voters == 1 { report::MARKS } else { report::ENSEMBLE_MARKS };
            report::replace_between(marks, document, &table)?;
        }
        if let Some(file) = &self.html {
            record::write_page(file, &run, &table, &results)?;
        }
        Ok(())
    }

    fn chosen(&self) -> Result<Vec<Cell>> {
        if self.cells.is_empty() {
            return Ok(CELLS.to_vec());
        }
        let all = || CELLS.iter().chain(&MORE);
        let names: Vec<&str> = all().map(|cell| cell.name).collect();
        for asked in &self.cells {
            ensure!(
                all().any(|cell| matches(cell, asked)),
                "there is no cell {asked}; there are: {}",
                names.join(" ")
            );
        }
        let is_chosen = |cell: &&Cell| self.cells.iter().any(|asked| matches(cell, asked));
        Ok(all().filter(is_chosen).copied().collect())
    }

    fn subjects(&self) -> Result<Vec<(String, Started)>> {
        let options = Options::new().java_flag("-Xmx2g");
        let mut subjects: Vec<(String, Started)> = Vec::new();
        if self.voters == 1 {
            let all = self.servers.alone(&options)?.into_iter();
            let named = |(name, it): (&str, _)| (name.to_owned(), Started::Alone(Box::new(it)));
            subjects.extend(all.map(named));
        } else {
            let all = self.servers.ensembles(self.voters, &options)?.into_iter();
            subjects.extend(all.map(|(name, it)| (name.to_owned(), Started::Ensemble(it))));
        }
        for also in &self.also {
            let Some((name, path)) = also.split_once('=') else {
                bail!("--also {also}: expected NAME=PATH");
            };
            // Beside the binary of today, which comes last.
            let at = subjects.len() - 1;
            subjects.insert(at, (name.to_owned(), self.ours(PathBuf::from(path))?));
        }
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
}

impl Failover {
    /// The ensembles take turns, so that a neighbour on the machine disturbs both alike.
    fn run(&self) -> Result<()> {
        let mut ensembles = self.servers.ensembles(self.voters, &Options::new())?;
        let kills = failover::in_turn(&mut ensembles, self.kills, self.blow)?;
        for ((name, _), kills) in ensembles.iter().zip(&kills) {
            let spread = |of: fn(&Kill) -> Duration| {
                let Spread { median, min, max } =
                    Spread::of(kills.iter().map(|kill| of(kill).as_secs_f64() * 1e3));
                format!("median {median:.0} ms ({min:.0}-{max:.0})")
            };
            let dropped: u32 = kills.iter().map(|kill| kill.readers_dropped).sum();
            println!("{name}, the leader {} {} times:", self.blow.done(), kills.len());
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
        let ensembles = self.servers.ensembles(self.voters, &Options::new())?;
        let each = self.barriers / self.rounds;
        let took = barriers::in_turn(&ensembles, self.clients, each, self.rounds)?;
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
