//! Where a demo says what happens: lines, or on a terminal with sites, a table that is drawn anew in
//! its place, the last events below it, and a prompt.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Between two tables where they are lines.
const TABLE_EVERY: Duration = Duration::from_secs(5);

/// Between two tables on a terminal.
const DRAWN_EVERY: Duration = Duration::from_millis(400);

/// A terminal whose size is not told.
const ROWS: usize = 24;
const COLUMNS: usize = 100;

/// Fewer events than that are of no use: then the table scrolls off instead.
const EVENTS_MIN: usize = 4;

/// Where it goes, and what of it is to be seen now.
pub(super) struct Face<W> {
    out: W,
    screen: Option<Screen>,
    shown: Option<Instant>,
}

/// What is on a terminal.
#[derive(Default)]
struct Screen {
    events: VecDeque<String>,
    table: Vec<String>,
    /// Lines and their place when everything was drawn last; anything else is drawn anew.
    drawn: Option<(usize, usize)>,
}

impl<W: Write> Face<W> {
    pub(super) fn new(out: W, on_a_screen: bool) -> Self {
        Self { out, screen: on_a_screen.then(Screen::default), shown: None }
    }

    /// Something happened, in one line or several.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        let Some(screen) = &mut self.screen else { return writeln!(self.out, "{text}") };
        screen.events.extend(text.lines().map(str::to_owned));
        let (rows, _) = size();
        let surplus = screen.events.len().saturating_sub(rows);
        screen.events.drain(..surplus);
        self.draw()
    }

    /// Shows the table that `table` makes, if it is time for that or `now`.
    pub(super) fn show(
        &mut self,
        now: bool,
        table: impl FnOnce() -> Vec<String>,
    ) -> io::Result<()> {
        let every = if self.screen.is_some() { DRAWN_EVERY } else { TABLE_EVERY };
        if !now && self.shown.is_some_and(|shown| shown.elapsed() < every) {
            return Ok(());
        }
        self.shown = Some(Instant::now());
        let table = table();
        match &mut self.screen {
            None => writeln!(self.out, "\n{}\n", table.join("\n")),
            Some(screen) => {
                screen.table = table;
                self.draw()
            }
        }
    }

    /// A line was typed: what it left on the terminal goes.
    pub(super) fn entered(&mut self) -> io::Result<()> {
        if let Some(screen) = &mut self.screen {
            screen.drawn = None;
        }
        self.draw()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn draw(&mut self) -> io::Result<()> {
        let Some(screen) = &mut self.screen else { return Ok(()) };
        let (rows, columns) = size();
        screen.draw(&mut self.out, rows, columns)
    }
}

impl Screen {
    /// The prompt stays where it is, and with it what is typed there, unless the size has changed.
    fn draw(&mut self, out: &mut impl Write, rows: usize, columns: usize) -> io::Result<()> {
        let room = rows.saturating_sub(self.table.len() + 3).max(EVENTS_MIN);
        let size = (self.table.len() + room, columns);
        let anew = self.drawn != Some(size);
        self.drawn = Some(size);
        let (before, after) =
            if anew { ("\x1b[2J\x1b[H", "\x1b[K> ") } else { ("\x1b7\x1b[H", "\x1b8") };
        let fits = |line: &str| line.chars().take(columns).collect::<String>();
        let mut text = before.to_owned();
        let events = self.events.iter().skip(self.events.len().saturating_sub(room));
        let blank = room - events.len();
        for line in self.table.iter().chain([&String::new()]).chain(events) {
            text += &format!("{}\x1b[K\r\n", fits(line));
        }
        (0..blank).for_each(|_| text += "\x1b[K\r\n");
        text += after;
        out.write_all(text.as_bytes())
    }
}

/// Rows and columns of the terminal.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_row != 0 && size.ws_col != 0 => {
            (usize::from(size.ws_row), usize::from(size.ws_col))
        }
        Ok(_) | Err(_) => (ROWS, COLUMNS),
    }
}

#[cfg(test)]
mod tests {
    use super::{Face, Screen};

    #[test]
    fn without_a_screen_all_is_lines() {
        let mut out = Vec::new();
        let mut face = Face::new(&mut out, false);
        face.say("one").unwrap();
        face.show(false, || vec!["a table".to_owned()]).unwrap();
        face.show(false, || vec!["too early".to_owned()]).unwrap();
        face.show(true, || vec!["at once".to_owned()]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "one\n\na table\n\n\nat once\n\n");
    }

    #[test]
    fn a_screen_is_drawn_in_its_place_and_leaves_the_prompt_alone() {
        let table = vec!["head".to_owned(), "a long row".to_owned()];
        let events = (0..9).map(|number| format!("event {number}")).collect();
        let mut screen = Screen { events, table, drawn: None };
        let mut first = Vec::new();
        screen.draw(&mut first, 9, 7).unwrap();
        assert_eq!(
            String::from_utf8(first).unwrap(),
            "\x1b[2J\x1b[Hhead\x1b[K\r\na long \x1b[K\r\n\x1b[K\r\nevent 5\x1b[K\r\nevent 6\x1b[K\r\n\
             event 7\x1b[K\r\nevent 8\x1b[K\r\n\x1b[K> "
        );
        let mut next = Vec::new();
        screen.draw(&mut next, 9, 7).unwrap();
        let next = String::from_utf8(next).unwrap();
        assert!(next.starts_with("\x1b7\x1b[Hhead") && next.ends_with("\x1b8"), "{next:?}");
    }
}
