//! The seeds of the fuzz target for links between servers, and every input that ever failed there,
//! through the target's own body; and as many inputs again that are made from those by a fixed
//! number. The rest of the corpus is replayed in `core`, which does not know links.

use std::path::{Path, PathBuf};

use farwatch_core::prng::Prng;
use farwatch_core::zab::message::{Message, Thread, ToLeader, ToLearner};
use farwatch_core::zab::run::Position;
use farwatch_core::zxid::{ServerId, Zxid};
use farwatch_observer::peers::handshake::{Answer, Attempt, Hello, Rejection};
use farwatch_observer::peers::{block, frame};

#[path = "../../../core/fuzz/src/peer.rs"]
mod body;

const MUTANTS: u64 = 1000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/fuzz/corpus-seed/peer")
}

/// Some frames; `thread` is what was said before them, where the other side keeps that.
fn frames(mut thread: Option<Thread>) -> Vec<u8> {
    let records: Vec<u8> = (0..40).flat_map(|at| format!("record {at}, ").into_bytes()).collect();
    let body = ToLearner::Inform { after: Position::default(), bytes: records.into() };
    let told = |sequence| Message::ToLearner { session: 1, sequence, body: body.clone() };
    let ack = Message::ToLeader { session: 1, sequence: 2, body: ToLeader::Ack(Zxid(3)) };
    let said = if thread.is_some() { vec![told(1), told(2), ack] } else { vec![told(1), ack] };
    let mut bytes = Vec::new();
    for message in said {
        let records = frame::append_head(&message, thread.as_mut(), &mut bytes);
        if let Some(records) = records.expect("it fits") {
            bytes.extend_from_slice(records);
        }
    }
    bytes.extend_from_slice(&frame::HEARTBEAT);
    bytes.extend_from_slice(&frame::echo(true, 7));
    bytes
}

/// `(name, bytes)` of every seed.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let hello = Hello {
        version_min: 1,
        version_max: 1,
        votes: false,
        cluster: farwatch_core::log::format::ClusterId(7),
        tentative: true,
        boot: 8,
        capabilities: 3,
        me: ServerId::GUEST_MIN,
        you: ServerId::ANYONE,
        attempt: Attempt::default(),
    };
    let mut greeting = vec![0];
    hello.encode(&mut greeting);
    let mut accepted = vec![1];
    Answer { hello, verdict: Ok(1) }.encode(&mut accepted);
    let mut refused = vec![1];
    let rejection = Rejection { code: 10, text: "come back".to_owned() };
    Answer { hello, verdict: Err(rejection) }.encode(&mut refused);
    let plain = [&[2][..], &frames(None)].concat();
    let threaded = [&[2][..], &frames(Some(Thread::default()))].concat();
    let stored = frames(None);
    let stored = [&[3][..], &(stored.len() as u32).to_le_bytes(), &stored].concat();
    let mut compressed = vec![3];
    let mut packer = block::Packer::default();
    for _ in 0..3 {
        packer.plain().extend_from_slice(&frames(None));
        packer.pack_freely(&mut compressed);
    }
    vec![
        ("hello", greeting),
        ("answer", accepted),
        ("refusal", refused),
        ("frames", plain),
        ("threaded", threaded),
        ("stored", stored),
        ("compressed", compressed),
    ]
}

/// A few bytes changed, or a piece taken out or put in twice.
fn mutate(bytes: &mut Vec<u8>, prng: &mut Prng) {
    for _ in 0..prng.between(1, 4) {
        let at = prng.below(bytes.len() as u64) as usize;
        let end = (at + prng.below(16) as usize).min(bytes.len());
        match prng.below(3) {
            0 => bytes[at] = prng.next() as u8,
            1 if 16 < bytes.len() => drop(bytes.drain(at..end)),
            _ => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

#[test]
fn whatever_arrives_on_a_link_is_read_or_refused() {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= seeds().len(), "{files:?}");
    for file in files {
        let seed = std::fs::read(&file).unwrap();
        body::read(&seed);
        for number in 0..MUTANTS {
            let mut bytes = seed.clone();
            mutate(&mut bytes, &mut Prng::new(number));
            let outcome = std::panic::catch_unwind(|| body::read(&bytes));
            assert!(outcome.is_ok(), "mutant {number} of {}: {bytes:02x?}", file.display());
        }
    }
}

#[test]
fn the_seeds_for_links_are_what_their_generator_writes() {
    for (name, bytes) in seeds() {
        let file = folder().join(name);
        if std::env::var_os("FARWATCH_WRITE_SEEDS").is_some() {
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::write(&file, &bytes).unwrap();
        }
        let kept = std::fs::read(&file);
        let is_kept = kept.is_ok_and(|kept| kept == bytes);
        assert!(is_kept, "peer/{name}: run this test with FARWATCH_WRITE_SEEDS=1");
    }
}
