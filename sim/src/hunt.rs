//! Many seeds at once, and planted bugs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use farwatch_core::zab::mutant::Mutant;

use crate::cluster::{Cluster, Verdict};
use crate::plan::{Mode, Plan};

/// Runs one seed. A panic, which is an assertion of the code under test, comes back as its text.
pub fn run(seed: u64, seconds: u64, mode: Mode, mutant: Option<Mutant>) -> Result<Verdict, String> {
    run_plan(seed, Plan::of(seed, seconds, mode), mutant)
}

/// Runs a plan that is not the seed's own.
pub fn run_plan(seed: u64, plan: Plan, mutant: Option<Mutant>) -> Result<Verdict, String> {
    catch_unwind(AssertUnwindSafe(|| Cluster::new(seed, plan, mutant, false).run())).map_err(
        |panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
                .unwrap_or_else(|| "a panic without a text".to_string())
        },
    )
}

/// What is wrong with a run, in words, if anything is.
pub fn failure(outcome: &Result<Verdict, String>) -> Option<String> {
    match outcome {
        Err(panic) => Some(format!("assertion: {panic}")),
        Ok(verdict) => {
            let violation = verdict.violations.first()?;
            Some(format!("{}: {}", violation.property, violation.text))
        }
    }
}

/// A run that catches a planted bug, and how it shows.
pub type Catch = (u64, Mode, String);

/// The first of `seeds` that catches the bug, and how. Each is tried for safety, and every second for
/// liveness too: few bugs show only there, and those soon.
pub fn hunt(mutant: Mutant, seeds: std::ops::Range<u64>, seconds: u64) -> Option<Catch> {
    for seed in seeds {
        for mode in [Mode::Safety, Mode::Liveness] {
            if mode == Mode::Liveness && seed % 2 != 0 {
                continue;
            }
            let caught = try_seed(mutant, seed, mode, seconds);
            if caught.is_some() {
                return caught;
            }
        }
    }
    None
}

/// Whether this one run catches the bug.
pub fn try_seed(mutant: Mutant, seed: u64, mode: Mode, seconds: u64) -> Option<Catch> {
    let how = failure(&run(seed, seconds, mode, Some(mutant)))?;
    Some((seed, mode, how))
}

/// The seed's cluster without faults.
pub fn quiet_plan(seed: u64, seconds: u64) -> Plan {
    Plan { link_breaks: 0, ..Plan::of(seed, seconds, Mode::Safety).fair() }
}

/// The seed's cluster without any other fault, for `seconds`, with a crash instead of each action in
/// turn, `stride` actions apart. Returns how many points were tried, or the first that fails.
pub fn crash_everywhere(seed: u64, seconds: u64, stride: u64) -> Result<u64, String> {
    let quiet = quiet_plan(seed, seconds);
    let actions = run_plan(seed, quiet.clone(), None)?.actions;
    let mut tried = 0;
    for point in (1..=actions).step_by(stride as usize) {
        let plan = Plan { crash_at_action: point, ..quiet.clone() };
        if let Some(how) = failure(&run_plan(seed, plan, None)) {
            return Err(format!("seed {seed}, crash instead of action {point}: {how}"));
        }
        tried += 1;
    }
    Ok(tried)
}

/// Calls `work` with 0, 1, 2, … on every core until it says that it is enough, and hands each result
/// to `take`, in no certain order.
pub fn on_every_core<T: Send>(
    work: impl Fn(u64) -> Option<T> + Sync,
    take: impl FnMut(u64, T) + Send,
) {
    let (next, take) = (AtomicU64::new(0), Mutex::new(take));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(result) = work(number) else { return };
                    (take.lock().expect("nobody panics with it"))(number, result);
                }
            });
        }
    });
}
