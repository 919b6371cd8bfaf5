//! P14, P20 and P21: a large tree, in memory, through a restart, and while it is written to disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::table::{Line, Verdict, shown};
use super::{MANY_NODES, Setup, ratio_of};
use crate::load::cells::VALUE_BYTES;
use crate::load::plan::populate;
use crate::load::process::resident_bytes;
use crate::load::referee::Spread;
use crate::load::report::{FARWATCH, ZOOKEEPER};
use crate::load::servers::warm_up_java;
use crate::load::{Kind, Load, Nodes, ROOT, Slice, Workload, startup};
use crate::subject::{Options, Subject};

/// Starts of each server.
const STARTS: usize = 3;

/// Bytes that must be free for ten million nodes: the server's, and as much again for what it reads and writes.
const MANY_NODES_NEED: u64 = 8_000_000_000;

/// Until a server that was filled has given back what it needed for that.
const SETTLES: Duration = Duration::from_secs(5);

/// No snapshot comes of so few writes.
const NEVER: u32 = 2_000_000_000;

/// A snapshot every so many writes, while so many come a second.
const SNAPSHOT_WRITES: u32 = 50_000;
const WRITES_PER_SECOND: f64 = 10_000.0;

/// A turn, in thirds of slices of the pace: 10 s of slices of 3. Sessions bear the silence of two turns.
const TURN_THIRDS: u32 = 10;
const TURNS: usize = 4;

/// How often a server's memory and directory are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Its files are at rest when none has changed for so long, which comes to pass within the other.
const STILL: Duration = Duration::from_secs(1);
const SETTLES_WITHIN: Duration = Duration::from_secs(60);

/// The one that takes none.
const WITHOUT: &str = "farwatch without snapshots";

/// P14 and P20.
pub fn memory_and_starts(setup: &Setup) -> Result<Vec<Line>> {
    let options = Options::new().java_flag("-Xmx4g");
    let mut subjects: Vec<(String, Subject)> = Vec::new();
    for (name, subject) in setup.servers.alone(&options)? {
        subjects.push((name.to_owned(), subject));
    }
    let mut before = Vec::new();
    for (_, subject) in &subjects {
        before.push(resident_bytes(subject.pid().context("it runs")?)?);
    }
    for (name, subject) in &subjects {
        populate(subject.address(), ROOT, setup.nodes, VALUE_BYTES)
            .with_context(|| format!("filling {name}"))?;
    }
    sleep(SETTLES);
    let mut resident = Vec::new();
    let mut heap = None;
    for (name, subject) in &subjects {
        let pid = subject.pid().context("it runs")?;
        resident.push(resident_bytes(pid)?);
        if name == ZOOKEEPER {
            heap = live_heap(pid);
        }
    }
    let place = |name: &str| subjects.iter().position(|(it, _)| it == name);
    let ours = place(FARWATCH).context("Farwatch is measured")?;
    let theirs = place(ZOOKEEPER);
    let mut lines = Vec::new();
    if setup.wants("P14") {
        let each = resident[ours].saturating_sub(before[ours]) as f64 / setup.nodes as f64;
        let part = theirs.map(|at| resident[ours] as f64 / resident[at] as f64);
        let of_heap = heap.map(|heap| resident[ours] as f64 / heap);
        let mut beside = Vec::new();
        beside.extend(part.map(|it| format!("ZooKeeper's memory {it:.2}x")));
        beside.extend(of_heap.map(|it| format!("its live heap {it:.2}x")));
        lines.push(Line {
            bar: "P14",
            what: format!("{} nodes of {VALUE_BYTES} bytes", setup.nodes),
            wanted: "at 1 M ≤ 0.20x ZooKeeper's memory, ≤ 0.65x its live heap".to_owned(),
            measured: format!("{each:.0} bytes a node, {:.0} MB", resident[ours] as f64 / 1e6),
            beside: beside.join(", "),
            verdict: Verdict::all(&[part.map(|it| it <= 0.2), of_heap.map(|it| it <= 0.65)]),
            rounds: json!({
                "resident_bytes": by_name(&subjects, &resident),
                "before": by_name(&subjects, &before),
                "zookeeper_heap": heap,
            }),
        });
    }
    if setup.wants("P20") {
        lines.push(starts(&mut subjects, setup)?);
    }
    Ok(lines)
}

