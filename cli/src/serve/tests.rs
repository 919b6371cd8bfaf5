//! What `serve` reads and says before a server runs.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::Path;

use farwatch_observer::config::{ServerConfig, Standing};

use super::{
    EXIT_BAD_CONFIG, EXIT_DATA_DIR, ServeArgs, explain_bind, explain_dir, foreign_data,
    listen_addr, prepare, start_line,
};

fn args(config: Option<&Path>, data_dir: Option<&Path>, settings: &[(&str, &str)]) -> ServeArgs {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    ServeArgs {
        observe: None,
        peer_listen: None,
        config: config.map(Path::to_owned),
        data_dir: data_dir.map(Path::to_owned),
        listen: Vec::new(),
        threads: Some(2),
        settings: settings.iter().map(owned).collect(),
        rejoin: false,
        change_voters: false,
        stop_with_stdin: false,
        check: false,
    }
}

#[test]
fn o2_a_bad_file_exits_with_2_and_o3_a_data_dir_that_cannot_be_used_with_3() {
    let dir = tempfile::tempdir().unwrap();
    let none = BTreeMap::new();
    let file = dir.path().join("zoo.cfg");
    fs::write(&file, "dataDir=/d\nclientPort=2181\nstandaloneEnabled=maybe\n").unwrap();
    let error = prepare(&args(Some(&file), None, &[]), &none).unwrap_err();
    assert_eq!(error.exit_code(), EXIT_BAD_CONFIG);
    assert!(error.to_string().contains("zoo.cfg:3: standaloneEnabled: "), "{error}");
    let error = prepare(&args(Some(&dir.path().join("no")), None, &[]), &none).unwrap_err();
    assert_eq!(error.exit_code(), EXIT_BAD_CONFIG);
    // A file where the directory should be refuses every user, root included.
    let error = prepare(&args(None, Some(&file), &[]), &none).unwrap_err();
    assert_eq!(error.exit_code(), EXIT_DATA_DIR);
    let missing = dir.path().join("missing");
    let keep = [("datadir.autocreate", "false")];
    let error = prepare(&args(None, Some(&missing), &keep), &none).unwrap_err();
    assert_eq!(error.exit_code(), EXIT_DATA_DIR);
    assert!(!missing.exists());
}

#[test]
fn a_look_at_a_configuration_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a/b");
    let look = ServeArgs { check: true, ..args(None, Some(&data), &[]) };
    prepare(&look, &BTreeMap::new()).unwrap();
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
    // Nor does a container's, which has its id from a variable.
    let servers = "server.2=a:2888:3888;2181 server.3=b:2888:3888;2181 server.4=c:2888:3888;2181";
    let place = data.display().to_string();
    let variables = [("ZOO_SERVERS", servers), ("ZOO_MY_ID", "3"), ("ZOO_DATA_DIR", &place)];
    let mut variables: BTreeMap<String, String> =
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    variables.insert("ZOO_DATA_LOG_DIR".to_owned(), place.clone());
    let look = ServeArgs { check: true, ..args(None, None, &[]) };
    assert_eq!(prepare(&look, &variables).unwrap().server_id, 3);
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let below_file = ServeArgs { check: true, ..args(None, Some(&file.join("data")), &[]) };
    let error = prepare(&below_file, &BTreeMap::new()).unwrap_err();
    assert_eq!(error.exit_code(), EXIT_DATA_DIR);
}

#[test]
fn the_data_of_a_zookeeper_is_not_passed_by_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let config = prepare(&args(None, Some(dir.path()), &[]), &BTreeMap::new()).unwrap();
    assert_eq!(foreign_data(&config), None);
    fs::create_dir(dir.path().join("version-2")).unwrap();
    let said = foreign_data(&config).expect("it is not read");
    assert!(said.contains("version-2 holds the data of a ZooKeeper"), "{said}");
    fs::write(dir.path().join("identity"), "").unwrap();
    assert_eq!(foreign_data(&config), None, "this server has begun beside it");
}

#[test]
fn a_taken_port_is_said_with_the_setting_that_names_it() {
    let taken = io::Error::from_raw_os_error(libc::EADDRINUSE);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let said = explain_bind(address, None, &taken);
    assert!(said.ends_with("stop it, or start with --listen and another port"), "{said}");
    let said = explain_bind(address, Some("server.2"), &taken);
    assert!(said.ends_with("stop it, or name another port in server.2"), "{said}");
}

