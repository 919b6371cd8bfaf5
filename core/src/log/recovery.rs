//! From the files of a data directory to a history: newest valid snapshot, then the log.
//!
//! ```text
//!   snapshot s ──┐
//!  … segment ────┴─ segment ─ batch ─ batch ─ X (invalid)
//!     (kept)        before ≤ s                │
//!                                             ├ a head behind X vouches for more ─► refused
//!                                             ├ a segment follows, or the cut file
//!                                             │ names more ───────────────────────► refused
//!                                             └ neither: torn tail ─► erased, synced ─► appended to
//! ```

use thiserror::Error;

use super::cut::{self, CutError, Stage};
use super::format::{
    BLOCK_BYTES, BatchHead, BatchKind, ClusterId, SEGMENT_HEAD_BYTES, SegmentHead,
    SegmentHeadError, is_marked,
};
use super::reader::{ADVICE, BatchError, BatchReader, ReadError, segment_of};
use super::replace;
use super::{LOG_DIRECTORY, Log, Segment, parse_segment_name, segment_name, spare_name};
use crate::disk::{Disk, DiskError};
use crate::record::Record;
use crate::record::run::Position;
use crate::snapshot::files::{self, SnapshotInfo};
use crate::snapshot::format::SnapshotError;
use crate::snapshot::reader::SnapshotReader;
use crate::zxid::Zxid;

/// Why a history cannot be recovered. Nothing on disk was changed, but that a cut or a replacement
/// which had been decided was carried on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecoverError {
    /// A segment's header is not what was written.
    #[error(
        "{segment}: {cause}. It holds acknowledged records, so this server must not serve without \
         it. {ADVICE}"
    )]
    SegmentHead {
        /// The file.
        segment: String,
        /// What is wrong.
        cause: SegmentHeadError,
    },
    /// A file of another ensemble.
    #[error(
        "{segment}: it belongs to another ensemble than this data directory: files were mixed; \
         restore the directory as a whole"
    )]
    Foreign {
        /// The file.
        segment: String,
    },
    /// The history has a hole between two segments.
    #[error(
        "{segment}: it begins behind {before}, but {previous} ends at byte {offset} behind \
         {after}: a segment is missing, or the last batch of that one is lost. {ADVICE}"
    )]
    Gap {
        /// The file behind the hole.
        segment: String,
        /// What must stand before it.
        before: Zxid,
        /// The file in front of the hole.
        previous: String,
        /// Where that ends.
        offset: u64,
        /// Its last record.
        after: Zxid,
    },
    /// The history has no beginning.
    #[error(
        "{segment}: the log begins behind {before}, and no snapshot leads there (the newest valid \
         one is at {after}): a segment or snapshot is missing. {ADVICE}"
    )]
    Beginning {
        /// The oldest segment.
        segment: String,
        /// What must stand before it.
        before: Zxid,
        /// The newest valid snapshot, or the start of history.
        after: Zxid,
    },
    /// Where the log was cut is not known.
    #[error(
        "{file}: {cause}. It says where the history ends, so this server must not serve without it. {ADVICE}"
    )]
    Cut {
        /// The file.
        file: String,
        /// What is wrong with it.
        cause: CutError,
    },
    /// The log was there up to a place, and is not.
    #[error(
        "the log reached {logged}, and what is left of the data directory ends at {last}: segments \
         or a snapshot are missing. {ADVICE}"
    )]
    Lost {
        /// In the cut file.
        logged: Zxid,
        /// The newest valid snapshot, or the start of history.
        last: Zxid,
    },
    /// The snapshot that was to be the history is not what was received.
    #[error(
        "{snapshot}: {cause}. It was received from another server as the whole history. {ADVICE}"
    )]
    Replacement {
        /// The file.
        snapshot: String,
        /// What is wrong with it.
        cause: SnapshotError,
    },
    /// No snapshot is valid and the log does not make up for it.
    #[error(
        "{snapshot}: {cause}. The rest of the data directory ends at {last} and does not make up \
         for it. {ADVICE}"
    )]
    Snapshot {
        /// The newest file.
        snapshot: String,
        /// What is wrong with it.
        cause: SnapshotError,
        /// Where the rest ends.
        last: Zxid,
    },
    /// The log is damaged in front of acknowledged records.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Something that recovery put right, for the operator's log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Note {
    /// The last write did not complete; it was never acknowledged.
    #[error("{segment}: cut a torn tail at byte {offset}, behind {last} ({cause})")]
    TornTail {
        /// The file.
        segment: String,
        /// Where.
        offset: u64,
        /// The last record kept.
        last: Zxid,
        /// How it was torn.
        cause: BatchError,
    },
    /// An older snapshot and a longer stretch of log were used instead.
    #[error("{snapshot}: {cause}; going on with an older snapshot and the log. Remove this file")]
    Snapshot {
        /// The file.
        snapshot: String,
        /// What is wrong with it.
        cause: SnapshotError,
    },
    /// A segment that the newest snapshot makes superfluous cannot be read.
    #[error("{segment}: {cause}; the newest snapshot covers it. Remove this file")]
    OldSegment {
        /// The file.
        segment: String,
        /// What is wrong with it.
        cause: SegmentHeadError,
    },
}

