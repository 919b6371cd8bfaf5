//! Every order of what the observer's thread tells and what others see of it. loom lets no wait time
//! out: a wake-up that is lost leaves nobody to go on, and loom says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use farwatch_core::acl;
use farwatch_core::snapshot::NodeImage;
use farwatch_core::tree::{Applied, Restorer, Tree, TreeOptions, Writer};
use farwatch_core::txn::{NodeKind, Txn, TxnHead};
use farwatch_core::zxid::{SessionId, Zxid};
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::feed::{Next, Subscription};
use super::state::{Beats, State};
use super::{Linked, Lost, Options, WaitError};
use crate::drive::{Embedder, Stands};

/// Where the tree begins, and what comes.
const FIRST: Zxid = Zxid(1);
const SECOND: Zxid = Zxid(2);
const THIRD: Zxid = Zxid(3);

const ROOT: NodeImage<'static> = NodeImage {
    path: b"/",
    data: Some(b""),
    acl: acl::OPEN,
    kind: NodeKind::Persistent,
    czxid: Zxid::ZERO,
    mzxid: Zxid::ZERO,
    pzxid: Zxid::ZERO,
    ctime: 0,
    mtime: 0,
    version: 0,
    cversion: 0,
    aversion: 0,
};

/// The root alone.
fn tree_at(zxid: Zxid) -> (Writer, Arc<Tree>) {
    let mut restorer = Restorer::new(TreeOptions { hash_seed: 1 });
    restorer.push(&ROOT).expect("it is the first");
    restorer.finish(zxid).expect("the root is there")
}

/// The observer's thread.
struct Core {
    writer: Writer,
    beats: Beats,
    applied: Applied,
}

impl Core {
    fn new() -> (Self, Arc<State>) {
        let (writer, tree) = tree_at(FIRST);
        let state = Arc::new(State::new(&tree, &Options::of(Vec::new())));
        let beats = Beats::new(Arc::clone(&state), tree.reader());
        (Self { writer, beats, applied: Applied::default() }, state)
    }

    /// Sets the root's data, and says so.
    fn apply(&mut self, zxid: Zxid) {
        let head = TxnHead { zxid, time_ms: 0, session: SessionId(0), cxid: 0 };
        let txn = Txn::SetData { path: b"/", data: Some(b"new"), version: zxid.0 as i32 };
        self.applied.clear();
        self.writer.apply(&head, &txn, &mut self.applied);
        self.beats.applied(zxid, &self.applied.events);
    }

    fn stand(&mut self) {
        self.beats.stands(Stands { follows: true, stale_ms: 0, versions_kept: 0, tree_bytes: 0 });
    }
}

/// loom waits for it for ever.
fn never() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

#[test]
fn nobody_sleeps_behind_the_turn_that_made_it_ready() {
    loom::model(|| {
        let (mut core, state) = Core::new();
        let waiter = thread::spawn(move || state.wait_ready(SECOND, never()));
        // Nothing more happens behind it.
        core.apply(SECOND);
        core.stand();
        assert_eq!(waiter.join().expect("it does not panic"), Ok(()));
    });
}

#[test]
fn two_that_wait_wake_both() {
    loom::model(|| {
        let (mut core, state) = Core::new();
        core.apply(SECOND);
        let waiters = [(); 2].map(|()| {
            let state = Arc::clone(&state);
            thread::spawn(move || state.wait_ready(SECOND, never()))
        });
        core.stand();
        for waiter in waiters {
            assert_eq!(waiter.join().expect("it does not panic"), Ok(()));
        }
    });
}

#[test]
fn nobody_sleeps_behind_the_end() {
    loom::model(|| {
        let (_core, state) = Core::new();
        let waited = Arc::clone(&state);
        let waiter = thread::spawn(move || waited.wait_ready(SECOND, never()));
        state.end("over".to_owned());
        let ended = WaitError::Ended("over".to_owned());
        assert_eq!(waiter.join().expect("it does not panic"), Err(ended));
    });
}

#[test]
fn a_lag_names_a_state_that_was_there_when_it_was_current() {
    loom::model(|| {
        let (mut core, state) = Core::new();
        let looker = thread::spawn(move || {
            let lag = state.lag();
            assert!(lag.stale.is_none() || SECOND <= lag.zxid);
        });
        core.apply(SECOND);
        core.stand();
        looker.join().expect("what it saw fits together");
    });
}

/// Takes changes of `subscription` until nothing comes any more.
fn changes_until_the_end(subscription: &Subscription) -> Result<Vec<Zxid>, Lost> {
    let mut changes = Vec::new();
    loop {
        match subscription.next(never())? {
            Next::Change(change) => changes.push(change.zxid),
            Next::Nothing => unreachable!("it waits for ever"),
            Next::Ended(_) => return Ok(changes),
        }
    }
}

