//! Whoever has a server in its own process, and wants to know what becomes of it.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};

use farwatch_core::tree::Events;
use farwatch_core::zxid::Zxid;

use super::{Core, ReactorLink};
use crate::connection;
use crate::report::PeerReport;

/// Told by the core, on its thread; it must not block.
pub trait Embedder {
    /// Everything up to `upto` is in the tree; this is what happened since the last time, in order.
    fn applied(&mut self, upto: Zxid, events: &Events);

    /// Where the server stands, with every turn of the core: at least every tick.
    fn stands(&mut self, stands: Stands);

    /// Whether somebody waits, and is to be told why it does not follow: see [`Embedder::unlinked`].
    fn asks_why(&self) -> bool {
        false
    }

    /// It follows nobody, for this reason.
    fn unlinked(&mut self, why: String) {
        drop(why);
    }
}

/// Where a server stands.
#[derive(Clone, Copy, Debug)]
pub struct Stands {
    /// Whether it follows an upstream.
    pub follows: bool,
    /// See [`farwatch_core::node::Node::stale_ms`].
    pub stale_ms: u64,
    /// Replaced versions in the tree that some reader keeps.
    pub versions_kept: usize,
    /// What the tree takes, bytes.
    pub tree_bytes: usize,
}

/// What is with each of the upstreams.
fn why_unlinked(peers: &[PeerReport]) -> String {
    let upstreams = peers.iter().filter_map(|peer| Some((peer, peer.upstream.as_ref()?)));
    let each = upstreams.map(|(peer, place)| match &peer.last_error {
        _linked if peer.connected => format!("{place} is linked, and gave no history yet"),
        Some(error) => format!("{place} is not linked ({error})"),
        None => format!("{place} is not linked yet"),
    });
    each.collect::<Vec<_>>().join(", ")
}

/// As whom a client of this process is seen.
const OWN_ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

impl Core {
    /// Serves a client of this process.
    pub(super) fn take_in(&mut self, stream: TcpStream) {
        // Refused or on another thread: the client sees the end of the stream.
        if let [ReactorLink::Local(reactor)] = &self.reactors[..]
            && self.shared.admit(OWN_ADDRESS.ip())
        {
            connection::start(reactor, stream, OWN_ADDRESS);
        }
    }

    pub(super) fn tell_where_it_stands(&mut self) {
        let Some(embedder) = &mut self.embedder else { return };
        if !self.node.is_serving() && embedder.asks_why() {
            embedder.unlinked(why_unlinked(&self.ensemble.report()));
        }
        embedder.stands(Stands {
            follows: self.node.is_serving(),
            stale_ms: self.node.stale_ms().max(0).unsigned_abs(),
            versions_kept: self.node.writer().retired(),
            tree_bytes: self.node.writer().heap_bytes(),
        });
    }
}
