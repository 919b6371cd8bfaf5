//! The parts of `farwatch-bench observers` that are quick enough to be tried with few nodes.
#![cfg(feature = "page")]

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use farwatch_bench::subject::built_binary;
use serde_json::Value;

/// What `farwatch-bench observers` writes into its file.
fn found(arguments: &[&str]) -> Result<Value> {
    let directory = tempfile::tempdir()?;
    let json = directory.path().join("found.json");
    let output = Command::new(env!("CARGO_BIN_EXE_farwatch-bench"))
        .arg("observers")
        .args(arguments)
        .arg("--farwatch")
        .arg(built_binary()?)
        .arg("--json")
        .arg(&json)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_str(&fs::read_to_string(&json)?)?)
}

#[test]
fn an_observer_that_has_nothing_is_sent_a_snapshot_over_the_way() -> Result<()> {
    let part = ["--part", "snapshot", "--without-zookeeper", "--rounds", "1"];
    let found = found(&[&part[..], &["--snapshot-nodes", "2000", "--rtt-ms", "4"]].concat())?;
    let transfers = found["transfers"].as_array().context("no transfers")?;
    let bytes = |at: usize| transfers[at]["rounds"][0]["bytes"].as_u64().unwrap_or_default();
    ensure!(transfers.len() == 2, "{found:#}");
    ensure!(2_000 * 100 < bytes(1), "uncompressed the values alone are more: {found:#}");
    ensure!(bytes(0) < bytes(1), "compressed it is less: {found:#}");
    Ok(())
}

#[test]
fn learners_come_back_beside_writers_and_those_that_read_too_little_are_level_in_the_end()
-> Result<()> {
    let found = found(&["--part", "herd", "--herd", "7", "--slow", "2", "--seconds", "0.5"])?;
    let (back, slow) = (&found["returns"][0], &found["lags"][0]);
    let rate = |of: &Value| of["writes_per_second"].as_f64().unwrap_or_default();
    let meanwhile = &back["before_meanwhile_after"][1];
    ensure!(back["learners"] == 7 && 0.0 < rate(meanwhile), "{found:#}");
    ensure!(slow["learners"] == 2 && 0.0 < rate(&slow["before_meanwhile"][1]), "{found:#}");
    ensure!(slow["lost"] == 0, "a slow learner is caught up, and not given up: {found:#}");
    Ok(())
}
