//! An observer in this process without a thread of its own: it goes on while its host drives it.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use farwatch_cli::demo::wire::Cut;
use farwatch_core::zxid::Zxid;
use farwatch_observer::embedded::{DriveError, Next, Observer, Options, Thread, WaitError};

use super::embedded::{options, outgrown, soon, text, zxid};
use super::sites::{NEAR, committed, create, patient_client, places, set, voters, wire};
use crate::ensemble::snapshots::{LINES, NODES, write_past};
use crate::subject::Chance;

const A_WHILE: Duration = Duration::from_millis(5);

fn driven(upstreams: &[SocketAddr]) -> Options {
    Options { thread: Thread::Callers, ..options(upstreams) }
}

/// Drives until it is so.
#[track_caller]
fn drive_until(observer: &Observer, what: &str, mut so: impl FnMut() -> bool) {
    let deadline = soon();
    while !so() {
        assert!(Instant::now() < deadline, "{what}");
        observer.drive(A_WHILE).expect("it goes on");
    }
}

#[test]
fn it_goes_on_while_it_is_driven_and_at_no_other_time() {
    let ensemble = voters(&[]);
    let mut client = patient_client(ensemble.server(1));
    let made = create(&mut client, "/a", b"first");
    let observer = Observer::open(&driven(&places(&ensemble))).expect("an observer");
    observer.wait_ready(zxid(made), soon()).expect("it is driven by who waits");
    let feed = observer.subscribe(b"/", None).expect("from now on");
    let done = set(&mut client, "/a", b"second");
    assert_eq!(text(&observer, "/a").as_deref(), Some("first"), "nobody drives it");
    drive_until(&observer, "it learns", || zxid(done) <= observer.lag().zxid);
    assert_eq!(text(&observer, "/a").as_deref(), Some("second"));
    assert!(matches!(feed.next(Instant::now()), Ok(Next::Change(_))));
    // Others read it, and wait for it, and do not drive it.
    let later = set(&mut client, "/a", b"third");
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            assert_eq!(observer.drive(A_WHILE), Err(DriveError::OtherThread));
            observer.wait_ready(zxid(later), soon()).expect("it is driven meanwhile");
            text(&observer, "/a")
        });
        drive_until(&observer, "who waits is told", || other.is_finished());
        assert_eq!(other.join().expect("no panic").as_deref(), Some("third"));
    });
    observer.close();
    let closed = "it was closed".to_owned();
    assert_eq!(observer.drive(A_WHILE), Err(DriveError::Ended(closed.clone())));
    assert_eq!(observer.wait_ready(Zxid(u64::MAX), soon()), Err(WaitError::Ended(closed)));
    assert_eq!(text(&observer, "/a").as_deref(), Some("third"));
    let own = Observer::open(&options(&places(&ensemble))).expect("an observer");
    assert_eq!(own.drive(A_WHILE), Err(DriveError::HasThread));
}

#[test]
fn it_heals_behind_a_cut_also_by_a_snapshot() {
    let ensemble = voters(&LINES);
    let mut client = patient_client(ensemble.server(ensemble.leader().0));
    let founded = committed(&ensemble);
    let made = create(&mut client, "/before", b"");
    let mut chance = Chance::printed("driven_snapshot");
    let way = wire(&ensemble, NEAR, &mut chance);
    let observer = Observer::open(&driven(way.places())).expect("an observer");
    observer.wait_ready(zxid(made), soon()).expect("it learns");
    way.cut(Cut::Silent);
    drive_until(&observer, "it knows that it is cut off", || !observer.lag().is_linked);
    let missed = set(&mut client, "/before", b"missed");
    way.heal();
    observer.wait_ready(zxid(missed), soon()).expect("it heals");
    // And while nobody drives it.
    way.cut(Cut::Silent);
    for node in 0..NODES {
        create(&mut client, &format!("/n{node}"), b"");
    }
    write_past(&ensemble, &mut client, founded);
    let last = set(&mut client, "/before", b"after");
    way.heal();
    observer.wait_ready(zxid(last), soon()).expect("it takes a snapshot over");
    assert_eq!(text(&observer, "/before").as_deref(), Some("after"));
}

#[test]
fn whoever_lets_go_of_it_its_files_are_free_again() {
    let ensemble = voters(&[]);
    let mut client = patient_client(ensemble.server(1));
    let made = create(&mut client, "/value", b"kept");
    let dir = tempfile::tempdir().expect("a directory");
    let data_dir = Some(dir.path().join("data"));
    let options = Options { data_dir, ..driven(&places(&ensemble)) };
    let open = || {
        let observer = Observer::open(&options).expect("the directory is free");
        observer.wait_ready(zxid(made), soon()).expect("it learns");
        assert_eq!(text(&observer, "/value").as_deref(), Some("kept"));
        observer
    };
    drop(open());
    // The thread that drives it ends before its handle does.
    let left = thread::scope(|scope| scope.spawn(open).join().expect("no panic"));
    assert_eq!(left.ended().as_deref(), Some("it was closed"));
    assert_eq!(text(&left, "/value").as_deref(), Some("kept"));
    drop(left);
    // Another thread lets go of it: it ends when this one next turns to any.
    let observer = open();
    thread::scope(|scope| scope.spawn(move || drop(observer)).join().expect("no panic"));
    let began = Instant::now();
    drop(open());
    assert!(began.elapsed() < Duration::from_secs(5), "the one before was in its way");
    let observer = open();
    thread::scope(|scope| scope.spawn(move || drop(observer)).join().expect("no panic"));
    let own = Options { thread: Thread::Own, ..options.clone() };
    drop(Observer::open(&own).expect("with a thread, in the same place"));
    let in_memory = Options { data_dir: None, ..options.clone() };
    let two = [(); 2].map(|()| Observer::open(&in_memory).expect("an observer"));
    for observer in &two {
        observer.wait_ready(zxid(made), soon()).expect("two of one thread");
    }
}

#[test]
fn a_tree_that_outgrows_its_limit_ends_who_is_driven_too() {
    let (observer, reason) = outgrown(Thread::Callers);
    assert_eq!(observer.drive(A_WHILE), Err(DriveError::Ended(reason)));
}
