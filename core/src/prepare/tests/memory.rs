//! The committed state as an obvious map, and a world in which writes are prepared and applied.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::super::{Internal, NodeFacts, Options, Prepare, Prepared, State, WriteRequest};
use crate::acl::{self, AclList, Identity};
use crate::answer::Answer;
use crate::path;
use crate::record::{Chain, Record};
use crate::session::SessionTable;
use crate::tree::{self, Applied, QuotaFacts, QuotaLimits, QuotaUsage, TreeOptions};
use crate::txn::{NodeKind, Txn};
use crate::wire::handshake::Password;
use crate::wire::{ErrorCode, OpCode};
use crate::zxid::{Epoch, SessionId, Zxid};

#[derive(Clone, Debug, PartialEq)]
struct MemoryNode {
    kind: NodeKind,
    data: Option<Vec<u8>>,
    version: i32,
    cversion: i32,
    aversion: i32,
    mtime: i64,
    acl: Option<Arc<[u8]>>,
}

/// A tree as a map, with everything that can be counted counted by looking.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct MemoryState {
    nodes: BTreeMap<Vec<u8>, MemoryNode>,
    pub(super) quotas: BTreeMap<Vec<u8>, Option<QuotaLimits>>,
}

impl State for MemoryState {
    fn node(&self, path: &[u8]) -> Option<NodeFacts<'_>> {
        let node = self.nodes.get(path)?;
        let children = self.nodes.keys().filter(|other| path::parent(other) == Some(path)).count();
        Some(NodeFacts {
            kind: node.kind,
            version: node.version,
            cversion: node.cversion,
            aversion: node.aversion,
            num_children: children as i32,
            data_length: node.data.as_ref().map_or(0, Vec::len) as i32,
            mtime: node.mtime,
            acl: node.acl.as_ref(),
        })
    }

    fn quota(&self, path: &[u8]) -> Option<QuotaFacts<'_>> {
        let (prefix, limits) = self.deepest_quota(path)?;
        let mut usage = QuotaUsage::default();
        for (path, node) in &self.nodes {
            // What an inner quota covers is not charged to the outer one.
            if self.deepest_quota(path).is_some_and(|(deepest, _)| deepest == prefix) {
                usage.count += 1;
                usage.bytes += node.data.as_ref().map_or(0, Vec::len) as i64;
            }
        }
        Some(QuotaFacts { prefix, limits: *limits, usage: Some(usage) })
    }

    fn ephemerals(&self, session: SessionId, visit: &mut dyn FnMut(&[u8])) {
        for (path, node) in &self.nodes {
            if node.kind == NodeKind::Ephemeral(session) {
                visit(path);
            }
        }
    }
}

impl MemoryState {
    fn fresh() -> Self {
        let mut state = Self::default();
        for path in [&b"/"[..], b"/zookeeper", b"/zookeeper/quota", b"/zookeeper/config"] {
            let is_config = path.ends_with(b"config");
            let node = MemoryNode {
                kind: NodeKind::Persistent,
                data: Some(Vec::new()),
                version: 0,
                cversion: 0,
                aversion: if is_config { -1 } else { 0 },
                mtime: 0,
                acl: is_config.then(|| acl::READ_ONLY.as_bytes().into()),
            };
            state.nodes.insert(path.to_vec(), node);
        }
        state
    }

    fn deepest_quota(&self, path: &[u8]) -> Option<(&Vec<u8>, &Option<QuotaLimits>)> {
        let covers = |(prefix, _): &(&Vec<u8>, _)| path::is_within(path, prefix);
        self.quotas.iter().filter(covers).max_by_key(|(prefix, _)| prefix.len())
    }

    /// As if so many nodes had been created under `path`.
    pub(super) fn set_cversion(&mut self, path: &[u8], cversion: i32) {
        self.nodes.get_mut(path).unwrap().cversion = cversion;
    }

    fn apply(&mut self, session: SessionId, time_ms: i64, txn: &Txn<'_>) {
        match *txn {
            Txn::Create(create) => {
                let parent = self.nodes.get_mut(path::parent(create.path).unwrap()).unwrap();
                parent.cversion = parent.cversion.max(create.parent_cversion);
                let node = MemoryNode {
                    kind: create.kind,
                    data: create.data.map(<[u8]>::to_vec),
                    version: 0,
                    cversion: 0,
                    aversion: 0,
                    mtime: time_ms,
                    acl: shared(create.acl),
                };
                assert!(self.nodes.insert(create.path.to_vec(), node).is_none());
            }
            Txn::Delete { path } => {
                assert!(self.nodes.remove(path).is_some());
            }
            Txn::SetData { path, data, version } => {
                let node = self.nodes.get_mut(path).unwrap();
                node.data = data.map(<[u8]>::to_vec);
                node.version = version;
                node.mtime = time_ms;
            }
            Txn::SetAcl { path, acl, version } => {
                let node = self.nodes.get_mut(path).unwrap();
                node.acl = shared(acl);
                node.aversion = version;
            }
            Txn::CloseSession => {
                self.nodes.retain(|_, node| node.kind != NodeKind::Ephemeral(session));
            }
            Txn::Multi(multi) => multi.iter().for_each(|part| self.apply(session, time_ms, &part)),
            Txn::Check { .. } | Txn::CreateSession { .. } | Txn::Error(_) => {}
        }
    }
}

/// None is the list that most nodes have.
fn shared(list: AclList<'_>) -> Option<Arc<[u8]>> {
    (list != acl::OPEN).then(|| list.as_bytes().into())
}

