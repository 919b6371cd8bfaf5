//! Links between servers that are far apart: compressed, held back to a rate, measured.

use super::*;
use crate::peers::handshake::{BLOCKS, ECHOES};

const GUEST: u32 = ServerId::GUEST_MIN.0 + 3;
const RELAY: u32 = ServerId::GUEST_MIN.0 + 4;

/// Server 1 with `limits`, and a guest of it with `theirs`.
async fn far_pair(limits: PeerLimits, theirs: PeerLimits) -> (Server, Server) {
    let one = Server::start(listener(), PeerOptions { limits, ..options(1, Vec::new()) });
    let own = options(GUEST, vec![voter(1, one.at)]);
    let own = PeerOptions { votes: false, limits: theirs, ..own };
    let guest = Server::start(listener(), own);
    one.until(&connected(GUEST)).await;
    guest.until(&connected(1)).await;
    (one, guest)
}

fn compressed() -> PeerLimits {
    PeerLimits { compressed_from: Duration::ZERO, ..PeerLimits::default() }
}

fn near() -> PeerLimits {
    PeerLimits { compressed_from: Duration::from_secs(3600), ..PeerLimits::default() }
}

fn uncompressed() -> PeerLimits {
    PeerLimits { compressed_bytes_per_second: 0, ..PeerLimits::default() }
}

