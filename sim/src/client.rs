//! Clients: each has one session at a time, several requests under way, and knows what an
//! application would know.

use std::collections::{BTreeMap, VecDeque};

use farwatch_core::prng::Prng;
use farwatch_core::wire::handshake::Password;
use farwatch_core::zxid::{SessionId, Zxid};

use crate::reactor::ConnectionId;
use crate::request::{Mode, Request};

/// Registers that clients write and read.
pub const KEYS: u64 = 8;

/// Nodes whose versions clients compare before they write.
const COMPARED: u64 = 3;

/// The register's path.
pub fn key_path(key: u64) -> Vec<u8> {
    format!("/k{key}").into_bytes()
}

/// Where a client is connected, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    None,
    /// The handshake is under way since this microsecond.
    Opening(ConnectionId, usize, u64),
    Open(ConnectionId, usize),
}

impl Link {
    pub fn connection(self) -> Option<ConnectionId> {
        match self {
            Self::None => None,
            Self::Opening(id, ..) | Self::Open(id, _) => Some(id),
        }
    }
}

/// A request that is not answered.
#[derive(Clone, Debug)]
pub struct Sent {
    pub xid: i32,
    pub request: Request,
    /// Its number in the history, if it is one that the checkers look at.
    pub number: Option<usize>,
}

#[derive(Debug)]
pub struct Client {
    index: u64,
    pub timeout_ms: i32,
    pub session: Option<(SessionId, Password)>,
    pub link: Link,
    /// It tries to take over a session whose secret it does not know.
    pub intrudes: bool,
    /// It has left a handshake of its session that was not answered, and may be yet.
    pub left_handshake: bool,
    /// It takes a server that only reads.
    pub takes_readers: bool,
    /// It comes back with a session that was for reading only.
    pub keeps_guest: bool,
    /// Its connection is for reading only.
    pub reads_only: bool,
    /// The session that it came back with.
    pub presented: Option<SessionId>,
    pub last_server: Option<usize>,
    xid: i32,
    /// The newest zxid that the session was shown.
    pub seen: Zxid,
    pub sent: VecDeque<Sent>,
    /// Requests at once, at most.
    pub depth: usize,
    /// One-shot watches that the connection has, by path and whether it is one for children, and
    /// where in the history each was armed.
    pub watches: BTreeMap<(Vec<u8>, bool), Zxid>,
    /// The newest zxid of a reply on this connection.
    pub replied: Zxid,
    pub heard_at: u64,
    /// Since when this connection is open.
    pub open_since: u64,
    pub spoke_at: u64,
    values: u64,
    /// Nodes of its own that it may delete.
    pub own: Vec<Vec<u8>>,
}

impl Client {
    pub fn new(index: usize, prng: &mut Prng) -> Self {
        Self {
            index: index as u64 + 1,
            timeout_ms: prng.between(400, 3_000) as i32,
            session: None,
            link: Link::None,
            intrudes: false,
            left_handshake: false,
            takes_readers: prng.one_in(3),
            keeps_guest: prng.one_in(2),
            reads_only: false,
            presented: None,
            last_server: None,
            xid: 0,
            seen: Zxid::ZERO,
            sent: VecDeque::new(),
            depth: prng.between(1, 4) as usize,
            watches: BTreeMap::new(),
            replied: Zxid::ZERO,
            heard_at: 0,
            open_since: 0,
            spoke_at: 0,
            values: 0,
            own: Vec::new(),
        }
    }

    /// The connection is no more, as far as the client is concerned.
    pub fn disconnected(&mut self) {
        self.left_handshake |= matches!(self.link, Link::Opening(..)) && !self.intrudes;
        self.link = Link::None;
        self.intrudes = false;
        self.reads_only = false;
        self.presented = None;
        self.sent.clear();
        self.watches.clear();
        self.replied = Zxid::ZERO;
    }

    /// The session is no more; the next one begins anew.
    pub fn ended(&mut self) {
        self.session = None;
        self.left_handshake = false;
        self.seen = Zxid::ZERO;
        self.xid = 0;
        self.own.clear();
    }

    /// The read behind what was answered proves nothing.
    pub fn forget_next_number(&mut self) {
        if let Some(next) = self.sent.front_mut() {
            next.number = None;
        }
    }

    pub fn next_xid(&mut self) -> i32 {
        self.xid += 1;
        self.xid
    }

    /// A value that nobody else ever writes.
    pub fn fresh_value(&mut self) -> u64 {
        self.values += 1;
        self.index << 40 | self.values
    }

    /// What it does next: one request, or a sync and the read that it is for.
    pub fn choose(&mut self, prng: &mut Prng) -> Vec<Request> {
        let key = key_path(prng.below(KEYS));
        let watch = prng.one_in(2);
        let value = self.fresh_value();
        let compared = |prng: &mut Prng| format!("/c{}", prng.below(COMPARED)).into_bytes();
        let request = match prng.below(100) {
            0..34 => Request::Set { path: key, value, version: -1, padding: 0 },
            34..54 => return vec![Request::Sync, Request::Get { path: key, watch }],
            54..64 => Request::Get { path: key, watch },
            64..70 => Request::Exists { path: self.somebodys(prng), watch },
            70..75 => {
                let path = [&b"/e"[..], b"/q"][prng.below(2) as usize].to_vec();
                Request::Children { path, watch }
            }
            75..81 => {
                let path = self.somebodys(prng);
                let mode = Mode { ephemeral: true, sequential: false };
                Request::Create { path, value, mode }
            }
            81..86 => {
                let mode = Mode { ephemeral: prng.one_in(2), sequential: true };
                Request::Create { path: b"/q/s-".to_vec(), value, mode }
            }
            86..90 => match self.own.pop() {
                Some(path) => Request::Delete { path },
                None => Request::Delete { path: self.somebodys(prng) },
            },
            90..94 => {
                let version = prng.below(12) as i32;
                Request::Set { path: compared(prng), value, version, padding: 0 }
            }
            94..98 => {
                let (paths, version) = ([compared(prng), compared(prng)], prng.below(12) as i32);
                Request::SetTwo { paths, value, version: if prng.one_in(2) { -1 } else { version } }
            }
            98 if prng.one_in(3) => Request::Close,
            _else => Request::Get { path: b"/nobody".to_vec(), watch },
        };
        vec![request]
    }

    /// An ephemeral node that this client or another one makes, deletes and waits for.
    fn somebodys(&self, prng: &mut Prng) -> Vec<u8> {
        format!("/e/n{}", prng.below(6)).into_bytes()
    }

    /// What must be there before anything else.
    pub fn furniture(&mut self) -> Vec<Request> {
        let registers = (0..KEYS).map(key_path);
        let compared = (0..COMPARED).map(|at| format!("/c{at}").into_bytes());
        let paths = registers.chain(compared).chain([b"/e".to_vec(), b"/q".to_vec()]);
        paths
            .collect::<Vec<_>>()
            .into_iter()
            .map(|path| {
                let value = self.fresh_value();
                Request::Create { path, value, mode: Mode::PERSISTENT }
            })
            .collect()
    }
}
