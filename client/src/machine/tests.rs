//! Whole sessions as transcripts: what is told to the machine, and what it says to that.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use farwatch_core::wire::handshake::Password;
use farwatch_core::wire::jute::{Reader, Writer, begin_frame, end_frame};
use farwatch_core::wire::request::{Request, RequestHeader};
use farwatch_core::wire::{
    ConnectRequest, ConnectResponse, ErrorCode, EventType, OpCode, ReplyHeader, Stat, WatcherEvent,
};
use farwatch_core::zxid::SessionId;
use proptest::prelude::*;

mod ends;
mod handshake;
mod lease;
mod moving;

use super::*;
use crate::operation::{AddWatchMode, Operation, WatchKind};

const PASSWORD: Password = Password([7; 16]);

/// A machine, its clock, and a server that says what the test tells it to.
struct Stage {
    machine: Machine<&'static str>,
    now_ms: u64,
    transcript: String,
    /// Whether the next bytes of the machine are a handshake.
    handshake_due: bool,
}

impl Stage {
    fn new(settings: Settings) -> Self {
        let machine = Machine::new(settings);
        Self { machine, now_ms: 0, transcript: String::new(), handshake_due: false }
    }

    fn start(&mut self) {
        self.machine.start(self.now_ms);
        self.note("start");
    }

    fn note(&mut self, what: &str) {
        writeln!(self.transcript, "[{}] {what}", self.now_ms).unwrap();
        self.drain();
    }

    fn submit(&mut self, name: &'static str, operation: Operation) -> Option<RequestId> {
        let submitted = self.machine.submit(self.now_ms, &operation, name);
        self.note(&format!("submit {name}"));
        match submitted {
            Ok(id) => Some(id),
            Err(Refused { error, context }) => {
                assert_eq!(context, name, "it comes back");
                writeln!(self.transcript, "    refused: {error:?}").unwrap();
                None
            }
        }
    }

    fn connect(&mut self) {
        self.machine.handle_connected(self.now_ms);
        self.handshake_due = true;
        self.note("connected");
    }

    fn accept(&mut self, session: u64, timeout_ms: i32) {
        self.accept_as(session, timeout_ms, false);
    }

    fn accept_as(&mut self, session: u64, timeout_ms: i32, is_read_only: bool) {
        let response = ConnectResponse {
            timeout_ms,
            session: SessionId(session),
            password: PASSWORD,
            read_only: Some(is_read_only),
        };
        let mut bytes = Vec::new();
        let start = begin_frame(&mut bytes);
        response.encode(&mut bytes);
        end_frame(&mut bytes, start);
        self.receive(&format!("accept session {session:#x}, {timeout_ms} ms"), &bytes);
    }

    fn reply(&mut self, xid: i32, zxid: i64, err: ErrorCode, body: &[u8]) {
        let what = format!("reply {xid} zxid {zxid} {err:?}");
        self.receive(&what, &reply(xid, zxid, err, body));
    }

    fn event(&mut self, kind: EventType, path: &str) {
        let mut bytes = Vec::new();
        WatcherEvent { kind, path: path.as_bytes() }.encode_frame(-1, &mut bytes);
        self.receive(&format!("event {kind:?} {path}"), &bytes);
    }

    fn receive(&mut self, what: &str, bytes: &[u8]) {
        self.machine.handle_bytes(self.now_ms, bytes);
        self.note(what);
    }

    fn disconnect(&mut self) {
        self.machine.handle_disconnected(self.now_ms);
        self.note("disconnected");
    }

    /// Lets time pass up to and including the machine's next deadline.
    fn pass(&mut self) {
        self.now_ms = self.machine.poll_timeout().expect("something is due");
        self.machine.handle_timeout(self.now_ms);
        self.note("time");
    }

    /// Connected, with nothing of it in the transcript.
    fn up(settings: Settings) -> Self {
        let mut stage = Self::new(settings);
        stage.start();
        stage.connect();
        stage.accept(0x51, 6000);
        stage.transcript.clear();
        stage
    }

