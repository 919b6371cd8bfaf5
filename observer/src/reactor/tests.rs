//! A reactor that is turned by hand: the core, the sockets' tasks and the client are the test.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use farwatch_core::acl;
use farwatch_core::node::submission::{Item, Outcome, Reply};
use farwatch_core::tree::{self, Applied, Events, TreeOptions, Writer};
use farwatch_core::txn::{CreateTxn, NodeKind, Txn, TxnHead};
use farwatch_core::wire::ErrorCode;
use farwatch_core::wire::handshake::Password;

use super::*;
use crate::config::ServerConfig;
use crate::inbox::CORE_INBOX;
use crate::report::Question;
use crate::runtime;

const PING: i32 = 11;
const SET_DATA: i32 = 5;
const SYNC: i32 = 9;
const EXISTS: i32 = 3;
const CHILDREN: i32 = 8;
const AUTH: i32 = 100;
const COUNT: i32 = 104;
const ADD_WATCH: i32 = 106;
const UNKNOWN: i32 = 9999;

const PING_XID: i32 = -2;
const AUTH_XID: i32 = -4;

fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as i32).to_be_bytes()[..], &body].concat()
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as i32).to_be_bytes()[..], text.as_bytes()].concat()
}

fn request(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    framed(&[&xid.to_be_bytes(), &op.to_be_bytes(), body])
}

fn ping() -> Vec<u8> {
    request(PING_XID, PING, &[])
}

fn sync(xid: i32) -> Vec<u8> {
    request(xid, SYNC, &string("/"))
}

fn set(xid: i32) -> Vec<u8> {
    let nothing = (-1_i32).to_be_bytes();
    request(xid, SET_DATA, &[&string("/zookeeper")[..], &nothing, &nothing].concat())
}

fn exists(xid: i32) -> Vec<u8> {
    request(xid, EXISTS, &[&string("/zookeeper")[..], &[0]].concat())
}

fn count(xid: i32, path: &str) -> Vec<u8> {
    request(xid, COUNT, &string(path))
}

/// A reactor with one client.
struct Rig {
    reactor: Reactor,
    key: ConnectionKey,
    tree: Writer,
    done: Applied,
    applied: u64,
    client: TcpStream,
}

impl Rig {
    /// Runs `test` with a client that has a session, where sockets can be had.
    fn serving(test: impl FnOnce(Self)) {
        Self::opening(ServerConfig::default(), |mut rig| {
            let origin = rig.asked()[0].origin;
            let outcome = Outcome::Attached {
                session: SessionId(0x0100_0000_0000_0001),
                password: Password([7; 16]),
                timeout_ms: 30_000,
                read_only: false,
            };
            rig.deliver(&[Reply { origin, zxid: Zxid(rig.applied), outcome }]);
            assert_eq!(rig.heard().len(), 1, "the handshake's answer");
            test(rig);
        });
    }

    /// The same with one whose handshake is with the core.
    fn opening(config: ServerConfig, test: impl FnOnce(Self)) {
        runtime::block_on(false, |_| async {
            let (writer, tree) = tree::new(TreeOptions { hash_seed: 1 });
            let shared = Shared::new(config, Arc::clone(&tree), 2);
            let core = Arc::new(Port::new(CORE_INBOX).expect("a port"));
            let mut reactor = Reactor::new(0, shared, tree.reader(), core, Signal::default());
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("an address");
            let client = TcpStream::connect(address).expect("a client");
            let (stream, peer) = listener.accept().expect("accepted");
            let (_read, write, socket) = runtime::adopt(stream).expect("adopted");
            let key = reactor.open(peer, write, socket);
            let (done, applied) = (Applied::default(), 0);
            let mut rig = Self { reactor, key, tree: writer, done, applied, client };
            let timeout = 30_000_i32.to_be_bytes();
            let password = [&16_i32.to_be_bytes()[..], &[0; 16]].concat();
            let hello = framed(&[&[0; 12], &timeout, &[0; 8], &password]);
            assert_eq!(rig.says(&[hello]), Next::Wait);
            test(rig);
        })
        .expect("a runtime");
    }

    /// What it says is taken in, all of it.
    #[track_caller]
    fn says(&mut self, frames: &[Vec<u8>]) -> Next {
        let bytes = frames.concat();
        let progress = self.reactor.on_bytes(self.key, &bytes);
        assert_eq!(progress.consumed, bytes.len(), "what is behind it is not read");
        progress.next
    }

