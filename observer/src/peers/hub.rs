//! What all links of a server share: who its peers are, which of them are linked, what happened.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::port::Port;
use crate::runtime::{self, Signal, Socket};
use farwatch_core::log::format::ClusterId;
use farwatch_core::zxid::ServerId;
use tracing::{debug, warn};

use super::admission::Bucket;
use super::dial::Dialed;
use super::greeting::Greeting;
use super::handshake::{
    Attempt, BLOCKS, ECHOES, Hello, QUESTIONS, THREADS, VERSION_MAX, VERSION_MIN,
};
use super::link::Link;
use super::peer::Peer;
use super::refusal::{self, Refusal, Standing};
use super::upstream::Upstream;
use super::{PeerEvent, PeerLimits, PeerState, Refused, SWEEP, sweeps};
use crate::voice::Voice;

/// A link that lived this long worked: when it ends, the peer is dialed at once and the log told.
pub const SETTLED: Duration = Duration::from_secs(1);

/// A live server's number is not given to a second one while the first was heard this recently.
const DUPLICATE_GRACE: Duration = Duration::from_secs(1);

/// Connections that were accepted and have not said who they are. Peers say so within a round
/// trip; beyond this the oldest, which has had the most time, makes room.
const GREETING_MAX: usize = 32;

/// In the log's count, what did not get as far as a refusal with a code.
const NO_CODE: u16 = 0;

/// See the module.
pub struct Hub {
    /// This server.
    pub me: ServerId,
    /// How long and how much.
    pub limits: PeerLimits,
    /// What all links may spend on compressing.
    pub effort: Bucket,
    votes: bool,
    boot: u64,
    /// The oldest and the newest protocol version that are spoken.
    versions: Cell<(u16, u16)>,
    cluster: Cell<(ClusterId, bool)>,
    /// Those of the configuration, and whoever else is linked.
    peers: RefCell<BTreeMap<ServerId, Rc<Peer>>>,
    upstreams: Vec<Rc<Upstream>>,
    guests_max: usize,
    arrivals: Bucket,
    /// Links from which something was received that was not taken yet.
    received: RefCell<Vec<Rc<Link>>>,
    events: RefCell<Vec<PeerEvent>>,
    wake: Signal,
    greetings: RefCell<VecDeque<Rc<Greeting>>>,
    /// By code, so that a scanner of ports does not hide a server that is not configured.
    strangers: RefCell<BTreeMap<u16, Voice>>,
    last_refused: RefCell<Option<Refused>>,
    dialers: RefCell<Vec<Arc<Port<Dialed>>>>,
    listening: RefCell<Vec<Socket>>,
    stopped: Cell<bool>,
    tasks: Cell<usize>,
    idle: Signal,
}

/// What a hub is made of.
pub struct HubOptions {
    /// This server, whether it votes, and which start of it this is.
    pub ours: (ServerId, bool, u64),
    /// The ensemble, and whether that is only a proposal.
    pub cluster: (ClusterId, bool),
    /// How long and how much.
    pub limits: PeerLimits,
    /// The other servers of the configuration.
    pub peers: Vec<Peer>,
    /// What is dialed whoever is there.
    pub upstreams: Vec<(String, u16)>,
    /// How many observers that are in no list are taken in.
    pub guests_max: usize,
}

impl Hub {
    /// Nothing is linked, nothing runs.
    pub fn new(options: HubOptions, wake: Signal) -> Self {
        let HubOptions { ours: (me, votes, boot), cluster, limits, .. } = options;
        let peers = options.peers.into_iter().map(|peer| (peer.id, Rc::new(peer)));
        let effort = limits.compressed_bytes_per_second.max(1);
        Self {
            me,
            limits,
            effort: Bucket::new(effort, effort),
            votes,
            boot,
            versions: Cell::new((VERSION_MIN, VERSION_MAX)),
            cluster: Cell::new(cluster),
            peers: RefCell::new(peers.collect()),
            upstreams: options.upstreams.into_iter().map(|it| Rc::new(Upstream::new(it))).collect(),
            guests_max: options.guests_max,
            arrivals: Bucket::new(limits.guests_per_second.into(), limits.guests_at_once.into()),
            received: RefCell::default(),
            events: RefCell::default(),
            wake,
            greetings: RefCell::default(),
            strangers: RefCell::default(),
            last_refused: RefCell::default(),
            dialers: RefCell::default(),
            listening: RefCell::default(),
            stopped: Cell::new(false),
            tasks: Cell::new(0),
            idle: Signal::default(),
        }
    }

