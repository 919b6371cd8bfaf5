//! The whole server as one machine: events in, outputs out. No socket, file, clock or thread.
//!
//! ```text
//! Submitted ─► prepare ─► record ─► batch ──(shell: log, one durable write)──► Durable
//!     │ sync, resume …                                                           │
//!     ▼                                                                  zab: a quorum has it
//!  replies ◄──────────── answers, events ◄── tree.apply ◄── committed records ◄──┘
//! ```
//!
//! `applied ≤ committed ≤ durable ≤ proposed`. Standalone is an ensemble of one voter: the same
//! steps, and a quorum of itself.

pub mod submission;

mod apply;
mod sessions;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::answer::Answer;
use crate::log::epochs::Epochs;
use crate::prepare::{Options, Prepare, Prepared, WriteRequest};
use crate::record::Chain;
use crate::session::{Expiry, SessionIds, SessionTable};
use crate::tree::{Applied, Events, Tree, Writer};
use crate::wire::ErrorCode;
use crate::zab::{Action, Zab};
use crate::zxid::{SessionId, Zxid};
use submission::{Ask, Item, Origin, Outcome, Reply, Submission};

pub use sessions::ReapOptions;

/// How often a reactor passes on at most that a session was heard from, milliseconds. Expiry waits
/// for twice this beyond a session's time, so that what a reactor still holds back cannot be lost.
pub const TOUCH_INTERVAL_MS: i64 = 100;

/// Records that are proposed and not yet durable, bytes: see
/// [`crate::limits::WRITE_BYTES_OUTSTANDING_MAX`].
const BATCH_BYTES_MAX: usize = 1 << 20;

/// The times an event carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds of a clock that never goes back, for timeouts.
    pub mono_ms: i64,
    /// Milliseconds since 1970, for what clients see.
    pub wall_ms: i64,
}

/// What happens to a server.
#[derive(Debug)]
pub enum Event<'e> {
    /// Recovery is done: look for a leader.
    Start,
    /// The epochs that an output asked for are durable.
    EpochsSaved(Epochs),
    /// Reactors ask.
    Submitted {
        /// What.
        submission: &'e Submission,
        /// When.
        clock: Clock,
    },
    /// Time passes; about every tenth of a second.
    Tick(Clock),
    /// The log has everything up to here on stable storage.
    Durable(Zxid),
    /// How many bytes of records the log can still take without more disk space. Writes beyond are
    /// refused before they take a zxid.
    LogRoom(u64),
}

/// What a step came to. The caller owns it and clears it between steps.
#[derive(Debug, Default)]
pub struct Output {
    /// Outcomes, in the order in which they came about; their zxids never go back.
    pub replies: Vec<Reply>,
    /// Bodies of the replies.
    pub bytes: Vec<u8>,
    /// What was applied: events for watches.
    pub applied: Applied,
    /// Sessions that ended, with the zxid that ended them.
    pub closed: Vec<(Zxid, SessionId)>,
    /// Connections whose session moved to another connection of this server.
    pub displaced: Vec<(Origin, SessionId)>,
    /// Transactions applied by the step.
    pub transactions: u64,
    /// To be made durable at once, then [`Event::EpochsSaved`].
    pub save_epochs: Option<Epochs>,
    /// Lines for the operator, such as a quota that was passed.
    pub warnings: Vec<String>,
}

impl Output {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.replies.clear();
        self.bytes.clear();
        self.applied.events.clear();
        self.applied.stats.clear();
        self.closed.clear();
        self.displaced.clear();
        self.transactions = 0;
        self.save_epochs = None;
        self.warnings.clear();
    }

    /// What watches may wait for.
    pub fn events(&self) -> &Events {
        &self.applied.events
    }

    /// Whether anybody needs to hear of it.
    pub fn is_empty(&self) -> bool {
        self.replies.is_empty()
            && self.closed.is_empty()
            && self.displaced.is_empty()
            && self.transactions == 0
    }
}

