//! One server: core's whole machine, its connections, its disk.

use std::collections::BTreeMap;

use farwatch_core::node::submission::Submission;
use farwatch_core::node::{self, Clock, Node, NodeOptions, Output, ReapOptions};
use farwatch_core::prepare;
use farwatch_core::prng::Prng;
use farwatch_core::record::Record;
use farwatch_core::session::{SessionIds, SessionTable};
use farwatch_core::tree::{self, Applied, TreeOptions};
use farwatch_core::zab::mutant::Mutant;
use farwatch_core::zab::quorum::Quorum;
use farwatch_core::zab::run::Position;
use farwatch_core::zab::timing::Timing;
use farwatch_core::zab::{self, Membership, Options, Recovered, Standing, Zab};
use farwatch_core::zxid::{Epoch, ServerId, SessionId};

use crate::disk::{Disk, Logged};
use crate::reactor::Reactor;
use crate::service::{Service, Services};

/// Milliseconds since 1970 at which every run begins.
const BEGIN_WALL_MS: i64 = 1_700_000_000_000;

/// Sessions expire in steps of so many milliseconds.
const EXPIRY_MS: i32 = 100;

/// A tick as the server's own clock counts it, microseconds.
pub const TICK_US: u64 = 10_000;

/// A process, from its start to its crash.
pub struct Process {
    pub node: Node,
    pub out: Output,
    pub reactor: Reactor,
    /// What it was told is committed, and the position of the last of it. The machine's tree may be
    /// ahead: a start applies all that the log holds.
    pub applied: Vec<Logged>,
    pub applied_at: Position,
    pub standing: Standing,
    /// Since when it has no leader and is none, by its own clock.
    pub unled_since_ms: Option<i64>,
    /// Since when it has a leader or is one, microseconds of the run.
    pub led_at: Option<u64>,
    /// By its own clock, when it was current as it was told or knows as a leader, and how late that word
    /// was, microseconds.
    pub words: BTreeMap<i64, u64>,
    /// When its clock was looked at last, microseconds of the run.
    pub looked_at: u64,
    /// Since when it leads without a break, by its own clock.
    pub led_since_ms: Option<i64>,
    pub clock: Clock,
    /// By how much its clock has jumped, milliseconds.
    pub jumped_ms: i64,
    /// When a session was last heard from over a connection of this server, by its own clock.
    pub heard: BTreeMap<SessionId, i64>,
    /// What its connections asked since the core looked last is on its way to it.
    pub submits: bool,
    spare: Submission,
}

impl Process {
    pub fn zab(&self) -> &Zab {
        self.node.zab()
    }

    /// What happens to the machine, by its clock.
    pub fn feed(&mut self, event: zab::Event) {
        let Self { node, out, clock, .. } = self;
        let event = match event {
            zab::Event::Tick => node::Event::Tick(*clock),
            zab::Event::Received { from, message } => {
                node::Event::Heard { from, message, clock: *clock }
            }
            other => node::Event::Zab(other),
        };
        node.step(event, out);
        // A leader that founds another epoch leads on.
        if node.zab().leading_epoch().is_none_or(|epoch| epoch == Epoch::ZERO) {
            self.led_since_ms = None;
        }
    }

    /// Hands over what the connections asked.
    pub fn submit(&mut self) {
        self.submits = false;
        std::mem::swap(&mut self.spare, &mut self.reactor.submission);
        self.reactor.handed_over(self.clock.mono_ms);
        for &(session, _) in self.spare.touched() {
            self.heard.insert(session, self.clock.mono_ms);
        }
        let event = node::Event::Submitted { submission: &self.spare, clock: self.clock };
        self.node.step(event, &mut self.out);
        self.spare.clear();
    }

    /// How late the word was by which it was current at this time of its clock, microseconds; `None`
    /// before any.
    pub fn late_us(&self, current_ms: i64) -> Option<u64> {
        self.words.range(..=current_ms).next_back().map(|(_, late_us)| *late_us)
    }

    /// Time passed, to `now` microseconds of the run.
    pub fn look_at_clock(&mut self, now: u64, tick_us: u64) {
        self.looked_at = now;
        let own_us = u128::from(now) * u128::from(TICK_US) / u128::from(tick_us);
        let mono_ms = (own_us / 1_000) as i64 + self.jumped_ms;
        self.clock.mono_ms = self.clock.mono_ms.max(mono_ms);
        self.clock.wall_ms = BEGIN_WALL_MS + (now / 1_000) as i64;
    }
}

