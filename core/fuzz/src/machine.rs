//! Histories of asks through the whole server: prepare, record, log, apply, answer.
//!
//! ```text
//! bytes ─► asks ─► node, applying at once ──► records A, replies A, tree A
//!            └───► node, applying when told ► records B, replies B, tree B
//! A = B;  records read again from their bytes ─► tree C = A;  snapshot of A ─► tree D = A
//! ```

use std::sync::Arc;

use farwatch_core::acl::{self, AclEntry, AclList, Identity, Perms};
use farwatch_core::log::epochs::Epochs;
use farwatch_core::node::submission::{Ask, Origin, Outcome, Submission};
use farwatch_core::node::{
    Clock, Event, Node, NodeOptions, OnPartition, Output, ReapOptions, Recovered,
};
use farwatch_core::prepare::Options;
use farwatch_core::record::{Chain, Record};
use farwatch_core::session::{LocalSessions, SessionIds, SessionTable};
use farwatch_core::tree::{self, Applied, Restorer, TreeOptions};
use farwatch_core::wire::handshake::Password;
use farwatch_core::wire::jute::Writer;
use farwatch_core::wire::request::{
    CreateRequest, MultiHeader, MultiRequest, PathVersion, SetAclRequest, SetDataRequest,
};
use farwatch_core::wire::{OpCode, Request};
use farwatch_core::zab::quorum::Quorum;
use farwatch_core::zab::{self, Action, Zab};
use farwatch_core::zxid::{Epoch, ServerId, SessionId, Zxid};

const TREE: TreeOptions = TreeOptions { hash_seed: 7 };
const ME: ServerId = ServerId(1);
/// Longer histories find nothing that shorter ones do not, and cost time.
const ASKS_MAX: usize = 400;

/// So many of the first are paths that a history can do something with.
const LIKELY_PATHS: usize = 8;

const PATHS: [&[u8]; 20] = [
    b"/a",
    b"/a/b",
    b"/a/b/c",
    b"/q",
    b"/q/x",
    b"/q/x/y",
    b"/q/n-",
    b"/q/x/",
    b"/",
    b"",
    b"/zookeeper",
    b"/zookeeper/quota",
    b"/zookeeper/quota/q",
    b"/zookeeper/quota/q/zookeeper_limits",
    b"/zookeeper/quota/q/zookeeper_stats",
    b"/zookeeper/config",
    b"/a/../b",
    b"no-slash",
    b"/nul\0",
    "/\u{e9}\u{1f600}".as_bytes(),
];

const DATA: [Option<&[u8]>; 8] = [
    None,
    Some(b""),
    Some(b"0123456789"),
    Some(b"count=3,bytes=40"),
    Some(b"count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=2"),
    Some(b"count=99999999999999999999,bytes=x"),
    Some(&[0xff; 70]),
    Some(b"{\"host\":1}"),
];

/// The input, taken apart front to back.
struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        first
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn path(&mut self) -> &'a [u8] {
        match self.byte() {
            255 => {
                let count = self.byte();
                self.bytes(usize::from(count))
            }
            // Half of all paths can succeed; an error ends the story that a history tells.
            at @ ..128 => PATHS[usize::from(at) % LIKELY_PATHS],
            at => PATHS[usize::from(at) % PATHS.len()],
        }
    }

    fn data(&mut self) -> Option<&'a [u8]> {
        DATA[usize::from(self.byte()) % DATA.len()]
    }

    fn version(&mut self) -> i32 {
        match self.byte() {
            0..=99 => -1,
            100 => i32::MIN,
            101 => i32::MAX,
            version => i32::from(version) - 102,
        }
    }

    fn write(&mut self, acls: &[Vec<u8>], depth: u8, out: &mut Vec<u8>) -> OpCode {
        let acl = |script: &mut Self| {
            // Most nodes are open, or soon nobody could do anything.
            let at = usize::from(script.byte().saturating_sub(200)) % (acls.len() + 2);
            match at {
                0 => Some(acl::OPEN),
                1 => None,
                _ => Some(AclList::from_bytes(&acls[at - 2]).expect("made from entries")),
            }
        };
        let request = match self.byte() % 16 {
            0..=5 => {
                let op = self.byte() % 4;
                let (path, data, acl) = (self.path(), self.data(), acl(self));
                let flags = i32::from(self.byte() % 8);
                let ttl = [-1, 0, 1, 500, 0xff_ffff_ffff, i64::MAX][usize::from(flags as u8) % 6];
                let create = CreateRequest { path, data, acl, flags, ttl };
                match op {
                    0 => Request::Create(create),
                    1 => Request::Create2(create),
                    2 => Request::CreateContainer(create),
                    _three => Request::CreateTtl(create),
                }
            }
            6 | 7 => Request::Delete(PathVersion { path: self.path(), version: self.version() }),
            8 | 9 => Request::SetData(SetDataRequest {
                path: self.path(),
                data: self.data(),
                version: self.version(),
            }),
            10 => Request::SetAcl(SetAclRequest {
                path: self.path(),
                acl: acl(self),
                version: self.version(),
            }),
            11 => Request::Check(PathVersion { path: self.path(), version: self.version() }),
            12 | 13 if depth == 0 => {
                let mut body = Vec::new();
                for _ in 0..self.byte() % 5 {
                    let mut part = Vec::new();
                    let op = self.write(acls, 1, &mut part);
                    let header = MultiHeader { kind: op.code(), done: false, err: -1 };
                    header.encode(&mut Writer::new(&mut body));
                    body.extend_from_slice(&part);
                }
                MultiHeader::END.encode(&mut Writer::new(&mut body));
                Request::Multi(MultiRequest { body: &body }).encode(out);
                return OpCode::Multi;
            }
            14 if self.byte() < 20 => Request::CloseSession,
            _raw => {
                let op = OpCode::ALL[usize::from(self.byte()) % OpCode::ALL.len()];
                let count = self.byte();
                out.extend_from_slice(self.bytes(usize::from(count)));
                return op;
            }
        };
        request.encode(out);
        request.op()
    }
}

