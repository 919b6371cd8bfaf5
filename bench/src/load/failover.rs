//! What clients see when the leader of an ensemble is killed or frozen, again and again.
//!
//! ```text
//! writer ─► a follower: one durable setData after the other   longest time between two answers
//! reader ─► a follower: one getData after the other           the same, and whether it was dropped
//!              kill -9 the leader ▲ … it is started again, all serve, next
//!         or kill -STOP the leader ▲ … a client asks it for a write, it goes on: is that acknowledged, and true?
//! ```

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::raw::request::{create, get_data, set_data, sync};
use crate::raw::{Connection, Handshake, Session, ids};
use crate::subject::Ensemble;

/// How long clients are watched after a blow, at least.
const WATCHED: Duration = Duration::from_secs(4);

/// Writes that were answered so lately say that the ensemble works again.
const LATELY: Duration = Duration::from_millis(500);

/// How long an ensemble may take until it does.
const WATCHED_MAX: Duration = Duration::from_secs(60);

/// How long they run before it.
const BEFORE: Duration = Duration::from_millis(300);

/// The node that is written and read.
const NODE: &str = "/failover";

/// What is asked of a leader that stands still.
const PINNED: &str = "/failover-pinned";

/// How long one that goes on has to answer.
const PINNED_WITHIN: Duration = Duration::from_secs(5);

/// What happens to a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Blow {
    /// `kill -9`.
    Kill,
    /// `kill -STOP`, and `kill -CONT` when another one leads.
    Freeze,
}

impl Blow {
    /// In words.
    #[must_use]
    pub const fn done(self) -> &'static str {
        match self {
            Self::Kill => "killed",
            Self::Freeze => "frozen",
        }
    }

    /// An answer that takes longer is given up, and the client connects anew. A frozen leader lets its
    /// followers wait as long as they are patient with it: ten seconds are ZooKeeper's default.
    const fn patience(self) -> Duration {
        match self {
            Self::Kill => Duration::from_secs(3),
            Self::Freeze => Duration::from_secs(20),
        }
    }
}

/// What one blow came to.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    /// Between two acknowledged writes after it, or from it to the next one, at most.
    pub write_gap: Duration,
    /// Between two answered reads, at most.
    pub read_gap: Duration,
    /// How often readers lost their connection.
    pub readers_dropped: u32,
    /// Writes that a leader acknowledged after it had stood still, and that nobody has.
    pub false_acks: u32,
}

/// Strikes the leader of each ensemble in turn, so many times each: a neighbour on the machine
/// disturbs all alike.
pub fn in_turn(
    ensembles: &mut [(&str, Ensemble)],
    times: usize,
    blow: Blow,
) -> Result<Vec<Vec<Kill>>> {
    for (_, ensemble) in &*ensembles {
        let address = ensemble.addresses()[0];
        let (mut connection, _) = Connection::connect(address, &Handshake::default())?;
        for node in [NODE, PINNED] {
            connection.call(&create(node, Some(&[b'v'; 100]), &ids::open(), 0))?;
        }
    }
    let mut all = vec![Vec::new(); ensembles.len()];
    for _ in 0..times {
        for ((name, ensemble), all) in ensembles.iter_mut().zip(&mut all) {
            all.push(strike(ensemble, blow).with_context(|| format!("{name}'s leader"))?);
        }
    }
    Ok(all)
}

