//! A data directory: whose it is, who uses it, and its files as a [`Disk`].
//!
//! ```text
//! dataDir/identity   lock   epochs   snapshot/<zxid>.snap   log/<first zxid>.log   log/spare-N
//!                                                           └ elsewhere with dataLogDir
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use farwatch_core::disk::{self, Disk, DiskCause, DiskError};
use farwatch_core::log::LOG_DIRECTORY;
use farwatch_core::log::epochs::EpochsError;
use farwatch_core::log::format::ClusterId;
use farwatch_core::log::identity::{IDENTITY_BYTES, IDENTITY_FILE, Identity, IdentityError};
use farwatch_core::snapshot::files::SNAPSHOT_DIRECTORY;
use farwatch_core::zxid::ServerId;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use thiserror::Error;

use crate::log_file::system;

pub(crate) mod giving_back;
mod member;
#[cfg(test)]
mod tests;
mod voters;

pub use member::{AdoptError, REJOINING_FILE};
pub use voters::{VOTERS_FILE, Voters, named as voters_named};

/// Who names the ensemble of a fresh directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Founding {
    /// This server is all of it.
    Alone,
    /// Its voters agree on one name. Until then it is tentative.
    Member,
    /// Others found it: of tentative names the smaller counts, and this one's is the largest.
    Observer,
}

/// Held locked as long as a server uses the directory; says who that is.
const LOCK_FILE: &str = "lock";

/// Largest process id that is read from the lock file, digits and line end.
const LOCK_BYTES_MAX: usize = 16;

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// A directory cannot be made or looked at.
    #[error("{path}: {cause}. The data directory must exist or be creatable by this user", path = path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Others could change acknowledged data.
    #[error(
        "{path}: group or others may write to it (mode {mode:o}), so they could change \
         acknowledged data: run chmod go-w on it",
        path = path.display()
    )]
    Permissions {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Two servers on one directory would destroy it.
    #[error(
        "{path}: in use by process {holder}: stop that server first, or give this one a data \
         directory of its own",
        path = path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process id that the holder wrote, or `unknown`.
        holder: String,
    },
    /// Not ours, or damaged.
    #[error("{path}: {cause}", path = path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: IdentityError,
    },
    /// History without an owner.
    #[error(
        "{path}: there is a log or a snapshot but no identity: files were removed; restore the \
         directory as a whole, or start with an empty one",
        path = path.display()
    )]
    NoIdentity {
        /// The directory.
        path: PathBuf,
    },
    /// Another server's directory.
    #[error(
        "{path}: it belongs to server {found}, and this one is {configured}: correct myid, or give \
         this server a data directory of its own",
        path = path.display()
    )]
    Server {
        /// The directory.
        path: PathBuf,
        /// In the identity file.
        found: ServerId,
        /// As configured.
        configured: ServerId,
    },
    /// A majority of the voters as they were and of those as they are need not share a server.
    #[error(
        "{path}: this voter last served among {before}, and is to serve among {now} now. What was acknowledged is on \
         a majority of the former, and a majority of the latter may have none of it. Start it with the list that it \
         had, and add or remove one voter at a time. What else can be done, with --change-voters, and what it takes: \
         docs/operating.md, \"Other voters\"",
        path = path.display()
    )]
    Voters {
        /// The directory.
        path: PathBuf,
        /// When it last started.
        before: String,
        /// As configured.
        now: String,
    },
    /// It is not known whom this voter served among.
    #[error(
        "{path}: the file is damaged: restore it from a backup of this directory; or, where the list of voters is \
         the one that all others have and had, remove it",
        path = path.display()
    )]
    VotersDamaged {
        /// The file.
        path: PathBuf,
    },
    /// The file of voters is of a later version.
    #[error(
        "{path}: format version {version} is not known to this version of Farwatch: use a newer one",
        path = path.display()
    )]
    VotersVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u16,
    },
    /// The epochs cannot be carried over to the ensemble that was joined.
    #[error(transparent)]
    Epochs(#[from] EpochsError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A locked data directory. Clones share it; the lock ends with the last of them.
#[derive(Clone, Debug)]
pub struct DataDir {
    shared: Arc<Shared>,
    identity: Identity,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    log: PathBuf,
    /// Whether the ensemble's id is not agreed upon yet.
    tentative: AtomicBool,
    /// Locked as long as it is open.
    _locks: Vec<Lock>,
}

impl DataDir {
    /// Locks `root`, making it if need be, for `server`; `log_root` is another device for the log.
    /// A fresh directory is given an ensemble as `founding` says.
    pub fn open(
        root: &Path,
        log_root: Option<&Path>,
        server: ServerId,
        founding: Founding,
    ) -> Result<Self, DataDirError> {
        let log_root = log_root.unwrap_or(root);
        let log = log_root.join(LOG_DIRECTORY);
        for directory in [root, log_root, &log, &root.join(SNAPSHOT_DIRECTORY)] {
            make_directory(directory)?;
        }
        let mut locks = vec![lock(root)?];
        if log_root != root {
            locks.push(lock(log_root)?);
        }
        let nobody = Identity { cluster: ClusterId(0), server, tentative: true, former: None };
        let (root, tentative) = (root.to_owned(), AtomicBool::new(true));
        let shared = Arc::new(Shared { root, log, tentative, _locks: locks });
        let unowned = Self { shared, identity: nobody };
        let identity = read_identity(&unowned, server, founding)?;
        let identity = member::finish_adoption(&unowned, identity)?;
        let opened = Self { identity, ..unowned };
        opened.shared.tentative.store(identity.tentative, Ordering::Relaxed);
        if founding == Founding::Alone {
            opened.make_firm()?; // there is nobody to agree with
        }
        Ok(opened)
    }

    /// The server that a directory belongs to, if it belongs to one; for a guest, which has its number
    /// from there. Damage is found by [`DataDir::open`].
    pub fn owner(root: &Path) -> Option<ServerId> {
        let bytes = fs::read(root.join(IDENTITY_FILE)).ok()?;
        Identity::decode(&bytes).ok().map(|identity| identity.server)
    }

    /// Whose it is; whether that is agreed upon is told by [`DataDir::is_tentative`].
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.shared.root
    }

    /// Where a name of the [`Disk`] is in the file system.
    pub fn path(&self, name: &str) -> PathBuf {
        match name.strip_prefix(LOG_DIRECTORY).and_then(|rest| rest.strip_prefix('/')) {
            Some(in_log) => self.shared.log.join(in_log),
            None if name == LOG_DIRECTORY => self.shared.log.clone(),
            None => self.shared.root.join(name),
        }
    }
}

