//! Servers that learn from servers that learn.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::feed::Stage;
use super::super::message::{Relayed, ToLeader, ToLearner};
use super::super::seeking::HOPS_MAX;
use super::*;

/// One voter, which leads, and learners with their lists. All follow when they can.
fn room(lists: &[&[u32]]) -> Room {
    room_of(lists, Recovered::default())
}

/// The same, of servers that all have this on their disks.
fn room_of(lists: &[&[u32]], recovered: Recovered) -> Room {
    let mut room = Room::recovered(1, lists.len() as u32, recovered);
    for learner in &mut room.servers[1..] {
        learner.base.listed = true;
    }
    for server in 0..room.servers.len() {
        room.step(server, Event::Start);
    }
    for (learner, list) in (1..).zip(lists) {
        for (rank, &peer) in (0..).zip(*list) {
            room.step(learner, Event::Upstream { peer: ServerId(peer), rank });
        }
    }
    pass(&mut room);
    room
}

/// Lets seven seconds pass.
fn pass(room: &mut Room) {
    for _ in 0..700 {
        room.settle(5_000);
        room.tick();
    }
    room.settle(5_000);
}

fn path(room: &Room, server: u32) -> Vec<u32> {
    let zab = &room.servers[server as usize - 1];
    assert!(zab.is_following(), "server {server}: {:?}", zab.status());
    zab.path().iter().map(|id| id.0).collect()
}

/// What comes of `event` at `server`.
fn step(room: &mut Room, server: u32, event: Event) -> Vec<Action> {
    let mut out = Vec::new();
    room.servers[server as usize - 1].step(event, &mut out);
    out
}

/// Passes what one server says to another on, and returns what comes of it there.
fn carry(room: &mut Room, out: &[Action], from: u32, to: u32) -> Vec<Action> {
    let mut all = Vec::new();
    for message in said_to(out, to) {
        let from = ServerId(from);
        all.extend(step(room, to, Event::Received { from, message }));
    }
    all
}

#[test]
fn each_of_a_chain_learns_from_the_one_before_it() {
    let room = room(&[&[1], &[2], &[3]]);
    assert_eq!(path(&room, 2), [1]);
    assert_eq!(path(&room, 3), [1, 2]);
    assert_eq!(path(&room, 4), [1, 2, 3]);
    assert!(room.servers[1].learns_from_leader() && !room.servers[2].learns_from_leader());
}

#[test]
fn the_first_of_a_list_that_can_be_learned_from_is() {
    let room = room(&[&[1], &[2, 1], &[1, 2]]);
    assert_eq!(path(&room, 3), [1, 2]);
    assert_eq!(path(&room, 4), [1]);
}

/// Lets so many ticks pass, where a word between servers 1 and 3 takes four of them.
fn pass_with_a_long_way(room: &mut Room, ticks: u64) {
    let mut on_the_way: VecDeque<(u64, usize, Event)> = VecDeque::new();
    for now in 0..ticks {
        room.tick();
        loop {
            while let Some((server, event)) = room.waiting.pop_front() {
                let from = if let Event::Received { from, .. } = &event { from.0 } else { 0 };
                match (from, server + 1) {
                    (1, 3) | (3, 1) => on_the_way.push_back((now + 4, server, event)),
                    _ => room.step(server, event),
                }
            }
            match on_the_way.pop_front_if(|(due, ..)| *due <= now) {
                Some((_, server, event)) => room.step(server, event),
                None => break,
            }
        }
    }
}

#[test]
fn of_upstreams_in_the_same_place_the_nearest_is_learned_from() {
    for (second, expected) in [(0, vec![1, 2]), (1, vec![1])] {
        let mut room = room(&[&[1], &[]]);
        room.step(2, Event::Upstream { peer: ServerId(1), rank: 0 });
        room.step(2, Event::Upstream { peer: ServerId(2), rank: second });
        pass_with_a_long_way(&mut room, 100);
        assert_eq!(path(&room, 3), expected, "the second has place {second}");
    }
}

#[test]
fn a_nearer_one_in_the_same_place_takes_over() {
    for (second, expected) in [(0, vec![1, 2]), (1, vec![1])] {
        let mut room = room(&[&[1], &[]]);
        room.step(2, Event::Upstream { peer: ServerId(1), rank: 0 });
        pass_with_a_long_way(&mut room, 100);
        assert_eq!(path(&room, 3), [1]);
        room.step(2, Event::Upstream { peer: ServerId(2), rank: second });
        pass_with_a_long_way(&mut room, 1000);
        assert_eq!(path(&room, 3), expected, "the second has place {second}");
    }
}

