//! How few words an observer far away needs until it is sent what it missed: its hello is its question, from the
//! socket of the one to the machine of the other, and back.
//!
//! ```text
//! observer: hello ──►                  ◄── answer, Ballot or Offer :who is dialed
//!           Join ──► … held back …     ◄── what was missed
//! ```

use std::net::SocketAddr;

use farwatch_core::zab::message::{Message, Stance};

use super::sites::{
    NEAR, committed, create, equal_everywhere, guest, lines, patient_client, shown, until_at,
    voters, wire,
};
use super::tap::{Side, Tap, Word};
use crate::ensemble::servers::{Ensemble, PATIENCE, Server, configure, until};
use crate::subject::Chance;

/// A server that looks for a leader also asks by its clock, ten times a second. That may fall between the link and
/// the answer to its hello: of so many beginnings one must be without it.
const BEGINNINGS_MAX: u32 = 20;

/// Begins without anything until `is_so` is true of what was said on a link, up to the history that was sent then.
#[track_caller]
fn begin_until(observer: &mut Server, tap: &Tap, is_so: impl Fn(&[Word]) -> bool) {
    let mut last = Vec::new();
    for beginning in 1..=BEGINNINGS_MAX {
        observer.start();
        until("it is sent what it missed", PATIENCE, || {
            last = tap.told().unwrap_or_default();
            !last.is_empty()
        });
        if is_so(&last) {
            return eprintln!("beginning {beginning}");
        }
        observer.kill();
        observer.wipe();
        tap.forget();
    }
    panic!("of {BEGINNINGS_MAX} beginnings all needed more words, the last {last:?}");
}

fn said(words: &[Word], side: Side) -> impl Iterator<Item = &Message> {
    words.iter().filter(move |(by, _)| *by == side).map(|(_, message)| message)
}

const fn joins(message: &Message) -> bool {
    matches!(message, Message::Join { .. })
}

#[test]
fn a_guest_far_away_is_offered_with_the_answer_to_its_hello_and_its_next_word_is_that_it_joins() {
    let mut chance = Chance::printed("a_guest_joins");
    let ensemble = voters(&[]);
    create(&mut patient_client(ensemble.server(1)), "/value", b"before it came");
    let way = wire(&ensemble, NEAR, &mut chance);
    let tap = Tap::start(&way.places()[..1]);
    let mut observer = guest(&ensemble, 11, tap.places(), &[]);
    begin_until(&mut observer, &tap, |words| {
        let offered = matches!(words.first(), Some((Side::Target, Message::Offer(_))));
        offered && said(words, Side::Dialer).all(joins)
    });
    until_at(&observer, committed(&ensemble));
    equal_everywhere(&ensemble, &[&observer]);
}

/// An observer of the configuration, which finds the voters at `places`.
fn listed(ensemble: &mut Ensemble, observer: &Server, places: &[SocketAddr]) {
    let line = format!("server.4={}:{}:1:observer", observer.quorum.ip(), observer.quorum.port());
    let lines = lines(&[&line]);
    let members = ensemble.members();
    let afar = (members.iter().zip(places)).map(|(&(number, _), &place)| (number, place));
    configure(observer, &afar.collect::<Vec<_>>(), &lines);
    for server in &ensemble.servers {
        configure(server, &members, &lines);
    }
}

#[test]
fn an_observer_of_the_list_is_told_who_leads_with_the_answer_to_its_hello_and_joins() {
    let mut chance = Chance::printed("a_listed_observer_joins");
    let mut ensemble = Ensemble::configured(3, &Default::default());
    let way = wire(&ensemble, NEAR, &mut chance);
    let tap = Tap::start(way.places());
    let mut observer = ensemble.another("listed", 4);
    listed(&mut ensemble, &observer, tap.places());
    ensemble.start_all();
    ensemble.until_all_serve();
    create(&mut patient_client(ensemble.server(1)), "/value", b"before it came");
    begin_until(&mut observer, &tap, |words| {
        let Some(((Side::Target, Message::Ballot(ballot)), rest)) = words.split_first() else {
            return false;
        };
        // It may tell whom it hears now. What it joins by is the first thing that it was told.
        let mut next = rest.iter().take_while(|(by, _)| *by == Side::Dialer);
        ballot.stance == Stance::Leading && next.any(|(_, message)| joins(message))
    });
    until_at(&observer, committed(&ensemble));
    let seen = shown(&mut patient_client(&observer), "/value");
    assert_eq!(seen.as_deref(), Some("before it came"));
}
