//! `fw_result`: what a server answered.

use std::ffi::c_char;
use std::mem::{offset_of, size_of};

use farwatch_client::{Acl, MultiResult, Outcome, ReadResult, Stat};

use crate::bytes::Text;
use crate::error::{Failure, fw_error};
use crate::grant::{Grant, Parcel};
use crate::guard::{Opaque, Owned, borrow, free, optional_out, view};
use crate::status::fw_status;

/// The answer to an operation. Belongs to whoever received it; what is asked of it stays valid until
/// `fw_result_free`. All functions on it: any thread, never block, but as that one says. What the operation's
/// answer does not have is null, 0 or `FW_BAD_ARGUMENT`.
pub struct fw_result {
    _private: [u8; 0],
}

impl Opaque for fw_result {
    type Body = ResultBody;
    const TAG: u64 = u64::from_le_bytes(*b"fw_reslt");
}

/// An answer with everything that C may ask for laid out.
#[derive(Default)]
pub struct ResultBody {
    status: Option<fw_status>,
    path: Option<Text>,
    data: Option<Vec<u8>>,
    stat: Option<Stat>,
    version: Option<i32>,
    names: Vec<Text>,
    entries: Vec<Entry>,
    parts: Vec<Owned<fw_result>>,
    number: i64,
    parcel: Option<Parcel>,
}

struct Entry {
    perms: u32,
    scheme: Text,
    id: Text,
}

impl ResultBody {
    /// Who leads, an item of a queue.
    pub fn with_token(data: Vec<u8>, token: i64) -> Self {
        Self { data: Some(data), number: token, ..Self::default() }
    }

    /// What a configuration node held.
    pub fn with_version(data: Vec<u8>, version: i32, token: i64) -> Self {
        Self { version: Some(version), ..Self::with_token(data, token) }
    }

    /// One of a group.
    pub fn member(name: &str, data: Vec<u8>, token: i64) -> Self {
        Self { names: vec![Text::new(name)], ..Self::with_token(data, token) }
    }

    /// Several of them.
    pub fn parts(parts: impl Iterator<Item = Self>) -> Self {
        Self { parts: parts.map(Owned::new).collect(), ..Self::default() }
    }

    /// What a recipe has got, and its token.
    pub fn granting(grant: Grant, token: i64) -> Self {
        Self { parcel: Some(Parcel::of(grant)), number: token, ..Self::default() }
    }

    /// The same, with data.
    pub fn about(self, data: Vec<u8>) -> Self {
        Self { data: Some(data), ..self }
    }

    /// What is to be handed over, if anything.
    pub fn parcel(&self) -> Option<&Parcel> {
        self.parcel.as_ref()
    }

    /// Names alone.
    pub fn names(names: Vec<String>) -> Self {
        Self { names: texts(names), ..Self::default() }
    }
}

fn texts(names: Vec<String>) -> Vec<Text> {
    names.iter().map(|name| Text::new(name)).collect()
}

impl From<Outcome> for ResultBody {
    fn from(outcome: Outcome) -> Self {
        let none = Self::default();
        match outcome {
            Outcome::Created { path, stat } => {
                Self { path: Some(Text::new(&path)), stat: Some(stat), ..none }
            }
            Outcome::Done | Outcome::MultiRefused { .. } => none,
            Outcome::Stat(stat) => Self { stat: Some(stat), ..none },
            Outcome::Data { data, stat } => Self { data, stat: Some(stat), ..none },
            Outcome::Acl { acl, stat } => {
                let entry = |Acl { perms, scheme, id }: &Acl| Entry {
                    perms: perms.0 as u32,
                    scheme: Text::new(scheme),
                    id: Text::new(id),
                };
                Self { entries: acl.iter().map(entry).collect(), stat: Some(stat), ..none }
            }
            Outcome::Children { names, stat } => {
                Self { names: texts(names), stat: Some(stat), ..none }
            }
            Outcome::Multi(parts) => Self {
                parts: parts.into_iter().map(|part| Owned::new(part.into())).collect(),
                ..none
            },
            Outcome::MultiRead(parts) => Self {
                parts: parts.into_iter().map(|part| Owned::new(part.into())).collect(),
                ..none
            },
            Outcome::Ephemerals(paths) => Self { names: texts(paths), ..none },
            Outcome::Count(count) => Self { number: count.into(), ..none },
            Outcome::Identities(identities) => {
                let entry = |who: &farwatch_client::Identity| Entry {
                    perms: 0,
                    scheme: Text::new(&who.scheme),
                    id: Text::new(&who.id),
                };
                Self { entries: identities.iter().map(entry).collect(), ..none }
            }
        }
    }
}

