//! Observers as processes: beside three voters, behind each other, and at the far end of long ways
//! that are cut.
//!
//! ```text
//! server 1, 2, 3 ◄─ wire: rtt, cuts, bytes ─ observers ◄─ observers behind them
//!      ▲ writers                                 ▲ readers, watches
//! ```

mod crowd;
mod cuts;
mod driven;
mod embedded;
mod interrupted;
mod joining;
mod leaders;
mod links;
mod moments;
mod reach;
mod readers;
mod relays;
mod sinks;
mod sites;
mod tap;
mod transfers;
mod watches;
