//! The servers under test: one per kind of configuration, started by the first test that asks.

use std::env;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use farwatch_bench::subject::{Ensemble, Options, Subject};

/// The release by which the tests are checked.
const ZOOKEEPER_VERSION: &str = "3.9.5";

const BINARY: &str = env!("CARGO_BIN_EXE_farwatch");

/// As few as survive the loss of one.
const VOTERS: u32 = 3;

/// How a shared server is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Defaults: tick 2000 ms, no extended types.
    Plain,
    /// Tick 100 ms, extended types, containers and TTL nodes checked every 200 ms, connections
    /// without a session closed after 1000 ms.
    Quick,
    /// Hard quotas enforced; the super user's password is `admin`.
    Guarded,
    /// No ACL is ever checked.
    SkipAcl,
    /// Only connections with a digest identity are served.
    EnforceAuth,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Chosen {
    Alone(Product),
    /// Three voters; clients connect to the one in this role.
    Ensemble(Product, Role),
    Running(SocketAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Product {
    Farwatch,
    ZooKeeper,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Follower,
    Leader,
    /// A fourth server, that does not vote; its local sessions are upgraded, as is its default.
    Observer,
    /// The same, without local sessions.
    ObserverOfGlobal,
}

/// A server of its own, or three of which clients see one.
pub enum Served {
    Alone(Box<Subject>),
    Ensemble(Ensemble, u32),
    Observer(Ensemble),
}

impl Served {
    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Alone(subject) => subject.address(),
            Self::Ensemble(ensemble, number) => ensemble.address(*number),
            Self::Observer(ensemble) => ensemble.observer(0).address(),
        }
    }
}

fn chosen() -> &'static Chosen {
    static CHOSEN: OnceLock<Chosen> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let subject = env::var("FARWATCH_CONFORMANCE_SUBJECT").unwrap_or_default();
        let subject = if subject.is_empty() { "farwatch" } else { &subject };
        match subject {
            "farwatch" => Chosen::Alone(Product::Farwatch),
            "zookeeper" => Chosen::Alone(Product::ZooKeeper),
            "ensemble" => Chosen::Ensemble(Product::Farwatch, Role::Follower),
            "ensemble-leader" => Chosen::Ensemble(Product::Farwatch, Role::Leader),
            "observer" => Chosen::Ensemble(Product::Farwatch, Role::Observer),
            "observer-global" => Chosen::Ensemble(Product::Farwatch, Role::ObserverOfGlobal),
            "zookeeper-observer" => Chosen::Ensemble(Product::ZooKeeper, Role::Observer),
            "zookeeper-ensemble" => Chosen::Ensemble(Product::ZooKeeper, Role::Follower),
            "zookeeper-ensemble-leader" => Chosen::Ensemble(Product::ZooKeeper, Role::Leader),
            address => {
                let first = address.to_socket_addrs().ok().and_then(|mut all| all.next());
                Chosen::Running(first.unwrap_or_else(|| {
                    panic!("FARWATCH_CONFORMANCE_SUBJECT={address}: no subject, no HOST:PORT")
                }))
            }
        }
    })
}

/// Starts a server for one test alone.
pub fn own(options: Options) -> Served {
    start(options).unwrap_or_else(|error| panic!("{error}"))
}

fn start(options: Options) -> Result<Served, String> {
    let options = for_a_short_life(options);
    let started = match *chosen() {
        Chosen::Alone(Product::Farwatch) => alone(Subject::farwatch(BINARY, options)),
        Chosen::Alone(Product::ZooKeeper) => {
            alone(Subject::zookeeper_jar(ZOOKEEPER_VERSION, options))
        }
        Chosen::Ensemble(product, role) => {
            start_all(product, &with_role(role, options)).and_then(|it| through(role, it))
        }
        Chosen::Running(address) => {
            panic!("this test needs a server of its own, not the one at {address}")
        }
    };
    started.map_err(|error| format!("{error:#}"))
}

/// Three voters of the product that is chosen, for tests that look at each of them.
pub fn ensemble(options: Options) -> Ensemble {
    let product = match chosen() {
        Chosen::Alone(product) | Chosen::Ensemble(product, _) => *product,
        Chosen::Running(address) => panic!("this test needs an ensemble of its own, not {address}"),
    };
    start_all(product, &for_a_short_life(options)).unwrap_or_else(|error| panic!("{error:#}"))
}

fn start_all(product: Product, options: &Options) -> anyhow::Result<Ensemble> {
    match product {
        Product::Farwatch => Ensemble::farwatch(BINARY, VOTERS, options),
        Product::ZooKeeper => Ensemble::zookeeper_jar(ZOOKEEPER_VERSION, VOTERS, options),
    }
}

