//! The data directory of an observer that keeps nothing: in memory, and gone with its process.
//!
//! It is a directory of the system's shared memory, so that log, snapshots, catch-up and the state that
//! replaces another one work as they do on a disk. It carries the number of its process, which a server
//! that begins anew in place keeps. One that was killed leaves it behind; the next such server
//! finds its lock free and takes it away.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::server::random;

/// Linux mounts memory there.
const SHARED_MEMORY: &str = "/dev/shm";

/// What such a directory's name begins with; the number of its process follows, and a further one
/// where a process has several.
const PREFIX: &str = "farwatch-observer-";

/// The directory of this process, the same every time. Others of this user whose processes are gone
/// go.
pub fn claim() -> io::Result<PathBuf> {
    claim_in(Path::new(SHARED_MEMORY), &std::process::id().to_string())
}

/// A further directory of this process, another one every time; otherwise as [`claim`].
pub fn claim_another() -> io::Result<PathBuf> {
    claim_another_in(Path::new(SHARED_MEMORY))
}

fn claim_another_in(root: &Path) -> io::Result<PathBuf> {
    loop {
        let drawn = u64::from_ne_bytes(random());
        let own = root.join(format!("{PREFIX}{}-{drawn:016x}", std::process::id()));
        // Nobody else's, whatever it holds: a name that is taken is not used.
        match DirBuilder::new().mode(0o700).create(&own) {
            Ok(()) => {
                clean(root, &own)?;
                return Ok(own);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

fn claim_in(root: &Path, name: &str) -> io::Result<PathBuf> {
    let own = root.join(format!("{PREFIX}{name}"));
    DirBuilder::new().recursive(true).mode(0o700).create(&own)?;
    clean(root, &own)?;
    Ok(own)
}

/// Takes away what processes of this user left behind that are gone.
fn clean(root: &Path, own: &Path) -> io::Result<()> {
    let user = fs::metadata(own)?.uid();
    for entry in fs::read_dir(root)?.flatten() {
        let path = entry.path();
        let named = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let ours = entry.metadata().is_ok_and(|it| it.is_dir() && it.uid() == user);
        if named && ours && path.as_path() != own && is_left_behind(&path) {
            // Somebody else may be taking it away as well.
            let _gone_either_way = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

/// Whether nobody holds the lock of a data directory, and its process is gone: a server that begins anew in
/// place lets go of the lock for an instant. One without a lock is being made.
fn is_left_behind(directory: &Path) -> bool {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let process = name.trim_start_matches(PREFIX).split('-').next().unwrap_or_default();
    let lives = !process.is_empty() && Path::new("/proc").join(process).exists();
    !lives && is_free(directory)
}

/// Whether nobody holds the lock of a data directory that has one.
pub fn is_free(directory: &Path) -> bool {
    File::open(directory.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok())
}

/// Gives the memory back, at the end of the server.
pub fn give_back(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory) {
        let directory = directory.display();
        tracing::warn!("{directory} is left behind in memory ({error}): remove it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_left_behind_goes_and_what_one_uses_stays() {
        let root = tempfile::tempdir().unwrap();
        // Numbers that no process has.
        let [used, left, fresh] = [4_194_305, 4_194_306, 4_194_307].map(|process| {
            let path = root.path().join(format!("{PREFIX}{process}"));
            fs::create_dir(&path).unwrap();
            path
        });
        fs::write(left.join("lock"), "2\n").unwrap();
        let lock = File::create(used.join("lock")).unwrap();
        lock.try_lock().unwrap();
        let foreign = root.path().join("something-else");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("lock"), "2\n").unwrap();
        let own = claim_in(root.path(), "4").unwrap();
        assert!(own.is_dir() && used.is_dir() && fresh.is_dir() && foreign.is_dir());
        assert!(!left.exists(), "the memory of a server that was killed is kept for ever");
        fs::write(own.join("log"), "records").unwrap();
        // It begins anew in place, from what it has.
        assert_eq!(claim_in(root.path(), "4").unwrap(), own);
        assert!(own.join("log").exists());
        give_back(&own);
        assert!(!own.exists());
    }

    #[test]
    fn further_ones_are_others_every_time_and_a_live_process_keeps_its_own_without_a_lock() {
        let root = tempfile::tempdir().unwrap();
        let first = claim_another_in(root.path()).unwrap();
        // As a server that lets go of it for an instant.
        fs::write(first.join("lock"), "1\n").unwrap();
        let second = claim_another_in(root.path()).unwrap();
        assert!(first != second && first.is_dir() && second.is_dir());
        assert!(is_free(&first) && !is_free(&second));
    }
}
