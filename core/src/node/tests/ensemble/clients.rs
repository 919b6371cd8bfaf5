//! The reactors' side and its clients: what they ask, and whether each answer may be what it is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Cluster, TIMEOUT_MS};
use crate::acl;
use crate::node::submission::{Ask, Origin, Outcome, Reply, Submission};
use crate::wire::handshake::Password;
use crate::wire::request::{CreateRequest, Request};
use crate::wire::{ErrorCode, OpCode};
use crate::zxid::{SessionId, Zxid};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Opening,
    Serving,
    Closed,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    Write(usize),
    Garbage,
    /// With the last zxid that was acknowledged to anybody when it was asked.
    Sync(Zxid),
    Close,
}

pub struct Conn {
    pub client: usize,
    /// The how many-th of its client.
    pub ordinal: u64,
    generation: u32,
    pub phase: Phase,
    pub session: SessionId,
    seen: Zxid,
    sequence: u32,
    pub pending: VecDeque<(u32, Waiting)>,
}

/// The connections of one process.
#[derive(Default)]
pub struct Reactor {
    pub conns: BTreeMap<u32, Conn>,
    pub sessions: BTreeMap<SessionId, u32>,
    pub submission: Submission,
    /// Requests that are not answered. Clients are held back by it.
    pub outstanding: u64,
    /// What its connections may read: the state that it was told of last.
    pub shows: Zxid,
    pub next: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Unknown,
    Done(Zxid),
    Failed(ErrorCode),
    /// Its client was told that nobody knows, and went on.
    Open,
}

/// A write with a content of its own.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub session: SessionId,
    pub client: usize,
    pub ordinal: u64,
    pub ephemeral: bool,
    pub fate: Fate,
    /// Server, its life, and what its answer carries: it may come when its client is gone.
    asked_at: (usize, u64, u32, u32),
}

#[derive(Default)]
pub struct Client {
    pub session: Option<(SessionId, Password)>,
    /// Server, its life, connection.
    pub at: Option<(usize, u64, u32)>,
    pub ordinals: u64,
    seen: Zxid,
    xid: i32,
    pub closed: Vec<SessionId>,
}

fn origin(index: u32, generation: u32, sequence: u32) -> Origin {
    Origin { reactor: 0, connection: index, generation, sequence }
}

fn create(id: usize, ephemeral: bool) -> Vec<u8> {
    let mut body = Vec::new();
    let (path, flags) = (format!("/w{id}-"), if ephemeral { 3 } else { 2 });
    let (path, acl) = (path.as_bytes(), Some(acl::OPEN));
    let data = Some(path);
    Request::Create(CreateRequest { path, data, acl, flags, ttl: -1 }).encode(&mut body);
    body
}

impl Cluster {
    /// One client does something.
    pub fn play(&mut self, client: usize) {
        let Some((server, life, index)) = self.clients[client].at else {
            return self.connect(client);
        };
        let process = self.servers[server].process.as_mut().filter(|it| it.life == life);
        let Some(process) = process else {
            self.clients[client].at = None;
            return;
        };
        let reactor = &mut process.reactor;
        let Some(conn) = reactor.conns.get(&index).filter(|it| it.phase != Phase::Closed) else {
            self.clients[client].at = None;
            return;
        };
        if conn.phase == Phase::Opening {
            if self.prng.one_in(40) {
                self.hang_up(server, index); // it loses patience
                self.clients[client].at = None;
            }
            return;
        }
        reactor.submission.touch(conn.session, TIMEOUT_MS);
        if self.quiet {
            return;
        }
        match self.prng.below(40) {
            0..=22 => {
                for _ in 0..self.prng.between(1, 3) {
                    self.write(server, index);
                }
            }
            23..=27 => self.sync(server, index),
            28 if self.plan.garbage => self.garbage(server, index),
            29 if self.prng.one_in(3) => self.ask(server, index, Waiting::Close, &[]),
            30 | 31 => {
                self.hang_up(server, index);
                self.clients[client].at = None;
            }
            // It tries another server, and its old connection lives on and may even write.
            32 => self.connect(client),
            _ => {
                let seen = reactor.shows; // it reads
                let conn = reactor.conns.get_mut(&index).expect("it serves");
                assert!(conn.seen <= seen, "what is read goes back");
                conn.seen = seen;
                self.clients[client].seen = self.clients[client].seen.max(seen);
            }
        }
        if self.prng.one_in(20) {
            self.play_zombie(client);
        }
    }

    fn play_zombie(&mut self, client: usize) {
        let current = self.clients[client].at;
        let mut found = None;
        for (at, server) in self.servers.iter().enumerate() {
            let Some(process) = &server.process else { continue };
            for (&index, conn) in &process.reactor.conns {
                let old = current != Some((at, process.life, index));
                if conn.client == client && conn.phase == Phase::Serving && old {
                    found = Some((at, index));
                }
            }
        }
        if let Some((server, index)) = found {
            if self.prng.one_in(2) {
                self.write(server, index)
            } else {
                self.hang_up(server, index)
            }
        }
    }