fn starts(subjects: &mut [(String, Subject)], setup: &Setup) -> Result<Line> {
    let rounds = rounds_of_starts(setup);
    let found = startup::in_turn(subjects, setup.nodes, VALUE_BYTES, rounds)?;
    let of = |name: &str| found.iter().find(|it| it.name == name);
    let ours = of(FARWATCH).context("Farwatch is measured")?;
    let ratio = ratio_of(Some(ours.starts.clone()), of(ZOOKEEPER).map(|it| it.starts.clone()));
    let beside = match (ratio, of(ZOOKEEPER)) {
        (Some(ratio), Some(theirs)) => {
            format!("{}x ZooKeeper's {} s", shown(ratio, 2), shown(theirs.seconds(), 1))
        }
        _ => String::new(),
    };
    Ok(Line {
        bar: "P20",
        what: format!(
            "start after kill -9 with {} nodes, to the first answer, {rounds} starts",
            setup.nodes
        ),
        wanted: "at 1 M ≤ 0.5x ZooKeeper".to_owned(),
        measured: format!(
            "{} s, {:.2} M nodes/s",
            shown(ours.seconds(), 2),
            setup.nodes as f64 / ours.seconds().median / 1e6
        ),
        beside,
        verdict: Verdict::all(&[ratio.map(|it| it.median <= 0.5)]),
        rounds: json!(found.iter().map(|it| (&it.name, &it.starts)).collect::<Vec<_>>()),
    })
}

fn by_name(subjects: &[(String, Subject)], bytes: &[u64]) -> BTreeMap<String, u64> {
    subjects.iter().zip(bytes).map(|((name, _), &bytes)| (name.clone(), bytes)).collect()
}

fn rounds_of_starts(setup: &Setup) -> usize {
    if setup.pace.rounds < STARTS { 1 } else { STARTS }
}

/// P14 and P20 are left to `many` where so many nodes are asked for.
pub fn only_many(setup: &Setup) -> Option<String> {
    let said = setup.nodes_said.filter(|nodes| MANY_NODES <= *nodes)?;
    Some(format!("--nodes {said} is of P14-10M and P20-10M"))
}

/// Why `many` does not run: fewer nodes are asked for, or the memory that is free does not hold them. Who names it has
/// the last word.
pub fn too_few_or_too_large(setup: &Setup) -> Option<String> {
    let available = fs::read_to_string("/proc/meminfo").ok().and_then(|it| available_bytes(&it));
    why_not_many(setup, available.unwrap_or(0))
}

fn why_not_many(setup: &Setup, available: u64) -> Option<String> {
    if setup.names("P14-10M") || setup.names("P20-10M") {
        return None;
    }
    match setup.nodes_said {
        Some(nodes) if nodes < MANY_NODES => {
            Some(format!("--nodes {nodes} asks for fewer than {MANY_NODES}"))
        }
        Some(_) => None,
        None if MANY_NODES_NEED <= available => None,
        None => Some(format!(
            "{MANY_NODES} nodes want {} GB of memory, of which {:.1} are free; --bar P20-10M tries all the same",
            MANY_NODES_NEED / 1_000_000_000,
            available as f64 / 1e9
        )),
    }
}

