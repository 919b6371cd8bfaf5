//! The machine at the seams between sessions, connections and epochs.

mod ensemble;
mod locals;
mod upgrades;

use super::submission::{Ask, Item, Origin, Outcome, Reply, Submission};
use super::*;
use crate::acl;
use crate::limits::WRITE_BYTES_OUTSTANDING_MAX;
use crate::log::epochs::Epochs;
use crate::session::Session;
use crate::tree::{self, TreeOptions};
use crate::wire::handshake::Password;
use crate::wire::request::{CreateRequest, Request};
use crate::wire::{ErrorCode, OpCode};
use crate::zab::quorum::Quorum;
use crate::zxid::{Epoch, ServerId};

const ME: ServerId = ServerId(1);
const SECRET: Password = Password([7; 16]);
const OPEN: Ask = Ask::Open { timeout_ms: 4000, password: SECRET, read_only: false };
const RESUME: Ask = Ask::Resume { timeout_ms: 4000, read_only: false };

/// A leader whose log is as fast as it is asked to be.
struct Rig {
    node: Node,
    out: Output,
    clock: Clock,
}

fn at(connection: u32) -> Origin {
    Origin { reactor: 0, connection, generation: connection, sequence: 0 }
}

fn create(path: &[u8]) -> Vec<u8> {
    create_with(path, 0)
}

fn create_of(path: &[u8], data: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let (data, acl) = (Some(data), Some(acl::OPEN));
    Request::Create(CreateRequest { path, data, acl, flags: 0, ttl: -1 }).encode(&mut body);
    body
}

fn create_with(path: &[u8], flags: i32) -> Vec<u8> {
    let mut body = Vec::new();
    let request = CreateRequest { path, data: None, acl: Some(acl::OPEN), flags, ttl: -1 };
    Request::Create(request).encode(&mut body);
    body
}

/// How much longer than its timeout a session lives whose server does not vote.
const GRACE_MS: i32 = 3_000;

impl Rig {
    fn new() -> Self {
        Self::with(LocalSessions::Off)
    }

    fn with(local_sessions: LocalSessions) -> Self {
        Self::having(local_sessions, SessionTable::new())
    }

    /// One that starts with these sessions.
    fn having(local_sessions: LocalSessions, sessions: SessionTable) -> Self {
        let (writer, tree) = tree::new(TreeOptions { hash_seed: 1 });
        let zab = Zab::new(ME, Quorum::majority([ME]), Epochs::default(), Zxid::ZERO);
        let reap = ReapOptions { interval_ms: 60_000, per_minute_max: 1000, never_used_ms: None };
        let options = NodeOptions {
            prepare: Options::default(),
            tick_ms: 1000,
            hash_seed: 1,
            reap,
            wait_ms: 10_000,
            stale_ms_max: None,
            on_partition: OnPartition::default(),
            learner_grace_ms: GRACE_MS,
            lists_learners: false,
            write_bytes_max: 1 << 20,
            local_sessions,
        };
        let recovered = Recovered { writer, tree, sessions, chain: Chain::default() };
        let ids = SessionIds::new(ME, 1_700_000_000_000).expect("a small server number");
        let clock = Clock { mono_ms: 1000, wall_ms: 1_700_000_000_000 };
        let node = Node::new(options, zab, ids, recovered, clock);
        let mut rig = Self { node, out: Output::default(), clock };
        rig.node.step(Event::Zab(zab::Event::Start), &mut rig.out);
        rig.save_epochs();
        rig
    }

    /// What the shell does with the epochs that it is given; whether it was given any.
    fn save_epochs(&mut self) -> bool {
        let saves =
            |action| if let Action::SaveEpochs(epochs) = action { Some(epochs) } else { None };
        let Some(epochs): Option<Epochs> = self.out.actions.drain(..).find_map(saves) else {
            return false;
        };
        self.node.step(Event::Zab(zab::Event::EpochsSaved(epochs)), &mut self.out);
        true
    }

