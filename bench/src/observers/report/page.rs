//! What was found about observers as a page with plots, and as one page of Markdown.

use std::fs;
use std::mem::discriminant;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Findings, Throughput, machine, markdown, plot, plot_of_cuts};
use crate::bars::observer_bars;
use crate::load::page::{Page, machine_sentence};
use crate::load::plots::{self, Line, Series};

/// Writes the page: the tables, the machine, and plots of each part that was measured.
pub fn write_page(file: &Path, found: &Findings) -> Result<()> {
    let mut page = Page::new("farwatch-bench observers");
    page.text(&markdown(found));
    page.text(&serde_json::to_string_pretty(&machine(found))?);
    plots_of_observers(&mut page, found)?;
    page.write(file)
}

/// Plots of all that was found.
pub fn plots_of_observers(page: &mut Page, found: &Findings) -> Result<()> {
    plots_of(page, found).context("plotting what observers cost")
}

fn plots_of(page: &mut Page, found: &Findings) -> Result<()> {
    let throughputs: Vec<&Throughput> = found.sinks.iter().chain(&found.observers).collect();
    if !throughputs.is_empty() {
        page.heading("Writes of the voters while others learn");
        page.plot(&plot(found));
        for (caption, of) in [
            ("writes a second, by how many learn from the leader", 0),
            ("CPU of the voters, \u{b5}s a write, by how many learn from the leader", 1),
        ] {
            page.plot(&by_learners(caption, &throughputs, of)?);
        }
    }
    if !found.reads.is_empty() {
        page.heading("Reads of one observer");
        let name = |at: usize| {
            let it = &found.reads[at];
            format!("{}, {} under way", it.name, it.outstanding)
        };
        let names: Vec<String> = (0..found.reads.len()).map(name).collect();
        let lines = found.reads.iter().map(|it| plots::slower_than(it.slices.iter()));
        page.plot(&plots::of_latencies(&names, &lines.collect::<Vec<Line>>())?);
        let rates = found.reads.iter().map(|it| it.slices.iter().map(|it| it.rate()).collect());
        rounds(page, "reads a second", names.iter().cloned().zip(rates).collect())?;
    }
    let link = found.link.iter().map(|it| {
        let name = format!(
            "{} {}, {} under way, {} behind",
            it.name, it.variant, it.outstanding, it.behind
        );
        (name, it.rounds.iter().map(|round| round[0]).collect())
    });
    rounds(page, "bytes over the way to the observer, a write", link.collect())?;
    if !found.cuts.is_empty() {
        page.heading("A cut, second by second");
        page.plot(&plot_of_cuts(found));
        let level = found.cuts.iter().map(|it| {
            let seconds = it.rounds.iter().map(|round| round.caught_up.as_secs_f64());
            (format!("{}, {} missed", it.name, it.rounds[0].missed), seconds.collect())
        });
        rounds(page, "seconds from the heal until all is shown", level.collect())?;
    }
    let transfers = found.transfers.iter().map(|it| it.seconds());
    rounds(
        page,
        "seconds until an observer that had nothing shows everything",
        transfers.collect(),
    )?;
    let restarts = found.restarts.iter().map(|it| {
        let seconds = it.rounds.iter().map(|round| round.caught_up.as_secs_f64());
        (it.name.clone(), seconds.collect())
    });
    rounds(page, "seconds until all are level after the leader's restart", restarts.collect())?;
    herds(page, found)
}

/// Medians of the rate, or of the processor time, by how many of the first kind learn from the leader itself.
fn by_learners(caption: &str, all: &[&Throughput], of: usize) -> Result<String> {
    let line = |throughput: &&Throughput| {
        let kind = throughput.cells.first().map(|(cell, _)| discriminant(cell));
        let cells = throughput.cells.iter().enumerate();
        let cells = cells.filter(|(_, (cell, _))| Some(discriminant(cell)) == kind);
        let point = |(at, (cell, _)): (usize, &(super::Cell, _))| {
            let spread = throughput.spread(at, |it| [it.rate, it.voters_us][of]);
            (cell.direct() as f64, spread.median)
        };
        cells.map(point).collect::<Line>()
    };
    let lines: Vec<Line> = all.iter().map(line).collect();
    let names: Vec<String> = all.iter().map(|it| it.name.clone()).collect();
    let most = lines.iter().flatten().map(|&(count, _)| count).fold(1.0, f64::max);
    plots::plot(caption, &names, &lines, 0.0..most * 1.05)
}

