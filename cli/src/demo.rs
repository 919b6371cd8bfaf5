//! `farwatch demo`: an ensemble on this machine, to look at and to break.
//!
//! ```text
//! demo ─► child 1 … N: farwatch serve --config DIR/server-N/zoo.cfg --stop-with-stdin
//!   │        ▲ a pipe each, whose end stops the child however the demo ends
//!   ├─ looks at each with `quor` ─► one line for each change
//!   └─ k 2, f 1, w 3 … from standard input
//! ```

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::signals::StopSignals;
use crate::status::{self, StatusArgs};

mod child;
mod command;
mod ensemble;
mod watch;
pub mod wire;

use self::child::Condition;
use self::command::Command;
use self::ensemble::Ensemble;
use self::watch::Seen;

/// Runs an ensemble of voters on this machine until it is told to stop: see who leads, kill, freeze
/// or wipe any of them, and watch what happens.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// How many voters, 1 to 7.
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=7))]
    pub voters: u32,

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
    let ensemble = Ensemble::start(args.voters, args.data_dir.as_deref())?;
    read_commands(events)?;
    let mut demo = Demo {
        ensemble,
        seen: BTreeMap::new(),
        begun: Instant::now(),
        quiet: args.quiet,
        introduced: false,
        complained: false,
    };
    let ends = args.seconds.map(|seconds| demo.begun + Duration::from_secs(seconds));
    let led = demo.watch(&inbox, ends, &mut io::stdout().lock());
    demo.ensemble.stop();
    led
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

struct Demo {
    ensemble: Ensemble,
    /// What the last look found.
    seen: BTreeMap<u32, Seen>,
    begun: Instant,
    quiet: bool,
    /// Whether it was said how to connect.
    introduced: bool,
    /// Whether it was said that nobody leads.
    complained: bool,
}

impl Demo {
    /// Looks, tells and obeys until it is over; whether somebody led then.
    fn watch(
        &mut self,
        inbox: &Receiver<Event>,
        ends: Option<Instant>,
        out: &mut impl Write,
    ) -> Result<bool, DemoError> {
        loop {
            self.look(out)?;
            if ends.is_some_and(|ends| ends <= Instant::now()) {
                return Ok(watch::leader(&self.seen).is_some());
            }
            let line = match inbox.recv_timeout(LOOK_EVERY) {
                Ok(Event::Line(line)) => line,
                Err(RecvTimeoutError::Timeout) => continue,
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(true),
            };
            match Command::parse(&line, self.ensemble.len()) {
                Ok(None) => {}
                Ok(Some(Command::Quit)) => return Ok(true),
                Ok(Some(command)) => self.obey(command, out)?,
                Err(why) => writeln!(out, "{why}")?,
            }
        }
    }

    fn look(&mut self, out: &mut impl Write) -> Result<(), DemoError> {
        for (server, status) in self.ensemble.reap()? {
            let log = self.ensemble.server(server).log();
            if !self.introduced {
                let words = self.ensemble.server(server).last_words();
                return Err(DemoError::Ended { server, status, log, words });
            }
            let log = log.display();
            self.say(out, &format!("server {server} ended by itself ({status}): see {log}"))?;
        }
        let now = self.ensemble.look();
        if !self.quiet {
            for line in watch::changes(&self.seen, &now) {
                self.say(out, &line)?;
            }
        }
        self.seen = now;
        if watch::is_whole(&self.seen) && !self.introduced {
            self.introduced = true;
            self.introduce(out)?;
        }
        if !self.introduced && !self.complained && READY_WITHIN < self.begun.elapsed() {
            self.complained = true;
            self.say(out, "not all voters serve yet; this is what they say:")?;
            self.status(out)?;
        }
        out.flush()?;
        Ok(())
    }

    fn obey(&mut self, command: Command, out: &mut impl Write) -> Result<(), DemoError> {
        let was = |demo: &mut Self, number| demo.ensemble.server(number).condition();
        match command {
            Command::Kill(number) => self.ensemble.server_mut(number).kill()?,
            Command::Freeze(number) => match was(self, number) {
                Condition::Running => self.ensemble.server_mut(number).freeze()?,
                Condition::Frozen | Condition::Stopped => {
                    writeln!(out, "server {number} does not run")?;
                }
            },
            Command::Continue(number) => match was(self, number) {
                Condition::Frozen => self.ensemble.server_mut(number).thaw()?,
                Condition::Running | Condition::Stopped => {
                    writeln!(out, "server {number} is not frozen: `r {number}` starts a dead one")?;
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
            }
            Command::Status => self.status(out)?,
            Command::Help => writeln!(out, "{}", command::HELP)?,
            Command::Quit => {}
        }
        Ok(())
    }

    /// What `farwatch status` says.
    fn status(&self, out: &mut impl Write) -> io::Result<()> {
        let servers = self.ensemble.clients().iter().map(ToString::to_string).collect();
        status::run(&StatusArgs { servers, json: false, timeout: 1 }, out).map(|_all_serve| ())
    }

    /// How to connect, and what can be done.
    fn introduce(&self, out: &mut impl Write) -> io::Result<()> {
        let clients: Vec<String> =
            self.ensemble.clients().iter().map(ToString::to_string).collect();
        let hosts = clients.join(",");
        let leader = watch::leader(&self.seen).map_or(0, |(leader, _)| leader);
        let voters = if clients.len() == 1 { "voter" } else { "voters" };
        writeln!(out, "server {leader} leads {} {voters}. Connect to {hosts}", clients.len())?;
        if self.quiet {
            return Ok(());
        }
        let folder = self.ensemble.folder().display();
        writeln!(
            out,
            "\n  farwatch shell --server {hosts}\n  farwatch status {hosts}\n  \
             zkCli.sh -server {hosts}\n  KazooClient(hosts=\"{hosts}\")\n\n\
             Configurations, data and logs are in {folder}"
        )?;
        if io::stdin().is_terminal() {
            writeln!(out, "{}", command::HELP)?;
        }
        Ok(())
    }

    /// A line with the time since the start.
    fn say(&self, out: &mut impl Write, line: &str) -> io::Result<()> {
        writeln!(out, "{:8.1} s  {line}", self.begun.elapsed().as_secs_f64())
    }
}
