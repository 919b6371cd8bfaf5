//! `srvr`, `stat` and `cons`: what the server and its connections do.

use std::fmt::{self, Write};
use std::net::SocketAddr;

use farwatch_core::wire::request::OpCode;
use farwatch_core::zxid::Zxid;

use super::VERSION;
use super::counters::{Sizes, Totals};

/// What the server is at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// An ensemble of one that was not told to be one.
    #[default]
    Standalone,
    /// It leads.
    Leader,
    /// It follows.
    Follower,
    /// It learns without a vote.
    Observer,
    /// It serves reads without a quorum.
    ReadOnly,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standalone => "standalone",
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Observer => "observer",
            Self::ReadOnly => "read-only",
        })
    }
}

/// Facts of `srvr` and `stat`.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// What requests took, in microseconds.
    pub latency: Totals,
    /// Packets received from clients.
    pub received: u64,
    /// Packets sent to clients.
    pub sent: u64,
    /// Open client connections.
    pub connections: u64,
    /// Requests in progress.
    pub outstanding: u64,
    /// The last transaction applied.
    pub zxid: Zxid,
    /// What the server is.
    pub mode: Mode,
    /// Nodes of the tree; ZooKeeper counts the root twice and an empty server reports 5.
    pub nodes: u64,
    /// Sizes of proposals, on a leader.
    pub proposals: Option<Sizes>,
    /// Milliseconds since it knew itself to be current, on a learner.
    pub stale_ms: Option<u64>,
}

/// Facts about one client connection.
#[derive(Clone, Debug)]
pub struct ConnectionFacts {
    /// The client's address.
    pub peer: SocketAddr,
    /// What the connection waits for: 1 to read, 4 to write, 0 nothing.
    pub interest: u32,
    /// Requests in progress.
    pub queued: u64,
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Facts that exist once there is a session.
    pub session: Option<ConnectionSession>,
}

/// Facts about the session of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionSession {
    /// The session's id.
    pub id: u64,
    /// The last operation, if any.
    pub last_op: Option<OpCode>,
    /// When the connection was made, milliseconds since 1970.
    pub established_unix_ms: i64,
    /// The negotiated timeout, milliseconds.
    pub timeout_ms: u32,
    /// The client's number of the last request; negative before the first.
    pub last_cxid: i64,
    /// The zxid of the last reply.
    pub last_zxid: Zxid,
    /// When the last reply was sent, milliseconds of a clock of the server's choice.
    pub last_response_ms: i64,
    /// What the last request took, milliseconds.
    pub last_latency_ms: u64,
    /// The shortest, milliseconds.
    pub latency_ms_min: u64,
    /// The average, milliseconds, cut to a whole number as ZooKeeper does.
    pub latency_ms_avg: u64,
    /// The longest, milliseconds.
    pub latency_ms_max: u64,
}

/// `srvr`.
pub fn srvr(facts: &ServerFacts) -> String {
    let mut text = head(facts);
    body(facts, &mut text);
    text
}

/// `stat`: `srvr` with the connections in brief.
pub fn stat(facts: &ServerFacts, connections: &[ConnectionFacts]) -> String {
    let mut text = head(facts);
    text.push_str("Clients:\n");
    for connection in connections {
        brief(connection, &mut text);
        text.push_str(")\n");
    }
    text.push('\n');
    body(facts, &mut text);
    text
}

/// `cons`: the connections in full.
pub fn cons(connections: &[ConnectionFacts]) -> String {
    let mut text = String::new();
    for connection in connections {
        brief(connection, &mut text);
        if let Some(session) = &connection.session {
            full(session, &mut text);
        }
        text.push_str(")\n");
    }
    text.push('\n');
    text
}

