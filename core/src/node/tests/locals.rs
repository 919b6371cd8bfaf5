//! Sessions that only their server knows: what of them is in the history, and what never is.

use super::*;

const RESUME: Ask = Ask::Resume { timeout_ms: 4000, read_only: false };
const WRITE: Ask = Ask::Write(OpCode::Create);
const END: Ask = Ask::Write(OpCode::CloseSession);

/// Flags of a create.
const EPHEMERAL: i32 = 1;

fn rig(local_sessions: LocalSessions) -> Rig {
    let mut rig = Rig::with(local_sessions);
    let before = rig.node.applied();
    // The configuration is recorded first, where there is one.
    rig.settle();
    assert_eq!(rig.node.applied(), before);
    rig
}

/// A multi that creates `plain`, then the ephemeral `own`.
fn multi(plain: &[u8], own: &[u8]) -> Vec<u8> {
    let header = |op: i32, ends: bool, body: &mut Vec<u8>| {
        body.extend_from_slice(&op.to_be_bytes());
        body.push(ends.into());
        body.extend_from_slice(&(-1_i32).to_be_bytes());
    };
    let mut body = Vec::new();
    for (path, flags) in [(plain, 0), (own, EPHEMERAL)] {
        header(OpCode::Create.code(), false, &mut body);
        body.extend_from_slice(&create_with(path, flags));
    }
    header(-1, true, &mut body);
    body
}

impl Rig {
    /// Opens a local session, which takes no leader and no disk.
    fn begin(&mut self, origin: Origin) -> SessionId {
        self.ask(origin, SessionId::NONE, OPEN, &[]);
        let replies = self.replies();
        let [Reply { outcome: Outcome::Attached { session, password, timeout_ms, .. }, .. }] =
            replies[..]
        else {
            panic!("{replies:?}")
        };
        assert_eq!((password, timeout_ms), (SECRET, 4000));
        session
    }

    /// What was answered without the disk.
    fn replies(&mut self) -> Vec<Reply> {
        let replies = std::mem::take(&mut self.out.replies);
        assert_eq!(self.out.transactions, 0, "it took a transaction");
        replies
    }

    fn knows(&self, session: SessionId) -> (bool, bool) {
        (self.node.locals.contains(session), self.node.sessions.contains(session))
    }

    fn passes(&mut self, ms: i64) {
        for _ in 0..ms / SWEEP_INTERVAL_MS {
            self.clock.mono_ms += SWEEP_INTERVAL_MS;
            let clock = self.clock;
            self.node.step(Event::Tick(clock), &mut self.out);
        }
    }

    /// The error of the only reply.
    fn error(&mut self) -> ErrorCode {
        let replies = self.settle();
        let [Reply { outcome: Outcome::Done { err, .. }, .. }] = replies[..] else {
            panic!("{replies:?}")
        };
        err
    }
}

#[test]
fn a_local_session_begins_moves_and_ends_without_a_transaction() {
    let mut rig = rig(LocalSessions::On);
    let session = rig.begin(at(1));
    assert_eq!(rig.knows(session), (true, false));
    rig.ask(at(2), session, RESUME, b"another secret!!");
    assert_eq!(rig.replies()[0].outcome, Outcome::Expired);
    assert_eq!(rig.out.displaced, [], "whoever does not know the password disturbs nobody");
    rig.ask(at(3), session, RESUME, &SECRET.0);
    assert!(matches!(rig.replies()[0].outcome, Outcome::Attached { .. }));
    assert_eq!(std::mem::take(&mut rig.out.displaced), [(at(1), session)]);
    rig.ask(at(3), session, END, &[]);
    assert!(matches!(rig.replies()[0].outcome, Outcome::Done { err: ErrorCode::Ok, .. }));
    assert_eq!(std::mem::take(&mut rig.out.closed), [(rig.node.applied(), session)]);
    assert_eq!(rig.knows(session), (false, false));
    // What was sent behind it is not done, and takes no transaction either.
    rig.ask(at(3), session, WRITE, &create(b"/behind"));
    assert_eq!(rig.replies().len(), 1);
    rig.settle();
    assert!(!rig.has(b"/behind"));
    rig.ask(at(4), session, RESUME, &SECRET.0);
    rig.settle();
    let told = rig.settle();
    assert!(told.iter().all(|it| it.outcome == Outcome::Expired), "{told:?}");
}

#[test]
fn a_local_session_ends_after_its_silence_and_not_while_it_pings() {
    let mut rig = rig(LocalSessions::On);
    let (silent, alive) = (rig.begin(at(1)), rig.begin(at(2)));
    for _ in 0..6 {
        rig.passes(1000);
        let mut submission = Submission::default();
        submission.touch(alive, 4000);
        let clock = rig.clock;
        rig.node.step(Event::Submitted { submission: &submission, clock }, &mut rig.out);
    }
    assert_eq!(rig.out.closed, [(rig.node.applied(), silent)]);
    assert_eq!((rig.knows(silent).0, rig.knows(alive).0), (false, true));
    // A server that stood still prolongs all.
    rig.clock.mono_ms += 60_000;
    rig.passes(1000);
    assert!(rig.knows(alive).0, "the silence was the server's own");
}

#[test]
fn writes_of_a_local_session_are_done_in_order_and_its_end_waits_for_them() {
    let mut rig = rig(LocalSessions::On);
    let session = rig.begin(at(1));
    rig.ask(at(1), session, WRITE, &create(b"/a"));
    rig.ask(at(1), session, WRITE, &create(b"/a/b"));
    rig.ask(at(1), session, END, &[]);
    rig.ask(at(1), session, WRITE, &create(b"/late"));
    assert_eq!(rig.replies(), [], "the disk has nothing yet");
    let mut replies = rig.settle();
    replies.extend(rig.settle());
    assert_eq!(replies.len(), 4, "each ask is answered: {replies:?}");
    assert!(rig.has(b"/a/b") && !rig.has(b"/late"));
    assert_eq!(rig.knows(session), (false, false));
}

