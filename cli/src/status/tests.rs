//! `status` against sockets that answer as servers do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use farwatch_observer::four_letter::ensemble::{self, quor};
use farwatch_observer::report::{EnsembleReport, PeerReport};
use serde_json::Value;

use super::{StatusArgs, run, why_not};

/// A server that answers each word by `answer`, until the process ends.
fn server(answer: fn(&str) -> String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut word = [0; 4];
            if stream.read_exact(&mut word).is_ok() {
                let text = answer(std::str::from_utf8(&word).unwrap());
                // The asker may be gone already: that is its business.
                let _gone = stream.write_all(text.as_bytes());
            }
        }
    });
    addr
}

fn status(servers: &[String]) -> (bool, Vec<Value>) {
    let args = StatusArgs { servers: servers.to_vec(), json: true, timeout: 5 };
    let mut out = Vec::new();
    let all_serve = run(&args, &mut out).unwrap();
    (all_serve, serde_json::from_slice(&out).unwrap())
}

/// What is printed for people.
fn table_of(server: &str) -> String {
    let args = StatusArgs { servers: vec![server.to_owned()], json: false, timeout: 5 };
    let mut out = Vec::new();
    run(&args, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn healthy(word: &str) -> String {
    match word {
        "srvr" => "Zookeeper version: 3.9.4-x, built on d\nLatency min/avg/max: 0/0.7852/12\n\
                   Received: 159\nSent: 166\nConnections: 2\nOutstanding: 0\nZxid: 0x2f\n\
                   Mode: standalone\nNode count: 15\n"
            .to_owned(),
        "mntr" => "zk_version\tx\nzk_global_sessions\t3\nzk_local_sessions\t1\n".to_owned(),
        "isro" => "rw".to_owned(),
        word => format!("{word} is not executed because it is not in the whitelist.\n"),
    }
}

/// A server that is cut off and serves reads.
fn cut_off(word: &str) -> String {
    match word {
        "srvr" => {
            healthy(word).replace("standalone", "observer").replace("-x", "-farwatch")
                + "Staleness ms: 61000\n"
        }
        "quor" => quor(&EnsembleReport {
            me: 4,
            serves: "reads".to_owned(),
            stale_ms: 61_000,
            ..EnsembleReport::default()
        }),
        "isro" => "ro".to_owned(),
        word => healthy(word),
    }
}

#[test]
fn a_server_that_is_cut_off_is_told_with_how_old_it_is() {
    let addr = server(cut_off).to_string();
    let (all_serve, reports) = status(std::slice::from_ref(&addr));
    assert!(!all_serve, "nobody writes there");
    assert_eq!(
        (&reports[0]["role"], &reports[0]["stale_ms"]),
        (&"observer".into(), &61_000.into())
    );
    let reason = "it has no leader: its connections read what it had 61 s ago, nobody writes";
    assert_eq!(reports[0]["reason"], reason);
    let text = table_of(&addr);
    assert!(text.contains(&format!("{addr} serves reads only: it has no leader")), "{text}");
    let why = why_not(&addr, Duration::from_secs(5)).expect("it has no leader");
    assert!(
        why.starts_with(&addr) && why.contains("`-r` accepts a server that only reads"),
        "{why}"
    );
}

#[test]
fn a_server_that_serves_is_described() {
    let addr = server(healthy).to_string();
    let (all_serve, reports) = status(std::slice::from_ref(&addr));
    assert!(all_serve);
    let report = &reports[0];
    assert_eq!(report["server"], addr.as_str());
    assert_eq!((&report["role"], &report["zxid"]), (&"standalone".into(), &"0x2f".into()));
    assert_eq!((&report["sessions"], &report["nodes"]), (&4.into(), &15.into()));
    assert_eq!((&report["read_only"], &report["alive"]), (&false.into(), &Value::Null));
    let args = StatusArgs { servers: vec![addr.clone()], json: false, timeout: 5 };
    let mut out = Vec::new();
    assert!(run(&args, &mut out).unwrap());
    let text = String::from_utf8(out).unwrap();
    let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells, [addr.as_str(), "standalone", "0x2f", "-", "4", "2", "0/0.7852/12"]);
}

#[test]
fn a_server_that_does_not_serve_says_why() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // dropped again
    let looking = server(|word| match word {
        "ruok" => "imok".to_owned(),
        "isro" => "null".to_owned(),
        _ => "This ZooKeeper instance is not currently serving requests\n".to_owned(),
    });
    let silent = server(|_| String::new());
    let web = server(|_| "HTTP/1.1 400 Bad Request\r\n".to_owned());
    let secretive =
        server(|word| format!("{word} is not executed because it is not in the whitelist.\n"));
    let servers = [closed, looking, silent, web, secretive].map(|addr| addr.to_string());
    let (all_serve, reports) = status(&servers);
    assert!(!all_serve);
    let expected = [
        "connection refused",
        "has no leader",
        "closes connections without an answer",
        "it answers `HTTP/1.1 400 Bad Request`",
        "`srvr` is not in its whitelist",
    ];
    for (report, expected) in reports.iter().zip(expected) {
        assert_eq!(report["serves"], false);
        assert!(report["reason"].as_str().unwrap().contains(expected), "{report}");
    }
    assert_eq!(reports[1]["alive"], true);
}