#[test]
fn a_chain_ends_where_its_way_is_as_long_as_a_way_may_be() {
    let last = HOPS_MAX as u32;
    let lists: Vec<[u32; 1]> = (1..=last).map(|above| [above]).collect();
    let room = room(&lists.iter().map(<[u32; 1]>::as_slice).collect::<Vec<_>>());
    assert_eq!(path(&room, last), (1..last).collect::<Vec<_>>());
    assert!(!room.servers[last as usize].is_following(), "its way is longer");
}

#[test]
fn lists_in_a_circle_make_none() {
    let room = room(&[&[3, 4, 1], &[4, 2, 1], &[2, 3, 1]]);
    for server in [2, 3, 4] {
        let path = path(&room, server);
        assert_eq!(path[0], 1, "it leads to the leader");
        assert!(!path.contains(&server), "{server} learns from itself: {path:?}");
    }
}

#[test]
fn whoever_loses_its_way_says_so_to_those_behind_it_and_they_find_another() {
    let mut room = room(&[&[1], &[2, 1], &[3]]);
    assert_eq!(path(&room, 4), [1, 2, 3]);
    room.step(1, Event::Disconnected(ServerId(1)));
    room.settle(5_000);
    assert!(!room.servers[1].is_following(), "it has nobody to learn from");
    pass(&mut room);
    assert_eq!(path(&room, 3), [1]);
    assert_eq!(path(&room, 4), [1, 3]);
}

#[test]
fn what_is_asked_travels_up_and_its_answer_down() {
    let mut room = room(&[&[1], &[2], &[3]]);
    let bytes: Arc<[u8]> = (*b"ask").into();
    let asked = step(&mut room, 4, Event::Request(bytes.clone()));
    let passed = carry(&mut room, &asked, 4, 3);
    let passed = carry(&mut room, &passed, 3, 2);
    let came = carry(&mut room, &passed, 2, 1);
    let (_, session) = room.servers[3].session().unwrap();
    let requested = Action::Requested { from: ServerId(4), session, bytes: bytes.clone() };
    assert_eq!(came, [requested]);
    assert!(room.servers[0].serves(ServerId(4)));
    let said = step(&mut room, 1, Event::Respond { to: ServerId(4), bytes: bytes.clone() });
    let passed = carry(&mut room, &said, 1, 2);
    let passed = carry(&mut room, &passed, 2, 3);
    assert_eq!(carry(&mut room, &passed, 3, 4), [Action::Responded(bytes)]);
}

/// Server 4 has asked through server 3, and moves to server 2 before that arrives anywhere.
#[test]
fn what_was_asked_on_a_way_that_its_server_has_left_is_not_taken() {
    let mut room = room(&[&[1], &[1], &[3, 2]]);
    assert_eq!(path(&room, 4), [1, 3]);
    let old = step(&mut room, 4, Event::Request((*b"old").into()));
    let late = carry(&mut room, &old, 4, 3);
    room.step(3, Event::Disconnected(ServerId(3)));
    pass(&mut room);
    assert_eq!(path(&room, 4), [1, 2]);
    let new = step(&mut room, 4, Event::Request((*b"new").into()));
    let passed = carry(&mut room, &new, 4, 2);
    let came = carry(&mut room, &passed, 2, 1);
    assert!(came.iter().any(|action| matches!(action, Action::Requested { .. })));
    // Its sequence number on the way from server 3 is what it was: only the machine's rule is left.
    let message = said_to(&late, 1).pop().unwrap();
    let Message::ToLeader { session, body: ToLeader::Relayed(relayed), .. } = message else {
        panic!("server 3 passes on what it is asked");
    };
    let sequence = room.servers[0].feed().unwrap().links[&ServerId(3)].received;
    let body = ToLeader::Relayed(relayed.clone());
    let message = Message::ToLeader { session, sequence, body };
    let came = step(&mut room, 1, Event::Received { from: ServerId(3), message });
    let taken = came.iter().any(|action| matches!(action, Action::Requested { .. }));
    assert!(!taken, "an older session of server 4 is taken: {came:?}");
    let Relayed { server, .. } = relayed;
    assert!(room.servers[0].serves(server), "its newer way is forgotten");
}

