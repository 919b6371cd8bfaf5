//! Long lists of children that are asked for again, as they go into a reply.
//!
//! Each name of a list stands in its own node, anywhere in memory: to gather a hundred thousand takes several times
//! as long as to copy them from one place. What made the children what they are, the transaction that created the
//! node and the last one that created or deleted a child, is in the node, so no list has to be taken back: one that
//! is of another state is not found. A list is kept from the second time on that it is asked for in the same state;
//! a directory that changes between any two reads costs nothing.

/// Shorter ones are gathered at least as fast as they are found here.
const CHILDREN_MIN: i32 = 1_000;

/// What all lists that are kept take at most, of one reactor.
const BYTES_MAX: usize = 16 << 20;

/// How many directories are remembered.
const DIRECTORIES_MAX: usize = 64;

/// What the children of a node are: the zxids of its creation and of the last change of its children, and how many
/// there are, as creates at the end of the counter of changes leave no other trace.
pub(super) type State = (i64, i64, i32);

struct Directory {
    path: Box<[u8]>,
    state: State,
    /// As in a reply, the count first; empty when it was asked for only once.
    list: Box<[u8]>,
    /// When it was asked for last, counted in asks.
    asked: u64,
}

#[derive(Default)]
pub(super) struct Lists {
    directories: Vec<Directory>,
    bytes: usize,
    asks: u64,
}

impl Lists {
    /// Whether a list so long is worth it.
    pub(super) const fn takes(children: i32) -> bool {
        CHILDREN_MIN <= children
    }

    /// The list of `path` in this state, if it is kept.
    pub(super) fn get(&mut self, path: &[u8], state: State) -> Option<&[u8]> {
        self.asks += 1;
        let found = self.directories.iter_mut().find(|it| *it.path == *path)?;
        if found.state != state || found.list.is_empty() {
            return None;
        }
        found.asked = self.asks;
        Some(&found.list)
    }

    /// This is what `path` was answered with in this state.
    pub(super) fn answered(&mut self, path: &[u8], state: State, list: &[u8]) {
        let asked = self.asks;
        let Some(at) = self.directories.iter().position(|it| *it.path == *path) else {
            while DIRECTORIES_MAX <= self.directories.len() {
                self.forget_oldest();
            }
            let (path, list) = (path.into(), Box::default());
            return self.directories.push(Directory { path, state, list, asked });
        };
        let found = &mut self.directories[at];
        found.asked = asked;
        if found.state != state {
            found.state = state;
            self.bytes -= std::mem::take(&mut found.list).len();
        } else if found.list.is_empty() && list.len() <= BYTES_MAX {
            found.list = list.into();
            self.bytes += list.len();
            while BYTES_MAX < self.bytes {
                self.forget_oldest();
            }
        }
    }

    fn forget_oldest(&mut self) {
        let ages = self.directories.iter().enumerate().min_by_key(|(_, it)| it.asked);
        if let Some((oldest, _)) = ages {
            self.bytes -= self.directories.swap_remove(oldest).list.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn state(changed: i64) -> State {
        (1, changed, 1)
    }

    #[test]
    fn a_list_is_kept_when_it_is_asked_for_again_and_not_found_once_the_children_changed() {
        let mut lists = Lists::default();
        assert_eq!(lists.get(b"/a", state(5)), None);
        lists.answered(b"/a", state(5), b"first");
        assert_eq!(
            lists.get(b"/a", state(5)),
            None,
            "a directory that changes all the time costs nothing"
        );
        lists.answered(b"/a", state(5), b"first");
        assert_eq!(lists.get(b"/a", state(5)), Some(&b"first"[..]));
        assert_eq!(lists.get(b"/a", state(6)), None);
        assert_eq!(lists.get(b"/a", (2, 5, 1)), None, "another node of that name");
        assert_eq!(lists.get(b"/b", state(5)), None);
        lists.answered(b"/a", state(6), b"second");
        lists.answered(b"/a", state(6), b"second");
        assert_eq!(lists.get(b"/a", state(6)), Some(&b"second"[..]));
        assert_eq!(lists.bytes, 6);
    }

    #[test]
    fn what_was_not_asked_for_the_longest_goes_when_there_is_no_room() {
        let mut lists = Lists::default();
        let half = vec![b'x'; BYTES_MAX / 2];
        for path in [b"/a", b"/b", b"/c"] {
            for _ in 0..2 {
                lists.get(path, state(1));
                lists.answered(path, state(1), &half);
            }
            lists.get(b"/a", state(1));
        }
        assert!(lists.get(b"/a", state(1)).is_some() && lists.get(b"/c", state(1)).is_some());
        assert!(lists.get(b"/b", state(1)).is_none() && lists.bytes <= BYTES_MAX);
        for at in 0..2 * DIRECTORIES_MAX {
            lists.get(b"/c", state(1));
            lists.answered(format!("/{at}").as_bytes(), state(1), b"short");
        }
        assert_eq!(lists.directories.len(), DIRECTORIES_MAX);
        assert!(lists.get(b"/c", state(1)).is_some(), "it was asked for all the time");
        for _ in 0..2 {
            lists.answered(b"/long", state(1), &vec![b'x'; BYTES_MAX + 1]);
        }
        assert!(lists.get(b"/long", state(1)).is_none());
    }
}
