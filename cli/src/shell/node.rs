//! The commands on nodes: create, read, write, delete, list.

use std::collections::VecDeque;
use std::sync::mpsc;

use farwatch_client::{
    ANY_VERSION, Acl, Client, ClientError, CreateMode, ErrorCode, Operation, Outcome, Stat,
};
use serde_json::{Map, Value, json};

use super::command::{Answer, CommandError, CommandResult, at};
use super::text;
use super::words::Parsed;

/// Deletes that `deleteall` keeps under way, unless told otherwise: ZooKeeper's own number.
const DELETES_IN_FLIGHT: usize = 1000;

fn path<'p>(parsed: &'p Parsed, command: &'static str) -> Result<&'p str, CommandError> {
    parsed.arguments.first().map(String::as_str).ok_or(CommandError::Usage(command))
}

fn version(parsed: &Parsed) -> Result<i32, CommandError> {
    parsed.value("v").map_or(Ok(ANY_VERSION), |text| {
        text.parse().map_err(|_| format!("-v argument must be an integer: {text}").into())
    })
}

fn with_stat(mut text: String, mut json: Map<String, Value>, stat: &Stat, show: bool) -> Answer {
    if show {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&text::stat_block(stat));
    }
    json.insert("stat".to_owned(), text::stat_json(stat));
    Answer { text: (!text.is_empty() || show).then_some(text), json: json.into() }
}

fn object(path: &str) -> Map<String, Value> {
    Map::from_iter([("path".to_owned(), path.into())])
}

/// `ls [-s] [-w] [-R] path`
pub fn ls(client: &Client, parsed: &Parsed) -> CommandResult {
    let path = path(parsed, "ls")?;
    if parsed.has("R") {
        return ls_recursive(client, path, parsed.has("w"));
    }
    let mut children = client.children(path, parsed.has("w")).map_err(at(path))?;
    children.names.sort();
    let mut json = object(path);
    json.insert("children".to_owned(), children.names.clone().into());
    Ok(with_stat(text::list(&children.names), json, &children.stat, parsed.has("s")))
}

/// Level by level. What may not be listed is left out, and makes the command fail at its end.
fn ls_recursive(client: &Client, root: &str, watch: bool) -> CommandResult {
    let mut paths = vec![root.to_owned()];
    let mut refused = None;
    let mut next = 0;
    while next < paths.len() {
        let parent = paths[next].clone();
        next += 1;
        match client.children(&parent, watch) {
            Ok(mut children) => {
                children.names.sort();
                paths.extend(children.names.iter().map(|name| child(&parent, name)));
            }
            // Deleted since its parent was listed.
            Err(ClientError::Server(ErrorCode::NoNode)) if parent != root => {}
            Err(error @ ClientError::Server(ErrorCode::NoAuth)) if parent != root => {
                refused.get_or_insert((error, parent));
            }
            Err(error) => return Err(at(&parent)(error)),
        }
    }
    let json = json!({"path": root, "paths": paths});
    let mut answer = Answer::new(paths.join("\n"), json);
    if let Some((error, path)) = refused {
        let text = text::error(&error, Some(&path));
        answer.json["error"] = text.clone().into();
        return Err(CommandError::Partial { answer, text });
    }
    Ok(answer)
}

fn child(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}

/// `get [-s] [-w] [-b] [-x] path`
pub fn get(client: &Client, parsed: &Parsed) -> CommandResult {
    let path = path(parsed, "get")?;
    let node = client.get(path, parsed.has("w")).map_err(at(path))?;
    let bytes = node.data.as_deref();
    let text = match bytes {
        Some(bytes) if parsed.has("b") => text::to_base64(bytes),
        Some(bytes) if parsed.has("x") => text::hex_dump(bytes),
        _text => text::data(bytes),
    };
    let mut json = object(path);
    let (name, value) = text::data_json(bytes);
    json.insert(name.to_owned(), value);
    let mut answer = with_stat(text.clone(), json, &node.stat, parsed.has("s"));
    answer.text.get_or_insert(text); // empty data is an empty line
    Ok(answer)
}

