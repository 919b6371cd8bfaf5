//! Disks that are full, damaged or torn, under a real server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use farwatch_bench::raw::{
    Connection, Handshake, four_letter_word, framed, ids, request, request_bytes,
};
use farwatch_bench::subject::{Options, Subject};
use tempfile::TempDir;

use crate::process::{directory, output, serve};
use crate::subject::{connect, farwatch};

/// What a write is answered while the disk is full.
pub const NOT_READ_ONLY: i32 = -119;

/// The small disk: two segments of 64 MiB and a third that only fits without the ballast.
const DISK_BYTES: u64 = 230 << 20;
const BALLAST_BYTES: usize = 70 << 20;

/// A file system in memory, unmounted when it is dropped.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None`, after saying so, where this user may not mount.
    pub fn mount() -> Option<Self> {
        let place = directory();
        let options = format!("size={DISK_BYTES},mode=700");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", &options, "none"]).arg(place.path());
        match mount.output() {
            Ok(done) if done.status.success() => Some(Self(place)),
            Ok(done) => {
                let why = String::from_utf8_lossy(&done.stderr).into_owned();
                eprintln!("not run: a full disk, because nothing can be mounted here: {why}");
                None
            }
            Err(error) => {
                eprintln!("not run: a full disk, because there is no mount command: {error}");
                None
            }
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that a failed test left may still hold it for a moment.
        let done = Command::new("umount").arg("-l").arg(self.0.path()).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("{} may still be mounted", self.0.path().display());
        }
    }
}

fn content(number: u32) -> Vec<u8> {
    format!("{number:08};").repeat(22_000).into_bytes()
}

fn write(connection: &mut Connection, number: u32) -> i32 {
    let create = request::create(&format!("/f{number}"), Some(&content(number)), &ids::open(), 0);
    connection.call(&create).expect("a full disk is answered, not hung up on").err
}

#[track_caller]
fn all_are_there(connection: &mut Connection, acknowledged: &[u32], refused: &[u32]) {
    for &number in acknowledged {
        let read = connection.call(&request::get_data(&format!("/f{number}"), false));
        let (data, _) = read.expect("a reply").data_and_stat().expect("data");
        assert!(data == Some(content(number)), "/f{number} was acknowledged");
    }
    for number in refused {
        let reply = connection.call(&request::exists(&format!("/f{number}"), false));
        assert_eq!(reply.expect("a reply").err, -101, "/f{number} was refused");
    }
}

/// Fills what larger writes left. Then clients that ask for a session, to read, get it for a while;
/// later, those that say more before they have it are closed and forgotten too.
fn sessions_begin_after_the_last_write_and_then_none_and_no_connection_stays(
    connection: &mut Connection,
    subject: &Subject,
) {
    let connections = || {
        let text = four_letter_word(subject.address(), "srvr").expect("an answer");
        text.lines().find(|line| line.starts_with("Connections:")).map(str::to_owned)
    };
    let before = connections();
    for number in 0.. {
        let set = request::set_data("/", None, -1);
        match connection.call(&set).expect("a reply").err {
            0 => assert!(number < 5000, "small writes never fill the rest"),
            NOT_READ_ONLY => break,
            other => panic!("write {number}: {other}"),
        }
    }
    let handshake = Handshake::with_timeout(10_000);
    let mut begun = 0;
    while let Ok((mut reader, _)) = Connection::connect(subject.address(), &handshake) {
        assert_eq!(reader.call(&request::exists("/f0", false)).expect("a reply").err, 0);
        begun += 1;
    }
    assert!((50..1000).contains(&begun), "{begun} sessions began on a full disk");
    for _ in 0..5 {
        let mut early = Connection::open(subject.address()).expect("a connection");
        let mut bytes = framed(handshake.encode().as_bytes());
        bytes.extend(framed(&request_bytes(1, &request::exists("/", false))));
        early.send_raw(&bytes).expect("sent");
        early.expect_close().expect("a close, for its client to look for another server");
    }
    let started = Instant::now();
    while connections() != before {
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}, not {before:?}", connections());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_full_disk_refuses_writes_keeps_reads_and_heals_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else { return };
    fs::write(disk.path("ballast"), vec![1; BALLAST_BYTES]).expect("the ballast fits");
    let data = format!("dataDir={}", disk.path("data").display());
    for log_driver in ["uring", "thread"] {
        let _ = fs::remove_dir_all(disk.path("data")); // of the driver before
        let driver = format!("farwatch.logDriver={log_driver}");
        let mut subject = farwatch(Options::new().line(&data).line(&driver));
        let (mut connection, _) = connect(subject.address());
        let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
        for number in 0..2000 {
            match write(&mut connection, number) {
                0 => acknowledged.push(number),
                NOT_READ_ONLY => refused.push(number),
                other => panic!("/f{number}: {other}"),
            }
            if refused.len() == 20 {
                break;
            }
        }
        assert_eq!(refused.len(), 20, "the disk of {DISK_BYTES} bytes never was full");
        assert!(acknowledged.len() > 100, "full after {}", acknowledged.len());
        all_are_there(&mut connection, &acknowledged, &refused);
        assert_eq!(four_letter_word(subject.address(), "ruok").expect("an answer"), "imok");
        let (mut second, _) = connect(subject.address());
        assert_eq!(second.call(&request::exists("/f0", false)).expect("a reply").err, 0);

        subject.restart().expect("a start on a full disk");
        let (mut connection, _) = connect(subject.address());
        all_are_there(&mut connection, &acknowledged, &refused);
        sessions_begin_after_the_last_write_and_then_none_and_no_connection_stays(
            &mut connection,
            &subject,
        );

        fs::remove_file(disk.path("ballast")).expect("space comes back");
        let started = Instant::now();
        let mut number = 10_000;
        while write(&mut connection, number) != 0 {
            assert!(started.elapsed() < Duration::from_secs(20), "it never heals");
            std::thread::sleep(Duration::from_millis(50));
            refused.push(number);
            number += 1;
        }
        acknowledged.push(number);
        subject.restart().expect("a start after the full disk");
        let (mut connection, _) = connect(subject.address());
        all_are_there(&mut connection, &acknowledged, &refused);
        assert_eq!(write(&mut connection, 20_000), 0);
        drop(subject);
        fs::remove_dir_all(disk.path("data")).expect("the next driver starts anew");
        fs::write(disk.path("ballast"), vec![1; BALLAST_BYTES]).expect("the ballast fits");
    }
}

