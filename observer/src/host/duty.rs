//! What a server owes to the others besides learning and serving: nothing, unless it votes.

use std::io;
use std::net::TcpListener;

use farwatch_core::log::epochs::{Epochs, EpochsError};
use farwatch_core::zxid::{ServerId, Zxid};
use tracing::warn;

use crate::config::{ServerConfig, Standing};
use crate::data_dir::DataDir;
use crate::recover::RecoverError;

/// How a server keeps its epochs, and what it tries when its log is damaged. Called on the server's
/// own threads.
pub trait Duty: Send + Sync {
    /// Reads the epochs.
    fn load_epochs(&self, dir: &DataDir, standing: Standing) -> Result<Epochs, EpochsError>;

    /// Makes the epochs durable before this returns. `rejoining`: this voter lost its disk and does
    /// not vote yet.
    fn save_epochs(&self, dir: &DataDir, epochs: Epochs, rejoining: bool);

    /// Heals what recovery met, if it can. `listeners` are where other servers connect, and are closed
    /// in the end.
    fn heal(
        &self,
        config: &ServerConfig,
        me: ServerId,
        dir: &DataDir,
        error: &RecoverError,
        listeners: Vec<TcpListener>,
    ) -> io::Result<Healed>;
}

/// What became of damage that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Healed {
    /// The records are back: the log is to be recovered again. Where they were.
    Closed {
        /// The file's first zxid.
        segment: Zxid,
        /// In the file.
        offset: u64,
    },
    /// It stays as it is, and why; that was said.
    Not,
}

/// The duty of an observer that lives in somebody else's process: it promises nothing, and never ends
/// that process.
#[derive(Clone, Copy, Debug)]
pub struct NoDuty;

impl Duty for NoDuty {
    fn load_epochs(&self, dir: &DataDir, _standing: Standing) -> Result<Epochs, EpochsError> {
        Epochs::load_member(dir, dir.identity().cluster, dir.rejoining())
    }

    fn save_epochs(&self, dir: &DataDir, epochs: Epochs, _rejoining: bool) {
        // Nobody counts on an observer's epochs: without them it asks its upstream again.
        if let Err(error) = epochs.store_member(dir, dir.identity().cluster) {
            warn!("the epochs cannot be saved: {error}");
        }
    }

    fn heal(
        &self,
        _config: &ServerConfig,
        _me: ServerId,
        _dir: &DataDir,
        _error: &RecoverError,
        _listeners: Vec<TcpListener>,
    ) -> io::Result<Healed> {
        Ok(Healed::Not)
    }
}
