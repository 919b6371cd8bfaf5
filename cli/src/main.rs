//! `farwatch`: one binary that serves, asks, and looks into files.

use std::process::ExitCode;

mod config_file;

fn main() -> ExitCode {
    ExitCode::SUCCESS
}
