//! From the text of a `zoo.cfg` to a [`ServerConfig`].
//!
//! ```text
//! bytes ─► properties ─► Settings (by effective name, with file and line) ─► ServerConfig
//!             --set, --data-dir, ZOO_* ─┘                  └─ what is left over: notices
//! ```
//!
//! The file system and the resolver are reached through [`Surroundings`] only, so that any text can
//! be parsed without one. Source: ZooKeeper Administrator's Guide; `QuorumPeerConfig`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use farwatch_observer::config::ServerConfig;

pub mod container;
mod ensemble;
pub mod names;
mod partition;
pub mod properties;
mod server;
pub mod server_line;
pub mod setting;

#[cfg(test)]
mod tests;

use self::server_line::ServerLineError;
use self::setting::{Notice, Place, Setting, Settings};

/// What `farwatch serve` runs with when nothing is configured.
pub const BUILT_IN: &str = "dataDir=farwatch-data\nclientPort=2181\nclientPortAddress=127.0.0.1\n";

/// What `farwatch serve --observe` runs with when nothing is configured: it keeps nothing.
pub const BUILT_IN_OBSERVER: &str = "clientPort=2181\nclientPortAddress=127.0.0.1\n";

/// What a configuration is read from.
pub struct Input<'a> {
    /// The name of the file, for messages.
    pub source: &'a str,
    /// Its text.
    pub text: &'a [u8],
    /// Settings of the command line, which win: the option, the key, the value.
    pub overrides: &'a [(&'static str, String, String)],
    /// Client addresses of the command line, which replace those of the file.
    pub listen: &'a [SocketAddr],
}

/// What the text may refer to.
pub trait Surroundings {
    /// The bytes of the file at `path`.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The addresses of `host`.
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
    /// Whether a socket on the IPv6 wildcard, which also takes IPv4 clients, can be opened.
    fn has_ipv6(&self) -> bool;
}

/// A configuration, and what its reader should tell the operator.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: ServerConfig,
    /// What does not stop the server.
    pub notices: Vec<Notice>,
}

/// Why a configuration cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct ConfigError {
    /// File, line and key.
    pub place: Place,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a setting.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// A `\u` without its digits.
    #[error(
        "a backslash and `u` must be followed by four hexadecimal digits; write \\\\ for one \
             backslash"
    )]
    Escape,
    /// Not a number, or out of range.
    #[error("`{value}` is no number from {min} to {max}")]
    Number {
        /// What was written.
        value: String,
        /// The smallest that is accepted.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// Neither true nor false.
    #[error("`{value}` is neither true nor false")]
    Boolean {
        /// What was written.
        value: String,
    },
    /// One of a few words was expected.
    #[error("`{value}` is not known: write {expected}")]
    Word {
        /// What was written.
        value: String,
        /// What may be.
        expected: &'static str,
    },
    /// It says otherwise elsewhere.
    #[error("contradicts {other}: remove one of them")]
    Contradicts {
        /// The other place.
        other: String,
    },
    /// Two servers by one number.
    #[error(
        "names another server than {other}: give it a number of its own, or remove one of the lines"
    )]
    SameNumber {
        /// The other place.
        other: String,
    },
    /// It needs another setting.
    #[error("needs {other}, which is not set")]
    Needs {
        /// The missing setting.
        other: &'static str,
    },
    /// A setting that must be there.
    #[error("{name} is not set{hint}")]
    NotSet {
        /// The setting.
        name: &'static str,
        /// What to write.
        hint: &'static str,
    },
    /// The id of a member.
    #[error("myid file is missing: write this server's number into {path}")]
    MyIdMissing {
        /// Where it is looked for.
        path: PathBuf,
    },
    /// The id of a member is none.
    #[error("{path} must hold this server's number on its first line, not `{value}`")]
    MyId {
        /// Where it is.
        path: PathBuf,
        /// Its first line.
        value: String,
    },
    /// A file that the configuration names.
    #[error("{path} cannot be read ({error})")]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        error: String,
    },
    /// A key that has no place in a dynamic file.
    #[error("Unrecognised parameter: a dynamic file holds server, group, weight and version only")]
    NotDynamic,
    /// A server line.
    #[error(transparent)]
    ServerLine(#[from] ServerLineError),
    /// A list of servers that cannot work.
    #[error("{0}")]
    Ensemble(&'static str),
    /// A member that its own list does not name.
    #[error(
        "server {0} is not in the list of servers: add its line `server.{0}=host:2888:3888;2181`, \
         or correct myid"
    )]
    NotListed(u64),
    /// A scheme that would keep every client out.
    #[error(
        "no client can pass `{scheme}` on this server, so that none would be served: of its schemes digest \
         can be enforced, while it is enabled, and ip. Name these only, or remove the setting and keep the \
         client port private"
    )]
    CannotEnforce {
        /// The scheme.
        scheme: String,
    },
    /// A host without an address.
    #[error("`{host}` has no address here ({error}): write an address, or fix the name service")]
    Host {
        /// The host.
        host: String,
        /// What the resolver says.
        error: String,
    },
    /// An id that the servers cannot have together with TTL nodes.
    #[error("with extendedTypesEnabled the id of a server is at most 254, not {0}")]
    IdTooLarge(u64),
}

