//! What all threads of a server share: settings, counters, and a few numbers that only grow.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use farwatch_core::acl::Identity;
use farwatch_core::auth::AuthOptions;
use farwatch_core::limits::WRITES_OUTSTANDING_MAX;
use farwatch_core::session::TimeoutLimits;
use farwatch_core::tree::Tree;
use farwatch_core::zxid::Zxid;

use crate::config::ServerConfig;
use crate::config_node::ConfigNode;
use crate::four_letter::counters::ServerCounters;
use crate::inbox::ToReactor;
use crate::port::Port;

/// Shared by reactors, core and background threads. Only counters are written on the data path.
pub struct Shared {
    /// As the operator set it.
    pub config: ServerConfig,
    /// What clients see of the ensemble; `None` for a server alone.
    pub config_node: Option<ConfigNode>,
    /// One block for each thread: reactors by their number, the core's last.
    pub counters: ServerCounters,
    /// Writes and the like that were handed to the core and not yet answered.
    pub outstanding: AtomicUsize,
    /// Bytes of records that are proposed and not applied, as of the core's last turn.
    pub unapplied_bytes: AtomicUsize,
    /// Bytes that reactors handed over and the core has not looked at: they count as waiting too, or
    /// a core that is busy would be sent without limit.
    pub in_transit_bytes: AtomicUsize,
    /// The server is to stop. The core looks at it behind every message that it has taken.
    pub is_stop_asked: AtomicBool,
    /// Beyond it, connections with something outstanding are not read.
    pub outstanding_max: usize,
    /// When the process began to serve.
    pub started: Instant,
    /// Seeds tables whose keys clients choose.
    pub hash_seed: u64,
    /// What auth packets are checked against.
    pub auth: AuthOptions,
    /// Between which bounds session timeouts are negotiated.
    pub timeout_limits: TimeoutLimits,
    /// The identities of the server's own asks.
    pub no_identities: Arc<[Identity]>,
    visible: Visible,
    tree: Arc<Tree>,
    addresses: Mutex<Addresses>,
    /// Kept for `stmk` and `gtmk`; nothing is traced by it.
    trace_mask: AtomicU64,
    /// The inboxes of reactors on threads of their own.
    reactors: OnceLock<Vec<Arc<Port<ToReactor>>>>,
}

