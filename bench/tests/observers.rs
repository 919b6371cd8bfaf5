//! The parts of `farwatch-bench observers` that are quick enough to be tried with few nodes.
#![cfg(feature = "page")]

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use farwatch_bench::subject::built_binary;
use serde_json::Value;

/// What `farwatch-bench observers` writes into its file, and its page into another.
fn found(arguments: &[&str]) -> Result<(Value, String)> {
    let directory = tempfile::tempdir()?;
    let [json, page] = ["found.json", "page.html"].map(|it| directory.path().join(it));
    let output = Command::new(env!("CARGO_BIN_EXE_farwatch-bench"))
        .arg("observers")
        .args(arguments)
        .arg("--farwatch")
        .arg(built_binary()?)
        .arg("--json")
        .arg(&json)
        .arg("--html")
        .arg(&page)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok((serde_json::from_str(&fs::read_to_string(&json)?)?, fs::read_to_string(&page)?))
}

#[test]
fn an_observer_that_has_nothing_is_sent_a_snapshot_over_the_way() -> Result<()> {
    // A way is long, and what crosses it compressed, from 5 ms on; a busy machine adds to what it takes, and none
    // takes off.
    let part = ["--part", "snapshot", "--without-zookeeper", "--rounds", "1"];
    let (found, page) =
        found(&[&part[..], &["--snapshot-nodes", "2000", "--rtt-ms", "12"]].concat())?;
    let transfers = found["transfers"].as_array().context("no transfers")?;
    let bytes = |at: usize| transfers[at]["rounds"][0]["bytes"].as_u64().unwrap_or_default();
    ensure!(transfers.len() == 2, "{found:#}");
    ensure!(found["machine"]["after"]["kernel"].is_string(), "{found:#}");
    ensure!(page.matches("<svg").count() == 1, "the seconds of both: {page}");
    ensure!(2_000 * 100 < bytes(1), "uncompressed the values alone are more: {found:#}");
    ensure!(bytes(0) < bytes(1), "compressed it is less: {found:#}");
    Ok(())
}

#[test]
fn learners_come_back_beside_writers_and_those_that_read_too_little_are_level_in_the_end()
-> Result<()> {
    let (found, page) =
        found(&["--part", "herd", "--herd", "7", "--slow", "2", "--seconds", "0.5"])?;
    let (back, slow) = (&found["returns"][0], &found["lags"][0]);
    // What writers wait, and the memory of each learner.
    ensure!(page.matches("<svg").count() == 2, "{page}");
    let rate = |of: &Value| of["writes_per_second"].as_f64().unwrap_or_default();
    let meanwhile = &back["before_meanwhile_after"][1];
    ensure!(back["learners"] == 7 && 0.0 < rate(meanwhile), "{found:#}");
    ensure!(slow["learners"] == 2 && 0.0 < rate(&slow["before_meanwhile"][1]), "{found:#}");
    ensure!(slow["lost"] == 0, "a slow learner is caught up, and not given up: {found:#}");
    Ok(())
}
