//! Pages of 2 MiB, once there is something to put into them.
//!
//! The allocator asks for them wherever the system has them. A large tree is found faster in them; a server with a
//! small one would take twice the memory for nothing. So this process does without until its tree is large.

use std::fs;
use std::path::Path;

use farwatch_core::snapshot::files::SNAPSHOT_DIRECTORY;
use farwatch_core::tree::Events;
use farwatch_core::zxid::Zxid;
use farwatch_observer::drive::{Embedder, Stands};
use rustix::thread::disable_transparent_huge_pages;

/// A tree of so many bytes is large.
const TREE_BYTES: usize = 8 << 20;

/// So are snapshots of so many bytes on the disk: what is read from them is there before anybody can look.
const SNAPSHOT_BYTES: u64 = 8 << 20;

/// For the beginning of the program, before it allocates. Allocates nothing itself.
pub extern "C" fn do_without() {
    use_them(false);
}

/// Looks at a server's tree until it is large. Its pages are those of the whole process.
#[derive(Debug)]
pub struct HugePages {
    are_used: bool,
}

impl HugePages {
    /// For a server that is about to read what is in `data_dir`.
    pub fn for_server_in(data_dir: &Path) -> Self {
        Self { are_used: use_them(SNAPSHOT_BYTES <= bytes_in(&data_dir.join(SNAPSHOT_DIRECTORY))) }
    }
}

impl Embedder for HugePages {
    fn applied(&mut self, _upto: Zxid, _events: &Events) {}

    fn stands(&mut self, stands: Stands) {
        if !self.are_used && TREE_BYTES <= stands.tree_bytes {
            self.are_used = use_them(true);
        }
    }
}

/// Whether they are used then, or might be: a system without the switch decides by itself.
fn use_them(they_are: bool) -> bool {
    disable_transparent_huge_pages(!they_are).is_err() || they_are
}

fn bytes_in(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 }; // a new server has none
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}
