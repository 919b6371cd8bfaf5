//! `fw_error`: why a call failed, and what that means for the caller.

use std::borrow::Cow;
use std::ffi::c_char;

use farwatch_client::{ClientError, ErrorCode, OpenError};

use crate::bytes::Text;
use crate::guard::{Opaque, free, view};
use crate::status::fw_status;

/// Why a call failed. Belongs to whoever received it, until `fw_error_free`.
pub struct fw_error {
    _private: [u8; 0],
}

impl Opaque for fw_error {
    type Body = ErrorBody;
    const TAG: u64 = u64::from_le_bytes(*b"fw_error");
}

/// A [`Failure`] on the other side of the border.
#[derive(Debug)]
pub struct ErrorBody {
    failure: Failure,
    text: Text,
}

impl From<Failure> for ErrorBody {
    fn from(failure: Failure) -> Self {
        let text = Text::new(&failure.text);
        Self { failure, text }
    }
}

/// Why an entry point failed, on this side of the border.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What the function returns.
    pub status: fw_status,
    /// For people: what happened and what to do about it. Words that are always the same are not copied:
    /// a signal handler's read must not allocate.
    pub text: Cow<'static, str>,
    /// The server's own number, or 0.
    pub code: i32,
    /// The operation of a transaction that failed.
    pub index: Option<usize>,
    /// Whether the same call may succeed later without any other change.
    pub retriable: bool,
    /// Whether the handle is of no more use.
    pub fatal: bool,
    /// Whether what was asked for may have happened, or may still happen.
    pub maybe_applied: bool,
}

impl Failure {
    /// A failure of the caller's making: not retriable, not fatal, nothing applied.
    pub fn new(status: fw_status, text: impl Into<Cow<'static, str>>) -> Self {
        Self::of(status, text.into())
    }

    // Not inlined: hundreds of places fail.
    #[cold]
    #[inline(never)]
    fn of(status: fw_status, text: Cow<'static, str>) -> Self {
        Self {
            status,
            text,
            code: 0,
            index: None,
            retriable: false,
            fatal: false,
            maybe_applied: false,
        }
    }

    /// The same, and the handle is of no more use.
    pub fn fatal(status: fw_status, text: impl Into<Cow<'static, str>>) -> Self {
        Self { fatal: true, ..Self::new(status, text) }
    }

    /// The same, and repeating it may help.
    pub fn retriable(status: fw_status, text: impl Into<Cow<'static, str>>) -> Self {
        Self { retriable: true, ..Self::new(status, text) }
    }
}

