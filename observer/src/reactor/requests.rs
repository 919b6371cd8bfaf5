//! From bytes to requests: what is answered here, what waits, what goes to the core.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use farwatch_core::acl::Identity;
use farwatch_core::auth;
use farwatch_core::node::submission::{Ask, Origin};
use farwatch_core::wire::jute::{Reader as JuteReader, Writer, begin_frame, end_frame};
use farwatch_core::wire::request::{AuthRequest, Request, RequestHeader, XID_PING};
use farwatch_core::wire::{ErrorCode, OpCode, ReplyHeader};
use tracing::{debug, warn};

use super::{Complaint, ConnectionKey, Next, Pending, Phase, Progress, Reactor};
use crate::four_letter::FirstBytes;
use crate::four_letter::counters::{Counter, Summary};

/// Whether an operation ends in a record of the log.
pub(super) const fn is_write(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::Create
            | OpCode::Create2
            | OpCode::CreateContainer
            | OpCode::CreateTtl
            | OpCode::Delete
            | OpCode::SetData
            | OpCode::SetAcl
            | OpCode::Multi
            | OpCode::Reconfig
    )
}

/// Replies to queued reads that may wait for one client, bytes. Only nodes that grew between a read
/// and its turn lead here: what they were expected to take is bounded when they are queued.
const QUEUED_REPLY_BYTES_MAX: usize = 64 << 20;

/// What one connection's identities may take, bytes. They accumulate, are copied with each new one,
/// and every request under way holds on to those that it was read with.
const IDENTITY_BYTES_MAX: usize = 64 << 10;

fn identity_bytes(identity: &Identity) -> usize {
    size_of::<Identity>() + identity.scheme.len() + identity.id.len()
}

/// What became of one frame.
enum Taken {
    Go,
    /// Nothing behind it is read before the connection is poked.
    Pause,
    Close,
}

impl Reactor {
    /// Acts on all whole frames in `bytes`, which begin where the last call stopped.
    pub fn on_bytes(&mut self, key: ConnectionKey, bytes: &[u8]) -> Progress {
        self.catch_up();
        self.look_at_clock();
        let now_ms = self.now_ms();
        let Some(connection) = self.connection(key) else {
            return Progress { consumed: bytes.len(), wanted: 0, next: Next::Close };
        };
        // A handshake keeps no place by coming a byte at a time, nor by bytes behind it.
        if !matches!(connection.phase, Phase::Fresh | Phase::Opening) {
            connection.heard_ms = now_ms;
        }
        if connection.phase == Phase::Closing {
            // What a client still sends is read and dropped, so that closing does not reset what
            // is on its way to it.
            return Progress { consumed: bytes.len(), wanted: 0, next: Next::Read };
        }
        self.lend_buffer(key);
        let mut consumed = 0;
        let mut taken = 0_u64;
        let (next, wanted) = loop {
            let rest = &bytes[consumed..];
            let Some((head, behind)) = rest.split_first_chunk::<4>() else {
                break (Next::Read, 4);
            };
            if !self.may_take(key) {
                break (Next::Wait, 0);
            }
            let length = match self.frame_length(key, *head) {
                Ok(length) => length,
                Err(next) => break (next, 0),
            };
            let Some(frame) = behind.get(..length) else {
                break (Next::Read, 4 + length);
            };
            if self.must_wait(key, frame) {
                break (Next::Wait, 0);
            }
            consumed += 4 + length;
            taken += 1;
            match self.on_frame(key, frame) {
                Taken::Go => {}
                Taken::Pause => break (Next::Wait, 0),
                Taken::Close => break (Next::Close, 0),
            }
        };
        // The answer to a handshake wakes its connection by itself; no delivery before does.
        let phase = self.connection(key).map(|it| it.phase);
        if next == Next::Wait && phase != Some(Phase::Opening) {
            self.mark_waiting(key);
        }
        self.take_buffer_back(key);
        let counters = self.counters();
        counters.add(Counter::PacketsReceived, taken);
        counters.add(Counter::BytesReceived, consumed as u64);
        let reads = std::mem::take(&mut self.reads);
        if let Some(reads) = NonZeroU64::new(reads) {
            // Reads of one turn share its time: a clock call for each would cost as much as they do.
            let took_us = (self.started.elapsed().as_micros() as u64 - self.now_us) / reads;
            let counters = self.counters();
            counters.latency(took_us, reads.get());
            counters.record_many(Summary::ReadLatency, took_us, reads.get());
        }
        if let Some(connection) = self.connection(key) {
            connection.stats.received += taken;
        }
        Progress { consumed, wanted, next }
    }

