//! Where records go on disk, what of them is durable, and how they are found again.
//!
//! ```text
//! spare-N ─► start_segment ─► <first zxid>.log: header │ batch │ batch │ seal │ batch │ free …
//!                                                        place ─► (driver writes) ─► complete
//!
//! purged ≤ snapshot ≤ durable ≤ appended;   a batch says how far `durable` was when it was begun
//! ```
//!
//! This module says which bytes go where; the shell's driver writes the batches, several at a time,
//! and reports them back in any order. Durability is reported strictly in the order of the history.
//!
//! A segment is begun only when everything before it is durable, so the existence of a segment
//! proves the one before it to be complete up to what the segment names as standing before it; what
//! comes behind that place was cut ([`cut`]). Within a segment each batch proves the durability of
//! what it calls `durable_upto`. An invalid batch is therefore a torn tail only if no valid head
//! behind it claims more than what stands before it; anything else is damage and is refused.

use std::collections::VecDeque;

use crate::disk::{Disk, DiskCause, DiskError};
use crate::record::run::Position;
use crate::record::{Chain, HEAD_BYTES};
use crate::zxid::Zxid;

pub mod cut;
pub mod epochs;
pub mod format;
pub mod identity;
pub mod reader;
pub mod recovery;
pub mod repair;
pub mod replace;
pub mod salvage;
#[cfg(test)]
mod tests;

use format::{
    BATCH_HEAD_BYTES, BatchHead, BatchKind, ClusterId, SEGMENT_HEAD_BYTES, Salt, SegmentHead,
    padded_bytes,
};

/// The directory of segments.
pub const LOG_DIRECTORY: &str = "log";

/// Spares to keep: one to go on with and one recycled. More would only hold space.
pub const SPARES_MAX: usize = 2;

/// A spare is filled in pieces of so many bytes. Large enough for the disk's full speed, small enough not
/// to hold up the log's own writes.
const FILL_BYTES: u64 = 1 << 20;

/// Zeros written by one call. Not allocated: a spare is filled also where an observer's process has no memory
/// but a reserve.
static ZEROS: [u8; 16 << 10] = [0; 16 << 10];

/// One segment on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its header.
    pub head: SegmentHead,
}

impl Segment {
    /// The name of its file.
    pub fn name(&self) -> String {
        segment_name(self.head.first)
    }

    /// What stands before its first record.
    pub const fn before(&self) -> Position {
        Position { zxid: self.head.before, chain: self.head.chain_before }
    }
}

/// The name of the segment whose first record is `first`.
pub fn segment_name(first: Zxid) -> String {
    format!("{LOG_DIRECTORY}/{:016x}.log", first.0)
}

/// The name of a spare.
pub fn spare_name(number: u64) -> String {
    format!("{LOG_DIRECTORY}/spare-{number}")
}

/// The first zxid that a file's name in the log directory says, if it is a segment's.
pub fn parse_segment_name(name: &str) -> Option<Zxid> {
    parse_hex_name(name, ".log")
}

/// The number in `<hex16><suffix>`, only in the exact form in which it is written.
pub(crate) fn parse_hex_name(name: &str, suffix: &str) -> Option<Zxid> {
    let digits = name.strip_suffix(suffix)?;
    let lower_hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if digits.len() != 16 || !lower_hex {
        return None;
    }
    u64::from_str_radix(digits, 16).ok().map(Zxid)
}

/// Where a batch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Offset in the current segment.
    pub at: u64,
    /// Bytes to write there, a whole number of blocks.
    pub bytes: usize,
    /// What to report to [`Log::complete`].
    pub ticket: Ticket,
}

/// One batch that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

#[derive(Clone, Copy, Debug)]
struct InFlight {
    last: Zxid,
    written: bool,
}

/// A segment that is being begun.
#[derive(Clone, Copy, Debug)]
pub struct SegmentStart {
    spare: u64,
    head: SegmentHead,
    /// Whether there may be a cut file. This segment's head says from here on what it says.
    ends_cut: bool,
}

impl SegmentStart {
    /// Writes the head, makes it durable, and gives the file its name.
    pub fn carry_out<D: Disk>(&self, disk: &D) -> Result<(), DiskError> {
        let spare = spare_name(self.spare);
        let file = disk.open(&spare)?;
        disk.write_at(&file, 0, &self.head.encode())?;
        disk.sync(&file)?;
        disk.rename(&spare, &segment_name(self.head.first))?;
        disk.sync_dir(LOG_DIRECTORY)?;
        if self.ends_cut { cut::remove(disk) } else { Ok(()) }
    }
}

