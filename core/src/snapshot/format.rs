//! The bytes of a snapshot. Drawn in `docs/formats.md`.

use thiserror::Error;

use super::NodeImage;
use crate::acl::{self, AclList};
use crate::disk::DiskError;
use crate::limits::RECORD_BYTES_MAX;
use crate::log::format::ClusterId;
use crate::record::Chain;
use crate::txn::NodeKind;
use crate::wire::handshake::Password;
use crate::zxid::{SessionId, Zxid};

/// Bytes of the header.
pub const SNAPSHOT_HEAD_BYTES: usize = 40;

/// Bytes before a chunk's body.
pub const CHUNK_HEAD_BYTES: usize = 16;

/// Bytes before a node's path.
pub const NODE_HEAD_BYTES: usize = 80;

/// Bytes of a session.
pub const SESSION_BYTES: usize = 28;

/// Bytes of the footer's body.
pub const FOOTER_BYTES: usize = 40;

/// A chunk is written once it is so large. Small enough to be resent over a poor link, large enough
/// for the disk's full speed.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Largest body of a chunk, bytes: one node may pass [`CHUNK_BYTES`] by itself, and a node is made
/// by one record, or by three when its data and its list were replaced later.
pub const CHUNK_BYTES_MAX: usize = CHUNK_BYTES + NODE_HEAD_BYTES + 3 * RECORD_BYTES_MAX;

/// Version of the layout.
pub const SNAPSHOT_VERSION: u16 = 1;

const MAGIC: [u8; 4] = *b"FWSN";
/// Stands for null data in place of a length.
const NULL: u32 = u32::MAX;

const _: () = assert!(36 + size_of::<Chain>() == SNAPSHOT_HEAD_BYTES);
const _: () = assert!(76 + size_of::<i32>() == NODE_HEAD_BYTES);
const _: () = assert!(12 + size_of::<Password>() == SESSION_BYTES);
const _: () = assert!(CHUNK_BYTES_MAX < u32::MAX as usize);

/// Why a snapshot cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SnapshotError {
    /// Not ours, or damaged.
    #[error("its header is damaged")]
    Head,
    /// Of a later version.
    #[error("format version {0} is not known to this version of Farwatch")]
    Version(u16),
    /// Of another ensemble, or under another name than its own.
    #[error("it is another snapshot than its place says")]
    Foreign,
    /// Damaged or cut off.
    #[error("the chunk at byte {offset} is damaged")]
    Chunk {
        /// Where it begins.
        offset: u64,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The first bytes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    /// Whose.
    pub cluster: ClusterId,
    /// Exact at.
    pub zxid: Zxid,
    /// Of the record at that zxid.
    pub chain: Chain,
}

impl SnapshotHead {
    /// The bytes.
    pub fn encode(&self) -> [u8; SNAPSHOT_HEAD_BYTES] {
        let mut head = [0; SNAPSHOT_HEAD_BYTES];
        head[..4].copy_from_slice(&MAGIC);
        head[8..10].copy_from_slice(&SNAPSHOT_VERSION.to_le_bytes());
        head[16..24].copy_from_slice(&self.cluster.0.to_le_bytes());
        head[24..32].copy_from_slice(&self.zxid.0.to_le_bytes());
        head[36..40].copy_from_slice(&self.chain.0.to_le_bytes());
        let crc = crc32c::crc32c(&head[8..]);
        head[4..8].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// The header in `head`, checked; also what seeds the first chunk's checksum.
    pub fn decode(head: &[u8; SNAPSHOT_HEAD_BYTES]) -> Result<(Self, u32), SnapshotError> {
        let crc = crc32c::crc32c(&head[8..]);
        if head[..4] != MAGIC || u32_at(head, 4) != crc {
            return Err(SnapshotError::Head);
        }
        let version = u16::from_le_bytes([head[8], head[9]]);
        if version != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version(version));
        }
        let cluster = ClusterId(u64_at(head, 16));
        let (zxid, chain) = (Zxid(u64_at(head, 24)), Chain(u32_at(head, 36)));
        Ok((Self { cluster, zxid, chain }, crc))
    }
}

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkKind {
    /// Sessions.
    Sessions,
    /// Nodes, parents first.
    Nodes,
    /// The end.
    Footer,
}

/// What stands before a chunk's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHead {
    /// What it holds.
    pub kind: ChunkKind,
    /// Bytes of the body.
    pub body_bytes: u32,
    /// Entries in it.
    pub entries: u32,
}

impl ChunkHead {
    /// Fills in the head of `chunk` (head and body) and returns its checksum.
    pub fn seal(&self, chunk: &mut [u8], seed: u32) -> u32 {
        assert!(chunk.len() == CHUNK_HEAD_BYTES + self.body_bytes as usize);
        let kind: u32 = match self.kind {
            ChunkKind::Sessions => 1,
            ChunkKind::Nodes => 2,
            ChunkKind::Footer => 3,
        };
        chunk[4..8].copy_from_slice(&kind.to_le_bytes());
        chunk[8..12].copy_from_slice(&self.body_bytes.to_le_bytes());
        chunk[12..16].copy_from_slice(&self.entries.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &chunk[4..]);
        chunk[..4].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// The head in `head`, not yet checked against its checksum; `None` for what is never written.
    pub fn decode(head: &[u8; CHUNK_HEAD_BYTES]) -> Option<Self> {
        let kind = match u32_at(head, 4) {
            1 => ChunkKind::Sessions,
            2 => ChunkKind::Nodes,
            3 => ChunkKind::Footer,
            _unknown => return None,
        };
        let (body_bytes, entries) = (u32_at(head, 8), u32_at(head, 12));
        (body_bytes as usize <= CHUNK_BYTES_MAX).then_some(Self { kind, body_bytes, entries })
    }
}

/// The last chunk's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// As in the header.
    pub zxid: Zxid,
    /// As in the header.
    pub chain: Chain,
    /// Of the tree.
    pub digest: u64,
    /// Sessions in the file.
    pub sessions: u64,
    /// Nodes in the file.
    pub nodes: u64,
}

