//! The first bytes of a link, as bytes: who dials says hello, who accepts answers.
//!
//! ```text
//! hello   0      4     8        10    12    14     15      16        24     32             40   44    48
//!         ├ FWPH ┼ crc ┼ length ┼ min ┼ max ┼ role ┼ flags ┼ cluster ┼ boot ┼ capabilities ┼ me ┼ you ┤ …
//!        48    52       56
//!         ┼ way ┼ number ┤ …
//! answer  0      4     8        10     12        14             16
//!         ├ FWPA ┼ crc ┼ length ┼ code ┼ version ┼ hello length ┼ hello of who accepts │ text … ┤
//! ```
//!
//! The crc covers everything behind it, the length is of the whole. A later version may make a
//! hello longer: what lies behind byte 56 is not looked at. The first 48 bytes are fixed for all
//! versions, so that servers of any two versions can tell each other what they speak.

use farwatch_core::log::format::ClusterId;
use farwatch_core::zxid::ServerId;
use thiserror::Error;

/// The oldest protocol version that this build speaks.
pub const VERSION_MIN: u16 = 1;

/// The newest protocol version that this build speaks.
pub const VERSION_MAX: u16 = 1;

/// The hello of this version, without its attempt.
pub const HELLO_BYTES: usize = 48;

/// What who dials says behind that.
const ATTEMPT_BYTES: usize = 8;

/// Longest hello that is read: room for what later versions add.
pub const HELLO_BYTES_MAX: usize = 1024;

/// In front of the hello inside an answer.
const ANSWER_HEAD_BYTES: usize = 16;

/// Longest reason that is sent or shown.
pub const TEXT_BYTES_MAX: usize = 512;

/// Longest answer that is read.
pub const ANSWER_BYTES_MAX: usize = ANSWER_HEAD_BYTES + HELLO_BYTES_MAX + TEXT_BYTES_MAX;

/// The capability to answer echoes, by which the other side measures how far away this one is.
pub const ECHOES: u64 = 1;

/// The capability to read and write blocks (`peers/block.rs`), in which frames are compressed. Two
/// servers that both have it, and of which one observes, say nothing but blocks behind the
/// handshake.
pub const BLOCKS: u64 = 2;

/// The capability to take a hello for its sender's first question, which is answered as the first thing behind the
/// acceptance: of a server that does not vote and dials whoever is there, what is offered to who learns
/// ([`Message::Seek`]); of one that dials a server of its list, who leads.
///
/// [`Message::Seek`]: farwatch_core::zab::message::Message::Seek
pub const QUESTIONS: u64 = 4;

/// The capability to read records that leave out what follows from the message before them
/// ([`farwatch_core::zab::message::Thread`]).
pub const THREADS: u64 = 8;

const HELLO_MAGIC: [u8; 4] = *b"FWPH";
const ANSWER_MAGIC: [u8; 4] = *b"FWPA";

/// Magic, checksum, length: what is needed to know how much is needed.
const PREFIX_BYTES: usize = 10;

const VOTES: u8 = 0;
const OBSERVES: u8 = 1;
const TENTATIVE: u8 = 1;

const _: () = assert!(HELLO_BYTES <= HELLO_BYTES_MAX);
const _: () = assert!(ANSWER_BYTES_MAX <= u16::MAX as usize);

/// Which of its process's connections this is. What one of them said may arrive behind what a later
/// one did, where something on the way takes connections and carries them on when it can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// What was dialed: one number for each peer and upstream that it has.
    pub way: u32,
    /// The how manieth connection by this way, from 1; 0: it does not say.
    pub number: u32,
}

impl Attempt {
    /// Whether it was made before `other`, or after it; `None` where that cannot be told.
    pub fn before(self, other: Self) -> Option<bool> {
        let comparable = self.way == other.way && self.number != 0 && other.number != 0;
        comparable.then_some(self.number < other.number)
    }
}

