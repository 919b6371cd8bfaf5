//! One pipelining writer: it predicts what each request does, and journals what came back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use farwatch_bench::raw::{
    Connection, Request, framed, ids, multi_results, request, request_bytes,
};

use super::ledger::{Effect, Ledger, SHARED};
use crate::subject::Chance;

/// Requests sent before replies are read; a burst is one write to the socket.
const BURST: usize = 16;

/// Requests in flight at most.
const IN_FLIGHT_MAX: usize = 64;

/// The error code of a version that does not match.
const BAD_VERSION: i32 = -103;

/// What a writer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Creates, deletes and compare-and-set of a few bytes up to two kilobytes.
    Small,
    /// Two creates and a compare-and-set in each transaction.
    Multis,
    /// Ephemeral nodes.
    Ephemerals,
    /// Values of half a megabyte.
    Large,
}

/// Writes until the server is gone.
pub struct Writer<'l> {
    connection: Connection,
    ledger: &'l mut Ledger,
    round: u32,
    chance: Chance,
    in_flight: VecDeque<(i32, Vec<Effect>)>,
    xid: i32,
    number: u32,
    last_zxid: i64,
}

impl<'l> Writer<'l> {
    pub fn new(connection: Connection, ledger: &'l mut Ledger, round: u32, chance: Chance) -> Self {
        let last_zxid = ledger.last_zxid();
        Self {
            connection,
            ledger,
            round,
            chance,
            in_flight: VecDeque::new(),
            xid: 0,
            number: 0,
            last_zxid,
        }
    }

    /// Returns when the connection breaks, which only the kill may cause.
    pub fn run(mut self, alive: &AtomicBool) {
        loop {
            if self.burst().is_err() || self.receive_down_to(IN_FLIGHT_MAX - BURST).is_err() {
                break;
            }
        }
        // What had arrived before the kill counts as acknowledged.
        while self.receive_down_to(0).is_ok() && !self.in_flight.is_empty() {}
        for (_, effects) in self.in_flight.drain(..) {
            self.ledger.undecide(effects);
        }
        // The socket breaks before the kill is waited for: give its thread the moment it needs.
        let mut turns = 0_u64;
        while alive.load(Ordering::Relaxed) {
            turns += 1;
            assert!(turns < 20_000, "the server ended a connection by itself");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn burst(&mut self) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        let large = self.ledger.kind() == Kind::Large;
        for _ in 0..if large { 2 } else { BURST } {
            let (request, effects) = self.next_request();
            self.xid += 1;
            bytes.extend_from_slice(&framed(&request_bytes(self.xid, &request)));
            // Before the bytes leave: a request that may have arrived must be known.
            self.in_flight.push_back((self.xid, effects));
        }
        self.connection.send_raw(&bytes)
    }

    fn next_request(&mut self) -> (Request, Vec<Effect>) {
        self.number += 1;
        let name = format!("{}-{}", self.round, self.number);
        let root = self.ledger.root().to_owned();
        match self.ledger.kind() {
            Kind::Small => match self.chance.below(8) {
                0 if self.chance.below(2) == 0 => {
                    (request::get_data(SHARED, false), vec![Effect::Look])
                }
                0 => {
                    let (data, version) = self.ledger.next_shared(&name);
                    let request = request::set_data(SHARED, Some(&data), version);
                    (request, vec![Effect::Shared { data, version }])
                }
                1 | 2 => self.compare_and_set(&name, 40),
                3 => match self.ledger.deletable() {
                    Some(path) => (request::delete(&path, -1), vec![Effect::Delete { path }]),
                    None => self.compare_and_set(&name, 40),
                },
                _ => {
                    let len = self.chance.below(2000) as usize;
                    self.create(format!("{root}/c{name}"), &name, len, 0)
                }
            },
            Kind::Multis => {
                let (a, mut effects) = self.create(format!("{root}/a{name}"), &name, 20, 0);
                let (b, more) = self.create(format!("{root}/b{name}"), &name, 20, 0);
                let (c, most) = self.compare_and_set(&name, 30);
                effects.extend(more);
                effects.extend(most);
                (request::multi(&[a, b, c]), effects)
            }
            Kind::Ephemerals => self.create(format!("{root}/e{name}"), &name, 10, 1),
            Kind::Large => self.compare_and_set(&name, 500_000),
        }
    }

    fn create(&self, path: String, name: &str, len: usize, flags: i32) -> (Request, Vec<Effect>) {
        let data = content(name, len);
        let request = request::create(&path, Some(&data), &ids::open(), flags);
        (request, vec![Effect::Create { path, data, ephemeral: flags == 1 }])
    }

    /// A link of this writer's own chain: pipelined, each expects the version that the one before
    /// it leaves.
    fn compare_and_set(&mut self, name: &str, len: usize) -> (Request, Vec<Effect>) {
        let data = content(name, len);
        let (path, version) = self.ledger.next_link();
        let request = request::set_data(&path, Some(&data), version);
        (request, vec![Effect::Link { data, version: version + 1 }])
    }

    fn receive_down_to(&mut self, left: usize) -> std::io::Result<()> {
        while self.in_flight.len() > left {
            let reply = self.connection.receive_reply()?;
            let (xid, effects) = self.in_flight.pop_front().expect("in flight");
            assert_eq!(reply.xid, xid, "replies are not in the order of requests");
            assert!(
                self.last_zxid <= reply.zxid,
                "the zxid of replies went back from {:#x} to {:#x}",
                self.last_zxid,
                reply.zxid
            );
            self.last_zxid = reply.zxid;
            let is_shared = matches!(effects[0], Effect::Shared { .. });
            if is_shared && reply.err == BAD_VERSION {
                self.ledger.refused(reply.zxid);
                continue;
            }
            assert_eq!(reply.err, 0, "{effects:?} was refused");
            let zxid = reply.zxid;
            if matches!(effects[0], Effect::Look) {
                self.ledger.looked(reply.data_and_stat()?.1.version);
            }
            if effects.len() > 1 {
                assert_eq!(multi_results(&reply)?.len(), effects.len());
            }
            for effect in effects {
                self.ledger.acknowledge(effect, zxid);
            }
        }
        Ok(())
    }
}

/// Bytes that say whose they are: a value in the wrong place is seen.
fn content(name: &str, len: usize) -> Vec<u8> {
    name.bytes().cycle().take(len).collect()
}
