//! The operator's door on the machine itself: a Unix socket in the data directory.
//!
//! ```text
//! farwatch leader … ─► DIR/admin.sock ─► thread farwatch-admin ─► ToCore::Admin ─► core
//!                   ◄── one line JSON ◄─────────────────────────◄── AdminReply ◄────┘
//! ```
//!
//! Whoever may open the socket may do what the server may: it belongs to the server's user alone.
//! One JSON object a line, such as `{"do":"transfer","to":2}`, is answered by one:
//! `{"ok":true}`, or `{"ok":false,"why":"…"}`. A connection may ask as often as it likes.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::debug;

use crate::inbox::ToCore;
use crate::port::Port;
use crate::report::EnsembleReport;

/// The socket's name in the data directory.
const SOCKET: &str = "admin.sock";

/// What the socket is called until it is ready: no longer than its name, so that both fit or none.
const NEW_SOCKET: &str = ".admin.new";

const _: () = assert!(NEW_SOCKET.len() <= SOCKET.len());

/// Bytes of a path that a socket address holds, without the final zero. Source: `unix(7)`.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Longest line that is read, bytes. A report of an ensemble as large as they get is a tenth of it.
const LINE_BYTES_MAX: u64 = 1 << 16;

/// How long one who connected may be silent before the next is listened to.
const ASKER_PATIENCE: Duration = Duration::from_secs(5);

/// How long the core may take. A hand-over waits for all that is under way, so it takes longer than
/// one round trip; it is given up by itself much sooner.
const CORE_PATIENCE: Duration = Duration::from_secs(30);

/// How long an asker waits: the core's answer, and then some.
const ANSWER_PATIENCE: Duration = Duration::from_secs(35);

/// What an operator may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub enum AdminRequest {
    /// Hand leadership over to this server.
    Transfer {
        /// Its number.
        to: u32,
    },
    /// What the server knows of its ensemble.
    Report,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAnswer {
    /// The hand-over has begun.
    Begun,
    /// What the server knows.
    Report(Box<EnsembleReport>),
}

/// Where the core answers: at most once, and an error is why it was not done. Has room for the
/// answer, so that the core never waits.
pub type AdminReply = SyncSender<Result<AdminAnswer, String>>;

/// An answer as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
struct AnswerLine {
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    report: Option<Box<EnsembleReport>>,
}

impl From<Result<AdminAnswer, String>> for AnswerLine {
    fn from(answer: Result<AdminAnswer, String>) -> Self {
        match answer {
            Ok(AdminAnswer::Begun) => Self { ok: true, ..Self::default() },
            Ok(AdminAnswer::Report(report)) => Self { ok: true, why: None, report: Some(report) },
            Err(why) => Self { why: Some(why), ..Self::default() },
        }
    }
}

/// Why a server has no door.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A socket's address is shorter than that.
    #[error(
        "{path} is longer than the {SOCKET_PATH_BYTES_MAX} bytes of a socket's address, so \
         `farwatch leader` cannot reach this server: give dataDir a shorter path, or start in it",
        path = path.display()
    )]
    PathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{path} cannot be listened on ({cause}): `farwatch leader` cannot reach this server",
        path = path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// What it says.
        cause: io::Error,
    },
}

/// The open door. Dropped, it is closed and its file is gone.
#[derive(Debug)]
pub struct AdminSocket {
    path: PathBuf,
    stopping: Arc<AtomicBool>,
}

