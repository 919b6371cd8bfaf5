//! Subjects start, answer, survive a kill with their data, and leave nothing behind.

use anyhow::Result;
use farwatch_bench::raw::{Connection, Handshake, four_letter_word, ids, request};
use farwatch_bench::subject::{Options, Subject, built_binary};

#[test]
fn an_acknowledged_node_outlives_kill_9_and_the_directory_goes_with_the_subject() -> Result<()> {
    let mut subject = Subject::farwatch(built_binary()?, Options::new().words("*"))?;
    assert_eq!(four_letter_word(subject.address(), "ruok")?, "imok");
    let (mut connection, session) = Connection::connect(subject.address(), &Handshake::default())?;
    assert!(!session.is_expired());
    let reply = connection.call(&request::create("/kept", Some(b"data"), &ids::open(), 0))?;
    assert_eq!((reply.err, reply.path()?), (0, "/kept".to_owned()));

    let first = subject.pid();
    subject.kill9()?;
    connection.expect_close()?;
    assert_eq!(subject.pid(), None);
    subject.restart()?;
    assert_ne!(subject.pid(), first);

    let (mut connection, _) = Connection::connect(subject.address(), &Handshake::default())?;
    let (data, stat) = connection.call(&request::get_data("/kept", false))?.data_and_stat()?;
    assert_eq!(data.as_deref(), Some(&b"data"[..]));
    assert_eq!(stat.czxid, reply.zxid);

    subject.terminate()?;
    let data_directory = subject.data_directory();
    assert!(data_directory.is_dir());
    drop(subject);
    assert!(!data_directory.exists());
    Ok(())
}
