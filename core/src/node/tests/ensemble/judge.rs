//! What must hold when everything has come to rest.

use std::collections::BTreeMap;

use super::clients::{Fate, Phase};
use super::{Cluster, id_of};
use crate::node::Node;
use crate::node::route::Route;
use crate::record::Record;
use crate::session::LocalSessions;
use crate::txn::Txn;
use crate::zxid::{SessionId, Zxid};

impl Cluster {
    fn node(&self, server: usize) -> &Node {
        &self.servers[server].process.as_ref().expect("all were started").node
    }

    pub fn judge(&self) {
        let seed = self.seed;
        let leaders: Vec<usize> =
            (0..self.servers.len()).filter(|&at| self.node(at).is_leading()).collect();
        let [leader] = leaders[..] else { panic!("seed {seed}: leaders: {leaders:?}") };
        self.judge_nodes(leader);
        self.judge_connections(leader);
        self.judge_history(leader);
    }

    /// All servers have the same state, and nothing is left over.
    fn judge_nodes(&self, leader: usize) {
        let seed = self.seed;
        let chief = self.node(leader);
        for at in 0..self.servers.len() {
            let node = self.node(at);
            let at = id_of(at);
            let whole = (node.applied, node.writer.digest(), &node.sessions);
            let theirs = (chief.applied, chief.writer.digest(), &chief.sessions);
            assert_eq!(whole, theirs, "seed {seed}: {at} is not as its leader");
            assert!(node.asks.is_idle(), "seed {seed}: {at} waits: {:?}", node.asks);
            assert_eq!(node.asks.bytes(), 0, "seed {seed}: {at} counts bytes of nothing");
            assert!(node.growing.is_none() && node.unapplied.is_empty(), "seed {seed}: {at}");
            assert!(node.deferred.is_empty() && node.confirming.is_empty(), "seed {seed}: {at}");
            assert_eq!(node.unconfirmed, 0, "seed {seed}: {at}");
            assert!(!node.locals.has_waiting(), "seed {seed}: {at} owes an end or a move");
            for (session, _) in node.locals.iter() {
                let both = node.sessions.contains(session);
                assert!(!both, "seed {seed}: {at}: {session} is local and global");
            }
            assert!(node.expected.is_empty(), "seed {seed}: {at}: {:?}", node.expected);
            assert!(node.guests.is_empty() && !node.reads_only, "seed {seed}: {at} keeps guests");
            assert!(node.responses.is_empty(), "seed {seed}: {at}: {:?}", node.responses);
            assert!(node.request.is_empty(), "seed {seed}: {at}: {:?}", node.request);
            for session in node.attached.keys().chain(node.touched.keys()) {
                assert!(node.sessions.contains(*session), "seed {seed}: {at} keeps {session}");
            }
            let route = matches!(node.route, Route::Me | Route::Open(..));
            assert!(route, "seed {seed}: {at}: {:?}", node.route);
        }
    }

    /// Each session has one connection, and its server and the leader agree which.
    fn judge_connections(&self, leader: usize) {
        let seed = self.seed;
        let mut holders: BTreeMap<SessionId, usize> = BTreeMap::new();
        for (server, it) in self.servers.iter().enumerate() {
            let process = it.process.as_ref().expect("all were started");
            assert_eq!(process.reactor.outstanding, 0, "seed {seed}: requests are lost");
            for (&index, conn) in &process.reactor.conns {
                if conn.phase == Phase::Closed {
                    continue;
                }
                assert_eq!(conn.phase, Phase::Serving, "seed {seed}: it still waits");
                assert!(conn.pending.is_empty(), "seed {seed}: {:?}", conn.pending);
                let session = conn.session;
                let before = holders.insert(session, server);
                assert_eq!(before, None, "seed {seed}: {session} is held twice");
                let own = self.node(server).locals.get(session);
                if let Some(local) = own.filter(|it| it.connected) {
                    assert_eq!(
                        local.origin.connection, index,
                        "seed {seed}: {session} at {server}"
                    );
                    let known = self.node(leader).attached.contains_key(&session);
                    assert!(!known, "seed {seed}: the leader knows {session} of {server}");
                    continue;
                }
                for node in [self.node(leader), self.node(server)] {
                    let held = node.attached.get(&session);
                    let same = held.is_some_and(|it| {
                        it.server == id_of(server) && it.origin.connection == index
                    });
                    assert!(same, "seed {seed}: {session} at {server}/{index}: {held:?}");
                }
            }
        }
        let known = self.node(leader).attached.iter().filter(|(_, held)| !held.left);
        for (session, held) in known {
            let known = holders.get(session).map(|&server| id_of(server));
            assert_eq!(known, Some(held.server), "seed {seed}: the leader's {session}: {held:?}");
        }
        for (at, client) in self.clients.iter().enumerate() {
            let held = client.session.as_ref().and_then(|it| holders.get(&it.0));
            let own = client.at.map(|it| it.0);
            assert_eq!(held.copied(), own, "seed {seed}: client {at} has no connection");
            assert!(own.is_some(), "seed {seed}: client {at} is not served");
        }
    }

