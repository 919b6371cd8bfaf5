//! Plays random scripts to two servers and exits with 1 when they differ.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Parser;
use farwatch_bench::differential::{
    Finding, KNOWN, Kind, Kinds, Pair, Script, Step, Unsteady, WITHHELD, Wishes,
};
use farwatch_bench::raw::four_letter_word;
use farwatch_bench::subject::{Ensemble, Options, Subject};

/// Plays the same random operations to two servers and compares everything a client can see.
#[derive(Debug, Parser)]
struct Arguments {
    /// Server A: zookeeper (Debian's), zookeeper-jar or zookeeper-jar:VERSION, farwatch, or
    /// host:port. Or three servers: `zookeeper-ensemble[:VERSION]` or `farwatch-ensemble`.
    #[arg(long, default_value = "zookeeper-jar")]
    a: String,
    /// Server B, as A.
    #[arg(long, default_value = "farwatch")]
    b: String,
    /// How many operations.
    #[arg(long, default_value_t = 20_000)]
    ops: usize,
    /// The seed of the script; another one in each run unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// How many scripts, of this seed and the following ones, all on the same servers. Only the
    /// first divergence of each sort is shown.
    #[arg(long, default_value_t = 1)]
    scripts: u64,
    /// In how many of 100 cases a client sends a burst of requests without waiting.
    #[arg(long, default_value_t = 10)]
    bursts: usize,
    /// Takes known differences for divergences too.
    #[arg(long)]
    strict: bool,
    /// Prints what the script has reached: replies by operation code and error, other frames.
    #[arg(long)]
    reached: bool,
    /// The farwatch binary; the one beside this program unless given.
    #[arg(long)]
    farwatch_binary: Option<PathBuf>,
    /// Prints what is known and why, and ends.
    #[arg(long)]
    list_known: bool,
}

/// How often a script is played again because of a race.
const RUNS_AGAIN_MAX: usize = 3;

/// The release that `zookeeper-jar` stands for.
const RELEASE: &str = "3.9.4";

/// As few as survive the loss of one.
const VOTERS: u32 = 3;