/// The compiler that optimizes slowly would only take the cores away.
fn for_a_short_life(options: Options) -> Options {
    let options = options.java_flag("-Xmx256m").java_flag("-XX:TieredStopAtLevel=1");
    options.java_flag("-XX:+UseSerialGC")
}

fn alone(started: anyhow::Result<Subject>) -> anyhow::Result<Served> {
    Ok(Served::Alone(Box::new(started?)))
}

fn with_role(role: Role, options: Options) -> Options {
    match role {
        Role::Follower | Role::Leader => options,
        Role::Observer => options.observers(1),
        Role::ObserverOfGlobal => options.observers(1).line("localSessionsEnabled=false"),
    }
}

fn through(role: Role, mut ensemble: Ensemble) -> anyhow::Result<Served> {
    let number = match role {
        Role::Follower => ensemble.follower()?,
        Role::Leader => ensemble.leader()?,
        Role::Observer | Role::ObserverOfGlobal => {
            ensemble.observer_mut(0).restart()?;
            return Ok(Served::Observer(ensemble));
        }
    };
    Ok(Served::Ensemble(ensemble, number))
}

/// A shared server. One that does not start is tried once: each test would wait for it again.
struct Shared(OnceLock<Result<Served, String>>);

impl Shared {
    const fn new() -> Self {
        Self(OnceLock::new())
    }

    fn address(&self, options: Options) -> SocketAddr {
        match self.0.get_or_init(|| start(options)) {
            Ok(served) => served.address(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The address of the shared server of `kind`. It ends with the test process.
pub fn server(kind: Kind) -> SocketAddr {
    static SERVERS: [Shared; 5] = [const { Shared::new() }; 5];
    if let Chosen::Running(address) = chosen() {
        return *address;
    }
    let (slot, options) = match kind {
        Kind::Plain => (0, Options::new()),
        Kind::Quick => (1, quick()),
        Kind::Guarded => (2, guarded()),
        Kind::SkipAcl => (3, Options::new().line("skipACL=yes")),
        Kind::EnforceAuth => {
            let options = Options::new().line("enforce.auth.enabled=true");
            (4, options.line("enforce.auth.schemes=digest"))
        }
    };
    SERVERS[slot].address(options)
}

/// See [`Kind::Quick`].
pub fn quick() -> Options {
    Options::new()
        .tick_millis(100)
        .line("maxSessionTimeout=60000")
        .line("extendedTypesEnabled=true")
        .line("nio.sessionlessCnxnTimeout=1000")
        .property("znode.container.checkIntervalMs", "200")
}

fn guarded() -> Options {
    let digest = "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=";
    Options::new()
        .line("enforceQuota=true")
        .line(&format!("DigestAuthenticationProvider.superDigest={digest}"))
}

/// A server without any node of a client, for one test at a time. Its tests leave no node and no
/// session behind. Only srvr, ruok, isro and mntr are allowed.
pub fn fresh() -> (MutexGuard<'static, ()>, SocketAddr) {
    static TURN: Mutex<()> = Mutex::new(());
    static SERVER: Shared = Shared::new();
    // A test that failed must not fail the ones behind it.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Chosen::Running(address) = chosen() {
        return (turn, *address);
    }
    let words = Options::new().words("srvr,ruok,isro,mntr");
    (turn, SERVER.address(words))
}

/// True, after saying so, when the server is ZooKeeper and `item` is where Farwatch differs on
/// purpose.
pub fn differs(item: &str, zookeeper: &str) -> bool {
    let skip = matches!(
        *chosen(),
        Chosen::Alone(Product::ZooKeeper) | Chosen::Ensemble(Product::ZooKeeper, _)
    );
    if skip {
        eprintln!("{item} differs, not run against ZooKeeper: there, {zookeeper}");
    }
    skip
}

/// True when several servers serve together. Clients can tell by two things: `/zookeeper/config`
/// names the members (F9), and `srvr` another mode.
pub fn in_ensemble() -> bool {
    matches!(chosen(), Chosen::Ensemble(..))
}

/// What the members of the ensemble are, by their numbers.
pub fn roles() -> &'static [&'static str] {
    match chosen() {
        Chosen::Ensemble(_, Role::Observer | Role::ObserverOfGlobal) => {
            &["participant", "participant", "participant", "observer"]
        }
        _ => &["participant"; 3],
    }
}

/// True, after saying so, when `item` writes what does not decode and the servers are an ensemble of
/// Apache ZooKeeper: it is proposed under a zxid that is taken, and nothing is committed any more,
/// for anyone.
pub fn stops_zookeepers_ensemble(item: &str) -> bool {
    in_ensemble() && differs(item, "X4: a write that does not decode stops the ensemble for good")
}
