//! What a damaged log still holds, for others that are damaged elsewhere.
//!
//! Servers that lost different records can heal each other before any of them has recovered. What is
//! read here is proven by whoever receives it, so that nothing needs to be known of the log as a
//! whole: neither where it ends nor what of it is durable.

use super::format::ClusterId;
use super::reader::{LogReader, ReadError};
use super::repair::head_of;
use super::{LOG_DIRECTORY, parse_segment_name};
use crate::disk::{Disk, DiskError};
use crate::record::run::{Position, Run};
use crate::zxid::Zxid;

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
