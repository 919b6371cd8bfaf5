//! P27 and P28: reads of a tree in this process, by Rust and through C.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use serde_json::json;

use super::table::{Line, Verdict, shown};
use super::{NODES, Setup};
use crate::cargo::Cargo;
use crate::embedded::{Embedded, HOT, Look};
use crate::load::referee::Spread;

/// Changes a second beside which a read's tail is taken.
const CHANGES_PER_SECOND: f64 = 50_000.0;

/// Of one round.
struct Round {
    /// Nanoseconds of a look at a hot key, in the map and in the tree.
    hot: [f64; 2],
    /// The same of any key.
    any: [f64; 2],
    /// Reads a second of one thread and of two.
    threads: [f64; 2],
    /// The 99.9th percentile beside changes, and of the map that nobody changes, microseconds.
    tails: [f64; 2],
}

/// P27: the map and the tree in turn, round by round.
pub fn in_rust(setup: &Setup) -> Result<Vec<Line>> {
    let nodes = NODES.min(setup.nodes);
    let mut all = Embedded::new(nodes);
    let slice = setup.pace.slice;
    let mut rounds = Vec::new();
    for _ in 0..setup.pace.rounds {
        let pair = |keys| [Look::Map, Look::Get].map(|look| all.nanos(look, keys, slice));
        let (hot, any) = (pair(HOT), pair(nodes));
        let threads = [1, 2].map(|count| all.rate_of_threads(count, slice));
        let alone = all.times_of_the_map(slice);
        let beside = all.times_beside_changes(CHANGES_PER_SECOND, slice);
        let tails =
            [beside, alone].map(|it: Histogram<u64>| it.value_at_quantile(0.999) as f64 / 1e3);
        rounds.push(Round { hot, any, threads, tails });
    }
    Ok(lines_of_rust(setup, &rounds))
}

/// A difference, which may be of either sign.
fn more_by(Spread { median, min, max }: Spread) -> String {
    format!("{median:+.0} ({min:+.0} to {max:+.0})")
}

fn spread(rounds: &[Round], of: impl Fn(&Round) -> f64) -> Spread {
    Spread::of(rounds.iter().map(of))
}

fn lines_of_rust(setup: &Setup, rounds: &[Round]) -> Vec<Line> {
    let said = setup.pace.said();
    let line = |what: String, wanted: &str, measured, beside, is_met| Line {
        bar: "P27",
        what: format!("{what}, {said} each"),
        wanted: wanted.to_owned(),
        measured,
        beside,
        verdict: Verdict::of(is_met),
        rounds: serde_json::Value::Null,
    };
    let of = |of: fn(&Round) -> f64| spread(rounds, of);
    let more = of(|it| it.hot[1] - it.hot[0]);
    let times = of(|it| it.any[1] / it.any[0]);
    let two = of(|it| it.threads[1] / it.threads[0]);
    let tail = of(|it| it.tails[0]);
    let mut lines = vec![
        line(
            format!("embedded: a read of one of {HOT} hot keys"),
            "≤ a `HashMap`'s + 30 ns",
            format!("{} ns: {} ns", more_by(more), shown(of(|it| it.hot[1]), 0)),
            format!("the map {} ns", shown(of(|it| it.hot[0]), 0)),
            more.median <= 30.0,
        ),
        line(
            format!("embedded: a read of one of {} keys", NODES.min(setup.nodes)),
            "≤ 1.25x a `HashMap`'s, of a million",
            format!("{}x: {} ns", shown(times, 2), shown(of(|it| it.any[1]), 0)),
            format!("the map {} ns", shown(of(|it| it.any[0]), 0)),
            times.median <= 1.25,
        ),
        line(
            "embedded: two threads that read, against one".to_owned(),
            "≥ 1.9x",
            format!("{}x: {} M/s", shown(two, 2), shown(of(|it| it.threads[1] / 1e6), 1)),
            format!("one {} M/s", shown(of(|it| it.threads[0] / 1e6), 1)),
            1.9 <= two.median,
        ),
        line(
            "embedded: the tail of reads while 50,000 changes a second are applied".to_owned(),
            "p99.9 ≤ 2 µs",
            format!("p99.9 {} µs", shown(tail, 2)),
            format!("the map that nobody changes {} µs", shown(of(|it| it.tails[1]), 2)),
            tail.median <= 2.0,
        ),
    ];
    let all = |of: fn(&Round) -> [f64; 2], names: [&str; 2]| {
        let series = |at: usize| rounds.iter().map(|it| of(it)[at]).collect::<Vec<f64>>();
        json!({ (names[0]): series(0), (names[1]): series(1) })
    };
    lines[0].rounds = all(|it| it.hot, ["map_ns", "get_ns"]);
    lines[1].rounds = all(|it| it.any, ["map_ns", "get_ns"]);
    lines[2].rounds = all(|it| it.threads, ["one_per_second", "two_per_second"]);
    lines[3].rounds = all(|it| it.tails, ["get_p99.9_us", "map_p99.9_us"]);
    // The bar is of a million keys.
    if setup.nodes < NODES {
        lines[1].verdict = Verdict::Open;
    }
    lines
}

/// Medians of one run of the program in C and what is beside it, nanoseconds by name.
type Rows = BTreeMap<String, f64>;

const COPIED: &str = "C get, copied";
const IN_PLACE: &str = "C read in place";
const IN_VIEW: &str = "C get in a view";
const RUST: &str = "Rust get";
const CLIENT: &str = "fw_client, Farwatch";

