//! What happened, as a hash that two runs of one seed share, and as lines for people.

use std::fmt;

/// Everything that happened so far.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hash: u64,
    events: u64,
    /// Lines are kept only when somebody will read them.
    pub lines: Option<Vec<String>>,
}

impl Trace {
    pub fn new(keeps_lines: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, events: 0, lines: keeps_lines.then(Vec::new) }
    }

    /// Notes bytes that happened.
    pub fn note(&mut self, now: u64, what: u8, server: usize, bytes: &[u8]) {
        let crc = crc32c::crc32c_append((now as u32) ^ (server as u32) << 8, bytes);
        self.hash ^= u64::from(crc) << 8 | u64::from(what);
        self.hash = self.hash.wrapping_mul(0x0100_0000_01b3).rotate_left(17) ^ now;
        self.events += 1;
    }

    /// Adds a line, if lines are kept.
    pub fn line(&mut self, now: u64, text: fmt::Arguments<'_>) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>9.3} ms  {text}", now as f64 / 1_000.0));
        }
    }

    pub const fn hash(&self) -> u64 {
        self.hash
    }

    pub const fn events(&self) -> u64 {
        self.events
    }
}

/// A transcript is worth most when the run did not come to its end.
impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in self.lines.iter().flatten() {
                println!("{line}");
            }
        }
    }
}
