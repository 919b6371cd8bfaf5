//! What a server's memory holds: bytes of a znode, watch, session record and idle connection.
//!
//! Each figure is the growth of the process's anonymous memory (`RssAnon`) divided by the count, on a
//! server of its own, without what its first thousand of the same had already made it allocate.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::raw::{Connection, Handshake, Request, ids, request};
use crate::subject::{Options, Subject};

/// What so many of one kind made a server grow by.
#[derive(Clone, Copy, Debug)]
pub struct Grown {
    /// Of what.
    pub what: &'static str,
    /// How many.
    pub count: usize,
    /// Of anonymous memory.
    pub bytes_each: f64,
    /// Of the whole process in the end.
    pub resident_bytes: u64,
}

/// What is there before counting begins: tables and pools have their first size then.
const WARM: usize = 1000;

/// Requests that may be unanswered on one connection.
const PIPELINE: usize = 200;

/// Watches that one connection holds.
const WATCHES_EACH: usize = 10_000;

/// A session must not end while the rest is counted.
const TIMEOUT_MILLIS: i32 = 3_600_000;

fn start(binary: &Path) -> Result<Subject> {
    let options = Options::new().line(&format!("maxSessionTimeout={TIMEOUT_MILLIS}"));
    Subject::farwatch(binary, options)
}

fn connect(subject: &Subject) -> Result<Connection> {
    let handshake = Handshake::with_timeout(TIMEOUT_MILLIS);
    let (connection, session) = Connection::connect(subject.address(), &handshake)?;
    ensure!(!session.is_expired(), "the server takes no sessions");
    Ok(connection)
}

/// Sends `count` requests, a bounded number ahead of their replies, which must say `err`.
fn pipeline(
    connection: &mut Connection,
    count: usize,
    err: i32,
    mut request: impl FnMut(usize) -> Request,
) -> Result<()> {
    let receive = |connection: &mut Connection| -> Result<()> {
        let reply = connection.receive_reply()?;
        ensure!(reply.err == err, "answered {} where {err} is due", reply.err);
        Ok(())
    };
    for at in 0..count {
        connection.send(at as i32 + 1, &request(at))?;
        if at >= PIPELINE {
            receive(connection)?;
        }
    }
    for _ in 0..count.min(PIPELINE) {
        receive(connection)?;
    }
    Ok(())
}

/// The server's anonymous memory once it no longer changes: replaced versions are freed, buffers of
/// closed connections given back.
fn settled(subject: &Subject) -> Result<u64> {
    let end = Instant::now() + Duration::from_secs(30);
    let mut last = memory(subject, "RssAnon")?;
    loop {
        thread::sleep(Duration::from_secs(2));
        let now = memory(subject, "RssAnon")?;
        if now == last || Instant::now() > end {
            return Ok(now);
        }
        last = now;
    }
}

fn memory(subject: &Subject, line: &str) -> Result<u64> {
    let pid = subject.pid().context("the server runs")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    let kib = value.and_then(|value| value.trim().strip_suffix(" kB"));
    Ok(kib.context("the kernel says how much")?.parse::<u64>()? * 1024)
}

fn grown(subject: &Subject, what: &'static str, count: usize, before: u64) -> Result<Grown> {
    let after = settled(subject)?;
    let bytes_each = after.saturating_sub(before) as f64 / count as f64;
    Ok(Grown { what, count, bytes_each, resident_bytes: memory(subject, "VmRSS")? })
}

fn path(at: usize) -> String {
    format!("/bench/{:04}/n{:08}", at / 10_000, at)
}

fn fill(connection: &mut Connection, from: usize, upto: usize) -> Result<()> {
    let data = [b'x'; 100];
    let create = |path: &str, data: &[u8]| request::create(path, Some(data), &ids::open(), 0);
    let parents: Vec<Request> = (from..upto)
        .filter(|at| at.is_multiple_of(10_000))
        .map(|at| create(&format!("/bench/{:04}", at / 10_000), b""))
        .collect();
    pipeline(connection, parents.len(), 0, |at| parents[at].clone())?;
    let multis: Vec<usize> = (from..upto).step_by(100).collect();
    pipeline(connection, multis.len(), 0, |at| {
        let parts: Vec<Request> = (multis[at]..(multis[at] + 100).min(upto))
            .map(|node| create(&path(node), &data))
            .collect();
        request::multi(&parts)
    })
}

/// Znodes of 100 bytes of data.
pub fn znodes(binary: &Path, count: usize) -> Result<Grown> {
    let subject = start(binary)?;
    let mut connection = connect(&subject)?;
    pipeline(&mut connection, 1, 0, |_| request::create("/bench", None, &ids::open(), 0))?;
    fill(&mut connection, 0, WARM)?;
    let before = settled(&subject)?;
    fill(&mut connection, WARM, WARM + count)?;
    grown(&subject, "znodes of 100 bytes, path 21 bytes", count, before)
}

/// One-shot watches, 10,000 on each connection: every connection watches the same paths.
pub fn shared_watches(binary: &Path, count: usize) -> Result<Grown> {
    let subject = start(binary)?;
    let mut held = Vec::new();
    let watch = |held: &mut Vec<Connection>| -> Result<()> {
        let mut connection = connect(&subject)?;
        pipeline(&mut connection, WATCHES_EACH, -101, |at| request::exists(&path(at), true))?;
        held.push(connection);
        Ok(())
    };
    watch(&mut held)?;
    let before = settled(&subject)?;
    let connections = count / WATCHES_EACH;
    for _ in 0..connections {
        watch(&mut held)?;
    }
    let count = connections * WATCHES_EACH;
    grown(&subject, "watches, each path by many", count, before)
}

/// One-shot watches. No path is watched twice.
pub fn distinct_watches(binary: &Path, count: usize) -> Result<Grown> {
    let subject = start(binary)?;
    let mut connection = connect(&subject)?;
    pipeline(&mut connection, WARM, -101, |at| request::exists(&path(at), true))?;
    let before = settled(&subject)?;
    pipeline(&mut connection, count, -101, |at| request::exists(&path(WARM + at), true))?;
    grown(&subject, "watches, each path by one (21 bytes)", count, before)
}

/// Sessions without a connection.
pub fn sessions(binary: &Path, count: usize) -> Result<Grown> {
    let subject = start(binary)?;
    let open_all = |count: usize| -> Result<()> {
        let one = |part: usize| -> Result<()> {
            for _ in 0..part {
                drop(connect(&subject)?);
            }
            Ok(())
        };
        // Several at once share the log's writes.
        thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| one(count / 16))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
        })
    };
    open_all(WARM)?;
    let before = settled(&subject)?;
    open_all(count)?;
    grown(&subject, "sessions without a connection", count / 16 * 16, before)
}

/// Idle connections with a session; this process and the server need a file each.
pub fn connections(binary: &Path, count: usize) -> Result<Grown> {
    let subject = start(binary)?;
    let mut held = Vec::new();
    for _ in 0..WARM {
        held.push(connect(&subject)?);
    }
    let before = settled(&subject)?;
    for _ in 0..count {
        held.push(connect(&subject)?);
    }
    grown(&subject, "idle connections with a session", count, before)
}
