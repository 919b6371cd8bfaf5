//! What who dials asks with its hello, and where it is not taken for a question.

use super::super::handshake::{BLOCKS, ECHOES, QUESTIONS};
use super::*;

const GUEST: u32 = ServerId::GUEST_MIN.0 + 1;

fn place(at: SocketAddr) -> (String, u16) {
    (at.ip().to_string(), at.port())
}

/// A guest that dials this, whoever is there.
fn learns_from(at: SocketAddr) -> PeerOptions {
    PeerOptions { votes: false, upstreams: vec![place(at)], ..options(GUEST, Vec::new()) }
}

fn seeks() -> PeerEvent {
    PeerEvent::Received { from: id(GUEST), message: Message::Seek }
}

#[test]
fn who_dials_whoever_is_there_asks_with_its_hello_what_is_offered() {
    on_each_driver(|| async {
        let one = Server::start(listener(), options(1, Vec::new()));
        let guest = Server::start(listener(), learns_from(one.at));
        one.until(&connected(GUEST)).await;
        guest.until(&connected(1)).await;
        assert_eq!(*one.questions.borrow(), [seeks()], "it comes with the link");
        let asked = guest.peers.asked(id(1)).expect("it was asked");
        assert!(asked < PATIENCE, "{asked:?}");
        assert_eq!(one.peers.asked(id(GUEST)), None, "who accepts has asked nothing");
        // Each link asks once.
        guest.peers.0.cut(&guest.peers.0.links()[0], "for the test");
        one.until(&connected(GUEST)).await;
        assert_eq!(*one.questions.borrow(), [seeks(), seeks()]);
    });
}

#[test]
fn who_does_not_vote_asks_a_server_of_its_list_who_leads_and_one_that_votes_asks_nothing() {
    on_each_driver(|| async {
        for votes in [false, true] {
            let port = listener();
            let nowhere = listener().local_addr().unwrap();
            let listed = PeerAddress { votes, ..voter(2, nowhere) };
            let one = Server::start(port, options(1, vec![listed]));
            let own = options(2, vec![voter(1, one.at)]);
            let two = Server::start(listener(), PeerOptions { votes, ..own });
            one.until(&connected(2)).await;
            two.until(&connected(1)).await;
            let wanted = if votes { vec![] } else { vec![PeerEvent::Asked(id(2))] };
            assert_eq!(*one.questions.borrow(), wanted);
            assert_eq!(two.peers.asked(id(1)), None, "it does not learn from a list");
        }
    });
}

#[test]
fn a_hello_of_who_is_refused_or_does_not_know_questions_asks_nothing() {
    on_each_driver(|| async {
        let own = PeerOptions { guests_max: 1, ..options(1, Vec::new()) };
        let one = Server::start(listener(), own);
        let asks = |number: u32, capabilities: u64| Hello {
            votes: false,
            capabilities,
            ..hello(number, ServerId::ANYONE.0, 1)
        };
        let mut older = Raw::connect(one.at);
        let answer = older.greet(&asks(GUEST, ECHOES | BLOCKS)).await;
        assert_eq!(answer.verdict, Ok(1));
        assert_ne!(answer.hello.capabilities & QUESTIONS, 0);
        let mut second = Raw::connect(one.at);
        let answer = second.greet(&asks(GUEST + 1, u64::MAX)).await;
        assert_eq!(answer.verdict.expect_err("there is no room").code, 9);
        second.ended().await;
        drop(older);
        one.until(&disconnected(GUEST)).await;
        assert_eq!(*one.questions.borrow(), []);
    });
}

#[test]
fn who_is_asked_and_does_not_know_questions_is_asked_again() {
    on_each_driver(|| async {
        let port = listener();
        let at = port.local_addr().unwrap();
        let guest = Server::start(listener(), learns_from(at));
        let port = runtime::Listener::new(port).expect("it listens");
        let (stream, _) = port.accept().await.expect("it dials");
        let (read, write, socket) = wire::open(stream).expect("a connection");
        let mut raw = Raw { read, write, socket, input: Vec::with_capacity(ANSWER_BYTES_MAX) };
        while !matches!(Hello::decode(&raw.input), Ok(Arrived::Whole(..))) {
            assert!(raw.read().await, "it says hello");
        }
        let older = Hello { capabilities: ECHOES, ..hello(5, GUEST, 1) };
        let mut answer = Vec::new();
        Answer { hello: older, verdict: Ok(1) }.encode(&mut answer);
        raw.send(&answer).await.expect("it listens");
        guest.until(&connected(5)).await;
        assert_eq!(guest.peers.asked(id(5)), None);
        raw.socket.forget();
    });
}
