//! The border of the machine: what happens to a server, and what it must do.

use std::sync::Arc;

use super::message::Message;
use super::run::{Position, Run};
use crate::log::epochs::Epochs;
use crate::zxid::{Epoch, ServerId, Zxid};

/// What happens to a server.
#[derive(Clone, Debug)]
pub enum Event {
    /// Recovery is done.
    Start,
    /// One tick passed. The only clock.
    Tick,
    /// A peer said something. The shell vouches for `from`.
    Received {
        /// Who.
        from: ServerId,
        /// What.
        message: Message,
    },
    /// A part of a message of this peer has come, and not its end: one that is large takes long over a
    /// slow way. A hint, of use to those who do not vote: nobody need say it of voters.
    Arriving(ServerId),
    /// There is a connection with a server that this one can learn from; see
    /// [`super::Options::listed`]. Until [`Event::Disconnected`] saying it again changes nothing.
    Upstream {
        /// Which.
        peer: ServerId,
        /// Its place in the list: smaller ones are preferred.
        rank: u32,
    },
    /// The same, of a server that was asked with the first word of the link what it offers.
    AskedUpstream {
        /// Which.
        peer: ServerId,
        /// Its place in the list.
        rank: u32,
        /// How long ago it was asked.
        ticks: u64,
    },
    /// A server that does not vote asks who leads, with the first word of its link.
    Asked(ServerId),
    /// This server's log begins behind this record now: what came before has been purged. Until it is said,
    /// it has all of its history. Told to those who look for a server to learn from.
    LogBegins(Zxid),
    /// The connection with a peer broke. A hint: silence says the same later.
    Disconnected(ServerId),
    /// The epochs of the last [`Action::SaveEpochs`] are durable.
    EpochsSaved(Epochs),
    /// The log is durable up to here, as far as writes of this ticket go.
    Durable {
        /// The ticket that the write had.
        ticket: u64,
        /// The last record.
        upto: Zxid,
    },
    /// The log ends here now, and will after a crash.
    Truncated {
        /// The ticket of the order.
        ticket: u64,
        /// The last record that is left.
        to: Position,
    },
    /// Answers [`Action::ReadLog`].
    LogRead {
        /// Its ticket.
        ticket: u64,
        /// The log's last position at or below the zxid that was asked, or `None` if the log
        /// begins behind it.
        at: Option<Position>,
        /// Records that follow `at`, as many as were asked for; one at least if there is one.
        run: Option<Run>,
    },
    /// [`Action::ReadLog`] of this ticket has no answer: so much else was asked since that nobody should wait
    /// for it any more. A learner that does joins again.
    ReadDropped(u64),
    /// Answers [`Action::ReadSnapshot`].
    SnapshotRead {
        /// Its ticket.
        ticket: u64,
        /// The history that the snapshot stands for.
        at: Position,
        /// Where the bytes begin.
        offset: u64,
        /// A part of it.
        bytes: Arc<[u8]>,
        /// Whether they are the last.
        end: bool,
    },
    /// The bytes of [`Action::StoreSnapshot`] are stored, in the order in which they were given; with the last, the snapshot *is* the
    /// server's history, durably, and its log is empty.
    SnapshotStored {
        /// The ticket of the order.
        ticket: u64,
        /// The byte behind the last one stored.
        upto: u64,
    },
    /// This leader's next proposals, as named by [`super::Zab::proposable`].
    Proposed(Run),
    /// Somebody needs to know that this server leads *now*. Answered by [`Action::Confirmed`].
    Confirm,
    /// The operator wants this server to lead instead.
    Transfer(ServerId),
    /// Passes something to the leader's server. Dropped where there is no leader.
    Request(Arc<[u8]>),
    /// Passes something to a learner's server. Dropped where it does not follow.
    Respond {
        /// Whom.
        to: ServerId,
        /// What.
        bytes: Arc<[u8]>,
    },
}

/// What the shell must do for the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make these epochs durable, then [`Event::EpochsSaved`]. A failure ends the process.
    SaveEpochs(Epochs),
    /// Say this to a peer. It may be lost.
    Send {
        /// Whom.
        to: ServerId,
        /// What.
        message: Message,
    },
    /// Append to the log; when durable, [`Event::Durable`]. A failure ends the process.
    Append {
        /// Comes back.
        ticket: u64,
        /// The records. They follow what the log holds.
        run: Run,
    },
    /// [`Event::Durable`] when everything that was appended before is.
    Flush {
        /// Comes back.
        ticket: u64,
    },
    /// Cut the log behind this position, writes under way included; then [`Event::Truncated`].
    Truncate {
        /// Comes back.
        ticket: u64,
        /// What stays.
        to: Position,
    },
    /// Look into the log, durable or not, at the last record not above `from`.
    ReadLog {
        /// Comes back.
        ticket: u64,
        /// Where.
        from: Zxid,
        /// About how many bytes of the records behind it are wanted.
        bytes_max: u64,
    },
    /// Read a part of the newest snapshot. All reads of one ticket read the same one.
    ReadSnapshot {
        /// Comes back.
        ticket: u64,
        /// Where.
        offset: u64,
    },
    /// Store a part of a snapshot, in a place of its own until `end`. Offset 0 begins again.
    StoreSnapshot {
        /// Comes back.
        ticket: u64,
        /// The history that it stands for.
        at: Position,
        /// Where the bytes belong.
        offset: u64,
        /// A part of it.
        bytes: Arc<[u8]>,
        /// Whether they are the last: then the snapshot replaces this server's state and log.
        end: bool,
    },
    /// Everything up to here is committed: apply it.
    Committed(Zxid),
    /// What this server is changed.
    Became(Standing),
    /// As many of the oldest [`Event::Confirm`] are confirmed: this server led when they were
    /// asked, and everything acknowledged to anybody by then is committed here.
    Confirmed(u64),
    /// Confirmations that are still open fail: this server no longer leads.
    ConfirmsFailed,
    /// A learner's server asks something of this one, which leads. Comes in the order in which it
    /// was asked; what belongs to an older session never comes behind a newer one.
    Requested {
        /// Who.
        from: ServerId,
        /// The learner's session with this leader; see [`super::Zab::session`].
        session: u64,
        /// What.
        bytes: Arc<[u8]>,
    },
    /// The leader's server says this. It comes behind everything that the leader sent before, and
    /// before everything that it sends after: records and commits too.
    Responded(Arc<[u8]>),
    /// This server's committed history is not that of its ensemble. It must stop and say so.
    Halt(Divergence),
    /// A peer said what no correct peer says; its session ended. Worth a line to the operator.
    Refused {
        /// Who.
        peer: ServerId,
        /// Why.
        anomaly: Anomaly,
    },
}

/// What a server is to its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Without a leader: it serves what is committed, and takes no writes.
    Alone,
    /// It leads and takes writes.
    Leading(Epoch),
    /// It follows, and has everything that was committed when it began to.
    Following(ServerId, Epoch),
}

/// Why a server must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divergence {
    /// A leader's history lacks what is committed here.
    CommittedLost {
        /// Committed here.
        committed: Zxid,
        /// The nearest that the leader has.
        leader: Zxid,
    },
    /// Equal zxids with different histories behind them.
    HistoriesDiffer {
        /// Where.
        zxid: Zxid,
    },
}

/// What no correct peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// Records that do not follow the log, or are damaged.
    Records,
    /// A commit of what was never proposed here, or one that goes back.
    Commit,
    /// An acknowledgement of what was never sent.
    Ack,
    /// A message that its phase does not know.
    Phase,
}