#[test]
fn a_change_is_told_once_it_is_said_to_be_and_wakes_who_waits_for_it() {
    loom::model(|| {
        let (mut core, state) = Core::new();
        let subscription = Subscription::new(Arc::clone(&state), b"/", None).expect("from now on");
        let reader = thread::spawn(move || {
            let mut next = subscription.next(Instant::now());
            if let Ok(Next::Nothing) = next {
                assert_eq!(subscription.zxid(), FIRST);
                next = subscription.next(never());
            }
            assert!(matches!(next, Ok(Next::Change(change)) if change.zxid == SECOND));
        });
        // Nothing more happens behind it.
        core.apply(SECOND);
        reader.join().expect("it was told");
    });
}

#[test]
fn between_where_a_subscription_begins_and_what_it_tells_is_no_gap() {
    loom::model(|| {
        let (mut core, state) = Core::new();
        let reader = Arc::clone(&state);
        let reader = thread::spawn(move || {
            let subscription =
                Subscription::new(Arc::clone(&reader), b"/", None).expect("from now on");
            let begins = subscription.zxid();
            // What is read behind it shows what it will not tell.
            assert!(begins <= reader.visits.enter().view().zxid());
            let changes = changes_until_the_end(&subscription).expect("the window has room");
            let missed = [SECOND, THIRD].into_iter().filter(|&zxid| begins < zxid);
            assert_eq!(changes, missed.collect::<Vec<_>>());
            assert_eq!(subscription.zxid(), THIRD);
        });
        core.apply(SECOND);
        core.apply(THIRD);
        state.end("over".to_owned());
        reader.join().expect("nothing was missing");
    });
}

#[test]
fn each_change_goes_to_one_of_those_who_share_a_subscription() {
    loom::model(|| {
        let (mut core, state) = Core::new();
        let shared = Subscription::new(Arc::clone(&state), b"/", None).expect("from now on");
        let shared = Arc::new(shared);
        let other = Arc::clone(&shared);
        let other =
            thread::spawn(move || changes_until_the_end(&other).expect("the window has room"));
        let core = thread::spawn(move || {
            core.apply(SECOND);
            state.end("over".to_owned());
        });
        let mut all = changes_until_the_end(&shared).expect("the window has room");
        core.join().expect("it does not panic");
        all.append(&mut other.join().expect("it does not panic"));
        assert_eq!(all, [SECOND]);
    });
}

/// Bells that rang and were not answered yet, and how many ever did.
#[derive(Default)]
struct Rings {
    waiting: Mutex<usize>,
    rang: Condvar,
    ever: Mutex<usize>,
}

impl Rings {
    fn ring(&self) {
        *self.ever.lock().expect("nobody panics with it") += 1;
        *self.waiting.lock().expect("nobody panics with it") += 1;
        self.rang.notify_all();
    }

    fn wait(&self) {
        let mut waiting = self.waiting.lock().expect("nobody panics with it");
        while *waiting == 0 {
            waiting = self.rang.wait(waiting).expect("nobody panics with it");
        }
        *waiting -= 1;
    }
}

#[test]
fn a_bell_rings_once_for_whatever_came_behind_the_look_that_found_nothing() {
    loom::model(|| {
        let (mut core, state) = Core::new();
        let subscription = Subscription::new(Arc::clone(&state), b"/", None).expect("from now on");
        let rings = Arc::new(Rings::default());
        let rung = Arc::clone(&rings);
        subscription.on_more(move || rung.ring());
        let reader = thread::spawn(move || {
            let (mut changes, mut empty) = (Vec::new(), 0);
            // It sleeps for ever when a bell does not ring that should.
            loop {
                rings.wait();
                loop {
                    match subscription.next(Instant::now()).expect("the window has room") {
                        Next::Change(change) => changes.push(change.zxid),
                        Next::Nothing => break,
                        Next::Ended(_) => {
                            assert_eq!(changes, [SECOND, THIRD]);
                            let ever = *rings.ever.lock().expect("nobody panics with it");
                            assert_eq!(ever, empty + 1, "once for each time that it was armed");
                            return;
                        }
                    }
                }
                empty += 1;
            }
        });
        core.apply(SECOND);
        core.apply(THIRD);
        state.end("over".to_owned());
        reader.join().expect("it was told");
    });
}

