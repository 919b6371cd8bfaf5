//! Who an answer belongs to when the way to the leader was lost.

use super::super::submission::Origin;
use super::*;
use crate::acl;
use crate::txn::{CreateTxn, NodeKind};
use crate::wire::Request;
use crate::wire::request::CreateRequest;
use crate::zxid::Epoch;

const SESSION: SessionId = SessionId(7);

fn zxid(counter: u32) -> Zxid {
    Zxid::new(Epoch(1), counter)
}

fn item(sequence: u32, cxid: i32, ask: Ask) -> Item {
    let origin = Origin { reactor: 0, connection: 1, generation: 1, sequence };
    Item::new(origin, SESSION, cxid, ask, Arc::from([]))
}

fn body(path: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let request = CreateRequest { path, data: None, acl: Some(acl::OPEN), flags: 0, ttl: -1 };
    Request::Create(request).encode(&mut body);
    body
}

fn write(asks: &mut Asks, cxid: i32, path: &[u8]) -> u64 {
    let sequence = asks.end() as u32;
    asks.push(item(sequence, cxid, Ask::Write(OpCode::Create)), &body(path), 0)
}

fn made(counter: u32, cxid: i32, path: &[u8]) -> (TxnHead, Txn<'_>) {
    let head = TxnHead { zxid: zxid(counter), time_ms: 1, session: SESSION, cxid };
    let kind = NodeKind::Persistent;
    let create = CreateTxn { path, data: None, acl: acl::OPEN, kind, parent_cversion: 1 };
    (head, Txn::Create(create))
}

#[test]
fn a_record_answers_the_ask_of_its_content_though_the_xid_was_used_twice() {
    let mut asks = Asks::default();
    let refused = write(&mut asks, 5, b"/refused");
    let done = write(&mut asks, 5, b"/done");
    let lost = write(&mut asks, 5, b"/lost");
    (0..3).for_each(|_| asks.asked());
    asks.doubt();
    let (head, txn) = made(1, 5, b"/done");
    assert_eq!(asks.of_record(&head, &txn), Some(done));
    assert_eq!(asks.take_passed(), Some(refused), "it was refused: the history passed it over");
    assert_eq!(asks.take_passed(), None);
    let (head, txn) = made(2, 5, b"/elsewhere");
    assert_eq!(asks.of_record(&head, &txn), None);
    asks.done(refused);
    asks.done(done);
    assert_eq!(asks.resolve(|_| true).len(), 0);
    let again = asks.unasked().expect("it waits again");
    assert_ne!(again, lost, "a number is never used twice");
}

#[test]
fn a_record_never_answers_a_sync_or_a_handshake() {
    let mut asks = Asks::default();
    asks.push(item(1, 0, Ask::Resume { timeout_ms: 1, read_only: false }), b"", 0);
    asks.push(item(2, 0, Ask::Sync), b"/", 0);
    (0..2).for_each(|_| asks.asked());
    asks.doubt();
    let (head, txn) = made(1, 0, b"/a");
    assert_eq!(asks.of_record(&head, &txn), None);
}

#[test]
fn what_is_given_up_is_handed_back_and_costs_nothing_more() {
    let mut asks = Asks::default();
    let first = write(&mut asks, 1, b"/a");
    write(&mut asks, 2, b"/b");
    asks.asked();
    let given_up = asks.abandon(|_| true);
    assert_eq!(given_up.len(), 1, "what is on its way is not given up: {given_up:?}");
    asks.doubt();
    assert_eq!(asks.resolve(|_| false).len(), 1);
    assert!(asks.is_idle());
    assert_eq!(asks.bytes(), 0);
    asks.done(first);
}

#[test]
fn a_proposal_that_was_lost_does_not_hide_those_of_the_next_leader() {
    let mut asks = Asks::default();
    let (lost, kept) = (write(&mut asks, 1, b"/a"), write(&mut asks, 2, b"/b"));
    for (number, counter) in [(lost, 1), (kept, 2)] {
        asks.asked();
        let stage = Stage::Proposed(zxid(counter), Hold::default());
        asks.get_mut(number).expect("it is pending").stage = stage;
        asks.due_at(zxid(counter), number);
    }
    let (head, txn) = made(2, 2, b"/b");
    assert_eq!(asks.of_record(&head, &txn), Some(kept));
    assert_eq!(asks.take_due(zxid(2)), Some((zxid(1), lost)));
}

