//! `farwatch status`: what servers do, and in plain words why one does not serve.
//!
//! It asks with four-letter words, so it also tells about servers of Apache ZooKeeper.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use clap::Args;
use farwatch_observer::four_letter::{Word, ensemble, not_serving, refusal};
use farwatch_observer::report::EnsembleReport;
use serde_json::{Value, json};

pub mod explain;

use self::explain::span;

/// Shows role, zxid, sessions and latency of servers, who is in the quorum and who is missing, and
/// why one does not serve. Exits with 1 when any does not.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// Client addresses, each host:port; a missing port is 2181.
    #[arg(value_name = "HOST[:PORT]", default_value = "127.0.0.1:2181", value_delimiter = ',')]
    pub servers: Vec<String>,

    /// JSON instead of a table.
    #[arg(long)]
    pub json: bool,

    /// Seconds to wait for each answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,
}

/// Longest answer that is read, bytes. `mntr` of a large server is about a tenth of it.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Why a server does not serve, or why that cannot be told.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Trouble {
    NoAddress(String),
    Refused,
    NoConnection(String),
    NoAnswer,
    Closed,
    NotListed,
    NotServing,
    /// An observer that never had a way to a leader.
    NoUpstream,
    /// It serves `to`, from what it had so many milliseconds ago.
    CutOff {
        to: &'static str,
        stale_ms: u64,
    },
    Unexpected(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAddress(error) => return write!(f, "the name has no address ({error})"),
            Self::Refused => "connection refused: no server runs there, or it has another port",
            Self::NoConnection(error) => {
                return write!(f, "no connection ({error}): host down, or firewall closed");
            }
            Self::NoAnswer => "it accepts connections and does not answer: it hangs, or speaks TLS",
            Self::Closed => {
                "it closes connections without an answer: maxClientCnxns is reached, or the port is \
                 no client port"
            }
            Self::NotListed => {
                "it runs, but `srvr` is not in its whitelist: add it to 4lw.commands.whitelist"
            }
            Self::NotServing => {
                "it runs, but has no leader: a majority of the voters must run and reach each other"
            }
            Self::NoUpstream => {
                "it is an observer and has no leader: one of its upstreams must be reached, and be with one"
            }
            Self::CutOff { to, stale_ms } => {
                let age = span(*stale_ms);
                return write!(f, "it has no leader: {to} read what it had {age} ago, nobody writes");
            }
            Self::Unexpected(answer) => return write!(f, "it answers `{answer}`: no client port?"),
        })
    }
}

/// What one server says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Report {
    server: String,
    trouble: Option<Trouble>,
    version: Option<String>,
    role: Option<String>,
    zxid: Option<String>,
    connections: Option<u64>,
    outstanding: Option<u64>,
    nodes: Option<u64>,
    stale_ms: Option<u64>,
    latency_ms: Option<String>,
    sessions: Option<u64>,
    read_only: Option<bool>,
    alive: Option<bool>,
    ensemble: Option<EnsembleReport>,
    /// Why `ensemble` is not known, where that can be mended.
    ensemble_reason: Option<&'static str>,
}

/// Of a server that may not say what it knows of its ensemble.
const NO_QUOR: &str = "`quor` is not in the whitelist: what it knows of its ensemble is not shown; add it to \
                       4lw.commands.whitelist";

