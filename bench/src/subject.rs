//! Servers as child processes: Farwatch, Debian's ZooKeeper, and newer ZooKeeper releases.
//!
//! A subject has a directory of its own with `zoo.cfg`, `data/` and `server.log`, listens on the
//! loopback on a port that was free, and is gone, directory included, when it is dropped or when
//! the process that started it ends, however that happens.

mod ensemble;
mod options;
mod watchdog;
mod zookeeper;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub use ensemble::Ensemble;
pub use options::Options;
use watchdog::Watchdog;
pub use zookeeper::zookeeper_is_missing;

use crate::raw::four_letter_word_within;

/// Where the directories of subjects are made, when the environment says so. Put them on the disk
/// that is to be measured: a temporary directory in memory makes every log look fast.
pub const DIRECTORY_VARIABLE: &str = "FARWATCH_SUBJECT_DIR";

/// The `farwatch` that was built beside the running program or test: in its own directory, or in the
/// one above it, where cargo puts binaries that tests are built for.
pub fn built_binary() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let candidates =
        program.ancestors().skip(1).take(2).map(|directory| directory.join("farwatch"));
    candidates.into_iter().find(|path| path.is_file()).with_context(|| {
        format!(
            "there is no farwatch beside {}: `cargo build`, or `cargo test --workspace`, makes it",
            program.display()
        )
    })
}

/// How long a server may take from its start to its first answer; a cold JVM beside busy
/// neighbours needs many seconds.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The pause between two questions whether a starting server answers yet.
const READY_POLL: Duration = Duration::from_millis(20);

/// How long one such question waits. ZooKeeper sometimes never answers a connection that it accepted
/// while it was starting, so that the question must be asked again on another.
const PROBE_WITHIN: Duration = Duration::from_millis(500);

/// A free port can be taken by someone else before the server binds it: then another is tried.
const PORT_ATTEMPTS_MAX: u32 = 5;

/// Where servers listen.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// A running or stopped server.
#[derive(Debug)]
pub struct Subject {
    program: Program,
    options: Options,
    /// What only this server of an ensemble is told: empty for a server alone.
    membership: String,
    address: SocketAddr,
    running: Option<Running>,
    // Last: the directory outlives the process that writes into it.
    directory: TempDir,
}

#[derive(Debug)]
struct Running {
    child: Child,
    // Held for its drop only: it must be disarmed before the process id can be reused.
    _watchdog: Watchdog,
}

#[derive(Clone, Debug)]
enum Program {
    /// The class path.
    ZooKeeper(String),
    /// The `farwatch` binary.
    Farwatch(PathBuf),
}

impl Subject {
    /// Starts the ZooKeeper of Debian's package `zookeeper`.
    pub fn zookeeper(options: Options) -> Result<Self> {
        Self::start(Program::ZooKeeper(zookeeper::debian_class_path()?), options)
    }

    /// Starts the ZooKeeper release `version`, such as `3.9.4`, fetched once with Maven.
    pub fn zookeeper_jar(version: &str, options: Options) -> Result<Self> {
        Self::start(Program::ZooKeeper(zookeeper::released_class_path(version)?), options)
    }

    /// Starts `binary serve --config FILE`. A relative path is meant from where the caller is: the
    /// server itself starts in a directory of its own.
    pub fn farwatch(binary: impl Into<PathBuf>, options: Options) -> Result<Self> {
        let binary: PathBuf = binary.into();
        let binary =
            binary.canonicalize().with_context(|| format!("no server at {}", binary.display()))?;
        Self::start(Program::Farwatch(binary), options)
    }

    /// A server that is configured when it starts.
    fn stopped(program: Program, options: Options, address: SocketAddr) -> Result<Self> {
        let parent = subjects_directory()?;
        let directory = tempfile::Builder::new()
            .prefix("subject-")
            .tempdir_in(&parent)
            .with_context(|| format!("no directory for a server in {}", parent.display()))?;
        fs::create_dir(directory.path().join("data"))?;
        let membership = String::new();
        Ok(Self { program, options, membership, address, running: None, directory })
    }

    fn start(program: Program, options: Options) -> Result<Self> {
        let mut subject = Self::stopped(program, options, free_address()?)?;
        for attempt in 1.. {
            match subject.launch() {
                Ok(()) => break,
                Err(error) => {
                    if attempt == PORT_ATTEMPTS_MAX || !subject.log_names_a_taken_port() {
                        return Err(error);
                    }
                    subject.address = free_address()?;
                }
            }
        }
        Ok(subject)
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The id of the server's process, `None` while it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// The server's data directory.
    #[must_use]
    pub fn data_directory(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The configuration file it was started with.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.directory.path().join("zoo.cfg")
    }

    /// What the server has printed since its first start.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.log_file())?).into_owned())
    }

