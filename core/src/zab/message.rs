//! What servers of an ensemble say to each other.
//!
//! ```text
//! learner                                leader
//!    │ Join{session, history} ─────────────► │  discovery
//!    │ ◄─────────────────────── NewEpoch{e}  │
//!    │ (promise durable) Promised ─────────► │  a quorum: the leader owns e
//!    │ ◄── Compare / Records / Snapshot      │  synchronisation
//!    │ ◄──────────────────────── NewLeader   │
//!    │ (history durable, epochs durable)     │
//!    │ Synced ─────────────────────────────► │  a quorum: broadcast
//!    │ ◄──────────────────────────  UpToDate │
//!    │ ◄─────────────────── Records, Commit  │  (voters)   ◄── Inform  (others)
//!    │ (durable) Ack ──────────────────────► │
//! ```
//!
//! A server that heals its own log asks any other: `Fetch`, answered by `Fetched`.
//!
//! A learner that learns from a list of servers asks each of them, `Seek`, and is answered with an
//! `Offer`. What it then asks of the leader travels up, and the answers down, through every server
//! between them (`Relayed`):
//!
//! ```text
//! learner ── Request ──► relay ── Relayed{learner, session} ──► … ──► leader
//!         ◄── Response ─       ◄── Relayed{learner, session} ── … ◄──
//! ```
//!
//! What leader and learner say carries the learner's session and a sequence number. Whatever the
//! transport loses, doubles or reorders shows as a gap, and ends the session: the learner joins
//! again and continues from the position it has. Safety never rests on the transport.

mod codec;

use std::sync::Arc;

use super::run::Position;
use crate::zxid::{Epoch, ServerId, Zxid};

pub use codec::{DecodeError, MESSAGE_VERSION, Thread};

/// Orders candidates: whoever has the newest history, and among equals the one that was asked to
/// take over, and then the highest number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vote {
    /// The leader whose history the candidate has.
    pub current: Epoch,
    /// The last record of its log.
    pub last: Zxid,
    /// The previous leader handed over to it.
    pub preferred: bool,
    /// The candidate.
    pub candidate: ServerId,
}

/// What the sender of a ballot is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// It looks for a leader, and votes.
    Looking,
    /// It looks for a leader, and does not vote.
    Watching,
    /// It follows this leader, or is about to.
    Following(ServerId),
    /// It leads, or is about to.
    Leading,
}

/// What a server believes about leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ballot {
    /// Which start of the sender this is, so that the numbers below compare.
    pub boot: u64,
    /// Rises with every ballot of one boot. Older ones are ignored.
    pub serial: u64,
    /// The election it takes part in.
    pub round: u64,
    /// What it is doing.
    pub stance: Stance,
    /// Itself as a candidate, if it could lead: it hears a quorum that hears it, and its disk works.
    pub own: Option<Vote>,
    /// Whom it votes for.
    pub vote: Option<Vote>,
    /// From whom it heard lately.
    pub heard: Vec<ServerId>,
}

/// A learner's request to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// The newest epoch it has promised to follow.
    pub accepted: Epoch,
    /// The leader whose history it has.
    pub current: Epoch,
    /// Its history.
    pub last: Position,
    /// Whether it votes. A voter that lost its disk does not until it has copied a leader's.
    pub votes: bool,
}

/// What a server that is asked can give a learner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Whether it has a leader, or is one, and feeds others now.
    pub serving: bool,
    /// The epoch that it is in.
    pub epoch: Epoch,
    /// What it knows to be committed.
    pub committed: Zxid,
    /// Its log begins behind this: who has less is sent a snapshot.
    pub begins: Zxid,
    /// The servers from the leader to this one, both included; empty while it has no leader.
    pub path: Vec<ServerId>,
}

/// Something between a learner and the leader that others pass on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// The learner.
    pub server: ServerId,
    /// Its session with the server that it learns from.
    pub session: u64,
    /// What it asks, or is answered.
    pub bytes: Arc<[u8]>,
}

