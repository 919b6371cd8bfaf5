//! From the configuration to the protocol's terms, and the links as the core sees them.

use crate::config::{
    LINK_BYTES_PER_SECOND_MIN, ServerConfig, ServerRole, ServerSpec, UpstreamChoice,
};
use crate::data_dir::DataDir;
use crate::drive::TICK_MEMBER;
use crate::ensemble::{Ensemble, PeerEvent};
use crate::report::PeerReport;
use farwatch_core::log::format::ClusterId;
use farwatch_core::zab::message::Message;
use farwatch_core::zab::quorum::Quorum;
use farwatch_core::zab::timing::Timing;
use farwatch_core::zxid::ServerId;

use crate::peers::{self, PeerAddress, Peers};

/// The number of a server in the configuration.
pub fn number(spec: &ServerSpec) -> ServerId {
    ServerId(u32::try_from(spec.id).unwrap_or(u32::MAX))
}

/// The voters of the configuration, if that says who they are, of which a majority decides.
pub(super) fn quorum(config: &ServerConfig) -> Quorum {
    if config.is_guest() {
        return Quorum::unknown();
    }
    Quorum::majority(config.voters().map(number))
}

/// The others of the configuration, as links find them.
pub fn addresses(config: &ServerConfig, me: ServerId) -> Vec<PeerAddress> {
    let others = config.servers.iter().filter(|spec| number(spec) != me);
    others
        .map(|spec| PeerAddress {
            id: number(spec),
            votes: spec.role == ServerRole::Participant,
            hosts: spec.peers.iter().map(|peer| (peer.host.clone(), peer.quorum_port)).collect(),
        })
        .collect()
}

/// An observer gives its upstream up after this much silence, milliseconds, and is given up after
/// it. Longer than TCP takes to repeat one lost packet over half the globe: else each loss would
/// cost a synchronisation.
const OBSERVER_SILENCE_MS: u64 = 2_000;

/// Records that are sent to an observer and not acknowledged are what its link may carry in so many
/// seconds: pings and the answers of its clients wait behind them. It acknowledges with each ping,
/// four times a second.
const IN_FLIGHT_SECONDS: u64 = 1;

/// How long things take, in ticks of the core.
pub(super) fn timing(config: &ServerConfig) -> Timing {
    let ticks = |ms: u64| (ms / TICK_MEMBER.as_millis() as u64).max(1);
    let tick_ms = u64::from(config.tick_time_ms);
    let silence_ticks = ticks(config.election_timeout_ms.into());
    let observer_silence_ticks = ticks(OBSERVER_SILENCE_MS).max(silence_ticks);
    let join_ticks =
        ticks(u64::from(config.init_limit_ticks) * tick_ms).max(observer_silence_ticks);
    let usual = Timing::default();
    let ping_ticks = usual.ping_ticks.min(silence_ticks / 3);
    let stall_ticks = ticks(config.leader_stall_ms.into());
    let observer_ping_ticks = usual.observer_ping_ticks.min(observer_silence_ticks / 4);
    let observer_flight_bytes = match config.link_bytes_per_second {
        0 => None,
        rate => {
            Some((rate.max(LINK_BYTES_PER_SECOND_MIN) * IN_FLIGHT_SECONDS).min(usual.flight_bytes))
        }
    };
    Timing {
        observer_flight_bytes,
        silence_ticks,
        observer_silence_ticks,
        join_ticks,
        ping_ticks,
        observer_ping_ticks,
        stall_ticks,
        ..usual
    }
}

/// The links to the others, as the core takes them.
pub(super) struct Links {
    peers: Peers,
    dir: DataDir,
    addresses: Vec<PeerAddress>,
    choice: UpstreamChoice,
}

impl Links {
    pub fn new(
        peers: Peers,
        dir: DataDir,
        addresses: Vec<PeerAddress>,
        choice: UpstreamChoice,
    ) -> Self {
        Self { peers, dir, addresses, choice }
    }

    /// The place of an upstream; all have the same where the nearest is wanted.
    fn rank(&self, peer: ServerId) -> Option<u32> {
        let rank = self.peers.upstream_rank(peer)?;
        Some(match self.choice {
            UpstreamChoice::First => rank,
            UpstreamChoice::Nearest => 0,
        })
    }

    fn cluster(&self) -> ClusterId {
        self.dir.identity().cluster
    }
}

impl Ensemble for Links {
    fn send(&self, to: ServerId, message: &Message) {
        self.peers.send(to, message);
    }

    fn take_events(&self, out: &mut Vec<PeerEvent>) {
        let mut events = Vec::new();
        self.peers.take_events(&mut events);
        out.extend(events.into_iter().filter_map(|event| match event {
            peers::PeerEvent::Connected(peer) => {
                let (rank, asked) = (self.rank(peer), self.peers.asked(peer));
                rank.map(|rank| PeerEvent::Upstream { peer, rank, asked })
            }
            peers::PeerEvent::Asked(from) => Some(PeerEvent::Asked(from)),
            peers::PeerEvent::Received { from, message } => {
                Some(PeerEvent::Received { from, message })
            }
            peers::PeerEvent::Arriving(peer) => Some(PeerEvent::Arriving(peer)),
            peers::PeerEvent::Disconnected(peer) => Some(PeerEvent::Disconnected(peer)),
            peers::PeerEvent::Adopt { cluster, firm } => Some(PeerEvent::Adopt { cluster, firm }),
        }));
    }

    fn made_firm(&self) {
        self.peers.set_cluster(self.cluster(), false);
    }

    fn report(&self) -> Vec<PeerReport> {
        let address = |id: ServerId| {
            let known = self.addresses.iter().find(|it| it.id == id)?;
            known.hosts.first().map(|(host, port)| format!("{host}:{port}"))
        };
        let states = self.peers.report().into_iter();
        states
            .map(|state| PeerReport {
                id: state.id.0,
                address: address(state.id)
                    .or_else(|| state.upstream.clone())
                    .or_else(|| state.address.map(|at| at.to_string()))
                    .unwrap_or_default(),
                votes: state.votes,
                guest: !state.listed && state.upstream.is_none(),
                upstream: state.upstream,
                connected: state.connected,
                silent_ms: state
                    .silent_ms
                    .or_else(|| state.address.is_some().then_some(state.since_ms)),
                last_error: state.last_error,
                bytes_in: state.bytes_in,
                bytes_out: state.bytes_out,
                plain_in: state.plain_in,
                plain_out: state.plain_out,
                compresses: state.compresses,
                queued_bytes: state.queued_bytes,
                rtt_us: state.rtt_us,
                last_error_ms: (!state.connected).then_some(state.since_ms),
                ..PeerReport::default()
            })
            .collect()
    }

    fn stop(&self) {
        self.peers.stop();
    }
}
