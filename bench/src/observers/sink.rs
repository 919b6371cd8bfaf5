//! A learner that takes all that it is told, acknowledges what the protocol wants acknowledged, and
//! keeps nothing: what an observer costs its upstream, without what an observer costs.
//!
//! ```text
//! upstream ══ blocks or frames ══► Sink ─► Zab, as in every observer ─► "it is durable", at once
//! ```
//!
//! The bytes are read by the codec of the links and the messages by the machine of the protocol.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use farwatch_core::log::format::ClusterId;
use farwatch_core::zab::message::{Message, Thread};
use farwatch_core::zab::quorum::Quorum;
use farwatch_core::zab::run::Position;
use farwatch_core::zab::timing::Timing;
use farwatch_core::zab::{Action, Event, Membership, Options, Recovered, Zab};
use farwatch_core::zxid::ServerId;
use farwatch_observer::peers::block::{self, Packer, Unpacker};
use farwatch_observer::peers::frame::{self, Found, Frame};
use farwatch_observer::peers::handshake::{
    ANSWER_BYTES_MAX, Answer, Arrived, Attempt, BLOCKS, Hello, THREADS, VERSION_MAX, VERSION_MIN,
};

/// One tick of the protocol's clock.
pub const TICK: Duration = Duration::from_millis(10);

/// How long a server may take to answer a hello, and to take a sink in.
const TAKEN_IN_WITHIN: Duration = Duration::from_secs(30);

/// Ticks of silence that a sink bears, and its upstream of it: as observers have it.
const SILENCE_TICKS: u64 = 200;

/// The answer to a hello that names another ensemble, and the one to a crowd.
const ADOPT: u16 = 7;
const BUSY: u16 = 10;

/// See the module.
pub struct Sink {
    stream: TcpStream,
    upstream: ServerId,
    zab: Zab,
    log: Position,
    /// What reads and writes blocks, and what they held that is no whole frame.
    blocks: Option<(Unpacker, Packer)>,
    input: Vec<u8>,
    plain: Vec<u8>,
    /// What it was told last.
    thread: Thread,
    output: Vec<u8>,
    /// What came of it so far.
    pub taken: Taken,
}

/// What sinks were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Over the link.
    pub bytes: u64,
    /// The records in it, as they are on every server's disk.
    pub record_bytes: u64,
    /// Snapshots, or parts of them.
    pub snapshot_parts: u64,
    /// What the thread of all sinks has used of a processor.
    pub processor: Duration,
}

