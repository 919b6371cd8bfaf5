//! `conf`, `dirs` and `envi`: how the server was set up, and where it runs.

use std::path::Path;

use super::VERSION;
use super::server::put;
use crate::config::{ServerConfig, ServerRole, Standing};

/// Facts of `conf` and `dirs` beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct ConfFacts {
    /// The port that plain clients are accepted on; differs from the configured one when that was
    /// 0. `None` prints as -1.
    pub client_port: Option<u16>,
    /// Bytes of all files in the data directory.
    pub data_dir_bytes: u64,
    /// Bytes of all files in the log's directory.
    pub data_log_dir_bytes: u64,
    /// The text of `/zookeeper/config`, with its `version=` line; unused by a server that stands
    /// alone.
    pub membership: String,
}

/// `conf`.
pub fn conf(config: &ServerConfig, facts: &ConfFacts) -> String {
    let mut text = String::new();
    let port = |port: Option<u16>| port.map_or(-1, i32::from);
    let secure = config.secure_client_addr.map(|addr| addr.port());
    let lines: [(&str, &dyn std::fmt::Display); 12] = [
        ("clientPort", &port(facts.client_port)),
        ("secureClientPort", &port(secure)),
        ("dataDir", &config.data_dir.display()),
        ("dataDirSize", &facts.data_dir_bytes),
        ("dataLogDir", &config.data_log_dir.display()),
        ("dataLogSize", &facts.data_log_dir_bytes),
        ("tickTime", &config.tick_time_ms),
        ("maxClientCnxns", &config.client_connections_max),
        ("minSessionTimeout", &config.session_timeout_ms_min),
        ("maxSessionTimeout", &config.session_timeout_ms_max),
        ("clientPortListenBacklog", &config.client_backlog),
        ("serverId", &config.server_id),
    ];
    lines.iter().for_each(|(key, value)| put(&mut text, format_args!("{key}={value}\n")));
    match config.standing {
        Standing::Alone => {}
        Standing::Member => member(config, &facts.membership, &mut text),
    }
    text
}

fn member(config: &ServerConfig, membership: &str, text: &mut String) {
    put(text, format_args!("initLimit={}\n", config.init_limit_ticks));
    put(text, format_args!("syncLimit={}\n", config.sync_limit_ticks));
    text.push_str("electionAlg=3\n");
    let peer = config.own_spec().and_then(|spec| spec.peers.first());
    let election = peer.and_then(|peer| peer.election_port).map_or(-1, i32::from);
    let quorum = peer.map_or(-1, |peer| i32::from(peer.quorum_port));
    put(text, format_args!("electionPort={election}\nquorumPort={quorum}\n"));
    let kind = match config.role {
        ServerRole::Participant => 0,
        ServerRole::Observer => 1,
    };
    // The space after `membership:` and the missing last newline are ZooKeeper's.
    put(text, format_args!("peerType={kind}\nmembership: \n{membership}"));
}

/// `dirs`.
pub fn dirs(facts: &ConfFacts) -> String {
    let ConfFacts { data_dir_bytes, data_log_dir_bytes, .. } = facts;
    format!("datadir_size: {data_dir_bytes}\nlogdir_size: {data_log_dir_bytes}\n")
}

/// Facts of `envi`.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The name of this host.
    pub host_name: String,
    /// `Linux`.
    pub os_name: String,
    /// `x86_64`; printed as Java names it.
    pub os_arch: String,
    /// The kernel's release.
    pub os_version: String,
    /// Who runs the server.
    pub user_name: String,
    /// That user's home.
    pub user_home: String,
    /// The working directory.
    pub user_dir: String,
    /// Where temporary files go.
    pub temp_dir: String,
    /// Memory that the machine has free, bytes.
    pub memory_free_bytes: u64,
    /// Memory that the process may use, bytes.
    pub memory_max_bytes: u64,
    /// Memory that the process uses, bytes.
    pub memory_used_bytes: u64,
}

impl Environment {
    /// Asks the system. What it does not say reads `<NA>`, as in ZooKeeper.
    pub fn read() -> Self {
        let unknown = || "<NA>".to_owned();
        let kernel = |name: &str| {
            let text = std::fs::read_to_string(Path::new("/proc/sys/kernel").join(name));
            text.map_or_else(|_| unknown(), |text| text.trim().to_owned())
        };
        let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| unknown());
        let directory = std::env::current_dir();
        let total = kibibytes("/proc/meminfo", "MemTotal:");
        Self {
            host_name: kernel("hostname"),
            os_name: kernel("ostype"),
            os_arch: std::env::consts::ARCH.to_owned(),
            os_version: kernel("osrelease"),
            user_name: variable("USER"),
            user_home: variable("HOME"),
            user_dir: directory.map_or_else(|_| unknown(), |path| path.display().to_string()),
            temp_dir: std::env::temp_dir().display().to_string(),
            memory_free_bytes: kibibytes("/proc/meminfo", "MemAvailable:"),
            memory_max_bytes: total,
            memory_used_bytes: kibibytes("/proc/self/status", "VmRSS:"),
        }
    }
}

/// The number behind `label` in a file of `/proc`, in bytes; 0 when it is not there.
fn kibibytes(file: &str, label: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

/// `envi`. The keys are ZooKeeper's, in its order; where there is no Java, tools that read the keys
/// find what plays its part, or `<NA>`.
pub fn envi(facts: &Environment) -> String {
    let arch = if facts.os_arch == "x86_64" { "amd64" } else { &facts.os_arch };
    let mebibytes = |bytes: u64| format!("{}MB", bytes >> 20);
    let lines: [(&str, &str); 18] = [
        ("zookeeper.version", VERSION),
        ("host.name", &facts.host_name),
        ("java.version", "<NA>"),
        ("java.vendor", "<NA>"),
        ("java.home", "<NA>"),
        ("java.class.path", "<NA>"),
        ("java.library.path", "<NA>"),
        ("java.io.tmpdir", &facts.temp_dir),
        ("java.compiler", "<NA>"),
        ("os.name", &facts.os_name),
        ("os.arch", arch),
        ("os.version", &facts.os_version),
        ("user.name", &facts.user_name),
        ("user.home", &facts.user_home),
        ("user.dir", &facts.user_dir),
        ("os.memory.free", &mebibytes(facts.memory_free_bytes)),
        ("os.memory.max", &mebibytes(facts.memory_max_bytes)),
        ("os.memory.total", &mebibytes(facts.memory_used_bytes)),
    ];
    let mut text = String::from("Environment:\n");
    lines.iter().for_each(|(key, value)| put(&mut text, format_args!("{key}={value}\n")));
    text
}
