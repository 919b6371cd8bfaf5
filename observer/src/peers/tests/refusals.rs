//! Who is turned away, and that both sides say why.

use super::*;

/// Server 1, and what server 2 needs to find it.
fn acceptor(peers: impl FnOnce(SocketAddr) -> Vec<PeerAddress>) -> (Server, TcpListener) {
    let (port, other) = (listener(), listener());
    let peers = peers(other.local_addr().unwrap());
    (Server::start(port, options(1, peers)), other)
}

#[test]
fn a_server_of_another_ensemble_is_refused() {
    on_each_driver(|| async {
        let (one, port) = acceptor(|two| vec![voter(2, two)]);
        let own = options(2, vec![voter(1, one.at)]);
        let two = Server::start(port, PeerOptions { cluster: ClusterId(0xc2), ..own });
        for reason in ["ensemble 0x00000000000000c1", "0x00000000000000c2"] {
            one.refuses(reason).await;
            one.complains(2, reason).await;
            two.complains(1, reason).await;
        }
        assert!(!one.state(2).connected && !two.state(1).connected);
        assert!(one.events.borrow().is_empty());
    });
}

#[test]
fn a_server_that_the_configuration_does_not_list_is_refused_by_name() {
    on_each_driver(|| async {
        let (one, port) = acceptor(|two| vec![voter(2, two)]);
        let four = Server::start(port, options(4, vec![voter(1, one.at)]));
        let reason = "server 4 is not in the configuration of server 1";
        one.refuses(reason).await;
        four.complains(1, reason).await;
    });
}

#[test]
fn a_server_that_looks_for_another_one_is_refused() {
    on_each_driver(|| async {
        let (one, port) = acceptor(|three| vec![voter(3, three)]);
        let three = Server::start(port, options(3, vec![voter(2, one.at)]));
        let reason = "this is server 1 and not server 2: correct the address of server.2";
        one.refuses(reason).await;
        one.complains(3, reason).await;
        three.complains(2, reason).await;
    });
}

#[test]
fn a_server_that_reaches_itself_says_so() {
    on_each_driver(|| async {
        let port = listener();
        let at = port.local_addr().unwrap();
        let two = Server::start(port, options(2, vec![voter(1, at)]));
        let reason = "server 2 reached itself when it looked for server 1";
        two.refuses(reason).await;
        two.complains(1, reason).await;
    });
}

#[test]
fn a_server_with_the_number_of_the_one_it_reaches_is_refused() {
    on_each_driver(|| async {
        let (two, port) = {
            let (port, other) = (listener(), listener());
            let nowhere = other.local_addr().unwrap();
            (Server::start(port, options(2, vec![voter(1, nowhere)])), other)
        };
        let other = Server::start(port, options(2, vec![voter(1, two.at)]));
        let reason = "this is server 2 as well";
        two.refuses(reason).await;
        other.complains(1, reason).await;
    });
}

#[test]
fn a_second_server_of_a_number_is_refused_while_the_first_lives() {
    on_each_driver(|| async {
        let (one, port) = acceptor(|two| vec![voter(2, two)]);
        let two = Server::start(port, options(2, vec![voter(1, one.at)]));
        one.until(&connected(2)).await;
        two.until(&connected(1)).await;
        let second = Server::start(listener(), options(2, vec![voter(1, one.at)]));
        let reason = "server 2 is already connected from 127.0.0.1:";
        one.refuses(reason).await;
        second.complains(1, reason).await;
        two.send(1, &numbered(1));
        assert_eq!(one.next().await, PeerEvent::Received { from: id(2), message: numbered(1) });
        // When the first is gone there is nothing to say against the second.
        two.stop().await;
        one.until(&disconnected(2)).await;
        second.until(&connected(1)).await;
        one.until(&connected(2)).await;
    });
}

#[test]
fn a_second_server_of_a_number_takes_the_place_of_one_that_fell_silent() {
    on_each_driver(|| async {
        let (one, port) = acceptor(|two| vec![voter(2, two)]);
        let mut silent = Raw::connect(one.at);
        assert_eq!(silent.greet(&hello(2, 1, 1)).await.verdict, Ok(1));
        one.until(&connected(2)).await;
        let begin = std::time::Instant::now();
        let two = Server::start(port, options(2, vec![voter(1, one.at)]));
        assert_eq!(one.next().await, disconnected(2));
        assert!(begin.elapsed() < PeerLimits::default().silence, "it is not waited for its cut");
        assert_eq!(one.next().await, connected(2));
        two.until(&connected(1)).await;
        two.complains(1, "server 2 is already connected").await;
        silent.ended().await;
    });
}

