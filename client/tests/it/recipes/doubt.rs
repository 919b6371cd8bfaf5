//! Ephemeral nodes of a name of their own whose answer is lost: each handle answers for its own create, and takes
//! nobody else's node away with its own. And barriers, which nobody answers for.

use std::ops::Deref;
use std::thread;
use std::time::{Duration, Instant};

use farwatch_client::recipes::{
    Barrier, ConfigCell, Group, Lock, RecipeError, TaskBoard, Tenure, WorkerIds,
};
use farwatch_client::{Acl, Client, ClientError, CreateMode, Options};

use super::loss::through;
use super::way::{CREATE, DELETE, MULTI, Way};
use super::{await_children, fresh, soon};

/// With room for a reconnect, and meant to pass.
fn in_a_while() -> Instant {
    Instant::now() + Duration::from_secs(3)
}

/// With room for what is asked first, and meant to pass in a cut. The longer that is, the longer are the
/// client's pauses between its attempts, and the session has ten seconds.
fn in_the_cut() -> Instant {
    Instant::now() + Duration::from_millis(1500)
}

/// Waits until what a client does in the background, an answer after the other, is done.
fn settle(client: &Client) {
    client.wait_connected(Duration::from_secs(60)).unwrap();
    for _ in 0..8 {
        client.sync("/").unwrap();
    }
}

