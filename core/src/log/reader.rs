//! Reading segments back: batch by batch, then record by record, every byte checked.

use thiserror::Error;

use super::format::{
    BATCH_HEAD_BYTES, BLOCK_BYTES, BatchHead, BatchKind, SEGMENT_HEAD_BYTES, Salt,
};
use super::{Segment, segment_name};
use crate::disk::{Disk, DiskError};
use crate::record::run::Position;
use crate::record::{Chain, Record, RecordError};
use crate::zxid::Zxid;

/// Bytes read from the disk at once. Large enough for its full speed.
const WINDOW_BYTES: usize = 1 << 20;

/// Between two marks of a [`LogReader`], bytes: what is read once more when it is gone on from one.
pub const MARK_BYTES: u64 = 256 << 10;

/// What to do about a history that is damaged or incomplete.
pub(crate) const ADVICE: &str = "If other voters have this server's history, start it once with \
     `farwatch serve --rejoin`: it copies theirs before it votes again. A standalone server has no \
     other: restore the data directory from a backup";

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
         server must not serve from it. {ADVICE}"
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

    /// Goes on from a batch that was met before.
    fn go_to(&mut self, mark: &Mark) {
        (self.at, self.last, self.chain) = (mark.offset, mark.before.zxid, mark.before.chain);
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
    pub(crate) fn body<D: Disk<File = F>>(
        &mut self,
        disk: &D,
        head: &BatchHead,
    ) -> Result<&[u8], DiskError> {
        let at = self.at - head.padded_bytes() as u64 + BATCH_HEAD_BYTES as u64;
        let body = self.window.get(disk, at, head.body_bytes as usize)?;
        Ok(body.expect("it was checked"))
    }
}

/// Where a batch begins, from which reading can be gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The segment, by its first record.
    pub segment: Zxid,
    /// In its file.
    pub offset: u64,
    /// What stands before the batch.
    pub before: Position,
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
    /// The last record that was passed, or what stands before the open segment.
    reached: Position,
    /// What stands before the record that was yielded last.
    previous: Position,
    /// Records up to here are passed over.
    after: Zxid,
    /// The checksum of the record at `after`, where known.
    chain_at_after: Option<Chain>,
    upto: Zxid,
    last: Zxid,
    marks: Vec<Mark>,
}

#[derive(Clone, Copy, Debug)]
struct OpenBatch {
    head: BatchHead,
    /// Where in the body the next record begins.
    at: usize,
}

/// The last segment that begins with what stands behind `after`, or earlier.
pub fn segment_of(segments: &[Segment], after: Zxid) -> Option<usize> {
    segments.partition_point(|segment| segment.head.before <= after).checked_sub(1)
}

