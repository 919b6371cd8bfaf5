//! Parts of `farwatch-bench bars` that are quick enough to be tried with few nodes.
#![cfg(feature = "page")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use farwatch_bench::subject::built_binary;
use serde_json::Value;

const DOCUMENT: &str = "before\n<!-- bench of the bars: begin -->\n\n| bar | what |\n|---|---|\n\
    | P20 | a million |\n| P20-10M | old |\n| P20-disk | old |\n<!-- bench of the bars: end -->\nbehind\n";

/// All that a run wrote.
struct Written {
    output: Output,
    document: String,
    summary: String,
    page: String,
    json: Value,
}

/// Runs both parts of P20 that need no ZooKeeper, with the server at this path.
fn run(farwatch: &Path) -> Result<Written> {
    let directory = tempfile::tempdir()?;
    let [document, summary, page, json] =
        ["document.md", "summary.md", "page.html", "bars.json"].map(|it| directory.path().join(it));
    fs::write(&document, DOCUMENT)?;
    let output = Command::new(env!("CARGO_BIN_EXE_farwatch-bench"))
        .args(["bars", "--bar", "P20-disk", "--bar", "p20-10m", "--nodes", "2000"])
        .args(["--rounds", "2", "--seconds", "0.02", "--without-zookeeper", "--farwatch"])
        .arg(farwatch)
        .args([
            "--document".as_ref(),
            document.as_os_str(),
            "--summary".as_ref(),
            summary.as_os_str(),
        ])
        .args(["--html".as_ref(), page.as_os_str(), "--json".as_ref(), json.as_os_str()])
        .output()?;
    Ok(Written {
        document: fs::read_to_string(document)?,
        summary: fs::read_to_string(summary)?,
        page: fs::read_to_string(page)?,
        json: serde_json::from_str(&fs::read_to_string(json)?)?,
        output,
    })
}

#[test]
fn parts_of_a_bar_have_rows_of_their_own_a_page_and_a_summary() -> Result<()> {
    let Written { output, document, summary, page, json } = run(&built_binary()?)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| P20")).collect();
    ensure!(rows.len() == 3 && rows[0] == "| P20 | a million |", "{document}");
    ensure!(rows[1].starts_with("| P20-10M | start after kill -9 with 2000 nodes"), "{document}");
    ensure!(
        rows[1].contains("| open | `bars --bar P20-10M` |"),
        "fewer decide nothing: {document}"
    );
    ensure!(rows[2].contains("2000 changes), 2 × 0.02 s each"), "{document}");
    ensure!(document.starts_with("before\n") && document.ends_with("\nbehind\n"), "{document}");
    ensure!(summary.contains("2 rows: ") && summary.contains("processors"), "{summary}");
    // The starts, and the rates of the disk.
    ensure!(page.matches("<svg").count() == 2, "{page}");
    let rates = json["lines"].as_array().and_then(|all| {
        let disk = all.iter().find(|it| it["bar"] == "P20-disk")?;
        disk["rounds"]["loaded_mb_per_second"].as_array().map(Vec::len)
    });
    ensure!(rates == Some(2), "{json:#}");
    Ok(())
}

#[test]
fn a_part_that_fails_takes_nothing_of_the_others_along() -> Result<()> {
    let Written { output, document, summary, json, .. } = run(Path::new("there/is/none"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && said.contains("not measured: P14-10M P20-10M"), "{said}");
    ensure!(document.contains("\n| P20-10M | old |\n"), "its row stays: {document}");
    ensure!(document.contains("\n| P20-disk | a snapshot's load"), "{document}");
    ensure!(
        summary.contains("1 rows: ") && summary.contains("P14-10M P20-10M: failed: "),
        "{summary}"
    );
    ensure!(json["left_out"][0]["bars"] == "P14-10M P20-10M", "{json:#}");
    Ok(())
}
