//! A client that goes from server to server with one session, and never back in time.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use farwatch_bench::raw::{Connection, Event, Handshake, Reply, Request, Session};

use super::servers::PATIENCE;

/// How long a client waits for an answer before it looks for another server.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// One session and, most of the time, a connection.
pub struct Client {
    servers: Vec<SocketAddr>,
    /// Which of them is next.
    at: usize,
    connection: Option<Connection>,
    session: Option<Session>,
    timeout_ms: i32,
    answer_within: Duration,
    last_zxid: i64,
    xid: i32,
    heard: Instant,
    /// Notifications before the last reply, oldest first.
    pub events: Vec<Event>,
    /// Connections that were lost.
    pub drops: u32,
}

impl Client {
    /// A client that prefers the server at place `at`. It is not connected yet.
    pub fn new(servers: Vec<SocketAddr>, at: usize, timeout_ms: i32) -> Self {
        Self {
            servers,
            at,
            connection: None,
            session: None,
            timeout_ms,
            answer_within: ANSWER_WITHIN,
            last_zxid: 0,
            xid: 0,
            heard: Instant::now(),
            events: Vec::new(),
            drops: 0,
        }
    }

    /// A connected client of one server.
    #[track_caller]
    pub fn of(server: SocketAddr) -> Self {
        let mut client = Self::new(vec![server], 0, 10_000);
        client.connect();
        client
    }

    pub fn with_patience(mut self, answer_within: Duration) -> Self {
        self.answer_within = answer_within;
        self
    }

    pub fn session_id(&self) -> i64 {
        self.session.as_ref().map_or(0, |session| session.id)
    }

    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Connects to the next server that takes it. Panics when the session is over or none does.
    #[track_caller]
    pub fn connect(&mut self) {
        let asked = Instant::now();
        while !self.try_connect() {
            assert!(asked.elapsed() < PATIENCE, "no server took the client within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(2)); // a refused connect costs nothing
        }
    }

    /// Tries one server.
    pub fn try_connect(&mut self) -> bool {
        if self.connection.is_some() {
            return true;
        }
        let address = self.servers[self.at];
        match self.shake_hands(address) {
            Ok((connection, session)) => {
                assert!(
                    !session.is_expired(),
                    "the session {:#x} was ended by {address} {:?} after its client was last heard",
                    self.session_id(),
                    self.heard.elapsed()
                );
                if let Some(before) = &self.session {
                    assert_eq!(before.id, session.id, "a session became another one");
                }
                self.heard = Instant::now();
                self.session = Some(session);
                self.connection = Some(connection);
                true
            }
            Err(_) => {
                self.at = (self.at + 1) % self.servers.len();
                false
            }
        }
    }

    fn shake_hands(&self, address: SocketAddr) -> io::Result<(Connection, Session)> {
        let fresh = Handshake::with_timeout(self.timeout_ms);
        let mut handshake = self.session.as_ref().map_or(fresh, Handshake::resume);
        handshake.last_zxid_seen = self.last_zxid;
        let mut connection = Connection::open(address)?;
        connection.set_deadline(self.answer_within)?;
        connection.send_frame(handshake.encode().as_bytes())?;
        let session = Session::parse(&connection.receive_frame()?)?;
        Ok((connection, session))
    }

    /// Sends one request and waits for its reply. `None`: the connection was lost, and what became
    /// of the request is not known.
    pub fn call(&mut self, request: &Request) -> Option<Reply> {
        self.events.clear();
        self.connect();
        let reply = self.exchange(request);
        if reply.is_err() {
            self.leave();
        }
        reply.ok()
    }

    /// As [`Self::call`], where nothing may go wrong.
    #[track_caller]
    pub fn must(&mut self, request: &Request) -> Reply {
        self.call(request).expect("the connection lives")
    }

    /// Drops the connection; the next server is tried first.
    pub fn leave(&mut self) {
        self.connection = None;
        self.drops += 1;
        self.at = (self.at + 1) % self.servers.len();
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Reply> {
        self.xid += 1;
        let connection = self.connection.as_mut().expect("it is connected");
        connection.send(self.xid, request)?;
        loop {
            let reply = connection.receive()?;
            if reply.xid == -1 {
                let event = Event::parse(&reply)?;
                // The catch-up behind a reconnect has no zxid.
                if event.zxid != -1 {
                    assert!(self.last_zxid <= event.zxid, "an event of the past: {event:?}");
                }
                self.events.push(event);
                continue;
            }
            assert_eq!(reply.xid, self.xid, "a reply to another request");
            assert!(
                self.last_zxid <= reply.zxid,
                "the zxid of replies went back from {:#x} to {:#x} at {}",
                self.last_zxid,
                reply.zxid,
                self.servers[self.at]
            );
            self.last_zxid = reply.zxid;
            self.heard = Instant::now();
            return Ok(reply);
        }
    }
}
