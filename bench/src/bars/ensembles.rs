//! P9, P15, P16 and P29: three voters under an even load, without their leader, and in the macro
//! benchmark of ZooKeeper's paper.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::table::{Line, Verdict, shown};
use super::{Setup, Voters, ratio_of};
use crate::load::cells::named;
use crate::load::failover::{Blow, Kill};
use crate::load::referee::Spread;
use crate::load::report::{FARWATCH, ZOOKEEPER};
use crate::load::{Load, Slice, Workload, barriers, failover};
use crate::subject::Options;

/// Of the 60 s of each ensemble, in turn with the other.
const TURNS: usize = 4;

/// A turn, in slices of the pace: 15 s of slices of 3. Sessions bear the silence of two turns.
const TURN_SLICES: f64 = 5.0;

/// Blows in each ensemble.
const KILLS: usize = 20;
const FREEZES: usize = 5;

const CLIENTS: usize = 200;
const BARRIERS_EACH: usize = 20;
const BARRIER_ROUNDS: usize = 10;

/// P9: an open loop at half of what ZooKeeper reaches with the same mix.
pub fn tail(setup: &Setup) -> Result<Vec<Line>> {
    let voters = Voters::start(setup, &Options::new())?;
    let contestants = voters.contestants();
    let ensembles: Vec<_> = contestants.iter().filter(|it| !it.canned).collect();
    let closed = named("mix90-64x32").context("the mix")?.workload;
    // The first is ZooKeeper, or Farwatch where that is left out.
    let mut load = Load::open(&ensembles[0].addresses, &closed, ensembles[0].nodes())?;
    let mut most: f64 = 0.0;
    for _ in 0..3 {
        most = most.max(load.run(setup.pace.slice)?.rate());
    }
    drop(load);
    let workload = Workload { outstanding: 1, rate: Some(most / 2.0), ..closed };
    let mut loads = Vec::new();
    for it in &ensembles {
        loads.push(Load::open(&it.addresses, &workload, it.nodes())?);
    }
    let turn = setup.pace.slice.mul_f64(TURN_SLICES);
    let mut found: Vec<Vec<Slice>> = vec![Vec::new(); ensembles.len()];
    for _ in 0..TURNS {
        for (load, found) in loads.iter_mut().zip(&mut found) {
            found.push(load.run(turn)?);
        }
    }
    let of = |name: &str, of: fn(&Slice) -> f64| -> Option<Vec<f64>> {
        let at = ensembles.iter().position(|it| it.name == name)?;
        Some(found[at].iter().map(of).collect())
    };
    let p999 = |slice: &Slice| slice.quantile_us(0.999) / 1e3;
    let gap = |slice: &Slice| slice.longest_gap.as_secs_f64() * 1e3;
    let ours = Spread::of(of(FARWATCH, p999).context("Farwatch is measured")?.into_iter());
    let gaps = Spread::of(of(FARWATCH, gap).context("Farwatch is measured")?.into_iter());
    let ratio = ratio_of(of(FARWATCH, p999), of(ZOOKEEPER, p999));
    let beside = match (ratio, of(ZOOKEEPER, p999), of(ZOOKEEPER, gap)) {
        (Some(ratio), Some(tails), Some(gaps)) => format!(
            "p99.9 {}x ZooKeeper's {} ms, its longest gap {:.0} ms",
            shown(ratio, 2),
            shown(Spread::of(tails.into_iter()), 1),
            Spread::of(gaps.into_iter()).max
        ),
        _ => String::new(),
    };
    Ok(vec![Line {
        bar: "P9",
        what: format!(
            "90 % reads at {:.1} k/s, half of the other's most, open loop, {TURNS} × {} s",
            most / 2e3,
            turn.as_secs_f64()
        ),
        wanted: "p99.9 ≤ 0.10x ZooKeeper's, no gap above 50 ms".to_owned(),
        measured: format!("p99.9 {} ms, longest gap {:.1} ms", shown(ours, 2), gaps.max),
        beside,
        verdict: Verdict::all(&[ratio.map(|it| it.median <= 0.1), Some(gaps.max <= 50.0)]),
        rounds: json!({
            "farwatch_p99.9_ms": of(FARWATCH, p999), "farwatch_gap_ms": of(FARWATCH, gap),
            "zookeeper_p99.9_ms": of(ZOOKEEPER, p999), "zookeeper_gap_ms": of(ZOOKEEPER, gap),
        }),
    }])
}

/// P15 and P16.
pub fn leaders(setup: &Setup) -> Result<Vec<Line>> {
    let mut ensembles = setup.servers.ensembles(3, &Options::new().java_flag("-Xmx2g"))?;
    let names: Vec<&str> = ensembles.iter().map(|(name, _)| *name).collect();
    let mut lines = Vec::new();
    for (bar, blow, times) in [("P15", Blow::Kill, KILLS), ("P16", Blow::Freeze, FREEZES)] {
        if setup.wants(bar) {
            let times = if setup.pace.rounds < 3 { 1 } else { times };
            let kills = failover::in_turn(&mut ensembles, times, blow)?;
            let all: Vec<(&str, Vec<Kill>)> = names.iter().copied().zip(kills).collect();
            lines.push(blow_line(bar, blow, &all));
        }
    }
    Ok(lines)
}

