//! What travels on a link once it is made: frames, each with its length and its checksum.
//!
//! ```text
//! 0        4        8
//! ├ length ┼ crc32c ┼ message …        length and crc are of the message; 0 and 0: a heartbeat
//!
//! 0            4        8      9        17
//! ├ 0x80000009 ┼ crc32c ┼ kind ┼ moment ┤    an echo: 1 asks, 2 answers with what was asked
//! ```

use std::sync::Arc;

use farwatch_core::limits::{RECORD_BYTES_MAX, WRITE_BYTES_OUTSTANDING_MAX};
use farwatch_core::zab::message::{DecodeError, Message, Thread};
use thiserror::Error;

/// In front of every message.
pub const HEAD_BYTES: usize = 8;

/// What a message adds to the records, the snapshot part or the request inside: session, sequence,
/// position, lengths.
const MESSAGE_FIELDS_BYTES_MAX: usize = 4096;

/// Largest message. Records that were prepared together go out together, and the last of them may
/// be as large as a record can be.
pub const FRAME_BYTES_MAX: usize =
    WRITE_BYTES_OUTSTANDING_MAX + RECORD_BYTES_MAX + MESSAGE_FIELDS_BYTES_MAX;

const _: () = assert!(FRAME_BYTES_MAX <= u32::MAX as usize);

/// Says that the sender lives, when it has nothing else to say.
pub const HEARTBEAT: [u8; HEAD_BYTES] = [0; HEAD_BYTES];

/// In the place of a length no message has: an echo.
const ECHO_MARK: u32 = 0x8000_0000 | ECHO_BODY_BYTES as u32;

/// Kind and moment.
const ECHO_BODY_BYTES: usize = 9;

const ASKS: u8 = 1;
const ANSWERS: u8 = 2;

/// Why what arrives is no frame. The link cannot go on: where the next frame begins is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Longer than anything that a peer has to say.
    #[error("a message of {0} bytes is announced, {FRAME_BYTES_MAX} is the limit")]
    TooLong(usize),
    /// Something on the way changed it, or the sender did not mean it as a frame.
    #[error("a message of {0} bytes fails its checksum: something on the way changes bytes")]
    Checksum(usize),
    /// An echo that is neither a question nor an answer.
    #[error("an echo of kind {0} arrived, of which this build knows nothing")]
    Echo(u8),
    /// A whole frame with no message in it.
    #[error(transparent)]
    Message(#[from] DecodeError),
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Nothing but a sign of life.
    Heartbeat,
    /// To be sent back at once as [`Frame::Echoed`].
    Echo(u64),
    /// What was sent as [`Frame::Echo`].
    Echoed(u64),
    /// Something to say.
    Message(Message),
}

/// What the first bytes of a link's input are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A frame that takes this many bytes.
    Frame(Frame, usize),
    /// The beginning of one: this many bytes in all are needed to know more.
    Needs(usize),
}

/// Appends `message` as a frame, without the records at its end, which are handed back and follow; shorter where
/// there is a `thread` of what was said before and the other side knows threads.
/// Appends nothing when it is longer than [`FRAME_BYTES_MAX`]: no peer would take it.
pub fn append_head<'a>(
    message: &'a Message,
    thread: Option<&mut Thread>,
    out: &mut Vec<u8>,
) -> Result<Option<&'a Arc<[u8]>>, FrameError> {
    let head = out.len();
    out.extend_from_slice(&HEARTBEAT);
    let mut said = thread.as_deref().copied();
    let records = match &mut said {
        Some(said) => message.encode_next(said, out),
        None => message.encode_head(out),
    };
    let behind: &[u8] = records.map_or(&[], |records| records);
    let body = &out[head + HEAD_BYTES..];
    let length = body.len() + behind.len();
    if length > FRAME_BYTES_MAX {
        out.truncate(head);
        return Err(FrameError::TooLong(length));
    }
    if let (Some(thread), Some(said)) = (thread, said) {
        *thread = said;
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(body), behind);
    out[head..head + 4].copy_from_slice(&(length as u32).to_le_bytes());
    out[head + 4..head + HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
    Ok(records)
}

/// An echo that asks, or answers what the other side asked.
pub fn echo(asks: bool, moment: u64) -> [u8; HEAD_BYTES + ECHO_BODY_BYTES] {
    let mut frame = [0; HEAD_BYTES + ECHO_BODY_BYTES];
    frame[8] = if asks { ASKS } else { ANSWERS };
    frame[9..].copy_from_slice(&moment.to_le_bytes());
    let crc = crc32c::crc32c(&frame[HEAD_BYTES..]);
    frame[..4].copy_from_slice(&ECHO_MARK.to_le_bytes());
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    frame
}

/// The frame that `bytes` begin with, and `thread` of what came before it.
pub fn first(bytes: &[u8], thread: &mut Thread) -> Result<Found, FrameError> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Ok(Found::Needs(HEAD_BYTES));
    };
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *head;
    let mark = u32::from_le_bytes([l0, l1, l2, l3]);
    let crc = u32::from_le_bytes([c0, c1, c2, c3]);
    let is_echo = mark == ECHO_MARK;
    let length = if is_echo { ECHO_BODY_BYTES } else { mark as usize };
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    let Some(body) = rest.get(..length) else {
        return Ok(Found::Needs(HEAD_BYTES + length));
    };
    if crc32c::crc32c(body) != crc {
        return Err(FrameError::Checksum(length));
    }
    let frame = match body {
        [] => Frame::Heartbeat,
        [kind, moment @ ..] if is_echo => {
            let moment = u64::from_le_bytes(moment.try_into().expect("nine bytes, less one"));
            match *kind {
                ASKS => Frame::Echo(moment),
                ANSWERS => Frame::Echoed(moment),
                unknown => return Err(FrameError::Echo(unknown)),
            }
        }
        message => Frame::Message(Message::decode_next(message, thread)?),
    };
    Ok(Found::Frame(frame, HEAD_BYTES + length))
}

