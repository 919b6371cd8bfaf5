//! The process: how it starts, what it says, how it ends, and with which exit code.

mod seccomp;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use farwatch_bench::raw::{Connection, Handshake, four_letter_word, ids, request};
use farwatch_bench::subject::Options;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::subject::{connect, farwatch};

/// A server on a free port of its own, started with arguments.
struct Process {
    child: Child,
    start_line: String,
    address: SocketAddr,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("a process");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut said = String::new();
        let start_line = loop {
            let Some(line) = lines.next() else { panic!("it ended before it served:\n{said}") };
            let line = line.expect("text");
            if line.contains("serves clients on") {
                break line;
            }
            said.push_str(&line);
            said.push('\n');
        };
        // What it says later goes nowhere, and must not stop it.
        std::thread::spawn(move || lines.for_each(drop));
        let (_, behind) = start_line.split_once("serves clients on ").expect("found above");
        let (address, _) = behind.split_once(',').expect("an address");
        let address = address.parse().expect("an address");
        Self { child, start_line, address }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.expect("the server ends");
    }
}

/// `farwatch serve` on `data` and a free port.
pub fn serve(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_farwatch"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
    command.env_remove("FARWATCH_LOG");
    command
}

/// Runs to the end: the exit code and what was said.
pub fn output(command: &mut Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().expect("a process");
    (status.code().expect("an exit code"), String::from_utf8_lossy(&stderr).into_owned())
}

/// A directory that a server takes.
pub fn directory() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).expect("its mode");
    directory
}

#[track_caller]
fn write_and_read(address: SocketAddr, path: &str) {
    let (mut connection, _) = connect(address);
    let made = connection.call(&request::create(path, Some(b"v"), &ids::open(), 0));
    assert_eq!(made.expect("a reply").err, 0);
    let read = connection.call(&request::get_data(path, false)).expect("a reply");
    assert_eq!(read.data_and_stat().expect("data").0.as_deref(), Some(&b"v"[..]));
}

#[test]
fn every_driver_and_thread_layout_serves_and_says_which() {
    for (sockets, socket_words) in [("uring", "sockets io_uring"), ("epoll", "sockets epoll")] {
        for (log, log_words) in [("uring", "log io_uring"), ("thread", "log log thread")] {
            for threads in ["1", "3"] {
                let data = directory();
                let process = Process::start(
                    serve(data.path())
                        .args(["--threads", threads])
                        .args(["--set", &format!("farwatch.socketDriver={sockets}")])
                        .args(["--set", &format!("farwatch.logDriver={log}")]),
                );
                let line = &process.start_line;
                assert!(line.contains(socket_words) && line.contains(log_words), "{line}");
                // Several connections: each reactor has at least one, and the acceptor goes on.
                for number in 0..6 {
                    write_and_read(process.address, &format!("/{number}"));
                }
            }
        }
    }
}

#[test]
fn the_start_line_says_version_address_directory_role_and_drivers() {
    let data = directory();
    let process = Process::start(&mut serve(data.path()));
    let line = &process.start_line;
    let wanted = [
        &format!("farwatch {}", env!("CARGO_PKG_VERSION")),
        &format!("data in {}", data.path().display()),
        &process.address.to_string(),
        "standalone",
        "sockets ",
        "log ",
    ];
    for words in wanted {
        assert!(line.contains(words), "{words:?} is not in {line:?}");
    }
}

#[test]
fn a_taken_port_is_named_with_its_holder() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = holder.local_addr().expect("its address").port().to_string();
    let data = directory();
    let mut command = Command::new(env!("CARGO_BIN_EXE_farwatch"));
    let command = command.args(["serve", "--listen", &port, "--data-dir"]).arg(data.path());
    let (code, said) = output(command);
    assert_eq!(code, 1, "{said}");
    let own = std::process::id().to_string();
    assert!(said.contains(&port) && said.contains(&own), "{said}");
}

