//! How few words a learner that does not vote needs until it is sent what it misses.

use super::super::message::Join;
use super::*;

/// A voter, which leads, and a server that does not vote and has not begun.
fn room() -> Room {
    let mut room = Room::new(1, 1);
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
        let mut room = room();
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
