//! The whole server as one machine: events in, outputs out. No socket, file, clock or thread.
//!
//! ```text
//! Submitted ─► asks ─► (leads) prepare ─► record ─► run ──(shell: log, peers)──► Durable, acks
//!                │ (follows) Request ─► leader's node ─► Verdict                      │
//!                ▼                                                            zab: a quorum has it
//!  replies ◄──────────── answers, events ◄── tree.apply ◄── committed records ◄───────┘
//! ```
//!
//! `applied ≤ committed ≤ durable on a quorum ≤ proposed`. Standalone is an ensemble of one voter:
//! the same steps, and a quorum of itself. `decide` is what a leader makes of asks, its own
//! connections' and others'; `route` is how asks find a leader; `asks` is who waits.

pub mod submission;

mod age;
mod apply;
mod asks;
mod decide;
mod exchange;
mod locals;
mod partition;
mod room;
mod route;
mod sessions;
mod talk;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::log::format::padded_bytes;
use crate::prepare::{Changes, Options, Prepare};
use crate::record::Chain;
use crate::session::{Expiry, LocalSessions, SessionIds, SessionTable};
use crate::tree::{Applied, Events, Tree, Writer};
use crate::zab::run::{Position, Run};
use crate::zab::{self, Action, Zab};
use crate::zxid::{ServerId, SessionId, Zxid};
use asks::Asks;
use exchange::{Asked, Hold, Request, Response, Verdict};
use locals::Locals;
use locals::upgrade::Upgrades;
use route::{Route, SWEEP_INTERVAL_MS};
use submission::{Origin, Outcome, Reply, Submission};

pub use exchange::{sessions_held_by, sessions_told_of};
pub use partition::{OnPartition, Serving};
pub use sessions::ReapOptions;

/// How often a reactor passes on at most that a session was heard from, milliseconds. Expiry waits
/// for twice this beyond a session's time, so that what a reactor still holds back cannot be lost.
pub const TOUCH_INTERVAL_MS: i64 = 100;

/// Room that writes leave in the log of a full disk, bytes: sessions can then still begin, to read,
/// and end. Each takes two blocks where nothing else is written.
const SESSION_RESERVE_BYTES: usize = 1 << 20;

/// Room that nothing uses, bytes: a batch is padded to blocks, and a seal follows it.
const LAST_RESERVE_BYTES: usize = 64 << 10;

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
    /// Something for the protocol: what the disk has done, the operator's wish.
    /// [`zab::Event::Start`] comes first.
    Zab(zab::Event),
    /// A peer said something.
    Heard {
        /// Who.
        from: ServerId,
        /// What.
        message: zab::message::Message,
        /// When.
        clock: Clock,
    },
    /// Reactors ask.
    Submitted {
        /// What.
        submission: &'e Submission,
        /// When.
        clock: Clock,
    },
    /// Time passes: one tick of [`zab::timing::Timing`].
    Tick(Clock),
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
    /// Connections that end: their session moved to another one, or what they wait for has waited
    /// too long.
    pub displaced: Vec<(Origin, SessionId)>,
    /// Transactions applied by the step.
    pub transactions: u64,
    /// When the last of them was prepared, milliseconds since 1970 by its leader's clock.
    pub applied_time_ms: i64,
    /// What the shell must do for the protocol, in order.
    pub actions: Vec<Action>,
    /// The server's state on disk was replaced, or cut below what is in the tree: it must be
    /// recovered anew. Nothing else of this output or this machine counts then.
    pub reopen: bool,
    /// This server's state is not what its ensemble's is: it must stop and say this.
    pub halt: Option<String>,
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
        self.actions.clear();
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

/// Proposals that were made and not handed over yet.
#[derive(Debug)]
struct Growing {
    records: Vec<u8>,
    first: Zxid,
    last: Zxid,
}

/// A run that the log was given, and how far it is applied.
#[derive(Debug)]
struct Unapplied {
    run: Run,
    offset: usize,
}

/// Which connection of which server holds a session, or held it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    server: ServerId,
    origin: Origin,
    hold: Hold,
    timeout_ms: i32,
    /// The connection is gone. A leader remembers it as long as it leads: it is still newer than
    /// those that the session had before.
    left: bool,
}

