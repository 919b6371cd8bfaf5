//! The library as C sees it: its header, its symbols, and programs against a real server.
//!
//! A debug build is tested, whose handles tell a use after free. `ffi/examples/run` tests what is
//! installed, under valgrind and sanitizers.

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
