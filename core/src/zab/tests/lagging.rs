//! Learners that lag behind who feeds them, and those whose upstream lags itself.

use std::sync::Arc;

use super::super::base::{Base, Upstream};
use super::super::feed::CATCH_UP_BYTES_MIN;
use super::super::message::{Offer, ToLeader, ToLearner};
use super::*;

/// A voter, which leads, a relay behind it, and a learner that would rather learn from the relay than from the voter.
fn room() -> Room {
    let mut room = Room::new(1, 2);
    for learner in &mut room.servers[1..] {
        learner.base.listed = true;
    }
    for server in 0..3 {
        room.step(server, Event::Start);
    }
    room.step(1, Event::Upstream { peer: ServerId(1), rank: 0 });
    room.step(2, Event::Upstream { peer: ServerId(2), rank: 0 });
    room.step(2, Event::Upstream { peer: ServerId(1), rank: 1 });
    room.settle(500);
    room
}

/// What the leader reads of its log for the relay waits for as long as this is there.
struct Held(Vec<(usize, Event)>);

/// How old what the relay sends is said to be, whatever is true.
fn claim(event: &mut Event, claimed_ms: u32) {
    if let Event::Received { from: ServerId(2), message } = event
        && let Message::ToLearner { body: ToLearner::Age(ms), .. } = message
    {
        *ms = claimed_ms;
    }
}

/// Lets `ticks` pass in which a record is written in each.
fn pass(room: &mut Room, ticks: u64, mut held: Option<&mut Held>, current_ms: &mut [i64; 3]) {
    for _ in 0..ticks {
        room.tick();
        room.write();
        while let Some((server, event)) = room.waiting.pop_front() {
            let for_relay = |ticket: u64| {
                let links = &room.servers[0].feed().expect("it leads").links;
                links.get(&ServerId(2)).is_some_and(|link| link.reads(ticket))
            };
            match (&event, held.as_deref_mut()) {
                (Event::LogRead { ticket, run: Some(_), .. }, Some(held))
                    if server == 0 && for_relay(*ticket) =>
                {
                    held.0.push((server, event));
                }
                _ => room.step(server, event),
            }
            note_ages(room, current_ms);
        }
    }
}

/// Tells all how old what they have is: a tick is 10 ms.
fn note_ages(room: &mut Room, current_ms: &mut [i64; 3]) {
    for (zab, current_ms) in room.servers.iter_mut().zip(current_ms) {
        let now_ms = zab.base.now as i64 * 10;
        match zab.take_word() {
            _ if zab.is_leading() => *current_ms = now_ms,
            Some(ms) => *current_ms = now_ms - i64::from(ms),
            None => {}
        }
        zab.note_age(now_ms, Some(*current_ms));
    }
}

fn path(room: &Room) -> Vec<u32> {
    let zab = &room.servers[2];
    assert!(zab.is_following(), "{:?}", zab.status());
    zab.path().iter().map(|id| id.0).collect()
}

#[test]
fn a_relay_that_lags_loses_its_children_and_has_them_again_when_it_is_level() {
    let (mut room, mut current_ms) = (room(), [0; 3]);
    pass(&mut room, 700, None, &mut current_ms);
    assert_eq!(path(&room), [1, 2]);
    let session = room.servers[2].session();
    // The way from the leader to the relay takes nothing for a second: nobody leaves it for that.
    let mut held = Held(Vec::new());
    no_more(&mut room);
    pass(&mut room, 100, Some(&mut held), &mut current_ms);
    assert_eq!(held.0.len(), 1, "the relay is behind");
    room.waiting.extend(held.0.drain(..));
    pass(&mut room, 700, None, &mut current_ms);
    assert_eq!(room.servers[2].session(), session);
    // Now for ever, and it goes on to be heard.
    no_more(&mut room);
    pass(&mut room, 1_500, Some(&mut held), &mut current_ms);
    assert!(room.servers[1].is_following(), "the relay has its own session still");
    assert!(room.servers[1].committed().counter() + 1_000 < room.servers[0].committed().counter());
    assert_eq!(path(&room), [1]);
    assert_eq!(room.servers[2].committed(), room.servers[0].committed());
    let session = room.servers[2].session();
    pass(&mut room, 1_500, Some(&mut held), &mut current_ms);
    assert_eq!(room.servers[2].session(), session, "it goes to and fro");
    room.waiting.extend(held.0.drain(..));
    pass(&mut room, 500, None, &mut current_ms);
    assert_eq!(path(&room), [1], "it was left once, and is level for too short a time");
    pass(&mut room, 700, None, &mut current_ms);
    assert_eq!(path(&room), [1, 2], "it is level, and in the better place");
    assert_eq!(of_relay(&room).left, 1);
    pass(&mut room, 64 * 200, None, &mut current_ms);
    assert_eq!((path(&room), of_relay(&room).left), (vec![1, 2], 0), "it was kept for long");
}

