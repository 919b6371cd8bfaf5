//! A voter that is alone, and what one machine does by itself.

mod guests;
mod joining;
mod lagging;
mod rejoining;
mod relays;
mod snapshots;

use super::*;
use crate::record::{self, Chain};
use crate::txn::{Txn, TxnHead};
use crate::zxid::SessionId;

fn alone(logged: Zxid) -> Zab {
    let epoch = logged.epoch();
    let epochs = Epochs { accepted: epoch, current: epoch };
    Zab::new(ServerId(1), Quorum::majority([ServerId(1)]), epochs, logged)
}

fn save_epochs(zab: &mut Zab, out: &mut Vec<Action>) -> Option<Epochs> {
    let saves = |action| if let Action::SaveEpochs(epochs) = action { Some(epochs) } else { None };
    let epochs = out.drain(..).find_map(saves)?;
    zab.step(Event::EpochsSaved(epochs), out);
    Some(epochs)
}

fn elected(logged: Zxid) -> (Zab, Vec<Action>) {
    let (mut zab, mut out) = (alone(logged), Vec::new());
    zab.step(Event::Start, &mut out);
    assert_eq!(zab.proposable(), None, "it proposes before its epoch is durable");
    save_epochs(&mut zab, &mut out).expect("elected");
    out.clear();
    (zab, out)
}

/// Names a proposal and makes it.
fn propose(zab: &mut Zab, out: &mut Vec<Action>) -> Position {
    let zxid = zab.proposable().expect("leads");
    zab.proposed(zxid);
    let head = TxnHead { zxid, time_ms: 0, session: SessionId(1), cxid: 1 };
    let mut bytes = Vec::new();
    // The shortest record there is.
    let chain = record::append(&head, &Txn::CloseSession, zab.log().chain, &mut bytes);
    let upto = Position { zxid, chain };
    zab.step(Event::Proposed(run::Run::own(zab.log(), upto, bytes.into())), out);
    upto
}

fn durable(zab: &mut Zab, upto: Zxid) -> Option<Zxid> {
    let (mut out, ticket) = (Vec::new(), zab.base.ticket);
    zab.step(Event::Durable { ticket, upto }, &mut out);
    out.into_iter()
        .find_map(|action| if let Action::Committed(upto) = action { Some(upto) } else { None })
}

/// Takes what is said to `to` out of what came of a step.
fn said_to(out: &[Action], to: u32) -> Vec<Message> {
    let mut said = Vec::new();
    for action in out {
        if let Action::Send { to: whom, message } = action
            && *whom == ServerId(to)
        {
            said.push(message.clone());
        }
    }
    said
}

#[test]
fn a_single_voter_founds_a_new_epoch_and_proposes_only_when_it_is_durable() {
    let (mut zab, mut out) = (alone(Zxid::new(Epoch(4), 9)), Vec::new());
    zab.step(Event::Start, &mut out);
    assert_eq!(zab.proposable(), None);
    let epochs = save_epochs(&mut zab, &mut out);
    assert_eq!(epochs, Some(Epochs { accepted: Epoch(5), current: Epoch(5) }));
    assert_eq!(propose(&mut zab, &mut out).zxid, Zxid::new(Epoch(5), 1));
    assert_eq!(propose(&mut zab, &mut out).zxid, Zxid::new(Epoch(5), 2));
}

#[test]
fn a_proposal_is_committed_once_it_is_durable_and_not_before() {
    let (mut zab, mut out) = elected(Zxid::ZERO);
    let first = propose(&mut zab, &mut out).zxid;
    let second = propose(&mut zab, &mut out).zxid;
    assert_eq!(durable(&mut zab, Zxid::ZERO), None);
    assert_eq!(durable(&mut zab, first), Some(first));
    assert_eq!(durable(&mut zab, first), None);
    assert_eq!(durable(&mut zab, second), Some(second));
}

