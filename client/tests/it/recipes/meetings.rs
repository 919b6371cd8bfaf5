//! Barriers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use farwatch_client::recipes::{Barrier, DoubleBarrier, Inside, RecipeError};

use super::{Counting, await_children, fresh, shortly, soon};
use crate::server::{client_below, client_with};
use farwatch_client::{Options, WatchKind};

#[test]
fn a_barrier_holds_all_until_it_is_lifted_and_wakes_each_once() {
    let (root, client) = fresh();
    let barrier = Barrier::new(&client, "/jobs/barrier");
    barrier.wait(soon()).unwrap(); // there is none
    let token = barrier.set(soon()).unwrap();
    assert_eq!(barrier.set(soon()).unwrap(), token, "it is the same one");
    let early = barrier.wait(shortly());
    assert_eq!(early, Err(RecipeError::Deadline));
    let waiting: Vec<Counting> = (0..5).map(|_| Counting::below(&root)).collect();
    thread::scope(|scope| {
        for counting in &waiting {
            scope.spawn(|| Barrier::new(&counting.client, "/jobs/barrier").wait(soon()).unwrap());
            let deadline = soon();
            while !counting.client.check_watches("/jobs/barrier", WatchKind::Data).unwrap() {
                assert!(Instant::now() < deadline);
            }
        }
        barrier.lift(soon()).unwrap();
    });
    assert!(waiting.iter().all(|counting| counting.told() == 1));
    barrier.lift(soon()).unwrap(); // it is lifted already
    assert!(token < barrier.set(soon()).unwrap());
}

#[test]
fn ten_begin_together_and_end_together_round_after_round() {
    const MEMBERS: usize = 10;
    let (root, client) = fresh();
    let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..MEMBERS {
            scope.spawn(|| {
                let barrier = DoubleBarrier::new(&client_below(&root), "/meeting", MEMBERS);
                for round in 1..=3 {
                    begun.fetch_add(1, Ordering::SeqCst);
                    let inside = barrier.enter(soon()).unwrap();
                    assert!(MEMBERS * round <= begun.load(Ordering::SeqCst), "not all are there");
                    inside.check().unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                    inside.leave(soon()).unwrap();
                    assert!(MEMBERS * round <= done.load(Ordering::SeqCst), "not all are done");
                }
            });
        }
    });
    assert_eq!(client.children("/meeting", false).unwrap().names, [""; 0]);
}

#[test]
fn one_that_misses_the_others_is_a_member_no_more() {
    let (root, client) = fresh();
    let barrier = DoubleBarrier::new(&client, "/meeting", 2);
    let alone = barrier.enter(shortly());
    assert_eq!(alone.map(drop), Err(RecipeError::Deadline));
    await_children(&client, "/meeting", 0);
    let other = DoubleBarrier::new(&client_below(&root), "/meeting", 2);
    thread::scope(|scope| {
        let both = [&barrier, &other].map(|it| scope.spawn(|| it.enter(soon()).unwrap()));
        let [one, two] = both.map(|thread| thread.join().unwrap());
        // One that does not come back must not keep the other from leaving.
        drop(one);
        two.leave(soon()).unwrap();
    });
    await_children(&client, "/meeting", 0);
}

#[test]
fn a_member_whose_session_ends_has_left() {
    let (root, client) = fresh();
    let other = client_with(&root, Options::default());
    thread::scope(|scope| {
        let barrier = DoubleBarrier::new(&client, "/meeting", 2);
        let gone = DoubleBarrier::new(&other, "/meeting", 2);
        let gone = scope.spawn(move || gone.enter(soon()).unwrap());
        let inside = barrier.enter(soon()).unwrap();
        let gone = gone.join().unwrap();
        let leaving = scope.spawn(move || inside.leave(soon()).unwrap());
        other.close().unwrap();
        leaving.join().unwrap();
        gone.leave(soon()).unwrap_err();
    });
}

#[test]
fn one_whose_time_to_leave_is_over_has_left_though_its_handle_is_kept() {
    let (root, client) = fresh();
    let other = client_below(&root);
    let [late, patient] = thread::scope(|scope| {
        [&client, &other]
            .map(|it| scope.spawn(|| DoubleBarrier::new(it, "/meeting", 2).enter(soon())))
            .map(|entering| entering.join().unwrap().unwrap())
    });
    assert_eq!(late.leave(Instant::now()), Err(RecipeError::Deadline));
    await_children(&client, "/meeting", 2); // the other one, and the sign that all were there
    patient.leave(soon()).unwrap();
    assert_eq!(client.children("/meeting", false).unwrap().names, [""; 0]);
    drop(late);
}

