//! Reading a handshake from a connection that may be anything.

use std::cell::{Cell, RefCell};

use crate::runtime::Socket;

use super::handshake::{ANSWER_BYTES_MAX, Arrived, HandshakeError};
use super::wire::Incoming;

/// A connection that has not finished its handshake.
pub struct Greeting {
    socket: Socket,
    accepted: bool,
    sweeps: Cell<u32>,
    ended: RefCell<Option<String>>,
}

impl Greeting {
    /// Of a connection that was accepted, or dialed.
    pub fn new(socket: &Socket, accepted: bool) -> Self {
        Self { socket: socket.clone(), accepted, sweeps: Cell::new(0), ended: RefCell::default() }
    }

    /// Why it was ended from outside, if it was.
    pub fn ended(&self) -> Option<String> {
        self.ended.borrow().clone()
    }

    /// Whether it was accepted and is waited for.
    pub fn is_waiting(&self) -> bool {
        self.accepted && self.ended.borrow().is_none()
    }

    /// One step of time: how many there have been.
    pub fn step(&self) -> u32 {
        self.sweeps.set(self.sweeps.get() + 1);
        self.sweeps.get()
    }

    /// Ends it, for the first reason that is given.
    pub fn end(&self, reason: String) {
        self.ended.borrow_mut().get_or_insert(reason);
        self.socket.hang_up();
    }
}

/// Reads until `decode` is content; what came behind it is handed back with it. The greeting's
/// deadline hangs the connection up, which ends the read: no read is ever given up.
pub async fn read_whole<T>(
    read: &mut Incoming,
    greeting: &Greeting,
    decode: impl Fn(&[u8]) -> Result<Arrived<T>, HandshakeError>,
) -> Result<(T, Vec<u8>), String> {
    let mut input = Vec::with_capacity(ANSWER_BYTES_MAX);
    loop {
        match decode(&input).map_err(|error| error.to_string())? {
            Arrived::Whole(whole, used) => {
                input.drain(..used);
                return Ok((whole, input));
            }
            Arrived::Needs(needed) => {
                assert!(needed <= ANSWER_BYTES_MAX, "the decoders bound what they wait for");
            }
        }
        let result;
        (result, input) = read.read(input).await;
        let over = match result {
            Ok(0) => "it hung up before the handshake was complete".to_owned(),
            Ok(_) => continue,
            Err(error) => format!("the handshake failed: {error}"),
        };
        return Err(greeting.ended().unwrap_or(over));
    }
}
