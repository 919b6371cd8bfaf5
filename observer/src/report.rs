//! What the threads of a server tell about themselves, for the four-letter words.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use farwatch_core::node::Serving;
use farwatch_core::zxid::{SessionId, Zxid};
use serde::{Deserialize, Serialize};

use crate::four_letter::server::{ConnectionFacts, Mode};

/// What is asked of every thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The connections in full.
    Connections,
    /// Only how many watches there are.
    WatchCounts,
    /// Every watch.
    Watches,
    /// Sessions, ephemerals and the state of the machine; reactors answer with nothing.
    Core,
    /// As [`Question::Core`] without what grows with the number of sessions: those lists are empty
    /// in the answer. Monitoring asks it often.
    Role,
    /// What this server knows of its ensemble; reactors answer with nothing.
    Ensemble,
    /// Forget what was counted for each connection.
    ResetConnections,
}

/// One thread's answer.
#[derive(Debug)]
pub enum Part {
    /// A reactor's.
    Reactor(ReactorReport),
    /// The core's.
    Core(CoreReport),
    /// The core's, about the ensemble.
    Ensemble(EnsembleReport),
}

/// What a reactor knows.
#[derive(Debug, Default)]
pub struct ReactorReport {
    /// Its connections.
    pub connections: Vec<ConnectionFacts>,
    /// When a connection ends if it stays silent, milliseconds since 1970, whose it is, and its
    /// session.
    pub silence_ends: Vec<(i64, SocketAddr, SessionId)>,
    /// Connections with a watch in the data table.
    pub watching: u32,
    /// Watches in the data table.
    pub data_watches: u64,
    /// Watches in both tables.
    pub watches: u64,
    /// Paths of the data table with the sessions that watch them.
    pub data_table: BTreeMap<String, Vec<SessionId>>,
}

/// What the core knows.
#[derive(Debug, Default)]
pub struct CoreReport {
    /// What this server is.
    pub mode: Mode,
    /// Whom it serves. All that follows is of a server that serves somebody.
    pub serving: Serving,
    /// Of a member: milliseconds since it knew itself to be current; 0 of a leader. See
    /// [`farwatch_core::node::Node::stale_ms`] for what that does not count.
    pub stale_ms: Option<u64>,
    /// Of a member, its state in detail: role and phase, such as `following - broadcast`.
    pub peer_state: Option<String>,
    /// Of a member: how many voters its ensemble has.
    pub voters: Option<u64>,
    /// Of an observer: the server that it learns from.
    pub learns_from: Option<u64>,
    /// Of a member that does not lead: how long a word to the server that it learns from and the answer
    /// take, microseconds, once that was measured.
    pub upstream_rtt_us: Option<u64>,
    /// Of a leader: since when it leads, milliseconds.
    pub leading_ms: u64,
    /// Of a leader: connected learners.
    pub learners: u64,
    /// Of a leader: followers with a vote that have its history, without itself.
    pub synced_followers: u64,
    /// Of a leader: followers that have its history and no vote yet.
    pub synced_non_voting_followers: u64,
    /// Of a leader: observers that have its history.
    pub synced_observers: u64,
    /// Of a leader: clients' syncs that wait.
    pub pending_syncs: u64,
    /// The ensemble's sessions.
    pub global_sessions: u64,
    /// This server's own.
    pub local_sessions_count: u64,
    /// Of a server that leaves expiry to its leader: sessions with their timeouts, milliseconds.
    pub learned_sessions: BTreeMap<SessionId, u32>,
    /// Of a server that decides about expiry: sessions by the moment of theirs, milliseconds since
    /// 1970.
    pub sessions: BTreeMap<i64, Vec<SessionId>>,
    /// Of a server with local sessions: its own, by the moment of their expiry, milliseconds since
    /// 1970.
    pub local_sessions: Option<BTreeMap<i64, Vec<SessionId>>>,
    /// Paths of ephemerals by their session.
    pub ephemerals: BTreeMap<SessionId, Vec<String>>,
    /// The tree's digest from time to time.
    pub digests: Vec<(Zxid, u64)>,
}

