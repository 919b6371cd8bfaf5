//! From a data directory to a server's state: the newest valid snapshot, then the log behind it.

use std::time::{Duration, Instant};

use farwatch_core::disk::DiskError;
use farwatch_core::log::reader::ReadError;
use farwatch_core::log::recovery::Note;
use farwatch_core::node;
use farwatch_core::record::Chain;
use farwatch_core::snapshot::files::SnapshotInfo;
use farwatch_core::snapshot::format::SnapshotError;
use farwatch_core::tree::{self, Applied, RestoreError, TreeOptions};
use farwatch_core::zxid::Zxid;
use thiserror::Error;

use crate::data_dir::DataDir;
use crate::log_file::{LogFile, LogOptions, OpenError};
use crate::snapshot_file;

mod loading;

pub use loading::{Loaded, Loading};

/// Why a server cannot start from what is on its disk.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// A record cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The snapshot holds nodes that do not make a tree.
    #[error(
        "the snapshot at {zxid} is no tree: {cause}. Move it away, and the one before it is used"
    )]
    Tree {
        /// Which snapshot.
        zxid: Zxid,
        /// What is wrong with it.
        cause: RestoreError,
    },
    /// The tree that was read is not the tree that was written.
    #[error(
        "the snapshot at {zxid} says digest {written:#018x} and gives a tree of digest {read:#018x}. \
         Move it away, and the one before it is used"
    )]
    Digest {
        /// Which snapshot.
        zxid: Zxid,
        /// In its footer.
        written: u64,
        /// Of the tree.
        read: u64,
    },
}

/// What a start found.
pub struct Recovered {
    /// The log, ready to be appended to.
    pub log: LogFile,
    /// The state, for the machine.
    pub state: node::Recovered,
    /// What the snapshot stands for, which is known to be committed.
    pub committed: Zxid,
    /// Records that were replayed behind it.
    pub replayed: u64,
    /// What loading the snapshot took.
    pub load_time: Duration,
    /// What replaying the records took.
    pub replay_time: Duration,
    /// What was put right.
    pub notes: Vec<Note>,
}

/// Recovers the state in `dir`. Blocks; takes seconds for millions of nodes.
pub fn recover(
    dir: &DataDir,
    options: LogOptions,
    hash_seed: u64,
) -> Result<Recovered, RecoverError> {
    let mut loading = Loading::new(TreeOptions { hash_seed });
    let (log, found) = LogFile::open_loading(dir, options, &mut |reader| loading.load(reader))?;
    let load_time = loading.took;
    let Loaded { mut writer, tree, mut sessions } = loading.finish()?;
    let began = Instant::now();
    let committed = found.snapshot.as_ref().map_or(Zxid::ZERO, |snapshot| snapshot.zxid);
    let mut records = found.records;
    let mut applied = Applied::default();
    let mut replayed = 0;
    while let Some(record) = records.next_record()? {
        let (head, txn) = (record.head(), record.txn());
        applied.clear(); // nobody watches yet
        writer.apply(&head, &txn, &mut applied);
        sessions.apply(&head, &txn);
        replayed += 1;
        if replayed % RECLAIM_INTERVAL == 0 {
            writer.reclaim();
        }
    }
    writer.reclaim();
    let replay_time = began.elapsed();
    let state = node::Recovered { writer, tree, sessions, chain: found.chain };
    let notes = found.notes;
    Ok(Recovered { log, state, committed, replayed, load_time, replay_time, notes })
}

/// Replaced versions are freed every so many records: seldom enough to cost nothing.
const RECLAIM_INTERVAL: u64 = 1024;

/// What a snapshot is taken of: a place in the history, and a reader that holds on to it.
pub struct SnapshotJob {
    /// Where.
    pub zxid: Zxid,
    /// Of the record there.
    pub chain: Chain,
    /// Of the tree there.
    pub digest: u64,
    /// Stands at `zxid` and keeps what is replaced meanwhile.
    pub reader: tree::Reader,
    /// The sessions there.
    pub sessions: Vec<farwatch_core::snapshot::format::SessionImage>,
}

impl SnapshotJob {
    /// Writes it. Runs on a thread of its own while the tree goes on changing.
    pub fn write(self, dir: &DataDir) -> Result<SnapshotInfo, DiskError> {
        let mut file = snapshot_file::create(dir, self.zxid, self.chain)?;
        for session in &self.sessions {
            file.session(session)?;
        }
        let view = self.reader.view_at(self.zxid);
        let mut failed = None;
        view.walk(&mut |image| {
            if failed.is_none() {
                failed = file.node(image).err();
            }
        });
        match failed {
            Some(error) => Err(error),
            None => file.finish(self.digest),
        }
    }
}

#[cfg(test)]
mod tests;
