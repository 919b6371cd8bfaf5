//! One hole, and peers that have what is missing, have some of it, or have something else.

use super::*;
use crate::log::repair::Until;
use crate::record::{self, Chain};
use crate::txn::{Txn, TxnHead};
use crate::zxid::{Epoch, SessionId, Zxid};

const TICKS: HealingTicks = HealingTicks { answer: 20, again: 5, patience: 100 };

/// A history, record by record.
struct History(Vec<(Position, Vec<u8>)>);

impl History {
    fn of(zxids: &[Zxid], flavour: i64) -> Self {
        let mut at = Position::ROOT;
        let append = |&zxid: &Zxid| {
            let head = TxnHead { zxid, time_ms: flavour, session: SessionId(1), cxid: 1 };
            let mut bytes = Vec::new();
            let chain = record::append(&head, &Txn::CloseSession, at.chain, &mut bytes);
            at = Position { zxid, chain };
            (at, bytes)
        };
        Self(zxids.iter().map(append).collect())
    }

    /// What a server with this history answers, `count` records at a time.
    fn answer(&self, after: Position, until: Zxid, count: usize) -> Vec<u8> {
        let begin = match after {
            Position::ROOT => Some(0),
            _ => self.0.iter().position(|(at, _)| *at == after).map(|index| index + 1),
        };
        let rest = begin.map_or(&[][..], |begin| &self.0[begin..]).iter();
        rest.take_while(|(at, _)| at.zxid <= until)
            .take(count)
            .flat_map(|(_, bytes)| bytes.clone())
            .collect()
    }
}

fn zxids(of: &[(u32, u32)]) -> Vec<Zxid> {
    of.iter().map(|&(epoch, counter)| Zxid::new(Epoch(epoch), counter)).collect()
}

/// Epoch 1 up to 9, and then epoch 3.
fn history() -> History {
    let mut of: Vec<(u32, u32)> = (1..=9).map(|counter| (1, counter)).collect();
    of.extend([(3, 1), (3, 2)]);
    History::of(&zxids(&of), 0)
}

/// What is between the records of these places.
fn hole(history: &History, before: usize, next: usize) -> Hole {
    let last = history.0[next - 1].0;
    Hole {
        segment: Zxid::new(Epoch(1), 1),
        offset: 4096,
        end: Some(1 << 20),
        before: history.0[before].0,
        until: Until::Before(history.0[next].0.zxid, last.chain),
    }
}

/// Runs until it is over: each peer answers as its function says.
fn run(mut healing: Healing, peers: &[&dyn Fn(Position, Zxid) -> Option<Vec<u8>>]) -> Progress {
    let (mut out, mut ticks) = (Vec::new(), 0);
    for number in 0..peers.len() {
        healing.connected(ServerId(number as u32 + 1), &mut out);
    }
    loop {
        let Some((to, message)) = out.pop() else {
            ticks += 1;
            assert!(ticks < 10_000, "it never ends");
            match healing.tick(&mut out) {
                Progress::Open => continue,
                over @ (Progress::Closed(_) | Progress::GivenUp) => return over,
            }
        };
        assert!(out.is_empty(), "one peer is asked at a time");
        let Message::Fetch { after, until, .. } = message else { panic!("{message:?}") };
        if let Some(bytes) = peers[to.0 as usize - 1](after, until) {
            match healing.fetched(to, after, bytes.into(), &mut out) {
                Progress::Open => {}
                over @ (Progress::Closed(_) | Progress::GivenUp) => return over,
            }
        }
    }
}