#[test]
fn a_spent_counter_founds_the_next_epoch_once_all_is_committed() {
    let (mut zab, mut out) = elected(Zxid::ZERO);
    let last = propose(&mut zab, &mut out).zxid;
    zab.spend_counter();
    zab.step(Event::Tick, &mut out);
    assert_eq!(save_epochs(&mut zab, &mut out), None, "the last proposal is not durable yet");
    assert_eq!(zab.proposable(), None);
    durable(&mut zab, last);
    zab.step(Event::Tick, &mut out);
    assert!(save_epochs(&mut zab, &mut out).is_some(), "nobody founds the next epoch");
    zab.base.timing.epoch_proposals = u32::MAX;
    assert_eq!(propose(&mut zab, &mut out).zxid, Zxid::new(Epoch(2), 1));
}

#[test]
fn one_voter_of_three_elects_nobody() {
    let voters = [ServerId(1), ServerId(2), ServerId(3)];
    let mut zab = Zab::new(ServerId(1), Quorum::majority(voters), Epochs::default(), Zxid::ZERO);
    let mut out = Vec::new();
    zab.step(Event::Start, &mut out);
    assert_eq!(save_epochs(&mut zab, &mut out), None);
    assert_eq!(zab.proposable(), None);
}

/// Machines whose messages arrive at once and in order, and whose disks are instant.
struct Room {
    servers: Vec<Zab>,
    waiting: std::collections::VecDeque<(usize, Event)>,
    delivered: usize,
    /// The first server's log.
    runs: Vec<run::Run>,
}

impl Room {
    fn new(voters: u32, learners: u32) -> Self {
        Self::recovered(voters, learners, Recovered::default())
    }

    /// Who all have the same on their disks.
    fn recovered(voters: u32, learners: u32, recovered: Recovered) -> Self {
        let quorum = Quorum::majority((1..=voters).map(ServerId));
        let servers = (1..=voters + learners)
            .map(|id| {
                let membership = if id <= voters { Membership::Voter } else { Membership::Learner };
                let (me, seed, timing) = (ServerId(id), u64::from(id), Timing::default());
                let options =
                    Options { me, quorum: quorum.clone(), membership, listed: false, timing, seed };
                Zab::with(options, recovered)
            })
            .collect();
        let waiting = std::collections::VecDeque::new();
        Self { servers, waiting, delivered: 0, runs: Vec::new() }
    }

    fn step(&mut self, server: usize, event: Event) {
        let mut out = Vec::new();
        self.servers[server].step(event, &mut out);
        self.act(server, out);
    }

    fn act(&mut self, server: usize, out: Vec<Action>) {
        let from = self.servers[server].me();
        for action in out {
            if let Action::Send { to, message } = action {
                let event = Event::Received { from, message };
                self.waiting.push_back((to.0 as usize - 1, event));
            } else if let Action::SaveEpochs(epochs) = action {
                self.waiting.push_back((server, Event::EpochsSaved(epochs)));
            } else if let Action::ReadLog { ticket, from, .. } = action {
                let (at, run) = self.read(server, from);
                self.waiting.push_back((server, Event::LogRead { ticket, at: Some(at), run }));
            } else if let Action::Append { ticket, run } = action {
                let upto = run.upto().zxid;
                if server == 0 {
                    self.runs.push(run);
                }
                self.waiting.push_back((server, Event::Durable { ticket, upto }));
            }
        }
    }

    /// What is in a log at `from` and behind it: a part of what the first server has written.
    fn read(&self, server: usize, from: Zxid) -> (Position, Option<run::Run>) {
        let log = self.servers[server].log();
        if from == log.zxid {
            return (log, None);
        }
        let (mut at, mut bytes) = (Position::ROOT, Vec::new());
        for run in self.runs.iter().filter(|run| run.upto().zxid <= log.zxid) {
            if run.upto().zxid <= from {
                at = run.upto();
            } else {
                bytes.extend_from_slice(run.bytes());
            }
        }
        (at, run::Run::read(at, bytes.into()).ok())
    }

    /// The first server, which leads, writes a record.
    fn write(&mut self) {
        let mut out = Vec::new();
        propose(&mut self.servers[0], &mut out);
        self.act(0, out);
    }

