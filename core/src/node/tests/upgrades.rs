//! Local sessions between their server's asking and its knowing that they are global: three servers,
//! and a test decides which message comes when.

use std::collections::{BTreeSet, VecDeque};

use super::ensemble::disk::Disk;
use super::*;
use crate::zab::message::Message;
use crate::zab::mutant::Mutant;
use crate::zab::timing::Timing;
use crate::zab::{Membership, Options as ZabOptions, Recovered as ZabRecovered};

/// The only voter.
const LEADER: usize = 0;
/// Where the session is local.
const HOME: usize = 1;
/// Where its client may go.
const ELSEWHERE: usize = 2;

const TICK_MS: i64 = 20;
const WRITE: Ask = Ask::Write(OpCode::Create);
const EPHEMERAL: i32 = 1;

struct Server {
    node: Node,
    out: Output,
    disk: Disk,
    replies: Vec<Reply>,
    displaced: Vec<(Origin, SessionId)>,
}

/// A leader and two that learn from it; all disks are as fast as can be.
struct Trio {
    servers: Vec<Server>,
    clock: Clock,
    /// From, to, in the order in which they were sent.
    wire: VecDeque<(usize, usize, Message)>,
    /// Ways on which nothing arrives for now.
    held: BTreeSet<(usize, usize)>,
}

fn id_of(server: usize) -> ServerId {
    ServerId(server as u32 + 1)
}

fn server(at: usize, on_partition: OnPartition, clock: Clock, bug: Option<Mutant>) -> Server {
    let (writer, tree) = tree::new(TreeOptions { hash_seed: 1 });
    let options = ZabOptions {
        me: id_of(at),
        quorum: Quorum::majority([id_of(LEADER)]),
        membership: if at == LEADER { Membership::Voter } else { Membership::Learner },
        listed: false,
        timing: Timing { epoch_proposals: u32::MAX, ..super::ensemble::TIMING },
        seed: 1,
    };
    let recovered = ZabRecovered {
        epochs: Epochs::default(),
        log: crate::zab::run::Position::ROOT,
        committed: Zxid::ZERO,
    };
    let zab = Zab::with(options, recovered);
    let ids = SessionIds::new(id_of(at), clock.wall_ms).expect("a small server number");
    let local_sessions = LocalSessions::Upgrading;
    let wait_ms = 10_000;
    let options =
        NodeOptions { local_sessions, wait_ms, ..super::ensemble::node_options(on_partition) };
    let recovered =
        Recovered { writer, tree, sessions: SessionTable::new(), chain: Chain::default() };
    let node = plant(Node::new(options, zab, ids, recovered, clock), bug);
    let disk = Disk::default();
    Server { node, out: Output::default(), disk, replies: Vec::new(), displaced: Vec::new() }
}

#[cfg(feature = "mutants")]
fn plant(mut node: Node, bug: Option<Mutant>) -> Node {
    bug.into_iter().for_each(|bug| node.plant(bug));
    node
}

#[cfg(not(feature = "mutants"))]
fn plant(node: Node, bug: Option<Mutant>) -> Node {
    assert_eq!(bug, None, "bugs can be planted only with the feature `mutants`");
    node
}

impl Trio {
    /// All follow.
    fn new(on_partition: OnPartition, bug: Option<Mutant>) -> Self {
        let clock = Clock { mono_ms: 1_000, wall_ms: 1_700_000_000_000 };
        let servers = (0..3).map(|at| server(at, on_partition, clock, bug)).collect();
        let mut trio = Self { servers, clock, wire: VecDeque::new(), held: BTreeSet::new() };
        for at in 0..3 {
            trio.step(at, Event::Zab(zab::Event::Start));
        }
        trio.pass(1_000);
        assert!(trio.servers.iter().all(|it| it.node.is_serving()));
        trio
    }

    fn node(&self, at: usize) -> &Node {
        &self.servers[at].node
    }

    fn step(&mut self, at: usize, event: Event<'_>) {
        let Server { node, out, .. } = &mut self.servers[at];
        node.step(event, out);
        self.carry_out(at);
    }

