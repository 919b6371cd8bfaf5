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
use tracing::{info, warn};

use super::dial::Dialed;
use super::handshake::{Hello, VERSION_MAX, VERSION_MIN};
use super::link::Link;
use super::refusal::{self, Refusal};
use super::voice::Voice;
use super::{PeerEvent, PeerLimits, PeerState, Refused, SWEEP, sweeps};

/// A link that lived this long worked: when it ends, the peer is dialed at once and the log told.
pub const SETTLED: Duration = Duration::from_secs(1);

/// A live server's number is not given to a second one while the first was heard this recently.
const DUPLICATE_GRACE: Duration = Duration::from_secs(1);

/// Connections that were accepted and have not said who they are. Peers say so within a round
/// trip; beyond this the oldest, which has had the most time, makes room.
const GREETING_MAX: usize = 32;

/// In the log's count, what did not get as far as a refusal with a code.
const NO_CODE: u16 = 0;

/// A configured peer.
pub struct Peer {
    /// Its number.
    pub id: ServerId,
    /// Whether it votes, as this server's configuration says.
    pub votes: bool,
    /// Names and ports to reach it at.
    pub hosts: Vec<(String, u16)>,
    /// Whether this server dials it.
    pub dials: bool,
    /// Received from it over all its links.
    pub bytes_in: Cell<u64>,
    /// Sent to it over all its links.
    pub bytes_out: Cell<u64>,
    link: RefCell<Option<Rc<Link>>>,
    since: Cell<Instant>,
    last_error: RefCell<Option<String>>,
    voice: RefCell<Voice>,
    role_differs: Cell<bool>,
}

impl Peer {
    /// A peer that is not linked.
    pub fn new(id: ServerId, votes: bool, hosts: Vec<(String, u16)>, dials: bool) -> Self {
        Self {
            id,
            votes,
            hosts,
            dials,
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            link: RefCell::new(None),
            since: Cell::new(Instant::now()),
            last_error: RefCell::new(None),
            voice: RefCell::default(),
            role_differs: Cell::new(false),
        }
    }

    /// Its link, if there is one.
    pub fn link(&self) -> Option<Rc<Link>> {
        self.link.borrow().clone()
    }

    fn state(&self) -> PeerState {
        let link = self.link();
        PeerState {
            id: self.id,
            votes: self.votes,
            connected: link.is_some(),
            dials: self.dials,
            address: link.as_ref().map(|link| link.address),
            silent_ms: link.as_ref().map(|link| link.heard.get().elapsed().as_millis() as u64),
            since_ms: self.since.get().elapsed().as_millis() as u64,
            last_error: self.last_error.borrow().clone(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            queued_bytes: link.map_or(0, |link| link.queued_bytes() as u64),
        }
    }
}

/// A connection that has not finished its handshake.
pub struct Greeting {
    socket: Socket,
    accepted: bool,
    sweeps: Cell<u32>,
    ended: RefCell<Option<String>>,
}

impl Greeting {
    /// Why it was ended from outside, if it was.
    pub fn ended(&self) -> Option<String> {
        self.ended.borrow().clone()
    }

    fn is_waiting(&self) -> bool {
        self.accepted && self.ended.borrow().is_none()
    }

    fn end(&self, reason: String) {
        self.ended.borrow_mut().get_or_insert(reason);
        self.socket.hang_up();
    }
}

/// See the module.
pub struct Hub {
    /// This server.
    pub me: ServerId,
    /// How long and how much.
    pub limits: PeerLimits,
    votes: bool,
    boot: u64,
    /// The oldest and the newest protocol version that are spoken.
    versions: Cell<(u16, u16)>,
    cluster: Cell<(ClusterId, bool)>,
    peers: BTreeMap<ServerId, Rc<Peer>>,
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

impl Hub {
    /// Nothing is linked, nothing runs.
    pub fn new(
        me: (ServerId, bool, u64),
        cluster: (ClusterId, bool),
        limits: PeerLimits,
        peers: Vec<Peer>,
        wake: Signal,
    ) -> Self {
        let (me, votes, boot) = me;
        Self {
            me,
            limits,
            votes,
            boot,
            versions: Cell::new((VERSION_MIN, VERSION_MAX)),
            cluster: Cell::new(cluster),
            peers: peers.into_iter().map(|peer| (peer.id, Rc::new(peer))).collect(),
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
            capabilities: 0,
            me: self.me,
            you,
        }
    }

    /// As a build that speaks these versions would say hello.
    #[cfg(test)]
    pub fn speak(&self, version_min: u16, version_max: u16) {
        self.versions.set((version_min, version_max));
    }

    /// A peer of the configuration.
    pub fn peer(&self, id: ServerId) -> Option<&Rc<Peer>> {
        self.peers.get(&id)
    }

