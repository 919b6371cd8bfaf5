//! The one writer: applies transactions, and knows what readers need not.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::events::Applied;
use super::ledger::Ledger;
use super::node::Node;
use super::quota::{self, Prefixes, QuotaFacts, QuotaLimits, QuotaNode, QuotaUsage, Sums};
use super::rcu::Meta;
use super::rcu::store::{Brood, Store};
use super::{Tree, TreeOptions};
use crate::acl::AclList;
use crate::path;
use crate::snapshot::NodeImage;
use crate::txn::{CreateTxn, NodeKind, Txn, TxnHead};
use crate::watch::Table;
use crate::wire::EventType;
use crate::zxid::{SessionId, Zxid};

/// Paths by the transaction that created them.
type ByCreation = BTreeSet<(Zxid, Box<[u8]>)>;

/// The only one who changes the tree.
pub struct Writer {
    store: Store,
    ledger: Ledger,
    applied: Zxid,
    /// Ephemeral nodes by session, in order of creation; those of one multi in order of their paths,
    /// which is the only order that a snapshot keeps too.
    ephemerals: BTreeMap<SessionId, ByCreation>,
    containers: BTreeSet<Box<[u8]>>,
    ttl_nodes: BTreeSet<Box<[u8]>>,
    quotas: Prefixes,
    sums: RefCell<Sums>,
}

impl Writer {
    /// A tree without even a root, to be filled by [`Writer::adopt`].
    pub(super) fn empty(options: TreeOptions) -> Self {
        Self {
            store: Store::new(options.hash_seed),
            ledger: Ledger::default(),
            applied: Zxid::ZERO,
            ephemerals: BTreeMap::new(),
            containers: BTreeSet::new(),
            ttl_nodes: BTreeSet::new(),
            quotas: Prefixes::default(),
            sums: RefCell::default(),
        }
    }

    /// Makes room in the index for so many nodes. Only while there are none.
    pub(super) fn reserve(&mut self, nodes: u64) {
        self.store.reserve(nodes);
    }

