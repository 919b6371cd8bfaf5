//! The rest of an ensemble as a server's core sees it: whoever carries its messages.

use std::sync::Arc;
use std::time::Duration;

use farwatch_core::log::epochs::Epochs;
use farwatch_core::log::format::ClusterId;
use farwatch_core::zab::message::Message;
use farwatch_core::zxid::ServerId;

use crate::report::PeerReport;

/// What happened between this server and the others.
#[derive(Debug)]
pub enum PeerEvent {
    /// A server said something.
    Received {
        /// Who.
        from: ServerId,
        /// What.
        message: Message,
    },
    /// A part of a message has come, and not its end. Only said between servers of which one observes.
    Arriving(ServerId),
    /// There is a connection with a server of the list that this one learns from.
    Upstream {
        /// Which.
        peer: ServerId,
        /// Its place in the list.
        rank: u32,
        /// How long ago it was asked what it offers, where it was with the first word of the connection.
        asked: Option<Duration>,
    },
    /// A server that does not vote asks who leads.
    Asked(ServerId),
    /// The connection with a server ended.
    Disconnected(ServerId),
    /// The others belong to another ensemble than this server, which is new, took itself to.
    Adopt {
        /// Theirs.
        cluster: ClusterId,
        /// Whether theirs has a history. This server may then have had one too, and lost it.
        firm: bool,
    },
}

/// Links to the other servers. Nothing here blocks; all of it runs on the core's thread.
pub trait Ensemble {
    /// Says something to a server, if it is connected. It may be lost.
    fn send(&self, to: ServerId, message: &Message);

    /// Takes what happened since the last time.
    fn take_events(&self, out: &mut Vec<PeerEvent>);

    /// The ensemble's number is settled: it has a history from now on.
    fn made_firm(&self);

    /// Every other server of the configuration, without what only the protocol knows of them.
    fn report(&self) -> Vec<PeerReport>;

    /// Ends all links.
    fn stop(&self);
}

/// A server alone has nobody to talk to.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Ensemble for Nobody {
    fn send(&self, _to: ServerId, _message: &Message) {}

    fn take_events(&self, _out: &mut Vec<PeerEvent>) {}

    fn made_firm(&self) {}

    fn report(&self) -> Vec<PeerReport> {
        Vec::new()
    }

    fn stop(&self) {}
}

/// Makes a pair of epochs durable, and whether the voter that they belong to has lost its disk and
/// does not vote yet. Runs on a thread of its own; ends the process when it cannot.
pub type SaveEpochs = Arc<dyn Fn(Epochs, bool) + Send + Sync>;
