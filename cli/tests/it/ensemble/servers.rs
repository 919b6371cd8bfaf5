//! The processes of one ensemble: started, killed, frozen, asked what they do.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use farwatch_bench::raw::four_letter_word_within;
use farwatch_observer::four_letter::ensemble;
use farwatch_observer::report::EnsembleReport;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take that takes a second on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The silence after which a follower gives its leader up, as it is by default.
pub const DETECTION: Duration = Duration::from_millis(600);

/// How long a server may take to say what it does; a frozen one never does.
const ANSWER_WITHIN: Duration = Duration::from_millis(300);

/// The pause between two looks at a condition: short against everything that is measured.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A server whose test is killed goes too, also when it is frozen.
const KEEPER: &str = "trap '' INT; read _; kill -9 \"$1\"";

/// One ensemble at a time: what is measured is measured without the load of the others.
static ALONE: Mutex<()> = Mutex::new(());

/// Where the next free port is looked for. Below the range from which outgoing connections take
/// theirs: a port there could be taken while its server is down.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// What the configuration of an ensemble says beyond the usual.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Lines of every zoo.cfg.
    pub lines: Vec<String>,
    /// What each server is started through, such as `nsenter …`; nothing where it is missing.
    pub through: Vec<Vec<String>>,
    /// The address of each server; the loopback where it is missing.
    pub hosts: Vec<Ipv4Addr>,
}

impl Layout {
    pub fn with(lines: &[&str]) -> Self {
        Self { lines: lines.iter().map(|&line| line.to_owned()).collect(), ..Self::default() }
    }
}

/// One server of an ensemble.
pub struct Server {
    pub number: u32,
    pub folder: PathBuf,
    pub client: SocketAddr,
    pub quorum: SocketAddr,
    pub data: PathBuf,
    through: Vec<String>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    keeper: Child,
    frozen: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        // The keeper first: it must not kill whoever has the number next.
        let keeper = self.keeper.kill().and_then(|()| self.keeper.wait());
        let server = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = keeper.and(server) {
            eprintln!("process {} may be left running: {error}", self.child.id());
        }
    }
}

impl Server {
    /// Starts its process; `more` goes behind `serve --config`.
    pub fn start_with(&mut self, more: &[&str]) {
        assert!(self.running.is_none(), "a server runs once");
        let log = File::options().create(true).append(true).open(self.log_file());
        let log = log.expect("a log file");
        let mut words: Vec<&str> = self.through.iter().map(String::as_str).collect();
        words.push(env!("CARGO_BIN_EXE_farwatch"));
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["serve", "--config"]).arg(self.folder.join("zoo.cfg"));
        command.args(more).env_remove("FARWATCH_LOG").stdin(Stdio::null());
        command.stdout(log.try_clone().expect("another handle")).stderr(log);
        let child = command.spawn().expect("a process");
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh", &child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        self.running = Some(Running { child, keeper, frozen: false });
    }

    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("it runs").child.id()
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub fn is_frozen(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.frozen)
    }

    /// `kill -9`, also of a frozen one; nothing where it does not run.
    pub fn kill(&mut self) {
        self.running = None;
    }

    fn signal(&mut self, signal: Signal) {
        let running = self.running.as_mut().expect("it runs");
        kill_process(Pid::from_child(&running.child), signal).expect("a signal");
    }

    /// `kill -STOP`: from now on it does nothing, and its sockets stay.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
        self.running.as_mut().expect("it runs").frozen = true;
    }

    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
        self.running.as_mut().expect("it runs").frozen = false;
    }

    /// Asks it to stop and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_for_end()
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut status = None;
        let running = self.running.as_mut().expect("it runs");
        until("the server ends", PATIENCE, || {
            status = running.child.try_wait().expect("a child");
            status.is_some()
        });
        self.running = None;
        status.expect("it was waited for")
    }

    /// Takes it everything that it has on disk.
    pub fn wipe(&self) {
        assert!(self.running.is_none(), "only the disk of a server that is down is taken");
        fs::remove_dir_all(&self.data).expect("its data goes");
        self.make_data();
    }

    /// Makes the data directory and writes the server's number into it.
    pub fn make_data(&self) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.data);
        made.expect("a data directory");
        fs::write(self.data.join("myid"), format!("{}\n", self.number)).expect("its number");
    }

    /// What it knows of its ensemble; `None` where it does not say.
    pub fn report(&self) -> Option<EnsembleReport> {
        if self.running.is_none() || self.is_frozen() {
            return None;
        }
        ask(self.client)
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// What all its processes have said.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// Waits until it has said something.
    #[track_caller]
    pub fn until_it_says(&self, words: &str) {
        until(&format!("server {} says {words:?}", self.number), PATIENCE, || {
            self.log().contains(words)
        });
    }
}

