//! The shell that learns and serves: what a Farwatch server does with files, sockets and threads.
#![deny(missing_docs)]

pub mod data_dir;
pub mod log_file;
pub mod snapshot_file;
