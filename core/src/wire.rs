//! The ZooKeeper client protocol as bytes, both directions, without a socket.
//!
//! ```text
//! client ──► frame(ConnectRequest)  frame(RequestHeader ‖ Request) …
//! server ──► frame(ConnectResponse) frame(ReplyHeader ‖ body) …   frame(ReplyHeader{xid -1} ‖ WatcherEvent)
//! frame = int32 length (big-endian, itself excluded) ‖ bytes
//! ```
//!
//! Requests borrow from the frame they were read from. A string stays bytes until something needs
//! it to be a path: what is malformed there is answered per operation, not here.
//! Source: ZooKeeper 3.9, `zookeeper.jute`; checked against running servers.

pub mod encode;
pub mod error_code;
pub mod handshake;
pub mod jute;
pub mod reply;
pub mod request;
pub mod stat;

pub use error_code::ErrorCode;
pub use handshake::{ConnectRequest, ConnectResponse};
pub use reply::{EventType, ReplyHeader, WatcherEvent};
pub use request::{OpCode, Request};
pub use stat::Stat;
