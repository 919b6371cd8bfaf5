//! Several servers that are one service.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{
    Options, PORT_ATTEMPTS_MAX, PROBE_WITHIN, Program, READY_POLL, READY_WITHIN, Subject,
    free_addresses, zookeeper,
};
use crate::raw::four_letter_word_within;

/// How long a voter may be silent, in milliseconds, whatever `tickTime` is: a test of short
/// sessions is no test of short elections, and a busy machine must not cause one.
const SILENCE_MILLIS: u32 = 10_000;

/// The same for joining, where a cold Java machine is the slowest.
const JOIN_MILLIS: u32 = 60_000;

/// Voters 1 to N on the loopback, each a [`Subject`].
#[derive(Debug)]
pub struct Ensemble {
    servers: Vec<Subject>,
    observers: Vec<Subject>,
    /// Where servers reach each other: of the voters, then of the observers, their first port and the
    /// one that only elections of ZooKeeper use.
    peers: Vec<[SocketAddr; 2]>,
    /// What every list begins with.
    limits: String,
}

impl Ensemble {
    /// Starts `voters` times `binary serve --config FILE` and waits until all of them serve.
    pub fn farwatch(binary: impl Into<PathBuf>, voters: u32, options: &Options) -> Result<Self> {
        let binary: PathBuf = binary.into();
        let binary =
            binary.canonicalize().with_context(|| format!("no server at {}", binary.display()))?;
        Self::start(&Program::Farwatch(binary), voters, options)
    }

    /// Starts `voters` servers of the ZooKeeper release `version` and waits until all serve.
    pub fn zookeeper_jar(version: &str, voters: u32, options: &Options) -> Result<Self> {
        let program = Program::ZooKeeper(zookeeper::released_class_path(version)?);
        Self::start(&program, voters, options)
    }

    /// Starts `voters` servers of Debian's ZooKeeper and waits until all serve.
    pub fn zookeeper(voters: u32, options: &Options) -> Result<Self> {
        let program = Program::ZooKeeper(zookeeper::debian_class_path()?);
        Self::start(&program, voters, options)
    }

    fn start(program: &Program, voters: u32, options: &Options) -> Result<Self> {
        for attempt in 1.. {
            let mut ensemble = Self::stopped(program, voters, options)?;
            match ensemble.launch() {
                Ok(()) => return Ok(ensemble),
                Err(error) => {
                    let taken = ensemble.servers.iter().any(Subject::log_names_a_taken_port);
                    if attempt == PORT_ATTEMPTS_MAX || !taken {
                        return Err(error);
                    }
                }
            }
        }
        unreachable!("the last attempt returns")
    }

    fn stopped(program: &Program, voters: u32, options: &Options) -> Result<Self> {
        // For each its clients', its peers' and its election's.
        let addresses = free_addresses(3 * (voters + options.observer_count()))?;
        let mut limits = String::new();
        for (limit, millis) in [("initLimit", JOIN_MILLIS), ("syncLimit", SILENCE_MILLIS)] {
            if !options.sets(limit) {
                let ticks = millis.div_ceil(options.tick());
                writeln!(limits, "{limit}={ticks}").expect("a String takes it");
            }
        }
        let peers: Vec<[SocketAddr; 2]> = addresses.chunks(3).map(|own| [own[1], own[2]]).collect();
        let list = format!("{limits}{}", list(&peers, voters));
        let server = |(number, own): (u32, &[SocketAddr])| {
            let mut server = Subject::stopped(program.clone(), options.clone(), own[0])?;
            server.membership.clone_from(&list);
            fs::write(server.data_directory().join("myid"), format!("{number}\n"))?;
            Ok(server)
        };
        let all = (1..).zip(addresses.chunks(3)).map(server).collect::<Result<Vec<_>>>()?;
        let mut servers = all;
        let mut observers = servers.split_off(voters as usize);
        for observer in &mut observers {
            observer.membership.push_str("peerType=observer\n");
        }
        Ok(Self { servers, observers, peers, limits })
    }

