//! An observer in this process, beside voters that are processes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use farwatch_cli::demo::wire::Cut;
use farwatch_client::{ClientError, Freshness};
use farwatch_core::zxid::Zxid;
use farwatch_observer::embedded::{
    Change, ChangeKind, Lost, Next, Observer, Options, Subscription, Thread, WaitError,
};

use super::sites::{NEAR, committed, create, patient_client, places, set, voters, wire};
use crate::ensemble::servers::{PATIENCE, until};
use crate::ensemble::snapshots::{LINES, NODES, write_past};
use crate::subject::Chance;

pub fn options(upstreams: &[SocketAddr]) -> Options {
    Options::of(upstreams.iter().map(|it| (it.ip().to_string(), it.port())).collect())
}

pub fn soon() -> Instant {
    Instant::now() + PATIENCE
}

pub fn zxid(raw: i64) -> Zxid {
    Zxid(raw as u64)
}

pub fn text(observer: &Observer, path: &str) -> Option<String> {
    let visit = observer.visit();
    let node = visit.view().get(path.as_bytes())?;
    Some(String::from_utf8(node.data()?.to_vec()).expect("text"))
}

/// The next change, which must come.
#[track_caller]
fn change(feed: &Subscription) -> Change {
    match feed.next(soon()).expect("nothing was missed") {
        Next::Change(change) => Change::clone(&change),
        other => panic!("{other:?} instead of a change"),
    }
}

#[test]
fn reads_in_the_process_show_what_was_acknowledged_and_a_held_view_stays() {
    let ensemble = voters(&[]);
    let mut client = patient_client(ensemble.server(1));
    create(&mut client, "/a", b"first");
    let made = create(&mut client, "/a/b", b"child");
    let observer = Observer::open(&options(&places(&ensemble))).expect("an observer");
    observer.wait_ready(zxid(made), soon()).expect("it learns");
    assert_eq!(text(&observer, "/a").as_deref(), Some("first"));
    let held = observer.hold();
    let done = set(&mut client, "/a", b"second");
    observer.wait_ready(zxid(done), soon()).expect("it goes on");
    assert_eq!(text(&observer, "/a").as_deref(), Some("second"));
    let node = held.view().get(b"/a").expect("there");
    assert_eq!((node.data(), node.stat().version), (Some(&b"first"[..]), 0));
    assert_eq!(node.children().collect::<Vec<_>>(), [b"b"]);
    until("the old version is counted", PATIENCE, || 0 < observer.lag().versions_kept);
    drop(held);
    until("nothing is kept", PATIENCE, || observer.lag().versions_kept == 0);
    let lag = observer.lag();
    assert!(lag.is_linked && zxid(done) <= lag.zxid && lag.stale.is_some(), "{lag:?}");
    observer.close();
    assert_eq!(text(&observer, "/a").as_deref(), Some("second"));
    assert_eq!(observer.ended().as_deref(), Some("it was closed"));
    assert!(!observer.lag().is_linked);
    let waited = observer.wait_ready(Zxid(u64::MAX), soon());
    assert_eq!(waited, Err(WaitError::Ended("it was closed".to_owned())));
}

#[test]
fn who_waits_in_vain_is_told_what_is_with_the_upstreams() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port"); // and closed again
    let place = closed.local_addr().expect("bound");
    drop(closed);
    let observer = Observer::open(&options(&[place])).expect("no link is needed");
    let why = format!("the observer did not get there in time: {place} is not linked (");
    until("the reason is told", PATIENCE, || {
        let waited = observer.wait_ready(Zxid(0), Instant::now() + Duration::from_millis(100));
        let said = waited.expect_err("nobody is there").to_string();
        said.starts_with(&why) && said.contains("refused")
    });
}

