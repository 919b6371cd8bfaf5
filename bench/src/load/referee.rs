//! Compares servers in one run: slices in turn, ratios round by round.
//!
//! A neighbour on the machine slows all subjects of a round alike, so the ratio of a round says
//! more than any rate. A round in which the canned server strayed far from its own median is void.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cells::Cell;
use super::process::{cpu_time, resident_bytes};
use super::{Load, Nodes, ROOT, Slice};

/// How far the canned server may stray from its median, as a part of it.
pub(super) const DRIFT_MAX: f64 = 0.20;

/// A round is repeated at most so often, all in all, for those that were void.
const ROUNDS_FACTOR: usize = 2;

/// A running server.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// As the table says it.
    pub name: String,
    /// Where it listens: one address for each server of an ensemble.
    pub addresses: Vec<SocketAddr>,
    /// Its processes.
    pub pids: Vec<u32>,
    /// Whether it is the canned server, by which drift is judged.
    pub canned: bool,
}

impl Contestant {
    pub(crate) fn nodes(&self) -> Nodes<'static> {
        if self.canned { Nodes::Canned } else { Nodes::Below(ROOT) }
    }

    /// What all its processes have used of the processors.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        self.pids.iter().map(|&pid| cpu_time(pid)).sum()
    }

    fn resident_bytes(&self) -> Result<u64> {
        self.pids.iter().map(|&pid| resident_bytes(pid)).sum()
    }
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Rounds that must count.
    pub rounds: usize,
    /// Of one subject in one round.
    pub slice: Duration,
    /// Before the first round, for each subject.
    pub warm_up: Duration,
}

/// One slice and the processor time that the server spent in it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What the load saw.
    pub slice: Slice,
    /// The server's processor time per operation, microseconds.
    pub cpu_us: f64,
    /// Of all its processes, after the slice.
    pub resident_bytes: u64,
}

/// All rounds of one cell.
#[derive(Clone, Debug)]
pub struct CellResult {
    /// Which.
    pub cell: Cell,
    /// Names of the contestants.
    pub names: Vec<String>,
    /// For each round the contestants in their order.
    pub rounds: Vec<Vec<Measured>>,
    /// Rounds that do not count.
    pub void: usize,
    /// Whether too few rounds were calm, so that void ones are counted after all.
    pub unsteady: bool,
}

/// Middle, least and greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Pace {
    /// As a table says it: `5 × 3 s`.
    #[must_use]
    pub fn said(&self) -> String {
        format!("{} × {} s", self.rounds, self.slice.as_secs_f64())
    }
}

impl Spread {
    /// Of at least one value.
    #[must_use]
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (values[0], values[values.len() - 1]);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Self { median, min, max }
    }
}

/// Measures one cell. The canned server, if there is one, comes first.
pub fn measure(cell: Cell, contestants: &[Contestant], pace: Pace) -> Result<CellResult> {
    let mut loads = contestants
        .iter()
        .map(|it| {
            let load = Load::open(&it.addresses, &cell.workload, it.nodes());
            load.with_context(|| format!("{} under {}", it.name, cell.name))
        })
        .collect::<Result<Vec<Load>>>()?;
    for (contestant, load) in contestants.iter().zip(&mut loads) {
        let warmed = load.run(pace.warm_up);
        warmed.with_context(|| format!("{} warming up for {}", contestant.name, cell.name))?;
    }
    let canned = contestants.iter().position(|it| it.canned);
    let found = until_steady(
        pace.rounds,
        || round(contestants, &mut loads, pace.slice),
        |round: &Vec<Measured>| canned.map(|at| round[at].slice.rate()),
    )?;
    let names = contestants.iter().map(|it| it.name.clone()).collect();
    let Steady { rounds, void, unsteady } = found;
    Ok(CellResult { cell, names, rounds, void, unsteady })
}

/// Rounds of any measurement, judged by a ceiling.
#[derive(Clone, Debug)]
pub(crate) struct Steady<T> {
    /// Those that count.
    pub rounds: Vec<T>,
    /// How many did not, or would not have.
    pub void: usize,
    /// Whether too few were calm, so that void ones are counted after all.
    pub unsteady: bool,
}

#[cfg(feature = "page")]
impl<T> Steady<T> {
    /// What a line of a table says of it behind its figures; nothing where all were calm.
    pub(crate) fn note(&self) -> String {
        match (self.unsteady, self.void) {
            (true, void) => {
                format!("; unsteady: the ceiling strayed in {void} rounds, which count")
            }
            (false, 0) => String::new(),
            (false, void) => format!("; {void} void"),
        }
    }
}

