//! Nodes of a recipe that somebody else writes to, deletes or makes anew.

use std::ops::Deref;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use farwatch_client::recipes::{
    Group, LeaderLatch, Lock, LockGuard, RecipeError, Standing, Tenure, WorkerIds,
};
use farwatch_client::{Acl, Client, CreateMode, Options, WatchKind};

use super::loss::through;
use super::way::Way;
use super::{await_children, fresh, shortly, soon};
use crate::server::client_below;

/// Waits until a client has, or has not, a watch on a node.
fn await_watch(client: &Client, path: &str, is_there: bool) {
    let deadline = soon();
    while client.check_watches(path, WatchKind::Data).unwrap() != is_there {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
}

#[test]
fn a_holder_whose_node_was_written_to_hears_of_its_deletion() {
    let (root, client) = fresh();
    let stranger = client_below(&root);
    let guard = Lock::new(&client, "/one").acquire(soon()).unwrap();
    let (sender, told) = mpsc::channel();
    guard.on_change(move |standing| sender.send(standing).unwrap());
    for _ in 0..3 {
        stranger.set(guard.path(), b"a note", -1).unwrap();
        client.sync("/").unwrap(); // the event is here
        guard.check().unwrap();
    }
    stranger.delete(guard.path(), -1).unwrap();
    assert_eq!(told.recv_timeout(Duration::from_secs(60)).unwrap(), Standing::Lost);
    assert_eq!(guard.check(), Err(RecipeError::Lost));
}

#[test]
fn one_that_waits_behind_a_node_that_is_written_to_is_woken_by_its_release() {
    let (root, client) = fresh();
    let stranger = client_below(&root);
    let held = Lock::new(&stranger, "/one").acquire(soon()).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| Lock::new(&client, "/one").acquire(soon()).map(drop));
        await_children(&stranger, "/one", 2);
        for _ in 0..3 {
            await_watch(&client, held.path(), true);
            stranger.set(held.path(), b"a note", -1).unwrap();
            client.sync("/").unwrap();
        }
        held.release(soon()).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_member_whose_node_was_made_anew_in_a_cut_is_lost() {
    let (root, stranger) = fresh();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    let member = Group::new(&client, "/hosts").join("host", b"", soon()).unwrap();
    let (sender, told) = mpsc::channel();
    member.on_change(move |standing| sender.send(standing).unwrap());
    client.sync("/").unwrap(); // it has its watch
    way.close();
    stranger.delete(member.path(), -1).unwrap();
    stranger.create(member.path(), b"", &Acl::open(), CreateMode::Persistent).unwrap();
    way.reopen();
    while told.recv_timeout(Duration::from_secs(60)).unwrap() != Standing::Lost {}
    assert_eq!(member.check(), Err(RecipeError::Lost));
    drop(member);
    client.sync("/").unwrap();
    assert!(stranger.exists("/hosts/host", false).unwrap().is_some(), "it is somebody else's");
}

#[test]
fn a_loss_that_a_call_finds_is_told_on_the_clients_thread() {
    let (root, client) = fresh();
    let stranger = client_below(&root);
    let latch = LeaderLatch::new(&client, "/leader");
    let leader = latch.join(b"first", soon()).unwrap().lead(soon()).unwrap();
    // It does not lead, so that nothing watches its node.
    let candidate = latch.join(b"second", soon()).unwrap();
    let (sender, told) = mpsc::channel();
    candidate.on_change(move |standing| sender.send((standing, thread::current().id())).unwrap());
    stranger.delete(candidate.path(), -1).unwrap();
    client.sync("/").unwrap();
    assert_eq!(candidate.wait(shortly()), Err(RecipeError::Lost));
    assert_eq!(candidate.standing(), Standing::Lost);
    let (standing, thread) = told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(standing, Standing::Lost);
    assert_ne!(thread, thread::current().id());
    leader.resign(soon()).unwrap();
}

/// Asks how a lock stands when it is dropped, as a closure may that owns a part of the application.
struct Asks(Arc<LockGuard>, mpsc::Sender<Standing>);

impl Drop for Asks {
    fn drop(&mut self) {
        self.1.send(self.0.standing()).unwrap();
    }
}

#[test]
fn what_a_callback_owns_may_ask_the_handle_when_it_is_dropped() {
    let (root, client) = fresh();
    let guard = Arc::new(Lock::new(&client, "/one").acquire(soon()).unwrap());
    let (sender, asked) = mpsc::channel();
    let asks = Asks(Arc::clone(&guard), sender);
    guard.on_change(move |_standing| {
        let _kept = &asks;
    });
    client_below(&root).delete(guard.path(), -1).unwrap();
    assert_eq!(asked.recv_timeout(Duration::from_secs(60)).unwrap(), Standing::Lost);
    client.sync("/").unwrap(); // its thread goes on
}

/// Gives something up in a cut, in which its session ends and somebody else gets its name.
fn give_up_what_is_anothers_by_then<T: Deref<Target = Tenure> + Sync>(
    take: impl Fn(&Client) -> T,
    give_up: impl Fn(&T) -> Result<(), RecipeError> + Sync,
) {
    let (root, stranger) = fresh();
    let way = Way::open();
    let options = Options::default().session_timeout(Duration::from_secs(1)).renew_expired(true);
    let client = through(&way, &root, options);
    let held = take(&client);
    way.close();
    let next = thread::scope(|scope| {
        let giving_up = scope.spawn(|| give_up(&held));
        let deadline = soon();
        // It was found held, and is given up: no server can have said anything else.
        while held.standing() != Standing::Lost {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
        while stranger.exists(held.path(), false).unwrap().is_some() {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
        let next = take(&stranger);
        way.reopen();
        assert_eq!(giving_up.join().unwrap(), Err(RecipeError::Lost));
        next
    });
    client.wait_connected(Duration::from_secs(60)).unwrap();
    client.sync("/").unwrap(); // behind all that was asked for
    assert!(!client.is_over(), "its session was replaced");
    let stat = stranger.exists(next.path(), false).unwrap().expect("it is the next one's");
    assert_eq!(stat.czxid, next.token().0);
    next.check().unwrap();
}

#[test]
fn a_worker_id_that_is_given_up_while_its_session_ends_is_the_next_owners() {
    give_up_what_is_anothers_by_then(
        |client| WorkerIds::new(client, "/workers", 1).claim(soon()).unwrap(),
        |worker| worker.release(soon()),
    );
}

#[test]
fn a_name_that_is_given_up_while_its_session_ends_is_the_next_members() {
    give_up_what_is_anothers_by_then(
        |client| Group::new(client, "/hosts").join("host", b"", soon()).unwrap(),
        |member| member.leave(soon()),
    );
}
