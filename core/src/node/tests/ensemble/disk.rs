//! A server's disk: its history as records, how much of it a crash leaves, its epochs.

use std::sync::Arc;

use crate::log::epochs::Epochs;
use crate::prng::Prng;
use crate::record::Record;
use crate::zab::run::{Position, Run};
use crate::zxid::Zxid;

#[derive(Default)]
pub struct Disk {
    pub epochs: Epochs,
    /// All records from the first one. Those before `base` stand for a snapshot.
    pub records: Vec<(Position, Arc<[u8]>)>,
    pub base: usize,
    durable: usize,
    /// Rises with each cut, so that a write from before it makes nothing durable.
    pub generation: u64,
}

fn positions(bytes: &[u8], records: &mut Vec<(Position, Arc<[u8]>)>) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let record = Record::own(rest);
        let at = Position { zxid: record.head().zxid, chain: record.chain() };
        records.push((at, record.bytes().into()));
        rest = &rest[record.bytes().len()..];
    }
}

impl Disk {
    pub fn end(&self) -> Position {
        self.records.last().map_or(Position::ROOT, |it| it.0)
    }

    /// What the snapshot stands for.
    pub fn base_at(&self) -> Position {
        self.base.checked_sub(1).map_or(Position::ROOT, |at| self.records[at].0)
    }

    pub fn append(&mut self, run: &Run) {
        assert_eq!(run.after(), self.end(), "the log has no hole");
        positions(run.bytes(), &mut self.records);
    }

    pub fn written(&mut self, upto: Zxid, generation: u64) {
        if generation == self.generation {
            let count = self.records.partition_point(|it| it.0.zxid <= upto);
            self.durable = self.durable.max(count);
        }
    }

    pub fn truncate(&mut self, to: Position) {
        let keep = self.records.partition_point(|it| it.0.zxid <= to.zxid);
        self.records.truncate(keep);
        assert_eq!(self.end(), to, "a log is cut at a place it has");
        self.durable = self.durable.min(keep);
        self.generation += 1;
    }

    /// The last position at or below `from`, and what is behind it.
    pub fn read(&self, from: Zxid, bytes_max: u64) -> (Option<Position>, Option<Run>) {
        if from < self.base_at().zxid {
            return (None, None);
        }
        let index = self.records.partition_point(|it| it.0.zxid <= from);
        let at = index.checked_sub(1).map_or(Position::ROOT, |at| self.records[at].0);
        let (mut bytes, mut upto) = (Vec::new(), at);
        for (position, record) in &self.records[index..] {
            if bytes_max <= bytes.len() as u64 {
                break;
            }
            bytes.extend_from_slice(record);
            upto = *position;
        }
        let run = (!bytes.is_empty()).then(|| Run::own(at, upto, bytes.into()));
        (Some(at), run)
    }

    /// Takes a snapshot of what is committed, and forgets the log before it.
    pub fn purge(&mut self, committed: Zxid) {
        let count = self.records.partition_point(|it| it.0.zxid <= committed);
        self.base = self.base.max(count.min(self.durable));
    }

    pub fn snapshot(&self) -> Arc<[u8]> {
        self.records[..self.base].iter().flat_map(|it| it.1.iter().copied()).collect()
    }

    pub fn install(&mut self, bytes: &[u8]) {
        self.records.clear();
        positions(bytes, &mut self.records);
        (self.base, self.durable) = (self.records.len(), self.records.len());
        self.generation += 1;
    }

    /// The power goes: of what was not durable a part is there.
    pub fn crash(&mut self, prng: &mut Prng) {
        let open = (self.records.len() - self.durable) as u64;
        self.records.truncate(self.durable + prng.below(open + 1) as usize);
        self.durable = self.records.len();
        self.generation += 1;
    }
}
