//! What was found about observers, as tables, JSON and a plot.

#[cfg(feature = "page")]
mod bars;
#[cfg(feature = "page")]
pub(super) mod page;

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::herd::{self, Lag, Return};
use super::link::Outage;
use super::restart::Restart;
use super::throughput::{Cell, Figure};
use super::transfer::{self, Transfers};
use super::way::Quality;
use crate::load::Slice;
use crate::load::referee::Spread;

#[cfg(feature = "page")]
pub use bars::CutFound;

/// All that one run found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Before it began; nothing where nobody looked.
    pub machine: Value,
    pub sinks: Vec<Throughput>,
    pub observers: Vec<Throughput>,
    pub reads: Vec<Reads>,
    pub link: Vec<LinkBytes>,
    pub transfers: Vec<Transfers>,
    pub cuts: Vec<Outages>,
    pub restarts: Vec<Restarts>,
    pub returns: Vec<Return>,
    pub lags: Vec<Lag>,
}

/// The voters of one ensemble, by who learns from them.
#[derive(Debug)]
pub struct Throughput {
    pub name: String,
    cells: Vec<(Cell, Vec<Figure>)>,
}

/// What one observer answers.
#[derive(Debug)]
pub struct Reads {
    name: String,
    outstanding: usize,
    slices: Vec<Slice>,
}

/// What crosses the way for a write.
#[derive(Debug)]
pub struct LinkBytes {
    name: String,
    variant: String,
    outstanding: usize,
    /// So many others learn from the observer.
    behind: usize,
    /// To the observer, and back, a write; of each round.
    rounds: Vec<[f64; 2]>,
    /// What a record of it takes in a log.
    pub record_bytes: Option<f64>,
}

/// Restarts of the leader.
#[derive(Debug)]
pub struct Restarts {
    name: String,
    quality: Quality,
    rounds: Vec<Restart>,
}

/// Cuts of one kind.
#[derive(Debug)]
pub struct Outages {
    name: String,
    quality: Quality,
    rounds: Vec<Outage>,
}

impl Throughput {
    pub fn new(name: &str, cells: &[Cell]) -> Self {
        let cells = cells.iter().map(|&cell| (cell, Vec::new())).collect();
        Self { name: name.to_owned(), cells }
    }

    pub fn add(&mut self, cell: usize, figure: Figure) {
        self.cells[cell].1.push(figure);
    }

    fn spread(&self, cell: usize, of: impl Fn(&Figure) -> f64) -> Spread {
        Spread::of(self.cells[cell].1.iter().map(of))
    }

    /// Against the first cell, round by round.
    fn ratio(&self, cell: usize, of: impl Fn(&Figure) -> f64) -> Spread {
        let pairs = self.cells[cell].1.iter().zip(&self.cells[0].1);
        Spread::of(pairs.map(|(figure, base)| of(figure) / of(base)))
    }

    /// What each adds to the processor time of a write, percent.
    fn slope(&self, cell: usize) -> Option<f64> {
        let count = self.cells[cell].0.direct() as f64;
        let more = self.ratio(cell, |it| it.voters_us).median - 1.0;
        (0.0 < count).then_some(more * 100.0 / count)
    }
}

impl Reads {
    pub fn new(name: &str, outstanding: usize) -> Self {
        Self { name: name.to_owned(), outstanding, slices: Vec::new() }
    }

    pub fn add(&mut self, slice: Slice) {
        self.slices.push(slice);
    }

    fn rate(&self) -> Spread {
        Spread::of(self.slices.iter().map(Slice::rate))
    }
}

impl LinkBytes {
    pub fn new(name: &str, variant: &str, (outstanding, behind): (usize, usize)) -> Self {
        let (name, variant) = (name.to_owned(), variant.to_owned());
        Self { name, variant, outstanding, behind, rounds: Vec::new(), record_bytes: None }
    }

    pub fn add(&mut self, round: [f64; 2]) {
        self.rounds.push(round);
    }

    fn down(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|it| it[0]))
    }

    fn up(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|it| it[1]))
    }
}

impl Outages {
    pub fn new(name: &str, quality: Quality) -> Self {
        Self { name: name.to_owned(), quality, rounds: Vec::new() }
    }

    pub fn add(&mut self, round: Outage) {
        self.rounds.push(round);
    }

    fn spread(&self, of: impl Fn(&Outage) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(of))
    }

    fn sum(&self, of: impl Fn(&Outage) -> u64) -> u64 {
        self.rounds.iter().map(of).sum()
    }
}

