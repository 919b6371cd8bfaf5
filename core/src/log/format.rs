//! The bytes of a segment: its header, and the head of each batch. Drawn in `docs/formats.md`.

use thiserror::Error;

use crate::record::Chain;
use crate::zxid::Zxid;

/// What a batch starts and ends on. The unit that disks write whole, so that a torn write never
/// reaches into a block with acknowledged records.
pub const BLOCK_BYTES: usize = 4096;

/// Bytes of a segment's header: one block.
pub const SEGMENT_HEAD_BYTES: usize = BLOCK_BYTES;

/// Bytes of a batch's head.
pub const BATCH_HEAD_BYTES: usize = 64;

/// Version of segment and batch layout.
pub const LOG_VERSION: u16 = 1;

const SEGMENT_MAGIC: [u8; 4] = *b"FWLG";
const BATCH_MAGIC: [u8; 4] = *b"FWBT";

/// End of the fields of a segment's header; zeros follow.
const SEGMENT_FIELDS_END: usize = 64;

const KIND_RECORDS: u16 = 0;
const KIND_SEAL: u16 = 1;

// The last field of each head ends where the head ends.
const _: () = assert!(56 + size_of::<u64>() == SEGMENT_FIELDS_END);
const _: () = assert!(60 + size_of::<u32>() == BATCH_HEAD_BYTES);
const _: () = assert!(BATCH_HEAD_BYTES < BLOCK_BYTES && SEGMENT_FIELDS_END < SEGMENT_HEAD_BYTES);

/// Which ensemble bytes belong to. Random, made with the first data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterId(pub u64);

/// What tells the batches of a segment from stale ones of a file that is used again. Random; never
/// leaves the server, so that no client can write a block that looks like a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salt(pub u64);

/// A segment's first block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// Whose history.
    pub cluster: ClusterId,
    /// What its batches carry.
    pub salt: Salt,
    /// Of the first record; also the file's name.
    pub first: Zxid,
    /// Of the record before the first one, durable when this header was written.
    pub before: Zxid,
    /// Of the record before the first one.
    pub chain_before: Chain,
    /// Length of the file.
    pub bytes: u64,
}

/// Why a block is not a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SegmentHeadError {
    /// Not ours at all, or its first bytes were damaged.
    #[error("it does not begin as a segment of the log does")]
    Magic,
    /// Damaged.
    #[error("the checksum of its header fails")]
    Checksum,
    /// Cut off.
    #[error("it is shorter than when it was made")]
    Length,
    /// Of a later version of Farwatch.
    #[error("format version {0} is not known to this version of Farwatch")]
    Version(u16),
}

impl SegmentHead {
    /// The block.
    pub fn encode(&self) -> [u8; SEGMENT_HEAD_BYTES] {
        let mut block = [0; SEGMENT_HEAD_BYTES];
        block[..4].copy_from_slice(&SEGMENT_MAGIC);
        block[8..10].copy_from_slice(&LOG_VERSION.to_le_bytes());
        block[16..24].copy_from_slice(&self.cluster.0.to_le_bytes());
        block[24..32].copy_from_slice(&self.salt.0.to_le_bytes());
        block[32..40].copy_from_slice(&self.first.0.to_le_bytes());
        block[40..48].copy_from_slice(&self.before.0.to_le_bytes());
        block[48..52].copy_from_slice(&self.chain_before.0.to_le_bytes());
        block[56..64].copy_from_slice(&self.bytes.to_le_bytes());
        let crc = crc32c::crc32c(&block[8..]);
        block[4..8].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// The header in `block`, checked.
    pub fn decode(block: &[u8; SEGMENT_HEAD_BYTES]) -> Result<Self, SegmentHeadError> {
        if block[..4] != SEGMENT_MAGIC {
            return Err(SegmentHeadError::Magic);
        }
        if u32_at(block, 4) != crc32c::crc32c(&block[8..]) {
            return Err(SegmentHeadError::Checksum);
        }
        let version = u16::from_le_bytes([block[8], block[9]]);
        if version != LOG_VERSION {
            return Err(SegmentHeadError::Version(version));
        }
        Ok(Self {
            cluster: ClusterId(u64_at(block, 16)),
            salt: Salt(u64_at(block, 24)),
            first: Zxid(u64_at(block, 32)),
            before: Zxid(u64_at(block, 40)),
            chain_before: Chain(u32_at(block, 48)),
            bytes: u64_at(block, 56),
        })
    }
}

/// What a batch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchKind {
    /// Whole records.
    Records,
    /// None: it says that everything before it is durable.
    Seal,
}

