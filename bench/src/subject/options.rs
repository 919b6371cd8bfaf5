//! How a subject is configured.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

/// Configuration that every kind of server understands.
///
/// Defaults: ZooKeeper's own, but every four-letter word allowed and no limit on connections per
/// address, since all clients of a test or a load come from one.
#[derive(Clone, Debug)]
pub struct Options {
    tick_millis: u32,
    max_client_connections: u32,
    words: String,
    lines: Vec<String>,
    properties: Vec<(String, String)>,
    java_flags: Vec<String>,
    observers: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tick_millis: 2_000,
            max_client_connections: 0,
            words: "*".to_owned(),
            lines: Vec::new(),
            properties: Vec::new(),
            java_flags: Vec::new(),
            observers: 0,
        }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `tickTime`, in milliseconds.
    #[must_use]
    pub fn tick_millis(mut self, tick_millis: u32) -> Self {
        self.tick_millis = tick_millis;
        self
    }

    /// Sets `maxClientCnxns`; 0 is no limit.
    #[must_use]
    pub fn max_client_connections(mut self, count: u32) -> Self {
        self.max_client_connections = count;
        self
    }

    /// Sets `4lw.commands.whitelist`; `srvr`, by which readiness is seen, is always in it.
    #[must_use]
    pub fn words(mut self, words: &str) -> Self {
        words.clone_into(&mut self.words);
        self
    }

    /// Adds a line `key=value` to zoo.cfg.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Whether a line of zoo.cfg sets this key.
    pub(super) fn sets(&self, key: &str) -> bool {
        let names = |line: &String| line.split_once('=').is_some_and(|(name, _)| name == key);
        self.lines.iter().any(names)
    }

    /// Adds what ZooKeeper takes only as a system property. Farwatch gets a line of zoo.cfg
    /// without the prefix `zookeeper.`.
    #[must_use]
    pub fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Adds a flag of the Java machine, such as `-Xmx2g`; Farwatch ignores it.
    #[must_use]
    pub fn java_flag(mut self, flag: &str) -> Self {
        self.java_flags.push(flag.to_owned());
        self
    }

    /// Lists so many observers beside an ensemble's voters. They are started one by one.
    #[must_use]
    pub fn observers(mut self, count: u32) -> Self {
        self.observers = count;
        self
    }

    pub(super) fn observer_count(&self) -> u32 {
        self.observers
    }

    /// One `tickTime`, in milliseconds.
    pub(super) fn tick(&self) -> u32 {
        self.tick_millis
    }

    pub(super) fn config(&self, data_directory: &Path, address: SocketAddr) -> String {
        let mut config = format!(
            "tickTime={}\ndataDir={}\nclientPortAddress={}\nclientPort={}\nmaxClientCnxns={}\n\
             4lw.commands.whitelist={}\n",
            self.tick_millis,
            data_directory.display(),
            address.ip(),
            address.port(),
            self.max_client_connections,
            self.words,
        );
        for line in &self.lines {
            writeln!(config, "{line}").expect("a String takes every write");
        }
        for (key, value) in &self.properties {
            let key = key.strip_prefix("zookeeper.").unwrap_or(key);
            writeln!(config, "{key}={value}").expect("a String takes every write");
        }
        config
    }

    pub(super) fn java_arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            // Its own HTTP server would need a port of its own.
            "-Dzookeeper.admin.enableServer=false".to_owned(),
            "-Djava.net.preferIPv4Stack=true".to_owned(),
            // Performance counters are files outside the subject's directory.
            "-XX:-UsePerfData".to_owned(),
        ];
        let properties = &self.properties;
        arguments.extend(properties.iter().map(|(key, value)| format!("-D{key}={value}")));
        arguments.extend(self.java_flags.iter().cloned());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_a_flag_for_java_and_a_line_without_prefix_for_farwatch() {
        let options = Options::new()
            .tick_millis(100)
            .line("enforceQuota=true")
            .property("zookeeper.skipACL", "yes")
            .property("znode.container.checkIntervalMs", "200");
        let address = "127.0.0.1:2181".parse().expect("an address");
        let config = options.config(Path::new("/data"), address);
        assert!(config.starts_with("tickTime=100\ndataDir=/data\nclientPortAddress=127.0.0.1\n"));
        let tail = "enforceQuota=true\nskipACL=yes\nznode.container.checkIntervalMs=200\n";
        assert!(config.ends_with(tail), "{config}");
        let arguments = options.java_arguments();
        assert!(arguments.contains(&"-Dzookeeper.skipACL=yes".to_owned()));
        assert!(arguments.contains(&"-Dznode.container.checkIntervalMs=200".to_owned()));
    }
}
