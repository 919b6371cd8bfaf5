//! `farwatch shell`: the commands of ZooKeeper's own shell, for people and for scripts.
//!
//! With a command behind the options it runs that and exits: 0, 1 after a refusal, 127 for an
//! unknown command. Without one it reads commands, from a terminal with history and completion, or
//! from a pipe. Results go to standard output, refusals to standard error; with `--json` each
//! command prints one JSON document, refusals included.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use farwatch_client::{Client, ClientError, Event, Options};
use serde_json::json;

use crate::status;

mod command;
mod ensemble;
mod node;
mod prompt;
mod quota;
mod start_options;
mod text;
mod words;

use command::{Answer, CommandError, CommandResult, help, nowhere};
use start_options::StartOptions;
use words::{OptionSpec, Parsed};

/// How many lines `history` shows.
const HISTORY_SHOWN: usize = 11;

/// How long `close` and the end of the shell wait for the server's answer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a single command waits for a server without a word.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// How long each server is asked why it was not reached.
const WHY_TIMEOUT: Duration = Duration::from_secs(1);

/// The arguments of `farwatch shell`.
#[derive(Args, Debug)]
#[command(after_help = start_options::HELP)]
pub struct ShellArgs {
    /// Options, then a command with its own options; without a command the shell is interactive.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS|COMMAND")]
    words: Vec<String>,
}

/// Where events are printed: the terminal's editor puts them above the line that is being typed.
type EventSink = Arc<Mutex<Box<dyn FnMut(String) + Send>>>;

/// A running shell.
struct Shell {
    options: StartOptions,
    client: Option<Client>,
    history: Vec<String>,
    print_watches: Arc<AtomicBool>,
    events: EventSink,
    /// Set by `quit`.
    done: bool,
}

/// Runs `farwatch shell`.
pub fn run(args: ShellArgs) -> ExitCode {
    let options = match StartOptions::parse(&args.words) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    let mut shell = Shell::new(options);
    let code = match shell.start() {
        Err(error) => {
            shell.print(&Err(shell.explained(error)));
            1
        }
        Ok(()) if !shell.options.command.is_empty() => {
            let words = shell.options.command.clone();
            shell.run_words(&words)
        }
        Ok(()) if std::io::stdin().is_terminal() => prompt::run(&mut shell),
        Ok(()) => shell.run_lines(std::io::stdin().lock()),
    };
    shell.close();
    ExitCode::from(code)
}

impl Shell {
    fn new(options: StartOptions) -> Self {
        let json = options.json;
        let print = move |line: String| {
            // A document that no command asked for would break a reader's count.
            if json { eprintln!("{line}") } else { println!("{line}") }
        };
        Self {
            options,
            client: None,
            history: Vec::new(),
            print_watches: Arc::new(AtomicBool::new(true)),
            events: Arc::new(Mutex::new(Box::new(print))),
            done: false,
        }
    }

    fn start(&mut self) -> Result<(), CommandError> {
        if self.options.command.is_empty() && !self.options.json {
            println!("Connecting to {}", self.options.server);
            println!("Welcome to Farwatch!");
        }
        self.connect()?;
        if self.options.wait_for_connection {
            let client = self.client.as_ref().expect("connected just now");
            client.wait_connected(self.options.timeout).map_err(nowhere)?;
        } else if !self.options.command.is_empty() && SILENT_FOR < self.options.timeout {
            self.tell_that_it_waits();
        }
        Ok(())
    }

    /// Says on standard error what a single command waits for, if it has to.
    fn tell_that_it_waits(&self) {
        let client = self.client.as_ref().expect("connected just now");
        let waited = client.wait_connected(SILENT_FOR);
        if let Err(ClientError::Timeout { .. }) = waited {
            let patience = self.options.timeout.as_secs_f64();
            eprintln!("no server yet, waiting for up to {patience} s:\n{}", self.why_unreached());
        }
    }

    /// Why no server could be reached, a line for each of them.
    fn why_unreached(&self) -> String {
        let (servers, _chroot) =
            self.options.server.split_once('/').unwrap_or((&self.options.server, ""));
        let why = |server: &str| {
            status::why_not(server, WHY_TIMEOUT)
                .unwrap_or_else(|| format!("{server}: it serves; try again"))
        };
        servers.split(',').map(why).collect::<Vec<_>>().join("\n")
    }

