//! The conformance checklist of the ZooKeeper client protocol, items A1 to K8, on a real socket.
//!
//! One test per item, named by its id: `cargo test -p farwatch-cli --test it conformance::g_watches`.
//! `FARWATCH_CONFORMANCE_SUBJECT` chooses the server:
//!
//! * `farwatch`, the default: the binary of this build;
//! * `zookeeper`: Apache ZooKeeper, by which the tests themselves are checked; what it is known to
//!   do otherwise is skipped by name and said so ([`differs`]);
//! * `ensemble` and `ensemble-leader`: three voters of this build, through one that follows or the
//!   one that leads; `observer` and `observer-global`: through a fourth that observes, with sessions of
//!   its own that are upgraded or without any; `zookeeper-ensemble` and `zookeeper-ensemble-leader` are Apache ZooKeeper's.
//!   What an ensemble shows otherwise, there and here, is what [`in_ensemble`] is asked for;
//! * `HOST:PORT`: a server that runs already. It is taken as it is configured, so choose the tests
//!   that fit by name.
//!
//! Servers are shared by all tests that want the same [`Kind`]; each test stays below its own root.

mod a_framing;
mod b_handshake;
mod c_headers;
pub mod client;
mod d_create;
mod e_delete_set_acl;
mod f_reads;
mod g_watches;
mod h_multi;
mod i_auth;
mod j_sessions;
mod k_quota_misc;
pub mod server;

use client::Client;
use server::{Kind, differs, fresh, in_ensemble, own, roles, server, stops_zookeepers_ensemble};

/// Error codes of the protocol.
mod code {
    pub const MARSHALLING_ERROR: i32 = -5;
    pub const UNIMPLEMENTED: i32 = -6;
    pub const BAD_ARGUMENTS: i32 = -8;
    pub const RUNTIME_INCONSISTENCY: i32 = -2;
    pub const NO_NODE: i32 = -101;
    pub const NO_AUTH: i32 = -102;
    pub const BAD_VERSION: i32 = -103;
    pub const NO_CHILDREN_FOR_EPHEMERALS: i32 = -108;
    pub const NODE_EXISTS: i32 = -110;
    pub const NOT_EMPTY: i32 = -111;
    pub const INVALID_ACL: i32 = -114;
    pub const AUTH_FAILED: i32 = -115;
    pub const NO_WATCHER: i32 = -121;
    pub const RECONFIG_DISABLED: i32 = -123;
    pub const SESSION_CLOSED_REQUIRE_AUTH: i32 = -124;
    pub const QUOTA_EXCEEDED: i32 = -125;
}

/// Event types of notifications.
mod event {
    pub const CREATED: i32 = 1;
    pub const DELETED: i32 = 2;
    pub const CHANGED: i32 = 3;
    pub const CHILDREN: i32 = 4;
}

/// Permission bits.
mod perms {
    pub const READ: i32 = 1;
    pub const WRITE: i32 = 2;
    pub const CREATE: i32 = 4;
    pub const DELETE: i32 = 8;
    pub const ADMIN: i32 = 16;
    pub const ALL: i32 = 31;
}

/// How many items each letter of the checklist has.
const CHECKLIST: [(char, u32); 11] = [
    ('a', 12),
    ('b', 14),
    ('c', 10),
    ('d', 22),
    ('e', 13),
    ('f', 10),
    ('g', 19),
    ('h', 12),
    ('i', 9),
    ('j', 10),
    ('k', 8),
];

/// Items that one socket cannot show, and why.
const NOT_HERE: [(&str, &str); 7] = [
    ("b14", "a read-only server is a voter that lost its ensemble"),
    ("e13", "2^31 writes to one node would be needed: the core tests how versions wrap"),
    ("h12", "a read-only server is a voter that lost its ensemble"),
    ("j5", "a session moves between two servers: see ensemble_clients"),
    ("j6", "local sessions differ from global ones beside a second server: see ensemble_clients"),
    ("j9", "a read-only server is a voter that lost its ensemble"),
    ("j10", "a leader changes only in an ensemble: see ensemble_clients"),
];

/// The tests, to see that no item was forgotten.
const SOURCES: [&str; 11] = [
    include_str!("conformance/a_framing.rs"),
    include_str!("conformance/b_handshake.rs"),
    include_str!("conformance/c_headers.rs"),
    include_str!("conformance/d_create.rs"),
    include_str!("conformance/e_delete_set_acl.rs"),
    include_str!("conformance/f_reads.rs"),
    include_str!("conformance/g_watches.rs"),
    include_str!("conformance/h_multi.rs"),
    include_str!("conformance/i_auth.rs"),
    include_str!("conformance/j_sessions.rs"),
    include_str!("conformance/k_quota_misc.rs"),
];

#[test]
fn every_item_of_the_checklist_is_a_test_or_named_with_the_reason_why_not() {
    for ((letter, count), source) in CHECKLIST.into_iter().zip(SOURCES) {
        for number in 1..=count {
            let item = format!("{letter}{number}");
            let tests = source.matches(&format!("#[test]\nfn {item}_")).count();
            let reason = NOT_HERE.iter().find(|(excused, _)| *excused == item);
            match (tests, reason) {
                (1, None) => {}
                (0, Some((_, reason))) => eprintln!("{item} is not tested here: {reason}"),
                (tests, reason) => panic!("{item}: {tests} tests, excused by {reason:?}"),
            }
        }
    }
}
