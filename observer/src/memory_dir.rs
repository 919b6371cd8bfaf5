//! The data directory of an observer that keeps nothing: in memory, and gone with its process.
//!
//! It is a directory of the system's shared memory, so that log, snapshots, catch-up and the state that
//! replaces another one work as they do on a disk. It carries the number of its process, which a server
//! that begins anew in place keeps, and of the namespace that counts it: containers that share their memory
//! and count their processes apart have several processes 1. One that was killed leaves it behind; the next
//! such server that can see that its process is gone, and that its lock is free, takes it away. So what a killed
//! container leaves in memory that it shared with others, only a server of the same namespace takes away.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::server::random;

/// Linux mounts memory there.
const SHARED_MEMORY: &str = "/dev/shm";

/// What such a directory's name begins with; the number of its process follows, and a further one
/// where a process has several.
const PREFIX: &str = "farwatch-observer-";

/// How long the threads of a server that ended may take to let go of its directory: they finish the read or
/// the fill that they are in.
pub const RELEASE_PATIENCE: Duration = Duration::from_secs(10);

/// Between two tries to give a directory back.
const RELEASE_PAUSE: Duration = Duration::from_millis(2);

/// The directory of this process, the same every time. Others of this user whose processes are gone
/// go.
pub fn claim() -> io::Result<PathBuf> {
    claim_in(Path::new(SHARED_MEMORY), &process(namespace(), std::process::id()))
}

/// A further directory of this process, another one every time; otherwise as [`claim`].
pub fn claim_another() -> io::Result<PathBuf> {
    claim_another_in(Path::new(SHARED_MEMORY))
}

/// What counts this process; 0 where the system does not say.
fn namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino())
}

/// A process by its number, in a name.
fn process(namespace: u64, process: u32) -> String {
    format!("{namespace:x}.{process}")
}

fn claim_another_in(root: &Path) -> io::Result<PathBuf> {
    loop {
        let drawn = u64::from_ne_bytes(random());
        let own =
            root.join(format!("{PREFIX}{}-{drawn:016x}", process(namespace(), std::process::id())));
        // Nobody else's, whatever it holds: a name that is taken is not used.
        match DirBuilder::new().mode(0o700).create(&own) {
            Ok(()) => {
                return match clean(root, &own) {
                    Ok(()) => Ok(own),
                    Err(error) => {
                        fs::remove_dir(&own)?; // it is empty, and nobody will use it
                        Err(error)
                    }
                };
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
    let Some((namespace, process)) = process.split_once('.') else { return false };
    // Whether a process of another namespace lives cannot be seen from here.
    namespace == format!("{:x}", self::namespace())
        && !process.is_empty()
        && !Path::new("/proc").join(process).exists()
        && is_free(directory)
}

/// Whether nobody holds the lock of a data directory that has one.
pub fn is_free(directory: &Path) -> bool {
    File::open(directory.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok())
}

/// Gives the memory back, at the end of the server. Threads of it that are on their way out may still write
/// there, and hold the descriptors that looking takes: waits for that as long as `patience`.
pub fn give_back(directory: &Path, patience: Duration) {
    let began = Instant::now();
    while let Err(error) = remove(directory) {
        if patience <= began.elapsed() {
            let directory = directory.display();
            tracing::warn!("{directory} is left behind in memory ({error}): remove it");
            return;
        }
        std::thread::sleep(RELEASE_PAUSE);
    }
}

/// Removes a directory and what is in it, with one descriptor at a time, where the standard library takes one
/// for each level: a process that has none to spare is where an observer is given up.
fn remove(directory: &Path) -> io::Result<()> {
    for (path, is_directory) in list(directory)? {
        match if is_directory { remove(&path) } else { fs::remove_file(&path) } {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// What is in a directory, and whether that is a directory; nothing if it is gone. Plain paths: the entries of
/// the standard library hold the descriptor that they were read with.
fn list(directory: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            let plain = |entry: fs::DirEntry| Ok((entry.path(), entry.file_type()?.is_dir()));
            entries.map(|entry| entry.and_then(plain)).collect()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(root: &Path, namespace: u64, number: u32) -> PathBuf {
        let path = root.join(format!("{PREFIX}{}", process(namespace, number)));
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn what_a_process_left_behind_goes_and_what_one_uses_stays() {
        let root = tempfile::tempdir().unwrap();
        // Numbers that no process has.
        let [used, left, fresh] = [4_194_305, 4_194_306, 4_194_307]
            .map(|process| directory(root.path(), namespace(), process));
        // As another container's, which shares the memory and is between two runs of its server.
        let elsewhere = directory(root.path(), namespace() + 1, 4_194_308);
        fs::write(elsewhere.join("lock"), "2\n").unwrap();
        fs::write(left.join("lock"), "2\n").unwrap();
        let lock = File::create(used.join("lock")).unwrap();
        lock.try_lock().unwrap();
        let foreign = root.path().join("something-else");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("lock"), "2\n").unwrap();
        let own = claim_in(root.path(), "4").unwrap();
        assert!(own.is_dir() && used.is_dir() && fresh.is_dir() && foreign.is_dir());
        assert!(elsewhere.is_dir(), "nobody here knows whether its process lives");
        assert!(!left.exists(), "the memory of a server that was killed is kept for ever");
        fs::write(own.join("log"), "records").unwrap();
        // It begins anew in place, from what it has.
        assert_eq!(claim_in(root.path(), "4").unwrap(), own);
        assert!(own.join("log").exists());
        give_back(&own, Duration::ZERO);
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
