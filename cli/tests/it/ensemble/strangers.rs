//! Who is turned away, and that both sides say why.

use farwatch_bench::raw::{Connection, Handshake};

use super::servers::{Ensemble, Layout, PATIENCE, Server, configure, leads, until};

/// Whether a server names the reason: in its log, which speaks of one peer once a minute, or to
/// whoever asks for its state.
fn says(server: &Server, reason: &str) -> bool {
    let errors = server.report().into_iter().flat_map(|report| report.peers);
    server.log().contains(reason)
        || errors.filter_map(|peer| peer.last_error).any(|error| error.contains(reason))
}

/// Both servers name the reason.
#[track_caller]
fn both_say(ensemble: &Ensemble, other: &Server, reason: &str) {
    for server in [ensemble.server(1), other] {
        until(&format!("server {} says {reason:?}", server.number), PATIENCE, || {
            says(server, reason)
        });
    }
}

#[test]
fn a_server_that_nobody_lists_is_refused_with_a_reason_on_both_sides() {
    let ensemble = Ensemble::start(&[]);
    let before = ensemble.leader();
    let mut members = ensemble.members();
    let mut stranger = ensemble.beside("stranger", 4, |own| {
        members.push((4, own));
        members
    });
    stranger.start();
    both_say(&ensemble, &stranger, "server 4 is not in the configuration of server 1");
    assert_eq!(ensemble.leader(), before, "a stranger disturbed the ensemble");
}

#[test]
fn a_server_whose_list_names_others_than_the_ensembles_says_so() {
    let mut ensemble = Ensemble::configured(3, &Layout::with(&[]));
    let stranger = ensemble.another("stranger", 4);
    let mut members = ensemble.members();
    members.push((4, stranger.quorum));
    configure(ensemble.server(1), &members, &[]);
    ensemble.start_all();
    ensemble.until_all_serve();
    let (leader, _) = ensemble.leader();
    let (says, list) = if leader == 1 { (2, "1, 2, 3, 4") } else { (1, "1, 2, 3") };
    let warning =
        format!("the ensemble's list names the servers {list}, that of this server 1, 2, 3");
    ensemble.server(says).until_it_says(&warning);
    let agreeing = if leader == 1 { 1 } else { 5 - leader };
    assert!(!says_of_lists(ensemble.server(agreeing)) && !says_of_lists(ensemble.server(leader)));
}

fn says_of_lists(server: &Server) -> bool {
    server.log().contains("the ensemble's list names the servers")
}

#[test]
fn a_second_server_of_a_number_is_refused_with_a_reason_on_both_sides() {
    let ensemble = Ensemble::start(&[]);
    let before = ensemble.leader();
    let mut double = ensemble.beside("double", 3, |own| {
        let others = ensemble.members().into_iter().filter(|(number, _)| *number != 3);
        others.chain([(3, own)]).collect()
    });
    double.start();
    both_say(&ensemble, &double, "server 3 is already connected from");
    assert_eq!(ensemble.leader(), before, "the double disturbed the ensemble");
}

#[test]
fn a_server_of_another_ensemble_is_refused_with_a_reason_on_both_sides() {
    let mut ensemble = Ensemble::start(&[]);
    ensemble.server_mut(3).kill();
    ensemble.leader();
    // It has founded an ensemble of its own before.
    let mut other = ensemble.beside("other", 3, |own| vec![(3, own)]);
    configure(&other, &[(3, other.quorum)], &["standaloneEnabled=false".to_owned()]);
    other.start();
    until("it leads alone", PATIENCE, || other.report().is_some_and(|report| leads(&report)));
    assert!(other.terminate().success());
    let others = ensemble.members().into_iter().filter(|(number, _)| *number != 3);
    let members: Vec<_> = others.chain([(3, other.quorum)]).collect();
    configure(&other, &members, &[]);
    other.start();
    both_say(&ensemble, &other, "they must not share a history");
}

#[test]
fn a_client_that_has_seen_more_than_a_server_is_sent_elsewhere() {
    let ensemble = Ensemble::start(&[]);
    for server in ensemble.clients() {
        let mut early = Connection::open(server).expect("a connection");
        let seen = Handshake { last_zxid_seen: 0x7_0000_0000, ..Handshake::default() };
        early.send_frame(seen.encode().as_bytes()).expect("sent");
        early.expect_close().expect("a close, for its client to look for another server");
    }
}
