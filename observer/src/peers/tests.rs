//! Servers that link to each other over real sockets, all on one thread, by either driver.

mod bounds;
mod far;
mod guests;
mod questions;
mod refusals;
mod upstreams;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};

use crate::{listen, runtime};
use farwatch_core::zab::message::{ToLeader, ToLearner};
use farwatch_core::zab::run::Position;
use farwatch_core::zxid::Zxid;

use super::handshake::{ANSWER_BYTES_MAX, Answer, Arrived, Attempt, HELLO_BYTES, Hello};
use super::wire::{self, Incoming, Outgoing};
use super::*;

/// Far beyond what any of these tests takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

const FIRM: ClusterId = ClusterId(0xc1);

/// Runs `test` by io_uring, if it can be had, and by epoll.
fn on_each_driver<F: Future<Output = ()>>(test: impl Fn() -> F + Copy + Send + 'static) {
    for allow_uring in [true, false] {
        let (done, over) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            runtime::block_on(allow_uring, |_| test()).expect("a runtime");
            let _ = done.send(());
        });
        let ended = over.recv_timeout(PATIENCE);
        assert_ne!(ended, Err(mpsc::RecvTimeoutError::Timeout), "it hangs, uring: {allow_uring}");
        if let Err(panic) = thread.join() {
            eprintln!("uring: {allow_uring}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// A server with links, its events in order.
struct Server {
    peers: Peers,
    wake: Signal,
    events: RefCell<VecDeque<PeerEvent>>,
    /// How often a part of a message had come.
    arriving: Cell<usize>,
    /// What was asked with hellos.
    questions: RefCell<Vec<PeerEvent>>,
    at: SocketAddr,
}

thread_local! {
    static BOOTS: Cell<u64> = const { Cell::new(1000) };
}

fn id(number: u32) -> ServerId {
    ServerId(number)
}

/// Listens at an address of this machine that nothing else here has: who dials does so from
/// 127.0.0.1, and other tests listen elsewhere, so a stopped server's port waits for it.
fn listener() -> TcpListener {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let network = 1 + std::process::id() % 254; // other runs have another
    let ip = Ipv4Addr::from_bits(127 << 24 | network << 16 | number);
    listens_at(ip)
}

fn listens_at(ip: Ipv4Addr) -> TcpListener {
    listen::bind((ip, 0).into(), -1).expect("a free port")
}

fn voter(number: u32, at: SocketAddr) -> PeerAddress {
    PeerAddress { id: id(number), votes: true, hosts: vec![(at.ip().to_string(), at.port())] }
}

fn options(me: u32, peers: Vec<PeerAddress>) -> PeerOptions {
    let boot = BOOTS.with(|boots| {
        boots.set(boots.get() + 1);
        boots.get()
    });
    PeerOptions {
        me: id(me),
        votes: true,
        cluster: FIRM,
        tentative: false,
        boot,
        peers,
        upstreams: Vec::new(),
        guests_max: GUESTS_MAX,
        listeners: Vec::new(),
        limits: PeerLimits::default(),
    }
}

impl Server {
    fn start(listener: TcpListener, mut options: PeerOptions) -> Self {
        let at = listener.local_addr().unwrap();
        options.listeners = vec![listener];
        let wake = Signal::default();
        let peers = Peers::start(options, wake.clone()).expect("links start");
        Self::of(peers, wake, at)
    }

    fn of(peers: Peers, wake: Signal, at: SocketAddr) -> Self {
        let (events, arriving, questions) = Default::default();
        Self { peers, wake, events, arriving, questions, at }
    }

    /// The next event.
    async fn next(&self) -> PeerEvent {
        loop {
            if let Some(event) = self.events.borrow_mut().pop_front() {
                return event;
            }
            let mut taken = Vec::new();
            self.peers.take_events(&mut taken);
            let heard = taken.len();
            taken.retain(|event| !matches!(event, PeerEvent::Arriving(_)));
            self.arriving.set(self.arriving.get() + heard - taken.len());
            // What who dials asks with its hello: what most tests are about is said behind that.
            let questions = taken.extract_if(.., |event| is_question(event));
            self.questions.borrow_mut().extend(questions);
            if heard == 0 {
                self.wake.wait().await;
            }
            self.events.borrow_mut().extend(taken);
        }
    }

    /// Passes over events up to this one.
    async fn until(&self, wanted: &PeerEvent) {
        while self.next().await != *wanted {}
    }

    async fn received(&self, from: u32) -> Message {
        loop {
            match self.next().await {
                PeerEvent::Received { from: who, message } if who == id(from) => return message,
                _ => {}
            }
        }
    }

    fn send(&self, to: u32, message: &Message) {
        self.peers.send(id(to), message);
    }

    fn state(&self, of: u32) -> PeerState {
        self.peers.report().into_iter().find(|state| state.id == id(of)).expect("a peer")
    }

    /// Waits until the report names this reason for `of` not being linked.
    async fn complains(&self, of: u32, reason: &str) {
        eventually(|| self.state(of).last_error.is_some_and(|it| it.contains(reason))).await;
    }

    /// Waits until a connection was turned away for this reason.
    async fn refuses(&self, reason: &str) {
        eventually(|| self.peers.last_refused().is_some_and(|it| it.reason.contains(reason))).await;
    }

    async fn stop(self) -> TcpListener {
        self.peers.stop();
        self.peers.ended().await;
        listen::bind(self.at, -1).expect("its port is free")
    }
}

fn is_question(event: &PeerEvent) -> bool {
    matches!(event, PeerEvent::Asked(_) | PeerEvent::Received { message: Message::Seek, .. })
}

/// Looks again and again: for what is only reported, and no event.
async fn eventually(mut claim: impl FnMut() -> bool) {
    while !claim() {
        runtime::sleep(Duration::from_millis(2)).await;
    }
}

fn connected(number: u32) -> PeerEvent {
    PeerEvent::Connected(id(number))
}

fn disconnected(number: u32) -> PeerEvent {
    PeerEvent::Disconnected(id(number))
}

fn numbered(sequence: u64) -> Message {
    Message::ToLeader { session: 1, sequence, body: ToLeader::Ack(Zxid(sequence)) }
}

fn of_bytes(count: usize) -> Message {
    // Three of each byte, again and again: fast to make also where nothing is optimized.
    let pattern: Vec<u8> = (0..768).map(|at| (at / 3) as u8).collect();
    let mut bytes = pattern.repeat(count / pattern.len() + 1);
    bytes.truncate(count);
    let body = ToLearner::Records { after: Position::default(), bytes: bytes.into() };
    Message::ToLearner { session: 1, sequence: 1, body }
}

/// Two voters that are linked.
async fn pair() -> (Server, Server) {
    let (first, second) = (listener(), listener());
    let at = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    let one = Server::start(first, options(1, vec![voter(2, at[1])]));
    let two = Server::start(second, options(2, vec![voter(1, at[0])]));
    one.until(&connected(2)).await;
    two.until(&connected(1)).await;
    (one, two)
}

/// A peer made by hand.
struct Raw {
    read: Incoming,
    write: Outgoing,
    socket: crate::runtime::Socket,
    input: Vec<u8>,
}

impl Raw {
    fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("it listens");
        let (read, write, socket) = wire::open(stream).expect("a connection");
        Self { read, write, socket, input: Vec::with_capacity(ANSWER_BYTES_MAX) }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write.write_all(bytes.to_vec()).await
    }

    /// Reads more; false at the end.
    async fn read(&mut self) -> bool {
        self.input.reserve(1024);
        let (result, input) = self.read.read(std::mem::take(&mut self.input)).await;
        self.input = input;
        matches!(result, Ok(count) if 0 < count)
    }

    /// Says hello and reads the answer.
    async fn greet(&mut self, hello: &Hello) -> Answer {
        let mut bytes = Vec::new();
        hello.encode(&mut bytes);
        self.send(&bytes).await.expect("it is listened to");
        loop {
            if let Arrived::Whole(answer, used) = Answer::decode(&self.input).expect("an answer") {
                self.input.drain(..used);
                return answer;
            }
            assert!(self.read().await, "an answer comes before the end");
        }
    }

    /// Waits until the other side has hung up.
    async fn ended(mut self) {
        while self.read().await {}
        self.socket.forget();
    }
}

fn hello(me: u32, you: u32, boot: u64) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        votes: true,
        cluster: FIRM,
        tentative: false,
        boot,
        capabilities: u64::MAX,
        me: id(me),
        you: id(you),
        attempt: Attempt::default(),
    }
}

