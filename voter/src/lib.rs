//! The shell that also decides: an observer that votes, leads, and acknowledges only what is durable.
//!
//! A voter is a server of `farwatch_observer::host` with a [`Vote`]: promises that it must never forget,
//! and a log that others count on, which is healed with their help before it takes part in anything.
#![deny(missing_docs)]

pub mod epoch_file;

mod heal;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use farwatch_core::log::epochs::{Epochs, EpochsError};
use farwatch_core::zxid::ServerId;
use farwatch_observer::config::{ServerConfig, Standing};
use farwatch_observer::data_dir::DataDir;
use farwatch_observer::host::{Duty, Healed, Server, StartError};
use farwatch_observer::recover::RecoverError;

/// Recovers a server of any role and binds its sockets. Blocks until the data is loaded.
pub fn open(config: ServerConfig) -> Result<Server, StartError> {
    Server::open(config, Arc::new(Vote))
}

/// What a voter owes to the others.
#[derive(Clone, Copy, Debug)]
pub struct Vote;

impl Duty for Vote {
    fn load_epochs(&self, dir: &DataDir, standing: Standing) -> Result<Epochs, EpochsError> {
        match standing {
            Standing::Alone => epoch_file::load(dir),
            Standing::Member => epoch_file::load_member(dir),
        }
    }

    fn save_epochs(&self, dir: &DataDir, epochs: Epochs, rejoining: bool) {
        epoch_file::store(dir, epochs);
        if !rejoining && dir.rejoining() {
            // It votes again, and that is on disk: the mark has done its part.
            epoch_file::voted_again(dir);
        }
    }

    fn heal(
        &self,
        config: &ServerConfig,
        me: ServerId,
        dir: &DataDir,
        error: &RecoverError,
        listeners: Vec<TcpListener>,
    ) -> io::Result<Healed> {
        heal::heal(config, me, dir, error, listeners)
    }
}