/// A recovered history.
#[derive(Debug)]
pub struct Recovery {
    /// What to load first.
    pub snapshot: Option<SnapshotInfo>,
    /// What to append to; its `last` and `chain` are those of the whole history.
    pub log: Log,
    /// What was put right.
    pub notes: Vec<Note>,
}

/// A torn tail to erase.
struct Torn {
    offset: u64,
    cause: BatchError,
    /// Blocks that were begun as batches, from `offset` on.
    marked: Vec<u64>,
}

struct Scan {
    reached: Position,
    /// Where the next batch goes in the last segment; `None` if that was cut.
    at: Option<u64>,
    /// Whether the last segment holds no batch.
    empty: bool,
    sealed: bool,
    torn: Option<Torn>,
}

/// Reads a snapshot to its end and says what it is. What was made of one that turns out to be damaged is to
/// be thrown away: the one before it comes next.
pub type Load<'l, D> = dyn FnMut(SnapshotReader<D>) -> Result<SnapshotInfo, SnapshotError> + 'l;

/// As [`recover_loading`], of which nothing but the history is wanted.
pub fn recover<D: Disk>(disk: &D, cluster: ClusterId) -> Result<Recovery, RecoverError> {
    recover_loading(disk, cluster, &mut SnapshotReader::read_out)
}

/// Recovers the history, and cuts a torn tail durably. Each snapshot that might be the newest valid one goes
/// through `load`, once it is opened; the last one that it was given is the one that counts.
///
/// Only what is behind the snapshot is scanned here; records are checked one by one when they are
/// read through [`super::reader::LogReader`], before anything is served.
pub fn recover_loading<'d, D: Disk>(
    disk: &'d D,
    cluster: ClusterId,
    load: &mut Load<'_, &'d D>,
) -> Result<Recovery, RecoverError> {
    replace::finish(disk, cluster)?;
    let mut cut = cut::Cut::load(disk, cluster)?;
    if let Some(begun) = cut.as_mut().filter(|cut| cut.stage == Stage::Cutting) {
        begun.finish(disk, cluster)?;
    }
    let mut notes = Vec::new();
    let (snapshot, damaged) = choose_snapshot(disk, cluster, load, &mut notes)?;
    let base = snapshot.as_ref().map_or(Position::ROOT, SnapshotInfo::position);
    let found = list_log(disk)?;
    let segments = read_heads(disk, cluster, &found.segments, base.zxid, &mut notes)?;
    if let Some(first) = segments.first().filter(|first| first.head.before > base.zxid) {
        return Err(snapshot_or_gap(damaged, first, base.zxid));
    }
    // A segment that begins behind the cut says itself where the one before it ends.
    let limit = cut
        .map(|cut| cut.to)
        .filter(|to| segments.last().is_none_or(|last| last.head.first <= to.zxid));
    let scan = match segment_of(&segments, base.zxid) {
        Some(start) => Some(scan_segments(disk, &segments[start..], limit)?),
        None => None,
    };
    let reached = scan.as_ref().map_or(base, |scan| scan.reached);
    // A snapshot that cannot be read told of a history this long: it must come from the log.
    let last = reached.zxid.max(base.zxid);
    if let Some(damaged) = damaged.filter(|damaged| last < damaged.zxid) {
        let snapshot = files::snapshot_name(damaged.zxid);
        return Err(RecoverError::Snapshot { snapshot, cause: damaged.cause, last });
    }
    if let Some(to) = limit.filter(|to| last < to.zxid) {
        return Err(RecoverError::Lost { logged: to.zxid, last });
    }
    if [limit, Some(reached)].into_iter().flatten().any(|at| at.zxid == base.zxid && at != base) {
        return Err(ReadError::Forked { zxid: base.zxid }.into());
    }
    if cut.is_some() && limit.is_none() {
        cut::remove(disk)?;
    }
    if scan.is_some() && reached.zxid < base.zxid {
        // What was applied was durable on a quorum and not here. The log must not go on behind a
        // hole, and nothing of it is needed.
        replace::order(disk, cluster, base)?;
        return recover_loading(disk, cluster, load);
    }
    for name in found.leftovers {
        disk.remove(&format!("{LOG_DIRECTORY}/{name}"))?;
    }
    files::remove_leftovers(disk)?;
    let mut log = Log::new(cluster, base.zxid, base.chain);
    log.next_spare = found.spares.iter().max().map_or(1, |number| number + 1);
    log.spares = found.spares;
    log.segments = segments;
    log.cut = limit.is_some();
    if let Some(scan) = scan {
        settle(disk, &mut log, scan, &mut notes)?;
    }
    Ok(Recovery { snapshot, log, notes })
}

