//! The one table of error codes that clients know, each with ZooKeeper's number.

/// What a reply's header can say. Never send a number outside this table: the Java client throws
/// an unchecked exception on it. Source: `KeeperException.Code`, ZooKeeper 3.9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum ErrorCode {
    /// Done; inside a failed multi: not the operation that failed, and before it.
    Ok = 0,
    /// The request may or may not be applied. Of a server that is cut off; else clients say it.
    ConnectionLoss = -4,
    /// Inside a failed multi: behind the operation that failed.
    RuntimeInconsistency = -2,
    /// The body does not decode, or a multi holds what it may not hold.
    MarshallingError = -5,
    /// An operation that the server does not have.
    Unimplemented = -6,
    /// Client side only.
    OperationTimeout = -7,
    /// A bad path, flag, time to live or argument.
    BadArguments = -8,
    /// Reconfiguration: no quorum of the new configuration is connected.
    NewConfigNoQuorum = -13,
    /// Reconfiguration: another one is under way.
    ReconfigInProgress = -14,
    /// The node, or the parent of the node to create, does not exist.
    NoNode = -101,
    /// The identities of the connection do not grant what is asked.
    NoAuth = -102,
    /// The expected version is not the actual one.
    BadVersion = -103,
    /// An ephemeral may not have children.
    NoChildrenForEphemerals = -108,
    /// The node exists.
    NodeExists = -110,
    /// The node has children.
    NotEmpty = -111,
    /// The session is gone or closing.
    SessionExpired = -112,
    /// An ACL that the server would not accept.
    InvalidAcl = -114,
    /// An authentication was refused.
    AuthFailed = -115,
    /// A write or sync at a server that now only reads.
    NotReadOnly = -119,
    /// An ephemeral node needs a global session.
    EphemeralOnLocalSession = -120,
    /// No such watch to check or remove.
    NoWatcher = -121,
    /// Reconfiguration is switched off.
    ReconfigDisabled = -123,
    /// The server insists on an authentication that this connection lacks.
    SessionClosedRequireSaslAuth = -124,
    /// A hard quota would be passed.
    QuotaExceeded = -125,
    /// Refused for load before it was executed; try again.
    ThrottledOp = -127,
}

impl ErrorCode {
    const ALL: [Self; 25] = [
        Self::Ok,
        Self::ConnectionLoss,
        Self::RuntimeInconsistency,
        Self::MarshallingError,
        Self::Unimplemented,
        Self::OperationTimeout,
        Self::BadArguments,
        Self::NewConfigNoQuorum,
        Self::ReconfigInProgress,
        Self::NoNode,
        Self::NoAuth,
        Self::BadVersion,
        Self::NoChildrenForEphemerals,
        Self::NodeExists,
        Self::NotEmpty,
        Self::SessionExpired,
        Self::InvalidAcl,
        Self::AuthFailed,
        Self::NotReadOnly,
        Self::EphemeralOnLocalSession,
        Self::NoWatcher,
        Self::ReconfigDisabled,
        Self::SessionClosedRequireSaslAuth,
        Self::QuotaExceeded,
        Self::ThrottledOp,
    ];

    /// The number on the wire.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The entry with this number, if there is one.
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|entry| entry.code() == code)
    }
}
