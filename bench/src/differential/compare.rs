//! Whether two clients have seen the same.
//!
//! Zxids, times and session ids differ between servers by nature. What must agree is their
//! relation to others: zxids advance by the same steps, one transaction has one time, a session id
//! belongs to the same client. A comparison remembers what it has seen, so that a later Stat must
//! fit an earlier reply.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::value::Value;

/// How far a server's clock may be from ours in a time that it has just given: both run on one
/// machine, so that only the resolution and a pause before deciding matter.
const CLOCK_MILLIS_MAX: i64 = 2_000;

/// One place where two servers differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The place: names of records and fields, indexes of lists.
    pub place: String,
    /// What A showed.
    pub a: Value,
    /// What B showed.
    pub b: Value,
}

/// What two servers have shown so far, as far as later answers must fit it.
#[derive(Debug)]
pub struct Comparison {
    zxids: Pairs,
    /// A pair of zxids that mean the same: later ones must have the same distance to it.
    base: Option<(i64, i64)>,
    sessions: Pairs,
    times: [BTreeMap<i64, i64>; 2],
    /// When the comparison began, unless a server's clock is not ours.
    started_millis: Option<i64>,
    differences: Vec<Difference>,
}

/// Numbers of A and numbers of B that stand for the same thing.
#[derive(Debug, Default)]
struct Pairs {
    b_of_a: BTreeMap<i64, i64>,
    taken_in_b: BTreeSet<i64>,
}

impl Pairs {
    /// `None` if neither has been seen.
    fn agree(&self, a: i64, b: i64) -> Option<bool> {
        match self.b_of_a.get(&a) {
            Some(known) => Some(*known == b),
            None => self.taken_in_b.contains(&b).then_some(false),
        }
    }

    fn insert(&mut self, a: i64, b: i64) {
        self.b_of_a.insert(a, b);
        self.taken_in_b.insert(b);
    }
}

impl Comparison {
    /// Nothing has been seen yet. Times are also held against this machine's clock if
    /// `clocks_are_ours`.
    #[must_use]
    pub fn new(clocks_are_ours: bool) -> Self {
        Self {
            zxids: Pairs::default(),
            base: None,
            sessions: Pairs::default(),
            times: [BTreeMap::new(), BTreeMap::new()],
            started_millis: clocks_are_ours.then(now_millis),
            differences: Vec::new(),
        }
    }

    /// Every place where the two lists of frames differ.
    pub fn compare(&mut self, a: &[Value], b: &[Value]) -> Vec<Difference> {
        for (index, (a, b)) in a.iter().zip(b).enumerate() {
            self.value(&index.to_string(), a, b);
            if a.name() != b.name() {
                // What follows a frame of another kind is compared with the wrong partner.
                return std::mem::take(&mut self.differences);
            }
        }
        if a.len() != b.len() {
            self.note("frames", &Value::List(a.to_vec()), &Value::List(b.to_vec()));
        }
        std::mem::take(&mut self.differences)
    }

    /// The next zxids to come are those of a new run: an earlier one may have ended anyhow. What
    /// has been seen stays what it was.
    pub fn begin_run(&mut self) {
        self.base = None;
    }

    /// Takes these zxids for the same from now on: an explained difference has consumed another
    /// number of them.
    pub fn realign(&mut self, a: i64, b: i64) {
        self.base = Some((a, b));
        self.zxids.insert(a, b);
    }

    fn note(&mut self, place: &str, a: &Value, b: &Value) {
        let place = place.to_owned();
        self.differences.push(Difference { place, a: a.clone(), b: b.clone() });
    }

    fn value(&mut self, place: &str, a: &Value, b: &Value) {
        let same = match (a, b) {
            (Value::Zxid(a), Value::Zxid(b)) => self.zxids_agree(*a, *b),
            (Value::Session(a), Value::Session(b)) => self.sessions_agree(place, *a, *b),
            (Value::Time { zxid: a, millis: at_a }, Value::Time { zxid: b, millis: at_b }) => {
                self.times_agree((*a, *at_a), (*b, *at_b))
            }
            (Value::List(a), Value::List(b)) if a.len() == b.len() => {
                for (index, (a, b)) in a.iter().zip(b).enumerate() {
                    self.value(&format!("{place}[{index}]"), a, b);
                }
                true
            }
            (Value::Set(a), Value::Set(b)) => {
                let (mut a, mut b) = (a.clone(), b.clone());
                a.sort();
                b.sort();
                a == b
            }
            (Value::Record(name, a), Value::Record(name_b, b)) if name == name_b => {
                self.records(&format!("{place} {name}"), a, b)
            }
            (a, b) => a == b,
        };
        if !same {
            self.note(place, a, b);
        }
    }

    fn records(
        &mut self,
        place: &str,
        a: &[(&'static str, Value)],
        b: &[(&'static str, Value)],
    ) -> bool {
        if !a.iter().map(|(name, _)| name).eq(b.iter().map(|(name, _)| name)) {
            return false;
        }
        for ((name, a), (_, b)) in a.iter().zip(b) {
            self.value(&format!("{place}.{name}"), a, b);
        }
        true
    }

    fn zxids_agree(&mut self, a: i64, b: i64) -> bool {
        // 0 and -1 are no transactions but words of the protocol.
        if a <= 0 || b <= 0 {
            return a == b;
        }
        if let Some(agree) = self.zxids.agree(a, b) {
            return agree;
        }
        let (base_a, base_b) = *self.base.get_or_insert((a, b));
        let agree = a.wrapping_sub(base_a) == b.wrapping_sub(base_b);
        if agree {
            self.zxids.insert(a, b);
        }
        agree
    }

    fn sessions_agree(&mut self, place: &str, a: i64, b: i64) -> bool {
        if a == 0 || b == 0 {
            return a == b;
        }
        self.sessions.agree(a, b).unwrap_or_else(|| {
            // Only a handshake introduces a session; an owner must be one of those.
            let introduced = place.ends_with("connected.sessionId");
            if introduced {
                self.sessions.insert(a, b);
            }
            introduced
        })
    }

    fn times_agree(&mut self, a: (i64, i64), b: (i64, i64)) -> bool {
        if a.0 <= 0 || b.0 <= 0 {
            return a.1 == b.1;
        }
        let base = self.base;
        let sound_in_a = self.time_is_sound(0, a, base.map(|(base, _)| base));
        let sound_in_b = self.time_is_sound(1, b, base.map(|(_, base)| base));
        sound_in_a == sound_in_b
    }

    /// A transaction has one time, and a transaction of ours has a time of this run.
    fn time_is_sound(
        &mut self,
        side: usize,
        (zxid, millis): (i64, i64),
        base: Option<i64>,
    ) -> bool {
        if let Some(known) = self.times[side].get(&zxid) {
            return *known == millis;
        }
        self.times[side].insert(zxid, millis);
        match (self.started_millis, base) {
            (Some(started), Some(base)) if base <= zxid => {
                started - CLOCK_MILLIS_MAX <= millis && millis <= now_millis() + CLOCK_MILLIS_MAX
            }
            _ => true,
        }
    }
}

fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).expect("the clock is before the year 292 million")
}

#[cfg(test)]
mod tests;