impl Restarts {
    pub fn new(name: &str, quality: Quality) -> Self {
        Self { name: name.to_owned(), quality, rounds: Vec::new() }
    }

    pub fn add(&mut self, round: Restart) {
        self.rounds.push(round);
    }

    fn spread(&self, of: impl Fn(&Restart) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(of))
    }

    fn sum(&self, of: impl Fn(&Restart) -> u64) -> u64 {
        self.rounds.iter().map(of).sum()
    }
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes every write");
}

/// A median with its least and greatest, with so many decimals.
pub(super) fn shown(spread: Spread, decimals: usize) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.decimals$} ({min:.decimals$}-{max:.decimals$})")
}

/// The cells of ensembles, as lines for a terminal.
pub fn throughput(title: &str, all: &[Throughput]) -> String {
    let mut text = format!("{title}\n");
    for found in all {
        for (at, (cell, _)) in found.cells.iter().enumerate() {
            let (name, label) = (&found.name, cell.name());
            let rate = shown(found.spread(at, |it| it.rate), 0);
            let ratio = shown(found.ratio(at, |it| it.rate), 2);
            let voters = found.spread(at, |it| it.voters_us).median;
            put(
                &mut text,
                format_args!("  {name:<16} {label:<28} {rate:>22}/s {ratio:>18} {voters:.1} us"),
            );
        }
    }
    text
}

/// All tables.
pub fn markdown(found: &Findings) -> String {
    let mut text = String::new();
    for (all, title) in [
        (&found.sinks, "Farwatch, with sinks: learners that throw all away"),
        (&found.observers, "Both, with observers: processes on the same machine"),
    ] {
        if !all.is_empty() {
            throughput_table(&mut text, title, all);
        }
    }
    if !found.link.is_empty() {
        link_table(&mut text, &found.link);
    }
    if !found.transfers.is_empty() {
        put(&mut text, format_args!("{}", transfer::table(&found.transfers)));
    }
    if !found.cuts.is_empty() {
        cut_table(&mut text, &found.cuts);
    }
    if !found.restarts.is_empty() {
        restart_table(&mut text, &found.restarts);
    }
    if !found.reads.is_empty() {
        put(&mut text, format_args!("**Reads of one observer**, 64 connections.\n"));
        put(&mut text, format_args!("| reads under way each | who | reads/s |\n|---|---|---|"));
        for reads in &found.reads {
            let (name, outstanding) = (&reads.name, reads.outstanding);
            let rate = shown(reads.rate(), 0);
            put(&mut text, format_args!("| {outstanding} | {name} | {rate} |"));
        }
        text.push('\n');
    }
    if !found.returns.is_empty() {
        put(&mut text, format_args!("{}", herd::tables(&found.returns, &found.lags)));
    }
    text
}

fn throughput_table(text: &mut String, title: &str, all: &[Throughput]) {
    put(text, format_args!("**{title}.**\n"));
    put(
        text,
        format_args!(
            "| who | learns from them | writes/s | against none | voters' CPU, µs a write | leader's | \
             each adds to the voters' | over a link, bytes a write | of its record | sinks' CPU |\n\
             |---|---|---|---|---|---|---|---|---|---|"
        ),
    );
    for found in all {
        for (at, (cell, _)) in found.cells.iter().enumerate() {
            let median = |of: fn(&Figure) -> f64| found.spread(at, of).median;
            let (link, record) = (median(|it| it.link_bytes), median(|it| it.record_bytes));
            let (link, of_record) = match record > 0.0 {
                true => (format!("{link:.0}"), format!("{:.2}", link / record)),
                false => ("-".to_owned(), "-".to_owned()),
            };
            let slope = found.slope(at).map_or_else(|| "-".to_owned(), |it| format!("{it:.2} %"));
            let sinks = median(|it| it.sinks_us);
            put(
                text,
                format_args!(
                    "| {} | {} | {} | {} | {:.1} | {:.1} | {slope} | {link} | {of_record} | {sinks:.1} |",
                    found.name,
                    cell.name(),
                    shown(found.spread(at, |it| it.rate), 0),
                    shown(found.ratio(at, |it| it.rate), 2),
                    median(|it| it.voters_us),
                    median(|it| it.leader_us),
                ),
            );
        }
    }
    text.push('\n');
}

