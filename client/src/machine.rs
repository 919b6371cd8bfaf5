//! A session as a machine: bytes and time in, bytes and events out; no socket, no clock, no thread.
//!
//! ```text
//!           start                dial                connected            ConnectResponse
//!  Idle ──────────► Waiting ──────────► Dialing ───────────────► Handshaking ──────────► Connected
//!                      ▲   (until_ms)      │ refused, slow           │ closed, slow          │
//!                      └───────────────────┴─────────────────────────┴───────────────────────┘
//!                                                    expired, closed by us ──────────► Over
//! ```
//!
//! The methods of [`Machine`] are of four kinds. *Commands* come from the application: `start`,
//! `submit`, `abandon`, `close`. *Handlers* tell what the world did: `handle_connected`,
//! `handle_bytes`, `handle_disconnected`, `handle_timeout`. *Polls* say what to do now:
//! `poll_link`, `poll_transmit`, `poll_output`, `poll_timeout`. After any command or handler, call
//! the polls until they return nothing. *Getters* change nothing.
//!
//! Requests go out in the order of `submit` and are answered in that order. When a connection
//! breaks, everything that was sent fails with a connection loss; what was submitted while no
//! server was connected waits for one.

use std::collections::VecDeque;

use farwatch_core::limits::CLIENT_FRAME_BYTES_MAX;
use farwatch_core::wire::handshake::Password;
use farwatch_core::wire::jute::{Writer, begin_frame, end_frame};
use farwatch_core::wire::request::{AuthRequest, Request, RequestHeader, XID_AUTH};
use farwatch_core::wire::{ConnectRequest, OpCode};
use farwatch_core::zxid::SessionId;

use crate::backoff::{Rotation, ServerChoice};
use crate::error::ClientError;
use crate::event::{Event, SessionState};
use crate::operation::{Prepared, changes_state};
use crate::outcome::Outcome;
use crate::watch_set::{Effect, WatchSet};
use lease::Lease;
use moving::Move;

pub use requests::Refused;
pub use token::{SessionToken, TokenError};

mod lease;
mod moving;
mod receive;
mod requests;
#[cfg(test)]
mod tests;
mod token;

/// Requests that wait for a connection. More would hide for long that no server is there.
pub const QUEUED_REQUESTS_MAX: usize = 10_000;

/// Requests that were sent and not answered. A caller that submits faster than the server answers
/// is told so before it fills the memory.
pub const IN_FLIGHT_REQUESTS_MAX: usize = 100_000;

/// Bytes that wait for the socket, for the same reason.
pub const OUTGOING_BYTES_MAX: usize = 64 << 20;

/// Largest reply, bytes. A server sets no limit to its replies: a list of a million children has
/// tens of megabytes. Beyond this the length is taken for garbage.
pub const REPLY_BYTES_MAX: usize = 256 << 20;

/// Shortest time given to one server to accept and answer the handshake, milliseconds.
pub const CONNECT_MS_MIN: u64 = 1000;

/// Bytes of a frame that precede the body: length and header.
const FRAME_HEAD_BYTES: usize = 4 + RequestHeader::BYTES;

/// What a [`Machine`] is told once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many servers there are to choose from.
    pub servers: usize,
    /// Which of them to try first.
    pub choice: ServerChoice,
    /// Empty, or the path that stands for `/`.
    pub chroot: String,
    /// Wanted session timeout, milliseconds; the server may grant another.
    pub session_timeout_ms: u32,
    /// Whether a server that can only read is acceptable.
    pub read_only: bool,
    /// A session to take up instead of a new one.
    pub resume: Option<SessionToken>,
    /// Whether to begin a new session when the old one has expired. The expiry is told all the
    /// same; credentials and watches go over to the new session, ephemeral nodes cannot.
    pub renew_expired: bool,
    /// Orders the servers and spreads the waits.
    pub seed: u64,
    /// Largest frame to send, bytes: the servers' `jute.maxbuffer`.
    pub frame_bytes_max: usize,
}

impl Settings {
    /// For `servers` servers, with the defaults of ZooKeeper's own clients.
    pub fn new(servers: usize, seed: u64) -> Self {
        Self {
            servers,
            choice: ServerChoice::Random,
            chroot: String::new(),
            session_timeout_ms: 30_000,
            read_only: false,
            resume: None,
            renew_expired: false,
            seed,
            frame_bytes_max: CLIENT_FRAME_BYTES_MAX,
        }
    }
}

