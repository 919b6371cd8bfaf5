//! The quota commands. A quota is two ordinary nodes below `/zookeeper/quota`: an administrator's
//! limits, and the usage that the server keeps.

use farwatch_client::{ANY_VERSION, Acl, Client, ClientError, CreateMode, ErrorCode};
use serde_json::{Map, Value, json};

use super::command::{Answer, CommandError, CommandResult, at};
use super::words::Parsed;

const QUOTA_ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// The option letters of the four limits.
const LIMIT_OPTIONS: [&str; 4] = ["n", "b", "N", "B"];

/// What a limits or a stats node holds; -1 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Track {
    count: i64,
    bytes: i64,
    count_hard: i64,
    bytes_hard: i64,
}

impl Track {
    const NONE: Self = Self { count: -1, bytes: -1, count_hard: -1, bytes_hard: -1 };

    /// Reads `key=value` pairs; what is missing or does not parse is no limit.
    fn parse(data: Option<&[u8]>) -> Self {
        let text = String::from_utf8_lossy(data.unwrap_or_default());
        let mut track = Self::NONE;
        // Values may end in an equals sign of their own: `count=5,bytes=-1=;byteHardLimit=-1`.
        for (key, value) in text.split([',', ';']).filter_map(|pair| pair.split_once('=')) {
            let Ok(value) = value.trim_end_matches('=').parse() else { continue };
            if let Some(field) = track.field(key) {
                *field = value;
            }
        }
        track
    }

    fn field(&mut self, key: &str) -> Option<&mut i64> {
        match key {
            "count" | "n" => Some(&mut self.count),
            "bytes" | "b" => Some(&mut self.bytes),
            "countHardLimit" | "N" => Some(&mut self.count_hard),
            "byteHardLimit" | "B" => Some(&mut self.bytes_hard),
            _other => None,
        }
    }

    /// The text of a limits node as ZooKeeper 3.7 and later store it.
    fn limits_text(&self) -> String {
        let Self { count, bytes, count_hard, bytes_hard } = self;
        format!(
            "count={count},bytes={bytes}=;byteHardLimit={bytes_hard};countHardLimit={count_hard}"
        )
    }

    fn json(&self) -> Value {
        let fields = [
            ("count", self.count),
            ("bytes", self.bytes),
            ("count_hard_limit", self.count_hard),
            ("byte_hard_limit", self.bytes_hard),
        ];
        fields
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect::<Map<_, _>>()
            .into()
    }
}

fn quota_path(path: &str) -> String {
    if path == "/" { QUOTA_ROOT.to_owned() } else { format!("{QUOTA_ROOT}{path}") }
}

fn limits_path(path: &str) -> String {
    format!("{}/{LIMITS}", quota_path(path))
}

fn stats_path(path: &str) -> String {
    format!("{}/{STATS}", quota_path(path))
}

fn path<'p>(parsed: &'p Parsed, command: &'static str) -> Result<&'p str, CommandError> {
    parsed.arguments.first().map(String::as_str).ok_or(CommandError::Usage(command))
}

