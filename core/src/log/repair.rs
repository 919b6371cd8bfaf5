//! Closing a hole in the log with records that another server still has.
//!
//! ```text
//! … batch │ batch │ X damaged … │ batch │ …         before ◄─ hole ─► ends
//!                 └ offset       └ end              missing records, then seals up to `end`
//! ```
//!
//! A voter that throws its whole log away because of one damaged block counts as lost until it has
//! copied everything. Every record is the same on every server and chained to the one before it, so
//! the missing ones can be fetched from any peer and prove themselves: they fit between the two sides
//! of the hole or they do not. Until then the server must not vote: see `docs/zab.md`.

use thiserror::Error;

use super::cut::Cut;
use super::format::{
    BATCH_HEAD_BYTES, BLOCK_BYTES, BatchHead, BatchKind, ClusterId, SEGMENT_HEAD_BYTES, Salt,
    SegmentHead, padded_bytes,
};
use super::reader::{BatchReader, ReadError};
use super::recovery::RecoverError;
use super::{LOG_DIRECTORY, Segment, count_records, parse_segment_name, segment_name};
use crate::disk::{Disk, DiskError, directory_of};
use crate::record::Chain;
use crate::record::run::{Position, Run};
use crate::zxid::Zxid;

/// Bytes of a segment that are copied at once.
const COPY_BYTES: usize = 1 << 20;

/// Where a hole ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// At this very record.
    Record(Position),
    /// In front of the record of this zxid, which is seeded with this checksum.
    Before(Zxid, Chain),
}

/// Records that are damaged here, with whole ones on both sides of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The segment, by its first record.
    pub segment: Zxid,
    /// Where the damaged batch begins.
    pub offset: u64,
    /// Where the next whole batch begins, if it is in the same segment.
    pub end: Option<u64>,
    /// The last record before the hole.
    pub before: Position,
    /// The last record in it.
    pub until: Until,
}