/// The server or servers of one side; they are held so that they run until the end.
struct Served {
    addresses: Vec<SocketAddr>,
    kind: Kind,
    _subject: Option<Subject>,
    _ensemble: Option<Ensemble>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.list_known {
        list_known();
        return Ok(ExitCode::SUCCESS);
    }
    let seed = arguments.seed.map_or_else(fresh_seed, Ok)?;
    let a = start(&arguments.a, &arguments)?;
    let b = start(&arguments.b, &arguments)?;
    let servers = a.addresses.len();
    anyhow::ensure!(
        servers == b.addresses.len(),
        "a server alone and an ensemble are not alike: compare one with one, or three with three"
    );
    let kinds = Kinds { a: a.kind, b: b.kind, in_ensemble: 1 < servers };
    println!(
        "seed {seed}: {} operations, A {} {:?}, B {} {:?}",
        arguments.ops, arguments.a, a.kind, arguments.b, b.kind
    );
    let subtree = format!("differential-{seed}-{}", std::process::id());
    let mut pair =
        Pair::new((a.addresses.clone(), b.addresses.clone()), kinds, arguments.strict, &subtree);
    let wishes = Wishes { kinds, bursts_percent: arguments.bursts };
    let began = Instant::now();
    let mut signatures = BTreeSet::new();
    let (mut divergences, mut races) = (0, 0);
    for seed in seed..seed.saturating_add(arguments.scripts) {
        let script = Script { seed, count: arguments.ops, wishes };
        let mut found = script.run(&mut pair);
        let mut again = 0;
        while let Some(finding) = found.take() {
            divergences += 1;
            let first = finding.divergence.clone();
            if !signatures.insert(first.signature()) {
                break;
            }
            print_finding(&finding, seed, &arguments);
            let minimised = finding.minimise(&mut pair);
            print_minimised(minimised.as_deref());
            if minimised.is_some() || again == RUNS_AGAIN_MAX {
                break;
            }
            again += 1;
            let unsteady;
            (found, unsteady) = script.run_again(&mut pair, &first);
            if is_reference(unsteady, kinds) {
                println!("ZooKeeper answers this in two ways: its own race, not counted");
                signatures.remove(&first.signature());
                divergences -= 1;
                races += 1;
            }
        }
    }
    print_counts(&pair, arguments.reached);
    let seconds = began.elapsed().as_secs_f64();
    println!("{divergences} divergences, {races} races of ZooKeeper's own, in {seconds:.1} s");
    Ok(if divergences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the side that has answered in two ways is the ZooKeeper of the two.
fn is_reference(unsteady: Option<Unsteady>, kinds: Kinds) -> bool {
    let kind = match unsteady {
        Some(Unsteady::A) => kinds.a,
        Some(Unsteady::B) => kinds.b,
        None => return false,
    };
    matches!(kind, Kind::ZooKeeper(..))
}

fn print_counts(pair: &Pair, reached: bool) {
    for (id, count) in &pair.explained {
        println!("known difference {id}: {count} times");
    }
    if reached {
        for ((code, frame, number), count) in &pair.reached {
            let code = code.map_or_else(String::new, |code| format!(" to op {code}"));
            println!("reached {frame}{code} {number}: {count} times");
        }
    }
}

fn fresh_seed() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

fn list_known() {
    for known in KNOWN {
        println!("{}: {}", known.id, known.reason);
    }
    for withheld in WITHHELD {
        println!("{} (not played): {}", withheld.id, withheld.reason);
    }
}

fn start(spec: &str, arguments: &Arguments) -> Result<Served> {
    let options = Options::new()
        .property("zookeeper.extendedTypesEnabled", "true")
        // Reaping would consume zxids whenever its clock says so.
        .property("znode.container.checkIntervalMs", "86400000")
        .property(
            "zookeeper.DigestAuthenticationProvider.superDigest",
            "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=",
        )
        // Durability is proved elsewhere; here it would only cost time.
        .property("zookeeper.forceSync", "no")
        .java_flag("-Xmx512m");
    match spec.split_once(':') {
        None if spec == "zookeeper-ensemble" => {
            return together(Ensemble::zookeeper_jar(RELEASE, VOTERS, &options)?);
        }
        Some(("zookeeper-ensemble", version)) => {
            return together(Ensemble::zookeeper_jar(version, VOTERS, &options)?);
        }
        None if spec == "farwatch-ensemble" => {
            let binary = farwatch_binary(arguments)?;
            return together(Ensemble::farwatch(binary, VOTERS, &options)?);
        }
        _ => {}
    }
    let subject = match spec.split_once(':') {
        None if spec == "zookeeper" => Subject::zookeeper(options)?,
        None if spec == "zookeeper-jar" => Subject::zookeeper_jar(RELEASE, options)?,
        Some(("zookeeper-jar", version)) => Subject::zookeeper_jar(version, options)?,
        None if spec == "farwatch" => Subject::farwatch(farwatch_binary(arguments)?, options)?,
        _ => {
            let mut addresses = spec.to_socket_addrs().with_context(|| {
                format!(
                    "{spec} is no server: say zookeeper, zookeeper-jar[:VERSION], farwatch or \
                     host:port"
                )
            })?;
            let address = addresses.next().with_context(|| format!("{spec} has no address"))?;
            let (kind, addresses) = (kind_of(address)?, vec![address]);
            return Ok(Served { addresses, kind, _subject: None, _ensemble: None });
        }
    };
    let address = subject.address();
    let kind = if spec == "farwatch" { Kind::Farwatch } else { kind_of(address)? };
    let addresses = vec![address];
    Ok(Served { addresses, kind, _subject: Some(subject), _ensemble: None })
}

/// The leader comes first on both sides, so that the same client is the leader's.
fn together(ensemble: Ensemble) -> Result<Served> {
    let leader = ensemble.leader()?;
    let others = ensemble.numbers().filter(|&number| number != leader);
    let addresses: Vec<SocketAddr> =
        std::iter::once(leader).chain(others).map(|number| ensemble.address(number)).collect();
    let kind = kind_of(addresses[0])?;
    Ok(Served { addresses, kind, _subject: None, _ensemble: Some(ensemble) })
}

fn farwatch_binary(arguments: &Arguments) -> Result<PathBuf> {
    if let Some(binary) = &arguments.farwatch_binary {
        return Ok(binary.clone());
    }
    let beside = std::env::current_exe()?.with_file_name("farwatch");
    anyhow::ensure!(
        beside.is_file(),
        "{} does not exist: build it (cargo build -p farwatch-cli) or name another with \
         --farwatch-binary",
        beside.display()
    );
    Ok(beside)
}

/// What a running server says of itself.
fn kind_of(address: SocketAddr) -> Result<Kind> {
    let text = four_letter_word(address, "srvr")
        .with_context(|| format!("{address} does not answer srvr: start it and allow the word"))?;
    if text.to_lowercase().contains("farwatch") {
        return Ok(Kind::Farwatch);
    }
    let version = text.strip_prefix("Zookeeper version: ").unwrap_or_default();
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    Ok(match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => Kind::ZooKeeper(major, minor, patch),
        _ => Kind::Unknown,
    })
}

fn print_finding(finding: &Finding, seed: u64, arguments: &Arguments) {
    let divergence = &finding.divergence;
    println!("DIVERGENCE at step {} of seed {seed}: {:?}", divergence.index, divergence.step);
    for difference in &divergence.differences {
        println!("  {}\n    A {:?}\n    B {:?}", difference.place, difference.a, difference.b);
    }
    println!("everything A showed:");
    divergence.a.iter().for_each(|frame| println!("  {frame:?}"));
    println!("everything B showed:");
    divergence.b.iter().for_each(|frame| println!("  {frame:?}"));
    println!(
        "reproduce: differential --a {} --b {} --ops {} --bursts {} --seed {seed}{}",
        arguments.a,
        arguments.b,
        arguments.ops,
        arguments.bursts,
        if arguments.strict { " --strict" } else { "" }
    );
}

fn print_minimised(script: Option<&[Step]>) {
    match script {
        Some(script) => {
            println!("minimised to {} steps, after create ~:", script.len());
            script.iter().for_each(|step| println!("  {step}"));
        }
        None => println!("it did not show again when the same steps were played: a race"),
    }
}
