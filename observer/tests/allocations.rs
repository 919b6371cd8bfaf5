//! On the steady path a read allocates nothing: counted by the allocator of this test.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use farwatch_core::node::submission::{Outcome, Reply, Submission};
use farwatch_core::tree::{self, Events, TreeOptions};
use farwatch_core::wire::handshake::Password;
use farwatch_core::zxid::{SessionId, Zxid};
use farwatch_observer::config::ServerConfig;
use farwatch_observer::inbox::CORE_INBOX;
use farwatch_observer::port::Port;
use farwatch_observer::reactor::{ConnectionKey, Delivery, Next, Reactor};
use farwatch_observer::runtime::{self, Signal};
use farwatch_observer::server::Shared;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed to the system's allocator as it is; counting touches a thread-local
// without a destructor and allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Turns before anything is counted: buffers find their size.
const WARM_UP: usize = 8;

/// Turns that are counted.
const TURNS: usize = 1000;

/// That a session lives is passed on about once a second, which is no part of a read: the two lists
/// for it, in use by turns, are made when it first happens.
const LIVENESS_MAX: u64 = 4;

fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as i32).to_be_bytes()[..], &body].concat()
}

/// A reactor with one client that has a session.
fn serving() -> (Reactor, ConnectionKey, TcpStream) {
    let (_writer, tree) = tree::new(TreeOptions { hash_seed: 1 });
    let shared = Shared::new(ServerConfig::default(), Arc::clone(&tree), 2);
    let core = Arc::new(Port::new(CORE_INBOX).expect("a port"));
    let mut reactor = Reactor::new(0, shared, tree.reader(), core, Signal::default());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a client");
    let (stream, peer) = listener.accept().expect("accepted");
    let (_read, write, socket) = runtime::adopt(stream).expect("adopted");
    let key = reactor.open(peer, write, socket);
    let hello = framed(&[
        &0_i32.to_be_bytes(),
        &0_i64.to_be_bytes(),
        &30_000_i32.to_be_bytes(),
        &0_i64.to_be_bytes(),
        &16_i32.to_be_bytes(),
        &[0; 16],
    ]);
    assert_eq!(reactor.on_bytes(key, &hello).next, Next::Wait);
    let mut asked = Submission::default();
    reactor.swap_submission(&mut asked);
    let origin = asked.items().next().expect("the handshake").0.origin;
    let outcome = Outcome::Attached {
        session: SessionId(0x0100_0000_0000_0001),
        password: Password([7; 16]),
        timeout_ms: 30_000,
        read_only: false,
    };
    reactor.deliver(Delivery {
        upto: Zxid::default(),
        events: &Events::default(),
        replies: &[Reply { origin, zxid: Zxid::default(), outcome }],
        bytes: &[],
        closed: &[],
        displaced: &[],
    });
    sent(&mut reactor, key);
    (reactor, key, client)
}

/// As if everything had been written to the socket; the bytes that it was.
fn sent(reactor: &mut Reactor, key: ConnectionKey) -> usize {
    let (writer, buffer) = reactor.take_output(key).expect("something to say");
    let bytes = buffer.len();
    reactor.wrote(key, writer, buffer, true);
    bytes
}

/// Allocations of `TURNS` turns, each with `pipelined` reads of the same kind.
fn count(op: i32, body: &[u8], pipelined: usize) -> u64 {
    let allocations = runtime::block_on(false, |_| async {
        let (mut reactor, key, _client) = serving();
        let one = framed(&[&1_i32.to_be_bytes(), &op.to_be_bytes(), body]);
        let turn = one.repeat(pipelined);
        let mut asked = Submission::default();
        let mut run = |turns: usize| {
            for _ in 0..turns {
                assert_eq!(reactor.on_bytes(key, &turn).consumed, turn.len());
                // As the core does, with one list in use and the other kept.
                reactor.swap_submission(&mut asked);
                asked.clear();
                assert!(sent(&mut reactor, key) >= pipelined * 20, "fewer replies than requests");
            }
        };
        run(WARM_UP);
        let before = ALLOCATIONS.get();
        run(TURNS);
        ALLOCATIONS.get() - before
    });
    allocations.expect("a runtime")
}

fn path_and_watch(path: &str) -> Vec<u8> {
    [&(path.len() as i32).to_be_bytes()[..], path.as_bytes(), &[0]].concat()
}

#[test]
fn a_steady_read_allocates_nothing_pipelined_or_not() {
    const EXISTS: i32 = 3;
    const GET_DATA: i32 = 4;
    const GET_CHILDREN2: i32 = 12;
    const PING: i32 = 11;
    let reads = [
        (GET_DATA, path_and_watch("/zookeeper")),
        (EXISTS, path_and_watch("/zookeeper/quota")),
        (GET_CHILDREN2, path_and_watch("/zookeeper")),
        (PING, Vec::new()),
    ];
    for (op, body) in reads {
        for pipelined in [1, 10, 100, 1000] {
            let counted = count(op, &body, pipelined);
            assert!(
                counted <= LIVENESS_MAX,
                "{counted} allocations: operation {op}, {pipelined} a turn, {TURNS} turns"
            );
        }
    }
}
