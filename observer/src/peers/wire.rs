//! The seam between a link and its socket. Everything that a link reads and writes passes here, so
//! that encryption would be here and nowhere else: it would turn the bytes of [`Outgoing`] into
//! others on their way out, and back in [`Incoming`]. Today they pass as they are.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;

use rustix::net::sockopt::set_tcp_thin_linear_timeouts;

use crate::runtime::{self, Part, ReadHalf, Socket, WriteHalf};

/// What the peer sends.
#[derive(Debug)]
pub struct Incoming(ReadHalf);

/// What is sent to the peer.
#[derive(Debug)]
pub struct Outgoing(WriteHalf);

/// Ties a connection to this thread. Small writes go out at once, and what little is lost in a short
/// cut is repeated at an even pace, not after twice the time each time.
pub fn open(stream: TcpStream) -> io::Result<(Incoming, Outgoing, Socket)> {
    let _only_later = set_tcp_thin_linear_timeouts(&stream, true);
    let (read, write, socket) = runtime::adopt(stream)?;
    Ok((Incoming(read), Outgoing(write), socket))
}

impl Incoming {
    /// Reads behind what `buffer` holds, up to its capacity; 0 is the end.
    pub async fn read(&mut self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        self.0.read(buffer).await
    }
}

impl Outgoing {
    /// Writes some of `parts`, from byte `from` of the first one on.
    pub async fn write_some(
        &mut self,
        parts: VecDeque<Part>,
        from: usize,
    ) -> (io::Result<usize>, VecDeque<Part>) {
        self.0.write_parts(parts, from).await
    }

    /// Writes all of `buffer`.
    pub async fn write_all(&mut self, buffer: Vec<u8>) -> io::Result<()> {
        self.0.write_all(buffer).await.0
    }
}