/// Nodes that were written one by one, so that each is a batch of the log; the server was killed.
fn written() -> (farwatch_bench::subject::Subject, PathBuf) {
    let mut subject = farwatch(Options::new());
    let (mut connection, _) = connect(subject.address());
    for number in 0..60 {
        let needle = format!("needle-{number:02}");
        let create =
            request::create(&format!("/n{number}"), Some(needle.as_bytes()), &ids::open(), 0);
        assert_eq!(connection.call(&create).expect("a reply").err, 0);
    }
    subject.kill9().expect("kill -9");
    let log = subject.data_directory().join("log");
    let mut segments: Vec<PathBuf> = fs::read_dir(log)
        .expect("the log")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    let segment = segments.into_iter().find(|path| find(path, b"needle-30").is_some());
    (subject, segment.expect("the segment with the needles"))
}

fn find(path: &Path, needle: &[u8]) -> Option<usize> {
    let bytes = fs::read(path).expect("a segment");
    bytes.windows(needle.len()).position(|window| window == needle)
}

#[test]
fn a_damaged_log_is_refused_with_file_offset_zxid_and_advice() {
    let (subject, segment) = written();
    let mut bytes = fs::read(&segment).expect("the segment");
    let at = find(&segment, b"needle-30").expect("written");
    bytes[at] ^= 0x10;
    fs::write(&segment, &bytes).expect("the damage");
    let (code, said) = output(&mut serve(&subject.data_directory()));
    assert_ne!(code, 0, "{said}");
    let name = segment.file_name().expect("a name").to_string_lossy().into_owned();
    for words in [&name[..], "damaged at byte ", "behind 0x1000000", "restore the data directory"] {
        assert!(said.contains(words), "{words:?} is not said: {said}");
    }
    // The damage is in the batch of that byte, and nothing was changed on the disk.
    let (_, behind) = said.split_once("damaged at byte ").expect("said");
    let offset: usize =
        behind.split(',').next().expect("a number").parse().expect("an offset in bytes");
    assert!(offset <= at && at < offset + 8192, "{offset} does not lead to {at}");
    assert!(fs::read(&segment).expect("the segment") == bytes, "a refused log was changed");
    bytes[at] ^= 0x10;
    fs::write(&segment, &bytes).expect("the repair");
    let mut subject = subject;
    subject.restart().expect("the repaired log is taken");
}

#[test]
fn a_torn_tail_is_cut_and_everything_before_it_is_there() {
    let (mut subject, segment) = written();
    let mut bytes = fs::read(&segment).expect("the segment");
    // What a power cut may leave of a batch: something, but not its beginning.
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("something is written");
    let end = (end / 4096 + 1) * 4096;
    bytes[end + 512..end + 4096].fill(0xa5);
    fs::write(&segment, &bytes).expect("the torn tail");
    subject.restart().expect("a torn tail is no damage");
    let (mut connection, _) = connect(subject.address());
    for number in 0..60 {
        let reply = connection.call(&request::get_data(&format!("/n{number}"), false));
        let (data, _) = reply.expect("a reply").data_and_stat().expect("data");
        assert_eq!(data, Some(format!("needle-{number:02}").into_bytes()));
    }
    let create = request::create("/behind", None, &ids::open(), 0);
    assert_eq!(connection.call(&create).expect("a reply").err, 0);
    subject.restart().expect("and goes on");
    let (mut connection, _) = connect(subject.address());
    assert_eq!(connection.call(&request::exists("/behind", false)).expect("a reply").err, 0);
}