#[test]
fn a_full_disk_is_no_matter_of_rights() {
    let said = |error: i32| explain_dir(Path::new("/d"), &io::Error::from_raw_os_error(error));
    let full = said(libc::ENOSPC);
    assert!(full.contains("No space left") && full.contains("make room on its disk, or"), "{full}");
    assert!(!full.contains("user"), "{full}");
    let refused = said(libc::EACCES);
    assert!(refused.contains("let this user write to it, or start with --data-dir"), "{refused}");
}

#[test]
fn without_a_configuration_a_server_stands_alone_on_loopback() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a/b");
    let config = prepare(&args(None, Some(&data), &[]), &BTreeMap::new()).unwrap();
    assert!(data.is_dir() && fs::read_dir(&data).unwrap().next().is_none());
    assert_eq!((config.standing, config.threads), (Standing::Alone, 2));
    let line = start_line(&config, &config.client_addrs, "io_uring");
    let version = env!("CARGO_PKG_VERSION");
    let data = data.display();
    let expected = format!(
        "farwatch {version} serves clients on 127.0.0.1:2181, data in {data}, standalone, io_uring"
    );
    assert_eq!(line, expected);
}

#[test]
fn o13_the_containers_id_is_written_once_and_ignored_from_then_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let log = dir.path().join("log");
    let mut variables = BTreeMap::from(
        [
            ("ZOO_MY_ID", "2"),
            ("ZOO_DATA_DIR", data.to_str().unwrap()),
            ("ZOO_DATA_LOG_DIR", log.to_str().unwrap()),
            ("ZOO_SERVERS", "server.1=a:1:2;1 server.2=b:1:2;2 server.3=c:1:2;3"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let id = |variables: &BTreeMap<String, String>| -> u64 {
        prepare(&args(None, None, &[]), variables).unwrap().server_id
    };
    assert_eq!(id(&variables), 2);
    variables.insert("ZOO_MY_ID".to_owned(), "3".to_owned());
    assert_eq!(id(&variables), 2);
    assert_eq!(fs::read_to_string(data.join("myid")).unwrap(), "2\n");
    assert!(log.is_dir());
}

#[test]
fn a_server_that_stands_alone_has_nobody_to_rejoin() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let alone = ServeArgs { rejoin: true, ..args(None, Some(&data), &[]) };
    let error = prepare(&alone, &BTreeMap::new()).unwrap_err();
    assert_eq!(error.exit_code(), EXIT_BAD_CONFIG);
    assert!(error.to_string().contains("--rejoin copies the history of other voters"), "{error}");
    let servers = "server.1=a:1:2;1 server.2=b:1:2;2 server.3=c:1:2;3";
    let variables = BTreeMap::from([
        ("ZOO_SERVERS".to_owned(), servers.to_owned()),
        ("ZOO_DATA_LOG_DIR".to_owned(), data.display().to_string()),
    ]);
    assert!(prepare(&alone, &variables).unwrap().rejoin);
}

#[test]
fn the_file_of_the_image_wins_over_its_variables() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let text = format!("dataDir={}\nclientPort=2999\n", data.display());
    fs::write(dir.path().join("zoo.cfg"), text).unwrap();
    let variables = BTreeMap::from([
        ("ZOO_CONF_DIR".to_owned(), dir.path().to_str().unwrap().to_owned()),
        ("ZOO_TICK_TIME".to_owned(), "17".to_owned()),
    ]);
    let config = prepare(&args(None, None, &[]), &variables).unwrap();
    assert_eq!((config.client_addrs[0].port(), config.tick_time_ms), (2999, 3000));
}

#[test]
fn addresses_are_ports_or_hosts_with_ports() {
    assert_eq!(listen_addr("2182").unwrap().to_string(), "127.0.0.1:2182");
    assert_eq!(listen_addr("0.0.0.0:2182").unwrap().to_string(), "0.0.0.0:2182");
    assert_eq!(listen_addr("[::1]:2182").unwrap().to_string(), "[::1]:2182");
    assert!(listen_addr("nonsense").is_err());
    let member = ServerConfig { standing: Standing::Member, server_id: 4, ..Default::default() };
    assert!(start_line(&member, &[], "epoll").ends_with(", voter 4, epoll"));
}