/// What is where in the log. Changes no file itself but for segments as a whole.
#[derive(Debug)]
pub struct Log {
    cluster: ClusterId,
    /// Oldest first; the last one is appended to if `at` is set.
    segments: Vec<Segment>,
    /// Where the next batch goes in the last segment; `None` when the next one begins a segment.
    at: Option<u64>,
    last: Zxid,
    chain: Chain,
    durable: Zxid,
    /// Whether a seal is the last batch.
    sealed: bool,
    /// Whether there is a cut file.
    cut: bool,
    in_flight: VecDeque<InFlight>,
    next_ticket: u64,
    spares: Vec<u64>,
    next_spare: u64,
}

impl Log {
    /// The log that a history `(last, chain)` is appended to, in a new segment.
    pub fn new(cluster: ClusterId, last: Zxid, chain: Chain) -> Self {
        Self {
            cluster,
            segments: Vec::new(),
            at: None,
            last,
            chain,
            durable: last,
            sealed: true,
            cut: false,
            in_flight: VecDeque::new(),
            next_ticket: 0,
            spares: Vec::new(),
            next_spare: 1,
        }
    }

    /// The last record that was placed.
    pub const fn last(&self) -> Zxid {
        self.last
    }

    /// What seeds the next record.
    pub const fn chain(&self) -> Chain {
        self.chain
    }

    /// Both.
    pub const fn position(&self) -> Position {
        Position { zxid: self.last, chain: self.chain }
    }

    /// The last record that is known to be durable.
    pub const fn durable(&self) -> Zxid {
        self.durable
    }

    /// Batches placed and not yet complete.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Oldest first.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The segment that is appended to, if one is begun.
    pub fn current(&self) -> Option<&Segment> {
        self.at.and(self.segments.last())
    }

    /// Numbers of the spares at hand.
    pub fn spares(&self) -> &[u64] {
        &self.spares
    }

    /// Whether records of so many bytes go into the current segment.
    pub fn fits(&self, body_bytes: usize) -> bool {
        match (self.at, self.segments.last()) {
            (Some(at), Some(segment)) => at + padded_bytes(body_bytes) as u64 <= segment.head.bytes,
            _no_current => false,
        }
    }

    /// Length of a segment that holds records of so many bytes.
    pub fn segment_bytes_for(body_bytes: usize) -> u64 {
        (SEGMENT_HEAD_BYTES + padded_bytes(body_bytes)) as u64
    }

    /// The number of a spare to be made now.
    pub fn reserve_spare(&mut self) -> u64 {
        self.next_spare += 1;
        self.next_spare - 1
    }

    /// A spare that [`make_spare`] has made.
    pub fn add_spare(&mut self, number: u64) {
        assert!(number < self.next_spare, "a spare's number is reserved first");
        self.spares.push(number);
    }

    /// A spare that was removed.
    pub fn drop_spare(&mut self, number: u64) {
        self.spares.retain(|&spare| spare != number);
    }

    /// Where the next batch goes in the current segment.
    pub const fn end(&self) -> Option<u64> {
        self.at
    }

    /// What must be done on disk to turn a spare of so many bytes into the current segment, whose
    /// first record will be `first`. It may be carried out on another thread; until
    /// [`Log::segment_started`] nothing may be placed.
    ///
    /// Nothing may be in flight: the new segment vouches for what is before it.
    pub fn plan_segment(&self, spare: u64, bytes: u64, first: Zxid, salt: Salt) -> SegmentStart {
        assert!(self.in_flight.is_empty(), "a segment vouches for everything before it");
        assert!(first.follows(self.last), "{first:?} behind {:?}", self.last);
        assert!(self.spares.contains(&spare), "a spare at hand");
        let head = SegmentHead {
            cluster: self.cluster,
            salt,
            first,
            before: self.last,
            chain_before: self.chain,
            bytes,
        };
        // An empty log may have been given a file that says that it is one, behind this one's back.
        SegmentStart { spare, head, ends_cut: self.cut || self.segments.is_empty() }
    }

