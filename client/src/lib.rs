//! A client of Farwatch and ZooKeeper servers.
//!
//! ```text
//! caller threads ──► Client ──submit──► Machine ──bytes──► socket          (by the caller itself)
//!                    callbacks ◄─outputs─┘   ◄──bytes── socket           (by one reader thread)
//! ```
//!
//! [`machine`] is the session as pure code: bytes and time go in, bytes, events and results come
//! out. [`client`] is the thin shell around it, with a blocking and a completion form of every
//! operation. [`recipes`] are what applications build on it: locks, elections and more. Reading
//! order: [`machine`], [`operation`], [`client`], [`recipes`].
#![deny(missing_docs)]

pub mod backoff;
pub mod client;
pub mod connect_string;
pub mod error;
pub mod event;
pub mod machine;
pub mod operation;
pub mod outcome;
pub mod recipes;
#[cfg(test)]
mod stub;
mod watch_set;

pub use backoff::ServerChoice;
pub use client::{
    Children, Client, Created, DELIVERY_GRACE, Freshness, NodeAcl, NodeData, Options, Stop, Watch,
};
pub use connect_string::{ConnectString, ServerName};
pub use error::{ClientError, ConnectStringError, OpenError};
pub use event::{Event, NodeEvent, NodeEventKind, SessionState};
pub use farwatch_core::acl::{Identity, Perms};
pub use farwatch_core::wire::handshake::Password;
pub use farwatch_core::wire::{ErrorCode, Stat};
pub use farwatch_core::zxid::SessionId;
pub use machine::{SessionToken, TokenError};
pub use operation::{
    ANY_VERSION, Acl, AddWatchMode, CreateMode, MultiOp, MultiResult, Operation, ReadOp,
    ReadResult, WatchKind,
};
pub use outcome::Outcome;
pub use watch_set::SET_WATCHES_BYTES_MAX;
