//! `farwatch-sim`: replay one seed, soak many for safety or for liveness, crash at every action, hunt
//! planted bugs.

#[cfg(feature = "mutants")]
mod planted;

use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use farwatch_sim::cluster::{Cluster, UNANSWERED_US, Verdict};
use farwatch_sim::hunt;
use farwatch_sim::plan::{Mode, Plan};

#[derive(Parser)]
#[command(about = "Clusters of Farwatch servers, each decided by one seed")]
struct Arguments {
    /// Replays this seed with a transcript.
    #[arg(long)]
    seed: Option<u64>,
    /// Replays the seed of a liveness run.
    #[arg(long)]
    liveness: bool,
    /// Replays the seed as `crashes` runs it, with a crash instead of this action.
    #[arg(long, requires = "seed")]
    crash_at: Option<u64>,
    /// Simulated seconds under faults; the calm comes after them.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(clap::Args)]
struct Soak {
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
    /// Runs each seed twice, and fails where the two histories differ.
    #[arg(long)]
    check_determinism: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Safety: faults of every kind, then all is well and all must agree.
    Soak(Soak),
    /// Liveness: after the faults a bare quorum is well, all others stay broken or go on breaking;
    /// writes must be answered within a bound.
    Liveness(Soak),
    /// Without any other fault, a crash instead of each action of each server in turn.
    Crashes {
        /// Seeds to try, from 1 on.
        #[arg(long, default_value_t = 8)]
        seeds: u64,
        /// Tries only every so-many-th action.
        #[arg(long, default_value_t = 1)]
        stride: u64,
    },
    /// Plays stories of `sim/scenarios`.
    Scenario { files: Vec<std::path::PathBuf> },
    /// Plants each bug in turn and reports the first seed that catches it.
    #[cfg(feature = "mutants")]
    Mutants {
        /// Seeds to try for each.
        #[arg(long, default_value_t = 300)]
        seeds: u64,
        /// Only the bugs whose name contains this.
        #[arg(long, default_value = "")]
        only: String,
        /// What an earlier hunt wrote: its seeds are tried first, and what survived it is not tried
        /// again.
        #[arg(long)]
        known: Option<std::path::PathBuf>,
        /// Writes which seed caught each.
        #[arg(long, conflicts_with = "known")]
        write: Option<std::path::PathBuf>,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let seconds = arguments.seconds;
    let mode = if arguments.liveness { Mode::Liveness } else { Mode::Safety };
    match (arguments.seed, arguments.command) {
        (Some(seed), _) => replay(seed, seconds, mode, arguments.crash_at),
        (None, Some(Command::Soak(options))) => soak(&options, seconds, Mode::Safety),
        (None, Some(Command::Liveness(options))) => soak(&options, seconds, Mode::Liveness),
        (None, Some(Command::Crashes { seeds, stride })) => crashes(seeds, seconds, stride),
        (None, Some(Command::Scenario { files })) => scenarios(&files),
        #[cfg(feature = "mutants")]
        (None, Some(Command::Mutants { seeds, only, known, write })) => {
            planted::hunt_all(seeds, &only, seconds, known.as_deref(), write.as_deref())
        }
        (None, None) => {
            anyhow::bail!(
                "say --seed N, soak, liveness, crashes, scenario or mutants; --help tells more"
            )
        }
    }
}

fn scenarios(files: &[std::path::PathBuf]) -> anyhow::Result<()> {
    for file in files {
        let text = std::fs::read_to_string(file)?;
        farwatch_sim::scenario::run(&text)
            .map_err(|failure| anyhow::anyhow!("{}: {failure}", file.display()))?;
    }
    println!("{} stories end as they are told", files.len());
    Ok(())
}

fn replay(seed: u64, seconds: u64, mode: Mode, crash_at: Option<u64>) -> anyhow::Result<()> {
    let plan = crash_at.map_or_else(
        || Plan::of(seed, seconds, mode),
        |point| Plan { crash_at_action: point, ..hunt::quiet_plan(seed, seconds) },
    );
    println!("seed {seed}: {plan:#?}");
    let verdict = Cluster::new(seed, plan, None, true).run();
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

/// What a soak came to.
#[derive(Default)]
struct Sum {
    seeds: u64,
    failed: u64,
    simulated_us: u64,
    committed: usize,
    answered: usize,
    /// The slowest recovery, and of which seed.
    slowest: (u64, u64),
    unanswered_us: u64,
}

impl Sum {
    fn add(&mut self, verdict: &Verdict) {
        self.simulated_us += verdict.end_us;
        self.committed += verdict.committed;
        self.answered += verdict.answered;
        self.slowest = self.slowest.max((verdict.recovered_us.unwrap_or(0), verdict.seed));
        self.unanswered_us = self.unanswered_us.max(verdict.unanswered_us);
    }
}

fn soak(options: &Soak, seconds: u64, mode: Mode) -> anyhow::Result<()> {
    let (begin, limit) = (Instant::now(), Duration::from_secs_f64(options.minutes * 60.0));
    let failed = std::sync::atomic::AtomicBool::new(false);
    let flag = if mode == Mode::Liveness { " --liveness" } else { "" };
    let mut sum = Sum::default();
    let stop = std::sync::atomic::Ordering::Relaxed;
    let work = |number: u64| {
        let stopped = failed.load(stop) && !options.keep_going;
        if number >= options.count || begin.elapsed() >= limit || stopped {
            return None;
        }
        let seed = options.from + number;
        let outcome = hunt::run(seed, seconds, mode, None);
        let mut failure = hunt::failure(&outcome);
        if options.check_determinism && failure.is_none() {
            let hash = |outcome: &Result<Verdict, String>| outcome.as_ref().map(|v| v.hash).ok();
            let again = hunt::run(seed, seconds, mode, None);
            if hash(&outcome) != hash(&again) {
                failure = Some("the same seed told another history the second time".to_string());
            }
        }
        failed.fetch_or(failure.is_some(), stop);
        Some((outcome, failure))
    };
    hunt::on_every_core(work, |number, (outcome, failure)| {
        sum.seeds += 1;
        if let Ok(verdict) = &outcome {
            sum.add(verdict);
        }
        if let Some(failure) = failure {
            sum.failed += 1;
            let seed = options.from + number;
            println!("seed {seed}: {failure}");
            println!(
                "reproduce: cargo run --release -p farwatch-sim -- --seed {seed} --seconds \
                 {seconds}{flag}"
            );
        }
    });
    report(&sum, options, mode, begin.elapsed());
    anyhow::ensure!(sum.failed == 0, "{} seeds failed", sum.failed);
    Ok(())
}

fn report(sum: &Sum, options: &Soak, mode: Mode, took: Duration) {
    let hours = sum.simulated_us as f64 / 3.6e9;
    let minutes = took.as_secs_f64() / 60.0;
    println!(
        "{mode:?}: {} seeds, {} failed; {hours:.2} simulated hours in {minutes:.2} minutes \
         ({:.1} hours a minute); {} committed, {} answered; slowest recovery {:.2} s (seed {})",
        sum.seeds,
        sum.failed,
        hours / minutes,
        sum.committed,
        sum.answered,
        sum.slowest.0 as f64 / 1e6,
        sum.slowest.1
    );
    if mode == Mode::Liveness {
        println!(
            "longest time without an answer {:.2} s, of {:.1} s allowed",
            sum.unanswered_us as f64 / 1e6,
            UNANSWERED_US as f64 / 1e6
        );
    }
    if sum.seeds < options.count && options.count < u64::MAX && sum.failed == 0 {
        let left = options.count - sum.seeds;
        println!("not run: {left} of {} seeds because the time was up", options.count);
    }
}

fn crashes(seeds: u64, seconds: u64, stride: u64) -> anyhow::Result<()> {
    let (mut points, mut failures) = (0, Vec::new());
    let work =
        |number: u64| (number < seeds).then(|| hunt::crash_everywhere(number + 1, seconds, stride));
    hunt::on_every_core(work, |_, outcome| match outcome {
        Ok(tried) => points += tried,
        Err(failure) => failures.push(failure),
    });
    println!("{points} places to crash at in {seeds} seeds, {} failed", failures.len());
    anyhow::ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}
