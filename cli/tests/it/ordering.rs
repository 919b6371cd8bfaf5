//! The three orders of each connection, with writers on several reactors:
//!
//! 1. an event comes before any reply that shows its change;
//! 2. the zxid of replies never goes back;
//! 3. the reply to a write comes after all events of its commit on that connection.
//!
//! And what follows from moving through the history one zxid at a time: a multi and the end of a
//! session are seen whole or not at all, also by reads that were sent one by one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;

use farwatch_bench::raw::{
    Connection, Event, MultiResult, Reply, Request, ids, multi_results, request, request_bytes,
};
use farwatch_bench::subject::Options;

use crate::subject::{connect, farwatch};

/// Two nodes that are only ever changed in one multi, and with the same value.
const PAIR: [&str; 2] = ["/pair/a", "/pair/b"];

/// Transactions of each writer.
const WRITES: i32 = 600;

/// Transactions of one writer in flight.
const IN_FLIGHT: i32 = 8;

/// Ephemerals of a session that ends.
const EPHEMERALS: usize = 40;

/// A connection on which every frame is held against the three orders.
struct Observed {
    connection: Connection,
    last_reply: i64,
    /// The last event of each path, and how many the newest zxid had.
    events: BTreeMap<String, i64>,
    newest_events: (i64, usize),
    /// One-shot watches: the change that they were armed at.
    armed: BTreeMap<String, i64>,
    /// What was shown at the zxid of the last reply.
    shown: BTreeMap<String, i64>,
    xid: i32,
}

impl Observed {
    fn new(address: SocketAddr) -> Self {
        let (connection, _) = connect(address);
        Self {
            connection,
            last_reply: 0,
            events: BTreeMap::new(),
            newest_events: (0, 0),
            armed: BTreeMap::new(),
            shown: BTreeMap::new(),
            xid: 0,
        }
    }

    fn send(&mut self, request: &Request) {
        self.xid += 1;
        let frame = request_bytes(self.xid, request);
        self.connection.send_frame(&frame).expect("a request leaves");
    }

    /// The next reply; events before it are taken in.
    fn reply(&mut self) -> Reply {
        loop {
            let reply = self.connection.receive().expect("a frame");
            if reply.xid != -1 {
                assert!(self.last_reply <= reply.zxid, "replies went back to {:#x}", reply.zxid);
                if self.last_reply < reply.zxid {
                    self.shown.clear();
                }
                self.last_reply = reply.zxid;
                return reply;
            }
            self.on_event(&Event::parse(&reply).expect("an event"));
        }
    }

    fn call(&mut self, request: &Request) -> Reply {
        self.send(request);
        self.reply()
    }

    fn on_event(&mut self, event: &Event) {
        assert!(
            self.last_reply < event.zxid,
            "a reply at {:#x} came before the event of {:#x}",
            self.last_reply,
            event.zxid
        );
        let (newest, count) = self.newest_events;
        assert!(newest <= event.zxid, "events went back");
        self.newest_events = (event.zxid, if newest == event.zxid { count + 1 } else { 1 });
        self.events.insert(event.path.clone(), event.zxid);
        self.armed.remove(&event.path);
    }

    /// A reply shows `path` as `mzxid` left it.
    fn on_shown(&mut self, path: &str, mzxid: i64) {
        assert!(mzxid <= self.last_reply, "a reply shows more than its zxid says");
        if let Some(armed) = self.armed.get(path) {
            assert!(mzxid <= *armed, "{path}: {mzxid:#x} was shown before its event");
        }
        let same = *self.shown.entry(path.to_owned()).or_insert(mzxid);
        assert_eq!(same, mzxid, "{path} differs between replies of one zxid");
    }
}

fn write_pairs(address: SocketAddr, writer: i32, acknowledged: &AtomicI32) {
    let mut own = Observed::new(address);
    assert_eq!(own.call(&request::add_watch("/pair", 1)).err, 0);
    for number in 0..WRITES + IN_FLIGHT {
        if number < WRITES {
            let value = format!("{writer}-{number}");
            let set = PAIR.map(|path| request::set_data(path, Some(value.as_bytes()), -1));
            own.send(&request::multi(&set));
        }
        if number >= IN_FLIGHT {
            let reply = own.reply();
            let results = multi_results(&reply).expect("results");
            let [MultiResult::SetData(a), MultiResult::SetData(b)] = &results[..] else {
                panic!("{results:?}")
            };
            assert_eq!((a.mzxid, b.mzxid), (reply.zxid, reply.zxid));
            assert_eq!(own.newest_events, (reply.zxid, 2), "a reply came before its events");
            acknowledged.fetch_max(a.version, Ordering::SeqCst);
        }
    }
}

