//! From the files of a data directory to a history: newest valid snapshot, then the log.
//!
//! ```text
//!   snapshot s ──┐
//!  … segment ────┴─ segment ─ batch ─ batch ─ X (invalid)
//!     (kept)        before ≤ s                │
//!                                             ├ a head behind X vouches for more ─► refused
//!                                             ├ a segment follows ────────────────► refused
//!                                             └ neither: torn tail ─► erased, synced ─► appended to
//! ```

use thiserror::Error;

use super::format::{
    BLOCK_BYTES, BatchHead, BatchKind, ClusterId, SEGMENT_HEAD_BYTES, SegmentHead,
    SegmentHeadError, is_marked,
};
use super::reader::{BatchError, BatchReader, ReadError, segment_of};
use super::{LOG_DIRECTORY, Log, Segment, parse_segment_name, segment_name, spare_name};
use crate::disk::{Disk, DiskError};
use crate::record::Chain;
use crate::snapshot::files::{self, SnapshotInfo};
use crate::snapshot::format::SnapshotError;
use crate::zxid::Zxid;

/// Why a history cannot be recovered. Nothing on disk was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecoverError {
    /// A segment's header is not what was written.
    #[error(
        "{segment}: {cause}. It holds acknowledged records, so this server must not serve without \
         it: restore the data directory from a backup"
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
         {after}: a segment is missing, or the last batch of that one is lost. Restore \
         the data directory from a backup"
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
         one is at {after}): a segment or snapshot is missing. Restore the data directory \
         from a backup"
    )]
    Beginning {
        /// The oldest segment.
        segment: String,
        /// What must stand before it.
        before: Zxid,
        /// The newest valid snapshot, or the start of history.
        after: Zxid,
    },
    /// No snapshot is valid and the log does not make up for it.
    #[error(
        "{snapshot}: {cause}. The rest of the data directory ends at {last} and does not make up \
         for it: restore the data directory from a backup"
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

/// A torn tail to cut.
struct Cut {
    offset: u64,
    cause: BatchError,
    /// Blocks that were begun as batches, from `offset` on.
    marked: Vec<u64>,
}

struct Scan {
    last: Zxid,
    chain: Chain,
    /// Where the next batch goes in the last segment.
    at: u64,
    /// Whether the last segment holds no batch.
    empty: bool,
    sealed: bool,
    cut: Option<Cut>,
}

/// Recovers the history, and cuts a torn tail durably.
///
/// Only what is behind the snapshot is scanned here; records are checked one by one when they are
/// read through [`super::reader::LogReader`], before anything is served.
pub fn recover<D: Disk>(disk: &D, cluster: ClusterId) -> Result<Recovery, RecoverError> {
    let mut notes = Vec::new();
    let (snapshot, damaged) = choose_snapshot(disk, cluster, &mut notes)?;
    let base = snapshot.as_ref().map_or((Zxid::ZERO, Chain(0)), |s| (s.zxid, s.chain));
    let found = list_log(disk)?;
    let segments = read_heads(disk, cluster, &found.segments, base.0, &mut notes)?;
    if let Some(first) = segments.first().filter(|first| first.head.before > base.0) {
        return Err(snapshot_or_gap(damaged, first, base.0));
    }
    let scan = match segment_of(&segments, base.0) {
        Some(start) => Some(scan_segments(disk, &segments[start..])?),
        None => None,
    };
    // A snapshot that cannot be read told of a history this long: it must come from the log.
    let last = scan.as_ref().map_or(base.0, |scan| scan.last.max(base.0));
    if let Some(damaged) = damaged.filter(|damaged| last < damaged.zxid) {
        let snapshot = files::snapshot_name(damaged.zxid);
        return Err(RecoverError::Snapshot { snapshot, cause: damaged.cause, last });
    }
    let mut log = Log::new(cluster, base.0, base.1);
    log.next_spare = found.spares.iter().max().map_or(1, |number| number + 1);
    log.spares = found.spares;
    log.segments = segments;
    if let Some(scan) = scan {
        settle(disk, &mut log, scan, base, &mut notes)?;
    }
    for name in found.leftovers {
        disk.remove(&format!("{LOG_DIRECTORY}/{name}"))?;
    }
    files::remove_leftovers(disk)?;
    Ok(Recovery { snapshot, log, notes })
}

