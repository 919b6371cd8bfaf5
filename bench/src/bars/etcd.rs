//! etcd, where it is installed: how it starts, and P31, durable puts beside it.
//!
//! It is asked over HTTP, the way that needs no library of its own: its gateway translates each put into a call
//! of gRPC to itself. That costs it processor time which a client of gRPC would not; it is said beside the figure.

use std::io::{self, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tempfile::TempDir;
use ureq::Agent;

use super::Setup;
use super::table::{Line, Verdict, beside, shown};
use crate::load::cells::named;
use crate::load::process::cpu_time;
use crate::load::referee::Spread;
use crate::load::report::ZOOKEEPER;
use crate::load::{Load, Nodes, ROOT};
use crate::subject::{Options, free_addresses, subjects_directory};

/// As tables say it.
pub const ETCD: &str = "etcd";

/// Clients with one put under way each.
const CELL: &str = "set-64";

/// Between two attempts to connect to a server that starts.
const POLL: Duration = Duration::from_micros(500);

const LISTENS_WITHIN: Duration = Duration::from_secs(60);

/// A running etcd with a directory of its own, its defaults otherwise.
pub struct Etcd {
    child: Child,
    address: SocketAddr,
    /// How long it took until it listened.
    pub listens: Duration,
    _directory: TempDir,
}

impl Etcd {
    /// `None` where it is not installed.
    pub fn start() -> Result<Option<Self>> {
        let directory = tempfile::tempdir_in(subjects_directory()?)?;
        let addresses = free_addresses(2)?;
        let [clients, peers] = [0, 1].map(|at: usize| format!("http://{}", addresses[at]));
        let began = Instant::now();
        let child = Command::new(ETCD)
            .arg("--data-dir")
            .arg(directory.path())
            .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("default={peers}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match child {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            child => child.context("etcd does not start")?,
        };
        let address = addresses[0];
        let mut etcd = Self { child, address, listens: Duration::ZERO, _directory: directory };
        etcd.listens = until_it_listens(address, began)?;
        Ok(Some(etcd))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may be gone already; either way nothing of it is left after the wait.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until somebody listens there; how long that is since `began`.
pub fn until_it_listens(address: SocketAddr, began: Instant) -> Result<Duration> {
    while began.elapsed() < LISTENS_WITHIN {
        if TcpStream::connect(address).is_ok() {
            return Ok(began.elapsed());
        }
        sleep(POLL);
    }
    bail!("{address} did not listen within {LISTENS_WITHIN:?}")
}

/// What one server did in one slice.
struct Done {
    rate: f64,
    p50_us: f64,
    cpu_us: f64,
}

/// P31: puts of all in turn, round by round.
pub fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let Some(etcd) = Etcd::start()? else {
        println!("etcd is not installed: no puts beside it");
        return Ok(Vec::new());
    };
    let subjects = setup.servers.alone(&Options::new().java_flag("-Xmx2g"))?;
    let workload = named(CELL).context("the cell is known")?.workload;
    let mut loads = Vec::new();
    for (name, subject) in &subjects {
        let mut load = Load::open(&[subject.address()], &workload, Nodes::Below(ROOT))?;
        load.run(setup.pace.slice)?; // not counted
        loads.push((*name, subject.pid().context("it runs")?, load, Vec::new()));
    }
    let puts = Puts::new(etcd.address, workload.keys, workload.value_bytes);
    puts.run(workload.connections, setup.pace.slice)?;
    let mut theirs = Vec::new();
    for _round in 0..setup.pace.rounds {
        let before = cpu_time(etcd.pid())?;
        let (count, latencies) = puts.run(workload.connections, setup.pace.slice)?;
        let spent = cpu_time(etcd.pid())? - before;
        theirs.push(Done {
            rate: count as f64 / setup.pace.slice.as_secs_f64(),
            p50_us: latencies,
            cpu_us: spent.as_secs_f64() * 1e6 / count.max(1) as f64,
        });
        for (_, pid, load, done) in &mut loads {
            let before = cpu_time(*pid)?;
            let slice = load.run(setup.pace.slice)?;
            let spent = cpu_time(*pid)? - before;
            done.push(Done {
                rate: slice.rate(),
                p50_us: slice.quantile_us(0.5),
                cpu_us: spent.as_secs_f64() * 1e6 / slice.operations.max(1) as f64,
            });
        }
    }
    let all: Vec<(&str, Vec<Done>)> =
        loads.into_iter().map(|(name, _, _, done)| (name, done)).chain([(ETCD, theirs)]).collect();
    Ok(vec![line(&all)?])
}

fn line(all: &[(&str, Vec<Done>)]) -> Result<Line> {
    let of = |name: &str| all.iter().find(|it| it.0 == name).map(|it| &it.1[..]);
    let (_, ours) =
        all.iter().find(|it| it.0 != ZOOKEEPER && it.0 != ETCD).context("no Farwatch")?;
    let ratio = |name: &str| {
        let rounds = ours.iter().zip(of(name)?);
        Some(Spread::of(rounds.map(|(ours, theirs)| ours.rate / theirs.rate)))
    };
    let told = |done: &[Done]| {
        let rate = Spread::of(done.iter().map(|it| it.rate / 1e3));
        let p50 = Spread::of(done.iter().map(|it| it.p50_us)).median;
        let cpu = Spread::of(done.iter().map(|it| it.cpu_us)).median;
        format!("{} k/s, p50 {p50:.0} µs, CPU {cpu:.1} µs", shown(rate, 1))
    };
    let against = beside(&[(ETCD, ratio(ETCD)), ("ZooKeeper", ratio(ZOOKEEPER))]);
    let etcd = of(ETCD).context("etcd was measured")?;
    let rounds = all.iter().map(|(name, done)| {
        let values = done.iter().map(|it| json!([it.rate, it.p50_us, it.cpu_us]));
        (*name, values.collect::<Vec<_>>())
    });
    Ok(Line {
        bar: "P31",
        what: format!("durable puts of 100 bytes beside etcd (`{CELL}`)"),
        wanted: "no bar: for orientation".to_owned(),
        measured: told(ours),
        beside: format!("{against}; etcd through its HTTP gateway {}", told(etcd)),
        verdict: Verdict::Open,
        rounds: json!(rounds.collect::<Vec<_>>()),
    })
}

/// Bodies of requests, prepared ahead.
struct Puts {
    url: String,
    bodies: Vec<String>,
}

impl Puts {
    fn new(address: SocketAddr, keys: usize, value_bytes: usize) -> Self {
        let value = STANDARD.encode(vec![b'v'; value_bytes]);
        let body = |key: usize| {
            let key = STANDARD.encode(format!("/bench/{key}"));
            json!({ "key": key, "value": value }).to_string()
        };
        let bodies = (0..keys).map(body).collect();
        Self { url: format!("http://{address}/v3/kv/put"), bodies }
    }

    /// So many clients put for so long: how many puts were answered in time, and the median of what they took,
    /// microseconds.
    fn run(&self, clients: usize, duration: Duration) -> Result<(usize, f64)> {
        let deadline = Instant::now() + duration;
        let taken: Vec<Result<Vec<f64>>> = std::thread::scope(|scope| {
            let running: Vec<_> = (0..clients)
                .map(|client| scope.spawn(move || self.client(client, deadline)))
                .collect();
            running.into_iter().map(|it| it.join().expect("no client panics")).collect()
        });
        let mut all = Vec::new();
        for of_one in taken {
            all.extend(of_one?);
        }
        ensure!(!all.is_empty(), "etcd answered nothing in {duration:?}");
        Ok((all.len(), Spread::of(all.into_iter()).median))
    }

    /// One put after the other on a connection of its own.
    fn client(&self, client: usize, deadline: Instant) -> Result<Vec<f64>> {
        let agent = Agent::new_with_defaults();
        let mut taken = Vec::new();
        let mut answer = Vec::new();
        // Every client goes through all keys, from another one on.
        for body in self.bodies.iter().cycle().skip(client * 151) {
            let began = Instant::now();
            let response = agent.post(&self.url).send(body.as_bytes()).context("a put")?;
            answer.clear();
            response.into_body().into_reader().read_to_end(&mut answer)?;
            if deadline < Instant::now() {
                break;
            }
            taken.push(began.elapsed().as_secs_f64() * 1e6);
        }
        Ok(taken)
    }
}
