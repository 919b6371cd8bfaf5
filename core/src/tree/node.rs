//! A node as one view sees it.

use std::sync::Arc;

use super::rcu::VersionRef;
use crate::acl::AclList;
use crate::path;
use crate::snapshot::NodeImage;
use crate::txn::NodeKind;
use crate::wire::Stat;
use crate::zxid::Zxid;

/// A node in one view. Borrows from the reader: nothing is copied.
#[derive(Clone, Copy)]
pub struct Node<'r> {
    version: VersionRef<'r>,
}

impl<'r> Node<'r> {
    pub(super) fn new(version: VersionRef<'r>) -> Self {
        Self { version }
    }

    /// The full path.
    pub fn path(&self) -> &'r [u8] {
        self.version.path()
    }

    /// The data; `None` is null, which is not empty.
    pub fn data(&self) -> Option<&'r [u8]> {
        self.version.data()
    }

    /// Who may do what.
    pub fn acl(&self) -> AclList<'r> {
        self.version.acl()
    }

    /// The same, as all nodes with this list share it. None is [`crate::acl::OPEN`].
    pub fn shared_acl(&self) -> Option<&'r Arc<[u8]>> {
        self.version.acl_block().map(|block| &block.bytes)
    }

    /// What keeps it.
    pub fn kind(&self) -> NodeKind {
        self.version.kind()
    }

    /// The metadata in the wire's form: cversion counts creates and deletes of children, and only an
    /// ephemeral node has an owner. Source: ZooKeeper 3.9, `DataNode.copyStat`.
    #[inline(always)] // a reply to a read is of little else
    pub fn stat(&self) -> Stat {
        let meta = self.version.meta();
        let ephemeral_owner = match meta.kind {
            NodeKind::Ephemeral(session) => session.0 as i64,
            NodeKind::Persistent | NodeKind::Container | NodeKind::Ttl(_) => 0,
        };
        Stat {
            czxid: meta.czxid.as_i64(),
            mzxid: meta.mzxid.as_i64(),
            ctime: meta.ctime,
            mtime: meta.mtime,
            version: meta.version,
            cversion: meta.cversion.wrapping_mul(2).wrapping_sub(meta.num_children),
            aversion: meta.aversion,
            ephemeral_owner,
            data_length: self.version.data_bytes() as i32,
            num_children: meta.num_children,
            pzxid: meta.pzxid.as_i64(),
        }
    }

    /// How many children were ever created under it, as far as 31 bits count.
    pub fn stored_cversion(&self) -> i32 {
        self.version.meta().cversion
    }

    /// Children now.
    pub fn num_children(&self) -> i32 {
        self.version.meta().num_children
    }

    /// The names of the children, as many as [`Node::num_children`], in order of creation.
    pub fn children(&self) -> impl Iterator<Item = &'r [u8]> + use<'r> {
        self.version.children().map(|child| path::name(child.path()))
    }

    /// Created by.
    pub fn czxid(&self) -> Zxid {
        self.version.meta().czxid
    }

    /// Data last set by.
    pub fn mzxid(&self) -> Zxid {
        self.version.meta().mzxid
    }

    /// Children last changed by.
    pub fn pzxid(&self) -> Zxid {
        self.version.meta().pzxid
    }

    /// The node as a snapshot holds it.
    pub fn image(&self) -> NodeImage<'r> {
        let meta = self.version.meta();
        NodeImage {
            path: self.path(),
            data: self.data(),
            acl: self.acl(),
            kind: meta.kind,
            czxid: meta.czxid,
            mzxid: meta.mzxid,
            pzxid: meta.pzxid,
            ctime: meta.ctime,
            mtime: meta.mtime,
            version: meta.version,
            cversion: meta.cversion,
            aversion: meta.aversion,
        }
    }

    /// Visits this node and all below it, parents first, children in order of creation.
    pub(super) fn walk(&self, visit: &mut dyn FnMut(Node<'r>)) {
        let _never_stops = self.walk_while(&mut |node| {
            visit(node);
            true
        });
    }

    /// Visits this node and all below it, parents first, children in order of creation, until `visit`
    /// says false. Whether it visited all. Keeps a stack, as deep as the tree.
    pub fn walk_while(&self, visit: &mut dyn FnMut(Node<'r>) -> bool) -> bool {
        if !visit(*self) {
            return false;
        }
        let mut open = vec![self.version.children()];
        while let Some(siblings) = open.last_mut() {
            let Some(child) = siblings.next() else {
                open.pop();
                continue;
            };
            let node = Node::new(child);
            if !visit(node) {
                return false;
            }
            if node.num_children() != 0 {
                open.push(child.children());
            }
        }
        true
    }
}
