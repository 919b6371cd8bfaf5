//! What prepared and not yet applied writes make of the tree.
//!
//! ```text
//! committed state ◄─ applied(upto) forgets ─┐
//!        ▲                                  │
//!        │ no entry          forget: (7, /a) (7, /) (8, /a) (9, session 3) …   in zxid order
//!    get(path) ──► entries: /a {last 8, version 2 …}   /b {last 9, gone}
//! ```
//!
//! Entries hold whole values, not differences, so that one that outlives its application by a
//! moment still says the truth. Only quota usage is a difference.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;

use super::state::{NodeFacts, State};
use crate::acl::{self, AclList};
use crate::hash::Seeded;
use crate::tree::QuotaUsage;
use crate::txn::NodeKind;
use crate::zxid::{SessionId, Zxid};

/// The list of a node that is outstanding; none is [`acl::OPEN`], as most are. Shared with the tree and
/// between all changes of the node.
pub(super) fn hold(list: AclList<'_>) -> Option<Arc<[u8]>> {
    (list != acl::OPEN).then(|| list.as_bytes().into())
}

/// A node as outstanding writes leave it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) kind: NodeKind,
    pub(super) version: i32,
    pub(super) cversion: i32,
    pub(super) aversion: i32,
    pub(super) num_children: i32,
    pub(super) data_length: i32,
    pub(super) mtime: i64,
    pub(super) acl: Option<Arc<[u8]>>,
}

impl Held {
    fn hold(facts: &NodeFacts<'_>) -> Self {
        Self {
            kind: facts.kind,
            version: facts.version,
            cversion: facts.cversion,
            aversion: facts.aversion,
            num_children: facts.num_children,
            data_length: facts.data_length,
            mtime: facts.mtime,
            acl: facts.acl.cloned(),
        }
    }

    fn facts(&self) -> NodeFacts<'_> {
        NodeFacts {
            kind: self.kind,
            version: self.version,
            cversion: self.cversion,
            aversion: self.aversion,
            num_children: self.num_children,
            data_length: self.data_length,
            mtime: self.mtime,
            acl: self.acl.as_ref(),
        }
    }
}

/// `None` is a node that is gone.
#[derive(Clone, Debug)]
struct Entry {
    last: Zxid,
    node: Option<Held>,
}

impl Entry {
    fn ephemeral_owner(&self) -> Option<SessionId> {
        match self.node.as_ref()?.kind {
            NodeKind::Ephemeral(session) => Some(session),
            NodeKind::Persistent | NodeKind::Container | NodeKind::Ttl(_) => None,
        }
    }
}

/// What to forget when its transaction is applied.
#[derive(Clone, Debug)]
enum Forget {
    Node(Arc<[u8]>),
    Session(SessionId),
    Usage(Arc<[u8]>, QuotaUsage),
    Write,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionChange {
    Opening,
    Closing,
}

/// How much was ever prepared of what operators count. Only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Changes of nodes that were prepared. A node counts once for each transaction.
    pub queued: u64,
    /// Of those, the ones that are outstanding no more.
    pub removed: u64,
    /// Nodes with a time to live that were created.
    pub ttl_created: u64,
    /// Those that were deleted because their time was over.
    pub ttl_deleted: u64,
}

/// What stood at a path before a change.
type Replaced = (Arc<[u8]>, Option<Entry>);

/// Where a multi began.
#[must_use]
pub(super) struct Mark {
    forget: usize,
    ttl_created: u64,
}

/// The outstanding changes.
#[derive(Debug)]
pub(super) struct Overlay {
    nodes: HashMap<Arc<[u8]>, Entry, Seeded>,
    /// Exactly the entries that are ephemeral nodes, so that a close finds its own.
    ephemerals: BTreeSet<(SessionId, Arc<[u8]>)>,
    sessions: BTreeMap<SessionId, (SessionChange, Zxid)>,
    usage: BTreeMap<Arc<[u8]>, QuotaUsage>,
    forget: VecDeque<(Zxid, Forget)>,
    writes: usize,
    pub(super) changes: Changes,
    /// While a multi is being decided: what each change replaced.
    undo: Option<Vec<Replaced>>,
}