#[test]
fn the_same_process_that_dials_again_takes_the_place_of_its_old_connection() {
    on_each_driver(|| async {
        let (one, _port) = acceptor(|two| vec![voter(2, two)]);
        let (mut old, mut new) = (Raw::connect(one.at), Raw::connect(one.at));
        assert_eq!(old.greet(&hello(2, 1, 5)).await.verdict, Ok(1));
        assert_eq!(new.greet(&hello(2, 1, 5)).await.verdict, Ok(1));
        for event in [connected(2), disconnected(2), connected(2)] {
            assert_eq!(one.next().await, event);
        }
        old.ended().await;
        one.send(2, &numbered(3));
        let mut frame = Vec::new();
        frame::append(&numbered(3), &mut frame);
        while !new.input.ends_with(&frame) {
            assert!(new.read().await, "the new connection is the link");
        }
    });
}

/// A process's connection by one of its ways.
fn attempt(way: u32, number: u32, of: Hello) -> Hello {
    Hello { attempt: Attempt { way, number }, ..of }
}

#[test]
fn what_an_earlier_attempt_said_and_comes_late_takes_no_later_ones_place() {
    on_each_driver(|| async {
        let (one, _port) = acceptor(|two| vec![voter(2, two)]);
        let (mut late, mut new) = (Raw::connect(one.at), Raw::connect(one.at));
        let attempt = |number| attempt(0, number, hello(2, 1, 5));
        assert_eq!(new.greet(&attempt(8)).await.verdict, Ok(1));
        assert_eq!(late.greet(&attempt(7)).await.verdict.expect_err("late").code, 8);
        late.ended().await;
        // And in the other order the later one has it, as always.
        let mut newer = Raw::connect(one.at);
        assert_eq!(newer.greet(&attempt(9)).await.verdict, Ok(1));
        for event in [connected(2), disconnected(2), connected(2)] {
            assert_eq!(one.next().await, event);
        }
        new.ended().await;
    });
}

#[test]
fn a_later_attempt_takes_an_earlier_ones_place_at_once_also_of_who_dials_whoever_is_there() {
    on_each_driver(|| async {
        let (one, _port) = acceptor(|two| vec![voter(2, two)]);
        let hello = |way, number| attempt(way, number, hello(2, ServerId::ANYONE.0, 5));
        let (mut old, mut new) = (Raw::connect(one.at), Raw::connect(one.at));
        assert_eq!(old.greet(&hello(0, 3)).await.verdict, Ok(1));
        // Another of its addresses leads here too: the first keeps its link.
        let mut other = Raw::connect(one.at);
        assert_eq!(other.greet(&hello(1, 4)).await.verdict.expect_err("the second").code, 8);
        other.ended().await;
        assert_eq!(new.greet(&hello(0, 4)).await.verdict, Ok(1));
        for event in [connected(2), disconnected(2), connected(2)] {
            assert_eq!(one.next().await, event);
        }
        old.ended().await;
    });
}

#[test]
fn a_later_protocol_with_no_common_version_is_refused_and_told_both_ranges() {
    on_each_driver(|| async {
        let (one, _port) = acceptor(|two| vec![voter(2, two)]);
        let mut later = Raw::connect(one.at);
        let hello = Hello { version_min: 2, version_max: 3, ..hello(2, 1, 1) };
        let answer = later.greet(&hello).await;
        let reason =
            "server 1 speaks versions 1 to 1 of the peer protocol, server 2 versions 2 to 3";
        let rejection = answer.verdict.expect_err("there is no common version");
        assert!(rejection.code == 1 && rejection.text.contains(reason), "{rejection:?}");
        one.refuses(reason).await;
        later.ended().await;
        // A newer server that still speaks this version is not in the way.
        let mut newer = Raw::connect(one.at);
        let hello = Hello { version_min: 1, ..hello };
        assert_eq!(newer.greet(&hello).await.verdict, Ok(1));
    });
}

/// Servers 1 and 2, which speak these versions.
fn of_versions(first: (u16, u16), second: (u16, u16)) -> (Server, Server) {
    let (one, port) = acceptor(|two| vec![voter(2, two)]);
    one.peers.0.speak(first.0, first.1);
    let two = Server::start(port, options(2, vec![voter(1, one.at)]));
    two.peers.0.speak(second.0, second.1);
    (one, two)
}

