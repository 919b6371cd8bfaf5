//! The words against captures of ZooKeeper servers.

use std::collections::{BTreeMap, BTreeSet};

use farwatch_core::wire::request::OpCode;
use farwatch_core::zxid::Zxid;

use super::configuration::{ConfFacts, Environment, conf, dirs, envi};
use super::counters::{Counter, ServerCounters, Sizes, Summary};
use super::ensemble::{parse, quor};
use super::monitor::{Gauges, LeaderGauges, MonitorFacts, mntr};
use super::server::{ConnectionFacts, ConnectionSession, Mode, ServerFacts, cons, srvr, stat};
use super::sessions::{DumpFacts, SessionFacts, dump};
use super::watches::{WatchSummary, hash, wchc, wchp, wchs};
use super::{FirstBytes, Whitelist, Word, not_serving, refusal, requested_trace_mask, trace_mask};
use crate::config::{ClientAddr, PeerAddr, ServerConfig, ServerRole, ServerSpec, Standing};
use crate::report::{EnsembleReport, PeerReport};

fn facts(mode: Mode) -> ServerFacts {
    let counters = ServerCounters::new(1);
    (0..9_999).for_each(|_| counters.thread(0).latency(785, 1));
    counters.thread(0).latency(12_400, 1);
    ServerFacts {
        latency: counters.latency(),
        received: 159,
        sent: 166,
        connections: 2,
        outstanding: 0,
        zxid: Zxid(0x2f),
        mode,
        nodes: 15,
        proposals: None,
        stale_ms: None,
    }
}

fn connections() -> Vec<ConnectionFacts> {
    let session = ConnectionSession {
        id: 0x0100_0010_9510_0002,
        last_op: Some(OpCode::GetData),
        established_unix_ms: 1_795_261_869_716,
        timeout_ms: 30_000,
        last_cxid: 7,
        last_zxid: Zxid(0x2f),
        last_response_ms: 1_149_676,
        last_latency_ms: 0,
        latency_ms_min: 0,
        latency_ms_avg: 0,
        latency_ms_max: 2,
    };
    let peer = "127.0.0.1:44228".parse().unwrap();
    let fresh =
        ConnectionFacts { peer, interest: 0, queued: 0, received: 1, sent: 0, session: None };
    let peer = "127.0.0.1:44060".parse().unwrap();
    let known = ConnectionFacts {
        peer,
        interest: 1,
        received: 8,
        sent: 8,
        session: Some(session),
        ..fresh.clone()
    };
    vec![fresh, known]
}

#[test]
fn srvr_reads_as_zookeepers() {
    let text = srvr(&facts(Mode::Standalone));
    let (version, rest) = text.split_once('\n').unwrap();
    assert!(version.starts_with("Zookeeper version: 3.9.4-farwatch-"));
    assert!(version.contains(", built on "));
    assert_eq!(
        rest,
        "Latency min/avg/max: 0/0.7862/12\nReceived: 159\nSent: 166\nConnections: 2\n\
         Outstanding: 0\nZxid: 0x2f\nMode: standalone\nNode count: 15\n"
    );
    let idle = ServerFacts { latency: ServerCounters::new(2).latency(), ..facts(Mode::Follower) };
    assert!(srvr(&idle).contains("\nLatency min/avg/max: 0/0.0/0\n"));
    assert!(srvr(&idle).contains("\nMode: follower\n"));
}

#[test]
fn a_leader_adds_its_proposals_and_a_read_only_server_says_so() {
    let sizes = Sizes { last: 48, min: 36, max: 91 };
    let leader = ServerFacts { proposals: Some(sizes), ..facts(Mode::Leader) };
    let end = "Mode: leader\nNode count: 15\nProposal sizes last/min/max: 48/36/91\n";
    assert!(srvr(&leader).ends_with(end));
    let fresh = ServerFacts { proposals: Some(Sizes::default()), ..facts(Mode::Leader) };
    assert!(srvr(&fresh).ends_with("Proposal sizes last/min/max: -1/-1/-1\n"));
    let text = srvr(&ServerFacts { stale_ms: Some(2100), ..facts(Mode::ReadOnly) });
    let second = text.lines().nth(1);
    assert_eq!(second, Some("READ-ONLY mode; serving only read-only clients"));
    assert!(text.ends_with("Mode: read-only\nNode count: 15\nStaleness ms: 2100\n"));
}

