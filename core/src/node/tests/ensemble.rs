//! Whole ensembles of nodes in one thread, from one seed: links that break and lose what is under
//! way, processes that crash and freeze, disks that lag, clients that move about. At the end of the
//! faults everything must come to rest, and what every client was told must hold.
//!
//! ```text
//! clients ─► Reactor ─► Node ─► Disk (a crash leaves the durable part and some of the rest)
//!                        │ ▲
//!                        ▼ │  messages, in order on each link, with delays; lost with it
//!                       Node
//! ```

mod age;
mod agreement;
mod clients;
pub mod disk;
mod faults;
mod guests;
mod judge;
mod long_words;
mod moves;
mod partition;
mod plan;
mod room;

use std::collections::BTreeMap;

use super::super::*;
use crate::prng::Prng;
use crate::record::Record;
use crate::tree::{self, TreeOptions};
use crate::zab::message::Message;
use crate::zab::quorum::Quorum;
use crate::zab::timing::Timing;
use crate::zab::{Membership, Options, Recovered as ZabRecovered};
use clients::{Client, Reactor, Sent};
use disk::Disk;
use plan::Plan;

const TICK_MS: u64 = 20;
const TIMEOUT_MS: i32 = 4000;
/// Only of servers that do not vote.
const GRACE_MS: i32 = 1500;
const CHAOS_MS: u64 = 12_000;
/// By then everything must have come to rest.
const CALM_MS: u64 = 14_000;
/// Of the calm, while clients still ask.
const WORK_MS: u64 = 5_000;

pub const TIMING: Timing = Timing {
    ballot_ticks: 3,
    heard_ticks: 12,
    finalize_ticks: 2,
    join_ticks: 80,
    silence_ticks: 15,
    observer_silence_ticks: 15,
    ping_ticks: 4,
    observer_ping_ticks: 6,
    seek_ticks: 40,
    stall_ticks: 60,
    transfer_ticks: 20,
    flight_bytes: 4 << 10,
    observer_flight_bytes: None,
    epoch_proposals: u32::MAX,
};

enum Happening {
    Arrival {
        from: usize,
        to: usize,
        cut: u64,
        message: Message,
    },
    Disconnected {
        server: usize,
        peer: usize,
    },
    Tick {
        server: usize,
        life: u64,
    },
    /// The disk has done something.
    Told {
        server: usize,
        life: u64,
        event: zab::Event,
        written: Option<(Zxid, u64)>,
    },
    Submit {
        server: usize,
        life: u64,
    },
    Propose {
        server: usize,
        life: u64,
    },
    Start {
        server: usize,
    },
    /// A link from a server to one of its upstreams is there, if it was not cut again since.
    Linked {
        server: usize,
        upstream: usize,
        cut: u64,
    },
    Play {
        client: usize,
    },
    Fault,
}

struct Process {
    life: u64,
    node: Node,
    reactor: Reactor,
    submits: bool,
    proposes: bool,
    /// What came of its turn so far.
    out: Output,
}

#[derive(Default)]
struct Server {
    life: u64,
    process: Option<Process>,
    disk: Disk,
    disk_until: u64,
    frozen_until: u64,
    room: u64,
    membership: Vec<u8>,
    /// A server that is meant to find itself wrong; another one that does is a failure.
    rotten: bool,
    /// What it stopped with.
    halted: Option<String>,
}

struct Cluster {
    seed: u64,
    policy: OnPartition,
    prng: Prng,
    plan: Plan,
    now: u64,
    number: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    servers: Vec<Server>,
    /// How often a link was cut, and until when it is.
    links: BTreeMap<(usize, usize), (u64, u64)>,
    /// When the last message of a link arrives.
    arrivals: BTreeMap<(usize, usize), u64>,
    clients: Vec<Client>,
    sent: Vec<Sent>,
    acknowledged: Zxid,
    /// What any client could see: it must be of the history in the end.
    shown: BTreeMap<Zxid, Chain>,
    calm: bool,
    quiet: bool,
}

fn id_of(server: usize) -> ServerId {
    ServerId(server as u32 + 1)
}

