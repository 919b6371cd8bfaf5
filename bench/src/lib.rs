//! Measures and probes servers that speak the ZooKeeper protocol.
//!
//! ```text
//! Subject (a child process: Farwatch or Apache ZooKeeper) ◄── frames ── raw::Connection
//! ```
//!
//! Nothing here uses the codec of `farwatch-core`: a mistake in it cannot hide on both sides of
//! the socket.
#![deny(missing_docs)]

pub mod differential;
pub mod raw;
pub mod subject;
