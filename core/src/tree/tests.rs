//! The tree against an obvious model, against threads, and against its own memory.

mod held;
mod memory;
mod model;
mod rules;
mod stress;
mod threads;

use std::sync::Arc;

use super::{Applied, Tree, TreeOptions, Writer};
use crate::acl::{self, AclList};
use crate::record::push_part;
use crate::txn::{CreateTxn, MultiTxn, NodeKind, Txn, TxnHead};
use crate::zxid::{SessionId, Zxid};

const OPTIONS: TreeOptions = TreeOptions { hash_seed: 0x5eed };

/// Looks until nothing is kept that nobody looks at.
fn settle(rig: &mut Rig) {
    // A tombstone is unlinked by one call and freed by a later one.
    for _ in 0..100 {
        rig.writer.reclaim();
    }
    assert_eq!(rig.writer.retired(), 0);
}

/// A writer with its next zxid, and short words for transactions.
struct Rig {
    writer: Writer,
    tree: Arc<Tree>,
    out: Applied,
    last: u64,
}

impl Rig {
    fn new() -> Self {
        let (writer, tree) = super::new(OPTIONS);
        Self { writer, tree, out: Applied::default(), last: 0 }
    }

    fn apply_as(&mut self, session: SessionId, txn: &Txn<'_>) -> Zxid {
        self.last += 1;
        let zxid = Zxid(self.last);
        let head = TxnHead { zxid, time_ms: 1000 + self.last as i64, session, cxid: 0 };
        self.out.clear();
        self.writer.apply(&head, txn, &mut self.out);
        zxid
    }

    fn apply(&mut self, txn: &Txn<'_>) -> Zxid {
        self.apply_as(SessionId(1), txn)
    }

    fn multi(&mut self, parts: &[Txn<'_>]) -> Zxid {
        let mut bytes = Vec::new();
        for part in parts {
            push_part(part, &mut bytes);
        }
        self.apply(&Txn::Multi(MultiTxn { parts: &bytes }))
    }

    fn create(&mut self, path: &str, data: &[u8]) -> Zxid {
        self.create_with(path, Some(data), NodeKind::Persistent, acl::OPEN)
    }

    fn create_with(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        kind: NodeKind,
        acl: AclList<'_>,
    ) -> Zxid {
        let cversion = self.cversion(path);
        let path = path.as_bytes();
        self.apply(&Txn::Create(CreateTxn { path, data, acl, kind, parent_cversion: cversion }))
    }

    /// The parent's stored cversion after a create at `path`.
    fn cversion(&self, path: &str) -> i32 {
        let parent = crate::path::parent(path.as_bytes()).expect("not the root");
        self.writer.get(parent).expect("the parent exists").stored_cversion() + 1
    }

    fn set(&mut self, path: &str, data: &[u8]) -> Zxid {
        let node = self.writer.get(path.as_bytes()).expect("exists");
        let version = node.stat().version + 1;
        self.apply(&Txn::SetData { path: path.as_bytes(), data: Some(data), version })
    }

    fn delete(&mut self, path: &str) -> Zxid {
        self.apply(&Txn::Delete { path: path.as_bytes() })
    }

    fn data(&self, path: &str) -> String {
        let node = self.writer.get(path.as_bytes()).expect("exists");
        String::from_utf8(node.data().expect("not null").to_vec()).expect("text")
    }
}
