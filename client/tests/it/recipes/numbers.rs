//! Counters and ids.

use std::thread;

use farwatch_client::recipes::{Counter, RecipeError};
use farwatch_client::{Acl, CreateMode, Options};

use super::loss::through;
use super::way::{MULTI, Way};
use super::{await_children, fresh, soon};
use crate::server::client_below;

#[test]
fn every_addition_of_many_threads_counts_once_and_tokens_grow_with_the_value() {
    let (root, client) = fresh();
    let mut counts = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let counter = Counter::new(&client_below(&root), "/counters/one");
                    (0..15).map(|_| counter.add(1, soon()).unwrap()).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    counts.sort_by_key(|count| count.value);
    let values: Vec<i64> = counts.iter().map(|count| count.value).collect();
    assert_eq!(values, (1..=120).collect::<Vec<i64>>());
    assert!(counts.windows(2).all(|pair| pair[0].token < pair[1].token));
    let counter = Counter::new(&client, "/counters/one");
    client.sync("/").unwrap();
    assert_eq!(counter.get(soon()).unwrap(), counts[119]);
    await_children(&client, "/counters/one", 0); // no receipt is left
}

#[test]
fn an_addition_whose_answer_is_lost_is_not_made_twice() {
    let (root, client) = fresh();
    let way = Way::open();
    let cut = through(&way, &root, Options::default());
    let counter = Counter::new(&cut, "/one");
    for round in 1..=6 {
        way.lose_answer(MULTI);
        assert_eq!(counter.add(1, soon()).unwrap().value, round);
        assert_eq!(way.lost(), round);
    }
    way.lose_answer(MULTI);
    let set = counter.compare_and_set(6, 60, soon()).unwrap().unwrap();
    assert_eq!((set.value, way.lost()), (60, 7));
    assert_eq!(client.get("/one", false).unwrap().stat.mzxid, set.token.0);
    await_children(&client, "/one", 0);
}

#[test]
fn a_value_is_replaced_only_if_it_is_the_expected_one() {
    let (root, client) = fresh();
    let counter = Counter::new(&client, "/one");
    assert_eq!(counter.get(soon()).unwrap().value, 0);
    assert_eq!(counter.compare_and_set(5, 6, soon()).unwrap(), None);
    assert_eq!(counter.compare_and_set(0, -5, soon()).unwrap().unwrap().value, -5);
    let other = Counter::new(&client_below(&root), "/one");
    assert_eq!(other.compare_and_set(0, 9, soon()).unwrap(), None);
    assert_eq!(other.add(-1, soon()).unwrap().value, -6);
    counter.compare_and_set(-6, i64::MAX, soon()).unwrap().unwrap();
    assert_eq!(counter.add(1, soon()), Err(RecipeError::Overflow));
    assert_eq!(other.add(0, soon()).unwrap().value, i64::MAX);
    client.create("/text", b"many", &Acl::open(), CreateMode::Persistent).unwrap();
    let bad = RecipeError::BadData { path: "/text".to_owned() };
    assert_eq!(Counter::new(&client, "/text").add(1, soon()), Err(bad));
}