/// What `/proc/meminfo` says can be had without swapping.
fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// P14 and P20 at ten million nodes: of Farwatch alone, as ZooKeeper's heap would take most of such a machine.
pub fn many(setup: &Setup) -> Result<Vec<Line>> {
    let nodes = setup.nodes_said.unwrap_or(MANY_NODES);
    let subject = Subject::farwatch(setup.servers.ours()?, Options::new())?;
    let pid = subject.pid().context("it runs")?;
    let before = resident_bytes(pid)?;
    populate(subject.address(), ROOT, nodes, VALUE_BYTES).context("filling the server")?;
    sleep(SETTLES);
    let resident = resident_bytes(pid)?;
    let mut lines = Vec::new();
    if setup.wants("P14-10M") {
        lines.push(line_of_memory(nodes, before, resident));
    }
    if setup.wants("P20-10M") {
        let mut subjects = [(FARWATCH.to_owned(), subject)];
        let rounds = rounds_of_starts(setup);
        let found = startup::in_turn(&mut subjects, nodes, VALUE_BYTES, rounds)?;
        lines.push(line_of_starts(nodes, &found[0].starts));
    }
    Ok(lines)
}

/// The bar is of ten million: fewer decide nothing.
fn verdict_of_many(nodes: usize, is_met: bool) -> Verdict {
    Verdict::all(&[(MANY_NODES <= nodes).then_some(is_met)])
}

fn line_of_memory(nodes: usize, before: u64, resident: u64) -> Line {
    let each = resident.saturating_sub(before) as f64 / nodes as f64;
    Line {
        bar: "P14-10M",
        what: format!("{nodes} nodes of {VALUE_BYTES} bytes"),
        wanted: "≤ 260 bytes a node".to_owned(),
        measured: format!("{each:.0} bytes a node, {:.0} MB", resident as f64 / 1e6),
        beside: String::new(),
        verdict: verdict_of_many(nodes, each <= 260.0),
        rounds: json!({ "resident_bytes": resident, "before": before }),
    }
}

fn line_of_starts(nodes: usize, starts: &[f64]) -> Line {
    let seconds = Spread::of(starts.iter().copied());
    Line {
        bar: "P20-10M",
        what: format!(
            "start after kill -9 with {nodes} nodes, to the first answer, {} starts",
            starts.len()
        ),
        wanted: "≤ 8 s".to_owned(),
        measured: format!(
            "{} s, {:.2} M nodes/s",
            shown(seconds, 2),
            nodes as f64 / seconds.median / 1e6
        ),
        beside: String::new(),
        verdict: verdict_of_many(nodes, seconds.median <= 8.0),
        rounds: json!({ "start_s": starts }),
    }
}