/// A run of proposals: what the log writes at once and what is applied from.
#[derive(Debug)]
pub struct Batch {
    /// Whole records, one behind the other.
    pub records: Vec<u8>,
    /// The first record's zxid.
    pub first: Zxid,
    /// The last record's zxid.
    pub last: Zxid,
    /// Seeds the checksum of the record behind the last.
    pub chain: Chain,
}

/// A proposal whose outcome somebody waits for.
#[derive(Debug)]
struct Outstanding {
    zxid: Zxid,
    origin: Option<Origin>,
    answer: Answer,
}

/// What is answered without a proposal of its own.
#[derive(Debug)]
enum Turn {
    /// These bytes.
    Echo(Box<[u8]>),
    /// The session's ephemeral nodes with this prefix.
    Ephemerals(SessionId, Box<[u8]>),
    /// Nothing but this.
    Fail(ErrorCode),
}

/// A batch that was handed to the log, and how far it is applied.
#[derive(Debug)]
struct Unapplied {
    batch: Batch,
    offset: usize,
}

/// What a node is told once.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// What `prepare` needs to know.
    pub prepare: Options,
    /// Session expiry works in steps of this many milliseconds.
    pub tick_ms: i32,
    /// Seeds tables whose keys clients choose.
    pub hash_seed: u64,
    /// How containers and nodes with a time to live are reaped.
    pub reap: ReapOptions,
}

/// What recovery found.
pub struct Recovered {
    /// The tree at `applied`.
    pub writer: Writer,
    /// The same, for readers.
    pub tree: Arc<Tree>,
    /// The sessions at `applied`.
    pub sessions: SessionTable,
    /// Seeds the next record's checksum.
    pub chain: Chain,
}

/// One server.
pub struct Node {
    options: NodeOptions,
    zab: Zab,
    writer: Writer,
    tree: Arc<Tree>,
    sessions: SessionTable,
    ids: SessionIds,
    expiry: Expiry,
    attached: hashbrown::HashMap<SessionId, Origin, crate::hash::Seeded>,
    prepare: Prepare,
    chain: Chain,
    applied: Zxid,
    applied_chain: Chain,
    /// Proposals that the log has not been given yet.
    growing: Option<Batch>,
    unapplied: VecDeque<Unapplied>,
    outstanding: VecDeque<Outstanding>,
    /// What is answered behind a proposal, in the order of those.
    turns: VecDeque<(Zxid, Origin, Turn)>,
    /// Asks that came while no proposal could be made: between two epochs.
    deferred: Vec<(Item, Vec<u8>)>,
    log_room: u64,
    clock: Clock,
    reaped_ms: i64,
    digests: VecDeque<(Zxid, u64)>,
}

impl Node {
    /// A server that recovered this and has not begun to look for a leader.
    pub fn new(
        options: NodeOptions,
        zab: Zab,
        ids: SessionIds,
        recovered: Recovered,
        clock: Clock,
    ) -> Self {
        let Recovered { writer, tree, sessions, chain } = recovered;
        let applied = tree.applied();
        let (prepare_options, hash_seed) = (options.prepare, options.hash_seed);
        let mut expiry = Expiry::new(options.tick_ms);
        // Nobody knows when these were last heard from: each gets its full time again.
        for (id, session) in sessions.iter() {
            expiry.add(id, session.timeout_ms, clock.mono_ms);
        }
        Self {
            options,
            zab,
            writer,
            tree,
            sessions,
            ids,
            expiry,
            attached: hashbrown::HashMap::with_hasher(crate::hash::Seeded(hash_seed)),
            prepare: Prepare::new(prepare_options, hash_seed),
            chain,
            applied,
            applied_chain: chain,
            growing: None,
            unapplied: VecDeque::new(),
            outstanding: VecDeque::new(),
            turns: VecDeque::new(),
            deferred: Vec::new(),
            log_room: u64::MAX,
            clock,
            reaped_ms: clock.mono_ms,
            digests: VecDeque::new(),
        }
    }

