//! Measures Farwatch against Apache ZooKeeper and against what the machine allows.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use farwatch_bench::bars::Bars;
use farwatch_bench::ceiling;
use farwatch_bench::load::barriers;
use farwatch_bench::load::compare::Compare;
use farwatch_bench::load::failover::{self, Blow, Kill};
use farwatch_bench::load::referee::Spread;
use farwatch_bench::load::report::{FARWATCH, ZOOKEEPER};
use farwatch_bench::load::servers::Servers;
use farwatch_bench::observers::Observers;
use farwatch_bench::stages::Stages;
use farwatch_bench::subject::Options;

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
    /// Tells where the time of an operation goes: stages of servers, and their threads.
    Stages(Stages),
    /// Measures what observers cost, and what a cut costs them, beside ZooKeeper's.
    Observers(Observers),
    /// Serves canned replies: what sockets alone cost.
    Ceiling {
        /// Bytes of the value that every read is answered with.
        value_bytes: usize,
    },
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

fn main() -> Result<()> {
    match Command::parse().action {
        Action::Compare(compare) => compare.run(),
        Action::Failover(failover) => failover.run(),
        Action::Barriers(barriers) => barriers.run(),
        Action::Bars(bars) => bars.run(),
        Action::Observers(observers) => observers.run(),
        Action::Stages(stages) => stages.run(),
        Action::Ceiling { value_bytes } => ceiling::run(value_bytes),
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
