//! A crowd of sessions, far more than a load has: opened in bursts, asked all alike, waited on
//! together.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use super::new_histogram;
use crate::raw::{Handshake, Reply, Request, Session, error_name, framed, request_bytes};

/// How long a server may take for whatever a crowd waits for.
const DEADLINE: Duration = Duration::from_secs(120);

/// Members that are asked before the answers of these are awaited.
const ASKED_AT_ONCE: usize = 1_000;

/// One read of a connection.
const READ_BYTES: usize = 64 << 10;

/// Events that one wait may return.
const EVENTS: usize = 1_024;

/// Connections from one address. The kernel looks for free ports at every second one first, and when
/// those are in use, from about 14,000 on, a connect takes milliseconds.
const SOURCE_CONNECTIONS: usize = 5_000;

/// Addresses of the loopback that no crowd of this process came from yet: their ports are free, where
/// those of a crowd that has just gone are not.
fn next_source() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let [_, _, high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 64, high, low)
}

/// The xid of an event.
const EVENT_XID: i32 = -1;

/// See the module. Its sessions end without a word when it is dropped: their servers wait for their
/// timeouts.
pub struct Throng {
    address: SocketAddr,
    /// Whence its next connections come.
    source: Ipv4Addr,
    epoll: OwnedFd,
    members: Vec<Member>,
    scratch: Vec<u8>,
}

struct Member {
    stream: TcpStream,
    began: Instant,
    phase: Phase,
    input: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Greeting,
    Open,
}

/// How a crowd came in.
#[derive(Clone, Debug)]
pub struct Opening {
    /// All of it.
    pub took: Duration,
    /// Of each session, nanoseconds from its connect to its answer.
    pub each: Histogram<u64>,
}

/// When something reached the members of a crowd, from when it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The first of them.
    pub first: Duration,
    /// The last.
    pub last: Duration,
}

