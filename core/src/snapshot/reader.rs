//! Reading a snapshot back, chunk by chunk; nothing is handed out before its checksum held.

use super::NodeImage;
use super::files::{SnapshotInfo, snapshot_name};
use super::format::{
    CHUNK_HEAD_BYTES, ChunkHead, ChunkKind, FOOTER_BYTES, Footer, NODE_HEAD_BYTES,
    SNAPSHOT_HEAD_BYTES, SessionImage, SnapshotError, SnapshotHead, read_node, read_session,
};
use crate::disk::Disk;
use crate::log::format::ClusterId;
use crate::zxid::Zxid;

/// A snapshot that is being read. It is whole only once [`SnapshotReader::next_chunk`] has answered
/// `None`: what was read from a damaged one must be thrown away.
#[derive(Debug)]
pub struct SnapshotReader<D: Disk> {
    disk: D,
    file: D::File,
    head: SnapshotHead,
    at: u64,
    end: u64,
    chunk: Vec<u8>,
    seed: u32,
    sessions: u64,
    nodes: u64,
    footer: Option<Footer>,
}

/// Part of a snapshot.
#[derive(Clone, Copy, Debug)]
pub enum Chunk<'a> {
    /// Some sessions.
    Sessions(Entries<'a>),
    /// Some nodes, parents first.
    Nodes(Entries<'a>),
}

/// A checked chunk of its own, for another thread than the one that reads.
#[derive(Debug)]
pub struct OwnedChunk {
    kind: ChunkKind,
    bytes: Vec<u8>,
}

impl OwnedChunk {
    /// What it holds.
    pub fn chunk(&self) -> Chunk<'_> {
        let entries = Entries { body: &self.bytes[CHUNK_HEAD_BYTES..] };
        match self.kind {
            ChunkKind::Sessions => Chunk::Sessions(entries),
            ChunkKind::Nodes => Chunk::Nodes(entries),
            ChunkKind::Footer => unreachable!("a footer is no chunk of its own"),
        }
    }

    /// Its memory, for [`SnapshotReader::take_chunk`] to read another one into.
    pub fn into_room(self) -> Vec<u8> {
        self.bytes
    }
}

/// The entries of a checked chunk.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    body: &'a [u8],
}

impl<'a> Entries<'a> {
    /// As sessions.
    pub fn sessions(self) -> impl Iterator<Item = SessionImage> + use<'a> {
        let mut rest = self.body;
        std::iter::from_fn(move || {
            let (session, behind) = read_session(rest)?;
            rest = behind;
            Some(session)
        })
    }

    /// As nodes, borrowed from the chunk.
    pub fn nodes(self) -> impl Iterator<Item = NodeImage<'a>> + use<'a> {
        let mut rest = self.body;
        std::iter::from_fn(move || {
            let (node, behind) = read_node(rest)?;
            rest = behind;
            Some(node)
        })
    }
}

impl<D: Disk> SnapshotReader<D> {
    /// Opens the snapshot at `zxid`.
    pub fn open(disk: D, cluster: ClusterId, zxid: Zxid) -> Result<Self, SnapshotError> {
        Self::open_as(disk, cluster, &snapshot_name(zxid), zxid)
    }

    /// As [`SnapshotReader::open`], of a file that has another name as yet.
    pub(crate) fn open_as(
        disk: D,
        cluster: ClusterId,
        name: &str,
        zxid: Zxid,
    ) -> Result<Self, SnapshotError> {
        let file = disk.open(name)?;
        let end = disk.len(&file)?;
        let mut head = [0; SNAPSHOT_HEAD_BYTES];
        if end < head.len() as u64 {
            return Err(SnapshotError::Head);
        }
        disk.read_at(&file, 0, &mut head)?;
        let (head, seed) = SnapshotHead::decode(&head)?;
        if head.cluster != cluster || head.zxid != zxid {
            return Err(SnapshotError::Foreign);
        }
        let at = SNAPSHOT_HEAD_BYTES as u64;
        let (chunk, footer) = (Vec::new(), None);
        Ok(Self { disk, file, head, at, end, chunk, seed, sessions: 0, nodes: 0, footer })
    }

    /// What the header says.
    pub const fn head(&self) -> SnapshotHead {
        self.head
    }

    /// How many nodes its end says that there are, which nothing has confirmed yet: no more than there is room for.
    pub fn nodes_hint(&self) -> Result<u64, SnapshotError> {
        let mut bytes = [0; FOOTER_BYTES];
        let Some(at) = self.end.checked_sub(FOOTER_BYTES as u64) else { return Ok(0) };
        self.disk.read_at(&self.file, at, &mut bytes)?;
        let said = Footer::decode(&bytes).map_or(0, |footer| footer.nodes);
        Ok(said.min(self.end / NODE_HEAD_BYTES as u64))
    }

