//! A voter that lost its disk and comes back at an inconvenient moment.

use super::*;

const LEADER: usize = 1;
const REJOINS: usize = 2;

/// What the first server's disk has not done yet.
#[derive(Default)]
struct Hanging(Vec<Event>);

/// Lets time pass; where there is a disk that hangs, the first server's does.
fn pass(room: &mut Room, ticks: u64, mut hangs: Option<&mut Hanging>) {
    for _ in 0..ticks {
        room.tick();
        for step in 0.. {
            let Some((server, event)) = room.waiting.pop_front() else { break };
            assert!(step < 10_000, "they talk without an end");
            match (&event, hangs.as_deref_mut()) {
                (Event::Durable { .. }, Some(hanging)) if server == 0 => hanging.0.push(event),
                _ => room.step(server, event),
            }
        }
    }
}

/// Two of three voters, of which one leads, and its epoch; the third, which has not started, is what it is by its own
/// list of so many voters.
fn without_the_third(membership: Membership, voters: u32) -> (Room, Epoch) {
    let mut room = Room::new(3, 0);
    let quorum = Quorum::majority((1..=voters).map(ServerId));
    let (me, timing) = (ServerId(3), Timing::default());
    let options = Options { me, quorum, membership, listed: false, timing, seed: 3 };
    room.servers[REJOINS] = Zab::with(options, Recovered::default());
    room.step(0, Event::Start);
    room.step(LEADER, Event::Start);
    pass(&mut room, 10, None);
    let epoch = room.servers[LEADER].leading_epoch().expect("it leads");
    (room, epoch)
}

fn rejoining(room: &Room) -> &feed::Link {
    &room.servers[LEADER].feed().expect("it leads").links[&ServerId(3)]
}

#[test]
fn a_voter_that_came_back_while_a_hand_over_was_tried_votes_when_that_was_given_up() {
    let (mut room, epoch) = without_the_third(Membership::Rejoining, 3);
    let quorum = Quorum::majority((1..=3).map(ServerId));
    // It is to hand over to one that is not level and does not become so.
    let (mut hanging, mut out) = (Hanging::default(), Vec::new());
    propose(&mut room.servers[LEADER], &mut out);
    room.act(LEADER, out);
    pass(&mut room, 2, Some(&mut hanging));
    room.step(LEADER, Event::Transfer(ServerId(1)));
    room.step(REJOINS, Event::Start);
    pass(&mut room, 50, Some(&mut hanging));
    assert!(rejoining(&room).rejoins(&quorum), "it has the history");
    pass(&mut room, Timing::default().transfer_ticks, Some(&mut hanging));
    assert_eq!(room.servers[LEADER].leading_epoch(), Some(epoch), "nobody took over");
    for event in hanging.0 {
        room.step(0, event);
    }
    pass(&mut room, 50, None);
    assert!(room.servers[LEADER].leading_epoch() > Some(epoch), "it founds an epoch with it");
    assert!(rejoining(&room).join.votes, "it votes");
}

/// As while a list is changed, and where one server's list was forgotten.
#[test]
fn an_observer_that_its_leader_lists_as_a_voter_is_given_one_epoch_and_learns_on() {
    let (mut room, epoch) = without_the_third(Membership::Learner, 2);
    let quorum = Quorum::majority((1..=3).map(ServerId));
    room.step(REJOINS, Event::Start);
    pass(&mut room, 500, None);
    let later = room.servers[LEADER].leading_epoch().expect("it leads on");
    assert_eq!(Some(later), epoch.next(), "it might have been one without its disk");
    let link = rejoining(&room);
    assert!(link.up_to_date && !link.join.votes && !link.rejoins(&quorum), "{link:?}");
}
