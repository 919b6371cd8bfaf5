//! A place in line: an ephemeral sequential node, ordered by the server's counter.
//!
//! ```text
//!   /lock/_c_<uuid>-lock-0000000004    holds           as Curator names them
//!         <uuid>__lock__0000000005     watches …04     as kazoo names them
//!         _c_<uuid>-lock-0000000006    watches …05
//! ```
//!
//! The order is that of the counters alone, whoever made the nodes. Each waits for one node in
//! front of it, so that a release wakes one contender and not all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use farwatch_core::wire::ErrorCode;

use super::place::Place;
use super::protected::{self, unique_id};
use super::signal::look_again_by;
use super::tenure::lost_with_the_session;
use super::{RecipeError, Tenure, persist};
use crate::error::ClientError;
use crate::event::NodeEventKind;
use crate::operation::CreateMode;

/// Digits of the counter that a server appends.
const COUNTER_DIGITS: usize = 10;

/// A node in the line, ours or anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rival {
    pub(super) counter: u64,
    pub(super) name: String,
}

impl Rival {
    /// `None` for a node without a counter: it does not stand in line.
    fn parse(name: &str) -> Option<Self> {
        let at = name.len().checked_sub(COUNTER_DIGITS)?;
        let digits = name.get(at..).filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()))?;
        Some(Self { counter: digits.parse().ok()?, name: name.to_owned() })
    }
}

/// Those in line, the first first.
pub(super) fn line(names: Vec<String>) -> Vec<Rival> {
    let mut rivals: Vec<Rival> = names.iter().filter_map(|name| Rival::parse(name)).collect();
    rivals.sort_by(|a, b| (a.counter, &a.name).cmp(&(b.counter, &b.name)));
    rivals
}

/// Which of those in front, first to last, the one behind them waits for. `None`: it is its turn.
pub(super) type Rule = fn(&[Rival]) -> Option<&Rival>;

/// Waits for the one right before.
pub(super) fn one_at_a_time(before: &[Rival]) -> Option<&Rival> {
    before.last()
}

/// Our node. It is removed in the background when this is dropped.
#[derive(Debug)]
pub(super) struct Contender {
    place: Place,
    name: String,
    tenure: Tenure,
    is_gone: AtomicBool,
}

