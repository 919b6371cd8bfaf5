//! The commands by name: what they are called, how they are used, what they answer.

use farwatch_client::ClientError;
use serde_json::{Value, json};

use super::text;

/// The commands that `help` shows, in its order, with their usage.
pub const USAGES: &[(&str, &str)] = &[
    (
        "addWatch",
        "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is \
         PERSISTENT_RECURSIVE",
    ),
    ("addauth", "scheme auth"),
    ("close", ""),
    ("config", "[-c] [-w] [-s]"),
    ("connect", "host:port"),
    ("create", "[-s] [-e] [-c] [-t ttl] path [data] [acl]"),
    ("delete", "[-v version] path"),
    ("deleteall", "path [-b batch size]"),
    ("delquota", "[-n|-b|-N|-B] path"),
    ("exit", ""),
    ("get", "[-s] [-w] [-b] [-x] path"),
    ("getAcl", "[-s] path"),
    ("getAllChildrenNumber", "path"),
    ("getEphemerals", "path"),
    ("help", ""),
    ("history", ""),
    ("listquota", "path"),
    ("ls", "[-s] [-w] [-R] path"),
    ("printwatches", "on|off"),
    ("quit", ""),
    (
        "reconfig",
        "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | \
         [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
    ),
    ("redo", "cmdno"),
    ("removewatches", "path [-c|-d|-a|-p|-r] [-l]"),
    ("set", "[-s] [-v version] [-b] path data"),
    ("setAcl", "[-s] [-v version] [-R] path acl"),
    ("setquota", "-n|-b|-N|-B val path"),
    ("stat", "[-w] path"),
    ("sync", "path"),
    ("version", ""),
    ("whoami", ""),
];

/// The line that says how a command is used.
pub fn usage(name: &str) -> String {
    let (_, options) = USAGES.iter().find(|(known, _)| *known == name).expect("a command's name");
    format!("{name} {options}")
}

/// What `help` prints.
pub fn help() -> String {
    let mut help = String::from("farwatch shell -server host:port[,host:port][/chroot] cmd args");
    for (name, _) in USAGES {
        help.push_str("\n\t");
        help.push_str(&usage(name));
    }
    help
}

/// What a command answers.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    /// For people; nothing is printed when it is `None`.
    pub text: Option<String>,
    /// For programs.
    pub json: Value,
}

impl Answer {
    /// Done, and nothing to show.
    pub fn done() -> Self {
        Self { text: None, json: json!({"ok": true}) }
    }

    /// Both forms.
    pub fn new(text: impl Into<String>, json: Value) -> Self {
        Self { text: Some(text.into()), json }
    }
}

/// Why a command failed.
#[derive(Debug, PartialEq)]
pub enum CommandError {
    /// No such command.
    NotFound(String),
    /// Too few words, or a mode that does not exist: the usage is the answer.
    Usage(&'static str),
    /// Anything that has its text already.
    Message(String),
    /// A part of the answer, and why the rest is missing.
    Partial {
        /// What there is.
        answer: Answer,
        /// Why there is no more.
        text: String,
    },
    /// The client's or the server's refusal at a path.
    Client {
        /// The refusal.
        error: ClientError,
        /// Where, as it was typed.
        path: Option<String>,
    },
    /// No server was reached in time.
    Unreached {
        /// The client's refusal.
        error: ClientError,
        /// Where, as it was typed.
        path: Option<String>,
        /// Why not, a line for each server.
        why: String,
    },
}

impl CommandError {
    /// What is printed.
    pub fn text(&self) -> String {
        match self {
            Self::NotFound(name) => format!("{}\nCommand not found: {name}", help()),
            Self::Usage(name) => usage(name),
            Self::Message(text) => text.clone(),
            Self::Partial { text, .. } => text.clone(),
            Self::Client { error, path } => text::error(error, path.as_deref()),
            Self::Unreached { error, path, why } => {
                format!("{}\n{why}", text::error(error, path.as_deref()))
            }
        }
    }

    /// What is printed with `--json`.
    pub fn json(&self) -> Value {
        match self {
            Self::NotFound(name) => json!({"error": format!("command not found: {name}")}),
            Self::Usage(_) | Self::Message(_) => json!({"error": self.text()}),
            Self::Partial { answer, .. } => answer.json.clone(),
            Self::Client { error, path } | Self::Unreached { error, path, .. } => {
                let code = error.code().map(|code| format!("{code:?}"));
                json!({"error": self.text(), "code": code, "path": path})
            }
        }
    }

    /// The exit code of a single command.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) => 127,
            Self::Usage(_)
            | Self::Message(_)
            | Self::Partial { .. }
            | Self::Client { .. }
            | Self::Unreached { .. } => 1,
        }
    }
}

impl From<String> for CommandError {
    fn from(text: String) -> Self {
        Self::Message(text)
    }
}

/// Names the path with a refusal.
pub fn at(path: &str) -> impl FnOnce(ClientError) -> CommandError + use<> {
    let path = Some(path.to_owned());
    move |error| CommandError::Client { error, path }
}

/// A refusal that belongs to no path.
pub fn nowhere(error: ClientError) -> CommandError {
    CommandError::Client { error, path: None }
}

/// What every command returns.
pub type CommandResult = Result<Answer, CommandError>;
