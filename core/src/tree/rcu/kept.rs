//! What was replaced and is of a view that is held, by the newest such view.

use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;

use super::remains::Memory;
use super::{Block, Pointers};

/// What is kept for one view.
#[derive(Default)]
pub(super) struct Bucket {
    pub(super) arrays: Vec<NonNull<Pointers>>,
    pub(super) versions: Vec<NonNull<Block>>,
    pub(super) tombstones: Vec<NonNull<Block>>,
}

impl Bucket {
    pub(super) fn len(&self) -> usize {
        self.arrays.len() + self.versions.len() + self.tombstones.len()
    }
}

/// All that is kept.
#[derive(Default)]
pub(super) struct Kept {
    /// None of them is empty, but for moments.
    buckets: BTreeMap<u64, Bucket>,
    /// Of a view that nobody holds any more, without arrays: its blocks go now.
    pub(super) leaving: Option<(u64, Bucket)>,
    /// Tombstones that stand in arrays that are kept, and in how many.
    listed: BTreeMap<NonNull<Block>, usize>,
    /// Those of them that are nowhere else any more.
    orphans: BTreeSet<NonNull<Block>>,
}

impl Kept {
    pub(super) fn len(&self) -> usize {
        let leaving = self.leaving.as_ref().map_or(0, |(_, bucket)| bucket.len());
        self.buckets.values().map(Bucket::len).sum::<usize>() + leaving + self.orphans.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty() && self.leaving.is_none()
    }

    /// What is kept for `view`.
    pub(super) fn of(&mut self, view: u64) -> &mut Bucket {
        self.buckets.entry(view).or_default()
    }

    /// The views that something is kept for.
    pub(super) fn views(&self) -> impl Iterator<Item = u64> {
        self.buckets.keys().copied()
    }

    /// The blocks that are kept for `view`, which has no arrays any more, begin to go.
    pub(super) fn leave(&mut self, view: u64) {
        let bucket = self.buckets.remove(&view).unwrap_or_default();
        assert!(self.leaving.is_none() && bucket.arrays.is_empty());
        self.leaving = Some((view, bucket));
    }

    /// One more array that is kept has this tombstone.
    pub(super) fn list(&mut self, tombstone: NonNull<Block>) {
        *self.listed.entry(tombstone).or_default() += 1;
    }

    /// One array less has it. Whether it was there alone, and now is nowhere.
    pub(super) fn unlist(&mut self, tombstone: NonNull<Block>) -> bool {
        let count = self.listed.get_mut(&tombstone).expect("it is listed");
        *count -= 1;
        if *count != 0 {
            return false;
        }
        self.listed.remove(&tombstone);
        self.orphans.remove(&tombstone)
    }

    /// The tombstone is nowhere but in arrays that are kept: whether it is in one.
    pub(super) fn orphan(&mut self, tombstone: NonNull<Block>) -> bool {
        self.listed.contains_key(&tombstone) && self.orphans.insert(tombstone)
    }

    pub(super) fn into_all(self) -> impl Iterator<Item = Memory> {
        let leaving = self.leaving.into_iter().map(|(_, bucket)| bucket);
        let kept = self.buckets.into_values().chain(leaving).flat_map(|bucket| {
            let blocks = bucket.versions.into_iter().chain(bucket.tombstones);
            bucket.arrays.into_iter().map(Memory::Array).chain(blocks.map(Memory::Version))
        });
        kept.chain(self.orphans.into_iter().map(Memory::Version))
    }
}