fn head(facts: &ServerFacts) -> String {
    let mut text = format!("Zookeeper version: {VERSION}\n");
    if facts.mode == Mode::ReadOnly {
        text.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
    text
}

fn body(facts: &ServerFacts, text: &mut String) {
    let ServerFacts { latency, received, sent, connections, outstanding, .. } = facts;
    let (min, max) = (latency.min / 1000, latency.max / 1000);
    let avg = Decimal::average_ms(latency.sum, latency.count);
    put(text, format_args!("Latency min/avg/max: {min}/{avg}/{max}\n"));
    put(text, format_args!("Received: {received}\nSent: {sent}\n"));
    put(text, format_args!("Connections: {connections}\nOutstanding: {outstanding}\n"));
    let ServerFacts { zxid, mode, nodes, .. } = facts;
    put(text, format_args!("Zxid: {:#x}\nMode: {mode}\nNode count: {nodes}\n", zxid.0));
    if let Some(Sizes { last, min, max }) = facts.proposals {
        put(text, format_args!("Proposal sizes last/min/max: {last}/{min}/{max}\n"));
    }
    // ZooKeeper does not say it. Behind all that it says, where whoever reads lines by their names
    // passes it over.
    if let Some(stale_ms) = facts.stale_ms {
        put(text, format_args!("Staleness ms: {stale_ms}\n"));
    }
}

fn brief(facts: &ConnectionFacts, text: &mut String) {
    let ConnectionFacts { interest, queued, received, sent, .. } = facts;
    let peer = JavaAddr(facts.peer);
    put(text, format_args!(" {peer}[{interest}](queued={queued},recved={received},sent={sent}"));
}

fn full(session: &ConnectionSession, text: &mut String) {
    let operation = session.last_op.map_or("NA", operation_code);
    let ConnectionSession { id, established_unix_ms, timeout_ms, .. } = session;
    put(text, format_args!(",sid={id:#x},lop={operation},est={established_unix_ms}"));
    put(text, format_args!(",to={timeout_ms}"));
    if 0 <= session.last_cxid {
        put(text, format_args!(",lcxid={:#x}", session.last_cxid));
    }
    put(text, format_args!(",lzxid={:#x}", session.last_zxid.0));
    put(text, format_args!(",lresp={}", session.last_response_ms));
    put(text, format_args!(",llat={},minlat={}", session.last_latency_ms, session.latency_ms_min));
    put(text, format_args!(",avglat={}", session.latency_ms_avg));
    put(text, format_args!(",maxlat={}", session.latency_ms_max));
}

/// The short name of an operation that `cons` shows as `lop`.
const fn operation_code(op: OpCode) -> &'static str {
    match op {
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => "CREA",
        OpCode::Delete | OpCode::DeleteContainer => "DELE",
        OpCode::Exists => "EXIS",
        OpCode::GetData => "GETD",
        OpCode::SetData => "SETD",
        OpCode::GetAcl => "GETA",
        OpCode::SetAcl => "SETA",
        OpCode::GetChildren | OpCode::GetChildren2 => "GETC",
        OpCode::Sync => "SYNC",
        OpCode::Ping => "PING",
        OpCode::Check => "CHEC",
        OpCode::Multi => "MULT",
        OpCode::Reconfig => "RECO",
        OpCode::CheckWatches => "CHKW",
        OpCode::RemoveWatches => "REMW",
        OpCode::MultiRead => "MLTR",
        OpCode::Auth => "AUTH",
        OpCode::SetWatches => "SETW",
        OpCode::Sasl => "SASL",
        OpCode::GetEphemerals => "GETE",
        OpCode::GetAllChildrenNumber => "GETACN",
        OpCode::SetWatches2 => "STW2",
        OpCode::AddWatch => "ADDW",
        OpCode::WhoAmI => "HOMI",
        OpCode::CreateSession => "SESS",
        OpCode::CloseSession => "CLOS",
    }
}

/// Appends formatted text.
pub(super) fn put(text: &mut String, arguments: fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String never fails");
}

/// An address as Java prints it: a slash in front, IPv6 unabridged and in brackets.
pub(super) struct JavaAddr(pub SocketAddr);

impl fmt::Display for JavaAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A client that reached an IPv6 socket over IPv4 is an IPv4 client to every tool.
        match self.0.ip().to_canonical() {
            std::net::IpAddr::V4(ip) => write!(f, "/{ip}:{}", self.0.port()),
            std::net::IpAddr::V6(ip) => {
                let [first, rest @ ..] = ip.segments();
                write!(f, "/[{first:x}")?;
                rest.iter().try_for_each(|part| write!(f, ":{part:x}"))?;
                write!(f, "]:{}", self.0.port())
            }
        }
    }
}

/// A number with up to four decimals and at least one, as Java prints such a `double`.
pub(super) struct Decimal(pub f64);

impl Decimal {
    /// The average of `count` values, 0.0 of none.
    pub(super) fn average(sum: u64, count: u64) -> Self {
        if count == 0 { Self(0.0) } else { Self(sum as f64 / count as f64) }
    }

    /// The average in milliseconds of `count` values in microseconds.
    pub(super) fn average_ms(sum_micros: u64, count: u64) -> Self {
        Self(Self::average(sum_micros, count).0 / 1000.0)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.4}", self.0);
        let text = text.trim_end_matches('0');
        f.write_str(text)?;
        if text.ends_with('.') { f.write_str("0") } else { Ok(()) }
    }
}