    fn carry_out(&mut self, at: usize) {
        let it = &mut self.servers[at];
        it.displaced.append(&mut it.out.displaced);
        it.replies.append(&mut it.out.replies);
        let actions = std::mem::take(&mut it.out.actions);
        assert_eq!(it.out.halt, None);
        it.out.clear();
        for action in actions {
            let event = match action {
                Action::Send { to, message } => {
                    self.wire.push_back((at, to.0 as usize - 1, message));
                    continue;
                }
                Action::SaveEpochs(epochs) => zab::Event::EpochsSaved(epochs),
                Action::Append { ticket, run } => {
                    self.servers[at].disk.append(&run);
                    zab::Event::Durable { ticket, upto: run.upto().zxid }
                }
                Action::Flush { ticket } => {
                    let upto = self.node(at).zab.log().zxid;
                    zab::Event::Durable { ticket, upto }
                }
                Action::ReadLog { ticket, from, bytes_max } => {
                    let (at, run) = self.servers[at].disk.read(from, bytes_max);
                    zab::Event::LogRead { ticket, at, run }
                }
                Action::Truncate { .. }
                | Action::ReadSnapshot { .. }
                | Action::StoreSnapshot { .. }
                | Action::Refused { .. } => unreachable!("nobody fails or lags that far"),
                Action::Committed(_)
                | Action::Became(_)
                | Action::Confirmed(_)
                | Action::ConfirmsFailed
                | Action::Requested { .. }
                | Action::Responded(_)
                | Action::Halt(_) => continue,
            };
            self.step(at, Event::Zab(event));
        }
        let it = &mut self.servers[at];
        if it.node.proposable().is_some() {
            it.node.propose(&mut it.out);
            self.carry_out(at);
        }
    }

    /// Everything that is not held arrives.
    fn arrive(&mut self) {
        while let Some(place) = self.wire.iter().position(|it| !self.held.contains(&(it.0, it.1))) {
            let (from, to, message) = self.wire.remove(place).expect("it was found");
            let clock = self.clock;
            self.step(to, Event::Heard { from: id_of(from), message, clock });
        }
    }

    fn pass(&mut self, ms: i64) {
        for _ in 0..ms / TICK_MS {
            self.clock.mono_ms += TICK_MS;
            for at in 0..3 {
                self.step(at, Event::Tick(self.clock));
            }
            self.arrive();
        }
    }

    fn ask(&mut self, at: usize, origin: Origin, session: SessionId, ask: Ask, body: &[u8]) {
        let mut submission = Submission::default();
        submission.push(origin, session, 1, ask, body, &Arc::from([]));
        let clock = self.clock;
        self.step(at, Event::Submitted { submission: &submission, clock });
    }

    fn touch(&mut self, at: usize, session: SessionId) {
        let mut submission = Submission::default();
        submission.touch(session, 4_000);
        let clock = self.clock;
        self.step(at, Event::Submitted { submission: &submission, clock });
    }

    /// What a connection was answered.
    fn outcomes(&self, at: usize, origin: Origin) -> Vec<Outcome> {
        let replies = self.servers[at].replies.iter();
        let its = replies.filter(|it| super::is_same_connection(it.origin, origin));
        its.map(|it| it.outcome).collect()
    }

    fn begin(&mut self, at: usize, origin: Origin) -> SessionId {
        self.ask(at, origin, SessionId::NONE, OPEN, &[]);
        let outcomes = self.outcomes(at, origin);
        let [Outcome::Attached { session, .. }] = outcomes[..] else { panic!("{outcomes:?}") };
        assert!(self.node(at).locals.contains(session));
        session
    }

    fn create(&mut self, at: usize, origin: Origin, session: SessionId, path: &[u8], flags: i32) {
        self.ask(at, origin, session, WRITE, &create_with(path, flags));
    }

    fn has(&self, path: &[u8]) -> bool {
        self.node(LEADER).tree().reader().view().get(path).is_some()
    }

    fn is_attached(&self, at: usize, origin: Origin) -> bool {
        self.outcomes(at, origin).iter().any(|it| matches!(it, Outcome::Attached { .. }))
    }
}

const DONE: fn(&Outcome) -> bool = |it| matches!(it, Outcome::Done { err: ErrorCode::Ok, .. });

