//! `farwatch bench`: what servers of one's own bear. The load generator is that of `farwatch-bench`, which
//! compares servers; this one asks those that run already, and removes what it made.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use clap::Args;
use farwatch_bench::load::{Kind, Load, Nodes, Slice, Workload};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::status;

/// Loads running servers with reads and writes over their client port, and tells the rates and latencies.
/// Also those of Apache ZooKeeper. Everything it makes is below one node and removed in the end, and its
/// sessions are ended.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Client addresses, each host:port; a missing port is 2181. Connections are spread over them.
    #[arg(value_name = "HOST[:PORT]", default_value = "127.0.0.1:2181", value_delimiter = ',')]
    pub servers: Vec<String>,

    /// How many of a hundred requests are getData; the others are setData.
    #[arg(long, value_name = "PERCENT", default_value_t = 90)]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    pub reads: u8,

    /// Creates nodes instead.
    #[arg(long, conflicts_with = "reads")]
    pub create: bool,

    /// Sessions, each with a connection. Servers take 60 from one machine unless they are told
    /// otherwise (maxClientCnxns).
    #[arg(long, value_name = "COUNT", default_value_t = 32)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub connections: u32,

    /// Requests that each session keeps under way.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub outstanding: u32,

    /// Asks so many times a second in all, whatever is still under way, and counts latency from when a
    /// request was due. Without it each session asks when an answer has come.
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "outstanding")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,

    /// Bytes of each value.
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub value_bytes: u32,

    /// Nodes that are read and set.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub nodes: u32,

    /// How many of a hundred reads leave a watch. The events of those that fire are counted.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, conflicts_with = "create")]
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
    pub watches: u8,

    /// Threads that ask.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=256))]
    pub threads: u32,

    /// How long to measure.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,

    /// How long to load before.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub warm_up: f64,

    /// The node below which everything happens; it is made if it does not exist, and then removed too
    /// unless somebody else has put something below it.
    #[arg(long, value_name = "PATH", default_value = "/farwatch-bench", value_parser = node)]
    pub below: String,

    /// Leaves what it made.
    #[arg(long)]
    pub keep: bool,

    /// JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// How often the line with the present rate is drawn.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// How long a server may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is told of latencies.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("longest", 1.0)];

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _other => Err("expected seconds, a day at most".to_owned()),
    }
}

fn node(text: &str) -> Result<String, String> {
    if text.len() > 1 && text.starts_with('/') && !text.ends_with('/') {
        Ok(text.to_owned())
    } else {
        Err("expected the path of a node other than /".to_owned())
    }
}

impl BenchArgs {
    fn workload(&self) -> Workload {
        let kind = match (self.create, self.reads) {
            (true, _) => Kind::Create,
            (false, 100) => Kind::Get,
            (false, 0) => Kind::Set,
            (false, read_percent) => Kind::Mix { read_percent },
        };
        Workload {
            kind,
            connections: self.connections as usize,
            outstanding: self.outstanding as usize,
            value_bytes: self.value_bytes as usize,
            keys: if self.create { 0 } else { self.nodes as usize },
            watch_percent: self.watches,
            threads: self.threads as usize,
            rate: self.rate.map(f64::from),
        }
    }

    /// The first address of each server that takes a connection.
    fn addresses(&self) -> anyhow::Result<Vec<SocketAddr>> {
        let one = |server: &String| {
            let found =
                status::addresses(server).with_context(|| format!("{server} has no address"))?;
            let takes =
                |address: &&SocketAddr| TcpStream::connect_timeout(address, PATIENCE).is_ok();
            let taking = found.iter().find(takes).copied();
            taking.with_context(|| format!("{server} takes no connection"))
        };
        self.servers.iter().map(one).collect()
    }

    fn described(&self) -> String {
        let asked = match (self.create, self.reads) {
            (true, _) => "create".to_owned(),
            (false, 100) => "getData".to_owned(),
            (false, 0) => "setData".to_owned(),
            (false, reads) => format!("{reads} % getData, {} % setData", 100 - reads),
        };
        let pace = match self.rate {
            Some(rate) => format!("{rate} due each second"),
            None => format!("{} under way on each", self.outstanding),
        };
        let watched = match self.watches {
            0 => String::new(),
            watches => format!(", {watches} % of reads leave a watch"),
        };
        let (servers, connections) = (self.servers.join(","), self.connections);
        format!(
            "{servers}: {asked} of {} bytes{watched}, {connections} connections, {pace}",
            self.value_bytes
        )
    }
}