    fn drain(&mut self) {
        while let Some(action) = self.machine.poll_link() {
            writeln!(self.transcript, "    {action:?}").unwrap();
        }
        let mut bytes = Vec::new();
        if self.machine.poll_transmit(&mut bytes) {
            let sent = self.describe(&bytes);
            self.transcript.push_str(&sent);
        }
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Event(event) => writeln!(self.transcript, "    {event:?}"),
                Output::Completed { context, result: Ok(outcome) } => {
                    let outcome = format!("{outcome:?}");
                    let kind = outcome.split(['(', ' ']).next().unwrap().to_owned();
                    writeln!(self.transcript, "    {context}: {kind}")
                }
                Output::Completed { context, result: Err(error) } => {
                    writeln!(self.transcript, "    {context}: {error:?}")
                }
            }
            .unwrap();
        }
    }

    /// One line for each frame that the machine sends.
    fn describe(&mut self, mut bytes: &[u8]) -> String {
        let mut lines = String::new();
        while !bytes.is_empty() {
            let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
            let frame = &bytes[4..4 + length];
            bytes = &bytes[4 + length..];
            if std::mem::take(&mut self.handshake_due) {
                let r = ConnectRequest::decode(frame).unwrap();
                let known = r.password == Some(&PASSWORD.0[..]);
                writeln!(
                    lines,
                    "    -> connect session {} known password {known} zxid {} timeout {} ro {:?}",
                    r.session, r.last_zxid_seen, r.timeout_ms, r.read_only
                )
                .unwrap();
                continue;
            }
            let mut r = Reader::new(frame);
            let header = RequestHeader::decode(&mut r).unwrap();
            let op = OpCode::from_code(header.op).unwrap();
            let detail = match Request::decode(op, r.rest()).unwrap() {
                Request::SetWatches(r) | Request::SetWatches2(r) => {
                    let lists =
                        [Some(r.data), Some(r.exist), Some(r.child), r.persistent, r.recursive];
                    let lists = lists.map(|list| {
                        let paths = list.into_iter().flatten();
                        paths.map(String::from_utf8_lossy).collect::<Vec<_>>().join(",")
                    });
                    format!(" since {} {lists:?}", r.relative_zxid)
                }
                Request::GetData(r) => format!(" {}", String::from_utf8_lossy(r.path)),
                _other => String::new(),
            };
            writeln!(lines, "    -> {op:?} xid {}{detail}", header.xid).unwrap();
        }
        lines
    }

    fn check(&self, expected: Expect) {
        expected.assert_eq(&self.transcript);
    }
}

fn reply(xid: i32, zxid: i64, err: ErrorCode, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let start = begin_frame(&mut bytes);
    ReplyHeader { xid, zxid, err: err.code() }.encode(&mut Writer::new(&mut bytes));
    bytes.extend_from_slice(body);
    end_frame(&mut bytes, start);
    bytes
}

fn stat() -> Vec<u8> {
    let mut body = Vec::new();
    Stat::default().encode(&mut Writer::new(&mut body));
    body
}

fn data() -> Vec<u8> {
    let mut body = Vec::new();
    Writer::new(&mut body).buffer(Some(b"x"));
    body.extend(stat());
    body
}

fn get(path: &str, watch: bool) -> Operation {
    Operation::GetData { path: path.to_owned(), watch }
}

fn set(path: &str) -> Operation {
    Operation::SetData { path: path.to_owned(), data: None, version: -1 }
}

fn exists(path: &str) -> Operation {
    Operation::Exists { path: path.to_owned(), watch: true }
}

fn auth() -> Operation {
    Operation::AddAuth { scheme: "digest".to_owned(), auth: b"u:p".to_vec() }
}