/// Lets time pass in which nothing that one server says to another arrives there, but that something comes. What
/// would have arrived.
fn pass_holding_back(room: &mut Room, (from, to): (u32, u32)) -> Vec<Event> {
    let (from, to) = (ServerId(from), to as usize - 1);
    let mut late = Vec::new();
    for tick in 0..3 * Timing::default().observer_silence_ticks {
        if tick % 20 == 0 {
            room.step(to, Event::Arriving(from));
        }
        while let Some((server, event)) = room.waiting.pop_front() {
            let is_from =
                |event: &Event| matches!(event, Event::Received { from: it, .. } if *it == from);
            if server == to && is_from(&event) {
                late.push(event);
            } else {
                room.step(server, event);
            }
        }
        room.tick();
    }
    late
}

/// Server 5 has asked through server 3, and moves to server 4 before that arrives at the relay that feeds both.
#[test]
fn an_answer_goes_where_its_server_is_though_what_it_asked_elsewhere_comes_late() {
    let mut room = room(&[&[1], &[2], &[2], &[3, 4]]);
    assert_eq!(path(&room, 5), [1, 2, 3]);
    // All that server 3 says to server 2 takes long to arrive, and server 5 leaves it meanwhile.
    room.step(4, Event::Request((*b"old").into()));
    room.step(4, Event::Disconnected(ServerId(3)));
    let late = pass_holding_back(&mut room, (3, 2));
    assert_eq!(path(&room, 5), [1, 2, 4]);
    let asked = step(&mut room, 5, Event::Request((*b"new").into()));
    let passed = carry(&mut room, &asked, 5, 4);
    let passed = carry(&mut room, &passed, 4, 2);
    carry(&mut room, &passed, 2, 1);
    late.into_iter().for_each(|event| room.step(1, event));
    let bytes: Arc<[u8]> = (*b"answer").into();
    let said = step(&mut room, 1, Event::Respond { to: ServerId(5), bytes: bytes.clone() });
    let passed = carry(&mut room, &said, 1, 2);
    let passed = carry(&mut room, &passed, 2, 4);
    assert_eq!(carry(&mut room, &passed, 4, 5), [Action::Responded(bytes)]);
}

/// Server 5 dies and starts again with this list of one.
fn starts_again(room: &mut Room, upstream: u32) {
    let zab = &room.servers[4];
    let (me, quorum, timing) = (zab.me(), zab.base.quorum.clone(), Timing::default());
    let membership = Membership::Learner;
    let options = Options { me, quorum, membership, listed: true, timing, seed: 0x5eed };
    room.servers[4] = Zab::with(options, Recovered::default());
    room.step(4, Event::Start);
    room.step(4, Event::Upstream { peer: ServerId(upstream), rank: 0 });
}

/// What of server 5's asks arrives at server 2 through server 4 arrives at the leader too, and the answer comes back.
fn is_answered(room: &mut Room) -> bool {
    let bytes: Arc<[u8]> = (*b"answer").into();
    let said = step(room, 1, Event::Respond { to: ServerId(5), bytes: bytes.clone() });
    let passed = carry(room, &said, 1, 2);
    let passed = carry(room, &passed, 2, 4);
    carry(room, &passed, 4, 5).contains(&Action::Responded(bytes))
}

/// Server 5 has asked through server 3 and starts again, at server 4, before that arrives at the relay that feeds both.
#[test]
fn a_late_word_of_an_earlier_start_turns_no_way() {
    let mut room = room(&[&[1], &[2], &[2], &[3]]);
    room.step(4, Event::Request((*b"old").into()));
    room.settle(5_000); // its session is known all the way up
    room.step(4, Event::Request((*b"late").into()));
    let to_3 = room.waiting.pop_front().expect("it asks server 3");
    room.step(to_3.0, to_3.1);
    step(&mut room, 3, Event::Disconnected(ServerId(5)));
    starts_again(&mut room, 4);
    let late = pass_holding_back(&mut room, (3, 2));
    assert_eq!(path(&room, 5), [1, 2, 4]);
    let session = room.servers[4].session();
    room.step(4, Event::Request((*b"new").into()));
    room.settle(5_000);
    late.into_iter().for_each(|event| room.step(1, event));
    assert!(is_answered(&mut room), "its answer went where it was before it started again");
    pass(&mut room);
    assert_eq!(room.servers[4].session(), session, "nothing was lost on its way");
}

