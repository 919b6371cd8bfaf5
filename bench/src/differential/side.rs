//! One of the two servers or ensembles, and the clients that a script has there.
//!
//! In an ensemble the clients are spread over the servers, and move. One does something at a time, and
//! before it does, its server has caught up with what was done on the others: so every reply, and
//! every event before it, is the same each time.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::script::{Act, Garbage, Op, Reconnect, Step};
use super::value::{self, Value};
use crate::raw::{Connection, Handshake, Session, op, request};

/// How long a server may take for a reply. Far more than a pause of a JVM, and short enough for
/// a script that makes a server fall silent many times.
const REPLY_WITHIN: Duration = Duration::from_secs(10);

/// The session timeout clients ask for: every server's defaults allow it, and no client of a
/// script is idle for so long.
const SESSION_MILLIS: i32 = 30_000;

/// A zxid no server reaches.
const FUTURE_ZXID: i64 = i64::MAX / 2;

/// A session id no server hands out: the first byte names a server, and none is number 0.
const UNKNOWN_SESSION: i64 = 0x1234;

/// One server, or several that are one service, with the clients of a script.
#[derive(Debug)]
pub(super) struct Side {
    servers: Vec<Server>,
    /// What a leading `~` of a path stands for.
    prefix: String,
    clients: Vec<Client>,
    /// The transactions that closed a session: their events have no order.
    closings: BTreeSet<i64>,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    /// Whether something was done through another server since this one caught up.
    may_be_behind: bool,
    /// Asks it to catch up; there only beside other servers.
    follower: Option<Connection>,
}

#[derive(Debug, Default)]
struct Client {
    /// Which server it is connected to.
    server: usize,
    connection: Option<Connection>,
    session: Option<Session>,
    /// The session it closed last.
    closed: Option<Session>,
    xid: i32,
    /// What the replies have shown, in their order.
    zxids: Vec<i64>,
}

impl Side {
    pub(super) fn new(addresses: &[SocketAddr], prefix: String, clients: usize) -> Self {
        let place = |client| Client { server: client % addresses.len(), ..Client::default() };
        let server = |&address| Server { address, may_be_behind: true, follower: None };
        Self {
            servers: addresses.iter().map(server).collect(),
            prefix,
            clients: (0..clients).map(place).collect(),
            closings: BTreeSet::new(),
        }
    }

    /// Ends the sessions that are not the script's: one that expired would consume a zxid in a later
    /// run.
    pub(super) fn leave(&mut self) {
        for follower in self.servers.iter_mut().filter_map(|server| server.follower.as_mut()) {
            // Where a server has fallen silent, that is what the script has shown.
            let _answer = follower.call(&request::close_session());
        }
    }

    /// Lets a server catch up with what the clients have seen on others.
    fn catch_up(&mut self, server: usize, seen: &mut Vec<Value>) {
        let upto = self.clients.iter().filter_map(|client| client.zxids.last()).max();
        let upto = upto.copied().unwrap_or(0);
        let is_alone = self.servers.len() == 1;
        let server = &mut self.servers[server];
        if is_alone || !std::mem::take(&mut server.may_be_behind) {
            return;
        }
        if let Err(error) = server.sync(upto) {
            seen.push(value::failed(&error));
        }
    }

    /// Whether `zxid` closed a session.
    pub(super) fn is_closing(&self, zxid: i64) -> bool {
        self.closings.contains(&zxid)
    }

    /// How many zxids the client has seen.
    pub(super) fn zxids_seen(&self, client: usize) -> usize {
        self.clients[client].zxids.len()
    }

    /// Drops a client's connection, so that its next step resumes the session: whatever was
    /// different between the two servers on this connection is over. Replies that only one of them
    /// gave came last and are not counted either: `zxids_seen` is what both have shown.
    pub(super) fn forget_connection(&mut self, client: usize, zxids_seen: usize) {
        self.clients[client].connection = None;
        self.clients[client].zxids.truncate(zxids_seen);
    }

    /// Sends what the step sends, after a handshake if the client has no connection.
    pub(super) fn begin(&mut self, step: &Step, seen: &mut Vec<Value>) {
        let server = self.clients[step.client].server;
        self.catch_up(server, seen);
        let client = &mut self.clients[step.client];
        if client.connection.is_none() {
            client.connect(self.servers[server].address, seen);
        }
        let Act::Send { xid, op } = &step.act else { return };
        client.xid += 1;
        let xid = xid.unwrap_or(client.xid);
        let request = op.encode(&self.prefix, &client.zxids);
        if let Some(connection) = &mut client.connection
            && let Err(error) = connection.send(xid, &request)
        {
            seen.push(value::failed(&error));
        }
    }

