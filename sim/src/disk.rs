//! A server's disk: what it would read back now, what would survive a crash, and what is under way.
//!
//! ```text
//! snapshot ─ base │ log[0] … log[durable] │ … log[end]      the tail may survive a crash, in part
//! ```
//!
//! Writes of the log complete in order. Completions of writes that were cut meanwhile still arrive,
//! maybe long after the cut: whoever takes them for news of the log as it is now has a bug.
//!
//! Recovery reads bytes and believes checksums only. What was never durable may be there whole, in
//! part, or not at all, record by record: the log is cut at the first that is not whole. A record that
//! *was* durable and is not whole is damage: the server is refused, and rejoins without its disk.
//! How far the log was durable is known, as batches and seals say it (`docs/formats.md`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use farwatch_core::log::epochs::Epochs;
use farwatch_core::prng::Prng;
use farwatch_core::record::Record;
use farwatch_core::zab::mutant::Mutant;
use farwatch_core::zab::run::{Position, Run};
use farwatch_core::zxid::Zxid;

/// One applied command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub zxid: Zxid,
    pub command: u64,
}

impl Entry {
    pub fn of(record: &Record<'_>) -> Self {
        Self { zxid: record.head().zxid, command: command(record.bytes()) }
    }
}

/// One record of a log, or of what a snapshot stands for.
#[derive(Clone, Debug)]
pub struct Logged {
    pub at: Position,
    pub bytes: Arc<[u8]>,
    /// What was written, whatever became of it on the disk: the process has it in memory.
    written: Arc<[u8]>,
    /// Tells it from every other record.
    command: u64,
    /// A failed sync was not met as one: the page is clean, and not on the disk.
    lost: bool,
}

impl Logged {
    fn of(record: &Record<'_>) -> Self {
        let at = Position { zxid: record.head().zxid, chain: record.chain() };
        let bytes: Arc<[u8]> = record.bytes().into();
        let (written, command) = (Arc::clone(&bytes), command(&bytes));
        Self { at, bytes, written, command, lost: false }
    }

    /// What the invariants compare of it.
    pub fn entry(&self) -> Entry {
        Entry { zxid: self.at.zxid, command: self.command }
    }
}

/// Bytes that are not what was written there. The server must not serve from this disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A durable record.
    Record(Zxid),
    /// The snapshot, which the log alone does not replace.
    Snapshot,
    /// The epochs file: promises are not known.
    Epochs,
}

/// A write under way.
#[derive(Clone, Debug)]
pub enum Write {
    Append { ticket: u64, upto: Zxid, generation: u64 },
    Truncate { ticket: u64, to: Position },
    Epochs { epochs: Epochs, rejoining: bool },
    Snapshot { ticket: u64, upto: u64, at: Position, records: Vec<Logged> },
}

/// What the shell tells the machine of a completed write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    Durable { ticket: u64, upto: Zxid },
    Truncated { ticket: u64, to: Position },
    EpochsSaved(Epochs),
    SnapshotStored { ticket: u64, upto: u64 },
}

#[derive(Clone, Debug)]
pub struct Disk {
    pub epochs: Epochs,
    /// The server lost an earlier disk, and does not vote until it has copied a leader's history.
    pub rejoining: bool,
    pub snapshot_at: Position,
    /// A snapshot is the records that it stands for: what makes the state, in the plainest form.
    pub snapshot: Vec<Logged>,
    /// The log begins behind this.
    pub base: Position,
    pub log: Vec<Logged>,
    /// Records that survive a crash for certain.
    pub durable: usize,
    /// What a crash may bring back: the durable tail that is being cut.
    uncut: Option<(Position, Vec<Logged>)>,
    generation: u64,
    writes: VecDeque<(u64, Write)>,
    next_write: u64,
    staged: Vec<u8>,
    reads: BTreeMap<u64, (Position, Arc<[u8]>)>,
    epochs_damaged: bool,
    snapshot_damaged: bool,
    /// A bug of the shell around the disk, for testing the tests.
    flaw: Option<Mutant>,
}

/// Bytes of a snapshot in one message.
const CHUNK_BYTES: usize = 2048;