/// Makes the log on disk what the scan has found, durably.
fn settle<D: Disk>(
    disk: &D,
    log: &mut Log,
    scan: Scan,
    notes: &mut Vec<Note>,
) -> Result<(), RecoverError> {
    let segment = *log.segments.last().expect("it was scanned");
    let file = disk.open(&segment.name())?;
    if let Some(torn) = scan.torn {
        let zeros = [0; BLOCK_BYTES];
        for &at in &torn.marked {
            disk.write_at(&file, at, &zeros)?;
        }
        let (segment, offset, cause) = (segment.name(), torn.offset, torn.cause);
        notes.push(Note::TornTail { segment, offset, last: scan.reached.zxid, cause });
    }
    // Records may be in the page cache only, if the process was killed in the middle of a buffered
    // write. From here on they count as durable, so they must be.
    disk.sync(&file)?;
    let Position { zxid, chain } = scan.reached;
    (log.last, log.chain, log.durable) = (zxid, chain, zxid);
    if scan.empty {
        // Its name promises a first record that may never come. It is whole, so it is kept as a
        // spare. What it said of the segment before it must not go with it.
        cut::Cut { stage: Stage::Cut, to: scan.reached }.store(disk, log.cluster)?;
        log.cut = true;
        let spare = log.reserve_spare();
        disk.rename(&segment.name(), &spare_name(spare))?;
        disk.sync_dir(LOG_DIRECTORY)?;
        log.spares.push(spare);
        log.segments.pop();
    } else if let Some(at) = scan.at {
        (log.at, log.sealed) = (Some(at), scan.sealed);
    }
    Ok(())
}

struct DamagedSnapshot {
    zxid: Zxid,
    cause: SnapshotError,
}

/// The newest snapshot whose every byte is as it was written, and the newest one before that.
fn choose_snapshot<'d, D: Disk>(
    disk: &'d D,
    cluster: ClusterId,
    load: &mut Load<'_, &'d D>,
    notes: &mut Vec<Note>,
) -> Result<(Option<SnapshotInfo>, Option<DamagedSnapshot>), RecoverError> {
    let mut damaged = None;
    for zxid in files::list_snapshots(disk)?.into_iter().rev() {
        match SnapshotReader::open(disk, cluster, zxid).and_then(&mut *load) {
            Ok(info) => return Ok((Some(info), damaged)),
            Err(SnapshotError::Disk(error)) => return Err(error.into()),
            Err(cause) => {
                let snapshot = files::snapshot_name(zxid);
                notes.push(Note::Snapshot { snapshot, cause: cause.clone() });
                damaged = damaged.or(Some(DamagedSnapshot { zxid, cause }));
            }
        }
    }
    Ok((None, damaged))
}

