//! What every fallible function returns.

/// What became of a call. Numbers are never used again for something else; a program must expect
/// numbers that it does not know, from a newer library.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum fw_status {
    /// Done; outputs are written.
    FW_OK = 0,
    /// A pointer that must not be null is null.
    FW_NULL = 1,
    /// An argument has a value that it cannot have; the error's text says which.
    FW_BAD_ARGUMENT = 2,
    /// The handle is of another type, or was freed. Found with certainty in debug builds only.
    FW_BAD_HANDLE = 3,
    /// An earlier call panicked inside the library: this handle can only be freed.
    FW_POISONED = 4,
    /// A bug of the library. The process lives, the handle can only be freed.
    FW_PANIC = 5,
    /// The handle comes from the process before `fork`: open a new one in the child.
    FW_FORKED = 6,
    /// A call that waits, from inside a callback: it would wait for itself.
    FW_IN_CALLBACK = 7,
    /// No memory for what the arguments ask for, or none at all: nothing was begun.
    FW_NO_MEMORY = 8,
    /// The system gave no thread or no descriptor.
    FW_NO_RESOURCES = 9,
    /// The path breaks the rules for names of nodes.
    FW_BAD_PATH = 10,
    /// More bytes than the library or the server accepts.
    FW_TOO_LARGE = 11,
    /// The data is longer than the buffer; its length was written.
    FW_BUFFER_TOO_SMALL = 12,

    /// The deadline passed.
    FW_TIMEOUT = 20,
    /// The connection broke before the answer came. `fw_error_maybe_applied` says what that means.
    FW_CONNECTION_LOSS = 21,
    /// The session is over and its ephemeral nodes are gone.
    FW_SESSION_EXPIRED = 22,
    /// The handle was closed.
    FW_CLOSED = 23,
    /// Too many calls are unanswered; repeat when some are answered.
    FW_OVERLOADED = 24,
    /// The server's answer does not decode: perhaps it is no server of this kind.
    FW_BAD_REPLY = 25,
    /// Changes were missed: read what is there, and subscribe again.
    FW_WINDOW_LOST = 26,
    /// The read must show a transaction that neither the server nor the leader knows.
    FW_STALE = 27,

    /// No such node, or no parent of the node to create.
    FW_NO_NODE = 40,
    /// The node exists already.
    FW_NODE_EXISTS = 41,
    /// The node has another version.
    FW_BAD_VERSION = 42,
    /// The node has children.
    FW_NOT_EMPTY = 43,
    /// This session's identities do not allow it.
    FW_NO_AUTH = 44,
    /// An ephemeral node cannot have children.
    FW_NO_CHILDREN_FOR_EPHEMERALS = 45,
    /// The server does not accept this access control list.
    FW_INVALID_ACL = 46,
    /// The server refused a credential.
    FW_AUTH_FAILED = 47,
    /// The server can only read at the moment.
    FW_NOT_READ_ONLY = 48,
    /// No such watch.
    FW_NO_WATCHER = 49,
    /// A quota would be passed.
    FW_QUOTA_EXCEEDED = 50,
    /// The server is too busy and has not executed it.
    FW_THROTTLED = 51,
    /// A local session cannot have ephemeral nodes here.
    FW_EPHEMERAL_ON_LOCAL_SESSION = 52,
    /// The server does not know this operation.
    FW_UNIMPLEMENTED = 53,
    /// The ensemble cannot be changed so, or not now; the error's text says why.
    FW_RECONFIG_REFUSED = 54,
    /// The server refused for another reason: `fw_error_code` and the error's text say which.
    FW_SERVER_REFUSED = 55,

    /// What was held is held no more: the session expired, the node was deleted, or it was released.
    FW_LOST = 70,
    /// No server has confirmed the session in time: it may have been lost. Stop for now.
    FW_LEASE_OVER = 71,
    /// Another one has it.
    FW_TAKEN = 72,
    /// A later holder has been here: the token's holder must stop.
    FW_STALE_TOKEN = 73,
    /// A recipe cannot do it; the error's text says why.
    FW_RECIPE_REFUSED = 74,
}