impl Sink {
    /// Links with the server at `at` as the guest number `number`, having `history` already.
    /// `blocks`: whether it reads them, and so compressed ones. `later`: how long to wait each time that it is
    /// told to come later.
    pub fn link(
        at: SocketAddr,
        number: u32,
        history: Recovered,
        blocks: bool,
        mut later: impl FnMut() -> Duration,
    ) -> Result<Self> {
        let me = ServerId(ServerId::GUEST_MIN.0 + number);
        let seed = UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos() as u64;
        // It looks at its link now and then, and answers no echo: it would seem far away.
        let capabilities = THREADS | if blocks { BLOCKS } else { 0 };
        let mut hello = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            votes: false,
            cluster: ClusterId(1),
            tentative: true,
            boot: seed,
            capabilities,
            me,
            you: ServerId::ANYONE,
            attempt: Attempt::default(),
        };
        let deadline = Instant::now() + TAKEN_IN_WITHIN;
        loop {
            let (stream, answer, input) = greet(at, &hello)?;
            let refusal = match answer.verdict {
                Ok(_) => {
                    stream.set_nonblocking(true)?;
                    let upstream = answer.hello.me;
                    let both = answer.hello.capabilities & capabilities;
                    return Ok(Self {
                        stream,
                        upstream,
                        zab: machine(me, history, seed),
                        log: history.log,
                        blocks: (both & BLOCKS != 0).then(Default::default),
                        input,
                        plain: Vec::new(),
                        thread: Thread::default(),
                        output: Vec::new(),
                        taken: Taken::default(),
                    }
                    .begun());
                }
                Err(refusal) => refusal,
            };
            ensure!(Instant::now() < deadline, "{at} refuses a sink: {}", refusal.text);
            match refusal.code {
                ADOPT => (hello.cluster, hello.tentative) = (answer.hello.cluster, false),
                BUSY => sleep(later()),
                _for_good => bail!("{at} refuses a sink: {}", refusal.text),
            }
        }
    }

    fn begun(mut self) -> Self {
        self.step(Event::Start);
        self.step(Event::Upstream { peer: self.upstream, rank: 0 });
        self
    }

    /// Whether it has been told all that is committed, and to serve.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.zab.is_following()
    }

    /// The history that it claims to have.
    #[must_use]
    pub fn history(&self) -> Recovered {
        let status = self.zab.status();
        Recovered { epochs: status.epochs, log: self.log, committed: status.committed }
    }

    /// Lets a tick of its clock pass.
    pub fn tick(&mut self) {
        self.step(Event::Tick);
    }

    /// Takes what has arrived, and answers. `scratch` is where it is read to.
    pub fn turn(&mut self, scratch: &mut [u8]) -> Result<()> {
        while self.read(scratch)? {}
        self.write()
    }

    /// Takes no more than `scratch` holds of what has arrived.
    pub fn sip(&mut self, scratch: &mut [u8]) -> Result<()> {
        self.read(scratch)?;
        self.write()
    }

    /// Whether there may be more.
    fn read(&mut self, scratch: &mut [u8]) -> Result<bool> {
        match self.stream.read(scratch) {
            Ok(0) => bail!("server {} ended the link of a sink", self.upstream),
            Ok(count) => {
                self.taken.bytes += count as u64;
                self.input.extend_from_slice(&scratch[..count]);
                self.take()?;
                Ok(count == scratch.len())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error).context("the link of a sink"),
        }
    }

    fn take(&mut self) -> Result<()> {
        let mut used = 0;
        if let Some((unpacker, _)) = &mut self.blocks {
            while let block::Found::Block(length) =
                unpacker.unpack(&self.input[used..], &mut self.plain)?
            {
                used += length;
            }
        } else {
            self.plain.extend_from_slice(&self.input);
            used = self.input.len();
        }
        self.input.drain(..used);
        let plain = std::mem::take(&mut self.plain);
        let mut used = 0;
        while let Found::Frame(frame, length) = frame::first(&plain[used..], &mut self.thread)? {
            used += length;
            match frame {
                Frame::Heartbeat | Frame::Echoed(_) => {}
                Frame::Echo(moment) => self.say(&frame::echo(false, moment)),
                Frame::Message(message) => {
                    self.step(Event::Received { from: self.upstream, message });
                }
            }
        }
        self.plain = plain;
        self.plain.drain(..used);
        if !self.plain.is_empty() || !self.input.is_empty() {
            // A part of a message: its upstream is not silent, though it takes long to be heard.
            self.step(Event::Arriving(self.upstream));
        }
        Ok(())
    }

    /// Steps the machine, and does what it wants done, which is done at once.
    fn step(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut actions = Vec::new();
            self.zab.step(event, &mut actions);
            // Done is said behind all that the machine has said: the last is stepped first.
            let done: Vec<Event> = actions.into_iter().filter_map(|it| self.act(it)).collect();
            events.extend(done.into_iter().rev());
        }
    }

    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::SaveEpochs(epochs) => Some(Event::EpochsSaved(epochs)),
            Action::Send { to, message } => {
                if to == self.upstream {
                    self.send(&message);
                }
                None
            }
            Action::Append { ticket, run } => {
                self.taken.record_bytes += run.bytes().len() as u64;
                self.log = run.upto();
                Some(Event::Durable { ticket, upto: self.log.zxid })
            }
            Action::Flush { ticket } => Some(Event::Durable { ticket, upto: self.log.zxid }),
            Action::Truncate { ticket, to } => {
                self.log = to;
                Some(Event::Truncated { ticket, to })
            }
            // It has nothing but the end of what it was sent.
            Action::ReadLog { ticket, from, .. } => {
                let at = (self.log.zxid <= from).then_some(self.log);
                Some(Event::LogRead { ticket, at, run: None })
            }
            Action::StoreSnapshot { ticket, at, offset, bytes, end } => {
                self.taken.snapshot_parts += 1;
                if end {
                    self.log = at;
                }
                Some(Event::SnapshotStored { ticket, upto: offset + bytes.len() as u64 })
            }
            Action::ReadSnapshot { .. }
            | Action::Committed(_)
            | Action::Became(_)
            | Action::Confirmed(_)
            | Action::ConfirmsFailed
            | Action::Requested { .. }
            | Action::Responded(_)
            | Action::Halt(_)
            | Action::Refused { .. } => None,
        }
    }

    fn send(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        if let Some(records) =
            frame::append_head(message, None, &mut bytes).expect("a learner says little")
        {
            bytes.extend_from_slice(records);
        }
        self.say(&bytes);
    }

    fn say(&mut self, frame: &[u8]) {
        let Some((_, packer)) = &mut self.blocks else {
            return self.output.extend_from_slice(frame);
        };
        for piece in frame.chunks(block::PLAIN_BYTES_MAX) {
            packer.plain().extend_from_slice(piece);
            packer.pack_freely(&mut self.output);
        }
    }

    fn write(&mut self) -> Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(count) => _ = self.output.drain(..count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the link of a sink"),
            }
        }
        Ok(())
    }
}

fn machine(me: ServerId, history: Recovered, seed: u64) -> Zab {
    let timing = Timing { observer_silence_ticks: SILENCE_TICKS, ..Timing::default() };
    let options = Options {
        me,
        quorum: Quorum::unknown(),
        membership: Membership::Learner,
        listed: true,
        timing,
        seed,
    };
    Zab::with(options, history)
}

/// Says hello: the connection, what was answered, and what came behind the answer.
fn greet(at: SocketAddr, hello: &Hello) -> Result<(TcpStream, Answer, Vec<u8>)> {
    let mut stream = TcpStream::connect(at).with_context(|| format!("a sink of {at}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TAKEN_IN_WITHIN))?;
    let mut bytes = Vec::new();
    hello.encode(&mut bytes);
    stream.write_all(&bytes)?;
    let mut input = Vec::new();
    let mut scratch = [0; ANSWER_BYTES_MAX];
    loop {
        let count = stream.read(&mut scratch)?;
        ensure!(count > 0, "{at} hung up on the hello of a sink");
        input.extend_from_slice(&scratch[..count]);
        if let Arrived::Whole(answer, used) = Answer::decode(&input)? {
            input.drain(..used);
            return Ok((stream, answer, input));
        }
    }
}
