use super::*;
use crate::acl;
use crate::record::push_part;
use crate::txn::{CreateTxn, NodeKind};
use crate::wire::jute::Reader;

fn created(path: &[u8]) -> Txn<'_> {
    Txn::Create(CreateTxn {
        path,
        data: None,
        acl: acl::OPEN,
        kind: NodeKind::Persistent,
        parent_cversion: 1,
    })
}

fn stat(version: i32) -> Stat {
    Stat { version, ..Stat::default() }
}

fn encode(answer: &Answer, txn: &Txn<'_>, stats: &[Stat]) -> (ErrorCode, Vec<u8>) {
    let mut out = Vec::new();
    let code = answer.encode(txn, stats, &mut out);
    (code, out)
}

fn multi_of(parts: &[Txn<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    parts.iter().for_each(|part| push_part(part, &mut bytes));
    bytes
}

/// C10, D16.
#[test]
fn each_write_is_answered_in_its_own_shape() {
    let path = b"\0\0\0\x02/a".to_vec();
    assert_eq!(encode(&Answer::Path, &created(b"/a"), &[stat(0)]), (ErrorCode::Ok, path.clone()));
    let mut with_stat = path;
    stat(4).encode(&mut Writer::new(&mut with_stat));
    let answer = encode(&Answer::PathAndStat, &created(b"/a"), &[stat(4)]);
    assert_eq!(answer, (ErrorCode::Ok, with_stat));
    let set = Txn::SetData { path: b"/a", data: None, version: 4 };
    let (code, body) = encode(&Answer::Stat, &set, &[stat(4)]);
    assert_eq!((code, body.len()), (ErrorCode::Ok, Stat::BYTES));
    let delete = Txn::Delete { path: b"/a" };
    assert_eq!(encode(&Answer::HeaderOnly, &delete, &[]), (ErrorCode::Ok, vec![]));
    for answer in [Answer::Path, Answer::PathAndStat, Answer::Stat, Answer::Multi([].into())] {
        let failed = encode(&answer, &Txn::Error(ErrorCode::NoNode), &[]);
        assert_eq!(failed, (ErrorCode::NoNode, vec![]), "an error has no body");
    }
}

/// H1, H2.
#[test]
fn a_multi_is_answered_part_by_part() {
    let end = b"\xff\xff\xff\xff\x01\xff\xff\xff\xff";
    let empty = Txn::Multi(MultiTxn { parts: &[] });
    assert_eq!(encode(&Answer::Multi([].into()), &empty, &[]), (ErrorCode::Ok, end.to_vec()));

    use PartKind::{Check, Create, Create2, Delete, SetData};
    let kinds = [Create, Create2, SetData, Check, Delete, Create2];
    let parts = multi_of(&[
        created(b"/a"),
        created(b"/b"),
        Txn::SetData { path: b"/b", data: None, version: 1 },
        Txn::Check { path: b"/b" },
        Txn::Delete { path: b"/b" },
        created(b"/c"),
    ]);
    let txn = Txn::Multi(MultiTxn { parts: &parts });
    let stats = [stat(10), stat(11), stat(12), stat(13)];
    let (code, body) = encode(&Answer::Multi(kinds.into()), &txn, &stats);
    assert_eq!(code, ErrorCode::Ok);
    let r = &mut Reader::new(&body);
    let header = |r: &mut Reader<'_>| MultiHeader::decode(r).unwrap();
    let ok = |kind| MultiHeader { kind, done: false, err: 0 };
    assert_eq!((header(r), r.string()), (ok(1), Ok(&b"/a"[..])));
    assert_eq!((header(r), r.string()), (ok(15), Ok(&b"/b"[..])));
    assert_eq!(Stat::decode(r).unwrap(), stat(11), "the Stat of the plain create is passed over");
    assert_eq!((header(r), Stat::decode(r).unwrap()), (ok(5), stat(12)));
    assert_eq!((header(r), header(r)), (ok(13), ok(2)));
    assert_eq!((header(r), r.string()), (ok(15), Ok(&b"/c"[..])));
    assert_eq!((Stat::decode(r).unwrap(), r.rest()), (stat(13), &end[..]));
}

/// H3, H4.
#[test]
fn a_failed_multi_has_an_error_for_each_part_and_none_in_the_header() {
    let codes = [ErrorCode::Ok, ErrorCode::NoNode, ErrorCode::RuntimeInconsistency];
    let parts = multi_of(&codes.map(Txn::Error));
    let txn = Txn::Multi(MultiTxn { parts: &parts });
    let answer = Answer::Multi([PartKind::Create, PartKind::Check, PartKind::Delete].into());
    let (code, body) = encode(&answer, &txn, &[]);
    assert_eq!(code, ErrorCode::Ok);
    let r = &mut Reader::new(&body);
    for code in [0, -101, -2] {
        let expected = MultiHeader { kind: -1, done: false, err: code };
        assert_eq!((MultiHeader::decode(r).unwrap(), r.int().unwrap()), (expected, code));
    }
    assert_eq!(MultiHeader::decode(r).unwrap(), MultiHeader::END);
    assert!(r.rest().is_empty());
}

#[test]
fn every_request_has_an_answer_and_only_writes_have_bodies() {
    for &op in OpCode::ALL {
        // Enough zeros for every body: empty strings, empty vectors, and in a multi a part that
        // is not allowed.
        let Ok(request) = Request::decode(op, &[0; 64]) else {
            continue;
        };
        let expected = [
            (OpCode::Create, Answer::Path),
            (OpCode::Create2, Answer::PathAndStat),
            (OpCode::CreateContainer, Answer::PathAndStat),
            (OpCode::CreateTtl, Answer::PathAndStat),
            (OpCode::SetData, Answer::Stat),
            (OpCode::SetAcl, Answer::Stat),
        ];
        let expected = expected.into_iter().find(|(with_body, _)| *with_body == op);
        let expected = expected.map_or(Answer::HeaderOnly, |(_, answer)| answer);
        assert_eq!(Answer::for_request(&request), expected, "{op:?}");
    }
}
