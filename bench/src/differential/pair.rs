//! Two servers that are played the same script, step by step.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::compare::{Comparison, Difference};
use super::generate::{self, CLIENTS};
use super::known::{self, Kinds};
use super::script::{Act, Step};
use super::side::Side;
use super::value::Value;
use crate::raw::op;

/// A step after which the two servers differ.
#[derive(Clone, Debug)]
pub struct Divergence {
    /// Its place in the script.
    pub index: usize,
    /// The step itself; it may be one of the steps that end every script.
    pub step: Step,
    /// Where its outcomes differ.
    pub differences: Vec<Difference>,
    /// What A showed.
    pub a: Vec<Value>,
    /// What B showed.
    pub b: Vec<Value>,
    /// The node that stood above everything in this run.
    prefix: String,
}

impl Divergence {
    /// What makes two divergences the same one while a script shrinks: the operation, and the
    /// place without its indexes.
    #[must_use]
    pub fn signature(&self) -> (Option<i32>, String) {
        let place = &self.differences[0].place;
        let place = place.chars().filter(|character| !character.is_ascii_digit()).collect();
        (self.step.code(), place)
    }
}

/// The one of two servers that answered the same script in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsteady {
    /// The first.
    A,
    /// The second.
    B,
}

/// The two servers.
#[derive(Debug)]
pub struct Pair {
    addresses: (Vec<SocketAddr>, Vec<SocketAddr>),
    kinds: Kinds,
    /// Whether expected differences count as divergences as well.
    strict: bool,
    comparison: Comparison,
    /// How often each known difference came up.
    pub explained: BTreeMap<&'static str, usize>,
    /// How often A answered each operation code with each error, and how often each other kind of
    /// frame came: what a script has reached.
    pub reached: BTreeMap<(Option<i32>, &'static str, i64), usize>,
    /// The step of the next run whose frames are kept, and what they were.
    watched: Option<(usize, [Vec<Value>; 2])>,
    /// Tells the subtrees of runs on these servers apart.
    subtree: String,
    runs: usize,
}

impl Pair {
    /// Servers that are both running, or two ensembles of as many. `subtree` must be free on both.
    #[must_use]
    pub fn new(
        addresses: (Vec<SocketAddr>, Vec<SocketAddr>),
        kinds: Kinds,
        strict: bool,
        subtree: &str,
    ) -> Self {
        assert_eq!(addresses.0.len(), addresses.1.len());
        let clocks_are_ours = addresses.0[0].ip() == addresses.1[0].ip();
        Self {
            addresses,
            kinds,
            strict,
            comparison: Comparison::new(clocks_are_ours),
            explained: BTreeMap::new(),
            reached: BTreeMap::new(),
            watched: None,
            subtree: subtree.to_owned(),
            runs: 0,
        }
    }

    /// Plays the script that once diverged in `divergence` again. Returns where it diverges now,
    /// and which server answered otherwise then than it does now in the same place.
    pub fn play_again(
        &mut self,
        divergence: &Divergence,
        steps: impl Iterator<Item = Step>,
    ) -> (Option<Divergence>, Option<Unsteady>) {
        self.watched = Some((divergence.index + generate::prologue().len(), Default::default()));
        let again = self.play(steps);
        let (_, now) = self.watched.take().unwrap_or_default();
        let now = now.map(|frames| renamed(&frames, &self.prefix(), &divergence.prefix));
        (again, unsteady([&divergence.a, &divergence.b], [&now[0], &now[1]]))
    }

    /// The node that stands above everything in the present run.
    fn prefix(&self) -> String {
        format!("/{}-{}", self.subtree, self.runs)
    }

    /// Plays a script in a new subtree with new sessions up to the first divergence.
    pub fn play(&mut self, steps: impl Iterator<Item = Step>) -> Option<Divergence> {
        self.runs += 1;
        self.comparison.begin_run();
        let prefix = self.prefix();
        let mut sides = [
            Side::new(&self.addresses.0, prefix.clone(), CLIENTS),
            Side::new(&self.addresses.1, prefix, CLIENTS),
        ];
        // The numbers of a divergence are those of the caller's steps.
        let prologue = generate::prologue();
        let first = prologue.len();
        let steps = prologue.into_iter().chain(steps).chain(generate::epilogue());
        let mut divergence = self.play_steps(&mut sides, steps);
        if let Some(divergence) = &mut divergence {
            divergence.index = divergence.index.saturating_sub(first);
            close_sessions(&mut sides);
        }
        sides.iter_mut().for_each(Side::leave);
        divergence
    }

    fn play_steps(
        &mut self,
        sides: &mut [Side; 2],
        steps: impl Iterator<Item = Step>,
    ) -> Option<Divergence> {
        let mut steps = steps.enumerate().peekable();
        let mut burst = Vec::new();
        while let Some((index, step)) = steps.next() {
            let goes_on = step.pipelined
                && steps.peek().is_some_and(|(_, next)| {
                    next.client == step.client
                        && matches!(next.act, Act::Send { .. })
                        && next.may_be_pipelined()
                });
            burst.push((index, step));
            if !goes_on {
                let divergence = self.play_burst(sides, &burst);
                if divergence.is_some() {
                    return divergence;
                }
                burst.clear();
            }
        }
        None
    }