impl Disk {
    pub fn new(flaw: Option<Mutant>) -> Self {
        Self {
            epochs: Epochs::default(),
            rejoining: false,
            snapshot_at: Position::ROOT,
            snapshot: Vec::new(),
            base: Position::ROOT,
            log: Vec::new(),
            durable: 0,
            uncut: None,
            generation: 0,
            writes: VecDeque::new(),
            next_write: 0,
            staged: Vec::new(),
            reads: BTreeMap::new(),
            epochs_damaged: false,
            snapshot_damaged: false,
            flaw,
        }
    }

    /// The end of the log as it would be read now.
    pub fn end(&self) -> Position {
        self.log.last().map_or(self.base, |record| record.at)
    }

    /// The end of what survives a crash for certain.
    pub fn durable_end(&self) -> Position {
        self.log[..self.durable].last().map_or(self.base, |record| record.at)
    }

    fn begin(&mut self, write: Write) -> u64 {
        self.next_write += 1;
        self.writes.push_back((self.next_write, write));
        self.next_write
    }

    pub fn append(&mut self, ticket: u64, run: &Run) -> u64 {
        assert_eq!(run.after(), self.end(), "the log has no hole");
        for record in run.records() {
            self.log.push(Logged::of(&record));
        }
        self.flush(ticket)
    }

    pub fn flush(&mut self, ticket: u64) -> u64 {
        let (upto, generation) = (self.end().zxid, self.generation);
        self.begin(Write::Append { ticket, upto, generation })
    }

    pub fn truncate(&mut self, ticket: u64, to: Position) -> u64 {
        let keep = self.log.iter().take_while(|record| record.at.zxid <= to.zxid).count();
        let durable_tail: Vec<Logged> =
            self.log.get(keep..self.durable).map(<[Logged]>::to_vec).unwrap_or_default();
        self.log.truncate(keep);
        assert_eq!(self.end(), to, "a log is cut at a place it has");
        self.durable = self.durable.min(keep);
        self.generation += 1;
        self.uncut = Some((to, durable_tail));
        self.begin(Write::Truncate { ticket, to })
    }

    pub fn save_epochs(&mut self, epochs: Epochs, rejoining: bool) -> u64 {
        self.begin(Write::Epochs { epochs, rejoining })
    }

    /// Stages a part of a snapshot. The last one begins the replacement of everything.
    pub fn store_snapshot(
        &mut self,
        ticket: u64,
        at: Position,
        (offset, bytes, end): (u64, &[u8], bool),
    ) -> Result<u64, Completion> {
        if offset == 0 {
            self.staged.clear();
        }
        assert_eq!(self.staged.len() as u64, offset, "a snapshot has no hole");
        self.staged.extend_from_slice(bytes);
        let upto = offset + bytes.len() as u64;
        if !end {
            return Err(Completion::SnapshotStored { ticket, upto });
        }
        let records = decode_snapshot(&self.staged);
        Ok(self.begin(Write::Snapshot { ticket, upto, at, records }))
    }

    /// The write is done: what a crash finds changes now.
    pub fn complete(&mut self, number: u64) -> Option<Completion> {
        let index = self.writes.iter().position(|write| write.0 == number)?;
        let (_, write) = self.writes.remove(index).expect("found above");
        Some(match write {
            Write::Append { ticket, upto, generation } => {
                if generation == self.generation && self.flaw != Some(Mutant::SyncSkipped) {
                    let durable = self.log.iter().take_while(|r| r.at.zxid <= upto).count();
                    self.durable = self.durable.max(durable);
                }
                Completion::Durable { ticket, upto }
            }
            Write::Truncate { ticket, to } => {
                if self.flaw != Some(Mutant::CutNotSynced) {
                    self.uncut = None;
                }
                let kept = self.log.iter().take_while(|r| r.at.zxid <= to.zxid).count();
                self.durable = self.durable.max(kept);
                Completion::Truncated { ticket, to }
            }
            Write::Epochs { epochs, rejoining } => {
                (self.epochs, self.rejoining) = (epochs, rejoining);
                self.epochs_damaged = false;
                Completion::EpochsSaved(epochs)
            }
            Write::Snapshot { ticket, upto, at, records } => {
                self.restore(at, records);
                Completion::SnapshotStored { ticket, upto }
            }
        })
    }

    /// The write failed, and is taken for done: the mistake that a failed sync ends the process for.
    pub fn pretend(&mut self, number: u64) -> Option<Completion> {
        let durable = self.durable;
        let completion = self.complete(number);
        if let Some(unwritten) = self.log.get_mut(durable..self.durable) {
            unwritten.iter_mut().for_each(|record| record.lost = true);
        }
        completion
    }