#[test]
fn stat_lists_connections_in_brief_and_cons_in_full() {
    let text = stat(&facts(Mode::Standalone), &connections());
    let (_, rest) = text.split_once('\n').unwrap();
    assert!(rest.starts_with(
        "Clients:\n /127.0.0.1:44228[0](queued=0,recved=1,sent=0)\n \
         /127.0.0.1:44060[1](queued=0,recved=8,sent=8)\n\nLatency min/avg/max: "
    ));
    assert_eq!(
        cons(&connections()),
        " /127.0.0.1:44228[0](queued=0,recved=1,sent=0)\n \
         /127.0.0.1:44060[1](queued=0,recved=8,sent=8,sid=0x100001095100002,lop=GETD,\
         est=1795261869716,to=30000,lcxid=0x7,lzxid=0x2f,lresp=1149676,llat=0,minlat=0,avglat=0,\
         maxlat=2)\n\n"
    );
    let peer = "[::1]:9".parse().unwrap();
    let v6 = ConnectionFacts { peer, ..connections().remove(0) };
    assert!(cons(&[v6]).starts_with(" /[0:0:0:0:0:0:0:1]:9[0]("));
}

#[test]
fn conf_of_a_member_ends_with_its_ensemble_and_that_of_a_lone_server_with_its_id() {
    let mut config = ServerConfig {
        server_id: 2,
        tick_time_ms: 1000,
        session_timeout_ms_min: 2000,
        session_timeout_ms_max: 20_000,
        ..ServerConfig::default()
    };
    let facts = ConfFacts {
        client_port: Some(22502),
        data_dir_bytes: 66218,
        data_log_dir_bytes: 66219,
        membership: "server.1=h:1:2:participant;0.0.0.0:3\nversion=100000000".to_owned(),
    };
    let alone = "clientPort=22502\nsecureClientPort=-1\ndataDir=farwatch-data\n\
                 dataDirSize=66218\ndataLogDir=farwatch-data\ndataLogSize=66219\ntickTime=1000\n\
                 maxClientCnxns=60\nminSessionTimeout=2000\nmaxSessionTimeout=20000\n\
                 clientPortListenBacklog=-1\nserverId=2\n";
    assert_eq!(conf(&config, &facts), alone);
    config.standing = Standing::Member;
    let peer = PeerAddr { host: "h".into(), quorum_port: 22512, election_port: Some(22522) };
    let role = ServerRole::Participant;
    config.servers = vec![ServerSpec { id: 2, peers: vec![peer], role, client: None }];
    let member = "initLimit=10\nsyncLimit=5\nelectionAlg=3\nelectionPort=22522\nquorumPort=22512\n\
                  peerType=0\nmembership: \nserver.1=h:1:2:participant;0.0.0.0:3\n\
                  version=100000000";
    assert_eq!(conf(&config, &facts), format!("{alone}{member}"));
    assert_eq!(dirs(&facts), "datadir_size: 66218\nlogdir_size: 66219\n");
}

#[test]
fn a_server_line_is_written_in_full() {
    let peer = PeerAddr { host: "::1".into(), quorum_port: 2888, election_port: Some(3888) };
    let client = Some(ClientAddr { host: "0.0.0.0".into(), port: 2181 });
    let spec = ServerSpec { id: 7, peers: vec![peer], role: ServerRole::Observer, client };
    assert_eq!(spec.to_string(), "server.7=[::1]:2888:3888:observer;0.0.0.0:2181");
}

