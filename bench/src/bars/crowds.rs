//! P10, P11 and P13: what happens to a server when very many sessions come, or are told something.
//!
//! Each round opens a crowd at one server after the other: two crowds at once are more files than a
//! process may have here. A round in which the canned server strays is void, as in the cells.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::table::{Line, Verdict, beside, shown};
use super::{Alone, Setup, ratio_of};
use crate::load::process::resident_bytes;
use crate::load::referee::{Contestant, Spread, Steady, until_steady};
use crate::load::report::{CEILING, FARWATCH, ZOOKEEPER};
use crate::load::throng::Throng;
use crate::load::{Kind, Load, Workload};
use crate::raw::request::{add_watch, create, get_data, multi, set_data};
use crate::raw::{Connection, Handshake, ids};
use crate::subject::Options;

/// The node that all watch: where a canned server says that its event is.
const NODE: &str = "/bench/0000/node";
const PARENTS: [&str; 2] = ["/bench", "/bench/0000"];

/// Sessions that a crowd for other purposes opens at once: what a server lets wait at its door by default.
const GENTLE: usize = 50;

/// Those of the storm.
const BURST: usize = 500;

/// Of the storm on ZooKeeper, which loses what is more than fifty at once, and the senders of that wait
/// for a second.
const STORM_ON_ZOOKEEPER: usize = 2_000;

/// Changes that a crowd is told of before it goes.
const CHANGES: usize = 3;

/// Watches of each member: of these many nodes, and as many recursive ones.
const EXACT_EACH: usize = 5;
const WATCHES_EACH: usize = 2 * EXACT_EACH;

/// The events of nodes below recursive watches are as many as those of exact ones.
const PERSISTENT_RECURSIVE: i32 = 1;

/// Whoever is in a crowd does not speak while others are measured.
const TIMEOUT_MILLIS: i32 = 600_000;

/// Until what a crowd leaves behind is closed.
const SETTLES: Duration = Duration::from_secs(2);

const NODE_EXISTS: i32 = -110;

/// Figures by contestant, of all rounds.
type Figures = BTreeMap<String, Vec<f64>>;

/// What one round found of each contestant. By the first figure of the canned server it is judged.
type Round<const N: usize> = Vec<(String, [f64; N])>;

/// Lets each have its crowd in turn, round by round.
fn in_rounds<const N: usize>(
    setup: &Setup,
    contestants: &[Contestant],
    one: impl Fn(&Contestant) -> Result<[f64; N]>,
) -> Result<Steady<Round<N>>> {
    let round = || {
        let turns = contestants.iter().map(|it| {
            let found = one(it).with_context(|| format!("a crowd at {}", it.name))?;
            sleep(SETTLES);
            Ok((it.name.clone(), found))
        });
        turns.collect()
    };
    until_steady(setup.pace.rounds, round, |round: &Round<N>| {
        round.iter().find(|(name, _)| name == CEILING).map(|(_, found)| found[0])
    })
}

/// One figure of all rounds that count.
fn figures<const N: usize>(found: &Steady<Round<N>>, at: usize) -> Figures {
    let mut all = Figures::new();
    for (name, figures) in found.rounds.iter().flatten() {
        all.entry(name.clone()).or_default().push(figures[at]);
    }
    all
}

fn options() -> Options {
    Options::new().line(&format!("maxSessionTimeout={TIMEOUT_MILLIS}"))
}

fn spread(figures: &Figures, name: &str) -> Option<Spread> {
    figures.get(name).map(|all| Spread::of(all.iter().copied()))
}

fn ratio(figures: &Figures, above: &str, below: &str) -> Option<Spread> {
    ratio_of(figures.get(above).cloned(), figures.get(below).cloned())
}

fn writer(address: SocketAddr) -> Result<Connection> {
    Ok(Connection::connect(address, &Handshake::default())?.0)
}

