//! What a load asks, prepared ahead so that asking costs a copy.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};

use crate::raw::{self, Connection, Handshake, framed, ids, request_bytes};

/// The parent of everything that a load touches.
const ROOT: &str = "/bench";

/// Creates outstanding while nodes are made.
const POPULATE_OUTSTANDING: usize = 1000;

/// Children of one directory at most: a real tree has many directories.
const DIRECTORY_NODES: usize = 1000;

const NODE_EXISTS: i32 = -110;

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
}

/// A closed loop: each connection keeps `outstanding` requests under way.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// What.
    pub kind: Kind,
    /// Sessions.
    pub connections: usize,
    /// Requests of each that are not answered yet.
    pub outstanding: usize,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Nodes that are read and set, uniformly.
    pub keys: usize,
    /// Threads that ask.
    pub threads: usize,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            kind: Kind::Get,
            connections: 1,
            outstanding: 1,
            value_bytes: 100,
            keys: 10_000,
            threads: 1,
        }
    }
}

/// Requests as frames with xid 0.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    kind: Kind,
    gets: Arc<[Vec<u8>]>,
    sets: Arc<[Vec<u8>]>,
    value: Vec<u8>,
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
    pub(super) fn new(workload: &Workload) -> Self {
        let value = vec![b'v'; workload.value_bytes];
        let paths: Vec<String> = (0..workload.keys).map(path).collect();
        let reads = workload.kind != Kind::Set && workload.kind != Kind::Create;
        let writes = workload.kind != Kind::Get && workload.kind != Kind::Create;
        let frames = |wanted: bool, build: &dyn Fn(&str) -> raw::Request| -> Arc<[Vec<u8>]> {
            let paths = if wanted { &paths[..] } else { &[] };
            paths.iter().map(|path| framed(&request_bytes(0, &build(path)))).collect()
        };
        let gets = frames(reads, &|path| raw::request::get_data(path, false));
        let sets = frames(writes, &|path| raw::request::set_data(path, Some(&value), -1));
        // Unique among runs on one server; nothing else is asked of it.
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self { kind: workload.kind, gets, sets, value, tag: since.as_nanos() as u64 }
    }

    /// Appends the request with this xid of connection `of`, chosen by `draw`.
    pub(super) fn ask(&self, of: usize, xid: i32, draw: u64, out: &mut Vec<u8>) -> Asked {
        let start = out.len();
        let read = match self.kind {
            Kind::Get => true,
            Kind::Set | Kind::Create => false,
            Kind::Mix { read_percent } => (draw >> 33) % 100 < u64::from(read_percent),
        };
        match (read, self.kind) {
            (true, _) => out.extend_from_slice(&self.gets[draw as u32 as usize % self.gets.len()]),
            (false, Kind::Create) => {
                let path = format!("{ROOT}/{:x}-{of}-{xid}", self.tag);
                let request = raw::request::create(&path, Some(&self.value), &ids::open(), 0);
                out.extend_from_slice(&framed(&request_bytes(0, &request)));
            }
            (false, _) => out.extend_from_slice(&self.sets[draw as u32 as usize % self.sets.len()]),
        }
        out[start + 4..start + 8].copy_from_slice(&xid.to_be_bytes());
        if read { Asked::Read } else { Asked::Write }
    }
}

fn path(key: usize) -> String {
    format!("{ROOT}/{:04}/node-{key:07}", key / DIRECTORY_NODES)
}

/// Creates the nodes of a workload; those that exist are left as they are.
pub(super) fn populate(address: SocketAddr, workload: &Workload) -> Result<()> {
    populate_keys(address, workload.keys, workload.value_bytes)
}

/// Creates so many nodes under the root of all loads.
pub(super) fn populate_keys(address: SocketAddr, keys: usize, value_bytes: usize) -> Result<()> {
    let (mut connection, session) = Connection::connect(address, &Handshake::default())?;
    ensure!(!session.is_expired(), "the server refuses a new session");
    let value = vec![b'v'; value_bytes];
    let directories = (0..keys.div_ceil(DIRECTORY_NODES)).map(|at| format!("{ROOT}/{at:04}"));
    let paths = std::iter::once(ROOT.to_owned()).chain(directories).chain((0..keys).map(path));
    let (mut outstanding, mut xid) = (0, 0);
    let mut bytes = Vec::new();
    for path in paths {
        xid += 1;
        let request = raw::request::create(&path, Some(&value), &ids::open(), 0);
        bytes.extend_from_slice(&framed(&request_bytes(xid, &request)));
        outstanding += 1;
        if outstanding == POPULATE_OUTSTANDING {
            connection.send_raw(&bytes)?;
            bytes.clear();
            collect(&mut connection, &mut outstanding)?;
        }
    }
    connection.send_raw(&bytes)?;
    collect(&mut connection, &mut outstanding)?;
    connection.call(&raw::request::close_session())?;
    Ok(())
}

fn collect(connection: &mut Connection, outstanding: &mut usize) -> Result<()> {
    for _reply in 0..std::mem::take(outstanding) {
        let reply = connection.receive_reply()?;
        if reply.err != 0 && reply.err != NODE_EXISTS {
            bail!("create number {} was answered with error {}", reply.xid, reply.err);
        }
    }
    Ok(())
}
