//! The first frame of a connection, and what the core makes of it.

use farwatch_core::node::submission::{Ask, Origin};
use farwatch_core::wire::handshake::{ConnectRequest, ConnectResponse, Password};
use farwatch_core::wire::jute::{begin_frame, end_frame};
use farwatch_core::zxid::SessionId;
use tracing::{debug, warn};

use super::{Complaint, ConnectionKey, Phase, Reactor};
use crate::four_letter::counters::Counter;

impl Reactor {
    /// Takes a handshake. False: the connection ends without a byte, so that its client tries
    /// another server.
    pub(super) fn on_connect(&mut self, key: ConnectionKey, frame: &[u8]) -> bool {
        self.counters().add(Counter::ConnectionRequests, 1);
        let applied = self.shared.applied();
        let now_ms = self.now_ms();
        let limits = self.shared.timeout_limits;
        let reactor = self.id;
        let connection = self.connection(key).expect("fresh");
        let peer = connection.peer;
        let Ok(request) = ConnectRequest::decode(frame) else {
            if let Some(unsaid) = self.complain(Complaint::Handshake) {
                warn!(%peer, bytes = frame.len(), unsaid, "closing a connection: its handshake does not decode: find out what speaks another protocol here");
            }
            return false;
        };
        if request.last_zxid_seen > applied.as_i64() {
            debug!(%peer, seen = request.last_zxid_seen, %applied,
                "closing a connection: its client has seen more than this server has applied");
            return false;
        }
        let timeout_ms = limits.negotiate(request.timeout_ms);
        connection.phase = Phase::Opening;
        connection.heard_ms = now_ms;
        connection.timeout_ms = timeout_ms;
        // Who only wants to read is refused like all others where it is not served; else it is told.
        connection.read_only_byte = request.read_only.map(|_| false);
        let read_only = request.read_only == Some(true);
        let origin = Origin {
            reactor,
            connection: key.index,
            generation: key.generation,
            sequence: u32::MAX,
        };
        let (ask, body) = if request.session == SessionId::NONE {
            let password = Password(self.shared.random_bytes());
            (Ask::Open { timeout_ms, password, read_only }, &[][..])
        } else {
            self.counters().add(Counter::ConnectionsRevalidated, 1);
            (Ask::Resume { timeout_ms, read_only }, request.password.unwrap_or_default())
        };
        let none = &self.shared.no_identities;
        self.submission.push(origin, request.session, 0, ask, body, none);
        self.submitted.notify();
        true
    }

    /// The session is this connection's from now on.
    pub(super) fn attached(
        &mut self,
        key: ConnectionKey,
        session: SessionId,
        password: Password,
        timeout_ms: i32,
        reads_only: bool,
    ) {
        let now_ms = self.now_ms();
        let found = self.connection(key).filter(|it| it.phase != Phase::Closing);
        let Some(connection) = found else {
            // The client left, or was cut off, before its session was made. Say so, or the core
            // would think the session attached until it expires.
            self.leave(key, session);
            return;
        };
        connection.phase = Phase::Serving;
        connection.session = session;
        connection.timeout_ms = timeout_ms;
        connection.touched_ms = now_ms;
        connection.stats.sent += 1;
        connection.read_only_byte = connection.read_only_byte.map(|_| reads_only);
        let read_only = connection.read_only_byte;
        let start = begin_frame(&mut connection.out);
        ConnectResponse { timeout_ms, session, password, read_only }.encode(&mut connection.out);
        end_frame(&mut connection.out, start);
        connection.signal.notify();
        self.sessions.insert(session, key);
        self.counters().add(Counter::PacketsSent, 1);
        self.mark_dirty(key);
    }

    /// The session is over, or the password was not its own: both look alike.
    pub(super) fn expired(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else { return };
        let response = ConnectResponse::expired(connection.read_only_byte);
        let start = begin_frame(&mut connection.out);
        response.encode(&mut connection.out);
        end_frame(&mut connection.out, start);
        self.end(key);
    }

    /// Another connection took the session over.
    pub(super) fn displaced(&mut self, key: ConnectionKey, session: SessionId) {
        if self.sessions.get(&session) == Some(&key) {
            self.sessions.remove(&session);
        }
        let now_ms = self.now_ms();
        let Some(connection) = self.connection(key) else { return };
        connection.session = SessionId::NONE;
        connection.cut(now_ms);
    }
}
