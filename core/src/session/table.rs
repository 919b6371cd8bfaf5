//! The sessions that exist, packed: ids are given in rising order by each server, and a table that leaves half
//! of its places free for others to come between would take twice the memory.

use super::Session;
use crate::txn::{Txn, TxnHead};
use crate::zxid::SessionId;

/// Sessions of a piece at most: what one more moves, and what a table of one session takes at most.
const PIECE_MAX: usize = 64;

/// A piece and the next are made one where they have no more than so many together.
const JOINED_MAX: usize = PIECE_MAX / 2;

/// A session and its id. In steps of 4 bytes, as there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, packed(4))]
struct Entry {
    id: SessionId,
    session: Session,
}

const _: () = assert!(size_of::<Entry>() == 28);

/// Sessions one behind the other, by id; at least one.
#[derive(Clone, Debug)]
struct Piece {
    /// The first one's, so that a search need not look into each piece.
    first: SessionId,
    entries: Vec<Entry>,
}

impl Piece {
    fn of(entry: Entry) -> Self {
        Self { first: entry.id, entries: vec![entry] }
    }

    fn find(&self, id: SessionId) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&id, |entry| entry.id)
    }
}

/// The sessions that exist at one zxid, by id, the same on every server.
#[derive(Clone, Debug, Default)]
pub struct SessionTable {
    /// By id.
    pieces: Vec<Piece>,
    len: usize,
}

impl PartialEq for SessionTable {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SessionTable {}

impl SessionTable {
    /// No session.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies a transaction. Only the begin and the end of a session change anything here.
    pub fn apply(&mut self, head: &TxnHead, txn: &Txn<'_>) {
        match *txn {
            Txn::CreateSession { timeout_ms, password } => {
                self.insert(head.session, Session { timeout_ms, password });
            }
            Txn::CloseSession => self.remove(head.session),
            Txn::Create(_)
            | Txn::Delete { .. }
            | Txn::SetData { .. }
            | Txn::SetAcl { .. }
            | Txn::Check { .. }
            | Txn::Error(_)
            | Txn::Multi(_) => {}
        }
    }

    /// Adds a session, as from a snapshot. The id that stands for none is none whatever says so: what
    /// is durable is applied by every server at every start, and must not end it.
    pub fn insert(&mut self, id: SessionId, session: Session) {
        if id == SessionId::NONE {
            return;
        }
        let entry = Entry { id, session };
        let at = self.piece_of(id).unwrap_or(0); // smaller than all: the first of the first piece
        let Some(piece) = self.pieces.get_mut(at) else {
            self.pieces.push(Piece::of(entry));
            self.len = 1;
            return;
        };
        match piece.find(id) {
            Ok(found) => piece.entries[found] = entry,
            Err(place) => {
                self.len += 1;
                self.put(at, place, entry);
            }
        }
    }

    /// Puts an entry into a piece. A full one is parted where the entry belongs, and not in the middle: those
    /// that come next mostly belong behind it, and fill its part.
    fn put(&mut self, at: usize, place: usize, entry: Entry) {
        let piece = &mut self.pieces[at];
        let len = piece.entries.len();
        if len < PIECE_MAX {
            if len == piece.entries.capacity() {
                piece.entries.reserve_exact(len.min(PIECE_MAX - len)); // a piece has one at least
            }
            piece.entries.insert(place, entry);
            piece.first = piece.entries[0].id;
            return;
        }
        if place < PIECE_MAX {
            let entries = piece.entries[place..].to_vec();
            let first = entries[0].id;
            piece.entries.truncate(place);
            self.pieces.insert(at + 1, Piece { first, entries });
        }
        if place == 0 || place == PIECE_MAX {
            // Before the first or behind the last of a full piece, which stays as it is.
            let own = Piece::of(entry);
            if place == 0 { self.pieces[at] = own } else { self.pieces.insert(at + 1, own) }
        } else {
            self.pieces[at].entries.push(entry);
        }
    }

    fn remove(&mut self, id: SessionId) {
        let Some(at) = self.piece_of(id) else { return };
        let piece = &mut self.pieces[at];
        let Ok(found) = piece.find(id) else { return };
        piece.entries.remove(found);
        self.len -= 1;
        match piece.entries.first() {
            Some(entry) => piece.first = entry.id,
            None => drop(self.pieces.remove(at)),
        }
        self.join(at);
        self.join(at.saturating_sub(1));
    }