/// Makes the log on disk what the scan has found, durably.
fn settle<D: Disk>(
    disk: &D,
    log: &mut Log,
    scan: Scan,
    (base, base_chain): (Zxid, Chain),
    notes: &mut Vec<Note>,
) -> Result<(), RecoverError> {
    if scan.last == base && scan.chain != base_chain {
        return Err(ReadError::Forked { zxid: base }.into());
    }
    let segment = *log.segments.last().expect("it was scanned");
    let file = disk.open(&segment.name())?;
    if let Some(cut) = scan.cut {
        let zeros = [0; BLOCK_BYTES];
        for &at in &cut.marked {
            disk.write_at(&file, at, &zeros)?;
        }
        let (segment, offset, cause) = (segment.name(), cut.offset, cut.cause);
        notes.push(Note::TornTail { segment, offset, last: scan.last, cause });
    }
    // Records may be in the page cache only, if the process was killed in the middle of a buffered
    // write. From here on they count as durable, so they must be.
    disk.sync(&file)?;
    if scan.empty {
        // Its name promises a first record that may never come. It is whole, so it is kept.
        let spare = log.reserve_spare();
        disk.rename(&segment.name(), &spare_name(spare))?;
        disk.sync_dir(LOG_DIRECTORY)?;
        log.spares.push(spare);
        log.segments.pop();
    }
    if scan.last >= base {
        (log.last, log.chain, log.durable) = (scan.last, scan.chain, scan.last);
        if !scan.empty {
            (log.at, log.sealed) = (Some(scan.at), scan.sealed);
        }
    }
    Ok(())
}

struct DamagedSnapshot {
    zxid: Zxid,
    cause: SnapshotError,
}

/// The newest snapshot whose every byte is as it was written, and the newest one before that.
fn choose_snapshot<D: Disk>(
    disk: &D,
    cluster: ClusterId,
    notes: &mut Vec<Note>,
) -> Result<(Option<SnapshotInfo>, Option<DamagedSnapshot>), RecoverError> {
    let mut damaged = None;
    for zxid in files::list_snapshots(disk)?.into_iter().rev() {
        match files::verify(disk, cluster, zxid) {
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

/// Checks every batch of `segments`, the first of which is taken at its word for what precedes.
fn scan_segments<D: Disk>(disk: &D, segments: &[Segment]) -> Result<Scan, RecoverError> {
    let mut scan = None;
    for (index, segment) in segments.iter().enumerate() {
        let mut batches = BatchReader::open(disk, segment)?;
        let (mut empty, mut sealed) = (true, false);
        let (at, cause) = loop {
            let at = batches.at;
            match batches.next(disk)? {
                Ok(head) => (empty, sealed) = (false, head.kind == BatchKind::Seal),
                Err(cause) => break (at, cause),
            }
        };
        let (last, chain) = (batches.last, batches.chain);
        let damaged = |cause| {
            let (segment, offset, zxid) = (segment.name(), at, last);
            RecoverError::from(ReadError::Damaged { segment, offset, zxid, cause })
        };
        if let Some(next) = segments.get(index + 1) {
            if next.head.before != last || next.head.chain_before != chain {
                // What is missing stood either here or in a file of its own.
                let ends = matches!(cause, BatchError::Head | BatchError::End);
                let behind = look_behind(disk, &mut batches, segment, last)?;
                return Err(if ends && behind.is_ok_and(|marked| marked.is_empty()) {
                    let (previous, before) = (segment.name(), next.head.before);
                    let segment = next.name();
                    RecoverError::Gap { segment, before, previous, offset: at, after: last }
                } else {
                    damaged(cause)
                });
            }
            continue;
        }
        if cause == BatchError::Discontinuous {
            return Err(damaged(cause));
        }
        let cut = look_behind(disk, &mut batches, segment, last)?.map_err(|()| damaged(cause))?;
        let cut = (!cut.is_empty()).then_some(Cut { offset: at, cause, marked: cut });
        scan = Some(Scan { last, chain, at, empty, sealed, cut });
    }
    Ok(scan.expect("at least one segment"))
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
