//! A tree from the images of a snapshot.

use std::sync::Arc;
use thiserror::Error;

use super::rcu::Meta;
use super::rcu::store::Brood;
use super::{Tree, TreeOptions, Writer};
use crate::acl::{self, AclList};
use crate::path;
use crate::snapshot::NodeImage;
use crate::txn::NodeKind;
use crate::zxid::Zxid;

/// The nodes of a fresh server. Source: ZooKeeper 3.9, `DataTree()`.
pub(super) const BUILT_IN: [NodeImage<'static>; 4] = [
    built_in(b"/", acl::OPEN, 0),
    built_in(b"/zookeeper", acl::OPEN, 0),
    built_in(b"/zookeeper/quota", acl::OPEN, 0),
    // Upstream sets its list in passing, with -1 for the version, and clients see that.
    built_in(b"/zookeeper/config", acl::READ_ONLY, -1),
];

const fn built_in(path: &'static [u8], acl: AclList<'static>, aversion: i32) -> NodeImage<'static> {
    NodeImage {
        path,
        data: Some(b""),
        acl,
        kind: NodeKind::Persistent,
        czxid: Zxid::ZERO,
        mzxid: Zxid::ZERO,
        pzxid: Zxid::ZERO,
        ctime: 0,
        mtime: 0,
        version: 0,
        cversion: 0,
        aversion,
    }
}

/// Why images are not a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// The parent's image did not come before.
    #[error("the snapshot holds a node before its parent: use an older snapshot")]
    Orphan,
    /// Two images have one path.
    #[error("the snapshot holds a node twice: use an older snapshot")]
    Twice,
    /// There is no image of the root.
    #[error("the snapshot holds no root node: use an older snapshot")]
    NoRoot,
    /// A node was made behind the transaction that the snapshot is of.
    #[error("the snapshot holds a node of a later time than its own: use an older snapshot")]
    Later,
}

/// Takes images, parents first and siblings in order of creation, and becomes the tree.
pub struct Restorer {
    writer: Writer,
    /// The children that come now.
    brood: Option<Brood>,
    pushed: u32,
    newest: Zxid,
}

/// Replaced versions of parents that may wait to be freed while a tree is restored.
const PUSHES_PER_RECLAIM: u32 = 1024;

/// Nodes whose places are asked for at once: as many lines of memory as a core can have under way, about.
const PUSHED_TOGETHER: usize = 16;

impl Restorer {
    /// Begins with nothing at all.
    pub fn new(options: TreeOptions) -> Self {
        Self { writer: Writer::empty(options), brood: None, pushed: 0, newest: Zxid::ZERO }
    }

    /// As [`Restorer::new`], with an index that need not grow for so many nodes.
    pub fn with_room(options: TreeOptions, nodes: u64) -> Self {
        let mut restorer = Self::new(options);
        restorer.writer.reserve(nodes);
        restorer
    }

    /// Adds nodes. Their places in the index are asked for several at a time: each is somewhere else in memory, and
    /// waiting for one after the other takes longer than all else.
    pub fn push_all<'i>(
        &mut self,
        mut images: impl Iterator<Item = NodeImage<'i>>,
    ) -> Result<(), RestoreError> {
        let mut together = Vec::with_capacity(PUSHED_TOGETHER);
        loop {
            together.clear();
            together.extend(images.by_ref().take(PUSHED_TOGETHER));
            if together.is_empty() {
                return Ok(());
            }
            self.writer.foresee(together.iter().map(|image| image.path));
            for image in &together {
                self.push(image)?;
            }
        }
    }

    /// Adds a node.
    pub fn push(&mut self, image: &NodeImage<'_>) -> Result<(), RestoreError> {
        let meta = Meta {
            kind: image.kind,
            czxid: image.czxid,
            mzxid: image.mzxid,
            pzxid: image.pzxid,
            ctime: image.ctime,
            mtime: image.mtime,
            version: image.version,
            cversion: image.cversion,
            aversion: image.aversion,
            num_children: 0,
        };
        let is_new = if image.path == b"/" {
            self.writer.adopt_root(image, meta)
        } else {
            let parent = path::parent(image.path).ok_or(RestoreError::Orphan)?;
            let mut brood = match self.brood.take_if(|brood| brood.is_of(parent)) {
                Some(brood) => brood,
                None => {
                    self.end_brood();
                    self.writer.brood(parent).ok_or(RestoreError::Orphan)?
                }
            };
            let is_new = self.writer.adopt(&mut brood, image, meta);
            self.brood = Some(brood);
            is_new
        };
        if !is_new {
            return Err(RestoreError::Twice);
        }
        self.newest = self.newest.max(image.czxid);
        self.pushed += 1;
        if self.pushed.is_multiple_of(PUSHES_PER_RECLAIM) {
            self.end_brood();
            self.writer.reclaim();
        }
        Ok(())
    }

    fn end_brood(&mut self) {
        if let Some(brood) = self.brood.take() {
            self.writer.end_brood(&brood);
        }
    }

    /// The tree at `zxid`, the snapshot's.
    pub fn finish(mut self, zxid: Zxid) -> Result<(Writer, Arc<Tree>), RestoreError> {
        self.end_brood();
        if self.writer.get(b"/").is_none() {
            return Err(RestoreError::NoRoot);
        }
        if zxid < self.newest {
            return Err(RestoreError::Later);
        }
        let nothing = Writer::empty(TreeOptions { hash_seed: 0 });
        let mut writer = std::mem::replace(&mut self.writer, nothing);
        writer.reclaim();
        let tree = writer.open(zxid);
        Ok((writer, tree))
    }
}

impl Drop for Restorer {
    /// What came of a brood belongs to its parent, also where the rest of the images is not taken.
    fn drop(&mut self) {
        self.end_brood();
    }
}