#[test]
fn readers_never_fail_and_know_how_stale_they_are_while_the_link_is_cut() {
    let mut chance = Chance::printed("embedded_cut");
    let ensemble = voters(&[]);
    let way = wire(&ensemble, NEAR, &mut chance);
    let mut client = patient_client(ensemble.server(1));
    let made = create(&mut client, "/value", b"0");
    let observer = Observer::open(&options(way.places())).expect("an observer");
    observer.wait_ready(zxid(made), soon()).expect("it learns");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let (mut reads, mut last) = (0_u64, 0);
                    while !stop.load(Ordering::Relaxed) {
                        let read = text(&observer, "/value").expect("there");
                        let read: u64 = read.parse().expect("a number");
                        assert!(last <= read, "a read went back");
                        (reads, last) = (reads + 1, read);
                    }
                    reads
                })
            })
            .collect();
        way.cut(Cut::Silent);
        let mut last = 0;
        for value in 1..=50 {
            last = set(&mut client, "/value", value.to_string().as_bytes());
        }
        until("it knows that it is stale", PATIENCE, || {
            let lag = observer.lag();
            !lag.is_linked && lag.stale.is_some_and(|stale| Duration::from_secs(2) < stale)
        });
        assert!(observer.lag().zxid < zxid(last));
        way.heal();
        observer.wait_ready(zxid(last), soon()).expect("it heals");
        assert_eq!(text(&observer, "/value").as_deref(), Some("50"));
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(0 < reader.join().expect("no read failed"));
        }
    });
    until("it is current again", PATIENCE, || {
        observer.lag().stale.is_some_and(|stale| stale < Duration::from_secs(2))
    });
}

#[test]
fn a_subscription_tells_every_change_in_order_with_the_value_of_its_time() {
    let ensemble = voters(&[]);
    let mut client = patient_client(ensemble.server(1));
    create(&mut client, "/app", b"");
    create(&mut client, "/apple", b"");
    let made = create(&mut client, "/app/node", b"0");
    let observer = Observer::open(&options(&places(&ensemble))).expect("an observer");
    observer.wait_ready(zxid(made), soon()).expect("it learns");
    let feed = observer.subscribe(b"/app", None).expect("from now on");
    let begins = feed.zxid();
    let mut sets = Vec::new();
    for value in 1..=100 {
        set(&mut client, "/apple", b"not below");
        sets.push(set(&mut client, "/app/node", value.to_string().as_bytes()));
    }
    let deleted = client.must(&farwatch_bench::raw::request::delete("/app/node", -1)).zxid;
    for (value, &made) in (1..).zip(&sets) {
        let told = change(&feed);
        assert_eq!((told.kind, told.zxid), (ChangeKind::Set, zxid(made)));
        assert_eq!(&*told.path, b"/app/node");
        assert_eq!(told.data.as_deref(), Some(value.to_string().as_bytes()));
        assert_eq!(told.stat.expect("a node").version, value);
    }
    let told = change(&feed);
    assert_eq!((told.kind, told.zxid, told.stat), (ChangeKind::Deleted, zxid(deleted), None));
    // From a zxid in the middle it goes on behind that, and from before the first it cannot.
    let later = observer.subscribe(b"/", Some(zxid(sets[49]))).expect("in the window");
    assert_eq!(&*change(&later).path, b"/apple");
    assert_eq!(change(&later).zxid, zxid(sets[50]));
    let before = Zxid(begins.0 - 1);
    assert_eq!(observer.subscribe(b"/", Some(before)).err(), Some(Lost { from: before }));
    observer.close();
    assert!(matches!(feed.next(soon()), Ok(Next::Ended(_))));
}

#[test]
fn a_subscription_that_lags_too_far_behind_is_told_so() {
    let ensemble = voters(&[]);
    let mut client = patient_client(ensemble.server(1));
    let made = create(&mut client, "/value", b"");
    let options = Options { window_bytes_max: 10_000, ..options(&places(&ensemble)) };
    let observer = Observer::open(&options).expect("an observer");
    observer.wait_ready(zxid(made), soon()).expect("it learns");
    let feed = observer.subscribe(b"/value", None).expect("from now on");
    let mut last = 0;
    for _ in 0..30 {
        last = set(&mut client, "/value", &[b'v'; 1000]);
    }
    observer.wait_ready(zxid(last), soon()).expect("it goes on");
    let lost = feed.next(soon()).expect_err("it is no longer there");
    assert_eq!(lost.from, feed.zxid());
    // Reading what is there and subscribing from that loses nothing.
    let from = observer.hold().view().zxid();
    let feed = observer.subscribe(b"/value", Some(from)).expect("the newest is there");
    let done = set(&mut client, "/value", b"next");
    assert_eq!(change(&feed).zxid, zxid(done));
}