/// One thing that happens.
enum Step {
    Write { session: usize, identities: usize, op: OpCode, body: Vec<u8> },
    Open { timeout_ms: i32 },
    Resume { session: usize, password: u8 },
    Ephemerals { session: usize },
    Left { session: usize },
    Tick { ms: i64 },
    Durable,
}

fn steps(script: &mut Script<'_>) -> Vec<Step> {
    let lists: Vec<Vec<u8>> = lists();
    let mut steps = Vec::new();
    while !script.rest.is_empty() && steps.len() < ASKS_MAX {
        let choice = script.byte();
        let session = usize::from(choice >> 5);
        let identities = usize::from(choice >> 6);
        steps.push(match choice % 32 {
            0 => Step::Open { timeout_ms: 4000 + i32::from(script.byte()) * 100 },
            1 => Step::Resume { session, password: script.byte() },
            2 => Step::Ephemerals { session },
            3 => Step::Left { session },
            4 => Step::Tick { ms: 1 << (script.byte() % 13) },
            5..=9 => Step::Durable,
            _write => {
                let mut body = Vec::new();
                let op = script.write(&lists, 0, &mut body);
                Step::Write { session, identities, op, body }
            }
        });
    }
    steps
}

fn lists() -> Vec<Vec<u8>> {
    let entry = |perms, scheme: &'static [u8], id: &'static [u8]| AclEntry {
        perms: Perms(perms),
        scheme: Some(scheme),
        id: Some(id),
    };
    let lists = [
        vec![entry(31, b"auth", b"")],
        vec![entry(1, b"world", b"anyone"), entry(31, b"digest", b"bob:x")],
        vec![entry(13, b"ip", b"10.0.0.0/8"), entry(2, b"world", b"anyone")],
        vec![],
        vec![entry(31, b"nobody", b"knows")],
        vec![AclEntry { perms: Perms(31), scheme: None, id: None }],
    ];
    lists
        .into_iter()
        .map(|entries| {
            let mut out = Vec::new();
            AclList::encode(entries.into_iter(), &mut out);
            out
        })
        .collect()
}

fn identities() -> [Arc<[Identity]>; 4] {
    let one = |scheme: &str, id: &str| Identity { scheme: scheme.into(), id: id.into() };
    [
        Arc::from([]),
        Arc::from([one("ip", "10.1.2.3")]),
        Arc::from([one("ip", "::1"), one("digest", "bob:x")]),
        Arc::from([one("super", "")]),
    ]
}

/// What a history came to.
struct Ran {
    node: Node,
    records: Vec<u8>,
    /// Outcome and body of each reply, by the number of its ask.
    replies: Vec<Option<(String, Vec<u8>)>>,
}

struct Runner {
    node: Node,
    out: Output,
    records: Vec<u8>,
    replies: Vec<Option<(String, Vec<u8>)>>,
    sessions: Vec<SessionId>,
    clock: Clock,
}

