//! One TCP connection to a server: frames out, frames in, each read under a deadline.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::body::{Body, Reader, invalid};
use super::reply::{Event, Reply};
use super::request::{self, Request};

/// How long a read waits before it fails. Generous: a loaded machine is slow, a hang is for ever.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// The fields of a ConnectRequest, all of them free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Servers ignore it.
    pub protocol_version: i32,
    /// Servers behind it close the connection.
    pub last_zxid_seen: i64,
    /// The wanted session timeout in milliseconds.
    pub timeout_millis: i32,
    /// 0 for a new session.
    pub session_id: i64,
    /// `None` is null.
    pub password: Option<Vec<u8>>,
    /// `None` leaves the byte out, as old clients do.
    pub read_only: Option<bool>,
}

impl Default for Handshake {
    fn default() -> Self {
        Self {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_millis: 30_000,
            session_id: 0,
            password: Some(vec![0; 16]),
            read_only: Some(false),
        }
    }
}

impl Handshake {
    /// A new session with this timeout.
    #[must_use]
    pub fn with_timeout(timeout_millis: i32) -> Self {
        Self { timeout_millis, ..Self::default() }
    }

    /// Takes up `session` again.
    #[must_use]
    pub fn resume(session: &Session) -> Self {
        Self {
            timeout_millis: session.timeout_millis,
            session_id: session.id,
            password: Some(session.password.clone()),
            ..Self::default()
        }
    }

    /// The body of the first frame.
    #[must_use]
    pub fn encode(&self) -> Body {
        let body = Body::new()
            .int(self.protocol_version)
            .long(self.last_zxid_seen)
            .int(self.timeout_millis)
            .long(self.session_id)
            .buffer(self.password.as_deref());
        match self.read_only {
            None => body,
            Some(read_only) => body.boolean(read_only),
        }
    }
}

/// A ConnectResponse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Servers answer 0.
    pub protocol_version: i32,
    /// The negotiated timeout in milliseconds; 0 when the session is over.
    pub timeout_millis: i32,
    /// 0 when the session is over.
    pub id: i64,
    /// 16 bytes.
    pub password: Vec<u8>,
    /// `None` when the byte is absent.
    pub read_only: Option<bool>,
}

impl Session {
    /// Decodes the first frame of a server.
    pub fn parse(frame: &[u8]) -> io::Result<Self> {
        let mut reader = Reader::new(frame);
        let (protocol_version, timeout_millis) = (reader.int()?, reader.int()?);
        let id = reader.long()?;
        let password =
            reader.buffer()?.ok_or_else(|| invalid("the password is null".to_owned()))?.to_vec();
        let read_only = if reader.rest().is_empty() { None } else { Some(reader.boolean()?) };
        reader.end()?;
        Ok(Self { protocol_version, timeout_millis, id, password, read_only })
    }

    /// Whether all three marks of an ended session hold; clients look at different ones.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.timeout_millis == 0 && self.id == 0 && self.password == [0; 16]
    }
}

/// One TCP connection, with or without a session.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Notifications that arrived while a reply was awaited, in order.
    events: VecDeque<Event>,
    xid: i32,
}