fn blow_line(bar: &'static str, blow: Blow, all: &[(&str, Vec<Kill>)]) -> Line {
    let of = |name: &str, of: fn(&Kill) -> Duration| -> Option<Vec<f64>> {
        let (_, kills) = all.iter().find(|(it, _)| *it == name)?;
        Some(kills.iter().map(|kill| of(kill).as_secs_f64() * 1e3).collect())
    };
    let spread = |name: &str, what: fn(&Kill) -> Duration| {
        of(name, what).map(|all| Spread::of(all.into_iter()))
    };
    let sum = |name: &str, what: fn(&Kill) -> u32| -> u32 {
        let found = all.iter().find(|(it, _)| *it == name);
        found.map_or(0, |(_, kills)| kills.iter().map(what).sum())
    };
    let writes = spread(FARWATCH, |it| it.write_gap).expect("it is measured");
    let reads = spread(FARWATCH, |it| it.read_gap).expect("it is measured");
    let (dropped, false_acks) =
        (sum(FARWATCH, |it| it.readers_dropped), sum(FARWATCH, |it| it.false_acks));
    let ratio = ratio_of(of(FARWATCH, |it| it.write_gap), of(ZOOKEEPER, |it| it.write_gap));
    let count = all.last().map_or(0, |(_, kills)| kills.len());
    let beside =
        match (ratio, spread(ZOOKEEPER, |it| it.write_gap), spread(ZOOKEEPER, |it| it.read_gap)) {
            (Some(ratio), Some(their_writes), Some(their_reads)) => format!(
                "{}x ZooKeeper's {} ms; its reads {} ms, {} of its readers dropped",
                shown(ratio, 2),
                shown(their_writes, 0),
                shown(their_reads, 0),
                sum(ZOOKEEPER, |it| it.readers_dropped)
            ),
            _ => String::new(),
        };
    let (wanted, verdict) = match blow {
        Blow::Kill => (
            "writes ≤ 0.5x ZooKeeper's, median ≤ 250 ms, at most 600; no reader dropped",
            Verdict::all(&[
                Some(writes.median <= 250.0 && writes.max <= 600.0 && dropped == 0),
                ratio.map(|it| it.median <= 0.5),
            ]),
        ),
        // The silence after which followers look for another is 600 ms by default.
        Blow::Freeze => (
            "writes ≤ 600 ms of silence + 300 ms; nothing acknowledged falsely afterwards",
            Verdict::of(writes.max <= 900.0 && false_acks == 0),
        ),
    };
    Line {
        bar,
        what: format!("the leader of three is {}, {count} times", blow.done()),
        wanted: wanted.to_owned(),
        measured: format!(
            "no write for {} ms, no read for {} ms, {dropped} readers dropped, {false_acks} false \
             acknowledgements",
            shown(writes, 0),
            shown(reads, 0)
        ),
        beside,
        verdict,
        rounds: json!(
            all.iter()
                .map(|(name, _)| (name, of(name, |it| it.write_gap), of(name, |it| it.read_gap)))
                .collect::<Vec<_>>()
        ),
    }
}

/// P29.
pub fn double_barriers(setup: &Setup) -> Result<Vec<Line>> {
    let ensembles = setup.servers.ensembles(3, &Options::new().java_flag("-Xmx2g"))?;
    let rounds = if setup.pace.rounds < 3 { 1 } else { BARRIER_ROUNDS };
    let took = barriers::in_turn(&ensembles, CLIENTS, BARRIERS_EACH, rounds)?;
    let of = |name: &str| -> Option<Vec<f64>> {
        let at = ensembles.iter().position(|(it, _)| *it == name)?;
        Some(took[at].iter().map(|seconds| seconds / BARRIERS_EACH as f64 * 1e3).collect())
    };
    let ours = Spread::of(of(FARWATCH).context("Farwatch is measured")?.into_iter());
    let ratio = ratio_of(of(ZOOKEEPER), of(FARWATCH));
    Ok(vec![Line {
        bar: "P29",
        what: format!(
            "{CLIENTS} clients through {} double barriers, three voters",
            rounds * BARRIERS_EACH
        ),
        wanted: "≥ 2.5x ZooKeeper".to_owned(),
        measured: format!("{} ms each", shown(ours, 0)),
        beside: ratio.map_or_else(String::new, |it| format!("ZooKeeper {}x", shown(it, 2))),
        verdict: Verdict::all(&[ratio.map(|it| 2.5 <= it.median)]),
        rounds: json!({ "farwatch_ms": of(FARWATCH), "zookeeper_ms": of(ZOOKEEPER) }),
    }])
}