    /// What the core is asked.
    fn asked(&mut self) -> Vec<Item> {
        let mut asked = Submission::default();
        self.reactor.swap_submission(&mut asked);
        asked.items().map(|(item, _body)| item.clone()).collect()
    }

    fn asks(&mut self) -> Vec<Ask> {
        self.asked().into_iter().map(|item| item.ask).collect()
    }

    fn deliver(&mut self, replies: &[Reply]) {
        self.reactor.deliver(Delivery {
            upto: Zxid(self.applied),
            events: &self.done.events,
            replies,
            bytes: &[],
            closed: &[],
            displaced: &[],
        });
        self.done.events = Events::default();
    }

    fn answer(&mut self, item: &Item) {
        let outcome = Outcome::Done { err: ErrorCode::Ok, start: 0, end: 0 };
        self.deliver(&[Reply { origin: item.origin, zxid: Zxid(self.applied), outcome }]);
    }

    fn apply(&mut self, txn: &Txn<'_>) {
        self.applied += 1;
        let zxid = Zxid(self.applied);
        let head = TxnHead { zxid, time_ms: 0, session: SessionId(1), cxid: 0 };
        self.tree.apply(&head, txn, &mut self.done);
    }

    fn create(&mut self, path: &str) {
        let parent = path.rsplit_once('/').map_or("", |(parent, _name)| parent);
        let parent = self.tree.get(if parent.is_empty() { b"/" } else { parent.as_bytes() });
        let parent_cversion = parent.expect("a parent").stored_cversion() + 1;
        self.apply(&Txn::Create(CreateTxn {
            path: path.as_bytes(),
            data: None,
            acl: acl::OPEN,
            kind: NodeKind::Persistent,
            parent_cversion,
        }));
    }

    /// A node with so many below it that one count of them is all that one turn may do.
    fn with_many_below(mut self, path: &str) -> Self {
        self.create(path);
        for number in 0..10_000 {
            self.create(&format!("{path}/{number}"));
        }
        self.deliver(&[]);
        self
    }

    /// The xids of what is sent to it now.
    fn heard(&mut self) -> Vec<i32> {
        let Some((writer, buffer)) = self.reactor.take_output(self.key) else { return Vec::new() };
        let mut rest = &buffer[..];
        let mut xids = Vec::new();
        while let Some((head, behind)) = rest.split_first_chunk::<4>() {
            xids.push(i32::from_be_bytes(behind[..4].try_into().expect("four bytes")));
            rest = &behind[u32::from_be_bytes(*head) as usize..];
        }
        self.reactor.wrote(self.key, writer, buffer, true);
        xids
    }

    /// Whether the server has hung up on it.
    fn is_hung_up_on(&self) -> bool {
        self.client.set_nonblocking(true).expect("a socket");
        matches!(self.client.peek(&mut [0]), Ok(0))
    }

    fn phase(&mut self) -> Phase {
        self.reactor.connection(self.key).expect("a connection").phase
    }
}

#[test]
fn what_waits_behind_a_sync_keeps_no_ping_waiting() {
    Rig::serving(|mut rig| {
        let all = [sync(1), set(2), exists(3), set(4), ping(), exists(5)];
        assert_eq!(rig.says(&all), Next::Read);
        assert_eq!(rig.heard(), [PING_XID]);
        let asked = rig.asked();
        assert_eq!(asked.len(), 1, "no write is asked for behind a sync");
        assert_eq!(rig.says(&[ping()]), Next::Read);
        assert_eq!(rig.heard(), [PING_XID]);
        rig.answer(&asked[0]);
        assert_eq!(rig.heard(), [1]);
        let asked = rig.asked(); // both at once, as ever
        assert!(matches!(asked[..], [Item { cxid: 2, .. }, Item { cxid: 4, .. }]), "{asked:?}");
        rig.answer(&asked[0]);
        assert_eq!(rig.heard(), [2, 3]);
        rig.answer(&asked[1]);
        assert_eq!(rig.heard(), [4, 5]);
    });
}

