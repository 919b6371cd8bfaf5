//! What a server needs to know before it starts: plain data, each field with its default.
//!
//! Nothing is parsed here. Whoever fills a [`ServerConfig`] (the `zoo.cfg` reader of the command
//! line, a test, an embedder) has already resolved defaults that depend on other fields, so that
//! the server reads each field as it stands.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use farwatch_core::auth::{DigestAlgorithm, SuperDigest};
use farwatch_core::node::OnPartition;

use crate::four_letter::Whitelist;

pub use farwatch_core::session::LocalSessions;

/// Milliseconds of one tick unless `tickTime` says otherwise. ZooKeeper's default.
pub const TICK_TIME_MS: u32 = 3000;

/// Ticks of the lower bound of negotiated session timeouts. ZooKeeper's default.
pub const SESSION_TIMEOUT_TICKS_MIN: u32 = 2;

/// Ticks of the upper bound of negotiated session timeouts. ZooKeeper's default.
pub const SESSION_TIMEOUT_TICKS_MAX: u32 = 20;

/// Fewest snapshots that purging may keep. ZooKeeper's own floor: one may be damaged and one may be
/// in use by a learner while it is copied.
pub const SNAPSHOTS_RETAINED_MIN: u32 = 3;

/// Largest server id while TTL nodes are on: they keep the top byte of the owner for their mark,
/// and 255 is taken by it.
pub const EXTENDED_TYPES_SERVER_ID_MAX: u64 = 254;

/// Log bytes that are kept for learners and never purged, by default.
pub const LOG_RETAIN_BYTES: u64 = 1 << 30;

/// Batches that the log may have in flight, by default. More does not raise throughput on one
/// device and makes each wait longer.
pub const LOG_QUEUE_DEPTH: u32 = 4;

/// Milliseconds that a connection may stay without a handshake. ZooKeeper's
/// `nio.sessionlessCnxnTimeout`.
pub const SESSIONLESS_TIMEOUT_MS: u32 = 10_000;

/// Milliseconds of silence after which a follower gives its leader up, by default: six lost pings.
/// A machine that pauses for less keeps its role; a dead leader is replaced within a second.
pub const ELECTION_TIMEOUT_MS: u32 = 600;

/// Shortest silence that may be configured: with less, one lost ping would part a follower from a
/// leader that is well.
pub const ELECTION_TIMEOUT_MS_MIN: u32 = 250;

/// Milliseconds that a write waits for a leader, by default: several elections long, and shorter
/// than clients wait for a reply.
pub const WRITE_WAIT_MS: u32 = 10_000;

/// Milliseconds that a session of an observer that is cut off lives longer, by default: what a route
/// needs that changes, or a firewall that is loaded anew.
pub const OBSERVER_SESSION_GRACE_MS: u32 = 5000;

/// Fewest bytes a second that a link to an observer may be held back to: an observer that is sent less
/// is no replica, and who hears something less often than four times a second is silent.
pub const LINK_BYTES_PER_SECOND_MIN: u64 = 16 << 10;

/// Milliseconds that a leader's own disk may take for a write before it hands over, by default.
pub const LEADER_STALL_MS: u32 = 3000;

