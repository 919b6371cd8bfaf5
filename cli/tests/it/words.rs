//! The four-letter words of a live server: the forms that monitoring tools parse, and that what
//! they say is true, also when connections are spread over three reactors.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use farwatch_bench::raw::{Connection, Request, Session, four_letter_word, ids, request};
use farwatch_bench::subject::{Options, Subject};

use crate::subject::{connect, farwatch};

/// Keys that every server shows in mntr.
const GAUGES: [&str; 28] = [
    "zk_version",
    "zk_server_state",
    "zk_avg_latency",
    "zk_min_latency",
    "zk_max_latency",
    "zk_packets_received",
    "zk_packets_sent",
    "zk_num_alive_connections",
    "zk_outstanding_requests",
    "zk_uptime",
    "zk_znode_count",
    "zk_watch_count",
    "zk_ephemerals_count",
    "zk_approximate_data_size",
    "zk_global_sessions",
    "zk_local_sessions",
    "zk_open_file_descriptor_count",
    "zk_max_file_descriptor_count",
    "zk_connection_drop_probability",
    "zk_last_client_response_size",
    "zk_min_client_response_size",
    "zk_max_client_response_size",
    "zk_outstanding_tls_handshake",
    "zk_auth_failed_count",
    "zk_non_mtls_remote_conn_count",
    "zk_non_mtls_local_conn_count",
    "zk_connection_rejected",
    "zk_snap_count",
];

fn server(threads: u32) -> Subject {
    farwatch(Options::new().line(&format!("farwatch.threads={threads}")))
}

fn say(address: SocketAddr, word: &str) -> String {
    four_letter_word(address, word).unwrap_or_else(|error| panic!("{word}: {error}"))
}

fn ok(connection: &mut Connection, request: &Request) {
    assert_eq!(connection.call(request).expect("a reply").err, 0);
}

fn values(text: &str, separator: char) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once(separator)).collect()
}

