//! An observer that has nothing, where what it missed is in no log any more: the tree crosses the way as a
//! snapshot.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::way::{Quality, Way};
use super::{link, set_level};
use crate::load::ROOT;
use crate::load::cells::VALUE_BYTES;
use crate::load::plan::populate;
use crate::load::referee::Spread;
use crate::load::report::FARWATCH;
use crate::raw::ids;
use crate::raw::request::{create, set_data};
use crate::subject::{Ensemble, Options};

/// Changes between two snapshots: only the last three are kept, and the log behind them.
const SNAPSHOT_CHANGES: usize = 60;

/// What is written over and over to fill segments of the log, and how many times in one round.
const BALLAST: &str = "/ballast";
const BALLAST_BYTES: usize = 500_000;
const BALLAST_WRITES: usize = 16;

/// What Farwatch says when it has one of its upstream.
const TAKEN_OVER: &str = "the state on disk is the leader's now";

/// How long a log may seem to have no segment.
const LOOKS_WITHIN: Duration = Duration::from_secs(10);

/// Rounds until no log has its first segment any more.
const ROUNDS_MAX: usize = 100;

/// How voters are told to keep no log that snapshots have made needless.
#[must_use]
pub fn forgetful(options: Options) -> Options {
    options
        .line(&format!("snapCount={SNAPSHOT_CHANGES}"))
        .line("autopurge.purgeInterval=1")
        .line("farwatch.logRetainBytes=1")
}

/// One arrival.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// From its start until the observer showed everything.
    took: Duration,
    /// Over the way to it.
    bytes: u64,
}

/// Those of one kind of servers.
#[derive(Debug)]
pub struct Transfers {
    name: String,
    variant: &'static str,
    quality: Quality,
    nodes: usize,
    rounds: Vec<Transfer>,
}

/// Fills voters, so that no log of theirs has all.
pub fn fill((name, ensemble): (&str, &Ensemble), nodes: usize) -> Result<()> {
    populate(ensemble.address(1), ROOT, nodes, VALUE_BYTES)?;
    // ZooKeeper sends a snapshot anyway where its log is longer than a third of one.
    if name == FARWATCH { forget(ensemble) } else { Ok(()) }
}

/// Lets observer 0 of voters that were filled come with nothing, round by round. `variant`: a line of its
/// configuration.
pub fn measure(
    (name, ensemble): (&str, &mut Ensemble),
    (options, variant): (&Options, &'static str),
    (quality, nodes, rounds): (Quality, usize, usize),
) -> Result<Transfers> {
    let options = if variant.is_empty() { options.clone() } else { options.clone().line(variant) };
    let way = link::route(ensemble, [0], quality, &options)?;
    let mut found =
        Transfers { name: name.to_owned(), variant, quality, nodes, rounds: Vec::new() };
    for _round in 0..rounds {
        let before = taken_over(ensemble)?;
        let transfer = arrive(ensemble, &way)?;
        eprintln!("{name}: {transfer:?}");
        let is_snapshot = name != FARWATCH || before < taken_over(ensemble)?;
        ensure!(is_snapshot, "the log was sent, where a snapshot was to be measured");
        found.rounds.push(transfer);
    }
    Ok(found)
}

fn taken_over(ensemble: &Ensemble) -> Result<usize> {
    Ok(ensemble.observer(0).log()?.matches(TAKEN_OVER).count())
}

/// It has its number and nothing else, as a new site has.
fn arrive(ensemble: &mut Ensemble, way: &Way) -> Result<Transfer> {
    let observer = ensemble.observer_mut(0);
    observer.kill9()?;
    for entry in fs::read_dir(observer.data_directory())? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(&path)?;
        } else if !path.ends_with("myid") {
            fs::remove_file(&path)?;
        }
    }
    let (before, began) = (way.carried()[1], Instant::now());
    observer.restart()?;
    set_level(ensemble.address(1), ensemble.observer(0).address())?;
    Ok(Transfer { took: began.elapsed(), bytes: way.carried()[1] - before })
}

