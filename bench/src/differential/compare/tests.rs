use super::super::script::{Op, Path};
use super::super::value::{connected, frame, happened};
use super::*;
use crate::raw::{Body, Reply, Session, op};

/// A transaction before the ones under comparison, so that distances have something to refer to.
const ZXID: i64 = 100;

fn session(id: i64) -> Value {
    let password = vec![1; 16];
    let session =
        Session { protocol_version: 0, timeout_millis: 30_000, id, password, read_only: None };
    connected(&session, true)
}

fn op(code: i32) -> Op {
    Op::Read { code, path: Path::new("/a"), watch: 0 }
}

fn reply(code: i32, xid: i32, zxid: i64, err: i32, body: Body) -> Value {
    frame(Some(&op(code)), &Reply { xid, zxid, err, body: body.into_bytes() })
}

/// The fields of a Stat, in their order on the wire: eight bytes or four.
fn stat(body: Body, fields: &[i64; 11]) -> Body {
    fields.iter().enumerate().fold(body, |body, (index, field)| match index {
        4..=6 | 8 | 9 => body.int(i32::try_from(*field).expect("a small number")),
        _ => body.long(*field),
    })
}

const STAT: [i64; 11] = [101, 102, 5_000, 6_000, 1, 2, 3, 77, 4, 5, 102];

/// What a client sees before anything is planted.
fn introduction() -> Vec<Value> {
    vec![
        session(77),
        reply(op::CREATE, 1, ZXID, 0, Body::new().string("/a")),
        reply(op::EXISTS, 2, 102, 0, stat(Body::new(), &STAT)),
    ]
}

fn places(a: &[Value], b: &[Value]) -> Vec<String> {
    let mut comparison = Comparison::new(false);
    assert_eq!(comparison.compare(&introduction(), &introduction()), []);
    let differences = comparison.compare(a, b);
    differences.into_iter().map(|difference| difference.place).collect()
}

#[test]
fn every_field_of_a_stat_is_compared() {
    let names = [
        "czxid",
        "mzxid",
        "ctime",
        "mtime",
        "version",
        "cversion",
        "aversion",
        "ephemeralOwner",
        "dataLength",
        "numChildren",
        "pzxid",
    ];
    for (index, name) in names.iter().enumerate() {
        let mut planted = STAT;
        planted[index] += 1;
        let seen = |fields| vec![reply(op::EXISTS, 2, 102, 0, stat(Body::new(), fields))];
        let found = places(&seen(&STAT), &seen(&planted));
        assert!(found.contains(&format!("0 reply.body Stat.{name}")), "{name}: {found:?}");
    }
}

#[test]
fn every_field_of_a_header_is_compared() {
    let seen = |xid, zxid, err| vec![reply(op::PING, xid, zxid, err, Body::new())];
    let usual = seen(3, 103, 0);
    assert_eq!(places(&usual, &seen(4, 103, 0)), ["0 reply.xid"]);
    assert_eq!(places(&usual, &seen(3, 104, 0)), ["0 reply.zxid"]);
    assert_eq!(places(&usual, &seen(3, 103, -101)), ["0 reply.err"]);
    assert_eq!(places(&usual, &seen(3, 0, 0)), ["0 reply.zxid"]);
}

#[test]
fn every_field_of_an_event_is_compared() {
    let event = |zxid, kind, state, path: &str| {
        let body = Body::new().int(kind).int(state).string(path).into_bytes();
        vec![frame(None, &Reply { xid: -1, zxid, err: 0, body })]
    };
    let usual = event(102, 1, 3, "/a");
    assert_eq!(places(&usual, &event(101, 1, 3, "/a")), ["0 event.zxid"]);
    assert_eq!(places(&usual, &event(102, 2, 3, "/a")), ["0 event.body WatcherEvent.type"]);
    assert_eq!(places(&usual, &event(102, 1, 5, "/a")), ["0 event.body WatcherEvent.state"]);
    assert_eq!(places(&usual, &event(102, 1, 3, "/b")), ["0 event.body WatcherEvent.path"]);
}