/// Asks all servers at once and prints what they say. Whether all of them serve.
pub fn run(args: &StatusArgs, out: &mut impl Write) -> io::Result<bool> {
    let timeout = Duration::from_secs(args.timeout);
    let reports: Vec<Report> = thread::scope(|scope| {
        let servers = args.servers.iter();
        let asking: Vec<_> =
            servers.map(|server| scope.spawn(move || ask(server, timeout))).collect();
        asking.into_iter().map(|one| one.join().expect("asking never panics")).collect()
    });
    if args.json {
        let reports: Vec<Value> = reports.iter().map(Report::json).collect();
        writeln!(out, "{:#}", Value::Array(reports))?;
    } else {
        table(&reports, out)?;
        for report in &reports {
            if let Some(reason) = report.ensemble_reason {
                writeln!(out, "{}: {reason}", report.server)?;
            }
        }
        let ensemble: Vec<_> = reports.iter().filter_map(|one| one.ensemble.clone()).collect();
        for line in explain::explain(&ensemble) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(reports.iter().all(|report| report.trouble.is_none()))
}

impl Report {
    fn json(&self) -> Value {
        json!({
            "server": self.server,
            "serves": self.trouble.is_none(),
            "reason": self.trouble.as_ref().map(ToString::to_string),
            "version": self.version,
            "role": self.role,
            "zxid": self.zxid,
            "sessions": self.sessions,
            "connections": self.connections,
            "outstanding": self.outstanding,
            "nodes": self.nodes,
            "stale_ms": self.stale_ms,
            "latency_ms": self.latency_ms,
            "read_only": self.read_only,
            "alive": self.alive,
            "ensemble": self.ensemble,
            "ensemble_reason": self.ensemble_reason,
        })
    }

    /// Takes what `srvr` says.
    fn take_srvr(&mut self, text: &str) {
        for line in text.lines() {
            let Some((key, value)) = line.split_once(": ") else { continue };
            let number = || value.parse().ok();
            match key {
                "Zookeeper version" => self.version = Some(value.to_owned()),
                "Latency min/avg/max" => self.latency_ms = Some(value.to_owned()),
                "Connections" => self.connections = number(),
                "Outstanding" => self.outstanding = number(),
                "Zxid" => self.zxid = Some(value.to_owned()),
                "Mode" => self.role = Some(value.to_owned()),
                "Node count" => self.nodes = number(),
                "Staleness ms" => self.stale_ms = number(),
                _ => {}
            }
        }
    }

    /// Takes what `mntr` says, where it is allowed.
    fn take_mntr(&mut self, text: &str) {
        let value = |key: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('\t'))?;
            line.parse().ok()
        };
        let (global, local) = (value("zk_global_sessions"), value("zk_local_sessions"));
        self.sessions = global.map(|global| global + local.unwrap_or(0));
    }
}

/// Asks one server everything that it answers.
fn ask(server: &str, timeout: Duration) -> Report {
    let mut report = Report { server: server.to_owned(), ..Report::default() };
    let addrs = match addresses(server) {
        Ok(addrs) => addrs,
        Err(error) => {
            report.trouble = Some(Trouble::NoAddress(error.to_string()));
            return report;
        }
    };
    match word(&addrs, Word::Srvr, timeout) {
        Ok(text) => report.take_srvr(&text),
        Err(trouble @ (Trouble::NotListed | Trouble::NotServing)) => report.trouble = Some(trouble),
        Err(trouble) => {
            // Nothing was learned, and the other words would only wait as long again.
            report.trouble = Some(trouble);
            return report;
        }
    }
    // ZooKeeper does not know the word and logs a fault: it is spared where it is known to be one.
    if report.version.as_ref().is_none_or(|version| version.contains("farwatch")) {
        match word(&addrs, Word::Quor, timeout) {
            Ok(text) => report.ensemble = ensemble::parse(&text),
            Err(Trouble::NotListed) => report.ensemble_reason = Some(NO_QUOR),
            Err(_the_others_say_why) => {}
        }
    }
    if let (None, Some(ensemble)) = (&report.role, &report.ensemble) {
        report.role = Some(ensemble.role.clone());
    }
    if let Some(ensemble) = &report.ensemble {
        report.stale_ms = Some(ensemble.stale_ms);
        let to = match ensemble.serves.as_str() {
            "reads" => Some("its connections"),
            "readers" => Some("those who ask for a server that only reads"),
            _all_or_nobody => None,
        };
        report.trouble = match (report.trouble, to) {
            (None, Some(to)) => Some(Trouble::CutOff { to, stale_ms: ensemble.stale_ms }),
            (Some(Trouble::NotServing), _) if ensemble.observes => Some(Trouble::NoUpstream),
            (trouble, _) => trouble,
        };
    }
    report.alive = word(&addrs, Word::Ruok, timeout).ok().map(|text| text == "imok");
    if let Ok(text) = word(&addrs, Word::Mntr, timeout) {
        report.take_mntr(&text);
    }
    let mode = word(&addrs, Word::Isro, timeout).ok();
    report.read_only = mode.as_deref().and_then(|mode| match mode.trim_end() {
        "rw" => Some(false),
        "ro" => Some(true),
        _ => None,
    });
    if report.trouble == Some(Trouble::NotListed) && report.read_only.is_some() {
        report.trouble = None; // `isro` proves that it serves; only the details are unknown
    }
    if report.trouble.is_none() && report.role.is_none() && report.read_only.is_none() {
        report.trouble = Some(Trouble::Unexpected(String::new()));
    }
    report
}

