//! What bars are told of what was found.

use std::time::Duration;

use serde_json::Value;

use super::{Findings, LinkBytes, Throughput, json};
use crate::load::referee::Spread;
use crate::load::report::FARWATCH;
use crate::observers::throughput::Cell;

/// Cuts of one kind, as bars are told of them.
#[derive(Clone, Copy, Debug)]
pub struct CutFound {
    /// Writes that were missed.
    pub missed: u64,
    /// Seconds from the heal until the observer showed them.
    pub caught_up: Spread,
    /// The way's.
    pub rtt: Duration,
    /// See there.
    pub bytes_per_second: u64,
    /// How many cuts.
    pub cuts: usize,
}

impl Findings {
    /// All rounds.
    pub fn json(&self) -> Value {
        json(self)
    }

    /// The cuts of one kind of servers.
    pub fn cuts_of(&self, name: &str) -> impl Iterator<Item = CutFound> {
        self.cuts.iter().filter(move |it| it.name == name).map(|it| CutFound {
            missed: it.rounds[0].missed,
            caught_up: it.spread(|round| round.caught_up.as_secs_f64()),
            rtt: it.quality.rtt,
            bytes_per_second: it.quality.bytes_per_second,
            cuts: it.rounds.len(),
        })
    }

    fn link_of(&self, name: &str, variant: &str, outstanding: usize) -> Option<&LinkBytes> {
        self.link.iter().find(|it| {
            it.name == name
                && it.variant == variant
                && it.outstanding == outstanding
                && it.behind == 0
        })
    }

    /// How often the bytes of a link of these servers were counted; `None` where they were not.
    pub fn link_rounds(&self, name: &str) -> Option<usize> {
        Some(self.link_of(name, "", 1)?.rounds.len())
    }

    /// Bytes over the way for a write.
    pub fn link_bytes(&self, name: &str, variant: &str, outstanding: usize) -> Option<f64> {
        Some(self.link_of(name, variant, outstanding)?.down().median)
    }

    /// The same, of a record's.
    pub fn bytes_of_a_record(&self, name: &str, variant: &str, outstanding: usize) -> Option<f64> {
        let link = self.link_of(name, variant, outstanding)?;
        Some(link.down().median / link.record_bytes?)
    }

    /// Bytes of a record of Farwatch.
    pub fn record_bytes(&self, outstanding: usize) -> Option<f64> {
        self.link_of(FARWATCH, "", outstanding)?.record_bytes
    }
}

impl Throughput {
    fn place_of(&self, cell: Cell) -> Option<usize> {
        self.cells.iter().position(|(it, _)| *it == cell)
    }

    /// Of each cell.
    pub fn rounds(&self) -> usize {
        self.cells.first().map_or(0, |(_, rounds)| rounds.len())
    }

    /// What each of so many sinks adds to the processor time of a write, percent.
    pub fn slope_of(&self, sinks: usize) -> Option<f64> {
        self.slope(self.place_of(Cell::Sinks(sinks))?)
    }

    /// The rate with so many sinks, of the rate without.
    pub fn kept_of(&self, sinks: usize) -> Option<Spread> {
        Some(self.ratio(self.place_of(Cell::Sinks(sinks))?, |it| it.rate))
    }

    /// The same of sinks behind relays.
    pub fn kept_behind_relays(&self) -> Option<Spread> {
        let at = self.cells.iter().position(|(cell, _)| matches!(cell, Cell::Behind(_)))?;
        Some(self.ratio(at, |it| it.rate))
    }
}
