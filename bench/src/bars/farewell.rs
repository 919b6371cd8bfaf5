//! P22, its other half: one session with very many ephemeral nodes ends. No transaction grows with them, and
//! whoever reads sees all of them or none.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use farwatch_core::zxid::ServerId;
use farwatch_observer::data_dir::{DataDir, Founding};
use farwatch_observer::log_file::{LogFile, LogOptions};
use serde_json::json;

use super::Setup;
use super::table::{Line, Verdict};
use crate::raw::request::{close_session, create, exists};
use crate::raw::{Connection, Handshake, framed, ids, request_bytes};
use crate::subject::{Options, Subject};

/// Their paths together are more than a transaction may be.
const NODES: usize = 20_000;

const PARENT: &str = "/farewell";
const EPHEMERAL: i32 = 1;

/// What a transaction may be.
const BYTES_MAX: usize = 1 << 20;

/// Creates under way.
const AT_ONCE: usize = 1_000;

/// Until readers see none of them.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// Of Farwatch alone: it is about the records of its log.
pub fn measure(setup: &Setup) -> Result<Line> {
    line(&setup.servers.ours()?, NODES)
}

fn line(binary: &Path, nodes: usize) -> Result<Line> {
    // Without snapshots, so that the log has all.
    let mut subject = Subject::farwatch(binary, Options::new().line("snapCount=2000000000"))?;
    let (seen, took) = part(subject.address(), nodes)?;
    subject.kill9()?;
    let longest = longest_record(&subject.data_directory())?;
    let whole = BTreeSet::from([0, nodes]);
    let between: Vec<usize> = seen.difference(&whole).copied().collect();
    let paths = (0..nodes).map(|at| path(at).len()).sum::<usize>();
    let told = match &between[..] {
        [] => "all or none".to_owned(),
        some => format!("also {some:?}"),
    };
    Ok(Line {
        bar: "P22",
        what: format!(
            "one session ends with {nodes} ephemeral nodes, {:.1} MB of paths",
            paths as f64 / 1e6
        ),
        wanted: "no transaction above 1 MiB, readers see all or none".to_owned(),
        measured: format!(
            "the longest of all has {longest} bytes, readers saw {told}; gone after {:.0} ms",
            took.as_secs_f64() * 1e3
        ),
        beside: String::new(),
        verdict: Verdict::of(longest <= BYTES_MAX && between.is_empty()),
        rounds: json!({ "longest_bytes": longest, "seen": seen, "s": took.as_secs_f64() }),
    })
}

fn path(at: usize) -> String {
    format!("{PARENT}/instance-of-a-service-with-a-rather-long-name-in-region-west-{at:08}")
}

/// Makes the nodes and ends their session, while another asks again and again how many there are. What it saw
/// from the last create on, and how long after the session's last word the nodes were gone.
fn part(address: SocketAddr, nodes: usize) -> Result<(BTreeSet<usize>, Duration)> {
    let connect = || Ok::<_, anyhow::Error>(Connection::connect(address, &Handshake::default())?.0);
    let mut reader = connect()?;
    ensure!(reader.call(&create(PARENT, None, &ids::open(), 0))?.err == 0, "{PARENT} exists");
    let mut mortal = connect()?;
    for first in (0..nodes).step_by(AT_ONCE) {
        let upto = nodes.min(first + AT_ONCE);
        for at in first..upto {
            let request = create(&path(at), None, &ids::open(), EPHEMERAL);
            mortal.send_raw(&framed(&request_bytes(at as i32 + 1, &request)))?;
        }
        for _ in first..upto {
            let reply = mortal.receive_reply()?;
            ensure!(reply.err == 0, "a node was answered with error {}", reply.err);
        }
    }
    let mut children = || -> Result<usize> {
        Ok(reader.call(&exists(PARENT, false))?.stat()?.num_children as usize)
    };
    let mut seen = BTreeSet::from([children()?]);
    let (ended, since) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        let ending = scope.spawn(|| {
            let result = mortal.call(&close_session());
            ended.store(true, Ordering::Release);
            result
        });
        loop {
            let is_over = ended.load(Ordering::Acquire);
            let left = children()?;
            seen.insert(left);
            if is_over && left == 0 {
                break;
            }
            ensure!(since.elapsed() < GONE_WITHIN, "{left} nodes outlive their session");
        }
        let took = since.elapsed();
        ending.join().expect("no call panics").context("the end of a session")?;
        Ok((seen, took))
    })
}

/// Bytes of the longest record in the log of a server that has ended.
fn longest_record(directory: &Path) -> Result<usize> {
    let server = DataDir::owner(directory).unwrap_or(ServerId(1));
    let dir = DataDir::open(directory, None, server, Founding::Alone)?;
    let (_log, found) = LogFile::open(&dir, LogOptions::default())?;
    let (mut records, mut longest) = (found.records, 0);
    while let Some(record) = records.next_record()? {
        longest = longest.max(record.bytes().len());
    }
    Ok(longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::built_binary;

    #[test]
    fn a_session_with_many_nodes_ends_in_a_short_transaction_and_at_once() {
        let found = line(&built_binary().expect("cargo build makes it"), 500).expect("it serves");
        assert_eq!(found.verdict, Verdict::Met, "{found:?}");
        let longest = found.rounds["longest_bytes"].as_u64().expect("a number");
        // The longest are the creates.
        assert!((100..1_000).contains(&longest), "{found:?}");
    }
}