/// In words, why a session cannot begin at `server`; `None` where it seems that it can.
pub(crate) fn why_not(server: &str, timeout: Duration) -> Option<String> {
    let trouble = ask(server, timeout).trouble?;
    let hint = match &trouble {
        Trouble::CutOff { .. } => " (`-r` accepts a server that only reads)",
        _other => "",
    };
    Some(format!("{server}: {trouble}{hint}"))
}

/// What the server at `addr` knows of its ensemble; `None` where it does not say within `timeout`.
pub fn ask_ensemble(addr: SocketAddr, timeout: Duration) -> Option<EnsembleReport> {
    ensemble::parse(&word(&[addr], Word::Quor, timeout).ok()?)
}

/// The addresses of `host[:port]`; an IPv6 address with a port needs brackets.
pub(crate) fn addresses(server: &str) -> io::Result<Vec<SocketAddr>> {
    const PORT: u16 = 2181;
    let bare = server.trim_start_matches('[').trim_end_matches(']');
    let found = match bare.parse::<std::net::IpAddr>() {
        Ok(ip) => return Ok(vec![SocketAddr::new(ip, PORT)]),
        Err(_) if server.contains(':') => server.to_socket_addrs()?.collect(),
        Err(_) => (server, PORT).to_socket_addrs()?.collect::<Vec<_>>(),
    };
    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
}

/// The answer to one word.
fn word(addrs: &[SocketAddr], word: Word, timeout: Duration) -> Result<String, Trouble> {
    let mut stream = connect(addrs, timeout)?;
    let late = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Trouble::NoAnswer,
        _ => Trouble::Closed,
    };
    stream.set_read_timeout(Some(timeout)).map_err(late)?;
    stream.set_write_timeout(Some(timeout)).map_err(late)?;
    stream.write_all(word.text().as_bytes()).map_err(late)?;
    let mut bytes = Vec::new();
    let read = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    match read {
        Err(error) if bytes.is_empty() => Err(late(error)),
        // Some servers reset the connection behind their answer: what came is the answer.
        Ok(_) | Err(_) if text.is_empty() => Err(Trouble::Closed),
        Ok(_) | Err(_) => judge(word, text),
    }
}

fn judge(word: Word, text: String) -> Result<String, Trouble> {
    if text == refusal(word) {
        return Err(Trouble::NotListed);
    }
    if not_serving(word).is_some_and(|answer| text == answer) {
        return Err(Trouble::NotServing);
    }
    if word == Word::Srvr && !text.starts_with("Zookeeper version: ") {
        let start: String = text.chars().take(40).filter(|c| !c.is_control()).collect();
        return Err(Trouble::Unexpected(start));
    }
    Ok(text)
}

fn connect(addrs: &[SocketAddr], timeout: Duration) -> Result<TcpStream, Trouble> {
    let mut trouble = Trouble::NoAddress("none was found".to_owned());
    for addr in addrs {
        match TcpStream::connect_timeout(addr, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                trouble = Trouble::Refused;
            }
            Err(error) => trouble = Trouble::NoConnection(error.to_string()),
        }
    }
    Err(trouble)
}

fn table(reports: &[Report], out: &mut impl Write) -> io::Result<()> {
    let head =
        ["SERVER", "ROLE", "ZXID", "STALE MS", "SESSIONS", "CONNECTIONS", "LATENCY MS MIN/AVG/MAX"];
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let row = |report: &Report| {
        let (role, zxid) = (shown(&report.role), shown(&report.zxid));
        let (sessions, connections) = (number(report.sessions), number(report.connections));
        let (stale, latency) = (number(report.stale_ms), shown(&report.latency_ms));
        [report.server.clone(), role, zxid, stale, sessions, connections, latency]
    };
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(reports.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    for report in reports {
        if let Some(trouble) = &report.trouble {
            let verb = match trouble {
                Trouble::CutOff { .. } => "serves reads only",
                _other => "does not serve",
            };
            writeln!(out, "{} {verb}: {trouble}", report.server)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
