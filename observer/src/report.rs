//! What the threads of a server tell about themselves, for the four-letter words.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use farwatch_core::zxid::{SessionId, Zxid};

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
    /// Paths watched in the data table.
    pub paths: u32,
    /// Watches in the data table.
    pub data_watches: u64,
    /// Watches in both tables.
    pub watches: u64,
    /// Paths of the data table with the sessions that watch them.
    pub data_table: BTreeMap<String, Vec<SessionId>>,
}

/// What the core knows.
#[derive(Debug)]
pub struct CoreReport {
    /// What this server is.
    pub mode: Mode,
    /// Whether it takes writes.
    pub is_serving: bool,
    /// Sessions by the moment of their expiry, milliseconds since 1970.
    pub sessions: BTreeMap<i64, Vec<SessionId>>,
    /// Paths of ephemerals by their session.
    pub ephemerals: BTreeMap<SessionId, Vec<String>>,
    /// The tree's digest from time to time.
    pub digests: Vec<(Zxid, u64)>,
}
