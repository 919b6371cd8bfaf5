//! `cargo bench`, as whoever has just got the source says it: all that `bench/benches` has, in about ten
//! minutes, with the server that cargo has built for this.
//!
//! The benches are no part of this crate, which alone is built by default: so they are asked for by name, by the same
//! cargo with the same flags (`farwatch_bench::cargo`).

use std::env;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

use farwatch_bench::cargo::Cargo;

fn main() -> ExitCode {
    let status = benches(&Cargo::again(), env::args_os().skip(1)).status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo does not start: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All of them, with what this was asked for.
fn benches(cargo: &Cargo, arguments: impl Iterator<Item = OsString>) -> Command {
    // What cargo itself added; it does so again. Without it this is a trial, of `cargo test --benches`.
    let is_bench = |argument: &OsString| argument == "--bench";
    let (benches, mut arguments): (Vec<_>, Vec<_>) = arguments.partition(is_bench);
    if benches.is_empty() {
        arguments.push("--test".into());
    }
    let mut command = cargo.command("bench");
    command
        // One that fails, such as a count of instructions, takes nothing of the others along.
        .args(["--package", "farwatch-bench", "--no-fail-fast", "--"])
        .args(arguments)
        .env("FARWATCH_BIN", env!("CARGO_BIN_EXE_farwatch"));
    command
}