/// Who a server is and what it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest protocol version it speaks.
    pub version_min: u16,
    /// The newest protocol version it speaks.
    pub version_max: u16,
    /// Whether it votes.
    pub votes: bool,
    /// Its ensemble.
    pub cluster: ClusterId,
    /// Whether that is only its own proposal for a new ensemble.
    pub tentative: bool,
    /// Which start of the process this is.
    pub boot: u64,
    /// What it can do beyond its version, a bit each. Unknown bits mean nothing.
    pub capabilities: u64,
    /// Its number.
    pub me: ServerId,
    /// Whom it believes it speaks to.
    pub you: ServerId,
    /// Which of its connections this is; only who dials says so.
    pub attempt: Attempt,
}

/// What whoever accepts says to a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who it is.
    pub hello: Hello,
    /// The version that is spoken from here on, or why there is no link.
    pub verdict: Result<u16, Rejection>,
}

/// A refusal as it is read from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// See `docs/peer-protocol.md`. Later versions may have more.
    pub code: u16,
    /// The same in words.
    pub text: String,
}

/// Why bytes are no handshake.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// Something that does not speak this protocol.
    #[error(
        "what it sends is no Farwatch peer's handshake (it begins with {0:?}): something else uses \
         this port, or a client was given a peer's port"
    )]
    Stranger(String),
    /// Longer or shorter than a handshake can be.
    #[error("a handshake of {0} bytes: the other side runs an unknown version, or bytes are lost")]
    Length(usize),
    /// Something on the way changed it.
    #[error("the handshake fails its checksum: something on the way changes bytes")]
    Checksum,
    /// A value that does not exist.
    #[error("the handshake says what no version of Farwatch says")]
    Malformed,
}

/// What the bytes that arrived so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrived<T> {
    /// All of it; it took this many bytes.
    Whole(T, usize),
    /// The beginning: this many bytes in all are needed to know more.
    Needs(usize),
}

impl Hello {
    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&HELLO_MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(self.length() as u16).to_le_bytes());
        out.extend_from_slice(&self.version_min.to_le_bytes());
        out.extend_from_slice(&self.version_max.to_le_bytes());
        out.push(if self.votes { VOTES } else { OBSERVES });
        out.push(if self.tentative { TENTATIVE } else { 0 });
        out.extend_from_slice(&self.cluster.0.to_le_bytes());
        out.extend_from_slice(&self.boot.to_le_bytes());
        out.extend_from_slice(&self.capabilities.to_le_bytes());
        out.extend_from_slice(&self.me.0.to_le_bytes());
        out.extend_from_slice(&self.you.0.to_le_bytes());
        if self.attempt.number != 0 {
            out.extend_from_slice(&self.attempt.way.to_le_bytes());
            out.extend_from_slice(&self.attempt.number.to_le_bytes());
        }
        assert_eq!(out.len() - begin, self.length(), "as drawn");
        seal(&mut out[begin..]);
    }

    const fn length(&self) -> usize {
        if self.attempt.number == 0 { HELLO_BYTES } else { HELLO_BYTES + ATTEMPT_BYTES }
    }

    /// The hello that `bytes` begin with.
    pub fn decode(bytes: &[u8]) -> Result<Arrived<Self>, HandshakeError> {
        let Some(bytes) = whole(bytes, HELLO_MAGIC, HELLO_BYTES, HELLO_BYTES_MAX)? else {
            return Ok(Arrived::Needs(needed(bytes)));
        };
        let hello = Self {
            version_min: u16_at(bytes, 10),
            version_max: u16_at(bytes, 12),
            votes: match bytes[14] {
                VOTES => true,
                OBSERVES => false,
                _unknown => return Err(HandshakeError::Malformed),
            },
            tentative: bytes[15] & TENTATIVE != 0,
            cluster: ClusterId(u64_at(bytes, 16)),
            boot: u64_at(bytes, 24),
            capabilities: u64_at(bytes, 32),
            me: ServerId(u32_at(bytes, 40)),
            you: ServerId(u32_at(bytes, 44)),
            attempt: match bytes.len() < HELLO_BYTES + ATTEMPT_BYTES {
                true => Attempt::default(),
                false => Attempt { way: u32_at(bytes, 48), number: u32_at(bytes, 52) },
            },
        };
        if hello.version_min > hello.version_max {
            return Err(HandshakeError::Malformed);
        }
        Ok(Arrived::Whole(hello, bytes.len()))
    }
}