    /// Ends the client's session, if it has one, and takes whatever comes of it.
    pub(super) fn close_session(&mut self, step: &Step) {
        if self.clients[step.client].session.is_some() {
            let mut seen = Vec::new();
            self.begin(step, &mut seen);
            self.finish(step, &mut seen);
        }
    }

    /// Waits for everything that the step causes on its own connection.
    pub(super) fn finish(&mut self, step: &Step, seen: &mut Vec<Value>) {
        let mut server = self.clients[step.client].server;
        if step.act == Act::Reconnect(Reconnect::AfterDrop) {
            // The only way to change the server that is alike on all: ZooKeeper hangs up on the
            // old connection of a session that moved when it asks for something.
            server = (server + 1) % self.servers.len();
            self.catch_up(server, seen);
        }
        let address = self.servers[server].address;
        for (number, other) in self.servers.iter_mut().enumerate() {
            other.may_be_behind |= number != server;
        }
        let client = &mut self.clients[step.client];
        client.server = server;
        match &step.act {
            Act::Send { op, .. } => {
                client.receive(Some(op), seen);
                if seen.last().is_some_and(|reply| closes(op, reply)) {
                    // A ping could still be answered before the server comes to close.
                    client.receive_to_close(seen);
                } else if op.code() == op::CLOSE_SESSION && !op.is_truncated() {
                    self.closings.extend(client.zxids.last());
                    client.receive_to_close(seen);
                    client.closed = client.session.take();
                } else if !op.keeps_its_turn() && op.code() != op::PING {
                    client.probe(seen);
                }
            }
            Act::Reconnect(how) => client.reconnect(address, *how, seen),
            Act::Garbage(garbage) => {
                client.send_garbage(*garbage, seen);
                client.receive_to_close(seen);
            }
        }
    }
}

impl Server {
    /// A sync may be answered by a leader that is still behind a follower of its own.
    fn sync(&mut self, upto: i64) -> io::Result<()> {
        let until = Instant::now() + REPLY_WITHIN;
        if self.follower.is_none() {
            let handshake = Handshake::with_timeout(SESSION_MILLIS);
            self.follower = Some(Connection::connect(self.address, &handshake)?.0);
        }
        let follower = self.follower.as_mut().expect("it was just connected");
        while follower.call(&request::sync("/"))?.zxid < upto {
            if until < Instant::now() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }
}

impl Client {
    /// Takes the session up again, or begins a new one.
    fn connect(&mut self, address: SocketAddr, seen: &mut Vec<Value>) {
        if let Some(session) = self.session.take() {
            let connection = attach(address, &Handshake::resume(&session), Some(&session), seen);
            if let Some((connection, session)) = connection
                && !session.is_expired()
            {
                self.connection = Some(connection);
                self.session = Some(session);
                return;
            }
        }
        let handshake = Handshake::with_timeout(SESSION_MILLIS);
        if let Some((connection, session)) = attach(address, &handshake, None, seen) {
            self.connection = Some(connection);
            self.session = Some(session);
        }
    }

    /// Reads up to the next reply, which answers `op`.
    fn receive(&mut self, op: Option<&Op>, seen: &mut Vec<Value>) {
        let Some(connection) = &mut self.connection else {
            seen.push(value::happened("unanswered"));
            return;
        };
        loop {
            match connection.receive() {
                Ok(reply) => {
                    seen.push(value::frame(op, &reply));
                    if reply.xid != -1 {
                        if 0 < reply.zxid {
                            self.zxids.push(reply.zxid);
                        }
                        return;
                    }
                }
                Err(error) => {
                    seen.push(value::failed(&error));
                    self.connection = None;
                    return;
                }
            }
        }
    }

    fn receive_to_close(&mut self, seen: &mut Vec<Value>) {
        while self.connection.is_some() {
            self.receive(None, seen);
        }
    }

    /// Asks whether the connection is still served, and takes the events that have been sent.
    fn probe(&mut self, seen: &mut Vec<Value>) {
        let Some(connection) = &mut self.connection else { return };
        let ping = Op::Bare { code: op::PING };
        match connection.send(-2, &request::ping()) {
            Ok(()) => self.receive(Some(&ping), seen),
            Err(error) => {
                seen.push(value::failed(&error));
                self.connection = None;
            }
        }
    }