#[test]
fn requests_wait_for_the_first_connection_and_leave_in_order() {
    let mut stage = Stage::new(Settings::new(1, 1));
    stage.submit("early", get("/a", false));
    stage.start();
    stage.connect();
    stage.accept(0x51, 6000);
    stage.submit("late", set("/b"));
    stage.reply(1, 10, ErrorCode::Ok, &data());
    stage.reply(2, 11, ErrorCode::BadVersion, &[]);
    stage.check(expect![[r#"
        [0] submit early
        [0] start
            Dial { server: 0, deadline_ms: 30000 }
        [0] connected
            -> connect session 0x0 known password false zxid 0 timeout 30000 ro Some(false)
        [0] accept session 0x51, 6000 ms
            -> GetData xid 1 /a
            Session(Connected)
        [0] submit late
            -> SetData xid 2
        [0] reply 1 zxid 10 Ok
            early: Data
        [0] reply 2 zxid 11 BadVersion
            late: Server(BadVersion)
    "#]]);
}

#[test]
fn a_silent_server_is_pinged_at_a_third_and_given_up_at_two_thirds() {
    let mut stage = Stage::up(Settings::new(1, 1));
    stage.pass();
    stage.now_ms += 100;
    stage.reply(-2, 5, ErrorCode::Ok, &[]);
    stage.pass();
    stage.pass();
    stage.pass();
    stage.check(expect![[r#"
        [2000] time
            -> Ping xid -2
        [2100] reply -2 zxid 5 Ok
        [4000] time
            -> Ping xid -2
        [6000] time
            -> Ping xid -2
        [6100] time
            HangUp
            Session(Disconnected)
    "#]]);
}

#[test]
fn a_lost_connection_says_which_requests_may_have_been_applied() {
    let mut stage = Stage::up(Settings::new(1, 1));
    stage.submit("write", set("/a"));
    stage.submit("read", get("/a", false));
    stage.disconnect();
    stage.submit("waits", set("/b"));
    stage.pass();
    stage.connect();
    stage.accept(0x51, 6000);
    stage.check(expect![[r#"
        [0] submit write
            -> SetData xid 1
        [0] submit read
            -> GetData xid 2 /a
        [0] disconnected
            Session(Disconnected)
            write: ConnectionLoss { maybe_applied: true }
            read: ConnectionLoss { maybe_applied: false }
        [0] submit waits
        [44] time
            Dial { server: 0, deadline_ms: 6044 }
        [44] connected
            -> connect session 0x51 known password true zxid 0 timeout 30000 ro Some(false)
        [44] accept session 0x51, 6000 ms
            -> SetData xid 3
            Session(Connected)
    "#]]);
}

#[test]
fn a_reconnect_sends_credentials_then_watches_then_requests() {
    let mut stage = Stage::up(Settings::new(1, 1));
    stage.submit("auth", auth());
    stage.reply(-4, 0, ErrorCode::Ok, &[]);
    stage.submit("data", get("/d", true));
    stage.reply(1, 40, ErrorCode::Ok, &data());
    stage.submit("there", exists("/there"));
    stage.reply(2, 41, ErrorCode::Ok, &stat());
    stage.submit("missing", exists("/missing"));
    stage.reply(3, 42, ErrorCode::NoNode, &[]);
    let (path, mode) = ("/p".to_owned(), AddWatchMode::PersistentRecursive);
    stage.submit("persistent", Operation::AddWatch { path, mode });
    stage.reply(4, 42, ErrorCode::Ok, &[0; 4]);
    stage.event(EventType::NodeDataChanged, "/d");
    stage.transcript.clear();
    stage.disconnect();
    stage.submit("waits", get("/x", false));
    stage.pass();
    stage.connect();
    stage.accept(0x51, 6000);
    stage.event(EventType::NodeCreated, "/missing");
    stage.reply(-4, 0, ErrorCode::Ok, &[]);
    stage.reply(-8, 50, ErrorCode::Ok, &[]);
    stage.reply(5, 50, ErrorCode::Ok, &data());
    stage.check(expect![[r#"
        [0] disconnected
            Session(Disconnected)
        [0] submit waits
        [44] time
            Dial { server: 0, deadline_ms: 6044 }
        [44] connected
            -> connect session 0x51 known password true zxid 42 timeout 30000 ro Some(false)
        [44] accept session 0x51, 6000 ms
            -> Auth xid -4
            -> SetWatches2 xid -8 since 42 ["/there", "/missing", "", "", "/p"]
            -> GetData xid 5 /x
            Session(Connected)
        [44] event NodeCreated /missing
            Node(NodeEvent { kind: NodeCreated, path: "/missing", zxid: -1 })
        [44] reply -4 zxid 0 Ok
        [44] reply -8 zxid 50 Ok
        [44] reply 5 zxid 50 Ok
            waits: Data
    "#]]);
}

#[test]
fn an_expired_session_ends_everything_once() {
    let mut stage = Stage::up(Settings::new(1, 1));
    stage.disconnect();
    stage.submit("waits", set("/a"));
    stage.pass();
    stage.connect();
    stage.accept(0, 0);
    stage.submit("after", get("/a", false));
    stage.disconnect();
    assert_eq!(stage.machine.poll_timeout(), None);
    stage.check(expect![[r#"
        [0] disconnected
            Session(Disconnected)
        [0] submit waits
        [44] time
            Dial { server: 0, deadline_ms: 6044 }
        [44] connected
            -> connect session 0x51 known password true zxid 0 timeout 30000 ro Some(false)
        [44] accept session 0x0, 0 ms
            HangUp
            waits: SessionExpired
            Session(Expired)
        [44] submit after
            refused: SessionExpired
        [44] disconnected
    "#]]);
}

#[test]
fn an_expired_session_is_renewed_only_when_asked_for_and_said_so() {
    let settings = Settings { renew_expired: true, ..Settings::new(1, 1) };
    let mut stage = Stage::up(settings);
    stage.disconnect();
    stage.submit("old", set("/a"));
    stage.pass();
    stage.connect();
    stage.accept(0, 0);
    stage.submit("new", set("/a"));
    stage.pass();
    stage.connect();
    stage.accept(0x52, 6000);
    stage.check(expect![[r#"
        [0] disconnected
            Session(Disconnected)
        [0] submit old
        [44] time
            Dial { server: 0, deadline_ms: 6044 }
        [44] connected
            -> connect session 0x51 known password true zxid 0 timeout 30000 ro Some(false)
        [44] accept session 0x0, 0 ms
            HangUp
            old: SessionExpired
            Session(Expired)
        [44] submit new
        [44] time
            Dial { server: 0, deadline_ms: 6044 }
        [44] connected
            -> connect session 0x0 known password false zxid 0 timeout 30000 ro Some(false)
        [44] accept session 0x52, 6000 ms
            -> SetData xid 1
            Session(Connected)
    "#]]);
}

#[test]
fn servers_are_tried_in_turn_and_only_a_whole_round_is_followed_by_a_wait() {
    let mut stage = Stage::new(Settings::new(3, 4));
    stage.start();
    stage.disconnect();
    stage.pass();
    stage.connect();
    stage.disconnect();
    stage.pass();
    stage.pass();
    stage.pass();
    stage.check(expect![[r#"
        [0] start
            Dial { server: 2, deadline_ms: 10000 }
        [0] disconnected
        [0] time
            Dial { server: 0, deadline_ms: 10000 }
        [0] connected
            -> connect session 0x0 known password false zxid 0 timeout 30000 ro Some(false)
        [0] disconnected
        [0] time
            Dial { server: 1, deadline_ms: 10000 }
        [10000] time
            HangUp
        [10030] time
            Dial { server: 2, deadline_ms: 20030 }
    "#]]);
}

#[test]
fn a_refused_credential_is_not_tried_again() {
    let mut stage = Stage::up(Settings::new(1, 1));
    stage.submit("auth", auth());
    stage.reply(-4, 0, ErrorCode::AuthFailed, &[]);
    stage.pass();
    stage.connect();
    stage.accept(0x51, 6000);
    stage.check(expect![[r#"
        [0] submit auth
            -> Auth xid -4
        [0] reply -4 zxid 0 AuthFailed
            HangUp
            Session(AuthFailed)
            auth: Server(AuthFailed)
            Session(Disconnected)
        [44] time
            Dial { server: 0, deadline_ms: 6044 }
        [44] connected
            -> connect session 0x51 known password true zxid 0 timeout 30000 ro Some(false)
        [44] accept session 0x51, 6000 ms
            Session(Connected)
    "#]]);
}

#[test]
fn close_comes_behind_what_was_submitted_and_nothing_comes_behind_close() {
    let mut stage = Stage::up(Settings::new(1, 1));
    stage.submit("write", set("/a"));
    stage.machine.close(stage.now_ms, "close");
    stage.note("close");
    stage.submit("late", set("/a"));
    stage.reply(1, 9, ErrorCode::Ok, &stat());
    stage.reply(2, 10, ErrorCode::Ok, &[]);
    stage.check(expect![[r#"
        [0] submit write
            -> SetData xid 1
        [0] close
            -> CloseSession xid 2
        [0] submit late
            refused: Closed
        [0] reply 1 zxid 9 Ok
            write: Stat
        [0] reply 2 zxid 10 Ok
            HangUp
            close: Done
            Session(Closed)
    "#]]);
}

#[test]
fn what_was_closed_before_its_start_does_not_connect() {
    let mut machine = Machine::new(Settings::new(1, 7));
    machine.close(0, "close");
    machine.start(0);
    assert!(machine.is_over() && machine.poll_link().is_none());
}

#[test]
fn an_abandoned_request_is_silent_and_keeps_its_place() {
    let mut stage = Stage::up(Settings::new(1, 1));
    let sent = stage.submit("given up", set("/a")).unwrap();
    stage.submit("kept", get("/a", false));
    let maybe_applied = true;
    let given_up = (Abandoned::Sent { maybe_applied }, Some("given up"));
    assert_eq!(stage.machine.abandon(sent), given_up, "its context comes back");
    stage.reply(1, 9, ErrorCode::Ok, &stat());
    assert_eq!(stage.machine.abandon(sent), (Abandoned::Completed, None));
    stage.reply(2, 9, ErrorCode::Ok, &data());
    stage.disconnect();
    let unsent = stage.submit("never sent", set("/a")).unwrap();
    assert_eq!(stage.machine.abandon(unsent), (Abandoned::Unsent, Some("never sent")));
    stage.pass();
    stage.connect();
    stage.accept(0x51, 6000);
    stage.check(expect![[r#"
        [0] submit given up
            -> SetData xid 1
        [0] submit kept
            -> GetData xid 2 /a
        [0] reply 1 zxid 9 Ok
        [0] reply 2 zxid 9 Ok
            kept: Data
        [0] disconnected
            Session(Disconnected)
        [0] submit never sent
        [44] time
            Dial { server: 0, deadline_ms: 6044 }
        [44] connected
            -> connect session 0x51 known password true zxid 9 timeout 30000 ro Some(false)
        [44] accept session 0x51, 6000 ms
            Session(Connected)
    "#]]);
}

#[test]
fn a_reply_out_of_order_or_beyond_any_limit_drops_the_connection() {
    for garbage in [
        reply(9, 1, ErrorCode::Ok, &[]),
        reply(1, 1, ErrorCode::Ok, b"short"),
        vec![0xff; 8],
        vec![0, 0, 0, 2, 0, 0],
    ] {
        let mut stage = Stage::up(Settings::new(1, 1));
        stage.submit("get", get("/a", false));
        stage.receive("garbage", &garbage);
        assert!(stage.transcript.contains("HangUp"), "{}", stage.transcript);
        assert!(stage.transcript.contains("get: "), "{}", stage.transcript);
        assert!(!stage.machine.is_connected());
    }
}

#[test]
fn what_would_not_fit_a_frame_or_the_memory_is_refused_at_once() {
    let settings = Settings { frame_bytes_max: 100, ..Settings::new(1, 1) };
    let mut machine = Machine::new(settings);
    let data = Some(vec![0; 100]);
    let large = Operation::SetData { path: "/a".to_owned(), data, version: -1 };
    let refused = machine.submit(0, &large, ());
    let error = ClientError::TooLarge { bytes: 122, bytes_max: 100 };
    assert_eq!(refused, Err(Refused { error, context: () }));
    for _ in 0..QUEUED_REQUESTS_MAX {
        machine.submit(0, &set("/a"), ()).unwrap();
    }
    let refused = machine.submit(0, &set("/a"), ());
    let error = ClientError::Overloaded { queued: QUEUED_REQUESTS_MAX };
    assert_eq!(refused, Err(Refused { error, context: () }));
    machine.submit_beyond_limits(0, &set("/a"), ()).unwrap();
}

#[test]
fn removed_watches_are_told_and_not_rearmed() {
    let mut stage = Stage::up(Settings { chroot: "/r".to_owned(), ..Settings::new(1, 1) });
    stage.submit("get", get("/d", true));
    stage.reply(1, 40, ErrorCode::Ok, &data());
    let (path, kind) = ("/d".to_owned(), WatchKind::Any);
    stage.submit("remove", Operation::RemoveWatches { path, kind });
    stage.reply(2, 40, ErrorCode::Ok, &[]);
    assert_eq!(stage.machine.watches(), 0);
    stage.event(EventType::NodeDeleted, "/r/x");
    stage.event(EventType::NodeDeleted, "/r");
    stage.check(expect![[r#"
        [0] submit get
            -> GetData xid 1 /r/d
        [0] reply 1 zxid 40 Ok
            get: Data
        [0] submit remove
            -> RemoveWatches xid 2
        [0] reply 2 zxid 40 Ok
            Node(NodeEvent { kind: DataWatchRemoved, path: "/d", zxid: -1 })
            remove: Done
        [0] event NodeDeleted /r/x
            Node(NodeEvent { kind: NodeDeleted, path: "/x", zxid: -1 })
        [0] event NodeDeleted /r
            Node(NodeEvent { kind: NodeDeleted, path: "/", zxid: -1 })
    "#]]);
}

/// A server's side of a connection with a bit of everything.
fn conversation() -> Vec<u8> {
    let mut bytes = Vec::new();
    let response = ConnectResponse {
        timeout_ms: 6000,
        session: SessionId(0x51),
        password: PASSWORD,
        read_only: Some(true),
    };
    let start = begin_frame(&mut bytes);
    response.encode(&mut bytes);
    end_frame(&mut bytes, start);
    bytes.extend(reply(-4, 0, ErrorCode::Ok, &[]));
    bytes.extend(reply(1, 3, ErrorCode::Ok, &data()));
    WatcherEvent { kind: EventType::NodeDataChanged, path: b"/a" }.encode_frame(4, &mut bytes);
    bytes.extend(reply(-2, 4, ErrorCode::Ok, &[]));
    bytes.extend(reply(2, 4, ErrorCode::NoAuth, &[]));
    bytes.extend(reply(3, 5, ErrorCode::Ok, &stat()));
    bytes
}

/// What the machine says to the conversation when it comes in these pieces.
fn heard<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> String {
    let mut stage = Stage::new(Settings { read_only: true, ..Settings::new(1, 1) });
    stage.submit("auth", auth());
    stage.submit("get", get("/a", true));
    stage.submit("refused", get("/b", true));
    stage.submit("set", set("/c"));
    stage.start();
    stage.connect();
    stage.transcript.clear();
    for piece in pieces {
        stage.machine.handle_bytes(0, piece);
        stage.drain();
    }
    format!("{}{:?} {}", stage.transcript, stage.machine.session(), stage.machine.watches())
}

proptest! {
    #[test]
    fn any_split_of_the_byte_stream_gives_the_same_events(
        mut cuts in proptest::collection::vec(0_usize..400, 0..40),
    ) {
        let bytes = conversation();
        cuts.retain(|cut| *cut < bytes.len());
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        let whole = heard(std::iter::once(&bytes[..]));
        prop_assert!(whole.contains("set: Stat"));
        // A piece sends what the handshake allows at once; the order of all else is the same.
        prop_assert_eq!(heard(pieces), whole);
    }

    #[test]
    fn no_bytes_of_a_server_break_the_machine(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        valid in 0_usize..300,
    ) {
        let mut stage = Stage::new(Settings::new(1, 1));
        stage.submit("auth", auth());
        stage.submit("get", get("/a", true));
        stage.start();
        stage.connect();
        let conversation = conversation();
        stage.machine.handle_bytes(0, &conversation[..valid.min(conversation.len())]);
        stage.machine.handle_bytes(0, &bytes);
        stage.drain();
        stage.machine.close(0, "close");
        stage.drain();
    }
}
