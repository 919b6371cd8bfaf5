//! What parts may cost: counts that were accepted, and whether those of today keep to them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

/// More than so much more fails.
const GROWTH_MAX: f64 = 1.05;

/// Reads lines of a count, two spaces, and a name.
pub fn pinned(lines: &str) -> Result<BTreeMap<String, u64>> {
    let line = |line: &str| {
        let (count, name) = line.trim().split_once("  ").context("expected a count and a name")?;
        Ok((name.to_owned(), count.parse()?))
    };
    lines.lines().map(line).collect()
}

/// Prints all parts, and fails when one has grown, or is on one side only.
pub fn judge(pinned: &BTreeMap<String, u64>, found: &BTreeMap<String, u64>) -> Result<()> {
    let mut grown = Vec::new();
    for (name, &count) in found {
        let before = pinned.get(name).with_context(|| format!("{name} is not pinned"))?;
        let ratio = count as f64 / *before as f64;
        println!("{name:<28} {count:>9} instructions, {ratio:.3} of {before}");
        if ratio > GROWTH_MAX {
            grown.push(name.as_str());
        }
    }
    for name in pinned.keys() {
        ensure!(found.contains_key(name), "{name} is pinned and not measured");
    }
    if !grown.is_empty() {
        bail!(
            "{} takes over 5 % more instructions: mend it, or accept it with UPDATE_EXPECT=1 and a reason",
            grown.join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_may_grow_by_a_twentieth_and_none_may_come_or_go_unseen() {
        let accepted = pinned("  1000  get\n   200  watch fire\n").expect("two lines");
        let found = |get: u64, more: &[(&str, u64)]| {
            let all = [("get", get)].into_iter().chain(more.iter().copied());
            all.map(|(name, count)| (name.to_owned(), count)).collect()
        };
        let fire = ("watch fire", 200);
        assert!(judge(&accepted, &found(1050, &[fire])).is_ok());
        let grown = judge(&accepted, &found(1051, &[fire])).expect_err("more than a twentieth");
        assert!(grown.to_string().starts_with("get takes"), "{grown}");
        assert!(judge(&accepted, &found(1000, &[])).is_err(), "one is not measured");
        assert!(judge(&accepted, &found(1000, &[fire, ("new", 1)])).is_err(), "one is not pinned");
    }
}
