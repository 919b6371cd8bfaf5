//! `fw_followed`: a state that is kept here and renewed by watches, whatever recipe it is of.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use farwatch_client::recipes::{
    ConfigCell, ConfigValue, GroupView, Leader, LeaderLatch, LeaderView, Member,
};

use super::Asker;
use crate::bytes::text;
use crate::callback::{Context, Gate, fw_destroy_fn};
use crate::client::{CALLBACK_PATIENCE, fw_client};
use crate::error::{Failure, fw_error};
use crate::guard::{Opaque, Owned, borrow, free, give, out, set_optional, view};
use crate::result::{ResultBody, fw_result};
use crate::status::fw_status;

/// A state that is followed: who leads, who is in a group or offers a service, what a configuration
/// node holds. It is renewed by watches, across reconnects and, with `renewExpired`, across sessions.
/// States that follow each other fast may be skipped; the last one is not. All functions on it: any
/// thread. Free it before its client.
pub struct fw_followed {
    _private: [u8; 0],
}

impl Opaque for fw_followed {
    type Body = FollowedBody;
    const TAG: u64 = u64::from_le_bytes(*b"fw_follo");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// Called with each new state, on the client's own thread: return soon, block never. `state` is what
/// `fw_followed_get` gives, and is lent for the call.
pub type fw_followed_fn =
    Option<unsafe extern "C" fn(context: *mut c_void, state: *const fw_result)>;

/// What is followed.
pub enum Source {
    /// Who leads.
    Leader(LeaderView),
    /// Who is in a group.
    Members(GroupView),
    /// What a configuration node holds.
    Config(ConfigCell),
}

impl Source {
    fn state(&self) -> ResultBody {
        match self {
            Self::Leader(view) => leader(view.leader().as_ref()),
            Self::Members(view) => members(&view.members()),
            Self::Config(cell) => value(cell.get().as_ref()),
        }
    }

    fn is_current(&self) -> bool {
        match self {
            Self::Leader(view) => view.is_current(),
            Self::Members(view) => view.is_current(),
            Self::Config(cell) => cell.is_current(),
        }
    }

    fn revision(&self) -> u64 {
        match self {
            Self::Leader(view) => view.revision(),
            Self::Members(view) => view.revision(),
            Self::Config(cell) => cell.revision(),
        }
    }

    fn on_change(&self, mut tell: impl FnMut(ResultBody) + Send + 'static) {
        match self {
            Self::Leader(view) => view.on_change(move |it| tell(leader(it))),
            Self::Members(view) => view.on_change(move |it| tell(members(it))),
            Self::Config(cell) => cell.on_change(move |it| tell(value(it))),
        }
    }
}

fn leader(leader: Option<&Leader>) -> ResultBody {
    leader.map_or_else(ResultBody::default, |leader| {
        ResultBody::with_token(leader.id.clone(), leader.token.0)
    })
}

fn member(member: &Member) -> ResultBody {
    ResultBody::member(&member.name, member.data.clone(), member.token.0)
}

fn members(members: &[Member]) -> ResultBody {
    ResultBody::parts(members.iter().map(member))
}

fn value(value: Option<&ConfigValue>) -> ResultBody {
    value.map_or_else(ResultBody::default, |value| {
        ResultBody::with_version(value.data.clone(), value.version, value.token.0)
    })
}

/// Something that is followed, until it is freed.
pub struct FollowedBody {
    source: Source,
    asker: Asker,
    gate: Arc<Gate>,
}

impl FollowedBody {
    /// The cell, and who asks for it.
    pub fn config_cell(&self) -> Result<(&ConfigCell, &Asker), Failure> {
        match &self.source {
            Source::Config(cell) => Ok((cell, &self.asker)),
            Source::Leader(_) | Source::Members(_) => Err(is_no("configuration cell")),
        }
    }

