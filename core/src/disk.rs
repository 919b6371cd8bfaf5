//! The narrow seam to a disk: what recovery, snapshots, purge, identity and epochs need of files.
//!
//! ```text
//! write_at ─► (volatile) ─► sync ─► (durable bytes)
//! create, rename, remove ─► (volatile) ─► sync_dir ─► (durable name)
//! ```
//!
//! Calls block. Batches of the log do not pass here: they are written by the shell's own drivers,
//! which is why [`crate::log::Log`] only says where they go. Names are relative to the data
//! directory, as `log/0000000100000001.log`.

use thiserror::Error;

pub mod fake;

/// Why the disk did not do what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskCause {
    /// No such file.
    NotFound,
    /// No space, or a quota is used up. The only cause that heals without a restart.
    Full,
    /// Any other error of the system, as its number.
    Os(i32),
}

/// One failed call.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{operation} {name}: {}", describe(*cause))]
pub struct DiskError {
    /// The call, as a verb.
    pub operation: &'static str,
    /// The file or directory.
    pub name: String,
    /// Why.
    pub cause: DiskCause,
}

fn describe(cause: DiskCause) -> String {
    match cause {
        DiskCause::NotFound => "no such file".to_owned(),
        DiskCause::Full => "no space left on the device".to_owned(),
        DiskCause::Os(code) => std::io::Error::from_raw_os_error(code).to_string(),
    }
}

/// Files below one data directory.
pub trait Disk {
    /// An open file.
    type File;

    /// Creates an empty file for reading and writing; what had that name is gone.
    fn create(&self, name: &str) -> Result<Self::File, DiskError>;

    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> Result<Self::File, DiskError>;

    /// The length of the file, bytes.
    fn len(&self, file: &Self::File) -> Result<u64, DiskError>;

    /// Fills `bytes` from offset `at`. The file must reach so far.
    fn read_at(&self, file: &Self::File, at: u64, bytes: &mut [u8]) -> Result<(), DiskError>;

    /// Writes all of `bytes` at offset `at`; durable after [`Disk::sync`].
    fn write_at(&self, file: &Self::File, at: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes every earlier write of the file durable.
    fn sync(&self, file: &Self::File) -> Result<(), DiskError>;

    /// Gives a file another name in the same directory, in place of what had it; durable after
    /// [`Disk::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Gives two files of one directory each other's name, at once; durable after [`Disk::sync_dir`]. Returns
    /// whether it did: not every file system can, and both must be there.
    fn exchange(&self, one: &str, other: &str) -> Result<bool, DiskError>;

    /// Removes a name; durable after [`Disk::sync_dir`].
    fn remove(&self, name: &str) -> Result<(), DiskError>;

    /// The names in a directory (`""` is the data directory itself), without its path, sorted.
    fn list(&self, directory: &str) -> Result<Vec<String>, DiskError>;

    /// Makes every earlier create, rename and remove in a directory durable.
    fn sync_dir(&self, directory: &str) -> Result<(), DiskError>;

    /// Bytes that may still be allocated in a directory.
    fn available(&self, directory: &str) -> Result<u64, DiskError>;
}

impl<D: Disk + ?Sized> Disk for &D {
    type File = D::File;

    fn create(&self, name: &str) -> Result<Self::File, DiskError> {
        (**self).create(name)
    }

    fn open(&self, name: &str) -> Result<Self::File, DiskError> {
        (**self).open(name)
    }

    fn len(&self, file: &Self::File) -> Result<u64, DiskError> {
        (**self).len(file)
    }

    fn read_at(&self, file: &Self::File, at: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        (**self).read_at(file, at, bytes)
    }

    fn write_at(&self, file: &Self::File, at: u64, bytes: &[u8]) -> Result<(), DiskError> {
        (**self).write_at(file, at, bytes)
    }

    fn sync(&self, file: &Self::File) -> Result<(), DiskError> {
        (**self).sync(file)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        (**self).rename(from, to)
    }

    fn exchange(&self, one: &str, other: &str) -> Result<bool, DiskError> {
        (**self).exchange(one, other)
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        (**self).remove(name)
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, DiskError> {
        (**self).list(directory)
    }

    fn sync_dir(&self, directory: &str) -> Result<(), DiskError> {
        (**self).sync_dir(directory)
    }

    fn available(&self, directory: &str) -> Result<u64, DiskError> {
        (**self).available(directory)
    }
}

/// Removes a name that may be gone; durable after [`Disk::sync_dir`].
pub(crate) fn remove_if_there<D: Disk>(disk: &D, name: &str) -> Result<(), DiskError> {
    match disk.remove(name) {
        Err(error) if error.cause != DiskCause::NotFound => Err(error),
        _gone => Ok(()),
    }
}

/// Replaces a small file as a whole: a reader finds the old bytes or the new, never a mixture.
pub fn replace<D: Disk>(disk: &D, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let temporary = format!("{name}.tmp");
    let file = disk.create(&temporary)?;
    let written = disk.write_at(&file, 0, bytes).and_then(|()| disk.sync(&file));
    if let Err(error) = written.and_then(|()| disk.rename(&temporary, name)) {
        let _gone_or_in_the_way = disk.remove(&temporary); // a full disk has no room to leave it on
        return Err(error);
    }
    disk.sync_dir(directory_of(name))
}

/// As [`replace`], also on a full disk: into a file of that length that was put by before, as `name.spare`,
/// which then changes names with the old one.
///
/// A file system that writes in another place what is written again needs room all the same.
pub fn replace_from_spare<D: Disk>(disk: &D, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
    let spare = spare_of(name);
    let file = disk.open(&spare).ok();
    let file = file.filter(|file| disk.len(file) == Ok(bytes.len() as u64));
    let file = file.map_or_else(|| disk.create(&spare), Ok)?;
    disk.write_at(&file, 0, bytes)?;
    disk.sync(&file)?;
    if disk.exchange(&spare, name)? {
        return disk.sync_dir(directory_of(name));
    }
    disk.rename(&spare, name)?;
    disk.sync_dir(directory_of(name))?;
    // The first one, or where names cannot be exchanged: into what the old bytes took, unless somebody is quicker.
    // Without it the next one needs room, and says so then.
    let _put_by = put_by(disk, name, bytes.len());
    Ok(())
}

/// What [`replace_from_spare`] writes into.
pub(crate) fn spare_of(name: &str) -> String {
    format!("{name}.spare")
}

/// Puts the file by that [`replace_from_spare`] writes so many bytes into, unless it is there. Nothing depends on
/// it but that a full disk has room for them.
pub(crate) fn put_by<D: Disk>(disk: &D, name: &str, length: usize) -> Result<(), DiskError> {
    let spare = spare_of(name);
    let there = disk.open(&spare).is_ok_and(|file| disk.len(&file) == Ok(length as u64));
    if there {
        return Ok(());
    }
    let file = disk.create(&spare)?;
    disk.write_at(&file, 0, &vec![0; length])
}

/// All bytes of a small file, or `None` when there is none of that name.
///
/// Bytes past `bytes_max` are not read: a longer file is not what it should be, and its checksum
/// will say so.
pub fn read_small<D: Disk>(
    disk: &D,
    name: &str,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, DiskError> {
    let file = match disk.open(name) {
        Ok(file) => file,
        Err(DiskError { cause: DiskCause::NotFound, .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = disk.len(&file)?.min(bytes_max as u64);
    let mut bytes = vec![0; length as usize];
    disk.read_at(&file, 0, &mut bytes)?;
    Ok(Some(bytes))
}

/// The directory part of a name; empty for a file of the data directory itself.
pub fn directory_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(directory, _)| directory)
}