#[test]
fn what_fails_behind_an_ask_in_doubt_costs_nothing() {
    let mut asks = Asks::default();
    let doubted = write(&mut asks, 1, b"/doubted");
    asks.asked();
    asks.doubt();
    asks.told(doubted);
    let session_end = item(2, 2, Ask::Write(OpCode::CloseSession));
    for round in 0..100 {
        // All of one look, then the end of a session, which stays; and more behind that.
        let failing: Vec<u64> = (0..1000).map(|at| write(&mut asks, at, b"/fails")).collect();
        if round == 50 {
            let end = asks.push(session_end.clone(), b"", 0);
            asks.told(end);
        }
        assert!(0 < asks.bytes());
        failing.into_iter().for_each(|number| asks.done(number));
        assert_eq!(asks.bytes(), 0, "what was answered still counts as outstanding");
        asks.close_up();
        assert!(asks.pending.len() <= 2, "{} are kept in round {round}", asks.pending.len());
    }
    // What a leader knows keeps its number; what waits is still asked in its order.
    let waits = write(&mut asks, 3, b"/waits");
    assert_eq!(asks.get(doubted).map(|ask| ask.item.cxid), Some(1));
    assert_eq!(asks.unasked(), Some(doubted + 1));
    assert!(asks.get(doubted + 1).is_some_and(Pending::closes));
    assert_eq!(waits, doubted + 2);
    asks.done(doubted);
    assert_eq!((asks.unasked(), asks.pending.len()), (Some(doubted + 1), 2));
}

#[test]
fn what_is_given_up_in_the_midst_of_what_waits_leaves_no_gap() {
    let mut asks = Asks::default();
    let known = write(&mut asks, 0, b"/known");
    asks.asked();
    for cxid in 1..=9 {
        write(&mut asks, cxid, b"/waits");
    }
    assert_eq!(asks.abandon(|item| item.cxid % 2 == 1).len(), 5);
    let mut order = Vec::new();
    while let Some(number) = asks.unasked() {
        order.push(asks.get(number).expect("it waits").item.cxid);
        asks.asked();
    }
    assert_eq!(order, [2, 4, 6, 8]);
    assert_eq!(asks.end(), known + 5);
    (known..asks.end()).rev().for_each(|number| asks.done(number));
    assert!(asks.is_idle() && asks.bytes() == 0);
}

#[test]
fn who_asks_counts_as_long_as_his_ask_is_open() {
    let mut asks = Asks::default();
    let id = String::from_utf8(vec![b'a'; 60_000]).expect("letters");
    let who: Arc<[acl::Identity]> = Arc::from([acl::Identity { scheme: "digest".to_owned(), id }]);
    let of = |sequence| {
        let origin = Origin { reactor: 0, connection: 1, generation: 1, sequence };
        Item::new(origin, SESSION, 1, Ask::Sync, Arc::clone(&who))
    };
    let numbers: Vec<u64> = (0..100).map(|at| asks.push(of(at), b"/a", 0)).collect();
    assert!(100 * 60_000 < asks.bytes(), "{} bytes", asks.bytes());
    asks.told(numbers[0]);
    assert!(asks.bytes() < 100 * 60_000);
    numbers.into_iter().for_each(|number| asks.done(number));
    assert_eq!(asks.bytes(), 0);
}

#[test]
fn of_some_sessions_is_known_what_is_known_of_all() {
    let mut asks = Asks::default();
    for at in 0..30 {
        let mut item = item(at, 1, Ask::Write(OpCode::Create));
        item.session = SessionId(u64::from(at % 7));
        asks.push(item, b"", 0);
        asks.asked();
    }
    for number in (0..30).filter(|number| number % 7 == 2 || number % 5 == 0) {
        asks.done(number);
    }
    for number in (0..30).filter(|number| number % 7 == 3) {
        asks.told(number);
    }
    let all: BTreeSet<_> = (0..9).map(SessionId).collect();
    assert_eq!(asks.sessions_among(&all), asks.sessions());
    let some = [1, 2, 3, 8].map(SessionId).into();
    let (open, awaited) = asks.sessions_among(&some);
    assert_eq!((open, awaited), ([1, 3].map(SessionId).into(), [1].map(SessionId).into()));
}
