//! The shell of a server that learns and serves.
#![deny(missing_docs)]

pub mod config;
pub mod four_letter;
