use std::thread;
use std::time::{Duration, Instant};

use farwatch_client::recipes::{
    ConfigCell, LeaderLatch, Lock, Queue, RecipeError, SNOWFLAKE_EPOCH_MS, Semaphore, Snowflake,
    SnowflakeOptions,
};
use farwatch_client::{Client, Options, Stop};

use super::{await_children, fresh, soon};
use crate::server::address;
use crate::way::Way;

/// Far beyond what a test may take.
fn never() -> Instant {
    Instant::now() + Duration::from_secs(100_000)
}

/// Starts `wait` on a thread, does `meanwhile`, stops it, and returns whether it may have asked for something
/// then, and what it failed with.
fn stopped<T: Send>(
    wait: impl FnOnce() -> Result<T, RecipeError> + Send,
    meanwhile: impl FnOnce(),
) -> (bool, RecipeError) {
    let stop = Stop::default();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| stop.run(wait).err().expect("it does not come about"));
        meanwhile();
        let is_asking = stop.raise();
        (is_asking, waiting.join().unwrap())
    })
}

#[test]
fn what_waits_in_line_is_stopped_and_leaves_nothing_behind() {
    let (_root, client) = fresh();
    let held = Lock::new(&client, "/lock").acquire(soon()).unwrap();
    let wait = || Lock::new(&client, "/lock").acquire(never());
    let (_, error) = stopped(wait, || await_children(&client, "/lock", 2));
    assert_eq!(error, RecipeError::Deadline);
    await_children(&client, "/lock", 1);
    held.release(soon()).unwrap();

    let semaphore = Semaphore::new(&client, "/semaphore", 1);
    let permit = semaphore.acquire(soon()).unwrap();
    let wait = || semaphore.acquire(never());
    stopped(wait, || await_children(&client, "/semaphore/leases", 2));
    await_children(&client, "/semaphore/leases", 1);
    await_children(&client, "/semaphore/locks", 0);
    permit.release(soon()).unwrap();
}

#[test]
fn a_candidate_whose_wait_is_stopped_stays_in_line() {
    let (_root, client) = fresh();
    let latch = LeaderLatch::new(&client, "/latch");
    let first = latch.join(b"first", soon()).unwrap();
    first.wait(soon()).unwrap();
    let second = latch.join(b"second", soon()).unwrap();
    let (_, error) = stopped(|| second.wait(never()), || {});
    assert_eq!(error, RecipeError::Deadline);
    first.withdraw(soon()).unwrap();
    second.wait(soon()).unwrap();
}

#[test]
fn a_take_that_is_stopped_while_it_waits_takes_nothing() {
    let (_root, client) = fresh();
    let queue = Queue::new(&client, "/queue");
    for rounds in 0.. {
        let meanwhile = || {
            await_children(&client, "/queue/takers", 1);
            (0..1 << rounds).for_each(|_| client.sync("/").unwrap()); // until it is past its requests
        };
        let (may_have_asked, error) = stopped(|| queue.take(never()), meanwhile);
        assert_eq!(error, RecipeError::Deadline);
        await_children(&client, "/queue/takers", 0);
        if !may_have_asked {
            break; // it was stopped where it waited for an item
        }
    }
    queue.put(b"item", soon()).unwrap();
    assert_eq!(queue.take(soon()).unwrap().data, b"item");
}

#[test]
fn neither_a_silent_server_nor_none_holds_up_who_is_stopped() {
    let (root, _client) = fresh();
    let way = Way::to(address());
    let options = || Options::default().request_timeout(Duration::from_secs(100_000));
    let through = format!("{}{root}", way.address);
    let client = Client::open(&through, options()).unwrap();
    client.wait_connected(Duration::from_secs(60)).unwrap();
    way.mute();
    let unheard = || Lock::new(&client, "/unheard").acquire(never());
    assert_eq!(stopped(unheard, || {}).1, RecipeError::Deadline);
    way.cut();
    let homeless = Client::open(&through, options()).unwrap();
    let queue = Queue::new(&homeless, "/queue");
    assert_eq!(stopped(|| queue.take(never()), || {}).1, RecipeError::Deadline);
    assert_eq!(stopped(|| queue.put(b"", never()), || {}).1, RecipeError::Deadline);
}

#[test]
fn what_waits_for_a_change_or_for_the_next_id_is_stopped() {
    let (_root, client) = fresh();
    let cell = ConfigCell::open(&client, "/config");
    let seen = cell.wait_beyond(0, soon()).unwrap();
    assert_eq!(stopped(|| cell.wait_beyond(seen, never()), || {}).1, RecipeError::Deadline);
    // The clock stands, and the ids of its millisecond are made.
    let stands = SnowflakeOptions::default().clock(|| SNOWFLAKE_EPOCH_MS + 1);
    let snowflake = Snowflake::open(&client, "/ids", stands, soon()).unwrap();
    while snowflake.try_next() != Err(RecipeError::Busy) {}
    assert_eq!(stopped(|| snowflake.next(never()), || {}).1, RecipeError::Deadline);
}