    /// Whether another frame of this connection may be taken now. Back-pressure: what is not taken
    /// stays in the socket, and the client waits.
    fn may_take(&mut self, key: ConnectionKey) -> bool {
        let crowded = self.is_crowded();
        let Some(connection) = self.connection(key) else { return true };
        connection.has_room()
            && connection.phase != Phase::Opening
            && !connection.draining
            && (!crowded || connection.pending.is_empty())
    }

    /// Whether this frame must wait in the socket: a write for which there is no room now. Reads pass,
    /// they need no room, and so does what is held anyway.
    fn must_wait(&mut self, key: ConnectionKey, frame: &[u8]) -> bool {
        let op = frame.get(4..8).map(|op| i32::from_be_bytes(op.try_into().expect("four bytes")));
        let Some(op) = op.and_then(OpCode::from_code).filter(|&op| is_write(op)) else {
            return false;
        };
        let begins = self
            .connection(key)
            .is_some_and(|it| it.held.is_empty() && it.hindrance(op, 0).is_none());
        begins && self.is_out_of_room()
    }

    fn frame_length(&mut self, key: ConnectionKey, head: [u8; 4]) -> Result<usize, Next> {
        let limit = self.shared.config.client_frame_bytes_max;
        let connection = self.connection(key).ok_or(Next::Close)?;
        if connection.phase == Phase::Fresh {
            match FirstBytes::read(head) {
                FirstBytes::Word(word) => return Err(Next::Word(word)),
                FirstBytes::TelnetClose => return Err(Next::Close),
                FirstBytes::FrameLength(_) => {}
            }
        }
        let length = i32::from_be_bytes(head);
        let peer = connection.peer;
        let session = connection.session;
        match usize::try_from(length) {
            Ok(length) if length <= limit => Ok(length),
            Ok(_) | Err(_) => {
                if let Some(unsaid) = self.complain(Complaint::FrameLength) {
                    warn!(%peer, %session, length, limit, unsaid,
                        "closing a connection: a frame of this length is not accepted: raise jute.maxbuffer, or find out what speaks another protocol here");
                }
                self.counters().add(Counter::LargeRequestsRejected, 1);
                Err(Next::Close)
            }
        }
    }

    fn on_frame(&mut self, key: ConnectionKey, frame: &[u8]) -> Taken {
        let phase = self.connection(key).expect("looked up by the caller").phase;
        match phase {
            Phase::Fresh => {
                if self.on_connect(key, frame) {
                    Taken::Pause
                } else {
                    Taken::Close
                }
            }
            Phase::Serving => self.on_request(key, frame),
            Phase::Opening | Phase::Closing => unreachable!("no frame is taken in this phase"),
        }
    }

