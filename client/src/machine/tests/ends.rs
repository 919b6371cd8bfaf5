//! Ends that nobody at a server hears of.

use super::*;

#[test]
fn a_detached_session_is_not_closed_at_the_server() {
    let mut stage = Stage::up(Settings::new(1, 1));
    stage.submit("write", set("/a"));
    let token = stage.machine.detach().unwrap();
    assert_eq!((token.id, token.password), (SessionId(0x51), PASSWORD));
    stage.note("detach");
    assert_eq!(stage.machine.detach(), None);
    stage.check(expect![[r#"
        [0] submit write
            -> SetData xid 1
        [0] detach
            HangUp
            write: ConnectionLoss { maybe_applied: true }
            Session(Closed)
    "#]]);
}

#[test]
fn what_nobody_drives_any_more_fails_all_that_waits() {
    let mut stage = Stage::up(Settings::new(1, 1));
    stage.submit("write", set("/a"));
    stage.submit("read", get("/a", true));
    stage.machine.give_up();
    stage.note("give up");
    stage.submit("late", set("/a"));
    stage.machine.give_up();
    stage.note("again");
    stage.check(expect![[r#"
        [0] submit write
            -> SetData xid 1
        [0] submit read
            -> GetData xid 2 /a
        [0] give up
            HangUp
            write: Panicked
            read: Panicked
            Session(Closed)
        [0] submit late
            refused: Panicked
        [0] again
    "#]]);
}

#[test]
fn a_watch_that_is_forgotten_before_it_was_answered_is_not_set_again() {
    let (path, mode) = ("/a".to_owned(), AddWatchMode::Persistent);
    let remove = Operation::RemoveWatches { path: path.clone(), kind: WatchKind::Persistent };
    let mut stage = Stage::up(Settings::new(1, 1));
    let other = Operation::AddWatch { path: "/b".to_owned(), mode };
    stage.submit("other", other);
    stage.submit("watch", Operation::AddWatch { path, mode });
    stage.machine.forget_watch(stage.now_ms, &remove, "remove");
    stage.note("forget");
    stage.reply(1, 1, ErrorCode::Ok, b"");
    stage.reply(2, 1, ErrorCode::Ok, b"");
    stage.disconnect();
    stage.pass();
    stage.connect();
    stage.accept(0x51, 6000);
    // Without a connection nothing is removed, and nothing waits.
    stage.disconnect();
    stage.machine.forget_watch(stage.now_ms, &remove, "again");
    stage.note("forget while there is no connection");
    stage.check(expect![[r#"
        [0] submit other
            -> AddWatch xid 1
        [0] submit watch
            -> AddWatch xid 2
        [0] forget
            -> RemoveWatches xid 3
        [0] reply 1 zxid 1 Ok
            other: Done
        [0] reply 2 zxid 1 Ok
            watch: Done
        [0] disconnected
            Session(Disconnected)
            remove: ConnectionLoss { maybe_applied: false }
        [44] time
            Dial { server: 0, deadline_ms: 6044 }
        [44] connected
            -> connect session 0x51 known password true zxid 1 timeout 30000 ro Some(false)
        [44] accept session 0x51, 6000 ms
            -> SetWatches2 xid -8 since 1 ["", "", "", "/b", ""]
            Session(Connected)
        [44] disconnected
            Session(Disconnected)
        [44] forget while there is no connection
    "#]]);
}
