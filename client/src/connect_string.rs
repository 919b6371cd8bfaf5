//! `host:port[,host:port…][/chroot]`: where the servers are and which subtree is the root.

use farwatch_core::path::ZnodePath;

use crate::error::ConnectStringError;

/// The port of a server that is named without one.
pub const DEFAULT_PORT: u16 = 2181;

/// One server as it was written; names are resolved anew at each attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerName {
    /// Name or address, without brackets.
    pub host: String,
    /// Client port.
    pub port: u16,
}

impl std::fmt::Display for ServerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A parsed connect string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectString {
    /// At least one.
    pub servers: Vec<ServerName>,
    /// Empty, or a path that every path of this client is put behind.
    pub chroot: String,
}

impl ConnectString {
    /// Parses what ZooKeeper's clients accept; a missing port is 2181.
    pub fn parse(text: &str) -> Result<Self, ConnectStringError> {
        let (servers, chroot) = match text.find('/') {
            None => (text, ""),
            Some(slash) => text.split_at(slash),
        };
        let chroot = if chroot == "/" { "" } else { chroot };
        if !chroot.is_empty() {
            ZnodePath::parse(chroot.as_bytes()).map_err(ConnectStringError::BadChroot)?;
        }
        let servers = servers
            .split(',')
            .map(str::trim)
            .filter(|server| !server.is_empty())
            .map(parse_server)
            .collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() {
            return Err(ConnectStringError::NoServer);
        }
        Ok(Self { servers, chroot: chroot.to_owned() })
    }
}

fn parse_server(text: &str) -> Result<ServerName, ConnectStringError> {
    let bad = || ConnectStringError::BadPort(text.to_owned());
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or_else(bad)?;
        let port =
            if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(bad)?) };
        (host, port)
    } else {
        match text.split_once(':') {
            // Several colons without brackets can only be an IPv6 address without a port.
            Some((_, port)) if port.contains(':') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => port.parse().ok().filter(|&port| port != 0).ok_or_else(bad)?,
    };
    if host.is_empty() {
        return Err(ConnectStringError::NoServer);
    }
    Ok(ServerName { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, servers: &[&str], chroot: &str) {
        let parsed = ConnectString::parse(text).unwrap();
        let names: Vec<String> = parsed.servers.iter().map(ToString::to_string).collect();
        assert_eq!(names, servers, "{text}");
        assert_eq!(parsed.chroot, chroot, "{text}");
    }

    #[test]
    fn connect_strings_name_servers_and_a_chroot() {
        check("a", &["a:2181"], "");
        check("a:1,b:2/x/y", &["a:1", "b:2"], "/x/y");
        check("a:1, b:2,/", &["a:1", "b:2"], "");
        check("[::1]:7,[::2]", &["[::1]:7", "[::2]:2181"], "");
        check("fe80::1", &["[fe80::1]:2181"], "");
    }

    #[test]
    fn what_cannot_be_dialled_is_refused_with_its_reason() {
        assert_eq!(ConnectString::parse("/a"), Err(ConnectStringError::NoServer));
        assert_eq!(ConnectString::parse(":1"), Err(ConnectStringError::NoServer));
        for bad in ["a:0", "a:x", "a:70000", "[::1", "[::1]7"] {
            assert!(matches!(ConnectString::parse(bad), Err(ConnectStringError::BadPort(_))));
        }
        assert!(matches!(ConnectString::parse("a/b/"), Err(ConnectStringError::BadChroot(_))));
    }
}