/// `stat [-w] path`
pub fn stat(client: &Client, parsed: &Parsed) -> CommandResult {
    let path = path(parsed, "stat")?;
    match client.exists(path, parsed.has("w")).map_err(at(path))? {
        Some(stat) => Ok(with_stat(String::new(), object(path), &stat, true)),
        None => Err(at(path)(ClientError::Server(ErrorCode::NoNode))),
    }
}

/// `set [-s] [-v version] [-b] path data`
pub fn set(client: &Client, parsed: &Parsed) -> CommandResult {
    let [path, data, ..] = parsed.arguments.as_slice() else {
        return Err(CommandError::Usage("set"));
    };
    let data = if parsed.has("b") { text::from_base64(data)? } else { data.clone().into_bytes() };
    let stat = client.set(path, &data, version(parsed)?).map_err(at(path))?;
    Ok(with_stat(String::new(), object(path), &stat, parsed.has("s")))
}

/// `create [-s] [-e] [-c] [-t ttl] path [data] [acl]`
pub fn create(client: &Client, parsed: &Parsed) -> CommandResult {
    let path = path(parsed, "create")?.to_owned();
    let mode = create_mode(parsed)?;
    let data = parsed.arguments.get(1).map(|data| data.clone().into_bytes());
    let acl = match parsed.arguments.get(2) {
        Some(text) => text::parse_acl(text)?,
        None => Acl::open(),
    };
    let at = at(&path);
    let created = client.call(&Operation::Create { path, data, acl, mode }).map_err(at)?;
    let Outcome::Created { path, stat } = created else {
        unreachable!("the answer to a create: {created:?}");
    };
    Ok(Answer::new(
        format!("Created {path}"),
        json!({"path": path, "stat": text::stat_json(&stat)}),
    ))
}

fn create_mode(parsed: &Parsed) -> Result<CreateMode, CommandError> {
    let (sequential, ephemeral) = (parsed.has("s"), parsed.has("e"));
    if parsed.has("c") && (sequential || ephemeral || parsed.has("t")) {
        let text = "-c cannot be combined with -s or -e. Containers cannot be ephemeral or \
                    sequential.";
        return Err(text.to_owned().into());
    }
    if let Some(ttl) = parsed.value("t") {
        let not_long = |_| "-t argument must be a long value".to_owned();
        let ttl_ms = ttl.parse().map_err(not_long)?;
        if ephemeral {
            return Err("TTLs cannot be used with Ephemeral znodes".to_owned().into());
        }
        return Ok(if sequential {
            CreateMode::PersistentSequentialWithTtl { ttl_ms }
        } else {
            CreateMode::PersistentWithTtl { ttl_ms }
        });
    }
    Ok(match (parsed.has("c"), sequential, ephemeral) {
        (true, ..) => CreateMode::Container,
        (false, false, false) => CreateMode::Persistent,
        (false, true, false) => CreateMode::PersistentSequential,
        (false, false, true) => CreateMode::Ephemeral,
        (false, true, true) => CreateMode::EphemeralSequential,
    })
}

/// `delete [-v version] path`
pub fn delete(client: &Client, parsed: &Parsed) -> CommandResult {
    let path = path(parsed, "delete")?;
    client.delete(path, version(parsed)?).map_err(at(path))?;
    Ok(Answer::done())
}