    /// Whether this write is one of the log's, and not of the epochs or of a snapshot beside it.
    pub fn is_of_log(&self, number: u64, installs_beside: bool) -> bool {
        let of_log = |write: &Write| match write {
            Write::Append { .. } | Write::Truncate { .. } => true,
            Write::Snapshot { .. } => !installs_beside,
            Write::Epochs { .. } => false,
        };
        self.writes.iter().any(|(known, write)| *known == number && of_log(write))
    }

    /// Whether a snapshot is about to replace everything.
    pub fn installs(&self) -> bool {
        self.writes.iter().any(|(_, write)| matches!(write, Write::Snapshot { .. }))
    }

    /// Whether this write is one of a log that was cut or replaced since.
    pub fn is_stale(&self, number: u64) -> bool {
        self.writes.iter().any(|(known, write)| {
            *known == number
                && matches!(write, Write::Append { generation, .. } if *generation != self.generation)
        })
    }

    fn restore(&mut self, at: Position, records: Vec<Logged>) {
        (self.snapshot_at, self.base, self.snapshot) = (at, at, records);
        self.snapshot_damaged = false;
        if self.flaw == Some(Mutant::SnapshotKeepsLog) {
            return;
        }
        self.log.clear();
        self.durable = 0;
        self.uncut = None;
        self.generation += 1;
    }

    /// The power goes: what was under way is done, done in part, or not done.
    pub fn crash(&mut self, prng: &mut Prng) {
        if let Some((to, tail)) = self.uncut.take()
            && prng.one_in(2)
        {
            // The cut did not happen, and nothing that came behind it.
            let keep = self.log.iter().take_while(|r| r.at.zxid <= to.zxid).count();
            self.log.truncate(keep);
            if self.durable >= keep {
                self.log.extend(tail);
            }
            self.durable = self.log.len();
        } else if prng.one_in(2) {
            let survivors = prng.below((self.log.len() - self.durable) as u64 + 1) as usize;
            self.log.truncate(self.durable + survivors);
        } else {
            // Batches are in flight side by side: a later one may be there without an earlier.
            for record in &mut self.log[self.durable..] {
                match prng.below(3) {
                    0 => {}
                    1 => record.bytes = record.bytes[..record.bytes.len() / 2].into(),
                    _ => record.bytes = vec![0; record.bytes.len()].into(),
                }
            }
        }
        for record in self.log.iter_mut().filter(|record| record.lost) {
            record.bytes = vec![0; record.bytes.len()].into();
        }
        for (_, write) in std::mem::take(&mut self.writes) {
            match write {
                Write::Append { .. } | Write::Truncate { .. } => {}
                Write::Epochs { epochs, rejoining } => {
                    if prng.one_in(2) {
                        (self.epochs, self.rejoining) = (epochs, rejoining);
                        self.epochs_damaged = false;
                    }
                }
                Write::Snapshot { at, records, .. } => {
                    if prng.one_in(2) {
                        self.restore(at, records);
                    }
                }
            }
        }
        self.staged.clear();
        self.reads.clear();
    }

    /// Reads everything back. A torn tail is cut; damage is told, and changes nothing.
    pub fn recover(&mut self) -> Result<(), Damage> {
        if self.epochs_damaged {
            return Err(Damage::Epochs);
        }
        if self.snapshot_damaged {
            return Err(Damage::Snapshot);
        }
        let (mut at, mut whole) = (self.base, 0);
        for record in &self.log {
            let Ok(read) = Record::read(&record.bytes, at.chain) else { break };
            at = Position { zxid: read.head().zxid, chain: read.chain() };
            assert_eq!(at, record.at, "a whole record with the right chain is the one written");
            whole += 1;
        }
        if whole < self.durable && self.flaw != Some(Mutant::DamageCutAsTorn) {
            return Err(Damage::Record(self.log[whole].at.zxid));
        }
        self.log.truncate(whole);
        self.durable = whole;
        if self.end().zxid < self.snapshot_at.zxid {
            // What was applied was durable on a quorum and not here: the snapshot is newer.
            self.base = self.snapshot_at;
            self.log.clear();
            self.durable = 0;
        }
        Ok(())
    }

