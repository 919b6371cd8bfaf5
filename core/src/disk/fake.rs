//! A disk in memory that remembers every call, fails on demand, and can be crashed.
//!
//! A crash after the first `n` calls keeps what was made durable by then. Of the rest it keeps any
//! subset, in any order, with one of the kept writes torn: that is all a file system promises.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Disk, DiskCause, DiskError, directory_of};

/// Sectors are written whole by honest disks; bytes are what dishonest ones tear at.
const SECTOR_BYTES: u64 = 512;

/// One file, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FakeFile(usize);

/// A write that [`FakeDisk::begin_write`] has begun.
#[derive(Clone, Copy, Debug)]
pub struct PendingWrite(usize);

#[derive(Clone, Debug)]
enum Operation {
    Create {
        file: FakeFile,
        name: String,
    },
    Write {
        file: FakeFile,
        at: u64,
        bytes: Rc<[u8]>,
    },
    /// One write is durable: what a completed O_DIRECT and DSYNC write is.
    Finish {
        write: usize,
    },
    Sync {
        file: FakeFile,
    },
    Rename {
        file: FakeFile,
        from: String,
        to: String,
    },
    /// Of two files and their names before.
    Exchange([(FakeFile, String); 2]),
    Remove {
        file: FakeFile,
        name: String,
    },
    SyncDir {
        directory: String,
    },
}

#[derive(Clone, Debug, Default)]
struct Image {
    files: Vec<Rc<Vec<u8>>>,
    names: BTreeMap<String, FakeFile>,
}

/// A failure to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number of the call, counted from the creation of the disk, reads included.
    pub call: u64,
    /// How it fails.
    pub cause: DiskCause,
    /// Whether all later calls fail too.
    pub lasting: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct FakeDisk {
    /// What it held when it was made: all durable.
    base: Image,
    now: RefCell<Image>,
    operations: RefCell<Vec<Operation>>,
    calls: Cell<u64>,
    fault: Cell<Option<Fault>>,
    /// Bytes that all files together may take.
    capacity: Cell<Option<u64>>,
}