    /// A planned segment is there: batches go into it from now on.
    pub fn segment_started(&mut self, start: &SegmentStart) {
        assert!(self.in_flight.is_empty(), "nothing is placed while a segment is begun");
        assert!(start.head.before == self.last, "nothing is placed while a segment is begun");
        self.drop_spare(start.spare);
        self.segments.push(Segment { head: start.head });
        self.at = Some(SEGMENT_HEAD_BYTES as u64);
        self.cut = false;
    }

    /// All of it at once: plan, disk, start. When the disk is full everything stays as it was; any
    /// other error leaves the names in doubt and the log must not be used again.
    pub fn start_segment<D: Disk>(
        &mut self,
        disk: &D,
        spare: u64,
        first: Zxid,
        salt: Salt,
    ) -> Result<(), DiskError> {
        let bytes = disk.len(&disk.open(&spare_name(spare))?)?;
        let start = self.plan_segment(spare, bytes, first, salt);
        start.carry_out(disk)?;
        self.segment_started(&start);
        Ok(())
    }

    /// Lays out whole `records`, the first and last of which are named, and says where they go.
    /// `out` is emptied by the caller and receives the batch; it must fit.
    pub fn place(
        &mut self,
        records: &[u8],
        (first, last): (Zxid, Zxid),
        chain_after: Chain,
        out: &mut impl BatchBuffer,
    ) -> Placement {
        assert!(first.follows(self.last), "{first:?} behind {:?}", self.last);
        assert!(first <= last && !records.is_empty());
        let head = BatchHead {
            kind: BatchKind::Records,
            body_bytes: u32::try_from(records.len()).expect("a batch is smaller than 4 GiB"),
            body_crc: crc32c::crc32c(records),
            records: count_records(records),
            salt: self.current().expect("a segment was begun").head.salt,
            first,
            last,
            durable_upto: self.durable,
            chain_before: self.chain,
            chain_after,
        };
        self.sealed = false;
        self.place_batch(&head, records, out)
    }

    /// Lays out a seal, unless the log ends in one, has no room for it, or is not yet durable.
    pub fn place_seal(&mut self, out: &mut impl BatchBuffer) -> Option<Placement> {
        if self.sealed || !self.in_flight.is_empty() || !self.fits(0) {
            return None;
        }
        assert!(self.durable == self.last);
        let head = BatchHead {
            kind: BatchKind::Seal,
            body_bytes: 0,
            body_crc: crc32c::crc32c(&[]),
            records: 0,
            salt: self.current()?.head.salt,
            first: self.last,
            last: self.last,
            durable_upto: self.durable,
            chain_before: self.chain,
            chain_after: self.chain,
        };
        self.sealed = true;
        Some(self.place_batch(&head, &[], out))
    }

    fn place_batch(
        &mut self,
        head: &BatchHead,
        body: &[u8],
        out: &mut impl BatchBuffer,
    ) -> Placement {
        assert!(self.fits(body.len()), "the caller begins a segment first");
        let bytes = head.padded_bytes();
        let batch = out.zeroed_tail(bytes, BATCH_HEAD_BYTES + body.len());
        batch[..BATCH_HEAD_BYTES].copy_from_slice(&head.encode());
        batch[BATCH_HEAD_BYTES..BATCH_HEAD_BYTES + body.len()].copy_from_slice(body);
        let at = self.at.expect("it fits");
        self.at = Some(at + bytes as u64);
        self.last = head.last;
        self.chain = head.chain_after;
        self.in_flight.push_back(InFlight { last: head.last, written: false });
        self.next_ticket += 1;
        Placement { at, bytes, ticket: Ticket(self.next_ticket - 1) }
    }

    /// A batch is on disk. Returns how far the history is durable now, if that is further.
    pub fn complete(&mut self, ticket: Ticket) -> Option<Zxid> {
        let oldest = self.next_ticket - self.in_flight.len() as u64;
        let index = ticket.0.checked_sub(oldest).expect("a batch in flight") as usize;
        let batch = &mut self.in_flight[index];
        assert!(!batch.written, "a batch completes once");
        batch.written = true;
        let before = self.durable;
        // A later batch may be on disk before an earlier one: it waits for it here.
        while let Some(batch) = self.in_flight.front().filter(|batch| batch.written) {
            assert!(self.durable <= batch.last);
            self.durable = batch.last;
            self.in_flight.pop_front();
        }
        (before < self.durable).then_some(self.durable)
    }

