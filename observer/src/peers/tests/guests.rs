//! Observers that are in no list: who is taken in, how many, and how fast.

use super::*;

const FIRST: u32 = ServerId::GUEST_MIN.0;

/// Server 1, which takes in guests as `options` and `limits` say.
fn host(guests_max: usize, limits: PeerLimits) -> Server {
    let own = options(1, Vec::new());
    Server::start(listener(), PeerOptions { guests_max, limits, ..own })
}

fn observer(number: u32, of: &Server) -> PeerOptions {
    PeerOptions { votes: false, ..options(number, vec![voter(1, of.at)]) }
}

fn guest_hello(number: u32, boot: u64) -> Hello {
    Hello { votes: false, ..hello(number, 1, boot) }
}

#[test]
fn a_guest_is_linked_like_any_other_and_forgotten_when_it_leaves() {
    on_each_driver(|| async {
        let one = host(GUESTS_MAX, PeerLimits::default());
        let guest = Server::start(listener(), observer(FIRST + 7, &one));
        one.until(&connected(FIRST + 7)).await;
        guest.until(&connected(1)).await;
        one.send(FIRST + 7, &numbered(1));
        guest.send(1, &numbered(2));
        assert_eq!(guest.received(1).await, numbered(1));
        assert_eq!(one.received(FIRST + 7).await, numbered(2));
        let state = one.state(FIRST + 7);
        assert!(state.connected && !state.listed && !state.votes && !state.dials, "{state:?}");
        guest.stop().await;
        one.until(&disconnected(FIRST + 7)).await;
        assert_eq!(one.peers.report(), []);
    });
}

#[test]
fn a_guest_that_votes_and_a_number_that_a_list_would_name_are_refused() {
    on_each_driver(|| async {
        let one = host(GUESTS_MAX, PeerLimits::default());
        for (number, votes) in [(FIRST, true), (FIRST - 1, false), (u32::MAX, false)] {
            let mut raw = Raw::connect(one.at);
            let answer = raw.greet(&Hello { votes, ..guest_hello(number, 1) }).await;
            assert_eq!(answer.verdict.expect_err("no guest").code, 4, "{number} {votes}");
            raw.ended().await;
        }
        one.refuses("is not in the configuration of server 1").await;
        assert_eq!(one.peers.report(), []);
    });
}

#[test]
fn where_guests_are_not_allowed_they_are_refused_and_told_so() {
    on_each_driver(|| async {
        let one = host(0, PeerLimits::default());
        let guest = Server::start(listener(), observer(FIRST, &one));
        guest.complains(1, "takes in no observers that its configuration does not list").await;
        one.refuses("allow guests there").await;
    });
}

#[test]
fn guests_beyond_the_limit_are_sent_elsewhere_and_one_that_comes_again_is_not_one_more() {
    on_each_driver(|| async {
        let one = host(2, PeerLimits::default());
        let mut inside = Vec::new();
        for number in [FIRST, FIRST + 1] {
            let mut raw = Raw::connect(one.at);
            assert_eq!(raw.greet(&guest_hello(number, 1)).await.verdict, Ok(1));
            one.until(&connected(number)).await;
            inside.push(raw);
        }
        let mut third = Raw::connect(one.at);
        let rejection = third.greet(&guest_hello(FIRST + 2, 1)).await.verdict.unwrap_err();
        assert_eq!(rejection.code, 9);
        assert!(rejection.text.contains("serves 2 observers"), "{rejection:?}");
        third.ended().await;
        // The same process again: it takes its own place.
        let mut again = Raw::connect(one.at);
        assert_eq!(again.greet(&guest_hello(FIRST, 1)).await.verdict, Ok(1));
        assert_eq!(one.next().await, disconnected(FIRST));
        assert_eq!(one.next().await, connected(FIRST));
        // Who leaves makes room.
        inside.remove(1).socket.hang_up();
        one.until(&disconnected(FIRST + 1)).await;
        let mut fourth = Raw::connect(one.at);
        assert_eq!(fourth.greet(&guest_hello(FIRST + 3, 1)).await.verdict, Ok(1));
    });
}

