//! One thread's share of the clients: their connections, queues and watches.
//!
//! ```text
//! bytes ─► frames ─┬─ read, nothing before it ─► view of the tree ─► reply ─┐
//!                  ├─ read behind a write ─────► queue ─────────────────────┤─► one write per turn
//!                  ├─ what may not begin yet ──► held ─► as if it came now  │
//!                  └─ write ─► Submission ─► core ─► Delivery ─► events, replies ┘
//! ```
//!
//! Three orders hold on each connection, because a reactor moves through deliveries one zxid at a
//! time and reads only at the zxid where it stands: an event comes before any reply that shows its
//! change; the zxid of replies never goes back; a write's reply comes after all its events.
//!
//! Nothing here awaits: tasks in [`crate::connection`] borrow a reactor, act, and let it go.

mod deliver;
mod handshake;
mod held;
mod lists;
mod reads;
mod report;
mod requests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use farwatch_core::acl::Identity;
use farwatch_core::auth;
use farwatch_core::hash::Seeded;
use farwatch_core::node::submission::{Ask, Origin, Submission};
use farwatch_core::tree::Reader;
use farwatch_core::watch::WatchTable;
use farwatch_core::wire::request::OpCode;
use farwatch_core::zxid::{SessionId, Zxid};
use hashbrown::HashMap;

use self::held::Held;
use self::lists::Lists;
use crate::four_letter::Word;
use crate::four_letter::counters::{Counter, ThreadCounters};
use crate::inbox::{ToCore, ToReactor};
use crate::port::Port;
use crate::runtime::{Signal, Socket, WriteHalf};
use crate::server::Shared;
use crate::voice::Voice;

pub use deliver::Delivery;

/// Replies and events that may wait for one slow client, bytes; beyond it the client is not read.
const OUT_BYTES_PAUSE: usize = 1 << 20;

/// Replies that a connection's own task sends before it reads on, bytes.
const OUT_BYTES_SHORT: usize = 64 << 10;

/// Events that may wait for one slow client, bytes. They cannot be held back and memory is for all, so
/// a client that has not read so many of them is cut off; it reconnects and catches up.
const OUT_BYTES_MAX: usize = 16 << 20;

/// The same for a client to which nothing is being written: it had no chance yet to read of what comes
/// to it at one moment. One delivery may be of 16 MiB of records, whose events take more, and the end
/// of a session is short and may have a hundred thousand of them.
const OUT_BYTES_AT_ONCE_MAX: usize = 64 << 20;

/// Requests of one connection that may wait for their turn; beyond it the client is not read.
const PENDING_MAX: usize = 8 * 1024;

/// Bytes of queued reads of one connection and of the replies that they are expected to get; beyond
/// it the client is not read.
const PENDING_BYTES_MAX: usize = 4 << 20;

/// How often a session's liveness is passed on at most, milliseconds. Expiry waits this much longer
/// (see `farwatch_core::node`), so that no touch comes too late.
const TOUCH_INTERVAL_MS: u64 = farwatch_core::node::TOUCH_INTERVAL_MS as u64;

/// A socket that is silent for so much longer than its session's timeout, milliseconds, is not its
/// client's any more. Longer than the end of a session takes: what the leader waits beyond the
/// timeout, a commit by a busy quorum, or an election.
const SILENT_BEYOND_MS: u64 = 10_000;

/// A connection within its reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionKey {
    /// Where it is.
    pub index: u32,
    /// Tells it from an earlier one in the same place.
    pub generation: u32,
}

/// What a connection's task does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read more bytes.
    Read,
    /// Wait for the connection's signal, then look at the same bytes again.
    Wait,
    /// Answer this word and close.
    Word(Word),
    /// Send what there is, then end.
    Close,
}

/// How far the bytes of a connection were understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that need not be kept.
    pub consumed: usize,
    /// Bytes that the next frame needs in all, when it is not whole yet.
    pub wanted: usize,
    /// What comes next.
    pub next: Next,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was understood yet.
    Fresh,
    /// The handshake is with the core.
    Opening,
    /// Requests are served.
    Serving,
    /// Nothing more is read; what is queued is sent.
    Closing,
}

