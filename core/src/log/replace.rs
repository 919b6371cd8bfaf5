//! A snapshot that came from another server takes the place of this server's whole history.
//!
//! ```text
//! parts ─► snapshot/incoming.tmp ─► verified, synced ─► snapshot/install ═► it is the history
//! next start:  renamed ─► all segments removed, log/cut ─► other snapshots removed ─► install removed
//! ```
//!
//! `snapshot/install` is the one moment at which it happens. What follows is done by recovery, which
//! does it again from the beginning after a crash. A running log is left alone until then, because
//! its background thread may be at work among the same files.

use thiserror::Error;

use super::cut::{CUT_BYTES, Cut, Stage, remove_segments};
use super::format::ClusterId;
use super::recovery::RecoverError;
use crate::disk::{self, Disk, DiskCause, DiskError};
use crate::record::run::Position;
use crate::snapshot::files::{self, SNAPSHOT_DIRECTORY, list_snapshots, snapshot_name};
use crate::snapshot::format::SnapshotError;

/// The snapshot that is coming.
pub const INCOMING_FILE: &str = "snapshot/incoming.tmp";

/// Which snapshot replaces the history.
pub const INSTALL_FILE: &str = "snapshot/install";

const _: () = assert!(CUT_BYTES < 512, "one sector, so that it is never torn on an honest disk");

/// Why a part of a snapshot was not stored. Nothing but the incoming file was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The parts before it are not here.
    #[error("a part at byte {offset} of a snapshot of which {stored} bytes are here")]
    Gap {
        /// Where the part belongs.
        offset: u64,
        /// What is here.
        stored: u64,
    },
    /// A part of another snapshot than the one that was begun.
    #[error("a part of the snapshot at {found} in the middle of the one at {begun}")]
    Other {
        /// Of the part.
        found: crate::zxid::Zxid,
        /// Of those before it.
        begun: crate::zxid::Zxid,
    },
    /// One is the history already, and its files are not in their places yet.
    #[error("a snapshot was received before and waits for this server to be started again")]
    Installed,
    /// More parts wait than any leader sends before it is answered.
    #[error("too many parts of a snapshot wait to be stored")]
    Flooded,
    /// The whole is not a snapshot of the place that was said.
    #[error("the snapshot that was received cannot be used: {0}")]
    Snapshot(SnapshotError),
    /// The disk failed or is full.
    #[error("the snapshot cannot be stored: {0}. Make room or check the disk")]
    Disk(#[from] DiskError),
}

/// A snapshot that comes part by part.
#[derive(Debug)]
pub struct Incoming<D: Disk> {
    disk: D,
    cluster: ClusterId,
    /// The file and what it will be, once begun.
    begun: Option<(D::File, Position)>,
    stored: u64,
}

impl<D: Disk> Incoming<D> {
    /// Nothing has come yet.
    pub fn new(disk: D, cluster: ClusterId) -> Self {
        Self { disk, cluster, begun: None, stored: 0 }
    }

    /// Stores one part. Offset 0 begins again. With `end`, the snapshot is this server's history,
    /// durably, once this returns; the next recovery puts the files in their places.
    pub fn store(
        &mut self,
        at: Position,
        offset: u64,
        bytes: &[u8],
        end: bool,
    ) -> Result<u64, StoreError> {
        if offset == 0 {
            self.begun = None; // an error leaves nothing to go on with
            self.stored = 0;
            if disk::read_small(&self.disk, INSTALL_FILE, 0)?.is_some() {
                return Err(StoreError::Installed);
            }
            self.begun = Some((self.disk.create(INCOMING_FILE)?, at));
        }
        let Some((file, begun)) = &self.begun else {
            return Err(StoreError::Gap { offset, stored: 0 });
        };
        if *begun != at {
            return Err(StoreError::Other { found: at.zxid, begun: begun.zxid });
        }
        if offset != self.stored {
            return Err(StoreError::Gap { offset, stored: self.stored });
        }
        let written = self
            .disk
            .write_at(file, offset, bytes)
            .and_then(|()| if end { self.disk.sync(file) } else { Ok(()) });
        if let Err(error) = written {
            // The log needs its space more. If this fails too, the next start removes it.
            self.begun = None;
            let _removed = self.disk.remove(INCOMING_FILE);
            return Err(error.into());
        }
        self.stored += bytes.len() as u64;
        if end {
            self.begun = None;
            self.install(at)?;
        }
        Ok(self.stored)
    }

    fn install(&self, at: Position) -> Result<(), StoreError> {
        verify(&self.disk, self.cluster, INCOMING_FILE, at).map_err(StoreError::Snapshot)?;
        // Its name must outlive the file that tells of it.
        self.disk.sync_dir(SNAPSHOT_DIRECTORY)?;
        Ok(order(&self.disk, self.cluster, at)?)
    }
}

/// Reads a whole snapshot under any name; `Foreign` if it is not of `at`.
fn verify<D: Disk>(
    disk: &D,
    cluster: ClusterId,
    name: &str,
    at: Position,
) -> Result<(), SnapshotError> {
    let info = files::verify_as(disk, cluster, name, at.zxid)?;
    if info.chain == at.chain { Ok(()) } else { Err(SnapshotError::Foreign) }
}

/// Makes it durable that the snapshot at `at` replaces the history.
pub(super) fn order<D: Disk>(disk: &D, cluster: ClusterId, at: Position) -> Result<(), DiskError> {
    let order = Cut { stage: Stage::Replacing, to: at };
    disk::replace(disk, INSTALL_FILE, &order.encode(cluster))
}

/// Goes on with a replacement that was ordered, if there is one, and removes an incoming snapshot
/// that was not completed.
pub(super) fn finish<D: Disk>(disk: &D, cluster: ClusterId) -> Result<(), RecoverError> {
    let Some(order) = Cut::load_from(disk, cluster, INSTALL_FILE)? else {
        return Ok(disk::remove_if_there(disk, INCOMING_FILE)?);
    };
    let at = order.to;
    let name = snapshot_name(at.zxid);
    match verify(disk, cluster, INCOMING_FILE, at) {
        Ok(()) => {
            disk.rename(INCOMING_FILE, &name)?;
            disk.sync_dir(SNAPSHOT_DIRECTORY)?;
        }
        Err(SnapshotError::Disk(error)) if error.cause != DiskCause::NotFound => {
            return Err(error.into());
        }
        // It has its name already, or the one with that name is as good.
        Err(_) => match verify(disk, cluster, &name, at) {
            Ok(()) => {}
            Err(SnapshotError::Disk(error)) if error.cause != DiskCause::NotFound => {
                return Err(error.into());
            }
            Err(cause) => return Err(RecoverError::Replacement { snapshot: name, cause }),
        },
    }
    remove_segments(disk, |_| true)?;
    Cut { stage: Stage::Cut, to: at }.store(disk, cluster)?;
    // The others may be of a history that is not this ensemble's.
    for zxid in list_snapshots(disk)?.into_iter().rev().filter(|&zxid| zxid != at.zxid) {
        disk.remove(&snapshot_name(zxid))?;
    }
    disk::remove_if_there(disk, INCOMING_FILE)?;
    disk.sync_dir(SNAPSHOT_DIRECTORY)?;
    disk.remove(INSTALL_FILE)?;
    disk.sync_dir(SNAPSHOT_DIRECTORY)?;
    Ok(())
}
