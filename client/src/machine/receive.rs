//! What the server says: frames, the handshake's answer, replies, notifications.

use farwatch_core::wire::handshake::Password;
use farwatch_core::wire::jute::{DecodeError, Reader};
use farwatch_core::wire::request::{XID_AUTH, XID_NOTIFICATION, XID_PING, XID_SET_WATCHES};
use farwatch_core::wire::{ConnectResponse, ErrorCode, OpCode, ReplyHeader, WatcherEvent};
use farwatch_core::zxid::SessionId;

use super::{InFlight, LinkAction, Machine, Output, Phase, REPLY_BYTES_MAX};
use crate::error::ClientError;
use crate::event::{Event, NodeEvent, NodeEventKind, SessionState};
use crate::operation::{WatchKind, changes_state, strip_chroot};
use crate::outcome::Outcome;
use crate::watch_set::{Effect, WatchTable};

/// The connection is of no more use: what came cannot be a ZooKeeper server's.
struct Garbage;

impl From<DecodeError> for Garbage {
    fn from(_error: DecodeError) -> Self {
        Self
    }
}

impl<C> Machine<C> {
    /// Handler: the server sent `bytes`, cut anywhere.
    pub fn handle_bytes(&mut self, now_ms: u64, bytes: &[u8]) {
        match &mut self.phase {
            Phase::Connected { heard_ms, .. } => *heard_ms = now_ms,
            Phase::Handshaking { .. } => {}
            Phase::Idle | Phase::Waiting { .. } | Phase::Dialing { .. } | Phase::Over(_) => return,
        }
        if self.incoming.is_empty() {
            // The usual case: whole frames, read where they are.
            let used = self.handle_frames(now_ms, bytes);
            if self.has_link() {
                self.incoming.extend_from_slice(&bytes[used..]);
            }
        } else {
            self.incoming.extend_from_slice(bytes);
            let incoming = std::mem::take(&mut self.incoming);
            let used = self.handle_frames(now_ms, &incoming);
            if self.has_link() {
                self.incoming = incoming;
                self.incoming.drain(..used);
            }
        }
    }

    fn has_link(&self) -> bool {
        matches!(self.phase, Phase::Connected { .. } | Phase::Handshaking { .. })
    }