    /// Makes the piece at `at` and the next one, if both have few.
    fn join(&mut self, at: usize) {
        let Some([piece, next]) = self.pieces.get_mut(at..).and_then(<[_]>::first_chunk_mut) else {
            return;
        };
        if piece.entries.len() + next.entries.len() <= JOINED_MAX {
            piece.entries.append(&mut next.entries);
            piece.entries.shrink_to(JOINED_MAX);
            self.pieces.remove(at + 1);
        }
    }

    /// The piece that has this id if any has: the last that begins with it or before it.
    fn piece_of(&self, id: SessionId) -> Option<usize> {
        self.pieces.partition_point(|piece| piece.first <= id).checked_sub(1)
    }

    /// The session with this id.
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        let piece = &self.pieces[self.piece_of(id)?];
        Some(&piece.entries[piece.find(id).ok()?].session)
    }

    /// Whether there is such a session.
    pub fn contains(&self, id: SessionId) -> bool {
        self.get(id).is_some()
    }

    /// Whether `password` is what the session was given. An unknown session matches nothing.
    pub fn verify(&self, id: SessionId, password: Option<&[u8]>) -> bool {
        self.get(id).is_some_and(|session| session.password.matches(password))
    }

    /// All sessions, by id.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        let entries = self.pieces.iter().flat_map(|piece| &piece.entries);
        entries.map(|entry| (entry.id, &entry.session))
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no session.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes on the heap, for the memory budget.
    pub fn heap_bytes(&self) -> usize {
        let entries: usize = self.pieces.iter().map(|piece| piece.entries.capacity()).sum();
        self.pieces.capacity() * size_of::<Piece>() + entries * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::prng::Prng;
    use crate::wire::handshake::Password;
    use crate::zxid::Zxid;

    fn session(number: u64) -> Session {
        Session { timeout_ms: number as i32, password: Password([number as u8; 16]) }
    }

    fn end(table: &mut SessionTable, id: u64) {
        let head = TxnHead { zxid: Zxid(1), time_ms: 0, session: SessionId(id), cxid: 0 };
        table.apply(&head, &Txn::CloseSession);
    }

    fn check(table: &SessionTable, model: &BTreeMap<u64, Session>) {
        assert_eq!(table.len(), model.len());
        assert!(
            table.iter().map(|(id, it)| (id.0, *it)).eq(model.iter().map(|(&id, &it)| (id, it)))
        );
        for piece in &table.pieces {
            assert_eq!(Some(piece.first), piece.entries.first().map(|entry| entry.id));
            assert!(piece.entries.len() <= PIECE_MAX);
        }
    }

    #[test]
    fn a_table_is_a_map_by_id_in_whatever_order_sessions_come_and_go() {
        let mut prng = Prng::new(8);
        for ids in [20, 300, 5000_u64] {
            let (mut table, mut model) = (SessionTable::new(), BTreeMap::new());
            for step in 0..6000 {
                let id = 1 + prng.below(ids);
                // It grows, and shrinks again.
                if prng.below(10) < (if step < 3000 { 7 } else { 3 }) {
                    table.insert(SessionId(id), session(step));
                    model.insert(id, session(step));
                } else {
                    end(&mut table, id);
                    model.remove(&id);
                }
                assert_eq!(table.get(SessionId(id)), model.get(&id));
                if step % 500 == 0 {
                    check(&table, &model);
                }
            }
            check(&table, &model);
            for id in 0..=ids {
                assert_eq!(table.get(SessionId(id)), model.get(&id));
                end(&mut table, id);
            }
            assert!(table.is_empty() && table.pieces.is_empty());
        }
    }

    #[test]
    fn equal_tables_are_equal_however_they_came_to_be() {
        let (mut up, mut down) = (SessionTable::new(), SessionTable::new());
        for id in 1..=1000 {
            up.insert(SessionId(id), session(id));
            down.insert(SessionId(1001 - id), session(1001 - id));
        }
        assert_eq!(up, down);
        end(&mut down, 7);
        assert_ne!(up, down);
    }

    /// Each server's ids rise, and lie between those of others.
    #[test]
    fn a_session_takes_little_more_than_its_numbers_and_gives_them_back() {
        let mut table = SessionTable::new();
        let ids = (0..30_000_u64).map(|at| (1 + at % 3) << 56 | at);
        for id in ids.clone() {
            table.insert(SessionId(id), session(id));
        }
        let each = table.heap_bytes() / table.len();
        assert!(each <= 31, "{each} bytes");
        for id in ids.filter(|id| !id.is_multiple_of(100)) {
            end(&mut table, id);
        }
        assert_eq!(table.len(), 300);
        let each = table.heap_bytes() / table.len();
        assert!(each < 200, "{each} bytes, where the pieces were never joined");
    }
}
