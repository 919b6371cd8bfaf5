//! What prepare needs to know of the committed tree.

use crate::acl::AclList;
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
    /// Who may do what.
    pub acl: AclList<'a>,
}

/// A quota and what is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaFacts<'a> {
    /// The root of the subtree.
    pub prefix: &'a [u8],
    /// The limits, or `None` when the text of the limits node does not parse.
    pub limits: Option<QuotaLimits>,
    /// Nodes in the subtree.
    pub count: i64,
    /// Bytes of data in the subtree.
    pub bytes: i64,
}

/// The four limits of a quota; negative is unlimited. A hard one takes the place of its soft one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaLimits {
    /// Nodes, only warned about.
    pub count: i64,
    /// Bytes, only warned about.
    pub bytes: i64,
    /// Nodes.
    pub count_hard: i64,
    /// Bytes.
    pub bytes_hard: i64,
}