/// A reply that cannot be sent yet. `charge` is what it counts in `Connection::pending_bytes`.
enum Pending {
    /// The core has it.
    Waiting { sequence: u32, xid: i32, op: OpCode, since_us: u64, charge: usize },
    /// It is encoded and waits for its turn; then the connection ends.
    Last { frame: Vec<u8> },
    /// A read behind a write of its own session, with what the connection was when it was read.
    Read { xid: i32, op: OpCode, body: Box<[u8]>, identities: Arc<[Identity]>, charge: usize },
}

/// What connections are closed for that any client can bring about, as often as it likes.
#[derive(Clone, Copy, Debug)]
enum Complaint {
    FrameLength,
    Header,
    Handshake,
    Identities,
}

/// What `cons` shows of a connection.
#[derive(Clone, Debug, Default)]
struct ConnectionStats {
    received: u64,
    sent: u64,
    established_unix_ms: i64,
    last_op: Option<OpCode>,
    last_cxid: Option<i32>,
    last_zxid: Zxid,
    last_response_us: u64,
    last_latency_us: u64,
    latency_us_min: u64,
    latency_us_max: u64,
    latency_us_sum: u64,
}

struct Connection {
    generation: u32,
    peer: SocketAddr,
    phase: Phase,
    session: SessionId,
    timeout_ms: i32,
    /// Whether the client sent the read-only byte, and so expects one back.
    read_only_byte: Option<bool>,
    identities: Arc<[Identity]>,
    next_sequence: u32,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// Syncs that the core has not answered.
    syncs: u32,
    /// Requests behind all that is pending, about which nothing was done yet.
    held: VecDeque<Held>,
    held_bytes: usize,
    /// It stands in [`Reactor::waiting`].
    is_waiting: bool,
    /// It stands in [`Reactor::unfinished`].
    is_unfinished: bool,
    out: Vec<u8>,
    /// Away while a task writes.
    writer: Option<WriteHalf>,
    socket: Socket,
    /// Pokes the connection's task when it waits.
    signal: Signal,
    /// A refused request waits for its turn to be answered; nothing behind it is taken.
    draining: bool,
    heard_ms: u64,
    touched_ms: u64,
    closing_since_ms: u64,
    stats: ConnectionStats,
}

/// One thread's connections, and its view of the tree.
pub struct Reactor {
    id: u16,
    shared: Arc<Shared>,
    reader: Reader,
    /// Everything up to here was applied and its events are in the connections' buffers. Reads are
    /// answered at exactly this place in the history.
    delivered: Zxid,
    watches: WatchTable,
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<u32>,
    generation: u32,
    sessions: HashMap<SessionId, ConnectionKey, Seeded>,
    submission: Submission,
    core: Arc<Port<ToCore>>,
    /// Where deliveries come from when the core has another thread.
    inbox: Option<Arc<Port<ToReactor>>>,
    /// Other messages that came between deliveries that a read needed.
    set_aside: VecDeque<ToReactor>,
    /// Notified when the submission has something in it.
    submitted: Signal,
    /// Connections that have something to send and no task that sends.
    dirty: Vec<ConnectionKey>,
    /// Connections that were held back and look again after the next delivery.
    waiting: Vec<ConnectionKey>,
    /// Connections that go on with what they hold in another turn.
    unfinished: VecDeque<ConnectionKey>,
    /// Somebody calls [`Reactor::resume`].
    is_resuming: bool,
    /// Nodes that were walked over since it was called last.
    walked: u64,
    scratch: Vec<u8>,
    lists: Lists,
    /// Empty buffers of some size, for the next connection that has something to say.
    spare_out: Vec<Vec<u8>>,
    /// Reads answered in this turn.
    reads: u64,
    /// What is said of each [`Complaint`].
    voices: [Voice; 4],
    started: Instant,
    now_us: u64,
}

