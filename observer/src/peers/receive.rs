//! The reading side of a link: unpacks blocks where the link has them, and hands over every whole
//! frame.

use std::rc::Rc;

use farwatch_core::zab::message::Thread;

use super::PeerEvent;
use super::block::{self, Unpacker};
use super::frame::{self, Found, Frame, FrameError};
use super::hub::Hub;
use super::link::Link;
use super::wire::Incoming;

/// Bytes asked of the socket at once: many small messages fit, and large ones come in few reads.
const READ_BYTES: usize = 128 << 10;

/// A buffer that grew for one large message is given back when it is larger than this.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Reads until the link is over, and says why it is.
pub async fn receive(hub: &Hub, link: &Rc<Link>, read: &mut Incoming, input: Vec<u8>) -> String {
    let mut reading = Reading { input, used: 0, unpacked: None, thread: Thread::default() };
    if link.blocks {
        reading.unpacked = Some((Unpacker::default(), Vec::new()));
    }
    loop {
        let needed = match reading.take(hub, link) {
            Ok(needed) => needed,
            Err(reason) => return reason,
        };
        while link.is_full(hub) && !link.closed.get() {
            link.room.wait().await;
        }
        if link.closed.get() {
            return "closed here".to_owned();
        }
        let Some(needed) = needed else { continue };
        link.partial.set(reading.has_part());
        let mut input = reading.buffer(needed);
        let result;
        (result, input) = read.read(input).await;
        reading.input = input;
        match result {
            Ok(0) => return "the peer closed the connection".to_owned(),
            Ok(count) => {
                link.peer.bytes_in.add(count as u64);
                link.hears();
            }
            Err(error) => return format!("receiving failed: {error}"),
        }
    }
}

/// What was read and not yet handed over.
struct Reading {
    input: Vec<u8>,
    /// This much of it was looked at.
    used: usize,
    /// What reads blocks, and what they held that is no whole frame yet.
    unpacked: Option<(Unpacker, Vec<u8>)>,
    /// What the peer said last.
    thread: Thread,
}

impl Reading {
    /// Hands over the frames of what is there, of one block after the other until more is received
    /// than may wait. How many bytes of input are needed to go on, if that is what is needed.
    fn take(&mut self, hub: &Hub, link: &Rc<Link>) -> Result<Option<usize>, String> {
        let Some((unpacker, plain)) = &mut self.unpacked else {
            let needed = take_frames(hub, link, &mut self.input, &mut self.thread);
            return needed.map(Some).map_err(|error| error.to_string());
        };
        while !link.is_full(hub) && !link.closed.get() {
            let before = plain.len();
            let found = unpacker.unpack(&self.input[self.used..], plain);
            match found.map_err(|error| error.to_string())? {
                block::Found::Needs(needed) => return Ok(Some(needed)),
                block::Found::Block(length) => self.used += length,
            }
            link.peer.plain_in.add((plain.len() - before) as u64);
            take_frames(hub, link, plain, &mut self.thread).map_err(|error| error.to_string())?;
            if plain.is_empty() && plain.capacity() > KEPT_BYTES_MAX {
                *plain = Vec::new();
            }
        }
        Ok(None)
    }

    /// Whether the beginning of a message is there, or of a block.
    fn has_part(&self) -> bool {
        self.used < self.input.len() || self.unpacked.as_ref().is_some_and(|it| !it.1.is_empty())
    }

    /// The input without what was handed over, with room for what is needed and more.
    fn buffer(&mut self, needed: usize) -> Vec<u8> {
        let mut input = std::mem::take(&mut self.input);
        input.drain(..std::mem::take(&mut self.used));
        if input.is_empty() && input.capacity() > KEPT_BYTES_MAX {
            input = Vec::new();
        }
        let missing = needed - input.len(); // more than is there, or it would have been taken
        if input.capacity() - input.len() < missing {
            input.reserve_exact(missing.max(READ_BYTES));
        }
        input
    }
}

/// Hands over every whole frame of `input`, and says how many bytes the rest needs to become one.
fn take_frames(
    hub: &Hub,
    link: &Rc<Link>,
    input: &mut Vec<u8>,
    thread: &mut Thread,
) -> Result<usize, FrameError> {
    let mut used = 0;
    let needed = loop {
        if link.closed.get() {
            break 0; // what is behind the end of a link is not its peer's word any more
        }
        let length = match frame::first(&input[used..], thread)? {
            Found::Needs(needed) => break needed,
            Found::Frame(Frame::Heartbeat, length) => length,
            Found::Frame(Frame::Echo(moment), length) => {
                link.answer_echo(moment);
                length
            }
            Found::Frame(Frame::Echoed(moment), length) => {
                link.echoed(moment);
                length
            }
            Found::Frame(Frame::Message(message), length) => {
                if link.add_pending(length) {
                    hub.has_received(link);
                }
                hub.tell(PeerEvent::Received { from: link.peer.id, message });
                length
            }
        };
        used += length;
    };
    if !link.blocks {
        link.peer.plain_in.add(used as u64);
    }
    input.drain(..used);
    Ok(needed)
}