/// What a server that looks for its leader says.
fn looking(word: &str) -> String {
    let peer = PeerReport {
        id: 2,
        address: "zoo2:2888".to_owned(),
        votes: true,
        last_error: Some("connection refused".to_owned()),
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
    match word {
        "quor" => quor(&report),
        "ruok" => "imok".to_owned(),
        "isro" => "null".to_owned(),
        _ => "This ZooKeeper instance is not currently serving requests\n".to_owned(),
    }
}

#[test]
fn a_server_without_a_leader_is_explained_and_its_json_holds_why() {
    let addr = server(looking).to_string();
    let (all_serve, reports) = status(std::slice::from_ref(&addr));
    assert!(!all_serve);
    assert_eq!(reports[0]["role"], "looking");
    assert_eq!(reports[0]["ensemble"]["peers"][0]["last_error"], "connection refused");
    let args = StatusArgs { servers: vec![addr], json: false, timeout: 5 };
    let mut out = Vec::new();
    assert!(!run(&args, &mut out).unwrap());
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("server 1 looks for a leader"), "{text}");
    assert!(text.contains("2 (zoo2:2888) is not heard: never heard from, last error"), "{text}");
}

/// A server whose list of words is ZooKeeper's.
fn without_quor(word: &str) -> String {
    healthy(word).replace("-x", "-farwatch")
}

/// What an observer says that never had a way to a leader.
fn lonely(word: &str) -> String {
    match word {
        "quor" => quor(&EnsembleReport {
            observes: true,
            ..ensemble::parse(&looking(word)).expect("a report")
        }),
        word => looking(word),
    }
}

#[test]
fn an_observer_without_a_leader_is_not_told_about_voters() {
    let (_, reports) = status(&[server(lonely).to_string()]);
    let reason = reports[0]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("it is an observer and has no leader"), "{reason}");
}

#[test]
fn that_quor_is_not_in_the_whitelist_is_said() {
    let addr = server(without_quor).to_string();
    let (all_serve, reports) = status(std::slice::from_ref(&addr));
    assert!(all_serve);
    assert_eq!(reports[0]["ensemble"], Value::Null);
    let reason = reports[0]["ensemble_reason"].as_str().expect("a reason");
    assert!(reason.starts_with("`quor` is not in the whitelist: "), "{reason}");
    let text = table_of(&addr);
    assert!(text.contains(&format!("{addr}: `quor` is not in the whitelist: ")), "{text}");
    assert_eq!(status(&[server(healthy).to_string()]).1[0]["ensemble_reason"], Value::Null);
}

/// A ZooKeeper would log a fault about a word that it does not know.
#[test]
fn a_zookeeper_that_serves_is_not_asked_for_its_ensemble() {
    let addr = server(|word| if word == "quor" { looking(word) } else { healthy(word) });
    let (all_serve, reports) = status(&[addr.to_string()]);
    assert!(all_serve);
    assert_eq!(reports[0]["ensemble"], Value::Null);
}

#[test]
fn one_that_only_answers_isro_serves_without_details() {
    let addr = server(|word| match word {
        "isro" => "ro".to_owned(),
        _ => format!("{word} is not executed because it is not in the whitelist.\n"),
    });
    let (all_serve, reports) = status(&[addr.to_string(), server(healthy).to_string()]);
    assert!(all_serve);
    assert_eq!(reports[0]["read_only"], true);
    assert_eq!(reports[0]["role"], Value::Null);
}
