//! A server's connections: what `observer/src/reactor.rs` does, without bytes.
//!
//! Reads wait behind the writes of their own connection, writes wait behind a sync, replies leave
//! zxid by zxid, and an event leaves before the reply that shows its change.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use farwatch_core::node::Output;
use farwatch_core::node::submission::{Ask, Origin, Outcome, Reply, Submission};
use farwatch_core::prng::Prng;
use farwatch_core::tree::{Event, Reader};
use farwatch_core::watch::{Table, WatchMode, WatchTable};
use farwatch_core::wire::handshake::Password;
use farwatch_core::wire::jute;
use farwatch_core::wire::{ErrorCode, OpCode};
use farwatch_core::zab::mutant::Mutant;
use farwatch_core::zxid::{SessionId, Zxid};

use crate::model::{Children, Shown, value_of};
use crate::request::{Body, Request, ToClient, ToServer};

/// How often a session is passed on as heard from, milliseconds of the server's clock.
const TOUCH_MS: i64 = farwatch_core::node::TOUCH_INTERVAL_MS;

/// A connection that is silent for so much longer than its session's timeout is cut.
const SILENT_MS: i64 = 400;

/// A number of a connection of the whole run, never used twice.
pub type ConnectionId = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Serving,
    Closing,
}

#[derive(Clone, Debug)]
enum Pending {
    Waiting { sequence: u32, xid: i32, op: OpCode, since_ms: Option<i64> },
    Read { xid: i32, request: Request },
}

#[derive(Debug)]
struct Connection {
    phase: Phase,
    session: SessionId,
    timeout_ms: i32,
    next_sequence: u32,
    pending: VecDeque<Pending>,
    syncs: u32,
    /// Not taken yet: a write behind a sync, and all that came behind it.
    held: VecDeque<(i32, Request)>,
    touched_ms: i64,
    heard_ms: i64,
    /// Only to read, as there was no leader when it was taken.
    reads_only: bool,
    /// When the core was given its handshake.
    handed_ms: Option<i64>,
    /// Since when it serves its session, by the clock of the core.
    served_ms: Option<i64>,
}

/// What a connection looks like from outside.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub id: ConnectionId,
    /// `None` while its handshake is not answered.
    pub session: Option<SessionId>,
    pub served_since_ms: Option<i64>,
    pub timeout_ms: i32,
    pub reads_only: bool,
    /// When the core was given its handshake, and since when the oldest of its requests waits there.
    pub opened_ms: Option<i64>,
    pub waits_since_ms: Option<i64>,
}

pub struct Reactor {
    reader: Reader,
    /// Where it stands: reads are answered at exactly this place.
    delivered: Zxid,
    watches: WatchTable,
    connections: BTreeMap<ConnectionId, Connection>,
    sessions: BTreeMap<SessionId, ConnectionId>,
    pub submission: Submission,
    /// What leaves, in order.
    pub out: Vec<(ConnectionId, ToClient)>,
    now_ms: i64,
    /// What time it is for the core.
    core_ms: i64,
    /// Whether the server has a leader, as far as it knew when it last looked.
    pub led: bool,
    prng: Prng,
    flaw: Option<Mutant>,
}

impl Reactor {
    pub fn new(reader: Reader, prng: Prng, flaw: Option<Mutant>) -> Self {
        let delivered = reader.zxid();
        Self {
            reader,
            delivered,
            watches: WatchTable::new(1),
            connections: BTreeMap::new(),
            sessions: BTreeMap::new(),
            submission: Submission::default(),
            out: Vec::new(),
            now_ms: 0,
            core_ms: 0,
            led: false,
            prng,
            flaw,
        }
    }