    fn connect(&mut self, client: usize) {
        let server = self.prng.below(self.servers.len() as u64) as usize;
        self.connect_to(client, server);
    }

    /// Clients with even numbers take a server that only reads.
    pub fn connect_to(&mut self, client: usize, server: usize) {
        let password = Password([client as u8; 16]);
        let who = &mut self.clients[client];
        let Some(process) = &mut self.servers[server].process else { return };
        if process.reactor.shows < who.seen {
            return; // it has seen more than this server
        }
        who.ordinals += 1;
        let reactor = &mut process.reactor;
        // Numbers begin anew with each process, as they do in a real one.
        reactor.next += 1;
        let (index, generation) = (reactor.next, reactor.next);
        let read_only = client.is_multiple_of(2);
        let (session, ask, body) = match &who.session {
            Some((session, password)) => {
                (*session, Ask::Resume { timeout_ms: TIMEOUT_MS, read_only }, password.0.to_vec())
            }
            None => (
                SessionId::NONE,
                Ask::Open { timeout_ms: TIMEOUT_MS, password, read_only },
                Vec::new(),
            ),
        };
        let conn = Conn {
            client,
            ordinal: who.ordinals,
            generation,
            phase: Phase::Opening,
            session,
            seen: who.seen,
            sequence: 0,
            pending: VecDeque::new(),
        };
        reactor.conns.insert(index, conn);
        let at = origin(index, generation, u32::MAX);
        reactor.submission.push(at, session, 0, ask, &body, &Arc::from([]));
        who.at = Some((server, process.life, index));
    }

    pub fn write(&mut self, server: usize, index: u32) {
        let ephemeral = self.prng.one_in(4);
        let id = self.sent.len();
        let process = self.servers[server].process.as_ref().expect("looked at by the caller");
        let conn = &process.reactor.conns[&index];
        // What is answered with a zxid of its own is not asked behind a sync, nor behind the end.
        let held = |it: &(u32, Waiting)| matches!(it.1, Waiting::Sync(_) | Waiting::Close);
        if conn.pending.len() > 8 || conn.pending.iter().any(held) {
            return;
        }
        let (session, client, ordinal) = (conn.session, conn.client, conn.ordinal);
        let asked_at = (server, process.life, index, u32::MAX);
        let fate = Fate::Unknown;
        self.sent.push(Sent { session, client, ordinal, ephemeral, fate, asked_at });
        self.ask(server, index, Waiting::Write(id), &create(id, ephemeral));
        let process = self.servers[server].process.as_ref().expect("it was asked");
        let asked = process.reactor.conns.get(&index).and_then(|conn| conn.pending.back());
        if let Some((sequence, Waiting::Write(_))) = asked {
            self.sent[id].asked_at.3 = *sequence;
        }
    }

    fn garbage(&mut self, server: usize, index: u32) {
        let process = self.servers[server].process.as_ref().expect("looked at by the caller");
        let conn = &process.reactor.conns[&index];
        if conn.pending.iter().all(|it| matches!(it.1, Waiting::Write(_) | Waiting::Garbage)) {
            self.ask(server, index, Waiting::Garbage, b"no request");
        }
    }

    pub fn sync(&mut self, server: usize, index: u32) {
        self.ask(server, index, Waiting::Sync(self.acknowledged), b"/");
    }

    pub fn ask(&mut self, server: usize, index: u32, what: Waiting, body: &[u8]) {
        let process = self.servers[server].process.as_mut().expect("looked at by the caller");
        let reactor = &mut process.reactor;
        let conn = reactor.conns.get_mut(&index).expect("it serves");
        let last = conn.pending.iter().any(|it| it.1 == Waiting::Close);
        let syncs = conn.pending.iter().any(|it| matches!(it.1, Waiting::Sync(_)));
        if last || (what == Waiting::Close && syncs) {
            return;
        }
        let who = &mut self.clients[conn.client];
        who.xid = if self.plan.few_xids { self.prng.below(3) as i32 } else { who.xid + 1 };
        conn.sequence += 1;
        conn.pending.push_back((conn.sequence, what));
        let ask = match what {
            Waiting::Write(_) | Waiting::Garbage => Ask::Write(OpCode::Create),
            Waiting::Sync(_) => Ask::Sync,
            Waiting::Close => Ask::Write(OpCode::CloseSession),
        };
        let at = origin(index, conn.generation, conn.sequence);
        reactor.submission.push(at, conn.session, who.xid, ask, body, &Arc::from([]));
        reactor.outstanding += 1;
    }

    /// The client's end of a connection is gone.
    pub fn hang_up(&mut self, server: usize, index: u32) {
        let process = self.servers[server].process.as_mut().expect("looked at by the caller");
        let reactor = &mut process.reactor;
        let Some(conn) = reactor.conns.remove(&index) else { return };
        if reactor.sessions.get(&conn.session) == Some(&index) {
            reactor.sessions.remove(&conn.session);
            let at = origin(index, conn.generation, 0);
            reactor.submission.push(at, conn.session, 0, Ask::Left, &[], &Arc::from([]));
        }
    }

