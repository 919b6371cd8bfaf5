//! One run of the referee over several cells: the servers are started, measured, and told about on a
//! terminal, as JSON, as a page with plots, and as Markdown.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Args;
use serde_json::Value;

use super::cells::{CELLS, Cell, MORE, VALUE_BYTES, named};
use super::curve;
use super::record;
use super::referee::{self, CellResult, Contestant, Pace};
use super::report::{self, CEILING, ZOOKEEPER};
use super::servers::{self, Servers};
use super::startup::{self, StartUp};
use crate::ceiling::Ceiling;
use crate::subject::{Ensemble, Options, Subject};

/// Starts of each server with a filled tree.
const START_ROUNDS: usize = 3;

/// Compares Farwatch with ZooKeeper and the ceiling in one run.
#[derive(Args, Clone, Debug)]
pub struct Compare {
    /// Which servers.
    #[command(flatten)]
    pub servers: Servers,
    /// Another binary to compare with in the same run, such as that of the commit before.
    #[arg(long, value_name = "NAME=PATH")]
    pub also: Vec<String>,
    /// Servers of each subject: an ensemble of so many voters, its connections spread over all.
    #[arg(long, default_value_t = 1)]
    pub voters: u32,
    /// Cells to measure, a name or the beginning of names. By default all but `mix70` and `curve`, the
    /// curve of ZooKeeper's paper from writes alone to reads alone.
    #[arg(long = "cell", value_name = "NAME")]
    pub cells: Vec<String>,
    /// Rounds that must count.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Seconds of each server in each round.
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Seconds of each server before the first round of a cell.
    #[arg(long, default_value_t = 2.0)]
    pub warm_up: f64,
    /// Also measures starts with so many nodes on disk; 0 does not.
    #[arg(long, default_value_t = 0)]
    pub start_nodes: usize,
    /// A document whose table is replaced by what was found; the curve has one of its own.
    #[arg(long)]
    pub document: Option<PathBuf>,
    /// Writes every round, and what machine it was.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes a page with the table and plots of rates, latencies, memory, and throughput against latency.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Writes one page of Markdown: the machine, the table, and how to read it.
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
}

/// What one name of the table stands for.
enum Started {
    Alone(Box<Subject>),
    Ensemble(Ensemble),
}

impl Started {
    fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Alone(subject) => vec![subject.address()],
            Self::Ensemble(ensemble) => ensemble.addresses(),
        }
    }

    fn pids(&self) -> Vec<u32> {
        match self {
            Self::Alone(subject) => subject.pid().into_iter().collect(),
            Self::Ensemble(ensemble) => ensemble.pids(),
        }
    }
}

impl Compare {
    /// Measures cell by cell, prints each as soon as it is known, and writes what was asked for.
    pub fn run(&self) -> Result<()> {
        let cells = self.chosen()?;
        let machine = record::machine_and_others()?;
        let results = self.measure(&cells)?;
        let starts = if self.start_nodes > 0 { self.starts()? } else { Vec::new() };
        self.write(&machine, &results, &starts)
    }

    fn measure(&self, cells: &[Cell]) -> Result<Vec<CellResult>> {
        let ceiling = Ceiling::start(VALUE_BYTES)?;
        let subjects = self.subjects()?;
        let mut contestants = vec![Contestant {
            name: CEILING.to_owned(),
            addresses: vec![ceiling.address()],
            pids: vec![ceiling.pid()],
            canned: true,
        }];
        for (name, subject) in &subjects {
            let (addresses, pids) = (subject.addresses(), subject.pids());
            contestants.push(Contestant { name: name.clone(), addresses, pids, canned: false });
        }
        if let Some(java) = contestants.iter().find(|it| it.name == ZOOKEEPER) {
            servers::warm_up_java(&java.addresses)?;
        }
        let pace = Pace {
            rounds: self.rounds,
            slice: Duration::from_secs_f64(self.seconds),
            warm_up: Duration::from_secs_f64(self.warm_up),
        };
        let mut results = Vec::new();
        for &cell in cells {
            let result = referee::measure(cell, &contestants, pace)?;
            print!("{}", report::terminal(&result));
            results.push(result);
        }
        Ok(results)
    }

    /// On fresh directories: what the cells left behind differs between the servers.
    fn starts(&self) -> Result<Vec<StartUp>> {
        ensure!(self.voters == 1, "starts are measured of one server: leave --voters out");
        let mut subjects: Vec<(String, Subject)> = Vec::new();
        for (name, started) in self.subjects()? {
            let Started::Alone(subject) = started else { continue };
            subjects.push((name, *subject));
        }
        startup::measure(&mut subjects, self.start_nodes, VALUE_BYTES, START_ROUNDS)
    }

