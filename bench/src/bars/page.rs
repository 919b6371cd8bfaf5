//! The bars as a page with plots, and as one page of Markdown.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::table::{Line, Verdict, merged};
use super::{Report, Row};
use crate::load::page::{Page, machine_sentence};
use crate::load::plots::{self, Series};
use crate::load::process::QUIET_MAX;
use crate::observers::plots_of_observers;

/// Lines of a plot that can be told apart.
const LINES_MAX: usize = 10;

/// Writes the page: the table, the machine, and plots of what each instrument saw.
pub(super) fn write_page(file: &Path, machine: &Value, report: &Report) -> Result<()> {
    let mut page = Page::new("farwatch-bench bars");
    let rows: Vec<String> = report.measured.iter().map(|row| row.line.row(&row.taken)).collect();
    page.text(&format!("{}{}", merged("", &rows), left_out(report)));
    page.text(&serde_json::to_string_pretty(machine)?);
    for (title, cells) in &report.cells {
        // Contestants of one server and of three may differ.
        for cells in cells.chunk_by(|one, next| one.names == next.names) {
            page.heading(title);
            page.cells(cells)?;
        }
    }
    for found in &report.findings {
        plots_of_observers(&mut page, found)?;
    }
    let mut before: Option<&Value> = None;
    for Row { line, .. } in &report.measured {
        // Bars that were measured together have their rounds together, too.
        if before.replace(&line.rounds) == Some(&line.rounds) {
            continue;
        }
        plot_rounds(&mut page, line)?;
    }
    page.write(file)
}

fn plot_rounds(page: &mut Page, Line { bar, what, rounds, .. }: &Line) -> Result<()> {
    let mut groups = Vec::new();
    gather(String::new(), rounds, &mut groups);
    if groups.is_empty() {
        return Ok(());
    }
    page.heading(&format!("{bar}: {what}"));
    for (title, series) in groups {
        let plot = plots::by_round(&format!("{} by round", title.trim()), &series);
        page.plot(&plot.with_context(|| format!("plotting {bar}"))?);
    }
    Ok(())
}

/// The figures of rounds that are in a value of a line, those that stand together as one plot: lists of numbers by
/// their names, `{NAME: [...]}` or `[[NAME, [...]]]`.
fn gather(title: String, value: &Value, groups: &mut Vec<(String, Series)>) {
    let mut own = Series::new();
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match numbers(value) {
                    Some(figures) => own.push((name.clone(), figures)),
                    None => gather(format!("{title} {name}"), value, groups),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                let Some([Value::String(name), rest @ ..]) = item.as_array().map(Vec::as_slice)
                else {
                    continue;
                };
                let lists = rest.iter().filter_map(numbers);
                own.extend(lists.map(|figures| (name.clone(), figures)));
            }
        }
        _ => {}
    }
    own.retain(|(_, figures)| figures.iter().any(|it| 0.0 < *it));
    if !own.is_empty() && own.len() <= LINES_MAX {
        groups.push((title, own));
    }
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    let items = value.as_array().filter(|items| !items.is_empty())?;
    items.iter().map(Value::as_f64).collect()
}

/// Writes the summary.
pub(super) fn write_summary(file: &Path, machine: &Value, report: &Report) -> Result<()> {
    let rows = report.measured.iter().map(|row| (&row.line, row.taken.when.as_str()));
    let busy = report.measured.iter().filter(|row| QUIET_MAX < row.taken.others).count();
    let busy = match busy {
        0 => String::new(),
        some => format!(
            " In {some} of {} rows they used more than {:.0} %: ratios and CPU stand, rates and latencies are those of \
             a busy machine.",
            report.measured.len(),
            QUIET_MAX * 100.0
        ),
    };
    let text = format!(
        "# farwatch-bench bars\n\n{}\nWhat others took of the processors stands in each row, of the two seconds \
         before its part.{busy}\n\n{}{}",
        machine_sentence(machine),
        verdicts(rows),
        left_out(report)
    );
    fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
}

