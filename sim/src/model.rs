//! The tree that a history makes, worked out a second time and in the plainest way: from records to
//! what each path held at each zxid. What servers show is held against it.

use std::collections::{BTreeMap, BTreeSet};

use farwatch_core::record::Record;
use farwatch_core::txn::{NodeKind, Txn, TxnHead};
use farwatch_core::watch::Table;
use farwatch_core::wire::ErrorCode;
use farwatch_core::zxid::{SessionId, Zxid};

/// A node as a reader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    pub value: u64,
    pub version: i32,
    /// [`SessionId::NONE`] for a node that stays.
    pub owner: SessionId,
}

/// How many children, and a sum of their names that does not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Children {
    pub count: u32,
    pub names: u64,
}

impl Children {
    pub fn of<'n>(names: impl Iterator<Item = &'n [u8]>) -> Self {
        names.fold(Self::default(), |sum, name| sum.with(name))
    }

    fn with(self, name: &[u8]) -> Self {
        Self { count: self.count + 1, names: self.names.wrapping_add(sum_of(name)) }
    }

    fn without(self, name: &[u8]) -> Self {
        Self { count: self.count - 1, names: self.names.wrapping_sub(sum_of(name)) }
    }
}

fn sum_of(name: &[u8]) -> u64 {
    u64::from(crc32c::crc32c(name)) << 20 | name.len() as u64
}

/// A session in the history.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    pub timeout_ms: i32,
    pub ended: Option<Zxid>,
}

/// What became of a client's write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    pub zxid: Zxid,
    pub error: Option<ErrorCode>,
}

#[derive(Debug, Default)]
pub struct Model {
    nodes: BTreeMap<Vec<u8>, Vec<(Zxid, Option<Shown>)>>,
    children: BTreeMap<Vec<u8>, Vec<(Zxid, Children)>>,
    owned: BTreeMap<SessionId, BTreeSet<Vec<u8>>>,
    pub sessions: BTreeMap<SessionId, Lease>,
    pub done: BTreeMap<(SessionId, i32), Done>,
    /// The last xid of each session that became a record.
    pub last_xid: BTreeMap<SessionId, i32>,
}

/// Data as a number: that is what clients of the simulator write.
pub fn value_of(data: Option<&[u8]>) -> u64 {
    data.and_then(|data| data.first_chunk()).map_or(0, |value| u64::from_le_bytes(*value))
}

fn parent_of(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|&byte| byte == b'/').expect("a path begins with one");
    (if slash == 0 { b"/" } else { &path[..slash] }, &path[slash + 1..])
}

impl Model {
    /// Goes on by one record.
    pub fn apply(&mut self, record: &Record<'_>) {
        let (head, txn) = (record.head(), record.txn());
        match txn {
            Txn::CreateSession { timeout_ms, .. } => {
                self.sessions.insert(head.session, Lease { timeout_ms, ended: None });
                return;
            }
            Txn::CloseSession => self.close(&head),
            Txn::Multi(multi) => multi.iter().for_each(|part| self.change(head.zxid, &part)),
            Txn::Create(_)
            | Txn::Delete { .. }
            | Txn::SetData { .. }
            | Txn::SetAcl { .. }
            | Txn::Check { .. }
            | Txn::Error(_) => self.change(head.zxid, &txn),
        }
        if 0 < head.cxid {
            let error = if let Txn::Error(code) = txn { Some(code) } else { None };
            self.done.insert((head.session, head.cxid), Done { zxid: head.zxid, error });
            self.last_xid.insert(head.session, head.cxid);
        }
    }

    fn close(&mut self, head: &TxnHead) {
        if let Some(lease) = self.sessions.get_mut(&head.session) {
            lease.ended.get_or_insert(head.zxid);
        }
        for path in self.owned.remove(&head.session).unwrap_or_default() {
            self.set(head.zxid, &path, None);
        }
    }

    fn change(&mut self, zxid: Zxid, txn: &Txn<'_>) {
        match *txn {
            Txn::Create(ref create) => {
                let owner = match create.kind {
                    NodeKind::Ephemeral(session) => session,
                    NodeKind::Persistent | NodeKind::Container | NodeKind::Ttl(_) => {
                        SessionId::NONE
                    }
                };
                let value = value_of(create.data);
                self.set(zxid, create.path, Some(Shown { value, version: 0, owner }));
                if owner != SessionId::NONE {
                    self.owned.entry(owner).or_default().insert(create.path.to_vec());
                }
            }
            Txn::Delete { path } => {
                if let Some(node) = self.at(path, zxid) {
                    self.owned.entry(node.owner).or_default().remove(path);
                }
                self.set(zxid, path, None);
            }
            Txn::SetData { path, data, version } => {
                let owner = self.at(path, zxid).map_or(SessionId::NONE, |node| node.owner);
                self.set(zxid, path, Some(Shown { value: value_of(data), version, owner }));
            }
            Txn::SetAcl { .. } | Txn::Check { .. } | Txn::Error(_) => {}
            Txn::CreateSession { .. } | Txn::CloseSession | Txn::Multi(_) => {
                unreachable!("not a part of anything")
            }
        }
    }

    fn set(&mut self, zxid: Zxid, path: &[u8], node: Option<Shown>) {
        let was = self.at(path, zxid).is_some();
        self.nodes.entry(path.to_vec()).or_default().push((zxid, node));
        let (parent, name) = parent_of(path);
        let list = self.children.entry(parent.to_vec()).or_default();
        let now = list.last().map(|last| last.1).unwrap_or_default();
        match (was, node.is_some()) {
            (false, true) => list.push((zxid, now.with(name))),
            (true, false) => list.push((zxid, now.without(name))),
            (true, true) | (false, false) => {}
        }
    }

    /// The node at `path` when everything up to `zxid` was applied.
    pub fn at(&self, path: &[u8], zxid: Zxid) -> Option<Shown> {
        let list = self.nodes.get(path)?;
        let index = list.partition_point(|entry| entry.0 <= zxid);
        list[..index].last()?.1
    }

    /// The children of `path` then. The root's own are more than those that clients made.
    pub fn children_at(&self, path: &[u8], zxid: Zxid) -> Children {
        let Some(list) = self.children.get(path) else { return Children::default() };
        let index = list.partition_point(|entry| entry.0 <= zxid);
        list[..index].last().map(|entry| entry.1).unwrap_or_default()
    }

    /// The first change behind `after` that fires a watch of this table at this path.
    pub fn changed(&self, path: &[u8], table: Table, after: Zxid) -> Option<Zxid> {
        let nodes = self.nodes.get(path).map_or(&[][..], Vec::as_slice);
        let first = nodes.partition_point(|entry| entry.0 <= after);
        match table {
            Table::Data => nodes.get(first).map(|entry| entry.0),
            Table::Child => {
                let gone = nodes[first..].iter().find(|entry| entry.1.is_none());
                let list = self.children.get(path).map_or(&[][..], Vec::as_slice);
                let moved = list.get(list.partition_point(|entry| entry.0 <= after));
                gone.map(|entry| entry.0).into_iter().chain(moved.map(|entry| entry.0)).min()
            }
        }
    }

    /// Whether anything was ever created at this path.
    pub fn ever_held(&self, path: &[u8]) -> bool {
        self.nodes.contains_key(path)
    }

    /// All nodes that are there in the end.
    pub fn nodes(&self) -> impl Iterator<Item = (&[u8], Shown)> {
        self.nodes.iter().filter_map(|(path, list)| Some((&path[..], list.last()?.1?)))
    }
}