    /// Calls C with each new state, until it is freed.
    fn on_change(&self, callback: fw_followed_fn, context: Context) -> Result<(), Failure> {
        let function =
            callback.ok_or_else(|| Failure::new(fw_status::FW_NULL, "the callback is null"))?;
        let gate = Arc::clone(&self.gate);
        self.source.on_change(move |state| {
            let state = Owned::<fw_result>::new(state);
            // SAFETY: the function is C's for this context, which lives as long as this closure.
            gate.pass(|| unsafe { function(context.pointer(), state.as_ptr()) });
        });
        Ok(())
    }
}

impl Drop for FollowedBody {
    fn drop(&mut self) {
        self.gate.close();
        if !self.asker.is_inside_callback() {
            self.gate.wait_idle(CALLBACK_PATIENCE);
        }
    }
}

fn is_no(what: &str) -> Failure {
    Failure::new(fw_status::FW_BAD_ARGUMENT, format!("what is followed here is no {what}"))
}

/// A handle of what is followed.
pub fn follow(asker: &Asker, source: Source) -> *mut fw_followed {
    give(FollowedBody { source, asker: asker.clone(), gate: Arc::default() })
}

/// Follows who leads the election at `path` from now on, for those who lost and those who do not stand:
/// the state is that of `fw_election_leader`. Each new leader wakes all who follow, once. Any thread,
/// never blocks longer than the socket takes to take the bytes, and needs no `fw_election`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_election_follow(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    leader: *mut *mut fw_followed,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (leader, path) = (out(leader)?, text("path", path, path_len)?);
        let client = borrow(client.cast_const())?;
        let view = LeaderLatch::new(client.client(), path).follow();
        leader.set(follow(&Asker::new(&client), Source::Leader(view)));
        Ok(())
    })
}

/// The state that was read last. Of a leader: data is its id, the number its token, null and 0 while
/// nobody leads. Of a group or a service: a part for each member, with its name (`fw_result_name` at
/// 0), data, and token as the number. Of a configuration cell: data, `fw_result_version`, and a number
/// that grows with every change; null, -1 and 0 where there is no node. Before the first read it is as
/// if there were nothing: `fw_followed_revision` is 0 then. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_followed_get(
    followed: *const fw_followed,
    state: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (state, followed) = (out(state)?, borrow(followed)?);
        state.set(give(followed.source.state()));
        Ok(())
    })
}

/// One member of a group or instance of a service, each in its turn, so that the load is spread: as
/// one part of `fw_followed_get`. Never blocks. Fails with `FW_NO_NODE` (nobody is there, as far as is
/// known), `FW_BAD_ARGUMENT` (it follows something else).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_followed_pick(
    followed: *mut fw_followed,
    picked: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (picked, followed) = (out(picked)?, borrow(followed.cast_const())?);
        let Source::Members(view) = &followed.source else { return Err(is_no("group")) };
        let nobody = || Failure::retriable(fw_status::FW_NO_NODE, "nobody is there to be picked");
        picked.set(give(member(&view.pick().ok_or_else(nobody)?)));
        Ok(())
    })
}

/// Whether a server serves the session, so that a change is told. While none does, the state stays as
/// it was. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_followed_is_current(followed: *const fw_followed) -> bool {
    accessor!(view(followed, false, |followed| followed.source.is_current()))
}

/// How many states were seen; 0 before the first. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_followed_revision(followed: *const fw_followed) -> u64 {
    accessor!(view(followed, 0, |followed| followed.source.revision()))
}

/// Waits for a state beyond `seen`, 0 for the first, up to `timeout_ms` (negative: `requestTimeout`).
/// `revision` is that of the state that came, and may be null. May block, so not in a callback. Fails
/// with `FW_TIMEOUT`, and as `fw_client_call` when the state cannot be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_followed_wait_beyond(
    followed: *mut fw_followed,
    seen: u64,
    timeout_ms: i64,
    revision: *mut u64,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let followed = borrow(followed.cast_const())?;
        let came = followed.asker.ask(timeout_ms, |deadline| match &followed.source {
            Source::Leader(view) => view.wait_beyond(seen, deadline),
            Source::Members(view) => view.wait_beyond(seen, deadline),
            Source::Config(cell) => cell.wait_beyond(seen, deadline),
        })?;
        set_optional(revision, came);
        Ok(())
    })
}

/// Calls `callback` with each new state, on the client's thread. What is known already is not told: set
/// the callback first, then get. Not after it was freed. `destroy` is called with `context` exactly
/// once, when no call can come any more, or when this fails. Never blocks. Fails with `FW_NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_followed_on_change(
    followed: *mut fw_followed,
    callback: fw_followed_fn,
    context: *mut c_void,
    destroy: fw_destroy_fn,
    error: *mut *mut fw_error,
) -> fw_status {
    ending!(error, {
        let context = Context::new(context, destroy);
        crate::reserve::refuse_if_out()?;
        borrow(followed.cast_const())?.on_change(callback, context)
    })
}

/// Frees it: nothing is followed any more. Null is allowed. May block: waits for a callback that is running, up
/// to two seconds, unless it is called from one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_followed_free(followed: *mut fw_followed) -> fw_status {
    accessor!(free(followed))
}