fn snapshot_or_gap(damaged: Option<DamagedSnapshot>, first: &Segment, after: Zxid) -> RecoverError {
    match damaged {
        Some(damaged) => RecoverError::Snapshot {
            snapshot: files::snapshot_name(damaged.zxid),
            cause: damaged.cause,
            last: after,
        },
        None => RecoverError::Beginning { segment: first.name(), before: first.head.before, after },
    }
}

#[derive(Default)]
struct LogFiles {
    segments: Vec<Zxid>,
    spares: Vec<u64>,
    leftovers: Vec<String>,
}

fn list_log<D: Disk>(disk: &D) -> Result<LogFiles, DiskError> {
    let mut found = LogFiles::default();
    for name in disk.list(LOG_DIRECTORY)? {
        if let Some(first) = parse_segment_name(&name) {
            found.segments.push(first);
        } else if let Some(spare) = name.strip_prefix("spare-") {
            match spare.parse() {
                Ok(number) => found.spares.push(number),
                Err(_not_whole) => found.leftovers.push(name),
            }
        } else if name.ends_with(".tmp") {
            found.leftovers.push(name);
        }
    }
    found.segments.sort_unstable();
    Ok(found)
}

/// The headers, oldest first. One that cannot be read ends the reach of the log; if that is still
/// behind the snapshot, the log does without what is older.
fn read_heads<D: Disk>(
    disk: &D,
    cluster: ClusterId,
    names: &[Zxid],
    base: Zxid,
    notes: &mut Vec<Note>,
) -> Result<Vec<Segment>, RecoverError> {
    let mut segments = Vec::new();
    for &first in names.iter().rev() {
        let segment = segment_name(first);
        let reaches = segments.last().is_some_and(|s: &Segment| s.head.before <= base);
        match read_head(disk, first)? {
            Ok(head) if head.cluster != cluster => return Err(RecoverError::Foreign { segment }),
            Ok(head) => segments.push(Segment { head }),
            Err(cause) if reaches => {
                notes.push(Note::OldSegment { segment, cause });
                break;
            }
            Err(cause) => return Err(RecoverError::SegmentHead { segment, cause }),
        }
    }
    segments.reverse();
    Ok(segments)
}

fn read_head<D: Disk>(
    disk: &D,
    first: Zxid,
) -> Result<Result<SegmentHead, SegmentHeadError>, DiskError> {
    let file = disk.open(&segment_name(first))?;
    let length = disk.len(&file)?;
    if length < SEGMENT_HEAD_BYTES as u64 {
        return Ok(Err(SegmentHeadError::Magic));
    }
    let mut block = [0; SEGMENT_HEAD_BYTES];
    disk.read_at(&file, 0, &mut block)?;
    // A file under another's name is not the segment that the name says.
    Ok(SegmentHead::decode(&block).and_then(|head| {
        if head.first != first {
            return Err(SegmentHeadError::Magic);
        }
        // A segment has its full length before it gets its name.
        if length < head.bytes { Err(SegmentHeadError::Length) } else { Ok(head) }
    }))
}

/// Checks every batch of `segments`, the first of which is taken at its word for what precedes. The
/// last one ends at `limit`, if that is given.
fn scan_segments<D: Disk>(
    disk: &D,
    segments: &[Segment],
    limit: Option<Position>,
) -> Result<Scan, RecoverError> {
    let (last, whole) = segments.split_last().expect("at least one segment");
    for (segment, next) in whole.iter().zip(&segments[1..]) {
        let mut batches = BatchReader::open(disk, segment)?;
        let Err(cause) = read_to(disk, &mut batches, next.before())? else { continue };
        let (offset, after) = (batches.at, batches.last);
        // What is missing stood either here or in a file of its own.
        let ends = matches!(cause, BatchError::Head | BatchError::End);
        let behind = look_behind(disk, &mut batches, segment, after)?;
        return Err(if ends && behind.is_ok_and(|marked| marked.is_empty()) {
            let (previous, before) = (segment.name(), next.head.before);
            RecoverError::Gap { segment: next.name(), before, previous, offset, after }
        } else {
            damaged(segment, &batches, cause)
        });
    }
    let mut batches = BatchReader::open(disk, last)?;
    if let Some(limit) = limit {
        return match read_to(disk, &mut batches, limit)? {
            Ok(()) => Ok(Scan { reached: limit, at: None, empty: false, sealed: true, torn: None }),
            Err(cause) => Err(damaged(last, &batches, cause)),
        };
    }
    scan_last(disk, last, batches)
}

