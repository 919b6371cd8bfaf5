//! What servers of an ensemble send each other. Not part of the library: it knows `observer`, which
//! `core`'s own replay of the corpus does not.

use farwatch_core::zab::message::Thread;
use farwatch_observer::peers::block::{self, PLAIN_BYTES_MAX, Unpacker};
use farwatch_observer::peers::frame::{self, Frame};
use farwatch_observer::peers::handshake::{Answer, Arrived, Hello};

/// The first byte chooses what the rest is: a handshake, frames, or blocks of frames.
pub fn read(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else { return };
    match first % 4 {
        0 => hello(bytes),
        1 => answer(bytes),
        2 => drop(frames(bytes, &mut Thread::default())),
        _ => blocks(bytes),
    }
}

fn hello(bytes: &[u8]) {
    if let Ok(Arrived::Whole(hello, used)) = Hello::decode(bytes) {
        let mut again = Vec::new();
        hello.encode(&mut again);
        assert!(used <= bytes.len());
        assert_eq!(Hello::decode(&again), Ok(Arrived::Whole(hello, again.len())));
    }
}

fn answer(bytes: &[u8]) {
    if let Ok(Arrived::Whole(answer, used)) = Answer::decode(bytes) {
        let mut again = Vec::new();
        answer.encode(&mut again);
        assert!(used <= bytes.len());
        assert_eq!(Answer::decode(&again), Ok(Arrived::Whole(answer, again.len())));
    }
}

/// All frames, and how many bytes they took.
fn frames(bytes: &[u8], thread: &mut Thread) -> usize {
    let mut used = 0;
    let mut before = *thread;
    while let Ok(frame::Found::Frame(frame, length)) = frame::first(&bytes[used..], thread) {
        used += length;
        if let Frame::Message(message) = &frame {
            let (mut whole, mut next) = (Vec::new(), Vec::new());
            for (thread, again) in [(None, &mut whole), (Some(&mut before.clone()), &mut next)] {
                let records = frame::append_head(message, thread, again);
                let records = records.expect("it came as a frame");
                again.extend_from_slice(records.map_or(&[], |records| records));
            }
            let was = &bytes[used - length..used];
            assert!(
                was == whole || was == next,
                "one message, one encoding, or one behind another"
            );
            assert_eq!(
                frame::first(&next, &mut before),
                Ok(frame::Found::Frame(frame, next.len())),
                "what is said is heard"
            );
        }
        before = *thread;
    }
    used
}

fn blocks(bytes: &[u8]) {
    let (mut unpacker, mut plain, mut used) = (Unpacker::default(), Vec::new(), 0);
    let mut thread = Thread::default();
    loop {
        let before = plain.len();
        let Ok(block::Found::Block(length)) = unpacker.unpack(&bytes[used..], &mut plain) else {
            return;
        };
        used += length;
        assert!(plain.len() - before <= PLAIN_BYTES_MAX, "a block is bounded");
        plain.drain(..frames(&plain, &mut thread));
        if plain.len() > 16 * PLAIN_BYTES_MAX {
            return; // the head of a long message: a link waits for the rest of it
        }
    }
}
