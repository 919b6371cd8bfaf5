//! The client against a real server.
//!
//! Each run starts one of this workspace on a free port, unless `FARWATCH_TEST_SERVER=host:port` names
//! one that runs, or `FARWATCH_CONFORMANCE_SUBJECT=zookeeper` asks for Apache ZooKeeper.

mod examples;
mod nearest;
mod operations;
mod recipes;
mod server;
mod sessions;
mod watches;
mod way;
