//! The last descriptors that a process may have are kept for what the server itself opens: the log's next
//! segment, snapshots, epochs, links to listed servers. Without one of them it cannot go on; without
//! another client or guest it can.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use rustix::process::{Resource, getrlimit};

/// Descriptors that clients leave: half for guests, of which a server can do without any, and half for
/// itself, which opens a dozen files and takes 32 connections of peers that have not said who they are.
const KEPT: u64 = 96;

/// Who asks for a descriptor that the server could do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// A client.
    Client,
    /// Another server, unless it is listed.
    Guest,
}

/// Whether `accepted` is a descriptor that this process keeps from `whom`, which leaves one more for each
/// of `servers` that the ensemble lists. New descriptors take the lowest number that is free, so that
/// all below it are taken. The limit is looked up each time: an operator may raise it meanwhile.
pub fn is_kept_from(whom: For, accepted: impl AsFd, servers: usize) -> bool {
    is_beyond(whom, servers as u64, accepted.as_fd().as_raw_fd())
}

/// Whether `number` is one of those that even guests leave, for who needs a descriptor for a moment only: many
/// that do so at once would have all that are kept, just when the log needs one.
pub fn is_scarce(number: RawFd) -> bool {
    is_beyond(For::Guest, 0, number)
}

fn is_beyond(whom: For, servers: u64, number: RawFd) -> bool {
    let limit = getrlimit(Resource::Nofile).current;
    limit.is_some_and(|limit| kept_from(whom, limit, servers) <= number.unsigned_abs().into())
}

/// The lowest number that is kept, of `limit` in all. Where there are few, half of them are for clients.
fn kept_from(whom: For, limit: u64, servers: u64) -> u64 {
    let (kept, share) = match whom {
        For::Client => (KEPT, limit / 2),
        For::Guest => (KEPT / 2, limit / 4),
    };
    limit - (kept + servers).min(share)
}

#[cfg(test)]
pub mod tests {
    use std::fs::File;
    use std::process::Command;
    use std::rc::Rc;

    use rustix::process::{Rlimit, setrlimit};

    use super::*;
    use crate::runtime;

    /// Set in the process that has few descriptors.
    const CHILD: &str = "FARWATCH_TEST_FEW_DESCRIPTORS";

    /// Tasks that need a descriptor each, and more than there are.
    const MANY: usize = 300;

    /// Runs so many of `task` on one thread, by epoll, each up to where it waits, and holds that as many files can
    /// be opened then as are kept. All in another process, the test of this name, which has few descriptors.
    pub fn leaves_descriptors<F: Future<Output = ()> + 'static>(name: &str, task: fn() -> F) {
        if std::env::var_os(CHILD).is_none() {
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name, "--nocapture"])
                .env(CHILD, "1")
                .output()
                .unwrap();
            let said = [child.stdout, child.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(child.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let limit = Some(2 * KEPT);
        setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
        let ran = runtime::block_on(false, |_| async {
            let ended = Rc::new(std::cell::Cell::new(0));
            for _ in 0..MANY {
                let ended = Rc::clone(&ended);
                runtime::spawn(async move {
                    task().await;
                    ended.set(ended.get() + 1);
                });
            }
            let opened = Rc::new(std::cell::Cell::new(None));
            let seen = Rc::clone(&opened);
            runtime::spawn(async move {
                let files = (0..KEPT / 2).map_while(|_| File::open("/dev/null").ok());
                seen.set(Some(files.collect::<Vec<_>>().len() as u64));
            });
            while ended.get() < MANY {
                runtime::sleep(std::time::Duration::from_millis(1)).await;
            }
            assert_eq!(opened.get(), Some(KEPT / 2));
        });
        ran.expect("a runtime");
    }

    #[test]
    fn turns_leave_descriptors() {
        leaves_descriptors("descriptors::tests::turns_leave_descriptors", runtime::turn);
    }

    #[test]
    fn clients_leave_a_few_descriptors_and_guests_fewer() {
        assert_eq!(kept_from(For::Client, 1024, 0), 928);
        assert_eq!(kept_from(For::Client, 1024, 5), 923);
        assert_eq!(kept_from(For::Guest, 1024, 5), 971);
        assert_eq!(kept_from(For::Client, 100, 5), 50);
        assert_eq!(kept_from(For::Guest, 100, 5), 75);
        assert_eq!(kept_from(For::Client, u64::MAX, 5), u64::MAX - 101);
        assert_eq!(kept_from(For::Client, 0, 5), 0);
    }
}
