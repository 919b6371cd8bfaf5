//! A transaction as bytes: written once by the leader, the same on every disk and link, read in place.
//!
//! ```text
//! 0        4        8                16               24               32       36   38 39 40
//! ├ crc ───┼ length ┼ zxid ──────────┼ time_ms ───────┼ session ───────┼ cxid ──┼kind┼v─┼f─┼ archive …
//!   u32      u32      u64              i64              u64              i32      u16  u8 u8  (length bytes)
//! ```
//!
//! Little endian. `crc` is crc32c over everything behind it, seeded with the crc of the record
//! before it in the *history*: the checksums form a chain. A record is therefore the same on every
//! server, a gap or a foreign history shows at once, and a stale record of a recycled segment
//! cannot pass. The archive is one frozen struct per (kind, version); a change is a new version.

use rkyv::rancor;
use rkyv::ser::Serializer;
use rkyv::ser::allocator::SubAllocator;
use rkyv::with::InlineAsBox;
use rkyv::{Archive, Serialize};
use std::mem::MaybeUninit;
use thiserror::Error;

use crate::acl::{self, AclList};
use crate::limits::RECORD_BYTES_MAX;
use crate::txn::{CreateTxn, MultiTxn, NodeKind, Txn, TxnHead};
use crate::wire::ErrorCode;
use crate::wire::handshake::Password;
use crate::zxid::{SessionId, Zxid};

pub mod run;

/// Bytes before the archive.
pub const HEAD_BYTES: usize = 40;

/// Bytes before the archive of a multi's part: length, kind, version, zero.
const PART_HEAD_BYTES: usize = 8;

/// The checksum of a record, which seeds the next one's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain(pub u32);

/// Why bytes are not the next record of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The bytes end inside the record.
    #[error("the bytes end inside a record")]
    Truncated,
    /// The length passes [`RECORD_BYTES_MAX`].
    #[error("a record of {0} bytes is larger than any that is written")]
    TooLong(u32),
    /// The checksum is not that of these bytes behind that record.
    #[error("checksum {found:#010x} where {computed:#010x} is due")]
    Checksum {
        /// As stored.
        found: u32,
        /// Over these bytes, seeded with the record before.
        computed: u32,
    },
    /// A kind or version that this build does not know.
    #[error("record kind {kind} version {version} is not known to this version of Farwatch")]
    UnknownKind {
        /// The kind.
        kind: u16,
        /// Its version.
        version: u8,
    },
    /// The checksum holds and the content does not.
    #[error("a record of kind {kind} holds what was never written")]
    Content {
        /// The kind.
        kind: u16,
    },
}

/// Frozen archives, one struct per kind and version.
mod archive {
    use super::{Archive, InlineAsBox, Serialize};

