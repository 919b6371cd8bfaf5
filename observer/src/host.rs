//! A whole server: from the configuration to threads that serve, and back to rest.
//!
//! ```text
//! open: data directory ─► epochs ─► snapshot + log ─► sockets bound
//! run:  election ─► reactors ─► core (see crate::drive) ─► stop
//! ```
//!
//! What only a voter does comes from outside, as a [`Duty`].

mod duty;
mod links;
mod settings;

pub use duty::{Duty, Healed, NoDuty};
pub use links::addresses;

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::admin::{AdminError, AdminSocket};
use crate::config::{ServerConfig, ServerRole, ServerSpec, SocketDriver, Standing};
use crate::data_dir::{DataDir, DataDirError, Founding, Voters, voters_named};
use crate::drive::{Core, CoreParts, Embedder, Ended, ReactorLink};
use crate::ensemble::{Ensemble, Nobody, SaveEpochs};
use crate::four_letter::counters::Summary;
use crate::inbox::{CORE_INBOX, REACTOR_INBOX, ToCore, ToReactor};
use crate::log_file::{LogDriver, LogFile};
use crate::port::Port;
use crate::reactor::Reactor;
use crate::recover::{self, RecoverError};
use crate::runtime::{self, IoDriver, Listener, Signal, Turned};
use crate::server::{Shared, random, wall_ms};
use crate::{listen, reactor_thread};
use farwatch_core::disk::DiskError;
use farwatch_core::log::epochs::{Epochs, EpochsError};
use farwatch_core::node::{Clock, Node};
use farwatch_core::session::{ServerIdTooLarge, SessionIds};
use farwatch_core::tree::Tree;
use farwatch_core::zab::quorum::Quorum;
use farwatch_core::zab::run::Position;
use farwatch_core::zab::{self, Membership, Zab};
use farwatch_core::zxid::ServerId;
use thiserror::Error;
use tracing::{info, warn};

use self::links::Links;
use crate::peers::{GUESTS_MAX, PeerLimits, PeerOptions, Peers};

/// How long a stopping server waits for its links to close: a socket that was hung up does so at
/// once, and a stop must not wait for one that does not.
const PARTING_PATIENCE: Duration = Duration::from_secs(1);

