//! Locks that more than one holds.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use farwatch_client::recipes::{ReadWriteLock, RecipeError, Semaphore};

use super::loss::through;
use super::way::{CREATE, Way};
use super::{Counting, await_children, fresh, shortly, soon};
use crate::server::client_below;
use farwatch_client::Options;

#[test]
fn readers_share_and_a_writer_is_alone() {
    let (root, client) = fresh();
    // How many read, or -1 while one writes.
    let inside = AtomicI64::new(0);
    let (most, written) = (AtomicI64::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..8 {
            let (root, inside, most, written) = (&root, &inside, &most, &written);
            scope.spawn(move || {
                let lock = ReadWriteLock::new(&client_below(root), "/shared");
                for round in 0..12 {
                    if (number + round) % 4 == 0 {
                        let guard = lock.write(soon()).unwrap();
                        assert_eq!(inside.swap(-1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        assert_eq!(inside.swap(0, Ordering::SeqCst), -1);
                        written.fetch_add(1, Ordering::SeqCst);
                        guard.release(soon()).unwrap();
                    } else {
                        let guard = lock.read(soon()).unwrap();
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        assert!(0 < now, "one writes");
                        most.fetch_max(now, Ordering::SeqCst);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        guard.release(soon()).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(written.into_inner(), 24);
    // That they can share is shown without chance.
    let lock = ReadWriteLock::new(&client, "/shared");
    let (one, two) = (lock.read(soon()).unwrap(), lock.read(soon()).unwrap());
    let writes = lock.write(shortly());
    assert_eq!(writes.map(drop), Err(RecipeError::Deadline));
    drop((one, two));
    let writer = lock.write(soon()).unwrap();
    let reads = lock.read(shortly());
    assert_eq!(reads.map(drop), Err(RecipeError::Deadline));
    drop(writer);
    await_children(&client, "/shared", 0);
}

#[test]
fn readers_behind_a_writer_that_waits_do_not_overtake_it() {
    let (root, client) = fresh();
    let lock = ReadWriteLock::new(&client, "/shared");
    let reading = lock.read(soon()).unwrap();
    let (sender, order) = mpsc::channel();
    thread::scope(|scope| {
        for (place, name) in ["write", "read"].into_iter().enumerate() {
            let (lock, sender) =
                (ReadWriteLock::new(&client_below(&root), "/shared"), sender.clone());
            scope.spawn(move || {
                let wants = if name == "write" { lock.write(soon()) } else { lock.read(soon()) };
                let guard = wants.unwrap();
                sender.send(name).unwrap();
                guard.release(soon()).unwrap();
            });
            await_children(&client, "/shared", place + 2);
        }
        assert!(order.try_recv().is_err());
        reading.release(soon()).unwrap();
        let told: Vec<&str> =
            (0..2).map(|_| order.recv_timeout(Duration::from_secs(60)).unwrap()).collect();
        assert_eq!(told, ["write", "read"]);
    });
}

#[test]
fn a_writer_that_leaves_wakes_the_readers_right_behind_it_and_not_those_behind_the_next() {
    let (root, client) = fresh();
    let writing = ReadWriteLock::new(&client, "/shared").write(soon()).unwrap();
    let waiting: Vec<Counting> = (0..5).map(|_| Counting::below(&root)).collect();
    let (sender, entered) = mpsc::channel();
    thread::scope(|scope| {
        for (place, counting) in waiting.iter().enumerate() {
            let lock = ReadWriteLock::new(&counting.client, "/shared");
            let sender = sender.clone();
            scope.spawn(move || {
                // read, read, write, read, read
                let guard = if place == 2 { lock.write(soon()) } else { lock.read(soon()) };
                sender.send((place, guard.unwrap())).unwrap();
            });
            await_children(&client, "/shared", place + 2);
        }
        writing.release(soon()).unwrap();
        let first: Vec<_> =
            (0..2).map(|_| entered.recv_timeout(Duration::from_secs(60)).unwrap()).collect();
        assert_eq!(first.iter().map(|it| it.0).sum::<usize>(), 1, "both readers in front");
        let told: Vec<usize> = waiting.iter().map(Counting::told).collect();
        assert!(told[0] <= 1 && told[1] <= 1, "{told:?}");
        assert_eq!(told[2..], [0; 3], "{told:?}");
        drop(first);
        for _ in 2..5 {
            drop(entered.recv_timeout(Duration::from_secs(60)).unwrap());
        }
    });
}

#[test]
fn a_semaphore_admits_so_many_and_never_more() {
    const PERMITS: usize = 3;
    let (root, client) = fresh();
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let semaphore = Semaphore::new(&client_below(&root), "/few", PERMITS);
                for _ in 0..6 {
                    let permit = semaphore.acquire(soon()).unwrap();
                    let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                    assert!(now <= PERMITS, "{now}");
                    most.fetch_max(now, Ordering::SeqCst);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    permit.release(soon()).unwrap();
                }
            });
        }
    });
    let semaphore = Semaphore::new(&client, "/few", PERMITS);
    let held: Vec<_> = (0..PERMITS).map(|_| semaphore.acquire(soon()).unwrap()).collect();
    assert!(held.windows(2).all(|pair| pair[0].token() < pair[1].token()));
    let failed = semaphore.acquire(shortly());
    assert_eq!(failed.map(drop), Err(RecipeError::Deadline));
    drop(held);
    for directory in ["/few/locks", "/few/leases"] {
        await_children(&client, directory, 0);
    }
}

#[test]
fn a_permit_that_is_given_back_wakes_the_one_that_waits_first_whichever_it_was() {
    let (root, client) = fresh();
    let semaphore = Semaphore::new(&client, "/few", 2);
    let (_kept, released) =
        (semaphore.acquire(soon()).unwrap(), semaphore.acquire(soon()).unwrap());
    let waiting: Vec<Counting> = (0..4).map(|_| Counting::below(&root)).collect();
    let (sender, entered) = mpsc::channel();
    thread::scope(|scope| {
        for (place, counting) in waiting.iter().enumerate() {
            let semaphore = Semaphore::new(&counting.client, "/few", 2);
            let sender = sender.clone();
            scope.spawn(move || {
                sender.send((place, semaphore.acquire(soon()).unwrap())).unwrap();
            });
            await_children(&client, "/few/locks", place + 1);
        }
        await_children(&client, "/few/leases", 3);
        released.release(soon()).unwrap();
        let (place, permit) = entered.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(place, 0);
        let told: Vec<usize> = waiting.iter().map(Counting::told).collect();
        // Its own permit, its own turn in line; the next one's turn comes with it.
        assert_eq!(told[2..], [0; 2], "{told:?}");
        assert!(told[1] <= 2, "{told:?}");
        drop(permit);
        for _ in 1..4 {
            drop(entered.recv_timeout(Duration::from_secs(60)).unwrap());
        }
    });
}

#[test]
fn a_permit_and_a_shared_lock_whose_answers_are_lost_leave_no_node_behind() {
    let (root, client) = fresh();
    let way = Way::open();
    let cut = through(&way, &root, Options::default());
    let (semaphore, lock) = (Semaphore::new(&cut, "/few", 1), ReadWriteLock::new(&cut, "/shared"));
    drop((semaphore.acquire(soon()).unwrap(), lock.read(soon()).unwrap()));
    await_children(&client, "/few/locks", 0);
    await_children(&client, "/few/leases", 0);
    for round in 1..=3 {
        way.lose_answer(CREATE);
        let permit = semaphore.acquire(soon()).unwrap();
        way.lose_answer(CREATE);
        let guard = lock.write(soon()).unwrap();
        assert_eq!(way.lost(), 2 * round);
        assert_eq!(client.children("/few/leases", false).unwrap().names.len(), 1);
        assert_eq!(client.children("/shared", false).unwrap().names.len(), 1);
        permit.release(soon()).unwrap();
        guard.release(soon()).unwrap();
    }
    await_children(&client, "/few/locks", 0);
    await_children(&client, "/few/leases", 0);
    await_children(&client, "/shared", 0);
}
