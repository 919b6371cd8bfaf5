//! Worker ids and the ids made with them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use farwatch_client::recipes::{
    RecipeError, SNOWFLAKE_EPOCH_MS, SNOWFLAKE_WORKERS, Snowflake, SnowflakeOptions, WorkerIds,
};
use farwatch_client::{Acl, Client, CreateMode, MultiOp, Options};

use super::loss::through;
use super::way::{MULTI, Way};
use super::{await_children, fresh, soon};
use crate::server::client_below;

#[test]
fn thirty_two_threads_get_thirty_two_worker_ids_and_the_next_one_gets_none() {
    let (root, client) = fresh();
    let shared = client_below(&root);
    let workers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..32)
            .map(|number| {
                // Some share a session, which must not make them share an id.
                let client = if number % 4 == 0 { client_below(&root) } else { shared.clone() };
                scope.spawn(move || WorkerIds::new(&client, "/workers", 32).claim(soon()).unwrap())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let ids: BTreeSet<u32> = workers.iter().map(|worker| worker.id()).collect();
    assert_eq!(ids, (0..32).collect());
    let allocator = WorkerIds::new(&client, "/workers", 32);
    assert_eq!(allocator.claim(soon()).map(drop), Err(RecipeError::NoneFree));
    let mut workers = workers.into_iter();
    let given_back = workers.next().unwrap();
    let (id, token) = (given_back.id(), given_back.token());
    given_back.release(soon()).unwrap();
    let next = allocator.claim(soon()).unwrap();
    assert_eq!(next.id(), id);
    assert!(token < next.token());
    let none = WorkerIds::new(&client, "/none", 0).claim(soon()).map(drop);
    assert_eq!(none, Err(RecipeError::NoneFree));
    // No list is made of all numbers.
    WorkerIds::new(&client, "/many", u32::MAX).claim(soon()).unwrap().release(soon()).unwrap();
}

#[test]
fn a_claim_whose_answer_is_lost_takes_one_id() {
    let (root, client) = fresh();
    let way = Way::open();
    let allocator = WorkerIds::new(&through(&way, &root, Options::default()), "/workers", 8);
    let first = allocator.claim(soon()).unwrap();
    for count in 2..=5 {
        way.lose_answer(MULTI);
        let worker = allocator.claim(soon()).unwrap();
        assert_eq!(way.lost(), count - 1);
        assert_eq!(client.children("/workers/claims", false).unwrap().names.len(), 2);
        assert_ne!(worker.id(), first.id());
        worker.release(soon()).unwrap();
    }
    await_children(&client, "/workers/receipts", 0);
}

/// A clock that a test turns.
#[derive(Clone)]
struct Hands(Arc<AtomicU64>);

impl Hands {
    fn at(since_epoch_ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(SNOWFLAKE_EPOCH_MS + since_epoch_ms)))
    }

    fn turn(&self, since_epoch_ms: u64) {
        self.0.store(SNOWFLAKE_EPOCH_MS + since_epoch_ms, Ordering::SeqCst);
    }

    fn options(&self) -> SnowflakeOptions {
        let hands = self.clone();
        SnowflakeOptions::default().clock(move || hands.0.load(Ordering::SeqCst))
    }
}

/// Takes all worker ids but one; returns how many.
fn take_all_but(client: &Client, path: &str, id: u32) -> usize {
    let others: Vec<u32> = (0..SNOWFLAKE_WORKERS).filter(|&other| other != id).collect();
    for some in others.chunks(256) {
        let claim = |other: &u32| MultiOp::Create {
            path: format!("{path}/claims/{other}"),
            data: None,
            acl: Acl::open(),
            mode: CreateMode::Ephemeral,
        };
        client.multi(some.iter().map(claim).collect()).unwrap();
    }
    others.len()
}

#[test]
fn an_id_has_its_time_its_worker_and_its_place_in_the_millisecond() {
    let (_root, client) = fresh();
    let hands = Hands::at(1_000_000);
    let snowflake = Snowflake::open(&client, "/ids", hands.options(), soon()).unwrap();
    let worker = u64::from(snowflake.worker().id());
    let parts = |id: u64| (id >> 22, id >> 12 & 0x3ff, id & 0xfff);
    for place in 0..4096 {
        assert_eq!(parts(snowflake.try_next().unwrap()), (1_000_000, worker, place));
    }
    assert_eq!(snowflake.try_next(), Err(RecipeError::Busy), "the millisecond is full");
    hands.turn(1_000_001);
    assert_eq!(parts(snowflake.try_next().unwrap()), (1_000_001, worker, 0));
}

#[test]
fn a_clock_that_goes_back_is_refused_until_it_is_where_it_was() {
    let (_root, client) = fresh();
    let hands = Hands::at(5_000);
    let snowflake = Snowflake::open(&client, "/ids", hands.options(), soon()).unwrap();
    let last = snowflake.next(soon()).unwrap();
    hands.turn(4_990);
    assert_eq!(snowflake.try_next(), Err(RecipeError::ClockBehind { by_ms: 10 }));
    assert_eq!(snowflake.next(soon()), Err(RecipeError::ClockBehind { by_ms: 10 }));
    hands.turn(5_000);
    assert!(last < snowflake.next(soon()).unwrap());
    // Far ahead of what was reserved, it waits for the servers' word and goes on.
    hands.turn(900_000);
    assert!(last < snowflake.next(soon()).unwrap());
}

