//! The client against a real server.
//!
//! `FARWATCH_TEST_SERVER=host:port` names one that runs; without it each run starts Apache
//! ZooKeeper from Debian's package (`libzookeeper-java`) on a free port.

mod examples;
mod operations;
mod server;
mod sessions;
