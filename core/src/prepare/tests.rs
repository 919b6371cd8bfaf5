//! Rules as transcripts. Each script runs twice, with every write applied at once and with none
//! applied before the script says so: the outcome must be the same.

use expect_test::{Expect, expect};

use super::{Internal, Options};
use crate::acl::{AclEntry, AclList, Identity, Perms};
use crate::record::{Chain, Record};
use crate::tree::QuotaLimits;
use crate::txn::{NodeKind, Txn};
use crate::wire::OpCode;
use crate::wire::jute::Writer;
use crate::wire::request::MultiHeader;
use crate::zxid::SessionId;

mod lists;
mod memory;
mod multi;
mod random;

mod rules;

use memory::World;

/// The session that speaks when a line names none; it is open from the start, as is 2.
const FIRST: SessionId = SessionId(1);

fn check(script: &str, expected: Expect) {
    check_with(Options { extended_types: true, ..Options::default() }, script, expected);
}

fn check_with(options: Options, script: &str, expected: Expect) {
    let at_once = run(World::new(options), script, true);
    let late = run(World::new(options), script, false);
    assert_eq!(at_once, late, "what is outstanding counts as if it were applied");
    expected.assert_eq(&at_once);
}

fn run(mut world: World, script: &str, applies_at_once: bool) -> String {
    for session in [1, 2] {
        world.open(session).unwrap();
    }
    world.apply(2);
    let mut transcript = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let outcome = step(&mut world, line);
        if applies_at_once {
            world.apply(usize::MAX);
            assert_eq!(world.prepare.outstanding(), 0);
        }
        if let Some(outcome) = outcome {
            transcript.push_str(&format!("{line} -> {outcome}\n"));
        }
    }
    if !script.contains("cversion") {
        world.apply(usize::MAX);
        world.compare_trees();
    }
    transcript
}

/// One line: `[sN] verb arguments`. `None` is a line that only sets the scene.
fn step(world: &mut World, line: &str) -> Option<String> {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let mut session = FIRST;
    if let Some(number) = words[0].strip_prefix('s').and_then(|rest| rest.parse().ok()) {
        session = SessionId(number);
        words.remove(0);
    }
    match words[..] {
        ["apply"] => {
            world.apply(usize::MAX);
            None
        }
        ["apply", count] => {
            world.apply(count.parse().unwrap());
            None
        }
        ["cversion", path, count] => {
            world.state.set_cversion(path.as_bytes(), count.parse().unwrap());
            None
        }
        ["wait", ms] => {
            world.time_ms += ms.parse::<i64>().unwrap();
            None
        }
        ["who", ref identities @ ..] => {
            let identities = identities.iter().map(|identity| {
                let (scheme, id) = identity.split_once(':').unwrap();
                Identity { scheme: scheme.into(), id: id.into() }
            });
            world.identities.insert(session, identities.collect());
            None
        }
        ["quota", prefix, count, bytes, count_hard, bytes_hard] => {
            let number = |text: &str| text.parse().ok().filter(|&limit| limit >= 0);
            let limits = QuotaLimits {
                count_soft: number(count),
                bytes_soft: number(bytes),
                count_hard: number(count_hard),
                bytes_hard: number(bytes_hard),
            };
            world.state.quotas.insert(prefix.into(), Some(limits));
            None
        }
        ["junk-quota", prefix] => {
            world.state.quotas.insert(prefix.into(), None);
            None
        }
        ["open"] => Some(render_internal(world.open(session.0))),
        ["expire"] => Some(render_internal(world.internal(Internal::CloseSession(session)))),
        ["reap", path, ref never_used @ ..] => {
            let never_used_ms = never_used.first().map(|ms| ms.parse().unwrap());
            let change = Internal::Reap { path: path.as_bytes(), never_used_ms };
            Some(render_internal(world.internal(change)))
        }
        _ => {
            let (op, body) = request(&words);
            let warned = |world: &World| match world.prepare.quota_warning() {
                Some(w) => format!(" (soft {:?} {} of {})", w.measure, w.value, w.limit),
                None => String::new(),
            };
            Some(match world.write(session, op, &body) {
                Ok((record, _)) => render_record(&record) + &warned(world),
                Err(code) => format!("refused {}", code.code()),
            })
        }
    }
}

fn render_internal(record: Option<Vec<u8>>) -> String {
    record.map_or("pointless".into(), |record| render_record(&record))
}

