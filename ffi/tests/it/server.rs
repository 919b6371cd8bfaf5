//! A server of this workspace for the programs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use farwatch_client::{Acl, Client, CreateMode, Options};

/// How long a server may take to start on a busy machine.
const START_SECONDS_MAX: u64 = 60;

struct Started {
    address: String,
    _process: Mutex<Child>,
    _folder: tempfile::TempDir,
}

/// `host:port` of the server; started at the first call.
pub fn address() -> &'static str {
    static STARTED: OnceLock<Started> = OnceLock::new();
    &STARTED.get_or_init(start).address
}

fn start() -> Started {
    let test = std::env::current_exe().expect("the path of this test");
    let binary = test.ancestors().nth(2).expect("target/PROFILE/deps/test").join("farwatch");
    assert!(
        binary.exists(),
        "no server at {}: `cargo test --workspace` builds it, and so does `cargo build`",
        binary.display()
    );
    let folder = tempfile::tempdir().expect("a folder");
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let address = format!("127.0.0.1:{port}");
    // The wrapper kills the server when this process, and with it the pipe, is gone.
    let script = r#"exec 3</dev/null; "$@" <&3 & server=$!; cat >/dev/null; kill $server"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(&binary).args(["serve", "--listen", &address]);
    command.arg("--data-dir").arg(folder.path().join("data"));
    // Short ticks, so that sessions of a fraction of a second are granted.
    for setting in [
        "tickTime=100",
        "extendedTypesEnabled=true",
        "maxClientCnxns=0",
        "4lw.commands.whitelist=*",
    ] {
        command.args(["--set", setting]);
    }
    let process = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let process = Mutex::new(process.expect("sh"));
    await_answer(&address, "ruok", "imok");
    Started { address, _process: process, _folder: folder }
}

/// Waits until a server's answer to a word of four letters has `wanted` in it.
pub fn await_answer(address: &str, word: &str, wanted: &str) {
    let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
    while Instant::now() < deadline {
        if let Ok(mut stream) = TcpStream::connect(address) {
            let mut answer = String::new();
            let said = stream.write_all(word.as_bytes());
            let asked = said.and_then(|()| stream.read_to_string(&mut answer));
            if asked.is_ok() && answer.contains(wanted) {
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(50)); // between attempts at a starting process
    }
    panic!("{address} did not answer within {START_SECONDS_MAX} s");
}

/// A connect string's chroot that no other test uses.
pub fn own_root() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let root = format!("/ffi-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let client = Client::open(address(), Options::default()).expect("connect string");
    client.create(&root, b"", &Acl::open(), CreateMode::Persistent).expect("own root");
    client.close().expect("close");
    root
}
