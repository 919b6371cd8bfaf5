//! A server's disk: what it would read back now, what would survive a crash, and what is under way.
//!
//! ```text
//! snapshot ─ base │ log[0] … log[durable] │ … log[end]      the tail may survive a crash, in part
//! ```
//!
//! Writes of the log complete in order. Completions of writes that were cut meanwhile still arrive:
//! whoever takes them for news of the log as it is now has a bug.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use farwatch_core::log::epochs::Epochs;
use farwatch_core::prng::Prng;
use farwatch_core::record::Record;
use farwatch_core::zab::run::{Position, Run};
use farwatch_core::zxid::Zxid;

/// One applied command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub zxid: Zxid,
    pub command: u64,
}

/// One record of a log.
#[derive(Clone, Debug)]
pub struct Logged {
    pub at: Position,
    pub bytes: Arc<[u8]>,
}

/// A write under way.
#[derive(Clone, Debug)]
pub enum Write {
    Append { ticket: u64, upto: Zxid, generation: u64 },
    Truncate { ticket: u64, to: Position },
    Epochs { epochs: Epochs, rejoining: bool },
    Snapshot { ticket: u64, upto: u64, at: Position, entries: Vec<Entry> },
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
    pub snapshot: Vec<Entry>,
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
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes of a snapshot in one message.
const CHUNK_BYTES: usize = 512;

impl Disk {
    pub fn new() -> Self {
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
            let at = Position { zxid: record.head().zxid, chain: record.chain() };
            self.log.push(Logged { at, bytes: record.bytes().into() });
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
        let entries = decode_snapshot(&self.staged);
        Ok(self.begin(Write::Snapshot { ticket, upto, at, entries }))
    }

    /// The write is done: what a crash finds changes now.
    pub fn complete(&mut self, number: u64) -> Option<Completion> {
        let index = self.writes.iter().position(|write| write.0 == number)?;
        let (_, write) = self.writes.remove(index).expect("found above");
        Some(match write {
            Write::Append { ticket, upto, generation } => {
                if generation == self.generation {
                    let durable = self.log.iter().take_while(|r| r.at.zxid <= upto).count();
                    self.durable = self.durable.max(durable);
                }
                Completion::Durable { ticket, upto }
            }
            Write::Truncate { ticket, to } => {
                self.uncut = None;
                let kept = self.log.iter().take_while(|r| r.at.zxid <= to.zxid).count();
                self.durable = self.durable.max(kept);
                Completion::Truncated { ticket, to }
            }
            Write::Epochs { epochs, rejoining } => {
                (self.epochs, self.rejoining) = (epochs, rejoining);
                Completion::EpochsSaved(epochs)
            }
            Write::Snapshot { ticket, upto, at, entries } => {
                self.restore(at, entries);
                Completion::SnapshotStored { ticket, upto }
            }
        })
    }

    fn restore(&mut self, at: Position, entries: Vec<Entry>) {
        (self.snapshot_at, self.base, self.snapshot) = (at, at, entries);
        self.log.clear();
        self.durable = 0;
        self.uncut = None;
        self.generation += 1;
    }

    /// The power goes: what was under way is done, done in part, or not done.
    pub fn crash(&mut self, prng: &mut Prng) {
        let mut survivors = self.durable;
        if let Some((to, tail)) = self.uncut.take()
            && prng.one_in(2)
        {
            // The cut did not happen, and nothing that came behind it.
            let keep = self.log.iter().take_while(|r| r.at.zxid <= to.zxid).count();
            self.log.truncate(keep);
            if self.durable >= keep {
                self.log.extend(tail);
            }
            survivors = self.log.len().min(self.durable.max(self.log.len()));
        } else if self.durable < self.log.len() {
            // A torn tail is cut by recovery at the last whole record.
            survivors += prng.below((self.log.len() - self.durable) as u64 + 1) as usize;
        }
        self.log.truncate(survivors);
        self.durable = self.log.len();
        for (_, write) in std::mem::take(&mut self.writes) {
            match write {
                Write::Append { .. } | Write::Truncate { .. } => {}
                Write::Epochs { epochs, rejoining } => {
                    if prng.one_in(2) {
                        (self.epochs, self.rejoining) = (epochs, rejoining);
                    }
                }
                Write::Snapshot { at, entries, .. } => {
                    if prng.one_in(2) {
                        self.restore(at, entries);
                    }
                }
            }
        }
        self.staged.clear();
        self.reads.clear();
        if self.end().zxid < self.snapshot_at.zxid {
            // What was applied was durable on a quorum and not here: the snapshot is newer.
            self.base = self.snapshot_at;
            self.log.clear();
            self.durable = 0;
        }
    }