    /// Something at rest changes. Returns what, if there is anything to change.
    pub fn damage(&mut self, prng: &mut Prng) -> Option<Damage> {
        let kind = prng.below(6);
        if kind == 0 && self.epochs != Epochs::default() {
            self.epochs_damaged = true;
            return Some(Damage::Epochs);
        }
        if kind == 1 && !self.snapshot.is_empty() {
            self.snapshot_damaged = true;
            return Some(Damage::Snapshot);
        }
        if self.durable < 2 {
            return None;
        }
        let index = prng.below(self.durable as u64) as usize;
        let other = prng.below(self.durable as u64) as usize;
        if kind == 2 && other != index {
            // A write that went to the wrong place, whole and with a valid checksum of its own.
            self.log[index].bytes = self.log[other].bytes.clone();
        } else {
            let mut bytes = self.log[index].bytes.to_vec();
            let place = prng.below(bytes.len() as u64) as usize;
            bytes[place] ^= 1 << prng.below(8);
            self.log[index].bytes = bytes.into();
        }
        Some(Damage::Record(self.log[index].at.zxid))
    }

    /// Flips a bit of the oldest record, if it is durable.
    pub fn flip_first_record(&mut self) {
        assert!(self.durable > 0, "a record is durable");
        let mut bytes = self.log[0].bytes.to_vec();
        *bytes.last_mut().expect("a record has bytes") ^= 1;
        self.log[0].bytes = bytes.into();
    }

    /// Whether anything that was durable here cannot be read back.
    pub fn is_damaged(&self) -> bool {
        let broken = |(index, record): (usize, &Logged)| {
            let before = if index == 0 { self.base } else { self.log[index - 1].at };
            Record::read(&record.bytes, before.chain).is_err()
        };
        self.epochs_damaged
            || self.snapshot_damaged
            || self.log[..self.durable].iter().enumerate().any(broken)
    }

    /// The last position at or below `from`, and records behind it.
    pub fn read(
        &self,
        from: Zxid,
        bytes_max: u64,
    ) -> Result<(Option<Position>, Option<Run>), Damage> {
        if from < self.base.zxid {
            return Ok((None, None));
        }
        let index = self.log.partition_point(|record| record.at.zxid <= from);
        let at = if index == 0 { self.base } else { self.log[index - 1].at };
        let (mut bytes, mut upto) = (Vec::new(), at);
        for record in &self.log[index..] {
            if bytes_max <= bytes.len() as u64 {
                break;
            }
            let trusted = self.flaw == Some(Mutant::DamageServed);
            if !trusted && Record::read(&record.bytes, upto.chain).is_err() {
                return Err(Damage::Record(record.at.zxid));
            }
            bytes.extend_from_slice(&record.bytes);
            upto = record.at;
        }
        let run = (!bytes.is_empty()).then(|| Run::own(at, upto, bytes.into()));
        Ok((Some(at), run))
    }

    /// A part of the newest snapshot, the same one for each ticket.
    pub fn read_snapshot(
        &mut self,
        ticket: u64,
        offset: u64,
    ) -> Result<(Position, Arc<[u8]>, bool), Damage> {
        if offset == 0 {
            if self.snapshot_damaged {
                return Err(Damage::Snapshot);
            }
            let bytes = encode_snapshot(&self.snapshot);
            self.reads.insert(ticket, (self.snapshot_at, bytes.into()));
        }
        let (at, whole) = &self.reads[&ticket];
        let end = whole.len().min(offset as usize + CHUNK_BYTES);
        Ok((*at, whole[offset as usize..end].into(), end == whole.len()))
    }

    /// Records behind `after` up to `upto`, which are committed now.
    pub fn records(&self, after: Zxid, upto: Zxid) -> impl Iterator<Item = Logged> {
        let index = self.log.partition_point(|record| record.at.zxid <= after);
        let upto = move |record: &&Logged| record.at.zxid <= upto;
        let written = |it: &Logged| Logged { bytes: Arc::clone(&it.written), ..it.clone() };
        self.log[index..].iter().take_while(upto).map(written)
    }

    /// Writes of the log that are under way and were not cut.
    pub fn appends_under_way(&self) -> usize {
        let current = |write: &Write| matches!(write, Write::Append { generation, .. } if *generation == self.generation);
        self.writes.iter().filter(|(_, write)| current(write)).count()
    }

    /// The process ends in good order: what was ordered of the log is done. Epochs may be or not.
    pub fn finish(&mut self, prng: &mut Prng) {
        let numbers: Vec<(u64, bool)> = self
            .writes
            .iter()
            .map(|(number, write)| (*number, matches!(write, Write::Epochs { .. })))
            .collect();
        for (number, epochs) in numbers {
            if !epochs || prng.one_in(2) {
                self.complete(number);
            }
        }
        self.writes.clear();
        self.staged.clear();
        self.reads.clear();
    }

