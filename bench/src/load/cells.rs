//! The cells of the grid that are measured by default.

use super::{Kind, Workload};

/// One workload with its name.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// As the command line and the table say it.
    pub name: &'static str,
    /// What is asked.
    pub workload: Workload,
    /// How many times ZooKeeper's throughput it is expected to reach.
    pub expected: Option<f64>,
}

const fn cell(name: &'static str, kind: Kind, connections: usize, outstanding: usize) -> Cell {
    let workload = Workload {
        kind,
        connections,
        outstanding,
        value_bytes: VALUE_BYTES,
        keys: 10_000,
        watch_percent: 0,
        threads: 1,
        rate: None,
    };
    Cell { name, workload, expected: None }
}

const fn expecting(mut cell: Cell, times: f64) -> Cell {
    cell.expected = Some(times);
    cell
}

/// Bytes of every value.
pub const VALUE_BYTES: usize = 100;

const MIX: Kind = Kind::Mix { read_percent: 90 };

const fn mix(name: &'static str, read_percent: u8, outstanding: usize) -> Cell {
    cell(name, Kind::Mix { read_percent }, 64, outstanding)
}

/// Those that are measured only when they are asked for: the mix of 70 % reads, and the curve of
/// ZooKeeper's paper, which goes from writes alone to reads alone.
pub const MORE: [Cell; 13] = [
    mix("mix70-64", 70, 1),
    mix("mix70-64x32", 70, 32),
    mix("curve-000", 0, 32),
    mix("curve-010", 10, 32),
    mix("curve-020", 20, 32),
    mix("curve-030", 30, 32),
    mix("curve-040", 40, 32),
    mix("curve-050", 50, 32),
    mix("curve-060", 60, 32),
    mix("curve-070", 70, 32),
    mix("curve-080", 80, 32),
    mix("curve-090", 90, 32),
    mix("curve-100", 100, 32),
];

/// The cell of this name, of all that there are.
#[must_use]
pub fn named(name: &str) -> Option<Cell> {
    CELLS.iter().chain(&MORE).find(|cell| cell.name == name).copied()
}

/// Of the cells of the curve of ZooKeeper's paper, before the percentage of reads.
const CURVE: &str = "curve-";

impl Cell {
    /// How many of a hundred requests are reads, of a cell of the curve; `None` of all others.
    #[must_use]
    pub fn percent_of_curve(&self) -> Option<u8> {
        self.name.strip_prefix(CURVE)?.parse().ok()
    }
}

/// In the order in which they are measured.
pub const CELLS: [Cell; 12] = [
    cell("read-1", Kind::Get, 1, 1),
    cell("read-64", Kind::Get, 64, 1),
    expecting(cell("read-16x64", Kind::Get, 16, 64), 12.0),
    expecting(cell("read-64x32", Kind::Get, 64, 32), 12.0),
    cell("set-1", Kind::Set, 1, 1),
    cell("set-64", Kind::Set, 64, 1),
    expecting(cell("set-16x64", Kind::Set, 16, 64), 5.0),
    expecting(cell("set-64x32", Kind::Set, 64, 32), 5.0),
    cell("create-16x64", Kind::Create, 16, 64),
    cell("mix90-64", MIX, 64, 1),
    cell("mix90-16x64", MIX, 16, 64),
    cell("mix90-64x32", MIX, 64, 32),
];