/// Reads a configuration.
pub fn load(input: &Input<'_>, surroundings: &dyn Surroundings) -> Result<Loaded, ConfigError> {
    let mut settings = Settings::default();
    for setting in file_settings(input.source, input.text)? {
        settings.add(setting)?;
    }
    for (option, key, value) in input.overrides {
        let place = Place { source: (*option).to_owned(), line: None, key: key.clone() };
        settings.replace(Setting { value: value.trim().to_owned(), place });
    }
    let mut reader = Reader { source: input.source, settings, surroundings };
    let mut config = ServerConfig::default();
    reader.server(&mut config)?;
    reader.ensemble(&mut config, input.listen)?;
    reader.partition(&mut config)?;
    reader.words(&mut config);
    reader.local_sessions(&mut config)?;
    let notices = reader.left_over();
    Ok(Loaded { config, notices })
}

/// Reads `bytes` as a `zoo.cfg` where no other file and no name service exists. Every input has an
/// answer.
pub fn parse(bytes: &[u8]) -> Result<Loaded, ConfigError> {
    struct Nothing;
    impl Surroundings for Nothing {
        fn read(&self, _path: &Path) -> io::Result<Vec<u8>> {
            Err(io::ErrorKind::NotFound.into())
        }
        fn resolve(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
            Err(io::ErrorKind::NotFound.into())
        }
        fn has_ipv6(&self) -> bool {
            false
        }
    }
    load(&Input { source: "zoo.cfg", text: bytes, overrides: &[], listen: &[] }, &Nothing)
}

/// The settings of a file, in its order.
fn file_settings(source: &str, text: &[u8]) -> Result<Vec<Setting>, ConfigError> {
    let found = properties::parse(text).map_err(|escape| {
        let place = Place { line: Some(escape.line), ..Place::source(source) };
        ConfigError { place, fault: Fault::Escape }
    })?;
    let setting = |found: properties::Property| {
        let (source, line) = (source.to_owned(), Some(found.line));
        Setting { value: found.value, place: Place { source, line, key: found.key } }
    };
    Ok(found.into_iter().map(setting).collect())
}

/// Takes settings one by one; its methods are spread over the files of this folder.
struct Reader<'a> {
    source: &'a str,
    settings: Settings,
    surroundings: &'a dyn Surroundings,
}

impl Reader<'_> {
    /// An error about something that was not written.
    fn missing(&self, key: &'static str, fault: Fault) -> ConfigError {
        ConfigError { place: Place::missing(self.source, key), fault }
    }

    /// What nobody took: one notice for each absent feature that is asked for, and one for each key
    /// that nobody knows.
    fn left_over(mut self) -> Vec<Notice> {
        let mut told: Vec<(&'static str, Notice)> = Vec::new();
        let mut unknown = Vec::new();
        for (name, setting) in self.settings.take_rest() {
            let value = setting.value.to_ascii_lowercase();
            let Some(absent) = names::absent(&name) else {
                let text = "unknown, and ignored: check its spelling".to_owned();
                unknown.push(Notice { place: setting.place, text });
                continue;
            };
            if matches!(value.as_str(), "" | "false" | "no" | "0" | "-1") {
                continue; // what is absent was switched off anyway
            }
            match told.iter_mut().find(|(text, _)| *text == absent.text) {
                Some((_, notice)) => notice.place.key.push_str(&format!(", {name}")),
                None => {
                    let notice = Notice { place: setting.place, text: absent.text.to_owned() };
                    told.push((absent.text, notice));
                }
            }
        }
        let mut notices = self.settings.notices;
        notices.extend(told.into_iter().map(|(_, notice)| notice));
        notices.extend(unknown);
        notices
    }
}
