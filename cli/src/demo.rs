//! `farwatch demo`: an ensemble on this machine, to look at and to break.
//!
//! ```text
//! demo ─► child 1 … N: farwatch serve --config DIR/server-N/zoo.cfg --stop-with-stdin
//!   │        ▲ a pipe each, whose end stops the child however the demo ends
//!   ├─ looks at each with `quor` ─► one line for each change, with sites a table as well
//!   ├─ with sites, a wire to each ─► delay, cuts, bytes; sessions that read there
//!   └─ k 2, f 1, w 3, x 1 … from standard input
//! ```

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use farwatch_observer::report::EnsembleReport;

use crate::signals::StopSignals;
use crate::status::{self, StatusArgs};

mod child;
mod command;
mod ensemble;
mod face;
mod pulse;
mod site;
mod table;
mod watch;
pub mod wire;

use self::child::Condition;
use self::command::Command;
use self::ensemble::{Ensemble, Plan};
use self::face::Face;
use self::pulse::Pulse;
use self::site::{Mark, Site, missed};
use self::table::{Group, Row, bytes, seconds};
use self::watch::Seen;

/// Runs an ensemble on this machine until it is told to stop: see who leads, kill, freeze or wipe any
/// server, and watch what happens. With sites, observers far away, whose way can be cut.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// How many voters, 1 to 7.
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=7))]
    pub voters: u32,

    /// How many sites far away, up to 9, each with observers that serve reads there.
    #[arg(long, value_name = "N", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=9))]
    pub sites: u32,

    /// How long the way to each site and back takes, such as 80ms or 1s.
    #[arg(long, value_name = "TIME", default_value = "80ms", value_parser = time)]
    pub rtt: Duration,

    /// How many observers each site has, 1 to 5. All but the first learn from the first while it
    /// serves.
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=5))]
    pub observers_per_site: u32,

    /// Where their data is kept. Without it, in a temporary directory that goes with the demo.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Ends by itself after so many seconds; with 1 if nobody leads then.
    #[arg(long = "for", value_name = "SECONDS")]
    pub seconds: Option<u64>,

    /// Only says how to connect, and what went wrong.
    #[arg(long)]
    pub quiet: bool,
}

/// Between two looks at the servers: a change is seen soon, and a look costs next to nothing.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long the first election may take before the demo says what is known.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Why a demo cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file or directory.
    #[error(
        "{path} cannot be used ({cause}): name another directory with --data-dir",
        path = path.display()
    )]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A process or a port.
    #[error("the servers cannot be run: {0}")]
    System(#[from] io::Error),
    /// A server that does not even start.
    #[error(
        "server {server} ended before anybody led ({status}). Its last words, from {log}:\n{words}",
        log = log.display()
    )]
    Ended {
        /// Which.
        server: u32,
        /// How.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The end of it.
        words: String,
    },
}

/// What the demo waits for.
enum Event {
    Line(String),
    Stop,
}

/// Runs the demo; whether somebody led at its end.
pub fn run(args: &DemoArgs, signals: StopSignals) -> Result<bool, DemoError> {
    let (events, inbox) = mpsc::channel();
    let stop = events.clone();
    signals.on_stop(move |_signal| {
        let _ended_already = stop.send(Event::Stop);
    })?;
    let plan = Plan {
        voters: args.voters,
        sites: args.sites,
        observers_per_site: args.observers_per_site,
        rtt: args.rtt,
    };
    let begun = Instant::now();
    let ensemble = Ensemble::start(&plan, args.data_dir.as_deref())?;
    read_commands(events)?;
    let out = io::stdout();
    let on_a_screen = 0 < args.sites && !args.quiet && out.is_terminal();
    let mut demo = Demo {
        ensemble,
        seen: BTreeMap::new(),
        reports: BTreeMap::new(),
        pulse: None,
        face: Face::new(out.lock(), on_a_screen),
        begun,
        quiet: args.quiet,
        introduced: false,
        complained: false,
    };
    let ends = args.seconds.map(|seconds| demo.begun + Duration::from_secs(seconds));
    let led = demo.watch(&inbox, ends);
    demo.pulse = None;
    demo.ensemble.stop();
    led
}

