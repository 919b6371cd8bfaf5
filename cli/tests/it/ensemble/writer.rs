//! One writer: it asks for one thing at a time, and knows what each answer means for its nodes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use farwatch_bench::raw::{Reply, Request, ids, request};

use super::audit::Tree;
use super::client::Client;
use super::ledger::{Ledger, SEQUENCE, SHARED};
use super::servers::pass;
use crate::subject::Chance;

const OK: i32 = 0;
const NO_NODE: i32 = -101;
const BAD_VERSION: i32 = -103;

/// A write on a full disk, or where no new sessions can begin.
pub const NOT_READ_ONLY: i32 = -119;

/// What is known of a node that this writer alone makes and deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    There,
    Gone,
    /// The answer never came.
    Open,
}

/// A session that writes.
pub struct Writer<'l> {
    pub client: Client,
    ledger: &'l Ledger,
    index: usize,
    chance: Chance,
    number: u32,
    nodes: BTreeMap<String, Fate>,
    ephemerals: BTreeMap<String, Fate>,
    /// Acknowledged, and not yet asked to go.
    deletable: Vec<String>,
    /// The writer's own chain: version and value.
    link: (i32, String),
    /// The value of a link whose answer never came.
    open_link: Option<String>,
    pub unanswered: u32,
    /// Whether a full disk is met.
    pub refusals_allowed: bool,
    pub refused: u32,
}

/// Makes what all writers share.
pub fn prepare(client: &mut Client) {
    for (path, value) in [(SHARED, "0<"), (SEQUENCE, "")] {
        let made = client.must(&request::create(path, Some(value.as_bytes()), &ids::open(), 0));
        assert_eq!(made.err, OK);
    }
}

impl<'l> Writer<'l> {
    /// Makes the writer's own root and chain.
    pub fn new(mut client: Client, ledger: &'l Ledger, index: usize, chance: Chance) -> Self {
        for path in [format!("/w{index}"), format!("/w{index}/chain")] {
            let made = client.must(&request::create(&path, Some(b""), &ids::open(), 0));
            assert_eq!(made.err, OK);
        }
        Self {
            client,
            ledger,
            index,
            chance,
            number: 0,
            nodes: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            deletable: Vec::new(),
            link: (0, String::new()),
            open_link: None,
            unanswered: 0,
            refusals_allowed: false,
            refused: 0,
        }
    }

    /// Writes until it is told to stop.
    pub fn run(&mut self, stop: &AtomicBool, pause: Duration) {
        while !stop.load(Ordering::Relaxed) {
            self.write();
            pass(pause);
        }
    }

    /// Asks for one thing.
    pub fn write(&mut self) {
        self.settle_link();
        self.number += 1;
        match self.chance.below(100) {
            0..25 => self.create("c", 0),
            25..35 => self.create("e", 1),
            35..45 => self.create_two(),
            45..60 => self.delete(),
            60..75 => self.set_own(),
            75..90 => self.set_shared(),
            _ => self.create_sequential(),
        }
    }

    /// Asks, and takes down what was acknowledged. `None`: it is not known what became of it, or a
    /// full disk refused it.
    fn ask(&mut self, what: &str, request: &Request) -> Option<Reply> {
        let began = Instant::now();
        self.client.connect();
        let reply = self.client.call(request);
        match &reply {
            None => self.unanswered += 1,
            Some(reply) if reply.err == OK => {
                self.ledger.acknowledge(what.to_owned(), began, reply.zxid);
            }
            Some(reply) if reply.err == NOT_READ_ONLY && self.refusals_allowed => self.refused += 1,
            Some(_) => {}
        }
        reply
    }

    fn name(&self) -> String {
        format!("w{}-{}", self.index, self.number)
    }

    fn create(&mut self, letter: &str, flags: i32) {
        let path = format!("/w{}/{letter}{}", self.index, self.number);
        let name = self.name();
        let request = request::create(&path, Some(name.as_bytes()), &ids::open(), flags);
        let reply = self.ask(&path, &request);
        let fate = self.fate_of(reply.as_ref(), Fate::There, &path);
        if flags == 1 {
            self.ephemerals.insert(path, fate);
            return;
        }
        if fate == Fate::There {
            self.deletable.push(path.clone());
        }
        self.nodes.insert(path, fate);
    }

    fn fate_of(&self, reply: Option<&Reply>, wanted: Fate, path: &str) -> Fate {
        match reply.map(|reply| reply.err) {
            None => Fate::Open,
            Some(OK) => wanted,
            Some(NOT_READ_ONLY) if self.refusals_allowed => match wanted {
                Fate::There => Fate::Gone,
                Fate::Gone | Fate::Open => Fate::There,
            },
            Some(other) => panic!("{path}: answered {other}"),
        }
    }

    fn create_two(&mut self) {
        let paths = ["a", "b"].map(|letter| format!("/w{}/{letter}{}", self.index, self.number));
        let name = self.name();
        let parts = paths
            .clone()
            .map(|path| request::create(&path, Some(name.as_bytes()), &ids::open(), 0));
        let reply = self.ask(&paths[0], &request::multi(&parts));
        let fate = self.fate_of(reply.as_ref(), Fate::There, &paths[0]);
        self.nodes.extend(paths.map(|path| (path, fate)));
    }