impl Footer {
    /// The bytes.
    pub fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        bytes[..8].copy_from_slice(&self.zxid.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.chain.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.digest.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sessions.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.nodes.to_le_bytes());
        bytes
    }

    /// The footer in a chunk's body.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; FOOTER_BYTES] = bytes.try_into().ok()?;
        Some(Self {
            zxid: Zxid(u64_at(bytes, 0)),
            chain: Chain(u32_at(bytes, 8)),
            digest: u64_at(bytes, 16),
            sessions: u64_at(bytes, 24),
            nodes: u64_at(bytes, 32),
        })
    }
}

/// One session as a snapshot holds it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionImage {
    /// Its id.
    pub id: SessionId,
    /// Negotiated timeout, milliseconds.
    pub timeout_ms: i32,
    /// Its secret.
    pub password: Password,
}

/// Appends a session to a chunk.
pub fn push_session(session: &SessionImage, out: &mut Vec<u8>) {
    out.extend_from_slice(&session.id.0.to_le_bytes());
    out.extend_from_slice(&session.timeout_ms.to_le_bytes());
    out.extend_from_slice(&session.password.0);
}

/// The session at the start of `bytes`, and what is behind it.
pub(super) fn read_session(bytes: &[u8]) -> Option<(SessionImage, &[u8])> {
    let (session, rest) = bytes.split_first_chunk::<SESSION_BYTES>()?;
    let image = SessionImage {
        id: SessionId(u64_at(session, 0)),
        timeout_ms: u32_at(session, 8) as i32,
        password: Password(session[12..28].try_into().expect("sixteen bytes")),
    };
    Some((image, rest))
}

/// Appends a node to a chunk.
pub fn push_node(node: &NodeImage<'_>, out: &mut Vec<u8>) {
    let (kind, owner) = match node.kind {
        NodeKind::Persistent => (0, 0),
        NodeKind::Ephemeral(session) => (1, session.0),
        NodeKind::Container => (2, 0),
        NodeKind::Ttl(ms) => (3, ms as u64),
    };
    // Most nodes are open to all: eight bytes of nothing instead of thirty-one.
    let acl = if node.acl == acl::OPEN { &[] } else { node.acl.as_bytes() };
    let mut head = [0; NODE_HEAD_BYTES];
    head[..4].copy_from_slice(&length(node.path).to_le_bytes());
    head[4..8].copy_from_slice(&node.data.map_or(NULL, length).to_le_bytes());
    head[8..12].copy_from_slice(&length(acl).to_le_bytes());
    head[12] = kind;
    head[16..24].copy_from_slice(&owner.to_le_bytes());
    head[24..32].copy_from_slice(&node.czxid.0.to_le_bytes());
    head[32..40].copy_from_slice(&node.mzxid.0.to_le_bytes());
    head[40..48].copy_from_slice(&node.pzxid.0.to_le_bytes());
    head[48..56].copy_from_slice(&node.ctime.to_le_bytes());
    head[56..64].copy_from_slice(&node.mtime.to_le_bytes());
    head[64..68].copy_from_slice(&node.version.to_le_bytes());
    head[68..72].copy_from_slice(&node.cversion.to_le_bytes());
    head[72..76].copy_from_slice(&node.aversion.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(node.path);
    out.extend_from_slice(acl);
    out.extend_from_slice(node.data.unwrap_or_default());
}

/// The node at the start of `bytes`, and what is behind it.
pub(super) fn read_node(bytes: &[u8]) -> Option<(NodeImage<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<NODE_HEAD_BYTES>()?;
    let (path, rest) = rest.split_at_checked(u32_at(head, 0) as usize)?;
    let (acl, rest) = rest.split_at_checked(u32_at(head, 8) as usize)?;
    let (data, rest) = match u32_at(head, 4) {
        NULL => (None, rest),
        length => {
            let (data, rest) = rest.split_at_checked(length as usize)?;
            (Some(data), rest)
        }
    };
    let owner = u64_at(head, 16);
    let kind = match head[12] {
        0 => NodeKind::Persistent,
        1 => NodeKind::Ephemeral(SessionId(owner)),
        2 => NodeKind::Container,
        3 => NodeKind::Ttl(owner as i64),
        _unknown => return None,
    };
    let acl = if acl.is_empty() { acl::OPEN } else { AclList::from_bytes(acl).ok()? };
    let image = NodeImage {
        path,
        data,
        acl,
        kind,
        czxid: Zxid(u64_at(head, 24)),
        mzxid: Zxid(u64_at(head, 32)),
        pzxid: Zxid(u64_at(head, 40)),
        ctime: u64_at(head, 48) as i64,
        mtime: u64_at(head, 56) as i64,
        version: u32_at(head, 64) as i32,
        cversion: u32_at(head, 68) as i32,
        aversion: u32_at(head, 72) as i32,
    };
    Some((image, rest))
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("limited by the record that brought it")
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