fn id(session: &Session) -> String {
    format!("{:#x}", session.id)
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// Two sessions with nodes, an ephemeral, and watches: `/d` has data watches of both, `/c` a child
/// watch of the first.
fn busy(address: SocketAddr) -> [(Connection, Session); 2] {
    let (mut first, one) = connect(address);
    let (mut second, two) = connect(address);
    for path in ["/d", "/c"] {
        ok(&mut first, &request::create(path, Some(b"12345"), &ids::open(), 0));
    }
    ok(&mut first, &request::create("/c/e", None, &ids::open(), 1));
    ok(&mut first, &request::get_data("/d", true));
    ok(&mut second, &request::get_data("/d", true));
    ok(&mut first, &request::get_children("/c", true));
    [(first, one), (second, two)]
}

#[test]
fn short_words_have_their_exact_answers() {
    let subject = server(1);
    let address = subject.address();
    assert_eq!(say(address, "ruok"), "imok");
    assert_eq!(say(address, "isro"), "rw");
    assert_eq!(say(address, "gtmk"), "306");
    let mut mask = b"stmk".to_vec();
    mask.extend_from_slice(&2_i64.to_be_bytes());
    let mut connection = Connection::open(address).expect("a connection");
    connection.send_raw(&mask).expect("sent");
    assert_eq!(connection.read_to_close().expect("an answer"), b"2");
    assert_eq!(say(address, "gtmk"), "2");
    assert_eq!(say(address, "crst"), "Connection stats reset.\n");
    assert_eq!(say(address, "srst"), "Server stats reset.\n");
    // ff f4 ff fd: what telnet sends for Ctrl-C.
    let mut telnet = Connection::open(address).expect("a connection");
    telnet.send_raw(&[0xff, 0xf4, 0xff, 0xfd]).expect("sent");
    telnet.expect_close().expect("a close");
    // No word and no length that is accepted.
    assert_eq!(say(address, "abcd"), "");
}

#[test]
fn a_word_that_is_not_allowed_says_so() {
    let subject = farwatch(Options::new().words("srvr"));
    let refused = "ruok is not executed because it is not in the whitelist.\n";
    assert_eq!(say(subject.address(), "ruok"), refused);
    assert!(say(subject.address(), "srvr").contains("Mode: standalone\n"));
}

#[test]
fn quor_names_the_leader_as_json() {
    let subject = farwatch(Options::new().words("srvr, quor"));
    let report: serde_json::Value =
        serde_json::from_str(&say(subject.address(), "quor")).expect("JSON");
    let known: Vec<_> =
        ["role", "phase", "me", "leader", "quorum"].iter().map(|key| report[key].clone()).collect();
    assert_eq!(serde_json::json!(known), serde_json::json!(["leading", "broadcast", 1, 1, 1]));
    assert_eq!(report["peers"], serde_json::json!([]));
}

#[test]
fn srvr_and_stat_count_what_happened_on_every_reactor() {
    for threads in [1, 3] {
        let subject = server(threads);
        let address = subject.address();
        let mut clients = busy(address);
        let text = say(address, "srvr");
        let names: Vec<_> = text.lines().filter_map(|line| line.split_once(": ")).collect();
        let expected = [
            "Zookeeper version",
            "Latency min/avg/max",
            "Received",
            "Sent",
            "Connections",
            "Outstanding",
            "Zxid",
            "Mode",
            "Node count",
        ];
        assert_eq!(names.iter().map(|(name, _)| *name).collect::<Vec<_>>(), expected, "{text}");
        let srvr: BTreeMap<_, _> = names.into_iter().collect();
        assert_eq!(srvr["Connections"], "3", "two clients and the one that asks");
        assert_eq!((srvr["Mode"], srvr["Outstanding"]), ("standalone", "0"));
        // The root, /zookeeper, its config and quota, and three of ours.
        assert_eq!(srvr["Node count"], "8".to_owned(), "{text}");
        assert_eq!(srvr["Latency min/avg/max"].split('/').count(), 3);
        let reply = clients[0].0.call(&request::exists("/", false)).expect("a reply");
        assert_eq!(srvr["Zxid"], format!("{:#x}", reply.zxid));

        let stat = say(address, "stat");
        let (head, tail) = stat.split_once("\n\n").expect("an empty line behind the clients");
        let head: Vec<_> = head.lines().collect();
        assert!(head[0].starts_with("Zookeeper version: ") && head[1] == "Clients:", "{stat}");
        for (connection, _) in &clients {
            let peer = connection.local_address().expect("an address");
            let line = head.iter().find(|line| line.starts_with(&format!(" /{peer}[")));
            let line = line.unwrap_or_else(|| panic!("{peer} is not in {stat}"));
            assert!(line.ends_with(')') && line.contains("](queued=0,recved="), "{line}");
        }
        assert_eq!(head.len(), 2 + 3, "{stat}");
        assert!(tail.starts_with("Latency min/avg/max: "), "{stat}");
    }
}

#[test]
fn cons_shows_each_connection_and_crst_sets_its_numbers_back() {
    for threads in [1, 3] {
        let subject = server(threads);
        let address = subject.address();
        let clients = busy(address);
        let text = say(address, "cons");
        assert!(text.ends_with("\n\n"), "{text:?}");
        for (connection, session) in &clients {
            let peer = connection.local_address().expect("an address");
            let line = text.lines().find(|line| line.contains(&peer.to_string()));
            let line = line.unwrap_or_else(|| panic!("{peer} is not in {text}"));
            let fields = line.split_once('(').expect("fields").1.trim_end_matches(')');
            let fields: BTreeMap<_, _> =
                fields.split(',').filter_map(|field| field.split_once('=')).collect();
            assert_eq!(fields["sid"], id(session));
            assert_eq!(fields["to"], "30000");
            assert_eq!(number(fields["sent"]), number(fields["recved"]), "{line}");
            assert!(["GETC", "GETD"].contains(&fields["lop"]), "{line}");
            for name in ["est", "lcxid", "lzxid", "lresp", "llat", "minlat", "avglat", "maxlat"] {
                assert!(fields.contains_key(name), "{name} is not in {line}");
            }
        }
        say(address, "crst");
        let text = say(address, "cons");
        for (connection, _) in &clients {
            let peer = connection.local_address().expect("an address").to_string();
            let line = text.lines().find(|line| line.contains(&peer)).expect("still there");
            assert!(line.contains("recved=0,sent=0"), "{line}");
        }
    }
}

#[test]
fn srst_sets_the_servers_numbers_back() {
    let subject = server(3);
    let address = subject.address();
    let _clients = busy(address);
    let received = |text: String| number(values(&text, ':')["Received"].trim());
    assert!(received(say(address, "srvr")) >= 8);
    say(address, "srst");
    assert!(received(say(address, "srvr")) <= 4, "only the words themselves");
}

#[test]
fn mntr_has_every_key_once_and_tells_the_truth() {
    for threads in [1, 3] {
        let subject = server(threads);
        let address = subject.address();
        let _clients = busy(address);
        let text = say(address, "mntr");
        let mut found: BTreeMap<&str, &str> = BTreeMap::new();
        for line in text.lines() {
            let (key, value) = line.split_once('\t').unwrap_or_else(|| panic!("{line:?}"));
            assert!(key.starts_with("zk_"), "{line:?}");
            assert!(found.insert(key, value).is_none(), "{key} is there twice");
        }
        for key in GAUGES {
            assert!(found.contains_key(key), "{key} is not in mntr");
        }
        let exact = [
            ("zk_server_state", "standalone"),
            ("zk_num_alive_connections", "3"),
            ("zk_outstanding_requests", "0"),
            ("zk_znode_count", "8"),
            ("zk_watch_count", "3"),
            ("zk_ephemerals_count", "1"),
            ("zk_global_sessions", "2"),
            ("zk_local_sessions", "0"),
        ];
        for (key, value) in exact {
            assert_eq!(found[key], value, "{key} with {threads} threads");
        }
        for (key, value) in found {
            if !["zk_version", "zk_server_state"].contains(&key) {
                assert!(value.parse::<f64>().is_ok(), "{key} is {value:?}");
            }
        }
    }
}

/// What `mntr` says of `key`.
fn told(address: SocketAddr, key: &str) -> u64 {
    let text = say(address, "mntr");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('\t'));
    line.unwrap_or_else(|| panic!("{key} is not in {text}")).parse().expect("a number")
}

