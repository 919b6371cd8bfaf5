//! What one voter of several has to settle about its directory: the ensemble's id, and the way back
//! of a server that lost what it had.
//!
//! ```text
//! fresh: tentative id ─► the voters agree ─► adopt ─► make_firm
//! lost or damaged: prepare_rejoin (log, snapshot ─► damaged-N) ─► `rejoining` ─► copied ─► epochs, then no mark
//!                    └ what is in front of damage stays, cut there
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use farwatch_core::disk::{self, Disk, DiskError};
use farwatch_core::log::cut::{CUT_BYTES, CUT_FILE, Cut, Stage};
use farwatch_core::log::epochs::{EPOCHS_BYTES, EPOCHS_FILE, Epochs, EpochsError};
use farwatch_core::log::format::ClusterId;
use farwatch_core::log::identity::{IDENTITY_FILE, Identity};
use farwatch_core::log::salvage::Sound;
use farwatch_core::log::{LOG_DIRECTORY, segment_name};
use farwatch_core::record::run::Position;
use farwatch_core::snapshot::files::{SNAPSHOT_DIRECTORY, snapshot_name};
use thiserror::Error;

use super::{DataDir, DataDirError, holds_history, make_directory};

/// There while the server copies the ensemble's history and does not vote. That it is there counts,
/// not what is in it.
pub const REJOINING_FILE: &str = "rejoining";

const REJOINING_TEXT: &[u8] = b"this server lost what it had acknowledged: it does not vote until \
    it has copied the history of its ensemble, and removes this file then\n";

/// Directories of damaged files that are looked at for a free name.
const DAMAGED_MAX: u32 = 10_000;

