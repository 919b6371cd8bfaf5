//! Snapshots on their way to learners: how many at once, in which order, and from which byte.

use std::collections::VecDeque;

use super::super::feed::SNAPSHOTS_SENT_MAX;
use super::*;
use crate::record::Chain;
use crate::zab::message::{ToLeader, ToLearner};

const PART: usize = 10;

/// Where every log with anything in it begins and ends.
fn at() -> Position {
    Position { zxid: Zxid::new(Epoch(1), 50), chain: Chain(7) }
}

fn snapshot() -> Vec<u8> {
    (0..45).collect()
}

/// A part that the leader's disk was asked for.
#[derive(Clone, Copy, Debug)]
struct Read {
    ticket: u64,
    offset: u64,
}

/// The last voter and all learners have nothing; the leader's log begins behind that.
struct House {
    servers: Vec<Zab>,
    waiting: VecDeque<(usize, Event)>,
    /// Not answered yet.
    reads: VecDeque<Read>,
    /// What each server has stored of the snapshot.
    stored: Vec<Vec<u8>>,
    /// Who was sent a first part.
    begun: Vec<ServerId>,
    /// Where what was sent began.
    offsets: Vec<u64>,
}

impl House {
    fn new(learners: u32) -> Self {
        let quorum = Quorum::majority((1..=3).map(ServerId));
        let server = |id| {
            let membership = if id <= 3 { Membership::Voter } else { Membership::Learner };
            let timing = Timing::default();
            let options = Options {
                me: ServerId(id),
                quorum: quorum.clone(),
                membership,
                listed: false,
                timing,
                seed: 1,
            };
            if id > 2 {
                return Zab::with(options, Recovered::default());
            }
            let epochs = Epochs { accepted: Epoch(1), current: Epoch(1) };
            Zab::with(options, Recovered { epochs, log: at(), committed: at().zxid })
        };
        let servers: Vec<Zab> = (1..=3 + learners).map(server).collect();
        let stored = vec![Vec::new(); servers.len()];
        let (waiting, reads) = (VecDeque::new(), VecDeque::new());
        let mut house =
            Self { servers, waiting, reads, stored, begun: Vec::new(), offsets: Vec::new() };
        house.start(0);
        house.start(1);
        house.ticks(20);
        assert!(house.servers[1].is_leading());
        house
    }

    fn start(&mut self, server: usize) {
        self.step(server, Event::Start);
        self.settle();
    }

    fn step(&mut self, server: usize, event: Event) {
        let mut out = Vec::new();
        self.servers[server].step(event, &mut out);
        let from = self.servers[server].me();
        for action in out {
            match action {
                Action::Send { to, message } => {
                    if let Message::ToLearner { body, .. } = &message
                        && let ToLearner::Snapshot { offset, .. } = body
                    {
                        self.offsets.push(*offset);
                        self.begun.extend((*offset == 0).then_some(to));
                    }
                    let event = Event::Received { from, message };
                    self.waiting.push_back((to.0 as usize - 1, event));
                }
                Action::SaveEpochs(epochs) => {
                    self.waiting.push_back((server, Event::EpochsSaved(epochs)));
                }
                Action::ReadLog { ticket, from, .. } => {
                    let log = self.servers[server].log();
                    let at = (log.zxid <= from).then_some(log);
                    self.waiting.push_back((server, Event::LogRead { ticket, at, run: None }));
                }
                Action::ReadSnapshot { ticket, offset } => {
                    self.reads.push_back(Read { ticket, offset });
                }
                Action::StoreSnapshot { ticket, offset, bytes, .. } => {
                    let stored = &mut self.stored[server];
                    if offset == 0 {
                        stored.clear();
                    }
                    assert_eq!(stored.len() as u64, offset, "a snapshot has no hole");
                    stored.extend_from_slice(&bytes);
                    let upto = stored.len() as u64;
                    self.waiting.push_back((server, Event::SnapshotStored { ticket, upto }));
                }
                Action::Refused { peer, anomaly } => panic!("{from} refuses {anomaly:?} of {peer}"),
                Action::Append { .. }
                | Action::Flush { .. }
                | Action::Truncate { .. }
                | Action::Committed(_)
                | Action::Became(_)
                | Action::Confirmed(_)
                | Action::ConfirmsFailed
                | Action::Requested { .. }
                | Action::Responded(_)
                | Action::Halt(_) => {}
            }
        }
    }