fn make(connection: &mut Connection, path: &str) -> Result<()> {
    let reply = connection.call(&create(path, Some(&[b'v'; 100]), &ids::open(), 0))?;
    ensure!([0, NODE_EXISTS].contains(&reply.err), "{path} cannot be made: {}", reply.err);
    Ok(())
}

/// P10: all of a crowd watch one node.
pub fn fan_out(setup: &Setup) -> Result<Vec<Line>> {
    let alone = Alone::start(setup, &options())?;
    let found = in_rounds(setup, &alone.contestants(), |it| {
        let mut told = tell(it, setup.connections)?;
        // The middle one of the changes.
        told.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (first, last) = told[told.len() / 2];
        Ok([setup.connections as f64 / last, last / first, last * 1e3])
    })?;
    let [rates, skew, last] = [0, 1, 2].map(|at| figures(&found, at));
    let ours = spread(&rates, FARWATCH).context("Farwatch is measured")?;
    let (theirs, ceiling) = (ratio(&rates, FARWATCH, ZOOKEEPER), ratio(&rates, FARWATCH, CEILING));
    let (skewed, slowest) = (spread(&skew, FARWATCH), spread(&last, FARWATCH));
    Ok(vec![Line {
        bar: "P10",
        what: format!("one change, {} connections watch it", setup.connections),
        wanted: "≥ 8x ZooKeeper's events/s, ≥ 0.5 of the ceiling, last / first ≤ 3".to_owned(),
        measured: format!(
            "{:.0} ({:.0}-{:.0}) k events/s, the last after {:.0} ms, last / first {:.1}{}",
            ours.median / 1e3,
            ours.min / 1e3,
            ours.max / 1e3,
            slowest.map_or(0.0, |it| it.median),
            skewed.map_or(0.0, |it| it.median),
            found.note()
        ),
        beside: beside(&[("ZooKeeper", theirs), ("ceiling", ceiling)]),
        verdict: Verdict::all(&[
            theirs.map(|it| 8.0 <= it.median),
            ceiling.map(|it| 0.5 <= it.median),
            skewed.map(|it| it.median <= 3.0),
        ]),
        rounds: json!({
            "events_per_second": rates, "last_over_first": skew, "last_ms": last, "void": found.void,
        }),
    }])
}

/// Seconds until the first and the last of a crowd were told, of each change.
fn tell(it: &Contestant, connections: usize) -> Result<Vec<(f64, f64)>> {
    let address = it.addresses[0];
    let mut writer = writer(address)?;
    for path in PARENTS.into_iter().chain([NODE]) {
        if !it.canned {
            make(&mut writer, path)?;
        }
    }
    let (mut throng, _) = Throng::open(address, connections, GENTLE, TIMEOUT_MILLIS)?;
    let mut told = Vec::new();
    for change in 0..CHANGES {
        throng.ask(|_| vec![get_data(NODE, true)])?;
        let since = Instant::now();
        writer.send(change as i32 + 1, &set_data(NODE, Some(&[b'w'; 100]), -1))?;
        let arrival = throng.events(connections, since)?;
        writer.receive_reply()?;
        told.push((arrival.first.as_secs_f64(), arrival.last.as_secs_f64()));
    }
    Ok(told)
}

