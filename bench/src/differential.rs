//! Random scripts played to two servers at once, everything a client can see compared.
//!
//! ```text
//! seed ─► Generator ─► Step ─┬─► Side A ─► frames ─┐
//!                            └─► Side B ─► frames ─┴─► Comparison ─► known? ─► Divergence
//! Divergence ─► minimise (new subtree, new sessions each time) ─► a short script
//! ```
//!
//! A step is over when its reply is here: each connection then shows the same frames in the same
//! order on every correct server, and the events that a step causes on other connections stand
//! before the next reply there.

use std::time::{Duration, Instant};

mod compare;
mod generate;
mod known;
mod minimise;
mod pair;
mod prng;
mod script;
mod side;
mod value;

pub use compare::{Comparison, Difference};
pub use generate::{CLIENTS, Generator, Wishes};
pub use known::{KNOWN, Kind, Kinds, Known, WITHHELD, Withheld};
pub use minimise::minimise;
pub use pair::{Divergence, Pair, Unsteady};
pub use script::{AclEntry, AclList, Act, Data, End, Garbage, Op, Path, Reconnect, Step};
pub use value::Value;

/// How many runs a minimisation may take.
const MINIMISING_RUNS_MAX: usize = 400;

/// How long a minimisation may take: where a server falls silent, every run waits for it.
const MINIMISING_TIME_MAX: Duration = Duration::from_secs(60);

/// A divergence, and everything that was played up to it.
#[derive(Debug)]
pub struct Finding {
    /// The divergence as it came up.
    pub divergence: Divergence,
    played: Vec<Step>,
}

/// One random script.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// What it is made from.
    pub seed: u64,
    /// How many steps it has.
    pub count: usize,
    /// What it holds.
    pub wishes: Wishes,
}

impl Script {
    /// Plays it.
    pub fn run(self, pair: &mut Pair) -> Option<Finding> {
        self.recorded(|steps| pair.play(steps))
    }

    /// Plays it once more, whole, after a divergence that did not show again: a server with a race
    /// of its own mostly answers now as the other one does. Returns the divergence of this run, if
    /// there is one, and which server answered otherwise than before in the place of `first`.
    pub fn run_again(
        self,
        pair: &mut Pair,
        first: &Divergence,
    ) -> (Option<Finding>, Option<Unsteady>) {
        let mut unsteady = None;
        let finding = self.recorded(|steps| {
            let (divergence, which) = pair.play_again(first, steps);
            unsteady = which;
            divergence
        });
        (finding, unsteady)
    }

    fn recorded(
        self,
        play: impl FnOnce(&mut dyn Iterator<Item = Step>) -> Option<Divergence>,
    ) -> Option<Finding> {
        let mut generator = Generator::new(self.seed, self.wishes);
        let mut played = Vec::with_capacity(self.count);
        let steps = std::iter::repeat_with(|| {
            let step = generator.step();
            played.push(step.clone());
            step
        });
        let divergence = play(&mut steps.take(self.count))?;
        Some(Finding { divergence, played })
    }
}

impl Finding {
    /// The steps that are needed to show the divergence, each time they are played. `None` if all
    /// the steps up to it do not show it again.
    #[must_use]
    pub fn minimise(self, pair: &mut Pair) -> Option<Vec<Step>> {
        let signature = self.divergence.signature();
        let until = Instant::now() + MINIMISING_TIME_MAX;
        let mut shows_again = |steps: &[Step]| {
            let again = pair.play(steps.iter().cloned());
            again.is_some_and(|again| again.signature() == signature)
        };
        let script = minimise(self.played, MINIMISING_RUNS_MAX, |steps| {
            Instant::now() < until && shows_again(steps)
        });
        // Delta debugging takes for granted that the whole fails; a race may not.
        shows_again(&script).then_some(script)
    }
}