#[test]
fn a_configuration_that_cannot_be_used_ends_with_2() {
    let data = directory();
    let file = data.path().join("zoo.cfg");
    fs::write(&file, "tickTime=2000\ndataDir=/tmp/x\nclientPort=none\n").expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_farwatch"));
    let (code, said) = output(command.arg("serve").arg("--config").arg(&file));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("zoo.cfg:3") && said.contains("clientPort"), "{said}");
    let (code, said) = output(serve(data.path()).args(["--set", "farwatch.logDriver=magic"]));
    assert_eq!(code, 2, "{said}");
    let absent = data.path().join("absent.cfg");
    let mut command = Command::new(env!("CARGO_BIN_EXE_farwatch"));
    let (code, said) = output(command.arg("serve").arg("--config").arg(&absent));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("absent.cfg"), "{said}");
}

#[test]
fn a_data_directory_that_cannot_be_used_ends_with_3() {
    let data = directory();
    let file = data.path().join("file");
    fs::write(&file, "").expect("a file");
    let (code, said) = output(&mut serve(&file));
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("--data-dir"), "{said}");

    let open = data.path().join("open");
    fs::create_dir(&open).expect("a directory");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("its mode");
    let (code, said) = output(&mut serve(&open));
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("chmod go-w"), "{said}");

    let used = data.path().join("used");
    let first = Process::start(&mut serve(&used));
    let (code, said) = output(&mut serve(&used));
    assert_eq!(code, 3, "{said}");
    let holder = format!("in use by process {}", first.child.id());
    assert!(said.contains(&holder), "{said}");
    write_and_read(first.address, "/still-served");
}

/// Root writes everywhere, so the server runs as somebody else; only root can start it so.
#[test]
fn a_data_directory_without_the_right_to_write_ends_with_3() {
    let own = fs::metadata("/proc/self").expect("this process");
    if own.uid() != 0 {
        eprintln!("not run: a server as another user, because only root can start one");
        return;
    }
    // A copy where that user may execute it.
    let place = tempfile::tempdir().expect("a directory");
    let binary = place.path().join("farwatch");
    fs::copy(env!("CARGO_BIN_EXE_farwatch"), &binary).expect("a copy");
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
    let data = place.path().join("data");
    fs::create_dir(&data).expect("a directory");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).expect("its mode");
    let mut command = Command::new(&binary);
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&data);
    let (code, said) = output(command.uid(65_534).gid(65_534).current_dir("/"));
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("let this user write to it"), "{said}");
}

#[test]
fn sigterm_ends_with_0_and_everything_acknowledged_is_there_without_a_cut_tail() {
    for threads in [1, 3] {
        let mut subject = farwatch(Options::new().line(&format!("farwatch.threads={threads}")));
        let (mut connection, session) = connect(subject.address());
        for number in 0..200 {
            let create = request::create(&format!("/t{number}"), None, &ids::open(), number % 2);
            connection.send(number, &create).expect("sent");
        }
        let mut last = 0;
        for _ in 0..200 {
            last = connection.receive_reply().expect("a reply").zxid;
        }
        let status = subject.terminate().expect("an end");
        assert_eq!(status.code(), Some(0));
        connection.expect_close().expect("a close");
        subject.restart().expect("a second start");
        let log = subject.log().expect("a log");
        assert!(log.contains("stopped; everything acknowledged is on disk"), "{log}");
        let second = log.rsplit_once("stopped;").expect("found above").1;
        assert!(!second.contains("WARN"), "a clean stop leaves nothing to put right: {second}");
        let resumed = Handshake::resume(&session);
        let (mut connection, again) =
            Connection::connect(subject.address(), &resumed).expect("a handshake");
        assert_eq!(again, session);
        let reply = connection.call(&request::get_children2("/", false)).expect("a reply");
        let (names, stat) = reply.names_and_stat().expect("names");
        assert_eq!(names.iter().filter(|name| name.starts_with('t')).count(), 200);
        assert_eq!((stat.pzxid, reply.zxid), (last, last), "a restart adds nothing to the history");
    }
}

