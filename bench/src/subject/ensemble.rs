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
        let addresses = free_addresses(3 * voters)?;
        let mut list = format!(
            "initLimit={}\nsyncLimit={}\n",
            JOIN_MILLIS.div_ceil(options.tick()),
            SILENCE_MILLIS.div_ceil(options.tick()),
        );
        for (number, own) in (1..).zip(addresses.chunks(3)) {
            let (peer, election) = (own[1], own[2].port());
            writeln!(list, "server.{number}={peer}:{election}").expect("a String takes it");
        }
        let server = |(number, own): (u32, &[SocketAddr])| {
            let mut server = Subject::stopped(program.clone(), options.clone(), own[0])?;
            server.membership.clone_from(&list);
            fs::write(server.data_directory().join("myid"), format!("{number}\n"))?;
            Ok(server)
        };
        let servers = (1..).zip(addresses.chunks(3)).map(server).collect::<Result<_>>()?;
        Ok(Self { servers })
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