/// Everything that a server needs to know.
///
/// [`ServerConfig::default`] is the server that `farwatch serve` starts without any configuration:
/// alone, on loopback, port 2181, data in `./farwatch-data`.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// This server's id, `myid`. Default 0, which a server that stands alone also reports.
    pub server_id: u64,
    /// The members of the ensemble, by id. Default empty: the server stands alone.
    pub servers: Vec<ServerSpec>,
    /// This server's own role. The list of servers wins when it disagrees. Default participant.
    pub role: ServerRole,
    /// How the server takes part: alone, or as a member. Default alone.
    pub standing: Standing,
    /// Addresses to accept clients on. Default `127.0.0.1:2181`.
    pub client_addrs: Vec<SocketAddr>,
    /// Where TLS clients would be accepted. Parsed so that it can be named; nothing listens on it.
    /// Default none.
    pub secure_client_addr: Option<SocketAddr>,
    /// Length of the queue of connections that were not accepted yet; -1 leaves it to the system.
    /// Default -1.
    pub client_backlog: i32,
    /// Where identity, epochs and snapshots live. Default `farwatch-data`.
    pub data_dir: PathBuf,
    /// Where the log lives. Default: [`ServerConfig::data_dir`].
    pub data_log_dir: PathBuf,
    /// Whether missing directories are created. Default true.
    pub data_dir_autocreate: bool,
    /// Milliseconds of one tick. Default 3000.
    pub tick_time_ms: u32,
    /// Ticks that a learner may take to connect and to finish syncing. Default 10.
    pub init_limit_ticks: u32,
    /// Ticks that a learner and its leader may be silent. Default 5.
    pub sync_limit_ticks: u32,
    /// Milliseconds of silence after which a follower gives its leader up and looks for another.
    /// [`ServerConfig::sync_limit_ticks`] remains the bound for a learner that still catches up.
    /// Default 600.
    pub election_timeout_ms: u32,
    /// Milliseconds that a write waits for a leader before its connection is closed.
    /// Default 10,000.
    pub write_wait_ms: u32,
    /// Milliseconds without a leader after which a server closes the connections of readers rather
    /// than show them an old state; 0 is what [`ServerConfig::on_partition`] says. Default 0.
    pub staleness_ms_max: u32,
    /// What a server does for its clients without a leader. Default: a voter keeps connections for
    /// their session's timeout, an observer for as long as it takes.
    pub on_partition: OnPartition,
    /// Milliseconds that a session of an observer that is cut off lives longer than its timeout.
    /// Default 5000.
    pub observer_session_grace_ms: u32,
    /// Bytes a second at which a leader sends a snapshot to a learner; 0 is no limit. Default 0.
    pub snapshot_transfer_bytes_per_second: u64,
    /// Bytes a second that are sent over one link to an observer, all that is said to it together; 0 is no
    /// limit, anything else at least [`LINK_BYTES_PER_SECOND_MIN`]. Default 0.
    pub link_bytes_per_second: u64,
    /// Whether links of which one side observes are compressed. Default automatic.
    pub link_compression: LinkCompression,
    /// Which of [`ServerConfig::upstreams`] is learned from. Default the first.
    pub upstream_choice: UpstreamChoice,
    /// Milliseconds without a finished write of its own disk, or without room there, after which a leader
    /// hands over to a voter that is well. Default 3000.
    pub leader_stall_ms: u32,
    /// Whether a voter that lost its disk, or part of it, copies the history of the others before
    /// it votes again. Default false.
    pub rejoin: bool,
    /// Whether the voters are others than when this one last started, all of them are stopped, and each is
    /// started with the new list. Default false: one may have come or gone.
    pub change_voters: bool,
    /// Ticks that a learner may take to connect; 0 means [`ServerConfig::init_limit_ticks`].
    /// Default 0.
    pub connect_limit_ticks: u32,
    /// Connections per client address; 0 is no limit. Default 60.
    pub client_connections_max: u32,
    /// Connections over all addresses; 0 is no limit. Default 0.
    pub connections_max: u32,
    /// Shortest session timeout that is granted, milliseconds. Default two ticks.
    pub session_timeout_ms_min: u32,
    /// Longest session timeout that is granted, milliseconds. Default twenty ticks.
    pub session_timeout_ms_max: u32,
    /// Milliseconds that a connection may stay without a handshake. Default 10,000.
    pub sessionless_timeout_ms: u32,
    /// Whether idle client sockets are probed (`SO_KEEPALIVE`). Default false.
    pub client_tcp_keep_alive: bool,
    /// Largest frame that is accepted from a client, bytes. Default 1,048,575.
    pub client_frame_bytes_max: usize,
    /// Requests in progress over all connections before those that have some are no longer read.
    /// Default 1000 (`globalOutstandingLimit`).
    pub outstanding_requests_max: u32,
    /// Requests that may wait in front of the pipeline; 0 is no limit. Default 0
    /// (`request_throttle_max_requests`).
    pub throttled_requests_max: u32,
    /// Milliseconds after which a waiting request is answered with THROTTLEDOP; 0 never. Default 0.
    pub throttled_op_wait_ms: u32,
    /// Transactions between snapshots. Default 100,000.
    pub snapshot_txns: u32,
    /// Log bytes between snapshots; 0 is no limit. Default 4 GiB.
    pub snapshot_log_bytes: u64,
    /// When old snapshots and segments go. Default: behind each snapshot. ZooKeeper's
    /// default keeps them for ever, which ends with a full disk.
    pub autopurge: Autopurge,
    /// Log bytes that purging always leaves for learners. Default 1 GiB.
    pub log_retain_bytes: u64,
    /// Batches that the log may have in flight. Default 4.
    pub log_queue_depth: u32,
    /// Whether a write is durable before it is acknowledged; always true, also where `forceSync=no`
    /// is set, which is answered with a warning.
    pub force_sync: bool,
    /// A durable write that takes longer, milliseconds, is logged. Default 1000.
    pub fsync_warning_ms: u32,
    /// Words that are answered on the client port. Default `srvr` and `quor`.
    pub four_letter_words: Whitelist,
    /// Whether TTL nodes may be created. Default false.
    pub extended_types: bool,
    /// Whether hard quotas are enforced. Default false.
    pub enforce_quota: bool,
    /// Whether permissions are not checked at all. Default false.
    pub skip_acl: bool,
    /// Who may do what, and how clients prove who they are.
    pub authentication: Authentication,
    /// Which sessions stay on the server that they were opened at. Default: none.
    pub local_sessions: LocalSessions,
    /// Whether membership may be changed while running. Default false.
    pub reconfig_enabled: bool,
    /// Whether the leader also serves clients. Default true.
    pub leader_serves: bool,
    /// Of an observer: names or addresses with quorum ports of the servers that it learns from, the
    /// preferred one first. Empty: from the ensemble's leader.
    pub upstreams: Vec<(String, u16)>,
    /// Whether an observer keeps nothing: its data directory is one in memory, made for it and gone with
    /// it. Default false.
    pub memory_only: bool,
    /// Whether the server lives in a program of somebody else, whose process it never ends. No key sets
    /// it.
    pub is_embedded: bool,
    /// Whether peers are accepted on every address of this machine, and not on those of this server's
    /// own line alone. Default false.
    pub peers_on_all_addresses: bool,
    /// Of a guest, an observer that no list names: where others can learn from it. Default none.
    pub peer_addrs: Vec<SocketAddr>,
    /// Whether an observer keeps its own log and snapshots. Default true.
    pub observer_keeps_log: bool,
    /// How empty containers and expired TTL nodes are reaped.
    pub reaping: Reaping,
    /// Threads that serve clients; 0 lets [`ServerConfig::reactor_threads`] choose. Default 0.
    pub threads: u32,
    /// How sockets are driven. Default automatic.
    pub socket_driver: SocketDriver,
    /// How the log is written. Default automatic.
    pub log_driver: LogDriver,
}

