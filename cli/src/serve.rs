//! `farwatch serve`: from arguments, files and variables to a running server.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::thread;

use clap::Args;
use farwatch_core::log::identity::IDENTITY_FILE;
use farwatch_observer::config::{ServerConfig, ServerRole, Standing};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config_file::{
    self, BUILT_IN, BUILT_IN_OBSERVER, ConfigError, Input, Loaded, Surroundings, container,
};
use crate::port_holder;
use farwatch_observer::memory_dir;

/// Exit code of a configuration that cannot be used. ZooKeeper's.
pub const EXIT_BAD_CONFIG: u8 = 2;

/// Exit code of a data directory that cannot be used. ZooKeeper's.
pub const EXIT_DATA_DIR: u8 = 3;

/// Starts a server. Without options and ZOO_* variables: alone, on 127.0.0.1:2181, with its data in
/// ./farwatch-data.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// A zoo.cfg. Without it, ZOO_* variables of the container image are taken where they are set.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The directory of the data, instead of dataDir.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// An address to accept clients on: a port, or host:port. May be repeated.
    #[arg(long, value_name = "ADDR", value_parser = listen_addr)]
    pub listen: Vec<SocketAddr>,

    /// Threads that serve clients; 0 chooses by the number of cores.
    #[arg(long, value_name = "N")]
    pub threads: Option<u32>,

    /// Serves as an observer, without a vote: learns from the first of these servers that can be
    /// learned from, by their quorum ports. They may be voters or other observers. Without --data-dir
    /// it keeps its data in memory only, and copies the tree at each start.
    #[arg(long, value_name = "HOST:PORT,…")]
    pub observe: Option<String>,

    /// With --observe: an address where further observers can learn from this one.
    #[arg(long, value_name = "HOST:PORT")]
    pub peer_listen: Option<String>,

    /// Any key of a zoo.cfg. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub settings: Vec<(String, String)>,

    /// For a voter of an ensemble whose disk was lost, damaged or wiped: it copies the history of
    /// the others before it votes again.
    #[arg(long)]
    pub rejoin: bool,

    /// For a change of the ensemble's voters by more than one that comes or goes: all servers are
    /// stopped, and each is started once with the new list and this.
    #[arg(long)]
    pub change_voters: bool,

    /// Stops when standard input ends: for a parent that must not leave servers behind.
    #[arg(long, hide = true)]
    pub stop_with_stdin: bool,

    /// Only reads the configuration and looks at the directories; says what is wrong.
    #[arg(long)]
    pub check: bool,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration.
    #[error("Invalid config, exiting abnormally: {0}")]
    Config(#[from] ConfigError),
    /// A configuration file.
    #[error("Invalid config, exiting abnormally: {path} cannot be read ({error})")]
    ConfigFile {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There is nobody to copy from.
    #[error(
        "Invalid config, exiting abnormally: --rejoin copies the history of other voters, and the \
         configuration names none: restore a backup, or start without it"
    )]
    RejoinAlone,
    /// A data directory.
    #[error("{}", explain_dir(path, error))]
    DataDir {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl ServeError {
    /// ZooKeeper's exit code for it.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::ConfigFile { .. } | Self::RejoinAlone => EXIT_BAD_CONFIG,
            Self::DataDir { .. } => EXIT_DATA_DIR,
        }
    }
}

