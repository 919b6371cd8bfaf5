//! The last descriptors that a process may have are kept for what the server itself opens: the log's next
//! segment, snapshots, epochs, links to listed servers. Without one of them it cannot go on; without
//! another client or guest it can.

use std::os::fd::{AsFd, AsRawFd};

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
    let Some(limit) = getrlimit(Resource::Nofile).current else { return false };
    let number = accepted.as_fd().as_raw_fd();
    kept_from(whom, limit, servers as u64) <= number.unsigned_abs().into()
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
mod tests {
    use super::*;

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