#[test]
fn a_round_whose_members_never_left_lets_nobody_of_the_next_one_in_alone() {
    const MEMBERS: usize = 4;
    let (root, client) = fresh();
    let clients: Vec<_> = (0..MEMBERS).map(|_| client_below(&root)).collect();
    let barrier = |client| DoubleBarrier::new(client, "/meeting", MEMBERS);
    let all_enter = || -> Vec<Inside> {
        let begun = AtomicUsize::new(0);
        let (barrier, begun) = (&barrier, &begun);
        thread::scope(|scope| {
            let enter = |client| {
                scope.spawn(move || {
                    begun.fetch_add(1, Ordering::SeqCst);
                    let inside = barrier(client).enter(soon()).unwrap();
                    assert_eq!(begun.load(Ordering::SeqCst), MEMBERS, "not all are there");
                    inside
                })
            };
            let entering: Vec<_> = clients.iter().map(enter).collect();
            entering.into_iter().map(|it| it.join().unwrap()).collect()
        })
    };
    for _round in 0..3 {
        drop(all_enter());
        await_children(&client, "/meeting", 1);
        let alone = barrier(&client).enter(shortly());
        assert_eq!(alone.map(drop), Err(RecipeError::Deadline));
        await_children(&client, "/meeting", 1);
    }
    let inside = all_enter();
    thread::scope(|scope| {
        inside.iter().for_each(|it| drop(scope.spawn(|| it.leave(soon()).unwrap())));
    });
    assert_eq!(client.children("/meeting", false).unwrap().names, [""; 0]);
}

#[test]
fn one_that_is_back_before_the_others_have_left_waits_for_them_and_they_not_for_it() {
    let (root, client) = fresh();
    let clients: Vec<_> = (0..3).map(|_| client_below(&root)).collect();
    let enter = |at: usize| DoubleBarrier::new(&clients[at], "/meeting", 3).enter(soon()).unwrap();
    thread::scope(|scope| {
        let mut entering = Vec::new();
        for at in 0..3 {
            entering.push(scope.spawn(move || enter(at)));
            let is_last = at == 2;
            await_children(&client, "/meeting", at + 1 + usize::from(is_last));
        }
        let [first, second, third] =
            <[_; 3]>::try_from(entering).unwrap().map(|it| it.join().unwrap());
        drop(third);
        await_children(&client, "/meeting", 3);
        let leaving = scope.spawn(move || second.leave(soon()));
        await_children(&client, "/meeting", 2);
        let back = scope.spawn(move || enter(2));
        await_children(&client, "/meeting", 3);
        first.leave(soon()).unwrap();
        leaving.join().unwrap().unwrap();
        assert!(!back.is_finished());
        let inside = [scope.spawn(move || enter(0)), scope.spawn(move || enter(1)), back];
        for inside in inside.map(|it| it.join().unwrap()) {
            scope.spawn(move || inside.leave(soon()).unwrap());
        }
    });
    assert_eq!(client.children("/meeting", false).unwrap().names, [""; 0]);
}

#[test]
fn one_that_is_back_while_the_others_are_at_it_begins_no_round_alone() {
    let (root, client) = fresh();
    let clients: Vec<_> = (0..3).map(|_| client_below(&root)).collect();
    let barrier = |at: usize| DoubleBarrier::new(&clients[at], "/meeting", 3);
    thread::scope(|scope| {
        let entering = [0, 1, 2].map(|at| scope.spawn(move || barrier(at).enter(soon()).unwrap()));
        let [first, second, third] = entering.map(|it| it.join().unwrap());
        drop(third);
        await_children(&client, "/meeting", 3);
        let alone = barrier(2).enter(Instant::now() + Duration::from_millis(300));
        assert_eq!(alone.map(drop), Err(RecipeError::Deadline));
        let leaving = scope.spawn(move || first.leave(soon()));
        second.leave(soon()).unwrap();
        leaving.join().unwrap().unwrap();
    });
    assert_eq!(client.children("/meeting", false).unwrap().names, [""; 0]);
}