impl Default for ServerConfig {
    fn default() -> Self {
        let data_dir = PathBuf::from("farwatch-data");
        Self {
            server_id: 0,
            servers: Vec::new(),
            role: ServerRole::Participant,
            standing: Standing::Alone,
            client_addrs: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 2181))],
            secure_client_addr: None,
            client_backlog: -1,
            data_log_dir: data_dir.clone(),
            data_dir,
            data_dir_autocreate: true,
            tick_time_ms: TICK_TIME_MS,
            init_limit_ticks: 10,
            sync_limit_ticks: 5,
            election_timeout_ms: ELECTION_TIMEOUT_MS,
            write_wait_ms: WRITE_WAIT_MS,
            staleness_ms_max: 0,
            on_partition: OnPartition::Bounded,
            observer_session_grace_ms: OBSERVER_SESSION_GRACE_MS,
            snapshot_transfer_bytes_per_second: 0,
            link_bytes_per_second: 0,
            link_compression: LinkCompression::Auto,
            upstream_choice: UpstreamChoice::First,
            leader_stall_ms: LEADER_STALL_MS,
            rejoin: false,
            change_voters: false,
            connect_limit_ticks: 0,
            client_connections_max: 60,
            connections_max: 0,
            session_timeout_ms_min: SESSION_TIMEOUT_TICKS_MIN * TICK_TIME_MS,
            session_timeout_ms_max: SESSION_TIMEOUT_TICKS_MAX * TICK_TIME_MS,
            sessionless_timeout_ms: SESSIONLESS_TIMEOUT_MS,
            client_tcp_keep_alive: false,
            client_frame_bytes_max: farwatch_core::limits::CLIENT_FRAME_BYTES_MAX,
            outstanding_requests_max: 1000,
            throttled_requests_max: 0,
            throttled_op_wait_ms: 0,
            snapshot_txns: 100_000,
            snapshot_log_bytes: 4 << 30,
            autopurge: Autopurge::default(),
            log_retain_bytes: LOG_RETAIN_BYTES,
            log_queue_depth: LOG_QUEUE_DEPTH,
            force_sync: true,
            fsync_warning_ms: 1000,
            four_letter_words: Whitelist::default(),
            extended_types: false,
            enforce_quota: false,
            skip_acl: false,
            authentication: Authentication::default(),
            local_sessions: LocalSessions::Off,
            reconfig_enabled: false,
            leader_serves: true,
            upstreams: Vec::new(),
            memory_only: false,
            is_embedded: false,
            peers_on_all_addresses: false,
            peer_addrs: Vec::new(),
            observer_keeps_log: true,
            reaping: Reaping::default(),
            threads: 0,
            socket_driver: SocketDriver::Auto,
            log_driver: LogDriver::Auto,
        }
    }
}