    fn ask(&mut self, origin: Origin, session: SessionId, ask: Ask, body: &[u8]) {
        let mut submission = Submission::default();
        submission.push(origin, session, 1, ask, body, &Arc::from([]));
        let clock = self.clock;
        self.node.step(Event::Submitted { submission: &submission, clock }, &mut self.out);
    }

    /// Makes everything durable and takes the replies.
    fn settle(&mut self) -> Vec<Reply> {
        self.node.propose(&mut self.out);
        for action in std::mem::take(&mut self.out.actions) {
            if let Action::Append { ticket, run } = action {
                let event = zab::Event::Durable { ticket, upto: run.upto().zxid };
                self.node.step(Event::Zab(event), &mut self.out);
            }
        }
        let replies = self.out.replies.clone();
        self.out.clear();
        replies
    }

    fn open(&mut self, origin: Origin) -> SessionId {
        self.ask(origin, SessionId::NONE, OPEN, &[]);
        let replies = self.settle();
        let Outcome::Attached { session, .. } = replies[0].outcome else { panic!("{replies:?}") };
        session
    }

    fn has(&self, path: &[u8]) -> bool {
        self.node.tree().reader().view().get(path).is_some()
    }
}

#[test]
fn a_new_leader_gives_the_grace_to_sessions_that_did_not_begin_at_a_voter() {
    let (voters, guests) = (SessionId(u64::from(ME.0) << 56 | 1), SessionId(77 << 56));
    let mut sessions = SessionTable::new();
    for id in [voters, guests] {
        sessions.insert(id, Session { timeout_ms: 4000, password: SECRET });
    }
    let mut rig = Rig::having(LocalSessions::Off, sessions);
    let begun_ms = rig.clock.mono_ms;
    let mut ended = Vec::new();
    while rig.clock.mono_ms < begun_ms + 20_000 {
        rig.clock.mono_ms += 100;
        let clock = rig.clock;
        rig.node.step(Event::Tick(clock), &mut rig.out);
        rig.settle();
        for id in [voters, guests] {
            if !rig.node.sessions.contains(id) && !ended.iter().any(|(it, _)| *it == id) {
                ended.push((id, rig.clock.mono_ms - begun_ms));
            }
        }
    }
    let [(first, early_ms), (second, late_ms)] = ended[..] else { panic!("{ended:?}") };
    assert_eq!((first, second), (voters, guests));
    assert!((4_000..=5_500).contains(&early_ms), "{early_ms}");
    let with_grace = 4_000 + i64::from(GRACE_MS);
    assert!((with_grace..=with_grace + 1_500).contains(&late_ms), "{late_ms}");
}

#[test]
fn a_write_left_on_the_old_connection_is_not_done_behind_those_of_the_new_one() {
    let mut rig = Rig::new();
    let session = rig.open(at(1));
    rig.ask(at(1), session, Ask::Write(OpCode::Create), &create(b"/before"));
    rig.ask(at(2), session, RESUME, &SECRET.0);
    rig.ask(at(2), session, Ask::Write(OpCode::Create), &create(b"/new"));
    // Its reactor had not heard yet that the session moved.
    rig.ask(at(1), session, Ask::Write(OpCode::Create), &create(b"/late"));
    let replies = rig.settle();
    assert!(rig.has(b"/before") && rig.has(b"/new"));
    assert!(!rig.has(b"/late"), "an old connection undid what its client did on the new one");
    assert_eq!(replies.len(), 4, "each ask is answered: {replies:?}");
    // Not either when the new connection has gone again.
    rig.ask(at(2), session, Ask::Left, &[]);
    rig.ask(at(1), session, Ask::Write(OpCode::Create), &create(b"/later"));
    rig.settle();
    assert!(!rig.has(b"/later"));
    rig.ask(at(3), session, RESUME, &SECRET.0);
    rig.ask(at(3), session, Ask::Write(OpCode::Create), &create(b"/again"));
    rig.settle();
    assert!(rig.has(b"/again"));
}

