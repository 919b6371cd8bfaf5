//! Bars that other commands measure: where to look.

use anyhow::Result;
use serde_json::Value;

use super::Setup;
use super::table::{Line, Verdict};

const OBSERVERS: &str = "`farwatch-bench observers`: docs/observers.md, \"What they cost\"";
const EMBEDDED: &str =
    "`cargo bench -p farwatch-bench --bench embedded`: \"An observer in the process\" below";
const C: &str = "`ffi/tests/c/observer_bench.c`: \"An observer in the process\" below";

const ELSEWHERE: [(&str, &str, &str, &str); 5] = [
    ("P17", "observer: catch-up after a cut", "≤ 1.3 x missed bytes / link + 2 RTT", OBSERVERS),
    ("P18", "observer: bytes over the long way", "≤ 1.15, compressed 0.6, of a record", OBSERVERS),
    (
        "P19",
        "observer: what each adds to a write",
        "≤ 1.5 % each; 50: 0.8, relayed 0.97",
        OBSERVERS,
    ),
    ("P27", "embedded: a read", "HashMap + 30 ns; 1.25x at 1 M keys; p99.9 2 µs", EMBEDDED),
    ("P28", "embedded: through C", "≤ 25 ns over Rust; in place 15 ns", C),
];

pub fn lines(_setup: &Setup) -> Result<Vec<Line>> {
    let line = |&(bar, what, wanted, place): &(&'static str, &str, &str, &str)| Line {
        bar,
        what: what.to_owned(),
        wanted: wanted.to_owned(),
        measured: place.to_owned(),
        beside: String::new(),
        verdict: Verdict::Open,
        rounds: Value::Null,
    };
    Ok(ELSEWHERE.iter().map(line).collect())
}
