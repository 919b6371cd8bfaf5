//! The hunt for planted bugs, and the file that remembers what caught them.
//!
//! A line is `Name Safety 402`, or `Name survives` for what no seed caught. Code that changes moves the
//! histories of seeds: a seed that catches nothing any more only costs one run, and the hunt goes on as
//! without it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use farwatch_core::zab::mutant::Mutant;
use farwatch_sim::hunt::{self, Catch};
use farwatch_sim::plan::Mode;

/// Of a hundred planted bugs at least so many must be caught.
const CAUGHT_PERCENT_MIN: usize = 95;

/// What the last whole hunt found of one bug.
#[derive(Clone, Copy)]
enum Known {
    By(Mode, u64),
    Survives,
}

fn read(file: &Path) -> anyhow::Result<BTreeMap<String, Known>> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next().context("a line without a name")?.to_owned();
        let known = match (words.next(), words.next().map(str::parse)) {
            (Some("survives"), None) => Known::Survives,
            (Some("Safety"), Some(Ok(seed))) => Known::By(Mode::Safety, seed),
            (Some("Liveness"), Some(Ok(seed))) => Known::By(Mode::Liveness, seed),
            _other => bail!("{}: `{line}` is not understood", file.display()),
        };
        Ok((name, known))
    };
    text.lines().map(line).collect()
}

fn find(mutant: Mutant, known: Option<Known>, seeds: u64, seconds: u64) -> Option<Catch> {
    let by_known = match known {
        Some(Known::Survives) => return None,
        Some(Known::By(mode, seed)) => hunt::try_seed(mutant, seed, mode, seconds),
        None => None,
    };
    by_known.or_else(|| hunt::hunt(mutant, 1..seeds + 1, seconds))
}

/// Plants each bug whose name contains `only`, and fails where too few are caught.
pub fn hunt_all(
    seeds: u64,
    only: &str,
    seconds: u64,
    known: Option<&Path>,
    write: Option<&Path>,
) -> anyhow::Result<()> {
    // Assertions of the code under test are how many of them are caught.
    std::panic::set_hook(Box::new(|_| {}));
    let known = known.map(read).transpose()?.unwrap_or_default();
    let of = |mutant: Mutant| known.get(&format!("{mutant:?}")).copied();
    let chosen: Vec<Mutant> =
        Mutant::ALL.iter().copied().filter(|m| format!("{m:?}").contains(only)).collect();
    let (mut survivors, mut lines) = (Vec::new(), Vec::new());
    let work = |number: u64| {
        let mutant = *chosen.get(number as usize)?;
        Some((mutant, find(mutant, of(mutant), seeds, seconds)))
    };
    hunt::on_every_core(work, |_, (mutant, caught)| match caught {
        Some((seed, mode, how)) => {
            let how: String = how.lines().next().unwrap_or_default().chars().take(90).collect();
            println!("{:<26} {mode:?} seed {seed:>5}  {how}", format!("{mutant:?}"));
            lines.push(format!("{mutant:?} {mode:?} {seed}\n"));
        }
        None => {
            let tried = match of(mutant) {
                Some(Known::Survives) => "survived the last whole hunt, not tried".to_owned(),
                Some(Known::By(..)) | None => format!("survives {seeds} seeds"),
            };
            println!("{:<26} {tried}", format!("{mutant:?}"));
            lines.push(format!("{mutant:?} survives\n"));
            survivors.push(mutant);
        }
    });
    if let Some(file) = write {
        lines.sort_unstable();
        fs::write(file, lines.concat())?;
    }
    let (tried, caught) = (chosen.len(), chosen.len() - survivors.len());
    println!("{caught} of {tried} planted bugs caught; survivors: {survivors:?}");
    ensure!(
        CAUGHT_PERCENT_MIN * tried <= 100 * caught,
        "fewer than {CAUGHT_PERCENT_MIN} % of the planted bugs are caught"
    );
    Ok(())
}
