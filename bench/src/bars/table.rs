//! The table of the bars: its lines, what a document says already, and the two put together.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::load::referee::Spread;

/// The lines between which a document's table is replaced.
pub const MARKS: [&str; 2] =
    ["<!-- bench of the bars: begin -->", "<!-- bench of the bars: end -->"];

const HEAD: &str = "| bar | what | wanted | measured, median (min-max) | beside | verdict | measured by \
                    | when, taken by others |\n|---|---|---|---|---|---|---|---|\n";

/// What a measurement says of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Reached.
    Met,
    /// Not reached.
    Missed,
    /// Not to be said from this: something to compare with is missing, or the measure is another.
    Open,
}

impl Verdict {
    /// Of one condition.
    #[must_use]
    pub const fn of(is_met: bool) -> Self {
        if is_met { Self::Met } else { Self::Missed }
    }

    /// Of several, some of which cannot be told.
    #[must_use]
    pub fn all(conditions: &[Option<bool>]) -> Self {
        if conditions.contains(&Some(false)) {
            Self::Missed
        } else if conditions.contains(&None) {
            Self::Open
        } else {
            Self::Met
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "**missed**",
            Self::Open => "open",
        }
    }
}

/// One figure beside its bar.
#[derive(Clone, Debug)]
pub struct Line {
    /// Which bar: `P1`, or a part of it that is measured by itself: `P20-disk`.
    pub bar: &'static str,
    /// What was measured.
    pub what: String,
    /// What the bar asks for.
    pub wanted: String,
    /// What was found.
    pub measured: String,
    /// The ratio to ZooKeeper, to the ceiling, or whatever the bar compares with.
    pub beside: String,
    /// Whether that is enough.
    pub verdict: Verdict,
    /// All rounds, for the file of figures.
    pub rounds: Value,
}

/// When and how a line was measured: the same for all lines of one instrument.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The day, how often and how long where that is one for all, and how much of the processors others took before it
    /// began.
    pub when: String,
    /// The last by itself, as a share.
    pub others: f64,
}

impl Line {
    /// As a row of the table.
    #[must_use]
    pub fn row(&self, taken: &Taken) -> String {
        let Self { bar, what, wanted, measured, beside, verdict, .. } = self;
        let (verdict, when, command) = (verdict.word(), &taken.when, self.command());
        let cell = |text: &str| text.replace('|', "/");
        format!(
            "| {bar} | {} | {} | {} | {} | {verdict} | {command} | {when} |",
            cell(what),
            cell(wanted),
            cell(measured),
            cell(beside)
        )
    }

    fn command(&self) -> String {
        format!("`bars --bar {}`", self.bar)
    }

    /// As a value of the file of figures.
    #[must_use]
    pub fn json(&self, taken: &Taken) -> Value {
        json!({
            "bar": self.bar,
            "what": self.what,
            "wanted": self.wanted,
            "measured": self.measured,
            "beside": self.beside,
            "verdict": format!("{:?}", self.verdict).to_lowercase(),
            "command": self.command(),
            "when": taken.when,
            "in_use_by_others": taken.others,
            "rounds": self.rounds,
        })
    }
}

/// The table with new rows in the place of all that it had of their bars; rows of other bars stay, and of other parts
/// of the same.
#[must_use]
pub fn merged(old: &str, new: &[String]) -> String {
    let replaced: BTreeSet<&str> = new.iter().filter_map(|row| bar(row)).collect();
    let kept = old.lines().filter(|row| bar(row).is_some_and(|it| !replaced.contains(it)));
    let mut rows: Vec<&str> = kept.chain(new.iter().map(String::as_str)).collect();
    // Stable: lines of one bar stay as they were said.
    rows.sort_by_key(|row| bar(row).map(|it| (number(it), it)));
    let mut text = HEAD.to_owned();
    for row in rows {
        writeln!(text, "{row}").expect("a String takes it");
    }
    text
}

/// The bar of a row; `None` of any other line.
fn bar(row: &str) -> Option<&str> {
    let bar = row.strip_prefix("| ")?.split(' ').next()?;
    number(bar).map(|_| bar)
}

/// 20 of `P20` and of `P20-disk`.
fn number(bar: &str) -> Option<u32> {
    bar.strip_prefix('P')?.split('-').next()?.parse().ok()
}

/// A median with its least and greatest, with so many decimals.
#[must_use]
pub fn shown(spread: Spread, decimals: usize) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.decimals$} ({min:.decimals$}-{max:.decimals$})")
}

/// What several ratios say, each with its name; those that were not measured say nothing.
#[must_use]
pub fn beside(parts: &[(&str, Option<Spread>)]) -> String {
    let told = parts.iter().filter_map(|(name, it)| {
        let it = (*it)?;
        // A hundredth is too coarse where a tenth is a long way off.
        Some(format!("{name} {}x", shown(it, if it.median < 0.1 { 3 } else { 2 })))
    });
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(bar: &'static str, what: &str) -> Line {
        let text = String::from("x");
        Line {
            bar,
            what: what.to_owned(),
            wanted: text.clone(),
            measured: text.clone(),
            beside: "a|b".to_owned(),
            verdict: Verdict::Missed,
            rounds: Value::Null,
        }
    }

    #[test]
    fn new_rows_replace_all_of_their_bar_and_others_stay_in_the_order_of_bars() {
        let taken = Taken { when: "today".to_owned(), others: 0.0 };
        let row = |bar, what: &str| line(bar, what).row(&taken);
        let old = merged("", &[row("P10", "fan-out"), row("P2", "a"), row("P2", "b")]);
        let rows: Vec<&str> = old.lines().skip(2).collect();
        assert_eq!(rows[0], "| P2 | a | x | x | a/b | **missed** | `bars --bar P2` | today |");
        let new = merged(&old, &[row("P2", "c"), row("P9", "tail")]);
        let bars: Vec<&str> = new.lines().skip(2).map(|row| &row[2..12]).collect();
        assert_eq!(bars, ["P2 | c | x", "P9 | tail ", "P10 | fan-"]);
        assert_eq!(merged(&new, &[]), new);
    }

    #[test]
    fn a_part_of_a_bar_leaves_the_rows_of_its_other_parts_alone() {
        let taken = Taken { when: "today".to_owned(), others: 0.0 };
        let row = |bar, what: &str| line(bar, what).row(&taken);
        let old = merged(
            "",
            &[row("P21", "d"), row("P20-disk", "b"), row("P20", "a"), row("P20-10M", "c")],
        );
        let new = merged(&old, &[row("P20-disk", "B")]);
        let starts: Vec<&str> =
            new.lines().skip(2).map(|row| row.split(" | x").next().unwrap_or("")).collect();
        assert_eq!(starts, ["| P20 | a", "| P20-10M | c", "| P20-disk | B", "| P21 | d"]);
        let whole = merged(&new, &[row("P20", "A")]);
        assert!(whole.contains("| P20 | A |") && whole.contains("| P20-disk | B |"), "{whole}");
    }

    #[test]
    fn what_cannot_be_told_is_open_unless_something_else_is_missed() {
        assert_eq!(Verdict::all(&[Some(true), None]), Verdict::Open);
        assert_eq!(Verdict::all(&[Some(false), None]), Verdict::Missed);
        assert_eq!(Verdict::all(&[Some(true), Some(true)]), Verdict::Met);
    }
}
