//! A canned server: parses lengths, answers fixed bytes, knows nothing. What it reaches is what
//! sockets and kernel leave to any server, on this machine and at this moment.
//!
//! A connection that read anything with a watch is told once when anything is set: what it costs to
//! write as many small frames to as many sockets.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::raw::{Body, framed, op};

/// Names the listening socket among the events; connections are numbered from 0.
const LISTENER: u64 = u64::MAX;

/// One read of a connection.
const READ_BYTES: usize = 256 << 10;

/// The length of a frame and the head of a request: xid and operation.
const HEAD_BYTES: usize = 12;

/// A Stat on the wire.
const STAT_BYTES: usize = 68;

/// The canned server as a process of its own, so that its processor time can be told apart.
#[derive(Debug)]
pub struct Ceiling {
    child: Child,
    address: SocketAddr,
}

impl Ceiling {
    /// Starts it: this program with the argument `ceiling` and the size of values to answer.
    pub fn start(value_bytes: usize) -> Result<Self> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program)
            .arg("ceiling")
            .arg(value_bytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the ceiling server does not start")?;
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        io::BufRead::read_line(&mut io::BufReader::new(stdout), &mut line)?;
        let address = line.trim().parse().context("the ceiling server does not say its address")?;
        Ok(Self { child, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        // It may be gone already; either way nothing of it is left after the wait.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves on a free port of the loopback, says the address on standard output, and ends when
/// standard input does: with the process that started it.
pub fn run(value_bytes: usize) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    std::thread::spawn(|| {
        let _ended = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    serve(&listener, value_bytes).context("the ceiling server")
}

/// Serves for ever on one thread.
pub fn serve(listener: &TcpListener, value_bytes: usize) -> io::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    listener.set_nonblocking(true)?;
    epoll::add(&epoll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let canned = Canned::new(value_bytes);
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut watching: Vec<u64> = Vec::new();
    let mut scratch = vec![0; READ_BYTES];
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        for event in &events {
            let data = event.data;
            let at = data.u64();
            if at == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                let data = epoll::EventData::new_u64(clients.len() as u64);
                epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)?;
                clients.push(Some(Client::new(stream)));
                continue;
            }
            let client = &mut clients[at as usize];
            let Some(turned) = client.as_mut().map(|it| it.turn(&canned, &mut scratch)) else {
                continue;
            };
            match turned {
                Ok(Turned::Answered) => {}
                Ok(Turned::Watches) => watching.push(at),
                Ok(Turned::Set) => tell(&mut clients, &mut watching, &canned),
                // A connection that ends or fails is forgotten: its load says what happened.
                Err(_) => clients[at as usize] = None,
            }
        }
    }
}

/// Writes the event to all that watch, once.
fn tell(clients: &mut [Option<Client>], watching: &mut Vec<u64>, canned: &Canned) {
    for at in watching.drain(..) {
        let client = &mut clients[at as usize];
        let failed = client.as_mut().is_some_and(|it| {
            it.output.extend_from_slice(&canned.event);
            it.send().is_err()
        });
        if failed {
            *client = None;
        }
    }
}

/// What a connection's turn means to others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turned {
    Answered,
    Watches,
    Set,
}

/// Bodies of replies, and the frame of the one event.
struct Canned {
    connect: Vec<u8>,
    event: Vec<u8>,
    value: Vec<u8>,
    stat: Vec<u8>,
}

impl Canned {
    fn new(value_bytes: usize) -> Self {
        let connect = Body::new().int(0).int(30_000).long(1).buffer(Some(&[0; 16])).boolean(false);
        let value = Body::new().buffer(Some(&vec![b'x'; value_bytes])).raw(&[0; STAT_BYTES]);
        // Data changed, connected; as a server would say it of a path of this length.
        let event = Body::new().int(-1).long(-1).int(0).int(3).int(3).string("/bench/0000/node");
        Self {
            connect: connect.into_bytes(),
            event: framed(event.as_bytes()),
            value: value.into_bytes(),
            stat: vec![0; STAT_BYTES],
        }
    }
}

struct Client {
    stream: TcpStream,
    met: bool,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        Self { stream, met: false, input: Vec::new(), output: Vec::new() }
    }

    fn turn(&mut self, canned: &Canned, scratch: &mut [u8]) -> io::Result<Turned> {
        let got = match self.stream.read(scratch) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Turned::Answered),
            Err(error) => return Err(error),
        };
        self.input.extend_from_slice(&scratch[..got]);
        let (mut taken, mut turned) = (0, Turned::Answered);
        while let Some(frame) = whole_frame(&self.input[taken..]) {
            taken += frame.len();
            let met = self.met;
            answer(frame, &mut self.met, canned, &mut self.output);
            turned = match kind(frame) {
                Some(op::GET_DATA) if met && frame.ends_with(&[1]) => Turned::Watches,
                Some(op::SET_DATA) if met => Turned::Set,
                _ => turned,
            };
        }
        self.input.drain(..taken);
        self.send()?;
        Ok(turned)
    }

    /// Blocks while the peer does not read: its window is far larger than what may be outstanding.
    fn send(&mut self) -> io::Result<()> {
        let mut rest = &self.output[..];
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        Ok(())
    }
}

fn whole_frame(bytes: &[u8]) -> Option<&[u8]> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    bytes.get(..4 + length)
}

/// The operation of a request.
fn kind(frame: &[u8]) -> Option<i32> {
    let code = frame.get(8..HEAD_BYTES)?;
    Some(i32::from_be_bytes(code.try_into().expect("four bytes")))
}

fn answer(frame: &[u8], met: &mut bool, canned: &Canned, output: &mut Vec<u8>) {
    let framed = |output: &mut Vec<u8>, head: &[u8], body: &[u8]| {
        output.extend_from_slice(&((head.len() + body.len()) as u32).to_be_bytes());
        output.extend_from_slice(head);
        output.extend_from_slice(body);
    };
    if !std::mem::replace(met, true) {
        return framed(output, &[], &canned.connect);
    }
    let Some(request) = frame.get(4..HEAD_BYTES) else { return };
    let mut head = [0; 16]; // xid, zxid 0, error 0
    head[..4].copy_from_slice(&request[..4]);
    framed(
        output,
        &head,
        if kind(frame) == Some(op::GET_DATA) { &canned.value } else { &canned.stat },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::{self, Connection, Handshake};

    #[test]
    fn the_ceiling_answers_a_handshake_and_reads_of_the_asked_size() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || serve(&listener, 7));
        let (mut connection, session) =
            Connection::connect(address, &Handshake::default()).expect("a handshake");
        assert_eq!(session.timeout_millis, 30_000);
        let reply = connection.call(&raw::request::get_data("/any", false)).expect("a reply");
        let (value, _stat) = reply.data_and_stat().expect("a value");
        assert_eq!(value.expect("not null").len(), 7);
    }
}