#[test]
fn dump_shows_sessions_ephemerals_and_connections() {
    let (first, second) = (1_795_261_874_000, 1_795_261_900_000);
    let sessions = BTreeMap::from([(first, vec![]), (second, vec![0x0100_0010_9510_0002])]);
    let ephemerals = BTreeMap::from([(0x0100_0010_9510_0002, vec!["/w/eph".to_owned()])]);
    let peer = "127.0.0.1:44230".parse().unwrap();
    let connections = BTreeMap::from([(first, vec![]), (second, vec![(peer, 0)])]);
    let learner = DumpFacts {
        sessions: SessionFacts::Learned(BTreeMap::from([(0x0100_0010_9510_0002, 20_000)])),
        ..DumpFacts::default()
    };
    let sessions = SessionFacts::Tracked(sessions);
    let leader = DumpFacts { local: None, sessions, ephemerals, connections };
    assert_eq!(
        dump(&leader),
        "SessionTracker dump:\nSession Sets (2)/(1):\n0 expire at Sat Nov 21 11:51:14 UTC 2026:\n\
         1 expire at Sat Nov 21 11:51:40 UTC 2026:\n\t0x100001095100002\nephemeral nodes dump:\n\
         Sessions with Ephemerals (1):\n0x100001095100002:\n\t/w/eph\nConnections dump:\n\
         Connections Sets (2)/(1):\n0 expire at Sat Nov 21 11:51:14 UTC 2026:\n\
         1 expire at Sat Nov 21 11:51:40 UTC 2026:\n\tip: /127.0.0.1:44230 sessionId: 0x0\n"
    );
    let start = "SessionTracker dump:\nGlobal Sessions(1):\n0x100001095100002\t20000ms\n";
    assert!(dump(&learner).starts_with(start));
    let local = Some(BTreeMap::from([(first, vec![]), (second, vec![0x0100_0010_9510_0003])]));
    let own = "SessionTracker dump:\nLocal Session Sets (2)/(1):\n\
               0 expire at Sat Nov 21 11:51:14 UTC 2026:\n\
               1 expire at Sat Nov 21 11:51:40 UTC 2026:\n\t0x100001095100003\n";
    let text = dump(&DumpFacts { local: local.clone(), ..learner });
    assert!(text.starts_with(&format!("{own}Global Sessions(1):\n0x100001095100002\t20000ms\n")));
    let text = dump(&DumpFacts { local, ..leader });
    assert!(text.starts_with(&format!("{own}Global Session Sets (2)/(1):\n")));
}

#[test]
fn watches_and_digests_read_as_zookeepers() {
    let facts = WatchSummary { connections: 1, paths: 4, watches: 4 };
    assert_eq!(wchs(facts), "1 connections watching 4 paths\nTotal watches:4\n");
    assert_eq!(wchc(&BTreeMap::from([(0x1f, vec!["/a", "/b"])])), "0x1f\n\t/a\n\t/b\n\n");
    assert_eq!(wchp(&BTreeMap::from([("/a", vec![0x1f, 0x20])])), "/a\n\t0x1f\n\t0x20\n\n");
    assert_eq!(hash(&[(Zxid(0x80), 162_529_617_049)]), "80: 162529617049\n");
    assert_eq!(hash(&[]), "");
}

#[test]
fn envi_has_zookeepers_keys_in_order() {
    let environment = Environment {
        os_arch: "x86_64".to_owned(),
        memory_used_bytes: 243 << 20,
        ..Environment::read()
    };
    let text = envi(&environment);
    let keys: Vec<&str> =
        text.lines().map(|line| line.split_once('=').map_or(line, |pair| pair.0)).collect();
    let expected = "Environment: zookeeper.version host.name java.version java.vendor java.home \
                    java.class.path java.library.path java.io.tmpdir java.compiler os.name os.arch \
                    os.version user.name user.home user.dir os.memory.free os.memory.max \
                    os.memory.total";
    assert_eq!(keys.join(" "), expected);
    assert!(text.contains("\nos.arch=amd64\n"));
    assert!(text.ends_with("os.memory.total=243MB\n"));
}

fn monitor(mode: Mode, leader: Option<LeaderGauges>) -> MonitorFacts {
    let gauges = Gauges { nodes: 5, watches: 3, ..Gauges::default() };
    let peer_state = None;
    let (learns_from, upstream_rtt_us, quorum_size) = (None, None, None);
    let (applied, stale_ms) = (Zxid(0x1_0000_0007), None);
    MonitorFacts {
        mode,
        peer_state,
        applied,
        stale_ms,
        learns_from,
        upstream_rtt_us,
        gauges,
        quorum_size,
        leader,
    }
}

/// Keys that monitoring tools look for on every server.
const TOOLS_EXPECT: &[&str] = &[
    "version",
    "server_state",
    "avg_latency",
    "max_latency",
    "min_latency",
    "packets_received",
    "packets_sent",
    "num_alive_connections",
    "outstanding_requests",
    "znode_count",
    "watch_count",
    "ephemerals_count",
    "approximate_data_size",
    "open_file_descriptor_count",
    "max_file_descriptor_count",
    "global_sessions",
    "local_sessions",
    "uptime",
    "connection_drop_probability",
    "last_client_response_size",
    "outstanding_tls_handshake",
    "auth_failed_count",
    "commit_count",
    "op_count_total",
];