#[test]
fn the_same_guest_number_twice_is_refused_as_for_any_server() {
    on_each_driver(|| async {
        let one = host(GUESTS_MAX, PeerLimits::default());
        let mut first = Raw::connect(one.at);
        assert_eq!(first.greet(&guest_hello(FIRST, 1)).await.verdict, Ok(1));
        let mut second = Raw::connect(one.at);
        assert_eq!(second.greet(&guest_hello(FIRST, 2)).await.verdict.unwrap_err().code, 8);
        let mut other = Raw::connect(one.at);
        let foreign = Hello { cluster: ClusterId(0xc9), ..guest_hello(FIRST + 1, 1) };
        assert_eq!(other.greet(&foreign).await.verdict.unwrap_err().code, 6);
        assert_eq!(one.next().await, connected(FIRST));
        assert!(one.state(FIRST).connected);
    });
}

#[test]
fn guests_come_in_as_fast_as_is_allowed_and_members_are_not_counted() {
    on_each_driver(|| async {
        let limits =
            PeerLimits { guests_per_second: 1, guests_at_once: 3, ..PeerLimits::default() };
        let nowhere = listener().local_addr().unwrap();
        let listed = PeerAddress { votes: false, ..voter(3, nowhere) };
        let own = options(1, vec![voter(2, nowhere), listed]);
        let one = Server::start(listener(), PeerOptions { limits, ..own });
        let (mut taken, mut busy, mut all) = (0, 0, Vec::new());
        for number in 0..20 {
            let mut raw = Raw::connect(one.at);
            match raw.greet(&guest_hello(FIRST + number, 1)).await.verdict {
                Ok(_) => taken += 1,
                Err(rejection) => {
                    assert_eq!(rejection.code, 10, "{rejection:?}");
                    busy += 1;
                }
            }
            all.push(raw);
        }
        // A slow machine gives a token more; nothing gives it twenty.
        assert!((3..15).contains(&taken) && taken + busy == 20, "{taken} taken, {busy} busy");
        // Those of the list come in whatever else comes.
        let mut two = Raw::connect(one.at);
        assert_eq!(two.greet(&hello(2, 1, 1)).await.verdict, Ok(1));
        let mut three = Raw::connect(one.at);
        assert_eq!(three.greet(&guest_hello(3, 1)).await.verdict, Ok(1));
    });
}

#[test]
fn a_guest_that_was_told_to_come_later_does_and_says_why_it_is_not_linked() {
    on_each_driver(|| async {
        let limits =
            PeerLimits { guests_per_second: 1, guests_at_once: 1, ..PeerLimits::default() };
        let one = host(GUESTS_MAX, limits);
        let mut first = Raw::connect(one.at);
        assert_eq!(first.greet(&guest_hello(FIRST, 1)).await.verdict, Ok(1));
        let guest = Server::start(listener(), observer(FIRST + 1, &one));
        guest.until(&connected(1)).await;
        if let Some(reason) = guest.state(1).last_error {
            assert!(reason.contains("taking in other observers"), "{reason}");
        }
    });
}

#[test]
fn a_voter_comes_in_while_hundreds_of_observers_do() {
    on_each_driver(|| async {
        let nowhere = listener().local_addr().unwrap();
        let one = Server::start(listener(), options(1, vec![voter(2, nowhere)]));
        let mut crowd: Vec<TcpStream> = Vec::new();
        for number in 0..400 {
            // Nothing is accepted meanwhile: this thread connects, and they wait as one crowd.
            let Ok(mut stream) = TcpStream::connect(one.at) else { break };
            let mut bytes = Vec::new();
            guest_hello(FIRST + number, 1).encode(&mut bytes);
            let _ = io::Write::write_all(&mut stream, &bytes);
            crowd.push(stream);
            if number == 200 {
                let two = Server::start(listener(), options(2, vec![voter(1, one.at)]));
                two.until(&connected(1)).await;
                two.stop().await;
            }
        }
        one.until(&connected(2)).await;
    });
}

/// It may be left over from another ensemble: a new one must not take over its name, and with it the belief that it
/// has lost its history.
#[test]
fn what_a_guest_calls_its_ensemble_is_nothing_to_a_server_that_has_not_agreed_on_a_name() {
    on_each_driver(|| async {
        let own = options(1, Vec::new());
        let one = Server::start(listener(), PeerOptions { tentative: true, ..own });
        let raw_hello = Hello { cluster: ClusterId(0xc9), ..guest_hello(FIRST, 1) };
        let mut raw = Raw::connect(one.at);
        assert_eq!(raw.greet(&raw_hello).await.verdict.expect_err("not yet").code, 7);
        raw.ended().await;
        // It would be told before that answer.
        let mut events = Vec::new();
        one.peers.take_events(&mut events);
        assert_eq!(events, []);
    });
}
