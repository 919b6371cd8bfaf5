//! What a load asks, prepared ahead so that asking costs a copy.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};

use crate::raw::{self, Connection, Handshake, framed, ids, request_bytes};

/// The parent of everything that a load touches, on servers that were started for it.
pub const ROOT: &str = "/bench";

/// Requests outstanding while nodes are made and removed.
const BATCH_REQUESTS: usize = 1000;

/// Children of one directory at most: a real tree has many directories.
const DIRECTORY_NODES: usize = 1000;

/// Of every event of a watch.
pub(super) const EVENT_XID: i32 = -1;

/// Of every heartbeat.
const PING_XID: i32 = -2;

const NO_NODE: i32 = -101;
const NODE_EXISTS: i32 = -110;
const NOT_EMPTY: i32 = -111;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// getData.
    Get,
    /// setData.
    Set,
    /// create.
    Create,
    /// getData in so many of a hundred cases, else setData.
    Mix {
        /// 0 to 100.
        read_percent: u8,
    },
    /// getChildren of the root of the nodes.
    Children,
    /// create and delete in turn, of one name after the other below the root of the nodes.
    Churn,
    /// A heartbeat.
    Ping,
}

/// A closed loop, in which each connection keeps `outstanding` requests under way, or an open one.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// What.
    pub kind: Kind,
    /// Sessions.
    pub connections: usize,
    /// Requests of each that are not answered yet; in an open loop as many as it takes.
    pub outstanding: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Nodes that are read and set, uniformly.
    pub keys: usize,
    /// So many of a hundred reads leave a watch, 0 to 100; what fires is counted.
    pub watch_percent: u8,
    /// Threads that ask.
    pub threads: usize,
    /// An open loop: so many requests a second over all connections, evenly spaced, whatever is
    /// still outstanding. Latency then counts from when a request was due, so that a server which
    /// stalls is charged for those that had to wait.
    pub rate: Option<f64>,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            kind: Kind::Get,
            connections: 1,
            outstanding: 1,
            value_bytes: 100,
            keys: 10_000,
            watch_percent: 0,
            threads: 1,
            rate: None,
        }
    }
}

/// Which nodes a load works on.
#[derive(Clone, Copy, Debug)]
pub enum Nodes<'a> {
    /// Those below this path, created where they are missing.
    Below(&'a str),
    /// Those below this path, which is there.
    There(&'a str),
    /// None: a canned server answers whatever is asked.
    Canned,
}

/// Requests as frames with xid 0.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    kind: Kind,
    root: String,
    gets: Arc<[Vec<u8>]>,
    sets: Arc<[Vec<u8>]>,
    value: Vec<u8>,
    watch_percent: u8,
    /// Names what this load creates.
    tag: u64,
}

/// Whether a request that was asked is a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Read,
    Write,
}

impl Plan {
    pub(super) fn new(workload: &Workload, nodes: Nodes<'_>) -> Self {
        let root = match nodes {
            Nodes::Below(root) | Nodes::There(root) => root,
            Nodes::Canned => ROOT,
        };
        let value = vec![b'v'; workload.value_bytes];
        let paths: Vec<String> = (0..workload.keys).map(|key| path(root, key)).collect();
        let is_mix = matches!(workload.kind, Kind::Mix { .. });
        let (reads, writes) =
            (is_mix || workload.kind == Kind::Get, is_mix || workload.kind == Kind::Set);
        let frames = |wanted: bool, build: &dyn Fn(&str) -> raw::Request| -> Arc<[Vec<u8>]> {
            let paths = if wanted { &paths[..] } else { &[] };
            paths.iter().map(|path| framed(&request_bytes(0, &build(path)))).collect()
        };
        let only = |request: raw::Request| -> Arc<[Vec<u8>]> {
            [framed(&request_bytes(0, &request))].into()
        };
        let gets = match workload.kind {
            Kind::Children => only(raw::request::get_children(root, false)),
            Kind::Ping => only(raw::request::ping()),
            _ => frames(reads, &|path| raw::request::get_data(path, false)),
        };
        let sets = frames(writes, &|path| raw::request::set_data(path, Some(&value), -1));
        // Unique among runs on one server; nothing else is asked of it.
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        let (root, tag) = (root.to_owned(), since.as_nanos() as u64);
        let watch_percent = workload.watch_percent;
        Self { kind: workload.kind, root, gets, sets, value, watch_percent, tag }
    }

