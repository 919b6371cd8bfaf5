//! The files of a data directory, to be looked at and never changed: no lock is taken, nothing is
//! made, and a running server does not notice.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use farwatch_core::disk::{Disk, DiskCause, DiskError};

/// A data directory, seen read-only.
#[derive(Clone, Debug)]
pub struct DataFiles {
    root: PathBuf,
}

impl DataFiles {
    /// The data directory `dir`, or the one that `dir` is the part `part` of: both
    /// `farwatch-data` and `farwatch-data/log` mean the same log.
    pub fn new(dir: &Path, part: &str) -> Self {
        let is_part = !dir.join(part).is_dir() && dir.file_name().is_some_and(|name| name == part);
        let parent = dir.parent().filter(|_| is_part);
        Self { root: parent.unwrap_or(dir).to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

/// An error of the system as one of the core's.
fn failed(operation: &'static str, name: &str, error: &io::Error) -> DiskError {
    let cause = match error.kind() {
        io::ErrorKind::NotFound => DiskCause::NotFound,
        _ => DiskCause::Os(error.raw_os_error().unwrap_or(libc::EIO)),
    };
    DiskError { operation, name: name.to_owned(), cause }
}

/// The answer to whatever would change a file.
fn refused(operation: &'static str, name: &str) -> DiskError {
    DiskError { operation, name: name.to_owned(), cause: DiskCause::Os(libc::EROFS) }
}

impl Disk for DataFiles {
    type File = (File, String);

    fn create(&self, name: &str) -> Result<Self::File, DiskError> {
        Err(refused("create", name))
    }

    fn open(&self, name: &str) -> Result<Self::File, DiskError> {
        let path = self.path(name);
        let shown = path.display().to_string();
        let file = File::open(path).map_err(|error| failed("open", &shown, &error))?;
        Ok((file, shown))
    }

    fn len(&self, (file, name): &Self::File) -> Result<u64, DiskError> {
        file.metadata().map(|facts| facts.len()).map_err(|error| failed("look at", name, &error))
    }

    fn read_at(
        &self,
        (file, name): &Self::File,
        at: u64,
        bytes: &mut [u8],
    ) -> Result<(), DiskError> {
        file.read_exact_at(bytes, at).map_err(|error| failed("read", name, &error))
    }

    fn write_at(&self, (_, name): &Self::File, _: u64, _: &[u8]) -> Result<(), DiskError> {
        Err(refused("write", name))
    }

    fn sync(&self, (_, name): &Self::File) -> Result<(), DiskError> {
        Err(refused("sync", name))
    }

    fn rename(&self, from: &str, _to: &str) -> Result<(), DiskError> {
        Err(refused("rename", from))
    }

    fn exchange(&self, one: &str, _other: &str) -> Result<bool, DiskError> {
        Err(refused("rename", one))
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        Err(refused("remove", name))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, DiskError> {
        let path = self.path(directory);
        let fail = |error: io::Error| failed("list", &path.display().to_string(), &error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(fail)? {
            names.extend(entry.map_err(fail)?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, directory: &str) -> Result<(), DiskError> {
        Err(refused("sync", directory))
    }

    fn available(&self, directory: &str) -> Result<u64, DiskError> {
        Err(refused("measure", directory))
    }
}