#[test]
fn a_second_join_whose_answer_is_lost_is_not_taken_for_the_first() {
    let (root, _observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    let group = Group::new(&client, "/hosts");
    let first = group.join("host", b"", soon()).unwrap();
    way.lose_answer(MULTI);
    let second = group.join("host", b"", in_a_while());
    assert_eq!(second.map(drop), Err(RecipeError::Taken { path: "/hosts/host".to_owned() }));
    assert_eq!(way.lost(), 1);
    first.check().unwrap();
}

#[test]
fn a_second_join_that_is_given_up_in_doubt_leaves_the_first_alone() {
    let (root, observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    let group = Group::new(&client, "/hosts");
    let first = group.join("host", b"", soon()).unwrap();
    way.close_at_answer(MULTI);
    let second = group.join("host", b"", in_the_cut());
    assert_eq!(second.map(drop), Err(RecipeError::Deadline));
    assert_eq!(way.lost(), 1);
    way.reopen();
    settle(&client);
    let stat = observer.exists("/hosts/host", false).unwrap().expect("it is the first one's");
    assert_eq!(stat.czxid, first.token().0);
    first.check().unwrap();
}

#[test]
fn a_join_before_the_first_connection_that_is_given_up_in_doubt_is_taken_back() {
    let (root, observer) = fresh();
    observer.create("/hosts", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    let way = Way::open();
    way.close();
    let client = through(&way, &root, Options::default());
    way.close_at_answer(MULTI);
    std::thread::scope(|scope| {
        let joining = scope.spawn(|| Group::new(&client, "/hosts").join("host", b"", in_the_cut()));
        way.reopen();
        assert_eq!(joining.join().unwrap().map(drop), Err(RecipeError::Deadline));
    });
    assert_eq!(way.lost(), 1);
    await_children(&observer, "/hosts", 2); // it is there, and its receipt
    way.reopen();
    await_children(&observer, "/hosts", 0);
    assert!(!client.is_over());
}

#[test]
fn a_worker_id_whose_claim_is_given_up_in_doubt_is_taken_back() {
    let (root, observer) = fresh();
    WorkerIds::new(&observer, "/workers", 1).claim(soon()).unwrap().release(soon()).unwrap();
    await_children(&observer, "/workers/receipts", 0);
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    client.wait_connected(Duration::from_secs(60)).unwrap();
    way.close_at_answer(MULTI);
    let claimed = WorkerIds::new(&client, "/workers", 1).claim(in_the_cut());
    assert_eq!(claimed.map(drop), Err(RecipeError::Deadline));
    await_children(&observer, "/workers/claims", 1);
    way.reopen();
    await_children(&observer, "/workers/claims", 0);
    await_children(&observer, "/workers/receipts", 0);
    assert!(!client.is_over());
    WorkerIds::new(&client, "/workers", 1).claim(soon()).unwrap();
}

/// What comes of a value whose answer is lost, where the session ends before anybody can look for it.
fn set_and_lose_the_session(options: Options) {
    let (root, observer) = fresh();
    observer.create("/config", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    let way = Way::open();
    let client = through(&way, &root, options.session_timeout(Duration::from_secs(4)));
    let _held = Lock::new(&client, "/one").acquire(soon()).unwrap();
    let cell = ConfigCell::open(&client, "/config");
    way.close_at_answer(MULTI);
    std::thread::scope(|scope| {
        let setting = scope.spawn(|| cell.set(b"value", None, soon()));
        await_children(&observer, "/one", 0); // with the session
        way.reopen();
        let doubt = ClientError::ConnectionLoss { maybe_applied: true };
        assert_eq!(setting.join().unwrap(), Err(doubt.into()));
    });
    assert_eq!(way.lost(), 1);
    assert_eq!(observer.get("/config", false).unwrap().data.as_deref(), Some(&b"value"[..]));
}

#[test]
fn a_value_in_doubt_stays_so_when_its_session_ends() {
    set_and_lose_the_session(Options::default());
    set_and_lose_the_session(Options::default().renew_expired(true));
}

#[test]
fn what_is_taken_back_is_this_joins_node_and_not_the_next_one_of_its_name() {
    let (root, observer) = fresh();
    observer.create("/hosts", b"", &Acl::open(), CreateMode::Persistent).unwrap();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    client.wait_connected(Duration::from_secs(60)).unwrap();
    way.close_at_answer(MULTI);
    let given_up = Group::new(&client, "/hosts").join("host", b"", in_the_cut());
    assert_eq!(given_up.map(drop), Err(RecipeError::Deadline));
    await_children(&observer, "/hosts", 2); // it, and its receipt
    observer.delete("/hosts/host", -1).unwrap();
    let next = Group::new(&observer, "/hosts").join("host", b"", soon()).unwrap();
    way.reopen();
    await_children(&observer, "/hosts", 1);
    settle(&client);
    assert_eq!(observer.children("/hosts", false).unwrap().names, ["host"]);
    next.check().unwrap();
}

#[test]
fn a_barrier_whose_answers_are_lost_is_said_to_be_in_doubt_and_nothing_is_done_later() {
    let (root, observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    client.wait_connected(Duration::from_secs(60)).unwrap();
    let (ours, theirs) = (Barrier::new(&client, "/gate"), Barrier::new(&observer, "/gate"));
    let doubt = RecipeError::Client(ClientError::Timeout { maybe_applied: true });
    way.close_at_answer(CREATE);
    assert_eq!(ours.set(in_the_cut()), Err(doubt.clone()));
    assert_eq!(way.lost(), 1);
    way.reopen();
    settle(&client);
    let token = ours.set(soon()).unwrap();
    assert_eq!(observer.exists("/gate", false).unwrap().unwrap().czxid, token.0);
    way.close_at_answer(DELETE);
    assert_eq!(ours.lift(in_the_cut()), Err(doubt));
    assert_eq!(way.lost(), 2);
    // Whoever bars the way now may count on it.
    theirs.set(soon()).unwrap();
    assert_eq!(ours.lift(in_the_cut()), Err(RecipeError::Deadline), "nothing was asked");
    way.reopen();
    settle(&client);
    assert!(observer.exists("/gate", false).unwrap().is_some());
    ours.lift(soon()).unwrap();
    assert!(observer.exists("/gate", false).unwrap().is_none());
}

#[test]
fn a_barrier_whose_answer_alone_is_lost_is_set_and_lifted() {
    let (root, observer) = fresh();
    let way = Way::open();
    let gate = Barrier::new(&through(&way, &root, Options::default()), "/far/away/gate");
    gate.set(soon()).unwrap();
    gate.lift(soon()).unwrap();
    for round in 0..3 {
        way.lose_answer(CREATE);
        let token = gate.set(soon()).unwrap();
        let stat = observer.exists("/far/away/gate", false).unwrap().unwrap();
        assert_eq!((stat.czxid, way.lost()), (token.0, 2 * round + 1));
        way.lose_answer(DELETE);
        gate.lift(soon()).unwrap();
        assert_eq!(way.lost(), 2 * round + 2);
        assert!(observer.exists("/far/away/gate", false).unwrap().is_none());
    }
}

#[test]
fn a_lift_whose_answer_is_lost_leaves_alone_what_bars_the_way_since() {
    let (root, observer) = fresh();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    let (ours, theirs) = (Barrier::new(&client, "/gate"), Barrier::new(&observer, "/gate"));
    ours.set(soon()).unwrap();
    way.close_at_answer(DELETE);
    let token = thread::scope(|scope| {
        let lifting = scope.spawn(|| ours.lift(soon()));
        await_lost(&way, 1);
        let token = theirs.set(soon()).unwrap();
        way.reopen();
        assert_eq!(lifting.join().unwrap(), Ok(()));
        token
    });
    assert_eq!(observer.exists("/gate", false).unwrap().map(|it| it.czxid), Some(token.0));
    way.lose_request(DELETE);
    ours.lift(soon()).unwrap();
    assert_eq!(way.lost(), 2);
    assert!(observer.exists("/gate", false).unwrap().is_none());
}

fn await_lost(way: &Way, count: i64) {
    let deadline = soon();
    while way.lost() < count {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
}

/// Gives something up, in each way, whose deletion has no answer, while the next one takes it.
fn give_up_what_another_takes<T: Deref<Target = Tenure> + Sync>(
    take: impl Fn(&Client) -> T,
    give_up: impl Fn(&T, Instant) -> Result<(), RecipeError> + Sync,
) {
    let (root, other) = fresh();
    let way = Way::open();
    let client = through(&way, &root, Options::default());
    let taken = |by: &Client| {
        let held = take(by);
        by.sync("/").unwrap(); // behind the removal of its receipt
        held
    };
    let is_held = |next: &T| {
        settle(&client);
        let stat = other.exists(next.path(), false).unwrap().expect("it is the next one's");
        assert_eq!(stat.czxid, next.token().0);
        next.check().unwrap();
        give_up(next, soon()).unwrap();
    };

    // It is waited for.
    let held = taken(&client);
    way.close_at_answer(DELETE);
    let next = thread::scope(|scope| {
        let giving_up = scope.spawn(|| give_up(&held, soon()));
        await_lost(&way, 1);
        let next = taken(&other);
        way.reopen();
        assert_eq!(giving_up.join().unwrap(), Ok(()));
        next
    });
    is_held(&next);

    // Until a deadline.
    let held = taken(&client);
    way.close_at_answer(DELETE);
    assert_eq!(give_up(&held, in_the_cut()), Err(RecipeError::Deadline));
    assert_eq!(way.lost(), 2);
    let next = taken(&other);
    way.reopen();
    is_held(&next);

    // It is not.
    let held = taken(&client);
    way.close_at_answer(DELETE);
    drop(held);
    await_lost(&way, 3);
    let next = taken(&other);
    way.reopen();
    is_held(&next);

    // What never got there is asked for again.
    let held = taken(&client);
    way.lose_request(DELETE);
    assert_eq!(give_up(&held, soon()), Ok(()));
    assert!(other.exists(held.path(), false).unwrap().is_none());
    let held = taken(&client);
    let path = held.path().to_owned();
    way.lose_request(DELETE);
    drop(held);
    let deadline = soon();
    while other.exists(&path, false).unwrap().is_some() {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    assert_eq!(way.lost(), 5);
    assert!(!client.is_over(), "not by the end of its session");
}

#[test]
fn a_name_that_is_given_up_in_doubt_is_the_next_members() {
    give_up_what_another_takes(
        |client| Group::new(client, "/hosts").join("host", b"", soon()).unwrap(),
        |member, deadline| member.leave(deadline),
    );
}

#[test]
fn a_worker_id_that_is_given_up_in_doubt_is_the_next_owners() {
    give_up_what_another_takes(
        |client| {
            let deadline = soon();
            loop {
                match WorkerIds::new(client, "/workers", 1).claim(deadline) {
                    Err(RecipeError::NoneFree) => assert!(Instant::now() < deadline),
                    claimed => return claimed.unwrap(),
                }
            }
        },
        |worker, deadline| worker.release(deadline),
    );
}

#[test]
fn a_workers_name_that_is_given_up_in_doubt_is_the_next_ones() {
    give_up_what_another_takes(
        |client| TaskBoard::new(client, "/board").work("w", soon()).unwrap(),
        |worker, deadline| worker.leave(deadline),
    );
}