#[test]
fn a_spent_counter_holds_asks_up_only_until_the_next_epoch_is_founded() {
    let mut rig = Rig::new();
    let session = rig.open(at(1));
    rig.node.zab.spend_counter();
    rig.ask(at(1), session, Ask::Write(OpCode::Create), &create(b"/x"));
    rig.ask(at(9), SessionId::NONE, OPEN, &[]);
    assert_eq!(rig.settle().len(), 0, "nothing can be proposed");
    let clock = rig.clock;
    rig.node.step(Event::Tick(clock), &mut rig.out);
    assert!(rig.save_epochs(), "a spent counter, and nobody founds the next epoch");
    assert_eq!(rig.settle().len(), 1);
    rig.node.step(Event::Tick(clock), &mut rig.out);
    assert!(rig.save_epochs());
    assert_eq!(rig.settle().len(), 1, "epochs of one proposal: the second in the next");
    assert!(rig.has(b"/x"));
    assert_eq!(rig.node.applied().epoch(), Epoch(3));
}

#[test]
fn a_full_log_refuses_writes_and_still_lets_sessions_begin_and_end() {
    let mut rig = Rig::new();
    let session = rig.open(at(1));
    rig.node.step(Event::LogRoom(SESSION_RESERVE_BYTES as u64), &mut rig.out);
    rig.ask(at(1), session, Ask::Write(OpCode::Create), &create(b"/refused"));
    let refused = Outcome::Done { err: ErrorCode::NotReadOnly, start: 0, end: 0 };
    assert_eq!(rig.settle()[0].outcome, refused);
    let second = rig.open(at(2));
    rig.ask(at(2), second, Ask::Write(OpCode::CloseSession), &[]);
    let done = Outcome::Done { err: ErrorCode::Ok, start: 0, end: 0 };
    assert_eq!(rig.settle()[0].outcome, done);
    rig.node.step(Event::LogRoom(0), &mut rig.out);
    rig.ask(at(3), SessionId::NONE, OPEN, &[]);
    assert_eq!(rig.settle()[0].outcome, Outcome::Refused);
}

#[test]
fn what_was_proposed_takes_room_before_the_log_is_asked_how_much_is_left() {
    let mut rig = Rig::new();
    let session = rig.open(at(1));
    let room = SESSION_RESERVE_BYTES + 4 * create(b"/1").len();
    rig.node.step(Event::LogRoom(room as u64), &mut rig.out);
    rig.ask(at(1), session, Ask::Write(OpCode::Create), &create(b"/1"));
    rig.settle();
    assert!(rig.has(b"/1"));
    rig.ask(at(1), session, Ask::Write(OpCode::Create), &create(b"/2"));
    let refused = Outcome::Done { err: ErrorCode::NotReadOnly, start: 0, end: 0 };
    assert_eq!(rig.settle()[0].outcome, refused);
    rig.node.step(Event::LogRoom(room as u64), &mut rig.out);
    rig.ask(at(1), session, Ask::Write(OpCode::Create), &create(b"/2"));
    rig.settle();
    assert!(rig.has(b"/2"));
}

#[test]
fn a_session_goes_on_behind_all_that_was_asked_for_it() {
    let mut rig = Rig::new();
    let session = rig.open(at(1));
    rig.ask(at(1), session, Ask::Write(OpCode::Create), &create(b"/before"));
    rig.ask(at(2), session, RESUME, &SECRET.0);
    rig.ask(at(3), session, RESUME, &SECRET.0);
    assert_eq!(rig.out.replies.len(), 0, "the session went on before what was asked earlier");
    let replies = rig.settle();
    assert_eq!(replies[0].origin, at(1));
    // Two connections were given it: only the last one has it, and is told so.
    assert_eq!((replies[1].origin, replies[1].outcome), (at(2), Outcome::Refused));
    assert_eq!(replies[2].origin, at(3));
    assert!(matches!(replies[2].outcome, Outcome::Attached { .. }), "{replies:?}");
    assert_eq!(rig.node.attached[&session].origin, at(3));
}

#[test]
fn the_end_of_a_session_that_had_to_wait_is_done_though_its_connection_is_gone() {
    let mut rig = Rig::new();
    let session = rig.open(at(1));
    rig.node.zab.spend_counter();
    rig.ask(at(1), session, Ask::Write(OpCode::CloseSession), &[]);
    rig.ask(at(1), session, Ask::Left, &[]);
    let clock = rig.clock;
    rig.node.step(Event::Tick(clock), &mut rig.out);
    assert!(rig.save_epochs(), "the next epoch is founded");
    rig.settle();
    assert!(!rig.node.sessions().contains(session));
}