/// Appends `message` as a whole frame.
#[cfg(test)]
pub fn append(message: &Message, out: &mut Vec<u8>) {
    if let Ok(Some(records)) = append_head(message, None, out) {
        out.extend_from_slice(records);
    }
}

#[cfg(test)]
mod tests {
    use farwatch_core::prng::Prng;
    use farwatch_core::zab::message::{ToLeader, ToLearner};
    use farwatch_core::zab::run::Position;
    use farwatch_core::zxid::Zxid;

    use super::*;

    fn some_messages(prng: &mut Prng) -> Vec<Message> {
        let count = prng.between(1, 6);
        let mut next = prng.below(9);
        let mut message = |session: u64, prng: &mut Prng| match prng.below(3) {
            0 => Message::Reset { session },
            1 => {
                let body = ToLeader::Ack(Zxid(prng.next()));
                Message::ToLeader { session, sequence: prng.next(), body }
            }
            _ => {
                let bytes: Vec<u8> = (0..prng.below(200)).map(|_| prng.next() as u8).collect();
                let body = ToLearner::Records { after: Position::default(), bytes: bytes.into() };
                next += u64::from(!prng.one_in(4)); // or one is missing, or said twice
                Message::ToLearner { session: session / 3, sequence: next, body }
            }
        };
        (0..count).map(|at| message(at, prng)).collect()
    }

    /// All frames of `bytes`, and how it ended.
    fn all(bytes: &[u8]) -> (Vec<Frame>, Result<usize, FrameError>) {
        all_behind(bytes, &mut Thread::default())
    }

    fn all_behind(
        mut bytes: &[u8],
        thread: &mut Thread,
    ) -> (Vec<Frame>, Result<usize, FrameError>) {
        let mut frames = Vec::new();
        loop {
            match first(bytes, thread) {
                Ok(Found::Frame(frame, used)) => {
                    frames.push(frame);
                    bytes = &bytes[used..];
                }
                Ok(Found::Needs(needed)) => {
                    assert!(bytes.len() < needed, "enough is there");
                    return (frames, Ok(bytes.len()));
                }
                Err(error) => return (frames, Err(error)),
            }
        }
    }

    #[test]
    fn messages_come_back_in_order_however_the_bytes_are_cut() {
        for seed in 0..300 {
            let mut prng = Prng::new(seed);
            let messages = some_messages(&mut prng);
            let (mut bytes, mut says, mut hears) = (Vec::new(), None, Thread::default());
            if prng.one_in(2) {
                says = Some(Thread::default());
            }
            for message in &messages {
                let records = append_head(message, says.as_mut(), &mut bytes).expect("it is short");
                bytes.extend_from_slice(records.map_or(&[], |records| records));
            }
            bytes.extend_from_slice(&HEARTBEAT);
            bytes.extend_from_slice(&echo(true, seed));
            bytes.extend_from_slice(&echo(false, u64::MAX - seed));
            let mut wanted: Vec<Frame> = messages.into_iter().map(Frame::Message).collect();
            wanted.push(Frame::Heartbeat);
            wanted.extend([Frame::Echo(seed), Frame::Echoed(u64::MAX - seed)]);
            let cut = prng.below(bytes.len() as u64 + 1) as usize;
            let (mut got, rest) = all_behind(&bytes[..cut], &mut hears);
            let rest = rest.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            got.extend(all_behind(&bytes[cut - rest..], &mut hears).0);
            assert_eq!(got, wanted, "seed {seed}");
        }
    }

    #[test]
    fn a_changed_byte_never_yields_another_message() {
        for seed in 0..2_000 {
            let mut prng = Prng::new(seed);
            let messages = some_messages(&mut prng);
            let mut bytes = Vec::new();
            for message in &messages {
                append(message, &mut bytes);
            }
            let at = prng.below(bytes.len() as u64) as usize;
            bytes[at] ^= prng.between(1, 255) as u8;
            let wanted: Vec<Frame> = messages.into_iter().map(Frame::Message).collect();
            let (got, end) = all(&bytes);
            assert!(got.len() < wanted.len(), "seed {seed}: the damage was not seen");
            assert_eq!(got, wanted[..got.len()], "seed {seed}");
            assert!(end.is_err() || end.is_ok_and(|rest| 0 < rest), "seed {seed}");
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic() {
        for seed in 0..5_000 {
            let mut prng = Prng::new(seed);
            let mut bytes: Vec<u8> = (0..prng.below(64)).map(|_| prng.next() as u8).collect();
            if prng.one_in(2) && bytes.len() > HEAD_BYTES {
                // A right head around a random body, so that message decoding is reached.
                let body = bytes.split_off(HEAD_BYTES);
                bytes.clear();
                let mark = if body.len() == 9 { 1 << 31 } else { 0 };
                bytes.extend_from_slice(&(body.len() as u32 | mark).to_le_bytes());
                bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
                bytes.extend_from_slice(&body);
            }
            let _ = all(&bytes);
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_it_is_waited_for() {
        let mut head = HEARTBEAT;
        head[..4].copy_from_slice(&(FRAME_BYTES_MAX as u32 + 1).to_le_bytes());
        let first = |head: &[u8]| first(head, &mut Thread::default());
        assert_eq!(first(&head), Err(FrameError::TooLong(FRAME_BYTES_MAX + 1)));
        // Nothing but an echo has the highest bit.
        head[..4].copy_from_slice(&0x8000_000a_u32.to_le_bytes());
        assert_eq!(first(&head), Err(FrameError::TooLong(0x8000_000a)));
    }
}
