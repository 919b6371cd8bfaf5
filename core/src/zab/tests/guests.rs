//! Servers that no list names, and that may be many, mistaken or hostile.

use std::sync::Arc;

use super::super::message::{Join, Relayed, ToLeader, ToLearner};
use super::*;

const GUEST: ServerId = ServerId(0x8000_1234);
const SESSION: u64 = 1 << 32 | 1;

fn three() -> Room {
    let mut room = Room::new(3, 0);
    for server in 0..3 {
        room.step(server, Event::Start);
    }
    room
}

fn join(accepted: Epoch) -> Event {
    join_at(accepted, Position::ROOT)
}

fn join_at(accepted: Epoch, last: Position) -> Event {
    let join = Join { accepted, current: Epoch::ZERO, last, votes: false };
    Event::Received { from: GUEST, message: Message::Join { session: SESSION, join } }
}

fn said(sequence: u64, body: ToLeader) -> Event {
    let message = Message::ToLeader { session: SESSION, sequence, body };
    Event::Received { from: GUEST, message }
}

#[test]
fn a_ballot_of_a_voter_that_hears_many_guests_can_be_read() {
    let mut room = three();
    for guest in 0..300 {
        let from = ServerId(0x8000_0000 + guest);
        room.step(0, Event::Received { from, message: Message::Seek });
        room.servers[0].step(Event::Disconnected(from), &mut Vec::new());
        room.step(0, Event::Received { from, message: Message::Seek });
    }
    assert!(room.servers[0].base.parted.is_empty(), "nobody waits for a guest's ballot");
    let mut out = Vec::new();
    for _ in 0..20 {
        room.servers[0].step(Event::Tick, &mut out);
    }
    let mut ballots = 0;
    for action in out {
        if let Action::Send { to: ServerId(2), message } = action {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            assert_eq!(Message::decode(&bytes), Ok(message));
            ballots += 1;
        }
    }
    assert_ne!(ballots, 0);
}

#[test]
fn what_a_guest_has_accepted_decides_no_epoch() {
    let mut room = three();
    let mut has_joined = false;
    while let Some((server, event)) = room.waiting.pop_front() {
        let is_in_the_room = server < 3;
        if !is_in_the_room {
            continue;
        }
        room.step(server, event);
        let status = room.servers[server].status();
        if !has_joined && (status.role, status.phase) == ("leading", "discovery") {
            room.step(server, join(Epoch(u32::MAX)));
            has_joined = true;
        }
    }
    assert!(has_joined, "it came too late");
    let leader = room.servers.iter().find(|zab| zab.is_leading()).expect("one leads");
    assert_eq!(leader.base.epochs.current, Epoch(1));
}

/// A leader of three with one record that only it has, and what became of the guest's claim.
fn claimed(room: &mut Room, claim: impl FnOnce(&Zab) -> Position) -> (Position, Vec<Action>) {
    room.settle(500);
    let leader = &mut room.servers[2];
    assert!(leader.is_leading());
    let mut out = Vec::new();
    let open = propose(leader, &mut out);
    out.clear();
    let (epoch, last) = (leader.base.epochs.current, claim(leader));
    leader.step(join_at(Epoch::ZERO, last), &mut out);
    let promised = ToLeader::Promised { epoch, counted: false, current: Epoch::ZERO, last };
    leader.step(said(0, promised), &mut out);
    (open, out)
}

fn read_of(out: &mut Vec<Action>) -> (u64, Zxid) {
    let reads = |action| {
        if let Action::ReadLog { ticket, from, .. } = action { Some((ticket, from)) } else { None }
    };
    out.drain(..).find_map(reads).expect("the log is looked at")
}

