//! The library as C sees it: its header, its symbols, and programs against a real server.
//!
//! A debug build is tested, whose handles tell a use after free; `program.rs` says how its programs run under
//! valgrind and sanitizers. `ffi/examples/run` tests what is installed, under both.

mod abi;
mod bench;
mod cpp;
mod fresh;
mod header;
mod hostile;
mod killed;
mod man;
mod observer;
mod program;
mod programs;
mod random_calls;
mod scarcity;
mod server;
#[path = "../../../client/tests/it/way.rs"]
mod way;