#[test]
fn a_bell_rings_where_the_history_was_broken_off_though_nothing_comes_behind_that() {
    loom::model(|| {
        let (_core, state) = Core::new();
        let subscription = Subscription::new(Arc::clone(&state), b"/", None).expect("from now on");
        let rings = Arc::new(Rings::default());
        let rung = Arc::clone(&rings);
        let reader = thread::spawn(move || {
            subscription.on_more(move || rung.ring());
            rings.wait();
            assert!(subscription.next(Instant::now()).is_err());
        });
        let (_next_writer, next) = tree_at(THIRD);
        state.show(&next);
        reader.join().expect("it was told");
    });
}

/// A bell is gone when `end` returns, while a change comes.
fn no_bell_rings_behind(end: fn(Subscription) -> Option<Subscription>) {
    loom::model(move || {
        let (mut core, state) = Core::new();
        let subscription = Subscription::new(state, b"/", None).expect("from now on");
        let is_over = Arc::new(Mutex::new(false));
        let looked = Arc::clone(&is_over);
        subscription.on_more(move || assert!(!*looked.lock().expect("nobody panics with it")));
        let core = thread::spawn(move || core.apply(SECOND));
        let left = end(subscription);
        *is_over.lock().expect("nobody panics with it") = true;
        core.join().expect("no bell rang");
        if let Some(left) = left {
            let next = left.next(Instant::now()).expect("the window has room");
            assert!(matches!(next, Next::Change(_)), "it is there without a bell");
        }
    });
}

#[test]
fn no_bell_rings_behind_the_drop_of_its_subscription() {
    no_bell_rings_behind(|subscription| {
        drop(subscription);
        None
    });
}

#[test]
fn no_bell_rings_that_was_taken_away() {
    no_bell_rings_behind(|subscription| {
        subscription.silence();
        Some(subscription)
    });
}

#[test]
fn who_was_silenced_hears_of_the_link_no_more() {
    loom::model(|| {
        let (mut core, state) = Core::new();
        let is_over = Arc::new(Mutex::new(false));
        let looked = Arc::clone(&is_over);
        state.link.on_change(Box::new(move |_linked| {
            assert!(!*looked.lock().expect("nobody panics with it"));
        }));
        let core = thread::spawn(move || core.stand());
        state.link.silence();
        *is_over.lock().expect("nobody panics with it") = true;
        core.join().expect("nobody heard");
        assert!(state.lag().is_linked, "and it is linked all the same");
    });
}

#[test]
fn who_hears_of_the_link_hears_each_change_once_and_the_end_last() {
    loom::model(|| {
        let (mut core, state) = Core::new();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hearing = Arc::clone(&heard);
        let looked = Arc::clone(&state);
        let listener = thread::spawn(move || {
            state.link.on_change(Box::new(move |linked| {
                hearing.lock().expect("nobody panics with it").push(linked);
            }));
        });
        core.stand();
        core.stand();
        looked.end("over".to_owned());
        core.stand(); // it was not stopped yet
        listener.join().expect("it does not panic");
        assert!(!looked.lag().is_linked);
        let heard = heard.lock().expect("nobody panics with it");
        let all = [Linked::No, Linked::Yes, Linked::Ended];
        assert!(!heard.is_empty() && all.ends_with(&heard), "{heard:?}");
    });
}

/// As when the state is replaced: who has read all there was has missed something, too.
#[test]
fn who_waits_for_a_change_is_told_that_the_history_was_broken_off() {
    loom::model(|| {
        let (mut core, state) = Core::new();
        let subscription = Subscription::new(Arc::clone(&state), b"/", None).expect("from now on");
        let reader = thread::spawn(move || {
            let lost = changes_until_the_end(&subscription).expect_err("something was missed");
            assert!(lost.from == FIRST || lost.from == SECOND);
        });
        core.apply(SECOND);
        let (_next_writer, next) = tree_at(THIRD);
        state.show(&next);
        reader.join().expect("it was told");
    });
}

/// A read, and a view that is taken behind it or before it: whoever saw the tree that took the other's place by one
/// of them sees it by the other.
#[test]
fn a_thread_sees_no_older_tree_by_a_read_than_by_a_view_before_it_nor_the_other_way() {
    loom::model(|| {
        let (_core, state) = Core::new();
        let looker = Arc::clone(&state);
        let reader = thread::spawn(move || {
            let by_read = || looker.visits.enter().view().zxid();
            let by_view = || looker.tree().applied();
            let (first, second, third) = (by_view(), by_read(), by_view());
            assert!(first <= second && second <= third, "{first} {second} {third}");
        });
        let (_next_writer, next) = tree_at(THIRD);
        state.show(&next);
        reader.join().expect("it went on");
    });
}