    /// Appends the request with this xid of connection `of`, chosen by `draw`.
    pub(super) fn ask(&self, of: usize, xid: i32, draw: u64, out: &mut Vec<u8>) -> Asked {
        let start = out.len();
        let read = match self.kind {
            Kind::Get | Kind::Children | Kind::Ping => true,
            Kind::Set | Kind::Create | Kind::Churn => false,
            Kind::Mix { read_percent } => percents(draw).0 < u64::from(read_percent),
        };
        let mut put = |request: raw::Request| {
            out.extend_from_slice(&framed(&request_bytes(0, &request)));
        };
        let fresh = |xid: i32| format!("{}/{:x}-{of}-{xid}", self.root, self.tag);
        let create = |xid| raw::request::create(&fresh(xid), Some(&self.value), &ids::open(), 0);
        match (read, self.kind) {
            (true, kind) => {
                out.extend_from_slice(&self.gets[draw as u32 as usize % self.gets.len()]);
                // Whether to watch is the last byte of getData and getChildren.
                let watches = percents(draw).1 < u64::from(self.watch_percent);
                if watches && kind != Kind::Ping {
                    *out.last_mut().expect("a frame") = 1;
                }
            }
            (false, Kind::Create) => put(create(xid)),
            // The first xid is odd, and a session's requests are done in their order.
            (false, Kind::Churn) if xid % 2 == 1 => put(create(xid)),
            (false, Kind::Churn) => put(raw::request::delete(&fresh(xid - 1), -1)),
            (false, _) => out.extend_from_slice(&self.sets[draw as u32 as usize % self.sets.len()]),
        }
        out[start + 4..start + 8].copy_from_slice(&self.xid(xid).to_be_bytes());
        if read { Asked::Read } else { Asked::Write }
    }

    /// What a request goes by: heartbeats all have the same.
    pub(super) fn xid(&self, xid: i32) -> i32 {
        if self.kind == Kind::Ping { PING_XID } else { xid }
    }
}

/// Two numbers from 0 to 99 that have nothing to do with each other, nor with the lower half of the draw.
fn percents(draw: u64) -> (u64, u64) {
    let upper = draw >> 33;
    (upper % 100, upper / 100 % 100)
}

/// Creates `parent` and so many nodes directly below it, without data.
#[cfg(feature = "page")]
pub(crate) fn fill(address: SocketAddr, parent: &str, children: usize) -> Result<()> {
    let paths = (0..children).map(|child| format!("{parent}/n{child:07}"));
    let paths = std::iter::once(parent.to_owned()).chain(paths);
    let creates = paths.map(|path| raw::request::create(&path, None, &ids::open(), 0));
    in_batches(address, creates, &[0, NODE_EXISTS])
}

fn path(root: &str, key: usize) -> String {
    format!("{root}/{:04}/node-{key:07}", key / DIRECTORY_NODES)
}

/// Creates so many nodes below `root`; those that exist are left as they are.
pub(crate) fn populate(
    address: SocketAddr,
    root: &str,
    keys: usize,
    value_bytes: usize,
) -> Result<()> {
    let value = vec![b'v'; value_bytes];
    let directories = (0..keys.div_ceil(DIRECTORY_NODES)).map(|at| format!("{root}/{at:04}"));
    let parents = root.match_indices('/').skip(1).map(|(end, _)| root[..end].to_owned());
    let paths = parents.chain(std::iter::once(root.to_owned())).chain(directories);
    let paths = paths.chain((0..keys).map(|key| path(root, key)));
    let creates = paths.map(|path| raw::request::create(&path, Some(&value), &ids::open(), 0));
    in_batches(address, creates, &[0, NODE_EXISTS])
}

