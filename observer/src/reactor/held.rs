//! Requests that were read and have to wait before anything is done about them.
//!
//! ```text
//! frame ─┬─ ping, authentication ───────────────────────────► answered at once
//!        ├─ may begin, and nothing is held in front of it ──► begun: a read, or an ask
//!        └─ else ─► held ─► in order, as soon as each may ──► begun
//! ```
//!
//! They wait here and not in the socket, or the pings behind them would wait as well, and a session
//! could end whose client pings: without a leader a sync, and so all behind it, waits for seconds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use farwatch_core::acl::Identity;
use farwatch_core::limits::WRITE_BYTES_OUTSTANDING_MAX;
use farwatch_core::wire::OpCode;

use super::requests::is_write;
use super::{Connection, ConnectionKey, OUT_BYTES_PAUSE, PENDING_BYTES_MAX, Pending, Reactor};

/// Nodes that counts of descendants may walk over before all other tasks of the thread have had a turn,
/// about a millisecond. The count that passes it is finished, and the next one, whoever asks for it,
/// waits: an answer is of 24 bytes however long it takes, so that nothing else would end a turn that
/// answers thousands of them.
const WALKED_MAX: u64 = 10_000;

/// What waits to be begun.
pub(super) enum Held {
    /// A request, with what the connection was when it was read.
    Request { xid: i32, op: OpCode, body: Box<[u8]>, identities: Arc<[Identity]> },
    /// The reply to one that is refused, which ends the connection.
    Last { frame: Vec<u8> },
}

/// Why a request may not begin yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// What its connection asked before has to be answered.
    Answer,
    /// It has to wait for another turn.
    Turn,
    /// All connections together have asked for as much as may be outstanding.
    Room,
}

impl Connection {
    /// What of this connection's own keeps a request back. A write waits for a sync in front of it,
    /// which has a round of the ensemble to wait for and must be answered before. A list of
    /// ephemerals, and a count of descendants, wait until they are the first: a queue of them would
    /// be answered at one moment, and each may take megabytes, or a long time.
    pub(super) fn hindrance(&self, op: OpCode, walked: u64) -> Option<Hindrance> {
        let is_first = self.pending.is_empty();
        match op {
            OpCode::GetEphemerals if !is_first => Some(Hindrance::Answer),
            OpCode::GetAllChildrenNumber if !is_first => Some(Hindrance::Answer),
            OpCode::GetAllChildrenNumber if walked >= WALKED_MAX => Some(Hindrance::Turn),
            _ if 0 < self.syncs && (is_write(op) || op == OpCode::CloseSession) => {
                Some(Hindrance::Answer)
            }
            _may_begin => None,
        }
    }

    fn hold(&mut self, held: Held) {
        self.held_bytes += held.charge();
        self.held.push_back(held);
    }

    /// Whether what is held may add to what waits to be sent or answered.
    fn may_go_on(&self) -> bool {
        self.out.len() < OUT_BYTES_PAUSE && self.pending_bytes < PENDING_BYTES_MAX
    }
}

impl Held {
    /// What it counts in `Connection::held_bytes`.
    fn charge(&self) -> usize {
        match self {
            Self::Request { body, .. } => body.len(),
            Self::Last { frame } => frame.len(),
        }
    }
}

impl Reactor {
    /// Begins a request that was just read, or holds it.
    pub(super) fn begin_or_hold(&mut self, key: ConnectionKey, xid: i32, op: OpCode, body: &[u8]) {
        let walked = self.walked;
        let connection = self.connection(key).expect("serving");
        let identities = Arc::clone(&connection.identities);
        let hindrance = connection.hindrance(op, walked);
        // What waits to be sent holds up what is asked, and no ping.
        if hindrance.is_none() && connection.held.is_empty() && connection.may_go_on() {
            return self.begin(key, xid, op, body, identities);
        }
        let is_first = connection.held.is_empty();
        connection.hold(Held::Request { xid, op, body: body.into(), identities });
        if is_first && hindrance == Some(Hindrance::Turn) {
            self.mark_unfinished(key);
        }
    }

    /// Answers a refused request behind all that is held and all that waits.
    pub(super) fn answer_last(&mut self, key: ConnectionKey, frame: Vec<u8>) {
        let connection = self.connection(key).expect("serving");
        if connection.held.is_empty() {
            connection.pending.push_back(Pending::Last { frame });
            self.run_queue(key);
        } else {
            connection.hold(Held::Last { frame });
        }
    }