impl FakeDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    fn from_image(image: Image) -> Self {
        Self { base: image.clone(), now: RefCell::new(image), ..Self::default() }
    }

    /// The same files on another disk, all durable, nothing remembered.
    pub fn copy(&self) -> Self {
        Self::from_image(self.now.borrow().clone())
    }

    /// Calls so far, reads included.
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// Changes so far: the number of prefixes to crash at, less one.
    pub fn operations(&self) -> usize {
        self.operations.borrow().len()
    }

    /// The most bytes that were ever written to a file and not made durable by a sync of it.
    pub fn unsynced_bytes_max(&self) -> usize {
        let (mut open, mut most) = (BTreeMap::new(), 0);
        for operation in self.operations.borrow().iter() {
            match operation {
                Operation::Write { file, bytes, .. } => {
                    let bytes_of = open.entry(file.0).or_insert(0);
                    *bytes_of += bytes.len();
                    most = most.max(*bytes_of);
                }
                Operation::Sync { file } => drop(open.remove(&file.0)),
                Operation::Create { .. }
                | Operation::Finish { .. }
                | Operation::Rename { .. }
                | Operation::Exchange(_)
                | Operation::Remove { .. }
                | Operation::SyncDir { .. } => {}
            }
        }
        most
    }

    /// Sets or clears the failure to come.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.fault.set(fault);
    }

    /// Sets how much all files may take together; `None` is without end.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.capacity.set(bytes);
    }

    /// The bytes of a file.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let image = self.now.borrow();
        image.names.get(name).map(|file| image.files[file.0].to_vec())
    }

    /// Replaces the bytes of a file, durably, as damage does. Creates it if need be.
    pub fn overwrite(&mut self, name: &str, bytes: Vec<u8>) {
        let mut image = self.now.borrow_mut();
        let file = match image.names.get(name) {
            Some(&file) => file,
            None => {
                let file = FakeFile(image.files.len());
                image.files.push(Rc::default());
                image.names.insert(name.to_owned(), file);
                file
            }
        };
        image.files[file.0] = Rc::new(bytes);
        self.base = image.clone();
        self.operations.borrow_mut().clear();
    }

    /// Begins a write that is durable by itself once it is finished.
    pub fn begin_write(
        &self,
        file: &FakeFile,
        at: u64,
        bytes: &[u8],
    ) -> Result<PendingWrite, DiskError> {
        self.write_at(file, at, bytes)?;
        Ok(PendingWrite(self.operations.borrow().len() - 1))
    }

    /// The write is durable.
    pub fn finish_write(&self, write: PendingWrite) {
        self.operations.borrow_mut().push(Operation::Finish { write: write.0 });
    }

    fn call(&self, operation: &'static str, name: &str) -> Result<(), DiskError> {
        let call = self.calls.get();
        self.calls.set(call + 1);
        let due = self.fault.get().filter(|f| f.call == call || (f.lasting && f.call < call));
        match due {
            Some(fault) => Err(error(operation, name, fault.cause)),
            None => Ok(()),
        }
    }

    fn change(&self, operation: Operation) {
        apply(&mut self.now.borrow_mut(), &operation, None);
        self.operations.borrow_mut().push(operation);
    }

    fn find(&self, operation: &'static str, name: &str) -> Result<FakeFile, DiskError> {
        let found = self.now.borrow().names.get(name).copied();
        found.ok_or_else(|| error(operation, name, DiskCause::NotFound))
    }

    fn name_of(&self, file: FakeFile) -> String {
        let image = self.now.borrow();
        let named = image.names.iter().find(|(_, named)| **named == file);
        named.map_or_else(|| "(removed)".to_owned(), |(name, _)| name.clone())
    }

    /// Shows `check` the disk as it may be found after a crash behind the first `prefix` changes:
    /// nothing of what was not durable; all of it; and `random` more, each a random subset with one
    /// write torn at a sector, at a byte, or not at all.
    pub fn crash_states(
        &self,
        prefix: usize,
        random: usize,
        prng: &mut u64,
        mut check: impl FnMut(&FakeDisk),
    ) {
        let operations = self.operations.borrow();
        let operations = &operations[..prefix];
        let durable = durable_operations(operations);
        let mut image = self.base.clone();
        let mut pending = Vec::new();
        for (operation, durable) in operations.iter().zip(durable) {
            match operation {
                // A file that was made has a place whether or not its name survives.
                Operation::Create { .. } if !durable => {
                    image.files.push(Rc::default());
                    pending.push(operation);
                }
                _change if durable => apply(&mut image, operation, None),
                Operation::Finish { .. } | Operation::Sync { .. } | Operation::SyncDir { .. } => {}
                Operation::Create { .. }
                | Operation::Write { .. }
                | Operation::Rename { .. }
                | Operation::Exchange(_)
                | Operation::Remove { .. } => pending.push(operation),
            }
        }
        check(&Self::from_image(image.clone()));
        if pending.is_empty() {
            return;
        }
        let mut all = image.clone();
        pending.iter().for_each(|operation| apply_again(&mut all, operation, None));
        check(&Self::from_image(all));
        for _ in 0..random {
            let mut state = image.clone();
            let torn = next(prng) as usize % (2 * pending.len());
            for (index, operation) in pending.iter().enumerate() {
                let mut keep_bytes = None;
                if let Operation::Write { bytes, .. } = operation
                    && index == torn
                {
                    keep_bytes = Some(tear(bytes.len() as u64, prng));
                }
                if next(prng) & 1 == 0 || keep_bytes.is_some() {
                    apply_again(&mut state, operation, keep_bytes);
                }
            }
            check(&Self::from_image(state));
        }
    }
}

/// Which of the operations a crash behind the last of them cannot undo.
fn durable_operations(operations: &[Operation]) -> Vec<bool> {
    let mut durable = vec![false; operations.len()];
    for (index, operation) in operations.iter().enumerate() {
        match operation {
            Operation::Finish { write } => durable[*write] = true,
            Operation::Sync { file: synced } => {
                for (earlier, durable) in operations[..index].iter().zip(&mut durable) {
                    if matches!(earlier, Operation::Write { file, .. } if file == synced) {
                        *durable = true;
                    }
                }
            }
            Operation::SyncDir { directory } => {
                for (earlier, durable) in operations[..index].iter().zip(&mut durable) {
                    let name = match earlier {
                        Operation::Create { name, .. } | Operation::Remove { name, .. } => name,
                        Operation::Rename { to, .. } => to,
                        Operation::Exchange([(_, name), _]) => name,
                        Operation::Write { .. }
                        | Operation::Finish { .. }
                        | Operation::Sync { .. }
                        | Operation::SyncDir { .. } => continue,
                    };
                    *durable |= directory_of(name) == directory;
                }
            }
            Operation::Create { .. }
            | Operation::Write { .. }
            | Operation::Rename { .. }
            | Operation::Exchange(_)
            | Operation::Remove { .. } => {}
        }
    }
    durable
}

/// How much of a torn write is kept.
fn tear(length: u64, prng: &mut u64) -> u64 {
    let kept = next(prng) % (length + 1);
    if next(prng) & 1 == 0 { kept } else { kept / SECTOR_BYTES * SECTOR_BYTES }
}

fn apply(image: &mut Image, operation: &Operation, keep_bytes: Option<u64>) {
    if let Operation::Create { .. } = operation {
        image.files.push(Rc::default());
    }
    apply_again(image, operation, keep_bytes);
}