/// What a server knows about its ensemble; asked for by the four-letter word `quor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnsembleReport {
    /// This server.
    pub me: u32,
    /// `looking`, `leading`, `following`, or `learning`; a server alone is `leading`.
    pub role: String,
    /// `election`, `discovery`, `synchronization` or `broadcast`.
    pub phase: String,
    /// Since when it has this role, milliseconds ago.
    pub role_for_ms: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<u32>,
    /// The epoch it is in.
    pub epoch: u32,
    /// The newest epoch it promised to follow.
    pub accepted_epoch: u32,
    /// The last record of its log.
    pub logged: u64,
    /// How far that is durable.
    pub durable: u64,
    /// What it knows to be committed.
    pub committed: u64,
    /// What it has applied, and shows to clients.
    pub applied: u64,
    /// Milliseconds since it knew that to be current; 0 of a leader.
    #[serde(default)]
    pub stale_ms: u64,
    /// Whom it serves: `all`; without a leader `reads` of its connections, `readers` that asked for
    /// a server that only reads, or `nobody`. Empty of a server that does not say.
    #[serde(default)]
    pub serves: String,
    /// How many voters it takes to decide.
    pub quorum: u32,
    /// Whether it is an observer: it has no vote, and counts none.
    #[serde(default)]
    pub observes: bool,
    /// A voter without its disk's history does not vote until it has copied it.
    pub rejoining: bool,
    /// Every server of its configuration but itself, by number; then its upstreams, then its guests.
    pub peers: Vec<PeerReport>,
}

/// What a server knows about another one of its ensemble.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerReport {
    /// Its number.
    pub id: u32,
    /// Where it is to be found: host:port as configured; where it is, of a guest.
    pub address: String,
    /// Whether it votes.
    pub votes: bool,
    /// Whether it is an observer that this server took in and does not list.
    #[serde(default)]
    pub guest: bool,
    /// The upstream that leads to it, as configured. The number of one where nobody was met yet is
    /// 4294967295.
    #[serde(default)]
    pub upstream: Option<String>,
    /// Whether there is a connection.
    pub connected: bool,
    /// Milliseconds since it was last heard from; `None` if it never was since this server started.
    pub silent_ms: Option<u64>,
    /// Why the last attempt to connect failed, or the last connection ended.
    pub last_error: Option<String>,
    /// Milliseconds since that.
    pub last_error_ms: Option<u64>,
    /// Received from it since this server started; of a guest, since it came.
    #[serde(default)]
    pub bytes_in: u64,
    /// Sent to it.
    #[serde(default)]
    pub bytes_out: u64,
    /// What was received, before it was compressed.
    #[serde(default)]
    pub plain_in: u64,
    /// What was sent, before it was compressed.
    #[serde(default)]
    pub plain_out: u64,
    /// Whether the connection is compressed where that pays.
    #[serde(default)]
    pub compresses: bool,
    /// Bytes that wait to be sent to it.
    #[serde(default)]
    pub queued_bytes: u64,
    /// How long a word to it and its answer take, microseconds.
    #[serde(default)]
    pub rtt_us: Option<u64>,
    /// Of a leader's peer: whether it learns from the leader itself. Observers may learn from others.
    #[serde(default)]
    pub learns: Option<bool>,
    /// Of a leader's peer that does not, the learner that passes on what its clients ask for, if they do.
    #[serde(default)]
    pub through: Option<u32>,
    /// Of a leader's learner: whether it has the leader's history.
    pub synced: Option<bool>,
    /// Of a leader's learner: how far it has made the history durable.
    pub acknowledged: Option<u64>,
    /// Of a leader's learner: how many transactions of this epoch, or of all, it lacks.
    pub lag: Option<u64>,
}