#[test]
fn what_waited_is_asked_with_the_identities_that_it_was_read_with() {
    Rig::serving(|mut rig| {
        let digest = [&[0; 4][..], &string("digest"), &string("a:b")].concat();
        rig.says(&[sync(1), set(2), request(AUTH_XID, AUTH, &digest), set(3)]);
        assert_eq!(rig.heard(), [AUTH_XID]);
        let asked = rig.asked();
        rig.answer(&asked[0]);
        let counts: Vec<_> = rig.asked().iter().map(|item| item.identities.len()).collect();
        assert_eq!(counts, [1, 2]);
    });
}

#[test]
fn a_refusal_waits_for_what_was_read_before_it() {
    Rig::serving(|mut rig| {
        assert_eq!(rig.says(&[sync(1), set(2), request(3, UNKNOWN, &[])]), Next::Wait);
        assert!(rig.heard().is_empty());
        let asked = rig.asked();
        rig.answer(&asked[0]);
        let asked = rig.asked();
        rig.answer(&asked[0]);
        assert_eq!(rig.heard(), [1, 2, 3]);
        assert_eq!(rig.phase(), Phase::Closing);
    });
}

#[test]
fn one_connection_that_waits_for_a_sync_holds_a_bounded_queue() {
    Rig::serving(|mut rig| {
        rig.says(&[sync(1)]);
        let many: Vec<u8> = (0..).map(set).take(PENDING_MAX + 10).flatten().collect();
        let progress = rig.reactor.on_bytes(rig.key, &many);
        assert_eq!(progress.next, Next::Wait);
        assert!(progress.consumed <= set(0).len() * PENDING_MAX);
        let shown = &rig.reactor.report(Question::Connections).connections[0];
        assert_eq!(shown.queued, PENDING_MAX as u64, "`cons` counts what waits unasked, too");
        assert_eq!(rig.asks(), [Ask::Sync]);
    });
}

#[test]
fn counts_of_many_nodes_have_turns_of_others_between_them() {
    Rig::serving(|rig| {
        let mut rig = rig.with_many_below("/a");
        let counts: Vec<_> = (1..=10).map(|xid| count(xid, "/a")).collect();
        assert_eq!(rig.says(&[counts.concat(), exists(11), ping()]), Next::Read);
        assert_eq!(rig.heard(), [1, PING_XID]);
        assert!(rig.reactor.begins_to_resume());
        assert!(!rig.reactor.begins_to_resume(), "somebody does already");
        for xid in 2..10 {
            assert!(rig.reactor.resume(), "{xid}");
            assert_eq!(rig.heard(), [xid]);
        }
        assert!(!rig.reactor.resume());
        assert_eq!(rig.heard(), [10, 11]);
    });
}

#[test]
fn counts_behind_a_write_have_turns_of_others_between_them() {
    Rig::serving(|rig| {
        let mut rig = rig.with_many_below("/a");
        let all = [set(1), count(2, "/a"), count(3, "/a"), set(4), ping()];
        assert_eq!(rig.says(&all), Next::Read);
        assert_eq!(rig.heard(), [PING_XID]);
        let asked = rig.asked();
        rig.answer(&asked[0]);
        assert_eq!(rig.heard(), [1, 2]);
        assert!(rig.reactor.begins_to_resume());
        assert!(!rig.reactor.resume());
        assert_eq!(rig.heard(), [3]);
        assert_eq!(rig.asks(), [Ask::Write(OpCode::SetData)]);
    });
}

#[test]
fn counts_of_few_nodes_are_answered_together() {
    Rig::serving(|mut rig| {
        let counts: Vec<_> = (0..1000).map(|xid| count(xid, "/zookeeper")).collect();
        assert_eq!(rig.says(&counts), Next::Read);
        assert_eq!(rig.heard(), (0..1000).collect::<Vec<_>>());
    });
}