#[test]
fn three_servers_exchange_messages_in_order() {
    on_each_driver(|| async {
        let listeners = [listener(), listener(), listener()];
        let at: Vec<_> = listeners.iter().map(|it| it.local_addr().unwrap()).collect();
        let all: Vec<_> = (1..=3).map(|number| voter(number, at[number as usize - 1])).collect();
        let servers: Vec<Server> = listeners
            .into_iter()
            .zip(1..)
            .map(|(listener, number)| Server::start(listener, options(number, all.clone())))
            .collect();
        for (server, me) in servers.iter().zip(1_u32..) {
            let others: Vec<u32> = (1..=3).filter(|&other| other != me).collect();
            eventually(|| server.peers.report().iter().all(|peer| peer.connected)).await;
            for &other in &others {
                for sequence in 0..500 {
                    server.send(other, &numbered(sequence));
                }
            }
        }
        for server in &servers {
            let mut wanted = [None, Some(0), Some(0), Some(0)];
            for _ in 0..2 * (1 + 500) {
                match server.next().await {
                    PeerEvent::Connected(_) => {}
                    PeerEvent::Received { from, message } => {
                        let next = wanted[from.0 as usize].as_mut().expect("a peer");
                        assert_eq!(message, numbered(*next));
                        *next += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        let state = servers[0].state(3);
        assert!(!state.dials && state.bytes_in > 500 * 30 && state.address.is_some(), "{state:?}");
    });
}

#[test]
fn a_large_message_arrives_whole_and_in_its_place() {
    on_each_driver(|| async {
        let (one, two) = pair().await;
        let large = of_bytes(20 << 20);
        two.send(1, &numbered(1));
        two.send(1, &large);
        two.send(1, &numbered(2));
        assert_eq!(one.received(2).await, numbered(1));
        assert!(one.received(2).await == large, "20 MiB as they were");
        assert_eq!(one.received(2).await, numbered(2));
    });
}

#[test]
fn links_come_back_when_either_side_restarts() {
    on_each_driver(|| async {
        let (mut one, mut two) = pair().await;
        let at = [one.at, two.at];
        for _ in 0..3 {
            let port = one.stop().await;
            two.until(&disconnected(1)).await;
            two.send(1, &numbered(0)); // no link: it is dropped, and not kept for later
            one = Server::start(port, options(1, vec![voter(2, at[1])]));
            two.until(&connected(1)).await;
            one.until(&connected(2)).await;
            let port = two.stop().await;
            one.until(&disconnected(2)).await;
            two = Server::start(port, options(2, vec![voter(1, at[0])]));
            one.until(&connected(2)).await;
            two.until(&connected(1)).await;
            two.send(1, &numbered(7));
            assert_eq!(one.received(2).await, numbered(7));
        }
    });
}

#[test]
fn a_server_that_does_not_vote_dials_the_voters_and_nobody_else() {
    on_each_driver(|| async {
        let (port, other) = (listener(), listener());
        let at = [port.local_addr().unwrap(), other.local_addr().unwrap()];
        let observer = |number, at| PeerAddress { votes: false, ..voter(number, at) };
        let three = Server::start(port, options(3, vec![observer(1, at[1]), observer(2, at[1])]));
        let peers = vec![voter(3, at[0]), observer(2, at[1])];
        let one = Server::start(other, PeerOptions { votes: false, ..options(1, peers) });
        one.until(&connected(3)).await;
        three.until(&connected(1)).await;
        assert!(one.state(3).dials && !one.state(2).dials);
        assert!(!three.state(1).dials);
    });
}

#[test]
fn every_address_is_tried_in_order_until_the_peer_is_found() {
    on_each_driver(|| async {
        let (port, other) = (listener(), listener());
        let at = port.local_addr().unwrap();
        // Nobody listens at the first any more; at the second is something else, which hangs up.
        let dead = listener().local_addr().unwrap();
        let stranger = listener();
        let strange = stranger.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            while let Ok((mut stream, _)) = stranger.accept() {
                // Closing with something unread would be a reset.
                let _ = io::Read::read_exact(&mut stream, &mut [0; HELLO_BYTES + 8]);
                if told.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let one = Server::start(port, options(1, vec![voter(2, other.local_addr().unwrap())]));
        let mut found = voter(1, at);
        for address in [strange, dead] {
            found.hosts.insert(0, (address.ip().to_string(), address.port()));
        }
        let two = Server::start(other, options(2, vec![found]));
        one.until(&connected(2)).await;
        two.until(&connected(1)).await;
        assert_eq!(two.state(1).address, Some(at));
        let reason = two.state(1).last_error.expect("the stranger was met before");
        assert!(reason.contains("it hung up before the handshake was complete"), "{reason}");
        over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(strange));
        eventually(|| thread.is_finished()).await;
        thread.join().unwrap();
    });
}

#[test]
fn a_name_is_resolved_and_its_dead_addresses_passed_over() {
    on_each_driver(|| async {
        let (port, other) = (listens_at(Ipv4Addr::LOCALHOST), listener());
        let at = port.local_addr().unwrap();
        let one = Server::start(port, options(1, vec![voter(2, other.local_addr().unwrap())]));
        // On most machines `localhost` is [::1] as well, where nobody listens.
        let named = PeerAddress { hosts: vec![("localhost".into(), at.port())], ..voter(1, at) };
        let two = Server::start(other, options(2, vec![named]));
        one.until(&connected(2)).await;
        two.until(&connected(1)).await;
    });
}

#[test]
fn a_peer_whose_name_has_no_address_is_reported_with_it() {
    on_each_driver(|| async {
        let port = listener();
        let at = port.local_addr().unwrap();
        let nowhere = PeerAddress { hosts: vec![("not a name".into(), 1)], ..voter(1, at) };
        let two = Server::start(port, options(2, vec![nowhere]));
        two.complains(1, "the name not a name cannot be resolved").await;
        two.stop().await;
    });
}
