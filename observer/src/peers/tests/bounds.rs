//! What a slow, silent, broken or hostile other side can do: lose its own link, and nothing else.

use farwatch_core::prng::Prng;

use super::*;

fn start_with(limits: PeerLimits) -> Server {
    let nowhere = listener().local_addr().unwrap();
    let own = options(1, vec![voter(2, nowhere)]);
    Server::start(listener(), PeerOptions { limits, ..own })
}

/// A link to `one` whose other side does only what the test does.
async fn link_by_hand(one: &Server) -> Raw {
    let mut raw = Raw::connect(one.at);
    assert_eq!(raw.greet(&hello(2, 1, 1)).await.verdict, Ok(1));
    one.until(&connected(2)).await;
    raw
}

#[test]
fn garbage_and_half_handshakes_at_the_port_do_not_disturb_live_links() {
    on_each_driver(|| async {
        let (port, other) = (listener(), listener());
        let at = [port.local_addr().unwrap(), other.local_addr().unwrap()];
        let limits = PeerLimits { handshake: Duration::from_millis(400), ..PeerLimits::default() };
        let own = options(1, vec![voter(2, at[1])]);
        let one = Server::start(port, PeerOptions { limits, ..own });
        let two = Server::start(other, options(2, vec![voter(1, at[0])]));
        one.until(&connected(2)).await;
        two.until(&connected(1)).await;
        let seed = u64::from_ne_bytes(crate::server::random());
        println!("seed {seed}");
        let mut prng = Prng::new(seed);
        let mut whole = Vec::new();
        hello(2, 1, 9).encode(&mut whole);
        let mut others = Vec::new();
        for number in 0..100 {
            let mut raw = Raw::connect(one.at);
            let sent = match prng.below(3) {
                0 => raw.send(&whole[..prng.between(1, 40) as usize]).await,
                1 => raw.send(&prng.next().to_le_bytes()).await,
                _ => Ok(()), // it says nothing at all
            };
            drop(sent); // it may have been hung up on already
            others.push(raw);
            two.send(1, &numbered(number));
            assert_eq!(
                one.next().await,
                PeerEvent::Received { from: id(2), message: numbered(number) }
            );
        }
        for raw in others {
            raw.ended().await; // by the deadline at the latest
        }
        let reason = one.peers.last_refused().expect("they were refused").reason;
        assert!(reason.contains("no handshake within 400 ms"), "{reason}");
        assert!(one.state(2).connected && two.state(1).connected);
    });
}

#[test]
fn a_handshake_that_comes_byte_by_byte_is_one_and_a_full_house_makes_room_for_it() {
    on_each_driver(|| async {
        let one = start_with(PeerLimits::default());
        // More than may wait: the oldest are hung up on.
        let crowd: Vec<Raw> = (0..60).map(|_| Raw::connect(one.at)).collect();
        let mut raw = Raw::connect(one.at);
        let mut bytes = Vec::new();
        hello(2, 1, 1).encode(&mut bytes);
        for byte in &bytes {
            raw.send(&[*byte]).await.unwrap();
        }
        one.until(&connected(2)).await;
        one.refuses("newer connections wait for a handshake").await;
        for raw in crowd {
            raw.socket.hang_up();
            raw.ended().await;
        }
    });
}

#[test]
fn bytes_that_are_no_frame_end_the_link_and_nothing_else() {
    on_each_driver(|| async {
        let one = start_with(PeerLimits::default());
        let mut broken = Vec::new();
        frame::append(&numbered(2), &mut broken);
        *broken.last_mut().unwrap() ^= 1;
        let mut no_message = vec![1, 0, 0, 0];
        no_message.extend_from_slice(&crc32c::crc32c(&[99]).to_le_bytes());
        no_message.push(99);
        let cases = [
            (broken, "fails its checksum"),
            (vec![0xff; 8], "a message of 4294967295 bytes is announced"),
            (no_message, "message version 99"),
        ];
        for (bytes, reason) in cases {
            let mut raw = link_by_hand(&one).await;
            let mut sent = Vec::new();
            frame::append(&numbered(1), &mut sent);
            sent.extend_from_slice(&bytes);
            raw.send(&sent).await.unwrap();
            assert_eq!(one.received(2).await, numbered(1), "what came before it counts");
            one.until(&disconnected(2)).await;
            one.complains(2, reason).await;
            raw.ended().await;
        }
    });
}