/// Why a hole was not closed. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RepairError {
    /// The records are not those that are missing.
    #[error("the records that were sent are not those that are missing behind {before}")]
    OtherRecords {
        /// Where the hole begins.
        before: Zxid,
    },
    /// They are more than ever stood there.
    #[error("the missing records need {needed} bytes, and {room} were written there")]
    Room {
        /// Bytes.
        needed: u64,
        /// Bytes.
        room: u64,
    },
    /// The disk failed or is full.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Hole {
    /// The hole that recovery or a reader met as `damage`; `None` where no whole record behind it
    /// says how far it reaches, or it is no damage of a segment. Changes nothing.
    pub fn of<D: Disk>(
        disk: &D,
        cluster: ClusterId,
        damage: &ReadError,
    ) -> Result<Option<Self>, RecoverError> {
        let ReadError::Damaged { segment: name, offset, .. } = damage else { return Ok(None) };
        let named = name.rsplit('/').next().and_then(parse_segment_name);
        let Some(segment) = named.map(|first| head_of(disk, first)).transpose()?.flatten() else {
            return Ok(None);
        };
        let mut batches = BatchReader::open(disk, &segment)?;
        while batches.at < *offset {
            if batches.next(disk)?.is_err() {
                return Ok(None); // another hole is in front of it
            }
        }
        let before = Position { zxid: batches.last, chain: batches.chain };
        let limit = limit_of(disk, cluster, &segment)?;
        let hole = |end, until| {
            let segment = segment.head.first;
            Some(Self { segment, offset: *offset, end, before, until })
        };
        let mut at = *offset + BLOCK_BYTES as u64;
        while let Some(block) = batches.window.get(disk, at, BLOCK_BYTES)? {
            let head = BatchHead::decode(block, segment.head.salt);
            let head = head.filter(|head| before.zxid < head.last);
            if let Some(head) = head
                && is_whole(disk, &mut batches, at, &head)?
            {
                if limit.is_some_and(|limit| limit.zxid < head.first) {
                    break; // dead
                }
                return Ok(hole(Some(at), until(&head)));
            }
            at += BLOCK_BYTES as u64;
        }
        Ok(limit
            .filter(|limit| before.zxid < limit.zxid)
            .and_then(|it| hole(None, Until::Record(it))))
    }

    /// No record of the hole is behind this.
    pub const fn limit(&self) -> Zxid {
        match self.until {
            Until::Record(last) => last.zxid,
            // The last of an epoch is not known by name, and lies in front of the next epoch's start.
            Until::Before(next, _) => Zxid(next.0 - 1),
        }
    }

    /// Bytes that were written there, or more where nothing behind the hole says where it ends.
    pub fn room<D: Disk>(&self, disk: &D) -> Result<u64, DiskError> {
        let length = head_of(disk, self.segment)?.map_or(self.offset, |it| it.head.bytes);
        Ok(self.end.unwrap_or(length) - self.offset)
    }

    /// Whether the hole is closed by records that end at `at`, and each follows the one before it.
    pub fn ends_at(&self, at: Position) -> bool {
        match self.until {
            Until::Record(last) => at == last,
            Until::Before(next, chain) => next.follows(at.zxid) && at.chain == chain,
        }
    }

    /// Whether `run` is what is missing.
    pub fn is_closed_by(&self, run: &Run) -> bool {
        // What this process did not check itself is checked here: it becomes part of the log.
        self.ends_at(run.upto()) && Run::read(self.before, run.bytes().clone()).as_ref() == Ok(run)
    }

    /// Writes what is missing into its place, durably: the segment is copied and takes the old one's
    /// name, so that a crash leaves one of them. The log must not be open, and is recovered next.
    pub fn close<D: Disk>(&self, disk: &D, run: &Run) -> Result<(), RepairError> {
        if !self.is_closed_by(run) {
            return Err(RepairError::OtherRecords { before: self.before.zxid });
        }
        self.fill(disk, Some(run))
    }

    /// Whether only seals are damaged, and no record is missing: see [`Hole::close_empty`].
    pub fn is_empty(&self) -> bool {
        self.end.is_some() && self.ends_at(self.before)
    }

    /// As [`Hole::close`], where [`Hole::is_empty`].
    pub fn close_empty<D: Disk>(&self, disk: &D) -> Result<(), RepairError> {
        assert!(self.is_empty(), "the caller asks first");
        self.fill(disk, None)
    }

    fn fill<D: Disk>(&self, disk: &D, run: Option<&Run>) -> Result<(), RepairError> {
        let other = RepairError::OtherRecords { before: self.before.zxid };
        let segment = head_of(disk, self.segment)?.ok_or(other)?;
        let needed = run.map_or(0, |run| padded_bytes(run.bytes().len()));
        let room = self.room(disk)?;
        if room < needed as u64 {
            return Err(RepairError::Room { needed: needed as u64, room });
        }
        let filling = self.filling(&segment.head, run, room as usize);
        let name = segment.name();
        let temporary = format!("{name}.tmp");
        let copied = copy(disk, &name, &temporary, self.offset, &filling)
            .and_then(|()| disk.rename(&temporary, &name))
            .and_then(|()| disk.sync_dir(directory_of(&name)));
        if let Err(error) = copied {
            // Its space is needed by others. If this fails too, the next start removes it.
            let _removed = disk.remove(&temporary);
            return Err(error.into());
        }
        Ok(())
    }

    /// The missing records as one batch, and seals up to the next one: a batch follows the one
    /// before it without a gap.
    fn filling(&self, segment: &SegmentHead, run: Option<&Run>, room: usize) -> Vec<u8> {
        let salt = segment.salt;
        let mut filling = vec![0; room];
        let used = run.map_or(0, |run| self.put_batch(salt, run, &mut filling));
        let upto = run.map_or(self.before, Run::upto);
        let seal = BatchHead {
            kind: BatchKind::Seal,
            body_bytes: 0,
            body_crc: crc32c::crc32c(&[]),
            records: 0,
            salt,
            first: upto.zxid,
            last: upto.zxid,
            durable_upto: upto.zxid,
            chain_before: upto.chain,
            chain_after: upto.chain,
        };
        if self.end.is_some() {
            for block in filling[used..].chunks_mut(BLOCK_BYTES) {
                block[..BATCH_HEAD_BYTES].copy_from_slice(&seal.encode());
            }
        }
        filling
    }

    /// Puts the missing records in front, as a batch, and says how many bytes it takes.
    fn put_batch(&self, salt: Salt, run: &Run, filling: &mut [u8]) -> usize {
        let records: &[u8] = run.bytes();
        let first = run.records().next().expect("a run holds a record").head().zxid;
        let upto = run.upto();
        let batch = BatchHead {
            kind: BatchKind::Records,
            body_bytes: u32::try_from(records.len()).expect("it fits in a segment"),
            body_crc: crc32c::crc32c(records),
            records: count_records(records),
            salt,
            first,
            last: upto.zxid,
            durable_upto: self.before.zxid,
            chain_before: self.before.chain,
            chain_after: upto.chain,
        };
        filling[..BATCH_HEAD_BYTES].copy_from_slice(&batch.encode());
        filling[BATCH_HEAD_BYTES..BATCH_HEAD_BYTES + records.len()].copy_from_slice(records);
        batch.padded_bytes()
    }
}

