//! How old what a server shows may be: since when it does not know itself to be current.

use super::Node;

impl Node {
    /// Time has passed, or something has come: those who learn from this server count by it.
    pub(super) fn note_time(&mut self) {
        // As long as it leads, and not until it knows that it will not lead again.
        if self.zab.is_leading() {
            (self.current_ms, self.was_current) = (self.clock.mono_ms, true);
        }
        let current_ms = self.was_current.then_some(self.current_ms);
        self.zab.note_age(self.clock.mono_ms, current_ms);
    }

    /// What a step heard about the age of this server's state.
    pub(super) fn note_word(&mut self) {
        if let Some(ago_ms) = self.zab.take_word() {
            self.current_ms = self.current_ms.max(self.clock.mono_ms - i64::from(ago_ms));
            self.was_current = true;
        }
    }

    /// Since how many milliseconds this server does not know itself to be current: since whoever it
    /// learns from last said so, and as long before as that one said. By a clock of its own that never
    /// goes back.
    ///
    /// What it shows is older than that by as much as that word was on its way, or lay unread
    /// while this server stood still; and by as long as the leader did not know yet that it was replaced,
    /// which is the silence that it bears. A clock that runs slow counts the less. `sync` has no such error.
    pub fn stale_ms(&self) -> i64 {
        if self.zab.is_leading() { 0 } else { self.clock.mono_ms - self.current_ms }
    }
}