    fn delete(&mut self) {
        let Some(path) = self.deletable.pop() else { return };
        let reply = self.ask(&format!("delete {path}"), &request::delete(&path, -1));
        let fate = self.fate_of(reply.as_ref(), Fate::Gone, &path);
        self.nodes.insert(path, fate);
    }

    fn set_own(&mut self) {
        let (path, value) = (format!("/w{}/chain", self.index), self.name());
        let request = request::set_data(&path, Some(value.as_bytes()), self.link.0);
        match self.ask(&path, &request) {
            None => self.open_link = Some(value),
            Some(reply) if reply.err == OK => {
                let version = reply.stat().expect("a stat").version;
                assert_eq!(version, self.link.0 + 1, "the chain jumped");
                self.link = (version, value);
            }
            Some(reply) if reply.err == NOT_READ_ONLY && self.refusals_allowed => {}
            Some(reply) => panic!("{path} at {:?}: answered {}", self.link, reply.err),
        }
    }

    /// Behind a reconnect and a sync, what the old connection asked for was done or never will be.
    fn settle_link(&mut self) {
        while let Some(value) = self.open_link.clone() {
            let path = format!("/w{}/chain", self.index);
            let Some(synced) = self.client.call(&request::sync(&path)) else { continue };
            assert_eq!(synced.err, OK);
            let Some(reply) = self.client.call(&request::get_data(&path, false)) else { continue };
            let (data, stat) = reply.data_and_stat().expect("data");
            let found = String::from_utf8(data.unwrap_or_default()).expect("text");
            if stat.version != self.link.0 {
                assert_eq!((stat.version, &found), (self.link.0 + 1, &value), "a fork of {path}");
                self.link = (stat.version, found);
            } else {
                assert_eq!(found, self.link.1, "{path} changed without a version");
            }
            self.open_link = None;
        }
    }

    fn set_shared(&mut self) {
        let Some(reply) = self.client.call(&request::get_data(SHARED, false)) else { return };
        let (data, stat) = reply.data_and_stat().expect("data");
        let found = String::from_utf8(data.expect("a value")).expect("text");
        self.ledger.saw_shared(stat.version, &found);
        let (last, _) = found.split_once('<').expect("its own name and the one before");
        let value = format!("{}<{last}", self.name());
        let request = request::set_data(SHARED, Some(value.as_bytes()), stat.version);
        let Some(reply) = self.ask(SHARED, &request) else { return };
        match reply.err {
            OK => self.ledger.saw_shared(reply.stat().expect("a stat").version, &value),
            BAD_VERSION => {}
            NOT_READ_ONLY if self.refusals_allowed => {}
            other => panic!("{SHARED}: answered {other}"),
        }
    }

    fn create_sequential(&mut self) {
        let value = self.name();
        let path = format!("{SEQUENCE}/s-");
        let request = request::create(&path, Some(value.as_bytes()), &ids::open(), 2);
        let Some(reply) = self.ask(&path, &request) else { return };
        match reply.err {
            OK => self.ledger.saw_sequential(reply.path().expect("a path"), value),
            NOT_READ_ONLY if self.refusals_allowed => {}
            other => panic!("{path}: answered {other}"),
        }
    }

    /// Everything that this writer was told is so in the tree.
    pub fn compare(&self, tree: &Tree) {
        for (path, fate) in self.nodes.iter().chain(&self.ephemerals) {
            match (fate, tree.get(path)) {
                (Fate::There, None) => panic!("{path} was acknowledged and is lost"),
                (Fate::Gone, Some(_)) => panic!("{path} was deleted and is there"),
                (Fate::There, Some(_)) | (Fate::Gone, None) | (Fate::Open, _) => {}
            }
        }
        for path in self.ephemerals.keys() {
            let Some(shown) = tree.get(path) else { continue };
            let owner = shown.stat.ephemeral_owner;
            assert_eq!(owner, self.client.session_id(), "{path} is another session's");
        }
        let shown = tree.get(&format!("/w{}/chain", self.index)).expect("it was never deleted");
        let found = (shown.stat.version, shown.text());
        let open = self.open_link.clone().map(|value| (self.link.0 + 1, value));
        assert!(
            found == self.link || Some(&found) == open.as_ref(),
            "the chain of writer {} is at {found:?}; acknowledged was {:?}, open {open:?}",
            self.index,
            self.link
        );
    }

    /// Whether the session is alive: it is taken up again where the connection was lost.
    pub fn is_alive(&mut self) {
        while self.client.call(&request::exists(SHARED, false)).is_none() {}
    }

    /// Ends the session; its ephemerals must go with it.
    pub fn close(mut self, reader: &mut Client) {
        while self.client.call(&request::close_session()).is_none() {}
        assert_eq!(reader.must(&request::sync("/")).err, OK);
        for path in self.ephemerals.keys() {
            let found = reader.must(&request::exists(path, false)).err;
            assert_eq!(found, NO_NODE, "{path} outlived its session");
        }
    }
}
