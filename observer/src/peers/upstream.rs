//! An address that is dialed whoever is there: what a server far away is told of its ensemble.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use farwatch_core::zxid::ServerId;
use tracing::warn;

use super::handshake::Hello;
use super::hub::Hub;
use super::link::Link;
use super::peer::{self, Peer};
use super::{PeerEvent, PeerState};
use crate::voice::Voice;

/// One of [`super::PeerOptions::upstreams`].
pub struct Upstream {
    /// A name or an address, and a quorum port.
    pub host: (String, u16),
    /// Who was there last. It may be another one next time, or a server that something else leads
    /// to as well.
    found: RefCell<Option<Rc<Peer>>>,
    last_error: RefCell<Option<String>>,
    voice: RefCell<Voice>,
    begun: Instant,
}

impl Upstream {
    /// Nobody was found there yet.
    pub fn new(host: (String, u16)) -> Self {
        Self {
            host,
            found: RefCell::default(),
            last_error: RefCell::default(),
            voice: RefCell::default(),
            begun: Instant::now(),
        }
    }

    /// Who answers there. What was counted of the server that answered last is kept if it is the
    /// same one.
    pub fn found(&self, hub: &Hub, hello: &Hello) -> Rc<Peer> {
        let known = hub.peer(hello.me);
        let kept = || self.found.borrow().clone().filter(|peer| peer.id == hello.me);
        let peer = known.or_else(kept).unwrap_or_else(|| Rc::new(Peer::unlisted(hello)));
        let is_news = !hub.upstreams().iter().any(|it| it.leads_to(peer.id));
        *self.found.borrow_mut() = Some(Rc::clone(&peer));
        if is_news && peer.link().is_some() {
            // When it was linked nobody knew that it is one to learn from, as where two name each other.
            hub.tell(PeerEvent::Connected(peer.id));
        }
        peer
    }

    /// Whether that server was there last.
    pub fn leads_to(&self, server: ServerId) -> bool {
        self.found.borrow().as_ref().is_some_and(|peer| peer.id == server)
    }

    /// Nobody is linked through it, or not any more.
    pub fn failed(&self, address: Option<SocketAddr>, reason: &str) {
        let said = self.note(address, reason);
        if let Some(unsaid) = self.voice.borrow_mut().failure(Instant::now()) {
            warn!(upstream = %self, unsaid, "not linked: {said}");
        }
    }

    /// As [`Upstream::failed`], for the report and not for the log.
    pub fn note(&self, address: Option<SocketAddr>, reason: &str) -> String {
        let said = peer::at(address, reason);
        *self.last_error.borrow_mut() = Some(said.clone());
        said
    }

    /// It led to a link that worked: the next failure is news.
    pub fn settle(&self) {
        self.voice.borrow_mut().settle();
    }

    /// Whether this link was found through it.
    pub fn leads(&self, link: &Link) -> bool {
        link.upstream().is_some_and(|upstream| std::ptr::eq(&raw const **upstream, self))
    }

    /// The server that was found there last, if it is linked through it.
    pub fn led_to(&self) -> Option<Rc<Peer>> {
        let found = self.found.borrow().clone()?;
        found.link().is_some_and(|link| self.leads(&link)).then_some(found)
    }

    /// How it is doing, as the server that was found there last, if one was.
    pub fn state(&self) -> PeerState {
        let is_linked = self.led_to().is_some();
        let mut state = match &*self.found.borrow() {
            Some(peer) => peer.state(),
            None => PeerState {
                id: ServerId::ANYONE,
                since_ms: self.begun.elapsed().as_millis() as u64,
                ..PeerState::default()
            },
        };
        if !is_linked {
            let nothing = PeerState::default();
            // What is heard through another link is not heard here.
            let silent_ms = state.silent_ms.filter(|_| !state.connected);
            let (address, rtt_us) = (nothing.address, nothing.rtt_us);
            state = PeerState { connected: false, address, silent_ms, rtt_us, ..state };
        }
        let own_error = self.last_error.borrow().clone();
        PeerState {
            upstream: Some(self.to_string()),
            dials: true,
            last_error: own_error.or(state.last_error),
            ..state
        }
    }
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (host, port) = &self.host;
        let quote = if host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}{host}{}:{port}", quote.0, quote.1)
    }
}