#[test]
fn what_is_kept_on_disk_is_read_at_once_and_only_what_was_missed_crosses() {
    let mut chance = Chance::printed("embedded_disk");
    let ensemble = voters(&[]);
    let way = wire(&ensemble, NEAR, &mut chance);
    let mut client = patient_client(ensemble.server(1));
    create(&mut client, "/large", &vec![b'l'; 500_000]);
    let made = create(&mut client, "/value", b"kept");
    let dir = tempfile::tempdir().expect("a directory");
    let data_dir = Some(dir.path().join("data"));
    let options = Options { data_dir, ..options(way.places()) };
    let observer = Observer::open(&options).expect("an observer");
    observer.wait_ready(zxid(made), soon()).expect("it learns");
    drop(observer);
    way.cut(Cut::Silent);
    let carried = way.carried().down;
    let observer = Observer::open(&options).expect("no link is needed");
    assert_eq!(text(&observer, "/value").as_deref(), Some("kept"));
    assert_eq!(observer.lag().stale, None, "it was never current in this process");
    let early = Zxid(1);
    assert_eq!(observer.subscribe(b"/", Some(early)).err(), Some(Lost { from: early }));
    let here = observer.hold().view().zxid();
    assert_eq!(observer.subscribe(b"/", Some(here)).expect("nothing behind it").zxid(), here);
    let waited = observer.wait_ready(Zxid(0), Instant::now() + Duration::from_millis(50));
    assert!(matches!(waited, Err(WaitError::TimedOut(_))), "{waited:?}");
    let done = set(&mut client, "/value", b"missed");
    way.heal();
    observer.wait_ready(zxid(done), soon()).expect("it heals");
    assert_eq!(text(&observer, "/value").as_deref(), Some("missed"));
    let crossed = way.carried().down - carried;
    assert!(crossed < 100_000, "{crossed} bytes for one small write");
    // One directory is one observer's.
    assert!(Observer::open(&options).is_err());
}

#[test]
fn a_history_that_was_replaced_by_a_snapshot_is_read_in_place_and_subscribers_are_told() {
    let ensemble = voters(&LINES);
    let mut client = patient_client(ensemble.server(ensemble.leader().0));
    let founded = committed(&ensemble);
    let made = create(&mut client, "/before", b"");
    let mut chance = Chance::printed("embedded_snapshot");
    let way = wire(&ensemble, NEAR, &mut chance);
    let observer = Observer::open(&options(way.places())).expect("an observer");
    observer.wait_ready(zxid(made), soon()).expect("it learns");
    let feed = observer.subscribe(b"/", None).expect("from now on");
    let (bell, rang) = mpsc::channel();
    feed.on_more(move || {
        let _gone_either_way = bell.send(());
    });
    let held = observer.hold();
    way.cut(Cut::Silent);
    for node in 0..NODES {
        create(&mut client, &format!("/n{node}"), b"");
    }
    write_past(&ensemble, &mut client, founded);
    let last = set(&mut client, "/before", b"after");
    way.heal();
    observer.wait_ready(zxid(last), soon()).expect("it takes a snapshot over");
    assert_eq!(text(&observer, "/before").as_deref(), Some("after"));
    assert_eq!(held.view().get(b"/before").expect("there").data(), Some(&b""[..]));
    rang.recv_timeout(PATIENCE).expect("who does not wait is told");
    assert!(feed.next(soon()).is_err(), "what lies between nobody knows");
}

#[test]
fn an_observer_that_reaches_nobody_is_closed_at_once() {
    let nowhere = vec![("127.0.0.1".to_owned(), 1), ("no-such-host.invalid".to_owned(), 2888)];
    let observer = Observer::open(&Options::of(nowhere)).expect("a link is not waited for");
    assert!(observer.visit().view().get(b"/zookeeper").is_some());
    assert_eq!(observer.lag().stale, None);
    drop(observer);
    assert!(Observer::open(&Options::of(Vec::new())).is_err());
}