    /// Opens a session with the server of the options.
    fn connect(&mut self) -> Result<(), CommandError> {
        let is_single = !self.options.command.is_empty();
        let (events, print_watches) = (Arc::clone(&self.events), Arc::clone(&self.print_watches));
        let json = self.options.json;
        let on_event = move |event: Event| {
            let is_session = matches!(event, Event::Session(_));
            // A single command's output is its answer alone.
            if is_single || (!is_session && !print_watches.load(Ordering::Relaxed)) {
                return;
            }
            let line =
                if json { text::event_json(&event).to_string() } else { text::event(&event) };
            let mut print = events.lock().unwrap_or_else(PoisonError::into_inner);
            print(line);
        };
        let options = Options::default()
            .session_timeout(self.options.timeout)
            .request_timeout(self.options.timeout)
            .read_only(self.options.read_only)
            .on_event(on_event);
        let client = Client::open(&self.options.server, options);
        self.client = Some(client.map_err(|error| CommandError::Message(error.to_string()))?);
        Ok(())
    }

    fn close(&mut self) {
        if let Some(client) = self.client.take() {
            // An unreachable server cannot be told; its session ends by itself.
            drop(client.with_request_timeout(CLOSE_TIMEOUT).close());
        }
    }

    /// Reads commands until the input ends; the exit code is the last command's.
    fn run_lines(&mut self, input: impl BufRead) -> u8 {
        let mut code = 0;
        for line in input.lines().map_while(Result::ok) {
            if let Some(of_line) = self.run_line(&line) {
                code = of_line;
            }
            if self.done {
                break;
            }
        }
        code
    }

    /// Runs one typed line; `None` for an empty one.
    fn run_line(&mut self, line: &str) -> Option<u8> {
        let words = words::split(line);
        if words.is_empty() {
            return None;
        }
        self.history.push(line.trim().to_owned());
        Some(self.run_words(&words))
    }

    fn run_words(&mut self, words: &[String]) -> u8 {
        let result = self.execute(words).map_err(|error| self.explained(error));
        self.print(&result);
        result.err().map_or(0, |error| error.exit_code())
    }

    /// Names the servers that were not reached, and why.
    fn explained(&self, error: CommandError) -> CommandError {
        match error {
            CommandError::Client {
                error: error @ ClientError::Timeout { maybe_applied: false },
                path,
            } => CommandError::Unreached { error, path, why: self.why_unreached() },
            other => other,
        }
    }

    /// A reader that has gone away ends the shell by the next read; it is no reason to panic.
    fn print(&self, result: &CommandResult) {
        let mut out = std::io::stdout().lock();
        let printed = match result {
            Ok(answer) if self.options.json => writeln!(out, "{}", answer.json),
            Err(error) if self.options.json => writeln!(out, "{}", error.json()),
            Ok(Answer { text: Some(text), .. }) => writeln!(out, "{text}"),
            Ok(Answer { text: None, .. }) => Ok(()),
            Err(CommandError::Partial { answer, text }) => {
                let printed = writeln!(out, "{}", answer.text.as_deref().unwrap_or_default());
                eprintln!("{text}");
                printed
            }
            Err(error) => {
                eprintln!("{}", error.text());
                Ok(())
            }
        };
        drop(printed.and_then(|()| out.flush()));
    }

    fn execute(&mut self, words: &[String]) -> CommandResult {
        let (name, rest) = words.split_first().expect("a command has a name");
        match name.as_str() {
            "help" => Ok(Answer::new(help(), json!({"usage": help()}))),
            "version" => {
                let version = env!("CARGO_PKG_VERSION");
                let text = format!("Farwatch CLI version: {version}");
                Ok(Answer::new(text, json!({"version": version})))
            }
            "history" => Ok(self.show_history()),
            "redo" => self.redo(rest),
            "printwatches" => self.set_print_watches(rest),
            "connect" => self.reconnect(rest),
            "close" => {
                self.connected()?;
                self.close();
                Ok(Answer::done())
            }
            "quit" | "exit" => {
                self.done = true;
                Ok(Answer { text: None, json: json!({"ok": true}) })
            }
            _on_the_server => self.execute_on_server(name, rest),
        }
    }

    fn connected(&self) -> Result<&Client, CommandError> {
        self.client.as_ref().ok_or_else(|| "Not connected".to_owned().into())
    }

