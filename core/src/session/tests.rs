use std::collections::BTreeMap;

use super::*;
use crate::txn::{Txn, TxnHead};
use crate::zxid::Zxid;

fn head(session: u64) -> TxnHead {
    TxnHead { zxid: Zxid(1), time_ms: 0, session: SessionId(session), cxid: 0 }
}

fn due(expiry: &mut Expiry, now_ms: i64) -> Vec<u64> {
    let mut out = Vec::new();
    expiry.due(now_ms, &mut out);
    let mut ids: Vec<u64> = out.into_iter().map(|due| due.session.0).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_table_follows_the_transactions_that_begin_and_end_sessions() {
    let mut table = SessionTable::new();
    let create = Txn::CreateSession { timeout_ms: 6000, password: Password([7; 16]) };
    table.apply(&head(9), &create);
    table.apply(&head(3), &create);
    table.apply(&head(4), &Txn::CloseSession);
    table.apply(&head(3), &Txn::Delete { path: b"/a" });
    assert_eq!(table.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [3, 9]);
    assert!(table.verify(SessionId(9), Some(&[7; 16])));
    assert!(!table.verify(SessionId(9), Some(&[7; 15])));
    assert!(!table.verify(SessionId(9), None));
    assert!(!table.verify(SessionId(8), Some(&[0; 16])));
    table.apply(&head(9), &Txn::CloseSession);
    assert!(!table.contains(SessionId(9)) && table.contains(SessionId(3)));
}

/// A log that says otherwise is applied at every start by every server.
#[test]
fn the_id_of_none_is_no_session_whatever_is_durable() {
    let mut table = SessionTable::new();
    let create = Txn::CreateSession { timeout_ms: 6000, password: Password([7; 16]) };
    table.apply(&head(0), &create);
    assert!(table.is_empty());
    table.apply(&head(0), &Txn::CloseSession);
}

/// B2.
#[test]
fn timeouts_are_kept_within_two_and_twenty_ticks() {
    let limits = TimeoutLimits::of_tick(3000);
    for (requested, negotiated) in
        [(0, 6000), (-5, 6000), (1_000_000, 60_000), (10_000, 10_000), (i32::MIN, 6000)]
    {
        assert_eq!(limits.negotiate(requested), negotiated);
    }
}

#[test]
fn ids_carry_their_server_and_pass_over_what_lives() {
    let mut ids = SessionIds::new(ServerId(1), 0x21_33c0).unwrap();
    let mut table = SessionTable::new();
    assert_eq!(ids.allocate(|id| table.contains(id)).0, 0x0100_0021_33c0_0000);
    table.insert(
        SessionId(0x0100_0021_33c0_0001),
        Session { timeout_ms: 1, password: Password::ZERO },
    );
    assert_eq!(ids.allocate(|id| table.contains(id)).0, 0x0100_0021_33c0_0002);
    let mut at_zero = SessionIds::new(ServerId(0), 0).unwrap();
    assert_eq!(at_zero.allocate(|id| table.contains(id)).0, 1);
    let mut at_container = SessionIds::new(ServerId(128), 0).unwrap();
    assert_eq!(at_container.allocate(|id| table.contains(id)).0, (1 << 63) + 1);
    let mut last = SessionIds { first: 0, next: 0x02ff_ffff_ffff_ffff };
    last.allocate(|id| table.contains(id));
    let over = last.allocate(|id| table.contains(id)).0 >> 56;
    assert_eq!(over, 2, "no server gives away another's ids");
    assert_eq!(SessionIds::new(ServerId(255), 0).unwrap_err(), ServerIdTooLarge(255));
    assert!(SessionIds::new(ServerId(254), i64::MAX).is_ok());
}

/// J2, J4: 3000 ms at a tick of 1000 die at 4000 after the last touch at a tick's start.
#[test]
fn a_silent_session_ends_between_its_timeout_and_a_tick_later() {
    for heard_ms in [0, 1, 500, 999, 1000, 12_345] {
        let mut expiry = Expiry::new(1000);
        expiry.add(SessionId(1), 3000, heard_ms);
        let due_ms = expiry.next_due_ms().unwrap();
        assert!(heard_ms + 3000 < due_ms && due_ms <= heard_ms + 4000);
        assert!(due(&mut expiry, due_ms - 1).is_empty());
        assert_eq!(due(&mut expiry, due_ms), [1]);
        assert!(expiry.is_empty() && expiry.next_due_ms().is_none());
    }
}

#[test]
fn a_touch_prolongs_and_a_late_report_does_not_shorten() {
    let mut expiry = Expiry::new(1000);
    expiry.add(SessionId(1), 3000, 0);
    expiry.add(SessionId(2), 3000, 0);
    assert!(expiry.touch(SessionId(1), 3000, 2500));
    assert!(expiry.touch(SessionId(1), 3000, 100));
    assert!(!expiry.touch(SessionId(3), 3000, 100));
    assert_eq!(due(&mut expiry, 4000), [2]);
    assert!(due(&mut expiry, 5999).is_empty());
    assert_eq!(due(&mut expiry, 6000), [1]);
    // A reconnect that negotiated less is over earlier.
    expiry.add(SessionId(4), 60_000, 0);
    expiry.touch(SessionId(4), 2000, 10);
    assert_eq!(expiry.next_due_ms(), Some(3000));
    assert_eq!(due(&mut expiry, 3000), [4]);
}

#[test]
fn a_pause_in_which_nobody_could_be_heard_is_added_to_every_silence_that_is_borne() {
    let mut expiry = Expiry::new(1000);
    expiry.add(SessionId(1), 3000, 0);
    expiry.add(SessionId(2), 3000, 1900);
    expiry.forgive(1500, 2500);
    assert_eq!(due(&mut expiry, 4999), [] as [u64; 0]);
    assert_eq!(due(&mut expiry, 5000), [1], "1500 ms longer than from 0 on");
    assert_eq!(due(&mut expiry, 6000), [2], "as if it had been heard at the end, and not later");
}

#[test]
fn who_is_due_and_not_taken_yet_is_watched_on() {
    let mut expiry = Expiry::new(1000);
    for id in 1..=4 {
        expiry.add(SessionId(id), 3000, 0);
    }
    let take = |expiry: &mut Expiry, now_ms| expiry.take_due(now_ms).map(|due| due.session);
    let mut gone = vec![take(&mut expiry, 4000).expect("all are due")];
    let left: Vec<SessionId> = (1..=4).map(SessionId).filter(|id| !gone.contains(id)).collect();
    assert_eq!(expiry.len(), 3);
    assert!(expiry.touch(left[0], 3000, 4001), "it is not known any more");
    assert!(expiry.remove(left[1]));
    gone.extend(take(&mut expiry, 4050));
    assert_eq!((gone[1], take(&mut expiry, 4050)), (left[2], None));
    assert_eq!(due(&mut expiry, 8000), [left[0].0]);
    assert!(expiry.is_empty());
}

#[test]
fn the_wheel_says_what_a_scan_of_all_sessions_says() {
    for seed in 1..40_u64 {
        let mut state = seed;
        let mut below = |bound: u64| {
            state =
                state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
            (state >> 33) % bound
        };
        let mut expiry = Expiry::new(10);
        let mut model = BTreeMap::<u64, (i64, i32)>::new();
        let mut now_ms = 0;
        for _ in 0..600 {
            now_ms += below(6) as i64;
            let id = 1 + below(25);
            let timeout_ms = 20 + below(100) as i32;
            match below(8) {
                0 | 1 => {
                    expiry.add(SessionId(id), timeout_ms, now_ms);
                    model.insert(id, (now_ms, timeout_ms));
                }
                2..=5 => {
                    let heard_ms = now_ms - below(30) as i64;
                    let is_known = expiry.touch(SessionId(id), timeout_ms, heard_ms);
                    assert_eq!(is_known, model.contains_key(&id), "seed {seed}");
                    if let Some(entry) = model.get_mut(&id).filter(|entry| entry.0 <= heard_ms) {
                        *entry = (heard_ms, timeout_ms);
                    }
                }
                6 => {
                    assert_eq!(expiry.remove(SessionId(id)), model.remove(&id).is_some());
                }
                _tick => {
                    let is_over = |(heard, timeout): (i64, i32)| {
                        ((heard + i64::from(timeout)) / 10 + 1) * 10 <= now_ms
                    };
                    let over: Vec<_> =
                        model.iter().filter(|entry| is_over(*entry.1)).map(|(&id, _)| id).collect();
                    model.retain(|_, entry| !is_over(*entry));
                    assert_eq!(due(&mut expiry, now_ms), over, "seed {seed} at {now_ms}");
                }
            }
            assert_eq!(expiry.len(), model.len(), "seed {seed}");
        }
    }
}

/// A hundred thousand sessions of one timeout, all touched: the bucket that is due moves whole.
#[test]
fn a_hundred_thousand_sessions_take_few_bytes_each() {
    const SESSIONS: u64 = 100_000;
    let mut expiry = Expiry::new(1000);
    let mut table = SessionTable::new();
    let mut ids = SessionIds::new(ServerId(1), 1_700_000_000_000).unwrap();
    for _ in 0..SESSIONS {
        let id = ids.allocate(|id| table.contains(id));
        table.insert(id, Session { timeout_ms: 30_000, password: Password([1; 16]) });
        expiry.add(id, 30_000, 0);
    }
    for (id, _) in table.iter() {
        assert!(expiry.touch(id, 30_000, 20_000));
    }
    assert!(due(&mut expiry, 31_000).is_empty());
    // A map's leaf holds 11 entries and is at least half full but for the last one; ids that rise
    // leave it at six.
    let leaf = 11 * (size_of::<SessionId>() + size_of::<Session>()) + 16;
    let table_bytes = table.len().div_ceil(6) * leaf;
    let per_session = (expiry.heap_bytes() + table_bytes) / SESSIONS as usize;
    assert!(per_session <= 120, "{per_session} bytes for each session");
    assert_eq!(due(&mut expiry, 51_000).len() as u64, SESSIONS);
}
