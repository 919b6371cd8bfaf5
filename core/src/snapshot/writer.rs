//! Writing a snapshot: sessions, nodes, footer; a name only once all of it is durable.

use super::NodeImage;
use super::files::{SNAPSHOT_DIRECTORY, SnapshotInfo, snapshot_name};
use super::format::{
    CHUNK_BYTES, CHUNK_BYTES_MAX, CHUNK_HEAD_BYTES, ChunkHead, ChunkKind, Footer,
    SNAPSHOT_HEAD_BYTES, SessionImage, SnapshotHead, push_node, push_session,
};
use crate::disk::{Disk, DiskError};

/// So much is made durable at a time: a disk that is given a large snapshot at once makes the log, which syncs
/// small batches meanwhile, wait for all of it.
const SYNC_BYTES: u64 = 1 << 20;

/// A snapshot that is being written. Dropped before it has its name, as it is where the disk is full, it gives
/// its space back: others need that, and the next attempt is written to another file.
#[derive(Debug)]
pub struct SnapshotWriter<D: Disk> {
    disk: D,
    file: D::File,
    head: SnapshotHead,
    /// Where the next chunk goes.
    at: u64,
    /// How much of it is durable.
    synced: u64,
    chunk: Vec<u8>,
    kind: ChunkKind,
    entries: u32,
    /// Seeds the next chunk's checksum.
    seed: u32,
    sessions: u64,
    nodes: u64,
    /// Whether the file has its own name.
    named: bool,
}

impl<D: Disk> SnapshotWriter<D> {
    /// Begins a snapshot.
    pub fn create(disk: D, head: SnapshotHead) -> Result<Self, DiskError> {
        let file = disk.create(&temporary_name(&head))?;
        let bytes = head.encode();
        let seed = crc32c::crc32c(&bytes[8..]);
        let mut chunk = Vec::with_capacity(CHUNK_HEAD_BYTES + CHUNK_BYTES);
        chunk.resize(CHUNK_HEAD_BYTES, 0);
        let begun = Self {
            disk,
            file,
            head,
            at: SNAPSHOT_HEAD_BYTES as u64,
            synced: 0,
            chunk,
            kind: ChunkKind::Sessions,
            entries: 0,
            seed,
            sessions: 0,
            nodes: 0,
            named: false,
        };
        begun.disk.write_at(&begun.file, 0, &bytes)?;
        Ok(begun)
    }

    /// Adds a session. All sessions come before the first node.
    pub fn session(&mut self, session: &SessionImage) -> Result<(), DiskError> {
        assert!(self.kind == ChunkKind::Sessions, "sessions come before nodes");
        push_session(session, &mut self.chunk);
        self.sessions += 1;
        self.count_entry()
    }

    /// Adds a node. Parents come before their children.
    pub fn node(&mut self, node: &NodeImage<'_>) -> Result<(), DiskError> {
        if self.kind == ChunkKind::Sessions {
            self.flush()?;
            self.kind = ChunkKind::Nodes;
        }
        push_node(node, &mut self.chunk);
        self.nodes += 1;
        self.count_entry()
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.at + self.chunk.len() as u64
    }

    /// Completes the file durably and gives it its name.
    pub fn finish(mut self, digest: u64) -> Result<SnapshotInfo, DiskError> {
        self.flush()?;
        let SnapshotHead { zxid, chain, .. } = self.head;
        let footer = Footer { zxid, chain, digest, sessions: self.sessions, nodes: self.nodes };
        self.chunk.extend_from_slice(&footer.encode());
        (self.kind, self.entries) = (ChunkKind::Footer, 1);
        self.flush()?;
        self.disk.sync(&self.file)?;
        self.disk.rename(&temporary_name(&self.head), &snapshot_name(zxid))?;
        self.named = true;
        self.disk.sync_dir(SNAPSHOT_DIRECTORY)?;
        let (sessions, nodes) = (self.sessions, self.nodes);
        Ok(SnapshotInfo { zxid, chain, digest, sessions, nodes, bytes: self.at })
    }

    fn count_entry(&mut self) -> Result<(), DiskError> {
        self.entries += 1;
        if self.chunk.len() >= CHUNK_HEAD_BYTES + CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        if self.entries == 0 {
            return Ok(());
        }
        let body_bytes = self.chunk.len() - CHUNK_HEAD_BYTES;
        // Reading would refuse it, so it must never be written.
        assert!(body_bytes <= CHUNK_BYTES_MAX, "a chunk of {body_bytes} bytes");
        let (kind, entries) = (self.kind, self.entries);
        let head = ChunkHead { kind, body_bytes: body_bytes as u32, entries };
        self.seed = head.seal(&mut self.chunk, self.seed);
        self.disk.write_at(&self.file, self.at, &self.chunk)?;
        self.at += self.chunk.len() as u64;
        self.chunk.truncate(CHUNK_HEAD_BYTES);
        self.entries = 0;
        if SYNC_BYTES <= self.at - self.synced {
            self.disk.sync(&self.file)?;
            self.synced = self.at;
        }
        Ok(())
    }
}

impl<D: Disk> Drop for SnapshotWriter<D> {
    fn drop(&mut self) {
        if !self.named {
            // If this fails too, the next start removes it.
            let _removed = self.disk.remove(&temporary_name(&self.head));
        }
    }
}

fn temporary_name(head: &SnapshotHead) -> String {
    format!("{}.tmp", snapshot_name(head.zxid))
}