/// Log in memory after which a snapshot takes its place.
const MEMORY_LOG_BYTES: u64 = 64 << 20;

impl ServerConfig {
    /// Keeps the data in `dir`, which is memory and not disk.
    pub fn keep_in_memory(&mut self, dir: PathBuf) {
        (self.data_dir, self.data_log_dir) = (dir.clone(), dir);
        self.memory_only = true;
        // Nothing is ever recovered from an older one, and what is kept costs memory.
        self.autopurge = Autopurge { snapshots_retained: 1, ..Autopurge::default() };
        self.snapshot_log_bytes = match self.snapshot_log_bytes {
            0 => MEMORY_LOG_BYTES,
            bytes => bytes.min(MEMORY_LOG_BYTES),
        };
    }

    /// The members as `/zookeeper/config` and `conf` show them, by their numbers. The version grows
    /// with membership changes, of which there are none.
    pub fn membership(&self) -> String {
        let mut servers: Vec<&ServerSpec> = self.servers.iter().collect();
        servers.sort_by_key(|spec| spec.id);
        let lines = servers.into_iter().map(|spec| format!("{spec}\n"));
        lines.chain(["version=0".to_owned()]).collect()
    }

    /// Threads that serve clients, given how many cores there are: what was configured, or one on
    /// machines of up to two cores (a hop between threads costs more there than it brings), or one
    /// less than there are cores, because the core thread needs its own.
    pub fn reactor_threads(&self, cores: usize) -> usize {
        match self.threads {
            0 if cores <= 2 => 1,
            0 => cores - 1,
            threads => threads as usize,
        }
    }