    /// Acts on `event`; what comes of it is added to `out`.
    pub fn step(&mut self, event: Event<'_>, out: &mut Output) {
        match event {
            Event::Start => {
                let action = self.zab.start();
                act(action, out);
            }
            Event::EpochsSaved(epochs) => {
                self.zab.epochs_saved(epochs);
                self.run_deferred(out);
            }
            Event::Submitted { submission, clock } => {
                self.clock = clock;
                for &(session, timeout_ms) in submission.touched() {
                    self.expiry.touch(session, timeout_ms, clock.mono_ms);
                }
                for (item, body) in submission.items() {
                    self.ask(item, body, out);
                }
            }
            Event::Tick(clock) => {
                self.clock = clock;
                self.expire();
                self.reap();
            }
            Event::Durable(upto) => {
                if let Some(committed) = self.zab.acknowledged(self.zab.me(), upto) {
                    self.apply(committed, out);
                    self.run_deferred(out);
                }
            }
            Event::LogRoom(bytes) => self.log_room = bytes,
        }
    }

    /// The proposals to be made durable next, if there are any. They stay known here until they
    /// are applied.
    pub fn next_batch(&mut self) -> Option<&Batch> {
        let batch = self.growing.take()?;
        self.unapplied.push_back(Unapplied { batch, offset: 0 });
        self.unapplied.back().map(|unapplied| &unapplied.batch)
    }

    /// The log did not take what [`Node::next_batch`] gave last; it is given again later.
    pub fn batch_not_taken(&mut self) {
        assert!(self.growing.is_none(), "nothing is proposed between giving a batch and this");
        self.growing = self.unapplied.pop_back().map(|unapplied| unapplied.batch);
    }

    /// Whether something was handed to the log and is not applied yet.
    pub fn has_unapplied(&self) -> bool {
        !self.unapplied.is_empty()
    }

    /// Bytes of records that are proposed and not wholly applied.
    pub fn unapplied_bytes(&self) -> usize {
        let growing = self.growing.as_ref().map_or(0, |batch| batch.records.len());
        growing + self.unapplied.iter().map(|it| it.batch.records.len()).sum::<usize>()
    }

    /// How many bytes of records [`Node::next_batch`] would give, and the first one's zxid.
    pub fn waiting_batch(&self) -> Option<(usize, Zxid)> {
        self.growing.as_ref().map(|batch| (batch.records.len(), batch.first))
    }

    fn ask(&mut self, item: &Item, body: &[u8], out: &mut Output) {
        if !self.deferred.is_empty() {
            self.deferred.push((item.clone(), body.to_vec())); // in order, also behind those
            return;
        }
        match item.ask {
            Ask::Write(op) => self.write(item, op, body, out),
            // Everything proposed when the request came is applied before the reply: this server
            // leads, so nothing newer can have been committed elsewhere.
            Ask::Sync => self.in_turn(item.origin, Turn::Echo(body.into()), out),
            Ask::Ephemerals => {
                self.in_turn(item.origin, Turn::Ephemerals(item.session, body.into()), out);
            }
            Ask::Open { timeout_ms, password } => self.open(item, timeout_ms, password, out),
            Ask::Resume { timeout_ms } => self.resume(item, timeout_ms, body, out),
            Ask::Left => {
                let held = self.attached.get(&item.session);
                if held.is_some_and(|held| is_same_connection(*held, item.origin)) {
                    self.attached.remove(&item.session);
                }
            }
        }
    }

    fn write(&mut self, item: &Item, op: crate::wire::OpCode, body: &[u8], out: &mut Output) {
        if self.is_full(body.len()) {
            self.in_turn(item.origin, Turn::Fail(ErrorCode::NotReadOnly), out);
            return;
        }
        let zxid = match self.zab.next_proposal() {
            Ok(zxid) => zxid,
            Err(action) => {
                self.deferred.push((item.clone(), body.to_vec()));
                act(action, out);
                return;
            }
        };
        let request = WriteRequest {
            session: item.session,
            cxid: item.cxid,
            op,
            body,
            identities: &item.identities,
        };
        let batch = growing(&mut self.growing, zxid);
        let prepared = self.prepare.prepare(
            &self.writer,
            &self.sessions,
            &request,
            zxid,
            self.clock.wall_ms,
            &mut self.chain,
            &mut batch.records,
        );
        if let Some(warning) = self.prepare.quota_warning() {
            out.warnings.push(warning.to_string());
        }
        match prepared {
            Prepared::Logged(answer) => self.proposed(zxid, Some(item.origin), answer),
            Prepared::Refused(code) => {
                if batch.records.is_empty() {
                    self.growing = None;
                }
                self.in_turn(item.origin, Turn::Fail(code), out);
            }
        }
    }

