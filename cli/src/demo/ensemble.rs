//! The servers of a demo together: their configurations, ports and folders.
//!
//! Observers have numbers behind the voters' here, for its commands; in the ensemble they are in no
//! list and have drawn ones.

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

use farwatch_observer::report::EnsembleReport;
use tempfile::TempDir;

use super::DemoError;
use super::child::{Condition, Server, wait_or_kill};
use super::site::Site;
use super::watch::Seen;
use crate::status;

/// How long a running server may take to say what it does.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// How long servers may take to stop before they are killed; a demo has little to finish.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// What a demo consists of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) voters: u32,
    pub(super) sites: u32,
    pub(super) observers_per_site: u32,
    /// How long the way to each site and back takes.
    pub(super) rtt: Duration,
}

/// All servers, numbered from 1: the voters first.
#[derive(Debug)]
pub(super) struct Ensemble {
    servers: Vec<Server>,
    /// Where the voters' peers connect, and observers.
    upstreams: Vec<SocketAddr>,
    sites: Vec<Site>,
    /// Observers that begin when the first of their site serves: they would learn from afar else.
    waiting: Vec<u32>,
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
    /// Configures and starts the servers in `folder`, or in a temporary directory.
    pub(super) fn start(plan: &Plan, folder: Option<&Path>) -> Result<Self, DemoError> {
        let (folder, temporary) = match folder {
            Some(folder) => (std::path::absolute(folder)?, None),
            None => {
                let temporary = tempfile::Builder::new().prefix("farwatch-demo-").tempdir()?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let ports = free_ports(plan.voters + plan.sites * plan.observers_per_site)?;
        let (voters, observers) = ports.split_at(plan.voters as usize);
        let mut servers = Vec::new();
        let mut add = |number: u32, own: &Ports, lines: &str| {
            let votes = number <= plan.voters;
            let folder = folder.join(format!("server-{number}"));
            let server = Server::new(number, folder, local(own.client), votes);
            configure(&server, lines)?;
            servers.push(server);
            Ok::<(), DemoError>(())
        };
        for (number, own) in (1..).zip(voters) {
            add(number, own, &voter_lines(voters))?;
        }
        let quorum: Vec<SocketAddr> = voters.iter().map(|voter| local(voter.quorum)).collect();
        let mut sites = Vec::new();
        let mut next = plan.voters + 1;
        for (number, own) in (1..).zip(observers.chunks(plan.observers_per_site.max(1) as usize)) {
            let numbers: Vec<u32> = (next..).take(own.len()).collect();
            let site = Site::new(number, numbers.clone(), plan.rtt, &quorum)?;
            let first = local(own[0].quorum);
            for (number, own) in numbers.into_iter().zip(own) {
                add(number, own, &observer_lines(local(own.quorum), first, site.places()))?;
            }
            next += own.len() as u32;
            sites.push(site);
        }
        let waiting = sites.iter().flat_map(|site| site.servers[1..].to_vec()).collect();
        let upstreams = quorum;
        let mut ensemble =
            Self { servers, upstreams, sites, waiting, folder, _temporary: temporary };
        for server in &mut ensemble.servers {
            if !ensemble.waiting.contains(&server.number()) {
                server.start()?;
            }
        }
        Ok(ensemble)
    }

    /// How many servers there are.
    pub(super) fn len(&self) -> u32 {
        self.servers.len() as u32
    }

    /// Where observers can learn from the voters.
    pub(super) fn upstreams(&self) -> &[SocketAddr] {
        &self.upstreams
    }

    /// The sites, in the order of their numbers.
    pub(super) fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// Site `number`, which exists.
    pub(super) fn site_mut(&mut self, number: u32) -> &mut Site {
        &mut self.sites[number as usize - 1]
    }

    /// Those who vote.
    pub(super) fn voters(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| server.votes())
    }

    /// Those who do not.
    pub(super) fn observers(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| !server.votes())
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

    /// Starts those whose site has a first observer that serves by now.
    pub(super) fn start_behind(&mut self, seen: &BTreeMap<u32, Seen>) -> io::Result<()> {
        for site in &self.sites {
            let serves = matches!(seen.get(&site.servers[0]), Some(Seen::Follows(_)));
            for &number in site.servers[1..].iter().filter(|_| serves) {
                let Some(at) = self.waiting.iter().position(|&it| it == number) else { continue };
                self.waiting.remove(at);
                let server = &mut self.servers[number as usize - 1];
                if server.condition() == Condition::Stopped {
                    server.start()?; // nobody was faster with a command
                }
            }
        }
        Ok(())
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
    pub(super) fn look(&mut self) -> BTreeMap<u32, (Seen, Option<EnsembleReport>)> {
        let look = |server: &mut Server| match server.condition() {
            Condition::Stopped => (Seen::Down, None),
            Condition::Frozen => (Seen::Frozen, None),
            Condition::Running => {
                let report = status::ask_ensemble(server.client(), ANSWER_WITHIN);
                let seen = Seen::of(report.as_ref(), server.votes());
                let has_history = report.as_ref().is_some_and(|it| !it.rejoining);
                if matches!(seen, Seen::Follows(_)) && has_history {
                    server.rejoins = false;
                }
                (seen, report)
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
        // Alone there is nobody to come back from: it begins anew. An observer has promised nothing.
        let rejoins = 1 < self.voters().count() && self.server(number).votes();
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

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Writes the files of `server`, whose data is kept where it is there already.
fn configure(server: &Server, lines: &str) -> Result<(), DemoError> {
    let path = server.config();
    let text = zoo_cfg(server, lines);
    let written = write_id(server).and_then(|()| fs::write(&path, text));
    written.map_err(|cause| DemoError::File { path, cause })
}

fn write_id(server: &Server) -> io::Result<()> {
    let data = server.data();
    DirBuilder::new().recursive(true).mode(0o700).create(&data)?;
    fs::write(data.join("myid"), format!("{}\n", server.number()))
}

/// What every server is told, and `lines` of its own.
fn zoo_cfg(server: &Server, lines: &str) -> String {
    let client = server.client();
    format!(
        "dataDir={}\nclientPort={}\nclientPortAddress={}\ntickTime=1000\ninitLimit=10\n\
         syncLimit=5\nmaxSessionTimeout=600000\nstandaloneEnabled=false\n\
         4lw.commands.whitelist=*\n{lines}",
        server.data().display(),
        client.port(),
        client.ip(),
    )
}

/// Voters are told each other.
fn voter_lines(voters: &[Ports]) -> String {
    let mut text = String::new();
    for (number, Ports { quorum, election, .. }) in (1..).zip(voters) {
        writeln!(text, "server.{number}=127.0.0.1:{quorum}:{election}")
            .expect("a String takes every write");
    }
    text
}

/// An observer learns from the `first` of its site, so that one copy of everything takes the long
/// way; that one, or all without it, from the voters through the way's `places`.
fn observer_lines(own: SocketAddr, first: SocketAddr, places: &[SocketAddr]) -> String {
    let near = [first].into_iter().filter(|&first| first != own);
    let list: Vec<String> = near.chain(places.iter().copied()).map(|it| it.to_string()).collect();
    format!("farwatch.observe={}\nfarwatch.peerAddress={own}\n", list.join(","))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::{Server, free_ports, local, observer_lines, voter_lines, zoo_cfg};
    use crate::config_file::{self, Loaded};

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

    fn load(text: &str) -> Loaded {
        let input = config_file::Input {
            source: "zoo.cfg",
            text: text.as_bytes(),
            overrides: &[],
            listen: &[],
        };
        config_file::load(&input, &World).unwrap()
    }

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
        let server = Server::new(2, PathBuf::from("/demo/server-2"), client, true);
        let loaded = load(&zoo_cfg(&server, &voter_lines(&ports)));
        assert_eq!(loaded.notices, []);
        assert_eq!((loaded.config.server_id, loaded.config.voters().count()), (2, 3));
        assert_eq!(loaded.config.client_addrs, [client]);
    }

    #[test]
    fn the_second_observer_of_a_site_learns_from_the_first_and_else_from_afar() {
        let server = Server::new(5, PathBuf::from("/demo/server-5"), local(1), false);
        let upstreams = |own| {
            let lines = observer_lines(local(own), local(10), &[local(20), local(21)]);
            let loaded = load(&zoo_cfg(&server, &lines));
            assert_eq!(loaded.notices, []);
            assert_eq!(loaded.config.peer_addrs, [local(own)]);
            assert!(loaded.config.is_guest());
            loaded.config.upstreams.into_iter().map(|(_, port)| port).collect::<Vec<_>>()
        };
        assert_eq!(upstreams(10), [20, 21]);
        assert_eq!(upstreams(11), [10, 20, 21]);
    }
}