    fn settle(&mut self) {
        while let Some((server, event)) = self.waiting.pop_front() {
            self.step(server, event);
        }
    }

    fn ticks(&mut self, count: u64) {
        for _ in 0..count {
            for server in 0..self.servers.len() {
                self.step(server, Event::Tick);
            }
            self.settle();
        }
    }

    /// The leader's disk answers the oldest read.
    fn read(&mut self) {
        let Some(Read { ticket, offset }) = self.reads.pop_front() else { return };
        let whole = snapshot();
        // Beyond the end there is nothing: from the beginning then.
        let offset = if whole.len() < offset as usize { 0 } else { offset };
        let end = whole.len().min(offset as usize + PART);
        let bytes = whole[offset as usize..end].into();
        let end = end == whole.len();
        self.step(1, Event::SnapshotRead { ticket, at: at(), offset, bytes, end });
        self.settle();
    }

    /// The leader loses its link with server 4, which joins again.
    fn break_session(&mut self) {
        self.reads.clear(); // nobody waits for them any more
        self.step(1, Event::Disconnected(ServerId(4)));
        self.settle();
        self.ticks(60);
    }

    fn has_it(&self, server: usize) -> bool {
        self.servers[server].is_following() && self.stored[server] == snapshot()
    }
}

#[test]
fn few_are_sent_a_snapshot_at_once_a_voter_beside_them_and_nobody_gives_up_waiting() {
    let mut house = House::new(4);
    for server in 3..7 {
        house.start(server);
        house.ticks(12);
    }
    assert_eq!(house.reads.len(), SNAPSHOTS_SENT_MAX, "more are sent at once");
    house.start(2);
    house.ticks(12);
    assert_eq!(house.reads.len(), SNAPSHOTS_SENT_MAX + 1, "a voter waits for who does not vote");
    let sessions = |house: &House| house.servers.iter().map(Zab::session).collect::<Vec<_>>();
    let before = sessions(&house);
    // Far longer altogether than anybody waits for a leader that says nothing of it.
    let pause = Timing::default().join_ticks / 4;
    for _ in 0..60 {
        house.ticks(pause);
        assert!(house.reads.len() <= SNAPSHOTS_SENT_MAX + 1);
        house.read();
    }
    assert_eq!(sessions(&house), before, "somebody gave up");
    for server in 2..7 {
        assert!(house.has_it(server), "{:?}", house.servers[server].status());
    }
    assert_eq!(
        house.begun,
        [4, 5, 3, 6, 7].map(ServerId),
        "the voter at once, the others in order"
    );
}

#[test]
fn a_learner_that_is_gone_makes_room_for_the_next() {
    let mut house = House::new(3);
    for server in 3..6 {
        house.start(server);
        house.ticks(60);
    }
    assert_eq!(house.reads.len(), 2);
    house.servers[3] = House::new(3).servers.swap_remove(3); // a new process, not started
    house.step(1, Event::Disconnected(ServerId(4)));
    house.waiting.retain(|(server, _)| *server != 3);
    house.ticks(1);
    assert_eq!(house.reads.len(), 3, "the third waits for one that is gone");
}

#[test]
fn a_snapshot_goes_on_where_a_broken_session_left_it() {
    let mut house = House::new(1);
    house.start(3);
    house.ticks(60);
    house.read();
    house.read();
    house.read();
    assert_eq!(house.stored[3].len(), 30);
    house.break_session();
    house.read();
    assert_eq!(house.stored[3].len(), 30, "it begins again");
    for _ in 0..4 {
        house.read();
    }
    assert!(house.has_it(3), "{:?}", house.servers[3].status());
    assert_eq!(house.offsets[..5], [0, 10, 20, 0, 30]);
}

