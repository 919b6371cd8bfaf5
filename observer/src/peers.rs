//! Links to the other servers of an ensemble: one TCP connection per pair, which carries the
//! messages of Zab. Zab's sessions notice whatever a link loses, so that safety does not rest on
//! anything here; how fast an ensemble comes back does.
//!
//! ```text
//! larger number, or no vote                 smaller number, or upstream
//!       dial ── hello ────────────────────► accept
//!            ◄───────────────────── answer ─┤ refused: the reason, in both logs
//!       link ◄══ frames, heartbeats ══════► link
//! ```
//!
//! Everything runs as tasks on the core's thread, except names and connects, which block
//! (`peers/dial.rs`). The core is never called back: it takes what happened when it is woken.
//! `docs/peer-protocol.md` draws the bytes.

mod accept;
mod admission;
pub mod backoff;
pub mod block;
mod dial;
pub mod frame;
mod greeting;
pub mod handshake;
mod hub;
mod link;
mod peer;
mod queue;
mod receive;
mod refusal;
mod send;
mod upstream;
mod wire;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::config::{LinkCompression, ServerConfig};
use crate::runtime::{self, Listener, Signal};
use farwatch_core::log::format::ClusterId;
use farwatch_core::zab::message::Message;
use farwatch_core::zxid::ServerId;

use dial::Target;
use frame::FRAME_BYTES_MAX;
use hub::{Hub, HubOptions};
use peer::Peer;

/// How often links are looked after. Times of this module are multiples of it.
const SWEEP: Duration = Duration::from_millis(100);

/// Between two looks whether everything has ended.
const END_LOOK: Duration = Duration::from_millis(2);

/// Bytes that wait for one peer before it is cut off. A leader stops sending records when 8 MiB
/// are not acknowledged; a link that was made anew may hold that twice, and beside it one message
/// as large as they get.
const QUEUE_BYTES_MAX: usize = FRAME_BYTES_MAX + (32 << 20);

/// Bytes that wait for a peer that learns from this server without a vote, one message aside. Zab's window keeps them below 8
/// MiB, twice that over a link that was made anew.
const OBSERVER_QUEUE_BYTES_MAX: usize = 24 << 20;

/// At the 60 MB that one core compresses in a second, where a hundred links push each other out of
/// its cache, a fifth of it: the core's thread has other things to do, and on links that take more
/// than this bytes are cheap.
const COMPRESSED_BYTES_PER_SECOND: u64 = 12 << 20;

/// From this round trip on a link is compressed: bytes that stay within a building cost less than what
/// compressing them takes.
const COMPRESSED_FROM: Duration = Duration::from_millis(5);

/// Bytes of one peer that were received and not yet taken, before it is no longer read.
const RECEIVED_BYTES_MAX: usize = 16 << 20;

/// Observers that no list names, which one server takes in unless told otherwise. Each costs a
/// link with its buffers, a session and its share of what is sent: more than this many are served
/// by other observers.
pub const GUESTS_MAX: usize = 1024;

/// How many sweeps a time takes.
fn sweeps(time: Duration) -> u32 {
    time.as_millis().div_ceil(SWEEP.as_millis()).try_into().unwrap_or(u32::MAX)
}

/// What a server needs to know to find its peers and to be known by them.
#[derive(Debug)]
pub struct PeerOptions {
    /// This server.
    pub me: ServerId,
    /// Whether this server votes. One that does not dials all voters, or its upstreams.
    pub votes: bool,
    /// The ensemble.
    pub cluster: ClusterId,
    /// Whether `cluster` is only this server's proposal: it then takes over what others have.
    pub tentative: bool,
    /// Which start of this process it is: random.
    pub boot: u64,
    /// The other servers. This server's own entry is passed over.
    pub peers: Vec<PeerAddress>,
    /// Instead of the voters, for a server that does not vote: a name or address and a quorum port
    /// each, of voters or of other observers. Who is there tells its number itself.
    pub upstreams: Vec<(String, u16)>,
    /// How many observers that are in no list (see [`ServerId::GUEST_MIN`]) this server takes in:
    /// none, or up to this many. [`GUESTS_MAX`] is enough for most.
    pub guests_max: usize,
    /// Where peers connect to this server, bound by the caller.
    pub listeners: Vec<TcpListener>,
    /// How long and how much.
    pub limits: PeerLimits,
}