    #[derive(Archive, Serialize)]
    pub struct CreateV1<'a> {
        #[rkyv(with = InlineAsBox)]
        pub path: &'a [u8],
        #[rkyv(with = InlineAsBox)]
        pub data: &'a [u8],
        /// Jute's `vector<ACL>`; empty stands for `world:anyone:31`.
        #[rkyv(with = InlineAsBox)]
        pub acl: &'a [u8],
        /// Session of an ephemeral, milliseconds of a TTL node, else 0.
        pub owner: u64,
        pub parent_cversion: i32,
        /// 0 persistent, 1 ephemeral, 2 container, 3 TTL.
        pub kind: u8,
        pub has_data: bool,
    }

    #[derive(Archive, Serialize)]
    pub struct PathV1<'a> {
        #[rkyv(with = InlineAsBox)]
        pub path: &'a [u8],
    }

    #[derive(Archive, Serialize)]
    pub struct SetDataV1<'a> {
        #[rkyv(with = InlineAsBox)]
        pub path: &'a [u8],
        #[rkyv(with = InlineAsBox)]
        pub data: &'a [u8],
        pub version: i32,
        pub has_data: bool,
    }

    #[derive(Archive, Serialize)]
    pub struct SetAclV1<'a> {
        #[rkyv(with = InlineAsBox)]
        pub path: &'a [u8],
        #[rkyv(with = InlineAsBox)]
        pub acl: &'a [u8],
        pub version: i32,
    }

    #[derive(Archive, Serialize)]
    pub struct CreateSessionV1 {
        pub timeout_ms: i32,
        pub password: [u8; 16],
    }

    #[derive(Archive, Serialize)]
    pub struct ErrorV1 {
        pub code: i32,
    }

    /// The format: these sizes and no alignment. A failure here means that rkyv's format features
    /// changed and that no existing log could be read.
    const _: () = {
        assert!(size_of::<ArchivedCreateV1<'_>>() == 38 && align_of::<ArchivedCreateV1<'_>>() == 1);
        assert!(size_of::<ArchivedPathV1<'_>>() == 8 && align_of::<ArchivedPathV1<'_>>() == 1);
        assert!(size_of::<ArchivedSetDataV1<'_>>() == 21);
        assert!(size_of::<ArchivedSetAclV1<'_>>() == 20);
        assert!(size_of::<ArchivedCreateSessionV1>() == 20);
        assert!(size_of::<ArchivedErrorV1>() == 4);
    };
}

const CREATE: u16 = 1;
const DELETE: u16 = 2;
const SET_DATA: u16 = 3;
const SET_ACL: u16 = 4;
const CHECK: u16 = 5;
const CREATE_SESSION: u16 = 6;
const CLOSE_SESSION: u16 = 7;
const ERROR: u16 = 8;
const MULTI: u16 = 9;

/// Appends the record of `txn` to `out` and returns the checksum that seeds the next one.
///
/// Panics when the archive passes [`RECORD_BYTES_MAX`]: `prepare` lets no such request through.
pub fn append(head: &TxnHead, txn: &Txn<'_>, chain: Chain, out: &mut Vec<u8>) -> Chain {
    let start = out.len();
    out.resize(start + HEAD_BYTES, 0);
    let (kind, version) = append_archive(txn, out);
    let length = out.len() - start - HEAD_BYTES;
    assert!(length <= RECORD_BYTES_MAX, "a record of {length} bytes was prepared");
    let record = &mut out[start..];
    record[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    record[8..16].copy_from_slice(&head.zxid.0.to_le_bytes());
    record[16..24].copy_from_slice(&head.time_ms.to_le_bytes());
    record[24..32].copy_from_slice(&head.session.0.to_le_bytes());
    record[32..36].copy_from_slice(&head.cxid.to_le_bytes());
    record[36..38].copy_from_slice(&kind.to_le_bytes());
    record[38] = version;
    let crc = crc32c::crc32c_append(chain.0, &record[4..]);
    record[..4].copy_from_slice(&crc.to_le_bytes());
    Chain(crc)
}

/// Appends one part of a multi to `parts`. Only node changes, checks and errors are parts.
pub fn push_part(txn: &Txn<'_>, parts: &mut Vec<u8>) {
    assert!(
        !matches!(txn, Txn::Multi(_) | Txn::CreateSession { .. } | Txn::CloseSession),
        "a multi holds node changes only"
    );
    let start = parts.len();
    parts.resize(start + PART_HEAD_BYTES, 0);
    let (kind, version) = append_archive(txn, parts);
    let length = (parts.len() - start - PART_HEAD_BYTES) as u32;
    parts[start..start + 4].copy_from_slice(&length.to_le_bytes());
    parts[start + 4..start + 6].copy_from_slice(&kind.to_le_bytes());
    parts[start + 6] = version;
}

fn append_archive(txn: &Txn<'_>, out: &mut Vec<u8>) -> (u16, u8) {
    match *txn {
        Txn::Create(create) => {
            let (kind, owner) = match create.kind {
                NodeKind::Persistent => (0, 0),
                NodeKind::Ephemeral(session) => (1, session.0),
                NodeKind::Container => (2, 0),
                NodeKind::Ttl(ms) => (3, ms as u64),
            };
            let value = archive::CreateV1 {
                path: create.path,
                data: create.data.unwrap_or_default(),
                acl: acl_to_archive(create.acl),
                owner,
                parent_cversion: create.parent_cversion,
                kind,
                has_data: create.data.is_some(),
            };
            serialize(&value, out);
            (CREATE, 1)
        }
        Txn::Delete { path } => {
            serialize(&archive::PathV1 { path }, out);
            (DELETE, 1)
        }
        Txn::SetData { path, data, version } => {
            let has_data = data.is_some();
            let data = data.unwrap_or_default();
            serialize(&archive::SetDataV1 { path, data, version, has_data }, out);
            (SET_DATA, 1)
        }
        Txn::SetAcl { path, acl, version } => {
            let acl = acl_to_archive(acl);
            serialize(&archive::SetAclV1 { path, acl, version }, out);
            (SET_ACL, 1)
        }
        Txn::Check { path } => {
            serialize(&archive::PathV1 { path }, out);
            (CHECK, 1)
        }
        Txn::CreateSession { timeout_ms, password } => {
            serialize(&archive::CreateSessionV1 { timeout_ms, password: password.0 }, out);
            (CREATE_SESSION, 1)
        }
        Txn::CloseSession => (CLOSE_SESSION, 1),
        Txn::Error(code) => {
            serialize(&archive::ErrorV1 { code: code.code() }, out);
            (ERROR, 1)
        }
        Txn::Multi(multi) => {
            out.extend_from_slice(multi.parts);
            (MULTI, 1)
        }
    }
}

type ArchiveSerializer<'o, 's> = Serializer<&'o mut Vec<u8>, SubAllocator<'s>, ()>;

fn serialize<T>(value: &T, out: &mut Vec<u8>)
where
    T: for<'o, 's> Serialize<rancor::Strategy<ArchiveSerializer<'o, 's>, rancor::Panic>>,
{
    let mut scratch = [MaybeUninit::<u8>::uninit(); 64];
    let mut serializer = Serializer::new(out, SubAllocator::new(&mut scratch), ());
    let Ok(_root) = rkyv::api::serialize_using::<_, rancor::Panic>(value, &mut serializer);
}

fn acl_to_archive(list: AclList<'_>) -> &[u8] {
    if list == acl::OPEN { &[] } else { list.as_bytes() }
}

/// The lengths of whole records that stand one behind the other, bytes, their heads included.
pub fn lengths(records: &[u8]) -> impl Iterator<Item = usize> + use<'_> {
    let mut rest = records;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = HEAD_BYTES + u32_at(rest, 4) as usize;
        rest = &rest[length..];
        Some(length)
    })
}