#[test]
fn the_end_left_on_an_old_connection_is_not_done_though_the_new_one_has_gone_again() {
    let mut rig = Rig::new();
    let session = rig.open(at(1));
    rig.ask(at(2), session, Ask::Resume { timeout_ms: 4000, read_only: false }, &SECRET.0);
    rig.settle();
    rig.ask(at(2), session, Ask::Left, &[]);
    // Its reactor had not heard yet that the session moved.
    rig.ask(at(1), session, Ask::Write(OpCode::CloseSession), &[]);
    let refused = Outcome::Done { err: ErrorCode::SessionExpired, start: 0, end: 0 };
    assert_eq!(rig.settle()[0].outcome, refused);
    assert!(rig.node.sessions().contains(session));
}

fn asked(number: u64, item: submission::Item, body: &[u8]) -> exchange::Asked {
    exchange::Asked { number, item, scope: exchange::Scope::Global, body: body.into() }
}

#[test]
fn a_leader_remembers_whom_it_gave_a_session_when_that_one_has_gone_again() {
    let mut rig = Rig::new();
    let session = rig.open(at(1));
    let who = Arc::from([]);
    let item = |ask| Item::new(at(5), session, 1, ask, Arc::clone(&who));
    let (near, far) = (ServerId(2), ServerId(3));
    for server in [near, far] {
        let resume = item(Ask::Resume { timeout_ms: 4000, read_only: false });
        let resume = asked(1, resume, &SECRET.0);
        assert!(rig.node.decide(server, &resume, &mut rig.out));
        rig.settle();
    }
    let left = exchange::Request { left: vec![(session, at(5))], ..Default::default() };
    let left = Action::Requested { from: far, session: 1, bytes: left.encode() };
    rig.node.act(left, &mut rig.out);
    // It was on its way from the server that had the session before.
    let close = item(Ask::Write(OpCode::CloseSession));
    let close = asked(2, close, &[]);
    assert!(rig.node.decide(near, &close, &mut rig.out));
    rig.settle();
    assert!(rig.node.sessions().contains(session), "what an old connection asked ended it");
    assert!(rig.node.decide(far, &close, &mut rig.out));
    rig.settle();
    assert!(!rig.node.sessions().contains(session), "its last connection could not end it");
}

#[test]
fn a_leader_that_stood_still_keeps_what_connections_negotiated() {
    let mut rig = Rig::new();
    let session = rig.open(at(1)); // for 4 s
    rig.ask(at(2), session, Ask::Resume { timeout_ms: 40_000, read_only: false }, &SECRET.0);
    rig.settle();
    for pause_ms in std::iter::once(2 * 1000).chain([50; 400]) {
        rig.clock.mono_ms += pause_ms;
        let clock = rig.clock;
        rig.node.step(Event::Tick(clock), &mut rig.out);
        rig.settle();
    }
    assert!(rig.node.sessions().contains(session), "it ended after the time of its creation");
}