#[test]
fn at_the_end_of_all_clocks_there_is_no_id_and_no_sum_is_too_large() {
    let (_root, client) = fresh();
    let options = || SnowflakeOptions::default().clock(|| u64::MAX);
    let snowflake = Snowflake::open(&client, "/ids", options(), soon()).unwrap();
    assert_eq!(snowflake.try_next(), Err(RecipeError::Overflow));
    let id = snowflake.worker().id();
    drop(snowflake);
    await_children(&client, "/ids/claims", 0);
    // All others are taken, so that the next owner comes upon that mark.
    take_all_but(&client, "/ids", id);
    let by_zero = SnowflakeOptions::default().clock(|| 0);
    let behind = Snowflake::open(&client, "/ids", by_zero, soon());
    assert_eq!(behind.map(drop), Err(RecipeError::ClockBehind { by_ms: u64::MAX }));
}

#[test]
fn generators_in_many_threads_never_make_the_same_id() {
    let (root, _client) = fresh();
    let ids: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..32)
            .map(|_| {
                let client = client_below(&root);
                scope.spawn(move || {
                    let options = SnowflakeOptions::default();
                    let snowflake = Snowflake::open(&client, "/ids", options, soon()).unwrap();
                    let ids: Vec<u64> =
                        (0..2000).map(|_| snowflake.next(soon()).unwrap()).collect();
                    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
                    snowflake.close(soon()).unwrap();
                    ids
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}

#[test]
fn a_new_owner_of_a_worker_id_never_makes_what_its_former_owner_may_make_still() {
    let (root, client) = fresh();
    let way = Way::open();
    let short = Options::default().session_timeout(Duration::from_secs(1));
    let hands = Hands::at(10_000);
    let former =
        Snowflake::open(&through(&way, &root, short), "/ids", hands.options(), soon()).unwrap();
    let id = former.worker().id();
    // The new owner can get none but this one.
    let others = take_all_but(&client, "/ids", id);
    way.close();
    await_children(&client, "/ids/claims", others);
    let behind = Snowflake::open(&client, "/ids", hands.options(), soon());
    let RecipeError::ClockBehind { by_ms } = behind.map(drop).unwrap_err() else {
        panic!("its former owner may make ids still");
    };
    // The former owner does not know that its session is over, and makes ids while it may.
    let mut ids = vec![former.try_next().unwrap()];
    hands.turn(10_000 + by_ms - 1);
    ids.push(former.try_next().unwrap());
    hands.turn(10_000 + by_ms);
    assert_eq!(former.try_next(), Err(RecipeError::Busy), "it may not go beyond its mark");
    let new = Snowflake::open(&client, "/ids", hands.options(), soon()).unwrap();
    assert_eq!(new.worker().id(), id);
    ids.push(new.try_next().unwrap());
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    way.reopen();
    assert_eq!(former.next(soon()), Err(RecipeError::Lost));
}

#[test]
fn a_mark_whose_answer_is_lost_is_looked_up_and_ids_go_on() {
    let (root, _client) = fresh();
    let way = Way::open();
    let hands = Hands::at(1_000);
    let client = through(&way, &root, Options::default());
    let snowflake = Snowflake::open(&client, "/ids", hands.options(), soon()).unwrap();
    let mut last = 0;
    for round in 1..=4 {
        way.lose_answer(super::way::SET);
        hands.turn(1_000 + round * 60_000);
        let id = snowflake.next(Instant::now() + Duration::from_secs(30)).unwrap();
        assert_eq!(way.lost() as u64, round);
        assert!(last < id);
        last = id;
    }
}

#[test]
fn an_id_made_between_a_look_at_the_clock_and_its_own_is_no_clock_that_went_back() {
    let (_root, client) = fresh();
    let now_ms = Arc::new(AtomicU64::new(SNOWFLAKE_EPOCH_MS + 1000));
    let is_overtaken = Arc::new(AtomicBool::new(false));
    let other: Arc<OnceLock<Weak<Snowflake>>> = Arc::default();
    let clock = {
        let (now_ms, is_overtaken) = (Arc::clone(&now_ms), Arc::clone(&is_overtaken));
        let other = Arc::clone(&other);
        move || {
            let seen_ms = now_ms.load(Ordering::SeqCst);
            if is_overtaken.swap(false, Ordering::SeqCst) {
                now_ms.fetch_add(1, Ordering::SeqCst);
                other.get().unwrap().upgrade().unwrap().try_next().unwrap();
            }
            seen_ms
        }
    };
    let options = SnowflakeOptions::default().clock(clock);
    let snowflake = Arc::new(Snowflake::open(&client, "/ids", options, soon()).unwrap());
    other.set(Arc::downgrade(&snowflake)).unwrap();
    let before = snowflake.next(soon()).unwrap();
    is_overtaken.store(true, Ordering::SeqCst);
    let id = snowflake.try_next().unwrap();
    assert_eq!(id - before, (1 << 22) + 1, "the second of the next millisecond");
    now_ms.fetch_sub(1, Ordering::SeqCst);
    assert_eq!(snowflake.try_next(), Err(RecipeError::ClockBehind { by_ms: 1 }));
}

#[test]
fn a_new_owner_makes_no_id_in_the_millisecond_in_which_its_former_owner_ended() {
    let (_root, client) = fresh();
    let hands = Hands::at(10_000);
    let former = Snowflake::open(&client, "/ids", hands.options(), soon()).unwrap();
    let made = [former.try_next().unwrap(), former.try_next().unwrap()];
    let id = former.worker().id();
    former.close(soon()).unwrap();
    take_all_but(&client, "/ids", id);
    hands.turn(10_001);
    let new = Snowflake::open(&client, "/ids", hands.options(), soon()).unwrap();
    hands.turn(10_000); // the clock goes back
    assert_eq!(new.try_next(), Err(RecipeError::Busy));
    hands.turn(10_001);
    assert!(made[1] < new.try_next().unwrap());
}