#[test]
fn a_session_that_comes_back_waits_for_what_its_old_connection_asked() {
    let mut rig = rig(LocalSessions::On);
    let session = rig.begin(at(1));
    rig.ask(at(1), session, WRITE, &create(b"/before"));
    rig.ask(at(2), session, RESUME, &SECRET.0);
    rig.ask(at(1), session, WRITE, &create(b"/late"));
    let early = rig.replies();
    assert!(
        early.iter().all(|it| it.origin != at(2)),
        "it would see a state and then an older write"
    );
    let replies = rig.settle();
    let [.., last] = replies[..] else { panic!("nothing was answered") };
    assert!(matches!(last.outcome, Outcome::Attached { .. }) && last.origin == at(2));
    assert!(rig.has(b"/before") && !rig.has(b"/late"));
}

#[test]
fn an_ephemeral_node_of_a_local_session_is_refused_alone_and_in_a_multi() {
    let mut rig = rig(LocalSessions::On);
    let session = rig.begin(at(1));
    rig.ask(at(1), session, WRITE, &create_with(b"/e", EPHEMERAL));
    assert_eq!(rig.error(), ErrorCode::EphemeralOnLocalSession);
    rig.ask(at(1), session, Ask::Write(OpCode::Multi), &multi(b"/p", b"/e"));
    rig.settle();
    assert!(!rig.has(b"/p") && !rig.has(b"/e"));
    assert_eq!(rig.knows(session), (true, false), "it goes on as it was");
}

#[test]
fn the_first_ephemeral_node_makes_a_session_everybodys_under_the_same_name() {
    for in_multi in [false, true] {
        let mut rig = rig(LocalSessions::Upgrading);
        let session = rig.begin(at(1));
        rig.ask(at(1), session, WRITE, &create(b"/plain"));
        assert_eq!(rig.error(), ErrorCode::Ok);
        assert_eq!(rig.knows(session), (true, false), "a plain node changes nothing");
        let before = rig.node.applied();
        if in_multi {
            rig.ask(at(1), session, Ask::Write(OpCode::Multi), &multi(b"/p", b"/e"));
        } else {
            rig.ask(at(1), session, WRITE, &create_with(b"/e", EPHEMERAL));
        }
        // What was asked before the server knows of the upgrade is of the same session.
        rig.ask(at(1), session, WRITE, &create(b"/e-behind"));
        rig.settle();
        assert!(rig.has(b"/e") && rig.has(b"/e-behind"));
        assert_eq!(rig.node.applied().0, before.0 + 3, "its begin, its node, the other node");
        assert_eq!(rig.knows(session), (false, true));
        assert!(rig.node.sessions.verify(session, Some(&SECRET.0)));
        assert_eq!(rig.node.attached[&session].origin.connection, 1, "its connection stays");
        assert_eq!(rig.out.displaced, []);
        // It ends as any other, with what it owns.
        rig.passes(8000);
        rig.settle();
        assert!(!rig.has(b"/e") && rig.has(b"/e-behind"));
    }
}

#[test]
fn an_end_behind_the_first_ephemeral_node_is_that_of_a_global_session() {
    let mut rig = rig(LocalSessions::Upgrading);
    let session = rig.begin(at(1));
    rig.ask(at(1), session, WRITE, &create_with(b"/e", EPHEMERAL));
    rig.ask(at(1), session, END, &[]);
    let mut replies = rig.settle();
    replies.extend(rig.settle());
    assert_eq!(replies.len(), 2, "{replies:?}");
    assert_eq!(rig.knows(session), (false, false));
    assert!(!rig.has(b"/e"), "its node outlived it");
}

#[test]
fn a_counter_that_is_spent_in_the_middle_of_an_upgrade_only_delays_the_node() {
    let mut rig = rig(LocalSessions::Upgrading);
    let session = rig.begin(at(1));
    rig.ask(at(1), session, WRITE, &create(b"/before"));
    rig.settle();
    rig.node.zab.spend_counter();
    rig.ask(at(1), session, WRITE, &create_with(b"/e", EPHEMERAL));
    let other = rig.begin(at(2));
    assert_eq!(rig.knows(other), (true, false), "a local session needs no epoch");
    let clock = rig.clock;
    rig.node.step(Event::Tick(clock), &mut rig.out);
    assert!(rig.save_epochs());
    rig.settle();
    assert_eq!((rig.knows(session), rig.has(b"/e")), ((false, true), false));
    rig.node.step(Event::Tick(clock), &mut rig.out);
    assert!(rig.save_epochs());
    rig.settle();
    assert!(rig.has(b"/e"), "epochs of one proposal: the begin in one, the node in the next");
}

#[test]
fn a_local_session_has_an_id_of_its_own_and_no_ephemeral_node() {
    let mut rig = rig(LocalSessions::On);
    let ids: Vec<SessionId> = (1..20).map(|connection| rig.begin(at(connection))).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), ids.len(), "no two have one id");
    rig.ask(at(1), ids[0], Ask::Ephemerals, b"/");
    let replies = rig.replies();
    let Outcome::Done { err: ErrorCode::Ok, start, end } = replies[0].outcome else { panic!() };
    assert_eq!(rig.out.bytes[start as usize..end as usize], [0; 4], "it owns nothing");
}