/// One whole record of a history, checked.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    bytes: &'a [u8],
    head: TxnHead,
    chain: Chain,
}

impl<'a> Record<'a> {
    /// Checks the record at the start of `bytes` as the one that follows `chain`, content included,
    /// so that everything read from it later cannot fail. Bytes behind it are left alone.
    pub fn read(bytes: &'a [u8], chain: Chain) -> Result<Self, RecordError> {
        let head = bytes.first_chunk::<HEAD_BYTES>().ok_or(RecordError::Truncated)?;
        let length = u32_at(head, 4);
        if length as usize > RECORD_BYTES_MAX {
            return Err(RecordError::TooLong(length));
        }
        let record = bytes.get(..HEAD_BYTES + length as usize).ok_or(RecordError::Truncated)?;
        let found = u32_at(head, 0);
        let computed = crc32c::crc32c_append(chain.0, &record[4..]);
        if found != computed {
            return Err(RecordError::Checksum { found, computed });
        }
        let (kind, version) = (u16::from_le_bytes([head[36], head[37]]), head[38]);
        let txn = read_archive(kind, version, &record[HEAD_BYTES..])?;
        if head[39] != 0 {
            return Err(RecordError::Content { kind });
        }
        if let Txn::Multi(multi) = txn {
            let mut rest = multi.parts;
            while !rest.is_empty() {
                rest = read_part(rest)?.1;
            }
        }
        Ok(Self { bytes: record, head: read_head(record), chain: Chain(found) })
    }

