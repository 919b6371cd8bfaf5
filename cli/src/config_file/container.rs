//! The variables of the official container image, as the `zoo.cfg` that its entrypoint writes.

use std::collections::BTreeMap;

/// The variables, each with the value that the image sets.
const VARIABLES: &[(&str, &str)] = &[
    ("ZOO_DATA_DIR", "/data"),
    ("ZOO_DATA_LOG_DIR", "/datalog"),
    ("ZOO_TICK_TIME", "2000"),
    ("ZOO_INIT_LIMIT", "5"),
    ("ZOO_SYNC_LIMIT", "2"),
    ("ZOO_AUTOPURGE_SNAPRETAINCOUNT", "3"),
    ("ZOO_AUTOPURGE_PURGEINTERVAL", "0"),
    ("ZOO_MAX_CLIENT_CNXNS", "60"),
    ("ZOO_STANDALONE_ENABLED", "true"),
    ("ZOO_ADMINSERVER_ENABLED", "true"),
    ("ZOO_SERVERS", "server.1=localhost:2888:3888;2181"),
    ("ZOO_4LW_COMMANDS_WHITELIST", ""),
    ("ZOO_CFG_EXTRA", ""),
];

/// Keys of the variables that hold one value.
const KEYS: &[(&str, &str)] = &[
    ("dataDir", "ZOO_DATA_DIR"),
    ("dataLogDir", "ZOO_DATA_LOG_DIR"),
    ("tickTime", "ZOO_TICK_TIME"),
    ("initLimit", "ZOO_INIT_LIMIT"),
    ("syncLimit", "ZOO_SYNC_LIMIT"),
    ("autopurge.snapRetainCount", "ZOO_AUTOPURGE_SNAPRETAINCOUNT"),
    ("autopurge.purgeInterval", "ZOO_AUTOPURGE_PURGEINTERVAL"),
    ("maxClientCnxns", "ZOO_MAX_CLIENT_CNXNS"),
    ("standaloneEnabled", "ZOO_STANDALONE_ENABLED"),
    ("admin.enableServer", "ZOO_ADMINSERVER_ENABLED"),
];

/// Whether `variables` ask for a configuration: at least one that shapes it is set, or the id.
pub fn is_asked_for(variables: &BTreeMap<String, String>) -> bool {
    let shapes = |name: &str| VARIABLES.iter().any(|(variable, _)| *variable == name);
    variables.keys().any(|name| shapes(name) || name == "ZOO_MY_ID")
}

/// The text that the image's entrypoint would write to `zoo.cfg`, line by line in its order. There
/// is no client port: it comes from the server lines.
pub fn zoo_cfg(variables: &BTreeMap<String, String>) -> String {
    let value = |name: &str| -> String {
        let preset = VARIABLES.iter().find(|(variable, _)| *variable == name);
        match variables.get(name) {
            Some(value) if !value.is_empty() => value.clone(),
            Some(_) | None => preset.map_or_else(String::new, |(_, preset)| (*preset).to_owned()),
        }
    };
    let mut text = String::new();
    let mut line = |content: &str| {
        text.push_str(content);
        text.push('\n');
    };
    KEYS.iter().for_each(|(key, name)| line(&format!("{key}={}", value(name))));
    // The preset is no word of the operator's: it gives way to the servers that he names elsewhere.
    let extra = value("ZOO_CFG_EXTRA");
    let servers = variables.get("ZOO_SERVERS").is_some_and(|servers| !servers.is_empty());
    if servers || !extra.split_whitespace().any(|word| word.starts_with("server.")) {
        value("ZOO_SERVERS").split_whitespace().for_each(&mut line);
    }
    let whitelist = value("ZOO_4LW_COMMANDS_WHITELIST");
    if !whitelist.is_empty() {
        line(&format!("4lw.commands.whitelist={whitelist}"));
    }
    extra.split_whitespace().for_each(&mut line);
    text
}

/// What `myid` gets when the file is missing.
pub fn my_id(variables: &BTreeMap<String, String>) -> String {
    variables.get("ZOO_MY_ID").filter(|id| !id.is_empty()).map_or_else(|| "1".into(), Clone::clone)
}