/// Measures, and prints what was found to `out`.
///
/// # Errors
/// A server that cannot be reached, refuses a session, or answers a request with an error.
pub fn run(args: &BenchArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let addresses = args.addresses()?;
    let workload = args.workload();
    // Of its own, so that two who measure at once do not remove each other's nodes.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let root = format!("{}/{:x}", args.below, since.as_nanos());
    let own = Load::missing(addresses[0], &args.below)?;
    let measured = measure(args, &addresses, &workload, &root);
    if args.keep {
        writeln!(io::stderr(), "left: {root}")?;
    } else {
        let cleaned =
            Load::clean(addresses[0], &root).and_then(|()| Load::remove_empty(addresses[0], &own));
        if measured.is_ok() {
            cleaned?;
        }
    }
    let slice = measured?;
    let text =
        if args.json { json_of(args, &slice).to_string() + "\n" } else { table(args, &slice) };
    out.write_all(text.as_bytes())?;
    Ok(())
}

fn measure(
    args: &BenchArgs,
    addresses: &[SocketAddr],
    workload: &Workload,
    root: &str,
) -> anyhow::Result<Slice> {
    let bar = ProgressBar::new(100); // draws nothing where stderr is no terminal
    bar.set_style(ProgressStyle::with_template("{msg:24} {bar:40} {elapsed}")?);
    bar.set_message(format!("making {} nodes", workload.keys));
    bar.tick();
    let mut load = Load::open(addresses, workload, Nodes::Below(root))?;
    let measured = stretches(args, &mut load, &bar);
    // Also of a load that failed, as far as that goes.
    let closed = load.close();
    let slice = measured?;
    closed?;
    bar.finish_and_clear();
    ensure!(slice.operations > 0, "nothing was answered within {} s", args.seconds);
    Ok(slice)
}

/// Warms up, and measures.
fn stretches(args: &BenchArgs, load: &mut Load, bar: &ProgressBar) -> anyhow::Result<Slice> {
    let mut run = |seconds: f64, what: &str| {
        let duration = Duration::from_secs_f64(seconds);
        let (mut before, mut since) = (0, Duration::ZERO);
        load.run_watched(duration, PROGRESS_EVERY, |elapsed, answered| {
            let rate = (answered - before) as f64 / (elapsed - since).as_secs_f64().max(1e-9);
            (before, since) = (answered, elapsed);
            bar.set_message(format!("{what}: {rate:.0}/s"));
            bar.set_position((100.0 * elapsed.as_secs_f64() / seconds).min(100.0) as u64);
        })
    };
    if args.warm_up > 0.0 {
        run(args.warm_up, "warming up")?;
    }
    run(args.seconds, "measuring")
}

fn kinds(slice: &Slice) -> impl Iterator<Item = (&'static str, &Histogram<u64>)> {
    let kinds = [("reads", &slice.reads), ("writes", &slice.writes)];
    kinds.into_iter().filter(|(_, histogram)| !histogram.is_empty())
}

fn micros(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}

fn table(args: &BenchArgs, slice: &Slice) -> String {
    let seconds = slice.elapsed.as_secs_f64();
    let mut text = format!("{}\n{:<8}{:>12}", args.described(), "", "per second");
    for (name, _) in QUANTILES {
        write!(text, "{:>13}", format!("{name} ms")).expect("a String");
    }
    text.push('\n');
    for (name, histogram) in kinds(slice) {
        write!(text, "{name:<8}{:>12.0}", histogram.len() as f64 / seconds).expect("a String");
        for (_, quantile) in QUANTILES {
            write!(text, "{:>13.3}", micros(histogram, quantile) / 1e3).expect("a String");
        }
        text.push('\n');
    }
    if args.watches > 0 {
        writeln!(text, "{:<8}{:>12.0}", "events", slice.events as f64 / seconds).expect("a String");
    }
    text
}

fn json_of(args: &BenchArgs, slice: &Slice) -> Value {
    let seconds = slice.elapsed.as_secs_f64();
    let mut found = json!({
        "load": args.described(),
        "seconds": seconds,
        "per_second": slice.operations as f64 / seconds,
    });
    if args.watches > 0 {
        found["events_per_second"] = json!(slice.events as f64 / seconds);
    }
    for (name, histogram) in kinds(slice) {
        let quantiles = QUANTILES
            .iter()
            .map(|(name, quantile)| (format!("{name}_us"), json!(micros(histogram, *quantile))));
        let mut of_kind: serde_json::Map<String, Value> = quantiles.collect();
        of_kind.insert("per_second".to_owned(), json!(histogram.len() as f64 / seconds));
        found[name] = Value::Object(of_kind);
    }
    found
}