#[test]
fn mntr_counts_what_each_stage_of_a_write_took_and_what_a_start_read() {
    let mut subject = server(1);
    {
        let address = subject.address();
        let [(mut first, _), _second] = busy(address);
        ok(&mut first, &request::set_data("/d", None, -1));
        for stage in [
            "prep_process_time",
            "prep_processor_queue_size",
            "sync_processor_queue_size",
            "sync_process_time",
            "sync_processor_queue_and_flush_time_ms",
            "quorum_ack_latency",
            "commit_process_time",
            "proposal_process_time",
            "sync_processor_batch_size",
            "fsynctime",
            "updatelatency",
            "propagation_latency",
        ] {
            assert!(0 < told(address, &format!("zk_cnt_{stage}")), "{stage}");
        }
        assert_eq!(told(address, "zk_cnt_node_changed_watch_count"), 1);
        assert_eq!(told(address, "zk_sum_node_changed_watch_count"), 2, "both are told");
        assert_eq!(told(address, "zk_sum_startup_txns_loaded"), 0);
    }
    subject.kill9().expect("it runs");
    subject.restart().expect("it starts again");
    let address = subject.address();
    // Two sessions, three nodes, one change, and what makes them.
    assert!(6 <= told(address, "zk_sum_startup_txns_loaded"));
    assert_eq!(told(address, "zk_cnt_dbinittime"), 1);
}