impl Cluster {
    fn new(seed: u64, policy: OnPartition, observed: bool) -> Self {
        let mut prng = Prng::new(seed);
        let mut plan = Plan::of(&mut prng);
        if observed {
            plan = plan.observed(&mut Prng::new(!seed));
        }
        let mut cluster = Self::of(seed, policy, prng, plan);
        for client in 0..cluster.clients.len() {
            cluster.after(100, Happening::Play { client });
        }
        let fault = cluster.plan.fault_ms;
        cluster.after(1500 + fault, Happening::Fault);
        cluster
    }

    /// Servers that begin, and clients that do nothing by themselves.
    fn of(seed: u64, policy: OnPartition, prng: Prng, plan: Plan) -> Self {
        let mut servers = Vec::new();
        servers.resize_with(plan.servers as usize + plan.observers.len(), Server::default);
        let mut clients = Vec::new();
        clients.resize_with(plan.clients as usize, Client::default);
        let mut cluster = Self {
            seed,
            policy,
            prng,
            plan,
            now: 1000,
            number: 0,
            queue: BTreeMap::new(),
            servers,
            links: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            clients,
            sent: Vec::new(),
            acknowledged: Zxid::ZERO,
            shown: BTreeMap::new(),
            calm: false,
            quiet: false,
        };
        for server in 0..cluster.servers.len() {
            cluster.after(0, Happening::Start { server });
        }
        cluster
    }

    fn after(&mut self, ms: u64, happening: Happening) {
        self.number += 1;
        self.queue.insert((self.now + ms, self.number), happening);
    }

    fn clock(&self) -> Clock {
        let mono_ms = self.now as i64;
        Clock { mono_ms, wall_ms: 1_700_000_000_000 + mono_ms }
    }