/// Another server of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its number.
    pub id: ServerId,
    /// Whether it votes.
    pub votes: bool,
    /// Names or addresses with its quorum port. All are tried, in order.
    pub hosts: Vec<(String, u16)>,
}

/// How long things may take, and how much may wait. Times are kept to a tenth of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLimits {
    /// To connect to one address. Default 1 s: a packet that is lost is tried anew just as soon.
    pub connect_timeout: Duration,
    /// From a connection to its whole handshake. Default 3 s.
    pub handshake: Duration,
    /// A link on which nothing arrives, not even a heartbeat, is cut. Default 4 s: longer than a
    /// busy machine's hiccup, shorter than TCP needs to repeat itself after a partition of that
    /// length, so that dialing anew is the faster way back.
    pub silence: Duration,
    /// The same of a link that this server dialed, where one of the two observes. Default 2 s, after
    /// which a learner gives its upstream up: to dial anew is then the faster way back.
    pub upstream_silence: Duration,
    /// A link that takes nothing of what is sent is cut. Default 10 s.
    pub stall: Duration,
    /// Bytes that wait for one peer before its link is cut.
    pub queue_bytes_max: usize,
    /// The same for a peer that observes, for which one message of any size may wait besides: there
    /// may be a thousand of them.
    pub observer_queue_bytes_max: usize,
    /// Bytes that are sent in a second over one link to a server that observes; 0: as many as it
    /// takes. Fewer than 16 KiB are taken for that.
    pub observer_bytes_per_second: u64,
    /// Bytes that all links together compress in a second, beyond which they are sent as they are;
    /// 0: nothing is compressed, in either direction. Default 12 MiB: about a fifth of a core.
    /// Only links on which one side observes are compressed.
    pub compressed_bytes_per_second: u64,
    /// Only what is sent over links whose round trip is no shorter is compressed. Default 5 ms.
    pub compressed_from: Duration,
    /// Guests that are taken in a second, when many come at once. Default 50: a thousand are back
    /// within half a minute, and a voter's core spends a few percent of its time on them.
    pub guests_per_second: u32,
    /// Guests that are taken in before that counts. Default 100.
    pub guests_at_once: u32,
    /// Bytes of one peer that were not taken by [`Peers::take_events`], before it is not read.
    pub received_bytes_max: usize,
}

impl PeerLimits {
    /// The usual ones, and what the operator chose.
    pub fn of(config: &ServerConfig) -> Self {
        let usual = Self::default();
        let chosen = Self { observer_bytes_per_second: config.link_bytes_per_second, ..usual };
        match config.link_compression {
            LinkCompression::Auto => chosen,
            LinkCompression::On => Self { compressed_from: Duration::ZERO, ..chosen },
            LinkCompression::Off => Self { compressed_bytes_per_second: 0, ..chosen },
        }
    }
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            handshake: Duration::from_secs(3),
            silence: Duration::from_secs(4),
            upstream_silence: Duration::from_secs(2),
            stall: Duration::from_secs(10),
            queue_bytes_max: QUEUE_BYTES_MAX,
            observer_queue_bytes_max: OBSERVER_QUEUE_BYTES_MAX,
            observer_bytes_per_second: 0,
            compressed_bytes_per_second: COMPRESSED_BYTES_PER_SECOND,
            compressed_from: COMPRESSED_FROM,
            received_bytes_max: RECEIVED_BYTES_MAX,
            guests_per_second: 50,
            guests_at_once: 100,
        }
    }
}