/// The head of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHead {
    /// What it is for.
    pub kind: BatchKind,
    /// Bytes of records behind the head; zeros follow up to the next block.
    pub body_bytes: u32,
    /// Over the body.
    pub body_crc: u32,
    /// Records in the body.
    pub records: u32,
    /// The segment's.
    pub salt: Salt,
    /// Of the first record; of the last one before it when there is none.
    pub first: Zxid,
    /// Of the last record.
    pub last: Zxid,
    /// Known to be durable, and so perhaps acknowledged, when this batch was submitted.
    pub durable_upto: Zxid,
    /// Seeds the first record.
    pub chain_before: Chain,
    /// Of the last record.
    pub chain_after: Chain,
}

impl BatchHead {
    /// The bytes.
    pub fn encode(&self) -> [u8; BATCH_HEAD_BYTES] {
        let kind = match self.kind {
            BatchKind::Records => KIND_RECORDS,
            BatchKind::Seal => KIND_SEAL,
        };
        let mut head = [0; BATCH_HEAD_BYTES];
        head[..4].copy_from_slice(&BATCH_MAGIC);
        head[8..12].copy_from_slice(&self.body_bytes.to_le_bytes());
        head[12..16].copy_from_slice(&self.body_crc.to_le_bytes());
        head[16..20].copy_from_slice(&self.records.to_le_bytes());
        head[20..22].copy_from_slice(&kind.to_le_bytes());
        head[22..24].copy_from_slice(&LOG_VERSION.to_le_bytes());
        head[24..32].copy_from_slice(&self.salt.0.to_le_bytes());
        head[32..40].copy_from_slice(&self.first.0.to_le_bytes());
        head[40..48].copy_from_slice(&self.last.0.to_le_bytes());
        head[48..56].copy_from_slice(&self.durable_upto.0.to_le_bytes());
        head[56..60].copy_from_slice(&self.chain_before.0.to_le_bytes());
        head[60..64].copy_from_slice(&self.chain_after.0.to_le_bytes());
        let crc = crc32c::crc32c(&head[8..]);
        head[4..8].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// The head at the start of `bytes`, if there is one and it belongs to the segment of `salt`.
    pub fn decode(bytes: &[u8], salt: Salt) -> Option<Self> {
        let head = bytes.first_chunk::<BATCH_HEAD_BYTES>()?;
        let known = head[..4] == BATCH_MAGIC
            && u64_at(head, 24) == salt.0
            && u32_at(head, 4) == crc32c::crc32c(&head[8..])
            && u16::from_le_bytes([head[22], head[23]]) == LOG_VERSION;
        let kind = match u16::from_le_bytes([head[20], head[21]]) {
            KIND_RECORDS => BatchKind::Records,
            KIND_SEAL => BatchKind::Seal,
            _unknown => return None,
        };
        known.then(|| Self {
            kind,
            body_bytes: u32_at(head, 8),
            body_crc: u32_at(head, 12),
            records: u32_at(head, 16),
            salt,
            first: Zxid(u64_at(head, 32)),
            last: Zxid(u64_at(head, 40)),
            durable_upto: Zxid(u64_at(head, 48)),
            chain_before: Chain(u32_at(head, 56)),
            chain_after: Chain(u32_at(head, 60)),
        })
    }

    /// Bytes from this head to the next batch.
    pub const fn padded_bytes(&self) -> usize {
        padded_bytes(self.body_bytes as usize)
    }
}

/// Whether a block was begun as a batch of this segment, be it whole or torn. Such a block is
/// erased when the tail is cut, so that it can never follow a new one.
pub fn is_marked(block: &[u8], salt: Salt) -> bool {
    block[..4] == BATCH_MAGIC && u64_at(block, 24) == salt.0
}

/// Bytes on disk of a batch with so many bytes of records.
pub const fn padded_bytes(body_bytes: usize) -> usize {
    (BATCH_HEAD_BYTES + body_bytes).next_multiple_of(BLOCK_BYTES)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
