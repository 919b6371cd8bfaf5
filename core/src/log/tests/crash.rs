//! Crashes at every operation, and crashes of the recovery from them.

use super::*;

/// Recovers, checks what must and may be there, and that the log can be gone on with.
fn check(crashed: &FakeDisk, acknowledged: u32, proposed: u32, what: &str) -> u32 {
    let recovery = recover(crashed, CLUSTER).unwrap_or_else(|e| panic!("{what}: {e}"));
    let last = load(crashed, &recovery).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(acknowledged <= last, "{what}: {acknowledged} was acknowledged, {last} is left");
    assert!(last <= proposed, "{what}: {last} was never proposed, only {proposed}");
    last
}

fn history_to(last: u32) -> History {
    let mut history = History::new();
    history.run(last);
    history
}

#[test]
fn no_crash_loses_what_was_acknowledged_or_finds_what_was_not_proposed() {
    let disk = FakeDisk::new();
    let mut server = Server::new(&disk);
    server.live(24).unwrap();
    server.submit(2);
    server.submit(1);
    let (mut states, mut nested, mut prng) = (0_u64, 0_u64, 0x5eed);
    for prefix in 0..=disk.operations() {
        let acknowledged = known(&server.acknowledged, prefix);
        let proposed = known(&server.proposed, prefix);
        disk.crash_states(prefix, 80, &mut prng, |crashed| {
            states += 1;
            let what = format!("state {states} at operation {prefix}");
            let before = states.is_multiple_of(97).then(|| crashed.copy());
            let last = check(crashed, acknowledged, proposed, &what);
            if let Some(before) = before {
                nested += go_on_and_crash_again(&before, last, &what);
            }
        });
    }
    println!("{states} crash states, {nested} of crashes behind a recovery");
    assert!(states >= 20_000);
    assert!(nested >= 5_000);
}

/// Recovers, appends a little, and crashes at every operation of that.
fn go_on_and_crash_again(crashed: &FakeDisk, last: u32, what: &str) -> u64 {
    let recovery = recover(crashed, CLUSTER).unwrap();
    let recovered = crashed.operations();
    let mut server = Server::go_on(crashed, recovery, history_to(last), 0x1000);
    server.submit(1);
    server.submit(2);
    server.finish(1);
    server.finish_all();
    server.seal().unwrap();
    server.finish_all();
    let (mut states, mut prng) = (0, 0xface);
    for prefix in 0..=crashed.operations() {
        // Until it has recovered nobody was told that the tail is there.
        let acknowledged = if prefix < recovered { 0 } else { known(&server.acknowledged, prefix) };
        let proposed = known(&server.proposed, prefix).max(last);
        crashed.crash_states(prefix, 6, &mut prng, |again| {
            states += 1;
            check(again, acknowledged, proposed, &format!("{what}, again at {prefix}"));
        });
    }
    states
}

#[test]
fn a_cut_tail_never_comes_back_behind_a_new_one() {
    // Three batches in flight, of which only the last two reach the disk; then a shorter one in
    // their place, so that the old ones would follow it exactly.
    let disk = FakeDisk::new();
    let mut server = Server::new(&disk);
    server.submit(1);
    server.finish_all();
    let kept = server.history.last();
    let mark = disk.operations();
    (0..3).for_each(|_| server.submit(2));
    server.finish(2);
    server.finish(1);
    let mut cut = 0;
    disk.crash_states(disk.operations(), 200, &mut 77, |crashed| {
        let recovery = recover(crashed, CLUSTER).unwrap();
        let last = load(crashed, &recovery).unwrap();
        if last != kept {
            return;
        }
        cut += 1;
        assert!(matches!(recovery.notes[..], [Note::TornTail { .. }]));
        let mut server = Server::go_on(crashed, recovery, history_to(last), 0x1000);
        server.submit(2);
        server.finish_all();
        let last = server.history.last();
        check(&crashed.copy(), last, last, "behind a cut");
    });
    assert!(mark > 0 && cut > 50, "{cut} tails were cut");
}

#[test]
fn a_recycled_segment_shows_nothing_of_its_former_life() {
    let disk = FakeDisk::new();
    let mut server = Server::new(&disk);
    server.live(24).unwrap();
    let recycled = server.log.next_spare > server.log.segments().len() as u64 + 2;
    assert!(recycled || !server.log.spares().is_empty());
    let last = server.history.last();
    check(&disk.copy(), last, last, "after a long life");
}