#[test]
fn a_session_that_comes_back_while_it_is_made_global_is_held_by_its_new_connection() {
    // Whose connections end with each epoch.
    let mut trio = Trio::new(OnPartition::Disconnect, None);
    let other = trio.begin(ELSEWHERE, at(9));
    let session = trio.begin(HOME, at(1));
    trio.create(HOME, at(1), session, b"/e", EPHEMERAL);
    // The leader decides, and founds an epoch before its server hears of that.
    trio.held.insert((LEADER, HOME));
    trio.arrive();
    trio.servers[LEADER].node.zab.spend_counter();
    trio.create(ELSEWHERE, at(9), other, b"/x", 0);
    trio.pass(40);
    trio.held.clear();
    // The new epoch is heard of, and what follows it not yet.
    let mut alone = false;
    while !alone {
        let place = trio.wire.iter().position(|it| (it.0, it.1) == (LEADER, HOME));
        let (.., message) = trio.wire.remove(place.expect("it is told")).expect("it was found");
        let clock = trio.clock;
        trio.step(HOME, Event::Heard { from: id_of(LEADER), message, clock });
        alone = !trio.node(HOME).is_serving();
    }
    trio.held.insert((LEADER, HOME));
    trio.pass(100);
    assert_eq!(trio.servers[HOME].displaced, [(at(1), session)], "without a leader");
    trio.held.clear();
    trio.ask(HOME, at(2), session, RESUME, &SECRET.0);
    trio.pass(200);
    if !trio.is_attached(HOME, at(2)) {
        trio.ask(HOME, at(2), session, RESUME, &SECRET.0);
        trio.pass(200);
    }
    assert!(trio.is_attached(HOME, at(2)), "{:?}", trio.outcomes(HOME, at(2)));
    assert!(trio.has(b"/e") && trio.node(HOME).sessions.contains(session));
    trio.create(HOME, at(2), session, b"/y", 0);
    trio.pass(100);
    let outcomes = trio.outcomes(HOME, at(2));
    assert!(outcomes.last().is_some_and(DONE), "{outcomes:?}");
}

fn goes_elsewhere(bug: Option<Mutant>) {
    let mut trio = Trio::new(OnPartition::Bounded, bug);
    let session = trio.begin(HOME, at(1));
    trio.held.insert((LEADER, HOME));
    // Its begin is proposed, and no record of it is applied anywhere: this leader's disk is slow.
    let body = create_with(b"/e", EPHEMERAL);
    let item = Item::new(at(1), session, 1, WRITE, Arc::from([]));
    let scope = exchange::Scope::Upgradable { timeout_ms: 4000, password: SECRET };
    let create = Asked { number: 77, item, scope, body: body.into() };
    let resume = Item::new(at(5), session, 0, RESUME, Arc::from([]));
    let resume = asked(1, resume, &SECRET.0);
    let wrong = asked(2, resume.item.clone(), b"another secret!!");
    let Server { node, out, .. } = &mut trio.servers[LEADER];
    assert!(node.decide(id_of(HOME), &create, out));
    assert!(!node.sessions.contains(session));
    assert!(node.decide(id_of(ELSEWHERE), &wrong, out));
    assert_eq!(node.attached[&session].server, id_of(HOME), "by who does not know its password");
    assert!(node.decide(id_of(ELSEWHERE), &resume, out));
    let verdicts = &node.responses[&id_of(ELSEWHERE)].verdicts;
    assert!(matches!(verdicts[..], [(1, Verdict::Resumed { .. })]), "{verdicts:?}");
    // What its old connection asked behind it is not done any more.
    let late = Asked { number: 78, body: create_with(b"/late", 0).into(), ..create };
    assert!(node.decide(id_of(HOME), &late, out));
    trio.step(LEADER, Event::Tick(trio.clock));
    assert!(trio.has(b"/e") && !trio.has(b"/late"));
    assert_eq!(trio.node(LEADER).attached[&session].server, id_of(ELSEWHERE));
}

fn told_over(bug: Option<Mutant>) {
    let mut trio = Trio::new(OnPartition::Bounded, bug);
    let session = trio.begin(HOME, at(1));
    // What it asks is slow on its way, and its client comes elsewhere.
    trio.held.insert((HOME, LEADER));
    trio.create(HOME, at(1), session, b"/e", EPHEMERAL);
    trio.create(HOME, at(1), session, b"/behind", 0);
    trio.ask(ELSEWHERE, at(5), session, RESUME, b"another secret!!");
    trio.ask(ELSEWHERE, at(6), session, RESUME, &SECRET.0);
    trio.arrive();
    assert_eq!(trio.outcomes(ELSEWHERE, at(6)), [Outcome::Expired]);
    trio.held.clear();
    trio.pass(100);
    assert!(!trio.has(b"/e"), "a node of a session that is over for its client");
    assert!(!trio.has(b"/behind"), "what was asked behind it was done alone");
    assert_eq!(trio.servers[HOME].displaced, [(at(1), session)]);
    // Who comes back to its own server was not told, as he has no other connection by then.
    trio.ask(HOME, at(2), session, RESUME, &SECRET.0);
    assert!(trio.is_attached(HOME, at(2)));
    trio.create(HOME, at(2), session, b"/e", EPHEMERAL);
    trio.pass(100);
    assert!(trio.has(b"/e") && trio.node(HOME).sessions.contains(session));
    assert!(trio.outcomes(HOME, at(2)).last().is_some_and(DONE));
}