/// Why a server does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration does not name this server.
    #[error("server {0} is not in its own configuration: correct myid, or add its server line")]
    NotListed(ServerId),
    /// The place where peers are to connect cannot be found.
    #[error(
        "server.{id} names {host}, which cannot be resolved here: {cause}. Correct the line, or /etc/hosts"
    )]
    OwnHost {
        /// This server.
        id: ServerId,
        /// In its line.
        host: String,
        /// Why.
        cause: io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// What is in it cannot be used.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// What this voter promised cannot be read.
    #[error(transparent)]
    Epochs(#[from] EpochsError),
    /// Epochs and log contradict each other.
    #[error(
        "{directory}: the log reaches epoch {logged}, the epoch file only {current}. They do not belong together: \
         restore the whole directory from one backup, or start a voter of an ensemble with --rejoin, which \
         copies the history of the others first", directory = directory.display()
    )]
    EpochBehindLog {
        /// The data directory.
        directory: PathBuf,
        /// Of the last record.
        logged: u32,
        /// In the file.
        current: u32,
    },
    /// The number in `myid` does not fit a session id.
    #[error(transparent)]
    ServerId(#[from] ServerIdTooLarge),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// The setting that names it, where that is not the clients' address.
        key: Option<String>,
        /// Why.
        cause: io::Error,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The system refuses a queue, a thread or a ring.
    #[error("the server cannot be set up: {0}")]
    System(#[from] io::Error),
}

/// What a started server says about itself.
#[derive(Clone, Debug)]
pub struct Started {
    /// Where clients connect.
    pub addresses: Vec<SocketAddr>,
    /// How sockets are driven.
    pub io_driver: IoDriver,
    /// How the log is written.
    pub log_driver: LogDriver,
    /// Threads that serve clients.
    pub reactors: usize,
}

/// Asks a running server to stop; from any thread.
#[derive(Clone)]
pub struct Stopper {
    shared: Arc<Shared>,
    inbox: Arc<Port<ToCore>>,
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

impl Stopper {
    pub(crate) fn new(shared: Arc<Shared>, inbox: Arc<Port<ToCore>>) -> Self {
        Self { shared, inbox }
    }

    /// Everything acknowledged is made durable, then [`Server::run`] returns. Asking twice is one.
    pub fn stop(&self) {
        self.shared.is_stop_asked.store(true, Ordering::SeqCst);
        // A full inbox wakes the core as well. One that nobody empties is that of a server that has ended.
        let _full = self.inbox.push(ToCore::Stop);
    }
}

/// Brings clients of this process to a running server; from any thread.
#[derive(Clone, Debug)]
pub struct Door(Arc<Port<ToCore>>);

impl Door {
    /// A connection to the server. It ends at once if the server does not run any more.
    pub fn connect(&self) -> io::Result<TcpStream> {
        let (own, servers) = UnixStream::pair()?;
        let [own, servers] = [own, servers].map(|end| TcpStream::from(OwnedFd::from(end)));
        let refused = |_full| io::Error::from(io::ErrorKind::ConnectionRefused);
        self.0.push(ToCore::Adopt(servers)).map_err(refused)?;
        Ok(own)
    }
}

/// A server that recovered and holds its sockets, and does not serve yet.
pub struct Server {
    shared: Arc<Shared>,
    me: ServerId,
    node: Node,
    log: LogFile,
    dir: DataDir,
    duty: Arc<dyn Duty>,
    replayed: u64,
    listeners: Vec<TcpListener>,
    /// Where the other members connect.
    peer_listeners: Vec<TcpListener>,
    inbox: Arc<Port<ToCore>>,
    reactors: usize,
    embedder: Option<Box<dyn Embedder>>,
}

impl Server {
    /// Recovers the state and binds the sockets. Blocks until the data is loaded.
    pub fn open(config: ServerConfig, duty: Arc<dyn Duty>) -> Result<Self, StartError> {
        let me = own_id(&config)?;
        // Sockets first: a taken port is found before a large tree is loaded for nothing.
        let listeners = bind_all(&config)?;
        let peer_listeners = bind_for_peers(&config, me)?;
        let log_root = (config.data_log_dir != config.data_dir).then_some(&*config.data_log_dir);
        let founding = match (config.standing, config.role) {
            (Standing::Alone, _) => Founding::Alone,
            (Standing::Member, ServerRole::Participant) => Founding::Member,
            (Standing::Member, ServerRole::Observer) => Founding::Observer,
        };
        let dir = DataDir::open(&config.data_dir, log_root, me, founding)?;
        if !config.rejoin {
            settle_voters(&config, me, &dir)?;
        } else {
            dir.check_voters()?;
            match dir.prepare_rejoin()? {
                Some(kept) => info!(
                    "the log is whole up to {}: only what is behind is copied from the others",
                    kept.zxid
                ),
                None => info!("the whole history is copied from the others"),
            }
            // Behind the mark that it does not vote, which a start without the flag finds.
            settle_voters(&config, me, &dir)?;
        }
        let hash_seed = u64::from_ne_bytes(random());
        let began = Instant::now();
        let (recovered, peer_listeners) =
            recover_whole(&config, &*duty, me, &dir, hash_seed, peer_listeners)?;
        let took = began.elapsed();
        let epochs = duty.load_epochs(&dir, config.standing)?;
        let zab = recover_zab(&config, me, &dir, epochs, &recovered)?;
        for note in &recovered.notes {
            warn!("{note}");
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let reactors = config.reactor_threads(cores);
        let shared = Shared::new(config, Arc::clone(&recovered.state.tree), reactors + 1);
        let counters = shared.counters.core();
        let micros = |time: Duration| time.as_micros() as u64;
        counters.record(Summary::DbInitTime, micros(took));
        counters.record(Summary::StartupSnapLoadTime, micros(recovered.load_time));
        counters.record(Summary::StartupTxnsLoaded, recovered.replayed);
        counters.record(Summary::StartupTxnsLoadTime, micros(recovered.replay_time));
        let ids = SessionIds::new(me, wall_ms())?;
        let clock = Clock { mono_ms: 0, wall_ms: wall_ms() };
        let options = settings::node_options(&shared.config, hash_seed);
        let node = Node::new(options, zab, ids, recovered.state, clock);
        let node = match shared.config.standing {
            Standing::Alone => node,
            Standing::Member => node.of_ensemble(shared.config.membership().as_bytes()),
        };
        Ok(Self {
            shared,
            me,
            node,
            log: recovered.log,
            dir,
            duty,
            replayed: recovered.replayed,
            listeners,
            peer_listeners,
            inbox: Arc::new(Port::new(CORE_INBOX)?),
            reactors,
            embedder: None,
        })
    }

    /// The tree that it will serve.
    pub fn tree(&self) -> Arc<Tree> {
        Arc::clone(self.node.tree())
    }

    /// Tells `embedder`, too, what becomes of it.
    pub fn tell(&mut self, embedder: Box<dyn Embedder>) {
        self.embedder = Some(embedder);
    }

    /// A handle that ends [`Server::run`].
    pub fn stopper(&self) -> Stopper {
        Stopper::new(Arc::clone(&self.shared), Arc::clone(&self.inbox))
    }

    /// The way in for clients of this process.
    pub fn door(&self) -> Door {
        Door(Arc::clone(&self.inbox))
    }

    /// Opens the operator's door in the data directory, as long as what it returns lives.
    pub fn admin_socket(&self) -> Result<AdminSocket, AdminError> {
        AdminSocket::open(&self.shared.config.data_dir, Arc::clone(&self.inbox))
    }

    /// Serves on this thread, and on more where configured, until it is stopped or cannot go on.
    /// `on_started` is called once, when clients can connect.
    pub fn run(self, on_started: impl FnOnce(&Started)) -> io::Result<Ended> {
        let allow_uring = self.shared.config.socket_driver != SocketDriver::Epoll;
        if self.shared.config.is_embedded {
            runtime::block_on_and_end(|io| self.serve_on_one_thread(io, on_started))?
        } else if self.reactors == 1 {
            runtime::block_on(allow_uring, |io| self.serve_on_one_thread(io, on_started))?
        } else {
            runtime::block_on(allow_uring, |io| self.serve_on_many(io, allow_uring, on_started))?
        }
    }

    /// As [`Server::run`], while its caller turns it: on this thread, within which it stays.
    pub fn turned(self) -> io::Result<Turned<io::Result<Ended>>> {
        Turned::new(|io| self.serve_on_one_thread(io, |_started| {}))
    }

    async fn serve_on_one_thread(
        self,
        io: IoDriver,
        on_started: impl FnOnce(&Started),
    ) -> io::Result<Ended> {
        let wake = Signal::default();
        let tree = Arc::clone(self.node.tree());
        let reactor = Reactor::new(
            0,
            Arc::clone(&self.shared),
            tree.reader(),
            Arc::clone(&self.inbox),
            wake.clone(),
        );
        let reactor = Rc::new(RefCell::new(reactor));
        let started = self.started(io);
        let (mut core, listeners, peers) = self.into_core(wake.clone())?;
        core.add_reactor(ReactorLink::Local(Rc::clone(&reactor)));
        core.start();
        for listener in listeners {
            let reactor = Rc::clone(&reactor);
            let shared = Arc::clone(reactor.borrow().shared());
            let listener = Listener::new(listener)?;
            runtime::spawn(listen::accept(listener, shared, move |stream, peer| {
                crate::connection::start(&reactor, stream, peer);
            }));
        }
        reactor_thread::sweep_for_ever(&reactor);
        on_started(&started);
        let ended = core.run().await?;
        part(peers).await;
        reactor_thread::drain(&reactor).await;
        Ok(ended)
    }

    async fn serve_on_many(
        self,
        io: IoDriver,
        allow_uring: bool,
        on_started: impl FnOnce(&Started),
    ) -> io::Result<Ended> {
        let tree = Arc::clone(self.node.tree());
        let started = self.started(io);
        let (shared, inbox, reactors) =
            (Arc::clone(&self.shared), Arc::clone(&self.inbox), self.reactors);
        let (mut core, listeners, peers) = self.into_core(Signal::default())?;
        let mut threads = Vec::new();
        let mut inboxes: Vec<Arc<Port<ToReactor>>> = Vec::new();
        for id in 0..reactors {
            let own = Arc::new(Port::new(REACTOR_INBOX)?);
            core.add_reactor(ReactorLink::Remote(Arc::clone(&own), VecDeque::new()));
            inboxes.push(Arc::clone(&own));
            threads.push(reactor_thread::start(
                id as u16,
                Arc::clone(&shared),
                tree.reader(),
                own,
                Arc::clone(&inbox),
                allow_uring,
            )?);
        }
        shared.set_reactors(inboxes.clone());
        core.start();
        let next = Rc::new(std::cell::Cell::new(0_usize));
        for listener in listeners {
            let (inboxes, next, shared) = (inboxes.clone(), Rc::clone(&next), Arc::clone(&shared));
            let releasing = Arc::clone(&shared);
            let listener = Listener::new(listener)?;
            runtime::spawn(listen::accept(listener, shared, move |stream, peer| {
                // In turn: connections live long, so that counts stay even.
                let at = next.replace((next.get() + 1) % inboxes.len());
                if inboxes[at].push(ToReactor::Adopt(stream, peer)).is_err() {
                    releasing.release(peer.ip()); // its thread is stuck; the client tries again
                }
            }));
        }
        on_started(&started);
        let ended = core.run().await?;
        part(peers).await;
        for thread in threads {
            // A reactor that panicked has said so; the log is sealed either way.
            let _ = thread.join();
        }
        Ok(ended)
    }

    fn started(&self, io_driver: IoDriver) -> Started {
        let addresses = self.listeners.iter().filter_map(|it| it.local_addr().ok()).collect();
        Started { addresses, io_driver, log_driver: self.log.driver(), reactors: self.reactors }
    }

    fn into_core(self, wake: Signal) -> io::Result<(Core, Vec<TcpListener>, Option<Peers>)> {
        let (dir, duty) = (self.dir.clone(), self.duty);
        let save_epochs: SaveEpochs =
            Arc::new(move |epochs, rejoining| duty.save_epochs(&dir, epochs, rejoining));
        let (ensemble, links): (Box<dyn Ensemble>, _) = match self.shared.config.standing {
            Standing::Alone => (Box::new(Nobody), None),
            Standing::Member => {
                let addresses = links::addresses(&self.shared.config, self.me);
                let options = PeerOptions {
                    me: self.me,
                    votes: self.shared.config.role == ServerRole::Participant,
                    cluster: self.dir.identity().cluster,
                    tentative: self.dir.is_tentative(),
                    boot: u64::from_ne_bytes(random()),
                    peers: addresses.clone(),
                    upstreams: self.shared.config.upstreams.clone(),
                    guests_max: GUESTS_MAX,
                    listeners: self.peer_listeners,
                    limits: PeerLimits::of(&self.shared.config),
                };
                let peers = Peers::start(options, wake.clone())?;
                let choice = self.shared.config.upstream_choice;
                let links = Links::new(peers.clone(), self.dir.clone(), addresses, choice);
                (Box::new(links), Some(peers))
            }
        };
        let core = Core::new(CoreParts {
            shared: self.shared,
            node: self.node,
            log: self.log,
            dir: self.dir,
            replayed: self.replayed,
            inbox: self.inbox,
            save_epochs,
            ensemble,
            wake,
            embedder: self.embedder,
        })?;
        Ok((core, self.listeners, links))
    }
}

/// Waits until the links of a stopped server are closed. What replaces it listens on the same port.
async fn part(peers: Option<Peers>) {
    if let Some(peers) = peers {
        peers.ended_within(PARTING_PATIENCE).await;
    }
}

/// Makes sure that what was acknowledged among the voters so far is not lost among those that are configured.
fn settle_voters(config: &ServerConfig, me: ServerId, dir: &DataDir) -> Result<(), StartError> {
    if config.role != ServerRole::Participant {
        return Ok(()); // what it was among when it voted stays
    }
    let listed = |voter: &ServerSpec| ServerId(u32::try_from(voter.id).unwrap_or(u32::MAX));
    let voters: Voters = match config.standing {
        Standing::Alone => [me].into(),
        Standing::Member => config.voters().map(listed).collect(),
    };
    // Who rejoins has nothing to bring along, and does not vote before it has what the others have.
    let on_purpose = config.change_voters || config.rejoin;
    if config.change_voters {
        warn!(
            "--change-voters is for one start: with it, no list of voters is refused that could lose what was acknowledged"
        );
    }
    if let Some(before) = dir.settle_voters(&voters, on_purpose)? {
        warn!(
            "the voters were {}, and are {}: give every server this list, and let all have it before the next change",
            voters_named(&before),
            voters_named(&voters)
        );
    }
    Ok(())
}

/// This server's number. A standalone server is server 1, also in its session ids, as in ZooKeeper.
fn own_id(config: &ServerConfig) -> Result<ServerId, StartError> {
    match config.standing {
        Standing::Alone => Ok(ServerId(1)),
        Standing::Member if config.is_guest() => {
            let known = DataDir::owner(&config.data_dir);
            Ok(known.unwrap_or_else(|| {
                let drawn = u32::from_ne_bytes(random());
                let guests = ServerId::ANYONE.0 - ServerId::GUEST_MIN.0;
                ServerId(ServerId::GUEST_MIN.0 + drawn % guests)
            }))
        }
        Standing::Member => {
            let me = ServerId(u32::try_from(config.server_id).unwrap_or(u32::MAX));
            config.own_spec().map(|_| me).ok_or(StartError::NotListed(me))
        }
    }
}

/// Recovers the history, hole by hole with the help of the others where it has any. The listeners
/// that healing used up are bound anew.
fn recover_whole(
    config: &ServerConfig,
    duty: &dyn Duty,
    me: ServerId,
    dir: &DataDir,
    hash_seed: u64,
    mut listeners: Vec<TcpListener>,
) -> Result<(recover::Recovered, Vec<TcpListener>), StartError> {
    let mut last = None;
    loop {
        let error = match recover::recover(dir, settings::log_options(config), hash_seed) {
            Ok(recovered) if listeners.is_empty() => {
                return Ok((recovered, bind_for_peers(config, me)?));
            }
            Ok(recovered) => return Ok((recovered, listeners)),
            Err(error) => error,
        };
        if listeners.is_empty() {
            listeners = bind_for_peers(config, me)?;
        }
        match duty.heal(config, me, dir, &error, std::mem::take(&mut listeners))? {
            // The same place twice: what was written there is not what is read.
            Healed::Closed { segment, offset } if last != Some((segment, offset)) => {
                last = Some((segment, offset));
            }
            Healed::Closed { .. } | Healed::Not => return Err(error.into()),
        }
    }
}

/// The machine at the end of its history, if that fits what this server promised.
fn recover_zab(
    config: &ServerConfig,
    me: ServerId,
    dir: &DataDir,
    epochs: Epochs,
    recovered: &recover::Recovered,
) -> Result<Zab, StartError> {
    let log = Position { zxid: recovered.state.tree.applied(), chain: recovered.state.chain };
    // A voter may be behind its log only as far as it has promised: it was learning then.
    let (promised, standing) = match config.standing {
        Standing::Alone => (epochs.current, Quorum::majority([me])),
        Standing::Member => (epochs.accepted, links::quorum(config)),
    };
    let votes = config.role == ServerRole::Participant;
    let rejoining = config.standing == Standing::Member && dir.rejoining();
    // Who does not vote promises nothing, and so may have records of an epoch it has yet to save.
    if votes && promised < log.zxid.epoch() && !rejoining {
        return Err(StartError::EpochBehindLog {
            directory: config.data_dir.clone(),
            logged: log.zxid.epoch().0,
            current: promised.0,
        });
    }
    if votes && rejoining {
        info!("this voter does not vote until it has copied the history of the others");
    }
    let options = zab::Options {
        me,
        quorum: standing,
        membership: match (votes, rejoining) {
            (false, _) => Membership::Learner,
            (true, true) => Membership::Rejoining,
            (true, false) => Membership::Voter,
        },
        listed: config.learns_from_list(),
        timing: links::timing(config),
        seed: u64::from_ne_bytes(random()),
    };
    let committed = recovered.committed;
    Ok(Zab::with(options, zab::Recovered { epochs, log, committed }))
}

/// Binds where the own line says that peers connect, or its ports on every address.
fn bind_for_peers(config: &ServerConfig, me: ServerId) -> Result<Vec<TcpListener>, StartError> {
    let key = match config.is_guest() {
        true => "farwatch.peerAddress".to_owned(),
        false => format!("server.{me}"),
    };
    let bind = |address: SocketAddr| {
        let bound = listen::bind(address, config.client_backlog);
        let key = Some(key.clone());
        bound.map_err(|cause| StartError::Bind { address, key, cause })
    };
    if config.is_guest() {
        return config.peer_addrs.iter().copied().map(bind).collect();
    }
    let Some(own) = config.own_spec().filter(|_| config.standing == Standing::Member) else {
        return Ok(Vec::new());
    };
    if config.peers_on_all_addresses {
        // The names of the line may be known to others only, as behind a translation of addresses.
        let ports: BTreeSet<u16> = own.peers.iter().map(|peer| peer.quorum_port).collect();
        return ports.into_iter().map(|port| bind(listen::everywhere(port))).collect();
    }
    let mut listeners = Vec::new();
    for peer in &own.peers {
        let host = peer.host.as_str();
        let unresolved = |cause| StartError::OwnHost { id: me, host: host.to_owned(), cause };
        let mut found = (host, peer.quorum_port).to_socket_addrs().map_err(unresolved)?;
        let missing = || io::Error::other("the name service knows it without an address");
        let address = found.next().ok_or_else(|| unresolved(missing()))?;
        listeners.push(bind(address)?);
    }
    Ok(listeners)
}

fn bind_all(config: &ServerConfig) -> Result<Vec<TcpListener>, StartError> {
    let bind = |&address: &SocketAddr| {
        listen::bind(address, config.client_backlog).map_err(|cause| StartError::Bind {
            address,
            key: None,
            cause,
        })
    };
    config.client_addrs.iter().map(bind).collect()
}
