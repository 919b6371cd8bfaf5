use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use farwatch_client::Options;
use farwatch_client::recipes::{Item, Queue, RecipeError};

use super::loss::through;
use super::way::{MULTI, Way};
use super::{Counting, await_children, fresh, shortly, soon};
use crate::server::client_below;

fn text(item: &Item) -> String {
    String::from_utf8(item.data.clone()).unwrap()
}

#[test]
fn items_come_out_in_the_order_in_which_they_went_in() {
    let (root, client) = fresh();
    let (puts, takes) = (Queue::new(&client, "/queue"), Queue::new(&client_below(&root), "/queue"));
    assert_eq!(takes.try_take(soon()).unwrap(), None);
    let tokens: Vec<_> =
        (0..20).map(|number| puts.put(format!("{number}").as_bytes(), soon()).unwrap()).collect();
    assert!(tokens.is_sorted());
    for (number, token) in tokens.iter().enumerate() {
        let item = takes.take(soon()).unwrap();
        assert_eq!((text(&item), item.token), (number.to_string(), *token));
    }
    let late = takes.take(shortly());
    assert_eq!(late, Err(RecipeError::Deadline));
    await_children(&client, "/queue/takers", 0);
    await_children(&client, "/queue/receipts", 0);
}

#[test]
fn each_item_is_taken_once_and_each_taker_sees_them_in_order() {
    const PUTTERS: usize = 3;
    const EACH: usize = 20;
    let (root, client) = fresh();
    let mut taken = thread::scope(|scope| {
        let takers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let queue = Queue::new(&client_below(&root), "/queue");
                    let mut taken = Vec::new();
                    loop {
                        let item = queue.take(soon()).unwrap();
                        if item.data.is_empty() {
                            return taken;
                        }
                        assert!(taken.last().is_none_or(|last: &Item| last.token < item.token));
                        taken.push(item);
                    }
                })
            })
            .collect();
        let putters: Vec<_> = (0..PUTTERS)
            .map(|putter| {
                let root = &root;
                scope.spawn(move || {
                    let queue = Queue::new(&client_below(root), "/queue");
                    for number in 0..EACH {
                        queue.put(format!("{putter} {number}").as_bytes(), soon()).unwrap();
                    }
                })
            })
            .collect();
        putters.into_iter().for_each(|thread| thread.join().unwrap());
        let queue = Queue::new(&client, "/queue");
        for _ in &takers {
            queue.put(b"", soon()).unwrap();
        }
        takers.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    taken.sort_by_key(|item| item.token);
    assert_eq!(taken.len(), PUTTERS * EACH);
    for putter in 0..PUTTERS {
        let own = taken.iter().map(text).filter(|text| text.starts_with(&format!("{putter} ")));
        let expected = (0..EACH).map(|number| format!("{putter} {number}"));
        assert!(own.eq(expected), "the items of one putter keep their order");
    }
}

#[test]
fn an_item_wakes_one_of_those_that_wait() {
    let (root, client) = fresh();
    let queue = Queue::new(&client, "/queue");
    queue.put(b"first", soon()).unwrap();
    queue.take(soon()).unwrap();
    let waiting: Vec<Counting> = (0..4).map(|_| Counting::below(&root)).collect();
    let (sender, taken) = mpsc::channel();
    thread::scope(|scope| {
        for (place, counting) in waiting.iter().enumerate() {
            let (queue, sender) = (Queue::new(&counting.client, "/queue"), sender.clone());
            scope.spawn(move || sender.send((place, queue.take(soon()).unwrap())).unwrap());
            await_children(&client, "/queue/takers", place + 1);
        }
        for turn in 0..4 {
            queue.put(format!("{turn}").as_bytes(), soon()).unwrap();
            let (place, item) = taken.recv_timeout(Duration::from_secs(60)).unwrap();
            assert_eq!((place, text(&item)), (turn, turn.to_string()));
            let told: Vec<usize> = waiting.iter().map(Counting::told).collect();
            let behind = told.iter().skip(turn + 2).sum::<usize>();
            assert_eq!(behind, 0, "only the one in front and the next: {told:?}");
        }
    });
}

#[test]
fn neither_a_put_nor_a_take_is_done_twice_when_its_answer_is_lost() {
    let (root, client) = fresh();
    let way = Way::open();
    let queue = Queue::new(&through(&way, &root, Options::default()), "/queue");
    queue.put(b"", soon()).unwrap();
    queue.take(soon()).unwrap();
    for number in 0..4 {
        way.lose_answer(MULTI);
        queue.put(format!("{number}").as_bytes(), soon()).unwrap();
    }
    assert_eq!(client.children("/queue/items", false).unwrap().names.len(), 4);
    for number in 0..4 {
        way.lose_answer(MULTI);
        assert_eq!(text(&queue.take(soon()).unwrap()), number.to_string());
    }
    assert_eq!(way.lost(), 8);
    assert_eq!(queue.try_take(soon()).unwrap(), None);
    await_children(&client, "/queue/receipts", 0);
}