    /// Delivers all that is said, and all that is said to it. Panics when it never ends.
    fn settle(&mut self, deliveries_max: usize) {
        let begun = self.delivered;
        while let Some((server, event)) = self.waiting.pop_front() {
            self.delivered += 1;
            assert!(self.delivered - begun <= deliveries_max, "they never stop talking");
            // A server that is gone hears nothing.
            if server < self.servers.len() {
                self.step(server, event);
            }
        }
    }

    /// Time passes while what is said is on its way: so much arrives in each tick.
    fn settle_slowly(&mut self, arrive_in_tick: usize, ticks: u64) {
        for _ in 0..ticks {
            self.tick();
            for _ in 0..arrive_in_tick {
                let Some((server, event)) = self.waiting.pop_front() else { break };
                self.step(server, event);
            }
        }
        self.settle(500);
    }

    fn tick(&mut self) {
        for server in 0..self.servers.len() {
            self.step(server, Event::Tick);
        }
    }
}

#[test]
fn three_voters_elect_one_and_a_learner_follows_it_without_a_single_idle_tick() {
    let mut room = Room::new(3, 1);
    for server in 0..4 {
        room.step(server, Event::Start);
    }
    room.settle(500);
    let leaders: Vec<bool> = room.servers.iter().map(Zab::is_leading).collect();
    assert_eq!(leaders, [false, false, true, false], "the highest number among equals");
    assert!(room.servers[0].is_following() && room.servers[1].is_following());
    for _ in 0..Timing::default().ballot_ticks {
        room.tick();
        room.settle(500);
    }
    assert!(room.servers[3].is_following(), "{:?}", room.servers[3].status());
}

#[test]
fn ballots_of_a_server_that_does_not_vote_come_to_rest() {
    let mut room = Room::new(3, 1);
    // The learner has looked for a leader often: its own count of rounds is ahead of the voters'.
    room.servers[3].base.round = 5;
    for server in [3, 0] {
        room.step(server, Event::Start);
    }
    // One voter of three: nobody can be elected, and everybody has said what there is to say.
    room.waiting.retain(|(server, _)| matches!(server, 0 | 3));
    let mut rounds = 0;
    while !room.waiting.is_empty() {
        rounds += 1;
        assert!(rounds < 100, "they never stop talking");
        let (server, event) = room.waiting.pop_front().expect("it is not empty");
        room.step(server, event);
        room.waiting.retain(|(server, _)| matches!(server, 0 | 3));
    }
}

#[test]
fn leadership_handed_on_again_and_again_goes_where_it_is_wanted() {
    // Nobody writes, so nobody says anything else to be durable than the history.
    let log = Position { zxid: Zxid::new(Epoch(4), 9), chain: Chain(7) };
    let epochs = Epochs { accepted: Epoch(4), current: Epoch(4) };
    let mut room = Room::recovered(3, 0, Recovered { epochs, log, committed: log.zxid });
    for server in 0..3 {
        // Who is spoken to often says often how far its log is durable, also before that counts.
        room.servers[server].base.timing.ping_ticks = 1;
        room.step(server, Event::Start);
    }
    room.settle(500);
    for to in [1, 2, 3, 2, 1, 3].map(ServerId) {
        // Ballots of the last election are fresh, and say who led before.
        let leader = room.servers.iter().position(Zab::is_leading).expect("somebody leads");
        room.step(leader, Event::Transfer(to));
        room.settle_slowly(3, 20);
        for _ in 0..Timing::default().ballot_ticks {
            room.tick();
            room.settle(500);
        }
        let leaders: Vec<ServerId> =
            room.servers.iter().filter(|it| it.is_leading()).map(Zab::me).collect();
        assert_eq!(leaders, [to]);
        let leader = &room.servers[to.0 as usize - 1];
        let synced = leader.status().synced;
        assert_eq!(synced.len(), 2);
        assert!(synced.iter().all(|it| it.1 == log.zxid), "whom it takes for whole: {synced:?}");
    }
}

