//! An embedded observer as C and C++ see it, beside a voter that is a process.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use farwatch_client::{Acl, Client, CreateMode, MultiOp, Options};

use crate::program::{Program, library, own, plugin};
use crate::way::Way;

/// How long the stress goes on, seconds.
const STRESS_SECONDS: &str = "5";

/// A voter that is an ensemble by itself, with a port for those who learn from it.
pub struct Voter {
    /// Where clients connect to.
    pub clients: String,
    /// Where observers do.
    pub peers: String,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Voter {
    fn drop(&mut self) {
        let _gone_either_way = self.process.kill();
        let _gone_either_way = self.process.wait();
    }
}

/// Starts a server, which ends with its standard input, and so with this process.
pub fn serve(config: &std::path::Path) -> Child {
    let test = std::env::current_exe().expect("the path of this test");
    let binary = test.ancestors().nth(2).expect("target/PROFILE/deps/test").join("farwatch");
    Command::new(binary)
        .args(["serve", "--stop-with-stdin", "--config"])
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts")
}

impl Voter {
    /// With its ports and its files its own.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ports: Vec<TcpListener> =
            (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let [client, peer, election] =
            [0, 1, 2].map(|at: usize| ports[at].local_addr().expect("bound").port());
        drop(ports);
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a folder");
        std::fs::write(data.join("myid"), "1").expect("a file");
        let lines = format!(
            "dataDir={}\nclientPortAddress=127.0.0.1\nclientPort={client}\nstandaloneEnabled=false\ninitLimit=10\nsyncLimit=5\n\
             server.1=127.0.0.1:{peer}:{election}\n",
            data.display()
        );
        let config = folder.path().join("zoo.cfg");
        std::fs::write(&config, lines).expect("a file");
        let process = serve(&config);
        let (clients, peers) = (format!("127.0.0.1:{client}"), format!("127.0.0.1:{peer}"));
        Self { clients, peers, process, _folder: folder }
    }

    /// A client of it, when it serves.
    pub fn client(&self) -> Client {
        let client = Client::open(&self.clients, Options::default()).expect("a connect string");
        client.wait_connected(Duration::from_secs(60)).expect("it serves");
        client
    }
}

#[test]
fn threads_signals_forks_and_hostile_arguments_never_harm_an_observer_or_its_host() {
    let voter = Voter::start();
    let client = voter.client();
    for (path, data) in [
        ("/stress", ""),
        ("/stress/left", "0"),
        ("/stress/right", "0"),
        ("/stress/long", "0123456789"),
    ] {
        let made = client.create(path, data.as_bytes(), &Acl::open(), CreateMode::Persistent);
        made.expect("a new tree");
    }
    let done = AtomicBool::new(false);
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0_u64;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                let data = Some(number.to_string().into_bytes());
                let set = |path: &str| MultiOp::SetData {
                    path: path.into(),
                    data: data.clone(),
                    version: -1,
                };
                client.multi(vec![set("/stress/left"), set("/stress/right")]).expect("both");
            }
        });
        let program = Program::compile("observer_stress.c");
        let ran = std::panic::catch_unwind(|| program.run(&[&voter.peers, STRESS_SECONDS]));
        done.store(true, Ordering::Relaxed);
        ran
    });
    let said = said.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    println!("{said}");
    assert!(said.contains(" 0 bad"), "{said}");
}

#[test]
fn a_read_within_a_read_is_refused_and_a_view_is_not() {
    let voter = Voter::start();
    assert_eq!(Program::compile("nested.c").run(&[&voter.peers]), "");
}

#[test]
fn threads_share_a_feed_and_none_waits_for_another() {
    let voter = Voter::start();
    assert_eq!(Program::compile("feed_shared.c").run(&[&voter.peers]), "");
}