/// Clients' waits before, meanwhile and after, and the memory that each learner takes.
fn herds(page: &mut Page, found: &Findings) -> Result<()> {
    let (mut names, mut lines, mut memory) = (Vec::new(), Vec::new(), [Line::new(), Line::new()]);
    for it in &found.returns {
        let (count, slices, bytes) = it.seen();
        for (when, slice) in ["before", "meanwhile", "with all"].iter().zip(slices) {
            names.push(format!("{count} come back: {when}"));
            lines.push(plots::slower_than(std::iter::once(slice)));
        }
        memory[0].push((count as f64, bytes));
    }
    for it in &found.lags {
        let (count, slices, bytes) = it.seen();
        for (when, slice) in ["before", "meanwhile"].iter().zip(slices) {
            names.push(format!("{count} read too little: {when}"));
            lines.push(plots::slower_than(std::iter::once(slice)));
        }
        memory[1].push((count as f64, bytes));
    }
    if lines.is_empty() {
        return Ok(());
    }
    page.heading("Writers beside learners that come back, or read too little");
    page.plot(&plots::of_latencies(&names, &lines)?);
    let most = memory.iter().flatten().map(|&(count, _)| count).fold(1.0, f64::max);
    let names = ["come back", "read too little"].map(str::to_owned);
    page.plot(&plots::plot(
        "bytes of servers' memory for each learner, by how many there are",
        &names,
        &memory,
        0.0..most * 1.05,
    )?);
    Ok(())
}

/// Nothing where nothing was measured.
fn rounds(page: &mut Page, caption: &str, series: Series) -> Result<()> {
    if series.is_empty() {
        return Ok(());
    }
    page.heading(caption);
    page.plot(&plots::by_round(&format!("{caption}, by round"), &series)?);
    Ok(())
}

/// Writes the summary: the machine, the bars that these parts decide, and all tables.
pub fn write_summary(file: &Path, found: &Findings) -> Result<()> {
    let text = format!(
        "# farwatch-bench observers\n\n{}\n{}\n{}",
        machine_sentence(&machine(found)),
        observer_bars(found),
        markdown(found)
    );
    fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
}

#[cfg(test)]
mod tests {
    use super::super::{LinkBytes, Reads};
    use super::*;
    use crate::load::record;
    use crate::load::report::FARWATCH;
    use crate::observers::throughput::{Cell, Figure};

    fn found() -> Findings {
        let figure = |rate: f64| Figure {
            rate,
            voters_us: 1e5 / rate,
            leader_us: 1.0,
            sinks_us: 1.0,
            link_bytes: 1.0,
            record_bytes: 1.0,
        };
        let cells = [0, 10, 50, 200].map(Cell::Sinks);
        let cells: Vec<Cell> = cells.into_iter().chain([Cell::Behind(50)]).collect();
        let mut sinks = Throughput::new(FARWATCH, &cells);
        for (at, rate) in [1_000.0, 990.0, 900.0, 500.0, 980.0].into_iter().enumerate() {
            sinks.add(at, figure(rate));
        }
        let mut link = LinkBytes::new(FARWATCH, "", (1, 0));
        link.add([90.0, 1.0]);
        let mut slice = crate::load::Slice::empty();
        slice.elapsed = std::time::Duration::from_secs(1);
        slice.reads.record_n(1_000_000, 10).expect("within bounds");
        let mut reads = Reads::new(FARWATCH, 1);
        reads.add(slice);
        Findings {
            machine: record::machine(),
            sinks: vec![sinks],
            link: vec![link],
            reads: vec![reads],
            ..Findings::default()
        }
    }

    #[test]
    fn what_was_found_is_a_page_with_plots_of_its_parts() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        write_page(file.path(), &found()).expect("a page");
        let page = fs::read_to_string(file.path()).expect("it was written");
        // Bars, two curves, latencies and rates of reads, bytes of the link.
        assert_eq!(page.matches("<svg").count(), 6, "{page}");
        for seen in ["Farwatch, with sinks", "\"kernel\"", "by how many learn", "one in 10^x"] {
            assert!(page.contains(seen), "{seen}: {page}");
        }
    }

    #[test]
    fn the_summary_has_the_machine_the_bars_that_were_measured_and_the_tables() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        write_summary(file.path(), &found()).expect("a summary");
        let summary = fs::read_to_string(file.path()).expect("it was written");
        assert!(summary.starts_with("# farwatch-bench observers\n\n`"), "{summary}");
        assert!(summary.contains("1 rows: 1 met, 0 missed, 0 open."), "{summary}");
        assert!(summary.contains("| P19 |") && !summary.contains("| P17 |"), "{summary}");
        assert!(summary.contains("**Reads of one observer**"), "{summary}");
    }
}