/// One-shot watches, pipelined: each read arms one.
fn read_with_watches(address: SocketAddr, over: &AtomicBool) {
    let mut own = Observed::new(address);
    let mut rounds = 0;
    while !over.load(Ordering::SeqCst) || rounds == 0 {
        rounds += 1;
        for _ in 0..4 {
            PAIR.iter().for_each(|path| own.send(&request::get_data(path, true)));
        }
        let mut by_zxid: BTreeMap<i64, Vec<Option<Vec<u8>>>> = BTreeMap::new();
        for at in 0..8 {
            let (path, reply) = (PAIR[at % 2], own.reply());
            let (data, stat) = reply.data_and_stat().expect("data");
            own.on_shown(path, stat.mzxid);
            own.armed.insert(path.to_owned(), stat.mzxid);
            by_zxid.entry(reply.zxid).or_default().push(data);
        }
        for (zxid, values) in by_zxid {
            let same = values.iter().all(|value| *value == values[0]);
            assert!(same, "half a multi at {zxid:#x}: {values:?}");
        }
    }
}

/// A recursive watch sees every change, so that each reply must show exactly the last one seen.
fn read_behind_every_event(address: SocketAddr, over: &AtomicBool) {
    let mut own = Observed::new(address);
    assert_eq!(own.call(&request::add_watch("/pair", 1)).err, 0);
    let mut rounds = 0;
    while !over.load(Ordering::SeqCst) || rounds == 0 {
        rounds += 1;
        let reads = PAIR.map(|path| request::get_data(path, false));
        (0..4).for_each(|_| own.send(&request::multi_read(&reads)));
        for _ in 0..4 {
            let reply = own.reply();
            let results = multi_results(&reply).expect("results");
            let [MultiResult::GetData(a, of_a), MultiResult::GetData(b, of_b)] = &results[..]
            else {
                panic!("{results:?}")
            };
            assert_eq!((a, of_a.mzxid), (b, of_b.mzxid), "half a multi");
            for (path, stat) in [(PAIR[0], of_a), (PAIR[1], of_b)] {
                own.on_shown(path, stat.mzxid);
                let told = own.events.get(path).copied();
                assert!(
                    told.is_none_or(|told| told == stat.mzxid),
                    "{path}: event {told:x?}, shown {:#x}",
                    stat.mzxid
                );
            }
        }
    }
}

/// Whatever any client was told is there behind a sync, on every reactor.
fn sync_and_read(address: SocketAddr, over: &AtomicBool, acknowledged: &AtomicI32) {
    let mut own = Observed::new(address);
    let mut rounds = 0;
    while !over.load(Ordering::SeqCst) || rounds == 0 {
        rounds += 1;
        let told = acknowledged.load(Ordering::SeqCst);
        own.send(&request::sync(PAIR[0]));
        own.send(&request::get_data(PAIR[0], false));
        assert_eq!(own.reply().err, 0);
        let (_, stat) = own.reply().data_and_stat().expect("data");
        assert!(told <= stat.version, "version {told} was acknowledged, {} is read", stat.version);
    }
}

/// Sessions come with all their ephemerals in one transaction, and go with all of them in another.
fn end_sessions(address: SocketAddr, over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        let (mut connection, _) = connect(address);
        let create = |number| request::create(&format!("/crowd/{number}"), None, &ids::open(), 1);
        let created: Vec<_> = (0..EPHEMERALS).map(create).collect();
        assert_eq!(connection.call(&request::multi(&created)).expect("a reply").err, 0);
        assert_eq!(connection.call(&request::close_session()).expect("a reply").err, 0);
    }
}

fn count_the_crowd(address: SocketAddr, over: &AtomicBool) {
    let mut own = Observed::new(address);
    let (mut full, mut empty, mut rounds) = (0, 0, 0);
    while !over.load(Ordering::SeqCst) || rounds == 0 {
        rounds += 1;
        (0..4).for_each(|_| own.send(&request::get_children2("/crowd", false)));
        for _ in 0..4 {
            let (names, stat) = own.reply().names_and_stat().expect("names");
            assert_eq!(names.len() as i32, stat.num_children);
            match names.len() {
                0 => empty += 1,
                EPHEMERALS => full += 1,
                some => panic!("{some} of {EPHEMERALS} ephemerals of one session"),
            }
        }
    }
    eprintln!("the crowd was seen whole {full} times and gone {empty} times");
}