/// The same, where nobody above server 3 had heard of its earlier start.
#[test]
fn who_lost_its_way_to_an_earlier_start_of_itself_is_told() {
    let mut room = room(&[&[1], &[2], &[2], &[3]]);
    room.step(4, Event::Request((*b"late").into()));
    let to_3 = room.waiting.pop_front().expect("it asks server 3");
    room.step(to_3.0, to_3.1);
    step(&mut room, 3, Event::Disconnected(ServerId(5)));
    starts_again(&mut room, 4);
    let late = pass_holding_back(&mut room, (3, 2));
    room.step(4, Event::Request((*b"new").into()));
    room.settle(5_000);
    let session = room.servers[4].session();
    late.into_iter().for_each(|event| room.step(1, event));
    let answered = is_answered(&mut room);
    pass(&mut room);
    assert!(answered || room.servers[4].session() != session, "it waits for what never comes");
    room.step(4, Event::Request((*b"again").into()));
    room.settle(5_000);
    assert!(is_answered(&mut room), "the earlier start is gone, and counts for good");
}

/// Ends the link of a learner to an upstream; it looks for another one, and the link comes back.
fn link_breaks(room: &mut Room, learner: u32, upstream: u32) {
    step(room, learner, Event::Disconnected(ServerId(upstream)));
    step(room, upstream, Event::Disconnected(ServerId(learner)));
    room.step(learner as usize - 1, Event::Upstream { peer: ServerId(upstream), rank: 0 });
    pass(room);
}

#[test]
fn who_would_send_a_snapshot_is_not_followed_while_another_has_the_log() {
    let has = Zxid::new(Epoch(1), 5);
    let epochs = Epochs { accepted: Epoch(1), current: Epoch(1) };
    let log = Position { zxid: has, chain: Chain(7) };
    let mut room = room_of(&[&[1], &[2, 1]], Recovered { epochs, log, committed: has });
    assert_eq!(path(&room, 3), [1, 2]);
    // What it has is where the relay's log begins: all of what comes behind it is there.
    step(&mut room, 2, Event::LogBegins(has));
    link_breaks(&mut room, 3, 2);
    assert_eq!(path(&room, 3), [1, 2]);
    step(&mut room, 2, Event::LogBegins(Zxid(has.0 + 1)));
    link_breaks(&mut room, 3, 2);
    assert_eq!(path(&room, 3), [1]);
    pass(&mut room);
    assert_eq!(path(&room, 3), [1], "nor later, for the better place in the list");
    // Nor where the link to the other comes a moment later.
    for upstream in [1, 2] {
        step(&mut room, 3, Event::Disconnected(ServerId(upstream)));
        step(&mut room, upstream, Event::Disconnected(ServerId(3)));
    }
    room.step(2, Event::Upstream { peer: ServerId(2), rank: 0 });
    for _ in 0..Timing::default().heard_ticks {
        room.settle(5_000);
        room.tick();
    }
    room.step(2, Event::Upstream { peer: ServerId(1), rank: 1 });
    pass(&mut room);
    assert_eq!(path(&room, 3), [1]);
    // Better a snapshot than nothing.
    step(&mut room, 1, Event::LogBegins(Zxid(has.0 + 1)));
    step(&mut room, 3, Event::Disconnected(ServerId(1)));
    step(&mut room, 1, Event::Disconnected(ServerId(3)));
    pass(&mut room);
    assert_eq!(path(&room, 3), [1, 2]);
}

#[test]
fn a_learner_whose_read_was_dropped_joins_again() {
    let mut room = room(&[&[1]]);
    let session = room.servers[1].session();
    step(&mut room, 1, Event::ReadDropped(1 << 40));
    let link = room.servers[0].feed_mut().unwrap().links.get_mut(&ServerId(2)).unwrap();
    link.stage = Stage::CatchUp { reading: Some(7) };
    room.step(0, Event::ReadDropped(7));
    pass(&mut room);
    assert_eq!(path(&room, 2), [1]);
    assert_ne!(room.servers[1].session(), session, "it waits for what never comes");
}

/// Lets time pass in which server 2 hears server 1, and that hears nothing of it but, if `arriving`, that
/// something comes.
fn pass_other_way(room: &mut Room, ticks: u64, arriving: bool) {
    for tick in 0..ticks {
        room.tick();
        if arriving && tick % 20 == 0 {
            room.step(0, Event::Arriving(ServerId(2)));
        }
        while let Some((to, event)) = room.waiting.pop_front() {
            let lost = to == 0 && matches!(event, Event::Received { .. });
            if !lost {
                room.step(to, event);
            }
        }
    }
}