#[test]
fn what_a_start_applied_is_shown_to_nobody_before_a_leader_confirms_it() {
    let mut rig = Rig::new();
    let session = rig.open(at(1));
    let (writer, tree) = tree::new(TreeOptions { hash_seed: 1 });
    let mut recovered =
        Recovered { writer, tree, sessions: SessionTable::new(), chain: rig.node.applied.chain };
    let password = SECRET;
    let txn = crate::txn::Txn::CreateSession { timeout_ms: 4000, password };
    let zxid = rig.node.applied();
    let head = crate::txn::TxnHead { zxid, time_ms: 1, session, cxid: 0 };
    recovered.writer.apply(&head, &txn, &mut Applied::default());
    recovered.sessions.apply(&head, &txn);
    let epochs = Epochs { accepted: Epoch(1), current: Epoch(1) };
    let voters = [ME, ServerId(2), ServerId(3)];
    let zab = Zab::new(ME, Quorum::majority(voters), epochs, zxid);
    let ids = SessionIds::new(ME, 1_700_000_000_000).expect("a small server number");
    let mut node = Node::new(rig.node.options.clone(), zab, ids, recovered, rig.clock);
    node.route = route::Route::Open(ServerId(2), 1);
    let number = node.asks.push(Item::new(at(1), session, 0, RESUME, Arc::from([])), &[], 0);
    node.asks.asked();
    let hold = Hold(1);
    let behind = Zxid::ZERO;
    let verdict = exchange::Verdict::Resumed { behind, hold, timeout_ms: 4000, password };
    let mut out = Output::default();
    node.settle(number, verdict, &mut out);
    assert_eq!(out.replies.len(), 0, "its log may be cut yet, and its client would have seen it");
    node.apply(zxid, &mut out);
    assert!(matches!(out.replies[..], [Reply { outcome: Outcome::Attached { .. }, .. }]));
}

#[test]
fn an_answer_behind_a_proposal_that_was_lost_is_not_given_at_the_next_leaders_first() {
    let mut rig = Rig::new();
    let session = rig.open(at(1));
    let write = Ask::Write(OpCode::Create);
    let item = Item::new(at(1), session, 1, write, Arc::from([]));
    let number = rig.node.asks.push(item, &create(b"/a"), 0);
    rig.node.asks.asked();
    let behind = Zxid::new(Epoch(1), 100); // of a leader that nobody followed there
    let verdict = exchange::Verdict::Refused { behind, code: ErrorCode::NotReadOnly };
    rig.node.settle(number, verdict, &mut rig.out);
    rig.node.zab.spend_counter();
    rig.ask(at(2), SessionId::NONE, OPEN, &[]);
    let clock = rig.clock;
    rig.node.step(Event::Tick(clock), &mut rig.out);
    assert!(rig.save_epochs(), "the next epoch is founded");
    let replies = rig.settle();
    assert_eq!(rig.node.applied().epoch(), Epoch(2));
    assert!(replies.iter().all(|it| it.origin == at(2)), "out of its turn: {replies:?}");
}

#[test]
fn every_item_of_a_submission_names_its_body() {
    let mut submission = Submission::default();
    let who: Arc<[crate::acl::Identity]> = Arc::from([]);
    submission.push(at(1), SessionId(1), 1, Ask::Sync, b"/a", &who);
    submission.push(at(1), SessionId(1), 2, Ask::Sync, b"", &who);
    submission.push(at(1), SessionId(1), 3, Ask::Sync, b"/bc", &who);
    let bodies: Vec<_> =
        submission.items().map(|(item, body): (&Item, _)| (item.cxid, body)).collect();
    assert_eq!(bodies, [(1, &b"/a"[..]), (2, b""), (3, b"/bc")]);
}

#[test]
fn a_server_long_without_a_leader_sends_new_connections_elsewhere_at_once() {
    let (writer, tree) = tree::new(TreeOptions { hash_seed: 1 });
    let voters = [ServerId(1), ServerId(2), ServerId(3)];
    let zab = Zab::new(ME, Quorum::majority(voters), Epochs::default(), Zxid::ZERO);
    let mut rig = Rig::new();
    let recovered =
        Recovered { writer, tree, sessions: SessionTable::new(), chain: Chain::default() };
    let ids = SessionIds::new(ME, 1_700_000_000_000).expect("a small server number");
    rig.node = Node::new(rig.node.options.clone(), zab, ids, recovered, rig.clock);
    rig.node.step(Event::Zab(zab::Event::Start), &mut rig.out);
    rig.ask(at(1), SessionId::NONE, OPEN, &[]);
    assert!(rig.out.replies.is_empty(), "an election may be over soon");
    rig.clock.mono_ms += 3_000;
    rig.ask(at(2), SessionId::NONE, OPEN, &[]);
    rig.ask(at(3), SessionId(7), RESUME, &SECRET.0);
    let outcomes: Vec<Outcome> = rig.out.replies.iter().map(|reply| reply.outcome).collect();
    assert_eq!(outcomes, [Outcome::Refused, Outcome::Refused]);
}

