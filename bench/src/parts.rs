//! What the benches of single parts work on: a tree, requests on it, and repeatable choices.

use std::sync::Arc;

use farwatch_core::acl;
use farwatch_core::tree::{self, Applied, Tree, TreeOptions, Writer};
use farwatch_core::txn::{CreateTxn, NodeKind, Txn, TxnHead};
use farwatch_core::wire::OpCode;
use farwatch_core::zxid::{SessionId, Zxid};

use crate::raw::{self, ids};

/// Seeds hashes and choices.
pub const SEED: u64 = 0x5EED;
/// Of every node.
pub const VALUE: [u8; 100] = [b'v'; 100];
/// Whose writes they are.
pub const SESSION: SessionId = SessionId(1);
/// Nodes that stay in a processor's caches.
pub const HOT_NODES: usize = 1000;

/// A cheap and repeatable choice of nodes.
#[derive(Debug)]
pub struct Draws(pub u64);

impl Draws {
    /// Below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// A tree of nodes of 100 bytes.
pub struct Forest {
    /// Applies.
    pub writer: Writer,
    /// Is read.
    pub tree: Arc<Tree>,
    /// The zxid of the last change.
    pub last: u64,
    /// How many nodes it has, besides their directories.
    pub nodes: usize,
    applied: Applied,
}

impl Forest {
    /// So many.
    #[must_use]
    pub fn of(nodes: usize) -> Self {
        let (writer, tree) = tree::new(TreeOptions { hash_seed: SEED });
        let mut forest = Self { writer, tree, last: 0, applied: Applied::default(), nodes };
        forest.create(b"/app");
        for directory in 0..nodes.div_ceil(1000) {
            forest.create(format!("/app/{directory:04}").as_bytes());
        }
        for node in 0..nodes {
            forest.create(&path_of(node));
        }
        forest
    }

    /// Applies one transaction at the next zxid.
    pub fn apply(&mut self, txn: &Txn<'_>) {
        self.last += 1;
        let head = TxnHead { zxid: Zxid(self.last), time_ms: 1, session: SESSION, cxid: 1 };
        self.applied.clear();
        self.writer.apply(&head, txn, &mut self.applied);
        self.writer.reclaim();
    }

    /// Creates a node.
    pub fn create(&mut self, path: &[u8]) {
        let (data, kind) = (Some(&VALUE[..]), NodeKind::Persistent);
        let acl = acl::OPEN;
        self.apply(&Txn::Create(CreateTxn { path, data, acl, kind, parent_cversion: 1 }));
    }
}

/// The path of a node.
#[must_use]
pub fn path_of(node: usize) -> Vec<u8> {
    format!("/app/{:04}/node-{node:07}", node / 1000).into_bytes()
}

/// One request of each kind that matters.
#[must_use]
pub fn requests() -> [(&'static str, OpCode, raw::Request); 4] {
    let path = "/app/0000/node-0000001";
    let set = raw::request::set_data(path, Some(&VALUE), -1);
    let create = raw::request::create("/app/0000/fresh", Some(&VALUE), &ids::open(), 0);
    let parts = vec![set.clone(); 5];
    [
        ("getData", OpCode::GetData, raw::request::get_data(path, false)),
        ("setData", OpCode::SetData, set),
        ("create", OpCode::Create, create),
        ("multi5", OpCode::Multi, raw::request::multi(&parts)),
    ]
}
