use std::sync::Arc;

use farwatch_core::prng::Prng;
use farwatch_core::record::{self, Chain};
use farwatch_core::txn::{CreateTxn, NodeKind, Txn, TxnHead};
use farwatch_core::zab::message::{Message, ToLearner};
use farwatch_core::zab::run::Position;
use farwatch_core::zxid::{SessionId, Zxid};
use farwatch_core::{acl, limits};

use super::super::frame;
use super::*;

/// `plain` as blocks.
fn pack(packer: &mut Packer, plain: &[u8], out: &mut Vec<u8>) {
    for piece in plain.chunks(PLAIN_BYTES_MAX) {
        packer.plain().extend_from_slice(piece);
        packer.pack_freely(out);
    }
}

/// What all blocks of `bytes` hold, and how it ended.
fn unpack(unpacker: &mut Unpacker, mut bytes: &[u8]) -> (Vec<u8>, Result<usize, BlockError>) {
    let mut plain = Vec::new();
    loop {
        let before = plain.len();
        match unpacker.unpack(bytes, &mut plain) {
            Ok(Found::Block(used)) => bytes = &bytes[used..],
            Ok(Found::Needs(needed)) => {
                assert!(bytes.len() < needed, "enough is there");
                return (plain, Ok(bytes.len()));
            }
            Err(error) => return (plain, Err(error)),
        }
        assert!(plain.len() - before <= PLAIN_BYTES_MAX, "no block holds more");
    }
}

