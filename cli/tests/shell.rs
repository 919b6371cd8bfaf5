//! `farwatch shell` as a process, against a real server. The expected texts are those that
//! ZooKeeper's own shell gave for the same commands, with times and zxids taken out.

#[path = "../../client/tests/it/server.rs"]
#[allow(dead_code, reason = "shared with the client's tests, which use all of it")]
mod server;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use expect_test::{Expect, expect};

use server::{address, own_root};

/// Runs commands from a pipe and returns both outputs as a terminal would show them.
fn transcript(connect_string: &str, script: &str) -> String {
    let mut shell = Command::new("sh")
        .args(["-c", r#"exec "$0" shell -server "$1" 2>&1"#])
        .args([env!("CARGO_BIN_EXE_farwatch"), connect_string])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the shell");
    shell.stdin.take().expect("piped").write_all(script.as_bytes()).expect("a script");
    let output = shell.wait_with_output().expect("the shell ends");
    String::from_utf8(output.stdout).expect("text")
}

/// Replaces what differs from run to run.
fn normal(text: &str) -> String {
    let line = |line: &str| {
        if let Some((name, _)) = line.split_once(" = 0x") {
            return format!("{name} = 0xN");
        }
        if let Some((name, _)) = line.split_once("time = ") {
            return format!("{name}time = DATE");
        }
        match line.split_once(" zxid: ") {
            Some((event, _)) => event.to_owned(),
            None => line.replace(address(), "SERVER"),
        }
    };
    text.lines().map(|text| line(text).trim_end().to_owned() + "\n").collect()
}

fn check(script: &str, expected: Expect) {
    let root = own_root();
    let text = transcript(&format!("{}{root}", address()), script);
    expected.assert_eq(&normal(&text).replace(&root, "/ROOT"));
}

fn single(arguments: &[&str]) -> Output {
    let root = own_root();
    let connect_string = format!("{}{root}", address());
    Command::new(env!("CARGO_BIN_EXE_farwatch"))
        .args(["shell", "--server", &connect_string])
        .args(arguments)
        .output()
        .expect("the shell")
}

#[test]
fn nodes_are_created_read_written_and_deleted() {
    check(
        "create /a hello\ncreate /a x\ncreate -s /a/s- x\ncreate\ncreate /nope/x\ncreate x\n\
         create /x/\nls /\nls -R /\nls /nope\nls\nget /a\nget -s /a\nget -b /a\nget -q /a\n\
         set /a v\nset -s /a v2\nset -v 9 /a v\nset -b /a aGk=\nget /a\ndelete -v 9 /a\ndelete /a\n\
         delete /nope\nstat /nope\ncreate /empty\nget /empty\ncreate '/b c' \"x y\"\nget '/b c'\n\
         getAllChildrenNumber /\ndeleteall /a\nls /\nsync /\n",
        expect![[r#"
            Connecting to SERVER/ROOT
            Welcome to Farwatch!

            WATCHER::

            WatchedEvent state:SyncConnected type:None path:null
            Created /a
            Node already exists: /a
            Created /a/s-0000000000
            create [-s] [-e] [-c] [-t ttl] path [data] [acl]
            Node does not exist: /nope/x
            Path must start with / character
            Path must not end with / character
            [a]
            /
            /a
            /a/s-0000000000
            Node does not exist: /nope
            ls [-s] [-w] [-R] path
            hello
            hello
            cZxid = 0xN
            ctime = DATE
            mZxid = 0xN
            mtime = DATE
            pZxid = 0xN
            cversion = 1
            dataVersion = 0
            aclVersion = 0
            ephemeralOwner = 0xN
            dataLength = 5
            numChildren = 1
            aGVsbG8=
            org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: -q
            cZxid = 0xN
            ctime = DATE
            mZxid = 0xN
            mtime = DATE
            pZxid = 0xN
            cversion = 1
            dataVersion = 2
            aclVersion = 0
            ephemeralOwner = 0xN
            dataLength = 2
            numChildren = 1
            version No is not valid : /a
            hi
            version No is not valid : /a
            Node not empty: /a
            Node does not exist: /nope
            Node does not exist: /nope
            Created /empty
            null
            Created /b c
            x y
            4
            [b c, empty]
            Sync is OK

            WATCHER::

            WatchedEvent state:Closed type:None path:null
        "#]],
    );
}

#[test]
fn kinds_of_nodes_and_access_lists() {
    check(
        "create -c /cont\ncreate -c -s /cont2\ncreate -t 60000 /ttl\ncreate -t 5000 -e /ttl\n\
         create -t abc /ttl\ncreate -e /eph\ncreate -s -e /es-\ncreate /eph/x\ngetEphemerals\n\
         getAcl /\nsetAcl /cont world:anyone:rq\nsetAcl /cont junk\naddauth digest bob:pw\n\
         create /mine x digest:bob:ikIaKsbtGweaHnb/jKn7OHqbunM=:cdrwa\ngetAcl /mine\n\
         setAcl /mine world:anyone:r\nset /mine y\nsetAcl /mine world:anyone:cdrwa\nget /mine\n",
        expect![[r#"
            Connecting to SERVER/ROOT
            Welcome to Farwatch!

            WATCHER::

            WatchedEvent state:SyncConnected type:None path:null
            Created /cont
            -c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.
            Created /ttl
            TTLs cannot be used with Ephemeral znodes
            -t argument must be a long value
            Created /eph
            Created /es-0000000003
            Ephemerals cannot have children: /eph/x
            [/eph, /es-0000000003]
            'world,'anyone
            : cdrwa
            Unknown perm type: q
            junk does not have the form scheme:id:perm
            Created /mine
            'digest,'bob:ikIaKsbtGweaHnb/jKn7OHqbunM=
            : cdrwa
            Insufficient permission : /mine
            Insufficient permission : /mine
            x

            WATCHER::

            WatchedEvent state:Closed type:None path:null
        "#]],
    );
}

#[test]
fn watches_print_their_events_before_the_answer_that_shows_the_change() {
    check(
        "create /w 1\nget -w /w\nset /w 2\nls -w /w\ncreate /w/c\naddWatch /w\nset /w/c 3\n\
         removewatches /w\nremovewatches /w -a\naddWatch -m JUNK /w\nprintwatches off\n\
         printwatches\nget -w /w\nset /w 3\n",
        expect![[r#"
            Connecting to SERVER/ROOT
            Welcome to Farwatch!

            WATCHER::

            WatchedEvent state:SyncConnected type:None path:null
            Created /w
            1

            WATCHER::

            WatchedEvent state:SyncConnected type:NodeDataChanged path:/w
            []

            WATCHER::

            WatchedEvent state:SyncConnected type:NodeChildrenChanged path:/w
            Created /w/c

            WATCHER::

            WatchedEvent state:SyncConnected type:NodeDataChanged path:/w/c

            WATCHER::

            WatchedEvent state:SyncConnected type:PersistentWatchRemoved path:/w
            KeeperErrorCode = No such watcher for /w
            addWatch [-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is PERSISTENT_RECURSIVE
            printwatches is off
            2

            WATCHER::

            WatchedEvent state:Closed type:None path:null
        "#]],
    );
}

#[test]
fn the_shell_itself() {
    check(
        "ls /\nhistory\nredo 0\nredo 99\njunk arg\nreconfig -add 5=h:1:2;3\nreconfig\nconfig\n\
         config -c\nclose\nls /\nversion\nquit\nls /\n",
        expect![[r#"
            Connecting to SERVER/ROOT
            Welcome to Farwatch!

            WATCHER::

            WatchedEvent state:SyncConnected type:None path:null
            []
            0 - ls /
            1 - history
            []
            Command index out of range
            farwatch shell -server host:port[,host:port][/chroot] cmd args
            	addWatch [-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is PERSISTENT_RECURSIVE
            	addauth scheme auth
            	close
            	config [-c] [-w] [-s]
            	connect host:port
            	create [-s] [-e] [-c] [-t ttl] path [data] [acl]
            	delete [-v version] path
            	deleteall path [-b batch size]
            	delquota [-n|-b|-N|-B] path
            	exit
            	get [-s] [-w] [-b] [-x] path
            	getAcl [-s] path
            	getAllChildrenNumber path
            	getEphemerals path
            	help
            	history
            	listquota path
            	ls [-s] [-w] [-R] path
            	printwatches on|off
            	quit
            	reconfig [-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]
            	redo cmdno
            	removewatches path [-c|-d|-a|-p|-r] [-l]
            	set [-s] [-v version] [-b] path data
            	setAcl [-s] [-v version] [-R] path acl
            	setquota -n|-b|-N|-B val path
            	stat [-w] path
            	sync path
            	version
            	whoami
            Command not found: junk
            KeeperErrorCode = Reconfig is disabled
            reconfig [-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]



            WATCHER::

            WatchedEvent state:Closed type:None path:null
            Not connected
            Farwatch CLI version: 0.1.0
        "#]],
    );
}

#[test]
fn quotas_are_set_shown_and_deleted() {
    let path = own_root();
    let script = "setquota -n 5 Q\nlistquota Q\nsetquota -b 100 Q\nsetquota -N 3 -B 3 Q\n\
                  setquota -N 2 Q\ncreate Q/1 xxx\ncreate Q/2 yyy\nsetquota -n 3 Q/1\nlistquota Q\n\
                  setquota -n 1 Q\nlistquota /nope\ndelquota -n Q\nlistquota Q\ndelquota Q\n\
                  listquota Q\ndelquota Q\nsetquota -n 1 /nope\nsetquota Q\nsetquota -n 1 /\n";
    let text = transcript(address(), &script.replace('Q', &path));
    let shown = normal(&text).replace(&path, "/Q");
    expect![[r#"
        Connecting to SERVER
        Welcome to Farwatch!

        WATCHER::

        WatchedEvent state:SyncConnected type:None path:null
        absolute path is /zookeeper/quota/Q/zookeeper_limits
        Output quota for /Q count=5,bytes=-1=;byteHardLimit=-1;countHardLimit=-1
        Output stat for /Q count=1,bytes=0
        org.apache.commons.cli.AlreadySelectedException: The option 'B' was specified but an option from this group has already been selected: 'N'
        Created /Q/1
        Quota has exceeded : /Q/2
        /Q/1 has a parent /Q which has a quota
        absolute path is /zookeeper/quota/Q/zookeeper_limits
        Output quota for /Q count=5,bytes=100=;byteHardLimit=-1;countHardLimit=2
        Output stat for /Q count=2,bytes=3
        [Warning]: the count quota you create is less than the existing count:2
        absolute path is /zookeeper/quota/nope/zookeeper_limits
        quota for /nope does not exist.
        absolute path is /zookeeper/quota/Q/zookeeper_limits
        Output quota for /Q count=-1,bytes=100=;byteHardLimit=-1;countHardLimit=2
        Output stat for /Q count=2,bytes=3
        absolute path is /zookeeper/quota/Q/zookeeper_limits
        quota for /Q does not exist.
        Quota does not exist for /Q
        /nope does not exist.
        org.apache.commons.cli.MissingOptionException: Missing required option: [-n num soft quota, -b bytes soft quota, -N num hard quota, -B bytes hard quota]
        cannot set a quota on /: only below the root, and not under /zookeeper

        WATCHER::

        WatchedEvent state:Closed type:None path:null
    "#]].assert_eq(&shown);
}

#[test]
fn a_single_command_prints_its_answer_alone_and_exits_as_scripts_expect() {
    let listed = single(&["ls", "/"]);
    assert_eq!((listed.status.code(), &listed.stdout[..]), (Some(0), &b"[]\n"[..]));
    let refused = single(&["get", "/nope"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&refused.stderr), "Node does not exist: /nope\n");
    assert!(refused.stdout.is_empty());
    assert_eq!(single(&["nonsense"]).status.code(), Some(127));
    assert_eq!(single(&["-nonsense", "ls"]).status.code(), Some(2));
}

#[test]
fn json_is_one_document_for_each_command_refusals_included() {
    let created = single(&["--json", "create", "-s", "/n-", "data"]);
    let document: serde_json::Value = serde_json::from_slice(&created.stdout).unwrap();
    assert_eq!(document["path"], "/n-0000000000");
    assert_eq!(document["stat"]["version"], 0);
    let refused = single(&["--json", "get", "/nope"]);
    assert_eq!(refused.status.code(), Some(1));
    let document: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(document["code"], "NoNode");
}

#[test]
fn where_nothing_runs_the_address_and_the_cause_are_said_early_and_at_the_end() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port"); // and closed again
    let address = closed.local_addr().expect("bound").to_string();
    drop(closed);
    let output = Command::new(env!("CARGO_BIN_EXE_farwatch"))
        .args(["shell", "--server", &format!("{address}/app"), "-timeout", "1200", "ls", "/"])
        .output()
        .expect("the shell");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let said = String::from_utf8(output.stderr).expect("text");
    let why =
        format!("{address}: connection refused: no server runs there, or it has another port");
    assert!(
        said.starts_with(&format!("no server yet, waiting for up to 1.2 s:\n{why}\n")),
        "{said}"
    );
    assert!(
        said.ends_with(&format!("check the connect string and that a server is running\n{why}\n")),
        "{said}"
    );
}