#[test]
fn a_guest_is_not_told_where_the_history_that_is_not_committed_ends() {
    let mut room = three();
    let far = Position { zxid: Zxid(u64::MAX), ..Position::ROOT };
    let (open, mut out) = claimed(&mut room, |_leader| far);
    let leader = &mut room.servers[2];
    let (ticket, from) = read_of(&mut out);
    assert_eq!(from, far.zxid);
    leader.step(Event::LogRead { ticket, at: Some(open), run: None }, &mut out);
    let (ticket, from) = read_of(&mut out);
    assert_eq!(from, leader.base.committed);
    leader.step(Event::LogRead { ticket, at: Some(Position::ROOT), run: None }, &mut out);
    let compared = out.iter().find_map(|action| {
        if let Action::Send { message: Message::ToLearner { body, .. }, .. } = action
            && let ToLearner::Compare(at) = body
        {
            Some(*at)
        } else {
            None
        }
    });
    assert_eq!(compared, Some(Position::ROOT));
}

#[test]
fn a_guest_that_has_what_is_not_committed_ends_no_leader() {
    let mut room = three();
    let (open, mut out) = claimed(&mut room, Zab::log);
    let leader = &mut room.servers[2];
    let (ticket, _from) = read_of(&mut out);
    leader.step(Event::LogRead { ticket, at: Some(open), run: None }, &mut out);
    leader.step(said(1, ToLeader::Synced(leader.base.epochs.current)), &mut out);
    out.clear();
    let ticket = leader.base.ticket;
    leader.step(Event::Durable { ticket, upto: open.zxid }, &mut out);
    let ack = ToLeader::Ack(open.zxid);
    let role::Role::Leading(leading) = &leader.role else { panic!("it leads") };
    let link = &leading.feed().links[&ServerId(1)];
    let (session, sequence) = (link.session, link.received);
    let message = Message::ToLeader { session, sequence, body: ack };
    leader.step(Event::Received { from: ServerId(1), message }, &mut out);
    assert_eq!(leader.base.committed, open.zxid);
    assert!(leader.is_leading());
    let refused = out.iter().any(|it| matches!(it, Action::Refused { peer: GUEST, .. }));
    assert!(refused, "{out:?}");
}

/// Whether an ask of a server is taken, and whether it is refused with the way to it.
fn ask_of(leader: &mut Zab, from: ServerId, (session, sequence): (u64, u64)) -> (bool, bool) {
    let body = ToLeader::Request(Arc::from(&b"any"[..]));
    let message = Message::ToLeader { session, sequence, body };
    let mut out = Vec::new();
    leader.step(Event::Received { from, message }, &mut out);
    let taken = out.iter().any(|it| matches!(it, Action::Requested { .. }));
    (taken, out.iter().any(|it| matches!(it, Action::Refused { peer, .. } if *peer == from)))
}

#[test]
fn who_was_never_told_to_serve_asks_nothing_and_a_new_epoch_takes_the_leave_of_nobody() {
    let mut room = three();
    room.settle(500);
    let leader = &mut room.servers[2];
    leader.step(join(Epoch::ZERO), &mut Vec::new());
    let (taken, refused) = ask_of(leader, GUEST, (SESSION, 0));
    assert!(!taken && refused, "an answer to it would wait without a bound");
    let role::Role::Leading(leading) = &leader.role else { panic!("it leads") };
    assert!(!leading.feed().links.contains_key(&GUEST));
    let mut link = leading.feed().links[&ServerId(1)].clone();
    assert_eq!(ask_of(leader, link.id, (link.session, link.received)), (true, false));
    // What a server asked before it heard of the epoch is still on its way.
    link.greet(Epoch(2), &mut Vec::new());
    assert!(link.was_served && !link.up_to_date);
}

#[test]
fn a_guest_that_passes_on_what_a_voter_is_said_to_ask_takes_no_voters_place() {
    let mut room = three();
    room.settle(500);
    let leader = &mut room.servers[2];
    leader.step(join(Epoch::ZERO), &mut Vec::new());
    let role::Role::Leading(leading) = &mut leader.role else { panic!("it leads") };
    leading.feed_mut().links.get_mut(&GUEST).expect("it joined").was_served = true;
    let session = leading.feed().links[&ServerId(1)].session;
    for claimed in [session + 1, SESSION] {
        let role::Role::Leading(leading) = &leader.role else { panic!("it leads") };
        let sequence = leading.feed().links[&GUEST].received;
        let bytes = Arc::from(&b"any"[..]);
        let relayed = Relayed { server: ServerId(1), session: claimed, bytes };
        let mut out = Vec::new();
        leader.step(said(sequence, ToLeader::Relayed(relayed)), &mut out);
        let taken = out.iter().any(|it| matches!(it, Action::Requested { .. }));
        assert!(!taken, "it asks in a voter's name");
        let role::Role::Leading(leading) = &leader.role else { panic!("it leads") };
        assert_eq!(leading.feed().links[&ServerId(1)].session, session, "the voter is gone");
    }
}

