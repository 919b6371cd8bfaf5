//! The rules of the configuration, those of the operators' checklist by number.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use farwatch_core::node::OnPartition;
use farwatch_observer::config::{
    LinkCompression, LocalSessions, ServerConfig, ServerRole, Standing, UpstreamChoice,
};
use farwatch_observer::four_letter::Word;

use super::{BUILT_IN, ConfigError, Fault, Input, Loaded, Surroundings, container, load, parse};

const ALONE: &str = "dataDir=/d\nclientPort=2181\n";
const THREE: &str = "dataDir=/d\ninitLimit=5\nsyncLimit=2\nserver.1=a:2888:3888;2181\n\
                     server.2=b:2888:3888;2182\nserver.3=c:2888:3888;2183\n";

/// Files and names that exist.
#[derive(Default)]
struct World {
    files: BTreeMap<PathBuf, String>,
}

impl World {
    fn with(path: &str, text: &str) -> Self {
        Self { files: BTreeMap::from([(PathBuf::from(path), text.to_owned())]) }
    }
}

impl Surroundings for World {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.clone().into_bytes())
    }

    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        match host {
            "localhost" => Ok(vec!["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()]),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn has_ipv6(&self) -> bool {
        true
    }
}

fn load_with(text: &str, world: &World) -> Result<Loaded, ConfigError> {
    let input = Input { source: "zoo.cfg", text: text.as_bytes(), overrides: &[], listen: &[] };
    load(&input, world)
}

fn config(text: &str) -> ServerConfig {
    match load_with(text, &World::with("/d/myid", "2\n")) {
        Ok(loaded) => loaded.config,
        Err(error) => panic!("{error}"),
    }
}

fn error(text: &str) -> String {
    load_with(text, &World::with("/d/myid", "2\n")).unwrap_err().to_string()
}

fn notices(text: &str) -> Vec<String> {
    let loaded = load_with(text, &World::with("/d/myid", "2\n")).unwrap();
    loaded.notices.iter().map(ToString::to_string).collect()
}

fn alone(more: &str) -> String {
    format!("{ALONE}{more}\n")
}

#[test]
fn o1_an_unknown_key_warns_and_does_not_stop_the_server() {
    let expected = ["zoo.cfg:3: foo.bar: unknown, and ignored: check its spelling"];
    assert_eq!(notices(&alone("foo.bar=1")), expected);
    assert_eq!(notices(ALONE), [""; 0]);
}

#[test]
fn o2_a_bad_boolean_names_file_line_and_key() {
    let expected = "zoo.cfg:3: standaloneEnabled: `maybe` is neither true nor false";
    assert_eq!(error(&alone("standaloneEnabled=maybe")), expected);
    assert_eq!(config(&alone("standaloneEnabled=TRUE")).standing, Standing::Alone);
}

#[test]
fn o3_a_missing_data_dir_is_an_error() {
    assert!(error("clientPort=2181").starts_with("zoo.cfg: dataDir: dataDir is not set: "));
}

#[test]
fn o4_an_ensemble_without_limits_is_an_error() {
    for name in ["initLimit", "syncLimit"] {
        let text = error(&THREE.replace(name, "minSessionTimeout"));
        assert!(text.contains(&format!("{name} is not set")), "{text}");
    }
}

#[test]
fn o5_a_missing_myid_is_an_error_and_so_is_one_that_is_no_number() {
    let text = load_with(THREE, &World::default()).unwrap_err().to_string();
    assert!(text.contains("myid file is missing") && text.contains("/d/myid"), "{text}");
    let text = load_with(THREE, &World::with("/d/myid", "two\n")).unwrap_err().to_string();
    assert!(text.contains("not `two`"), "{text}");
    assert_eq!(load_with(THREE, &World::with("/d/myid", " 3 \nx")).unwrap().config.server_id, 3);
}

#[test]
fn o6_one_server_line_runs_standalone_on_the_port_of_that_line() {
    let text = "dataDir=/d\nserver.1=localhost:2888:3888;2181\n";
    let loaded = load_with(text, &World::default()).unwrap();
    let ServerConfig { standing, server_id, servers, client_addrs, .. } = loaded.config;
    assert_eq!((standing, server_id, servers.len()), (Standing::Alone, 0, 0));
    assert_eq!(client_addrs, ["[::]:2181".parse::<SocketAddr>().unwrap()]);
    assert!(loaded.notices[0].to_string().contains("only one server"));
}

#[test]
fn o7_one_server_line_without_standalone_is_an_ensemble_of_one() {
    let text = "dataDir=/d\ninitLimit=5\nsyncLimit=2\nstandaloneEnabled=false\n\
                server.2=localhost:2888:3888;2181\n";
    let config = config(text);
    assert_eq!((config.standing, config.server_id), (Standing::Member, 2));
    assert_eq!(config.own_spec().unwrap().peers[0].quorum_port, 2888);
}

#[test]
fn o8_the_guides_names_are_accepted() {
    let text = alone("requestThrottleLimit=7");
    assert_eq!(config(&text).throttled_requests_max, 7);
    assert!(notices(&text)[0].contains("it is taken as `request_throttle_max_requests`"));
    assert_eq!(config(&alone("request_throttle_max_requests=8")).throttled_requests_max, 8);
    assert_eq!(config(&alone("zookeeper.snapCount=9")).snapshot_txns, 9);
    assert_eq!(config(&alone("jute.maxbuffer=4096")).client_frame_bytes_max, 4096);
    let both = alone("requestThrottleLimit=7\nrequest_throttle_max_requests=8");
    let expected = "zoo.cfg:4: request_throttle_max_requests: contradicts zoo.cfg:3: \
                    requestThrottleLimit: remove one of them";
    assert_eq!(error(&both), expected);
}

#[test]
fn o9_fewer_than_three_snapshots_are_raised_to_three_with_a_warning() {
    let text = alone("autopurge.snapRetainCount=1");
    assert_eq!(config(&text).autopurge.snapshots_retained, 3);
    assert_eq!(notices(&text).len(), 1);
    assert_eq!(config(&alone("autopurge.snapRetainCount=5")).autopurge.snapshots_retained, 5);
}

#[test]
fn o10_a_tick_is_three_seconds_by_default() {
    assert_eq!(config(ALONE).tick_time_ms, 3000);
    assert_eq!(config(&alone("tickTime=2000")).tick_time_ms, 2000);
}

#[test]
fn o11_session_timeouts_are_two_to_twenty_ticks_by_default() {
    let bounds = |text: &str| {
        let config = config(&alone(text));
        (config.session_timeout_ms_min, config.session_timeout_ms_max)
    };
    assert_eq!(bounds("tickTime=500"), (1000, 10_000));
    assert_eq!(bounds("minSessionTimeout=-1\nmaxSessionTimeout=70000"), (6000, 70_000));
    let text = error(&alone("minSessionTimeout=61000"));
    let expected = "zoo.cfg:3: minSessionTimeout: contradicts the other bound: \
                    minSessionTimeout would be 61000 and maxSessionTimeout 60000: \
                    remove one of them";
    assert_eq!(text, expected);
}

#[test]
fn o12_container_variables_make_three_server_lines_and_no_client_port() {
    let servers = "server.1=a:2888:3888;2181 server.2=b:2888:3888;2181 server.3=c:2888:3888;2181";
    let variables = BTreeMap::from([("ZOO_SERVERS".to_owned(), servers.to_owned())]);
    let text = container::zoo_cfg(&variables);
    assert_eq!(text.lines().filter(|line| line.starts_with("server.")).count(), 3);
    assert!(!text.contains("clientPort"));
    assert!(text.starts_with("dataDir=/data\ndataLogDir=/datalog\ntickTime=2000\ninitLimit=5\n"));
    let loaded = load_with(&text, &World::with("/data/myid", "3")).unwrap();
    let ServerConfig { server_id, servers, client_addrs, data_log_dir, .. } = loaded.config;
    assert_eq!((server_id, servers.len()), (3, 3));
    assert_eq!(client_addrs[0].port(), 2181);
    assert_eq!(data_log_dir, Path::new("/datalog"));
}

#[test]
fn o13_the_id_of_the_container_is_what_myid_gets_when_it_is_missing() {
    let variables = BTreeMap::from([("ZOO_MY_ID".to_owned(), "7".to_owned())]);
    assert!(container::is_asked_for(&variables));
    assert_eq!(container::my_id(&variables), "7");
    assert_eq!(container::my_id(&BTreeMap::new()), "1");
    assert!(!container::is_asked_for(&BTreeMap::from([("ZOOM".to_owned(), String::new())])));
}

#[test]
fn o14_extra_words_of_the_container_become_lines() {
    let extra = "maxCnxns=9 enforceQuota=true".to_owned();
    let variables = BTreeMap::from([("ZOO_CFG_EXTRA".to_owned(), extra)]);
    let text = container::zoo_cfg(&variables);
    assert!(text.ends_with("server.1=localhost:2888:3888;2181\nmaxCnxns=9\nenforceQuota=true\n"));
    let config = load_with(&text, &World::default()).unwrap().config;
    assert_eq!((config.connections_max, config.enforce_quota), (9, true));
}

#[test]
fn an_observer_among_the_servers_of_the_container_is_one() {
    let voters = "server.1=a:2888:3888;2181 server.2=b:2888:3888;2181 server.3=c:2888:3888;2181";
    let servers = format!("{voters} server.4=d:2888:3888:observer;2181");
    let variables = BTreeMap::from([("ZOO_SERVERS".to_owned(), servers)]);
    let text = container::zoo_cfg(&variables);
    let config = load_with(&text, &World::with("/data/myid", "4")).unwrap().config;
    assert_eq!((config.servers.len(), config.role), (4, ServerRole::Observer));
    let config = load_with(&text, &World::with("/data/myid", "1")).unwrap().config;
    assert_eq!(config.role, ServerRole::Participant);
}

#[test]
fn servers_among_the_extra_words_of_the_container_take_the_place_of_its_preset() {
    let extra = "server.1=a:2888:3888;2181 server.2=b:2888:3888;2181 server.3=c:2888:3888;2181";
    let mut variables = BTreeMap::from([("ZOO_CFG_EXTRA".to_owned(), extra.to_owned())]);
    let text = container::zoo_cfg(&variables);
    let config = load_with(&text, &World::with("/data/myid", "3")).unwrap().config;
    assert_eq!(config.servers.len(), 3);
    // What the operator names in both places is for him to mend.
    variables.insert("ZOO_SERVERS".to_owned(), "server.1=z:2888:3888;2181".to_owned());
    let said = load_with(&container::zoo_cfg(&variables), &World::default()).unwrap_err();
    assert!(said.to_string().contains("server.1: names another server than"), "{said}");
}

#[test]
fn nothing_configured_is_a_server_on_loopback() {
    let loaded = load_with(BUILT_IN, &World::default()).unwrap();
    assert_eq!(format!("{:?}", loaded.config), format!("{:?}", ServerConfig::default()));
    assert_eq!(loaded.notices, []);
}

#[test]
fn the_command_line_wins_over_the_file() {
    let overrides = [
        ("--data-dir", "dataDir".to_owned(), "/e".to_owned()),
        ("--set", "tickTime".to_owned(), "100".to_owned()),
    ];
    let listen = ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    let text = alone("tickTime=x").into_bytes();
    let input = Input { source: "zoo.cfg", text: &text, overrides: &overrides, listen: &listen };
    let config = load(&input, &World::default()).unwrap().config;
    assert_eq!(config.data_dir, Path::new("/e"));
    assert_eq!(config.data_log_dir, Path::new("/e"));
    assert_eq!(config.tick_time_ms, 100);
    assert_eq!(config.client_addrs, listen);
}

#[test]
fn ensembles_that_cannot_work_are_refused() {
    let observer = "server.9=o:2888:3888:observer\n";
    let base = "dataDir=/d\nclientPort=2181\ninitLimit=5\nsyncLimit=2\n";
    for (lines, expected) in [
        ("standaloneEnabled=false\n", "at least one server line"),
        (observer, "Observers w/o participants is an invalid configuration"),
        ("server.1=a:1:2\nserver.9=o:1:2:observer\n", "Observers w/o quorum"),
        ("server.1=a:1:2\nserver.2=a:1\n", "Missing election port"),
        ("server.1=a:1:2\nserver.x=a:1:2\n", "`x` is no number"),
        ("server.1=a:1:2\nserver.01=a:1:2\n", "another line of server 1"),
        ("electionAlg=1\n", "`1` is not known: write 3"),
        ("extendedTypesEnabled=true\nserver.255=a:1:2\n", "at most 254, not 255"),
        ("peerType=voter\n", "write participant or observer"),
        ("server.1=a:1:2;3\nserver.2=b:1:2;3\nserver.3=c:1:2;3\n", "contradicts server.2=b:1:2"),
        ("dynamicConfigFile=/dyn\nserver.1=a:1:2\n", "contradicts zoo.cfg:5: dynamicConfigFile"),
        ("dynamicConfigFile=/dyn\n", "/dyn cannot be read"),
    ] {
        let text = error(&format!("{base}{lines}"));
        assert!(text.contains(expected), "{text}");
    }
    let even = notices(&format!("{base}server.1=a:1:2\nserver.2=b:1:2\n"));
    assert!(even[0].contains("two voters tolerate no failure"));
    let text = format!("{base}standaloneEnabled=false\nserver.2=a:1:2\n{observer}");
    assert_eq!(config(&text).servers.len(), 2);
}

#[test]
fn the_list_of_servers_wins_over_the_own_role() {
    let text = format!("{THREE}peerType=observer\n");
    assert_eq!(config(&text).role, ServerRole::Participant);
    assert!(notices(&text)[0].contains("participant in the list of servers, which wins"));
    let world = World::with("/d/myid", "9");
    let unlisted = load_with(&format!("{text}clientPort=1\n"), &world).unwrap_err();
    assert_eq!(unlisted.fault, Fault::NotListed(9));
    let voter = load_with(&format!("{THREE}clientPort=1\n"), &world).unwrap_err();
    assert_eq!(voter.fault, Fault::NotListed(9));
}

#[test]
fn three_voters_are_an_ensemble_and_an_observer_beside_them_is_no_voter() {
    let text = format!("{THREE}server.9=o:2888:3888:observer;2189\n");
    let loaded = load_with(&text, &World::with("/d/myid", "2")).unwrap();
    let config = loaded.config;
    assert_eq!((config.standing, config.server_id), (Standing::Member, 2));
    assert_eq!(config.voters().map(|spec| spec.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((config.servers.len(), loaded.notices), (4, vec![]));
    let observer = load_with(&text, &World::with("/d/myid", "9")).unwrap().config;
    assert_eq!((observer.role, observer.server_id), (ServerRole::Observer, 9));
    assert!(!observer.learns_from_list() && !observer.is_guest());
}

#[test]
fn an_observer_with_a_list_needs_no_line_and_one_without_a_directory_keeps_nothing() {
    let places = [("a".to_owned(), 2888), ("::1".to_owned(), 2889)];
    let list = "clientPort=1\nfarwatch.observe=a:2888, [::1]:2889\n";
    let guest = config(&format!("dataDir=/d\n{list}farwatch.peerAddress=127.0.0.1:2999\n"));
    assert!(guest.is_guest() && guest.learns_from_list() && !guest.memory_only);
    assert_eq!((guest.role, &guest.upstreams[..]), (ServerRole::Observer, &places[..]));
    assert_eq!(guest.peer_addrs, [SocketAddr::from(([127, 0, 0, 1], 2999))]);
    assert!(config(list).memory_only);
    assert!(config(&format!("dataDir=/d\nsyncEnabled=false\n{list}")).memory_only);
    let text = format!("{THREE}server.9=o:2888:3888:observer;2189\nfarwatch.observe=b:2888\n");
    let listed = load_with(&text, &World::with("/d/myid", "9")).unwrap().config;
    assert!(listed.learns_from_list() && !listed.is_guest() && listed.server_id == 9);
    let voter = error(&text);
    assert!(voter.contains("only an observer learns from a list"), "{voter}");
    for (wrong, expected) in [
        ("farwatch.observe=a\n", "write host:port,host:port"),
        ("farwatch.observe=a:0\n", "write host:port,host:port"),
        ("farwatch.observe=,\n", "write host:port,host:port"),
        ("farwatch.observe=a:1\nfarwatch.peerAddress=b\n", "write host:port"),
    ] {
        let text = error(&format!("dataDir=/d\nclientPort=1\n{wrong}"));
        assert!(text.contains(expected), "{wrong}: {text}");
    }
}

#[test]
fn what_observers_are_sent_is_configured_and_bounded() {
    let shown = |text: &str| {
        let config = config(&format!("{THREE}{text}"));
        (config.link_bytes_per_second, config.link_compression)
    };
    assert_eq!(shown(""), (0, LinkCompression::Auto));
    let both = "farwatch.linkBytesPerSecond=5000000000\nfarwatch.linkCompression=off\n";
    assert_eq!(shown(both), (5_000_000_000, LinkCompression::Off));
    assert_eq!(shown("farwatch.linkCompression=auto\n").1, LinkCompression::Auto);
    assert_eq!(shown("farwatch.linkCompression=on\n").1, LinkCompression::On);
    assert_eq!(shown("farwatch.linkBytesPerSecond=1\n").0, 16 << 10);
    let slow = format!("{THREE}farwatch.linkBytesPerSecond=1\n");
    assert!(notices(&slow)[0].contains("raised to 16384"));
    let error = |text: &str| error(&format!("{THREE}{text}\n"));
    assert!(error("farwatch.linkBytesPerSecond=-1").contains("no number from 0"));
    assert!(error("farwatch.linkCompression=zstd").contains("auto, on or off"));
}

#[test]
fn whom_an_observer_prefers_is_the_first_of_its_list_or_the_nearest() {
    let choice = |text: &str| config(&format!("{THREE}{text}")).upstream_choice;
    assert_eq!(choice(""), UpstreamChoice::First);
    assert_eq!(choice("farwatch.upstreamChoice=first\n"), UpstreamChoice::First);
    assert_eq!(choice("farwatch.upstreamChoice=nearest\n"), UpstreamChoice::Nearest);
    let idle = notices(&alone("farwatch.upstreamChoice=nearest"));
    assert!(idle[0].contains("of no effect without `farwatch.observe`"), "{idle:?}");
    let wrong = error(&format!("{THREE}farwatch.upstreamChoice=best\n"));
    assert!(wrong.contains("first or nearest"), "{wrong}");
}

#[test]
fn what_an_ensemble_waits_for_is_configured_and_bounded() {
    let shown = |text: &str| {
        let config = config(&format!("{THREE}{text}"));
        let ServerConfig { election_timeout_ms, write_wait_ms, staleness_ms_max, .. } = config;
        let ServerConfig { leader_stall_ms, snapshot_transfer_bytes_per_second, .. } = config;
        let times = [election_timeout_ms, write_wait_ms, staleness_ms_max, leader_stall_ms];
        (times, snapshot_transfer_bytes_per_second)
    };
    assert_eq!(shown(""), ([600, 10_000, 0, 3000], 0));
    let all = "electionTimeoutMs=900\nwriteWaitMs=5\nmaxStaleness=7\nleader.stallMs=9\n\
               snapshot.transferBytesPerSecond=5000000000\n";
    assert_eq!(shown(all), ([900, 5, 7, 9], 5_000_000_000));
    assert_eq!(shown("tickTime=200\n").0[0], 400, "syncLimit ticks are the bound");
    let long = format!("{THREE}tickTime=500\nelectionTimeoutMs=1001\n");
    assert_eq!(config(&long).election_timeout_ms, 1000);
    assert!(notices(&long)[0].contains("lowered to 1000"));
    assert!(error(&format!("{THREE}electionTimeoutMs=10\n")).contains("no number from 250"));
}

#[test]
fn a_dynamic_file_holds_the_servers_and_nothing_else() {
    let text = "dataDir=/d\nclientPort=2181\ninitLimit=5\nsyncLimit=2\ndynamicConfigFile=/dyn\n";
    let mut world = World::with("/dyn", "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n");
    world.files.insert("/d/myid".into(), "3".into());
    assert_eq!(load_with(text, &world).unwrap().config.servers.len(), 3);
    world.files.insert("/dyn".into(), "server.1=a:1:2\nversion=1f\ntickTime=1\n".into());
    let text = load_with(text, &world).unwrap_err();
    assert_eq!((text.place.line, text.fault), (Some(3), Fault::NotDynamic));
}

#[test]
fn client_addresses_are_resolved_and_needed() {
    let config = config("dataDir=/d\nclientPort=1\nclientPortAddress=localhost\n");
    assert_eq!(config.client_addrs, ["127.0.0.1:1".parse::<SocketAddr>().unwrap()]);
    assert!(error("dataDir=/d\n").contains("clientPort is not set"));
    let text = error("dataDir=/d\nclientPortAddress=::1\n");
    assert_eq!(text, "zoo.cfg:2: clientPortAddress: needs clientPort, which is not set");
    let text = error("dataDir=/d\nclientPort=1\nclientPortAddress=nowhere\n");
    assert!(text.starts_with("zoo.cfg:3: clientPortAddress: `nowhere` has no address here"));
    assert!(error("dataDir=/d\nclientPort=65536\n").contains("`65536` is no number from 0"));
}

#[test]
fn absent_features_are_said_once_each_and_only_when_asked_for() {
    let text = alone(
        "ssl.keyStore.location=/k\nssl.trustStore.location=/t\nsecureClientPort=2281\n\
         admin.enableServer=false\nmetricsProvider.className=x\nreconfigEnabled=true",
    );
    let found = notices(&text);
    assert_eq!(found.len(), 4, "{found:#?}");
    let tls = "zoo.cfg:3: ssl.keyStore.location, ssl.trustStore.location: there is no TLS";
    assert!(found.iter().any(|notice| notice.starts_with(tls)), "{found:#?}");
    assert!(!found.iter().any(|notice| notice.contains("admin")), "{found:#?}");
}

#[test]
fn the_ensemble_has_names_for_clients_only_where_the_provider_is_named() {
    let names = "ensembleAuthName= foo, bar\n";
    let provider = "authProvider.1=org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider";
    let both = config(&alone(&format!("{names}{provider}"))).authentication.ensemble_names;
    assert_eq!(both.unwrap(), ["foo", "bar"]);
    assert_eq!(config(&alone(provider)).authentication.ensemble_names, Some(vec![]));
    assert_eq!(notices(&alone(provider)), [""; 0]);
    assert_eq!(config(&alone(names)).authentication.ensemble_names, None);
    assert!(notices(&alone(names))[0].contains("ensembleAuthName: has no effect"));
    let other = alone("authProvider.1=com.example.Provider");
    assert_eq!(config(&other).authentication.ensemble_names, None);
    assert!(notices(&other)[0].contains("cannot be loaded"));
}

#[test]
fn a_duplicate_key_warns_and_the_last_one_wins() {
    let text = alone("tickTime=1\ntickTime=2\ntickTime=2");
    assert_eq!(config(&text).tick_time_ms, 2);
    assert_eq!(notices(&text), ["zoo.cfg:4: tickTime: replaces zoo.cfg:3: tickTime"]);
}

#[test]
fn two_lines_of_one_server_contradict_each_other() {
    let lines = "server.1=a:2888:3888;2181\nserver.1=b:2888:3888;2181\n";
    let said = error(&format!("dataDir=/d\ninitLimit=5\nsyncLimit=2\n{lines}"));
    assert!(
        said.contains(":5: server.1: names another server than zoo.cfg:4: server.1: give it"),
        "{said}"
    );
}

#[test]
fn permissions_words_and_sessions_are_read() {
    let config = config(&alone(
        "skipACL=yes\nDigestAuthenticationProvider.superDigest=super:0bX78nEegDzJM3ju0iLBEJdWzjg=\n\
         4lw.commands.whitelist=stat, ruok,nope\nreadonlymode.enabled=true\n\
         localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\n\
         enforce.auth.enabled=true\nenforce.auth.schemes=digest, ip\n\
         autopurge.purgeInterval=90s\nsnapSizeLimitInKb=-1\nforceSync=no",
    ));
    assert!(config.skip_acl && config.force_sync, "there is no mode that does not sync");
    let digest = config.authentication.super_digest.unwrap();
    assert!(digest.matches("super:0bX78nEegDzJM3ju0iLBEJdWzjg="));
    let words = config.four_letter_words;
    let allowed = [Word::Stat, Word::Ruok, Word::Isro, Word::Srvr].map(|word| words.allows(word));
    assert_eq!(allowed, [true; 4], "srvr is answered whatever the list");
    assert_eq!(config.local_sessions, LocalSessions::Off, "a server alone has none");
    assert_eq!(config.authentication.enforced_schemes, ["digest", "ip"]);
    assert_eq!((config.autopurge.interval_ms, config.snapshot_log_bytes), (90_000, 0));
    let text = error(&alone("enforce.auth.enabled=true"));
    assert!(text.contains("needs enforce.auth.schemes"));
}

#[test]
fn peers_are_accepted_on_the_listed_addresses_or_on_all() {
    assert!(!config(THREE).peers_on_all_addresses);
    let text = format!("{THREE}quorumListenOnAllIPs=true\n");
    assert!(config(&text).peers_on_all_addresses);
    assert_eq!(notices(&text), [""; 0]);
    let two = THREE.replace("server.3=c:2888:3888", "server.3=c:2888:3888|d:2888:3888");
    assert_eq!((config(&two).servers[2].peers.len(), notices(&two)), (2, vec![]));
}

#[test]
fn a_scheme_that_no_client_can_pass_is_not_enforced_but_refused() {
    let enforced = |schemes: &str| {
        alone(&format!("enforce.auth.enabled=true\nenforce.auth.schemes={schemes}"))
    };
    for (text, scheme) in [
        (alone("sessionRequireClientSASLAuth=true"), "sasl"),
        (enforced("sasl"), "sasl"),
        (enforced("digest,x509"), "x509"),
        (enforced("nonsense"), "nonsense"),
        (enforced("world"), "world"),
        (enforced("ensemble"), "ensemble"),
        (enforced(","), ","),
        (format!("{}DigestAuthenticationProvider.enabled=false\n", enforced("digest")), "digest"),
    ] {
        let said = error(&text);
        let expected = format!("no client can pass `{scheme}` on this server");
        assert!(said.contains(&expected) && said.starts_with("zoo.cfg"), "{said}");
    }
    let off = alone("sessionRequireClientSASLAuth=false\nenforce.auth.schemes=sasl");
    assert_eq!(config(&off).authentication.enforced_schemes, [""; 0]);
}

#[test]
fn what_is_done_without_a_leader_is_the_operators_choice_or_else_the_roles() {
    let of = |line: &str| config(&format!("{THREE}{line}")).on_partition;
    assert_eq!(of(""), OnPartition::Bounded, "a voter has others near it");
    let known = ["serve", "ReadOnly", "disconnect"];
    let expected = [OnPartition::Serve, OnPartition::ReadOnly, OnPartition::Disconnect];
    for key in ["farwatch.onPartition", "onPartition"] {
        assert_eq!(known.map(|value| of(&format!("{key}={value}"))), expected);
    }
    // ZooKeeper's switch, with the word that its clients ask.
    let switched = format!("{THREE}readonlymode.enabled=true\n");
    let read = config(&switched);
    assert_eq!(read.on_partition, OnPartition::ReadOnly);
    assert!(read.four_letter_words.allows(Word::Isro));
    assert_eq!(notices(&switched), Vec::<String>::new());
    let both = format!("{switched}onPartition=serve");
    assert_eq!(config(&both).on_partition, OnPartition::Serve);
    assert!(notices(&both)[0].contains("this key wins"));
    assert!(error(&format!("{THREE}onPartition=reads")).contains("serve, readonly or disconnect"));
    let twice = format!("{THREE}onPartition=serve\nfarwatch.onPartition=disconnect");
    assert!(error(&twice).contains("contradicts"));
    let graced = config(&format!("{THREE}farwatch.observerSessionGraceMs=700"));
    assert_eq!(graced.observer_session_grace_ms, 700);
}

#[test]
fn local_sessions_are_off_but_where_they_are_asked_for_and_at_observers() {
    let of = |lines: &str| config(&format!("{THREE}{lines}")).local_sessions;
    assert_eq!(of(""), LocalSessions::Off);
    let alone = config(&alone("localSessionsEnabled=true")).local_sessions;
    assert_eq!(alone, LocalSessions::Off, "ZooKeeper ignores it there");
    assert_eq!(of("localSessionsEnabled=true"), LocalSessions::On);
    assert_eq!(of("localSessionsUpgradingEnabled=true"), LocalSessions::Off);
    let observer = |lines: &str| {
        let text = format!("{THREE}server.2=o:2888:3888:observer;2182\n{lines}");
        config(&text.replace("server.2=b:2888:3888;2182\n", "server.4=d:2888:3888;2184\n"))
            .local_sessions
    };
    assert_eq!(observer(""), LocalSessions::Upgrading);
    assert_eq!(observer("localSessionsEnabled=true"), LocalSessions::On);
    assert_eq!(observer("localSessionsEnabled=false"), LocalSessions::Off);
    assert_eq!(observer("localSessionsUpgradingEnabled=false"), LocalSessions::Off);
}

#[test]
fn every_text_has_an_answer() {
    // A deterministic walk over mutated files: what matters is that none of them panics.
    let seeds = [ALONE.to_owned(), THREE.to_owned(), alone("a\\u0041=\\\n b\nserver.1=[::]:1")];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut text = seeds[random(seeds.len())].clone().into_bytes();
        for _ in 0..=random(4) {
            let at = random(text.len());
            match random(3) {
                0 => text[at] = random(256) as u8,
                1 => text.truncate(at.max(1)),
                _ => text.insert(at, b"\\=:;|.#\n0-u"[random(11)]),
            }
        }
        match parse(&text) {
            Ok(_) => read += 1,
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(1000 < read && 1000 < refused, "{read} read, {refused} refused");
}