#[test]
fn builds_with_a_common_version_speak_it_whichever_of_them_dials() {
    on_each_driver(|| async {
        for (first, second) in [((1, 1), (1, 2)), ((1, 2), (1, 1)), ((1, 2), (1, 2))] {
            let (one, two) = of_versions(first, second);
            one.until(&connected(2)).await;
            two.until(&connected(1)).await;
            one.send(2, &numbered(7));
            two.send(1, &numbered(8));
            assert_eq!(two.received(1).await, numbered(7));
            assert_eq!(one.received(2).await, numbered(8));
            one.stop().await;
            two.stop().await;
        }
    });
}

#[test]
fn builds_without_a_common_version_say_so_on_both_sides_whichever_of_them_dials() {
    on_each_driver(|| async {
        for (first, second) in [((1, 1), (2, 2)), ((2, 2), (1, 1))] {
            let (one, two) = of_versions(first, second);
            let said = |id, (min, max)| format!("{id} speaks versions {min} to {max}");
            let listed = |id, (min, max)| format!("server {id} versions {min} to {max}");
            for reason in [said("server 1", first), listed(2, second)] {
                one.refuses(&reason).await;
                one.complains(2, &reason).await;
                two.complains(1, &reason).await;
            }
            assert!(!one.state(2).connected && !two.state(1).connected);
            one.stop().await;
            two.stop().await;
        }
    });
}

#[test]
fn what_is_no_peer_at_all_is_hung_up_on() {
    on_each_driver(|| async {
        let (one, _port) = acceptor(|two| vec![voter(2, two)]);
        let mut browser = Raw::connect(one.at);
        browser.send(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        browser.ended().await;
        one.refuses("(it begins with \"GET / HTTP/1.1").await;
        // A learner of ZooKeeper sends a length and a FOLLOWERINFO.
        let mut learner = Raw::connect(one.at);
        learner.send(&[0, 0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
        learner.ended().await;
        one.refuses("something else uses this port").await;
    });
}

#[test]
fn a_peer_that_is_something_else_is_reported_by_the_one_that_dials() {
    on_each_driver(|| async {
        let (stranger, port) = (listener(), listener());
        let at = stranger.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = stranger.accept().unwrap();
            io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
            let mut seen = Vec::new();
            let _ = io::Read::read_to_end(&mut stream, &mut seen);
        });
        let two = Server::start(port, options(2, vec![voter(1, at)]));
        two.complains(1, "SSH-2.0").await;
        // A runtime that is blocked here could not close the connection, for whose end the thread waits.
        eventually(|| thread.is_finished()).await;
        thread.join().unwrap();
    });
}

#[test]
fn new_servers_agree_on_the_id_of_their_ensemble() {
    on_each_driver(|| async {
        for (mine, theirs, agreed) in [
            ((9, true), (5, true), (5, false)),
            ((5, true), (9, true), (5, false)),
            ((9, false), (5, true), (9, true)),
            ((5, true), (9, false), (9, true)),
        ] {
            let (port, other) = (listener(), listener());
            let at = [port.local_addr().unwrap(), other.local_addr().unwrap()];
            let with = |(cluster, tentative): (u64, bool), own: PeerOptions| PeerOptions {
                cluster: ClusterId(cluster),
                tentative,
                ..own
            };
            let one = Server::start(port, with(mine, options(1, vec![voter(2, at[1])])));
            let two = Server::start(other, with(theirs, options(2, vec![voter(1, at[0])])));
            let gives_way = if mine.0 == agreed.0 { &two } else { &one };
            let (cluster, firm) = (ClusterId(agreed.0), agreed.1);
            assert_eq!(gives_way.next().await, PeerEvent::Adopt { cluster, firm });
            one.refuses("have not agreed on the id of their ensemble yet").await;
            two.complains(1, "have not agreed on the id of their ensemble yet").await;
            gives_way.peers.set_cluster(cluster, !firm);
            one.until(&connected(2)).await;
            two.until(&connected(1)).await;
            one.stop().await;
            two.stop().await;
        }
    });
}

#[test]
fn a_link_made_under_another_id_ends_when_the_id_changes() {
    on_each_driver(|| async {
        let (one, two) = pair().await;
        one.peers.set_cluster(FIRM, false);
        one.peers.set_cluster(ClusterId(0xc7), false);
        assert_eq!(one.next().await, disconnected(2));
        two.complains(1, "belongs to the ensemble 0x00000000000000c7").await;
        two.peers.set_cluster(ClusterId(0xc7), false);
        one.until(&connected(2)).await;
    });
}
