//! Random scripts from one seed.
//!
//! Few paths and few clients, so that operations meet; a new subtree every so often, so that
//! nodes locked by their ACLs do not pile up; odd inputs among the proper ones.

mod input;

use super::known::{self, Kinds};
use super::prng::Prng;
use super::script::{Act, Data, Garbage, Op, Path, Reconnect, Step};
use crate::raw::op;
use input::Input;

/// How many clients a script has: enough for events between them, few enough to meet.
pub const CLIENTS: usize = 4;

/// How many steps use one subtree.
const STEPS_PER_SUBTREE: usize = 400;

/// How long a run of steps of one client may be when requests are pipelined.
const BURST_STEPS_MAX: usize = 24;

/// What scripts hold.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    /// What the script will run on: it decides what is left out.
    pub kinds: Kinds,
    /// In how many of 100 cases a client sends a burst instead of one request.
    pub bursts_percent: usize,
}

/// Makes scripts.
#[derive(Debug)]
pub struct Generator {
    prng: Prng,
    wishes: Wishes,
    steps: usize,
    burst_left: usize,
    client: usize,
}

impl Generator {
    /// The scripts of this seed.
    #[must_use]
    pub fn new(seed: u64, wishes: Wishes) -> Self {
        Self { prng: Prng::new(seed), wishes, steps: 0, burst_left: 0, client: 0 }
    }

    /// The next step.
    pub fn step(&mut self) -> Step {
        let subtree = self.steps / STEPS_PER_SUBTREE;
        self.steps += 1;
        if self.steps % STEPS_PER_SUBTREE == 1 {
            self.burst_left = 0;
            return Step::send(self.client, open_node(&format!("~/{subtree}")));
        }
        if self.burst_left == 0 {
            self.client = self.prng.below(CLIENTS);
            if self.prng.percent(self.wishes.bursts_percent) {
                self.burst_left = 2 + self.prng.below(BURST_STEPS_MAX - 1);
            }
        }
        self.burst_left = self.burst_left.saturating_sub(1);
        let act = self.act(subtree);
        let mut step = Step { client: self.client, act, pipelined: false };
        step.pipelined = 0 < self.burst_left && step.may_be_pipelined();
        step
    }

    fn act(&mut self, subtree: usize) -> Act {
        match self.prng.below(1_000) {
            0..18 => Act::Reconnect(self.reconnect()),
            18..22 => Act::Garbage(self.garbage()),
            _ => loop {
                let op = self.odd_or_proper(subtree);
                if known::withheld(self.wishes.kinds, &op).is_none() {
                    let xid = self
                        .prng
                        .percent(2)
                        .then(|| *self.prng.pick(&[0, -8, -77, 1, i32::MAX, i32::MIN, -4, 7]));
                    return Act::Send { xid, op };
                }
            },
        }
    }

    fn reconnect(&mut self) -> Reconnect {
        self.prng.weighted(&[
            (4, Reconnect::Takeover),
            (4, Reconnect::AfterDrop),
            (2, Reconnect::OldClient),
            (1, Reconnect::ReadOnlyAllowed),
            (1, Reconnect::WrongPassword),
            (1, Reconnect::NullPassword),
            (1, Reconnect::UnknownSession),
            (1, Reconnect::ClosedSession),
            (1, Reconnect::FutureZxid),
            (1, Reconnect::Truncated),
        ])
    }

    fn garbage(&mut self) -> Garbage {
        self.prng.weighted(&[
            (1, Garbage::Length(-1)),
            (1, Garbage::Length(0)),
            (1, Garbage::Length(1_048_576)),
            (1, Garbage::ShortHeader),
            (1, Garbage::Word),
        ])
    }

    fn odd_or_proper(&mut self, subtree: usize) -> Op {
        let op = Input { prng: &mut self.prng, subtree }.op();
        // A cut auth packet or an unknown code leaves nothing to decode.
        if self.prng.percent(2) && op.keeps_its_turn() {
            let bytes = *self.prng.pick(&[1, 1, 2, 4, 5, 8, 12, 40]);
            return Op::Truncated { op: Box::new(op), bytes };
        }
        if self.prng.percent(1) {
            return Op::Padded { op: Box::new(op) };
        }
        op
    }
}

/// The steps that come before every script.
#[must_use]
pub fn prologue() -> Vec<Step> {
    vec![Step::send(0, open_node("~"))]
}

/// The steps that come after every script: what has been sent is read, and no session is left
/// behind whose expiry would consume a zxid in a later run.
#[must_use]
pub fn epilogue() -> Vec<Step> {
    let all = |code| (0..CLIENTS).map(move |client| Step::send(client, Op::Bare { code }));
    all(op::PING).chain(all(op::CLOSE_SESSION)).collect()
}

fn open_node(path: &str) -> Op {
    Op::Create {
        code: op::CREATE,
        path: Path::new(path),
        data: Data(None),
        acl: input::open_acl(),
        flags: 0,
        ttl: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::known::Kind;
    use super::*;

    fn steps(seed: u64, a: Kind, b: Kind, count: usize) -> Vec<Step> {
        let wishes = Wishes { kinds: Kinds { a, b, in_ensemble: false }, bursts_percent: 20 };
        let mut generator = Generator::new(seed, wishes);
        (0..count).map(|_| generator.step()).collect()
    }

    #[test]
    fn a_seed_is_one_script() {
        let script = |seed| steps(seed, Kind::Farwatch, Kind::Unknown, 1_000);
        assert_eq!(script(5), script(5));
        assert_ne!(script(5), script(6));
    }

    #[test]
    fn every_operation_comes_up_unless_it_is_withheld() {
        let codes = |a, b| -> BTreeSet<i32> {
            steps(1, a, b, 20_000).iter().filter_map(Step::code).collect()
        };
        let mut wanted: BTreeSet<i32> = (1..=9).chain(11..=22).chain(100..=107).collect();
        wanted.extend([op::CREATE_SESSION, op::CLOSE_SESSION, op::NOTIFICATION, op::ERROR, 999]);
        let all = codes(Kind::Farwatch, Kind::Farwatch);
        assert!(wanted.is_subset(&all), "{:?}", wanted.difference(&all));
        let fewer = codes(Kind::ZooKeeper(3, 9, 4), Kind::Farwatch);
        let left_out: Vec<i32> = wanted.difference(&fewer).copied().collect();
        assert_eq!(left_out, [op::CREATE_SESSION, op::DELETE_CONTAINER]);
    }
}
