//! The examples are part of the manual; here they run.

#[path = "../../examples/config_watch.rs"]
#[allow(dead_code, reason = "the example's main is not called")]
mod config_watch;
#[path = "../../examples/lock.rs"]
#[allow(dead_code, reason = "the example's main is not called")]
mod lock;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use farwatch_client::{Acl, CreateMode, NodeData};

use crate::server::{address, client_below, own_root};

#[test]
fn the_lock_admits_one_at_a_time_and_its_token_grows() {
    let root = own_root();
    let held = AtomicBool::new(false);
    let tokens = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let connect_string = format!("{}{root}", address());
                for _ in 0..5 {
                    let lock = lock::Lock::acquire(&connect_string, "/lock").unwrap();
                    assert!(!held.swap(true, Ordering::SeqCst), "two hold the lock");
                    tokens.lock().unwrap().push(lock.token());
                    held.store(false, Ordering::SeqCst);
                    lock.release().unwrap();
                }
            });
        }
    });
    let tokens = tokens.into_inner().unwrap();
    assert_eq!(tokens.len(), 20);
    assert!(tokens.is_sorted() && tokens[0] < tokens[19], "{tokens:?}");
    let client = client_below(&root);
    assert_eq!(client.children("/lock", false).unwrap().names, [""; 0]);
}

#[test]
fn a_watched_configuration_is_seen_in_its_last_state() {
    let root = own_root();
    let writer = client_below(&root);
    writer.create("/config", b"1", &Acl::open(), CreateMode::Persistent).unwrap();
    let (sender, values) = mpsc::channel();
    let connect_string = format!("{}{root}", address());
    let thread = std::thread::spawn(move || {
        config_watch::watch(&connect_string, "/config", |data: &NodeData| {
            sender.send(data.data.clone().unwrap_or_default()).unwrap();
            data.data.as_deref() != Some(b"last")
        })
        .unwrap();
    });
    assert_eq!(values.recv_timeout(Duration::from_secs(20)).unwrap(), b"1");
    for value in ["2", "3", "last"] {
        writer.set("/config", value.as_bytes(), -1).unwrap();
    }
    thread.join().unwrap();
    assert_eq!(values.try_iter().last().unwrap(), b"last");
}
