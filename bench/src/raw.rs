//! The ZooKeeper client protocol as bytes, for tests and load.
//!
//! [`Body`] writes and [`Reader`] reads Jute primitives; [`request`] builds the body of every
//! operation; [`Connection`] frames them; [`Stat`], [`Event`] and [`multi_results`] decode replies.
//! Everything may be malformed on purpose: no builder checks what it is given.

mod body;
mod connection;
mod reply;
pub mod request;

pub use body::{Body, Reader};
pub use connection::{
    Connection, DEADLINE, Handshake, Session, four_letter_word, four_letter_word_within, framed,
    request_bytes,
};
pub use reply::{Event, MultiResult, Reply, Stat, error_name, multi_results};
pub use request::{Acl, Request, ids, op};