    /// Begins what is held, as far as it may begin now. What it then waits for sees to it that this is
    /// called again: an answer, another turn, a delivery, or the end of a write.
    pub(super) fn go_on(&mut self, key: ConnectionKey) {
        if self.connection(key).is_none_or(|it| it.held.is_empty()) {
            return;
        }
        loop {
            let walked = self.walked;
            let Some(connection) = self.connection(key) else { return };
            if !connection.may_go_on() {
                break;
            }
            let hindrance = match connection.held.front() {
                None => break,
                Some(&Held::Request { op, .. }) => {
                    let own = connection.hindrance(op, walked);
                    own.or_else(|| self.lacks_room(key, op).then_some(Hindrance::Room))
                }
                Some(Held::Last { .. }) => None,
            };
            match hindrance {
                None => self.begin_first(key),
                Some(Hindrance::Answer) => break,
                Some(Hindrance::Turn) => {
                    self.mark_unfinished(key);
                    break;
                }
                Some(Hindrance::Room) => {
                    self.mark_waiting(key);
                    break;
                }
            }
        }
        if let Some(connection) = self.connection(key).filter(|it| it.held.is_empty()) {
            connection.signal.notify(); // its client may have left, and this be all that it waits for
        }
        self.mark_dirty(key);
    }

    fn begin_first(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else { return };
        let Some(first) = connection.held.pop_front() else { return };
        connection.held_bytes -= first.charge();
        if connection.held.is_empty() {
            connection.held = VecDeque::new(); // it may have been long, and connections are many
        }
        match first {
            Held::Request { xid, op, body, identities } => {
                self.begin(key, xid, op, &body, identities);
            }
            Held::Last { frame } => {
                connection.pending.push_back(Pending::Last { frame });
                self.run_queue(key);
            }
        }
    }

    /// Whether it has requests that were not begun; its signal tells when it has none any more.
    pub fn holds(&mut self, key: ConnectionKey) -> bool {
        self.connection(key).is_some_and(|it| !it.held.is_empty())
    }

    /// Whether an ask has to wait because too much is outstanding in all.
    fn lacks_room(&mut self, key: ConnectionKey, op: OpCode) -> bool {
        let is_ask = is_write(op)
            || matches!(op, OpCode::CloseSession | OpCode::Sync | OpCode::GetEphemerals);
        let crowded = self.is_crowded();
        let is_first = self.connection(key).is_none_or(|it| it.pending.is_empty());
        (is_ask && crowded && !is_first) || (is_write(op) && self.is_out_of_room())
    }

    /// Whether as many asks are outstanding as may be: who has some waits before it asks for more.
    pub(super) fn is_crowded(&self) -> bool {
        self.shared.outstanding.load(Ordering::Relaxed) >= self.shared.outstanding_max
    }

    /// Whether writes that are not applied yet take as many bytes as they may.
    pub(super) fn is_out_of_room(&self) -> bool {
        let waiting = self.shared.unapplied_bytes.load(Ordering::Relaxed)
            + self.shared.in_transit_bytes.load(Ordering::Relaxed);
        waiting + self.submission.body_bytes() >= WRITE_BYTES_OUTSTANDING_MAX
    }

    /// It looks again after the next delivery.
    pub(super) fn mark_waiting(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else { return };
        if !std::mem::replace(&mut connection.is_waiting, true) {
            self.waiting.push(key);
        }
    }

    /// What is held goes on in another turn.
    pub(super) fn mark_unfinished(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else { return };
        if !std::mem::replace(&mut connection.is_unfinished, true) {
            self.unfinished.push_back(key);
        }
    }

    /// Whether somebody should begin to call [`Reactor::resume`], again and again until it says that
    /// there is nothing more, and each time let all others have a turn before. Once, until then.
    pub fn begins_to_resume(&mut self) -> bool {
        !self.unfinished.is_empty() && !std::mem::replace(&mut self.is_resuming, true)
    }

    /// Goes on with what connections hold, as far as this turn reaches; whether there is more.
    /// Afterwards [`Reactor::take_dirty`] names whom to write to.
    pub fn resume(&mut self) -> bool {
        self.look_at_clock();
        self.walked = 0;
        for _ in 0..self.unfinished.len() {
            if self.walked >= WALKED_MAX {
                break;
            }
            let Some(key) = self.unfinished.pop_front() else { break };
            if let Some(connection) = self.connection(key) {
                connection.is_unfinished = false;
                self.go_on(key);
            }
        }
        self.is_resuming = !self.unfinished.is_empty();
        self.is_resuming
    }
}