/// Reads the configuration that `args` and `variables` ask for, logs what the operator should know,
/// and makes sure of the data directories.
pub fn prepare(
    args: &ServeArgs,
    variables: &BTreeMap<String, String>,
) -> Result<ServerConfig, ServeError> {
    let Loaded { mut config, notices } = read(args, variables)?;
    for notice in &notices {
        tracing::warn!("{notice}");
    }
    config.rejoin = args.rejoin;
    config.change_voters = args.change_voters;
    let others = config.role == ServerRole::Observer || 1 < config.voters().count();
    if config.rejoin && !others {
        return Err(ServeError::RejoinAlone);
    }
    if config.memory_only && !args.check {
        let place = PathBuf::from("/dev/shm");
        let own =
            memory_dir::claim().map_err(|error| ServeError::DataDir { path: place, error })?;
        config.keep_in_memory(own);
    }
    if config.memory_only && args.check {
        return Ok(config);
    }
    for dir in [&config.data_dir, &config.data_log_dir] {
        let usable = match (args.check, config.data_dir_autocreate) {
            (false, create) => usable_dir(dir, create),
            (true, true) if !dir.exists() => can_be_made(dir),
            (true, _) => usable_dir(dir, false),
        };
        usable.map_err(|error| ServeError::DataDir { path: dir.clone(), error })?;
    }
    if let Some(warning) = foreign_data(&config) {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

/// What the operator must know of a directory in which a ZooKeeper has its data, and this server none yet.
fn foreign_data(config: &ServerConfig) -> Option<String> {
    let found = [&config.data_dir, &config.data_log_dir];
    let theirs = found.into_iter().map(|dir| dir.join("version-2")).find(|dir| dir.is_dir())?;
    if config.data_dir.join(IDENTITY_FILE).exists() {
        return None;
    }
    Some(format!(
        "{} holds the data of a ZooKeeper, which is not read: this server starts with an empty tree beside it. \
         To keep that tree, start ZooKeeper on it again and copy what is needed with a client",
        theirs.display()
    ))
}

fn read(args: &ServeArgs, variables: &BTreeMap<String, String>) -> Result<Loaded, ServeError> {
    let in_image = variables.get("ZOO_CONF_DIR").map(|dir| Path::new(dir).join("zoo.cfg"));
    let file = args.config.clone().or_else(|| in_image.filter(|path| path.exists()));
    let (source, text) = match &file {
        Some(path) => {
            let text = fs::read(path)
                .map_err(|error| ServeError::ConfigFile { path: path.clone(), error })?;
            (path.display().to_string(), text)
        }
        None if container::is_asked_for(variables) => {
            let text = container::zoo_cfg(variables);
            ("ZOO_* variables".to_owned(), text.into_bytes())
        }
        None => {
            let keeps_nothing = args.observe.is_some() && args.data_dir.is_none();
            let text = if keeps_nothing { BUILT_IN_OBSERVER } else { BUILT_IN };
            ("built-in configuration".to_owned(), text.as_bytes().to_vec())
        }
    };
    let overrides = overrides(args);
    let listen = &args.listen;
    let input = Input { source: &source, text: &text, overrides: &overrides, listen };
    let given_id =
        (file.is_none() && container::is_asked_for(variables)).then(|| container::my_id(variables));
    Ok(config_file::load(&input, &Machine { given_id, keeps_id: !args.check })?)
}

/// The options that stand for keys of a `zoo.cfg`; `--set` comes first, so that the special ones
/// win.
fn overrides(args: &ServeArgs) -> Vec<(&'static str, String, String)> {
    let mut overrides: Vec<_> =
        args.settings.iter().map(|(key, value)| ("--set", key.clone(), value.clone())).collect();
    if let Some(dir) = &args.data_dir {
        overrides.push(("--data-dir", "dataDir".to_owned(), dir.display().to_string()));
    }
    if let Some(list) = &args.observe {
        overrides.push(("--observe", "farwatch.observe".to_owned(), list.clone()));
    }
    if let Some(place) = &args.peer_listen {
        overrides.push(("--peer-listen", "farwatch.peerAddress".to_owned(), place.clone()));
    }
    if let Some(threads) = args.threads {
        overrides.push(("--threads", "farwatch.threads".to_owned(), threads.to_string()));
    }
    overrides
}

/// The machine that the server runs on.
struct Machine {
    /// What `myid` gets when it is missing: the container's `ZOO_MY_ID`.
    given_id: Option<String>,
    /// Whether that is written there.
    keeps_id: bool,
}

impl Surroundings for Machine {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let id = self.given_id.as_ref().filter(|_| path.file_name().is_some_and(|n| n == "myid"));
        match (fs::read(path), id) {
            (Err(error), Some(id)) if error.kind() == io::ErrorKind::NotFound => {
                // Kept, as the image keeps it: a later change of the variable changes no server.
                if self.keeps_id {
                    path.parent().map_or(Ok(()), create_private)?;
                    fs::write(path, format!("{id}\n"))?;
                }
                Ok(id.clone().into_bytes())
            }
            (read, _) => read,
        }
    }

    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|addr| addr.ip()).collect())
    }

    fn has_ipv6(&self) -> bool {
        UdpSocket::bind("[::]:0").is_ok()
    }
}

/// Creates `dir` for this user alone: it holds secrets of sessions.
fn create_private(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Whether `dir`, which is not there, could be made: its nearest ancestor that is there can be written to.
fn can_be_made(dir: &Path) -> io::Result<()> {
    let there = dir.ancestors().skip(1).find(|it| it.as_os_str().is_empty() || it.exists());
    match there.filter(|it| !it.as_os_str().is_empty()) {
        Some(parent) => usable_dir(parent, false),
        None => usable_dir(Path::new("."), false),
    }
}

/// Makes sure that `dir` is there and can be written to.
fn usable_dir(dir: &Path, create: bool) -> io::Result<()> {
    if create {
        create_private(dir)?;
    }
    let probe = dir.join(".farwatch-write-probe");
    fs::write(&probe, [])?;
    fs::remove_file(&probe)
}

/// What to tell the operator when the data directory `path` cannot be used.
pub fn explain_dir(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on its disk",
        io::ErrorKind::ReadOnlyFilesystem => "make its disk writable",
        _ => "create it, let this user write to it",
    };
    format!(
        "the data directory {path} cannot be used ({error}): {advice}, or start with --data-dir"
    )
}

