//! `mntr`: every metric, one `zk_key<TAB>value` line each.

use std::fmt::Display;

use farwatch_core::wire::request::OpCode;
use farwatch_core::zxid::Zxid;

use super::VERSION;
use super::counters::{Counter, ServerCounters, Sizes, Summary, Totals, Unit};
use super::server::{Decimal, Mode, put};

/// Facts of `mntr` beside the counters.
#[derive(Clone, Debug)]
pub struct MonitorFacts {
    /// What the server is.
    pub mode: Mode,
    /// A member's state in detail, such as `leading - broadcast`.
    pub peer_state: Option<String>,
    /// The last transaction in the tree.
    pub applied: Zxid,
    /// On a member: milliseconds since it knew itself to be current.
    pub stale_ms: Option<u64>,
    /// On an observer: the server that it learns from.
    pub learns_from: Option<u64>,
    /// On a member that does not lead: how far away the server is that it learns from, microseconds
    /// there and back.
    pub upstream_rtt_us: Option<u64>,
    /// What every server has.
    pub gauges: Gauges,
    /// Voters of the ensemble, on a member.
    pub quorum_size: Option<u64>,
    /// What a leader has.
    pub leader: Option<LeaderGauges>,
}

/// What every server has.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Open client connections.
    pub connections: u64,
    /// Requests in progress.
    pub outstanding: u64,
    /// Milliseconds since the server began to serve.
    pub uptime_ms: u64,
    /// Nodes, counted as `srvr` counts.
    pub nodes: u64,
    /// Data and child watches.
    pub watches: u64,
    /// Ephemeral nodes.
    pub ephemerals: u64,
    /// Bytes of paths and data.
    pub data_bytes: u64,
    /// Global sessions.
    pub global_sessions: u64,
    /// Local sessions.
    pub local_sessions: u64,
    /// Open file descriptors of the process.
    pub open_files: u64,
    /// How many it may open.
    pub open_files_max: u64,
}

/// What a leader has.
#[derive(Clone, Debug, Default)]
pub struct LeaderGauges {
    /// Connected learners.
    pub learners: u64,
    /// Voters that are in sync, without the leader.
    pub synced_followers: u64,
    /// Learners in sync that neither vote nor observe.
    pub synced_non_voting_followers: u64,
    /// Observers that are in sync.
    pub synced_observers: u64,
    /// Clients' syncs that wait.
    pub pending_syncs: u64,
    /// Milliseconds since it leads.
    pub uptime_ms: u64,
    /// Sizes of proposals.
    pub proposals: Sizes,
}

/// `mntr`.
pub fn mntr(facts: &MonitorFacts, counters: &ServerCounters) -> String {
    let mut lines = Lines(String::with_capacity(12 * 1024));
    lines.put("version", VERSION);
    lines.put("server_state", facts.mode);
    if let Some(state) = &facts.peer_state {
        lines.put("peer_state", state);
    }
    if let Some(stale_ms) = facts.stale_ms {
        // Farwatch's own: how old what it shows may be, and what that is.
        lines.put("staleness_ms", stale_ms);
        lines.put("applied_zxid", facts.applied.0);
    }
    if let Some(id) = facts.learns_from {
        lines.put("observer_master_id", id);
    }
    if let Some(us) = facts.upstream_rtt_us {
        lines.put("upstream_rtt_us", us); // Farwatch's own
    }
    everywhere(&facts.gauges, counters, &mut lines);
    ensemble(facts, &mut lines);
    for &counter in Counter::ALL {
        if !is_gauge(counter) {
            lines.put(counter.name(), counters.total(counter));
        }
    }
    requests(counters, &mut lines);
    for &kind in Summary::ALL {
        summary(kind, &counters.summary(kind), &mut lines);
    }
    lines.0
}

/// Counters that ZooKeeper shows among the gauges.
const fn is_gauge(counter: Counter) -> bool {
    matches!(counter, Counter::PacketsReceived | Counter::PacketsSent | Counter::AuthFailed)
}