impl Reactor {
    /// A reactor without connections. `submitted` is poked when there is something for the core.
    ///
    /// The reader is made before the first delivery is: one that joined later would stand ahead of
    /// deliveries which still wait for it, and tell clients of changes that they have seen.
    pub fn new(
        id: u16,
        shared: Arc<Shared>,
        reader: Reader,
        core: Arc<Port<ToCore>>,
        submitted: Signal,
    ) -> Self {
        let delivered = reader.zxid();
        let seed = Seeded(shared.hash_seed);
        let watches = WatchTable::new(shared.hash_seed);
        let started = shared.started;
        Self {
            id,
            shared,
            reader,
            delivered,
            watches,
            connections: Vec::new(),
            free: Vec::new(),
            generation: 0,
            sessions: HashMap::with_hasher(seed),
            submission: Submission::default(),
            core,
            inbox: None,
            set_aside: VecDeque::new(),
            submitted,
            dirty: Vec::new(),
            waiting: Vec::new(),
            unfinished: VecDeque::new(),
            is_resuming: false,
            walked: 0,
            scratch: Vec::new(),
            lists: Lists::default(),
            spare_out: Vec::with_capacity(SPARE_OUT_MAX),
            reads: 0,
            voices: Default::default(),
            started,
            now_us: 0,
        }
    }

    /// Takes in a connection; its task calls [`Reactor::on_bytes`] from now on.
    pub fn open(&mut self, peer: SocketAddr, writer: WriteHalf, socket: Socket) -> ConnectionKey {
        self.look_at_clock();
        self.generation = self.generation.wrapping_add(1);
        let identities = Arc::from([auth::ip_identity(peer.ip())]);
        let connection = Box::new(Connection {
            generation: self.generation,
            peer,
            phase: Phase::Fresh,
            session: SessionId::NONE,
            timeout_ms: 0,
            read_only_byte: None,
            identities,
            next_sequence: 0,
            pending: VecDeque::new(),
            pending_bytes: 0,
            syncs: 0,
            held: VecDeque::new(),
            held_bytes: 0,
            is_waiting: false,
            is_unfinished: false,
            out: Vec::new(),
            writer: Some(writer),
            socket,
            signal: Signal::default(),
            draining: false,
            heard_ms: self.now_ms(),
            touched_ms: 0,
            closing_since_ms: 0,
            stats: ConnectionStats {
                established_unix_ms: self.shared.wall_ms(),
                ..ConnectionStats::default()
            },
        });
        let index = match self.free.pop() {
            Some(index) => {
                self.connections[index as usize] = Some(connection);
                index
            }
            None => {
                self.connections.push(Some(connection));
                (self.connections.len() - 1) as u32
            }
        };
        ConnectionKey { index, generation: self.generation }
    }

    /// Lets a connection go; its socket is closed when its task drops the last half. The session
    /// lives on.
    pub fn closed(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else { return };
        let (session, serving) = (connection.session, connection.session != SessionId::NONE);
        if connection.writer.is_none() {
            connection.socket.hang_up(); // a write to a peer that reads nothing must end as well
        }
        connection.socket.forget();
        let owns = self.sessions.get(&session) == Some(&key);
        if serving && owns {
            self.sessions.remove(&session);
            self.leave(key, session);
        }
        self.watches.drop_connection(key.index);
        self.connections[key.index as usize] = None;
        self.free.push(key.index);
    }

    /// What all threads share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The signal on which the connection's task waits.
    pub fn signal(&mut self, key: ConnectionKey) -> Option<Signal> {
        self.connection(key).map(|connection| connection.signal.clone())
    }

    /// What is to be written, with the half to write it to; `None` when nothing is to be written or
    /// another task writes. Give both back with [`Reactor::wrote`].
    pub fn take_output(&mut self, key: ConnectionKey) -> Option<(WriteHalf, Vec<u8>)> {
        let connection = self.connection(key)?;
        if connection.out.is_empty() {
            return None;
        }
        let writer = connection.writer.take()?;
        Some((writer, std::mem::take(&mut connection.out)))
    }

    /// Whether so much is to be sent that a slow way takes long for it. Then it is for [`Reactor::take_dirty`], and
    /// its connection is read meanwhile: its client's pings are behind what it asked.
    pub fn has_long_output(&mut self, key: ConnectionKey) -> bool {
        let is_long = self
            .connection(key)
            .is_some_and(|it| OUT_BYTES_SHORT < it.out.len() && it.writer.is_some());
        if is_long {
            self.mark_dirty(key);
        }
        is_long
    }

