//! What clients saw, and two checkers of it that share no code.

mod by_search;
mod by_zxid;

use farwatch_core::zxid::Zxid;

use crate::witness::Witness;

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Write { key: u64, value: u64 },
    Read { key: u64 },
}

/// What it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing: it may have happened, or may yet.
    Nothing,
    Written {
        at: u64,
        zxid: Zxid,
    },
    /// The value of the key, 0 for none, in the state up to `upto`.
    Read {
        at: u64,
        upto: Zxid,
        value: u64,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub client: usize,
    pub began: u64,
    pub asked: Asked,
    pub told: Told,
}

/// All operations of a run, in the order in which they began.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub operations: Vec<Operation>,
}

impl History {
    fn begin(&mut self, began: u64, client: usize, asked: Asked) -> usize {
        self.operations.push(Operation { client, began, asked, told: Told::Nothing });
        self.operations.len() - 1
    }

    pub fn write_begins(&mut self, now: u64, client: usize, key: u64, value: u64) -> usize {
        self.begin(now, client, Asked::Write { key, value })
    }

    pub fn read_begins(&mut self, now: u64, client: usize, key: u64) -> usize {
        self.begin(now, client, Asked::Read { key })
    }

    pub fn write_ends(&mut self, number: usize, at: u64, zxid: Zxid) {
        self.operations[number].told = Told::Written { at, zxid };
    }

    pub fn read_ends(&mut self, number: usize, at: u64, upto: Zxid, value: u64) {
        self.operations[number].told = Told::Read { at, upto, value };
    }

    pub fn began(&self, number: usize) -> u64 {
        self.operations[number].began
    }

    pub fn answered(&self) -> usize {
        self.operations.iter().filter(|operation| operation.told != Told::Nothing).count()
    }

    /// Both checkers.
    pub fn check(&self, witness: &mut Witness) {
        by_zxid::check(self, witness);
        by_search::check(self, witness);
    }
}
