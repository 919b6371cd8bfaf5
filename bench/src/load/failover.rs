//! What clients see when the leader of an ensemble is killed, again and again.
//!
//! ```text
//! writer ─► a follower: one durable setData after the other   longest time between two answers
//! reader ─► a follower: one getData after the other           the same, and whether it was dropped
//!              kill -9 the leader ▲ … it is started again, all serve, next
//! ```

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::raw::request::{create, get_data, set_data};
use crate::raw::{Connection, Handshake, Session, ids};
use crate::subject::Ensemble;

/// How long clients are watched after a kill.
const WATCHED: Duration = Duration::from_secs(4);

/// How long they run before it.
const BEFORE: Duration = Duration::from_millis(300);

/// The node that is written and read.
const NODE: &str = "/failover";

/// An answer that takes longer is given up, and the client connects anew.
const PATIENCE: Duration = Duration::from_secs(3);

/// What one kill came to.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    /// Between two acknowledged writes after the kill, or from it to the next one, at most.
    pub write_gap: Duration,
    /// Between two answered reads, at most.
    pub read_gap: Duration,
    /// How often readers lost their connection.
    pub readers_dropped: u32,
}

/// Kills the leader so many times.
pub fn measure(ensemble: &mut Ensemble, kills: usize) -> Result<Vec<Kill>> {
    let (mut connection, _) = Connection::connect(ensemble.addresses()[0], &Handshake::default())?;
    connection.call(&create(NODE, Some(&[b'v'; 100]), &ids::open(), 0))?;
    let mut all = Vec::new();
    for _ in 0..kills {
        all.push(kill_once(ensemble)?);
    }
    Ok(all)
}

fn kill_once(ensemble: &mut Ensemble) -> Result<Kill> {
    let leader = ensemble.leader()?;
    let survivors: Vec<SocketAddr> = ensemble
        .numbers()
        .filter(|&number| number != leader)
        .map(|number| ensemble.address(number))
        .collect();
    let (writes_to, reads_from) = (survivors[0], survivors[survivors.len() - 1]);
    let stop = AtomicBool::new(false);
    let kill = std::thread::scope(|scope| {
        let writer = scope.spawn(|| run(writes_to, &stop, true));
        let reader = scope.spawn(|| run(reads_from, &stop, false));
        std::thread::sleep(BEFORE);
        let killed = Instant::now();
        let done = ensemble.server_mut(leader).kill9();
        std::thread::sleep(WATCHED);
        stop.store(true, Ordering::Relaxed);
        done?;
        let writer = writer.join().expect("no client panics")?;
        let reader = reader.join().expect("no client panics")?;
        if writer.answers.last().is_none_or(|&last| last < killed) {
            bail!("no write was answered after the kill");
        }
        let gap = |seen: &Seen| {
            let pairs = seen.answers.windows(2).filter(|pair| killed < pair[1]);
            pairs.map(|pair| pair[1] - pair[0].max(killed)).max().unwrap_or_default()
        };
        let readers_dropped = reader.dropped;
        Ok(Kill { write_gap: gap(&writer), read_gap: gap(&reader), readers_dropped })
    })?;
    ensemble.server_mut(leader).restart().context("starting the killed leader again")?;
    ensemble.await_all()?;
    Ok(kill)
}

#[derive(Default)]
struct Seen {
    /// When requests were answered.
    answers: Vec<Instant>,
    dropped: u32,
}

/// One client, one request after the other; it connects anew, to the same server, when it must.
fn run(address: SocketAddr, stop: &AtomicBool, writes: bool) -> Result<Seen> {
    let (mut connection, mut session) = Connection::connect(address, &Handshake::default())?;
    let request =
        if writes { set_data(NODE, Some(&[b'w'; 100]), -1) } else { get_data(NODE, false) };
    let mut seen = Seen::default();
    connection.set_deadline(PATIENCE)?;
    while !stop.load(Ordering::Relaxed) {
        match connection.call(&request) {
            Ok(reply) if reply.err == 0 => seen.answers.push(Instant::now()),
            Ok(_) => {}
            Err(_) => {
                seen.dropped += 1;
                (connection, session) = reconnect(address, &session, stop)?;
                connection.set_deadline(PATIENCE)?;
            }
        }
    }
    Ok(seen)
}

fn reconnect(
    address: SocketAddr,
    session: &Session,
    stop: &AtomicBool,
) -> Result<(Connection, Session)> {
    loop {
        if let Ok((connection, resumed)) = Connection::connect(address, &Handshake::resume(session))
        {
            if !resumed.is_expired() {
                return Ok((connection, resumed));
            }
            return Ok(Connection::connect(address, &Handshake::default())?);
        }
        if stop.load(Ordering::Relaxed) {
            bail!("{address} took no connection any more");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
