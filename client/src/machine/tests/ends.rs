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
