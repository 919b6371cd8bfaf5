//! The rates of P20: how soon a snapshot is loaded and a log replayed, by the code of `cargo bench --bench disk`.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::Setup;
use super::table::{Line, Verdict, shown};
use crate::disk::{LogOnDisk, SnapshotOnDisk};
use crate::load::referee::Spread;
use crate::subject::subjects_directory;

/// Nodes of the snapshot and changes of the log, at most: that many are well above what caches hold.
const NODES: usize = 200_000;
const CHANGES: usize = 500_000;

/// Of one round, a second.
#[derive(Clone, Copy)]
struct Round {
    loaded_mb: f64,
    summed_mb: f64,
    replayed: f64,
}

pub fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let parent = subjects_directory()?;
    let snapshot = SnapshotOnDisk::make(&parent, NODES.min(setup.nodes) as u64)?;
    // A multiple of a batch of the log.
    let changes = CHANGES.min(setup.nodes.next_multiple_of(1_000)) as u64;
    let log = LogOnDisk::make(&parent, changes)?;
    let megabytes = snapshot.bytes() as f64 / 1e6;
    let mut rounds = Vec::new();
    for _ in 0..setup.pace.rounds {
        let summed_mb =
            megabytes * per_second(setup.pace.slice, || snapshot.read_and_sum().map(drop))?;
        let loaded_mb = megabytes * per_second(setup.pace.slice, || snapshot.load())?;
        let replayed = changes as f64 * per_second(setup.pace.slice, || log.replay())?;
        rounds.push(Round { loaded_mb, summed_mb, replayed });
    }
    Ok(vec![line(setup, &rounds, megabytes, changes)])
}

/// How often a second `once` comes to its end, over at least so long.
fn per_second(duration: Duration, once: impl Fn() -> Result<()>) -> Result<f64> {
    let (began, mut count) = (Instant::now(), 0.0);
    while began.elapsed() < duration || count < 1.0 {
        once()?;
        count += 1.0;
    }
    Ok(count / began.elapsed().as_secs_f64())
}

fn line(setup: &Setup, rounds: &[Round], megabytes: f64, changes: u64) -> Line {
    let spread = |of: fn(&Round) -> f64| Spread::of(rounds.iter().map(of));
    let (loaded, part) = (spread(|it| it.loaded_mb), spread(|it| it.loaded_mb / it.summed_mb));
    let replayed = spread(|it| it.replayed / 1e6);
    let series = |of: fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<f64>>();
    Line {
        bar: "P20-disk",
        what: format!(
            "a snapshot's load ({megabytes:.0} MB), a log's replay ({changes} changes), {} each",
            setup.pace.said()
        ),
        wanted: "snapshot ≥ 350 MB/s, ≥ 0.4 of reading and summing it; log ≥ 1.5 M txn/s"
            .to_owned(),
        measured: format!(
            "{} MB/s, {} of reading it; {} M txn/s",
            shown(loaded, 0),
            shown(part, 2),
            shown(replayed, 2)
        ),
        beside: format!("reading and summing {} MB/s", shown(spread(|it| it.summed_mb), 0)),
        verdict: Verdict::of(
            350.0 <= loaded.median && 0.4 <= part.median && 1.5 <= replayed.median,
        ),
        rounds: json!({
            "loaded_mb_per_second": series(|it| it.loaded_mb),
            "read_and_summed_mb_per_second": series(|it| it.summed_mb),
            "replayed_per_second": series(|it| it.replayed),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_rates_decide_the_bar() {
        let good = Round { loaded_mb: 400.0, summed_mb: 900.0, replayed: 1.6e6 };
        let verdict = |round: Round| line(&Setup::of_trial(1), &[round], 30.0, 1_000).verdict;
        assert_eq!(verdict(good), Verdict::Met);
        for bad in [
            Round { loaded_mb: 340.0, summed_mb: 400.0, ..good },
            Round { summed_mb: 1_100.0, ..good },
            Round { replayed: 1.4e6, ..good },
        ] {
            assert_eq!(verdict(bad), Verdict::Missed);
        }
    }

    #[test]
    fn a_trial_loads_and_replays() {
        let lines = measure(&Setup::of_trial(2_000)).expect("room on the disk");
        assert!(lines[0].what.contains("2000 changes), 1 × 0.01 s each"), "{}", lines[0].what);
        assert_eq!(lines[0].rounds["replayed_per_second"].as_array().map(Vec::len), Some(1));
    }
}
