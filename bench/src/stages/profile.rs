//! Which code the time of servers goes to: perf samples their processors while they are loaded.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The lines between which a document's table of profiles is replaced.
pub const MARKS: [&str; 2] =
    ["<!-- bench of the profile: begin -->", "<!-- bench of the profile: end -->"];

/// The processor's clock, as virtual machines seldom let cycles be counted; and how often a second, no divisor of a
/// timer's rate.
const EVENT: &str = "cpu-clock";
const HERTZ: &str = "997";

/// perf says when it has attached itself, on a busy machine after seconds; within this, or it does not.
const ATTACHES_WITHIN: Duration = Duration::from_secs(30);
const ATTACH_POLL: Duration = Duration::from_millis(5);

/// Where perf is told what to do, and where it says that it has.
const ORDERS: &str = "orders";
const ANSWERS: &str = "answers";

/// Symbols of a row.
const TOP: usize = 12;

/// Characters of a name that are shown: behind them are arguments of types.
const NAME_MAX: usize = 90;

/// perf, while it samples.
pub struct Recording {
    perf: Child,
    directory: TempDir,
}

/// Where the samples of one cell fell.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Percent by object (a program, a library, the kernel), all of it.
    objects: BTreeMap<String, f64>,
    /// Percent, object and name, the greatest first.
    symbols: Vec<(f64, String, String)>,
}

impl Recording {
    /// Of these processes with all their threads. An error where perf is missing or may not look.
    pub fn start(pids: &[u32]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let [orders, answers] = [ORDERS, ANSWERS].map(|name| fifo(&directory.path().join(name)));
        let (mut orders, mut answers) = (orders?, answers?);
        let control =
            [ORDERS, ANSWERS].map(|name| directory.path().join(name).display().to_string());
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let perf = Command::new("perf")
            .args(["record", "--quiet", "-e", EVENT, "-F", HERTZ, "-p", &pids.join(",")])
            // Disabled until it is told otherwise.
            .args(["-D", "-1", &format!("--control=fifo:{}", control.join(",")), "-o"])
            .arg(data(&directory))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("perf does not start")?;
        let mut recording = Self { perf, directory };
        orders.write_all(b"enable\n")?;
        let since = Instant::now();
        while answers.read(&mut [0; 8]).is_err() {
            if recording.perf.try_wait()?.is_some() {
                let output = recording.perf.wait_with_output()?;
                bail!("perf does not record: {}", said(&output));
            }
            if ATTACHES_WITHIN < since.elapsed() {
                recording.perf.kill()?;
                recording.perf.wait()?;
                bail!("perf does not attach itself within {ATTACHES_WITHIN:?}");
            }
            sleep(ATTACH_POLL);
        }
        Ok(recording)
    }

    /// Ends it, and says where the samples fell.
    pub fn end(self) -> Result<Profile> {
        let Self { perf, directory } = self;
        kill_process(Pid::from_child(&perf), Signal::INT)?;
        let output = perf.wait_with_output()?;
        ensure!(data(&directory).is_file(), "perf recorded nothing: {}", said(&output));
        let report = Command::new("perf")
            .args(["report", "--stdio", "--quiet", "--no-children", "-t", "|", "-g", "none"])
            .args(["--sort", "dso,symbol", "-F", "overhead,dso,symbol", "-i"])
            .arg(data(&directory))
            .stdin(Stdio::null())
            .output()
            .context("perf does not report")?;
        let text = String::from_utf8_lossy(&report.stdout);
        parse(&text).with_context(|| format!("perf reported nothing: {}", said(&report)))
    }
}

/// A fifo that is read without waiting: nothing is in it yet, or nobody has it open, is an error.
fn fifo(path: &Path) -> Result<File> {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    // Opened both ways it needs no other end.
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(open(path, flags, Mode::empty())?))
}

fn data(directory: &TempDir) -> PathBuf {
    directory.path().join("perf.data")
}

/// What a program complained about, in one line.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines of `1.16%|object|[k] name`; `None` where there is none.
fn parse(report: &str) -> Option<Profile> {
    let mut found = Profile { objects: BTreeMap::new(), symbols: Vec::new() };
    for line in report.lines() {
        let mut fields = line.split('|').map(str::trim);
        let (Some(share), Some(object), Some(symbol)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let Some(share) = share.strip_suffix('%').and_then(|it| it.trim().parse::<f64>().ok())
        else {
            continue;
        };
        let object = if object.starts_with("[kernel") { "the kernel" } else { object };
        // Behind the letter of the ring.
        let name = symbol.split_once("] ").map_or(symbol, |(_, name)| name);
        *found.objects.entry(object.to_owned()).or_default() += share;
        found.symbols.push((share, object.to_owned(), name.to_owned()));
    }
    found.symbols.sort_by(|one, other| other.0.total_cmp(&one.0));
    (!found.symbols.is_empty()).then_some(found)
}

impl Profile {
    /// By object, and the symbols that take most, in two cells of a table.
    pub fn cells(&self) -> String {
        let mut objects: Vec<(&String, f64)> =
            self.objects.iter().map(|(name, it)| (name, *it)).collect();
        objects.sort_by(|one, other| other.1.total_cmp(&one.1));
        let mut text = String::new();
        for (at, (name, share)) in objects.iter().filter(|it| 0.5 <= it.1).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(text, "{comma}{name} {share:.0} %").expect("a String takes every write");
        }
        text.push_str(" | ");
        for (at, (share, _, name)) in self.symbols.iter().take(TOP).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            let name: String = name.chars().take(NAME_MAX).collect();
            write!(text, "{comma}`{}` {share:.1} %", name.replace(['|', '`'], "/"))
                .expect("a String takes every write");
        }
        text
    }

    /// All symbols.
    pub fn json(&self) -> Value {
        json!({ "percent_by_object": self.objects, "percent_object_and_symbol": self.symbols })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\n 1.16%  |[kernel.kallsyms]|[k] finish_task_switch   |-  -\n\
        12.50%|farwatch         |[.] <core::option::Option<T> as X>::branch\n  3.00%|[kernel.kallsyms]|[k] copy\n\
        # a remark\n";

    #[test]
    fn samples_are_told_by_object_and_by_symbol_the_greatest_first() {
        let found = parse(REPORT).expect("samples");
        assert_eq!(
            found.cells(),
            "farwatch 12 %, the kernel 4 % | `<core::option::Option<T> as X>::branch` 12.5 %, `copy` 3.0 %, \
             `finish_task_switch` 1.2 %"
        );
        assert_eq!(parse("# nothing was sampled\n"), None);
    }

    #[test]
    fn who_cannot_be_sampled_is_an_error_with_its_reason() {
        // No process has this number, and where perf is missing it says so, too.
        let Err(error) = Recording::start(&[u32::MAX / 2]) else {
            panic!("there is no such process")
        };
        assert!(format!("{error:#}").contains("perf"), "{error:#}");
    }
}
