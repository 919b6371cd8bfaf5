//! The shortest script that still shows a divergence: delta debugging.

/// A subset of `steps` that still `fails`, from which no part of the finest grain can be taken
/// away; less thorough when `budget` runs are used up before. `steps` itself must fail.
pub fn minimise<T: Clone>(
    steps: Vec<T>,
    mut budget: usize,
    mut fails: impl FnMut(&[T]) -> bool,
) -> Vec<T> {
    let mut steps = shortest_suffix(steps, &mut budget, &mut fails);
    let mut chunk = steps.len().div_ceil(2);
    while 0 < chunk && 0 < budget {
        let mut start = 0;
        let mut shrunk = false;
        while start < steps.len() && 0 < budget {
            let end = steps.len().min(start + chunk);
            let without: Vec<T> = steps[..start].iter().chain(&steps[end..]).cloned().collect();
            budget -= 1;
            if fails(&without) {
                steps = without;
                shrunk = true;
            } else {
                start = end;
            }
        }
        // Steps that need each other go only together: a pass that took something away may have
        // made others needless.
        if !(shrunk && chunk == 1) {
            chunk /= 2;
        }
    }
    steps
}

/// Most divergences need only what came shortly before them, and a short script runs fast.
fn shortest_suffix<T: Clone>(
    steps: Vec<T>,
    budget: &mut usize,
    fails: &mut impl FnMut(&[T]) -> bool,
) -> Vec<T> {
    let mut len = 16;
    while len < steps.len() && 0 < *budget {
        let suffix = &steps[steps.len() - len..];
        *budget -= 1;
        if fails(suffix) {
            return suffix.to_vec();
        }
        len *= 4;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_needed_steps_among_a_thousand_are_left_alone() {
        let mut runs = 0;
        let fails = |steps: &[u32]| {
            runs += 1;
            steps.contains(&3) && steps.contains(&901)
        };
        assert_eq!(minimise((0..1_000).collect(), 500, fails), [3, 901]);
        assert!(runs < 200, "{runs}");
    }

    #[test]
    fn a_spent_budget_leaves_a_script_that_still_fails() {
        let fails = |steps: &[u32]| steps.contains(&3) && steps.contains(&901);
        let left = minimise((0..1_000).collect(), 7, fails);
        assert!(fails(&left) && left.len() < 1_000, "{}", left.len());
    }
}
