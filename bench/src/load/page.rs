//! A page that needs nothing else, and the sentence about the machine that every summary begins with.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::plots;
use super::referee::CellResult;

/// A page of HTML while it is made: text as it is, and plots.
pub(crate) struct Page(String);

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

impl Page {
    /// With a title alone.
    pub(crate) fn new(title: &str) -> Self {
        let title = escaped(title);
        Self(format!(
            "<!doctype html><meta charset=\"utf-8\"><title>{title}</title>\n\
             <style>body{{font:15px sans-serif;max-width:84em;margin:2em auto}}\
             pre{{overflow-x:auto;background:#f4f4f4;padding:1em}}</style>\n<h1>{title}</h1>\n"
        ))
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a String takes every write");
    }

    /// Text as it stands, such as a table or the facts of a machine.
    pub(crate) fn text(&mut self, text: &str) {
        self.put(format_args!("<pre>{}</pre>\n", escaped(text)));
    }

    /// What the plots behind it are of.
    pub(crate) fn heading(&mut self, title: &str) {
        self.put(format_args!("<h2>{}</h2>\n", escaped(title)));
    }

    /// A plot, as SVG.
    pub(crate) fn plot(&mut self, svg: &str) {
        self.put(format_args!("{svg}\n"));
    }

    /// What is seen over all of these cells, and of each the rates round by round and the latencies of all rounds. All
    /// have the same contestants.
    pub(crate) fn cells(&mut self, results: &[CellResult]) -> Result<()> {
        for (title, plot) in
            plots::over_cells(results).context("plotting what is seen over cells")?
        {
            self.heading(&title);
            self.plot(&plot);
        }
        for result in results {
            let name = result.cell.name;
            self.heading(name);
            self.plot(
                &plots::rates(result).with_context(|| format!("plotting the rates of {name}"))?,
            );
            self.plot(&plots::latencies(result).with_context(|| format!("plotting {name}"))?);
        }
        Ok(())
    }

    /// Writes it.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        fs::write(file, &self.0).with_context(|| format!("{} cannot be written", file.display()))
    }
}

/// What ran on which machine, of what a run says of its machine before and after it.
pub(crate) fn machine_sentence(machine: &Value) -> String {
    let before = &machine["before"];
    let text = |name: &str| before[name].as_str().unwrap_or("?").to_owned();
    let load = |at: &str| machine[at]["load_average"][0].as_str().unwrap_or("?").to_owned();
    let others = before["in_use_by_others"].as_f64();
    let others = others.map_or_else(String::new, |share| {
        format!(" Before it began others used {:.0} % of the processors.", share * 100.0)
    });
    format!(
        "`{}`\n\n{} processors, {}, {}, Linux {}; load average {} before and {} after.{others}\n",
        text("command"),
        before["processors"],
        text("processor"),
        text("memory"),
        text("kernel"),
        load("before"),
        load("after"),
    )
}