/// Checks every batch of the segment that is appended to.
fn scan_last<D: Disk>(
    disk: &D,
    segment: &Segment,
    mut batches: BatchReader<D::File>,
) -> Result<Scan, RecoverError> {
    let (mut empty, mut sealed) = (true, false);
    let cause = loop {
        match batches.next(disk)? {
            Ok(head) => (empty, sealed) = (false, head.kind == BatchKind::Seal),
            Err(cause) => break cause,
        }
    };
    let reached = Position { zxid: batches.last, chain: batches.chain };
    let offset = batches.at;
    if cause == BatchError::Discontinuous {
        return Err(damaged(segment, &batches, cause));
    }
    let Ok(marked) = look_behind(disk, &mut batches, segment, reached.zxid)? else {
        return Err(damaged(segment, &batches, cause));
    };
    let torn = (!marked.is_empty()).then_some(Torn { offset, cause, marked });
    Ok(Scan { reached, at: Some(offset), empty, sealed, torn })
}

fn damaged<F>(segment: &Segment, batches: &BatchReader<F>, cause: BatchError) -> RecoverError {
    let (segment, offset, zxid) = (segment.name(), batches.at, batches.last);
    ReadError::Damaged { segment, offset, zxid, cause }.into()
}

/// Reads batches until the history is at `limit`, which may be in the middle of one. What is behind
/// it in the segment is dead, whatever it is. On an error the reader stands before the batch.
fn read_to<D: Disk>(
    disk: &D,
    batches: &mut BatchReader<D::File>,
    limit: Position,
) -> Result<Result<(), BatchError>, DiskError> {
    while batches.last < limit.zxid {
        let (at, before) = (batches.at, Position { zxid: batches.last, chain: batches.chain });
        let head = match batches.next(disk)? {
            Ok(head) => head,
            Err(cause) => return Ok(Err(cause)),
        };
        if head.last <= limit.zxid {
            continue;
        }
        let found = find_in(batches.body(disk, &head)?, before, limit);
        (batches.at, batches.last, batches.chain) = (at, before.zxid, before.chain);
        return Ok(found);
    }
    let reached = Position { zxid: batches.last, chain: batches.chain };
    Ok(if reached == limit { Ok(()) } else { Err(BatchError::Discontinuous) })
}

/// Whether a record of a batch ends the history at `limit`.
fn find_in(body: &[u8], before: Position, limit: Position) -> Result<(), BatchError> {
    let (mut rest, mut at) = (body, before);
    while !rest.is_empty() && at.zxid < limit.zxid {
        let record = Record::read(rest, at.chain)?;
        at = Position { zxid: record.head().zxid, chain: record.chain() };
        rest = &rest[record.bytes().len()..];
    }
    if at == limit { Ok(()) } else { Err(BatchError::Discontinuous) }
}

/// The blocks from here on that were begun as batches of this segment; `Err` if one of them vouches
/// for more than `last`.
fn look_behind<D: Disk>(
    disk: &D,
    batches: &mut BatchReader<D::File>,
    segment: &Segment,
    last: Zxid,
) -> Result<Result<Vec<u64>, ()>, DiskError> {
    let mut marked = Vec::new();
    let mut at = batches.at;
    while let Some(block) = batches.window.get(disk, at, BLOCK_BYTES)? {
        if is_marked(block, segment.head.salt) {
            let head = BatchHead::decode(block, segment.head.salt);
            if head.is_some_and(|head| head.durable_upto > last) {
                return Ok(Err(()));
            }
            marked.push(at);
        }
        at += BLOCK_BYTES as u64;
    }
    Ok(Ok(marked))
}