    /// Takes a snapshot of `records`, which end at `at`, and forgets records before `purge`.
    pub fn compact(&mut self, at: Position, records: &[Logged], purge: bool) {
        (self.snapshot_at, self.snapshot) = (at, records.to_vec());
        self.snapshot_damaged = false;
        let index = self.log.partition_point(|record| record.at.zxid <= at.zxid);
        if purge && index <= self.durable {
            self.log.drain(..index);
            self.durable -= index;
            self.base = at;
        }
    }

    /// Whether a crash would leave the record at `at` here, as far as is certain.
    pub fn holds(&self, at: Position) -> bool {
        let durable = &self.log[..self.durable];
        let index = durable.partition_point(|record| record.at.zxid < at.zxid);
        at.zxid <= self.base.zxid
            || at.zxid <= self.snapshot_at.zxid
            || durable.get(index).is_some_and(|record| record.at == at && !record.lost)
    }
}

/// Tells records apart wherever they stand in a history.
fn command(bytes: &[u8]) -> u64 {
    u64::from(crc32c::crc32c(bytes)) << 20 | bytes.len() as u64
}

/// What a snapshot begins with, so that an empty one has a byte, too.
const SNAPSHOT_HEAD: [u8; 8] = [0xfa; 8];

fn encode_snapshot(records: &[Logged]) -> Vec<u8> {
    let mut bytes = SNAPSHOT_HEAD.to_vec();
    records.iter().for_each(|record| bytes.extend_from_slice(&record.bytes));
    bytes
}

/// The records up to the first that does not follow: whoever installs them is judged by what is there.
fn decode_snapshot(bytes: &[u8]) -> Vec<Logged> {
    let (mut records, mut at) = (Vec::new(), Position::ROOT);
    let mut rest = bytes.get(SNAPSHOT_HEAD.len()..).unwrap_or_default();
    while let Ok(record) = Record::read(rest, at.chain) {
        records.push(Logged::of(&record));
        at = records.last().expect("just added").at;
        rest = &rest[record.bytes().len()..];
    }
    records
}

#[cfg(test)]
mod tests {
    use farwatch_core::record;
    use farwatch_core::txn::{Txn, TxnHead};
    use farwatch_core::zxid::{Epoch, SessionId};

    use super::*;

    fn disk_with(records: u32, durable: u32) -> Disk {
        let mut disk = Disk::new(None);
        for counter in 1..=records {
            let (zxid, after) = (Zxid::new(Epoch(1), counter), disk.end());
            let head = TxnHead { zxid, time_ms: 1, session: SessionId(1), cxid: counter as i32 };
            let mut bytes = Vec::new();
            let chain =
                record::append(&head, &Txn::Delete { path: b"/a" }, after.chain, &mut bytes);
            let run = Run::own(after, Position { zxid, chain }, bytes.into());
            let number = disk.append(1, &run);
            if counter <= durable {
                disk.complete(number);
            }
        }
        disk
    }

    #[test]
    fn a_damaged_durable_record_is_refused_by_recovery_and_by_every_read_of_it() {
        for seed in 0..500 {
            let mut disk = disk_with(6, 6);
            let mut prng = Prng::new(seed);
            let Some(damage) = disk.damage(&mut prng) else { continue };
            assert!(disk.is_damaged(), "seed {seed}");
            if let Damage::Record(zxid) = damage {
                let before = Zxid(zxid.0 - 1);
                assert_eq!(disk.read(before, 1), Err(damage), "seed {seed}");
            }
            disk.crash(&mut prng);
            assert_eq!(disk.recover(), Err(damage), "seed {seed}");
        }
    }

    #[test]
    fn a_crash_keeps_all_that_is_durable_and_a_torn_tail_is_cut_at_a_whole_record() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut disk = disk_with(6, 3);
            disk.crash(&mut Prng::new(seed));
            assert_eq!(disk.recover(), Ok(()), "seed {seed}");
            let (at, run) = disk.read(Zxid::ZERO, u64::MAX).unwrap();
            let run = Run::read(at.unwrap(), run.unwrap().bytes().clone()).unwrap();
            lengths.insert(run.records().count());
        }
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
    }
}
