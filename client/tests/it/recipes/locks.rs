use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use farwatch_client::recipes::{Fence, FencingToken, Lock, RecipeError, Standing};
use farwatch_client::{Acl, ClientError, CreateMode};

use super::{Counting, await_children, fresh, shortly, soon};
use crate::server::client_below;

#[test]
fn eight_threads_exclude_each_other_and_their_tokens_only_grow() {
    const THREADS: u64 = 8;
    const ROUNDS: u64 = 25;
    let (root, client) = fresh();
    let guarded = AtomicU64::new(0);
    let (fence, tokens) = (Fence::default(), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let lock = Lock::new(&client_below(&root), "/locks/one");
                for _ in 0..ROUNDS {
                    let guard = lock.acquire(soon()).unwrap();
                    // A read and a write with room between them: two at once would lose one.
                    let before = guarded.load(Ordering::SeqCst);
                    fence.admit(guard.check().unwrap()).unwrap();
                    tokens.lock().unwrap().push(guard.token());
                    thread::yield_now();
                    guarded.store(before + 1, Ordering::SeqCst);
                    guard.release(soon()).unwrap();
                }
            });
        }
    });
    assert_eq!(guarded.into_inner(), THREADS * ROUNDS);
    let tokens = tokens.into_inner().unwrap();
    assert!(tokens.windows(2).all(|pair| pair[0] < pair[1]), "{tokens:?}");
    assert_eq!(fence.largest(), *tokens.last().unwrap());
    assert!(fence.admit(tokens[0]).is_err());
    assert_eq!(client.children("/locks/one", false).unwrap().names, [""; 0]);
}

#[test]
fn threads_of_one_session_exclude_each_other_too() {
    let (_root, client) = fresh();
    let guarded = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let guard = Lock::new(&client, "/one").acquire(soon()).unwrap();
                    let before = guarded.load(Ordering::SeqCst);
                    thread::yield_now();
                    guarded.store(before + 1, Ordering::SeqCst);
                    drop(guard); // released behind our back, and in order all the same
                }
            });
        }
    });
    assert_eq!(guarded.into_inner(), 40);
}

#[test]
fn a_release_wakes_exactly_one_of_those_that_wait() {
    const WAITING: usize = 8;
    let (root, client) = fresh();
    let mut holder = Lock::new(&client, "/one").acquire(soon()).unwrap();
    let waiting: Vec<Counting> = (0..WAITING).map(|_| Counting::below(&root)).collect();
    let (sender, acquired) = mpsc::channel();
    thread::scope(|scope| {
        for (number, counting) in waiting.iter().enumerate() {
            let sender = sender.clone();
            scope.spawn(move || {
                let guard = Lock::new(&counting.client, "/one").acquire(soon()).unwrap();
                sender.send((number, guard)).unwrap();
            });
            // One after the other, so that the line is known.
            await_children(&client, "/one", number + 2);
        }
        await_watches(&waiting);
        for turn in 0..WAITING {
            let before: Vec<usize> = waiting.iter().map(Counting::told).collect();
            holder.release(soon()).unwrap();
            let (number, next) = acquired.recv_timeout(Duration::from_secs(60)).unwrap();
            assert_eq!(number, turn, "the line is kept");
            let woken: Vec<usize> =
                waiting.iter().zip(&before).map(|(it, before)| it.told() - before).collect();
            // The one whose turn it is; the one before has seen its own node go.
            let others: usize = woken.iter().skip(turn).sum();
            assert_eq!((woken[turn], others), (1, 1), "{woken:?}");
            holder = next;
        }
        holder.release(soon()).unwrap();
    });
}

