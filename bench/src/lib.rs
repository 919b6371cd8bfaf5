//! Measures and probes servers that speak the ZooKeeper protocol.
//!
//! ```text
//! Subject (a child process: Farwatch or Apache ZooKeeper) ◄── frames ─┬─ raw::Connection (probes)
//! ceiling (a canned server: what the sockets alone cost)  ◄───────────┴─ load (referee, figures)
//! ```
//!
//! Nothing here speaks to clients' ports with the codec of `farwatch-core`: a mistake in it cannot
//! hide on both sides of the socket. Only the learners that throw everything away (`observers`) are
//! made of the servers' own parts.
#![deny(missing_docs)]

#[cfg(feature = "page")]
pub mod bars;
pub mod cargo;
pub mod ceiling;
pub mod differential;
#[cfg(feature = "page")]
pub mod disk;
pub mod embedded;
pub mod load;
pub mod memory;
pub mod observers;
pub mod parts;
pub mod pins;
pub mod raw;
#[cfg(feature = "page")]
pub mod stages;
pub mod subject;
