//! `fw_session`: a session outside of its client, on its way to another one.

use std::ffi::c_char;
use std::hint::black_box;

use farwatch_client::SessionToken;

use crate::bytes::{Text, wipe};
use crate::client::fw_client;
use crate::error::{Failure, fw_error};
use crate::guard::{Opaque, borrow, free, give, optional_out, out, view};
use crate::status::fw_status;

/// What takes a session up again, in another handle or another process. **It holds the session's
/// password**: who has it can act as the session, read and delete what only it may, and end it. All
/// functions on it: any thread, never block.
pub struct fw_session {
    _private: [u8; 0],
}

impl Opaque for fw_session {
    type Body = SessionBody;
    const TAG: u64 = u64::from_le_bytes(*b"fw_sessn");
}

/// A token, and its text for C.
pub struct SessionBody {
    token: SessionToken,
    text: Text,
}

impl SessionBody {
    fn new(token: SessionToken) -> Self {
        let secret = token.to_secret_text();
        let text = Text::new(&secret);
        wipe(secret);
        Self { token, text }
    }
}

impl Drop for SessionBody {
    /// What is freed may be handed to anybody in this process.
    fn drop(&mut self) {
        self.text.wipe();
        self.token.password.0.fill(0);
        black_box(self);
    }
}

/// The session that a text of `fw_session_text` names.
pub fn parse(text: &str) -> Result<SessionToken, Failure> {
    SessionToken::from_secret_text(text)
        .map_err(|error| Failure::new(fw_status::FW_BAD_ARGUMENT, error.to_string()))
}

/// Ends `client` and leaves its session, with its ephemeral nodes, alive at the servers, until its
/// timeout: whoever opens a client with the setting `session` within that time goes on with it. Requests
/// without an answer fail with `FW_CONNECTION_LOSS`, recipes that wait and later ones with `FW_CLOSED`; the
/// handle can then only be freed, which does not end the session. Watches do not go along: set them again. Release locks
/// and elections before, or their nodes stay until the session ends. Two clients must not have one
/// session: each would cut the other off.
///
/// Waits until what was given up is removed at the servers, where that is under way, and until the client's
/// thread has ended, behind a callback that is running, up to `timeout_ms` (negative: `requestTimeout`) in all, and
/// succeeds either way: what is not removed by then stays until the session ends. May block, so not in a callback.
/// Fails with `FW_NULL`, `FW_BAD_HANDLE`, `FW_IN_CALLBACK`, and with `FW_CLOSED` when there is no session (it has
/// expired, was closed, or was never established), which also ends the client.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_client_detach(
    client: *mut fw_client,
    timeout_ms: i64,
    session: *mut *mut fw_session,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let session = out(session)?;
        let client = borrow(client.cast_const())?;
        let timeout = client.timeout(timeout_ms);
        let token = client.detach(timeout)?.ok_or_else(|| {
            let text = "there is no session to detach: it is over, or was never established";
            Failure::fatal(fw_status::FW_CLOSED, text)
        })?;
        session.set(give(SessionBody::new(token)));
        Ok(())
    })
}

/// All of it as one line of ASCII, for the setting `session` of `fw_client_open`, here or in another
/// process. `size` may be null. **It is a secret**: pass it through a pipe or a file that only its user
/// can read, not in arguments or in the environment, which others can see.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_session_text(
    session: *const fw_session,
    size: *mut usize,
) -> *const c_char {
    accessor!(view(session, std::ptr::null(), |session| {
        if let Some(size) = optional_out(size) {
            size.set(session.text.len());
        }
        session.text.as_ptr()
    }))
}

/// The session's id: the `ephemeral_owner` of its nodes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_session_id(session: *const fw_session) -> i64 {
    accessor!(view(session, 0, |session| session.token.id.0 as i64))
}

/// The session's password, 16 bytes: what ZooKeeper's clients take together with the id. `size` may be
/// null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_session_password(
    session: *const fw_session,
    size: *mut usize,
) -> *const u8 {
    accessor!(view(session, std::ptr::null(), |session| {
        let password = &session.token.password.0;
        if let Some(size) = optional_out(size) {
            size.set(password.len());
        }
        password.as_ptr()
    }))
}

/// The last transaction that the session has seen: a server behind it is not accepted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_session_zxid(session: *const fw_session) -> i64 {
    accessor!(view(session, 0, |session| session.token.last_zxid))
}

/// How long the session lives without a client, milliseconds: the timeout that was granted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_session_timeout_ms(session: *const fw_session) -> u64 {
    accessor!(view(session, 0, |session| session.token.timeout_ms))
}

/// Frees `session`, and overwrites its password before. Null is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_session_free(session: *mut fw_session) -> fw_status {
    accessor!(free(session))
}
