//! Many seeds at once, and planted bugs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use farwatch_core::zab::mutant::Mutant;

use crate::cluster::{Cluster, Verdict};
use crate::plan::Plan;

/// Runs one seed. A panic, which is an assertion of the code under test, comes back as its text.
pub fn run(
    seed: u64,
    seconds: u64,
    mutant: Option<Mutant>,
    keeps_lines: bool,
) -> Result<Verdict, String> {
    let plan = Plan::of(seed, seconds);
    catch_unwind(AssertUnwindSafe(|| Cluster::new(seed, plan, mutant, keeps_lines).run())).map_err(
        |panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
                .unwrap_or_else(|| "a panic without a text".to_string())
        },
    )
}

/// The first seed of `seeds` that catches the bug, and how.
pub fn hunt(mutant: Mutant, seeds: std::ops::Range<u64>, seconds: u64) -> Option<(u64, String)> {
    for seed in seeds {
        match run(seed, seconds, Some(mutant), false) {
            Err(panic) => return Some((seed, format!("assertion: {panic}"))),
            Ok(verdict) => {
                if let Some(violation) = verdict.violations.first() {
                    return Some((seed, violation.property.to_string()));
                }
            }
        }
    }
    None
}