impl From<ClientError> for Failure {
    #[cold]
    #[inline(never)]
    fn from(error: ClientError) -> Self {
        use fw_status::{
            FW_BAD_PATH, FW_BAD_REPLY, FW_CLOSED, FW_CONNECTION_LOSS, FW_IN_CALLBACK,
            FW_OVERLOADED, FW_PANIC, FW_SERVER_REFUSED, FW_SESSION_EXPIRED, FW_STALE, FW_TIMEOUT,
            FW_TOO_LARGE,
        };
        let text = error.to_string();
        match error {
            ClientError::Server(code) => server_failure(code, text),
            ClientError::MultiFailed { index, code } => {
                Self { index: Some(index), ..server_failure(code, text) }
            }
            ClientError::ConnectionLoss { maybe_applied } => {
                Self { maybe_applied, ..Self::retriable(FW_CONNECTION_LOSS, text) }
            }
            ClientError::Timeout { maybe_applied } => {
                Self { maybe_applied, ..Self::retriable(FW_TIMEOUT, text) }
            }
            ClientError::SessionExpired => Self::fatal(FW_SESSION_EXPIRED, text),
            ClientError::Closed => Self::fatal(FW_CLOSED, text),
            ClientError::Panicked => Self { maybe_applied: true, ..Self::fatal(FW_PANIC, text) },
            ClientError::BadPath { .. } => Self::new(FW_BAD_PATH, text),
            ClientError::TooLarge { .. } => Self::new(FW_TOO_LARGE, text),
            ClientError::Overloaded { .. } => Self::retriable(FW_OVERLOADED, text),
            ClientError::Stale { .. } => Self::retriable(FW_STALE, text),
            ClientError::InsideCallback => Self::new(FW_IN_CALLBACK, text),
            ClientError::UnknownCode(code) => Self { code, ..Self::new(FW_SERVER_REFUSED, text) },
            // It was executed, and with which result nobody knows.
            ClientError::BadReply => Self { maybe_applied: true, ..Self::new(FW_BAD_REPLY, text) },
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let text = error.to_string();
        match error {
            OpenError::ConnectString(_) => Self::new(fw_status::FW_BAD_ARGUMENT, text),
            OpenError::Thread(_) => Self::retriable(fw_status::FW_NO_RESOURCES, text),
        }
    }
}

/// The server executed the request and refused it: nothing was applied, but for the code by which a
/// server says that it does not know.
fn server_failure(code: ErrorCode, text: String) -> Failure {
    let status = server_status(code);
    let retriable = matches!(
        code,
        ErrorCode::ConnectionLoss
            | ErrorCode::OperationTimeout
            | ErrorCode::NotReadOnly
            | ErrorCode::ThrottledOp
            | ErrorCode::NewConfigNoQuorum
            | ErrorCode::ReconfigInProgress
    );
    let maybe_applied = matches!(code, ErrorCode::ConnectionLoss | ErrorCode::OperationTimeout);
    let fatal = code == ErrorCode::SessionExpired;
    Failure { code: code as i32, retriable, maybe_applied, fatal, ..Failure::new(status, text) }
}

fn server_status(code: ErrorCode) -> fw_status {
    match code {
        ErrorCode::ConnectionLoss => fw_status::FW_CONNECTION_LOSS,
        ErrorCode::OperationTimeout => fw_status::FW_TIMEOUT,
        ErrorCode::Unimplemented => fw_status::FW_UNIMPLEMENTED,
        ErrorCode::NoNode => fw_status::FW_NO_NODE,
        ErrorCode::NodeExists => fw_status::FW_NODE_EXISTS,
        ErrorCode::BadVersion => fw_status::FW_BAD_VERSION,
        ErrorCode::NotEmpty => fw_status::FW_NOT_EMPTY,
        ErrorCode::NoAuth => fw_status::FW_NO_AUTH,
        ErrorCode::NoChildrenForEphemerals => fw_status::FW_NO_CHILDREN_FOR_EPHEMERALS,
        ErrorCode::SessionExpired => fw_status::FW_SESSION_EXPIRED,
        ErrorCode::InvalidAcl => fw_status::FW_INVALID_ACL,
        ErrorCode::AuthFailed => fw_status::FW_AUTH_FAILED,
        ErrorCode::NotReadOnly => fw_status::FW_NOT_READ_ONLY,
        ErrorCode::EphemeralOnLocalSession => fw_status::FW_EPHEMERAL_ON_LOCAL_SESSION,
        ErrorCode::NoWatcher => fw_status::FW_NO_WATCHER,
        ErrorCode::QuotaExceeded => fw_status::FW_QUOTA_EXCEEDED,
        ErrorCode::ThrottledOp => fw_status::FW_THROTTLED,
        ErrorCode::NewConfigNoQuorum
        | ErrorCode::ReconfigInProgress
        | ErrorCode::ReconfigDisabled => fw_status::FW_RECONFIG_REFUSED,
        ErrorCode::BadArguments => fw_status::FW_BAD_ARGUMENT,
        ErrorCode::Ok
        | ErrorCode::RuntimeInconsistency
        | ErrorCode::MarshallingError
        | ErrorCode::SessionClosedRequireSaslAuth => fw_status::FW_SERVER_REFUSED,
    }
}

/// The status that the call returned. `FW_OK` for null. Any thread, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_error_status(error: *const fw_error) -> fw_status {
    accessor!(view(error, fw_status::FW_OK, |error| error.failure.status))
}

/// The server's own number for a refusal (ZooKeeper's codes, all below 0); 0 when the failure did
/// not come from a server. Any thread, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_error_code(error: *const fw_error) -> i32 {
    accessor!(view(error, 0, |error| error.failure.code))
}

/// What happened and what to do about it, for people: UTF-8 that ends with a zero byte. Never null;
/// valid until the error is freed. Any thread, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_error_text(error: *const fw_error) -> *const c_char {
    accessor!(view(error, c"no error".as_ptr(), |error| error.text.as_ptr()))
}

/// Whether the same call may succeed later without any other change. Look at
/// `fw_error_maybe_applied` before repeating a write. Any thread, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_error_retriable(error: *const fw_error) -> bool {
    accessor!(view(error, false, |error| error.failure.retriable))
}

/// Whether the handle is of no more use: free it and open a new one. Any thread, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_error_fatal(error: *const fw_error) -> bool {
    accessor!(view(error, false, |error| error.failure.fatal))
}

/// Whether what was asked for may have happened, or may still happen. False is a promise: it did
/// not and will not. When true, read back before you repeat a write. Any thread, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_error_maybe_applied(error: *const fw_error) -> bool {
    accessor!(view(error, false, |error| error.failure.maybe_applied))
}

/// The place of the operation of a transaction that failed, from 0; -1 when it was no transaction.
/// Any thread, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_error_index(error: *const fw_error) -> i64 {
    accessor!(view(error, -1, |error| error.failure.index.map_or(-1, |index| index as i64)))
}

/// Frees `error`. Null is allowed. Any thread, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_error_free(error: *mut fw_error) -> fw_status {
    accessor!(free(error))
}