/// A service in a directory of them, as its instances write it: 100 to 300 bytes of JSON.
fn service(prng: &mut Prng, at: u64) -> (String, String) {
    let (service, instance) = (prng.below(120), prng.below(40));
    let path = format!("/services/svc-{service:03}/instances/{:016x}", instance * 0x9e37_79b9_7f4a);
    let status = ["UP", "UP", "UP", "STARTING", "DRAINING"][prng.below(5) as usize];
    let mut json = format!(
        r#"{{"id":"{:016x}{:016x}","host":"10.{service}.{instance}.{}","port":{},"status":"{status}","weight":{},"since":{}"#,
        prng.next(),
        prng.next(),
        prng.below(256),
        8000 + prng.below(100),
        prng.below(100),
        1_732_000_000_000 + at * 37 + prng.below(37),
    );
    if prng.one_in(2) {
        json += &format!(r#","version":"2.{}.{}","load":0.{}"#, at % 20, at % 9, prng.below(1000));
    }
    if prng.one_in(3) {
        json += &format!(r#","tags":["canary","team-{}"]"#, service % 17);
    }
    (path, json + "}")
}

/// Frames of committed records, `batch` records each, as a leader sends them to an observer.
fn trace(batch: u64, records: u64) -> Vec<Vec<u8>> {
    let mut prng = Prng::new(7);
    let (mut chain, mut zxid) = (Chain(0), 5 << 32);
    let frame = |sequence: u64| {
        let after = Position { zxid: Zxid(zxid), chain };
        let mut bytes = Vec::new();
        for _ in 0..batch {
            zxid += 1;
            let (path, json) = service(&mut prng, zxid & 0xffff);
            let session = SessionId(0x0100_0000_0000_0000 + prng.below(3000) * 0x1_0000_1234);
            let cxid = prng.below(20_000) as i32;
            let time_ms = 1_732_000_000_000 + (zxid & 0xffff) as i64 * 3;
            let head = TxnHead { zxid: Zxid(zxid), time_ms, session, cxid };
            let (path, data) = (path.as_bytes(), Some(json.as_bytes()));
            let txn = match prng.below(4) {
                0 => Txn::Create(CreateTxn {
                    path,
                    data,
                    acl: acl::OPEN,
                    kind: NodeKind::Ephemeral(session),
                    parent_cversion: zxid as i32,
                }),
                version => Txn::SetData { path, data, version: version as i32 },
            };
            chain = record::append(&head, &txn, chain, &mut bytes);
        }
        let body = ToLearner::Inform { after, bytes: Arc::from(bytes) };
        let mut out = Vec::new();
        frame::append(&Message::ToLearner { session: 0x1234_5678, sequence, body }, &mut out);
        out
    };
    (1..=records / batch).map(frame).collect()
}

#[test]
fn records_of_services_take_six_tenths_of_their_bytes_at_most_one_by_one_or_many_at_once() {
    for (batch, percent) in [(1, 60), (4, 50), (16, 45), (64, 40)] {
        let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
        let (mut plain, mut packed, mut back) = (Vec::new(), Vec::new(), Vec::new());
        for frame in trace(batch, 6400) {
            let before = packed.len();
            pack(&mut packer, &frame, &mut packed);
            plain.extend_from_slice(&frame);
            // Each is whole as soon as it is there: nothing waits for the next one.
            let (got, end) = unpack(&mut unpacker, &packed[before..]);
            assert_eq!(end, Ok(0));
            back.extend_from_slice(&got);
        }
        assert!(back == plain, "{batch}");
        println!("{batch} records in a message: {} bytes are {}", plain.len(), packed.len());
        assert!(packed.len() * 100 <= plain.len() * percent, "{} {}", packed.len(), plain.len());
    }
}

#[test]
fn a_link_takes_the_memory_that_is_stated() {
    let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
    let mut packed = Vec::new();
    pack(&mut packer, &[1; 40], &mut packed);
    assert!(packer.stream.is_none(), "what is small needs no stream");
    for frame in trace(64, 6400) {
        pack(&mut packer, &frame, &mut packed);
    }
    assert_eq!(unpack(&mut unpacker, &packed).1, Ok(0));
    let sizes = [packer.stream.unwrap().sizeof(), unpacker.stream.unwrap().sizeof()];
    assert!(sizes[0] < 320 << 10 && sizes[1] < 240 << 10, "{sizes:?}");
}

#[test]
fn whatever_is_packed_comes_back_however_it_was_cut() {
    for seed in 0..30 {
        let mut prng = Prng::new(seed);
        let (mut packer, mut plain, mut packed) = (Packer::default(), Vec::new(), Vec::new());
        for _ in 0..prng.between(1, 40) {
            let most = if prng.one_in(9) { 150_000 } else { 700 };
            let length = prng.between(1, most);
            let spread = [1, 4, 256][prng.below(3) as usize];
            let piece: Vec<u8> = (0..length).map(|_| prng.below(spread) as u8).collect();
            pack(&mut packer, &piece, &mut packed);
            plain.extend_from_slice(&piece);
        }
        assert!(packed.len() < plain.len() + plain.len() / 100 + 1000, "seed {seed}");
        let mut unpacker = Unpacker::default();
        let cut = prng.below(packed.len() as u64 + 1) as usize;
        let (mut got, end) = unpack(&mut unpacker, &packed[..cut]);
        let rest = end.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        got.extend(unpack(&mut unpacker, &packed[cut - rest..]).0);
        assert!(got == plain, "seed {seed}");
    }
}

#[test]
fn what_does_not_become_smaller_is_soon_sent_as_it_is_and_tried_again_later() {
    let mut prng = Prng::new(3);
    let noise: Vec<u8> = (0..1 << 20).flat_map(|_| prng.next().to_le_bytes()).collect();
    let (mut packer, mut packed) = (Packer::default(), Vec::new());
    let (mut compressed, mut rest) = (0, 0);
    pack(&mut packer, &noise, &mut packed);
    while rest < packed.len() {
        let head = u32::from_le_bytes(packed[rest..rest + 4].try_into().unwrap());
        compressed += u32::from(head & COMPRESSED != 0);
        rest += HEAD_BYTES + (head & !COMPRESSED) as usize;
    }
    assert!((2..=8).contains(&compressed), "{compressed} of 128 blocks cost an effort");
    assert!(packed.len() < noise.len() + 128 * 8 + 100);
    // Records again: within what passes at most they are small again.
    for frame in trace(64, 64 * 300) {
        pack(&mut packer, &frame, &mut packed);
    }
    let (before, frames) = (packed.len(), trace(64, 1280));
    frames.iter().for_each(|frame| pack(&mut packer, frame, &mut packed));
    let plain: usize = frames.iter().map(Vec::len).sum();
    assert!(packed.len() - before < plain / 2);
    assert_eq!(unpack(&mut Unpacker::default(), &packed).1, Ok(0));
}

#[test]
fn the_effort_of_all_links_is_bounded_and_what_is_beyond_it_is_sent_as_it_is() {
    let effort = Bucket::new(1, 64 << 10);
    let (now, frames) = (Instant::now(), trace(64, 64 * 20));
    let (mut packer, mut plain, mut packed, mut sizes) =
        (Packer::default(), Vec::new(), Vec::new(), Vec::new());
    for frame in &frames {
        let before = packed.len();
        packer.plain().extend_from_slice(frame);
        packer.pack(&effort, now, &mut packed);
        plain.extend_from_slice(frame);
        sizes.push(packed.len() - before);
    }
    assert!(sizes[0] < frames[0].len() / 2);
    assert_eq!(sizes[10], frames[10].len() + HEAD_BYTES, "nothing is left for it");
    assert!(unpack(&mut Unpacker::default(), &packed).0 == plain);
}

/// A block of `payload` that says it is compressed.
fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32 | COMPRESSED).to_le_bytes().to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn a_bomb_is_met_with_the_memory_of_one_block() {
    // Sixteen MiB of nothing, in a payload of a few hundred bytes.
    let mut stream = compressor().expect("memory");
    let mut payload = Vec::with_capacity(PAYLOAD_BYTES_MAX);
    let zeros = vec![0; 16 << 20];
    let mut input = InBuffer::around(&zeros);
    let mut output = OutBuffer::around(&mut payload);
    let left = stream.compress_stream2(&mut output, &mut input, ZSTD_EndDirective::ZSTD_e_flush);
    assert_eq!(left, Ok(0));
    assert!(payload.len() < 16 << 10, "{}", payload.len());
    let mut plain = Vec::new();
    let met = Unpacker::default().unpack(&compressed(&payload), &mut plain);
    assert_eq!((met, plain.capacity()), (Err(BlockError::Bomb), 0));
}

#[test]
fn a_stream_with_a_larger_window_than_ours_is_refused() {
    let mut stream = CCtx::create();
    stream.set_parameter(CParameter::WindowLog(WINDOW_LOG + 1)).unwrap();
    stream.set_parameter(CParameter::ContentSizeFlag(false)).unwrap();
    let mut payload = Vec::with_capacity(1 << 10);
    let mut output = OutBuffer::around(&mut payload);
    let mut input = InBuffer::around(b"twice the memory, please");
    stream.compress_stream2(&mut output, &mut input, ZSTD_EndDirective::ZSTD_e_flush).unwrap();
    let met = Unpacker::default().unpack(&compressed(&payload), &mut Vec::new());
    assert_eq!(met, Err(BlockError::Malformed));
}

#[test]
fn a_window_without_memory_is_not_taken_for_changed_bytes() {
    assert_eq!(zstd::zstd_safe::get_error_name(NO_MEMORY), "Allocation error : not enough memory");
    assert_eq!(refused(NO_MEMORY), BlockError::NoMemory);
    assert_eq!(refused(NO_MEMORY + 1), BlockError::Malformed);
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_it_is_waited_for() {
    let mut out = Vec::new();
    for (head, length) in [
        (PLAIN_BYTES_MAX as u32 + 1, PLAIN_BYTES_MAX + 1),
        (COMPRESSED | (PAYLOAD_BYTES_MAX as u32 + 1), PAYLOAD_BYTES_MAX + 1),
        (u32::MAX, 0x7fff_ffff),
    ] {
        let met = Unpacker::default().unpack(&head.to_le_bytes(), &mut out);
        assert_eq!(met, Err(BlockError::TooLong(length)));
    }
}

#[test]
fn no_bytes_make_the_reader_panic_or_give_more_than_a_block() {
    let mut packed = Vec::new();
    let mut packer = Packer::default();
    let mut ends = vec![0];
    for frame in trace(1, 40) {
        pack(&mut packer, &frame, &mut packed);
        ends.push(packed.len());
    }
    let mut met = 0;
    for seed in 0..3_000 {
        let mut prng = Prng::new(seed);
        let mut bytes = packed.clone();
        match prng.below(4) {
            0 => bytes = (0..prng.below(200)).map(|_| prng.next() as u8).collect(),
            1 => {
                let noise: Vec<u8> = (0..prng.below(200)).map(|_| prng.next() as u8).collect();
                bytes = compressed(&noise);
            }
            2 => {
                // A block is lost on its way, or comes twice: the stream is not what it was.
                let at = prng.below(ends.len() as u64 - 1) as usize;
                let block = bytes[ends[at]..ends[at + 1]].to_vec();
                let twice = if prng.one_in(2) { [&block[..], &block].concat() } else { Vec::new() };
                bytes.splice(ends[at]..ends[at + 1], twice);
            }
            _ => {
                for _ in 0..prng.between(1, 4) {
                    let at = prng.below(bytes.len() as u64) as usize;
                    bytes[at] ^= prng.between(1, 255) as u8;
                }
            }
        }
        met += usize::from(unpack(&mut Unpacker::default(), &bytes).1.is_err());
    }
    assert!(met > 500, "only {met} were seen here; the rest is for the frames' checksums");
}

const _: () = assert!(PLAIN_BYTES_MAX < limits::RECORD_BYTES_MAX);

#[test]
fn what_is_stored_where_it_is_reads_as_it_was_however_it_is_cut() {
    let mut prng = Prng::new(7);
    for _ in 0..200 {
        let mut parts = VecDeque::new();
        let mut whole = Vec::new();
        for _ in 0..prng.below(12) {
            let length = prng.below(2 * PLAIN_BYTES_MAX as u64 + 2) as usize >> prng.below(16);
            let bytes: Vec<u8> = (0..length).map(|_| prng.next() as u8).collect();
            whole.extend_from_slice(&bytes);
            parts.push_back(match prng.one_in(2) {
                true => Part::Own(bytes),
                false => Part::Shared(bytes.into(), 0..length),
            });
        }
        let sent: Vec<u8> = stored(parts).iter().flat_map(|part| part.bytes().to_vec()).collect();
        let (mut unpacker, mut read, mut used) = (Unpacker::default(), Vec::new(), 0);
        while used < sent.len() {
            match unpacker.unpack(&sent[used..], &mut read) {
                Ok(Found::Block(length)) => used += length,
                other => panic!("{other:?}"),
            }
        }
        assert!(read == whole, "{} bytes of {}", read.len(), whole.len());
    }
}
