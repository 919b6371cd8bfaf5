//! One live link: a task that reads, a task that writes, and what waits between them and the core.
//!
//! ```text
//! send ─► queue ─► writer ─► socket ─► reader ─► events ─► take_events
//!          └ bounded: cut                └ bounded: waits until they are taken
//! ```

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::runtime::{self, Signal, Socket};
use farwatch_core::log::format::ClusterId;
use farwatch_core::zab::message::Message;

use super::dial::Target;
use super::frame::{self, Found, Frame, FrameError, HEARTBEAT};
use super::handshake::Hello;
use super::hub::Hub;
use super::peer::Peer;
use super::upstream::Upstream;
use super::wire::{Incoming, Outgoing};
use super::{PeerEvent, SWEEP, sweeps};

/// Bytes asked of the socket at once: many small messages fit, and large ones come in few reads.
const READ_BYTES: usize = 128 << 10;

/// A buffer that grew for one large message is given back when it is larger than this.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// A link with nothing to say says that it lives this often. Twice within the second after which
/// another server of the same number may take its place.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(400);

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
    /// The ensemble that both belonged to when the link was made.
    pub cluster: ClusterId,
    /// When something was last received.
    pub heard: Cell<Instant>,
    made: Instant,
    socket: Socket,
    closed: Cell<bool>,
    queue: RefCell<Vec<u8>>,
    unwritten: Cell<usize>,
    work: Signal,
    written_out: Signal,
    pending: Cell<usize>,
    room: Signal,
    silent_sweeps: Cell<u32>,
    stalled_sweeps: Cell<u32>,
    quiet_sweeps: Cell<u32>,
}

impl Link {
    /// A link whose first bytes are `queue`. Where it leads, and what was dialed if this side did.
    pub fn new(
        peer: &Rc<Peer>,
        hello: &Hello,
        (address, dialed): (SocketAddr, Option<Target>),
        socket: Socket,
        queue: Vec<u8>,
    ) -> Rc<Self> {
        let now = Instant::now();
        Rc::new(Self {
            peer: Rc::clone(peer),
            address,
            dialed,
            boot: hello.boot,
            cluster: hello.cluster,
            heard: Cell::new(now),
            made: now,
            socket,
            closed: Cell::new(false),
            queue: RefCell::new(queue),
            unwritten: Cell::new(0),
            work: Signal::default(),
            written_out: Signal::default(),
            pending: Cell::new(0),
            room: Signal::default(),
            silent_sweeps: Cell::new(0),
            stalled_sweeps: Cell::new(0),
            quiet_sweeps: Cell::new(0),
        })
    }

    /// Queues `message`; the writer takes all that a turn of the core queued at once. Answers how
    /// many bytes then wait.
    pub fn queue(&self, message: &Message) -> usize {
        frame::append(message, &mut self.queue.borrow_mut());
        self.work.notify();
        self.queued_bytes()
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
        self.queue.borrow().len() + self.unwritten.get()
    }

    /// What was received was taken: the reader may go on.
    pub fn taken(&self) {
        if self.pending.replace(0) > 0 {
            self.room.notify();
        }
    }

    /// How long it has been there.
    pub fn age(&self) -> Duration {
        self.made.elapsed()
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
        if !self.is_full(hub) && step(&self.silent_sweeps) > sweeps(limits.silence) {
            return Some(format!("silent for {} ms", limits.silence.as_millis()));
        }
        if self.unwritten.get() == 0 {
            self.stalled_sweeps.set(0);
        } else if step(&self.stalled_sweeps) > sweeps(limits.stall) {
            let (waiting, stall) = (self.queued_bytes(), limits.stall.as_millis());
            return Some(format!("too slow: it took nothing of {waiting} bytes for {stall} ms"));
        }
        if step(&self.quiet_sweeps) >= sweeps(HEARTBEAT_EVERY) && self.queued_bytes() == 0 {
            self.queue.borrow_mut().extend_from_slice(&HEARTBEAT);
            self.work.notify();
        }
        None
    }