    /// All peers of the configuration, by number.
    pub fn peers(&self) -> impl Iterator<Item = &Rc<Peer>> {
        self.peers.values()
    }

    /// All live links.
    pub fn links(&self) -> Vec<Rc<Link>> {
        self.peers().filter_map(|peer| peer.link()).collect()
    }

    /// Passes an event to the core.
    pub fn tell(&self, event: PeerEvent) {
        self.events.borrow_mut().push(event);
        self.wake.notify();
    }

    /// Hands all events over, and lets waiting readers go on.
    pub fn take_events(&self, out: &mut Vec<PeerEvent>) {
        out.append(&mut self.events.borrow_mut());
        for link in self.links() {
            link.taken();
        }
    }

    /// States of all peers, by number.
    pub fn report(&self) -> Vec<PeerState> {
        self.peers().map(|peer| peer.state()).collect()
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

    /// Whether a second connection of a peer may take the place of its link. That is so when the
    /// same process dials again, which knows that its old connection is over, and when the old one
    /// has fallen silent.
    pub fn may_replace(&self, peer: &Peer, hello: &Hello) -> Result<(), Refusal> {
        let Some(old) = peer.link() else { return Ok(()) };
        let is_alive = if old.boot == hello.boot {
            old.dialed // it dials and we do: one of the two connections is enough
        } else {
            old.heard.get().elapsed() < DUPLICATE_GRACE
        };
        if is_alive {
            return Err(Refusal::AlreadyConnected { other: peer.id, address: old.address });
        }
        self.cut(&old, "its server connected anew");
        Ok(())
    }

    /// A link is made. Its peer has none.
    pub fn install(&self, link: &Rc<Link>, hello: &Hello) {
        let peer = &link.peer;
        let old = peer.link.borrow_mut().replace(Rc::clone(link));
        assert!(old.is_none(), "a peer has one link");
        peer.since.set(link.heard.get());
        if peer.voice.borrow_mut().success(link.heard.get()) {
            info!(peer = %peer.id, address = %link.address, "linked");
        }
        let differs = hello.votes != peer.votes;
        if !peer.role_differs.replace(differs) && differs {
            let (says, listed) = (role(hello.votes), role(peer.votes));
            warn!(peer = %peer.id, %says, %listed, "a peer's role is not the one in this server's \
                  list: make the lists of all servers equal");
        }
        self.tell(PeerEvent::Connected(peer.id));
    }

    /// Ends a link. It may have ended before.
    pub fn cut(&self, link: &Rc<Link>, reason: &str) {
        let peer = &link.peer;
        if !peer.link().is_some_and(|current| Rc::ptr_eq(&current, link)) {
            return;
        }
        *peer.link.borrow_mut() = None;
        link.close();
        peer.since.set(Instant::now());
        if link.age() >= SETTLED {
            peer.voice.borrow_mut().settle();
        }
        if !self.stopped.get() {
            self.failed(peer, Some(link.address), reason);
        }
        self.tell(PeerEvent::Disconnected(peer.id));
    }

    /// A peer is not linked, or not any more.
    pub fn failed(&self, peer: &Peer, address: Option<SocketAddr>, reason: &str) {
        let said = self.note(peer, address, reason);
        if let Some(unsaid) = peer.voice.borrow_mut().failure(Instant::now()) {
            warn!(peer = %peer.id, unsaid, "not linked: {said}");
        }
    }

    /// As [`Hub::failed`], for the report and not for the log.
    pub fn note(&self, peer: &Peer, address: Option<SocketAddr>, reason: &str) -> String {
        let said = address.map_or_else(|| reason.to_owned(), |at| format!("{at}: {reason}"));
        *peer.last_error.borrow_mut() = Some(said.clone());
        said
    }

    /// A peer was turned away here.
    pub fn refused(&self, address: SocketAddr, other: &Hello, refusal: &Refusal) {
        match (self.peer(other.me), refusal) {
            // New ensembles all go through this; it is over in a moment.
            (Some(peer), Refusal::Adopting { .. }) => {
                self.note(peer, Some(address), &refusal.to_string());
            }
            (Some(peer), _) => self.failed(peer, Some(address), &format!("refused: {refusal}")),
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
        let greeting = Rc::new(Greeting {
            socket: socket.clone(),
            accepted,
            sweeps: Cell::new(0),
            ended: RefCell::default(),
        });
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
                greeting.sweeps.set(greeting.sweeps.get() + 1);
                if greeting.sweeps.get() > sweeps(limit) {
                    greeting.end(format!("no handshake within {} ms", limit.as_millis()));
                }
            }
        }
    }
}

fn role(votes: bool) -> &'static str {
    if votes { "participant" } else { "observer" }
}