    fn write(&self, machine: &Value, results: &[CellResult], starts: &[StartUp]) -> Result<()> {
        let table = report::markdown(results, starts);
        println!("\n{table}");
        let run = record::json(self.voters, machine, results);
        let latencies = report::latencies(results);
        if let Some(file) = &self.json {
            std::fs::write(file, serde_json::to_string_pretty(&run)?)?;
        }
        if let Some(file) = &self.summary {
            record::write_summary(file, &run, &format!("{table}\n{latencies}"))?;
        }
        if let Some(document) = &self.document {
            self.write_tables(document, machine, results, starts)?;
        }
        if let Some(file) = &self.html {
            record::write_page(file, &run, &format!("{table}\n{latencies}"), results)?;
        }
        Ok(())
    }

    /// The curve has a place of its own: it takes the table of the other cells along as little as they do it.
    fn write_tables(
        &self,
        document: &Path,
        machine: &Value,
        results: &[CellResult],
        starts: &[StartUp],
    ) -> Result<()> {
        let (marks, marks_of_curve) = match self.voters {
            1 => (report::MARKS, curve::MARKS),
            _ => (report::ENSEMBLE_MARKS, curve::ENSEMBLE_MARKS),
        };
        if let Some(table) = curve::markdown(self.voters, machine, results) {
            report::replace_between(marks_of_curve, document, &table)?;
        }
        let others = results.iter().filter(|it| it.cell.percent_of_curve().is_none());
        let others: Vec<CellResult> = others.cloned().collect();
        if !others.is_empty() {
            report::replace_between(marks, document, &report::markdown(&others, starts))?;
        }
        Ok(())
    }

    fn chosen(&self) -> Result<Vec<Cell>> {
        if self.cells.is_empty() {
            return Ok(CELLS.to_vec());
        }
        let all = || CELLS.iter().chain(&MORE);
        let names: Vec<&str> = all().map(|cell| cell.name).collect();
        for asked in &self.cells {
            ensure!(
                names.iter().any(|name| is_asked(name, asked)),
                "there is no cell {asked}; there are: {}",
                names.join(" ")
            );
        }
        let is_chosen = |cell: &&Cell| self.cells.iter().any(|asked| is_asked(cell.name, asked));
        Ok(all().filter(is_chosen).copied().collect())
    }

    fn subjects(&self) -> Result<Vec<(String, Started)>> {
        let options = Options::new().java_flag("-Xmx2g");
        let mut subjects: Vec<(String, Started)> = Vec::new();
        if self.voters == 1 {
            let all = self.servers.alone(&options)?.into_iter();
            let named = |(name, it): (&str, _)| (name.to_owned(), Started::Alone(Box::new(it)));
            subjects.extend(all.map(named));
        } else {
            let all = self.servers.ensembles(self.voters, &options)?.into_iter();
            subjects.extend(all.map(|(name, it)| (name.to_owned(), Started::Ensemble(it))));
        }
        for also in &self.also {
            let Some((name, path)) = also.split_once('=') else {
                bail!("--also {also}: expected NAME=PATH");
            };
            // Beside the binary of today, which comes last.
            let at = subjects.len() - 1;
            subjects.insert(at, (name.to_owned(), self.ours(PathBuf::from(path))?));
        }
        Ok(subjects)
    }

    fn ours(&self, binary: PathBuf) -> Result<Started> {
        ensure!(binary.exists(), "{} is missing: cargo build --release", binary.display());
        let options = Options::new();
        Ok(match self.voters {
            1 => Started::Alone(Box::new(Subject::farwatch(binary, options)?)),
            voters => Started::Ensemble(Ensemble::farwatch(binary, voters, &options)?),
        })
    }
}

/// A whole name stands for itself alone, though it may be the beginning of another: `read-1` is no
/// `read-16x64`.
fn is_asked(name: &str, asked: &str) -> bool {
    match named(asked) {
        Some(cell) => cell.name == name,
        None => name.starts_with(asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_name_chooses_one_cell_and_a_beginning_all_that_have_it() {
        let chosen = |asked: &str| -> Vec<&str> {
            let all = CELLS.iter().map(|it| it.name);
            all.filter(|name| is_asked(name, asked)).collect()
        };
        assert_eq!(chosen("read-1"), ["read-1"]);
        assert_eq!(chosen("set-"), ["set-1", "set-64", "set-16x64", "set-64x32"]);
    }
}
