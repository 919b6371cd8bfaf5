//! How a version of a node lies in memory: what every node has, and parts that are there where they say
//! something.
//!
//! ```text
//! Block │ Later │ Changed │ owner │ Rights │ Branch │ Detached │ path │ data
//!   32     16       16       8       16       24        16        each there or not, as the flags say
//! ```
//!
//! Most nodes are never changed and have open rights and no children: 32 bytes, their path and their data.

use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use super::life::Life;
use super::{AclBlock, AtomicPtr, DataBlock, Pointers};
use crate::txn::NodeKind;
use crate::zxid::SessionId;

pub(super) const TOMBSTONE: u16 = 1;
pub(super) const HAS_DATA: u16 = 1 << 1;
/// [`Detached`] is present: the data is in its own block.
pub(super) const DETACHED: u16 = 1 << 2;
/// [`Branch`] is present: the node has or had children.
pub(super) const BRANCH: u16 = 1 << 3;
/// The owning session or the time to live is present.
pub(super) const OWNER: u16 = 1 << 4;
/// [`Later`] is present: this is not the first version of its path, or of the path's present life.
pub(super) const LATER: u16 = 1 << 5;
/// [`Changed`] is present: the data was set since the node was made.
pub(super) const CHANGED: u16 = 1 << 6;
/// [`Rights`] is present: not `world:anyone:31`, or not as when the node was made.
pub(super) const RIGHTS: u16 = 1 << 7;
/// Without [`Later`]: the transaction that made the node made this version, and not a snapshot.
pub(super) const BORN: u16 = 1 << 8;
pub(super) const KIND_SHIFT: u32 = 9;
pub(super) const KIND: u16 = 0b11;
/// Above it, where the path begins, in units of 8 bytes.
pub(super) const PATH_AT_SHIFT: u32 = 11;

/// The fixed start of a version: what every node has, as most are never changed. Behind it, as the flags say:
/// [`Later`], [`Changed`], the owner (8 bytes), [`Rights`], [`Branch`], [`Detached`]; then the path; then the data
/// unless it is detached.
#[repr(C)]
pub(super) struct Block {
    pub(super) czxid: u64,
    pub(super) ctime: i64,
    pub(super) version: i32,
    /// Place among the parent's children. The writer's own; moves when the array is packed.
    pub(super) child_index: AtomicU32,
    pub(super) path_bytes: u32,
    /// Of the data that is not detached.
    pub(super) data_bytes: u16,
    pub(super) flags: u16,
    pub(super) life: Life,
}

/// What only a version has that replaced another one, or a tombstone.
#[repr(C)]
pub(super) struct Later {
    /// Changes when what it names is taken out of the chain.
    pub(super) prev: AtomicPtr<Block>,
    /// The transaction that made this version; 0 when it came from a snapshot.
    pub(super) zxid: u64,
}

/// What only a node has whose data was set.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Changed {
    pub(super) mzxid: u64,
    pub(super) mtime: i64,
}

/// What only a node has whose list is not the one that most have, or was set.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Rights {
    /// Null for `world:anyone:31`.
    pub(super) acl: *const AclBlock,
    pub(super) aversion: i32,
}

/// What only a node has that has or had children.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Branch {
    pub(super) pzxid: u64,
    pub(super) children: *const Pointers,
    pub(super) cversion: i32,
    pub(super) num_children: i32,
}

/// Where data is that is not in the block.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Detached {
    pub(super) block: NonNull<DataBlock>,
    pub(super) bytes: u32,
}

/// The kind that `flags` say; `owner` is the session or the time to live of those that have one.
pub(super) fn kind(flags: u16, owner: u64) -> NodeKind {
    match flags >> KIND_SHIFT & KIND {
        0 => NodeKind::Persistent,
        1 => NodeKind::Ephemeral(SessionId(owner)),
        2 => NodeKind::Container,
        _ => NodeKind::Ttl(owner as i64),
    }
}

pub(super) const OWNER_BYTES: usize = size_of::<u64>();

const _: () = assert!(cfg!(loom) || size_of::<Block>() == 32);
const _: () = assert!(align_of::<Block>() == 8 && size_of::<Block>().is_multiple_of(8));
const _: () = assert!(cfg!(loom) || size_of::<Later>() == 16);
const _: () = assert!(align_of::<Later>() == 8 && size_of::<Later>().is_multiple_of(8));
const _: () = assert!(size_of::<Changed>() == 16 && align_of::<Changed>() == 8);
const _: () = assert!(size_of::<Rights>() == 16 && align_of::<Rights>() == 8);
const _: () = assert!(size_of::<Branch>() == 24 && align_of::<Branch>() == 8);
const _: () = assert!(size_of::<Detached>() == 16 && align_of::<Detached>() == 8);

/// Where the parts of a block begin, counted from the head or from the path, whichever is nearer.
#[derive(Clone, Copy)]
pub(super) struct Offsets {
    flags: u16,
}

impl Offsets {
    pub(super) const fn of(flags: u16) -> Self {
        Self { flags }
    }

    /// `bytes` if the part with this flag is there.
    const fn taken(self, flag: u16, bytes: usize) -> usize {
        if self.flags & flag != 0 { bytes } else { 0 }
    }

    pub(super) const fn changed(self) -> usize {
        size_of::<Block>() + self.taken(LATER, size_of::<Later>())
    }

    pub(super) const fn owner(self) -> usize {
        self.changed() + self.taken(CHANGED, size_of::<Changed>())
    }

    /// Of a block that has them; so the next two.
    pub(super) const fn rights(self) -> usize {
        self.path()
            - self.taken(DETACHED, size_of::<Detached>())
            - self.taken(BRANCH, size_of::<Branch>())
            - size_of::<Rights>()
    }

    pub(super) const fn branch(self) -> usize {
        self.path() - self.taken(DETACHED, size_of::<Detached>()) - size_of::<Branch>()
    }

    pub(super) const fn detached(self) -> usize {
        self.path() - size_of::<Detached>()
    }

    pub(super) const fn path(self) -> usize {
        (self.flags >> PATH_AT_SHIFT << 3) as usize
    }

    /// `flags`, which say what parts there are, and where the path begins behind them.
    pub(super) const fn complete(flags: u16) -> u16 {
        let parts = Self { flags };
        let path = parts.owner()
            + parts.taken(OWNER, OWNER_BYTES)
            + parts.taken(RIGHTS, size_of::<Rights>())
            + parts.taken(BRANCH, size_of::<Branch>())
            + parts.taken(DETACHED, size_of::<Detached>());
        flags | (path as u16 >> 3) << PATH_AT_SHIFT
    }
}

/// Wherever the path begins, the flags can say it.
const _: () = {
    let all = LATER | CHANGED | OWNER | RIGHTS | BRANCH | DETACHED;
    let offsets = Offsets::of(Offsets::complete(all));
    assert!(offsets.rights() == offsets.owner() + OWNER_BYTES);
};