    /// Stops the server as a power cut would, and waits until the process is gone.
    pub fn kill9(&mut self) -> Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        running.child.kill().context("kill -9 of the server")?;
        running.child.wait()?;
        Ok(())
    }

    /// Stops the process as `kill -STOP` does: its sockets stay, and nobody answers.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let running = self.running.as_ref().context("the server is not running")?;
        Ok(kill_process(Pid::from_child(&running.child), signal)?)
    }

    /// Sends SIGTERM and waits for the end, at most as long as a start may take.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        let Some(mut running) = self.running.take() else { bail!("the server is not running") };
        let pid = running.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status()?;
        if !sent.success() {
            bail!("kill -TERM {pid} failed: {sent}");
        }
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = running.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(READY_POLL);
        }
        running.child.kill()?;
        running.child.wait()?;
        bail!("the server ignored SIGTERM for {READY_WITHIN:?} and was killed\n{}", self.log()?)
    }

    /// Starts the server again on the same address with the same data; stops it with
    /// [`Self::kill9`] first if it runs.
    pub fn restart(&mut self) -> Result<()> {
        self.kill9()?;
        self.launch()
    }

    /// As [`Self::restart`], with other options.
    pub fn restart_with(&mut self, options: Options) -> Result<()> {
        self.options = options;
        self.restart()
    }

    fn launch(&mut self) -> Result<()> {
        self.spawn()?;
        self.await_service()
    }

    /// Starts the process, which need not serve yet: a voter serves when a quorum runs.
    pub fn spawn(&mut self) -> Result<()> {
        assert!(self.running.is_none());
        let mut config = self.options.config(&self.data_directory(), self.address);
        config.push_str(&self.membership);
        fs::write(self.config_file(), config)?;
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let mut command = self.command();
        let child = command
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("the server does not start: {command:?}"))?;
        let watchdog = Watchdog::over(child.id(), self.directory.path());
        self.running = Some(Running { child, _watchdog: watchdog? });
        Ok(())
    }

    /// Waits until it serves; one that does not is stopped.
    pub fn await_service(&mut self) -> Result<()> {
        let Some(mut running) = self.running.take() else { bail!("the server is not running") };
        let ready = self.wait_until_ready(&mut running.child);
        self.running = Some(running);
        if ready.is_err() {
            self.kill9()?;
        }
        ready
    }

    fn command(&self) -> Command {
        let config = self.config_file();
        match &self.program {
            Program::ZooKeeper(class_path) => {
                let mut command = Command::new("java");
                command.args(self.options.java_arguments()).arg("-cp").arg(class_path);
                command.arg(zookeeper::MAIN_CLASS).arg(config);
                command
            }
            Program::Farwatch(binary) => {
                let mut command = Command::new(binary);
                command.arg("serve").arg("--config").arg(config);
                command
            }
        }
    }

    /// Asks `srvr` until a mode is named: a listening port alone does not serve yet.
    fn wait_until_ready(&self, child: &mut Child) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                bail!("the server ended while starting ({status}):\n{}", self.log()?);
            }
            // Refused and reset connections are what a starting server looks like.
            if let Ok(text) = four_letter_word_within(self.address, "srvr", PROBE_WITHIN)
                && text.contains("Mode: ")
            {
                return Ok(());
            }
            std::thread::sleep(READY_POLL);
        }
        bail!("the server did not answer within {READY_WITHIN:?}:\n{}", self.log()?)
    }

    fn log_names_a_taken_port(&self) -> bool {
        self.log().is_ok_and(|log| {
            let log = log.to_lowercase();
            // Java's words, then Farwatch's own.
            ["address already in use", "is in use by", "is held by"]
                .iter()
                .any(|words| log.contains(words))
        })
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if let Err(error) = self.kill9() {
            eprintln!("a server may have been left running: {error:#}");
        }
    }
}

/// A port nobody listened on a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(free_addresses(1)?[0])
}

/// As many different ones. Below the ports that the kernel gives to whoever connects: a server that is
/// started again must find its own free.
pub(crate) fn free_addresses(count: u32) -> Result<Vec<SocketAddr>> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let span = u32::from(PORTS.end - PORTS.start);
    let begin = std::process::id().wrapping_mul(97); // other runs begin elsewhere
    let mut found = Vec::new();
    for _ in 0..span {
        let step = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + (step % span) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            found.push(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        }
        if found.len() == count as usize {
            return Ok(found);
        }
    }
    bail!("too few of the ports {PORTS:?} are free")
}

/// Where the directories of subjects are made.
pub(crate) fn subjects_directory() -> Result<PathBuf> {
    let directory = match std::env::var_os(DIRECTORY_VARIABLE) {
        Some(directory) => PathBuf::from(directory),
        None => target_directory().join("subjects"),
    };
    fs::create_dir_all(&directory).with_context(|| {
        format!("{} cannot be made: set {DIRECTORY_VARIABLE}", directory.display())
    })?;
    Ok(directory.canonicalize()?)
}

/// The build directory: it is on a real disk, ignored by git, and cleaned with the build.
fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
    }
}