#[test]
fn a_claim_that_led_to_nothing_is_made_a_few_times_and_one_beyond_the_end_costs_a_begin() {
    let mut house = House::new(1);
    house.start(3);
    house.ticks(60);
    house.read();
    house.read();
    // A way that is cut before another part has come, again and again.
    for claim in 1..=5 {
        house.break_session();
        house.read();
        let asked = house.reads.front().expect("the next part").offset;
        assert_eq!(asked, if claim < 5 { 20 } else { 10 }, "claim {claim}");
    }
    // What this process believes to have is more than there is.
    house.servers[3].base.incoming.as_mut().expect("begun").stored = 1000;
    house.break_session();
    for _ in 0..7 {
        house.read();
    }
    assert!(house.has_it(3), "{:?}", house.servers[3].status());
}

/// What the leader reads while nothing of what it sent comes back.
fn read_ahead(house: &mut House) -> Vec<u64> {
    let mut offsets = Vec::new();
    while let Some(&Read { ticket, offset }) = house.reads.front() {
        house.reads.pop_front();
        offsets.push(offset);
        let (whole, from) = (snapshot(), offset as usize);
        let upto = whole.len().min(from + PART);
        let (bytes, end) = (whole[from..upto].into(), upto == whole.len());
        house.step(1, Event::SnapshotRead { ticket, at: at(), offset, bytes, end });
    }
    offsets
}

#[test]
fn over_a_long_way_several_parts_are_under_way_but_the_first_and_the_last_alone() {
    let mut house = House::new(1);
    house.start(3);
    house.ticks(60);
    assert_eq!(read_ahead(&mut house), [0], "it may have more of it from before");
    house.settle();
    assert_eq!(read_ahead(&mut house), [10, 20, 30, 40], "nothing is waited for");
    assert_eq!(house.offsets, [0, 10, 20, 30], "the last, while others are not stored");
    house.settle();
    assert_eq!(house.offsets, [0, 10, 20, 30, 40]);
    house.ticks(60);
    assert!(house.has_it(3), "{:?}", house.servers[3].status());
    // Where little may fly, and to a voter, a part at a time.
    for (server, flight) in [(3, Some(20)), (2, None)] {
        let mut house = House::new(1);
        house.servers[1].base.timing.observer_flight_bytes = flight;
        house.start(server);
        house.ticks(60);
        for offset in [0, 10, 20, 30, 40] {
            assert_eq!(read_ahead(&mut house), [offset], "to server {}", server + 1);
            house.settle();
        }
        house.ticks(60);
        assert!(house.has_it(server), "{:?}", house.servers[server].status());
    }
}

#[test]
fn a_part_that_does_not_belong_where_the_last_one_ended_ends_the_session() {
    let mut house = House::new(1);
    house.start(3);
    house.ticks(60);
    house.read();
    let (leader, session) = house.servers[3].session().expect("it learns");
    let forge = |offset| ToLearner::Snapshot { at: at(), offset, bytes: [1].into(), end: false };
    let mut out = Vec::new();
    for sequence in 0..100 {
        // The one that comes next is taken for the leader's.
        let message = Message::ToLearner { session, sequence, body: forge(999) };
        house.servers[3].step(Event::Received { from: leader, message }, &mut out);
        if !out.is_empty() {
            break;
        }
    }
    assert!(out.iter().any(|it| matches!(it, Action::Refused { .. })), "{out:?}");
    assert!(!out.iter().any(|it| matches!(it, Action::StoreSnapshot { .. })), "{out:?}");
    let stored = |it: &Action| {
        matches!(it, Action::Send { message: Message::ToLeader { body, .. }, .. }
            if matches!(body, ToLeader::SnapshotStored(_)))
    };
    assert!(!out.iter().any(stored));
}
