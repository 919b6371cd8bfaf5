//! `fw_acl`: an access control list.

use std::ffi::c_char;
use std::sync::{Mutex, PoisonError};

use farwatch_client::{Acl, Perms};

use crate::bytes::text;
use crate::error::{Failure, fw_error};
use crate::guard::{Opaque, borrow, free, give, out};
use crate::status::fw_status;

/// Entries that one list takes.
pub const ENTRIES_MAX: usize = 10_000;

/// An access control list. Operations copy it.
pub struct fw_acl {
    _private: [u8; 0],
}

impl Opaque for fw_acl {
    type Body = Mutex<Vec<Acl>>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_acl_l");
}

/// Bits of the permissions of an entry.
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum fw_perms {
    /// Read the data, list the children, see the stat.
    FW_PERM_READ = 1,
    /// Set the data.
    FW_PERM_WRITE = 2,
    /// Create children.
    FW_PERM_CREATE = 4,
    /// Delete children.
    FW_PERM_DELETE = 8,
    /// Set the list itself.
    FW_PERM_ADMIN = 16,
    /// All five.
    FW_PERM_ALL = 31,
}

/// A copy of the list; `None` for null.
///
/// # Safety
/// The rules of [`crate::guard`].
pub unsafe fn optional_list(acl: *const fw_acl) -> Result<Option<Vec<Acl>>, Failure> {
    if acl.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise is the same.
    let acl = unsafe { borrow(acl) }?;
    let entries = acl.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(Some(entries))
}

/// A copy of the list, or everything for everyone when it is null.
///
/// # Safety
/// The rules of [`crate::guard`].
pub unsafe fn list(acl: *const fw_acl) -> Result<Vec<Acl>, Failure> {
    // SAFETY: the caller's promise is the same.
    Ok(unsafe { optional_list(acl) }?.unwrap_or_else(Acl::open))
}

/// Makes an empty list, which no server accepts before an entry is added. Any thread, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_acl_new(acl: *mut *mut fw_acl, error: *mut *mut fw_error) -> fw_status {
    border!(error, {
        out(acl)?.set(give(Mutex::new(Vec::new())));
        Ok(())
    })
}

/// Adds an entry: `perms` are bits of `fw_perms`; ("world", "anyone") is everyone, ("auth", "") who
/// this client is. Any thread, never blocks. Fails with `FW_NULL`, `FW_BAD_ARGUMENT`,
/// `FW_TOO_LARGE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_acl_add(
    acl: *mut fw_acl,
    perms: u32,
    scheme: *const c_char,
    scheme_len: usize,
    id: *const c_char,
    id_len: usize,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (scheme, id) = (text("scheme", scheme, scheme_len)?, text("id", id, id_len)?);
        if perms == 0 || perms & !(fw_perms::FW_PERM_ALL as u32) != 0 {
            let text = format!("permissions {perms:#x} are none, or more than fw_perms has");
            return Err(Failure::new(fw_status::FW_BAD_ARGUMENT, text));
        }
        let acl = borrow(acl.cast_const())?;
        let mut entries = acl.lock().unwrap_or_else(PoisonError::into_inner);
        if ENTRIES_MAX <= entries.len() {
            let text = format!("a list takes {ENTRIES_MAX} entries");
            return Err(Failure::new(fw_status::FW_TOO_LARGE, text));
        }
        entries.push(Acl::new(Perms(perms as i32), scheme, id));
        Ok(())
    })
}

/// Frees `acl`. Null is allowed. Any thread, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_acl_free(acl: *mut fw_acl) -> fw_status {
    accessor!(free(acl))
}
