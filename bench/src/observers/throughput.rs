//! What the voters still do for writers while others learn from them.
//!
//! ```text
//! 64 writers ─► 3 voters ─► n sinks, or observers; or 2 relays ─► 50 sinks
//! ```
//!
//! Each number of them in turn, round by round: a ratio is of one round.

use std::time::Duration;

use anyhow::Result;

use super::crowd::{Crowd, Places};
use super::until_level;
use crate::load::cells::VALUE_BYTES;
use crate::load::process::cpu_time;
use crate::load::{Kind, Load, Workload};
use crate::subject::Ensemble;

/// Until the last of a slice has reached those who learn.
const TAIL: Duration = Duration::from_millis(300);

/// How many there are of each kind where relays are measured.
const RELAYS: usize = 2;
const BEHIND: usize = 50;

/// The load of all slices: 64 writers with 32 writes under way each.
pub const WORKLOAD: Workload = Workload {
    kind: Kind::Set,
    connections: 64,
    outstanding: 32,
    value_bytes: VALUE_BYTES,
    keys: 10_000,
    watch_percent: 0,
    threads: 1,
    rate: None,
};

/// One slice.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Writes a second.
    pub rate: f64,
    /// Processor time of all voters for a write, microseconds.
    pub voters_us: f64,
    /// Of the leader.
    pub leader_us: f64,
    /// Of the sinks, which share the machine: not a cost of the ensemble.
    pub sinks_us: f64,
    /// Over each link for a write, bytes, and what the records alone are; of sinks only.
    pub link_bytes: f64,
    /// See there.
    pub record_bytes: f64,
}

/// Who learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// So many sinks, from the leader itself.
    Sinks(usize),
    /// So many observers: processes.
    Observers(usize),
    /// Two observers, and so many sinks that learn from these.
    Behind(usize),
}

impl Cell {
    /// As tables and JSON have it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Sinks(count) => format!("{count} sinks"),
            Self::Observers(count) => format!("{count} observers"),
            Self::Behind(count) => format!("{count} sinks behind {RELAYS} observers"),
        }
    }

    /// How many learn from the leader itself.
    #[must_use]
    pub fn direct(self) -> usize {
        match self {
            Self::Sinks(count) | Self::Observers(count) => count,
            Self::Behind(_) => RELAYS,
        }
    }

    const fn observers(self) -> usize {
        match self {
            Self::Sinks(_) => 0,
            Self::Observers(count) => count,
            Self::Behind(_) => RELAYS,
        }
    }
}

/// The cells of an ensemble that sinks learn from.
#[must_use]
pub fn cells_of_sinks(counts: &[usize]) -> Vec<Cell> {
    let sinks = counts.iter().map(|&count| Cell::Sinks(count));
    sinks.chain([Cell::Observers(RELAYS), Cell::Behind(BEHIND)]).collect()
}

/// Starts and stops observers until so many run, and waits until they have everything.
pub fn observers(ensemble: &mut Ensemble, count: usize, of: usize) -> Result<()> {
    for at in (0..of).rev() {
        let runs = ensemble.observer(at).pid().is_some();
        if count <= at && runs {
            ensemble.observer_mut(at).terminate()?;
        } else if at < count && !runs {
            ensemble.observer_mut(at).restart()?;
        }
    }
    let addresses: Vec<_> = (0..count).map(|at| ensemble.observer(at).address()).collect();
    until_level(ensemble, &addresses)
}

/// One slice of one cell. `of`: how many observers the ensemble lists.
pub fn slice(
    ensemble: &mut Ensemble,
    crowd: &Crowd,
    load: &mut Load,
    (cell, of): (Cell, usize),
    duration: Duration,
) -> Result<Figure> {
    observers(ensemble, cell.observers(), of)?;
    let leader = ensemble.leader()?;
    let places = |upstreams| Places { upstreams, blocks: true };
    let leader_place = ensemble.voter_places()[leader as usize - 1][0];
    let (count, places) = match cell {
        Cell::Sinks(count) => (count, places(vec![leader_place])),
        Cell::Observers(_) => (0, places(vec![leader_place])),
        Cell::Behind(count) => {
            (count, places((0..RELAYS).map(|at| ensemble.observer_place(at)).collect()))
        }
    };
    crowd.be(count, &places)?;
    let leader_pid = ensemble.server(leader).pid().unwrap_or_default();
    let cpu = || -> Result<[Duration; 2]> {
        let all: Duration = ensemble.pids().into_iter().map(cpu_time).sum::<Result<_>>()?;
        Ok([all, cpu_time(leader_pid)?])
    };
    let (before, taken_before) = (cpu()?, crowd.taken()?);
    let slice = load.run(duration)?;
    std::thread::sleep(TAIL);
    let (after, taken) = (cpu()?, crowd.taken()?);
    let writes = slice.operations.max(1) as f64;
    let us = |time: Duration| time.as_secs_f64() * 1e6 / writes;
    let each = |bytes: u64| bytes as f64 / writes / count.max(1) as f64;
    Ok(Figure {
        rate: slice.rate(),
        voters_us: us(after[0].saturating_sub(before[0])),
        leader_us: us(after[1].saturating_sub(before[1])),
        sinks_us: us(taken.processor.saturating_sub(taken_before.processor)),
        link_bytes: each(taken.bytes - taken_before.bytes),
        record_bytes: each(taken.record_bytes - taken_before.record_bytes),
    })
}