/// Applies an operation on files that already have their places.
fn apply_again(image: &mut Image, operation: &Operation, keep_bytes: Option<u64>) {
    match operation {
        Operation::Create { file, name } => {
            image.names.insert(name.clone(), *file);
        }
        Operation::Write { file, at, bytes } => {
            let content = Rc::make_mut(&mut image.files[file.0]);
            let kept = &bytes[..keep_bytes.unwrap_or(bytes.len() as u64) as usize];
            let end = *at as usize + kept.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*at as usize..end].copy_from_slice(kept);
        }
        Operation::Rename { file, from, to } => {
            if image.names.get(from) == Some(file) {
                image.names.remove(from);
            }
            image.names.insert(to.clone(), *file);
        }
        Operation::Exchange([(one, name), (other, its)]) => {
            image.names.insert(name.clone(), *other);
            image.names.insert(its.clone(), *one);
        }
        Operation::Remove { file, name } => {
            if image.names.get(name) == Some(file) {
                image.names.remove(name);
            }
        }
        Operation::Finish { .. } | Operation::Sync { .. } | Operation::SyncDir { .. } => {}
    }
}

/// The next random number (xorshift64; the state is never 0).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
}

fn error(operation: &'static str, name: &str, cause: DiskCause) -> DiskError {
    DiskError { operation, name: name.to_owned(), cause }
}

impl Disk for FakeDisk {
    type File = FakeFile;

    fn create(&self, name: &str) -> Result<FakeFile, DiskError> {
        self.call("create", name)?;
        let file = FakeFile(self.now.borrow().files.len());
        self.change(Operation::Create { file, name: name.to_owned() });
        Ok(file)
    }

    fn open(&self, name: &str) -> Result<FakeFile, DiskError> {
        self.call("open", name)?;
        self.find("open", name)
    }

    fn len(&self, file: &FakeFile) -> Result<u64, DiskError> {
        self.call("stat", &self.name_of(*file))?;
        Ok(self.now.borrow().files[file.0].len() as u64)
    }

    fn read_at(&self, file: &FakeFile, at: u64, bytes: &mut [u8]) -> Result<(), DiskError> {
        self.call("read", &self.name_of(*file))?;
        let image = self.now.borrow();
        let content = &image.files[file.0];
        let found = content.get(at as usize..at as usize + bytes.len());
        let found = found.ok_or_else(|| error("read", &self.name_of(*file), DiskCause::Os(5)))?;
        bytes.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, file: &FakeFile, at: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.call("write", &self.name_of(*file))?;
        if let Some(capacity) = self.capacity.get() {
            let image = self.now.borrow();
            let used: u64 = image.names.values().map(|f| image.files[f.0].len() as u64).sum();
            let length = image.files[file.0].len() as u64;
            let growth = (at + bytes.len() as u64).saturating_sub(length);
            if growth > 0 && used + growth > capacity {
                return Err(error("write", &self.name_of(*file), DiskCause::Full));
            }
        }
        self.change(Operation::Write { file: *file, at, bytes: bytes.into() });
        Ok(())
    }

    fn sync(&self, file: &FakeFile) -> Result<(), DiskError> {
        self.call("sync", &self.name_of(*file))?;
        self.change(Operation::Sync { file: *file });
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.call("rename", from)?;
        let file = self.find("rename", from)?;
        self.change(Operation::Rename { file, from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn exchange(&self, one: &str, other: &str) -> Result<bool, DiskError> {
        self.call("exchange", one)?;
        let find = |name: &str| Some((*self.now.borrow().names.get(name)?, name.to_owned()));
        let (Some(one), Some(other)) = (find(one), find(other)) else { return Ok(false) };
        self.change(Operation::Exchange([one, other]));
        Ok(true)
    }

    fn remove(&self, name: &str) -> Result<(), DiskError> {
        self.call("remove", name)?;
        let file = self.find("remove", name)?;
        self.change(Operation::Remove { file, name: name.to_owned() });
        Ok(())
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, DiskError> {
        self.call("list", directory)?;
        let image = self.now.borrow();
        let inside = image.names.keys().filter(|name| directory_of(name) == directory);
        Ok(inside.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()).collect())
    }

    fn sync_dir(&self, directory: &str) -> Result<(), DiskError> {
        self.call("sync directory", directory)?;
        self.change(Operation::SyncDir { directory: directory.to_owned() });
        Ok(())
    }

    fn available(&self, directory: &str) -> Result<u64, DiskError> {
        self.call("stat", directory)?;
        // Room is only an estimate: the disk must also be able to fill up while it is written.
        Ok(u64::MAX)
    }
}
