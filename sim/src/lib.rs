//! Whole clusters of Farwatch servers in one thread, decided by one seed.
//!
//! ```text
//! seed ─► plan ─► cluster: events in order of time ─► servers (core's Zab, a fake disk)
//!                    │ faults, clients                    │ network
//!                    ▼                                    ▼
//!                 trace (hash, transcript)            witness ─► invariants, histories
//! ```
//!
//! First safety under faults, then the faults stop for a quorum and the cluster must make progress
//! and agree within a bound. The same seed gives the same trace, to the last byte.

pub mod client;
pub mod cluster;
pub mod disk;
pub mod history;
pub mod hunt;
pub mod invariants;
pub mod model;
pub mod network;
pub mod plan;
pub mod reactor;
pub mod request;
pub mod scenario;
pub mod server;
pub mod service;
pub mod trace;
pub mod witness;