/// P11: ten watches on each of ten thousand connections, all fired by one transaction.
pub fn watches(setup: &Setup) -> Result<Vec<Line>> {
    let alone = Alone::start(setup, &options())?;
    let connections = setup.connections.min(10_000);
    let count = connections * WATCHES_EACH;
    let found = in_rounds(setup, &alone.contestants(), |it| {
        if !it.canned {
            return fire(it, connections);
        }
        // It knows one event of one node: it tells how steady the machine is.
        let mut lasts: Vec<f64> =
            tell(it, connections)?.into_iter().map(|(_, last)| last).collect();
        lasts.sort_by(f64::total_cmp);
        let middle = lasts.get(lasts.len() / 2).copied().unwrap_or_default();
        Ok([middle * 1e3, 0.0])
    })?;
    let [took, each] = [0, 1].map(|at| figures(&found, at));
    let ours = spread(&took, FARWATCH).context("Farwatch is measured")?;
    let against = ratio(&took, FARWATCH, ZOOKEEPER);
    let beside = match (against, spread(&took, ZOOKEEPER)) {
        (Some(ratio), Some(theirs)) => {
            format!("{}x ZooKeeper's {} ms", shown(ratio, 2), shown(theirs, 0))
        }
        _ => String::new(),
    };
    Ok(vec![Line {
        bar: "P11",
        what: format!(
            "one transaction of {WATCHES_EACH} changes, {count} watches on {connections} connections, half \
             of them recursive, {} rounds",
            found.rounds.len()
        ),
        wanted: "all told ≤ 250 ms".to_owned(),
        measured: format!("{} ms{}", shown(ours, 0), found.note()),
        beside,
        verdict: Verdict::of(ours.median <= 250.0),
        rounds: json!({
            "ms": took, "resident_bytes_each_with_buffers": each, "void": found.void,
        }),
    }])
}

/// Milliseconds until everybody was told everything, and what a watch took of resident memory.
fn fire(it: &Contestant, connections: usize) -> Result<[f64; 2]> {
    let mut writer = writer(it.addresses[0])?;
    let exact = |at: usize| format!("/watched/e{at}");
    let below = |at: usize| format!("/watched/r{at}");
    make(&mut writer, "/watched")?;
    for at in 0..EXACT_EACH {
        for path in [exact(at), below(at), format!("{}/node", below(at))] {
            make(&mut writer, &path)?;
        }
    }
    let (mut throng, _) = Throng::open(it.addresses[0], connections, GENTLE, TIMEOUT_MILLIS)?;
    let before = resident_bytes(it.pids[0])?;
    throng.ask(|_| {
        let exact = (0..EXACT_EACH).map(|at| get_data(&exact(at), true));
        let below = (0..EXACT_EACH).map(|at| add_watch(&below(at), PERSISTENT_RECURSIVE));
        exact.chain(below).collect()
    })?;
    let after = resident_bytes(it.pids[0])?;
    let paths = (0..EXACT_EACH).flat_map(|at| [exact(at), format!("{}/node", below(at))]);
    let sets: Vec<_> = paths.map(|path| set_data(&path, Some(b"new"), -1)).collect();
    let since = Instant::now();
    writer.send(1, &multi(&sets))?;
    let count = connections * WATCHES_EACH;
    let arrival = throng.events(count, since)?;
    writer.receive_reply()?;
    let each = after.saturating_sub(before) as f64 / count as f64;
    Ok([arrival.last.as_secs_f64() * 1e3, each])
}

/// P13: sessions come in bursts of five hundred.
pub fn storm(setup: &Setup) -> Result<Vec<Line>> {
    let alone = Alone::start(setup, &options())?;
    let found = in_rounds(setup, &alone.contestants(), |it| {
        let on_zookeeper = it.name == ZOOKEEPER;
        let most = if on_zookeeper { STORM_ON_ZOOKEEPER } else { setup.connections };
        come(it, setup.connections.min(most))
    })?;
    let [rates, p99s, repeats, slowed] = [0, 1, 2, 3].map(|at| figures(&found, at));
    let ours = spread(&rates, FARWATCH).context("Farwatch is measured")?;
    let (theirs, ceiling) = (ratio(&rates, FARWATCH, ZOOKEEPER), ratio(&rates, FARWATCH, CEILING));
    let p99 = spread(&p99s, FARWATCH).context("Farwatch is measured")?;
    let repeated: f64 = repeats.get(FARWATCH).map_or(0.0, |all| all.iter().sum());
    let slower = spread(&slowed, FARWATCH).context("Farwatch is measured")?;
    Ok(vec![Line {
        bar: "P13",
        what: format!(
            "{} sessions in bursts of {BURST} ({STORM_ON_ZOOKEEPER} on ZooKeeper), without TLS",
            setup.connections
        ),
        wanted:
            "≥ 20x ZooKeeper, ≥ 0.4 of the ceiling, no SYN repeated, p99 ≤ 1 s, others' p99 ≤ 3x"
                .to_owned(),
        measured: format!(
            "{:.1} ({:.1}-{:.1}) k/s, p99 {:.0} ms, {repeated:.0} SYNs repeated, a reader's p99 {}x{}",
            ours.median / 1e3,
            ours.min / 1e3,
            ours.max / 1e3,
            p99.median,
            shown(slower, 1),
            found.note()
        ),
        beside: beside(&[("ZooKeeper", theirs), ("ceiling", ceiling)]),
        verdict: Verdict::all(&[
            theirs.map(|it| 20.0 <= it.median),
            ceiling.map(|it| 0.4 <= it.median),
            Some(repeated == 0.0 && p99.median <= 1e3 && slower.median <= 3.0),
        ]),
        rounds: json!({
            "sessions_per_second": rates, "p99_ms": p99s, "repeated_syns": repeats,
            "readers_p99_times": slowed, "void": found.void,
        }),
    }])
}

