//! What a start waits for: a snapshot that is loaded, and a log that is replayed, on a real disk.
//!
//! Both `cargo bench --bench disk` and bar P20 measure by this code.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use farwatch_core::acl;
use farwatch_core::record::run::{Position, Run};
use farwatch_core::record::{self, Chain};
use farwatch_core::snapshot::files::snapshot_name;
use farwatch_core::tree::{self, Applied, Tree, TreeOptions, Writer};
use farwatch_core::txn::{CreateTxn, NodeKind, Txn, TxnHead};
use farwatch_core::zxid::{ServerId, Zxid};
use farwatch_observer::data_dir::{DataDir, Founding};
use farwatch_observer::log_file::{LogFile, LogOptions};
use farwatch_observer::recover::{self, Loaded, Loading, SnapshotJob};
use farwatch_observer::snapshot_file;
use tempfile::TempDir;

use crate::parts::{SEED, SESSION, VALUE};

/// Records that are given to the log at once while it is filled.
const BATCH: u64 = 1_000;

/// Nodes that a log's changes are of, all made by its first records.
const LOG_NODES: u64 = 1_000;

/// A data directory that nobody had before, and that is gone when this is dropped.
pub struct Fresh {
    /// As servers open it.
    pub dir: DataDir,
    directory: TempDir,
}

impl Fresh {
    /// Below `parent`, which must be on the disk that is meant: in memory every log looks fast.
    pub fn below(parent: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(parent);
        let directory =
            directory.with_context(|| format!("a directory in {}", parent.display()))?;
        let data = directory.path().join("data");
        let dir = DataDir::open(&data, None, ServerId(1), Founding::Alone)?;
        Ok(Self { dir, directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("data").join(name)
    }
}

/// Of the transaction with this number.
#[must_use]
pub fn head(zxid: u64) -> TxnHead {
    TxnHead { zxid: Zxid(zxid), time_ms: 1, session: SESSION, cxid: 1 }
}

/// A tree of nodes with values of 100 bytes, and its snapshot.
pub struct SnapshotOnDisk {
    fresh: Fresh,
    writer: Writer,
    tree: Arc<Tree>,
    zxid: Zxid,
    bytes: u64,
}

impl SnapshotOnDisk {
    /// Of so many nodes, below `parent`.
    pub fn make(parent: &Path, nodes: u64) -> Result<Self> {
        let (mut writer, tree) = tree::new(TreeOptions { hash_seed: SEED });
        let mut applied = Applied::default();
        let mut create = |zxid: u64, path: &str| {
            let (path, kind) = (path.as_bytes(), NodeKind::Persistent);
            let (data, acl) = (Some(&VALUE[..]), acl::OPEN);
            let txn = Txn::Create(CreateTxn { path, data, acl, kind, parent_cversion: 1 });
            applied.clear();
            writer.apply(&head(zxid), &txn, &mut applied);
        };
        create(1, "/app");
        (0..nodes).for_each(|node| create(node + 2, &format!("/app/node-{node:07}")));
        let (fresh, zxid) = (Fresh::below(parent)?, Zxid(nodes + 1));
        let mut made = Self { fresh, writer, tree, zxid, bytes: 0 };
        made.bytes = made.write()?;
        Ok(made)
    }

    /// Writes it once more, durably. Returns its bytes.
    pub fn write(&self) -> Result<u64> {
        let mut reader = self.tree.reader();
        reader.advance(self.zxid);
        let (zxid, digest, sessions) = (self.zxid, self.writer.digest(), Vec::new());
        let job = SnapshotJob { zxid, chain: Chain(0), digest, reader, sessions };
        Ok(job.write(&self.fresh.dir)?.bytes)
    }

    /// Of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What no load can be faster than: the file from the page cache, and its bytes summed.
    pub fn read_and_sum(&self) -> Result<u32> {
        Ok(crc32c::crc32c(&fs::read(self.fresh.path(&snapshot_name(self.zxid)))?))
    }

    /// Loads it into a tree of its own, which must be the same.
    pub fn load(&self) -> Result<()> {
        let mut loading = Loading::new(TreeOptions { hash_seed: SEED });
        loading.load(snapshot_file::open(&self.fresh.dir, self.zxid)?)?;
        let Loaded { writer, tree, .. } = loading.finish()?;
        let is_same =
            (tree.node_count(), writer.digest()) == (self.tree.node_count(), self.writer.digest());
        ensure!(is_same, "a snapshot was loaded as another tree");
        Ok(())
    }
}

/// A log of changes, without a snapshot.
pub struct LogOnDisk {
    fresh: Fresh,
    count: u64,
}

impl LogOnDisk {
    /// Of so many changes, a multiple of a thousand, below `parent`.
    pub fn make(parent: &Path, count: u64) -> Result<Self> {
        let fresh = Fresh::below(parent)?;
        let (mut log, recovered) = LogFile::open(&fresh.dir, LogOptions::default())?;
        let (mut chain, begin, mut records) = (recovered.chain, 1_u64 << 32, Vec::new());
        for first in (0..count).step_by(BATCH as usize) {
            records.clear();
            for number in first..first + BATCH {
                let path = format!("/node-{:03}", number % LOG_NODES);
                let (path, data) = (path.as_bytes(), Some(&VALUE[..]));
                let (acl, kind) = (acl::OPEN, NodeKind::Persistent);
                let parent_cversion = number as i32 + 1;
                let create = CreateTxn { path, data, acl, kind, parent_cversion };
                let set = Txn::SetData { path, data, version: (number / LOG_NODES) as i32 };
                let txn = if number < LOG_NODES { Txn::Create(create) } else { set };
                chain = record::append(&head(begin + 1 + number), &txn, chain, &mut records);
            }
            let upto = Position { zxid: Zxid(begin + first + BATCH), chain };
            let run = Run::own(log.position(), upto, records.as_slice().into());
            log.submit(&run)?;
            log.wait_all();
        }
        log.seal();
        Ok(Self { fresh, count })
    }

    /// A start without a snapshot: every record is read, checked and applied.
    pub fn replay(&self) -> Result<()> {
        let found = recover::recover(&self.fresh.dir, LogOptions::default(), SEED)?;
        ensure!(
            found.replayed == self.count,
            "of {} records {} came back",
            self.count,
            found.replayed
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_loaded_and_replayed_and_damage_is_no_figure() {
        let parent = tempfile::tempdir().expect("a folder");
        let snapshot = SnapshotOnDisk::make(parent.path(), 300).expect("room on the disk");
        snapshot.load().expect("it is whole");
        assert!(300 * 100 < snapshot.bytes(), "the values alone are more");
        let sum = snapshot.read_and_sum().expect("it is there");
        let log = LogOnDisk::make(parent.path(), 2_000).expect("room on the disk");
        log.replay().expect("it is whole");
        let file = snapshot.fresh.path(&snapshot_name(snapshot.zxid));
        let mut bytes = fs::read(&file).expect("it is there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).expect("written");
        assert_ne!(snapshot.read_and_sum().expect("it is there"), sum);
        snapshot.load().expect_err("a damaged snapshot");
    }
}