impl Throng {
    /// Opens so many sessions, `burst` at once and the next ones when these are open.
    pub fn open(
        address: SocketAddr,
        count: usize,
        burst: usize,
        timeout_millis: i32,
    ) -> Result<(Self, Opening)> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let scratch = vec![0; READ_BYTES];
        let source = Ipv4Addr::LOCALHOST;
        let mut throng = Self { address, source, epoll, members: Vec::new(), scratch };
        let handshake = framed(Handshake::with_timeout(timeout_millis).encode().as_bytes());
        let mut each = new_histogram();
        let began = Instant::now();
        while throng.members.len() < count {
            let first = throng.members.len();
            let upto = count.min(first + burst);
            for at in first..upto {
                throng.begin(at).with_context(|| format!("connection {at} to {address}"))?;
            }
            let (deadline, mut open) = (Instant::now() + DEADLINE, first);
            while open < upto {
                let turned = throng.turn(deadline, &handshake, |member, frame| {
                    ensure!(!Session::parse(frame)?.is_expired(), "a new session is refused");
                    each.saturating_record(member.began.elapsed().as_nanos() as u64);
                    open += 1;
                    Ok(())
                });
                turned.with_context(|| format!("{open} of {count} sessions are open"))?;
            }
        }
        Ok((throng, Opening { took: began.elapsed(), each }))
    }

    /// Its sessions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Asks each member what `requests` says for it, a thousand members at once, and waits for the
    /// answers, none of which may be an error.
    pub fn ask(&mut self, requests: impl Fn(usize) -> Vec<Request>) -> Result<()> {
        for first in (0..self.members.len()).step_by(ASKED_AT_ONCE) {
            let mut awaited = 0;
            for at in first..self.members.len().min(first + ASKED_AT_ONCE) {
                let mut bytes = Vec::new();
                for request in requests(at) {
                    awaited += 1;
                    bytes.extend_from_slice(&framed(&request_bytes(awaited, &request)));
                }
                self.send(at, &bytes)?;
            }
            let deadline = Instant::now() + DEADLINE;
            while awaited > 0 {
                self.turn(deadline, &[], |_, frame| {
                    let reply = Reply::parse(frame)?;
                    if reply.xid != EVENT_XID {
                        ensure!(
                            reply.err == 0,
                            "a member was answered with error {}",
                            error_name(reply.err)
                        );
                        awaited -= 1;
                    }
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Waits for so many events over all members, asked for at `since`.
    pub fn events(&mut self, count: usize, since: Instant) -> Result<Arrival> {
        let (deadline, mut got, mut first) = (Instant::now() + DEADLINE, 0, None);
        while got < count {
            self.turn(deadline, &[], |_, frame| {
                if frame.starts_with(&EVENT_XID.to_be_bytes()) {
                    first.get_or_insert_with(|| since.elapsed());
                    got += 1;
                }
                Ok(())
            })?;
        }
        Ok(Arrival { first: first.unwrap_or_default(), last: since.elapsed() })
    }

    /// Begins to connect one more.
    fn begin(&mut self, at: usize) -> Result<()> {
        if at.is_multiple_of(SOURCE_CONNECTIONS) {
            self.source = next_source();
        }
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
            .context("no descriptor is left: ulimit -n")?;
        bind(&socket, &SocketAddr::from((self.source, 0)))?;
        match connect(&socket, &self.address) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        epoll::add(&self.epoll, &socket, EventData::new_u64(at as u64), EventFlags::OUT)?;
        self.members.push(Member {
            stream: TcpStream::from(socket),
            began: Instant::now(),
            phase: Phase::Connecting,
            input: Vec::new(),
        });
        Ok(())
    }

    /// Waits until something happens, and hands every whole frame to `heard`.
    fn turn(
        &mut self,
        deadline: Instant,
        handshake: &[u8],
        mut heard: impl FnMut(&Member, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "{} did not answer all within {DEADLINE:?}", self.address);
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        let (tv_sec, tv_nsec) = (left.as_secs() as i64, i64::from(left.subsec_nanos()));
        let timeout = rustix::event::Timespec { tv_sec, tv_nsec };
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            result => result?,
        };
        for event in &events {
            let data = event.data;
            let at = data.u64() as usize;
            if self.members[at].phase == Phase::Connecting {
                self.greet(at, handshake)?;
                continue;
            }
            let member = &mut self.members[at];
            let got = match member.stream.read(&mut self.scratch) {
                Ok(0) => bail!("{} closed connection {at} of a crowd", self.address),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error).context("reading in a crowd"),
            };
            let mut input = std::mem::take(&mut member.input);
            input.extend_from_slice(&self.scratch[..got]);
            let mut taken = 0;
            while let Some(frame) = whole_frame(&input[taken..]) {
                taken += 4 + frame.len();
                member.phase = Phase::Open;
                heard(member, frame)?;
            }
            // Most read whole frames: then nothing is kept.
            if taken < input.len() {
                input.drain(..taken);
                member.input = input;
            }
        }
        Ok(())
    }

    /// It is connected, or is not.
    fn greet(&mut self, at: usize, handshake: &[u8]) -> Result<()> {
        let stream = &self.members[at].stream;
        if let Some(error) = stream.take_error()? {
            return Err(error).context("connecting in a crowd");
        }
        stream.set_nodelay(true)?;
        epoll::modify(&self.epoll, stream, EventData::new_u64(at as u64), EventFlags::IN)?;
        self.members[at].phase = Phase::Greeting;
        self.send(at, handshake)
    }

    /// Little enough to fit into the socket; waits where it does not.
    fn send(&mut self, at: usize, mut bytes: &[u8]) -> Result<()> {
        let mut stream = &self.members[at].stream;
        while !bytes.is_empty() {
            match stream.write(bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => return Err(error).context("sending in a crowd"),
            }
        }
        Ok(())
    }
}

/// Without its length.
fn whole_frame(bytes: &[u8]) -> Option<&[u8]> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    bytes.get(4..4 + length)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::ceiling;
    use crate::raw::{Connection, request};

    #[test]
    fn every_member_that_watches_is_told_of_one_change_and_none_of_the_next() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || ceiling::serve(&listener, 100));
        let (mut throng, opening) = Throng::open(address, 25, 10, 30_000).expect("it opens");
        assert_eq!((throng.len(), opening.each.len()), (25, 25));
        // Members watch by turns, so that one that was not asked for is seen too.
        let watches = |at: usize| vec![request::get_data("/any", at.is_multiple_of(2))];
        throng.ask(watches).expect("answers");
        let (mut writer, _) =
            Connection::connect(address, &Handshake::default()).expect("a connection");
        let since = Instant::now();
        writer.call(&request::set_data("/any", Some(b"new"), -1)).expect("an answer");
        let arrival = throng.events(13, since).expect("events");
        assert!(arrival.first <= arrival.last);
        // What came is all that comes: a second change is seen by those alone that watch again.
        throng.ask(|at| vec![request::get_data("/any", at == 3)]).expect("answers");
        writer.call(&request::set_data("/any", Some(b"newer"), -1)).expect("an answer");
        throng.events(1, since).expect("one event");
        let mut more = 0;
        let pings = |_: usize| vec![request::get_data("/any", false)];
        throng.ask(pings).expect("answers");
        for member in &throng.members {
            more += member.input.len();
        }
        assert_eq!(more, 0);
    }
}