#[test]
fn a_client_of_the_process_reads_and_writes_through_the_observer_and_sees_its_own_writes() {
    let ensemble = voters(&[]);
    let mut other = patient_client(ensemble.server(1));
    let made = create(&mut other, "/app", b"first");
    let observer = Observer::open(&options(&places(&ensemble))).expect("an observer");
    observer.wait_ready(zxid(made), soon()).expect("it learns");
    let door = observer.door();
    let options = farwatch_client::Options::default().transport(move || door.connect());
    let client = farwatch_client::Client::open("observer:1/app", options).expect("a client");
    let read = client.get("/", false).expect("the chroot");
    assert_eq!(read.data.as_deref(), Some(&b"first"[..]));
    for value in 0..50_u32 {
        let data = value.to_string();
        if value == 0 {
            let mode = farwatch_client::CreateMode::Persistent;
            client
                .create("/node", data.as_bytes(), &farwatch_client::Acl::open(), mode)
                .expect("made");
        } else {
            client.set("/node", data.as_bytes(), farwatch_client::ANY_VERSION).expect("set");
        }
        assert_eq!(text(&observer, "/app/node"), Some(data.clone()));
        assert_eq!(client.get("/node", false).expect("read").data, Some(data.into_bytes()));
    }
    observer.close();
    // Nobody is there any more, and nothing hangs.
    let client = client.with_request_timeout(Duration::from_millis(50));
    client.get("/node", false).expect_err("nobody answers");
}

/// An observer on this thread whose tree has outgrown its limit, and why it ended.
pub fn outgrown(thread: Thread) -> (Observer, String) {
    let ensemble = voters(&[]);
    let mut client = patient_client(ensemble.server(1));
    let made = create(&mut client, "/a", b"small");
    let limited = Options { tree_bytes_max: Some(1 << 20), thread, ..options(&places(&ensemble)) };
    let observer = Observer::open(&limited).expect("an observer");
    observer.wait_ready(zxid(made), soon()).expect("it fits");
    for number in 0..4 {
        create(&mut client, &format!("/large-{number}"), &vec![b'l'; 500_000]);
    }
    let waited = observer.wait_ready(Zxid(u64::MAX), soon());
    let Err(WaitError::Ended(reason)) = waited else { panic!("{waited:?}") };
    assert!(reason.contains("limit of 1048576"), "{reason}");
    assert_eq!(text(&observer, "/a").as_deref(), Some("small"));
    (observer, reason)
}

#[test]
fn a_tree_that_outgrows_its_limit_ends_the_observer_and_can_still_be_read() {
    let (observer, reason) = outgrown(Thread::Own);
    assert_eq!(observer.ended(), Some(reason));
}

#[test]
fn a_read_that_must_be_fresh_fails_behind_a_cut_and_others_go_on() {
    let mut chance = Chance::printed("embedded_fresh");
    let ensemble = voters(&[]);
    let way = wire(&ensemble, NEAR, &mut chance);
    let mut other = patient_client(ensemble.server(1));
    let made = create(&mut other, "/value", b"old");
    let observer = Observer::open(&options(way.places())).expect("an observer");
    observer.wait_ready(zxid(made), soon()).expect("it learns");
    let door = observer.door();
    let transport = farwatch_client::Options::default().transport(move || door.connect());
    let client = farwatch_client::Client::open("observer:1", transport).expect("a client");
    let at_most = |age: Duration| {
        let freshness = Freshness { at_most: Some(age), ..Freshness::default() };
        client.with_request_timeout(Duration::from_secs(1)).with_freshness(freshness)
    };
    let read = |client: &farwatch_client::Client| {
        client.get("/value", false).map(|node| node.data.unwrap_or_default())
    };
    // Each write is acknowledged elsewhere before the read, which must show it without a wait.
    let now = at_most(Duration::ZERO).with_request_timeout(PATIENCE);
    for value in 0..10 {
        let data = value.to_string().into_bytes();
        set(&mut other, "/value", &data);
        assert_eq!(read(&now), Ok(data));
    }
    way.cut(Cut::Silent);
    set(&mut other, "/value", b"new");
    assert_eq!(read(&client), Ok(b"9".to_vec()), "any state will do");
    assert_eq!(
        read(&at_most(Duration::from_secs(3600))),
        Ok(b"9".to_vec()),
        "it synced in this hour"
    );
    let failed = read(&at_most(Duration::ZERO)).expect_err("nobody can say that it is fresh");
    assert!(matches!(failed, ClientError::Timeout { .. }), "{failed}");
    way.heal();
    assert_eq!(read(&now), Ok(b"new".to_vec()));
}
