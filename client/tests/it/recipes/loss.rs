use std::sync::mpsc;
use std::time::{Duration, Instant};

use farwatch_client::recipes::{Group, Lock, RecipeError, Standing, WorkerIds};
use farwatch_client::{Client, ClientError, Operation, Options};

use super::way::{CREATE, DELETE, GET_DATA, NOT_READ_ONLY, THROTTLED, Way};
use super::{await_children, fresh, shortly, soon};

pub fn through(way: &Way, root: &str, options: Options) -> Client {
    Client::open(&format!("{}{root}", way.address), options).unwrap()
}

/// The shortest that the servers of these tests grant is a second.
fn short() -> Options {
    Options::default().session_timeout(Duration::from_secs(1))
}

#[test]
fn a_create_whose_answer_is_lost_is_found_again_and_leaves_no_second_node() {
    let (root, observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    let lock = Lock::new(&client, "/one");
    drop(lock.acquire(soon()).unwrap()); // makes the directory
    for round in 1..=5 {
        way.lose_answer(CREATE);
        let guard = lock.acquire(soon()).unwrap();
        assert_eq!(way.lost(), round, "the answer was lost");
        let names = observer.children("/one", false).unwrap().names;
        assert_eq!(names.len(), 1, "{names:?}");
        assert!(guard.path().ends_with(&names[0]));
        let stat = observer.exists(guard.path(), false).unwrap().unwrap();
        assert_eq!(guard.token().0, stat.czxid);
        guard.release(soon()).unwrap();
    }
    assert_eq!(observer.children("/one", false).unwrap().names, [""; 0]);
}

/// Gives a create up whose answer is lost.
fn give_up_in_doubt(path: &str) {
    let (root, observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    let lock = Lock::new(&client, path);
    drop(lock.acquire(soon()).unwrap());
    await_children(&observer, path, 0);
    way.lose_answer(CREATE);
    let asking =
        std::thread::spawn(move || lock.acquire(Instant::now() + Duration::from_secs(3)).map(drop));
    await_children(&observer, path, 1);
    way.close(); // no way back before the deadline
    assert_eq!(asking.join().unwrap(), Err(RecipeError::Deadline));
    assert_eq!(observer.children(path, false).unwrap().names.len(), 1, "it is there still");
    way.reopen();
    // Long before the session of thirty seconds would take it along.
    await_children(&observer, path, 0);
    assert!(!client.is_over());
}

#[test]
fn a_create_that_is_given_up_in_doubt_is_removed_after_the_reconnect() {
    give_up_in_doubt("/one");
}

#[test]
fn a_create_at_the_root_that_is_given_up_in_doubt_is_removed_too() {
    give_up_in_doubt("/");
}

#[test]
fn a_release_whose_answer_is_lost_is_a_release() {
    let (root, observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    for round in 1..=3 {
        let guard = Lock::new(&client, "/one").acquire(soon()).unwrap();
        way.lose_answer(DELETE);
        guard.release(soon()).unwrap();
        assert_eq!(way.lost(), round);
        assert_eq!(observer.children("/one", false).unwrap().names, [""; 0]);
    }
}

#[test]
fn a_cut_suspends_the_holder_and_the_same_session_holds_again() {
    let (root, _observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    let guard = Lock::new(&client, "/one").acquire(soon()).unwrap();
    let (sender, told) = mpsc::channel();
    guard.on_change(move |standing| sender.send(standing).unwrap());
    way.close();
    assert_eq!(told.recv_timeout(Duration::from_secs(60)).unwrap(), Standing::Suspended);
    // The lease says how long that may be borne with.
    assert_eq!(guard.check(), Ok(guard.token()));
    way.reopen();
    assert_eq!(told.recv_timeout(Duration::from_secs(60)).unwrap(), Standing::Held);
    guard.check().unwrap();
    guard.release(soon()).unwrap();
    assert!(told.recv().is_err(), "a release is not told");
}

#[test]
fn a_holder_fences_itself_before_the_server_gives_the_lock_away_and_hears_of_the_expiry_once() {
    let (root, observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, short());
    let guard = Lock::new(&client, "/one").acquire(soon()).unwrap();
    let (sender, told) = mpsc::channel();
    guard.on_change(move |standing| sender.send(standing).unwrap());
    guard.check().unwrap();
    way.close();
    // The next one has it as soon as the server has ended the first session.
    let next = Lock::new(&observer, "/one").acquire(soon()).unwrap();
    let lease = guard.lease_valid_until().expect("no server has said yet that it is over");
    assert!(lease < Instant::now(), "the lease outlived the session");
    assert_eq!(guard.check(), Err(RecipeError::LeaseOver));
    assert!(guard.token() < next.token());
    way.reopen();
    let told: Vec<Standing> =
        (0..2).map(|_| told.recv_timeout(Duration::from_secs(60)).unwrap()).collect();
    assert_eq!(told, [Standing::Suspended, Standing::Lost]);
    assert_eq!(guard.check(), Err(RecipeError::Lost));
    assert_eq!(guard.release(soon()), Err(RecipeError::Lost));
    next.check().unwrap();
}

#[test]
fn a_session_that_is_replaced_does_not_bring_back_what_was_lost() {
    let (root, observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, short().renew_expired(true));
    let lock = Lock::new(&client, "/one");
    let guard = lock.acquire(soon()).unwrap();
    let before = client.session().unwrap().id;
    let (sender, told) = mpsc::channel();
    guard.on_change(move |standing| sender.send(standing).unwrap());
    way.close();
    await_children(&observer, "/one", 0);
    way.reopen();
    client.wait_connected(Duration::from_secs(60)).unwrap();
    client.sync("/").unwrap();
    assert_ne!(client.session().unwrap().id, before);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [Standing::Suspended, Standing::Lost]);
    assert_eq!(guard.check(), Err(RecipeError::Lost));
    let again = lock.acquire(soon()).unwrap();
    again.check().unwrap();
    assert!(guard.token() < again.token());
    drop(guard); // must not take the new one's node away
    assert_eq!(observer.children("/one", false).unwrap().names.len(), 1);
}

#[test]
fn a_held_lease_is_kept_fresh_although_nothing_is_asked() {
    let (root, _observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, short());
    let guard = Lock::new(&client, "/one").acquire(soon()).unwrap();
    let (begun, granted) = (Instant::now(), client.session_timeout());
    // Time that passes is the claim itself.
    while begun.elapsed() < granted * 3 {
        guard.check().unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn one_that_waits_hears_of_the_end_of_its_session() {
    let (root, observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, short());
    let held = Lock::new(&observer, "/one").acquire(soon()).unwrap();
    let lock = Lock::new(&client, "/one");
    client.sync("/").unwrap();
    let waiting = std::thread::spawn(move || lock.acquire(soon()).map(drop));
    await_children(&observer, "/one", 2);
    client.sync("/").unwrap(); // behind the answer to its create
    way.close();
    await_children(&observer, "/one", 1);
    way.reopen();
    assert_eq!(waiting.join().unwrap(), Err(RecipeError::Lost));
    held.check().unwrap();
}

#[test]
fn a_lock_that_an_overloaded_client_drops_is_free_after_the_reconnect() {
    let (root, observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    let guard = Lock::new(&client, "/one").acquire(soon()).unwrap();
    let (sender, told) = mpsc::channel();
    guard.on_change(move |standing| sender.send(standing).unwrap());
    way.close();
    assert_eq!(told.recv_timeout(Duration::from_secs(60)).unwrap(), Standing::Suspended);
    let look = Operation::Exists { path: "/".to_owned(), watch: false };
    let refused = loop {
        if let Err(error) = client.submit(&look, drop) {
            break error;
        }
    };
    assert!(matches!(refused, ClientError::Overloaded { .. }), "{refused:?}");
    drop(guard);
    way.reopen();
    await_children(&observer, "/one", 0);
    assert!(!client.is_over(), "not by the end of its session");
}

#[test]
fn what_is_given_up_in_a_callback_is_refused_and_goes_in_the_background() {
    let (_root, client) = fresh();
    let guard = Lock::new(&client, "/one").acquire(soon()).unwrap();
    let member = Group::new(&client, "/hosts").join("host", b"", soon()).unwrap();
    let worker = WorkerIds::new(&client, "/workers", 1).claim(soon()).unwrap();
    let (sender, given_up) = mpsc::channel();
    let whoami = Operation::WhoAmI;
    let inside = move |_answer| {
        sender.send(guard.release(soon())).unwrap();
        sender.send(member.leave(soon())).unwrap();
        sender.send(worker.release(soon())).unwrap();
    };
    client.submit(&whoami, inside).unwrap();
    let refused = Err(RecipeError::Client(ClientError::InsideCallback));
    for _ in 0..3 {
        assert_eq!(given_up.recv_timeout(Duration::from_secs(60)).unwrap(), refused);
    }
    for path in ["/one", "/hosts", "/workers/claims"] {
        await_children(&client, path, 0);
    }
}

#[test]
fn what_a_server_refuses_to_take_back_for_now_is_taken_back_later() {
    let (root, observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    let lock = Lock::new(&client, "/one");
    let refusals = [THROTTLED, NOT_READ_ONLY, THROTTLED];
    let guard = lock.acquire(soon()).unwrap();
    // Nothing of it is under way any more: what is refused would be answered before that.
    client.sync("/").unwrap();
    way.refuse(DELETE, &refusals);
    drop(guard);
    await_children(&observer, "/one", 0);
    assert_eq!(way.still_refuses(), 0);
    let guard = lock.acquire(soon()).unwrap();
    // Nothing of it is under way any more: what is refused would be answered before that.
    client.sync("/").unwrap();
    way.refuse(DELETE, &refusals);
    guard.release(soon()).unwrap();
    assert_eq!(way.still_refuses(), 0);
    await_children(&observer, "/one", 0);
    let guard = lock.acquire(soon()).unwrap();
    client.sync("/").unwrap();
    way.refuse(DELETE, &[NOT_READ_ONLY; 200]);
    assert_eq!(guard.release(shortly()), Err(RecipeError::Deadline));
    way.refuse(DELETE, &[NOT_READ_ONLY]);
    await_children(&observer, "/one", 0);
    assert!(!client.is_over(), "not by the end of its session");
}

#[test]
fn a_holder_hears_of_its_end_though_a_server_did_not_set_its_watch_at_first() {
    let (root, observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    way.refuse(GET_DATA, &[THROTTLED; 2]);
    let guard = Lock::new(&client, "/one").acquire(soon()).unwrap();
    let (sender, told) = mpsc::channel();
    guard.on_change(move |standing| sender.send(standing).unwrap());
    observer.delete(guard.path(), -1).unwrap();
    assert_eq!(told.recv_timeout(Duration::from_secs(60)).unwrap(), Standing::Lost);
}

#[test]
fn a_session_that_is_handed_on_has_nothing_of_what_was_given_up_before() {
    let (root, observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    let lock = Lock::new(&client, "/one");
    let guard = lock.acquire(soon()).unwrap();
    client.sync("/").unwrap();
    way.refuse(DELETE, &[THROTTLED]);
    drop(guard);
    let session = client.detach().unwrap().expect("it has one");
    assert_eq!(observer.children("/one", false).unwrap().names, [""; 0]);
    let next = through(&way, &root, Options::default().resume(session));
    let guard = Lock::new(&next, "/one").acquire(soon()).unwrap();
    assert_eq!(next.session().unwrap().id, session.id);
    way.close();
    drop(guard);
    // Without a server it takes no longer than it may.
    let patience = Duration::from_millis(200);
    let begun = Instant::now();
    assert!(next.with_request_timeout(patience).detach().unwrap().is_some());
    assert!(patience <= begun.elapsed() && begun.elapsed() < Duration::from_secs(30));
    way.reopen();
}