/// The data of a node, or `None` if there is no such node.
fn read(client: &Client, path: &str) -> Result<Option<Vec<u8>>, CommandError> {
    match client.get(path, false) {
        Ok(node) => Ok(Some(node.data.unwrap_or_default())),
        Err(ClientError::Server(ErrorCode::NoNode)) => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// `setquota -n|-b|-N|-B val path`
pub fn set(client: &Client, parsed: &Parsed) -> CommandResult {
    let Some(option) = parsed.one_of(&LIMIT_OPTIONS)? else {
        let text = "org.apache.commons.cli.MissingOptionException: Missing required option: [-n num \
                    soft quota, -b bytes soft quota, -N num hard quota, -B bytes hard quota]";
        return Err(text.to_owned().into());
    };
    let path = path(parsed, "setquota")?;
    let value = parsed.value(option).unwrap_or_default();
    let value: i64 = value
        .parse()
        .map_err(|_| format!("-{option} argument must be a number of nodes or bytes: {value}"))?;
    if path == "/" || path.starts_with("/zookeeper") {
        return Err(format!(
            "cannot set a quota on {path}: only below the root, and not under \
                            /zookeeper"
        )
        .into());
    }
    if client.exists(path, false).map_err(at(path))?.is_none() {
        return Err(format!("{path} does not exist.").into());
    }
    refuse_nesting(client, path)?;
    let existing = read(client, &limits_path(path))?;
    let mut limits = existing.as_deref().map_or(Track::NONE, |data| Track::parse(Some(data)));
    *limits.field(option).expect("one of the four") = value;
    let text = limits.limits_text();
    if existing.is_some() {
        let path = limits_path(path);
        client.set(&path, text.as_bytes(), ANY_VERSION).map_err(at(&path))?;
    } else {
        create_quota(client, path, &text)?;
    }
    let usage = Track::parse(read(client, &stats_path(path))?.as_deref());
    let warnings = warnings(option, value, &usage);
    let json = json!({"path": path, "limits": limits.json(), "warnings": warnings});
    Ok(Answer { text: (!warnings.is_empty()).then(|| warnings.join("\n")), json })
}

fn create_quota(client: &Client, path: &str, limits: &str) -> Result<(), CommandError> {
    let mut parent = QUOTA_ROOT.to_owned();
    for name in path[1..].split('/') {
        parent = format!("{parent}/{name}");
        match client.create(&parent, b"", &Acl::open(), CreateMode::Persistent) {
            Ok(_) | Err(ClientError::Server(ErrorCode::NodeExists)) => {}
            Err(error) => return Err(at(&parent)(error)),
        }
    }
    // The server fills the second when it sees the first: the order matters.
    for (node, data) in [(limits_path(path), limits), (stats_path(path), "count=0,bytes=0")] {
        let created = client.create(&node, data.as_bytes(), &Acl::open(), CreateMode::Persistent);
        created.map_err(at(&node))?;
    }
    Ok(())
}

/// The server charges the deepest quota only, so that an outer one would stop counting.
fn refuse_nesting(client: &Client, path: &str) -> Result<(), CommandError> {
    let ancestors = path.match_indices('/').map(|(slash, _)| &path[..slash]).skip(1);
    for ancestor in ancestors {
        if read(client, &limits_path(ancestor))?.is_some() {
            return Err(format!("{path} has a parent {ancestor} which has a quota").into());
        }
    }
    let mut waiting = vec![path.to_owned()];
    while let Some(parent) = waiting.pop() {
        let node = quota_path(&parent);
        let names = match client.children(&node, false) {
            Ok(children) => children.names,
            Err(ClientError::Server(ErrorCode::NoNode)) => continue,
            Err(error) => return Err(at(&node)(error)),
        };
        if parent != path && names.iter().any(|name| name == LIMITS) {
            return Err(format!("{path} has a child {parent} which has a quota").into());
        }
        let is_node = |name: &&String| *name != LIMITS && *name != STATS;
        waiting.extend(names.iter().filter(is_node).map(|name| format!("{parent}/{name}")));
    }
    Ok(())
}

fn warnings(option: &str, value: i64, usage: &Track) -> Vec<String> {
    let (name, used) = match option {
        "n" | "N" => ("count", usage.count),
        _bytes => ("bytes", usage.bytes),
    };
    if 0 <= value && value < used {
        vec![format!(
            "[Warning]: the {name} quota you create is less than the existing {name}:{used}"
        )]
    } else {
        Vec::new()
    }
}

/// `listquota path`
pub fn list(client: &Client, parsed: &Parsed) -> CommandResult {
    let path = path(parsed, "listquota")?;
    let limits_node = limits_path(path);
    let head = format!("absolute path is {limits_node}");
    let Some(limits) = read(client, &limits_node)? else {
        let answer = Answer::new(head, json!({"path": path, "limits": null}));
        return Err(CommandError::Partial {
            answer,
            text: format!("quota for {path} does not exist."),
        });
    };
    let stats = read(client, &stats_path(path))?.unwrap_or_default();
    let (limits, usage) = (Track::parse(Some(&limits)), Track::parse(Some(&stats)));
    let text = format!(
        "{head}\nOutput quota for {path} {}\nOutput stat for {path} count={},bytes={}",
        limits.limits_text(),
        usage.count,
        usage.bytes
    );
    let used = json!({"count": usage.count, "bytes": usage.bytes});
    Ok(Answer::new(text, json!({"path": path, "limits": limits.json(), "usage": used})))
}

/// `delquota [-n|-b|-N|-B] path`: one limit, or the whole quota.
pub fn delete(client: &Client, parsed: &Parsed) -> CommandResult {
    let option = parsed.one_of(&LIMIT_OPTIONS)?;
    let path = path(parsed, "delquota")?;
    let limits_node = limits_path(path);
    let Some(limits) = read(client, &limits_node)? else {
        return Err(format!("Quota does not exist for {path}").into());
    };
    if let Some(option) = option {
        let mut limits = Track::parse(Some(&limits));
        *limits.field(option).expect("one of the four") = -1;
        let text = limits.limits_text();
        client.set(&limits_node, text.as_bytes(), ANY_VERSION).map_err(at(&limits_node))?;
        return Ok(Answer { text: None, json: json!({"path": path, "limits": limits.json()}) });
    }
    for node in [limits_node, stats_path(path)] {
        match client.delete(&node, ANY_VERSION) {
            Ok(()) | Err(ClientError::Server(ErrorCode::NoNode)) => {}
            Err(error) => return Err(at(&node)(error)),
        }
    }
    // Empty nodes above would only make later quotas slower to find.
    let mut node = quota_path(path);
    while node.len() > QUOTA_ROOT.len() && client.delete(&node, ANY_VERSION).is_ok() {
        node.truncate(node.rfind('/').expect("below the quota root"));
    }
    Ok(Answer::done())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_in_every_form_that_servers_store() {
        let limits = Track { count: 5, bytes: 100, count_hard: 4, bytes_hard: 20 };
        let text = "count=5,bytes=100=;byteHardLimit=20;countHardLimit=4";
        assert_eq!(Track::parse(Some(text.as_bytes())), limits);
        assert_eq!(limits.limits_text(), text);
        let old = Track { count: 5, bytes: 100, ..Track::NONE };
        assert_eq!(Track::parse(Some(b"count=5,bytes=100")), old);
        assert_eq!(Track::parse(Some(b"junk,count=x;=;")), Track::NONE);
    }
}
