//! The commands on the ensemble, the connection's identity and its watches.

use farwatch_client::{AddWatchMode, Client, WatchKind};
use serde_json::{Value, json};

use super::command::{Answer, CommandError, CommandResult, at, nowhere};
use super::text;
use super::words::Parsed;

/// `config [-c] [-w] [-s]`
pub fn config(client: &Client, parsed: &Parsed) -> CommandResult {
    let node = client.config(parsed.has("w")).map_err(at("/zookeeper/config"))?;
    let config = text::data(Some(node.data.as_deref().unwrap_or_default()));
    let mut text = if parsed.has("c") { client_form(&config) } else { config.clone() };
    if parsed.has("s") {
        text = format!("{text}\n{}", text::stat_block(&node.stat));
    }
    let json = json!({
        "config": config,
        "client": client_form(&config).trim(),
        "stat": text::stat_json(&node.stat)
    });
    Ok(Answer::new(text, json))
}

/// `version host:port,host:port`: what a client's connect string would be.
fn client_form(config: &str) -> String {
    let mut version = "";
    let mut servers = Vec::new();
    for (key, value) in config.lines().filter_map(|line| line.split_once('=')) {
        if key == "version" {
            version = value;
        } else if let Some((peer, client)) = value.split_once(';') {
            // An address of its own, or the port alone at the peer's host.
            let host = if peer.starts_with('[') {
                peer.split_inclusive(']').next().unwrap_or(peer)
            } else {
                peer.split(':').next().unwrap_or(peer)
            };
            let is_port = !client.contains(':');
            servers.push(if is_port { format!("{host}:{client}") } else { client.to_owned() });
        }
    }
    format!("{version} {}", servers.join(","))
}

/// `reconfig [-s] [-v version] [[-file path] | [-members …]] | [-add …]* [-remove …]*`
pub fn reconfig(client: &Client, parsed: &Parsed) -> CommandResult {
    let version = match parsed.value("v") {
        None => -1,
        Some(text) => i64::from_str_radix(text, 16)
            .map_err(|_| format!("-v argument must be a configuration's version in hex: {text}"))?,
    };
    let (add, remove) = (parsed.value("add"), parsed.value("remove"));
    let whole = parsed.one_of(&["file", "members"])?;
    let incremental = add.is_some() || remove.is_some();
    if whole.is_some() == incremental {
        return Err(CommandError::Usage("reconfig"));
    }
    let members = match whole {
        Some("file") => Some(members_of_file(parsed.value("file").unwrap_or_default())?),
        Some(_members) => parsed.value("members").map(with_prefix),
        None => None,
    };
    let add = add.map(with_prefix);
    let node =
        client.reconfig(add.as_deref(), remove, members.as_deref(), version).map_err(nowhere)?;
    let config = text::data(Some(node.data.as_deref().unwrap_or_default()));
    let mut text = format!("Committed new configuration:\n{config}");
    if parsed.has("s") {
        text = format!("{text}\n{}", text::stat_block(&node.stat));
    }
    Ok(Answer::new(text, json!({"config": config, "stat": text::stat_json(&node.stat)})))
}

/// `5=host:…` is short for `server.5=host:…`.
fn with_prefix(members: &str) -> String {
    let prefixed = |member: &str| {
        let member = member.trim();
        if member.starts_with("server.") { member.to_owned() } else { format!("server.{member}") }
    };
    members.split(',').map(prefixed).collect::<Vec<_>>().join(",")
}

fn members_of_file(path: &str) -> Result<String, CommandError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("Error processing {path}: {error}"))?;
    let members: Vec<&str> =
        text.lines().map(str::trim).filter(|line| line.starts_with("server.")).collect();
    if members.is_empty() {
        return Err(format!("{path} has no line that begins with server.").into());
    }
    Ok(members.join(","))
}

/// `whoami`
pub fn whoami(client: &Client) -> CommandResult {
    let mut identities = client.whoami().map_err(nowhere)?;
    identities.sort();
    let lines = identities.iter().map(|identity| format!("\n{}: {}", identity.scheme, identity.id));
    let text = format!("Auth scheme: User{}", lines.collect::<String>());
    let json: Value = identities
        .iter()
        .map(|identity| json!({"scheme": identity.scheme, "id": identity.id}))
        .collect();
    Ok(Answer::new(text, json!({"identities": json})))
}

/// `addauth scheme auth`
pub fn addauth(client: &Client, parsed: &Parsed) -> CommandResult {
    let [scheme, auth @ ..] = parsed.arguments.as_slice() else {
        return Err(CommandError::Usage("addauth"));
    };
    let auth = auth.first().map(String::as_bytes).unwrap_or_default();
    client.add_auth(scheme, auth).map_err(nowhere)?;
    Ok(Answer::done())
}

/// `addWatch [-m mode] path`
pub fn add_watch(client: &Client, parsed: &Parsed) -> CommandResult {
    let path = parsed.arguments.first().ok_or(CommandError::Usage("addWatch"))?;
    let mode = match parsed.value("m") {
        None => AddWatchMode::PersistentRecursive,
        Some(mode) if mode.eq_ignore_ascii_case("PERSISTENT_RECURSIVE") => {
            AddWatchMode::PersistentRecursive
        }
        Some(mode) if mode.eq_ignore_ascii_case("PERSISTENT") => AddWatchMode::Persistent,
        Some(_) => return Err(CommandError::Usage("addWatch")),
    };
    client.add_watch(path, mode).map_err(at(path))?;
    Ok(Answer::done())
}

/// `removewatches path [-c|-d|-a|-p|-r] [-l]`
pub fn remove_watches(client: &Client, parsed: &Parsed) -> CommandResult {
    let kind = match parsed.one_of(&["c", "d", "a", "p", "r"])? {
        Some("c") => WatchKind::Children,
        Some("d") => WatchKind::Data,
        Some("p") => WatchKind::Persistent,
        Some("r") => WatchKind::PersistentRecursive,
        Some(_) | None => WatchKind::Any,
    };
    let path = parsed.arguments.first().ok_or(CommandError::Usage("removewatches"))?;
    client.remove_watches(path, kind).map_err(at(path))?;
    Ok(Answer::done())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_form_of_a_configuration_is_a_connect_string() {
        let config = "server.1=a:2888:3888:participant;0.0.0.0:2181\nserver.2=b:1:2;2182\n\
                      server.3=[::1]:1:2:observer;2183\nversion=100000000";
        assert_eq!(client_form(config), "100000000 0.0.0.0:2181,b:2182,[::1]:2183");
        assert_eq!(client_form(""), " ");
    }

    #[test]
    fn members_may_leave_out_the_prefix() {
        assert_eq!(with_prefix("5=h:1:2;3, server.6=x"), "server.5=h:1:2;3,server.6=x");
    }
}