#[test]
fn who_could_not_read_yet_is_not_cut_off_for_many_events_at_one_moment() {
    Rig::serving(|mut rig| {
        let watch = [&string("/")[..], &1_i32.to_be_bytes()].concat();
        rig.says(&[request(1, ADD_WATCH, &watch)]);
        assert_eq!(rig.heard(), [1]);
        let path = format!("/{}", "x".repeat(1 << 20));
        rig.create(&path);
        for version in 1..=20 {
            rig.apply(&Txn::SetData { path: path.as_bytes(), data: None, version });
        }
        let told = rig.done.events.clone();
        rig.deliver(&[]);
        assert_eq!(rig.phase(), Phase::Serving);
        let reading = rig.reactor.take_output(rig.key).expect("events");
        assert!(OUT_BYTES_MAX < reading.1.len());
        // And who does not read them is, behind as many more.
        rig.done.events = told.clone();
        rig.deliver(&[]);
        assert_eq!(rig.phase(), Phase::Closing);
    });
    // Who has no chance to read is too, in the end: memory is for all.
    Rig::serving(|mut rig| {
        let watch = [&string("/")[..], &1_i32.to_be_bytes()].concat();
        rig.says(&[request(1, ADD_WATCH, &watch)]);
        let path = format!("/{}", "x".repeat(1 << 20));
        rig.create(&path);
        for version in 1..=70 {
            rig.apply(&Txn::SetData { path: path.as_bytes(), data: None, version });
        }
        rig.deliver(&[]);
        assert_eq!(rig.phase(), Phase::Closing);
    });
}

#[test]
fn a_handshake_that_the_core_leaves_waiting_keeps_no_place_and_is_woken_by_no_delivery() {
    // It is waited for as long as its session may be silent, and as long as any handshake.
    for (session_ms, still) in [(1, Phase::Closing), (60_000, Phase::Opening)] {
        let config = ServerConfig {
            sessionless_timeout_ms: 1,
            session_timeout_ms_min: session_ms,
            session_timeout_ms_max: session_ms,
            ..ServerConfig::default()
        };
        Rig::opening(config, move |mut rig| {
            let since = Instant::now();
            while since.elapsed() < Duration::from_millis(4) {
                std::hint::spin_loop(); // the reactor has its own look at the clock
            }
            let behind = rig.reactor.on_bytes(rig.key, &ping());
            assert_eq!((behind.next, behind.consumed), (Next::Wait, 0));
            assert!(rig.reactor.waiting.is_empty());
            rig.reactor.sweep();
            assert_eq!(rig.phase(), still);
        });
    }
}

#[test]
fn what_was_answered_is_sent_to_a_slow_reader_also_when_its_connection_ends() {
    Rig::serving(|mut rig| {
        rig.says(&[exists(1)]);
        let (writer, buffer) = rig.reactor.take_output(rig.key).expect("an answer");
        rig.reactor.end(rig.key);
        rig.reactor.started -= Duration::from_millis(10 * LINGER_MS);
        rig.reactor.sweep();
        assert!(!rig.is_hung_up_on(), "it is being sent");
        rig.reactor.wrote(rig.key, writer, buffer, true);
        rig.reactor.sweep();
        let since = rig.reactor.connection(rig.key).expect("a connection").closing_since_ms;
        assert_eq!(since, rig.reactor.now_ms(), "its client has a moment to hang up");
    });
}

#[test]
fn cons_shows_the_last_request_and_no_ping() {
    Rig::serving(|mut rig| {
        rig.says(&[exists(7), ping()]);
        let shown = rig.reactor.report(Question::Connections).connections.remove(0);
        assert_eq!(shown.session.expect("one").last_cxid, 7);
    });
}

#[test]
fn one_list_more_is_another_list_though_the_counter_of_changes_is_at_its_end() {
    Rig::serving(|mut rig| {
        rig.create("/long");
        for number in 0..1_000 {
            rig.create(&format!("/long/{number}"));
        }
        rig.deliver(&[]);
        let children = |xid| request(xid, CHILDREN, &[&string("/long")[..], &[0]].concat());
        rig.says(&[children(1), children(2), children(3)]);
        assert_eq!(rig.heard(), [1, 2, 3]);
        let last = Zxid(rig.applied);
        let name = |path: &'static str| CreateTxn {
            path: path.as_bytes(),
            data: None,
            acl: acl::OPEN,
            kind: NodeKind::Persistent,
            parent_cversion: 0, // as there is no higher one
        };
        rig.apply(&Txn::Create(name("/long/more")));
        rig.deliver(&[]);
        assert_eq!(rig.tree.get(b"/long").expect("a node").stat().pzxid, last.0 as i64);
        rig.says(&[children(4)]);
        let (_, buffer) = rig.reactor.take_output(rig.key).expect("a list");
        assert!(buffer.windows(4).any(|name| name == b"more"));
    });
}