    /// Plays steps whose requests leave together, all of one client.
    fn play_burst(&mut self, sides: &mut [Side; 2], burst: &[(usize, Step)]) -> Option<Divergence> {
        let mut seen = [vec![Vec::new(); burst.len()], vec![Vec::new(); burst.len()]];
        for (side, seen) in sides.iter_mut().zip(&mut seen) {
            for ((_, step), seen) in burst.iter().zip(seen) {
                side.begin(step, seen);
            }
        }
        for (side, seen) in sides.iter_mut().zip(&mut seen) {
            for ((_, step), seen) in burst.iter().zip(seen.iter_mut()) {
                side.finish(step, seen);
            }
        }
        let [seen_a, seen_b] = seen;
        for (((index, step), mut a), mut b) in burst.iter().zip(seen_a).zip(seen_b) {
            let without_zxids = self.kinds.tell_no_event_zxids();
            sort_unordered_events(&mut a, &sides[0], without_zxids);
            sort_unordered_events(&mut b, &sides[1], without_zxids);
            self.count_reached(step, &a);
            if let Some((watched, frames)) = &mut self.watched
                && watched == index
            {
                *frames = [a.clone(), b.clone()];
            }
            let differences = self.comparison.compare(&a, &b);
            let unexplained = self.unexplained(sides, step, &differences, (&a, &b));
            if !unexplained.is_empty() {
                let (index, step) = (*index, step.clone());
                let (differences, prefix) = (unexplained, self.prefix());
                return Some(Divergence { index, step, differences, a, b, prefix });
            }
        }
        None
    }

    fn count_reached(&mut self, step: &Step, frames: &[Value]) {
        for frame in frames {
            let (code, number) = match frame.name() {
                "reply" => (step.code(), frame.number("err")),
                "event" => (None, frame.part("body").and_then(|body| body.number("type"))),
                _ => (None, None),
            };
            *self.reached.entry((code, frame.name(), number.unwrap_or(0))).or_default() += 1;
        }
    }

    /// Counts what is known and returns the rest.
    fn unexplained(
        &mut self,
        sides: &mut [Side; 2],
        step: &Step,
        differences: &[Difference],
        (a, b): (&[Value], &[Value]),
    ) -> Vec<Difference> {
        let mut unexplained = Vec::new();
        for difference in differences {
            match known::explanation(self.kinds, step, difference) {
                Some(known) if !self.strict => {
                    *self.explained.entry(known.id).or_default() += 1;
                    if let (Value::Zxid(a), Value::Zxid(b)) = (&difference.a, &difference.b)
                        && difference.place.ends_with(" reply.zxid")
                    {
                        self.comparison.realign(*a, *b);
                    }
                }
                _ => unexplained.push(difference.clone()),
            }
        }
        let names = |frames: &[Value]| frames.iter().map(Value::name).collect::<Vec<_>>();
        if unexplained.is_empty() && names(a) != names(b) {
            // One connection may be closed and the other not: both start over.
            let [a, b] = sides.each_ref().map(|side| side.zxids_seen(step.client));
            for side in sides {
                side.forget_connection(step.client, a.min(b));
            }
        }
        unexplained
    }
}

fn renamed(frames: &[Value], from: &str, to: &str) -> Vec<Value> {
    frames.iter().map(|frame| frame.renamed(from, to)).collect()
}

/// Which of two servers showed something else `then` than `now`, if one of them alone did. Nothing
/// shown now says nothing: the script may have ended before.
fn unsteady(then: [&[Value]; 2], now: [&[Value]; 2]) -> Option<Unsteady> {
    let has_changed = |side: usize| {
        !now[side].is_empty() && !Comparison::new(false).compare(then[side], now[side]).is_empty()
    };
    match (has_changed(0), has_changed(1)) {
        (true, false) => Some(Unsteady::A),
        (false, true) => Some(Unsteady::B),
        (true, true) | (false, false) => None,
    }
}

/// Ends what a divergence has left open; what the servers say to it no longer matters.
fn close_sessions(sides: &mut [Side; 2]) {
    for step in generate::epilogue() {
        if step.code() == Some(op::CLOSE_SESSION) {
            for side in sides.iter_mut() {
                side.close_session(&step);
            }
        }
    }
}

/// The ephemerals of a closed session go in any order, and so do the events of their going. They
/// share one zxid; where a server does not tell it, any run of events may be such a one.
fn sort_unordered_events(frames: &mut [Value], side: &Side, without_zxids: bool) {
    let unordered = |frame: &Value| {
        frame.name() == "event"
            && (without_zxids || frame.number("zxid").is_some_and(|zxid| side.is_closing(zxid)))
    };
    let key = |frame: &Value| (frame.number("zxid"), frame.part("body").cloned());
    for run in frames.chunk_by_mut(|left, right| unordered(left) && unordered(right)) {
        if without_zxids {
            run.sort_by_key(|frame| key(frame).1);
        } else {
            run.sort_by_key(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(xid: i64, zxid: i64, path: &str) -> Vec<Value> {
        let path = Value::Text(Some(path.to_owned()));
        let parts = vec![("xid", Value::Int(xid)), ("zxid", Value::Zxid(zxid)), ("path", path)];
        vec![Value::Record("reply", parts)]
    }

    #[test]
    fn the_server_that_answers_in_two_ways_is_the_unsteady_one() {
        let (lost, steady) = (reply(128, 70, "/x-1/a"), reply(127, 9, "/x-1/a"));
        let now_a = renamed(&reply(127, 700, "/x-2/a"), "/x-2", "/x-1");
        let now_b = renamed(&reply(127, 90, "/x-2/a"), "/x-2", "/x-1");
        assert_eq!(unsteady([&lost, &steady], [&now_a, &now_b]), Some(Unsteady::A));
        assert_eq!(unsteady([&steady, &lost], [&now_a, &now_b]), Some(Unsteady::B));
        assert_eq!(unsteady([&lost, &lost], [&now_a, &now_b]), None);
        assert_eq!(unsteady([&steady, &steady], [&now_a, &now_b]), None);
        assert_eq!(unsteady([&lost, &steady], [&[], &[]]), None);
    }
}