    /// The last position at or below `from`, and records behind it.
    pub fn read(&self, from: Zxid, bytes_max: u64) -> (Option<Position>, Option<Run>) {
        if from < self.base.zxid {
            return (None, None);
        }
        let index = self.log.partition_point(|record| record.at.zxid <= from);
        let at = if index == 0 { self.base } else { self.log[index - 1].at };
        let (mut bytes, mut upto) = (Vec::new(), at);
        for record in &self.log[index..] {
            if bytes_max <= bytes.len() as u64 {
                break;
            }
            bytes.extend_from_slice(&record.bytes);
            upto = record.at;
        }
        let run = (!bytes.is_empty()).then(|| Run::own(at, upto, bytes.into()));
        (Some(at), run)
    }

    /// A part of the newest snapshot, the same one for each ticket.
    pub fn read_snapshot(&mut self, ticket: u64, offset: u64) -> (Position, Arc<[u8]>, bool) {
        if offset == 0 {
            let bytes = encode_snapshot(&self.snapshot);
            self.reads.insert(ticket, (self.snapshot_at, bytes.into()));
        }
        let (at, whole) = &self.reads[&ticket];
        let end = whole.len().min(offset as usize + CHUNK_BYTES);
        (*at, whole[offset as usize..end].into(), end == whole.len())
    }

    /// Records behind `after` up to `upto`, which are committed now.
    pub fn records(&self, after: Zxid, upto: Zxid) -> impl Iterator<Item = (Position, Entry)> {
        let index = self.log.partition_point(|record| record.at.zxid <= after);
        self.log[index..].iter().take_while(move |record| record.at.zxid <= upto).map(|record| {
            (record.at, Entry { zxid: record.at.zxid, command: command(&record.bytes) })
        })
    }

    /// Takes a snapshot of `entries`, which end at `at`, and forgets records before `purge`.
    pub fn compact(&mut self, at: Position, entries: &[Entry], purge: bool) {
        (self.snapshot_at, self.snapshot) = (at, entries.to_vec());
        let index = self.log.partition_point(|record| record.at.zxid <= at.zxid);
        if purge && index <= self.durable {
            self.log.drain(..index);
            self.durable -= index;
            self.base = at;
        }
    }

    /// Whether a crash would leave the record at `at` here, as far as is certain.
    pub fn holds(&self, at: Position) -> bool {
        at.zxid <= self.base.zxid
            || at.zxid <= self.snapshot_at.zxid
            || self.log[..self.durable].iter().any(|record| record.at == at)
    }
}

fn command(bytes: &[u8]) -> u64 {
    // The client's xid carries the command: enough for a state that is a list.
    let head = Record::own(bytes).head();
    (head.session.0 << 32) | u64::from(head.cxid as u32)
}

fn encode_snapshot(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = vec![0xfa; 8];
    for entry in entries {
        bytes.extend_from_slice(&entry.zxid.0.to_le_bytes());
        bytes.extend_from_slice(&entry.command.to_le_bytes());
    }
    bytes
}

fn decode_snapshot(bytes: &[u8]) -> Vec<Entry> {
    let u64_at = |at: &[u8]| u64::from_le_bytes(at.try_into().expect("eight bytes"));
    bytes[8..]
        .chunks_exact(16)
        .map(|chunk| Entry { zxid: Zxid(u64_at(&chunk[..8])), command: u64_at(&chunk[8..]) })
        .collect()
}
