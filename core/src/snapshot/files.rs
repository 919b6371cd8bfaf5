//! The snapshots of a data directory.

use super::format::SnapshotError;
use super::reader::SnapshotReader;
use crate::disk::{Disk, DiskError};
use crate::log::format::ClusterId;
use crate::log::parse_hex_name;
use crate::record::Chain;
use crate::record::run::Position;
use crate::zxid::Zxid;

/// Their directory.
pub const SNAPSHOT_DIRECTORY: &str = "snapshot";

/// One whole snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Exact at.
    pub zxid: Zxid,
    /// Of the record at that zxid.
    pub chain: Chain,
    /// Of the tree.
    pub digest: u64,
    /// Sessions in it.
    pub sessions: u64,
    /// Nodes in it.
    pub nodes: u64,
    /// Length of the file.
    pub bytes: u64,
}

impl SnapshotInfo {
    /// The history that it stands for.
    pub const fn position(&self) -> Position {
        Position { zxid: self.zxid, chain: self.chain }
    }
}

/// The name of the snapshot at `zxid`.
pub fn snapshot_name(zxid: Zxid) -> String {
    format!("{SNAPSHOT_DIRECTORY}/{:016x}.snap", zxid.0)
}

/// Where there are snapshots, valid or not; oldest first.
pub fn list_snapshots<D: Disk>(disk: &D) -> Result<Vec<Zxid>, DiskError> {
    let names = disk.list(SNAPSHOT_DIRECTORY)?;
    let mut zxids: Vec<_> = names.iter().filter_map(|name| parse_hex_name(name, ".snap")).collect();
    zxids.sort_unstable();
    Ok(zxids)
}

/// Reads the whole snapshot at `zxid` and checks it.
pub fn verify<D: Disk>(
    disk: &D,
    cluster: ClusterId,
    zxid: Zxid,
) -> Result<SnapshotInfo, SnapshotError> {
    verify_as(disk, cluster, &snapshot_name(zxid), zxid)
}

/// As [`verify`], of a file that has another name as yet.
pub(crate) fn verify_as<D: Disk>(
    disk: &D,
    cluster: ClusterId,
    name: &str,
    zxid: Zxid,
) -> Result<SnapshotInfo, SnapshotError> {
    SnapshotReader::open_as(disk, cluster, name, zxid)?.read_out()
}

/// Removes all but the newest `keep` snapshots that are valid, and returns the oldest one kept: the
/// log must reach back to it.
///
/// Damaged ones are not counted, so that the last good one is never removed for them, and are left
/// for the operator to look at. `remove` is given the file names of those that go, the newest first.
pub fn purge<D: Disk>(
    disk: &D,
    cluster: ClusterId,
    keep: usize,
    mut remove: impl FnMut(&str) -> Result<(), DiskError>,
) -> Result<Option<Zxid>, SnapshotError> {
    assert!(keep > 0, "one snapshot is kept");
    let (mut kept, mut oldest) = (0, None);
    for zxid in list_snapshots(disk)?.into_iter().rev() {
        if kept == keep {
            remove(&snapshot_name(zxid))?;
            continue;
        }
        match verify(disk, cluster, zxid) {
            Ok(_) => (kept, oldest) = (kept + 1, Some(zxid)),
            Err(SnapshotError::Disk(error)) => return Err(error.into()),
            Err(_damaged) => {}
        }
    }
    disk.sync_dir(SNAPSHOT_DIRECTORY)?;
    // With fewer than wanted, the log is still needed as a whole.
    Ok(oldest.filter(|_| kept == keep))
}

/// Removes what unfinished snapshots have left. An incoming one is left to [`crate::log::replace`].
pub(crate) fn remove_leftovers<D: Disk>(disk: &D) -> Result<(), DiskError> {
    for name in disk.list(SNAPSHOT_DIRECTORY)? {
        if name.ends_with(".tmp") {
            disk.remove(&format!("{SNAPSHOT_DIRECTORY}/{name}"))?;
        }
    }
    Ok(())
}