/// The operation and body that `words` ask for.
fn request(words: &[&str]) -> (OpCode, Vec<u8>) {
    let mut body = Vec::new();
    let mut w = Writer::new(&mut body);
    let option = |name: &str| {
        words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).map(String::from)
    };
    let number = |name: &str, default: i64| option(name).map_or(default, |n| n.parse().unwrap());
    let path = words.get(1).map_or(Vec::new(), |path| unescape(path));
    let data = |w: &mut Writer<'_>| match option("data").as_deref() {
        Some("null") => w.buffer(None),
        Some(text) => w.string(text.as_bytes()),
        None => w.string(b""),
    };
    let op = match words[0] {
        "create" | "create2" | "container" | "ttl" => {
            w.string(&path);
            data(&mut w);
            acl(&option("acl").unwrap_or("31:world:anyone".into()), &mut w);
            w.int(number("flags", if words[0] == "ttl" { 5 } else { 0 }) as i32);
            match words[0] {
                "create" => OpCode::Create,
                "create2" => OpCode::Create2,
                "container" => OpCode::CreateContainer,
                _ttl => {
                    w.long(number("ttl", 1000));
                    OpCode::CreateTtl
                }
            }
        }
        "delete" | "check" => {
            w.string(&path);
            w.int(number("v", -1) as i32);
            if words[0] == "delete" { OpCode::Delete } else { OpCode::Check }
        }
        "set" => {
            w.string(&path);
            data(&mut w);
            w.int(number("v", -1) as i32);
            OpCode::SetData
        }
        "setacl" => {
            w.string(&path);
            acl(&option("acl").unwrap_or("31:world:anyone".into()), &mut w);
            w.int(number("v", -1) as i32);
            OpCode::SetAcl
        }
        "reconfig" => {
            w.buffer(None);
            w.buffer(None);
            w.buffer(None);
            w.long(-1);
            OpCode::Reconfig
        }
        "get" => {
            w.string(&path);
            w.boolean(false);
            OpCode::GetData
        }
        "close" => OpCode::CloseSession,
        "nullpath" => {
            w.buffer(None);
            OpCode::Delete
        }
        "multi" => {
            for part in words[1..].split(|&word| word == ";").filter(|part| !part.is_empty()) {
                let (op, body) = request(part);
                MultiHeader { kind: op.code(), done: false, err: -1 }.encode(&mut w);
                w.out.extend_from_slice(&body);
            }
            MultiHeader::END.encode(&mut w);
            OpCode::Multi
        }
        verb => panic!("no such verb: {verb}"),
    };
    (op, body)
}

/// `%xx` is a byte; `-` alone is the empty string.
fn unescape(text: &str) -> Vec<u8> {
    if text == "-" {
        return Vec::new();
    }
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

/// `null`, `empty`, or entries `perms:scheme:id` with commas between.
fn acl(text: &str, w: &mut Writer<'_>) {
    let entries = match text {
        "null" => return w.int(-1),
        "empty" => return w.int(0),
        entries => entries.split(',').map(|entry| {
            let mut parts = entry.splitn(3, ':');
            AclEntry {
                perms: Perms(parts.next().unwrap().parse().unwrap()),
                scheme: parts.next().map(str::as_bytes),
                id: parts.next().map(str::as_bytes),
            }
        }),
    };
    AclList::encode(entries.collect::<Vec<_>>().into_iter(), w.out);
}

fn render_record(bytes: &[u8]) -> String {
    // Only the chain's first record can be read without its predecessor: put the crc right.
    let mut bytes = bytes.to_vec();
    let crc = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    let record = Record::read(&bytes, Chain(0)).unwrap();
    format!("{} {}", record.head().zxid.counter(), render(&record.txn()))
}

fn render(txn: &Txn<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let data = |data: Option<&[u8]>| match data {
        None => " null".into(),
        Some([]) => String::new(),
        Some(bytes) => format!(" {}", text(bytes)),
    };
    let list = |list: AclList<'_>| {
        let entries = list.entries().map(|entry| {
            format!("{}:{}:{}", entry.perms.0, text(entry.scheme.unwrap()), text(entry.id.unwrap()))
        });
        match entries.collect::<Vec<_>>().join(",") {
            open if open == "31:world:anyone" => String::new(),
            other => format!(" [{other}]"),
        }
    };
    match *txn {
        Txn::Create(create) => {
            let kind = match create.kind {
                NodeKind::Persistent => String::new(),
                NodeKind::Ephemeral(session) => format!(" ephemeral {session}"),
                NodeKind::Container => " container".into(),
                NodeKind::Ttl(ms) => format!(" ttl {ms}"),
            };
            let (path, acl) = (text(create.path), list(create.acl));
            format!("create {path}{}{acl}{kind} #{}", data(create.data), create.parent_cversion)
        }
        Txn::Delete { path } => format!("delete {}", text(path)),
        Txn::SetData { path, data: bytes, version } => {
            format!("set {}{} v{version}", text(path), data(bytes))
        }
        Txn::SetAcl { path, acl, version } => {
            format!("setacl {}{} v{version}", text(path), list(acl))
        }
        Txn::Check { path } => format!("check {}", text(path)),
        Txn::CreateSession { timeout_ms, .. } => format!("open {timeout_ms}"),
        Txn::CloseSession => "close".into(),
        Txn::Error(code) => format!("error {}", code.code()),
        Txn::Multi(multi) => {
            format!("[{}]", multi.iter().map(|part| render(&part)).collect::<Vec<_>>().join("; "))
        }
    }
}