/// A leader to which a guest may pass on what others ask.
fn led_with_a_guest() -> Room {
    let mut room = three();
    room.settle(500);
    let leader = &mut room.servers[2];
    leader.step(join(Epoch::ZERO), &mut Vec::new());
    let feed = leader.feed_mut().expect("it leads");
    feed.links.get_mut(&GUEST).expect("it joined").was_served = true;
    room
}

/// Whether the leader takes what a guest passes on in this name.
fn takes(leader: &mut Zab, server: ServerId, session: u64) -> bool {
    let sequence = leader.feed().expect("it leads").links[&GUEST].received;
    let relayed = Relayed { server, session, bytes: Arc::from(&b"any"[..]) };
    let mut out = Vec::new();
    leader.step(said(sequence, ToLeader::Relayed(relayed)), &mut out);
    out.iter().any(|it| matches!(it, Action::Requested { .. }))
}

#[test]
fn a_guest_passes_nothing_on_in_the_name_of_itself() {
    let mut room = led_with_a_guest();
    let leader = &mut room.servers[2];
    assert!(!takes(leader, GUEST, SESSION + 1), "it speaks through itself");
    let link = leader.feed().expect("it leads").links.get(&GUEST).map(|link| link.session);
    assert_eq!(link, Some(SESSION), "it was cut off by what it said");
}

#[test]
fn a_guest_passes_nothing_on_in_the_name_of_the_relay_it_speaks_to() {
    let mut room = Room::new(1, 1);
    for server in 0..2 {
        room.step(server, Event::Start);
    }
    for _ in 0..100 {
        room.tick();
        room.settle(500);
    }
    let relay = &mut room.servers[1];
    relay.step(join(Epoch::ZERO), &mut Vec::new());
    relay.feed_mut().expect("it follows").links.get_mut(&GUEST).expect("it joined").was_served =
        true;
    let mut passes = |server: ServerId, sequence: u64| {
        let relayed = Relayed { server, session: SESSION, bytes: Arc::from(&b"any"[..]) };
        let mut out = Vec::new();
        relay.step(said(sequence, ToLeader::Relayed(relayed)), &mut out);
        let up = |it: &Action| {
            let Action::Send { message: Message::ToLeader { body, .. }, .. } = it else {
                return false;
            };
            matches!(body, ToLeader::Relayed(_))
        };
        out.iter().any(up)
    };
    assert!(passes(ServerId(0x8000_5678), 0), "it is another's relay");
    assert!(!passes(ServerId(2), 1), "it asks in its relay's name");
}

#[test]
fn what_is_known_of_guests_that_are_gone_is_forgotten_when_they_are_many() {
    let mut room = led_with_a_guest();
    let leader = &mut room.servers[2];
    let gone = ServerId(0x8001_0000);
    let at = |number: u32| ServerId(gone.0 + number);
    let is_known = |leader: &Zab, id: ServerId| leader.feed().expect("it leads").is_known_below(id);
    for number in 0..5_000 {
        assert!(takes(leader, at(number), SESSION));
        let feed = leader.feed_mut().expect("it leads");
        if number != 1 {
            feed.forget_way(at(number));
        }
    }
    assert!(!is_known(leader, at(0)), "without a way, and of the oldest");
    assert!(is_known(leader, at(1)), "it still speaks through the guest");
    assert!(is_known(leader, at(4_999)), "it has just come");
    let remembered = leader.feed().expect("it leads").known_below();
    assert!(remembered < 5_000, "{remembered} are remembered");
}