impl Runner {
    fn new(enforce_quota: bool) -> Self {
        let (writer, tree) = tree::new(TREE);
        let zab = Zab::new(ME, Quorum::majority([ME]), Epochs::default(), Zxid::ZERO);
        let prepare = Options { extended_types: true, enforce_quota, ..Options::default() };
        let reap =
            ReapOptions { interval_ms: 100, per_minute_max: 60_000, never_used_ms: Some(300) };
        let options = NodeOptions {
            prepare,
            tick_ms: 1000,
            hash_seed: 7,
            reap,
            wait_ms: 10_000,
            stale_ms_max: None,
            on_partition: OnPartition::default(),
            learner_grace_ms: 0,
            lists_learners: false,
            write_bytes_max: 1 << 20,
            local_sessions: LocalSessions::Off,
        };
        let recovered = Recovered { writer, tree, sessions: SessionTable::new(), chain: Chain(0) };
        let ids = SessionIds::new(ME, 1_700_000_000_000).expect("the server's number is small");
        let clock = Clock { mono_ms: 1000, wall_ms: 1_700_000_000_000 };
        let mut runner = Self {
            node: Node::new(options, zab, ids, recovered, clock),
            out: Output::default(),
            records: Vec::new(),
            replies: Vec::new(),
            sessions: Vec::new(),
            clock,
        };
        runner.node.step(Event::Zab(zab::Event::Start), &mut runner.out);
        let saves =
            |action| if let Action::SaveEpochs(epochs) = action { Some(epochs) } else { None };
        let epochs = runner.out.actions.drain(..).find_map(saves).expect("it elects itself");
        assert_eq!(epochs.current, Epoch(1));
        runner.node.step(Event::Zab(zab::Event::EpochsSaved(epochs)), &mut runner.out);
        runner.out.clear();
        runner
    }

    fn ask(&mut self, session: SessionId, ask: Ask, body: &[u8], identities: &Arc<[Identity]>) {
        let sequence = self.replies.len() as u32;
        self.replies.push(None);
        let origin = Origin { reactor: 0, connection: 1, generation: 1, sequence };
        let mut submission = Submission::default();
        submission.push(origin, session, sequence as i32, ask, body, identities);
        submission.touch(session, 4000);
        let clock = self.clock;
        self.node.step(Event::Submitted { submission: &submission, clock }, &mut self.out);
        self.collect();
    }

    /// Takes the proposals to the log, and says so.
    fn settle(&mut self) {
        self.node.propose(&mut self.out);
        for action in std::mem::take(&mut self.out.actions) {
            if let Action::Append { ticket, run } = action {
                self.records.extend_from_slice(run.bytes());
                let event = zab::Event::Durable { ticket, upto: run.upto().zxid };
                self.node.step(Event::Zab(event), &mut self.out);
            }
        }
        self.collect();
    }

    fn collect(&mut self) {
        for reply in &self.out.replies {
            let (what, body) = match reply.outcome {
                Outcome::Done { err, start, end } => {
                    (format!("{err:?}"), self.out.bytes[start as usize..end as usize].to_vec())
                }
                Outcome::Attached { session, timeout_ms, .. } => {
                    self.sessions.push(session);
                    (format!("attached {session:?} {timeout_ms}"), Vec::new())
                }
                Outcome::Expired => ("expired".to_owned(), Vec::new()),
                Outcome::Refused => ("refused".to_owned(), Vec::new()),
            };
            let told = self.replies[reply.origin.sequence as usize].replace((what, body));
            assert!(told.is_none(), "an ask is answered once");
        }
        self.out.clear();
    }
}