#[test]
fn mntr_has_the_keys_that_tools_look_for_each_once_and_starts_with_version_and_state() {
    let counters = ServerCounters::new(2);
    let text = mntr(&monitor(Mode::Standalone, None), &counters);
    let lines: Vec<(&str, &str)> =
        text.lines().map(|line| line.split_once('\t').unwrap()).collect();
    assert_eq!(lines[0].0, "zk_version");
    assert_eq!(lines[1], ("zk_server_state", "standalone"));
    let keys: BTreeSet<&str> =
        lines.iter().map(|(key, _)| key.strip_prefix("zk_").unwrap()).collect();
    assert_eq!(keys.len(), lines.len());
    for key in TOOLS_EXPECT {
        assert!(keys.contains(key), "{key}");
    }
    assert!(!keys.contains("synced_followers") && !keys.contains("quorum_size"));
    let leading = MonitorFacts {
        quorum_size: Some(3),
        peer_state: Some("leading - broadcast".to_owned()),
        ..monitor(Mode::Leader, Some(LeaderGauges::default()))
    };
    let text = mntr(&leading, &counters);
    assert!(text.contains("\nzk_peer_state\tleading - broadcast\nzk_avg_latency\t0.0\n"));
    for key in ["quorum_size\t3", "learners\t0", "synced_followers\t0", "max_proposal_size\t-1"] {
        assert!(text.contains(&format!("\nzk_{key}\n")), "{key}");
    }
}

/// Captured from three voters and an observer of 3.9.4, without what every server has.
#[test]
fn mntr_of_members_has_the_lines_of_zookeepers_members_and_no_others() {
    let counters = ServerCounters::new(1);
    let of_members = |facts: &MonitorFacts| -> Vec<String> {
        let alone = mntr(&monitor(Mode::Standalone, None), &counters);
        let alone: BTreeSet<&str> = alone.lines().collect();
        mntr(facts, &counters)
            .lines()
            .filter(|line| !alone.contains(line))
            .map(|line| line.replace('\t', " "))
            .collect()
    };
    let follower = MonitorFacts {
        quorum_size: Some(3),
        peer_state: Some("following - broadcast".to_owned()),
        ..monitor(Mode::Follower, None)
    };
    let expected =
        ["zk_server_state follower", "zk_peer_state following - broadcast", "zk_quorum_size 3"];
    assert_eq!(of_members(&follower), expected);
    // And the three that are Farwatch's own: how stale a member is, and how far away.
    let upstream_rtt_us = Some(80_250);
    let stale = MonitorFacts { stale_ms: Some(12), ..monitor(Mode::Follower, None) };
    let stale = MonitorFacts { upstream_rtt_us, ..stale };
    let expected = [
        "zk_server_state follower",
        "zk_staleness_ms 12",
        "zk_applied_zxid 4294967303",
        "zk_upstream_rtt_us 80250",
    ];
    assert_eq!(of_members(&stale), expected);
    let gauges = LeaderGauges {
        learners: 3,
        synced_followers: 2,
        synced_observers: 1,
        uptime_ms: 28_528,
        ..LeaderGauges::default()
    };
    let leader = MonitorFacts {
        quorum_size: Some(3),
        peer_state: Some("leading - broadcast".to_owned()),
        ..monitor(Mode::Leader, Some(gauges))
    };
    let expected = [
        "zk_server_state leader",
        "zk_peer_state leading - broadcast",
        "zk_quorum_size 3",
        "zk_learners 3",
        "zk_synced_followers 2",
        "zk_synced_non_voting_followers 0",
        "zk_synced_observers 1",
        "zk_pending_syncs 0",
        "zk_leader_uptime 28528",
        "zk_last_proposal_size -1",
        "zk_min_proposal_size -1",
        "zk_max_proposal_size -1",
    ];
    assert_eq!(of_members(&leader), expected);
}

#[test]
fn quor_is_one_line_that_reads_back() {
    let peer = PeerReport {
        id: 2,
        address: "b:2888".to_owned(),
        votes: true,
        silent_ms: Some(7),
        ..PeerReport::default()
    };
    let report = EnsembleReport {
        me: 1,
        role: "looking".to_owned(),
        phase: "election".to_owned(),
        quorum: 2,
        peers: vec![peer],
        ..EnsembleReport::default()
    };
    let text = quor(&report);
    assert_eq!(text.find('\n'), Some(text.len() - 1), "{text}");
    assert_eq!(parse(&text), Some(report));
    assert_eq!(parse("quor is not executed because it is not in the whitelist.\n"), None);
}