#[test]
fn a_long_run_is_sent_in_pieces_that_are_heard_one_by_one() {
    let mut room = Room::new(3, 0);
    (0..3).for_each(|server| room.step(server, Event::Start));
    room.settle(500);
    let leader = room.servers.iter().position(Zab::is_leading).expect("one leads");
    let zab = &mut room.servers[leader];
    let (mut bytes, mut at) = (Vec::new(), zab.log());
    let data = vec![7; 700 << 10];
    for counter in 1..=5 {
        let zxid = Zxid::new(zab.leading_epoch().expect("it leads"), counter);
        zab.proposed(zxid);
        let head = TxnHead { zxid, time_ms: 0, session: SessionId(1), cxid: 1 };
        let txn = Txn::SetData { path: b"/large", data: Some(&data), version: 1 };
        at = Position { zxid, chain: record::append(&head, &txn, at.chain, &mut bytes) };
    }
    let (run, mut out) = (run::Run::own(zab.log(), at, bytes.into()), Vec::new());
    zab.step(Event::Proposed(run.clone()), &mut out);
    let follower = (1..=3).find(|&id| id as usize != leader + 1).expect("another");
    let records = |message| {
        let Message::ToLearner { body: message::ToLearner::Records { after, bytes }, .. } = message
        else {
            return None;
        };
        Some((after, bytes))
    };
    let said = said_to(&out, follower).into_iter().filter_map(records);
    let (mut heard, mut from) = (0, run.after());
    for (after, bytes) in said {
        assert_eq!(after, from);
        assert!(bytes.len() <= 1 << 20, "a piece of {} bytes", bytes.len());
        from = run::Run::read(after, bytes).expect("whole records").upto();
        heard += 1;
    }
    assert_eq!((heard, from), (5, run.upto()));
}

/// The ticket of what is to be read of the log.
fn read_of(action: &Action) -> Option<u64> {
    if let Action::ReadLog { ticket, .. } = action { Some(*ticket) } else { None }
}

#[test]
fn many_questions_of_one_server_for_records_cost_one_read_at_a_time() {
    let mut zab = Room::new(1, 0).servers.remove(0);
    let mut out = Vec::new();
    let mut ask = |zab: &mut Zab, until| {
        let message = Message::Fetch { after: Position::ROOT, until: Zxid(until), bytes_max: 9 };
        zab.step(Event::Received { from: ServerId(7), message }, &mut out);
        let reads = out.drain(..).filter_map(|action| read_of(&action));
        reads.collect::<Vec<_>>()
    };
    let first = ask(&mut zab, 1)[0];
    assert!((2..1000).all(|until| ask(&mut zab, until).is_empty()));
    let read = |zab: &mut Zab, event| {
        let mut out = Vec::new();
        zab.step(event, &mut out);
        let second = out.iter().find_map(read_of);
        (second, said_to(&out, 7).len())
    };
    let (Some(second), 0) = read(&mut zab, Event::LogRead { ticket: first, at: None, run: None })
    else {
        panic!("the last question is what is wanted");
    };
    assert_eq!(read(&mut zab, Event::LogRead { ticket: second, at: None, run: None }), (None, 1));
    // One that was given up is nothing to wait for.
    let third = ask(&mut zab, 5)[0];
    assert_eq!(read(&mut zab, Event::ReadDropped(third)), (None, 0));
    assert_eq!(ask(&mut zab, 6).len(), 1);
}

/// It was asked before it came to lead anew, and a copy of that reached it behind.
#[test]
fn who_is_greeted_twice_in_one_session_joins_anew() {
    let mut room = Room::new(3, 1);
    (0..4).for_each(|server| room.step(server, Event::Start));
    room.settle(500);
    for _ in 0..Timing::default().ballot_ticks {
        room.tick();
        room.settle(500);
    }
    let learner = &mut room.servers[3];
    let (leader, session) = learner.session().expect("it follows");
    let mut greet = |epoch: u32| {
        let body = message::ToLearner::NewEpoch(Epoch(epoch));
        let message = Message::ToLearner { session, sequence: 0, body };
        let mut out = Vec::new();
        learner.step(Event::Received { from: leader, message }, &mut out);
        said_to(&out, leader.0)
    };
    assert_eq!(greet(1), [], "the same word once more");
    let said = greet(9);
    assert!(
        matches!(said[..], [Message::Join { session: anew, .. }] if session < anew),
        "{said:?}"
    );
}
