//! Snapshots on the real disk.

use farwatch_core::disk::DiskError;
use farwatch_core::record::Chain;
use farwatch_core::snapshot::files;
use farwatch_core::snapshot::format::{SnapshotError, SnapshotHead};
use farwatch_core::snapshot::reader::SnapshotReader;
use farwatch_core::snapshot::writer::SnapshotWriter;
use farwatch_core::zxid::Zxid;

use crate::data_dir::DataDir;

/// Snapshots to keep, as ZooKeeper's `autopurge.snapRetainCount`.
pub const SNAPSHOTS_KEPT: usize = 3;

/// Begins the snapshot of the tree at `zxid`, whose record has the checksum `chain`. May run on any
/// thread.
pub fn create(
    dir: &DataDir,
    zxid: Zxid,
    chain: Chain,
) -> Result<SnapshotWriter<DataDir>, DiskError> {
    let cluster = dir.identity().cluster;
    SnapshotWriter::create(dir.clone(), SnapshotHead { cluster, zxid, chain })
}

/// Opens the snapshot at `zxid`.
pub fn open(dir: &DataDir, zxid: Zxid) -> Result<SnapshotReader<DataDir>, SnapshotError> {
    SnapshotReader::open(dir.clone(), dir.identity().cluster, zxid)
}

/// Removes all but the newest `keep` valid snapshots. Answers the first zxid that the log must keep
/// for the oldest of them, which is for [`crate::log_file::LogFile::purge`]; `None` while there are
/// fewer.
pub fn purge(dir: &DataDir, keep: usize) -> Result<Option<Zxid>, SnapshotError> {
    let oldest = files::purge(dir, dir.identity().cluster, keep)?;
    Ok(oldest.map(|zxid| Zxid(zxid.0 + 1)))
}
