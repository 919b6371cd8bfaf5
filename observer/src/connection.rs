//! The tasks of one connection: one reads for its whole life, another writes when there is need.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;

use tracing::debug;

use crate::reactor::{ConnectionKey, Next, Progress, Reactor};
use crate::runtime::{self, ReadHalf};
use crate::words;

/// An idle connection waits with a buffer of this size: small requests fit, and 18,000 idle
/// connections cost 5 MB.
const IDLE_BUFFER_BYTES: usize = 256;

/// A connection whose reads fill its buffer gets one of this size.
const BUSY_BUFFER_BYTES: usize = 64 << 10;

/// After so many reads that would have fitted a small buffer the large one is given back.
const QUIET_READS: u32 = 16;

/// Serves one accepted connection on this thread until it ends.
pub fn start(reactor: &Rc<RefCell<Reactor>>, stream: TcpStream, peer: SocketAddr) {
    let (read, write, socket) = match runtime::adopt(stream) {
        Ok(halves) => halves,
        Err(error) => {
            debug!(%peer, %error, "a connection was lost before it was served");
            reactor.borrow().shared().release(peer.ip());
            return;
        }
    };
    let key = reactor.borrow_mut().open(peer, write, socket);
    let reactor = Rc::clone(reactor);
    runtime::spawn(async move {
        serve(&reactor, key, read).await;
        let mut borrowed = reactor.borrow_mut();
        borrowed.closed(key);
        borrowed.shared().release(peer.ip());
    });
}

/// Starts writers for all connections that have something to send, and sees to it that those go on, in
/// another turn, that have not finished.
pub fn flush_dirty(reactor: &Rc<RefCell<Reactor>>) {
    resume_unfinished(reactor);
    let dirty = reactor.borrow_mut().take_dirty();
    for key in dirty {
        let Some((writer, buffer)) = reactor.borrow_mut().take_output(key) else { continue };
        let reactor = Rc::clone(reactor);
        runtime::spawn(async move {
            let mut output = Some((writer, buffer));
            while let Some((mut writer, buffer)) = output {
                let (result, buffer) = writer.write_all(buffer).await;
                let mut reactor = reactor.borrow_mut();
                reactor.wrote(key, writer, buffer, result.is_ok());
                output = reactor.take_output(key);
            }
            resume_unfinished(&reactor);
        });
    }
}

fn resume_unfinished(reactor: &Rc<RefCell<Reactor>>) {
    if !reactor.borrow_mut().begins_to_resume() {
        return;
    }
    let reactor = Rc::clone(reactor);
    runtime::spawn(async move {
        let mut is_more = true;
        while is_more {
            runtime::turn().await;
            is_more = reactor.borrow_mut().resume();
            flush_dirty(&reactor);
        }
    });
}

async fn flush(reactor: &Rc<RefCell<Reactor>>, key: ConnectionKey) {
    loop {
        if reactor.borrow_mut().has_long_output(key) {
            return flush_dirty(reactor);
        }
        let Some((mut writer, buffer)) = reactor.borrow_mut().take_output(key) else { return };
        let (result, buffer) = writer.write_all(buffer).await;
        reactor.borrow_mut().wrote(key, writer, buffer, result.is_ok());
        resume_unfinished(reactor);
    }
}

async fn serve(reactor: &Rc<RefCell<Reactor>>, key: ConnectionKey, mut read: ReadHalf) {
    let Some(signal) = reactor.borrow_mut().signal(key) else { return };
    let mut input = Input::new();
    loop {
        let Progress { consumed, wanted, next } = reactor.borrow_mut().on_bytes(key, &input.bytes);
        input.bytes.drain(..consumed);
        flush_dirty(reactor);
        flush(reactor, key).await;
        match next {
            Next::Read => {}
            Next::Wait => {
                signal.wait().await;
                continue;
            }
            Next::Word(word) => {
                let behind = input.bytes.get(4..).unwrap_or_default().to_vec();
                // Boxed: an idle connection would pay for the room that it needs.
                Box::pin(words::answer(reactor, key, word, &behind)).await;
                input.bytes.clear();
                continue;
            }
            Next::Close => {
                reactor.borrow_mut().end(key);
                input.bytes.clear();
                continue;
            }
        }
        let buffer = input.take(wanted);
        let before = buffer.len();
        let (result, buffer) = read.read(buffer).await;
        let got = buffer.len() - before;
        input.put(buffer, got);
        match result {
            Ok(0) => {
                reactor.borrow_mut().left_by_client(key);
                break;
            }
            Err(_) => break,
            Ok(_) => {}
        }
    }
    // What it asked before it left is done, above all the end of its session.
    while reactor.borrow_mut().holds(key) {
        signal.wait().await;
    }
}

/// The bytes of a connection that were not understood yet, in a buffer that is large while the
/// connection is busy and small while it is idle.
struct Input {
    bytes: Vec<u8>,
    busy: bool,
    quiet: u32,
}

impl Input {
    fn new() -> Self {
        Self { bytes: Vec::with_capacity(IDLE_BUFFER_BYTES), busy: false, quiet: 0 }
    }

    /// The buffer with room to read into, for at least `wanted` bytes in all.
    fn take(&mut self, wanted: usize) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.bytes);
        let usual = if self.busy { BUSY_BUFFER_BYTES } else { IDLE_BUFFER_BYTES };
        let target = usual.max(wanted).max(bytes.len() + 1);
        let fits = bytes.capacity() >= target;
        let is_oversized = bytes.is_empty() && bytes.capacity() > target;
        if fits && !is_oversized {
            return bytes;
        }
        let mut fitted = Vec::with_capacity(target);
        fitted.extend_from_slice(&bytes);
        fitted
    }

    fn put(&mut self, bytes: Vec<u8>, got: usize) {
        let filled = bytes.len() == bytes.capacity();
        self.bytes = bytes;
        if filled {
            self.busy = true; // more is waiting in the socket
            self.quiet = 0;
        } else if got < IDLE_BUFFER_BYTES {
            self.quiet = self.quiet.saturating_add(1);
            self.busy &= self.quiet < QUIET_READS;
        } else {
            self.quiet = 0;
        }
    }
}
