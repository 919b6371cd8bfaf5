//! What a voter must never forget: the epoch it promised to, and the epoch of its history.

use farwatch_core::log::epochs::{Epochs, EpochsError};
use farwatch_observer::data_dir::DataDir;

/// Reads the epochs of a server that is its whole ensemble; a fresh directory has none, and both are zero.
/// Refuses a directory whose log was lost. To be called before the log is recovered.
pub fn load(dir: &DataDir) -> Result<Epochs, EpochsError> {
    Epochs::load_alone(dir, dir.identity().cluster)
}

/// As [`load`], for one voter of several: refuses a directory whose epochs or whose log were lost,
/// unless the server rejoins. To be called before the log is recovered.
pub fn load_member(dir: &DataDir) -> Result<Epochs, EpochsError> {
    Epochs::load_member(dir, dir.identity().cluster, dir.rejoining())
}

/// Makes the epochs durable before anything is done in them. A failure ends the process: what is on
/// disk is not known then, and a voter that goes on might break a promise.
pub fn store(dir: &DataDir, epochs: Epochs) {
    if let Err(error) = epochs.store_member(dir, dir.identity().cluster) {
        eprintln!("farwatch: the epochs cannot be saved, so this server stops: {error}");
        std::process::abort();
    }
}

/// The voter has the history of the others again, and epochs that it promised since: it is one like
/// any other from now on. Ends the process when that cannot be noted.
pub fn voted_again(dir: &DataDir) {
    if let Err(error) = dir.set_rejoining(false) {
        eprintln!(
            "farwatch: it cannot be noted that this server votes again, so it stops: {error}"
        );
        std::process::abort();
    }
}
