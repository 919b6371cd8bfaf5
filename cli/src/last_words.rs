//! A panic on any thread ends the whole server.
//!
//! A panic is a bug of ours that was caught in time. The thread that it happened on served clients, wrote
//! the log or applied the history; without it the others would go on as if all were well: clients of a
//! dead reactor would wait for ever, and what is meant for it would pile up. Ended at once, the process
//! is started again and recovers; nothing that was acknowledged is lost.

use std::panic;
use std::process;

/// From now on a panic says what it has to say and then aborts the process.
pub fn end_with_any_panic() {
    let say = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        say(panic);
        eprintln!(
            "farwatch: this is a bug, and the server stops rather than go on without one of its threads. \
             Start it again: what was acknowledged is on disk. Please report the lines above"
        );
        process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::thread;

    /// Set in the process that is to die.
    const VICTIM: &str = "FARWATCH_TEST_PANIC_VICTIM";

    #[test]
    fn a_panic_on_any_thread_ends_the_process() {
        if std::env::var_os(VICTIM).is_some() {
            super::end_with_any_panic();
            let _panicked = thread::spawn(|| panic!("one thread of many")).join();
            return; // with success, which would be the bug
        }
        let name = "last_words::tests::a_panic_on_any_thread_ends_the_process";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(VICTIM, "1")
            .output()
            .unwrap();
        assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{:?}", child.status);
        let said = String::from_utf8_lossy(&child.stderr).into_owned();
        assert!(said.contains("one thread of many") && said.contains("Start it again"), "{said}");
    }
}