    /// Segments, oldest first, that hold no record at or behind `keep_from`, with the size of the
    /// log kept at `keep_bytes` or more. The current one is never among them.
    pub fn purgeable(&self, keep_from: Zxid, keep_bytes: u64) -> usize {
        let mut kept: u64 = self.size_bytes();
        let mut count = 0;
        for pair in self.segments.windows(2) {
            let ends = pair[1].head.before;
            let behind = kept - pair[0].head.bytes;
            if ends >= keep_from || behind < keep_bytes {
                break;
            }
            kept = behind;
            count += 1;
        }
        count
    }

    /// Takes the oldest segment out of the log. It is to become a spare if it has the usual length
    /// and spares are wanted, else to be removed.
    pub fn retire_oldest(&mut self, segment_bytes: u64, spares_due: usize) -> Retirement {
        assert!(self.segments.len() > 1, "the current segment is kept");
        let oldest = self.segments.remove(0);
        let wanted = self.spares.len() + spares_due < SPARES_MAX;
        let spare = (wanted && oldest.head.bytes == segment_bytes).then(|| self.reserve_spare());
        Retirement { segment: oldest.name(), spare }
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.head.bytes).sum()
    }

    /// Whether the last batch is a seal, or there is none.
    pub const fn is_sealed(&self) -> bool {
        self.sealed
    }
}

/// A segment that is on its way out of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retirement {
    /// Its file.
    pub segment: String,
    /// The number of the spare that it becomes.
    pub spare: Option<u64>,
}

impl Retirement {
    /// Carries it out, durably, so that no later one survives a crash that this one does not.
    pub fn carry_out<D: Disk>(&self, disk: &D) -> Result<(), DiskError> {
        match self.spare {
            Some(number) => disk.rename(&self.segment, &spare_name(number))?,
            None => disk.remove(&self.segment)?,
        }
        disk.sync_dir(LOG_DIRECTORY)
    }
}

/// Where a batch is laid out: memory that may have to be aligned.
pub trait BatchBuffer {
    /// The first `bytes` bytes, of which those from `used` on are zero.
    fn zeroed_tail(&mut self, bytes: usize, used: usize) -> &mut [u8];
}

impl BatchBuffer for Vec<u8> {
    fn zeroed_tail(&mut self, bytes: usize, used: usize) -> &mut [u8] {
        self.resize(bytes, 0);
        self[used..].fill(0);
        self
    }
}

/// Makes a spare: zeros on disk, so that a later batch changes no metadata. On error nothing
/// remains of it. `between` is called with the file and how much of it was written after each mebibyte: a disk
/// that is given all of it at once makes whoever syncs meanwhile wait for that.
pub fn make_spare<D: Disk>(
    disk: &D,
    number: u64,
    bytes: u64,
    between: impl FnMut(&D::File, u64) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    let temporary = format!("{}.tmp", spare_name(number));
    let made = fill(disk, &temporary, bytes, between)
        .and_then(|()| disk.rename(&temporary, &spare_name(number)))
        .and_then(|()| disk.sync_dir(LOG_DIRECTORY));
    if let Err(error) = made {
        // Its space is needed for the next attempt. If this fails too, the next start removes it.
        let _removed = disk.remove(&temporary);
        return Err(error);
    }
    Ok(())
}

fn fill<D: Disk>(
    disk: &D,
    name: &str,
    bytes: u64,
    mut between: impl FnMut(&D::File, u64) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    if disk.available(LOG_DIRECTORY)? < bytes {
        let (operation, name) = ("allocate", name.to_owned());
        return Err(DiskError { operation, name, cause: DiskCause::Full });
    }
    let file = disk.create(name)?;
    let mut at = 0;
    while at < bytes {
        let piece_end = bytes.min(at + FILL_BYTES);
        while at < piece_end {
            let step = ZEROS.len().min((piece_end - at) as usize);
            disk.write_at(&file, at, &ZEROS[..step])?;
            at += step as u64;
        }
        between(&file, at)?;
    }
    disk.sync(&file)
}

fn count_records(records: &[u8]) -> u32 {
    let (mut rest, mut count) = (records, 0);
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest[4..8].try_into().expect("four bytes")) as usize;
        rest = rest.get(HEAD_BYTES + length..).expect("whole records");
        count += 1;
    }
    count
}
