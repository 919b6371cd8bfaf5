//! What applications build from a coordination service. Locks and elections have files of their own.
//!
//! ```text
//!   fw_semaphore  fw_double_barrier  fw_group  fw_service_directory  fw_worker_ids  fw_task_board
//!        └───────────────┴──────────────┴────────────┴───────────────────┴───────────────┘
//!            what is held is an fw_tenure, whatever gave it; what is followed is an fw_followed
//! ```
//!
//! A recipe itself is a place: it asks nothing when it is made, and ends nothing when it is freed.

use std::ffi::c_char;
use std::time::{Duration, Instant};

use farwatch_client::{Acl, Client, ClientError};

use crate::acl::{fw_acl, optional_list};
use crate::bytes::text;
use crate::client::{ClientBody, fw_client, patience};
use crate::error::Failure;
use crate::guard::{Opaque, borrow, give, out};

pub mod barrier;
pub mod config_cell;
pub mod counter;
pub mod fifo;
pub mod followed;
pub mod group;
pub mod held;
pub mod selector;
pub mod semaphore;
pub mod snowflake;
pub mod tasks;
pub mod worker_ids;

/// Who asks for a recipe, and how long it waits.
#[derive(Clone)]
pub struct Asker {
    client: Client,
    request_timeout: Duration,
}

impl Asker {
    /// Asks by `client`.
    pub fn new(client: &ClientBody) -> Self {
        Self { client: client.client().clone(), request_timeout: client.timeout(-1) }
    }

    /// Whether this runs on the client's own thread, inside a callback.
    pub fn is_inside_callback(&self) -> bool {
        self.client.is_inside_callback()
    }

    /// How long a call may wait, which it must not on the client's own thread.
    pub fn timeout(&self, timeout_ms: i64) -> Result<Duration, Failure> {
        if self.is_inside_callback() {
            return Err(ClientError::InsideCallback.into());
        }
        Ok(u64::try_from(timeout_ms).map_or(self.request_timeout, patience))
    }

    /// Until when a call may wait.
    pub fn deadline(&self, timeout_ms: i64) -> Result<Instant, Failure> {
        Ok(Instant::now() + self.timeout(timeout_ms)?)
    }
}

/// A recipe, and who asks for it.
pub struct Recipe<R> {
    recipe: R,
    asker: Asker,
}

/// Makes a handle of the recipe at `path`.
///
/// # Safety
/// The rules of [`crate::guard`].
unsafe fn make<O: Opaque<Body = Recipe<R>>, R>(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    acl: *const fw_acl,
    handle: *mut *mut O,
    begin: impl FnOnce(&Client, &str, Vec<Acl>) -> R,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise is the same.
    let (handle, path, acl, client) = unsafe {
        (out(handle)?, text("path", path, path_len)?, optional_list(acl)?, borrow(client)?)
    };
    let recipe = begin(client.client(), path, client.rights(acl));
    handle.set(give(Recipe { recipe, asker: Asker::new(&client) }));
    Ok(())
}