/// Sessions a second, p99 in milliseconds, SYNs repeated meanwhile, and how much slower the 99th
/// percentile of a reader became who was there before.
fn come(it: &Contestant, count: usize) -> Result<[f64; 4]> {
    let workload = Workload { kind: Kind::Get, ..Workload::default() };
    let mut load = Load::open(&it.addresses, &workload, it.nodes())?;
    let slice = Duration::from_secs(1);
    let quiet = load.run(slice)?.quantile_us(0.99);
    let before = repeated_syns()?;
    let (during, opened) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| load.run(slice));
        let opened = Throng::open(it.addresses[0], count, BURST, TIMEOUT_MILLIS);
        (reader.join().expect("no load panics"), opened)
    });
    let (throng, opening) = opened?;
    let repeated = repeated_syns()? - before;
    drop(throng);
    let rate = count as f64 / opening.took.as_secs_f64();
    let p99_ms = opening.each.value_at_quantile(0.99) as f64 / 1e6;
    Ok([rate, p99_ms, repeated, during?.quantile_us(0.99) / quiet])
}

/// SYNs that this machine's connections have sent again, of all processes.
fn repeated_syns() -> Result<f64> {
    let text = fs::read_to_string("/proc/net/netstat")?;
    counter(&text, "TCPSynRetrans").context("the kernel does not count repeated SYNs")
}

/// Lines come in pairs: names, then values.
fn counter(text: &str, name: &str) -> Option<f64> {
    let lines: Vec<&str> = text.lines().collect();
    let pair = lines.chunks_exact(2).find(|pair| pair[0].split(' ').any(|it| it == name))?;
    let at = pair[0].split(' ').position(|it| it == name)?;
    pair[1].split(' ').nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_rounds_that_count_are_dealt_out_to_their_contestants() {
        let round = |ceiling: f64, ours: f64| {
            vec![(CEILING.to_owned(), [ceiling, 1.0]), (FARWATCH.to_owned(), [ours, 2.0])]
        };
        let rounds = vec![round(100.0, 50.0), round(101.0, 60.0)];
        let found = Steady { rounds, void: 1, unsteady: false };
        assert_eq!(figures(&found, 0)[FARWATCH], [50.0, 60.0]);
        assert_eq!(figures(&found, 1)[CEILING], [1.0, 1.0]);
        assert_eq!(found.note(), "; 1 void");
    }

    #[test]
    fn a_counter_stands_below_its_name() {
        let text = "TcpExt: A TCPSynRetrans B\nTcpExt: 1 7 3\nIpExt: C\nIpExt: 9\n";
        assert_eq!(counter(text, "TCPSynRetrans"), Some(7.0));
        assert_eq!(counter(text, "C"), Some(9.0));
        assert_eq!(counter(text, "D"), None);
    }
}
