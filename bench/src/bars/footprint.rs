//! P26: what a server takes that does nothing: its binary, its memory, the time until it listens.
//! Beside ZooKeeper, and beside etcd where it is installed.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use super::Setup;
use super::etcd::{ETCD, Etcd, until_it_listens};
use super::table::{Line, Verdict, shown};
use crate::load::process::resident_bytes;
use crate::load::referee::Spread;
use crate::load::report::{FARWATCH, ZOOKEEPER};
use crate::subject::Options;

/// How long a server has been up when its memory is looked at.
const IDLE: Duration = Duration::from_secs(2);

const MB: f64 = 1e6;

/// Of all rounds.
#[derive(Default)]
struct Found {
    name: &'static str,
    resident_mb: Vec<f64>,
    listens_ms: Vec<f64>,
}

pub fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let binary = setup.servers.ours()?;
    let mut all: Vec<Found> = Vec::new();
    for _round in 0..setup.pace.rounds {
        for (name, resident, listens) in one_round(setup)? {
            let at = all.iter().position(|it| it.name == name).unwrap_or_else(|| {
                all.push(Found { name, ..Found::default() });
                all.len() - 1
            });
            all[at].resident_mb.push(resident as f64 / MB);
            all[at].listens_ms.push(listens.as_secs_f64() * 1e3);
        }
    }
    let mut lines = vec![binary_line(&binary)?];
    let rounds = |of: fn(&Found) -> &Vec<f64>| {
        json!(all.iter().map(|it| (it.name, of(it))).collect::<Vec<_>>())
    };
    let spread = |name: &str, of: fn(&Found) -> &Vec<f64>| {
        let found = all.iter().find(|it| it.name == name)?;
        Some(Spread::of(of(found).iter().copied()))
    };
    let beside = |unit: &str, of: fn(&Found) -> &Vec<f64>| {
        let ours = spread(FARWATCH, of).map_or(f64::NAN, |it| it.median);
        let others = [ZOOKEEPER, ETCD].into_iter().filter_map(|name| {
            let median = spread(name, of)?.median;
            Some(format!("{name} {median:.1} {unit} ({:.3}x)", ours / median))
        });
        others.collect::<Vec<_>>().join(", ")
    };
    let resident = spread(FARWATCH, |it| &it.resident_mb).context("Farwatch is measured")?;
    let part_of = |name| Some(resident.median / spread(name, |it| &it.resident_mb)?.median);
    lines.push(Line {
        bar: "P26",
        what: format!("memory of an idle server, {} starts", setup.pace.rounds),
        wanted: "≤ 10 MB, ≤ 0.1x ZooKeeper's, ≤ 0.45x etcd's".to_owned(),
        measured: format!("{} MB", shown(resident, 1)),
        beside: beside("MB", |it| &it.resident_mb),
        verdict: Verdict::all(&[
            Some(resident.median <= 10.0),
            part_of(ZOOKEEPER).map(|part| part <= 0.1),
            part_of(ETCD).map(|part| part <= 0.45),
        ]),
        rounds: rounds(|it| &it.resident_mb),
    });
    let listens = spread(FARWATCH, |it| &it.listens_ms).context("Farwatch is measured")?;
    lines.push(Line {
        bar: "P26",
        what: format!(
            "from its start until it listens, empty directory, {} starts",
            setup.pace.rounds
        ),
        wanted: "≤ 100 ms".to_owned(),
        measured: format!("{} ms", shown(listens, 1)),
        beside: beside("ms", |it| &it.listens_ms),
        verdict: Verdict::of(listens.median <= 100.0),
        rounds: rounds(|it| &it.listens_ms),
    });
    Ok(lines)
}

/// Each server started once on an empty directory: its idle memory, and when it listened.
fn one_round(setup: &Setup) -> Result<Vec<(&'static str, u64, Duration)>> {
    let mut all = Vec::new();
    for (name, mut subject) in setup.servers.alone(&Options::new())? {
        // It served before: from here on the start alone is timed, on a directory as it left it.
        subject.kill9()?;
        fs::remove_dir_all(subject.data_directory())?;
        fs::create_dir(subject.data_directory())?;
        let began = Instant::now();
        subject.spawn()?;
        let listens = until_it_listens(subject.address(), began)?;
        subject.await_service()?;
        sleep(IDLE);
        all.push((name, resident_bytes(subject.pid().context("it runs")?)?, listens));
    }
    if let Some(etcd) = Etcd::start()? {
        sleep(IDLE);
        all.push((ETCD, resident_bytes(etcd.pid())?, etcd.listens));
    }
    Ok(all)
}

/// The binary as it is, without what only debuggers read.
fn binary_line(binary: &Path) -> Result<Line> {
    let work = tempfile::tempdir()?;
    let stripped = work.path().join("stripped");
    let status = Command::new("strip").arg("-o").arg(&stripped).arg(binary).status();
    status.context("strip does not start: binutils has it")?;
    let bytes = fs::metadata(&stripped).context("strip left nothing")?.len() as f64;
    let needed = Command::new("readelf").arg("-d").arg(binary).output()?;
    let needed = String::from_utf8_lossy(&needed.stdout);
    let libraries = needed.matches("(NEEDED)").count();
    let linked = if libraries == 0 { "static" } else { "linked to the C library" };
    Ok(Line {
        bar: "P26",
        what: "the server's binary, stripped".to_owned(),
        wanted: "≤ 9 MB, static".to_owned(),
        measured: format!("{:.2} MB, {linked}", bytes / MB),
        beside: "the C library: `make -C ffi install`".to_owned(),
        verdict: Verdict::of(bytes <= 9.0 * MB && libraries == 0),
        rounds: json!({ "bytes": bytes, "shared_libraries": libraries }),
    })
}