    fn execute_on_server(&self, name: &str, rest: &[String]) -> CommandResult {
        let specs = option_specs(name).ok_or_else(|| CommandError::NotFound(name.to_owned()))?;
        let parsed = Parsed::new(rest, specs)?;
        let client = self.connected()?;
        match name {
            "addWatch" => ensemble::add_watch(client, &parsed),
            "addauth" => ensemble::addauth(client, &parsed),
            "config" => ensemble::config(client, &parsed),
            "create" => node::create(client, &parsed),
            "delete" => node::delete(client, &parsed),
            "deleteall" => node::deleteall(client, &parsed),
            "delquota" => quota::delete(client, &parsed),
            "get" => node::get(client, &parsed),
            "getAcl" => node::get_acl(client, &parsed),
            "getAllChildrenNumber" => node::all_children_number(client, &parsed),
            "getEphemerals" => node::get_ephemerals(client, &parsed),
            "listquota" => quota::list(client, &parsed),
            "ls" => node::ls(client, &parsed),
            "reconfig" => ensemble::reconfig(client, &parsed),
            "removewatches" => ensemble::remove_watches(client, &parsed),
            "set" => node::set(client, &parsed),
            "setAcl" => node::set_acl(client, &parsed),
            "setquota" => quota::set(client, &parsed),
            "stat" => node::stat(client, &parsed),
            "sync" => node::sync(client, &parsed),
            "whoami" => ensemble::whoami(client),
            other => unreachable!("{other} has options and no command"),
        }
    }

    fn show_history(&self) -> Answer {
        let first = self.history.len().saturating_sub(HISTORY_SHOWN);
        let lines = self.history.iter().enumerate().skip(first);
        let text: Vec<String> = lines.map(|(number, line)| format!("{number} - {line}")).collect();
        Answer::new(text.join("\n"), json!({"first": first, "history": self.history[first..]}))
    }

    fn redo(&mut self, rest: &[String]) -> CommandResult {
        let number = rest.first().ok_or(CommandError::Usage("redo"))?;
        let line = number.parse::<usize>().ok().and_then(|number| self.history.get(number));
        let line = line.ok_or_else(|| "Command index out of range".to_owned())?.clone();
        let words = words::split(&line);
        // A redo of a redo could go on for ever.
        if words[0] == "redo" {
            return Err("No redoing redos".to_owned().into());
        }
        let place = self.history.len() - 1;
        self.history[place] = line;
        self.execute(&words)
    }

    fn set_print_watches(&self, rest: &[String]) -> CommandResult {
        match rest.first().map(String::as_str) {
            None => {}
            Some(word) => self.print_watches.store(word == "on", Ordering::Relaxed),
        }
        let on = self.print_watches.load(Ordering::Relaxed);
        let text = format!("printwatches is {}", if on { "on" } else { "off" });
        // As in ZooKeeper's shell, only the question is answered.
        Ok(Answer { text: rest.is_empty().then_some(text), json: json!({"printwatches": on}) })
    }

    fn reconnect(&mut self, rest: &[String]) -> CommandResult {
        self.close();
        if let Some(server) = rest.first() {
            self.options.server.clone_from(server);
        }
        self.connect()?;
        let client = self.connected()?;
        client.wait_connected(self.options.timeout).map_err(nowhere)?;
        Ok(Answer::done())
    }
}

/// The options of a command that needs a server; `None` for an unknown one.
fn option_specs(name: &str) -> Option<&'static [OptionSpec]> {
    Some(match name {
        "addWatch" => &[("m", true)],
        "addauth" | "getAllChildrenNumber" | "getEphemerals" | "listquota" | "sync" | "whoami" => {
            &[]
        }
        "config" => &[("c", false), ("w", false), ("s", false)],
        "create" => &[("s", false), ("e", false), ("c", false), ("t", true)],
        "delete" => &[("v", true)],
        "deleteall" => &[("b", true)],
        "delquota" => &[("n", false), ("b", false), ("N", false), ("B", false)],
        "get" => &[("s", false), ("w", false), ("b", false), ("x", false)],
        "getAcl" => &[("s", false)],
        "ls" => &[("s", false), ("w", false), ("R", false)],
        "reconfig" => &[
            ("s", false),
            ("v", true),
            ("file", true),
            ("members", true),
            ("add", true),
            ("remove", true),
        ],
        "removewatches" => {
            &[("c", false), ("d", false), ("a", false), ("p", false), ("r", false), ("l", false)]
        }
        "set" => &[("s", false), ("v", true), ("b", false)],
        "setAcl" => &[("s", false), ("v", true), ("R", false)],
        "setquota" => &[("n", true), ("b", true), ("N", true), ("B", true)],
        "stat" => &[("w", false)],
        _unknown => return None,
    })
}