fn link_table(text: &mut String, all: &[LinkBytes]) {
    put(text, format_args!("**Over the way to one observer**, a directory of services.\n"));
    put(
        text,
        format_args!(
            "| who | writes under way | to it, bytes a write | of its record | back, bytes a write |\n\
             |---|---|---|---|---|"
        ),
    );
    for found in all {
        let who = match found.variant.is_empty() {
            true => found.name.clone(),
            false => format!("{}, `{}`", found.name, found.variant),
        };
        let who = match found.behind {
            0 => who,
            behind => format!("{who}, {behind} learn from it"),
        };
        let down = found.down();
        let ratio = found
            .record_bytes
            .map_or_else(|| "-".to_owned(), |bytes| format!("{:.2}", down.median / bytes));
        let (down, up) = (shown(down, 0), shown(found.up(), 0));
        put(text, format_args!("| {who} | {} | {down} | {ratio} | {up} |", found.outstanding));
    }
    text.push('\n');
}

fn cut_table(text: &mut String, all: &[Outages]) {
    let Quality { rtt, bytes_per_second } = all[0].quality;
    put(
        text,
        format_args!(
            "**A cut, and its heal**, over a way of {} ms and {} MB/s.\n",
            rtt.as_millis(),
            bytes_per_second as f64 / 1e6
        ),
    );
    put(
        text,
        format_args!(
            "| who | writes missed | cut, s | caught up after the heal, s | MB to it | reads at it | \
             failed | connections lost | longest without an answer, s |\n|---|---|---|---|---|---|---|---|---|"
        ),
    );
    for found in all {
        put(
            text,
            format_args!(
                "| {} | {} | {:.0} | {} | {} | {} | {} | {} | {:.2} |",
                found.name,
                found.rounds[0].missed,
                found.spread(|it| it.cut.as_secs_f64()).median,
                shown(found.spread(|it| it.caught_up.as_secs_f64()), 2),
                shown(found.spread(|it| it.bytes as f64 / 1e6), 2),
                found.sum(|it| it.reads),
                found.sum(|it| it.failed),
                found.sum(|it| it.dropped),
                found.spread(|it| it.longest.as_secs_f64()).max,
            ),
        );
    }
    text.push('\n');
}

fn restart_table(text: &mut String, all: &[Restarts]) {
    let (Quality { rtt, bytes_per_second }, first) = (all[0].quality, &all[0].rounds[0]);
    put(
        text,
        format_args!(
            "**The leader is killed and starts again**, under {} observers with {} readers each, over \
             a way of {} ms and {} MB/s for all of them.\n",
            first.observers,
            first.readers,
            rtt.as_millis(),
            bytes_per_second as f64 / 1e6
        ),
    );
    put(
        text,
        format_args!(
            "| who | all level after, s | MB to them | MB back | writes meanwhile | without a write, s | \
             reads | failed | connections lost | longest without an answer, s |\n\
             |---|---|---|---|---|---|---|---|---|---|"
        ),
    );
    for found in all {
        put(
            text,
            format_args!(
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.2} |",
                found.name,
                shown(found.spread(|it| it.caught_up.as_secs_f64()), 2),
                shown(found.spread(|it| it.bytes[0] as f64 / 1e6), 2),
                shown(found.spread(|it| it.bytes[1] as f64 / 1e6), 2),
                shown(found.spread(|it| it.writes as f64), 0),
                shown(found.spread(|it| it.write_gap.as_secs_f64()), 2),
                found.sum(|it| it.reads),
                found.sum(|it| it.failed),
                found.sum(|it| it.dropped),
                found.spread(|it| it.longest.as_secs_f64()).max,
            ),
        );
    }
    text.push('\n');
}

/// Every round of everything.
pub fn json(found: &Findings) -> Value {
    json!({
        "machine": machine(found),
        "sinks": found.sinks.iter().map(throughput_json).collect::<Vec<_>>(),
        "observers": found.observers.iter().map(throughput_json).collect::<Vec<_>>(),
        "link": found.link.iter().map(link_json).collect::<Vec<_>>(),
        "transfers": found.transfers.iter().map(Transfers::json).collect::<Vec<_>>(),
        "cuts": found.cuts.iter().map(cuts_json).collect::<Vec<_>>(),
        "restarts": found.restarts.iter().map(restarts_json).collect::<Vec<_>>(),
        "reads": found.reads.iter().map(reads_json).collect::<Vec<_>>(),
        "returns": found.returns.iter().map(Return::json).collect::<Vec<_>>(),
        "lags": found.lags.iter().map(Lag::json).collect::<Vec<_>>(),
    })
}