fn make_directory(path: &Path) -> Result<(), DataDirError> {
    let failed = |cause| DataDirError::Directory { path: path.to_owned(), cause };
    if !path.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        // Without this a power cut takes the new directory with all that is in it.
        if let Some(parent) = path.parent() {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        }
    }
    let mode = fs::metadata(path).map_err(failed)?.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(DataDirError::Permissions { path: path.to_owned(), mode });
    }
    Ok(())
}

/// A locked file. A process that was forked from this one shares the lock, and would keep it by merely living:
/// so it is given up, and not only closed.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        let _closed_either_way = self.0.unlock();
    }
}

fn lock(root: &Path) -> Result<Lock, DataDirError> {
    let path = root.join(LOCK_FILE);
    let failed = |cause| DataDirError::Directory { path: path.clone(), cause };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let read = (&file).take(LOCK_BYTES_MAX as u64).read_to_string(&mut text);
            let known = read.is_ok() && !text.trim().is_empty();
            let holder = if known { text.trim().to_owned() } else { "unknown".to_owned() };
            return Err(DataDirError::Locked { path: root.to_owned(), holder });
        }
        Err(TryLockError::Error(cause)) => return Err(failed(cause)),
    }
    // Over what was there: a full disk has no room for a file that was emptied.
    let holder = format!("{}\n", std::process::id());
    file.write_all_at(holder.as_bytes(), 0).map_err(failed)?;
    file.set_len(holder.len() as u64).map_err(failed)?;
    Ok(Lock(file))
}

/// Whether there is a log or a snapshot.
fn holds_history(dir: &DataDir) -> Result<bool, DiskError> {
    let any = |directory: &str, suffix: &str| {
        let names = dir.list(directory)?;
        Ok::<_, DiskError>(names.iter().any(|name| name.ends_with(suffix)))
    };
    Ok(any(LOG_DIRECTORY, ".log")? || any(SNAPSHOT_DIRECTORY, ".snap")?)
}