    /// Observer `at`, from 0: see [`Options::observers`]. Start it with [`Subject::restart`].
    #[must_use]
    pub fn observer(&self, at: usize) -> &Subject {
        &self.observers[at]
    }

    /// The same, to start and stop it.
    pub fn observer_mut(&mut self, at: usize) -> &mut Subject {
        &mut self.observers[at]
    }

    /// Where servers reach the voters: of each its first port and that of elections.
    #[must_use]
    pub fn voter_places(&self) -> &[[SocketAddr; 2]] {
        &self.peers[..self.servers.len()]
    }

    /// Where servers reach observer `at`.
    #[must_use]
    pub fn observer_place(&self, at: usize) -> SocketAddr {
        self.peers[self.servers.len() + at][0]
    }

    /// Lets observer `at` reach the voters at these places from its next start on: through a proxy.
    pub fn route_observer(&mut self, at: usize, voters: &[[SocketAddr; 2]]) {
        let mut peers = self.peers.clone();
        peers[..voters.len()].copy_from_slice(voters);
        let list = list(&peers, self.servers.len() as u32);
        self.observers[at].membership = format!("{}{list}peerType=observer\n", self.limits);
    }

    /// All at once: each waits for the others.
    fn launch(&mut self) -> Result<()> {
        self.servers.iter_mut().try_for_each(Subject::spawn)?;
        self.servers.iter_mut().try_for_each(Subject::await_service)
    }

    /// Server `number`, from 1.
    #[must_use]
    pub fn server(&self, number: u32) -> &Subject {
        &self.servers[number as usize - 1]
    }

    /// Server `number`, from 1.
    pub fn server_mut(&mut self, number: u32) -> &mut Subject {
        &mut self.servers[number as usize - 1]
    }

    /// The numbers of all servers.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        1..=self.servers.len() as u32
    }

    /// All of them, by number.
    #[must_use]
    pub fn servers(&self) -> &[Subject] {
        &self.servers
    }

    /// Where clients of server `number` connect.
    #[must_use]
    pub fn address(&self, number: u32) -> SocketAddr {
        self.server(number).address()
    }

    /// Where clients connect, by number.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(Subject::address).collect()
    }

    /// The processes that run.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.servers.iter().filter_map(Subject::pid).collect()
    }

    /// Waits for a server that says that it leads.
    pub fn leader(&self) -> Result<u32> {
        self.find("leader")
    }

    /// Waits for a server that says that it follows.
    pub fn follower(&self) -> Result<u32> {
        self.find("follower")
    }

    /// Waits until server `number` serves.
    pub fn await_service(&mut self, number: u32) -> Result<()> {
        self.server_mut(number).await_service()
    }

    /// Waits until every server that runs serves.
    pub fn await_all(&mut self) -> Result<()> {
        self.servers.iter_mut().filter(|it| it.pid().is_some()).try_for_each(Subject::await_service)
    }

    fn find(&self, mode: &str) -> Result<u32> {
        let wanted = format!("Mode: {mode}\n");
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            let found = self.numbers().find(|&number| {
                let running = self.server(number).pid().is_some();
                let answer = || {
                    let address = self.address(number);
                    four_letter_word_within(address, "srvr", PROBE_WITHIN)
                };
                running && answer().is_ok_and(|text| text.contains(&wanted))
            });
            if let Some(number) = found {
                return Ok(number);
            }
            thread::sleep(READY_POLL);
        }
        bail!("no server of the ensemble became a {mode} within {READY_WITHIN:?}")
    }
}

/// The lines of all members.
fn list(peers: &[[SocketAddr; 2]], voters: u32) -> String {
    let mut list = String::new();
    for (number, [peer, election]) in (1..).zip(peers) {
        let role = if number <= voters { "" } else { ":observer" };
        let election = election.port();
        writeln!(list, "server.{number}={peer}:{election}{role}").expect("a String takes it");
    }
    list
}