    /// The record at the start of bytes that [`append`] wrote in this process and nobody changed:
    /// as [`Record::read`] without the checksum. Panics where that would refuse the content.
    pub fn own(bytes: &'a [u8]) -> Self {
        let length = u32_at(bytes, 4) as usize;
        let bytes = &bytes[..HEAD_BYTES + length];
        Self { bytes, head: read_head(bytes), chain: Chain(u32_at(bytes, 0)) }
    }

    /// Who, when and where in the history.
    pub const fn head(&self) -> TxnHead {
        self.head
    }

    /// What changes, borrowed from the record's bytes.
    pub fn txn(&self) -> Txn<'a> {
        let kind = u16::from_le_bytes([self.bytes[36], self.bytes[37]]);
        read_archive(kind, self.bytes[38], &self.bytes[HEAD_BYTES..]).expect("checked by read")
    }

    /// The record as it is on disk and on links.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What seeds the checksum of the next record.
    pub const fn chain(&self) -> Chain {
        self.chain
    }
}

impl<'a> MultiTxn<'a> {
    /// The parts in order. They were checked when the record was, or come from [`push_part`].
    pub fn iter(&self) -> impl Iterator<Item = Txn<'a>> + use<'a> {
        let mut rest = self.parts;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (part, behind) = read_part(rest).expect("checked with its record");
            rest = behind;
            Some(part)
        })
    }
}

fn read_head(bytes: &[u8]) -> TxnHead {
    TxnHead {
        zxid: Zxid(u64_at(bytes, 8)),
        time_ms: u64_at(bytes, 16) as i64,
        session: SessionId(u64_at(bytes, 24)),
        cxid: u32_at(bytes, 32) as i32,
    }
}

fn read_part(bytes: &[u8]) -> Result<(Txn<'_>, &[u8]), RecordError> {
    let head =
        bytes.first_chunk::<PART_HEAD_BYTES>().ok_or(RecordError::Content { kind: MULTI })?;
    let length = u32_at(head, 0) as usize;
    let (kind, version) = (u16::from_le_bytes([head[4], head[5]]), head[6]);
    let archive = bytes
        .get(PART_HEAD_BYTES..PART_HEAD_BYTES.saturating_add(length))
        .ok_or(RecordError::Content { kind: MULTI })?;
    if matches!(kind, MULTI | CREATE_SESSION | CLOSE_SESSION) || head[7] != 0 {
        return Err(RecordError::Content { kind: MULTI });
    }
    Ok((read_archive(kind, version, archive)?, &bytes[PART_HEAD_BYTES + length..]))
}

