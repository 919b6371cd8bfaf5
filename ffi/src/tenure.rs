//! What a held lock, a won election and everything else that is held have in common.

use std::ffi::c_void;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use farwatch_client::recipes::{RecipeError, Standing, Tenure};

use crate::callback::{Context, Gate};
use crate::client::CALLBACK_PATIENCE;
use crate::error::Failure;
use crate::recipes::Asker;
use crate::status::fw_status;

/// How it stands with something held: a lock, leadership.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum fw_standing {
    /// A server serves the session.
    FW_STANDING_HELD = 0,
    /// No server serves the session at the moment, or one without a leader, which can only read. It may
    /// come back as held or as lost: stop, or act only while `_check` agrees.
    FW_STANDING_SUSPENDED = 1,
    /// It is over: released, the session expired, or somebody deleted the node. Final.
    FW_STANDING_LOST = 2,
}

/// Called at each change of standing, on the client's own thread: return soon, block never.
pub type fw_standing_fn = Option<unsafe extern "C" fn(context: *mut c_void, standing: fw_standing)>;

fn standing(standing: Standing) -> fw_standing {
    match standing {
        Standing::Held => fw_standing::FW_STANDING_HELD,
        Standing::Suspended => fw_standing::FW_STANDING_SUSPENDED,
        Standing::Lost => fw_standing::FW_STANDING_LOST,
    }
}

/// Something held, until it is given up.
pub struct Holding<T> {
    held: Mutex<Option<Arc<T>>>,
    gate: Arc<Gate>,
    asker: Asker,
}

impl<T: Deref<Target = Tenure>> Holding<T> {
    /// Keeps what `asker` got.
    pub fn of(asker: Asker, held: T) -> Self {
        Self { held: Mutex::new(Some(Arc::new(held))), gate: Arc::default(), asker }
    }

    /// Who got it.
    pub fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Until when a call may wait, which it must not on the client's own thread.
    pub fn deadline(&self, timeout_ms: i64) -> Result<Instant, Failure> {
        self.asker.deadline(timeout_ms)
    }

    /// What is held, unless it was given up.
    pub fn get(&self) -> Result<Arc<T>, Failure> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        held.ok_or_else(was_given_up)
    }

    /// Takes it, to give it up. Another thread may be looking at it still, and sees that it is lost.
    pub fn take(&self) -> Result<Arc<T>, Failure> {
        let held = self.get()?;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.gate.close();
        Ok(held)
    }

    /// How it stands.
    pub fn standing(&self) -> fw_standing {
        self.get().map_or(fw_standing::FW_STANDING_LOST, |held| standing(held.standing()))
    }

    /// The token, 0 when it was given up.
    pub fn token(&self) -> i64 {
        self.get().map_or(0, |held| held.token().0)
    }

    /// The token, if nobody else can hold it at this moment.
    pub fn check(&self) -> Result<i64, Failure> {
        Ok(self.get()?.check()?.0)
    }

    /// For how long from now nobody else can hold it, milliseconds.
    pub fn lease_ms(&self) -> u64 {
        let until = self.get().ok().and_then(|held| held.lease_valid_until());
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        left.map_or(0, |left| left.as_millis() as u64)
    }

    /// Calls C at each change of standing, until it is given up.
    pub fn on_change(&self, callback: fw_standing_fn, context: Context) -> Result<(), Failure> {
        let function =
            callback.ok_or_else(|| Failure::new(fw_status::FW_NULL, "the callback is null"))?;
        let gate = Arc::clone(&self.gate);
        self.get()?.on_change(move |now| {
            // SAFETY: the function is C's for this context, which lives as long as this closure.
            gate.pass(|| unsafe { function(context.pointer(), standing(now)) });
        });
        Ok(())
    }
}

impl<T> Drop for Holding<T> {
    fn drop(&mut self) {
        self.gate.close();
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        drop(held); // given up in the background
        if !self.asker.is_inside_callback() {
            self.gate.wait_idle(CALLBACK_PATIENCE);
        }
    }
}

/// Why what an earlier call gave up cannot be used.
pub fn was_given_up() -> Failure {
    Failure::fatal(fw_status::FW_LOST, "it was given up by an earlier call")
}

/// What came of giving something up, which goes on in the background after its deadline.
pub fn given_up(given_up: Result<(), RecipeError>) -> Result<(), Failure> {
    given_up.map_err(|error| {
        let goes_on = error == RecipeError::Deadline;
        let failure = Failure::from(error);
        Failure { maybe_applied: failure.maybe_applied || goes_on, ..failure }
    })
}

/// What an error is of a call on what is held; see [`Asker::ask`] for the others.
impl From<RecipeError> for Failure {
    #[cold]
    #[inline(never)]
    fn from(error: RecipeError) -> Self {
        let text = error.to_string();
        match error {
            RecipeError::Deadline => Self::retriable(fw_status::FW_TIMEOUT, text),
            RecipeError::Lost => Self::fatal(fw_status::FW_LOST, text),
            RecipeError::LeaseOver => Self::retriable(fw_status::FW_LEASE_OVER, text),
            RecipeError::Taken { .. } | RecipeError::NoneFree | RecipeError::Busy => {
                Self::retriable(fw_status::FW_TAKEN, text)
            }
            RecipeError::BadData { .. }
            | RecipeError::Overflow
            | RecipeError::ClockBehind { .. } => Self::new(fw_status::FW_RECIPE_REFUSED, text),
            RecipeError::Client(error) => Self::from(error),
        }
    }
}
