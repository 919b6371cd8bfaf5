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

/// The quota that a path is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaFacts<'a> {
    /// The deepest prefix of the path that has a quota.
    pub prefix: &'a [u8],
    /// `None` when the text of the limits is junk.
    pub limits: Option<QuotaLimits>,
    /// `None` when there is no usage node; nothing can be enforced then.
    pub usage: Option<QuotaUsage>,
}

/// What a subtree may hold; `None` is no limit. A hard limit takes the place of its soft one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaLimits {
    /// Nodes; passing it is logged.
    pub count_soft: Option<i64>,
    /// Bytes of data; passing it is logged.
    pub bytes_soft: Option<i64>,
    /// Nodes; passing it is refused.
    pub count_hard: Option<i64>,
    /// Bytes of data; passing it is refused.
    pub bytes_hard: Option<i64>,
}

/// What a subtree holds, or what a change adds to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaUsage {
    /// Nodes, the quota's own root included.
    pub count: i64,
    /// Bytes of data.
    pub bytes: i64,
}
