//! What observers cost those who decide, what crosses the way to them, and what a cut of it costs:
//! beside Apache ZooKeeper's, in one run.
//!
//! ```text
//! sinks: voters ─► n learners that throw all away     observers: voters ─► n processes, both kinds
//! link:  voters ─ way ─► observer, bytes a write      cut: the same, cut and healed under readers
//! snapshot: voters ─ way ─► observer that has nothing, where no log has all
//! restart: the leader dies and comes back under 8 observers with 100 readers each
//! herd: voters ─► a thousand sinks that come at once; sinks that read less than is written
//! ```

pub mod crowd;
mod herd;
mod link;
pub(crate) mod report;
mod restart;
pub mod sink;
mod throughput;
mod transfer;
mod way;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use self::crowd::Crowd;
pub(crate) use self::report::Findings;
#[cfg(feature = "page")]
pub(crate) use self::report::{CutFound, page::plots_of_observers};
use self::report::{LinkBytes, Outages, Reads, Restarts, Throughput};
use self::throughput::{Cell, WORKLOAD, cells_of_sinks, observers, slice};
use self::transfer::Transfers;
use self::way::{Quality, Way};
#[cfg(feature = "page")]
use crate::load::record::machine_and_others;
use crate::load::report::{FARWATCH, ZOOKEEPER, replace_between};
#[cfg(feature = "page")]
use crate::load::servers::Servers;
use crate::load::{Kind, Load, Nodes, ROOT, Workload};
use crate::raw::request::{create, get_data, set_data};
use crate::raw::{Connection, Handshake, ids};
use crate::subject::{Ensemble, Options};

/// The lines between which a document's tables are replaced.
pub const MARKS: [&str; 2] =
    ["<!-- bench of observers: begin -->", "<!-- bench of observers: end -->"];

/// What tells whether an observer has everything.
const MARKER: &str = "/level";

/// How long an observer may take to have everything.
const LEVEL_WITHIN: Duration = Duration::from_secs(300);

/// Voters of each ensemble.
const VOTERS: u32 = 3;

/// Observers that its list names.
const LISTED: usize = 8;

/// Links as they are where they are short.
pub(crate) const UNCOMPRESSED: &str = "farwatch.linkCompression=off";

/// Java's compiler needs this much before a figure means something.
const JVM_WARM_UP: Duration = Duration::from_secs(8);

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Voters with sinks.
    Sinks,
    /// Voters with real observers.
    Observers,
    /// Bytes over a long way.
    Link,
    /// A tree that crosses the way as a snapshot.
    Snapshot,
    /// A way that is cut and healed.
    Cut,
    /// A leader that dies and starts again.
    Restart,
    /// Reads of one observer.
    Reads,
    /// Learners that come all at once, and learners that read too little.
    Herd,
}

/// Measures what observers cost, and what a cut costs them, beside ZooKeeper's.
#[derive(Args, Clone, Debug)]
pub struct Observers {
    /// The release binary of Farwatch.
    #[arg(long, default_value = "target/release/farwatch")]
    farwatch: PathBuf,
    /// Leaves ZooKeeper out.
    #[arg(long)]
    without_zookeeper: bool,
    /// Parts to measure, all by default.
    #[arg(long = "part", value_enum)]
    parts: Vec<Part>,
    /// Sinks of the cells.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 2, 8, 10, 50, 200])]
    sinks: Vec<usize>,
    /// Rounds of each cell.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each slice.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// There and back over the long way, milliseconds.
    #[arg(long, default_value_t = 80)]
    rtt_ms: u64,
    /// Bytes a second of the way that is cut.
    #[arg(long, default_value_t = 4_000_000)]
    way_bytes_per_second: u64,
    /// Writes that are missed in each cut.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000])]
    missed: Vec<u64>,
    /// Learners behind the one observer over the way, whose number must not show in its bytes.
    #[arg(long, value_delimiter = ',', default_values_t = [8, 32])]
    behind: Vec<usize>,
    /// Nodes of the tree that crosses the way as a snapshot.
    #[arg(long, default_value_t = 200_000)]
    snapshot_nodes: usize,
    /// Learners that come back at once.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000])]
    herd: Vec<usize>,
    /// Learners that read less than is written.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 50])]
    slow: Vec<usize>,
    /// A file that all figures are written into, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// A file that the plot is written into.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// A file that a plot of a cut, second by second, is written into.
    #[arg(long)]
    cut_plot: Option<PathBuf>,
    /// A document whose tables are replaced by what was found.
    #[arg(long)]
    document: Option<PathBuf>,
    /// Writes a page with the tables and plots of rates, latencies and cuts.
    #[cfg(feature = "page")]
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes one page of Markdown: the machine, what others took of it, the bars that were measured with their
    /// verdicts, and the tables.
    #[cfg(feature = "page")]
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
}

