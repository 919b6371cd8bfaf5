//! What prepare needs to know of the committed tree.

use std::sync::Arc;

use crate::tree::{self, QuotaFacts};
use crate::txn::NodeKind;
use crate::zxid::SessionId;

/// The committed state, everything applied up to the last [`super::Prepare::applied`].
pub trait State {
    /// The node at `path`, as it was given: no alias, no check.
    fn node(&self, path: &[u8]) -> Option<NodeFacts<'_>>;

    /// The deepest quota whose subtree holds `path`. Asked only where quotas are enforced.
    fn quota(&self, path: &[u8]) -> Option<QuotaFacts<'_>>;

    /// Calls `visit` with the path of each ephemeral node of `session`, in any order.
    fn ephemerals(&self, session: SessionId, visit: &mut dyn FnMut(&[u8]));
}

/// What a write can depend on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeFacts<'a> {
    /// What keeps it.
    pub kind: NodeKind,
    /// Changes of the data.
    pub version: i32,
    /// Stored cversion: creates ever under it.
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
    /// Children now.
    pub num_children: i32,
    /// Bytes of data; 0 also for null.
    pub data_length: i32,
    /// When the data was last set, milliseconds since 1970.
    pub mtime: i64,
    /// Who may do what: the bytes of an [`crate::acl::AclList`], and none where that is
    /// [`crate::acl::OPEN`].
    pub acl: Option<&'a Arc<[u8]>>,
}

impl State for tree::Writer {
    fn node(&self, path: &[u8]) -> Option<NodeFacts<'_>> {
        if path.is_empty() {
            return None; // The tree takes it for the root, writes do not.
        }
        let node = self.get(path)?;
        let stat = node.stat();
        Some(NodeFacts {
            kind: node.kind(),
            version: stat.version,
            cversion: node.stored_cversion(),
            aversion: stat.aversion,
            num_children: stat.num_children,
            data_length: stat.data_length,
            mtime: stat.mtime,
            acl: node.shared_acl(),
        })
    }

    fn quota(&self, path: &[u8]) -> Option<QuotaFacts<'_>> {
        self.quota_of(path)
    }

    fn ephemerals(&self, session: SessionId, visit: &mut dyn FnMut(&[u8])) {
        Self::ephemerals(self, session).for_each(visit);
    }
}
