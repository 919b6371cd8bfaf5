//! Many that read, or one that writes.

use std::time::Instant;

use super::contender::{Contender, Rival, Rule, one_at_a_time};
use super::place::Place;
use super::{LockGuard, RecipeError};
use crate::client::Client;
use crate::operation::Acl;

/// As Curator's `InterProcessReadWriteLock` names its nodes.
const READ_MARKER: &str = "-__READ__";
const WRITE_MARKER: &str = "-__WRIT__";

/// What nodes of readers have in their names: Curator's and kazoo's. All others write.
const READERS: [&str; 2] = ["__READ__", "__rlock__"];

/// A lock at a path that readers share and writers do not. Fair: who comes behind a writer that waits,
/// waits behind it. Not reentrant; a reader cannot become a writer without a release.
///
/// Curator's `InterProcessReadWriteLock` at the same path contends with it, and so do kazoo's `ReadLock`
/// and `WriteLock` where they are told how nodes are called: `docs/recipes.md`.
#[derive(Clone, Debug)]
pub struct ReadWriteLock {
    place: Place,
}

/// A reader waits for the last writer in front of it. All that are behind one writer can go at once
/// when it leaves, and only they are woken.
fn behind_the_last_writer(before: &[Rival]) -> Option<&Rival> {
    let reads = |rival: &&Rival| READERS.iter().any(|marker| rival.name.contains(marker));
    before.iter().rev().find(|rival| !reads(rival))
}

impl ReadWriteLock {
    /// The lock at `path`, which is made when it is first needed. Does not block.
    pub fn new(client: &Client, path: &str) -> Self {
        Self { place: Place::new(client, path) }
    }

    /// With these rights on what is created. Default: [`Acl::open`].
    #[must_use]
    pub fn with_acl(mut self, acl: Vec<Acl>) -> Self {
        self.place.acl = acl;
        self
    }

    /// Waits until nobody writes. Blocks. Readers share the lock, and their tokens are not ordered
    /// by who acts: a fence admits those of writers.
    pub fn read(&self, deadline: Instant) -> Result<LockGuard, RecipeError> {
        self.enter(READ_MARKER, behind_the_last_writer, deadline)
    }

    /// Waits until nobody else reads or writes. Blocks.
    pub fn write(&self, deadline: Instant) -> Result<LockGuard, RecipeError> {
        self.enter(WRITE_MARKER, one_at_a_time, deadline)
    }

    fn enter(&self, marker: &str, rule: Rule, until: Instant) -> Result<LockGuard, RecipeError> {
        let contender = Contender::enter(&self.place, marker, b"", until)?;
        contender.wait_turn(rule, until)?;
        Ok(LockGuard::of(contender))
    }
}

#[cfg(test)]
mod tests {
    use super::super::contender::line;
    use super::*;

    #[test]
    fn a_reader_waits_for_the_last_writer_of_any_library_and_for_no_reader() {
        let names = ["a-__READ__0000000001", "b__lock__0000000002", "c__rlock__0000000003"];
        let line = line(names.map(str::to_owned).to_vec());
        assert_eq!(behind_the_last_writer(&line).unwrap().counter, 2);
        assert_eq!(behind_the_last_writer(&line[..1]), None);
        assert_eq!(one_at_a_time(&line).unwrap().counter, 3);
    }
}