/// What the last one knows of the relay.
fn of_relay(room: &Room) -> &Upstream {
    &room.servers[2].base.upstreams[&ServerId(2)]
}

/// The way from the leader to the relay takes nothing from now on.
fn no_more(room: &mut Room) {
    room.servers[0].base.timing.observer_flight_bytes = Some(1);
    room.write();
    room.write();
    room.settle(500);
    room.write();
    room.servers[0].base.timing.observer_flight_bytes = None;
}

#[test]
fn a_relay_that_stood_still_at_one_asking_is_kept() {
    let (mut room, mut current_ms, mut held) = (room(), [0; 3], Held(Vec::new()));
    pass(&mut room, 700, None, &mut current_ms);
    let session = room.servers[2].session();
    no_more(&mut room);
    for _ in 0..1_000 {
        if of_relay(&room).lags != 0 {
            break;
        }
        pass(&mut room, 1, Some(&mut held), &mut current_ms);
    }
    assert_eq!((of_relay(&room).lags, held.0.len()), (1, 1));
    room.waiting.extend(held.0.drain(..));
    pass(&mut room, 1_000, None, &mut current_ms);
    assert_eq!((room.servers[2].session(), of_relay(&room).lags), (session, 0));
}

#[test]
fn nobody_leaves_a_relay_for_who_would_send_a_snapshot() {
    let (mut room, mut current_ms, mut held) = (room(), [0; 3], Held(Vec::new()));
    pass(&mut room, 700, None, &mut current_ms);
    let session = room.servers[2].session();
    no_more(&mut room);
    pass(&mut room, 50, Some(&mut held), &mut current_ms);
    // The leader's log begins behind what the relay, and so the learner, has.
    room.servers[0].base.begins = room.servers[0].committed();
    pass(&mut room, 1_500, Some(&mut held), &mut current_ms);
    assert!(2 <= of_relay(&room).lags && room.servers[2].log().zxid < room.servers[0].base.begins);
    assert_eq!((path(&room), room.servers[2].session()), (vec![1, 2], session));
}

/// The learner's session before and behind a time in which its relay has `step` records more at each asking, and
/// the leader many.
fn behind_a_relay_that_offers(step: u32) -> [Option<(ServerId, u64)>; 2] {
    let (mut room, mut current_ms) = (room(), [0; 3]);
    pass(&mut room, 700, None, &mut current_ms);
    let session = room.servers[2].session();
    let mut has = room.servers[1].committed();
    for _ in 0..1_500 {
        room.tick();
        room.write();
        while let Some((server, mut event)) = room.waiting.pop_front() {
            if server == 2 {
                claim(&mut event, 60_000);
                if let Event::Received { from: ServerId(2), message: Message::Offer(offer) } =
                    &mut event
                {
                    offer.committed = has;
                    has = Zxid::new(has.epoch(), has.counter() + step);
                }
            }
            room.step(server, event);
            note_ages(&mut room, &mut current_ms);
        }
    }
    [session, room.servers[2].session()]
}

#[test]
fn a_relay_that_is_slow_and_comes_on_keeps_its_children() {
    let [before, behind] = behind_a_relay_that_offers(1);
    assert_eq!(before, behind, "each child takes a copy of its own over the long link");
    let [before, behind] = behind_a_relay_that_offers(0);
    assert_ne!(before, behind, "it stands still");
}

