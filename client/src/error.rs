//! What can go wrong between a caller and a server.

use farwatch_core::path::PathError;
use farwatch_core::wire::ErrorCode;
use thiserror::Error;

/// Why an operation did not return what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The server executed the request and refused it.
    #[error("the server answered {0:?}")]
    Server(ErrorCode),
    /// A transaction failed as a whole; nothing of it was applied.
    #[error("operation {index} of the transaction failed with {code:?}; nothing was applied")]
    MultiFailed {
        /// Place of the operation that failed.
        index: usize,
        /// What it failed with.
        code: ErrorCode,
    },
    /// The connection broke before the reply came, or the server's own way to its leader did, which
    /// leaves the connection as it is. The session may live on.
    #[error("{}", connection_loss_text(*maybe_applied))]
    ConnectionLoss {
        /// Whether the request may have been executed. `false` is a promise: it never left, or it
        /// changes nothing, and can be repeated safely.
        maybe_applied: bool,
    },
    /// The deadline passed without a reply.
    #[error("{}", timeout_text(*maybe_applied))]
    Timeout {
        /// Whether the request may have been, or may still be, executed.
        maybe_applied: bool,
    },
    /// The session is over: its ephemeral nodes are gone. Open a new client.
    #[error("the session has expired and its ephemeral nodes are gone; open a new session")]
    SessionExpired,
    /// A read that must show a transaction which no server knows: see [`crate::Freshness`].
    #[error("transaction {wanted:#x} is not known: the newest is {seen:#x}")]
    Stale {
        /// The transaction that was wanted.
        wanted: i64,
        /// The newest that the server had which answered, after it had asked the leader if need be.
        seen: i64,
    },
    /// The client was closed.
    #[error("the client is closed; open a new one")]
    Closed,
    /// The client's own thread panicked: nothing is told any more, and nothing can be asked for. The session
    /// lives on at the servers until its timeout.
    #[error(
        "a bug of the client: its thread panicked, and whether this was applied is not known; open a new \
         client, and report it"
    )]
    Panicked,
    /// A path breaks the rules for znode names.
    #[error("{error}: {path:?}")]
    BadPath {
        /// What was passed, without the chroot.
        path: String,
        /// The rule that it breaks.
        error: PathError,
    },
    /// The request does not fit a frame that the server would accept.
    #[error(
        "the request takes {bytes} bytes and the server closes connections above {bytes_max}: \
         store less in one node, split the transaction, or raise jute.maxbuffer on both sides"
    )]
    TooLarge {
        /// Bytes of the frame.
        bytes: usize,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// More requests are unanswered, or wait for a connection, than the client is willing to hold.
    #[error("{queued} requests already wait for a server; retry when some are answered")]
    Overloaded {
        /// Requests that wait.
        queued: usize,
    },
    /// A blocking call from the thread that delivers events: it would wait for itself.
    #[error("blocking calls are not possible inside a callback; use submit or another thread")]
    InsideCallback,
    /// The server refused with a number that this client does not know: the server is newer.
    #[error("the server answered error {0}, which this client does not know; upgrade the client")]
    UnknownCode(i32),
    /// The server sent what the protocol does not allow; the connection was dropped.
    #[error("the server's reply does not decode; check that the address is a ZooKeeper server")]
    BadReply,
}

fn connection_loss_text(maybe_applied: bool) -> &'static str {
    if maybe_applied {
        "the connection broke before the reply came: the request may or may not have been \
         applied; read back before repeating it"
    } else {
        "the connection broke and the request was not applied; it can be repeated"
    }
}

fn timeout_text(maybe_applied: bool) -> &'static str {
    if maybe_applied {
        "no reply in time: the request may have been, or may still be, applied; read back before \
         repeating it"
    } else {
        "no server could be reached in time and the request was not sent; check the connect \
         string and that a server is running"
    }
}

impl ClientError {
    /// Whether the next server, or the same one later, may do what this one did not. It was not refused for
    /// what it is.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::ConnectionLoss { .. }
                | Self::Server(ErrorCode::NotReadOnly | ErrorCode::ThrottledOp)
        )
    }

    /// The server's code, where there is one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Server(code) | Self::MultiFailed { code, .. } => Some(*code),
            Self::ConnectionLoss { .. }
            | Self::Timeout { .. }
            | Self::SessionExpired
            | Self::Closed
            | Self::Panicked
            | Self::BadPath { .. }
            | Self::TooLarge { .. }
            | Self::Overloaded { .. }
            | Self::Stale { .. }
            | Self::InsideCallback
            | Self::UnknownCode(_)
            | Self::BadReply => None,
        }
    }
}

/// Why a connect string is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConnectStringError {
    /// No server in it.
    #[error("the connect string names no server; write host:port[,host:port…][/chroot]")]
    NoServer,
    /// A port that is no number from 1 to 65535.
    #[error("{0:?} has no valid port; write host:port, or [address]:port for IPv6")]
    BadPort(String),
    /// The part from the first slash on is no path.
    #[error("the chroot is not a valid path: {0}")]
    BadChroot(PathError),
}

/// Why a client could not be opened. That no server answers is not among these: it keeps trying.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The connect string is refused.
    #[error(transparent)]
    ConnectString(#[from] ConnectStringError),
    /// The operating system gave no thread.
    #[error("no thread for the client's connection ({0}); raise the limit on processes or threads")]
    Thread(#[source] std::io::Error),
}