/// Bytes of the objects that are in use, after a collection; `None` where Java's tools are missing.
fn live_heap(pid: u32) -> Option<f64> {
    let output =
        Command::new("jcmd").args([&pid.to_string(), "GC.class_histogram"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let total = text.lines().rev().find_map(|line| line.strip_prefix("Total"))?;
    total.split_whitespace().nth(1)?.parse().ok()
}

/// Of one server, of all turns.
#[derive(Default)]
struct Turns {
    p999_ms: Vec<f64>,
    longest_ms: Vec<f64>,
    snapshots: Vec<usize>,
    /// The most memory in the turn, against before it.
    grown: Vec<f64>,
}

/// P21: writes at an even pace on a large tree, with snapshots and without.
pub fn snapshots(setup: &Setup) -> Result<Vec<Line>> {
    let options = |writes: u32| {
        let options = Options::new().java_flag("-Xmx4g");
        options.property("zookeeper.snapCount", &writes.to_string())
    };
    let mut subjects = setup.servers.alone(&options(NEVER))?;
    let also = Subject::farwatch(setup.servers.ours()?, options(NEVER))?;
    subjects.push((WITHOUT, also));
    let mut loads = Vec::new();
    let workload = Workload {
        kind: Kind::Set,
        connections: 64,
        rate: Some(WRITES_PER_SECOND),
        ..Workload::default()
    };
    for (name, subject) in &mut subjects {
        populate(subject.address(), ROOT, setup.nodes, VALUE_BYTES)
            .with_context(|| format!("filling {name}"))?;
        if *name != WITHOUT {
            subject.restart_with(options(SNAPSHOT_WRITES))?;
        }
        if *name == ZOOKEEPER {
            warm_up_java(&[subject.address()])?;
        }
    }
    // Not before all are filled: sessions that are silent for so long end.
    for (_, subject) in &subjects {
        loads.push(Load::open(&[subject.address()], &workload, Nodes::There(ROOT))?);
    }
    let turn = setup.pace.slice * TURN_THIRDS / 3;
    let mut all: Vec<Turns> = subjects.iter().map(|_| Turns::default()).collect();
    for _ in 0..TURNS.min(setup.pace.rounds) {
        for (((name, subject), load), turns) in subjects.iter().zip(&mut loads).zip(&mut all) {
            take_turn(subject, load, turn, turns).with_context(|| format!("{name} under load"))?;
            settle(&subject.data_directory())?;
        }
    }
    let of = |name: &str| {
        let at = subjects.iter().position(|(it, _)| *it == name)?;
        Some(&all[at])
    };
    snapshot_line((setup, turn), of(FARWATCH), of(WITHOUT), of(ZOOKEEPER)).map(|line| vec![line])
}

fn take_turn(subject: &Subject, load: &mut Load, turn: Duration, turns: &mut Turns) -> Result<()> {
    let pid = subject.pid().context("it runs")?;
    let (before, old) = (resident_bytes(pid)?, snapshot_files(&subject.data_directory()));
    let (mut most, mut seen) = (before, old.clone());
    let slice: Slice = load.run_watched(turn, LOOK, |_, _| {
        most = most.max(resident_bytes(pid).unwrap_or(0));
        seen.extend(snapshot_files(&subject.data_directory()));
    })?;
    turns.p999_ms.push(slice.quantile_us(0.999) / 1e3);
    turns.longest_ms.push(slice.longest_gap.as_secs_f64() * 1e3);
    turns.snapshots.push(seen.len() - old.len());
    turns.grown.push(most as f64 / before as f64);
    Ok(())
}

/// Waits until the server has finished the snapshot that it was writing, and the disk what it was given: the next
/// turn is another's.
fn settle(data: &Path) -> Result<()> {
    let (began, mut since, mut before) = (Instant::now(), Instant::now(), BTreeSet::new());
    while since.elapsed() < STILL {
        ensure!(began.elapsed() < SETTLES_WITHIN, "{} does not come to rest", data.display());
        sleep(LOOK);
        let now = snapshot_directories(data);
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
    ensure!(Command::new("sync").status().context("running sync")?.success(), "sync failed");
    Ok(())
}

/// The files of both kinds of directories, with their lengths.
fn snapshot_directories(data: &Path) -> BTreeSet<(OsString, u64)> {
    let folders = [data.join("snapshot"), data.join("version-2")];
    let entries = folders.iter().flat_map(|it| fs::read_dir(it).into_iter().flatten().flatten());
    entries.map(|it| (it.file_name(), it.metadata().map_or(0, |it| it.len()))).collect()
}

/// Names of all snapshots, of either kind of server.
fn snapshot_files(data: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in [data.join("snapshot"), data.join("version-2")] {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let all = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names.extend(all.filter(|name| name.ends_with(".snap") || name.starts_with("snapshot.")));
    }
    names
}

fn snapshot_line(
    (setup, turn): (&Setup, Duration),
    ours: Option<&Turns>,
    without: Option<&Turns>,
    theirs: Option<&Turns>,
) -> Result<Line> {
    let (ours, without) = ours.zip(without).context("Farwatch is measured")?;
    let taken: usize = ours.snapshots.iter().sum();
    ensure!(taken > 0, "no snapshot came in all turns: more --seconds");
    let spread = |all: &[f64]| Spread::of(all.iter().copied());
    let ratio = ratio_of(Some(ours.p999_ms.clone()), Some(without.p999_ms.clone()))
        .context("both are measured")?;
    let (longest, grown) = (spread(&ours.longest_ms), spread(&ours.grown));
    let beside = theirs.map_or_else(String::new, |it| {
        format!(
            "ZooKeeper: p99.9 {} ms, longest gap {:.0} ms, {} snapshots",
            shown(spread(&it.p999_ms), 1),
            spread(&it.longest_ms).max,
            it.snapshots.iter().sum::<usize>()
        )
    });
    Ok(Line {
        bar: "P21",
        what: format!(
            "{WRITES_PER_SECOND:.0} writes/s on {} nodes through {taken} snapshots, one server, {} × {} s",
            setup.nodes,
            ours.snapshots.len(),
            turn.as_secs_f64()
        ),
        wanted: "p99.9 ≤ 1.5x without, no gap above 5 ms, memory ≤ +15 %".to_owned(),
        measured: format!(
            "p99.9 {} ms, {}x without ({} ms); longest gap {:.1} ms (without {:.1}); memory {:+.0} %",
            shown(spread(&ours.p999_ms), 1),
            shown(ratio, 2),
            shown(spread(&without.p999_ms), 1),
            longest.max,
            spread(&without.longest_ms).max,
            (grown.max - 1.0) * 100.0
        ),
        beside,
        verdict: Verdict::of(ratio.median <= 1.5 && longest.max <= 5.0 && grown.max <= 1.15),
        rounds: json!([("farwatch", ours), (WITHOUT, without)].map(|(name, it)| (
            name,
            &it.p999_ms,
            &it.longest_ms,
            &it.grown,
            &it.snapshots
        ))),
    })
}

#[cfg(test)]
mod tests {
    use super::super::NODES;
    use super::*;

    fn setup(bar: Option<&str>, nodes: Option<usize>) -> Setup {
        let bars = bar.into_iter().map(str::to_owned).collect();
        Setup { bars, nodes_said: nodes, ..Setup::of_trial(nodes.unwrap_or(NODES)) }
    }

    #[test]
    fn ten_million_nodes_are_tried_where_there_is_memory_or_where_they_are_asked_for() {
        let why = |bar, nodes, available| why_not_many(&setup(bar, nodes), available);
        let (little, enough) = (2_000_000_000, MANY_NODES_NEED);
        assert_eq!(why(None, None, enough), None);
        assert_eq!(why(Some("P20"), None, enough), None);
        let said = why(None, None, little).expect("too little memory");
        assert!(said.contains("want 8 GB of memory, of which 2.0 are free"), "{said}");
        assert_eq!(why(Some("P20-10m"), None, little), None);
        assert_eq!(why(None, Some(MANY_NODES), little), None);
        assert!(why(Some("P20"), Some(2_000), enough).is_some(), "fewer are asked for");
        assert_eq!(why(Some("P14-10M"), Some(2_000), little), None, "a trial");
    }

    #[test]
    fn a_million_nodes_are_left_out_where_ten_are_asked_for() {
        assert_eq!(only_many(&setup(None, None)), None);
        assert_eq!(only_many(&setup(None, Some(MANY_NODES - 1))), None);
        assert!(only_many(&setup(None, Some(MANY_NODES))).is_some());
    }

    #[test]
    fn fewer_nodes_than_the_bar_is_of_decide_nothing() {
        assert_eq!(line_of_starts(2_000, &[0.1]).verdict, Verdict::Open);
        assert_eq!(line_of_starts(MANY_NODES, &[7.0, 9.0, 7.5]).verdict, Verdict::Met);
        assert_eq!(line_of_starts(MANY_NODES, &[8.1]).verdict, Verdict::Missed);
        let bytes = |each: u64| line_of_memory(MANY_NODES, 5, 5 + each * MANY_NODES as u64);
        assert_eq!(bytes(260).verdict, Verdict::Met);
        assert_eq!(bytes(261).measured, "261 bytes a node, 2610 MB");
        assert_eq!(bytes(261).verdict, Verdict::Missed);
    }

    #[test]
    fn available_memory_is_what_the_kernel_says() {
        let text = "MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:    3 kB\n";
        assert_eq!(available_bytes(text), Some(3_072));
        assert_eq!(available_bytes("MemTotal: 9 kB\n"), None);
    }
}