/// A leader with its committed state, which applies when it is told to.
pub(super) struct World {
    pub(super) state: MemoryState,
    pub(super) sessions: SessionTable,
    pub(super) prepare: Prepare,
    pub(super) identities: BTreeMap<SessionId, Vec<Identity>>,
    pub(super) time_ms: i64,
    /// The real tree, which is applied to as well, and decided over when `uses_tree`.
    pub(super) tree: tree::Writer,
    uses_tree: bool,
    answers: VecDeque<Option<Answer>>,
    chain: Chain,
    applied_chain: Chain,
    zxid: Zxid,
    unapplied: Vec<u8>,
}

impl World {
    pub(super) fn new(options: Options) -> Self {
        Self {
            state: MemoryState::fresh(),
            sessions: SessionTable::new(),
            prepare: Prepare::new(options, 7),
            identities: BTreeMap::new(),
            time_ms: 1_000,
            tree: tree::new(TreeOptions { hash_seed: 3 }).0,
            uses_tree: false,
            answers: VecDeque::new(),
            chain: Chain(0),
            applied_chain: Chain(0),
            zxid: Zxid::new(Epoch(1), 0),
            unapplied: Vec::new(),
        }
    }

    /// A world that decides over the real tree.
    pub(super) fn over_a_tree(options: Options) -> Self {
        Self { uses_tree: true, ..Self::new(options) }
    }

    /// Prepares a write; the record's bytes and what the answer is, or the refusal.
    pub(super) fn write(
        &mut self,
        session: SessionId,
        op: OpCode,
        body: &[u8],
    ) -> Result<(Vec<u8>, Answer), ErrorCode> {
        let none = Vec::new();
        let identities = self.identities.get(&session).unwrap_or(&none);
        let request = WriteRequest { session, cxid: 5, op, body, identities, is_local: false };
        let zxid = self.zxid.next().unwrap();
        let start = self.unapplied.len();
        let (chain, out) = (&mut self.chain, &mut self.unapplied);
        let (prepare, sessions, time_ms) = (&mut self.prepare, &self.sessions, self.time_ms);
        let prepared = if self.uses_tree {
            prepare.prepare(&self.tree, sessions, &request, zxid, time_ms, chain, out)
        } else {
            prepare.prepare(&self.state, sessions, &request, zxid, time_ms, chain, out)
        };
        match prepared {
            Prepared::Logged(answer) => {
                self.answers.push_back(Some(answer.clone()));
                self.zxid = zxid;
                Ok((self.unapplied[start..].to_vec(), answer))
            }
            Prepared::Refused(code) => {
                assert_eq!(start, self.unapplied.len(), "a refusal logs nothing");
                Err(code)
            }
        }
    }

    /// Prepares a change of the leader's own; the record's bytes unless it is pointless.
    pub(super) fn internal(&mut self, change: Internal<'_>) -> Option<Vec<u8>> {
        let zxid = self.zxid.next().unwrap();
        let start = self.unapplied.len();
        let (chain, out) = (&mut self.chain, &mut self.unapplied);
        let (prepare, sessions, time_ms) = (&mut self.prepare, &self.sessions, self.time_ms);
        let is_logged = if self.uses_tree {
            prepare.prepare_internal(&self.tree, sessions, change, zxid, time_ms, chain, out)
        } else {
            prepare.prepare_internal(&self.state, sessions, change, zxid, time_ms, chain, out)
        };
        if is_logged {
            self.answers.push_back(None);
            self.zxid = zxid;
        }
        assert_eq!(is_logged, start < self.unapplied.len());
        is_logged.then(|| self.unapplied[start..].to_vec())
    }

    pub(super) fn open(&mut self, session: u64) -> Option<Vec<u8>> {
        let session = SessionId(session);
        let password = Password([1; 16]);
        self.internal(Internal::CreateSession { session, timeout_ms: 6000, password })
    }

    /// Applies the next `count` records.
    pub(super) fn apply(&mut self, count: usize) {
        let mut at = 0;
        let mut upto = None;
        for _ in 0..count {
            let Ok(record) = Record::read(&self.unapplied[at..], self.applied_chain) else {
                assert_eq!(at, self.unapplied.len());
                break;
            };
            let head = record.head();
            assert!(upto.is_none_or(|upto| head.zxid.follows(upto)));
            self.state.apply(head.session, head.time_ms, &record.txn());
            self.sessions.apply(&head, &record.txn());
            let mut applied = Applied::default();
            self.tree.apply(&head, &record.txn(), &mut applied);
            if let Some(answer) = self.answers.pop_front().unwrap() {
                // The Stats that the tree gives must be those that the answer takes.
                assert_eq!(applied.stats.len(), stats_made(&record.txn()), "{answer:?}");
                answer.encode(&record.txn(), &applied.stats, &mut Vec::new());
            }
            self.applied_chain = record.chain();
            upto = Some(head.zxid);
            at += record.bytes().len();
        }
        self.unapplied.drain(..at);
        if let Some(upto) = upto {
            self.prepare.applied(upto);
        }
    }
}

impl World {
    /// The map and the tree must be one, but for the usage that the tree writes by itself.
    pub(super) fn compare_trees(&self) {
        let is_usage = |path: &&Vec<u8>| path::name(path) == b"zookeeper_stats";
        for path in self.state.nodes.keys().filter(|path| !is_usage(path)) {
            assert_eq!(self.tree.node(path), self.state.node(path), "{path:?}");
        }
    }
}

/// How many Stats a transaction makes.
fn stats_made(txn: &Txn<'_>) -> usize {
    match txn {
        Txn::Create(_) | Txn::SetData { .. } | Txn::SetAcl { .. } => 1,
        Txn::Multi(multi) => multi.iter().map(|part| stats_made(&part)).sum(),
        Txn::Delete { .. }
        | Txn::Check { .. }
        | Txn::CreateSession { .. }
        | Txn::CloseSession
        | Txn::Error(_) => 0,
    }
}