fn everywhere(gauges: &Gauges, counters: &ServerCounters, lines: &mut Lines) {
    let latency = counters.latency();
    lines.put("avg_latency", Decimal::average_ms(latency.sum, latency.count));
    lines.put("min_latency", latency.min / 1000);
    lines.put("max_latency", latency.max / 1000);
    for counter in [Counter::PacketsReceived, Counter::PacketsSent, Counter::AuthFailed] {
        lines.put(counter.name(), counters.total(counter));
    }
    lines.put("num_alive_connections", gauges.connections);
    lines.put("outstanding_requests", gauges.outstanding);
    lines.put("uptime", gauges.uptime_ms);
    lines.put("znode_count", gauges.nodes);
    lines.put("watch_count", gauges.watches);
    lines.put("ephemerals_count", gauges.ephemerals);
    lines.put("approximate_data_size", gauges.data_bytes);
    lines.put("global_sessions", gauges.global_sessions);
    lines.put("local_sessions", gauges.local_sessions);
    lines.put("open_file_descriptor_count", gauges.open_files);
    lines.put("max_file_descriptor_count", gauges.open_files_max);
    // Connections are limited by number, never by chance, and none is over TLS: these three are
    // constant, and tools expect them.
    lines.put("connection_drop_probability", "0.0");
    lines.put("outstanding_tls_handshake", 0);
    lines.put("non_mtls_remote_conn_count", 0);
    lines.put("non_mtls_local_conn_count", 0);
    let Sizes { last, min, max } = counters.response_sizes();
    lines.put("last_client_response_size", last);
    lines.put("min_client_response_size", min);
    lines.put("max_client_response_size", max);
}

fn ensemble(facts: &MonitorFacts, lines: &mut Lines) {
    if let Some(voters) = facts.quorum_size {
        lines.put("quorum_size", voters);
    }
    let Some(leader) = &facts.leader else { return };
    lines.put("learners", leader.learners);
    lines.put("synced_followers", leader.synced_followers);
    lines.put("synced_non_voting_followers", leader.synced_non_voting_followers);
    lines.put("synced_observers", leader.synced_observers);
    lines.put("pending_syncs", leader.pending_syncs);
    lines.put("leader_uptime", leader.uptime_ms);
    let Sizes { last, min, max } = leader.proposals;
    lines.put("last_proposal_size", last);
    lines.put("min_proposal_size", min);
    lines.put("max_proposal_size", max);
}

fn requests(counters: &ServerCounters, lines: &mut Lines) {
    let of = |ops: &[OpCode]| ops.iter().map(|&op| counters.requests(op)).sum::<u64>();
    lines.put("op_count_total", of(OpCode::ALL));
    for (name, ops) in OPERATIONS {
        lines.put(&format!("op_count_{name}"), of(ops));
    }
}

/// The names under which operations are counted.
const OPERATIONS: &[(&str, &[OpCode])] = &[
    ("add_watch", &[OpCode::AddWatch]),
    ("check", &[OpCode::Check]),
    ("check_watches", &[OpCode::CheckWatches]),
    ("close_session", &[OpCode::CloseSession]),
    ("create", &[OpCode::Create, OpCode::Create2, OpCode::CreateContainer, OpCode::CreateTtl]),
    ("create_session", &[OpCode::CreateSession]),
    ("delete", &[OpCode::Delete, OpCode::DeleteContainer]),
    ("exists", &[OpCode::Exists]),
    ("get_acl", &[OpCode::GetAcl]),
    ("get_all_children_number", &[OpCode::GetAllChildrenNumber]),
    ("get_children", &[OpCode::GetChildren, OpCode::GetChildren2]),
    ("get_data", &[OpCode::GetData]),
    ("get_ephemerals", &[OpCode::GetEphemerals]),
    ("multi", &[OpCode::Multi]),
    ("multi_read", &[OpCode::MultiRead]),
    ("ping", &[OpCode::Ping]),
    ("reconfig", &[OpCode::Reconfig]),
    ("remove_watches", &[OpCode::RemoveWatches]),
    ("set_acl", &[OpCode::SetAcl]),
    ("set_data", &[OpCode::SetData]),
    ("set_watches", &[OpCode::SetWatches, OpCode::SetWatches2]),
    ("sync", &[OpCode::Sync]),
    ("who_am_i", &[OpCode::WhoAmI]),
];

fn summary(kind: Summary, totals: &Totals, lines: &mut Lines) {
    let name = kind.name();
    let (average, scale) = match kind.unit() {
        Unit::Duration => (Decimal::average_ms(totals.sum, totals.count), 1000),
        Unit::Plain => (Decimal::average(totals.sum, totals.count), 1),
    };
    lines.put(&format!("avg_{name}"), average);
    lines.put(&format!("min_{name}"), totals.min / scale);
    lines.put(&format!("max_{name}"), totals.max / scale);
    lines.put(&format!("cnt_{name}"), totals.count);
    lines.put(&format!("sum_{name}"), totals.sum / scale);
    if kind.has_percentiles() {
        for (label, thousandths) in [("p50", 500), ("p95", 950), ("p99", 990), ("p999", 999)] {
            lines.put(&format!("{label}_{name}"), totals.percentile(thousandths) / scale);
        }
    }
}

struct Lines(String);

impl Lines {
    fn put(&mut self, key: &str, value: impl Display) {
        put(&mut self.0, format_args!("zk_{key}\t{value}\n"));
    }
}
