use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use farwatch_client::recipes::{
    Fence, LeaderLatch, Leadership, RecipeError, Standing, TaskBoard, Worker,
};
use farwatch_client::{Client, Options};

use super::loss::through;
use super::way::{GET_CHILDREN, MULTI, THROTTLED, Way};
use super::{fresh, shortly, soon};
use crate::server::client_below;

fn lead(client: &Client) -> Leadership {
    LeaderLatch::new(client, "/leader").join(b"", soon()).unwrap().lead(soon()).unwrap()
}

#[test]
fn every_task_is_done_once_by_workers_that_the_leader_chose() {
    const TASKS: usize = 30;
    let (root, client) = fresh();
    let board = TaskBoard::new(&client, "/board");
    let leadership = lead(&client);
    let done = Mutex::new(Vec::new());
    let workers: Vec<Worker> = (0..3)
        .map(|it| TaskBoard::new(&client_below(&root), "/board").work(&format!("w{it}"), soon()))
        .collect::<Result<_, _>>()
        .unwrap();
    for number in 0..TASKS {
        board.put(format!("{number}").as_bytes(), soon()).unwrap();
    }
    assert_eq!(board.assign(&leadership, soon()).unwrap(), TASKS);
    assert_eq!(board.assign(&leadership, soon()).unwrap(), 0, "all have somebody");
    thread::scope(|scope| {
        for worker in &workers {
            scope.spawn(|| {
                for _ in 0..TASKS / workers.len() {
                    let assignment = worker.take(soon()).unwrap();
                    done.lock().unwrap().push(assignment.data().to_vec());
                    assignment.finish(soon()).unwrap();
                }
            });
        }
    });
    let done = done.into_inner().unwrap();
    assert_eq!((done.len(), done.iter().collect::<BTreeSet<_>>().len()), (TASKS, TASKS));
    assert_eq!(board.open_tasks(soon()).unwrap(), [""; 0]);
}

#[test]
fn what_a_dead_worker_had_goes_to_another_with_a_larger_token() {
    let (root, client) = fresh();
    let board = TaskBoard::new(&client, "/board");
    let leadership = lead(&client);
    let dying = client_below(&root);
    let first = TaskBoard::new(&dying, "/board").work("first", soon()).unwrap();
    board.put(b"task", soon()).unwrap();
    assert_eq!(board.assign(&leadership, soon()).unwrap(), 1);
    let early = first.take(soon()).unwrap();
    let fence = Fence::default();
    fence.admit(early.token()).unwrap();
    let second = board.work("second", soon()).unwrap();
    assert_eq!(board.assign(&leadership, soon()).unwrap(), 0, "the first one lives");
    thread::scope(|scope| {
        let keeping = scope.spawn(|| board.keep_assigning(&leadership, soon()));
        dying.close().unwrap();
        let late = second.take(soon()).unwrap();
        assert_eq!(late.data(), b"task");
        fence.admit(late.token()).unwrap();
        fence.admit(early.token()).unwrap_err();
        late.finish(soon()).unwrap();
        assert_eq!(board.open_tasks(soon()).unwrap(), [""; 0]);
        // Whoever loses its leadership assigns no more.
        client_below(&root).delete(leadership.path(), -1).unwrap();
        assert_eq!(keeping.join().unwrap(), Err(RecipeError::Lost));
    });
}

#[test]
fn one_that_comes_back_under_its_name_takes_its_tasks_up_and_the_former_one_cannot_end_them() {
    let (root, client) = fresh();
    let board = TaskBoard::new(&client, "/board");
    let leadership = lead(&client);
    // Its node is deleted, which it does not hear of before it asks.
    let former = TaskBoard::new(&client_below(&root), "/board").work("name", soon()).unwrap();
    board.put(b"task", soon()).unwrap();
    board.assign(&leadership, soon()).unwrap();
    let early = former.take(soon()).unwrap();
    client.delete(former.path(), -1).unwrap();
    let again = board.work("name", soon()).unwrap();
    let late = again.take(soon()).unwrap();
    assert_eq!(late.task(), early.task());
    assert!(early.token() < late.token());
    assert_eq!(early.finish(soon()), Err(RecipeError::Lost));
    late.finish(soon()).unwrap();
}

#[test]
fn a_leader_that_was_replaced_assigns_nothing() {
    let (root, client) = fresh();
    let board = TaskBoard::new(&client, "/board");
    let worker = board.work("worker", soon()).unwrap();
    board.put(b"task", soon()).unwrap();
    let other = client_below(&root);
    let way = Way::open();
    let cut = through(&way, &root, Options::default());
    let leadership = lead(&cut);
    other.delete(leadership.path(), -1).unwrap();
    let assigned = TaskBoard::new(&cut, "/board").assign(&leadership, soon());
    assert_eq!(assigned, Err(RecipeError::Lost));
    assert!(worker.take(shortly()).is_err());
    assert_eq!(board.assign(&lead(&other), soon()).unwrap(), 1);
    assert_eq!(worker.take(soon()).unwrap().data(), b"task");
}

#[test]
fn lost_answers_double_no_task_and_lose_none() {
    let (root, client) = fresh();
    let way = Way::open();
    let cut = through(&way, &root, Options::default());
    let board = TaskBoard::new(&cut, "/board");
    let leadership = lead(&cut);
    let worker = board.work("worker", soon()).unwrap();
    for round in 0..3 {
        way.lose_answer(MULTI);
        board.put(b"task", soon()).unwrap();
        assert_eq!(board.open_tasks(soon()).unwrap().len(), 1);
        way.lose_answer(MULTI);
        assert_eq!(board.assign(&leadership, soon()).unwrap(), 1);
        way.lose_answer(MULTI);
        let assignment = worker.take(soon()).unwrap();
        way.lose_answer(MULTI);
        assignment.finish(soon()).unwrap();
        assert_eq!(way.lost(), 4 * (round + 1));
        assert_eq!(board.open_tasks(soon()).unwrap(), [""; 0]);
    }
    assert_eq!(client.children("/board/assigned/worker", false).unwrap().names, [""; 0]);
}

