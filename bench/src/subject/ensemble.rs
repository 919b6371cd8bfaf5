//! Several servers that are one ensemble, each a [`Subject`] of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Options, Program, Subject, free_address, zookeeper};
use crate::raw::four_letter_word_within;

/// How often all ports are chosen anew when one of them was taken meanwhile.
const ATTEMPTS_MAX: u32 = 3;

/// How long an ensemble may take to elect a leader when a quorum of it runs.
const LEADER_WITHIN: Duration = Duration::from_secs(60);

/// How long a server may take to say what it is.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// The pause between two looks for a leader.
const POLL: Duration = Duration::from_millis(5);

/// The servers of one ensemble. Number and place: server N is at N - 1.
#[derive(Debug)]
pub struct Ensemble {
    servers: Vec<Subject>,
}

impl Ensemble {
    /// Starts `voters` servers of the ZooKeeper release `version`, or of Debian's package.
    pub fn zookeeper(version: Option<&str>, voters: usize, options: &Options) -> Result<Self> {
        let class_path = match version {
            Some(version) => zookeeper::released_class_path(version)?,
            None => zookeeper::debian_class_path()?,
        };
        Self::start(&Program::ZooKeeper(class_path), voters, options)
    }

    /// Starts `voters` servers of the binary.
    pub fn farwatch(binary: impl Into<PathBuf>, voters: usize, options: &Options) -> Result<Self> {
        Self::start(&Program::Farwatch(binary.into().canonicalize()?), voters, options)
    }

    fn start(program: &Program, voters: usize, options: &Options) -> Result<Self> {
        for attempt in 1.. {
            match Self::attempt(program, voters, options) {
                Err(error) if attempt == ATTEMPTS_MAX => return Err(error),
                Err(_) => {}
                started => return started,
            }
        }
        unreachable!("the last attempt returns")
    }

    fn attempt(program: &Program, voters: usize, options: &Options) -> Result<Self> {
        let mut lines = Vec::new();
        for id in 1..=voters {
            let (quorum, election) = (free_address()?.port(), free_address()?.port());
            lines.push(format!("server.{id}=127.0.0.1:{quorum}:{election}"));
        }
        let limits = ["initLimit=10".to_owned(), "syncLimit=5".to_owned()];
        let options =
            lines.iter().chain(&limits).fold(options.clone(), |options, line| options.line(line));
        let mut servers = Vec::new();
        for id in 1..=voters {
            let mut server = Subject::prepared(program.clone(), options.clone())?;
            std::fs::write(server.data_directory().join("myid"), format!("{id}\n"))?;
            server.spawn()?;
            servers.push(server);
        }
        for server in &mut servers {
            server.wait()?;
        }
        Ok(Self { servers })
    }

    /// The servers, by number.
    #[must_use]
    pub fn servers(&self) -> &[Subject] {
        &self.servers
    }

    /// One server, to be stopped or started. Counted from 0.
    pub fn server(&mut self, at: usize) -> &mut Subject {
        &mut self.servers[at]
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

    /// The place of the server that leads, waiting for an election if need be.
    pub fn leader(&self) -> Result<usize> {
        let deadline = Instant::now() + LEADER_WITHIN;
        while Instant::now() < deadline {
            for (at, server) in self.servers.iter().enumerate() {
                if server.pid().is_some()
                    && let Ok(text) =
                        four_letter_word_within(server.address(), "srvr", ANSWER_WITHIN)
                    && text.contains("Mode: leader")
                {
                    return Ok(at);
                }
            }
            std::thread::sleep(POLL);
        }
        bail!("nobody leads after {LEADER_WITHIN:?}")
    }

    /// Waits until every server that runs says that it serves.
    pub fn wait_until_all_serve(&mut self) -> Result<()> {
        self.servers.iter_mut().filter(|it| it.pid().is_some()).try_for_each(Subject::wait)
    }
}
