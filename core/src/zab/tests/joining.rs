//! How few words a learner that does not vote needs until it is sent what it misses.

use super::super::message::{Join, Stance};
use super::*;

/// A voter, which leads, and a server that does not vote and has not begun.
fn room(listed: bool) -> Room {
    let mut room = Room::new(1, 1);
    room.servers[1].base.listed = listed;
    room.step(0, Event::Start);
    room.settle(500);
    assert!(room.servers[0].is_leading());
    room
}

fn step(room: &mut Room, server: usize, event: Event) -> Vec<Action> {
    let mut out = Vec::new();
    room.servers[server].step(event, &mut out);
    out
}

#[test]
fn who_does_not_vote_is_looked_up_in_the_log_as_soon_as_it_joins_unless_it_knows_a_newer_epoch() {
    for (newer, at_once) in [(0, true), (1, false)] {
        let mut room = room(false);
        let epoch = room.servers[0].epoch();
        let accepted = Epoch(epoch.0 + newer);
        let join = Join { accepted, current: epoch, last: Position::ROOT, votes: false };
        let message = Message::Join { session: 1 << 32 | 1, join };
        let out = step(&mut room, 0, Event::Received { from: ServerId(2), message });
        let reads = out.iter().any(|action| matches!(action, Action::ReadLog { .. }));
        assert_eq!(reads, at_once, "{out:?}");
    }
}

#[test]
fn a_relay_looks_up_who_joins_at_once_too() {
    let mut room = Room::new(1, 2);
    for server in 0..2 {
        room.step(server, Event::Start);
    }
    for _ in 0..100 {
        room.tick();
        room.settle(500);
    }
    let relay = &room.servers[1];
    assert!(relay.is_following());
    let (current, last) = (relay.epoch(), relay.log());
    let join = Join { accepted: current, current, last, votes: false };
    let message = Message::Join { session: 1 << 32 | 1, join };
    let out = step(&mut room, 1, Event::Received { from: ServerId(3), message });
    assert!(out.iter().any(|action| matches!(action, Action::ReadLog { .. })), "{out:?}");
}

#[test]
fn an_upstream_that_was_asked_with_the_first_word_is_not_asked_again_and_how_far_it_is_is_known() {
    let (mut room, rank) = (room(true), 0);
    step(&mut room, 1, Event::Start);
    for _ in 0..20 {
        step(&mut room, 1, Event::Tick);
    }
    let peer = ServerId(1);
    let out = step(&mut room, 1, Event::AskedUpstream { peer, rank, ticks: 8 });
    assert_eq!(said_to(&out, 1), []);
    let out = step(&mut room, 0, Event::Received { from: ServerId(2), message: Message::Seek });
    let offer = said_to(&out, 2).pop().expect("it is answered");
    let out = step(&mut room, 1, Event::Received { from: peer, message: offer });
    assert!(matches!(said_to(&out, 1)[..], [Message::Join { .. }]), "{out:?}");
    assert_eq!(room.servers[1].base.upstreams[&peer].round_trip, 8);
}

#[test]
fn who_is_linked_is_told_at_once_who_leads_and_joins() {
    let mut room = room(false);
    step(&mut room, 1, Event::Start);
    let out = step(&mut room, 0, Event::Asked(ServerId(2)));
    let ballot = said_to(&out, 2).pop().expect("it is answered");
    let Message::Ballot(told) = &ballot else { panic!("{ballot:?}") };
    assert_eq!(told.stance, Stance::Leading);
    let out = step(&mut room, 1, Event::Received { from: ServerId(1), message: ballot });
    let joins = said_to(&out, 1).into_iter().any(|it| matches!(it, Message::Join { .. }));
    assert!(joins, "{out:?}");
}

#[test]
fn who_takes_itself_for_a_voter_is_not_sent_anything_before_its_promise() {
    let mut room = room(false);
    let epoch = room.servers[0].epoch();
    let join = Join { accepted: epoch, current: epoch, last: Position::ROOT, votes: true };
    let message = Message::Join { session: 1 << 32 | 1, join };
    let out = step(&mut room, 0, Event::Received { from: ServerId(2), message });
    assert!(!out.iter().any(|action| matches!(action, Action::ReadLog { .. })), "{out:?}");
}
