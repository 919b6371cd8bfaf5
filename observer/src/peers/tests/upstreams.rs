//! Servers that are told where to go and not who is there.

use super::*;

const GUEST: u32 = ServerId::GUEST_MIN.0 + 1;

fn place(at: SocketAddr) -> (String, u16) {
    (at.ip().to_string(), at.port())
}

/// A guest that dials these.
fn guest(number: u32, upstreams: &[SocketAddr]) -> PeerOptions {
    let upstreams = upstreams.iter().copied().map(place).collect();
    PeerOptions { votes: false, upstreams, ..options(number, Vec::new()) }
}

fn alone(number: u32) -> Server {
    Server::start(listener(), options(number, Vec::new()))
}

/// What `server` says of the upstream at `at`.
fn upstream(server: &Server, at: SocketAddr) -> PeerState {
    let named = |it: &PeerState| it.upstream.as_deref() == Some(at.to_string().as_str());
    server.peers.report().into_iter().find(named).expect("an upstream")
}

#[test]
fn who_is_at_an_upstream_tells_its_number_itself() {
    on_each_driver(|| async {
        let five = alone(5);
        let own = Server::start(listener(), guest(GUEST, &[five.at]));
        own.until(&connected(5)).await;
        five.until(&connected(GUEST)).await;
        own.send(5, &numbered(1));
        five.send(GUEST, &numbered(2));
        assert_eq!(five.received(GUEST).await, numbered(1));
        assert_eq!(own.received(5).await, numbered(2));
        let state = upstream(&own, five.at);
        assert!(state.id == id(5) && state.connected && state.votes && state.dials, "{state:?}");
        assert_eq!(own.peers.report(), [state], "one line for one server");
    });
}

#[test]
fn an_upstream_where_nobody_was_met_yet_is_reported_without_a_number() {
    on_each_driver(|| async {
        let nowhere = listener().local_addr().unwrap();
        let own = Server::start(listener(), guest(GUEST, &[nowhere]));
        eventually(|| upstream(&own, nowhere).last_error.is_some()).await;
        let state = upstream(&own, nowhere);
        assert!(state.id == ServerId::ANYONE && !state.connected, "{state:?}");
        assert_eq!(state.silent_ms, None);
    });
}

#[test]
fn another_server_at_the_same_upstream_is_another_peer() {
    on_each_driver(|| async {
        let five = alone(5);
        let at = five.at;
        let own = Server::start(listener(), guest(GUEST, &[at]));
        own.until(&connected(5)).await;
        let port = five.stop().await;
        own.until(&disconnected(5)).await;
        let state = upstream(&own, at);
        assert_eq!((state.id, state.connected), (id(5), false), "who was there last");
        assert!(state.silent_ms.is_some(), "it was heard a moment ago: {state:?}");
        let six = Server::start(port, options(6, Vec::new()));
        assert_eq!(own.next().await, connected(6));
        six.until(&connected(GUEST)).await;
        own.send(5, &numbered(1)); // nobody has that number any more
        own.send(6, &numbered(2));
        assert_eq!(six.received(GUEST).await, numbered(2));
        assert_eq!(upstream(&own, at).id, id(6));
    });
}

#[test]
fn two_addresses_of_one_server_make_one_link_which_is_left_alone() {
    on_each_driver(|| async {
        let second = listener();
        let again = second.local_addr().unwrap();
        let own = options(5, Vec::new());
        let first = listener();
        let at = first.local_addr().unwrap();
        let wake = Signal::default();
        let listeners = vec![first, second];
        let peers = Peers::start(PeerOptions { listeners, ..own }, wake.clone()).unwrap();
        let five = Server::of(peers, wake, at);
        let own = Server::start(listener(), guest(GUEST, &[at, again]));
        assert_eq!(own.next().await, connected(5));
        let states = || [upstream(&own, at), upstream(&own, again)];
        let reason = "this is server 5, which is linked by upstream";
        eventually(|| {
            states().iter().any(|it| it.last_error.as_ref().is_some_and(|it| it.contains(reason)))
        })
        .await;
        let linked: Vec<_> = states().iter().filter(|it| it.connected).cloned().collect();
        assert_eq!(linked.len(), 1, "{:?}", states());
        assert_eq!(five.next().await, connected(GUEST));
        own.send(5, &numbered(1));
        assert_eq!(
            five.next().await,
            PeerEvent::Received { from: id(GUEST), message: numbered(1) }
        );
        let mut events = Vec::new();
        own.peers.take_events(&mut events);
        assert_eq!(events, [], "the first link did not end");
    });
}

#[test]
fn a_server_with_upstreams_dials_none_of_its_list() {
    on_each_driver(|| async {
        let (five, six) = (alone(5), alone(6));
        let own = guest(GUEST, &[five.at]);
        let own = PeerOptions { peers: vec![voter(5, five.at), voter(6, six.at)], ..own };
        let own = Server::start(listener(), own);
        own.until(&connected(5)).await;
        five.until(&connected(GUEST)).await;
        // Who is listed and found at an upstream is one peer.
        let states = own.peers.report();
        assert_eq!(states.len(), 2, "{states:?}");
        assert!(states[0].upstream.is_some() && states[0].listed && states[0].dials);
        assert!(!states[1].dials && !states[1].connected && states[1].last_error.is_none());
        assert!(six.peers.last_refused().is_none());
    });
}

#[test]
fn an_upstream_that_leads_back_to_the_server_itself_is_no_link() {
    on_each_driver(|| async {
        let port = listener();
        let at = port.local_addr().unwrap();
        let own = Server::start(port, guest(GUEST, &[at]));
        let reached = || upstream(&own, at).last_error;
        eventually(|| reached().is_some_and(|it| it.contains("reached itself"))).await;
        assert!(own.events.borrow().is_empty());
    });
}

#[test]
fn observers_link_to_an_observer_and_it_passes_on_what_its_own_upstream_says() {
    on_each_driver(|| async {
        let one = alone(1);
        let relay = Server::start(listener(), guest(GUEST, &[one.at]));
        relay.until(&connected(1)).await;
        let leaves = [GUEST + 1, GUEST + 2];
        let leaves = leaves.map(|it| (it, Server::start(listener(), guest(it, &[relay.at]))));
        one.until(&connected(GUEST)).await;
        for (number, leaf) in &leaves {
            leaf.until(&connected(GUEST)).await;
            // Whichever of the two comes first.
            let linked = |it: &PeerState| it.id == id(*number) && it.connected;
            eventually(|| relay.peers.report().iter().any(linked)).await;
        }
        one.send(GUEST, &numbered(9));
        let heard = relay.received(1).await;
        for (number, leaf) in &leaves {
            relay.send(*number, &heard);
            assert_eq!(leaf.received(GUEST).await, numbered(9));
            assert!(!upstream(leaf, relay.at).votes, "it is served by one that does not vote");
        }
        assert_eq!(relay.peers.report().len(), 3);
    });
}

/// Each can learn from the other one, whoever's connection came first.
#[test]
fn two_that_name_each_other_are_each_told_of_the_other() {
    on_each_driver(|| async {
        let (first, second) = (listener(), listener());
        let at = [first.local_addr().unwrap(), second.local_addr().unwrap()];
        let one = Server::start(first, guest(GUEST, &[at[1]]));
        let two = Server::start(second, guest(GUEST + 1, &[at[0]]));
        for (own, other) in [(&one, GUEST + 1), (&two, GUEST)] {
            own.until(&connected(other)).await;
            // Once more where that was before it was known who is at the address.
            while own.peers.upstream_rank(id(other)).is_none() {
                own.until(&connected(other)).await;
            }
        }
    });
}