/// What happened. Per peer: connected, received…, disconnected, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// A link is there.
    Connected(ServerId),
    /// A peer said something.
    Received {
        /// Which peer.
        from: ServerId,
        /// What.
        message: Message,
    },
    /// A part of a message has come within the last tenth of a second, and not its end: only between
    /// servers of which one observes, which may be far from each other.
    Arriving(ServerId),
    /// A server that does not vote asks, with the first word of its link, who leads.
    Asked(ServerId),
    /// A link is over; what was sent and not acknowledged may be lost.
    Disconnected(ServerId),
    /// A peer's id of the ensemble counts more than this server's. It is to be stored, and then
    /// told to [`Peers::set_cluster`]; until then no link to that peer is made and this may come
    /// again.
    Adopt {
        /// The id.
        cluster: ClusterId,
        /// Whether it is more than a proposal.
        firm: bool,
    },
}

/// How a peer is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerState {
    /// Its number. Of an upstream where nobody was met yet, [`ServerId::ANYONE`].
    pub id: ServerId,
    /// Whether it votes, as configured.
    pub votes: bool,
    /// Whether the configuration lists it: else it is a guest, or was found at an upstream.
    pub listed: bool,
    /// The upstream that leads to it, as configured.
    pub upstream: Option<String>,
    /// Whether there is a link.
    pub connected: bool,
    /// Whether this server dials it.
    pub dials: bool,
    /// Where it is, while there is a link.
    pub address: Option<SocketAddr>,
    /// Since something was last received, milliseconds; `None` if nothing ever was.
    pub silent_ms: Option<u64>,
    /// Since the link was made, or ended, milliseconds.
    pub since_ms: u64,
    /// Why the last attempt or link ended, if one has.
    pub last_error: Option<String>,
    /// Received over all links.
    pub bytes_in: u64,
    /// Sent over all links.
    pub bytes_out: u64,
    /// What was received, as frames: more than was received, where it was compressed.
    pub plain_in: u64,
    /// What was sent, as frames.
    pub plain_out: u64,
    /// Whether what is said to it is compressed where that pays.
    pub compresses: bool,
    /// How long a word and its answer take, microseconds, smoothed, while there is a link and once
    /// it was measured.
    pub rtt_us: Option<u64>,
    /// Waiting to be sent.
    pub queued_bytes: u64,
}

/// A connection that was turned away at the quorum port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// From where it came.
    pub address: SocketAddr,
    /// Why, as it was told.
    pub reason: String,
}

/// The links of one server; a handle to them.
#[derive(Clone)]
pub struct Peers(Rc<Hub>);

impl Peers {
    /// Begins to accept and to dial, on this thread's runtime. `wake` is notified when there are
    /// events. Fails when the system has no descriptor or thread left.
    pub fn start(options: PeerOptions, wake: Signal) -> io::Result<Self> {
        let PeerOptions { me, votes, cluster, tentative, boot, .. } = options;
        let PeerOptions { peers, upstreams, guests_max, listeners, limits, .. } = options;
        assert!(!votes || upstreams.is_empty(), "a voter's links are those of its list");
        let peers = peers.into_iter().filter(|peer| peer.id != me).map(|peer| {
            // Between two voters the larger number dials; who does not vote dials its upstreams, or
            // else the voters.
            let dials = match votes {
                true => peer.votes && peer.id.0 < me.0,
                false => peer.votes && upstreams.is_empty(),
            };
            Peer::listed(peer.id, peer.votes, peer.hosts, dials)
        });
        let peers = peers.collect();
        let ours = (me, votes, boot);
        let cluster = (cluster, tentative);
        let own = HubOptions { ours, cluster, limits, peers, upstreams, guests_max };
        let hub = Rc::new(Hub::new(own, wake));
        let links = Self(hub);
        if let Err(error) = links.begin(listeners, boot) {
            links.stop(); // what was begun before it failed
            return Err(error);
        }
        Ok(links)
    }

