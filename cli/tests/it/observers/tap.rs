//! Somebody between two servers who writes down, word by word, what they say to each other.
//!
//! ```text
//! who dials ─► Tap ─► target        the first words pass, up to a `Join`; what is said behind it is held
//!           ◄───────                back until records have passed the other way
//! ```
//!
//! What is told to who dials therefore needed no more than the words that stand before it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use farwatch_core::zab::message::{Message, Thread, ToLearner};
use farwatch_observer::peers::block::{self, Unpacker};
use farwatch_observer::peers::frame::{self, Frame};
use farwatch_observer::peers::handshake::{Answer, Arrived, Hello};

/// Who said something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Dialer,
    Target,
}

/// One message of a link, by whom.
pub type Word = (Side, Message);

/// It ends, with its connections, when it is dropped.
pub struct Tap {
    places: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Records passed, a link ended, or all is over.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    links: Vec<Link>,
    over: bool,
}

/// One connection.
struct Link {
    words: Vec<Word>,
    told: bool,
    streams: [TcpStream; 2],
    ended: bool,
}

impl Tap {
    /// Opens a place on the loopback before each of `targets`.
    pub fn start(targets: &[SocketAddr]) -> Self {
        let mut tap = Self { places: Vec::new(), shared: Arc::default() };
        for &target in targets {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            tap.places.push(listener.local_addr().expect("it is bound"));
            let shared = Arc::clone(&tap.shared);
            thread::spawn(move || accept(&shared, &listener, target));
        }
        tap
    }

    /// Where who dials is to connect, in the order of the targets.
    pub fn places(&self) -> &[SocketAddr] {
        &self.places
    }

    /// What was said on the first link on which records were, up to now.
    pub fn told(&self) -> Option<Vec<Word>> {
        let state = self.shared.lock();
        state.links.iter().find(|link| link.told).map(|link| link.words.clone())
    }

    /// Ends all links and forgets what was said.
    pub fn forget(&self) {
        self.shared.end_links(false);
        // Those that have ended have no more words.
        self.shared.lock().links.iter_mut().for_each(|link| link.told = false);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.end_links(true);
        for &place in &self.places {
            // Whoever waits for a connection looks whether it is over when there is one.
            let _nobody_waits_any_more = TcpStream::connect(place);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_links(&self, over: bool) {
        let mut state = self.lock();
        state.over |= over;
        state.links.iter_mut().for_each(Link::end);
        self.changed.notify_all();
    }

    /// Begins a link, unless all is over.
    fn begin(&self, streams: [TcpStream; 2]) -> Option<usize> {
        let mut state = self.lock();
        state.links.push(Link { words: Vec::new(), told: false, streams, ended: false });
        if state.over {
            return None;
        }
        Some(state.links.len() - 1)
    }

    fn end(&self, link: usize) {
        self.lock().links[link].end();
        self.changed.notify_all();
    }

    /// Notes what is about to pass; whether it is a word behind which who said it must wait.
    fn note(&self, link: usize, side: Side, said: Vec<Message>) -> bool {
        let link = &mut self.lock().links[link];
        if link.ended {
            return false;
        }
        let joins = said.iter().any(|it| matches!(it, Message::Join { .. }));
        if said.iter().any(tells) {
            link.told = true;
            self.changed.notify_all();
        }
        link.words.extend(said.into_iter().map(|message| (side, message)));
        joins
    }

    /// Waits until records have passed on this link, or until it is over.
    fn until_told(&self, link: usize) {
        let is_so = |link: &Link| link.told || link.ended;
        let mut state = self.lock();
        while !is_so(&state.links[link]) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Link {
    fn end(&mut self) {
        self.ended = true;
        for stream in &self.streams {
            let _gone_already = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Whether this is what a learner lacks.
fn tells(message: &Message) -> bool {
    let Message::ToLearner { body, .. } = message else { return false };
    matches!(body, ToLearner::Records { .. } | ToLearner::Inform { .. })
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener, target: SocketAddr) {
    for near in listener.incoming() {
        if shared.lock().over {
            return;
        }
        let (Ok(near), Ok(far)) = (near, TcpStream::connect(target)) else { continue };
        let own = |stream: &TcpStream| stream.try_clone().expect("another handle");
        let Some(link) = shared.begin([own(&near), own(&far)]) else { return };
        for (side, from, to) in
            [(Side::Dialer, own(&near), own(&far)), (Side::Target, own(&far), own(&near))]
        {
            let shared = Arc::clone(shared);
            thread::spawn(move || {
                carry(&shared, link, side, from, to);
                shared.end(link);
            });
        }
    }
}

/// Carries one direction until either side has hung up.
fn carry(shared: &Shared, link: usize, side: Side, mut from: TcpStream, mut to: TcpStream) {
    let mut reader = Reader::new(side);
    let mut buffer = vec![0; 64 << 10];
    let _only_slower = to.set_nodelay(true);
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let waits = shared.note(link, side, reader.take(&buffer[..read]));
        if to.write_all(&buffer[..read]).is_err() {
            return;
        }
        if waits {
            shared.until_told(link);
        }
    }
}

/// Finds the messages in the bytes of one direction.
struct Reader {
    /// Whose hello or answer, until it has come.
    greets: Option<Side>,
    unpacker: Unpacker,
    input: Vec<u8>,
    plain: Vec<u8>,
    thread: Thread,
}

impl Reader {
    fn new(side: Side) -> Self {
        let (unpacker, input, plain, thread) = Default::default();
        Self { greets: Some(side), unpacker, input, plain, thread }
    }

    /// The messages that are whole now.
    fn take(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.input.extend_from_slice(bytes);
        if let Some(side) = self.greets {
            let Some(used) = greeting(side, &self.input) else { return Vec::new() };
            self.input.drain(..used);
            self.greets = None;
        }
        // Between servers of which one observes all is in blocks.
        while let block::Found::Block(used) =
            self.unpacker.unpack(&self.input, &mut self.plain).expect("a block")
        {
            self.input.drain(..used);
        }
        let mut messages = Vec::new();
        while let frame::Found::Frame(frame, used) =
            frame::first(&self.plain, &mut self.thread).expect("a frame")
        {
            self.plain.drain(..used);
            match frame {
                Frame::Message(message) => messages.push(message),
                Frame::Heartbeat | Frame::Echo(_) | Frame::Echoed(_) => {}
            }
        }
        messages
    }
}

/// How long the hello, or the answer to one, is that `bytes` begin with; `None` before it is whole.
fn greeting(side: Side, bytes: &[u8]) -> Option<usize> {
    match side {
        Side::Dialer => whole(Hello::decode(bytes).expect("a hello")),
        Side::Target => whole(Answer::decode(bytes).expect("an answer")),
    }
}

fn whole<T>(arrived: Arrived<T>) -> Option<usize> {
    match arrived {
        Arrived::Whole(_, used) => Some(used),
        Arrived::Needs(_) => None,
    }
}
