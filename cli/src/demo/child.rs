//! One server of a demo: a folder, a port, and a process that never outlives the demo.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Lines of a log that are shown when a server ends at once.
const LAST_WORDS: usize = 5;

/// The pause between two looks whether a stopping server is gone.
const GONE_POLL: Duration = Duration::from_millis(5);

/// How a server is, as far as the demo had a hand in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Condition {
    Running,
    Frozen,
    Stopped,
}

/// One server.
#[derive(Debug)]
pub(super) struct Server {
    number: u32,
    folder: PathBuf,
    client: SocketAddr,
    /// Whether it is a voter; the others observe.
    votes: bool,
    /// It comes back from the others, because its disk was wiped.
    pub(super) rejoins: bool,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// The child stops when this end is gone, also when the demo is killed.
    stop: ChildStdin,
    /// Of a frozen one, which cannot see the end of that pipe: ends it in its stead.
    keeper: Option<Keeper>,
}

/// A shell that kills a frozen server when the demo is gone. Dropped, it does nothing.
#[derive(Debug)]
struct Keeper(Child);

impl Keeper {
    fn over(server: &Child) -> io::Result<Self> {
        let keeper = Command::new("sh")
            .args(["-c", "read _; kill -9 \"$1\"", "sh", &server.id().to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(keeper))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Killed before the pipe closes, so that it does not go on behind its `read`.
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("farwatch: process {} may be left running: {error}", self.0.id());
        }
    }
}

impl Server {
    /// A server that is configured in `folder` and does not run yet.
    pub(super) fn new(number: u32, folder: PathBuf, client: SocketAddr, votes: bool) -> Self {
        Self { number, folder, client, votes, rejoins: false, running: None }
    }

    pub(super) fn votes(&self) -> bool {
        self.votes
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Where clients connect.
    pub(super) fn client(&self) -> SocketAddr {
        self.client
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("zoo.cfg")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where all its processes have said what they had to say.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// The end of its log.
    pub(super) fn last_words(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
    }

    pub(super) fn condition(&self) -> Condition {
        match &self.running {
            None => Condition::Stopped,
            Some(Running { keeper: Some(_), .. }) => Condition::Frozen,
            Some(Running { keeper: None, .. }) => Condition::Running,
        }
    }

    /// Starts its process, of the binary `program`.
    pub(super) fn start_as(&mut self, program: &Path) -> io::Result<()> {
        assert!(self.running.is_none(), "a server runs once");
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(program);
        command.args(["serve", "--stop-with-stdin", "--config"]).arg(self.config());
        if self.rejoins {
            command.arg("--rejoin");
        }
        command.process_group(0); // Ctrl-C is the demo's to handle
        let mut child =
            command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let stop = child.stdin.take().expect("it is piped");
        self.running = Some(Running { child, stop, keeper: None });
        Ok(())
    }

    /// As [`Self::start_as`], of the binary that is running now.
    pub(super) fn start(&mut self) -> io::Result<()> {
        self.start_as(&std::env::current_exe()?)
    }

    /// Ends it as a power cut would; nothing where it does not run.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        running.keeper = None; // before its number can be another process's
        running.child.kill()?;
        running.child.wait().map(|_status| ())
    }

    /// Stops it where it stands, as a long pause of the machine would.
    pub(super) fn freeze(&mut self) -> io::Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        running.keeper = Some(Keeper::over(&running.child)?);
        Ok(kill_process(Pid::from_child(&running.child), Signal::STOP)?)
    }

    /// Ends such a pause.
    pub(super) fn thaw(&mut self) -> io::Result<()> {
        let Some(running) = &mut self.running else { return Ok(()) };
        running.keeper = None;
        Ok(kill_process(Pid::from_child(&running.child), Signal::CONT)?)
    }

    /// How it ended, if it did by itself.
    pub(super) fn reap(&mut self) -> io::Result<Option<ExitStatus>> {
        let Some(running) = &mut self.running else { return Ok(None) };
        let ended = running.child.try_wait()?;
        if ended.is_some() {
            self.running = None;
        }
        Ok(ended)
    }

    /// Asks it to stop, without waiting for it: the child is handed over.
    pub(super) fn ask_to_stop(&mut self) -> Option<Child> {
        let _ended_already = self.thaw();
        let Running { child, stop, .. } = self.running.take()?;
        drop(stop);
        Some(child)
    }
}

/// Waits until `child` is gone, and ends it when it is not by `deadline`.
pub(super) fn wait_or_kill(mut child: Child, deadline: Instant) -> io::Result<()> {
    while Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(());
        }
        std::thread::sleep(GONE_POLL);
    }
    child.kill()?;
    child.wait().map(|_status| ())
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("farwatch: server {} may be left running: {error}", self.number);
        }
    }
}