    /// Loads what a look-up of these paths will read first.
    pub(super) fn foresee<'p>(&self, paths: impl Iterator<Item = &'p [u8]>) {
        self.store.foresee(paths);
    }

    /// Adds the root from a snapshot; whether there was none.
    pub(super) fn adopt_root(&mut self, image: &NodeImage<'_>, meta: Meta) -> bool {
        if self.get(image.path).is_some() {
            return false;
        }
        let (data, acl) = (image.data, image.acl);
        let change = self.store.create(Zxid::ZERO, image.path, meta, data, acl, |none| none);
        self.ledger.note(&change);
        self.note_adopted(image);
        true
    }

    /// Begins to add children of a node that is there.
    pub(super) fn brood(&self, parent: &[u8]) -> Option<Brood> {
        self.store.brood(parent)
    }

    /// Adds a child from a snapshot; whether there was none of that path. What the parent's digest is of
    /// came with its own image.
    pub(super) fn adopt(&mut self, brood: &mut Brood, image: &NodeImage<'_>, meta: Meta) -> bool {
        let adopted = self.store.adopt(brood, image.path, meta, image.data, image.acl);
        let Some(adopted) = adopted else { return false };
        self.ledger.note_replaced(&adopted);
        self.note_adopted(image);
        true
    }

    /// The parent has all of them. Before anything is reclaimed.
    pub(super) fn end_brood(&mut self, brood: &Brood) {
        self.store.end_brood(brood, |parent, count| add_child(parent, count as i32));
    }

    fn note_adopted(&mut self, image: &NodeImage<'_>) {
        self.index_kind(image.path, image.kind, image.czxid);
        if let Some(QuotaNode::Limits(prefix)) = QuotaNode::of(image.path) {
            self.quotas.insert(prefix);
        }
    }

    /// Begins to serve readers, at `zxid`.
    pub(super) fn open(&mut self, zxid: Zxid) -> Arc<Tree> {
        self.applied = zxid;
        self.store.publish(zxid);
        let shared = Arc::clone(self.store.shared());
        Arc::new(Tree { shared, counters: Arc::clone(&self.ledger.counters) })
    }

    /// The last transaction that was applied.
    pub fn applied(&self) -> Zxid {
        self.applied
    }

    /// The node at `path` in the newest state; the empty path is an alias of the root.
    pub fn get(&self, path: &[u8]) -> Option<Node<'_>> {
        let path = if path.is_empty() { b"/" } else { path };
        self.store.latest().get(path).map(Node::new)
    }

    /// Applies the next transaction; readers may then advance to it. What it did is added to `out`.
    ///
    /// # Panics
    /// When the transaction does not fit the state: the leader checked it against this very state,
    /// so this server has diverged and must not go on.
    pub fn apply(&mut self, head: &TxnHead, txn: &Txn<'_>, out: &mut Applied) {
        assert!(self.applied < head.zxid);
        self.apply_part(head, txn, out);
        self.applied = head.zxid;
        self.store.publish(head.zxid);
    }

    fn apply_part(&mut self, head: &TxnHead, txn: &Txn<'_>, out: &mut Applied) {
        match *txn {
            Txn::Create(create) => self.create(head, &create, out),
            Txn::Delete { path } => self.delete(head.zxid, path, out),
            Txn::SetData { path, data, version } => self.set_data(head, path, data, version, out),
            Txn::SetAcl { path, acl, version } => self.set_acl(head.zxid, path, acl, version, out),
            Txn::Check { path: _ } | Txn::CreateSession { .. } | Txn::Error(_) => {}
            Txn::CloseSession => self.close_session(head, out),
            Txn::Multi(multi) => {
                for part in multi.iter() {
                    assert!(!matches!(part, Txn::Multi(_))); // records do not nest twice
                    self.apply_part(head, &part, out);
                }
            }
        }
    }

    fn create(&mut self, head: &TxnHead, create: &CreateTxn<'_>, out: &mut Applied) {
        let zxid = head.zxid;
        let meta = Meta {
            kind: create.kind,
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: head.time_ms,
            mtime: head.time_ms,
            version: 0,
            cversion: 0,
            aversion: 0,
            num_children: 0,
        };
        let parent_meta = |parent: Meta| {
            // Only forward: at the end of its range the counter stays, and pzxid with it.
            let counted = parent.cversion < create.parent_cversion;
            let (cversion, pzxid) = if counted {
                (create.parent_cversion, zxid)
            } else {
                (parent.cversion, parent.pzxid)
            };
            Meta { cversion, pzxid, ..add_child(parent, 1) }
        };
        let change =
            self.store.create(zxid, create.path, meta, create.data, create.acl, parent_meta);
        self.ledger.note(&change);
        let node = change.node.after.expect("just created");
        let parent = change.parent.expect("the root exists").after.expect("a parent stays");
        out.stats.push(Node::new(node).stat());
        let mut firing = out.events.at(zxid, create.path);
        let (bytes, parent_bytes) = (create.path.len(), parent.path().len());
        firing.fire(EventType::NodeCreated, Table::Data, bytes, node.guard());
        let (kind, table) = (EventType::NodeChildrenChanged, Table::Child);
        firing.fire(kind, table, parent_bytes, parent.guard());

        self.index_kind(create.path, create.kind, zxid);
        let data_bytes = create.data.map_or(0, <[u8]>::len) as i64;
        self.sums.get_mut().change(create.path, 1, data_bytes);
        let quota_node = QuotaNode::of(create.path);
        match quota_node {
            Some(QuotaNode::Limits(prefix)) => self.quotas.insert(prefix),
            Some(QuotaNode::Usage(prefix)) => self.write_usage(zxid, prefix, self.usage(prefix)),
            None => {}
        }
        self.charge(zxid, create.path, 1, data_bytes);
    }

    fn delete(&mut self, zxid: Zxid, path: &[u8], out: &mut Applied) {
        assert!(!path::is_undeletable(path));
        let parent_meta = |parent: Meta| {
            let pzxid = parent.pzxid.max(zxid);
            Meta { pzxid, ..add_child(parent, -1) }
        };
        let change = self.store.remove(zxid, path, parent_meta);
        self.ledger.note(&change);
        let node = change.node.before.expect("just removed");
        let parent = change.parent.expect("not the root").after.expect("a parent stays");
        let mut firing = out.events.at(zxid, path);
        let (bytes, parent_bytes) = (path.len(), parent.path().len());
        firing.fire(EventType::NodeDeleted, Table::Data, bytes, node.guard());
        firing.fire(EventType::NodeDeleted, Table::Child, bytes, node.guard());
        let (kind, table) = (EventType::NodeChildrenChanged, Table::Child);
        firing.fire(kind, table, parent_bytes, parent.guard());

        let (meta, data_bytes) = (node.meta(), node.data_bytes() as i64);
        self.unindex_kind(path, meta.kind, meta.czxid);
        self.sums.get_mut().change(path, -1, -data_bytes);
        if let Some(QuotaNode::Limits(prefix)) = QuotaNode::of(path) {
            self.quotas.remove(prefix);
        }
        self.charge(zxid, path, -1, -data_bytes);
    }

    fn set_data(
        &mut self,
        head: &TxnHead,
        path: &[u8],
        data: Option<&[u8]>,
        version: i32,
        out: &mut Applied,
    ) {
        let zxid = head.zxid;
        let meta = |meta| Meta { mzxid: zxid, mtime: head.time_ms, version, ..meta };
        let replaced = self.store.update(zxid, path, meta, Some(data), None);
        self.ledger.note_replaced(&replaced);
        let node = replaced.after.expect("it stays");
        let before = replaced.before.expect("it was");
        out.stats.push(Node::new(node).stat());
        let mut firing = out.events.at(zxid, path);
        firing.fire(EventType::NodeDataChanged, Table::Data, path.len(), node.guard());
        let difference = node.data_bytes() as i64 - before.data_bytes() as i64;
        self.sums.get_mut().change(path, 0, difference);
        self.charge(zxid, path, 0, difference);
    }

    fn set_acl(
        &mut self,
        zxid: Zxid,
        path: &[u8],
        acl: AclList<'_>,
        version: i32,
        out: &mut Applied,
    ) {
        let meta = |meta| Meta { aversion: version, ..meta };
        let replaced = self.store.update(zxid, path, meta, None, Some(acl));
        self.ledger.note_replaced(&replaced);
        out.stats.push(Node::new(replaced.after.expect("it stays")).stat());
    }

    fn close_session(&mut self, head: &TxnHead, out: &mut Applied) {
        // Each delete takes its own path out of the set; taken as a whole, there is nothing to copy.
        let owned = self.ephemerals.remove(&head.session).unwrap_or_default();
        for (_, path) in owned {
            self.delete(head.zxid, &path, out);
        }
    }

    /// The digest of the newest state. Servers with equal trees have equal digests.
    pub fn digest(&self) -> u64 {
        self.ledger.digest()
    }

    /// Bytes of all blocks of the tree: versions, lists, children, index. The allocator's own
    /// overhead and the writer's private sets are not in it.
    pub fn heap_bytes(&self) -> usize {
        self.store.heap_bytes()
    }

    /// Blocks that wait until no view needs them.
    pub fn retired(&self) -> usize {
        self.store.retired()
    }

    /// Frees what no reader's view needs. To be called once per batch: it frees a bounded part of a
    /// long queue.
    pub fn reclaim(&mut self) {
        self.store.reclaim();
    }

    /// The ephemeral nodes of `session`, in order of creation.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = &[u8]> {
        self.ephemerals.get(&session).into_iter().flatten().map(|(_, path)| &**path)
    }

    /// Every session that has ephemeral nodes, and how many.
    pub fn sessions_with_ephemerals(&self) -> impl Iterator<Item = (SessionId, usize)> {
        self.ephemerals.iter().map(|(&session, paths)| (session, paths.len()))
    }

    /// Containers and TTL nodes without children: what the reaper has to look at. A container that
    /// never had a child ([`Node::stored_cversion`] 0) and a TTL node have an age to reach, by mtime.
    pub fn reapable(&self) -> impl Iterator<Item = Node<'_>> {
        let paths = self.containers.iter().chain(&self.ttl_nodes);
        let nodes = paths.map(|path| self.get(path).expect("listed while it exists"));
        nodes.filter(|node| node.num_children() == 0)
    }

    /// The quota that `path`, which need not exist, is under.
    pub fn quota_of(&self, path: &[u8]) -> Option<QuotaFacts<'_>> {
        let prefix = self.quotas.deepest(path)?;
        let limits = self.get(&quota::limits_path(prefix))?;
        let limits = limits.data().and_then(QuotaLimits::parse);
        let usage = self.get(&quota::usage_path(prefix)).map(|node| {
            node.data().and_then(QuotaUsage::parse).unwrap_or_else(|| self.usage(prefix))
        });
        Some(QuotaFacts { prefix, limits, usage })
    }

    /// Adds to the usage of the deepest quota above `path`, after the change.
    fn charge(&mut self, zxid: Zxid, path: &[u8], count: i64, bytes: i64) {
        if count == 0 && bytes == 0 {
            return;
        }
        let Some(prefix) = self.quotas.deepest(path) else { return };
        let Some(node) = self.get(&quota::usage_path(prefix)) else { return };
        let usage = match node.data().and_then(QuotaUsage::parse) {
            Some(usage) => QuotaUsage {
                count: usage.count.saturating_add(count),
                bytes: usage.bytes.saturating_add(bytes),
            },
            // Anyone may write anything there; the next change below sets it right.
            None => self.usage(prefix),
        };
        let prefix = Box::<[u8]>::from(prefix);
        self.write_usage(zxid, &prefix, usage);
    }

    /// What the subtree at `prefix` really holds.
    fn usage(&self, prefix: &[u8]) -> QuotaUsage {
        let known = self.sums.borrow().get(prefix);
        known.unwrap_or_else(|| {
            let usage = self.counted(prefix);
            self.sums.borrow_mut().keep(prefix, usage);
            usage
        })
    }

    fn counted(&self, prefix: &[u8]) -> QuotaUsage {
        let mut usage = QuotaUsage::default();
        if let Some(node) = self.get(prefix) {
            node.walk(&mut |node| {
                usage.count += 1;
                usage.bytes += node.data().map_or(0, <[u8]>::len) as i64;
            });
        }
        usage
    }

    /// The subtrees whose sums are kept, what is kept, and what they hold.
    #[cfg(test)]
    pub(super) fn kept_sums(&self, prefixes: &[&[u8]]) -> Vec<(Option<QuotaUsage>, QuotaUsage)> {
        let both = |prefix: &&[u8]| (self.sums.borrow().get(prefix), self.counted(prefix));
        prefixes.iter().map(both).collect()
    }

    /// Rewrites the usage node, which exists: no version, no mzxid, no event.
    fn write_usage(&mut self, zxid: Zxid, prefix: &[u8], usage: QuotaUsage) {
        let (path, text) = (quota::usage_path(prefix), usage.text());
        let replaced =
            self.store.update(zxid, &path, |meta| meta, Some(Some(text.as_bytes())), None);
        self.ledger.note_replaced(&replaced);
        let (before, after) = (replaced.before.expect("it was"), replaced.after.expect("it stays"));
        let difference = after.data_bytes() as i64 - before.data_bytes() as i64;
        self.sums.get_mut().change(&path, 0, difference);
    }

    fn index_kind(&mut self, path: &[u8], kind: NodeKind, czxid: Zxid) {
        let fresh = match kind {
            NodeKind::Persistent => true,
            NodeKind::Ephemeral(session) => {
                self.ephemerals.entry(session).or_default().insert((czxid, Box::from(path)))
            }
            NodeKind::Container => self.containers.insert(Box::from(path)),
            NodeKind::Ttl(_) => self.ttl_nodes.insert(Box::from(path)),
        };
        assert!(fresh);
    }

    fn unindex_kind(&mut self, path: &[u8], kind: NodeKind, czxid: Zxid) {
        match kind {
            NodeKind::Persistent => {}
            NodeKind::Ephemeral(session) => {
                // A session that is being closed is not listed any more.
                if let Some(paths) = self.ephemerals.get_mut(&session) {
                    assert!(paths.remove(&(czxid, Box::from(path))));
                    if paths.is_empty() {
                        self.ephemerals.remove(&session);
                    }
                }
            }
            NodeKind::Container => assert!(self.containers.remove(path)),
            NodeKind::Ttl(_) => assert!(self.ttl_nodes.remove(path)),
        }
    }
}

fn add_child(parent: Meta, by: i32) -> Meta {
    let num_children = parent.num_children + by;
    assert!(0 <= num_children);
    Meta { num_children, ..parent }
}
