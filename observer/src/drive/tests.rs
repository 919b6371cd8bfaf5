//! Turns of a core in which nobody asks for anything.

use farwatch_core::log::epochs::Epochs;
use farwatch_core::node::{NodeOptions, OnPartition, ReapOptions};
use farwatch_core::prepare;
use farwatch_core::session::{LocalSessions, SessionIds};
use farwatch_core::tree::Applied;
use farwatch_core::txn::{Txn, TxnHead};
use farwatch_core::zab::Zab;
use farwatch_core::zab::quorum::Quorum;
use farwatch_core::zxid::{Epoch, ServerId, SessionId, Zxid};

use super::*;
use crate::config::ServerConfig;
use crate::data_dir::Founding;
use crate::ensemble::Nobody;
use crate::inbox::CORE_INBOX;
use crate::log_file::LogOptions;
use crate::recover;

/// A core over an empty directory, after `change` changed its tree.
fn core(change: impl FnOnce(&mut farwatch_core::node::Recovered)) -> (Core, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::open(root.path(), None, ServerId(1), Founding::Alone).unwrap();
    (core_in(dir, Arc::new(|_, _| {}), change), root)
}

/// The same in a directory that somebody has, where epochs are saved so.
fn core_in(
    dir: DataDir,
    save_epochs: SaveEpochs,
    change: impl FnOnce(&mut farwatch_core::node::Recovered),
) -> Core {
    let me = ServerId(1);
    let options = LogOptions { segment_bytes: 1 << 20, ..LogOptions::default() };
    let mut recovered = recover::recover(&dir, options, 1).unwrap();
    change(&mut recovered.state);
    let tree = Arc::clone(&recovered.state.tree);
    let zab = Zab::new(me, Quorum::majority([me]), Epochs::default(), tree.applied());
    let shared = Shared::new(ServerConfig::default(), tree, 2);
    let options = NodeOptions {
        prepare: prepare::Options {
            extended_types: true,
            enforce_quota: false,
            skip_acl: false,
            reconfig_enabled: false,
        },
        tick_ms: 2000,
        hash_seed: 1,
        reap: ReapOptions { interval_ms: 60_000, per_minute_max: 1, never_used_ms: None },
        wait_ms: 10_000,
        stale_ms_max: None,
        on_partition: OnPartition::default(),
        learner_grace_ms: 0,
        lists_learners: false,
        write_bytes_max: 1 << 20,
        local_sessions: LocalSessions::Off,
    };
    let clock = Clock { mono_ms: 0, wall_ms: 0 };
    let ids = SessionIds::new(me, 0).unwrap();
    let node = Node::new(options, zab, ids, recovered.state, clock);
    let inbox = Arc::new(Port::new(CORE_INBOX).unwrap());
    let parts = CoreParts {
        shared,
        node,
        log: recovered.log,
        dir,
        replayed: 0,
        inbox,
        save_epochs,
        ensemble: Box::new(Nobody),
        wake: Signal::default(),
        embedder: None,
    };
    Core::new(parts).unwrap()
}

#[test]
fn what_did_not_fit_a_reactors_inbox_follows_though_nothing_more_happens() {
    let (mut core, _root) = core(|_| {});
    let inbox = Arc::new(Port::new(1).unwrap());
    core.add_reactor(ReactorLink::Remote(Arc::clone(&inbox), VecDeque::new()));
    let other = Arc::new(Port::new(8).unwrap());
    core.add_reactor(ReactorLink::Remote(other, VecDeque::new()));
    core.distribute();
    core.distribute();
    assert!(matches!(inbox.pop(), Some(ToReactor::Deliver(_))));
    assert!(inbox.pop().is_none(), "the second waits");
    core.turn();
    assert!(matches!(inbox.pop(), Some(ToReactor::Deliver(_))));
    assert!(inbox.pop().is_none());
}

#[test]
fn a_core_whose_inbox_is_full_stops_and_who_asked_has_not_waited_for_it() {
    let (mut core, _root) = core(|_| {});
    let (shared, inbox) = (Arc::clone(&core.shared), Arc::clone(&core.inbox));
    let stream = || {
        let (own, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        std::net::TcpStream::from(std::os::fd::OwnedFd::from(own))
    };
    while inbox.push(ToCore::Adopt(stream())).is_ok() {}
    crate::host::Stopper::new(shared, inbox).stop(); // of a core that does not turn
    assert_eq!(core.ended, None);
    core.turn();
    assert_eq!(core.ended, Some(Ended::Stopped));
}

#[test]
fn what_a_long_view_kept_goes_with_a_tick_though_nobody_writes() {
    let (mut core, _root) = core(|state| {
        let view = state.tree.reader();
        for zxid in 1..=100 {
            let (zxid, session) = (Zxid(zxid), SessionId(1));
            let head = TxnHead { zxid, time_ms: 0, session, cxid: 0 };
            let (path, data) = (&b"/zookeeper"[..], Some(&b"data"[..]));
            let txn = Txn::SetData { path, data, version: zxid.0 as i32 };
            state.writer.apply(&head, &txn, &mut Applied::default());
            state.writer.reclaim();
        }
        drop(view);
    });
    assert_eq!(core.node.writer().retired(), 100);
    core.ticked.set(1);
    core.turn();
    assert_eq!(core.node.writer().retired(), 0);
}

#[test]
fn a_snapshot_that_fails_while_somebody_waits_for_it_is_not_begun_again_at_once() {
    let (mut core, root) = core(|_| {});
    core.start();
    // Nobody has taken one yet.
    core.storage.order(&Action::ReadSnapshot { ticket: 1, offset: 0 });
    while !core.storage.wants_snapshot() {
        core.turn_storage();
        std::thread::yield_now();
    }
    let place = root.path().join("snapshot");
    std::fs::remove_dir(&place).unwrap();
    let begun = Instant::now();
    core.mind_snapshots(begun);
    assert!(core.snapshots.running);
    while core.snapshots.running {
        core.gather();
        std::thread::yield_now();
    }
    assert!(core.storage.wants_snapshot());
    core.mind_snapshots(begun);
    assert!(!core.snapshots.running, "it has failed only just");
    std::fs::create_dir(&place).unwrap();
    core.mind_snapshots(Instant::now() + snapshots::RETRY_MIN);
    assert!(core.snapshots.running);
    while core.snapshots.running {
        core.gather();
        std::thread::yield_now();
    }
    assert!(!core.storage.wants_snapshot(), "it was taken");
}

#[test]
fn who_joins_another_ensemble_waits_for_what_is_being_saved_in_the_former_ones_name() {
    let root = tempfile::tempdir().unwrap();
    let dir = DataDir::open(root.path(), None, ServerId(1), Founding::Member).unwrap();
    let saves = dir.clone();
    let save: SaveEpochs = Arc::new(move |epochs, _| {
        epochs.store_member(&saves, saves.identity().cluster).unwrap();
    });
    let mut core = core_in(dir.clone(), save, |_| {});
    let (others, promised) = (ClusterId(0xabc), Epochs { accepted: Epoch(2), current: Epoch(1) });
    core.epochs.save(promised, false);
    core.adopt(others, false);
    assert_eq!(core.adopted(Ended::Reopen), Ended::Reopen);
    assert_eq!(core.epochs.wait(), None, "it was adopted while they were being saved");
    assert_eq!(Epochs::load_member(&dir, others, false), Ok(promised));
}