#[test]
fn mntr_shows_durations_in_milliseconds_and_srst_clears_them() {
    let counters = ServerCounters::new(2);
    let [reactor, core] = [0, 1].map(|index| counters.thread(index));
    core.record(Summary::FsyncTime, 2_500);
    core.record(Summary::FsyncTime, 4_500);
    core.record(Summary::SyncBatchSize, 3);
    reactor.record_many(Summary::ReadLatency, 8_192, 10);
    reactor.add(Counter::PacketsReceived, 10);
    reactor.request(OpCode::Create2);
    core.request(OpCode::CreateTtl);
    let text = mntr(&monitor(Mode::Standalone, None), &counters);
    for line in [
        "avg_fsynctime\t3.5",
        "min_fsynctime\t2",
        "max_fsynctime\t4",
        "cnt_fsynctime\t2",
        "sum_fsynctime\t7",
        "avg_sync_processor_batch_size\t3.0",
        "sum_sync_processor_batch_size\t3",
        "cnt_readlatency\t10",
        "p50_readlatency\t8",
        "p999_readlatency\t8",
        "packets_received\t10",
        "op_count_create\t2",
        "op_count_total\t2",
    ] {
        assert!(text.contains(&format!("\nzk_{line}\n")), "{line}");
    }
    assert!(!text.contains("zk_p50_fsynctime"));
    counters.reset();
    let text = mntr(&monitor(Mode::Standalone, None), &counters);
    assert!(
        text.contains("\nzk_cnt_fsynctime\t0\n") && text.contains("\nzk_packets_received\t0\n")
    );
}

#[test]
fn only_the_first_four_bytes_can_be_a_word() {
    for &word in Word::ALL {
        let bytes = word.text().as_bytes().try_into().unwrap();
        assert_eq!(FirstBytes::read(bytes), FirstBytes::Word(word));
    }
    assert_eq!(FirstBytes::read([0xff, 0xf4, 0xff, 0xfd]), FirstBytes::TelnetClose);
    assert_eq!(FirstBytes::read([0, 0, 0, 44]), FirstBytes::FrameLength(44));
    let FirstBytes::FrameLength(length) = FirstBytes::read(*b"RUOK") else { panic!() };
    assert!(farwatch_core::limits::CLIENT_FRAME_BYTES_LIMIT < length as usize);
}

#[test]
fn the_default_whitelist_answers_srvr_and_quor_only() {
    let allowed = |list: Whitelist| -> Vec<&str> {
        Word::ALL.iter().filter(|word| list.allows(**word)).map(|word| word.text()).collect()
    };
    assert_eq!(allowed(Whitelist::default()), ["quor", "srvr"]);
    assert_eq!(allowed(Whitelist::default().with(Word::Isro)), ["isro", "quor", "srvr"]);
    let (list, unknown) = Whitelist::parse(" stat, ruok ,nope,,");
    assert_eq!((allowed(list), unknown), (vec!["ruok", "srvr", "stat"], vec!["nope"]));
    assert_eq!(Whitelist::parse("*").0, Whitelist::ALL);
    assert_eq!(refusal(Word::Ruok), "ruok is not executed because it is not in the whitelist.\n");
}

#[test]
fn a_server_without_a_quorum_answers_what_needs_none() {
    let text = "This ZooKeeper instance is not currently serving requests";
    for &word in Word::ALL {
        let expected = match word.text() {
            "ruok" | "envi" | "gtmk" | "stmk" | "quor" => None,
            "isro" => Some("null".to_owned()),
            "hash" => Some(text.to_owned()),
            _ => Some(format!("{text}\n")),
        };
        assert_eq!(not_serving(word).map(str::to_owned), expected, "{word}");
    }
}

#[test]
fn a_trace_mask_is_read_as_it_is_set() {
    assert_eq!(trace_mask(306), "306");
    assert_eq!(trace_mask(u64::MAX), "-1");
    assert_eq!(requested_trace_mask(&[0, 0, 0, 0, 0, 0, 1, 50, 9]), Some(306));
    assert_eq!(requested_trace_mask(&[0; 7]), None);
}