#[test]
fn what_takes_a_learner_long_to_say_parts_its_upstream_not_from_it_and_silence_does() {
    let long = 5 * Timing::default().observer_silence_ticks;
    for (arriving, stays) in [(true, true), (false, false)] {
        let mut room = room(&[&[1]]);
        let session = room.servers[1].session();
        pass_other_way(&mut room, long, arriving);
        let goes_on = room.servers[1].session() == session && room.servers[0].serves(ServerId(2));
        assert_eq!(goes_on, stays, "something arrives: {arriving}");
    }
}

/// Lets time pass in which server 1 hears server 2, and server 2 hears of server 1 nothing or, if
/// `arriving`, that something comes.
fn pass_one_way(room: &mut Room, ticks: u64, arriving: bool) {
    for tick in 0..ticks {
        room.tick();
        if arriving && tick % 20 == 0 {
            room.step(1, Event::Arriving(ServerId(1)));
        }
        while let Some((to, event)) = room.waiting.pop_front() {
            let lost = to == 1 && matches!(event, Event::Received { .. });
            if !lost {
                room.step(to, event);
            }
        }
    }
}

#[test]
fn a_message_that_takes_long_parts_nobody_from_a_learner_and_silence_does() {
    let long = 5 * Timing::default().observer_silence_ticks;
    let mut coming = room(&[&[1]]);
    pass_one_way(&mut coming, long, true);
    assert_eq!(path(&coming, 2), [1]);
    assert!(coming.servers[0].serves(ServerId(2)), "it was heard, and is not taken for gone");
    let mut silent = room(&[&[1]]);
    pass_one_way(&mut silent, long, false);
    assert!(!silent.servers[1].is_following());
}

#[test]
fn no_more_than_may_fly_is_sent_to_a_learner_that_acknowledges_nothing() {
    const FLIGHT: u64 = 500;
    let mut room = room(&[&[1]]);
    let leader = &mut room.servers[0];
    leader.base.timing.observer_flight_bytes = Some(FLIGHT);
    let (mut sent, mut longest) = (0, 0);
    for _ in 0..100 {
        let mut out = Vec::new();
        let (upto, ticket) = (propose(leader, &mut out).zxid, leader.base.ticket);
        leader.step(Event::Durable { ticket, upto }, &mut out);
        for message in said_to(&out, 2) {
            if let Message::ToLearner { body: ToLearner::Inform { bytes, .. }, .. } = message {
                sent += bytes.len() as u64;
                longest = longest.max(bytes.len() as u64);
            }
        }
    }
    assert!(FLIGHT < sent && sent <= FLIGHT + longest, "{sent} bytes, of {longest} each at most");
}

#[test]
fn many_that_catch_up_share_what_may_fly() {
    let mut room = room(&[&[1]]);
    let (leader, mut out) = (&mut room.servers[0], Vec::new());
    let (upto, ticket) = (propose(leader, &mut out).zxid, leader.base.ticket);
    leader.step(Event::Durable { ticket, upto }, &mut out);
    // Of so many, what each is read at a time.
    for (count, wanted) in [(1, 1 << 20), (8, 1 << 20), (128, 128 << 10), (1000, 64 << 10)] {
        let mut feed = leader.feed().unwrap().clone();
        let link = feed.links.remove(&ServerId(2)).unwrap();
        for number in 0..count {
            let id = ServerId(ServerId::GUEST_MIN.0 + number);
            let mut link = link.clone();
            (link.id, link.stage) = (id, Stage::CatchUp { reading: None });
            link.sent = Position::default();
            feed.links.insert(id, link);
        }
        let mut out = Vec::new();
        feed.catch_up_behind(&mut leader.base, &mut out);
        let mut asked = Vec::new();
        for action in &out {
            if let Action::ReadLog { bytes_max, .. } = action {
                asked.push(*bytes_max);
            }
        }
        assert_eq!(asked, vec![wanted; count as usize]);
    }
}

/// Lets time pass at the leader until it has spoken to a learner, and returns what it said last.
fn spoken(room: &mut Room, now_ms: &mut i64) -> (Option<u32>, Vec<Action>) {
    for _ in 0..100 {
        *now_ms += 10;
        room.servers[0].note_age(*now_ms, Some(*now_ms));
        let out = step(room, 1, Event::Tick);
        let said = said_to(&out, 2);
        let is_ping =
            |it: &Message| matches!(it, Message::ToLearner { body: ToLearner::Ping(_), .. });
        if said.iter().any(is_ping) {
            let mut age = None;
            for message in said {
                if let Message::ToLearner { body: ToLearner::Age(ms), .. } = message {
                    age = Some(ms);
                }
            }
            return (age, out);
        }
    }
    panic!("it says nothing for a second");
}

