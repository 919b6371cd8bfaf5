//! A server of this workspace for the programs, and a way to it that can be cut or held up.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
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
    await_ok(&address);
    Started { address, _process: process, _folder: folder }
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

/// A connect string's chroot that no other test uses.
pub fn own_root() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let root = format!("/ffi-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let client = Client::open(address(), Options::default()).expect("connect string");
    client.create(&root, b"", &Acl::open(), CreateMode::Persistent).expect("own root");
    client.close().expect("close");
    root
}

/// A way to the server.
pub struct Way {
    /// Where programs connect to.
    pub address: String,
    state: Arc<WayState>,
}

#[derive(Default)]
struct WayState {
    /// New connections are closed at once.
    is_cut: AtomicBool,
    /// Bytes are taken and passed on to nobody.
    is_mute: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Way {
    /// Listens on a free port.
    pub fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let state = Arc::new(WayState::default());
        let shared = Arc::clone(&state);
        let target = self::address();
        std::thread::spawn(move || {
            for inward in listener.incoming().flatten() {
                if shared.is_cut.load(Ordering::SeqCst) {
                    continue; // closed by its drop
                }
                let outward = TcpStream::connect(target).expect("the server");
                for (from, to) in [(&inward, &outward), (&outward, &inward)] {
                    shared.streams.lock().unwrap().push(from.try_clone().unwrap());
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || pass_on(&shared, from, to));
                }
            }
        });
        Self { address, state }
    }

    /// Cuts what stands, and refuses what comes.
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
        for stream in self.state.streams.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// Lets connections through again.
    pub fn heal(&self) {
        self.state.is_cut.store(false, Ordering::SeqCst);
    }

    /// Takes everything and answers nothing, from here on.
    pub fn mute(&self) {
        self.state.is_mute.store(true, Ordering::SeqCst);
    }
}

fn pass_on(state: &WayState, mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count) = from.read(&mut buffer) {
        let is_mute = state.is_mute.load(Ordering::SeqCst);
        if count == 0 || !is_mute && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
}
