//! What a Farwatch server knows, without a socket, a file, a clock or a thread.
//!
//! ```text
//! frame ─► wire::Request ─► prepare ─► Txn ─► record ─► zab ─► tree.apply ─► watch ─► wire::reply
//!             │ read                    (zxid)  (bytes for disk and peers)        ▲
//!             └───────────────────────────► tree (a view at one zxid) ───────────┘
//! ```
//!
//! Reading order: [`zxid`], [`wire`], [`txn`], [`record`], [`tree`], [`prepare`], [`node`].
#![deny(missing_docs)]
#![deny(clippy::wildcard_enum_match_arm)]

pub mod acl;
pub mod answer;
pub mod auth;
mod codec;
pub mod disk;
pub mod hash;
pub mod limits;
pub mod log;
pub mod node;
pub mod path;
pub mod prepare;
pub mod prng;
pub mod record;
pub mod session;
pub mod snapshot;
pub mod tree;
pub mod txn;
pub mod watch;
pub mod wire;
pub mod zab;
pub mod zxid;