    fn on_request(&mut self, key: ConnectionKey, frame: &[u8]) -> Taken {
        let mut reader = JuteReader::new(frame);
        let Ok(header) = RequestHeader::decode(&mut reader) else {
            if let Some(unsaid) = self.complain(Complaint::Header) {
                let connection = self.connection(key).expect("serving");
                warn!(peer = %connection.peer, session = %connection.session, bytes = frame.len(), unsaid,
                    "closing a connection: a request is shorter than its header");
            }
            return Taken::Close;
        };
        let body = reader.rest();
        let op = OpCode::from_code(header.op);
        let now_ms = self.now_ms();
        let connection = self.connection(key).expect("serving");
        if 0 <= header.xid {
            connection.stats.last_cxid = Some(header.xid); // no ping's
        }
        connection.stats.last_op = op;
        if op != Some(OpCode::Auth) && op != Some(OpCode::Sasl) {
            let due = connection.touched_ms + super::TOUCH_INTERVAL_MS <= now_ms;
            if due {
                connection.touched_ms = now_ms;
                let (session, timeout_ms) = (connection.session, connection.timeout_ms);
                self.submission.touch(session, timeout_ms);
                self.submitted.notify();
            }
            if !self.is_authenticated(key) {
                let code = ErrorCode::SessionClosedRequireSaslAuth;
                return self.refuse(key, header.xid, 0, code);
            }
        }
        let Some(op) = op else {
            return self.refuse(key, header.xid, -1, ErrorCode::Unimplemented);
        };
        self.counters().request(op);
        self.dispatch(key, header.xid, op, body)
    }

    /// Answers what overtakes everything; all else begins behind what was read before it.
    fn dispatch(&mut self, key: ConnectionKey, xid: i32, op: OpCode, body: &[u8]) -> Taken {
        match op {
            OpCode::Ping => {
                // Answered at once: liveness must not wait for a disk.
                let zxid = self.delivered;
                let now_us = self.now_us;
                let connection = self.connection(key).expect("serving");
                let zxid_shown = zxid.as_i64();
                ReplyHeader::encode_frame(XID_PING, zxid_shown, ErrorCode::Ok, &mut connection.out);
                connection.replied(zxid, now_us, 0);
                self.counters().add(Counter::PacketsSent, 1);
                Taken::Go
            }
            OpCode::Auth => self.on_auth(key, xid, body),
            OpCode::Sasl => {
                // A server without SASL: a null token, and the client goes on without.
                let connection = self.connection(key).expect("serving");
                let start = begin_frame(&mut connection.out);
                let mut w = Writer::new(&mut connection.out);
                ReplyHeader { xid, zxid: 0, err: 0 }.encode(&mut w);
                w.buffer(None);
                end_frame(&mut connection.out, start);
                Taken::Go
            }
            // The reaper's and the session tracker's own, and a check outside a multi: ZooKeeper
            // executes the first two for any client, without asking for permission.
            OpCode::DeleteContainer | OpCode::CreateSession | OpCode::Check => {
                self.refuse(key, xid, -1, ErrorCode::Unimplemented)
            }
            OpCode::Create
            | OpCode::Create2
            | OpCode::CreateContainer
            | OpCode::CreateTtl
            | OpCode::Delete
            | OpCode::SetData
            | OpCode::SetAcl
            | OpCode::Multi
            | OpCode::Reconfig
            | OpCode::CloseSession
            | OpCode::Sync
            | OpCode::GetEphemerals
            | OpCode::Exists
            | OpCode::GetData
            | OpCode::GetAcl
            | OpCode::GetChildren
            | OpCode::GetChildren2
            | OpCode::MultiRead
            | OpCode::CheckWatches
            | OpCode::RemoveWatches
            | OpCode::SetWatches
            | OpCode::SetWatches2
            | OpCode::GetAllChildrenNumber
            | OpCode::AddWatch
            | OpCode::WhoAmI => {
                self.begin_or_hold(key, xid, op, body);
                Taken::Go
            }
        }
    }

    /// Asks the core, or reads, as the connection was when the request came.
    pub(super) fn begin(
        &mut self,
        key: ConnectionKey,
        xid: i32,
        op: OpCode,
        body: &[u8],
        identities: Arc<[Identity]>,
    ) {
        if is_write(op) || op == OpCode::CloseSession {
            return self.submit(key, xid, op, Ask::Write(op), body, &identities);
        }
        match op {
            OpCode::Sync => {
                if let Ok(Request::Sync { path }) = Request::decode(op, body) {
                    let mut echo = Vec::with_capacity(4 + path.map_or(0, <[u8]>::len));
                    Writer::new(&mut echo).buffer(path);
                    return self.submit(key, xid, op, Ask::Sync, &echo, &identities);
                }
            }
            OpCode::GetEphemerals => {
                if let Ok(Request::GetEphemerals { prefix }) = Request::decode(op, body) {
                    let prefix = prefix.unwrap_or_default();
                    return self.submit(key, xid, op, Ask::Ephemerals, prefix, &identities);
                }
            }
            _of_the_tree => {}
        }
        self.read(key, xid, op, body, identities);
    }

