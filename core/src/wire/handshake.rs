//! The first frame each way.

use super::jute::{DecodeError, Reader, Writer};
use crate::zxid::SessionId;

/// A session's secret: 16 random bytes, replicated with the session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password(pub [u8; 16]);

impl Password {
    /// What an expired session is answered with.
    pub const ZERO: Self = Self([0; 16]);

    /// Whether a client presented this password. Takes the same time wherever they differ.
    pub fn matches(&self, presented: Option<&[u8]>) -> bool {
        let Some(presented) = presented else {
            return false;
        };
        presented.len() == 16
            && presented.iter().zip(self.0).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}

/// A secret cannot be formatted.
impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The client's first frame; it has no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    /// 0 in all known clients; ignored.
    pub protocol_version: i32,
    /// The largest zxid the client got in a reply's header.
    pub last_zxid_seen: i64,
    /// Wanted session timeout, milliseconds.
    pub timeout_ms: i32,
    /// [`SessionId::NONE`] asks for a new session.
    pub session: SessionId,
    /// Null, empty and any length occur for new sessions.
    pub password: Option<&'a [u8]>,
    /// `None`: an old or small client that does not send the byte and does not expect it back.
    pub read_only: Option<bool>,
}

impl<'a> ConnectRequest<'a> {
    /// Reads a frame's body; bytes behind the last field are ignored.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(body);
        Ok(Self {
            protocol_version: r.int()?,
            last_zxid_seen: r.long()?,
            timeout_ms: r.int()?,
            session: SessionId(r.long()? as u64),
            password: r.buffer()?,
            read_only: if r.rest().is_empty() { None } else { Some(r.boolean()?) },
        })
    }

    /// Appends the body, without the frame's length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::new(out);
        w.int(self.protocol_version);
        w.long(self.last_zxid_seen);
        w.int(self.timeout_ms);
        w.long(self.session.0 as i64);
        w.buffer(self.password);
        if let Some(read_only) = self.read_only {
            w.boolean(read_only);
        }
    }
}

/// The server's first frame; it has no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectResponse {
    /// Negotiated session timeout, milliseconds; 0 says that the session is over.
    pub timeout_ms: i32,
    /// The session, or [`SessionId::NONE`] when it is over.
    pub session: SessionId,
    /// The session's password, or zeros when it is over.
    pub password: Password,
    /// Sent only to a client that sent its own such byte.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// The answer to a session that is over or never was.
    pub const fn expired(read_only: Option<bool>) -> Self {
        Self { timeout_ms: 0, session: SessionId::NONE, password: Password::ZERO, read_only }
    }

    /// Appends the body, without the frame's length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut w = Writer::new(out);
        w.int(0);
        w.int(self.timeout_ms);
        w.long(self.session.0 as i64);
        w.string(&self.password.0);
        if let Some(read_only) = self.read_only {
            w.boolean(read_only);
        }
    }

    /// Reads a frame's body.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(body);
        let _protocol_version = r.int()?;
        let timeout_ms = r.int()?;
        let session = SessionId(r.long()? as u64);
        let password = r.string()?;
        let password =
            password.try_into().map_err(|_| DecodeError::BadLength(password.len() as i32))?;
        let read_only = if r.rest().is_empty() { None } else { Some(r.boolean()?) };
        Ok(Self { timeout_ms, session, password: Password(password), read_only })
    }
}