    fn is_full(&self, hub: &Hub) -> bool {
        self.pending.get() > hub.limits.received_bytes_max
    }
}

fn step(count: &Cell<u32>) -> u32 {
    count.set(count.get().saturating_add(1));
    count.get()
}

/// Serves a link to its end. `input` is what arrived behind the handshake. The link is installed.
pub async fn run(
    hub: &Rc<Hub>,
    link: &Rc<Link>,
    mut read: Incoming,
    write: Outgoing,
    input: Vec<u8>,
) {
    let (writing_hub, writing) = (Rc::clone(hub), Rc::clone(link));
    runtime::spawn(async move {
        if let Err(reason) = send_all(&writing, write).await {
            writing_hub.cut(&writing, &reason);
        }
        writing.written_out.notify();
    });
    let reason = receive(hub, link, &mut read, input).await;
    hub.cut(link, &reason);
    link.written_out.wait().await;
    // The descriptor lives until its second half, which is `read`, is dropped.
    link.socket.forget();
}

async fn send_all(link: &Link, mut write: Outgoing) -> Result<(), String> {
    let mut spare = Vec::new();
    while !link.closed.get() {
        if link.queue.borrow().is_empty() {
            link.work.wait().await;
            continue;
        }
        let mut batch = link.queue.replace(spare);
        let mut from = 0;
        while from < batch.len() && !link.closed.get() {
            link.unwritten.set(batch.len() - from);
            let result;
            (result, batch) = write.write_some(batch, from).await;
            match result {
                Ok(0) => return Err("the connection takes nothing any more".to_owned()),
                Ok(count) => {
                    from += count;
                    link.peer.bytes_out.set(link.peer.bytes_out.get() + count as u64);
                    link.stalled_sweeps.set(0);
                    link.quiet_sweeps.set(0);
                }
                Err(error) => return Err(format!("sending failed: {error}")),
            }
        }
        link.unwritten.set(0);
        batch.clear();
        spare = if batch.capacity() > KEPT_BYTES_MAX { Vec::new() } else { batch };
    }
    Ok(())
}

/// Reads until the link is over, and says why it is.
async fn receive(hub: &Hub, link: &Rc<Link>, read: &mut Incoming, mut input: Vec<u8>) -> String {
    loop {
        let needed = match take_frames(hub, link, &mut input) {
            Ok(needed) => needed,
            Err(error) => return error.to_string(),
        };
        while link.is_full(hub) && !link.closed.get() {
            link.room.wait().await;
        }
        if link.closed.get() {
            return "closed here".to_owned();
        }
        if input.is_empty() && input.capacity() > KEPT_BYTES_MAX {
            input = Vec::new();
        }
        let missing = needed - input.len(); // more than is there, or it would have been taken
        if input.capacity() - input.len() < missing {
            input.reserve_exact(missing.max(READ_BYTES));
        }
        let result;
        (result, input) = read.read(input).await;
        match result {
            Ok(0) => return "the peer closed the connection".to_owned(),
            Ok(count) => {
                link.peer.bytes_in.set(link.peer.bytes_in.get() + count as u64);
                link.heard.set(Instant::now());
                link.silent_sweeps.set(0);
            }
            Err(error) => return format!("receiving failed: {error}"),
        }
    }
}

/// Hands over every whole frame of `input`, and says how many bytes the rest needs to become one.
fn take_frames(hub: &Hub, link: &Rc<Link>, input: &mut Vec<u8>) -> Result<usize, FrameError> {
    let mut used = 0;
    let needed = loop {
        if link.closed.get() {
            break 0; // what is behind the end of a link is not its peer's word any more
        }
        match frame::first(&input[used..])? {
            Found::Needs(needed) => break needed,
            Found::Frame(Frame::Heartbeat, length) => used += length,
            Found::Frame(Frame::Message(message), length) => {
                used += length;
                if link.pending.replace(link.pending.get() + length) == 0 {
                    hub.has_received(link);
                }
                hub.tell(PeerEvent::Received { from: link.peer.id, message });
            }
        }
    };
    input.drain(..used);
    Ok(needed)
}
