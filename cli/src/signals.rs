//! SIGTERM, SIGINT and SIGHUP as one call on a thread of its own.
//!
//! The signals are blocked before any other thread starts, and threads inherit that. So no handler
//! ever runs in the middle of something; one thread waits for them and may do what it likes.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::thread;

/// The signals that ask a server to stop. SIGHUP is that of a terminal that was closed; `nohup` has it ignored.
const STOP: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// SIGTERM, SIGINT and SIGHUP, blocked in this thread and in all that it starts from now on.
#[must_use = "blocked signals that nobody waits for make the process deaf"]
pub struct StopSignals(libc::sigset_t);

impl StopSignals {
    /// Blocks them. Call it before any thread is started.
    pub fn block() -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigemptyset` initializes the set that it is given and fails on nothing else.
        let mut set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            set.assume_init()
        };
        for signal in STOP {
            // A blocked signal would arrive even so.
            if is_ignored(signal) {
                continue;
            }
            // SAFETY: `set` is initialized and `signal` is a valid signal number.
            unsafe { libc::sigaddset(&mut set, signal) };
        }
        // SAFETY: `set` is initialized; a null pointer says that the old mask is not wanted.
        let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut()) };
        if error == 0 { Ok(Self(set)) } else { Err(io::Error::from_raw_os_error(error)) }
    }

    /// Starts the thread that waits for the first of them and then calls `stop` with its name. The
    /// second one ends the process at once: whoever sends it does not want to wait for a drain.
    pub fn on_stop(self, stop: impl FnOnce(&'static str) + Send + 'static) -> io::Result<()> {
        let waiter = thread::Builder::new().name("signals".to_owned());
        waiter.spawn(move || {
            stop(name(self.wait()));
            let second = self.wait();
            std::process::exit(128 + second);
        })?;
        Ok(())
    }

    fn wait(&self) -> libc::c_int {
        let mut signal = 0;
        // SAFETY: both pointers are to initialized values that live through the call.
        let error = unsafe { libc::sigwait(&self.0, &mut signal) };
        assert_eq!(error, 0, "sigwait fails only on an invalid set");
        signal
    }
}

/// Whether whoever started this process wants it to go on when `signal` comes.
fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null pointer changes nothing; the other one is to room for what is the case now.
    let error = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: it was written where there was no error.
    error == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

fn name(signal: libc::c_int) -> &'static str {
    match signal {
        libc::SIGTERM => "SIGTERM",
        libc::SIGHUP => "SIGHUP",
        _ => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use super::{StopSignals, name};

    #[test]
    fn a_blocked_signal_waits_until_it_is_asked_for() {
        let all = [(libc::SIGTERM, "SIGTERM"), (libc::SIGINT, "SIGINT"), (libc::SIGHUP, "SIGHUP")];
        for (signal, expected) in all {
            let signals = StopSignals::block().unwrap();
            // SAFETY: `raise` takes any signal; this one is blocked in this thread, which it is
            // sent to, so that it ends nothing.
            assert_eq!(unsafe { libc::raise(signal) }, 0);
            assert_eq!(name(signals.wait()), expected);
        }
    }
}
