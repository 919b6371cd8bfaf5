//! What a damaged log still holds: for others that are damaged elsewhere, and to begin with when the
//! rest is copied again.
//!
//! Servers that lost different records can heal each other before any of them has recovered. What is
//! read here is proven by whoever receives it, so that nothing needs to be known of the log as a
//! whole: neither where it ends nor what of it is durable.

use super::cut::{Cut, Stage};
use super::format::ClusterId;
use super::reader::{BatchReader, LogReader, ReadError};
use super::recovery::{RecoverError, recover};
use super::repair::head_of;
use super::{LOG_DIRECTORY, parse_segment_name, replace};
use crate::disk::{Disk, DiskError};
use crate::record::run::{Position, Run};
use crate::snapshot::files;
use crate::snapshot::format::SnapshotError;
use crate::zxid::Zxid;

/// The part of a damaged history that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sound {
    /// Where it ends.
    pub upto: Position,
    /// The damaged segment, by its first record. It and those behind it are needed no more, but for
    /// what the damaged one holds up to `upto`.
    pub damaged: Zxid,
    /// Whether it ends with the newest snapshot, and the damage is in front of that.
    in_snapshot: bool,
}

impl Sound {
    /// What is whole of a history that does not recover because its log is damaged; `None` if it
    /// recovers, or does not for another reason, or nothing of it is whole.
    pub fn of<D: Disk>(disk: &D, cluster: ClusterId) -> Result<Option<Self>, DiskError> {
        let (name, offset) = match recover(disk, cluster) {
            Err(RecoverError::Log(ReadError::Damaged { segment, offset, .. })) => (segment, offset),
            Err(RecoverError::Disk(error)) => return Err(error),
            Ok(_) | Err(_) => return Ok(None),
        };
        let first = name.rsplit('/').next().and_then(parse_segment_name);
        let Some(first) = first else { return Ok(None) };
        let Some(segment) = head_of(disk, first)? else { return Ok(None) };
        let mut batches = BatchReader::open(disk, &segment)?;
        while batches.at < offset {
            if batches.next(disk)?.is_err() {
                return Ok(None);
            }
        }
        let end = Position { zxid: batches.last, chain: batches.chain };
        let base = newest_snapshot(disk, cluster)?;
        let in_snapshot = end.zxid < base.zxid;
        let upto = if in_snapshot { base } else { end };
        Ok((upto != Position::ROOT).then_some(Self { upto, damaged: first, in_snapshot }))
    }

    /// Makes it durable that the history ends there: the next recovery takes the rest away, which is
    /// to be put aside before.
    pub fn cut<D: Disk>(&self, disk: &D, cluster: ClusterId) -> Result<(), DiskError> {
        if self.in_snapshot {
            return replace::order(disk, cluster, self.upto);
        }
        Cut { stage: Stage::Cutting, to: self.upto }.store(disk, cluster)
    }
}

fn newest_snapshot<D: Disk>(disk: &D, cluster: ClusterId) -> Result<Position, DiskError> {
    for zxid in files::list_snapshots(disk)?.into_iter().rev() {
        match files::verify(disk, cluster, zxid) {
            Ok(info) => return Ok(info.position()),
            Err(SnapshotError::Disk(error)) => return Err(error),
            Err(_damaged) => {}
        }
    }
    Ok(Position::ROOT)
}

/// Records that follow `after` up to `until`, about `bytes_max` bytes of them and one at least;
/// `None` if `after` is not in the log or what follows it cannot be read.
pub fn records_behind<D: Disk>(
    disk: D,
    cluster: ClusterId,
    after: Position,
    until: Zxid,
    bytes_max: u64,
) -> Result<Option<Run>, DiskError> {
    let mut segments = Vec::new();
    for name in disk.list(LOG_DIRECTORY)? {
        let Some(first) = parse_segment_name(&name) else { continue };
        // One whose head is lost shows as a gap, where reading ends.
        let head = head_of(&disk, first)?.filter(|it| it.head.first == first);
        segments.extend(head.filter(|it| it.head.cluster == cluster));
    }
    segments.sort_unstable_by_key(|segment| segment.head.first);
    let reader = LogReader::new(disk, &segments, after.zxid, Some(after.chain), until);
    let Some(mut reader) = or_damaged(reader)? else { return Ok(None) };
    let (mut upto, mut bytes) = (after, Vec::new());
    while (bytes.len() as u64) < bytes_max.max(1) {
        // Damage, or the end of the log: what is in front of it is as good as it ever was.
        let Some(Some(record)) = or_damaged(reader.next_record())? else { break };
        bytes.extend_from_slice(record.bytes());
        upto = Position { zxid: record.head().zxid, chain: record.chain() };
    }
    Ok((!bytes.is_empty()).then(|| Run::own(after, upto, bytes.into())))
}

fn or_damaged<T>(read: Result<T, ReadError>) -> Result<Option<T>, DiskError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(ReadError::Disk(error)) => Err(error),
        Err(ReadError::Purged { .. } | ReadError::Damaged { .. } | ReadError::Forked { .. }) => {
            Ok(None)
        }
    }
}
