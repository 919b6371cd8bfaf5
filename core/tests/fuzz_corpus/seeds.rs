//! Where the seeds come from: encodings as clients, the log and snapshots really have them.

use farwatch_core::acl;
use farwatch_core::wire::handshake::Password;
use farwatch_core::wire::jute::Writer;
use farwatch_core::wire::reply::{EventType, WatcherEvent};
use farwatch_core::wire::request::{MultiHeader, RequestHeader};
use farwatch_core::wire::{ConnectRequest, ConnectResponse, ErrorCode, OpCode, ReplyHeader};
use farwatch_core::zxid::SessionId;

use super::Prng;

const SEGMENT: &[u8] = include_bytes!("../../../fixtures/segment-v1.log");
const SNAPSHOT: &[u8] = include_bytes!("../../../fixtures/snapshot-v1.snap");

/// `(target, name, bytes)` of every seed.
pub fn all() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (at, op) in OpCode::ALL.iter().enumerate() {
        let mut bytes = vec![at as u8];
        bytes.extend_from_slice(&body(*op));
        seeds.push(("request", format!("{op:?}"), bytes));
        let mut framed = Vec::new();
        RequestHeader { xid: 1, op: op.code() }.encode(&mut Writer::new(&mut framed));
        framed.extend_from_slice(&body(*op));
        seeds.push(("frame", format!("{op:?}"), framed));
    }
    seeds.extend(handshakes());
    let reply = |path| WatcherEvent { kind: EventType::NodeDeleted, path };
    let mut bytes = Vec::new();
    reply(b"/a".as_slice()).encode_frame(9, &mut bytes);
    seeds.push(("frame", "notification".to_owned(), bytes.split_off(4)));
    let mut bytes = Vec::new();
    ReplyHeader::encode_frame(4, 9, ErrorCode::NoNode, &mut bytes);
    seeds.push(("frame", "reply".to_owned(), bytes.split_off(4)));
    for flag in [0, 1] {
        let name = ["as-it-is", "sealed"][usize::from(flag)].to_owned();
        let with_flag = |bytes: &[u8]| [&[flag], bytes].concat();
        seeds.push(("snapshot", name.clone(), with_flag(SNAPSHOT)));
        // The records of the golden segment's first two batches, without heads and padding.
        for (number, at) in (1..).zip((4096..SEGMENT.len()).step_by(4096)) {
            let length = u32::from_le_bytes(SEGMENT[at + 8..at + 12].try_into().unwrap()) as usize;
            if SEGMENT[at..at + 4] == *b"FWBT" && length > 0 {
                let records = with_flag(&SEGMENT[at + 64..at + 64 + length]);
                seeds.push(("record", format!("{name}-{number}"), records));
            }
        }
        seeds.push(("segment", name.clone(), vec![flag]));
        seeds.push(("segment", format!("{name}-damaged"), vec![flag, 0x20, 0x50, 7, 1]));
        seeds.push(("segment", format!("{name}-no-head"), vec![flag, 0, 0, 0, 64]));
        seeds.push(("segment", format!("{name}-no-batch"), vec![flag, 0x10, 0, 0, 64]));
        seeds.push(("segment", format!("{name}-cut"), vec![flag | 2 | (9 << 2)]));
    }
    for number in 0..24 {
        let mut prng = Prng(number);
        let length = 60 + prng.below(900);
        let mut bytes: Vec<u8> = (0..length).map(|_| prng.below(256) as u8).collect();
        bytes[0] = number as u8 % 4;
        seeds.push(("machine", format!("history-{number}"), bytes));
    }
    seeds
}

fn handshakes() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for read_only in [None, Some(false), Some(true)] {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 5,
            timeout_ms: 30_000,
            session: SessionId(0x0100_1234_5678_0000),
            password: Some(&[7; 16]),
            read_only,
        };
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        seeds.push(("frame", format!("connect-{read_only:?}"), bytes));
        let (session, password) = (request.session, Password([7; 16]));
        let mut bytes = Vec::new();
        ConnectResponse { timeout_ms: 6000, session, password, read_only }.encode(&mut bytes);
        seeds.push(("frame", format!("connected-{read_only:?}"), bytes));
    }
    seeds
}

/// A body as a client would send it.
fn body(op: OpCode) -> Vec<u8> {
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    match op {
        OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
            w.string(b"/app/node");
            w.buffer(Some(b"value"));
            w.out.extend_from_slice(acl::OPEN.as_bytes());
            w.int(if op == OpCode::CreateTtl { 5 } else { 1 });
            w.long(60_000);
        }
        OpCode::SetData => {
            w.string(b"/app/node");
            w.buffer(Some(b"value"));
            w.int(-1);
        }
        OpCode::SetAcl => {
            w.string(b"/app/node");
            w.out.extend_from_slice(acl::READ_ONLY.as_bytes());
            w.int(3);
        }
        OpCode::Multi | OpCode::MultiRead => {
            let parts = if op == OpCode::Multi {
                [OpCode::Create, OpCode::SetData, OpCode::Check]
            } else {
                [OpCode::GetData, OpCode::GetChildren, OpCode::GetData]
            };
            for part in parts {
                MultiHeader { kind: part.code(), done: false, err: -1 }.encode(&mut w);
                let mut bytes = body(part);
                bytes.truncate(bytes.len() - if part == OpCode::Create { 8 } else { 0 });
                w.out.extend_from_slice(&bytes);
            }
            MultiHeader::END.encode(&mut w);
        }
        OpCode::SetWatches | OpCode::SetWatches2 => {
            w.long(77);
            for _ in 0..5 {
                w.strings([b"/a".as_slice(), b"/b/c"].into_iter());
            }
        }
        OpCode::Auth => {
            w.int(0);
            w.string(b"digest");
            w.buffer(Some(b"bob:secret"));
        }
        OpCode::Reconfig => {
            w.string(b"server.4=host:2888:3888;2181");
            w.buffer(None);
            w.buffer(None);
            w.long(-1);
        }
        OpCode::CreateSession => w.int(30_000),
        _ => {
            w.string(b"/app/node");
            w.int(1);
        }
    }
    out
}
