//! A connection whose every surprise is a failed test.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use farwatch_bench::raw::{
    Connection, Event, Handshake, MultiResult, Reply, Request, Session, Stat, ids, multi_results,
    request,
};

use super::server::{Kind, server};

/// A connection with a session.
pub struct Client {
    connection: Connection,
    /// The answer to the handshake.
    pub session: Session,
    /// The server's address.
    pub address: SocketAddr,
}

impl Client {
    /// A new session of 30 seconds on the shared server of `kind`.
    pub fn new(kind: Kind) -> Self {
        Self::at(server(kind))
    }

    /// A new session of 30 seconds at `address`.
    pub fn at(address: SocketAddr) -> Self {
        Self::with(address, &Handshake::default())
    }

    /// The session that `handshake` asks for; it must be given.
    pub fn with(address: SocketAddr, handshake: &Handshake) -> Self {
        let (connection, session) = Connection::connect(address, handshake).expect("a handshake");
        assert!(!session.is_expired(), "{handshake:?} was refused");
        assert_eq!(session.password.len(), 16);
        Self { connection, session, address }
    }

    /// A second connection that takes this session over.
    pub fn resumed(&self) -> Self {
        let client = Self::with(self.address, &Handshake::resume(&self.session));
        assert_eq!(client.session.id, self.session.id);
        client
    }

    /// A reply, whatever its error.
    pub fn call(&mut self, request: &Request) -> Reply {
        match self.connection.call(request) {
            Ok(reply) => reply,
            Err(error) => panic!("{request:?}: {error}"),
        }
    }

    /// A reply without an error.
    #[track_caller]
    pub fn ok(&mut self, request: &Request) -> Reply {
        let reply = self.call(request);
        assert_eq!(reply.err, 0, "{request:?}");
        reply
    }

    /// The error code of a reply, 0 without one. Behind an error there is no body.
    #[track_caller]
    pub fn err(&mut self, request: &Request) -> i32 {
        let reply = self.call(request);
        assert!(reply.err == 0 || reply.body.is_empty(), "{request:?}: {reply:?}");
        reply.err
    }

    /// Expects this error, then that the server closes.
    #[track_caller]
    pub fn err_and_close(&mut self, request: &Request, expected: i32) -> Reply {
        let reply = self.call(request);
        assert_eq!(reply.err, expected, "{request:?}");
        self.connection.expect_close().expect("a close behind the error");
        reply
    }

    /// Creates a persistent node open to all, with one byte of data; returns its Stat.
    #[track_caller]
    pub fn create(&mut self, path: &str) -> Stat {
        let reply = self.ok(&request::create2(path, Some(b"1"), &ids::open(), 0));
        let (created, stat) = reply.path_and_stat().expect("a path and a Stat");
        assert_eq!(created, path);
        stat
    }

    /// Creates an ephemeral node open to all.
    #[track_caller]
    pub fn create_ephemeral(&mut self, path: &str) {
        self.ok(&request::create(path, None, &ids::open(), 1));
    }

    /// Creates a root for one test, which no other test and no other run shares.
    #[track_caller]
    pub fn root(&mut self, name: &str) -> String {
        let root = format!("/{name}-{}", std::process::id());
        self.create(&root);
        root
    }

    /// Sets one byte, any version.
    #[track_caller]
    pub fn set(&mut self, path: &str, data: &str) -> Stat {
        let reply = self.ok(&request::set_data(path, Some(data.as_bytes()), -1));
        reply.stat().expect("a Stat")
    }

    /// Deletes a node of any version; returns the zxid.
    #[track_caller]
    pub fn delete(&mut self, path: &str) -> i64 {
        let reply = self.ok(&request::delete(path, -1));
        assert!(reply.body.is_empty());
        reply.zxid
    }

    /// The Stat of a node that must be there.
    #[track_caller]
    pub fn stat(&mut self, path: &str) -> Stat {
        self.ok(&request::exists(path, false)).stat().expect("a Stat")
    }

    /// Whether a node is there.
    #[track_caller]
    pub fn has(&mut self, path: &str) -> bool {
        match self.err(&request::exists(path, false)) {
            0 => true,
            -101 => false,
            other => panic!("exists {path}: {other}"),
        }
    }

    /// The results of a multi or multiRead whose header has no error.
    #[track_caller]
    pub fn multi(&mut self, request: &Request) -> Vec<MultiResult> {
        multi_results(&self.ok(request)).expect("results of a multi")
    }

    /// Waits for the next notification.
    #[track_caller]
    pub fn event(&mut self) -> (i32, String) {
        let Event { kind, path, state, .. } = self.connection.next_event().expect("an event");
        assert_eq!(state, 3);
        (kind, path)
    }

    /// The notifications caused by everything that any connection has had a reply to.
    #[track_caller]
    pub fn events(&mut self) -> Vec<(i32, String)> {
        let events = self.connection.drain_events().expect("a ping");
        events.into_iter().map(|event| (event.kind, event.path)).collect()
    }

    /// Adds the digest identity of `user:password`.
    #[track_caller]
    pub fn login(&mut self, credentials: &str) {
        let reply = self.ok(&request::auth("digest", credentials.as_bytes()));
        assert!(reply.body.is_empty());
    }

    /// Sends an auth packet; true when the server has closed the connection.
    pub fn auth_meets_a_close(&mut self) -> bool {
        let auth = request::auth("digest", b"bob:pw");
        self.connection.call(&auth).is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
    }

    /// Ends the session and waits for the server's close.
    pub fn close(mut self) {
        self.ok(&request::close_session());
        self.connection.expect_close().expect("a close behind the reply");
    }
}

impl Deref for Client {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