/// An ensemble by the name that tables have for it.
type Named = (&'static str, Ensemble);

impl Observers {
    /// The parts that bars need.
    #[cfg(feature = "page")]
    pub(crate) fn of_bars(
        servers: &Servers,
        rounds: usize,
        slice: Duration,
        parts: &[Part],
    ) -> Self {
        Self {
            farwatch: servers.farwatch.clone(),
            without_zookeeper: servers.without_zookeeper,
            parts: parts.to_vec(),
            sinks: vec![0, 10, 50, 200],
            rounds,
            seconds: slice.as_secs_f64(),
            rtt_ms: 80,
            way_bytes_per_second: 4_000_000,
            missed: vec![1_000, 100_000],
            behind: Vec::new(),
            snapshot_nodes: 0,
            herd: Vec::new(),
            slow: Vec::new(),
            json: None,
            plot: None,
            cut_plot: None,
            document: None,
            html: None,
            summary: None,
        }
    }

    /// Measures, and prints what was found.
    pub fn run(&self) -> Result<()> {
        #[cfg(feature = "page")]
        let mut found = Findings { machine: machine_and_others()?, ..Findings::default() };
        #[cfg(not(feature = "page"))]
        let mut found = Findings::default();
        self.measure(&mut found)?;
        println!("\n{}", report::markdown(&found));
        self.write(&found)
    }

    /// Measures, and writes what is there behind each part.
    pub(crate) fn measure(&self, found: &mut Findings) -> Result<()> {
        let plots_cut = self.cut_plot.is_some();
        ensure!(!plots_cut || self.measures(Part::Cut), "--cut-plot needs the part cut");
        if self.measures(Part::Sinks) {
            found.sinks = self.sinks()?;
            print!("{}", report::throughput("Voters with sinks", &found.sinks));
            self.write(found)?;
        }
        if self.measures(Part::Observers) {
            found.observers = self.observers()?;
            print!("{}", report::throughput("Voters with observers", &found.observers));
            self.write(found)?;
        }
        let far = [Part::Link, Part::Cut, Part::Restart, Part::Reads];
        if far.into_iter().any(|part| self.measures(part)) {
            self.site(found)?;
        }
        if self.measures(Part::Snapshot) {
            found.transfers = self.transfers()?;
        }
        if self.measures(Part::Herd) {
            self.herds(found)?;
        }
        Ok(())
    }

    /// Writes what was found so far: a part that fails takes nothing of those before it along.
    fn write(&self, found: &Findings) -> Result<()> {
        if let Some(path) = &self.json {
            std::fs::write(path, format!("{:#}\n", report::json(found)))?;
        }
        if let Some(path) = &self.plot {
            std::fs::write(path, report::plot(found))?;
        }
        if let Some(path) = &self.cut_plot
            && !found.cuts.is_empty()
        {
            std::fs::write(path, report::plot_of_cuts(found))?;
        }
        if let Some(document) = &self.document {
            replace_between(MARKS, document, &report::markdown(found))?;
        }
        #[cfg(feature = "page")]
        if let Some(file) = &self.html {
            report::page::write_page(file, found)?;
        }
        #[cfg(feature = "page")]
        if let Some(file) = &self.summary {
            report::page::write_summary(file, found)?;
        }
        Ok(())
    }

    fn measures(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    fn slice(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn farwatch(&self, options: &Options) -> Result<Named> {
        let binary = &self.farwatch;
        ensure!(binary.exists(), "{} is missing: cargo build --release", binary.display());
        Ok((FARWATCH, Ensemble::farwatch(binary, VOTERS, options)?))
    }

    /// Both, unless one is left out, with observers in their lists.
    fn ensembles(&self) -> Result<Vec<Named>> {
        let mut all = vec![self.farwatch(&options())?];
        if !self.without_zookeeper {
            all.push((ZOOKEEPER, Ensemble::zookeeper(VOTERS, &options())?));
        }
        Ok(all)
    }

    /// As servers are by default, where nothing of a link this short is compressed; and with everything
    /// compressed, which costs the most.
    fn sinks(&self) -> Result<Vec<Throughput>> {
        let on = "farwatch.linkCompression=on";
        let few: Vec<Cell> = [0, 50].map(Cell::Sinks).to_vec();
        let variants = [("", cells_of_sinks(&self.sinks)), (on, few)];
        let mut all = Vec::new();
        for (line, cells) in variants {
            let options = Options::new().observers(2);
            let options = if line.is_empty() { options } else { options.line(line) };
            let (name, mut ensemble) = self.farwatch(&options)?;
            let name = if line.is_empty() { name } else { line };
            let mut load = Load::open(&ensemble.addresses(), &WORKLOAD, Nodes::Below(ROOT))?;
            load.run(self.slice())?;
            let crowd = Crowd::start();
            let mut found = Throughput::new(name, &cells);
            for _ in 0..self.rounds {
                for (at, &cell) in cells.iter().enumerate() {
                    let cell = (cell, 2);
                    let figure = slice(&mut ensemble, &crowd, &mut load, cell, self.slice())?;
                    eprintln!("{name}, {}: {figure:?}", cell.0.name());
                    found.add(at, figure);
                }
            }
            all.push(found);
        }
        Ok(all)
    }

    /// Real observers: what the machine's other processes cost is in it.
    fn observers(&self) -> Result<Vec<Throughput>> {
        let mut ensembles = self.ensembles()?;
        let cells = [0, 2, LISTED].map(Cell::Observers);
        let crowd = Crowd::start();
        let mut all: Vec<Throughput> =
            ensembles.iter().map(|(name, _)| Throughput::new(name, &cells)).collect();
        for (at, &cell) in cells.iter().enumerate() {
            // Starting Java machines takes longer than sessions that nobody pings live.
            let mut loads = Vec::new();
            for (_, ensemble) in &mut ensembles {
                observers(ensemble, cell.direct(), LISTED)?;
            }
            for (name, ensemble) in &ensembles {
                let mut load = Load::open(&ensemble.addresses(), &WORKLOAD, Nodes::Below(ROOT))?;
                load.run(if *name == ZOOKEEPER { JVM_WARM_UP } else { self.slice() })?;
                loads.push(load);
            }
            for _ in 0..self.rounds {
                for (index, (name, ensemble)) in ensembles.iter_mut().enumerate() {
                    let load = &mut loads[index];
                    let figure = slice(ensemble, &crowd, load, (cell, LISTED), self.slice())?;
                    eprintln!("{name}, {}: {figure:?}", cell.name());
                    all[index].add(at, figure);
                }
            }
        }
        Ok(all)
    }

    /// One observer of each ensemble at the far end of a long way.
    fn site(&self, found: &mut Findings) -> Result<()> {
        let mut ensembles = self.ensembles()?;
        for (name, ensemble) in &mut ensembles {
            Load::open(&ensemble.addresses(), &WORKLOAD, Nodes::Below(ROOT))?
                .run(JVM_WARM_UP / 2)?;
            observers(ensemble, 1, LISTED).with_context(|| format!("{name}'s observer"))?;
            link::register(ensemble)?;
        }
        if self.measures(Part::Reads) {
            found.reads = self.reads(&ensembles)?;
            self.write(found)?;
        }
        if self.measures(Part::Link) {
            found.link = self.link(&mut ensembles)?;
            self.write(found)?;
        }
        if self.measures(Part::Cut) {
            found.cuts = self.cuts(&mut ensembles)?;
            self.write(found)?;
        }
        if self.measures(Part::Restart) {
            found.restarts = self.restarts(&mut ensembles)?;
        }
        Ok(())
    }

    fn reads(&self, ensembles: &[Named]) -> Result<Vec<Reads>> {
        let mut all = Vec::new();
        for outstanding in [1, 32] {
            let workload = Workload { kind: Kind::Get, outstanding, ..WORKLOAD };
            let mut loads = Vec::new();
            for (_, ensemble) in ensembles {
                let mut load =
                    Load::open(&[ensemble.observer(0).address()], &workload, Nodes::Below(ROOT))?;
                load.run(JVM_WARM_UP / 2)?;
                loads.push(load);
            }
            let mut found: Vec<Reads> =
                ensembles.iter().map(|(name, _)| Reads::new(name, outstanding)).collect();
            for _ in 0..self.rounds {
                for (load, found) in loads.iter_mut().zip(&mut found) {
                    found.add(load.run(self.slice())?);
                }
            }
            all.extend(found);
        }
        Ok(all)
    }

    fn link(&self, ensembles: &mut [Named]) -> Result<Vec<LinkBytes>> {
        let mut all = Vec::new();
        let quality = self.quality(0);
        for (name, ensemble) in ensembles {
            let mut variants = vec![("", 0)];
            if *name == FARWATCH {
                // What crosses the way once serves however many are behind the one who is there.
                variants.push((UNCOMPRESSED, 0));
                variants.extend(self.behind.iter().map(|&behind| ("", behind)));
            }
            for (line, behind) in variants {
                let options = options();
                let options = if line.is_empty() { options } else { options.line(line) };
                let way = link::route(ensemble, [0], quality, &options)?;
                let upstreams = vec![ensemble.observer_place(0)];
                let crowd = Crowd::start();
                crowd.be(behind, &crowd::Places { upstreams, blocks: true })?;
                for (writes, outstanding) in [(2000, 1), (20_000, 64)] {
                    let mut found = LinkBytes::new(name, line, (outstanding, behind));
                    for round in 0..self.rounds as u64 {
                        let many = (writes, outstanding);
                        let seed = round * 10 + outstanding as u64 * 100;
                        found.add(link::bytes_per_write(ensemble, (0, &way), many, seed)?);
                    }
                    // An error where one of those behind was lost on the way.
                    crowd.taken()?;
                    found.record_bytes = record_bytes(name, ensemble, (writes, outstanding))?;
                    eprintln!("{found:?}");
                    all.push(found);
                }
            }
        }
        Ok(all)
    }

    /// One observer that comes with nothing, of each kind, compressed as long ways are, and not.
    fn transfers(&self) -> Result<Vec<Transfers>> {
        let options = transfer::forgetful(options());
        let (mut all, quality) = (Vec::new(), self.quality(self.way_bytes_per_second));
        let what = (quality, self.snapshot_nodes, self.rounds.div_ceil(2));
        let (name, mut ours) = self.farwatch(&options)?;
        transfer::fill((name, &ours), self.snapshot_nodes)?;
        for variant in ["", UNCOMPRESSED] {
            all.push(transfer::measure((name, &mut ours), (&options, variant), what)?);
        }
        drop(ours);
        if !self.without_zookeeper {
            let mut theirs = Ensemble::zookeeper(VOTERS, &options)?;
            transfer::fill((ZOOKEEPER, &theirs), self.snapshot_nodes)?;
            all.push(transfer::measure((ZOOKEEPER, &mut theirs), (&options, ""), what)?);
        }
        Ok(all)
    }

    /// Each with voters of its own: what was there before is in no figure of memory.
    fn herds(&self, found: &mut Findings) -> Result<()> {
        for &count in &self.herd {
            let (_, ensemble) = self.farwatch(&Options::new())?;
            found.returns.push(herd::come_back(&ensemble, count, self.slice())?);
            eprintln!("{:?}", found.returns.last().map(herd::Return::json));
        }
        for &count in &self.slow {
            let (_, ensemble) = self.farwatch(&Options::new())?;
            found.lags.push(herd::fall_behind(&ensemble, count, self.slice())?);
            eprintln!("{:?}", found.lags.last().map(herd::Lag::json));
        }
        Ok(())
    }

    fn quality(&self, bytes_per_second: u64) -> Quality {
        Quality { rtt: Duration::from_millis(self.rtt_ms), bytes_per_second }
    }

    fn cuts(&self, ensembles: &mut [Named]) -> Result<Vec<Outages>> {
        let mut all = Vec::new();
        let quality = self.quality(self.way_bytes_per_second);
        let mut ways: Vec<Way> = Vec::new();
        for (_, ensemble) in ensembles.iter_mut() {
            ways.push(link::route(ensemble, [0], quality, &options())?);
        }
        for &missed in &self.missed {
            let mut found: Vec<Outages> =
                ensembles.iter().map(|(name, _)| Outages::new(name, quality)).collect();
            // Each takes as long as a cut does: fewer than of all else.
            for _ in 0..self.rounds.div_ceil(2) {
                for (at, (name, ensemble)) in ensembles.iter().enumerate() {
                    let outage = link::outage(ensemble, (0, &ways[at]), missed)?;
                    eprintln!("{name}: {outage:?}");
                    found[at].add(outage);
                }
            }
            all.extend(found);
        }
        Ok(all)
    }
}

impl Observers {
    fn restarts(&self, ensembles: &mut [Named]) -> Result<Vec<Restarts>> {
        let mut all = Vec::new();
        let quality = self.quality(self.way_bytes_per_second);
        // One ensemble at a time: eight Java machines beside eight other observers leave nothing of two cores.
        for (name, ensemble) in ensembles {
            // The way of the one that runs since an earlier part is gone: none could be waited for.
            observers(ensemble, 0, LISTED)?;
            let way = link::route(ensemble, 0..LISTED, quality, &options())?;
            let mut found = Restarts::new(name, quality);
            for _ in 0..self.rounds.div_ceil(2) {
                let round = restart::restart(ensemble, LISTED, &way)?;
                eprintln!("{name}: {round:?}");
                found.add(round);
            }
            observers(ensemble, 0, LISTED)?;
            all.push(found);
        }
        Ok(all)
    }
}

/// Of every server: eleven Java machines share this one's memory.
fn options() -> Options {
    Options::new().observers(LISTED as u32).java_flag("-Xmx512m")
}

/// Bytes of a record of these writes, as it is in every server's log; of Farwatch only.
fn record_bytes(
    name: &str,
    ensemble: &Ensemble,
    (writes, outstanding): (u64, usize),
) -> Result<Option<f64>> {
    if name != FARWATCH {
        return Ok(None);
    }
    let crowd = Crowd::start();
    let upstreams = vec![ensemble.voter_places()[0][0]];
    crowd.be(1, &crowd::Places { upstreams, blocks: false })?;
    let before = crowd.taken()?.record_bytes;
    link::write_services(ensemble.address(1), outstanding, writes)?;
    sleep(Duration::from_millis(500));
    Ok(Some((crowd.taken()?.record_bytes - before) as f64 / writes as f64))
}

/// Writes what was never written before, through the server at `at`.
fn mark(at: SocketAddr) -> Result<String> {
    let (mut connection, _) = Connection::connect(at, &Handshake::default())?;
    let value = UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos().to_string();
    connection.call(&create(MARKER, None, &ids::open(), 0))?;
    let reply = connection.call(&set_data(MARKER, Some(value.as_bytes()), -1))?;
    ensure!(reply.err == 0, "the marker cannot be written: {}", reply.err);
    Ok(value)
}

/// Waits until the server at `at` shows the marker.
fn until_shown(at: SocketAddr, value: &str) -> Result<()> {
    let deadline = Instant::now() + LEVEL_WITHIN;
    let mut connection = None;
    loop {
        ensure!(Instant::now() < deadline, "{at} did not have everything within {LEVEL_WITHIN:?}");
        if connection.is_none() {
            connection = Connection::connect(at, &Handshake::default()).ok().map(|it| it.0);
        }
        let reply = connection.as_mut().map(|it| it.call(&get_data(MARKER, false)));
        match reply {
            Some(Ok(reply)) if reply.err == 0 => {
                let (data, _) = reply.data_and_stat()?;
                if data.as_deref() == Some(value.as_bytes()) {
                    return Ok(());
                }
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => connection = None,
        }
        sleep(Duration::from_millis(5));
    }
}

/// Waits until `observer` has what was written through `voter` by now.
fn set_level(voter: SocketAddr, observer: SocketAddr) -> Result<()> {
    until_shown(observer, &mark(voter)?)
}

/// The same of all of these.
fn until_level(ensemble: &Ensemble, observers: &[SocketAddr]) -> Result<()> {
    let value = mark(ensemble.address(1))?;
    observers.iter().try_for_each(|&observer| until_shown(observer, &value))
}