    /// What a server's step means to its connections.
    pub fn deliver(&mut self, server: usize, out: &crate::node::Output) {
        let process = self.servers[server].process.as_mut().expect("it stepped");
        let reactor = &mut process.reactor;
        reactor.shows = process.node.applied();
        for (at, session) in &out.displaced {
            if reactor.sessions.get(session) == Some(&at.connection) {
                reactor.sessions.remove(session);
            }
            if let Some(conn) = reactor.conns.get_mut(&at.connection) {
                conn.phase = Phase::Closed;
            }
        }
        for reply in &out.replies {
            self.complete(server, reply);
        }
        let process = self.servers[server].process.as_mut().expect("it stepped");
        let reactor = &mut process.reactor;
        for (_zxid, session) in &out.closed {
            if let Some(index) = reactor.sessions.remove(session)
                && let Some(conn) = reactor.conns.get_mut(&index)
            {
                conn.phase = Phase::Closed;
            }
        }
        if !reactor.sessions.is_empty() {
            // Its clients see this state: it must be everybody's in the end.
            let node = &process.node;
            let shown = (node.applied().max(Zxid::ZERO), node.applied_chain());
            self.shown.entry(shown.0).or_insert(shown.1);
            assert_eq!(self.shown[&shown.0], shown.1, "two histories were shown at {}", shown.0);
        }
    }

    fn complete(&mut self, server: usize, reply: &Reply) {
        let (clients, seed) = (&mut self.clients, self.seed);
        let process = self.servers[server].process.as_mut().expect("it stepped");
        let applied = process.node.applied();
        let reactor = &mut process.reactor;
        let index = reply.origin.connection;
        let conn = reactor.conns.get_mut(&index);
        let conn = conn.filter(|it| it.generation == reply.origin.generation);
        let (err, handshake) = match reply.outcome {
            Outcome::Attached { session, password, .. } => {
                let Some(conn) = conn.filter(|it| it.phase != Phase::Closed) else {
                    let at = origin(index, reply.origin.generation, 0);
                    reactor.submission.push(at, session, 0, Ask::Left, &[], &Arc::from([]));
                    return;
                };
                (conn.phase, conn.session) = (Phase::Serving, session);
                assert!(conn.seen <= reply.zxid, "seed {seed}: a session went back");
                conn.seen = reply.zxid;
                reactor.sessions.insert(session, index);
                let who = &mut clients[conn.client];
                if who.at == Some((server, process.life, index)) {
                    who.session = Some((session, password));
                }
                return;
            }
            Outcome::Expired | Outcome::Refused => (ErrorCode::Ok, true),
            Outcome::Done { err, .. } => (err, false),
        };
        let Some(conn) = conn.filter(|it| it.phase != Phase::Closed) else {
            reactor.outstanding -= u64::from(!handshake);
            let asked_at = (server, process.life, index, reply.origin.sequence);
            let sent = self.sent.iter_mut().rev().find(|sent| sent.asked_at == asked_at);
            if let Some(sent) = sent.filter(|_| err == ErrorCode::ConnectionLoss) {
                sent.fate = Fate::Open;
            }
            return;
        };
        let who = &mut clients[conn.client];
        if handshake {
            conn.phase = Phase::Closed;
            if reply.outcome == Outcome::Expired && who.at == Some((server, process.life, index)) {
                // Of the client's memory nothing is left: the next session may see less.
                (who.session, who.at) = (None, None);
            }
            return;
        }
        reactor.outstanding -= 1;
        let Some((sequence, what)) = conn.pending.pop_front() else {
            panic!("seed {seed}: an answer without an ask: {reply:?}");
        };
        assert_eq!(sequence, reply.origin.sequence, "seed {seed}: answers out of order");
        assert!(conn.seen <= reply.zxid, "seed {seed}: zxids of a connection go back");
        conn.seen = reply.zxid;
        who.seen = who.seen.max(reply.zxid);
        match what {
            Waiting::Write(id) if err == ErrorCode::Ok => {
                self.sent[id].fate = Fate::Done(reply.zxid);
                self.acknowledged = self.acknowledged.max(reply.zxid);
            }
            Waiting::Write(id) if err == ErrorCode::ConnectionLoss => {
                self.sent[id].fate = Fate::Open
            }
            Waiting::Write(id) => self.sent[id].fate = Fate::Failed(err),
            Waiting::Garbage => assert_ne!(err, ErrorCode::Ok, "seed {seed}: garbage was done"),
            Waiting::Sync(floor) => {
                let behind = err == ErrorCode::Ok && applied < floor;
                assert!(!behind, "seed {seed}: a sync at {applied} behind an answer at {floor}");
            }
            Waiting::Close if err == ErrorCode::Ok => {
                who.closed.push(conn.session);
                if who.session.as_ref().is_some_and(|it| it.0 == conn.session) {
                    (who.session, who.at) = (None, None);
                }
                reactor.sessions.remove(&conn.session);
                conn.phase = Phase::Closed;
            }
            Waiting::Close => {}
        }
    }
}