/// Names a submitted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// The id as a number, for those who keep it where this type cannot go.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The id that has this number. One that was never given is that of a completed request.
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }
}

/// What the owner of the machine does with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkAction {
    /// Connect to the server of this index; then call `handle_connected` or `handle_disconnected`.
    Dial {
        /// Index into the caller's list.
        server: usize,
        /// Give up at this time, milliseconds.
        deadline_ms: u64,
    },
    /// Close the connection, without any further call for it.
    HangUp,
}

/// What the machine has to say.
#[derive(Debug)]
pub enum Output<C> {
    /// Something happened.
    Event(Event),
    /// A submitted request has its result.
    Completed {
        /// What was given to `submit`.
        context: C,
        /// The answer, or why there is none.
        result: Result<Outcome, ClientError>,
    },
}

/// What became of an abandoned request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abandoned {
    /// It never left and never will.
    Unsent,
    /// It was sent; its reply will be dropped.
    Sent {
        /// Whether it may have been, or may still be, applied.
        maybe_applied: bool,
    },
    /// It was completed already.
    Completed,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Waiting { until_ms: u64 },
    Dialing { deadline_ms: u64 },
    Handshaking { deadline_ms: u64 },
    Connected { heard_ms: u64, sent_ms: u64 },
    Over(ClientError),
}

#[derive(Debug)]
struct InFlight<C> {
    id: u64,
    xid: i32,
    op: OpCode,
    effect: Effect,
    /// The answer is refused when it shows an older state.
    at_least: i64,
    sent_ms: u64,
    /// `None` once abandoned.
    context: Option<C>,
}

#[derive(Debug)]
struct Queued<C> {
    id: u64,
    prepared: Prepared,
    context: C,
}

#[derive(Debug)]
struct Credential<C> {
    id: u64,
    scheme: String,
    auth: Vec<u8>,
    /// Who waits for its first acceptance.
    waiting: Option<C>,
}

/// The session. `C` is what the caller wants back with each result.
#[derive(Debug)]
pub struct Machine<C> {
    settings: Settings,
    phase: Phase,
    rotation: Rotation,
    session: SessionToken,
    /// What the server granted, or what we want while there is no session yet.
    timeout_ms: u64,
    read_only_now: bool,
    /// Only servers that can read and no more have given the session: it is theirs, each one's own.
    is_guest: bool,
    /// The newest transaction that an event told of, which no reply need have shown.
    told_zxid: i64,
    closing: bool,
    next_id: u64,
    next_xid: i32,
    queued: VecDeque<Queued<C>>,
    in_flight: VecDeque<InFlight<C>>,
    credentials: Vec<Credential<C>>,
    /// Ids of the credentials whose reply is due on this connection, in order.
    auth_due: VecDeque<u64>,
    watches: WatchSet,
    lease: Lease,
    moving: Option<Move>,
    /// A move has said which server is next.
    is_dial_fixed: bool,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    links: VecDeque<LinkAction>,
    outputs: VecDeque<Output<C>>,
}

