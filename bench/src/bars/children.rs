//! P23: a directory of a hundred thousand nodes, listed, and written into.

use anyhow::{Context, Result};
use serde_json::json;

use super::table::{Line, Verdict, shown};
use super::{Alone, Setup, ratio_of};
use crate::ceiling::Ceiling;
use crate::load::plan::fill;
use crate::load::referee::{Contestant, Spread};
use crate::load::report::{CEILING, FARWATCH, ZOOKEEPER};
use crate::load::{Kind, Load, Nodes, Workload};
use crate::subject::Options;

const LARGE: &str = "/large";
const SMALL: &str = "/small";

const MANY: usize = 100_000;
const FEW: usize = 10;

/// A name on the wire: its length, `n`, seven digits.
const NAME_BYTES: usize = 12;

/// Connections that list, each one reply at a time.
const LISTERS: usize = 4;

/// What one round found of one server: the rate, and what an operation cost its processor.
type Figure = [f64; 2];

pub fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let alone = Alone::start(setup, &Options::new())?;
    // Answers as many bytes as the list has, whatever is asked.
    let ceiling = Ceiling::start(MANY * NAME_BYTES)?;
    let mut contestants = vec![super::canned(&ceiling)];
    contestants.extend(alone.contestants().into_iter().filter(|it| !it.canned));
    for it in contestants.iter().filter(|it| !it.canned) {
        fill(it.addresses[0], LARGE, MANY).with_context(|| format!("filling {}", it.name))?;
        fill(it.addresses[0], SMALL, FEW)?;
    }
    Ok(vec![listing(setup, &contestants)?, creating(setup, &contestants)?])
}

fn listing(setup: &Setup, contestants: &[Contestant]) -> Result<Line> {
    let load = |it: &Contestant| {
        let kind = if it.canned { Kind::Get } else { Kind::Children };
        let workload = Workload { kind, connections: LISTERS, ..Workload::default() };
        let nodes = if it.canned { Nodes::Canned } else { Nodes::There(LARGE) };
        Load::open(&it.addresses, &workload, nodes)
    };
    let mut loads = contestants.iter().map(load).collect::<Result<Vec<_>>>()?;
    let found = rounds(setup, contestants, &mut loads)?;
    let rates = |name: &str| -> Option<Vec<f64>> {
        Some(found[place(contestants, name)?].iter().map(|it| it[0]).collect())
    };
    let ours = Spread::of(rates(FARWATCH).context("Farwatch is measured")?.into_iter());
    let theirs = ratio_of(rates(FARWATCH), rates(ZOOKEEPER));
    let slower = ratio_of(rates(CEILING), rates(FARWATCH));
    let mut beside = Vec::new();
    beside.extend(theirs.map(|it| format!("ZooKeeper {}x", shown(it, 2))));
    beside.extend(slower.map(|it| format!("time of the ceiling's {}x", shown(it, 2))));
    Ok(Line {
        bar: "P23",
        what: format!("getChildren of {MANY} names"),
        wanted: "≥ 4x ZooKeeper, ≤ 1.3x the ceiling that sends as many bytes".to_owned(),
        measured: format!("{} lists/s", shown(ours, 0)),
        beside: beside.join(", "),
        verdict: Verdict::all(&[
            theirs.map(|it| 4.0 <= it.median),
            slower.map(|it| it.median <= 1.3),
        ]),
        rounds: by_name(contestants, &found),
    })
}

/// Creates and deletes in turn, so that a directory stays as large as it is.
fn creating(setup: &Setup, contestants: &[Contestant]) -> Result<Line> {
    let servers: Vec<Contestant> = contestants.iter().filter(|it| !it.canned).cloned().collect();
    let load = |root: &'static str| {
        let workload =
            Workload { kind: Kind::Churn, connections: 16, outstanding: 64, ..Workload::default() };
        let open = |it: &Contestant| Load::open(&it.addresses, &workload, Nodes::There(root));
        servers.iter().map(open).collect::<Result<Vec<_>>>()
    };
    let (mut many, mut few) = (load(LARGE)?, load(SMALL)?);
    let (mut of_many, mut of_few) =
        (vec![Vec::new(); servers.len()], vec![Vec::new(); servers.len()]);
    for _round in 0..setup.pace.rounds {
        for (at, it) in servers.iter().enumerate() {
            of_many[at].push(one(setup, it, &mut many[at])?);
            of_few[at].push(one(setup, it, &mut few[at])?);
        }
    }
    let column = |all: &[Vec<Figure>], name: &str, column: usize| -> Option<Vec<f64>> {
        Some(all[place(&servers, name)?].iter().map(|it| it[column]).collect())
    };
    let time = |name: &str| ratio_of(column(&of_few, name, 0), column(&of_many, name, 0));
    let cpu = |name: &str| ratio_of(column(&of_many, name, 1), column(&of_few, name, 1));
    let ours = time(FARWATCH).context("Farwatch is measured")?;
    let rate = Spread::of(column(&of_many, FARWATCH, 0).context("measured")?.into_iter());
    let told = |it: Option<Spread>| it.map_or_else(|| "-".to_owned(), |it| shown(it, 2));
    Ok(Line {
        bar: "P23",
        what: format!("create and delete among {MANY} siblings, against among {FEW}"),
        wanted: "time ≤ 1.2x".to_owned(),
        measured: format!(
            "{}x, CPU {}x ({:.0} k/s)",
            shown(ours, 2),
            told(cpu(FARWATCH)),
            rate.median / 1e3
        ),
        beside: format!(
            "ZooKeeper's own {}x, CPU {}x",
            told(time(ZOOKEEPER)),
            told(cpu(ZOOKEEPER))
        ),
        verdict: Verdict::of(ours.median <= 1.2),
        rounds: json!({ "many": by_name(&servers, &of_many), "few": by_name(&servers, &of_few) }),
    })
}

fn place(contestants: &[Contestant], name: &str) -> Option<usize> {
    contestants.iter().position(|it| it.name == name)
}

fn by_name(contestants: &[Contestant], found: &[Vec<Figure>]) -> serde_json::Value {
    json!(contestants.iter().map(|it| &it.name).zip(found).collect::<Vec<_>>())
}

fn rounds(
    setup: &Setup,
    contestants: &[Contestant],
    loads: &mut [Load],
) -> Result<Vec<Vec<Figure>>> {
    let mut found = vec![Vec::new(); contestants.len()];
    for load in &mut *loads {
        load.run(setup.pace.warm_up)?;
    }
    for _round in 0..setup.pace.rounds {
        for ((it, load), found) in contestants.iter().zip(&mut *loads).zip(&mut found) {
            found.push(one(setup, it, load)?);
        }
    }
    Ok(found)
}

fn one(setup: &Setup, it: &Contestant, load: &mut Load) -> Result<Figure> {
    let before = it.cpu_time()?;
    let slice = load.run(setup.pace.slice).with_context(|| format!("{} under load", it.name))?;
    let spent = it.cpu_time()?.saturating_sub(before);
    Ok([slice.rate(), spent.as_secs_f64() * 1e6 / slice.operations.max(1) as f64])
}
