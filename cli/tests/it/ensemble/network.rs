//! A network of their own for the servers of one test, whose ways can be cut one by one.
//!
//! ```text
//! server 1 (its namespace) ── veth ─┐
//! server 2 ──────────────────────── bridge (the test's namespace): clients
//! server 3 ─────────────────────────┘
//! ```
//!
//! Nothing of it is in the machine's own namespace, and all of it is gone with the test's process.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::servers::{Layout, PATIENCE, until};

/// Namespaces, the test's own first.
pub struct Network {
    spaces: Vec<Space>,
}

/// A network namespace, which is there as long as the process that holds it.
struct Space(Child);

impl Drop for Space {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("process {} may be left running: {error}", self.0.id());
        }
    }
}

impl Space {
    fn new() -> Result<Self, String> {
        let mut command = Command::new("unshare");
        // The shell ends with its standard input, and so with this process.
        let command = command.args(["--net", "sh", "-c", "echo ready; read _"]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = child.spawn().map_err(|error| format!("no unshare command: {error}"))?;
        let mut ready = [0; 5];
        let said = child.stdout.take().expect("piped");
        let read = std::io::Read::read_exact(&mut { said }, &mut ready);
        let space = Self(child);
        read.map_err(|_| "no network namespace can be made: it takes root".to_owned())?;
        Ok(space)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// Runs `ip` in the namespace.
    fn ip(&self, line: &str) -> Result<(), String> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg("ip").args(line.split(' '));
        let done = command.output().map_err(|error| format!("no nsenter command: {error}"))?;
        if done.status.success() {
            return Ok(());
        }
        Err(format!("ip {line}: {}", String::from_utf8_lossy(&done.stderr).trim()))
    }
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number as u8)
}

impl Network {
    /// A network of so many servers, numbered from 1.
    fn new(servers: u32) -> Result<Self, String> {
        let test = Space::new()?;
        test.ip("link set lo up")?;
        test.ip("link add hub type bridge")?;
        test.ip("addr add 10.77.0.254/24 dev hub")?;
        test.ip("link set hub up")?;
        let mut spaces = vec![test];
        for number in 1..=servers {
            let space = Space::new()?;
            let holder = space.0.id();
            let test = &spaces[0];
            test.ip(&format!("link add to{number} type veth peer name eth0 netns {holder}"))?;
            test.ip(&format!("link set to{number} master hub up"))?;
            space.ip("link set lo up")?;
            space.ip(&format!("addr add {}/24 dev eth0", address(number)))?;
            space.ip("link set eth0 up")?;
            spaces.push(space);
        }
        Ok(Self { spaces })
    }

    /// How an ensemble is laid out in it.
    pub fn layout(&self) -> Layout {
        let servers = 1..self.spaces.len() as u32;
        let through = servers.clone().map(|number| {
            let space = self.spaces[number as usize].path();
            vec!["nsenter".to_owned(), format!("--net={space}")]
        });
        Layout {
            through: through.collect(),
            hosts: servers.map(address).collect(),
            ..Layout::default()
        }
    }

    /// Lets nothing more through from one server to another; the other way stays.
    pub fn cut_one_way(&self, from: u32, to: u32) {
        let cut = format!("route add blackhole {}/32", address(to));
        self.spaces[from as usize].ip(&cut).expect("a way is cut");
    }

    /// Lets nothing through between two servers.
    pub fn cut(&self, one: u32, other: u32) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Mends every way that is cut.
    pub fn heal(&self) {
        for space in &self.spaces[1..] {
            space.ip("route flush type blackhole").expect("ways are mended");
        }
    }
}

/// Runs `what` on a thread in the namespace of the test, with its network of three servers. Says so
/// and does nothing where there can be none.
pub fn in_a_network(test: &str, what: impl FnOnce(&Network) + Send) {
    let network = match Network::new(3) {
        Ok(network) => network,
        Err(why) => {
            eprintln!("not run: {test}, because {why}");
            return;
        }
    };
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let space = File::open(network.spaces[0].path()).expect("a namespace");
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(space.as_fd(), kind).expect("root may enter it");
            // What this thread starts is inside as well.
            until("the test's network is there", PATIENCE, || {
                fs::read_to_string("/proc/thread-self/net/dev").is_ok_and(|it| it.contains("hub"))
            });
            what(&network);
        });
        if let Err(panicked) = inside.join() {
            std::panic::resume_unwind(panicked);
        }
    });
}
