//! What threads of a server say to each other.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use farwatch_core::node::submission::{Reply, Submission};
use farwatch_core::tree::Events;
use farwatch_core::zxid::{SessionId, Zxid};

use crate::admin::{AdminReply, AdminRequest};
use crate::port::Port;
use crate::reactor::{ConnectionKey, Delivery};
use crate::report::{Part, Question};

/// Messages that may wait for the core. Each is a batch; the limit of outstanding writes binds
/// long before, and a reactor that finds the port full tries again.
pub const CORE_INBOX: usize = 1024;

/// Messages that may wait for a reactor. When it is full the core keeps the rest, in order.
pub const REACTOR_INBOX: usize = 1024;

/// A snapshot that was written.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// Where in the history.
    pub zxid: Zxid,
    /// The first record that the log must keep; `None` where nothing may go.
    pub log_from: Option<Zxid>,
}

/// To the core thread.
#[derive(Debug)]
pub enum ToCore {
    /// A reactor's asks.
    Submitted(Submission),
    /// Somebody wants to know.
    Question(Question, Arc<Port<Part>>),
    /// The operator of this machine asks. Every request is answered in the end: a hand-over when it
    /// has begun or was refused.
    Admin(AdminRequest, AdminReply),
    /// A snapshot was written, or could not be.
    SnapshotDone(Result<Snapshot, String>),
    /// A client of this very process is at the other end. For a server on one thread.
    Adopt(TcpStream),
    /// Finish what is under way, make it durable, and return.
    Stop,
}

/// To a reactor's thread.
#[derive(Debug)]
pub enum ToReactor {
    /// What was applied.
    Deliver(OwnedDelivery),
    /// A connection that was accepted elsewhere.
    Adopt(TcpStream, SocketAddr),
    /// Somebody wants to know.
    Question(Question, Arc<Port<Part>>),
    /// End all connections and return.
    Stop,
}

/// A [`Delivery`] that crosses threads.
#[derive(Debug)]
pub struct OwnedDelivery {
    /// Everything up to here is applied.
    pub upto: Zxid,
    /// Shared by all reactors.
    pub events: Arc<Events>,
    /// This reactor's.
    pub replies: Vec<Reply>,
    /// Shared by all reactors.
    pub bytes: Arc<Vec<u8>>,
    /// Sessions that ended.
    pub closed: Arc<[(Zxid, SessionId)]>,
    /// This reactor's.
    pub displaced: Vec<(ConnectionKey, SessionId)>,
}

impl OwnedDelivery {
    /// As the reactor takes it.
    pub fn borrow(&self) -> Delivery<'_> {
        Delivery {
            upto: self.upto,
            events: &self.events,
            replies: &self.replies,
            bytes: &self.bytes,
            closed: &self.closed,
            displaced: &self.displaced,
        }
    }
}
