//! The shell that learns and serves: what a Farwatch server does with files, sockets and threads.
#![deny(missing_docs)]

pub mod admin;
pub mod config;
pub mod config_node;
pub mod connection;
pub mod data_dir;
mod descriptors;
pub mod drive;
pub mod embedded;
pub mod ensemble;
pub mod four_letter;
pub mod host;
pub mod inbox;
pub mod listen;
pub mod log_file;
pub mod memory_dir;
pub mod peers;
pub mod port;
pub mod reactor;
pub mod reactor_thread;
pub mod recover;
pub mod report;
pub mod runtime;
pub mod server;
pub mod snapshot_file;
pub mod snapshot_transfer;
pub mod storage;
mod voice;
pub mod words;