/// Waits until each has its watch: then none of them asks anything any more.
fn await_watches(waiting: &[Counting]) {
    for counting in waiting {
        let names = counting.client.children("/one", false).unwrap().names;
        let own = counting.client.get_ephemerals("/one").unwrap().remove(0);
        let mut before: Vec<&str> = names.iter().map(|name| &name[name.len() - 10..]).collect();
        before.sort_unstable();
        before.retain(|&counter| counter < &own[own.len() - 10..]);
        let counter = before.last().expect("the holder at least");
        let name = names.iter().find(|name| name.ends_with(counter)).expect("it is there");
        let (path, kind) = (format!("/one/{name}"), farwatch_client::WatchKind::Data);
        let deadline = soon();
        while !counting.client.check_watches(&path, kind).unwrap() {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
    }
}

#[test]
fn a_try_takes_a_free_lock_and_leaves_nothing_at_a_held_one() {
    let (root, client) = fresh();
    let other = client_below(&root);
    let lock = Lock::new(&client, "/one");
    let held = Lock::new(&other, "/one").try_acquire(Duration::ZERO, soon()).unwrap().unwrap();
    for patience in [Duration::ZERO, Duration::from_millis(50)] {
        let begun = Instant::now();
        assert!(lock.try_acquire(patience, soon()).unwrap().is_none());
        assert!(begun.elapsed() >= patience);
        assert_eq!(client.children("/one", false).unwrap().names.len(), 1);
    }
    // A deadline instead of patience fails, and the node is on its way out.
    let failed = lock.acquire(shortly());
    assert_eq!(failed.map(drop), Err(RecipeError::Deadline));
    await_children(&client, "/one", 1);
    held.release(soon()).unwrap();
    assert!(lock.try_acquire(Duration::ZERO, soon()).unwrap().is_some());
}

#[test]
fn nodes_of_other_libraries_are_waited_for_by_their_counters() {
    let (root, client) = fresh();
    let stranger = client_below(&root);
    client.create("/one", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    // Names that sort behind and before ours as text.
    let create = |prefix: &str| {
        let path = format!("/one/{prefix}");
        stranger.create(&path, b"", &Acl::open(), CreateMode::EphemeralSequential).unwrap().path
    };
    let (kazoo, curator) = (create("ffff__lock__"), create("_c_ffff-lock-"));
    stranger.create("/one/lease", b"", &Acl::open(), CreateMode::Ephemeral).unwrap();
    let (sender, done) = mpsc::channel();
    let waiting = client.clone();
    let thread = thread::spawn(move || {
        let guard = Lock::new(&waiting, "/one").acquire(soon()).unwrap();
        sender.send(()).unwrap();
        guard
    });
    await_children(&client, "/one", 4);
    let behind = create("0000__lock__");
    stranger.delete(&kazoo, -1).unwrap();
    stranger.sync("/").unwrap();
    assert!(done.try_recv().is_err(), "the other one is in front still");
    stranger.delete(&curator, -1).unwrap();
    done.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(client.exists(&behind, false).unwrap().is_some());
    thread.join().unwrap().release(soon()).unwrap();
}

#[test]
fn a_holder_whose_node_is_deleted_is_told_once() {
    let (root, client) = fresh();
    let guard = Lock::new(&client, "/one").acquire(soon()).unwrap();
    let (sender, told) = mpsc::channel();
    guard.on_change(move |standing| sender.send(standing).unwrap());
    assert_eq!(guard.standing(), Standing::Held);
    client_below(&root).delete(guard.path(), -1).unwrap();
    assert_eq!(told.recv_timeout(Duration::from_secs(60)).unwrap(), Standing::Lost);
    assert_eq!(guard.check(), Err(RecipeError::Lost));
    assert_eq!(guard.lease_valid_until(), None);
    let (sender, late) = mpsc::channel();
    guard.on_change(move |standing| sender.send(standing).unwrap());
    assert_eq!(late.try_recv().unwrap(), Standing::Lost, "told at once when it is too late");
    assert_eq!(guard.release(soon()), Err(RecipeError::Lost));
    assert!(told.recv().is_err(), "nothing else is told");
}

#[test]
fn a_callback_must_not_wait_and_is_told_so() {
    let (_root, client) = fresh();
    let lock = Lock::new(&client, "/one");
    let (sender, result) = mpsc::channel();
    let path = farwatch_client::Operation::Sync { path: "/".to_owned() };
    client.submit(&path, move |_| sender.send(lock.acquire(soon()).map(drop)).unwrap()).unwrap();
    let inside = RecipeError::Client(ClientError::InsideCallback);
    assert_eq!(result.recv_timeout(Duration::from_secs(60)).unwrap(), Err(inside));
}

#[test]
fn a_token_orders_holders_over_sessions() {
    let (root, client) = fresh();
    let mut last = FencingToken(0);
    for _ in 0..3 {
        let other = client_below(&root);
        for client in [&client, &other] {
            let guard = Lock::new(client, "/one").acquire(soon()).unwrap();
            assert!(last < guard.token());
            last = guard.token();
            drop(guard);
        }
        other.close().unwrap();
    }
}

#[test]
fn a_chroot_that_is_not_there_is_an_error_and_not_a_wait() {
    let (root, _client) = fresh();
    let client = client_below(&format!("{root}/missing"));
    let no_node = RecipeError::Client(ClientError::Server(farwatch_client::ErrorCode::NoNode));
    for path in ["/", "/one", "/some/where"] {
        let failed = Lock::new(&client, path).acquire(soon()).map(drop);
        assert_eq!(failed, Err(no_node.clone()), "{path}");
    }
}

#[test]
fn a_release_is_done_when_it_returns_whoever_else_looks() {
    let (root, client) = fresh();
    let observer = client_below(&root);
    for _ in 0..20 {
        let guard = Lock::new(&client, "/one").acquire(soon()).unwrap();
        thread::scope(|scope| {
            let looking = scope.spawn(|| while guard.check().is_ok() {});
            guard.release(soon()).unwrap();
            assert_eq!(observer.children("/one", false).unwrap().names, [""; 0]);
            looking.join().unwrap();
            assert_eq!(guard.release(soon()), Err(RecipeError::Lost));
        });
    }
}