/// Lets a look's time pass, and makes durable what came of it.
fn look(rig: &mut Rig) {
    rig.clock.mono_ms += route::SWEEP_INTERVAL_MS;
    let clock = rig.clock;
    rig.node.step(Event::Tick(clock), &mut rig.out);
    rig.settle();
}

/// A leader with so many sessions, of which none has been heard for as long as it may be silent.
fn with_silent_sessions(count: usize) -> (Rig, Vec<SessionId>) {
    let mut rig = Rig::new();
    for connection in 0..count {
        rig.ask(at(connection as u32), SessionId::NONE, OPEN, &[]);
    }
    rig.settle();
    let sessions: Vec<SessionId> = rig.node.sessions().iter().map(|it| it.0).collect();
    assert_eq!(sessions.len(), count);
    let due_ms = rig.node.expiry().next_due_ms().expect("sessions are watched");
    while rig.clock.mono_ms + route::SWEEP_INTERVAL_MS < due_ms + sessions::HELD_BACK_MS_MAX {
        look(&mut rig);
    }
    assert_eq!(rig.node.sessions().len(), count, "it is too early");
    (rig, sessions)
}

#[test]
fn after_a_mass_loss_each_look_ends_as_many_sessions_as_one_may() {
    let most = sessions::EXPIRED_PER_LOOK_MAX;
    let (mut rig, all) = with_silent_sessions(2 * most + 100);
    look(&mut rig);
    assert_eq!(rig.node.sessions().len(), most + 100);
    // One that was due and is heard meanwhile lives.
    let heard = *all.iter().find(|&&id| rig.node.sessions().contains(id)).expect("some live");
    let mut submission = Submission::default();
    submission.touch(heard, 4000);
    let clock = rig.clock;
    rig.node.step(Event::Submitted { submission: &submission, clock }, &mut rig.out);
    look(&mut rig);
    assert_eq!(rig.node.sessions().len(), 100);
    look(&mut rig);
    assert_eq!(rig.node.sessions().iter().map(|it| it.0).collect::<Vec<_>>(), [heard]);
}

#[test]
fn sessions_that_could_not_be_ended_end_as_soon_as_the_log_has_room() {
    let (mut rig, _) = with_silent_sessions(10);
    rig.node.step(Event::LogRoom(0), &mut rig.out);
    (0..3).for_each(|_| look(&mut rig));
    assert_eq!(rig.node.sessions().len(), 10);
    rig.node.step(Event::LogRoom(u64::MAX), &mut rig.out);
    look(&mut rig);
    assert_eq!(rig.node.sessions().len(), 0, "they wait for another tick");
}

#[test]
fn a_session_by_the_id_of_none_is_no_proposal_whoever_asks_for_it() {
    let mut rig = Rig::new();
    let before = rig.node.named();
    let open = Item::new(at(1), SessionId::NONE, 0, OPEN, Arc::from([]));
    let write = Ask::Write(OpCode::Create);
    let write = Item::new(at(1), SessionId::NONE, 0, write, Arc::from([]));
    let scope = exchange::Scope::Upgradable { timeout_ms: 4000, password: SECRET };
    let upgrades =
        exchange::Asked { number: 2, item: write, scope, body: create_with(b"/e", 1).into() };
    for asked in [asked(1, open, &[]), upgrades] {
        let request = exchange::Request { asks: vec![asked], ..Default::default() };
        let from = ServerId(9);
        let action = Action::Requested { from, session: 1, bytes: request.encode() };
        rig.node.act(action, &mut rig.out);
        assert_eq!(rig.out.warnings.len(), 1);
        rig.settle();
    }
    // Nor is what got in all the same.
    let open = Item::new(at(1), SessionId::NONE, 0, OPEN, Arc::from([]));
    assert!(rig.node.decide(ServerId(9), &asked(1, open, &[]), &mut rig.out));
    rig.settle();
    assert_eq!(rig.node.named(), before);
    rig.open(at(2));
}

