//! What waits to be sent over one link.
//!
//! ```text
//! urgent ─ heartbeats, echoes: at the next beginning of a frame ─┐
//! frames ─ own bytes │ records, shared │ own bytes │ … ──────────┴─► writer
//! ```
//!
//! A leader says the same records to a thousand observers: they wait in a thousand queues and are in
//! memory once.

use std::collections::VecDeque;

use farwatch_core::zab::message::{Message, Thread};

use super::frame::{self, FrameError};
use crate::runtime::Part;

/// Frames gather in one part up to about here: a part each would cost more than it saves, and a
/// part is written and given back as a whole.
const OWN_BYTES: usize = 64 << 10;

/// Records shorter than this are copied: a part costs about as much.
const SHARED_BYTES_MIN: usize = 1 << 10;

/// An empty buffer that is kept for the next frames is not larger. There may be a thousand links.
const KEPT_BYTES_MAX: usize = 16 << 10;

/// Heartbeats and echoes that wait: more than an honest peer ever makes.
const URGENT_BYTES_MAX: usize = 1 << 10;

/// See the module.
#[derive(Default)]
pub struct Queue {
    urgent: Vec<u8>,
    /// An own part begins with a frame, and a shared one is the end of one.
    parts: VecDeque<Part>,
    /// This much of the first part is gone.
    from: usize,
    bytes: usize,
    spare: Vec<u8>,
    /// What was said last, where the other side keeps that, too.
    thread: Option<Thread>,
}

impl Queue {
    /// One for a side that keeps what was said last, so that what follows from it is left out.
    pub fn threaded(is_kept: bool) -> Self {
        Self { thread: is_kept.then(Thread::default), ..Self::default() }
    }

    /// A buffer that was taken and is not needed any more.
    pub fn give_back(&mut self, mut own: Vec<u8>) {
        if self.spare.capacity() < own.capacity() && own.capacity() <= KEPT_BYTES_MAX {
            own.clear();
            self.spare = own;
        }
    }

    /// A buffer that was given back, or a new one.
    pub fn spare(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.spare)
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a frame of `message`; nothing if it is longer than a frame may be.
    pub fn push(&mut self, message: &Message) -> Result<(), FrameError> {
        let mut own = match self.parts.back_mut() {
            Some(Part::Own(own)) if own.len() < OWN_BYTES => std::mem::take(own),
            _ => {
                self.parts.push_back(Part::Own(Vec::new()));
                self.spare()
            }
        };
        let before = own.len();
        let records = frame::append_head(message, self.thread.as_mut(), &mut own);
        let shared = match records {
            Ok(Some(records)) if records.len() < SHARED_BYTES_MIN => {
                own.extend_from_slice(records);
                None
            }
            Ok(shared) => shared,
            Err(error) => {
                // An empty part would stand for a frame.
                self.parts.pop_back();
                if !own.is_empty() {
                    self.parts.push_back(Part::Own(own));
                }
                return Err(error);
            }
        };
        self.bytes += own.len() - before;
        *self.parts.back_mut().expect("it was looked at") = Part::Own(own);
        if let Some(records) = shared {
            self.bytes += records.len();
            self.parts.push_back(Part::Shared(records.clone(), 0..records.len()));
        }
        Ok(())
    }

    /// Appends a frame that may overtake those that wait, and that may be lost when too many do: a
    /// peer that asks and asks for echoes and reads none of them fills no memory.
    pub fn push_urgent(&mut self, frame: &[u8]) {
        if URGENT_BYTES_MAX < self.urgent.len() + frame.len() {
            return;
        }
        self.urgent.extend_from_slice(frame);
        self.bytes += frame.len();
    }

    /// Takes about `limit` bytes: an own part that is no larger than twice that goes whole.
    pub fn take(&mut self, limit: usize) -> VecDeque<Part> {
        let mut taken = VecDeque::new();
        let mut count = 0;
        if !self.urgent.is_empty() && self.is_between_frames() {
            let urgent = std::mem::take(&mut self.urgent);
            count += urgent.len();
            taken.push_back(Part::Own(urgent));
        }
        while count < limit
            && let Some(part) = self.parts.pop_front()
        {
            let length = part.bytes().len();
            match part {
                Part::Own(own) if self.from == 0 && length <= 2 * limit => {
                    count += length;
                    taken.push_back(Part::Own(own));
                }
                Part::Own(own) => self.parts.push_front(Part::Shared(own.into(), 0..length)),
                Part::Shared(records, _) => {
                    let end = (self.from + limit - count).min(length);
                    count += end - self.from;
                    taken.push_back(Part::Shared(records.clone(), self.from..end));
                    self.from = if end == length { 0 } else { end };
                    if end < length {
                        self.parts.push_front(Part::Shared(records, 0..length));
                    }
                }
            }
        }
        self.bytes -= count;
        taken
    }