fn read_identity(
    dir: &DataDir,
    server: ServerId,
    founding: Founding,
) -> Result<Identity, DataDirError> {
    let identity = match disk::read_small(dir, IDENTITY_FILE, IDENTITY_BYTES + 1)? {
        Some(bytes) => Identity::decode(&bytes)
            .map_err(|cause| DataDirError::Identity { path: dir.path(IDENTITY_FILE), cause })?,
        None => {
            if holds_history(dir)? {
                return Err(DataDirError::NoIdentity { path: dir.root().to_owned() });
            }
            let (cluster, former) = match founding {
                Founding::Alone | Founding::Member => (ClusterId(system::random()), None),
                Founding::Observer => (ClusterId(u64::MAX), None),
            };
            let tentative = founding != Founding::Alone;
            let identity = Identity { cluster, server, tentative, former };
            disk::replace(dir, IDENTITY_FILE, &identity.encode())?;
            identity
        }
    };
    if identity.server != server {
        let (path, found) = (dir.root().to_owned(), identity.server);
        return Err(DataDirError::Server { path, found, configured: server });
    }
    Ok(identity)
}

/// The system's error as the core's, naming the call and the file.
pub(crate) fn disk_error(operation: &'static str, name: &str, error: &io::Error) -> DiskError {
    let cause = match error.raw_os_error() {
        Some(libc::ENOENT) => DiskCause::NotFound,
        Some(libc::ENOSPC | libc::EDQUOT) => DiskCause::Full,
        Some(code) => DiskCause::Os(code),
        // The only one that the library makes itself here: the file ended early.
        None => DiskCause::Os(libc::EIO),
    };
    DiskError { operation, name: name.to_owned(), cause }
}

/// An open file and its name for messages.
#[derive(Debug)]
pub struct DataFile {
    file: File,
    name: String,
}

impl Disk for DataDir {
    type File = DataFile;

    fn create(&self, name: &str) -> Result<DataFile, DiskError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(self.path(name)).map_err(|e| disk_error("create", name, &e))?;
        Ok(DataFile { file, name: name.to_owned() })
    }

    fn open(&self, name: &str) -> Result<DataFile, DiskError> {
        let opened = OpenOptions::new().read(true).write(true).open(self.path(name));
        let file = opened.map_err(|e| disk_error("open", name, &e))?;
        Ok(DataFile { file, name: name.to_owned() })
    }

    fn len(&self, file: &DataFile) -> Result<u64, DiskError> {
        let metadata = file.file.metadata().map_err(|e| disk_error("stat", &file.name, &e))?;
        Ok(metadata.len())
    }

    fn read_at(&self, file: &DataFile, at: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        file.file.read_exact_at(bytes, at).map_err(|e| disk_error("read", &file.name, &e))
    }

    fn write_at(&self, file: &DataFile, at: u64, bytes: &[u8]) -> Result<(), DiskError> {
        file.file.write_all_at(bytes, at).map_err(|e| disk_error("write", &file.name, &e))
    }

    fn sync(&self, file: &DataFile) -> Result<(), DiskError> {
        file.file.sync_data().map_err(|e| disk_error("sync", &file.name, &e))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        let renamed = fs::rename(self.path(from), self.path(to));
        renamed.map_err(|e| disk_error("rename", from, &e))
    }

    fn exchange(&self, one: &str, other: &str) -> Result<bool, DiskError> {
        let (from, to) = (self.path(one), self.path(other));
        let exchanged = rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE);
        match exchanged {
            Ok(()) => Ok(true),
            // Not there, or not to be had. After another error it may have been done, and no rename must follow.
            Err(Errno::NOENT | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::PERM) => {
                Ok(false)
            }
            Err(error) => Err(disk_error("exchange", one, &error.into())),
        }
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        fs::remove_file(self.path(name)).map_err(|e| disk_error("remove", name, &e))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, DiskError> {
        let failed = |e: io::Error| disk_error("list", directory, &e);
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(directory)).map_err(failed)? {
            // What is not UTF-8 is no name of ours.
            if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, directory: &str) -> Result<(), DiskError> {
        let synced = File::open(self.path(directory)).and_then(|opened| opened.sync_all());
        synced.map_err(|e| disk_error("sync directory", directory, &e))
    }

    fn available(&self, directory: &str) -> Result<u64, DiskError> {
        let path = self.path(directory);
        system::available_bytes(&path).map_err(|e| disk_error("stat", directory, &e))
    }
}
