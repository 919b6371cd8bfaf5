//! One session under load: frames out in batches, replies in order.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll;

use super::Slice;
use super::plan::{Asked, EVENT_XID, Plan};
use crate::raw::{Connection, DEADLINE, Handshake, error_name, framed, request, request_bytes};

/// Frame length, xid, zxid, error.
const REPLY_HEAD_BYTES: usize = 20;

/// A request whose reply is awaited.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    xid: i32,
    asked: Asked,
    /// When it was sent, or should have been.
    due_ns: u64,
}

/// See the module.
pub(super) struct LoadConnection {
    index: usize,
    stream: TcpStream,
    xid: i32,
    random: u64,
    awaited: VecDeque<Awaited>,
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    wants_room: bool,
}

impl LoadConnection {
    pub(super) fn open(address: SocketAddr, index: usize) -> Result<Self> {
        let (connection, session) = Connection::connect(address, &Handshake::default())?;
        ensure!(!session.is_expired(), "the server refuses a new session");
        let stream = connection.into_stream();
        stream.set_nonblocking(true)?;
        Ok(Self {
            index,
            stream,
            xid: 0,
            random: 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(index as u64 + 1),
            awaited: VecDeque::new(),
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            wants_room: false,
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Asks until `outstanding` requests are under way, and sends them.
    pub(super) fn ask(&mut self, plan: &Plan, outstanding: usize, now_ns: u64) -> io::Result<()> {
        while self.awaited.len() < outstanding {
            self.ask_one(plan, now_ns);
        }
        self.send()
    }

    /// Asks one request more, which is due at `due_ns`; it leaves with the next [`Self::send`].
    pub(super) fn ask_one(&mut self, plan: &Plan, due_ns: u64) {
        self.xid = self.xid.checked_add(1).unwrap_or(1);
        // xorshift64: cheap, and the same for every subject.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let asked = plan.ask(self.index, self.xid, self.random, &mut self.output);
        self.awaited.push_back(Awaited { xid: plan.xid(self.xid), asked, due_ns });
    }

    pub(super) fn send(&mut self) -> io::Result<()> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }

    /// Asks for the end of the session, behind all that was asked.
    pub(super) fn begin_close(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_write_timeout(Some(DEADLINE))?;
        self.xid = self.xid.checked_add(1).unwrap_or(1);
        let close = framed(&request_bytes(self.xid, &request::close_session()));
        self.output.extend_from_slice(&close);
        self.send()
    }

    /// Waits until the server has ended the session: it closes the connection then.
    pub(super) fn await_close(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        self.stream.set_read_timeout(Some(DEADLINE))?;
        while self.stream.read(scratch)? != 0 {}
        Ok(())
    }

    /// The change of what epoll is to watch for, if there is one.
    pub(super) fn interest(&mut self) -> Option<epoll::EventFlags> {
        let wants_room = self.sent < self.output.len();
        if wants_room == std::mem::replace(&mut self.wants_room, wants_room) {
            return None;
        }
        let room = if wants_room { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
        Some(epoll::EventFlags::IN | room)
    }

    /// Takes what has arrived; counted in `slice` if there is one.
    pub(super) fn receive(
        &mut self,
        scratch: &mut [u8],
        now_ns: impl Fn() -> u64,
        mut slice: Option<&mut Slice>,
    ) -> Result<()> {
        let got = match self.stream.read(scratch) {
            Ok(0) => bail!("the server closed a connection under load"),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("reading under load"),
        };
        let now_ns = now_ns();
        // Replies are rarely cut by a read: then they are looked at where they are.
        let mut input = std::mem::take(&mut self.input);
        let bytes = if input.is_empty() {
            &scratch[..got]
        } else {
            input.extend_from_slice(&scratch[..got]);
            &input[..]
        };
        let mut taken = 0;
        while let Some(head) = bytes[taken..].first_chunk::<REPLY_HEAD_BYTES>() {
            let length = 4 + u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
            if bytes.len() - taken < length {
                break;
            }
            taken += length;
            self.reply(head, now_ns, slice.as_deref_mut())?;
        }
        let rest = bytes.len() - taken;
        if input.is_empty() {
            input.extend_from_slice(&scratch[got - rest..got]);
        } else {
            input.drain(..taken);
        }
        self.input = input;
        Ok(())
    }

    fn reply(
        &mut self,
        head: &[u8; REPLY_HEAD_BYTES],
        now_ns: u64,
        slice: Option<&mut Slice>,
    ) -> Result<()> {
        let xid = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let code = i32::from_be_bytes([head[16], head[17], head[18], head[19]]);
        if xid == EVENT_XID {
            if let Some(slice) = slice {
                slice.events += 1;
            }
            return Ok(());
        }
        let awaited = self.awaited.pop_front().context("a reply that nobody awaits")?;
        ensure!(awaited.xid == xid, "reply {xid} where {} was awaited", awaited.xid);
        ensure!(code == 0, "request {xid} was answered with error {}", error_name(code));
        if let Some(slice) = slice {
            slice.operations += 1;
            let histogram = match awaited.asked {
                Asked::Read => &mut slice.reads,
                Asked::Write => &mut slice.writes,
            };
            histogram.saturating_record(now_ns.saturating_sub(awaited.due_ns));
        }
        Ok(())
    }
}
