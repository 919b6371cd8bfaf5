//! One live link: a task that reads, a task that writes, and what waits between them and the core.
//!
//! ```text
//! send ─► queue ─► writer (blocks, cap) ─► socket ─► reader (blocks) ─► events ─► take_events
//!          └ bounded: cut                                         └ bounded: waits for it
//! ```

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::runtime::{self, Signal, Socket};
use farwatch_core::log::format::ClusterId;
use farwatch_core::zab::message::Message;

use super::dial::Target;
use super::frame::{self, FrameError, HEARTBEAT};
use super::handshake::{Attempt, BLOCKS, ECHOES, Hello, THREADS};
use super::hub::Hub;
use super::peer::Peer;
use super::queue::Queue;
use super::upstream::Upstream;
use super::wire::{Incoming, Outgoing};
use super::{PeerEvent, PeerLimits, SWEEP, receive, send, sweeps};

/// A link with nothing to say says that it lives this often. Twice within the second after which
/// another server of the same number may take its place.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(400);

/// How often the round trip is measured. It is said with the first words of a link, and then for
/// whoever chooses between upstreams, who need not know of each hiccup.
const ECHO_EVERY: Duration = Duration::from_secs(2);

/// Of a new measurement this share enters the round trip, as TCP does it.
const ROUND_TRIP_SHARE: u64 = 8;

const _: () = assert!(SWEEP.as_millis() <= HEARTBEAT_EVERY.as_millis());

/// A live link.
pub struct Link {
    /// To whom.
    pub peer: Rc<Peer>,
    /// Where that one is.
    pub address: SocketAddr,
    /// Whether this side dialed, and if it did not know whom, where.
    pub dialed: Option<Target>,
    /// Which start of the peer's process it is.
    pub boot: u64,
    /// Which of that process's connections, if that dialed.
    pub attempt: Attempt,
    /// The ensemble that both belonged to when the link was made.
    pub cluster: ClusterId,
    /// Whether the other side observes.
    pub observed: bool,
    /// Whether frames travel in blocks.
    pub blocks: bool,
    /// A part of a message has come lately, and not its end.
    pub partial: Cell<bool>,
    /// When something was last received.
    pub heard: Cell<Instant>,
    /// Whether it is over.
    pub closed: Cell<bool>,
    /// What waits to be sent.
    pub queue: RefCell<Queue>,
    /// Notified when something waits, and at the end.
    pub work: Signal,
    /// Taken from the queue and not yet written.
    pub unwritten: Cell<usize>,
    /// Notified when what was received was taken, and at the end.
    pub room: Signal,
    /// When the other side was asked with the hello what it offers, if it was.
    pub asked: Cell<Option<Instant>>,
    /// Whether either side observes.
    observes: bool,
    made: Instant,
    echoes: bool,
    echo: Cell<Option<u64>>,
    round_trip_us: Cell<Option<u64>>,
    /// The shortest one: what waited is not in it.
    nearest_us: Cell<Option<u64>>,
    compressed_from: Duration,
    socket: Socket,
    written_out: Signal,
    pending: Cell<usize>,
    silent_sweeps: Cell<u32>,
    stalled_sweeps: Cell<u32>,
    quiet_sweeps: Cell<u32>,
    echo_sweeps: Cell<u32>,
}

impl Link {
    /// A link between who said these: where it leads, and what was dialed if this side did.
    pub fn new(
        peer: &Rc<Peer>,
        (own, hello): (&Hello, &Hello),
        (address, dialed): (SocketAddr, Option<Target>),
        limits: &PeerLimits,
        socket: Socket,
    ) -> Rc<Self> {
        let now = Instant::now();
        let both = own.capabilities & hello.capabilities;
        Rc::new(Self {
            peer: Rc::clone(peer),
            address,
            dialed,
            boot: hello.boot,
            attempt: hello.attempt,
            cluster: hello.cluster,
            observed: !hello.votes,
            // Voters are near each other, and what they say is what a write waits for.
            blocks: both & BLOCKS != 0 && !(own.votes && hello.votes),
            observes: !(own.votes && hello.votes),
            partial: Cell::new(false),
            heard: Cell::new(now),
            closed: Cell::new(false),
            queue: RefCell::new(Queue::threaded(both & THREADS != 0)),
            work: Signal::default(),
            unwritten: Cell::new(0),
            room: Signal::default(),
            asked: Cell::new(None),
            made: now,
            echoes: both & ECHOES != 0,
            echo: Cell::new(None),
            round_trip_us: Cell::new(None),
            nearest_us: Cell::new(None),
            compressed_from: limits.compressed_from,
            socket,
            written_out: Signal::default(),
            pending: Cell::new(0),
            silent_sweeps: Cell::new(0),
            stalled_sweeps: Cell::new(0),
            quiet_sweeps: Cell::new(0),
            echo_sweeps: Cell::new(0),
        })
    }

    /// Queues `message`; the writer takes all that a turn of the core queued at once. Answers how
    /// many bytes waited before it, and how many do with it; or that it is too long for any link.
    pub fn queue(&self, message: &Message) -> Result<(usize, usize), FrameError> {
        let before = self.queued_bytes();
        self.queue.borrow_mut().push(message)?;
        self.work.notify();
        Ok((before, self.queued_bytes()))
    }

    fn queue_urgent(&self, frame: &[u8]) {
        self.queue.borrow_mut().push_urgent(frame);
        self.work.notify();
    }

