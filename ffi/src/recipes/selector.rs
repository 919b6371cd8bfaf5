//! `fw_selector`: leading for a while, or seeing who does.

use std::ffi::c_char;

use farwatch_client::recipes::{Election, Leader, LeaderSelector};

use super::held::{Held, fw_tenure};
use super::{Recipe, make};
use crate::acl::fw_acl;
use crate::bytes::bytes;
use crate::client::fw_client;
use crate::error::fw_error;
use crate::guard::{Opaque, borrow, free, give, optional_out, out};
use crate::result::{ResultBody, fw_result};
use crate::status::fw_status;
use crate::tenure::Holding;

/// One that leads now and then: Rust's `LeaderSelector`. Unlike an `fw_election` it is in line only while
/// `fw_selector_lead` waits, and who has lost is told to whom. All functions on it: any thread. Free it
/// before its client.
pub struct fw_selector {
    _private: [u8; 0],
}

impl Opaque for fw_selector {
    type Body = Recipe<LeaderSelector>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_selec");
    const IS_BOUND_TO_PROCESS: bool = true;
}

fn result(leader: Leader) -> ResultBody {
    ResultBody::with_token(leader.id, leader.token.0)
}

/// For the election at `path`; `id` is what others see of the one that leads; `acl` as in
/// `fw_semaphore_new`. Curator's `LeaderSelector` at the same path takes part. Never blocks, and asks no
/// server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_selector_new(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    id: *const u8,
    id_len: usize,
    acl: *const fw_acl,
    selector: *mut *mut fw_selector,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let id = bytes(id, id_len)?;
        make(client, path, path_len, acl, selector, |client, path, acl| {
            LeaderSelector::new(client, path, id).with_acl(acl)
        })
    })
}

/// Stands for election and waits until this one leads, up to `timeout_ms` (negative: `requestTimeout`).
/// It succeeds for who won and for who did not: `leadership` becomes what the winner has until it releases
/// it, and null for the others, who are not in line any more. `leader` may be null; its data is the id of
/// who leads, its number the token. Who lost may wait a session timeout more to learn that. May block, so
/// not in a callback. Fails with `FW_TIMEOUT` (nobody leads either), `FW_LOST`, and as `fw_client_call`;
/// then nothing is left behind.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_selector_lead(
    selector: *mut fw_selector,
    timeout_ms: i64,
    leadership: *mut *mut fw_tenure,
    leader: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (leadership, selector) = (out(leadership)?, borrow(selector.cast_const())?);
        let led = selector.asker.ask(timeout_ms, |deadline| selector.recipe.lead(deadline))?;
        let leads = match led {
            Election::Won(won) => {
                let token = won.token();
                leadership.set(give(Holding::of(selector.asker.clone(), Held::Leadership(won))));
                Leader { id: selector.recipe.id().to_vec(), token }
            }
            Election::Lost(leader) => {
                leadership.set(std::ptr::null_mut());
                leader
            }
        };
        if let Some(leader) = optional_out(leader) {
            leader.set(give(result(leads)));
        }
        Ok(())
    })
}

/// Who leads now: the result's data is the leader's id, its number the leader's token; null and 0 if
/// nobody leads. `fw_election_follow` at the same path tells of each new one. May block, so not in a
/// callback. Fails with `FW_TIMEOUT`, and as `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_selector_leader(
    selector: *mut fw_selector,
    timeout_ms: i64,
    leader: *mut *mut fw_result,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (leader, selector) = (out(leader)?, borrow(selector.cast_const())?);
        let found = selector.asker.ask(timeout_ms, |deadline| selector.recipe.leader(deadline))?;
        leader.set(give(found.map(result).unwrap_or_default()));
        Ok(())
    })
}

/// Frees `selector`; who leads by it goes on. Null is allowed. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_selector_free(selector: *mut fw_selector) -> fw_status {
    accessor!(free(selector))
}