    pub fn judge_history(&self, leader: usize) {
        let seed = self.seed;
        let node = self.node(leader);
        let mut done: BTreeMap<usize, Zxid> = BTreeMap::new();
        let mut chains = BTreeMap::new();
        let mut paths = BTreeMap::new();
        for (at, bytes) in &self.servers[leader].disk.records {
            chains.insert(at.zxid, at.chain);
            let record = Record::own(bytes);
            if let Txn::Create(create) = record.txn() {
                let path = std::str::from_utf8(create.path).expect("paths here are ASCII");
                let id: usize = path[2..path.len() - 11].parse().expect("made here");
                let twice = done.insert(id, at.zxid);
                assert_eq!(twice, None, "seed {seed}: write {id} was done twice");
                assert_eq!(record.head().session, self.sent[id].session, "seed {seed}");
                paths.insert(id, create.path.to_vec());
            }
        }
        for (at, chain) in &self.shown {
            let held = *at == Zxid::ZERO || chains.get(at) == Some(chain);
            assert!(held, "seed {seed}: a client saw {at}, which is of no history");
        }
        // In the order in which each session's client asked.
        let mut last: BTreeMap<SessionId, ((u64, usize), Zxid)> = BTreeMap::new();
        let mut missing: BTreeMap<(usize, u64), usize> = BTreeMap::new();
        for (id, sent) in self.sent.iter().enumerate() {
            let zxid = done.get(&id).copied();
            match sent.fate {
                Fate::Done(told) => assert_eq!(zxid, Some(told), "seed {seed}: write {id} is lost"),
                Fate::Failed(code) => {
                    assert_eq!(
                        zxid, None,
                        "seed {seed}: write {id} failed ({code:?}) and was done"
                    );
                    continue;
                }
                Fate::Open if zxid.is_none() => continue,
                Fate::Open | Fate::Unknown => {}
            }
            // A local session's wish for an ephemeral node is refused, and that may be lost.
            let may_fail = sent.ephemeral && self.plan.local_sessions == LocalSessions::On;
            if zxid.is_none() && may_fail {
                continue;
            }
            if zxid.is_none() {
                missing.insert((sent.client, sent.ordinal), id);
                continue;
            }
            if !self.plan.full_disks {
                let before = missing.get(&(sent.client, sent.ordinal));
                assert_eq!(before, None, "seed {seed}: write {id} was done without that one");
            }
            let exists = node.writer.get(&paths[&id]).is_some();
            let lives = node.sessions.contains(sent.session);
            assert_eq!(exists, lives || !sent.ephemeral, "seed {seed}: ephemeral {id}, {lives}");
        }
        let mut ids: Vec<usize> = done.keys().copied().collect();
        ids.sort_by_key(|&id| (self.sent[id].ordinal, id));
        for id in ids {
            let sent = &self.sent[id];
            let key = (sent.ordinal, id);
            if let Some((before, zxid)) = last.insert(sent.session, (key, done[&id])) {
                let order = zxid < done[&id];
                assert!(order, "seed {seed}: {key:?} was done before {before:?}");
            }
        }
        for client in &self.clients {
            for session in &client.closed {
                let nodes = (0..self.servers.len()).map(|at| self.node(at));
                let lives = nodes
                    .into_iter()
                    .any(|node| node.sessions.contains(*session) || node.locals.contains(*session));
                assert!(!lives, "seed {seed}: {session} lives on, though its end was answered");
            }
        }
    }
}