/// Goes through rounds until so many are steady by what `ceiling` says of each, or until there were twice as
/// many. Where it says nothing all count.
pub(crate) fn until_steady<T>(
    wanted: usize,
    mut round: impl FnMut() -> Result<T>,
    ceiling: impl Fn(&T) -> Option<f64>,
) -> Result<Steady<T>> {
    let (mut rounds, mut valid) = (Vec::new(), Vec::new());
    while valid.len() < wanted && rounds.len() < ROUNDS_FACTOR * wanted {
        rounds.push(round()?);
        if wanted <= rounds.len() {
            let ceilings: Option<Vec<f64>> = rounds.iter().map(&ceiling).collect();
            valid = ceilings.map_or_else(|| (0..rounds.len()).collect(), |all| steady(&all));
        }
    }
    let (void, unsteady) = (rounds.len() - valid.len(), valid.len() < wanted);
    if !unsteady {
        let mut at = 0..;
        rounds.retain(|_| valid.contains(&at.next().expect("unbounded")));
    }
    Ok(Steady { rounds, void, unsteady })
}

fn round(
    contestants: &[Contestant],
    loads: &mut [Load],
    duration: Duration,
) -> Result<Vec<Measured>> {
    let mut measured = Vec::new();
    for (contestant, load) in contestants.iter().zip(loads) {
        let before = contestant.cpu_time()?;
        let slice =
            load.run(duration).with_context(|| format!("{} under load", contestant.name))?;
        let spent = contestant.cpu_time()? - before;
        let cpu_us = spent.as_secs_f64() * 1e6 / slice.operations.max(1) as f64;
        let resident_bytes = contestant.resident_bytes()?;
        measured.push(Measured { slice, cpu_us, resident_bytes });
    }
    Ok(measured)
}

/// The rounds that count, by the figure that the ceiling had in each.
fn steady(ceilings: &[f64]) -> Vec<usize> {
    let median = Spread::of(ceilings.iter().copied()).median;
    let near = |figure: f64| (figure - median).abs() <= DRIFT_MAX * median;
    (0..ceilings.len()).filter(|&at| near(ceilings[at])).collect()
}

impl CellResult {
    /// A figure of one contestant over the rounds that count.
    #[must_use]
    pub fn figure(&self, contestant: usize, of: impl Fn(&Measured) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(|round| of(&round[contestant])))
    }

    /// The ratio of a figure between two contestants, taken in each round by itself.
    #[must_use]
    pub fn ratio(&self, above: usize, below: usize, of: impl Fn(&Measured) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(|round| of(&round[above]) / of(&round[below])))
    }

    /// How often and how long, as a table says it: `5 × 3 s`, of the rounds that count.
    #[must_use]
    pub fn turns(&self) -> String {
        // A slice ends behind its last reply, which comes a little later than it was meant to.
        let length = |round: &Vec<Measured>| round[0].slice.elapsed.as_secs_f64();
        let seconds = Spread::of(self.rounds.iter().map(length)).median;
        format!("{} × {} s", self.rounds.len(), (seconds * 10.0).round() / 10.0)
    }

    /// The place of a contestant.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|it| it == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between_its_two_middle_values() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0].into_iter());
        assert_eq!(spread, Spread { median: 2.5, min: 1.0, max: 4.0 });
    }

    #[test]
    fn a_round_whose_ceiling_strays_by_more_than_a_fifth_is_void() {
        assert_eq!(steady(&[100.0, 119.0, 121.0, 81.0, 79.0]), [0, 1, 3]);
    }

    /// Rounds whose ceilings are these, three of them wanted.
    fn rounds(ceilings: &[f64]) -> Steady<f64> {
        let mut next = ceilings.iter().copied();
        until_steady(3, || next.next().context("no more rounds"), |&it| Some(it)).expect("enough")
    }

    #[test]
    fn a_void_round_is_repeated_and_left_out() {
        let found = rounds(&[100.0, 150.0, 101.0, 99.0]);
        assert_eq!((&found.rounds[..], found.void), (&[100.0, 101.0, 99.0][..], 1));
        assert!(!found.unsteady);
    }

    #[test]
    fn where_it_is_never_calm_all_rounds_count_and_that_is_said() {
        let found = rounds(&[1.0, 10.0, 100.0, 1e3, 1e4, 1e5]);
        assert_eq!((found.rounds.len(), found.void, found.unsteady), (6, 6, true));
    }

    #[test]
    fn without_a_ceiling_every_round_counts() {
        let found = until_steady(3, || Ok(1.0), |_| None).expect("rounds");
        assert_eq!((found.rounds.len(), found.void, found.unsteady), (3, 0, false));
    }
}
