//! Whole servers, in turn and in one run: a canned one that is the ceiling, Apache ZooKeeper where it is
//! installed, and Farwatch's release binary, which is built for it.
//!
//! ```text
//! cargo bench -p farwatch-bench --bench servers            about three minutes
//! cargo bench -p farwatch-bench --bench servers -- set     the cells with this in their names
//! ```
//!
//! It is `farwatch-bench compare` with few cells and short slices: the same referee, and the same page.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use farwatch_bench::cargo::Cargo;
use farwatch_bench::ceiling;
use farwatch_bench::load::compare::Compare;
use farwatch_bench::load::servers::Servers;
use farwatch_bench::subject::zookeeper_is_missing;
use serde_json::Value;

/// Few, so that a stranger waits for them: sockets alone, one client's disk, many clients, deep pipelines.
const CELLS: [&str; 7] =
    ["read-1", "read-64", "read-16x64", "set-1", "set-64", "set-16x64", "mix90-64x32"];

/// Of a trial, which only shows that all of it works.
const TRIAL_CELLS: [&str; 2] = ["read-1", "set-1"];

/// A binary of Farwatch to take instead of building one.
const BINARY_VARIABLE: &str = "FARWATCH_BIN";

/// A release of ZooKeeper, such as 3.9.4, to fetch with Maven instead of taking Debian's.
const ZOOKEEPER_VARIABLE: &str = "FARWATCH_BENCH_ZOOKEEPER";

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // The canned server is this program, started once more.
    if let [first, bytes] = &arguments[..]
        && first == "ceiling"
    {
        return ceiling::run(bytes.parse().context("bytes of a value")?);
    }
    let has = |flag: &str| arguments.iter().any(|it| it == flag);
    // `cargo bench` says --bench, and `cargo test --benches` does not.
    let is_trial = has("--test") || !has("--bench");
    let asked: Vec<&String> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    let all = if is_trial { &TRIAL_CELLS[..] } else { &CELLS };
    let is_asked = |cell: &&&str| asked.is_empty() || asked.iter().any(|it| cell.contains(&***it));
    let cells: Vec<String> = all.iter().filter(is_asked).map(|&it| it.to_owned()).collect();
    if cells.is_empty() {
        return Ok(());
    }
    let binary = match env::var_os(BINARY_VARIABLE) {
        // Cargo runs benches in the directory of their crate; whoever names a file is above it.
        Some(binary) => root()?.join(binary),
        None => build()?,
    };
    compare(binary, cells, is_trial)
}

fn compare(farwatch: PathBuf, cells: Vec<String>, is_trial: bool) -> Result<()> {
    println!("servers: {}", farwatch.display());
    let zookeeper = env::var(ZOOKEEPER_VARIABLE).ok();
    let missing = match is_trial {
        true => Some("this is a trial, which does not wait for Java".to_owned()),
        false => zookeeper_is_missing(zookeeper.as_deref()),
    };
    if let Some(why) = &missing {
        println!("not run: ZooKeeper because {why}");
    }
    let directory = results_directory(is_trial)?;
    let [html, json, summary] =
        ["servers.html", "servers.json", "servers.md"].map(|name| directory.join(name));
    let (rounds, seconds, warm_up) = if is_trial { (1, 0.05, 0.01) } else { (5, 1.0, 0.5) };
    let servers = Servers { farwatch, zookeeper, without_zookeeper: missing.is_some() };
    Compare {
        servers,
        also: Vec::new(),
        voters: 1,
        cells,
        rounds,
        seconds,
        warm_up,
        start_nodes: 0,
        document: None,
        json: Some(json.clone()),
        html: Some(html.clone()),
        summary: Some(summary.clone()),
    }
    .run()?;
    for (file, what) in [(html, "plots"), (json, "every round"), (summary, "the tables")] {
        ensure!(file.metadata()?.len() > 0, "{} is empty", file.display());
        println!("servers: {what} in {}", file.display());
    }
    Ok(())
}

/// In the build directory, beside what criterion writes. A trial leaves the figures of a run alone.
fn results_directory(is_trial: bool) -> Result<PathBuf> {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let target = tmp.parent().context("the build directory has a name")?;
    let directory = if is_trial { tmp.join("servers") } else { target.join("servers") };
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Farwatch as users have it. Cargo knows whether the one that is there is of this source, and says where
/// it is.
fn build() -> Result<PathBuf> {
    let mut command = Cargo::again().command("build");
    command.args(["--package", "farwatch-cli", "--bin", "farwatch"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    // A trial of `cargo test` is of what that has built already.
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let mut child = command.current_dir(root()?).stdout(Stdio::piped()).spawn()?;
    let messages = BufReader::new(child.stdout.take().context("it is piped")?);
    let mut found = None;
    for line in messages.lines() {
        let message: Value = serde_json::from_str(&line?)?;
        if message["target"]["name"] == "farwatch" {
            found = message["executable"].as_str().map(PathBuf::from).or(found);
        }
    }
    ensure!(child.wait()?.success(), "farwatch could not be built");
    found.context("cargo does not say where it put farwatch")
}

fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("bench/ is in the workspace")
}