fn run(threads: u32) {
    let subject = farwatch(Options::new().line(&format!("farwatch.threads={threads}")));
    let address = subject.address();
    let (mut first, _) = connect(address);
    for path in ["/pair", PAIR[0], PAIR[1], "/crowd"] {
        let made = first.call(&request::create(path, Some(b"0"), &ids::open(), 0));
        assert_eq!(made.expect("a reply").err, 0);
    }
    // From the first read on, both were last changed together.
    let set = PAIR.map(|path| request::set_data(path, Some(b"1"), 0));
    assert_eq!(first.call(&request::multi(&set)).expect("a reply").err, 0);
    let (over, acknowledged) = (AtomicBool::new(false), AtomicI32::new(0));
    let (over, acknowledged) = (&over, &acknowledged);
    thread::scope(|scope| {
        // Connections go to the reactors in turn: two of each kind meet several of them.
        let readers = [
            read_with_watches as fn(SocketAddr, &AtomicBool),
            read_behind_every_event,
            read_with_watches,
            read_behind_every_event,
            end_sessions,
            count_the_crowd,
        ];
        for reader in readers {
            scope.spawn(move || reader(address, over));
        }
        scope.spawn(move || sync_and_read(address, over, acknowledged));
        let writers =
            [0, 1, 2].map(|writer| scope.spawn(move || write_pairs(address, writer, acknowledged)));
        let done = writers.map(thread::ScopedJoinHandle::join);
        over.store(true, Ordering::SeqCst);
        assert!(done.iter().all(Result::is_ok), "a writer failed");
    });
    assert_eq!(acknowledged.load(Ordering::SeqCst), 3 * WRITES + 1);
}

#[test]
fn the_three_orders_hold_with_writers_on_three_reactors() {
    run(3);
}

#[test]
fn the_three_orders_hold_on_one_thread() {
    run(1);
}

/// A server keeps long lists as it has sent them. Each answer is held against what was created and deleted, read
/// three times, since the third is the first that can be a kept one; and by another thread's connections.
#[test]
fn a_long_list_that_is_kept_is_never_an_older_one() {
    const NAMES: i32 = 1_200;
    let subject = farwatch(Options::new().line("farwatch.threads=2"));
    let mut connections: Vec<Connection> = (0..4).map(|_| connect(subject.address()).0).collect();
    let mut expected: BTreeMap<String, ()> = BTreeMap::new();
    let create = |path: &str| request::create(path, None, &ids::open(), 0);
    assert_eq!(connections[0].call(&create("/long")).expect("a reply").err, 0);
    for number in 0..NAMES {
        let name = format!("n{number:05}");
        let reply = connections[0].call(&create(&format!("/long/{name}"))).expect("a reply");
        assert_eq!(reply.err, 0);
        expected.insert(name, ());
    }
    let check = |connections: &mut [Connection], expected: &BTreeMap<String, ()>| {
        for connection in connections {
            assert_eq!(connection.call(&request::sync("/")).expect("a reply").err, 0);
            for _ in 0..3 {
                let reply = connection.call(&request::get_children2("/long", false));
                let (mut names, stat) = reply.expect("a reply").names_and_stat().expect("names");
                names.sort();
                assert_eq!(stat.num_children as usize, names.len());
                assert!(names.iter().eq(expected.keys()), "{} names", names.len());
            }
        }
    };
    check(&mut connections, &expected);
    for number in 0..20 {
        // In turn: one goes, one comes, one of each in one transaction, which leaves the count as it was.
        let (old, new) = (format!("n{number:05}"), format!("m{number:05}"));
        let remove = request::delete(&format!("/long/{old}"), -1);
        let add = create(&format!("/long/{new}"));
        let asked = match number % 3 {
            0 => remove,
            1 => add,
            _both => request::multi(&[remove, add]),
        };
        assert_eq!(connections[number % 4].call(&asked).expect("a reply").err, 0);
        if number % 3 != 1 {
            expected.remove(&old);
        }
        if number % 3 != 0 {
            expected.insert(new, ());
        }
        check(&mut connections, &expected);
    }
}