    /// Members with a vote.
    pub fn voters(&self) -> impl Iterator<Item = &ServerSpec> {
        self.servers.iter().filter(|spec| spec.role == ServerRole::Participant)
    }

    /// Whether this server is an observer that no list names.
    pub fn is_guest(&self) -> bool {
        self.standing == Standing::Member && self.servers.is_empty()
    }

    /// Whether this server learns from [`ServerConfig::upstreams`], and not from its ensemble's leader.
    pub fn learns_from_list(&self) -> bool {
        self.role == ServerRole::Observer && !self.upstreams.is_empty()
    }

    /// This server's line in the list of servers, if it is listed.
    pub fn own_spec(&self) -> Option<&ServerSpec> {
        self.servers.iter().find(|spec| spec.id == self.server_id)
    }
}

/// How a server takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// An ensemble of one voter that reports itself as `standalone`.
    Alone,
    /// A member of the ensemble that [`ServerConfig::servers`] lists; of one voter when it lists
    /// one and `standaloneEnabled=false`.
    Member,
}

/// What a server does in its ensemble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerRole {
    /// It votes.
    Participant,
    /// It learns and serves, without a vote.
    Observer,
}

impl fmt::Display for ServerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Participant => "participant",
            Self::Observer => "observer",
        })
    }
}

/// One member of the ensemble: `server.ID=HOST:QUORUM:ELECTION[:ROLE][;CLIENT]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerSpec {
    /// Its id.
    pub id: u64,
    /// Where its peers reach it; at least one, tried in order.
    pub peers: Vec<PeerAddr>,
    /// What it does.
    pub role: ServerRole,
    /// Where clients reach it, if the line says so.
    pub client: Option<ClientAddr>,
}

/// Where peers reach a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerAddr {
    /// Name or address, without the brackets of an IPv6 address.
    pub host: String,
    /// The port of the peer link.
    pub quorum_port: u16,
    /// Accepted and not needed: one connection carries everything.
    pub election_port: Option<u16>,
}

/// Where clients reach a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientAddr {
    /// Name or address, without the brackets of an IPv6 address.
    pub host: String,
    /// The client port.
    pub port: u16,
}

impl fmt::Display for ServerSpec {
    /// The line as `/zookeeper/config` and `conf` show it: role and client part always in full.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server.{}=", self.id)?;
        for (i, peer) in self.peers.iter().enumerate() {
            let separator = if i == 0 { "" } else { "|" };
            write!(f, "{separator}{}:{}", Host(&peer.host), peer.quorum_port)?;
            if let Some(port) = peer.election_port {
                write!(f, ":{port}")?;
            }
            write!(f, ":{}", self.role)?;
        }
        match &self.client {
            Some(client) => write!(f, ";{}:{}", Host(&client.host), client.port),
            None => Ok(()),
        }
    }
}

/// A host in front of a port: an IPv6 address needs its brackets back.
struct Host<'a>(&'a str);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

/// When old snapshots and log segments go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Autopurge {
    /// Snapshots that stay; at least [`SNAPSHOTS_RETAINED_MIN`]. Default 3.
    pub snapshots_retained: u32,
    /// 0 never purges; anything else purges behind each snapshot, which is when something becomes
    /// superfluous. Default one hour, in milliseconds.
    pub interval_ms: u64,
}

impl Default for Autopurge {
    fn default() -> Self {
        Self { snapshots_retained: SNAPSHOTS_RETAINED_MIN, interval_ms: 3_600_000 }
    }
}

/// How empty containers and expired TTL nodes are reaped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reaping {
    /// Milliseconds between looks. Default 60,000.
    pub check_interval_ms: u32,
    /// Nodes that may be deleted in one minute. Default 10,000.
    pub per_minute_max: u32,
    /// Milliseconds after which a container that never had a child goes; 0 never. Default 0.
    pub never_used_ms_max: u64,
}