fn until(head: &BatchHead) -> Until {
    match head.kind {
        BatchKind::Records => Until::Before(head.first, head.chain_before),
        BatchKind::Seal => Until::Record(Position { zxid: head.last, chain: head.chain_before }),
    }
}

/// Whether the batch at `at` is as it was written.
fn is_whole<D: Disk>(
    disk: &D,
    batches: &mut BatchReader<D::File>,
    at: u64,
    head: &BatchHead,
) -> Result<bool, DiskError> {
    let Some(batch) = batches.window.get(disk, at, head.padded_bytes())? else { return Ok(false) };
    let body = &batch[BATCH_HEAD_BYTES..BATCH_HEAD_BYTES + head.body_bytes as usize];
    Ok(crc32c::crc32c(body) == head.body_crc)
}

/// The segment of that name, if its head can be read.
pub(super) fn head_of<D: Disk>(disk: &D, first: Zxid) -> Result<Option<Segment>, DiskError> {
    let file = disk.open(&segment_name(first))?;
    let mut block = [0; SEGMENT_HEAD_BYTES];
    if disk.len(&file)? < block.len() as u64 {
        return Ok(None);
    }
    disk.read_at(&file, 0, &mut block)?;
    Ok(SegmentHead::decode(&block).ok().map(|head| Segment { head }))
}

/// Where a segment ends, if the next one or the cut file says so.
fn limit_of<D: Disk>(
    disk: &D,
    cluster: ClusterId,
    segment: &Segment,
) -> Result<Option<Position>, RecoverError> {
    let names = disk.list(LOG_DIRECTORY)?;
    let later = names.iter().filter_map(|name| parse_segment_name(name));
    match later.filter(|&first| segment.head.first < first).min() {
        Some(next) => Ok(head_of(disk, next)?.map(|next| next.before())),
        // One that the begun segment has made superfluous says nothing of it.
        None => {
            let cut = Cut::load(disk, cluster)?.map(|cut| cut.to);
            Ok(cut.filter(|to| segment.head.first <= to.zxid))
        }
    }
}

/// Copies a file with `filling` at `offset`, durably but for its name.
fn copy<D: Disk>(
    disk: &D,
    from: &str,
    to: &str,
    offset: u64,
    filling: &[u8],
) -> Result<(), DiskError> {
    let (source, target) = (disk.open(from)?, disk.create(to)?);
    let length = disk.len(&source)?;
    let mut bytes = vec![0; COPY_BYTES];
    let mut at = 0;
    while at < length {
        let step = (COPY_BYTES as u64).min(length - at) as usize;
        disk.read_at(&source, at, &mut bytes[..step])?;
        disk.write_at(&target, at, &bytes[..step])?;
        at += step as u64;
    }
    disk.write_at(&target, offset, filling)?;
    disk.sync(&target)
}
