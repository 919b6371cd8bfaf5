//! Three voters as processes: killed, frozen, wiped, parted and restarted under load.
//!
//! ```text
//! writers, readers ─► server 1, 2, 3 ◄─ faults
//!      └─► ledger: what was acknowledged ─► judged while it grows, and against all trees at the end
//! ```

pub mod audit;
pub mod client;
mod clocks;
mod cut;
mod disks;
mod handover;
mod kills;
mod leases;
mod ledger;
mod lists;
mod load;
mod network;
mod partitions;
mod pauses;
mod reader;
pub mod servers;
mod slow_disks;
pub mod snapshots;
mod strangers;
mod writer;