impl Overlay {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            nodes: HashMap::with_hasher(Seeded(hash_seed)),
            ephemerals: BTreeSet::new(),
            sessions: BTreeMap::new(),
            usage: BTreeMap::new(),
            forget: VecDeque::new(),
            writes: 0,
            changes: Changes::default(),
            undo: None,
        }
    }

    /// How many writes are outstanding.
    pub(super) fn writes(&self) -> usize {
        self.writes
    }

    /// The node as all writes so far leave it.
    pub(super) fn get<'a>(&'a self, state: &'a impl State, path: &[u8]) -> Option<NodeFacts<'a>> {
        if self.nodes.is_empty() {
            return state.node(path);
        }
        match self.nodes.get(path) {
            Some(entry) => entry.node.as_ref().map(Held::facts),
            None => state.node(path),
        }
    }

    /// Sets what is at `path` from `zxid` on; `None` is nothing.
    pub(super) fn put(&mut self, path: &[u8], zxid: Zxid, node: Option<Held>) {
        let known = self.nodes.get_key_value(path).map(|(key, entry)| (key.clone(), entry.last));
        let (key, last) = known.unwrap_or_else(|| (path.into(), Zxid::ZERO));
        if last != zxid {
            self.outstanding(zxid, key.clone());
        }
        let replaced = self.set(&key, Some(Entry { last: zxid, node }));
        if let Some(undo) = &mut self.undo {
            undo.push((key, replaced));
        }
    }

    /// Changes the node at `path`, which exists.
    pub(super) fn change(
        &mut self,
        state: &impl State,
        path: &[u8],
        zxid: Zxid,
        change: impl FnOnce(&mut Held),
    ) {
        if self.undo.is_none()
            && let Some(Entry { last, node: Some(node) }) = self.nodes.get_mut(path)
        {
            change(node);
            if std::mem::replace(last, zxid) != zxid {
                let (key, _) = self.nodes.get_key_value(path).expect("changed above");
                let key = key.clone();
                self.outstanding(zxid, key);
            }
            return;
        }
        let facts = self.get(state, path).expect("the caller looked it up");
        let mut held = Held::hold(&facts);
        change(&mut held);
        self.put(path, zxid, Some(held));
    }

    fn outstanding(&mut self, zxid: Zxid, key: Arc<[u8]>) {
        self.forget.push_back((zxid, Forget::Node(key)));
        self.changes.queued += 1;
    }

    /// Every change of an entry passes here, so that `ephemerals` follows.
    fn set(&mut self, key: &Arc<[u8]>, entry: Option<Entry>) -> Option<Entry> {
        let owner = entry.as_ref().and_then(Entry::ephemeral_owner);
        let replaced = match entry {
            Some(entry) => self.nodes.insert(key.clone(), entry),
            None => self.nodes.remove(key),
        };
        let owner_before = replaced.as_ref().and_then(Entry::ephemeral_owner);
        if owner != owner_before {
            if let Some(session) = owner_before {
                self.ephemerals.remove(&(session, key.clone()));
            }
            if let Some(session) = owner {
                self.ephemerals.insert((session, key.clone()));
            }
        }
        replaced
    }

    /// Every ephemeral node of `session` as all writes so far leave it.
    pub(super) fn ephemerals(&self, state: &impl State, session: SessionId) -> Vec<Arc<[u8]>> {
        let empty: Arc<[u8]> = Arc::from(&b""[..]);
        let outstanding = self.ephemerals.range((session, empty)..);
        let mut paths: Vec<_> = outstanding
            .take_while(|(owner, _)| *owner == session)
            .map(|(_, path)| path.clone())
            .collect();
        state.ephemerals(session, &mut |path| {
            if !self.nodes.contains_key(path) {
                paths.push(path.into());
            }
        });
        paths
    }

    pub(super) fn open_session(&mut self, session: SessionId, zxid: Zxid) {
        self.change_session(session, SessionChange::Opening, zxid);
    }

    pub(super) fn close_session(&mut self, session: SessionId, zxid: Zxid) {
        self.change_session(session, SessionChange::Closing, zxid);
    }

    fn change_session(&mut self, session: SessionId, change: SessionChange, zxid: Zxid) {
        assert!(self.undo.is_none(), "a multi does not change sessions");
        self.sessions.insert(session, (change, zxid));
        self.forget.push_back((zxid, Forget::Session(session)));
    }

    /// Whether `session` lives, given whether it is in the committed table.
    pub(super) fn session_lives(&self, session: SessionId, is_committed: bool) -> bool {
        match self.sessions.get(&session) {
            Some((SessionChange::Opening, _)) => true,
            Some((SessionChange::Closing, _)) => false,
            None => is_committed,
        }
    }

    /// What outstanding writes add to the usage of the quota at `prefix`.
    pub(super) fn usage(&self, prefix: &[u8]) -> QuotaUsage {
        self.usage.get(prefix).copied().unwrap_or_default()
    }

    pub(super) fn charge(&mut self, prefix: &[u8], zxid: Zxid, change: QuotaUsage) {
        if change == QuotaUsage::default() {
            return;
        }
        let known = self.usage.get_key_value(prefix).map(|(key, _)| key.clone());
        let key = known.unwrap_or_else(|| prefix.into());
        self.forget.push_back((zxid, Forget::Usage(key.clone(), change)));
        let usage = self.usage.entry(key).or_default();
        usage.count += change.count;
        usage.bytes += change.bytes;
    }

    fn uncharge(&mut self, prefix: &Arc<[u8]>, change: QuotaUsage) {
        // An entry is dropped whenever the sum is zero, though later charges that cancel each other
        // may still be outstanding: those make it anew.
        let usage = self.usage.entry(prefix.clone()).or_default();
        usage.count -= change.count;
        usage.bytes -= change.bytes;
        if *usage == QuotaUsage::default() {
            self.usage.remove(prefix);
        }
    }

    /// Counts one write as outstanding until `zxid` is applied. The last thing a write does here.
    pub(super) fn count_write(&mut self, zxid: Zxid) {
        self.writes += 1;
        self.forget.push_back((zxid, Forget::Write));
    }

    /// Begins a multi: until it is kept or rolled back, every change can be taken back.
    pub(super) fn begin(&mut self) -> Mark {
        assert!(self.undo.is_none(), "multis do not nest");
        self.undo = Some(Vec::new());
        Mark { forget: self.forget.len(), ttl_created: self.changes.ttl_created }
    }

    /// The multi that began at `mark` succeeded.
    pub(super) fn keep(&mut self, mark: Mark) {
        let Mark { forget, .. } = mark;
        assert!(forget <= self.forget.len(), "nothing is applied while a multi is decided");
        self.undo = None;
    }

    /// The multi that began at `mark` failed: nothing of it happened.
    pub(super) fn roll_back(&mut self, mark: Mark) {
        for (key, replaced) in self.undo.take().expect("begun").into_iter().rev() {
            self.set(&key, replaced);
        }
        self.changes.ttl_created = mark.ttl_created;
        for (_, forget) in self.forget.split_off(mark.forget) {
            match forget {
                Forget::Usage(prefix, change) => self.uncharge(&prefix, change),
                Forget::Node(_) => self.changes.removed += 1,
                Forget::Session(_) | Forget::Write => {
                    unreachable!("a multi's parts change nodes only")
                }
            }
        }
    }

    /// Forgets what is in the tree and the session table now.
    pub(super) fn applied(&mut self, upto: Zxid) {
        while let Some((zxid, forget)) = self.forget.pop_front() {
            if zxid > upto {
                self.forget.push_front((zxid, forget));
                return;
            }
            match forget {
                Forget::Node(key) => {
                    self.changes.removed += 1;
                    if self.nodes.get(&key).is_some_and(|entry| entry.last <= upto) {
                        self.set(&key, None);
                    }
                }
                Forget::Session(session) => {
                    if self.sessions.get(&session).is_some_and(|(_, last)| *last <= upto) {
                        self.sessions.remove(&session);
                    }
                }
                Forget::Usage(prefix, change) => self.uncharge(&prefix, change),
                Forget::Write => self.writes -= 1,
            }
        }
    }
}