/// Before and after; nothing where nobody looked before.
fn machine(found: &Findings) -> Value {
    #[cfg(feature = "page")]
    if !found.machine.is_null() {
        return json!({ "before": found.machine, "after": crate::load::record::machine() });
    }
    found.machine.clone()
}

fn throughput_json(found: &Throughput) -> Value {
    let round = |it: &Figure| {
        json!({
            "writes_per_second": it.rate,
            "voters_cpu_us": it.voters_us,
            "leader_cpu_us": it.leader_us,
            "sinks_cpu_us": it.sinks_us,
            "link_bytes_per_write": it.link_bytes,
            "record_bytes_per_write": it.record_bytes,
        })
    };
    let cells = found.cells.iter().map(|(cell, rounds)| {
        json!({ "cell": cell.name(), "rounds": rounds.iter().map(round).collect::<Vec<_>>() })
    });
    json!({ "who": found.name, "cells": cells.collect::<Vec<_>>() })
}

fn link_json(found: &LinkBytes) -> Value {
    json!({
        "who": found.name,
        "variant": found.variant,
        "outstanding": found.outstanding,
        "behind": found.behind,
        "record_bytes": found.record_bytes,
        "to_and_back_bytes_per_write": found.rounds,
    })
}

fn cuts_json(found: &Outages) -> Value {
    let round = |it: &Outage| {
        json!({
            "missed": it.missed,
            "cut_s": it.cut.as_secs_f64(),
            "caught_up_s": it.caught_up.as_secs_f64(),
            "bytes": it.bytes,
            "reads": it.reads,
            "failed": it.failed,
            "dropped": it.dropped,
            "longest_s": it.longest.as_secs_f64(),
            "answered_and_failed_by_second": it.by_second,
        })
    };
    json!({
        "who": found.name,
        "rtt_ms": found.quality.rtt.as_millis() as u64,
        "bytes_per_second": found.quality.bytes_per_second,
        "rounds": found.rounds.iter().map(round).collect::<Vec<_>>(),
    })
}

fn restarts_json(found: &Restarts) -> Value {
    let round = |it: &Restart| {
        json!({
            "caught_up_s": it.caught_up.as_secs_f64(),
            "bytes_to_and_back": it.bytes,
            "writes": it.writes,
            "write_gap_s": it.write_gap.as_secs_f64(),
            "reads": it.reads,
            "failed": it.failed,
            "dropped": it.dropped,
            "longest_s": it.longest.as_secs_f64(),
        })
    };
    json!({
        "who": found.name,
        "rtt_ms": found.quality.rtt.as_millis() as u64,
        "bytes_per_second": found.quality.bytes_per_second,
        "rounds": found.rounds.iter().map(round).collect::<Vec<_>>(),
    })
}

fn reads_json(found: &Reads) -> Value {
    let rates: Vec<f64> = found.slices.iter().map(Slice::rate).collect();
    json!({ "who": found.name, "outstanding": found.outstanding, "reads_per_second": rates })
}

/// Write throughput against none, by who learns: a bar each, as SVG.
pub fn plot(found: &Findings) -> String {
    const LABEL: usize = 300;
    const WIDTH: f64 = 420.0;
    const ROW: usize = 22;
    let mut rows = Vec::new();
    for of in found.sinks.iter().chain(&found.observers) {
        for at in 0..of.cells.len() {
            let label = format!("{}: {}", of.name, of.cells[at].0.name());
            rows.push((label, of.ratio(at, |it| it.rate)));
        }
    }
    let height = ROW * rows.len() + 40;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"860\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"18\">Writes a second that the voters reach, against the same without \
         learners (median, least to greatest)</text>\n"
    );
    for (index, (label, Spread { median, min, max })) in rows.iter().enumerate() {
        let (y, scale) = (30 + ROW * index, |ratio: f64| ratio.min(1.2) / 1.2 * WIDTH);
        put(
            &mut text,
            format_args!(
                "<text x=\"10\" y=\"{}\">{label}</text>\n\
                 <rect x=\"{LABEL}\" y=\"{}\" width=\"{:.1}\" height=\"14\" fill=\"#4a7ab5\"/>\n\
                 <path d=\"M{:.1} {}H{:.1}\" stroke=\"#222\"/>\n\
                 <text x=\"{:.1}\" y=\"{}\">{median:.2}</text>",
                y + 12,
                y + 1,
                scale(*median),
                LABEL as f64 + scale(*min),
                y + 8,
                LABEL as f64 + scale(*max),
                LABEL as f64 + scale(*max) + 8.0,
                y + 12,
            ),
        );
    }
    text.push_str("</svg>\n");
    text
}