    /// The write of [`Reactor::take_output`] ended.
    pub fn wrote(&mut self, key: ConnectionKey, writer: WriteHalf, mut buffer: Vec<u8>, ok: bool) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connection(key) else { return };
        connection.writer = Some(writer);
        if !ok {
            connection.out.clear();
            connection.cut(now_ms);
            return;
        }
        buffer.clear();
        if connection.out.is_empty() && buffer.capacity() <= OUT_BUFFER_KEPT {
            connection.out = buffer;
        } else if buffer.capacity() <= SPARE_OUT_BYTES && self.spare_out.len() < SPARE_OUT_MAX {
            self.spare_out.push(buffer);
        }
        let Some(connection) = self.connection(key) else { return };
        if connection.phase == Phase::Closing
            && connection.out.is_empty()
            && connection.pending.is_empty()
        {
            connection.socket.finish();
            connection.closing_since_ms = now_ms;
        }
        connection.signal.notify();
        if !connection.held.is_empty() {
            self.mark_unfinished(key); // it may have waited for room
        }
    }

    /// Connections for which somebody should call [`Reactor::take_output`].
    pub fn take_dirty(&mut self) -> Vec<ConnectionKey> {
        std::mem::take(&mut self.dirty)
    }

    /// Everything asked since the last call.
    pub fn swap_submission(&mut self, empty: &mut Submission) {
        assert!(empty.is_empty(), "the submission to swap in is used up");
        std::mem::swap(&mut self.submission, empty);
        self.shared.in_transit_bytes.fetch_add(empty.body_bytes(), Ordering::Relaxed);
    }

    /// Ends connections that have been silent for too long. Call about once a second.
    pub fn sweep(&mut self) {
        self.look_at_clock();
        let now_ms = self.now_ms();
        let handshake_ms = u64::from(self.shared.config.sessionless_timeout_ms);
        for connection in self.connections.iter_mut().flatten() {
            let silent_ms = now_ms.saturating_sub(connection.heard_ms);
            let over = match connection.phase {
                Phase::Fresh => silent_ms > handshake_ms,
                // Who has said hello is waited for as a session of its timeout is, as in ZooKeeper.
                Phase::Opening => silent_ms > handshake_ms.max(connection.timeout_ms.max(0) as u64),
                // The leader ends the session first, and hangs up with that: a client that was hung
                // up on before would find its session alive.
                Phase::Serving => {
                    silent_ms > connection.timeout_ms.max(0) as u64 + SILENT_BEYOND_MS
                }
                Phase::Closing => {
                    let is_sent = connection.out.is_empty() && connection.writer.is_some();
                    // Who still reads what it was told is given as long as one that is served.
                    let served_ms = connection.timeout_ms.max(0) as u64 + SILENT_BEYOND_MS;
                    let patience = if is_sent { LINGER_MS } else { handshake_ms.max(served_ms) };
                    now_ms.saturating_sub(connection.closing_since_ms) > patience
                }
            };
            if over {
                if connection.phase == Phase::Fresh {
                    self.shared.counters.thread(self.id.into()).add(Counter::SessionlessExpired, 1);
                }
                connection.cut(now_ms);
            }
        }
    }

    /// Ends every connection once what is queued for it is sent; for a clean stop.
    pub fn finish_all(&mut self) {
        let keys: Vec<ConnectionKey> = (0..)
            .zip(&self.connections)
            .filter_map(|(index, connection)| {
                let generation = connection.as_ref()?.generation;
                Some(ConnectionKey { index, generation })
            })
            .collect();
        keys.into_iter().for_each(|key| self.end(key));
    }

    /// Whether nothing waits to be sent.
    pub fn is_drained(&self) -> bool {
        self.connections.iter().flatten().all(|it| it.out.is_empty() && it.writer.is_some())
    }

    /// Names the inbox of a reactor on a thread of its own, before it serves.
    pub fn set_inbox(&mut self, inbox: Arc<Port<ToReactor>>) {
        self.inbox = Some(inbox);
    }

    /// This reactor's number.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Sends raw bytes and ends the connection: the answer to a four-letter word.
    pub fn say(&mut self, key: ConnectionKey, text: &[u8]) {
        if let Some(connection) = self.connection(key) {
            connection.out.extend_from_slice(text);
            self.end(key);
        }
    }

    /// Where questions about the whole server go.
    pub fn core(&self) -> &Arc<Port<ToCore>> {
        &self.core
    }

    fn leave(&mut self, key: ConnectionKey, session: SessionId) {
        let origin = Origin {
            reactor: self.id,
            connection: key.index,
            generation: key.generation,
            sequence: 0,
        };
        self.submission.push(origin, session, 0, Ask::Left, &[], &self.shared.no_identities);
        self.submitted.notify();
    }

    fn connection(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(key.index as usize)?.as_mut()?;
        (connection.generation == key.generation).then_some(connection)
    }

    /// Lends a buffer to a connection that has none, for the turn that begins.
    fn lend_buffer(&mut self, key: ConnectionKey) {
        let needs = self.connection(key).is_some_and(|it| it.out.capacity() == 0);
        if needs && let Some(spare) = self.spare_out.pop() {
            self.connection(key).expect("looked at just now").out = spare;
        }
    }

    /// Takes a lent buffer back from a connection that had nothing to say: idle ones are many.
    fn take_buffer_back(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else { return };
        if connection.out.is_empty() && connection.out.capacity() > OUT_BUFFER_KEPT {
            let spare = std::mem::take(&mut connection.out);
            if self.spare_out.len() < SPARE_OUT_MAX {
                self.spare_out.push(spare);
            }
        }
    }

    fn counters(&self) -> &ThreadCounters {
        self.shared.counters.thread(self.id.into())
    }

    /// Whether this is to be said in the log, with how often it was not said before: a line for each would
    /// fill a disk for who knocks in a loop.
    fn complain(&mut self, about: Complaint) -> Option<u64> {
        self.voices[about as usize].failure(Instant::now())
    }

    fn mark_dirty(&mut self, key: ConnectionKey) {
        // A connection may be listed twice in a turn; the second finds nothing to write.
        self.dirty.push(key);
    }

    fn look_at_clock(&mut self) {
        self.now_us = self.started.elapsed().as_micros() as u64;
    }

    fn now_ms(&self) -> u64 {
        self.now_us / 1000
    }
}

