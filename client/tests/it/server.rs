//! A server to test against, and a proxy that cuts connections.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use farwatch_client::{Acl, Client, CreateMode, Options};

/// Debian's place for ZooKeeper's classes.
const ZOOKEEPER_JAR: &str = "/usr/share/java/zookeeper.jar";

/// How long a Java server may take to answer on a busy machine.
const START_SECONDS_MAX: u64 = 60;

struct Started {
    address: String,
    /// Kept so that the server can be killed with the process, and its files removed.
    _process: Option<(Mutex<Child>, tempfile::TempDir)>,
}

/// `host:port` of the server; started at the first call.
pub fn address() -> &'static str {
    static STARTED: OnceLock<Started> = OnceLock::new();
    &STARTED.get_or_init(start).address
}

/// A server of this workspace, or what the environment names: `FARWATCH_TEST_SERVER=host:port`, or
/// `FARWATCH_CONFORMANCE_SUBJECT=zookeeper` for Debian's package.
fn start() -> Started {
    if let Ok(address) = std::env::var("FARWATCH_TEST_SERVER") {
        return Started { address, _process: None };
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let port = free_port();
    let data = directory.path().join("data");
    let config = directory.path().join("zoo.cfg");
    let text = format!(
        "tickTime=500\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
         extendedTypesEnabled=true\nenforceQuota=true\nadmin.enableServer=false\n\
         maxClientCnxns=0\n4lw.commands.whitelist=*\n",
        data.display()
    );
    std::fs::write(&config, text).expect("zoo.cfg");
    // The wrapper kills the server when this process, and with it the pipe, is gone: a static is
    // never dropped, and a killed test run must not leave servers behind.
    let script = r#"exec 3</dev/null; "$@" <&3 & server=$!; cat >/dev/null; kill $server"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).args(server_command()).arg(&config);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let process = command.spawn().expect("sh");
    let address = format!("127.0.0.1:{port}");
    await_ok(&address);
    Started { address, _process: Some((Mutex::new(process), directory)) }
}

/// The words in front of the configuration file's path.
fn server_command() -> Vec<String> {
    let subject = std::env::var("FARWATCH_CONFORMANCE_SUBJECT");
    if subject.is_ok_and(|subject| subject == "zookeeper") {
        let main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
        let java = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", ZOOKEEPER_JAR, main];
        return java.map(str::to_owned).to_vec();
    }
    let test = std::env::current_exe().expect("the path of this test");
    let binary = test.ancestors().nth(2).expect("target/PROFILE/deps/test").join("farwatch");
    assert!(
        binary.exists(),
        "no server to test against at {}: `cargo test --workspace` builds it, and so does \
         `cargo build`",
        binary.display()
    );
    vec![binary.display().to_string(), "serve".to_owned(), "--config".to_owned()]
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

fn await_ok(address: &str) {
    let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
    while Instant::now() < deadline {
        if let Ok(mut stream) = TcpStream::connect(address) {
            let mut answer = String::new();
            let asked = stream.write_all(b"ruok").and_then(|()| stream.read_to_string(&mut answer));
            if asked.is_ok() && answer == "imok" {
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(50)); // between attempts at a starting process
    }
    panic!("{address} did not answer within {START_SECONDS_MAX} s");
}

/// A path that no other test uses.
pub fn own_root() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let root = format!("/client-test-{}-{number}", std::process::id());
    let client = Client::open(address(), Options::default()).expect("connect string");
    client.create(&root, b"", &Acl::open(), CreateMode::Persistent).expect("own root");
    client.close().expect("close");
    root
}

/// A client whose root is a fresh node.
pub fn client_below(root: &str) -> Client {
    client_with(root, Options::default())
}

/// As [`client_below`], with options.
pub fn client_with(root: &str, options: Options) -> Client {
    Client::open(&format!("{}{root}", address()), options).expect("connect string")
}