impl AdminSocket {
    /// Opens the door of the server that holds `data_dir`, whose lock makes a file that is there
    /// already one of a server that is gone.
    pub fn open(data_dir: &Path, core: Arc<Port<ToCore>>) -> Result<Self, AdminError> {
        let path = data_dir.join(SOCKET);
        if SOCKET_PATH_BYTES_MAX < path.as_os_str().as_bytes().len() {
            return Err(AdminError::PathTooLong { path });
        }
        let stopping = Arc::new(AtomicBool::new(false));
        let started = bind(data_dir, &path).and_then(|listener| {
            let stopping = Arc::clone(&stopping);
            let thread = thread::Builder::new().name("farwatch-admin".to_owned());
            thread.spawn(move || serve(&listener, &core, &stopping))
        });
        match started {
            Ok(_runs_until_the_door_closes) => Ok(Self { path, stopping }),
            Err(cause) => Err(AdminError::Socket { path, cause }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // The thread waits for somebody to connect. Where this fails, it is gone already.
        let _ = UnixStream::connect(&self.path);
        let _ = fs::remove_file(&self.path);
    }
}

/// Listens under another name until nobody else may connect; the rename then replaces what a server
/// that crashed has left.
fn bind(data_dir: &Path, path: &Path) -> io::Result<UnixListener> {
    let new = data_dir.join(NEW_SOCKET);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    fs::rename(&new, path)?;
    Ok(listener)
}

fn serve(listener: &UnixListener, core: &Port<ToCore>, stopping: &AtomicBool) {
    for stream in listener.incoming() {
        if stopping.load(Ordering::Acquire) {
            return;
        }
        // Whoever asks is gone, or speaks something else: that is no trouble of the server's.
        if let Err(cause) = stream.and_then(|stream| converse(&stream, core)) {
            debug!("an operator's connection ended: {cause}");
        }
    }
}

fn converse(stream: &UnixStream, core: &Port<ToCore>) -> io::Result<()> {
    stream.set_read_timeout(Some(ASKER_PATIENCE))?;
    stream.set_write_timeout(Some(ASKER_PATIENCE))?;
    let mut reader = BufReader::new(stream);
    while let Some(line) = read_line(&mut reader)? {
        let answer = match serde_json::from_str(&line) {
            Ok(request) => ask_core(core, request),
            Err(error) => Err(format!("`{}` is no request: {error}", line.trim_end())),
        };
        let mut text = serde_json::to_string(&AnswerLine::from(answer))?;
        text.push('\n');
        let mut writer = stream;
        writer.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// A whole line; none at the end.
fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
    match (read, line.ends_with('\n')) {
        (0, _) => Ok(None),
        (_, true) => Ok(Some(line)),
        (_, false) => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn ask_core(core: &Port<ToCore>, request: AdminRequest) -> Result<AdminAnswer, String> {
    let (back, answer) = mpsc::sync_channel(1);
    let asked = Instant::now();
    let mut message = ToCore::Admin(request, back);
    while let Err(returned) = core.push(message) {
        if CORE_PATIENCE < asked.elapsed() {
            return Err("the server is too busy to be asked: try again".to_owned());
        }
        message = returned;
        thread::yield_now(); // a full inbox is drained within a turn of the core
    }
    answer.recv_timeout(CORE_PATIENCE).unwrap_or_else(|missing| {
        Err(match missing {
            RecvTimeoutError::Timeout => {
                format!("the server did not answer within {} s", CORE_PATIENCE.as_secs())
            }
            RecvTimeoutError::Disconnected => "the server was stopped meanwhile".to_owned(),
        })
    })
}

/// Why an operator has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error(
        "no server can be asked at {path} ({cause}): name the data directory of a running server \
         with --data-dir, as the user that it runs as", path = path.display()
    )]
    NoServer {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The connection broke off, or what came is no answer.
    #[error("the server did not answer ({0}): see `farwatch status` and the server's log")]
    NoAnswer(#[from] io::Error),
    /// It was not done.
    #[error("{0}")]
    Refused(String),
}

/// Asks the server whose data is in `data_dir`.
pub fn ask(data_dir: &Path, request: AdminRequest) -> Result<AdminAnswer, AskError> {
    let path = data_dir.join(SOCKET);
    let mut stream = UnixStream::connect(&path)
        .map_err(|cause| AskError::NoServer { path: path.clone(), cause })?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.set_write_timeout(Some(ASKER_PATIENCE))?;
    let mut line = serde_json::to_string(&request).map_err(io::Error::from)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let answer = read_line(&mut BufReader::new(&stream))?;
    let answer = answer.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?;
    let answer: AnswerLine = serde_json::from_str(&answer).map_err(io::Error::from)?;
    match answer {
        AnswerLine { ok: true, report: None, .. } => Ok(AdminAnswer::Begun),
        AnswerLine { ok: true, report: Some(report), .. } => Ok(AdminAnswer::Report(report)),
        AnswerLine { why, .. } => Err(AskError::Refused(why.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests;
