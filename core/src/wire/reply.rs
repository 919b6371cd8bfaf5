//! What a server says behind the handshake.

use super::ErrorCode;
use super::jute::{DecodeError, Reader, Writer};

/// What every reply and notification begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyHeader {
    /// The request's xid, or a special one.
    pub xid: i32,
    /// What the server has applied, or a special value.
    pub zxid: i64,
    /// An [`ErrorCode`]'s number.
    pub err: i32,
}

impl ReplyHeader {
    /// Bytes on the wire.
    pub const BYTES: usize = 16;

    /// Reads the header.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { xid: r.int()?, zxid: r.long()?, err: r.int()? })
    }

    /// Appends the header.
    pub fn encode(&self, w: &mut Writer<'_>) {
        w.int(self.xid);
        w.long(self.zxid);
        w.int(self.err);
    }

    /// Appends a whole frame of nothing but a header.
    pub fn encode_frame(xid: i32, zxid: i64, err: ErrorCode, out: &mut Vec<u8>) {
        out.extend_from_slice(&(Self::BYTES as u32).to_be_bytes());
        Self { xid, zxid, err: err.code() }.encode(&mut Writer::new(out));
    }
}

/// What happened at a watched node. Source: `Watcher.Event.EventType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum EventType {
    /// The node came to be.
    NodeCreated = 1,
    /// The node is gone.
    NodeDeleted = 2,
    /// The data was set.
    NodeDataChanged = 3,
    /// A child came or went.
    NodeChildrenChanged = 4,
}

impl EventType {
    /// The type with this number, if a server may send it.
    pub const fn from_code(code: i32) -> Option<Self> {
        match code {
            1 => Some(Self::NodeCreated),
            2 => Some(Self::NodeDeleted),
            3 => Some(Self::NodeDataChanged),
            4 => Some(Self::NodeChildrenChanged),
            _other => None,
        }
    }
}

/// `KeeperState.SyncConnected`, the only state a server sends.
pub const STATE_SYNC_CONNECTED: i32 = 3;

/// The body of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatcherEvent<'a> {
    /// What happened.
    pub kind: EventType,
    /// Where, as the server's full path.
    pub path: &'a [u8],
}

impl<'a> WatcherEvent<'a> {
    /// Appends the whole notification frame; `zxid` is the cause's, or -1 for a catch-up.
    pub fn encode_frame(&self, zxid: i64, out: &mut Vec<u8>) {
        let start = super::jute::begin_frame(out);
        let mut w = Writer::new(out);
        ReplyHeader { xid: super::request::XID_NOTIFICATION, zxid, err: 0 }.encode(&mut w);
        w.int(self.kind as i32);
        w.int(STATE_SYNC_CONNECTED);
        w.string(self.path);
        super::jute::end_frame(out, start);
    }

    /// Reads the body behind the reply header.
    pub fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let kind = r.int()?;
        let kind = EventType::from_code(kind).ok_or(DecodeError::UnknownValue(kind))?;
        let _state = r.int()?;
        Ok(Self { kind, path: r.string()? })
    }
}
