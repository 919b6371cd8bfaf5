//! Which library this is.

use std::ffi::{CStr, c_char};

use crate::bytes::text;

/// The number in the name of the shared library: it changes when programs must be built anew.
pub const ABI_VERSION: u32 = 0;

// The build script names the library with its own copy of the number.
const _: () = assert!(
    env!("FARWATCH_ABI_VERSION").len() == 1
        && env!("FARWATCH_ABI_VERSION").as_bytes()[0] as u32 - '0' as u32 == ABI_VERSION
);

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("the version holds a zero byte"),
    };

/// What `fw_feature` knows.
const FEATURES: [&str; 12] = [
    "client", "queue", "renew", "multi", "lock", "election", "recipes", "fresh", "observer",
    "view", "feed", "drive",
];

/// The version of the library that runs, such as "0.1.0". Never null, valid for ever. Any thread,
/// never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn fw_version_string() -> *const c_char {
    VERSION.as_ptr()
}

/// The ABI of the library that runs: equal to `FW_ABI_VERSION` of a header that it fits. Any thread,
/// never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn fw_abi_version() -> u32 {
    ABI_VERSION
}

/// Whether the library that runs has the named part: "client", "queue", "renew", "multi", "lock",
/// "election", "recipes" (all others), "fresh" (`fw_op_fresh`), "observer", "view", "feed", "drive"
/// (`fw_observer_drive`). False for what it does not know. Any thread, never blocks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fw_feature(name: *const c_char, name_len: usize) -> bool {
    accessor!(text("name", name, name_len).is_ok_and(|name| FEATURES.contains(&name)))
}
