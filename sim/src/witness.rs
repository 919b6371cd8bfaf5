//! What an observer of the whole cluster knows: every server's view at once, and all that was ever
//! committed, led or promised. The invariants are judged on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use farwatch_core::log::epochs::Epochs;
use farwatch_core::zab::run::Position;
use farwatch_core::zxid::{Epoch, SessionId, Zxid};

use crate::cluster::Word;
use crate::disk::Entry;
use crate::invariants::{done_in_order, local_sessions_stay};
use crate::model::Model;
use crate::reactor::ConnectionId;

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The property's name: a file in `sim/src/invariants/`.
    pub property: &'static str,
    /// What was seen.
    pub text: String,
}

/// Everything that was ever seen.
#[derive(Debug, Default)]
pub struct Witness {
    /// The one history: in order, with proof of everything before each.
    pub history: Vec<(Position, Entry)>,
    /// When each of it was first seen to be committed, microseconds.
    pub committed_at: Vec<u64>,
    /// Who led which epoch in synchronisation or broadcast.
    pub leaders: BTreeMap<Epoch, usize>,
    /// Who established it.
    pub established: BTreeMap<Epoch, usize>,
    /// When that was, microseconds.
    pub established_at: BTreeMap<Epoch, u64>,
    /// Who, in which life, has said to whom how old what it sent is, and not spoken since.
    pub aged: BTreeMap<(usize, u64, usize), Option<Word>>,
    /// When a server last took a request of another one's, in which life, by its own clock.
    pub asked_by: BTreeMap<(usize, usize), (u64, i64)>,
    /// When a leader was last told that a session is held at a server, in which life, by its own clock, and which.
    pub held_at: BTreeMap<(usize, SessionId), ((u64, i64), usize)>,
    /// Parts of snapshots that were sent to a server.
    pub snapshots: BTreeMap<usize, u64>,
    /// Sessions that began without a record.
    pub locals: BTreeMap<SessionId, local_sessions_stay::Local>,
    /// The record of a session's begin.
    pub begun_at: BTreeMap<SessionId, Zxid>,
    /// Sessions whose clients heard that they are over, from a server of which epoch.
    pub told_over: BTreeMap<SessionId, Epoch>,
    /// In which epoch a server was that said so on a connection.
    pub said_over: BTreeMap<ConnectionId, Epoch>,
    /// In which epoch a server was that gave a client its session on a connection.
    pub given_in: BTreeMap<ConnectionId, Epoch>,
    /// Of each session the connection on which its last record was asked for.
    pub last_done: BTreeMap<SessionId, (ConnectionId, Epoch)>,
    /// Sessions whose clients asked for an ephemeral node.
    pub wants_ephemeral: BTreeSet<SessionId>,
    /// Sessions whose clients asked for their end.
    pub closing: BTreeSet<SessionId>,
    /// The last record, where it made a local session global.
    pub upgraded: Option<(SessionId, Zxid)>,
    /// The history that the leader of an epoch had when it founded it.
    pub founded: BTreeMap<Epoch, Position>,
    /// What was proposed, by zxid.
    pub proposed: BTreeMap<Zxid, (usize, u64)>,
    /// The epochs that were last durable, by server; a lost disk starts again.
    pub epochs: BTreeMap<usize, Epochs>,
    /// To whom each voter gave its promise of an epoch, by disk.
    pub promises: BTreeMap<(usize, u64, Epoch), usize>,
    /// Who was wiped since, and may therefore hold less than it acknowledged.
    pub wiped: BTreeMap<usize, u64>,
    /// What the history makes of the tree.
    pub model: Model,
    /// Sessions whose end somebody proposed.
    pub ending: BTreeSet<SessionId>,
    /// Writes that were sent and are not known to be done, by session.
    pub sent: BTreeMap<SessionId, VecDeque<done_in_order::Sent>>,
    /// The digest of the tree behind each history, and who had it first.
    pub digests: BTreeMap<(Zxid, u32), (usize, u64)>,
    /// Some disk was full for a while.
    pub disks_filled: bool,
    pub violations: Vec<Violation>,
}

impl Witness {
    pub fn violate(&mut self, property: &'static str, text: String) {
        self.violations.push(Violation { property, text });
    }

    /// The last committed zxid that anybody applied.
    pub fn committed(&self) -> Zxid {
        self.history.last().map_or(Zxid::ZERO, |(at, _)| at.zxid)
    }
}