pub struct Server {
    pub id: ServerId,
    /// Whether the configuration lets it vote.
    pub votes: bool,
    /// It stays down to the end of the run.
    pub left_out: bool,
    /// It belongs to those who are well in the end.
    pub core: bool,
    /// Rises with every start, so that what belongs to an earlier process is recognised.
    pub life: u64,
    pub process: Option<Process>,
    pub disk: Disk,
    pub tick_us: u64,
    /// The process does not run until then (it is stopped, or swapped out).
    pub frozen_until: u64,
    /// The disk finishes nothing until then.
    pub stuck_until: u64,
    /// The disk of the log, which may be another one, finishes nothing until then.
    pub log_stuck_until: u64,
    /// Parts of a snapshot are stored in the order in which they come.
    pub part_stored_at: u64,
    /// The disk has no room until then.
    pub full_until: u64,
    /// The clock stands still until then.
    pub clock_stopped_until: u64,
    /// When the last write of the log completes: they complete in order.
    pub log_busy_until: u64,
}

impl Server {
    /// Starts with what recovery left on the disk, at `now` microseconds of the run.
    pub fn start(
        &mut self,
        quorum: &Quorum,
        (listed, services): (bool, &Services),
        timing: Timing,
        (now, seed): (u64, u64),
        mutant: Option<Mutant>,
    ) {
        assert!(self.process.is_none(), "a server is started twice");
        self.life += 1;
        let membership = match (self.votes, self.disk.rejoining) {
            (false, _) => Membership::Learner,
            (true, false) => Membership::Voter,
            (true, true) => Membership::Rejoining,
        };
        let options = Options {
            me: self.id,
            quorum: quorum.clone(),
            membership,
            listed,
            timing,
            seed: seed ^ self.life,
        };
        let log = self.disk.end();
        let committed = self.disk.snapshot_at.zxid;
        let zab = Zab::with(options, Recovered { epochs: self.disk.epochs, log, committed });
        let recovered = recover(&self.disk);
        let reader = recovered.tree.reader();
        let wall_ms = BEGIN_WALL_MS + (now / 1_000) as i64;
        let ids = SessionIds::new(self.id, wall_ms).expect("a small number");
        let clock = Clock { mono_ms: 0, wall_ms };
        let service = services.of[self.id.0 as usize - 1];
        let node = Node::new(node_options(&service, services), zab, ids, recovered, clock);
        self.log_busy_until = 0;
        let mut process = Process {
            node: plant(node, mutant),
            out: Output::default(),
            reactor: Reactor::new(reader, Prng::new(seed.rotate_left(17)), mutant),
            applied: self.disk.snapshot.clone(),
            applied_at: self.disk.snapshot_at,
            standing: Standing::Alone,
            unled_since_ms: None,
            led_at: None,
            words: BTreeMap::new(),
            looked_at: now,
            led_since_ms: None,
            clock,
            jumped_ms: 0,
            heard: BTreeMap::new(),
            submits: false,
            spare: Submission::default(),
        };
        process.look_at_clock(now, self.tick_us);
        self.process = Some(process);
    }
}

fn node_options(service: &Service, services: &Services) -> NodeOptions {
    NodeOptions {
        prepare: prepare::Options::default(),
        tick_ms: EXPIRY_MS,
        hash_seed: 1,
        reap: ReapOptions { interval_ms: 60_000, per_minute_max: 1_000, never_used_ms: None },
        wait_ms: service.wait_ms,
        stale_ms_max: service.stale_ms_max,
        on_partition: service.on_partition,
        learner_grace_ms: services.grace_ms,
        lists_learners: services.lists_learners,
        write_bytes_max: 1 << 20,
        local_sessions: service.local_sessions,
    }
}

/// The state that the records on the disk make, all of them.
fn recover(disk: &Disk) -> node::Recovered {
    let (mut writer, tree) = tree::new(TreeOptions { hash_seed: 1 });
    let mut sessions = SessionTable::new();
    let mut applied = Applied::default();
    for logged in disk.snapshot.iter().chain(&disk.log) {
        let record = Record::own(&logged.bytes);
        let (head, txn) = (record.head(), record.txn());
        if head.zxid <= writer.applied() {
            continue; // the log begins before the snapshot's end
        }
        applied.clear();
        writer.apply(&head, &txn, &mut applied);
        sessions.apply(&head, &txn);
    }
    writer.reclaim();
    node::Recovered { writer, tree, sessions, chain: disk.end().chain }
}

#[cfg(feature = "mutants")]
fn plant(mut node: Node, mutant: Option<Mutant>) -> Node {
    if let Some(mutant) = mutant {
        node.plant(mutant);
    }
    node
}

#[cfg(not(feature = "mutants"))]
fn plant(node: Node, mutant: Option<Mutant>) -> Node {
    assert!(mutant.is_none(), "bugs can be planted only with the feature `mutants`");
    node
}