/// A message of records that look like each other and are not the same.
fn records(sequence: u64, count: usize) -> Message {
    let record = |at| format!(r#"{{"host":"10.0.{sequence}.{at}","port":80,"status":"UP"}}"#);
    let bytes: String = (0..count).map(record).collect();
    let body = ToLearner::Inform { after: Position::default(), bytes: bytes.as_bytes().into() };
    Message::ToLearner { session: 1, sequence, body }
}

#[test]
fn a_link_to_an_observer_is_compressed_when_both_can_and_else_works_as_well() {
    on_each_driver(|| async {
        let cases = [
            (compressed(), compressed(), true),
            (compressed(), uncompressed(), false),
            (uncompressed(), compressed(), false),
            (uncompressed(), uncompressed(), false),
            // The two are near each other, by that measure.
            (near(), near(), false),
        ];
        for (ours, theirs, compresses) in cases {
            let (one, guest) = far_pair(ours, theirs).await;
            for sequence in 0..200 {
                one.send(GUEST, &records(sequence, 1 + sequence as usize % 50));
                guest.send(1, &numbered(sequence));
            }
            for sequence in 0..200 {
                let wanted = records(sequence, 1 + sequence as usize % 50);
                assert!(guest.received(1).await == wanted, "message {sequence}");
                assert_eq!(one.received(GUEST).await, numbered(sequence));
            }
            let (sender, receiver) = (one.state(GUEST), guest.state(1));
            assert_eq!((sender.compresses, receiver.compresses), (compresses, compresses));
            let halved = sender.bytes_out * 2 < sender.plain_out;
            assert_eq!(halved, compresses, "{} of {}", sender.bytes_out, sender.plain_out);
            let halved = receiver.bytes_in * 2 < receiver.plain_in;
            assert_eq!(halved, compresses, "{} of {}", receiver.bytes_in, receiver.plain_in);
            one.stop().await;
            guest.stop().await;
        }
    });
}

#[test]
fn a_link_is_compressed_from_the_round_trip_on_that_was_chosen() {
    on_each_driver(|| async {
        // Echoes come back within that on no machine, and later than that on every one.
        let late = Duration::from_nanos(1);
        let limits = PeerLimits { compressed_from: late, ..PeerLimits::default() };
        let (one, guest) = far_pair(limits, near()).await;
        eventually(|| one.state(GUEST).compresses).await;
        assert!(one.state(GUEST).rtt_us.is_some(), "it was measured before");
        assert!(!guest.state(1).compresses, "each side judges what it sends");
    });
}

#[test]
fn what_voters_say_to_each_other_is_not_compressed() {
    on_each_driver(|| async {
        let (one, two) = pair().await;
        two.send(1, &records(1, 1000));
        assert!(one.received(2).await == records(1, 1000));
        assert!(!two.state(1).compresses);
        eventually(|| two.state(1).plain_out == two.state(1).bytes_out).await;
    });
}

#[test]
fn a_large_message_arrives_whole_through_blocks() {
    on_each_driver(|| async {
        let (one, guest) = far_pair(compressed(), compressed()).await;
        let large = of_bytes(5 << 20);
        one.send(GUEST, &numbered(1));
        one.send(GUEST, &large);
        one.send(GUEST, &numbered(2));
        assert_eq!(guest.received(1).await, numbered(1));
        assert!(guest.received(1).await == large, "5 MiB as they were");
        assert_eq!(guest.received(1).await, numbered(2));
    });
}

/// An observer made by hand, which says that it reads blocks.
async fn observer_by_hand(number: u32, one: &Server) -> Raw {
    let mut raw = Raw::connect(one.at);
    let hello = Hello { votes: false, capabilities: BLOCKS, ..hello(number, 1, 1) };
    assert_eq!(raw.greet(&hello).await.verdict, Ok(1));
    one.until(&connected(number)).await;
    raw
}

#[test]
fn bytes_that_are_no_block_end_the_link_and_nothing_else() {
    on_each_driver(|| async {
        let nowhere = listener().local_addr().unwrap();
        let listed = PeerAddress { votes: false, ..voter(3, nowhere) };
        let one = Server::start(listener(), options(1, vec![listed]));
        let mut message = Vec::new();
        frame::append(&numbered(1), &mut message);
        let mut good = (message.len() as u32).to_le_bytes().to_vec();
        good.extend_from_slice(&message);
        let mut broken = good.clone();
        *broken.last_mut().unwrap() ^= 1;
        let mut no_stream = (0x8000_0000_u32 | 20).to_le_bytes().to_vec();
        no_stream.extend_from_slice(&[9; 20]);
        let cases = [
            (vec![0xff; 4], "a block of 2147483647 bytes is announced"),
            (no_stream, "cannot be decompressed"),
            (broken, "fails its checksum"),
        ];
        for (bytes, reason) in cases {
            let mut raw = observer_by_hand(3, &one).await;
            raw.send(&[&good[..], &bytes].concat()).await.unwrap();
            assert_eq!(one.received(3).await, numbered(1), "what came before it counts");
            assert_eq!(one.next().await, disconnected(3));
            one.complains(3, reason).await;
            raw.ended().await;
        }
    });
}

#[test]
fn a_flood_of_small_blocks_that_unfold_is_not_read_before_it_is_taken() {
    on_each_driver(|| async {
        let limits = PeerLimits { received_bytes_max: 64 << 10, ..PeerLimits::default() };
        let one = Server::start(listener(), PeerOptions { limits, ..options(1, Vec::new()) });
        let mut raw = observer_by_hand(GUEST, &one).await;
        // Fifty messages of 40 KiB that are all the same: they come in one read of the socket.
        let (mut packer, mut packed) = (block::Packer::default(), Vec::new());
        for _ in 0..50 {
            frame::append(&of_bytes(40 << 10), packer.plain());
            packer.pack_freely(&mut packed);
        }
        assert!(packed.len() < 64 << 10, "{} bytes come in one read", packed.len());
        raw.send(&packed).await.unwrap();
        let mut received = 0;
        while received < 50 {
            one.wake.wait().await;
            let mut taken = Vec::new();
            one.peers.take_events(&mut taken);
            assert!(taken.len() <= 2 + 1, "{} messages at once", taken.len());
            received += taken.len();
        }
    });
}

#[test]
fn a_link_to_an_observer_keeps_to_its_rate_and_is_not_cut_for_it() {
    on_each_driver(|| async {
        let limits = PeerLimits {
            observer_bytes_per_second: 500_000,
            stall: Duration::from_millis(300),
            ..uncompressed()
        };
        let (one, guest) = far_pair(limits, PeerLimits::default()).await;
        let begin = Instant::now();
        let (count, message) = (10, of_bytes(50_000));
        for _ in 0..count {
            one.send(GUEST, &message);
        }
        for _ in 0..count {
            assert!(guest.received(1).await == message);
        }
        // All but the burst, whatever else this machine does.
        let least = Duration::from_millis(800);
        assert!(begin.elapsed() >= least, "{:?} for 500 kB", begin.elapsed());
        assert!(one.state(GUEST).connected);
        let mut events = Vec::new();
        one.peers.take_events(&mut events);
        assert_eq!(events, []);
    });
}

#[test]
fn a_message_that_takes_long_is_heard_coming() {
    on_each_driver(|| async {
        let limits = PeerLimits { observer_bytes_per_second: 200_000, ..uncompressed() };
        let (one, guest) = far_pair(limits, PeerLimits::default()).await;
        let message = of_bytes(300_000);
        one.send(GUEST, &message);
        assert!(guest.received(1).await == message);
        let heard = guest.arriving.get();
        assert!(5 <= heard, "heard {heard} times in more than a second");
        // Small ones are there or not.
        for sequence in 0..50 {
            one.send(GUEST, &numbered(sequence));
            guest.received(1).await;
        }
        assert!(guest.arriving.get() <= heard + 1, "{} after {heard}", guest.arriving.get());
    });
}

#[test]
fn the_rate_is_not_for_voters() {
    on_each_driver(|| async {
        let limits = PeerLimits { observer_bytes_per_second: 1, ..PeerLimits::default() };
        let port = listener();
        let nowhere = listener().local_addr().unwrap();
        let own = options(1, vec![voter(2, nowhere)]);
        let one = Server::start(port, PeerOptions { limits, ..own });
        let two = Server::start(listener(), options(2, vec![voter(1, one.at)]));
        two.until(&connected(1)).await;
        one.until(&connected(2)).await;
        let message = of_bytes(8 << 20); // minutes, at the least rate there is
        one.send(2, &message);
        assert!(two.received(1).await == message);
    });
}

#[test]
fn an_observer_for_which_too_much_waits_is_cut_but_never_for_one_large_message() {
    on_each_driver(|| async {
        let limits = PeerLimits { observer_queue_bytes_max: 1 << 20, ..uncompressed() };
        let (one, guest) = far_pair(limits, PeerLimits::default()).await;
        let large = of_bytes(3 << 20);
        one.send(GUEST, &large);
        assert!(guest.received(1).await == large);
        eventually(|| one.state(GUEST).queued_bytes == 0).await;
        for _ in 0..3 {
            one.send(GUEST, &large); // the writer gets no turn in between
        }
        assert_eq!(one.next().await, disconnected(GUEST));
    });
}

/// What it asks has waited for a leader, and comes at once when there is one.
#[test]
fn a_server_that_observes_and_is_learned_from_may_be_asked_much_at_once() {
    on_each_driver(|| async {
        let limits = PeerLimits { observer_queue_bytes_max: 1 << 20, ..uncompressed() };
        let relay = Server::start(
            listener(),
            PeerOptions { votes: false, limits, ..options(RELAY, Vec::new()) },
        );
        let own = options(GUEST, Vec::new());
        let upstreams = vec![(relay.at.ip().to_string(), relay.at.port())];
        let guest =
            Server::start(listener(), PeerOptions { votes: false, limits, upstreams, ..own });
        guest.until(&connected(RELAY)).await;
        relay.until(&connected(GUEST)).await;
        let large = of_bytes(1 << 20);
        for _ in 0..8 {
            guest.send(RELAY, &large); // the writer gets no turn in between
        }
        for _ in 0..8 {
            assert!(relay.received(GUEST).await == large);
        }
    });
}

#[test]
fn the_round_trip_is_measured_on_both_sides_and_not_with_who_does_not_answer() {
    on_each_driver(|| async {
        let (one, guest) = far_pair(PeerLimits::default(), PeerLimits::default()).await;
        eventually(|| one.peers.round_trip(id(GUEST)).is_some()).await;
        eventually(|| guest.peers.round_trip(id(1)).is_some()).await;
        assert!(one.state(GUEST).rtt_us.is_some());
        assert!(one.peers.round_trip(id(9)).is_none());
        guest.stop().await;
        one.until(&disconnected(GUEST)).await;
        assert!(one.peers.round_trip(id(GUEST)).is_none());
        let old = observer_by_hand(GUEST, &one).await;
        one.send(GUEST, &numbered(1));
        eventually(|| one.state(GUEST).queued_bytes == 0).await;
        assert!(one.peers.round_trip(id(GUEST)).is_none());
        drop(old);
    });
}

#[test]
fn an_echo_that_was_not_asked_for_says_nothing_and_one_that_was_is_answered() {
    on_each_driver(|| async {
        let nowhere = listener().local_addr().unwrap();
        let one = Server::start(listener(), options(1, vec![voter(2, nowhere)]));
        let mut raw = Raw::connect(one.at);
        let hello = Hello { capabilities: ECHOES, ..hello(2, 1, 1) };
        assert_eq!(raw.greet(&hello).await.verdict, Ok(1));
        let asked = frame::echo(true, 0).len();
        while raw.input.len() < asked {
            assert!(raw.read().await, "it asks first of all");
        }
        let Ok(frame::Found::Frame(frame::Frame::Echo(moment), _)) =
            frame::first(&raw.input, &mut Default::default())
        else {
            panic!("{:?}", raw.input);
        };
        raw.send(&frame::echo(false, moment + 1)).await.unwrap();
        raw.send(&frame::echo(true, 77)).await.unwrap();
        while !raw.input.windows(asked).any(|it| it == frame::echo(false, 77)) {
            assert!(raw.read().await, "it answers");
        }
        assert!(one.peers.round_trip(id(2)).is_none());
        raw.send(&frame::echo(false, moment)).await.unwrap();
        eventually(|| one.peers.round_trip(id(2)).is_some()).await;
    });
}
