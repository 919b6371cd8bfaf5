//! Four-letter words of a leader, of followers, and of a server without a leader.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use farwatch_bench::raw::four_letter_word;
use farwatch_bench::raw::request;

use super::{Trio, at};
use crate::conformance::server::{ensemble, quick};

/// What a server without a leader answers to nearly every word.
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

/// Keys of `mntr` that only a leader shows.
const OF_A_LEADER: [&str; 9] = [
    "zk_learners",
    "zk_synced_followers",
    "zk_synced_non_voting_followers",
    "zk_synced_observers",
    "zk_pending_syncs",
    "zk_leader_uptime",
    "zk_last_proposal_size",
    "zk_min_proposal_size",
    "zk_max_proposal_size",
];

fn say(address: SocketAddr, word: &str) -> String {
    four_letter_word(address, word).unwrap_or_else(|error| panic!("{word}: {error}"))
}

fn values(text: &str, separator: char) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(separator)).collect()
}

#[test]
fn leader_and_followers_say_what_they_are() {
    let trio = Trio::shared();
    let mut clients = trio.all().map(at);
    let ids = clients.each_ref().map(|client| format!("{:#x}", client.session.id));
    for (address, client) in trio.all().into_iter().zip(&mut clients) {
        let leads = address == trio.leader;
        client.ok(&request::sync("/")); // this server knows of the others' sessions behind it
        client.ok(&request::get_data("/zookeeper", true));
        assert_eq!((say(address, "ruok").as_str(), say(address, "isro").as_str()), ("imok", "rw"));
        let mode = if leads { "Mode: leader\n" } else { "Mode: follower\n" };
        for word in ["srvr", "stat"] {
            let text = say(address, word);
            assert!(text.contains(mode), "{text}");
            assert_eq!(text.contains("\nProposal sizes last/min/max: "), leads, "{text}");
            let zxid = values(&text, ':')["Zxid"].trim();
            assert!(zxid.starts_with("0x") && zxid.len() >= 11, "{text}");
        }
        let id = format!("{:#x}", client.session.id);
        assert!(say(address, "cons").contains(&format!("sid={id},")));
        let summary = say(address, "wchs");
        assert!(summary.contains(" connections watching ") && summary.contains("Total watches:"));
        let dump = say(address, "dump");
        let sessions = if leads { "\nSession Sets (" } else { "\nGlobal Sessions(" };
        assert!(dump.contains(sessions) && dump.contains("ephemeral nodes dump:"), "{dump}");
        assert!(dump.contains("Connections Sets ("), "{dump}");
        // Every session, wherever it is connected.
        assert!(ids.iter().all(|id| dump.contains(id)), "{ids:?}: {dump}");
    }
}

#[test]
fn mntr_and_conf_have_the_lines_of_an_ensemble() {
    let trio = Trio::shared();
    for address in trio.all() {
        let leads = address == trio.leader;
        let text = say(address, "mntr");
        let found = values(&text, '\t');
        let state = if leads { "leader" } else { "follower" };
        let peer_state = if leads { "leading - broadcast" } else { "following - broadcast" };
        assert_eq!((found["zk_server_state"], found["zk_peer_state"]), (state, peer_state));
        assert_eq!(found["zk_quorum_size"], "3");
        for key in OF_A_LEADER {
            assert_eq!(found.contains_key(key), leads, "{key}: {text}");
        }
        if leads {
            assert_eq!((found["zk_learners"], found["zk_synced_followers"]), ("2", "2"));
            assert_eq!(found["zk_synced_observers"], "0");
            // Another test may be asking for one.
            assert!(found["zk_pending_syncs"].parse::<u64>().is_ok(), "{text}");
        }
        let text = say(address, "conf");
        let (lines, membership) = text.split_once("membership: \n").expect("the members");
        let found = values(lines, '=');
        assert_eq!((found["electionAlg"], found["peerType"]), ("3", "0"));
        let number = found["serverId"];
        let own = membership.lines().find(|it| it.starts_with(&format!("server.{number}=")));
        let (quorum, election) = (found["quorumPort"], found["electionPort"]);
        let expected = format!("server.{number}=127.0.0.1:{quorum}:{election}:participant");
        assert_eq!(own, Some(expected.as_str()));
        assert!(membership.ends_with("\nversion=0"), "{text}");
        for key in ["initLimit", "syncLimit", "tickTime", "clientPort", "dataDir"] {
            assert!(found.contains_key(key), "{key}: {text}");
        }
    }
}

#[test]
fn a_server_without_a_leader_says_that_it_does_not_serve() {
    let mut ensemble = ensemble(quick());
    let kept = ensemble.follower().expect("a follower");
    for number in ensemble.numbers().filter(|&number| number != kept) {
        ensemble.server_mut(number).kill9().expect("a dead server");
    }
    let address = ensemble.address(kept);
    // It notices with the next turn, or where a system is slow with the next silence.
    let deadline = Instant::now() + Duration::from_secs(30);
    while say(address, "srvr") != NOT_SERVING {
        assert!(Instant::now() < deadline, "it serves alone: {}", say(address, "srvr"));
    }
    for word in ["stat", "mntr", "conf", "cons", "dump", "wchs", "wchc", "wchp", "dirs", "srst"] {
        assert_eq!(say(address, word), NOT_SERVING, "{word}");
    }
    assert_eq!((say(address, "ruok").as_str(), say(address, "isro").as_str()), ("imok", "null"));
    assert_eq!(say(address, "hash"), NOT_SERVING.trim_end());
    assert!(say(address, "envi").starts_with("Environment:\nzookeeper.version="));
    // With a second one it serves again.
    let other = ensemble.numbers().find(|&number| number != kept).expect("another one");
    ensemble.server_mut(other).restart().expect("it serves");
    ensemble.await_service(kept).expect("both serve");
    at(address).ok(&request::sync("/"));
}
