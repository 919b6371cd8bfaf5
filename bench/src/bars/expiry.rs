//! P22: ten thousand sessions end at once, each with ten ephemeral nodes, beside others who work on.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::table::{Line, Verdict, shown};
use super::{Setup, ratio_of};
use crate::load::referee::Spread;
use crate::load::report::{FARWATCH, ZOOKEEPER};
use crate::load::servers::warm_up_java;
use crate::load::throng::Throng;
use crate::load::{Kind, Load, Nodes, ROOT, Workload};
use crate::raw::request::{create, exists, ping};
use crate::raw::{Connection, Handshake, ids};
use crate::subject::Options;

/// The parent of all ephemeral nodes.
const MORTALS: &str = "/mortals";
const EACH: usize = 10;
const EPHEMERAL: i32 = 1;

/// As long as making the nodes may take, and then as long as everybody waits.
const TIMEOUT_MILLIS: i32 = 30_000;

/// Who looks on is silent until all others are due; servers grant up to 20 ticks of 2 s.
const PATIENT_MILLIS: i32 = 40_000;

/// Between two looks at how many are left.
const LOOK: Duration = Duration::from_millis(5);

/// Sessions end this much later at most.
const GONE_WITHIN: Duration = Duration::from_secs(120);

/// How long the load beside is measured, before and while sessions end, and what it asks a second. It
/// begins a little before they do.
const BESIDE: Duration = Duration::from_secs(5);
const EARLY: Duration = Duration::from_millis(500);
const RATE: f64 = 2_000.0;

/// Each server waits for a timeout in each round.
const ROUNDS_MAX: usize = 3;

const MAX_SESSIONS: usize = 10_000;
const BURST: usize = 50;
const NODE_EXISTS: i32 = -110;

/// Of one server, of all rounds.
#[derive(Default)]
struct Found {
    /// From the first node that went to the last, seconds.
    took: Vec<f64>,
    /// The 99th percentile of the others meanwhile, against before.
    slower: Vec<f64>,
    /// In so many rounds the others' connections ended meanwhile.
    cut: usize,
}