/// Starts `command`, sends it `signals` once it serves, and returns its exit code and what it said from then on.
fn ended_by(command: &mut Command, signals: &[Signal]) -> (Option<i32>, String) {
    let mut child = command.stderr(Stdio::piped()).spawn().expect("a process");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let serves = lines.by_ref().any(|line| line.expect("text").contains("serves clients on"));
    assert!(serves, "it ended before it served");
    for &signal in signals {
        kill_process(Pid::from_child(&child), signal).expect("it is there");
    }
    let said: Vec<String> = lines.map(|line| line.expect("text")).collect();
    (child.wait().expect("an end").code(), said.join("\n"))
}

#[test]
fn a_closed_terminal_stops_a_server_as_sigterm_does_and_nohup_keeps_it() {
    let data = directory();
    let (code, said) = ended_by(&mut serve(data.path()), &[Signal::HUP]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("SIGHUP: finishing what is under way"), "{said}");
    assert!(said.contains("stopped; everything acknowledged is on disk"), "{said}");

    let serve = serve(data.path());
    let mut kept = Command::new("nohup");
    kept.arg(serve.get_program()).args(serve.get_args()).stdout(Stdio::null());
    let (code, said) = ended_by(&mut kept, &[Signal::HUP, Signal::TERM]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("SIGTERM: finishing") && !said.contains("SIGHUP"), "{said}");
}

#[test]
fn sigterm_is_obeyed_also_while_clients_write_and_do_not_read() {
    let mut subject = farwatch(Options::new());
    let (mut connection, _) = connect(subject.address());
    let large = request::create("/large", Some(&vec![1; 1_000_000]), &ids::open(), 0);
    assert_eq!(connection.call(&large).expect("a reply").err, 0);
    for xid in 0..1000 {
        connection.send(xid, &request::get_data("/large", false)).expect("sent");
    }
    assert_eq!(subject.terminate().expect("an end").code(), Some(0));
}

/// A shell's default is a thousand; what the system allows beyond it is taken.
#[test]
fn a_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let data = directory();
    let serve = serve(data.path());
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -S -n 99 && ulimit -H -n 777 && exec "$@""#, "sh"]);
    command.arg(serve.get_program()).args(serve.get_args());
    let process = Process::start(&mut command);
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.child.id()));
    let limits = limits.expect("a running process");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a row");
    assert_eq!(files.split_whitespace().skip(3).collect::<Vec<_>>(), ["777", "777", "files"]);
}

/// A container's default: 64 KiB may be locked.
#[test]
fn a_small_memlock_limit_is_survived() {
    let data = directory();
    let serve = serve(data.path());
    let mut command = Command::new("prlimit");
    command.arg("--memlock=65536:65536").arg(serve.get_program()).args(serve.get_args());
    if Command::new("prlimit").arg("--version").output().is_err() {
        eprintln!("not run: a small memlock limit, because there is no prlimit command");
        return;
    }
    let process = Process::start(&mut command);
    write_and_read(process.address, "/small");
}

/// Docker's default profile refuses io_uring_setup.
#[test]
fn without_io_uring_the_server_serves_by_epoll_and_a_log_thread_and_says_so() {
    for threads in ["1", "3"] {
        let data = directory();
        let mut command = serve(data.path());
        command.args(["--threads", threads, "--set", "4lw.commands.whitelist=*"]);
        seccomp::refuse_io_uring(&mut command);
        let process = Process::start(&mut command);
        let line = &process.start_line;
        assert!(line.contains("sockets epoll") && line.contains("log log thread"), "{line}");
        for number in 0..6 {
            write_and_read(process.address, &format!("/{number}"));
        }
        assert_eq!(four_letter_word(process.address, "ruok").expect("an answer"), "imok");
    }
}
