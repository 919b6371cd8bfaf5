//! The servers of a demo together: their configurations, ports and folders.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::DemoError;
use super::child::{Condition, Server, wait_or_kill};
use super::watch::Seen;
use crate::status;

/// How long a running server may take to say what it does.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// How long servers may take to stop before they are killed; a demo has little to finish.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// All servers, numbered from 1.
#[derive(Debug)]
pub(super) struct Ensemble {
    servers: Vec<Server>,
    folder: PathBuf,
    // Last: the directory outlives the processes that write into it.
    _temporary: Option<TempDir>,
}

/// The ports of one server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ports {
    client: u16,
    quorum: u16,
    election: u16,
}

impl Ensemble {
    /// Configures and starts `voters` servers in `folder`, or in a temporary directory.
    pub(super) fn start(voters: u32, folder: Option<&Path>) -> Result<Self, DemoError> {
        let (folder, temporary) = match folder {
            Some(folder) => (std::path::absolute(folder)?, None),
            None => {
                let temporary = tempfile::Builder::new().prefix("farwatch-demo-").tempdir()?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let ports = free_ports(voters)?;
        let mut servers = Vec::new();
        for (number, own) in (1..).zip(&ports) {
            let client = SocketAddr::from((Ipv4Addr::LOCALHOST, own.client));
            let server = Server::new(number, folder.join(format!("server-{number}")), client);
            configure(&server, &ports)?;
            servers.push(server);
        }
        let mut ensemble = Self { servers, folder, _temporary: temporary };
        for server in &mut ensemble.servers {
            server.start()?;
        }
        Ok(ensemble)
    }

    /// How many servers there are.
    pub(super) fn len(&self) -> u32 {
        self.servers.len() as u32
    }

    /// Where everything is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Server `number`, which exists.
    pub(super) fn server(&self, number: u32) -> &Server {
        &self.servers[number as usize - 1]
    }

    /// Server `number`, which exists.
    pub(super) fn server_mut(&mut self, number: u32) -> &mut Server {
        &mut self.servers[number as usize - 1]
    }

    /// Where clients connect.
    pub(super) fn clients(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(Server::client).collect()
    }

    /// Servers that ended by themselves since the last look.
    pub(super) fn reap(&mut self) -> io::Result<Vec<(u32, ExitStatus)>> {
        let mut ended = Vec::new();
        for server in &mut self.servers {
            ended.extend(server.reap()?.map(|status| (server.number(), status)));
        }
        Ok(ended)
    }

    /// Asks all servers at once what they do.
    pub(super) fn look(&mut self) -> BTreeMap<u32, Seen> {
        let look = |server: &mut Server| match server.condition() {
            Condition::Stopped => Seen::Down,
            Condition::Frozen => Seen::Frozen,
            Condition::Running => {
                let report = status::ask_ensemble(server.client(), ANSWER_WITHIN);
                let seen = Seen::of(report.as_ref());
                if matches!(seen, Seen::Follows(_)) && report.is_some_and(|it| !it.rejoining) {
                    server.rejoins = false; // it has its history again
                }
                seen
            }
        };
        thread::scope(|scope| {
            let looking: Vec<_> = (self.servers.iter_mut())
                .map(|server| (server.number(), scope.spawn(|| look(server))))
                .collect();
            let found = looking.into_iter();
            found
                .map(|(number, seen)| (number, seen.join().expect("looking never panics")))
                .collect()
        })
    }

    /// Takes server `number` its disk and lets it come back.
    pub(super) fn wipe(&mut self, number: u32) -> Result<(), DemoError> {
        // Alone there is nobody to come back from: it begins anew.
        let rejoins = 1 < self.servers.len();
        let server = self.server_mut(number);
        server.kill()?;
        let data = server.data();
        let wiped = fs::remove_dir_all(&data).and_then(|()| write_id(server));
        wiped.map_err(|cause| DemoError::File { path: data, cause })?;
        server.rejoins = rejoins;
        Ok(server.start()?)
    }

    /// Stops all servers at once.
    pub(super) fn stop(&mut self) {
        let deadline = Instant::now() + STOP_WITHIN;
        let stopping: Vec<Child> =
            self.servers.iter_mut().filter_map(Server::ask_to_stop).collect();
        for child in stopping {
            let number = child.id();
            if let Err(error) = wait_or_kill(child, deadline) {
                eprintln!("farwatch: process {number} may be left running: {error}");
            }
        }
    }
}

/// Ports that nobody listened on a moment ago, all different.
fn free_ports(servers: u32) -> io::Result<Vec<Ports>> {
    // Held until all are found, or one would be found twice.
    let mut held = Vec::new();
    let mut free = || -> io::Result<u16> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        held.push(listener);
        Ok(port)
    };
    (0..servers)
        .map(|_| Ok(Ports { client: free()?, quorum: free()?, election: free()? }))
        .collect()
}

/// Writes the files of `server`, whose data is kept where it is there already.
fn configure(server: &Server, ports: &[Ports]) -> Result<(), DemoError> {
    let path = server.config();
    let text = zoo_cfg(server, ports);
    let written = write_id(server).and_then(|()| fs::write(&path, text));
    written.map_err(|cause| DemoError::File { path, cause })
}

fn write_id(server: &Server) -> io::Result<()> {
    let data = server.data();
    DirBuilder::new().recursive(true).mode(0o700).create(&data)?;
    fs::write(data.join("myid"), format!("{}\n", server.number()))
}

fn zoo_cfg(server: &Server, ports: &[Ports]) -> String {
    let client = server.client();
    let mut text = format!(
        "dataDir={}\nclientPort={}\nclientPortAddress={}\ntickTime=1000\ninitLimit=10\n\
         syncLimit=5\nstandaloneEnabled=false\n4lw.commands.whitelist=*\n",
        server.data().display(),
        client.port(),
        client.ip(),
    );
    for (number, Ports { quorum, election, .. }) in (1..).zip(ports) {
        writeln!(text, "server.{number}=127.0.0.1:{quorum}:{election}")
            .expect("a String takes every write");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::{Server, free_ports, zoo_cfg};
    use crate::config_file;

    #[test]
    fn ports_are_all_different() {
        let ports = free_ports(7).unwrap();
        let all: BTreeSet<u16> =
            ports.iter().flat_map(|own| [own.client, own.quorum, own.election]).collect();
        assert_eq!(all.len(), 21);
    }

    #[test]
    fn the_configuration_of_each_server_is_one_that_is_read_without_a_word() {
        let ports = free_ports(3).unwrap();
        let client = ([127, 0, 0, 1], ports[1].client).into();
        let server = Server::new(2, PathBuf::from("/demo/server-2"), client);
        let text = zoo_cfg(&server, &ports);
        struct World;
        impl config_file::Surroundings for World {
            fn read(&self, path: &std::path::Path) -> std::io::Result<Vec<u8>> {
                assert_eq!(path, std::path::Path::new("/demo/server-2/data/myid"));
                Ok(b"2\n".to_vec())
            }
            fn resolve(&self, _host: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
                unreachable!("only addresses are written")
            }
            fn has_ipv6(&self) -> bool {
                false
            }
        }
        let input = config_file::Input {
            source: "zoo.cfg",
            text: text.as_bytes(),
            overrides: &[],
            listen: &[],
        };
        let loaded = config_file::load(&input, &World).unwrap();
        assert_eq!(loaded.notices, []);
        assert_eq!((loaded.config.server_id, loaded.config.voters().count()), (2, 3));
        assert_eq!(loaded.config.client_addrs, [client]);
    }
}