/// Deletes what [`populate`] and creates have made below `root`, and `root` itself.
pub(super) fn remove(address: SocketAddr, root: &str) -> Result<()> {
    let (mut connection, session) = Connection::connect(address, &Handshake::default())?;
    ensure!(!session.is_expired(), "the server refuses a new session");
    let mut children = |parent: &str| -> Result<Vec<String>> {
        let reply = connection.call(&raw::request::get_children(parent, false))?;
        let names = if reply.err == NO_NODE { Vec::new() } else { reply.names()? };
        Ok(names.iter().map(|name| format!("{parent}/{name}")).collect())
    };
    let mut paths = Vec::new();
    for path in children(root)? {
        // Only directories have names without a dash.
        if !path[root.len()..].contains('-') {
            paths.extend(children(&path)?);
        }
        paths.push(path);
    }
    paths.push(root.to_owned());
    connection.call(&raw::request::close_session())?;
    let deletes = paths.iter().map(|path| raw::request::delete(path, -1));
    in_batches(address, deletes, &[0, NO_NODE])
}

/// Those of `path` and the nodes above it that are not there, the deepest first.
pub(super) fn missing(address: SocketAddr, path: &str) -> Result<Vec<String>> {
    let (mut connection, session) = Connection::connect(address, &Handshake::default())?;
    ensure!(!session.is_expired(), "the server refuses a new session");
    let above = path.rmatch_indices('/').map(|(end, _)| &path[..end]);
    let mut missing = Vec::new();
    for path in std::iter::once(path).chain(above).filter(|path| !path.is_empty()) {
        if connection.call(&raw::request::exists(path, false))?.err == NO_NODE {
            missing.push(path.to_owned());
        }
    }
    connection.call(&raw::request::close_session())?;
    Ok(missing)
}

/// Deletes those of `paths` that are there and have no children, in this order.
pub(super) fn remove_empty(address: SocketAddr, paths: &[String]) -> Result<()> {
    let deletes = paths.iter().map(|path| raw::request::delete(path, -1));
    in_batches(address, deletes, &[0, NO_NODE, NOT_EMPTY])
}

/// Asks everything in order, many at once. An answer that is not among `fine` is an error.
fn in_batches(
    address: SocketAddr,
    requests: impl Iterator<Item = raw::Request>,
    fine: &[i32],
) -> Result<()> {
    let (mut connection, session) = Connection::connect(address, &Handshake::default())?;
    ensure!(!session.is_expired(), "the server refuses a new session");
    let (mut outstanding, mut xid) = (0, 0);
    let mut bytes = Vec::new();
    for request in requests {
        xid += 1;
        bytes.extend_from_slice(&framed(&request_bytes(xid, &request)));
        outstanding += 1;
        if outstanding == BATCH_REQUESTS {
            connection.send_raw(&bytes)?;
            bytes.clear();
            collect(&mut connection, &mut outstanding, fine)?;
        }
    }
    connection.send_raw(&bytes)?;
    collect(&mut connection, &mut outstanding, fine)?;
    connection.call(&raw::request::close_session())?;
    Ok(())
}

fn collect(connection: &mut Connection, outstanding: &mut usize, fine: &[i32]) -> Result<()> {
    for _reply in 0..std::mem::take(outstanding) {
        let reply = connection.receive_reply()?;
        if !fine.contains(&reply.err) {
            let error = raw::error_name(reply.err);
            bail!("request number {} was answered with error {error}", reply.xid);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_a_hundred_requests_are_reads_and_so_many_of_those_leave_a_watch() {
        let kind = Kind::Mix { read_percent: 50 };
        let workload = Workload { kind, keys: 10, watch_percent: 3, ..Workload::default() };
        let plan = Plan::new(&workload, Nodes::Canned);
        let (mut reads, mut watches, mut random) = (0, 0, 1_u64);
        let all = 100_000;
        let mut out = Vec::new();
        for xid in 1..=all {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            out.clear();
            if plan.ask(0, xid, random, &mut out) == Asked::Read {
                reads += 1;
                watches += i32::from(*out.last().expect("a frame"));
            }
        }
        assert!((reads - all / 2).abs() < all / 100, "{reads} reads of {all}");
        assert!((watches - reads * 3 / 100).abs() < reads / 200, "{watches} watches of {reads}");
        assert!(plan.gets.iter().all(|get| get.last() == Some(&0)), "the prepared frames stay");
    }
}