pub fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let options = Options::new().java_flag("-Xmx2g");
    let subjects = setup.servers.alone(&options)?;
    let sessions = setup.connections.min(MAX_SESSIONS);
    let mut all: Vec<Found> = subjects.iter().map(|_| Found::default()).collect();
    for (name, subject) in &subjects {
        if *name == ZOOKEEPER {
            warm_up_java(&[subject.address()])?;
        }
    }
    for _round in 0..setup.pace.rounds.min(ROUNDS_MAX) {
        for ((name, subject), found) in subjects.iter().zip(&mut all) {
            let (took, slower) = end(subject.address(), (sessions, *name == ZOOKEEPER))
                .with_context(|| format!("{name}'s sessions"))?;
            found.took.push(took);
            match slower {
                Ok(slower) => found.slower.push(slower),
                // It answers nobody for longer than the others' sessions live.
                Err(error) if *name == ZOOKEEPER => {
                    eprintln!("P22, {name}: {error:#}");
                    found.cut += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
    let of = |name: &str| {
        let at = subjects.iter().position(|(it, _)| *it == name)?;
        Some(&all[at])
    };
    let ours = of(FARWATCH).context("Farwatch is measured")?;
    let (took, slower) =
        (Spread::of(ours.took.iter().copied()), Spread::of(ours.slower.iter().copied()));
    let theirs = of(ZOOKEEPER);
    let ratio = ratio_of(Some(ours.took.clone()), theirs.map(|it| it.took.clone()));
    let beside = match (theirs, ratio) {
        (Some(theirs), Some(ratio)) => format!(
            "{}x ZooKeeper's {} s; {}",
            shown(ratio, 2),
            shown(Spread::of(theirs.took.iter().copied()), 2),
            others(theirs)
        ),
        _ => String::new(),
    };
    Ok(vec![Line {
        bar: "P22",
        what: format!(
            "{sessions} sessions with {EACH} ephemeral nodes each end at once, beside {RATE:.0} operations/s, \
             {} rounds",
            ours.took.len()
        ),
        wanted: "all gone ≤ 2 s, others' p99 ≤ 2x".to_owned(),
        measured: format!("{} s, others' p99 {}x", shown(took, 2), shown(slower, 1)),
        beside,
        verdict: Verdict::of(took.median <= 2.0 && slower.median <= 2.0),
        rounds: json!({
            "farwatch_s": ours.took, "farwatch_p99_times": ours.slower,
            "zookeeper_s": theirs.map(|it| &it.took),
            "zookeeper_p99_times": theirs.map(|it| &it.slower),
            "zookeeper_rounds_cut": theirs.map(|it| it.cut),
        }),
    }])
}

/// What became of ZooKeeper's others meanwhile.
fn others(found: &Found) -> String {
    let slower = (!found.slower.is_empty()).then(|| {
        format!("its others' p99 {}x", shown(Spread::of(found.slower.iter().copied()), 1))
    });
    let cut = (found.cut > 0).then(|| {
        let rounds = found.took.len();
        format!("its others lost their connections in {} of {rounds} rounds", found.cut)
    });
    slower.into_iter().chain(cut).collect::<Vec<_>>().join(", ")
}

/// One crowd comes, makes its nodes, and is cut off without a word. How long its end took in seconds, and
/// how much slower the others were meanwhile. `forgiven`: a server that ends the session of who looks on.
fn end(address: SocketAddr, (sessions, forgiven): (usize, bool)) -> Result<(f64, Result<f64>)> {
    let (mut founder, _) = Connection::connect(address, &Handshake::default())?;
    let made = founder.call(&create(MORTALS, None, &ids::open(), 0))?;
    ensure!([0, NODE_EXISTS].contains(&made.err), "{MORTALS} cannot be made: {}", made.err);
    drop(founder); // ZooKeeper takes longer to open the crowd than a silent session lives
    let (mut throng, _) = Throng::open(address, sessions, BURST, TIMEOUT_MILLIS)?;
    throng.ask(|at| {
        let node = |each| create(&format!("{MORTALS}/{at}-{each}"), None, &ids::open(), EPHEMERAL);
        (0..EACH).map(node).collect()
    })?;
    let workload = Workload {
        kind: Kind::Mix { read_percent: 90 },
        connections: 4,
        rate: Some(RATE),
        ..Workload::default()
    };
    let mut load = Load::open(&[address], &workload, Nodes::Below(ROOT))?;
    let mut observer = look_on(address)?;
    // All are heard at once, so that all are missed at once.
    throng.ask(|_| vec![ping()])?;
    drop(throng);
    let cut = Instant::now();
    let before = load.run(BESIDE).context("before they end")?;
    load.close()?; // its sessions would be silent for almost as long as they live
    let (seen, during) = std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let due = Duration::from_millis(TIMEOUT_MILLIS as u64) - EARLY;
            sleep(due.saturating_sub(cut.elapsed()));
            let mut load = Load::open(&[address], &workload, Nodes::Below(ROOT))?;
            load.run(BESIDE).context("while they end")
        });
        let again = forgiven.then_some(address);
        let seen = until_gone(&mut observer, (again, sessions * EACH), cut);
        (seen, others.join().expect("no load panics"))
    });
    let [first, last] = seen?;
    let slower = during.map(|during| during.quantile_us(0.99) / before.quantile_us(0.99));
    Ok(((last - first).as_secs_f64(), slower))
}

/// A connection that is patient: ZooKeeper answers nobody for longer than usual while so many sessions end.
fn look_on(address: SocketAddr) -> Result<Connection> {
    let (connection, _) = Connection::connect(address, &Handshake::with_timeout(PATIENT_MILLIS))?;
    connection.set_deadline(GONE_WITHIN)?;
    Ok(connection)
}

/// When the first and the last node were seen to be gone. An answer that is late counts from its question.
/// Who looks on may come again at `again`, where that is forgiven.
fn until_gone(
    connection: &mut Connection,
    (again, of): (Option<SocketAddr>, usize),
    cut: Instant,
) -> Result<[Instant; 2]> {
    let mut first = None;
    while cut.elapsed() < GONE_WITHIN {
        let asked = Instant::now();
        let reply = match (connection.call(&exists(MORTALS, false)), again) {
            (Ok(reply), _) => reply,
            (Err(error), None) => return Err(error.into()),
            (Err(error), Some(address)) => {
                // From this question on nobody knows.
                eprintln!("P22: who looked on was cut off: {error:#}");
                first.get_or_insert(asked);
                sleep(LOOK);
                if let Ok(anew) = look_on(address) {
                    *connection = anew;
                }
                continue;
            }
        };
        let left = reply.stat()?.num_children as usize;
        if left < of {
            first.get_or_insert(asked);
        }
        if left == 0 {
            let now = Instant::now();
            return Ok([first.unwrap_or(now), now]);
        }
        sleep(LOOK);
    }
    anyhow::bail!("some sessions did not end within {GONE_WITHIN:?}")
}