    /// All connections that are open here.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.connections.keys().copied()
    }

    /// All of them, as they are.
    pub fn looks(&self) -> impl Iterator<Item = Look> {
        self.connections.iter().filter(|(_, it)| it.phase != Phase::Closing).map(|(&id, it)| {
            let waits = it.pending.iter().find_map(|pending| match pending {
                Pending::Waiting { since_ms, .. } => *since_ms,
                Pending::Read { .. } => None,
            });
            Look {
                id,
                session: (it.phase == Phase::Serving).then_some(it.session),
                served_since_ms: it.served_ms,
                timeout_ms: it.timeout_ms,
                reads_only: it.reads_only,
                opened_ms: it.handed_ms,
                waits_since_ms: waits,
            }
        })
    }

    /// The core has what was asked since it looked last.
    pub fn handed_over(&mut self, now_ms: i64) {
        for connection in self.connections.values_mut() {
            if connection.phase == Phase::Opening {
                connection.handed_ms.get_or_insert(now_ms);
            }
            for pending in &mut connection.pending {
                if let Pending::Waiting { since_ms, .. } = pending {
                    since_ms.get_or_insert(now_ms);
                }
            }
        }
    }

    /// The session that a connection serves.
    pub fn session_of(&self, id: ConnectionId) -> Option<SessionId> {
        let connection = self.connections.get(&id)?;
        (connection.phase == Phase::Serving).then_some(connection.session)
    }

    /// Takes what a client said.
    pub fn take(&mut self, id: ConnectionId, message: ToServer, now_ms: i64) {
        self.now_ms = now_ms;
        match message {
            ToServer::Connect { session, timeout_ms, seen, read_only } => {
                self.connect(id, session, (timeout_ms, read_only), seen);
            }
            ToServer::Gone => self.gone(id),
            ToServer::Ping => {
                if self.hear(id) {
                    self.out.push((id, ToClient::Pong { zxid: self.delivered }));
                }
            }
            ToServer::Request { xid, request } => {
                if self.hear(id) {
                    let connection = self.connections.get_mut(&id).expect("it was heard");
                    connection.held.push_back((xid, request));
                    self.take_held(id);
                }
            }
        }
    }

    /// Whether the connection is served.
    fn hear(&mut self, id: ConnectionId) -> bool {
        let now_ms = self.now_ms;
        let Some(it) = self.connections.get_mut(&id) else { return false };
        it.heard_ms = now_ms;
        if it.phase == Phase::Serving && it.touched_ms + TOUCH_MS <= now_ms {
            it.touched_ms = now_ms;
            self.submission.touch(it.session, it.timeout_ms);
        }
        it.phase == Phase::Serving
    }

    fn connect(
        &mut self,
        id: ConnectionId,
        session: Option<(SessionId, Password)>,
        (timeout_ms, read_only): (i32, bool),
        seen: Zxid,
    ) {
        let ignored = match self.flaw {
            Some(Mutant::SeenIgnored) => true,
            Some(Mutant::SeenIgnoredInCut) => !self.led,
            _other => false,
        };
        if self.delivered < seen && !ignored {
            return self.out.push((id, ToClient::Gone));
        }
        let (ask, session, body) = match session {
            None => {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&self.prng.next().to_le_bytes());
                bytes[8..].copy_from_slice(&self.prng.next().to_le_bytes());
                let password = Password(bytes);
                (Ask::Open { timeout_ms, password, read_only }, SessionId::NONE, Vec::new())
            }
            Some((session, password)) => {
                (Ask::Resume { timeout_ms, read_only }, session, password.0.to_vec())
            }
        };
        let connection = Connection {
            phase: Phase::Opening,
            session: SessionId::NONE,
            timeout_ms,
            next_sequence: 0,
            pending: VecDeque::new(),
            syncs: 0,
            held: VecDeque::new(),
            touched_ms: self.now_ms,
            heard_ms: self.now_ms,
            reads_only: false,
            handed_ms: None,
            served_ms: None,
        };
        self.connections.insert(id, connection);
        let origin = origin_of(id, u32::MAX);
        self.submission.push(origin, session, 0, ask, &body, &Arc::from([]));
    }

    fn gone(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let session = connection.session;
        if session != SessionId::NONE && self.sessions.get(&session) == Some(&id) {
            self.sessions.remove(&session);
            self.leave(id, session);
        }
        self.watches.drop_connection(id);
    }

    fn leave(&mut self, id: ConnectionId, session: SessionId) {
        let none = Arc::from([]);
        self.submission.push(origin_of(id, u32::MAX), session, 0, Ask::Left, &[], &none);
    }

    /// The connection ends, and its client hears of it.
    fn cut(&mut self, id: ConnectionId) {
        if self.connections.contains_key(&id) {
            self.out.push((id, ToClient::Gone));
            self.gone(id);
        }
    }

    fn take_held(&mut self, id: ConnectionId) {
        loop {
            let Some(it) = self.connections.get_mut(&id) else { return };
            let Some((xid, request)) = it.held.pop_front() else { return };
            let unordered = self.flaw == Some(Mutant::WriteOvertakesSync);
            if request.write().is_some() && 0 < it.syncs && !unordered {
                return it.held.push_front((xid, request));
            }
            match (request.write(), &request) {
                (Some(op), _) => {
                    let mut body = Vec::new();
                    request.encode(&mut body);
                    self.submit(id, xid, op, Ask::Write(op), &body);
                }
                (None, Request::Sync) => {
                    it.syncs += 1;
                    self.submit(id, xid, OpCode::Sync, Ask::Sync, b"/");
                }
                (None, _read) => {
                    if it.pending.is_empty() || self.flaw == Some(Mutant::ReadOvertakesWrite) {
                        self.answer(id, xid, &request);
                    } else {
                        it.pending.push_back(Pending::Read { xid, request });
                    }
                }
            }
        }
    }

    fn submit(&mut self, id: ConnectionId, xid: i32, op: OpCode, ask: Ask, body: &[u8]) {
        let it = self.connections.get_mut(&id).expect("it is served");
        let sequence = it.next_sequence;
        it.next_sequence += 1;
        it.pending.push_back(Pending::Waiting { sequence, xid, op, since_ms: None });
        let (origin, session) = (origin_of(id, sequence), it.session);
        self.submission.push(origin, session, xid, ask, body, &Arc::from([]));
    }

    fn answer(&mut self, id: ConnectionId, xid: i32, request: &Request) {
        let (path, ..) = match request {
            Request::Get { path, .. }
            | Request::Exists { path, .. }
            | Request::Children { path, .. } => (path,),
            _write => unreachable!("no read"),
        };
        let view = self.reader.view_at(self.delivered);
        let node = view.get(path);
        let err = if node.is_some() { ErrorCode::Ok } else { ErrorCode::NoNode };
        let body = match (&node, request) {
            (None, _) => Body::Nothing,
            (Some(node), Request::Children { .. }) => Body::Children(Children::of(node.children())),
            (Some(node), _) => {
                let (value, stat) = (value_of(node.data()), node.stat());
                let owner = SessionId(stat.ephemeral_owner as u64);
                Body::Node(Some(Shown { value, version: stat.version, owner }))
            }
        };
        if let Some((path, table)) = request.watch(err)
            && self.flaw != Some(Mutant::WatchNotArmed)
        {
            let mode = if table == Table::Data { WatchMode::Data } else { WatchMode::Child };
            self.watches.add(id, path, mode);
        }
        self.out.push((id, ToClient::Reply { xid, zxid: self.delivered, err, body }));
    }

    /// Takes what the core's turn came to: events before replies, zxid by zxid.
    pub fn deliver(&mut self, output: &Output, upto: Zxid, now_ms: i64) {
        self.core_ms = now_ms;
        for &(origin, session) in &output.displaced {
            if self.sessions.get(&session) == Some(&origin.connection) {
                self.sessions.remove(&session);
            }
            if let Some(it) = self.connections.get_mut(&origin.connection) {
                it.session = SessionId::NONE;
                self.cut(origin.connection);
            }
        }
        let late = self.flaw == Some(Mutant::EventAfterReply);
        let mut events = output.events().iter().peekable();
        for reply in &output.replies {
            while !late
                && let Some((event, path)) = events.next_if(|(event, _)| event.zxid <= reply.zxid)
            {
                self.fire(event, path);
            }
            self.delivered = self.delivered.max(reply.zxid);
            self.complete(reply, &output.bytes);
        }
        events.for_each(|(event, path)| self.fire(event, path));
        self.delivered = self.delivered.max(upto);
        for &(_zxid, session) in &output.closed {
            if let Some(id) = self.sessions.remove(&session)
                && let Some(it) = self.connections.get_mut(&id)
            {
                it.session = SessionId::NONE;
                self.cut(id);
            }
        }
        if self.reader.zxid() < self.delivered {
            self.reader.advance(self.delivered);
        }
    }

    fn fire(&mut self, event: &Event, path: &[u8]) {
        let (connections, out) = (&self.connections, &mut self.out);
        let mut told = 0;
        let twice = self.flaw == Some(Mutant::WatchFiresTwice);
        self.watches.fire(event.kind, event.table, path, |id| {
            told += 1;
            if connections.get(&id).is_some_and(|it| it.phase == Phase::Serving) {
                let event =
                    ToClient::Event { kind: event.kind, path: path.to_vec(), zxid: event.zxid };
                if twice {
                    out.push((id, event.clone()));
                }
                out.push((id, event));
            }
        });
        if self.flaw == Some(Mutant::WatchForgotten) && told > 1 {
            out.pop();
        }
    }

    fn complete(&mut self, reply: &Reply, bytes: &[u8]) {
        let id = reply.origin.connection;
        match reply.outcome {
            Outcome::Attached { session, password, timeout_ms, read_only } => {
                let at = (reply.zxid, read_only);
                self.attached(id, (session, password, timeout_ms), at);
            }
            Outcome::Expired if self.flaw == Some(Mutant::ExpiredReplaced) => self.replace(id),
            Outcome::Expired => {
                if self.connections.contains_key(&id) {
                    self.out.push((id, ToClient::Expired));
                    self.gone(id);
                }
            }
            Outcome::Refused => self.cut(id),
            Outcome::Done { err, start, end } => {
                let body = &bytes[start as usize..end as usize];
                self.answered(id, reply, err, body);
            }
        }
    }

    fn attached(
        &mut self,
        id: ConnectionId,
        (session, password, ms): (SessionId, Password, i32),
        (zxid, read_only): (Zxid, bool),
    ) {
        let Some(it) = self.connections.get_mut(&id) else { return self.leave(id, session) };
        (it.phase, it.session, it.timeout_ms) = (Phase::Serving, session, ms);
        it.reads_only = read_only;
        it.served_ms = Some(self.core_ms);
        it.touched_ms = self.now_ms;
        self.sessions.insert(session, id);
        self.out
            .push((id, ToClient::Attached { session, password, zxid, timeout_ms: ms, read_only }));
    }

    /// A bug: whose session is over is given another one.
    fn replace(&mut self, id: ConnectionId) {
        let Some(it) = self.connections.get(&id) else { return };
        let (timeout_ms, password, read_only) = (it.timeout_ms, Password([9; 16]), false);
        let ask = Ask::Open { timeout_ms, password, read_only };
        let none = Arc::from([]);
        self.submission.push(origin_of(id, u32::MAX), SessionId::NONE, 0, ask, &[], &none);
    }

    fn answered(&mut self, id: ConnectionId, reply: &Reply, err: ErrorCode, body: &[u8]) {
        let Some(it) = self.connections.get_mut(&id) else { return };
        if it.phase == Phase::Closing {
            return;
        }
        let Some(Pending::Waiting { sequence, xid, op, .. }) = it.pending.pop_front() else {
            panic!("an answer without an ask");
        };
        assert_eq!(sequence, reply.origin.sequence, "answers come in the order of their asks");
        it.syncs -= u32::from(op == OpCode::Sync);
        let path = (op == OpCode::Create && err == ErrorCode::Ok)
            .then(|| jute::Reader::new(body).string().expect("a create is answered with a path"));
        let body = path.map_or(Body::Nothing, |path| Body::Path(path.to_vec()));
        self.out.push((id, ToClient::Reply { xid, zxid: reply.zxid, err, body }));
        if op == OpCode::CloseSession && err == ErrorCode::Ok {
            (it.phase, it.session) = (Phase::Closing, SessionId::NONE);
            return self.cut(id);
        }
        self.run_queue(id);
        self.take_held(id);
    }

    fn run_queue(&mut self, id: ConnectionId) {
        loop {
            let Some(it) = self.connections.get_mut(&id) else { return };
            match it.pending.pop_front() {
                None => return,
                Some(waiting @ Pending::Waiting { .. }) => {
                    return it.pending.push_front(waiting);
                }
                Some(Pending::Read { xid, request }) => self.answer(id, xid, &request),
            }
        }
    }

    /// Cuts connections that are silent for too long.
    pub fn sweep(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        let silent = |it: &Connection| now_ms - it.heard_ms > i64::from(it.timeout_ms) + SILENT_MS;
        let over: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| silent(connection))
            .map(|(&id, _)| id)
            .collect();
        over.into_iter().for_each(|id| self.cut(id));
    }
}

fn origin_of(id: ConnectionId, sequence: u32) -> Origin {
    Origin { reactor: 0, connection: id, generation: id, sequence }
}