#[test]
fn watches_are_listed_by_session_and_by_path() {
    for threads in [1, 3] {
        let subject = server(threads);
        let address = subject.address();
        let [(mut first, one), (_second, two)] = busy(address);
        assert_eq!(say(address, "wchs"), "2 connections watching 1 paths\nTotal watches:2\n");
        let by_path = say(address, "wchp");
        let mut ids = [id(&one), id(&two)];
        ids.sort();
        let mut lines: Vec<_> = by_path.lines().collect();
        assert_eq!(lines.remove(0), "/d", "{by_path}");
        assert_eq!(lines.pop(), Some(""), "{by_path:?}");
        lines.sort_unstable();
        assert_eq!(lines, ids.each_ref().map(|id| format!("\t{id}")), "{by_path}");
        let by_session = say(address, "wchc");
        for id in &ids {
            assert!(by_session.contains(&format!("{id}\n\t/d\n")), "{by_session}");
        }
        // What fired is gone.
        ok(&mut first, &request::set_data("/d", None, -1));
        assert!(say(address, "wchs").ends_with("Total watches:0\n"));
        assert!(!say(address, "wchp").contains("/d"));
    }
}

#[test]
fn dump_lists_sessions_ephemerals_and_connections() {
    for threads in [1, 3] {
        let subject = server(threads);
        let address = subject.address();
        let [(first, one), (_second, two)] = busy(address);
        let text = say(address, "dump");
        let parts = ["SessionTracker dump:", "ephemeral nodes dump:", "Connections dump:"]
            .map(|head| text.find(head).unwrap_or_else(|| panic!("{head} is not in {text}")));
        assert!(parts.is_sorted(), "{text}");
        let (sessions, rest) = text.split_at(parts[1]);
        let (ephemerals, connections) = rest.split_at(parts[2] - parts[1]);
        assert!(sessions.contains(")/(2):\n"), "{text}");
        assert!(sessions.contains(&id(&one)) && sessions.contains(&id(&two)), "{text}");
        let owned = format!("Sessions with Ephemerals (1):\n{}:\n\t/c/e\n", id(&one));
        assert!(ephemerals.contains(&owned), "{text}");
        let peer = first.local_address().expect("an address");
        let line = format!("\tip: /{peer} sessionId: {}", id(&one));
        assert!(connections.contains(&line), "{text}");
    }
}

#[test]
fn conf_envi_dirs_and_hash_have_their_lines() {
    let subject = server(1);
    let address = subject.address();
    let _clients = busy(address);
    let conf = say(address, "conf");
    let conf = values(&conf, '=');
    assert_eq!(conf["clientPort"], address.port().to_string());
    assert_eq!((conf["tickTime"], conf["serverId"]), ("2000", "0"));
    for key in ["dataDir", "dataDirSize", "dataLogDir", "dataLogSize", "maxClientCnxns"] {
        assert!(conf.contains_key(key), "{key} is not in conf");
    }
    assert_eq!((conf["minSessionTimeout"], conf["maxSessionTimeout"]), ("4000", "40000"));
    let envi = say(address, "envi");
    assert!(envi.starts_with("Environment:\nzookeeper.version="), "{envi}");
    let keys: Vec<_> = envi.lines().skip(1).filter_map(|line| line.split_once('=')).collect();
    assert_eq!(keys.first().map(|(key, _)| *key), Some("zookeeper.version"));
    assert!(keys.iter().any(|(key, _)| *key == "os.name"), "{envi}");
    let dirs = say(address, "dirs");
    let dirs = values(&dirs, ':');
    assert!(number(dirs["datadir_size"].trim()) > 0 && number(dirs["logdir_size"].trim()) > 0);
    for line in say(address, "hash").lines() {
        let (zxid, digest) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
        assert!(i64::from_str_radix(zxid, 16).is_ok() && digest.parse::<i128>().is_ok(), "{line}");
    }
}