impl From<MultiResult> for ResultBody {
    fn from(part: MultiResult) -> Self {
        let none = Self::default();
        match part {
            MultiResult::Created { path, stat } => {
                Self { path: Some(Text::new(&path)), stat, ..none }
            }
            MultiResult::Set { stat } => Self { stat: Some(stat), ..none },
            MultiResult::Deleted | MultiResult::Checked => none,
        }
    }
}

impl From<ReadResult> for ResultBody {
    fn from(part: ReadResult) -> Self {
        let none = Self::default();
        match part {
            ReadResult::Data { data, stat } => Self { data, stat: Some(stat), ..none },
            ReadResult::Children { names } => Self { names: texts(names), ..none },
            ReadResult::Refused(code) => {
                let refused = Failure::from(farwatch_client::ClientError::Server(code));
                Self { status: Some(refused.status), ..none }
            }
        }
    }
}

/// Metadata of a node. Set `size` to `sizeof(fw_stat)` before it is filled, or begin with
/// `FW_STAT_INIT`: so a library that knows more fields than the program, or fewer, is understood.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fw_stat {
    /// `sizeof(fw_stat)` as the program knows it, bytes.
    pub size: u32,
    /// Changes of the data.
    pub version: i32,
    /// Changes of the children.
    pub cversion: i32,
    /// Changes of the access control list.
    pub aversion: i32,
    /// Bytes of data; 0 also for null.
    pub data_length: i32,
    /// Children.
    pub num_children: i32,
    /// The transaction that created the node: fit to be a fencing token.
    pub czxid: i64,
    /// The last transaction that set the data.
    pub mzxid: i64,
    /// The last transaction that created or deleted a child.
    pub pzxid: i64,
    /// Creation, milliseconds since 1970, by the leader's clock.
    pub ctime: i64,
    /// Last change of the data, in the same way.
    pub mtime: i64,
    /// The session that an ephemeral node belongs to, else 0.
    pub ephemeral_owner: i64,
}

/// What the first version of the library filled.
const STAT_BYTES_MIN: usize = 72;
const _: () = assert!(offset_of!(fw_stat, ephemeral_owner) + size_of::<i64>() == STAT_BYTES_MIN);

impl fw_stat {
    fn new(size: u32, stat: &Stat) -> Self {
        Self {
            size,
            version: stat.version,
            cversion: stat.cversion,
            aversion: stat.aversion,
            data_length: stat.data_length,
            num_children: stat.num_children,
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            pzxid: stat.pzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            ephemeral_owner: stat.ephemeral_owner,
        }
    }
}

/// Where a stat goes, whose size was looked at.
pub struct StatPlace {
    place: *mut fw_stat,
    size: u32,
}

impl StatPlace {
    /// Writes as much of it as the program knows.
    pub fn fill(self, stat: &Stat) {
        let bytes = (self.size as usize).min(size_of::<fw_stat>());
        let filled = fw_stat::new(self.size, stat);
        let (from, to) = ((&raw const filled).cast::<u8>(), self.place.cast::<u8>());
        // SAFETY: both have that many bytes, said who made this one.
        unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) };
    }
}

/// A place of which the program knows `size` bytes, or none. Nothing is written, and nothing allocated.
///
/// # Safety
/// `place` is null, or begins with its size and has room for that many bytes for as long as the result is kept.
pub unsafe fn stat_place(place: *mut fw_stat) -> Result<Option<StatPlace>, Failure> {
    if place.is_null() {
        return Ok(None);
    }
    // SAFETY: it begins with its size.
    let size = unsafe { (&raw const (*place).size).read() };
    if (size as usize) < STAT_BYTES_MIN {
        let text = "stat.size is too small: set it to sizeof(fw_stat)";
        return Err(Failure::new(fw_status::FW_BAD_ARGUMENT, text));
    }
    Ok(Some(StatPlace { place, size }))
}

/// Fills `place`, of which the program knows `size` bytes.
///
/// # Safety
/// As for [`stat_place`], until this returns.
pub unsafe fn fill_stat(place: *mut fw_stat, stat: &Stat) -> Result<(), Failure> {
    // SAFETY: the caller's promise is the same.
    let place = unsafe { stat_place(place) }?;
    place.ok_or_else(|| Failure::new(fw_status::FW_NULL, "stat is null"))?.fill(stat);
    Ok(())
}

