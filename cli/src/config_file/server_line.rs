//! `server.N=host:quorumPort:electionPort[:role][|…][;[clientHost:]clientPort]`.

use farwatch_observer::config::{ClientAddr, PeerAddr, ServerRole, ServerSpec};

/// Why a server line cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ServerLineError {
    /// Not of the form at all.
    #[error("`{0}` is not of the form host:quorumPort:electionPort[:role][;[host:]clientPort]")]
    Form(String),
    /// A port that is no port.
    #[error("`{0}` is no port: write a number from 1 to 65535")]
    Port(String),
    /// Neither participant nor observer.
    #[error("`{0}` is no role: write participant or observer")]
    Role(String),
    /// One port for two purposes.
    #[error("quorum port and election port are both {0}: they must differ")]
    SamePort(u16),
    /// Addresses of one server that disagree about its role.
    #[error("the addresses of one server must agree about its role")]
    Roles,
    /// The same address twice.
    #[error("the address {0} is named twice")]
    Twice(String),
}

/// Reads the value of `server.{id}`.
pub fn parse(id: u64, value: &str) -> Result<ServerSpec, ServerLineError> {
    let mut parts = value.split(';').map(str::trim);
    let addresses = parts.next().unwrap_or_default();
    let client = match parts.next() {
        Some(client) if !client.is_empty() => Some(client_addr(client)?),
        Some(_) | None => None,
    };
    // A third part is the secure client port of later releases: read past, as TLS is.
    let mut role = None;
    let mut peers: Vec<PeerAddr> = Vec::new();
    for address in addresses.split('|').map(str::trim) {
        let (peer, its_role) = peer_addr(address)?;
        if role.is_some_and(|role| role != its_role) {
            return Err(ServerLineError::Roles);
        }
        if peers.contains(&peer) {
            return Err(ServerLineError::Twice(address.to_owned()));
        }
        role = Some(its_role);
        peers.push(peer);
    }
    Ok(ServerSpec { id, peers, role: role.unwrap_or(ServerRole::Participant), client })
}

fn peer_addr(text: &str) -> Result<(PeerAddr, ServerRole), ServerLineError> {
    let form = || ServerLineError::Form(text.to_owned());
    let (host, rest) = split_host(text).ok_or_else(form)?;
    let mut parts = rest.split(':');
    let quorum_port = port(parts.next().ok_or_else(form)?)?;
    let election_port = parts.next().map(port).transpose()?;
    let role = match parts.next() {
        None => ServerRole::Participant,
        Some(role) => parse_role(role).ok_or_else(|| ServerLineError::Role(role.to_owned()))?,
    };
    if parts.next().is_some() || host.is_empty() {
        return Err(form());
    }
    if election_port == Some(quorum_port) {
        return Err(ServerLineError::SamePort(quorum_port));
    }
    Ok((PeerAddr { host: host.to_owned(), quorum_port, election_port }, role))
}

/// `participant` or `observer`, in any letter case.
pub fn parse_role(text: &str) -> Option<ServerRole> {
    [ServerRole::Participant, ServerRole::Observer]
        .into_iter()
        .find(|role| text.trim().eq_ignore_ascii_case(&role.to_string()))
}

fn client_addr(text: &str) -> Result<ClientAddr, ServerLineError> {
    match split_host(text) {
        Some((host, rest)) => Ok(ClientAddr { host: host.to_owned(), port: port(rest)? }),
        None => Ok(ClientAddr { host: "0.0.0.0".to_owned(), port: port(text)? }),
    }
}

/// Splits at the colon after the host; the colons of an IPv6 address are inside its brackets.
fn split_host(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:"),
        None => text.split_once(':'),
    }
}

fn port(text: &str) -> Result<u16, ServerLineError> {
    match text.trim().parse() {
        Ok(port) if port != 0 => Ok(port),
        Ok(_) | Err(_) => Err(ServerLineError::Port(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{ServerLineError, parse};

    fn shown(value: &str) -> String {
        match parse(1, value) {
            Ok(spec) => spec.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_server_line_is_read_in_every_form_and_written_in_full() {
        let full = "server.1=zoo1:2888:3888:participant;0.0.0.0:2181";
        assert_eq!(shown("zoo1:2888:3888;2181"), full);
        assert_eq!(shown(" zoo1:2888:3888:PARTICIPANT ; 0.0.0.0:2181 "), full);
        let observer = "server.1=[::1]:2888:3888:observer;[::]:2181";
        assert_eq!(shown("[::1]:2888:3888:observer;[::]:2181"), observer);
        assert_eq!(shown("a:1:2|b:1:2"), "server.1=a:1:2:participant|b:1:2:participant");
        assert_eq!(shown("a:1:2;2181;2281"), "server.1=a:1:2:participant;0.0.0.0:2181");
        assert_eq!(shown("a:1"), "server.1=a:1:participant");
    }

    #[test]
    fn a_bad_server_line_says_what_is_wrong() {
        let cases = [
            ("a", ServerLineError::Form("a".to_owned())),
            (":1:2", ServerLineError::Form(":1:2".to_owned())),
            ("a:1:2:observer:3", ServerLineError::Form("a:1:2:observer:3".to_owned())),
            ("a:0:2", ServerLineError::Port("0".to_owned())),
            ("a:1:70000", ServerLineError::Port("70000".to_owned())),
            ("a:1:2;x", ServerLineError::Port("x".to_owned())),
            ("a:1:2:voter", ServerLineError::Role("voter".to_owned())),
            ("a:1:1", ServerLineError::SamePort(1)),
            ("a:1:2|b:1:2:observer", ServerLineError::Roles),
            ("a:1:2|a:1:2", ServerLineError::Twice("a:1:2".to_owned())),
        ];
        for (value, expected) in cases {
            assert_eq!(parse(1, value), Err(expected), "{value}");
        }
    }
}