/// `80ms` or `1s`, up to ten seconds.
fn time(text: &str) -> Result<Duration, String> {
    let parsed = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => number.trim().parse().ok().map(Duration::from_millis),
        (None, Some(number)) => number.trim().parse().ok().map(Duration::from_secs),
        (None, None) => None,
    };
    let in_range = parsed.filter(|time| *time <= Duration::from_secs(10));
    in_range.ok_or_else(|| "write it like 80ms or 1s, at most 10s".to_owned())
}

/// Hands over what is written on standard input, line by line, until it ends.
fn read_commands(events: Sender<Event>) -> io::Result<()> {
    let reader = thread::Builder::new().name("stdin".to_owned());
    reader.spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if events.send(Event::Line(line)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

struct Demo<W> {
    ensemble: Ensemble,
    /// What the last look found.
    seen: BTreeMap<u32, Seen>,
    /// The last report of each server.
    reports: BTreeMap<u32, EnsembleReport>,
    /// With sites, once all servers serve.
    pulse: Option<Pulse>,
    face: Face<W>,
    begun: Instant,
    quiet: bool,
    /// Whether it was said how to connect.
    introduced: bool,
    /// Whether it was said that nobody leads.
    complained: bool,
}

impl<W: Write> Demo<W> {
    /// Looks, tells and obeys until it is over; whether somebody led then.
    fn watch(&mut self, inbox: &Receiver<Event>, ends: Option<Instant>) -> Result<bool, DemoError> {
        loop {
            self.look()?;
            if ends.is_some_and(|ends| ends <= Instant::now()) {
                return Ok(watch::leader(&self.seen).is_some());
            }
            let line = match inbox.recv_timeout(LOOK_EVERY) {
                Ok(Event::Line(line)) => line,
                Err(RecvTimeoutError::Timeout) => continue,
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(true),
            };
            self.face.entered()?;
            let sites = self.ensemble.sites().len() as u32;
            match Command::parse(&line, self.ensemble.len(), sites) {
                Ok(None) => {}
                Ok(Some(Command::Quit)) => return Ok(true),
                Ok(Some(command)) => self.obey(command)?,
                Err(why) => self.face.say(&why)?,
            }
        }
    }

    fn look(&mut self) -> Result<(), DemoError> {
        for (server, status) in self.ensemble.reap()? {
            let log = self.ensemble.server(server).log();
            if !self.introduced {
                let words = self.ensemble.server(server).last_words();
                return Err(DemoError::Ended { server, status, log, words });
            }
            let log = log.display();
            self.say(&format!("server {server} ended by itself ({status}): see {log}"))?;
        }
        let looked = self.ensemble.look();
        let reports =
            looked.iter().filter_map(|(number, (_, report))| Some((*number, report.clone()?)));
        self.reports.extend(reports);
        let drawn: BTreeMap<u32, u32> =
            self.reports.iter().map(|(number, report)| (report.me, *number)).collect();
        let own = |other: u32| drawn.get(&other).copied().unwrap_or(other);
        let now: BTreeMap<u32, Seen> =
            looked.into_iter().map(|(number, (seen, _))| (number, seen.renumbered(own))).collect();
        self.ensemble.start_behind(&now)?;
        if !self.quiet {
            for line in watch::changes(&self.seen, &now) {
                self.say(&line)?;
            }
        }
        self.seen = now;
        if watch::is_whole(&self.seen) && !self.introduced {
            self.introduced = true;
            self.begin_pulse()?;
            self.introduce()?;
        }
        if !self.introduced && !self.complained && READY_WITHIN < self.begun.elapsed() {
            self.complained = true;
            self.say("not all servers serve yet; this is what they say:")?;
            self.status()?;
        }
        self.look_at_sites()?;
        self.face.flush()?;
        Ok(())
    }

    /// Says which sites are level again, and shows the table.
    fn look_at_sites(&mut self) -> io::Result<()> {
        for number in 1..=self.ensemble.sites().len() as u32 {
            let mark = self.mark(number);
            if let Some(line) = self.ensemble.site_mut(number).level(mark) {
                self.say(&line)?;
            }
        }
        if self.introduced && !self.quiet && !self.ensemble.sites().is_empty() {
            let groups = self.groups();
            self.face.show(false, || table::lines(&groups))?;
        }
        Ok(())
    }

    fn obey(&mut self, command: Command) -> Result<(), DemoError> {
        let was = |demo: &mut Self, number| demo.ensemble.server(number).condition();
        match command {
            Command::Kill(number) => {
                self.ensemble.server_mut(number).kill()?;
                self.tell_if_too_few(None)?;
            }
            Command::Freeze(number) => match was(self, number) {
                Condition::Running => {
                    self.ensemble.server_mut(number).freeze()?;
                    self.tell_if_too_few(None)?;
                }
                Condition::Frozen | Condition::Stopped => {
                    self.face.say(&format!("server {number} does not run"))?;
                }
            },
            Command::Continue(number) => match was(self, number) {
                Condition::Frozen => self.ensemble.server_mut(number).thaw()?,
                Condition::Running | Condition::Stopped => {
                    let text =
                        format!("server {number} is not frozen: `r {number}` starts a dead one");
                    self.face.say(&text)?;
                }
            },
            Command::Restart(number) => {
                self.seen.insert(number, Seen::Down); // it is, if only for a moment
                self.ensemble.server_mut(number).kill()?;
                self.ensemble.server_mut(number).start()?;
            }
            Command::Wipe(number) => {
                self.seen.insert(number, Seen::Down);
                self.ensemble.wipe(number)?;
                self.tell_if_too_few(Some(number))?;
            }
            Command::Cut(site) | Command::Heal(site) => {
                let mark = self.mark(site);
                let site = self.ensemble.site_mut(site);
                let heals = matches!(command, Command::Heal(_));
                let line = if heals { site.heal(mark) } else { site.cut(mark) };
                self.say(&line)?;
            }
            Command::Status => self.status()?,
            Command::Help => self.help()?,
            Command::Quit => {}
        }
        Ok(())
    }

    fn tell_if_too_few(&mut self, wiped: Option<u32>) -> io::Result<()> {
        let voters = self.ensemble.voters().map(|server| (server.number(), server.condition()));
        let voters: Vec<_> = voters.collect();
        let wiped = wiped.filter(|_| 1 < voters.len()); // a voter alone begins anew
        watch::too_few(&voters, wiped).map_or(Ok(()), |line| self.say(&line))
    }

    /// How a site and the leader are now.
    fn mark(&self, site: u32) -> Mark {
        let site = &self.ensemble.sites()[site as usize - 1];
        let readings = site.servers.iter().filter_map(|&it| Some(self.pulse.as_ref()?.reading(it)));
        let reads = readings
            .fold((0, 0), |(answered, failed), one| (answered + one.answered, failed + one.failed));
        let applied =
            site.servers.iter().filter_map(|it| self.reports.get(it)).map(|it| it.applied);
        Mark {
            at: Instant::now(),
            carried: site.carried(),
            reads,
            leader: self.committed().unwrap_or(0),
            site: applied.min().unwrap_or(0),
        }
    }

    /// What the leader had committed at the last look.
    fn committed(&self) -> Option<u64> {
        let (leader, _) = watch::leader(&self.seen)?;
        self.reports.get(&leader).map(|report| report.committed)
    }

    fn groups(&self) -> Vec<Group> {
        let voters = Group {
            title: "voters".to_owned(),
            rows: self.ensemble.voters().map(|server| self.row(server.number())).collect(),
        };
        let sites = self.ensemble.sites().iter().map(|site| Group {
            title: title(site),
            rows: site.servers.iter().map(|&number| self.row(number)).collect(),
        });
        [voters].into_iter().chain(sites).collect()
    }

    fn row(&self, number: u32) -> Row {
        let server = self.ensemble.server(number);
        let zxid = self.reports.get(&number).map(|report| report.applied);
        let behind = zxid.zip(self.committed()).map(|(own, leader)| missed(own, leader));
        let reads = self.pulse.as_ref().filter(|_| !server.votes()).map(|pulse| {
            let reading = pulse.reading(number);
            (pulse.age(&reading), reading.took, reading.answered, reading.failed)
        });
        Row {
            number,
            place: server.client().to_string(),
            role: self.seen.get(&number).map_or_else(String::new, ToString::to_string),
            zxid,
            behind: behind.unwrap_or_default(),
            reads,
        }
    }

    fn begin_pulse(&mut self) -> io::Result<()> {
        if self.ensemble.sites().is_empty() {
            return Ok(());
        }
        let voters = hosts(self.ensemble.voters().map(child::Server::client));
        let observers: Vec<(u32, SocketAddr)> =
            self.ensemble.observers().map(|it| (it.number(), it.client())).collect();
        self.pulse = Some(Pulse::start(&voters, &observers)?);
        Ok(())
    }

    /// What `farwatch status` says.
    fn status(&mut self) -> io::Result<()> {
        let servers = self.ensemble.clients().iter().map(ToString::to_string).collect();
        let mut said = Vec::new();
        status::run(&StatusArgs { servers, json: false, timeout: 1 }, &mut said)?;
        self.face.say(String::from_utf8_lossy(&said).trim_end())
    }

    fn help(&mut self) -> io::Result<()> {
        self.face.say(&command::help(self.ensemble.sites().len() as u32))
    }

    /// How to connect, and what can be done.
    fn introduce(&mut self) -> io::Result<()> {
        let voters = hosts(self.ensemble.voters().map(child::Server::client));
        let count = self.ensemble.voters().count();
        let leader = watch::leader(&self.seen).map_or(0, |(leader, _)| leader);
        let word = if count == 1 { "voter" } else { "voters" };
        self.face.say(&format!("server {leader} leads {count} {word}. Connect to {voters}"))?;
        let sites = self.ensemble.sites().iter();
        let sites: Vec<String> = (sites.clone())
            .map(|site| {
                let places = site.servers.iter().map(|&it| self.ensemble.server(it).client());
                let (number, rtt) = (site.number, site.rtt.as_millis());
                format!("site {number} is {rtt} ms away. Connect to {}", hosts(places))
            })
            .collect();
        sites.iter().try_for_each(|line| self.face.say(line))?;
        if self.quiet {
            return Ok(());
        }
        let near = match self.ensemble.observers().next() {
            Some(observer) => observer.client().to_string(),
            None => voters,
        };
        let folder = self.ensemble.folder().display();
        let upstreams = hosts(self.ensemble.upstreams().iter().copied());
        self.face.say(&format!(
            "\n  farwatch shell --server {near}\n  farwatch status {near}\n  \
             zkCli.sh -server {near}\n  KazooClient(hosts=\"{near}\")\n  \
             farwatch serve --observe {upstreams} --listen 2182\n\n\
             Configurations, data and logs are in {folder}"
        ))?;
        if io::stdin().is_terminal() {
            self.help()?;
        }
        if !sites.is_empty() {
            self.face.say(
                "A session writes the time through the voters ten times a second, and one reads it \
                 at each\nobserver. Cut the way to site 1 with `x 1`: its reads go on, and show \
                 older and older times.\nHeal it with `h 1`: what it missed crosses, and no more.",
            )?;
        }
        Ok(())
    }

    /// A line with the time since the start.
    fn say(&mut self, line: &str) -> io::Result<()> {
        self.face.say(&format!("{:8.1} s  {line}", self.begun.elapsed().as_secs_f64()))
    }
}

/// What is said of a way, above the servers at its end.
fn title(site: &Site) -> String {
    let carried = site.carried();
    let way = match site.cut_since() {
        None => "open".to_owned(),
        Some(since) => format!("CUT for {}", seconds(since.elapsed())),
    };
    let (number, rtt) = (site.number, site.rtt.as_millis());
    let (down, up) = (bytes(carried.down), bytes(carried.up));
    format!("site {number}, {rtt} ms away: {way}; {down} there, {up} back")
}

fn hosts(clients: impl Iterator<Item = SocketAddr>) -> String {
    clients.map(|client| client.to_string()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::time;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(time("80ms"), Ok(Duration::from_millis(80)));
        assert_eq!(time("1s"), Ok(Duration::from_secs(1)));
        for wrong in ["80", "ms", "-1ms", "11s", "1m"] {
            assert!(time(wrong).unwrap_err().contains("80ms"), "{wrong}");
        }
    }
}