/// What to tell the operator when `addr` cannot be listened on: for a port that is taken, who holds
/// it. `key` is the setting that names it; without one it is the clients' address.
pub fn explain_bind(addr: SocketAddr, key: Option<&str>, error: &io::Error) -> String {
    let remedy = key.map_or_else(
        || "start with --listen and another port".to_owned(),
        |key| format!("name another port in {key}"),
    );
    match error.kind() {
        io::ErrorKind::AddrInUse => port_holder::explain(addr, &remedy),
        io::ErrorKind::PermissionDenied => {
            format!("this user may not listen on {addr}: use a port from 1024, or another user")
        }
        io::ErrorKind::AddrNotAvailable => {
            let named = key.unwrap_or("clientPortAddress or --listen");
            let listed = key.is_some_and(|key| key.starts_with("server."));
            let hint = match listed {
                true => {
                    ", or set quorumListenOnAllIPs=true where only others have it for this server"
                }
                false => "",
            };
            format!("{addr} is no address of this machine: see {named}{hint}")
        }
        _ => format!("{addr} cannot be listened on: {error}"),
    }
}

/// Lets this process open as many files as its hard limit allows: the soft one, 1,024 in most shells and
/// services, is for programs that cannot count further, and few for a server. A JVM does the same.
pub fn take_all_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(?current, ?maximum, %error, "the limit of open files stays as it is");
    }
}

/// Calls `stop` when standard input ends, from a thread of its own. What is read is ignored.
pub fn on_stdin_end(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let waiter = thread::Builder::new().name("stdin".to_owned());
    waiter.spawn(move || {
        let _ended_either_way = io::copy(&mut io::stdin().lock(), &mut io::sink());
        stop();
    })?;
    Ok(())
}

/// The one line that a server says when it serves.
pub fn start_line(config: &ServerConfig, bound: &[SocketAddr], io_driver: &str) -> String {
    let addresses: Vec<String> = bound.iter().map(ToString::to_string).collect();
    let role = match (config.standing, config.role) {
        (Standing::Alone, _) => "standalone".to_owned(),
        (Standing::Member, ServerRole::Participant) => format!("voter {}", config.server_id),
        (Standing::Member, ServerRole::Observer) if config.is_guest() => {
            let list = config.upstreams.iter().map(|(host, port)| format!("{host}:{port}"));
            format!("observer of {}", list.collect::<Vec<_>>().join(", "))
        }
        (Standing::Member, ServerRole::Observer) => format!("observer {}", config.server_id),
    };
    if config.memory_only {
        return format!(
            "farwatch {} serves clients on {}, data in memory only, {role}, {io_driver}",
            env!("CARGO_PKG_VERSION"),
            addresses.join(" and "),
        );
    }
    let log = match config.data_log_dir == config.data_dir {
        true => String::new(),
        false => format!(", log in {}", config.data_log_dir.display()),
    };
    format!(
        "farwatch {} serves clients on {}, data in {}{log}, {role}, {io_driver}",
        env!("CARGO_PKG_VERSION"),
        addresses.join(" and "),
        config.data_dir.display(),
    )
}

/// Begins this program anew in this process, with the arguments it had: its state on disk is another
/// one now. `--rejoin` and `--change-voters` have done their part and are left out. Returns only why that cannot be
/// done.
pub fn begin_again() -> anyhow::Error {
    let done = |argument: &OsString| argument == "--rejoin" || argument == "--change-voters";
    let arguments = std::env::args_os().skip(1).filter(|argument| !done(argument));
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(cause) => return anyhow::anyhow!("this program's file is not to be found: {cause}"),
    };
    let cause = std::process::Command::new(&program).args(arguments).exec();
    anyhow::anyhow!("{} cannot be begun anew: {cause}. Start the server again", program.display())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        Some(_) | None => Err("write it as KEY=VALUE, such as tickTime=2000".to_owned()),
    }
}

/// `2181` is that port on loopback, which is what a port alone means everywhere else here.
fn listen_addr(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    let found = text.to_socket_addrs().map_err(|error| error.to_string())?;
    let addrs: Vec<SocketAddr> = found.collect();
    let ipv4 = addrs.iter().find(|addr| addr.is_ipv4());
    ipv4.or(addrs.first()).copied().ok_or_else(|| "it has no address".to_owned())
}

#[cfg(test)]
mod tests;