    /// The next chunk, or `None` once the footer has confirmed all before it.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk<'_>>, SnapshotError> {
        if self.footer.is_some() {
            return Ok(None);
        }
        let offset = self.at;
        let damaged = SnapshotError::Chunk { offset };
        let head = self.read_chunk()?.ok_or(damaged.clone())?;
        let body = &self.chunk[CHUNK_HEAD_BYTES..];
        match head.kind {
            ChunkKind::Sessions if self.nodes == 0 => {
                let found = count(body, read_session).ok_or(damaged.clone())?;
                self.sessions += u64::from(head.entries);
                if found != head.entries {
                    return Err(damaged);
                }
                Ok(Some(Chunk::Sessions(Entries { body })))
            }
            ChunkKind::Nodes => {
                let found = count(body, read_node).ok_or(damaged.clone())?;
                self.nodes += u64::from(head.entries);
                if found != head.entries {
                    return Err(damaged);
                }
                Ok(Some(Chunk::Nodes(Entries { body })))
            }
            ChunkKind::Footer => {
                let footer = Footer::decode(body).ok_or(damaged.clone())?;
                let confirmed = footer.zxid == self.head.zxid
                    && footer.chain == self.head.chain
                    && footer.sessions == self.sessions
                    && footer.nodes == self.nodes
                    && self.at == self.end;
                if !confirmed {
                    return Err(damaged);
                }
                self.footer = Some(footer);
                Ok(None)
            }
            ChunkKind::Sessions => Err(damaged),
        }
    }

    /// As [`SnapshotReader::next_chunk`], as a chunk that is the caller's. The next one is read into `room`.
    pub fn take_chunk(&mut self, room: Vec<u8>) -> Result<Option<OwnedChunk>, SnapshotError> {
        let kind = match self.next_chunk()? {
            Some(Chunk::Sessions(_)) => ChunkKind::Sessions,
            Some(Chunk::Nodes(_)) => ChunkKind::Nodes,
            None => return Ok(None),
        };
        Ok(Some(OwnedChunk { kind, bytes: std::mem::replace(&mut self.chunk, room) }))
    }

    /// Reads what is left, for its checksums.
    pub fn read_out(mut self) -> Result<SnapshotInfo, SnapshotError> {
        while self.next_chunk()?.is_some() {}
        Ok(self.info().expect("the footer was read"))
    }

    /// What the whole file is, once [`SnapshotReader::next_chunk`] has answered `None`.
    pub fn info(&self) -> Option<SnapshotInfo> {
        let Footer { zxid, chain, digest, sessions, nodes } = self.footer?;
        Some(SnapshotInfo { zxid, chain, digest, sessions, nodes, bytes: self.end })
    }

    /// Reads head and body and checks their checksum; `None` if it fails or the file ends.
    fn read_chunk(&mut self) -> Result<Option<ChunkHead>, SnapshotError> {
        let left = self.end - self.at;
        if left < CHUNK_HEAD_BYTES as u64 {
            return Ok(None);
        }
        let mut bytes = [0; CHUNK_HEAD_BYTES];
        self.disk.read_at(&self.file, self.at, &mut bytes)?;
        // The length is not yet checked: only what the file holds is allocated for it.
        let Some(head) = ChunkHead::decode(&bytes)
            .filter(|head| u64::from(head.body_bytes) <= left - CHUNK_HEAD_BYTES as u64)
        else {
            return Ok(None);
        };
        self.chunk.resize(CHUNK_HEAD_BYTES + head.body_bytes as usize, 0);
        self.chunk[..CHUNK_HEAD_BYTES].copy_from_slice(&bytes);
        let body_at = self.at + CHUNK_HEAD_BYTES as u64;
        self.disk.read_at(&self.file, body_at, &mut self.chunk[CHUNK_HEAD_BYTES..])?;
        let crc = crc32c::crc32c_append(self.seed, &self.chunk[4..]);
        if bytes[..4] != crc.to_le_bytes() {
            return Ok(None);
        }
        self.seed = crc;
        self.at += self.chunk.len() as u64;
        Ok(Some(head))
    }
}

/// How many entries a body is made of; `None` if not of whole ones.
fn count<'a, T>(body: &'a [u8], read: impl Fn(&'a [u8]) -> Option<(T, &'a [u8])>) -> Option<u32> {
    let (mut rest, mut count) = (body, 0);
    while !rest.is_empty() {
        rest = read(rest)?.1;
        count += 1;
    }
    Some(count)
}