impl<C> Machine<C> {
    /// A session that does nothing before `start`.
    pub fn new(settings: Settings) -> Self {
        let rotation = Rotation::new(settings.servers, settings.seed, settings.choice);
        Self {
            session: settings.resume.unwrap_or(SessionToken::NONE),
            timeout_ms: u64::from(settings.session_timeout_ms),
            settings,
            phase: Phase::Idle,
            rotation,
            read_only_now: false,
            is_guest: false,
            told_zxid: 0,
            closing: false,
            next_id: 1,
            next_xid: 1,
            queued: VecDeque::new(),
            in_flight: VecDeque::new(),
            credentials: Vec::new(),
            auth_due: VecDeque::new(),
            watches: WatchSet::default(),
            lease: Lease::default(),
            moving: None,
            is_dial_fixed: false,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            links: VecDeque::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Command: begins to connect, unless it was closed before.
    pub fn start(&mut self, now_ms: u64) {
        if self.is_over() {
            return;
        }
        assert!(matches!(self.phase, Phase::Idle), "a machine is started once");
        self.phase = Phase::Waiting { until_ms: now_ms };
        self.handle_timeout(now_ms);
    }

    /// Command: ends the session. What was submitted before is executed before. Without a
    /// connection the server is not told, and the session lives until its timeout.
    pub fn close(&mut self, now_ms: u64, context: C) {
        if matches!(self.phase, Phase::Over(_)) || self.closing {
            self.outputs.push_back(Output::Completed { context, result: Ok(Outcome::Done) });
        } else if self.is_connected() {
            self.closing = true;
            let id = self.next_id;
            self.next_id += 1;
            let prepared = Prepared {
                op: OpCode::CloseSession,
                body: Vec::new(),
                effect: Effect::None,
                at_least: 0,
            };
            self.send(now_ms, id, prepared, Some(context));
        } else {
            let result = Err(ClientError::ConnectionLoss { maybe_applied: false });
            self.outputs.push_back(Output::Completed { context, result });
            self.finish(ClientError::Closed, SessionState::Closed);
        }
    }

    /// Command: leaves the session alive at the servers and ends here. What has no reply yet fails
    /// with a connection loss. Returns what another machine needs to take the session up.
    pub fn detach(&mut self) -> Option<SessionToken> {
        if self.is_over() {
            return None;
        }
        self.fail_in_flight(|op| ClientError::ConnectionLoss { maybe_applied: changes_state(op) });
        self.finish(ClientError::Closed, SessionState::Closed);
        self.session()
    }

    /// Command: nobody will drive this any more, since who did has panicked. What waits is told so.
    pub fn give_up(&mut self) {
        if !self.is_over() {
            self.finish(ClientError::Panicked, SessionState::Closed);
        }
    }

    /// Handler: the server's name was resolved, and now it is dialled: its time counts from here, however
    /// long the resolver took. Returns when to give up, milliseconds.
    pub fn handle_resolved(&mut self, now_ms: u64) -> u64 {
        let until_ms = now_ms + self.connect_ms();
        if let Phase::Dialing { deadline_ms } = &mut self.phase {
            *deadline_ms = until_ms;
        }
        until_ms
    }

    /// Handler: the connection that was asked for stands.
    pub fn handle_connected(&mut self, now_ms: u64) {
        let Phase::Dialing { deadline_ms } = self.phase else {
            return; // the attempt was given up meanwhile, and the owner was told to hang up
        };
        self.phase = Phase::Handshaking { deadline_ms };
        self.lease.handshake_ms = now_ms;
        self.incoming.clear();
        self.outgoing.clear();
        // A guest's session is known nowhere else; as ZooKeeper's clients do, it asks for a new one.
        let is_new = self.session.id == SessionId::NONE || self.is_guest;
        let session = if is_new { SessionId::NONE } else { self.session.id };
        let password = if is_new { Password::ZERO } else { self.session.password };
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.session.last_zxid.max(self.told_zxid),
            timeout_ms: i32::try_from(self.settings.session_timeout_ms).unwrap_or(i32::MAX),
            session,
            password: Some(&password.0),
            read_only: Some(self.settings.read_only),
        };
        let start = begin_frame(&mut self.outgoing);
        request.encode(&mut self.outgoing);
        end_frame(&mut self.outgoing, start);
    }

    /// Handler: the connection, or the attempt at one, failed or was closed by the server.
    pub fn handle_disconnected(&mut self, now_ms: u64) {
        self.lose_link(now_ms);
        self.links.retain(|action| *action != LinkAction::HangUp); // it is down already
    }

    /// Handler: time has passed. Call it at [`Machine::poll_timeout`] or later.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        match self.phase {
            Phase::Idle | Phase::Over(_) => {}
            Phase::Waiting { until_ms } => {
                if until_ms <= now_ms {
                    let deadline_ms = now_ms + self.connect_ms();
                    self.phase = Phase::Dialing { deadline_ms };
                    let server = self.rotation.take();
                    self.links.push_back(LinkAction::Dial { server, deadline_ms });
                }
            }
            Phase::Dialing { deadline_ms } | Phase::Handshaking { deadline_ms } => {
                if deadline_ms <= now_ms {
                    self.lose_link(now_ms);
                }
            }
            Phase::Connected { heard_ms, sent_ms } => {
                if heard_ms + self.silence_ms_max() <= now_ms {
                    return self.lose_link(now_ms);
                }
                if sent_ms + self.ping_ms() <= now_ms {
                    Request::Ping
                        .encode_frame(farwatch_core::wire::request::XID_PING, &mut self.outgoing);
                    self.phase = Phase::Connected { heard_ms, sent_ms: now_ms };
                }
                self.refresh_lease(now_ms);
                self.move_if_idle(now_ms);
            }
        }
    }

    /// Poll: what to do with the connection.
    pub fn poll_link(&mut self) -> Option<LinkAction> {
        self.links.pop_front()
    }

    /// Poll: moves the bytes to send behind those in `out`. Returns whether there were any.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) -> bool {
        if self.outgoing.is_empty() {
            return false;
        }
        if out.is_empty() {
            std::mem::swap(out, &mut self.outgoing); // both buffers go on being reused
        } else {
            out.append(&mut self.outgoing);
        }
        true
    }

    /// Poll: the next event or result, in order.
    pub fn poll_output(&mut self) -> Option<Output<C>> {
        self.outputs.pop_front()
    }

    /// Poll: when to call [`Machine::handle_timeout`] at the latest, milliseconds.
    pub fn poll_timeout(&self) -> Option<u64> {
        match self.phase {
            Phase::Idle | Phase::Over(_) => None,
            Phase::Waiting { until_ms } => Some(until_ms),
            Phase::Dialing { deadline_ms } | Phase::Handshaking { deadline_ms } => {
                Some(deadline_ms)
            }
            Phase::Connected { heard_ms, sent_ms } => {
                let due_ms = (heard_ms + self.silence_ms_max()).min(sent_ms + self.ping_ms());
                Some(self.lease_due_ms().map_or(due_ms, |lease_ms| due_ms.min(lease_ms)))
            }
        }
    }

    /// Getter: whether a server serves the session now.
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected { .. })
    }

    /// Getter: whether the session has ended for good.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over(_))
    }

    /// Getter: why nothing can be submitted any more.
    pub fn end_reason(&self) -> Option<ClientError> {
        if let Phase::Over(reason) = &self.phase { Some(reason.clone()) } else { None }
    }

    /// Getter: whether the server can only read.
    pub fn is_read_only(&self) -> bool {
        self.is_connected() && self.read_only_now
    }

    /// Getter: the session, if there is one.
    pub fn session(&self) -> Option<SessionToken> {
        let last_zxid = self.session.last_zxid.max(self.told_zxid);
        let token = SessionToken { timeout_ms: self.timeout_ms, last_zxid, ..self.session };
        (token.id != SessionId::NONE).then_some(token)
    }

    /// Getter: the granted session timeout, milliseconds, or the wanted one before the first
    /// connection.
    pub fn session_timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    /// Getter: watches that the server keeps for this session.
    pub fn watches(&self) -> usize {
        self.watches.len()
    }

    /// One server's share of the session timeout, so that all are tried before it runs out.
    fn connect_ms(&self) -> u64 {
        (self.timeout_ms / self.settings.servers as u64).max(CONNECT_MS_MIN)
    }

    /// A server that is silent for so long is given up: a third is left to find another one.
    fn silence_ms_max(&self) -> u64 {
        self.timeout_ms * 2 / 3
    }

    fn ping_ms(&self) -> u64 {
        self.timeout_ms / 3
    }

    fn send(&mut self, now_ms: u64, id: u64, prepared: Prepared, context: Option<C>) {
        let xid = self.next_xid;
        self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
        let Prepared { op, body, effect, at_least } = prepared;
        self.outgoing.reserve(FRAME_HEAD_BYTES + body.len());
        let start = begin_frame(&mut self.outgoing);
        RequestHeader { xid, op: op.code() }.encode(&mut Writer::new(&mut self.outgoing));
        self.outgoing.extend_from_slice(&body);
        end_frame(&mut self.outgoing, start);
        self.in_flight.push_back(InFlight {
            id,
            xid,
            op,
            effect,
            at_least,
            sent_ms: now_ms,
            context,
        });
        self.mark_sent(now_ms);
    }

    fn mark_sent(&mut self, now_ms: u64) {
        if let Phase::Connected { sent_ms, .. } = &mut self.phase {
            *sent_ms = now_ms;
        }
    }

    fn add_credential(&mut self, now_ms: u64, id: u64, scheme: &str, auth: &[u8], context: C) {
        self.credentials.retain(|old| {
            old.waiting.is_some() || old.scheme != scheme || old.auth != auth // once is enough
        });
        self.credentials.push(Credential {
            id,
            scheme: scheme.to_owned(),
            auth: auth.to_vec(),
            waiting: Some(context),
        });
        if self.is_connected() {
            self.send_credential(self.credentials.len() - 1);
            self.mark_sent(now_ms);
        }
    }

    fn send_credential(&mut self, place: usize) {
        let credential = &self.credentials[place];
        let request = AuthRequest {
            scheme: Some(credential.scheme.as_bytes()),
            auth: Some(&credential.auth),
        };
        Request::Auth(request).encode_frame(XID_AUTH, &mut self.outgoing);
        self.auth_due.push_back(credential.id);
    }

    /// The server accepted the session: credentials first, because what follows may need them;
    /// then the watches, so that a request's reply cannot show a change before its event; then
    /// what waited.
    fn enter_session(&mut self, now_ms: u64) {
        self.rotation.succeeded();
        self.is_dial_fixed = false;
        self.phase = Phase::Connected { heard_ms: now_ms, sent_ms: now_ms };
        let state = if self.read_only_now {
            SessionState::ConnectedReadOnly
        } else {
            SessionState::Connected
        };
        self.outputs.push_back(Output::Event(Event::Session(state)));
        for place in 0..self.credentials.len() {
            self.send_credential(place);
        }
        self.watches.encode_rearm(self.session.last_zxid, &mut self.outgoing);
        while let Some(queued) = self.queued.pop_front() {
            self.send(now_ms, queued.id, queued.prepared, Some(queued.context));
        }
        self.refresh_lease(now_ms);
    }

    /// Gives the connection up, whatever its phase, and plans the next one.
    fn lose_link(&mut self, now_ms: u64) {
        let wait_ms = match self.phase {
            Phase::Idle | Phase::Waiting { .. } | Phase::Over(_) => return,
            Phase::Dialing { .. } | Phase::Handshaking { .. } => {
                self.is_dial_fixed = false;
                self.rotation.failed(self.timeout_ms)
            }
            Phase::Connected { .. } => {
                self.outputs.push_back(Output::Event(Event::Session(SessionState::Disconnected)));
                self.rotation.lost()
            }
        };
        self.moving = None;
        self.links.push_back(LinkAction::HangUp);
        self.phase = Phase::Waiting { until_ms: now_ms + wait_ms };
        self.drop_link_state();
        self.fail_in_flight(|op| ClientError::ConnectionLoss { maybe_applied: changes_state(op) });
        if self.closing {
            self.finish(ClientError::Closed, SessionState::Closed);
        }
    }

    fn drop_link_state(&mut self) {
        self.incoming.clear();
        self.outgoing.clear();
        self.auth_due.clear();
        self.read_only_now = false;
    }

    fn fail_in_flight(&mut self, error: impl Fn(OpCode) -> ClientError) {
        while let Some(sent) = self.in_flight.pop_front() {
            if let Some(context) = sent.context {
                let result = Err(error(sent.op));
                self.outputs.push_back(Output::Completed { context, result });
            }
        }
    }

    /// Everything that still waits learns `error`.
    fn fail_all(&mut self, error: &ClientError) {
        self.fail_in_flight(|_op| error.clone());
        while let Some(Queued { context, .. }) = self.queued.pop_front() {
            self.outputs.push_back(Output::Completed { context, result: Err(error.clone()) });
        }
        for credential in &mut self.credentials {
            if let Some(context) = credential.waiting.take() {
                self.outputs.push_back(Output::Completed { context, result: Err(error.clone()) });
            }
        }
    }

    /// The session has ended for good.
    fn finish(&mut self, reason: ClientError, state: SessionState) {
        if !matches!(self.phase, Phase::Idle | Phase::Waiting { .. }) {
            self.links.push_back(LinkAction::HangUp);
        }
        self.links.retain(|action| *action == LinkAction::HangUp); // dial no more
        self.drop_link_state();
        self.void_lease();
        self.fail_all(&reason);
        self.phase = Phase::Over(reason);
        self.outputs.push_back(Output::Event(Event::Session(state)));
    }
}