    /// The upstream through which it was found.
    pub fn upstream(&self) -> Option<&Rc<Upstream>> {
        match &self.dialed {
            Some(Target::Upstream(upstream)) => Some(upstream),
            Some(Target::Server(_)) | None => None,
        }
    }

    /// Bytes that wait to be sent.
    pub fn queued_bytes(&self) -> usize {
        self.queue.borrow().bytes() + self.unwritten.get()
    }

    /// What was received was taken: the reader may go on.
    pub fn taken(&self) {
        if self.pending.replace(0) > 0 {
            self.room.notify();
        }
    }

    /// This much was received that is to be taken. Whether it is the first since all was.
    pub fn add_pending(&self, bytes: usize) -> bool {
        self.pending.replace(self.pending.get() + bytes) == 0
    }

    /// Whether more than may wait was received and not taken.
    pub fn is_full(&self, hub: &Hub) -> bool {
        self.pending.get() > hub.limits.received_bytes_max
    }

    /// How long it has been there.
    pub fn age(&self) -> Duration {
        self.made.elapsed()
    }

    /// How long a word to the other side and its answer take, as measured lately.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip_us.get().map(Duration::from_micros)
    }

    /// The same, of the fastest word that was measured: what waited to be sent is not in it.
    pub fn nearest(&self) -> Option<Duration> {
        self.nearest_us.get().map(Duration::from_micros)
    }

    /// Whether what is sent over it is compressed where that pays.
    pub fn compresses(&self) -> bool {
        self.blocks && self.compressed_from <= self.nearest().unwrap_or_default()
    }

    /// The other side asks for an echo.
    pub fn answer_echo(&self, moment: u64) {
        self.queue_urgent(&frame::echo(false, moment));
    }

    /// The other side answers an echo. One that was not asked for says nothing.
    pub fn echoed(&self, moment: u64) {
        if self.echo.get() != Some(moment) {
            return;
        }
        self.echo.set(None);
        let new = (self.age().as_micros() as u64).saturating_sub(moment);
        self.nearest_us.set(Some(self.nearest_us.get().map_or(new, |old| old.min(new))));
        let smooth = self
            .round_trip_us
            .get()
            .map_or(new, |old| (old * (ROUND_TRIP_SHARE - 1) + new) / ROUND_TRIP_SHARE);
        self.round_trip_us.set(Some(smooth));
    }

    /// Asks for an echo, unless one is awaited.
    fn ask_echo(&self) {
        if self.echoes && self.echo.get().is_none() {
            let moment = self.age().as_micros() as u64;
            self.echo.set(Some(moment));
            self.queue_urgent(&frame::echo(true, moment));
        }
    }

    /// Something arrived.
    pub fn hears(&self) {
        self.heard.set(Instant::now());
        self.silent_sweeps.set(0);
    }

    /// Something was written.
    pub fn speaks(&self) {
        self.stalled_sweeps.set(0);
        self.quiet_sweeps.set(0);
    }

    /// Ends both tasks.
    pub fn close(&self) {
        self.closed.set(true);
        self.socket.hang_up();
        self.work.notify();
        self.room.notify();
    }

    /// One step of time, which is counted here and not read from a clock: a process that was
    /// stopped for a while has not been waiting for its peer. Answers why the link must be cut.
    pub fn sweep(&self, hub: &Hub) -> Option<String> {
        let limits = &hub.limits;
        // Who dials an upstream finds another way, or this one again, sooner than TCP does.
        let silence = match self.dialed.is_some() && self.observes {
            true => limits.upstream_silence,
            false => limits.silence,
        };
        if !self.is_full(hub) && step(&self.silent_sweeps) > sweeps(silence) {
            return Some(format!("silent for {} ms", silence.as_millis()));
        }
        if self.unwritten.get() == 0 {
            self.stalled_sweeps.set(0);
        } else if step(&self.stalled_sweeps) > sweeps(limits.stall) {
            let (waiting, stall) = (self.queued_bytes(), limits.stall.as_millis());
            return Some(format!("too slow: it took nothing of {waiting} bytes for {stall} ms"));
        }
        if self.partial.take() && self.observes {
            hub.tell(PeerEvent::Arriving(self.peer.id));
        }
        if step(&self.echo_sweeps) >= sweeps(ECHO_EVERY) {
            self.echo_sweeps.set(0);
            self.ask_echo();
        }
        if step(&self.quiet_sweeps) >= sweeps(HEARTBEAT_EVERY) && self.queued_bytes() == 0 {
            self.queue_urgent(&HEARTBEAT);
        }
        None
    }
}

fn step(count: &Cell<u32>) -> u32 {
    count.set(count.get().saturating_add(1));
    count.get()
}

/// Serves a link to its end. `first` is written before anything else, as it is; `input` is what
/// arrived behind the handshake. The link is installed.
pub async fn run(
    hub: &Rc<Hub>,
    link: &Rc<Link>,
    (mut read, write): (Incoming, Outgoing),
    first: Vec<u8>,
    input: Vec<u8>,
) {
    link.ask_echo();
    let (writing_hub, writing) = (Rc::clone(hub), Rc::clone(link));
    runtime::spawn(async move {
        if let Err(reason) = send::send_all(&writing_hub, &writing, write, first).await {
            writing_hub.cut(&writing, &reason);
        }
        writing.written_out.notify();
    });
    let reason = receive::receive(hub, link, &mut read, input).await;
    hub.cut(link, &reason);
    link.written_out.wait().await;
    // The descriptor lives until its second half, which is `read`, is dropped.
    link.socket.forget();
}