/// P28: what the tests of the C library measure, which compile and run the programs in C.
pub fn through_c(setup: &Setup) -> Result<Vec<Line>> {
    let rounds = (0..setup.pace.rounds).map(|_| one_run()).collect::<Result<Vec<Rows>>>()?;
    Ok(vec![line_of_c(&rounds)?])
}

fn one_run() -> Result<Rows> {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("bench/ is in the workspace")?;
    ensure!(
        root.join("ffi").is_dir(),
        "the source that this was built of is gone: {}",
        root.display()
    );
    let file = tempfile::NamedTempFile::new()?;
    let mut command: Command = Cargo::again().command("test");
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command
        .args(["--package", "farwatch-ffi", "--test", "it", "--", "--nocapture", "bench::"])
        .current_dir(root)
        .env("FARWATCH_BENCH", "1")
        .env("FARWATCH_BENCH_ROWS", file.path())
        .output()
        .context("starting cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the bench of the C library failed: {}", said.trim_end());
    parse(&fs::read_to_string(file.path())?)
}

/// Lines of `NAME: p50 N, p99 N`.
fn parse(text: &str) -> Result<Rows> {
    let row = |line: &str| {
        let (name, figures) = line.split_once(": p50 ")?;
        Some((name.to_owned(), figures.split_once(", ")?.0.parse().ok()?))
    };
    let rows: Option<Rows> = text.lines().map(row).collect();
    let rows = rows.with_context(|| format!("no rows of the bench in C: {text:?}"))?;
    for name in [COPIED, IN_PLACE, IN_VIEW, RUST, CLIENT] {
        ensure!(rows.contains_key(name), "the bench in C has no row {name:?}");
    }
    Ok(rows)
}

fn line_of_c(rounds: &[Rows]) -> Result<Line> {
    let of = |of: &dyn Fn(&Rows) -> f64| Spread::of(rounds.iter().map(of));
    let copied = of(&|it| it[COPIED] - it[RUST]);
    let in_place = of(&|it| it[IN_PLACE]);
    let times = of(&|it| it[CLIENT] / it[COPIED]);
    let apache = rounds[0].keys().filter(|name| name.starts_with("Apache's")).map(|name| {
        let times = Spread::of(rounds.iter().filter_map(|it| Some(it.get(name)? / it[COPIED])));
        format!("{name} {}x", shown(times, 0))
    });
    let beside: Vec<String> = apache.collect();
    Ok(Line {
        bar: "P28",
        what: format!("embedded: a read through C, one key, {} runs", rounds.len()),
        wanted: "≤ 25 ns over Rust; in place ≤ 15 ns; ≥ 1,000x a client's read".to_owned(),
        measured: format!(
            "copied {} ns ({}, Rust {}), in a view {}, in place {}; {}x `fw_client`",
            more_by(copied),
            shown(of(&|it| it[COPIED]), 0),
            shown(of(&|it| it[RUST]), 0),
            shown(of(&|it| it[IN_VIEW]), 0),
            shown(in_place, 0),
            shown(times, 0)
        ),
        beside: beside.join(", "),
        verdict: Verdict::of(
            copied.median <= 25.0 && in_place.median <= 15.0 && 1_000.0 <= times.median,
        ),
        rounds: json!(rounds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Rust get: p50 21.0, p99 30.0\nC get, copied: p50 41.0, p99 50.0\n\
                        C read in place: p50 14.0, p99 50.0\nC get in a view: p50 30.5, p99 40.0\n\
                        fw_client, Farwatch: p50 82000.0, p99 1.0\n\
                        Apache's C client, ZooKeeper: p50 410000.0, p99 1.0\n";

    #[test]
    fn what_the_bench_in_c_says_is_one_row_with_its_verdict() {
        let rows = parse(SAID).expect("rows");
        let line = line_of_c(&[rows.clone(), rows]).expect("a line");
        assert_eq!(line.verdict, Verdict::Met);
        let measured = "copied +20 (+20 to +20) ns (41 (41-41), Rust 21 (21-21)), in a view 30 (30-30), \
                        in place 14 (14-14); 2000 (2000-2000)x `fw_client`";
        assert_eq!(line.measured, measured);
        assert_eq!(line.beside, "Apache's C client, ZooKeeper 10000 (10000-10000)x");
        let slower = SAID.replace("in place: p50 14", "in place: p50 16");
        let line = line_of_c(&[parse(&slower).expect("rows")]).expect("a line");
        assert_eq!(line.verdict, Verdict::Missed);
        parse("Rust get: p50 21.0, p99 30.0\n").expect_err("the rows of C are missing");
        parse("a panic\n").expect_err("no rows");
    }

    #[test]
    fn each_part_of_a_read_in_rust_has_a_verdict_of_its_own() {
        let round = Round {
            hot: [70.0, 101.0],
            any: [1e3, 1.2e3],
            threads: [1e7, 1.95e7],
            tails: [2.1, 1.0],
        };
        let setup = Setup::of_trial(NODES);
        let lines = lines_of_rust(&setup, &[round]);
        let verdicts: Vec<Verdict> = lines.iter().map(|it| it.verdict).collect();
        assert_eq!(verdicts, [Verdict::Missed, Verdict::Met, Verdict::Met, Verdict::Missed]);
        assert_eq!(lines[0].measured, "+31 (+31 to +31) ns: 101 (101-101) ns");
        assert_eq!(lines[0].rounds["get_ns"][0], 101.0);
    }
}