/// `deleteall path [-b batch size]`: the leaves first, many under way at once.
pub fn deleteall(client: &Client, parsed: &Parsed) -> CommandResult {
    let path = path(parsed, "deleteall")?;
    let in_flight_max = match parsed.value("b").map(str::parse::<usize>) {
        None => DELETES_IN_FLIGHT,
        Some(Ok(size)) if 0 < size => size,
        Some(_) => return Err("-b argument must be a positive integer".to_owned().into()),
    };
    let paths = subtree(client, path)?;
    let (sender, results) = mpsc::channel();
    let mut in_flight = 0;
    let mut failed = 0;
    let mut first_error = None;
    let mut settle = |in_flight: &mut usize| {
        let (path, result): (String, Result<Outcome, ClientError>) =
            results.recv().expect("we hold a sender");
        *in_flight -= 1;
        match result {
            // Gone is what was wanted, whoever did it.
            Ok(_) | Err(ClientError::Server(ErrorCode::NoNode)) => {}
            Err(error) => {
                failed += 1;
                first_error.get_or_insert_with(|| text::error(&error, Some(&path)));
            }
        }
    };
    for path in paths.iter().rev() {
        if in_flight == in_flight_max {
            settle(&mut in_flight);
        }
        let operation = Operation::Delete { path: path.clone(), version: ANY_VERSION };
        let (sender, deleted) = (sender.clone(), path.clone());
        client
            .submit(&operation, move |result| drop(sender.send((deleted, result))))
            .map_err(at(path))?;
        in_flight += 1;
    }
    while 0 < in_flight {
        settle(&mut in_flight);
    }
    match first_error {
        None => Ok(Answer { text: None, json: json!({"ok": true, "deleted": paths.len()}) }),
        Some(first) => {
            let text = "Failed to delete some node(s) in the subtree!";
            Err(format!("{text} {failed} of {}, the first: {first}", paths.len()).into())
        }
    }
}

/// The paths of a subtree, parents before children.
fn subtree(client: &Client, root: &str) -> Result<Vec<String>, CommandError> {
    let mut paths = Vec::new();
    let mut waiting = VecDeque::from([root.to_owned()]);
    while let Some(parent) = waiting.pop_front() {
        match client.children(&parent, false) {
            Ok(children) => {
                waiting.extend(children.names.iter().map(|name| child(&parent, name)));
            }
            Err(ClientError::Server(ErrorCode::NoNode)) if parent != root => continue,
            Err(error) => return Err(at(&parent)(error)),
        }
        paths.push(parent);
    }
    Ok(paths)
}

/// `getAcl [-s] path`
pub fn get_acl(client: &Client, parsed: &Parsed) -> CommandResult {
    let path = path(parsed, "getAcl")?;
    let node = client.get_acl(path).map_err(at(path))?;
    let mut json = object(path);
    json.insert("acl".to_owned(), text::acl_json(&node.acl));
    Ok(with_stat(text::acl(&node.acl), json, &node.stat, parsed.has("s")))
}

/// `setAcl [-s] [-v version] [-R] path acl`
pub fn set_acl(client: &Client, parsed: &Parsed) -> CommandResult {
    let [path, acl, ..] = parsed.arguments.as_slice() else {
        return Err(CommandError::Usage("setAcl"));
    };
    let acl = text::parse_acl(acl)?;
    let version = version(parsed)?;
    if !parsed.has("R") {
        let stat = client.set_acl(path, &acl, version).map_err(at(path))?;
        return Ok(with_stat(String::new(), object(path), &stat, parsed.has("s")));
    }
    let paths = subtree(client, path)?;
    for path in &paths {
        client.set_acl(path, &acl, version).map_err(at(path))?;
    }
    Ok(Answer { text: None, json: json!({"ok": true, "changed": paths.len()}) })
}

/// `getAllChildrenNumber path`
pub fn all_children_number(client: &Client, parsed: &Parsed) -> CommandResult {
    let path = path(parsed, "getAllChildrenNumber")?;
    let count = client.all_children_number(path).map_err(at(path))?;
    Ok(Answer::new(count.to_string(), json!({"path": path, "count": count})))
}

/// `getEphemerals [path]`
pub fn get_ephemerals(client: &Client, parsed: &Parsed) -> CommandResult {
    let prefix = parsed.arguments.first().map_or("/", String::as_str);
    let mut paths = client.get_ephemerals(prefix).map_err(at(prefix))?;
    paths.sort();
    Ok(Answer::new(text::list(&paths), json!({"ephemerals": paths})))
}

/// `sync path`
pub fn sync(client: &Client, parsed: &Parsed) -> CommandResult {
    let path = path(parsed, "sync")?;
    match client.sync(path) {
        Ok(()) => Ok(Answer::new("Sync is OK", json!({"ok": true}))),
        Err(error @ ClientError::BadPath { .. }) => Err(at(path)(error)),
        Err(error) => {
            let reason = match error.code() {
                Some(code) => format!("rc={}", code.code()),
                None => text::error(&error, Some(path)),
            };
            Err(format!("Sync has failed. {reason}").into())
        }
    }
}
