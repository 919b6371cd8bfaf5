//! The macro benchmark of the ZooKeeper paper: many clients go through double barriers together.
//!
//! ```text
//! enter: watch /b/ready ─► create /b/<client>, ephemeral ─► the last one creates /b/ready ─► all go on
//! leave: delete /b/<client> ─► watch one of those that are left ─► … until nobody is left
//! ```
//!
//! Each barrier is a chain of writes, reads and watch events that no client can shorten.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::raw::request::{create, delete, exists, get_children};
use crate::raw::{Connection, Handshake, Reply, error_name, ids};
use crate::subject::Ensemble;

/// The parent of all barriers.
const ROOT: &str = "/barriers";

/// The child that opens a barrier.
const READY: &str = "ready";

/// Asked for; servers give what they allow. Clients are silent while another ensemble has its turn.
const SESSION_MILLIS: i32 = 600_000;

const EPHEMERAL: i32 = 1;
const NO_NODE: i32 = -101;
const NODE_EXISTS: i32 = -110;

/// Clients, each with a session, that live until it is dropped.
pub struct Company {
    clients: Vec<Connection>,
    /// Barriers that were gone through: each has a name of its own.
    passed: usize,
}

impl Company {
    /// Connects so many clients to these servers in turn.
    pub fn gather(addresses: &[SocketAddr], clients: usize) -> Result<Self> {
        let connect = |at: usize| {
            let address = addresses[at % addresses.len()];
            let handshake = Handshake::with_timeout(SESSION_MILLIS);
            let (connection, session) = Connection::connect(address, &handshake)?;
            ensure!(!session.is_expired(), "the server refuses a new session");
            Ok(connection)
        };
        let mut clients = (0..clients).map(connect).collect::<Result<Vec<_>>>()?;
        call(&mut clients[0], &create(ROOT, None, &ids::open(), 0), &[0, NODE_EXISTS])?;
        Ok(Self { clients, passed: 0 })
    }

    /// All go through so many barriers, one after the other. Returns how long that took them.
    pub fn pass(&mut self, barriers: usize) -> Result<Duration> {
        let numbers = self.passed..self.passed + barriers;
        self.passed += barriers;
        for number in numbers.clone() {
            let barrier = create(&path(number), None, &ids::open(), 0);
            call(&mut self.clients[0], &barrier, &[0, NODE_EXISTS])?;
        }
        let of = self.clients.len();
        let began = Instant::now();
        std::thread::scope(|scope| {
            let start = |(client, connection)| {
                let numbers = numbers.clone();
                scope.spawn(move || Client { connection, client, of }.pass(numbers))
            };
            let running: Vec<_> = self.clients.iter_mut().enumerate().map(start).collect();
            running.into_iter().try_for_each(|it| it.join().expect("no client panics"))
        })?;
        let took = began.elapsed();
        for number in numbers {
            let path = path(number);
            let first = &mut self.clients[0];
            call(first, &delete(&format!("{path}/{READY}"), -1), &[0])?;
            call(first, &delete(&path, -1), &[0]).context("somebody is left in a barrier")?;
        }
        Ok(took)
    }
}

/// Companies of so many clients go through `each` barriers in each round, one ensemble after the
/// other, and once before the first. Returns the seconds of each ensemble's rounds.
pub fn in_turn(
    ensembles: &[(&str, Ensemble)],
    clients: usize,
    each: usize,
    rounds: usize,
) -> Result<Vec<Vec<f64>>> {
    let mut companies = Vec::new();
    for (_, ensemble) in ensembles {
        let mut company = Company::gather(&ensemble.addresses(), clients)?;
        company.pass(each)?; // Java warms up; both do the same
        companies.push(company);
    }
    let mut took: Vec<Vec<f64>> = vec![Vec::new(); ensembles.len()];
    for _round in 0..rounds {
        for (company, took) in companies.iter_mut().zip(&mut took) {
            took.push(company.pass(each)?.as_secs_f64());
        }
    }
    Ok(took)
}

fn path(number: usize) -> String {
    format!("{ROOT}/{number:06}")
}

/// One of `of`.
struct Client<'a> {
    connection: &'a mut Connection,
    client: usize,
    of: usize,
}

impl Client<'_> {
    fn pass(&mut self, numbers: Range<usize>) -> Result<()> {
        for number in numbers {
            self.enter(&path(number))?;
            self.leave(&path(number))?;
        }
        Ok(())
    }

    fn own(&self, barrier: &str) -> String {
        format!("{barrier}/{:04}", self.client)
    }

    fn enter(&mut self, barrier: &str) -> Result<()> {
        let ready = format!("{barrier}/{READY}");
        self.ask(&exists(&ready, true), &[NO_NODE])?;
        let own = create(&self.own(barrier), None, &ids::open(), EPHEMERAL);
        self.ask(&own, &[0])?;
        if self.others(barrier)?.len() == self.of {
            self.ask(&create(&ready, None, &ids::open(), 0), &[0, NODE_EXISTS])?;
        }
        self.connection.next_event().map(drop).context("waiting for a barrier to open")
    }

    fn leave(&mut self, barrier: &str) -> Result<()> {
        self.ask(&delete(&self.own(barrier), -1), &[0])?;
        while let Some(other) = self.others(barrier)?.first() {
            let watched = self.ask(&exists(&format!("{barrier}/{other}"), true), &[0, NO_NODE])?;
            // Gone between the list and the look: the watch that waits for it to come back never
            // fires, names are not used again.
            if watched.err == 0 {
                self.connection.next_event().context("waiting for a barrier to empty")?;
            }
        }
        Ok(())
    }

    /// Who is inside, in one order for all.
    fn others(&mut self, barrier: &str) -> Result<Vec<String>> {
        let mut names = self.ask(&get_children(barrier, false), &[0])?.names()?;
        names.retain(|name| name != READY);
        names.sort_unstable();
        Ok(names)
    }

    fn ask(&mut self, request: &crate::raw::Request, fine: &[i32]) -> Result<Reply> {
        call(self.connection, request, fine)
    }
}

fn call(connection: &mut Connection, request: &crate::raw::Request, fine: &[i32]) -> Result<Reply> {
    let reply = connection.call(request)?;
    let error = error_name(reply.err);
    ensure!(fine.contains(&reply.err), "op {} was answered with error {error}", request.op);
    Ok(reply)
}