    fn send_garbage(&mut self, garbage: Garbage, seen: &mut Vec<Value>) {
        let Some(connection) = &mut self.connection else { return };
        let sent = match garbage {
            Garbage::Length(length) => connection.send_raw(&length.to_be_bytes()),
            Garbage::ShortHeader => connection.send_frame(&[0; 4]),
            Garbage::Word => connection.send_raw(b"ruok"),
        };
        if let Err(error) = sent {
            seen.push(value::failed(&error));
        }
    }

    fn reconnect(&mut self, address: SocketAddr, how: Reconnect, seen: &mut Vec<Value>) {
        self.probe(seen);
        let Some(session) = self.session.clone() else { return };
        let right = Handshake::resume(&session);
        match how {
            Reconnect::Takeover => self.take_over(address, &right, seen),
            Reconnect::OldClient => {
                self.take_over(address, &Handshake { read_only: None, ..right }, seen);
            }
            Reconnect::ReadOnlyAllowed => {
                self.take_over(address, &Handshake { read_only: Some(true), ..right }, seen);
            }
            Reconnect::AfterDrop => {
                self.connection = None;
                self.connect(address, seen);
            }
            Reconnect::WrongPassword => {
                self.intrude(address, &Handshake { password: Some(vec![7; 16]), ..right }, seen);
            }
            Reconnect::NullPassword => {
                self.intrude(address, &Handshake { password: None, ..right }, seen);
            }
            Reconnect::UnknownSession => {
                self.intrude(address, &Handshake { session_id: UNKNOWN_SESSION, ..right }, seen);
            }
            Reconnect::ClosedSession => {
                let closed = self.closed.as_ref().map(Handshake::resume);
                let unknown = Handshake { session_id: UNKNOWN_SESSION, ..right };
                self.intrude(address, &closed.unwrap_or(unknown), seen);
            }
            Reconnect::FutureZxid => {
                self.intrude(address, &Handshake { last_zxid_seen: FUTURE_ZXID, ..right }, seen);
            }
            Reconnect::Truncated => {
                let whole = right.encode().into_bytes();
                let half = Connection::open(address).and_then(|mut connection| {
                    connection.set_deadline(REPLY_WITHIN)?;
                    connection.send_frame(&whole[..20])?;
                    connection.expect_close()
                });
                seen.push(
                    half.map_or_else(|error| value::failed(&error), |()| value::happened("closed")),
                );
                self.probe(seen);
            }
        }
    }

    /// Resumes the session while the old connection is open, and watches the old one end.
    fn take_over(&mut self, address: SocketAddr, with: &Handshake, seen: &mut Vec<Value>) {
        let attached = attach(address, with, self.session.as_ref(), seen);
        self.receive_to_close(seen);
        if let Some((connection, session)) = attached
            && !session.is_expired()
        {
            self.connection = Some(connection);
            self.session = Some(session);
        }
    }

    /// Tries to connect as nobody may, and looks what became of the proper connection.
    fn intrude(&mut self, address: SocketAddr, with: &Handshake, seen: &mut Vec<Value>) {
        if let Some((mut connection, _)) = attach(address, with, None, seen) {
            let closed = connection.expect_close();
            seen.push(
                closed.map_or_else(|error| value::failed(&error), |()| value::happened("closed")),
            );
        }
        seen.push(value::happened("the proper connection"));
        self.probe(seen);
    }
}

/// Whether a server closes the connection behind this reply: to an operation that is unknown or
/// forbidden, and to an authentication that failed.
fn closes(op: &Op, reply: &Value) -> bool {
    match reply.number("err") {
        Some(-6) => !matches!(op.code(), op::CREATE_TTL | op::RECONFIG),
        Some(-115 | -124) => matches!(op.code(), op::AUTH | op::SASL),
        _ => false,
    }
}

/// Shakes hands on a new connection and notes the answer.
fn attach(
    address: SocketAddr,
    handshake: &Handshake,
    resumed: Option<&Session>,
    seen: &mut Vec<Value>,
) -> Option<(Connection, Session)> {
    let attached = Connection::connect(address, handshake).and_then(|(connection, session)| {
        connection.set_deadline(REPLY_WITHIN)?;
        Ok((connection, session))
    });
    match attached {
        Ok((connection, session)) => {
            let kept = resumed.is_none_or(|resumed| resumed.password == session.password);
            seen.push(value::connected(&session, kept));
            Some((connection, session))
        }
        Err(error) => {
            seen.push(value::failed(&error));
            None
        }
    }
}