/// Runs a program that learns over a way, which is cut where it says `before`, and healed where it says
/// `behind`, for each of these.
fn run_over_cuts(source: &str, cuts: &[(&str, &str)]) {
    use std::io::{BufRead, BufReader};
    let voter = Voter::start();
    drop(voter.client());
    let way = Way::to(&voter.peers);
    let program = Program::compile(source);
    let mut child = program.start(&[&way.address, &voter.clients]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().map(|line| line.expect("text")).unwrap_or_default();
    let mut said = Vec::new();
    for _cut in cuts {
        said.push(next());
        way.cut();
        said.push(next());
        way.heal();
    }
    said.push(next());
    crate::program::finish(child);
    let mut expected: Vec<&str> =
        cuts.iter().flat_map(|(before, behind)| [*before, *behind]).collect();
    expected.push("done");
    assert_eq!(said, expected);
}

#[test]
fn a_loop_is_told_once_of_changes_and_of_the_link_and_waits_nowhere_else() {
    run_over_cuts("feed_queue.c", &[("linked", "unlinked")]);
}

#[test]
fn a_lock_through_an_observer_outlives_a_short_cut_and_a_long_one_passes_it_on() {
    let cuts = [("held", "cut off"), ("held for a while", "passed on")];
    run_over_cuts("inner_recipes.c", &cuts);
}

#[test]
fn an_observer_without_a_thread_or_a_descriptor_is_refused_and_leaves_nothing_behind() {
    let voter = Voter::start();
    drop(voter.client());
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("text");
    println!("{}", Program::compile("exhausted.c").run(&[&voter.peers, data]));
}

#[test]
fn a_directory_that_cannot_be_used_is_refused_for_good_and_not_for_want_of_resources() {
    let voter = Voter::start();
    drop(voter.client());
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().to_str().expect("text");
    assert_eq!(Program::compile("refused.c").run(&[&voter.peers, folder]), "");
}

#[test]
fn memory_that_runs_out_is_an_answer_of_whatever_opens_waits_or_asks() {
    let voter = Voter::start();
    drop(voter.client());
    println!("{}", Program::compile("memory.c").run(&[&voter.clients, &voter.peers]));
}

#[test]
fn what_a_signal_handler_may_call_allocates_nothing_and_writes_nothing_when_it_fails() {
    let voter = Voter::start();
    drop(voter.client());
    assert_eq!(Program::compile("memory_reads.c").run(&[&voter.clients, &voter.peers]), "");
}

#[test]
fn the_example_shows_a_subtree_and_its_changes() {
    let voter = Voter::start();
    let client = voter.client();
    let create = |path: &str, data: &str| {
        client.create(path, data.as_bytes(), &Acl::open(), CreateMode::Persistent).expect("new");
    };
    create("/app", "a");
    create("/app/b", "c");
    let program = Program::compile_file(&own("examples/observer.c"));
    let mut child = program.start(&[&voter.peers, "/app", "1"]);
    let mut lines = {
        use std::io::{BufRead, BufReader};
        BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("text"))
    };
    assert!(lines.next().expect("a line").starts_with("at 0x"));
    assert_eq!(lines.next().as_deref(), Some("  /app = a"));
    assert_eq!(lines.next().as_deref(), Some("  /app/b = c"));
    client.set("/app/b", b"d", -1).expect("set");
    assert_eq!(lines.next().as_deref(), Some("set /app/b = d"));
    crate::program::finish(child);
}

#[test]
fn the_loops_of_the_examples_follow_a_prefix() {
    use std::io::{BufRead, BufReader};
    let voter = Voter::start();
    let client = voter.client();
    for (compiler, source) in [("cc", "follow.c"), ("c++", "follow.cpp")] {
        if !crate::program::has(compiler) {
            continue;
        }
        let create = |path: &str, data: &str| {
            let made = client.create(path, data.as_bytes(), &Acl::open(), CreateMode::Persistent);
            made.expect("new");
        };
        create("/followed", "a");
        let program = Program::compile_file(&own("examples").join(source));
        let mut child = program.start(&[&voter.peers, "/followed", "3"]);
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut next = || lines.next().map(|line| line.expect("text")).unwrap_or_default();
        let begins = loop {
            match next() {
                line if line.starts_with("not linked") => {}
                line => break [line, next()],
            }
        };
        assert_eq!(begins, ["/followed = a", "-- so far"], "{source}");
        create("/followed/child", "one");
        create("/followed-by-none", "");
        client.set("/followed/child", b"two", -1).expect("set");
        client.delete("/followed/child", -1).expect("gone");
        let told = [next(), next(), next()];
        let all =
            ["/followed/child is now one", "/followed/child is now two", "/followed/child is gone"];
        assert_eq!(told, all, "{source}");
        crate::program::finish(child);
        for path in ["/followed", "/followed-by-none"] {
            client.delete(path, -1).expect("gone");
        }
    }
}

#[test]
fn the_readmes_replica_in_a_process_works_as_it_is_written() {
    let programs = crate::programs::programs_of("README.md");
    let program = programs.iter().find(|code| code.contains("fw_observer_open")).expect("is there");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("program.c");
    std::fs::write(&file, program).expect("a file");
    let voter = Voter::start();
    // What an ensemble writes first is the list of its members, and then what clients ask for.
    let founded = voter.client().create("/founded", b"", &Acl::open(), CreateMode::Persistent);
    founded.expect("a new tree");
    let said = Program::compile_file(&file).run(&[&voter.peers]);
    assert!(said.contains(&format!("server.1={}", voter.peers)), "{said}");
}

#[test]
fn the_same_in_cpp_with_a_client_of_its_own() {
    if !crate::program::has("c++") {
        return;
    }
    let voter = Voter::start();
    drop(voter.client());
    let said = Program::compile_file(&own("examples/observer.cpp")).run(&[&voter.peers]);
    assert_eq!(said, "limit 10\nchanged to 20, the view still shows 10\nin place: 20, version 1\n");
}

#[test]
fn an_observer_without_a_thread_goes_on_in_the_loop_of_its_host() {
    let voter = Voter::start();
    assert_eq!(Program::compile("driven.c").run(&[&voter.peers]), "");
}

#[test]
fn a_host_may_unload_the_library_or_a_plugin_with_it_inside_while_its_threads_run() {
    let voter = Voter::start();
    drop(voter.client());
    let program = Program::compile_alone("unload.c");
    let folder = tempfile::tempdir().expect("a folder");
    for library in [library(), plugin(folder.path())] {
        let library = library.display().to_string();
        assert_eq!(program.run(&[&library, &voter.clients, &voter.peers]), "");
    }
}
