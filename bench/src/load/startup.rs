//! How long a server takes from its start to its first answer, with many nodes on disk.

use std::time::Instant;

use anyhow::{Context, Result};

use super::plan::{ROOT, populate};
use super::process::resident_bytes;
use super::referee::Spread;
use crate::raw::{self, Connection, Handshake};
use crate::subject::Subject;

/// Starts of one server.
#[derive(Clone, Debug)]
pub struct StartUp {
    /// As the table says it.
    pub name: String,
    /// Nodes in the tree.
    pub nodes: usize,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// Of each start.
    pub starts: Vec<f64>,
    /// Resident memory after the last start.
    pub resident_bytes: u64,
}

impl StartUp {
    /// Seconds of the starts.
    #[must_use]
    pub fn seconds(&self) -> Spread {
        Spread::of(self.starts.iter().copied())
    }
}

/// Fills each server, then starts them again in turn, so many times each.
pub fn measure(
    subjects: &mut [(String, Subject)],
    nodes: usize,
    value_bytes: usize,
    rounds: usize,
) -> Result<Vec<StartUp>> {
    for (name, subject) in &*subjects {
        populate(subject.address(), ROOT, nodes, value_bytes)
            .with_context(|| format!("filling {name}"))?;
    }
    in_turn(subjects, nodes, value_bytes, rounds)
}

/// The same of servers that have their nodes.
pub fn in_turn(
    subjects: &mut [(String, Subject)],
    nodes: usize,
    value_bytes: usize,
    rounds: usize,
) -> Result<Vec<StartUp>> {
    let mut results: Vec<StartUp> = Vec::new();
    for (name, subject) in &mut *subjects {
        let (starts, resident_bytes) = (Vec::new(), 0);
        results.push(StartUp { name: name.clone(), nodes, value_bytes, starts, resident_bytes });
        subject.kill9()?;
    }
    for _round in 0..rounds {
        for ((name, subject), result) in subjects.iter_mut().zip(&mut results) {
            let started = Instant::now();
            subject.restart().with_context(|| format!("starting {name} again"))?;
            let (mut connection, _session) =
                Connection::connect(subject.address(), &Handshake::default())?;
            let reply = connection.call(&raw::request::get_data(ROOT, false))?;
            assert_eq!(reply.err, 0, "{name} lost what it acknowledged");
            result.starts.push(started.elapsed().as_secs_f64());
            result.resident_bytes = resident_bytes(subject.pid().context("it runs")?)?;
            // Killed, so that every start has the same work to do.
            drop(connection);
            subject.kill9()?;
        }
    }
    Ok(results)
}