/// How many bars are met, and each line with its verdict.
pub(crate) fn verdicts<'a>(rows: impl Iterator<Item = (&'a Line, &'a str)>) -> String {
    let mut text = String::from(
        "| bar | what | wanted | measured | beside | verdict | when, taken by others |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let mut counts = [0; 3];
    for (line, when) in rows {
        let Line { bar, what, wanted, measured, beside, verdict, .. } = line;
        counts[match verdict {
            Verdict::Met => 0,
            Verdict::Missed => 1,
            Verdict::Open => 2,
        }] += 1;
        let cells = [bar, what.as_str(), wanted, measured, beside, verdict.word(), when];
        let cells = cells.map(|cell| cell.replace('|', "/"));
        writeln!(text, "| {} |", cells.join(" | ")).expect("a String takes it");
    }
    let [met, missed, open] = counts;
    format!("{} rows: {met} met, {missed} missed, {open} open.\n\n{text}", met + missed + open)
}

fn left_out(report: &Report) -> String {
    let mut text = String::new();
    for (bars, why) in &report.left_out {
        writeln!(text, "\n{bars}: {why}").expect("a String takes it");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::table::Taken;
    use super::*;
    use crate::load::record;

    fn row(bar: &'static str, verdict: Verdict, rounds: Value) -> Row {
        let text = |it: &str| it.to_owned();
        let (what, wanted, measured, beside) = (text("a | b"), text("w"), text("m"), text("b"));
        let line = Line { bar, what, wanted, measured, beside, verdict, rounds };
        Row { line, taken: Taken { when: text("today, 5 × 3 s, 30 %, busy"), others: 0.3 } }
    }

    #[test]
    fn a_run_is_written_with_each_verdict_what_was_left_out_and_its_plots() {
        let shared = json!({ "rate": { "us": [1.0, 2.0], "them": [3.0, 4.0] }, "void": 0 });
        let report = Report {
            measured: vec![
                row("P10", Verdict::Met, shared.clone()),
                row("P11", Verdict::Missed, shared),
                row("P26", Verdict::Open, json!([["us", [1.5]], ["them", [0.0]]])),
                row("P14", Verdict::Met, json!({ "bytes": 7 })),
            ],
            cells: Vec::new(),
            findings: Vec::new(),
            left_out: vec![("P20-10M".to_owned(), "not run: no memory".to_owned())],
        };
        let machine = json!({ "before": record::machine(), "after": record::machine() });
        let file = tempfile::NamedTempFile::new().expect("a file");
        write_summary(file.path(), &machine, &report).expect("a summary");
        let summary = fs::read_to_string(file.path()).expect("it was written");
        assert!(summary.contains("4 rows: 2 met, 1 missed, 1 open."), "{summary}");
        let row = "| P11 | a / b | w | m | b | **missed** | today, 5 × 3 s, 30 %, busy |";
        assert!(summary.contains(row), "{summary}");
        assert!(summary.contains("In 4 of 4 rows they used more than 10 %"), "{summary}");
        assert!(summary.contains("\nP20-10M: not run: no memory\n"), "{summary}");
        assert!(summary.contains(" processors, "), "{summary}");
        write_page(file.path(), &machine, &report).expect("a page");
        let page = fs::read_to_string(file.path()).expect("it was written");
        // One of what P10 and P11 share, one of P26.
        assert_eq!(page.matches("<svg").count(), 2, "{page}");
        assert!(page.contains("rate by round") && page.contains("not run: no memory"), "{page}");
    }

    #[test]
    fn lists_that_stand_together_are_one_plot_and_what_cannot_be_shown_is_none() {
        let mut groups = Vec::new();
        let value = json!({
            "ms": { "a": [1, 2], "b": [3] }, "a_s": [4.5], "empty": [], "of_objects": [{ "x": 1 }], "words": ["x"],
        });
        gather(String::new(), &value, &mut groups);
        let series = |name: &str, figures: &[f64]| (name.to_owned(), figures.to_vec());
        let expected = vec![
            (" ms".to_owned(), vec![series("a", &[1.0, 2.0]), series("b", &[3.0])]),
            (String::new(), vec![series("a_s", &[4.5])]),
        ];
        assert_eq!(groups.len(), 2);
        for one in expected {
            assert!(groups.contains(&one), "{groups:?}");
        }
    }
}