impl Connection {
    /// Connects and sends nothing.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        // Not `connect_timeout`: it reports a server that accepts and closes at once as a failed
        // connect, where the close is what a test is after.
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { stream, events: VecDeque::new(), xid: 0 })
    }

    /// Connects and shakes hands; also returns the answer to an expired session.
    pub fn connect(address: SocketAddr, handshake: &Handshake) -> io::Result<(Self, Session)> {
        let mut connection = Self::open(address)?;
        connection.send_frame(handshake.encode().as_bytes())?;
        let session = Session::parse(&connection.receive_frame()?)?;
        Ok((connection, session))
    }

    /// How long reads wait from now on.
    pub fn set_deadline(&self, deadline: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(deadline))
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends one frame: the length of `body`, then `body`, in one write.
    pub fn send_frame(&mut self, body: &[u8]) -> io::Result<()> {
        self.send_raw(&framed(body))
    }

    /// Sends a request under `xid` and does not wait.
    pub fn send(&mut self, xid: i32, request: &Request) -> io::Result<()> {
        self.send_frame(&request_bytes(xid, request))
    }

    /// Reads one frame.
    pub fn receive_frame(&mut self) -> io::Result<Vec<u8>> {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len)?;
        let len = i32::from_be_bytes(len);
        let len = usize::try_from(len).map_err(|_| invalid(format!("a frame length is {len}")))?;
        let mut frame = vec![0; len];
        self.stream.read_exact(&mut frame)?;
        Ok(frame)
    }

    /// Reads one frame and decodes its header: a reply or a notification, whatever comes first.
    pub fn receive(&mut self) -> io::Result<Reply> {
        Reply::parse(&self.receive_frame()?)
    }

    /// Reads up to the next reply; notifications before it are kept for [`Self::next_event`].
    pub fn receive_reply(&mut self) -> io::Result<Reply> {
        loop {
            let reply = self.receive()?;
            if reply.xid != -1 {
                return Ok(reply);
            }
            self.events.push_back(Event::parse(&reply)?);
        }
    }

    /// Sends a request under the next xid and reads its reply.
    pub fn call(&mut self, request: &Request) -> io::Result<Reply> {
        self.xid += 1;
        let xid = if request.op == request::op::PING { -2 } else { self.xid };
        self.send(xid, request)?;
        let reply = self.receive_reply()?;
        if reply.xid != xid {
            return Err(invalid(format!("xid {xid} was sent, {} answered", reply.xid)));
        }
        Ok(reply)
    }

    /// The oldest notification not yet taken; waits for one.
    pub fn next_event(&mut self) -> io::Result<Event> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        let reply = self.receive()?;
        Event::parse(&reply)
    }

    /// Takes the notifications that had arrived when a ping came back: everything that the
    /// requests answered so far have caused on this connection.
    pub fn drain_events(&mut self) -> io::Result<Vec<Event>> {
        self.call(&request::ping())?;
        Ok(self.events.drain(..).collect())
    }

    /// Reads up to the server's close and returns what came before it. A reset is a close as well:
    /// the peer's kernel sends one when unread input is left, and behind a close it reads as a
    /// broken pipe.
    pub fn read_to_close(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes).map_err(|error| (error.kind(), error)) {
            Ok(_) => Ok(bytes),
            Err((io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe, _)) => Ok(bytes),
            Err((_, error)) => Err(error),
        }
    }

    /// Fails unless the server closes without sending one more byte.
    pub fn expect_close(&mut self) -> io::Result<()> {
        let bytes = self.read_to_close()?;
        if bytes.is_empty() {
            return Ok(());
        }
        Err(invalid(format!("{} bytes came before the close: {bytes:02x?}", bytes.len())))
    }

    /// Says that nothing more will be sent, and keeps reading.
    pub fn finish_sending(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// This end's address: the peer that the server's log names.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// The stream itself, for load that frames on its own.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}

/// The length of `body`, then `body`.
#[must_use]
pub fn framed(body: &[u8]) -> Vec<u8> {
    Body::new().buffer(Some(body)).into_bytes()
}

/// A request's header and body, without the frame's length.
#[must_use]
pub fn request_bytes(xid: i32, request: &Request) -> Vec<u8> {
    Body::new().int(xid).int(request.op).raw(request.body.as_bytes()).into_bytes()
}

/// Sends a four-letter word and returns everything up to the close.
pub fn four_letter_word(address: SocketAddr, word: &str) -> io::Result<String> {
    four_letter_word_within(address, word, DEADLINE)
}

/// As [`four_letter_word`], with a deadline of its own for each read.
pub fn four_letter_word_within(
    address: SocketAddr,
    word: &str,
    deadline: Duration,
) -> io::Result<String> {
    let mut connection = Connection::open(address)?;
    connection.set_deadline(deadline)?;
    connection.send_raw(word.as_bytes())?;
    let bytes = connection.read_to_close()?;
    String::from_utf8(bytes).map_err(|error| invalid(error.to_string()))
}