    /// Answers a read now, or behind the writes of its session that came before it.
    fn read(
        &mut self,
        key: ConnectionKey,
        xid: i32,
        op: OpCode,
        body: &[u8],
        identities: Arc<[Identity]>,
    ) {
        let connection = self.connection(key).expect("serving");
        if connection.pending.is_empty() {
            self.execute(key, xid, op, body, &identities);
        } else {
            // All that is queued is answered at one moment, so it is paid for when it is queued.
            let charge = body.len() + self.expected_reply_bytes(op, body);
            let connection = self.connection(key).expect("serving");
            connection.pending_bytes += charge;
            let body = body.into();
            connection.pending.push_back(Pending::Read { xid, op, body, identities, charge });
        }
    }

    fn submit(
        &mut self,
        key: ConnectionKey,
        xid: i32,
        op: OpCode,
        ask: Ask,
        body: &[u8],
        identities: &Arc<[Identity]>,
    ) {
        let (now_us, reactor) = (self.now_us, self.id);
        let connection = self.connection(key).expect("serving");
        let sequence = connection.next_sequence;
        connection.next_sequence = sequence.wrapping_add(1);
        // Writes are bounded over all connections; what is echoed is kept by the core uncounted.
        let charge = if ask == Ask::Sync { body.len() } else { 0 };
        connection.syncs += u32::from(ask == Ask::Sync);
        connection.pending_bytes += charge;
        connection.pending.push_back(Pending::Waiting {
            sequence,
            xid,
            op,
            since_us: now_us,
            charge,
        });
        let origin =
            Origin { reactor, connection: key.index, generation: key.generation, sequence };
        let session = connection.session;
        self.submission.push(origin, session, xid, ask, body, identities);
        self.submitted.notify();
        self.shared.outstanding.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers an error in its turn, and ends the connection with it.
    fn refuse(&mut self, key: ConnectionKey, xid: i32, zxid: i64, code: ErrorCode) -> Taken {
        let connection = self.connection(key).expect("serving");
        let mut frame = Vec::with_capacity(4 + ReplyHeader::BYTES);
        ReplyHeader::encode_frame(xid, zxid, code, &mut frame);
        connection.draining = true;
        connection.stats.sent += 1;
        self.answer_last(key, frame);
        Taken::Pause
    }

    /// Counts who named an ensemble, as ZooKeeper's `EnsembleAuthenticationProvider` does.
    fn count_ensemble(&self, scheme: Option<&[u8]>, name: Option<&[u8]>, is_ours: bool) {
        let names = self.shared.auth.ensemble_names.as_ref();
        let Some(names) = names.filter(|_names| scheme == Some(b"ensemble")) else { return };
        let is_asked = !names.is_empty() && name.is_some_and(|name| !name.is_empty());
        self.counters().add(
            match (is_asked, is_ours) {
                (false, _) => Counter::EnsembleAuthSkip,
                (true, true) => Counter::EnsembleAuthSuccess,
                (true, false) => Counter::EnsembleAuthFail,
            },
            1,
        );
    }

    fn on_auth(&mut self, key: ConnectionKey, xid: i32, body: &[u8]) -> Taken {
        let Ok(Request::Auth(AuthRequest { scheme, auth })) = Request::decode(OpCode::Auth, body)
        else {
            return self.immediate(key, xid, ErrorCode::MarshallingError);
        };
        let answer = auth::authenticate(scheme, auth, &self.shared.auth);
        self.count_ensemble(scheme, auth, answer.is_ok());
        match answer {
            Ok(added) => {
                let connection = self.connection(key).expect("serving");
                let held = &connection.identities;
                let added: Vec<_> = added.into_iter().filter(|it| !held.contains(it)).collect();
                let bytes: usize = held.iter().chain(&added).map(identity_bytes).sum();
                if bytes > IDENTITY_BYTES_MAX {
                    let (peer, session) = (connection.peer, connection.session);
                    if let Some(unsaid) = self.complain(Complaint::Identities) {
                        warn!(%peer, %session, bytes, limit = IDENTITY_BYTES_MAX, unsaid,
                            "closing a connection: it has authenticated as too many");
                    }
                    self.counters().add(Counter::AuthFailed, 1);
                    self.immediate(key, xid, ErrorCode::AuthFailed);
                    return Taken::Close;
                }
                // Requests under way hold the list that they were read with: a new one only if needed.
                if !added.is_empty() {
                    connection.identities = held.iter().cloned().chain(added).collect();
                }
                self.immediate(key, xid, ErrorCode::Ok)
            }
            Err(reason) => {
                let connection = self.connection(key).expect("serving");
                debug!(peer = %connection.peer, session = %connection.session, %reason,
                    "closing a connection: its authentication was refused");
                self.counters().add(Counter::AuthFailed, 1);
                if reason != auth::AuthRefused::OtherEnsemble {
                    self.immediate(key, xid, ErrorCode::AuthFailed);
                }
                Taken::Close
            }
        }
    }

    /// Replies at once, ahead of what waits: authentication takes effect where it is read.
    fn immediate(&mut self, key: ConnectionKey, xid: i32, code: ErrorCode) -> Taken {
        let connection = self.connection(key).expect("serving");
        ReplyHeader::encode_frame(xid, 0, code, &mut connection.out);
        connection.stats.sent += 1;
        self.counters().add(Counter::PacketsSent, 1);
        Taken::Go
    }

    fn is_authenticated(&mut self, key: ConnectionKey) -> bool {
        if self.shared.config.authentication.enforced_schemes.is_empty() {
            return true;
        }
        let shared = Arc::clone(&self.shared);
        let schemes = &shared.config.authentication.enforced_schemes;
        let connection = self.connection(key).expect("serving");
        connection.identities.iter().any(|identity| schemes.contains(&identity.scheme))
    }

    /// Sends the replies at the head of a connection's queue that are ready, and runs the reads
    /// that nothing waits in front of any more.
    pub(super) fn run_queue(&mut self, key: ConnectionKey) {
        let now_ms = self.now_ms();
        loop {
            let Some(connection) = self.connection(key) else { return };
            match connection.pending.pop_front() {
                None => break,
                Some(waiting @ Pending::Waiting { .. }) => {
                    connection.pending.push_front(waiting);
                    break;
                }
                Some(Pending::Last { frame }) => {
                    connection.out.extend_from_slice(&frame);
                    self.end(key);
                }
                Some(Pending::Read { xid, op, body, identities, charge }) => {
                    connection.pending_bytes -= charge;
                    if connection.out.len() > QUEUED_REPLY_BYTES_MAX {
                        warn!(peer = %connection.peer, session = %connection.session,
                            "closing a connection: the replies to what it sent without reading are too large");
                        connection.cut(now_ms);
                        break;
                    }
                    self.execute(key, xid, op, &body, &identities);
                }
            }
        }
        self.mark_dirty(key);
    }

    /// The client has ended the connection, which counts unless this server did before.
    pub(crate) fn left_by_client(&mut self, key: ConnectionKey) {
        if self.connection(key).is_some_and(|it| it.phase != Phase::Closing && !it.draining) {
            self.counters().add(Counter::ConnectionsDropped, 1);
        }
    }

    /// Nothing more is read from this connection; it ends when its buffer is sent.
    pub(crate) fn end(&mut self, key: ConnectionKey) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connection(key) else { return };
        connection.phase = Phase::Closing;
        connection.closing_since_ms = now_ms;
        connection.forget_queue();
        connection.syncs = 0;
        connection.draining = false;
        if connection.out.is_empty() && connection.writer.is_some() {
            connection.socket.finish();
        }
        connection.signal.notify();
        self.mark_dirty(key);
    }
}
