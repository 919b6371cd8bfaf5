//! Another server, as the links know it.
//!
//! A server of the configuration is known for as long as this one runs. A guest, and a server that
//! was found at an upstream's address, is known while it is linked: what is kept of it is bounded
//! by how many links there may be.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use farwatch_core::zxid::ServerId;
use tracing::{debug, info, warn};

use super::PeerState;
use super::handshake::Hello;
use super::link::Link;
use super::upstream::Upstream;
use crate::voice::Voice;

/// A count of bytes.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.set(self.0.get() + count);
    }

    /// So many in all.
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// Another server.
pub struct Peer {
    /// Its number.
    pub id: ServerId,
    /// Names and ports to reach it at.
    pub hosts: Vec<(String, u16)>,
    /// Whether this server's configuration lists it.
    pub listed: bool,
    /// Whether this server dials it by its number.
    pub dials: bool,
    /// Received from it over all its links.
    pub bytes_in: Counter,
    /// Sent to it over all its links.
    pub bytes_out: Counter,
    /// What was received, as frames.
    pub plain_in: Counter,
    /// What was sent, as frames.
    pub plain_out: Counter,
    votes: Cell<bool>,
    link: RefCell<Option<Rc<Link>>>,
    since: Cell<Instant>,
    /// When the last link that ended was heard last.
    heard: Cell<Option<Instant>>,
    last_error: RefCell<Option<String>>,
    voice: RefCell<Voice>,
    role_differs: Cell<bool>,
}

impl Peer {
    /// A server of the configuration, which says whether it votes.
    pub fn listed(id: ServerId, votes: bool, hosts: Vec<(String, u16)>, dials: bool) -> Self {
        Self {
            id,
            hosts,
            listed: true,
            dials,
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            plain_in: Counter::default(),
            plain_out: Counter::default(),
            votes: Cell::new(votes),
            link: RefCell::new(None),
            since: Cell::new(Instant::now()),
            heard: Cell::new(None),
            last_error: RefCell::new(None),
            voice: RefCell::default(),
            role_differs: Cell::new(false),
        }
    }

    /// A server that only its own word makes known.
    pub fn unlisted(hello: &Hello) -> Self {
        Self { listed: false, ..Self::listed(hello.me, hello.votes, Vec::new(), false) }
    }

    /// Whether it votes: as the configuration says, or as it says itself if that does not list it.
    pub fn votes(&self) -> bool {
        self.votes.get()
    }

    /// Its link, if there is one.
    pub fn link(&self) -> Option<Rc<Link>> {
        self.link.borrow().clone()
    }

    /// The upstream through which it was found, while it is linked.
    pub fn upstream(&self) -> Option<Rc<Upstream>> {
        self.link()?.upstream().cloned()
    }

    /// Whether this is its link.
    pub fn is_linked_by(&self, link: &Rc<Link>) -> bool {
        self.link.borrow().as_ref().is_some_and(|current| Rc::ptr_eq(current, link))
    }

    /// It is linked from now on, after it was not.
    pub fn linked(&self, link: &Rc<Link>, hello: &Hello) {
        let old = self.link.borrow_mut().replace(Rc::clone(link));
        assert!(old.is_none(), "a peer has one link");
        self.since.set(link.heard.get());
        let is_guest = !self.listed && link.dialed.is_none();
        if is_guest {
            debug!(peer = %self.id, address = %link.address, "a guest is linked");
        } else if self.voice.borrow_mut().success(link.heard.get()) {
            info!(peer = %self.id, address = %link.address, "linked");
        }
        if !self.listed {
            return self.votes.set(hello.votes);
        }
        let differs = hello.votes != self.votes();
        if !self.role_differs.replace(differs) && differs {
            let (says, listed) = (role(hello.votes), role(self.votes()));
            warn!(peer = %self.id, %says, %listed, "a peer's role is not the one in this server's \
                  list: make the lists of all servers equal");
        }
    }

    /// It is not linked any more. A link that worked makes the next failure news.
    pub fn unlinked(&self, worked: bool) {
        let ended = self.link.borrow_mut().take();
        self.heard.set(ended.map(|link| link.heard.get()).or(self.heard.get()));
        self.since.set(Instant::now());
        if worked {
            self.voice.borrow_mut().settle();
        }
    }

    /// It is not linked, or not any more.
    pub fn failed(&self, address: Option<SocketAddr>, reason: &str) {
        let said = self.note(address, reason);
        if let Some(unsaid) = self.voice.borrow_mut().failure(Instant::now()) {
            warn!(peer = %self.id, unsaid, "not linked: {said}");
        }
    }

    /// As [`Peer::failed`], for the report and not for the log.
    pub fn note(&self, address: Option<SocketAddr>, reason: &str) -> String {
        let said = at(address, reason);
        *self.last_error.borrow_mut() = Some(said.clone());
        said
    }

    /// How it is doing.
    pub fn state(&self) -> PeerState {
        let link = self.link();
        let heard = link.as_ref().map(|link| link.heard.get()).or(self.heard.get());
        let upstream = self.upstream().map(|upstream| upstream.to_string());
        PeerState {
            id: self.id,
            votes: self.votes(),
            listed: self.listed,
            connected: link.is_some(),
            dials: self.dials || upstream.is_some(),
            upstream,
            address: link.as_ref().map(|link| link.address),
            silent_ms: heard.map(|heard| heard.elapsed().as_millis() as u64),
            since_ms: self.since.get().elapsed().as_millis() as u64,
            last_error: self.last_error.borrow().clone(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            plain_in: self.plain_in.get(),
            plain_out: self.plain_out.get(),
            compresses: link.as_ref().is_some_and(|link| link.compresses()),
            rtt_us: link.as_ref().and_then(|it| it.round_trip()).map(|it| it.as_micros() as u64),
            queued_bytes: link.map_or(0, |link| link.queued_bytes() as u64),
        }
    }
}

/// A reason with where it was met.
pub fn at(address: Option<SocketAddr>, reason: &str) -> String {
    address.map_or_else(|| reason.to_owned(), |at| format!("{at}: {reason}"))
}

fn role(votes: bool) -> &'static str {
    if votes { "participant" } else { "observer" }
}