/// Each server holds back its own clients; nobody else does so for all of them together.
#[test]
fn what_many_servers_ask_for_together_is_proposed_in_runs_that_a_message_holds() {
    let mut rig = Rig::new();
    let session = rig.open(at(1));
    let data = vec![7; 1 << 20];
    let path = |number: u32| format!("/{number}").into_bytes();
    let writes = 1 + (WRITE_BYTES_OUTSTANDING_MAX >> 20) as u32;
    for number in 0..=writes {
        let body = create_of(&path(number), &data);
        rig.ask(at(1), session, Ask::Write(OpCode::Create), &body);
        let (bytes, _) = rig.node.proposable().expect("something is named");
        assert!(bytes <= WRITE_BYTES_OUTSTANDING_MAX / 2 + (2 << 20), "{bytes} in one run");
    }
    // Its reactors stop to read at this.
    assert!(rig.node.unapplied_bytes() >= WRITE_BYTES_OUTSTANDING_MAX, "all that waits counts");
    rig.settle();
    assert!(rig.has(&path(0)) && !rig.has(&path(writes)), "the last ones wait");
    rig.settle();
    rig.settle();
    assert!((0..=writes).all(|number| rig.has(&path(number))));
}

#[test]
fn clients_of_the_leader_and_of_others_come_first_in_turn_where_runs_are_full() {
    let mut rig = Rig::new();
    let (here, elsewhere) = (rig.open(at(1)), rig.open(at(2)));
    let server = ServerId(2);
    rig.node.attached.get_mut(&elsewhere).expect("it is connected").server = server;
    let data = vec![7; 1 << 20];
    let runs = 6;
    for number in 0..(runs * WRITE_BYTES_OUTSTANDING_MAX / 2) >> 20 {
        let ask = Ask::Write(OpCode::Create);
        let item = Item::new(at(2), elsewhere, 1, ask, Arc::from([]));
        let body = Arc::from(create_of(format!("/there-{number}").as_bytes(), &data));
        let scope = exchange::Scope::Global;
        let asked = exchange::Asked { number: number as u64, scope, item, body };
        rig.node.deferred.push_back((server, asked));
    }
    // One run of theirs is on its way, and the next is full: this server's clients are read on.
    rig.node.step(Event::Zab(zab::Event::Tick), &mut rig.out);
    rig.node.propose(&mut rig.out);
    assert!(
        rig.node.proposable().is_some_and(|(bytes, _)| WRITE_BYTES_OUTSTANDING_MAX / 2 <= bytes)
    );
    assert!(rig.node.unapplied_bytes() < WRITE_BYTES_OUTSTANDING_MAX);
    rig.ask(at(1), here, Ask::Write(OpCode::Create), &create_of(b"/here", &data));
    rig.settle();
    assert!(rig.has(b"/there-0") && !rig.has(b"/here"), "the first run was full");
    rig.settle();
    rig.settle();
    assert!(rig.has(b"/here"));
    assert!(!rig.node.deferred.is_empty(), "others wait, too");
}

#[test]
fn a_session_that_comes_back_does_not_expire_while_that_waits_to_be_decided() {
    let mut rig = Rig::new();
    let session = rig.open(at(1));
    let ends = |rig: &Rig| rig.node.expiry().iter().find(|it| it.0 == session).map(|it| it.1);
    let before = ends(&rig);
    rig.clock.mono_ms += 3000;
    // Nothing is decided now.
    let data = vec![7; 1 << 20];
    for number in 0..=WRITE_BYTES_OUTSTANDING_MAX >> 20 {
        let body = create_of(format!("/{number}").as_bytes(), &data);
        rig.ask(at(1), session, Ask::Write(OpCode::Create), &body);
    }
    let wrong = Password([1; 16]);
    rig.ask(at(2), session, RESUME, &wrong.0);
    assert_eq!(ends(&rig), before, "whoever does not know the secret");
    let password = rig.node.sessions().get(session).expect("it lives").password;
    rig.ask(at(3), session, RESUME, &password.0);
    assert!(before < ends(&rig));
    assert!(rig.settle().iter().all(|reply| !matches!(reply.outcome, Outcome::Attached { .. })));
}
