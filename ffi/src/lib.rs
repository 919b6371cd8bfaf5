//! libfarwatch: the C ABI of the client, its recipes, and of an observer in the process.
//!
//! ```text
//! C ──► entry point ──► guard: panic caught, null and handle checked ──► the crate that does it
//!   ◄── fw_status, output pointers last, written on success only ◄──┘
//! ```
//!
//! Every type that C sees is a pointer to something that only this library looks into. [`guard`]
//! holds every trick; the other modules are one C type each. The header is written from this
//! source, so that what is said here to C's programmers is said once.
#![deny(missing_docs)]
#![allow(non_camel_case_types, reason = "names are C's")]
#![allow(clippy::missing_safety_doc, reason = "the rules for pointers are one text: `guard`")]

#[macro_use]
pub mod guard;
pub mod acl;
pub mod bytes;
pub mod callback;
pub mod children;
pub mod client;
pub mod config;
pub mod election;
pub mod error;
pub mod event;
pub mod feed;
pub mod fence;
pub mod grant;
pub mod link;
pub mod lock;
pub mod node;
pub mod observer;
pub mod op;
pub mod queue;
pub mod recipes;
pub mod reserve;
pub mod result;
pub mod session;
pub mod status;
pub mod stay;
pub mod tenure;
pub mod version;
pub mod view;
pub mod watch;