fn strike(ensemble: &mut Ensemble, blow: Blow) -> Result<Kill> {
    let leader = ensemble.leader()?;
    let survivors: Vec<SocketAddr> = ensemble
        .numbers()
        .filter(|&number| number != leader)
        .map(|number| ensemble.address(number))
        .collect();
    let (writes_to, reads_from) = (survivors[0], survivors[survivors.len() - 1]);
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut pinned, _) = Connection::connect(ensemble.address(leader), &Handshake::default())?;
    let client = |address, writes| Client { address, writes, patience: blow.patience() };
    let (writer, reader) = (client(writes_to, true), client(reads_from, false));
    let mut kill = std::thread::scope(|scope| {
        let writer = scope.spawn(|| writer.run(&stop, &written));
        let reader = scope.spawn(|| reader.run(&stop, &AtomicU64::new(0)));
        std::thread::sleep(BEFORE);
        let struck = Instant::now();
        let done = match blow {
            Blow::Kill => ensemble.server_mut(leader).kill9(),
            Blow::Freeze => ensemble.server(leader).freeze(),
        };
        watch_until_writes_flow(struck, &written);
        stop.store(true, Ordering::Relaxed);
        done?;
        let writer = writer.join().expect("no client panics")?;
        let reader = reader.join().expect("no client panics")?;
        if writer.answers.last().is_none_or(|&last| last < struck) {
            bail!("no write was answered after the blow");
        }
        let gap = |seen: &Seen| {
            let pairs = seen.answers.windows(2).filter(|pair| struck < pair[1]);
            pairs.map(|pair| pair[1] - pair[0].max(struck)).max().unwrap_or_default()
        };
        let (write_gap, read_gap) = (gap(&writer), gap(&reader));
        Ok(Kill { write_gap, read_gap, readers_dropped: reader.dropped, false_acks: 0 })
    })?;
    match blow {
        Blow::Kill => {
            ensemble.server_mut(leader).restart().context("starting the killed leader again")?;
        }
        Blow::Freeze => {
            kill.false_acks = u32::from(acks_falsely(ensemble, leader, &mut pinned, writes_to)?);
        }
    }
    ensemble.await_all()?;
    Ok(kill)
}

fn watch_until_writes_flow(struck: Instant, written: &AtomicU64) {
    let mut last = (Instant::now(), written.load(Ordering::Relaxed));
    while struck.elapsed() < WATCHED_MAX {
        std::thread::sleep(Duration::from_millis(20));
        let now = written.load(Ordering::Relaxed);
        if now != last.1 {
            last = (Instant::now(), now);
        }
        if WATCHED <= struck.elapsed() && last.0.elapsed() < LATELY {
            return;
        }
    }
}

/// Asks the leader that stands still for a write, lets it go on, and looks whether it acknowledges one
/// that the ensemble does not have.
fn acks_falsely(
    ensemble: &Ensemble,
    leader: u32,
    pinned: &mut Connection,
    survivor: SocketAddr,
) -> Result<bool> {
    let value = format!("{:?}", std::time::UNIX_EPOCH.elapsed().unwrap_or_default());
    pinned.set_deadline(PINNED_WITHIN)?;
    let sent = pinned.send(1, &set_data(PINNED, Some(value.as_bytes()), -1));
    ensemble.server(leader).thaw()?;
    let acknowledged = sent.and_then(|()| pinned.receive_reply()).is_ok_and(|reply| reply.err == 0);
    if !acknowledged {
        return Ok(false);
    }
    let (mut connection, _) = Connection::connect(survivor, &Handshake::default())?;
    connection.call(&sync(PINNED))?;
    let reply = connection.call(&get_data(PINNED, false))?;
    ensure!(reply.err == 0, "{PINNED} cannot be read: {}", reply.err);
    Ok(reply.data_and_stat()?.0.as_deref() != Some(value.as_bytes()))
}

#[derive(Default)]
struct Seen {
    /// When requests were answered.
    answers: Vec<Instant>,
    dropped: u32,
}

/// One client, one request after the other; it connects anew, to the same server, when it must.
struct Client {
    address: SocketAddr,
    writes: bool,
    patience: Duration,
}

impl Client {
    fn run(&self, stop: &AtomicBool, answered: &AtomicU64) -> Result<Seen> {
        let address = self.address;
        let (mut connection, mut session) = Connection::connect(address, &Handshake::default())?;
        let request = match self.writes {
            true => set_data(NODE, Some(&[b'w'; 100]), -1),
            false => get_data(NODE, false),
        };
        let mut seen = Seen::default();
        connection.set_deadline(self.patience)?;
        while !stop.load(Ordering::Relaxed) {
            match connection.call(&request) {
                Ok(reply) if reply.err == 0 => {
                    seen.answers.push(Instant::now());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(_) => {
                    seen.dropped += 1;
                    (connection, session) = reconnect(address, &session, stop)?;
                    connection.set_deadline(self.patience)?;
                }
            }
        }
        Ok(seen)
    }
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
