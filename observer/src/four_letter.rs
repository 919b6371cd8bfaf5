//! Four-letter words: questions that operators and monitoring tools ask on the client port.
//!
//! ```text
//! first 4 bytes ─► FirstBytes ─┬─ a frame length ────────────► handshake
//!                              ├─ telnet's close ────────────► close
//!                              └─ Word ─► Whitelist ─► facts ─► text ─► close
//! ```
//!
//! The functions here turn facts into text and ask nothing themselves; tools parse that text, so
//! its form is ZooKeeper's byte for byte. Source: ZooKeeper Administrator's Guide, "The Four Letter
//! Words", and captures of 3.8 and 3.9 servers.

use std::fmt;

pub mod configuration;
pub mod counters;
mod date;
pub mod ensemble;
pub mod monitor;
pub mod server;
pub mod sessions;
pub mod watches;

#[cfg(test)]
mod tests;

/// What `srvr`, `stat` and `mntr` say this server is.
///
/// Tools parse the leading `x.y.z` to choose which words and keys they may expect, and several
/// refuse a version that they do not know as ZooKeeper's. So it names the ZooKeeper release whose
/// behaviour is served, then ours. The date belongs to the release, not to the build: two builds of
/// one source are the same bytes.
pub const VERSION: &str =
    concat!("3.9.4-farwatch-", env!("CARGO_PKG_VERSION"), ", built on 2026-11-24 00:00 UTC");

/// Telnet's Ctrl-C as the first bytes of a connection: it is closed without an answer.
const TELNET_CLOSE: [u8; 4] = [0xff, 0xf4, 0xff, 0xfd];

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A four-letter word.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Word { $($(#[$doc])* $name,)* }

        impl Word {
            /// Every word.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word that a client sends.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

words! {
    /// Configuration.
    Conf = "conf",
    /// Connections in full.
    Cons = "cons",
    /// Resets the statistics of the connections.
    Crst = "crst",
    /// Sizes of the data directories.
    Dirs = "dirs",
    /// Sessions and ephemerals.
    Dump = "dump",
    /// Environment.
    Envi = "envi",
    /// Trace mask.
    Gtmk = "gtmk",
    /// History of tree digests.
    Hash = "hash",
    /// Whether the server is read-only.
    Isro = "isro",
    /// Every metric.
    Mntr = "mntr",
    /// What the server knows of its ensemble, as JSON: Farwatch's own word.
    Quor = "quor",
    /// Whether the process runs.
    Ruok = "ruok",
    /// Resets the statistics of the server.
    Srst = "srst",
    /// Statistics of the server.
    Srvr = "srvr",
    /// Statistics of the server and its connections.
    Stat = "stat",
    /// Sets the trace mask: the word is followed by eight bytes.
    Stmk = "stmk",
    /// Watches by session.
    Wchc = "wchc",
    /// Watches by path.
    Wchp = "wchp",
    /// Watches in summary.
    Wchs = "wchs",
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What the first four bytes of a connection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirstBytes {
    /// A word: answer and close.
    Word(Word),
    /// Telnet's Ctrl-C: close.
    TelnetClose,
    /// The length of the first frame. An unknown word is one too, far above every limit.
    FrameLength(i32),
}

impl FirstBytes {
    /// Reads the first four bytes of a connection. Later bytes are never words.
    pub fn read(bytes: [u8; 4]) -> Self {
        if bytes == TELNET_CLOSE {
            return Self::TelnetClose;
        }
        match Word::ALL.iter().find(|word| word.text().as_bytes() == bytes) {
            Some(&word) => Self::Word(word),
            None => Self::FrameLength(i32::from_be_bytes(bytes)),
        }
    }
}

/// The words that a server answers: `4lw.commands.whitelist`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Whitelist(u32);

const _: () = assert!(Word::ALL.len() <= 32); // one bit each

impl Whitelist {
    /// No word at all.
    pub const NONE: Self = Self(0);

    /// Every word.
    pub const ALL: Self = Self((1 << Word::ALL.len()) - 1);

    /// This list and `word`.
    #[must_use]
    pub const fn with(self, word: Word) -> Self {
        Self(self.0 | 1 << word as u32)
    }

    /// Whether `word` is answered.
    pub const fn allows(self, word: Word) -> bool {
        self.0 & 1 << word as u32 != 0
    }

    /// Reads a comma list; spaces are trimmed and `*` is every word. `srvr` is always one of them:
    /// ZooKeeper's scripts ask with it, whatever its operator lists. The second value names what
    /// is no word, which is skipped as ZooKeeper skips it.
    pub fn parse(list: &str) -> (Self, Vec<&str>) {
        let mut whitelist = Self::NONE.with(Word::Srvr);
        let mut unknown = Vec::new();
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match Word::ALL.iter().find(|word| word.text() == name) {
                Some(&word) => whitelist = whitelist.with(word),
                None if name == "*" => whitelist = Self::ALL,
                None => unknown.push(name),
            }
        }
        (whitelist, unknown)
    }
}

impl Default for Whitelist {
    /// `srvr` and `quor` only: the others tell strangers about clients and data, or cost time that
    /// grows with the number of watches.
    fn default() -> Self {
        Self::NONE.with(Word::Srvr).with(Word::Quor)
    }
}

impl fmt::Debug for Whitelist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Word::ALL.iter().filter(|word| self.allows(**word))).finish()
    }
}

/// The answer to a word that the whitelist does not hold.
pub fn refusal(word: Word) -> String {
    format!("{word} is not executed because it is not in the whitelist.\n")
}

/// The answer of a server without a leader, or `None` when `word` is answered as ever.
pub const fn not_serving(word: Word) -> Option<&'static str> {
    match word {
        // `quor` is there to tell why.
        Word::Ruok | Word::Envi | Word::Gtmk | Word::Stmk | Word::Quor => None,
        Word::Isro => Some("null"),
        Word::Hash => Some("This ZooKeeper instance is not currently serving requests"),
        Word::Conf
        | Word::Cons
        | Word::Crst
        | Word::Dirs
        | Word::Dump
        | Word::Mntr
        | Word::Srst
        | Word::Srvr
        | Word::Stat
        | Word::Wchc
        | Word::Wchp
        | Word::Wchs => Some("This ZooKeeper instance is not currently serving requests\n"),
    }
}

/// `ruok`: the process runs. It says nothing about serving.
pub const RUOK: &str = "imok";

/// `crst`, after the statistics of all connections were reset.
pub const CRST: &str = "Connection stats reset.\n";

/// `srst`, after the statistics of the server were reset.
pub const SRST: &str = "Server stats reset.\n";

/// `isro`. Clients that look for a writable server compare it with exactly `rw`.
pub const fn isro(read_only: bool) -> &'static str {
    if read_only { "ro" } else { "rw" }
}

/// `gtmk`, and `stmk` with the new mask.
pub fn trace_mask(mask: u64) -> String {
    mask.cast_signed().to_string()
}

/// The mask that follows `stmk`: eight bytes, which must have come with the word. `None` when some
/// are missing; the connection is then closed without an answer.
pub fn requested_trace_mask(after_word: &[u8]) -> Option<u64> {
    after_word.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}