impl Contender {
    /// Goes into line. `marker` says what for, and ends with the character before the counter.
    pub(super) fn enter(
        place: &Place,
        marker: &str,
        data: &[u8],
        deadline: Instant,
    ) -> Result<Self, RecipeError> {
        let prefix = format!("_c_{}{marker}", unique_id());
        let mode = CreateMode::EphemeralSequential;
        let created = protected::create(place, &prefix, data, mode, deadline)?;
        let name = created.path.rsplit('/').next().unwrap_or_default().to_owned();
        let tenure = Tenure::begin(&place.client, &created);
        Ok(Self { place: place.clone(), name, tenure, is_gone: AtomicBool::new(false) })
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    pub(super) fn is(&self, rival: &Rival) -> bool {
        rival.name == self.name
    }

    /// Those in line now.
    pub(super) fn line(&self, deadline: Instant) -> Result<Vec<Rival>, RecipeError> {
        Ok(line(self.place.names(false, deadline)?))
    }

    /// Waits until it is this one's turn.
    pub(super) fn wait_turn(&self, rule: Rule, deadline: Instant) -> Result<(), RecipeError> {
        self.wait_turn_until(rule, deadline, deadline)
    }

    /// The same, for those in front no longer than until `patient_until`, which may be now. The requests
    /// have time until `deadline`.
    pub(super) fn wait_turn_until(
        &self,
        rule: Rule,
        patient_until: Instant,
        deadline: Instant,
    ) -> Result<(), RecipeError> {
        let patient_until = patient_until.min(deadline);
        self.look_and_wait(rule, patient_until, deadline).map_err(lost_with_the_session)
    }

    fn look_and_wait(
        &self,
        rule: Rule,
        patient_until: Instant,
        deadline: Instant,
    ) -> Result<(), RecipeError> {
        loop {
            self.tenure.hold()?;
            let line = self.line(deadline)?;
            let Some(own) = line.iter().position(|rival| self.is(rival)) else {
                self.tenure.lose(); // what a session has created it sees, until it is deleted
                return Err(RecipeError::Lost);
            };
            let Some(before) = rule(&line[..own]) else {
                return self.tenure.take_office(deadline);
            };
            self.wait_gone(&self.place.child(&before.name), patient_until)?;
        }
    }

    /// Waits until it is among the first so many. Each that goes wakes it: for the one that waits
    /// next, and nobody else.
    pub(super) fn wait_among(&self, count: usize, deadline: Instant) -> Result<(), RecipeError> {
        let (client, path) = (&self.place.client, &self.place.path);
        look_again_by(self.tenure.signal(), client, &[path], deadline, || {
            self.tenure.hold()?;
            let line = line(self.place.names(true, deadline)?);
            let Some(own) = line.iter().position(|rival| self.is(rival)) else {
                self.tenure.lose();
                return Err(RecipeError::Lost);
            };
            Ok((own < count).then_some(()))
        })
        .and_then(|()| self.tenure.take_office(deadline))
        .map_err(lost_with_the_session)
    }

    /// Waits until a node is deleted. Whatever else happens to it uses its watch up, so that it is
    /// watched again.
    fn wait_gone(&self, path: &str, deadline: Instant) -> Result<(), RecipeError> {
        let (client, signal) = (&self.place.client, self.tenure.signal());
        let is_gone = Arc::new(AtomicBool::new(false));
        let is_unwatched = Arc::new(AtomicBool::new(true));
        let _subscription = client.on_node(path, {
            let (signal, is_gone) = (Arc::clone(signal), Arc::clone(&is_gone));
            let is_unwatched = Arc::clone(&is_unwatched);
            move |event| {
                let is_end = event.kind == NodeEventKind::NodeDeleted;
                let told = if is_end { &is_gone } else { &is_unwatched };
                told.store(true, Ordering::Release);
                signal.raise();
            }
        });
        loop {
            let seen = signal.raised();
            self.tenure.hold()?;
            if is_gone.load(Ordering::Acquire) {
                return Ok(());
            }
            if is_unwatched.swap(false, Ordering::AcqRel) {
                // Reading data, and not whether it exists: no watch is left at a node that is gone.
                match persist(client, deadline, |client| client.get(path, true)) {
                    Err(RecipeError::Client(ClientError::Server(ErrorCode::NoNode))) => {
                        return Ok(());
                    }
                    asked => drop(asked?),
                }
            }
            if !signal.wait_beyond(seen, deadline) {
                return Err(RecipeError::Deadline);
            }
        }
    }

    /// Whoever calls this deletes the node. Fails where it is lost, and so gone already.
    pub(super) fn retire(&self) -> Result<(), RecipeError> {
        let held = self.tenure.hold();
        self.tenure.end();
        self.is_gone.store(true, Ordering::Release);
        held
    }

    /// Leaves the line in the background, unless it has left.
    pub(super) fn go(&self) {
        self.tenure.end();
        if !self.is_gone.swap(true, Ordering::AcqRel) {
            self.tenure.remove();
        }
    }

    /// Leaves the line, and returns when the next one can go.
    pub(super) fn leave(&self, deadline: Instant) -> Result<(), RecipeError> {
        self.tenure.refuse_inside_callback()?; // else its drop would find it retired
        self.retire()?;
        self.tenure.delete(deadline)
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        self.go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_ordered_by_counters_whoever_named_the_nodes() {
        let names = [
            "_c_f0b0-lock-0000000012",
            "0a1b__lock__0000000003",
            "ready",
            "0000000009",
            "zz-lock-0000000004",
            "_c_1-lock-00000005",
            "é",
        ];
        let line = line(names.map(str::to_owned).to_vec());
        let counters: Vec<u64> = line.iter().map(|rival| rival.counter).collect();
        assert_eq!(counters, [3, 4, 9, 12]);
        assert_eq!(one_at_a_time(&line[..2]).unwrap().counter, 4);
        assert_eq!(one_at_a_time(&line[..0]), None);
    }
}
