//! `fw_election`: one that stands for election, and leads when it is its turn.

use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use farwatch_client::recipes::{Candidate, LeaderLatch};

use crate::bytes::{bytes, text};
use crate::callback::{Context, fw_destroy_fn};
use crate::client::fw_client;
use crate::error::{Failure, fw_error};
use crate::guard::{Opaque, borrow, free, give, out, set_optional, view};
use crate::recipes::Asker;
use crate::result::{ResultBody, fw_result};
use crate::status::fw_status;
use crate::tenure::{Holding, fw_standing, fw_standing_fn, given_up};

/// One that stands for election: in line from `fw_election_join` on, leading from the success of
/// `fw_election_lead` on, until it resigns, is freed, or is lost with its session. All functions on
/// it: any thread. Free elections before their client.
pub struct fw_election {
    _private: [u8; 0],
}

impl Opaque for fw_election {
    type Body = ElectionBody;
    const TAG: u64 = u64::from_le_bytes(*b"fw_elect");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// A candidate, and whether it won.
pub struct ElectionBody {
    holding: Holding<Candidate>,
    leads: AtomicBool,
}

impl ElectionBody {
    /// One that has won.
    pub fn leading(asker: Asker, candidate: Candidate) -> Self {
        Self { holding: Holding::of(asker, candidate), leads: AtomicBool::new(true) }
    }

    /// A place in line has a lease too, but leading is what is asked for.
    fn refuse_unless_leading(&self) -> Result<(), Failure> {
        if self.leads.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(Failure::retriable(fw_status::FW_TAKEN, "this one is in line and does not lead yet"))
    }

    /// What shows that it leads.
    pub fn leadership(&self) -> Result<Arc<Candidate>, Failure> {
        let candidate = self.holding.get()?;
        self.refuse_unless_leading()?;
        Ok(candidate)
    }
}

/// Stands for election at `path`; `id` is what others see of the one that leads. Returns when it is
/// in line. Nodes are made as needed, with the rights of `fw_config_acl`. Curator's `LeaderLatch` at the same path takes part. Waits up to `timeout_ms` (negative:
/// `requestTimeout`). May block, so not in a callback. Fails with `FW_TIMEOUT`, and as
/// `fw_client_call`; then nothing is left behind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_election_join(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    id: *const u8,
    id_len: usize,
    timeout_ms: i64,
    election: *mut *mut fw_election,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (path, id) = (text("path", path, path_len)?, bytes(id, id_len)?);
        let (election, client) = (out(election)?, borrow(client.cast_const())?);
        let latch = LeaderLatch::new(client.client(), path).with_acl(client.rights(None));
        let asker = Asker::new(&client);
        let candidate = asker.ask(timeout_ms, |deadline| latch.join(id, deadline))?;
        let holding = Holding::of(asker, candidate);
        election.set(give(ElectionBody { holding, leads: AtomicBool::new(false) }));
        Ok(())
    })
}

/// Waits until this one leads, up to `timeout_ms` (negative: `requestTimeout`; 0: asks whether it
/// is its turn, for which a server has `requestTimeout`). After `FW_TIMEOUT` it is in line still.
/// May block, so not in a callback. Fails with `FW_TIMEOUT`, `FW_LOST`, `FW_IN_CALLBACK`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_election_lead(
    election: *mut fw_election,
    timeout_ms: i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let election = borrow(election.cast_const())?;
        let candidate = election.holding.get()?;
        match timeout_ms {
            0 => candidate.wait_for(Duration::ZERO, election.holding.deadline(-1)?)?,
            _ => candidate.wait(election.holding.deadline(timeout_ms)?)?,
        }
        election.leads.store(true, Ordering::Release);
        Ok(())
    })
}

/// Who leads now, this one or the one that it lost to: the result's data is the leader's id, its
/// number the leader's token; null and 0 if nobody leads. May block, so not in a callback. Fails
/// with `FW_TIMEOUT`, `FW_LOST`, and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_election_leader(
    election: *mut fw_election,
    timeout_ms: i64,
    result: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let result = out(result)?;
        let election = borrow(election.cast_const())?;
        let deadline = election.holding.deadline(timeout_ms)?;
        let leader = election.holding.get()?.leader(deadline)?;
        result.set(give(match leader {
            Some(leader) => ResultBody::with_token(leader.id, leader.token.0),
            None => ResultBody::default(),
        }));
        Ok(())
    })
}

/// The fencing token of this candidate: it grows from leader to leader. 0 once it resigned. Never
/// blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_election_token(election: *const fw_election) -> i64 {
    accessor!(view(election, 0, |election| election.holding.token()))
}

/// How it stands with its place: leading, or in line. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_election_standing(election: *const fw_election) -> fw_standing {
    accessor!(view(election, fw_standing::FW_STANDING_LOST, |election| election.holding.standing()))
}

/// For how many milliseconds from now nobody else can lead, by this machine's clock. 0 when nothing
/// is certain, or this one does not lead. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_election_lease_ms(election: *const fw_election) -> u64 {
    accessor!(view(election, 0, |election| {
        election.refuse_unless_leading().map_or(0, |()| election.holding.lease_ms())
    }))
}

/// Succeeds if it is certain at this moment that this one leads and nobody else: ask before each act.
/// `token` may be null. Never blocks. Fails with `FW_TAKEN` (in line), `FW_LEASE_OVER` (stop for
/// now), `FW_LOST`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_election_check(
    election: *const fw_election,
    token: *mut i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let election = borrow(election)?;
        election.refuse_unless_leading()?;
        let found = election.holding.check()?;
        set_optional(token, found);
        Ok(())
    })
}

/// Calls `callback` at each change of standing: as `fw_lock_on_change`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_election_on_change(
    election: *mut fw_election,
    callback: fw_standing_fn,
    context: *mut c_void,
    destroy: fw_destroy_fn,
    error: *mut *mut fw_error,
) -> fw_status {
    ending!(error, {
        let context = Context::new(context, destroy);
        crate::reserve::refuse_if_out()?;
        borrow(election.cast_const())?.holding.on_change(callback, context)
    })
}

/// Steps back, from leading or from the line, and returns when the next one can lead; free the
/// handle afterwards. Another thread that waits in `fw_election_lead` is told `FW_LOST`. At the
/// deadline it goes on in the background, and `fw_error_maybe_applied` is true. May block, so not
/// in a callback. Fails with `FW_LOST` when it was lost before, `FW_TIMEOUT`, `FW_IN_CALLBACK`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_election_resign(
    election: *mut fw_election,
    timeout_ms: i64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let election = borrow(election.cast_const())?;
        let deadline = election.holding.deadline(timeout_ms)?;
        election.leads.store(false, Ordering::Release);
        given_up(election.holding.take()?.withdraw(deadline))
    })
}

/// Frees the handle, and steps back in the background unless that was done. Null is allowed. May block: waits
/// for a callback that is running, up to two seconds, unless it is called from one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_election_free(election: *mut fw_election) -> fw_status {
    accessor!(free(election))
}