    /// Answers what takes no zxid behind every proposal that was made before it, so that replies
    /// of one session keep the order of its requests and show the state at their place in it.
    fn in_turn(&mut self, origin: Origin, turn: Turn, out: &mut Output) {
        match self.outstanding.back() {
            Some(last) => self.turns.push_back((last.zxid, origin, turn)),
            None => self.take_turn(origin, &turn, out),
        }
    }

    fn take_turn(&mut self, origin: Origin, turn: &Turn, out: &mut Output) {
        let start = out.bytes.len() as u32;
        let err = match turn {
            Turn::Echo(body) => {
                out.bytes.extend_from_slice(body);
                ErrorCode::Ok
            }
            Turn::Ephemerals(session, prefix) => {
                let all = prefix.trim_ascii().is_empty() || **prefix == *b"/";
                let owned = self.writer.ephemerals(*session);
                let paths: Vec<&[u8]> =
                    owned.filter(|path| all || path.starts_with(prefix)).collect();
                crate::wire::jute::Writer::new(&mut out.bytes).strings(paths.into_iter());
                ErrorCode::Ok
            }
            Turn::Fail(code) => *code,
        };
        let outcome = Outcome::Done { err, start, end: out.bytes.len() as u32 };
        out.replies.push(Reply { origin, zxid: self.applied, outcome });
    }

    fn proposed(&mut self, zxid: Zxid, origin: Option<Origin>, answer: Answer) {
        self.zab.proposed(zxid);
        let batch = self.growing.as_mut().expect("a proposal was appended to it");
        batch.last = zxid;
        batch.chain = self.chain;
        self.outstanding.push_back(Outstanding { zxid, origin, answer });
    }

    /// Whether a write of about `bytes` might not find room in the log. A record is at most four
    /// times its request, and what was proposed before needs its room too.
    fn is_full(&self, bytes: usize) -> bool {
        let waiting = self.growing.as_ref().map_or(0, |batch| batch.records.len());
        (waiting + 4 * bytes + BATCH_BYTES_MAX) as u64 > self.log_room
    }

    fn run_deferred(&mut self, out: &mut Output) {
        for (item, body) in std::mem::take(&mut self.deferred) {
            self.ask(&item, &body, out);
        }
    }

    /// The last transaction in the tree.
    pub fn applied(&self) -> Zxid {
        self.applied
    }

    /// What seeds the checksum of the record behind [`Node::applied`].
    pub fn applied_chain(&self) -> Chain {
        self.applied_chain
    }

    /// The tree, for readers.
    pub fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// The tree's only writer, to look at.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The sessions at [`Node::applied`].
    pub fn sessions(&self) -> &SessionTable {
        &self.sessions
    }

    /// When sessions expire.
    pub fn expiry(&self) -> &Expiry {
        &self.expiry
    }

    /// Whether this server leads and takes writes.
    pub fn is_leading(&self) -> bool {
        self.zab.is_leading()
    }

    /// The digest of the tree after every 128th transaction, the newest last.
    pub fn digests(&self) -> impl ExactSizeIterator<Item = (Zxid, u64)> {
        self.digests.iter().copied()
    }
}

fn act(action: Option<Action>, out: &mut Output) {
    if let Some(Action::SaveEpochs(epochs)) = action {
        assert!(out.save_epochs.is_none(), "one pair of epochs is saved at a time");
        out.save_epochs = Some(epochs);
    }
}

fn growing(batch: &mut Option<Batch>, zxid: Zxid) -> &mut Batch {
    batch.get_or_insert_with(|| Batch {
        records: Vec::with_capacity(16 << 10),
        first: zxid,
        last: zxid,
        chain: Chain::default(),
    })
}

fn is_same_connection(a: Origin, b: Origin) -> bool {
    (a.reactor, a.connection, a.generation) == (b.reactor, b.connection, b.generation)
}