/// The first cut with the most missed writes, second by second, a panel for each kind of server: reads that were
/// answered as bars, those that failed as numbers, and the cut behind them. As SVG.
pub fn plot_of_cuts(found: &Findings) -> String {
    const LEFT: f64 = 70.0;
    const WIDTH: f64 = 740.0;
    const PANEL: f64 = 150.0;
    let most = found.cuts.iter().map(|of| of.rounds[0].missed).max().unwrap_or(0);
    let shown: Vec<(&str, &Outage)> = found
        .cuts
        .iter()
        .map(|of| (of.name.as_str(), &of.rounds[0]))
        .filter(|(_, outage)| outage.missed == most)
        .collect();
    let seconds = shown.iter().map(|(_, outage)| outage.by_second.len()).max().unwrap_or(0);
    let answered = shown.iter().flat_map(|(_, outage)| &outage.by_second).map(|it| it[0]);
    let highest = answered.max().unwrap_or(0).max(1) as f64;
    let step = WIDTH / seconds.max(1) as f64;
    let height = PANEL * shown.len() as f64 + 40.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"860\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"18\">Reads at an observer in each second of a cut with {most} missed writes: answered \
         (blue), failed (red numbers); the way is cut where it is grey</text>\n"
    );
    for (index, (name, outage)) in shown.iter().enumerate() {
        let bottom = 40.0 + PANEL * (index + 1) as f64 - 20.0;
        let tall = PANEL - 45.0;
        let [from, until] = outage.span().map(|at| LEFT + at * step);
        put(
            &mut text,
            format_args!(
                "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" fill=\"#ddd\"/>\n\
                 <text x=\"10\" y=\"{:.1}\">{name}</text>\n\
                 <text x=\"10\" y=\"{:.1}\">{highest:.0}/s</text>\n\
                 <path d=\"M{LEFT} {bottom:.1}H{:.1}\" stroke=\"#222\"/>",
                bottom - tall,
                until - from,
                bottom - tall / 2.0,
                bottom - tall + 10.0,
                LEFT + WIDTH,
            ),
        );
        for (second, [answered, failed]) in outage.by_second.iter().enumerate() {
            let (x, high) = (LEFT + second as f64 * step, *answered as f64 / highest * tall);
            put(
                &mut text,
                format_args!(
                    "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{high:.1}\" fill=\"#4a7ab5\"/>",
                    x + step * 0.1,
                    bottom - high,
                    step * 0.8,
                ),
            );
            if 0 < *failed {
                put(
                    &mut text,
                    format_args!(
                        "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"#c22\" text-anchor=\"middle\">{failed}</text>",
                        x + step / 2.0,
                        bottom - high - 3.0,
                    ),
                );
            }
            if second % 5 == 0 {
                put(
                    &mut text,
                    format_args!("<text x=\"{x:.1}\" y=\"{:.1}\">{second} s</text>", bottom + 14.0),
                );
            }
        }
    }
    text.push_str("</svg>\n");
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_cut_is_plotted_second_by_second_with_what_failed() {
        let quality = Quality { rtt: Duration::from_millis(80), bytes_per_second: 1 };
        let outage = |missed, by_second| Outage {
            missed,
            cut: Duration::from_secs(2),
            caught_up: Duration::ZERO,
            bytes: 0,
            reads: 0,
            failed: 0,
            dropped: 0,
            longest: Duration::ZERO,
            by_second,
        };
        let mut found = Findings::default();
        for (name, missed, by_second) in [
            ("us", 10, vec![[100, 0]; 4]),
            ("them", 10, vec![[100, 0], [0, 7], [0, 0], [50, 0]]),
            ("few", 1, vec![[9, 9]]),
        ] {
            let mut outages = Outages::new(name, quality);
            outages.add(outage(missed, by_second));
            found.cuts.push(outages);
        }
        let plot = plot_of_cuts(&found);
        assert_eq!(plot.matches("#4a7ab5").count(), 8, "a bar for each second: {plot}");
        assert_eq!(plot.matches("#ddd").count(), 2, "the cut of each: {plot}");
        assert!(plot.contains(">7</text>") && !plot.contains(">9</text>"), "{plot}");
        assert!(!plot.contains("few"), "one of fewer missed writes is left out: {plot}");
    }
}