#[test]
fn whoever_does_not_know_its_secret_does_not_keep_a_session_from_being_made_global() {
    let mut trio = Trio::new(OnPartition::Bounded, None);
    let session = trio.begin(HOME, at(1));
    trio.ask(ELSEWHERE, at(5), session, RESUME, b"another secret!!");
    trio.arrive();
    assert_eq!(trio.outcomes(ELSEWHERE, at(5)), [Outcome::Expired]);
    trio.create(HOME, at(1), session, b"/e", EPHEMERAL);
    trio.pass(100);
    assert!(trio.has(b"/e"));
    assert_eq!(trio.servers[HOME].displaced, []);
}

fn lags_behind(bug: Option<Mutant>) {
    let mut trio = Trio::new(OnPartition::Bounded, bug);
    let session = trio.begin(HOME, at(1));
    trio.create(HOME, at(1), session, b"/e", EPHEMERAL);
    trio.held.insert((LEADER, HOME));
    trio.arrive();
    assert!(trio.has(b"/e") && trio.node(HOME).locals.contains(session));
    // It hears nothing, so that its clock alone would take it for cut off: it is not asked.
    for _ in 0..80 {
        trio.clock.mono_ms += 100;
        trio.step(LEADER, Event::Tick(trio.clock));
        trio.touch(HOME, session);
        let Server { node, out, .. } = &mut trio.servers[HOME];
        node.clock = trio.clock;
        node.sweep(out);
        node.talk(out);
        trio.carry_out(HOME);
        trio.arrive();
    }
    assert!(trio.node(LEADER).sessions.contains(session), "it ended though its client is well");
    assert!(trio.has(b"/e"));
}

/// Its connection asks on while the end is on its way: that is given back at once, and what it asked before has no
/// answer yet. So the connection ends first.
#[test]
fn who_asks_on_behind_its_sessions_end_is_hung_up_on_before_it_is_answered_out_of_order() {
    let mut trio = Trio::new(OnPartition::Bounded, None);
    let session = trio.begin(HOME, at(1));
    let other = trio.begin(HOME, at(2));
    trio.create(HOME, at(1), session, b"/e", EPHEMERAL);
    trio.create(HOME, at(2), other, b"/other", EPHEMERAL);
    trio.pass(100);
    assert!(trio.node(HOME).sessions.contains(session), "it is everybody's");
    // Nobody hears of it for as long as it lives, and what the leader says of that is slow on its way home.
    while trio.node(LEADER).sessions.contains(session) {
        assert!(trio.clock.mono_ms < 60_000, "a session of four seconds has not ended");
        trio.held.clear();
        trio.touch(HOME, other);
        for at in [HOME, ELSEWHERE] {
            trio.step(at, Event::Tick(trio.clock));
        }
        trio.arrive();
        trio.clock.mono_ms += TICK_MS;
        trio.held.insert((LEADER, HOME));
        trio.step(LEADER, Event::Tick(trio.clock));
    }
    trio.create(HOME, at(1), session, b"/unanswered", 0);
    while trio.node(HOME).sessions.contains(session) {
        let place = trio.wire.iter().position(|it| (it.0, it.1) == (LEADER, HOME));
        let (.., message) = trio.wire.remove(place.expect("its end")).expect("it was found");
        let clock = trio.clock;
        trio.step(HOME, Event::Heard { from: id_of(LEADER), message, clock });
    }
    assert_eq!(trio.servers[HOME].displaced, [(at(1), session)]);
}

#[test]
fn a_session_that_goes_elsewhere_while_it_is_made_global_goes_on_there() {
    goes_elsewhere(None);
}

#[test]
fn whoever_was_told_that_a_local_session_is_over_can_rely_on_it() {
    told_over(None);
}

#[test]
fn a_server_that_lags_behind_keeps_the_session_alive_that_it_asked_to_make_global() {
    lags_behind(None);
}

/// The same with the bug that each is about.
#[cfg(feature = "mutants")]
mod planted {
    use super::*;

    #[test]
    #[should_panic]
    fn goes_elsewhere_is_seen() {
        goes_elsewhere(Some(Mutant::UpgradeUnknownElsewhere));
    }

    #[test]
    #[should_panic]
    fn told_over_is_seen() {
        told_over(Some(Mutant::UpgradeThoughToldOver));
    }

    #[test]
    #[should_panic]
    fn lags_behind_is_seen() {
        lags_behind(Some(Mutant::UpgradingNotTouched));
    }
}
