//! What the writers together were told, judged while they write and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::audit::Tree;
use super::servers::{PATIENCE, until};

/// The node that all writers compare and set.
pub const SHARED: &str = "/shared";

/// The parent of everybody's sequential nodes.
pub const SEQUENCE: &str = "/seq";

/// One write that was acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub what: String,
    pub began: Instant,
    pub ended: Instant,
    pub zxid: i64,
}

/// What is common to all writers of an ensemble.
#[derive(Default)]
pub struct Ledger {
    acknowledged: Mutex<Vec<Acknowledged>>,
    count: AtomicU64,
    /// Each version of [`SHARED`] that anybody saw or made, with its value.
    shared: Mutex<BTreeMap<i32, String>>,
    /// Paths and values of sequential nodes that were acknowledged.
    sequence: Mutex<BTreeMap<String, String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// Takes an acknowledgement down.
    pub fn acknowledge(&self, what: String, began: Instant, zxid: i64) {
        let ended = Instant::now();
        lock(&self.acknowledged).push(Acknowledged { what, began, ended, zxid });
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many writes were acknowledged.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until `more` writes were acknowledged from now on.
    #[track_caller]
    pub fn until_more(&self, more: u64) {
        let upto = self.count() + more;
        until(&format!("{more} more writes are acknowledged"), PATIENCE, || upto <= self.count());
    }

    /// One version of the shared node has one value, whoever looks, and goes on from the one before.
    pub fn saw_shared(&self, version: i32, value: &str) {
        let mut shared = lock(&self.shared);
        let known = shared.entry(version).or_insert_with(|| value.to_owned());
        assert_eq!(known, value, "version {version} of {SHARED} has two values: a fork");
        if let Some(before) = shared.get(&(version - 1)) {
            let (_, named) = value.split_once('<').expect("its own name and the one before");
            let (own, _) = before.split_once('<').expect("its own name and the one before");
            assert_eq!(named, own, "version {version} of {SHARED} does not follow the one before");
        }
    }

    /// A sequential node is acknowledged.
    pub fn saw_sequential(&self, path: String, value: String) {
        let before = lock(&self.sequence).insert(path.clone(), value);
        assert_eq!(before, None, "{path} was given to two");
    }

    /// Everything that can be judged without a server.
    pub fn judge(&self) {
        let mut all = lock(&self.acknowledged).clone();
        all.sort_unstable_by_key(|one| one.zxid);
        for pair in all.windows(2) {
            assert!(
                pair[0].zxid < pair[1].zxid,
                "{} and {} have one zxid: {pair:?}",
                pair[0].what,
                pair[1].what
            );
        }
        // In real time: what began behind the end of another one has a newer place.
        let mut ends: Vec<(Instant, i64)> = all.iter().map(|one| (one.ended, one.zxid)).collect();
        ends.sort_unstable();
        all.sort_unstable_by_key(|one| one.began);
        let (mut done, mut newest) = (0, 0);
        for one in &all {
            while ends.get(done).is_some_and(|(ended, _)| *ended < one.began) {
                newest = newest.max(ends[done].1);
                done += 1;
            }
            assert!(
                newest < one.zxid,
                "{one:?} was acknowledged after {newest:#x}: a server that no longer leads did it"
            );
        }
    }

    /// Everything that was acknowledged is in the tree, and nothing twice.
    pub fn compare(&self, tree: &Tree) {
        let shown = tree.get(SHARED).expect("it was never deleted");
        for (version, value) in lock(&self.shared).iter() {
            assert!(*version <= shown.stat.version, "version {version} of {SHARED} is lost");
            assert!(*version < shown.stat.version || *value == shown.text(), "a fork of {SHARED}");
        }
        let mut values = BTreeSet::new();
        for (path, node) in tree.iter().filter(|(path, _)| path.starts_with("/seq/")) {
            assert!(values.insert(node.text()), "{path}: what was asked for once was done twice");
        }
        for (path, value) in lock(&self.sequence).iter() {
            let found = tree.get(path).unwrap_or_else(|| panic!("{path} is lost"));
            assert_eq!(&found.text(), value, "{path} is somebody else's");
        }
    }

    /// The gaps between acknowledgements since `from`: the longest one and how many there were.
    pub fn longest_gap(&self, from: Instant, upto: Instant) -> Duration {
        let all = lock(&self.acknowledged);
        let mut ends: Vec<Instant> = all.iter().map(|one| one.ended).collect();
        ends.retain(|ended| (from..=upto).contains(ended));
        ends.push(from);
        ends.push(upto);
        ends.sort_unstable();
        ends.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}