/// Writes until no voter has the first segment of its log.
fn forget(ensemble: &Ensemble) -> Result<()> {
    let first_segments = || -> Result<Vec<PathBuf>> {
        ensemble.servers().iter().map(|server| first_segment(&server.data_directory())).collect()
    };
    let (before, voter) = (first_segments()?, ensemble.address(1));
    let set = |bytes: usize| set_data(BALLAST, Some(&vec![b'v'; bytes]), -1);
    let made = std::iter::once(create(BALLAST, None, &ids::open(), 0));
    link::write_all(voter, 1, made)?;
    for _round in 0..ROUNDS_MAX {
        link::write_all(voter, BALLAST_WRITES, (0..BALLAST_WRITES).map(|_| set(BALLAST_BYTES)))?;
        let now = first_segments()?;
        if before.iter().zip(&now).all(|(before, now)| before != now) {
            // It is no part of what crosses.
            return link::write_all(voter, 1, std::iter::once(set(0))).map(|_| ());
        }
    }
    bail!("after {ROUNDS_MAX} rounds a log still has its first segment")
}

/// The first segment of the log in this directory of data. A look that passes while one file is renamed and
/// another removed may see neither, so one that finds nothing looks again.
fn first_segment(data: &Path) -> Result<PathBuf> {
    let deadline = Instant::now() + LOOKS_WITHIN;
    loop {
        let mut first: Option<PathBuf> = None;
        for entry in fs::read_dir(data.join("log"))? {
            let path = entry?.path();
            let is_earlier = first.as_ref().is_none_or(|first| path < *first);
            if path.extension().is_some_and(|it| it == "log") && is_earlier {
                first = Some(path);
            }
        }
        if let Some(first) = first {
            return Ok(first);
        }
        ensure!(Instant::now() < deadline, "{} holds no log", data.display());
        thread::yield_now();
    }
}

impl Transfers {
    fn spread(&self, of: impl Fn(&Transfer) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(of))
    }

    /// What crossed in a second, against what could.
    fn of_the_way(&self) -> Spread {
        let rate = self.quality.bytes_per_second as f64;
        self.spread(|it| it.bytes as f64 / it.took.as_secs_f64() / rate)
    }

    fn row(&self) -> String {
        let shown = super::report::shown;
        let who = match self.variant {
            "" => self.name.clone(),
            line => format!("{}, `{line}`", self.name),
        };
        format!(
            "| {who} | {} | {} | {} | {} |",
            self.nodes,
            shown(self.spread(|it| it.took.as_secs_f64()), 2),
            shown(self.spread(|it| it.bytes as f64 / 1e6), 1),
            shown(self.of_the_way(), 2),
        )
    }

    /// Its name, and seconds round by round: of plots.
    #[cfg(feature = "page")]
    pub(super) fn seconds(&self) -> (String, Vec<f64>) {
        let name = format!("{} {}", self.name, self.variant).trim().to_owned();
        (name, self.rounds.iter().map(|it| it.took.as_secs_f64()).collect())
    }

    /// Every round.
    #[must_use]
    pub fn json(&self) -> Value {
        let round = |it: &Transfer| json!({ "s": it.took.as_secs_f64(), "bytes": it.bytes });
        json!({
            "who": self.name,
            "variant": self.variant,
            "nodes": self.nodes,
            "bytes_per_second": self.quality.bytes_per_second,
            "rounds": self.rounds.iter().map(round).collect::<Vec<_>>(),
        })
    }
}

/// The table of all of them, of which there is at least one.
#[must_use]
pub fn table(all: &[Transfers]) -> String {
    let Quality { rtt, bytes_per_second } = all[0].quality;
    let mut text = format!(
        "**An observer that has nothing**, where no log has all: a snapshot over a way of {} ms and {} MB/s.\n\n\
         | who | nodes of {VALUE_BYTES} bytes | there after, s | MB to it | of the way's rate |\n\
         |---|---|---|---|---|\n",
        rtt.as_millis(),
        bytes_per_second as f64 / 1e6
    );
    for found in all {
        writeln!(text, "{}", found.row()).expect("a String takes every write");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crossed_is_told_against_what_the_way_carries() {
        let quality = Quality { rtt: Duration::from_millis(80), bytes_per_second: 4_000_000 };
        let round = Transfer { took: Duration::from_secs(10), bytes: 30_000_000 };
        let (name, variant) = ("us".to_owned(), "");
        let found = Transfers { name, variant, quality, nodes: 7, rounds: vec![round] };
        let row = "| us | 7 | 10.00 (10.00-10.00) | 30.0 (30.0-30.0) | 0.75 (0.75-0.75) |\n";
        assert!(table(&[found]).ends_with(row));
    }
}