#[test]
fn a_learner_that_lags_is_told_how_old_what_it_was_sent_is() {
    let (mut room, mut now_ms) = (room(&[&[1]]), 0);
    room.servers[0].base.timing.observer_flight_bytes = Some(200);
    let (age, out) = spoken(&mut room, &mut now_ms);
    carry(&mut room, &out, 1, 2);
    assert_eq!((age, room.servers[1].take_word()), (None, Some(0)), "it has all there is");
    // A record each 10 ms, and only the first of them may fly.
    let mut sent_ms = 0;
    for _ in 0..100 {
        now_ms += 10;
        let leader = &mut room.servers[0];
        leader.note_age(now_ms, Some(now_ms));
        let mut out = Vec::new();
        let (upto, ticket) = (propose(leader, &mut out).zxid, leader.base.ticket);
        leader.step(Event::Durable { ticket, upto }, &mut out);
        if !said_to(&out, 2).is_empty() {
            sent_ms = now_ms;
        }
        carry(&mut room, &out, 1, 2);
    }
    assert_eq!(room.servers[1].take_word(), None, "what is sent alone says nothing of the rest");
    let (age, out) = spoken(&mut room, &mut now_ms);
    carry(&mut room, &out, 1, 2);
    let lacks_ms = (now_ms - sent_ms - 10) as u32;
    let told = age.expect("it lags");
    assert!(lacks_ms <= told && told <= lacks_ms + 120, "{told} for {lacks_ms}");
    assert_eq!(room.servers[1].take_word(), Some(told));
}

#[test]
fn what_a_learner_missed_is_committed_as_it_comes_and_not_when_all_of_it_has_come() {
    let mut room = room(&[&[1]]);
    let (leader, mut out) = (&mut room.servers[0], Vec::new());
    let (upto, ticket) = (propose(leader, &mut out), leader.base.ticket);
    leader.step(Event::Durable { ticket, upto: upto.zxid }, &mut out);
    let mut inform = None;
    for message in said_to(&out, 2) {
        if let Message::ToLearner { body: ToLearner::Inform { after, bytes }, .. } = message {
            inform = Some((after, bytes));
        }
    }
    let (after, bytes) = inform.expect("it is told");
    // It comes to its leader anew, and is sent that from the log.
    room.step(1, Event::Disconnected(ServerId(1)));
    room.step(1, Event::Upstream { peer: ServerId(1), rank: 0 });
    let seek = Event::Received { from: ServerId(2), message: Message::Seek };
    let offer = step(&mut room, 1, seek);
    carry(&mut room, &offer, 1, 2);
    let (_, session) = room.servers[1].session().expect("it joins");
    let epoch = room.servers[0].epoch();
    let say = |room: &mut Room, sequence, body| {
        let message = Message::ToLearner { session, sequence, body };
        step(room, 2, Event::Received { from: ServerId(1), message })
    };
    say(&mut room, 0, ToLearner::NewEpoch(epoch));
    let out = say(&mut room, 1, ToLearner::Records { after, bytes });
    assert!(!room.servers[1].is_following(), "more may come");
    assert!(out.contains(&Action::Committed(upto.zxid)), "{out:?}");
}

#[test]
fn a_leader_that_came_to_lead_anew_is_heard_though_it_counts_from_its_greeting_on() {
    let mut room = room(&[&[1]]);
    room.step(1, Event::Disconnected(ServerId(1)));
    room.step(1, Event::Upstream { peer: ServerId(1), rank: 0 });
    let seek = Event::Received { from: ServerId(2), message: Message::Seek };
    let offer = step(&mut room, 1, seek);
    carry(&mut room, &offer, 1, 2);
    let (_, session) = room.servers[1].session().expect("it joins");
    let epoch = room.servers[0].epoch();
    let say = |room: &mut Room, sequence, body| {
        let message = Message::ToLearner { session, sequence, body };
        step(room, 2, Event::Received { from: ServerId(1), message })
    };
    say(&mut room, 0, ToLearner::Ping(1));
    say(&mut room, 1, ToLearner::Ping(2));
    let out = say(&mut room, 0, ToLearner::NewEpoch(epoch));
    assert!(!said_to(&out, 1).is_empty(), "it answers the epoch: {out:?}");
    // That one greeting is taken once.
    let out = say(&mut room, 0, ToLearner::NewEpoch(epoch));
    assert!(said_to(&out, 1).is_empty(), "{out:?}");
}
