//! Saving epochs on a thread of its own: reads share the core's thread, and never wait for a disk.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

use farwatch_core::log::epochs::Epochs;

use crate::ensemble::SaveEpochs;

/// The thread `farwatch-epochs`, which ends with this.
pub(super) struct EpochThread {
    asked: Sender<(Epochs, bool)>,
    saved: Receiver<Epochs>,
    under_way: usize,
}

impl EpochThread {
    /// Starts it. `bell` is rung when something is saved.
    pub fn start(save: SaveEpochs, mut bell: File) -> io::Result<Self> {
        let (asked, orders) = channel::<(Epochs, bool)>();
        let (done, saved) = channel();
        let builder = std::thread::Builder::new().name("farwatch-epochs".to_owned());
        builder.spawn(move || {
            for (epochs, rejoining) in orders {
                save(epochs, rejoining);
                if done.send(epochs).is_err() || bell.write_all(&1_u64.to_ne_bytes()).is_err() {
                    return; // the server is gone
                }
            }
        })?;
        Ok(Self { asked, saved, under_way: 0 })
    }

    pub fn save(&mut self, epochs: Epochs, rejoining: bool) {
        self.under_way += 1;
        self.asked.send((epochs, rejoining)).expect("the thread lives as long as this");
    }

    pub fn saved(&mut self) -> Option<Epochs> {
        let saved = self.saved.try_recv().ok()?;
        self.under_way -= 1;
        Some(saved)
    }

    /// Waits for what is under way. For a server that has not begun to serve, or ends.
    pub fn wait(&mut self) -> Option<Epochs> {
        if self.under_way == 0 {
            return None;
        }
        let saved = self.saved.recv().expect("the thread ends the process where it fails");
        self.under_way -= 1;
        Some(saved)
    }
}
