use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use farwatch_client::recipes::{Election, LeaderLatch, LeaderSelector, RecipeError};

use super::{Counting, await_children, fresh, shortly, soon};
use crate::server::client_below;

#[test]
fn of_several_candidates_one_leads_and_the_others_see_who() {
    let (root, client) = fresh();
    let latch = LeaderLatch::new(&client, "/leader");
    assert_eq!(latch.leader(soon()).unwrap(), None);
    let candidates: Vec<_> = (0..5)
        .map(|number| {
            let latch = LeaderLatch::new(&client_below(&root), "/leader");
            latch.join(format!("number {number}").as_bytes(), soon()).unwrap()
        })
        .collect();
    candidates[0].wait(soon()).unwrap();
    for (number, candidate) in candidates.iter().enumerate() {
        let leader = candidate.leader(soon()).unwrap().unwrap();
        assert_eq!(leader.id, b"number 0");
        assert_eq!(candidate.is(&leader), number == 0);
        let waited = candidate.wait(if number == 0 { soon() } else { shortly() });
        assert_eq!(waited.is_ok(), number == 0, "{waited:?}");
    }
    // One steps back in the middle, which changes nothing for the others.
    let mut candidates = candidates.into_iter();
    let first = candidates.next().unwrap().lead(soon()).unwrap();
    candidates.next().unwrap().withdraw(soon()).unwrap();
    assert_eq!(latch.leader(soon()).unwrap().unwrap().token, first.token());
    let mut last = first.token();
    first.resign(soon()).unwrap();
    for candidate in candidates {
        let leadership = candidate.lead(soon()).unwrap();
        assert_eq!(latch.leader(soon()).unwrap().unwrap().token, leadership.token());
        assert!(last < leadership.token());
        last = leadership.token();
        leadership.resign(soon()).unwrap();
    }
    assert_eq!(latch.leader(soon()).unwrap(), None);
}

#[test]
fn a_resignation_wakes_the_next_one_only() {
    let (root, client) = fresh();
    let leading = LeaderLatch::new(&client, "/leader").join(b"0", soon()).unwrap();
    let leading = leading.lead(soon()).unwrap();
    let waiting: Vec<Counting> = (0..5).map(|_| Counting::below(&root)).collect();
    let (sender, elected) = mpsc::channel();
    thread::scope(|scope| {
        for (number, counting) in waiting.iter().enumerate() {
            let latch = LeaderLatch::new(&counting.client, "/leader");
            let candidate = latch.join(b"", soon()).unwrap();
            let sender = sender.clone();
            scope.spawn(move || {
                let leadership = candidate.lead(soon()).unwrap();
                sender.send((number, leadership)).unwrap();
            });
        }
        await_children(&client, "/leader", 6);
        leading.resign(soon()).unwrap();
        let (number, leadership) = elected.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(number, 0);
        let told: Vec<usize> = waiting.iter().map(Counting::told).collect();
        assert!(told[0] <= 1, "at most its predecessor's end: {told:?}");
        assert_eq!(told[1..].iter().sum::<usize>(), 0, "{told:?}");
        drop(leadership);
        for _ in 1..5 {
            drop(elected.recv_timeout(Duration::from_secs(60)).unwrap());
        }
    });
}

#[test]
fn a_selector_leads_for_as_long_as_its_work_and_those_that_lose_learn_to_whom() {
    let (root, client) = fresh();
    let first = LeaderSelector::new(&client, "/leader", b"first");
    let second = LeaderSelector::new(&client_below(&root), "/leader", b"second");
    let run = first.run(soon(), |leadership| {
        let deadline = shortly();
        let lost = second.run(deadline, |_leadership| "led, too").unwrap();
        let Election::Lost(leader) = lost else { panic!("{lost:?}") };
        assert_eq!((leader.id.as_slice(), leader.token), (&b"first"[..], leadership.token()));
        leadership.check().unwrap();
        "worked"
    });
    assert_eq!(run.unwrap(), Election::Won("worked"));
    assert_eq!(second.run(soon(), |leadership| leadership.token()).map(|_| ()), Ok(()));
    assert_eq!(second.leader(soon()).unwrap(), None);
}

#[test]
fn who_leads_by_a_selector_does_so_until_it_resigns_and_who_lost_is_in_line_no_more() {
    let (root, client) = fresh();
    let first = LeaderSelector::new(&client, "/leader", b"first");
    let second = LeaderSelector::new(&client_below(&root), "/leader", b"second");
    assert_eq!(first.id(), b"first");
    let Election::Won(leadership) = first.lead(soon()).unwrap() else {
        panic!("nobody else stands")
    };
    let Election::Lost(leader) = second.lead(shortly()).unwrap() else { panic!("there are two") };
    assert_eq!((leader.id.as_slice(), leader.token), (&b"first"[..], leadership.token()));
    leadership.check().unwrap();
    leadership.resign(soon()).unwrap();
    assert_eq!(first.leader(soon()).unwrap(), None, "the one that lost stands no more");
    let Election::Won(next) = second.lead(soon()).unwrap() else { panic!("it is free") };
    assert!(leadership.token() < next.token());
}

#[test]
fn a_leader_that_cannot_do_its_work_resigns_and_the_next_one_leads() {
    let (root, client) = fresh();
    let other = LeaderLatch::new(&client_below(&root), "/leader");
    let leading = LeaderLatch::new(&client, "/leader").join(b"sick", soon()).unwrap();
    let leading = leading.lead(soon()).unwrap();
    let standby = other.join(b"well", soon()).unwrap();
    assert_eq!(standby.wait(shortly()), Err(RecipeError::Deadline));
    leading.resign(soon()).unwrap();
    standby.wait(soon()).unwrap();
    assert_eq!(standby.leader(soon()).unwrap().unwrap().id, b"well");
}

#[test]
fn a_candidate_that_withdraws_waits_no_more_on_another_thread() {
    let (_root, client) = fresh();
    let latch = LeaderLatch::new(&client, "/leader");
    let leading = latch.join(b"first", soon()).unwrap().lead(soon()).unwrap();
    let candidate = latch.join(b"second", soon()).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| candidate.wait(soon()));
        candidate.withdraw(soon()).unwrap();
        assert_eq!(waiting.join().unwrap(), Err(RecipeError::Lost));
    });
    assert_eq!(latch.leader(soon()).unwrap().unwrap().token, leading.token());
}

#[test]
fn a_candidate_asks_whether_it_is_its_turn_and_stays_in_line() {
    let (_root, client) = fresh();
    let latch = LeaderLatch::new(&client, "/leader");
    let first = latch.join(b"first", soon()).unwrap();
    let second = latch.join(b"second", soon()).unwrap();
    assert_eq!(second.wait_for(Duration::ZERO, soon()), Err(RecipeError::Deadline));
    assert_eq!(first.wait_for(Duration::ZERO, soon()), Ok(()));
    first.check().unwrap();
    first.withdraw(soon()).unwrap();
    assert_eq!(second.wait_for(Duration::ZERO, soon()), Ok(()));
    client.delete(second.path(), -1).unwrap();
    assert_eq!(second.wait_for(Duration::ZERO, soon()), Err(RecipeError::Lost));
}