#[test]
fn a_worker_that_leaves_waits_for_no_task_any_more_and_what_it_took_up_may_still_be_finished() {
    let (_root, client) = fresh();
    let board = TaskBoard::new(&client, "/board");
    let worker = board.work("w", soon()).unwrap();
    board.put(b"task", soon()).unwrap();
    assert_eq!(board.assign(&lead(&client), soon()).unwrap(), 1);
    let assignment = worker.take(soon()).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| worker.take(soon()).map(drop));
        worker.leave(soon()).unwrap();
        assert_eq!(waiting.join().unwrap(), Err(RecipeError::Lost));
    });
    assert_eq!(worker.leave(soon()), Err(RecipeError::Lost));
    drop(worker);
    assert_eq!(assignment.finish(Instant::now()), Err(RecipeError::Deadline));
    assignment.finish(soon()).unwrap();
    assert_eq!(assignment.finish(soon()), Err(RecipeError::Lost));
    assert_eq!(board.open_tasks(soon()).unwrap(), [""; 0]);
}

#[test]
fn who_takes_from_an_inbox_keeps_no_worker_there() {
    let (root, client) = fresh();
    let board = TaskBoard::new(&client, "/board");
    let worker = board.work("w", soon()).unwrap();
    let inbox = worker.inbox();
    board.put(b"task", soon()).unwrap();
    assert_eq!(board.assign(&lead(&client), soon()).unwrap(), 1);
    let assignment = inbox.take(soon()).unwrap();
    assert_eq!(inbox.take(shortly()).map(drop), Err(RecipeError::Deadline));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| inbox.take(soon()).map(drop));
        drop(worker);
        assert_eq!(waiting.join().unwrap(), Err(RecipeError::Lost));
    });
    assert_eq!(inbox.take(soon()).map(drop), Err(RecipeError::Lost));
    let others = client_below(&root);
    while !others.children("/board/workers", false).unwrap().names.is_empty() {
        thread::yield_now();
    }
    assignment.finish(soon()).unwrap();
}

#[test]
fn a_task_that_is_given_back_is_taken_by_who_waits_and_finished_by_that_one() {
    let (_root, client) = fresh();
    let board = TaskBoard::new(&client, "/board");
    let worker = board.work("w", soon()).unwrap();
    board.put(b"task", soon()).unwrap();
    assert_eq!(board.assign(&lead(&client), soon()).unwrap(), 1);
    let first = worker.take(soon()).unwrap();
    let second = thread::scope(|scope| {
        let waiting = scope.spawn(|| worker.take(soon()));
        let task = first.task().to_owned();
        first.give_back();
        let second = waiting.join().unwrap().unwrap();
        assert_eq!(second.task(), task);
        second
    });
    assert_eq!(worker.take(shortly()).map(drop), Err(RecipeError::Deadline));
    second.finish(soon()).unwrap();
    assert_eq!(board.open_tasks(soon()).unwrap(), [""; 0]);
}

#[test]
fn threads_of_one_worker_take_each_task_once() {
    const TASKS: usize = 40;
    let (_root, client) = fresh();
    let board = TaskBoard::new(&client, "/board");
    let worker = board.work("w", soon()).unwrap();
    for _ in 0..TASKS {
        board.put(b"task", soon()).unwrap();
    }
    assert_eq!(board.assign(&lead(&client), soon()).unwrap(), TASKS);
    let taken = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Ok(assignment) = worker.take(soon()) {
                    taken.lock().unwrap().push(assignment.task().to_owned());
                }
            });
        }
        let deadline = soon();
        while taken.lock().unwrap().len() < TASKS && Instant::now() < deadline {
            thread::yield_now();
        }
        worker.leave(soon()).unwrap();
    });
    let mut taken = taken.into_inner().unwrap();
    taken.sort();
    let mut once = taken.clone();
    once.dedup();
    assert_eq!((taken.len(), once.len()), (TASKS, TASKS));
}

#[test]
fn one_that_was_overtaken_while_it_took_a_task_has_none() {
    const REFUSALS: usize = 3000;
    let (root, client) = fresh();
    let board = TaskBoard::new(&client, "/board");
    let leadership = lead(&client);
    let way = Way::open();
    let cut = through(&way, &root, Options::default());
    let former = TaskBoard::new(&cut, "/board").work("name", soon()).unwrap();
    board.put(b"task", soon()).unwrap();
    way.refuse(GET_CHILDREN, &[THROTTLED; REFUSALS]);
    thread::scope(|scope| {
        let taking = scope.spawn(|| former.take(soon()).map(drop));
        let deadline = soon();
        while way.still_refuses() == REFUSALS {
            assert!(Instant::now() < deadline); // it has found that it is held, and looks for a task
            thread::yield_now();
        }
        client.delete(former.path(), -1).unwrap();
        let again = board.work("name", soon()).unwrap();
        assert_eq!(board.assign(&leadership, soon()).unwrap(), 1);
        while former.standing() != Standing::Lost {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
        way.refuse(GET_CHILDREN, &[]);
        assert_eq!(taking.join().unwrap(), Err(RecipeError::Lost));
        again.take(soon()).unwrap().finish(soon()).unwrap();
    });
}