impl Answer {
    /// Appends its bytes. A text that is too long loses its end.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        let (code, version, text) = match &self.verdict {
            Ok(version) => (0, *version, ""),
            Err(rejection) => (rejection.code, 0, shortened(&rejection.text)),
        };
        let length = ANSWER_HEAD_BYTES + self.hello.length() + text.len();
        out.extend_from_slice(&ANSWER_MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(length as u16).to_le_bytes());
        out.extend_from_slice(&code.to_le_bytes());
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&(self.hello.length() as u16).to_le_bytes());
        self.hello.encode(out);
        out.extend_from_slice(text.as_bytes());
        assert_eq!(out.len() - begin, length, "as drawn");
        seal(&mut out[begin..]);
    }

    /// The answer that `bytes` begin with.
    pub fn decode(bytes: &[u8]) -> Result<Arrived<Self>, HandshakeError> {
        let length_min = ANSWER_HEAD_BYTES + HELLO_BYTES;
        let Some(bytes) = whole(bytes, ANSWER_MAGIC, length_min, ANSWER_BYTES_MAX)? else {
            return Ok(Arrived::Needs(needed(bytes)));
        };
        let (code, version) = (u16_at(bytes, 10), u16_at(bytes, 12));
        let text_at = ANSWER_HEAD_BYTES + usize::from(u16_at(bytes, 14));
        let inside = bytes.get(ANSWER_HEAD_BYTES..text_at).ok_or(HandshakeError::Malformed)?;
        let hello = match Hello::decode(inside)? {
            Arrived::Whole(hello, used) if used == inside.len() => hello,
            Arrived::Whole(..) | Arrived::Needs(_) => return Err(HandshakeError::Malformed),
        };
        let verdict = match code {
            0 => Ok(version),
            _refused => Err(Rejection { code, text: printable(&bytes[text_at..]) }),
        };
        Ok(Arrived::Whole(Self { hello, verdict }, bytes.len()))
    }
}

/// Writes the checksum of what begins at `bytes` and is complete.
fn seal(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// The whole of what `bytes` begin with, checked; `None` when more of it must come.
fn whole(
    bytes: &[u8],
    magic: [u8; 4],
    length_min: usize,
    length_max: usize,
) -> Result<Option<&[u8]>, HandshakeError> {
    // A stranger is told by its first byte: it may never send as many as we would wait for.
    let known = bytes.len().min(magic.len());
    if bytes[..known] != magic[..known] {
        return Err(HandshakeError::Stranger(printable(&bytes[..bytes.len().min(16)])));
    }
    if bytes.len() < PREFIX_BYTES {
        return Ok(None);
    }
    let length = needed(bytes);
    if !(length_min..=length_max).contains(&length) {
        return Err(HandshakeError::Length(length));
    }
    let Some(bytes) = bytes.get(..length) else { return Ok(None) };
    if crc32c::crc32c(&bytes[8..]) != u32_at(bytes, 4) {
        return Err(HandshakeError::Checksum);
    }
    Ok(Some(bytes))
}

/// How many bytes are needed to know more than these say.
fn needed(bytes: &[u8]) -> usize {
    if bytes.len() < PREFIX_BYTES { PREFIX_BYTES } else { usize::from(u16_at(bytes, 8)) }
}

/// As text for a log line: what a stranger sends must not steer a terminal.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let shown = text.chars().map(|c| if c.is_control() { '.' } else { c });
    shortened(&shown.collect::<String>()).to_owned()
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