/// From a learner to its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToLeader {
    /// The new epoch is accepted and that is durable. Not `counted` when it was accepted before:
    /// a promise is given to one leader only.
    Promised {
        /// Which.
        epoch: Epoch,
        /// Whether this promise is new.
        counted: bool,
        /// The leader whose history the learner has.
        current: Epoch,
        /// Its history.
        last: Position,
    },
    /// The learner's log at or below what [`ToLearner::Compare`] asked, cut to there if it matched.
    Have(Option<Position>),
    /// The snapshot is stored up to this byte.
    SnapshotStored(u64),
    /// Everything up to [`ToLearner::NewLeader`] is durable, and then its epoch.
    Synced(Epoch),
    /// Everything up to here is durable.
    Ack(Zxid),
    /// Answers a ping.
    Pong(u64),
    /// A newer epoch is promised already: this leader must found one beyond it.
    Ahead(Epoch),
    /// What the learner's server asks of the leader's: opaque here, in order with all else.
    Request(Arc<[u8]>),
    /// What a server that learns from this learner asks of the leader's.
    Relayed(Relayed),
}

/// From a leader to one learner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToLearner {
    /// Promise to follow this epoch and none before it.
    NewEpoch(Epoch),
    /// The leader's history has no record of the learner's last zxid; this is its nearest.
    Compare(Position),
    /// Records that follow `after`: catch-up and live proposals alike.
    Records {
        /// What they continue.
        after: Position,
        /// Whole records, as on disk.
        bytes: Arc<[u8]>,
    },
    /// Committed records, for those who do not vote.
    Inform {
        /// What they continue.
        after: Position,
        /// Whole records, as on disk.
        bytes: Arc<[u8]>,
    },
    /// A part of a snapshot.
    Snapshot {
        /// The history that it stands for.
        at: Position,
        /// Where these bytes begin.
        offset: u64,
        /// A part of it.
        bytes: Arc<[u8]>,
        /// Whether they are the last.
        end: bool,
    },
    /// What was sent so far is this leader's history.
    NewLeader {
        /// Its epoch.
        epoch: Epoch,
        /// Where its history ends.
        at: Position,
    },
    /// The epoch is established, and this is committed: serve.
    UpToDate(Zxid),
    /// Everything up to here is committed.
    Commit(Zxid),
    /// I am here. The number comes back in the answer.
    Ping(u64),
    /// A snapshot is needed, and others are being sent one: yours comes when one of them is done.
    Queued,
    /// Take over: the sender stops leading, and this learner has its whole history.
    TakeOver,
    /// What the leader's server tells the learner's: opaque here, in order with all else.
    Response(Arc<[u8]>),
    /// What the leader's server tells one that learns from this learner, or from one behind it.
    Relayed(Relayed),
    /// A server behind this learner is known to the leader elsewhere, or by a newer session: this
    /// session of it is over.
    Dismiss {
        /// Which server.
        server: ServerId,
        /// Its session.
        session: u64,
    },
    /// So many milliseconds ago, by the sender's clock, who has all that it has sent lacked nothing. Said
    /// right before [`ToLearner::Ping`] and [`ToLearner::UpToDate`] by who is no leader, and by a leader
    /// that has not sent all that is committed.
    Age(u32),
}

/// Anything one server says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Election.
    Ballot(Ballot),
    /// Opens a session of a learner with its leader.
    Join {
        /// The session's number, chosen by the learner.
        session: u64,
        /// Who it is.
        join: Join,
    },
    /// Within a session.
    ToLeader {
        /// The session.
        session: u64,
        /// Rises by one with each message of the session in this direction.
        sequence: u64,
        /// The content.
        body: ToLeader,
    },
    /// Within a session.
    ToLearner {
        /// The session.
        session: u64,
        /// Rises by one with each message of the session in this direction.
        sequence: u64,
        /// The content.
        body: ToLearner,
    },
    /// The session is over: join again.
    Reset {
        /// The session.
        session: u64,
    },
    /// Can this server learn from the one that is asked?
    Seek,
    /// Answers that.
    Offer(Offer),
    /// A server that lost records of its log asks any other for them, outside of every session.
    Fetch {
        /// What they follow.
        after: Position,
        /// None behind this is wanted.
        until: Zxid,
        /// About how many bytes are wanted, of which the other side may send less.
        bytes_max: u32,
    },
    /// Answers [`Message::Fetch`].
    Fetched {
        /// As asked.
        after: Position,
        /// Whole records that follow, as on disk; nothing where that place is not in the log.
        bytes: Arc<[u8]>,
    },
}