fn play(steps: &[Step], enforce_quota: bool, at_once: bool, ticks: bool) -> Ran {
    let identities = identities();
    let mut runner = Runner::new(enforce_quota);
    let open = Ask::Open { timeout_ms: 4000, password: Password([3; 16]), read_only: false };
    for _ in 0..3 {
        runner.ask(SessionId::NONE, open, &[], &identities[0]);
        runner.settle();
    }
    // Something to work on, whatever the script does first.
    for path in [b"/a".as_slice(), b"/a/b", b"/q", b"/q/x"] {
        let (data, acl) = (Some(b"0123456789".as_slice()), Some(acl::OPEN));
        let mut body = Vec::new();
        let create = CreateRequest { path, data, acl, flags: 0, ttl: -1 };
        Request::Create(create).encode(&mut body);
        let session = runner.sessions[0];
        runner.ask(session, Ask::Write(OpCode::Create), &body, &identities[0]);
    }
    for step in steps {
        // Sessions are counted as they are opened, and those are applied late or early: only the
        // first three are named where the two must agree.
        let known = if ticks { runner.sessions.len() } else { 3 };
        let session_at = |at: usize| runner.sessions[at % known];
        match step {
            Step::Write { session, identities: who, op, body } => {
                let (session, who) = (session_at(*session), &identities[*who]);
                runner.ask(session, Ask::Write(*op), body, who);
            }
            Step::Open { timeout_ms } => {
                let password = Password([4; 16]);
                let open = Ask::Open { timeout_ms: *timeout_ms, password, read_only: false };
                runner.ask(SessionId::NONE, open, &[], &identities[0]);
            }
            // What these answer depends on what is applied, as it should.
            Step::Resume { session, password } if ticks => {
                let ask = Ask::Resume { timeout_ms: 5000, read_only: false };
                runner.ask(session_at(*session), ask, &[*password % 5; 16], &identities[0]);
            }
            Step::Ephemerals { session } if ticks => {
                runner.ask(session_at(*session), Ask::Ephemerals, b"", &identities[0]);
            }
            Step::Left { session } if ticks => {
                runner.ask(session_at(*session), Ask::Left, b"", &identities[0]);
                runner.replies.pop();
            }
            Step::Tick { ms } if ticks => {
                runner.clock.mono_ms += ms;
                runner.clock.wall_ms += ms;
                let clock = runner.clock;
                runner.node.step(Event::Tick(clock), &mut runner.out);
                runner.collect();
            }
            Step::Durable => runner.settle(),
            Step::Resume { .. }
            | Step::Ephemerals { .. }
            | Step::Left { .. }
            | Step::Tick { .. } => {}
        }
        if at_once {
            runner.settle();
        }
    }
    runner.settle();
    assert!(!runner.node.has_unapplied(), "all that was durable is applied");
    let Runner { node, records, replies, .. } = runner;
    assert!(replies.iter().all(Option::is_some), "every ask is answered");
    Ran { node, records, replies }
}

/// The first byte says which rules hold; the rest is the history.
pub fn run(data: &[u8]) {
    let Some((&flags, rest)) = data.split_first() else { return };
    let steps = steps(&mut Script { rest });
    let (enforce_quota, ticks) = (flags & 1 != 0, flags & 2 != 0);
    let late = play(&steps, enforce_quota, false, ticks);
    // Quotas are judged by what is applied, and so are the reaper and the clock.
    if !enforce_quota && !ticks {
        let early = play(&steps, enforce_quota, true, ticks);
        assert_eq!(late.replies, early.replies, "what is outstanding counts as if applied");
        assert!(late.records == early.records, "one history, one sequence of bytes");
    }
    replay(&late);
    restore(&late.node);
}

/// The records alone lead to the same state.
fn replay(ran: &Ran) {
    let (mut writer, _tree) = tree::new(TREE);
    let mut sessions = SessionTable::new();
    let mut applied = Applied::default();
    let (mut rest, mut chain, mut last) = (&ran.records[..], Chain(0), Zxid::ZERO);
    while !rest.is_empty() {
        let record = Record::read(rest, chain).expect("written by the server");
        assert!(record.head().zxid.follows(last), "history is contiguous");
        (chain, last) = (record.chain(), record.head().zxid);
        rest = &rest[record.bytes().len()..];
        applied.clear();
        writer.apply(&record.head(), &record.txn(), &mut applied);
        sessions.apply(&record.head(), &record.txn());
    }
    assert_eq!(writer.digest(), ran.node.writer().digest(), "the same tree from the records");
    assert_eq!(sessions.len(), ran.node.sessions().len());
    assert_eq!(chain, ran.node.applied_chain());
    for (session, _) in writer.sessions_with_ephemerals() {
        assert!(sessions.contains(session), "an ephemeral outlives {session:?}");
    }
}

/// The images of its nodes are the same tree.
fn restore(node: &Node) {
    let reader = node.tree().reader();
    let mut restorer = Restorer::new(TREE);
    reader.view().walk(&mut |image| restorer.push(image).expect("parents come first"));
    let (writer, tree) = restorer.finish(node.applied()).expect("there is a root");
    assert_eq!(writer.digest(), node.writer().digest(), "the same tree from its images");
    assert_eq!(tree.node_count(), node.tree().node_count());
    assert_eq!(tree.data_bytes(), node.tree().data_bytes());
    assert_eq!(tree.ephemeral_count(), node.tree().ephemeral_count());
}