impl Holder {
    fn is(&self, server: ServerId, origin: Origin) -> bool {
        self.server == server && is_same_connection(self.origin, origin)
    }
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
    /// How long a write or a handshake waits for a leader, milliseconds. Its connection ends then.
    pub wait_ms: i64,
    /// How long a connection is served without a leader at most, milliseconds; `None` is what
    /// `on_partition` says.
    pub stale_ms_max: Option<i64>,
    /// What is done for clients without a leader.
    pub on_partition: OnPartition,
    /// How much longer than its timeout a session lives, milliseconds, whose server does not vote
    /// and is silent; 0 where all servers vote.
    pub learner_grace_ms: i32,
    /// Whether the configuration lists servers that do not vote. A new leader does not know who is
    /// behind whom, and then gives every session the grace.
    pub lists_learners: bool,
    /// What a client's write takes at most, bytes: a log that has room for less than that has none.
    pub write_bytes_max: usize,
    /// Which sessions this server keeps to itself.
    pub local_sessions: LocalSessions,
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
    /// What the protocol is to be told once the actions of its last step are done.
    events: VecDeque<zab::Event>,
    writer: Writer,
    tree: Arc<Tree>,
    sessions: SessionTable,
    ids: SessionIds,
    expiry: Expiry,
    attached: hashbrown::HashMap<SessionId, Holder, crate::hash::Seeded>,
    prepare: Prepare,
    /// Of the last proposal, while this server leads.
    chain: Chain,
    applied: Position,
    growing: Option<Growing>,
    unapplied: VecDeque<Unapplied>,
    /// What this server's own connections wait for.
    asks: Asks,
    route: Route,
    /// For the leader, with the next chance.
    request: Request,
    /// For each server that follows, with the next chance.
    responses: BTreeMap<ServerId, Response>,
    /// What others asked while no proposal could be made: between two epochs, or with a whole run to propose.
    deferred: VecDeque<(ServerId, Asked)>,
    /// Whether this server's own asks are decided before those, which changes with each run.
    own_first: bool,
    /// Who waits for confirmations, oldest first: whose ask, its number, and what it is told then.
    /// `None` is asked anew in another session of its server's.
    confirming: VecDeque<Option<(ServerId, u64, Verdict)>>,
    /// How many of them are to be asked for again.
    unconfirmed: u32,
    holds: u32,
    /// Sessions that are this server's own.
    locals: Locals,
    /// Sessions between local and global.
    upgrades: Upgrades,
    /// Whether this process ever had a leader and all that the leader had.
    has_served: bool,
    /// A session came to be connected here since the leader was told which are.
    hosts_anew: bool,
    /// A local session that may be global by now went on at another connection while there was no leader:
    /// it is told anew who is connected here.
    moved_unled: bool,
    /// Since when this server, which decides, has no epoch to decide in: it founds another one.
    epochless_since_ms: Option<i64>,
    /// Sessions that ended because nobody heard of them.
    expired: u64,
    /// Sessions that other servers asked about.
    revalidated: u64,
    /// Digests that the leader named and this server has yet to come to.
    expected: VecDeque<(Zxid, u64)>,
    log_room: u64,
    room: room::Room,
    /// The members of the ensemble as this server was configured; empty for a server alone.
    membership: Box<[u8]>,
    clock: Clock,
    /// When this server last knew itself to be current, or was started.
    current_ms: i64,
    /// It did since it was started.
    was_current: bool,
    swept_ms: i64,
    reaped_ms: i64,
    reported_ms: i64,
    /// When this server last told its leader something.
    asked_ms: i64,
    /// It has had a leader, or been one, since it was started.
    was_led: bool,
    /// Only who asked for a server that only reads is served.
    reads_only: bool,
    /// Those.
    guests: Vec<(SessionId, Origin)>,
    /// Of a leader: when those that it serves were last heard from.
    heard: BTreeMap<ServerId, i64>,
    /// When a part of something that is long on its way was last there, by who says it.
    coming: BTreeMap<ServerId, i64>,
    /// How many of these were left when those that are gone were last forgotten.
    remembered: usize,
    /// Sessions that a follower heard from since it told its leader.
    touched: BTreeMap<SessionId, i32>,
    digests: VecDeque<(Zxid, u64)>,
    /// The digest after each of the last transactions, for comparison.
    recent: VecDeque<(Zxid, u64)>,
    /// Of the leader: the last digest that was told to others.
    told: Zxid,
    /// What is under way replaces the state: see [`Output::reopen`].
    replaced_by: Option<u64>,
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
        let applied = Position { zxid: tree.applied(), chain };
        let (prepare_options, hash_seed) = (options.prepare, options.hash_seed);
        let (expiry, locals) = (Expiry::new(options.tick_ms), Locals::new(options.tick_ms));
        Self {
            options,
            zab,
            events: VecDeque::new(),
            writer,
            tree,
            sessions,
            ids,
            expiry,
            attached: hashbrown::HashMap::with_hasher(crate::hash::Seeded(hash_seed)),
            prepare: Prepare::new(prepare_options, hash_seed),
            chain,
            applied,
            growing: None,
            unapplied: VecDeque::new(),
            asks: Asks::default(),
            route: Route::Lost,
            request: Request::default(),
            responses: BTreeMap::new(),
            deferred: VecDeque::new(),
            own_first: false,
            confirming: VecDeque::new(),
            unconfirmed: 0,
            holds: 0,
            locals,
            upgrades: Upgrades::default(),
            has_served: false,
            hosts_anew: false,
            moved_unled: false,
            epochless_since_ms: None,
            expired: 0,
            revalidated: 0,
            expected: VecDeque::new(),
            log_room: u64::MAX,
            room: room::Room::default(),
            membership: Box::default(),
            clock,
            current_ms: clock.mono_ms,
            was_current: false,
            swept_ms: clock.mono_ms - SWEEP_INTERVAL_MS,
            reaped_ms: clock.mono_ms,
            reported_ms: clock.mono_ms,
            asked_ms: clock.mono_ms,
            was_led: false,
            reads_only: false,
            guests: Vec::new(),
            heard: BTreeMap::new(),
            coming: BTreeMap::new(),
            remembered: 0,
            touched: BTreeMap::new(),
            digests: VecDeque::new(),
            recent: VecDeque::new(),
            told: Zxid::ZERO,
            replaced_by: None,
        }
    }

    /// Names the members of its ensemble, as clients see them. A leader puts them into the history
    /// where that says otherwise: the configuration is the seed of the membership.
    #[must_use]
    pub fn of_ensemble(mut self, membership: &[u8]) -> Self {
        self.membership = membership.into();
        self
    }

    /// Acts on `event`; what comes of it is added to `out`.
    pub fn step(&mut self, event: Event<'_>, out: &mut Output) {
        match event {
            Event::Zab(event) => {
                if let zab::Event::Arriving(from) = event {
                    self.note_coming(from);
                }
                self.drive(event, out);
            }
            Event::Heard { from, message, clock } => {
                self.clock = clock;
                self.note_time();
                // Who looks for a server to learn from may still be taken for one that is served.
                if matches!(message, zab::message::Message::ToLeader { .. }) {
                    self.note_heard(from);
                }
                self.drive(zab::Event::Received { from, message }, out);
            }
            Event::Submitted { submission, clock } => {
                self.clock = clock;
                self.submitted(submission, out);
            }
            Event::Tick(clock) => {
                self.clock = clock;
                self.note_time();
                self.drive(zab::Event::Tick, out);
                self.sweep(out);
            }
            Event::LogRoom(bytes) => self.log_room = bytes,
        }
        self.go_on(out);
    }

    /// Does what has become possible.
    fn go_on(&mut self, out: &mut Output) {
        self.serve_locals(out);
        self.ask_waiting(out);
        if self.locals.has_waiting() {
            // The leader's own word may have been what an end or a move waited for.
            self.serve_locals(out);
            self.ask_waiting(out);
        }
        self.talk(out);
    }

    /// Hands over what was proposed since the last time: to the log and to the followers.
    pub fn propose(&mut self, out: &mut Output) {
        let Some(growing) = self.growing.take() else { return };
        let upto = Position { zxid: growing.last, chain: self.chain };
        let bytes = growing.records.len();
        self.room.propose(bytes);
        if self.log_room != u64::MAX {
            // What is left is told again only behind what others ask next.
            self.log_room = self.log_room.saturating_sub(padded_bytes(bytes) as u64);
        }
        let run = Run::own(self.zab.log(), upto, growing.records.into());
        self.drive(zab::Event::Proposed(run), out);
        self.own_first = !self.own_first;
        self.go_on(out);
    }

    /// How many bytes of records [`Node::propose`] would hand over, and the first one's zxid.
    pub fn proposable(&self) -> Option<(usize, Zxid)> {
        self.growing.as_ref().map(|growing| (growing.records.len(), growing.first))
    }

    /// Whether something was handed to the log and is not applied yet.
    pub fn has_unapplied(&self) -> bool {
        !self.unapplied.is_empty()
    }

    /// Bytes of what was handed over and is not wholly applied, or of what this server's own clients wait for, where
    /// that is more. Not of the run that grows: others may fill each, and it is bounded by itself.
    pub fn unapplied_bytes(&self) -> usize {
        let runs: usize = self.unapplied.iter().map(|it| it.run.bytes().len()).sum();
        runs.max(self.asks.bytes())
    }

    fn reply(&self, origin: Origin, zxid: Zxid, outcome: Outcome, out: &mut Output) {
        out.replies.push(Reply { origin, zxid, outcome });
    }

    /// Whether a write of about `bytes` might not find room in the log and leave `reserve` behind it.
    /// A record is at most four times its request, and what was proposed before needs its room too.
    fn is_full(&self, bytes: usize, reserve: usize) -> bool {
        let waiting = self.growing.as_ref().map_or(0, |growing| growing.records.len());
        (waiting + 4 * bytes + reserve) as u64 > self.log_room
    }

    /// The last transaction in the tree.
    pub fn applied(&self) -> Zxid {
        self.applied.zxid
    }

    /// What seeds the checksum of the record behind [`Node::applied`].
    pub fn applied_chain(&self) -> Chain {
        self.applied.chain
    }

    /// Whether all that is in the tree is known to be committed. Only then may a snapshot be taken:
    /// a start applies what the log holds, and the end of it may be cut yet.
    pub fn is_settled(&self) -> bool {
        self.applied.zxid <= self.zab.committed()
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

    /// When sessions expire, as far as this server decides that.
    pub fn expiry(&self) -> &Expiry {
        &self.expiry
    }

    /// Whether this server leads and takes writes.
    pub fn is_leading(&self) -> bool {
        self.zab.is_leading()
    }

    /// Whether this server has a leader, or is one.
    pub fn is_serving(&self) -> bool {
        self.zab.is_leading() || self.zab.is_following()
    }

    /// Its part in the protocol, to look at.
    pub fn zab(&self) -> &Zab {
        &self.zab
    }

    /// Plants a bug, for testing the tests.
    #[cfg(feature = "mutants")]
    pub fn plant(&mut self, mutant: zab::mutant::Mutant) {
        self.zab.plant(mutant);
    }

    /// Syncs that wait for a confirmation.
    pub fn pending_syncs(&self) -> usize {
        self.confirming.iter().flatten().count()
    }

    /// What this server ever prepared of what operators count.
    pub fn changes(&self) -> Changes {
        self.prepare.changes()
    }

    /// How many sessions this server has ended because nobody heard of them: as a leader, and its own local
    /// ones.
    pub fn expired_sessions(&self) -> u64 {
        self.expired
    }

    /// How many sessions other servers have asked this leader about, because their clients came to them.
    pub fn revalidated_sessions(&self) -> u64 {
        self.revalidated
    }

    /// The digest of the tree after every 128th transaction, the newest last.
    pub fn digests(&self) -> impl ExactSizeIterator<Item = (Zxid, u64)> {
        self.digests.iter().copied()
    }
}

fn is_same_connection(a: Origin, b: Origin) -> bool {
    connection_of(a) == connection_of(b)
}

/// The connection of what was asked on it.
fn connection_of(origin: Origin) -> Connection {
    (origin.reactor, origin.connection, origin.generation)
}

/// A connection of this server, of all that it had.
type Connection = (u16, u32, u32);
