//! The slow checker: it looks at no zxid. Each key is a register; some order of the operations that
//! respects their times must explain every read (Wing and Gong, with memory of what was tried).

use std::collections::BTreeSet;

use super::{Asked, History, Operation, Told};
use crate::client::KEYS;
use crate::witness::Witness;

/// Orders that are tried for one key before it is given up. Given up is not failed: the other
/// checker has judged the same history.
const STATES_MAX: usize = 200_000;

#[derive(Clone, Copy, Debug)]
struct Step {
    began: u64,
    /// When its effect is certain; never for a write that nobody was told about.
    ended: Option<u64>,
    write: bool,
    value: u64,
}

pub fn check(history: &History, witness: &mut Witness) {
    for key in 0..KEYS {
        let steps = steps_of(history, key);
        if explain(&steps) == Some(false) {
            let text = format!("no order explains the {} operations on key {key}", steps.len());
            witness.violate("linearizable", text);
            return;
        }
    }
}

fn steps_of(history: &History, key: u64) -> Vec<Step> {
    let of_key = |operation: &&Operation| match operation.asked {
        Asked::Write { key: written, .. } => written == key,
        Asked::Read { key: read } => read == key,
    };
    let operations: Vec<&Operation> = history.operations.iter().filter(of_key).collect();
    let seen = |value: u64| {
        operations.iter().any(|o| matches!(o.told, Told::Read { value: read, .. } if read == value))
    };
    operations
        .iter()
        .filter_map(|operation| {
            let began = operation.began;
            match (operation.asked, operation.told) {
                (Asked::Write { value, .. }, Told::Written { at, .. }) => {
                    Some(Step { began, ended: Some(at), write: true, value })
                }
                // A write that nobody was told about and nobody saw explains nothing.
                (Asked::Write { value, .. }, _) => {
                    seen(value).then_some(Step { began, ended: None, write: true, value })
                }
                (Asked::Read { .. }, Told::Read { at, value, .. }) => {
                    Some(Step { began, ended: Some(at), write: false, value })
                }
                (Asked::Read { .. }, _) => None,
            }
        })
        .collect()
}

/// Whether an order exists, or `None` when that is not found out in time.
fn explain(steps: &[Step]) -> Option<bool> {
    let mut tried: BTreeSet<(Vec<u64>, u64)> = BTreeSet::new();
    let mut open = vec![(vec![0_u64; steps.len().div_ceil(64)], 0_u64)];
    while let Some((done, value)) = open.pop() {
        if tried.len() > STATES_MAX {
            return None;
        }
        if !tried.insert((done.clone(), value)) {
            continue;
        }
        let is_done = |index: usize| done[index / 64] >> (index % 64) & 1 == 1;
        let left = || (0..steps.len()).filter(|&index| !is_done(index));
        // Whoever began after another certainly ended cannot come before it.
        let Some(first_end) = left().filter_map(|index| steps[index].ended).min() else {
            return Some(true);
        };
        for index in left().filter(|&index| steps[index].began <= first_end) {
            let step = steps[index];
            if !step.write && step.value != value {
                continue;
            }
            let mut next = done.clone();
            next[index / 64] |= 1 << (index % 64);
            open.push((next, if step.write { step.value } else { value }));
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(began: u64, ended: Option<u64>, value: u64) -> Step {
        Step { began, ended, write: true, value }
    }

    fn read(began: u64, ended: u64, value: u64) -> Step {
        Step { began, ended: Some(ended), write: false, value }
    }

    #[test]
    fn a_stale_read_has_no_explanation_and_a_concurrent_one_has() {
        let stale = [write(0, Some(1), 1), write(2, Some(3), 2), read(4, 5, 1)];
        assert_eq!(explain(&stale), Some(false));
        let concurrent = [write(0, Some(1), 1), write(2, Some(6), 2), read(4, 5, 1)];
        assert_eq!(explain(&concurrent), Some(true));
    }

    #[test]
    fn a_write_without_an_answer_may_happen_late_but_not_twice() {
        let late = [write(0, None, 1), write(2, Some(3), 2), read(4, 5, 2), read(6, 7, 1)];
        assert_eq!(explain(&late), Some(true));
        let twice =
            [write(0, None, 1), read(1, 2, 1), write(3, Some(4), 2), read(5, 6, 2), read(7, 8, 1)];
        assert_eq!(explain(&twice), Some(false));
    }
}
