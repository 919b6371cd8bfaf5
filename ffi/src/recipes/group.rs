//! `fw_group` and `fw_service_directory`: who is there, and who offers what.

use std::ffi::c_char;

use farwatch_client::recipes::{Group, ServiceDirectory};

use super::followed::{Source, follow, fw_followed};
use super::held::{Held, fw_tenure, hold};
use super::{Recipe, make};
use crate::acl::fw_acl;
use crate::bytes::{bytes, text};
use crate::client::fw_client;
use crate::error::fw_error;
use crate::guard::{Opaque, borrow, free, out};
use crate::status::fw_status;

/// A group at a path: its members' names are those of the ephemeral nodes there. All functions on it:
/// any thread. Free it before its client.
pub struct fw_group {
    _private: [u8; 0],
}

impl Opaque for fw_group {
    type Body = Recipe<Group>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_group");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// The group at `path`; `acl` as in `fw_semaphore_new`. Never blocks, and asks no server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_group_new(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    acl: *const fw_acl,
    group: *mut *mut fw_group,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        make(client, path, path_len, acl, group, |client, path, acl| {
            Group::new(client, path).with_acl(acl)
        })
    })
}

/// Becomes the member `name`, of which `data` says what others should know. A name that is taken, by a
/// former session of this program perhaps, is waited for up to `timeout_ms` (negative:
/// `requestTimeout`). A membership is lost with its session: join again. May block, so not in a
/// callback. Fails with `FW_TAKEN` (still at the deadline), `FW_TIMEOUT`, `FW_LOST`, and as
/// `fw_client_call`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_group_join(
    group: *mut fw_group,
    name: *const c_char,
    name_len: usize,
    data: *const u8,
    data_len: usize,
    timeout_ms: i64,
    membership: *mut *mut fw_tenure,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (name, data) = (text("name", name, name_len)?, bytes(data, data_len)?);
        let group = borrow(group.cast_const())?;
        hold(&group.asker, timeout_ms, membership, &|deadline| {
            group.recipe.join(name, data, deadline).map(Held::Membership)
        })
    })
}

/// Follows who is there from now on: `fw_followed_get` has a part for each member, by name. Never
/// blocks longer than the socket takes to take the bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_group_follow(
    group: *mut fw_group,
    members: *mut *mut fw_followed,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (members, group) = (out(members)?, borrow(group.cast_const())?);
        members.set(follow(&group.asker, Source::Members(group.recipe.follow())));
        Ok(())
    })
}

/// Frees `group`; memberships and what is followed go on. Null is allowed. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_group_free(group: *mut fw_group) -> fw_status {
    accessor!(free(group))
}

/// Services by name, and who offers them: a group for each, below one path. All functions on it: any
/// thread. Free it before its client.
pub struct fw_service_directory {
    _private: [u8; 0],
}

impl Opaque for fw_service_directory {
    type Body = Recipe<ServiceDirectory>;
    const TAG: u64 = u64::from_le_bytes(*b"fw_servi");
    const IS_BOUND_TO_PROCESS: bool = true;
}

/// The directory at `path`; `acl` as in `fw_semaphore_new`. Never blocks, and asks no server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_service_directory_new(
    client: *mut fw_client,
    path: *const c_char,
    path_len: usize,
    acl: *const fw_acl,
    directory: *mut *mut fw_service_directory,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        make(client, path, path_len, acl, directory, |client, path, acl| {
            ServiceDirectory::new(client, path).with_acl(acl)
        })
    })
}

/// Offers `service` under the name of an instance; `data` says where it is, in a form that those who
/// use it know. Waits, blocks and fails as `fw_group_join`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_service_directory_register(
    directory: *mut fw_service_directory,
    service: *const c_char,
    service_len: usize,
    instance: *const c_char,
    instance_len: usize,
    data: *const u8,
    data_len: usize,
    timeout_ms: i64,
    membership: *mut *mut fw_tenure,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let service = text("service", service, service_len)?;
        let instance = text("instance", instance, instance_len)?;
        let (data, directory) = (bytes(data, data_len)?, borrow(directory.cast_const())?);
        hold(&directory.asker, timeout_ms, membership, &|deadline| {
            directory.recipe.register(service, instance, data, deadline).map(Held::Membership)
        })
    })
}

/// Follows who offers `service` from now on: `fw_followed_pick` gives one after the other. Never
/// blocks longer than the socket takes to take the bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_service_directory_follow(
    directory: *mut fw_service_directory,
    service: *const c_char,
    service_len: usize,
    instances: *mut *mut fw_followed,
    error: *mut *mut fw_error,
) -> fw_status {
    border!(error, {
        let (instances, service) = (out(instances)?, text("service", service, service_len)?);
        let directory = borrow(directory.cast_const())?;
        let view = directory.recipe.follow(service);
        instances.set(follow(&directory.asker, Source::Members(view)));
        Ok(())
    })
}

/// Frees `directory`; what is offered and followed goes on. Null is allowed. Never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_service_directory_free(
    directory: *mut fw_service_directory,
) -> fw_status {
    accessor!(free(directory))
}