/// `quor` of the server at `address`.
pub fn ask(address: SocketAddr) -> Option<EnsembleReport> {
    ensemble::parse(&four_letter_word_within(address, "quor", ANSWER_WITHIN).ok()?)
}

/// Whether a server with this report decides.
pub fn leads(report: &EnsembleReport) -> bool {
    report.role == "leading" && report.phase == "broadcast"
}

/// Whether a server with this report has a leader and its history, or is one.
pub fn serves(report: &EnsembleReport) -> bool {
    report.phase == "broadcast" && ["leading", "following"].contains(&report.role.as_str())
}

/// Looks until it is so. Panics after `patience`.
#[track_caller]
pub fn until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) {
    let asked = Instant::now();
    while !is_so() {
        assert!(asked.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Lets a time pass that is part of what is tested: chance, or the length of a fault.
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// Voters, numbered from 1.
pub struct Ensemble {
    pub servers: Vec<Server>,
    // Behind the servers: it outlives the processes that write into it.
    directory: Option<TempDir>,
    _alone: MutexGuard<'static, ()>,
}

impl Ensemble {
    /// Three voters that have elected a leader.
    pub fn start(lines: &[&str]) -> Self {
        let mut ensemble = Self::configured(3, &Layout::with(lines));
        ensemble.start_all();
        ensemble.until_all_serve();
        ensemble
    }

    /// Voters with their files, and no process yet.
    pub fn configured(voters: usize, layout: &Layout) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = tempfile::Builder::new()
            .prefix("ensemble-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a directory");
        let servers = (0..voters).map(|index| {
            let folder = directory.path().join(format!("server-{}", index + 1));
            let host = layout.hosts.get(index).copied().unwrap_or(Ipv4Addr::LOCALHOST);
            Server {
                number: index as u32 + 1,
                data: folder.join("data"),
                folder,
                client: (host, free_port()).into(),
                quorum: (host, free_port()).into(),
                through: layout.through.get(index).cloned().unwrap_or_default(),
                running: None,
            }
        });
        let servers: Vec<Server> = servers.collect();
        let ensemble = Self { servers, directory: Some(directory), _alone: alone };
        for server in &ensemble.servers {
            server.make_data();
            configure(server, &ensemble.members(), &layout.lines);
        }
        ensemble
    }

    /// Another server beside them, with files and no process yet; whom it knows, `members` says,
    /// given where it is to be found itself.
    pub fn beside(
        &self,
        folder: &str,
        number: u32,
        members: impl FnOnce(SocketAddr) -> Vec<(u32, SocketAddr)>,
    ) -> Server {
        let server = self.another(folder, number);
        configure(&server, &members(server.quorum), &[]);
        server
    }

    /// Another server beside them, with addresses and a data directory, and no configuration yet.
    pub fn another(&self, folder: &str, number: u32) -> Server {
        let folder = self.directory.as_ref().expect("it is kept").path().join(folder);
        let server = Server {
            number,
            data: folder.join("data"),
            folder,
            client: (Ipv4Addr::LOCALHOST, free_port()).into(),
            quorum: (Ipv4Addr::LOCALHOST, free_port()).into(),
            through: Vec::new(),
            running: None,
        };
        server.make_data();
        server
    }

    /// All voters by number, with the addresses that they have for each other.
    pub fn members(&self) -> Vec<(u32, SocketAddr)> {
        self.servers.iter().map(|server| (server.number, server.quorum)).collect()
    }

    pub fn server(&self, number: u32) -> &Server {
        &self.servers[number as usize - 1]
    }

    pub fn server_mut(&mut self, number: u32) -> &mut Server {
        &mut self.servers[number as usize - 1]
    }

    pub fn numbers(&self) -> Vec<u32> {
        self.servers.iter().map(|server| server.number).collect()
    }

    pub fn start_all(&mut self) {
        for server in &mut self.servers {
            server.start();
        }
    }

    /// Where clients connect, in the order of the numbers.
    pub fn clients(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.client).collect()
    }

    /// Where clients of all servers but one connect.
    pub fn clients_without(&self, number: u32) -> Vec<SocketAddr> {
        let others = self.servers.iter().filter(|server| server.number != number);
        others.map(|server| server.client).collect()
    }

    /// The reports of those who give one.
    pub fn reports(&self) -> Vec<EnsembleReport> {
        self.servers.iter().filter_map(Server::report).collect()
    }

    /// Who decides, in the newest epoch that anybody decides in.
    pub fn find_leader(&self) -> Option<(u32, u32)> {
        let found = self.reports().into_iter().filter(leads);
        found.map(|report| (report.epoch, report.me)).max().map(|(epoch, me)| (me, epoch))
    }

    /// Waits for a leader: its number and its epoch.
    #[track_caller]
    pub fn leader(&self) -> (u32, u32) {
        let mut found = None;
        until("somebody leads", PATIENCE, || {
            found = self.find_leader();
            found.is_some()
        });
        found.expect("it was waited for")
    }

    /// The servers that do not lead.
    pub fn followers(&self) -> Vec<u32> {
        let (leader, _) = self.leader();
        self.numbers().into_iter().filter(|&number| number != leader).collect()
    }

    /// Waits until every server is in one epoch with one leader, and takes writes.
    #[track_caller]
    pub fn until_all_serve(&self) {
        until("all servers serve in one epoch", PATIENCE, || {
            let reports = self.reports();
            reports.len() == self.servers.len()
                && reports.iter().all(|it| serves(it) && it.epoch == reports[0].epoch)
                && reports.iter().any(leads)
        });
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        self.servers.clear();
        if std::thread::panicking() {
            let kept = self.directory.take().expect("it is dropped once").keep();
            eprintln!("the servers' logs and data are kept in {}", kept.display());
        }
    }
}

/// A port below the ephemeral ones that nobody listens on, not given to another test.
fn free_port() -> u16 {
    let span = PORTS.end - PORTS.start;
    let _ = NEXT_PORT.compare_exchange(
        0,
        1 + (std::process::id() % u32::from(span)) as u16, // other runs begin elsewhere
        Ordering::Relaxed,
        Ordering::Relaxed,
    );
    for _ in 0..span {
        let port = PORTS.start + NEXT_PORT.fetch_add(1, Ordering::Relaxed) % span;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {PORTS:?} is free");
}

/// Writes the configuration of `server` in an ensemble of `members`.
pub fn configure(server: &Server, members: &[(u32, SocketAddr)], lines: &[String]) {
    let mut text = format!(
        "dataDir={}\nclientPort={}\nclientPortAddress={}\ntickTime=1000\ninitLimit=10\n\
         syncLimit=5\nmaxClientCnxns=0\n4lw.commands.whitelist=*\n",
        server.data.display(),
        server.client.port(),
        server.client.ip(),
    );
    for (number, quorum) in members {
        // The election port is accepted and not used.
        writeln!(text, "server.{number}={}:{}:1", quorum.ip(), quorum.port())
            .expect("a String takes every write");
    }
    for line in lines {
        writeln!(text, "{line}").expect("a String takes every write");
    }
    fs::create_dir_all(&server.folder).expect("a folder");
    fs::write(server.folder.join("zoo.cfg"), text).expect("a configuration");
}
