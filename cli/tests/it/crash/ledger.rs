//! What one writer knows of its part of the tree: certain, or undecided at the kill.

use std::collections::{BTreeMap, BTreeSet};

use farwatch_bench::raw::{Connection, Reply, Session, Stat, ids, request};

use super::writer::Kind;

/// A node that all writers compare and set.
pub const SHARED: &str = "/shared";

/// Replies read behind so many requests at once when the tree is compared.
const VERIFY_BATCH: usize = 256;

/// What one request, or one part of a multi, does when it is carried out.
#[derive(Clone, Debug)]
pub enum Effect {
    /// A node comes to be.
    Create { path: String, data: Vec<u8>, ephemeral: bool },
    /// A node is gone.
    Delete { path: String },
    /// The writer's own chain has `data` at `version`.
    Link { data: Vec<u8>, version: i32 },
    /// The shared chain goes on from `version`.
    Shared { data: Vec<u8>, version: i32 },
    /// Nothing: the shared chain is looked at.
    Look,
}

#[derive(Clone, Debug)]
struct Created {
    data: Vec<u8>,
    /// Unknown when the reply never came.
    czxid: Option<i64>,
    ephemeral: bool,
}

/// A link of the shared chain: the version that it made, its data, and whether it was acknowledged.
pub type SharedLink = (i32, Vec<u8>, bool);

/// The journal of one writer.
pub struct Ledger {
    root: String,
    kind: Kind,
    session: Session,
    nodes: BTreeMap<String, Created>,
    gone: BTreeSet<String>,
    /// Acknowledged nodes that may be deleted: none waits for a decision.
    deletable: Vec<String>,
    link: (i32, Vec<u8>),
    next_link: i32,
    shared_guess: i32,
    shared_start: i32,
    shared: Vec<SharedLink>,
    /// One entry for each request: its effects come about together or not at all.
    undecided: Vec<Vec<Effect>>,
    acknowledged: u64,
    last_zxid: i64,
}

impl Ledger {
    /// Makes the writer's root and its chain; the first writer also makes the shared one.
    pub fn new(connection: &mut Connection, index: usize, kind: Kind, session: Session) -> Self {
        let root = format!("/w{index}");
        let mut make = |path: &str| {
            let made = connection.call(&request::create(path, Some(b""), &ids::open(), 0));
            made.expect("a reply")
        };
        if index == 0 {
            assert_eq!(make(SHARED).err, 0);
        }
        assert_eq!(make(&root).err, 0);
        let last_zxid = make(&format!("{root}/chain")).zxid;
        Self {
            root,
            kind,
            session,
            nodes: BTreeMap::new(),
            gone: BTreeSet::new(),
            deletable: Vec::new(),
            link: (0, Vec::new()),
            next_link: 0,
            shared_guess: 0,
            shared_start: 0,
            shared: Vec::new(),
            undecided: Vec::new(),
            acknowledged: 0,
            last_zxid,
        }
    }