/// Empty buffers that a reactor keeps, and their largest size: the connections of one turn take them
/// in turn, and what the largest replies needed is given back.
const SPARE_OUT_MAX: usize = 16;
const SPARE_OUT_BYTES: usize = 256 << 10;

/// A connection's empty buffer is kept up to this many bytes; idle connections are many.
const OUT_BUFFER_KEPT: usize = 512;

/// How long a connection that was told everything may take to close, milliseconds.
const LINGER_MS: u64 = 1000;

impl Connection {
    /// Ends the connection at once. Its task may be waiting for an answer or for room: it must look,
    /// read the end of the stream, and let go, whatever is queued.
    fn cut(&mut self, now_ms: u64) {
        if self.phase != Phase::Closing {
            self.phase = Phase::Closing;
            self.closing_since_ms = now_ms;
        }
        self.forget_queue();
        self.draining = false;
        self.socket.hang_up();
        self.signal.notify();
    }

    fn has_room(&self) -> bool {
        self.pending.len() + self.held.len() < PENDING_MAX
            && self.pending_bytes + self.held_bytes < PENDING_BYTES_MAX
    }

    fn forget_queue(&mut self) {
        self.pending.clear();
        self.pending_bytes = 0;
        self.held.clear();
        self.held_bytes = 0;
    }

    fn replied(&mut self, zxid: Zxid, now_us: u64, took_us: u64) {
        let stats = &mut self.stats;
        let is_first = stats.last_response_us == 0; // the handshake's answer has no latency
        stats.sent += 1;
        stats.last_zxid = zxid;
        stats.last_response_us = now_us;
        stats.last_latency_us = took_us;
        stats.latency_us_min = if is_first { took_us } else { stats.latency_us_min.min(took_us) };
        stats.latency_us_max = stats.latency_us_max.max(took_us);
        stats.latency_us_sum += took_us;
    }
}

#[cfg(test)]
mod tests;