/// The status of one part of several reads; `FW_OK` for every other result.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_status(result: *const fw_result) -> fw_status {
    accessor!(view(result, fw_status::FW_BAD_HANDLE, |result| {
        result.status.unwrap_or(fw_status::FW_OK)
    }))
}

/// Whether the node exists: the answer to `fw_op_exists`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_exists(result: *const fw_result) -> bool {
    accessor!(view(result, false, |result| result.stat.is_some()))
}

/// Fills `stat`, whose `size` must be set. Fails with `FW_NULL`, `FW_BAD_HANDLE`, `FW_BAD_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_stat(
    result: *const fw_result,
    stat: *mut fw_stat,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let result = borrow(result)?;
        let found = result
            .stat
            .as_ref()
            .ok_or_else(|| Failure::new(fw_status::FW_BAD_ARGUMENT, "this result has no stat"))?;
        fill_stat(stat, found)
    })
}

/// The data, or null if it is null or the result has none; not ended by a zero. `len` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_data(result: *const fw_result, len: *mut usize) -> *const u8 {
    accessor!(view(result, std::ptr::null(), |result| {
        let data = result.data.as_deref();
        if let Some(len) = optional_out(len) {
            len.set(data.map_or(0, <[u8]>::len));
        }
        data.map_or(std::ptr::null(), <[u8]>::as_ptr)
    }))
}

/// The version of the data, to be given to what sets it next; -1 if the result has none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_version(result: *const fw_result) -> i32 {
    accessor!(view(result, -1, |result| {
        result.version.or_else(|| result.stat.map(|stat| stat.version)).unwrap_or(-1)
    }))
}

/// The path of a created node, the counter of a sequential one included; ends with a zero. Null if
/// the result has none. `len` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_path(
    result: *const fw_result,
    len: *mut usize,
) -> *const c_char {
    accessor!(view(result, std::ptr::null(), |result| lend(result.path.as_ref(), len)))
}

/// How many names, entries or parts there are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_count(result: *const fw_result) -> usize {
    accessor!(view(result, 0, |result| {
        result.names.len() + result.entries.len() + result.parts.len()
    }))
}

/// The name of child `index`, or the path of ephemeral node `index`; ends with a zero. Null if there
/// is none. `len` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_name(
    result: *const fw_result,
    index: usize,
    len: *mut usize,
) -> *const c_char {
    accessor!(view(result, std::ptr::null(), |result| lend(result.names.get(index), len)))
}

/// The permissions of entry `index`, 0 if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_perms(result: *const fw_result, index: usize) -> u32 {
    accessor!(view(result, 0, |result| result.entries.get(index).map_or(0, |entry| entry.perms)))
}

/// The scheme of entry `index`; ends with a zero. Null if there is none. `len` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_scheme(
    result: *const fw_result,
    index: usize,
    len: *mut usize,
) -> *const c_char {
    accessor!(view(result, std::ptr::null(), |result| {
        lend(result.entries.get(index).map(|entry| &entry.scheme), len)
    }))
}

/// The id of entry `index`; ends with a zero. Null if there is none. `len` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_id(
    result: *const fw_result,
    index: usize,
    len: *mut usize,
) -> *const c_char {
    accessor!(view(result, std::ptr::null(), |result| {
        lend(result.entries.get(index).map(|entry| &entry.id), len)
    }))
}

/// The answer to operation `index` of a transaction; valid as long as `result`. Null if there is
/// none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_part(
    result: *const fw_result,
    index: usize,
) -> *const fw_result {
    accessor!(view(result, std::ptr::null(), |result| {
        result.parts.get(index).map_or(std::ptr::null(), Owned::as_ptr)
    }))
}

/// The number that was counted, else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_number(result: *const fw_result) -> i64 {
    accessor!(view(result, 0, |result| result.number))
}

/// Frees `result`, and gives up in the background what it hands over and nobody took. Null is allowed. Any thread,
/// never blocks longer than the socket takes to take the bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_result_free(result: *mut fw_result) -> fw_status {
    accessor!(free(result))
}

/// A text's pointer, and its length to `len` unless that is null.
///
/// # Safety
/// Rule 2 of [`crate::guard`], for `len`.
pub unsafe fn lend(text: Option<&Text>, len: *mut usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    if let Some(len) = unsafe { optional_out(len) } {
        len.set(text.map_or(0, Text::len));
    }
    text.map_or(std::ptr::null(), Text::as_ptr)
}
