//! `kill -9` under load: what was acknowledged is there after the restart, and nothing else is.
//!
//! ```text
//! writers (pipelined) ─► server ─ kill -9 at a random time
//!    └─ journal: sent, acknowledged           └─► restart ─► compare with the journals
//! ```

mod ledger;
mod writer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use farwatch_bench::raw::{Connection, Handshake, request};
use farwatch_bench::subject::{Options, Subject};

use crate::subject::{Chance, connect, farwatch, is_slow_asked_for};
use ledger::Ledger;
use writer::{Kind, Writer};

/// Rounds of the version that always runs, and of the long one.
const ROUNDS: (u32, u32) = (5, 30);

/// How the server is driven in a round: all drivers and both thread layouts take their turn.
const DRIVERS: [(&str, &str, &str); 5] = [
    ("uring", "uring", "1"),
    ("epoll", "thread", "1"),
    ("uring", "thread", "3"),
    ("epoll", "uring", "2"),
    ("auto", "auto", "0"),
];

/// Snapshots every few hundred writes: most kills then hit one that is being written.
fn options(round: u32) -> Options {
    let (sockets, log, threads) = DRIVERS[round as usize % DRIVERS.len()];
    Options::new()
        .line("snapCount=400")
        .line("autopurge.purgeInterval=1")
        .line("farwatch.logRetainBytes=1")
        .line(&format!("farwatch.socketDriver={sockets}"))
        .line(&format!("farwatch.logDriver={log}"))
        .line(&format!("farwatch.threads={threads}"))
}

/// Drives rounds of load and kill over one data directory, so that each start also recovers what
/// the kills before it left.
fn rounds(test: &str, count: u32, kinds: &[Kind]) {
    let mut chance = Chance::printed(test);
    let mut subject = farwatch(options(0));
    let mut ledgers: Vec<Ledger> = Vec::new();
    for (index, &kind) in kinds.iter().enumerate() {
        let (mut connection, session) = connect(subject.address());
        ledgers.push(Ledger::new(&mut connection, index, kind, session));
    }
    for round in 0..count {
        let alive = AtomicBool::new(true);
        let kill_after = Duration::from_millis(30 + chance.below(450));
        let address = subject.address();
        thread::scope(|scope| {
            for ledger in &mut ledgers {
                let (alive, chance) = (&alive, chance.fork());
                scope.spawn(move || {
                    let resumed = Handshake::resume(ledger.session());
                    // On a starved machine the kill can come before the handshake is answered.
                    let Ok((connection, session)) = Connection::connect(address, &resumed) else {
                        return;
                    };
                    assert_eq!(&session, ledger.session(), "a session changed over a restart");
                    Writer::new(connection, ledger, round, chance).run(alive);
                });
            }
            let started = Instant::now();
            while started.elapsed() < kill_after {
                thread::sleep(Duration::from_millis(1)); // chance, not synchronization
            }
            subject.kill9().expect("kill -9");
            alive.store(false, Ordering::Relaxed);
        });
        subject.restart_with(options(round + 1)).unwrap_or_else(|error| {
            panic!("round {round}: the server does not come back: {error:#}")
        });
        verify(&subject, &mut ledgers, round);
    }
    close_all(&subject, ledgers);
}

fn verify(subject: &Subject, ledgers: &mut [Ledger], round: u32) {
    let acknowledged: u64 = ledgers.iter().map(Ledger::acknowledged).sum();
    let last_seen = ledgers.iter().map(Ledger::last_zxid).max().unwrap_or(0);
    let sent: usize = ledgers.iter().map(Ledger::undecided).sum();
    let (shared, before) = (ledger::shared_chain(ledgers), ledgers[0].shared_start());
    for ledger in ledgers.iter_mut() {
        let resumed = Handshake::resume(ledger.session());
        let (mut connection, session) =
            Connection::connect(subject.address(), &resumed).expect("a handshake");
        assert_eq!(&session, ledger.session(), "round {round}: an acknowledged session is gone");
        ledger.verify(&mut connection, last_seen);
    }
    let (mut connection, _) = connect(subject.address());
    let shown = ledger::verify_shared(&mut connection, &shared, before);
    for ledger in ledgers.iter_mut() {
        ledger.adopt_shared(shown);
    }
    eprintln!("round {round}: {acknowledged} acknowledged in all, {sent} undecided at the kill");
}

/// The sessions that survived every kill end, and their ephemerals with them.
fn close_all(subject: &Subject, ledgers: Vec<Ledger>) {
    let (mut reader, _) = connect(subject.address());
    let acknowledged: u64 = ledgers.iter().map(Ledger::acknowledged).sum();
    assert!(acknowledged > 0, "nothing was ever acknowledged");
    for ledger in ledgers {
        let resumed = Handshake::resume(ledger.session());
        let (mut connection, _) =
            Connection::connect(subject.address(), &resumed).expect("a handshake");
        assert_eq!(connection.call(&request::close_session()).expect("a reply").err, 0);
        for path in ledger.live_ephemerals() {
            let reply = reader.call(&request::exists(&path, false)).expect("a reply");
            assert_eq!(reply.err, -101, "{path} outlived its session");
        }
    }
}

#[test]
fn every_acknowledged_write_survives_kill_9_at_random_times() {
    let slow = is_slow_asked_for("30 rounds of kill -9 under load (5 are)");
    let count = if slow { ROUNDS.1 } else { ROUNDS.0 };
    let kinds = [Kind::Small, Kind::Small, Kind::Multis, Kind::Ephemerals];
    rounds("every_acknowledged_write_survives_kill_9", count, &kinds);
}

/// Large writes fill 64 MiB of log within a second or two, so that kills also hit the change from
/// one segment to the next, its recycling and its purge.
#[test]
fn every_acknowledged_write_survives_kill_9_while_segments_and_snapshots_change() {
    let slow = is_slow_asked_for("20 rounds of kill -9 under large writes (2 are)");
    let count = if slow { 20 } else { 2 };
    rounds("while_segments_and_snapshots_change", count, &[Kind::Large, Kind::Large, Kind::Small]);
}
