//! A configuration cell: a value that is pushed to all who follow it, and set by conditional writes.

use std::ffi::c_char;

use farwatch_client::recipes::ConfigCell;

use super::Asker;
use super::followed::{Source, follow, fw_followed};
use crate::acl::{fw_acl, optional_list};
use crate::bytes::{bytes, text};
use crate::client::fw_client;
use crate::error::{Failure, fw_error};
use crate::guard::{borrow, out, set_optional};
use crate::status::fw_status;

/// Follows the data of the node at `path` from now on. `fw_config_cell_set` makes the node where it is
/// missing; `acl` as in `fw_semaphore_new`. Any thread, never blocks longer than the socket
/// takes to take the bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_config_cell_open(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    acl: *const fw_acl,
    cell: *mut *mut fw_followed,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (cell, path, acl) = (out(cell)?, text("path", path, path_len)?, optional_list(acl)?);
        let client = borrow(client.cast_const())?;
        let opened = ConfigCell::open(client.client(), path).with_acl(client.rights(acl));
        cell.set(follow(&Asker::new(&client), Source::Config(opened)));
        Ok(())
    })
}

/// Sets the data of a cell of `fw_config_cell_open`, once, where the version is `version`, which is that
/// of the state that was read (`fw_result_version`), or `FW_ANY_VERSION`; null is empty. `token` may be
/// null; it grows from change to change. Like all others, this cell has the new value when it is told
/// of it. Any thread; may block, so not in a callback. Fails with `FW_BAD_VERSION` (somebody was
/// faster), `FW_TIMEOUT`, of which `fw_error_maybe_applied` says whether it may have been set,
/// `FW_BAD_ARGUMENT` (it follows something else), and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_config_cell_set(
    cell: *mut fw_followed,
    data: *const u8,
    data_len: usize,
    version: i32,
    timeout_ms: i64,
    token: *mut i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (data, cell) = (bytes(data, data_len)?, borrow(cell.cast_const())?);
        let (cell, asker) = cell.config_cell()?;
        let version = (version != farwatch_client::ANY_VERSION).then_some(version);
        let set = asker.ask(timeout_ms, |deadline| cell.set(data, version, deadline))?;
        let set = set.ok_or_else(|| {
            let text = "the node has another version: read it, and decide again";
            Failure::new(fw_status::FW_BAD_VERSION, text)
        })?;
        set_optional(token, set.0);
        Ok(())
    })
}
