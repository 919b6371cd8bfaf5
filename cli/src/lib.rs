//! The parts of the `farwatch` binary, so that tests and fuzz targets reach them.
#![deny(missing_docs)]
#![deny(unsafe_code)] // but for signals.rs

pub mod bench;
pub mod config_file;
pub mod data_files;
pub mod demo;
pub mod dump;
pub mod huge_pages;
pub mod last_words;
pub mod leader_command;
pub mod log_command;
pub mod port_holder;
pub mod serve;
pub mod shell;
pub mod signals;
pub mod snapshot_command;
pub mod status;
