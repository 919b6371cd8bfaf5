//! The interactive shell: line editing, history in a file, completion of commands and paths.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use farwatch_client::Client;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Context, Editor, ExternalPrinter, Helper, Highlighter, Hinter, Validator};

use super::Shell;
use super::command::USAGES;

/// The history file in the user's home directory.
const HISTORY_FILE: &str = ".farwatch_history";

/// How long a completion may wait for the server: longer would feel like a hang.
const COMPLETION_TIMEOUT: Duration = Duration::from_millis(500);

/// Completes the first word to a command and others to paths.
#[derive(Helper, Hinter, Highlighter, Validator)]
struct ShellHelper {
    client: Arc<Mutex<Option<Client>>>,
}

impl Completer for ShellHelper {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let start = line[..position].rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let word = &line[start..position];
        let candidates = if line[..start].trim().is_empty() {
            complete_command(word)
        } else if word.starts_with('/') {
            let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
            client.as_ref().map_or_else(Vec::new, |client| complete_path(client, word))
        } else {
            Vec::new()
        };
        let pairs = candidates
            .into_iter()
            .map(|candidate| Pair { display: candidate.clone(), replacement: candidate });
        Ok((start, pairs.collect()))
    }
}

fn complete_command(word: &str) -> Vec<String> {
    let fits = USAGES.iter().filter(|(name, _)| name.starts_with(word));
    fits.map(|(name, _)| format!("{name} ")).collect()
}

fn complete_path(client: &Client, word: &str) -> Vec<String> {
    let slash = word.rfind('/').expect("a path has a slash");
    let (parent, name) = (&word[..slash], &word[slash + 1..]);
    let client = client.with_request_timeout(COMPLETION_TIMEOUT);
    let listed = client.children(if parent.is_empty() { "/" } else { parent }, false);
    let mut names = listed.map(|children| children.names).unwrap_or_default();
    names.retain(|child| child.starts_with(name));
    names.sort();
    names.into_iter().map(|child| format!("{parent}/{child}")).collect()
}

/// Reads and runs commands until `quit` or the end of the input.
pub fn run(shell: &mut Shell) -> u8 {
    let mut editor: Editor<ShellHelper, DefaultHistory> = match Editor::new() {
        Ok(editor) => editor,
        Err(error) => {
            eprintln!("no line editing here ({error}); reading plain lines");
            return shell.run_lines(std::io::stdin().lock());
        }
    };
    let client = Arc::new(Mutex::new(shell.client.clone()));
    editor.set_helper(Some(ShellHelper { client: Arc::clone(&client) }));
    if let Ok(mut printer) = editor.create_external_printer() {
        let mut events = shell.events.lock().unwrap_or_else(PoisonError::into_inner);
        *events = Box::new(move |line| drop(printer.print(format!("{line}\n"))));
    }
    let history = std::env::home_dir().map(|home: PathBuf| home.join(HISTORY_FILE));
    if let Some(history) = &history {
        drop(editor.load_history(history)); // there is none the first time
    }
    let mut code = 0;
    while !shell.done {
        *client.lock().unwrap_or_else(PoisonError::into_inner) = shell.client.clone();
        match editor.readline(&prompt(shell)) {
            Ok(line) => {
                drop(editor.add_history_entry(&line));
                code = shell.run_line(&line).unwrap_or(code);
            }
            Err(ReadlineError::Interrupted) => {} // drops the line, as in other shells
            Err(ReadlineError::Eof) => break,
            Err(error) => {
                eprintln!("{error}");
                code = 1;
                break;
            }
        }
    }
    client.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(history) = &history
        && let Err(error) = editor.save_history(history)
    {
        eprintln!("the history was not saved in {}: {error}", history.display());
    }
    code
}

/// `[zk: host:port(CONNECTED) 7] `
fn prompt(shell: &Shell) -> String {
    let state = match &shell.client {
        None => "CLOSED",
        Some(client) if client.is_over() => "CLOSED",
        Some(client) if client.is_read_only() => "CONNECTEDREADONLY",
        Some(client) if client.is_connected() => "CONNECTED",
        Some(_) => "CONNECTING",
    };
    format!("[zk: {}({state}) {}] ", shell.options.server, shell.history.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_completed_to_the_commands() {
        assert_eq!(complete_command("getE"), ["getEphemerals "]);
        assert_eq!(complete_command("q"), ["quit "]);
        assert!(complete_command("nothing").is_empty());
    }
}