impl Default for Reaping {
    fn default() -> Self {
        Self { check_interval_ms: 60_000, per_minute_max: 10_000, never_used_ms_max: 0 }
    }
}

/// How clients prove who they are.
#[derive(Clone, Debug)]
pub struct Authentication {
    /// Whether `digest` credentials are accepted. Default true.
    pub digest_enabled: bool,
    /// The hash of `digest` identities. Default SHA-1, as clients assume that compute ACLs by themselves.
    pub digest_algorithm: DigestAlgorithm,
    /// `super:HASH`: who passes every ACL. Default none.
    pub super_digest: Option<SuperDigest>,
    /// Schemes of which a client must have passed one before any other request; empty lets
    /// everybody in. Default empty.
    pub enforced_schemes: Vec<String>,
    /// Names that the `ensemble` scheme accepts; an empty list takes any. Default none: there is no
    /// such scheme.
    pub ensemble_names: Option<Vec<String>>,
}

impl Default for Authentication {
    fn default() -> Self {
        Self {
            digest_enabled: true,
            digest_algorithm: DigestAlgorithm::Sha1,
            super_digest: None,
            enforced_schemes: Vec::new(),
            ensemble_names: None,
        }
    }
}

/// How sockets are driven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketDriver {
    /// io_uring where the kernel has it, else epoll.
    Auto,
    /// io_uring or no start.
    IoUring,
    /// epoll.
    Epoll,
}

/// Whether links of which one side observes are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkCompression {
    /// What is sent over links that are long, where it pays and the other side can read it.
    Auto,
    /// The same over every link.
    On,
    /// Never, in either direction.
    Off,
}

/// Which upstream of several that can be learned from is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpstreamChoice {
    /// The first of the list.
    First,
    /// The nearest by its round trip; another one takes its place when it is at most half as far.
    Nearest,
}

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogDriver {
    /// A ring where the kernel has it, else a thread.
    Auto,
    /// A ring or no start.
    IoUring,
    /// `pwritev2` on a thread.
    Thread,
}

#[cfg(test)]
mod tests {
    use super::{Authentication, PeerAddr, ServerConfig, ServerRole, ServerSpec, SuperDigest};

    #[test]
    fn a_super_digest_matches_only_itself_and_is_never_shown() {
        let secret = SuperDigest::new("super:0bX78nEegDzJM3ju0iLBEJdWzjg=".to_owned());
        assert!(secret.matches("super:0bX78nEegDzJM3ju0iLBEJdWzjg="));
        assert!(!secret.matches("super:0bX78nEegDzJM3ju0iLBEJdWzjG="));
        assert!(!secret.matches("super:"));
        let authentication =
            Authentication { super_digest: Some(secret), ..Authentication::default() };
        let config = ServerConfig { authentication, ..ServerConfig::default() };
        assert!(!format!("{config:?}").contains("0bX78"));
    }

    #[test]
    fn members_are_named_by_their_numbers_whatever_their_order_in_the_file() {
        let spec = |id| {
            let (host, quorum_port, election_port) = ("h".to_owned(), 1, Some(2));
            let peers = vec![PeerAddr { host, quorum_port, election_port }];
            ServerSpec { id, peers, role: ServerRole::Participant, client: None }
        };
        let servers = [10, 2].map(spec).to_vec();
        let config = ServerConfig { servers, ..ServerConfig::default() };
        let expected =
            "server.2=h:1:2:participant\nserver.10=h:1:2:participant\nversion=0".to_owned();
        assert_eq!(config.membership(), expected);
    }

    #[test]
    fn a_machine_of_two_cores_serves_from_one_thread() {
        let config = ServerConfig::default();
        assert_eq!([1, 2, 3, 8].map(|cores| config.reactor_threads(cores)), [1, 1, 2, 7]);
        let config = ServerConfig { threads: 3, ..config };
        assert_eq!(config.reactor_threads(2), 3);
    }
}
