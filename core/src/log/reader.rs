//! Reading segments back: batch by batch, then record by record, every byte checked.

use thiserror::Error;

use super::format::{
    BATCH_HEAD_BYTES, BLOCK_BYTES, BatchHead, BatchKind, SEGMENT_HEAD_BYTES, Salt,
};
use super::{Segment, segment_name};
use crate::disk::{Disk, DiskError};
use crate::record::{Chain, Record, RecordError};
use crate::zxid::Zxid;

/// Bytes read from the disk at once. Large enough for its full speed.
const WINDOW_BYTES: usize = 1 << 20;

/// Why records cannot be read from the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The log does not reach back so far.
    #[error("the log begins behind {after}: what is older is in a snapshot only")]
    Purged {
        /// Where reading was to begin.
        after: Zxid,
    },
    /// Bytes that were durable are not what was written.
    #[error(
        "{segment}: damaged at byte {offset}, behind {zxid}: {cause}. It was acknowledged, so this \
         server must not serve from it: restore the data directory from a backup"
    )]
    Damaged {
        /// The file.
        segment: String,
        /// Where the batch begins.
        offset: u64,
        /// The last record before it.
        zxid: Zxid,
        /// What is wrong there.
        cause: BatchError,
    },
    /// The record at the snapshot's zxid is another one than the snapshot was made of.
    #[error(
        "the log and the snapshot at {zxid} are of different histories: files of two servers or \
         backups were mixed in this data directory; restore it as a whole"
    )]
    Forked {
        /// Where they part.
        zxid: Zxid,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// What is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The segment ends.
    #[error("the segment ends")]
    End,
    /// No head of this segment.
    #[error("there is no batch of this segment")]
    Head,
    /// Damaged or torn.
    #[error("the checksum of the batch fails")]
    Body,
    /// Damaged or torn.
    #[error("the padding of the batch is not zero")]
    Padding,
    /// Whole, and not what follows.
    #[error("the batch does not continue the history")]
    Discontinuous,
    /// Whole, and its records are not.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// A file seen through a buffer.
#[derive(Debug)]
pub(crate) struct Window<F> {
    file: F,
    bytes: Vec<u8>,
    at: u64,
    end: u64,
}

impl<F> Window<F> {
    pub(crate) fn new(file: F, end: u64) -> Self {
        Self { file, bytes: Vec::new(), at: 0, end }
    }

    /// Bytes of the file, or `None` where it is too short.
    pub(crate) fn get<D: Disk<File = F>>(
        &mut self,
        disk: &D,
        at: u64,
        bytes: usize,
    ) -> Result<Option<&[u8]>, DiskError> {
        let Some(end) = at.checked_add(bytes as u64).filter(|&end| end <= self.end) else {
            return Ok(None);
        };
        if at < self.at || self.at + (self.bytes.len() as u64) < end {
            let length = (WINDOW_BYTES.max(bytes) as u64).min(self.end - at);
            // What a failed read leaves behind must not be taken for the file's bytes.
            self.at = u64::MAX;
            self.bytes.resize(length as usize, 0);
            disk.read_at(&self.file, at, &mut self.bytes)?;
            self.at = at;
        }
        let start = (at - self.at) as usize;
        Ok(Some(&self.bytes[start..start + bytes]))
    }
}

/// The batches of one segment in order.
#[derive(Debug)]
pub(crate) struct BatchReader<F> {
    pub(crate) window: Window<F>,
    salt: Salt,
    /// Where the next batch begins.
    pub(crate) at: u64,
    /// The last record read.
    pub(crate) last: Zxid,
    pub(crate) chain: Chain,
}

impl<F> BatchReader<F> {
    /// Begins behind the header of a segment.
    pub(crate) fn open<D: Disk<File = F>>(disk: &D, segment: &Segment) -> Result<Self, DiskError> {
        let file = disk.open(&segment.name())?;
        let length = disk.len(&file)?;
        Ok(Self {
            window: Window::new(file, length.min(segment.head.bytes)),
            salt: segment.head.salt,
            at: SEGMENT_HEAD_BYTES as u64,
            last: segment.head.before,
            chain: segment.head.chain_before,
        })
    }

    /// Checks the next batch but for the inside of its records, and goes behind it.
    pub(crate) fn next<D: Disk<File = F>>(
        &mut self,
        disk: &D,
    ) -> Result<Result<BatchHead, BatchError>, DiskError> {
        let Some(block) = self.window.get(disk, self.at, BLOCK_BYTES)? else {
            return Ok(Err(BatchError::End));
        };
        let Some(head) = BatchHead::decode(block, self.salt) else {
            return Ok(Err(BatchError::Head));
        };
        let Some(batch) = self.window.get(disk, self.at, head.padded_bytes())? else {
            return Ok(Err(BatchError::Body));
        };
        let (body, padding) = batch[BATCH_HEAD_BYTES..].split_at(head.body_bytes as usize);
        if crc32c::crc32c(body) != head.body_crc {
            return Ok(Err(BatchError::Body));
        }
        if padding.iter().any(|&byte| byte != 0) {
            return Ok(Err(BatchError::Padding));
        }
        let continues = head.chain_before == self.chain
            && head.durable_upto <= self.last
            && match head.kind {
                BatchKind::Records => {
                    head.first.follows(self.last) && head.first <= head.last && head.body_bytes > 0
                }
                BatchKind::Seal => {
                    head.first == self.last
                        && head.last == self.last
                        && head.chain_after == self.chain
                        && head.body_bytes == 0
                }
            };
        if !continues {
            return Ok(Err(BatchError::Discontinuous));
        }
        self.at += head.padded_bytes() as u64;
        self.last = head.last;
        self.chain = head.chain_after;
        Ok(Ok(head))
    }

    /// The bytes of the records of the batch that [`BatchReader::next`] has just gone behind.
    fn body<D: Disk<File = F>>(&mut self, disk: &D, head: &BatchHead) -> Result<&[u8], DiskError> {
        let at = self.at - head.padded_bytes() as u64 + BATCH_HEAD_BYTES as u64;
        let body = self.window.get(disk, at, head.body_bytes as usize)?;
        Ok(body.expect("it was checked"))
    }
}

/// The records behind a place in the history, up to another, in order.
///
/// It reads files by itself, so it may live on another thread than the log. A segment that is
/// purged meanwhile makes it fail, never yield something else: its batches carry another salt then.
#[derive(Debug)]
pub struct LogReader<D: Disk> {
    disk: D,
    /// Still to be opened, the next one last.
    segments: Vec<Segment>,
    batches: Option<BatchReader<D::File>>,
    /// The first record of the open segment: its name.
    current: Zxid,
    batch: Option<OpenBatch>,
    /// Records up to here are passed over.
    after: Zxid,
    /// The checksum of the record at `after`, where known.
    chain_at_after: Option<Chain>,
    upto: Zxid,
    last: Zxid,
}

#[derive(Clone, Copy, Debug)]
struct OpenBatch {
    head: BatchHead,
    /// Where in the body the next record begins.
    at: usize,
    last: Zxid,
    chain: Chain,
}

/// Where a checked record begins in its batch, and its checksum.
struct Stepped {
    start: usize,
    chain: Chain,
}

/// The last segment that begins with what stands behind `after`, or earlier.
pub(crate) fn segment_of(segments: &[Segment], after: Zxid) -> Option<usize> {
    segments.partition_point(|segment| segment.head.before <= after).checked_sub(1)
}

impl<D: Disk> LogReader<D> {
    /// Reads what stands in `segments` behind `after` up to `upto`, which must be durable.
    pub fn new(
        disk: D,
        segments: &[Segment],
        after: Zxid,
        chain_at_after: Option<Chain>,
        upto: Zxid,
    ) -> Result<Self, ReadError> {
        let segments = if after >= upto {
            &[]
        } else {
            let first = segment_of(segments, after).ok_or(ReadError::Purged { after })?;
            &segments[first..]
        };
        let segments = segments.iter().rev().copied().collect();
        let (batches, batch) = (None, None);
        let (current, last) = (after, after);
        Ok(Self { disk, segments, batches, current, batch, after, chain_at_after, upto, last })
    }

    /// The last record that was yielded, or where reading began.
    pub const fn last(&self) -> Zxid {
        self.last
    }

    /// The next record, or `None` behind the last.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        while self.last < self.upto {
            if self.batch.is_none_or(|batch| batch.at == batch.head.body_bytes as usize) {
                self.next_batch()?;
                continue;
            }
            let (zxid, range, chain) = self.step()?;
            if zxid == self.after && self.chain_at_after.is_some_and(|due| due != range.chain) {
                return Err(ReadError::Forked { zxid });
            }
            if zxid <= self.after {
                continue;
            }
            self.last = zxid;
            let batch = self.batch.expect("a batch is open");
            let batches = self.batches.as_mut().expect("a segment is open");
            let body = batches.body(&self.disk, &batch.head)?;
            let record = Record::read(&body[range.start..], chain).expect("checked by step");
            return Ok(Some(record));
        }
        Ok(None)
    }

    /// Checks the next record of the open batch and goes behind it.
    fn step(&mut self) -> Result<(Zxid, Stepped, Chain), ReadError> {
        let batch = self.batch.as_mut().expect("a batch is open");
        let batches = self.batches.as_mut().expect("a segment is open");
        let offset = batches.at - batch.head.padded_bytes() as u64;
        let (before, zxid) = (batch.chain, batch.last);
        let read = Record::read(&batches.body(&self.disk, &batch.head)?[batch.at..], before);
        let checked = read.map_err(BatchError::Record).and_then(|record| {
            let end = batch.at + record.bytes().len();
            let at_end = end == batch.head.body_bytes as usize;
            let found = record.head().zxid;
            let first = batch.at == 0;
            let fits = found.follows(zxid)
                && (!first || found == batch.head.first)
                && at_end == (found == batch.head.last)
                && (!at_end || record.chain() == batch.head.chain_after);
            if fits { Ok((found, end, record.chain())) } else { Err(BatchError::Discontinuous) }
        });
        let (found, end, chain) = match checked {
            Ok(checked) => checked,
            Err(cause) => {
                let segment = segment_name(self.current);
                return Err(ReadError::Damaged { segment, offset, zxid, cause });
            }
        };
        let stepped = Stepped { start: batch.at, chain };
        batch.at = end;
        batch.last = found;
        batch.chain = chain;
        Ok((found, stepped, before))
    }

    fn next_batch(&mut self) -> Result<(), ReadError> {
        let Some(batches) = self.batches.as_mut() else {
            return self.next_segment();
        };
        let (last, chain, offset) = (batches.last, batches.chain, batches.at);
        let head = match batches.next(&self.disk)? {
            Ok(head) => head,
            // A segment ends where the next one takes over.
            Err(_) if self.segments.last().is_some_and(|next| next.head.before == last) => {
                return self.next_segment();
            }
            Err(cause) => {
                let segment = segment_name(self.current);
                return Err(ReadError::Damaged { segment, offset, zxid: last, cause });
            }
        };
        let due = self.chain_at_after.filter(|_| head.last == self.after);
        if due.is_some_and(|due| due != head.chain_after) {
            return Err(ReadError::Forked { zxid: head.last });
        }
        // Batches that end before the beginning are passed over as a whole.
        self.batch = (head.last > self.after && head.kind == BatchKind::Records)
            .then_some(OpenBatch { head, at: 0, last, chain });
        Ok(())
    }

    fn next_segment(&mut self) -> Result<(), ReadError> {
        let continues = |opened: &BatchReader<D::File>, next: &Segment| {
            opened.last == next.head.before && opened.chain == next.head.chain_before
        };
        let next = self.segments.pop();
        let whole = match (&self.batches, &next) {
            (Some(opened), Some(next)) => continues(opened, next),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let (Some(next), true) = (next, whole) else {
            let opened = self.batches.as_ref();
            return Err(ReadError::Damaged {
                segment: segment_name(self.current),
                offset: opened.map_or(0, |batches| batches.at),
                zxid: opened.map_or(self.last, |batches| batches.last),
                cause: BatchError::Discontinuous,
            });
        };
        self.batches = Some(BatchReader::open(&self.disk, &next)?);
        self.batch = None;
        self.current = next.head.first;
        Ok(())
    }
}