    pub fn root(&self) -> &str {
        &self.root
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub fn undecided(&self) -> usize {
        self.undecided.len()
    }

    pub fn last_zxid(&self) -> i64 {
        self.last_zxid
    }

    pub fn live_ephemerals(&self) -> Vec<String> {
        let ephemeral = self.nodes.iter().filter(|(_, node)| node.ephemeral);
        ephemeral.map(|(path, _)| path.clone()).collect()
    }

    /// The path of the chain and the version that the next link expects.
    pub fn next_link(&mut self) -> (String, i32) {
        let version = self.next_link;
        self.next_link += 1;
        (format!("{}/chain", self.root), version)
    }

    /// The data and expected version of a try at the shared chain.
    pub fn next_shared(&mut self, name: &str) -> (Vec<u8>, i32) {
        (format!("{} {name}", self.root).into_bytes(), self.shared_guess)
    }

    /// A node that was acknowledged and may go.
    pub fn deletable(&mut self) -> Option<String> {
        self.deletable.pop()
    }

    /// The server said that it is so.
    pub fn acknowledge(&mut self, effect: Effect, zxid: i64) {
        self.acknowledged += 1;
        self.last_zxid = zxid;
        self.decide(effect, Some(zxid));
    }

    /// Where the shared chain is, said by the server.
    pub fn looked(&mut self, version: i32) {
        self.shared_guess = version;
    }

    /// Somebody else was faster at the shared chain.
    pub fn refused(&mut self, zxid: i64) {
        self.last_zxid = zxid;
    }

    /// Where the shared chain was at the last restart.
    pub fn shared_start(&self) -> i32 {
        self.shared_start
    }

    fn decide(&mut self, effect: Effect, zxid: Option<i64>) {
        match effect {
            Effect::Create { path, data, ephemeral } => {
                if !ephemeral {
                    self.deletable.push(path.clone());
                }
                self.nodes.insert(path, Created { data, czxid: zxid, ephemeral });
            }
            Effect::Delete { path } => {
                self.nodes.remove(&path).expect("only what is there is deleted");
                self.gone.insert(path);
            }
            Effect::Link { data, version } => {
                assert!(self.link.0 < version, "the chain went back");
                self.link = (version, data);
            }
            Effect::Shared { data, version } => {
                self.shared.push((version + 1, data, zxid.is_some()));
                self.shared_guess = self.shared_guess.max(version + 1);
            }
            Effect::Look => {}
        }
    }

    /// The reply never came.
    pub fn undecide(&mut self, effects: Vec<Effect>) {
        self.undecided.push(effects);
    }

    /// Compares everything with the server, and learns what the undecided requests did.
    pub fn verify(&mut self, connection: &mut Connection, last_seen: i64) {
        let listed = connection.call(&request::get_children(&self.root, false)).expect("a reply");
        assert!(
            last_seen <= listed.zxid,
            "{:#x} was acknowledged, and the server stands at {:#x}",
            last_seen,
            listed.zxid
        );
        let mut found: BTreeSet<String> = listed
            .names()
            .expect("names")
            .iter()
            .map(|name| format!("{}/{name}", self.root))
            .collect();
        found.remove(&format!("{}/chain", self.root));
        let chain = self.read(connection, &format!("{}/chain", self.root));
        self.settle(&found, &chain);
        let expected: BTreeSet<String> = self.nodes.keys().cloned().collect();
        let missing: Vec<_> = expected.difference(&found).collect();
        assert!(missing.is_empty(), "acknowledged and gone: {missing:?}");
        let strange: Vec<_> = found.difference(&expected).collect();
        assert!(strange.is_empty(), "there, and never proposed or deleted again: {strange:?}");
        let (data, stat) = chain;
        assert_eq!(
            (stat.version, &data),
            (self.link.0, &self.link.1),
            "the chain of {}",
            self.root
        );
        self.next_link = stat.version;
        self.compare_nodes(connection);
    }

    fn read(&self, connection: &mut Connection, path: &str) -> (Vec<u8>, Stat) {
        let reply = connection.call(&request::get_data(path, false)).expect("a reply");
        let (data, stat) = reply.data_and_stat().expect("data");
        (data.unwrap_or_default(), stat)
    }

    /// Requests of one session are carried out in their order: what arrived of the undecided ones
    /// is a beginning of them.
    fn settle(&mut self, found: &BTreeSet<String>, chain: &(Vec<u8>, Stat)) {
        let mut over = false;
        for effects in std::mem::take(&mut self.undecided) {
            let happened: Vec<bool> = effects
                .iter()
                .filter_map(|effect| match effect {
                    Effect::Create { path, .. } => Some(found.contains(path)),
                    Effect::Delete { path } => Some(!found.contains(path)),
                    Effect::Link { version, .. } => Some(*version <= chain.1.version),
                    // The shared chain is compared over all writers.
                    Effect::Shared { .. } | Effect::Look => None,
                })
                .collect();
            let Some(&first) = happened.first() else { continue };
            assert!(happened.iter().all(|it| *it == first), "half a multi: {effects:?}");
            assert!(!(first && over), "carried out behind one that was not: {effects:?}");
            over |= !first;
            for effect in effects {
                match effect {
                    effect if first => self.decide(effect, None),
                    Effect::Delete { path } => self.deletable.push(path),
                    Effect::Create { .. }
                    | Effect::Link { .. }
                    | Effect::Shared { .. }
                    | Effect::Look => {}
                }
            }
        }
    }

    fn compare_nodes(&mut self, connection: &mut Connection) {
        let paths: Vec<String> = self.nodes.keys().cloned().collect();
        for batch in paths.chunks(VERIFY_BATCH) {
            for path in batch {
                connection.send(1, &request::get_data(path, false)).expect("a request");
            }
            for path in batch {
                let reply = connection.receive_reply().expect("a reply");
                let node = self.nodes.get_mut(path).expect("listed");
                compare(path, node, &reply, self.session.id);
            }
        }
    }

    /// Where the shared chain stands after the restart.
    pub fn adopt_shared(&mut self, version: i32) {
        self.shared_guess = version;
        self.shared_start = version;
        self.shared.clear();
    }
}

fn compare(path: &str, node: &mut Created, reply: &Reply, session: i64) {
    assert_eq!(reply.err, 0, "{path}");
    let (data, stat) = reply.data_and_stat().expect("data");
    assert_eq!(data.unwrap_or_default(), node.data, "{path}");
    let czxid = *node.czxid.get_or_insert(stat.czxid);
    assert_eq!(stat.czxid, czxid, "{path} was acknowledged with another zxid");
    let owner = if node.ephemeral { session } else { 0 };
    assert_eq!(stat.ephemeral_owner, owner, "{path}");
}

/// Every try at the shared chain since the last restart.
pub fn shared_chain(ledgers: &[Ledger]) -> Vec<SharedLink> {
    let undecided = ledgers.iter().flat_map(|ledger| ledger.undecided.iter().flatten());
    let tried = undecided.filter_map(|effect| match effect {
        Effect::Shared { data, version } => Some((version + 1, data.clone(), false)),
        Effect::Create { .. } | Effect::Delete { .. } | Effect::Link { .. } | Effect::Look => None,
    });
    ledgers.iter().flat_map(|ledger| ledger.shared.iter().cloned()).chain(tried).collect()
}

/// No version was acknowledged twice, none was lost, each was tried by somebody, and the last one
/// holds what was written for it. `before` is where the last restart left the chain. Returns the
/// version.
pub fn verify_shared(connection: &mut Connection, links: &[SharedLink], before: i32) -> i32 {
    let reply = connection.call(&request::get_data(SHARED, false)).expect("a reply");
    let (data, stat) = reply.data_and_stat().expect("data");
    let data = data.unwrap_or_default();
    let mut acknowledged = BTreeSet::new();
    for (version, _, _) in links.iter().filter(|(_, _, acknowledged)| *acknowledged) {
        assert!(acknowledged.insert(*version), "version {version} was acknowledged twice");
    }
    let newest = acknowledged.last().copied().unwrap_or(before).max(before);
    let now = stat.version;
    assert!(newest <= now, "version {newest} was acknowledged, and {now} is there");
    for version in before + 1..=now {
        assert!(links.iter().any(|link| link.0 == version), "nobody wrote version {version}");
    }
    let is_acknowledged = acknowledged.contains(&now);
    let wrote = |(version, written, certain): &SharedLink| {
        *version == now && *written == data && (*certain || !is_acknowledged)
    };
    assert!(
        now == before || links.iter().any(wrote),
        "version {now} holds what nobody wrote for it: {:?}",
        String::from_utf8_lossy(&data)
    );
    now
}