    /// Lets time pass.
    fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(entry) = self.queue.first_entry() {
            if end < entry.key().0 {
                break;
            }
            self.now = entry.key().0;
            let happening = entry.remove();
            self.happen(happening);
        }
        self.now = end;
    }

    /// The process that something is for, unless it is another one by now. One that is frozen gets
    /// it when it thaws.
    fn hits(&mut self, server: usize, life: u64, happening: Happening) -> Option<Happening> {
        let it = &self.servers[server];
        let lives = it.process.as_ref().is_some_and(|process| process.life == life);
        if lives && self.now < it.frozen_until {
            // Its clock stands still, too: what has passed is not made up for.
            let wait = it.frozen_until - self.now;
            self.after(wait, happening);
            return None;
        }
        lives.then_some(happening)
    }

    fn happen(&mut self, happening: Happening) {
        let (server, life) = match &happening {
            Happening::Arrival { from, to, cut, .. } => {
                if self.link(*from, *to).0 != *cut {
                    return;
                }
                (*to, self.servers[*to].life)
            }
            Happening::Disconnected { server, .. } => (*server, self.servers[*server].life),
            Happening::Tick { server, life }
            | Happening::Told { server, life, .. }
            | Happening::Submit { server, life }
            | Happening::Propose { server, life } => (*server, *life),
            Happening::Start { server } => return self.start(*server),
            Happening::Linked { server, upstream, cut } => {
                let (cuts, until) = self.link(*server, *upstream);
                let lives = self.servers[*upstream].process.is_some();
                if cuts != *cut || self.now < until || !lives {
                    return; // whatever is in its way links them when it ends
                }
                (*server, self.servers[*server].life)
            }
            Happening::Play { client } => {
                let client = *client;
                self.play(client);
                self.submit_all();
                let pause = self.prng.between(1, 120);
                return self.after(pause, Happening::Play { client });
            }
            Happening::Fault => return self.fault(),
        };
        if let Some(happening) = self.hits(server, life, happening) {
            self.at(server, life, happening);
        }
    }

    fn at(&mut self, server: usize, life: u64, happening: Happening) {
        let clock = self.clock();
        match happening {
            Happening::Arrival { from, message, .. } => {
                self.step(server, Event::Heard { from: id_of(from), message, clock });
            }
            Happening::Disconnected { peer, .. } => {
                self.step(server, Event::Zab(zab::Event::Disconnected(id_of(peer))));
            }
            Happening::Tick { .. } => {
                let room = self.servers[server].room;
                self.step(server, Event::LogRoom(room));
                self.step(server, Event::Tick(clock));
                self.after(TICK_MS, Happening::Tick { server, life });
            }
            Happening::Told { event, written, .. } => {
                if let Some((upto, generation)) = written {
                    self.servers[server].disk.written(upto, generation);
                }
                if let zab::Event::EpochsSaved(epochs) = event {
                    self.servers[server].disk.epochs = epochs;
                }
                self.step(server, Event::Zab(event));
            }
            Happening::Submit { .. } => {
                let process = self.servers[server].process.as_mut().expect("it lives");
                process.submits = false;
                let submission = std::mem::take(&mut process.reactor.submission);
                self.step(server, Event::Submitted { submission: &submission, clock });
            }
            Happening::Propose { .. } => self.propose(server),
            Happening::Linked { upstream, .. } => {
                let list = self.plan.upstreams(server);
                let rank = list.iter().position(|&it| it == upstream).expect("it is listed");
                let (peer, rank) = (id_of(upstream), rank as u32);
                self.step(server, Event::Zab(zab::Event::Upstream { peer, rank }));
            }
            Happening::Start { .. } | Happening::Play { .. } | Happening::Fault => unreachable!(),
        }
    }

    fn submit_all(&mut self) {
        for server in 0..self.servers.len() {
            let Some(process) = &mut self.servers[server].process else { continue };
            if !process.submits && !process.reactor.submission.is_empty() {
                process.submits = true;
                let life = process.life;
                let delay = self.prng.below(8);
                self.after(delay, Happening::Submit { server, life });
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, message: Message) {
        let (cut, until) = self.link(from, to);
        if self.now < until || self.servers[to].process.is_none() {
            return;
        }
        let jitter = self.prng.below(self.plan.delay_ms + 1);
        let last = self.arrivals.get(&(from, to)).copied().unwrap_or_default();
        let at = (self.now + jitter).max(last);
        self.arrivals.insert((from, to), at);
        self.after(at - self.now, Happening::Arrival { from, to, cut, message });
    }

    fn start(&mut self, server: usize) {
        if self.servers[server].process.is_some() {
            return;
        }
        let clock = self.clock();
        let it = &mut self.servers[server];
        it.life += 1;
        it.room = u64::MAX;
        it.disk_until = self.now;
        let voters = (self.plan.servers - self.plan.learners) as usize;
        let timing = Timing { epoch_proposals: self.plan.epoch_proposals, ..TIMING };
        let me = id_of(server);
        let options = Options {
            me,
            quorum: Quorum::majority((0..voters).map(id_of)),
            membership: if server < voters { Membership::Voter } else { Membership::Learner },
            listed: !self.plan.upstreams(server).is_empty(),
            timing,
            seed: self.seed ^ it.life << 8,
        };
        let recovered = ZabRecovered {
            epochs: it.disk.epochs,
            log: it.disk.end(),
            committed: it.disk.base_at().zxid,
        };
        let zab = Zab::with(options, recovered);
        let ids = SessionIds::new(me, clock.wall_ms).expect("a small server number");
        let options =
            NodeOptions { local_sessions: self.plan.local_sessions, ..node_options(self.policy) };
        let node =
            Node::new(options, zab, ids, recover(&it.disk), clock).of_ensemble(&it.membership);
        let reactor = Reactor { shows: node.applied(), ..Reactor::default() };
        let life = it.life;
        let out = Output::default();
        it.process = Some(Process { life, node, reactor, submits: false, proposes: false, out });
        self.step(server, Event::Zab(zab::Event::Start));
        for peer in (0..self.servers.len()).filter(|&peer| peer != server) {
            self.link_up(server, peer);
        }
        self.after(TICK_MS, Happening::Tick { server, life });
    }

    /// A process ends. Its links break.
    fn stop(&mut self, server: usize) {
        self.servers[server].process = None;
        for peer in (0..self.servers.len()).filter(|&peer| peer != server) {
            let (cuts, until) = self.link(server, peer);
            self.links.insert((server.min(peer), server.max(peer)), (cuts + 1, until));
            self.after(0, Happening::Disconnected { server: peer, peer: server });
        }
    }

    fn step(&mut self, server: usize, event: Event<'_>) {
        let Some(process) = &mut self.servers[server].process else { return };
        let mut out = std::mem::take(&mut process.out);
        process.node.step(event, &mut out);
        self.carry_out(server, out);
    }

    fn propose(&mut self, server: usize) {
        let Some(process) = &mut self.servers[server].process else { return };
        process.proposes = false;
        let mut out = std::mem::take(&mut process.out);
        process.node.propose(&mut out);
        self.carry_out(server, out);
    }

    fn carry_out(&mut self, server: usize, mut out: Output) {
        let life = self.servers[server].life;
        if self.servers[server].rotten && out.halt.is_some() {
            // It speaks no more and can be looked at.
            let it = &mut self.servers[server];
            (it.halted, it.frozen_until) = (out.halt, u64::MAX);
            return;
        }
        assert_eq!(out.halt, None, "seed {}", self.seed);
        for action in std::mem::take(&mut out.actions) {
            self.perform(server, life, action);
        }
        // A turn of a real server takes in all that is there before anybody is told.
        let goes_on = self.plan.long_turns && !out.reopen && self.prng.one_in(2);
        if !goes_on {
            self.deliver(server, &out);
        }
        if out.reopen {
            self.stop(server);
            return self.after(20, Happening::Start { server });
        }
        let process = self.servers[server].process.as_mut().expect("it acts");
        process.out = if goes_on { out } else { Output::default() };
        if process.node.proposable().is_some() && !process.proposes {
            process.proposes = true;
            let delay = self.prng.below(4);
            self.after(delay, Happening::Propose { server, life });
        }
        self.submit_all();
    }

    fn told(&mut self, server: usize, event: zab::Event, written: Option<(Zxid, u64)>) {
        let life = self.servers[server].life;
        let took = 1 + self.prng.below(self.plan.disk_ms);
        let at = (self.now + took).max(self.servers[server].disk_until);
        self.servers[server].disk_until = at;
        self.after(at - self.now, Happening::Told { server, life, event, written });
    }

    fn perform(&mut self, server: usize, _life: u64, action: Action) {
        let disk = &mut self.servers[server].disk;
        match action {
            Action::Send { to, message } => self.send(server, to.0 as usize - 1, message),
            Action::SaveEpochs(epochs) => {
                self.told(server, zab::Event::EpochsSaved(epochs), None);
            }
            Action::Append { ticket, run } => {
                disk.append(&run);
                let (upto, generation) = (run.upto().zxid, disk.generation);
                self.told(server, zab::Event::Durable { ticket, upto }, Some((upto, generation)));
            }
            Action::Flush { ticket } => {
                let (upto, generation) = (disk.end().zxid, disk.generation);
                self.told(server, zab::Event::Durable { ticket, upto }, Some((upto, generation)));
            }
            Action::Truncate { ticket, to } => {
                disk.truncate(to);
                self.told(server, zab::Event::Truncated { ticket, to }, None);
            }
            Action::ReadLog { ticket, from, bytes_max } => {
                let (at, run) = disk.read(from, bytes_max.min(600));
                self.told(server, zab::Event::LogRead { ticket, at, run }, None);
            }
            Action::ReadSnapshot { ticket, offset } => {
                assert_eq!(offset, 0, "a snapshot is one part here");
                let (at, bytes) = (disk.base_at(), disk.snapshot());
                let event = zab::Event::SnapshotRead { ticket, at, offset, bytes, end: true };
                self.told(server, event, None);
            }
            Action::StoreSnapshot { ticket, bytes, end, .. } => {
                assert!(end, "a snapshot is one part here");
                disk.install(&bytes);
                let event = zab::Event::SnapshotStored { ticket, upto: bytes.len() as u64 };
                self.told(server, event, None);
            }
            Action::Refused { peer, anomaly } => {
                panic!("seed {}: {peer} said what nobody says: {anomaly:?}", self.seed);
            }
            Action::Committed(_)
            | Action::Became(_)
            | Action::Confirmed(_)
            | Action::ConfirmsFailed
            | Action::Requested { .. }
            | Action::Responded(_)
            | Action::Halt(_) => {}
        }
    }
}

pub fn node_options(on_partition: OnPartition) -> NodeOptions {
    let reap = ReapOptions { interval_ms: 60_000, per_minute_max: 1000, never_used_ms: None };
    NodeOptions {
        prepare: crate::prepare::Options::default(),
        tick_ms: 500,
        hash_seed: 1,
        reap,
        // Short where a write that has waited for so long leaves the connection to others.
        wait_ms: if on_partition == OnPartition::Serve { 300 } else { 3_000 },
        stale_ms_max: None,
        on_partition,
        learner_grace_ms: GRACE_MS,
        lists_learners: true,
        write_bytes_max: 1 << 20,
        local_sessions: LocalSessions::Off,
    }
}

/// What a start makes of a disk: all of the log is applied.
fn recover(disk: &Disk) -> Recovered {
    let (mut writer, tree) = tree::new(TreeOptions { hash_seed: 1 });
    let mut sessions = SessionTable::new();
    let mut applied = Applied::default();
    for (_, bytes) in &disk.records {
        let record = Record::own(bytes);
        let (head, txn) = (record.head(), record.txn());
        writer.apply(&head, &txn, &mut applied);
        sessions.apply(&head, &txn);
    }
    Recovered { writer, tree, sessions, chain: disk.end().chain }
}

fn play(seed: u64, policy: OnPartition, observed: bool) {
    play_with(seed, policy, observed, LocalSessions::Off);
}

fn play_with(seed: u64, policy: OnPartition, observed: bool, local_sessions: LocalSessions) {
    let mut cluster = Cluster::new(seed, policy, observed);
    cluster.plan.local_sessions = local_sessions;
    cluster.run(CHAOS_MS);
    cluster.heal();
    cluster.run(WORK_MS);
    cluster.quiet = true;
    cluster.run(CALM_MS - WORK_MS);
    cluster.judge();
}

/// Policies take turns, so that each meets every kind of fault.
fn policy(seed: u64) -> OnPartition {
    match seed % 4 {
        0 => OnPartition::Bounded,
        1 => OnPartition::Serve,
        2 => OnPartition::ReadOnly,
        _ => OnPartition::Disconnect,
    }
}

/// Plays so many seeds, or more with `FARWATCH_SLOW=1`, or the one that `FARWATCH_SEED` names.
fn play_many(few: u64, many: u64, observed: bool) {
    let slow = std::env::var_os("FARWATCH_SLOW").is_some();
    let first = std::env::var("FARWATCH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = match first {
        Some(seed) => seed..seed + 1,
        None => 0..if slow { many } else { few },
    };
    if !slow {
        println!("{few} seeds; FARWATCH_SLOW=1 plays {many}, FARWATCH_SEED=n that one");
    }
    let failed: Vec<u64> = seeds
        .filter(|&seed| std::panic::catch_unwind(|| play(seed, policy(seed), observed)).is_err())
        .collect();
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
}

/// Half of what clients create is ephemeral: with upgrading most sessions become global, without
/// it none does.
#[test]
fn ensembles_keep_every_promise_when_sessions_are_local() {
    let first = std::env::var("FARWATCH_SEED").ok().and_then(|seed| seed.parse().ok());
    let slow = std::env::var_os("FARWATCH_SLOW").is_some();
    let seeds = first.map_or(0..if slow { 2000 } else { 30 }, |seed| seed..seed + 1);
    for local in [LocalSessions::Upgrading, LocalSessions::On] {
        let passes = |&seed: &u64| {
            let observed = seed % 2 == 1;
            let play = || play_with(seed, policy(seed / 2), observed, local);
            std::panic::catch_unwind(play).is_ok()
        };
        let failed: Vec<u64> = seeds.clone().filter(|seed| !passes(seed)).collect();
        assert!(failed.is_empty(), "{local:?}: seeds that failed: {failed:?}");
    }
}

#[test]
fn ensembles_keep_every_promise_through_all_that_happens() {
    play_many(60, 3000, false);
}

#[test]
fn observers_and_those_behind_them_keep_every_promise_through_all_that_happens() {
    play_many(60, 3000, true);
}

#[test]
fn seeds_that_found_a_bug_pass() {
    for seed in [7, 216, 349, 355, 415, 442, 661, 701, 1063] {
        println!("seed {seed}");
        play(seed, OnPartition::Bounded, false);
    }
}
