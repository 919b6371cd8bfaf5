//! A full disk is not asked with every look: its answer wakes who asked, who would look, and ask again.

use std::time::{Duration, Instant};

/// What a full disk refused is asked for again after so long. Short, as a server is to go on within a second of there
/// being room; long, as each try may write as much as a quota still lets it, and take that away again.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Whether something is not to be asked of the disk now.
#[derive(Debug, Default)]
pub(super) struct HoldOff(Option<Instant>);

impl HoldOff {
    /// The disk had no room for it.
    pub fn refused(&mut self, now: Instant) {
        self.0 = Some(now + ASK_AGAIN);
    }

    /// The disk had room.
    pub fn taken(&mut self) {
        self.0 = None;
    }

    /// Whether it was refused, by this clock, only just. The clock is not looked at where nothing was.
    pub fn holds(&self, clock: fn() -> Instant) -> bool {
        self.0.is_some_and(|until| clock() < until)
    }
}