#[test]
fn a_relay_on_its_way_to_being_level_is_not_level_and_one_that_was_left_often_has_to_be_for_long() {
    let (mut room, mut current_ms) = (room(), [0; 3]);
    pass(&mut room, 700, None, &mut current_ms);
    let base = &mut room.servers[2].base;
    let (now, relay, all) = (base.now, ServerId(2), base.committed);
    let apart = base.timing.seek_ticks / 4;
    let at = |counter: u32| Zxid::new(all.epoch(), counter);
    // All there was: a record a tick.
    base.known =
        [4, 3, 2, 1].map(|ago| (now - ago * apart, at(10_000 - (ago * apart) as u32))).into();
    let offered = |base: &mut Base, counter: u32| {
        let (_, offer) = base.upstreams[&relay].offer.clone().expect("it offered");
        base.offered(relay, Offer { committed: at(counter), ..offer });
        let upstream = &base.upstreams[&relay];
        (upstream.lags, upstream.good_offers)
    };
    for upstream in base.upstreams.values_mut() {
        (upstream.lags, upstream.stands_still, upstream.left) = (2, true, 3);
    }
    assert_eq!(
        offered(base, 9_825),
        (2, 0),
        "it lacks 175, of which it had 75 for as long as it may lack 100"
    );
    for good in 1..=16 {
        assert_eq!(offered(base, 9_900), (0, good));
        assert_eq!(base.prefers(&base.upstreams[&relay]), good == 16);
    }
}

#[test]
fn who_lags_with_all_others_is_not_left() {
    let (mut room, mut current_ms) = (room(), [0; 3]);
    pass(&mut room, 700, None, &mut current_ms);
    let session = room.servers[2].session();
    let mut claims = 0;
    for _ in 0..1_500 {
        room.tick();
        room.write();
        while let Some((server, mut event)) = room.waiting.pop_front() {
            if server == 2 {
                claim(&mut event, 60_000);
                claims += u32::from(matches!(
                    &event,
                    Event::Received { message: Message::Offer(_), from: ServerId(1) }
                ));
            }
            room.step(server, event);
            note_ages(&mut room, &mut current_ms);
        }
    }
    assert!(3 < claims, "it asks the others whether they have more");
    assert_eq!(room.servers[2].session(), session);
}

/// What the learner says when its leader says this to it, and its disk has done what it was given.
fn told(room: &mut Room, body: ToLearner) -> Vec<ToLeader> {
    let mut said = Vec::new();
    let link = room.servers[0].feed_mut().expect("it leads").links.get_mut(&ServerId(2));
    link.expect("it follows").say(body, &mut said);
    let mut out = Vec::new();
    for action in said {
        let Action::Send { message, .. } = action else { panic!("it says something") };
        room.servers[1].step(Event::Received { from: ServerId(1), message }, &mut out);
    }
    let (upto, ticket) = (room.servers[1].log().zxid, room.servers[1].base.ticket);
    room.servers[1].step(Event::Durable { ticket, upto }, &mut out);
    let mut answers = Vec::new();
    for action in out {
        if let Action::Send { message: Message::ToLeader { body, .. }, .. } = action {
            answers.push(body);
        }
    }
    answers
}

/// So many records more, which are not committed.
fn records(leader: &mut Zab, count: u32) -> Arc<[u8]> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        let mut out = Vec::new();
        propose(leader, &mut out);
        for action in out {
            if let Action::Append { run, .. } = action {
                bytes.extend_from_slice(run.bytes());
            }
        }
    }
    bytes.into()
}

#[test]
fn who_lags_acknowledges_within_a_share_of_many_and_who_does_not_when_it_is_asked() {
    const BYTES: u64 = 1 << 20;
    let of_many = BYTES / (CATCH_UP_BYTES_MIN / 2);
    for (aged, wanted) in [(Some(5_000), of_many), (Some(999), 1), (None, 1)] {
        let (mut room, mut current_ms) = (room(), [0; 3]);
        pass(&mut room, 100, None, &mut current_ms);
        if let Some(ms) = aged {
            told(&mut room, ToLearner::Age(ms));
        }
        told(&mut room, ToLearner::Ping(1));
        let (mut sent, mut acks) = (0, 0);
        while sent < BYTES {
            let after = room.servers[0].log();
            let bytes = records(&mut room.servers[0], 100);
            sent += bytes.len() as u64;
            let said = told(&mut room, ToLearner::Inform { after, bytes });
            acks += said.iter().filter(|it| matches!(it, ToLeader::Ack(_))).count() as u64;
        }
        assert!(wanted - 1 <= acks && acks <= wanted, "{acks} acknowledgements, told {aged:?}");
    }
}