fn read_archive(kind: u16, version: u8, bytes: &[u8]) -> Result<Txn<'_>, RecordError> {
    let content = RecordError::Content { kind };
    macro_rules! access {
        ($archived:ty) => {
            rkyv::access::<$archived, rancor::Failure>(bytes).map_err(|_| content)?
        };
    }
    Ok(match (kind, version) {
        (CREATE, 1) => {
            let a = access!(archive::ArchivedCreateV1<'_>);
            let owner = a.owner.to_native();
            Txn::Create(CreateTxn {
                path: &a.path,
                data: a.has_data.then_some(&*a.data),
                acl: acl_from_archive(&a.acl).ok_or(content)?,
                kind: match a.kind {
                    0 => NodeKind::Persistent,
                    1 => NodeKind::Ephemeral(SessionId(owner)),
                    2 => NodeKind::Container,
                    3 => NodeKind::Ttl(owner as i64),
                    _unknown => return Err(content),
                },
                parent_cversion: a.parent_cversion.to_native(),
            })
        }
        (DELETE, 1) => Txn::Delete { path: &access!(archive::ArchivedPathV1<'_>).path },
        (SET_DATA, 1) => {
            let a = access!(archive::ArchivedSetDataV1<'_>);
            Txn::SetData {
                path: &a.path,
                data: a.has_data.then_some(&*a.data),
                version: a.version.to_native(),
            }
        }
        (SET_ACL, 1) => {
            let a = access!(archive::ArchivedSetAclV1<'_>);
            Txn::SetAcl {
                path: &a.path,
                acl: acl_from_archive(&a.acl).ok_or(content)?,
                version: a.version.to_native(),
            }
        }
        (CHECK, 1) => Txn::Check { path: &access!(archive::ArchivedPathV1<'_>).path },
        (CREATE_SESSION, 1) => {
            let a = access!(archive::ArchivedCreateSessionV1);
            Txn::CreateSession {
                timeout_ms: a.timeout_ms.to_native(),
                password: Password(a.password),
            }
        }
        (CLOSE_SESSION, 1) if bytes.is_empty() => Txn::CloseSession,
        (CLOSE_SESSION, 1) => return Err(content),
        (ERROR, 1) => {
            let code = access!(archive::ArchivedErrorV1).code.to_native();
            Txn::Error(ErrorCode::from_code(code).ok_or(content)?)
        }
        (MULTI, 1) => Txn::Multi(MultiTxn { parts: bytes }),
        _unknown => return Err(RecordError::UnknownKind { kind, version }),
    })
}

fn acl_from_archive(bytes: &[u8]) -> Option<AclList<'_>> {
    if bytes.is_empty() { Some(acl::OPEN) } else { AclList::from_bytes(bytes).ok() }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zxid::Epoch;

    fn head(counter: u32) -> TxnHead {
        TxnHead {
            zxid: Zxid::new(Epoch(1), counter),
            time_ms: 1_700_000_000_000,
            session: SessionId(0x1234),
            cxid: 7,
        }
    }

    fn samples(parts: &mut Vec<u8>) -> Vec<Txn<'_>> {
        push_part(&Txn::Delete { path: b"/gone" }, parts);
        push_part(&Txn::SetData { path: b"/a", data: None, version: 3 }, parts);
        push_part(&Txn::Error(ErrorCode::NoNode), parts);
        vec![
            Txn::Create(CreateTxn {
                path: b"/a/b",
                data: Some(b"hello"),
                acl: acl::OPEN,
                kind: NodeKind::Ephemeral(SessionId(9)),
                parent_cversion: 4,
            }),
            Txn::Create(CreateTxn {
                path: b"/t",
                data: None,
                acl: acl::READ_ONLY,
                kind: NodeKind::Ttl(1000),
                parent_cversion: 5,
            }),
            Txn::SetAcl { path: b"/a", acl: acl::READ_ONLY, version: 1 },
            Txn::Check { path: b"/a" },
            Txn::CreateSession { timeout_ms: 6000, password: Password([7; 16]) },
            Txn::CloseSession,
            Txn::Multi(MultiTxn { parts }),
        ]
    }

    #[test]
    fn what_is_written_is_read_and_the_checksums_form_a_chain() {
        let mut parts = Vec::new();
        let txns = samples(&mut parts);
        let mut log = Vec::new();
        let mut chain = Chain(0);
        for (counter, txn) in (1..).zip(&txns) {
            chain = append(&head(counter), txn, chain, &mut log);
        }
        let (mut rest, mut chain) = (&log[..], Chain(0));
        for (counter, txn) in (1..).zip(&txns) {
            let record = Record::read(rest, chain).unwrap();
            assert_eq!((record.head(), record.txn()), (head(counter), *txn));
            chain = record.chain();
            rest = &rest[record.bytes().len()..];
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn every_flipped_bit_and_a_foreign_predecessor_are_refused() {
        let mut parts = Vec::new();
        for txn in samples(&mut parts) {
            let mut bytes = Vec::new();
            append(&head(1), &txn, Chain(5), &mut bytes);
            assert!(Record::read(&bytes, Chain(6)).is_err());
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(Record::read(&bytes, Chain(5)).is_err(), "bit {bit} of {txn:?}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