#[test]
fn a_hole_is_closed_in_steps_from_whoever_has_what_is_missing() {
    let history = history();
    for (before, next) in [(2, 6), (2, 9), (6, 10)] {
        let hole = hole(&history, before, next);
        let whole = |after, until| Some(history.answer(after, until, 2));
        let silent = |_, _| None;
        let empty = |_, _| Some(Vec::new());
        // Two that have a part each.
        let front = |after: Position, until| {
            let has = after.zxid.0 < history.0[before + 2].0.zxid.0;
            Some(if has { history.answer(after, until, 1) } else { Vec::new() })
        };
        let back = |after: Position, until| {
            let has = after.zxid.0 >= history.0[before + 2].0.zxid.0;
            Some(if has { history.answer(after, until, 1) } else { Vec::new() })
        };
        for peers in [
            &[&whole as &dyn Fn(Position, Zxid) -> Option<Vec<u8>>][..],
            &[&silent, &empty, &whole],
            &[&front, &back],
            &[&back, &silent, &front],
        ] {
            let healing = Healing::new(hole.clone(), 1 << 20, TICKS);
            let Progress::Closed(run) = run(healing, peers) else { panic!("{before} {next}") };
            assert!(hole.is_closed_by(&run));
        }
    }
}

#[test]
fn a_history_that_parts_inside_the_hole_is_followed_and_left_again() {
    let history = history();
    let hole = hole(&history, 4, 9);
    // It was down when the epoch changed, and has more of the old one than the others.
    let mut of: Vec<(u32, u32)> = (1..=12).map(|counter| (1, counter)).collect();
    let longer = History::of(&zxids(&of), 0);
    // It has other records from some place on, as a leader that nobody followed.
    of.truncate(9);
    let mut other = History::of(&zxids(&of), 1);
    other.0.splice(..5, history.0[..5].iter().cloned());
    let mut at = other.0[4].0;
    for entry in &mut other.0[5..] {
        let zxid = entry.0.zxid;
        let head = TxnHead { zxid, time_ms: 7, session: SessionId(1), cxid: 1 };
        entry.1.clear();
        at = Position {
            zxid,
            chain: record::append(&head, &Txn::CloseSession, at.chain, &mut entry.1),
        };
        entry.0 = at;
    }
    let good = |after, until| Some(history.answer(after, until, 2));
    let long = |after, until| Some(longer.answer(after, until, 12));
    let parted = |after, until| Some(other.answer(after, until, 2));
    let garbage = |_, _| Some(vec![7; 99]);
    for peers in [
        &[&long as &dyn Fn(Position, Zxid) -> Option<Vec<u8>>][..],
        &[&parted, &good],
        &[&good, &parted, &garbage],
        &[&garbage, &parted, &long],
    ] {
        let healing = Healing::new(hole.clone(), 1 << 20, TICKS);
        let Progress::Closed(run) = run(healing, peers) else { panic!("given up") };
        assert!(hole.is_closed_by(&run));
    }
    let healing = Healing::new(hole.clone(), 1 << 20, TICKS);
    assert_eq!(run(healing, &[&parted]), Progress::GivenUp, "its records close nothing");
    let healing = Healing::new(hole, 10, TICKS);
    assert_eq!(run(healing, &[&parted]), Progress::GivenUp, "more than ever stood there");
}

#[test]
fn what_nobody_has_is_given_up_and_what_comes_too_late_is_not_taken() {
    let history = history();
    let hole = hole(&history, 2, 6);
    let healing = || Healing::new(hole.clone(), 1 << 20, TICKS);
    let empty = |_, _| Some(Vec::new());
    assert_eq!(run(healing(), &[]), Progress::GivenUp);
    assert_eq!(run(healing(), &[&empty, &empty]), Progress::GivenUp);

    let (mut healing, mut out) = (healing(), Vec::new());
    healing.connected(ServerId(1), &mut out);
    healing.connected(ServerId(2), &mut out);
    assert_eq!(out.len(), 1);
    healing.disconnected(ServerId(1), &mut out);
    assert_eq!(out.last().map(|(to, _)| *to), Some(ServerId(2)), "the next is asked at once");
    let bytes = history.answer(hole.before, hole.limit(), 9);
    let late = healing.fetched(ServerId(1), hole.before, bytes.clone().into(), &mut out);
    assert_eq!(late, Progress::Open);
    let other = Position { zxid: hole.before.zxid, chain: Chain(9) };
    let other = healing.fetched(ServerId(2), other, bytes.clone().into(), &mut out);
    assert_eq!(other, Progress::Open);
    let closed = healing.fetched(ServerId(2), hole.before, bytes.into(), &mut out);
    assert!(matches!(closed, Progress::Closed(_)));
}