#[test]
fn a_peer_for_which_too_much_waits_is_cut() {
    on_each_driver(|| async {
        let limits = PeerLimits { queue_bytes_max: 1 << 20, ..PeerLimits::default() };
        let one = start_with(limits);
        let raw = link_by_hand(&one).await;
        let message = of_bytes(100 << 10);
        for _ in 0..12 {
            one.send(2, &message); // the writer gets no turn in between
        }
        assert_eq!(one.next().await, disconnected(2));
        one.complains(2, "too slow: ").await;
        assert_eq!(one.state(2).queued_bytes, 0, "what waited is given back");
        raw.ended().await;
        link_by_hand(&one).await;
    });
}

#[test]
fn a_peer_that_takes_nothing_for_too_long_is_cut() {
    on_each_driver(|| async {
        let limits = PeerLimits { stall: Duration::from_millis(300), ..PeerLimits::default() };
        let one = start_with(limits);
        let raw = link_by_hand(&one).await;
        one.send(2, &of_bytes(64 << 20)); // more than the buffers of two sockets hold
        assert_eq!(one.next().await, disconnected(2));
        one.complains(2, "too slow: it took nothing of ").await;
        raw.ended().await;
    });
}

#[test]
fn a_silent_peer_is_cut_and_one_with_nothing_to_say_is_not() {
    on_each_driver(|| async {
        let limits = PeerLimits { silence: Duration::from_millis(900), ..PeerLimits::default() };
        let one = start_with(limits);
        let raw = link_by_hand(&one).await;
        assert_eq!(one.next().await, disconnected(2));
        one.complains(2, "silent for 900 ms").await;
        raw.ended().await;
        let own = options(2, vec![voter(1, one.at)]);
        let two = Server::start(listener(), PeerOptions { limits, ..own });
        one.until(&connected(2)).await;
        two.until(&connected(1)).await;
        let before = one.state(2).bytes_in;
        // Heartbeats for longer than silence is suffered.
        eventually(|| one.state(2).bytes_in >= before + 5 * frame::HEARTBEAT.len() as u64).await;
        assert!(one.state(2).connected && two.state(1).connected);
        let mut events = Vec::new();
        one.peers.take_events(&mut events);
        assert_eq!(events, [], "heartbeats are not the core's business");
    });
}

#[test]
fn what_is_not_taken_is_not_read() {
    on_each_driver(|| async {
        const MESSAGES: usize = 3000;
        let (port, other) = (listener(), listener());
        let at = [port.local_addr().unwrap(), other.local_addr().unwrap()];
        let limits = PeerLimits { received_bytes_max: 64 << 10, ..PeerLimits::default() };
        let own = options(1, vec![voter(2, at[1])]);
        let one = Server::start(port, PeerOptions { limits, ..own });
        let two = Server::start(other, options(2, vec![voter(1, at[0])]));
        two.until(&connected(1)).await;
        let message = of_bytes(10 << 10);
        for _ in 0..MESSAGES {
            two.send(1, &message);
        }
        let (mut received, mut takes) = (0, 0);
        while received < MESSAGES {
            one.wake.wait().await;
            let mut taken = Vec::new();
            one.peers.take_events(&mut taken);
            // At most what is allowed to wait, and one read of the socket more.
            assert!(taken.len() <= (64 + 256) / 10, "{} messages at once", taken.len());
            received += taken.iter().filter(|it| matches!(it, PeerEvent::Received { .. })).count();
            takes += 1;
        }
        assert!(takes >= MESSAGES / 32, "{takes}");
    });
}