    /// Starts a task that [`Hub::ended`] waits for.
    pub fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        self.tasks.set(self.tasks.get() + 1);
        let hub = Rc::clone(self);
        runtime::spawn(async move {
            task.await;
            hub.tasks.set(hub.tasks.get() - 1);
            if hub.tasks.get() == 0 {
                hub.idle.notify();
            }
        });
    }

    /// Whether a task is left.
    pub fn has_tasks(&self) -> bool {
        self.tasks.get() > 0
    }

    /// Waits until no task is left.
    pub async fn ended(&self) {
        while self.tasks.get() > 0 {
            self.idle.wait().await;
        }
    }

    /// What this server says to `you`.
    pub fn hello(&self, you: ServerId) -> Hello {
        let (cluster, tentative) = self.cluster.get();
        let (version_min, version_max) = self.versions.get();
        Hello {
            version_min,
            version_max,
            votes: self.votes,
            cluster,
            tentative,
            boot: self.boot,
            capabilities: match self.limits.compressed_bytes_per_second {
                0 => ECHOES | QUESTIONS | THREADS,
                _ => ECHOES | QUESTIONS | THREADS | BLOCKS,
            },
            me: self.me,
            you,
            attempt: Attempt::default(),
        }
    }

    /// As a build that speaks these versions would say hello.
    #[cfg(test)]
    pub fn speak(&self, version_min: u16, version_max: u16) {
        self.versions.set((version_min, version_max));
    }

    /// Whether this server votes.
    pub fn votes(&self) -> bool {
        self.votes
    }

    /// A server of the configuration, or one that is linked.
    pub fn peer(&self, id: ServerId) -> Option<Rc<Peer>> {
        self.peers.borrow().get(&id).cloned()
    }

    /// The same for all, by number.
    pub fn peers(&self) -> Vec<Rc<Peer>> {
        self.peers.borrow().values().cloned().collect()
    }

    /// What is dialed whoever is there.
    pub fn upstreams(&self) -> &[Rc<Upstream>] {
        &self.upstreams
    }

    /// All live links.
    pub fn links(&self) -> Vec<Rc<Link>> {
        self.peers.borrow().values().filter_map(|peer| peer.link()).collect()
    }

    /// Passes an event to the core.
    pub fn tell(&self, event: PeerEvent) {
        self.events.borrow_mut().push(event);
        self.wake.notify();
    }

    /// Hands all events over, and lets waiting readers go on.
    pub fn take_events(&self, out: &mut Vec<PeerEvent>) {
        out.append(&mut self.events.borrow_mut());
        for link in self.received.take() {
            link.taken();
        }
    }

    /// The first of what a link received since all was taken: it is told when it is. Not every one
    /// of a thousand links is asked in each turn.
    pub fn has_received(&self, link: &Rc<Link>) {
        self.received.borrow_mut().push(Rc::clone(link));
    }

    /// States of the configuration's servers, then of upstreams that lead to none of them, then of
    /// guests.
    pub fn report(&self) -> Vec<PeerState> {
        let (listed, others): (Vec<_>, Vec<_>) =
            self.peers().into_iter().partition(|peer| peer.listed);
        let mut states: Vec<PeerState> = listed.iter().map(|peer| peer.state()).collect();
        let leads_elsewhere = |it: &&Rc<Upstream>| it.led_to().is_none_or(|peer| !peer.listed);
        states.extend(self.upstreams.iter().filter(leads_elsewhere).map(|it| it.state()));
        let guests = others.iter().filter(|peer| peer.upstream().is_none());
        states.extend(guests.map(|peer| peer.state()));
        states
    }

    /// What is made of a number that says hello.
    pub fn standing(&self, hello: &Hello) -> Standing {
        let listed = self.peers.borrow().get(&hello.me).is_some_and(|peer| peer.listed);
        match (listed, hello.me.is_guest() && !hello.votes) {
            (true, _) => Standing::Listed,
            (false, true) if 0 < self.guests_max => Standing::Guest,
            (false, true) => Standing::NoGuest,
            (false, false) => Standing::Unknown,
        }
    }

    /// How many servers are listed beside this one.
    pub fn listed(&self) -> usize {
        self.peers.borrow().values().filter(|peer| peer.listed).count()
    }

    /// Whether another guest is taken in now; `more` unless it takes the place of one. None is
    /// with a descriptor that is kept from them.
    pub fn admit_guest(&self, more: bool, is_kept: bool) -> Result<(), Refusal> {
        let is_guest = |peer: &&Rc<Peer>| !peer.listed && peer.upstream().is_none();
        let guests = self.peers.borrow().values().filter(is_guest).count();
        if is_kept {
            return Err(Refusal::NoDescriptor { me: self.me });
        }
        if more && self.guests_max <= guests {
            return Err(Refusal::Full { me: self.me, guests });
        }
        if !self.arrivals.take(Instant::now()) {
            return Err(Refusal::Busy { me: self.me });
        }
        Ok(())
    }

    /// Who was turned away last.
    pub fn last_refused(&self) -> Option<Refused> {
        self.last_refused.borrow().clone()
    }

    /// This server's ensemble has another id, or the same for good.
    pub fn set_cluster(&self, cluster: ClusterId, tentative: bool) {
        self.cluster.set((cluster, tentative));
        for link in self.links().iter().filter(|link| link.cluster != cluster) {
            self.cut(link, "the id of this ensemble changed");
        }
    }

    /// Looks at what the other side says of its ensemble, and tells the core when it counts more.
    pub fn compare_clusters(&self, other: &Hello) {
        if let Some((cluster, firm)) = refusal::to_adopt(&self.hello(other.me), other) {
            self.tell(PeerEvent::Adopt { cluster, firm });
        }
    }

    /// The link whose place a second connection of a peer may take, if it has one. That is so when
    /// the same process dials again, which knows that its old connection is over, and when the old
    /// one has fallen silent. Who dials whoever is there does not know that it dials again: the
    /// first of two addresses that lead here keeps its link. Of two connections by one way the
    /// later counts, in whatever order they arrive: its peer has given the other one up.
    pub fn may_replace(&self, peer: &Peer, hello: &Hello) -> Result<Option<Rc<Link>>, Refusal> {
        let Some(old) = peer.link() else { return Ok(None) };
        let is_older = hello.attempt.before(old.attempt).filter(|_| old.boot == hello.boot);
        let is_alive = if old.boot == hello.boot && old.dialed.is_some() {
            true // it dials and we do: one of the two connections is enough
        } else if let Some(is_older) = is_older {
            is_older
        } else if old.boot == hello.boot && hello.you != ServerId::ANYONE {
            false
        } else {
            old.heard.get().elapsed() < DUPLICATE_GRACE
        };
        if is_alive {
            return Err(Refusal::AlreadyConnected { other: peer.id, address: old.address });
        }
        Ok(Some(old))
    }

    /// A link is made. Its peer has none.
    pub fn install(&self, link: &Rc<Link>, hello: &Hello) {
        let peer = &link.peer;
        peer.linked(link, hello);
        if !peer.listed {
            let old = self.peers.borrow_mut().insert(peer.id, Rc::clone(peer));
            assert!(old.is_none_or(|old| Rc::ptr_eq(&old, peer)), "a number has one peer");
        }
        self.tell(PeerEvent::Connected(peer.id));
    }

    /// Ends a link. It may have ended before.
    pub fn cut(&self, link: &Rc<Link>, reason: &str) {
        let peer = &link.peer;
        if !peer.is_linked_by(link) {
            return;
        }
        link.close();
        let worked = link.age() >= SETTLED;
        peer.unlinked(worked);
        if !peer.listed {
            self.peers.borrow_mut().remove(&peer.id);
        }
        if !self.stopped.get() {
            self.lost(link, worked, reason);
        }
        self.tell(PeerEvent::Disconnected(peer.id));
    }

    /// Says that a link is over, where that is news.
    fn lost(&self, link: &Link, worked: bool, reason: &str) {
        let (peer, address) = (&link.peer, Some(link.address));
        match link.upstream() {
            Some(upstream) => {
                if worked {
                    upstream.settle();
                }
                upstream.failed(address, reason);
                peer.note(address, reason);
            }
            None if peer.listed => peer.failed(address, reason),
            // Guests come and go, and there are many.
            None => debug!(peer = %peer.id, address = %link.address, "a guest left: {reason}"),
        }
    }

    /// A peer was turned away here.
    pub fn refused(&self, address: SocketAddr, other: &Hello, refusal: &Refusal) {
        match (self.peer(other.me).filter(|peer| peer.listed), refusal) {
            // New ensembles all go through this; it is over in a moment.
            (Some(peer), Refusal::Adopting { .. }) => {
                peer.note(Some(address), &refusal.to_string());
            }
            (Some(peer), _) => peer.failed(Some(address), &format!("refused: {refusal}")),
            (None, Refusal::Adopting { .. }) => {} // so do new guests
            (None, _) => self.complain(address, refusal.code(), &refusal.to_string()),
        }
        let reason = refusal.to_string();
        *self.last_refused.borrow_mut() = Some(Refused { address, reason });
    }

    /// A connection that is not known to be a peer's was turned away.
    pub fn turned_away(&self, address: SocketAddr, reason: String) {
        self.complain(address, NO_CODE, &reason);
        *self.last_refused.borrow_mut() = Some(Refused { address, reason });
    }

    fn complain(&self, address: SocketAddr, code: u16, reason: &str) {
        let mut strangers = self.strangers.borrow_mut();
        if let Some(unsaid) = strangers.entry(code).or_default().failure(Instant::now()) {
            warn!(%address, unsaid, "a connection to the peer port is refused: {reason}");
        }
    }

    /// Notes a connection that must say who it is in time.
    pub fn greet(&self, socket: &Socket, accepted: bool) -> Rc<Greeting> {
        let mut greetings = self.greetings.borrow_mut();
        let waiting: Vec<_> = greetings.iter().filter(|it| it.is_waiting()).cloned().collect();
        if accepted && waiting.len() >= GREETING_MAX {
            waiting[0].end(format!("{GREETING_MAX} newer connections wait for a handshake"));
        }
        let greeting = Rc::new(Greeting::new(socket, accepted));
        greetings.push_back(Rc::clone(&greeting));
        greeting
    }

    /// The handshake is over, well or not.
    pub fn greeted(&self, greeting: &Rc<Greeting>) {
        self.greetings.borrow_mut().retain(|it| !Rc::ptr_eq(it, greeting));
    }

    /// Notes a dialer that [`Hub::stop`] must tell.
    pub fn add_dialer(&self, port: Arc<Port<Dialed>>) {
        self.dialers.borrow_mut().push(port);
    }

    /// Notes a listener that [`Hub::stop`] must end.
    pub fn add_listening(&self, socket: Socket) {
        self.listening.borrow_mut().push(socket);
    }

    /// Whether everything is to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Ends all links and lets all tasks end.
    pub fn stop(&self) {
        self.stopped.set(true);
        for listening in self.listening.borrow().iter() {
            listening.hang_up();
        }
        for port in self.dialers.borrow().iter() {
            // Full: a result waits there, and the dialer looks whether it is stopped before it.
            let _ = port.push(Dialed::Stop);
        }
        for greeting in self.greetings.borrow().iter() {
            greeting.end("this server stops".to_owned());
        }
        for link in self.links() {
            self.cut(&link, "this server stops");
        }
    }

    /// Looks after time, until it is stopped.
    pub async fn sweep_for_ever(self: Rc<Self>) {
        while !self.is_stopped() {
            runtime::sleep(SWEEP).await;
            for link in self.links() {
                if let Some(reason) = link.sweep(&self) {
                    self.cut(&link, &reason);
                }
            }
            let limit = self.limits.handshake;
            for greeting in self.greetings.borrow().iter() {
                if greeting.step() > sweeps(limit) {
                    greeting.end(format!("no handshake within {} ms", limit.as_millis()));
                }
            }
        }
    }
}