/// Every reactor's inbox has what was applied up to here. No reply to a write leaves before, and
/// no read is answered from an older state: so a read that begins after a write was
/// acknowledged sees it, also on another reactor.
struct Visible(#[cfg(not(loom))] AtomicU64, #[cfg(loom)] loom::sync::atomic::AtomicU64);

impl Visible {
    fn new(upto: Zxid) -> Self {
        Self(upto.0.into())
    }

    /// Acquire: who sees the number finds what was put into the inboxes up to it, and the tree as far.
    fn get(&self) -> Zxid {
        Zxid(self.0.load(Ordering::Acquire))
    }

    fn set(&self, upto: Zxid) {
        self.0.store(upto.0, Ordering::Release);
    }
}

/// Open connections, in all and by client address. Touched once for each connection.
#[derive(Default)]
struct Addresses {
    all: u32,
    by_ip: HashMap<IpAddr, u32>,
}

impl Shared {
    /// The shared state of a server over `tree`.
    pub fn new(config: ServerConfig, tree: Arc<Tree>, threads: usize) -> Arc<Self> {
        let authentication = &config.authentication;
        let auth = AuthOptions {
            digest_enabled: authentication.digest_enabled,
            digest_algorithm: authentication.digest_algorithm,
            super_digest: authentication.super_digest.clone(),
            ensemble_names: authentication.ensemble_names.clone(),
        };
        let timeout_limits = TimeoutLimits {
            min_ms: i32::try_from(config.session_timeout_ms_min).unwrap_or(i32::MAX),
            max_ms: i32::try_from(config.session_timeout_ms_max).unwrap_or(i32::MAX),
        };
        let limit = config.outstanding_requests_max as usize;
        Arc::new(Self {
            counters: ServerCounters::new(threads),
            outstanding: AtomicUsize::new(0),
            unapplied_bytes: AtomicUsize::new(0),
            in_transit_bytes: AtomicUsize::new(0),
            is_stop_asked: AtomicBool::new(false),
            // ZooKeeper's default of 1000 would not fill one log batch of deep pipelines; an
            // operator who sets another number gets that one.
            outstanding_max: if limit == OUTSTANDING_DEFAULT {
                WRITES_OUTSTANDING_MAX
            } else {
                limit
            },
            started: Instant::now(),
            hash_seed: u64::from_ne_bytes(random()),
            auth,
            timeout_limits,
            no_identities: Arc::from([]),
            visible: Visible::new(tree.applied()),
            tree,
            addresses: Mutex::default(),
            trace_mask: AtomicU64::new(TRACE_MASK),
            reactors: OnceLock::new(),
            config_node: ConfigNode::new(&config, wall_ms()),
            config,
        })
    }

    /// The last transaction that is wholly in the tree.
    pub fn applied(&self) -> Zxid {
        self.tree.applied()
    }

    /// What every reactor's inbox has at least.
    pub fn visible(&self) -> Zxid {
        self.visible.get()
    }

    /// Says that every reactor's inbox has everything up to `upto`.
    pub fn set_visible(&self, upto: Zxid) {
        self.visible.set(upto);
    }

    /// The tree.
    pub fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// The inboxes of reactors on threads of their own; none when all is on one thread.
    pub fn reactors(&self) -> &[Arc<Port<ToReactor>>] {
        self.reactors.get().map_or(&[], Vec::as_slice)
    }

    /// Names the reactors, once, before anything is accepted.
    pub fn set_reactors(&self, inboxes: Vec<Arc<Port<ToReactor>>>) {
        assert!(self.reactors.set(inboxes).is_ok(), "reactors are named once");
    }

    /// What `gtmk` shows.
    pub fn trace_mask(&self) -> u64 {
        self.trace_mask.load(Ordering::Relaxed)
    }

    /// What `stmk` sets.
    pub fn set_trace_mask(&self, mask: u64) {
        self.trace_mask.store(mask, Ordering::Relaxed);
    }

    /// Wall clock, milliseconds since 1970.
    pub fn wall_ms(&self) -> i64 {
        wall_ms()
    }

    /// Fresh bytes that nobody can guess.
    pub fn random_bytes(&self) -> [u8; 16] {
        random()
    }

    /// Counts a connection in. False: a limit is reached and the connection must be closed.
    pub fn admit(&self, ip: IpAddr) -> bool {
        let mut addresses = self.addresses.lock().expect("no holder of this lock panics");
        let (all_max, ip_max) = (self.config.connections_max, self.config.client_connections_max);
        let from_ip = addresses.by_ip.get(&ip).copied().unwrap_or(0);
        if (all_max != 0 && addresses.all >= all_max) || (ip_max != 0 && from_ip >= ip_max) {
            return false;
        }
        addresses.all += 1;
        addresses.by_ip.insert(ip, from_ip + 1);
        true
    }

    /// Counts a connection out.
    pub fn release(&self, ip: IpAddr) {
        let mut addresses = self.addresses.lock().expect("no holder of this lock panics");
        addresses.all -= 1;
        if let Some(count) = addresses.by_ip.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                addresses.by_ip.remove(&ip);
            }
        }
    }

    /// Open client connections.
    pub fn connections(&self) -> u32 {
        self.addresses.lock().expect("no holder of this lock panics").all
    }

    /// Requests that the core has not answered yet.
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }
}

/// ZooKeeper's default trace mask, which `gtmk` shows as 306.
const TRACE_MASK: u64 = 306;

/// ZooKeeper's default of `globalOutstandingLimit`.
const OUTSTANDING_DEFAULT: usize = 1000;

/// Wall clock, milliseconds since 1970; before 1970 it is 0.
pub fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Fresh bytes from the kernel.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let flags = rustix::rand::GetRandomFlags::empty();
        // The kernel only fails here when it was interrupted before its pool was first filled.
        filled += rustix::rand::getrandom(&mut bytes[filled..], flags).unwrap_or(0);
    }
    bytes
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::thread;

    /// Two reactors in small: an inbox is the last zxid that was pushed into it. One acknowledges the
    /// write, the client reads from the other.
    #[test]
    fn a_read_behind_an_acknowledged_write_finds_it_in_its_own_inbox() {
        loom::model(|| {
            let visible = Arc::new(Visible::new(Zxid(1)));
            let inbox = Arc::new(loom::sync::atomic::AtomicU64::new(1));
            let acknowledged = Arc::new(loom::sync::atomic::AtomicBool::new(false));
            let replies = {
                let (visible, acknowledged) = (visible.clone(), acknowledged.clone());
                thread::spawn(move || {
                    if visible.get() == Zxid(2) {
                        acknowledged.store(true, Ordering::Release);
                    }
                })
            };
            let reads = {
                let (visible, inbox) = (visible.clone(), inbox.clone());
                thread::spawn(move || {
                    let is_behind = acknowledged.load(Ordering::Acquire);
                    let upto = visible.get();
                    assert!(!is_behind || upto == Zxid(2));
                    // As far as it has to be caught up with.
                    assert!(upto.0 <= inbox.load(Ordering::Relaxed));
                })
            };
            inbox.store(2, Ordering::Relaxed);
            visible.set(Zxid(2));
            replies.join().expect("it does not panic");
            reads.join().expect("nothing was missing");
        });
    }
}
