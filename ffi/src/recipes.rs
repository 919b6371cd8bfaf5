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

use farwatch_client::recipes::RecipeError;
use farwatch_client::{Acl, Client, ClientError};

use crate::acl::{fw_acl, optional_list};
use crate::bytes::text;
use crate::client::{ClientBody, failure, fw_client, patience};
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
    renews: bool,
}

impl Asker {
    /// Asks by `client`.
    #[inline(never)]
    pub fn new(client: &ClientBody) -> Self {
        let (request_timeout, renews) = (client.timeout(-1), client.renews());
        Self { client: client.client().clone(), request_timeout, renews }
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
    #[inline(never)]
    pub fn deadline(&self, timeout_ms: i64) -> Result<Instant, Failure> {
        Ok(Instant::now() + self.timeout(timeout_ms)?)
    }

    /// Asks for what is not held yet, until the deadline: when a session ends meanwhile, the client may live
    /// and the handle does, and the same call may succeed.
    pub fn ask<T>(
        &self,
        timeout_ms: i64,
        ask: impl FnOnce(Instant) -> Result<T, RecipeError>,
    ) -> Result<T, Failure> {
        self.ask_until(self.deadline(timeout_ms)?, ask)
    }

    /// The same, on a thread that may wait.
    pub fn ask_until<T>(
        &self,
        deadline: Instant,
        ask: impl FnOnce(Instant) -> Result<T, RecipeError>,
    ) -> Result<T, Failure> {
        ask(deadline).map_err(|error| self.failure(error))
    }

    // Not inlined: there are twenty places that ask.
    #[cold]
    #[inline(never)]
    fn failure(&self, error: RecipeError) -> Failure {
        match error {
            RecipeError::Client(error) => failure(error, self.renews),
            RecipeError::Lost if !self.client.is_over() => {
                Failure { retriable: true, fatal: false, ..error.into() }
            }
            other => other.into(),
        }
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
    let (handle, (path, rights, asker)) =
        unsafe { (out(handle)?, place(client, path, path_len, acl)?) };
    let recipe = begin(&asker.client, path, rights);
    handle.set(give(Recipe { recipe, asker }));
    Ok(())
}

/// Where a recipe is, what it creates with, and who asks. Not inlined: it is the same for all recipes.
///
/// # Safety
/// The rules of [`crate::guard`].
#[inline(never)]
unsafe fn place<'a>(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    acl: *const fw_acl,
) -> Result<(&'a str, Vec<Acl>, Asker), Failure> {
    // SAFETY: the caller's promise is the same.
    let (path, acl, client) =
        unsafe { (text("path", path, path_len)?, optional_list(acl)?, borrow(client)?) };
    Ok((path, client.rights(acl), Asker::new(&client)))
}