#[test]
fn data_lists_and_results_are_compared() {
    let data = |data: Option<&[u8]>| {
        vec![reply(op::GET_DATA, 3, 103, 0, stat(Body::new().buffer(data), &STAT))]
    };
    assert_eq!(places(&data(Some(b"")), &data(None)), ["0 reply.body Data.data"]);
    let acl = |perms, id: &str| {
        let body = Body::new().int(1).int(perms).string("ip").string(id);
        vec![reply(op::GET_ACL, 3, 103, 0, stat(body, &STAT))]
    };
    assert_eq!(places(&acl(1, "::1"), &acl(2, "::1")), ["0 reply.body GetACL.acl[0] ACL.perms"]);
    assert_eq!(places(&acl(1, "::1"), &acl(1, "::2")), ["0 reply.body GetACL.acl[0] ACL.id"]);
    let multi = |kind, err, code| {
        let body = Body::new().int(kind).boolean(false).int(err).int(code);
        vec![reply(op::MULTI, 3, 103, 0, body.int(-1).boolean(true).int(-1))]
    };
    let place = |part: &str| vec![format!("0 reply.body[0] MultiResult.{part}")];
    assert_eq!(places(&multi(-1, -2, -2), &multi(-1, -101, -2)), place("err"));
    assert_eq!(places(&multi(-1, -2, -2), &multi(-1, -2, -101)), place("result"));
}

#[test]
fn names_agree_in_any_order_and_differ_when_one_is_missing() {
    let names =
        |names: &[&str]| vec![reply(op::GET_CHILDREN, 3, 103, 0, Body::new().strings(names))];
    assert!(places(&names(&["a", "b"]), &names(&["b", "a"])).is_empty());
    assert_eq!(places(&names(&["a", "b"]), &names(&["b"])), ["0 reply.body"]);
}

#[test]
fn an_event_behind_the_reply_or_missing_or_a_close_is_a_difference() {
    let event = {
        let body = Body::new().int(1).int(3).string("/a").into_bytes();
        frame(None, &Reply { xid: -1, zxid: 103, err: 0, body })
    };
    let answer = reply(op::PING, 3, 103, 0, Body::new());
    let usual = vec![event.clone(), answer.clone()];
    assert_eq!(places(&usual, &[answer.clone(), event]), ["0"]);
    assert_eq!(places(&usual, std::slice::from_ref(&answer)), ["0"]);
    assert_eq!(places(&usual[1..], &[answer, happened("closed")]), ["frames"]);
}

#[test]
fn servers_that_count_from_elsewhere_agree_as_long_as_they_count_alike() {
    let mut comparison = Comparison::new(false);
    let ping = |zxid| vec![reply(op::PING, -2, zxid, 0, Body::new())];
    assert_eq!(comparison.compare(&ping(100), &ping(7_000)), []);
    assert_eq!(comparison.compare(&ping(103), &ping(7_003)), []);
    assert_eq!(comparison.compare(&ping(104), &ping(7_005)).len(), 1);
    // An explained difference moves the base, and older transactions stay what they were.
    comparison.realign(104, 7_005);
    assert_eq!(comparison.compare(&ping(105), &ping(7_006)), []);
    assert_eq!(comparison.compare(&ping(103), &ping(7_003)), []);
    assert_eq!(comparison.compare(&ping(103), &ping(7_004)).len(), 1);
}

#[test]
fn one_transaction_has_one_time_on_each_server() {
    let mut comparison = Comparison::new(false);
    let seen = |ctime, mtime| {
        let fields = [101, 101, ctime, mtime, 0, 0, 0, 0, 0, 0, 101];
        vec![reply(op::EXISTS, 2, 101, 0, stat(Body::new(), &fields))]
    };
    assert_eq!(comparison.compare(&seen(5, 5), &seen(9, 9)), []);
    let differences = comparison.compare(&seen(5, 5), &seen(9, 10));
    assert_eq!(differences.len(), 1);
    assert_eq!(differences[0].place, "0 reply.body Stat.mtime");
}

#[test]
fn a_time_of_another_year_is_a_difference_where_the_clock_is_ours() {
    let mut comparison = Comparison::new(true);
    let seen = |millis| {
        let fields = [101, 101, millis, millis, 0, 0, 0, 0, 0, 0, 101];
        vec![reply(op::EXISTS, 2, 101, 0, stat(Body::new(), &fields))]
    };
    let differences = comparison.compare(&seen(now_millis()), &seen(5));
    assert_eq!(differences[0].place, "0 reply.body Stat.ctime");
}

#[test]
fn an_owner_is_the_same_client_on_both_sides() {
    let mut comparison = Comparison::new(false);
    assert_eq!(comparison.compare(&[session(1)], &[session(50)]), []);
    assert_eq!(comparison.compare(&[session(2)], &[session(60)]), []);
    let owned = |owner| {
        let fields = [0, 0, 0, 0, 0, 0, 0, owner, 0, 0, 0];
        vec![reply(op::EXISTS, 2, 101, 0, stat(Body::new(), &fields))]
    };
    assert_eq!(comparison.compare(&owned(2), &owned(60)), []);
    assert_eq!(comparison.compare(&owned(1), &owned(60)).len(), 1);
    assert_eq!(comparison.compare(&owned(3), &owned(70)).len(), 1, "nobody knows these owners");
    assert_eq!(comparison.compare(&owned(0), &owned(60)).len(), 1);
}