/// Why a directory does not join an ensemble.
#[derive(Debug, Error)]
pub enum AdoptError {
    /// It belongs to one.
    #[error(
        "{path}: the data directory belongs to another ensemble: give this server an empty one",
        path = path.display()
    )]
    Firm {
        /// The directory.
        path: std::path::PathBuf,
    },
    /// It holds what would be another ensemble's then.
    #[error(
        "{path}: the data directory holds a log or a snapshot of its own: give this server an empty \
         one",
        path = path.display()
    )]
    History {
        /// The directory.
        path: std::path::PathBuf,
    },
    /// The epochs cannot be read.
    #[error(transparent)]
    Epochs(#[from] EpochsError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl DataDir {
    /// Whether the ensemble's id is only this server's proposal.
    pub fn is_tentative(&self) -> bool {
        self.shared.tentative.load(Ordering::Relaxed)
    }

    /// Makes it durable that the ensemble's id is agreed upon. Doing it again changes nothing.
    pub fn make_firm(&self) -> Result<(), DiskError> {
        if !self.is_tentative() {
            return Ok(());
        }
        let firm = Identity { tentative: false, former: None, ..self.identity };
        disk::replace(self, IDENTITY_FILE, &firm.encode())?;
        self.shared.tentative.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Takes over the id of the ensemble that this fresh directory's server has met: tentatively, or
    /// firmly and as one that copies the history before it votes (`rejoin`), where the ensemble had
    /// this voter before and it may have promised or acknowledged something that is lost.
    ///
    /// The directory must be dropped and opened again.
    pub fn adopt(&self, cluster: ClusterId, rejoin: bool) -> Result<(), AdoptError> {
        let path = || self.root().to_owned();
        if !self.is_tentative() {
            return Err(AdoptError::Firm { path: path() });
        }
        if holds_history(self)? {
            return Err(AdoptError::History { path: path() });
        }
        if rejoin {
            // First: a crash in between leaves a server that claims less than it might.
            self.set_rejoining(true)?;
        }
        let own = self.identity.cluster;
        let former = (own != cluster).then_some(own);
        let adopted = Identity { cluster, tentative: !rejoin, former, ..self.identity };
        disk::replace(self, IDENTITY_FILE, &adopted.encode())?;
        Ok(finish_adoption(self, adopted).map(|_| ())?)
    }

    /// Whether this server copies the ensemble's history and must not vote before it has it.
    pub fn rejoining(&self) -> bool {
        // When in doubt it claims less.
        self.path(REJOINING_FILE).try_exists().unwrap_or(true)
    }

    /// Sets or removes the mark, durably. It is removed only after the epochs were saved in which
    /// the server votes again: a crash in between then leaves one that copies once more.
    pub fn set_rejoining(&self, on: bool) -> Result<(), DiskError> {
        if on {
            return disk::replace(self, REJOINING_FILE, REJOINING_TEXT);
        }
        if self.rejoining() {
            self.remove(REJOINING_FILE)?;
        }
        self.sync_dir("")
    }

    /// Puts log and snapshots aside, into `damaged-<n>`, and marks the server as one that copies the
    /// history of its ensemble before it votes. Where only the log is damaged, what is in front of
    /// the damage stays as the beginning of the copy, and its end is returned. Identity and epochs
    /// stay; epochs that cannot be read are put aside too. Before anything is recovered from the
    /// directory.
    pub fn prepare_rejoin(&self) -> Result<Option<Position>, DataDirError> {
        self.set_rejoining(true)?;
        let log_root = self.shared.log.parent().expect("the log is in a directory").to_owned();
        let roots = [self.root(), &log_root];
        let free = |name: &String| roots.iter().all(|root| !root.join(name).exists());
        let name = (1..=DAMAGED_MAX).map(|n| format!("damaged-{n}")).find(free);
        let name = name.unwrap_or_else(|| format!("damaged-{DAMAGED_MAX}"));
        let move_aside = |root: &Path, what: &Path| {
            put_aside(root, &name, what)
                .map_err(|cause| DataDirError::Directory { path: what.to_owned(), cause })
        };
        let cluster = self.identity.cluster;
        if let Err(EpochsError::Damaged | EpochsError::Cluster) = Epochs::load(self, cluster) {
            move_aside(self.root(), &self.path(EPOCHS_FILE))?;
        }
        // A history that is whole is not what the operator wants to keep: it may be another one
        // than the ensemble's.
        if let Some(sound) = Sound::of(self, cluster)? {
            self.copy_aside(&sound, [&log_root.join(&name), &self.root().join(&name)])?;
            sound.cut(self, cluster)?;
            return Ok(Some(sound.upto));
        }
        move_aside(&log_root, &self.shared.log)?;
        make_directory(&self.shared.log)?;
        let snapshots = self.path(SNAPSHOT_DIRECTORY);
        move_aside(self.root(), &snapshots)?;
        make_directory(&snapshots)?;
        // An empty log, and not one that was lost.
        Cut { stage: Stage::Cut, to: Position::ROOT }.store(self, cluster)?;
        Ok(None)
    }

    /// Keeps what a cut will take away: segments from the damaged one on, and snapshots behind it.
    fn copy_aside(&self, sound: &Sound, [logs, snapshots]: [&Path; 2]) -> Result<(), DataDirError> {
        let damaged = segment_name(sound.damaged);
        for (directory, aside, last) in [
            (LOG_DIRECTORY, logs, damaged.clone()),
            (SNAPSHOT_DIRECTORY, snapshots, snapshot_name(sound.upto.zxid)),
        ] {
            let kept = |name: &String| {
                let path = format!("{directory}/{name}");
                let is_file = name.ends_with(".log") || name.ends_with(".snap");
                // Names are as long as each other, so that they compare as their zxids do.
                is_file && (last < path || path == damaged)
            };
            for name in self.list(directory)?.into_iter().filter(kept) {
                let path = self.path(&format!("{directory}/{name}"));
                copy_into(aside, directory, &path)
                    .map_err(|cause| DataDirError::Directory { path, cause })?;
            }
        }
        Ok(())
    }
}

/// Copies a file to `<aside>/<directory>/`, durably.
fn copy_into(aside: &Path, directory: &str, file: &Path) -> io::Result<()> {
    let target = aside.join(directory);
    fs::DirBuilder::new().mode(0o700).recursive(true).create(&target)?;
    let copy = target.join(file.file_name().expect("a name"));
    fs::copy(file, &copy)?;
    File::open(&copy)?.sync_all()?;
    File::open(&target)?.sync_all()?;
    File::open(aside)?.sync_all()?;
    File::open(aside.parent().expect("in the data directory"))?.sync_all()
}

/// Moves `what`, which is in `root`, into `root/<name>/`, durably.
fn put_aside(root: &Path, name: &str, what: &Path) -> io::Result<()> {
    let aside = root.join(name);
    if !aside.exists() {
        fs::DirBuilder::new().mode(0o700).create(&aside)?;
    }
    fs::rename(what, aside.join(what.file_name().expect("a name")))?;
    File::open(&aside)?.sync_all()?;
    File::open(root)?.sync_all()
}

/// Lets the files of a directory that has just got another ensemble's id say so too.
pub(super) fn finish_adoption(dir: &DataDir, identity: Identity) -> Result<Identity, EpochsError> {
    let Some(former) = identity.former else { return Ok(identity) };
    if let Some(bytes) = disk::read_small(dir, EPOCHS_FILE, EPOCHS_BYTES + 1)? {
        match Epochs::decode(&bytes, former) {
            Ok(epochs) => epochs.store(dir, identity.cluster)?,
            // It was rewritten before a crash.
            Err(EpochsError::Cluster) => {}
            Err(error) => return Err(error),
        }
    }
    if let Some(bytes) = disk::read_small(dir, CUT_FILE, CUT_BYTES + 1)?
        && let Ok(cut) = Cut::decode(&bytes, former)
    {
        disk::replace(dir, CUT_FILE, &cut.encode(identity.cluster))?;
    }
    let settled = Identity { former: None, ..identity };
    disk::replace(dir, IDENTITY_FILE, &settled.encode())?;
    Ok(settled)
}
