//! `farwatch-sim`: replay one seed, soak many, hunt planted bugs.

use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use farwatch_sim::hunt;

#[derive(Parser)]
#[command(about = "Clusters of Farwatch servers, each decided by one seed")]
struct Arguments {
    /// Replays this seed with a transcript.
    #[arg(long)]
    seed: Option<u64>,
    /// Simulated seconds under faults; the calm comes after them.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs seeds one after the other and stops at the first that fails.
    Soak {
        /// For so long.
        #[arg(long, default_value_t = 1.0)]
        minutes: f64,
        /// From this seed on.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// At most so many.
        #[arg(long, default_value_t = u64::MAX)]
        count: u64,
        /// Goes on after a failure, and reports each.
        #[arg(long)]
        keep_going: bool,
    },
    /// Plants each bug in turn and reports the first seed that catches it.
    #[cfg(feature = "mutants")]
    Mutants {
        /// Seeds to try for each.
        #[arg(long, default_value_t = 300)]
        seeds: u64,
        /// Only the bugs whose name contains this.
        #[arg(long, default_value = "")]
        only: String,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match (arguments.seed, arguments.command) {
        (Some(seed), _) => replay(seed, arguments.seconds),
        (None, Some(Command::Soak { minutes, from, count, keep_going })) => {
            soak(minutes, from, count, keep_going, arguments.seconds)
        }
        #[cfg(feature = "mutants")]
        (None, Some(Command::Mutants { seeds, only })) => mutants(seeds, &only, arguments.seconds),
        (None, None) => anyhow::bail!("say --seed N, soak or mutants; --help tells more"),
    }
}

fn replay(seed: u64, seconds: u64) -> anyhow::Result<()> {
    let plan = farwatch_sim::plan::Plan::of(seed, seconds);
    println!("seed {seed}: {plan:#?}");
    let cluster = farwatch_sim::cluster::Cluster::new(seed, plan, None, true);
    let verdict = cluster.run();
    for line in &verdict.lines {
        println!("{line}");
    }
    println!(
        "seed {seed}: {} committed, {} answered, {} epochs, {} events, trace {:016x}",
        verdict.committed, verdict.answered, verdict.epochs, verdict.events, verdict.hash
    );
    for violation in &verdict.violations {
        println!("VIOLATED {} (sim/src/invariants): {}", violation.property, violation.text);
    }
    anyhow::ensure!(verdict.violations.is_empty(), "seed {seed} violates a property");
    Ok(())
}

fn soak(minutes: f64, from: u64, count: u64, keep_going: bool, seconds: u64) -> anyhow::Result<()> {
    let (begin, limit) = (Instant::now(), Duration::from_secs_f64(minutes * 60.0));
    let (mut seeds, mut failed, mut simulated, mut committed, mut answered) = (0, 0, 0, 0, 0);
    let mut slowest = 0;
    while seeds < count && begin.elapsed() < limit {
        let seed = from + seeds;
        seeds += 1;
        let failure = match hunt::run(seed, seconds, None, false) {
            Err(panic) => Some(format!("assertion: {panic}")),
            Ok(verdict) => {
                simulated += verdict.end_us;
                committed += verdict.committed;
                answered += verdict.answered;
                slowest = slowest.max(verdict.recovered_us.unwrap_or(0));
                verdict.violations.first().map(|v| format!("{}: {}", v.property, v.text))
            }
        };
        if let Some(failure) = failure {
            failed += 1;
            println!("seed {seed}: {failure}");
            println!(
                "reproduce: cargo run --release -p farwatch-sim -- --seed {seed} --seconds {seconds}"
            );
            if !keep_going {
                break;
            }
        }
    }
    let hours = simulated as f64 / 3.6e9;
    let minutes = begin.elapsed().as_secs_f64() / 60.0;
    println!(
        "{seeds} seeds, {failed} failed; {hours:.2} simulated hours in {minutes:.2} minutes \
         ({:.2} hours a minute); {committed} committed, {answered} answered; slowest recovery \
         {:.2} s",
        hours / minutes,
        slowest as f64 / 1e6
    );
    if seeds < count && count < u64::MAX && failed == 0 {
        println!("not run: {} of {count} seeds because the time was up", count - seeds);
    }
    anyhow::ensure!(failed == 0, "{failed} seeds failed");
    Ok(())
}

#[cfg(feature = "mutants")]
fn mutants(seeds: u64, only: &str, seconds: u64) -> anyhow::Result<()> {
    use farwatch_core::zab::mutant::Mutant;

    // Assertions of the code under test are how many of them are caught.
    std::panic::set_hook(Box::new(|_| {}));
    let mut survivors = Vec::new();
    let mut tried = 0;
    for &mutant in Mutant::ALL.iter().filter(|mutant| format!("{mutant:?}").contains(only)) {
        tried += 1;
        match hunt::hunt(mutant, 1..seeds + 1, seconds) {
            Some((seed, how)) => {
                let how: String = how.lines().next().unwrap_or_default().chars().take(90).collect();
                println!("{:<28} seed {seed:>5}  {how}", format!("{mutant:?}"));
            }
            None => {
                println!("{:<28} survives {seeds} seeds", format!("{mutant:?}"));
                survivors.push(mutant);
            }
        }
    }
    let caught = tried - survivors.len();
    println!("{caught} of {tried} caught; survivors: {survivors:?}");
    anyhow::ensure!(90 * tried <= 100 * caught, "fewer than 90 % of the planted bugs are caught");
    Ok(())
}
