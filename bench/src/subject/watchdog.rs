//! Ends a server when the process that started it ends.
//!
//! Servers shared by all tests of a binary live in statics, which are never dropped, and a test
//! process can be killed. The watchdog is a shell that waits for the end of its standard input,
//! which the kernel closes with the starting process, then kills the server and removes its
//! directory.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// SIGINT from a terminal reaches the shell as well; it must survive it to do its work.
const SCRIPT: &str = "trap '' INT; read _; kill -9 \"$1\"; rm -rf \"$2\"";

/// Disarmed on drop.
#[derive(Debug)]
pub(super) struct Watchdog {
    shell: Child,
}

impl Watchdog {
    pub(super) fn over(pid: u32, directory: &Path) -> Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh", &pid.to_string()])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("no shell to watch over the server")?;
        Ok(Self { shell })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // SIGKILL comes before the pipe closes, so the script cannot go on behind its `read`.
        let killed = self.shell.kill().and_then(|()| self.shell.wait());
        if let Err(error) = killed {
            eprintln!("a watchdog may have been left running: {error}");
        }
    }
}