impl<D: Disk> LogReader<D> {
    /// Reads what stands in `segments` behind `after` up to `upto`, which must be durable. `after`
    /// need not be a record: what was cut is passed over.
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
        Ok(Self {
            disk,
            segments: segments.iter().rev().copied().collect(),
            batches: None,
            current: after,
            batch: None,
            reached: Position::default(),
            previous: Position::default(),
            after,
            chain_at_after,
            upto,
            last: after,
            marks: Vec::new(),
        })
    }

    /// Begins with the batch at `mark`, which must be of the segment where reading begins anyway and
    /// not behind `after`. Before the first record is read.
    pub fn skip_to(&mut self, mark: &Mark) -> Result<(), ReadError> {
        assert!(self.batches.is_none(), "nothing was read yet");
        assert!(mark.before.zxid <= self.after, "what is wanted is not skipped");
        self.next_segment()?;
        assert!(self.current == mark.segment, "a mark is of the segment where reading begins");
        self.batches.as_mut().expect("just opened").go_to(mark);
        self.reached = mark.before;
        Ok(())
    }

    /// The last record that was yielded, or where reading began.
    pub const fn last(&self) -> Zxid {
        self.last
    }

    /// What stands before the record that was yielded last.
    pub const fn previous(&self) -> Position {
        self.previous
    }

    /// Batches that were passed since the last call, about one in [`MARK_BYTES`].
    pub fn take_marks(&mut self) -> Vec<Mark> {
        std::mem::take(&mut self.marks)
    }

    /// The next record, or `None` behind the last.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        while self.last < self.upto {
            if self.is_at_end_of_segment() {
                self.next_segment()?;
                continue;
            }
            let Some(batch) = self.batch.filter(|it| it.at < it.head.body_bytes as usize) else {
                self.next_batch()?;
                continue;
            };
            let before = self.reached;
            self.step(batch)?;
            if self.reached.zxid <= self.after {
                continue;
            }
            let at = Position { zxid: self.after, chain: Chain(0) };
            if let Some(chain) = self.chain_at_after.take()
                && before != (Position { chain, ..at })
            {
                return Err(ReadError::Forked { zxid: self.after });
            }
            self.previous = before;
            self.last = self.reached.zxid;
            let batches = self.batches.as_mut().expect("a segment is open");
            let body = batches.body(&self.disk, &batch.head)?;
            let record = Record::read(&body[batch.at..], before.chain).expect("checked by step");
            return Ok(Some(record));
        }
        Ok(None)
    }

    /// Whether the next segment takes over here. What this one holds behind that was cut.
    fn is_at_end_of_segment(&self) -> bool {
        let takes_over = |next: &Segment| next.head.before == self.reached.zxid;
        self.batches.is_none() || self.segments.last().is_some_and(takes_over)
    }

    /// Checks the next record of the open batch and goes behind it.
    fn step(&mut self, batch: OpenBatch) -> Result<(), ReadError> {
        let batches = self.batches.as_mut().expect("a segment is open");
        let offset = batches.at - batch.head.padded_bytes() as u64;
        let (before, limit) = (self.reached, self.segments.last().map(|next| next.head.before));
        let body = batches.body(&self.disk, &batch.head)?;
        let read = Record::read(&body[batch.at..], before.chain);
        let checked = read.map_err(BatchError::Record).and_then(|record| {
            let end = batch.at + record.bytes().len();
            let at_end = end == batch.head.body_bytes as usize;
            let found = record.head().zxid;
            let first = batch.at == 0;
            let fits = found.follows(before.zxid)
                && (!first || found == batch.head.first)
                && at_end == (found == batch.head.last)
                && (!at_end || record.chain() == batch.head.chain_after)
                && limit.is_none_or(|limit| found <= limit);
            let reached = Position { zxid: found, chain: record.chain() };
            if fits { Ok((reached, end)) } else { Err(BatchError::Discontinuous) }
        });
        let (reached, at) = checked.map_err(|cause| {
            let segment = segment_name(self.current);
            ReadError::Damaged { segment, offset, zxid: before.zxid, cause }
        })?;
        self.reached = reached;
        self.batch = Some(OpenBatch { at, ..batch });
        Ok(())
    }

    fn next_batch(&mut self) -> Result<(), ReadError> {
        let batches = self.batches.as_mut().expect("a segment is open");
        let (segment, offset, before) = (self.current, batches.at, self.reached);
        let head = batches.next(&self.disk)?.map_err(|cause| {
            let segment = segment_name(segment);
            ReadError::Damaged { segment, offset, zxid: before.zxid, cause }
        })?;
        let from = self.marks.last().map_or(0, |mark| mark.offset);
        if from + MARK_BYTES <= offset || offset < from {
            self.marks.push(Mark { segment, offset, before });
        }
        let limit = self.segments.last().map(|next| next.head.before);
        let dead = limit.is_some_and(|limit| limit < head.last);
        // Batches that end before the beginning are passed over as a whole.
        self.batch = None;
        if head.kind == BatchKind::Records && (self.after < head.last || dead) {
            self.batch = Some(OpenBatch { head, at: 0 });
        } else {
            self.reached = Position { zxid: head.last, chain: head.chain_after };
        }
        Ok(())
    }

    fn next_segment(&mut self) -> Result<(), ReadError> {
        let next = self.segments.pop();
        let continues = |next: &Segment| self.batches.is_none() || next.before() == self.reached;
        let Some(next) = next.filter(continues) else {
            return Err(ReadError::Damaged {
                segment: segment_name(self.current),
                offset: self.batches.as_ref().map_or(0, |batches| batches.at),
                zxid: self.reached.zxid,
                cause: BatchError::Discontinuous,
            });
        };
        self.batches = Some(BatchReader::open(&self.disk, &next)?);
        self.batch = None;
        self.current = next.head.first;
        self.reached = next.before();
        Ok(())
    }
}
