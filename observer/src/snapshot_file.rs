//! Snapshots on the real disk.

use std::time::Instant;

use farwatch_core::disk::DiskError;
use farwatch_core::record::Chain;
use farwatch_core::snapshot::files;
use farwatch_core::snapshot::format::{SnapshotError, SnapshotHead};
use farwatch_core::snapshot::reader::SnapshotReader;
use farwatch_core::snapshot::writer::SnapshotWriter;
use farwatch_core::zxid::Zxid;

use crate::data_dir::DataDir;
use crate::data_dir::giving_back::{GivingBack, rest_after};

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

/// What a purge has found.
pub struct Purged {
    /// The first zxid that the log must keep for the oldest snapshot that stays, which is for
    /// [`crate::log_file::LogFile::purge`]; `None` while there are fewer than wanted.
    pub log_from: Option<Zxid>,
    /// Snapshots that have lost their names.
    leaving: Vec<GivingBack>,
}

impl Purged {
    /// Gives back the space of what was removed, with rests for others who use the disk. Dropped instead, it goes
    /// at once. Blocks.
    pub fn give_back(self) {
        for mut snapshot in self.leaving {
            loop {
                let began = Instant::now();
                if !snapshot.step() {
                    break;
                }
                std::thread::sleep(rest_after(began.elapsed()));
            }
        }
    }
}

/// Removes all but the newest `keep` valid snapshots; their space is given back by the answer.
pub fn purge(dir: &DataDir, keep: usize) -> Result<Purged, SnapshotError> {
    let mut leaving = Vec::new();
    let oldest = files::purge(dir, dir.identity().cluster, keep, |name| {
        leaving.push(GivingBack::begin(dir, name)?);
        Ok(())
    })?;
    Ok(Purged { log_from: oldest.map(|zxid| Zxid(zxid.0 + 1)), leaving })
}