    /// Handles every whole frame in `bytes` and returns how many bytes they took.
    fn handle_frames(&mut self, now_ms: u64, bytes: &[u8]) -> usize {
        let mut used = 0;
        while let Some((length, rest)) = bytes[used..].split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if REPLY_BYTES_MAX < length {
                self.hang_up_on_garbage(now_ms);
                break;
            }
            let Some(body) = rest.get(..length) else { break };
            if self.handle_frame(now_ms, body).is_err() {
                self.hang_up_on_garbage(now_ms);
            }
            used += 4 + length;
            if !self.has_link() {
                break; // expired, closed or garbage: what follows belongs to nothing
            }
        }
        used
    }

    fn hang_up_on_garbage(&mut self, now_ms: u64) {
        tracing::warn!("the server's bytes do not decode; trying another server");
        self.lose_link(now_ms);
    }

    fn handle_frame(&mut self, now_ms: u64, body: &[u8]) -> Result<(), Garbage> {
        if matches!(self.phase, Phase::Handshaking { .. }) {
            let response = ConnectResponse::decode(body)?;
            self.handle_handshake(now_ms, response);
            return Ok(());
        }
        let mut r = Reader::new(body);
        let header = ReplyHeader::decode(&mut r)?;
        match header.xid {
            XID_NOTIFICATION => self.handle_notification(header.zxid, &mut r)?,
            XID_PING | XID_SET_WATCHES => {}
            XID_AUTH => self.handle_auth(now_ms, header.err)?,
            _xid => self.handle_reply(now_ms, header, &mut r)?,
        }
        Ok(())
    }

    fn handle_handshake(&mut self, now_ms: u64, response: ConnectResponse) {
        if response.timeout_ms <= 0 || response.session == SessionId::NONE {
            self.expire(now_ms);
            return;
        }
        let was_guest = self.session.id == SessionId::NONE || self.is_guest;
        self.session.id = response.session;
        self.session.password = response.password;
        self.timeout_ms = response.timeout_ms as u64;
        self.read_only_now = response.read_only.unwrap_or(false);
        self.is_guest = was_guest && self.read_only_now;
        if !self.read_only_now {
            self.prove_lease(self.lease.handshake_ms); // the leader gave or confirmed the session
        }
        self.enter_session(now_ms);
    }

    /// The session is over, and its owner hears so exactly once: a new session, if one was asked
    /// for, has another id.
    fn expire(&mut self, now_ms: u64) {
        if !self.settings.renew_expired {
            self.finish(ClientError::SessionExpired, SessionState::Expired);
            return;
        }
        if self.session.id == SessionId::NONE {
            // Nothing has expired: this server gives no session. Another one may, or this one later.
            self.lose_link(now_ms);
            return;
        }
        self.session.id = SessionId::NONE;
        self.session.password = Password::ZERO;
        self.is_guest = false;
        self.void_lease();
        self.links.push_back(LinkAction::HangUp);
        self.drop_link_state();
        self.fail_all(&ClientError::SessionExpired);
        self.outputs.push_back(Output::Event(Event::Session(SessionState::Expired)));
        self.phase = Phase::Waiting { until_ms: now_ms };
    }

    fn handle_notification(&mut self, zxid: i64, r: &mut Reader<'_>) -> Result<(), Garbage> {
        let event = WatcherEvent::decode(r)?;
        // The next server must not be behind it. What changed with it and was not told yet must still be told,
        // so the watches are armed anew as of the last reply.
        self.told_zxid = self.told_zxid.max(zxid);
        let path = String::from_utf8_lossy(event.path);
        self.watches.fired(event.kind, &path);
        // Outside the chroot only the configuration is ever watched.
        let path = strip_chroot(&self.settings.chroot, &path).unwrap_or(&path).to_owned();
        self.push_node_event(event.kind.into(), path, zxid);
        Ok(())
    }

    fn push_node_event(&mut self, kind: NodeEventKind, path: String, zxid: i64) {
        self.outputs.push_back(Output::Event(Event::Node(NodeEvent { kind, path, zxid })));
    }

    fn handle_auth(&mut self, now_ms: u64, err: i32) -> Result<(), Garbage> {
        let id = self.auth_due.pop_front().ok_or(Garbage)?;
        let Some(place) = self.credentials.iter().position(|credential| credential.id == id) else {
            return Ok(()); // replaced by an equal one meanwhile
        };
        let waiting = self.credentials[place].waiting.take();
        let result = if err == 0 {
            Ok(Outcome::Done)
        } else {
            // Sent again it would only be refused again, and cost each later connection.
            self.credentials.remove(place);
            self.outputs.push_back(Output::Event(Event::Session(SessionState::AuthFailed)));
            Err(server_error(err))
        };
        if let Some(context) = waiting {
            self.outputs.push_back(Output::Completed { context, result });
        }
        if err != 0 {
            // The server closes behind its refusal: what is submitted now must not go down with it.
            self.lose_link(now_ms);
        }
        Ok(())
    }

    fn handle_reply(
        &mut self,
        now_ms: u64,
        header: ReplyHeader,
        r: &mut Reader<'_>,
    ) -> Result<(), Garbage> {
        let op = match self.in_flight.front() {
            Some(front) if front.xid == header.xid => front.op,
            Some(_) | None => return Err(Garbage), // replies come in order or not at all
        };
        if 0 < header.zxid {
            self.session.last_zxid = self.session.last_zxid.max(header.zxid);
        }
        // Still in flight: should decoding panic, the request is among those that are told.
        let result = if header.err == 0 {
            match Outcome::decode(op, r, &self.settings.chroot) {
                Ok(outcome) => Ok(outcome),
                Err(_malformed) => Err(ClientError::BadReply),
            }
        } else if header.err == ErrorCode::ConnectionLoss.code() {
            // A server that lost its leader says so, and keeps the connection: nobody knows.
            Err(ClientError::ConnectionLoss { maybe_applied: changes_state(op) })
        } else {
            Err(server_error(header.err))
        };
        let sent = self.in_flight.pop_front().expect("the front that was looked at");
        let InFlight { effect, at_least, sent_ms, context, .. } = sent;
        if Self::is_from_leader(op, &result) {
            self.prove_lease(sent_ms);
        }
        self.apply_effect(&result, effect);
        let garbage = result == Err(ClientError::BadReply);
        let result = match result {
            // That there is no such node is an answer, too.
            Ok(_) | Err(ClientError::Server(ErrorCode::NoNode)) if header.zxid < at_least => {
                Err(ClientError::Stale { wanted: at_least, seen: header.zxid })
            }
            result => result,
        };
        if let Some(context) = context {
            self.outputs.push_back(Output::Completed { context, result });
        }
        if op == OpCode::CloseSession {
            self.finish(ClientError::Closed, SessionState::Closed);
        }
        if garbage {
            return Err(Garbage);
        }
        self.move_if_idle(now_ms);
        Ok(())
    }

    /// Follows what the server did with a watch, so that the next server can be told the same.
    fn apply_effect(&mut self, result: &Result<Outcome, ClientError>, effect: Effect) {
        match (effect, result) {
            (Effect::None, _) => {}
            // exists watches the data of a node that is there, the creation of one that is not.
            (Effect::Arm(WatchTable::Exist, path), Ok(_)) => {
                self.watches.arm(WatchTable::Data, path);
            }
            (Effect::Arm(WatchTable::Exist, path), Err(ClientError::Server(ErrorCode::NoNode))) => {
                self.watches.arm(WatchTable::Exist, path)
            }
            (Effect::Arm(table, path), Ok(_)) => self.watches.arm(table, path),
            (Effect::Disarm(kind, path), Ok(_)) => self.disarm(kind, &path),
            (Effect::Arm(..) | Effect::Disarm(..), Err(_)) => {}
        }
    }

    fn disarm(&mut self, kind: WatchKind, path: &str) {
        let kinds = [
            NodeEventKind::DataWatchRemoved,
            NodeEventKind::ChildWatchRemoved,
            NodeEventKind::PersistentWatchRemoved,
        ];
        let removed = self.watches.disarm(kind, path);
        let path = strip_chroot(&self.settings.chroot, path).unwrap_or(path);
        for (kind, _) in kinds.into_iter().zip(removed).filter(|(_, removed)| *removed) {
            self.push_node_event(kind, path.to_owned(), -1);
        }
    }
}

fn server_error(err: i32) -> ClientError {
    match ErrorCode::from_code(err) {
        Some(code) => ClientError::Server(code),
        None => ClientError::UnknownCode(err),
    }
}