    /// Hands up to `limit` bytes to `reader`, piece by piece, and forgets them. How many there were.
    pub fn read(&mut self, limit: usize, mut reader: impl FnMut(&[u8])) -> usize {
        let mut count = 0;
        if !self.urgent.is_empty() && self.is_between_frames() {
            reader(&self.urgent);
            count += self.urgent.len();
            self.urgent.clear();
        }
        while count < limit
            && let Some(part) = self.parts.front()
        {
            let bytes = &part.bytes()[self.from..];
            let piece = &bytes[..bytes.len().min(limit - count)];
            reader(piece);
            count += piece.len();
            self.from += piece.len();
            if piece.len() == bytes.len() {
                self.parts.pop_front();
                self.from = 0;
            }
        }
        self.bytes -= count;
        count
    }

    fn is_between_frames(&self) -> bool {
        self.from == 0 && !matches!(self.parts.front(), Some(Part::Shared(..)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use farwatch_core::prng::Prng;
    use farwatch_core::zab::message::{ToLeader, ToLearner};
    use farwatch_core::zab::run::Position;
    use farwatch_core::zxid::Zxid;

    use super::super::frame::{Found, Frame, HEARTBEAT};
    use super::*;

    fn some_message(prng: &mut Prng, sequence: u64) -> Message {
        if prng.one_in(2) {
            return Message::ToLeader { session: 1, sequence, body: ToLeader::Ack(Zxid(sequence)) };
        }
        let bytes: Arc<[u8]> = vec![sequence as u8; prng.below(40_000) as usize].into();
        let body = ToLearner::Inform { after: Position::default(), bytes };
        Message::ToLearner { session: 2, sequence, body }
    }

    /// The frames in `bytes`, which hold nothing else.
    fn frames(mut bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let Ok(Found::Frame(frame, used)) = frame::first(bytes, &mut Thread::default()) else {
                panic!("half a frame")
            };
            frames.push(frame);
            bytes = &bytes[used..];
        }
        frames
    }

    #[test]
    fn whatever_is_taken_or_read_at_once_is_every_frame_in_its_order_and_no_urgent_one_cuts_another()
     {
        for seed in 0..400 {
            let mut prng = Prng::new(seed);
            let (mut queue, mut wanted, mut got) = (Queue::default(), Vec::new(), Vec::new());
            let (mut urgent, reads) = (0, prng.one_in(2));
            for sequence in 0..40 {
                let message = some_message(&mut prng, sequence);
                queue.push(&message).expect("a frame");
                wanted.push(Frame::Message(message));
                if prng.one_in(5) {
                    queue.push_urgent(&HEARTBEAT);
                    urgent += 1;
                }
                let limit = prng.between(1, 100_000) as usize;
                if prng.one_in(3) && reads {
                    queue.read(limit, |piece| got.extend_from_slice(piece));
                } else if prng.one_in(3) {
                    queue.take(limit).iter().for_each(|part| got.extend_from_slice(part.bytes()));
                }
            }
            while queue.bytes() > 0 {
                queue.take(1 << 20).iter().for_each(|part| got.extend_from_slice(part.bytes()));
            }
            let (beats, messages): (Vec<_>, Vec<_>) =
                frames(&got).into_iter().partition(|frame| *frame == Frame::Heartbeat);
            assert_eq!(beats.len(), urgent, "seed {seed}");
            assert!(messages == wanted, "seed {seed}");
        }
    }

    #[test]
    fn urgent_frames_that_nobody_takes_are_bounded() {
        let mut queue = Queue::default();
        (0..10_000).for_each(|_| queue.push_urgent(&HEARTBEAT));
        assert_eq!(queue.bytes(), URGENT_BYTES_MAX);
        assert_eq!(queue.take(1).len(), 1);
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn records_that_wait_for_many_are_in_memory_once() {
        let bytes: Arc<[u8]> = vec![7; 100_000].into();
        let body = ToLearner::Inform { after: Position::default(), bytes: Arc::clone(&bytes) };
        let message = Message::ToLearner { session: 1, sequence: 1, body };
        let mut queues: Vec<Queue> = (0..50).map(|_| Queue::default()).collect();
        queues.iter_mut().for_each(|queue| queue.push(&message).expect("a frame"));
        let queued: usize = queues.iter().map(Queue::bytes).sum();
        assert!(50 * bytes.len() < queued && queued < 50 * (bytes.len() + 100));
        assert_eq!(Arc::strong_count(&bytes), 2 + 50, "{queued} bytes wait");
    }

    #[test]
    fn a_message_too_long_for_a_frame_is_refused_and_leaves_what_waits_as_it_is() {
        let short = Message::Reset { session: 1 };
        let long = |bytes: usize| {
            let bytes: Arc<[u8]> = vec![0; bytes].into();
            Message::ToLeader { session: 1, sequence: 1, body: ToLeader::Request(bytes) }
        };
        for first in [true, false] {
            let mut queue = Queue::default();
            if first {
                queue.push(&short).expect("a frame");
            }
            let before = queue.bytes();
            let refused = queue.push(&long(frame::FRAME_BYTES_MAX));
            assert!(matches!(refused, Err(FrameError::TooLong(_))), "{refused:?}");
            assert_eq!(queue.bytes(), before);
            queue.push(&short).expect("a frame");
            let mut got = Vec::new();
            while 0 < queue.bytes() {
                queue.take(1 << 20).iter().for_each(|part| got.extend_from_slice(part.bytes()));
            }
            let all = 1 + usize::from(first);
            assert_eq!(frames(&got), vec![Frame::Message(short.clone()); all]);
        }
    }
}