    fn begin(&self, listeners: Vec<TcpListener>, boot: u64) -> io::Result<()> {
        let Self(hub) = self;
        for listener in listeners {
            let listener = Listener::new(listener)?;
            let listening = listener.socket();
            hub.add_listening(listening.clone());
            hub.spawn(accept::accept_for_ever(Rc::clone(hub), listener, listening));
        }
        let servers = hub.peers().into_iter().filter(|peer| peer.dials).map(Target::Server);
        let upstreams = hub.upstreams().iter().cloned().map(Target::Upstream);
        for (target, way) in servers.chain(upstreams).zip(0..) {
            dial::start(hub, target, way, boot.wrapping_add(way.into()))?;
        }
        hub.spawn(Rc::clone(hub).sweep_for_ever());
        Ok(())
    }

    /// Sends `message` with whatever else is sent to that peer in this turn, after everything sent
    /// before. Without a link it is dropped; a peer that lets too much wait loses its link, and so
    /// does one that was to be told more than a frame holds.
    pub fn send(&self, to: ServerId, message: &Message) {
        let Some(link) = self.0.peer(to).and_then(|peer| peer.link()) else { return };
        let limits = &self.0.limits;
        let (before, waiting) = match link.queue(message) {
            Ok(waiting) => waiting,
            Err(error) => return self.0.cut(&link, &error.to_string()),
        };
        // What this server asks of one that observes, and passes on, has no window that keeps it small.
        let is_slow = match link.observed && link.dialed.is_none() {
            false => waiting > limits.queue_bytes_max,
            true => before > limits.observer_queue_bytes_max,
        };
        if is_slow {
            self.0.cut(&link, &format!("too slow: {waiting} bytes wait for it"));
        }
    }

    /// How long ago `peer` was asked, with the first word of its link, what it offers; `None` where it was not. Its
    /// answer comes as if [`Message::Seek`] had been sent.
    pub fn asked(&self, peer: ServerId) -> Option<Duration> {
        self.0.peer(peer)?.link()?.asked.get().map(|asked| asked.elapsed())
    }

    /// Appends to `out` what happened since the last call. Readers that waited for it go on.
    pub fn take_events(&self, out: &mut Vec<PeerEvent>) {
        self.0.take_events(out);
    }

    /// The place in [`PeerOptions::upstreams`] of the first address where `peer` was found.
    pub fn upstream_rank(&self, peer: ServerId) -> Option<u32> {
        let found = self.0.upstreams().iter().position(|it| it.leads_to(peer));
        found.map(|at| at as u32)
    }

    /// This server's ensemble is called so from now on. Links that were made under another id end,
    /// and come back by themselves.
    pub fn set_cluster(&self, cluster: ClusterId, tentative: bool) {
        self.0.set_cluster(cluster, tentative);
    }

    /// How each peer is doing, by number.
    pub fn report(&self) -> Vec<PeerState> {
        self.0.report()
    }

    /// How long a word to that server and its answer take, as measured lately; `None` while it is
    /// not linked, or does not answer echoes. What waits to be sent on either side counts.
    pub fn round_trip(&self, to: ServerId) -> Option<Duration> {
        self.0.peer(to)?.link()?.round_trip()
    }

    /// The last connection that was turned away at this server's port.
    pub fn last_refused(&self) -> Option<Refused> {
        self.0.last_refused()
    }

    /// Ends all links, dialing and accepting. Asking twice is one.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// After [`Peers::stop`]: waits until every task is over and every socket closed. A dialing
    /// thread may still wait for a connect, with nothing to give it to.
    pub async fn ended(&self) {
        self.0.ended().await;
    }
}

impl Peers {
    /// As [`Peers::ended`], at most for `patience`. A connection that the system had accepted for a
    /// server that is gone by then would be held open by nobody, and its peer would wait for an
    /// answer until its own patience is over: seconds, in which an election may need this link.
    pub async fn ended_within(&self, patience: Duration) {
        let asked = Instant::now();
        while self.0.has_tasks() && asked.elapsed() < patience {
            runtime::sleep(END_LOOK).await;
        }
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.report()).finish()
    }
}

#[cfg(test)]
mod tests;
