//! A voter that is alone, and what one machine does by itself.

use super::*;

fn alone(logged: Zxid) -> Zab {
    let epoch = logged.epoch();
    let epochs = Epochs { accepted: epoch, current: epoch };
    Zab::new(ServerId(1), Quorum::majority([ServerId(1)]), epochs, logged)
}

fn propose(zab: &mut Zab) -> Zxid {
    let zxid = zab.next_proposal().expect("leads");
    zab.proposed(zxid);
    zxid
}

#[test]
fn a_single_voter_founds_a_new_epoch_and_proposes_only_when_it_is_durable() {
    let mut zab = alone(Zxid::new(Epoch(4), 9));
    let Some(Action::SaveEpochs(epochs)) = zab.start() else { panic!("not elected") };
    assert_eq!(epochs, Epochs { accepted: Epoch(5), current: Epoch(5) });
    assert_eq!(zab.next_proposal(), Err(None));
    zab.epochs_saved(epochs);
    assert_eq!(propose(&mut zab), Zxid::new(Epoch(5), 1));
    assert_eq!(propose(&mut zab), Zxid::new(Epoch(5), 2));
}

#[test]
fn a_proposal_is_committed_once_it_is_durable_and_not_before() {
    let mut zab = alone(Zxid::ZERO);
    let Some(Action::SaveEpochs(epochs)) = zab.start() else { panic!("not elected") };
    zab.epochs_saved(epochs);
    let first = propose(&mut zab);
    let second = propose(&mut zab);
    assert_eq!(zab.acknowledged(ServerId(1), Zxid::ZERO), None);
    assert_eq!(zab.acknowledged(ServerId(1), first), Some(first));
    assert_eq!(zab.acknowledged(ServerId(1), first), None);
    assert_eq!(zab.acknowledged(ServerId(1), second), Some(second));
}

#[test]
fn a_spent_counter_founds_the_next_epoch_once_all_is_committed() {
    let mut zab = alone(Zxid::ZERO);
    let Some(Action::SaveEpochs(epochs)) = zab.start() else { panic!("not elected") };
    zab.epochs_saved(epochs);
    let Role::Leading(leading) = &mut zab.role else { panic!("leads") };
    leading.set_proposed(Zxid::new(Epoch(1), u32::MAX - 1));
    let last = propose(&mut zab);
    assert_eq!(zab.next_proposal(), Err(None), "the last proposal is not durable yet");
    zab.acknowledged(ServerId(1), last);
    let Err(Some(Action::SaveEpochs(epochs))) = zab.next_proposal() else { panic!("must found") };
    zab.epochs_saved(epochs);
    assert_eq!(propose(&mut zab), Zxid::new(Epoch(2), 1));
}

#[test]
fn one_voter_of_three_elects_nobody() {
    let voters = [ServerId(1), ServerId(2), ServerId(3)];
    let mut zab = Zab::new(ServerId(1), Quorum::majority(voters), Epochs::default(), Zxid::ZERO);
    assert_eq!(zab.start(), None);
    assert_eq!(zab.next_proposal(), Err(None));
}

/// Machines whose messages arrive at once and in order, and whose disks are instant.
struct Room {
    servers: Vec<Zab>,
    waiting: std::collections::VecDeque<(usize, Event)>,
    delivered: usize,
}

impl Room {
    fn new(voters: u32, learners: u32) -> Self {
        let quorum = Quorum::majority((1..=voters).map(ServerId));
        let servers = (1..=voters + learners)
            .map(|id| {
                let membership = if id <= voters { Membership::Voter } else { Membership::Learner };
                let (me, seed, timing) = (ServerId(id), u64::from(id), Timing::default());
                let options = Options { me, quorum: quorum.clone(), membership, timing, seed };
                Zab::with(options, Recovered::default())
            })
            .collect();
        Self { servers, waiting: std::collections::VecDeque::new(), delivered: 0 }
    }

    fn step(&mut self, server: usize, event: Event) {
        let mut out = Vec::new();
        self.servers[server].step(event, &mut out);
        let from = self.servers[server].me();
        for action in out {
            if let Action::Send { to, message } = action {
                let event = Event::Received { from, message };
                self.waiting.push_back((to.0 as usize - 1, event));
            } else if let Action::SaveEpochs(epochs) = action {
                self.waiting.push_back((server, Event::EpochsSaved(epochs)));
            } else if let Action::ReadLog { ticket, .. } = action {
                let at = Some(Position::ROOT);
                self.waiting.push_back((server, Event::LogRead { ticket, at, run: None }));
            }
        }
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
